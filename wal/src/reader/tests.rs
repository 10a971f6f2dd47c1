//! Replay against logs that were cut, flipped, blanked, swapped and forged.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::testing::*;
use crate::{SegmentSpec, Writer, create_segment, segment_size_for};
use esker_base::ErrorKind;
use esker_vfs::Fs;

/// Groups 1 to 3, a sync, 4 and 5, then in a second segment 6, a sync, 7 and 8. Returns where each
/// group ends.
fn two_segments(fs: &dyn Fs, dir: &Path) -> Vec<LogPosition> {
    let mut writer = writer(fs, dir, 1);
    let mut ends = Vec::new();
    for seq in 1..=8 {
        ends.push(append(&mut writer, seq..=seq, 20 + seq as usize));
        match seq {
            3 | 6 => writer.sync().unwrap(),
            5 => {
                let finished = writer.rotate(segment(fs, dir, 2)).unwrap();
                assert_eq!((finished.number, finished.last_seq), (FileNumber(1), SeqNo(5)));
            }
            _ => {}
        }
    }
    ends
}

fn seqs(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

fn assert_corrupt(result: Result<(Vec<u64>, Outcome)>, path: &Path, offset: u64, what: &str) {
    let error = result.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
    assert_eq!((error.path(), error.offset()), (Some(path), Some(offset)), "{what}: {error}");
}

/// Appends a forged frame to segment 1.
fn forge(fs: &dyn Fs, dir: &Path, at: u64, kind: u8, synced: LogPosition, payload: &[u8]) -> u64 {
    let mut bytes = Vec::new();
    frame::encode(place(1), at, kind, synced, payload, &mut bytes);
    overwrite(fs, dir, 1, at, &bytes);
    at + bytes.len() as u64
}

#[test]
fn an_untouched_log_is_read_to_its_end() {
    let (fs, dir) = world();
    let ends = two_segments(&*fs, &dir);
    let (found, outcome) = read(&*fs, &dir, &[expect(1), expect(2)]).unwrap();
    assert_eq!(found, seqs(1..=8));
    assert_eq!((outcome.end, outcome.known_synced), (ends[7], ends[5]));
    assert_eq!((outcome.last_seq, outcome.torn_bytes, outcome.clean), (SeqNo(8), 0, false));
    let segments: Vec<_> = outcome.segments.iter().map(|s| (s.number.0, s.last_seq.0)).collect();
    assert_eq!(segments, [(1, 5), (2, 8)]);
    assert_eq!(outcome.segments[0].end, ends[4].offset + CONTROL);
    assert_eq!((outcome.epoch, outcome.beyond), (Epoch(1), vec![]));
}

const CONTROL: u64 = crate::format::CONTROL_LEN;

#[test]
fn no_segments_are_an_empty_clean_log() {
    let (fs, dir) = world();
    let (found, outcome) = read_from(&*fs, &dir, &[], position(7, 99)).unwrap();
    assert!(found.is_empty() && outcome.clean && outcome.segments.is_empty());
    assert_eq!(outcome.known_synced, position(7, 99));
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_there_unless_it_was_known_to_be_synced() {
    let (fs, dir) = world();
    let mut writer = writer(&*fs, &dir, 1);
    let mut ends = Vec::new();
    for seq in 1..=6 {
        ends.push(append(&mut writer, seq..=seq, 10 + seq as usize));
        if seq == 3 {
            writer.sync().unwrap();
        }
    }
    let whole = bytes(&*fs, &dir, 1);
    let used = ends[5].offset as usize;
    for cut in HEADER_LEN..used {
        let mut zeroed = whole.clone();
        zeroed[cut..].fill(0);
        // Frames end in up to 7 zeros of padding, which a cut need not change.
        let left = ends.iter().filter(|end| {
            let end = end.offset as usize;
            zeroed[..end] == whole[..end]
        });
        let left = left.count();
        overwrite(&*fs, &dir, 1, 0, &zeroed);
        let (found, outcome) = read(&*fs, &dir, &[expect(1)]).unwrap();
        assert_eq!(found, seqs(1..=left as u64), "{cut}");
        let at = if left == 0 { 64 } else { ends[left - 1].offset };
        assert_eq!(outcome.end.offset, at);
        let last = zeroed.iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1;
        assert_eq!(outcome.torn_bytes, last.saturating_sub(at), "{cut}");
        assert_eq!(outcome.known_synced > position(1, 64), left > 3);

        let floored = read_from(&*fs, &dir, &[expect(1)], ends[2]);
        if left < 3 {
            assert_corrupt(floored, &path(&dir, 1), at, "below the floor");
        } else {
            assert_eq!(floored.unwrap().1.known_synced, ends[2]);
        }
    }
    // A file that ends there was cut off: it had its whole length before its first frame.
    for cut in (HEADER_LEN..used).rev() {
        let file = fs.open(&path(&dir, 1), OpenMode::ReadWrite).unwrap();
        overwrite(&*fs, &dir, 1, 0, &whole[..cut]);
        file.truncate(cut as u64).unwrap();
        assert_corrupt(read(&*fs, &dir, &[expect(1)]), &path(&dir, 1), cut as u64, "cut off");
    }
    for cut in 0..HEADER_LEN {
        let file = fs.open(&path(&dir, 1), OpenMode::ReadWrite).unwrap();
        file.truncate(0).unwrap();
        overwrite(&*fs, &dir, 1, 0, &whole[..cut]);
        assert_corrupt(read(&*fs, &dir, &[expect(1)]), &path(&dir, 1), 0, "header cut");
    }
}

#[test]
fn every_flipped_bit_is_a_refusal_or_a_prefix_that_keeps_what_was_synced() {
    let (fs, dir) = world();
    let ends = two_segments(&*fs, &dir);
    let listed = [expect(1), expect(2)];
    for (number, used) in [(1, ends[4].offset + CONTROL), (2, ends[7].offset)] {
        let whole = bytes(&*fs, &dir, number);
        for at in 0..used + 16 {
            for bit in 0..8 {
                let bad = [whole[at as usize] ^ (1 << bit)];
                overwrite(&*fs, &dir, number, at, &bad);
                let result = read(&*fs, &dir, &listed);
                let here = position(number, at);
                if at < 64 {
                    assert_corrupt(result, &path(&dir, number), 0, "a flip in a header");
                } else if number == 1 && at >= used {
                    // Behind a Continue frame nothing is read.
                    assert_eq!(result.unwrap().0, seqs(1..=8));
                } else if here < ends[5] {
                    let error = result.expect_err("a flip in durable data");
                    assert_eq!(error.kind(), ErrorKind::Corruption);
                    assert_eq!(error.path(), Some(&*path(&dir, number)));
                    assert!(error.offset().unwrap() <= at);
                } else {
                    let (found, outcome) = result.unwrap();
                    let left = ends.iter().filter(|&&end| end <= here).count() as u64;
                    assert_eq!(found, seqs(1..=left), "{here}");
                    assert!(outcome.torn_bytes > 0 && outcome.end == ends[left as usize - 1]);
                }
            }
            overwrite(&*fs, &dir, number, at, &whole[at as usize..=at as usize]);
        }
    }
}

#[test]
fn a_lost_middle_write_is_corruption_only_if_something_later_says_it_was_synced() {
    let (fs, dir) = world();
    let ends = two_segments(&*fs, &dir);
    let first = bytes(&*fs, &dir, 1);
    let listed = [expect(1), expect(2)];
    let blank = |from: LogPosition, to: LogPosition| {
        let zeros = vec![0; (to.offset - from.offset) as usize];
        overwrite(&*fs, &dir, from.file.0, from.offset, &zeros);
    };
    // Group 4 was synced before 7 was written, in the next segment.
    blank(ends[2], ends[3]);
    let lost = read(&*fs, &dir, &listed);
    assert_corrupt(lost, &path(&dir, 1), ends[2].offset, "group 4 lost");
    // Without 7 and 8, nothing says so: 5 and 6 go as well.
    blank(ends[5], ends[7]);
    let (found, outcome) = read(&*fs, &dir, &listed).unwrap();
    assert_eq!(found, seqs(1..=3));
    assert_eq!((outcome.end, outcome.known_synced), (ends[2], ends[2]));
    assert_eq!(outcome.beyond, [FileNumber(2)]);
    assert!(outcome.torn_bytes > ends[5].offset - 64);
    overwrite(&*fs, &dir, 1, 0, &first);
    assert_eq!(read(&*fs, &dir, &listed).unwrap().0, seqs(1..=6));
}

#[test]
fn a_later_frame_that_ends_in_zeros_still_counts_as_a_witness() {
    let (fs, dir) = world();
    let mut writer = writer(&*fs, &dir, 1);
    let end = append(&mut writer, 1..=1, 30);
    writer.sync().unwrap();
    let mut zeros = group(2, 1);
    zeros.push(&[0; 400], 1).unwrap();
    writer.append(&mut zeros).unwrap();
    overwrite(&*fs, &dir, 1, 64, &vec![0; (end.offset - 64) as usize]);
    assert_corrupt(read(&*fs, &dir, &[expect(1)]), &path(&dir, 1), 64, "group 1 lost");
}

/// To search it would cost checksums over the rest of the file at every place.
#[test]
fn what_looks_like_frames_all_over_is_refused() {
    let (fs, dir) = world();
    let mut writer = writer(&*fs, &dir, 1);
    append(&mut writer, 1..=2, 20);
    let end = append(&mut writer, 3..=3, 20).offset as usize;
    let mut file = bytes(&*fs, &dir, 1);
    for at in (end..file.len() - 32).step_by(frame::HEADER_LEN) {
        let len = file.len() - at - frame::HEADER_LEN;
        near_frame(expect(1).file_id, at, len, &mut file);
    }
    overwrite(&*fs, &dir, 1, 0, &file);
    let error = read(&*fs, &dir, &[expect(1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.to_string().contains("looks like frames"), "{error}");
    assert!(error.offset().unwrap() > end as u64);
    let found = crate::salvage_segment(&*fs, &dir, FileNumber(1), None, None, |_| Ok(()));
    assert_eq!(found.unwrap_err().to_string(), error.to_string());
}

#[test]
fn missing_foreign_and_unlisted_segments_are_refused() {
    let (fs, dir) = world();
    let ends = two_segments(&*fs, &dir);
    let continue_at = ends[4].offset;
    let first = path(&dir, 1);
    assert_corrupt(read(&*fs, &dir, &[expect(1)]), &first, continue_at, "2 is not listed");
    let mut foreign = expect(2);
    foreign.file_id = FileId([9; 16]);
    let result = read(&*fs, &dir, &[expect(1), foreign]);
    assert_corrupt(result, &path(&dir, 2), 0, "another file id");
    segment(&*fs, &dir, 3);
    let result = read(&*fs, &dir, &[expect(1), expect(3)]);
    assert_corrupt(result, &first, continue_at, "2 is not listed next");
    assert!(read(&*fs, &dir, &[expect(2), expect(1)]).is_err());

    fs.rename(&path(&dir, 2), &dir.join("elsewhere")).unwrap();
    let result = read(&*fs, &dir, &[expect(1), expect(2)]);
    assert_corrupt(result, &path(&dir, 2), 0, "2 is missing");
    let optional = SegmentExpectation { optional: true, ..expect(2) };
    let result = read(&*fs, &dir, &[expect(1), optional]);
    assert_corrupt(result, &first, continue_at, "2 is missing and needed");
    // A copy of segment 1 under the name of segment 2.
    fs.hard_link(&first, &path(&dir, 2)).unwrap();
    let result = read(&*fs, &dir, &[expect(1), expect(2)]);
    assert_corrupt(result, &path(&dir, 2), 0, "1 in place of 2");
}

#[test]
fn a_spare_is_not_part_of_the_log_before_it_is_used() {
    let (fs, dir) = world();
    let mut writer = writer(&*fs, &dir, 1);
    append(&mut writer, 1..=3, 20);
    let seal = writer.seal().unwrap();
    let closed = SegmentExpectation { sealed: Some(seal), ..expect(1) };
    let spare = SegmentExpectation { optional: true, ..expect(2) };
    let (found, missing) = read(&*fs, &dir, &[closed, spare]).unwrap();
    assert_eq!(found, seqs(1..=3));
    assert!(missing.clean && missing.beyond == [FileNumber(2)]);
    segment(&*fs, &dir, 2);
    let (_, blank) = read(&*fs, &dir, &[closed, spare]).unwrap();
    assert_eq!(blank, missing);
    // A log that begins with a spare holds nothing, whatever was durable before it.
    let (found, outcome) = read_from(&*fs, &dir, &[spare], position(1, 500)).unwrap();
    assert!(found.is_empty() && outcome.clean);
    assert_eq!(outcome.end, position(2, 64));
    let floor = read_from(&*fs, &dir, &[spare], position(2, 65));
    assert_corrupt(floor, &path(&dir, 2), 64, "the floor is in the spare");
}

#[test]
fn a_sealed_log_detects_every_flipped_bit_and_every_other_length() {
    let (fs, dir) = world();
    let mut writer = writer(&*fs, &dir, 1);
    append(&mut writer, 1..=3, 20);
    let seal = writer.seal().unwrap();
    assert_eq!(seal.last_seq, SeqNo(3));
    assert_eq!(writer.append(&mut group(4, 1)).unwrap_err().kind(), ErrorKind::Closed);
    let whole = bytes(&*fs, &dir, 1);
    assert_eq!(whole.len() as u64, seal.len);
    let closed = [SegmentExpectation { sealed: Some(seal), ..expect(1) }];
    let (found, outcome) = read(&*fs, &dir, &closed).unwrap();
    assert_eq!((found, outcome.clean), (seqs(1..=3), true));
    assert_eq!(outcome.known_synced, position(1, seal.len));
    // Without the manifest's word it is a log like any other, and ends at its seal.
    let (found, outcome) = read(&*fs, &dir, &[expect(1)]).unwrap();
    assert_eq!((found, outcome.clean, outcome.end.offset), (seqs(1..=3), false, seal.len));

    for bit in 0..whole.len() * 8 {
        let bad = [whole[bit / 8] ^ (1 << (bit % 8))];
        overwrite(&*fs, &dir, 1, bit as u64 / 8, &bad);
        let error = read(&*fs, &dir, &closed).expect_err("a flipped bit");
        assert_eq!(error.kind(), ErrorKind::Corruption, "bit {bit}");
        overwrite(&*fs, &dir, 1, 0, &whole);
    }
    overwrite(&*fs, &dir, 1, seal.len, &[0]);
    assert!(read(&*fs, &dir, &closed).is_err());
    let file = fs.open(&path(&dir, 1), OpenMode::ReadWrite).unwrap();
    for len in (0..seal.len).rev() {
        file.truncate(len).unwrap();
        let error = read(&*fs, &dir, &closed).expect_err("a cut file");
        assert_eq!(error.kind(), ErrorKind::Corruption, "length {len}");
    }
    for wrong in [
        SealInfo { segment: FileNumber(2), ..seal },
        SealInfo { checksum: seal.checksum ^ 1, ..seal },
        SealInfo { last_seq: SeqNo(2), ..seal },
        SealInfo { last_seq: SeqNo(4), ..seal },
    ] {
        overwrite(&*fs, &dir, 1, 0, &whole);
        let closed = [SegmentExpectation { sealed: Some(wrong), ..expect(1) }];
        assert_eq!(read(&*fs, &dir, &closed).unwrap_err().kind(), ErrorKind::Corruption);
    }
}

#[test]
fn a_recorded_end_is_exact_and_what_follows_it_is_void() {
    let (fs, dir) = world();
    let ends = two_segments(&*fs, &dir);
    let mut third = Writer::new(segment(&*fs, &dir, 3), SeqNo(4), position(1, ends[3].offset));
    append(&mut third, 5..=5, 20);
    let cut = |at| SegmentExpectation { ends_at: Some(at), ..expect(1) };
    let listed = [cut(ends[3].offset), expect(3)];
    let (found, outcome) = read(&*fs, &dir, &listed).unwrap();
    assert_eq!((found, outcome.known_synced), (seqs(1..=5), ends[3]));
    assert_eq!(outcome.segments[0].end, ends[3].offset);
    // Also where it falls behind a Continue that names another segment, or before every frame.
    let continued = [cut(ends[4].offset + CONTROL), expect(3)];
    let error = read(&*fs, &dir, &continued).unwrap_err();
    assert!(error.to_string().contains("go back"), "{error}");
    assert_eq!(read(&*fs, &dir, &[cut(64), expect(3)]).unwrap().0, [5]);
    let (found, outcome) = read(&*fs, &dir, &[cut(ends[3].offset)]).unwrap();
    assert_eq!((found, outcome.clean), (seqs(1..=4), true));

    for at in [0, 63, 5000, u64::MAX] {
        let error = read(&*fs, &dir, &[cut(at), expect(3)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{at}");
    }
    for at in ends[2].offset + 1..ends[3].offset {
        let result = read(&*fs, &dir, &[cut(at), expect(3)]);
        assert_corrupt(result, &path(&dir, 1), ends[2].offset, "an end within a frame");
    }
    // Damage behind the end is nobody's business; before it, it is corruption without any witness.
    overwrite(&*fs, &dir, 1, ends[3].offset, &[0xff; 40]);
    assert_eq!(read(&*fs, &dir, &listed).unwrap().0, seqs(1..=5));
    overwrite(&*fs, &dir, 1, ends[2].offset, &[0; 32]);
    overwrite(&*fs, &dir, 3, 64, &[0; 200]);
    assert_corrupt(read(&*fs, &dir, &listed), &path(&dir, 1), ends[2].offset, "before the end");
}

#[test]
fn forged_frames_are_refused() {
    let none = LogPosition::default();
    let good = |seq| group(seq, 9).payload().to_vec();
    let build = || {
        let (fs, dir) = world();
        segment(&*fs, &dir, 1);
        let next = forge(&*fs, &dir, 64, 1, none, &good(5));
        (fs, dir, next)
    };
    // Sequence numbers may skip, but not go back.
    let (fs, dir, at) = build();
    forge(&*fs, &dir, at, 1, none, &good(9));
    assert_eq!(read(&*fs, &dir, &[expect(1)]).unwrap().0, [5, 9]);
    for seq in [4, 5] {
        let (fs, dir, at) = build();
        forge(&*fs, &dir, at, 1, none, &good(seq));
        assert_corrupt(read(&*fs, &dir, &[expect(1)]), &path(&dir, 1), at, "back");
    }
    let mut wrong_count = good(6);
    wrong_count.push(1);
    let ahead = |at: u64| position(1, at + 8);
    for (kind, ahead_by, payload) in [
        (1, false, wrong_count),
        (1, false, vec![]),
        (2, false, vec![0; 7]),
        (3, false, vec![]),
        (3, false, 4u64.to_le_bytes().to_vec()),
        (1, true, good(6)),
    ] {
        let (fs, dir, at) = build();
        let synced = if ahead_by { ahead(at) } else { none };
        forge(&*fs, &dir, at, kind, synced, &payload);
        assert_corrupt(read(&*fs, &dir, &[expect(1)]), &path(&dir, 1), at, "forged");
    }
    let (fs, dir, at) = build();
    forge(&*fs, &dir, at, 4, none, &[]);
    assert_eq!(read(&*fs, &dir, &[expect(1)]).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn an_oversize_group_has_a_segment_of_its_own() {
    let (fs, dir) = world();
    let mut writer = writer(&*fs, &dir, 1);
    append(&mut writer, 1..=1, 20);
    let mut large = group(2, 1 << 20);
    let len = large.payload().len();
    assert!(!writer.fits(len));
    assert_eq!(writer.append(&mut large).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let spec = SegmentSpec { size_bytes: segment_size_for(len), ..spec(2) };
    writer.rotate(create_segment(&*fs, &dir, &spec).unwrap()).unwrap();
    writer.append(&mut large).unwrap();
    writer.rotate(segment(&*fs, &dir, 3)).unwrap();
    append(&mut writer, 3..=4, 20);
    let (found, outcome) = read(&*fs, &dir, &[expect(1), expect(2), expect(3)]).unwrap();
    assert_eq!(found, seqs(1..=4));
    assert!(outcome.segments[1].end <= spec.size_bytes);
}

#[test]
fn the_visitors_error_and_a_file_beyond_the_limit_end_the_replay() {
    let (fs, dir) = world();
    two_segments(&*fs, &dir);
    let stop = replay(&*fs, &dir, &[expect(1), expect(2)], LogPosition::default(), |_| {
        Err(Error::invalid("stop"))
    });
    assert_eq!(stop.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let file = fs.open(&path(&dir, 1), OpenMode::ReadWrite).unwrap();
    // Sparse: nothing is allocated, neither on disk nor in memory.
    file.truncate(SEGMENT_LEN_MAX + 1).unwrap();
    let error = read(&*fs, &dir, &[expect(1), expect(2)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
}
