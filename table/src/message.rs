//! Every message of the table layer that the service words, in one place, so that a wording can be
//! changed here alone. Nothing else in the crate writes message text of its own. Constants for
//! fixed texts, functions for those that name something.

pub(crate) mod control;
pub(crate) mod legacy;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::AttributeValue;
use crate::table::Counts;

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
pub(crate) const LONG_ATTRIBUTE_NAME: &str = "One or more parameter values were invalid: \
     Attribute name is too large, must be less than 65536 bytes";

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

// Expressions. The caller of most of these adds `Invalid <which>Expression: ` in front.
pub(crate) const EXPRESSION_EMPTY: &str = "The expression can not be empty;";
pub(crate) const EXPRESSION_SIZE: &str = "Expression size has exceeded the maximum allowed size;";
pub(crate) const REDUNDANT_PARENTHESES: &str = "The expression has redundant parentheses;";
pub(crate) const NESTED_KEY_CONDITION: &str =
    "KeyConditionExpressions cannot have conditions on nested attributes";
pub(crate) const TWO_CONDITIONS_PER_KEY: &str =
    "KeyConditionExpressions must only contain one condition per key";

pub(crate) fn invalid_expression(kind: &str, why: &str) -> String {
    format!("Invalid {kind}: {why}")
}

pub(crate) fn syntax_error(token: &str, near: &str) -> String {
    format!("Syntax error; token: \"{token}\", near: \"{near}\"")
}

pub(crate) fn reserved_keyword(name: &str) -> String {
    format!("Attribute name is a reserved keyword; reserved keyword: {name}")
}

pub(crate) fn misused_function(name: &str) -> String {
    format!("The function is not allowed to be used this way in an expression; function: {name}")
}

/// `language` is `a condition expression` or `an update expression`.
pub(crate) fn function_of_another_language(name: &str, language: &str) -> String {
    format!("The function is not allowed in {language}; function: {name}")
}

pub(crate) fn too_many_operators(count: usize) -> String {
    format!("The expression contains too many operators; operator count: {count}")
}

pub(crate) fn too_many_in_operands(count: usize) -> String {
    format!("The IN operator is provided with too many operands; number of operands: {count}")
}

pub(crate) fn not_distinct(operator: &str, path: &str) -> String {
    format!(
        "The first operand must be distinct from the remaining operands for this operator or \
         function; operator: {operator}, first operand: {path}"
    )
}

pub(crate) fn needs_path(function: &str) -> String {
    format!("Operator or function requires a document path; operator or function: {function}")
}

pub(crate) fn unknown_type(name: &str) -> String {
    format!(
        "Invalid attribute type name found; type: {name}, valid types: \
         {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
    )
}

pub(crate) fn section_operand_type(section: &str, type_name: &str) -> String {
    format!(
        "Incorrect operand type for operator or function; operator: {section}, operand type: \
         {type_name}, typeSet: ALLOWED_FOR_ADD_OPERAND"
    )
}

pub(crate) fn repeated_section(section: &str) -> String {
    format!("The \"{section}\" section can only be used once in an update expression;")
}

/// How the type of an operand is named that may have any.
pub(crate) const ANY_TYPE: &str = "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}";

/// `index` as written.
pub(crate) fn list_index(index: &str) -> String {
    format!("List index is not within the allowable range; index: [{index}]")
}

pub(crate) fn path_depth(steps: usize) -> String {
    format!("The document path has too many nesting levels; nesting levels: {steps}")
}

/// `how` is `overlap` or `conflict`.
pub(crate) fn paths_together(how: &str, one: &str, two: &str) -> String {
    format!(
        "Two document paths {how} with each other; must remove or rewrite one of these paths; path \
         one: {one}, path two: {two}"
    )
}

pub(crate) fn unknown_function(name: &str) -> String {
    format!("Invalid function name; function: {name}")
}

pub(crate) fn operand_count(function: &str, count: usize) -> String {
    format!(
        "Incorrect number of operands for operator or function; operator or function: {function}, \
         number of operands: {count}"
    )
}

pub(crate) fn operand_type(operator: &str, type_name: &str) -> String {
    format!(
        "Incorrect operand type for operator or function; operator or function: {operator}, \
         operand type: {type_name}"
    )
}

