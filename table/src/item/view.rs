//! Reading an item where its bytes lie, without taking them over: what [`super::EncodedItem`] does with its bytes, and what
//! reads do with those that the engine lends them. The format is in `format.rs`. Nothing here trusts the bytes.

use super::format::{COUNT_OFFSET, FLAG_WIDE, Reader, VERSION, damaged};
use super::place::Place;
use crate::Number;
use crate::error::Result;
use crate::value::{AttributeValue, Item};

/// An item in its stored form, borrowed. Attributes are read when they are asked for, and what is not asked for costs
/// nothing; damage in an attribute is found when it is read.
#[derive(Clone, Copy)]
pub struct ItemView<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) count: usize,
    pub(super) wide: bool,
}

/// The value of an attribute, borrowed from the stored item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueView<'a> {
    /// A string.
    S(&'a str),
    /// A number.
    N(Number),
    /// Bytes.
    B(&'a [u8]),
    /// True or false.
    Bool(bool),
    /// The null value.
    Null,
    /// A map, a list or a set.
    Parts(PartsView<'a>),
}

/// A map, a list or a set in its stored form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PartsView<'a> {
    pub(super) bytes: &'a [u8],
}

impl PartsView<'_> {
    /// The whole value.
    ///
    /// # Errors
    /// `Internal` where the bytes are damaged.
    pub fn decode(&self) -> Result<AttributeValue> {
        let mut reader = Reader::new(self.bytes);
        let value = reader.value(1)?;
        reader.end()?;
        Ok(value)
    }
}

impl std::fmt::Debug for PartsView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartsView").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl ValueView<'_> {
    /// The value, copied.
    ///
    /// # Errors
    /// `Internal` where the bytes of a map, a list or a set are damaged.
    pub fn decode(&self) -> Result<AttributeValue> {
        Ok(match *self {
            Self::S(text) => AttributeValue::S(text.to_owned()),
            Self::N(number) => AttributeValue::N(number),
            Self::B(bytes) => AttributeValue::B(bytes.to_vec()),
            Self::Bool(value) => AttributeValue::Bool(value),
            Self::Null => AttributeValue::Null,
            Self::Parts(parts) => parts.decode()?,
        })
    }
}

impl<'a> ItemView<'a> {
    /// Checks the header and that the directory is there.
    ///
    /// # Errors
    /// `Internal` where they are damaged.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
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
    pub(crate) fn as_bytes(&self) -> &'a [u8] {
        self.bytes
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

    /// One attribute, without looking at the others' values; `None` where the item has none of this name.
    pub fn get(&self, name: &str) -> Option<Result<ValueView<'a>>> {
        self.find(name).transpose()
    }

    /// The attributes, in the order of their names' bytes. Ends after the first that is damaged.
    pub fn attributes(&self) -> impl Iterator<Item = Result<(&'a str, ValueView<'a>)>> + use<'a> {
        let (item, mut index) = (*self, 0);
        let mut order = Order::default();
        std::iter::from_fn(move || {
            if index == item.count {
                return None;
            }
            let attribute = item.attribute(index, &mut order);
            index = if attribute.is_ok() { index + 1 } else { item.count };
            Some(attribute)
        })
    }

    /// The whole item, copied.
    ///
    /// # Errors
    /// `Internal` where the bytes are damaged.
    pub fn decode(&self) -> Result<Item> {
        let mut item = Item::new();
        let mut order = Order::default();
        for index in 0..self.count {
            let (name, value) = self.attribute(index, &mut order)?;
            item.insert(name.to_owned(), value.decode()?);
        }
        if self.count == 0 && self.bytes.len() > self.body_start() {
            return Err(damaged("an item has bytes after its attributes"));
        }
        Ok(item)
    }

    /// The next attribute of a walk over all of them, which finds gaps and names that are not in order.
    fn attribute(&self, index: usize, order: &mut Order<'a>) -> Result<(&'a str, ValueView<'a>)> {
        let (start, end) = self.bounds(index)?;
        if start != order.end {
            return Err(damaged("an item's directory has gaps"));
        }
        let mut reader = Reader::new(self.body(start, end)?);
        let name = reader.text()?;
        // The first comparison refuses the empty name too.
        if name <= order.name {
            return Err(damaged("attributes of an item are not in order"));
        }
        *order = Order { name, end };
        Ok((name, reader.last_value()?))
    }

    fn find(&self, name: &str) -> Result<Option<ValueView<'a>>> {
        self.locate(name)?.map(|reader| reader.last_value()).transpose()
    }

    /// One attribute's value, to be stepped into where it lies.
    pub(crate) fn place(&self, name: &str) -> Result<Option<Place<'a>>> {
        Ok(self.locate(name)?.map(|reader| Place::of_attribute(reader.rest())))
    }

    /// A reader of the value of the attribute of this name.
    fn locate(&self, name: &str) -> Result<Option<Reader<'a>>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (start, end) = self.bounds(middle)?;
            let mut reader = Reader::new(self.body(start, end)?);
            match reader.bytes()?.cmp(name.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some(reader)),
            }
        }
        Ok(None)
    }

    fn body(&self, start: usize, end: usize) -> Result<&'a [u8]> {
        self.bytes[self.body_start()..]
            .get(start..end)
            .ok_or_else(|| damaged("an item's directory points outside"))
    }

    #[inline]
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
        Some(match *field {
            [low, high] => usize::from(u16::from_le_bytes([low, high])),
            [a, b, c, d] => usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?,
            _ => return None,
        })
    }
}

impl std::fmt::Debug for ItemView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ItemView")
            .field("attributes", &self.count)
            .field("logical_size", &self.logical_size())
            .finish_non_exhaustive()
    }
}

/// What a walk over the attributes has seen last.
#[derive(Default)]
struct Order<'a> {
    name: &'a str,
    /// Where it ended.
    end: usize,
}
