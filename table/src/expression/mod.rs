//! Expressions: the small languages of DynamoDB's requests. Operations parse a request's
//! expressions once, bind them to the request's placeholders, and evaluate them over encoded items.
//! Each language has a file; the lexer, the reserved words and the placeholders are common to all.

pub(crate) mod condition;
mod cursor;
pub(crate) mod key_condition;
pub(crate) mod legacy;
mod lexer;
mod parsed;
mod path;
pub(crate) mod projection;
mod reserved;
pub(crate) mod update;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Result, TableError};
use crate::operation::{ExpressionAttributeNames, ExpressionAttributeValues};
use crate::validate::prepare_value;
use crate::{AttributeValue, message};
use condition::{ConditionExpression, Kind};
use key_condition::KeyConditionExpression;
use parsed::Parsed;
use projection::{Parts, ProjectionExpression};
use update::UpdateExpression;

/// UTF-8 bytes of the longest expression.
pub(crate) const MAX_EXPRESSION_BYTES: usize = 4096;

/// Bytes of all values of a request's expressions, with their keys.
const MAX_VALUES_BYTES: usize = 2 << 20;

/// The kind of expression that has no values.
const PROJECTION: &str = "ProjectionExpression";

/// The functions of conditions, and those of updates.
const CONDITION_FUNCTIONS: [&str; 6] = [
    "attribute_exists",
    "attribute_not_exists",
    "attribute_type",
    "begins_with",
    "contains",
    "size",
];
const UPDATE_FUNCTIONS: [&str; 2] = ["if_not_exists", "list_append"];

/// Why an expression is refused, without the words in front that say which expression it is.
type Why = String;

fn invalid(kind: &str, why: &str) -> TableError {
    TableError::validation(message::invalid_expression(kind, why))
}

/// A request's ConditionExpression, parsed.
pub(crate) fn condition(source: Option<&str>) -> Result<Option<Arc<ConditionExpression>>> {
    static PARSED: Parsed<ConditionExpression> = Parsed::new();
    let parse = |source: &str| ConditionExpression::parse(Kind::Condition, source);
    source.map(|source| PARSED.get(source, parse)).transpose()
}

/// A request's FilterExpression, parsed.
pub(crate) fn filter(source: Option<&str>) -> Result<Option<Arc<ConditionExpression>>> {
    static PARSED: Parsed<ConditionExpression> = Parsed::new();
    let parse = |source: &str| ConditionExpression::parse(Kind::Filter, source);
    source.map(|source| PARSED.get(source, parse)).transpose()
}

/// A request's ProjectionExpression, parsed.
pub(crate) fn projection(source: Option<&str>) -> Result<Option<Arc<ProjectionExpression>>> {
    static PARSED: Parsed<ProjectionExpression> = Parsed::new();
    source.map(|source| PARSED.get(source, ProjectionExpression::parse)).transpose()
}

/// A request's KeyConditionExpression, parsed.
pub(crate) fn key_condition(source: Option<&str>) -> Result<Option<Arc<KeyConditionExpression>>> {
    static PARSED: Parsed<KeyConditionExpression> = Parsed::new();
    source.map(|source| PARSED.get(source, KeyConditionExpression::parse)).transpose()
}

/// A request's UpdateExpression, parsed.
pub(crate) fn update(source: Option<&str>) -> Result<Option<Arc<UpdateExpression>>> {
    static PARSED: Parsed<UpdateExpression> = Parsed::new();
    source.map(|source| PARSED.get(source, UpdateExpression::parse)).transpose()
}

/// Binds the projection of a request that has no other expression.
pub(crate) fn parts<'r>(
    projection: Option<&'r ProjectionExpression>,
    names: Option<&'r ExpressionAttributeNames>,
) -> Result<Option<Parts<'r>>> {
    prepare_placeholders(names, None, &[(PROJECTION, projection.is_some())])?;
    let mut placeholders = Placeholders::new(names, None)?;
    let parts = projection.map(|projection| projection.bind(&mut placeholders)).transpose()?;
    placeholders.check_all_used()?;
    Ok(parts)
}

/// Checks the names and values that a request has for its expressions, which comes before anything else in it that may be
/// wrong with a value, and sorts the values' sets, as those of items are. `expressions` are those that the operation may
/// have, in the order in which messages name them, and whether each is there.
///
/// # Errors
/// `Validation` for what no expression can use, and for a value that no item can have.
pub fn prepare_placeholders(
    names: Option<&ExpressionAttributeNames>,
    values: Option<&mut ExpressionAttributeValues>,
    expressions: &[(&str, bool)],
) -> Result<()> {
    if let Some(names) = names {
        if expressions.iter().all(|(_, is_there)| !is_there) {
            return Err(TableError::validation(message::NAMES_WITHOUT_ANY));
        }
        check_names(names)?;
    }
    let Some(values) = values else { return Ok(()) };
    let mut with_values = expressions.iter().filter(|(name, _)| *name != PROJECTION);
    if with_values.clone().all(|(_, is_there)| !is_there) {
        let missing: Vec<&str> = with_values.by_ref().map(|(name, _)| *name).collect();
        return Err(TableError::validation(message::values_without(&missing)));
    }
    check_value_keys(values)?;
    prepare_values(values)
}

