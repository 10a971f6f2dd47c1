//! Every bit, every length, every swapped block: a damaged file yields an error or right answers, never wrong ones.

use esker_base::ErrorKind;

use super::*;
use crate::format::{BLOCK_TRAILER_LEN, HEADER_LEN};
use crate::{Compression, FilterKind};

fn small_file() -> Vec<Entry> {
    let mut entries = Vec::new();
    for n in 0..24u32 {
        let user_key = format!("key{n:03}");
        entries.push(put(user_key.as_bytes(), 20 + u64::from(n), &[n as u8; 30]));
        if n % 3 == 0 {
            entries.push(delete(user_key.as_bytes(), 9));
            entries.push(put(user_key.as_bytes(), 3, format!("old value {n}").as_bytes()));
        }
    }
    entries
}

fn small_options(compression: Compression, filter_kind: FilterKind) -> WriterOptions {
    WriterOptions {
        block_size_bytes: 256,
        restart_interval: 4,
        compression,
        filter_kind,
        ..WriterOptions::default()
    }
}

/// Reads everything in every way; panics on a wrong answer; whether verify (or opening) found the damage.
fn check(fs: &Arc<dyn Fs>, identity: &Identity, entries: &[Entry], mode: ReadMode) -> bool {
    let damaged = |error: &esker_base::Error| {
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::Corruption | ErrorKind::Unsupported), "{error}");
        assert!(error.path().is_some(), "{error}");
    };
    let reader = match open(fs, identity, mode) {
        Ok(reader) => reader,
        Err(error) => {
            damaged(&error);
            return true;
        }
    };
    for (key, _) in entries {
        for seq in [3, 9, 100] {
            match found(&reader, key::user_key(key), seq) {
                Ok(got) => {
                    let want = expected(entries, key::user_key(key), seq);
                    let got = got.as_ref().map(|(seq, kind, value)| (*seq, *kind, &value[..]));
                    assert_eq!(got, want);
                }
                Err(error) => damaged(&error),
            }
        }
    }
    assert!(!matches!(found(&reader, b"absent", 100), Ok(Some(_))));
    match scan(&mut reader.cursor(true)) {
        Ok(all) => assert_eq!(all, entries),
        Err(error) => damaged(&error),
    }
    match reader.verify() {
        Ok(_) => false,
        Err(error) => {
            damaged(&error);
            true
        }
    }
}

#[test]
fn every_flipped_bit_is_found_and_none_gives_a_wrong_answer() {
    let entries = small_file();
    for (compression, kind, mode) in [
        (Compression::None, FilterKind::Bloom, ReadMode::Mapped),
        (Compression::Lz4, FilterKind::Blocked, ReadMode::Positioned),
    ] {
        let fs = disk();
        let summary = write(&fs, 1, &entries, small_options(compression, kind));
        let identity = Identity::from(&summary);
        assert!(!check(&fs, &identity, &entries, mode), "the file is sound before");
        let mut bytes = bytes_of(&fs, 1);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&disk_with(1, &bytes), &identity, &entries, mode), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused_at_open() {
    let entries = small_file();
    let fs = disk();
    let options = small_options(Compression::Lz4, FilterKind::Bloom);
    let identity = Identity::from(&write(&fs, 1, &entries, options));
    let bytes = bytes_of(&fs, 1);
    for mode in BOTH_MODES {
        for len in 0..bytes.len() {
            let cut = disk_with(1, &bytes[..len]);
            let error = open(&cut, &identity, mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{len}");
            // Also where the manifest itself says that length.
            let shorter = Identity { len: len as u64, ..identity };
            assert!(open(&cut, &shorter, mode).is_err(), "{len}");
        }
        let longer = disk_with(1, &[&bytes[..], &[0]].concat());
        assert!(open(&longer, &identity, mode).is_err());
        assert!(open(&disk(), &identity, mode).is_err(), "a missing file");
    }
}

/// Where each data block stands.
fn blocks_of(fs: &Arc<dyn Fs>, identity: &Identity) -> Vec<(usize, usize)> {
    let reader = open(fs, identity, ReadMode::Mapped).unwrap();
    let handles = reader.blocks().map(|block| block.unwrap().handle);
    handles.map(|handle| (handle.offset as usize, handle.len as usize)).collect()
}

#[test]
fn a_block_from_another_place_or_another_file_is_found() {
    // Blocks of equal length, so that they can change places.
    let list = |byte: u8| -> Vec<_> {
        (0..40u32).map(|n| put(&n.to_be_bytes(), 5, &[byte; 60])).collect()
    };
    let options = small_options(Compression::None, FilterKind::Bloom);
    let fs = disk();
    let ours = list(1);
    let identity = Identity::from(&write(&fs, 1, &ours, options.clone()));
    write(&fs, 2, &list(2), options);
    let (bytes, other) = (bytes_of(&fs, 1), bytes_of(&fs, 2));
    let blocks = blocks_of(&fs, &identity);
    for mode in BOTH_MODES {
        for &(a, a_len) in &blocks {
            // The same place of the other file: the very offset, the very length.
            let mut foreign = bytes.clone();
            foreign[a..a + a_len].copy_from_slice(&other[a..a + a_len]);
            assert!(check(&disk_with(1, &foreign), &identity, &ours, mode));
            for &(b, b_len) in &blocks {
                if a < b && a_len == b_len {
                    let mut swapped = bytes.clone();
                    swapped[a..a + a_len].copy_from_slice(&bytes[b..b + b_len]);
                    swapped[b..b + b_len].copy_from_slice(&bytes[a..a + a_len]);
                    assert!(check(&disk_with(1, &swapped), &identity, &ours, mode));
                }
            }
        }
        // A whole other file under the name.
        let error = open(&disk_with(1, &other), &identity, mode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
    }
}

#[test]
fn corruption_names_the_file_and_the_block() {
    let fs = disk();
    let options = small_options(Compression::None, FilterKind::Bloom);
    let entries = small_file();
    let identity = Identity::from(&write(&fs, 1, &entries, options));
    let (start, len) = blocks_of(&fs, &identity)[1];
    let mut bytes = bytes_of(&fs, 1);
    bytes[start + len - BLOCK_TRAILER_LEN - 1] ^= 1;
    let reader = open(&disk_with(1, &bytes), &identity, ReadMode::Mapped).unwrap();
    let error = scan(&mut reader.cursor(false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert_eq!(error.path(), Some(path_of(1).as_path()));
    assert_eq!(error.offset(), Some(start as u64));
    // Blocks beside it still answer.
    assert!(found(&reader, b"key000", 100).unwrap().is_some());
    assert!(HEADER_LEN < start);
}

#[test]
fn damage_that_comes_after_the_first_touch_is_found_by_verify() {
    let fs = disk();
    let options = small_options(Compression::None, FilterKind::Bloom);
    let identity = Identity::from(&write(&fs, 1, &small_file(), options));
    let reader = open(&fs, &identity, ReadMode::Mapped).unwrap();
    scan(&mut reader.cursor(true)).unwrap();
    let file = fs.open(&path_of(1), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[0xee], 60).unwrap();
    assert_eq!(reader.verify().unwrap_err().kind(), ErrorKind::Corruption);
}
