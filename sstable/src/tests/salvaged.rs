//! Salvage of files that lost their header, index or several blocks, or hold stored blocks that are no data.

use esker_base::{ErrorKind, checksum, key};
use esker_vfs::Call;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};

use super::*;
use crate::block_builder::BlockBuilder;
use crate::format::{self, Compression, HEADER_LEN};
use crate::{LostBlocks, Salvage, identify, salvage};

fn keyed(at: u32) -> Entry {
    put(format!("{at:04}").as_bytes(), 9, &[7; 40])
}

/// Sixty entries in blocks of 256 bytes, and where the blocks are.
fn sample() -> (Arc<dyn Fs>, Summary, Vec<format::BlockHandle>) {
    let fs = disk();
    let options = WriterOptions { block_size_bytes: 256, ..WriterOptions::default() };
    let summary = write(&fs, 1, &(0..60).map(keyed).collect::<Vec<_>>(), options);
    let reader = open(&fs, &Identity::from(&summary), ReadMode::Positioned).unwrap();
    let index = reader.index();
    let handles = (0..index.block_count()).map(|at| index.handle(at)).collect();
    (fs, summary, handles)
}

fn spoil(fs: &Arc<dyn Fs>, offset: u64) {
    let file = fs.open(&path_of(1), OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

fn salvaged(fs: &dyn Fs, file_id: Option<FileId>) -> Result<(Salvage, Vec<Vec<u8>>)> {
    let mut keys = Vec::new();
    let found = salvage(fs, Path::new(DIR), FileNumber(1), file_id, |key, _| {
        keys.push(key::user_key(key).to_vec());
        Ok(())
    })?;
    Ok((found, keys))
}

#[test]
fn losses_that_touch_are_one_and_others_are_not() {
    let (fs, summary, blocks) = sample();
    for at in [2, 3, 6] {
        spoil(&fs, blocks[at].offset + 5);
    }
    let (found, keys) = salvaged(&*fs, None).unwrap();
    assert_eq!(found.lost.len(), 2);
    assert_eq!((found.lost[0].offset, found.lost[1].offset), (blocks[2].offset, blocks[6].offset));
    assert_eq!(found.entries, keys.len() as u64);
    assert!(found.properties.is_some_and(|p| p.entry_count == summary.entry_count));
    for at in 0..60 {
        let key = format!("{at:04}").into_bytes();
        let is_named = |lost: &LostBlocks| {
            lost.from.as_ref().is_none_or(|from| *from <= key)
                && lost.through.as_ref().is_none_or(|through| key <= *through)
        };
        assert!(keys.contains(&key) || found.lost.iter().any(is_named), "{at}");
    }
    // What cannot be read is lost like what was overwritten: header, footer, properties and index pass.
    let (fs, _, _) = sample();
    let fs = FaultFs::new(fs);
    fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::ReadAt]).after(4));
    let (found, keys) = salvaged(&fs, None).unwrap();
    assert_eq!((found.lost.len(), &found.lost[0].from), (1, &None));
    assert!(keys.len() > 40 && keys.len() < 60);
    for call in [Call::Open, Call::Len] {
        fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[call]));
        assert_eq!(salvaged(&fs, None).unwrap_err().kind(), ErrorKind::Io);
    }
}

/// Without an index the blocks are found by their checksums, up to the first that is gone.
#[test]
fn a_block_that_is_gone_together_with_the_index_ends_the_salvage() {
    let (fs, summary, blocks) = sample();
    let index_at = blocks.last().unwrap().end();
    spoil(&fs, index_at + 3);
    let (found, keys) = salvaged(&*fs, None).unwrap();
    assert_eq!((keys.len(), found.lost), (60, vec![]));
    spoil(&fs, blocks[4].offset);
    let (found, keys) = salvaged(&*fs, Some(summary.file_id)).unwrap();
    let lost = LostBlocks {
        offset: blocks[4].offset,
        from: Some(keys.last().unwrap().clone()),
        through: None,
    };
    assert_eq!(found.lost, [lost]);
    assert!(keys.len() > 10 && keys.len() < 40);
    // The last block alone: the properties tell that entries are missing.
    let (fs, _, blocks) = sample();
    spoil(&fs, index_at + 3);
    spoil(&fs, blocks.last().unwrap().offset);
    assert_eq!(salvaged(&*fs, None).unwrap().0.lost.len(), 1);
}

