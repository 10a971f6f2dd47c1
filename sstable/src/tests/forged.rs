//! Files whose checksums match while single fields, checked one by one, do not; files that change behind a reader; and
//! reads that fail.

use esker_base::{Error, ErrorKind, checksum, varint};
use esker_vfs::Call;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};

use super::*;
use crate::format::{self, BLOCK_TRAILER_LEN, BlockHandle, Compression, Defect, Footer};
use crate::index::Index;
use crate::{check_identity, identify};

const LEN: u64 = 4096;

/// A footer that tiles a file of [`LEN`] bytes: data up to 1000, index, filter, properties.
fn footer() -> Footer {
    let at = LEN - format::FOOTER_LEN as u64;
    Footer {
        index: BlockHandle { offset: 1000, len: 500 },
        filter: BlockHandle { offset: 1500, len: 500 },
        properties: BlockHandle { offset: 2000, len: (at - 2000) as u32 },
        file_len: LEN,
    }
}

#[test]
fn a_footer_that_does_not_tile_the_file_is_refused() {
    let decoded = |footer: Footer| {
        let mut bytes = Footer { file_len: LEN, ..footer }.encode(file_id(1));
        bytes[48..56].copy_from_slice(&footer.file_len.to_le_bytes());
        let crc = checksum::at(file_id(1), LEN - format::FOOTER_LEN as u64, &bytes[..68]);
        bytes[68..].copy_from_slice(&crc.to_le_bytes());
        Footer::decode(file_id(1), LEN, &bytes)
    };
    let good = footer();
    assert_eq!(decoded(good), Ok(good));
    let without = Footer {
        filter: BlockHandle::default(),
        properties: BlockHandle { offset: 1500, len: good.properties.len + 500 },
        ..good
    };
    assert_eq!(decoded(without), Ok(without));
    let handle = |offset, len| BlockHandle { offset, len };
    let bad = [
        Footer { file_len: LEN + 1, ..good },
        Footer { file_len: 0, ..good },
        // No room for a data block in front.
        Footer { index: handle(format::HEADER_LEN as u64, 1452), ..good },
        Footer { index: handle(0, 1500), ..good },
        // Gaps and overlaps.
        Footer { index: handle(1000, 499), ..good },
        Footer { filter: handle(1501, 499), ..good },
        Footer { filter: handle(1500, 499), ..good },
        Footer { filter: handle(1500, 0), ..good },
        Footer { properties: handle(2001, good.properties.len), ..good },
        Footer { properties: handle(2000, good.properties.len - 1), ..good },
        Footer { properties: handle(u64::MAX, 5), ..good },
        // Sections shorter than a block's trailer.
        Footer { index: handle(1492, 8), ..good },
        Footer {
            filter: handle(1500, good.properties.len + 492),
            properties: handle(LEN - format::FOOTER_LEN as u64 - 8, 8),
            ..good
        },
    ];
    for footer in bad {
        let found = decoded(footer);
        assert_eq!(found, Err(Defect::Damaged("the footer contradicts itself")), "{footer:?}");
    }
}

#[test]
fn a_stored_block_is_taken_apart_with_care() {
    let id = file_id(1);
    let open = |stored: &[u8]| format::open_block(id, 48, stored).map(|(kind, _, len)| (kind, len));
    let sealed = |bytes: &[u8]| {
        let crc = checksum::at(id, 48, bytes);
        [bytes, &crc.to_le_bytes()].concat()
    };
    let mut good = b"content".to_vec();
    format::seal_block(id, 48, Compression::None, 7, &mut good);
    assert_eq!(open(&good), Ok((Compression::None, 7)));
    let short = Err(Defect::Damaged("a block is shorter than its trailer"));
    for len in 0..4 {
        assert_eq!(open(&good[..len]), short);
    }
    // A right checksum over less than the rest of the trailer.
    for len in 0..BLOCK_TRAILER_LEN - 4 {
        assert_eq!(open(&sealed(&good[..len])), short);
    }
    for kind in [2, 255] {
        let unknown = sealed(&[&b"content"[..], &[kind, 7, 0, 0, 0]].concat());
        assert!(matches!(open(&unknown), Err(Defect::Unsupported(_))), "{kind}");
        assert_eq!(Compression::try_from(kind), Err(kind));
    }
    for len in [0, 6, 8, u32::MAX] {
        let bytes = [&b"content"[..], &[0], &len.to_le_bytes()].concat();
        assert_eq!(open(&sealed(&bytes)), Err(Defect::Damaged("a block's length is impossible")));
    }
    // Exactly as long as it says, once decompressed.
    let plain = [7; 1000];
    let packed = lz4_flex::block::compress(&plain);
    assert_eq!(format::decompress(&packed, 1000).unwrap(), plain);
    for len in [0, 1, 999, 1001] {
        assert!(format::decompress(&packed, len).is_err(), "{len}");
    }
    for cut in 0..packed.len() {
        assert!(format::decompress(&packed[..cut], 1000).is_err(), "{cut}");
    }
}

