//! Carrying an update out on an item. Everything is read from the item as it was, and checked in the order of the actions, all operands before any path;
//! then SET, ADD and DELETE write in the order of their paths, so that what is appended to a list comes in the order of the
//! indexes; then REMOVE takes out, the last element first, so that every index means what it meant before.

use super::bind::{BoundAction, BoundOperand, BoundUpdate};
use crate::error::{Result, TableError};
use crate::expression::path::{BoundPath, BoundStep};
use crate::expression::projection::Parts;
use crate::validate::{CONTAINER_OVERHEAD_BYTES, MAX_ITEM_SIZE_BYTES};
use crate::{AttributeValue, Item, Number, message};

impl BoundUpdate<'_> {
    /// Carries the update out: the item as it is to be stored.
    pub(crate) fn apply(&self, mut item: Item) -> Result<Item> {
        let mut writes: Vec<(&BoundPath<'_>, AttributeValue)> = Vec::new();
        let mut removals: Vec<&BoundPath<'_>> = Vec::new();
        let mut room = Room(MAX_ITEM_SIZE_BYTES);
        for (path, action) in &self.actions {
            match action {
                BoundAction::Set(operand) => writes.push((path, operand.value(&item, &mut room)?)),
                BoundAction::Add(added) => {
                    writes.push((path, sum_or_union(get(&item, path), added, &mut room)?));
                }
                BoundAction::Delete(taken) => match difference(get(&item, path), taken)? {
                    Difference::Left(rest) => writes.push((path, rest)),
                    Difference::Nothing => removals.push(path),
                    Difference::Absent => {}
                },
                BoundAction::Remove if get(&item, path).is_some() => removals.push(path),
                BoundAction::Remove => {}
            }
        }
        // Behind all operands: what is wrong with one of them is told first.
        for (path, _) in &self.actions {
            check_parent(&item, path)?;
        }
        writes.sort_by_key(|(path, _)| *path);
        for (path, value) in writes {
            put(&mut item, path, value)?;
        }
        removals.sort_unstable_by(|one, two| two.cmp(one));
        for path in removals {
            remove(&mut item, path);
        }
        Ok(item)
    }

    /// The parts of an item that the update is about.
    pub(crate) fn parts_of(&self, item: &Item) -> Item {
        let paths: Vec<_> = self.actions.iter().map(|(path, _)| path.clone()).collect();
        Parts::of(&paths).of_item(item)
    }
}

/// The bytes that an update may still write. More than an item may have would be refused in the end, and must not be piled
/// up until then.
pub(super) struct Room(pub(super) usize);

impl Room {
    fn take(&mut self, bytes: usize) -> Result<()> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| refused(message::UPDATED_ITEM_SIZE))?;
        Ok(())
    }
}

impl BoundOperand<'_> {
    /// No deeper than the expression has operators. What is copied takes up `room`.
    fn value(&self, item: &Item, room: &mut Room) -> Result<AttributeValue> {
        Ok(match self {
            Self::Path(path) => {
                let value = get(item, path).ok_or_else(|| refused(message::MISSING_OPERAND))?;
                copied(value, room)?
            }
            Self::Value(value) => copied(value, room)?,
            Self::IfNotExists(path, other) => match get(item, path) {
                Some(value) => copied(value, room)?,
                None => other.value(item, room)?,
            },
            Self::ListAppend(operands) => {
                let [first, second] = &**operands;
                match (first.value(item, room)?, second.value(item, room)?) {
                    (AttributeValue::L(mut list), AttributeValue::L(more)) => {
                        list.extend(more);
                        AttributeValue::L(list)
                    }
                    _ => return Err(refused(message::WRONG_OPERAND)),
                }
            }
            Self::Plus(operands) | Self::Minus(operands) => {
                let [left, right] = &**operands;
                let (AttributeValue::N(left), AttributeValue::N(right)) =
                    (left.value(item, room)?, right.value(item, room)?)
                else {
                    return Err(refused(message::WRONG_OPERAND));
                };
                let right = if matches!(self, Self::Minus(_)) { right.negated() } else { right };
                AttributeValue::N(left.plus(right)?)
            }
        })
    }
}

fn copied(value: &AttributeValue, room: &mut Room) -> Result<AttributeValue> {
    // A number may be an operand and go; of lists only one head stays when they are joined.
    let size = match value {
        AttributeValue::N(_) => 0,
        value => value.size_bytes().saturating_sub(CONTAINER_OVERHEAD_BYTES),
    };
    room.take(size)?;
    Ok(value.clone())
}

fn refused(message: &str) -> TableError {
    TableError::validation(message)
}

