//! Tests of the skip list's inside: its levels, heights and what a refused insert leaves.

use super::check::check_levels;
use super::*;

#[test]
fn heights_are_about_geometric_and_grow_with_the_list() {
    let list = SkipList::new(TagBase::new(b""));
    let mut writer = list.try_writer().expect("nobody else writes");
    for n in 0..1_000_u32 {
        writer.insert(&n.to_be_bytes(), 1 << 8 | 2, b"");
    }
    let height = list.height.load(Ordering::Relaxed);
    assert!((8..=14).contains(&height), "{height}");
}

fn scattered(n: u64) -> u64 {
    n * 7_919 % 10_007 * 2
}

#[test]
fn every_level_stays_in_order() {
    for prefix in [&b""[..], &[0, 0, 0, 0, 0, 0]] {
        let list = SkipList::new(TagBase::new(prefix));
        let mut writer = list.try_writer().expect("nobody else writes");
        let entries = if cfg!(miri) { 60 } else { 2_000 };
        for n in 0..entries {
            writer.insert(&scattered(n).to_be_bytes(), n << 8 | 2, b"value");
            writer.insert(&(scattered(n) + 1).to_be_bytes(), n << 8 | 2, b"");
        }
        assert_eq!(check_levels(&list) as u64, 2 * entries);
    }
}

/// A refused insert has searched half way. The insert after it, which belongs right behind the last
/// good one, once took the predecessors that this search had left on the upper levels.
#[test]
fn a_refused_insert_does_not_mislead_the_next() {
    let list = SkipList::new(TagBase::new(b""));
    let entries = if cfg!(miri) { 30 } else { 500 };
    let insert = |n: u64| {
        let mut writer = list.try_writer().expect("nobody else writes");
        writer.insert(&n.to_be_bytes(), 1 << 8 | 2, b"");
    };
    for n in 0..entries {
        insert(scattered(n));
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            insert(scattered(n / 2));
        }));
        assert!(again.is_err());
        insert(scattered(n) + 1);
    }
    assert_eq!(check_levels(&list) as u64, 2 * entries);
}

/// Sorted runs among keys that lie between theirs: the search begins where the last insert was, and
/// moves on by few or many levels. Walking ahead to some of the keys changes nothing.
#[test]
fn sorted_runs_fall_in_between_other_keys() {
    for prefix in [&b""[..], &[0; 7]] {
        let list = SkipList::new(TagBase::new(prefix));
        let mut writer = list.try_writer().expect("nobody else writes");
        let (runs, length) = if cfg!(miri) { (4, 20) } else { (40, 200) };
        for run in 0..runs {
            let mut keys: Vec<u64> = (0..length).map(|n| scattered(run * length + n)).collect();
            keys.sort_unstable();
            let bytes: Vec<_> = keys.iter().map(|key| key.to_be_bytes()).collect();
            writer.approach(bytes.iter().map(|key| &key[..]));
            for (n, key) in bytes.iter().enumerate() {
                writer.insert(key, (n as u64) << 8 | 2, b"value");
                if n % 7 == 0 {
                    // Behind the entry itself: an older version of the same key.
                    writer.insert(key, 1, b"");
                }
            }
        }
        assert_eq!(check_levels(&list) as u64, runs * (length + length.div_ceil(7)));
    }
}
