//! Values of an item where its bytes lie: stepping into maps and lists, and looking at one value, without decoding what
//! stands beside it. Conditions and projections are evaluated with this. Nothing here trusts the bytes.

use std::borrow::Cow;

use super::format::{Container, Reader};
use crate::error::Result;
use crate::{AttributeValue, Number};

/// A value in its stored form, borrowed.
#[derive(Clone, Copy)]
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
                std::cmp::Ordering::Less => reader.skip(level)?,
                std::cmp::Ordering::Equal => return Ok(Some(Self { bytes: reader.rest(), level })),
                std::cmp::Ordering::Greater => return Ok(None),
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

    /// The value.
    pub(crate) fn decode(self) -> Result<AttributeValue> {
        Reader::new(self.bytes).value(self.level)
    }

    /// The value to be compared; a text or bytes stay where they lie.
    pub(crate) fn peek(self) -> Result<Peek<'a>> {
        let mut reader = Reader::new(self.bytes);
        Ok(match reader.scalar()? {
            Some(scalar) => scalar,
            None => Peek::Other(Cow::Owned(self.decode()?)),
        })
    }
}

/// A value to be compared: stored or given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Peek<'a> {
    S(&'a str),
    N(Number),
    B(&'a [u8]),
    /// Of any other type.
    Other(Cow<'a, AttributeValue>),
}

impl<'a> Peek<'a> {
    /// Of a value at hand.
    pub(crate) fn of(value: &'a AttributeValue) -> Self {
        match value {
            AttributeValue::S(text) => Self::S(text),
            AttributeValue::N(number) => Self::N(*number),
            AttributeValue::B(bytes) => Self::B(bytes),
            other => Self::Other(Cow::Borrowed(other)),
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::B(_) => "B",
            Self::Other(value) => value.type_name(),
        }
    }
}
