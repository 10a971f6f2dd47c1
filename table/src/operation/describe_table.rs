//! DescribeTable: its request and response.

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
