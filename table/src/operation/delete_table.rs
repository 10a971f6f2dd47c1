//! DeleteTable: its request, its response and what it does.

use crate::catalog;
use crate::error::{Result, TableError, TableErrorKind};
use crate::schema::{TableDescription, TableStatus};
use crate::{Tables, message};

/// Deletes a table and everything in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteTableRequest {
    /// The table's name.
    pub table_name: String,
}

/// The table that was deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteTableResponse {
    /// The table as it was, with status DELETING.
    pub table_description: TableDescription,
}

impl Tables {
    /// Deletes a table and everything in it. It is gone when this returns, although the answer says
    /// DELETING, as the service's does.
    ///
    /// # Errors
    /// `ResourceNotFound`; `ResourceInUse` while an index is being created or deleted; `Validation` if the table is protected against deletion.
    pub fn delete_table(&self, request: DeleteTableRequest) -> Result<DeleteTableResponse> {
        // Held to the end, so that no table of the name is created meanwhile.
        let _control = self.control();
        let table = self.named_table(&request.table_name)?;
        if table.settings().deletion_protection_enabled {
            return Err(TableError::validation(message::DELETION_PROTECTED));
        }
        if table.record.changes_indexes() {
            let text = message::control::table_being_updated(&table.name);
            return Err(TableError::new(TableErrorKind::ResourceInUse, text));
        }
        let now_ms = self.db().world().clock.wall_ms();
        let table_description =
            TableDescription { table_status: TableStatus::Deleting, ..table.describe(now_ms) };
        if esker::mutant!("items_keyspace_dropped_first") {
            let _ = self.db().drop_keyspace(&catalog::items_keyspace(table.id()));
        }
        let pending = table.submit_deletion(self.db(), self.catalog())?;
        if let Err(error) = pending.wait() {
            table.revive();
            return Err(error.into());
        }
        self.remove(&table.name);
        // The table is deleted: a keyspace that cannot be dropped now is dropped by the next open.
        for keyspace in table.record.keyspaces() {
            let _ = self.db().drop_keyspace(&keyspace);
        }
        Ok(DeleteTableResponse { table_description })
    }
}
