//! The nodes of the tree, and the order in which their parts are stored and loaded.
//!
//! Used by the tree alone, whose invariants T2 to T5 rest on this file: nothing else may touch a node's fields.

use std::cmp::Ordering as Compared;
use std::ptr::NonNull;

use super::entry::{Entry, EntryRef, Target};
use super::order::{Order, SLOTS_MAX};
use crate::arena::{Arena, LINE};
use crate::sync::{AtomicPtr, AtomicU64, Bug, Ordering, OwnLoad, planted, unless};

/// The most entries of a leaf and children of an inner node; few in models, so that nodes split soon.
pub(super) const SLOTS: usize = if cfg!(loom) { 3 } else { SLOTS_MAX };

const _: () = assert!(cfg!(loom) || size_of::<Leaf>() == 4 * LINE);
const _: () = assert!(align_of::<Leaf>() <= LINE && align_of::<Inner>() <= LINE);

/// How many lines [`prefetch_bytes`] asks for.
const BYTES_LINES_MAX: usize = 4;

/// What all nodes begin with: their keys. A pointer to one is a pointer to the whole node.
#[repr(C)]
pub(super) struct Keys {
    /// An [`Order`].
    order: AtomicU64,
    /// The first key behind this node and its tag; null and the highest for none. Never changes.
    high_tag: u64,
    high: *mut Entry,
    /// 0 for a leaf. Never changes.
    level: usize,
    /// A slot's key: its tag and its entry. In an inner node the lowest key that belongs to the child; null, with tag 0,
    /// where the child is the first of its level.
    tags: [AtomicU64; SLOTS],
    entries: [AtomicPtr<Entry>; SLOTS],
}

/// A leaf: entries.
#[repr(C, align(64))]
pub(super) struct Leaf {
    keys: Keys,
    next: AtomicPtr<Leaf>,
    prev: AtomicPtr<Leaf>,
}

/// An inner node: children, all of one level.
#[repr(C, align(64))]
pub(super) struct Inner {
    keys: Keys,
    children: [AtomicPtr<Keys>; SLOTS],
}

/// A key of a node: its tag and its entry.
pub(super) type Slot = (u64, *mut Entry);

/// The first key behind a node that has none behind it.
pub(super) const NO_HIGH: Slot = (u64::MAX, std::ptr::null_mut());

impl Keys {
    fn new(level: usize, high: Slot, slots: &[Slot]) -> Keys {
        let at = |slot: usize| slots.get(slot).copied().unwrap_or((0, std::ptr::null_mut()));
        Keys {
            order: AtomicU64::new(Order::of_first(slots.len()).0),
            high_tag: high.0,
            high: high.1,
            level,
            tags: std::array::from_fn(|slot| AtomicU64::new(at(slot).0)),
            entries: std::array::from_fn(|slot| AtomicPtr::new(at(slot).1)),
        }
    }

    /// Starts fetching the leaf or the inner node at `node`, all of its lines at once.
    #[inline(always)]
    pub(super) fn prefetch(node: NonNull<Keys>, level: usize) {
        let bytes = if level == 0 { size_of::<Leaf>() } else { size_of::<Inner>() };
        for line in 0..bytes / LINE {
            prefetch(node.as_ptr().cast::<u8>().wrapping_add(line * LINE));
        }
    }

    /// 0 for a leaf.
    #[inline(always)]
    pub(super) fn level(&self) -> usize {
        self.level
    }

    /// Which slots are in use. What was stored in them before is visible after this (T3).
    #[inline(always)]
    pub(super) fn order(&self) -> Order {
        Order(self.order.load(unless(Bug::OrderLoadRelaxed, Ordering::Acquire)))
    }

    /// The same for the writer.
    #[inline(always)]
    pub(super) fn own_order(&self) -> Order {
        Order(self.order.load_own())
    }

    /// T3: Release, after all that the order shows.
    fn set_order(&self, order: Order) {
        self.order.store(order.0, unless(Bug::OrderStoreRelaxed, Ordering::Release));
    }

    /// Says that other nodes have taken this one's place.
    pub(super) fn replace(&self) {
        self.set_order(self.own_order().replaced());
    }

