//! `Expected`, `QueryFilter` and `ScanFilter`: conditions on attributes by their names, all of which have to hold, or one.
//! Each is what an expression says with the same words, but `NOT_CONTAINS` does not hold where the attribute is not there,
//! as `NE` does.

use super::Comparator;
use super::bind::{Bound, BoundCondition, BoundOperand};
use crate::AttributeValue;
use crate::error::{Result, TableError};
use crate::expression::path::BoundStep;
use crate::message::legacy as message;
use crate::operation::{
    ComparisonOperator, ConditionalOperator, Conditions, Expected, ExpectedAttributeValue,
};

impl<'r> BoundCondition<'r> {
    /// What an `Expected` says; `None` where it expects nothing.
    pub(crate) fn of_expected(
        expected: Option<&'r Expected>,
        operator: Option<ConditionalOperator>,
    ) -> Result<Option<Self>> {
        let all = expected.into_iter().flatten();
        joined(all.map(|(name, expected)| expectation(name, expected)), operator)
    }

    /// What a `QueryFilter` or `ScanFilter` says; `None` where it lets everything through.
    pub(crate) fn of_filter(
        filter: Option<&'r Conditions>,
        operator: Option<ConditionalOperator>,
    ) -> Result<Option<Self>> {
        let all = filter.into_iter().flatten();
        let condition = all.map(|(name, condition)| {
            comparison(name, condition.comparison_operator, &condition.attribute_value_list)
        });
        joined(condition, operator)
    }
}

/// A tree no deeper than it has to be.
fn joined<'r>(
    conditions: impl Iterator<Item = Result<Bound<'r>>>,
    operator: Option<ConditionalOperator>,
) -> Result<Option<BoundCondition<'r>>> {
    let join = match operator.unwrap_or_default() {
        ConditionalOperator::And => Bound::And,
        ConditionalOperator::Or => Bound::Or,
    };
    let mut row = conditions.collect::<Result<Vec<_>>>()?;
    while row.len() > 1 {
        let mut pairs = Vec::with_capacity(row.len().div_ceil(2));
        let mut left = row.into_iter();
        while let Some(one) = left.next() {
            pairs.push(match left.next() {
                Some(two) => join(Box::new(one), Box::new(two)),
                None => one,
            });
        }
        row = pairs;
    }
    Ok(row.pop().map(|root| BoundCondition { root }))
}

fn expectation<'r>(name: &'r str, expected: &'r ExpectedAttributeValue) -> Result<Bound<'r>> {
    use ComparisonOperator::{Eq, NotNull, Null};
    let refused = |text: String| Err(TableError::validation(text));
    let ExpectedAttributeValue { value, exists, comparison_operator, attribute_value_list } =
        expected;
    if exists.is_some() && comparison_operator.is_some() {
        return refused(message::used_together("Exists", "ComparisonOperator", name));
    }
    if value.is_some() && attribute_value_list.is_some() {
        return refused(message::used_together("Value", "AttributeValueList", name));
    }
    let value = value.as_ref().map(std::slice::from_ref);
    match (comparison_operator, attribute_value_list.as_deref().or(value), exists) {
        (Some(operator), Some(values), _) => comparison(name, *operator, values),
        (Some(operator @ (Null | NotNull)), None, _) => comparison(name, *operator, &[]),
        (Some(operator), None, _) => {
            refused(message::comparison_without_value(operator.name(), name))
        }
        (None, _, _) if attribute_value_list.is_some() => {
            refused(message::list_without_comparison(name))
        }
        (None, Some(_), Some(false)) => refused(message::value_of_absent(name)),
        (None, None, Some(false)) => comparison(name, Null, &[]),
        (None, Some(value), _) => comparison(name, Eq, value),
        (None, None, Some(true)) => refused(message::exists_without_value("true", name)),
        (None, None, None) => refused(message::exists_without_value("null", name)),
    }
}

/// A comparison of the attribute `name`.
fn comparison<'r>(
    name: &'r str,
    operator: ComparisonOperator,
    values: &'r [AttributeValue],
) -> Result<Bound<'r>> {
    use ComparisonOperator::{
        BeginsWith, Between, Contains, Eq, Ge, Gt, In, Le, Lt, Ne, NotContains, NotNull, Null,
    };
    operator.check(values)?;
    let path = || vec![BoundStep::Name(name)];
    let attribute = || BoundOperand::Path(path());
    let value = BoundOperand::Value;
    let compare = |comparator, to| Bound::Compare(comparator, attribute(), value(to));
    Ok(match (operator, values) {
        (Null, []) => Bound::NotExists(path()),
        (NotNull, []) => Bound::Exists(path()),
        (In, values) => Bound::In(attribute(), values.iter().map(value).collect()),
        (Between, [low, high]) => Bound::Between([attribute(), value(low), value(high)]),
        (Eq, [to]) => compare(Comparator::Equal, to),
        (Ne, [to]) => compare(Comparator::NotEqual, to),
        (Le, [to]) => compare(Comparator::LessOrEqual, to),
        (Lt, [to]) => compare(Comparator::Less, to),
        (Ge, [to]) => compare(Comparator::GreaterOrEqual, to),
        (Gt, [to]) => compare(Comparator::Greater, to),
        (BeginsWith, [prefix]) => Bound::BeginsWith(attribute(), value(prefix)),
        (Contains, [wanted]) => Bound::Contains(attribute(), value(wanted)),
        (NotContains, [unwanted]) => Bound::And(
            Box::new(Bound::Exists(path())),
            Box::new(Bound::Not(Box::new(Bound::Contains(attribute(), value(unwanted))))),
        ),
        _ => return Err(TableError::validation(message::argument_count(operator.name()))),
    })
}

#[cfg(test)]
mod tests;