pub(crate) fn between_types(low: &AttributeValue, high: &AttributeValue) -> String {
    format!(
        "The BETWEEN operator requires same data type for lower and upper bounds; lower bound \
         operand: AttributeValue: {{{}}}, upper bound operand: AttributeValue: {{{}}}",
        short_value(low),
        short_value(high)
    )
}

pub(crate) fn between_order(low: &AttributeValue, high: &AttributeValue) -> String {
    format!(
        "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; \
         lower bound operand: AttributeValue: {{{}}}, upper bound operand: AttributeValue: {{{}}}",
        short_value(low),
        short_value(high)
    )
}

pub(crate) fn undefined_name(name: &str) -> String {
    format!(
        "An expression attribute name used in the document path is not defined; attribute name: \
         {name}"
    )
}

pub(crate) fn undefined_value(name: &str) -> String {
    format!(
        "An expression attribute value used in expression is not defined; attribute value: {name}"
    )
}

pub(crate) fn unused_names(names: &[&str]) -> String {
    format!(
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {{{}}}",
        names.join(", ")
    )
}

pub(crate) fn unused_values(names: &[&str]) -> String {
    format!(
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {{{}}}",
        names.join(", ")
    )
}

pub(crate) const EXPRESSION_NAMES_EMPTY: &str = "ExpressionAttributeNames must not be empty";
pub(crate) const EXPRESSION_VALUES_EMPTY: &str = "ExpressionAttributeValues must not be empty";
pub(crate) const EXPRESSION_VALUES_SIZE: &str = "ExpressionAttributeValues exceeds max size";

pub(crate) fn expression_name_key(key: &str) -> String {
    format!("ExpressionAttributeNames contains invalid key: Syntax error; key: \"{key}\"")
}

pub(crate) fn expression_name_empty(key: &str) -> String {
    format!("ExpressionAttributeNames contains invalid value: {EMPTY_ATTRIBUTE_NAME} for key {key}")
}

pub(crate) fn expression_value_key(key: &str) -> String {
    format!("ExpressionAttributeValues contains invalid key: Syntax error; key: \"{key}\"")
}

pub(crate) fn expression_value_invalid(key: &str, why: &str) -> String {
    format!("ExpressionAttributeValues contains invalid value: {why} for key {key}")
}

/// These three stand alone, without `Invalid KeyConditionExpression: `.
pub(crate) fn invalid_key_operator(operator: &str) -> String {
    format!("Invalid operator used in KeyConditionExpression: {operator}")
}
pub(crate) const TWO_NAMES_IN_KEY_CONDITION: &str = "Invalid condition in \
     KeyConditionExpression: Multiple attribute names used in one condition";
pub(crate) const NO_NAME_IN_KEY_CONDITION: &str =
    "Invalid condition in KeyConditionExpression: No key attribute specified";

// Queries against their key.
pub(crate) const KEY_CONDITION_NOT_SUPPORTED: &str = "Query key condition not supported";
pub(crate) const CONDITION_TYPE: &str = "One or more parameter values were invalid: \
     Condition parameter type does not match schema type";

pub(crate) fn too_many_conditions(given: usize, defined: usize) -> String {
    format!(
        "The number of query conditions ({given}) exceeds the number of key attributes defined \
         in the schema ({defined})"
    )
}

pub(crate) fn missed_key_element(name: &str) -> String {
    format!("Query condition missed key schema element: {name}")
}

// Keys.
pub(crate) const KEY_SCHEMA_MISMATCH: &str = "The provided key element does not match the schema";
pub(crate) const HASH_KEY_SIZE: &str = "One or more parameter values were invalid: \
     Size of hashkey has exceeded the maximum size limit of2048 bytes";
pub(crate) const RANGE_KEY_SIZE: &str = "One or more parameter values were invalid: \
     Aggregated size of all range keys has exceeded the size limit of 1024 bytes";

pub(crate) fn missing_key(name: &str) -> String {
    format!("{INVALID_PARAMETERS}Missing the key {name} in the item")
}

pub(crate) fn key_type_mismatch(name: &str, expected: &str, actual: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Type mismatch for key {name} expected: {expected} actual: {actual}"
    )
}

const EMPTY_KEY: &str = "The AttributeValue for a key attribute cannot contain an empty ";

pub(crate) fn empty_key(name: &str, kind: &str) -> String {
    format!("One or more parameter values are not valid. {EMPTY_KEY}{kind} value. Key: {name}")
}

