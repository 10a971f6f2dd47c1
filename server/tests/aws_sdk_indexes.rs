//! Secondary indexes through the unmodified AWS SDK for Rust, against the `esker` binary as a user starts it. Run by
//! `cargo test`; must never reach beyond loopback.

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
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, IndexStatus,
    KeySchemaElement, KeyType, LocalSecondaryIndex, Projection, ProjectionType,
    ReturnConsumedCapacity, ScalarAttributeType, Select,
};
use sdk::client;
use support::Server;

type Item = HashMap<String, AttributeValue>;

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_string())
}

fn n(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn item(attributes: &[(&str, AttributeValue)]) -> Item {
    attributes.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn key(elements: &[(&str, KeyType)]) -> Vec<KeySchemaElement> {
    let element = |(name, kind): &(&str, KeyType)| {
        KeySchemaElement::builder().attribute_name(*name).key_type(kind.clone()).build().unwrap()
    };
    elements.iter().map(element).collect()
}

fn projection(kind: ProjectionType, names: &[&str]) -> Projection {
    let names = names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let names = (!names.is_empty()).then_some(names);
    Projection::builder().projection_type(kind).set_non_key_attributes(names).build()
}

/// Games by player, with an index by title and score, one by tournament and region, and one by date.
async fn create_games(client: &Client) {
    use ScalarAttributeType::{N, S};
    let definitions = [
        ("player", S),
        ("game", S),
        ("title", S),
        ("score", N),
        ("tournament", S),
        ("area", S),
        ("played", N),
    ];
    let definition = |(name, kind): (&str, ScalarAttributeType)| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let global = |name: &str, elements: &[(&str, KeyType)], projection: Projection| {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .set_key_schema(Some(key(elements)))
            .projection(projection)
            .build()
            .unwrap()
    };
    let by_title = [("title", KeyType::Hash), ("score", KeyType::Range)];
    let by_match = [
        ("tournament", KeyType::Hash),
        ("area", KeyType::Hash),
        ("score", KeyType::Range),
        ("played", KeyType::Range),
    ];
    let by_date = LocalSecondaryIndex::builder()
        .index_name("by_date")
        .set_key_schema(Some(key(&[("player", KeyType::Hash), ("played", KeyType::Range)])))
        .projection(projection(ProjectionType::Include, &["title"]))
        .build()
        .unwrap();
    client
        .create_table()
        .table_name("Games")
        .set_attribute_definitions(Some(definitions.into_iter().map(definition).collect()))
        .set_key_schema(Some(key(&[("player", KeyType::Hash), ("game", KeyType::Range)])))
        .global_secondary_indexes(global(
            "by_title",
            &by_title,
            projection(ProjectionType::All, &[]),
        ))
        .global_secondary_indexes(global(
            "by_match",
            &by_match,
            projection(ProjectionType::KeysOnly, &[]),
        ))
        .local_secondary_indexes(by_date)
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    for _ in 0..600 {
        let described = client.describe_table().table_name("Games").send().await.unwrap();
        let indexes = described.table.unwrap().global_secondary_indexes.unwrap();
        if indexes.iter().all(|index| index.index_status == Some(IndexStatus::Active)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the indexes never became active");
}

async fn put(client: &Client, item: &Item) {
    client.put_item().table_name("Games").set_item(Some(item.clone())).send().await.unwrap();
}

fn game(player: &str, game: &str, more: &[(&str, AttributeValue)]) -> Item {
    let key = [("player", s(player)), ("game", s(game))];
    item(&[&key[..], more].concat())
}

#[tokio::test]
async fn games_are_found_by_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let client = client(&server);
    create_games(&client).await;
    let tied: Vec<Item> = ["ada", "bea", "cem", "dan", "eva"]
        .iter()
        .map(|player| game(player, "1", &[("title", s("Go")), ("score", n(7))]))
        .collect();
    for item in &tied {
        put(&client, item).await;
    }
    put(&client, &game("ada", "2", &[("title", s("Go")), ("score", n(-1)), ("played", n(5))]))
        .await;
    put(&client, &game("ada", "3", &[("title", s("Chess")), ("played", n(-5)), ("note", s("x"))]))
        .await;

    // Five are tied on their index key; each is paged once, in both directions.
    for forward in [true, false] {
        let pages: Result<Vec<Item>, _> = client
            .query()
            .table_name("Games")
            .index_name("by_title")
            .key_condition_expression("title = :t AND score = :s")
            .expression_attribute_values(":t", s("Go"))
            .expression_attribute_values(":s", n(7))
            .scan_index_forward(forward)
            .limit(1)
            .into_paginator()
            .items()
            .send()
            .collect()
            .await;
        let mut players: Vec<String> =
            pages.unwrap().iter().map(|item| item["player"].as_s().unwrap().clone()).collect();
        players.sort();
        assert_eq!(players, ["ada", "bea", "cem", "dan", "eva"]);
    }
    local_index(&client).await;
    refusals(&client).await;
    several_attributes(&client).await;
    capacity(&client).await;

    // All of it is there after a restart.
    drop(client);
    drop(server);
    let server = Server::start(&data);
    let table =
        sdk::client(&server).describe_table().table_name("Games").send().await.unwrap().table;
    let table = table.unwrap();
    assert_eq!(table.attribute_definitions().len(), 7);
    let by_title = &table.global_secondary_indexes()[0];
    assert_eq!(by_title.item_count(), Some(6));
    assert!(by_title.index_size_bytes() > Some(0));
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/Games/index/by_title";
    assert_eq!(by_title.index_arn(), Some(arn));
    assert_eq!(table.local_secondary_indexes()[0].index_name(), Some("by_date"));
}

async fn local_index(client: &Client) {
    let by_date = || {
        client
            .query()
            .table_name("Games")
            .index_name("by_date")
            .key_condition_expression("player = :p")
            .expression_attribute_values(":p", s("ada"))
            .consistent_read(true)
    };
    let found = by_date().send().await.unwrap();
    let games: Vec<&String> =
        found.items().iter().map(|item| item["game"].as_s().unwrap()).collect();
    assert_eq!(games, ["3", "2"]);
    assert!(!found.items()[0].contains_key("note"));
    let all = by_date().select(Select::AllAttributes).send().await.unwrap();
    assert_eq!(all.items()[0]["note"], s("x"));
}

async fn refusals(client: &Client) {
    let read = client
        .query()
        .table_name("Games")
        .index_name("by_title")
        .key_condition_expression("title = :t")
        .expression_attribute_values(":t", s("Go"))
        .consistent_read(true)
        .send()
        .await
        .unwrap_err();
    assert_eq!(read.code(), Some("ValidationException"));
    assert_eq!(
        read.message(),
        Some("Consistent reads are not supported on global secondary indexes")
    );
    let unknown = client.scan().table_name("Games").index_name("nothing").send().await.unwrap_err();
    assert_eq!(unknown.code(), Some("ValidationException"));
    for (value, message) in [
        (s(""), "cannot contain an empty string value. IndexName: by_title, IndexKey: title"),
        (AttributeValue::Null(true), "Expected: S Actual: NULL IndexName: by_title"),
        (n(1), "Type mismatch for Index Key title Expected: S Actual: N IndexName: by_title"),
    ] {
        let wrong = game("eva", "9", &[("title", value)]);
        let refused = client.put_item().table_name("Games").set_item(Some(wrong)).send().await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Some("ValidationException"));
        assert!(refused.message().unwrap().ends_with(message), "{refused:?}");
    }
    let absent = game("eva", "9", &[("score", n(1))]);
    put(client, &absent).await;
    let indexed = client.scan().table_name("Games").index_name("by_title").send().await.unwrap();
    assert_eq!(indexed.count, 6);
}

async fn several_attributes(client: &Client) {
    let place = [("tournament", s("winter")), ("area", s("north"))];
    for (number, score, played) in [("m1", 1, 3), ("m2", 1, -2), ("m3", 0, 9)] {
        let more = [("score", n(score)), ("played", n(played))];
        put(client, &game("fay", number, &[&place[..], &more].concat())).await;
    }
    let query = |condition: &str| {
        client
            .query()
            .table_name("Games")
            .index_name("by_match")
            .key_condition_expression(format!("tournament = :t AND area = :a{condition}"))
            .expression_attribute_values(":t", s("winter"))
            .expression_attribute_values(":a", s("north"))
    };
    let games = |items: &[Item]| -> Vec<String> {
        items.iter().map(|item| item["game"].as_s().unwrap().clone()).collect()
    };
    let all = query("").send().await.unwrap();
    assert_eq!(games(all.items()), ["m3", "m2", "m1"]);
    let some = query(" AND score = :s AND played > :p");
    let some = some.expression_attribute_values(":s", n(1)).expression_attribute_values(":p", n(0));
    assert_eq!(games(some.send().await.unwrap().items()), ["m1"]);
    let skipped = query(" AND played > :p").expression_attribute_values(":p", n(0));
    let skipped = skipped.send().await.unwrap_err();
    assert_eq!(skipped.code(), Some("ValidationException"));
    assert!(skipped.message().unwrap().starts_with("RANGE key attributes score must have"));
}

async fn capacity(client: &Client) {
    let put = |score| {
        let item = game("gus", "1", &[("title", s("Go")), ("score", n(score))]);
        client
            .put_item()
            .table_name("Games")
            .set_item(Some(item))
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
    };
    for (score, of_index) in [(1, Some(1.0)), (1, None), (2, Some(2.0))] {
        let consumed = put(score).await.unwrap().consumed_capacity.unwrap();
        let index = consumed.global_secondary_indexes().and_then(|shares| shares.get("by_title"));
        assert_eq!(index.and_then(|share| share.capacity_units()), of_index);
        assert_eq!(consumed.table().unwrap().capacity_units(), Some(1.0));
        assert_eq!(consumed.capacity_units(), Some(1.0 + of_index.unwrap_or(0.0)));
    }
    let key = item(&[("player", s("gus")), ("game", s("1"))]);
    client.delete_item().table_name("Games").set_key(Some(key)).send().await.unwrap();
}
