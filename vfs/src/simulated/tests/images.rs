//! Which images a power cut may leave, policy by policy.

use std::collections::BTreeSet;

use super::*;

const PROFILES: [CrashPolicy; 3] = [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::Hostile];

/// What `see` finds in many images.
fn outcomes<T: Ord>(
    fs: &SimulatedFs,
    policy: CrashPolicy,
    see: impl Fn(&SimulatedFs) -> T,
) -> BTreeSet<T> {
    (0..3000).map(|seed| see(&fs.image(policy, seed))).collect()
}

#[test]
fn a_rename_leaves_the_old_file_or_the_new_one() {
    let fs = SimulatedFs::new();
    durable_file(&fs, "CURRENT", b"old");
    let file = fs.create_new(path("CURRENT.tmp")).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    fs.rename(path("CURRENT.tmp"), path("CURRENT")).unwrap();
    for policy in PROFILES {
        let seen = outcomes(&fs, policy, |image| read(image, "CURRENT"));
        assert_eq!(seen, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]), "{policy:?}");
    }
    // The name that was renamed may stay behind: its creation arrived, the rename did not.
    let names = outcomes(&fs, CrashPolicy::Posix, |image| image.list(path("/")).unwrap().len());
    assert_eq!(names, BTreeSet::from([1, 2]));
    fs.sync_dir(path("/")).unwrap();
    for policy in PROFILES {
        let seen = outcomes(&fs, policy, |image| read(image, "CURRENT"));
        assert_eq!(seen, BTreeSet::from([b"new".to_vec()]), "{policy:?}");
    }
}

#[test]
fn a_removal_overtakes_a_rename_in_posix_but_not_in_ordered() {
    let fs = SimulatedFs::new();
    durable_file(&fs, "a", b"1");
    durable_file(&fs, "b", b"2");
    fs.rename(path("a"), path("c")).unwrap();
    fs.remove_file(path("b")).unwrap();
    let names = |image: &SimulatedFs| image.list(path("/")).unwrap().concat();
    let ordered = outcomes(&fs, CrashPolicy::Ordered, names);
    assert_eq!(ordered, ["ab", "bc", "c"].map(String::from).into());
    let posix = outcomes(&fs, CrashPolicy::Posix, names);
    assert_eq!(posix, ["a", "ab", "bc", "c"].map(String::from).into());
    // Hostile: the rename may leave both names.
    let hostile = outcomes(&fs, CrashPolicy::Hostile, names);
    assert_eq!(hostile, ["a", "ab", "abc", "ac", "bc", "c"].map(String::from).into());
}

#[test]
fn appends_survive_in_order_under_ordered() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"");
    for (index, byte) in (1..=4_u8).enumerate() {
        file.write_all_at(&[byte; 700], index as u64 * 700).unwrap();
    }
    let whole = read(&fs, "a");
    let lengths = outcomes(&fs, CrashPolicy::Ordered, |image| {
        let bytes = read(image, "a");
        assert_eq!(bytes, whole[..bytes.len()]);
        bytes.len()
    });
    // Every record border and every sector border.
    let borders = [0, 512, 700, 1024, 1400, 1536, 2048, 2100, 2560, 2800];
    assert_eq!(lengths, borders.into());
}

#[test]
fn posix_tears_at_sectors_and_separates_length_from_data() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", &[1; 100]);
    file.write_all_at(&[2; 1400], 100).unwrap();
    let seen = outcomes(&fs, CrashPolicy::Posix, |image| {
        let bytes = read(image, "a");
        assert_eq!(bytes[..100], [1; 100], "what was synced stays");
        let sectors = [100..512, 512..1024, 1024..1500];
        let state = |range: std::ops::Range<usize>| {
            let part = &bytes[range.start.min(bytes.len())..range.end.min(bytes.len())];
            assert!(part.is_empty() || part.len() == range.len());
            assert!(part.iter().all(|byte| *byte == 2) || part.iter().all(|byte| *byte == 0));
            part.first().map_or('-', |byte| if *byte == 2 { 'x' } else { '0' })
        };
        sectors.map(state).iter().collect::<String>()
    });
    for wanted in ["---", "xxx", "x--", "xx-", "0x-", "000", "x0x", "0x0", "00x", "xx0"] {
        assert!(seen.contains(wanted), "{wanted} not in {seen:?}");
    }
}

