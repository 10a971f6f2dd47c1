//! Opening and reading an sstable, as it is and with its checksums made good.

use std::path::Path;
use std::sync::Arc;

use esker_base::{
    Cursor, EntryKind, Error, ErrorKind, FileId, FileNumber, InternalKey, Result, SeqNo, key,
};
use esker_sstable::{
    BlockCache, Compression, FilterKind, Identity, ReadMode, Reader, Writer, WriterOptions,
};
use esker_vfs::Fs;

use super::{disk, reseal};

const ID: FileId = FileId([0x55; 16]);
const NUMBER: FileNumber = FileNumber(3);
const DIR: &str = "/db";
const NAME: &str = "0000000003.sst";

/// Opens `data`, reads it in every way and verifies it.
pub fn check(data: &[u8]) {
    open(data);
    let mut resealed = data.to_vec();
    reseal::sstable(ID, &mut resealed);
    open(&resealed);
}

fn open(data: &[u8]) {
    let fs: Arc<dyn Fs> = Arc::new(disk::with(DIR, &[(NAME, data)]));
    let identity = Identity { number: NUMBER, file_id: ID, len: data.len() as u64, checksum: 0 };
    let cache = Arc::new(BlockCache::new(1 << 20));
    let reader = Reader::open(&fs, Path::new(DIR), &identity, ReadMode::Positioned, cache);
    let reader = match reader {
        Ok(reader) => Arc::new(reader),
        Err(error) => return expected(&error),
    };
    for user_key in [&b""[..], b"key 007", b"key 100", b"zzz"] {
        if let Err(error) = reader.get(user_key, SeqNo::MAX) {
            expected(&error);
        }
    }
    for outcome in [walk(&reader, true), walk(&reader, false), reader.verify().map(drop)] {
        if let Err(error) = outcome {
            expected(&error);
        }
    }
}

/// Walks the whole file in one direction. Every position must be an internal key.
fn walk(reader: &Arc<Reader>, forward: bool) -> Result<()> {
    let mut cursor = reader.cursor(true);
    if forward {
        cursor.seek_to_first()?
    } else {
        cursor.seek_to_last()?
    }
    // The seeds have a few hundred entries: many more means that a walk does not end.
    for _ in 0..1_000_000 {
        if !cursor.valid() {
            return Ok(());
        }
        assert!(InternalKey::decode(cursor.key()).is_some());
        if forward { cursor.next()? } else { cursor.prev()? }
    }
    panic!("the walk does not end");
}

fn expected(error: &Error) {
    match error.kind() {
        ErrorKind::Corruption => assert!(error.path().is_some() && error.offset().is_some()),
        ErrorKind::Unsupported => {}
        other => panic!("{other:?}: {error}"),
    }
}

/// Files of one and several blocks, with and without compression and filters.
pub fn seeds() -> Vec<Vec<u8>> {
    let plain = WriterOptions { filter_bits_per_key: 0, ..WriterOptions::default() };
    let small = WriterOptions { block_size_bytes: 256, restart_interval: 2, ..plain.clone() };
    vec![
        file(1, WriterOptions { compression: Compression::None, ..plain.clone() }),
        file(20, plain),
        file(30, WriterOptions { filter_bits_per_key: 10, ..small.clone() }),
        file(
            30,
            WriterOptions { filter_bits_per_key: 10, filter_kind: FilterKind::Blocked, ..small },
        ),
    ]
}

fn file(entries: u64, options: WriterOptions) -> Vec<u8> {
    let fs: Arc<dyn Fs> = Arc::new(disk::with(DIR, &[]));
    let dir = Path::new(DIR);
    let mut writer = Writer::create(fs.clone(), dir, NUMBER, ID, options).expect("an empty disk");
    for number in 0..entries {
        let user_key = format!("key {number:03}");
        let kind = if number % 7 == 3 { EntryKind::Delete } else { EntryKind::Put };
        let value =
            if kind == EntryKind::Put { &b"some value that repeats some value"[..] } else { b"" };
        let internal = key::encode(user_key.as_bytes(), SeqNo(number + 1), kind);
        writer.add(&internal, value).expect("ascending keys");
    }
    writer.finish().expect("a healthy disk");
    disk::read(&*fs, &dir.join(NAME))
}
