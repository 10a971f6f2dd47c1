//! The tables of a database as they are stored, for looking at, checking and correcting their
//! counts and indexes. Only [`correct_counts`], [`correct_indexes`] and [`make_keyspaces`] change anything; for the
//! rest a read-only database will do. Called by the tools for inspection, verification and repair; nobody may write to the tables meanwhile.

use bytes::Bytes;
use esker::{Db, Durability, Keyspace};

use crate::catalog::{self, Entry, IndexRecord};
use crate::error::Result;
use crate::item::EncodedItem;
use crate::key_codec::base_key;
use crate::message;
use crate::table::{Counts, TableCounts};
use crate::validate::prepare_item;

mod indexes;

use indexes::IndexOfTable;
pub use indexes::{
    ReplacedEntry, StaleIndex, correct_indexes, make_keyspaces, replaced_entries, stale_indexes,
    tables_without_keyspace,
};

/// So many problems are described; the rest are counted.
const PROBLEMS_DESCRIBED_MAX: usize = 100;

/// A table as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTable {
    /// The table's name.
    pub name: String,
    /// The keyspace that holds its items.
    pub keyspace: String,
    /// How many items there are.
    pub item_count: u64,
    /// The sum of their logical sizes in bytes.
    pub size_bytes: u64,
}

/// The tables of a database, by name.
///
/// # Errors
/// `Internal` with the engine's report, or if the catalog is damaged.
pub fn stored_tables(db: &Db) -> Result<Vec<StoredTable>> {
    let stored = |entry: Entry| StoredTable {
        keyspace: catalog::items_keyspace(entry.record.table_id),
        name: entry.name,
        item_count: entry.counts.table.items,
        size_bytes: entry.counts.table.bytes,
    };
    Ok(entries(db)?.into_iter().map(stored).collect())
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablesReport {
    /// Tables checked.
    pub tables: u64,
    /// Their items.
    pub items: u64,
    /// The items' logical bytes.
    pub item_bytes: u64,
    /// What is wrong, each with its table; the first hundred.
    pub problems: Vec<String>,
    /// How many things are wrong.
    pub problem_count: u64,
}

impl TablesReport {
    fn problem(&mut self, table: &str, what: &str) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_DESCRIBED_MAX {
            self.problems.push(message::table_problem(table, what));
        }
    }
}

/// Reads every item of every table: that it decodes, is one that could be written, is stored under
/// its own key, that the indexes have an entry for each item that belongs there and no others, and
/// that the tables' and indexes' counts are those of what they have. Checksums are the engine's to
/// check: see [`Db::verify`].
///
/// # Errors
/// `Internal` with the engine's report, or if the catalog is damaged. What is wrong with the tables
/// themselves is in the report.
pub fn verify(db: &Db) -> Result<TablesReport> {
    let mut report = TablesReport::default();
    for entry in entries(db)? {
        report.tables += 1;
        match db.existing_keyspace(&catalog::items_keyspace(entry.record.table_id))? {
            Some(items) => verify_table(db, &entry, &items, &mut report)?,
            None => report.problem(&entry.name, message::KEYSPACE_MISSING),
        }
    }
    Ok(report)
}

/// A table or an index whose counts are not those of what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miscount {
    /// The table's name.
    pub table: String,
    /// The index's name, where it is one that is miscounted.
    pub index: Option<String>,
    /// The items and their logical bytes that the catalog says there are.
    pub stored: (u64, u64),
    /// Those that are there.
    pub counted: (u64, u64),
}

/// The tables and indexes whose counts are wrong. Reads every item.
///
/// # Errors
/// As of [`verify`].
pub fn miscounts(db: &Db) -> Result<Vec<Miscount>> {
    let mut found = Vec::new();
    for entry in entries(db)? {
        found.extend(miscounted(&entry, &counted(db, &entry)?));
    }
    Ok(found)
}

/// Corrects the counts that are wrong, as they are where a repair had to give up items, and says which
/// those were. The tables must not be open.
///
/// # Errors
/// As of [`verify`], and whatever [`Db::write`] answers, as `Internal`.
pub fn correct_counts(db: &Db) -> Result<Vec<Miscount>> {
    let mut found = Vec::new();
    let Some(catalog) = catalog::existing(db)? else { return Ok(found) };
    let mut batch = db.batch();
    for entry in entries(db)? {
        let counts = counted(db, &entry)?;
        if counts != entry.counts {
            catalog::put_counts(&mut batch, &catalog, entry.record.table_id, &counts);
            found.extend(miscounted(&entry, &counts));
        }
    }
    if !batch.is_empty() {
        db.write_with(batch, Durability::Sync)?;
    }
    Ok(found)
}

/// What a table and its indexes have.
fn counted(db: &Db, entry: &Entry) -> Result<TableCounts> {
    let count = |keyspace: &str| -> Result<Counts> {
        let items = db.existing_keyspace(keyspace)?;
        let mut counts = Counts::default();
        for stored in items.iter().flat_map(Keyspace::iter) {
            counts = with_item(counts, &stored?.1);
        }
        Ok(counts)
    };
    let table_id = entry.record.table_id;
    let of_index = |index: &IndexRecord| {
        // Of one that is being deleted it does not matter.
        let counts = match index.is_kept() {
            true => count(&catalog::index_keyspace(table_id, index.index_id))?,
            false => entry.counts.of_index(index.index_id),
        };
        Ok((index.index_id, counts))
    };
    Ok(TableCounts {
        table: count(&catalog::items_keyspace(table_id))?,
        indexes: entry.record.indexes.iter().map(of_index).collect::<Result<_>>()?,
    })
}

