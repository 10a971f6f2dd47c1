//! The employee directory through the unmodified AWS SDK for Rust, against the `esker` binary as a user starts it: on
//! a port of its own choice, with a temporary data directory. Run by `cargo test`; must never reach beyond loopback.

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
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, ConditionCheck, Delete, DeleteRequest, Get,
    KeySchemaElement, KeyType, KeysAndAttributes, Put, PutRequest, ReturnConsumedCapacity,
    ReturnValue, ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableStatus,
    TransactGetItem, TransactWriteItem, Update, WriteRequest,
};
use sdk::client;
use support::Server;

type Item = HashMap<String, AttributeValue>;

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_string())
}

fn n(number: &str) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn item(attributes: &[(&str, AttributeValue)]) -> Item {
    attributes.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn key(department: &str, id: &str) -> Item {
    item(&[("department", s(department)), ("id", n(id))])
}

/// Two employees who need not have the same attributes: one has a badge, the other a nested address and a picture.
fn ada_and_grace() -> (Item, Item) {
    let ada = item(&[
        ("department", s("engines")),
        ("id", n("1")),
        ("name", s("Ada")),
        ("badge", s("A-0001")),
        ("salary", n("12345678901234567890.123456789")),
        ("skills", AttributeValue::Ss(vec!["analysis".into(), "poetry".into()])),
    ]);
    let address = HashMap::from([
        ("city".to_string(), s("Arlington")),
        ("lines".to_string(), AttributeValue::L(vec![s("1 Main St"), AttributeValue::Null(true)])),
    ]);
    let grace = item(&[
        ("department", s("engines")),
        ("id", n("2")),
        ("name", s("Grace")),
        ("address", AttributeValue::M(address)),
        ("picture", AttributeValue::B(Blob::new([0, 159, 146, 150]))),
        ("remote", AttributeValue::Bool(true)),
    ]);
    (ada, grace)
}

async fn create_table(client: &Client, name: &str) {
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let element = |name: &str, kind| {
        KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
    };
    let created = client
        .create_table()
        .table_name(name)
        .attribute_definitions(attribute("department", ScalarAttributeType::S))
        .attribute_definitions(attribute("id", ScalarAttributeType::N))
        .key_schema(element("department", KeyType::Hash))
        .key_schema(element("id", KeyType::Range))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    assert_eq!(created.table_description.unwrap().table_name.as_deref(), Some(name));
    // As every client does: wait until the table can be used.
    for _ in 0..600 {
        let described = client.describe_table().table_name(name).send().await.unwrap();
        if described.table.unwrap().table_status == Some(TableStatus::Active) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} never became active");
}

async fn put(client: &Client, item: &Item) {
    client.put_item().table_name("Employees").set_item(Some(item.clone())).send().await.unwrap();
}

async fn get(client: &Client, key: Item) -> Option<Item> {
    let request = client.get_item().table_name("Employees").set_key(Some(key));
    request.consistent_read(true).send().await.unwrap().item
}

#[tokio::test]
async fn the_employee_directory() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let client = client(&server);
    create_table(&client, "Employees").await;
    let (ada, grace) = ada_and_grace();
    put(&client, &ada).await;
    put(&client, &grace).await;
    assert_eq!(get(&client, key("engines", "1")).await.as_ref(), Some(&ada));
    // Another spelling of the same number is the same key.
    assert_eq!(get(&client, key("engines", "2.0")).await.as_ref(), Some(&grace));
    assert_eq!(get(&client, key("engines", "3")).await, None);

    query_and_scan(&client, &ada, &grace).await;
    batches(&client).await;
    deletes(&client, &ada, &grace).await;
}

async fn query_and_scan(client: &Client, ada: &Item, grace: &Item) {
    let query = || {
        client
            .query()
            .table_name("Employees")
            .key_condition_expression("department = :department AND id >= :id")
            .expression_attribute_values(":department", s("engines"))
            .expression_attribute_values(":id", n("1"))
    };
    let both = query().send().await.unwrap();
    assert_eq!(both.count, 2);
    assert_eq!(both.items(), [ada.clone(), grace.clone()]);
    let backward = query().scan_index_forward(false).send().await.unwrap();
    assert_eq!(backward.items(), [grace.clone(), ada.clone()]);
    let first = query().limit(1).send().await.unwrap();
    assert_eq!(first.items(), std::slice::from_ref(ada));
    let second =
        query().limit(1).set_exclusive_start_key(first.last_evaluated_key).send().await.unwrap();
    assert_eq!(second.items(), std::slice::from_ref(grace));

    let pages: Result<Vec<Item>, _> = client
        .scan()
        .table_name("Employees")
        .limit(1)
        .into_paginator()
        .items()
        .send()
        .collect()
        .await;
    assert_eq!(pages.unwrap(), [ada.clone(), grace.clone()]);
}

