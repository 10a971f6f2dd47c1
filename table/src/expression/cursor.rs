//! A parser's place in the tokens of an expression, and what every parser but that of key conditions does there: it takes
//! tokens, words syntax errors, and notes what is wrong beside them. What was noted is told when the syntax is right.

use super::lexer::{Token, TokenKind, lex, syntax_error};
use super::reserved::is_reserved;
use super::{MAX_EXPRESSION_BYTES, Why};
use crate::message;

/// Operators and functions of an expression at most.
const MAX_OPERATORS: usize = 300;

/// A place in the tokens.
pub(super) struct Cursor<'t> {
    source: &'t str,
    tokens: Vec<Token<'t>>,
    next: usize,
    operators: usize,
    redundant_parentheses: bool,
    /// The first of each kind.
    unknown_function: Option<Why>,
    misused_function: Option<&'t str>,
    reserved: Option<&'t str>,
    other: Option<Why>,
}

impl<'t> Cursor<'t> {
    /// At the start of an expression, whose length is checked.
    pub(super) fn new(source: &'t str) -> Result<Self, Why> {
        if source.is_empty() {
            return Err(message::EXPRESSION_EMPTY.to_owned());
        }
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(message::EXPRESSION_SIZE.to_owned());
        }
        Ok(Self {
            source,
            tokens: lex(source),
            next: 0,
            operators: 0,
            redundant_parentheses: false,
            unknown_function: None,
            misused_function: None,
            reserved: None,
            other: None,
        })
    }

    pub(super) fn peek(&self) -> Option<TokenKind> {
        self.tokens.get(self.next).map(|token| token.kind)
    }

    /// The next token as written.
    pub(super) fn text(&self) -> Option<&'t str> {
        self.tokens.get(self.next).map(|token| token.text)
    }

    pub(super) fn advance(&mut self) {
        self.next += 1;
    }

    pub(super) fn accept(&mut self, kind: TokenKind) -> bool {
        let found = self.peek() == Some(kind);
        self.next += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, kind: TokenKind) -> Result<(), Why> {
        self.take(kind).map(|_| ())
    }

    /// Takes a token of this kind: its text.
    pub(super) fn take(&mut self, kind: TokenKind) -> Result<&'t str, Why> {
        match self.tokens.get(self.next) {
            Some(token) if token.kind == kind => {
                self.next += 1;
                Ok(token.text)
            }
            _ => Err(self.syntax_error()),
        }
    }

    /// Takes a function's name and its open parenthesis, if they are next.
    pub(super) fn take_call(&mut self) -> Option<&'t str> {
        let [name, open] = self.tokens.get(self.next..self.next + 2)? else { return None };
        if name.kind != TokenKind::Identifier || open.kind != TokenKind::LeftParenthesis {
            return None;
        }
        self.next += 2;
        Some(name.text)
    }

    pub(super) fn syntax_error(&self) -> Why {
        syntax_error(self.source, &self.tokens, self.next)
    }

    pub(super) fn count_operator(&mut self) {
        self.operators += 1;
    }

    pub(super) fn note_redundant_parentheses(&mut self) {
        self.redundant_parentheses = true;
    }

    /// `language` is the kind of expression in words, which has none of `elsewhere`: the functions of other kinds.
    pub(super) fn note_unknown_function(&mut self, name: &str, language: &str, elsewhere: &[&str]) {
        self.unknown_function.get_or_insert_with(|| {
            if elsewhere.contains(&name) {
                message::function_of_another_language(name, language)
            } else {
                message::unknown_function(name)
            }
        });
    }

    pub(super) fn note_misused_function(&mut self, name: &'t str) {
        self.misused_function.get_or_insert(name);
    }

    pub(super) fn note_if_reserved(&mut self, name: &'t str) {
        if self.reserved.is_none() && is_reserved(name) {
            self.reserved = Some(name);
        }
    }

    /// Notes anything that comes behind the rest.
    pub(super) fn note(&mut self, why: Why) {
        self.other.get_or_insert(why);
    }

    /// The verdict on an expression whose syntax is right.
    pub(super) fn finish(self) -> Result<(), Why> {
        if self.redundant_parentheses {
            return Err(message::REDUNDANT_PARENTHESES.to_owned());
        }
        if let Some(why) = self.unknown_function {
            return Err(why);
        }
        if let Some(name) = self.misused_function {
            return Err(message::misused_function(name));
        }
        if let Some(name) = self.reserved {
            return Err(message::reserved_keyword(name));
        }
        if self.operators > MAX_OPERATORS {
            return Err(message::too_many_operators(MAX_OPERATORS + 1));
        }
        self.other.map_or(Ok(()), Err)
    }
}
