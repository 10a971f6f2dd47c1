//! Looking at every byte of a file, for `verify`, backups and tests.
//!
//! Reads by positions also where the reader itself maps, so that an unreadable sector is an error here and not the
//! end of the process.

use bytes::Bytes;
use esker_base::checksum::Running;
use esker_base::{EntryKind, Error, InternalKey, Result, ValueReferences, key};
use esker_vfs::{File, OpenMode};

use crate::block::{Position, common_prefix_len};
use crate::block_cursor::BlockCursor;
use crate::filter::key_hash;
use crate::format::{Compression, Defect, HEADER_LEN};
use crate::lz4::{Decoder, SLACK_LEN};
use crate::properties::Properties;
use crate::reader::Reader;
use crate::value_file::ValuePointer;

const CHUNK_LEN: usize = 1024 * 1024;

/// What [`Reader::verify`] looked at and found sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Bytes of the file.
    pub bytes: u64,
    /// Data blocks.
    pub blocks: u64,
    /// Entries.
    pub entries: u64,
}

/// What [`Reader::verify_piece`] looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifiedPiece {
    /// Bytes read.
    pub bytes: u64,
    /// The block to go on with; `None` at the end of the file.
    pub next_block: Option<usize>,
}

impl Reader {
    /// Reads data blocks from disk, from block `from` on, until `bytes_max` are read (one block at least), and checks
    /// that each decodes. For scrubbing with a reader opened for that: opening has read the rest of the file, which is
    /// counted with the last piece; the order of the keys is left to [`Reader::verify`].
    pub fn verify_piece(&self, from: usize, bytes_max: u64) -> Result<VerifiedPiece> {
        let file = self
            .fs()
            .open(self.path(), OpenMode::Read)
            .map_err(|error| Error::io("open", self.path(), error))?;
        let mut piece = VerifiedPiece::default();
        let mut cursor = BlockCursor::default();
        for at in from..self.index().block_count() {
            if piece.bytes >= bytes_max.max(1) {
                piece.next_block = Some(at);
                return Ok(piece);
            }
            let (compression, content) = self.read_block(&*file, at)?;
            let defect = |defect| self.block_defect(at, defect);
            cursor.reset(content, compression).map_err(defect)?;
            cursor.seek_to_first().map_err(defect)?;
            cursor.check_structure().map_err(defect)?;
            piece.bytes += u64::from(self.index().handle(at).len);
        }
        piece.bytes += self.identity().len - self.blocks_end() + HEADER_LEN as u64;
        Ok(piece)
    }

    /// Reads the whole file from disk and holds everything against everything: the file's checksum against the
    /// manifest's, every block's checksum, the order of the keys, the index, the filter and the properties. The
    /// first contradiction is the error.
    pub fn verify(&self) -> Result<VerifyReport> {
        let file = self
            .fs()
            .open(self.path(), OpenMode::Read)
            .map_err(|error| Error::io("open", self.path(), error))?;
        // Blocks first: their errors say where the damage is.
        let seen = self.verify_blocks(&*file)?;
        let expected = self.properties();
        let complete =
            Properties { creator: expected.creator.clone(), keyspace: expected.keyspace, ..seen };
        if complete != *expected {
            let offset = self.footer().properties.offset;
            return Err(self.damaged(offset, "the properties do not agree with the entries"));
        }
        self.verify_checksum(&*file)?;
        Ok(VerifyReport {
            bytes: self.identity().len,
            blocks: complete.block_count,
            entries: complete.entry_count,
        })
    }

    fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::corruption(self.path(), offset, what)
    }

    fn verify_checksum(&self, file: &dyn File) -> Result<()> {
        let len = self.identity().len;
        let found = file.len().map_err(|error| Error::io("stat", self.path(), error))?;
        if found != len {
            return Err(self.damaged(found.min(len), "the sstable's length is not what it was"));
        }
        let mut checksum = Running::new();
        let mut buffer = vec![0; len.min(CHUNK_LEN as u64) as usize];
        let mut offset = 0;
        while offset < len {
            let wanted = (len - offset).min(CHUNK_LEN as u64) as usize;
            let chunk = &mut buffer[..wanted];
            file.read_exact_at(chunk, offset)
                .map_err(|error| Error::io("read", self.path(), error))?;
            checksum.update(chunk);
            offset += wanted as u64;
        }
        if checksum.value() != self.identity().checksum {
            return Err(self.damaged(0, "the checksum of the whole file does not match"));
        }
        Ok(())
    }

    /// Walks all blocks; the properties as the entries tell them.
    fn verify_blocks(&self, file: &dyn File) -> Result<Properties> {
        let mut seen = Properties { min_seq: esker_base::SeqNo::MAX, ..Properties::default() };
        let mut references = ValueReferences::default();
        let mut cursor = BlockCursor::default();
        for at in 0..self.index().block_count() {
            let (compression, content) = self.read_block(file, at)?;
            let defect = |defect| self.block_defect(at, defect);
            cursor.reset(content, compression).map_err(defect)?;
            cursor.seek_to_first().map_err(defect)?;
            cursor.check_structure().map_err(defect)?;
            while cursor.valid() {
                self.verify_entry((&mut seen, &mut references), cursor.key(), cursor.value(), at)?;
                cursor.next().map_err(defect)?;
            }
            seen.block_count += 1;
            // The separator stands between this block's last entry and the next one's first.
            if key::compare(&seen.largest, self.index().separator(at)).is_gt() {
                return Err(self.damaged(
                    self.footer().index.offset,
                    "the index does not agree with the data blocks",
                ));
            }
        }
        seen.values = references.list();
        Ok(seen)
    }

    fn verify_entry(
        &self,
        (seen, references): (&mut Properties, &mut ValueReferences),
        key: &[u8],
        value: &[u8],
        at: usize,
    ) -> Result<()> {
        let offset = self.index().handle(at).offset;
        let parts =
            InternalKey::decode(key).ok_or_else(|| self.damaged(offset, "not an internal key"))?;
        let first = seen.entry_count == 0;
        if !first && key::compare(&seen.largest, key).is_ge() {
            return Err(self.damaged(offset, "entries are out of order"));
        }
        if at > 0 && key::compare(self.index().separator(at - 1), key).is_ge() {
            return Err(self.damaged(offset, "the index does not agree with the data blocks"));
        }
        if !self.may_contain_hash(key_hash(parts.user_key)) {
            let offset = self.footer().filter.offset;
            return Err(self.damaged(offset, "the filter denies a key that is in the file"));
        }
        if first {
            seen.smallest = key.to_vec();
        }
        seen.largest.clear();
        seen.largest.extend_from_slice(key);
        seen.entry_count += 1;
        seen.delete_count += u64::from(parts.kind == EntryKind::Delete);
        seen.min_seq = seen.min_seq.min(parts.seq);
        seen.max_seq = seen.max_seq.max(parts.seq);
        seen.raw_key_bytes += parts.user_key.len() as u64;
        seen.raw_value_bytes += value.len() as u64;
        if parts.kind == EntryKind::ValuePointer
            && let Some(pointer) = ValuePointer::decode(value)
        {
            references.add(pointer.file, 1, u64::from(pointer.record_len));
        }
        Ok(())
    }

    /// Reads block `at` from the file itself, past map and cache.
    pub(crate) fn read_block(&self, file: &dyn File, at: usize) -> Result<(Compression, Bytes)> {
        let handle = self.index().handle(at);
        let stored = self.read_from(file, handle.offset, handle.len as usize)?;
        self.checked_block(at, &stored)
    }
}

impl BlockCursor {
    /// Holds the restart offsets and the shared lengths against the entries, on which point searches rely, and unpacks
    /// every piece of the values.
    pub(crate) fn check_structure(&self) -> std::result::Result<(), Defect> {
        let block = self.block();
        let (mut at, mut restart) = (Position::default(), 0);
        let mut last: Vec<u8> = Vec::new();
        while at.key < block.keys.len() {
            let entry = block.entry(at.key)?;
            let is_restart = restart < block.restart_count() && block.restart(restart) == at;
            restart += usize::from(is_restart);
            let suffix = &block.keys[entry.suffix.clone()];
            let user_key = [last.get(..entry.shared).unwrap_or_default(), suffix].concat();
            let shared = if is_restart { 0 } else { common_prefix_len(&last, &user_key) };
            if entry.shared != shared {
                return Err(Defect::Damaged("an entry's shared length is not what it should be"));
            }
            last = user_key;
            let value = block.value_range(at.value, entry.value_len)?;
            if block.piece_count() > 0 && !value.is_empty() {
                block.piece_of(&value)?;
            }
            at = Position { key: entry.suffix.end, value: value.end };
        }
        if restart != block.restart_count() {
            return Err(Defect::Damaged("the restart offsets do not agree with the entries"));
        }
        if at.value != block.values_len() {
            return Err(Defect::Damaged("the values do not fill their block"));
        }
        let mut unpacked = Vec::new();
        for at in 0..block.piece_count() {
            let piece = block.piece(at)?;
            if !piece.is_plain() {
                unpacked.resize(piece.values.len() + SLACK_LEN, 0);
                Decoder::new(piece.stored, piece.values.len()).finish(&mut unpacked)?;
            }
        }
        Ok(())
    }
}
