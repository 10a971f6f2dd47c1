//! The rules for tables: names, key schemas, attribute definitions and throughput, in the service's
//! order. CreateTable asks for all of them, the other operations for the name's.

use std::collections::BTreeSet;

use super::check_index::{self, Buckets, hash_order};
use super::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ProvisionedThroughput};
use crate::error::{Result, TableError};
use crate::message;
use crate::operation::CreateTableRequest;

const MIN_NAME_BYTES: usize = 3;
const MAX_NAME_BYTES: usize = 255;
const MAX_KEY_ATTRIBUTES: usize = 2;
pub(super) const MAX_KEY_NAME_BYTES: usize = 255;
const MAX_THROUGHPUT_UNITS: i64 = 1_000_000_000_000;
/// So many errors are listed in one message at most.
const MAX_LISTED_ERRORS: usize = 10;

/// Refuses a name that no table can have, given for the member `member`.
pub(crate) fn check_table_name(name: &str, member: &str) -> Result<()> {
    refuse_listed(name_errors(name, member))
}

/// The name in what a request gives for one: itself, or the end of a table's ARN
/// (`arn:aws:dynamodb:region:account:table/name`). Refuses a name that no table can have.
pub(crate) fn table_name(given: &str) -> Result<&str> {
    let name = plain_name(given);
    check_table_name(name, "tableName")?;
    Ok(name)
}

/// As [`table_name`], for operations on items, which word it in their own way: what is empty is told apart from what is
/// too short, and of several faults only the length is told.
pub(crate) fn item_table_name(given: &str) -> Result<&str> {
    let name = plain_name(given);
    if name.is_empty() {
        let error = message::list_constraint("TableName", "have length greater than or equal to 1");
        return refuse_listed(vec![error]).map(|()| name);
    }
    let errors = name_errors(name, "tableName");
    refuse_listed(errors.into_iter().next_back().into_iter().collect())?;
    Ok(name)
}

/// Refuses names that no table can have, each with the member that it is given for, all in one
/// message.
pub(crate) fn check_table_names<'n>(given: impl Iterator<Item = (&'n str, String)>) -> Result<()> {
    let mut errors: Vec<String> =
        given.flat_map(|(name, member)| name_errors(plain_name(name), &member)).collect();
    errors.truncate(MAX_LISTED_ERRORS);
    refuse_listed(errors)
}

/// The end of a table's ARN; what is none is answered as it is.
pub(crate) fn plain_name(given: &str) -> &str {
    let from_arn = || {
        let mut parts = given.strip_prefix("arn:")?.splitn(5, ':').skip(1);
        let is_dynamodb = parts.next() == Some("dynamodb");
        let (_region, _account) = (parts.next()?, parts.next()?);
        parts.next().filter(|_| is_dynamodb)?.strip_prefix("table/")
    };
    from_arn().unwrap_or(given)
}

/// Refuses a name that no index can have, which a read gives.
pub(crate) fn check_index_name(name: &str) -> Result<()> {
    refuse_listed(name_errors(name, "indexName"))
}

/// Refuses a CreateTable request that the service refuses.
pub(crate) fn check_create_table(request: &CreateTableRequest) -> Result<()> {
    let mut errors = name_errors(plain_name(&request.table_name), "tableName");
    throughput_errors(request.provisioned_throughput.as_ref(), &mut errors);
    key_schema_errors(&request.key_schema, &mut errors);
    definition_errors(&request.attribute_definitions, &mut errors);
    check_index::member_errors(request, &mut errors);
    errors.truncate(MAX_LISTED_ERRORS);
    refuse_listed(errors)?;
    check_billing(
        request.billing_mode.unwrap_or_default(),
        request.provisioned_throughput.as_ref(),
    )?;
    check_key(&request.key_schema, &request.attribute_definitions)?;
    check_index::check_indexes(request)?;
    check_definitions_used(request)
}

pub(super) fn refuse_listed(errors: Vec<String>) -> Result<()> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(TableError::validation(message::validation_errors(&errors)))
}

pub(super) fn refuse(text: &str) -> Result<()> {
    Err(TableError::validation(text))
}

