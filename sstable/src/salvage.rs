//! What can still be read of a damaged file: every block whose checksum passes, wherever header, index, filter or
//! properties are damaged. Repair calls it; it writes nothing and judges only that entries ascend.
//!
//! With the index each block stands for itself. Without it the blocks are found one after the other, by the checksum
//! at their ends, up to the first that is damaged.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use esker_base::checksum::Running;
use esker_base::names::FileKind;
use esker_base::{Error, FileId, FileNumber, Result, key};
use esker_vfs::{File, Fs, OpenMode};

use crate::block::Layout;
use crate::block_cursor::BlockCursor;
use crate::format::{
    self, BLOCK_CONTENT_MAX, BLOCK_TRAILER_LEN, BlockHandle, Compression, FOOTER_LEN, Footer,
    HEADER_LEN,
};
use crate::index::Index;
use crate::properties::Properties;
use crate::reader::{Identity, defect_error};

const CHUNK_LEN: u64 = 1 << 20;

/// The longest stored block, in bytes.
const STORED_LEN_MAX: u64 = (BLOCK_CONTENT_MAX + BLOCK_TRAILER_LEN) as u64;

/// What [`salvage`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// What the file says about itself, if that can be read.
    pub properties: Option<Properties>,
    /// Entries handed out.
    pub entries: u64,
    /// What is lost, in the order of keys.
    pub lost: Vec<LostBlocks>,
}

/// Keys that a file may have held, and that cannot be read from it any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostBlocks {
    /// Where the damage starts in the file.
    pub offset: u64,
    /// The lost keys are at or above this user key; `None` for the first of all.
    pub from: Option<Vec<u8>>,
    /// The lost keys are at or below this user key; `None` for the last of all.
    pub through: Option<Vec<u8>>,
}

/// Hands every entry that can be read from the file of `number` to `visit`, in ascending order. `file_id` stands in for
/// a damaged header; a file with another identity holds nothing that can be read. A file that is missing is all lost.
///
/// Unsupported for a file of a newer format; otherwise only errors of opening the file and of `visit`: what cannot be
/// read is lost.
pub fn salvage(
    fs: &dyn Fs,
    dir: &Path,
    number: FileNumber,
    file_id: Option<FileId>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<Salvage> {
    let path = dir.join(FileKind::Sstable.name(number));
    let everything = || Salvage { lost: vec![LostBlocks::default()], ..Salvage::default() };
    let file = match fs.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(everything()),
        Err(error) => return Err(Error::io("open", &path, error)),
    };
    let len = file.len().map_err(|error| Error::io("stat", &path, error))?;
    let own = match read(&*file, 0, HEADER_LEN, len).map(|header| {
        format::decode_header(header.first_chunk().expect("read as long as a header"))
    }) {
        Some(Ok(own)) => Some(own),
        Some(Err(defect @ format::Defect::Unsupported(_))) => {
            return Err(defect_error(&path, 0, defect));
        }
        _ => None,
    };
    let Some(file_id) = file_id.or(own) else { return Ok(everything()) };
    let damaged = Damaged { file, file_id, len };
    let footer = damaged.footer();
    let properties = footer
        .as_ref()
        .and_then(|footer| Properties::decode(&damaged.section(footer.properties)?).ok());
    let index = footer.as_ref().and_then(|footer| {
        Index::decode(&damaged.section(footer.index)?, footer.index.offset).ok()
    });
    let mut taken = Taken { properties, ..Taken::default() };
    match &index {
        Some(index) => damaged.by_index(index, &mut taken, &mut visit)?,
        None => {
            let end = footer.map_or(len, |footer| footer.index.offset);
            damaged.by_checksums(end, &mut taken, &mut visit)?;
        }
    }
    Ok(Salvage { properties: taken.properties, entries: taken.entries, lost: taken.lost })
}

/// The identity of the file of `number` as it stands there, its checksum computed; for a file that no manifest vouches
/// for. `None` if the file is missing or its header damaged.
pub fn identify(fs: &dyn Fs, dir: &Path, number: FileNumber) -> Result<Option<Identity>> {
    let path = dir.join(FileKind::Sstable.name(number));
    let file = match fs.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", &path, error)),
    };
    let len = file.len().map_err(|error| Error::io("stat", &path, error))?;
    let Some(header) = read(&*file, 0, HEADER_LEN, len) else { return Ok(None) };
    let header = header.first_chunk().expect("read as long as a header");
    let file_id = match format::decode_header(header) {
        Ok(file_id) => file_id,
        Err(defect @ format::Defect::Unsupported(_)) => {
            return Err(defect_error(&path, 0, defect));
        }
        Err(_) => return Ok(None),
    };
    let mut checksum = Running::new();
    let mut offset = 0;
    while offset < len {
        let part = CHUNK_LEN.min(len - offset) as usize;
        let Some(bytes) = read(&*file, offset, part, len) else { return Ok(None) };
        checksum.update(&bytes);
        offset += part as u64;
    }
    Ok(Some(Identity { number, file_id, len, checksum: checksum.value() }))
}

