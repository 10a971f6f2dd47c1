//! An append-only B+tree of internal entries: one writer, any number of readers, no locks between them.
//!
//! The memtable inserts through [`Writer`] and reads through [`Place`]. Entries lie where they were put; leaves have their
//! addresses in the order of keys, inner nodes those of the nodes below. A key stands in a node with its tag, an
//! order-preserving piece of it (see `tag`), so that most searches look at no key but the one they find. Inner nodes are
//! few enough to stay near; a search waits for the memory of a leaf, and an insert for nothing else.
//!
//! A node with room takes another key by one store, of its order. A full one is replaced by two, and stays as it is: a
//! reader that has found it sees all that was there before it was replaced.
//!
//! Invariants, cited below:
//! - T1: every node and every entry comes from this tree's arena, carries the provenance of all of it and stays valid
//!   until the tree is dropped: nothing is removed, moved or freed before.
//! - T2: an entry is written before it is shown and never again; so are a node's level, its end, and a slot's key. A slot is
//!   used once.
//! - T3: what shows something to readers is stored with Release and loaded with Acquire: the root, a node's order, a
//!   leaf's neighbours, an inner node's child. Only the writer stores, under its lock.
//! - T4: nodes of one level divide all keys between them. A node holds those from its key in the node above to its end.
//!   Where one is replaced, the node above shows the right one first and then the left one in the old one's slot. So a
//!   search that saw the old order and the new left one meets a node that ends before its target, and starts again.
//! - T5: a replaced node's order says so after the nodes in its place can be found from the root and from their
//!   neighbours. No leaf is empty.
//! - T6: `tag(a) < tag(b)` implies `a < b`.

use std::cmp::Ordering as Compared;
use std::ptr::{self, NonNull};
use std::sync::TryLockError;

use esker_base::limits::{BATCH_LEN_MAX, KEY_LEN_MAX};

use self::entry::{Entry, Target};
use self::node::{Inner, Keys, Leaf, NO_HIGH, SLOTS, Slot};
use self::order::Order;
use crate::arena::Arena;
use crate::sync::{AtomicPtr, Bug, Mutex, MutexGuard, Ordering, OwnLoad, planted, unless};
use crate::tag::TagBase;

pub(crate) use self::entry::EntryRef;
pub(crate) use self::node::prefetch_bytes;

mod entry;
mod node;
mod order;

/// The most levels: an inner node that is not the last of its level has at least seven children, so a level has about a
/// seventh of the nodes of the one below, and there is no memory for more.
const HEIGHT_MAX: usize = 20;

/// The tree. Reading needs `&self` alone; inserting goes through [`Tree::try_writer`].
pub(crate) struct Tree {
    /// Null until the first insert.
    root: AtomicPtr<Keys>,
    tags: TagBase,
    writer: Mutex<WriterState>,
}

// SAFETY: nodes and entries hold no thread's own things, only bytes and atomics; see T2 and T3 for how readers and the
// writer share them. `WriterState` is reached only under its lock.
unsafe impl Send for Tree {}
// SAFETY: as above.
unsafe impl Sync for Tree {}

/// What only the writer touches.
struct WriterState {
    arena: Arena,
    /// Where the last insert went; null if it is not known. Never a replaced leaf.
    last: *mut Leaf,
}

/// An entry's place in a tree that `'a` keeps alive.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    tree: &'a Tree,
    position: Position,
}

/// A [`Place`] without its borrow, for cursors that own their table. Means nothing without its tree.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    leaf: NonNull<Leaf>,
    /// The leaf's order when it was looked at, and the entry's rank in it, which is below the count.
    order: Order,
    rank: usize,
}

// SAFETY: a position does nothing by itself; `Tree::at` says what it needs, and trees may be shared.
unsafe impl Send for Position {}
// SAFETY: as above.
unsafe impl Sync for Position {}

