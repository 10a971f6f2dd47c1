//! Frames that were flipped, moved, cut and forged.
#![allow(clippy::unwrap_used)]

use super::*;

const ID: FileId = FileId([0x11; 16]);

fn place() -> Place {
    Place::new(ID, FileNumber(3))
}

fn position(file: u64, offset: u64) -> LogPosition {
    LogPosition { file: FileNumber(file), offset }
}

fn sample() -> Vec<u8> {
    let mut file = vec![0; 64];
    encode(place(), 64, 1, position(3, 64), b"hi", &mut file);
    let next = file.len() as u64;
    encode(place(), next, 2, position(1, next), &[7; 100], &mut file);
    file
}

#[test]
fn the_bytes_are_pinned() {
    let file = sample();
    let hex: Vec<String> = file[64..84].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex.join(" "), "fa d7 3c 19 e3 be 00 00 02 00 00 10 40 00 00 00 68 69 00 00");
}

#[test]
fn frames_are_read_back_and_the_end_is_blank() {
    let file = sample();
    let Parsed::Frame(first) = decode(place(), 64, &file) else { panic!("no frame") };
    assert_eq!((first.kind, first.synced, first.payload), (1, position(3, 64), &b"hi"[..]));
    let Parsed::Frame(second) = decode(place(), first.end(), &file) else { panic!("no frame") };
    assert_eq!((second.kind, second.synced), (2, position(1, first.end())));
    assert_eq!(second.payload, [7; 100]);
    assert_eq!(decode(place(), second.end(), &file), Parsed::Blank);
    assert_eq!(decode(place(), u64::MAX, &file), Parsed::Blank);
}

#[test]
fn every_flipped_bit_is_seen() {
    let file = sample();
    for bit in 64 * 8..file.len() * 8 {
        let mut bad = file.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let frames: Vec<_> = scan(place(), 64, &bad).map(|frame| frame.unwrap().offset).collect();
        assert_eq!(frames.len(), 1, "bit {bit}");
    }
}

#[test]
fn a_frame_behind_any_length_of_blank_space_is_found() {
    for gap in (0..400).step_by(ALIGNMENT) {
        let mut file = vec![0; 64 + gap];
        let at = file.len() as u64;
        encode(place(), at, 1, position(3, 64), b"behind", &mut file);
        file.resize(file.len() + gap % 48, 0);
        let found: Vec<_> = scan(place(), 0, &file).map(|frame| frame.unwrap().offset).collect();
        assert_eq!(found, [at], "{gap}");
    }
}

/// A claim is the same when it is read, or none.
#[test]
fn claims_are_read_back_or_claim_nothing() {
    let at = 1 << 20;
    let claimed = |number: u64, synced: LogPosition| {
        let place = Place::new(ID, FileNumber(number));
        let mut file = vec![0; at as usize];
        encode(place, at, 1, synced, b"hi", &mut file);
        let Parsed::Frame(found) = decode(place, at, &file) else { panic!("no frame") };
        found.synced
    };
    for (number, synced) in [
        (3, position(3, at)),
        (3, position(0, 0)),
        (1 << 40, position((1 << 40) - 65_534, u64::from(u32::MAX))),
        (65_534, position(0, 7)),
    ] {
        assert_eq!(claimed(number, synced), synced, "{number} {synced}");
    }
    let none = LogPosition::default();
    assert_eq!(place().claim(none), (NO_CLAIM, 0));
    for (number, synced) in [
        (1 << 40, position((1 << 40) - 65_535, 7)),
        (1 << 40, none),
        (3, position(4, 7)),
        (3, position(3, 1 << 32)),
    ] {
        assert_eq!(claimed(number, synced), none, "{number} {synced}");
    }
}

