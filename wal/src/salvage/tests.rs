//! Salvage of segments that were overwritten, forged, cut off or cannot be read.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::{place, spec, world};
use crate::{GroupBuilder, Writer, create_segment};
use esker_base::LogPosition;
use esker_vfs::Call;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};

/// A segment of three groups; where each starts.
fn three_groups(fs: &dyn Fs, dir: &Path) -> Vec<u64> {
    let segment = create_segment(fs, dir, &spec(7)).unwrap();
    let mut writer = Writer::new(segment, SeqNo(0), LogPosition::default());
    let starts = (1..=3).map(|seq| {
        let start = writer.position().offset;
        let mut group = GroupBuilder::new();
        group.start(0, SeqNo(seq));
        group.push(b"abc", 1).unwrap();
        writer.append(&mut group).unwrap();
        start
    });
    starts.collect()
}

#[test]
fn whole_groups_are_found_on_both_sides_of_damage() {
    let (fs, dir) = world();
    let starts = three_groups(&*fs, &dir);
    let path = dir.join(FileKind::Wal.name(FileNumber(7)));
    fs.open(&path, OpenMode::ReadWrite).unwrap().write_all_at(&[9; 4], starts[1]).unwrap();
    let mut seen = Vec::new();
    let found = salvage_segment(&*fs, &dir, FileNumber(7), None, None, |piece| {
        seen.push(match piece {
            Piece::Group(group) => group.first_seq.0,
            Piece::Damage(offset) => offset,
        });
        Ok(())
    });
    assert_eq!(seen, [1, starts[1], 3]);
    let found = found.unwrap().unwrap();
    assert!(!found.is_torn && found.end > starts[2]);
    assert!(look_at(&*fs, &dir, FileNumber(7)).unwrap().unwrap().1);
    assert!(look_at(&*fs, &dir, FileNumber(8)).unwrap().is_none());
    let missing = salvage_segment(&*fs, &dir, FileNumber(8), None, None, |_| Ok(()));
    assert_eq!(missing.unwrap(), None);
}

/// The first sequence numbers of groups, and where damage stands.
type Seen = (Vec<u64>, Vec<u64>);

/// What a salvage of segment 7 says, as (groups, damages) and the summary.
fn salvaged(
    fs: &dyn Fs,
    dir: &Path,
    file_id: Option<FileId>,
    ends_at: Option<u64>,
) -> Result<(Seen, Option<SalvagedSegment>)> {
    let (mut groups, mut damages) = (Vec::new(), Vec::new());
    let found = salvage_segment(fs, dir, FileNumber(7), file_id, ends_at, |piece| {
        match piece {
            Piece::Group(group) => groups.push(group.first_seq.0),
            Piece::Damage(offset) => damages.push(offset),
        }
        Ok(())
    })?;
    Ok(((groups, damages), found))
}

#[test]
fn what_stands_behind_the_recorded_end_is_not_part_of_the_log() {
    let (fs, dir) = world();
    let starts = three_groups(&*fs, &dir);
    let (seen, found) = salvaged(&*fs, &dir, None, Some(starts[2])).unwrap();
    assert_eq!(seen, (vec![1, 2], vec![]));
    let found = found.unwrap();
    assert_eq!((found.len, found.end, found.is_torn), (4096, starts[2], false));
    // An end within a frame leaves a torn one; an end past the file changes nothing.
    let (seen, found) = salvaged(&*fs, &dir, None, Some(starts[2] + 8)).unwrap();
    assert_eq!((seen.0, found.unwrap().is_torn), (vec![1, 2], true));
    assert_eq!(salvaged(&*fs, &dir, None, Some(1 << 40)).unwrap().0.0, [1, 2, 3]);
}

