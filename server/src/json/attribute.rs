//! Attribute values and items out of DynamoDB JSON (`{"name": {"S": "text"}}`), straight into the table layer's
//! types. Called by `operation/` and the command line.
//!
//! Two kinds of mistakes are kept apart, because the service reports them at different times: a wrong JSON type ends
//! the reading (SerializationException); a value that no attribute can have is remembered in [`Decoded`] and
//! answered (ValidationException) once the whole request has been read. Depth is checked before every recursion.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use esker_table::{AttributeValue, Item, MAX_NESTING_LEVELS, TableError};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::read::{
    ELEMENTS_MAX, List, Name, borrowed_text, flag, refuse_scalars, set_members, skip, text,
};
use crate::message;

/// A value, or the first reason why it is none.
pub(crate) type Decoded<T> = Result<T, TableError>;

/// An item: a map of attribute values.
pub(crate) fn item<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Decoded<Item>>, A::Error> {
    map.next_value_seed(item_seed())
}

/// A list of items; nulls among them are skipped.
pub(crate) fn items<'de, A: MapAccess<'de>>(
    map: &mut A,
) -> Result<Option<Decoded<Vec<Item>>>, A::Error> {
    let list = map.next_value_seed(List(item_seed, ELEMENTS_MAX, PhantomData))?;
    Ok(list.map(|list| list.into_iter().flatten().collect()))
}

/// An attribute value.
pub(crate) fn attribute_value<'de, A: MapAccess<'de>>(
    map: &mut A,
) -> Result<Option<Decoded<AttributeValue>>, A::Error> {
    map.next_value_seed(Value { depth: 0 })
}

/// A list of attribute values.
pub(crate) fn attribute_values<'de, A: MapAccess<'de>>(
    map: &mut A,
) -> Result<Option<Decoded<Vec<AttributeValue>>>, A::Error> {
    map.next_value_seed(Values { depth: 0 })
}

/// `ExpressionAttributeValues`: the only values of which one that is none is told with its key.
pub(crate) struct ExpressionValues {
    /// By their keys, of which all are here; from the first that is none on they are nulls.
    pub(crate) values: Item,
    /// Why the first value that is none is none.
    pub(crate) problem: Option<TableError>,
}

/// The values of a request's expressions.
pub(crate) fn expression_values<'de, A: MapAccess<'de>>(
    map: &mut A,
) -> Result<Option<ExpressionValues>, A::Error> {
    map.next_value_seed(ExpressionValuesSeed)
}

struct ExpressionValuesSeed;

