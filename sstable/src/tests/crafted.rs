//! Files whose checksums match but whose content no writer of ours would produce: a newer version's, or an attacker's.
//! Nothing may panic, and verify must tell.

use esker_base::{ErrorKind, checksum};
use proptest::prelude::*;

use super::*;
use crate::block_builder::BlockBuilder;
use crate::format::{self, BLOCK_TRAILER_LEN, Compression, Footer};
use crate::index::IndexBuilder;
use crate::properties::Properties;

/// Assembles a file from parts, sealing each with a right checksum.
struct Parts {
    blocks: Vec<Vec<u8>>,
    /// Separators as (last key, next key) of each block.
    index: Vec<u8>,
    filter: Option<Vec<u8>>,
    properties: Vec<u8>,
}

impl Parts {
    /// One block with these entries, in the order given, valid or not.
    fn of(entries: &[Entry]) -> Parts {
        let mut block = BlockBuilder::new(4);
        for (key, value) in entries {
            let (user_key, trailer) = key.split_last_chunk::<8>().unwrap();
            block.add(user_key, u64::from_le_bytes(*trailer), value);
        }
        let content = block.finish(Compression::None, |block| block.content.to_vec());
        let mut index = IndexBuilder::default();
        index.add(&entries.last().unwrap().0, None, (content.len() + BLOCK_TRAILER_LEN) as u32);
        let seqs = || entries.iter().map(|(key, _)| format::u64_at(key, key.len() - 8) >> 8);
        let properties = Properties {
            entry_count: entries.len() as u64,
            min_seq: SeqNo(seqs().min().unwrap()),
            max_seq: SeqNo(seqs().max().unwrap()),
            raw_key_bytes: entries.iter().map(|(key, _)| key.len() as u64 - 8).sum(),
            raw_value_bytes: entries.iter().map(|(_, value)| value.len() as u64).sum(),
            smallest: put(b"", 1, b"").0,
            largest: put(b"", 1, b"").0,
            block_count: 1,
            ..Properties::default()
        };
        let index = index.finish();
        Parts { blocks: vec![content], index, filter: None, properties: properties.encode() }
    }

    fn build(&self) -> (Arc<dyn Fs>, Identity) {
        let id = file_id(1);
        let mut bytes = format::encode_header(id).to_vec();
        let append = |bytes: &mut Vec<u8>, content: &[u8]| {
            let mut stored = content.to_vec();
            let offset = bytes.len() as u64;
            format::seal_block(id, offset, Compression::None, content.len(), &mut stored);
            bytes.extend_from_slice(&stored);
            format::BlockHandle { offset, len: stored.len() as u32 }
        };
        for block in &self.blocks {
            append(&mut bytes, block);
        }
        let mut footer = Footer { index: append(&mut bytes, &self.index), ..Footer::default() };
        if let Some(filter) = &self.filter {
            footer.filter = append(&mut bytes, filter);
        }
        footer.properties = append(&mut bytes, &self.properties);
        footer.file_len = (bytes.len() + format::FOOTER_LEN) as u64;
        bytes.extend_from_slice(&footer.encode(id));
        let identity = Identity {
            number: FileNumber(1),
            file_id: id,
            len: bytes.len() as u64,
            checksum: checksum::plain(&bytes),
        };
        (disk_with(1, &bytes), identity)
    }
}

#[test]
fn reserved_kinds_are_unsupported_and_unknown_ones_corruption() {
    for (kind, want) in [
        (0u8, ErrorKind::Corruption),
        (3, ErrorKind::Unsupported),
        (4, ErrorKind::Unsupported),
        // A value pointer, but the value is none.
        (5, ErrorKind::Corruption),
        (6, ErrorKind::Unsupported),
        (7, ErrorKind::Corruption),
        (255, ErrorKind::Corruption),
    ] {
        let entry = ([b"k", &(5u64 << 8 | u64::from(kind)).to_le_bytes()[..]].concat(), vec![1]);
        let (fs, identity) = Parts::of(&[entry]).build();
        for mode in BOTH_MODES {
            let reader = open(&fs, &identity, mode).unwrap();
            assert_eq!(found(&reader, b"k", 9).unwrap_err().kind(), want, "{kind}");
            let mut cursor = reader.cursor(true);
            assert_eq!(cursor.seek_to_first().unwrap_err().kind(), want, "{kind}");
            assert!(!cursor.valid());
            assert_eq!(cursor.seek_to_last().unwrap_err().kind(), want, "{kind}");
            assert!(!cursor.valid());
            assert_eq!(reader.verify().unwrap_err().kind(), want, "{kind}");
        }
    }
}