/// Checksums that match do not excuse a header that [`encode`] would never write.
#[test]
fn header_fields_out_of_range_are_refused() {
    let good = sample();
    let forged_with = |changes: &[(usize, &[u8])]| {
        let mut file = good.clone();
        for (at, bytes) in changes {
            file[64 + at..64 + at + bytes.len()].copy_from_slice(bytes);
        }
        let of_header = OfFile::new(ID).at(64, &file[70..80]);
        file[68..70].copy_from_slice(&(of_header as u16).to_le_bytes());
        let crc = checksum::followed_by(of_header, &file[80..84]);
        file[64..68].copy_from_slice(&crc.to_le_bytes());
        file
    };
    let forged = |at: usize, bytes: &[u8]| forged_with(&[(at, bytes)]);
    assert!(matches!(decode(place(), 64, &forged(11, &[0x20])), Parsed::Frame(_)));
    let too_long = ((FRAME_PAYLOAD_MAX as u32 + 1) | (1 << LEN_BITS)).to_le_bytes();
    // Too long, no kind, a segment below 0, a claim of nothing with an offset, and one in the form of another.
    let start = forged_with(&[(6, &[3, 0]), (12, &[0; 4])]);
    assert_eq!(decode(place(), 64, &start), Parsed::Damaged("header fields are out of range"));
    for (at, bytes) in
        [(8, &too_long[..]), (8, &[0xff; 4]), (11, &[0]), (6, &[4, 0]), (6, &[0xff, 0xff])]
    {
        let file = forged(at, bytes);
        let Parsed::Damaged(why) = decode(place(), 64, &file) else { panic!("{at} passed") };
        assert_eq!(why, "header fields are out of range", "{at}");
    }
    // A length within the limit, but past the end of the file.
    let most = (FRAME_PAYLOAD_MAX as u32 | (1 << LEN_BITS)).to_le_bytes();
    let at_the_limit = forged(8, &most);
    let Parsed::Damaged(why) = decode(place(), 64, &at_the_limit) else { panic!("passed") };
    assert_eq!(why, "the file ends within a payload");
}

#[test]
fn what_a_reader_would_refuse_is_not_encoded() {
    let encode = |offset, kind, payload_len, frame_len: usize| {
        std::panic::catch_unwind(|| {
            let mut frame = vec![0; frame_len];
            encode_in_place((place(), offset), kind, position(0, 0), payload_len, &mut frame);
            frame
        })
    };
    let whole = encode(0, 1, 8, 24).expect("a sound frame");
    assert!(matches!(decode(place(), 0, &whole), Parsed::Frame(_)));
    for (what, result) in [
        ("unaligned", encode(2, 1, 8, 24)),
        ("no kind", encode(0, 0, 8, 24)),
        ("no such kind", encode(0, 16, 8, 24)),
        ("no room for padding", encode(0, 1, 7, 23)),
        ("too long", encode(0, 1, FRAME_PAYLOAD_MAX + 1, 24)),
    ] {
        assert!(result.is_err(), "{what}");
    }
}

#[test]
fn a_frame_does_not_pass_elsewhere_or_cut_short() {
    let file = sample();
    let foreign = Place::new(FileId([0x12; 16]), FileNumber(3));
    assert!(matches!(decode(foreign, 64, &file), Parsed::Damaged(_)));
    assert!(matches!(decode(place(), 60, &file[4..]), Parsed::Damaged(_)));
    for len in 65..84 {
        assert!(matches!(decode(place(), 64, &file[..len]), Parsed::Damaged(_)), "{len}");
    }
}

/// A megabyte of headers that pass, each with a long body that does not, would cost checksums over 32 GB.
#[test]
fn a_search_gives_up_where_too_much_looks_like_frames() {
    let near = |count: usize| {
        let mut file = vec![0; 1 << 20];
        for at in (64..file.len() - 32).step_by(HEADER_LEN).take(count) {
            let len = file.len() - at - HEADER_LEN;
            crate::testing::near_frame(ID, at, len, &mut file);
        }
        let end = file.len() as u64;
        encode(place(), end, 1, position(3, 64), b"behind", &mut file);
        (file, end)
    };
    let (file, behind) = near(60);
    let found: Vec<_> = scan(place(), 64, &file).map(|found| found.map(|f| f.offset)).collect();
    assert_eq!(found, [Ok(behind)]);
    let (file, _) = near(usize::MAX);
    let found: Vec<_> = scan(place(), 64, &file).collect();
    let [Err(GaveUp(at))] = found[..] else { panic!("{found:?}") };
    assert!((64 * HEADER_LEN as u64..80 * HEADER_LEN as u64).contains(&at), "{at}");
}

/// No writer makes such a frame, so a search does not try its body.
#[test]
fn what_claims_more_than_itself_is_not_found() {
    for (offset, is_found) in [(64, true), (68, false)] {
        let mut file = vec![0; 64];
        encode(place(), 64, 1, position(3, offset), b"hi", &mut file);
        assert!(matches!(decode(place(), 64, &file), Parsed::Frame(_)));
        assert_eq!(scan(place(), 0, &file).count(), usize::from(is_found));
    }
}
