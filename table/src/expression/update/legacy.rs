//! `AttributeUpdates`: changes of attributes by their names. Each is what an expression does with the same words, but `ADD`
//! also appends to lists.

use super::bind::{BoundAction, BoundOperand, BoundUpdate};
use crate::AttributeValue;
use crate::error::{Result, TableError};
use crate::expression::path::BoundStep;
use crate::message::legacy as message;
use crate::operation::{AttributeAction, AttributeUpdates, AttributeValueUpdate};

/// What a list that is not there is before it is appended to.
static EMPTY_LIST: AttributeValue = AttributeValue::L(Vec::new());

impl<'r> BoundUpdate<'r> {
    /// What `AttributeUpdates` does; `None` where there is none.
    pub(crate) fn of_updates(updates: Option<&'r AttributeUpdates>) -> Result<Option<Self>> {
        let Some(updates) = updates else { return Ok(None) };
        let mut actions = Vec::with_capacity(updates.len());
        for (name, update) in updates {
            actions.push((vec![BoundStep::Name(name)], action(name, update)?));
        }
        Ok(Some(Self { actions }))
    }
}

fn action<'r>(name: &'r str, update: &'r AttributeValueUpdate) -> Result<BoundAction<'r>> {
    use AttributeAction::{Add, Delete, Put};
    use AttributeValue::{Bs, L, N, Ns, Ss};
    let refused = |text: String| Err(TableError::validation(text));
    Ok(match (update.action.unwrap_or_default(), &update.value) {
        (Delete, None) => BoundAction::Remove,
        (Put | Add, None) => return refused(message::UPDATE_WITHOUT_VALUE.to_owned()),
        (Put, Some(value)) => BoundAction::Set(BoundOperand::Value(value)),
        (Add, Some(value @ (N(_) | Ss(_) | Ns(_) | Bs(_)))) => BoundAction::Add(value),
        (Add, Some(value @ L(_))) => {
            let list = BoundOperand::Value(&EMPTY_LIST);
            let list = BoundOperand::IfNotExists(vec![BoundStep::Name(name)], Box::new(list));
            let appended = [list, BoundOperand::Value(value)];
            BoundAction::Set(BoundOperand::ListAppend(Box::new(appended)))
        }
        (Add, Some(value)) => return refused(message::add_type(value.type_name())),
        (Delete, Some(value @ (Ss(_) | Ns(_) | Bs(_)))) => BoundAction::Delete(value),
        (Delete, Some(value)) => return refused(message::delete_type(value.type_name())),
    })
}

#[cfg(test)]
mod tests;
