//! What can still be read of value files that may be damaged anywhere; repair calls it.
//!
//! A file stays open from one record to the next: what points into it comes in the order of keys, not of files.
//!
//! Lost is what is missing, is not what was written, or cannot be read by the device. Any other failure says nothing of the
//! file and is the caller's to hear of: it must not cost a value.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{Error, FileId, FileNumber, Result};
use esker_vfs::{File, Fs, OpenMode};

use super::format::{self, HEADER_LEN, Record, ValuePointer};
use super::reader::read_exact;
use super::writer::ValueWriter;
use crate::format::{Compression, Defect, decompress};
use crate::reader::defect_error;

/// The most files that are open at once.
const OPEN_MAX: usize = 64;

/// Damaged value files of a directory, read record by record.
pub struct ValueSalvage {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Those that were met; `None` for one of which nothing can be read.
    open: BTreeMap<FileNumber, Option<Damaged>>,
}

/// A file that can be read at least at some places.
struct Damaged {
    file: Arc<dyn File>,
    len: u64,
    /// What its own header says.
    file_id: Option<FileId>,
}

impl ValueSalvage {
    /// For the files in `dir`.
    pub fn new(fs: &Arc<dyn Fs>, dir: impl Into<PathBuf>) -> ValueSalvage {
        ValueSalvage { fs: Arc::clone(fs), dir: dir.into(), open: BTreeMap::new() }
    }

    /// Whether the value that `pointer` means can be read. `file_id` is what the manifest says, or else the header.
    /// Unsupported for a file of a newer format, and errors of opening and reading that are not damage.
    pub fn can_read(&mut self, file_id: Option<FileId>, pointer: &ValuePointer) -> Result<bool> {
        self.record(file_id, pointer, |_| Ok(())).map(|found| found.is_some())
    }

    /// Copies the value that `pointer` means to `writer`, if [`ValueSalvage::can_read`]; where it stands then. Errors are
    /// also the writer's.
    pub fn copy(
        &mut self,
        file_id: Option<FileId>,
        pointer: &ValuePointer,
        writer: &mut ValueWriter,
    ) -> Result<Option<ValuePointer>> {
        self.record(file_id, pointer, |record| writer.append(record))
    }

    /// Hands the record that `pointer` means to `take` if it is sound; `None` if it is lost.
    fn record<T>(
        &mut self,
        file_id: Option<FileId>,
        pointer: &ValuePointer,
        take: impl FnOnce(Record<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let path = self.dir.join(FileKind::Values.name(pointer.file));
        let Some(damaged) = self.file(pointer.file)? else { return Ok(None) };
        let Some(file_id) = file_id.or(damaged.file_id) else { return Ok(None) };
        if pointer.end() > damaged.len {
            return Ok(None);
        }
        let len = pointer.record_len as usize;
        let bytes = match read_exact(&*damaged.file, &path, pointer.offset, len) {
            Ok(bytes) => bytes,
            Err(error) if error.is_unreadable() => return Ok(None),
            Err(error) => return Err(error),
        };
        match format::open_pointed(file_id, pointer, &bytes, false) {
            Ok(record) if is_whole(&record) => take(record).map(Some),
            _ => Ok(None),
        }
    }

    fn file(&mut self, number: FileNumber) -> Result<Option<&Damaged>> {
        if !self.open.contains_key(&number) {
            if self.open.len() >= OPEN_MAX {
                self.open.clear();
            }
            let opened = self.open_file(number)?;
            self.open.insert(number, opened);
        }
        Ok(self.open.get(&number).and_then(Option::as_ref))
    }

    fn open_file(&self, number: FileNumber) -> Result<Option<Damaged>> {
        let path = self.dir.join(FileKind::Values.name(number));
        let file = match self.fs.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let file_id = match read_exact(&*file, &path, 0, HEADER_LEN) {
            Ok(header) => {
                let header = header.first_chunk().expect("invariant: read as long as a header");
                match format::decode_header(header) {
                    Err(defect @ Defect::Unsupported(_)) => {
                        return Err(defect_error(&path, 0, defect));
                    }
                    file_id => file_id.ok(),
                }
            }
            Err(error) if error.is_unreadable() => None,
            Err(error) => return Err(error),
        };
        let len = file.len().map_err(|error| Error::io("stat", &path, error))?;
        Ok(Some(Damaged { file, len, file_id }))
    }
}

/// Whether the value can be had of a record whose checksum matches.
fn is_whole(record: &Record<'_>) -> bool {
    match record.compression {
        Compression::None => true,
        Compression::Lz4 => decompress(record.stored, record.value_len as usize).is_ok(),
    }
}

impl std::fmt::Debug for ValueSalvage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueSalvage").field("dir", &self.dir).finish_non_exhaustive()
    }
}
