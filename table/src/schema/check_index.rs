//! The rules for indexes, in the service's order: CreateTable's check asks for all of them. What is
//! wrong with single members is listed together; what is wrong with the whole is told one by one.

use std::collections::BTreeSet;

use super::check::{
    MAX_KEY_NAME_BYTES, check_throughput, length_errors, name_errors, refuse, shown_element,
    throughput_errors_at,
};
use super::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    LocalSecondaryIndex, Projection, ProjectionType,
};
use crate::error::Result;
use crate::message;
use crate::operation::CreateTableRequest;

/// Attributes in the key of a local index.
const MAX_LOCAL_KEY_ATTRIBUTES: usize = 2;
/// HASH attributes in the key of a global index; as many RANGE attributes.
const MAX_GLOBAL_KEY_ATTRIBUTES_OF_A_KIND: usize = 4;
const MAX_LOCAL_INDEXES: usize = 5;
const MAX_GLOBAL_INDEXES: usize = 20;
/// Named attributes that one index projects.
const MAX_NON_KEY_ATTRIBUTES: usize = 20;
/// Named attributes that all indexes project together, each as often as it is named.
const MAX_NON_KEY_ATTRIBUTES_OF_ALL: usize = 100;

/// Lists what is wrong with the members of a request's indexes: the global ones come first.
pub(super) fn member_errors(request: &CreateTableRequest, errors: &mut Vec<String>) {
    for (number, index) in request.global_secondary_indexes.iter().flatten().enumerate() {
        index_errors(index, &format!("globalSecondaryIndexes.{}.member", number + 1), errors);
    }
    for (number, index) in request.local_secondary_indexes.iter().flatten().enumerate() {
        let path = format!("localSecondaryIndexes.{}.member", number + 1);
        errors.extend(name_errors(&index.index_name, &format!("{path}.indexName")));
        key_errors(&index.key_schema, &path, MAX_LOCAL_KEY_ATTRIBUTES, errors);
        projection_errors(&index.projection, &path, errors);
    }
}

/// Lists what is wrong with the members of a global index.
pub(super) fn index_errors(index: &GlobalSecondaryIndex, path: &str, errors: &mut Vec<String>) {
    let most = 2 * MAX_GLOBAL_KEY_ATTRIBUTES_OF_A_KIND;
    key_errors(&index.key_schema, path, most, errors);
    projection_errors(&index.projection, path, errors);
    errors.extend(name_errors(&index.index_name, &format!("{path}.indexName")));
    let throughput = index.provisioned_throughput.as_ref();
    throughput_errors_at(throughput, &format!("{path}.provisionedThroughput"), errors);
}

fn key_errors(schema: &[KeySchemaElement], path: &str, most: usize, errors: &mut Vec<String>) {
    let path = format!("{path}.keySchema");
    if schema.is_empty() {
        let must = "have length greater than or equal to 1";
        errors.push(message::constraint("[]", &path, must));
    }
    if schema.len() > most {
        let shown: Vec<String> = schema.iter().map(shown_element).collect();
        let must = format!("have length less than or equal to {most}");
        // The service leaves out whose key it is.
        errors.push(message::constraint(&format!("[{}]", shown.join(", ")), "keySchema", &must));
    }
    for (number, element) in schema.iter().enumerate() {
        let member = format!("{path}.{}.member.attributeName", number + 1);
        length_errors(&element.attribute_name, &member, 1, MAX_KEY_NAME_BYTES, errors);
    }
}

fn projection_errors(projection: &Projection, path: &str, errors: &mut Vec<String>) {
    let Some(names) = &projection.non_key_attributes else { return };
    let path = format!("{path}.projection.nonKeyAttributes");
    let shown = || format!("[{}]", names.join(", "));
    if names.is_empty() {
        errors.push(message::constraint("[]", &path, "have length greater than or equal to 1"));
    }
    if names.len() > MAX_NON_KEY_ATTRIBUTES {
        let must = format!("have length less than or equal to {MAX_NON_KEY_ATTRIBUTES}");
        errors.push(message::constraint(&shown(), &path, &must));
    }
    if names.iter().any(|name| name.is_empty() || name.len() > MAX_KEY_NAME_BYTES) {
        let must = format!(
            "satisfy constraint: [Member must have length less than or equal to \
             {MAX_KEY_NAME_BYTES}, Member must have length greater than or equal to 1]"
        );
        errors.push(message::constraint(&shown(), &path, &must));
    }
}

