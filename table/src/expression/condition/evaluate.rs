//! Whether a condition holds of an item in its stored form, of which only what the condition names is decoded. Values of
//! different types are neither equal nor ordered; a missing one is not equal to anything.

use super::Comparator;
use super::bind::{Bound, BoundCondition, BoundOperand};
use crate::error::Result;
use crate::expression::path::{BoundPath, BoundStep};
use crate::item::{ItemView, Peek, Place};
use crate::{AttributeValue, Number};

impl BoundCondition<'_> {
    /// Whether the condition holds of an item; `None` is one that does not exist.
    pub(crate) fn holds(&self, item: Option<ItemView<'_>>) -> Result<bool> {
        self.root.holds(item)
    }
}

impl Bound<'_> {
    /// No deeper than the expression has operators.
    fn holds(&self, item: Option<ItemView<'_>>) -> Result<bool> {
        Ok(match self {
            Self::And(left, right) => left.holds(item)? && right.holds(item)?,
            Self::Or(left, right) => left.holds(item)? || right.holds(item)?,
            Self::Not(inner) => !inner.holds(item)?,
            Self::Compare(comparator, left, right) => {
                match (left.value(item)?, right.value(item)?) {
                    (Some(left), Some(right)) => compares(*comparator, &left, &right),
                    _ => *comparator == Comparator::NotEqual,
                }
            }
            Self::Between([what, low, high]) => {
                match (what.value(item)?, low.value(item)?, high.value(item)?) {
                    (Some(what), Some(low), Some(high)) => {
                        compares(Comparator::GreaterOrEqual, &what, &low)
                            && compares(Comparator::LessOrEqual, &what, &high)
                    }
                    _ => false,
                }
            }
            Self::In(what, operands) => {
                let Some(what) = what.value(item)? else { return Ok(false) };
                for operand in operands {
                    if operand.value(item)?.is_some_and(|other| other == what) {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Exists(path) => follow(item, path)?.is_some(),
            Self::NotExists(path) => follow(item, path)?.is_none(),
            Self::IsType(of, wanted) => {
                of.value(item)?.is_some_and(|value| value.type_name() == *wanted)
            }
            Self::BeginsWith(of, prefix) => match (of.value(item)?, prefix.value(item)?) {
                (Some(Peek::S(text)), Some(Peek::S(prefix))) => text.starts_with(prefix),
                (Some(Peek::B(bytes)), Some(Peek::B(prefix))) => bytes.starts_with(prefix),
                _ => false,
            },
            Self::Contains(of, wanted) => match (of.value(item)?, wanted.value(item)?) {
                (Some(of), Some(wanted)) => contains(&of, &wanted),
                _ => false,
            },
        })
    }
}

impl BoundOperand<'_> {
    fn value<'a>(&'a self, item: Option<ItemView<'a>>) -> Result<Option<Peek<'a>>> {
        Ok(match self {
            Self::Path(path) => follow(item, path)?.map(Place::peek).transpose()?,
            Self::Value(value) => Some(Peek::of(value)),
            Self::Size(of) => of.value(item)?.as_ref().and_then(size).map(Peek::N),
        })
    }
}

/// What a path leads to.
fn follow<'a>(item: Option<ItemView<'a>>, path: &BoundPath<'_>) -> Result<Option<Place<'a>>> {
    let (Some(item), Some((BoundStep::Name(first), rest))) = (item, path.split_first()) else {
        return Ok(None);
    };
    let mut value = item.place(first)?;
    for step in rest {
        value = match (value, step) {
            (None, _) => return Ok(None),
            (Some(value), BoundStep::Name(name)) => value.member(name)?,
            (Some(value), BoundStep::Index(index)) => value.element(*index)?,
        };
    }
    Ok(value)
}

fn compares(comparator: Comparator, left: &Peek<'_>, right: &Peek<'_>) -> bool {
    let order = match (left, right) {
        (Peek::S(left), Peek::S(right)) => Some(left.cmp(right)),
        (Peek::N(left), Peek::N(right)) => Some(left.cmp(right)),
        (Peek::B(left), Peek::B(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match comparator {
        Comparator::Equal => left == right,
        Comparator::NotEqual => left != right,
        Comparator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
        Comparator::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
        Comparator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
        Comparator::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

/// What `size` answers: a text's UTF-16 units, bytes, members or elements. Other types have none.
fn size(value: &Peek<'_>) -> Option<Number> {
    let size = match value {
        Peek::S(text) => text.encode_utf16().count(),
        Peek::B(bytes) => bytes.len(),
        Peek::N(_) => return None,
        Peek::Other(other) => match &**other {
            AttributeValue::Ss(set) => set.len(),
            AttributeValue::Ns(set) => set.len(),
            AttributeValue::Bs(set) => set.len(),
            AttributeValue::L(list) => list.len(),
            AttributeValue::M(map) => map.len(),
            _ => return None,
        },
    };
    Some(Number::from(size as u64))
}

fn contains(value: &Peek<'_>, wanted: &Peek<'_>) -> bool {
    match (value, wanted) {
        (Peek::S(text), Peek::S(wanted)) => text.contains(wanted),
        (Peek::B(bytes), Peek::B(wanted)) => {
            wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == *wanted)
        }
        (Peek::Other(other), wanted) => match (&**other, wanted) {
            (AttributeValue::L(list), wanted) => {
                list.iter().any(|value| Peek::of(value) == *wanted)
            }
            (AttributeValue::Ss(set), Peek::S(wanted)) => set.iter().any(|member| member == wanted),
            (AttributeValue::Ns(set), Peek::N(wanted)) => set.contains(wanted),
            (AttributeValue::Bs(set), Peek::B(wanted)) => set.iter().any(|member| member == wanted),
            _ => false,
        },
        _ => false,
    }
}