impl<'a> Place<'a> {
    fn leaf(self) -> &'a Leaf {
        // SAFETY: T1 for 'a.
        unsafe { self.position.leaf.as_ref() }
    }

    /// The entry.
    #[inline]
    pub(crate) fn entry(self) -> EntryRef<'a> {
        let Position { order, rank, .. } = self.position;
        self.leaf().keys().entry(order.slot(rank))
    }

    /// This place without the borrow.
    pub(crate) fn position(self) -> Position {
        self.position
    }

    /// The same entry's place now.
    #[inline]
    fn now(self) -> Place<'a> {
        let Position { leaf, order, rank } = self.position;
        let now = self.leaf().keys().order();
        if now == order {
            return self;
        }
        if now.is_replaced() {
            let (user_key, trailer) = self.entry().key_parts();
            let target = self.tree.target(user_key, trailer);
            let found = self.tree.leaf_of(&target).expect("a tree with a leaf has a root");
            // T5: the leaf in its place, which has all of its entries.
            return self.tree.place(found, |order, keys| keys.rank(order, &target, false));
        }
        let rank = now.rank_of(order.slot(rank));
        Place { tree: self.tree, position: Position { leaf, order: now, rank } }
    }

    /// The next entry.
    #[inline]
    pub(crate) fn next(self) -> Option<Place<'a>> {
        let now = self.now();
        let Position { leaf, order, rank } = now.position;
        if rank + 1 < order.count() {
            let position = Position { leaf, order, rank: rank + 1 };
            return Some(Place { tree: self.tree, position });
        }
        let next = now.leaf().behind()?;
        let first = self.tree.place(next, |_, _| 0);
        // Whoever walks on will look at all of them, and at the leaf behind.
        first.leaf().prefetch_entries(first.position.order);
        if let Some(behind) = first.leaf().behind() {
            Keys::prefetch(behind.cast(), 0);
        }
        Some(first)
    }

    /// The entry before.
    #[inline]
    pub(crate) fn prev(self) -> Option<Place<'a>> {
        self.now().step_back()
    }

    /// The entry before, as of this place's order.
    fn step_back(self) -> Option<Place<'a>> {
        let Position { leaf, order, rank } = self.position;
        if rank > 0 {
            let position = Position { leaf, order, rank: rank - 1 };
            return Some(Place { tree: self.tree, position });
        }
        self.tree.last_of_leaf_before(self.leaf())
    }
}

impl Leaf {
    fn behind(&self) -> Option<NonNull<Leaf>> {
        NonNull::new(self.next())
    }
}

impl Tree {
    /// An empty tree, which owns no memory from the arena yet.
    pub(crate) fn new(tags: TagBase) -> Tree {
        let state = WriterState { arena: Arena::new(), last: ptr::null_mut() };
        Tree { root: AtomicPtr::new(ptr::null_mut()), tags, writer: Mutex::new(state) }
    }

    /// The right to insert, unless somebody else has it now.
    pub(crate) fn try_writer(&self) -> Option<Writer<'_>> {
        let state = match self.writer.try_lock() {
            Ok(state) => state,
            // An insert panics only before it shows anything.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Writer { tree: self, state })
    }

    /// The place at `position`.
    ///
    /// # Safety
    /// `position` must come from a place of this very tree.
    #[inline]
    pub(crate) unsafe fn at(&self, position: Position) -> Place<'_> {
        Place { tree: self, position }
    }

    /// The first entry.
    pub(crate) fn first(&self) -> Option<Place<'_>> {
        let leaf = self.descend(|_| true, |_, _| 0)?;
        Some(self.place(leaf, |_, _| 0))
    }

    /// The last entry.
    pub(crate) fn last(&self) -> Option<Place<'_>> {
        // T4: only what has no end is the last of its level.
        let leaf = self
            .descend(|keys| keys.high() == NO_HIGH, |order, _| order.count().saturating_sub(1))?;
        Some(self.place(leaf, |order, _| order.count() - 1))
    }

    /// The first entry at or after the internal key of these parts.
    #[inline]
    pub(crate) fn seek(&self, user_key: &[u8], trailer: u64) -> Option<Place<'_>> {
        let target = self.target(user_key, trailer);
        let leaf = self.leaf_of(&target)?;
        let place = self.place(leaf, |order, keys| keys.rank(order, &target, false));
        if place.position.rank < place.position.order.count() {
            return Some(place);
        }
        Some(self.place(place.leaf().behind()?, |_, _| 0))
    }

    /// The last entry before the internal key of these parts; with `or_equal` the last at or before it.
    pub(crate) fn seek_before(
        &self,
        user_key: &[u8],
        trailer: u64,
        or_equal: bool,
    ) -> Option<Place<'_>> {
        let target = self.target(user_key, trailer);
        let leaf = self.leaf_of(&target)?;
        // Its rank may be that of no entry, but the one before it is.
        self.place(leaf, |order, keys| keys.rank(order, &target, or_equal)).step_back()
    }

    /// The last entry of the leaf before `leaf`.
    fn last_of_leaf_before(&self, leaf: &Leaf) -> Option<Place<'_>> {
        let before = NonNull::new(leaf.prev())?;
        Some(self.place(before, |order, _| order.count() - 1))
    }

    /// The place in `leaf`, which is of this tree, that `rank` names.
    #[inline]
    fn place(&self, leaf: NonNull<Leaf>, rank: impl FnOnce(Order, &Keys) -> usize) -> Place<'_> {
        // SAFETY: T1.
        let keys = unsafe { leaf.as_ref() }.keys();
        let order = keys.order();
        let rank = rank(order, keys);
        Place { tree: self, position: Position { leaf, order, rank } }
    }

    /// The leaf that `target` belongs into.
    #[inline]
    fn leaf_of(&self, target: &Target<'_>) -> Option<NonNull<Leaf>> {
        let blind = planted(Bug::SplitNotNoticed);
        self.descend(
            |keys| blind || !keys.ends_before(target),
            |order, keys| keys.rank(order, target, true) - 1,
        )
    }

    /// Goes down to a leaf by the child of the rank that `choose` names, as long as the node `fits`; starts again where
    /// one does not.
    #[inline(always)]
    fn descend(
        &self,
        fits: impl Fn(&Keys) -> bool,
        choose: impl Fn(Order, &Keys) -> usize,
    ) -> Option<NonNull<Leaf>> {
        let root_load = unless(Bug::RootLoadRelaxed, Ordering::Acquire);
        'root: loop {
            let mut node = NonNull::new(self.root.load(root_load))?;
            // SAFETY: T1, T3.
            let mut level = unsafe { node.as_ref() }.level();
            loop {
                // SAFETY: T1, T3.
                let keys = unsafe { node.as_ref() };
                if !fits(keys) {
                    continue 'root;
                }
                if level == 0 {
                    return Some(node.cast());
                }
                // SAFETY: T1, T3; the level says that it is an inner node.
                let inner = unsafe { node.cast::<Inner>().as_ref() };
                let order = keys.order();
                node = inner.child(order.slot(choose(order, keys)));
                level -= 1;
                Keys::prefetch(node, level);
            }
        }
    }

    #[inline]
    fn target<'k>(&self, user_key: &'k [u8], trailer: u64) -> Target<'k> {
        Target { user_key, trailer, tag: self.tags.tag(user_key) }
    }
}

