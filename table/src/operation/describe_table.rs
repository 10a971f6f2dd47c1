//! DescribeTable: its request, its response and what it does.

use crate::Tables;
use crate::error::Result;
use crate::schema::TableDescription;

/// Describes a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DescribeTableRequest {
    /// The table's name.
    pub table_name: String,
}

/// A table's description.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribeTableResponse {
    /// The table.
    pub table: TableDescription,
}

impl Tables {
    /// Describes a table. The counts are those of the committed items.
    ///
    /// # Errors
    /// `ResourceNotFound`.
    pub fn describe_table(&self, request: DescribeTableRequest) -> Result<DescribeTableResponse> {
        let table = self.named_table(&request.table_name)?;
        let now_ms = self.db().world().clock.wall_ms();
        Ok(DescribeTableResponse { table: table.describe(now_ms) })
    }
}
