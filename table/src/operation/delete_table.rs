//! DeleteTable: its request and response.

use crate::schema::TableDescription;

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