/// The right to insert.
pub(crate) struct Writer<'a> {
    tree: &'a Tree,
    state: MutexGuard<'a, WriterState>,
}

/// How many keys [`Writer::approach`] takes at a time: about as many lines as a core can wait for at once.
pub(crate) const APPROACH_MAX: usize = 8;

/// The inner nodes from the root to a leaf, and the rank of the child that was taken, by level.
type Path = [Option<(NonNull<Inner>, usize)>; HEIGHT_MAX];

impl Writer<'_> {
    /// The bytes that the tree's arena has taken from the system.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.state.arena.allocated_bytes()
    }

    /// Adds an entry. It is visible to every search that starts after the call.
    ///
    /// # Panics
    /// If the key or the value is over the limit, or the internal key is in the tree already.
    pub(crate) fn insert(&mut self, user_key: &[u8], trailer: u64, value: &[u8]) {
        assert!(user_key.len() <= KEY_LEN_MAX && value.len() <= BATCH_LEN_MAX);
        let target = self.tree.target(user_key, trailer);
        let found = self.leaf_of(&target);
        // Written while the leaf is on its way.
        let entry = Entry::create(&mut self.state.arena, user_key, trailer, value);
        let key = (target.tag, entry.as_ptr());
        let Some(found) = found else { return self.plant(key) };
        // SAFETY: T1.
        let leaf = unsafe { found.as_ref() };
        let order = leaf.keys().own_order();
        let rank = leaf.keys().rank(order, &target, false);
        if rank < order.count() && leaf.keys().at(order.slot(rank)).0 == target.tag {
            let equal = leaf.keys().entry(order.slot(rank)).compare(&target) == Compared::Equal;
            assert!(!equal, "an internal key is inserted twice: a sequence number was reused");
        }
        if order.count() < SLOTS {
            leaf.add(rank, key);
            self.state.last = found.as_ptr();
        } else {
            self.split(found, rank, key, &target);
        }
    }

    /// Fetches the leaves that inserting these keys will look at, for all of them at once: inserting one after the other
    /// waits for each alone, and such waits are most of what an insert costs.
    pub(crate) fn approach<'k>(&self, user_keys: impl Iterator<Item = &'k [u8]>) {
        for user_key in user_keys.take(APPROACH_MAX) {
            // The fetching is in the search.
            let _ = self.tree.leaf_of(&self.tree.target(user_key, 0));
        }
    }

    /// Makes the first leaf.
    fn plant(&mut self, key: Slot) {
        let leaf = Leaf::create(&mut self.state.arena, &[key], NO_HIGH);
        self.state.last = leaf.as_ptr();
        self.set_root(leaf.cast());
    }

    fn set_root(&self, root: NonNull<Keys>) {
        self.tree.root.store(root.as_ptr(), unless(Bug::RootStoreRelaxed, Ordering::Release));
    }

    /// The leaf that `target` belongs into: that of the last insert where keys come in order.
    #[inline]
    fn leaf_of(&self, target: &Target<'_>) -> Option<NonNull<Leaf>> {
        if let Some(last) = NonNull::new(self.state.last) {
            // SAFETY: T1.
            let keys = unsafe { last.as_ref() }.keys();
            let first = keys.own_order().slot(0);
            let (tag, _) = keys.at(first);
            let begins = tag < target.tag
                || tag == target.tag && keys.entry(first).compare(target) == Compared::Less;
            if begins && !keys.ends_before(target) {
                return Some(last);
            }
        }
        self.tree.leaf_of(target)
    }

    /// The way to the leaf of `target`.
    fn path_to(&self, target: &Target<'_>) -> Path {
        let mut path = [None; HEIGHT_MAX];
        let mut node =
            NonNull::new(self.tree.root.load_own()).expect("a tree with a leaf has a root");
        // SAFETY: T1.
        let mut level = unsafe { node.as_ref() }.level();
        while level > 0 {
            // SAFETY: T1; the level says that it is an inner node.
            let inner = unsafe { node.cast::<Inner>().as_ref() };
            let order = inner.keys().own_order();
            let rank = inner.keys().rank(order, target, true) - 1;
            path[level] = Some((node.cast(), rank));
            node = inner.child(order.slot(rank));
            level -= 1;
        }
        path
    }

    /// Replaces `found`, which is full and gets `key` at `rank`, by two leaves.
    fn split(&mut self, found: NonNull<Leaf>, rank: usize, key: Slot, target: &Target<'_>) {
        let path = self.path_to(target);
        // SAFETY: T1.
        let leaf = unsafe { found.as_ref() };
        let keys = leaf.keys();
        let merged: [Slot; SLOTS + 1] = merge(keys, rank, key);
        // Where keys come in order, what is behind them stays as full as they leave it.
        let in_order = rank == SLOTS && self.state.last == found.as_ptr();
        let at = if in_order { SLOTS } else { merged.len() / 2 };
        let arena = &mut self.state.arena;
        let left = Leaf::create(arena, &merged[..at], merged[at]);
        let right = Leaf::create(arena, &merged[at..], keys.high());
        let (prev, next) = (leaf.prev(), leaf.next());
        // SAFETY: T1.
        unsafe { left.as_ref() }.stand_between(prev, right.as_ptr());
        // SAFETY: T1.
        unsafe { right.as_ref() }.stand_between(left.as_ptr(), next);
        if let Some(prev) = NonNull::new(prev) {
            // SAFETY: T1.
            unsafe { prev.as_ref() }.set_next(left);
        }
        if let Some(next) = NonNull::new(next) {
            // SAFETY: T1.
            unsafe { next.as_ref() }.set_prev(right);
        }
        self.divide(&path, 1, left.cast(), right.cast(), merged[at]);
        // T5: at last.
        keys.replace();
        self.state.last = if rank < at { left } else { right }.as_ptr();
    }

    /// Puts `left` and, from `key` on, `right` in the place of the child that `path` takes on `level`.
    fn divide(
        &mut self,
        path: &Path,
        level: usize,
        left: NonNull<Keys>,
        right: NonNull<Keys>,
        key: Slot,
    ) {
        let Some((found, rank)) = path[level] else {
            let keys = [(0, ptr::null_mut()), key];
            let root = Inner::create(&mut self.state.arena, level, &keys, &[left, right], NO_HIGH);
            return self.set_root(root.cast());
        };
        // SAFETY: T1.
        let inner = unsafe { found.as_ref() };
        let (keys, order) = (inner.keys(), inner.keys().own_order());
        if order.count() < SLOTS {
            return inner.divide(rank, left, right, key);
        }
        let merged: [Slot; SLOTS + 1] = merge(keys, rank + 1, key);
        let children: [NonNull<Keys>; SLOTS + 1] = std::array::from_fn(|place| match place {
            _ if place == rank => left,
            _ if place == rank + 1 => right,
            _ => inner.child(order.slot(place - usize::from(place > rank))),
        });
        // Only the last node of a level may be left with a single child: others would not grow, and `HEIGHT_MAX` would not
        // hold.
        let is_last = keys.high() == NO_HIGH;
        let at = if rank + 1 == SLOTS && is_last { SLOTS } else { merged.len() / 2 };
        let arena = &mut self.state.arena;
        let (low, high) = (&children[..at], &children[at..]);
        let one = Inner::create(arena, level, &merged[..at], low, merged[at]);
        let other = Inner::create(arena, level, &merged[at..], high, keys.high());
        self.divide(path, level + 1, one.cast(), other.cast(), merged[at]);
    }
}

/// The keys of a full node with `key` at `rank`.
fn merge(keys: &Keys, rank: usize, key: Slot) -> [Slot; SLOTS + 1] {
    let order = keys.own_order();
    std::array::from_fn(|place| match place {
        _ if place == rank => key,
        _ => keys.at(order.slot(place - usize::from(place > rank))),
    })
}

#[cfg(test)]
mod check;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;
