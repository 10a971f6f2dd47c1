//! Repair: whatever single file of a database is damaged in whatever way, the repaired database opens, is sound, and is
//! right about every key that the report does not name as lost. Nothing is deleted, and a power cut at any moment of a
//! repair leaves a database that can be repaired again.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Fs, OpenMode};

use super::support::small;
use crate::{Db, ErrorKind, RepairOptions, RepairReport, repair};

const DIR: &str = "/db";

/// Every value that a key ever had, with the sequence number of its write.
type History = BTreeMap<(&'static str, Vec<u8>), Vec<(u64, Option<Vec<u8>>)>>;

fn write(db: &Db, history: &mut History, name: &'static str, at: u32, value: Option<&[u8]>) {
    let keyspace = db.keyspace(name).unwrap();
    let key = format!("{at:04}").into_bytes();
    match value {
        Some(value) => keyspace.put(&key, value).unwrap(),
        None => keyspace.delete(&key).unwrap(),
    }
    let seq = db.inspect().last_seq.0;
    history.entry((name, key)).or_default().push((seq, value.map(<[u8]>::to_vec)));
}

/// A database with sstables in two levels and a log, closed or cut off.
fn sample(is_closed: bool) -> (Simulation, History) {
    let sim = Simulation::new(1);
    let mut history = History::new();
    let db = small(sim.world()).open(DIR).unwrap();
    for round in 0..3u32 {
        for at in 0..30 {
            let value = [round as u8; 60];
            write(&db, &mut history, "a", at * 2 + round, Some(&value));
            if at % 3 == 0 {
                write(&db, &mut history, "b", at, Some(&value[..20]));
            }
        }
        db.flush().unwrap();
        if round == 0 {
            db.compact().unwrap();
        }
    }
    for at in 0..20 {
        write(&db, &mut history, "a", at * 3, (at % 4 > 0).then_some(&b"from the log"[..]));
        write(&db, &mut history, "b", at, Some(b"from the log"));
    }
    match is_closed {
        true => {
            db.close().unwrap();
            (sim, history)
        }
        false => (sim.crash(CrashPolicy::DropAll, 1), history),
    }
}

fn options(sim: &Simulation, apply: bool) -> RepairOptions {
    RepairOptions { apply, world: Some(sim.world()), ..RepairOptions::default() }
}

fn files(fs: &dyn Fs) -> Vec<String> {
    let names = fs.list(Path::new(DIR)).unwrap().into_iter();
    names.filter(|name| name.contains('.') || name == "CURRENT").collect()
}

/// Whether the report names the key as lost.
fn is_named(
    report: &RepairReport,
    name: &str,
    key: &[u8],
    writes: &[(u64, Option<Vec<u8>>)],
) -> bool {
    let by_key = report.lost_keys.iter().any(|lost| {
        lost.keyspace.as_ref().is_none_or(|(id, found)| {
            found == name
                || (found.starts_with("recovered") && id.0 == if name == "a" { 1 } else { 2 })
        }) && lost.from.as_deref().is_none_or(|from| from <= key)
            && lost.through.as_deref().is_none_or(|through| key <= through)
    });
    by_key
        || report.lost_commits.iter().any(|lost| {
            let is_in = |seq: u64| seq >= lost.from.0 && lost.through.is_none_or(|to| seq <= to.0);
            writes.iter().any(|(seq, _)| is_in(*seq))
        })
}

/// Opens, verifies and compares; how many keys are right.
fn check(
    sim: &Simulation,
    dir: &str,
    report: &RepairReport,
    history: &History,
    what: &str,
) -> usize {
    let db = small(sim.world()).create_if_missing(false).open(dir);
    let db = db.unwrap_or_else(|error| panic!("{what}: {error}\n{report:#?}"));
    db.verify().unwrap_or_else(|error| panic!("{what}: {error}\n{report:#?}"));
    let mut right = 0;
    for ((name, key), writes) in history {
        let unnamed = format!("recovered-{}", if *name == "a" { 1 } else { 2 });
        let keyspace = [*name, &unnamed];
        let keyspace = keyspace.iter().find_map(|name| db.existing_keyspace(name).unwrap());
        let found = keyspace.and_then(|ks| ks.get(key).unwrap()).map(|value| value.to_vec());
        let last = &writes.last().unwrap().1;
        if found == *last {
            right += 1;
            continue;
        }
        let key_text = String::from_utf8_lossy(key);
        let text = format!("{what}: {name} {key_text}: {found:?} instead of {last:?}\n{report:#?}");
        // The end of a log that was not closed cannot be told from a tear.
        let is_tear =
            report.is_sound() && what.starts_with("closed false") && what.contains(".wal");
        assert!(is_tear || is_named(report, name, key, writes), "{text}");
        assert!(found.is_none() || writes.iter().any(|(_, value)| *value == found), "{text}");
    }
    db.close().unwrap();
    right
}

/// Repairs, and checks everything that a repair promises; the report.
fn repaired(sim: &Simulation, history: &History, what: &str) -> (RepairReport, usize) {
    let before = sim.fs.image_hash();
    let dry = repair(DIR, &options(sim, false)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(sim.fs.image_hash(), before, "{what}: a dry run wrote something");
    let kept: BTreeSet<String> = files(&*sim.world().fs).into_iter().collect();
    let report =
        repair(DIR, &options(sim, true)).unwrap_or_else(|e| panic!("{what}: {e}\n{dry:#?}"));
    assert_eq!((&dry.damage, &dry.lost_keys), (&report.damage, &report.lost_keys), "{what}");
    assert_eq!(dry.lost_commits, report.lost_commits, "{what}");
    assert_eq!(report.is_applied, !report.is_sound());
    // Nothing is gone: what is not in its place stands aside.
    let now: BTreeSet<String> = files(&*sim.world().fs).into_iter().collect();
    for name in kept.difference(&now) {
        let aside = report.moved_to.as_ref().unwrap().join(name);
        assert!(sim.world().fs.exists(&aside).unwrap(), "{what}: {name} is gone");
    }
    // A power cut right after it changes nothing.
    let sim = sim.crash(CrashPolicy::DropAll, 3);
    let again = repair(DIR, &options(&sim, false)).unwrap();
    assert!(again.is_sound(), "{what}: {again:#?}\n{report:#?}");
    let right = check(&sim, DIR, &report, history, what);
    (report, right)
}

fn flip(fs: &dyn Fs, path: &Path, at: u64) {
    let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

#[test]
fn any_one_damaged_file_is_repaired_and_what_is_lost_is_named() {
    for is_closed in [true, false] {
        let (sim, history) = sample(is_closed);
        let (mut trials, mut losses) = (0, 0);
        for name in files(&*sim.world().fs) {
            let path = PathBuf::from(DIR).join(&name);
            let len = sim.world().fs.metadata(&path).unwrap().len;
            let step = (len / 23).max(1);
            let flips = (0..len).step_by(step as usize).map(|at| (at, "flipped at"));
            let cuts = [0, 1, 40, len / 2, len.saturating_sub(1)].map(|at| (at, "cut to"));
            let zeros = (0..len).step_by(512.max(len as usize / 11)).map(|at| (at, "zeros at"));
            let all = flips.chain(cuts).chain(zeros).chain([(0, "removed")]);
            for (at, how) in all {
                let sim = Simulation::with_fs(sim.fs.fork(), 2);
                let fs = sim.world().fs;
                match how {
                    "flipped at" => flip(&*fs, &path, at),
                    "cut to" => fs.open(&path, OpenMode::ReadWrite).unwrap().truncate(at).unwrap(),
                    "removed" => fs.remove_file(&path).unwrap(),
                    _ => {
                        let zeros = vec![0; 512.min(len - at) as usize];
                        let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
                        file.write_all_at(&zeros, at).unwrap();
                    }
                }
                let sim = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 2), 2);
                let what = format!("closed {is_closed}: {name} of {len} bytes {how} {at}");
                let (report, right) = repaired(&sim, &history, &what);
                trials += 1;
                losses += usize::from(!report.is_lossless());
                assert!(right > 0 || how != "flipped at", "{what}: {report:#?}");
            }
        }
        assert!(trials > 200, "{trials}");
        assert!(losses > 0 && losses < trials, "{losses} of {trials}");
    }
}

#[test]
fn a_sound_database_is_left_alone_and_none_is_not_made() {
    for is_closed in [true, false] {
        let (sim, history) = sample(is_closed);
        let before = sim.fs.image_hash();
        let report = repair(DIR, &options(&sim, true)).unwrap();
        assert!(report.is_sound() && !report.is_applied && report.is_lossless());
        assert_eq!(sim.fs.image_hash(), before);
        assert_eq!(check(&sim, DIR, &report, &history, "sound"), history.len());
        let missing = repair("/none", &options(&sim, true)).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let db = small(sim.world()).open(DIR).unwrap();
        assert_eq!(repair(DIR, &options(&sim, true)).unwrap_err().kind(), ErrorKind::Locked);
        drop(db);
    }
}

/// Three files at once, so that sstables, log and manifest are all made anew; the power fails at every call.
#[test]
fn a_power_cut_at_any_moment_of_a_repair_leaves_what_can_be_repaired() {
    let (sim, history) = sample(false);
    let fs = sim.world().fs;
    let names = files(&*fs);
    let find = |suffix: &str| {
        Path::new(DIR).join(names.iter().find(|name| name.ends_with(suffix)).unwrap())
    };
    flip(&*fs, &find(".sst"), 300);
    flip(&*fs, &find(".wal"), 400);
    flip(&*fs, &find(".manifest"), 100);
    let sim = sim.crash(CrashPolicy::KeepAll, 1);
    let whole = Simulation::with_fs(sim.fs.fork(), 2);
    let start = whole.fs.ops();
    let report = repair(DIR, &options(&whole, true)).unwrap();
    let calls = whole.fs.ops() - start;
    let right = check(&whole, DIR, &report, &history, "whole");
    for call in (0..calls).step_by(3) {
        for policy in [CrashPolicy::DropAll, CrashPolicy::KeepAll] {
            let cut = Simulation::with_fs(sim.fs.fork(), 2);
            cut.fs.cut_power_at(cut.fs.ops() + call);
            let _ = repair(DIR, &options(&cut, true));
            let after = cut.crash(policy, 5);
            let what = format!("cut at call {call} of {calls}");
            let second = repair(DIR, &options(&after, true)).unwrap();
            let report = if second.is_sound() { &report } else { &second };
            assert_eq!(check(&after, DIR, report, &history, &what), right, "{what}");
        }
    }
}

/// Without `CURRENT` the second repair used to find the manifest that the first one had made, and nothing wrong with it:
/// what was lost was never told.
#[test]
fn what_an_interrupted_repair_lost_is_named_by_the_next_one() {
    let (sim, history) = sample(false);
    let fs = sim.world().fs;
    let names = files(&*fs);
    // All of them: what an sstable held may still be in the log, and then nothing is lost with it.
    for (suffix, at) in [(".sst", 300), (".wal", 400)] {
        for name in names.iter().filter(|name| name.ends_with(suffix)) {
            flip(&*fs, &Path::new(DIR).join(name), at);
        }
    }
    fs.remove_file(&Path::new(DIR).join("CURRENT")).unwrap();
    let sim = sim.crash(CrashPolicy::KeepAll, 1);
    let whole = Simulation::with_fs(sim.fs.fork(), 2);
    let start = whole.fs.ops();
    let report = repair(DIR, &options(&whole, true)).unwrap();
    assert!(!report.lost_keys.is_empty() && !report.lost_commits.is_empty(), "{report:#?}");
    let record = report.moved_to.as_ref().unwrap().join("REPORT");
    assert!(whole.world().fs.exists(&record).unwrap());
    let calls = whole.fs.ops() - start;
    for call in 0..calls {
        for policy in [CrashPolicy::DropAll, CrashPolicy::KeepAll] {
            let cut = Simulation::with_fs(sim.fs.fork(), 2);
            cut.fs.cut_power_at(cut.fs.ops() + call);
            let _ = repair(DIR, &options(&cut, true));
            let after = cut.crash(policy, 5);
            let what = format!("cut at call {call} of {calls}");
            let before = after.fs.image_hash();
            let dry = repair(DIR, &options(&after, false)).unwrap();
            assert_eq!(after.fs.image_hash(), before);
            let second = repair(DIR, &options(&after, true)).unwrap();
            assert_eq!(
                (&dry.lost_keys, &dry.lost_commits),
                (&second.lost_keys, &second.lost_commits)
            );
            let is_known = report.lost_keys.iter().all(|lost| second.lost_keys.contains(lost))
                && report.lost_commits.iter().all(|lost| second.lost_commits.contains(lost));
            // Unless the first one came to its end, with which it was told.
            let is_told = second.is_sound() && after.world().fs.exists(&record).unwrap();
            assert!(is_known || is_told, "{what}: {second:#?}\n{report:#?}");
            let told = if is_told { &report } else { &second };
            check(&after, DIR, told, &history, &what);
            let third = repair(DIR, &options(&after, false)).unwrap();
            assert!(third.is_sound(), "{what}: {third:#?}");
        }
    }
}

#[test]
fn a_repair_that_fails_leaves_no_record() {
    let (sim, _) = sample(true);
    let fs = sim.world().fs;
    let names = files(&*fs);
    let name = names.iter().find(|name| name.ends_with(".sst")).unwrap();
    flip(&*fs, &Path::new(DIR).join(name), 300);
    let before = fs.list(Path::new(DIR)).unwrap();
    sim.fs.set_capacity(0);
    assert_eq!(repair(DIR, &options(&sim, true)).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), before);
}

