//! Reading a value file: one value by its pointer, records to be copied to another file, and every byte for `verify`.
//!
//! When a record is verified: in mapped mode on its first touch by this reader, as a block of an sstable is (`seen.rs`
//! remembers which were); without a map each time it is read. Copies, `verify` and scrubbing read from disk and look at
//! everything each time. Nothing is allocated from a length that was not held against the file's own length first.
//!
//! A map is advised for random access and faults page by page, so a record of several pages is asked for in one go where
//! pages have to be expected not to be in memory. To ask the system each time would cost more than a warm read: one read
//! in some looks, as point reads of sstables do.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use esker_base::checksum::Running;
use esker_base::names::FileKind;
use esker_base::{Error, ErrorKind, FileNumber, Result};
use esker_vfs::os::memory;
use esker_vfs::{Advice, File, Fs, OpenMode};

use super::format::{
    self, FOOTER_LEN, Footer, HEADER_LEN, RECORD_HEADER_LEN, RECORD_OVERHEAD, Record, ValuePointer,
};
use super::seen::Seen;
use super::writer::ValueWriter;
use crate::format::{Compression, decompress};
use crate::prefetch;
use crate::reader::{Identity, ReadMode, defect_error};

/// How much is read at a time where everything is.
const CHUNK_LEN: u64 = 1 << 20;

/// Of how many reads of mapped records one looks whether the record is in memory. A prime, so that it does not fall in
/// step with batches.
const READS_PER_LOOK: u32 = 61;
/// Reads of a file that are taken for cold after one was, and after it was opened.
const COLD_READS: (u32, u32) = (1024, 32);
/// Cache lines at the front of a record that are asked for at once.
const FRONT_LINES: usize = 8;

thread_local! {
    /// Reads of mapped records by this thread.
    static READS: Cell<u32> = const { Cell::new(0) };
}

/// An open value file. Share it by `Arc`; everything takes `&self`.
pub struct ValueReader {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    identity: Identity,
    source: Source,
    footer: Footer,
}

enum Source {
    Mapped(Map),
    Positioned(Arc<dyn File>),
}

/// A mapped file, and what is known of its pages.
struct Map {
    bytes: Bytes,
    /// The records that were verified.
    seen: Seen,
    /// How many more reads are to expect that the device has to be waited for.
    cold_reads: AtomicU32,
}

impl Map {
    fn new(bytes: Bytes) -> Map {
        let seen = Seen::new(bytes.len() as u64);
        Map { bytes, seen, cold_reads: AtomicU32::new(COLD_READS.1) }
    }

    /// Where a record stands; its bounds were checked.
    fn at(&self, pointer: &ValuePointer) -> &[u8] {
        &self.bytes[pointer.offset as usize..pointer.end() as usize]
    }

    /// Whether records have to be expected not to be in memory. Looks at this one from time to time.
    fn is_cold(&self, record: &[u8]) -> bool {
        let reads = READS.get().wrapping_add(1);
        READS.set(reads);
        if reads.is_multiple_of(READS_PER_LOOK) && !memory::is_resident(record) {
            self.cold_reads.store(COLD_READS.0, Ordering::Relaxed);
        }
        let left = self.cold_reads.load(Ordering::Relaxed);
        if left > 0 {
            self.cold_reads.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }
}

/// Checks that the value file of `identity` in `dir` has its length and its id; what opening a database looks at.
///
/// # Errors
/// [`ErrorKind::Corruption`] if it is missing, has another length or id, or a damaged header; [`ErrorKind::Unsupported`]
/// if a newer version wrote it; `Io` if it cannot be read.
pub fn check_value_identity(fs: &dyn Fs, dir: &Path, identity: &Identity) -> Result<()> {
    let path = dir.join(FileKind::Values.name(identity.number));
    let file = open_file(fs, &path)?;
    let len = file.len().map_err(|error| Error::io("stat", &path, error))?;
    check_len(&path, len, identity)?;
    let mut header = [0; HEADER_LEN];
    file.read_exact_at(&mut header, 0).map_err(|error| Error::io("read", &path, error))?;
    check_header(&path, &header, identity)
}

pub(super) fn open_file(fs: &dyn Fs, path: &Path) -> Result<Arc<dyn File>> {
    fs.open(path, OpenMode::Read).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::corruption(path, 0, "the value file is missing"),
        _ => Error::io("open", path, error),
    })
}

