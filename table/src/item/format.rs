//! How an item is stored. Written by the write operations through `EncodedItem::encode`, read by
//! every operation that answers items. Decoding checks everything it relies upon, never recurses
//! deeper than the nesting limit and never allocates by a count it has not seen the bytes for. The
//! engine's checksums cover these bytes; there is none here. Integers are little-endian; a varint
//! is LEB128, at most 5 bytes, the shortest form only.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | format version: 1 |
//! | 1 | 1 | flags: bit 0 wide (counts and offsets take 4 bytes instead of 2); the others 0 |
//! | 2 | 4 | logical size as the service counts it, in bytes |
//! | 6 | 8 | commit sequence, 0 where it is not recorded |
//! | 14 | 2 or 4 | attribute count `n` |
//! | 16 or 18 | n * 2 or n * 4 | directory: where each attribute starts in the body |
//! | then | to the end | body: the attributes in the order of their names' bytes, without gaps |
//!
//! An attribute is `varint length, name, value`. A value is a tag byte and:
//!
//! | tag | type | content |
//! |---|---|---|
//! | 1 | S | varint length, UTF-8 |
//! | 2 | N | the number's byte form (`number.rs`) |
//! | 3 | B | varint length, bytes |
//! | 4, 5 | BOOL | nothing: false, true |
//! | 6 | NULL | nothing |
//! | 7 | M | varint count, then attributes in the order of their names' bytes |
//! | 8 | L | varint count, then values |
//! | 9 | SS | varint count, then `varint length, UTF-8` in order |
//! | 10 | NS | varint count, then numbers in order |
//! | 11 | BS | varint count, then `varint length, bytes` in order |
//!
//! Valid: the version and flags are known; the directory starts at 0 and increases; names are not
//! empty and strictly increase; sets are not empty and strictly increase; every attribute ends
//! where the next one starts, the last one at the end of the bytes.
//!
//! Example: `{"a": 1, "b": true}` of logical size 5 is
//! `01 00 05000000 0000000000000000 0200 0000 0600` then `01 61 02 C0 82 14` and `01 62 05`.

use std::collections::BTreeMap;

use super::place::Peek;
use super::view::{PartsView, ValueView};
use crate::error::{Result, TableError};
use crate::validate::MAX_NESTING_LEVELS;
use crate::value::{AttributeValue, Item};
use crate::{Number, message};

pub(super) const VERSION: u8 = 1;
pub(super) const FLAG_WIDE: u8 = 1;
/// Where the attribute count stands.
pub(super) const COUNT_OFFSET: usize = 14;

/// Value tags; stored on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Tag {
    S = 1,
    N = 2,
    B = 3,
    False = 4,
    True = 5,
    Null = 6,
    M = 7,
    L = 8,
    Ss = 9,
    Ns = 10,
    Bs = 11,
}

impl TryFrom<u8> for Tag {
    type Error = TableError;

    fn try_from(byte: u8) -> Result<Self> {
        Ok(match byte {
            1 => Self::S,
            2 => Self::N,
            3 => Self::B,
            4 => Self::False,
            5 => Self::True,
            6 => Self::Null,
            7 => Self::M,
            8 => Self::L,
            9 => Self::Ss,
            10 => Self::Ns,
            11 => Self::Bs,
            _ => return Err(damaged("unknown value tag in an item")),
        })
    }
}

pub(super) fn damaged(what: &str) -> TableError {
    TableError::internal(message::damaged(what))
}

/// Puts the item's bytes into `out`, which is empty; whether offsets or the count did not fit into narrow fields.
pub(super) fn encode_item(
    item: &Item,
    logical_size: u32,
    sequence: u64,
    out: &mut Vec<u8>,
) -> bool {
    if encode_fields(item, logical_size, sequence, false, out).is_some() {
        return false;
    }
    encode_fields(item, logical_size, sequence, true, out)
        .expect("invariant: an item within its size limit has 32-bit offsets");
    true
}

