//! Values of an item where its bytes lie: stepping into maps and lists, and looking at one value, without decoding what
//! stands beside it. Conditions and projections are evaluated with this. Nothing here trusts the bytes.

use std::cmp::Ordering;

use super::format::{Container, Reader, Scalar};
use crate::error::Result;
use crate::{AttributeValue, Number};

/// A value in its stored form, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// From the value's tag on, and beyond its end.
    bytes: &'a [u8],
    /// 1 for an attribute's own value.
    level: usize,
}

impl<'a> Place<'a> {
    /// An attribute's value, of whose bytes nothing is checked yet.
    pub(super) fn of_attribute(bytes: &'a [u8]) -> Self {
        Self { bytes, level: 1 }
    }

    /// The value of this name in a map.
    pub(crate) fn member(self, name: &str) -> Result<Option<Self>> {
        let mut reader = Reader::new(self.bytes);
        let Some(count) = reader.enter(Container::Map)? else { return Ok(None) };
        let level = self.level + 1;
        for _ in 0..count {
            match reader.bytes()?.cmp(name.as_bytes()) {
                Ordering::Less => reader.skip(level)?,
                Ordering::Equal => return Ok(Some(Self { bytes: reader.rest(), level })),
                Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The element at this place of a list.
    pub(crate) fn element(self, index: usize) -> Result<Option<Self>> {
        let mut reader = Reader::new(self.bytes);
        let level = self.level + 1;
        match reader.enter(Container::List)? {
            Some(count) if index < count => {
                for _ in 0..index {
                    reader.skip(level)?;
                }
                Ok(Some(Self { bytes: reader.rest(), level }))
            }
            _ => Ok(None),
        }
    }

    /// A walk through the members of a map; `None` where the value is none.
    pub(crate) fn members(self) -> Result<Option<Members<'a>>> {
        let mut reader = Reader::new(self.bytes);
        let count = reader.enter(Container::Map)?;
        Ok(count.map(|left| Members { reader, left, level: self.level + 1 }))
    }

    /// A walk through the elements of a list; `None` where the value is none.
    pub(crate) fn elements(self) -> Result<Option<Elements<'a>>> {
        let mut reader = Reader::new(self.bytes);
        let count = reader.enter(Container::List)?;
        Ok(count.map(|count| Elements { reader, next: 0, count, level: self.level + 1 }))
    }

    /// The value.
    pub(crate) fn decode(self) -> Result<AttributeValue> {
        Reader::new(self.bytes).value(self.level)
    }

    /// The value to be compared; whatever has bytes of its own stays where it lies.
    pub(crate) fn peek(self) -> Result<Peek<'a>> {
        Ok(match Reader::new(self.bytes).scalar()? {
            Scalar::Peek(scalar) => scalar,
            Scalar::Other(type_name) => Peek::Stored(type_name, self),
        })
    }
}

/// A walk through a map, by names in the order of their bytes.
pub(crate) struct Members<'a> {
    reader: Reader<'a>,
    left: usize,
    level: usize,
}

impl<'a> Members<'a> {
    /// The value of this name, which is behind all that were asked for before.
    pub(crate) fn find(&mut self, name: &str) -> Result<Option<Place<'a>>> {
        while self.left > 0 {
            let here = self.reader.rest();
            let order = self.reader.bytes()?.cmp(name.as_bytes());
            if order == Ordering::Greater {
                self.reader = Reader::new(here);
                return Ok(None);
            }
            let place = Place { bytes: self.reader.rest(), level: self.level };
            self.reader.skip(self.level)?;
            self.left -= 1;
            if order == Ordering::Equal {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}

/// A walk through a list, by increasing indexes.
pub(crate) struct Elements<'a> {
    reader: Reader<'a>,
    next: usize,
    count: usize,
    level: usize,
}

impl<'a> Elements<'a> {
    /// The element of this index, which is behind all that were asked for before.
    pub(crate) fn at(&mut self, index: usize) -> Result<Option<Place<'a>>> {
        if index >= self.count {
            return Ok(None);
        }
        while self.next < index {
            self.reader.skip(self.level)?;
            self.next += 1;
        }
        Ok(Some(Place { bytes: self.reader.rest(), level: self.level }))
    }
}

