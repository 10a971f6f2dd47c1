//! Item collections: their sizes, their limit, and the largest item of a table with local indexes.

use std::collections::BTreeMap;

use super::*;
use crate::operation::{
    BatchWriteItemRequest, ItemCollectionMetrics, ReturnItemCollectionMetrics, TransactAction,
    TransactWriteItem, TransactWriteItemsRequest, UpdateItemRequest, WriteRequest,
};
use crate::schema::{LocalSecondaryIndex, Projection, ProjectionType};
use crate::{TableError, TableErrorKind};

/// A table with a local index of whole items by `s`.
fn create_with_local(tables: &Tables) {
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    let definition = |name: &str, attribute_type| AttributeDefinition {
        attribute_name: name.to_owned(),
        attribute_type,
    };
    let request = CreateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: vec![
            definition("pk", ScalarAttributeType::S),
            definition("sk", ScalarAttributeType::N),
            definition("s", ScalarAttributeType::S),
        ],
        key_schema: vec![element("pk", KeyType::Hash), element("sk", KeyType::Range)],
        local_secondary_indexes: Some(vec![LocalSecondaryIndex {
            index_name: "by_s".to_owned(),
            key_schema: vec![element("pk", KeyType::Hash), element("s", KeyType::Range)],
            projection: Projection {
                projection_type: Some(ProjectionType::All),
                non_key_attributes: None,
            },
        }]),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    };
    tables.create_table(request).unwrap();
}

/// An item of 1,000 bytes, in the index too.
fn thousand(pk: &str, sk: i64) -> Item {
    let mut item = item([("pk", pk.into()), ("sk", sk.into()), ("s", "s".into())]);
    let size: usize = item.iter().map(|(name, value)| name.len() + value.size_bytes()).sum();
    item.insert("b".to_owned(), vec![1u8; 1000 - size - 1].into());
    item
}

fn put_request(item: Item) -> PutItemRequest {
    PutItemRequest {
        table_name: TABLE.to_owned(),
        item,
        return_item_collection_metrics: Some(ReturnItemCollectionMetrics::Size),
        ..Default::default()
    }
}

fn metrics(pk: &str) -> ItemCollectionMetrics {
    ItemCollectionMetrics {
        item_collection_key: item([("pk", pk.into())]),
        size_estimate_range_gb: [0.0, 1.0],
    }
}

fn assert_full<T: std::fmt::Debug>(result: Result<T, TableError>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::ItemCollectionSizeLimitExceeded);
    assert_eq!(error.message(), "Collection size exceeded.");
}

#[test]
fn writes_tell_the_size_of_collections_where_they_are_asked_and_there_are_local_indexes() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create_with_local(tables);
    let put = tables.put_item(put_request(thousand("a", 1))).unwrap();
    assert_eq!(put.item_collection_metrics, Some(metrics("a")));
    let silent = PutItemRequest {
        return_item_collection_metrics: Some(ReturnItemCollectionMetrics::None),
        ..put_request(thousand("a", 1))
    };
    assert_eq!(tables.put_item(silent).unwrap().item_collection_metrics, None);
    let key = || item([("pk", "a".into()), ("sk", 1.into())]);
    let asked = Some(ReturnItemCollectionMetrics::Size);
    let update = UpdateItemRequest {
        table_name: TABLE.to_owned(),
        key: key(),
        return_item_collection_metrics: asked,
        ..Default::default()
    };
    let updated = tables.update_item(update).unwrap();
    assert_eq!(updated.item_collection_metrics, Some(metrics("a")));
    let delete = DeleteItemRequest {
        table_name: TABLE.to_owned(),
        key: key(),
        return_item_collection_metrics: asked,
        ..Default::default()
    };
    let deleted = tables.delete_item(delete).unwrap();
    assert_eq!(deleted.item_collection_metrics, Some(metrics("a")));

    create(tables, "plain", Some(ScalarAttributeType::N));
    let puts = |pks: &[(&str, i64)]| {
        pks.iter().map(|(pk, sk)| WriteRequest::Put(thousand(pk, *sk))).collect::<Vec<_>>()
    };
    let batch = BatchWriteItemRequest {
        request_items: BTreeMap::from([
            (TABLE.to_owned(), puts(&[("a", 1), ("b", 1), ("a", 2)])),
            ("plain".to_owned(), puts(&[("a", 1)])),
        ]),
        return_item_collection_metrics: asked,
        ..Default::default()
    };
    let both = BTreeMap::from([(TABLE.to_owned(), vec![metrics("a"), metrics("b")])]);
    let written = tables.batch_write_item(batch).unwrap();
    assert_eq!(written.item_collection_metrics, Some(both));
    let transaction = TransactWriteItemsRequest {
        transact_items: vec![TransactWriteItem {
            table_name: TABLE.to_owned(),
            action: TransactAction::Put(thousand("c", 1)),
            ..Default::default()
        }],
        return_item_collection_metrics: asked,
        ..Default::default()
    };
    let one = BTreeMap::from([(TABLE.to_owned(), vec![metrics("c")])]);
    let written = tables.transact_write_items(transaction).unwrap();
    assert_eq!(written.item_collection_metrics, Some(one));
    let plain = PutItemRequest { table_name: "plain".to_owned(), ..put_request(thousand("a", 2)) };
    assert_eq!(tables.put_item(plain).unwrap().item_collection_metrics, None);
}

