//! Attribute values and items into DynamoDB JSON, straight into the response's bytes. Called by `operation/` and the
//! command line. Attributes come out in the order of their names.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use esker_table::{AttributeValue, Item};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Any response as bytes.
pub(crate) fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    serde_json::to_writer(&mut bytes, value)
        .expect("invariant: our types have string keys, and memory takes every byte");
    bytes
}

/// An item (or any map of attribute values).
pub(crate) struct ItemOut<'a>(pub(crate) &'a Item);

impl Serialize for ItemOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, ValueOut(value))))
    }
}

/// A list of items.
pub(crate) struct ItemsOut<'a>(pub(crate) &'a [Item]);

impl Serialize for ItemsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ItemOut))
    }
}

struct ValueOut<'a>(&'a AttributeValue);

impl Serialize for ValueOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.0.type_name();
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            AttributeValue::S(text) => map.serialize_entry(kind, text)?,
            AttributeValue::N(number) => map.serialize_entry(kind, &Text(number))?,
            AttributeValue::B(bytes) => map.serialize_entry(kind, &Text(base64(bytes)))?,
            AttributeValue::Bool(value) => map.serialize_entry(kind, value)?,
            AttributeValue::Null => map.serialize_entry(kind, &true)?,
            AttributeValue::M(attributes) => map.serialize_entry(kind, &ItemOut(attributes))?,
            AttributeValue::L(values) => map.serialize_entry(kind, &ListOut(values))?,
            AttributeValue::Ss(texts) => map.serialize_entry(kind, texts)?,
            AttributeValue::Ns(numbers) => {
                map.serialize_entry(kind, &Sequence(|| numbers.iter().map(Text)))?;
            }
            AttributeValue::Bs(values) => {
                map.serialize_entry(kind, &Sequence(|| values.iter().map(|b| Text(base64(b)))))?;
            }
        }
        map.end()
    }
}

struct ListOut<'a>(&'a [AttributeValue]);

impl Serialize for ListOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ValueOut))
    }
}

fn base64(bytes: &[u8]) -> Base64Display<'_, '_, base64::engine::GeneralPurpose> {
    Base64Display::new(bytes, &STANDARD)
}

/// Writes what can be displayed as a string, without making one first.
struct Text<T>(T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Sequence<F>(F);

impl<I: Iterator<Item: Serialize>, F: Fn() -> I> Serialize for Sequence<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}
