//! The bytes of format version 1, pinned. If a test here fails, the format changed: that needs a new version.

use esker_base::KeyspaceId;

use super::*;
use crate::format::{self, BlockHandle, Footer};
use crate::{Compression, FilterKind};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn header_and_footer_are_pinned() {
    assert_eq!(
        hex(&format::encode_header(file_id(1))),
        "45534b455253535401000000000000000000000000000000\
         11111111111111111111111111111111000000002787e6f5"
    );
    let footer = Footer {
        index: BlockHandle { offset: 100, len: 30 },
        filter: BlockHandle::default(),
        properties: BlockHandle { offset: 130, len: 98 },
        file_len: 300,
    };
    let bytes = footer.encode(file_id(1));
    assert_eq!(Footer::decode(file_id(1), 300, &bytes), Ok(footer));
    assert_eq!(
        hex(&bytes),
        "64000000000000001e000000\
         000000000000000000000000\
         820000000000000062000000\
         000000000000000000000000\
         2c0100000000000000000000\
         45534b4552454e44d1931f5d"
    );
}

/// A file of format version 1 with two data blocks, written by 0.1.0.
const FILE: &str = "\
    45534b45525353540100000000000000000000000000000011111111111111111111111111111111\
    000000002787e6f5020000002e00000000000000000000001b000000030000000005030207000000\
    0000006170706c65050000010500000000000000079601020600000000000061707269636f747265\
    64787878787878787878787878787878787878787878787878787878787878787878787878787878\
    78787878787878787878787878787878787878787878787878787878787878787878787878787878\
    78787878787878787878787878787878787878787878787878787878787878787878787878787878\
    7878787878787878787878787878787878787878787878787878787878787800df00000019a7f250\
    0100000011000000000000000000000000063c020200000000000062616e616e6179797979797979\
    79797979797979797979797979797979797979797979797979797979797979797979797979797979\
    79797979797979797979797979005d0000009571c62500010000000000000000e801620105000000\
    000000000066616e616e61001d0000003f5f440c0206010000000201000002000020000000400000\
    00000000005000000000000000004000000000100000000000000100080210000000000009080000\
    000000800000004200000020a7a6a001000800000004000000000000000200080000000100000000\
    00000003000800000002000000000000000400080000000700000000000000050008000000170000\
    0000000000060008000000d500000000000000070008000000030000000000000008000d00000061\
    70706c65020700000000000009000e00000062616e616e6102020000000000000a000b0000006573\
    6b657220302e312e300b0008000000020000000000000000a800000016b216d47e01000000000000\
    26000000a4010000000000004b000000ef01000000000000b1000000000000000000000000000000\
    e8020000000000000000000045534b4552454e44e06e4c2c";

fn entries() -> Vec<Entry> {
    vec![
        put(b"apple", 7, b"red"),
        delete(b"apple", 5),
        put(b"apricot", 6, &[b'x'; 150]),
        put(b"banana", 2, &[b'y'; 60]),
    ]
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.iter().map(byte).collect()
}

#[test]
fn a_whole_file_is_pinned() {
    let options = WriterOptions {
        block_size_bytes: 256,
        restart_interval: 2,
        compression: Compression::None,
        filter_bits_per_key: 10,
        filter_kind: FilterKind::Blocked,
        keyspace: KeyspaceId(3),
    };
    let fs = disk();
    let summary = write(&fs, 1, &entries(), options);
    let written = bytes_of(&fs, 1);
    let reader = open(&fs, &Identity::from(&summary), ReadMode::Mapped).unwrap();
    // The properties name the version that wrote the file, which changes; everything before them must not.
    let stable = reader.footer().properties.offset as usize;
    let pinned = unhex(FILE);
    let head = pinned.get(..stable).unwrap_or_default();
    assert_eq!(hex(&written[..stable]), hex(head), "all: {}", hex(&written));
}

#[test]
fn a_file_of_version_0_1_0_opens_for_ever() {
    let bytes = unhex(FILE);
    let identity = Identity {
        number: FileNumber(1),
        file_id: file_id(1),
        len: bytes.len() as u64,
        checksum: esker_base::checksum::plain(&bytes),
    };
    for mode in BOTH_MODES {
        let reader = open(&disk_with(1, &bytes), &identity, mode).unwrap();
        assert_eq!(scan(&mut reader.cursor(true)).unwrap(), entries());
        assert_eq!(reader.verify().unwrap().blocks, 2);
        let properties = reader.properties();
        assert_eq!(properties.creator, "esker 0.1.0");
        assert_eq!((properties.keyspace, properties.delete_count), (KeyspaceId(3), 1));
        assert_eq!((properties.min_seq, properties.max_seq), (SeqNo(2), SeqNo(7)));
    }
}

/// As the lz4 block format has it: two literals (`ab`), a match of 28 bytes at distance 1, five literals.
#[test]
fn an_lz4_block_is_pinned() {
    let mut stored = unhex("2f6162010009506262626262");
    format::seal_block(file_id(1), 48, Compression::Lz4, 35, &mut stored);
    assert_eq!(hex(&stored), "2f616201000950626262626201230000005704771e");
    let (compression, content, len) = format::open_block(file_id(1), 48, &stored).unwrap();
    assert_eq!(compression, Compression::Lz4);
    let content = format::decompress(content, len).unwrap();
    assert_eq!(content, [b"a", &[b'b'; 34][..]].concat());
}