#[test]
fn a_file_that_nothing_identifies_is_all_lost() {
    let (fs, summary, _) = sample();
    let everything = vec![LostBlocks::default()];
    spoil(&fs, 30);
    assert_eq!(salvaged(&*fs, None).unwrap().0.lost, everything);
    assert_eq!(identify(&*fs, Path::new(DIR), FileNumber(1)).unwrap(), None);
    assert_eq!(salvaged(&*fs, Some(summary.file_id)).unwrap().1.len(), 60);
    // Under another identity no checksum matches.
    assert!(salvaged(&*fs, Some(file_id(9))).unwrap().1.is_empty());
    // Missing, empty, shorter than a header.
    for len in [40, 0] {
        fs.open(&path_of(1), OpenMode::ReadWrite).unwrap().truncate(len).unwrap();
        assert_eq!(salvaged(&*fs, None).unwrap().0.lost, everything);
        assert_eq!(identify(&*fs, Path::new(DIR), FileNumber(1)).unwrap(), None);
    }
    fs.remove_file(&path_of(1)).unwrap();
    assert_eq!(salvaged(&*fs, Some(summary.file_id)).unwrap().0.lost, everything);
}

#[test]
fn a_newer_format_is_not_salvaged() {
    let (fs, summary, _) = sample();
    let mut header = bytes_of(&fs, 1)[..HEADER_LEN].to_vec();
    header[8] = 3;
    let crc = checksum::plain(&header[..44]);
    header[44..48].copy_from_slice(&crc.to_le_bytes());
    let file = fs.open(&path_of(1), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&header, 0).unwrap();
    let error = salvaged(&*fs, Some(summary.file_id)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = identify(&*fs, Path::new(DIR), FileNumber(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// A block's bytes with these entries, sealed for `offset`.
fn block(offset: u64, entries: &[Entry]) -> Vec<u8> {
    let mut block = BlockBuilder::new(4);
    for (key, value) in entries {
        let (user_key, trailer) = key.split_last_chunk::<8>().unwrap();
        block.add(user_key, u64::from_le_bytes(*trailer), value);
    }
    let mut stored = block.finish(Compression::None, |block| block.content.to_vec());
    let len = stored.len();
    format::seal_block(file_id(1), offset, Compression::None, len, &mut stored);
    stored
}

/// Blocks whose checksums match and whose entries do not pass: out of order, not behind those before, of an unknown
/// kind, or of a compression that this build does not know.
#[test]
fn only_sound_entries_in_order_are_handed_out() {
    let first = [keyed(1), keyed(2)];
    let unknown_kind = || vec![(key_of_kind(b"0005", 99), vec![])];
    for (name, second) in [
        ("sound", vec![keyed(3), keyed(4)]),
        ("out of order", vec![keyed(4), keyed(3)]),
        ("twice", vec![keyed(3), keyed(3)]),
        ("not behind the first block", vec![keyed(2), keyed(3)]),
        ("unknown kind", unknown_kind()),
    ] {
        let mut bytes = format::encode_header(file_id(1)).to_vec();
        bytes.extend(block(HEADER_LEN as u64, &first));
        let at = bytes.len() as u64;
        bytes.extend(block(at, &second));
        let (found, keys) = salvaged(&*disk_with(1, &bytes), None).unwrap();
        let expected: &[&[u8]] = if name == "sound" {
            &[b"0001", b"0002", b"0003", b"0004"]
        } else {
            &[b"0001", b"0002"]
        };
        assert_eq!(keys, expected, "{name}");
        assert_eq!(found.lost.len(), 1, "{name}");
        assert!(found.properties.is_none());
    }
    // A checksum that matches by chance within a block, or over a compression of a later version, ends nothing.
    let mut bytes = format::encode_header(file_id(1)).to_vec();
    let mut stored = b"later".to_vec();
    stored.extend([77, 5, 0, 0, 0]);
    let crc = checksum::at(file_id(1), HEADER_LEN as u64, &stored);
    bytes.extend(&stored);
    bytes.extend(crc.to_le_bytes());
    bytes.extend([0; 100]);
    let (found, keys) = salvaged(&*disk_with(1, &bytes), None).unwrap();
    assert!(keys.is_empty());
    assert_eq!(found.lost, [LostBlocks { offset: HEADER_LEN as u64, from: None, through: None }]);
}

fn key_of_kind(user_key: &[u8], kind: u8) -> Vec<u8> {
    [user_key, &(9u64 << 8 | u64::from(kind)).to_le_bytes()].concat()
}
