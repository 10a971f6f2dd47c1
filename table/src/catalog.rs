//! The catalog: which tables exist. A keyspace of its own that is the truth; whatever keyspace it
//! does not name is dropped when the tables are opened. Read once at open, written by the operations
//! that make, change and delete tables, and by every write that changes a table's counts.

pub(crate) mod format;
mod settings;

use std::collections::BTreeSet;

use esker::{Db, ErrorKind, Keyspace};

use crate::error::Result;
use crate::index::IndexShape;
use crate::key_schema::TableKey;
use crate::schema::{
    GlobalSecondaryIndexDescription, LocalSecondaryIndexDescription, Projection, TableDescription,
    TableOptions, TableStatus, Tag,
};
use crate::settings::Settings;
use crate::table::{Counts, TableCounts};
pub(crate) use format::{IndexRecord, TableRecord};
use format::{NextIds, RecordKey, damaged};

/// The catalog's keyspace. Names that start with `esker.` are reserved.
const CATALOG_KEYSPACE: &str = "esker.catalog";
/// What the names of tables' keyspaces start with; the table id follows, and of an index also its id.
const TABLE_KEYSPACE_PREFIX: &str = "esker.t.";

/// The account that tables belong to.
pub(crate) const ACCOUNT: &str = "000000000000";
/// The region that tables are in.
pub(crate) const REGION: &str = "us-east-1";

/// The keyspace of a table's items.
pub(crate) fn items_keyspace(table_id: u64) -> String {
    format!("{TABLE_KEYSPACE_PREFIX}{table_id}")
}

/// The keyspace of an index's entries.
pub(crate) fn index_keyspace(table_id: u64, index_id: u32) -> String {
    format!("{TABLE_KEYSPACE_PREFIX}{table_id}.{index_id}")
}

/// One table as the catalog has it.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) record: TableRecord,
    /// With those of each index, in the order of the record.
    pub(crate) counts: TableCounts,
    pub(crate) settings: Settings,
}

/// What an open catalog held.
pub(crate) struct Contents {
    pub(crate) entries: Vec<Entry>,
    /// The keyspaces of all tables, those of other accounts and regions included.
    pub(crate) keyspaces: BTreeSet<String>,
    pub(crate) next_table_id: u64,
}

/// Opens the catalog, making it where there is none.
pub(crate) fn open(db: &Db) -> Result<Keyspace> {
    Ok(db.keyspace(CATALOG_KEYSPACE)?)
}

/// The catalog's keyspace, if there is one.
pub(crate) fn existing(db: &Db) -> Result<Option<Keyspace>> {
    Ok(db.existing_keyspace(CATALOG_KEYSPACE)?)
}

/// Reads everything and drops keyspaces of tables that the catalog does not name: a CreateTable or
/// DeleteTable was interrupted.
pub(crate) fn open_contents(db: &Db, catalog: &Keyspace) -> Result<Contents> {
    let contents = read(catalog)?;
    for name in db.keyspaces()? {
        if name.starts_with(TABLE_KEYSPACE_PREFIX) && !contents.keyspaces.contains(&name) {
            match db.drop_keyspace(&name) {
                // Read-only or full, it is left for a later open; nothing shows it meanwhile.
                Err(error)
                    if !matches!(
                        error.kind(),
                        ErrorKind::ReadOnly | ErrorKind::NoSpace | ErrorKind::Indeterminate
                    ) =>
                {
                    return Err(error.into());
                }
                _ => {}
            }
        }
    }
    Ok(contents)
}

