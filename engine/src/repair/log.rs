//! The log of a damaged database: which of its groups are taken, and which commits are lost.
//!
//! Groups are taken in the order of their sequence numbers up to the first hole. There is no hole where the numbers go
//! on without a gap, whatever stands between: then every commit is accounted for. A group in a later segment replaces
//! the same numbers in an earlier one: a recovery copied it, or the earlier one is a failed write.

use std::collections::BTreeMap;
use std::path::Path;

use esker_base::limits::BATCH_LEN_MAX;
use esker_base::{FileId, FileNumber, LogPosition, Result, SeqNo, batch};
use esker_vfs::Fs;
use esker_wal::{Group, Piece};

use super::LostCommits;

/// A segment that may hold a part of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) number: FileNumber,
    pub(super) file_id: Option<FileId>,
    pub(super) ends_at: Option<u64>,
}

/// What is known of the log from elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Everything up to here is in sstables.
    pub(super) flushed: SeqNo,
    /// Commits up to here were made.
    pub(super) last_seq: SeqNo,
    /// Whether the log was sealed after the last of them.
    pub(super) is_sealed: bool,
    /// The log was durable up to here.
    pub(super) synced: LogPosition,
    pub(super) skip_holes: bool,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    last: u64,
    segment: usize,
    /// Whether something may be missing before it.
    is_after_gap: bool,
}

/// The log as far as it is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct TakenLog {
    segments: Vec<Segment>,
    /// By first sequence number.
    taken: BTreeMap<u64, Span>,
    /// What can be read, but stands behind the hole where the log ends.
    dropped: BTreeMap<u64, Span>,
    pub(super) lost: Vec<LostCommits>,
    /// The highest sequence number that was seen or taken for used.
    pub(super) last_seq: SeqNo,
    pub(super) entries: u64,
}

impl TakenLog {
    /// Reads `segments`, in order.
    pub(super) fn read(
        fs: &dyn Fs,
        dir: &Path,
        segments: Vec<Segment>,
        known: Known,
    ) -> Result<TakenLog> {
        let mut spans: BTreeMap<u64, Span> = BTreeMap::new();
        // Whether something may be missing, or certainly is, since the last group.
        let (mut gap, mut damage) = (false, false);
        let (mut is_sealed, mut tail_is_lost) = (false, false);
        let mut last_seq = known.last_seq;
        for (at, segment) in segments.iter().enumerate() {
            let found = salvage(fs, dir, segment, |piece| {
                match piece {
                    Piece::Group(group) if is_sound(&group) => {
                        let (first, last) = (group.first_seq.0, group.last_seq.0);
                        last_seq = last_seq.max(group.last_seq);
                        damage = false;
                        let mut is_after_gap = std::mem::take(&mut gap);
                        while let Some((&key, before)) = spans.range(..=last).next_back() {
                            if before.last < first {
                                break;
                            }
                            is_after_gap &= key != first || before.is_after_gap;
                            spans.remove(&key);
                        }
                        spans.insert(first, Span { last, segment: at, is_after_gap });
                    }
                    _ => (gap, damage) = (true, true),
                }
                Ok(())
            })?;
            let Some(found) = found else {
                (gap, damage, is_sealed) = (true, true, false);
                tail_is_lost = true;
                continue;
            };
            last_seq = last_seq.max(found.sealed_at.unwrap_or_default());
            let next = segments.get(at + 1).map(|segment| segment.number);
            let ends_well = match segment.ends_at {
                Some(end) => found.end == end,
                None => next.is_some() && found.continued_by == next,
            };
            gap |= !ends_well;
            damage |= found.is_torn || (segment.ends_at.is_some() && !ends_well);
            // The log went on in a segment that is not there.
            damage |= segment.ends_at.is_none() && next.is_none() && found.continued_by.is_some();
            is_sealed = found.sealed_at.is_some();
            let end = LogPosition { file: segment.number, offset: found.end };
            tail_is_lost = damage || (!is_sealed && known.synced > end);
        }
        tail_is_lost |= known.is_sealed && !is_sealed;
        let mut log = TakenLog { segments, last_seq, ..TakenLog::default() };
        log.choose(spans, known, tail_is_lost);
        Ok(log)
    }

