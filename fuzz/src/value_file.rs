//! Opening and reading a value file, as it is and with its checksums made good, and decoding pointers.

use std::path::Path;
use std::sync::Arc;

use esker_base::{Error, ErrorKind, FileId, FileNumber};
use esker_sstable::value_file::format::{FOOTER_LEN, HEADER_LEN};
use esker_sstable::{
    Compression, Identity, ReadMode, ValuePointer, ValueReader, ValueWriter, check_value_identity,
};
use esker_vfs::Fs;

use super::{disk, reseal};

const ID: FileId = FileId([0x66; 16]);
const NUMBER: FileNumber = FileNumber(3);
const DIR: &str = "/db";
const NAME: &str = "0000000003.val";

/// Opens `data`, reads it in every way and verifies it.
pub fn check(data: &[u8]) {
    open(data);
    let mut resealed = data.to_vec();
    reseal::value_file(ID, &mut resealed);
    open(&resealed);
    if let Some(pointer) = ValuePointer::decode(data) {
        let mut again = Vec::new();
        pointer.encode_into(&mut again);
        assert_eq!(again, data, "a pointer has one form");
    }
}

fn open(data: &[u8]) {
    let fs: Arc<dyn Fs> = Arc::new(disk::with(DIR, &[(NAME, data)]));
    let identity = Identity { number: NUMBER, file_id: ID, len: data.len() as u64, checksum: 0 };
    let judged = check_value_identity(&*fs, Path::new(DIR), &identity);
    let reader = match ValueReader::open(&fs, Path::new(DIR), &identity, ReadMode::Mapped) {
        Ok(reader) => reader,
        Err(error) => return expected(&error),
    };
    judged.expect("opening the file looks at its identity too");
    let end = (data.len() - FOOTER_LEN) as u64;
    // The first record, what its first bytes claim, and places where none starts.
    let claimed = data[HEADER_LEN..].first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
    let value_len = data[HEADER_LEN + 4..].first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
    for (offset, record_len) in [
        (HEADER_LEN as u64, claimed.saturating_add(13)),
        (HEADER_LEN as u64 + 1, 14),
        (end, 13),
        (u64::from(claimed), value_len),
    ] {
        let pointer = ValuePointer { file: NUMBER, offset, record_len, value_len };
        let mut bytes = Vec::new();
        pointer.encode_into(&mut bytes);
        let Some(pointer) = ValuePointer::decode(&bytes) else { continue };
        let (owned, borrowed) = (reader.get(&pointer), reader.get_with(&pointer, <[u8]>::to_vec));
        match (owned, borrowed) {
            (Ok(owned), Ok(borrowed)) => assert_eq!(owned, borrowed),
            (Err(error), Err(_)) => expected(&error),
            _ => panic!("both ways to read agree"),
        }
    }
    for outcome in [reader.verify(), reader.verify_piece(0, u64::MAX).map(drop)] {
        if let Err(error) = outcome {
            expected(&error);
        }
    }
}

fn expected(error: &Error) {
    match error.kind() {
        ErrorKind::Corruption => assert!(error.path().is_some() && error.offset().is_some()),
        ErrorKind::Unsupported => {}
        other => panic!("{other:?}: {error}"),
    }
}

/// Files of one and several values, with and without compression; a pointer.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut pointer = Vec::new();
    ValuePointer { file: NUMBER, offset: 48, record_len: 2000, value_len: 4096 }
        .encode_into(&mut pointer);
    vec![file(1, Compression::None), file(3, Compression::None), file(3, Compression::Lz4), pointer]
}

fn file(values: usize, compression: Compression) -> Vec<u8> {
    let fs: Arc<dyn Fs> = Arc::new(disk::with(DIR, &[]));
    let dir = Path::new(DIR);
    let mut writer =
        ValueWriter::create(fs.clone(), dir, NUMBER, ID, compression).expect("an empty disk");
    for number in 0..values {
        writer.add(&vec![b'a' + number as u8; 20 + 30 * number]).expect("a short value");
    }
    writer.finish().expect("a healthy disk");
    disk::read(&*fs, &dir.join(NAME))
}