/// A value to be compared: stored or given.
#[derive(Clone, Debug)]
pub(crate) enum Peek<'a> {
    S(&'a str),
    N(Number),
    B(&'a [u8]),
    /// Given, and of any other type.
    Given(&'a AttributeValue),
    /// Stored, of any other type, which is named, and not decoded.
    Stored(&'static str, Place<'a>),
}

impl<'a> Peek<'a> {
    /// Of a value at hand.
    pub(crate) fn of(value: &'a AttributeValue) -> Self {
        match value {
            AttributeValue::S(text) => Self::S(text),
            AttributeValue::N(number) => Self::N(*number),
            AttributeValue::B(bytes) => Self::B(bytes),
            other => Self::Given(other),
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::B(_) => "B",
            Self::Given(value) => value.type_name(),
            Self::Stored(type_name, _) => type_name,
        }
    }

    /// Whether both are the same value. Nothing is decoded that is not compared, nor anything copied.
    pub(crate) fn equals(&self, other: &Peek<'_>) -> Result<bool> {
        Ok(match (self, other) {
            (Self::S(one), Peek::S(two)) => one == two,
            (Self::N(one), Peek::N(two)) => one == two,
            (Self::B(one), Peek::B(two)) => one == two,
            (Self::Given(one), Peek::Given(two)) => one == two,
            (Self::Stored(one, _), Peek::Stored(two, _)) if one != two => false,
            (Self::Stored(_, one), Peek::Stored(_, two)) => one.extent()? == two.extent()?,
            (Self::Stored(_, place), Peek::Given(value)) => place.is(value)?,
            (Self::Given(value), Peek::Stored(_, place)) => place.is(value)?,
            _ => false,
        })
    }

    /// How many members or elements a set, a list or a map has; `None` for other types.
    pub(crate) fn count(&self) -> Result<Option<usize>> {
        Ok(match self {
            Self::Given(AttributeValue::Ss(set)) => Some(set.len()),
            Self::Given(AttributeValue::Ns(set)) => Some(set.len()),
            Self::Given(AttributeValue::Bs(set)) => Some(set.len()),
            Self::Given(AttributeValue::L(list)) => Some(list.len()),
            Self::Given(AttributeValue::M(map)) => Some(map.len()),
            Self::Stored(_, place) => Reader::new(place.bytes).count()?,
            _ => None,
        })
    }

    /// Whether a list has such an element, or a set such a member.
    pub(crate) fn holds(&self, wanted: &Peek<'_>) -> Result<bool> {
        match self {
            Self::Given(AttributeValue::L(list)) => {
                for value in list {
                    if Peek::of(value).equals(wanted)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Given(value) => Ok(match (value, wanted) {
                (AttributeValue::Ss(set), Peek::S(wanted)) => {
                    set.iter().any(|member| member == wanted)
                }
                (AttributeValue::Ns(set), Peek::N(wanted)) => set.contains(wanted),
                (AttributeValue::Bs(set), Peek::B(wanted)) => {
                    set.iter().any(|member| member == wanted)
                }
                _ => false,
            }),
            Self::Stored("L", place) => {
                let Some(mut elements) = place.elements()? else { return Ok(false) };
                for index in 0..elements.count {
                    let element = elements.at(index)?.map(Place::peek).transpose()?;
                    if let Some(element) = element
                        && element.equals(wanted)?
                    {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Stored(_, place) => Reader::new(place.bytes).has_member(wanted),
            _ => Ok(false),
        }
    }
}

impl<'a> Place<'a> {
    /// The bytes of the value. Equal values have equal bytes.
    fn extent(self) -> Result<&'a [u8]> {
        let mut reader = Reader::new(self.bytes);
        reader.skip(self.level)?;
        Ok(&self.bytes[..self.bytes.len() - reader.rest().len()])
    }

    /// Whether this is the value.
    fn is(self, value: &AttributeValue) -> Result<bool> {
        Reader::new(self.bytes).is(value, self.level)
    }
}
