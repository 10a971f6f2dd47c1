//! Whether a condition holds of an item in its stored form, of which only what the condition names is decoded. Values of
//! different types are neither equal nor ordered; a missing one is not equal to anything.

use memchr::memmem;

use super::Comparator;
use super::bind::{Bound, BoundCondition, BoundOperand};
use crate::Number;
use crate::error::Result;
use crate::expression::path::{BoundPath, BoundStep};
use crate::item::{ItemView, Peek, Place};

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
                    (Some(left), Some(right)) => compares(*comparator, &left, &right)?,
                    _ => *comparator == Comparator::NotEqual,
                }
            }
            Self::Between([what, low, high]) => {
                match (what.value(item)?, low.value(item)?, high.value(item)?) {
                    (Some(what), Some(low), Some(high)) => {
                        compares(Comparator::GreaterOrEqual, &what, &low)?
                            && compares(Comparator::LessOrEqual, &what, &high)?
                    }
                    _ => false,
                }
            }
            Self::In(what, operands) => {
                let Some(what) = what.value(item)? else { return Ok(false) };
                for operand in operands {
                    if let Some(other) = operand.value(item)?
                        && what.equals(&other)?
                    {
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
                (Some(of), Some(wanted)) => contains(&of, &wanted)?,
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
            Self::Size(of) => match of.value(item)? {
                Some(value) => size(&value)?.map(|size| Peek::N(Number::from(size as u64))),
                None => None,
            },
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

fn compares(comparator: Comparator, left: &Peek<'_>, right: &Peek<'_>) -> Result<bool> {
    let order = match (left, right) {
        (Peek::S(left), Peek::S(right)) => Some(left.cmp(right)),
        (Peek::N(left), Peek::N(right)) => Some(left.cmp(right)),
        (Peek::B(left), Peek::B(right)) => Some(left.cmp(right)),
        _ => None,
    };
    Ok(match comparator {
        Comparator::Equal => left.equals(right)?,
        Comparator::NotEqual => !left.equals(right)?,
        Comparator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
        Comparator::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
        Comparator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
        Comparator::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
    })
}

/// What `size` answers: a text's UTF-16 units, bytes, members or elements. Other types have none.
fn size(value: &Peek<'_>) -> Result<Option<usize>> {
    Ok(match value {
        Peek::S(text) => Some(text.encode_utf16().count()),
        Peek::B(bytes) => Some(bytes.len()),
        other => other.count()?,
    })
}

/// In time linear in the lengths of both, whatever they hold.
fn contains(value: &Peek<'_>, wanted: &Peek<'_>) -> Result<bool> {
    Ok(match (value, wanted) {
        (Peek::S(text), Peek::S(wanted)) => text.contains(wanted),
        (Peek::B(bytes), Peek::B(wanted)) => memmem::find(bytes, wanted).is_some(),
        (other, wanted) => other.holds(wanted)?,
    })
}
