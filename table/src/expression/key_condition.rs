//! KeyConditionExpression: which items of a partition a Query reads.
//! `KeyConditionExpression::parse` depends on the text alone, so that what it answers can be kept
//! for the next request with the same text; `bind` brings in the request's placeholders and the
//! table's key.
//!
//! ```text
//! expression = term { AND term }
//! term       = condition | "(" expression ")"
//! condition  = operand comparator operand            one of them a name, the other a :value
//!            | name BETWEEN :value AND :value
//!            | begins_with "(" name "," :value ")"
//! ```

mod legacy;

use super::condition::{ConditionExpression, Kind};
use super::lexer::{Keyword, Token, TokenKind, lex, syntax_error};
use super::reserved::is_reserved;
use super::{MAX_EXPRESSION_BYTES, Placeholders};
use crate::error::{Result, TableError};
use crate::key_codec::{KeyPart, SortCondition};
use crate::key_schema::{KeyAttribute, KeyAttributes};
use crate::{AttributeValue, message};

const KIND: &str = "KeyConditionExpression";
const BEGINS_WITH: &str = "begins_with";
/// The functions of condition expressions, which a key condition may not use.
const OTHER_FUNCTIONS: [&str; 5] =
    ["attribute_exists", "attribute_not_exists", "attribute_type", "contains", "size"];

/// A parsed expression, independent of any request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyConditionExpression {
    conditions: Vec<Condition>,
}

/// One condition on one attribute; names and values as written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    /// An attribute name or `#name`.
    name: String,
    comparison: Comparison,
    /// The operator as written, for messages: of `:v < a` this is `<`.
    written: &'static str,
    /// One placeholder, two for BETWEEN.
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Between,
    BeginsWith,
}

impl Comparison {
    /// The same comparison with its operands exchanged.
    fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            other => other,
        }
    }
}

/// What a Query reads: one partition, and conditions on the attributes of the sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundKeyCondition<'r> {
    /// The values of the HASH attributes: one, except in a global index.
    pub(crate) hash: Vec<KeyPart<'r>>,
    /// The values of the first RANGE attributes, of all but the last one that has a condition.
    pub(crate) leading: Vec<KeyPart<'r>>,
    /// The condition on the RANGE attribute after these.
    pub(crate) sort: Option<SortCondition<'r>>,
}

impl KeyConditionExpression {
    /// Parses an expression's text.
    pub(crate) fn parse(source: &str) -> Result<Self> {
        if source.is_empty() {
            return Err(invalid(message::EXPRESSION_EMPTY));
        }
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(invalid(message::EXPRESSION_SIZE));
        }
        let tokens = lex(source);
        let conditions = Parser { source, tokens: &tokens, next: 0 }.expression();
        // What is wrong as any condition comes before what only a key condition may not have.
        let conditions = conditions.or_else(|error| {
            ConditionExpression::parse(Kind::KeyCondition, source).and(Err(error))
        })?;
        Ok(Self { conditions })
    }

    /// Resolves the placeholders and matches the conditions with the key of a table or an index.
    pub(crate) fn bind<'r>(
        &'r self,
        placeholders: &mut Placeholders<'r>,
        key: KeyAttributes<'_>,
    ) -> Result<BoundKeyCondition<'r>> {
        let mut resolved = Vec::with_capacity(self.conditions.len());
        for condition in &self.conditions {
            resolved.push(Resolved::new(condition, placeholders)?);
        }
        for (index, condition) in resolved.iter().enumerate() {
            if resolved[..index].iter().any(|earlier| earlier.name == condition.name) {
                return Err(invalid(message::TWO_CONDITIONS_PER_KEY));
            }
        }
        let defined = key.all().count();
        if resolved.len() > defined {
            let text = message::too_many_conditions(resolved.len(), defined);
            return Err(TableError::validation(text));
        }
        BoundKeyCondition::matched(&resolved, key)
    }
}

