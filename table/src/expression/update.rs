//! UpdateExpression: how an item is changed. [`UpdateExpression::parse`] depends on the text alone;
//! [`UpdateExpression::bind`] brings in the placeholders and checks paths and operands (`update/bind.rs`); what comes of it
//! is applied to items (`update/apply.rs`).
//!
//! ```text
//! expression = section { section }                    each section once
//! section    = SET path "=" value { "," path "=" value } | REMOVE path { "," path }
//!            | ADD path :value { "," path :value } | DELETE path :value { "," path :value }
//! value      = operand [ ( "+" | "-" ) operand ]
//! operand    = path | :value | function | "(" value ")"
//! function   = name "(" operand { "," operand } ")"
//! ```

mod apply;
mod bind;
mod legacy;

use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::path::Path;
use super::{CONDITION_FUNCTIONS, Why, invalid};
use crate::error::Result;
use crate::message;
pub(crate) use bind::BoundUpdate;

const KIND: &str = "UpdateExpression";
const KIND_IN_WORDS: &str = "an update expression";

/// A parsed expression, independent of any request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UpdateExpression {
    /// In the order in which they are written, which is that of what is checked.
    actions: Vec<(Path, Action)>,
}

/// What is done at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Set(Operand),
    Remove,
    /// With its `:value`.
    Add(String),
    /// With its `:value`.
    Delete(String),
}

/// What a path is set to. As deep as the expression has operators at most.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Path(Path),
    /// A `:value`.
    Value(String),
    Call(Function, Vec<Operand>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    IfNotExists,
    ListAppend,
    Plus,
    Minus,
    /// Does not outlive parsing.
    Unknown,
}

impl Function {
    fn of(name: &str) -> Self {
        match name {
            "if_not_exists" => Self::IfNotExists,
            "list_append" => Self::ListAppend,
            _ => Self::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::IfNotExists => "if_not_exists",
            Self::ListAppend => "list_append",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Unknown => "",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Set,
    Remove,
    Add,
    Delete,
}

impl Section {
    const ALL: [(&str, Self); 4] = [
        ("SET", Self::Set),
        ("REMOVE", Self::Remove),
        ("ADD", Self::Add),
        ("DELETE", Self::Delete),
    ];

    /// The section that begins with the next token.
    fn next(cursor: &Cursor<'_>) -> Option<(&'static str, Self)> {
        let word = cursor.text()?;
        Self::ALL.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name))
    }
}

impl UpdateExpression {
    /// Parses an expression's text.
    pub(crate) fn parse(source: &str) -> Result<Self> {
        let parse = || -> std::result::Result<Self, Why> {
            let mut cursor = Cursor::new(source)?;
            let mut update = Self::default();
            let mut seen = Vec::new();
            let mut repeated = None;
            while cursor.peek().is_some() || seen.is_empty() {
                let (name, section) =
                    Section::next(&cursor).ok_or_else(|| cursor.syntax_error())?;
                if seen.contains(&section) {
                    repeated.get_or_insert(name);
                }
                seen.push(section);
                cursor.advance();
                update.action(section, &mut cursor)?;
                while cursor.accept(TokenKind::Comma) {
                    update.action(section, &mut cursor)?;
                }
            }
            if let Some(name) = repeated {
                cursor.note(message::repeated_section(name));
            }
            cursor.finish()?;
            Ok(update)
        };
        parse().map_err(|why| invalid(KIND, &why))
    }

    /// Reads one action of a section.
    fn action(
        &mut self,
        section: Section,
        cursor: &mut Cursor<'_>,
    ) -> std::result::Result<(), Why> {
        let path = path(cursor)?;
        let action = match section {
            Section::Set => {
                cursor.expect(TokenKind::Equal)?;
                Action::Set(Value { cursor, open: Vec::new() }.read()?)
            }
            Section::Remove => Action::Remove,
            Section::Add => Action::Add(cursor.take(TokenKind::ValuePlaceholder)?.to_owned()),
            Section::Delete => Action::Delete(cursor.take(TokenKind::ValuePlaceholder)?.to_owned()),
        };
        self.actions.push((path, action));
        Ok(())
    }
}

/// A path, which no section's name begins.
fn path(cursor: &mut Cursor<'_>) -> std::result::Result<Path, Why> {
    if Section::next(cursor).is_some() {
        return Err(cursor.syntax_error());
    }
    Path::parse(cursor)
}

/// What has begun and waits for an operand.
enum Open<'t> {
    /// A parenthesis, in which one sum may stand.
    Group,
    Sum(Function, Operand),
    Call(&'t str, Vec<Operand>),
}

/// Reads what a path is set to. Keeps what is open on a stack of its own, so that depth costs no stack.
struct Value<'c, 't> {
    cursor: &'c mut Cursor<'t>,
    open: Vec<Open<'t>>,
}

impl Value<'_, '_> {
    fn read(mut self) -> std::result::Result<Operand, Why> {
        loop {
            if self.cursor.accept(TokenKind::LeftParenthesis) {
                self.open.push(Open::Group);
                continue;
            }
            if let Some(name) = self.cursor.take_call() {
                self.cursor.count_operator();
                self.open.push(Open::Call(name, Vec::new()));
                continue;
            }
            let operand = match self.cursor.peek() {
                Some(TokenKind::ValuePlaceholder) => {
                    Operand::Value(self.cursor.take(TokenKind::ValuePlaceholder)?.to_owned())
                }
                _ => Operand::Path(path(self.cursor)?),
            };
            if let Some(value) = self.close(operand)? {
                return Ok(value);
            }
        }
    }

    /// Closes everything that this operand completes; the value, or `None` where another operand is to follow.
    fn close(&mut self, mut operand: Operand) -> std::result::Result<Option<Operand>, Why> {
        let (mut is_group, mut is_sum) = (false, false);
        loop {
            let sum = match self.cursor.peek() {
                Some(TokenKind::Plus) => Some(Function::Plus),
                Some(TokenKind::Minus) => Some(Function::Minus),
                _ => None,
            };
            let may_sum = !is_sum && matches!(self.open.last(), None | Some(Open::Group));
            if let (Some(function), true) = (sum, may_sum) {
                self.cursor.advance();
                self.cursor.count_operator();
                self.open.push(Open::Sum(function, operand));
                return Ok(None);
            }
            let was_group = std::mem::replace(&mut is_group, false);
            operand = match self.open.pop() {
                None => return Ok(Some(operand)),
                Some(Open::Sum(function, left)) => {
                    is_sum = true;
                    Operand::Call(function, vec![left, operand])
                }
                Some(Open::Group) => {
                    self.cursor.expect(TokenKind::RightParenthesis)?;
                    if was_group {
                        self.cursor.note_redundant_parentheses();
                    }
                    (is_group, is_sum) = (true, false);
                    operand
                }
                Some(Open::Call(name, mut operands)) => {
                    if matches!(operand, Operand::Call(Function::ListAppend, _)) {
                        self.cursor.note_misused_function(Function::ListAppend.name());
                    }
                    operands.push(operand);
                    if self.cursor.accept(TokenKind::Comma) {
                        self.open.push(Open::Call(name, operands));
                        return Ok(None);
                    }
                    self.cursor.expect(TokenKind::RightParenthesis)?;
                    let function = Function::of(name);
                    if function == Function::Unknown {
                        self.cursor.note_unknown_function(
                            name,
                            KIND_IN_WORDS,
                            &CONDITION_FUNCTIONS,
                        );
                    }
                    is_sum = false;
                    Operand::Call(function, operands)
                }
            };
        }
    }
}

#[cfg(test)]
mod tests;
