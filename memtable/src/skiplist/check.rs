//! Checks a whole skip list against its invariants. Used by its tests and its models, on a list that
//! nobody writes to meanwhile.

use super::*;

/// Asserts S4 and S5 on every level; the number of nodes.
pub(super) fn check_levels(list: &SkipList) -> usize {
    let head = list.head().expect("something was inserted");
    let mut below: Vec<NonNull<Node>> = Vec::new();
    for level in 0..HEIGHT_MAX {
        let mut on_level = Vec::new();
        let mut node = head;
        loop {
            // SAFETY: S1; the invariant under test, S4, is what makes the level exist.
            let link = unsafe { link(node, level) };
            let tag = link.tag();
            let Some(next) = NonNull::new(link.next()) else {
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
