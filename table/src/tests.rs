//! Tests of whole tables, through the operations: against a model, under concurrency, across power
//! cuts, and of the service's limits and wordings; transactions too. What they share is here.

mod answers;
mod batches;
mod collections;
mod concurrency;
mod control;
mod crash;
mod expressions;
mod index_limits;
mod index_model;
mod index_options;
mod index_races;
mod index_transactions;
mod index_updates;
mod index_upkeep;
mod indexes;
mod legacy;
mod model;
mod pages;
mod serialisable;
mod throttling;
mod transactions;
mod updates;

use crate::operation::{
    CreateTableRequest, DeleteItemRequest, DescribeTableRequest, GetItemRequest, PutItemRequest,
    QueryRequest, ReturnValues, ScanRequest,
};
use crate::schema::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TableDescription,
};
use crate::{AttributeValue, Item, Tables};

const TABLE: &str = "things";

/// A database in a directory that goes with it.
struct Fixture {
    tables: Tables,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { tables: open(&dir), dir }
    }

    fn reopened(self) -> Self {
        self.tables.close().unwrap();
        Self { tables: open(&self.dir), dir: self.dir }
    }
}

pub(crate) fn open(dir: &tempfile::TempDir) -> Tables {
    let builder = esker::Db::builder().durability(esker::Durability::Buffered);
    Tables::open(builder.open(dir.path()).unwrap()).unwrap()
}

/// A table with partition key `pk` (a string) and, with a type, sort key `sk`.
pub(crate) fn create(
    tables: &Tables,
    name: &str,
    sort: Option<ScalarAttributeType>,
) -> TableDescription {
    let definition = |name: &str, attribute_type| AttributeDefinition {
        attribute_name: name.to_owned(),
        attribute_type,
    };
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    let mut attribute_definitions = vec![definition("pk", ScalarAttributeType::S)];
    let mut key_schema = vec![element("pk", KeyType::Hash)];
    if let Some(sort) = sort {
        attribute_definitions.push(definition("sk", sort));
        key_schema.push(element("sk", KeyType::Range));
    }
    let request = CreateTableRequest {
        table_name: name.to_owned(),
        attribute_definitions,
        key_schema,
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    };
    tables.create_table(request).unwrap().table_description
}

pub(crate) fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn put(tables: &Tables, item: Item) -> Option<Item> {
    let request = PutItemRequest {
        table_name: TABLE.to_owned(),
        item,
        return_values: Some(ReturnValues::AllOld),
        ..Default::default()
    };
    tables.put_item(request).unwrap().attributes
}

fn delete(tables: &Tables, key: Item) -> Option<Item> {
    let request = DeleteItemRequest {
        table_name: TABLE.to_owned(),
        key,
        return_values: Some(ReturnValues::AllOld),
        ..Default::default()
    };
    tables.delete_item(request).unwrap().attributes
}

fn get(tables: &Tables, key: Item) -> Option<Item> {
    let request = GetItemRequest { table_name: TABLE.to_owned(), key, ..Default::default() };
    tables.get_item(request).unwrap().item
}

fn describe(tables: &Tables) -> TableDescription {
    let request = DescribeTableRequest { table_name: TABLE.to_owned() };
    tables.describe_table(request).unwrap().table
}

/// The logical size of an item.
fn size_of(item: &Item) -> u64 {
    crate::validate::prepare_item(&mut item.clone()).unwrap() as u64
}

/// All pages of a scan, one after the other.
fn scan_all(tables: &Tables, request: ScanRequest) -> Vec<Item> {
    let mut items = Vec::new();
    let mut start = None;
    loop {
        let request = ScanRequest {
            table_name: TABLE.to_owned(),
            exclusive_start_key: start,
            ..request.clone()
        };
        let page = tables.scan(request).unwrap();
        let page_items = page.items.unwrap();
        assert_eq!(page.count as usize, page_items.len());
        items.extend(page_items);
        start = page.last_evaluated_key;
        if start.is_none() {
            return items;
        }
    }
}

/// All pages of a query, one after the other.
fn query_all(tables: &Tables, request: &QueryRequest) -> Vec<Item> {
    let mut items = Vec::new();
    let mut start = None;
    loop {
        let request = QueryRequest { exclusive_start_key: start, ..request.clone() };
        let page = tables.query(request).unwrap();
        items.extend(page.items.unwrap());
        start = page.last_evaluated_key;
        if start.is_none() {
            return items;
        }
    }
}

/// Checks that the table says how many items it has and how large they are together.
fn assert_counts_true(tables: &Tables) {
    let items = scan_all(tables, ScanRequest::default());
    let description = describe(tables);
    assert_eq!(description.item_count, items.len() as u64);
    assert_eq!(description.table_size_bytes, items.iter().map(size_of).sum::<u64>());
}

/// Numbers that follow from a seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