/// Checks the indexes of a request whose table is right.
pub(super) fn check_indexes(request: &CreateTableRequest) -> Result<()> {
    let local = request.local_secondary_indexes.as_deref();
    let global = request.global_secondary_indexes.as_deref();
    if local.is_some_and(<[_]>::is_empty) {
        return refuse(message::NO_LOCAL_INDEXES);
    }
    if global.is_some_and(<[_]>::is_empty) {
        return refuse(message::NO_GLOBAL_INDEXES);
    }
    let (local, global) = (local.unwrap_or_default(), global.unwrap_or_default());
    check_local(local, request)?;
    check_global(global, request)?;
    let names = local.iter().map(|i| &i.index_name).chain(global.iter().map(|i| &i.index_name));
    check_names_differ(names)?;
    let projections =
        local.iter().map(|i| &i.projection).chain(global.iter().map(|i| &i.projection));
    let named = projections.filter_map(|p| p.non_key_attributes.as_ref()).map(Vec::len);
    too_many(0, named.sum())
}

fn check_local(indexes: &[LocalSecondaryIndex], request: &CreateTableRequest) -> Result<()> {
    if indexes.is_empty() {
        return Ok(());
    }
    let table_hash = match &request.key_schema[..] {
        [hash, _range] => &hash.attribute_name,
        _ => return refuse(message::LOCAL_INDEX_WITHOUT_RANGE_KEY),
    };
    for index in indexes {
        check_defined(&index.key_schema, &request.attribute_definitions)?;
    }
    for LocalSecondaryIndex { index_name, key_schema, projection } in indexes {
        if key_schema.first().is_some_and(|first| first.key_type != KeyType::Hash) {
            return refuse(message::FIRST_KEY_NOT_HASH);
        }
        match &key_schema[..] {
            [hash, range] if hash.attribute_name == range.attribute_name => {
                return refuse(message::SAME_KEY_NAMES);
            }
            [_, range] if range.key_type != KeyType::Range => {
                return refuse(message::SECOND_KEY_NOT_RANGE);
            }
            [hash, _] if hash.attribute_name != *table_hash => {
                let own = &hash.attribute_name;
                return refuse(&message::other_hash_key(index_name, own, table_hash));
            }
            [_, _] => {}
            _ => return refuse(&message::index_without_range_key(index_name)),
        }
        check_projection(projection)?;
    }
    check_names_differ(indexes.iter().map(|index| &index.index_name))?;
    if indexes.len() > MAX_LOCAL_INDEXES {
        return refuse(&message::too_many_local_indexes(MAX_LOCAL_INDEXES));
    }
    Ok(())
}

fn check_global(indexes: &[GlobalSecondaryIndex], request: &CreateTableRequest) -> Result<()> {
    for index in indexes {
        check_defined(&index.key_schema, &request.attribute_definitions)?;
    }
    for index in indexes {
        check_key_and_projection(index)?;
    }
    check_names_differ(indexes.iter().map(|index| &index.index_name))?;
    too_many(indexes.len(), 0)?;
    let billing_mode = request.billing_mode.unwrap_or_default();
    indexes.iter().try_for_each(|index| check_new_throughput(index, billing_mode))
}

/// Checks one global index that is to be created, whose key's attributes are defined here.
pub(super) fn check_index(
    index: &GlobalSecondaryIndex,
    definitions: &[AttributeDefinition],
) -> Result<()> {
    check_defined(&index.key_schema, definitions)?;
    check_key_and_projection(index)
}

fn check_key_and_projection(index: &GlobalSecondaryIndex) -> Result<()> {
    check_global_key(&index.key_schema)?;
    check_projection(&index.projection)
}

/// Checks how many global indexes a table has, and how many attributes its indexes name.
pub(super) fn too_many(global_indexes: usize, names_of_all: usize) -> Result<()> {
    if global_indexes > MAX_GLOBAL_INDEXES {
        return refuse(&message::too_many_global_indexes(MAX_GLOBAL_INDEXES));
    }
    if names_of_all > MAX_NON_KEY_ATTRIBUTES_OF_ALL {
        return refuse(&message::too_many_projected(MAX_NON_KEY_ATTRIBUTES_OF_ALL));
    }
    Ok(())
}

