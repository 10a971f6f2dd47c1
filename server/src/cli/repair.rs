//! `esker repair`: says what is wrong with a data directory and what a repair would lose; with `--apply` it repairs, in
//! place or in a copy, and deletes nothing. Then it corrects the indexes and the counts of the tables that have lost
//! items; what it takes out of an index is kept in a lost-and-found directory first. A loss is exit code 2.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use esker::{Db, ErrorKind, RepairOptions, RepairReport};
use esker_table::{Miscount, StaleIndex, TableError};

use super::inspect::print;
use super::kept::{self, Fate, KeepError, KeptEntries};
use super::{CliError, Outcome, counted, open};

/// The arguments of `esker repair`.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The data directory.
    #[arg(env = "ESKER_DATA_DIR", default_value = "esker-data")]
    dir: PathBuf,

    /// Do it. Without, nothing is written.
    #[arg(long)]
    apply: bool,

    /// Repair a copy in this new directory, and leave the data directory alone.
    #[arg(long, value_name = "DIR", requires = "apply")]
    to: Option<PathBuf>,

    /// Take commits from behind damage in the log too, although earlier ones are missing.
    #[arg(long)]
    skip_damaged_log: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, CliError> {
    let options = RepairOptions {
        apply: arguments.apply,
        to: arguments.to.clone(),
        skip_damaged_log: arguments.skip_damaged_log,
        world: None,
    };
    let report = esker::repair(&arguments.dir, &options).map_err(|error| match error.kind() {
        // It is about `--to`, and says so.
        ErrorKind::InvalidArgument => CliError::new(error.to_string()),
        _ => open::failed(&arguments.dir, open::Use::Look, &error),
    })?;
    // A sound directory is not copied, and one that was to be copied is left alone.
    let copy = arguments.to.as_deref().filter(|_| report.is_applied);
    let may_write = arguments.apply && arguments.to.is_some() == copy.is_some();
    let directory = copy.unwrap_or(&arguments.dir);
    // A directory that is still damaged cannot be opened to count anything.
    let wrong = match report.is_sound() || report.is_applied {
        true => {
            // That of an interrupted repair may be in another directory.
            let aside = report.moved_to.as_deref().filter(|aside| aside.starts_with(directory));
            wrong_tables(directory, may_write, aside)?
        }
        false => WrongTables::default(),
    };
    print(&text(arguments, &report, &wrong, may_write));
    let is_sound = report.is_sound() && (wrong.is_none() || may_write);
    let is_done = is_sound || (report.is_applied && report.is_lossless());
    Ok(if is_done { Outcome::Done } else { Outcome::Incomplete })
}

/// What is wrong with the tables although their files are sound.
#[derive(Default)]
struct WrongTables {
    without_keyspace: Vec<String>,
    indexes: Vec<StaleIndex>,
    counts: Vec<Miscount>,
    /// What was taken out of the indexes.
    kept: Vec<KeptEntries>,
}

impl WrongTables {
    fn is_none(&self) -> bool {
        self.without_keyspace.is_empty() && self.indexes.is_empty() && self.counts.is_empty()
    }
}

/// The tables whose keyspaces, indexes or counts are wrong; with `may_write` they are right afterwards, and what that took
/// out of the indexes is kept in `aside` or a new directory.
fn wrong_tables(
    dir: &Path,
    may_write: bool,
    aside: Option<&Path>,
) -> Result<WrongTables, CliError> {
    let unreadable = |error: TableError| {
        CliError::new(format!("the tables in {} cannot be checked: {error}", dir.display()))
    };
    let db = open::read_only(dir)?;
    let mut found = WrongTables {
        without_keyspace: esker_table::tables_without_keyspace(&db).map_err(unreadable)?,
        indexes: esker_table::stale_indexes(&db).map_err(unreadable)?,
        counts: esker_table::miscounts(&db).map_err(unreadable)?,
        kept: Vec::new(),
    };
    if found.is_none() || !may_write {
        open::close_db(&db)?;
        return Ok(found);
    }
    found.kept = kept::keep(&db, dir, aside).map_err(|error| match error {
        KeepError::Tables(error) => unreadable(error),
        KeepError::Write(path, error) => CliError::new(format!(
            "could not keep what the indexes have in {}: {error}; the tables are as they were",
            path.display()
        )),
    })?;
    open::close_db(&db)?;
    drop(db);
    let db = Db::open(dir).map_err(|error| open::failed(dir, open::Use::Look, &error))?;
    esker_table::make_keyspaces(&db).map_err(unreadable)?;
    esker_table::correct_indexes(&db).map_err(unreadable)?;
    esker_table::correct_counts(&db).map_err(unreadable)?;
    open::close_db(&db)?;
    Ok(found)
}