/// Whether a message is that of an empty value in the key of a table or an index.
pub(crate) fn is_empty_key(text: &str) -> bool {
    text.contains(EMPTY_KEY)
}

// Tables.
pub(crate) const PROVISIONED_NEEDS_THROUGHPUT: &str = "One or more parameter values were \
     invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode \
     is PROVISIONED";
pub(crate) const ON_DEMAND_HAS_NO_THROUGHPUT: &str = "One or more parameter values were \
     invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode \
     is PAY_PER_REQUEST";
pub(crate) const KEY_WITHOUT_DEFINITION: &str =
    "Invalid KeySchema: Some index key attribute have no definition";
pub(crate) const FIRST_KEY_NOT_HASH: &str =
    "Invalid KeySchema: The first KeySchemaElement is not a HASH key type";
pub(crate) const SECOND_KEY_NOT_RANGE: &str =
    "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type";
pub(crate) const SAME_KEY_NAMES: &str =
    "Both the Hash Key and the Range Key element in the KeySchema have the same name";
pub(crate) const UNUSED_DEFINITIONS: &str = "One or more parameter values were invalid: Number \
     of attributes in KeySchema does not exactly match number of attributes defined in \
     AttributeDefinitions";

pub(crate) fn undefined_key_attributes(keys: &str, definitions: &[&str]) -> String {
    format!(
        "{INVALID_PARAMETERS}Some index key attributes are not defined in AttributeDefinitions. \
         Keys: [{keys}], AttributeDefinitions: [{}]",
        definitions.join(", ")
    )
}

// Indexes of tables.
pub(crate) const NO_LOCAL_INDEXES: &str =
    "One or more parameter values were invalid: List of LocalSecondaryIndexes is empty";
pub(crate) const NO_GLOBAL_INDEXES: &str =
    "One or more parameter values were invalid: List of GlobalSecondaryIndexes is empty";
pub(crate) const LOCAL_INDEX_WITHOUT_RANGE_KEY: &str = "One or more parameter values were \
     invalid: Table KeySchema does not have a range key, which is required when specifying a \
     LocalSecondaryIndex";
pub(crate) const REPEATED_KEY_NAMES: &str =
    "The KeySchema contains multiple key attributes with the same name";
pub(crate) const HASH_AFTER_RANGE: &str = "One or more parameter values were invalid: All HASH \
     key attributes must precede RANGE key attributes in the KeySchema";
pub(crate) const PROJECTION_TYPE_MISSING: &str =
    "One or more parameter values were invalid: Unknown ProjectionType: null";
pub(crate) const PROJECTION_WITHOUT_NAMES: &str = "One or more parameter values were invalid: \
     ProjectionType is INCLUDE, but NonKeyAttributes is not specified";

pub(crate) fn unused_definitions(definitions: &[&str], keys: &[&str]) -> String {
    format!(
        "{INVALID_PARAMETERS}Some AttributeDefinitions are not used. AttributeDefinitions: [{}], \
         keys used: [{}]",
        definitions.join(", "),
        keys.join(", ")
    )
}

pub(crate) fn index_without_range_key(index: &str) -> String {
    format!("{INVALID_PARAMETERS}Index KeySchema does not have a range key for index: {index}")
}

pub(crate) fn other_hash_key(index: &str, own: &str, of_table: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Index KeySchema does not have the same leading hash key as table \
         KeySchema for index: {index}. index hash key: {own}, table hash key: {of_table}"
    )
}

/// `key_type` is `HASH` or `RANGE`.
pub(crate) fn too_many_key_attributes(key_type: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}The KeySchema exceeds the maximum allowed number of {key_type} key \
         attributes"
    )
}

pub(crate) fn names_with_projection(projection_type: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}ProjectionType is {projection_type}, but NonKeyAttributes is specified"
    )
}

pub(crate) fn repeated_projected_name(name: &str) -> String {
    format!("{INVALID_PARAMETERS}Duplicate element in NonKeyAttributes: {name}")
}

pub(crate) fn repeated_index_name(name: &str) -> String {
    format!("{INVALID_PARAMETERS}Duplicate index name: {name}")
}

pub(crate) fn too_many_local_indexes(most: usize) -> String {
    format!("{INVALID_PARAMETERS}Number of LocalSecondaryIndexes exceeds per-table limit of {most}")
}

