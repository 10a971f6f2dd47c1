//! Encoded items: the bytes of `format.rs` with the ways to read them. Write operations encode,
//! read operations decode; single attributes can be read without decoding the others, which is what
//! expressions use.

mod format;

use bytes::Bytes;

use crate::error::Result;
use crate::validate::prepare_item;
use crate::value::{AttributeValue, Item};
use format::{COUNT_OFFSET, FLAG_WIDE, Reader, VERSION, damaged};

/// An item in its stored form. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedItem {
    bytes: Bytes,
    count: usize,
    wide: bool,
}

impl EncodedItem {
    /// Checks an item, sorts its sets and encodes it.
    ///
    /// # Errors
    /// `Validation` where the item is nested too deep, larger than 400 KB, or holds an empty set, a
    /// set with a repeated member, or a name that is empty or too long.
    pub fn encode(item: &mut Item) -> Result<Self> {
        let size = prepare_item(item)?;
        let size = u32::try_from(size).expect("invariant: item sizes are checked");
        Ok(Self::encode_sized(item, size))
    }

    /// Encodes a valid item whose logical size is known already.
    pub(crate) fn encode_sized(item: &Item, logical_size: u32) -> Self {
        let narrow = format::encode_item(item, logical_size, 0, false);
        let wide = narrow.is_none();
        let bytes = narrow
            .or_else(|| format::encode_item(item, logical_size, 0, true))
            .expect("invariant: an item within its size limit has 32-bit offsets");
        Self { bytes: bytes.into(), count: item.len(), wide }
    }

    /// Takes stored bytes. Checks the header and that the directory is there; `get` and `decode`
    /// check the rest of what they read.
    pub fn from_bytes(bytes: Bytes) -> Result<Self> {
        let header = bytes.get(..COUNT_OFFSET).ok_or_else(|| damaged("an item is too short"))?;
        if header[0] != VERSION {
            return Err(damaged("an item has an unknown format version"));
        }
        if header[1] & !FLAG_WIDE != 0 {
            return Err(damaged("an item has unknown flags"));
        }
        let mut item = Self { wide: header[1] & FLAG_WIDE != 0, bytes, count: 0 };
        item.count = item.field(0).ok_or_else(|| damaged("an item is too short"))?;
        if item.body_start() > item.bytes.len() {
            return Err(damaged("an item is too short for its directory"));
        }
        Ok(item)
    }

    /// The stored bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The logical size in bytes as the service counts it.
    pub fn logical_size(&self) -> u32 {
        let mut field = [0; 4];
        field.copy_from_slice(&self.bytes[2..6]);
        u32::from_le_bytes(field)
    }

    /// The sequence of the commit that wrote the item; 0 where it is not recorded.
    pub fn commit_sequence(&self) -> u64 {
        let mut field = [0; 8];
        field.copy_from_slice(&self.bytes[6..14]);
        u64::from_le_bytes(field)
    }

    /// How many attributes there are.
    pub fn attribute_count(&self) -> usize {
        self.count
    }

    /// One attribute, without decoding the others; `None` where the item has none of this name.
    pub fn get(&self, name: &str) -> Option<Result<AttributeValue>> {
        self.find(name).transpose()
    }

    /// The whole item.
    pub fn decode(&self) -> Result<Item> {
        let mut item = Item::new();
        let mut previous = "";
        let mut expected_start = 0;
        for index in 0..self.count {
            let (start, end) = self.bounds(index)?;
            if start != expected_start {
                return Err(damaged("an item's directory has gaps"));
            }
            expected_start = end;
            let (name, value) = self.attribute(start, end)?;
            if name <= previous {
                return Err(damaged("attributes of an item are not in order"));
            }
            previous = name;
            item.insert(name.to_owned(), value);
        }
        if expected_start != self.bytes.len() - self.body_start() {
            return Err(damaged("an item has bytes after its attributes"));
        }
        Ok(item)
    }

    fn find(&self, name: &str) -> Result<Option<AttributeValue>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (start, end) = self.bounds(middle)?;
            let found = Reader::new(self.body(start, end)?).bytes()?;
            match found.cmp(name.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some(self.attribute(start, end)?.1)),
            }
        }
        Ok(None)
    }

    /// The name and value of the attribute that stands between two offsets, and nothing else.
    fn attribute(&self, start: usize, end: usize) -> Result<(&str, AttributeValue)> {
        let mut reader = Reader::new(self.body(start, end)?);
        let name = reader.text()?;
        let value = reader.value(1)?;
        if !reader.is_empty() {
            return Err(damaged("an attribute does not end where the next one starts"));
        }
        Ok((name, value))
    }

    fn body(&self, start: usize, end: usize) -> Result<&[u8]> {
        self.bytes[self.body_start()..]
            .get(start..end)
            .ok_or_else(|| damaged("an item's directory points outside"))
    }

    fn bounds(&self, index: usize) -> Result<(usize, usize)> {
        let end = if index + 1 < self.count {
            self.field(index + 2)
        } else {
            Some(self.bytes.len() - self.body_start())
        };
        self.field(index + 1).zip(end).ok_or_else(|| damaged("an item's directory is cut off"))
    }

    fn field_bytes(&self) -> usize {
        if self.wide { 4 } else { 2 }
    }

    fn body_start(&self) -> usize {
        COUNT_OFFSET + self.field_bytes() * (1 + self.count)
    }

    /// Field 0 is the count, field `i + 1` where attribute `i` starts.
    fn field(&self, index: usize) -> Option<usize> {
        let at = COUNT_OFFSET + self.field_bytes() * index;
        let field = self.bytes.get(at..at + self.field_bytes())?;
        let mut wide = [0; 4];
        wide[..field.len()].copy_from_slice(field);
        usize::try_from(u32::from_le_bytes(wide)).ok()
    }
}

impl std::fmt::Debug for EncodedItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodedItem")
            .field("attributes", &self.count)
            .field("logical_size", &self.logical_size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
