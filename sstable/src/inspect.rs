//! What `esker inspect` shows of a file: its blocks, one by one.

use bytes::Bytes;
use esker_base::{Error, Result};
use esker_vfs::OpenMode;

use crate::block_cursor::BlockCursor;
use crate::format::{BlockHandle, Compression};
use crate::reader::Reader;

/// One data block, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Where it stands, and its stored length.
    pub handle: BlockHandle,
    /// How it is stored.
    pub compression: Compression,
    /// Bytes with the values unpacked.
    pub content_len: usize,
    /// Entries in it.
    pub entry_count: usize,
    /// The first internal key.
    pub first_key: Vec<u8>,
    /// The last internal key.
    pub last_key: Vec<u8>,
    /// The index's separator after it: an internal key, its trailer 0 where it stands for every version.
    pub separator: Vec<u8>,
}

impl Reader {
    /// All data blocks in order, read from the disk. A damaged one yields its error and the walk goes on.
    pub fn blocks(&self) -> impl Iterator<Item = Result<BlockInfo>> + '_ {
        (0..self.index().block_count()).map(|at| {
            let file = self
                .fs()
                .open(self.path(), OpenMode::Read)
                .map_err(|error| Error::io("open", self.path(), error))?;
            let (compression, content) = self.read_block(&*file, at)?;
            self.describe(at, compression, content)
        })
    }

    fn describe(&self, at: usize, compression: Compression, content: Bytes) -> Result<BlockInfo> {
        let defect = |defect| self.block_defect(at, defect);
        let mut cursor = BlockCursor::default();
        cursor.reset(content, compression).map_err(defect)?;
        let content_len = cursor.unpacked_len();
        cursor.seek_to_first().map_err(defect)?;
        let first_key = cursor.key().to_vec();
        let (mut entry_count, mut last_key) = (0, Vec::new());
        while cursor.valid() {
            entry_count += 1;
            last_key.clear();
            last_key.extend_from_slice(cursor.key());
            cursor.next().map_err(defect)?;
        }
        Ok(BlockInfo {
            handle: self.index().handle(at),
            compression,
            content_len,
            entry_count,
            first_key,
            last_key,
            separator: self.index().separator(at).to_vec(),
        })
    }
}
