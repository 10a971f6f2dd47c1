//! Updates with their placeholders replaced and their paths and operands checked: names, values, paths that cannot stand
//! together, operands of ADD and DELETE, functions, in this order.

use super::{Function, KIND, Operand, UpdateExpression};
use crate::error::Result;
use crate::expression::path::{BoundPath, BoundStep, Path, check_apart};
use crate::expression::{Placeholders, Why, invalid};
use crate::{AttributeValue, message};

/// An update of items. Carried out by [`BoundUpdate::apply`].
#[derive(Debug)]
pub(crate) struct BoundUpdate<'r> {
    pub(super) set: Vec<(BoundPath<'r>, BoundOperand<'r>)>,
    pub(super) remove: Vec<BoundPath<'r>>,
    pub(super) add: Vec<(BoundPath<'r>, &'r AttributeValue)>,
    pub(super) delete: Vec<(BoundPath<'r>, &'r AttributeValue)>,
}

#[derive(Debug)]
pub(super) enum BoundOperand<'r> {
    Path(BoundPath<'r>),
    Value(&'r AttributeValue),
    IfNotExists(BoundPath<'r>, Box<Self>),
    ListAppend(Box<[Self; 2]>),
    Plus(Box<[Self; 2]>),
    Minus(Box<[Self; 2]>),
}

impl UpdateExpression {
    /// Resolves the placeholders, and checks the paths and operands.
    pub(crate) fn bind<'r>(
        &'r self,
        placeholders: &mut Placeholders<'r>,
    ) -> Result<BoundUpdate<'r>> {
        self.bound(placeholders).map_err(|why| invalid(KIND, &why))
    }

    fn bound<'r>(
        &'r self,
        placeholders: &mut Placeholders<'r>,
    ) -> std::result::Result<BoundUpdate<'r>, Why> {
        // All names come before all values.
        for (path, operand) in &self.set {
            path.bind(placeholders)?;
            bind_names(operand, placeholders)?;
        }
        let with_value = |actions: &'r [(Path, String)], placeholders: &mut Placeholders<'r>| {
            let bind = |(path, _): &'r (Path, String)| path.bind(placeholders);
            actions.iter().map(bind).collect::<std::result::Result<Vec<_>, Why>>()
        };
        let set_paths = (self.set.iter().map(|(path, _)| path.bind(placeholders)))
            .collect::<std::result::Result<Vec<_>, Why>>()?;
        let remove = (self.remove.iter().map(|path| path.bind(placeholders)))
            .collect::<std::result::Result<Vec<_>, Why>>()?;
        let add_paths = with_value(&self.add, placeholders)?;
        let delete_paths = with_value(&self.delete, placeholders)?;

        for (_, operand) in &self.set {
            bind_values(operand, placeholders)?;
        }
        let mut values = |actions: &'r [(Path, String)]| {
            let bind = |(_, value): &'r (Path, String)| placeholders.value(value);
            actions.iter().map(bind).collect::<std::result::Result<Vec<_>, Why>>()
        };
        let add = add_paths.into_iter().zip(values(&self.add)?).collect::<Vec<_>>();
        let delete = delete_paths.into_iter().zip(values(&self.delete)?).collect::<Vec<_>>();

        let targets: Vec<BoundPath<'_>> = (set_paths.iter().chain(&remove))
            .chain(add.iter().chain(&delete).map(|(path, _)| path))
            .cloned()
            .collect();
        check_apart(&targets)?;
        for (_, value) in &add {
            if !matches!(value, AttributeValue::N(_)) {
                check_is_set("ADD", value)?;
            }
        }
        for (_, value) in &delete {
            check_is_set("DELETE", value)?;
        }
        let mut set = Vec::with_capacity(self.set.len());
        for (path, (_, operand)) in set_paths.into_iter().zip(&self.set) {
            set.push((path, bind(operand, placeholders)?));
        }
        Ok(BoundUpdate { set, remove, add, delete })
    }
}

