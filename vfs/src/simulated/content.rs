//! The bytes of one simulated file, in pages that clones share until one of them writes.
//!
//! Used by the disk for both what is durable and what is cached. A page nobody wrote is not stored,
//! so preallocating a large file costs nothing. Reads never see bytes past the length.

use std::sync::Arc;

const PAGE: usize = 4096;

type Page = [u8; PAGE];

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
                    buffer[range].copy_from_slice(&bytes[at..at + len]);
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
            let slot = pages[page].get_or_insert_with(|| Arc::new([0; PAGE]));
            let len = range.len();
            Arc::make_mut(slot)[at..at + len].copy_from_slice(&bytes[range]);
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
            && page[tail..].iter().any(|byte| *byte != 0)
        {
            Arc::make_mut(page)[tail..].fill(0);
        }
    }

    /// The stored pages with their numbers, for hashing; pages of zeros are left out, stored or
    /// not.
    pub(super) fn non_zero_pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().enumerate().filter_map(|(number, page)| {
            let page = page.as_ref()?;
            page.iter().any(|byte| *byte != 0).then_some((number as u64, &page[..]))
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
