//! An append-only skip list of internal entries: one writer, any number of readers, no locks
//! between them.
//!
//! The memtable inserts through [`Writer`] and reads through [`NodeRef`]. A node is one piece of
//! arena memory:
//!
//! | size | field |
//! |---|---|
//! | 8 | header: value length (u32), height << 24 \| key length (u32) |
//! | 16 x height | links, level 0 first: next node, tag of the next node |
//! | key length | internal key: user key and trailer |
//! | value length | value |
//!
//! A link's tag is an order-preserving piece of the next node's key (see `tag`). Most steps of a
//! search are decided by it, without touching the next node: at a million entries a touched node is
//! a cache miss, and these are the whole cost.
//!
//! Invariants, cited below:
//! - S1: every node pointer (head, links, splice, positions) comes from this list's arena, carries
//!   the provenance of its whole chunk and stays valid until the list is dropped: nothing is
//!   removed, moved or freed before.
//! - S2: a node's header, key and value are written before it is published (the Release store of a
//!   pointer to it) and never again. Readers get the pointer by an Acquire load, so they see them.
//! - S3: links change only under the writer's lock. A link's next node only ever gets smaller: a
//!   node is inserted between a predecessor and its next.
//! - S4: on each level, nodes ascend strictly, and level n + 1 is a subset of level n. A node of
//!   height h has links 0 to h - 1; a link on level n points to a node higher than n; the head has
//!   all levels. A level is published only after those below it.
//! - S5: `tag(a) < tag(b)` implies `a < b`, and a link without a next node has the highest tag. The
//!   writer stores a link's next node before its tag, both with Release; a reader loads the tag
//!   before the next node, both with Acquire. So the node it gets is the tag's or a later, smaller
//!   one (S3): if the tag is below the target's, the node exists and is below the target.

use std::cmp::Ordering as Order;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::TryLockError;

use esker_base::key::TRAILER_LEN;
use esker_base::limits::{BATCH_LEN_MAX, KEY_LEN_MAX};

use self::link::Link;
use crate::arena::{ALIGN, Arena};
use crate::sync::{
    AtomicPtr, AtomicUsize, Bug, Mutex, MutexGuard, Ordering, OwnLoad, PlainBytes, planted, unless,
};
use crate::tag::TagBase;

mod link;

/// The most levels a node may have: enough for 2^24 entries.
const HEIGHT_MAX: usize = 24;

const HEADER_BYTES: usize = size_of::<Node>();
const LINK_BYTES: usize = size_of::<Link>();
const KEY_LEN_BITS: u32 = 24;
const KEY_LEN_MASK: u32 = (1 << KEY_LEN_BITS) - 1;

const _: () = assert!(KEY_LEN_MAX + TRAILER_LEN <= KEY_LEN_MASK as usize);
const _: () = assert!(BATCH_LEN_MAX <= u32::MAX as usize && HEIGHT_MAX <= u8::MAX as usize);
const _: () = assert!(align_of::<Node>() <= ALIGN && align_of::<Link>() <= ALIGN);
const _: () = assert!(HEADER_BYTES.is_multiple_of(align_of::<Link>()));
const _: () = assert!(cfg!(loom) || HEADER_BYTES == 8 && LINK_BYTES == 16);

/// The header of a node. Used only behind raw pointers, whose provenance covers the links and bytes
/// that follow.
#[repr(C, align(8))]
struct Node {
    value_len: u32,
    height_and_key_len: u32,
    /// For header, key and value; of size 0 but in models.
    bytes: PlainBytes,
}

/// What a search looks for: an internal key taken apart, with its tag.
#[derive(Clone, Copy)]
struct Target<'a> {
    user_key: &'a [u8],
    trailer: u64,
    tag: u64,
}

/// The list. Reading needs `&self` alone; inserting goes through [`SkipList::try_writer`].
pub(crate) struct SkipList {
    /// The node before all others, with every level; null until the first insert.
    head: AtomicPtr<Node>,
    /// The levels in use. Readers may see it late or early: the head has all levels (S4).
    height: AtomicUsize,
    tags: TagBase,
    writer: Mutex<WriterState>,
}

// SAFETY: nodes hold no thread's own things, only bytes and atomics; see S2, S3 and S5 for how
// readers and the writer share them. `WriterState` is reached only under its lock.
unsafe impl Send for SkipList {}
// SAFETY: as above.
unsafe impl Sync for SkipList {}