    /// The first key behind this node.
    pub(super) fn high(&self) -> Slot {
        (self.high_tag, self.high)
    }

    /// Whether `target` lies behind this node.
    #[inline(always)]
    pub(super) fn ends_before(&self, target: &Target<'_>) -> bool {
        if self.high_tag > target.tag {
            return false;
        }
        let Some(high) = NonNull::new(self.high) else { return false };
        // SAFETY: T1, T2: an entry that was complete before this node was made.
        self.high_tag < target.tag
            || unsafe { EntryRef::new(high) }.compare(target) != Compared::Greater
    }

    /// The key of `slot`, which is in use in an order of this node.
    #[inline(always)]
    pub(super) fn at(&self, slot: usize) -> Slot {
        (self.tags[slot].load(Ordering::Relaxed), self.entries[slot].load(Ordering::Relaxed))
    }

    /// The entry of `slot`, which is in use in an order of this leaf.
    #[inline(always)]
    pub(super) fn entry<'a>(&self, slot: usize) -> EntryRef<'a> {
        let entry = NonNull::new(self.entries[slot].load(Ordering::Relaxed));
        let entry = entry.expect("a slot of a leaf that is in use has an entry");
        // SAFETY: T1, T3: stored before the order that shows the slot, and complete before that.
        unsafe { EntryRef::new(entry) }
    }

    /// How many of the keys of `order` lie before `target`; with `or_equal` before or at it.
    #[inline(always)]
    pub(super) fn rank(&self, order: Order, target: &Target<'_>, or_equal: bool) -> usize {
        let count = order.count();
        // All tags at once, whichever are in use: no branch to guess. A tag that is just being stored does not count.
        let all = if cfg!(loom) { count } else { SLOTS };
        let below = (0..all).fold(0_u32, |below, slot| {
            below | u32::from(self.tags[slot].load(Ordering::Relaxed) < target.tag) << slot
        });
        let rank = (below & ((1 << count) - 1)).count_ones() as usize;
        if rank == count || self.tags[order.slot(rank)].load(Ordering::Relaxed) != target.tag {
            return rank;
        }
        self.rank_of_equal_tags(order, rank, target, or_equal)
    }

    /// As `rank`, where the key of rank `first` is the first with the target's tag.
    fn rank_of_equal_tags(
        &self,
        order: Order,
        first: usize,
        target: &Target<'_>,
        or_equal: bool,
    ) -> usize {
        let (mut low, mut high) = (first, order.count());
        // Few keys have the same tag, so the first is mostly the only one.
        let mut middle = first;
        while low < high {
            let (tag, entry) = self.at(order.slot(middle));
            let compared = match NonNull::new(entry) {
                _ if tag != target.tag => Compared::Greater,
                None => Compared::Less,
                // SAFETY: as in `entry`.
                Some(entry) => unsafe { EntryRef::new(entry) }.compare(target),
            };
            let before = compared == Compared::Less || or_equal && compared == Compared::Equal;
            (low, high) = if before { (middle + 1, high) } else { (low, middle) };
            middle = low.midpoint(high);
        }
        low
    }

    /// Puts a key into the next slot; the order that shows it, and the slot.
    fn fill_next(&self, rank: usize, key: Slot) -> (Order, usize) {
        let (order, slot) = self.own_order().with_next(rank);
        self.tags[slot].store(key.0, Ordering::Relaxed);
        self.entries[slot].store(key.1, Ordering::Relaxed);
        (order, slot)
    }
}

impl Leaf {
    /// A leaf of these entries, which follow each other, in `arena`. Neighbours are set by [`Leaf::stand_between`].
    pub(super) fn create(arena: &mut Arena, entries: &[Slot], high: Slot) -> NonNull<Leaf> {
        let leaf = arena.allocate_lines(size_of::<Leaf>()).cast::<Leaf>();
        let none = || AtomicPtr::new(std::ptr::null_mut());
        // SAFETY: the arena gave so many bytes, aligned to a line, that nobody else knows.
        unsafe {
            leaf.write(Leaf { keys: Keys::new(0, high, entries), next: none(), prev: none() })
        }
        leaf
    }

