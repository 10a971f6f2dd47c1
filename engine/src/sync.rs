//! The engine's locks, condition variables, threads and shared cells. Everything in this crate that threads meet at
//! comes from here, never from `parking_lot`, `arc-swap` or `std::sync` directly.
//!
//! Normally these are those crates' own types. With the feature `shuttle`, which only the tests of schedules turn on
//! (`tests/shuttle`), each operation lets a scheduler choose which thread goes on; see [`scheduled`]. What is not here
//! stays as it is in both builds: `Arc`, the counters of the metrics, the flag that cancels long steps, and the locks
//! and atomics inside the other crates. A thread is switched only at an operation of this module or at a file system
//! call of a test, and the other crates hold no lock of their own across either, so none is ever held over a switch, but a
//! memtable's inserter, which nobody but the owner of the log takes.

#[cfg(feature = "shuttle")]
mod scheduled;

#[cfg(feature = "shuttle")]
pub(crate) use scheduled::{
    ArcSwap, AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, OnceLock, RwLock,
    step, thread, thread_id,
};

#[cfg(not(feature = "shuttle"))]
pub(crate) use native::{
    ArcSwap, AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, OnceLock, RwLock,
    step, thread, thread_id,
};

#[cfg(not(feature = "shuttle"))]
mod native {
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
    pub(crate) use std::thread;

    pub(crate) use arc_swap::ArcSwap;
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

    /// A place where another thread may go on although nothing is locked or shared here.
    #[inline(always)]
    pub(crate) fn step() {}

    thread_local! {
        static THREAD_ID: thread::ThreadId = thread::current().id();
    }

    /// Which thread this is. It is asked for every group of commits, and `thread::current` counts references each time.
    #[inline]
    pub(crate) fn thread_id() -> thread::ThreadId {
        THREAD_ID.with(|id| *id)
    }
}