/// What only the writer touches.
struct WriterState {
    arena: Arena,
    random: u64,
    /// On each level the last node before the place behind the previous insert, that insert's own
    /// node included. Trusted only if level 0 is not the head. Dangling until the head exists; set
    /// with it.
    splice: [NonNull<Node>; HEIGHT_MAX],
}

/// A node that `'a` keeps alive.
#[derive(Clone, Copy)]
pub(crate) struct NodeRef<'a> {
    node: NonNull<Node>,
    list: PhantomData<&'a SkipList>,
}

/// A [`NodeRef`] without its borrow, for cursors that own their table. Means nothing without its
/// list.
#[derive(Clone, Copy)]
pub(crate) struct Position(NonNull<Node>);

// SAFETY: a position does nothing by itself; `SkipList::at` says what it needs, and lists may be
// shared.
unsafe impl Send for Position {}
// SAFETY: as above.
unsafe impl Sync for Position {}

/// The tower of `node` at `level`.
///
/// # Safety
/// `node` must be a node of a list that outlives `'a` (S1), of a height above `level` (S4).
#[inline(always)]
unsafe fn link<'a>(node: NonNull<Node>, level: usize) -> &'a Link {
    // SAFETY: the caller's promise; the tower follows the header in the same allocation, and links
    // are written before their node is reachable (S2) and are atomics after that.
    unsafe { node.byte_add(HEADER_BYTES + level * LINK_BYTES).cast::<Link>().as_ref() }
}

impl<'a> NodeRef<'a> {
    /// The encoded internal key.
    #[inline]
    pub(crate) fn key(self) -> &'a [u8] {
        // SAFETY: S1: the node lives for 'a. S2: header and key are initialised and never change.
        unsafe {
            let header = self.node.as_ref();
            header.bytes.read();
            let key_len = (header.height_and_key_len & KEY_LEN_MASK) as usize;
            let height = (header.height_and_key_len >> KEY_LEN_BITS) as usize;
            let start = self.node.cast::<u8>().add(HEADER_BYTES + height * LINK_BYTES);
            slice::from_raw_parts(start.as_ptr(), key_len)
        }
    }

    /// The user key and the trailer.
    #[inline]
    pub(crate) fn key_parts(self) -> (&'a [u8], u64) {
        let (user_key, trailer) =
            self.key().split_last_chunk::<TRAILER_LEN>().expect("every node's key has a trailer");
        (user_key, u64::from_le_bytes(*trailer))
    }

    /// The value.
    #[inline]
    pub(crate) fn value(self) -> &'a [u8] {
        let key = self.key().as_ptr_range();
        // SAFETY: S1, S2: the value follows the key in the same allocation, initialised and never
        // changed. The pointer is derived from the node's, not from the key's slice, so that its
        // provenance covers the value.
        unsafe {
            let offset = key.end.offset_from_unsigned(self.node.as_ptr().cast::<u8>());
            let start = self.node.cast::<u8>().add(offset);
            slice::from_raw_parts(start.as_ptr(), self.node.as_ref().value_len as usize)
        }
    }

    /// The next node.
    #[inline]
    pub(crate) fn next(self) -> Option<NodeRef<'a>> {
        // SAFETY: S1 for 'a; S4: every node has level 0.
        let next = unsafe { link(self.node, 0) }.next();
        NonNull::new(next).map(NodeRef::new)
    }

    /// This node without the borrow.
    pub(crate) fn position(self) -> Position {
        Position(self.node)
    }

    #[inline]
    fn new(node: NonNull<Node>) -> NodeRef<'a> {
        NodeRef { node, list: PhantomData }
    }

    /// Compares as [`esker_base::key::compare`] does.
    #[inline]
    fn compare(self, target: &Target<'_>) -> Order {
        let (user_key, trailer) = self.key_parts();
        user_key.cmp(target.user_key).then_with(|| target.trailer.cmp(&trailer))
    }
}

impl SkipList {
    /// An empty list, which owns no memory from the arena yet.
    pub(crate) fn new(tags: TagBase) -> SkipList {
        let state = WriterState {
            arena: Arena::new(),
            random: 0x9e37_79b9_7f4a_7c15,
            splice: [NonNull::dangling(); HEIGHT_MAX],
        };
        SkipList {
            head: AtomicPtr::new(ptr::null_mut()),
            height: AtomicUsize::new(1),
            tags,
            writer: Mutex::new(state),
        }
    }

