//! Reading requests: structures with named members, scalars, lists and maps, with the service's wording for a value
//! of the wrong JSON type. Called by `operation/` and `attribute.rs`. A null member counts as absent, an unknown one
//! is skipped; nothing is allocated from a length in the input, and the depth of nesting is bounded by serde_json
//! (128) and by `attribute.rs` (32).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use esker_table::MAX_ITEM_SIZE_BYTES;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::error::WireError;
use crate::message;

/// Elements of the longest list or map of structures or names. Far more than any operation takes, so that those can
/// refuse with their own words; few enough that an empty structure of two bytes, as large as it is in memory, costs
/// little.
pub(super) const ELEMENTS_MAX: usize = 10_000;

/// Elements of the longest set. Its elements differ, so with more an item is larger than any may be.
const SET_ELEMENTS_MAX: usize = MAX_ITEM_SIZE_BYTES + 1;

/// A structure of the service model: told of each member, it keeps those it knows.
pub(crate) trait Members: Default {
    /// The structure's name in the service model.
    const NAME: &'static str;

    /// Takes the value of the member `name` from `map`, with one of the functions of this file.
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads a whole request body.
pub(crate) fn read<T: Members>(body: &[u8]) -> Result<T, WireError> {
    // Checked as a whole: serde_json does not look into the strings that it skips.
    let text = std::str::from_utf8(body)
        .map_err(|error| WireError::serialization(message::not_json(&error.to_string())))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Structure::<T>(PhantomData).deserialize(&mut reader).map_err(wire_error)?;
    reader.end().map_err(wire_error)?;
    value.ok_or_else(|| WireError::serialization(message::UNEXPECTED_VALUE))
}

fn wire_error(error: serde_json::Error) -> WireError {
    let text = error.to_string();
    match error.classify() {
        // Ours: the position that serde_json appends is not part of the service's wording.
        Category::Data => {
            let end = text.rfind(" at line ").unwrap_or(text.len());
            WireError::serialization(&text[..end])
        }
        _ => WireError::serialization(message::not_json(&text)),
    }
}

/// Refuses every scalar with one message; the rest of a visitor for lists, maps or structures.
macro_rules! refuse_scalars {
    ($message:expr) => {
        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Err(E::custom($message))
        }
        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Err(E::custom($message))
        }
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Err(E::custom($message))
        }
        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Err(E::custom($message))
        }
        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(E::custom($message))
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str($message)
        }
    };
}
pub(super) use refuse_scalars;

/// A member's name, borrowed where it has no escapes.
pub(super) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }
    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Any value, as far as the scalar readers need to know it.
enum Scalar<'de> {
    Null,
    Bool(bool),
    Integer(i64),
    Decimal(f64),
    Text(Cow<'de, str>),
    List,
    Map,
}

struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Decimal(value))
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::List)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Map)
    }
}

impl<'de> Scalar<'de> {
    fn text<E: Error>(self) -> Result<Option<Cow<'de, str>>, E> {
        Err(match self {
            Self::Null => return Ok(None),
            Self::Text(text) => return Ok(Some(text)),
            Self::Bool(_) => E::custom(message::UNEXPECTED_TOKEN),
            Self::Integer(_) => E::custom(message::cannot_convert("NUMBER_VALUE", "String")),
            Self::Decimal(_) => E::custom(message::cannot_convert("DECIMAL_VALUE", "String")),
            Self::List => E::custom(message::unrecognized_collection("class java.lang.String")),
            Self::Map => E::custom(message::UNEXPECTED_STRUCTURE),
        })
    }

    fn whole<E: Error>(self, class: &str) -> Result<Option<i64>, E> {
        Err(match self {
            Self::Null => return Ok(None),
            Self::Integer(value) => return Ok(Some(value)),
            // The service cuts fractions off, and so does this; a cast of a float saturates.
            Self::Decimal(value) => return Ok(Some(value as i64)),
            Self::Text(_) => E::custom(message::cannot_convert("STRING_VALUE", class)),
            Self::Bool(_) => E::custom(message::UNEXPECTED_TOKEN),
            Self::List => {
                E::custom(message::unrecognized_collection(&format!("class java.lang.{class}")))
            }
            Self::Map => E::custom(message::UNEXPECTED_STRUCTURE),
        })
    }
}