async fn batches(client: &Client) {
    let visitor = |id: usize| item(&[("department", s("visitors")), ("id", n(&id.to_string()))]);
    let requests: Vec<WriteRequest> = (0..25)
        .map(|id| {
            let put = PutRequest::builder().set_item(Some(visitor(id))).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        })
        .collect();
    let written =
        client.batch_write_item().request_items("Employees", requests).send().await.unwrap();
    assert!(written.unprocessed_items.unwrap_or_default().is_empty());

    let keys: Vec<Item> = (0..30).map(|id| key("visitors", &id.to_string())).collect();
    let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).build().unwrap();
    let read = client.batch_get_item().request_items("Employees", wanted).send().await.unwrap();
    assert!(read.unprocessed_keys.unwrap_or_default().is_empty());
    let mut found = read.responses.unwrap().remove("Employees").unwrap();
    found.sort_by_key(|item| item["id"].as_n().unwrap().parse::<usize>().unwrap());
    assert_eq!(found, (0..25).map(visitor).collect::<Vec<_>>());

    let requests: Vec<WriteRequest> = (0..25)
        .map(|id| {
            let key = key("visitors", &id.to_string());
            let delete = DeleteRequest::builder().set_key(Some(key)).build().unwrap();
            WriteRequest::builder().delete_request(delete).build()
        })
        .collect();
    client.batch_write_item().request_items("Employees", requests).send().await.unwrap();
    assert_eq!(get(client, key("visitors", "7")).await, None);
}

async fn deletes(client: &Client, ada: &Item, grace: &Item) {
    let delete = || {
        client
            .delete_item()
            .table_name("Employees")
            .set_key(Some(key("engines", "1")))
            .return_values(ReturnValue::AllOld)
    };
    assert_eq!(delete().send().await.unwrap().attributes.as_ref(), Some(ada));
    assert_eq!(delete().send().await.unwrap().attributes, None, "deleting nothing is no error");
    let left = client.scan().table_name("Employees").send().await.unwrap();
    assert_eq!(left.items(), std::slice::from_ref(grace));
}

#[tokio::test]
async fn tables_are_listed_in_pages_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let client = client(&server);
    let names: Vec<String> = (0..5).map(|number| format!("Table-{number}")).collect();
    for name in &names {
        create_table(&client, name).await;
    }
    let first = client.list_tables().limit(2).send().await.unwrap();
    assert_eq!(first.table_names(), &names[..2]);
    assert_eq!(first.last_evaluated_table_name.as_deref(), Some("Table-1"));
    let all: Result<Vec<String>, _> =
        client.list_tables().limit(2).into_paginator().items().send().collect().await;
    assert_eq!(all.unwrap(), names);

    client.delete_table().table_name("Table-3").send().await.unwrap();
    for _ in 0..600 {
        let described = client.describe_table().table_name("Table-3").send().await;
        if let Err(error) = described {
            assert_eq!(error.code(), Some("ResourceNotFoundException"), "{error:?}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("Table-3 was never gone");
}

#[tokio::test]
async fn errors_arrive_as_the_sdk_types_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let client = client(&server);
    let missing = client
        .get_item()
        .table_name("Nowhere")
        .set_key(Some(key("engines", "1")))
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(missing.is_resource_not_found_exception(), "{missing:?}");

    create_table(&client, "Employees").await;
    let again = client
        .create_table()
        .table_name("Employees")
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name("id")
                .attribute_type(ScalarAttributeType::S)
                .build()
                .unwrap(),
        )
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name("id")
                .key_type(KeyType::Hash)
                .build()
                .unwrap(),
        )
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(again.is_resource_in_use_exception(), "{again:?}");

    // The sort key is missing.
    let invalid = client
        .put_item()
        .table_name("Employees")
        .item("department", s("engines"))
        .send()
        .await
        .unwrap_err();
    assert_eq!(invalid.code(), Some("ValidationException"), "{invalid:?}");
    assert!(invalid.message().is_some_and(|message| !message.is_empty()), "{invalid:?}");

    // An operation that the protocol has and this server does not.
    let unknown = client
        .update_global_table_settings()
        .global_table_name("Employees")
        .send()
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Some("UnknownOperationException"), "{unknown:?}");
}

