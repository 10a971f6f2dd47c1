//! The blocks of an sstable: the first byte says which part of a file the rest is. A data block walks forwards and
//! backwards and is searched as a plain reading of its specification says; a wrong index or filter may hide entries, as
//! nothing else tells where they are, but never changes one.

use std::sync::{Arc, LazyLock};

use esker_base::key;
use esker_base::{Cursor, EntryKind, InternalKey, SeqNo, varint};
use esker_sstable::{Compression, FilterKind, ReadMode, Reader, ValuePointer};

use super::parts::{self, Entries, Parts};

const ENTRIES: u64 = 40;

/// A file without a filter, whose parts are replaced.
static SOUND: LazyLock<Parts> = LazyLock::new(|| Parts::written(ENTRIES, None, Compression::None));

/// Reads the rest of `data` as the part that its first byte says.
pub fn check(data: &[u8]) {
    let Some((choice, part)) = data.split_first() else { return };
    let mode = if choice & 4 == 0 { ReadMode::Positioned } else { ReadMode::Mapped };
    match choice % 4 {
        0 => data_block(part, mode),
        1 => known_entries(Parts { index: part.to_vec(), ..SOUND.clone() }, mode),
        2 => known_entries(Parts { filter: Some(part.to_vec()), ..SOUND.clone() }, mode),
        _ => stored_block(part, mode),
    }
}

/// A file of one data block.
fn data_block(content: &[u8], mode: ReadMode) {
    let block = parts::plain(content);
    let index = parts::index_of_one(&block);
    let file = Parts { blocks: vec![block], index, ..SOUND.clone() }.file();
    let reader = parts::open(&file, mode).expect("only the data block may be damaged");
    let walks = [true, false].map(|forward| {
        // Through the cache, and as compaction reads.
        let [cached, direct] = [true, false].map(|fill| parts::walk(&reader, forward, fill));
        match (&cached, &direct) {
            (Ok(one), Ok(other)) => assert_eq!(one, other),
            (Err(one), Err(other)) => assert_eq!(one.kind(), other.kind()),
            _ => panic!("{cached:?}, but {direct:?}"),
        }
        cached
    });
    for error in walks.iter().filter_map(|walk| walk.as_ref().err()) {
        parts::expected(error);
    }
    let known = parse(content);
    search(&reader, known.as_ref());
    let Some(known) = known else { return };
    let [forward, backward] = walks.map(|walk| walk.expect("the block is as specified"));
    assert_eq!(forward, known);
    assert!(backward.iter().rev().eq(&known), "backward is not the reverse of forward");
}

/// Point reads and seeks; right where the block is sound.
fn search(reader: &Arc<Reader>, known: Option<&Entries>) {
    let fixed = [&b""[..], b"key 007", b"key 100", &[0xff; 20]].map(|user_key| user_key.to_vec());
    let of_block = known.into_iter().flatten().map(|(key, _)| key::user_key(key).to_vec());
    for user_key in fixed.into_iter().chain(of_block) {
        for seq in [SeqNo::MAX, SeqNo(1990), SeqNo(0)] {
            let target = key::seek_key(&user_key, seq);
            let found = reader.get(&user_key, seq);
            let mut cursor = reader.cursor(true);
            let sought = cursor.seek(&target);
            let Some(known) = known else {
                found.map(drop).unwrap_or_else(|error| parts::expected(&error));
                sought.unwrap_or_else(|error| parts::expected(&error));
                continue;
            };
            sought.expect("the block is sound");
            let next = known.iter().find(|(key, _)| key::compare(key, &target).is_ge());
            // The separator stands behind what is mostly 0xff.
            if user_key[..] <= [0xff; 99][..] {
                let at = cursor.valid().then(|| (cursor.key().to_vec(), cursor.value().to_vec()));
                assert_eq!(at.as_ref(), next);
                let found = found.expect("the block is sound");
                let version = next.filter(|(key, _)| key::user_key(key) == user_key);
                let expected = version.map(|(key, value)| {
                    (InternalKey::decode(key).expect("parsed").seq, value.clone())
                });
                assert_eq!(found.map(|found| (found.seq, found.value.to_vec())), expected);
            }
        }
    }
    if let Err(error) = reader.verify() {
        parts::expected(&error);
    }
}

