//! The bytes of format version 2, pinned. If a test here fails, the format changed: that needs a new version.

use esker_base::KeyspaceId;

use super::*;
use crate::block_builder::BlockBuilder;
use crate::block_cursor::BlockCursor;
use crate::format::{self, BlockHandle, Footer};
use crate::{Compression, FilterKind};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn header_and_footer_are_pinned() {
    assert_eq!(
        hex(&format::encode_header(file_id(1))),
        "45534b455253535402000000000000000000000000000000\
         1111111111111111111111111111111100000000d9fc0691"
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

/// A file of format version 2 with two data blocks, written by 0.1.0.
const FILE: &str = "\
    45534b45525353540200000000000000000000000000000011111111111111111111111111111111\
    00000000d9fc06910202010500000000000002001c00000000000f00030000050301026170706c65\
    050000000000079601010161707269636f7472656478787878787878787878787878787878787878\
    78787878787878787878787878787878787878787878787878787878787878787878787878787878\
    78787878787878787878787878787878787878787878787878787878787878787878787878787878\
    78787878787878787878787878787878787878787878787878787878787878787878787878787878\
    787878787878787878787800cb00000075e2ba010200020200000000000001000900000000000006\
    3c62616e616e61797979797979797979797979797979797979797979797979797979797979797979\
    79797979797979797979797979797979797979797979797979797900570000001d83995300010000\
    000000000000d401620105000000000000000060616e616e61001d0000009ee4e85d020601000000\
    02010000020000200000004000000000000000500000000000000000400000000010000000000000\
    01000802100000000000090800000000008000000042000000e0e3fa380100080000000400000000\
    00000002000800000001000000000000000300080000000200000000000000040008000000070000\
    00000000000500080000001700000000000000060008000000d50000000000000007000800000003\
    0000000000000008000d0000006170706c65020700000000000009000e00000062616e616e610202\
    0000000000000a000b00000065736b657220302e312e300b0008000000020000000000000000a800\
    00007113d3aa6401000000000000260000008a010000000000004b000000d501000000000000b100\
    0000000000000000000000000000ce020000000000000000000045534b4552454e4449b40ca9";

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

/// One piece: two literals (`ab`), a match of 27 bytes at distance 1, six literals.
#[test]
fn packed_values_are_pinned() {
    let mut block = BlockBuilder::new(16);
    block.add(b"k", 7 << 8 | 1, &[b"a", &[b'b'; 34][..]].concat());
    let stored = block.finish(Compression::Lz4, |block| {
        assert_eq!((block.compression, block.len), (Compression::Lz4, 22 + 35));
        block.content.to_vec()
    });
    assert_eq!(
        hex(&stored),
        "0200010700000000000001000400000000000001236b\
         010023000d00\
         2f616201000860626262626262"
    );
    let mut cursor = BlockCursor::default();
    cursor.reset(stored.into(), Compression::Lz4).unwrap();
    cursor.seek_to_first().unwrap();
    assert_eq!(cursor.value(), [b"a", &[b'b'; 34][..]].concat());
}
