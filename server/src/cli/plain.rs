//! Plain JSON to items and back, for import and export: strings are S, numbers N with every digit, arrays L, objects
//! M. The way back cannot tell sets from lists or bytes from text: DynamoDB JSON keeps these. Depth is checked
//! before every recursion.

use std::collections::BTreeMap;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use esker_table::{AttributeValue, Item, MAX_NESTING_LEVELS};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// One JSON object as an item, or why it is none.
pub(super) fn item(line: &str) -> Result<Item, String> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
    attributes(members, 1)
}

fn attributes(members: BTreeMap<String, &RawValue>, level: usize) -> Result<Item, String> {
    members.into_iter().map(|(name, raw)| Ok((name, value(raw, level)?))).collect()
}

/// `level` is that of this value, 1 for an attribute.
fn value(raw: &RawValue, level: usize) -> Result<AttributeValue, String> {
    if level > MAX_NESTING_LEVELS {
        return Err(format!("values are nested deeper than {MAX_NESTING_LEVELS} levels"));
    }
    let text = raw.get();
    let invalid = |error: serde_json::Error| format!("not valid JSON: {error}");
    Ok(match text.as_bytes().first() {
        Some(b'"') => AttributeValue::S(serde_json::from_str(text).map_err(invalid)?),
        Some(b'{') => {
            let members = serde_json::from_str(text).map_err(invalid)?;
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
            ("[1]", "not a JSON object"),
            ("{\"a\":}", "not a JSON object"),
            ("{} x", "not a JSON object"),
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
