//! Cuts the text of an expression into tokens. Every kind of expression's parser starts here and
//! words its syntax errors here, so that all show the same `token` and `near`. Tokens borrow from
//! the text.

use crate::message;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// An attribute name or function name.
    Identifier,
    /// `#name`
    NamePlaceholder,
    /// `:value`
    ValuePlaceholder,
    /// A word of the language, whatever its case.
    Keyword(Keyword),
    /// Digits, which only list indexes have.
    Digits,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    LeftParenthesis,
    RightParenthesis,
    LeftBracket,
    RightBracket,
    Dot,
    Comma,
    /// A character that no expression has.
    Unreadable,
}

/// The words of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    And,
    Or,
    Not,
    Between,
    In,
    /// SET, REMOVE, ADD or DELETE, which begin the sections of updates, and which no other language has.
    Section,
}

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub kind: TokenKind,
    /// The token as written.
    pub text: &'t str,
    /// Where it starts in the expression, in bytes.
    pub start: usize,
}

/// The tokens of an expression. Unreadable characters become tokens too, which no parser accepts.
pub(super) fn lex(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = source[start..].chars().next() {
        if first.is_ascii_whitespace() {
            start += 1;
            continue;
        }
        let (kind, length) = token_at(&source[start..], first);
        tokens.push(Token { kind, text: &source[start..start + length], start });
        start += length;
    }
    tokens
}

/// The kind and length of the token at the front of `rest`, whose first character is `first`.
fn token_at(rest: &str, first: char) -> (TokenKind, usize) {
    let second = rest.as_bytes().get(1).copied();
    match first {
        '#' | ':' => match 1 + word_length(&rest[1..]) {
            1 => (TokenKind::Unreadable, 1),
            length if first == '#' => (TokenKind::NamePlaceholder, length),
            length => (TokenKind::ValuePlaceholder, length),
        },
        '<' if second == Some(b'>') => (TokenKind::NotEqual, 2),
        '<' if second == Some(b'=') => (TokenKind::LessOrEqual, 2),
        '<' => (TokenKind::Less, 1),
        '>' if second == Some(b'=') => (TokenKind::GreaterOrEqual, 2),
        '>' => (TokenKind::Greater, 1),
        '=' => (TokenKind::Equal, 1),
        '+' => (TokenKind::Plus, 1),
        '-' => (TokenKind::Minus, 1),
        '(' => (TokenKind::LeftParenthesis, 1),
        ')' => (TokenKind::RightParenthesis, 1),
        '[' => (TokenKind::LeftBracket, 1),
        ']' => (TokenKind::RightBracket, 1),
        '.' => (TokenKind::Dot, 1),
        ',' => (TokenKind::Comma, 1),
        // No number starts with a zero, so `00` is two tokens.
        '0' => (TokenKind::Digits, 1),
        '1'..='9' => (TokenKind::Digits, rest.bytes().take_while(u8::is_ascii_digit).count()),
        // An underscore stands in a word, but begins none.
        'a'..='z' | 'A'..='Z' => {
            let length = word_length(rest);
            (keyword(&rest[..length]).map_or(TokenKind::Identifier, TokenKind::Keyword), length)
        }
        other => (TokenKind::Unreadable, other.len_utf8()),
    }
}

fn word_length(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

fn keyword(word: &str) -> Option<Keyword> {
    const KEYWORDS: [(&str, Keyword); 9] = [
        ("AND", Keyword::And),
        ("OR", Keyword::Or),
        ("NOT", Keyword::Not),
        ("BETWEEN", Keyword::Between),
        ("IN", Keyword::In),
        ("SET", Keyword::Section),
        ("REMOVE", Keyword::Section),
        ("ADD", Keyword::Section),
        ("DELETE", Keyword::Section),
    ];
    KEYWORDS.iter().find(|(text, _)| word.eq_ignore_ascii_case(text)).map(|(_, keyword)| *keyword)
}

/// The syntax error at a token, or at the end where there is none of this index. `near` shows the
/// text from the token before to the token after; at the end, the last token.
pub(super) fn syntax_error(source: &str, tokens: &[Token<'_>], index: usize) -> String {
    let end_of = |token: &Token<'_>| token.start + token.text.len();
    let Some(token) = tokens.get(index) else {
        return message::syntax_error("<EOF>", tokens.last().map_or(source, |last| last.text));
    };
    let first = if index > 0 { &tokens[index - 1] } else { token };
    let last = tokens.get(index + 1).unwrap_or(token);
    message::syntax_error(token.text, &source[first.start..end_of(last)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_every_kind_of_token() {
        use TokenKind::*;
        let kinds: Vec<_> = lex("a #_b:_c<> <= < >= > = + - ( ) [10] . , between _x y_ 007 !")
            .iter()
            .map(|t| t.kind)
            .collect();
        assert_eq!(
            kinds,
            [
                Identifier,
                NamePlaceholder,
                ValuePlaceholder,
                NotEqual,
                LessOrEqual,
                Less,
                GreaterOrEqual,
                Greater,
                Equal,
                Plus,
                Minus,
                LeftParenthesis,
                RightParenthesis,
                LeftBracket,
                Digits,
                RightBracket,
                Dot,
                Comma,
                Keyword(super::Keyword::Between),
                Unreadable,
                Identifier,
                Identifier,
                Digits,
                Digits,
                Digits,
                Unreadable,
            ]
        );
    }

    #[test]
    fn syntax_errors_show_the_neighbours() {
        let error = |source: &str, index: usize| syntax_error(source, &lex(source), index);
        assert_eq!(error("a (b) x  y z", 4), "Syntax error; token: \"x\", near: \") x  y\"");
        assert_eq!(error("x y", 0), "Syntax error; token: \"x\", near: \"x y\"");
        assert_eq!(error("a = (", 3), "Syntax error; token: \"<EOF>\", near: \"(\"");
        assert_eq!(error("  ", 0), "Syntax error; token: \"<EOF>\", near: \"  \"");
    }

    proptest! {
        #[test]
        fn any_text_is_cut_without_loss(source in any::<String>()) {
            let tokens = lex(&source);
            let mut end = 0;
            for token in &tokens {
                prop_assert!(source[end..token.start].bytes().all(|b| b.is_ascii_whitespace()));
                prop_assert_eq!(&source[token.start..token.start + token.text.len()], token.text);
                prop_assert!(!token.text.is_empty());
                end = token.start + token.text.len();
            }
            prop_assert!(source[end..].bytes().all(|b| b.is_ascii_whitespace()));
        }
    }
}