/// The entries of a data block that is not packed, if every byte of it is as the format says.
fn parse(content: &[u8]) -> Option<Entries> {
    let ([width, trailer_len, base @ ..], _) = content.split_first_chunk::<10>()?;
    let (width, trailer_len) = (usize::from(*width), usize::from(*trailer_len));
    if !matches!(width, 2 | 4) || trailer_len > 8 {
        return None;
    }
    // Number `at` of the front.
    let number = |at: usize| {
        let bytes = content.get(10 + width * at..10 + width * (at + 1))?;
        Some(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))
    };
    let (restart_count, keys_len) = (number(0)?, number(1)?);
    if restart_count == 0 || restart_count > content.len() {
        return None;
    }
    let mut restarts =
        (0..restart_count).map(|at| Some((number(2 + 2 * at)?, number(3 + 2 * at)?)));
    let keys_start = 10 + width * (2 + 2 * restart_count);
    let keys = content.get(keys_start..)?.get(..keys_len)?;
    let values = &content[keys_start + keys_len..];
    let (mut rest, mut value_at) = (keys, 0);
    let mut next_restart = restarts.next()?;
    let mut entries = Entries::new();
    let mut last: Vec<u8> = Vec::new();
    while !rest.is_empty() {
        let at = keys.len() - rest.len();
        let is_restart = next_restart? == (at, value_at) || entries.is_empty();
        if entries.is_empty() && next_restart? != (0, 0) {
            return None;
        }
        let mut len = || usize::try_from(varint::decode(&mut rest)?).ok();
        let (shared, unshared, value_len) = (len()?, len()?, len()?);
        let (counted, behind) = rest.split_at_checked(trailer_len)?;
        let counted = counted.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let trailer = u64::from_le_bytes(*base).wrapping_add(counted).to_le_bytes();
        let (suffix, behind) = behind.split_at_checked(unshared)?;
        rest = behind;
        let mut internal = last.get(..shared)?.to_vec();
        internal.extend_from_slice(suffix);
        let common = internal.iter().zip(&last).take_while(|(a, b)| a == b).count();
        if shared != if is_restart { 0 } else { common } {
            return None;
        }
        last.clone_from(&internal);
        internal.extend_from_slice(&trailer);
        let kind = InternalKey::decode(&internal)?.kind;
        let value = values.get(value_at..value_at.checked_add(value_len)?)?;
        value_at += value_len;
        let ascends = entries.last().is_none_or(|(key, _)| key::compare(key, &internal).is_lt());
        let is_sound = match kind {
            EntryKind::Put | EntryKind::Delete => true,
            EntryKind::ValuePointer => ValuePointer::decode(value).is_some(),
            _ => false,
        };
        if !is_sound || !ascends {
            return None;
        }
        if is_restart {
            next_restart = restarts.next().unwrap_or(Some((usize::MAX, 0)));
        }
        entries.push((internal, value.to_vec()));
    }
    // Every restart was met.
    (!entries.is_empty() && next_restart? == (usize::MAX, 0)).then_some(entries)
}

/// A file whose data blocks are sound: what is found in it is what was written.
fn known_entries(parts: Parts, mode: ReadMode) {
    let known = parts::written_entries(ENTRIES);
    let reader = match parts::open(&parts.file(), mode) {
        Ok(reader) => reader,
        Err(error) => return parts::expected(&error),
    };
    for forward in [true, false] {
        match parts::walk(&reader, forward, true) {
            Ok(mut entries) => {
                if !forward {
                    entries.reverse();
                }
                assert_eq!(entries, known);
            }
            Err(error) => parts::expected(&error),
        }
    }
    for (internal, _) in &known {
        let InternalKey { user_key, seq, .. } = InternalKey::decode(internal).expect("written");
        let denied = !reader.may_contain(user_key);
        match reader.get(user_key, seq) {
            // A wrong separator may hide the newest version, never make one up.
            Ok(Some(found)) => {
                assert!(!denied && found.seq <= seq, "found what was not asked for");
                let found_key = key::encode(user_key, found.seq, found.kind);
                assert!(known.iter().any(|(key, v)| *key == found_key && v[..] == found.value[..]));
            }
            Ok(None) => {}
            Err(error) => parts::expected(&error),
        }
    }
    if let Err(error) = reader.verify() {
        parts::expected(&error);
    }
}

/// A block as the disk gives it: what is not exactly a block of that place is an error.
fn stored_block(bytes: &[u8], mode: ReadMode) {
    let index = parts::index_of_one(&bytes.to_vec());
    let mut file = Parts { blocks: vec![bytes.to_vec()], index, ..SOUND.clone() }.file();
    // The checksum as it came, instead of the one that was made.
    if let Some(at) = bytes.len().checked_sub(4) {
        file[48 + at..48 + bytes.len()].copy_from_slice(&bytes[at..]);
    }
    let reader = match parts::open(&file, mode) {
        Ok(reader) => reader,
        Err(error) => return parts::expected(&error),
    };
    search(&reader, None);
    for forward in [true, false] {
        if let Err(error) = parts::walk(&reader, forward, false) {
            parts::expected(&error);
        }
    }
}

/// Every part of sound files.
pub fn seeds() -> Vec<Vec<u8>> {
    let with = |choice: u8, part: &[u8]| [&[choice], part].concat();
    let mut seeds = Vec::new();
    for block in &SOUND.blocks[..3] {
        seeds.push(with(0, &block[..block.len() - 9]));
    }
    seeds.push(with(4, &SOUND.blocks[3][..SOUND.blocks[3].len() - 9]));
    seeds.push(with(1, &SOUND.index));
    for (choice, kind) in [(2, FilterKind::Bloom), (6, FilterKind::Blocked)] {
        let filter = Parts::written(ENTRIES, Some(kind), Compression::None).filter;
        seeds.push(with(choice, &filter.expect("asked for")));
    }
    // The first block stands where the target puts its own.
    seeds.push(with(3, &SOUND.blocks[0]));
    seeds.push(with(7, &Parts::written(ENTRIES, None, Compression::Lz4).blocks[0]));
    seeds
}
