//! Random files against a sorted list: point reads at every sequence, walks in both directions, runs of files.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_base::{Cursor, EntryKind, SeqNo, key};
use proptest::prelude::*;

use super::*;
use crate::{Compression, FilterKind, LevelCursor, key_hash};

/// A cursor over a sorted list.
struct Model<'a> {
    entries: &'a [Entry],
    at: Option<usize>,
}

impl Model<'_> {
    fn stand(&mut self, at: Option<usize>) {
        self.at = at.filter(|&at| at < self.entries.len());
    }

    fn current(&self) -> Option<(&[u8], &[u8])> {
        self.at.map(|at| (&self.entries[at].0[..], &self.entries[at].1[..]))
    }
}

type Walk = Vec<(u8, Vec<u8>, u64)>;

/// Takes the same steps on both and compares after each.
fn walk(
    cursor: &mut impl Cursor,
    entries: &[Entry],
    steps: &Walk,
) -> std::result::Result<(), TestCaseError> {
    let mut model = Model { entries, at: None };
    for (step, user_key, seq) in steps {
        let target = key::seek_key(user_key, SeqNo(*seq));
        // Half of the backward seeks hit a key exactly.
        let exact = key::encode(user_key, SeqNo(*seq), EntryKind::Put);
        match step {
            0 => {
                cursor.seek_to_first()?;
                model.stand(Some(0));
            }
            1 => {
                cursor.seek_to_last()?;
                model.stand(entries.len().checked_sub(1));
            }
            2 => {
                // An announcement may be missing, or of another target.
                match seq % 3 {
                    0 => cursor.announce_seek(&target),
                    1 => cursor.announce_seek(&key::seek_key(b"user5", SeqNo(3))),
                    _ => {}
                }
                cursor.seek(&target)?;
                model.stand(Some(entries.partition_point(|e| key::compare(&e.0, &target).is_lt())));
            }
            3 => {
                cursor.seek_for_prev(&exact)?;
                let after = entries.partition_point(|e| key::compare(&e.0, &exact).is_le());
                model.stand(after.checked_sub(1));
            }
            4..8 if model.at.is_some() => {
                cursor.next()?;
                model.stand(model.at.map(|at| at + 1));
            }
            8.. if model.at.is_some() => {
                cursor.prev()?;
                model.stand(model.at.and_then(|at| at.checked_sub(1)));
            }
            _ => {}
        }
        prop_assert_eq!(cursor.valid(), model.at.is_some());
        if let Some((key, value)) = model.current() {
            prop_assert_eq!(cursor.key(), key);
            prop_assert_eq!(cursor.value(), value);
        }
    }
    Ok(())
}