/// A new global index has throughput as its table has.
pub(super) fn check_new_throughput(
    index: &GlobalSecondaryIndex,
    billing_mode: BillingMode,
) -> Result<()> {
    match (billing_mode, &index.provisioned_throughput) {
        (BillingMode::PayPerRequest, Some(_)) => {
            refuse(&message::index_has_no_throughput(&index.index_name))
        }
        (BillingMode::Provisioned, None) => {
            refuse(&message::index_needs_throughput(&index.index_name))
        }
        (BillingMode::Provisioned, Some(throughput)) => check_throughput(throughput),
        (BillingMode::PayPerRequest, None) => Ok(()),
    }
}

/// HASH attributes first, then RANGE attributes, up to four of each, each named once.
fn check_global_key(schema: &[KeySchemaElement]) -> Result<()> {
    if schema.first().is_some_and(|first| first.key_type != KeyType::Hash) {
        return refuse(message::FIRST_KEY_NOT_HASH);
    }
    if let [hash, range] = schema
        && range.key_type == KeyType::Range
        && hash.attribute_name == range.attribute_name
    {
        return refuse(message::SAME_KEY_NAMES);
    }
    let names: BTreeSet<&str> = schema.iter().map(|e| e.attribute_name.as_str()).collect();
    if names.len() < schema.len() {
        return refuse(message::REPEATED_KEY_NAMES);
    }
    if !schema.is_sorted_by_key(|element| element.key_type == KeyType::Range) {
        return refuse(message::HASH_AFTER_RANGE);
    }
    for (key_type, name) in [(KeyType::Hash, "HASH"), (KeyType::Range, "RANGE")] {
        let count = schema.iter().filter(|element| element.key_type == key_type).count();
        if count > MAX_GLOBAL_KEY_ATTRIBUTES_OF_A_KIND {
            return refuse(&message::too_many_key_attributes(name));
        }
    }
    Ok(())
}

fn check_projection(projection: &Projection) -> Result<()> {
    match (projection.projection_type, &projection.non_key_attributes) {
        (None, _) => refuse(message::PROJECTION_TYPE_MISSING),
        (Some(ProjectionType::All), Some(_)) => refuse(&message::names_with_projection("ALL")),
        (Some(ProjectionType::KeysOnly), Some(_)) => {
            refuse(&message::names_with_projection("KEYS_ONLY"))
        }
        (Some(ProjectionType::Include), None) => refuse(message::PROJECTION_WITHOUT_NAMES),
        (Some(ProjectionType::Include), Some(names)) => {
            let mut seen = BTreeSet::new();
            match names.iter().find(|name| !seen.insert(name.as_str())) {
                Some(name) => refuse(&message::repeated_projected_name(name)),
                None => Ok(()),
            }
        }
        (Some(_), None) => Ok(()),
    }
}

fn check_names_differ<'n>(names: impl Iterator<Item = &'n String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return refuse(&message::repeated_index_name(name));
        }
    }
    Ok(())
}

/// Refuses a key with an attribute that is not defined.
fn check_defined(schema: &[KeySchemaElement], definitions: &[AttributeDefinition]) -> Result<()> {
    let defined: Vec<&str> = definitions.iter().map(|d| d.attribute_name.as_str()).collect();
    let keys: Vec<&str> = schema.iter().map(|element| element.attribute_name.as_str()).collect();
    if keys.iter().all(|key| defined.contains(key)) {
        return Ok(());
    }
    let keys = hash_order(&keys, Buckets::OfCount);
    if defined.len() < keys.len() {
        return refuse(message::KEY_WITHOUT_DEFINITION);
    }
    let defined = hash_order(&defined, Buckets::OfCount);
    refuse(&message::undefined_key_attributes(&keys.join(", "), &defined))
}

/// How many buckets the service's hash table of names has at first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Buckets {
    /// As many as there are names, up to a power of two.
    OfCount,
    /// 16.
    Default,
}

/// Each name once, in the order in which the service lists a set of names in a message: that of a
/// hash table of Java, which is always the same for the same names.
pub(super) fn hash_order<'n>(names: &[&'n str], initial: Buckets) -> Vec<&'n str> {
    let mut seen = BTreeSet::new();
    let mut ordered: Vec<&str> = names.iter().copied().filter(|name| seen.insert(*name)).collect();
    let mut buckets = match initial {
        Buckets::OfCount => ordered.len().max(1).next_power_of_two(),
        Buckets::Default => 16,
    };
    // It doubles where it is more than three quarters full.
    while ordered.len() * 4 > buckets * 3 {
        buckets *= 2;
    }
    ordered.sort_by_key(|name| {
        let unit = |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit));
        let hash = name.encode_utf16().fold(0, unit);
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    });
    ordered
}

#[cfg(test)]
mod tests;
