//! Plain JSON to items and back, for import and export: strings are S, numbers N with every digit, arrays L, objects
//! M. The way back cannot tell sets from lists or bytes from text: DynamoDB JSON keeps these. Depth is checked
//! before every recursion.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use esker_table::{AttributeValue, Item, MAX_NESTING_LEVELS};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// One JSON object as an item, or why it is none.
pub(super) fn item(line: &str) -> Result<Item, String> {
    let members: Object<&RawValue> = serde_json::from_str(line).map_err(|error| {
        // What is valid JSON and no object is named for what it is.
        let kind = serde_json::from_str::<&RawValue>(line).ok().and_then(|raw| kind(raw.get()));
        kind.map_or_else(|| invalid(&error), |kind| format!("{kind}, not an object"))
    })?;
    attributes(members, 1)
}

/// What kind of value a JSON text is; `None` for an object.
fn kind(text: &str) -> Option<&'static str> {
    Some(match text.as_bytes().first()? {
        b'{' => return None,
        b'[' => "an array",
        b'"' => "a string",
        b't' | b'f' => "true or false",
        b'n' => "null",
        _ => "a number",
    })
}

/// The mistake in words: a position of serde_json's counts from the start of the value, which is not always the line.
fn invalid(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    match error.classify() {
        Category::Data => text[..end].to_owned(),
        _ => format!("not valid JSON: {} at column {}", &text[..end], error.column()),
    }
}

fn attributes(members: Object<&RawValue>, level: usize) -> Result<Item, String> {
    members.0.into_iter().map(|(name, raw)| Ok((name, value(raw, level)?))).collect()
}

/// The members of an object, none of them twice: one of the two values would be lost.
struct Object<T>(BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            match members.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(entry) => {
                    return Err(A::Error::custom(format_args!("{:?} is there twice", entry.key())));
                }
            }
        }
        Ok(Object(members))
    }
}

/// Any value, without its contents: only to find members that are there twice. serde_json bounds the depth.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CheckedVisitor)
    }
}

struct CheckedVisitor;

impl<'de> Visitor<'de> for CheckedVisitor {
    type Value = Checked;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }
    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }
    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Checked, A::Error> {
        while seq.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Checked, A::Error> {
        ObjectVisitor::<Checked>(PhantomData).visit_map(map).map(|_| Checked)
    }
}

/// Why a line that reads as JSON is refused: an object in it has a member twice.
pub(super) fn duplicate(line: &str) -> Option<String> {
    serde_json::from_str::<Checked>(line).err().map(|error| invalid(&error))
}

/// `level` is that of this value, 1 for an attribute.
fn value(raw: &RawValue, level: usize) -> Result<AttributeValue, String> {
    if level > MAX_NESTING_LEVELS {
        return Err(format!("values are nested deeper than {MAX_NESTING_LEVELS} levels"));
    }
    let text = raw.get();
    let invalid = |error: serde_json::Error| invalid(&error);
    Ok(match text.as_bytes().first() {
        Some(b'"') => AttributeValue::S(serde_json::from_str(text).map_err(invalid)?),
        Some(b'{') => {
            let members: Object<&RawValue> = serde_json::from_str(text).map_err(invalid)?;
            AttributeValue::M(attributes(members, level + 1)?)
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(invalid)?;
            let elements = elements.into_iter().map(|raw| value(raw, level + 1));
            AttributeValue::L(elements.collect::<Result<_, _>>()?)
        }
        Some(b't') => AttributeValue::Bool(true),
        Some(b'f') => AttributeValue::Bool(false),
        Some(b'n') => AttributeValue::Null,
        _ => AttributeValue::N(text.parse().map_err(|error| format!("{text}: {error}"))?),
    })
}

/// An item as a plain JSON object.
pub(super) struct PlainItem<'a>(pub(super) &'a Item);

impl Serialize for PlainItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Plain(value))))
    }
}

struct Plain<'a>(&'a AttributeValue);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            AttributeValue::S(text) => serializer.serialize_str(text),
            AttributeValue::N(number) => PlainNumber(number).serialize(serializer),
            AttributeValue::B(bytes) => PlainBytes(bytes).serialize(serializer),
            AttributeValue::Bool(value) => serializer.serialize_bool(*value),
            AttributeValue::Null => serializer.serialize_unit(),
            AttributeValue::M(attributes) => PlainItem(attributes).serialize(serializer),
            AttributeValue::L(values) => serializer.collect_seq(values.iter().map(Plain)),
            AttributeValue::Ss(texts) => serializer.collect_seq(texts),
            AttributeValue::Ns(numbers) => serializer.collect_seq(numbers.iter().map(PlainNumber)),
            AttributeValue::Bs(values) => {
                serializer.collect_seq(values.iter().map(|v| PlainBytes(v)))
            }
        }
    }
}

struct PlainNumber<'a>(&'a esker_table::Number);

impl Serialize for PlainNumber<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A number's digits are written as they are: no float could hold 38 of them.
        RawValue::from_string(self.0.to_string())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

struct PlainBytes<'a>(&'a [u8]);

impl Serialize for PlainBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn every_digit_survives_both_ways() {
        let line = r#"{"a":12345678901234567890123456789012345678,"b":"t\u00e9\"","c":[1,-0.50,1e3],"d":{"e":null,"f":true},"g":[]}"#;
        let item = item(line).unwrap();
        assert_eq!(
            String::from_utf8(json::to_bytes(&PlainItem(&item))).unwrap(),
            "{\"a\":12345678901234567890123456789012345678,\"b\":\"té\\\"\",\"c\":[1,-0.5,1000],\
             \"d\":{\"e\":null,\"f\":true},\"g\":[]}"
        );
        assert_eq!(item["d"].type_name(), "M");
    }

    #[test]
    fn what_is_no_item_is_refused_with_its_reason() {
        for (line, reason) in [
            ("[1]", "an array, not an object"),
            ("null", "null, not an object"),
            ("not json", "not valid JSON: expected"),
            ("{\"a\":}", "not valid JSON: expected value at column 6"),
            ("{} x", "not valid JSON: trailing characters at column 4"),
            ("{\"a\":1,\"\\u0061\":2}", "\"a\" is there twice"),
            ("{\"a\":[{\"b\":1,\"c\":0,\"b\":2}]}", "\"b\" is there twice"),
            ("{\"a\":1e200}", "Number overflow"),
            ("{\"a\":123456789012345678901234567890123456789}", "38 significant digits"),
        ] {
            let refusal = item(line).unwrap_err();
            assert!(refusal.contains(reason), "{line}: {refusal}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(item(&deep).unwrap_err().contains("nested deeper than 32"));
        let fits = format!("{{\"a\":{}1{}}}", "[".repeat(31), "]".repeat(31));
        assert!(item(&fits).is_ok());
    }
}
