//! Unpacking of blocks: codec, claimed length and the stored content are the input. The answer is an error, or what a
//! plain decoder makes of the bytes, and never takes more memory than the claim allows.

use std::sync::LazyLock;

use esker_sstable::{Compression, ReadMode};

use super::parts::{self, Parts};

static SOUND: LazyLock<Parts> = LazyLock::new(|| Parts::written(4, None, Compression::None));

/// Reads `data` as a compression, a length (4 bytes) and a data block's content as it is stored.
pub fn check(data: &[u8]) {
    let Some(([compression, claimed @ ..], bytes)) = data.split_first_chunk::<5>() else { return };
    let claimed = u32::from_le_bytes(*claimed);
    let found = read(parts::stored(bytes, *compression, claimed));
    if let Err(error) = &found {
        parts::expected(error);
    }
    let content = match Compression::try_from(*compression) {
        Ok(Compression::None) => Some(bytes.to_vec()),
        Ok(Compression::Lz4) => match unpacked(bytes, claimed as usize) {
            Some(Ok(content)) => Some(content),
            Some(Err(Disorder)) => return,
            None => None,
        },
        Err(_) => None,
    };
    match content.filter(|content| content.len() == claimed as usize) {
        // Where the codec refuses what the plain decoder takes, no answer is wrong.
        Some(content) => match (found, read(parts::plain(&content))) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Ok(_), Err(error)) => panic!("the content is malformed, but is read: {error}"),
            (Err(_), _) => {}
        },
        None => assert!(found.is_err(), "a block that is no block is read"),
    }
}

/// Pieces that do not ascend: which of two that overlap is taken is not said.
struct Disorder;

/// A packed block with its values unpacked; bytes that nothing can stand for where a piece is none, so that who reads
/// them is found. `None` if the front or the length is wrong.
fn unpacked(stored: &[u8], claimed: usize) -> Option<Result<Vec<u8>, Disorder>> {
    let width = usize::from(*stored.first()?);
    if !matches!(width, 2 | 4) {
        return None;
    }
    let number = |at: usize| {
        let bytes = stored.get(at..at.checked_add(width)?)?;
        Some(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))
    };
    let (restarts, keys_len) = (number(10)?, number(10 + width)?);
    let keys_end = 10 + 2 * width + 2 * width * restarts + keys_len;
    let count = number(keys_end)?;
    let table = keys_end + width;
    let pieces = stored.get(table + 2 * width * count..)?;
    let last = table + 2 * width * count.checked_sub(1)?;
    if number(last)? != claimed.checked_sub(keys_end)? || number(last + width)? != pieces.len() {
        return None;
    }
    let mut content = stored[..keys_end].to_vec();
    // As far as the bytes can expand and a reader goes.
    if claimed > stored.len() * 256 || claimed > 80 << 20 {
        return None;
    }
    content.resize(claimed, 0xEE);
    let (mut start, mut stored_start) = (0, 0);
    for at in 0..count {
        let (end, stored_end) =
            (number(table + 2 * width * at)?, number(table + 2 * width * at + width)?);
        if end < start || stored_end < stored_start || end > claimed - keys_end {
            return Some(Err(Disorder));
        }
        let piece = pieces.get(stored_start..stored_end).unwrap_or_default();
        let plain = match piece.len() == end - start {
            true => Some(piece.to_vec()),
            false => lz4(piece, end - start).filter(|plain| plain.len() == end - start),
        };
        if let Some(plain) = plain {
            content[keys_end + start..keys_end + end].copy_from_slice(&plain);
        }
        (start, stored_start) = (end, stored_end);
    }
    Some(Ok(content))
}

fn read(block: parts::Stored) -> esker_base::Result<parts::Entries> {
    let index = parts::index_of_one(&block);
    let file = Parts { blocks: vec![block], index, ..SOUND.clone() }.file();
    let reader = parts::open(&file, ReadMode::Positioned).expect("only a data block is damaged");
    parts::walk(&reader, true, true)
}

/// Decodes an lz4 block into at most `most` bytes.
fn lz4(mut input: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    loop {
        let (token, rest) = input.split_first()?;
        input = rest;
        let literals = length(token >> 4, &mut input)?;
        let (copied, rest) = input.split_at_checked(literals)?;
        out.extend_from_slice(copied);
        input = rest;
        if out.len() > most {
            return None;
        }
        if input.is_empty() {
            return Some(out);
        }
        let (offset, rest) = input.split_first_chunk::<2>()?;
        input = rest;
        let len = length(token & 15, &mut input)?.checked_add(4)?;
        let start = out.len().checked_sub(usize::from(u16::from_le_bytes(*offset)))?;
        if start == out.len() || len > most - out.len() {
            return None;
        }
        (start..start + len).for_each(|at| out.push(out[at]));
    }
}

/// A length that begins in a token of four bits.
fn length(token: u8, input: &mut &[u8]) -> Option<usize> {
    let mut len = usize::from(token);
    let mut more = token == 15;
    while more {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        len += usize::from(*byte);
        more = *byte == 255;
    }
    Some(len)
}

/// Blocks with and without compression.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for compression in [Compression::None, Compression::Lz4] {
        for block in Parts::written(20, None, compression).blocks {
            let (content, trailer) = block.split_at(block.len() - 9);
            seeds.push([&trailer[..5], content].concat());
        }
    }
    // A block that expands as far as lz4 can.
    let front = [&[2, 8][..], &[0; 8], &[1, 0, 15, 0, 0, 0, 0, 0]].concat();
    let content = [&front[..], b"\0\x01\xac\x02\x01\x07\0\0\0\0\0\0k"].concat();
    seeds.push([&[0][..], &(content.len() as u32).to_le_bytes(), &content].concat());
    let runs = [&[0x1f, b'x', 1, 0][..], &[255; 40], &[7, 0x50], b"xxxxx"].concat();
    let len = 1u16 + 4 + 15 + 40 * 255 + 7 + 5;
    let key = [&b"\0\x01"[..], &[0xef, 0x4f], b"\x01\x07\0\0\0\0\0\0k"].concat();
    let front = [&[2, 8][..], &[0; 8], &[1, 0, key.len() as u8, 0, 0, 0, 0, 0]].concat();
    let table = [1u16, len, runs.len() as u16].map(u16::to_le_bytes).concat();
    let packed = [front, key, table, runs].concat();
    let unpacked = packed.len() - 6 - 50 + usize::from(len) - 1;
    seeds.push([&[1][..], &(unpacked as u32).to_le_bytes(), &packed].concat());
    seeds
}