/// An index entry: shared, unshared, trailer, stored length, suffix.
fn index_entry(shared: u64, suffix: &[u8], trailer: u64, stored_len: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::encode(shared, &mut out);
    varint::encode(suffix.len() as u64, &mut out);
    out.extend_from_slice(&trailer.to_le_bytes());
    varint::encode(stored_len, &mut out);
    out.extend_from_slice(suffix);
    out
}

#[test]
fn an_index_that_no_writer_makes_is_refused() {
    let start = format::HEADER_LEN as u64;
    let decoded =
        |entries: &[Vec<u8>], len: u64| Index::decode(&entries.concat(), start + len).map(drop);
    let good = [index_entry(0, b"aa", 9, 300), index_entry(1, b"b", 9, 50)];
    assert_eq!(decoded(&good, 350), Ok(()));
    for len in [0, 300, 349, 351] {
        assert!(decoded(&good, len).is_err(), "{len}");
    }
    assert!(decoded(&[], 0).is_err());
    let whole = good.concat();
    for cut in 1..whole.len() {
        assert!(Index::decode(&whole[..cut], start + 350).is_err(), "{cut}");
    }
    let long = vec![b'k'; esker_base::limits::KEY_LEN_MAX];
    let longest = index_entry(0, &long, 9, 300);
    assert_eq!(decoded(std::slice::from_ref(&longest), 300), Ok(()));
    let huge = u64::from(u32::MAX) + 1;
    for (entries, len, what) in [
        (vec![index_entry(1, b"a", 9, 300)], 300, "shares what is not there"),
        (vec![longest.clone(), index_entry(1 << 16, b"x", 1, 50)], 350, "a key over the limit"),
        (vec![index_entry(0, b"a", 9, huge)], huge, "a block over 4 GiB"),
        (vec![index_entry(0, b"a", 9, u64::MAX)], 300, "a length that overflows"),
        (vec![index_entry(0, &[b'k'; 257], 9, 1)], 1, "a key longer than its block can hold"),
        (vec![index_entry(0, b"b", 9, 300), index_entry(0, b"a", 9, 50)], 350, "out of order"),
        (vec![index_entry(0, b"a", 9, 300), index_entry(1, b"", 9, 50)], 350, "one key twice"),
    ] {
        assert!(decoded(&entries, len).is_err(), "{what}");
    }
}

/// Sixty entries in blocks of 256 bytes, compressed or not.
fn sample(compression: Compression) -> (Arc<dyn Fs>, Summary) {
    let fs = disk();
    let options = WriterOptions { block_size_bytes: 256, compression, ..WriterOptions::default() };
    let entries: Vec<_> =
        (0..60u32).map(|at| put(format!("{at:04}").as_bytes(), 9, &[7; 40])).collect();
    let summary = write(&fs, 1, &entries, options);
    (fs, summary)
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

#[test]
fn an_identity_is_checked_before_a_file_is_used() {
    let (fs, summary) = sample(Compression::None);
    let good = Identity::from(&summary);
    let dir = Path::new(DIR);
    check_identity(&*fs, dir, &good).unwrap();
    let at = |error: Error| (error.kind(), error.offset());
    for (identity, offset) in [
        (Identity { file_id: file_id(2), ..good }, 24),
        (Identity { len: good.len + 1, ..good }, good.len),
        (Identity { len: good.len - 1, ..good }, good.len - 1),
        (Identity { number: FileNumber(2), ..good }, 0),
    ] {
        let expected = (ErrorKind::Corruption, Some(offset));
        assert_eq!(at(check_identity(&*fs, dir, &identity).unwrap_err()), expected);
        for mode in BOTH_MODES {
            assert_eq!(at(open(&fs, &identity, mode).unwrap_err()), expected);
        }
    }
    // A file too short to be one, as long as somebody claims.
    for len in [0, 40, 47, 137] {
        let fs = disk_with(1, &bytes_of(&fs, 1)[..len as usize]);
        for mode in BOTH_MODES {
            let error = open(&fs, &Identity { len, ..good }, mode).unwrap_err();
            assert_eq!(at(error), (ErrorKind::Corruption, Some(len)));
        }
    }
}

#[test]
fn a_failed_call_is_told_from_damage() {
    let (inner, summary) = sample(Compression::Lz4);
    let identity = Identity::from(&summary);
    let faulty = FaultFs::new(inner);
    let fs: Arc<dyn Fs> = Arc::new(faulty.clone());
    let fail = |call| faulty.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[call]));
    let dir = Path::new(DIR);
    for call in [Call::Open, Call::Len, Call::ReadAt] {
        fail(call);
        assert_eq!(kind(check_identity(&*fs, dir, &identity)), ErrorKind::Io, "{call:?}");
        fail(call);
        assert_eq!(kind(open(&fs, &identity, ReadMode::Positioned)), ErrorKind::Io, "{call:?}");
    }
    for call in [Call::Open, Call::Map] {
        fail(call);
        assert_eq!(kind(open(&fs, &identity, ReadMode::Mapped)), ErrorKind::Io, "{call:?}");
    }
    // The identity of a file that cannot be read through is not known.
    for call in [Call::Open, Call::Len] {
        fail(call);
        assert_eq!(kind(identify(&*fs, dir, FileNumber(1))), ErrorKind::Io, "{call:?}");
    }
    for skipped in 0..2 {
        faulty.clear();
        faulty.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::ReadAt]).after(skipped));
        assert_eq!(identify(&*fs, dir, FileNumber(1)).unwrap(), None);
    }
    faulty.clear();
    let reader = open(&fs, &identity, ReadMode::Positioned).unwrap();
    fail(Call::ReadAt);
    assert_eq!(kind(found(&reader, b"0001", 9)), ErrorKind::Io);
    for call in [Call::Open, Call::ReadAt, Call::Len] {
        fail(call);
        assert_eq!(kind(reader.verify()), ErrorKind::Io, "{call:?}");
        if call != Call::Len {
            fail(call);
            assert_eq!(kind(reader.verify_piece(0, 1)), ErrorKind::Io, "{call:?}");
        }
    }
    reader.verify().unwrap();
    assert_eq!(found(&reader, b"0001", 9).unwrap().unwrap().2, [7; 40]);
}