pub(crate) fn too_many_global_indexes(most: usize) -> String {
    format!("{INVALID_PARAMETERS}GlobalSecondaryIndex count exceeds the per-table limit of {most}")
}

pub(crate) fn too_many_projected(most: usize) -> String {
    format!(
        "{INVALID_PARAMETERS}Number of projected attributes in all indexes exceeds limit of {most}"
    )
}

pub(crate) fn index_needs_throughput(index: &str) -> String {
    format!("{INVALID_PARAMETERS}ProvisionedThroughput is not specified for index: {index}")
}

pub(crate) fn index_has_no_throughput(index: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}ProvisionedThroughput should not be specified for index: {index} when \
         BillingMode is PAY_PER_REQUEST"
    )
}

// Values of index keys.
pub(crate) fn index_key_type_mismatch(
    name: &str,
    expected: &str,
    actual: &str,
    index: &str,
) -> String {
    format!(
        "{INVALID_PARAMETERS}Type mismatch for Index Key {name} Expected: {expected} Actual: \
         {actual} IndexName: {index}"
    )
}

pub(crate) fn index_key_size(name: &str, actual: usize, most: usize, index: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Size limit exceeded for Index Key {name} Actual Size: {actual} bytes \
         Max Size: {most} bytes IndexName: {index}"
    )
}

/// `kind` is `string` or `binary`.
pub(crate) fn empty_index_key(name: &str, kind: &str, index: &str) -> String {
    format!(
        "One or more parameter values are not valid. A value specified for a secondary index key \
         is not supported. {EMPTY_KEY}{kind} value. IndexName: {index}, IndexKey: {name}"
    )
}

pub(crate) fn empty_updated_index_key(kind: &str) -> String {
    format!(
        "One or more parameter values are not valid. The update expression attempted to update a \
         secondary index key to a value that is not supported. {EMPTY_KEY}{kind} value."
    )
}

// Reads of indexes.
pub(crate) const CONSISTENT_READ_OF_GLOBAL_INDEX: &str =
    "Consistent reads are not supported on global secondary indexes";
pub(crate) const START_KEY: &str = "The provided starting key is invalid";
pub(crate) const AT_MOST_ONE_ROW: &str =
    "The query can return at most one row and cannot be restarted";

pub(crate) fn index_not_found(index: &str) -> String {
    format!("The table does not have the specified index: {index}")
}

pub(crate) fn index_being_filled(index: &str) -> String {
    format!("Cannot read from backfilling global secondary index: {index}")
}

pub(crate) fn all_of_global_index(index: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Select type ALL_ATTRIBUTES is not supported for global secondary \
         index {index} because its projection type is not ALL"
    )
}

pub(crate) fn not_projected(index: &str, names: &[&str]) -> String {
    format!(
        "{INVALID_PARAMETERS}Global secondary index {index} does not project [{}]",
        names.join(", ")
    )
}

pub(crate) fn filter_not_projected(index: &str, names: &[&str]) -> String {
    format!(
        "{INVALID_PARAMETERS}Secondary index {index} does not project one or more filter \
         attributes: [{}]",
        names.join(", ")
    )
}

pub(crate) fn hash_keys_without_equality(names: &[&str]) -> String {
    format!(
        "HASH key attributes {} must have equality conditions specified in the query",
        names.join(", ")
    )
}

pub(crate) fn range_keys_without_equality(names: &[&str], conditioned: &str) -> String {
    format!(
        "RANGE key attributes {} must have equality conditions specified in the query because a \
         condition is present on key attribute {conditioned}",
        names.join(", ")
    )
}

pub(crate) fn throughput_out_of_bounds(value: i64, which: &str) -> String {
    format!("Given value {value} for {which} is out of bounds")
}

pub(crate) const TABLE_NOT_FOUND: &str = "Requested resource not found";
pub(crate) const DELETION_PROTECTED: &str = "Resource cannot be deleted as it is currently \
     protected against deletion. Disable deletion protection first.";
pub(crate) const THROTTLED: &str = "The level of configured provisioned throughput for the table \
     was exceeded. Consider increasing your provisioning level with the UpdateTable API.";

pub(crate) fn named_table_not_found(name: &str) -> String {
    format!("{TABLE_NOT_FOUND}: Table: {name} not found")
}