pub(super) fn name_errors(name: &str, member: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || !name.bytes().all(valid) {
        let must = "satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
        errors.push(message::constraint(name, member, must));
    }
    length_errors(name, member, MIN_NAME_BYTES, MAX_NAME_BYTES, &mut errors);
    errors
}

pub(super) fn length_errors(
    name: &str,
    member: &str,
    least: usize,
    most: usize,
    errors: &mut Vec<String>,
) {
    if name.len() < least {
        let must = format!("have length greater than or equal to {least}");
        errors.push(message::constraint(name, member, &must));
    }
    if name.len() > most {
        let must = format!("have length less than or equal to {most}");
        errors.push(message::constraint(name, member, &must));
    }
}

pub(super) fn throughput_errors(
    throughput: Option<&ProvisionedThroughput>,
    errors: &mut Vec<String>,
) {
    throughput_errors_at(throughput, "provisionedThroughput", errors);
}

/// As [`throughput_errors`], of the member at `path`.
pub(super) fn throughput_errors_at(
    throughput: Option<&ProvisionedThroughput>,
    path: &str,
    errors: &mut Vec<String>,
) {
    let Some(throughput) = throughput else { return };
    for (member, units) in [
        ("writeCapacityUnits", throughput.write_capacity_units),
        ("readCapacityUnits", throughput.read_capacity_units),
    ] {
        if units < 1 {
            let member = format!("{path}.{member}");
            let must = "have value greater than or equal to 1";
            errors.push(message::constraint(&units.to_string(), &member, must));
        }
    }
}

fn key_schema_errors(schema: &[KeySchemaElement], errors: &mut Vec<String>) {
    if schema.is_empty() {
        let must = "have length greater than or equal to 1";
        errors.push(message::constraint("[]", "keySchema", must));
    }
    if schema.len() > MAX_KEY_ATTRIBUTES {
        let shown: Vec<String> = schema.iter().map(shown_element).collect();
        let must = format!("have length less than or equal to {MAX_KEY_ATTRIBUTES}");
        let shown = format!("[{}]", shown.join(", "));
        errors.push(message::constraint(&shown, "keySchema", &must));
    }
    for (index, element) in schema.iter().enumerate() {
        let member = format!("keySchema.{}.member.attributeName", index + 1);
        length_errors(&element.attribute_name, &member, 1, MAX_KEY_NAME_BYTES, errors);
    }
}

pub(super) fn shown_element(element: &KeySchemaElement) -> String {
    let key_type = match element.key_type {
        KeyType::Hash => "HASH",
        KeyType::Range => "RANGE",
    };
    format!("KeySchemaElement(attributeName={}, keyType={key_type})", element.attribute_name)
}

fn definition_errors(definitions: &[AttributeDefinition], errors: &mut Vec<String>) {
    for (index, definition) in definitions.iter().enumerate() {
        let member = format!("attributeDefinitions.{}.member.attributeName", index + 1);
        length_errors(&definition.attribute_name, &member, 1, MAX_KEY_NAME_BYTES, errors);
    }
}

fn check_billing(mode: BillingMode, throughput: Option<&ProvisionedThroughput>) -> Result<()> {
    match (mode, throughput) {
        (BillingMode::PayPerRequest, Some(_)) => refuse(message::ON_DEMAND_HAS_NO_THROUGHPUT),
        (BillingMode::PayPerRequest, None) => Ok(()),
        (BillingMode::Provisioned, None) => refuse(message::PROVISIONED_NEEDS_THROUGHPUT),
        (BillingMode::Provisioned, Some(throughput)) => check_throughput(throughput),
    }
}

/// Refuses capacity that no table and no index can have.
pub(super) fn check_throughput(throughput: &ProvisionedThroughput) -> Result<()> {
    for (which, units) in [
        ("ReadCapacityUnits", throughput.read_capacity_units),
        ("WriteCapacityUnits", throughput.write_capacity_units),
    ] {
        if units > MAX_THROUGHPUT_UNITS {
            return refuse(&message::throughput_out_of_bounds(units, which));
        }
    }
    Ok(())
}