/// Reads `len` bytes within a file of `file_len`; `None` if they are not there or cannot be read.
fn read(file: &dyn File, offset: u64, len: usize, file_len: u64) -> Option<Vec<u8>> {
    if offset.checked_add(len as u64)? > file_len {
        return None;
    }
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset).ok().map(|()| bytes)
}

#[derive(Default)]
struct Taken {
    properties: Option<Properties>,
    last: Vec<u8>,
    entries: u64,
    lost: Vec<LostBlocks>,
}

struct Damaged {
    file: Arc<dyn File>,
    file_id: FileId,
    len: u64,
}

impl Damaged {
    fn footer(&self) -> Option<Footer> {
        let offset = self.len.checked_sub((FOOTER_LEN + HEADER_LEN) as u64)? + HEADER_LEN as u64;
        let bytes = read(&*self.file, offset, FOOTER_LEN, self.len)?;
        Footer::decode(self.file_id, self.len, bytes.first_chunk()?).ok()
    }

    fn section(&self, handle: BlockHandle) -> Option<Vec<u8>> {
        let stored = read(&*self.file, handle.offset, handle.len as usize, self.len)?;
        match format::open_block(self.file_id, handle.offset, &stored) {
            Ok((Compression::None, content, _)) => Some(content.to_vec()),
            _ => None,
        }
    }

    fn by_index(
        &self,
        index: &Index,
        taken: &mut Taken,
        visit: &mut impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        for at in 0..index.block_count() {
            let handle = index.handle(at);
            let stored = read(&*self.file, handle.offset, handle.len as usize, self.len);
            let entries = stored.and_then(|stored| self.entries(handle.offset, &stored, taken));
            match entries {
                Some(entries) => taken.take(entries, visit)?,
                None => {
                    let below = (at > 0).then(|| key::user_key(index.separator(at - 1)).to_vec());
                    let through = Some(key::user_key(index.separator(at)).to_vec());
                    taken.lose(handle.offset, below, through);
                }
            }
        }
        Ok(())
    }

    /// Finds the blocks up to `end` by the checksums behind them.
    fn by_checksums(
        &self,
        end: u64,
        taken: &mut Taken,
        visit: &mut impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut offset = HEADER_LEN as u64;
        while offset < end {
            let end = end.min(offset + STORED_LEN_MAX);
            let Some(stored) = self.next_block(offset, end) else { break };
            // Behind the last data block stands the index, a stored block that holds no entries.
            let Some(entries) = self.entries(offset, &stored, taken) else { break };
            offset += stored.len() as u64;
            taken.take(entries, visit)?;
        }
        let complete = taken.properties.as_ref().is_some_and(|properties| {
            properties.entry_count == taken.entries && properties.largest == taken.last
        });
        if !complete {
            let from = (taken.entries > 0).then(|| key::user_key(&taken.last).to_vec());
            taken.lose(offset, from, None);
        }
        Ok(())
    }

    /// The stored block that starts at `offset`, its end found by its checksum.
    fn next_block(&self, offset: u64, end: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut running = Running::new();
        running.update(&self.file_id.0);
        running.update(&offset.to_le_bytes());
        let mut summed = 0;
        loop {
            let more = CHUNK_LEN.min(end.checked_sub(offset + bytes.len() as u64)?) as usize;
            if more == 0 {
                return None;
            }
            bytes.extend(read(&*self.file, offset + bytes.len() as u64, more, self.len)?);
            while let Some(crc) = bytes.get(summed..summed + 4) {
                if summed >= BLOCK_TRAILER_LEN - 4 && crc == running.value().to_le_bytes() {
                    let stored = bytes[..summed + 4].to_vec();
                    if format::open_block(self.file_id, offset, &stored).is_ok() {
                        return Some(stored);
                    }
                }
                running.update(&bytes[summed..=summed]);
                summed += 1;
            }
        }
    }

    /// The entries of a block, if all of them are sound and stand behind those that were taken.
    fn entries(
        &self,
        offset: u64,
        stored: &[u8],
        taken: &Taken,
    ) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let (compression, content, len) = format::open_block(self.file_id, offset, stored).ok()?;
        Layout::checked(content, compression, len).ok()?;
        let mut cursor = BlockCursor::default();
        cursor.reset(Bytes::copy_from_slice(content), compression).ok()?;
        cursor.seek_to_first().ok()?;
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        while cursor.valid() {
            let last = entries.last().map_or(&taken.last, |(key, _)| key);
            let ascends = last.is_empty() || key::compare(last, cursor.key()).is_lt();
            if !ascends {
                return None;
            }
            entries.push((cursor.key().to_vec(), cursor.value().to_vec()));
            cursor.next().ok()?;
        }
        (!entries.is_empty()).then_some(entries)
    }
}

