//! The messages about parameters from before expressions.

use super::INVALID_PARAMETERS;

pub(crate) fn mixed(parameters: &[&str], expressions: &[&str]) -> String {
    format!(
        "Can not use both expression and non-expression parameters in the same request: \
         Non-expression parameters: {{{}}} Expression parameters: {{{}}}",
        parameters.join(", "),
        expressions.join(", ")
    )
}

pub(crate) const OPERATOR_WITHOUT_CONDITIONS: &str =
    "ConditionalOperator cannot be used without Filter or Expected";
pub(crate) const OPERATOR_WITH_ONE_CONDITION: &str =
    "ConditionalOperator can only be used when Filter or Expected has two or more elements";

// Conditions.
pub(crate) const BETWEEN_ORDER: &str = "The BETWEEN condition was provided a range where the lower \
     bound is greater than the upper bound";
pub(crate) const ARGUMENT_TYPES: &str = "One or more parameter values were invalid: \
     AttributeValues inside AttributeValueList must be of same type";

pub(crate) fn argument_count(operator: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Invalid number of argument(s) for the {operator} ComparisonOperator"
    )
}

pub(crate) fn argument_type(operator: &str, type_name: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}ComparisonOperator {operator} is not valid for {type_name} \
         AttributeValue type"
    )
}

// Expected.
pub(crate) fn used_together(one: &str, two: &str, attribute: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}{one} and {two} cannot be used together for Attribute: {attribute}"
    )
}

pub(crate) fn comparison_without_value(operator: &str, attribute: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Value or AttributeValueList must be used with ComparisonOperator: \
         {operator} for Attribute: {attribute}"
    )
}

pub(crate) fn list_without_comparison(attribute: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}AttributeValueList can only be used with a ComparisonOperator for \
         Attribute: {attribute}"
    )
}

pub(crate) fn value_of_absent(attribute: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Value cannot be used when Exists is false for Attribute: {attribute}"
    )
}

/// `exists` is `null` or `true`.
pub(crate) fn exists_without_value(exists: &str, attribute: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Value must be provided when Exists is {exists} for Attribute: \
         {attribute}"
    )
}

// Queries.
pub(crate) const KEY_CONDITION_COUNT: &str = "Conditions can be of length 1 or 2 only";
pub(crate) const KEY_CONDITION_OPERATOR: &str =
    "Attempted conditional constraint is not an indexable operation";

pub(crate) fn key_in_filter(name: &str) -> String {
    format!(
        "QueryFilter can only contain non-primary key attributes: Primary key attribute: {name}"
    )
}

// AttributesToGet.
pub(crate) fn name_repeats(name: &str) -> String {
    format!("{INVALID_PARAMETERS}Duplicate value in attribute name: {name}")
}

/// `what` is what the Select asks for.
pub(crate) fn selected_with_names(what: &str) -> String {
    super::validation_errors(&[format!(
        "Cannot specify the AttributesToGet when choosing to get {what}"
    )])
}

// AttributeUpdates.
pub(crate) const UPDATE_WITHOUT_VALUE: &str = "One or more parameter values were invalid: Only \
     DELETE action is allowed when no attribute value is specified";
pub(crate) const UPDATE_TYPE: &str = "Type mismatch for attribute to update";

pub(crate) fn add_type(type_name: &str) -> String {
    format!("{INVALID_PARAMETERS}ADD action is not supported for the type {type_name}")
}

pub(crate) fn delete_type(type_name: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}DELETE action with value is not supported for the type {type_name}"
    )
}
