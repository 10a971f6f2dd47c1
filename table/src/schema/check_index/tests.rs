//! The rules for indexes, each with its wording, and in which order they are told.

use super::*;
use crate::schema::ScalarAttributeType;
use crate::schema::check::check_create_table;

use KeyType::{Hash, Range};

fn key(elements: &[(&str, KeyType)]) -> Vec<KeySchemaElement> {
    let element = |(name, key_type): &(&str, KeyType)| KeySchemaElement {
        attribute_name: (*name).to_owned(),
        key_type: *key_type,
    };
    elements.iter().map(element).collect()
}

fn all() -> Projection {
    Projection { projection_type: Some(ProjectionType::All), non_key_attributes: None }
}

fn local(name: &str, elements: &[(&str, KeyType)]) -> LocalSecondaryIndex {
    LocalSecondaryIndex {
        index_name: name.to_owned(),
        key_schema: key(elements),
        projection: all(),
    }
}

fn global(name: &str, elements: &[(&str, KeyType)]) -> GlobalSecondaryIndex {
    GlobalSecondaryIndex {
        index_name: name.to_owned(),
        key_schema: key(elements),
        projection: all(),
        ..Default::default()
    }
}

/// A table with the key `pk` and `sk` and these attributes more.
fn request(
    defined: &[&str],
    local: &[LocalSecondaryIndex],
    global: &[GlobalSecondaryIndex],
) -> CreateTableRequest {
    let definition = |name: &&str| AttributeDefinition {
        attribute_name: (*name).to_owned(),
        attribute_type: ScalarAttributeType::S,
    };
    CreateTableRequest {
        table_name: "Orders".to_owned(),
        attribute_definitions: ["pk", "sk"].iter().chain(defined).map(definition).collect(),
        key_schema: key(&[("pk", Hash), ("sk", Range)]),
        local_secondary_indexes: (!local.is_empty()).then(|| local.to_vec()),
        global_secondary_indexes: (!global.is_empty()).then(|| global.to_vec()),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    }
}

fn refusal(request: &CreateTableRequest) -> String {
    check_create_table(request).unwrap_err().message().to_owned()
}

#[test]
fn good_indexes_are_taken() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut elements: Vec<_> = names[..4].iter().map(|name| (*name, Hash)).collect();
    elements.extend(names[4..].iter().map(|name| (*name, Range)));
    let locals = [local("by.a", &[("pk", Hash), ("a", Range)])];
    let globals = [global("by-all", &elements), global("by_sk", &[("sk", Hash), ("pk", Range)])];
    assert_eq!(check_create_table(&request(&names, &locals, &globals)), Ok(()));
}

#[test]
fn keys_of_global_indexes_have_four_attributes_of_each_kind() {
    let of = |defined: &[&str], elements: &[(&str, KeyType)]| {
        refusal(&request(defined, &[], &[global("idx", elements)]))
    };
    for (elements, wanted) in [
        (&[("a", Range)][..], message::FIRST_KEY_NOT_HASH),
        (&[("a", Hash), ("a", Range)], message::SAME_KEY_NAMES),
        (&[("a", Hash), ("a", Hash)], message::REPEATED_KEY_NAMES),
        (&[("a", Hash), ("b", Range), ("c", Hash)], message::HASH_AFTER_RANGE),
        (&[("a", Hash), ("x", Range), ("y", Range), ("z", Range)], message::KEY_WITHOUT_DEFINITION),
    ] {
        let defined: &[&str] = if elements.len() == 4 { &["a"] } else { &["a", "b", "c"] };
        assert_eq!(of(defined, elements), wanted, "{elements:?}");
    }
    let names = ["a", "b", "c", "d", "e"];
    let five = |key_type| names.map(|name| (name, key_type));
    assert_eq!(
        of(&names, &five(Hash)),
        "One or more parameter values were invalid: The KeySchema exceeds the maximum allowed \
         number of HASH key attributes"
    );
    let ranges = [&[("pk", Hash)][..], &five(Range)].concat();
    assert!(of(&names, &ranges).ends_with("number of RANGE key attributes"));
    let nine = [&five(Hash)[..], &five(Range)[..4]].concat();
    assert_eq!(
        of(&names, &nine[..9]).split("KeySchemaElement").next().unwrap(),
        "1 validation error detected: Value '["
    );
    assert!(of(&names, &nine).ends_with("Member must have length less than or equal to 8"));
    assert_eq!(
        of(&["a"], &[("b", Hash)]),
        "One or more parameter values were invalid: Some index key attributes are not defined in \
         AttributeDefinitions. Keys: [b], AttributeDefinitions: [sk, a, pk]"
    );
}

