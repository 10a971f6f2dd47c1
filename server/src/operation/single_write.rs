//! How the service words what is wrong with a PutItem, UpdateItem or DeleteItem: these three are checked by its newer
//! validation layer, which puts most of what a request alone shows into an envelope and drops what other operations say
//! around a value. What only a table or an item shows stands without it. Called by `start`; the messages themselves are
//! made where they arise.

use esker_table::operation::ReturnValues;

use super::Found;
use super::constraint::Constraints;
use super::shared::RETURN_VALUES;
use crate::error::WireError;
use crate::message;

/// How the messages begin that stand in the envelope. A message of the table layer that only a table or an item gives
/// must not begin so.
const ENVELOPED: &[&str] = &[
    "Invalid UpdateExpression: ",
    "Invalid ConditionExpression: ",
    "Can not use both expression and non-expression parameters",
    "ExpressionAttributeNames can only be specified",
    "ExpressionAttributeNames must not be empty",
    "ExpressionAttributeNames contains invalid value: ",
    "ExpressionAttributeValues can only be specified",
    "ExpressionAttributeValues must not be empty",
    "Value provided in ExpressionAttribute",
    "ConditionalOperator can",
    "Empty attribute name",
    "ReturnValues can only be ",
    "Failed to satisfy constraint: ",
    "Nesting Levels have exceeded supported limits: Attributes in the item",
    "Attempting to store more than 38 significant digits",
    "The parameter cannot be converted to a numeric value",
    "The BETWEEN condition was provided a range",
    "One or more parameter values were invalid: An string set  may",
    "One or more parameter values were invalid: An number set  may",
    "One or more parameter values were invalid: Binary sets should",
    "One or more parameter values were invalid: Input collection",
    "One or more parameter values were invalid: Null attribute value types",
    // What is wrong with Expected.
    "One or more parameter values were invalid: Invalid number of argument(s)",
    "One or more parameter values were invalid: AttributeValues inside",
    "One or more parameter values were invalid: ComparisonOperator ",
    "One or more parameter values were invalid: Value or ",
    "One or more parameter values were invalid: Value must be provided",
    "One or more parameter values were invalid: Value cannot be used",
    "One or more parameter values were invalid: Value and ",
    "One or more parameter values were invalid: AttributeValueList",
    "One or more parameter values were invalid: Exists and ",
];

/// As [`ENVELOPED`] where the request has such a number. Arithmetic with numbers of the item says the same without.
const ENVELOPED_READING: &[&str] = &["Number overflow.", "Number underflow."];

/// What stands around what is wrong with a value of an expression.
const AROUND_VALUE: (&str, &str) =
    ("ExpressionAttributeValues contains invalid value: ", " for key ");

/// What is told without that, and without the key: it is told of any value so.
const VALUES: &[&str] = &[
    "Nesting Levels",
    "Number ",
    "Attempting to store",
    "The parameter cannot",
    "One or more parameter values were invalid: Input collection",
    "One or more parameter values were invalid: Null attribute",
    "Empty attribute name",
];

/// Which values of the item are to be returned.
pub(super) fn return_values(checks: &mut Constraints, text: Option<&str>) -> Option<ReturnValues> {
    checks.choice_worded(text, RETURN_VALUES, || {
        message::not_in_named_enum(message::RETURN_VALUES_SET)
    })
}

/// The error as these operations word it.
pub(super) fn worded(error: WireError, found: Found) -> WireError {
    error.reworded(|message| {
        let own = own_words(message);
        let begins = |starts: &[&str]| starts.iter().any(|start| own.starts_with(start));
        let in_envelope = begins(ENVELOPED)
            || found == Found::Reading && begins(ENVELOPED_READING)
            // An empty set keeps what stands around it, but an empty value stands for itself.
            || own.strip_prefix(AROUND_VALUE.0).is_some_and(|why| why.starts_with("One or more"));
        if in_envelope {
            Some(message::constraints(&[own.to_owned()]))
        } else {
            (own.len() < message.len()).then(|| own.to_owned())
        }
    })
}

/// The part of a message that these operations tell.
fn own_words(message: &str) -> &str {
    if let Some(inner) = message.strip_prefix(AROUND_VALUE.0)
        && VALUES.iter().any(|start| inner.starts_with(start))
        && let Some(end) = inner.rfind(AROUND_VALUE.1)
    {
        return &inner[..end];
    }
    // Other operations name the expressions that are missing.
    let alone = "ExpressionAttributeValues can only be specified when using expressions";
    if message.starts_with(alone) { alone } else { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> String {
        worded(WireError::validation(message), Found::Reading).to_string()
    }

    #[test]
    fn what_the_request_shows_is_in_the_envelope() {
        let one = "ValidationException: 1 validation error detected: ";
        for message in [
            "Invalid UpdateExpression: Syntax error; token: \"<EOF>\", near: \"SET\"",
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}",
            "One or more parameter values were invalid: An string set  may not be empty",
            "ExpressionAttributeValues contains invalid value: One or more parameter values were \
             invalid: An string set  may not be empty for key :v",
            "Number overflow. Attempting to store a number with magnitude larger than supported range",
        ] {
            assert_eq!(told(message), format!("{one}{message}"));
        }
        assert_eq!(
            told(
                "ExpressionAttributeValues contains invalid value: Number underflow. It is for key x for key :v"
            ),
            format!("{one}Number underflow. It is for key x")
        );
        assert_eq!(
            told(
                "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null"
            ),
            format!("{one}ExpressionAttributeValues can only be specified when using expressions")
        );
    }

    #[test]
    fn what_the_table_or_an_item_shows_is_not() {
        for message in [
            "The provided key element does not match the schema",
            "Item size has exceeded the maximum allowed size",
            "Nesting Levels have exceeded supported limits",
            "One or more parameter values were invalid: Missing the key a in the item",
            "One or more parameter values were invalid: Type mismatch for key a expected: S actual: N",
            "An operand in the update expression has an incorrect data type",
            "ExpressionAttributeNames contains invalid key: Syntax error; key: \"a\"",
            "ExpressionAttributeValues contains invalid value: Supplied AttributeValue is empty, must \
             contain exactly one of the supported datatypes for key :v",
            "1 validation error detected: Value null at 'key' failed to satisfy constraint: Member must not be null",
        ] {
            assert_eq!(told(message), format!("ValidationException: {message}"));
        }
        let missing =
            WireError::missing("ResourceNotFoundException", "Invalid UpdateExpression: x");
        assert_eq!(worded(missing.clone(), Found::Doing), missing);
    }

    #[test]
    fn arithmetic_with_the_item_is_no_fault_of_the_request() {
        let overflow = "Number overflow. Attempting to store a number with magnitude larger than \
                        supported range";
        for (found, told) in [
            (Found::Reading, format!("1 validation error detected: {overflow}")),
            (Found::Doing, overflow.to_owned()),
        ] {
            let error = worded(WireError::validation(overflow), found);
            assert_eq!(error, WireError::validation(told));
        }
    }
}