/// The key has one HASH attribute, then at most one RANGE attribute, and these attributes are
/// defined.
fn check_key(schema: &[KeySchemaElement], definitions: &[AttributeDefinition]) -> Result<()> {
    let defined: Vec<&str> = definitions.iter().map(|d| d.attribute_name.as_str()).collect();
    let is_defined =
        |element: &KeySchemaElement| defined.contains(&element.attribute_name.as_str());
    match schema {
        [only] if !is_defined(only) && !defined.is_empty() => {
            return refuse(&message::undefined_key_attributes(&only.attribute_name, &defined));
        }
        _ if !schema.iter().all(is_defined) => return refuse(message::KEY_WITHOUT_DEFINITION),
        _ => {}
    }
    if schema.first().is_some_and(|first| first.key_type != KeyType::Hash) {
        return refuse(message::FIRST_KEY_NOT_HASH);
    }
    if let [first, second] = schema {
        if first.attribute_name == second.attribute_name {
            return refuse(message::SAME_KEY_NAMES);
        }
        if second.key_type != KeyType::Range {
            return refuse(message::SECOND_KEY_NOT_RANGE);
        }
    }
    Ok(())
}

/// Refuses attributes that are defined, but are in no key.
fn check_definitions_used(request: &CreateTableRequest) -> Result<()> {
    let defined = || request.attribute_definitions.iter().map(|d| d.attribute_name.as_str());
    let unique: BTreeSet<&str> = defined().collect();
    let keys = index_key_schemas(request).chain([&request.key_schema[..]]);
    let used: BTreeSet<&str> =
        keys.flatten().map(|element| element.attribute_name.as_str()).collect();
    if request.attribute_definitions.len() == used.len() && unique == used {
        return Ok(());
    }
    if index_key_schemas(request).next().is_none() {
        return refuse(message::UNUSED_DEFINITIONS);
    }
    let defined: Vec<&str> = defined().collect();
    // The table's key comes first, and then those of the indexes.
    let table = request.key_schema.iter();
    let names = table.chain(index_key_schemas(request).flatten());
    let names: Vec<&str> = names.map(|element| element.attribute_name.as_str()).collect();
    refuse(&message::unused_definitions(
        &hash_order(&defined, Buckets::OfCount),
        &hash_order(&names, Buckets::Default),
    ))
}