pub(crate) fn table_exists(name: &str) -> String {
    format!("Table already exists: {name}")
}

/// What a catalog entry gets that cannot be written.
pub(crate) fn catalog_encoding(why: &str) -> String {
    format!("cannot encode the catalog's entry: {why}")
}

// What verification finds.
pub(crate) fn table_problem(table: &str, what: &str) -> String {
    format!("table {table}: {what}")
}

/// `why` is empty where the item is valid but not the one that belongs under the key.
pub(crate) fn item_problem(key: &[u8], why: &str) -> String {
    let why = if why.is_empty() { "not in its stored form or not under its own key" } else { why };
    format!("the item at key {}: {why}", key.escape_ascii())
}

pub(crate) fn index_problem(index: &str, what: &str) -> String {
    format!("index {index}: {what}")
}

pub(crate) const KEYSPACE_MISSING: &str = "its keyspace is missing";

/// `what` is how an index and the table do not agree about an entry.
pub(crate) fn entry_problem(key: &[u8], what: &str) -> String {
    format!("the entry at key {}: {what}", key.escape_ascii())
}
pub(crate) const ENTRY_MISSING: &str = "it is not there";
pub(crate) const ENTRY_DIFFERS: &str = "it is not what the table has";
pub(crate) const ENTRY_WITHOUT_ITEM: &str = "the table has no such item";

pub(crate) fn counts_problem(stored: Counts, counted: Counts) -> String {
    format!(
        "it says that it has {} items of {} bytes; counted {} items of {} bytes",
        stored.items, stored.bytes, counted.items, counted.bytes
    )
}

// Reads and writes of items.
pub(crate) const RETURN_VALUES: &str = "ReturnValues can only be ALL_OLD or NONE";
pub(crate) const INVALID_UPDATE_PATH: &str =
    "The document path provided in the update expression is invalid for update";
pub(crate) const MISSING_OPERAND: &str =
    "The provided expression refers to an attribute that does not exist in the item";
pub(crate) const WRONG_OPERAND: &str =
    "An operand in the update expression has an incorrect data type";
pub(crate) const UPDATED_ITEM_SIZE: &str =
    "Item size to update has exceeded the maximum allowed size";
pub(crate) const UPDATED_NESTING: &str = "Nesting Levels have exceeded supported limits";

pub(crate) fn key_update(name: &str) -> String {
    format!("{INVALID_PARAMETERS}Cannot update attribute {name}. This attribute is part of the key")
}

pub(crate) const CONDITION_FAILED: &str = "The conditional request failed";
pub(crate) const NO_KEY_CONDITION: &str = "Either the KeyConditions or \
     KeyConditionExpression parameter must be specified in the request.";
pub(crate) const NAMES_WITHOUT_ANY: &str =
    "ExpressionAttributeNames can only be specified when using expressions";

/// `missing` are the expressions that could use them.
pub(crate) fn values_without(missing: &[&str]) -> String {
    let are = if missing.len() == 1 { "is" } else { "are" };
    format!(
        "ExpressionAttributeValues can only be specified when using expressions: {} {are} null",
        missing.join(" and ")
    )
}

pub(crate) const PROJECTED_WITHOUT_INDEX: &str = "1 validation error detected: \
     ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName";
pub(crate) const SPECIFIC_WITHOUT_PROJECTION: &str = "1 validation error detected: \
     Must specify the AttributesToGet or ProjectionExpression when choosing to get \
     SPECIFIC_ATTRIBUTES";
pub(crate) const ALL_WITH_PROJECTION: &str = "1 validation error detected: \
     Cannot specify the ProjectionExpression when choosing to get ALL_ATTRIBUTES";
pub(crate) const PROJECTED_WITH_PROJECTION: &str = "1 validation error detected: \
     Cannot specify the ProjectionExpression when choosing to get ALL_PROJECTED_ATTRIBUTES";
pub(crate) const COUNT_WITH_PROJECTION: &str = "1 validation error detected: \
     Cannot specify the ProjectionExpression when choosing to get only the Count";
pub(crate) const START_KEY_OUTSIDE: &str =
    "The provided starting key is outside query boundaries based on provided conditions";
pub(crate) const START_KEY_RANGE: &str =
    "The provided starting key does not match the range key predicate";