fn text(
    arguments: &Arguments,
    report: &RepairReport,
    wrong: &WrongTables,
    is_corrected: bool,
) -> String {
    let dir = arguments.dir.display();
    let tables = tables_text(arguments, wrong, is_corrected);
    if report.is_sound() {
        let rest =
            if tables.is_empty() { "there is nothing to repair" } else { "no file is damaged" };
        return format!("{dir} is sound: {rest}\n{tables}");
    }
    let mut out = format!("{dir} is damaged:\n");
    for damage in &report.damage {
        let _ = writeln!(out, "  {damage}");
    }
    if report.is_rebuilt {
        out.push_str(
            "The manifest is of no use: keyspaces are rebuilt from what the other files say. What was deleted shortly \
             before may be back.\n",
        );
    }
    for name in &report.unnamed_keyspaces {
        let _ = writeln!(out, "A keyspace has lost its name and is now called {name}.");
    }
    for lost in &report.lost_keys {
        let keyspace = match &lost.keyspace {
            Some((_, name)) => format!("keyspace {name}"),
            None => "some keyspace".to_string(),
        };
        let from = lost.from.as_deref().map_or("the first".to_string(), key);
        let through = lost.through.as_deref().map_or("the last".to_string(), key);
        let _ = match (lost.is_deleted, from == through) {
            (true, true) => write!(out, "Gone: key {from} of {keyspace}"),
            (true, false) => write!(out, "Gone: keys of {keyspace} from {from} through {through}"),
            _ => write!(out, "Lost: keys of {keyspace} from {from} through {through}"),
        };
        if let Some((min, max)) = lost.seqs {
            let _ = write!(out, ", of commits {min} to {max}");
        }
        let _ = writeln!(out, " ({})", lost.file);
    }
    for lost in &report.lost_commits {
        let _ = match lost.through {
            Some(through) => writeln!(out, "Lost: commits {} to {through}", lost.from),
            None => writeln!(out, "Lost: commits from {} on, if there were any", lost.from),
        };
    }
    if report.is_lossless() {
        out.push_str("Nothing is lost.\n");
    }
    if !report.lost_commits.is_empty() && !arguments.skip_damaged_log && report.moved_to.is_none() {
        out.push_str(
            "With --skip-damaged-log only the damaged commits themselves may be lost, not those behind them; then later \
             writes are there although earlier ones are missing.\n",
        );
    }
    match &report.moved_to {
        Some(aside) => {
            let _ = writeln!(
                out,
                "Repaired {}; what it does without, {} files, is in {}",
                arguments.to.as_ref().unwrap_or(&arguments.dir).display(),
                report.moved.len(),
                aside.display()
            );
        }
        None => {
            // What was asked for without is to be what happens with it.
            let skip = if arguments.skip_damaged_log { " --skip-damaged-log" } else { "" };
            let _ = writeln!(
                out,
                "Nothing was changed. esker repair {dir} --apply{skip} repairs it; what it does without will be kept in a \
                 lost-and-found directory.",
            );
        }
    }
    out + &tables
}

fn tables_text(arguments: &Arguments, wrong: &WrongTables, is_corrected: bool) -> String {
    let mut out = String::new();
    for table in &wrong.without_keyspace {
        let _ = writeln!(
            out,
            "Table {table} has no keyspace: it was empty, or all of its items are lost."
        );
    }
    for StaleIndex { table, index, entries, is_missing } in &wrong.indexes {
        let entries = counted(*entries, "entry");
        let _ = match is_missing {
            true => writeln!(
                out,
                "Index {index} of table {table} is missing; it should have {entries}."
            ),
            false => writeln!(
                out,
                "Index {index} of table {table} does not agree with the table in {entries}."
            ),
        };
    }
    for Miscount { table, index, stored: (items, bytes), counted: (found, found_bytes) } in
        &wrong.counts
    {
        let _ = match index {
            Some(index) => write!(out, "Index {index} of table {table}"),
            None => write!(out, "Table {table}"),
        };
        let _ = writeln!(
            out,
            " said that it has {items} items of {bytes} bytes; it has {found} of {found_bytes}."
        );
    }
    if wrong.is_none() {
        return out;
    }
    if !is_corrected {
        let dir = arguments.dir.display();
        let _ = writeln!(
            out,
            "esker repair {dir} --apply corrects this; what it takes out of an index will be kept in a lost-and-found \
             directory."
        );
        return out;
    }
    out.push_str("This is corrected.\n");
    for KeptEntries { fate, table, index, path, count, is_whole, .. } in &wrong.kept {
        let (entries, path) = (counted(*count, "entry"), path.display());
        let what = match is_whole {
            true => "items as the index had them",
            false => "the parts that the index had of items",
        };
        let _ = write!(out, "Index {index} of table {table} is without {entries} ");
        let _ = match fate {
            Fate::Lost => writeln!(
                out,
                "of items that the table has lost: {what} are in {path}, as lines that esker import reads."
            ),
            Fate::Differs => writeln!(
                out,
                "of items that the table has, but otherwise: {what} are in {path}. Import none of these lines unless you \
                 know that it is right: it replaces the item that the table has."
            ),
            Fate::Unreadable => writeln!(
                out,
                "from which no item can be read: keys and values are in {path}, in Base64."
            ),
        };
    }
    out
}

