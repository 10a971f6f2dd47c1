//! One page of a range of items: what Query and Scan share. Stops at the limit, at 1 MB, or at the
//! range's end.

use std::ops::Bound;

use bytes::Bytes;
use esker::Db;

use crate::capacity;
use crate::catalog::items_keyspace;
use crate::error::{Result, TableError, TableErrorKind};
use crate::expression::condition::BoundCondition;
use crate::expression::projection::Parts;
use crate::item::EncodedItem;
use crate::key_codec::KeyRange;
use crate::message;
use crate::operation::{ConsumedCapacity, ReturnConsumedCapacity, Select};
use crate::source::Source;
use crate::throttle::{Resource, Use};
use crate::{Item, Tables};

/// A page ends with the item that brings it to so many logical bytes.
const PAGE_BYTES_MAX: u64 = 1 << 20;

/// What to read.
pub(crate) struct PageRequest<'r> {
    pub(crate) range: KeyRange,
    /// The key after which to go on, in the direction of reading; within the range.
    pub(crate) start_after: Option<Vec<u8>>,
    pub(crate) forward: bool,
    pub(crate) limit: Option<u32>,
    /// Which of the items that are read are answered.
    pub(crate) filter: Option<&'r BoundCondition<'r>>,
    /// What of them is answered.
    pub(crate) parts: Option<&'r Parts<'r>>,
    /// Count the items and leave them.
    pub(crate) count_only: bool,
    /// Whether whole items are read from the table, for the entries of an index.
    pub(crate) fetches: bool,
    pub(crate) consistent_read: Option<bool>,
}

/// What was read.
pub(crate) struct Page {
    /// `None` where they were only counted.
    pub(crate) items: Option<Vec<Item>>,
    pub(crate) count: u32,
    /// How many items were read, also those that the filter left out.
    pub(crate) scanned_count: u32,
    /// Logical bytes of what was read.
    pub(crate) size_bytes: u64,
    /// Units for reading items from the table, for the entries of an index.
    fetched_units: f64,
    /// The last item's key if the page ended before the range.
    pub(crate) last_key: Option<Item>,
}

impl Page {
    /// What the response reports.
    pub(crate) fn consumed(
        &self,
        source: Source<'_>,
        asked: Option<ReturnConsumedCapacity>,
        consistent_read: Option<bool>,
    ) -> Option<ConsumedCapacity> {
        let (name, units) =
            (&source.table.name, capacity::read_units(self.size_bytes, consistent_read));
        match source.index {
            None => capacity::consumed(asked, name, units),
            Some(index) => {
                let index = std::iter::once((index, units));
                capacity::consumed_with_indexes(asked, name, self.fetched_units, index)
            }
        }
    }
}

impl Page {
    /// Says what it used, where requests are throttled.
    pub(crate) fn charge(&self, tables: &Tables, source: Source<'_>, consistent: Option<bool>) {
        let units = capacity::read_units(self.size_bytes, consistent);
        tables.charge(Resource::source(source), Use::Read, units);
        tables.charge(Resource::table(source.table), Use::Read, self.fetched_units);
    }
}

/// Reads one page.
pub(crate) fn read_page(db: &Db, source: Source<'_>, request: PageRequest<'_>) -> Result<Page> {
    let page = read_entries(db, source, request);
    match (page, source.index) {
        // The index went while it was read, or its whole table.
        (Err(error), Some(index))
            if error.kind() == TableErrorKind::ResourceNotFound
                && db.existing_keyspace(&items_keyspace(source.table.id()))?.is_some() =>
        {
            Err(TableError::validation(message::index_not_found(&index.record.name)))
        }
        (page, _) => page,
    }
}

