//! The check that opening a database makes of each of its sstables: the file is there, has its length and its identity.
//! The rest of the file is judged when it is first used.

use std::io;
use std::path::Path;

use esker_base::names::FileKind;
use esker_base::{Error, Result};
use esker_vfs::{Fs, OpenMode};

use crate::format::{HEADER_LEN, decode_header};
use crate::reader::{Identity, defect_error};

/// Checks that the file of `identity` in `dir` has its length and its id.
///
/// # Errors
/// [`esker_base::ErrorKind::Corruption`] if it is missing, has another length or id, or a damaged header;
/// [`esker_base::ErrorKind::Unsupported`] if a newer version wrote it; `Io` if it cannot be read.
pub fn check_identity(fs: &dyn Fs, dir: &Path, identity: &Identity) -> Result<()> {
    let path = dir.join(FileKind::Sstable.name(identity.number));
    let file = fs.open(&path, OpenMode::Read).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::corruption(&path, 0, "the sstable is missing"),
        _ => Error::io("open", &path, error),
    })?;
    let len = file.len().map_err(|error| Error::io("stat", &path, error))?;
    if len != identity.len {
        let at = len.min(identity.len);
        return Err(Error::corruption(&path, at, "the sstable's length is not what it was"));
    }
    let mut header = [0; HEADER_LEN];
    file.read_exact_at(&mut header, 0).map_err(|error| Error::io("read", &path, error))?;
    let file_id = decode_header(&header).map_err(|defect| defect_error(&path, 0, defect))?;
    if file_id != identity.file_id {
        let message = "this is another sstable than the one of that number";
        return Err(Error::corruption(&path, 24, message));
    }
    Ok(())
}
