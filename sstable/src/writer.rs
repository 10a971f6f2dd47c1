//! Writing an sstable, front to back in one pass.
//!
//! Called by flush, compaction and ingestion, which own file numbers and identities and sync the directory. A file
//! that is not finished is removed again. Nothing here decides which entries to keep.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::checksum::Running;
use esker_base::limits::{BATCH_LEN_MAX, KEY_LEN_MAX};
use esker_base::names::FileKind;
use esker_base::{
    EntryKind, Error, ErrorKind, FileId, FileNumber, InternalKey, KeyspaceId, Result, SeqNo,
    ValueReference, ValueReferences, key,
};
use esker_vfs::{File, Fs};

use crate::block_builder::{BlockBuilder, Built};
use crate::filter::{self, FilterKind, KeyHash};
use crate::format::{self, BLOCK_TRAILER_LEN, BlockHandle, Compression, FOOTER_LEN, Footer};
use crate::index::IndexBuilder;
use crate::properties::Properties;
use crate::value_file::ValuePointer;

/// Bytes collected before a write call.
const BUFFER_LEN: usize = 256 * 1024;
/// Bytes written before the system is asked to start writing them back, so that the sync at the end is short.
const WRITEBACK_LEN: u64 = 1024 * 1024;
/// lz4 must save at least this part of a block, or the block stays as it is and is read without decoding.
const COMPRESSION_GAIN_MIN: usize = 8;

/// How a file is written. Readers need none of this: the file says it.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// A data block is cut before it exceeds this many bytes uncompressed, unless one entry alone does. 256 to
    /// 16 MiB; 4 KiB by default: a page from the disk, and few entries to look through.
    pub block_size_bytes: usize,
    /// A full key every so many entries. 1 to 1024; 16 by default.
    pub restart_interval: usize,
    /// What to try on each block. lz4 by default.
    pub compression: Compression,
    /// Bits of filter a key; 0 for no filter, at most 64. 12 by default: about 0.5% false positives.
    pub filter_bits_per_key: u32,
    /// The filter's kind. Blocked by default: a lookup costs a quarter of the other's and building it half, for 0.95%
    /// false positives instead of 0.80% at 10 bits a key.
    pub filter_kind: FilterKind,
    /// The keyspace that the file is written for; recorded in its properties.
    pub keyspace: KeyspaceId,
}

impl Default for WriterOptions {
    fn default() -> WriterOptions {
        WriterOptions {
            block_size_bytes: 4096,
            restart_interval: 16,
            compression: Compression::Lz4,
            filter_bits_per_key: 12,
            filter_kind: FilterKind::Blocked,
            keyspace: KeyspaceId(0),
        }
    }
}

impl WriterOptions {
    fn check(&self) -> Result<()> {
        if !(256..=16 * 1024 * 1024).contains(&self.block_size_bytes) {
            return Err(Error::invalid("block_size_bytes must lie between 256 and 16 MiB"));
        }
        if !(1..=1024).contains(&self.restart_interval) {
            return Err(Error::invalid("restart_interval must lie between 1 and 1024"));
        }
        if self.filter_bits_per_key > 64 {
            return Err(Error::invalid("filter_bits_per_key must be at most 64"));
        }
        Ok(())
    }
}

/// What was written; what the manifest records of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The number in the file's name.
    pub number: FileNumber,
    /// The file's identity.
    pub file_id: FileId,
    /// Length in bytes.
    pub len: u64,
    /// CRC-32 of the whole file.
    pub checksum: u32,
    /// The first internal key.
    pub smallest: Vec<u8>,
    /// The last internal key.
    pub largest: Vec<u8>,
    /// The lowest sequence number of an entry.
    pub min_seq: SeqNo,
    /// The highest sequence number of an entry.
    pub max_seq: SeqNo,
    /// Entries of every kind.
    pub entry_count: u64,
    /// Deletes among them.
    pub delete_count: u64,
    /// Bytes of all user keys, before prefix compression.
    pub raw_key_bytes: u64,
    /// Bytes of all values, as they stand in the file.
    pub raw_value_bytes: u64,
    /// The value files that entries point into, ascending by number.
    pub values: Vec<ValueReference>,
}

/// A file under construction. Dropped without [`Writer::finish`] it removes the file.
pub struct Writer {
    fs: Arc<dyn Fs>,
    options: WriterOptions,
    number: FileNumber,
    file_id: FileId,
    out: Output,
    block: BlockBuilder,
    index: IndexBuilder,
    /// A cut block whose index entry waits for the first key of the next: its stored length. Its last key is
    /// `last_key`.
    pending_block_len: Option<u32>,
    hashes: Vec<KeyHash>,
    last_key: Vec<u8>,
    properties: Properties,
    values: ValueReferences,
    finished: bool,
}

