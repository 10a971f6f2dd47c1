//! Tests of the merging cursor: any walk against one sorted list, and children that fail.

use super::*;
use crate::ids::SeqNo;
use crate::key::EntryKind;
use proptest::prelude::*;

/// A cursor over a sorted vector.
struct VecCursor {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    position: Option<usize>,
}

impl VecCursor {
    fn new(mut entries: Vec<(Vec<u8>, Vec<u8>)>) -> VecCursor {
        entries.sort_by(|a, b| key::compare(&a.0, &b.0));
        VecCursor { entries, position: None }
    }

    fn at(&mut self, position: Option<usize>) -> Result<()> {
        self.position = position.filter(|&position| position < self.entries.len());
        Ok(())
    }
}

impl Cursor for VecCursor {
    fn valid(&self) -> bool {
        self.position.is_some()
    }
    fn seek_to_first(&mut self) -> Result<()> {
        self.at(Some(0))
    }
    fn seek_to_last(&mut self) -> Result<()> {
        self.at(self.entries.len().checked_sub(1))
    }
    fn seek(&mut self, target: &[u8]) -> Result<()> {
        let at = self.entries.partition_point(|(k, _)| key::compare(k, target).is_lt());
        self.at(Some(at))
    }
    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        let after = self.entries.partition_point(|(k, _)| key::compare(k, target).is_le());
        self.at(after.checked_sub(1))
    }
    fn next(&mut self) -> Result<()> {
        self.at(self.position.map(|position| position + 1))
    }
    fn prev(&mut self) -> Result<()> {
        self.at(self.position.and_then(|position| position.checked_sub(1)))
    }
    fn key(&self) -> &[u8] {
        &self.entries[self.position.expect("valid")].0
    }
    fn value(&self) -> &[u8] {
        &self.entries[self.position.expect("valid")].1
    }
}

proptest! {
    /// Any walk over the merge equals the same walk over the sorted whole.
    #[test]
    fn a_merge_walks_like_one_sorted_list(
        parts in prop::collection::vec(prop::collection::vec((0u8..20, 0u64..4), 0..12), 0..5),
        walk in prop::collection::vec((0u8..6, 0u8..20, 0u64..4), 1..40),
    ) {
        let entry = |part: usize, &(k, seq): &(u8, u64)| {
            (key::encode(&[k], SeqNo(seq), EntryKind::Put), vec![part as u8])
        };
        let mut all = Vec::new();
        let mut children = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let mut entries: Vec<_> = part.iter().map(|e| entry(index, e)).collect();
            entries.sort_by(|a, b| key::compare(&a.0, &b.0));
            entries.dedup();
            all.extend(entries.clone());
            children.push(VecCursor::new(entries));
        }
        // Stable sort: equal keys stay in the order of the children.
        let mut model = VecCursor::new(all);
        let mut merge = MergingCursor::new(children);
        for (op, k, seq) in walk {
            let target = key::seek_key(&[k], SeqNo(seq));
            match op {
                0 => { merge.seek_to_first()?; model.seek_to_first()?; }
                1 => { merge.seek_to_last()?; model.seek_to_last()?; }
                2 => { merge.seek(&target)?; model.seek(&target)?; }
                3 => { merge.seek_for_prev(&target)?; model.seek_for_prev(&target)?; }
                4 if model.valid() => { merge.next()?; model.next()?; }
                5 if model.valid() => { merge.prev()?; model.prev()?; }
                _ => {}
            }
            prop_assert_eq!(merge.valid(), model.valid());
            if model.valid() {
                prop_assert_eq!(merge.key(), model.key());
                prop_assert_eq!(merge.value(), model.value());
            }
        }
    }
}
/// A cursor that fails once, after `healthy` good operations.
struct FlakyCursor {
    inner: VecCursor,
    healthy: usize,
}

impl FlakyCursor {
    fn attempt(&mut self, run: impl FnOnce(&mut VecCursor) -> Result<()>) -> Result<()> {
        let Some(left) = self.healthy.checked_sub(1) else {
            self.inner.position = None;
            self.healthy = usize::MAX;
            return Err(crate::Error::new(crate::ErrorKind::Io, "read"));
        };
        self.healthy = left;
        run(&mut self.inner)
    }
}

impl Cursor for FlakyCursor {
    fn valid(&self) -> bool {
        self.inner.valid()
    }
    fn seek_to_first(&mut self) -> Result<()> {
        self.attempt(VecCursor::seek_to_first)
    }
    fn seek_to_last(&mut self) -> Result<()> {
        self.attempt(VecCursor::seek_to_last)
    }
    fn seek(&mut self, target: &[u8]) -> Result<()> {
        self.attempt(|inner| inner.seek(target))
    }
    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.attempt(|inner| inner.seek_for_prev(target))
    }
    fn next(&mut self) -> Result<()> {
        self.attempt(VecCursor::next)
    }
    fn prev(&mut self) -> Result<()> {
        self.attempt(VecCursor::prev)
    }
    fn key(&self) -> &[u8] {
        self.inner.key()
    }
    fn value(&self) -> &[u8] {
        self.inner.value()
    }
}

/// Wherever one child fails once, the error comes out, the merge is invalid, and a seek makes it
/// whole again.
#[test]
fn a_failing_child_makes_the_merge_invalid_until_a_seek() {
    let numbers = |of: [u8; 3]| of.map(|n| (key::encode(&[n], SeqNo(1), EntryKind::Put), vec![n]));
    for (failing, healthy) in (0..3).flat_map(|child| (0..8).map(move |n| (child, n))) {
        let children = [numbers([1, 4, 7]), numbers([2, 5, 8]), numbers([3, 6, 9])];
        let children = children.into_iter().enumerate().map(|(index, entries)| FlakyCursor {
            inner: VecCursor::new(entries.to_vec()),
            healthy: if index == failing { healthy } else { usize::MAX },
        });
        let mut merge = MergingCursor::new(children.collect());
        let walk = |merge: &mut MergingCursor<FlakyCursor>| -> Result<Vec<u8>> {
            let mut seen = Vec::new();
            merge.seek_to_first()?;
            // Three forward, one back, until the end: every step turns sooner or later.
            while merge.valid() {
                for back in [false, false, false, true] {
                    if merge.valid() {
                        seen.push(merge.key()[0]);
                        if back { merge.prev()? } else { merge.next()? }
                    }
                }
            }
            Ok(seen)
        };
        let whole = [1, 2, 3, 4, 3, 4, 5, 6, 5, 6, 7, 8, 7, 8, 9];
        let first = walk(&mut merge);
        let seen = match first {
            Ok(seen) => seen,
            Err(error) => {
                assert_eq!(error.kind(), crate::ErrorKind::Io);
                assert!(!merge.valid(), "child {failing} after {healthy}");
                walk(&mut merge).expect("it fails once")
            }
        };
        assert_eq!(seen, whole, "child {failing} after {healthy}");
    }
}
