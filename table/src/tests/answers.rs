//! What the operations answer: to wrong requests with the service's wordings, and of tables.

use super::*;
use crate::operation::{DeleteTableRequest, ListTablesRequest, ReturnConsumedCapacity, Select};
use crate::schema::{ProvisionedThroughput, TableStatus};
use crate::{TableError, TableErrorKind};

fn message<T: std::fmt::Debug>(result: Result<T, TableError>) -> String {
    result.unwrap_err().message().to_owned()
}

#[test]
fn tables_are_created_described_listed_and_deleted() {
    let mut fixture = Fixture::new();
    let arn_of = |name: &str| format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}");
    let created = create(&fixture.tables, TABLE, Some(ScalarAttributeType::N));
    assert_eq!(created.table_status, TableStatus::Creating);
    assert_eq!(created.table_arn, arn_of(TABLE));
    assert_eq!(created.table_id.len(), 36);
    let first = describe(&fixture.tables);
    // Two of its options the service tells only once the table is there.
    let options = first.options.clone();
    let table_status = TableStatus::Active;
    assert_eq!(first, TableDescription { table_status, options, ..created });
    put(&fixture.tables, item([("pk", "a".into()), ("sk", 1.into())]));

    fixture = fixture.reopened();
    let again = TableDescription { item_count: 1, table_size_bytes: 7, ..first.clone() };
    assert_eq!(describe(&fixture.tables), again);
    let tables = &fixture.tables;
    let request = CreateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: first.attribute_definitions.clone(),
        key_schema: first.key_schema.clone(),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    };
    let exists = tables.create_table(request.clone()).unwrap_err();
    assert_eq!(exists.kind(), TableErrorKind::ResourceInUse);
    assert_eq!(exists.message(), "Table already exists: things");

    // A table is created by its ARN too, and an error names the member that is wrong.
    let request = CreateTableRequest { table_name: arn_of("by-arn"), ..request };
    let by_arn = tables.create_table(request).unwrap().table_description;
    assert_eq!(by_arn.table_arn, arn_of("by-arn"));
    let start = Some("a".to_owned());
    let request = ListTablesRequest { exclusive_start_table_name: start, limit: None };
    assert!(message(tables.list_tables(request)).contains("at 'exclusiveStartTableName' failed"));

    let delete = || tables.delete_table(DeleteTableRequest { table_name: arn_of(TABLE) });
    let deleted = delete().unwrap().table_description;
    assert_eq!(deleted, TableDescription { table_status: TableStatus::Deleting, ..again });
    let gone = delete().unwrap_err();
    assert_eq!(gone.kind(), TableErrorKind::ResourceNotFound);
    assert_eq!(gone.message(), "Requested resource not found: Table: things not found");
    create(tables, TABLE, None);
    let recreated = describe(tables);
    assert_ne!(recreated.table_id, first.table_id);
    assert_eq!((recreated.item_count, recreated.table_size_bytes), (0, 0));
    fixture = fixture.reopened();
    assert_eq!(describe(&fixture.tables), recreated);
    assert!(scan_all(&fixture.tables, ScanRequest::default()).is_empty());
}

#[test]
fn tables_are_listed_in_pages() {
    let fixture = Fixture::new();
    for n in 0..5 {
        create(&fixture.tables, &format!("table{n}"), None);
    }
    let list = |start: Option<&str>, limit| {
        fixture.tables.list_tables(ListTablesRequest {
            exclusive_start_table_name: start.map(str::to_owned),
            limit,
        })
    };
    let all = list(None, None).unwrap();
    assert_eq!(all.table_names, ["table0", "table1", "table2", "table3", "table4"]);
    assert_eq!(all.last_evaluated_table_name, None);
    let page = list(Some("table1"), Some(2)).unwrap();
    assert_eq!(page.table_names, ["table2", "table3"]);
    assert_eq!(page.last_evaluated_table_name.as_deref(), Some("table3"));
    let last = list(Some("table3"), Some(1)).unwrap();
    assert_eq!((last.table_names.len(), last.last_evaluated_table_name), (1, None));
    for limit in [0, 101] {
        assert!(message(list(None, Some(limit))).contains("at 'limit' failed"));
    }
}

