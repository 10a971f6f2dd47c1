//! An employee directory in tables embedded into a program: create a table, put employees with and
//! without a badge, read one, list all, take one out, and find everything again after reopening.
//! Run it with `cargo run -p esker-table --example employees`; it leaves nothing behind.

use std::error::Error;

use esker_table::operation::{
    CreateTableRequest, DeleteItemRequest, DescribeTableRequest, GetItemRequest, PutItemRequest,
    QueryRequest, ReturnValues, ScanRequest,
};
use esker_table::schema::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use esker_table::{AttributeValue, Item, Tables};

const TABLE: &str = "employees";

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let tables = Tables::open(esker::Db::open(dir.path())?)?;

    let created = tables.create_table(CreateTableRequest {
        table_name: TABLE.into(),
        attribute_definitions: vec![AttributeDefinition {
            attribute_name: "employee_id".into(),
            attribute_type: ScalarAttributeType::S,
        }],
        key_schema: vec![KeySchemaElement {
            attribute_name: "employee_id".into(),
            key_type: KeyType::Hash,
        }],
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    })?;
    println!("created {}", created.table_description.table_arn);

    // Only the key is fixed; every item may have attributes of its own.
    let employees = [
        employee("e1", "Ada", &[("badge", 1815.into()), ("team", "engines".into())]),
        employee("e2", "Bob", &[]),
        employee("e3", "Chiyo", &[("badge", 42.into())]),
    ];
    for item in employees {
        println!("put     {item:?}");
        tables.put_item(PutItemRequest { table_name: TABLE.into(), item, ..Default::default() })?;
    }

    let found = tables.get_item(GetItemRequest {
        table_name: TABLE.into(),
        key: key("e1"),
        ..Default::default()
    })?;
    println!("get e1  {:?}", found.item);

    let queried = tables.query(QueryRequest {
        table_name: TABLE.into(),
        key_condition_expression: Some("employee_id = :id".into()),
        expression_attribute_values: Some([(":id".into(), "e2".into())].into()),
        ..Default::default()
    })?;
    println!("query   {} item(s): {:?}", queried.count, queried.items.unwrap_or_default());

    let deleted = tables.delete_item(DeleteItemRequest {
        table_name: TABLE.into(),
        key: key("e3"),
        return_values: Some(ReturnValues::AllOld),
        ..Default::default()
    })?;
    println!("deleted {:?}", deleted.attributes);
    tables.close()?;

    let tables = Tables::open(esker::Db::open(dir.path())?)?;
    let page = tables.scan(ScanRequest { table_name: TABLE.into(), ..Default::default() })?;
    for item in page.items.unwrap_or_default() {
        let badge = if item.contains_key("badge") { "has a badge" } else { "has no badge" };
        println!("scan    {:?} {badge}", item.get("name"));
    }
    let described = tables.describe_table(DescribeTableRequest { table_name: TABLE.into() })?.table;
    println!("{} items, {} bytes", described.item_count, described.table_size_bytes);
    tables.close()?;
    Ok(())
}

fn key(id: &str) -> Item {
    Item::from([("employee_id".into(), id.into())])
}

fn employee(id: &str, name: &str, more: &[(&str, AttributeValue)]) -> Item {
    let mut item = key(id);
    item.insert("name".into(), name.into());
    item.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    item
}
