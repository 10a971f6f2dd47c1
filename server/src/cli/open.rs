//! Opens and closes data directories for the commands, with failures that say what to do.

use std::path::Path;
use std::sync::Arc;

use esker::{Db, ErrorKind};
use esker_table::Tables;

use super::CliError;

/// What a data directory is opened for: decides what can be done while another process has it.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Serve,
    Import,
    Export,
    /// Looking at the files themselves.
    Look,
}

impl Use {
    /// What to do where the directory is in use.
    fn advice(self) -> &'static str {
        match self {
            Self::Serve => "stop it, or choose another directory with --data-dir",
            Self::Import | Self::Export => {
                "stop it, or go through the running server with --endpoint URL"
            }
            Self::Look => "stop it, or look at a checkpoint or at a copy made while it was stopped",
        }
    }
}

/// Opens the tables of a data directory to serve or to import; makes it if it is missing.
pub(super) fn tables(directory: &Path, purpose: Use) -> Result<Arc<Tables>, CliError> {
    let db = Db::builder().open(directory).map_err(|error| failed(directory, purpose, &error))?;
    of(directory, db)
}

/// Opens the tables of a data directory and changes nothing in it.
pub(super) fn tables_to_read(directory: &Path) -> Result<Arc<Tables>, CliError> {
    let db = try_read_only(directory).map_err(|error| failed(directory, Use::Export, &error))?;
    // Opening the tables of a database that has none would make room for them.
    let stored = esker_table::stored_tables(&db).map_err(|error| unreadable(directory, &error))?;
    if stored.is_empty() {
        return Err(CliError::new(format!("{} holds no tables", directory.display())));
    }
    of(directory, db)
}

fn of(directory: &Path, db: Db) -> Result<Arc<Tables>, CliError> {
    Tables::open(db).map(Arc::new).map_err(|error| unreadable(directory, &error))
}

fn unreadable(directory: &Path, error: &esker_table::TableError) -> CliError {
    CliError::new(format!("the tables in {} cannot be opened: {error}", directory.display()))
}

/// Closes the tables and the database under them.
pub(super) fn close(tables: &Tables) -> Result<(), CliError> {
    close_db(tables.db())
}

/// Opens a database for looking only.
pub(super) fn try_read_only(directory: &Path) -> esker::Result<Db> {
    Db::builder().read_only(true).create_if_missing(false).open(directory)
}

/// The same, with a failure for people.
pub(super) fn read_only(directory: &Path) -> Result<Db, CliError> {
    try_read_only(directory).map_err(|error| failed(directory, Use::Look, &error))
}

/// Closes a database.
pub(super) fn close_db(db: &Db) -> Result<(), CliError> {
    db.close().map_err(|error| CliError::new(format!("the database did not close: {error}")))
}

/// What a person can do about a database that cannot be used.
pub(super) fn failed(directory: &Path, purpose: Use, error: &esker::Error) -> CliError {
    let dir = directory.display();
    CliError::new(match error.kind() {
        ErrorKind::Locked => format!("{dir} is in use by another process: {}", purpose.advice()),
        _ if directory.exists() && !directory.is_dir() => {
            format!("{dir} is a file, not a directory")
        }
        ErrorKind::NotFound => format!("{dir} holds no Esker database"),
        ErrorKind::NoSpace => format!("the disk that holds {dir} is full: free some space"),
        ErrorKind::Corruption => {
            format!("{dir} is damaged: {error}; esker repair {dir} says what can be saved")
        }
        ErrorKind::Unsupported => format!("{dir} needs a newer version of Esker: {error}"),
        _ => format!("{dir} cannot be opened: {error}"),
    })
}
