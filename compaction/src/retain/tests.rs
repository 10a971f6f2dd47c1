//! Text cases and a check against the plain meaning: what a reader sees at any point it may read at
//! never changes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Judges versions written like `a9P`: key, sequence, Put or Delete.
fn survivors(versions: &str, rules: Rules<'_>, below: Below<'_>) -> String {
    let mut retain = Retain::new(rules, below);
    let mut kept = Vec::new();
    for version in versions.split_whitespace() {
        let (name, rest) = version.split_at(1);
        let (seq, kind) = rest.split_at(rest.len() - 1);
        let kind = if kind == "P" { EntryKind::Put } else { EntryKind::Delete };
        let seq = SeqNo(seq.parse().unwrap());
        if retain.keeps(&InternalKey { user_key: name.as_bytes(), seq, kind }) {
            kept.push(version);
        }
    }
    kept.join(" ")
}

/// Each line of the file: versions | snapshots | floor | options | what survives.
#[test]
fn text_cases() {
    for line in include_str!("../../testdata/retain.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [versions, snapshots, floor, options, expected] = fields[..] else {
            panic!("five fields: {line}");
        };
        let snapshots: Vec<SeqNo> =
            snapshots.split_whitespace().map(|s| SeqNo(s.parse().unwrap())).collect();
        let floor = floor.parse().ok().map(SeqNo);
        let keep_tombstones = options.contains("keep");
        let rules = Rules { snapshots: &snapshots, floor, keep_tombstones };
        let nothing = Below { levels: Vec::new(), loose: Vec::new(), unknown: false };
        let below = if options.contains("deeper") { Below::unknown() } else { nothing };
        assert_eq!(survivors(versions, rules, below), expected, "{line}");
    }
}

/// What a reader at `seq` sees of each key: the sequence number of its put.
fn seen(entries: &[(u8, u64, bool)], deeper: &[u8], seq: u64) -> BTreeMap<u8, u64> {
    let mut newest: BTreeMap<u8, (u64, bool)> =
        deeper.iter().map(|&key| (key, (0, true))).collect();
    for &(key, at, put) in entries {
        let place = newest.entry(key).or_insert((at, put));
        if at <= seq && at >= place.0 || place.0 > seq {
            *place = (at, put);
        }
    }
    let visible = newest.into_iter().filter(|(_, (at, put))| *put && *at <= seq);
    visible.map(|(key, (at, _))| (key, at)).collect()
}

proptest! {
    #[test]
    fn no_reader_sees_a_difference(
        entries in prop::collection::btree_set((0u8..4, 1u64..30), 0..40),
        puts: u64,
        snapshots in prop::collection::btree_set(0u64..30, 0..4),
        visible in 10u64..32,
        floor in prop::option::of(0u64..32),
        keep_tombstones: bool,
        deeper in prop::collection::btree_set(0u8..4, 0..4),
    ) {
        // One sequence number belongs to one entry.
        let mut used = std::collections::BTreeSet::new();
        let entries: Vec<(u8, u64, bool)> = entries
            .into_iter()
            .filter(|&(_, seq)| used.insert(seq))
            .map(|(key, seq)| (key, seq, puts >> seq & 1 == 1))
            .collect();
        let deeper: Vec<u8> = deeper.into_iter().collect();
        let mut snapshots: Vec<SeqNo> =
            snapshots.into_iter().filter(|&s| s < visible).map(SeqNo).collect();
        snapshots.push(SeqNo(visible));
        let floor = floor.filter(|&floor| floor <= visible).map(SeqNo);
        // Each deeper key has a file of its own, so that only its deletes must stay.
        let files: Vec<_> = deeper.iter().map(|&key| Arc::new(deep_file(key))).collect();
        let rules = Rules { snapshots: &snapshots, floor, keep_tombstones };
        let below = Below { levels: vec![(&files, 0)], loose: Vec::new(), unknown: false };
        let mut retain = Retain::new(rules, below);
        let mut sorted = entries.clone();
        sorted.sort_by_key(|&(key, seq, _)| (key, std::cmp::Reverse(seq)));
        let kind = |put| if put { EntryKind::Put } else { EntryKind::Delete };
        let kept: Vec<(u8, u64, bool)> = sorted
            .into_iter()
            .filter(|&(key, seq, put)| {
                retain.keeps(&InternalKey { user_key: &[key], seq: SeqNo(seq), kind: kind(put) })
            })
            .collect();
        let mut points: Vec<u64> = snapshots.iter().map(|s| s.0).collect();
        points.extend(floor.into_iter().flat_map(|floor| floor.0..40));
        points.extend(visible..40);
        for point in points {
            let expected = seen(&entries, &deeper, point);
            prop_assert_eq!(seen(&kept, &deeper, point), expected, "at {}", point);
        }
        // And nothing is kept that no point sees, but for deletes.
        let interesting = |seq: u64| floor.is_some_and(|f| seq > f.0) || seq > visible;
        for &(key, seq, put) in kept.iter().filter(|&&(_, seq, put)| put && !interesting(seq)) {
            let at = |point: u64| seen(&entries, &deeper, point).get(&key) == Some(&seq);
            let by_floor = floor.is_some_and(|floor| at(floor.0));
            prop_assert!(put && (by_floor || snapshots.iter().any(|s| at(s.0))));
        }
    }
}

#[test]
fn older_files_of_level_0_keep_the_deletes_above_them() {
    let at = |number, seq| {
        let (number, seq) = (FileNumber(number), SeqNo(seq));
        Arc::new(FileMeta { number, min_seq: seq, max_seq: seq, ..deep_file(b'a') })
    };
    let levels = vec![vec![at(4, 40), at(3, 30), at(2, 20), at(1, 10)]];
    let rules = Rules { snapshots: &[SeqNo(50)], floor: None, keep_tombstones: false };
    let merge = |inputs: std::ops::Range<usize>, output_level| {
        let inputs = levels[0][inputs].iter().map(|file| (0, file.clone())).collect();
        let (kind, reason) = (crate::TaskKind::Merge, "test");
        Below::of_task(&Task { inputs, output_level, kind, reason }, &levels)
    };
    assert_eq!(survivors("a30D a20P b30D", rules, merge(1..3, 0)), "a30D");
    // The file above the merged ones is newer, and below them is nothing.
    assert_eq!(survivors("a30D a20P b30D", rules, merge(1..4, 6)), "");
    assert_eq!(survivors("a20D", rules, merge(0..4, 6)), "");
}

fn deep_file(key: u8) -> FileMeta {
    let bound = esker_base::key::encode(&[key], SeqNo(0), EntryKind::Put);
    FileMeta {
        number: FileNumber(1),
        file_id: Default::default(),
        len: 1,
        checksum: 0,
        smallest: bound.clone(),
        largest: bound,
        min_seq: SeqNo(0),
        max_seq: SeqNo(0),
        entry_count: 1,
        delete_count: 0,
        seq_override: None,
        created_ms: 0,
        values: Vec::new(),
    }
}
