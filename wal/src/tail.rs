//! The tail of the log after a crash. What lies behind the known-synced position was read, but may
//! be in the page cache alone, and after a failed sync the kernel may take it for clean and never
//! write it. So it is copied into new segments and synced there, before anything is served. The
//! engine calls it while it opens; the old segments are left untouched until the manifest has
//! recorded the new ones, so it may be interrupted anywhere and run again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{Error, FileNumber, LogPosition, Result, SeqNo, mutant};
use esker_vfs::{File, Fs};

use crate::format::{FrameKind, HEADER_LEN, Header};
use crate::frame::{self, Parsed, Place};
use crate::group::Group;
use crate::reader::{Outcome, SegmentOutcome, known_kind, read_file};
use crate::segment::{Segment, SegmentSpec, discard, prepare, publish, segment_size_for, sync_dir};
use crate::writer::{FinishedSegment, Writer};

/// The log after its tail was rewritten. To record, in one manifest edit: the segment `cut.file`
/// ends at `cut.offset` and is continued by `finished` and then the writer's segment; every listed
/// segment behind `cut.file` is gone.
#[derive(Debug)]
pub struct RewrittenTail {
    /// Where the old log ends now.
    pub cut: LogPosition,
    /// New segments that are full already, with their identities; usually none.
    pub finished: Vec<(FinishedSegment, SegmentSpec)>,
    /// Goes on behind the tail; all of it is known to be synced.
    pub writer: Writer,
}

/// Copies every group behind `outcome.known_synced` into new segments, makes them durable and
/// returns a writer that goes on there.
///
/// `spec_for` is asked for each new segment, with the least size in bytes that it must have; it
/// never gets two with the same number, and all are higher than any listed before. `last_seq_floor`
/// is the last sequence number that the engine knows to be in use, if that is more than the log
/// says.
///
/// Corruption if the log is not what `outcome` says any more; otherwise errors of the file system.
/// What was made by then is under temporary names, or complete and unlisted: the next attempt
/// replaces it. The old segments are never touched.
pub fn rewrite_tail(
    fs: &dyn Fs,
    dir: &Path,
    outcome: &Outcome,
    last_seq_floor: SeqNo,
    spec_for: &mut dyn FnMut(u64) -> Result<SegmentSpec>,
) -> Result<RewrittenTail> {
    let mut tail = Tail { fs, dir, outcome, spec_for, made: Vec::new() };
    let rewritten = tail.rewrite(last_seq_floor);
    if rewritten.is_err() {
        tail.made.iter().for_each(|made| discard(fs, &made.path));
    }
    rewritten
}

/// About how many bytes [`rewrite_tail`] copies: with a first segment that is larger by so many there is one sync and no
/// rotation.
pub fn tail_bytes(outcome: &Outcome) -> u64 {
    let known = outcome.known_synced;
    let old = outcome.segments.iter().filter(|old| old.number >= known.file);
    let behind = old.map(|old| match old.number == known.file {
        true => old.end.saturating_sub(known.offset),
        false => old.end,
    });
    behind.fold(0, u64::saturating_add)
}

struct Tail<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    outcome: &'a Outcome,
    spec_for: &'a mut dyn FnMut(u64) -> Result<SegmentSpec>,
    /// The new segments, in order.
    made: Vec<Made>,
}

struct Made {
    spec: SegmentSpec,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl Tail<'_> {
    fn rewrite(&mut self, last_seq_floor: SeqNo) -> Result<RewrittenTail> {
        let cut = self.cut()?;
        let first = self.make(segment_size_for(1))?;
        let mut writer = Writer::new(first, SeqNo(0), cut);
        let mut finished = Vec::new();
        let mut buffer = Vec::new();
        for old in &self.outcome.segments {
            if old.number < cut.file || mutant!("wal_tail_dropped") {
                continue;
            }
            let from = if old.number == cut.file { cut.offset } else { HEADER_LEN as u64 };
            self.copy(old, from, &mut buffer, &mut writer, &mut finished)?;
        }
        writer.write_copies()?;
        if let Some(made) = self.made.last().filter(|made| made.spec.zero_fill) {
            writer.zero_rest(made.spec.map)?;
        }
        for made in self.made.iter().filter(|_| !mutant!("wal_tail_not_synced")) {
            made.file.sync_all().map_err(|error| Error::io("sync", &made.path, error))?;
        }
        for made in &self.made {
            publish(self.fs, &made.path)?;
        }
        sync_dir(self.fs, self.dir)?;
        writer.resume(last_seq_floor.max(self.outcome.last_seq));
        let specs = self.made.iter().map(|made| made.spec);
        Ok(RewrittenTail { cut, finished: finished.into_iter().zip(specs).collect(), writer })
    }

