//! The tables of a database as they are stored, for looking at and checking: nothing is opened for
//! writing and nothing is changed, so a read-only database will do. Called by inspection and
//! verification tools; nobody may write to the tables meanwhile.

use esker::{Db, Keyspace};

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
        let size =
            u64::from(EncodedItem::from_bytes(value.clone()).map_or(0, |i| i.logical_size()));
        counts = Counts { items: counts.items + 1, bytes: counts.bytes + size };
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