#[test]
fn options_are_kept_and_protection_is_honoured() {
    let fixture = Fixture::new();
    let throughput = ProvisionedThroughput { read_capacity_units: 3, write_capacity_units: 4 };
    let request = CreateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: vec![AttributeDefinition {
            attribute_name: "id".to_owned(),
            attribute_type: ScalarAttributeType::B,
        }],
        key_schema: vec![KeySchemaElement {
            attribute_name: "id".to_owned(),
            key_type: KeyType::Hash,
        }],
        billing_mode: None,
        provisioned_throughput: Some(throughput),
        deletion_protection_enabled: Some(true),
        ..Default::default()
    };
    fixture.tables.create_table(request).unwrap();
    let fixture = fixture.reopened();
    let description = describe(&fixture.tables);
    assert_eq!(description.billing_mode, BillingMode::Provisioned);
    assert_eq!(description.provisioned_throughput, throughput);
    assert!(description.deletion_protection_enabled);
    let request = DeleteTableRequest { table_name: TABLE.to_owned() };
    assert_eq!(
        message(fixture.tables.delete_table(request)),
        "Resource cannot be deleted as it is currently protected against deletion. Disable \
         deletion protection first."
    );
}

#[test]
fn wrong_keys_are_refused() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, Some(ScalarAttributeType::N));
    let get = |key: Item| {
        let request = GetItemRequest { table_name: TABLE.to_owned(), key, ..Default::default() };
        message(tables.get_item(request))
    };
    let mismatch = "The provided key element does not match the schema";
    assert_eq!(get(item([("pk", "a".into())])), mismatch);
    assert_eq!(get(item([("pk", "a".into()), ("sk", "1".into())])), mismatch);
    assert_eq!(
        get(item([("pk", "".into()), ("sk", 1.into())])),
        "One or more parameter values are not valid. The AttributeValue for a key attribute \
         cannot contain an empty string value. Key: pk"
    );
    let put = |item: Item| {
        let request = PutItemRequest { table_name: TABLE.to_owned(), item, ..Default::default() };
        message(tables.put_item(request))
    };
    assert_eq!(
        put(item([("pk", "a".into())])),
        "One or more parameter values were invalid: Missing the key sk in the item"
    );
    assert_eq!(
        put(item([("pk", "a".into()), ("sk", true.into())])),
        "One or more parameter values were invalid: Type mismatch for key sk expected: N actual: \
         BOOL"
    );
    let delete = DeleteItemRequest {
        table_name: TABLE.to_owned(),
        key: item([("sk", 1.into())]),
        ..Default::default()
    };
    assert_eq!(message(tables.delete_item(delete)), mismatch);
    let updated = PutItemRequest {
        table_name: TABLE.to_owned(),
        item: item([("pk", "a".into()), ("sk", 1.into())]),
        return_values: Some(crate::operation::ReturnValues::UpdatedOld),
        ..Default::default()
    };
    assert_eq!(message(tables.put_item(updated)), "ReturnValues can only be ALL_OLD or NONE");
    let nowhere = GetItemRequest { table_name: "nowhere".to_owned(), ..Default::default() };
    assert_eq!(message(tables.get_item(nowhere)), "Requested resource not found");
}