impl<'de> DeserializeSeed<'de> for ExpressionValuesSeed {
    type Value = Option<ExpressionValues>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ExpressionValuesSeed {
    type Value = Option<ExpressionValues>;
    refuse_scalars!(message::UNEXPECTED_FIELD);
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom(message::unrecognized_collection(ATTRIBUTES_CLASS)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Item::new();
        let mut problem = None;
        while let Some(name) = map.next_key_seed(Name)? {
            let value = map.next_value_seed(Value { depth: 0 })?.unwrap_or_else(|| Err(empty()));
            let value = match value {
                Ok(value) if problem.is_none() => value,
                Ok(_) => AttributeValue::Null,
                Err(error) => {
                    problem.get_or_insert_with(|| {
                        let text = message::expression_value_invalid(&name, error.message());
                        TableError::validation(text)
                    });
                    AttributeValue::Null
                }
            };
            values.insert(name.into_owned(), value);
        }
        Ok(Some(ExpressionValues { values, problem }))
    }
}

/// What the service calls a map of attribute values.
const ATTRIBUTES_CLASS: &str =
    "java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>";

/// Reads an item; `None` for null.
pub(super) fn item_seed() -> Attributes {
    Attributes { depth: 0 }
}

/// Reads a map of attribute values inside `depth` lists and maps.
pub(super) struct Attributes {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Attributes {
    type Value = Option<Decoded<Item>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Attributes {
    type Value = Option<Decoded<Item>>;
    refuse_scalars!(message::UNEXPECTED_FIELD);
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom(message::unrecognized_collection(ATTRIBUTES_CLASS)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut attributes = BTreeMap::new();
        let mut problem = None;
        while let Some(name) = map.next_key_seed(Name)? {
            match map.next_value_seed(Value { depth: self.depth })? {
                Some(Ok(value)) if problem.is_none() => {
                    attributes.insert(name.into_owned(), value);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => problem = problem.or(Some(error)),
                None => problem = problem.or_else(|| Some(empty())),
            }
        }
        Ok(Some(problem.map_or(Ok(attributes), Err)))
    }
}

/// Reads one attribute value inside `depth` lists and maps; `None` for null.
struct Value {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Option<Decoded<AttributeValue>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Option<Decoded<AttributeValue>>;
    refuse_scalars!(message::UNEXPECTED_VALUE);
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        let class = "class com.amazonaws.dynamodb.v20120810.AttributeValue";
        Err(A::Error::custom(message::unrecognized_collection(class)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut several) = (None, false);
        while let Some(name) = map.next_key_seed(Name)? {
            if let Some(value) = member(&name, &mut map, self.depth)? {
                several |= found.is_some();
                found = Some(value);
            }
        }
        Ok(Some(match found {
            _ if several => Err(TableError::validation(message::VALUE_SEVERAL)),
            Some(value) => value,
            None => Err(empty()),
        }))
    }
}

/// Reads a list of attribute values inside `depth` lists and maps; `None` for null. After the first problem nothing is
/// kept: a value of two bytes would cost a hundred as a problem.
struct Values {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Values {
    type Value = Option<Decoded<Vec<AttributeValue>>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = Option<Decoded<Vec<AttributeValue>>>;
    refuse_scalars!(message::UNEXPECTED_FIELD);
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut values = Ok(Vec::new());
        while let Some(value) = access.next_element_seed(Value { depth: self.depth })? {
            let Ok(list) = &mut values else { continue };
            match value.unwrap_or_else(|| Err(empty())) {
                Ok(value) => list.push(value),
                Err(problem) => values = Err(problem),
            }
        }
        Ok(Some(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom(message::UNEXPECTED_STRUCTURE))
    }
}

fn empty() -> TableError {
    TableError::validation(message::VALUE_EMPTY)
}

fn null_in(set: &str) -> TableError {
    TableError::validation(message::null_in_set(set))
}

/// Reads the member `kind` of an attribute value; `None` where it is null or no type of the service.
fn member<'de, A: MapAccess<'de>>(
    kind: &str,
    map: &mut A,
    depth: usize,
) -> Result<Option<Decoded<AttributeValue>>, A::Error> {
    if matches!(kind, "M" | "L") && depth >= MAX_NESTING_LEVELS {
        skip(map)?;
        return Ok(Some(Err(TableError::validation(message::NESTING))));
    }
    Ok(match kind {
        "S" => text(map)?.map(|text| Ok(AttributeValue::S(text))),
        "N" => borrowed_text(map)?.map(|text| Ok(AttributeValue::N(text.parse()?))),
        "B" => match borrowed_text(map)? {
            Some(text) => Some(Ok(AttributeValue::B(bytes(&text)?))),
            None => None,
        },
        "BOOL" => flag(map)?.map(|value| Ok(AttributeValue::Bool(value))),
        "NULL" => flag(map)?.map(|value| {
            if value {
                Ok(AttributeValue::Null)
            } else {
                Err(TableError::validation(message::NULL_FALSE))
            }
        }),
        "M" => map
            .next_value_seed(Attributes { depth: depth + 1 })?
            .map(|attributes| attributes.map(AttributeValue::M)),
        "L" => map.next_value_seed(Values { depth: depth + 1 })?.map(|l| l.map(AttributeValue::L)),
        "SS" => set_members(map)?.map(|list| {
            let texts = list.into_iter().map(|text| text.map(Cow::into_owned));
            Ok(AttributeValue::Ss(texts.collect::<Option<_>>().ok_or_else(|| null_in("string"))?))
        }),
        "NS" => set_members(map)?.map(|list| {
            let numbers =
                list.into_iter().map(|text| text.ok_or_else(|| null_in("number"))?.parse());
            Ok(AttributeValue::Ns(numbers.collect::<Decoded<_>>()?))
        }),
        "BS" => match set_members(map)? {
            Some(list) => match list.into_iter().collect::<Option<Vec<_>>>() {
                Some(list) => Some(Ok(AttributeValue::Bs(
                    list.iter().map(|text| bytes(text)).collect::<Result<_, A::Error>>()?,
                ))),
                None => Some(Err(null_in("binary"))),
            },
            None => None,
        },
        _ => {
            skip(map)?;
            None
        }
    })
}

fn bytes<E: Error>(text: &str) -> Result<Vec<u8>, E> {
    if !text.len().is_multiple_of(4) {
        return Err(E::custom(message::base64_length(text.len())));
    }
    STANDARD.decode(text).map_err(|error| match error {
        base64::DecodeError::InvalidLastSymbol(..) => E::custom(message::BASE64_LAST),
        _ => E::custom(message::BASE64_CHARACTER),
    })
}

#[cfg(test)]
mod tests;
