//! Changes and tags of tables through the unmodified AWS SDK for Rust, against the `esker` binary: what a tool that
//! manages tables asks for and finds. Must never reach beyond loopback.

#![allow(clippy::unwrap_used)]
// The rule that only `vfs` touches files and clocks is for the product, not for what drives it from outside.
#![allow(clippy::disallowed_methods)]

#[path = "support/sdk.rs"]
mod sdk;
mod support;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, OnDemandThroughput,
    ProvisionedThroughput, ScalarAttributeType, SseSpecification, SseStatus, SseType, TableClass,
    TableDescription, TableStatus, Tag, TimeToLiveStatus,
};
use sdk::client;
use support::Server;

const TABLE: &str = "Things";

fn throughput(read: i64, write: i64) -> ProvisionedThroughput {
    ProvisionedThroughput::builder()
        .read_capacity_units(read)
        .write_capacity_units(write)
        .build()
        .unwrap()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

async fn describe(client: &Client) -> TableDescription {
    client.describe_table().table_name(TABLE).send().await.unwrap().table.unwrap()
}

/// Why a call failed: its code and message.
macro_rules! failure {
    ($call:expr) => {{
        let error = $call.send().await.unwrap_err();
        (error.code().unwrap().to_owned(), error.message().unwrap().to_owned())
    }};
}

async fn create(client: &Client) -> TableDescription {
    let definition = AttributeDefinition::builder()
        .attribute_name("pk")
        .attribute_type(ScalarAttributeType::S)
        .build()
        .unwrap();
    let key =
        KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
    let created = client
        .create_table()
        .table_name(TABLE)
        .attribute_definitions(definition)
        .key_schema(key)
        .provisioned_throughput(throughput(5, 5))
        .table_class(TableClass::StandardInfrequentAccess)
        .sse_specification(SseSpecification::builder().enabled(true).sse_type(SseType::Kms).build())
        .tags(tag("team", "engines"))
        .deletion_protection_enabled(true)
        .send();
    created.await.unwrap().table_description.unwrap()
}

#[tokio::test]
async fn a_table_is_changed_and_a_refresh_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = client(&server);
    let created = create(&client).await;
    let arn = created.table_arn.unwrap();
    assert_eq!(created.table_status, Some(TableStatus::Creating));

    // What a refresh of Terraform asks for.
    let found = describe(&client).await;
    assert_eq!(
        found.table_class_summary.unwrap().table_class,
        Some(TableClass::StandardInfrequentAccess)
    );
    let sse = found.sse_description.unwrap();
    assert_eq!((sse.status, sse.sse_type), (Some(SseStatus::Enabled), Some(SseType::Kms)));
    assert!(sse.kms_master_key_arn.unwrap().starts_with("arn:aws:kms:"));
    assert_eq!(found.billing_mode_summary, None);
    let time_to_live = client.describe_time_to_live().table_name(TABLE).send().await.unwrap();
    assert_eq!(
        time_to_live.time_to_live_description.unwrap().time_to_live_status,
        Some(TimeToLiveStatus::Disabled)
    );
    client.describe_continuous_backups().table_name(TABLE).send().await.unwrap();
    let listed = client.list_tags_of_resource().resource_arn(&arn).send().await.unwrap();
    assert_eq!(listed.tags(), [tag("team", "engines")]);
    assert_eq!(listed.next_token, None);

    // Capacity.
    let update = || client.update_table().table_name(&arn);
    let answer =
        update().provisioned_throughput(throughput(10, 3)).send().await.unwrap().table_description;
    assert_eq!(answer.unwrap().table_status, Some(TableStatus::Updating));
    let found = describe(&client).await;
    assert_eq!(found.table_status, Some(TableStatus::Active));
    let now = found.provisioned_throughput.unwrap();
    assert_eq!((now.read_capacity_units, now.write_capacity_units), (Some(10), Some(3)));
    assert_eq!(now.number_of_decreases_today, Some(1));
    assert!(now.last_increase_date_time.is_some() && now.last_decrease_date_time.is_some());
    let (code, message) = failure!(update().provisioned_throughput(throughput(10, 3)));
    assert_eq!(code, "ValidationException");
    assert!(message.starts_with("The provisioned throughput for the table will not change."));

    // Billing.
    update()
        .billing_mode(BillingMode::PayPerRequest)
        .on_demand_throughput(OnDemandThroughput::builder().max_read_request_units(7).build())
        .send()
        .await
        .unwrap();
    let found = describe(&client).await;
    let billing = found.billing_mode_summary.unwrap();
    assert_eq!(billing.billing_mode, Some(BillingMode::PayPerRequest));
    assert!(billing.last_update_to_pay_per_request_date_time.is_some());
    assert_eq!(found.on_demand_throughput.unwrap().max_read_request_units, Some(7));
    assert_eq!(found.warm_throughput.unwrap().read_units_per_second, Some(12_000));

    // Protection.
    let (code, message) = failure!(client.delete_table().table_name(TABLE));
    assert_eq!(code, "ValidationException");
    assert!(message.ends_with("Disable deletion protection first."), "{message}");
    let (_, message) =
        failure!(update().deletion_protection_enabled(false).table_class(TableClass::Standard));
    assert!(message.ends_with("TableClass modification must be the only operation in the request"));
    let (_, message) = failure!(update());
    assert!(message.starts_with("At least one of ProvisionedThroughput, BillingMode"), "{message}");
    update().deletion_protection_enabled(false).send().await.unwrap();
    client.delete_table().table_name(&arn).send().await.unwrap();
    let (code, message) = failure!(update().deletion_protection_enabled(true));
    assert_eq!(code, "ResourceNotFoundException");
    assert_eq!(message, "Requested resource not found: Table: Things not found");
}

