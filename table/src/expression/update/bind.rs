//! Updates with their placeholders replaced and their paths and operands checked: names, values, paths that cannot stand
//! together, operands, in this order; the actions in that in which they are written.

use super::{Action, Function, KIND, Operand, UpdateExpression};
use crate::error::Result;
use crate::expression::path::{BoundPath, BoundStep, check_apart};
use crate::expression::{Placeholders, Why, invalid};
use crate::{AttributeValue, message};

/// An update of items. Carried out by [`BoundUpdate::apply`].
#[derive(Debug)]
pub(crate) struct BoundUpdate<'r> {
    /// In the order in which they are written.
    pub(super) actions: Vec<(BoundPath<'r>, BoundAction<'r>)>,
}

/// What is done at a path.
#[derive(Debug)]
pub(super) enum BoundAction<'r> {
    Set(BoundOperand<'r>),
    Remove,
    /// A number or a set.
    Add(&'r AttributeValue),
    /// A set.
    Delete(&'r AttributeValue),
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
        let mut targets = Vec::with_capacity(self.actions.len());
        for (path, action) in &self.actions {
            targets.push(path.bind(placeholders)?);
            if let Action::Set(operand) = action {
                bind_names(operand, placeholders)?;
            }
        }
        for (_, action) in &self.actions {
            match action {
                Action::Set(operand) => bind_values(operand, placeholders)?,
                Action::Add(name) | Action::Delete(name) => {
                    placeholders.value(name)?;
                }
                Action::Remove => {}
            }
        }
        check_apart(&targets)?;
        let mut actions = Vec::with_capacity(targets.len());
        for (target, (_, action)) in targets.into_iter().zip(&self.actions) {
            let action = match action {
                Action::Set(operand) => BoundAction::Set(bind(operand, placeholders)?),
                Action::Remove => BoundAction::Remove,
                Action::Add(name) => {
                    let value = placeholders.value(name)?;
                    if !matches!(value, AttributeValue::N(_)) {
                        check_is_set("ADD", value)?;
                    }
                    BoundAction::Add(value)
                }
                Action::Delete(name) => {
                    let value = placeholders.value(name)?;
                    check_is_set("DELETE", value)?;
                    BoundAction::Delete(value)
                }
            };
            actions.push((target, action));
        }
        Ok(BoundUpdate { actions })
    }
}

impl<'r> BoundUpdate<'r> {
    /// Whether an item that is not there stays so: only SET and ADD make one, and an update that does nothing.
    pub(crate) fn only_takes_away(&self) -> bool {
        let takes_away =
            |action: &_| matches!(action, BoundAction::Remove | BoundAction::Delete(_));
        !self.actions.is_empty() && self.actions.iter().all(|(_, action)| takes_away(action))
    }

    /// The first of these attributes that the update changes, if it changes one.
    pub(crate) fn changes_one_of(&self, names: &[&str]) -> Option<&'r str> {
        self.actions.iter().find_map(|(path, _)| match path.first() {
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
