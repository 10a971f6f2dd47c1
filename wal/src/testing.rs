//! What the tests of this crate share: a directory to work in, small segments, groups with a
//! recognisable content, and a replay that collects them.
#![allow(clippy::unwrap_used)]

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{Epoch, FileId, FileNumber, LogPosition, Result, SeqNo, checksum};
use esker_vfs::os::OsFs;
use esker_vfs::simulated::SimulatedFs;
use esker_vfs::{Fs, OpenMode};

use crate::frame::Place;
use crate::{
    GroupBuilder, Outcome, Segment, SegmentExpectation, SegmentSpec, Writer, create_segment, replay,
};

/// A directory that is removed at the end of the test.
pub struct TestDir(tempfile::TempDir);

impl Deref for TestDir {
    type Target = Path;
    fn deref(&self) -> &Path {
        self.0.path()
    }
}

/// The real file system and an empty directory in it.
pub fn world() -> (Arc<dyn Fs>, TestDir) {
    (Arc::new(OsFs), TestDir(tempfile::tempdir().unwrap()))
}

/// A simulated disk with a durable, empty directory.
pub fn simulated() -> (SimulatedFs, PathBuf) {
    let (fs, dir) = (SimulatedFs::new(), PathBuf::from("/db"));
    fs.create_dir_all(&dir).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    (fs, dir)
}

/// A segment of 4 KiB whose file id repeats its number.
pub fn spec(number: u64) -> SegmentSpec {
    SegmentSpec {
        number: FileNumber(number),
        file_id: FileId([number as u8; 16]),
        epoch: Epoch(1),
        size_bytes: 4096,
        zero_fill: false,
        recycle: None,
        map: false,
    }
}

/// Where the frames of the segment that [`spec`] makes stand.
pub fn place(number: u64) -> Place {
    Place::new(spec(number).file_id, FileNumber(number))
}

pub fn segment(fs: &dyn Fs, dir: &Path, number: u64) -> Segment {
    create_segment(fs, dir, &spec(number)).unwrap()
}

/// A writer on a fresh segment.
pub fn writer(fs: &dyn Fs, dir: &Path, number: u64) -> Writer {
    let segment = segment(fs, dir, number);
    let start = segment.start();
    Writer::new(segment, SeqNo(0), start)
}

/// What the manifest says of the segment that [`spec`] makes.
pub fn expect(number: u64) -> SegmentExpectation {
    let spec = spec(number);
    SegmentExpectation {
        number: spec.number,
        file_id: spec.file_id,
        ends_at: None,
        sealed: None,
        optional: false,
    }
}

/// A group of one operation whose batch of `len` bytes is made from its sequence number.
pub fn group(seq: u64, len: usize) -> GroupBuilder {
    let mut group = GroupBuilder::new();
    group.start(1000 + seq, SeqNo(seq));
    group.push(&content(seq, len), 1).unwrap();
    group
}

/// The batch in [`group`]: no zeros, so that a lost part shows.
pub fn content(seq: u64, len: usize) -> Vec<u8> {
    (0..len).map(|index| 1 + ((seq as usize * 31 + index) % 255) as u8).collect()
}

/// Appends groups of one operation each and returns the last position.
pub fn append(writer: &mut Writer, seqs: std::ops::RangeInclusive<u64>, len: usize) -> LogPosition {
    for seq in seqs {
        writer.append(&mut group(seq, len)).unwrap();
    }
    writer.position()
}

/// Replays and returns the sequence numbers; checks that every batch is what [`group`] made.
pub fn read_from(
    fs: &dyn Fs,
    dir: &Path,
    segments: &[SegmentExpectation],
    floor: LogPosition,
) -> Result<(Vec<u64>, Outcome)> {
    let mut seqs = Vec::new();
    let outcome = replay(fs, dir, segments, floor, |group| {
        assert_eq!(group.wall_time_ms, 1000 + group.first_seq.0);
        for batch in group.batches() {
            assert_eq!(batch.bytes, content(batch.first_seq.0, batch.bytes.len()));
            seqs.push(batch.first_seq.0);
        }
        Ok(())
    })?;
    Ok((seqs, outcome))
}

/// [`read_from`] without a floor.
pub fn read(
    fs: &dyn Fs,
    dir: &Path,
    segments: &[SegmentExpectation],
) -> Result<(Vec<u64>, Outcome)> {
    read_from(fs, dir, segments, LogPosition::default())
}

pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(FileKind::Wal.name(FileNumber(number)))
}

/// The whole content of a segment's file.
pub fn bytes(fs: &dyn Fs, dir: &Path, number: u64) -> Vec<u8> {
    let file = fs.open(&path(dir, number), OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Replaces part of a segment's file.
pub fn overwrite(fs: &dyn Fs, dir: &Path, number: u64, offset: u64, bytes: &[u8]) {
    let file = fs.open(&path(dir, number), OpenMode::ReadWrite).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

pub fn position(number: u64, offset: u64) -> LogPosition {
    LogPosition { file: FileNumber(number), offset }
}

/// Writes the header of a frame of `len` bytes at `at` of `file` that passes its check, over a body that does not.
pub fn near_frame(file_id: FileId, at: usize, len: usize, file: &mut [u8]) {
    let mut header = [0; crate::frame::HEADER_LEN];
    header[6..8].fill(0xff);
    header[8..12].copy_from_slice(&(len as u32 | 1 << 28).to_le_bytes());
    let check = checksum::at(file_id, at as u64, &header[6..]) as u16;
    header[4..6].copy_from_slice(&check.to_le_bytes());
    file[at..at + header.len()].copy_from_slice(&header);
}
