//! A server that has credentials: the AWS SDK for Rust with the right key and with wrong ones, bodies of every length and
//! coding, our own client, and what the command line says of credentials. Must never reach beyond loopback.

#![allow(clippy::unwrap_used)]
// The rule that only `vfs` touches files and clocks is for the product, not for what drives it from outside.
#![allow(clippy::disallowed_methods)]

#[path = "support/sdk.rs"]
mod sdk;
mod support;

use std::path::Path;
use std::process::Output;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};

use sdk::signing_client;
use support::{Server, esker, post, request};

const KEY: &str = "AKIATEST";
const SECRET: &str = "s/ecret+0123456789=";

/// A server that knows one key.
fn start(folder: &Path) -> Server {
    let mut command = esker();
    command.args(["serve", "--port", "0", "--data-dir"]).arg(folder.join("data"));
    command.env("ESKER_ACCESS_KEY_ID", KEY).env("ESKER_SECRET_ACCESS_KEY", SECRET);
    Server::run(command)
}

fn client(server: &Server, key: &str, secret: &str) -> Client {
    signing_client(server, "eu-central-1", key, secret)
}

async fn create_table(client: &Client) {
    let id = ScalarAttributeType::S;
    let attribute = AttributeDefinition::builder().attribute_name("id").attribute_type(id);
    let element = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash);
    client
        .create_table()
        .table_name("employees")
        .attribute_definitions(attribute.build().unwrap())
        .key_schema(element.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn only_who_knows_a_secret_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    assert!(server.printed.contains("signed requests only"), "{}", server.printed);
    let right = client(&server, KEY, SECRET);
    create_table(&right).await;
    // Short enough to be hashed at once, and too long for that.
    for (id, length) in [("short", 10), ("long", 300 << 10)] {
        right
            .put_item()
            .table_name("employees")
            .item("id", AttributeValue::S(id.to_owned()))
            .item("picture", AttributeValue::B(Blob::new(vec![7; length])))
            .send()
            .await
            .unwrap();
        let read = right.get_item().table_name("employees");
        let read = read.key("id", AttributeValue::S(id.to_owned())).send().await.unwrap();
        let picture = read.item().unwrap()["picture"].as_b().unwrap();
        assert_eq!(picture.as_ref().len(), length);
    }
    for (key, secret, exception) in [
        (KEY, "another", "InvalidSignatureException"),
        ("AKIAOTHER", SECRET, "UnrecognizedClientException"),
    ] {
        let refused = client(&server, key, secret).list_tables().send().await.unwrap_err();
        assert_eq!(refused.code(), Some(exception));
    }
}

#[test]
fn what_is_not_signed_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let refused = |request: &[u8]| {
        let answer = support::exchange(&mut server.connect(), request).unwrap();
        assert_eq!(answer.status, 400);
        answer.body
    };
    let none = post("X-Amz-Target: DynamoDB_20120810.ListTables\r\n", "{");
    assert!(refused(&none).contains("MissingAuthenticationTokenException"));
    // What a server without credentials lets pass.
    assert!(refused(&request("ListTables", "{")).contains("Exception"));
    // Health has no signature.
    let health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(support::exchange(&mut server.connect(), health).unwrap().status, 200);
}

#[test]
fn a_body_is_not_waited_for_that_cannot_be_signed_right() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    // The client waits to be told to go on, and is answered instead.
    let held_back = b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\
        X-Amz-Target: DynamoDB_20120810.PutItem\r\nAuthorization: x\r\n\r\n";
    let answer = support::exchange(&mut server.connect(), held_back).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert!(answer.body.contains("MissingAuthenticationTokenException"), "{}", answer.body);
    // A body that is there is read and thrown away: the connection serves on.
    let mut stream = server.connect();
    let large = request("PutItem", &"x".repeat(1 << 20));
    for _ in 0..2 {
        let answer = support::exchange(&mut stream, &large).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (400, None));
    }
}

#[test]
fn our_own_client_signs_with_the_key_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let lines = folder.path().join("lines");
    std::fs::write(&lines, "{\"Item\":{\"id\":{\"S\":\"1\"}}}\n").unwrap();
    let import = |secret: &str| -> Output {
        let mut command = esker();
        command.args(["import", "--table", "employees", "--key", "id", "--endpoint"]);
        command.arg(format!("http://{}", server.address)).arg(&lines);
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", secret);
        command.output().unwrap()
    };
    let refused = import("another");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("InvalidSignatureException") || said.contains("signature"), "{said}");
    let done = import(SECRET);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn credentials_are_checked_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("credentials"), folder.path().join("data"));
    std::fs::write(&file, "[default]\naws_access_key_id = A\n").unwrap();
    let refused = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = esker();
        command.args(["serve", "--port", "0", "--data-dir"]).arg(&data).args(arguments);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(!output.status.success());
        assert!(!data.exists());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let file = file.to_str().unwrap();
    let with_file = ["--credentials-file", file];
    let said = refused(&[], &with_file);
    assert!(said.contains("profile [default] has no aws_secret_access_key"), "{said}");
    let said = refused(&[], &["--credentials-file", "/nowhere/at/all"]);
    assert!(said.contains("/nowhere/at/all: No such file"), "{said}");
    let said = refused(&[("ESKER_ACCESS_KEY_ID", "A")], &[]);
    assert!(said.contains("belong together"), "{said}");
    let both = [("ESKER_ACCESS_KEY_ID", "A"), ("ESKER_SECRET_ACCESS_KEY", "hidden")];
    let said = refused(&both, &with_file);
    assert!(said.contains("not both") && !said.contains("hidden"), "{said}");
    let said = refused(&[], &["--host", "0.0.0.0"]);
    assert!(said.contains("--credentials-file"), "{said}");
}