    /// The right to insert, unless somebody else has it now.
    pub(crate) fn try_writer(&self) -> Option<Writer<'_>> {
        let state = match self.writer.try_lock() {
            Ok(state) => state,
            // An insert panics only before it links anything, and leaves no splice that looks
            // valid.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Writer { list: self, state })
    }

    /// The node at `position`.
    ///
    /// # Safety
    /// `position` must come from a node of this very list.
    #[inline]
    pub(crate) unsafe fn at(&self, position: Position) -> NodeRef<'_> {
        NodeRef::new(position.0)
    }

    /// The first node.
    pub(crate) fn first(&self) -> Option<NodeRef<'_>> {
        // The head is no entry, but its level 0 is that of any node.
        NodeRef::new(self.head()?).next()
    }

    /// The last node.
    pub(crate) fn last(&self) -> Option<NodeRef<'_>> {
        let head = self.head()?;
        let mut node = head;
        for level in (0..self.height.load(Ordering::Relaxed)).rev() {
            loop {
                // SAFETY: S1; S4: `node` is the head or was reached on this level or above.
                let link = unsafe { link(node, level) };
                let Some(next) = NonNull::new(link.next()) else { break };
                node = next;
            }
        }
        (node != head).then(|| NodeRef::new(node))
    }

    /// The first node at or after the internal key of these parts.
    #[inline]
    pub(crate) fn seek(&self, user_key: &[u8], trailer: u64) -> Option<NodeRef<'_>> {
        let target = self.target(user_key, trailer);
        let mut node = self.head()?;
        let mut level = self.height.load(Ordering::Relaxed) - 1;
        // The node that stopped the search on the level above: it need not be compared again.
        let mut bound = ptr::null_mut();
        loop {
            // SAFETY: S1; S4: `node` is the head or was reached on this level or above.
            let link = unsafe { link(node, level) };
            let tag = link.tag();
            // A higher tag is enough to go down; on level 0 the node itself is wanted, and it may
            // be a later, lower one than its tag, so that only comparing tells.
            if tag > target.tag && level > 0 {
                level -= 1;
                continue;
            }
            let next = link.next();
            if tag < target.tag {
                // SAFETY: S5: the tag is below the target's, so the node exists and is below the
                // target.
                node = unsafe { NonNull::new_unchecked(next) };
                continue;
            }
            match NonNull::new(next) {
                Some(after)
                    if next != bound && NodeRef::new(after).compare(&target) == Order::Less =>
                {
                    node = after;
                }
                after if level == 0 => return after.map(NodeRef::new),
                _ => {
                    bound = next;
                    level -= 1;
                }
            }
        }
    }

    /// The last node before the internal key of these parts; with `or_equal` the last at or before
    /// it.
    pub(crate) fn seek_before(
        &self,
        user_key: &[u8],
        trailer: u64,
        or_equal: bool,
    ) -> Option<NodeRef<'_>> {
        let target = self.target(user_key, trailer);
        let head = self.head()?;
        let mut node = head;
        for level in (0..self.height.load(Ordering::Relaxed)).rev() {
            loop {
                // SAFETY: S1; S4: `node` is the head or was reached on this level or above.
                let link = unsafe { link(node, level) };
                let tag = link.tag();
                if tag > target.tag {
                    break;
                }
                let Some(next) = NonNull::new(link.next()) else { break };
                if tag == target.tag {
                    match NodeRef::new(next).compare(&target) {
                        Order::Greater => break,
                        Order::Equal if !or_equal => break,
                        _ => {}
                    }
                }
                node = next;
            }
        }
        (node != head).then(|| NodeRef::new(node))
    }

    #[inline]
    fn head(&self) -> Option<NonNull<Node>> {
        NonNull::new(self.head.load(unless(Bug::HeadLoadRelaxed, Ordering::Acquire)))
    }

    #[inline]
    fn target<'a>(&self, user_key: &'a [u8], trailer: u64) -> Target<'a> {
        Target { user_key, trailer, tag: self.tags.tag(user_key) }
    }
}

/// The right to insert.
pub(crate) struct Writer<'a> {
    list: &'a SkipList,
    state: MutexGuard<'a, WriterState>,
}

