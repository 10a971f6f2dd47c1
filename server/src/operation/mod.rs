//! The operations on the wire: one file each, with how its request is read, which call of the table layer it makes
//! and how its response is written. `dispatch.rs` runs them through [`run`]. Here: what several of them share. A
//! parameter of the service that this version lacks is refused where it asks for something, never ignored.

mod batch_get_item;
mod batch_write_item;
mod constraint;
mod create_table;
mod delete_item;
mod delete_table;
mod describe_table;
mod get_item;
mod list_tables;
mod put_item;
mod query;
pub(crate) mod requests;
mod scan;
mod shared;

pub(crate) use batch_get_item::BatchGetItem;
pub(crate) use batch_write_item::BatchWriteItem;
pub(crate) use create_table::CreateTable;
pub(crate) use delete_item::DeleteItem;
pub(crate) use delete_table::DeleteTable;
pub(crate) use describe_table::DescribeTable;
pub(crate) use get_item::GetItem;
pub(crate) use list_tables::ListTables;
pub(crate) use put_item::PutItem;
pub(crate) use query::Query;
pub(crate) use scan::Scan;

use esker_table::TableError;
use serde::Serialize;

use crate::error::WireError;
use crate::json::{self, Members};
use crate::service::Service;

/// An operation: from the members of its request to the JSON of its response.
pub(crate) trait Operation {
    /// The request's members as they were sent.
    type Input: Members;
    /// The table layer's request.
    type Request;
    /// The table layer's response.
    type Response;

    /// Checks what can be checked without the table, and makes the table layer's request.
    fn request(input: Self::Input) -> Result<Self::Request, WireError>;

    /// Makes the call.
    fn call(service: &dyn Service, request: Self::Request) -> Result<Self::Response, TableError>;

    /// The response as JSON.
    fn response(response: &Self::Response) -> impl Serialize;
}

/// Runs one operation on a request body; blocks as long as the table layer does.
pub(crate) fn run<O: Operation>(service: &dyn Service, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let request = O::request(json::read(body)?)?;
    let response = O::call(service, request)?;
    Ok(json::to_bytes(&O::response(&response)))
}

#[cfg(test)]
mod tests;