impl Writer {
    /// Creates the file of `number` in `dir`. [`ErrorKind::InvalidArgument`] for options out of range,
    /// [`ErrorKind::Io`] also if the name is taken.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        number: FileNumber,
        file_id: FileId,
        options: WriterOptions,
    ) -> Result<Writer> {
        options.check()?;
        let path = dir.join(FileKind::Sstable.name(number));
        let file = fs.create_new(&path).map_err(|error| Error::io("create", &path, error))?;
        let mut out = Output::new(file, path);
        let properties = Properties {
            keyspace: options.keyspace,
            creator: concat!("esker ", env!("CARGO_PKG_VERSION")).to_string(),
            min_seq: SeqNo::MAX,
            ..Properties::default()
        };
        out.append(&format::encode_header(file_id));
        Ok(Writer {
            fs,
            block: BlockBuilder::new(options.restart_interval),
            options,
            number,
            file_id,
            out,
            index: IndexBuilder::default(),
            pending_block_len: None,
            hashes: Vec::new(),
            last_key: Vec::new(),
            properties,
            values: ValueReferences::default(),
            finished: false,
        })
    }

    /// Adds the next entry. [`ErrorKind::InvalidArgument`] if the key is not after the last one, is not an internal
    /// key or is too long, or the value is too long; [`ErrorKind::Unsupported`] for a reserved kind; the file is
    /// then unchanged and can go on. After an I/O error only dropping it is left.
    pub fn add(&mut self, internal_key: &[u8], value: &[u8]) -> Result<()> {
        let Some(parts) = InternalKey::decode(internal_key) else {
            return Err(Error::invalid("an sstable takes internal keys of known kinds only"));
        };
        let pointer = match parts.kind {
            EntryKind::Put | EntryKind::Delete => None,
            EntryKind::ValuePointer => match ValuePointer::decode(value) {
                Some(pointer) => Some(pointer),
                None => return Err(Error::invalid("this is no pointer to a value")),
            },
            _ => return Err(Error::new(ErrorKind::Unsupported, "this entry kind is reserved")),
        };
        if parts.user_key.len() > KEY_LEN_MAX || value.len() > BATCH_LEN_MAX {
            return Err(Error::invalid("the key or the value is too long"));
        }
        let first = self.properties.entry_count == 0;
        if !first && key::compare(&self.last_key, internal_key).is_ge() {
            return Err(Error::invalid("entries must be added in ascending order"));
        }
        let trailer = key::trailer(parts.seq, parts.kind);
        let len = self.block.len_with(parts.user_key, trailer, value);
        if !self.block.is_empty() && len > self.options.block_size_bytes {
            self.cut_block()?;
        }
        self.index_pending(Some(internal_key))?;
        if first {
            self.properties.smallest = internal_key.to_vec();
        }
        if first || key::user_key(&self.last_key) != parts.user_key {
            self.hashes.push(filter::key_hash(parts.user_key));
        }
        self.block.add(parts.user_key, trailer, value);
        self.last_key.clear();
        self.last_key.extend_from_slice(internal_key);
        let properties = &mut self.properties;
        properties.entry_count += 1;
        properties.delete_count += u64::from(parts.kind == EntryKind::Delete);
        properties.min_seq = properties.min_seq.min(parts.seq);
        properties.max_seq = properties.max_seq.max(parts.seq);
        properties.raw_key_bytes += parts.user_key.len() as u64;
        properties.raw_value_bytes += value.len() as u64;
        if let Some(pointer) = pointer {
            self.values.add(pointer.file, 1, u64::from(pointer.record_len));
        }
        Ok(())
    }

    /// Entries added so far.
    pub fn entry_count(&self) -> u64 {
        self.properties.entry_count
    }

    /// About how long the file would be if it were finished now, without its filter.
    pub fn written_bytes(&self) -> u64 {
        self.out.offset() + (self.block.len() + self.index.len()) as u64
    }

    /// Completes and syncs the file. The caller syncs the directory before it relies on the name.
    /// [`ErrorKind::InvalidArgument`] if nothing was added. On any error the file is removed.
    pub fn finish(mut self) -> Result<Summary> {
        if self.properties.entry_count == 0 {
            return Err(Error::invalid("an sstable needs at least one entry"));
        }
        self.cut_block()?;
        self.index_pending(None)?;
        self.properties.largest = self.last_key.clone();
        self.properties.values = self.values.list();
        let index = std::mem::take(&mut self.index).finish();
        let mut footer = Footer { index: self.section(index)?, ..Footer::default() };
        if self.options.filter_bits_per_key > 0 {
            let (kind, bits) = (self.options.filter_kind, self.options.filter_bits_per_key);
            footer.filter = self.section(filter::build(kind, &self.hashes, bits))?;
        }
        footer.properties = self.section(self.properties.encode())?;
        footer.file_len = self.out.offset() + FOOTER_LEN as u64;
        self.out.append(&footer.encode(self.file_id));
        let checksum = self.out.finish(!esker_base::mutant!("sstable_not_synced"))?;
        self.finished = true;
        let properties = std::mem::take(&mut self.properties);
        Ok(Summary {
            number: self.number,
            file_id: self.file_id,
            len: footer.file_len,
            checksum,
            smallest: properties.smallest,
            largest: properties.largest,
            min_seq: properties.min_seq,
            max_seq: properties.max_seq,
            entry_count: properties.entry_count,
            delete_count: properties.delete_count,
            raw_key_bytes: properties.raw_key_bytes,
            raw_value_bytes: properties.raw_value_bytes,
            values: properties.values,
        })
    }

    /// Gives up and removes the file; what goes wrong meanwhile is ignored, as an orphan is removed by the next open.
    pub fn abandon(self) {}

    /// Writes the entries collected so far as a block.
    fn cut_block(&mut self) -> Result<()> {
        let (out, file_id) = (&mut self.out, self.file_id);
        let len =
            self.block.finish(self.options.compression, |block| out.append_block(file_id, &block));
        self.properties.block_count += 1;
        self.pending_block_len = Some(len);
        self.out.flush_if_full()
    }

    /// Writes the index entry of the block that was cut last, now that its successor is known.
    fn index_pending(&mut self, next: Option<&[u8]>) -> Result<()> {
        let Some(stored_len) = self.pending_block_len.take() else { return Ok(()) };
        self.index.add(&self.last_key, next, stored_len);
        if self.index.separator_bytes() > u64::from(u32::MAX) {
            return Err(Error::invalid("the sstable's index is over 4 GiB; cut files earlier"));
        }
        Ok(())
    }

    fn section(&mut self, mut content: Vec<u8>) -> Result<BlockHandle> {
        let offset = self.out.offset();
        let content_len = content.len();
        if content_len + BLOCK_TRAILER_LEN > u32::MAX as usize {
            return Err(Error::invalid(
                "a section of the sstable is over 4 GiB; cut files earlier",
            ));
        }
        format::seal_block(self.file_id, offset, Compression::None, content_len, &mut content);
        self.out.append(&content);
        self.out.flush_if_full()?;
        Ok(BlockHandle { offset, len: content.len() as u32 })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.fs.remove_file(&self.out.path);
        }
    }
}

