//! Opens and closes data directories for the commands, with failures that say what to do.

use std::path::Path;
use std::sync::Arc;

use esker::{Db, ErrorKind};
use esker_table::Tables;

use super::CliError;

/// Opens the tables of a data directory; `create` allows to make it.
pub(super) fn tables(directory: &Path, create: bool) -> Result<Arc<Tables>, CliError> {
    let builder = Db::builder().create_if_missing(create);
    let db = builder.open(directory).map_err(|error| failed(directory, &error))?;
    let tables = Tables::open(db).map_err(|error| {
        CliError::new(format!("the tables in {} cannot be opened: {error}", directory.display()))
    })?;
    Ok(Arc::new(tables))
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
    try_read_only(directory).map_err(|error| failed(directory, &error))
}

/// Closes a database.
pub(super) fn close_db(db: &Db) -> Result<(), CliError> {
    db.close().map_err(|error| CliError::new(format!("the database did not close: {error}")))
}

/// What a person can do about a database that cannot be used.
pub(super) fn failed(directory: &Path, error: &esker::Error) -> CliError {
    let dir = directory.display();
    CliError::new(match error.kind() {
        ErrorKind::Locked => format!(
            "{dir} is in use by another process: stop it, or choose another directory (import and \
             export can go through a running server with --endpoint)"
        ),
        ErrorKind::NotFound => format!("{dir} holds no Esker database"),
        ErrorKind::NoSpace => format!("the disk that holds {dir} is full: free some space"),
        ErrorKind::Corruption => format!("{dir} is damaged: {error}; restore it from a backup"),
        ErrorKind::Unsupported => format!("{dir} needs a newer version of Esker: {error}"),
        _ => format!("{dir} cannot be opened: {error}"),
    })
}
