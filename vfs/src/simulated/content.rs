//! The bytes of one simulated file, in pages that clones share until one of them writes.
//!
//! Used by the disk for both what is durable and what is cached. A page nobody wrote is not stored,
//! so preallocating a large file costs nothing. Reads never see bytes past the length.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hash;

const PAGE: usize = 4096;

/// What a [`Page`] knows of its bytes: nothing yet, that all are zero, or their hash, which is
/// neither.
const UNKNOWN: u64 = 0;
const ALL_ZERO: u64 = 1;

#[derive(Debug)]
struct Page {
    bytes: [u8; PAGE],
    /// Of the bytes, once somebody asked: most pages of an image are those of the disk it was made
    /// from. Whoever changes the bytes sets it back.
    hash: AtomicU64,
}

impl Page {
    fn zeros() -> Page {
        Page { bytes: [0; PAGE], hash: AtomicU64::new(ALL_ZERO) }
    }

    fn bytes_mut(&mut self) -> &mut [u8; PAGE] {
        *self.hash.get_mut() = UNKNOWN;
        &mut self.bytes
    }

    fn hash(&self) -> u64 {
        // Only a cache of what everybody computes alike, so the order of the accesses is no matter.
        match self.hash.load(Ordering::Relaxed) {
            UNKNOWN => {
                let hash = hash::of_page(&self.bytes).map_or(ALL_ZERO, |hash| hash | 2);
                self.hash.store(hash, Ordering::Relaxed);
                hash
            }
            known => known,
        }
    }
}

impl Clone for Page {
    fn clone(&self) -> Page {
        // Cloned to be changed.
        Page { bytes: self.bytes, hash: AtomicU64::new(UNKNOWN) }
    }
}

/// Bytes with a length; cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    /// A missing page reads as zeros.
    pages: Arc<Vec<Option<Arc<Page>>>>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills as much of `buffer` as there is from `offset` on.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let available = self.len.saturating_sub(offset);
        let count = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        for (page, at, range) in spans(offset, count) {
            match self.pages.get(page) {
                Some(Some(bytes)) => {
                    let len = range.len();
                    buffer[range].copy_from_slice(&bytes.bytes[at..at + len]);
                }
                _ => buffer[range].fill(0),
            }
        }
        count
    }

    /// All bytes.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).expect("a simulated file fits memory")];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Writes and grows the length where needed.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        self.poke(bytes, offset);
        self.extend(offset + bytes.len() as u64);
    }

    /// Writes without touching the length: data that reached the disk while the length did not.
    /// Call [`Content::settle`] once all lengths are known.
    pub(super) fn poke(&mut self, bytes: &[u8], offset: u64) {
        for (page, at, range) in spans(offset, bytes.len()) {
            let pages = Arc::make_mut(&mut self.pages);
            if pages.len() <= page {
                pages.resize(page + 1, None);
            }
            let slot = pages[page].get_or_insert_with(|| Arc::new(Page::zeros()));
            let len = range.len();
            Arc::make_mut(slot).bytes_mut()[at..at + len].copy_from_slice(&bytes[range]);
        }
    }

    /// Grows to `len` with zeros; a longer file stays as it is.
    pub(super) fn extend(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Makes the length exactly `len`; what was beyond is zeros if the file grows again.
    pub(super) fn truncate(&mut self, len: u64) {
        self.len = len;
        self.settle();
    }

    /// Forgets everything past the length.
    pub(super) fn settle(&mut self) {
        let keep = usize::try_from(self.len.div_ceil(PAGE as u64)).unwrap_or(usize::MAX);
        let tail = (self.len % PAGE as u64) as usize;
        let cut_inside = tail > 0 && matches!(self.pages.get(keep - 1), Some(Some(_)));
        if self.pages.len() <= keep && !cut_inside {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        pages.truncate(keep);
        if cut_inside
            && let Some(Some(page)) = pages.get_mut(keep - 1)
            && page.bytes[tail..] != [0; PAGE][tail..]
        {
            Arc::make_mut(page).bytes_mut()[tail..].fill(0);
        }
    }

    /// The pages that are not all zeros, by number, each with a hash of its bytes. A page of zeros is
    /// left out whether or not it is stored.
    pub(super) fn page_hashes(&self) -> impl Iterator<Item = (u64, u64)> {
        self.pages.iter().enumerate().filter_map(|(number, page)| {
            let hash = page.as_ref()?.hash();
            (hash != ALL_ZERO).then_some((number as u64, hash))
        })
    }
}

/// Cuts `len` bytes at `offset` at the page borders: (page, start within it, range of the caller's
/// bytes).
fn spans(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let position = offset + done as u64;
        let page = usize::try_from(position / PAGE as u64).expect("a simulated file fits memory");
        let at = (position % PAGE as u64) as usize;
        let count = (PAGE - at).min(len - done);
        let range = done..done + count;
        done += count;
        Some((page, at, range))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_do_not_see_each_others_writes() {
        let mut one = Content::default();
        one.write(&[1; 10_000], 0);
        let two = one.clone();
        one.write(&[2; 10], 5000);
        assert_eq!(two.to_vec(), vec![1; 10_000]);
        assert_eq!(one.to_vec()[5000..5010], [2; 10]);
    }

    #[test]
    fn a_cut_and_regrown_tail_is_zeros() {
        let mut content = Content::default();
        content.write(&[7; 9000], 0);
        content.truncate(4100);
        content.extend(9000);
        let bytes = content.to_vec();
        assert_eq!(bytes[..4100], [7; 4100]);
        assert!(bytes[4100..].iter().all(|byte| *byte == 0));
        content.truncate(0);
        content.extend(10);
        assert_eq!(content.to_vec(), vec![0; 10]);
    }

    #[test]
    fn a_page_forgets_its_hash_when_it_is_written() {
        let hashes = |content: &Content| content.page_hashes().collect::<Vec<_>>();
        let mut content = Content::default();
        content.write(&[7; 100], 5000);
        let copy = content.clone();
        let before = hashes(&content);
        assert_eq!(before.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1]);
        content.write(&[8], 5000);
        assert_ne!(hashes(&content), before);
        assert_eq!(hashes(&copy), before);
        content.write(&[7], 5000);
        assert_eq!(hashes(&content), before);
        content.write(&[0; 100], 5000);
        assert_eq!(hashes(&content), []);
        content.write(&[9; 10], 8187);
        content.truncate(8190);
        let mut other = Content::default();
        other.write(&[9; 3], 8187);
        assert_eq!(hashes(&content), hashes(&other));
    }

    #[test]
    fn data_without_length_shows_only_when_a_length_covers_it() {
        let mut content = Content::default();
        content.poke(&[9; 100], 50);
        assert_eq!(content.len(), 0);
        content.extend(60);
        content.settle();
        content.extend(150);
        let bytes = content.to_vec();
        assert_eq!(bytes[50..60], [9; 10]);
        assert_eq!(bytes[60..], [0; 90]);
    }
}
