//! What is left in single segments, for a log that [`crate::replay`] refuses: every whole frame, and where damage stands
//! between them. An open asks it about segments that the manifest does not list, a repair about all of them. It judges
//! nothing and writes nothing.

use std::io;
use std::path::Path;

use esker_base::names::FileKind;
use esker_base::{Error, ErrorKind, FileId, FileNumber, Result, SeqNo};
use esker_vfs::{Fs, OpenMode};

use crate::format::{FrameKind, HEADER_LEN, Header, u64_at};
use crate::frame::{self, Parsed, Place};
use crate::group::Group;
use crate::reader::known_kind;
use crate::segment::SEGMENT_LEN_MAX;

/// How much is read at a time; a part that cannot be read counts as zeros.
const CHUNK_LEN: usize = 4096;

/// A part of a segment, in the order of the file.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A whole group.
    Group(Group<'a>),
    /// Bytes from here on that are no frame, although a whole frame follows them.
    Damage(u64),
}

/// A segment as far as it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SalvagedSegment {
    /// The file's length in bytes.
    pub len: u64,
    /// Behind the last whole frame; everything after is no frame.
    pub end: u64,
    /// Whether something other than zeros stands behind the end, where a new segment would be zeros.
    pub is_torn: bool,
    /// The segment that the last whole frame says the log goes on in.
    pub continued_by: Option<FileNumber>,
    /// The last sequence number of the log, if the last whole frame is a seal.
    pub sealed_at: Option<SeqNo>,
}

/// The header of a segment, and whether any frame in it is whole. `None` if the file is not there, or its header is
/// damaged or of a newer format.
pub fn look_at(fs: &dyn Fs, dir: &Path, number: FileNumber) -> Result<Option<(Header, bool)>> {
    let path = dir.join(FileKind::Wal.name(number));
    let mut content = Vec::new();
    match crate::reader::read_file(fs, &path, true, &mut content) {
        Err(error) if error.kind() == ErrorKind::Corruption => return Ok(None),
        result => result?,
    }
    let Ok(header) = Header::decode(&content, &path) else { return Ok(None) };
    let mut frames = frame::scan(header.place(), HEADER_LEN as u64, &content);
    let first = frames.next().transpose().map_err(|gave_up| gave_up.error(&path))?;
    Ok(Some((header, first.is_some())))
}

/// Hands every whole group of a segment to `visit`, and where damage stands between. `file_id` stands in for a damaged
/// header. Bytes from `ends_at` on are not part of the log. `None` if the file is not there or nothing tells its
/// identity.
///
/// Unsupported for frames of a newer format; Corruption where too much looks like frames to search it; otherwise errors of the file system but for failed reads, and of `visit`.
pub fn salvage_segment(
    fs: &dyn Fs,
    dir: &Path,
    number: FileNumber,
    file_id: Option<FileId>,
    ends_at: Option<u64>,
    mut visit: impl FnMut(Piece<'_>) -> Result<()>,
) -> Result<Option<SalvagedSegment>> {
    let path = dir.join(FileKind::Wal.name(number));
    let Some(mut content) = read_what_is_there(fs, &path)? else { return Ok(None) };
    let len = content.len() as u64;
    if let Some(end) = ends_at.and_then(|end| usize::try_from(end).ok()) {
        content.truncate(end);
    }
    let own = match Header::decode(&content, &path) {
        Ok(header) => Some(header),
        Err(error) if error.kind() == ErrorKind::Unsupported => return Err(error),
        Err(_) => None,
    };
    let Some(file_id) = file_id.or(own.map(|own| own.file_id)).filter(|_| len >= HEADER_LEN as u64)
    else {
        return Ok(None);
    };
    let mut found = SalvagedSegment {
        len,
        end: HEADER_LEN as u64,
        is_torn: false,
        continued_by: None,
        sealed_at: None,
    };
    let place = Place::new(file_id, number);
    for frame in frame::scan(place, HEADER_LEN as u64, &content) {
        let frame = frame.map_err(|gave_up| gave_up.error(&path))?;
        if frame.offset != found.end {
            visit(Piece::Damage(found.end))?;
        }
        (found.continued_by, found.sealed_at) = (None, None);
        match known_kind(&frame, &path)? {
            FrameKind::Group => match Group::decode(frame.payload) {
                Ok(group) => visit(Piece::Group(group))?,
                Err(_) => visit(Piece::Damage(frame.offset))?,
            },
            _ if frame.payload.len() != 8 => visit(Piece::Damage(frame.offset))?,
            FrameKind::Continue => {
                found.continued_by = Some(FileNumber(u64_at(frame.payload, 0)));
            }
            FrameKind::Seal => found.sealed_at = Some(SeqNo(u64_at(frame.payload, 0))),
        }
        found.end = frame.end();
    }
    // What cannot be told from blank space may still be a lost write.
    let blank = matches!(frame::decode(place, found.end, &content), Parsed::Blank);
    let rest = match &own {
        Some(header) => header.unwritten(&content, found.end),
        None => usize::try_from(found.end).ok().and_then(|end| content.get(end..)).unwrap_or(&[]),
    };
    // Neither a header nor a frame: whatever was there is gone.
    let is_void = own.is_none() && found.end == HEADER_LEN as u64;
    let may_be_old = own.is_some_and(|own| own.is_recycled);
    found.is_torn = is_void || !(blank || may_be_old) || rest.iter().any(|&byte| byte != 0);
    Ok(Some(found))
}

/// The content of a segment, zeros where it cannot be read; `None` if it is not there.
fn read_what_is_there(fs: &dyn Fs, path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match fs.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path, error)),
    };
    let len = file.len().map_err(|error| Error::io("get the length of", path, error))?;
    let mut content = vec![0; len.min(SEGMENT_LEN_MAX) as usize];
    if file.read_exact_at(&mut content, 0).is_err() {
        for (at, part) in content.chunks_mut(CHUNK_LEN).enumerate() {
            if file.read_exact_at(part, (at * CHUNK_LEN) as u64).is_err() {
                part.fill(0);
            }
        }
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests;
