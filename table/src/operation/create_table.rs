//! CreateTable: its request and response.

use crate::schema::{
    AttributeDefinition, BillingMode, KeySchemaElement, ProvisionedThroughput, TableDescription,
};

/// Creates a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateTableRequest {
    /// The table's name: 3 to 255 characters of `[a-zA-Z0-9_.-]`.
    pub table_name: String,
    /// The types of the key attributes.
    pub attribute_definitions: Vec<AttributeDefinition>,
    /// One HASH element, then at most one RANGE element.
    pub key_schema: Vec<KeySchemaElement>,
    /// How reads and writes are billed; `PROVISIONED` when absent.
    pub billing_mode: Option<BillingMode>,
    /// Needed with `PROVISIONED`, refused with `PAY_PER_REQUEST`.
    pub provisioned_throughput: Option<ProvisionedThroughput>,
    /// Refuses DeleteTable while it is set.
    pub deletion_protection_enabled: Option<bool>,
}

/// The table that was created.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTableResponse {
    /// The table as DescribeTable shows it.
    pub table_description: TableDescription,
}
