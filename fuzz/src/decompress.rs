//! Decompression of blocks: codec, claimed length and compressed bytes are the input. The answer is an error, or what a
//! plain decoder makes of the bytes, and never takes more memory than the claim allows.

use std::sync::LazyLock;

use esker_sstable::{Compression, ReadMode};

use super::parts::{self, Parts};

static SOUND: LazyLock<Parts> = LazyLock::new(|| Parts::written(4, None, Compression::None));

/// Reads `data` as a compression, a length (4 bytes) and a compressed data block.
pub fn check(data: &[u8]) {
    let Some(([compression, claimed @ ..], bytes)) = data.split_first_chunk::<5>() else { return };
    let claimed = u32::from_le_bytes(*claimed);
    let found = read(parts::stored(bytes, *compression, claimed));
    if let Err(error) = &found {
        parts::expected(error);
    }
    let content = match Compression::try_from(*compression) {
        Ok(Compression::None) => Some(bytes.to_vec()),
        Ok(Compression::Lz4) => lz4(bytes, claimed as usize),
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
    let content: Vec<u8> = [
        &[1, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        b"\0\x01\xac\x02\x01\x07\0\0\0\0\0\0k",
    ]
    .concat();
    seeds.push([&[0][..], &(content.len() as u32).to_le_bytes(), &content].concat());
    let runs = [&[0x1f, b'x', 1, 0][..], &[255; 40], &[7, 0x50], b"xxxxx"].concat();
    seeds.push([&[1][..], &(1u32 + 4 + 15 + 40 * 255 + 7 + 5).to_le_bytes(), &runs].concat());
    seeds
}
