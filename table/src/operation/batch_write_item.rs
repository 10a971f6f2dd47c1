//! BatchWriteItem: its request, its response and what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    ConsumedCapacity, ItemCollectionMetrics, ReturnConsumedCapacity, ReturnItemCollectionMetrics,
    check_batch,
};
use crate::block_on::block_on;
use crate::collection::check_item_with_entries;
use crate::error::{Result, TableError, TableErrorKind};
use crate::index::IndexUnits;
use crate::item::{ItemView, NewItem};
use crate::key_codec::{decode_base_key, stored_key};
use crate::schema::check::table_name;
use crate::table::Table;
use crate::throttle::{Resource, Use};
use crate::validate::prepare_item;
use crate::write::{Granted, ItemWrite, Waiting, Written};
use crate::{Item, Tables, capacity, message};

/// So many items of 400 KB stay within the 16 MB that a request may have.
const WRITES_MAX: usize = 25;

/// One write of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteRequest {
    /// Writes this item.
    Put(Item),
    /// Deletes the item with this key.
    Delete(Item),
}

/// Up to 25 puts and deletes on one or more tables; each is atomic, the whole is not promised to
/// be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchWriteItemRequest {
    /// What to write, by table.
    pub request_items: BTreeMap<String, Vec<WriteRequest>>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
    /// Whether to report the size of the item collection.
    pub return_item_collection_metrics: Option<ReturnItemCollectionMetrics>,
}

/// What BatchWriteItem did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchWriteItemResponse {
    /// What was not done: ask again with this.
    pub unprocessed_items: BTreeMap<String, Vec<WriteRequest>>,
    /// The capacity used, by table, if it was asked for.
    pub consumed_capacity: Option<Vec<ConsumedCapacity>>,
    /// The sizes of the collections of its items by table, if they were asked for, of tables with local indexes.
    pub item_collection_metrics: Option<BTreeMap<String, Vec<ItemCollectionMetrics>>>,
}

/// What is not done, by table.
type Unprocessed = BTreeMap<String, Vec<WriteRequest>>;

/// So many bytes go into one commit, which the engine limits to 64 MiB. A single item, with all that its
/// indexes may hold of it, is far below that.
const COMMIT_BYTES: usize = 16 << 20;

/// More than what an entry takes beside the item: keys, the old one that is deleted, and lengths.
const ENTRY_BYTES: usize = 8 << 10;

/// How many of the writes, in their order, go into one commit; at least one, if there is one.
fn first_commit(writes: &[ItemWrite<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |write: &&ItemWrite<'_>| {
        let item = write.new.as_ref().map_or(0, |new| new.as_bytes().len());
        let is_first = bytes == 0;
        bytes += (item + ENTRY_BYTES) * (1 + write.table.indexes.len());
        is_first || bytes <= COMMIT_BYTES
    };
    writes.iter().take_while(fits).count()
}

/// A checked write, with the item's stored form and its table's plain name.
struct Prepared {
    name: String,
    request: WriteRequest,
    new: Option<NewItem>,
}

/// Whether the same request may succeed a moment later.
fn is_retryable(error: &TableError) -> bool {
    matches!(
        error.kind(),
        TableErrorKind::ProvisionedThroughputExceeded | TableErrorKind::Throttling
    )
}

impl Tables {
    /// Writes and deletes up to 25 items of one or more tables. As many of them are committed together
    /// as go into one commit with their indexes, which is more than the service promises; only what
    /// there is no capacity for, or what the engine has no room for after the first commit, is left
    /// unprocessed, unless that is all of it. After a failure of another kind, some may be written.
    ///
    /// # Errors
    /// `Validation` for a wrong request or an item that occurs twice; `ResourceNotFound` if there
    /// is no such table.
    pub fn batch_write_item(
        &self,
        request: BatchWriteItemRequest,
    ) -> Result<BatchWriteItemResponse> {
        block_on(self.batch_write_item_as(request, Waiting::Blocks))
    }

    /// As [`Tables::batch_write_item`], without blocking on the commit.
    ///
    /// # Errors
    /// As [`Tables::batch_write_item`].
    pub async fn batch_write_item_async(
        &self,
        request: BatchWriteItemRequest,
    ) -> Result<BatchWriteItemResponse> {
        self.batch_write_item_as(request, Waiting::Polls).await
    }

    async fn batch_write_item_as(
        &self,
        request: BatchWriteItemRequest,
        waiting: Waiting,
    ) -> Result<BatchWriteItemResponse> {
        let (mut writes, mut unprocessed_items) = self.prepare_writes(request.request_items)?;
        let mut written = Vec::with_capacity(writes.len());
        while written.len() < writes.len() {
            let rest = &mut writes[written.len()..];
            let part = first_commit(rest);
            match self.commit(&mut rest[..part], false, waiting).await {
                Ok(done) => written.extend(done),
                Err(error) => {
                    self.leave(rest, &mut unprocessed_items)?;
                    // Of what is written already the call must not say that it failed.
                    if written.is_empty() || !is_retryable(&error) {
                        return Err(error);
                    }
                    writes.truncate(written.len());
                }
            }
        }
        let item_collection_metrics = self.collections_metrics(
            request.return_item_collection_metrics,
            writes.iter().map(|write| (&*write.table, &write.key[..])),
        );
        let mut costs: BTreeMap<&str, (&Table, f64, IndexUnits)> = BTreeMap::new();
        for (write, Written { old, index_units }) in writes.iter().zip(written) {
            let old_bytes = old.map_or(0, |old| u64::from(old.size_bytes));
            let new_bytes = write.new.as_ref().map_or(0, |new| u64::from(new.logical_size()));
            let table = &write.table;
            let (_, units, sums) =
                costs.entry(&table.name).or_insert_with(|| (table, 0.0, IndexUnits::new()));
            *units += capacity::write_units(old_bytes, new_bytes);
            sums.extend(index_units);
        }
        let consumed: Vec<_> = (costs.into_values())
            .filter_map(|(table, units, index_units)| {
                let asked = request.return_consumed_capacity;
                capacity::consumed_by_write(asked, table, units, &index_units)
            })
            .collect();
        Ok(BatchWriteItemResponse {
            unprocessed_items,
            consumed_capacity: (!consumed.is_empty()).then_some(consumed),
            item_collection_metrics,
        })
    }

