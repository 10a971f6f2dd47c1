//! The few requests that this program sends itself, as a client of a running server: import and export use them.

use std::collections::BTreeMap;

use esker_table::operation::{CreateTableRequest, ScanRequest, WriteRequest};
use serde::de::MapAccess;

use super::batch_write_item::{RequestItems, UnprocessedOut, write_requests};
use super::shared::{BILLING_MODE, DefinitionOut, KeyElementOut, name_of, serialize_members};
use crate::error::WireError;
use crate::json::{self, ItemOut, Members};

serialize_members!(pub(crate) CreateTableOut, CreateTableRequest, |request, writer| {
    writer
        .member("TableName", &request.table_name)?
        .member(
            "AttributeDefinitions",
            request.attribute_definitions.iter().map(DefinitionOut).collect::<Vec<_>>(),
        )?
        .member("KeySchema", request.key_schema.iter().map(KeyElementOut).collect::<Vec<_>>())?
        .optional("BillingMode", request.billing_mode.map(|mode| name_of(BILLING_MODE, &mode)))?
});

serialize_members!(
    pub(crate) BatchWriteItemOut,
    BTreeMap<String, Vec<WriteRequest>>,
    |writes, writer| writer.member("RequestItems", UnprocessedOut(writes))?
);

serialize_members!(pub(crate) ScanOut, ScanRequest, |request, writer| {
    writer
        .member("TableName", &request.table_name)?
        .optional("ExclusiveStartKey", request.exclusive_start_key.as_ref().map(ItemOut))?
});

/// What a BatchWriteItem left undone.
#[derive(Default)]
pub(crate) struct Unprocessed {
    items: Option<RequestItems>,
}

impl Members for Unprocessed {
    const NAME: &'static str = "BatchWriteItemOutput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "UnprocessedItems" => self.items = json::list_map(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

impl Unprocessed {
    /// The writes, by table.
    pub(crate) fn items(self) -> Result<BTreeMap<String, Vec<WriteRequest>>, WireError> {
        write_requests(self.items.unwrap_or_default())
    }
}
