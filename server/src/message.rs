//! Every message that the server itself words, in one place, so that a wording can be changed here alone. What the
//! table layer reports is worded there. Nothing here has logic.

pub(crate) mod signature;

pub(crate) const MISSING_AUTHENTICATION: &str = "Request is missing Authentication Token";
pub(crate) const HOST_REFUSED: &str = "The Host header does not name this server. Use 127.0.0.1 or \
     localhost, or start the server with --allow-host NAME.";
pub(crate) const BODY_TOO_LARGE: &str = "The request body exceeds the limit of 16 MB";
pub(crate) const BODY_TIMEOUT: &str = "The request body did not arrive in time";
pub(crate) const OVERLOADED: &str =
    "The server holds as many request bytes as it may: try again in a moment";
pub(crate) const RESPONSES_OVERLOADED: &str =
    "The server holds as many response bytes as it may: try again in a moment, or ask for less";
pub(crate) const WRITE_UNANSWERED: &str =
    "The write was made, but the server holds as many response bytes as it may: its answer is lost";
pub(crate) const ONE_HOST: &str = "A request names its host in exactly one Host header";
pub(crate) const TOO_MANY: &str = "A list or map has more elements than any request may have";
pub(crate) const FAILED: &str = "The request failed inside the server; its log says why";

// Wrong JSON types, as the service names them.
pub(crate) const UNEXPECTED_TOKEN: &str = "Unexpected token received from parser";
pub(crate) const UNEXPECTED_FIELD: &str = "Unexpected field type";
pub(crate) const UNEXPECTED_VALUE: &str = "Unexpected value type in payload";
pub(crate) const UNEXPECTED_STRUCTURE: &str = "Start of structure or map found where not expected";
pub(crate) const BASE64_LAST: &str = "Invalid last non-pad Base64 character dectected";
pub(crate) const BASE64_CHARACTER: &str = "Invalid Base64 character";

// Attribute values.
pub(crate) const VALUE_EMPTY: &str =
    "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
/// The service says so too of a write request that is neither a put nor a delete, or both.
pub(crate) const VALUE_SEVERAL: &str = "Supplied AttributeValue has more than one datatypes set, \
     must contain exactly one of the supported datatypes";
pub(crate) const NULL_FALSE: &str = "One or more parameter values were invalid: Null attribute \
     value types must have the value of true";
pub(crate) const NESTING: &str = "Nesting Levels have exceeded supported limits: Attributes in the \
     item have nested levels beyond supported limit";

// Parameters.
pub(crate) const TRANSACT_NO_ACTION: &str =
    "Invalid Request: TransactWriteRequest should contain Delete or Put or Update request";
pub(crate) const TRANSACT_SEVERAL_ACTIONS: &str =
    "TransactItems can only contain one of Check, Put, Update or Delete";

// Tables and tags.
pub(crate) const TABLE_CLASS_INVALID: &str = "Invalid table-class parameter provided. Please try \
     again with a valid table-class value: [STANDARD, STANDARD_INFREQUENT_ACCESS].";
pub(crate) const TABLE_ARN_MISSING: &str = "Invalid TableArn";
pub(crate) const TAG_KEY_NULL: &str = "The Tag Key provided is invalid, Key: null";
pub(crate) const TAG_VALUE_NULL: &str = "The Tag Value provided is invalid, Value: null";

/// `set` is `string`, `number` or `binary`.
pub(crate) fn null_in_set(set: &str) -> String {
    format!(
        "One or more parameter values were invalid: An {set} set may not have a null string as a member"
    )
}

pub(crate) fn expression_value_invalid(key: &str, why: &str) -> String {
    format!("ExpressionAttributeValues contains invalid value: {why} for key {key}")
}

pub(crate) fn operation_not_available(operation: &str) -> String {
    format!("{operation} is not available in this version of Esker")
}

pub(crate) fn unknown_coding(coding: &str) -> String {
    format!("The Content-Encoding {coding} is not supported: send one of gzip, deflate, identity")
}

pub(crate) fn not_compressed(coding: &str, detail: &std::io::Error) -> String {
    format!("The request body is not the {coding} that its Content-Encoding says: {detail}")
}

pub(crate) fn not_json(detail: &str) -> String {
    format!("The request body is not valid JSON: {detail}")
}

pub(crate) fn unrecognized_collection(class: &str) -> String {
    format!("Unrecognized collection type {class}")
}

pub(crate) fn base64_length(bytes: usize) -> String {
    format!("Base64 encoded length is expected a multiple of 4 bytes but found: {bytes}")
}

pub(crate) fn cannot_convert(token: &str, wanted: &str) -> String {
    format!("{token} cannot be converted to {wanted}")
}

pub(crate) fn not_supported(parameter: &str) -> String {
    format!(
        "One or more parameter values were invalid: {parameter} is not supported in this version \
         of Esker"
    )
}

pub(crate) fn constraints(failures: &[String]) -> String {
    let errors = if failures.len() == 1 { "error" } else { "errors" };
    format!("{} validation {errors} detected: {}", failures.len(), failures.join("; "))
}

pub(crate) fn must_not_be_null(path: &str) -> String {
    format!("Value null at '{path}' failed to satisfy constraint: Member must not be null")
}

/// `must` is how its length compares to which number.
pub(crate) fn wrong_length(value: &str, path: &str, must: &str) -> String {
    format!(
        "Value '{value}' at '{path}' failed to satisfy constraint: Member must have length {must}"
    )
}

pub(crate) fn not_in_enum(value: &str, path: &str, set: &str) -> String {
    format!(
        "Value '{value}' at '{path}' failed to satisfy constraint: Member must satisfy enum value \
         set: [{set}]"
    )
}

/// What the newer validation layer says of such a value in the few places where it names neither it nor its member.
pub(crate) fn not_in_named_enum(set: &str) -> String {
    format!("Failed to satisfy constraint: Member must satisfy enum value set: [{set}]")
}
/// In its order, with the name that it gives to one of them.
pub(crate) const RETURN_VALUES_SET: &str = "ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE";
pub(crate) const CONDITIONAL_OPERATOR_SET: &str = "ALL, OR";
pub(crate) const RETURNS_OLD_ONLY: &str = "ReturnValues can only be ALL_OLD or NONE";
/// With a quotation mark that the service ends it with.
pub(crate) const UPDATE_ACTION: &str =
    "Member must satisfy enum value set: [ADD, DELETE, PUT]' for Action";

// Features that are not here.

pub(crate) fn table_not_found(name: &str) -> String {
    format!("Table not found: {name}")
}

pub(crate) fn not_an_arn(given: &str) -> String {
    format!("One or more parameter values were invalid: ARNs must start with 'arn:': {given}")
}

pub(crate) fn policy_not_found(arn: &str) -> String {
    format!("Resource-based policy not found for the provided ResourceArn: {arn}")
}

pub(crate) fn global_table_not_found(name: &str) -> String {
    format!("Global Table not found: Global table with name: '{name}' does not exist.")
}

pub(crate) fn backup_not_found(arn: &str) -> String {
    format!("Backup not found: {arn}")
}

pub(crate) fn export_not_found(arn: &str) -> String {
    format!("Export not found: {arn}")
}

pub(crate) fn import_not_found(arn: &str) -> String {
    format!("Import not found: {arn}")
}
