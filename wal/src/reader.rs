//! Replay: reading the log from its first live segment to its end. The engine calls it while it
//! opens; it writes nothing, so that a refused directory stays byte for byte as it was.
//!
//! Where the log stops being valid, at P, it was torn by a crash, or something durable was damaged.
//! Every frame says what was known to be synced when it was written, so all bytes from P on, in
//! later segments too, are searched for valid frames: one that claims more than P, or a manifest
//! that does, proves corruption. Blank bytes at P count like any damage, because a lost write reads
//! as zeros. Segments whose end the manifest knows are not judged, they must match. A failed read
//! is an error, never an end of the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{Epoch, Error, FileId, FileNumber, LogPosition, Result, SeqNo, checksum, mutant};
use esker_vfs::{Fs, OpenMode};

use crate::format::{FrameKind, HEADER_LEN, Header, u64_at};
use crate::frame::{self, Frame, Parsed, Place};
use crate::group::Group;
use crate::segment::SEGMENT_LEN_MAX;
use crate::writer::SealInfo;

/// How much is looked at a time for bytes that are not zero.
const BLANK_STEP: usize = 4096;

/// What the manifest knows of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentExpectation {
    /// Its number.
    pub number: FileNumber,
    /// Its identity.
    pub file_id: FileId,
    /// Where the log leaves it for the next listed segment, if a recovery recorded that: everything
    /// before is durable, what follows is void.
    pub ends_at: Option<u64>,
    /// What a clean close recorded.
    pub sealed: Option<SealInfo>,
    /// Listed before it was made or while it may be given up: it may be missing or all zeros, as
    /// long as the log does not lead into it.
    pub optional: bool,
}

/// What replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Behind the last valid frame.
    pub end: LogPosition,
    /// The last sequence number seen; 0 if the log holds no group.
    pub last_seq: SeqNo,
    /// The most that the manifest or any frame says is durable, at most [`Outcome::end`]. What lies
    /// between may be in the page cache alone; see [`crate::rewrite_tail`].
    pub known_synced: LogPosition,
    /// Bytes behind the end, up to the last that was written, over all segments: what a tear cost. Of a recycled segment
    /// only that is counted which cannot be another segment's.
    pub torn_bytes: u64,
    /// The segments up to the end, in order.
    pub segments: Vec<SegmentOutcome>,
    /// Listed segments behind the end: spares, and what a tear cut off.
    pub beyond: Vec<FileNumber>,
    /// The highest epoch in a segment's header; 0 without segments.
    pub epoch: Epoch,
    /// The manifest vouches for the end and nothing was written behind it: no tail needs rewriting.
    pub clean: bool,
}

/// What replay found of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentOutcome {
    /// Its number.
    pub number: FileNumber,
    /// Its identity.
    pub file_id: FileId,
    /// Where its valid frames end.
    pub end: u64,
    /// The last sequence number in it or before it; 0 if there was none.
    pub last_seq: SeqNo,
}

