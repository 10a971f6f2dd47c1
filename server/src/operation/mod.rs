//! The operations on the wire: one file each, with how its request is read, which call of the table layer it makes
//! and how its response is written. `dispatch.rs` runs them
//! through [`run`] and [`start`]. Here: what several of them share. A
//! parameter of the service that this version lacks is refused where it asks for something, never ignored.

mod batch_get_item;
mod batch_write_item;
mod constraint;
mod create_table;
mod delete_item;
mod delete_table;
mod describe_table;
mod get_item;
mod index;
mod legacy;
mod list_tables;
pub(crate) mod not_enabled;
mod put_item;
mod query;
pub(crate) mod requests;
mod scan;
mod shared;
mod single_write;
mod table_options;
pub(crate) mod tags;
mod transact_get_items;
mod transact_write_items;
mod update_item;
mod update_table;

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
pub(crate) use tags::ListTagsOfResource;
pub(crate) use transact_get_items::TransactGetItems;
pub(crate) use transact_write_items::TransactWriteItems;
pub(crate) use update_item::UpdateItem;
pub(crate) use update_table::UpdateTable;

pub(crate) use shared::Writer;

use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;

use crate::error::WireError;
use crate::json::{self, Members};
use crate::service::{Outcome, Pending, Service};

/// An operation: from the members of its request to the JSON of its response.
pub(crate) trait Operation {
    /// The request's members as they were sent.
    type Input: Members;
    /// The table layer's request.
    type Request: Send;
    /// The table layer's response.
    type Response: Send;

    /// Checks what can be checked without the table, and makes the table layer's request.
    fn request(input: Self::Input) -> Result<Self::Request, WireError>;

    /// The response as JSON.
    fn response(response: &Self::Response) -> impl Serialize;

    /// An error as this operation words it.
    fn refusal(error: WireError, _found: Found) -> WireError {
        error
    }
}

/// Where an error was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// In the request, as it was read.
    Reading,
    /// Later: in the expressions, the table or the item.
    Doing,
}

/// An operation that blocks its thread: reads, which may wait for the disk, and changes of tables.
pub(crate) trait Blocking: Operation {
    /// Makes the call.
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response>;
}

/// An operation that is awaited: writes of items, so that any number of them can share a sync.
pub(crate) trait Awaited: Operation {
    /// Starts the call.
    fn start(service: Arc<dyn Service>, request: Self::Request) -> Pending<Self::Response>;
}

/// Runs one operation on a request body.
pub(crate) fn run<O: Blocking>(service: &dyn Service, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let request = O::request(json::read(body)?)?;
    let response = O::call(service, request)?;
    Ok(json::to_bytes(&O::response(&response)))
}

/// Reads the request of one operation and starts it; what it answers is to be awaited.
pub(crate) fn start<O: Awaited + 'static>(
    service: Arc<dyn Service>,
    body: &[u8],
) -> Result<PendingAnswer, WireError> {
    let request = json::read(body).and_then(O::request);
    let request = request.map_err(|error| O::refusal(error, Found::Reading))?;
    let pending = O::start(service, request);
    Ok(Box::pin(async move {
        let response = pending.await.map_err(|error| O::refusal(error.into(), Found::Doing))?;
        Ok(json::to_bytes(&O::response(&response)))
    }))
}

/// The bytes of an answer, or an error, to wait for.
pub(crate) type PendingAnswer = Pin<Box<dyn Future<Output = Result<Vec<u8>, WireError>> + Send>>;

#[cfg(test)]
mod tests;
