//! Every message of the table layer that the service words, in one place, so that a wording can be changed here
//! alone. Nothing else in the crate writes message text of its own. Constants for fixed texts, functions for those
//! that name something.

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
