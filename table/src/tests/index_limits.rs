//! Indexes at the limits of the engine, and over items that are damaged or gone.

use std::collections::BTreeMap;

use super::indexes::{scan, task, tasks};
use super::*;
use crate::TableErrorKind;
use crate::item::EncodedItem;
use crate::operation::{
    BatchWriteItemRequest, Select, TransactAction, TransactWriteItem, TransactWriteItemsRequest,
    UpdateItemRequest, WriteRequest,
};
use crate::schema::{GlobalSecondaryIndex, Projection, ProjectionType};

/// A table with the key `pk`, and so many indexes of whole items by the same attribute.
fn create_with_indexes(tables: &Tables, count: usize) {
    let key =
        || vec![KeySchemaElement { attribute_name: "pk".to_owned(), key_type: KeyType::Hash }];
    let index = |at: usize| GlobalSecondaryIndex {
        index_name: format!("index{at}"),
        key_schema: key(),
        projection: Projection {
            projection_type: Some(ProjectionType::All),
            non_key_attributes: None,
        },
        ..Default::default()
    };
    let request = CreateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: vec![AttributeDefinition {
            attribute_name: "pk".to_owned(),
            attribute_type: ScalarAttributeType::S,
        }],
        key_schema: key(),
        global_secondary_indexes: Some((0..count).map(index).collect()),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    };
    tables.create_table(request).unwrap();
}

/// An item of nearly the most bytes.
fn large(n: usize) -> Item {
    let rest = "x".repeat(crate::MAX_ITEM_SIZE_BYTES - 100);
    item([("pk", n.to_string().into()), ("rest", rest.as_str().into())])
}

#[test]
fn a_batch_of_the_largest_items_and_what_indexes_hold_of_them_is_written() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create_with_indexes(tables, 7);
    let puts = (0..25).map(|n| WriteRequest::Put(large(n))).collect();
    let request = BatchWriteItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), puts)]),
        ..Default::default()
    };
    assert!(tables.batch_write_item(request).unwrap().unprocessed_items.is_empty());
    let described = describe(tables);
    assert_eq!(described.item_count, 25);
    for index in described.global_secondary_indexes {
        assert_eq!(index.item_count, 25);
    }
}

#[test]
fn a_transaction_that_is_too_large_for_a_commit_with_its_indexes_is_refused() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create_with_indexes(tables, 17);
    let put = |n| TransactWriteItem {
        table_name: TABLE.to_owned(),
        action: TransactAction::Put(large(n)),
        ..Default::default()
    };
    let write = |count| {
        tables.transact_write_items(TransactWriteItemsRequest {
            transact_items: (0..count).map(put).collect(),
            ..Default::default()
        })
    };
    let refused = write(10).unwrap_err();
    assert_eq!(refused.kind(), TableErrorKind::Validation);
    assert!(refused.message().ends_with("exceed the 64MB limit of one commit"), "{refused}");
    assert_eq!(describe(tables).item_count, 0);
    write(1).unwrap();
    assert_eq!(describe(tables).item_count, 1);
}

#[test]
fn an_item_that_is_damaged_where_an_index_holds_it_can_be_written_over_and_deleted() {
    let fixture = tasks();
    let tables = &fixture.tables;
    let whole =
        task("a", 1, &[("status", "open".into()), ("due", 5.into()), ("title", "x".into())]);
    put(tables, whole.clone());
    let items = tables.db().existing_keyspace("esker.t.1").unwrap().unwrap();
    let (key, value) = items.iter().next().unwrap().unwrap();
    // Text that is none, where the title is.
    let damaged = (0..value.len()).rev().find_map(|at| {
        let mut bytes = value.to_vec();
        bytes[at] = 0xff;
        let item = EncodedItem::from_bytes(bytes.clone().into()).ok()?;
        let title = item.view().get("title")?;
        title.and_then(|title| title.decode()).is_err().then_some(bytes)
    });
    let damaged = damaged.unwrap();
    items.put(&key, &damaged).unwrap();
    // What needs the rest of it is refused, and leaves it as it is: an update would make the damage its own.
    let update = UpdateItemRequest {
        table_name: TABLE.to_owned(),
        key: task("a", 1, &[]),
        update_expression: Some("SET due = :d".to_owned()),
        expression_attribute_values: Some([(":d".to_owned(), 6.into())].into()),
        ..Default::default()
    };
    let delete = DeleteItemRequest {
        table_name: TABLE.to_owned(),
        key: task("a", 1, &[]),
        return_values: Some(ReturnValues::AllOld),
        ..Default::default()
    };
    let internal = Some(TableErrorKind::Internal);
    assert_eq!(tables.update_item(update).err().map(|error| error.kind()), internal);
    assert_eq!(tables.delete_item(delete).err().map(|error| error.kind()), internal);
    assert_eq!(items.get(&key).unwrap().as_deref(), Some(&damaged[..]));
    // Without asking for what was there.
    let request =
        PutItemRequest { table_name: TABLE.to_owned(), item: whole.clone(), ..Default::default() };
    tables.put_item(request).unwrap();
    assert_eq!(get(tables, task("a", 1, &[])), Some(whole));
    items.put(&key, &damaged).unwrap();
    let request = DeleteItemRequest {
        table_name: TABLE.to_owned(),
        key: task("a", 1, &[]),
        ..Default::default()
    };
    tables.delete_item(request).unwrap();
    assert_eq!(get(tables, task("a", 1, &[])), None);
    // What could not be told is left to a repair.
    assert_eq!(scan(tables, "by_status").len(), 1);
    crate::correct_indexes(tables.db()).unwrap();
    assert_eq!(scan(tables, "by_status").len(), 0);
}

#[test]
fn a_fetch_from_a_table_that_is_being_deleted_finds_no_table() {
    let fixture = tasks();
    let tables = &fixture.tables;
    put(tables, task("a", 1, &[("due", 5.into()), ("note", "n".into())]));
    let request = QueryRequest {
        table_name: TABLE.to_owned(),
        index_name: Some("by_due".to_owned()),
        key_condition_expression: Some("pk = :p".to_owned()),
        expression_attribute_values: Some(item([(":p", "a".into())])),
        select: Some(Select::AllAttributes),
        ..Default::default()
    };
    assert_eq!(tables.query(request.clone()).unwrap().count, 1);
    let items = tables.db().existing_keyspace("esker.t.1").unwrap().unwrap();
    let all: Vec<_> = items.iter().map(|entry| entry.unwrap().0).collect();
    items.delete(&all[0]).unwrap();
    assert_eq!(tables.query(request.clone()).unwrap_err().kind(), TableErrorKind::Internal);
    tables.db().drop_keyspace("esker.t.1").unwrap();
    assert_eq!(tables.query(request).unwrap_err().kind(), TableErrorKind::ResourceNotFound);
}