#[test]
fn wrong_queries_and_scans_are_refused() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, Some(ScalarAttributeType::N));
    let good = QueryRequest {
        table_name: TABLE.to_owned(),
        key_condition_expression: Some("pk = :p AND sk > :s".to_owned()),
        expression_attribute_values: Some(item([(":p", "a".into()), (":s", 5.into())])),
        ..Default::default()
    };
    assert!(tables.query(good.clone()).is_ok());
    let start = |key: Item| {
        message(tables.query(QueryRequest { exclusive_start_key: Some(key), ..good.clone() }))
    };
    assert_eq!(
        start(item([("pk", "b".into()), ("sk", 6.into())])),
        "The query can return at most one row and cannot be restarted"
    );
    let whole = QueryRequest {
        key_condition_expression: Some("pk = :p".to_owned()),
        expression_attribute_values: Some(item([(":p", "a".into())])),
        exclusive_start_key: Some(item([("pk", "b".into()), ("sk", 6.into())])),
        ..good.clone()
    };
    assert_eq!(
        message(tables.query(whole)),
        "The provided starting key is outside query boundaries based on provided conditions"
    );
    assert_eq!(
        start(item([("pk", "a".into()), ("sk", 5.into())])),
        "The provided starting key does not match the range key predicate"
    );
    assert_eq!(start(item([("pk", "a".into())])), "The provided starting key is invalid");
    assert_eq!(
        message(tables.query(QueryRequest { limit: Some(0), ..good.clone() })),
        "1 validation error detected: Value at 'Limit' failed to satisfy constraint: Member \
         must have value greater than or equal to 1"
    );
    let unused = QueryRequest {
        expression_attribute_names: Some([("#x".to_owned(), "x".to_owned())].into()),
        ..good.clone()
    };
    assert!(message(tables.query(unused)).contains("unused in expressions: keys: {#x}"));
    let bare = QueryRequest { table_name: TABLE.to_owned(), ..Default::default() };
    assert!(message(tables.query(bare)).starts_with("Either the KeyConditions or"));
    for select in [Select::AllProjectedAttributes, Select::SpecificAttributes] {
        let request = QueryRequest { select: Some(select), ..good.clone() };
        assert!(message(tables.query(request)).starts_with("1 validation error detected: "));
    }

    let looking_into = |expression: &str| ScanRequest {
        table_name: TABLE.to_owned(),
        filter_expression: Some(expression.to_owned()),
        ..Default::default()
    };
    for expression in ["attribute_exists(sk.a)", "sk[0] = a OR attribute_exists(pk)"] {
        assert_eq!(
            message(tables.scan(looking_into(expression))),
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not \
             allowed: Key: sk"
        );
    }
    tables.scan(looking_into("attribute_exists(sk) AND attribute_exists(a.sk)")).unwrap();

    let scan = |segment, total_segments, start: Option<Item>| {
        tables.scan(ScanRequest {
            table_name: TABLE.to_owned(),
            segment,
            total_segments,
            exclusive_start_key: start,
            ..Default::default()
        })
    };
    assert!(message(scan(Some(0), None, None)).starts_with("The TotalSegments parameter"));
    assert!(message(scan(None, Some(1), None)).starts_with("The Segment parameter"));
    assert_eq!(
        message(scan(Some(2), Some(2), None)),
        "The Segment parameter is zero-based and must be less than parameter TotalSegments: \
         Segment: 2 is not less than TotalSegments: 2"
    );
    assert!(message(scan(Some(-1), Some(0), None)).starts_with("2 validation errors detected: "));
    let key = item([("pk", "a".into()), ("sk", 6.into())]);
    let refused = (0..2).filter(|n| scan(Some(*n), Some(2), Some(key.clone())).is_err()).count();
    assert_eq!(refused, 1, "the key is in one of the segments");
}

#[test]
fn capacity_is_reported_where_it_is_asked_for() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    let put = |size: usize| {
        let request = PutItemRequest {
            table_name: TABLE.to_owned(),
            item: item([("pk", "a".into()), ("b", vec![0u8; size].into())]),
            return_consumed_capacity: Some(ReturnConsumedCapacity::Indexes),
            ..Default::default()
        };
        tables.put_item(request).unwrap().consumed_capacity.unwrap()
    };
    assert_eq!(put(10).capacity_units, 1.0);
    assert_eq!(put(2500).capacity_units, 3.0);
    // The larger of the old and the new item counts.
    let smaller = put(10);
    assert_eq!((smaller.capacity_units, smaller.table), (3.0, Some(3.0)));
    assert_eq!(smaller.table_name, TABLE);
    let get = |pk: &str, consistent_read| {
        let request = GetItemRequest {
            table_name: TABLE.to_owned(),
            key: item([("pk", pk.into())]),
            consistent_read,
            return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
            ..Default::default()
        };
        tables.get_item(request).unwrap().consumed_capacity.unwrap().capacity_units
    };
    assert_eq!((get("a", None), get("a", Some(true)), get("absent", None)), (0.5, 1.0, 0.5));
}

#[test]
fn tables_of_a_read_only_database_can_be_read() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    let stored = item([("pk", "a".into())]);
    put(&fixture.tables, stored.clone());
    fixture.tables.close().unwrap();
    let db = esker::Db::builder().read_only(true).open(fixture.dir.path()).unwrap();
    let tables = Tables::open(db).unwrap();
    assert_eq!(get(&tables, stored.clone()), Some(stored.clone()));
    assert_counts_true(&tables);
    let request =
        PutItemRequest { table_name: TABLE.to_owned(), item: stored, ..Default::default() };
    assert_eq!(tables.put_item(request).unwrap_err().kind(), TableErrorKind::Internal);
}
