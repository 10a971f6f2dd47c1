//! What UpdateTable does to global indexes. A change is in the catalog, and writes go by it, when the
//! operation returns; `index/work.rs` does the rest.

use super::UpdateTableRequest;
use crate::Tables;
use crate::catalog::{IndexRecord, TableRecord};
use crate::error::Result;
use crate::schema::check_index_updates::check_with_table;
use crate::schema::{BillingMode, GlobalSecondaryIndexUpdate, ProvisionedThroughput, TableStatus};
use crate::settings::Settings;
use crate::table::Table;

impl Tables {
    /// The record of a table as the request changes it. Only under the control lock.
    pub(super) fn changed_indexes(
        &self,
        table: &Table,
        request: &UpdateTableRequest,
        after: &Settings,
    ) -> Result<TableRecord> {
        let is_backfilling =
            |id: u32| table.indexes.iter().any(|index| index.id() == id && index.is_backfilling());
        let described = (table.name.as_str(), &table.record);
        check_with_table(request, described, after.billing_mode, is_backfilling)?;
        let mut record = table.record.clone();
        if after.billing_mode == BillingMode::PayPerRequest {
            for index in &mut record.indexes {
                index.provisioned_throughput = ProvisionedThroughput::default();
            }
        }
        for update in request.global_secondary_index_updates.iter().flatten() {
            change(&mut record, update, request);
        }
        Ok(record)
    }
}

fn change(
    record: &mut TableRecord,
    update: &GlobalSecondaryIndexUpdate,
    request: &UpdateTableRequest,
) {
    let known = |indexes: &mut Vec<IndexRecord>, name: &str, change: &dyn Fn(&mut IndexRecord)| {
        indexes.iter_mut().filter(|index| index.name == name).for_each(change);
    };
    if let Some(update) = &update.update {
        known(&mut record.indexes, &update.index_name, &|index| {
            index.provisioned_throughput = update.provisioned_throughput;
        });
    } else if let Some(index) = &update.create {
        for definition in request.attribute_definitions.iter().flatten() {
            let name = &definition.attribute_name;
            if record.attribute_definitions.iter().all(|known| known.attribute_name != *name) {
                record.attribute_definitions.push(definition.clone());
            }
        }
        let record_of_index = IndexRecord::global(record.next_index_id, index.clone());
        record.next_index_id += 1;
        record.indexes.push(IndexRecord { status: TableStatus::Creating, ..record_of_index });
        record.drop_unused_definitions();
    } else if let Some(name) = &update.delete {
        known(&mut record.indexes, name, &|index| index.status = TableStatus::Deleting);
    }
}