#[tokio::test]
async fn tags_are_put_taken_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let first = client(&server);
    let arn = create(&first).await.table_arn.unwrap();
    let put =
        |key: &str, value: &str| first.tag_resource().resource_arn(&arn).tags(tag(key, value));
    put("team", "analysis").tags(tag("stage", "")).send().await.unwrap();
    put("owner", "Ada").send().await.unwrap();
    first
        .untag_resource()
        .resource_arn(&arn)
        .tag_keys("owner")
        .tag_keys("nothing")
        .send()
        .await
        .unwrap();
    let (code, message) = failure!(put("aws:x", "1"));
    assert_eq!(code, "ValidationException");
    assert_eq!(message, "Tag Key cannot be prefixed with aws:, Key: aws:x");
    let (code, message) = failure!(first.list_tags_of_resource().resource_arn(TABLE));
    assert_eq!(code, "ValidationException");
    assert!(message.ends_with("ARNs must start with 'arn:': Things"), "{message}");
    let (code, _) = failure!(first.list_tags_of_resource().resource_arn("arn:aws:s3:::bucket"));
    assert_eq!(code, "AccessDeniedException");
    let (code, message) = failure!(first.list_tags_of_resource().resource_arn(format!("{arn}x")));
    assert_eq!(code, "ResourceNotFoundException");
    assert!(message.ends_with(&format!("ResourceArn: {arn}x not found")), "{message}");

    server.terminate();
    assert!(server.wait().success());
    let server = Server::start(dir.path());
    let second = client(&server);
    let listed = second.list_tags_of_resource().resource_arn(&arn).send().await.unwrap();
    assert_eq!(listed.tags(), [tag("stage", ""), tag("team", "analysis")]);
    // The answers of the others have no body at all.
    let answer = server.call(
        "TagResource",
        &format!(r#"{{"ResourceArn":"{arn}","Tags":[{{"Key":"k","Value":"v"}}]}}"#),
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[tokio::test]
async fn capacity_limits_requests_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = support::esker();
    command.args(["serve", "--port", "0", "--throttle", "--data-dir"]).arg(dir.path());
    let server = Server::run(command);
    let client = client(&server);
    create(&client).await;
    let put = |text: String| {
        let value = aws_sdk_dynamodb::types::AttributeValue::S;
        let item = client.put_item().table_name(TABLE).item("pk", value("a".to_owned()));
        item.item("t", value(text)).send()
    };
    // It takes a minute until its 300 units are there.
    put("x".repeat(300 << 10)).await.unwrap();
    let refusal = put(String::new()).await.unwrap_err();
    assert_eq!(refusal.code(), Some("ProvisionedThroughputExceededException"));
    assert!(
        refusal.message().unwrap().starts_with("The level of configured provisioned throughput")
    );
    let by_request =
        client.update_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
    by_request.send().await.unwrap();
    put(String::new()).await.unwrap();
}
