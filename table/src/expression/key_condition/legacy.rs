//! `KeyConditions`: which items of a partition a Query reads, by the names of the key's attributes.

use super::{BoundKeyCondition, Comparison, Resolved};
use crate::error::{Result, TableError};
use crate::key_schema::{KeyAttribute, KeyAttributes};
use crate::message;
use crate::operation::{ComparisonOperator, Condition, Conditions};

impl<'r> BoundKeyCondition<'r> {
    /// Checks what can be checked of `KeyConditions` without the table.
    pub(crate) fn check_conditions(conditions: &Conditions) -> Result<()> {
        for condition in conditions.values() {
            condition.comparison_operator.check(&condition.attribute_value_list)?;
        }
        if !matches!(conditions.len(), 1 | 2) {
            return Err(TableError::validation(message::legacy::KEY_CONDITION_COUNT));
        }
        Ok(())
    }

    /// Matches `KeyConditions` with the key of a table or an index.
    pub(crate) fn of_conditions(
        conditions: &'r Conditions,
        key: KeyAttributes<'_>,
    ) -> Result<Self> {
        let not_supported = || TableError::validation(message::KEY_CONDITION_NOT_SUPPORTED);
        let (partition, sort) = match (key.hash, key.range) {
            ([_], []) if conditions.len() > 1 => return Err(not_supported()),
            ([partition], range @ ([] | [_])) => (partition, range.first()),
            // More attributes than there can be conditions on a simple key.
            _ => {
                let all = conditions.iter().map(|(name, condition)| resolved(name, condition));
                return Self::matched(&all.collect::<Result<Vec<_>>>()?, key);
            }
        };
        let on = |attribute: &KeyAttribute| match conditions.get_key_value(&attribute.name) {
            Some((name, condition)) => resolved(name, condition),
            None => Err(TableError::validation(message::missed_key_element(&attribute.name))),
        };
        let hash = on(partition)?;
        let value = partition.condition_part(hash.low)?;
        if hash.comparison != Comparison::Equal {
            return Err(not_supported());
        }
        let sort = match sort {
            Some(attribute) if conditions.len() > 1 => Some(on(attribute)?.on(attribute)?),
            _ => None,
        };
        Ok(Self { hash: vec![value], leading: Vec::new(), sort })
    }
}

fn resolved<'r>(name: &'r str, condition: &'r Condition) -> Result<Resolved<'r>> {
    let comparison = match condition.comparison_operator {
        ComparisonOperator::Eq => Some(Comparison::Equal),
        ComparisonOperator::Lt => Some(Comparison::Less),
        ComparisonOperator::Le => Some(Comparison::LessOrEqual),
        ComparisonOperator::Gt => Some(Comparison::Greater),
        ComparisonOperator::Ge => Some(Comparison::GreaterOrEqual),
        ComparisonOperator::Between => Some(Comparison::Between),
        ComparisonOperator::BeginsWith => Some(Comparison::BeginsWith),
        _ => None,
    };
    match (comparison, condition.attribute_value_list.as_slice()) {
        (Some(comparison), values @ ([low] | [low, _])) => {
            let high = values.last().unwrap_or(low);
            Ok(Resolved { name, comparison, low, high })
        }
        _ => Err(TableError::validation(message::legacy::KEY_CONDITION_OPERATOR)),
    }
}

#[cfg(test)]
mod tests;
