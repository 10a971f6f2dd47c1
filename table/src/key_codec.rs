//! How keys are stored: the bytes that the engine orders. Write operations and backfills encode,
//! reads decode and build ranges. This file is the format's only description; a golden test pins
//! it. Nothing here looks at names: the caller passes key values in key-schema order.
//!
//! Every key of a table starts with a hash of its partition key, so that partitions spread evenly,
//! a segment of a parallel scan is one range of hashes, and a table can be split by range. Integers
//! are big-endian.
//!
//! Parts of which keys are made:
//!
//! | part | bytes |
//! |---|---|
//! | tagged | type (1: 0x01 S, 0x02 N, 0x03 B), then the raw form |
//! | length-prefixed | length of the tagged form (2), then the tagged form |
//! | raw | S its UTF-8, B its bytes, N its byte form (`number.rs`) |
//! | self-delimiting | N as raw; S and B with 0x00 as `00 FF`, then the end `00 01` |
//!
//! Keys:
//!
//! | key | bytes |
//! |---|---|
//! | base | hash of the tagged partition key (8), partition key length-prefixed, sort key raw |
//! | global index | hash (8), HASH parts length-prefixed, RANGE parts self-delimiting, base key |
//! | local index | as base, the index sort key self-delimiting before the base sort key |
//!
//! The hash is algorithm 1: XXH3 64 bits with seed 0; in a global index, of all HASH parts as they
//! follow it.
//!
//! Equal numbers have one byte form, so `1` and `1.0` are one partition. All forms order as the
//! values do: strings by their UTF-8 bytes, binaries by unsigned bytes, numbers by value. The raw
//! sort key stands last, so that `begins_with` is a plain prefix.
//!
//! Example: partition key S `ab`, sort key N `1`: the hash of `01 61 62`, which is `51 39 22 BB D6
//! 7F AD 39`, then `00 03 01 61 62`, then `C0 82 14`.

mod range;

use std::borrow::Cow;
use std::ops::DerefMut;

pub use range::{KeyRange, SortCondition, SortForm, segment_range};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Result, TableError};
use crate::schema::ScalarAttributeType;
use crate::{AttributeValue, Number, message};

/// The hash algorithm of the keys (XXH3, 64 bits, seed 0); stored on disk in the catalog.
pub const HASH_ALGORITHM: u8 = 1;
/// Bytes of the longest partition key value.
pub const MAX_PARTITION_KEY_BYTES: usize = 2048;
/// Bytes of the longest sort key value.
pub const MAX_SORT_KEY_BYTES: usize = 1024;

const HASH_BYTES: usize = 8;
const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xFF;
const END: u8 = 0x01;

