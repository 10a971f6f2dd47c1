//! The unmodified AWS SDK for Rust as a client of a test's server. The test files that use it have it beside `support`.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part")]

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};

use crate::support::Server;

/// A client with credentials that nobody checks.
pub fn client(server: &Server) -> Client {
    signing_client(server, "us-east-1", "local", "local")
}

pub fn signing_client(server: &Server, region: &'static str, key: &str, secret: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(format!("http://{}", server.address))
        .region(Region::new(region))
        .credentials_provider(Credentials::new(key, secret, None, None, "test"))
        // A retry would hide a first answer that was wrong.
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}