impl<'r> BoundKeyCondition<'r> {
    /// Matches conditions, of each attribute one at most, with a key.
    fn matched(resolved: &[Resolved<'r>], key: KeyAttributes<'_>) -> Result<Self> {
        let on = |attribute: &KeyAttribute| resolved.iter().find(|c| c.name == attribute.name);
        check_hash(key, on)?;
        if resolved.iter().any(|condition| key.all().all(|a| a.name != condition.name)) {
            let without = key.range.iter().find(|attribute| on(attribute).is_none());
            let name = without.map_or("", |attribute| &attribute.name);
            return Err(TableError::validation(message::missed_key_element(name)));
        }
        let last = key.range.iter().rposition(|attribute| on(attribute).is_some());
        let (leading, last) = match last {
            Some(last) => (&key.range[..last], Some(&key.range[last])),
            None => (&[][..], None),
        };
        let unequal = without_equality(leading, on);
        if let Some(last) = last
            && !unequal.is_empty()
        {
            let text = message::range_keys_without_equality(&unequal, &last.name);
            return Err(TableError::validation(text));
        }
        let equal = |attributes: &[KeyAttribute]| -> Result<Vec<KeyPart<'r>>> {
            let conditioned = attributes.iter().filter_map(|a| Some((a, on(a)?.low)));
            conditioned.map(|(attribute, value)| attribute.condition_part(value)).collect()
        };
        let hash = equal(key.hash)?;
        let leading = equal(leading)?;
        let last = last.and_then(|attribute| Some((attribute, on(attribute)?)));
        let sort = last.map(|(attribute, condition)| condition.on(attribute)).transpose()?;
        Ok(Self { hash, leading, sort })
    }
}

/// The attributes that no condition sets equal to a value.
fn without_equality<'k, 'c, 'r: 'c>(
    attributes: &'k [KeyAttribute],
    on: impl Fn(&KeyAttribute) -> Option<&'c Resolved<'r>>,
) -> Vec<&'k str> {
    let is_equal = |condition: &Resolved<'_>| condition.comparison == Comparison::Equal;
    let without = attributes.iter().filter(|attribute| !on(attribute).is_some_and(is_equal));
    without.map(|attribute| attribute.name.as_str()).collect()
}

/// Refuses conditions that do not choose one partition.
fn check_hash<'c, 'r: 'c>(
    key: KeyAttributes<'_>,
    on: impl Fn(&KeyAttribute) -> Option<&'c Resolved<'r>>,
) -> Result<()> {
    let unequal = without_equality(key.hash, &on);
    let text = match (key.hash, unequal.is_empty()) {
        (_, true) => return Ok(()),
        ([only], _) if key.range.len() < 2 => match on(only) {
            Some(_) => message::KEY_CONDITION_NOT_SUPPORTED.to_owned(),
            None => message::missed_key_element(&only.name),
        },
        _ => message::hash_keys_without_equality(&unequal),
    };
    Err(TableError::validation(text))
}

/// A condition with its placeholders replaced.
struct Resolved<'r> {
    name: &'r str,
    comparison: Comparison,
    low: &'r AttributeValue,
    /// The same as `low` except for BETWEEN.
    high: &'r AttributeValue,
}

impl<'r> Resolved<'r> {
    fn new(condition: &'r Condition, placeholders: &mut Placeholders<'r>) -> Result<Self> {
        let name = if condition.name.starts_with('#') {
            placeholders.name(&condition.name).map_err(|why| invalid(&why))?
        } else {
            condition.name.as_str()
        };
        let mut value = |placeholder: &String| {
            let value = placeholders.value(placeholder).map_err(|why| invalid(&why))?;
            let fits = match condition.comparison {
                Comparison::Equal => true,
                Comparison::BeginsWith => {
                    matches!(value, AttributeValue::S(_) | AttributeValue::B(_))
                }
                _ => KeyPart::from_value(value).is_some(),
            };
            if !fits {
                return Err(invalid(&message::operand_type(condition.written, value.type_name())));
            }
            Ok(value)
        };
        let (Some(low), Some(high)) = (condition.values.first(), condition.values.last()) else {
            return Err(invalid(message::EXPRESSION_EMPTY));
        };
        let (low, high) = (value(low)?, value(high)?);
        if condition.comparison == Comparison::Between {
            check_bounds(low, high)?;
        }
        Ok(Self { name, comparison: condition.comparison, low, high })
    }