#[test]
fn verify_sees_a_file_that_grew_and_a_bit_that_no_block_covers() {
    let (fs, summary) = sample(Compression::None);
    let reader = open(&fs, &Identity::from(&summary), ReadMode::Mapped).unwrap();
    let file = fs.open(&path_of(1), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[0], summary.len).unwrap();
    let error = reader.verify().unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(summary.len)));
    file.truncate(summary.len).unwrap();
    reader.verify().unwrap();
    file.write_all_at(&[1], 12).unwrap();
    let error = reader.verify().unwrap_err();
    assert!(error.to_string().contains("checksum of the whole file"), "{error}");
}

#[test]
fn a_file_is_verified_piece_by_piece() {
    let (fs, summary) = sample(Compression::Lz4);
    let reader = open(&fs, &Identity::from(&summary), ReadMode::Positioned).unwrap();
    let blocks = reader.index().block_count();
    assert!(blocks > 5);
    for bytes_max in [0, 1, 200, u64::MAX] {
        let (mut at, mut bytes, mut pieces) = (Some(0), 0, 0);
        while let Some(from) = at {
            let piece = reader.verify_piece(from, bytes_max).unwrap();
            assert!(piece.next_block.is_none_or(|next| next > from));
            (at, bytes, pieces) = (piece.next_block, bytes + piece.bytes, pieces + 1);
        }
        assert_eq!(bytes, summary.len);
        assert_eq!(pieces, if bytes_max > 200 { 1 } else { pieces.max(2) });
    }
    // The damaged block ends the piece that it is in, and only that one.
    let damaged = reader.index().handle(3);
    let file = fs.open(&path_of(1), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[0xff; 4], damaged.offset).unwrap();
    assert_eq!(reader.verify_piece(0, 1).unwrap().next_block, Some(1));
    let error = reader.verify_piece(2, u64::MAX).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(damaged.offset)));
    assert_eq!(reader.verify_piece(4, u64::MAX).unwrap().next_block, None);
}

/// A compaction has removed the name; a cursor that leaves the cache alone goes on with the map.
#[test]
fn a_mapped_file_without_a_name_is_still_read() {
    for compression in [Compression::None, Compression::Lz4] {
        let (fs, summary) = sample(compression);
        let reader = open(&fs, &Identity::from(&summary), ReadMode::Mapped).unwrap();
        fs.remove_file(&path_of(1)).unwrap();
        let seen = scan(&mut reader.cursor(false)).unwrap();
        assert_eq!(seen.len(), 60);
        assert_eq!(scan(&mut reader.cursor(true)).unwrap(), seen);
        assert_eq!(kind(reader.verify()), ErrorKind::Io);
    }
    let (fs, summary) = sample(Compression::None);
    let reader = open(&fs, &Identity::from(&summary), ReadMode::Mapped).unwrap();
    assert!(format!("{reader:?}").contains("0000000001.sst"));
}