#[test]
fn a_collection_does_not_grow_beyond_its_limit() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create_with_local(tables);
    // Three items, and as many entries of the index.
    tables.set_item_collection_limit(6_000);
    for sk in 1..=3 {
        tables.put_item(put_request(thousand("a", sk))).unwrap();
    }
    assert_full(tables.put_item(put_request(thousand("a", 4))));
    // Of another partition, of the same size, and smaller: all of these are fine.
    tables.put_item(put_request(thousand("b", 1))).unwrap();
    tables.put_item(put_request(thousand("a", 3))).unwrap();
    let mut small = thousand("a", 3);
    small.insert("b".to_owned(), vec![1u8; 900].into());
    tables.put_item(put_request(small)).unwrap();
    let grow = |value: Vec<u8>| UpdateItemRequest {
        table_name: TABLE.to_owned(),
        key: item([("pk", "a".into()), ("sk", 3.into())]),
        update_expression: Some("SET b = :b".to_owned()),
        expression_attribute_values: Some(item([(":b", value.into())])),
        ..Default::default()
    };
    assert_full(tables.update_item(grow(vec![1; 1100])));
    tables.update_item(grow(vec![1; 910])).unwrap();

    // In a transaction it is the reason of the action; nothing is written.
    let action =
        |action| TransactWriteItem { table_name: TABLE.to_owned(), action, ..Default::default() };
    let actions = |pk: &str| TransactWriteItemsRequest {
        transact_items: vec![
            action(TransactAction::Put(thousand("d", 1))),
            action(TransactAction::Put(thousand(pk, 9))),
        ],
        ..Default::default()
    };
    let error = tables.transact_write_items(actions("a")).unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::TransactionCanceled);
    let codes: Vec<_> = error.cancellation_reasons().iter().map(|r| r.code.as_str()).collect();
    assert_eq!(codes, ["None", "ItemCollectionSizeLimitExceeded"]);
    assert_eq!(get(tables, item([("pk", "d".into()), ("sk", 1.into())])), None);
    tables.transact_write_items(actions("b")).unwrap();
    // Two of one batch count together.
    let batch = |count: i64| BatchWriteItemRequest {
        request_items: BTreeMap::from([(
            TABLE.to_owned(),
            (10..10 + count).map(|sk| WriteRequest::Put(thousand("e", sk))).collect(),
        )]),
        ..Default::default()
    };
    assert_full(tables.batch_write_item(batch(4)));
    tables.batch_write_item(batch(3)).unwrap();

    // Room is made by a deletion, and what is known of sizes is not needed to tell them.
    assert_full(tables.put_item(put_request(thousand("a", 4))));
    let key = item([("pk", "a".into()), ("sk", 1.into())]);
    let delete = DeleteItemRequest { table_name: TABLE.to_owned(), key, ..Default::default() };
    tables.delete_item(delete).unwrap();
    tables.put_item(put_request(thousand("a", 4))).unwrap();
    let fixture = fixture.reopened();
    fixture.tables.set_item_collection_limit(6_000);
    assert_full(fixture.tables.put_item(put_request(thousand("a", 5))));
}

#[test]
fn an_item_and_what_local_indexes_hold_of_it_fit_into_400_kb_together() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create_with_local(tables);
    let of_size = |bytes: usize, is_indexed: bool| {
        let mut item = item([("pk", "a".into()), ("sk", 1.into())]);
        if is_indexed {
            item.insert("s".to_owned(), "s".into());
        }
        let size: usize = item.iter().map(|(name, value)| name.len() + value.size_bytes()).sum();
        item.insert("b".to_owned(), vec![1u8; bytes - size - 1].into());
        item
    };
    let most = crate::MAX_ITEM_SIZE_BYTES;
    tables.put_item(put_request(of_size(most, false))).unwrap();
    tables.put_item(put_request(of_size(most / 2, true))).unwrap();
    let message = |error: TableError| {
        assert_eq!(error.kind(), TableErrorKind::Validation);
        error.message().to_owned()
    };
    let too_large = "Item size has exceeded the maximum allowed size";
    let larger = || of_size(most / 2 + 1, true);
    assert_eq!(message(tables.put_item(put_request(larger())).unwrap_err()), too_large);
    let batch = BatchWriteItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), vec![WriteRequest::Put(larger())])]),
        ..Default::default()
    };
    assert_eq!(message(tables.batch_write_item(batch).unwrap_err()), too_large);
    let update = UpdateItemRequest {
        table_name: TABLE.to_owned(),
        key: item([("pk", "a".into()), ("sk", 1.into())]),
        update_expression: Some("SET c = :c".to_owned()),
        expression_attribute_values: Some(item([(":c", "c".into())])),
        ..Default::default()
    };
    assert_eq!(
        message(tables.update_item(update).unwrap_err()),
        "Item size to update has exceeded the maximum allowed size"
    );
    let transaction = TransactWriteItemsRequest {
        transact_items: vec![TransactWriteItem {
            table_name: TABLE.to_owned(),
            action: TransactAction::Put(larger()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let error = tables.transact_write_items(transaction).unwrap_err();
    let reason = &error.cancellation_reasons()[0];
    assert_eq!(
        (reason.code.as_str(), reason.message.as_deref()),
        ("ValidationError", Some(too_large))
    );
}