impl Taken {
    fn take(
        &mut self,
        entries: Vec<(Vec<u8>, Vec<u8>)>,
        visit: &mut impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        for (key, value) in entries {
            visit(&key, &value)?;
            self.entries += 1;
            self.last = key;
        }
        Ok(())
    }

    /// Notes a loss; one that touches the loss before is part of it.
    fn lose(&mut self, offset: u64, from: Option<Vec<u8>>, through: Option<Vec<u8>>) {
        match self.lost.last_mut() {
            Some(before) if before.through == from => before.through = through,
            _ => self.lost.push(LostBlocks { offset, from, through }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Reader, Writer, WriterOptions};
    use esker_base::{EntryKind, SeqNo};
    use esker_vfs::simulated::SimulatedFs;

    fn sample(fs: &Arc<dyn Fs>) -> (crate::Summary, Vec<Vec<u8>>) {
        let options = WriterOptions { block_size_bytes: 256, ..WriterOptions::default() };
        let (number, id) = (FileNumber(1), FileId([7; 16]));
        let mut writer = Writer::create(fs.clone(), Path::new("/"), number, id, options).unwrap();
        let keys: Vec<_> = (0..60u32)
            .map(|at| key::encode(format!("{at:04}").as_bytes(), SeqNo(9), EntryKind::Put))
            .collect();
        for key in &keys {
            writer.add(key, format!("value {key:?}").as_bytes()).unwrap();
        }
        (writer.finish().unwrap(), keys)
    }

    fn found(fs: &dyn Fs, file_id: Option<FileId>) -> (Salvage, Vec<Vec<u8>>) {
        let mut keys = Vec::new();
        let salvage = salvage(fs, Path::new("/"), FileNumber(1), file_id, |key, _| {
            keys.push(key.to_vec());
            Ok(())
        });
        (salvage.unwrap(), keys)
    }

    #[test]
    fn every_flipped_byte_loses_at_most_what_is_named() {
        let fs: Arc<dyn Fs> = Arc::new(SimulatedFs::new());
        let (summary, keys) = sample(&fs);
        let path = Path::new("/0000000001.sst");
        let file = fs.open(path, OpenMode::ReadWrite).unwrap();
        for offset in 0..summary.len {
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
            let (salvage, seen) = found(&*fs, Some(summary.file_id));
            file.write_all_at(&byte, offset).unwrap();
            for key in &keys {
                let user_key = key::user_key(key);
                let named = salvage.lost.iter().any(|lost| {
                    lost.from.as_deref().is_none_or(|from| from <= user_key)
                        && lost.through.as_deref().is_none_or(|through| user_key <= through)
                });
                assert!(named || seen.contains(key), "{offset}: {user_key:?}");
            }
            assert!(seen.len() + 12 >= keys.len(), "{offset}: {} entries", seen.len());
        }
        assert_eq!(
            found(&*fs, None),
            (
                Salvage { properties: found(&*fs, None).0.properties, entries: 60, lost: vec![] },
                keys,
            )
        );
    }

    #[test]
    fn a_truncated_file_keeps_what_stands_before_the_end() {
        let fs: Arc<dyn Fs> = Arc::new(SimulatedFs::new());
        let (summary, keys) = sample(&fs);
        let file = fs.open(Path::new("/0000000001.sst"), OpenMode::ReadWrite).unwrap();
        let mut before = keys.len();
        for len in (0..summary.len).rev() {
            file.truncate(len).unwrap();
            let (salvage, seen) = found(&*fs, Some(summary.file_id));
            assert_eq!(salvage.lost.len(), 1, "{len}");
            assert_eq!(salvage.lost[0].through, None);
            assert!(seen.len() <= before && keys.starts_with(&seen));
            before = seen.len();
        }
        assert_eq!(before, 0);
    }

    #[test]
    fn an_identity_is_found_again() {
        let fs: Arc<dyn Fs> = Arc::new(SimulatedFs::new());
        let (summary, _) = sample(&fs);
        let identity = identify(&*fs, Path::new("/"), FileNumber(1)).unwrap().unwrap();
        assert_eq!(identity, Identity::from(&summary));
        let cache = Arc::new(crate::BlockCache::new(0));
        let mode = crate::ReadMode::Positioned;
        Reader::open(&fs, Path::new("/"), &identity, mode, cache).unwrap().verify().unwrap();
        assert_eq!(identify(&*fs, Path::new("/"), FileNumber(2)).unwrap(), None);
    }
}
