//! Tests of throttling, by a simulated clock: what capacity there is, who uses it, and how each
//! operation says that there is none.

use std::collections::BTreeMap;
use std::time::Duration;

use esker::vfs::simulated::Simulation;

use super::crash::open_in;
use super::*;
use crate::operation::{
    BatchGetItemRequest, BatchWriteItemRequest, KeysAndAttributes, TransactAction, TransactGet,
    TransactGetItemsRequest, TransactWriteItem, TransactWriteItemsRequest, UpdateItemRequest,
    UpdateTableRequest, WriteRequest,
};
use crate::schema::{
    GlobalSecondaryIndex, GlobalSecondaryIndexUpdate, OnDemandThroughput, Projection,
    ProjectionType, ProvisionedThroughput, UpdateGlobalSecondaryIndexAction,
};
use crate::{TableError, TableErrorKind, message};

const INDEX: &str = "by_a";

struct Throttled {
    simulation: Simulation,
    tables: Tables,
}

fn throughput(read_capacity_units: i64, write_capacity_units: i64) -> ProvisionedThroughput {
    ProvisionedThroughput { read_capacity_units, write_capacity_units }
}

impl Throttled {
    /// A table with so many units of each kind, and an index on `a` with `of_index`, if any.
    fn new(of_table: i64, of_index: Option<i64>) -> Self {
        let simulation = Simulation::new(1);
        let tables = open_in(&simulation).unwrap();
        let attribute = |name: &str| AttributeDefinition {
            attribute_name: name.to_owned(),
            attribute_type: ScalarAttributeType::S,
        };
        let key = |name: &str| {
            vec![KeySchemaElement { attribute_name: name.to_owned(), key_type: KeyType::Hash }]
        };
        let index = |units| GlobalSecondaryIndex {
            index_name: INDEX.to_owned(),
            key_schema: key("a"),
            projection: Projection {
                projection_type: Some(ProjectionType::All),
                non_key_attributes: None,
            },
            provisioned_throughput: Some(throughput(units, units)),
            ..Default::default()
        };
        let mut attribute_definitions = vec![attribute("pk")];
        attribute_definitions.extend(of_index.map(|_| attribute("a")));
        let request = CreateTableRequest {
            table_name: TABLE.to_owned(),
            attribute_definitions,
            key_schema: key("pk"),
            global_secondary_indexes: of_index.map(|units| vec![index(units)]),
            provisioned_throughput: Some(throughput(of_table, of_table)),
            ..Default::default()
        };
        tables.create_table(request).unwrap();
        tables.set_throttling(true);
        Self { simulation, tables }
    }

    fn seconds(&self, seconds: u64) {
        self.simulation.clock.advance(Duration::from_secs(seconds));
    }

    fn put(&self, item: Item) -> Result<(), TableError> {
        let request = PutItemRequest { table_name: TABLE.to_owned(), item, ..Default::default() };
        self.tables.put_item(request).map(|_| ())
    }

    fn get(&self, pk: &str) -> Result<Option<Item>, TableError> {
        let key = key(pk);
        let request = GetItemRequest { table_name: TABLE.to_owned(), key, ..Default::default() };
        Ok(self.tables.get_item(request)?.item)
    }

    /// How many puts of a small item go through before one is refused.
    fn puts(&self) -> usize {
        (0..10_000).take_while(|n| self.put(key(&n.to_string())).is_ok()).count()
    }
}

fn key(pk: &str) -> Item {
    item([("pk", pk.into())])
}

#[track_caller]
fn is_throttled<T: std::fmt::Debug>(result: Result<T, TableError>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::ProvisionedThroughputExceeded);
    assert_eq!(
        error.message(),
        "The level of configured provisioned throughput for the table was exceeded. Consider \
         increasing your provisioning level with the UpdateTable API."
    );
}

#[test]
fn capacity_comes_with_time_and_is_saved_for_five_minutes() {
    let throttled = Throttled::new(2, None);
    assert_eq!(throttled.puts(), 2);
    is_throttled(throttled.put(key("more")));
    throttled.seconds(1);
    assert_eq!(throttled.puts(), 2);
    throttled.seconds(1_000);
    assert_eq!(throttled.puts(), 600);
    // Of what is large, the rest is owed.
    throttled.seconds(1);
    throttled.put(item([("pk", "x".into()), ("t", "x".repeat(5_000).into())])).unwrap();
    throttled.seconds(1);
    is_throttled(throttled.put(key("more")));
    throttled.seconds(1);
    assert_eq!(throttled.puts(), 1);
    // Reads have capacity of their own.
    for _ in 0..4 {
        throttled.get("0").unwrap();
    }
    is_throttled(throttled.get("0"));
    throttled.seconds(10);
    // Switched off, nothing is counted or refused.
    throttled.tables.set_throttling(false);
    for _ in 0..1_000 {
        throttled.put(key("more")).unwrap();
    }
    throttled.tables.set_throttling(true);
    throttled.put(key("more")).unwrap();
}