    /// Adds writes that were not made to those that are to be asked for again, and gives back what they were granted.
    fn leave(&self, writes: &[ItemWrite<'_>], unprocessed: &mut Unprocessed) -> Result<()> {
        for write in writes {
            let table = &write.table;
            if let Granted::Units(units) = write.granted {
                self.charge(Resource::table(table), Use::Write, -units);
            }
            let request = match &write.new {
                Some(new) => WriteRequest::Put(ItemView::new(new.as_bytes())?.decode()?),
                None => {
                    let sort = table.key.sort.as_ref().map(|sort| sort.scalar_type);
                    WriteRequest::Delete(table.key.to_item(decode_base_key(&write.key, sort)?))
                }
            };
            unprocessed.entry(table.name.clone()).or_default().push(request);
        }
        Ok(())
    }

    /// Checks everything, first without and then with the tables; what is to be written, and what there
    /// is no capacity for.
    fn prepare_writes(
        &self,
        request_items: BTreeMap<String, Vec<WriteRequest>>,
    ) -> Result<(Vec<ItemWrite<'static>>, Unprocessed)> {
        let lengths: Vec<usize> = request_items.values().map(Vec::len).collect();
        check_batch("BatchWriteItem", &lengths, WRITES_MAX)?;
        let mut prepared = Vec::with_capacity(lengths.iter().sum());
        for (given, requests) in request_items {
            let name = table_name(&given)?;
            for mut request in requests {
                let new = match &mut request {
                    WriteRequest::Put(item) => Some(NewItem::encode(item)?),
                    WriteRequest::Delete(key) => prepare_item(key).map(|_| None)?,
                };
                prepared.push(Prepared { name: name.to_owned(), request, new });
            }
        }
        let mut seen = BTreeSet::new();
        let mut writes = Vec::with_capacity(prepared.len());
        let mut requests = Vec::with_capacity(prepared.len());
        for Prepared { name, request, new } in prepared {
            let table = self.table(&name)?;
            let (partition, sort) = match &request {
                WriteRequest::Put(item) => table.key.of_item(item)?,
                WriteRequest::Delete(key) => table.key.of_key(key)?,
            };
            let key = stored_key(&partition, sort.as_ref());
            if !seen.insert((table.id(), key.clone())) {
                return Err(TableError::validation(message::BATCH_DUPLICATES));
            }
            let granted = Granted::Nothing;
            writes.push(ItemWrite { table: Arc::clone(&table), key, new, check: None, granted });
            requests.push(request);
        }
        // Before the first commit: none of several must be made where this refuses the request.
        for ItemWrite { table, key, new, .. } in &writes {
            if let Some(new) = new {
                check_item_with_entries(&table.indexes, key, new, message::ITEM_SIZE)?;
            }
        }
        if !self.is_throttling() {
            return Ok((writes, Unprocessed::new()));
        }
        let mut granted = Vec::with_capacity(writes.len());
        let mut left = Unprocessed::new();
        let mut refusal = None;
        for (mut write, request) in writes.into_iter().zip(requests) {
            match self.grant(&mut write) {
                Ok(()) => granted.push(write),
                Err(error) => {
                    left.entry(write.table.name.clone()).or_default().push(request);
                    refusal = Some(error);
                }
            }
        }
        match refusal {
            Some(error) if granted.is_empty() => Err(error),
            _ => Ok((granted, left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ScalarAttributeType;
    use crate::tests::{create, item, open};

    #[test]
    fn what_is_left_of_a_batch_can_be_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let tables = open(&dir);
        create(&tables, "things", Some(ScalarAttributeType::N));
        let key = |sk: i64| item([("pk", "a".into()), ("sk", sk.into())]);
        let mut whole = key(1);
        whole.insert("l".to_owned(), crate::AttributeValue::L(vec![1.into(), "x".into()]));
        let requests = BTreeMap::from([(
            "things".to_owned(),
            vec![WriteRequest::Put(whole), WriteRequest::Delete(key(2))],
        )]);
        let (writes, mut left) = tables.prepare_writes(requests.clone()).unwrap();
        tables.leave(&writes, &mut left).unwrap();
        assert_eq!(left, requests);
        let busy = TableError::new(TableErrorKind::ProvisionedThroughputExceeded, "busy");
        assert!(is_retryable(&busy));
        assert!(!is_retryable(&TableError::internal("disk")));
    }
}
