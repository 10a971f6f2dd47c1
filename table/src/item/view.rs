//! Reading an item where its bytes lie, without taking them over: what [`super::EncodedItem`] does with its bytes, and what
//! reads do with those that the engine lends them. The format is in `format.rs`. Nothing here trusts the bytes.

use super::format::{COUNT_OFFSET, FLAG_WIDE, Reader, VERSION, damaged};
use crate::error::Result;
use crate::value::{AttributeValue, Item};

/// An item in its stored form, borrowed.
#[derive(Clone, Copy)]
pub(crate) struct ItemView<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) count: usize,
    pub(super) wide: bool,
}

impl<'a> ItemView<'a> {
    /// Checks the header and that the directory is there.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
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

    /// The logical size in bytes as the service counts it.
    pub(crate) fn logical_size(&self) -> u32 {
        let mut field = [0; 4];
        field.copy_from_slice(&self.bytes[2..6]);
        u32::from_le_bytes(field)
    }

    /// The whole item.
    pub(crate) fn decode(&self) -> Result<Item> {
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

    pub(super) fn find(&self, name: &str) -> Result<Option<AttributeValue>> {
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
    fn attribute(&self, start: usize, end: usize) -> Result<(&'a str, AttributeValue)> {
        let mut reader = Reader::new(self.body(start, end)?);
        let name = reader.text()?;
        let value = reader.value(1)?;
        if !reader.is_empty() {
            return Err(damaged("an attribute does not end where the next one starts"));
        }
        Ok((name, value))
    }

    fn body(&self, start: usize, end: usize) -> Result<&'a [u8]> {
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
