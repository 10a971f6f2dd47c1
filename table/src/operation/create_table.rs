//! CreateTable: its request, its response and what it does.

use esker::{Durability, KeyspaceOptions};

use super::tags;
use crate::catalog::{self, IndexRecord, TableRecord};
use crate::error::{Result, TableError, TableErrorKind};
use crate::schema::check::{check_create_table, plain_name};
use crate::schema::check_options::check_new_options;
use crate::schema::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, LocalSecondaryIndex,
    OnDemandThroughput, ProvisionedThroughput, SseSpecification, StreamSpecification, TableClass,
    TableDescription, TableStatus, Tag, WarmThroughput,
};
use crate::settings::Settings;
use crate::table::{Counts, Table, TableCounts};
use crate::{Tables, message};

/// Creates a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateTableRequest {
    /// The table's name: 3 to 255 characters of `[a-zA-Z0-9_.-]`.
    pub table_name: String,
    /// The types of the attributes in the keys of the table and its indexes.
    pub attribute_definitions: Vec<AttributeDefinition>,
    /// One HASH element, then at most one RANGE element.
    pub key_schema: Vec<KeySchemaElement>,
    /// Other orders for the items of a partition.
    pub local_secondary_indexes: Option<Vec<LocalSecondaryIndex>>,
    /// Other keys for the items.
    pub global_secondary_indexes: Option<Vec<GlobalSecondaryIndex>>,
    /// How reads and writes are billed; `PROVISIONED` when absent.
    pub billing_mode: Option<BillingMode>,
    /// Needed with `PROVISIONED`, refused with `PAY_PER_REQUEST`.
    pub provisioned_throughput: Option<ProvisionedThroughput>,
    /// Refuses DeleteTable while it is set.
    pub deletion_protection_enabled: Option<bool>,
    /// The class; `STANDARD` when absent.
    pub table_class: Option<TableClass>,
    /// Encryption.
    pub sse_specification: Option<SseSpecification>,
    /// The stream; there are none in this version.
    pub stream_specification: Option<StreamSpecification>,
    /// Limits of an on-demand table.
    pub on_demand_throughput: Option<OnDemandThroughput>,
    /// What the table is to be ready for.
    pub warm_throughput: Option<WarmThroughput>,
    /// The tags.
    pub tags: Option<Vec<Tag>>,
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
    pub fn create_table(&self, mut request: CreateTableRequest) -> Result<CreateTableResponse> {
        check_create_table(&request)?;
        check_new_options(&request)?;
        request.tags.as_deref().map_or(Ok(()), tags::check_tags)?;
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
        let indexes = index_records(&request);
        let tags = tags::sorted(request.tags.take().unwrap_or_default());
        let record = TableRecord {
            table_id: *next_table_id,
            uuid,
            created_ms: db.world().clock.wall_ms(),
            status: TableStatus::Active,
            attribute_definitions: std::mem::take(&mut request.attribute_definitions),
            key_schema: std::mem::take(&mut request.key_schema),
            billing_mode: request.billing_mode.unwrap_or_default(),
            provisioned_throughput: request.provisioned_throughput.unwrap_or_default(),
            deletion_protection_enabled: request.deletion_protection_enabled.unwrap_or_default(),
            next_index_id: 1 + indexes.len() as u32,
            indexes,
        };
        let is_warm = request.warm_throughput.is_some_and(|warm| !warm.is_empty());
        let settings = Settings::of_new(&record, &request);
        // Whatever becomes of it, the id is used up.
        *next_table_id += 1;
        if esker::mutant!("items_catalog_first") {
            let mut batch = db.batch();
            catalog::put_table(&mut batch, catalog, &name, &record)?;
            db.write_with(batch, Durability::Sync)?;
        }
        let create = || {
            let create = |name: String| db.create_keyspace(&name, KeyspaceOptions::default());
            let mut keyspaces =
                record.keyspaces().map(create).collect::<esker::Result<Vec<_>>>()?;
            let indexes = keyspaces.split_off(1);
            let mut batch = db.batch();
            catalog::put_table(&mut batch, catalog, &name, &record)?;
            catalog::put_settings(&mut batch, catalog, record.table_id, &settings)?;
            if !tags.is_empty() {
                catalog::put_tags(&mut batch, catalog, record.table_id, &tags)?;
            }
            // Keyspaces come durably, whatever the default of writes; so does what names them.
            db.write_with(batch, Durability::Sync)?;
            Ok((keyspaces.remove(0), indexes))
        };
        let (items, indexes) = create().inspect_err(|_: &TableError| {
            // Left behind if this fails too, and dropped by the next open if the catalog does not
            // have the table after all.
            for keyspace in record.keyspaces() {
                let _ = db.drop_keyspace(&keyspace);
            }
        })?;
        let of_index = |index: &IndexRecord| (index.index_id, Counts::default());
        let counts = TableCounts {
            table: Counts::default(),
            indexes: record.indexes.iter().map(of_index).collect(),
        };
        let table = Table::new(name, record, items, indexes, counts, settings)?;
        let mut table_description = TableDescription {
            table_status: TableStatus::Creating,
            ..table.describe(table.record.created_ms)
        };
        // The service tells these once the table is there.
        let options = &mut table_description.options;
        options.last_update_to_pay_per_request_date_time_ms = None;
        if !is_warm {
            options.warm_throughput = None;
        }
        for index in &mut table_description.global_secondary_indexes {
            index.index_status = TableStatus::Creating;
            index.warm_throughput = None;
        }
        self.add(table);
        Ok(CreateTableResponse { table_description })
    }
}

/// The request's indexes, the local ones first, with ids from 1.
fn index_records(request: &CreateTableRequest) -> Vec<IndexRecord> {
    let local = request.local_secondary_indexes.iter().flatten().cloned();
    let local = local.map(|LocalSecondaryIndex { index_name, key_schema, projection }| {
        let index =
            GlobalSecondaryIndex { index_name, key_schema, projection, ..Default::default() };
        IndexRecord { is_global: false, ..IndexRecord::global(0, index) }
    });
    let global = request.global_secondary_indexes.iter().flatten().cloned();
    let global = global.map(|index| IndexRecord::global(0, index));
    (1..)
        .zip(local.chain(global))
        .map(|(id, index)| IndexRecord { index_id: id, ..index })
        .collect()
}
