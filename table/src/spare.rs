//! Memory that a thread uses again: the buffers that every write of an item fills and empties. One
//! of 1 KB costs the allocator more than the item's bytes cost the processor. Each thread keeps one
//! of each kind, and none that has become large.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

use esker::Batch;

/// What is larger is not kept.
const BYTES_MAX: usize = 64 << 10;

/// What can be emptied and used again.
pub(crate) trait Reusable: Default + 'static {
    /// Where a thread keeps its spare one.
    fn place() -> &'static LocalKey<Cell<Self>>;

    /// Empties it; whether it is small enough to be kept.
    fn clear(&mut self) -> bool;
}

thread_local! {
    static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static BATCH: Cell<Batch> = Cell::default();
}

impl Reusable for Vec<u8> {
    fn place() -> &'static LocalKey<Cell<Self>> {
        &BYTES
    }

    fn clear(&mut self) -> bool {
        self.clear();
        self.capacity() <= BYTES_MAX
    }
}

impl Reusable for Batch {
    fn place() -> &'static LocalKey<Cell<Self>> {
        &BATCH
    }

    fn clear(&mut self) -> bool {
        let bytes = self.encoded_bytes();
        Batch::clear(self);
        bytes <= BYTES_MAX
    }
}

/// An empty one, taken from the thread; given back, to whichever thread it is then, when dropped.
pub(crate) struct Spare<T: Reusable>(T);

impl<T: Reusable> Spare<T> {
    pub(crate) fn take() -> Self {
        // While the thread ends there is none.
        Self(T::place().try_with(Cell::take).unwrap_or_default())
    }
}

impl<T: Reusable> Deref for Spare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Reusable> DerefMut for Spare<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Reusable> Drop for Spare<T> {
    fn drop(&mut self) {
        let mut value = std::mem::take(&mut self.0);
        if value.clear() {
            // Where the thread is ending it is dropped.
            let _ = T::place().try_with(|place| place.set(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_empty_and_small() {
        let mut bytes = Spare::<Vec<u8>>::take();
        bytes.extend([1; 1000]);
        let memory = bytes.as_ptr();
        drop(bytes);
        let mut bytes = Spare::<Vec<u8>>::take();
        assert!(bytes.is_empty());
        assert_eq!(bytes.as_ptr(), memory);
        // A second one while the first is in use is another.
        assert_eq!(Spare::<Vec<u8>>::take().capacity(), 0);
        bytes.reserve(BYTES_MAX + 1);
        drop(bytes);
        assert_eq!(Spare::<Vec<u8>>::take().capacity(), 0);
    }
}
