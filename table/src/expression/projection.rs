//! ProjectionExpression: which parts of an item a read answers. [`ProjectionExpression::parse`] depends on the text alone;
//! [`ProjectionExpression::bind`] brings in the names; what comes of it takes the parts out of an item, of which it decodes
//! nothing else. Updates name what they changed with the same tree of paths, and so does an `AttributesToGet`, the list of
//! attributes that requests had before expressions.
//!
//! ```text
//! expression = path { "," path }
//! ```

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::path::{BoundPath, BoundStep, Path, check_apart};
use super::{Placeholders, Why, invalid};
use crate::error::{Result, TableError};
use crate::item::{ItemView, Place};
use crate::{AttributeValue, Item, message};

const KIND: &str = "ProjectionExpression";

/// Names of an `AttributesToGet` at most: about as many as the longest expression has.
const NAMES_MAX: usize = 2048;

/// A parsed expression, independent of any request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProjectionExpression {
    paths: Vec<Path>,
}

impl ProjectionExpression {
    /// Parses an expression's text.
    pub(crate) fn parse(source: &str) -> Result<Self> {
        let parse = || -> std::result::Result<Self, Why> {
            let mut cursor = Cursor::new(source)?;
            let mut paths = vec![Path::parse(&mut cursor)?];
            while cursor.accept(TokenKind::Comma) {
                paths.push(Path::parse(&mut cursor)?);
            }
            if cursor.peek().is_some() {
                return Err(cursor.syntax_error());
            }
            cursor.finish()?;
            Ok(Self { paths })
        };
        parse().map_err(|why| invalid(KIND, &why))
    }

    /// Resolves the placeholders and refuses paths that cannot stand together.
    pub(crate) fn bind<'r>(&'r self, placeholders: &mut Placeholders<'r>) -> Result<Parts<'r>> {
        let mut bind = || {
            let mut paths = Vec::with_capacity(self.paths.len());
            for path in &self.paths {
                paths.push(path.bind(placeholders)?);
            }
            check_apart(&paths)?;
            Ok(Parts::of(&paths))
        };
        bind().map_err(|why: Why| invalid(KIND, &why))
    }
}

/// Parts of an item.
#[derive(Debug, Default)]
pub(crate) struct Parts<'r> {
    attributes: BTreeMap<&'r str, Branch<'r>>,
}

/// A part, or the parts in it. As deep as the longest path.
#[derive(Debug)]
enum Branch<'r> {
    Whole,
    Members(BTreeMap<&'r str, Branch<'r>>),
    Elements(BTreeMap<usize, Branch<'r>>),
}

impl<'r> Parts<'r> {
    /// The parts that these paths lead to, of which none overlaps or conflicts with another.
    pub(super) fn of(paths: &[BoundPath<'r>]) -> Self {
        let mut parts = Self::default();
        for path in paths {
            if let Some((BoundStep::Name(name), rest)) = path.split_first() {
                let branch = parts.attributes.entry(name).or_insert(Branch::Whole);
                branch.grow(rest);
            }
        }
        parts
    }

    /// The attributes that an `AttributesToGet` names; `None` where there is none.
    pub(crate) fn of_names(names: Option<&'r Vec<String>>) -> Result<Option<Self>> {
        let Some(names) = names else { return Ok(None) };
        if names.is_empty() || names.len() > NAMES_MAX {
            let (count, must) = match names.len() {
                0 => ("[]".to_owned(), "have length greater than or equal to 1".to_owned()),
                count => {
                    (count.to_string(), format!("have length less than or equal to {NAMES_MAX}"))
                }
            };
            let error = message::constraint(&count, "attributesToGet", &must);
            return Err(TableError::validation(message::validation_errors(&[error])));
        }
        let mut parts = Self::default();
        for name in names {
            if name.is_empty() {
                return Err(TableError::validation(message::EMPTY_ATTRIBUTE_NAME));
            }
            if parts.attributes.insert(name, Branch::Whole).is_some() {
                return Err(TableError::validation(message::legacy::name_repeats(name)));
            }
        }
        Ok(Some(parts))
    }

    /// The names of the attributes of which there are parts.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'r str> {
        self.attributes.keys().copied()
    }

    /// The parts of an item that are there, in a stored item.
    pub(crate) fn of_view(&self, item: ItemView<'_>) -> Result<Item> {
        let mut found = Item::new();
        for (name, branch) in &self.attributes {
            if let Some(value) = item.place(name)?
                && let Some(part) = branch.of_view(value)?
            {
                found.insert((*name).to_owned(), part);
            }
        }
        Ok(found)
    }

    /// The parts that are there, of an item at hand.
    pub(super) fn of_item(&self, item: &Item) -> Item {
        let part = |(name, branch): (&&str, &Branch<'_>)| {
            let part = branch.of_value(item.get(*name)?)?;
            Some(((*name).to_owned(), part))
        };
        self.attributes.iter().filter_map(part).collect()
    }
}

impl<'r> Branch<'r> {
    fn grow(&mut self, path: &[BoundStep<'r>]) {
        let Some((first, rest)) = path.split_first() else { return };
        match first {
            BoundStep::Name(name) => {
                if !matches!(self, Self::Members(_)) {
                    *self = Self::Members(BTreeMap::new());
                }
                if let Self::Members(members) = self {
                    members.entry(name).or_insert(Self::Whole).grow(rest);
                }
            }
            BoundStep::Index(index) => {
                if !matches!(self, Self::Elements(_)) {
                    *self = Self::Elements(BTreeMap::new());
                }
                if let Self::Elements(elements) = self {
                    elements.entry(*index).or_insert(Self::Whole).grow(rest);
                }
            }
        }
    }

    /// The parts that are there; the elements of a list close up. A list or a map is walked through once.
    fn of_view(&self, value: Place<'_>) -> Result<Option<AttributeValue>> {
        Ok(match self {
            Self::Whole => Some(value.decode()?),
            Self::Members(members) => {
                let Some(mut walk) = value.members()? else { return Ok(None) };
                let mut found = BTreeMap::new();
                for (name, branch) in members {
                    if let Some(member) = walk.find(name)?
                        && let Some(part) = branch.of_view(member)?
                    {
                        found.insert((*name).to_owned(), part);
                    }
                }
                (!found.is_empty()).then_some(AttributeValue::M(found))
            }
            Self::Elements(elements) => {
                let Some(mut walk) = value.elements()? else { return Ok(None) };
                let mut found = Vec::new();
                for (index, branch) in elements {
                    if let Some(element) = walk.at(*index)? {
                        found.extend(branch.of_view(element)?);
                    }
                }
                (!found.is_empty()).then_some(AttributeValue::L(found))
            }
        })
    }

    fn of_value(&self, value: &AttributeValue) -> Option<AttributeValue> {
        match (self, value) {
            (Self::Whole, value) => Some(value.clone()),
            (Self::Members(members), AttributeValue::M(map)) => {
                let part = |(name, branch): (&&str, &Self)| {
                    let part = branch.of_value(map.get(*name)?)?;
                    Some(((*name).to_owned(), part))
                };
                let found: BTreeMap<_, _> = members.iter().filter_map(part).collect();
                (!found.is_empty()).then_some(AttributeValue::M(found))
            }
            (Self::Elements(elements), AttributeValue::L(list)) => {
                let part = |(index, branch): (&usize, &Self)| branch.of_value(list.get(*index)?);
                let found: Vec<_> = elements.iter().filter_map(part).collect();
                (!found.is_empty()).then_some(AttributeValue::L(found))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