#[test]
fn local_indexes_share_the_partition_key() {
    let of =
        |elements: &[(&str, KeyType)]| refusal(&request(&["a"], &[local("idx", elements)], &[]));
    assert_eq!(
        of(&[("pk", Hash)]),
        "One or more parameter values were invalid: Index KeySchema does not have a range key for \
         index: idx"
    );
    assert_eq!(
        of(&[("sk", Hash), ("a", Range)]),
        "One or more parameter values were invalid: Index KeySchema does not have the same \
         leading hash key as table KeySchema for index: idx. index hash key: sk, table hash key: pk"
    );
    assert_eq!(of(&[("a", Range), ("pk", Hash)]), message::FIRST_KEY_NOT_HASH);
    assert_eq!(of(&[("pk", Hash), ("a", Hash)]), message::SECOND_KEY_NOT_RANGE);
    assert!(of(&[("pk", Hash), ("a", Range), ("sk", Range)]).ends_with(
        "at 'keySchema' failed to satisfy constraint: Member must have length less \
                        than or equal to 2"
    ));
    let mut no_sort = request(&["a"], &[local("idx", &[("pk", Hash), ("a", Range)])], &[]);
    no_sort.key_schema.pop();
    assert_eq!(refusal(&no_sort), message::LOCAL_INDEX_WITHOUT_RANGE_KEY);
}

#[test]
fn names_differ_and_counts_are_limited() {
    let one = [local("idx", &[("pk", Hash), ("a", Range)])];
    let other = [global("idx", &[("a", Hash)])];
    let duplicate = "One or more parameter values were invalid: Duplicate index name: idx";
    assert_eq!(refusal(&request(&["a"], &one, &other)), duplicate);
    let twice = [other[0].clone(), other[0].clone()];
    assert_eq!(refusal(&request(&["a"], &[], &twice)), duplicate);

    let locals = |count: usize| -> Vec<_> {
        (0..count).map(|n| local(&format!("idx{n}"), &[("pk", Hash), ("a", Range)])).collect()
    };
    assert!(check_create_table(&request(&["a"], &locals(5), &[])).is_ok());
    assert_eq!(
        refusal(&request(&["a"], &locals(6), &[])),
        "One or more parameter values were invalid: Number of LocalSecondaryIndexes exceeds \
         per-table limit of 5"
    );
    let globals = |count: usize| -> Vec<_> {
        (0..count).map(|n| global(&format!("idx{n}"), &[("a", Hash)])).collect()
    };
    assert!(check_create_table(&request(&["a"], &[], &globals(20))).is_ok());
    assert_eq!(
        refusal(&request(&["a"], &[], &globals(21))),
        "One or more parameter values were invalid: GlobalSecondaryIndex count exceeds the \
         per-table limit of 20"
    );
    let mut empty = request(&[], &[], &[]);
    empty.local_secondary_indexes = Some(vec![]);
    assert_eq!(refusal(&empty), message::NO_LOCAL_INDEXES);
    empty.local_secondary_indexes = None;
    empty.global_secondary_indexes = Some(vec![]);
    assert_eq!(refusal(&empty), message::NO_GLOBAL_INDEXES);
    assert_eq!(
        refusal(&request(&["a"], &locals(1), &[global("i!", &[])])),
        "3 validation errors detected: Value '[]' at 'globalSecondaryIndexes.1.member.keySchema' \
         failed to satisfy constraint: Member must have length greater than or equal to 1; Value \
         'i!' at 'globalSecondaryIndexes.1.member.indexName' failed to satisfy constraint: Member \
         must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value 'i!' at \
         'globalSecondaryIndexes.1.member.indexName' failed to satisfy constraint: Member must \
         have length greater than or equal to 3"
    );
}