/// Checks the values of a request and sorts their sets.
fn prepare_values(values: &mut ExpressionAttributeValues) -> Result<()> {
    let mut room = MAX_VALUES_BYTES;
    for (key, value) in values {
        prepare_value(value, 1).map_err(|error| {
            TableError::validation(message::expression_value_invalid(key, error.message()))
        })?;
        room = (room.checked_sub(key.len() + value.size_bytes()))
            .ok_or_else(|| TableError::validation(message::EXPRESSION_VALUES_SIZE))?;
    }
    Ok(())
}

fn check_names(names: &ExpressionAttributeNames) -> Result<()> {
    if names.is_empty() {
        return Err(TableError::validation(message::EXPRESSION_NAMES_EMPTY));
    }
    if let Some(key) = names.keys().find(|key| !is_placeholder(key, '#')) {
        return Err(TableError::validation(message::expression_name_key(key)));
    }
    match names.iter().find(|(_, name)| name.is_empty()) {
        Some((key, _)) => Err(TableError::validation(message::expression_name_empty(key))),
        None => Ok(()),
    }
}

fn check_value_keys(values: &ExpressionAttributeValues) -> Result<()> {
    if values.is_empty() {
        return Err(TableError::validation(message::EXPRESSION_VALUES_EMPTY));
    }
    match values.keys().find(|key| !is_placeholder(key, ':')) {
        Some(key) => Err(TableError::validation(message::expression_value_key(key))),
        None => Ok(()),
    }
}

/// The placeholders of a request and which of them its expressions have used.
pub(crate) struct Placeholders<'r> {
    names: Option<&'r ExpressionAttributeNames>,
    values: Option<&'r ExpressionAttributeValues>,
    used_names: BTreeSet<&'r str>,
    used_values: BTreeSet<&'r str>,
}

impl<'r> Placeholders<'r> {
    /// Takes a request's placeholders; refuses empty maps and keys that are no placeholders.
    pub(crate) fn new(
        names: Option<&'r ExpressionAttributeNames>,
        values: Option<&'r ExpressionAttributeValues>,
    ) -> Result<Self> {
        names.map_or(Ok(()), check_names)?;
        values.map_or(Ok(()), check_value_keys)?;
        Ok(Self { names, values, used_names: BTreeSet::new(), used_values: BTreeSet::new() })
    }

    /// The attribute name that a `#name` stands for, or the message that it is not defined.
    fn name(&mut self, placeholder: &str) -> std::result::Result<&'r str, String> {
        let entry = self.names.and_then(|names| names.get_key_value(placeholder));
        let (key, name) = entry.ok_or_else(|| message::undefined_name(placeholder))?;
        self.used_names.insert(key);
        Ok(name)
    }

    /// The value that a `:value` stands for, or the message that it is not defined.
    fn value(&mut self, placeholder: &str) -> std::result::Result<&'r AttributeValue, String> {
        let entry = self.values.and_then(|values| values.get_key_value(placeholder));
        let (key, value) = entry.ok_or_else(|| message::undefined_value(placeholder))?;
        self.used_values.insert(key);
        Ok(value)
    }

    /// Refuses placeholders that no expression has used. Called when all expressions of a request
    /// are bound.
    pub(crate) fn check_all_used(&self) -> Result<()> {
        let unused_names: Vec<&str> = (self.names.into_iter().flat_map(|names| names.keys()))
            .map(String::as_str)
            .filter(|key| !self.used_names.contains(key))
            .collect();
        if !unused_names.is_empty() {
            return Err(TableError::validation(message::unused_names(&unused_names)));
        }
        let unused_values: Vec<&str> = (self.values.into_iter().flat_map(|values| values.keys()))
            .map(String::as_str)
            .filter(|key| !self.used_values.contains(key))
            .collect();
        if !unused_values.is_empty() {
            return Err(TableError::validation(message::unused_values(&unused_values)));
        }
        Ok(())
    }
}

/// Whether a key of the placeholder maps is its sign and at least one letter, digit or underscore.
fn is_placeholder(key: &str, sign: char) -> bool {
    key.strip_prefix(sign).is_some_and(|word| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}
