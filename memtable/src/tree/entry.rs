//! An entry: its header, internal key and value, one behind the other in the arena, never changed.
//!
//! | size | field |
//! |---|---|
//! | 4 | value length |
//! | 4 | key length |
//! | key length | internal key: user key and trailer |
//! | value length | value |
//!
//! Made by the tree's writer, shown by [`EntryRef`].

use std::cmp::Ordering as Order;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use esker_base::key::TRAILER_LEN;
use esker_base::limits::{BATCH_LEN_MAX, KEY_LEN_MAX};

use super::Tree;
use crate::arena::{ALIGN, Arena};
use crate::sync::PlainBytes;

const HEADER_BYTES: usize = size_of::<Entry>();

const _: () = assert!(BATCH_LEN_MAX <= u32::MAX as usize);
const _: () = assert!(KEY_LEN_MAX + TRAILER_LEN <= u32::MAX as usize);
const _: () = assert!(align_of::<Entry>() <= ALIGN);
const _: () = assert!(cfg!(loom) || HEADER_BYTES == 8);

/// The header of an entry. Used only behind raw pointers, whose provenance covers the bytes that follow.
#[repr(C, align(8))]
pub(super) struct Entry {
    value_len: u32,
    key_len: u32,
    /// For header, key and value; of size 0 but in models.
    bytes: PlainBytes,
}

/// An entry that `'a` keeps alive.
#[derive(Clone, Copy)]
pub(crate) struct EntryRef<'a> {
    entry: NonNull<Entry>,
    tree: PhantomData<&'a Tree>,
}

/// What a search looks for: an internal key taken apart, with its tag.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub user_key: &'a [u8],
    pub trailer: u64,
    pub tag: u64,
}

impl Entry {
    /// A new entry in `arena`. Key and value are within their limits.
    pub(super) fn create(
        arena: &mut Arena,
        user_key: &[u8],
        trailer: u64,
        value: &[u8],
    ) -> NonNull<Entry> {
        let key_len = user_key.len() + TRAILER_LEN;
        let at = arena.allocate(HEADER_BYTES + key_len + value.len());
        let (value_len, key_len) = (value.len() as u32, key_len as u32);
        // SAFETY: the arena gave so many bytes, aligned for the header, that nobody else knows; the parts written here lie
        // one behind the other and add up to that.
        unsafe {
            at.cast::<Entry>().write(Entry { value_len, key_len, bytes: PlainBytes::new() });
            let key = at.add(HEADER_BYTES);
            key.copy_from_nonoverlapping(NonNull::from(user_key).cast(), user_key.len());
            let trailer_at = key.add(user_key.len());
            trailer_at.cast::<[u8; TRAILER_LEN]>().write(trailer.to_le_bytes());
            let value_at = trailer_at.add(TRAILER_LEN);
            value_at.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
        }
        at.cast()
    }
}

impl<'a> EntryRef<'a> {
    /// The entry at `entry`.
    ///
    /// # Safety
    /// It must come from [`Entry::create`] with the arena of a tree that outlives `'a`, and its writing must have happened
    /// before this call (T1, T2).
    #[inline(always)]
    pub(super) unsafe fn new(entry: NonNull<Entry>) -> EntryRef<'a> {
        EntryRef { entry, tree: PhantomData }
    }

    /// The encoded internal key.
    #[inline]
    pub(crate) fn key(self) -> &'a [u8] {
        // SAFETY: what `new` was promised: header and key are written, never change, and live for 'a.
        unsafe {
            let header = self.entry.as_ref();
            header.bytes.read();
            let start = self.entry.cast::<u8>().add(HEADER_BYTES);
            slice::from_raw_parts(start.as_ptr(), header.key_len as usize)
        }
    }

    /// The user key and the trailer.
    #[inline]
    pub(crate) fn key_parts(self) -> (&'a [u8], u64) {
        let (user_key, trailer) =
            self.key().split_last_chunk::<TRAILER_LEN>().expect("every entry's key has a trailer");
        (user_key, u64::from_le_bytes(*trailer))
    }

    /// The value.
    #[inline]
    pub(crate) fn value(self) -> &'a [u8] {
        // SAFETY: as for the key, which the value follows in the same allocation.
        unsafe {
            let header = self.entry.as_ref();
            let offset = HEADER_BYTES + header.key_len as usize;
            let start = self.entry.cast::<u8>().add(offset);
            slice::from_raw_parts(start.as_ptr(), header.value_len as usize)
        }
    }

    /// Compares as [`esker_base::key::compare`] does.
    #[inline]
    pub(super) fn compare(self, target: &Target<'_>) -> Order {
        let (user_key, trailer) = self.key_parts();
        user_key.cmp(target.user_key).then_with(|| target.trailer.cmp(&trailer))
    }
}
