//! Makes damaged files pass their checksums again, so that mutations reach what lies behind them. Called by the targets
//! of whole files; knows where the checksums stand and nothing else of the formats.

use esker_base::{FileId, checksum, frame, varint};

/// Bytes before the first block of an sstable, and of its footer.
const SSTABLE_HEADER: usize = 48;
const SSTABLE_FOOTER: usize = 72;

/// Recomputes both checksums of every frame of a manifest from `start` on, as far as the lengths lead.
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

/// Recomputes check and checksum of every frame of a log segment from `start` on, as far as the lengths lead.
pub fn log_frames(file_id: FileId, file: &mut [u8], start: usize) {
    use esker_wal::frame::{HEADER_LEN, encoded_len};
    let mut offset = start;
    while let Some(header) = file.get(offset..offset + HEADER_LEN) {
        let word = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let (body, end) = (offset + HEADER_LEN, offset + encoded_len((word & 0xfff_ffff) as usize));
        if header.iter().all(|&byte| byte == 0) || end > file.len() {
            return;
        }
        let of_header = checksum::at(file_id, offset as u64, &file[offset + 6..body]);
        let of_all = checksum::followed_by(of_header, &file[body..end]);
        file[offset..offset + 4].copy_from_slice(&of_all.to_le_bytes());
        file[offset + 4..offset + 6].copy_from_slice(&(of_header as u16).to_le_bytes());
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
    let sections = sections(file).unwrap_or_default();
    for (offset, stored) in sections {
        block(file_id, file, offset, stored);
    }
    let (index, stored) = sections[0];
    let content = index.checked_add(stored.saturating_sub(9)).and_then(|end| file.get(index..end));
    for (offset, stored) in content.map(blocks).unwrap_or_default() {
        block(file_id, file, offset, stored);
    }
}

/// Recomputes the checksums of a value file: header, footer, and its records as far as their lengths lead.
pub fn value_file(file_id: FileId, file: &mut [u8]) {
    use esker_sstable::value_file::format::{FOOTER_LEN, HEADER_LEN, RECORD_OVERHEAD};
    let Some(footer) = file.len().checked_sub(FOOTER_LEN).filter(|&at| at >= HEADER_LEN) else {
        return;
    };
    let crc = checksum::plain(&file[..HEADER_LEN - 4]);
    file[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    let mut at = HEADER_LEN;
    while let Some(header) = file[..footer].get(at..at + 4) {
        let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let len = stored.saturating_add(RECORD_OVERHEAD);
        if len > footer - at {
            break;
        }
        block(file_id, file, at, len);
        at += len;
    }
    let record_bytes = (footer - HEADER_LEN) as u64;
    let len = file.len() as u64;
    file[footer + 8..footer + 16].copy_from_slice(&record_bytes.to_le_bytes());
    file[footer + 16..footer + 24].copy_from_slice(&len.to_le_bytes());
    block(file_id, file, footer, FOOTER_LEN);
}

/// Where the footer says that index, filter and properties stand, and their stored lengths; `None` without a footer.
pub fn sections(file: &[u8]) -> Option<[(usize, usize); 3]> {
    let footer = &file[file.len().checked_sub(SSTABLE_FOOTER)?..];
    Some([0, 12, 24].map(|at| handle(&footer[at..at + 12])))
}

/// Where an index says that the data blocks stand, and their stored lengths, as far as it can be read.
pub fn blocks(mut index: &[u8]) -> Vec<(usize, usize)> {
    let mut offset = SSTABLE_HEADER;
    let mut blocks = Vec::new();
    while let Some(stored) = index_entry(&mut index) {
        blocks.push((offset, stored));
        offset = offset.saturating_add(stored);
    }
    blocks
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
pub fn block(file_id: FileId, file: &mut [u8], offset: usize, stored: usize) {
    let Some(bytes) = offset.checked_add(stored).and_then(|end| file.get_mut(offset..end)) else {
        return;
    };
    let Some((covered, crc)) = bytes.split_last_chunk_mut::<4>() else { return };
    *crc = checksum::at(file_id, offset as u64, covered).to_le_bytes();
}