pub(crate) const START_KEY_OF_ONE_ITEM: &str = "The provided exclusive start key is invalid";
pub(crate) const SEGMENT_MISSING: &str = "The Segment parameter is required but was not present in \
     the request when parameter TotalSegments is present";
pub(crate) const TOTAL_SEGMENTS_MISSING: &str = "The TotalSegments parameter is required but was \
     not present in the request when Segment parameter is present";

pub(crate) fn key_in_filter(name: &str) -> String {
    format!(
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: \
         {name}"
    )
}

/// `kind` is `Key` or `IndexKey`.
pub(crate) fn key_not_scalar(kind: &str, name: &str) -> String {
    format!(
        "Key attributes must be scalars; list random access '[]' and map lookup '.' are not \
         allowed: {kind}: {name}"
    )
}

pub(crate) fn start_key_invalid(why: &str) -> String {
    format!("The provided starting key is invalid: {why}")
}

pub(crate) fn start_key_segment(segment: u32, total: u32) -> String {
    format!(
        "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use \
         ExclusiveStartKey with correct Segment. TotalSegments: {total} Segment: {segment}"
    )
}

pub(crate) fn segment_too_large(segment: i32, total: i32) -> String {
    format!(
        "The Segment parameter is zero-based and must be less than parameter TotalSegments: \
         Segment: {segment} is not less than TotalSegments: {total}"
    )
}

pub(crate) const COLLECTION_SIZE: &str = "Collection size exceeded.";

// Batches.
pub(crate) const BATCH_DUPLICATES: &str = "Provided list of item keys contains duplicates";

pub(crate) fn batch_too_large(operation: &str) -> String {
    format!("Too many items requested for the {operation} call")
}

// Transactions.
pub(crate) const TRANSACTION_DUPLICATES: &str =
    "Transaction request cannot include multiple operations on one item";
pub(crate) const TRANSACTION_SIZE: &str = "Collection size of items exceeded, which can also be \
     caused by the aggregate size of the items in the transaction exceeding the 4MB limit";

/// The service has no such limit: it does not write indexes together with the items.
pub(crate) const TRANSACTION_INDEX_SIZE: &str = "Collection size of items exceeded: the items in \
     the transaction and what the indexes of their tables hold of them exceed the 64MB limit of one \
     commit";

pub(crate) const TRANSACTION_CONFLICT: &str = "Transaction is ongoing for the item";
pub(crate) const TRANSACTION_IN_PROGRESS: &str =
    "The transaction with the given request token is already in progress.";
pub(crate) const TOKEN_MISMATCH: &str = "DynamoDB rejected the request because you retried a \
     request with a different payload but with an idempotent token that was already used.";

/// `codes` are those of the actions, in their order.
pub(crate) fn transaction_canceled(codes: &[&str]) -> String {
    format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    )
}

/// The errors of a request's members, as the service lists them in one message.
pub(crate) fn validation_errors(errors: &[String]) -> String {
    let plural = if errors.len() == 1 { "" } else { "s" };
    format!("{} validation error{plural} detected: {}", errors.len(), errors.join("; "))
}

/// One member's error within `validation_errors`.
pub(crate) fn constraint(value: &str, member: &str, must: &str) -> String {
    format!("Value '{value}' at '{member}' failed to satisfy constraint: Member must {must}")
}

/// As `constraint`, of a member that is not there.
pub(crate) fn missing(member: &str) -> String {
    format!("Value null at '{member}' failed to satisfy constraint: Member must not be null")
}

/// As `constraint`, of a list that is too long to be shown, and of members that the newer validation layer checks.
pub(crate) fn list_constraint(member: &str, must: &str) -> String {
    format!("Value at '{member}' failed to satisfy constraint: Member must {must}")
}

/// A map member's error within `validation_errors`. The service shows the whole value there; it is
/// left out, because it can be megabytes.
pub(crate) fn map_constraint(member: &str, must: &str) -> String {
    format!("Value at '{member}' failed to satisfy constraint: Map value must {must}")
}

/// A value as the service shows it inside messages.
fn short_value(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => format!("S:{text}"),
        AttributeValue::N(number) => format!("N:{number}"),
        AttributeValue::B(bytes) => format!("B:{}", BASE64.encode(bytes)),
        other => other.type_name().to_owned(),
    }
}
