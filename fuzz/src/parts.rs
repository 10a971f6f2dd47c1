//! An sstable put together from its parts, each of which may be anything: its checksums are right, so that what is read
//! are the parts themselves. For the targets of blocks, indexes and filters.

use std::path::Path;
use std::sync::Arc;

use esker_base::{
    Cursor, EntryKind, Error, ErrorKind, FileId, FileNumber, Result, SeqNo, checksum, key, varint,
};
use esker_sstable::{
    BlockCache, Compression, FilterKind, Identity, ReadMode, Reader, Writer, WriterOptions,
};
use esker_vfs::Fs;

use super::{disk, reseal};

const ID: FileId = FileId([0x66; 16]);
const NUMBER: FileNumber = FileNumber(4);
const DIR: &str = "/db";
const NAME: &str = "0000000004.sst";
const TRAILER_LEN: usize = 9;

/// A block as it is stored: content, compression, claimed length, checksum.
pub type Stored = Vec<u8>;

/// Internal keys and values.
pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The parts of a file.
#[derive(Clone)]
pub struct Parts {
    pub blocks: Vec<Stored>,
    /// Content, without the trailer of a block; as that of `properties`.
    pub index: Vec<u8>,
    /// Content; absent if `None`.
    pub filter: Option<Vec<u8>>,
    pub properties: Vec<u8>,
}

/// A block of this content, whose checksum is made later.
pub fn stored(content: &[u8], compression: u8, claimed_len: u32) -> Stored {
    let mut stored = content.to_vec();
    stored.push(compression);
    stored.extend_from_slice(&claimed_len.to_le_bytes());
    stored.extend_from_slice(&[0; 4]);
    stored
}

/// An uncompressed block of this content.
pub fn plain(content: &[u8]) -> Stored {
    stored(content, Compression::None as u8, content.len() as u32)
}

/// The index of a file with one block, whose separator is after every key that is not mostly 0xff.
pub fn index_of_one(block: &Stored) -> Vec<u8> {
    let separator = [0xff; 100];
    let mut index = Vec::new();
    varint::encode(0, &mut index);
    varint::encode(separator.len() as u64, &mut index);
    index.extend_from_slice(&[0; 8]);
    varint::encode(block.len() as u64, &mut index);
    index.extend_from_slice(&separator);
    index
}

impl Parts {
    /// The parts of a file that the writer wrote: `entries` entries, few to a block.
    pub fn written(entries: u64, filter: Option<FilterKind>, compression: Compression) -> Parts {
        let fs: Arc<dyn Fs> = Arc::new(disk::with(DIR, &[]));
        let dir = Path::new(DIR);
        let options = WriterOptions {
            block_size_bytes: 256,
            restart_interval: 3,
            compression,
            filter_bits_per_key: if filter.is_some() { 10 } else { 0 },
            filter_kind: filter.unwrap_or(FilterKind::Bloom),
            ..WriterOptions::default()
        };
        let mut writer = Writer::create(fs.clone(), dir, NUMBER, ID, options).expect("empty disk");
        for (internal, value) in written_entries(entries) {
            writer.add(&internal, &value).expect("ascending keys");
        }
        writer.finish().expect("a healthy disk");
        Parts::of(&disk::read(&*fs, &dir.join(NAME)))
    }

    fn of(file: &[u8]) -> Parts {
        let sections = reseal::sections(file).expect("a sound file has a footer");
        let content = |at: usize| {
            let (offset, len) = sections[at];
            (len > 0).then(|| file[offset..offset + len - TRAILER_LEN].to_vec())
        };
        let (index, properties) = (content(0).expect("always"), content(2).expect("always"));
        let blocks = reseal::blocks(&index);
        let blocks = blocks.iter().map(|(at, len)| file[*at..at + len].to_vec()).collect();
        Parts { blocks, index, filter: content(1), properties }
    }

    /// The file, with every checksum made good.
    pub fn file(&self) -> Vec<u8> {
        let mut file = b"ESKERSST\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend_from_slice(&ID.0);
        file.extend_from_slice(&[0; 4]);
        let crc = checksum::plain(&file);
        file.extend_from_slice(&crc.to_le_bytes());
        for block in &self.blocks {
            append(&mut file, block);
        }
        let mut footer = Vec::new();
        for section in [Some(&self.index), self.filter.as_ref(), Some(&self.properties)] {
            let Some(content) = section else {
                footer.extend_from_slice(&[0; 12]);
                continue;
            };
            let block = plain(content);
            footer.extend_from_slice(&(file.len() as u64).to_le_bytes());
            footer.extend_from_slice(&(block.len() as u32).to_le_bytes());
            append(&mut file, &block);
        }
        footer.extend_from_slice(&[0; 12]);
        footer.extend_from_slice(&((file.len() + 72) as u64).to_le_bytes());
        footer.extend_from_slice(b"\0\0\0\0ESKEREND");
        let crc = checksum::at(ID, file.len() as u64, &footer);
        footer.extend_from_slice(&crc.to_le_bytes());
        file.extend_from_slice(&footer);
        file
    }
}

fn append(file: &mut Vec<u8>, block: &Stored) {
    let offset = file.len();
    file.extend_from_slice(block);
    reseal::block(ID, file, offset, block.len());
}

/// The entries of [`Parts::written`].
pub fn written_entries(count: u64) -> Entries {
    let entry = |number: u64| {
        let kind = if number % 7 == 3 { EntryKind::Delete } else { EntryKind::Put };
        // Every fourth key has two versions.
        let (name, seq) = (number - u64::from(number % 4 == 1), 2000 - number);
        let user_key = format!("key {name:03}");
        let value = match kind {
            EntryKind::Put => format!("value {number} and again value {number}").into_bytes(),
            _ => Vec::new(),
        };
        (key::encode(user_key.as_bytes(), SeqNo(seq), kind), value)
    };
    (0..count).map(entry).collect()
}

/// Opens a file of [`Parts::file`].
pub fn open(file: &[u8], mode: ReadMode) -> Result<Arc<Reader>> {
    let fs: Arc<dyn Fs> = Arc::new(disk::with(DIR, &[(NAME, file)]));
    let identity = Identity { number: NUMBER, file_id: ID, len: file.len() as u64, checksum: 0 };
    let cache = Arc::new(BlockCache::new(1 << 20));
    Reader::open(&fs, Path::new(DIR), &identity, mode, cache).map(Arc::new)
}

/// All entries, in the order of a walk from one end to the other.
pub fn walk(reader: &Arc<Reader>, forward: bool, fill_cache: bool) -> Result<Entries> {
    let mut cursor = reader.cursor(fill_cache);
    if forward {
        cursor.seek_to_first()?
    } else {
        cursor.seek_to_last()?
    }
    let mut entries = Entries::new();
    // An entry takes three bytes at least, compressed by 255 at most.
    let most = reader.identity().len as usize * 255;
    while cursor.valid() {
        entries.push((cursor.key().to_vec(), cursor.value().to_vec()));
        assert!(entries.len() <= most, "the walk does not end");
        if forward { cursor.next()? } else { cursor.prev()? }
    }
    Ok(entries)
}

/// Errors that a reader may give for bytes that are not what it wrote.
pub fn expected(error: &Error) {
    match error.kind() {
        ErrorKind::Corruption => assert!(error.path().is_some() && error.offset().is_some()),
        ErrorKind::Unsupported => {}
        other => panic!("{other:?}: {error}"),
    }
}
