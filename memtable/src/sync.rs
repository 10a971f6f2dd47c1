//! What threads share a memtable through: the primitives of `std`, or loom's where the models of
//! `tree/models.rs` are built.
//!
//! The tree and the counters take theirs from here and from nowhere else. Only the package in
//! `memtable/loom` sets `cfg(loom)`. In every other build this file is a list of imports, a type of
//! size zero and functions that return a constant, and must never be more.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

/// Stands in an entry for its plain bytes, which loom cannot see: made when they are written, and
/// touched by every look at them. A model fails where a look does not happen after the writing.
pub(crate) struct PlainBytes {
    #[cfg(loom)]
    cell: loom::cell::UnsafeCell<()>,
}

impl PlainBytes {
    /// The bytes are being written.
    #[inline(always)]
    pub(crate) fn new() -> PlainBytes {
        PlainBytes {
            #[cfg(loom)]
            cell: loom::cell::UnsafeCell::new(()),
        }
    }

    /// The bytes are being read.
    #[inline(always)]
    pub(crate) fn read(&self) {
        #[cfg(loom)]
        self.cell.with(|_| ());
    }
}

/// A load by the one thread that may store, which needs no ordering: it reads what it stored itself
/// or what the lock handed over.
///
/// Under loom it is checked to be that, and is otherwise no event. As an event it would hide others:
/// of each place loom keeps the last access alone, so that a load right before the same thread's
/// store would stand before those of readers, and loom would not try them behind the store.
pub(crate) trait OwnLoad {
    /// What is loaded.
    type Value;

    /// The value stored last.
    fn load_own(&self) -> Self::Value;
}

macro_rules! own_load {
    ($atomic:ty, $value:ty $(, $parameter:ident)?) => {
        impl$(<$parameter>)? OwnLoad for $atomic {
            type Value = $value;

            #[inline(always)]
            fn load_own(&self) -> $value {
                #[cfg(not(loom))]
                return self.load(Ordering::Relaxed);
                // SAFETY: loom's atomics hold no memory that a race could damage; that there is none
                // is what loom checks here.
                #[cfg(loom)]
                return unsafe { self.unsync_load() };
            }
        }
    };
}

own_load!(AtomicU64, u64);
own_load!(AtomicUsize, usize);
own_load!(AtomicPtr<T>, *mut T, T);

/// Bugs that can be planted while models are checked, to prove that the models find them.
///
/// They are no `esker_base::mutant!`s: most of them show only on machines that reorder more than
/// x86 does, so that no run of the real thing can find them there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A node's order is stored without Release.
    OrderStoreRelaxed,
    /// A node's order is loaded without Acquire.
    OrderLoadRelaxed,
    /// A child is stored without Release.
    ChildStoreRelaxed,
    /// A child is loaded without Acquire.
    ChildLoadRelaxed,
    /// A leaf's neighbour is stored without Release.
    NeighbourStoreRelaxed,
    /// A leaf's neighbour is loaded without Acquire.
    NeighbourLoadRelaxed,
    /// The root is stored without Release.
    RootStoreRelaxed,
    /// The root is loaded without Acquire.
    RootLoadRelaxed,
    /// Of the nodes in the place of one, the left one is shown first.
    LeftBeforeRight,
    /// A search takes a node for the right one although it ends before the target.
    SplitNotNoticed,
}

/// Whether `bug` is there: never, unless models are being checked.
#[inline(always)]
pub(crate) fn planted(bug: Bug) -> bool {
    #[cfg(loom)]
    return modelled::planted() == Some(bug);
    #[cfg(not(loom))]
    return {
        let _ = bug;
        false
    };
}

/// `ordering`, or none with `bug`.
#[inline(always)]
pub(crate) fn unless(bug: Bug, ordering: Ordering) -> Ordering {
    if planted(bug) { Ordering::Relaxed } else { ordering }
}

#[cfg(loom)]
pub(crate) mod modelled {
    //! Which bug this process has: at most one, from the environment.

    use std::sync::LazyLock;

    use super::Bug;

    /// The variable that names the planted bug.
    pub(crate) const VARIABLE: &str = "ESKER_LOOM_BUG";

    impl Bug {
        pub(crate) const ALL: [Bug; 10] = [
            Bug::OrderStoreRelaxed,
            Bug::OrderLoadRelaxed,
            Bug::ChildStoreRelaxed,
            Bug::ChildLoadRelaxed,
            Bug::NeighbourStoreRelaxed,
            Bug::NeighbourLoadRelaxed,
            Bug::RootStoreRelaxed,
            Bug::RootLoadRelaxed,
            Bug::LeftBeforeRight,
            Bug::SplitNotNoticed,
        ];
    }

    static PLANTED: LazyLock<Option<Bug>> = LazyLock::new(|| {
        let name = std::env::var(VARIABLE).ok()?;
        let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
        // A mistyped name must not look like a bug that no model finds.
        Some(bug.unwrap_or_else(|| panic!("{VARIABLE}: there is no bug {name}")))
    });

    pub(super) fn planted() -> Option<Bug> {
        *PLANTED
    }
}
