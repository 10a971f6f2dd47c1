//! Makes damaged files pass their checksums again, so that mutations reach what lies behind them. Called by the targets
//! of whole files; knows where the checksums stand and nothing else of the formats.

use esker_base::{FileId, checksum, frame, varint};

/// Bytes before the first block of an sstable, and of its footer.
const SSTABLE_HEADER: usize = 48;
const SSTABLE_FOOTER: usize = 72;

/// Recomputes both checksums of every frame from `start` on, as far as the lengths lead.
pub fn frames(file_id: FileId, file: &mut [u8], start: usize) {
    let mut offset = start;
    while let Some(header) = file.get(offset..offset + frame::HEADER_LEN) {
        let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let body = offset + frame::HEADER_LEN;
        let end = match len.checked_add(offset) {
            Some(_) if len <= file.len() => offset + frame::encoded_len(len),
            _ => return,
        };
        if header.iter().all(|&byte| byte == 0) || end > file.len() {
            return;
        }
        let payload = checksum::at(file_id, body as u64, &file[body..end]);
        file[offset + 4..offset + 8].copy_from_slice(&payload.to_le_bytes());
        let header = checksum::at(file_id, offset as u64, &file[offset + 4..body]);
        file[offset..offset + 4].copy_from_slice(&header.to_le_bytes());
        offset = end;
    }
}

/// Recomputes the checksums of an sstable's sections and data blocks, as far as footer and index lead to them.
pub fn sstable(file_id: FileId, file: &mut [u8]) {
    let Some(footer) = file.len().checked_sub(SSTABLE_FOOTER).filter(|&at| at >= SSTABLE_HEADER)
    else {
        return;
    };
    let len = file.len() as u64;
    file[footer + 48..footer + 56].copy_from_slice(&len.to_le_bytes());
    let crc = checksum::at(file_id, footer as u64, &file[footer..footer + 68]);
    file[footer + 68..].copy_from_slice(&crc.to_le_bytes());
    for section in [0, 12, 24] {
        let (offset, stored) = handle(&file[footer + section..footer + section + 12]);
        block(file_id, file, offset, stored);
    }
    let (index, stored) = handle(&file[footer..footer + 12]);
    let content = index.checked_add(stored.saturating_sub(9)).and_then(|end| file.get(index..end));
    let Some(content) = content.map(<[u8]>::to_vec) else { return };
    let (mut input, mut offset) = (&content[..], SSTABLE_HEADER);
    while let Some(stored) = index_entry(&mut input) {
        block(file_id, file, offset, stored);
        offset = offset.saturating_add(stored);
    }
}

/// The stored length in one entry of an index; `None` at its end.
fn index_entry(input: &mut &[u8]) -> Option<usize> {
    varint::decode(input)?;
    let unshared = usize::try_from(varint::decode(input)?).ok()?;
    *input = input.get(8..)?;
    let stored = usize::try_from(varint::decode(input)?).ok()?;
    *input = input.get(unshared..)?;
    Some(stored)
}

fn handle(bytes: &[u8]) -> (usize, usize) {
    let number =
        |bytes: &[u8]| bytes.iter().rev().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
    (number(&bytes[..8]) as usize, number(&bytes[8..12]) as usize)
}

/// Recomputes the checksum of the stored block at `offset`, `stored` bytes long with its trailer.
fn block(file_id: FileId, file: &mut [u8], offset: usize, stored: usize) {
    let Some(bytes) = offset.checked_add(stored).and_then(|end| file.get_mut(offset..end)) else {
        return;
    };
    let Some((covered, crc)) = bytes.split_last_chunk_mut::<4>() else { return };
    *crc = checksum::at(file_id, offset as u64, covered).to_le_bytes();
}