#[test]
fn a_change_of_capacity_is_felt_at_once() {
    let throttled = Throttled::new(1, None);
    assert_eq!(throttled.puts(), 1);
    let table_name = TABLE.to_owned();
    let provisioned_throughput = Some(throughput(10, 10));
    let request = UpdateTableRequest { table_name, provisioned_throughput, ..Default::default() };
    throttled.tables.update_table(request.clone()).unwrap();
    is_throttled(throttled.put(key("more")));
    throttled.seconds(1);
    throttled.put(key("more")).unwrap();
    throttled.seconds(1);
    assert_eq!(throttled.puts(), 19);
    let by_request = UpdateTableRequest {
        billing_mode: Some(BillingMode::PayPerRequest),
        provisioned_throughput: None,
        on_demand_throughput: Some(OnDemandThroughput {
            max_read_request_units: None,
            max_write_request_units: Some(5),
        }),
        ..request
    };
    throttled.tables.update_table(by_request).unwrap();
    throttled.seconds(1_000);
    assert_eq!(throttled.puts(), 5);
    let error = throttled.put(key("more")).unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::Throttling);
    assert_eq!(error.message(), message::control::ON_DEMAND_LIMIT);
    for _ in 0..1_000 {
        throttled.get("0").unwrap();
    }
}

#[test]
fn limits_of_an_index_hold_beside_those_of_its_table() {
    let throttled = Throttled::new(100, Some(100));
    let limits = |read, write| {
        Some(OnDemandThroughput { max_read_request_units: read, max_write_request_units: write })
    };
    let of_index = |on_demand_throughput| {
        Some(vec![GlobalSecondaryIndexUpdate {
            update: Some(UpdateGlobalSecondaryIndexAction {
                index_name: INDEX.to_owned(),
                on_demand_throughput,
                ..Default::default()
            }),
            ..Default::default()
        }])
    };
    let request = UpdateTableRequest {
        table_name: TABLE.to_owned(),
        global_secondary_index_updates: of_index(limits(Some(1), Some(3))),
        ..Default::default()
    };
    let by_request =
        UpdateTableRequest { billing_mode: Some(BillingMode::PayPerRequest), ..request.clone() };
    throttled.tables.update_table(by_request).unwrap();
    throttled.seconds(1_000);
    let indexed = |n: u64| item([("pk", format!("i{n}").as_str().into()), ("a", "x".into())]);
    let puts = || (0..1_000).take_while(|n| throttled.put(indexed(*n)).is_ok()).count();
    assert_eq!(puts(), 3);
    let error = throttled.put(indexed(1_001)).unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::Throttling);
    assert_eq!(error.message(), message::control::ON_DEMAND_LIMIT);
    // What is not in the index uses nothing of it, and the table's own reads have no limit.
    assert_eq!(throttled.puts(), 10_000);
    for _ in 0..100 {
        throttled.get("i0").unwrap();
    }
    let scan = || {
        throttled.tables.scan(ScanRequest {
            table_name: TABLE.to_owned(),
            index_name: Some(INDEX.to_owned()),
            ..Default::default()
        })
    };
    while scan().is_ok() {}
    assert_eq!(scan().unwrap_err().kind(), TableErrorKind::Throttling);
    let lifted = UpdateTableRequest {
        global_secondary_index_updates: of_index(limits(Some(-1), Some(-1))),
        ..request
    };
    throttled.tables.update_table(lifted).unwrap();
    scan().unwrap();
    assert_eq!(puts(), 1_000);
}