/// Bytes that grow: what keys are written to.
pub(crate) trait Sink: DerefMut<Target = [u8]> {
    /// Appends.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl<const N: usize> Sink for SmallVec<[u8; N]>
where
    [u8; N]: smallvec::Array<Item = u8>,
{
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// One value of a key: a string, a number or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart<'a> {
    /// A string.
    S(Cow<'a, str>),
    /// A number.
    N(Number),
    /// Bytes.
    B(Cow<'a, [u8]>),
}

impl<'a> KeyPart<'a> {
    /// The key part that a value is, or `None` where its type cannot be a key.
    pub fn from_value(value: &'a AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::S(text) => Some(Self::S(Cow::Borrowed(text))),
            AttributeValue::N(number) => Some(Self::N(*number)),
            AttributeValue::B(bytes) => Some(Self::B(Cow::Borrowed(bytes))),
            _ => None,
        }
    }

    /// The value again.
    pub fn into_value(self) -> AttributeValue {
        match self {
            Self::S(text) => AttributeValue::S(text.into_owned()),
            Self::N(number) => AttributeValue::N(number),
            Self::B(bytes) => AttributeValue::B(bytes.into_owned()),
        }
    }

    /// The part's type.
    pub fn scalar_type(&self) -> ScalarAttributeType {
        match self {
            Self::S(_) => ScalarAttributeType::S,
            Self::N(_) => ScalarAttributeType::N,
            Self::B(_) => ScalarAttributeType::B,
        }
    }

    fn put_raw(&self, out: &mut impl Sink) {
        match self {
            Self::S(text) => out.put(text.as_bytes()),
            Self::N(number) => number.encode_into(out),
            Self::B(bytes) => out.put(bytes),
        }
    }

    /// The escaped form without its end: what every self-delimiting form with this beginning starts
    /// with.
    fn put_escaped(&self, out: &mut Vec<u8>) {
        let bytes: &[u8] = match self {
            Self::S(text) => text.as_bytes(),
            Self::B(bytes) => bytes,
            Self::N(number) => return number.encode_into(out),
        };
        for byte in bytes {
            out.push(*byte);
            if *byte == ESCAPE {
                out.push(ESCAPED_ZERO);
            }
        }
    }

    fn put_delimited(&self, out: &mut Vec<u8>) {
        self.put_escaped(out);
        if !matches!(self, Self::N(_)) {
            out.extend_from_slice(&[ESCAPE, END]);
        }
    }

    /// Partition keys are at most `MAX_PARTITION_KEY_BYTES` by validation; a longer one would be
    /// refused there.
    fn put_length_prefixed(&self, out: &mut impl Sink) {
        let start = out.len();
        out.put(&[0, 0, tag_of(self.scalar_type())]);
        self.put_raw(out);
        let length = u16::try_from(out.len() - start - 2)
            .expect("invariant: partition keys are validated to at most 2048 bytes");
        out[start..start + 2].copy_from_slice(&length.to_be_bytes());
    }
}

/// Type tags of partition keys; stored on disk.
fn tag_of(scalar_type: ScalarAttributeType) -> u8 {
    match scalar_type {
        ScalarAttributeType::S => 0x01,
        ScalarAttributeType::N => 0x02,
        ScalarAttributeType::B => 0x03,
    }
}

fn type_of(tag: u8) -> Result<ScalarAttributeType> {
    match tag {
        0x01 => Ok(ScalarAttributeType::S),
        0x02 => Ok(ScalarAttributeType::N),
        0x03 => Ok(ScalarAttributeType::B),
        _ => Err(damaged("unknown type tag in a key")),
    }
}

fn damaged(what: &str) -> TableError {
    TableError::internal(message::damaged(what))
}

/// The hash and the length-prefixed partition key: what all keys of one partition start with.
///
/// # Panics
/// If a part is longer than 65,534 bytes. Keys that validation accepts are far shorter.
pub fn partition_prefix(partition: &KeyPart<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    put_partition_prefix(partition, &mut out);
    out
}

fn put_partition_prefix(partition: &KeyPart<'_>, out: &mut impl Sink) {
    out.put(&[0; HASH_BYTES]);
    partition.put_length_prefixed(out);
    let hash = xxh3_64(&out[HASH_BYTES + 2..]);
    out[..HASH_BYTES].copy_from_slice(&hash.to_be_bytes());
}

/// The key of an item in its table, as an operation holds it: most fit without a call of the
/// allocator.
pub(crate) type StoredKey = SmallVec<[u8; 96]>;

/// As [`base_key`].
pub(crate) fn stored_key(partition: &KeyPart<'_>, sort: Option<&KeyPart<'_>>) -> StoredKey {
    let mut out = StoredKey::new();
    put_partition_prefix(partition, &mut out);
    if let Some(sort) = sort {
        sort.put_raw(&mut out);
    }
    out
}

/// The key of an item in its table.
///
/// # Panics
/// If a part is longer than 65,534 bytes. Keys that validation accepts are far shorter.
pub fn base_key(partition: &KeyPart<'_>, sort: Option<&KeyPart<'_>>) -> Vec<u8> {
    let mut out = partition_prefix(partition);
    if let Some(sort) = sort {
        sort.put_raw(&mut out);
    }
    out
}

/// The key values of an item in its table; `sort` is the sort key's type where the table has one.
pub fn decode_base_key<'a>(
    key: &'a [u8],
    sort: Option<ScalarAttributeType>,
) -> Result<(KeyPart<'a>, Option<KeyPart<'a>>)> {
    let mut reader = KeyReader::new(key)?;
    let partition = reader.length_prefixed()?;
    let sort = match sort {
        Some(scalar_type) => Some(reader.raw_to_end(scalar_type)?),
        None => reader.expect_end().map(|()| None)?,
    };
    Ok((partition, sort))
}

/// What all keys of a global index start with that have these HASH parts and begin with these RANGE
/// parts.
///
/// # Panics
/// If a part is longer than 65,534 bytes. Keys that validation accepts are far shorter.
pub fn global_index_prefix(hash: &[KeyPart<'_>], leading_range: &[KeyPart<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.resize(HASH_BYTES, 0);
    for part in hash {
        part.put_length_prefixed(&mut out);
    }
    let hash = xxh3_64(&out[HASH_BYTES..]);
    out[..HASH_BYTES].copy_from_slice(&hash.to_be_bytes());
    for part in leading_range {
        part.put_delimited(&mut out);
    }
    out
}

/// The key of an item in a global index.
///
/// # Panics
/// If a part is longer than 65,534 bytes. Keys that validation accepts are far shorter.
pub fn global_index_key(hash: &[KeyPart<'_>], range: &[KeyPart<'_>], base_key: &[u8]) -> Vec<u8> {
    let mut out = global_index_prefix(hash, range);
    out.extend_from_slice(base_key);
    out
}

/// What a global index key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalIndexKey<'a> {
    /// The HASH parts.
    pub hash: Vec<KeyPart<'a>>,
    /// The RANGE parts.
    pub range: Vec<KeyPart<'a>>,
    /// The item's key in the table.
    pub base_key: &'a [u8],
}

/// Takes a global index key apart; the index has `hash_count` HASH parts and RANGE parts of the
/// types `range`.
pub fn decode_global_index_key<'a>(
    key: &'a [u8],
    hash_count: usize,
    range: &[ScalarAttributeType],
) -> Result<GlobalIndexKey<'a>> {
    let mut reader = KeyReader::new(key)?;
    let hash = (0..hash_count).map(|_| reader.length_prefixed()).collect::<Result<_>>()?;
    let range = range.iter().map(|kind| reader.delimited(*kind)).collect::<Result<_>>()?;
    Ok(GlobalIndexKey { hash, range, base_key: reader.rest })
}