    fn on(&self, attribute: &KeyAttribute) -> Result<SortCondition<'r>> {
        let low = attribute.condition_part(self.low)?;
        Ok(match self.comparison {
            Comparison::Equal => SortCondition::Equal(low),
            Comparison::Less => SortCondition::Less(low),
            Comparison::LessOrEqual => SortCondition::LessOrEqual(low),
            Comparison::Greater => SortCondition::Greater(low),
            Comparison::GreaterOrEqual => SortCondition::GreaterOrEqual(low),
            Comparison::Between => {
                SortCondition::Between(low, attribute.condition_part(self.high)?)
            }
            Comparison::BeginsWith => SortCondition::BeginsWith(low),
        })
    }
}

fn check_bounds(low: &AttributeValue, high: &AttributeValue) -> Result<()> {
    let in_order = match (low, high) {
        (AttributeValue::S(low), AttributeValue::S(high)) => low <= high,
        (AttributeValue::N(low), AttributeValue::N(high)) => low <= high,
        (AttributeValue::B(low), AttributeValue::B(high)) => low <= high,
        _ => return Err(invalid(&message::between_types(low, high))),
    };
    if in_order { Ok(()) } else { Err(invalid(&message::between_order(low, high))) }
}

fn invalid(why: &str) -> TableError {
    TableError::validation(message::invalid_expression(KIND, why))
}

/// One side of a comparison.
enum Operand<'t> {
    Name(&'t str),
    Value(&'t str),
}

struct Parser<'t> {
    source: &'t str,
    tokens: &'t [Token<'t>],
    next: usize,
}

/// What stands inside an open parenthesis so far: how many terms, and whether the last was a
/// parenthesis itself.
#[derive(Default)]
struct Group {
    terms: usize,
    last_is_group: bool,
}

impl<'t> Parser<'t> {
    /// The whole expression. Parentheses are kept on a stack of our own, so that their depth costs
    /// no stack.
    fn expression(mut self) -> Result<Vec<Condition>> {
        let mut conditions = Vec::new();
        let mut open: Vec<Group> = vec![];
        let mut top = Group::default();
        loop {
            while self.accept(TokenKind::LeftParenthesis) {
                open.push(std::mem::take(&mut top));
            }
            conditions.push(self.condition()?);
            top = Group { terms: top.terms + 1, last_is_group: false };
            while !open.is_empty() && self.accept(TokenKind::RightParenthesis) {
                if top.terms == 1 && top.last_is_group {
                    return Err(invalid(message::REDUNDANT_PARENTHESES));
                }
                let outer = open.pop().unwrap_or_default();
                top = Group { terms: outer.terms + 1, last_is_group: true };
            }
            match self.peek() {
                None if open.is_empty() => return Ok(conditions),
                Some(TokenKind::Keyword(Keyword::And)) => self.next += 1,
                Some(TokenKind::Keyword(Keyword::Or)) => return Err(operator("OR")),
                _ => return Err(self.syntax_error()),
            }
        }
    }