/// Reads everything.
pub(crate) fn read(catalog: &Keyspace) -> Result<Contents> {
    let next_table_id = match catalog.get(format::next_ids_key())? {
        Some(bytes) => NextIds::decode(&bytes)?.next_table_id,
        None => 1,
    };
    let mut entries = Vec::new();
    let mut keyspaces = BTreeSet::new();
    for entry in catalog.prefix(format::tables_prefix()) {
        let (key, value) = entry?;
        let key = RecordKey::decode(&key)?;
        let record = TableRecord::decode(&value)?;
        if record.table_id >= next_table_id {
            return Err(damaged("the catalog has a table id that was never given"));
        }
        keyspaces.extend(record.keyspaces());
        if key.account == ACCOUNT && key.region == REGION {
            let stored = match catalog.get(format::counts_key(record.table_id))? {
                Some(bytes) => format::decode_counts(&bytes)?,
                None => TableCounts::default(),
            };
            let of_index = |index: &IndexRecord| (index.index_id, stored.of_index(index.index_id));
            let indexes = record.indexes.iter().map(of_index).collect();
            let counts = TableCounts { table: stored.table, indexes };
            let stored = catalog.get(settings::settings_key(record.table_id))?;
            let settings = settings::decode_settings(&record, stored.as_deref())?;
            entries.push(Entry { name: key.name.to_owned(), record, counts, settings });
        }
    }
    Ok(Contents { entries, keyspaces, next_table_id })
}

/// Puts a new table into a batch.
pub(crate) fn put_table(
    batch: &mut esker::Batch,
    catalog: &Keyspace,
    name: &str,
    record: &TableRecord,
) -> Result<()> {
    let next = NextIds { next_table_id: record.table_id + 1 };
    batch.put(catalog, format::next_ids_key(), next.encode()?);
    put_record(batch, catalog, name, record)
}

/// Puts the record of a table that there is into a batch.
pub(crate) fn put_record(
    batch: &mut esker::Batch,
    catalog: &Keyspace,
    name: &str,
    record: &TableRecord,
) -> Result<()> {
    let key = RecordKey { account: ACCOUNT, region: REGION, name }.encode();
    batch.put(catalog, key, record.encode()?);
    Ok(())
}

/// Puts the part of a table's settings that is not in its record into a batch.
pub(crate) fn put_settings(
    batch: &mut esker::Batch,
    catalog: &Keyspace,
    table_id: u64,
    settings: &Settings,
) -> Result<()> {
    batch.put(catalog, settings::settings_key(table_id), settings::encode_settings(settings)?);
    Ok(())
}

/// Puts a table's tags, in the order of their keys, into a batch.
pub(crate) fn put_tags(
    batch: &mut esker::Batch,
    catalog: &Keyspace,
    table_id: u64,
    tags: &[Tag],
) -> Result<()> {
    match tags {
        [] => batch.delete(catalog, settings::tags_key(table_id)),
        _ => batch.put(catalog, settings::tags_key(table_id), settings::encode_tags(tags)?),
    }
    Ok(())
}

/// A table's tags, in the order of their keys.
pub(crate) fn tags(catalog: &Keyspace, table_id: u64) -> Result<Vec<Tag>> {
    let stored = catalog.get(settings::tags_key(table_id))?;
    stored.map_or(Ok(Vec::new()), |bytes| settings::decode_tags(&bytes))
}

/// Takes a table out, in a batch.
pub(crate) fn delete_table(
    batch: &mut esker::Batch,
    catalog: &Keyspace,
    name: &str,
    table_id: u64,
) {
    batch.delete(catalog, RecordKey { account: ACCOUNT, region: REGION, name }.encode());
    batch.delete(catalog, format::counts_key(table_id));
    batch.delete(catalog, settings::settings_key(table_id));
    batch.delete(catalog, settings::tags_key(table_id));
}

/// Puts a table's counts into a batch.
pub(crate) fn put_counts(
    batch: &mut esker::Batch,
    catalog: &Keyspace,
    table_id: u64,
    counts: &TableCounts,
) {
    batch.put(catalog, format::counts_key(table_id), format::encode_counts(counts));
}

impl TableRecord {
    /// The key by which the table's items are stored, with what its indexes ask of items.
    pub(crate) fn table_key(&self) -> Result<TableKey> {
        let key = self.plain_key()?;
        let shapes = self.index_shapes()?;
        let indexes = self.indexes.iter().zip(&shapes).filter(|(index, _)| index.is_kept());
        Ok(key.with_indexes(indexes.map(|(index, shape)| (index.name.as_str(), shape))))
    }

    /// Whether an index is being created or deleted.
    pub(crate) fn changes_indexes(&self) -> bool {
        self.indexes.iter().any(|index| index.status != TableStatus::Active)
    }