fn get<'i>(item: &'i Item, path: &[BoundStep<'_>]) -> Option<&'i AttributeValue> {
    let (BoundStep::Name(first), rest) = path.split_first()? else { return None };
    rest.iter().try_fold(item.get(*first)?, |value, step| match (value, step) {
        (AttributeValue::M(map), BoundStep::Name(name)) => map.get(*name),
        (AttributeValue::L(list), BoundStep::Index(index)) => list.get(*index),
        _ => None,
    })
}

fn get_mut<'i>(item: &'i mut Item, path: &[BoundStep<'_>]) -> Option<&'i mut AttributeValue> {
    let (BoundStep::Name(first), rest) = path.split_first()? else { return None };
    rest.iter().try_fold(item.get_mut(*first)?, |value, step| match (value, step) {
        (AttributeValue::M(map), BoundStep::Name(name)) => map.get_mut(*name),
        (AttributeValue::L(list), BoundStep::Index(index)) => list.get_mut(*index),
        _ => None,
    })
}

/// Refuses a path whose last step leads nowhere: not out of a map, or not out of a list.
fn check_parent(item: &Item, path: &[BoundStep<'_>]) -> Result<()> {
    let Some((last, parents)) = path.split_last() else { return Ok(()) };
    match (parents.is_empty(), get(item, parents), last) {
        (true, ..)
        | (_, Some(AttributeValue::M(_)), BoundStep::Name(_))
        | (_, Some(AttributeValue::L(_)), BoundStep::Index(_)) => Ok(()),
        _ => Err(refused(message::INVALID_UPDATE_PATH)),
    }
}

/// Writes a value. An index beyond a list's end appends.
fn put(item: &mut Item, path: &[BoundStep<'_>], value: AttributeValue) -> Result<()> {
    if let [BoundStep::Name(name)] = path {
        item.insert((*name).to_owned(), value);
        return Ok(());
    }
    let Some((last, parents)) = path.split_last() else { return Ok(()) };
    match (get_mut(item, parents), last) {
        (Some(AttributeValue::M(map)), BoundStep::Name(name)) => {
            map.insert((*name).to_owned(), value);
        }
        (Some(AttributeValue::L(list)), BoundStep::Index(index)) => match list.get_mut(*index) {
            Some(element) => *element = value,
            None => list.push(value),
        },
        _ => return Err(refused(message::INVALID_UPDATE_PATH)),
    }
    Ok(())
}

fn remove(item: &mut Item, path: &[BoundStep<'_>]) {
    match path.split_last() {
        Some((BoundStep::Name(name), [])) => {
            item.remove(*name);
        }
        Some((last, parents)) => match (get_mut(item, parents), last) {
            (Some(AttributeValue::M(map)), BoundStep::Name(name)) => {
                map.remove(*name);
            }
            (Some(AttributeValue::L(list)), BoundStep::Index(index)) if *index < list.len() => {
                list.remove(*index);
            }
            _ => {}
        },
        None => {}
    }
}

/// What ADD makes of a value. What is made takes up `room` before it is made.
pub(super) fn sum_or_union(
    old: Option<&AttributeValue>,
    added: &AttributeValue,
    room: &mut Room,
) -> Result<AttributeValue> {
    use AttributeValue::{Bs, N, Ns, Ss};
    Ok(match (old, added) {
        (None, added) => {
            room.take(added.size_bytes())?;
            added.clone()
        }
        (Some(N(old)), N(added)) => N(old.plus(*added)?),
        (Some(Ss(old)), Ss(added)) => Ss(union(old, added, String::len, room)?),
        (Some(Ns(old)), Ns(added)) => Ns(union(old, added, Number::size_bytes, room)?),
        (Some(Bs(old)), Bs(added)) => Bs(union(old, added, Vec::len, room)?),
        _ => return Err(refused(message::WRONG_OPERAND)),
    })
}

/// The members of both sets, each of which has a size.
fn union<T: Ord + Clone>(
    old: &[T],
    added: &[T],
    size: impl Fn(&T) -> usize,
    room: &mut Room,
) -> Result<Vec<T>> {
    let mut members: Vec<&T> = old.iter().chain(added).collect();
    members.sort_unstable();
    members.dedup();
    room.take(members.iter().map(|&member| size(member)).sum())?;
    Ok(members.into_iter().cloned().collect())
}

/// What DELETE leaves of a set.
enum Difference {
    Left(AttributeValue),
    Nothing,
    /// There was no set.
    Absent,
}

fn difference(old: Option<&AttributeValue>, taken: &AttributeValue) -> Result<Difference> {
    use AttributeValue::{Bs, Ns, Ss};
    let left = match (old, taken) {
        (None, _) => return Ok(Difference::Absent),
        (Some(Ss(old)), Ss(taken)) => rest(old, taken).map(Ss),
        (Some(Ns(old)), Ns(taken)) => rest(old, taken).map(Ns),
        (Some(Bs(old)), Bs(taken)) => rest(old, taken).map(Bs),
        _ => return Err(refused(message::WRONG_OPERAND)),
    };
    Ok(left.map_or(Difference::Nothing, Difference::Left))
}

/// Both sets are sorted.
fn rest<T: Ord + Clone>(old: &[T], taken: &[T]) -> Option<Vec<T>> {
    let is_left = |member: &&T| taken.binary_search(member).is_err();
    let left: Vec<T> = old.iter().filter(is_left).cloned().collect();
    (!left.is_empty()).then_some(left)
}
