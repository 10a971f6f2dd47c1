//! `esker verify`: reads every file of a data directory and checks every checksum, then every item of every table,
//! without changing anything. Damage is exit code 2 and names the file and the offset, or the table and the key.

use std::path::{Path, PathBuf};

use esker::ErrorKind;
use esker_table::TablesReport;

use super::inspect::{bytes, print};
use super::{CliError, Outcome, open};

/// The arguments of `esker verify`.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The data directory.
    #[arg(env = "ESKER_DATA_DIR", default_value = "esker-data")]
    dir: PathBuf,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, CliError> {
    let outcome = open::try_read_only(&arguments.dir).and_then(|db| {
        let report = db.verify()?;
        // A database that is only looked at keeps in memory exactly what the log had beyond the sstables.
        let replayed: u64 = db.inspect().keyspaces.iter().map(|k| k.memtable_entries).sum();
        let tables = esker_table::verify(&db);
        db.close()?;
        Ok((report, replayed, tables))
    });
    match outcome {
        Ok((report, replayed, tables)) => {
            let tables = match tables {
                Ok(tables) if tables.problem_count == 0 => tables,
                Ok(tables) => return Ok(damaged_tables(&arguments.dir, &tables)),
                Err(error) => {
                    print(&format!("{} is damaged: {error}\n", arguments.dir.display()));
                    return Ok(Outcome::Incomplete);
                }
            };
            print(&format!(
                "{} is sound: {} sstables of {}, {} blocks, {} entries; {} finished log segments, \
                 {} commit groups; {replayed} entries replayed from the log; {} tables, {} items of {}\n",
                arguments.dir.display(),
                report.sstables,
                bytes(report.sstable_bytes),
                report.blocks,
                report.entries,
                report.wal_segments,
                report.wal_groups,
                tables.tables,
                tables.items,
                bytes(tables.item_bytes),
            ));
            Ok(Outcome::Done)
        }
        Err(error) if error.kind() == ErrorKind::Corruption => {
            print(&format!("{} is damaged: {error}\n", arguments.dir.display()));
            Ok(Outcome::Incomplete)
        }
        Err(error) => Err(open::failed(&arguments.dir, &error)),
    }
}

fn damaged_tables(dir: &Path, tables: &TablesReport) -> Outcome {
    let mut text =
        format!("{} is damaged: {} problems in its tables\n", dir.display(), tables.problem_count);
    for problem in &tables.problems {
        text.push_str(&format!("  {problem}\n"));
    }
    print(&text);
    Outcome::Incomplete
}
