//! What makes values and items acceptable: nesting, sets, names and sizes, as DynamoDB has them.
//! Write operations call `prepare_item` once before they encode an item. Nothing here recurses
//! deeper than the nesting limit, however deep the value it is given.

use crate::error::{Result, TableError};
use crate::value::{AttributeValue, Item};
use crate::{Number, message};

/// How many levels a value may have: a top-level value is level 1, what a map or list in it holds
/// is level 2.
pub const MAX_NESTING_LEVELS: usize = 32;
/// Logical bytes of the largest item.
pub const MAX_ITEM_SIZE_BYTES: usize = 409_600;
/// UTF-8 bytes of the longest attribute name.
pub const MAX_ATTRIBUTE_NAME_BYTES: usize = 65_535;

/// What every element of a list or map, and every list or map itself, adds to the size.
const ELEMENT_OVERHEAD_BYTES: usize = 1;
pub(crate) const CONTAINER_OVERHEAD_BYTES: usize = 3;

/// Checks an item, sorts its sets and answers its logical size in bytes.
pub(crate) fn prepare_item(item: &mut Item) -> Result<usize> {
    let mut size = 0usize;
    for (name, value) in item.iter_mut() {
        check_name(name)?;
        prepare_value(value, 1)?;
        size = size.saturating_add(name.len()).saturating_add(value.size_bytes());
    }
    if size > MAX_ITEM_SIZE_BYTES {
        return Err(TableError::validation(message::ITEM_SIZE));
    }
    Ok(size)
}

/// Checks the name of an attribute.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(TableError::validation(message::EMPTY_ATTRIBUTE_NAME));
    }
    if name.len() > MAX_ATTRIBUTE_NAME_BYTES {
        return Err(TableError::validation(message::LONG_ATTRIBUTE_NAME));
    }
    Ok(())
}

/// Checks a value and sorts its sets; `level` is 1 for an attribute's own.
pub(crate) fn prepare_value(value: &mut AttributeValue, level: usize) -> Result<()> {
    if level > MAX_NESTING_LEVELS {
        return Err(TableError::validation(message::NESTING));
    }
    match value {
        AttributeValue::M(map) => {
            for (name, value) in map {
                check_name(name)?;
                prepare_value(value, level + 1)?;
            }
        }
        AttributeValue::L(list) => {
            for value in list {
                prepare_value(value, level + 1)?;
            }
        }
        AttributeValue::Ss(set) => sort_string_set(set)?,
        AttributeValue::Ns(set) => sort_number_set(set)?,
        AttributeValue::Bs(set) => sort_binary_set(set)?,
        AttributeValue::S(_)
        | AttributeValue::N(_)
        | AttributeValue::B(_)
        | AttributeValue::Bool(_)
        | AttributeValue::Null => {}
    }
    Ok(())
}

fn sort_string_set(set: &mut [String]) -> Result<()> {
    if set.is_empty() {
        return Err(TableError::validation(message::EMPTY_STRING_SET));
    }
    sort_unique(set, message::string_set_duplicates)
}

fn sort_number_set(set: &mut [Number]) -> Result<()> {
    if set.is_empty() {
        return Err(TableError::validation(message::EMPTY_NUMBER_SET));
    }
    sort_unique(set, |_| message::NUMBER_SET_DUPLICATES.to_owned())
}

fn sort_binary_set(set: &mut [Vec<u8>]) -> Result<()> {
    if set.is_empty() {
        return Err(TableError::validation(message::EMPTY_BINARY_SET));
    }
    sort_unique(set, message::binary_set_duplicates)
}

/// Sorts a set, or refuses it with `refusal` of its members in the order in which the service names
/// them.
fn sort_unique<T: Ord + Clone>(set: &mut [T], refusal: impl Fn(&[T]) -> String) -> Result<()> {
    if set.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    let mut sorted = set.to_vec();
    sorted.sort_unstable();
    if sorted.is_sorted_by(|a, b| a < b) {
        set.clone_from_slice(&sorted);
        return Ok(());
    }
    Err(TableError::validation(refusal(&as_the_service_names(set))))
}

/// A set with a repeated member as the service names it: what it had read before the first repeat,
/// sorted; the repeat; the rest as sent.
fn as_the_service_names<T: Ord + Clone>(set: &[T]) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    let repeat = set.iter().position(|member| !seen.insert(member)).unwrap_or(set.len());
    seen.into_iter().chain(&set[repeat..]).cloned().collect()
}

impl AttributeValue {
    /// A set of strings: sorted, without duplicates, not empty; empty strings may be members.
    pub fn string_set(mut members: Vec<String>) -> Result<Self> {
        sort_string_set(&mut members)?;
        Ok(Self::Ss(members))
    }

    /// A set of numbers: sorted, without duplicates (`1` and `1.0` are one), not empty.
    pub fn number_set(mut members: Vec<Number>) -> Result<Self> {
        sort_number_set(&mut members)?;
        Ok(Self::Ns(members))
    }

    /// A set of byte strings: sorted, without duplicates, not empty; empty byte strings may be
    /// members.
    pub fn binary_set(mut members: Vec<Vec<u8>>) -> Result<Self> {
        sort_binary_set(&mut members)?;
        Ok(Self::Bs(members))
    }

