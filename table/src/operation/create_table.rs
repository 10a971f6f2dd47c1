//! CreateTable: its request, its response and what it does.

use esker::Durability;

use crate::catalog::{self, TableRecord};
use crate::error::{Result, TableError, TableErrorKind};
use crate::schema::check::{check_create_table, plain_name};
use crate::schema::{
    AttributeDefinition, BillingMode, KeySchemaElement, ProvisionedThroughput, TableDescription,
    TableStatus,
};
use crate::table::{Counts, Table};
use crate::{Tables, message};

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

impl Tables {
    /// Creates a table. It is ready when this returns, although the answer says CREATING, as the
    /// service's does.
    ///
    /// # Errors
    /// `Validation` for a wrong request; `ResourceInUse` if there is a table of the name.
    pub fn create_table(&self, request: CreateTableRequest) -> Result<CreateTableResponse> {
        check_create_table(&request)?;
        let name = plain_name(&request.table_name).to_owned();
        let mut next_table_id = self.control();
        if self.find(&name).is_some() {
            let text = message::table_exists(&name);
            return Err(TableError::new(TableErrorKind::ResourceInUse, text));
        }
        let (db, catalog) = (self.db(), self.catalog());
        let mut uuid = [0; 16];
        db.world().random.fill(&mut uuid);
        // Marks a random UUID (version 4, variant 1).
        uuid[6] = uuid[6] & 0x0F | 0x40;
        uuid[8] = uuid[8] & 0x3F | 0x80;
        let record = TableRecord {
            table_id: *next_table_id,
            uuid,
            created_ms: db.world().clock.wall_ms(),
            status: TableStatus::Active,
            attribute_definitions: request.attribute_definitions,
            key_schema: request.key_schema,
            billing_mode: request.billing_mode.unwrap_or_default(),
            provisioned_throughput: request.provisioned_throughput.unwrap_or_default(),
            deletion_protection_enabled: request.deletion_protection_enabled.unwrap_or_default(),
            next_index_id: 1,
        };
        // Whatever becomes of it, the id is used up.
        *next_table_id += 1;
        let keyspace = catalog::items_keyspace(record.table_id);
        if esker::mutant!("items_catalog_first") {
            let mut batch = db.batch();
            catalog::put_table(&mut batch, catalog, &name, &record)?;
            db.write_with(batch, Durability::Sync)?;
        }
        let items = db.create_keyspace(&keyspace, esker::KeyspaceOptions::default())?;
        let mut batch = db.batch();
        catalog::put_table(&mut batch, catalog, &name, &record)?;
        // Keyspaces come durably, whatever the default of writes; so does what names them.
        if let Err(error) = db.write_with(batch, Durability::Sync) {
            // Left behind if this fails too, and dropped by the next open if the catalog does not
            // have the table after all.
            let _ = db.drop_keyspace(&keyspace);
            return Err(error.into());
        }
        let table = Table::new(name, record, items, Counts::default())?;
        let table_description =
            TableDescription { table_status: TableStatus::Creating, ..table.describe() };
        self.add(table);
        Ok(CreateTableResponse { table_description })
    }
}
