//! Checks a whole tree against its invariants. Used by its tests and its models, on a tree that nobody writes to
//! meanwhile.

use super::entry::EntryRef;
use super::*;

type Internal = (Vec<u8>, std::cmp::Reverse<u64>);

fn key_of(entry: *mut Entry) -> Option<Internal> {
    // SAFETY: T1, T2.
    let entry = unsafe { EntryRef::new(NonNull::new(entry)?) };
    let (user_key, trailer) = entry.key_parts();
    Some((user_key.to_vec(), std::cmp::Reverse(trailer)))
}

/// Asserts T4 to T6 and what `HEIGHT_MAX` relies on; the number of entries.
pub(super) fn check_tree(tree: &Tree) -> usize {
    let root = NonNull::new(tree.root.load(Ordering::Acquire)).expect("something was inserted");
    let mut leaves = Vec::new();
    check_node(tree, root, None, NO_HIGH, &mut leaves);
    let mut count = 0;
    for (at, leaf) in leaves.iter().enumerate() {
        let neighbour = |place: Option<usize>| {
            place.and_then(|place| leaves.get(place)).map_or(ptr::null_mut(), |leaf| leaf.as_ptr())
        };
        // SAFETY: T1.
        let leaf = unsafe { leaf.as_ref() };
        assert_eq!(leaf.next(), neighbour(Some(at + 1)));
        assert_eq!(leaf.prev(), neighbour(at.checked_sub(1)));
        count += leaf.keys().order().count();
    }
    let mut place = tree.first();
    for _ in 0..count {
        place = place.expect("as many as in the leaves").next();
    }
    assert!(place.is_none());
    count
}

/// `low` is the node's key in the node above, `high` where it has to end.
fn check_node(
    tree: &Tree,
    node: NonNull<Keys>,
    low: Option<Internal>,
    high: Slot,
    leaves: &mut Vec<NonNull<Leaf>>,
) {
    // SAFETY: T1.
    let keys = unsafe { node.as_ref() };
    let order = keys.order();
    assert!(order.count() > 0 && order.count() <= SLOTS && !order.is_replaced());
    assert_eq!(keys.high(), high);
    let slots: Vec<Slot> = (0..order.count()).map(|rank| keys.at(order.slot(rank))).collect();
    let mut before = None;
    for &(tag, entry) in &slots {
        let key = key_of(entry);
        assert_eq!(tag, key.as_ref().map_or(0, |(user_key, _)| tree.tags.tag(user_key)));
        assert!(before.as_ref().is_none_or(|before| *before < key));
        before = Some(key);
    }
    let first = key_of(slots[0].1);
    if keys.level() == 0 {
        assert!(
            first.is_some() && first >= low && (high == NO_HIGH || before < Some(key_of(high.1)))
        );
        return leaves.push(node.cast());
    }
    assert_eq!(first, low);
    assert!(order.count() > SLOTS / 2 || high == NO_HIGH, "{} children", order.count());
    // SAFETY: T1; the level says that it is an inner node.
    let inner = unsafe { node.cast::<Inner>().as_ref() };
    for rank in 0..order.count() {
        let child = inner.child(order.slot(rank));
        // SAFETY: T1.
        assert_eq!(unsafe { child.as_ref() }.level() + 1, keys.level());
        let end = slots.get(rank + 1).copied().unwrap_or(high);
        check_node(tree, child, key_of(slots[rank].1), end, leaves);
    }
}