/// The key of an item in a local index.
///
/// # Panics
/// If a part is longer than 65,534 bytes. Keys that validation accepts are far shorter.
pub fn local_index_key(
    partition: &KeyPart<'_>,
    index_sort: &KeyPart<'_>,
    base_sort: &KeyPart<'_>,
) -> Vec<u8> {
    let mut out = partition_prefix(partition);
    index_sort.put_delimited(&mut out);
    base_sort.put_raw(&mut out);
    out
}

/// As [`local_index_key`], from the item's key in the table, which has a sort key.
pub(crate) fn local_index_key_of(base_key: &[u8], index_sort: &KeyPart<'_>) -> Result<Vec<u8>> {
    let (prefix, base_sort) = base_key.split_at(collection_prefix(base_key)?.len());
    let mut out = prefix.to_vec();
    index_sort.put_delimited(&mut out);
    out.extend_from_slice(base_sort);
    Ok(out)
}

/// What a local index key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalIndexKey<'a> {
    /// The partition key.
    pub partition: KeyPart<'a>,
    /// The index's sort key.
    pub index_sort: KeyPart<'a>,
    /// The table's sort key.
    pub base_sort: KeyPart<'a>,
}

/// The key in the table of the item that a local index key is of.
pub(crate) fn local_index_base_key(key: &LocalIndexKey<'_>) -> Vec<u8> {
    base_key(&key.partition, Some(&key.base_sort))
}

