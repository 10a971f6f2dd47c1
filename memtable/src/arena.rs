//! Memory for a memtable: chunks that are filled from the front and freed together.
//!
//! Only the tree's writer allocates. The first chunk is small, so that an idle keyspace costs
//! nearly nothing, and each further one is twice as large up to a limit. An allocation that would
//! waste much of a chunk gets a chunk of its own and leaves the rest of the current one in use. The
//! arena never gives out the same byte twice, never moves one, and never frees one before it is
//! dropped.
//!
//! Invariants:
//! - A1: `chunks` heads a list of live blocks of this arena alone, linked by `previous`; each
//!   block begins with its [`ChunkHeader`], whose `size` is the size it was allocated with.
//! - A2: `free..free + free_len` lies in one block of the list, has been given to nobody, and
//!   `free` is aligned to [`ALIGN`] (or `free_len` is 0).
//! - A3: `lines..lines + lines_len` lies in one block of the list, has been given to nobody, and
//!   `lines` is aligned to [`LINE`] (or `lines_len` is 0).

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};

/// Every allocation is aligned to this many bytes.
pub(crate) const ALIGN: usize = 8;

/// The size of a cache line; see [`Arena::allocate_lines`].
pub(crate) const LINE: usize = 64;

/// The most bytes that are set aside for whole lines at a time.
const LINES_BYTES_MAX: usize = 32 * 1024;

/// The size of the first chunk, in bytes with its header.
const CHUNK_BYTES_FIRST: usize = 4 * 1024;

/// The size that chunks grow to, in bytes with the header.
const CHUNK_BYTES_MAX: usize = HUGE_PAGE_BYTES;

/// The size and the alignment of a huge page where there are any. A full memtable has thousands of small pages, more than
/// the processor remembers the places of, and a search touches them at random.
const HUGE_PAGE_BYTES: usize = 2 * 1024 * 1024;

const HEADER_BYTES: usize = size_of::<ChunkHeader>();

const _: () = assert!(align_of::<ChunkHeader>() <= ALIGN && HEADER_BYTES.is_multiple_of(ALIGN));

struct ChunkHeader {
    previous: *mut ChunkHeader,
    size: usize,
}

/// Bump-allocated memory that lives as long as the arena.
pub(crate) struct Arena {
    chunks: *mut ChunkHeader,
    free: *mut u8,
    free_len: usize,
    lines: *mut u8,
    lines_len: usize,
    chunk_bytes_next: usize,
    allocated_bytes: usize,
}

