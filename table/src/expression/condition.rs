//! ConditionExpression and FilterExpression: one language, which tells whether an item is as wanted.
//! [`ConditionExpression::parse`] depends on the text alone; [`ConditionExpression::bind`] brings in the placeholders and
//! checks operands (`condition/bind.rs`); what comes of it is evaluated over items as they are stored
//! (`condition/evaluate.rs`).
//!
//! ```text
//! condition = condition OR condition | condition AND condition | NOT condition | "(" condition ")"
//!           | operand comparator operand
//!           | operand BETWEEN operand AND operand
//!           | operand IN "(" operand { "," operand } ")"
//!           | function
//! operand   = path | :value | function | "(" operand ")"
//! function  = name "(" operand { "," operand } ")"
//! ```

mod bind;
mod evaluate;
mod legacy;

use super::cursor::Cursor;
use super::lexer::{Keyword, TokenKind};
use super::path::Path;
use super::{UPDATE_FUNCTIONS, Why, invalid};
use crate::error::Result;
pub(crate) use bind::BoundCondition;

const KIND_IN_WORDS: &str = "a condition expression";

/// Which expression of a request it is; messages say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Condition,
    Filter,
    /// Only to be judged: key conditions have a parser of their own.
    KeyCondition,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Condition => "ConditionExpression",
            Self::Filter => "FilterExpression",
            Self::KeyCondition => "KeyConditionExpression",
        }
    }
}

/// A parsed expression, independent of any request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionExpression {
    kind: Kind,
    root: Node,
}