fn check_len(path: &Path, len: u64, identity: &Identity) -> Result<()> {
    if len != identity.len {
        let at = len.min(identity.len);
        return Err(Error::corruption(path, at, "the value file's length is not what it was"));
    }
    if len < (HEADER_LEN + FOOTER_LEN + RECORD_OVERHEAD) as u64 {
        return Err(Error::corruption(path, len, "the file is too short for a value file"));
    }
    Ok(())
}

fn check_header(path: &Path, header: &[u8; HEADER_LEN], identity: &Identity) -> Result<()> {
    let file_id = format::decode_header(header).map_err(|defect| defect_error(path, 0, defect))?;
    if file_id != identity.file_id {
        let message = "this is another value file than the one of that number";
        return Err(Error::corruption(path, 24, message));
    }
    Ok(())
}

impl ValueReader {
    /// Opens the value file of `identity` in `dir`; records are not looked at. Errors as of [`check_value_identity`],
    /// also for a damaged footer.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        identity: &Identity,
        mode: ReadMode,
    ) -> Result<ValueReader> {
        let path = dir.join(FileKind::Values.name(identity.number));
        let file = open_file(&**fs, &path)?;
        // A map is measured itself: what it does not cover must not be touched.
        let (source, len) = match mode {
            ReadMode::Mapped => {
                let map = file.map().map_err(|error| Error::io("map", &path, error))?;
                let len = map.len() as u64;
                (Source::Mapped(Map::new(map)), len)
            }
            ReadMode::Positioned => {
                let len = file.len().map_err(|error| Error::io("stat", &path, error))?;
                (Source::Positioned(file), len)
            }
        };
        check_len(&path, len, identity)?;
        let mut reader = ValueReader {
            fs: Arc::clone(fs),
            path,
            identity: *identity,
            source,
            footer: Footer::default(),
        };
        let header = reader.read(0, HEADER_LEN)?;
        let header = header.first_chunk().expect("invariant: read as long as a header");
        check_header(&reader.path, header, identity)?;
        let footer_at = len - FOOTER_LEN as u64;
        let footer = reader.read(footer_at, FOOTER_LEN)?;
        let footer = footer.first_chunk().expect("invariant: read as long as a footer");
        reader.footer = Footer::decode(identity.file_id, len, footer)
            .map_err(|defect| defect_error(&reader.path, footer_at, defect))?;
        Ok(reader)
    }

    /// `len` bytes from `offset`, which the caller has held against the file's length.
    fn read(&self, offset: u64, len: usize) -> Result<Bytes> {
        match &self.source {
            Source::Mapped(map) => Ok(map.bytes.slice(offset as usize..offset as usize + len)),
            Source::Positioned(file) => read_exact(&**file, &self.path, offset, len),
        }
    }

    /// The value that `pointer` means: a slice of the map where that is possible.
    pub fn get(&self, pointer: &ValuePointer) -> Result<Bytes> {
        let file = match &self.source {
            Source::Mapped(map) => {
                let record = self.look(map, pointer)?;
                return match record.compression {
                    Compression::None => Ok(map.bytes.slice_ref(record.stored)),
                    Compression::Lz4 => self.decompress(pointer, &record).map(Bytes::from),
                };
            }
            Source::Positioned(file) => file,
        };
        self.check_bounds(pointer)?;
        let bytes = read_exact(&**file, &self.path, pointer.offset, pointer.record_len as usize)?;
        let record = self.open_pointed(pointer, &bytes, false)?;
        match record.compression {
            Compression::None => Ok(bytes.slice_ref(record.stored)),
            Compression::Lz4 => self.decompress(pointer, &record).map(Bytes::from),
        }
    }

    /// Hands the value that `pointer` means to `use_it` where it stands, without a copy if it is mapped and not
    /// compressed.
    pub fn get_with<R>(
        &self,
        pointer: &ValuePointer,
        use_it: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        let Source::Mapped(map) = &self.source else {
            return self.get(pointer).map(|value| use_it(&value));
        };
        let record = self.look(map, pointer)?;
        match record.compression {
            Compression::None => Ok(use_it(record.stored)),
            Compression::Lz4 => Ok(use_it(&self.decompress(pointer, &record)?)),
        }
    }

    /// The record that `pointer` means, verified when it is touched for the first time.
    fn look<'a>(&self, map: &'a Map, pointer: &ValuePointer) -> Result<Record<'a>> {
        self.check_bounds(pointer)?;
        let bytes = map.at(pointer);
        if map.is_cold(bytes) && memory::spans_pages(bytes) {
            // Each page would be a fault and a read of its own.
            memory::will_need(bytes);
        }
        let was_verified = map.seen.has(pointer);
        let record = self.open_pointed(pointer, bytes, was_verified)?;
        if !was_verified {
            map.seen.add(pointer);
        }
        Ok(record)
    }

    /// Says that the record that `pointer` means is about to be read, most likely: the front of it is asked for. Whether
    /// it has to be expected not to be in memory; then [`ValueReader::fetch`] it, best together with its neighbors.
    pub fn announce(&self, pointer: &ValuePointer) -> bool {
        let Source::Mapped(map) = &self.source else { return true };
        if self.check_bounds(pointer).is_err() {
            return false;
        }
        let bytes = map.at(pointer);
        prefetch::front(bytes, FRONT_LINES);
        map.is_cold(bytes)
    }

    /// Starts to fetch the bytes from `from` up to `to`, as far as they are in the file; a hint.
    pub fn fetch(&self, from: u64, to: u64) {
        let to = to.min(self.identity.len);
        if from >= to {
            return;
        }
        match &self.source {
            Source::Mapped(map) => memory::will_need(&map.bytes[from as usize..to as usize]),
            Source::Positioned(file) => file.advise(from, to - from, Advice::WillNeed),
        }
    }

    /// Whether records are read through a map.
    pub fn is_mapped(&self) -> bool {
        matches!(self.source, Source::Mapped(_))
    }

    fn check_bounds(&self, pointer: &ValuePointer) -> Result<()> {
        let is_within = pointer.file == self.identity.number
            && pointer.offset >= HEADER_LEN as u64
            && pointer.end() <= self.identity.len - FOOTER_LEN as u64;
        match is_within {
            true => Ok(()),
            false => Err(self.damaged(pointer.offset, "a pointer leads outside of the records")),
        }
    }

    fn open_pointed<'a>(
        &self,
        pointer: &ValuePointer,
        bytes: &'a [u8],
        was_verified: bool,
    ) -> Result<Record<'a>> {
        format::open_pointed(self.identity.file_id, pointer, bytes, was_verified)
            .map_err(|defect| defect_error(&self.path, pointer.offset, defect))
    }

    fn decompress(&self, pointer: &ValuePointer, record: &Record<'_>) -> Result<Vec<u8>> {
        decompress(record.stored, record.value_len as usize)
            .map_err(|defect| defect_error(&self.path, pointer.offset, defect))
    }

    fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::corruption(&self.path, offset, what)
    }

    /// What the file was opened as.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its records.
    pub fn record_count(&self) -> u64 {
        self.footer.record_count
    }

    /// The total length of its records, in bytes.
    pub fn record_bytes(&self) -> u64 {
        self.footer.record_bytes
    }

    /// A handle for reading by position, past the map: long stretches are then read ahead, and an unreadable sector is an
    /// error of that read. The file's name must still be there.
    pub fn file(&self) -> Result<Arc<dyn File>> {
        match &self.source {
            Source::Mapped(_) => open_file(&*self.fs, &self.path),
            Source::Positioned(file) => Ok(Arc::clone(file)),
        }
    }

    /// Reads the record that `pointer` means from `file`, verifies it and copies it to `writer` as it is stored; where it
    /// stands there. The inner error is of the reading, and then nothing was written; the outer one is the writer's.
    pub fn copy(
        &self,
        file: &dyn File,
        pointer: &ValuePointer,
        writer: &mut ValueWriter,
    ) -> Result<Result<ValuePointer>> {
        let bytes = match self.read_pointed(file, pointer) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        match self.open_pointed(pointer, &bytes, false) {
            Ok(record) => writer.append(record).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Checks the record that `pointer` means, from `file`.
    pub fn check(&self, file: &dyn File, pointer: &ValuePointer) -> Result<()> {
        let bytes = self.read_pointed(file, pointer)?;
        let record = self.open_pointed(pointer, &bytes, false)?;
        self.check_content(pointer.offset, &record)
    }

    fn read_pointed(&self, file: &dyn File, pointer: &ValuePointer) -> Result<Bytes> {
        self.check_bounds(pointer)?;
        read_exact(file, &self.path, pointer.offset, pointer.record_len as usize)
    }

    fn check_content(&self, offset: u64, record: &Record<'_>) -> Result<()> {
        if record.compression == Compression::Lz4 {
            decompress(record.stored, record.value_len as usize)
                .map_err(|defect| defect_error(&self.path, offset, defect))?;
        }
        Ok(())
    }

    /// Where the records end.
    fn records_end(&self) -> u64 {
        self.identity.len - FOOTER_LEN as u64
    }

    /// Reads records from disk, from the one at `from` on (0 for the first), until `bytes_max` are read (one at least),
    /// and checks each; the bytes read, and where to go on, if this was not the end. For scrubbing.
    pub fn verify_piece(&self, from: u64, bytes_max: u64) -> Result<(u64, Option<u64>)> {
        let file = self.file()?;
        let from = from.max(HEADER_LEN as u64);
        let mut offset = from;
        while offset < self.records_end() {
            if offset - from >= bytes_max.max(1) {
                return Ok((offset - from, Some(offset)));
            }
            offset = self.verify_record(&*file, offset)?;
        }
        Ok((offset - from + (HEADER_LEN + FOOTER_LEN) as u64, None))
    }

    /// Checks the record at `offset`; where the next one starts.
    fn verify_record(&self, file: &dyn File, offset: u64) -> Result<u64> {
        let left = self.records_end() - offset;
        if left < RECORD_OVERHEAD as u64 {
            return Err(self.damaged(offset, "the records do not fill the file"));
        }
        let header = read_exact(file, &self.path, offset, RECORD_HEADER_LEN)?;
        let header = header.first_chunk().expect("invariant: read as long as a record's header");
        let len = format::record_len(header);
        if len > left {
            return Err(self.damaged(offset, "a record goes on behind the last one"));
        }
        let bytes = read_exact(file, &self.path, offset, len as usize)?;
        let record = format::open_record(self.identity.file_id, offset, &bytes)
            .map_err(|defect| defect_error(&self.path, offset, defect))?;
        self.check_content(offset, &record)?;
        Ok(offset + len)
    }

    /// Reads the whole file from disk: every record, their number, and the checksum of all.
    pub fn verify(&self) -> Result<()> {
        let file = self.file()?;
        let (mut offset, mut count) = (HEADER_LEN as u64, 0u64);
        while offset < self.records_end() {
            offset = self.verify_record(&*file, offset)?;
            count += 1;
        }
        if count != self.footer.record_count {
            return Err(self.damaged(offset, "the footer does not agree with the records"));
        }
        let found = file.len().map_err(|error| Error::io("stat", &self.path, error))?;
        check_len(&self.path, found, &self.identity)?;
        if checksum_of(&*file, &self.path, found)? != self.identity.checksum {
            return Err(self.damaged(0, "the checksum of the whole file does not match"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for ValueReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueReader").field("path", &self.path).finish_non_exhaustive()
    }
}

pub(super) fn read_exact(file: &dyn File, path: &Path, offset: u64, len: usize) -> Result<Bytes> {
    let mut buffer = vec![0; len];
    file.read_exact_at(&mut buffer, offset).map_err(|error| Error::io("read", path, error))?;
    Ok(Bytes::from(buffer))
}

fn checksum_of(file: &dyn File, path: &Path, len: u64) -> Result<u32> {
    let mut checksum = Running::new();
    let mut offset = 0;
    while offset < len {
        let part = read_exact(file, path, offset, CHUNK_LEN.min(len - offset) as usize)?;
        checksum.update(&part);
        offset += part.len() as u64;
    }
    Ok(checksum.value())
}

/// The identity of the value file of `number` as it stands there, its checksum computed; for a file that no manifest
/// vouches for. `None` if the file is missing or damaged where that can be told without its records.
pub fn identify_values(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    number: FileNumber,
) -> Result<Option<Identity>> {
    let path = dir.join(FileKind::Values.name(number));
    let identity = (|| {
        let file = open_file(&**fs, &path)?;
        let len = file.len().map_err(|error| Error::io("stat", &path, error))?;
        let mut header = [0; HEADER_LEN];
        file.read_exact_at(&mut header, 0).map_err(|error| Error::io("read", &path, error))?;
        let file_id =
            format::decode_header(&header).map_err(|defect| defect_error(&path, 0, defect))?;
        let checksum = checksum_of(&*file, &path, len)?;
        let identity = Identity { number, file_id, len, checksum };
        ValueReader::open(fs, dir, &identity, ReadMode::Positioned).map(|_| identity)
    })();
    match identity {
        Ok(identity) => Ok(Some(identity)),
        Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::Io) => Ok(None),
        Err(error) => Err(error),
    }
}