#[test]
fn a_repair_of_a_copy_leaves_the_original_alone() {
    let (sim, history) = sample(true);
    let fs = sim.world().fs;
    let names = files(&*fs);
    let name = names.iter().find(|name| name.ends_with(".sst")).unwrap();
    flip(&*fs, &Path::new(DIR).join(name), 300);
    let options = RepairOptions { to: Some("/copy".into()), ..options(&sim, true) };
    let report = repair(DIR, &options).unwrap();
    assert!(report.is_applied && report.lost_commits.is_empty());
    assert_eq!(files(&*fs), names);
    assert!(
        repair(DIR, &RepairOptions { apply: false, ..options.clone() }).unwrap().damage.len() == 1
    );
    assert!(check(&sim, "/copy", &report, &history, "copy") > 0);
    assert_eq!(repair(DIR, &options).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn commits_behind_a_hole_in_the_log_are_taken_only_when_asked_for() {
    let sim = Simulation::new(1);
    let mut history = History::new();
    let db = small(sim.world()).wal_segment_bytes(64 << 10).open(DIR).unwrap();
    for at in 0..20 {
        write(&db, &mut history, "a", at, Some(&[7; 100]));
    }
    db.close().unwrap();
    let names = files(&*sim.world().fs);
    let name = names.iter().find(|name| name.ends_with(".wal")).unwrap();
    flip(&*sim.world().fs, &Path::new(DIR).join(name), 64 + 10 * 176 + 40);
    for skip_damaged_log in [false, true] {
        let sim = Simulation::with_fs(sim.fs.fork(), 2);
        let options = RepairOptions { skip_damaged_log, ..options(&sim, true) };
        let report = repair(DIR, &options).unwrap();
        let [lost] = report.lost_commits[..] else { panic!("{report:#?}") };
        let right = check(&sim, DIR, &report, &history, "hole");
        match skip_damaged_log {
            true => assert_eq!((Some(lost.from), right), (lost.through, 19)),
            false => assert_eq!((lost.through.unwrap().0, right as u64), (20, lost.from.0 - 1)),
        }
        // The one that is damaged cannot be named; those behind it can, by their keys.
        let named: Vec<_> = report.lost_keys.iter().map(|lost| lost.seqs.unwrap()).collect();
        match skip_damaged_log {
            true => assert_eq!(named, []),
            false => {
                assert_eq!(named, [(lost.from.next(), lost.through.unwrap())]);
                let keys = &report.lost_keys[0];
                assert_eq!(keys.keyspace.as_ref().unwrap().1, "a");
                assert_eq!(keys.file, *name);
                assert_eq!(keys.from, Some(format!("{:04}", lost.from.0).into_bytes()));
                assert_eq!(keys.through.as_deref(), Some(&b"0019"[..]));
            }
        }
    }
}