// SAFETY: the arena owns its blocks alone (A1) and touches them only through `&mut self`; heap
// blocks may be freed by any thread.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena that holds no memory yet.
    pub(crate) fn new() -> Arena {
        Arena {
            chunks: ptr::null_mut(),
            free: ptr::null_mut(),
            free_len: 0,
            lines: ptr::null_mut(),
            lines_len: 0,
            chunk_bytes_next: CHUNK_BYTES_FIRST,
            allocated_bytes: 0,
        }
    }

    /// The bytes taken from the system allocator so far.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.allocated_bytes
    }

    /// `size` fresh, uninitialised bytes, aligned to [`ALIGN`], that stay in place until the arena
    /// is dropped and overlap no other allocation. Aborts like any allocation if the system has no
    /// memory.
    ///
    /// # Panics
    /// If `size` is not below `isize::MAX` by a chunk's header; the caller's limits are far lower.
    pub(crate) fn allocate(&mut self, size: usize) -> NonNull<u8> {
        // At least one byte, so that even an empty allocation finds a block to point into.
        let size = size.max(1).checked_next_multiple_of(ALIGN);
        let size = size.expect("limits are checked by the caller");
        if size > self.free_len {
            if size > self.chunk_bytes_next / 4 {
                let chunk_bytes = size.checked_add(HEADER_BYTES);
                return self.add_chunk(chunk_bytes.expect("limits are checked by the caller"));
            }
            let chunk_bytes = self.chunk_bytes_next;
            self.free = self.add_chunk(chunk_bytes).as_ptr();
            self.free_len = chunk_bytes - HEADER_BYTES;
        }
        let start = self.free;
        // SAFETY: A2 and `size <= free_len` keep the sum within the block or at its end; `size` is
        // a multiple of ALIGN, which keeps A2.
        self.free = unsafe { start.add(size) };
        self.free_len -= size;
        // SAFETY: A2: `free_len` was not 0, so `start` points into a live block and is not null.
        unsafe { NonNull::new_unchecked(start) }
    }

    /// As [`Arena::allocate`], aligned to a [`LINE`], for a `size` of whole lines.
    pub(crate) fn allocate_lines(&mut self, size: usize) -> NonNull<u8> {
        assert!(size > 0 && size.is_multiple_of(LINE));
        if size > self.lines_len {
            let ahead = (self.chunk_bytes_next / 8).min(LINES_BYTES_MAX).max(size);
            let start = self.allocate(ahead + LINE - ALIGN).as_ptr();
            // SAFETY: to the next line are at most `LINE - ALIGN` bytes from an address aligned to ALIGN.
            self.lines = unsafe { start.add(start.addr().next_multiple_of(LINE) - start.addr()) };
            self.lines_len = ahead - ahead % LINE;
        }
        let start = self.lines;
        // SAFETY: A3 and `size <= lines_len` keep the sum within the block or at its end; whole lines keep A3.
        self.lines = unsafe { start.add(size) };
        self.lines_len -= size;
        // SAFETY: A3: `lines_len` was not 0, so `start` points into a live block and is not null.
        unsafe { NonNull::new_unchecked(start) }
    }

    /// Adds a block of `size` bytes in all; returns the address behind its header, which is aligned
    /// to [`ALIGN`].
    fn add_chunk(&mut self, size: usize) -> NonNull<u8> {
        let block = take_block(size);
        let header = block.cast::<ChunkHeader>();
        // SAFETY: the block is fresh, at least as large as a header and aligned for it; this
        // establishes A1.
        unsafe { header.write(ChunkHeader { previous: self.chunks, size }) };
        self.chunks = header;
        self.allocated_bytes += size;
        self.chunk_bytes_next = (self.chunk_bytes_next * 2).min(CHUNK_BYTES_MAX);
        // SAFETY: the block is at least HEADER_BYTES long and not null.
        unsafe { NonNull::new_unchecked(block.add(HEADER_BYTES)) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let mut chunk = self.chunks;
        while !chunk.is_null() {
            // SAFETY: A1: a live block of ours with an initialised header.
            let ChunkHeader { previous, size } = unsafe { chunk.read() };
            // SAFETY: A1: taken with this size, and given back only here, once.
            unsafe { give_back_block(chunk.cast(), size) };
            chunk = previous;
        }
    }
}

fn chunk_layout(size: usize) -> Layout {
    let align = if size == CHUNK_BYTES_MAX { HUGE_PAGE_BYTES } else { ALIGN };
    Layout::from_size_align(size, align).expect("limits are checked by the caller")
}

/// A fresh block of `size` bytes, which is not 0. Aborts like any allocation if the system has no memory.
///
/// Full chunks are mapped by themselves where that is possible. From a general allocator each would have to be cut out of
/// twice its size, for the sake of its alignment, and what is cut off, or freed between what lives on, stays with the
/// process: twice the memory of all memtables was held in a long fill.
///
/// Under the address sanitizer (`esker_asan`, set by scripts/sanitizers.sh) all are allocated: it guards the ends of
/// allocations and what is freed, not those of mappings.
fn take_block(size: usize) -> *mut u8 {
    #[cfg(all(target_os = "linux", not(any(miri, esker_asan))))]
    if size == CHUNK_BYTES_MAX {
        return map_huge().unwrap_or_else(|| handle_alloc_error(chunk_layout(size)));
    }
    let layout = chunk_layout(size);
    // SAFETY: the layout's size is not zero.
    let block = unsafe { alloc(layout) };
    if block.is_null() {
        handle_alloc_error(layout);
    }
    block
}

/// Frees a block.
///
/// # Safety
/// `block` is from [`take_block`] with this `size`, not freed yet, and nobody uses it any more.
unsafe fn give_back_block(block: *mut u8, size: usize) {
    #[cfg(all(target_os = "linux", not(any(miri, esker_asan))))]
    if size == CHUNK_BYTES_MAX {
        // SAFETY: the caller's promise: a whole mapping of ours.
        unsafe { libc::munmap(block.cast(), size) };
        return;
    }
    // SAFETY: the caller's promise: allocated with this layout.
    unsafe { dealloc(block, chunk_layout(size)) };
}

