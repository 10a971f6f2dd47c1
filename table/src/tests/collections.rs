//! Item collections: their sizes, their limit, and the largest item of a table with local indexes.

use std::collections::BTreeMap;
use std::time::Duration;

use esker::vfs::simulated::{CrashPolicy, Simulation};
use esker::{Background, ReadMode};

use super::index_updates::open_in;
use super::*;
use crate::key_codec::{StoredKey, stored_key};
use crate::operation::{
    BatchWriteItemRequest, ItemCollectionMetrics, ReturnItemCollectionMetrics, TransactAction,
    TransactWriteItem, TransactWriteItemsRequest, UpdateItemRequest, UpdateTableRequest,
    WriteRequest,
};
use crate::schema::{
    LocalSecondaryIndex, Projection, ProjectionType, ProvisionedThroughput, TableStatus,
};
use crate::table::{CountsDelta, TableDelta};
use crate::{TableError, TableErrorKind};

/// A table with a local index of whole items by `s`.
fn create_with_local(tables: &Tables) {
    create_with_locals(tables, &[("by_s", ProjectionType::All)]);
}

/// A table with local indexes by `s`.
fn create_with_locals(tables: &Tables, indexes: &[(&str, ProjectionType)]) {
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    let definition = |name: &str, attribute_type| AttributeDefinition {
        attribute_name: name.to_owned(),
        attribute_type,
    };
    let index = |(name, projection_type): &(&str, ProjectionType)| LocalSecondaryIndex {
        index_name: (*name).to_owned(),
        key_schema: vec![element("pk", KeyType::Hash), element("s", KeyType::Range)],
        projection: Projection {
            projection_type: Some(*projection_type),
            non_key_attributes: None,
        },
    };
    let request = CreateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: vec![
            definition("pk", ScalarAttributeType::S),
            definition("sk", ScalarAttributeType::N),
            definition("s", ScalarAttributeType::S),
        ],
        key_schema: vec![element("pk", KeyType::Hash), element("sk", KeyType::Range)],
        local_secondary_indexes: Some(indexes.iter().map(index).collect()),
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

/// Sums up what is wanted.
fn sum_up(tables: &Tables) {
    while tables.run_index_step().unwrap() {}
}

fn key_of(tables: &Tables, pk: &str, sk: i64) -> StoredKey {
    let table = tables.find(TABLE).unwrap();
    let key = item([("pk", pk.into()), ("sk", sk.into())]);
    let (partition, sort) = table.key.of_key(&key).unwrap();
    stored_key(&partition, sort.as_ref())
}

/// What is known of a collection.
fn known(tables: &Tables, pk: &str) -> Option<u64> {
    let table = tables.find(TABLE).unwrap();
    tables.known_collection_bytes(&table, &key_of(tables, pk, 1))
}

/// What a table has whose only collection is asked for.
fn collected(tables: &Tables) -> Option<u64> {
    Some(tables.find(TABLE).unwrap().collected_bytes())
}

fn delete_one(tables: &Tables, pk: &str, sk: i64) {
    delete(tables, item([("pk", pk.into()), ("sk", sk.into())]));
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
    let simulation = Simulation::new(1);
    let tables = &open_in(&simulation).unwrap();
    create_with_local(tables);
    // Three items, and as many entries of the index.
    tables.set_item_collection_limit(6_000);
    for sk in 1..=3 {
        tables.put_item(put_request(thousand("a", sk))).unwrap();
    }
    // Its size is not known before a write has asked for it.
    assert!(!tables.run_index_step().unwrap());
    tables.put_item(put_request(thousand("a", 3))).unwrap();
    sum_up(tables);
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
    // Those of one batch count together.
    tables.put_item(put_request(thousand("e", 10))).unwrap();
    sum_up(tables);
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
    let tables = &open_in(&simulation.crash(CrashPolicy::KeepAll, 1)).unwrap();
    tables.set_item_collection_limit(6_000);
    tables.put_item(put_request(thousand("a", 4))).unwrap();
    sum_up(tables);
    assert_full(tables.put_item(put_request(thousand("a", 5))));
}

#[test]
fn a_sum_is_made_in_steps_beside_the_writes_that_change_it() {
    let tables = &open_in(&Simulation::new(2)).unwrap();
    create_with_local(tables);
    tables.set_item_collection_limit(4 << 20);
    let put = |sk: i64, bytes: usize| {
        let mut item = thousand("a", sk);
        item.insert("b".to_owned(), vec![2u8; bytes].into());
        tables.put_item(put_request(item))
    };
    for sk in 0..12 {
        put(10 * sk, 190_000).unwrap();
    }
    assert_eq!(known(tables, "a"), None);
    let mut steps = 0;
    while tables.run_index_step().unwrap() {
        steps += 1;
        if known(tables, "a").is_none() {
            // Behind what is summed, before it, and over it: none is refused, each is counted once.
            put(1, 1_000 * steps as usize).unwrap();
            put(110 + steps, 500).unwrap();
            delete_one(tables, "a", 10 * steps);
        }
    }
    assert!(steps >= 4, "{steps}");
    assert_eq!(known(tables, "a"), collected(tables));
    assert!(known(tables, "a") > Some(0));
    put(2, 1_000).unwrap();
    delete_one(tables, "a", 1);
    assert_eq!(known(tables, "a"), collected(tables));
    while put(200 + steps, 190_000).is_ok() {
        steps += 1;
    }
    assert_full(put(200 + steps, 190_000));
    assert_eq!(known(tables, "a"), collected(tables));
    let left = (4 << 20) - collected(tables).unwrap();
    assert!(left < 390_000, "{left}");
}

#[test]
fn what_is_not_written_does_not_fill_a_collection() {
    let simulation = Simulation::new(3);
    let db = esker::Db::builder()
        .world(simulation.world())
        .background(Background::Manual)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .wal_segment_bytes(4096)
        .open("/db")
        .unwrap();
    let tables = &Tables::open(db).unwrap();
    create_with_local(tables);
    tables.set_item_collection_limit(20_000);
    for sk in 0..10 {
        tables.put_item(put_request(thousand("a", sk))).unwrap();
    }
    tables.put_item(put_request(thousand("a", 0))).unwrap();
    sum_up(tables);
    delete_one(tables, "a", 9);
    assert_eq!(known(tables, "a"), Some(18_000));
    simulation.fs.set_capacity(1);
    let failures = (0..20).filter(|_| {
        let result = tables.put_item(put_request(thousand("a", 9)));
        result.is_err_and(|error| error.kind() == TableErrorKind::Internal)
    });
    assert_eq!(failures.count(), 20);
    simulation.fs.set_capacity(u64::MAX);
    assert_eq!(known(tables, "a"), collected(tables));
    tables.put_item(put_request(thousand("a", 9))).unwrap();
    assert_full(tables.put_item(put_request(thousand("a", 10))));
    assert_eq!(known(tables, "a"), Some(20_000));
    // Nor does what there is no capacity for.
    tables.set_item_collection_limit(u64::MAX);
    let provisioned = UpdateTableRequest {
        table_name: TABLE.to_owned(),
        billing_mode: Some(BillingMode::Provisioned),
        provisioned_throughput: Some(ProvisionedThroughput {
            read_capacity_units: 1,
            write_capacity_units: 1,
        }),
        ..Default::default()
    };
    tables.update_table(provisioned).unwrap();
    tables.set_throttling(true);
    let written = (100..1_000).filter(|sk| {
        let result = tables.put_item(put_request(thousand("a", *sk)));
        let kind = TableErrorKind::ProvisionedThroughputExceeded;
        result.inspect_err(|error| assert_eq!(error.kind(), kind)).is_ok()
    });
    assert!(written.count() < 900);
    assert_eq!(known(tables, "a"), collected(tables));
}

#[test]
fn a_collection_that_cannot_be_read_takes_writes() {
    let simulation = Simulation::new(4);
    let tables = &open_in(&simulation).unwrap();
    create_with_local(tables);
    tables.set_item_collection_limit(4_000);
    let table = tables.find(TABLE).unwrap();
    let damaged = key_of(tables, "a", 100);
    table.items.put(&damaged, b"no item").unwrap();
    for sk in 1..=5 {
        tables.put_item(put_request(thousand("a", sk))).unwrap();
        sum_up(tables);
    }
    assert_eq!(known(tables, "a"), None);
    // It is not tried again at once.
    table.items.delete(&damaged).unwrap();
    tables.put_item(put_request(thousand("a", 6))).unwrap();
    assert!(!tables.run_index_step().unwrap());
    simulation.clock.advance(Duration::from_secs(300));
    tables.put_item(put_request(thousand("a", 7))).unwrap();
    sum_up(tables);
    assert_eq!(known(tables, "a"), Some(14_000));
    assert_full(tables.put_item(put_request(thousand("a", 8))));
}

#[test]
fn the_size_of_a_collection_that_is_not_known_is_any_up_to_that_of_the_table() {
    let tables = &open_in(&Simulation::new(5)).unwrap();
    create_with_local(tables);
    // As if there were other items.
    let mut delta = TableDelta::default();
    delta.table.add(CountsDelta::of(None, Some(3 << 30)));
    tables.find(TABLE).unwrap().publish(&delta);
    let range = || {
        let put = tables.put_item(put_request(thousand("a", 1))).unwrap();
        put.item_collection_metrics.unwrap().size_estimate_range_gb
    };
    assert_eq!(range(), [0.0, 4.0]);
    assert_eq!(range(), [0.0, 4.0]);
    sum_up(tables);
    assert_eq!(range(), [0.0, 1.0]);
}

#[test]
fn sums_and_the_filling_of_indexes_take_turns() {
    let tables = &open_in(&Simulation::new(6)).unwrap();
    create_with_local(tables);
    tables.set_item_collection_limit(1);
    for pk in ["a", "b", "c", "d"] {
        tables.put_item(put_request(thousand(pk, 1))).unwrap();
    }
    create(tables, "other", None);
    let creation = super::index_updates::request(vec![super::index_updates::creation("by_n")]);
    let creation = UpdateTableRequest { table_name: "other".to_owned(), ..creation };
    tables.update_table(creation).unwrap();
    let status = || {
        let request = DescribeTableRequest { table_name: "other".to_owned() };
        tables.describe_table(request).unwrap().table.table_status
    };
    let known_ones =
        || ["a", "b", "c", "d"].iter().filter(|pk| known(tables, pk).is_some()).count();
    for _ in 0..4 {
        assert!(tables.run_index_step().unwrap());
    }
    assert_eq!((known_ones(), status()), (2, TableStatus::Active));
    sum_up(tables);
    assert_eq!(known_ones(), 4);
}

#[test]
fn a_thread_sums_up_where_there_are_threads() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create_with_local(tables);
    tables.set_item_collection_limit(6_000);
    let mut sk = 0;
    let refusal = loop {
        // Each is one more, until its thread has come to it.
        sk += 1;
        match tables.put_item(put_request(thousand("a", sk))) {
            Ok(_) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert_full(Err::<(), _>(refusal));
}

#[test]
fn an_item_too_large_with_its_entries_is_refused_before_anything_of_a_batch_is_written() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    let keys = ["by_s_1", "by_s_2", "by_s_3", "by_s_4"];
    let mut indexes = vec![("by_s", ProjectionType::All)];
    indexes.extend(keys.map(|name| (name, ProjectionType::KeysOnly)));
    create_with_locals(tables, &indexes);
    let of_size = |sk: i64, bytes: usize| {
        let mut item = thousand("a", sk);
        item.insert("b".to_owned(), vec![1u8; bytes].into());
        WriteRequest::Put(item)
    };
    // More than one commit, of which the last is at fault.
    let mut requests: Vec<_> = (1..=24).map(|sk| of_size(sk, 200_000)).collect();
    requests.push(of_size(25, 210_000));
    let batch = |requests| BatchWriteItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), requests)]),
        ..Default::default()
    };
    let error = tables.batch_write_item(batch(requests.clone())).unwrap_err();
    assert_eq!(error.message(), "Item size has exceeded the maximum allowed size");
    assert_eq!(describe(tables).item_count, 0);
    requests.pop();
    tables.batch_write_item(batch(requests)).unwrap();
    assert_eq!(describe(tables).item_count, 24);
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
