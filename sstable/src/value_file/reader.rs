//! Reading a value file: one value by its pointer, records to be copied to another file, and every byte for `verify`.
//!
//! When a record is verified: each time it is read. That costs 80 ns a KiB, a small part of bringing the value into the
//! processor's cache, and needs no memory of what was verified before. Nothing is allocated from a length that was not
//! held against the file's own length first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use esker_base::checksum::Running;
use esker_base::names::FileKind;
use esker_base::{Error, ErrorKind, FileId, FileNumber, Result};
use esker_vfs::{File, Fs, OpenMode};

use super::format::{
    self, FOOTER_LEN, Footer, HEADER_LEN, RECORD_HEADER_LEN, RECORD_OVERHEAD, Record, ValuePointer,
};
use super::writer::ValueWriter;
use crate::format::{Compression, Defect, decompress};
use crate::reader::{Identity, ReadMode, defect_error};

/// How much is read at a time where everything is.
const CHUNK_LEN: u64 = 1 << 20;

/// An open value file. Share it by `Arc`; everything takes `&self`.
pub struct ValueReader {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    identity: Identity,
    source: Source,
    footer: Footer,
}

enum Source {
    Mapped(Bytes),
    Positioned(Arc<dyn File>),
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

fn open_file(fs: &dyn Fs, path: &Path) -> Result<Arc<dyn File>> {
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
                (Source::Mapped(map), len)
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
            Source::Mapped(map) => Ok(map.slice(offset as usize..offset as usize + len)),
            Source::Positioned(file) => read_exact(&**file, &self.path, offset, len),
        }
    }

    /// The value that `pointer` means: a slice of the map where that is possible.
    pub fn get(&self, pointer: &ValuePointer) -> Result<Bytes> {
        self.check_bounds(pointer)?;
        let bytes = self.read(pointer.offset, pointer.record_len as usize)?;
        let record = self.open_pointed(pointer, &bytes)?;
        match record.compression {
            Compression::None => {
                let end = bytes.len() - 4;
                Ok(bytes.slice(RECORD_HEADER_LEN..end))
            }
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
        self.check_bounds(pointer)?;
        let record =
            self.open_pointed(pointer, &map[pointer.offset as usize..pointer.end() as usize])?;
        match record.compression {
            Compression::None => Ok(use_it(record.stored)),
            Compression::Lz4 => Ok(use_it(&self.decompress(pointer, &record)?)),
        }
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

    fn open_pointed<'a>(&self, pointer: &ValuePointer, bytes: &'a [u8]) -> Result<Record<'a>> {
        format::open_pointed(self.identity.file_id, pointer, bytes)
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
    /// stands there.
    pub fn copy(
        &self,
        file: &dyn File,
        pointer: &ValuePointer,
        writer: &mut ValueWriter,
    ) -> Result<ValuePointer> {
        self.check_bounds(pointer)?;
        let bytes = read_exact(file, &self.path, pointer.offset, pointer.record_len as usize)?;
        writer.append(self.open_pointed(pointer, &bytes)?)
    }

    /// Checks the record that `pointer` means, from `file`.
    pub fn check(&self, file: &dyn File, pointer: &ValuePointer) -> Result<()> {
        self.check_bounds(pointer)?;
        let bytes = read_exact(file, &self.path, pointer.offset, pointer.record_len as usize)?;
        let record = self.open_pointed(pointer, &bytes)?;
        self.check_content(pointer.offset, &record)
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

fn read_exact(file: &dyn File, path: &Path, offset: u64, len: usize) -> Result<Bytes> {
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

/// Reads the record that `pointer` means from a file that may be damaged anywhere, and hands it to `take` if it is sound;
/// `None` if it is lost. `file_id` is what the manifest says; without, the header must be sound.
fn salvage_record<T>(
    fs: &dyn Fs,
    dir: &Path,
    file_id: Option<FileId>,
    pointer: &ValuePointer,
    take: impl FnOnce(Record<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let path = dir.join(FileKind::Values.name(pointer.file));
    let Ok(file) = fs.open(&path, OpenMode::Read) else { return Ok(None) };
    let mut header = [0; HEADER_LEN];
    let own = file.read_exact_at(&mut header, 0).ok().map(|()| format::decode_header(&header));
    let own = match own {
        Some(Err(defect @ Defect::Unsupported(_))) => return Err(defect_error(&path, 0, defect)),
        Some(Ok(file_id)) => Some(file_id),
        _ => None,
    };
    let Some(file_id) = file_id.or(own) else { return Ok(None) };
    if !file.len().is_ok_and(|len| pointer.end() <= len) {
        return Ok(None);
    }
    let Ok(bytes) = read_exact(&*file, &path, pointer.offset, pointer.record_len as usize) else {
        return Ok(None);
    };
    format::open_pointed(file_id, pointer, &bytes).ok().map(take).transpose()
}

/// Whether the value that `pointer` means can be read from a file that may be damaged anywhere. `file_id` is what the
/// manifest says, or else the header. Unsupported for a file of a newer format.
pub fn can_salvage_value(
    fs: &dyn Fs,
    dir: &Path,
    file_id: Option<FileId>,
    pointer: &ValuePointer,
) -> Result<bool> {
    salvage_record(fs, dir, file_id, pointer, |_| Ok(())).map(|found| found.is_some())
}

/// Copies the value that `pointer` means to `writer`, if [`can_salvage_value`]; where it stands then. Errors are also the
/// writer's.
pub fn salvage_value(
    fs: &dyn Fs,
    dir: &Path,
    file_id: Option<FileId>,
    pointer: &ValuePointer,
    writer: &mut ValueWriter,
) -> Result<Option<ValuePointer>> {
    salvage_record(fs, dir, file_id, pointer, |record| writer.append(record))
}
