//! The tables of a database as they are stored, for looking at, checking and correcting their
//! counts. Only [`correct_counts`] changes anything; for the rest a read-only database will do. Called
//! by the tools for inspection, verification and repair; nobody may write to the tables meanwhile.

use bytes::Bytes;
use esker::{Db, Durability, Keyspace};

use crate::catalog::{self, Entry};
use crate::error::Result;
use crate::item::EncodedItem;
use crate::key_codec::base_key;
use crate::message;
use crate::table::Counts;
use crate::validate::prepare_item;

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
        item_count: entry.counts.items,
        size_bytes: entry.counts.bytes,
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
/// its own key, and that the tables' counts are those of their items. Checksums are the engine's to
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
            Some(items) => verify_table(&entry, &items, &mut report)?,
            None => report.problem(&entry.name, "its keyspace is missing"),
        }
    }
    Ok(report)
}

/// A table whose counts are not those of its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miscount {
    /// The table's name.
    pub table: String,
    /// The items and their logical bytes that the catalog says there are.
    pub stored: (u64, u64),
    /// Those that are there.
    pub counted: (u64, u64),
}

/// The tables whose counts are wrong. Reads every item.
///
/// # Errors
/// As of [`verify`].
pub fn miscounts(db: &Db) -> Result<Vec<Miscount>> {
    Ok(miscounted(db)?.into_iter().map(|(_, miscount)| miscount).collect())
}

/// Corrects the counts that are wrong, as they are where a repair had to give up items, and says which
/// those were. The tables must not be open.
///
/// # Errors
/// As of [`verify`], and whatever [`Db::write`] answers, as `Internal`.
pub fn correct_counts(db: &Db) -> Result<Vec<Miscount>> {
    let found = miscounted(db)?;
    if let Some(catalog) = catalog::existing(db)?
        && !found.is_empty()
    {
        let mut batch = db.batch();
        for (table_id, Miscount { counted: (items, bytes), .. }) in &found {
            let counts = Counts { items: *items, bytes: *bytes };
            catalog::put_counts(&mut batch, &catalog, *table_id, counts);
        }
        db.write_with(batch, Durability::Sync)?;
    }
    Ok(found.into_iter().map(|(_, miscount)| miscount).collect())
}

/// The wrong counts, each with its table's id.
fn miscounted(db: &Db) -> Result<Vec<(u64, Miscount)>> {
    let mut found = Vec::new();
    for entry in entries(db)? {
        let items = db.existing_keyspace(&catalog::items_keyspace(entry.record.table_id))?;
        let mut counts = Counts::default();
        for stored in items.iter().flat_map(Keyspace::iter) {
            counts = with_item(counts, &stored?.1);
        }
        if counts != entry.counts {
            let miscount = Miscount {
                stored: (entry.counts.items, entry.counts.bytes),
                counted: (counts.items, counts.bytes),
                table: entry.name,
            };
            found.push((entry.record.table_id, miscount));
        }
    }
    Ok(found)
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

fn verify_table(entry: &Entry, items: &Keyspace, report: &mut TablesReport) -> Result<()> {
    let table_key = entry.record.table_key()?;
    let mut counts = Counts::default();
    for stored in items.iter() {
        let (key, value) = stored?;
        counts = with_item(counts, &value);
        let check = || -> Result<bool> {
            let encoded = EncodedItem::from_bytes(value)?;
            let item = encoded.decode()?;
            let (partition, sort) = table_key.of_item(&item)?;
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
    if counts != entry.counts {
        let text = message::counts_problem(entry.counts, counts);
        report.problem(&entry.name, &text);
    }
    report.items += counts.items;
    report.item_bytes += counts.bytes;
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
        let miscount = Miscount { table: "things".to_string(), stored: (4, 24), counted: (3, 12) };
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
