//! Esker behind the DynamoDB wire protocol, and the `esker` command line. `main.rs` calls [`main`]; nothing else is
//! public, except to the fuzz targets. The only crate that knows HTTP, JSON and the wire protocol.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod body;
mod cli;
mod compatibility;
mod cors;
mod credentials;
mod dispatch;
mod encoding;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod http;
mod inline;
mod json;
mod limits;
mod logged;
mod message;
mod operation;
mod request_id;
mod server;
mod service;
mod sigv4;
mod stall;
mod workers;

pub use cli::main;