#[test]
fn projections_name_attributes_where_they_include_some() {
    let of = |projection_type, names: Option<&[&str]>| {
        let non_key_attributes =
            names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let projection = Projection { projection_type, non_key_attributes };
        let index = GlobalSecondaryIndex { projection, ..global("idx", &[("sk", Hash)]) };
        refusal(&request(&[], &[], &[index]))
    };
    let invalid = "One or more parameter values were invalid: ";
    assert_eq!(of(None, None), format!("{invalid}Unknown ProjectionType: null"));
    for (projection_type, name) in
        [(ProjectionType::All, "ALL"), (ProjectionType::KeysOnly, "KEYS_ONLY")]
    {
        assert_eq!(
            of(Some(projection_type), Some(&["x"])),
            format!("{invalid}ProjectionType is {name}, but NonKeyAttributes is specified")
        );
    }
    let include = Some(ProjectionType::Include);
    assert_eq!(of(include, None), message::PROJECTION_WITHOUT_NAMES);
    assert_eq!(
        of(include, Some(&["x", "y", "x"])),
        format!("{invalid}Duplicate element in NonKeyAttributes: x")
    );
    assert!(of(include, Some(&[])).ends_with("Member must have length greater than or equal to 1"));
    assert!(of(include, Some(&[""])).contains("nonKeyAttributes"));
    let many: Vec<String> = (0..21).map(|n| format!("x{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(of(include, Some(&many)).ends_with("Member must have length less than or equal to 20"));

    let names: Vec<String> = many[..20].iter().map(|name| (*name).to_owned()).collect();
    let index = |n: usize, names: &[String]| GlobalSecondaryIndex {
        projection: Projection {
            projection_type: include,
            non_key_attributes: Some(names.to_vec()),
        },
        ..global(&format!("idx{n}"), &[("sk", Hash)])
    };
    let mut indexes: Vec<_> = (0..5).map(|n| index(n, &names)).collect();
    assert!(check_create_table(&request(&[], &[], &indexes)).is_ok());
    indexes.push(index(5, &names[..1]));
    assert_eq!(
        refusal(&request(&[], &[], &indexes)),
        format!("{invalid}Number of projected attributes in all indexes exceeds limit of 100")
    );
}

#[test]
fn indexes_have_throughput_as_the_table_does() {
    let throughput = |units| {
        let (read_capacity_units, write_capacity_units) = (units, units);
        Some(crate::schema::ProvisionedThroughput { read_capacity_units, write_capacity_units })
    };
    let with = |of_table, of_index| {
        let provisioned_throughput = of_index;
        let index =
            GlobalSecondaryIndex { provisioned_throughput, ..global("idx", &[("sk", Hash)]) };
        CreateTableRequest {
            billing_mode: None,
            provisioned_throughput: of_table,
            ..request(&[], &[], &[index])
        }
    };
    assert!(check_create_table(&with(throughput(1), throughput(1))).is_ok());
    assert_eq!(
        refusal(&with(throughput(1), None)),
        "One or more parameter values were invalid: ProvisionedThroughput is not specified for \
         index: idx"
    );
    assert!(
        refusal(&with(throughput(1), throughput(0)))
            .starts_with("2 validation errors detected: Value '0' at \
                          'globalSecondaryIndexes.1.member.provisionedThroughput.writeCapacityUnits'")
    );
    let on_demand = CreateTableRequest {
        billing_mode: Some(BillingMode::PayPerRequest),
        provisioned_throughput: None,
        ..with(throughput(1), throughput(1))
    };
    assert_eq!(
        refusal(&on_demand),
        "One or more parameter values were invalid: ProvisionedThroughput should not be specified \
         for index: idx when BillingMode is PAY_PER_REQUEST"
    );
}

#[test]
fn definitions_that_no_key_uses_are_listed_as_the_service_does() {
    let index = [global("idx", &[("sk", Hash)])];
    assert_eq!(
        refusal(&request(&["unused"], &[], &index)),
        "One or more parameter values were invalid: Some AttributeDefinitions are not used. \
         AttributeDefinitions: [sk, unused, pk], keys used: [sk, pk]"
    );
    // As the service was seen to list them.
    assert_eq!(
        hash_order(&["PK", "h", "a", "unused"], Buckets::OfCount),
        ["h", "a", "unused", "PK"]
    );
    assert_eq!(hash_order(&["h", "a", "zz"], Buckets::OfCount), ["h", "zz", "a"]);
    assert_eq!(
        hash_order(&["pk", "sk", "gpk", "gsk"], Buckets::Default),
        ["gpk", "sk", "pk", "gsk"]
    );
}
