//! Global indexes that a table gets and loses while it is used, through the unmodified AWS SDK for Rust, against the
//! `esker` binary, which is killed meanwhile. Must never reach beyond loopback.

#![allow(clippy::unwrap_used)]
// The rule that only `vfs` touches files and clocks is for the product, not for what drives it from outside.
#![allow(clippy::disallowed_methods)]

#[path = "support/sdk.rs"]
mod sdk;
mod support;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, CreateGlobalSecondaryIndexAction,
    DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, IndexStatus, KeySchemaElement,
    KeyType, Projection, ProjectionType, PutRequest, ScalarAttributeType, TableDescription,
    TableStatus, WriteRequest,
};
use sdk::client;
use support::Server;

const TABLE: &str = "Orders";
const INDEX: &str = "by_customer";
const ORDERS: usize = 2000;

fn definition(name: &str) -> AttributeDefinition {
    let builder = AttributeDefinition::builder().attribute_name(name);
    builder.attribute_type(ScalarAttributeType::S).build().unwrap()
}

fn element(name: &str, key_type: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(key_type).build().unwrap()
}

fn creation(name: &str) -> GlobalSecondaryIndexUpdate {
    let create = CreateGlobalSecondaryIndexAction::builder()
        .index_name(name)
        .key_schema(element("customer", KeyType::Hash))
        .key_schema(element("order", KeyType::Range))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .unwrap();
    GlobalSecondaryIndexUpdate::builder().create(create).build()
}

fn deletion(name: &str) -> GlobalSecondaryIndexUpdate {
    let delete = DeleteGlobalSecondaryIndexAction::builder().index_name(name).build().unwrap();
    GlobalSecondaryIndexUpdate::builder().delete(delete).build()
}

fn order(number: usize, customer: &str) -> HashMap<String, AttributeValue> {
    let text = |text: String| AttributeValue::S(text);
    HashMap::from([
        ("order".to_owned(), text(format!("order{number:05}"))),
        ("customer".to_owned(), text(customer.to_owned())),
        ("note".to_owned(), text("x".repeat(200))),
    ])
}

async fn describe(client: &Client) -> TableDescription {
    client.describe_table().table_name(TABLE).send().await.unwrap().table.unwrap()
}

async fn until_active(client: &Client) -> TableDescription {
    for _ in 0..6000 {
        let described = describe(client).await;
        if described.table_status == Some(TableStatus::Active) {
            return described;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the table never became active");
}

/// How many orders a customer has, by the index.
async fn count(client: &Client, customer: &str) -> usize {
    let pages = client
        .query()
        .table_name(TABLE)
        .index_name(INDEX)
        .key_condition_expression("customer = :c")
        .expression_attribute_values(":c", AttributeValue::S(customer.to_owned()))
        .into_paginator()
        .items()
        .send();
    pages.collect::<Result<Vec<_>, _>>().await.unwrap().len()
}

#[tokio::test]
async fn a_table_gets_an_index_although_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let first = client(&server);
    first
        .create_table()
        .table_name(TABLE)
        .attribute_definitions(definition("order"))
        .key_schema(element("order", KeyType::Hash))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    for numbers in (0..ORDERS).collect::<Vec<_>>().chunks(25) {
        let write = |number: &usize| {
            let put = PutRequest::builder().set_item(Some(order(*number, "ada"))).build();
            WriteRequest::builder().put_request(put.unwrap()).build()
        };
        let writes = numbers.iter().map(write).collect();
        first.batch_write_item().request_items(TABLE, writes).send().await.unwrap();
    }
    let update = |client: &Client, update| {
        let update = client.update_table().table_name(TABLE).global_secondary_index_updates(update);
        update
            .attribute_definitions(definition("order"))
            .attribute_definitions(definition("customer"))
    };
    let created = update(&first, creation(INDEX)).send().await.unwrap().table_description.unwrap();
    assert_eq!(created.table_status, Some(TableStatus::Updating));
    let index = &created.global_secondary_indexes()[0];
    assert_eq!(
        (&index.index_status, index.backfilling),
        (&Some(IndexStatus::Creating), Some(false))
    );
    // Writes go on, and the server is killed amid them.
    for number in 0..10 {
        let put = first.put_item().table_name(TABLE).set_item(Some(order(number, "bob")));
        put.send().await.unwrap();
    }
    drop(server);

    let server = Server::start(dir.path());
    let second = client(&server);
    for number in 10..20 {
        let put = second.put_item().table_name(TABLE).set_item(Some(order(number, "bob")));
        put.send().await.unwrap();
    }
    let active = until_active(&second).await;
    let index = &active.global_secondary_indexes()[0];
    assert_eq!((&index.index_status, index.backfilling), (&Some(IndexStatus::Active), None));
    assert_eq!(index.item_count, Some(ORDERS as i64));
    assert_eq!(active.attribute_definitions().len(), 2);
    assert_eq!((count(&second, "ada").await, count(&second, "bob").await), (ORDERS - 20, 20));

    let error = update(&second, deletion("nothing")).send().await.unwrap_err();
    assert_eq!(error.code(), Some("ResourceNotFoundException"));
    let both = update(&second, creation("one")).global_secondary_index_updates(creation("two"));
    let error = both.send().await.unwrap_err();
    assert_eq!(error.code(), Some("LimitExceededException"));
    assert_eq!(
        error.message(),
        Some(
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table"
        )
    );
    let deleting =
        update(&second, deletion(INDEX)).send().await.unwrap().table_description.unwrap();
    let index = &deleting.global_secondary_indexes()[0];
    assert_eq!(index.index_status, Some(IndexStatus::Deleting));
    drop(server);
    let server = Server::start(dir.path());
    let third = client(&server);
    assert_eq!(until_active(&third).await.global_secondary_indexes().len(), 0);
    let query = third
        .query()
        .table_name(TABLE)
        .index_name(INDEX)
        .key_condition_expression("customer = :c")
        .expression_attribute_values(":c", AttributeValue::S("ada".to_owned()));
    let error = query.send().await.unwrap_err();
    assert_eq!(error.message(), Some("The table does not have the specified index: by_customer"));
    third.delete_table().table_name(TABLE).send().await.unwrap();
}