/// A key for people: text where it is text.
fn key(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    // The test damages a file behind the engine's back.
    #![allow(clippy::disallowed_methods)]

    use esker::{LostCommits, SeqNo};
    use esker_table::item::EncodedItem;
    use esker_table::operation::{CreateTableRequest, PutItemRequest};
    use esker_table::schema::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        Projection, ProjectionType, ScalarAttributeType,
    };
    use esker_table::{Item, Tables};

    use super::*;

    /// A table with an index of whole items.
    fn create_things(tables: &Tables) {
        let id = || "id".to_string();
        tables
            .create_table(CreateTableRequest {
                table_name: "things".into(),
                attribute_definitions: vec![AttributeDefinition {
                    attribute_name: id(),
                    attribute_type: ScalarAttributeType::S,
                }],
                key_schema: vec![KeySchemaElement {
                    attribute_name: id(),
                    key_type: KeyType::Hash,
                }],
                global_secondary_indexes: Some(vec![GlobalSecondaryIndex {
                    index_name: "again".into(),
                    key_schema: vec![KeySchemaElement {
                        attribute_name: id(),
                        key_type: KeyType::Hash,
                    }],
                    projection: Projection {
                        projection_type: Some(ProjectionType::All),
                        non_key_attributes: None,
                    },
                    ..Default::default()
                }]),
                billing_mode: Some(BillingMode::PayPerRequest),
                ..Default::default()
            })
            .unwrap();
    }

    #[test]
    fn a_damaged_sstable_is_repaired_and_the_loss_named() {
        let dir = tempfile::tempdir().unwrap();
        let db = esker::Db::open(dir.path()).unwrap();
        db.keyspace("k").unwrap().put("key", "value").unwrap();
        db.flush().unwrap();
        db.close().unwrap();
        drop(db);
        let arguments = |apply| Arguments {
            dir: dir.path().to_path_buf(),
            apply,
            to: None,
            skip_damaged_log: false,
        };
        assert!(matches!(run(&arguments(true)).unwrap(), Outcome::Done));
        let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let path = files.into_iter().find(|p| p.extension().is_some_and(|e| e == "sst")).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[60] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(run(&arguments(false)).unwrap(), Outcome::Incomplete));
        assert!(path.exists());
        let report = esker::repair(dir.path(), &RepairOptions::default()).unwrap();
        let text = text(&arguments(false), &report, &WrongTables::default(), false);
        assert!(text.contains("Lost: keys of keyspace k from \"key\" through \"key\""), "{text}");
        assert!(text.contains(" --apply repairs it"), "{text}");
        assert!(!text.contains("With --skip-damaged-log"), "{text}");
        let mut hole = report.clone();
        hole.lost_commits.push(LostCommits { from: SeqNo(7), through: Some(SeqNo(9)) });
        let shown = super::text(&arguments(false), &hole, &WrongTables::default(), false);
        assert!(shown.contains("With --skip-damaged-log only the damaged commits"), "{shown}");
        let skipping = Arguments { skip_damaged_log: true, ..arguments(false) };
        let text = super::text(&skipping, &report, &WrongTables::default(), false);
        assert!(text.contains(" --apply --skip-damaged-log repairs it"), "{text}");
        let not_empty = Some(dir.path().to_path_buf());
        let refused = run(&Arguments { to: not_empty, ..arguments(true) }).err().unwrap();
        let refused = refused.to_string();
        assert!(
            refused.starts_with(&format!("{} is not empty", dir.path().display())),
            "{refused}"
        );
        assert!(matches!(run(&arguments(true)).unwrap(), Outcome::Incomplete));
        assert!(!path.exists() && dir.path().join("lost-and-found-1").exists());
        assert!(matches!(run(&arguments(true)).unwrap(), Outcome::Done));
    }

    #[test]
    fn an_empty_index_and_an_empty_table_without_keyspaces_are_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let tables = Tables::open(db.clone()).unwrap();
        create_things(&tables);
        drop(tables);
        let arguments = |apply| Arguments {
            dir: dir.path().to_path_buf(),
            apply,
            to: None,
            skip_damaged_log: false,
        };
        db.close().unwrap();
        drop(db);
        for keyspace in ["esker.t.1.1", "esker.t.1"] {
            let db = Db::open(dir.path()).unwrap();
            db.drop_keyspace(keyspace).unwrap();
            assert!(Tables::open(db.clone()).is_err());
            db.close().unwrap();
            drop(db);
            assert!(matches!(run(&arguments(false)).unwrap(), Outcome::Incomplete));
            assert!(matches!(run(&arguments(true)).unwrap(), Outcome::Done));
            assert!(matches!(run(&arguments(false)).unwrap(), Outcome::Done));
            assert!(!dir.path().join("lost-and-found-1").exists());
            Tables::open(Db::open(dir.path()).unwrap()).unwrap().close().unwrap();
        }
    }

    #[test]
    fn the_counts_and_the_index_of_a_table_that_lost_an_item_are_corrected() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let tables = Tables::open(db.clone()).unwrap();
        create_things(&tables);
        for name in ["a", "b", "c"] {
            let item = Item::from([("id".to_string(), name.into())]);
            let request =
                PutItemRequest { table_name: "things".into(), item, ..Default::default() };
            tables.put_item(request).unwrap();
        }
        drop(tables);
        // An item goes behind the table's back, as one that a repair gives up.
        let stored = esker_table::stored_tables(&db).unwrap();
        let items = db.existing_keyspace(&stored[0].keyspace).unwrap().unwrap();
        let first = items.iter().next().unwrap().unwrap().0;
        items.delete(first).unwrap();
        // The index has another as it was once, and an entry that is nothing.
        let second = items.iter().next().unwrap().unwrap().1;
        let entries = db.existing_keyspace("esker.t.1.1").unwrap().unwrap();
        let entry = entries.iter().map(|entry| entry.unwrap()).find(|entry| entry.1 == second);
        let mut before = EncodedItem::from_bytes(second).unwrap().decode().unwrap();
        before.insert("v".to_string(), "old".into());
        let before = EncodedItem::encode(&mut before).unwrap();
        entries.put(entry.unwrap().0, before.as_bytes()).unwrap();
        entries.put("no key", "no item").unwrap();
        db.close().unwrap();
        drop((items, entries, db));

        let arguments = |apply, to| Arguments {
            dir: dir.path().to_path_buf(),
            apply,
            to,
            skip_damaged_log: false,
        };
        assert!(matches!(run(&arguments(false, None)).unwrap(), Outcome::Incomplete));
        // What is to be done in a copy leaves the directory as it is.
        let copy = Some(dir.path().join("copy"));
        assert!(matches!(run(&arguments(true, copy)).unwrap(), Outcome::Incomplete));
        let kept = dir.path().join("lost-and-found-1/esker.t.1.1.jsonl");
        assert!(!kept.exists());
        let wrong = wrong_tables(dir.path(), false, None).unwrap();
        assert_eq!(wrong.indexes[0].entries, 3);
        assert!(matches!(run(&arguments(true, None)).unwrap(), Outcome::Done));
        assert!(matches!(run(&arguments(false, None)).unwrap(), Outcome::Done));
        // The index had the only copy of the lost item, which is kept as an import reads it.
        let lines = std::fs::read_to_string(kept).unwrap();
        let lost = |id: &str| format!("{{\"Item\":{{\"id\":{{\"S\":\"{id}\"}}}}}}\n");
        assert!(["a", "b", "c"].map(lost).contains(&lines), "{lines}");
        // What may replace an item that is there is apart, and so is what nobody can read.
        let other = |name: &str| {
            let path = dir.path().join(format!("lost-and-found-1/esker.t.1.1.{name}.jsonl"));
            std::fs::read_to_string(path).unwrap()
        };
        let differs = other("differs");
        assert!(differs.ends_with(",\"v\":{\"S\":\"old\"}}}\n") && differs.lines().count() == 1);
        assert_eq!(other("unreadable"), "{\"Key\":\"bm8ga2V5\",\"Value\":\"bm8gaXRlbQ==\"}\n");
        let db = open::read_only(dir.path()).unwrap();
        assert_eq!(esker_table::verify(&db).unwrap().problem_count, 0);
        assert_eq!(esker_table::stored_tables(&db).unwrap()[0].item_count, 2);
    }
}