/// Reads the log that consists of `segments`, given in order, and hands every group to `visit`, in
/// order.
///
/// `known_synced_floor` is the most the manifest knows to be durable. Groups are visited before the
/// log is known to be good: on an error, what was visited is to be dropped.
///
/// Corruption, naming file and offset, where anything durable is missing, damaged, foreign or out
/// of order. InvalidArgument if the segment numbers do not grow. Unsupported for a newer format.
/// Otherwise errors of the file system and of `visit`.
pub fn replay(
    fs: &dyn Fs,
    dir: &Path,
    segments: &[SegmentExpectation],
    known_synced_floor: LogPosition,
    mut visit: impl FnMut(Group<'_>) -> Result<()>,
) -> Result<Outcome> {
    replay_segments(fs, dir, segments, known_synced_floor, |groups| {
        while let Some(group) = groups.next()? {
            visit(group)?;
        }
        Ok(())
    })
}

/// As [`replay`], segment by segment: `visit` is called for each one that the log leads into, and
/// takes the groups from it. Those that it leaves there are checked all the same.
pub fn replay_segments(
    fs: &dyn Fs,
    dir: &Path,
    segments: &[SegmentExpectation],
    known_synced_floor: LogPosition,
    mut visit: impl FnMut(&mut Groups<'_>) -> Result<()>,
) -> Result<Outcome> {
    if !segments.is_sorted_by(|a, b| a.number < b.number) {
        return Err(Error::invalid("the numbers of the log's segments must grow"));
    }
    let mut replay = Replay::new(known_synced_floor);
    // A visitor that keeps the last segment for a while keeps its memory too, so two take turns.
    let (mut shared, mut other) = (Arc::new(Vec::new()), Arc::new(Vec::new()));
    for expected in segments {
        let path = dir.join(FileKind::Wal.name(expected.number));
        std::mem::swap(&mut shared, &mut other);
        if Arc::get_mut(&mut shared).is_none() {
            shared = Arc::new(Vec::new());
        }
        let buffer = Arc::get_mut(&mut shared).expect("invariant: made just now, or not shared");
        let header = load(fs, &path, expected, buffer)?;
        let buffer = &shared;
        replay.epoch = header.map_or(replay.epoch, |header| replay.epoch.max(header.epoch));
        match (&replay.state, header) {
            (State::Ended, None) => replay.beyond.push(expected.number),
            (State::Ended, Some(header)) => {
                replay.beyond.push(expected.number);
                replay.judge_rest(&header, &path, HEADER_LEN as u64, buffer)?;
            }
            (State::Continued(link), found) => {
                let Some(header) = found.filter(|_| link.next == expected.number) else {
                    return Err(link.broken("missing, blank or not listed next"));
                };
                replay.read_segment(expected, &path, (&header, buffer), &mut visit)?;
                replay.check_length(&header, &path, buffer.len())?;
            }
            (State::Open, found) => {
                // Behind an end that the manifest vouches for, an unused spare is not yet part of
                // the log.
                let is_used = |header: &Header| {
                    let written = header.unwritten(buffer, HEADER_LEN as u64);
                    !expected.optional || written.iter().any(|&byte| byte != 0)
                };
                match found.filter(is_used) {
                    Some(header) => {
                        replay.read_segment(expected, &path, (&header, buffer), &mut visit)?;
                        replay.check_length(&header, &path, buffer.len())?;
                    }
                    None => replay.end_before(expected.number),
                }
            }
        }
    }
    replay.finish(dir)
}

/// Reads a segment into `buffer` and checks its header; `None` if an optional one is missing or all
/// zeros.
fn load(
    fs: &dyn Fs,
    path: &Path,
    expected: &SegmentExpectation,
    buffer: &mut Vec<u8>,
) -> Result<Option<Header>> {
    read_file(fs, path, expected.optional, buffer)?;
    if expected.optional && buffer.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let header = Header::decode(buffer, path)?;
    if header.number != expected.number || header.file_id != expected.file_id {
        let message = format!(
            "this is log segment {} with id {}, but the manifest lists segment {} with id {}",
            header.number, header.file_id, expected.number, expected.file_id
        );
        return Err(Error::corruption(path, 0, message));
    }
    Ok(Some(header))
}

/// Reads a whole segment into `buffer`; nothing if it is missing and `optional`.
pub(crate) fn read_file(
    fs: &dyn Fs,
    path: &Path,
    optional: bool,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    let file = match fs.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if optional {
                buffer.clear();
                return Ok(());
            }
            return Err(Error::corruption(path, 0, "a log segment is missing"));
        }
        Err(error) => return Err(Error::io("open", path, error)),
    };
    let len = file.len().map_err(|error| Error::io("get the length of", path, error))?;
    if len > SEGMENT_LEN_MAX {
        let message = format!("a log segment of {len} bytes; the most is {SEGMENT_LEN_MAX}");
        return Err(Error::corruption(path, SEGMENT_LEN_MAX, message));
    }
    if buffer.capacity() < len as usize {
        // Fresh memory is zero already.
        *buffer = vec![0; len as usize];
    }
    buffer.resize(len as usize, 0);
    if mutant!("wal_read_error_is_end") && file.read_exact_at(buffer, 0).is_err() {
        buffer.fill(0);
        let header = &mut buffer[..HEADER_LEN.min(len as usize)];
        return file.read_exact_at(header, 0).map_err(|error| Error::io("read", path, error));
    }
    file.read_exact_at(buffer, 0).map_err(|error| Error::io("read", path, error))
}

