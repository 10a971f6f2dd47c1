//! A link of the skip list, and the order in which its two halves are stored and loaded.
//!
//! Used by the skip list alone, whose invariants S2 and S5 rest on this file: nothing else may touch
//! a link's halves.

use std::ptr::{self, NonNull};

use super::Node;
use crate::sync::{AtomicPtr, AtomicU64, Bug, Ordering, OwnLoad, planted, unless};

/// What follows a node on one level.
#[repr(C)]
pub(super) struct Link {
    next: AtomicPtr<Node>,
    tag: AtomicU64,
}

impl Link {
    /// A link to nothing, with the highest tag (S5).
    pub(super) fn empty() -> Link {
        Link { next: AtomicPtr::new(ptr::null_mut()), tag: AtomicU64::new(u64::MAX) }
    }

    /// A link to what this one links to. For the writer.
    pub(super) fn copy(&self) -> Link {
        Link { next: AtomicPtr::new(self.own_next()), tag: AtomicU64::new(self.own_tag()) }
    }

    /// The tag of the next node, or of one that was the next before and so lies behind it. To be
    /// loaded before `next` (S5).
    #[inline(always)]
    pub(super) fn tag(&self) -> u64 {
        self.tag.load(unless(Bug::TagLoadRelaxed, Ordering::Acquire))
    }

    /// The next node, null for none. Everything that was written before it was linked is visible
    /// after this (S2).
    #[inline(always)]
    pub(super) fn next(&self) -> *mut Node {
        self.next.load(unless(Bug::NextLoadRelaxed, Ordering::Acquire))
    }

    /// The tag, for the writer: it reads what it wrote itself, which is exactly the next node's.
    #[inline(always)]
    pub(super) fn own_tag(&self) -> u64 {
        self.tag.load_own()
    }

    /// The next node, for the writer.
    #[inline(always)]
    pub(super) fn own_next(&self) -> *mut Node {
        self.next.load_own()
    }

    /// Makes `node`, whose tag is `tag`, the next one. For the writer; `node` must be complete.
    #[inline(always)]
    pub(super) fn lead_to(&self, node: NonNull<Node>, tag: u64) {
        if planted(Bug::TagBeforeNext) {
            self.tag.store(tag, Ordering::Release);
        }
        // S2: Release. S5: the node before its tag, and Release again.
        self.next.store(node.as_ptr(), unless(Bug::NextStoreRelaxed, Ordering::Release));
        self.tag.store(tag, unless(Bug::TagStoreRelaxed, Ordering::Release));
    }
}
