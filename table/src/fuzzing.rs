//! Doors to internal parsers for the fuzz targets, and for them alone: no part of the public interface.

use std::collections::BTreeMap;

use crate::expression::Placeholders;
use crate::expression::key_condition::KeyConditionExpression;
use crate::key_schema::TableKey;
use crate::schema::{AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};
use crate::{AttributeValue, Item};

/// Parses a key condition and binds it to a key of a string `pk` and a number `sk`; whether both
/// succeeded. The placeholders are `#pk`, `#sk`, `:s` (a string), `:n` and `:m` (numbers) and `:b`.
pub fn key_condition(source: &str) -> bool {
    let definition = |name: &str, attribute_type| AttributeDefinition {
        attribute_name: name.to_owned(),
        attribute_type,
    };
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    let schema = [element("pk", KeyType::Hash), element("sk", KeyType::Range)];
    let definitions =
        [definition("pk", ScalarAttributeType::S), definition("sk", ScalarAttributeType::N)];
    let names =
        BTreeMap::from([("#pk".to_owned(), "pk".to_owned()), ("#sk".to_owned(), "sk".to_owned())]);
    let values = Item::from([
        (":s".to_owned(), "text".into()),
        (":n".to_owned(), (-5).into()),
        (":m".to_owned(), 7.into()),
        (":b".to_owned(), AttributeValue::Bool(true)),
    ]);
    let bind = || {
        let key = TableKey::new(&schema, &definitions)?;
        let expression = KeyConditionExpression::parse(source).ok()?;
        let mut placeholders = Placeholders::new(Some(&names), Some(&values)).ok()?;
        let bound = expression.bind(&mut placeholders, &key).is_ok();
        // Most expressions leave some unused; only that it does not panic is wanted.
        let _ = placeholders.check_all_used();
        Some(bound)
    };
    bind() == Some(true)
}