#[test]
fn verify_finds_what_checksums_cannot() {
    let fails = |parts: &Parts, what: &str| {
        let (fs, identity) = parts.build();
        let error =
            open(&fs, &identity, ReadMode::Mapped).and_then(|reader| reader.verify()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.to_string().contains(what), "{error}");
    };
    let (a, b) = (put(b"a", 5, b"1"), put(b"b", 5, b"2"));
    fails(&Parts::of(&[b.clone(), a.clone()]), "out of order");
    fails(&Parts::of(&[a.clone(), a.clone()]), "out of order");

    let good = || Parts::of(&[a.clone(), b.clone()]);
    fails(&good(), "properties do not agree");

    let mut denying = good();
    let stranger = [crate::key_hash(b"stranger")];
    denying.filter = Some(crate::filter::build(crate::FilterKind::Blocked, &stranger, 10));
    fails(&denying, "filter denies");

    let mut low = good();
    let mut index = IndexBuilder::default();
    index.add(&a.0, None, (low.blocks[0].len() + BLOCK_TRAILER_LEN) as u32);
    low.index = index.finish();
    fails(&low, "index does not agree");

    // The first separator is at or above what the second block begins with.
    let c = put(b"c", 5, b"3");
    for (between, what) in [
        (&b"ab"[..], ""),
        (&b"b"[..], "index does not agree"),
        (&b"bb"[..], "index does not agree"),
    ] {
        let mut two = Parts::of(&[a.clone(), b.clone(), c.clone()]);
        let second = Parts::of(&[b.clone(), c.clone()]);
        two.blocks =
            vec![Parts::of(std::slice::from_ref(&a)).blocks[0].clone(), second.blocks[0].clone()];
        let mut index = IndexBuilder::default();
        let len = |block: &Vec<u8>| (block.len() + BLOCK_TRAILER_LEN) as u32;
        // A separator that stands for itself: nothing follows it.
        index.add(&put(between, 1, b"").0, None, len(&two.blocks[0]));
        index.add(&c.0, None, len(&two.blocks[1]));
        two.index = index.finish();
        if what.is_empty() {
            fails(&two, "properties do not agree");
        } else {
            fails(&two, what);
        }
    }

    let mut values = good();
    values.blocks[0].push(7);
    let mut index = IndexBuilder::default();
    index.add(&b.0, None, (values.blocks[0].len() + BLOCK_TRAILER_LEN) as u32);
    values.index = index.finish();
    fails(&values, "do not fill their block");

    let mut restarts = good();
    restarts.blocks[0][0] = 0;
    fails(&restarts, "malformed");
    let mut gap = good();
    gap.blocks[0][16] = 1;
    fails(&gap, "malformed");
    // The second restart.
    let many: Vec<_> = (b'a'..=b'z').map(|key| put(&[key], 5, b"1")).collect();
    let mut gap = Parts::of(&many);
    gap.blocks[0][20] += 1;
    fails(&gap, "restart offsets");
}

#[test]
fn a_filter_of_a_later_kind_is_bypassed() {
    let mut parts = Parts::of(&[put(b"a", 5, b"1")]);
    parts.filter = Some(vec![77, 1, 2, 3]);
    let (fs, identity) = parts.build();
    let reader = open(&fs, &identity, ReadMode::Mapped).unwrap();
    assert!(reader.may_contain(b"anything"));
    assert_eq!(found(&reader, b"a", 5).unwrap().unwrap().2, b"1");
}

#[test]
fn newer_formats_and_features_are_unsupported() {
    let fs = disk();
    let summary = write(&fs, 1, &[put(b"a", 1, b"x")], WriterOptions::default());
    let bytes = bytes_of(&fs, 1);
    let with = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        let crc = checksum::plain(&bytes[..44]);
        bytes[44..48].copy_from_slice(&crc.to_le_bytes());
        open(&disk_with(1, &bytes), &Identity::from(&summary), ReadMode::Mapped)
    };
    let kind = |result: Result<Arc<Reader>>| result.unwrap_err().kind();
    for version in [1, 3] {
        assert_eq!(kind(with(&|bytes| bytes[8] = version)), ErrorKind::Unsupported);
    }
    assert_eq!(kind(with(&|bytes| bytes[16] = 1)), ErrorKind::Unsupported);
    assert!(with(&|bytes| bytes[12] = 1).is_ok(), "a compatible feature is ignored");
    // Range tombstones: a footer that names the reserved section.
    let mut tombstones = bytes.clone();
    let at = bytes.len() - format::FOOTER_LEN;
    tombstones[at + 36] = 1;
    let crc = checksum::at(file_id(1), at as u64, &tombstones[at..at + 68]);
    tombstones[at + 68..].copy_from_slice(&crc.to_le_bytes());
    let opened = open(&disk_with(1, &tombstones), &Identity::from(&summary), ReadMode::Mapped);
    assert_eq!(kind(opened), ErrorKind::Unsupported);
}

#[test]
fn an_lz4_block_cannot_claim_more_than_lz4_can_expand() {
    for (claim, content) in [(u32::MAX as usize, &[0x10, 0x41][..]), (10_000, &[0x10, 0x41])] {
        let mut stored = content.to_vec();
        format::seal_block(file_id(1), 48, Compression::Lz4, claim, &mut stored);
        assert!(format::open_block(file_id(1), 48, &stored).is_err(), "{claim}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn sealed_nonsense_never_panics(
        part in 0usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let entries: Vec<_> = (0..12u32)
            .flat_map(|n| [put(format!("k{n:02}").as_bytes(), 9, &[7; 10]), delete(format!("k{n:02}").as_bytes(), 4)])
            .collect();
        let mut parts = Parts::of(&entries);
        let hashes: Vec<_> = entries.iter().map(|(key, _)| crate::key_hash(key::user_key(key))).collect();
        parts.filter = Some(crate::filter::build(crate::FilterKind::Bloom, &hashes, 10));
        let bytes = match part {
            0 => &mut parts.blocks[0],
            1 => &mut parts.index,
            2 => parts.filter.as_mut().unwrap(),
            _ => &mut parts.properties,
        };
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Some(cut) = cut && part != 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (fs, identity) = parts.build();
        for mode in BOTH_MODES {
            let Ok(reader) = open(&fs, &identity, mode) else { continue };
            for (key, _) in &entries {
                let _ = found(&reader, key::user_key(key), 9);
                let _ = found(&reader, key::user_key(key), 4);
                let mut cursor = reader.cursor(true);
                let _ = cursor.seek(key);
                let _ = cursor.seek_for_prev(key);
            }
            let _ = scan(&mut reader.cursor(false));
            let mut cursor = reader.cursor(false);
            let mut result = cursor.seek_to_last();
            while result.is_ok() && cursor.valid() {
                result = cursor.prev();
            }
            let _ = reader.verify();
            let _ = reader.blocks().count();
        }
    }
}