/// Whether the log goes on in the next segment.
#[derive(Debug)]
enum State {
    /// The next listed segment follows.
    Open,
    /// A Continue frame names the next segment.
    Continued(Link),
    /// The log ended: by a tear, a seal or a missing optional segment.
    Ended,
}

/// A Continue frame.
#[derive(Debug)]
struct Link {
    path: PathBuf,
    offset: u64,
    next: FileNumber,
}

impl Link {
    fn broken(&self, how: &str) -> Error {
        let message = format!("the log goes on in segment {}, which is {how}", self.next);
        Error::corruption(&self.path, self.offset, message)
    }
}

struct Replay {
    state: State,
    end: LogPosition,
    last_seq: SeqNo,
    /// The most that the manifest or any valid frame claims to be synced.
    claimed: LogPosition,
    torn_bytes: u64,
    /// Why the log ends where it does.
    reason: &'static str,
    /// Whether the manifest knows the current segment's end; true before the first.
    vouched: bool,
    /// What the seal of the current segment says.
    sealed_at: Option<SeqNo>,
    segments: Vec<SegmentOutcome>,
    beyond: Vec<FileNumber>,
    epoch: Epoch,
}

impl Replay {
    fn new(known_synced_floor: LogPosition) -> Replay {
        Replay {
            state: State::Open,
            end: LogPosition::default(),
            last_seq: SeqNo(0),
            claimed: known_synced_floor,
            torn_bytes: 0,
            reason: "the log ends here",
            vouched: true,
            sealed_at: None,
            segments: Vec::new(),
            beyond: Vec::new(),
            epoch: Epoch(0),
        }
    }