    /// Drops the definitions of attributes that are in no key.
    pub(crate) fn drop_unused_definitions(&mut self) {
        let keys = self.indexes.iter().map(|index| &index.key_schema).chain([&self.key_schema]);
        let used: BTreeSet<&str> =
            keys.flatten().map(|element| element.attribute_name.as_str()).collect();
        self.attribute_definitions.retain(|d| used.contains(d.attribute_name.as_str()));
    }

    fn plain_key(&self) -> Result<TableKey> {
        TableKey::new(&self.key_schema, &self.attribute_definitions)
            .ok_or_else(|| damaged("the catalog has a table without a valid key"))
    }

    /// What each index is.
    pub(crate) fn index_shapes(&self) -> Result<Vec<IndexShape>> {
        let key = self.plain_key()?;
        let shape = |index: &IndexRecord| {
            let shape = IndexShape::new(index, &self.attribute_definitions, &key);
            shape.ok_or_else(|| damaged("the catalog has an index without a valid key"))
        };
        self.indexes.iter().map(shape).collect()
    }

    /// The indexes that are kept, each with what it is: not those that are being deleted.
    pub(crate) fn kept_indexes(&self) -> Result<Vec<(&IndexRecord, IndexShape)>> {
        let indexes = self.indexes.iter().zip(self.index_shapes()?);
        Ok(indexes.filter(|(index, _)| index.is_kept()).collect())
    }

    /// The table's keyspaces: that of its items, then those of the indexes that are kept.
    pub(crate) fn keyspaces(&self) -> impl Iterator<Item = String> {
        let kept = self.indexes.iter().filter(|index| index.is_kept());
        let index = |index: &IndexRecord| index_keyspace(self.table_id, index.index_id);
        std::iter::once(items_keyspace(self.table_id)).chain(kept.map(index))
    }

    /// The table as DescribeTable shows it, without what its settings add.
    pub(crate) fn describe(&self, name: &str, counts: &TableCounts) -> TableDescription {
        let table_arn = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}");
        let projection = |index: &IndexRecord| Projection {
            projection_type: Some(index.projection_type),
            non_key_attributes: index.non_key_attributes.clone(),
        };
        let counted = || self.indexes.iter().map(|index| (index, counts.of_index(index.index_id)));
        let local = |(index, counts): (&IndexRecord, Counts)| LocalSecondaryIndexDescription {
            index_name: index.name.clone(),
            key_schema: index.key_schema.clone(),
            projection: projection(index),
            index_size_bytes: counts.bytes,
            item_count: counts.items,
            index_arn: format!("{table_arn}/index/{}", index.name),
        };
        let global = |(index, counts): (&IndexRecord, Counts)| GlobalSecondaryIndexDescription {
            index_name: index.name.clone(),
            key_schema: index.key_schema.clone(),
            projection: projection(index),
            index_status: index.status,
            backfilling: None,
            provisioned_throughput: index.provisioned_throughput,
            index_size_bytes: counts.bytes,
            item_count: counts.items,
            index_arn: format!("{table_arn}/index/{}", index.name),
            on_demand_throughput: None,
            warm_throughput: None,
        };
        TableDescription {
            table_name: name.to_owned(),
            table_id: self.uuid_text(),
            table_status: if self.changes_indexes() { TableStatus::Updating } else { self.status },
            creation_date_time_ms: self.created_ms,
            attribute_definitions: self.attribute_definitions.clone(),
            key_schema: self.key_schema.clone(),
            billing_mode: self.billing_mode,
            provisioned_throughput: self.provisioned_throughput,
            deletion_protection_enabled: self.deletion_protection_enabled,
            item_count: counts.table.items,
            table_size_bytes: counts.table.bytes,
            local_secondary_indexes: counted().filter(|(i, _)| !i.is_global).map(local).collect(),
            global_secondary_indexes: counted().filter(|(i, _)| i.is_global).map(global).collect(),
            table_arn,
            options: TableOptions::default(),
        }
    }

    /// The table's UUID as text.
    fn uuid_text(&self) -> String {
        let hex: String = self.uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}