#[test]
fn overwrites_survive_sector_by_sector_in_every_profile() {
    for policy in PROFILES {
        let fs = SimulatedFs::new();
        let file = durable_file(&fs, "a", &[1; 1536]);
        file.write_all_at(&[2; 1536], 0).unwrap();
        let seen = outcomes(&fs, policy, |image| {
            let bytes = read(image, "a");
            assert_eq!(bytes.len(), 1536, "a length that was synced stays");
            [bytes[0], bytes[600], bytes[1100]]
        });
        assert!(seen.contains(&[1, 2, 1]), "{policy:?}: the middle alone");
        assert!(seen.contains(&[2, 1, 2]), "{policy:?}: all but the middle");
    }
}

#[test]
fn hostile_tears_anywhere_and_leaves_garbage_but_not_outside_the_write() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", &[1; 300]);
    file.write_all_at(&[2; 100], 100).unwrap();
    let torn = outcomes(&fs, CrashPolicy::Hostile, |image| {
        let bytes = read(image, "a");
        assert_eq!(bytes[..100], [1; 100]);
        assert_eq!(bytes[200..], [1; 100]);
        bytes[100..200].to_vec()
    });
    let odd_tear = torn.iter().any(|bytes| {
        let kept = bytes.iter().take_while(|byte| **byte == 2).count();
        (1..99).contains(&kept) && bytes[kept..].iter().all(|byte| *byte == 1)
    });
    assert!(odd_tear, "kept up to a byte, old bytes after it");
    assert!(torn.iter().any(|b| b[0] == 2 && b[99] == 0), "zeros in the gap");
    assert!(torn.iter().any(|b| b.iter().any(|byte| *byte > 2)), "garbage in the gap");
}

#[test]
fn explicit_policies_do_what_they_say() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"");
    file.write_all_at(&[1; 600], 0).unwrap();
    file.write_all_at(&[2; 600], 600).unwrap();
    file.write_all_at(&[3; 600], 1200).unwrap();
    let runs = |policy| {
        let bytes = read(&fs.image(policy, 0), "a");
        let runs = bytes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len()));
        runs.collect::<Vec<_>>()
    };
    assert_eq!(runs(CrashPolicy::KeepAll), [(1, 600), (2, 600), (3, 600)]);
    assert_eq!(runs(CrashPolicy::DropAll), []);
    assert_eq!(runs(CrashPolicy::Prefix(2)), [(1, 600), (2, 600)]);
    assert_eq!(runs(CrashPolicy::DropOne(1)), [(1, 600), (0, 600), (3, 600)]);
    assert_eq!(runs(CrashPolicy::Tear(1, 424)), [(1, 600), (2, 424)]);
    assert_eq!(runs(CrashPolicy::Tear(1, 9999)), [(1, 600), (2, 600)]);
    assert_eq!(runs(CrashPolicy::Hole(1, 424)), [(1, 600), (2, 424), (0, 176), (3, 600)]);
    assert_eq!(runs(CrashPolicy::Hole(2, 0)), [(1, 600), (2, 600), (0, 600)]);
    assert_eq!(runs(CrashPolicy::Prefix(99)), runs(CrashPolicy::KeepAll));
}

#[test]
fn exhaustive_policies_cover_every_prefix_drop_and_tear() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"");
    file.write_all_at(&[1; 600], 0).unwrap();
    file.write_all_at(&[2; 600], 600).unwrap();
    fs.rename(path("a"), path("b")).unwrap();
    let write = |offset| PendingKind::Write { offset, len: 600 };
    assert_eq!(fs.pending(), [write(0), write(600), PendingKind::Name]);
    let policies = fs.exhaustive_policies(512);
    let distinct: BTreeSet<u64> =
        policies.iter().map(|policy| fs.image(*policy, 0).image_hash()).collect();
    // All, none, two prefixes, two drops, and per write: a hole for everything, then a tear and a
    // hole at the one sector border inside it.
    assert_eq!(policies.len(), 2 + 2 + 2 + 2 * (1 + 2));
    assert_eq!(distinct.len(), policies.len() - 1, "dropping write 0 is making a hole of it");
    assert!(policies.contains(&CrashPolicy::Tear(1, 424)));
    assert_eq!(fs.exhaustive_policies(1).len(), 6 + 2 * (1 + 2 * 599));
    let clean = SimulatedFs::new();
    assert_eq!(clean.exhaustive_policies(1), [CrashPolicy::KeepAll, CrashPolicy::DropAll]);
}