    /// What is durable of the listed segments: nothing, if the segment that it counts in is
    /// retired.
    fn cut(&self) -> Result<LogPosition> {
        let known = self.outcome.known_synced;
        let segments = &self.outcome.segments;
        match segments.first() {
            Some(first) if known.file < first.number => {
                Ok(LogPosition { file: first.number, offset: HEADER_LEN as u64 })
            }
            Some(_) if segments.iter().all(|old| old.number != known.file) => {
                let path = self.dir.join(FileKind::Wal.name(known.file));
                let message = "this log segment is said to be synced, but it is not listed";
                Err(Error::corruption(path, known.offset, message))
            }
            _ => Ok(known),
        }
    }

    fn make(&mut self, size_min: u64) -> Result<Segment> {
        let spec = (self.spec_for)(size_min)?;
        let listed = self.outcome.segments.iter().map(|old| old.number);
        let listed = listed.chain(self.outcome.beyond.iter().copied());
        let listed = listed.chain(self.made.iter().map(|made| made.spec.number)).max();
        if listed.is_some_and(|listed| spec.number <= listed) || spec.size_bytes < size_min {
            return Err(Error::invalid(format!(
                "log segment {} of {} bytes cannot take the tail of the log",
                spec.number, spec.size_bytes
            )));
        }
        let needed = |number: FileNumber| self.outcome.segments.iter().any(|s| s.number == number);
        if spec.recycle.is_some_and(needed) {
            return Err(Error::invalid("a segment that the log still needs cannot be recycled"));
        }
        // Zeros are written behind the copies, and the rest mapped, once it is known where these end.
        let segment =
            prepare(self.fs, self.dir, &SegmentSpec { zero_fill: false, map: false, ..spec })?;
        let (path, file) = (segment.path.clone(), segment.file.clone());
        let spec = SegmentSpec { file_id: segment.file_id(), ..spec };
        self.made.push(Made { spec, path, file });
        Ok(segment)
    }

    /// Copies the groups of one old segment, from a frame's start on.
    fn copy(
        &mut self,
        old: &SegmentOutcome,
        from: u64,
        buffer: &mut Vec<u8>,
        writer: &mut Writer,
        finished: &mut Vec<FinishedSegment>,
    ) -> Result<()> {
        let path = self.dir.join(FileKind::Wal.name(old.number));
        let changed = |offset, why: &str| {
            let message = format!("the log changed while its tail was copied: {why}");
            Err(Error::corruption(&path, offset, message))
        };
        read_file(self.fs, &path, false, buffer)?;
        if Header::decode(buffer, &path)?.file_id != old.file_id {
            return changed(0, "another file stands in its place");
        }
        let place = Place::new(old.file_id, old.number);
        let mut offset = from;
        while offset < old.end {
            let found = match frame::decode(place, offset, buffer) {
                Parsed::Frame(found) => found,
                Parsed::Blank => return changed(offset, "a frame is gone"),
                Parsed::Damaged(why) => return changed(offset, why),
            };
            offset = found.end();
            if known_kind(&found, &path)? != FrameKind::Group {
                continue;
            }
            let group = match Group::decode(found.payload) {
                Ok(group) => group,
                Err(why) => return changed(found.offset, why),
            };
            if !writer.fits(found.payload.len()) {
                let next = self.make(segment_size_for(found.payload.len()))?;
                writer.write_copies()?;
                finished.push(writer.rotate(next)?);
            }
            writer.append_copy(found.payload, group.first_seq, group.last_seq)?;
        }
        if offset == old.end { Ok(()) } else { changed(old.end, "it ends elsewhere") }
    }
}

#[cfg(test)]
mod tests;
