//! Tests of the skip list's inside: its levels, heights and what a refused insert leaves.

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

/// Asserts S4 and S5 on every level; the number of nodes.
fn check_levels(list: &SkipList) -> usize {
    let head = list.head().expect("something was inserted");
    let mut below: Vec<NonNull<Node>> = Vec::new();
    for level in 0..HEIGHT_MAX {
        let mut on_level = Vec::new();
        let mut node = head;
        loop {
            // SAFETY: S1; the invariant under test, S4, is what makes the level exist.
            let link = unsafe { link(node, level) };
            let tag = link.tag.load(Ordering::Acquire);
            let Some(next) = NonNull::new(link.next.load(Ordering::Acquire)) else {
                assert_eq!(tag, u64::MAX);
                break;
            };
            let (user_key, trailer) = NodeRef::new(next).key_parts();
            assert_eq!(tag, list.tags.tag(user_key));
            if node != head {
                let target = list.target(user_key, trailer);
                assert_eq!(NodeRef::new(node).compare(&target), Order::Less, "level {level}");
            }
            on_level.push(next);
            node = next;
        }
        if level > 0 {
            let mut rest = below.iter();
            assert!(on_level.iter().all(|node| rest.any(|other| other == node)));
        } else {
            below.clone_from(&on_level);
        }
    }
    below.len()
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
