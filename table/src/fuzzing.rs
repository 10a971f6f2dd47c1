//! Doors to internal parsers for the fuzz targets, and for them alone: no part of the public interface.

use std::collections::BTreeMap;

use crate::expression::condition::{ConditionExpression, Kind};
use crate::expression::key_condition::KeyConditionExpression;
use crate::expression::projection::ProjectionExpression;
use crate::expression::update::UpdateExpression;
use crate::expression::{Placeholders, prepare_placeholders};
use crate::item::EncodedItem;
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
        let bound = expression.bind(&mut placeholders, key.attributes()).is_ok();
        // Most expressions leave some unused; only that it does not panic is wanted.
        let _ = placeholders.check_all_used();
        Some(bound)
    };
    bind() == Some(true)
}

/// Takes a text for an expression of every other kind, and where it is one, evaluates it over an item and over none.
/// The placeholders are `#p` (the attribute `p`), `:n` and `:m` (numbers), `:s`, `:set`, `:l` (a list) and `:t`.
pub fn expression(source: &str) {
    let list = || {
        AttributeValue::L(vec![
            1.into(),
            AttributeValue::M(Item::from([("x".to_owned(), 2.into())])),
        ])
    };
    let set = || AttributeValue::Ss(vec!["b".to_owned(), "a".to_owned()]);
    let map =
        || AttributeValue::M(Item::from([("c".to_owned(), 3.into()), ("d".to_owned(), list())]));
    let names = BTreeMap::from([("#p".to_owned(), "p".to_owned())]);
    let mut values = Item::from([
        (":n".to_owned(), (-5).into()),
        (":m".to_owned(), 7.into()),
        (":s".to_owned(), "SS".into()),
        (":set".to_owned(), set()),
        (":l".to_owned(), list()),
        (":t".to_owned(), AttributeValue::Bool(true)),
    ]);
    let mut item = Item::from([
        ("a".to_owned(), 1.into()),
        ("s".to_owned(), "SSS".into()),
        ("ss".to_owned(), set()),
        ("l".to_owned(), list()),
        ("p".to_owned(), map()),
    ]);
    let mut evaluate = || -> crate::error::Result<()> {
        prepare_placeholders(None, Some(&mut values), &[("FilterExpression", true)])?;
        let encoded = EncodedItem::encode(&mut item)?;
        let placeholders = || Placeholders::new(Some(&names), Some(&values));
        if let Ok(condition) = ConditionExpression::parse(Kind::Filter, source)
            && let Ok(bound) = condition.bind(&mut placeholders()?)
        {
            bound.holds(Some(encoded.view()))?;
            bound.holds(None)?;
        }
        if let Ok(projection) = ProjectionExpression::parse(source)
            && let Ok(parts) = projection.bind(&mut placeholders()?)
        {
            parts.of_view(encoded.view())?;
        }
        if let Ok(update) = UpdateExpression::parse(source)
            && let Ok(bound) = update.bind(&mut placeholders()?)
            && let Ok(mut updated) = bound.apply(item.clone())
        {
            EncodedItem::encode(&mut updated)?;
        }
        Ok(())
    };
    evaluate().expect("invariant: the item and the values are valid, and stay so");
}