/// Takes a local index key apart, given the types of the two sort keys.
pub fn decode_local_index_key<'a>(
    key: &'a [u8],
    index_sort: ScalarAttributeType,
    base_sort: ScalarAttributeType,
) -> Result<LocalIndexKey<'a>> {
    let mut reader = KeyReader::new(key)?;
    Ok(LocalIndexKey {
        partition: reader.length_prefixed()?,
        index_sort: reader.delimited(index_sort)?,
        base_sort: reader.raw_to_end(base_sort)?,
    })
}

/// What the keys of an item collection, in its table and in local indexes, start with: the partition key with its hash.
pub(crate) fn collection_prefix(base_key: &[u8]) -> Result<&[u8]> {
    let mut reader = KeyReader::new(base_key)?;
    reader.length_prefixed()?;
    Ok(&base_key[..base_key.len() - reader.rest.len()])
}

/// The hash of the partition key, as the key starts with it; 0 of what is no key.
pub(crate) fn collection_hash(base_key: &[u8]) -> u64 {
    base_key.first_chunk().map_or(0, |hash| u64::from_be_bytes(*hash))
}

/// Reads parts from the front of a key.
struct KeyReader<'a> {
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// Starts after the hash.
    fn new(key: &'a [u8]) -> Result<Self> {
        let rest = key.get(HASH_BYTES..).ok_or_else(|| damaged("a key is too short"))?;
        Ok(Self { rest })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        if length > self.rest.len() {
            return Err(damaged("a key is cut off"));
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    fn length_prefixed(&mut self) -> Result<KeyPart<'a>> {
        let length = self.take(2)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (tag, raw) =
            self.take(length)?.split_first().ok_or_else(|| damaged("an empty key part"))?;
        whole(raw, type_of(*tag)?)
    }

    fn raw_to_end(&mut self, scalar_type: ScalarAttributeType) -> Result<KeyPart<'a>> {
        let raw = std::mem::take(&mut self.rest);
        whole(raw, scalar_type)
    }

    fn expect_end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(damaged("a key has bytes after its end")) }
    }

    fn delimited(&mut self, scalar_type: ScalarAttributeType) -> Result<KeyPart<'a>> {
        if scalar_type == ScalarAttributeType::N {
            let (number, length) =
                Number::decode_prefix(self.rest).ok_or_else(|| damaged("a number in a key"))?;
            self.take(length)?;
            return Ok(KeyPart::N(number));
        }
        let mut bytes = Vec::new();
        loop {
            let plain = self.rest.iter().position(|byte| *byte == ESCAPE);
            let plain = plain.ok_or_else(|| damaged("a key part has no end"))?;
            bytes.extend_from_slice(self.take(plain)?);
            match self.take(2)?[1] {
                ESCAPED_ZERO => bytes.push(0),
                END => break,
                _ => return Err(damaged("an unknown escape in a key")),
            }
        }
        if scalar_type == ScalarAttributeType::B {
            return Ok(KeyPart::B(Cow::Owned(bytes)));
        }
        let text = String::from_utf8(bytes).map_err(|_| damaged("text in a key is not UTF-8"))?;
        Ok(KeyPart::S(Cow::Owned(text)))
    }
}

/// A raw form that takes all of `raw`.
fn whole(raw: &[u8], scalar_type: ScalarAttributeType) -> Result<KeyPart<'_>> {
    Ok(match scalar_type {
        ScalarAttributeType::S => {
            let text =
                std::str::from_utf8(raw).map_err(|_| damaged("text in a key is not UTF-8"))?;
            KeyPart::S(Cow::Borrowed(text))
        }
        ScalarAttributeType::B => KeyPart::B(Cow::Borrowed(raw)),
        ScalarAttributeType::N => match Number::decode_prefix(raw) {
            Some((number, length)) if length == raw.len() => KeyPart::N(number),
            _ => return Err(damaged("a number in a key")),
        },
    })
}

#[cfg(test)]
mod tests;