impl Writer<'_> {
    /// The bytes that the list's arena has taken from the system.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.state.arena.allocated_bytes()
    }

    /// Adds an entry. It is visible to every search that starts after the call.
    ///
    /// # Panics
    /// If the key or the value is over the limit, or the internal key is in the list already.
    pub(crate) fn insert(&mut self, user_key: &[u8], trailer: u64, value: &[u8]) {
        assert!(user_key.len() <= KEY_LEN_MAX && value.len() <= BATCH_LEN_MAX);
        let target = self.list.target(user_key, trailer);
        self.find_splice(&target);

        let height = self.random_height();
        let (node, links) = self.new_node(height, user_key, trailer, value);
        for level in 0..height {
            // SAFETY: S1; S4: the splice's node on a level has that level; the head has all.
            let before = unsafe { link(self.state.splice[level], level) };
            // SAFETY: the new node has `height` links, and nobody else can reach it yet.
            unsafe { links.add(level).write(before.copy()) };
        }
        for step in 0..height {
            // S4: a level after those below it.
            let level = if planted(Bug::HighestLevelFirst) { height - 1 - step } else { step };
            // SAFETY: as above.
            let before = unsafe { link(self.state.splice[level], level) };
            before.lead_to(node, target.tag);
            self.state.splice[level] = node;
        }
        if height > self.list.height.load_own() {
            self.list.height.store(height, Ordering::Relaxed);
        }
    }

    /// Walks towards the places of several keys in turns, so that the cache misses on their ways
    /// overlap: inserting one after the other waits for each alone, and such waits are most of what an
    /// insert costs. Changes nothing, and finds nothing; the inserts that follow do.
    pub(crate) fn approach<'k>(&self, user_keys: impl Iterator<Item = &'k [u8]>) {
        let Some(head) = NonNull::new(self.list.head.load_own()) else { return };
        let levels = self.list.height.load_own();
        let mut walks = [Walk { tag: 0, node: head, level: 0 }; WALKS_MAX];
        for (walk, user_key) in walks.iter_mut().zip(user_keys) {
            *walk = Walk { tag: self.list.tags.tag(user_key), node: head, level: levels };
        }
        while walks.iter_mut().fold(false, |any, walk| walk.step() | any) {}
    }

    /// Points the splice at the last node before `target` on every level.
    fn find_splice(&mut self, target: &Target<'_>) {
        let Some(head) = NonNull::new(self.list.head.load_own()) else {
            self.add_head();
            return;
        };
        let levels = self.list.height.load_own();
        let (top, mut node) = match self.levels_off(head, target, levels) {
            Some(0) => return,
            Some(off) => (off, self.state.splice[off - 1]),
            None => (levels, head),
        };
        // Until the search has succeeded, the splice is a mix of two places: keep the next insert
        // from trusting it.
        self.state.splice[0] = head;
        let mut bound = ptr::null_mut();
        for level in (0..top).rev() {
            loop {
                // SAFETY: S1; S4: `node` is the head or was reached on this level or above.
                let link = unsafe { link(node, level) };
                let tag = link.own_tag();
                if tag > target.tag {
                    break;
                }
                let next = link.own_next();
                if tag == target.tag && (next == bound || !is_before(next, target)) {
                    bound = next;
                    break;
                }
                // SAFETY: S5 for a lower tag; `is_before` for an equal one.
                node = unsafe { NonNull::new_unchecked(next) };
            }
            self.state.splice[level] = node;
        }
    }

    /// On how many levels from the lowest the splice has to move for `target`; `None` if it tells
    /// nothing, because `target` does not lie behind the previous insert. None when keys arrive in
    /// order, and few when they are those of a sorted batch.
    fn levels_off(&self, head: NonNull<Node>, target: &Target<'_>, levels: usize) -> Option<usize> {
        let previous = self.state.splice[0];
        if previous == head || NodeRef::new(previous).compare(target) != Order::Less {
            return None;
        }
        // On each level the splice's node is at most the previous insert, so before the target; and
        // where the next one is not, no higher level has one between.
        let fits = |level: usize| {
            // SAFETY: S1; S4: the splice's node on a level has that level; the head has all.
            let link = unsafe { link(self.state.splice[level], level) };
            let tag = link.own_tag();
            tag > target.tag || tag == target.tag && !is_before(link.own_next(), target)
        };
        Some((0..levels).find(|&level| fits(level)).unwrap_or(levels))
    }

    fn add_head(&mut self) {
        let (head, links) = self.new_node(HEIGHT_MAX, &[], 0, &[]);
        for level in 0..HEIGHT_MAX {
            // SAFETY: the new node has HEIGHT_MAX links, and nobody else can reach it yet.
            unsafe { links.add(level).write(Link::empty()) };
        }
        self.state.splice = [head; HEIGHT_MAX];
        self.list.head.store(head.as_ptr(), unless(Bug::HeadStoreRelaxed, Ordering::Release));
    }

    /// A node with everything but its links, and the place of these.
    fn new_node(
        &mut self,
        height: usize,
        user_key: &[u8],
        trailer: u64,
        value: &[u8],
    ) -> (NonNull<Node>, *mut Link) {
        let key_len = user_key.len() + TRAILER_LEN;
        let size = HEADER_BYTES + height * LINK_BYTES + key_len + value.len();
        let node = self.state.arena.allocate(size);
        let header = Node {
            value_len: value.len() as u32,
            height_and_key_len: (height as u32) << KEY_LEN_BITS | key_len as u32,
            bytes: PlainBytes::new(),
        };
        // SAFETY: the arena gave `size` bytes, aligned for header and links, that nobody else
        // knows; the parts written here lie one behind the other and add up to `size`.
        unsafe {
            node.cast::<Node>().write(header);
            let links = node.add(HEADER_BYTES);
            let key = links.add(height * LINK_BYTES);
            key.copy_from_nonoverlapping(NonNull::from(user_key).cast(), user_key.len());
            let trailer_at = key.add(user_key.len());
            trailer_at.cast::<[u8; TRAILER_LEN]>().write(trailer.to_le_bytes());
            let value_at = trailer_at.add(TRAILER_LEN);
            value_at.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
            (node.cast(), links.cast().as_ptr())
        }
    }

    /// 1 with probability 1/2, 2 with 1/4 and so on; at most one level more than the list has.
    fn random_height(&mut self) -> usize {
        // xorshift64*: fixed seed, so that the same inserts build the same list.
        let random = &mut self.state.random;
        *random ^= *random >> 12;
        *random ^= *random << 25;
        *random ^= *random >> 27;
        let bits = random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        let highest = (self.list.height.load_own() + 1).min(HEIGHT_MAX);
        (1 + bits.trailing_zeros() as usize).min(highest)
    }
}