fn read_entries(db: &Db, source: Source<'_>, request: PageRequest<'_>) -> Result<Page> {
    let mut page = Page {
        items: (!request.count_only).then(Vec::new),
        count: 0,
        scanned_count: 0,
        size_bytes: 0,
        fetched_units: 0.0,
        last_key: None,
    };
    let KeyRange { start, end } = &request.range;
    if request.range.is_empty() {
        return Ok(page);
    }
    let mut bounds = (
        Bound::Included(start.as_slice()),
        end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
    );
    if let Some(after) = &request.start_after
        && !esker::mutant!("items_page_repeats")
    {
        if request.forward {
            bounds.0 = Bound::Excluded(after);
        } else {
            bounds.1 = Bound::Excluded(after);
        }
    }
    // Where two keyspaces are read, both are as they were at one moment.
    let snapshot = request.fetches.then(|| db.snapshot());
    let mut entries = match &snapshot {
        Some(snapshot) => source.entries().range_at::<&[u8]>(snapshot, bounds),
        None => source.entries().range::<&[u8]>(bounds),
    };
    let mut page_bytes = 0;
    loop {
        let entry = if request.forward { entries.next() } else { entries.next_back() };
        let Some(entry) = entry else { return Ok(page) };
        let (key, value): (Bytes, Bytes) = entry?;
        let mut item = EncodedItem::from_bytes(value)?;
        page.scanned_count += 1;
        page.size_bytes += u64::from(item.logical_size());
        if let Some(snapshot) = &snapshot {
            let whole = source.table.items.get_at(snapshot, source.base_key_of(&key)?)?;
            let Some(whole) = whole else {
                return Err(without_item(db, &source)?);
            };
            item = EncodedItem::from_bytes(whole)?;
            let size = u64::from(item.logical_size());
            page.fetched_units += capacity::read_units(size, request.consistent_read);
        }
        page_bytes += u64::from(item.logical_size());
        if request.filter.map_or(Ok(true), |filter| filter.holds(Some(item.view())))? {
            page.count += 1;
            if let Some(items) = &mut page.items {
                items.push(match request.parts {
                    Some(parts) => parts.of_view(item.view())?,
                    None => item.decode()?,
                });
            }
        }
        let is_full = request.limit.is_some_and(|limit| page.scanned_count >= limit);
        if page_bytes >= PAGE_BYTES_MAX || is_full {
            page.last_key = Some(source.key_item(&key)?);
            return Ok(page);
        }
    }
}

/// Why an entry has no item: the table is being deleted, or else the index is damaged.
fn without_item(db: &Db, source: &Source<'_>) -> Result<TableError> {
    let items = db.existing_keyspace(&items_keyspace(source.table.id()))?;
    Ok(match items {
        None => TableError::not_found(message::TABLE_NOT_FOUND),
        Some(_) => TableError::internal(message::damaged("an index has an entry without an item")),
    })
}

/// A request's Limit, which is at least 1.
pub(crate) fn check_limit(limit: Option<i32>) -> Result<Option<u32>> {
    match limit.map(|limit| (limit, u32::try_from(limit))) {
        None => Ok(None),
        Some((_, Ok(limit @ 1..))) => Ok(Some(limit)),
        Some(_) => {
            let must = "have value greater than or equal to 1";
            let error = message::list_constraint("Limit", must);
            Err(TableError::validation(message::validation_errors(&[error])))
        }
    }
}

/// Whether a request's Select wants only the number of items. `has_names` is whether the request has an `AttributesToGet`.
pub(crate) fn counts_only(
    select: Option<Select>,
    has_projection: bool,
    has_names: bool,
    has_index: bool,
) -> Result<bool> {
    let unwanted = match select {
        Some(Select::AllAttributes) => Some("ALL_ATTRIBUTES"),
        Some(Select::AllProjectedAttributes) => Some("ALL_PROJECTED_ATTRIBUTES"),
        Some(Select::Count) => Some("only the Count"),
        Some(Select::SpecificAttributes) | None => None,
    };
    if has_names && let Some(unwanted) = unwanted {
        return Err(TableError::validation(message::legacy::selected_with_names(unwanted)));
    }
    match select {
        None => Ok(false),
        Some(Select::SpecificAttributes) if has_projection || has_names => Ok(false),
        Some(Select::AllAttributes) if has_projection => {
            Err(TableError::validation(message::ALL_WITH_PROJECTION))
        }
        Some(Select::Count) if has_projection => {
            Err(TableError::validation(message::COUNT_WITH_PROJECTION))
        }
        Some(Select::AllProjectedAttributes) if has_projection => {
            Err(TableError::validation(message::PROJECTED_WITH_PROJECTION))
        }
        Some(Select::AllProjectedAttributes) if has_index => Ok(false),
        Some(Select::AllAttributes) => Ok(false),
        Some(Select::Count) => Ok(true),
        Some(Select::AllProjectedAttributes) => {
            Err(TableError::validation(message::PROJECTED_WITHOUT_INDEX))
        }
        Some(Select::SpecificAttributes) => {
            Err(TableError::validation(message::SPECIFIC_WITHOUT_PROJECTION))
        }
    }
}