    fn choose(&mut self, spans: BTreeMap<u64, Span>, known: Known, tail_is_lost: bool) {
        let mut before: Option<u64> = None;
        let mut spans = spans.into_iter();
        while let Some((first, span)) = spans.next() {
            let from = before.unwrap_or(0).max(known.flushed.0) + 1;
            if span.is_after_gap && first > from {
                let through = if known.skip_holes { first - 1 } else { self.last_seq.0 };
                self.lost.push(LostCommits { from: SeqNo(from), through: Some(SeqNo(through)) });
                if !known.skip_holes {
                    self.dropped.insert(first, span);
                    self.dropped.extend(spans);
                    return;
                }
            }
            before = Some(span.last);
            self.entries += span.last - first + 1;
            self.taken.insert(first, span);
        }
        let from = SeqNo(before.unwrap_or(0).max(known.flushed.0) + 1);
        // A closed log says how far it went; one that was not may have gone further than anything tells.
        let through = (known.is_sealed || self.last_seq >= from).then_some(self.last_seq);
        if tail_is_lost && through.is_none_or(|through| through >= from) {
            self.lost.push(LostCommits { from, through });
        }
    }

    /// The last sequence number that is taken.
    pub(super) fn last_taken(&self) -> SeqNo {
        SeqNo(self.taken.last_key_value().map_or(0, |(_, span)| span.last))
    }

    /// Hands every group that is taken to `visit`, in order.
    pub(super) fn replay(
        &self,
        fs: &dyn Fs,
        dir: &Path,
        mut visit: impl FnMut(&Group<'_>) -> Result<()>,
    ) -> Result<()> {
        self.visit(fs, dir, &self.taken, |_, group| visit(group))
    }

    /// Hands every group that can be read and is not taken to `visit`, with the number of its segment.
    pub(super) fn visit_dropped(
        &self,
        fs: &dyn Fs,
        dir: &Path,
        visit: impl FnMut(FileNumber, &Group<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.dropped.is_empty() {
            return Ok(());
        }
        self.visit(fs, dir, &self.dropped, visit)
    }

    fn visit(
        &self,
        fs: &dyn Fs,
        dir: &Path,
        spans: &BTreeMap<u64, Span>,
        mut visit: impl FnMut(FileNumber, &Group<'_>) -> Result<()>,
    ) -> Result<()> {
        for (at, segment) in self.segments.iter().enumerate() {
            salvage(fs, dir, segment, |piece| match piece {
                Piece::Group(group) => match spans.get(&group.first_seq.0) {
                    Some(span) if span.segment == at && span.last == group.last_seq.0 => {
                        visit(segment.number, &group)
                    }
                    _ => Ok(()),
                },
                Piece::Damage(_) => Ok(()),
            })?;
        }
        Ok(())
    }
}

fn salvage(
    fs: &dyn Fs,
    dir: &Path,
    segment: &Segment,
    visit: impl FnMut(Piece<'_>) -> Result<()>,
) -> Result<Option<esker_wal::SalvagedSegment>> {
    let Segment { number, file_id, ends_at } = *segment;
    esker_wal::salvage_segment(fs, dir, number, file_id, ends_at, visit)
}

/// Whether every operation of a group can be read, and there are as many as its sequence numbers say.
pub(super) fn is_sound(group: &Group<'_>) -> bool {
    group.batches().all(|ops| {
        let mut count = 0;
        let sound = batch::ops(ops.bytes).all(|op| {
            count += 1;
            op.is_some_and(|op| op.value.len() <= BATCH_LEN_MAX)
        });
        sound && count == ops.op_count
    })
}
