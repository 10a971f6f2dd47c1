//! Every message of the table layer that the service words, in one place, so that a wording can be changed here
//! alone. Nothing else in the crate writes message text of its own. Constants for fixed texts, functions for those
//! that name something.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

pub(crate) const INVALID_PARAMETERS: &str = "One or more parameter values were invalid: ";

// Numbers.
pub(crate) const NUMBER_EMPTY: &str = "The parameter cannot be converted to a numeric value";
pub(crate) const NUMBER_OVERFLOW: &str =
    "Number overflow. Attempting to store a number with magnitude larger than supported range";
pub(crate) const NUMBER_UNDERFLOW: &str =
    "Number underflow. Attempting to store a number with magnitude smaller than supported range";
pub(crate) const NUMBER_PRECISION: &str =
    "Attempting to store more than 38 significant digits in a Number";

pub(crate) fn number_invalid(text: &str) -> String {
    format!("{NUMBER_EMPTY}: {text}")
}

// Values and items.
pub(crate) const NESTING: &str = "Nesting Levels have exceeded supported limits: \
     Attributes in the item have nested levels beyond supported limit";
pub(crate) const ITEM_SIZE: &str = "Item size has exceeded the maximum allowed size";
pub(crate) const EMPTY_STRING_SET: &str =
    "One or more parameter values were invalid: An string set  may not be empty";
pub(crate) const EMPTY_NUMBER_SET: &str =
    "One or more parameter values were invalid: An number set  may not be empty";
pub(crate) const EMPTY_BINARY_SET: &str =
    "One or more parameter values were invalid: Binary sets should not be empty";
pub(crate) const NUMBER_SET_DUPLICATES: &str =
    "One or more parameter values were invalid: Input collection contains duplicates.";
pub(crate) const EMPTY_ATTRIBUTE_NAME: &str = "Empty attribute name";
pub(crate) const LONG_ATTRIBUTE_NAME: &str = "One or more parameter values were invalid: Attribute name is too large, must be less than 65536 bytes";

pub(crate) fn string_set_duplicates(members: &[String]) -> String {
    let quoted: Vec<String> = members.iter().map(|member| json_quoted(member)).collect();
    format!("{INVALID_PARAMETERS}Input collection [{}] contains duplicates.", quoted.join(", "))
}

pub(crate) fn binary_set_duplicates(members: &[Vec<u8>]) -> String {
    let quoted: Vec<String> = members.iter().map(|m| format!("\"{}\"", BASE64.encode(m))).collect();
    format!(
        "{INVALID_PARAMETERS}Input collection [{}]of type BS contains duplicates.",
        quoted.join(",")
    )
}

/// What the bytes of a stored item or key get when they are not what was written.
pub(crate) fn damaged(what: &str) -> String {
    format!("stored data is damaged: {what}")
}

/// A string as JSON writes it, with its quotes.
fn json_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
