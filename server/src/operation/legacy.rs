//! The parameters from before expressions on the wire: conditions, expectations and updates of attributes by their names.
//! Called by the operations that have them. What they mean is the table layer's business.

use std::collections::BTreeMap;

use esker_table::AttributeValue;
use esker_table::operation::{
    AttributeAction, AttributeUpdates, AttributeValueUpdate, ComparisonOperator, Condition,
    ConditionalOperator, Conditions, Expected, ExpectedAttributeValue,
};
use serde::de::MapAccess;

use super::constraint::Constraints;
use crate::error::WireError;
use crate::json::{self, Decoded, Members};
use crate::message;

const CONDITIONAL_OPERATOR: &[(&str, ConditionalOperator)] =
    &[("OR", ConditionalOperator::Or), ("AND", ConditionalOperator::And)];

const COMPARISON_OPERATOR: &[(&str, ComparisonOperator)] = &[
    ("IN", ComparisonOperator::In),
    ("NULL", ComparisonOperator::Null),
    ("BETWEEN", ComparisonOperator::Between),
    ("LT", ComparisonOperator::Lt),
    ("NOT_CONTAINS", ComparisonOperator::NotContains),
    ("EQ", ComparisonOperator::Eq),
    ("GT", ComparisonOperator::Gt),
    ("NOT_NULL", ComparisonOperator::NotNull),
    ("NE", ComparisonOperator::Ne),
    ("LE", ComparisonOperator::Le),
    ("BEGINS_WITH", ComparisonOperator::BeginsWith),
    ("GE", ComparisonOperator::Ge),
    ("CONTAINS", ComparisonOperator::Contains),
];

const ACTION: &[(&str, AttributeAction)] = &[
    ("ADD", AttributeAction::Add),
    ("DELETE", AttributeAction::Delete),
    ("PUT", AttributeAction::Put),
];

/// A structure for each attribute, as sent.
pub(super) type ByName<T> = BTreeMap<String, Option<T>>;

/// `Condition`.
#[derive(Default)]
pub(super) struct ConditionIn {
    operator: Option<String>,
    values: Option<Decoded<Vec<AttributeValue>>>,
}

impl Members for ConditionIn {
    const NAME: &'static str = "Condition";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "ComparisonOperator" => self.operator = json::text(map)?,
            "AttributeValueList" => self.values = json::attribute_values(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// `ExpectedAttributeValue`.
#[derive(Default)]
pub(super) struct ExpectedIn {
    value: Option<Decoded<AttributeValue>>,
    exists: Option<bool>,
    operator: Option<String>,
    values: Option<Decoded<Vec<AttributeValue>>>,
}

impl Members for ExpectedIn {
    const NAME: &'static str = "ExpectedAttributeValue";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Value" => self.value = json::attribute_value(map)?,
            "Exists" => self.exists = json::flag(map)?,
            "ComparisonOperator" => self.operator = json::text(map)?,
            "AttributeValueList" => self.values = json::attribute_values(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// `AttributeValueUpdate`.
#[derive(Default)]
pub(super) struct UpdateIn {
    action: Option<String>,
    value: Option<Decoded<AttributeValue>>,
}

impl Members for UpdateIn {
    const NAME: &'static str = "AttributeValueUpdate";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Action" => self.action = json::text(map)?,
            "Value" => self.value = json::attribute_value(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// How many conditions a `ConditionalOperator` joins, where there is one.
pub(super) fn joined<T>(operator: Option<&String>, given: Option<&ByName<T>>) -> Option<usize> {
    operator.map(|_| given.map_or(0, ByName::len))
}

/// What joins the conditions. One that is no operator is told only where there may be one, behind `check_parameters`.
pub(super) fn conditional_operator(
    given: Option<&str>,
) -> Result<Option<ConditionalOperator>, WireError> {
    let mut checks = Constraints::default();
    let found = checks.choice_worded(given, CONDITIONAL_OPERATOR, || {
        message::not_in_named_enum(message::CONDITIONAL_OPERATOR_SET)
    });
    checks.check()?;
    Ok(found)
}

/// Conditions, of which each has an operator; values that are none are told behind all that is wrong with the operators.
pub(super) fn conditions(
    checks: &mut Constraints,
    given: Option<ByName<ConditionIn>>,
    path: &str,
) -> Option<Decoded<Conditions>> {
    each(given, |name, given: ConditionIn| {
        let path = format!("{path}.{name}.member.comparisonOperator");
        let operator = if given.operator.is_none() {
            checks.required(None::<()>, &path);
            None
        } else {
            checks.choice(given.operator.as_deref(), &path, COMPARISON_OPERATOR)
        };
        Ok(Condition {
            // Another one is never looked at.
            comparison_operator: operator.unwrap_or(ComparisonOperator::Null),
            attribute_value_list: given.values.transpose()?.unwrap_or_default(),
        })
    })
}

/// What a write expects.
pub(super) fn expected(
    checks: &mut Constraints,
    given: Option<ByName<ExpectedIn>>,
) -> Option<Decoded<Expected>> {
    each(given, |name, given: ExpectedIn| {
        let path = format!("expected.{name}.member.comparisonOperator");
        Ok(ExpectedAttributeValue {
            comparison_operator: checks.choice(
                given.operator.as_deref(),
                &path,
                COMPARISON_OPERATOR,
            ),
            value: given.value.transpose()?,
            exists: given.exists,
            attribute_value_list: given.values.transpose()?,
        })
    })
}

/// Changes of attributes.
pub(super) fn updates(
    checks: &mut Constraints,
    given: Option<ByName<UpdateIn>>,
) -> Option<Decoded<AttributeUpdates>> {
    each(given, |_, given: UpdateIn| {
        let refusal = || message::UPDATE_ACTION.to_owned();
        Ok(AttributeValueUpdate {
            action: checks.choice_worded(given.action.as_deref(), ACTION, refusal),
            value: given.value.transpose()?,
        })
    })
}

/// Converts each structure, also those behind one that has something wrong; null is a structure without members.
fn each<T: Default, U>(
    given: Option<ByName<T>>,
    mut convert: impl FnMut(&str, T) -> Decoded<U>,
) -> Option<Decoded<BTreeMap<String, U>>> {
    let mut converted = Ok(BTreeMap::new());
    for (name, given) in given? {
        match (convert(&name, given.unwrap_or_default()), &mut converted) {
            (Ok(value), Ok(map)) => {
                map.insert(name, value);
            }
            (Err(problem), Ok(_)) => converted = Err(problem),
            (_, Err(_)) => {}
        }
    }
    Some(converted)
}
