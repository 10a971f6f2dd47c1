//! Writing a value file, front to back in one pass.
//!
//! Called by flush, compaction and repair, which own file numbers and identities and sync the directory. A file that is
//! not finished is removed again.

use std::path::Path;
use std::sync::Arc;

use esker_base::limits::BATCH_LEN_MAX;
use esker_base::names::FileKind;
use esker_base::{Error, FileId, FileNumber, Result, mutant};
use esker_vfs::Fs;

use super::format::{self, Footer, HEADER_LEN, Record, ValuePointer};
use crate::format::Compression;
use crate::reader::Identity;
use crate::writer::Output;

/// What was written; what the manifest records of a value file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSummary {
    /// Number, identity, length and checksum of the file.
    pub identity: Identity,
    /// Its records.
    pub record_count: u64,
    /// The total length of the records, in bytes.
    pub record_bytes: u64,
}

/// A value file under construction. Dropped without [`ValueWriter::finish`] it removes the file.
pub struct ValueWriter {
    fs: Arc<dyn Fs>,
    number: FileNumber,
    file_id: FileId,
    compression: Compression,
    out: Output,
    totals: Footer,
    record: Vec<u8>,
    finished: bool,
}

impl ValueWriter {
    /// Creates the file of `number` in `dir`. [`esker_base::ErrorKind::Io`] also if the name is taken.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        number: FileNumber,
        file_id: FileId,
        compression: Compression,
    ) -> Result<ValueWriter> {
        let path = dir.join(FileKind::Values.name(number));
        let file = fs.create_new(&path).map_err(|error| Error::io("create", &path, error))?;
        let mut out = Output::new(file, path);
        out.append(&format::encode_header(file_id));
        Ok(ValueWriter {
            fs,
            number,
            file_id,
            compression,
            out,
            totals: Footer::default(),
            record: Vec::new(),
            finished: false,
        })
    }

    /// Adds a value, compressed if that pays; where it stands. [`esker_base::ErrorKind::InvalidArgument`] if it is too
    /// long; after an I/O error only dropping the file is left.
    pub fn add(&mut self, value: &[u8]) -> Result<ValuePointer> {
        if value.len() > BATCH_LEN_MAX {
            return Err(Error::invalid("the value is too long"));
        }
        let value_len = value.len() as u32;
        if self.compression == Compression::Lz4 && self.out.compresses_well(value) {
            let stored = std::mem::take(&mut self.out.compressed);
            let record = Record { compression: Compression::Lz4, stored: &stored, value_len };
            let pointer = self.append(record);
            self.out.compressed = stored;
            return pointer;
        }
        self.append(Record { compression: Compression::None, stored: value, value_len })
    }

    /// Adds a record of another file as it is stored there.
    pub(crate) fn append(&mut self, record: Record<'_>) -> Result<ValuePointer> {
        let offset = HEADER_LEN as u64 + self.totals.record_bytes;
        self.record.clear();
        let record_len = record.encode_into(self.file_id, offset, &mut self.record);
        self.out.append(&self.record);
        self.totals.record_count += 1;
        self.totals.record_bytes += u64::from(record_len);
        self.out.flush_if_full()?;
        Ok(ValuePointer { file: self.number, offset, record_len, value_len: record.value_len })
    }

    /// The number in the file's name.
    pub fn number(&self) -> FileNumber {
        self.number
    }

    /// The length of the records so far, in bytes.
    pub fn written_bytes(&self) -> u64 {
        self.totals.record_bytes
    }

    /// Completes and syncs the file. The caller syncs the directory before it relies on the name.
    /// [`esker_base::ErrorKind::InvalidArgument`] if nothing was added. On any error the file is removed.
    pub fn finish(mut self) -> Result<ValueSummary> {
        if self.totals.record_count == 0 {
            return Err(Error::invalid("a value file needs at least one value"));
        }
        self.out.append(&self.totals.encode(self.file_id));
        let checksum = self.out.finish(!mutant!("value_file_not_synced"))?;
        self.finished = true;
        let (number, file_id, len) = (self.number, self.file_id, self.totals.file_len());
        Ok(ValueSummary {
            identity: Identity { number, file_id, len, checksum },
            record_count: self.totals.record_count,
            record_bytes: self.totals.record_bytes,
        })
    }
}

impl Drop for ValueWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.fs.remove_file(&self.out.path);
        }
    }
}