fn user_keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(0u8..4, 0..6),
        prop::collection::vec(any::<u8>(), 0..20),
        "user[0-9]{4}".prop_map(String::into_bytes),
    ]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (0usize..900, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn entry_lists() -> impl Strategy<Value = Vec<Entry>> {
    let versions = prop::collection::btree_map(0u64..6, (any::<bool>(), values()), 1..4);
    prop::collection::btree_map(user_keys(), versions, 1..60).prop_map(
        |all: BTreeMap<_, BTreeMap<_, (bool, Vec<u8>)>>| {
            let mut entries = Vec::new();
            for (user_key, versions) in &all {
                for (&seq, (is_put, value)) in versions.iter().rev() {
                    entries.push(match is_put {
                        true => put(user_key, seq, value),
                        false => delete(user_key, seq),
                    });
                }
            }
            entries
        },
    )
}

fn options() -> impl Strategy<Value = WriterOptions> {
    (256usize..2000, 1usize..20, any::<bool>(), 0u32..12, any::<bool>()).prop_map(
        |(block_size_bytes, restart_interval, lz4, filter_bits_per_key, bloom)| WriterOptions {
            block_size_bytes,
            restart_interval,
            compression: if lz4 { Compression::Lz4 } else { Compression::None },
            filter_bits_per_key,
            filter_kind: if bloom { FilterKind::Bloom } else { FilterKind::Blocked },
            ..WriterOptions::default()
        },
    )
}

fn walks() -> impl Strategy<Value = Walk> {
    prop::collection::vec((0u8..12, user_keys(), 0u64..7), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_file_reads_like_the_list_it_was_written_from(
        entries in entry_lists(),
        options in options(),
        strangers in prop::collection::vec(user_keys(), 20),
        steps in walks(),
        cache_bytes in prop_oneof![Just(0u64), Just(3000), Just(1 << 20)],
    ) {
        let fs = disk();
        let summary = write(&fs, 1, &entries, options);
        let bytes = bytes_of(&fs, 1);
        prop_assert_eq!(summary.len, bytes.len() as u64);
        prop_assert_eq!(summary.checksum, esker_base::checksum::plain(&bytes));
        prop_assert_eq!(&summary.smallest, &entries[0].0);
        prop_assert_eq!(&summary.largest, &entries[entries.len() - 1].0);
        for mode in BOTH_MODES {
            let reader = open_cached(&fs, &Identity::from(&summary), mode, cache_bytes)?;
            let present = entries.iter().map(|(key, _)| key::user_key(key));
            for user_key in present.chain(strangers.iter().map(|key| &key[..])) {
                for seq in (0..7).chain([SeqNo::MAX.0]) {
                    let want = expected(&entries, user_key, seq)
                        .map(|(seq, kind, value)| (seq, kind, value.to_vec()));
                    prop_assert_eq!(found(&reader, user_key, seq)?, want.clone());
                    reader.announce(user_key, SeqNo(seq));
                    let hash = key_hash(user_key);
                    let announced = reader.get_announced(user_key, hash, SeqNo(seq))?;
                    let announced = announced.map(|hit| (hit.seq.0, hit.kind, hit.value.to_vec()));
                    prop_assert_eq!(announced, want.clone());
                    let borrowed = reader.get_with(user_key, key_hash(user_key), SeqNo(seq), |hit| {
                        (hit.seq.0, hit.kind, hit.value.to_vec())
                    })?;
                    prop_assert_eq!(borrowed, want);
                }
            }
            for (key, _) in &entries {
                prop_assert!(reader.may_contain(key::user_key(key)));
            }
            prop_assert_eq!(&scan(&mut reader.cursor(false))?, &entries);
            walk(&mut reader.cursor(true), &entries, &steps)?;
            walk(&mut reader.cursor(false), &entries, &steps)?;
            let report = reader.verify()?;
            prop_assert_eq!(report.entries, entries.len() as u64);
            prop_assert_eq!(report.bytes, summary.len);
            let counted: usize = reader.blocks().map(|block| block.unwrap().entry_count).sum();
            prop_assert_eq!(counted, entries.len());
        }
    }

    #[test]
    fn a_run_of_files_reads_like_one(
        entries in entry_lists(),
        cuts in prop::collection::btree_set(1usize..120, 0..5),
        steps in walks(),
    ) {
        let fs = disk();
        let mut readers: Vec<Arc<Reader>> = Vec::new();
        let mut start = 0;
        let ends = cuts.into_iter().filter(|&cut| cut < entries.len()).chain([entries.len()]);
        for (number, end) in ends.enumerate() {
            let options = WriterOptions { block_size_bytes: 300, ..WriterOptions::default() };
            let summary = write(&fs, number as u64 + 1, &entries[start..end], options);
            readers.push(open(&fs, &Identity::from(&summary), ReadMode::Positioned)?);
            start = end;
        }
        prop_assert_eq!(&scan(&mut LevelCursor::new(readers.clone(), true))?, &entries);
        walk(&mut LevelCursor::new(readers, false), &entries, &steps)?;
        walk(&mut LevelCursor::new(Vec::<Arc<Reader>>::new(), false), &[], &steps)?;
    }
}

#[test]
fn many_blocks_read_right_in_both_directions() {
    let entries: Vec<_> =
        (0..12_000u32).map(|n| put(format!("key{n:06}").as_bytes(), 7, &n.to_le_bytes())).collect();
    let fs = disk();
    let summary = write(&fs, 1, &entries, WriterOptions::default());
    for mode in BOTH_MODES {
        let reader = open(&fs, &Identity::from(&summary), mode).unwrap();
        assert!(reader.properties().block_count > 20);
        let mut cursor = reader.cursor(false);
        cursor.seek_to_last().unwrap();
        for (key, value) in entries.iter().rev() {
            assert_eq!((cursor.key(), cursor.value()), (&key[..], &value[..]));
            cursor.prev().unwrap();
        }
        assert!(!cursor.valid());
        for (n, (key, value)) in entries.iter().enumerate() {
            let user_key = key::user_key(key);
            assert_eq!(found(&reader, user_key, 7).unwrap().unwrap().2, *value, "{n}");
            assert_eq!(found(&reader, user_key, 6).unwrap(), None);
        }
    }
}