impl<'r> BoundUpdate<'r> {
    /// The first of these attributes that the update changes, if it changes one.
    pub(crate) fn changes_one_of(&self, names: &[&str]) -> Option<&'r str> {
        let paths = self.set.iter().map(|(path, _)| path).chain(&self.remove);
        let mut paths = paths.chain(self.add.iter().chain(&self.delete).map(|(path, _)| path));
        paths.find_map(|path| match path.first() {
            Some(BoundStep::Name(name)) if names.contains(name) => Some(*name),
            _ => None,
        })
    }
}

fn bind_names<'r>(
    operand: &'r Operand,
    placeholders: &mut Placeholders<'r>,
) -> std::result::Result<(), Why> {
    match operand {
        Operand::Path(path) => path.bind(placeholders).map(|_| ()),
        Operand::Value(_) => Ok(()),
        Operand::Call(_, operands) => operands.iter().try_for_each(|o| bind_names(o, placeholders)),
    }
}

fn bind_values<'r>(
    operand: &'r Operand,
    placeholders: &mut Placeholders<'r>,
) -> std::result::Result<(), Why> {
    match operand {
        Operand::Path(_) => Ok(()),
        Operand::Value(name) => placeholders.value(name).map(|_| ()),
        Operand::Call(_, operands) => {
            operands.iter().try_for_each(|o| bind_values(o, placeholders))
        }
    }
}

/// No deeper than the expression has operators.
fn bind<'r>(
    operand: &'r Operand,
    placeholders: &mut Placeholders<'r>,
) -> std::result::Result<BoundOperand<'r>, Why> {
    let (function, operands) = match operand {
        Operand::Path(path) => return Ok(BoundOperand::Path(path.bind(placeholders)?)),
        Operand::Value(name) => return Ok(BoundOperand::Value(placeholders.value(name)?)),
        Operand::Call(function, operands) => (*function, operands),
    };
    let mut bound = Vec::with_capacity(operands.len());
    for operand in operands {
        bound.push(bind(operand, placeholders)?);
    }
    let pair: [BoundOperand<'r>; 2] = (bound.try_into())
        .map_err(|bound: Vec<_>| message::operand_count(function.name(), bound.len()))?;
    let check_type = |wanted: &str| {
        let wrong = |operand: &&BoundOperand<'_>| operand.type_name().is_some_and(|t| t != wanted);
        match pair.iter().find(wrong) {
            Some(operand) => {
                let type_name = operand.type_name().unwrap_or(wanted);
                Err(message::operand_type(function.name(), type_name))
            }
            None => Ok(()),
        }
    };
    Ok(match function {
        Function::IfNotExists => {
            let [path, other] = pair;
            let BoundOperand::Path(path) = path else {
                return Err(message::needs_path(function.name()));
            };
            BoundOperand::IfNotExists(path, Box::new(other))
        }
        Function::ListAppend => {
            check_type("L")?;
            BoundOperand::ListAppend(Box::new(pair))
        }
        Function::Plus => {
            check_type("N")?;
            BoundOperand::Plus(Box::new(pair))
        }
        Function::Minus => {
            check_type("N")?;
            BoundOperand::Minus(Box::new(pair))
        }
        // Parsing does not let it through.
        Function::Unknown => return Err(message::unknown_function(function.name())),
    })
}

impl BoundOperand<'_> {
    /// The type, where it is known without an item.
    fn type_name(&self) -> Option<&'static str> {
        match self {
            Self::Path(_) | Self::IfNotExists(..) => None,
            Self::Value(value) => Some(value.type_name()),
            Self::ListAppend(_) => Some("L"),
            Self::Plus(_) | Self::Minus(_) => Some("N"),
        }
    }
}

/// Refuses a value that is no set, in the words of ADD and DELETE.
fn check_is_set(section: &str, value: &AttributeValue) -> std::result::Result<(), Why> {
    let type_name = match value {
        AttributeValue::Ss(_) | AttributeValue::Ns(_) | AttributeValue::Bs(_) => return Ok(()),
        AttributeValue::S(_) => "STRING",
        AttributeValue::N(_) => "NUMBER",
        AttributeValue::B(_) => "Binary",
        AttributeValue::Bool(_) => "BOOL",
        AttributeValue::Null => "NULL",
        AttributeValue::M(_) => "MAP",
        AttributeValue::L(_) => "LIST",
    };
    Err(message::section_operand_type(section, type_name))
}
