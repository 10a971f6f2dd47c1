//! Asking for memory before it is needed, so that several cache misses are waited for at once.
//!
//! Used by point reads for filter lines, index groups and the front of blocks, and by walks for what comes next. A hint and nothing else: it never
//! faults, and where there is no such instruction it does nothing. The crate's only unsafe code is here.
#![allow(unsafe_code)]

/// What a cache line holds, in bytes.
pub(crate) const LINE_LEN: usize = 64;

/// Asks for the cache line of `value`'s first byte.
#[inline(always)]
pub(crate) fn line<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor has the instruction, and it does nothing to an address that it cannot use.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Asks for the first `count` cache lines of `bytes`, as far as they go.
#[inline(always)]
pub(crate) fn front(bytes: &[u8], count: usize) {
    for at in 0..count {
        match bytes.get(at * LINE_LEN) {
            Some(byte) => line(byte),
            None => break,
        }
    }
}

/// Asks for the cache line `offset` bytes behind the start of `bytes`, also where that is not a part of them any more.
#[inline(always)]
pub(crate) fn somewhere_behind(bytes: &[u8], offset: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: as in `line`; the pointer is not used for anything else.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(offset).cast::<i8>()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, offset);
}
