//! The parameters from before expressions, made into what comes of expressions, so that evaluating them is the same. Here:
//! what all of them have in common. Their conditions are in `condition/legacy.rs`, those on keys in
//! `key_condition/legacy.rs`, updates in `update/legacy.rs`, names of attributes in `projection.rs`.
//!
//! Names are those of attributes of the item, whatever is in them; there are no paths and no placeholders.

use crate::error::{Result, TableError};
use crate::operation::{AttributeUpdates, ComparisonOperator, Conditions, Expected};
use crate::validate::{check_name, prepare_value};
use crate::{AttributeValue, message};

/// Conditions of one parameter at most, and values of all of them. The service tells no limits; these are about those that
/// an expression has with the most operators it may have.
const CONDITIONS_MAX: usize = 300;
const VALUES_MAX: usize = 10_000;

/// Refuses a request that has parameters of both kinds, and a `ConditionalOperator` that has nothing to join: `joined` is
/// the number of conditions where there is one. `legacy` and `expressions` are the parameters that the operation may have,
/// in the order in which messages name them, and whether each is there.
///
/// # Errors
/// `Validation`.
pub fn check_parameters(
    legacy: &[(&str, bool)],
    expressions: &[(&str, bool)],
    joined: Option<usize>,
) -> Result<()> {
    let there = |list: &[(&str, bool)]| list.iter().any(|(_, is_there)| *is_there);
    let text = match joined {
        _ if there(legacy) && there(expressions) => {
            let legacy = legacy.iter().filter(|(_, is_there)| *is_there);
            let expressions = expressions.iter().filter(|(_, is_there)| *is_there);
            message::legacy::mixed(
                &legacy.map(|(name, _)| *name).collect::<Vec<_>>(),
                &expressions.map(|(name, _)| *name).collect::<Vec<_>>(),
            )
        }
        Some(0) => message::legacy::OPERATOR_WITHOUT_CONDITIONS.to_owned(),
        Some(1) => message::legacy::OPERATOR_WITH_ONE_CONDITION.to_owned(),
        _ => return Ok(()),
    };
    Err(TableError::validation(text))
}

/// Checks the names and values of an `Expected` and sorts its sets.
pub(crate) fn prepare_expected(expected: Option<&mut Expected>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    check_counts(expected.values().map(|expected| {
        let list = expected.attribute_value_list.as_ref().map_or(0, Vec::len);
        list + usize::from(expected.value.is_some())
    }))?;
    for (name, expected) in expected {
        let list = expected.attribute_value_list.iter_mut().flatten();
        prepare(name, expected.value.iter_mut().chain(list))?;
    }
    Ok(())
}

/// Checks the names and values of conditions and sorts their sets.
pub(crate) fn prepare_conditions(conditions: Option<&mut Conditions>) -> Result<()> {
    let Some(conditions) = conditions else { return Ok(()) };
    check_counts(conditions.values().map(|condition| condition.attribute_value_list.len()))?;
    let mut all = conditions.iter_mut();
    all.try_for_each(|(name, condition)| prepare(name, condition.attribute_value_list.iter_mut()))
}

/// Checks the names and values of updates and sorts their sets.
pub(crate) fn prepare_updates(updates: Option<&mut AttributeUpdates>) -> Result<()> {
    let mut all = updates.into_iter().flatten();
    all.try_for_each(|(name, update)| prepare(name, update.value.iter_mut()))
}

fn prepare<'r>(name: &str, mut values: impl Iterator<Item = &'r mut AttributeValue>) -> Result<()> {
    check_name(name)?;
    values.try_for_each(|value| prepare_value(value, 1))
}

/// `values` are the numbers of values of each condition.
fn check_counts(values: impl ExactSizeIterator<Item = usize>) -> Result<()> {
    let conditions_count = values.len();
    let values_count = values.sum();
    if conditions_count > CONDITIONS_MAX {
        return Err(TableError::validation(message::too_many_operators(conditions_count)));
    }
    if values_count > VALUES_MAX {
        return Err(TableError::validation(message::too_many_in_operands(values_count)));
    }
    Ok(())
}

impl ComparisonOperator {
    /// As the service names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Eq => "EQ",
            Self::Ne => "NE",
            Self::In => "IN",
            Self::Le => "LE",
            Self::Lt => "LT",
            Self::Ge => "GE",
            Self::Gt => "GT",
            Self::Between => "BETWEEN",
            Self::NotNull => "NOT_NULL",
            Self::Null => "NULL",
            Self::Contains => "CONTAINS",
            Self::NotContains => "NOT_CONTAINS",
            Self::BeginsWith => "BEGINS_WITH",
        }
    }

    /// Checks the values that an attribute is compared with: how many they are, that their types are the same and one that
    /// the operator takes, and that bounds are in order.
    pub(super) fn check(self, values: &[AttributeValue]) -> Result<()> {
        let refused = |text: String| Err(TableError::validation(text));
        let fits = match self {
            Self::Null | Self::NotNull => values.is_empty(),
            Self::In => !values.is_empty(),
            Self::Between => values.len() == 2,
            _ => values.len() == 1,
        };
        if !fits {
            return refused(message::legacy::argument_count(self.name()));
        }
        let Some((first, rest)) = values.split_first() else { return Ok(()) };
        let type_name = first.type_name();
        if rest.iter().any(|value| value.type_name() != type_name) {
            return refused(message::legacy::ARGUMENT_TYPES.to_owned());
        }
        let takes: &[&str] = match self {
            Self::Eq | Self::Ne | Self::Null | Self::NotNull => return Ok(()),
            Self::Contains | Self::NotContains => &["S", "N", "B", "BOOL", "NULL"],
            Self::BeginsWith => &["S", "B"],
            _ => &["S", "N", "B"],
        };
        if !takes.contains(&type_name) {
            return refused(message::legacy::argument_type(self.name(), type_name));
        }
        let is_in_order = match (self, values) {
            (Self::Between, [AttributeValue::S(low), AttributeValue::S(high)]) => low <= high,
            (Self::Between, [AttributeValue::N(low), AttributeValue::N(high)]) => low <= high,
            (Self::Between, [AttributeValue::B(low), AttributeValue::B(high)]) => low <= high,
            _ => true,
        };
        if is_in_order { Ok(()) } else { refused(message::legacy::BETWEEN_ORDER.to_owned()) }
    }
}

#[cfg(test)]
pub(super) mod tests;