/// How many keys [`Writer::approach`] takes at a time: as many misses as a core has under way.
pub(crate) const WALKS_MAX: usize = 8;

/// The way to one key.
#[derive(Clone, Copy)]
struct Walk {
    tag: u64,
    /// The last node that was reached.
    node: NonNull<Node>,
    /// The levels that are left.
    level: usize,
}

impl Walk {
    /// Goes down as far as `node` is the last before the key by their tags, then to the next node, which is not waited
    /// for; false at the end.
    fn step(&mut self) -> bool {
        while let Some(level) = self.level.checked_sub(1) {
            // SAFETY: S1; S4: `node` is the head or was reached on this level or above. The caller has the list's writer.
            let link = unsafe { link(self.node, level) };
            if link.own_tag() < self.tag {
                // SAFETY: S5: the tag is below another, so the node exists.
                self.node = unsafe { NonNull::new_unchecked(link.own_next()) };
                prefetch(self.node, level);
                return true;
            }
            self.level = level;
        }
        false
    }
}

/// Starts fetching the link of `node` on `level`.
#[inline(always)]
fn prefetch(node: NonNull<Node>, level: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
    // SAFETY: a prefetch reads nothing, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let link = node.as_ptr().cast::<i8>().wrapping_add(HEADER_BYTES + level * LINK_BYTES);
        _mm_prefetch::<_MM_HINT_T0>(link);
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
    let _ = (node, level);
}

/// Whether `next` is a node before `target`; an equal one is an error of the caller's.
fn is_before(next: *mut Node, target: &Target<'_>) -> bool {
    let Some(next) = NonNull::new(next) else { return false };
    match NodeRef::new(next).compare(target) {
        Order::Less => true,
        Order::Equal => panic!("an internal key is inserted twice: a sequence number was reused"),
        Order::Greater => false,
    }
}

#[cfg(test)]
mod check;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;