    /// Reads the segment that the log leads into.
    fn read_segment(
        &mut self,
        expected: &SegmentExpectation,
        path: &Path,
        (header, bytes): (&Header, &Arc<Vec<u8>>),
        visit: &mut impl FnMut(&mut Groups<'_>) -> Result<()>,
    ) -> Result<()> {
        if let Some(seal) = &expected.sealed {
            check_sealed_file(expected, seal, path, (header, bytes))?;
        }
        let file = match expected.ends_at {
            None => &bytes[..],
            Some(end) => cut(bytes, end, path)?,
        };
        self.state = State::Open;
        self.sealed_at = None;
        self.vouched = expected.ends_at.is_some() || expected.sealed.is_some();
        let (start, place) = (HEADER_LEN as u64, header.place());
        let mut groups = Groups {
            replay: self,
            expected,
            place,
            path,
            bytes,
            file,
            offset: start,
            closed: false,
        };
        visit(&mut groups)?;
        while groups.next()?.is_some() {}
        let offset = groups.offset;
        self.end = LogPosition { file: expected.number, offset };
        self.segments.push(SegmentOutcome {
            number: expected.number,
            file_id: expected.file_id,
            end: offset,
            last_seq: self.last_seq,
        });
        if self.vouched {
            return self.finish_vouched(expected, path, offset, file.len() as u64);
        }
        if let State::Ended = self.state {
            self.judge_rest(header, path, offset, file)?;
        }
        Ok(())
    }

    /// A segment has its whole length from before its first frame until it is closed or its end is recorded, so a shorter
    /// one was cut off, and what it held cannot be known.
    fn check_length(&self, header: &Header, path: &Path, len: usize) -> Result<()> {
        let made = header.size_bytes as usize;
        if self.vouched || self.sealed_at.is_some() || len >= made {
            return Ok(());
        }
        let number = header.number;
        let message = format!("log segment {number} was made with {made} bytes and has {len}");
        Err(Error::corruption(path, len as u64, message))
    }

    /// Follows one valid frame: a group, or `None` for the last frame of its segment.
    fn take_frame<'b>(
        &mut self,
        number: FileNumber,
        path: &Path,
        found: &Frame<'b>,
    ) -> Result<Option<Group<'b>>> {
        let corrupt = |message: &str| Err(Error::corruption(path, found.offset, message));
        let kind = known_kind(found, path)?;
        if found.synced > (LogPosition { file: number, offset: found.offset }) {
            return corrupt("a log frame claims that what follows it is synced");
        }
        self.claimed = self.claimed.max(found.synced);
        match kind {
            FrameKind::Group => {
                let group = match Group::decode(found.payload) {
                    Ok(group) => group,
                    Err(message) => return corrupt(message),
                };
                if group.first_seq <= self.last_seq {
                    return corrupt("a group's sequence numbers go back");
                }
                self.last_seq = group.last_seq;
                Ok(Some(group))
            }
            FrameKind::Continue | FrameKind::Seal if found.payload.len() != 8 => {
                corrupt("a control frame of the log has a wrong length")
            }
            FrameKind::Continue if mutant!("recovery_segment_skipped") => {
                self.state = State::Ended;
                Ok(None)
            }
            FrameKind::Continue => {
                self.state = State::Continued(Link {
                    path: path.to_path_buf(),
                    offset: found.offset,
                    next: FileNumber(u64_at(found.payload, 0)),
                });
                Ok(None)
            }
            FrameKind::Seal => {
                if u64_at(found.payload, 0) < self.last_seq.0 {
                    return corrupt("the log's seal names too low a sequence number");
                }
                self.sealed_at = Some(SeqNo(u64_at(found.payload, 0)));
                self.reason = "the log was sealed here";
                self.state = State::Ended;
                Ok(None)
            }
        }
    }

    /// The manifest knows this segment's end, so everything before it must have been valid and end
    /// right there.
    fn finish_vouched(
        &mut self,
        expected: &SegmentExpectation,
        path: &Path,
        offset: u64,
        end: u64,
    ) -> Result<()> {
        if offset != end {
            let reason = self.reason;
            let message = format!("durable log data is damaged before its end at {end}: {reason}");
            return Err(Error::corruption(path, offset, message));
        }
        self.claimed = self.claimed.max(self.end);
        // A Continue or a Seal at the very end is void: the log goes on in the segment listed next.
        self.state = State::Open;
        match &expected.sealed {
            Some(seal) if expected.ends_at.is_none() && self.sealed_at != Some(seal.last_seq) => {
                Err(Error::corruption(path, offset, "the log's seal is not what was recorded"))
            }
            _ => Ok(()),
        }
    }

    /// Takes notice of what stands behind the end of the log.
    fn judge_rest(&mut self, header: &Header, path: &Path, from: u64, file: &[u8]) -> Result<()> {
        let unwritten = header.unwritten(file, from);
        let used = used_len(unwritten);
        let mut used_end = from + used as u64;
        if mutant!("wal_later_frames_ignored") {
            return Ok(());
        }
        for found in frame::scan(header.place(), from, file) {
            let found = found.map_err(|gave_up| gave_up.error(path))?;
            self.claimed = self.claimed.max(found.synced);
            used_end = used_end.max(found.end());
        }
        self.torn_bytes += used_end - from;
        Ok(())
    }

    /// The log ends before this segment, an unused spare.
    fn end_before(&mut self, number: FileNumber) {
        if self.segments.is_empty() {
            self.end = LogPosition { file: number, offset: HEADER_LEN as u64 };
        }
        self.beyond.push(number);
        self.state = State::Ended;
    }

    fn finish(self, dir: &Path) -> Result<Outcome> {
        if let State::Continued(link) = &self.state {
            return Err(link.broken("not listed"));
        }
        let listed = !self.segments.is_empty() || !self.beyond.is_empty();
        if listed && self.claimed > self.end {
            let path = dir.join(FileKind::Wal.name(self.end.file));
            let message = format!(
                "durable log data is lost: {}, but everything up to {} was synced",
                self.reason, self.claimed
            );
            return Err(Error::corruption(path, self.end.offset, message));
        }
        Ok(Outcome {
            end: self.end,
            last_seq: self.last_seq,
            known_synced: self.claimed,
            torn_bytes: self.torn_bytes,
            segments: self.segments,
            beyond: self.beyond,
            epoch: self.epoch,
            clean: self.vouched && self.torn_bytes == 0,
        })
    }
}