/// The keys of all indexes, the local ones first.
fn index_key_schemas(
    request: &CreateTableRequest,
) -> impl Iterator<Item = &[KeySchemaElement]> + Clone {
    let local = request.local_secondary_indexes.iter().flatten().map(|index| &index.key_schema[..]);
    local.chain(request.global_secondary_indexes.iter().flatten().map(|i| &i.key_schema[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ScalarAttributeType;

    fn request(keys: &[(&str, KeyType)], defined: &[&str]) -> CreateTableRequest {
        CreateTableRequest {
            table_name: "Employees".to_owned(),
            attribute_definitions: defined
                .iter()
                .map(|name| AttributeDefinition {
                    attribute_name: (*name).to_owned(),
                    attribute_type: ScalarAttributeType::S,
                })
                .collect(),
            key_schema: keys
                .iter()
                .map(|(name, key_type)| KeySchemaElement {
                    attribute_name: (*name).to_owned(),
                    key_type: *key_type,
                })
                .collect(),
            billing_mode: Some(BillingMode::PayPerRequest),
            ..Default::default()
        }
    }

    fn refusal(request: &CreateTableRequest) -> String {
        check_create_table(request).unwrap_err().message().to_owned()
    }

    #[test]
    fn names_are_3_to_255_of_few_characters() {
        for name in ["abc", "a.b-c_D9", &"n".repeat(255)] {
            assert!(table_name(name).is_ok(), "{name}");
        }
        let error = |name: &str| table_name(name).unwrap_err().message().to_owned();
        assert_eq!(
            error("ab"),
            "1 validation error detected: Value 'ab' at 'tableName' failed to satisfy constraint: \
             Member must have length greater than or equal to 3"
        );
        assert_eq!(
            error("a!"),
            "2 validation errors detected: Value 'a!' at 'tableName' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value \
             'a!' at 'tableName' failed to satisfy constraint: Member must have length greater \
             than or equal to 3"
        );
        assert!(error(&"n".repeat(256)).ends_with("length less than or equal to 255"));
        assert!(error("").starts_with("2 validation errors detected: "));
        assert!(error("täble").starts_with("1 validation error detected: "));
        let of_items = |name: &str| item_table_name(name).unwrap_err().message().to_owned();
        assert_eq!(
            of_items("a!"),
            "1 validation error detected: Value 'a!' at 'tableName' failed to satisfy constraint: \
             Member must have length greater than or equal to 3"
        );
        assert_eq!(
            of_items(""),
            "1 validation error detected: Value at 'TableName' failed to satisfy constraint: \
             Member must have length greater than or equal to 1"
        );
        assert_eq!(of_items("ab"), error("ab"));
        assert_eq!(of_items("täble"), error("täble"));
    }

    #[test]
    fn arns_name_tables() {
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/Employees";
        assert_eq!(table_name(arn).unwrap(), "Employees");
        assert_eq!(item_table_name(arn).unwrap(), "Employees");
        assert_eq!(table_name("Employees").unwrap(), "Employees");
        for wrong in ["arn:aws:s3:::bucket", "arn:aws:dynamodb:r:a:table/x", "arn:", "a:b"] {
            assert!(table_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_one_hash_and_at_most_one_range() {
        use KeyType::{Hash, Range};
        assert!(check_create_table(&request(&[("pk", Hash)], &["pk"])).is_ok());
        let both = request(&[("pk", Hash), ("sk", Range)], &["sk", "pk"]);
        assert!(check_create_table(&both).is_ok());
        for (keys, defined, wanted) in [
            (&[("pk", Range)][..], &["pk"][..], message::FIRST_KEY_NOT_HASH),
            (&[("pk", Hash), ("pk", Range)], &["pk"], message::SAME_KEY_NAMES),
            (&[("pk", Hash), ("sk", Hash)], &["pk", "sk"], message::SECOND_KEY_NOT_RANGE),
            (&[("pk", Hash), ("sk", Range)], &["pk"], message::KEY_WITHOUT_DEFINITION),
            (&[("pk", Hash)], &[], message::KEY_WITHOUT_DEFINITION),
            (&[("pk", Hash)], &["pk", "other"], message::UNUSED_DEFINITIONS),
            (&[("pk", Hash)], &["pk", "pk"], message::UNUSED_DEFINITIONS),
        ] {
            assert_eq!(refusal(&request(keys, defined)), wanted, "{keys:?} {defined:?}");
        }
        assert_eq!(
            refusal(&request(&[("pk", Hash)], &["a", "b"])),
            "One or more parameter values were invalid: Some index key attributes are not defined \
             in AttributeDefinitions. Keys: [pk], AttributeDefinitions: [a, b]"
        );
        assert_eq!(
            refusal(&request(&[], &["a"])),
            "1 validation error detected: Value '[]' at 'keySchema' failed to satisfy constraint: \
             Member must have length greater than or equal to 1"
        );
    }

    #[test]
    fn billing_and_throughput_agree() {
        let with = |billing_mode, read_capacity_units, write_capacity_units| CreateTableRequest {
            billing_mode,
            provisioned_throughput: Some(ProvisionedThroughput {
                read_capacity_units,
                write_capacity_units,
            }),
            ..request(&[("pk", KeyType::Hash)], &["pk"])
        };
        assert!(check_create_table(&with(None, 1, 1)).is_ok());
        assert!(check_create_table(&with(Some(BillingMode::Provisioned), 5, 5)).is_ok());
        let on_demand = with(Some(BillingMode::PayPerRequest), 1, 1);
        assert_eq!(refusal(&on_demand), message::ON_DEMAND_HAS_NO_THROUGHPUT);
        let bare =
            CreateTableRequest { billing_mode: None, ..request(&[("pk", KeyType::Hash)], &["pk"]) };
        assert_eq!(refusal(&bare), message::PROVISIONED_NEEDS_THROUGHPUT);
        assert_eq!(
            refusal(&with(None, 0, -1)),
            "2 validation errors detected: Value '-1' at 'provisionedThroughput.\
             writeCapacityUnits' failed to satisfy constraint: Member must have value greater \
             than or equal to 1; Value '0' at 'provisionedThroughput.readCapacityUnits' failed to \
             satisfy constraint: Member must have value greater than or equal to 1"
        );
        assert_eq!(
            refusal(&with(None, i64::MAX, 1)),
            "Given value 9223372036854775807 for ReadCapacityUnits is out of bounds"
        );
    }
}