#[test]
fn every_operation_uses_what_it_reports() {
    let throttled = Throttled::new(10, None);
    let tables = &throttled.tables;
    throttled.put(key("x")).unwrap();
    // What is left of 10 units after each: 9 of writes.
    let table_name = || TABLE.to_owned();
    let update = |expression: &str| UpdateItemRequest {
        table_name: table_name(),
        key: key("x"),
        update_expression: Some(expression.to_owned()),
        ..Default::default()
    };
    tables.update_item(update("REMOVE nothing")).unwrap();
    let conditional = PutItemRequest {
        table_name: table_name(),
        item: key("x"),
        condition_expression: Some("attribute_not_exists(pk)".to_owned()),
        ..Default::default()
    };
    let failed = tables.put_item(conditional.clone()).unwrap_err();
    assert_eq!(failed.kind(), TableErrorKind::ConditionalCheckFailed);
    delete(tables, key("nothing"));
    let action = |action, condition: Option<&str>| TransactWriteItem {
        table_name: table_name(),
        action,
        condition_expression: condition.map(str::to_owned),
        ..Default::default()
    };
    let transaction = TransactWriteItemsRequest {
        transact_items: vec![
            action(TransactAction::Put(key("y")), None),
            action(TransactAction::ConditionCheck(key("x")), Some("attribute_exists(pk)")),
        ],
        ..Default::default()
    };
    tables.transact_write_items(transaction.clone()).unwrap();
    // 1 put, 1 update, 1 failed put, 1 delete, twice 2 of the transaction: 2 are left.
    assert_eq!(throttled.puts(), 2);
    is_throttled(tables.update_item(update("REMOVE nothing")));
    is_throttled(tables.put_item(conditional));
    let error = tables.transact_write_items(transaction).unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::TransactionCanceled);
    for reason in error.cancellation_reasons() {
        assert_eq!(reason.code, "ProvisionedThroughputExceeded");
        assert_eq!(reason.message.as_deref(), Some(message::THROTTLED));
    }

    // Reads: 10 units.
    let consistent = GetItemRequest {
        table_name: table_name(),
        key: key("x"),
        consistent_read: Some(true),
        ..Default::default()
    };
    tables.get_item(consistent).unwrap();
    let scan = || ScanRequest { table_name: table_name(), ..Default::default() };
    tables.scan(scan()).unwrap();
    let gets = TransactGetItemsRequest {
        transact_items: vec![TransactGet {
            table_name: table_name(),
            key: key("x"),
            ..Default::default()
        }],
        ..Default::default()
    };
    tables.transact_get_items(gets.clone()).unwrap();
    // 1, a half and 2 are used.
    for _ in 0..13 {
        throttled.get("x").unwrap();
    }
    is_throttled(throttled.get("x"));
    is_throttled(tables.scan(scan()));
    let error = tables.transact_get_items(gets).unwrap_err();
    assert_eq!(error.cancellation_reasons()[0].code, "ProvisionedThroughputExceeded");
}

#[test]
fn batches_do_what_they_can() {
    let throttled = Throttled::new(3, None);
    let tables = &throttled.tables;
    let puts: Vec<_> = (0..5).map(|n| WriteRequest::Put(key(&n.to_string()))).collect();
    let write = |puts: &[WriteRequest]| {
        let request_items = BTreeMap::from([(TABLE.to_owned(), puts.to_vec())]);
        tables.batch_write_item(BatchWriteItemRequest { request_items, ..Default::default() })
    };
    let left = write(&puts).unwrap().unprocessed_items;
    assert_eq!(left[TABLE], puts[3..]);
    is_throttled(write(&left[TABLE]));
    throttled.seconds(1);
    assert_eq!(write(&left[TABLE]).unwrap().unprocessed_items, BTreeMap::new());
    let keys: Vec<Item> = (0..5).map(|n| key(&n.to_string())).collect();
    let read = |keys: &[Item]| {
        let wanted = KeysAndAttributes {
            keys: keys.to_vec(),
            consistent_read: Some(true),
            ..Default::default()
        };
        let request_items = BTreeMap::from([(TABLE.to_owned(), wanted)]);
        tables.batch_get_item(BatchGetItemRequest { request_items, ..Default::default() })
    };
    let answer = read(&keys).unwrap();
    assert_eq!(answer.responses[TABLE].len(), 3);
    let left = &answer.unprocessed_keys[TABLE].keys;
    assert_eq!(left, &keys[3..]);
    is_throttled(read(left));
    throttled.seconds(1);
    let answer = read(left).unwrap();
    assert_eq!(answer.responses[TABLE], keys[3..]);
}

#[test]
fn global_indexes_have_capacity_of_their_own() {
    let throttled = Throttled::new(100, Some(2));
    let indexed = |n: u32| item([("pk", n.to_string().as_str().into()), ("a", "x".into())]);
    for n in 0..2 {
        throttled.put(indexed(n)).unwrap();
    }
    let error = throttled.put(indexed(3)).unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::ProvisionedThroughputExceeded);
    assert_eq!(error.message(), message::control::INDEX_THROTTLED);
    // What the index does not have it does not hold up, and nothing of the other was written.
    throttled.put(key("4")).unwrap();
    assert_eq!(throttled.get("3").unwrap(), None);
    let write = WriteRequest::Put(indexed(5));
    let request_items = BTreeMap::from([(TABLE.to_owned(), vec![write])]);
    let request = BatchWriteItemRequest { request_items, ..Default::default() };
    let error = throttled.tables.batch_write_item(request).unwrap_err();
    assert_eq!(error.message(), message::control::INDEX_THROTTLED);
    let query = || {
        throttled.tables.query(QueryRequest {
            table_name: TABLE.to_owned(),
            index_name: Some(INDEX.to_owned()),
            key_condition_expression: Some("a = :a".to_owned()),
            expression_attribute_values: Some(item([(":a", "x".into())])),
            ..Default::default()
        })
    };
    for _ in 0..4 {
        assert_eq!(query().unwrap().count, 2);
    }
    assert_eq!(query().unwrap_err().message(), message::control::INDEX_THROTTLED);
    throttled.get("0").unwrap();
    throttled.seconds(1);
    throttled.put(indexed(3)).unwrap();
    assert_eq!(query().unwrap().count, 3);
}