/// The groups of one segment, in order; see [`replay_segments`].
pub struct Groups<'r> {
    replay: &'r mut Replay,
    expected: &'r SegmentExpectation,
    place: Place,
    path: &'r Path,
    bytes: &'r Arc<Vec<u8>>,
    /// As much of `bytes` as belongs to the log.
    file: &'r [u8],
    offset: u64,
    closed: bool,
}

impl<'r> Groups<'r> {
    /// The next group, `None` at the end of what is valid of the segment.
    // Not an iterator: an error is not an end, and comes again.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Group<'r>>> {
        let replay = &mut *self.replay;
        while !self.closed && (!replay.vouched || self.offset < self.file.len() as u64) {
            let found = match frame::decode(self.place, self.offset, self.file) {
                Parsed::Frame(found) => found,
                Parsed::Damaged(_) if mutant!("wal_replays_past_damage") => {
                    self.offset += frame::ALIGNMENT as u64;
                    continue;
                }
                Parsed::Blank => {
                    replay.reason = "nothing was written here";
                    replay.state = State::Ended;
                    break;
                }
                Parsed::Damaged(why) => {
                    replay.reason = why;
                    replay.state = State::Ended;
                    break;
                }
            };
            let group = replay.take_frame(self.expected.number, self.path, &found)?;
            self.offset = found.end();
            if group.is_some() {
                return Ok(group);
            }
            self.closed = true;
        }
        self.closed = true;
        Ok(None)
    }

    /// The whole segment, for who looks at the groups' bytes longer than they live.
    pub fn bytes(&self) -> &'r Arc<Vec<u8>> {
        self.bytes
    }
}

/// The length of `bytes` without the zeros at its end. Whole pieces at a time: most of a segment may be blank.
fn used_len(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    while end > 0 {
        let start = end.saturating_sub(BLANK_STEP);
        let piece = &bytes[start..end];
        if piece.iter().fold(0, |any, byte| any | byte) != 0 {
            return start + piece.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        }
        end = start;
    }
    0
}

/// The kind of a frame whose checksums match; Unsupported if this build does not know it.
pub(crate) fn known_kind(found: &Frame<'_>, path: &Path) -> Result<FrameKind> {
    match FrameKind::try_from(found.kind) {
        Ok(kind) => Ok(kind),
        Err(kind) => {
            let what = format!("log frame of kind {kind} at {}", found.offset);
            Err(Error::unsupported(path, what))
        }
    }
}

/// The part of a segment before the end that the manifest recorded.
fn cut<'a>(file: &'a [u8], end: u64, path: &Path) -> Result<&'a [u8]> {
    let cut = usize::try_from(end).ok().and_then(|end| file.get(..end));
    match cut {
        Some(cut) if cut.len() >= HEADER_LEN => Ok(cut),
        _ => {
            let len = file.len();
            let message = format!("a log segment of {len} bytes is recorded to end at {end}");
            Err(Error::corruption(path, len as u64, message))
        }
    }
}

/// A sealed segment must be exactly what was closed.
fn check_sealed_file(
    expected: &SegmentExpectation,
    seal: &SealInfo,
    path: &Path,
    (header, file): (&Header, &[u8]),
) -> Result<()> {
    let len = file.len() as u64;
    if seal.segment != expected.number || seal.len != len {
        let message = format!(
            "the log was closed in segment {} of {} bytes, this is segment {} of {len}",
            seal.segment, seal.len, expected.number
        );
        return Err(Error::corruption(path, len.min(seal.len), message));
    }
    let (mut offset, mut running) = (HEADER_LEN as u64, checksum::Running::new());
    while let Parsed::Frame(frame) = frame::decode(header.place(), offset, file) {
        let start = offset as usize;
        running.update(&file[start..start + frame::CHECKSUM_LEN]);
        offset = frame.end();
    }
    if offset != len || seal.checksum != running.value() {
        let message = "the log was changed after it was closed";
        return Err(Error::corruption(path, offset, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
