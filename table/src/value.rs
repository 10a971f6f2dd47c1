//! Attribute values and items: the ten types of DynamoDB. Everything in the crate speaks these
//! types. What makes a value acceptable (depth, sets, names, size) is in `validate.rs`.

use std::collections::BTreeMap;

use crate::Number;

/// An item: its attributes by name. Names order by their UTF-8 bytes.
pub type Item = BTreeMap<String, AttributeValue>;

/// One value of one of the ten types.
///
/// The sets are plain vectors: a set is valid when it is sorted, holds no duplicate and is not
/// empty. [`AttributeValue::string_set`] and its siblings build valid ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// A string (UTF-8).
    S(String),
    /// A number: an exact decimal of up to 38 significant digits.
    N(Number),
    /// Bytes.
    B(Vec<u8>),
    /// True or false.
    Bool(bool),
    /// The null value.
    Null,
    /// A map from names to values.
    M(BTreeMap<String, AttributeValue>),
    /// A list of values of any types.
    L(Vec<AttributeValue>),
    /// A set of strings.
    Ss(Vec<String>),
    /// A set of numbers.
    Ns(Vec<Number>),
    /// A set of byte strings.
    Bs(Vec<Vec<u8>>),
}

impl AttributeValue {
    /// The type's name as the service writes it in expressions and messages (`S`, `N`, `BOOL`,
    /// `SS`, ...).
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::B(_) => "B",
            Self::Bool(_) => "BOOL",
            Self::Null => "NULL",
            Self::M(_) => "M",
            Self::L(_) => "L",
            Self::Ss(_) => "SS",
            Self::Ns(_) => "NS",
            Self::Bs(_) => "BS",
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::S(text.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::S(text)
    }
}

impl From<Number> for AttributeValue {
    fn from(number: Number) -> Self {
        Self::N(number)
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::N(Number::from(number))
    }
}

impl From<bool> for AttributeValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Vec<u8>> for AttributeValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self::B(bytes)
    }
}
