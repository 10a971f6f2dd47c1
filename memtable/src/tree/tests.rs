//! Tests of the tree's inside: its nodes, what a refused insert leaves, and places whose leaf was replaced.

use super::check::check_tree;
use super::*;

fn scattered(n: u64) -> u64 {
    n * 7_919 % 10_007 * 2
}

/// The sum of the counts of all leaves by the number of leaves.
fn fill(tree: &Tree) -> f64 {
    let (mut leaves, mut entries) = (0, 0);
    let mut next = tree.first().map(|place| place.position.leaf);
    while let Some(leaf) = next {
        // SAFETY: T1.
        let leaf = unsafe { leaf.as_ref() };
        leaves += 1;
        entries += leaf.keys().order().count();
        next = leaf.behind();
    }
    f64::from(entries as u32) / f64::from(leaves)
}

#[test]
fn leaves_are_full_where_keys_come_in_order_and_more_than_half_elsewhere() {
    let entries: u64 = if cfg!(miri) { 200 } else { 5_000 };
    let tree = Tree::new(TagBase::new(b""));
    let mut writer = tree.try_writer().expect("nobody else writes");
    for n in 0..entries {
        writer.insert(&n.to_be_bytes(), 1 << 8 | 2, b"");
    }
    assert!(fill(&tree) > SLOTS as f64 - 0.5, "{}", fill(&tree));
    let tree = Tree::new(TagBase::new(b""));
    let mut writer = tree.try_writer().expect("nobody else writes");
    for n in 0..entries {
        writer.insert(&scattered(n).to_be_bytes(), 1 << 8 | 2, b"");
    }
    assert!(fill(&tree) > SLOTS as f64 * 0.6, "{}", fill(&tree));
}

#[test]
fn every_node_stays_in_order() {
    for prefix in [&b""[..], &[0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0], &[1]] {
        let tree = Tree::new(TagBase::new(prefix));
        let mut writer = tree.try_writer().expect("nobody else writes");
        let entries = if cfg!(miri) { 60 } else { 2_000 };
        for n in 0..entries {
            writer.insert(&scattered(n).to_be_bytes(), n << 8 | 2, b"value");
            writer.insert(&(scattered(n) + 1).to_be_bytes(), n << 8 | 2, b"");
            if n % 100 == 0 {
                assert_eq!(check_tree(&tree) as u64, 2 * n + 2);
            }
        }
        assert_eq!(check_tree(&tree) as u64, 2 * entries);
    }
}

/// Keys that a tag cannot tell apart, newest version first.
#[test]
fn many_versions_of_few_keys_stay_in_order() {
    let tree = Tree::new(TagBase::new(b""));
    let mut writer = tree.try_writer().expect("nobody else writes");
    let entries = if cfg!(miri) { 100 } else { 3_000 };
    for n in 0..entries {
        let user_key = format!("the same prefix {}", n % 3);
        writer.insert(user_key.as_bytes(), scattered(n) << 8 | 2, b"");
    }
    assert_eq!(check_tree(&tree) as u64, entries);
}

/// A refused insert has searched half way, and leaves nothing that the insert after it could trust.
#[test]
fn a_refused_insert_does_not_mislead_the_next() {
    let tree = Tree::new(TagBase::new(b""));
    let entries = if cfg!(miri) { 30 } else { 500 };
    let insert = |n: u64| {
        let mut writer = tree.try_writer().expect("nobody else writes");
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
    assert_eq!(check_tree(&tree) as u64, 2 * entries);
}

/// Sorted runs among keys that lie between theirs: the leaf of the last insert is tried first. Fetching the leaves of some
/// keys changes nothing.
#[test]
fn sorted_runs_fall_in_between_other_keys() {
    for prefix in [&b""[..], &[0; 7]] {
        let tree = Tree::new(TagBase::new(prefix));
        let mut writer = tree.try_writer().expect("nobody else writes");
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
        assert_eq!(check_tree(&tree) as u64, runs * (length + length.div_ceil(7)));
    }
}

/// A place in a leaf that was replaced, perhaps more than once, goes on among what is there now.
#[test]
fn places_of_replaced_leaves_go_on() {
    let tree = Tree::new(TagBase::new(b""));
    let mut writer = tree.try_writer().expect("nobody else writes");
    let insert = |writer: &mut Writer<'_>, n: u32| writer.insert(&n.to_be_bytes(), 1 << 8 | 2, b"");
    (0..=10).for_each(|n| insert(&mut writer, n * 1_000));
    let places: Vec<Place<'_>> =
        std::iter::successors(tree.first(), |place| place.next()).collect();
    assert_eq!(places.len(), 11);
    (0..10_000).filter(|n| n % 1_000 != 0).for_each(|n| insert(&mut writer, n));
    let number = |place: Option<Place<'_>>| {
        place.map(|place| {
            u32::from_be_bytes(place.entry().key_parts().0.try_into().expect("four bytes"))
        })
    };
    for (n, place) in (0..).zip(places) {
        assert!(place.leaf().keys().order().is_replaced());
        assert_eq!(number(Some(place)), Some(n * 1_000));
        assert_eq!(number(place.next()), (n < 10).then_some(n * 1_000 + 1));
        assert_eq!(number(place.prev()), (n > 0).then(|| n * 1_000 - 1));
    }
}