/// A fresh mapping of a huge page's size and alignment, which is one huge page where the system has them.
#[cfg(all(target_os = "linux", not(any(miri, esker_asan))))]
fn map_huge() -> Option<*mut u8> {
    const MAPPED_BYTES: usize = 2 * HUGE_PAGE_BYTES;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address that the system chooses touches no other memory.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), MAPPED_BYTES, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return None;
    }
    let mapped = mapped.cast::<u8>();
    let ahead = mapped.addr().next_multiple_of(HUGE_PAGE_BYTES) - mapped.addr();
    // SAFETY: what lies ahead of the block and behind it is part of the fresh mapping, in whole small pages, and nobody
    // has an address of it; the block itself stays mapped.
    unsafe {
        let block = mapped.add(ahead);
        if ahead > 0 {
            libc::munmap(mapped.cast(), ahead);
        }
        if ahead < HUGE_PAGE_BYTES {
            libc::munmap(block.add(HUGE_PAGE_BYTES).cast(), HUGE_PAGE_BYTES - ahead);
        }
        libc::madvise(block.cast(), HUGE_PAGE_BYTES, libc::MADV_HUGEPAGE);
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_arena_holds_nothing_and_a_used_one_starts_small() {
        let mut arena = Arena::new();
        assert_eq!(arena.allocated_bytes(), 0);
        arena.allocate(1);
        assert_eq!(arena.allocated_bytes(), CHUNK_BYTES_FIRST);
    }

    #[test]
    fn allocations_are_aligned_disjoint_and_stay() {
        let mut arena = Arena::new();
        let mut given = Vec::new();
        for (round, size) in
            [0, 1, 7, 8, 9, 100, 1000, 5000, 3, 70_000].iter().cycle().take(200).enumerate()
        {
            let start = arena.allocate(*size);
            assert_eq!(start.as_ptr() as usize % ALIGN, 0);
            // SAFETY: the arena gave us `size` bytes.
            unsafe { start.as_ptr().write_bytes(round as u8, *size) };
            given.push((start, *size, round as u8));
        }
        for (start, size, fill) in given {
            // SAFETY: still ours, and initialised above.
            let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), size) };
            assert!(bytes.iter().all(|&byte| byte == fill));
        }
    }

    #[test]
    fn lines_are_whole_and_lie_between_other_allocations() {
        let mut arena = Arena::new();
        let mut given = Vec::new();
        for round in 0..200_usize {
            let (start, size) = if round % 3 == 0 {
                (arena.allocate(round), round)
            } else {
                let size = LINE * (1 + round % 7);
                let start = arena.allocate_lines(size);
                assert_eq!(start.as_ptr().addr() % LINE, 0);
                (start, size)
            };
            // SAFETY: the arena gave us `size` bytes.
            unsafe { start.as_ptr().write_bytes(round as u8, size) };
            given.push((start, size, round as u8));
        }
        for (start, size, fill) in given {
            // SAFETY: still ours, and initialised above.
            let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), size) };
            assert!(bytes.iter().all(|&byte| byte == fill));
        }
    }

    #[test]
    fn a_large_allocation_takes_what_it_needs_and_keeps_the_current_chunk() {
        let mut arena = Arena::new();
        let small = arena.allocate(8);
        arena.allocate(10 << 20);
        assert_eq!(arena.allocated_bytes(), CHUNK_BYTES_FIRST + HEADER_BYTES + (10 << 20));
        let next = arena.allocate(8);
        assert_eq!(next.as_ptr() as usize, small.as_ptr() as usize + 8);
    }

    #[test]
    fn chunks_grow_to_the_limit_and_waste_little() {
        let mut arena = Arena::new();
        let mut used = 0;
        while used < 8 << 20 {
            arena.allocate(1_200);
            used += 1_200;
        }
        assert_eq!(arena.chunk_bytes_next, CHUNK_BYTES_MAX);
        assert!(arena.allocated_bytes() < used + 2 * CHUNK_BYTES_MAX);
        // The last one is full-sized.
        // SAFETY: A1: a live block with an initialised header.
        let size = unsafe { (*arena.chunks).size };
        assert_eq!((size, arena.chunks.addr() % HUGE_PAGE_BYTES), (CHUNK_BYTES_MAX, 0));
    }
}