    fn condition(&mut self) -> Result<Condition> {
        if self.peek() == Some(TokenKind::Keyword(Keyword::Not)) {
            return Err(operator("NOT"));
        }
        if self.peek() == Some(TokenKind::Identifier)
            && self.tokens.get(self.next + 1).map(|t| t.kind) == Some(TokenKind::LeftParenthesis)
        {
            return self.function();
        }
        let left = self.operand()?;
        let (comparison, written) = match self.peek() {
            Some(TokenKind::Equal) => (Comparison::Equal, "="),
            Some(TokenKind::Less) => (Comparison::Less, "<"),
            Some(TokenKind::LessOrEqual) => (Comparison::LessOrEqual, "<="),
            Some(TokenKind::Greater) => (Comparison::Greater, ">"),
            Some(TokenKind::GreaterOrEqual) => (Comparison::GreaterOrEqual, ">="),
            Some(TokenKind::Keyword(Keyword::Between)) => (Comparison::Between, "BETWEEN"),
            Some(TokenKind::NotEqual) => return Err(operator("<>")),
            Some(TokenKind::Keyword(Keyword::In)) => return Err(operator("IN")),
            _ => return Err(self.syntax_error()),
        };
        self.next += 1;
        let right = self.operand()?;
        let high = if comparison == Comparison::Between {
            self.expect(TokenKind::Keyword(Keyword::And))?;
            Some(self.operand()?)
        } else {
            None
        };
        let (name, comparison, low) = match (left, right) {
            (Operand::Name(name), Operand::Value(value)) => (name, comparison, value),
            (Operand::Value(value), Operand::Name(name)) if high.is_none() => {
                (name, comparison.mirrored(), value)
            }
            (Operand::Name(_), Operand::Name(_)) => return Err(names_in_condition(2)),
            (Operand::Value(_), _) => return Err(names_in_condition(0)),
        };
        let mut values = vec![low.to_owned()];
        match high {
            Some(Operand::Value(high)) => values.push(high.to_owned()),
            Some(Operand::Name(_)) => return Err(names_in_condition(2)),
            None => {}
        }
        Ok(Condition { name: name.to_owned(), comparison, written, values })
    }

    fn function(&mut self) -> Result<Condition> {
        let function = self.tokens[self.next].text;
        if OTHER_FUNCTIONS.contains(&function) {
            return Err(operator(function));
        }
        if function != BEGINS_WITH {
            return Err(invalid(&message::unknown_function(function)));
        }
        self.next += 2;
        let mut operands = vec![self.operand()?];
        while self.accept(TokenKind::Comma) {
            operands.push(self.operand()?);
        }
        self.expect(TokenKind::RightParenthesis)?;
        match operands.as_slice() {
            [Operand::Name(name), Operand::Value(value)] => Ok(Condition {
                name: (*name).to_owned(),
                comparison: Comparison::BeginsWith,
                written: BEGINS_WITH,
                values: vec![(*value).to_owned()],
            }),
            [Operand::Name(_), Operand::Name(_)] => Err(names_in_condition(2)),
            [Operand::Value(_), _] => Err(names_in_condition(0)),
            other => Err(invalid(&message::operand_count(BEGINS_WITH, other.len()))),
        }
    }

    fn operand(&mut self) -> Result<Operand<'t>> {
        let Some(token) = self.tokens.get(self.next) else {
            return Err(self.syntax_error());
        };
        let operand = match token.kind {
            TokenKind::ValuePlaceholder => Operand::Value(token.text),
            TokenKind::NamePlaceholder => Operand::Name(token.text),
            TokenKind::Identifier if is_reserved(token.text) => {
                return Err(invalid(&message::reserved_keyword(token.text)));
            }
            TokenKind::Identifier => Operand::Name(token.text),
            _ => return Err(self.syntax_error()),
        };
        self.next += 1;
        let nested = matches!(self.peek(), Some(TokenKind::Dot | TokenKind::LeftBracket));
        if nested && matches!(operand, Operand::Name(_)) {
            return Err(invalid(message::NESTED_KEY_CONDITION));
        }
        Ok(operand)
    }

    fn peek(&self) -> Option<TokenKind> {
        self.tokens.get(self.next).map(|token| token.kind)
    }

    fn accept(&mut self, kind: TokenKind) -> bool {
        let found = self.peek() == Some(kind);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, kind: TokenKind) -> Result<()> {
        if self.accept(kind) { Ok(()) } else { Err(self.syntax_error()) }
    }

    fn syntax_error(&self) -> TableError {
        invalid(&syntax_error(self.source, self.tokens, self.next))
    }
}

/// These two errors stand without the prefix of the others.
fn operator(name: &str) -> TableError {
    TableError::validation(message::invalid_key_operator(name))
}

fn names_in_condition(count: usize) -> TableError {
    TableError::validation(if count == 0 {
        message::NO_NAME_IN_KEY_CONDITION
    } else {
        message::TWO_NAMES_IN_KEY_CONDITION
    })
}

#[cfg(test)]
mod tests;