    /// The logical size in bytes as the service counts it. Only the values of valid items are
    /// measured: this recurses as deep as the value is.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(number) => number.size_bytes(),
            Self::B(bytes) => bytes.len(),
            Self::Bool(_) | Self::Null => 1,
            Self::Ss(set) => set.iter().map(String::len).sum(),
            Self::Ns(set) => set.iter().map(Number::size_bytes).sum(),
            Self::Bs(set) => set.iter().map(Vec::len).sum(),
            Self::L(list) => {
                let element = |v: &Self| ELEMENT_OVERHEAD_BYTES + v.size_bytes();
                CONTAINER_OVERHEAD_BYTES + list.iter().map(element).sum::<usize>()
            }
            Self::M(map) => {
                let entry =
                    |(k, v): (&String, &Self)| ELEMENT_OVERHEAD_BYTES + k.len() + v.size_bytes();
                CONTAINER_OVERHEAD_BYTES + map.iter().map(entry).sum::<usize>()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn item_of(value: AttributeValue) -> Item {
        Item::from([("a".to_owned(), value)])
    }

    fn refusal(value: AttributeValue) -> String {
        prepare_item(&mut item_of(value)).unwrap_err().message().to_owned()
    }

    #[test]
    fn thirty_one_wrappers_are_stored_and_thirty_two_refused() {
        let wrapped = |count: usize| {
            (0..count).fold(AttributeValue::from("x"), |inner, _| {
                AttributeValue::M(BTreeMap::from([("k".to_owned(), inner)]))
            })
        };
        assert!(prepare_item(&mut item_of(wrapped(31))).is_ok());
        assert_eq!(refusal(wrapped(32)), message::NESTING);
        let lists = (0..500).fold(AttributeValue::Null, |inner, _| AttributeValue::L(vec![inner]));
        assert_eq!(refusal(lists), message::NESTING);
    }

    #[test]
    fn sets_are_sorted_unique_and_not_empty() {
        let strings =
            |members: &[&str]| members.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            AttributeValue::string_set(strings(&["b", "", "a"])).unwrap(),
            AttributeValue::Ss(strings(&["", "a", "b"]))
        );
        assert_eq!(
            refusal(AttributeValue::Ss(strings(&["b", "a", "b", "C"]))),
            "One or more parameter values were invalid: \
             Input collection [\"a\", \"b\", \"b\", \"C\"] contains duplicates."
        );
        assert_eq!(
            refusal(AttributeValue::Bs(vec![vec![1], vec![1]])),
            "One or more parameter values were invalid: \
             Input collection [\"AQ==\",\"AQ==\"]of type BS contains duplicates."
        );
        let one = || "1".parse::<Number>().unwrap();
        let number_set = AttributeValue::number_set(vec![one(), "1.0".parse().unwrap()]);
        assert_eq!(number_set.unwrap_err().message(), message::NUMBER_SET_DUPLICATES);
        assert_eq!(refusal(AttributeValue::Ss(vec![])), message::EMPTY_STRING_SET);
        assert_eq!(refusal(AttributeValue::Ns(vec![])), message::EMPTY_NUMBER_SET);
        assert_eq!(refusal(AttributeValue::Bs(vec![])), message::EMPTY_BINARY_SET);
        let mut nested = item_of(AttributeValue::L(vec![AttributeValue::Ss(strings(&["z", "y"]))]));
        prepare_item(&mut nested).unwrap();
        assert_eq!(nested["a"], AttributeValue::L(vec![AttributeValue::Ss(strings(&["y", "z"]))]));
    }

    #[test]
    fn sizes_count_names_values_and_overheads() {
        for (value, size) in [
            (AttributeValue::from("h\u{e9}"), 3),
            (AttributeValue::from(-42), 3),
            (AttributeValue::Null, 1),
            (AttributeValue::Bool(true), 1),
            (AttributeValue::B(vec![0; 7]), 7),
            (AttributeValue::L(vec![]), 3),
            (AttributeValue::L(vec![AttributeValue::Null, AttributeValue::from("ab")]), 8),
            (AttributeValue::M(BTreeMap::from([("key".to_owned(), AttributeValue::from("v"))])), 8),
            (AttributeValue::Bs(vec![vec![1, 2], vec![3]]), 3),
        ] {
            assert_eq!(prepare_item(&mut item_of(value.clone())).unwrap(), 1 + size, "{value:?}");
        }
    }

    #[test]
    fn the_item_limit_is_exact() {
        let of_size = |size: usize| item_of(AttributeValue::B(vec![0; size - 1]));
        assert_eq!(prepare_item(&mut of_size(409_600)).unwrap(), MAX_ITEM_SIZE_BYTES);
        let error = prepare_item(&mut of_size(409_601)).unwrap_err();
        assert_eq!(error.message(), message::ITEM_SIZE);
    }

    #[test]
    fn names_have_limits() {
        let named = |name: String| Item::from([(name, AttributeValue::Null)]);
        assert!(prepare_item(&mut named("n".repeat(65_535))).is_ok());
        let long = prepare_item(&mut named("n".repeat(65_536))).unwrap_err();
        assert_eq!(long.message(), message::LONG_ATTRIBUTE_NAME);
        let empty = prepare_item(&mut named(String::new())).unwrap_err();
        assert_eq!(empty.message(), message::EMPTY_ATTRIBUTE_NAME);
    }
}