/// A string.
pub(crate) fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<String>, A::Error> {
    Ok(borrowed_text(map)?.map(Cow::into_owned))
}

/// A string, borrowed where it has no escapes.
pub(super) fn borrowed_text<'de, A: MapAccess<'de>>(
    map: &mut A,
) -> Result<Option<Cow<'de, str>>, A::Error> {
    map.next_value_seed(ScalarSeed)?.text()
}

/// A whole number of 32 bits, out of range saturating.
pub(crate) fn integer<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<i32>, A::Error> {
    let value = map.next_value_seed(ScalarSeed)?.whole("Integer")?;
    Ok(value.map(|v| v.clamp(i32::MIN.into(), i32::MAX.into()) as i32))
}

/// A whole number of 64 bits, out of range saturating.
pub(crate) fn long<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<i64>, A::Error> {
    map.next_value_seed(ScalarSeed)?.whole("Long")
}

/// A boolean, or a string that the service reads as one.
pub(crate) fn flag<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<bool>, A::Error> {
    Err(match map.next_value_seed(ScalarSeed)? {
        Scalar::Null => return Ok(None),
        Scalar::Bool(value) => return Ok(Some(value)),
        Scalar::List => {
            A::Error::custom(message::unrecognized_collection("class java.lang.Boolean"))
        }
        Scalar::Map => A::Error::custom(message::UNEXPECTED_STRUCTURE),
        Scalar::Integer(_) => A::Error::custom(message::cannot_convert("NUMBER_VALUE", "Boolean")),
        Scalar::Decimal(_) => A::Error::custom(message::cannot_convert("DECIMAL_VALUE", "Boolean")),
        Scalar::Text(text) => match truth(&text) {
            Some(value) => return Ok(Some(value)),
            None => A::Error::custom(message::UNEXPECTED_TOKEN),
        },
    })
}

/// The truth that a word stands for, whatever its case.
fn truth(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool); 10] = [
        ("true", true),
        ("t", true),
        ("yes", true),
        ("y", true),
        ("1", true),
        ("false", false),
        ("f", false),
        ("no", false),
        ("n", false),
        ("0", false),
    ];
    WORDS.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, value)| *value)
}

/// The members of a set, as they are sent: a null is none.
pub(super) type SetMembers<'de> = Vec<Option<Cow<'de, str>>>;

/// The members of a set.
pub(super) fn set_members<'de, A: MapAccess<'de>>(
    map: &mut A,
) -> Result<Option<SetMembers<'de>>, A::Error> {
    map.next_value_seed(List(|| TextSeed, SET_ELEMENTS_MAX, PhantomData))
}

/// A list of strings; a null among them is an empty string, which no caller accepts.
pub(crate) fn texts<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Vec<String>>, A::Error> {
    let list = set_members(map)?;
    let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).unwrap_or_default();
    Ok(list.map(|list| list.into_iter().map(text).collect()))
}

struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Option<Cow<'de, str>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        ScalarSeed.deserialize(deserializer)?.text()
    }
}

/// Skips a member that the structure does not have.
pub(crate) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

/// Whether a member that is not supported asks for anything: null and empty lists and maps do not.
pub(crate) fn presence<'de, A: MapAccess<'de>>(map: &mut A) -> Result<bool, A::Error> {
    map.next_value_seed(Presence)
}

struct Presence;

