//! Tests of whole files, on a simulated disk: against a sorted list, at the limits, and with every kind of damage.

#![allow(clippy::unwrap_used)]

mod crafted;
mod damage;
mod forged;
mod golden;
mod limits;
mod model;
mod reading;
mod salvaged;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{Cursor, EntryKind, FileId, FileNumber, Result, SeqNo, key};
use esker_vfs::simulated::SimulatedFs;
use esker_vfs::{Fs, OpenMode};

use crate::{BlockCache, Identity, ReadMode, Reader, Summary, Writer, WriterOptions};

const DIR: &str = "/db";
const BOTH_MODES: [ReadMode; 2] = [ReadMode::Mapped, ReadMode::Positioned];

/// An internal key and its value.
type Entry = (Vec<u8>, Vec<u8>);

fn disk() -> Arc<dyn Fs> {
    let fs = SimulatedFs::new();
    fs.create_dir_all(Path::new(DIR)).unwrap();
    Arc::new(fs)
}

fn path_of(number: u64) -> PathBuf {
    Path::new(DIR).join(FileKind::Sstable.name(FileNumber(number)))
}

fn file_id(number: u64) -> FileId {
    FileId([0x11 * number as u8; 16])
}

fn write(fs: &Arc<dyn Fs>, number: u64, entries: &[Entry], options: WriterOptions) -> Summary {
    let id = file_id(number);
    let mut writer =
        Writer::create(fs.clone(), Path::new(DIR), FileNumber(number), id, options).unwrap();
    for (key, value) in entries {
        writer.add(key, value).unwrap();
    }
    writer.finish().unwrap()
}

fn open_cached(
    fs: &Arc<dyn Fs>,
    identity: &Identity,
    mode: ReadMode,
    cache_bytes: u64,
) -> Result<Arc<Reader>> {
    let cache = Arc::new(BlockCache::new(cache_bytes));
    Reader::open(fs, Path::new(DIR), identity, mode, cache).map(Arc::new)
}

fn open(fs: &Arc<dyn Fs>, identity: &Identity, mode: ReadMode) -> Result<Arc<Reader>> {
    open_cached(fs, identity, mode, 1 << 20)
}

fn bytes_of(fs: &Arc<dyn Fs>, number: u64) -> Vec<u8> {
    let file = fs.open(&path_of(number), OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A disk that holds nothing but these bytes as file `number`.
fn disk_with(number: u64, bytes: &[u8]) -> Arc<dyn Fs> {
    let fs = disk();
    fs.create_new(&path_of(number)).unwrap().write_all_at(bytes, 0).unwrap();
    fs
}

/// Everything a cursor sees from front to back.
fn scan(cursor: &mut impl Cursor) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    cursor.seek_to_first()?;
    while cursor.valid() {
        entries.push((cursor.key().to_vec(), cursor.value().to_vec()));
        cursor.next()?;
    }
    Ok(entries)
}

fn put(user_key: &[u8], seq: u64, value: &[u8]) -> Entry {
    (key::encode(user_key, SeqNo(seq), EntryKind::Put), value.to_vec())
}

fn delete(user_key: &[u8], seq: u64) -> Entry {
    (key::encode(user_key, SeqNo(seq), EntryKind::Delete), Vec::new())
}

/// What a reader at `seq` should find.
fn expected<'a>(
    entries: &'a [Entry],
    user_key: &[u8],
    seq: u64,
) -> Option<(u64, EntryKind, &'a [u8])> {
    entries.iter().find_map(|(encoded, value)| {
        let parts = esker_base::InternalKey::decode(encoded).unwrap();
        (parts.user_key == user_key && parts.seq.0 <= seq).then_some((
            parts.seq.0,
            parts.kind,
            &value[..],
        ))
    })
}

/// What a reader at `seq` does find.
fn found(reader: &Reader, user_key: &[u8], seq: u64) -> Result<Option<(u64, EntryKind, Vec<u8>)>> {
    let found = reader.get(user_key, SeqNo(seq))?;
    Ok(found.map(|found| (found.seq.0, found.kind, found.value.to_vec())))
}
