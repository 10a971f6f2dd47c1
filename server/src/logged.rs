//! Text in the log that a client may have had a part in: without control characters, and never long. Used wherever a
//! request's words could reach the log.

use std::fmt;

/// Bytes of the longest text that is logged whole.
const LOGGED_BYTES_MAX: usize = 1024;

/// Writes text escaped, and cut where it is too long.
pub(crate) struct Logged<'a>(pub(crate) &'a str);

impl fmt::Display for Logged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.floor_char_boundary(LOGGED_BYTES_MAX);
        for character in self.0[..end].chars() {
            match character {
                '"' | '\'' => write!(f, "{character}")?,
                _ => write!(f, "{}", character.escape_debug())?,
            }
        }
        match self.0.len() - end {
            0 => Ok(()),
            more => write!(f, "... and {more} bytes more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_cut() {
        assert_eq!(Logged("a \"b\" é").to_string(), "a \"b\" é");
        assert_eq!(Logged("a\r\n\u{1b}[31m\0").to_string(), r"a\r\n\u{1b}[31m\0");
        let long = Logged(&"é\u{1b}".repeat(1 << 20)).to_string();
        assert!(long.len() < 10_000 && long.ends_with("bytes more"), "{}", long.len());
    }
}