/// The file's bytes on their way out: buffered, checksummed, written back as they go.
pub(crate) struct Output {
    file: Arc<dyn File>,
    pub(crate) path: PathBuf,
    buffer: Vec<u8>,
    /// Bytes in the file already.
    written: u64,
    writeback_started: u64,
    checksum: Running,
    /// What [`Output::compresses_well`] made last.
    pub(crate) compressed: Vec<u8>,
}

impl Output {
    pub(crate) fn new(file: Arc<dyn File>, path: PathBuf) -> Output {
        Output {
            file,
            path,
            buffer: Vec::with_capacity(BUFFER_LEN + BUFFER_LEN / 4),
            written: 0,
            writeback_started: 0,
            checksum: Running::new(),
            compressed: Vec::new(),
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends a data block; its stored length.
    fn append_block(&mut self, file_id: FileId, block: &Built<'_>) -> u32 {
        let (offset, start) = (self.offset(), self.buffer.len());
        self.buffer.extend_from_slice(block.content);
        let (compression, out) = (block.compression, &mut self.buffer);
        format::seal_tail(file_id, offset, compression, block.len, out, start);
        (self.buffer.len() - start) as u32
    }

    /// Compresses into `self.compressed`; whether it saved enough.
    pub(crate) fn compresses_well(&mut self, content: &[u8]) -> bool {
        let room = lz4_flex::block::get_maximum_output_size(content.len());
        self.compressed.resize(room, 0);
        match lz4_flex::block::compress_into(content, &mut self.compressed) {
            Ok(len) => {
                self.compressed.truncate(len);
                len <= content.len() - content.len() / COMPRESSION_GAIN_MIN
            }
            Err(_) => false,
        }
    }

    pub(crate) fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() < BUFFER_LEN { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        self.checksum.update(&self.buffer);
        self.file
            .write_all_at(&self.buffer, self.written)
            .map_err(|error| Error::io("write", &self.path, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        let waiting = self.written - self.writeback_started;
        if waiting >= WRITEBACK_LEN {
            self.file
                .start_writeback(self.writeback_started, waiting)
                .map_err(|error| Error::io("write back", &self.path, error))?;
            self.writeback_started = self.written;
        }
        Ok(())
    }

    /// Writes the rest and syncs; the checksum of all bytes.
    pub(crate) fn finish(&mut self, syncs: bool) -> Result<u32> {
        self.flush()?;
        if syncs {
            self.file.sync_all().map_err(|error| Error::io("sync", &self.path, error))?;
        }
        Ok(self.checksum.value())
    }
}
