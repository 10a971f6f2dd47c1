//! BatchWriteItem on the wire.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_table::Item;
use esker_table::operation::{BatchWriteItemRequest, BatchWriteItemResponse, WriteRequest};
use serde::de::MapAccess;
use serde::{Serialize, Serializer};

use super::constraint::Constraints;
use super::shared::{
    COLLECTION_METRICS, CapacitiesOut, CollectionsOut, RETURN_CONSUMED_CAPACITY,
    RETURN_ITEM_COLLECTION_METRICS, Writer, serialize_members,
};
use super::{Awaited, Operation};
use crate::error::WireError;
use crate::json::{self, Decoded, ItemOut, ListMap, Members};
use crate::message;
use crate::service::{Pending, Service};

/// BatchWriteItem.
pub(crate) struct BatchWriteItem;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    request_items: Option<RequestItems>,
    return_consumed_capacity: Option<String>,
    return_item_collection_metrics: Option<String>,
}

impl Members for Input {
    const NAME: &'static str = "BatchWriteItemInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "RequestItems" => self.request_items = json::list_map(map)?,
            "ReturnConsumedCapacity" => self.return_consumed_capacity = json::text(map)?,
            "ReturnItemCollectionMetrics" => {
                self.return_item_collection_metrics = json::text(map)?;
            }
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// The writes of a batch as they were sent, by table.
pub(super) type RequestItems = ListMap<Write>;

/// One write as it was sent.
#[derive(Default)]
pub(super) struct Write {
    put: Option<Put>,
    delete: Option<Delete>,
}

impl Members for Write {
    const NAME: &'static str = "WriteRequest";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "PutRequest" => self.put = json::structure(map)?,
            "DeleteRequest" => self.delete = json::structure(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Put {
    item: Option<Decoded<Item>>,
}

impl Members for Put {
    const NAME: &'static str = "PutRequest";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Item" => self.item = json::item(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Delete {
    key: Option<Decoded<Item>>,
}

impl Members for Delete {
    const NAME: &'static str = "DeleteRequest";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Key" => self.key = json::item(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, BatchWriteItemResponse, |response, writer| {
    writer
        .member("UnprocessedItems", UnprocessedOut(&response.unprocessed_items))?
        .optional("ConsumedCapacity", response.consumed_capacity.as_deref().map(CapacitiesOut))?
        .optional(
            COLLECTION_METRICS,
            response.item_collection_metrics.as_ref().map(CollectionsOut),
        )?
});

/// The `RequestItems` (or `UnprocessedItems`) of a batch.
pub(super) struct UnprocessedOut<'a>(pub(super) &'a BTreeMap<String, Vec<WriteRequest>>);

impl Serialize for UnprocessedOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|(table, writes)| (table, writes.iter().map(WriteOut).collect::<Vec<_>>())),
        )
    }
}

struct WriteOut<'a>(&'a WriteRequest);

impl Serialize for WriteOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (request, member, item) = match self.0 {
            WriteRequest::Put(item) => ("PutRequest", "Item", item),
            WriteRequest::Delete(key) => ("DeleteRequest", "Key", key),
        };
        let item = BTreeMap::from([(member, ItemOut(item))]);
        Writer::start(serializer)?.member(request, item)?.end()
    }
}

/// One write with its item still to be judged.
enum Wanted {
    Put(Option<Decoded<Item>>),
    Delete(Option<Decoded<Item>>),
    Neither,
}

fn wanted(path: &str, write: Write, checks: &mut Constraints) -> Wanted {
    match (write.put, write.delete) {
        (Some(put), None) => {
            let path = format!("{path}.putRequest.item");
            Wanted::Put(checks.required(put.item.map(Some), &path))
        }
        (None, Some(delete)) => {
            let path = format!("{path}.deleteRequest.key");
            Wanted::Delete(checks.required(delete.key.map(Some), &path))
        }
        _ => Wanted::Neither,
    }
}

fn write_request(wanted: Wanted) -> Result<WriteRequest, WireError> {
    match wanted {
        Wanted::Put(item) => Ok(WriteRequest::Put(item.transpose()?.unwrap_or_default())),
        Wanted::Delete(key) => Ok(WriteRequest::Delete(key.transpose()?.unwrap_or_default())),
        Wanted::Neither => Err(WireError::validation(message::VALUE_SEVERAL)),
    }
}

/// The writes of a batch, or all that is missing in them.
pub(super) fn write_requests(
    tables: RequestItems,
) -> Result<BTreeMap<String, Vec<WriteRequest>>, WireError> {
    let mut checks = Constraints::default();
    let wanted = wanted_writes(tables, &mut checks);
    checks.check()?;
    judged(wanted)
}

fn wanted_writes(tables: RequestItems, checks: &mut Constraints) -> Vec<(String, Vec<Wanted>)> {
    let of_table = |(table, writes): (String, Option<Vec<Write>>)| {
        let writes = writes.unwrap_or_default().into_iter().enumerate();
        let writes = writes.map(|(index, write)| {
            wanted(&format!("requestItems.{table}.member.{}.member", index + 1), write, checks)
        });
        let writes = writes.collect();
        (table, writes)
    };
    tables.into_iter().map(of_table).collect()
}

fn judged(
    wanted: Vec<(String, Vec<Wanted>)>,
) -> Result<BTreeMap<String, Vec<WriteRequest>>, WireError> {
    let of_table = |(table, writes): (String, Vec<Wanted>)| {
        let writes = writes.into_iter().map(write_request).collect::<Result<_, _>>()?;
        Ok((table, writes))
    };
    wanted.into_iter().map(of_table).collect()
}

impl Operation for BatchWriteItem {
    type Input = Input;
    type Request = BatchWriteItemRequest;
    type Response = BatchWriteItemResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut checks = Constraints::default();
        let tables = checks.required(input.request_items, "requestItems");
        let wanted = wanted_writes(tables, &mut checks);
        let return_consumed_capacity = checks.choice(
            input.return_consumed_capacity.as_deref(),
            "returnConsumedCapacity",
            RETURN_CONSUMED_CAPACITY,
        );
        let return_item_collection_metrics = checks.choice(
            input.return_item_collection_metrics.as_deref(),
            "returnItemCollectionMetrics",
            RETURN_ITEM_COLLECTION_METRICS,
        );
        checks.check()?;
        let request_items = judged(wanted)?;
        Ok(BatchWriteItemRequest {
            request_items,
            return_consumed_capacity,
            return_item_collection_metrics,
        })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Awaited for BatchWriteItem {
    fn start(service: Arc<dyn Service>, request: Self::Request) -> Pending<Self::Response> {
        service.batch_write_item_async(request)
    }
}