fn raise(id: &str, by: &str) -> TransactWriteItem {
    let update = Update::builder()
        .table_name("Employees")
        .set_key(Some(key("engines", id)))
        .update_expression("ADD raises :by")
        .expression_attribute_values(":by", n(by))
        .build()
        .unwrap();
    TransactWriteItem::builder().update(update).build()
}

fn hire(employee: &Item) -> TransactWriteItem {
    let put = Put::builder()
        .table_name("Employees")
        .set_item(Some(employee.clone()))
        .condition_expression("attribute_not_exists(id)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .unwrap();
    TransactWriteItem::builder().put(put).build()
}

/// The SDK makes a token for every call that has none, so each of these has one.
#[tokio::test]
async fn transactions_are_whole_and_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let client = client(&server);
    create_table(&client, "Employees").await;
    let (ada, grace) = ada_and_grace();
    put(&client, &ada).await;
    let leave = Delete::builder()
        .table_name("Employees")
        .set_key(Some(key("engines", "9")))
        .build()
        .unwrap();
    let exists = ConditionCheck::builder()
        .table_name("Employees")
        .set_key(Some(key("engines", "1")))
        .condition_expression("attribute_exists(badge)")
        .build()
        .unwrap();
    let written = client
        .transact_write_items()
        .transact_items(hire(&grace))
        .transact_items(TransactWriteItem::builder().delete(leave).build())
        .transact_items(TransactWriteItem::builder().condition_check(exists).build())
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send()
        .await
        .unwrap();
    let capacity = &written.consumed_capacity()[0];
    assert_eq!(
        (capacity.capacity_units(), capacity.write_capacity_units()),
        (Some(6.0), Some(6.0))
    );

    let error = client
        .transact_write_items()
        .transact_items(raise("1", "5"))
        .transact_items(hire(&grace))
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    let message = "Transaction cancelled, please refer cancellation reasons for specific reasons \
                   [None, ConditionalCheckFailed]";
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError
        ::TransactionCanceledException(canceled) = error else { panic!("{error:?}") };
    assert_eq!(canceled.message(), Some(message));
    let reasons = canceled.cancellation_reasons();
    assert_eq!(reasons[0].code(), Some("None"));
    assert_eq!(reasons[1].code(), Some("ConditionalCheckFailed"));
    assert_eq!(reasons[1].message(), Some("The conditional request failed"));
    assert_eq!(reasons[1].item(), Some(&grace));

    let raises = async |client: &Client, by: &str| {
        let request = client.transact_write_items().client_request_token("raises of the year");
        request.transact_items(raise("1", by)).transact_items(raise("2", by)).send().await
    };
    raises(&client, "5").await.unwrap();
    // An answer that the client may not have seen: the process is killed.
    server.kill();
    let server = Server::start(&folder.path().join("data"));
    let client = sdk::client(&server);
    raises(&client, "5").await.unwrap();
    let error = raises(&client, "6").await.unwrap_err().into_service_error();
    assert!(error.is_idempotent_parameter_mismatch_exception(), "{error:?}");
    assert!(error.message().is_some_and(|message| !message.is_empty()), "{error:?}");

    let wanted = |id: &str| {
        let get = Get::builder()
            .table_name("Employees")
            .set_key(Some(key("engines", id)))
            .projection_expression("raises")
            .build()
            .unwrap();
        TransactGetItem::builder().get(get).build()
    };
    let read = client
        .transact_get_items()
        .transact_items(wanted("2"))
        .transact_items(wanted("3"))
        .transact_items(wanted("1"))
        .send()
        .await
        .unwrap();
    let items: Vec<Option<&Item>> = read.responses().iter().map(|answer| answer.item()).collect();
    let raised = item(&[("raises", n("5"))]);
    assert_eq!(items, [Some(&raised), None, Some(&raised)]);
}
