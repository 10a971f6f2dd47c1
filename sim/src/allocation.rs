//! How much memory a piece of work takes: an allocator that counts, for the checks that promise a bound.
//!
//! The binary installs [`Counting`] as its global allocator; where nobody has, every peak reads as 0. Counts are kept
//! per thread, because the measured work runs on one. Must never allocate itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has allocated and not freed. Freed elsewhere, they stay; freed here for another thread,
    /// they are taken off: so it may be negative.
    static LIVE: Cell<i64> = const { Cell::new(0) };
    /// The most that `LIVE` has been since the measurement began.
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

fn add(bytes: i64) {
    // A thread that is ending has no counters any more, and nobody measures it.
    let _ = LIVE.try_with(|live| {
        let now = live.get() + bytes;
        live.set(now);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; the counters beside it never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as i64);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        add(-(layout.size() as i64));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as i64);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size as i64 - layout.size() as i64);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `work` and says by how many bytes its thread's memory grew at most meanwhile.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = LIVE.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = work();
    let peak = PEAK.with(Cell::get);
    (result, u64::try_from(peak - before).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For the tests of this crate, as the binary has it.
    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    #[test]
    fn the_peak_is_the_most_at_one_time() {
        let (kept, peak) = peak_of(|| {
            drop(vec![0u8; 3 << 20]);
            vec![0u8; 2 << 20]
        });
        assert!((3 << 20..4 << 20).contains(&peak), "{peak}");
        let ((), peak) = peak_of(|| drop(kept));
        assert!(peak < 1 << 20, "{peak}");
    }
}