/// Which of the counts of a table and its indexes are wrong.
fn miscounted(entry: &Entry, counts: &TableCounts) -> Vec<Miscount> {
    let table = (None, entry.counts.table, counts.table);
    let pairs = entry.counts.indexes.iter().zip(&counts.indexes);
    let indexes = (entry.record.indexes.iter().zip(pairs))
        .map(|(index, ((_, stored), (_, counted)))| (Some(index.name.clone()), *stored, *counted));
    let miscount = |(index, stored, counted): (Option<String>, Counts, Counts)| Miscount {
        table: entry.name.clone(),
        index,
        stored: (stored.items, stored.bytes),
        counted: (counted.items, counted.bytes),
    };
    let all = std::iter::once(table).chain(indexes);
    all.filter(|(_, stored, counted)| stored != counted).map(miscount).collect()
}

/// An item that cannot be read counts without bytes.
fn with_item(counts: Counts, value: &Bytes) -> Counts {
    let size = EncodedItem::from_bytes(value.clone()).map_or(0, |item| item.logical_size());
    Counts { items: counts.items + 1, bytes: counts.bytes + u64::from(size) }
}

fn entries(db: &Db) -> Result<Vec<Entry>> {
    match catalog::existing(db)? {
        Some(catalog) => Ok(catalog::read(&catalog)?.entries),
        None => Ok(Vec::new()),
    }
}

fn verify_table(db: &Db, entry: &Entry, items: &Keyspace, report: &mut TablesReport) -> Result<()> {
    let table_key = entry.record.table_key()?;
    let mut counts = Counts::default();
    for stored in items.iter() {
        let (key, value) = stored?;
        counts = with_item(counts, &value);
        let check = || -> Result<bool> {
            let encoded = EncodedItem::from_bytes(value)?;
            let item = encoded.decode()?;
            let (partition, sort) = table_key.of_stored(&item)?;
            let is_own_key = base_key(&partition, sort.as_ref()) == key;
            // What is canonical already is not changed by preparing it.
            let mut prepared = item.clone();
            let size = prepare_item(&mut prepared)?;
            Ok(is_own_key && size == encoded.logical_size() as usize && prepared == item)
        };
        match check() {
            Ok(true) => {}
            Ok(false) => report.problem(&entry.name, &message::item_problem(&key, "")),
            Err(error) => {
                report.problem(&entry.name, &message::item_problem(&key, error.message()))
            }
        }
    }
    if counts != entry.counts.table {
        let text = message::counts_problem(entry.counts.table, counts);
        report.problem(&entry.name, &text);
    }
    report.items += counts.items;
    report.item_bytes += counts.bytes;
    let indexes = entry.record.indexes.iter().zip(&entry.counts.indexes);
    for (index, (_, counts)) in indexes.filter(|(index, _)| index.is_kept()) {
        let mut problem = |what: &str| {
            report.problem(&entry.name, &message::index_problem(&index.name, what));
        };
        let keyspace = catalog::index_keyspace(entry.record.table_id, index.index_id);
        let Some(entries) = db.existing_keyspace(&keyspace)? else {
            problem(message::KEYSPACE_MISSING);
            continue;
        };
        let compared = IndexOfTable {
            record: &entry.record,
            index,
            items: Some(items),
            entries: Some(&entries),
        };
        let counted = compared.differences(|difference| {
            problem(&message::entry_problem(&difference.key, difference.what));
            Ok(())
        })?;
        if counted != *counts {
            problem(&message::counts_problem(*counts, counted));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{create, item, open, put};

    #[test]
    fn every_kind_of_damage_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let tables = open(&dir);
        create(&tables, "things", None);
        create(&tables, "empty", None);
        for id in ["a", "b", "c", "d"] {
            put(&tables, item([("pk", id.into()), ("n", 5.into())]));
        }
        let db = tables.db().clone();
        let found = verify(&db).unwrap();
        assert_eq!((found.tables, found.items, found.item_bytes), (2, 4, 4 * 6));
        assert_eq!(found.problem_count, 0, "{:?}", found.problems);
        let stored = stored_tables(&db).unwrap();
        assert_eq!((stored[0].name.as_str(), stored[0].item_count), ("empty", 0));
        assert_eq!((stored[1].item_count, stored[1].size_bytes), (4, 24));

        let items = db.existing_keyspace(&stored[1].keyspace).unwrap().unwrap();
        let all: Vec<_> = items.iter().map(|entry| entry.unwrap()).collect();
        // One item under another's key, one that does not decode, one that is lost.
        items.put(&all[0].0, &all[1].1).unwrap();
        items.put(&all[1].0, [9]).unwrap();
        items.delete(&all[2].0).unwrap();
        let found = verify(&db).unwrap();
        assert_eq!(found.problem_count, 3, "{:?}", found.problems);
        assert!(found.problems[2].contains("counted 3 items"), "{:?}", found.problems);
        // The counts can be corrected; one item that does not decode has no bytes.
        let (table, index) = ("things".to_string(), None);
        let miscount = Miscount { table, index, stored: (4, 24), counted: (3, 12) };
        assert_eq!(miscounts(&db).unwrap(), std::slice::from_ref(&miscount));
        assert_eq!(correct_counts(&db).unwrap(), [miscount]);
        assert_eq!(miscounts(&db).unwrap(), []);
        assert_eq!(verify(&db).unwrap().problem_count, 2);
        db.drop_keyspace(&stored[1].keyspace).unwrap();
        assert_eq!(verify(&db).unwrap().problems, ["table things: its keyspace is missing"]);
    }

    #[test]
    fn a_database_without_tables_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let db = esker::Db::open(dir.path()).unwrap();
        assert_eq!(stored_tables(&db).unwrap(), []);
        assert_eq!(verify(&db).unwrap(), TablesReport::default());
    }
}
