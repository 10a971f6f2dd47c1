//! Carrying an update out on an item. Everything is read from the item as it was; then SET, ADD and DELETE write in the
//! order of their paths, so that what is appended to a list comes in the order of the indexes; then REMOVE takes out, the
//! last element first, so that every index means what it meant before.

use super::bind::{BoundOperand, BoundUpdate};
use crate::error::{Result, TableError};
use crate::expression::path::{BoundPath, BoundStep};
use crate::expression::projection::Parts;
use crate::validate::{CONTAINER_OVERHEAD_BYTES, MAX_ITEM_SIZE_BYTES};
use crate::{AttributeValue, Item, message};

/// What an update made of an item.
#[derive(Debug, PartialEq)]
pub(crate) struct Updated {
    /// The item as it is to be stored.
    pub(crate) item: Item,
    /// What SET, ADD and DELETE wrote, each at its place.
    pub(crate) written: Item,
}

impl BoundUpdate<'_> {
    /// Carries the update out.
    pub(crate) fn apply(&self, mut item: Item) -> Result<Updated> {
        let mut writes: Vec<(BoundPath<'_>, AttributeValue)> = Vec::new();
        let mut removals: Vec<BoundPath<'_>> = Vec::new();
        for (path, value) in &self.add {
            writes.push((path.clone(), sum_or_union(get(&item, path), value)?));
        }
        for (path, value) in &self.delete {
            match difference(get(&item, path), value)? {
                Difference::Left(rest) => writes.push((path.clone(), rest)),
                Difference::Nothing => removals.push(path.clone()),
                Difference::Absent => check_parent(&item, path)?,
            }
        }
        let mut room = MAX_ITEM_SIZE_BYTES;
        for (path, operand) in &self.set {
            writes.push((path.clone(), operand.value(&item, &mut room)?));
        }
        for path in &self.remove {
            check_parent(&item, path)?;
            if get(&item, path).is_some() {
                removals.push(path.clone());
            }
        }
        writes.sort_by(|(one, _), (two, _)| one.cmp(two));
        let mut places = Vec::with_capacity(writes.len());
        for (mut path, value) in writes {
            put(&mut item, &mut path, value)?;
            places.push(path);
        }
        let written = Parts::of(&places).of_item(&item);
        removals.sort_unstable_by(|one, two| two.cmp(one));
        for path in removals {
            remove(&mut item, &path);
        }
        Ok(Updated { item, written })
    }

    /// The parts of an item that the update is about.
    pub(crate) fn parts_of(&self, item: &Item) -> Item {
        let paths = self.set.iter().map(|(path, _)| path).chain(&self.remove);
        let paths = paths.chain(self.add.iter().chain(&self.delete).map(|(path, _)| path));
        Parts::of(&paths.cloned().collect::<Vec<_>>()).of_item(item)
    }
}

impl BoundOperand<'_> {
    /// No deeper than the expression has operators. What is copied takes up `room`: more than an item may have would be
    /// refused in the end, and must not be piled up until then.
    fn value(&self, item: &Item, room: &mut usize) -> Result<AttributeValue> {
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

fn copied(value: &AttributeValue, room: &mut usize) -> Result<AttributeValue> {
    // A number may be an operand and go; of lists only one head stays when they are joined.
    let size = match value {
        AttributeValue::N(_) => 0,
        value => value.size_bytes().saturating_sub(CONTAINER_OVERHEAD_BYTES),
    };
    *room = room.checked_sub(size).ok_or_else(|| refused(message::UPDATED_ITEM_SIZE))?;
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

/// Writes a value. An index beyond a list's end appends; the path then says where.
fn put(item: &mut Item, path: &mut BoundPath<'_>, value: AttributeValue) -> Result<()> {
    check_parent(item, path)?;
    let Some((last, parents)) = path.split_last_mut() else { return Ok(()) };
    if let ([], BoundStep::Name(name)) = (&*parents, &*last) {
        item.insert((*name).to_owned(), value);
        return Ok(());
    }
    match (get_mut(item, parents), last) {
        (Some(AttributeValue::M(map)), BoundStep::Name(name)) => {
            map.insert((*name).to_owned(), value);
        }
        (Some(AttributeValue::L(list)), BoundStep::Index(index)) => {
            *index = (*index).min(list.len());
            match list.get_mut(*index) {
                Some(element) => *element = value,
                None => list.push(value),
            }
        }
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

/// What ADD makes of a value.
fn sum_or_union(old: Option<&AttributeValue>, added: &AttributeValue) -> Result<AttributeValue> {
    use AttributeValue::{Bs, N, Ns, Ss};
    Ok(match (old, added) {
        (None, added) => added.clone(),
        (Some(N(old)), N(added)) => N(old.plus(*added)?),
        (Some(Ss(old)), Ss(added)) => Ss(union(old, added)),
        (Some(Ns(old)), Ns(added)) => Ns(union(old, added)),
        (Some(Bs(old)), Bs(added)) => Bs(union(old, added)),
        _ => return Err(refused(message::WRONG_OPERAND)),
    })
}

fn union<T: Ord + Clone>(old: &[T], added: &[T]) -> Vec<T> {
    let mut members: Vec<T> = old.iter().chain(added).cloned().collect();
    members.sort_unstable();
    members.dedup();
    members
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