/// The item's bytes, or `None` where an offset or the count does not fit into narrow fields.
fn encode_fields(
    item: &Item,
    logical_size: u32,
    sequence: u64,
    wide: bool,
    out: &mut Vec<u8>,
) -> Option<()> {
    let field = if wide { 4 } else { 2 };
    let body_start = COUNT_OFFSET + field * (1 + item.len());
    out.clear();
    out.reserve(body_start + logical_size as usize + 4 * item.len());
    out.push(VERSION);
    out.push(if wide { FLAG_WIDE } else { 0 });
    out.extend_from_slice(&logical_size.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.resize(body_start, 0);
    put_field(out, COUNT_OFFSET, item.len(), wide)?;
    for (index, (name, value)) in item.iter().enumerate() {
        let offset = out.len() - body_start;
        put_field(out, COUNT_OFFSET + field * (1 + index), offset, wide)?;
        put_bytes(out, name.as_bytes());
        put_value(out, value);
    }
    Some(())
}

fn put_field(out: &mut [u8], at: usize, value: usize, wide: bool) -> Option<()> {
    if wide {
        out[at..at + 4].copy_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
    } else {
        out[at..at + 2].copy_from_slice(&u16::try_from(value).ok()?.to_le_bytes());
    }
    Some(())
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_value(out: &mut Vec<u8>, value: &AttributeValue) {
    match value {
        AttributeValue::S(text) => {
            out.push(Tag::S as u8);
            put_bytes(out, text.as_bytes());
        }
        AttributeValue::N(number) => {
            out.push(Tag::N as u8);
            number.encode_into(out);
        }
        AttributeValue::B(bytes) => {
            out.push(Tag::B as u8);
            put_bytes(out, bytes);
        }
        AttributeValue::Bool(value) => out.push(if *value { Tag::True } else { Tag::False } as u8),
        AttributeValue::Null => out.push(Tag::Null as u8),
        AttributeValue::M(map) => {
            out.push(Tag::M as u8);
            put_varint(out, map.len());
            for (name, value) in map {
                put_bytes(out, name.as_bytes());
                put_value(out, value);
            }
        }
        AttributeValue::L(list) => {
            out.push(Tag::L as u8);
            put_varint(out, list.len());
            for value in list {
                put_value(out, value);
            }
        }
        AttributeValue::Ss(set) => {
            out.push(Tag::Ss as u8);
            put_varint(out, set.len());
            for member in set {
                put_bytes(out, member.as_bytes());
            }
        }
        AttributeValue::Ns(set) => {
            out.push(Tag::Ns as u8);
            put_varint(out, set.len());
            for member in set {
                member.encode_into(out);
            }
        }
        AttributeValue::Bs(set) => {
            out.push(Tag::Bs as u8);
            put_varint(out, set.len());
            for member in set {
                put_bytes(out, member);
            }
        }
    }
}

/// What can be stepped into.
#[derive(Clone, Copy)]
pub(super) enum Container {
    Map,
    List,
}

/// A value as far as it is read to be compared.
pub(super) enum Scalar<'a> {
    Peek(Peek<'a>),
    /// The name of any other type.
    Other(&'static str),
}

/// Reads values from the front of a byte slice.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads the head of a map or list: how many it holds, or `None` where the value is none.
    pub(super) fn enter(&mut self, container: Container) -> Result<Option<usize>> {
        let tag = Tag::try_from(self.byte()?)?;
        let is_wanted = match container {
            Container::Map => tag == Tag::M,
            Container::List => tag == Tag::L,
        };
        if is_wanted { self.varint().map(Some) } else { Ok(None) }
    }

    /// Reads a text, a number or bytes; of a value of another type no more than its type.
    pub(super) fn scalar(&mut self) -> Result<Scalar<'a>> {
        Ok(match Tag::try_from(self.byte()?)? {
            Tag::S => Scalar::Peek(Peek::S(self.text()?)),
            Tag::N => Scalar::Peek(Peek::N(self.number()?)),
            Tag::B => Scalar::Peek(Peek::B(self.bytes()?)),
            Tag::False | Tag::True => Scalar::Other("BOOL"),
            Tag::Null => Scalar::Other("NULL"),
            Tag::M => Scalar::Other("M"),
            Tag::L => Scalar::Other("L"),
            Tag::Ss => Scalar::Other("SS"),
            Tag::Ns => Scalar::Other("NS"),
            Tag::Bs => Scalar::Other("BS"),
        })
    }

    /// How many members or elements a set, a list or a map has; `None` where the value is none.
    pub(super) fn count(&mut self) -> Result<Option<usize>> {
        match Tag::try_from(self.byte()?)? {
            Tag::M | Tag::L | Tag::Ss | Tag::Ns | Tag::Bs => self.varint().map(Some),
            Tag::S | Tag::N | Tag::B | Tag::False | Tag::True | Tag::Null => Ok(None),
        }
    }

    /// Whether a set has this member; false where the value is none.
    pub(super) fn has_member(&mut self, wanted: &Peek<'_>) -> Result<bool> {
        let tag = Tag::try_from(self.byte()?)?;
        if !matches!(tag, Tag::Ss | Tag::Ns | Tag::Bs) {
            return Ok(false);
        }
        for _ in 0..self.varint()? {
            let is_wanted = match (tag, wanted) {
                (Tag::Ss, Peek::S(wanted)) => self.bytes()? == wanted.as_bytes(),
                (Tag::Ns, Peek::N(wanted)) => self.number()? == *wanted,
                (Tag::Bs, Peek::B(wanted)) => self.bytes()? == *wanted,
                _ => return Ok(false),
            };
            if is_wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the next value, which is read as far as it has to be, is this one; `level` is 1 for an attribute's own.
    pub(super) fn is(&mut self, value: &AttributeValue, level: usize) -> Result<bool> {
        if level > MAX_NESTING_LEVELS {
            return Err(damaged("an item is nested too deep"));
        }
        Ok(match (Tag::try_from(self.byte()?)?, value) {
            (Tag::S, AttributeValue::S(text)) => self.bytes()? == text.as_bytes(),
            (Tag::N, AttributeValue::N(number)) => self.number()? == *number,
            (Tag::B, AttributeValue::B(bytes)) => self.bytes()? == bytes,
            (Tag::False, AttributeValue::Bool(value)) => !value,
            (Tag::True, AttributeValue::Bool(value)) => *value,
            (Tag::Null, AttributeValue::Null) => true,
            (Tag::M, AttributeValue::M(map)) => self.are(map.iter(), |reader, (name, value)| {
                Ok(reader.bytes()? == name.as_bytes() && reader.is(value, level + 1)?)
            })?,
            (Tag::L, AttributeValue::L(list)) => {
                self.are(list.iter(), |reader, value| reader.is(value, level + 1))?
            }
            (Tag::Ss, AttributeValue::Ss(set)) => {
                self.are(set.iter(), |reader, text| Ok(reader.bytes()? == text.as_bytes()))?
            }
            (Tag::Ns, AttributeValue::Ns(set)) => {
                self.are(set.iter(), |reader, number| Ok(reader.number()? == *number))?
            }
            (Tag::Bs, AttributeValue::Bs(set)) => {
                self.are(set.iter(), |reader, bytes| Ok(reader.bytes()? == bytes))?
            }
            _ => false,
        })
    }

    /// Whether there are as many parts as these, and each `is` the one at its place.
    fn are<T>(
        &mut self,
        parts: impl ExactSizeIterator<Item = T>,
        is: impl Fn(&mut Self, T) -> Result<bool>,
    ) -> Result<bool> {
        if self.varint()? != parts.len() {
            return Ok(false);
        }
        for part in parts {
            if !is(self, part)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Passes over one value; `level` is 1 for an attribute's own.
    pub(super) fn skip(&mut self, level: usize) -> Result<()> {
        if level > MAX_NESTING_LEVELS {
            return Err(damaged("an item is nested too deep"));
        }
        match Tag::try_from(self.byte()?)? {
            Tag::S | Tag::B => self.bytes().map(|_| ()),
            Tag::N => self.number().map(|_| ()),
            Tag::False | Tag::True | Tag::Null => Ok(()),
            Tag::M => (0..self.varint()?).try_for_each(|_| {
                self.bytes()?;
                self.skip(level + 1)
            }),
            Tag::L => (0..self.varint()?).try_for_each(|_| self.skip(level + 1)),
            Tag::Ss | Tag::Bs => (0..self.varint()?).try_for_each(|_| self.bytes().map(|_| ())),
            Tag::Ns => (0..self.varint()?).try_for_each(|_| self.number().map(|_| ())),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        let (byte, rest) = self.rest.split_first().ok_or_else(|| damaged("an item is cut off"))?;
        self.rest = rest;
        Ok(*byte)
    }

    fn varint(&mut self) -> Result<usize> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(damaged("a length in an item is not in its shortest form"));
                }
                return usize::try_from(value).map_err(|_| damaged("a length in an item"));
            }
        }
        Err(damaged("a length in an item is too long"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.varint()?;
        if length > self.rest.len() {
            return Err(damaged("an item is cut off"));
        }
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged("text in an item is not UTF-8"))
    }

    fn number(&mut self) -> Result<Number> {
        let (number, length) =
            Number::decode_prefix(self.rest).ok_or_else(|| damaged("a number in an item"))?;
        self.rest = &self.rest[length..];
        Ok(number)
    }

    /// All that is left, as the value of an attribute: it is read as far as it has no parts.
    pub(super) fn last_value(mut self) -> Result<ValueView<'a>> {
        let whole = self.rest;
        let value = match Tag::try_from(self.byte()?)? {
            Tag::S => ValueView::S(self.text()?),
            Tag::N => ValueView::N(self.number()?),
            Tag::B => ValueView::B(self.bytes()?),
            Tag::False => ValueView::Bool(false),
            Tag::True => ValueView::Bool(true),
            Tag::Null => ValueView::Null,
            Tag::M | Tag::L | Tag::Ss | Tag::Ns | Tag::Bs => {
                return Ok(ValueView::Parts(PartsView { bytes: whole }));
            }
        };
        self.end()?;
        Ok(value)
    }

    /// Refuses what is left.
    pub(super) fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(damaged("an attribute does not end where the next one starts"))
    }

    /// Reads one value; `level` is 1 for an attribute's own.
    pub(super) fn value(&mut self, level: usize) -> Result<AttributeValue> {
        if level > MAX_NESTING_LEVELS {
            return Err(damaged("an item is nested too deep"));
        }
        Ok(match Tag::try_from(self.byte()?)? {
            Tag::S => AttributeValue::S(self.text()?.to_owned()),
            Tag::N => AttributeValue::N(self.number()?),
            Tag::B => AttributeValue::B(self.bytes()?.to_vec()),
            Tag::False => AttributeValue::Bool(false),
            Tag::True => AttributeValue::Bool(true),
            Tag::Null => AttributeValue::Null,
            Tag::M => AttributeValue::M(self.map(level)?),
            Tag::L => {
                let mut list = Vec::new();
                for _ in 0..self.varint()? {
                    list.push(self.value(level + 1)?);
                }
                AttributeValue::L(list)
            }
            Tag::Ss => AttributeValue::Ss(self.set(|reader| Ok(reader.text()?.to_owned()))?),
            Tag::Ns => AttributeValue::Ns(self.set(Self::number)?),
            Tag::Bs => AttributeValue::Bs(self.set(|reader| Ok(reader.bytes()?.to_vec()))?),
        })
    }

    fn map(&mut self, level: usize) -> Result<BTreeMap<String, AttributeValue>> {
        let mut map = BTreeMap::new();
        let mut previous = "";
        for _ in 0..self.varint()? {
            let name = self.text()?;
            // The first comparison refuses the empty name too.
            if name <= previous {
                return Err(damaged("names in an item are not in order"));
            }
            previous = name;
            map.insert(name.to_owned(), self.value(level + 1)?);
        }
        Ok(map)
    }

    fn set<T: PartialOrd>(&mut self, member: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut set: Vec<T> = Vec::new();
        for _ in 0..self.varint()? {
            let next = member(self)?;
            if set.last().is_some_and(|last| *last >= next) {
                return Err(damaged("a set in an item is not in order"));
            }
            set.push(next);
        }
        if set.is_empty() {
            return Err(damaged("a set in an item is empty"));
        }
        Ok(set)
    }
}