#[test]
fn control_frames_are_followed_and_malformed_frames_are_damage() {
    let (fs, dir) = world();
    let path = dir.join(FileKind::Wal.name(FileNumber(7)));
    let forged = |kind: u8, payload: &[u8]| {
        let starts = three_groups(&*fs, &dir);
        let mut bytes = Vec::new();
        let none = LogPosition::default();
        frame::encode(place(7), starts[2], kind, none, payload, &mut bytes);
        let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
        file.write_all_at(&bytes, starts[2]).unwrap();
        (starts[2], salvaged(&*fs, &dir, None, None))
    };
    let number = 9u64.to_le_bytes();
    let (_, found) = forged(2, &number);
    assert_eq!(found.unwrap().1.unwrap().continued_by, Some(FileNumber(9)));
    let (_, found) = forged(3, &number);
    assert_eq!(found.unwrap().1.unwrap().sealed_at, Some(SeqNo(9)));
    for (kind, payload) in [(1, &b"no group"[..]), (2, &number[..7]), (3, &[])] {
        let (at, found) = forged(kind, payload);
        let (seen, found) = found.unwrap();
        assert_eq!(seen, (vec![1, 2], vec![at]), "{kind}");
        let found = found.unwrap();
        assert_eq!((found.continued_by, found.sealed_at), (None, None), "{kind}");
    }
    assert_eq!(forged(4, &[]).1.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_newer_header_is_not_guessed_at_and_a_blank_file_is_void() {
    let (fs, dir) = world();
    three_groups(&*fs, &dir);
    let path = dir.join(FileKind::Wal.name(FileNumber(7)));
    let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
    let mut head = [0; HEADER_LEN];
    file.read_exact_at(&mut head, 0).unwrap();
    head[8] = 3;
    let crc = esker_base::checksum::plain(&head[..60]);
    head[60..].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&head, 0).unwrap();
    let error = salvaged(&*fs, &dir, None, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    // Zeros from end to end, or less than a header: nothing tells what was there.
    file.write_all_at(&[0; 4096], 0).unwrap();
    let id = spec(7).file_id;
    assert_eq!(salvaged(&*fs, &dir, None, None).unwrap().1, None);
    let found = salvaged(&*fs, &dir, Some(id), None).unwrap().1.unwrap();
    assert_eq!((found.end, found.is_torn), (HEADER_LEN as u64, true));
    file.truncate(HEADER_LEN as u64 - 1).unwrap();
    assert_eq!(salvaged(&*fs, &dir, Some(id), None).unwrap().1, None);
}

/// A disk that loses one sector loses the groups on it, not the segment.
#[test]
fn what_cannot_be_read_counts_as_zeros() {
    let (disk, dir) = world();
    let size_bytes = 5 * CHUNK_LEN as u64;
    let segment =
        create_segment(&*disk, &dir, &crate::SegmentSpec { size_bytes, ..spec(7) }).unwrap();
    let mut writer = Writer::new(segment, SeqNo(0), LogPosition::default());
    // 3072 bytes each with their frames: groups 3 and 4 lie on the third chunk.
    crate::testing::append(&mut writer, 1..=6, 3050);
    let fs = FaultFs::new(disk);
    let unreadable = Rule::new(Fault::Fail(Failure::Io)).on(&[Call::ReadAt]);
    // First the whole is asked for, then chunk by chunk.
    fs.inject(unreadable.clone());
    fs.inject(unreadable.clone().after(3));
    let (seen, found) = salvaged(&fs, &dir, None, None).unwrap();
    assert_eq!(seen, (vec![1, 2, 5, 6], vec![HEADER_LEN as u64 + 2 * 3072]));
    assert_eq!(found.unwrap().len, size_bytes);
    // All of it, and the file's length, which is an error: nothing can be said then.
    fs.inject(unreadable.sticky());
    assert_eq!(salvaged(&fs, &dir, None, None).unwrap().1, None);
    fs.clear();
    for call in [Call::Open, Call::Len] {
        fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[call]));
        assert_eq!(salvaged(&fs, &dir, None, None).unwrap_err().kind(), ErrorKind::Io);
    }
}

#[test]
fn a_fresh_segment_holds_no_frames_and_a_failed_read_is_an_error() {
    let (disk, dir) = world();
    create_segment(&*disk, &dir, &spec(7)).unwrap();
    let (header, holds_frames) = look_at(&*disk, &dir, FileNumber(7)).unwrap().unwrap();
    assert_eq!((header.file_id, holds_frames), (spec(7).file_id, false));
    let fs = FaultFs::new(disk);
    fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::ReadAt]));
    assert_eq!(look_at(&fs, &dir, FileNumber(7)).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_segment_over_the_limit_is_nothing_to_look_at() {
    let (fs, dir) = world();
    three_groups(&*fs, &dir);
    let path = dir.join(FileKind::Wal.name(FileNumber(7)));
    // Sparse: nothing is allocated, neither on disk nor in memory.
    fs.open(&path, OpenMode::ReadWrite).unwrap().truncate(SEGMENT_LEN_MAX + 1).unwrap();
    assert!(look_at(&*fs, &dir, FileNumber(7)).unwrap().is_none());
}

#[test]
fn a_segment_without_its_header_needs_an_identity() {
    let (fs, dir) = world();
    three_groups(&*fs, &dir);
    let path = dir.join(FileKind::Wal.name(FileNumber(7)));
    let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
    let mut head = [0; HEADER_LEN];
    file.read_exact_at(&mut head, 0).unwrap();
    let file_id = Header::decode(&head, &path).unwrap().file_id;
    file.write_all_at(&[9; HEADER_LEN], 0).unwrap();
    let count = |file_id| {
        let mut count = 0;
        let found = salvage_segment(&*fs, &dir, FileNumber(7), file_id, None, |_| {
            count += 1;
            Ok(())
        });
        (count, found.unwrap().is_some())
    };
    assert_eq!(count(None), (0, false));
    assert_eq!(count(Some(file_id)), (3, true));
    assert!(look_at(&*fs, &dir, FileNumber(7)).unwrap().is_none());
}