/// A condition. As deep as the expression has operators at most.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Comparator, Operand, Operand),
    /// What, the lower and the upper bound.
    Between([Operand; 3]),
    /// What, and then what it may be.
    In(Vec<Operand>),
    Call(Call),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Path(Path),
    /// A `:value`.
    Value(String),
    Call(Call),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    /// `None` does not outlive parsing: the function is unknown.
    function: Option<Function>,
    operands: Vec<Operand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparator {
    fn of(token: TokenKind) -> Option<Self> {
        Some(match token {
            TokenKind::Equal => Self::Equal,
            TokenKind::NotEqual => Self::NotEqual,
            TokenKind::Less => Self::Less,
            TokenKind::LessOrEqual => Self::LessOrEqual,
            TokenKind::Greater => Self::Greater,
            TokenKind::GreaterOrEqual => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    AttributeExists,
    AttributeNotExists,
    AttributeType,
    BeginsWith,
    Contains,
    Size,
}

impl Function {
    const ALL: [Self; 6] = [
        Self::AttributeExists,
        Self::AttributeNotExists,
        Self::AttributeType,
        Self::BeginsWith,
        Self::Contains,
        Self::Size,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::AttributeExists => "attribute_exists",
            Self::AttributeNotExists => "attribute_not_exists",
            Self::AttributeType => "attribute_type",
            Self::BeginsWith => "begins_with",
            Self::Contains => "contains",
            Self::Size => "size",
        }
    }
}

impl ConditionExpression {
    /// Parses an expression's text.
    pub(crate) fn parse(kind: Kind, source: &str) -> Result<Self> {
        let parse = || {
            let parser = Parser { cursor: Cursor::new(source)?, open: Vec::new() };
            parser.expression()
        };
        let root = parse().map_err(|why| invalid(kind.name(), &why))?;
        Ok(Self { kind, root })
    }
}

/// What has begun and waits for a value.
enum Open<'t> {
    /// A parenthesis; a condition may not stand in it where an `operand` is wanted.
    Group {
        operand: bool,
    },
    Not,
    And(Node),
    Or(Node),
    Compare(Comparator, Operand),
    Low(Operand),
    High(Operand, Operand),
    In(Vec<Operand>),
    Call(&'t str, Vec<Operand>),
}

/// What was read: a function may still be either.
enum Value {
    Operand(Operand),
    Condition(Node),
}

/// Keeps what is open on a stack of its own, so that depth costs no stack.
struct Parser<'t> {
    cursor: Cursor<'t>,
    open: Vec<Open<'t>>,
}

impl Parser<'_> {
    fn expression(mut self) -> std::result::Result<Node, Why> {
        loop {
            let wants_operand = self.wants_operand();
            match self.cursor.peek() {
                Some(TokenKind::LeftParenthesis) => {
                    self.cursor.advance();
                    self.open.push(Open::Group { operand: wants_operand });
                    continue;
                }
                Some(TokenKind::Keyword(Keyword::Not)) if !wants_operand => {
                    self.cursor.advance();
                    self.cursor.count_operator();
                    self.open.push(Open::Not);
                    continue;
                }
                _ => {}
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
                _ => Operand::Path(Path::parse(&mut self.cursor)?),
            };
            if let Some(root) = self.close(Value::Operand(operand))? {
                self.cursor.finish()?;
                return Ok(root);
            }
        }
    }

    fn wants_operand(&self) -> bool {
        match self.open.last() {
            None | Some(Open::Not | Open::And(_) | Open::Or(_)) => false,
            Some(Open::Group { operand }) => *operand,
            Some(_) => true,
        }
    }

    /// Closes everything that this value completes; the root, or `None` where another value is to follow.
    fn close(&mut self, mut value: Value) -> std::result::Result<Option<Node>, Why> {
        let mut is_group = false;
        loop {
            if !self.wants_operand() && matches!(value, Value::Operand(_)) {
                value = match self.begin_comparison(value)? {
                    Some(value) => value,
                    None => return Ok(None),
                };
            }
            let token = self.cursor.peek();
            let was_group = std::mem::replace(&mut is_group, false);
            value = match self.open.pop() {
                Some(Open::Call(name, mut operands)) => {
                    operands.push(self.operand(value)?);
                    if self.cursor.accept(TokenKind::Comma) {
                        self.open.push(Open::Call(name, operands));
                        return Ok(None);
                    }
                    self.cursor.expect(TokenKind::RightParenthesis)?;
                    let function = Function::ALL.into_iter().find(|f| f.name() == name);
                    if function.is_none() {
                        self.cursor.note_unknown_function(name, KIND_IN_WORDS, &UPDATE_FUNCTIONS);
                    }
                    Value::Operand(Operand::Call(Call { function, operands }))
                }
                Some(Open::In(mut operands)) => {
                    operands.push(self.operand(value)?);
                    if self.cursor.accept(TokenKind::Comma) {
                        self.open.push(Open::In(operands));
                        return Ok(None);
                    }
                    self.cursor.expect(TokenKind::RightParenthesis)?;
                    Value::Condition(Node::In(operands))
                }
                Some(Open::Compare(comparator, left)) => {
                    let right = self.operand(value)?;
                    Value::Condition(Node::Compare(comparator, left, right))
                }
                Some(Open::Low(what)) => {
                    let low = self.operand(value)?;
                    self.cursor.expect(TokenKind::Keyword(Keyword::And))?;
                    self.open.push(Open::High(what, low));
                    return Ok(None);
                }
                Some(Open::High(what, low)) => {
                    let high = self.operand(value)?;
                    Value::Condition(Node::Between([what, low, high]))
                }
                Some(Open::Not) => Value::Condition(Node::Not(Box::new(self.condition(value)?))),
                Some(Open::And(left)) => {
                    let right = self.condition(value)?;
                    Value::Condition(Node::And(Box::new(left), Box::new(right)))
                }
                top if token == Some(TokenKind::Keyword(Keyword::And))
                    && !matches!(top, Some(Open::Group { operand: true })) =>
                {
                    self.open.extend(top);
                    let left = self.condition(value)?;
                    self.cursor.advance();
                    self.cursor.count_operator();
                    self.open.push(Open::And(left));
                    return Ok(None);
                }
                Some(Open::Or(left)) => {
                    let right = self.condition(value)?;
                    Value::Condition(Node::Or(Box::new(left), Box::new(right)))
                }
                top if token == Some(TokenKind::Keyword(Keyword::Or))
                    && !matches!(top, Some(Open::Group { operand: true })) =>
                {
                    self.open.extend(top);
                    let left = self.condition(value)?;
                    self.cursor.advance();
                    self.cursor.count_operator();
                    self.open.push(Open::Or(left));
                    return Ok(None);
                }
                Some(Open::Group { .. }) => {
                    self.cursor.expect(TokenKind::RightParenthesis)?;
                    if was_group {
                        self.cursor.note_redundant_parentheses();
                    }
                    is_group = true;
                    value
                }
                None => {
                    let root = self.condition(value)?;
                    return if token.is_none() {
                        Ok(Some(root))
                    } else {
                        Err(self.cursor.syntax_error())
                    };
                }
            };
        }
    }

    /// If a comparison begins with this operand, begins it.
    fn begin_comparison(&mut self, value: Value) -> std::result::Result<Option<Value>, Why> {
        let Some(token) = self.cursor.peek() else { return Ok(Some(value)) };
        let comparator = Comparator::of(token);
        let is_between = token == TokenKind::Keyword(Keyword::Between);
        let is_in = token == TokenKind::Keyword(Keyword::In);
        if comparator.is_none() && !is_between && !is_in {
            return Ok(Some(value));
        }
        let operand = self.operand(value)?;
        self.cursor.advance();
        self.cursor.count_operator();
        self.open.push(match comparator {
            Some(comparator) => Open::Compare(comparator, operand),
            None if is_between => Open::Low(operand),
            None => {
                self.cursor.expect(TokenKind::LeftParenthesis)?;
                Open::In(vec![operand])
            }
        });
        Ok(None)
    }

    /// A value where an operand is wanted. Of the functions only `size` has a value.
    fn operand(&mut self, value: Value) -> std::result::Result<Operand, Why> {
        let Value::Operand(operand) = value else { return Err(self.cursor.syntax_error()) };
        if let Operand::Call(Call { function: Some(function), .. }) = &operand
            && *function != Function::Size
        {
            self.cursor.note_misused_function(function.name());
        }
        Ok(operand)
    }

    /// A value where a condition is wanted.
    fn condition(&mut self, value: Value) -> std::result::Result<Node, Why> {
        match value {
            Value::Condition(node) => Ok(node),
            Value::Operand(Operand::Call(call)) => {
                if call.function == Some(Function::Size) {
                    self.cursor.note_misused_function(Function::Size.name());
                }
                Ok(Node::Call(call))
            }
            Value::Operand(_) => Err(self.cursor.syntax_error()),
        }
    }
}

#[cfg(test)]
mod tests;