impl<'de> DeserializeSeed<'de> for Presence {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Presence {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        Ok(true)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<bool, E> {
        Ok(true)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<bool, E> {
        Ok(true)
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<bool, E> {
        Ok(true)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let mut present = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            present = true;
        }
        Ok(present)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut present = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            present = true;
        }
        Ok(present)
    }
}

/// A nested structure.
pub(crate) fn structure<'de, A: MapAccess<'de>, T: Members>(
    map: &mut A,
) -> Result<Option<T>, A::Error> {
    map.next_value_seed(Structure(PhantomData))
}

/// A list of structures; nulls among them are skipped.
pub(crate) fn list<'de, A: MapAccess<'de>, T: Members>(
    map: &mut A,
) -> Result<Option<Vec<T>>, A::Error> {
    let list =
        map.next_value_seed(List(|| Structure::<T>(PhantomData), ELEMENTS_MAX, PhantomData))?;
    Ok(list.map(|list| list.into_iter().flatten().collect()))
}

/// A map from names to strings; a null among them is an empty string, which no caller accepts.
pub(crate) fn text_map<'de, A: MapAccess<'de>>(
    map: &mut A,
) -> Result<Option<BTreeMap<String, String>>, A::Error> {
    let map = map.next_value_seed(MapOf(|| TextSeed, PhantomData))?;
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).unwrap_or_default();
    Ok(map.map(|map| map.into_iter().map(|(name, text)| (name, owned(text))).collect()))
}

/// A map from names to structures.
pub(crate) fn structure_map<'de, A: MapAccess<'de>, T: Members>(
    map: &mut A,
) -> Result<Option<BTreeMap<String, Option<T>>>, A::Error> {
    map.next_value_seed(MapOf(|| Structure::<T>(PhantomData), PhantomData))
}

/// Lists by name, `None` for null.
pub(crate) type ListMap<T> = BTreeMap<String, Option<Vec<T>>>;

/// A map from names to lists of structures; nulls in the lists are skipped.
pub(crate) fn list_map<'de, A: MapAccess<'de>, T: Members>(
    map: &mut A,
) -> Result<Option<ListMap<T>>, A::Error> {
    let list = || List(|| Structure::<T>(PhantomData), ELEMENTS_MAX, PhantomData);
    let map = map.next_value_seed(MapOf(list, PhantomData))?;
    let present = |list: Option<Vec<Option<T>>>| list.map(|l| l.into_iter().flatten().collect());
    Ok(map.map(|map| map.into_iter().map(|(name, list)| (name, present(list))).collect()))
}

/// Reads one structure; `None` for null.
struct Structure<T>(PhantomData<T>);

impl<'de, T: Members> DeserializeSeed<'de> for Structure<T> {
    type Value = Option<T>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Members> Visitor<'de> for Structure<T> {
    type Value = Option<T>;
    refuse_scalars!(message::UNEXPECTED_VALUE);
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        let class = format!("class com.amazonaws.dynamodb.v20120810.{}", T::NAME);
        Err(A::Error::custom(message::unrecognized_collection(&class)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut structure = T::default();
        while let Some(name) = map.next_key_seed(Name)? {
            structure.member(&name, &mut map)?;
        }
        Ok(Some(structure))
    }
}

/// Reads a list whose elements `F` knows how to read, so many at most; `None` for null.
pub(super) struct List<F, S>(pub(super) F, pub(super) usize, pub(super) PhantomData<S>);

impl<'de, S: DeserializeSeed<'de>, F: Fn() -> S> DeserializeSeed<'de> for List<F, S> {
    type Value = Option<Vec<S::Value>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de>, F: Fn() -> S> Visitor<'de> for List<F, S> {
    type Value = Option<Vec<S::Value>>;
    refuse_scalars!(message::UNEXPECTED_FIELD);
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = access.next_element_seed((self.0)())? {
            if list.len() == self.1 {
                return Err(A::Error::custom(message::TOO_MANY));
            }
            list.push(element);
        }
        Ok(Some(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom(message::UNEXPECTED_STRUCTURE))
    }
}

struct MapOf<F, S>(F, PhantomData<S>);

impl<'de, S: DeserializeSeed<'de>, F: Fn() -> S> DeserializeSeed<'de> for MapOf<F, S> {
    type Value = Option<BTreeMap<String, S::Value>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de>, F: Fn() -> S> Visitor<'de> for MapOf<F, S> {
    type Value = Option<BTreeMap<String, S::Value>>;
    refuse_scalars!(message::UNEXPECTED_FIELD);
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom(message::unrecognized_collection("java.util.Map")))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(name) = access.next_key_seed(Name)? {
            if map.len() == ELEMENTS_MAX {
                return Err(A::Error::custom(message::TOO_MANY));
            }
            map.insert(name.into_owned(), access.next_value_seed((self.0)())?);
        }
        Ok(Some(map))
    }
}