    #[inline(always)]
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The leaf behind. All that was written before it was put there is visible after this.
    #[inline(always)]
    pub(super) fn next(&self) -> *mut Leaf {
        self.next.load(unless(Bug::NeighbourLoadRelaxed, Ordering::Acquire))
    }

    /// The leaf before.
    #[inline(always)]
    pub(super) fn prev(&self) -> *mut Leaf {
        self.prev.load(unless(Bug::NeighbourLoadRelaxed, Ordering::Acquire))
    }

    /// Sets the neighbours of a leaf that nobody can reach yet.
    pub(super) fn stand_between(&self, prev: *mut Leaf, next: *mut Leaf) {
        self.prev.store(prev, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
    }

    /// T3: Release, after all of `next`.
    pub(super) fn set_next(&self, next: NonNull<Leaf>) {
        self.next.store(next.as_ptr(), unless(Bug::NeighbourStoreRelaxed, Ordering::Release));
    }

    /// As `set_next`.
    pub(super) fn set_prev(&self, prev: NonNull<Leaf>) {
        self.prev.store(prev.as_ptr(), unless(Bug::NeighbourStoreRelaxed, Ordering::Release));
    }

    /// Adds an entry at `rank`. There is room.
    pub(super) fn add(&self, rank: usize, key: Slot) {
        let (order, _) = self.keys.fill_next(rank, key);
        self.keys.set_order(order);
    }

    /// Starts fetching the entries that follow each other from here.
    #[inline]
    pub(super) fn prefetch_entries(&self, order: Order) {
        for rank in 0..order.count() {
            let entry = self.keys.entries[order.slot(rank)].load(Ordering::Relaxed).cast::<u8>();
            prefetch(entry);
            prefetch(entry.wrapping_add(LINE));
        }
    }
}

impl Inner {
    /// An inner node of these children with their lowest keys, in `arena`.
    pub(super) fn create(
        arena: &mut Arena,
        level: usize,
        keys: &[Slot],
        children: &[NonNull<Keys>],
        high: Slot,
    ) -> NonNull<Inner> {
        let inner = arena.allocate_lines(size_of::<Inner>()).cast::<Inner>();
        let child = |slot: usize| children.get(slot).map_or(std::ptr::null_mut(), |c| c.as_ptr());
        let children = std::array::from_fn(|slot| AtomicPtr::new(child(slot)));
        // SAFETY: the arena gave so many bytes, aligned to a line, that nobody else knows.
        unsafe { inner.write(Inner { keys: Keys::new(level, high, keys), children }) }
        inner
    }

    #[inline(always)]
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The child in `slot`, which is in use in an order of this node.
    #[inline(always)]
    pub(super) fn child(&self, slot: usize) -> NonNull<Keys> {
        let child = self.children[slot].load(unless(Bug::ChildLoadRelaxed, Ordering::Acquire));
        NonNull::new(child).expect("a slot of an inner node that is in use has a child")
    }

    /// Replaces the child of `rank` by `left` and, from `key` on, `right`. There is room.
    pub(super) fn divide(&self, rank: usize, left: NonNull<Keys>, right: NonNull<Keys>, key: Slot) {
        let release = unless(Bug::ChildStoreRelaxed, Ordering::Release);
        let old = self.keys.own_order().slot(rank);
        if planted(Bug::LeftBeforeRight) {
            self.children[old].store(left.as_ptr(), release);
        }
        let (order, slot) = self.keys.fill_next(rank + 1, key);
        self.children[slot].store(right.as_ptr(), release);
        // T4: the right one before the left one.
        self.keys.set_order(order);
        self.children[old].store(left.as_ptr(), release);
    }
}

/// Starts fetching the first lines of `bytes`; those behind are fetched ahead by the processor itself.
#[inline(always)]
pub(crate) fn prefetch_bytes(bytes: &[u8]) {
    for line in bytes.chunks(LINE).take(BYTES_LINES_MAX) {
        prefetch(line.as_ptr());
    }
}

/// Starts fetching the cache line at `at`.
#[inline(always)]
pub(super) fn prefetch(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
    // SAFETY: a prefetch reads nothing, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
    let _ = at;
}
