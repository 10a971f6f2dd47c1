//! What UpdateTable does to global indexes. A change is in the catalog, and writes go by it, when the
//! operation returns; `index/work.rs` does the rest.

use super::UpdateTableRequest;
use crate::Tables;
use crate::catalog::{IndexRecord, TableRecord};
use crate::error::{Result, TableError};
use crate::message::control;
use crate::schema::check_index_updates::check_with_table;
use crate::schema::check_options::{WARM_READ, WARM_WRITE, warmth_of_index};
use crate::schema::{
    BillingMode, GlobalSecondaryIndexUpdate, ProvisionedThroughput, TableStatus, WarmThroughput,
};
use crate::settings::{IndexSettings, Settings};
use crate::table::Table;

impl Tables {
    /// The record of a table as the request changes it; what it changes beside that of indexes goes
    /// into the settings. Only under the control lock.
    pub(super) fn changed_indexes(
        &self,
        table: &Table,
        request: &UpdateTableRequest,
        after: &mut Settings,
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
        after.follow_indexes(&record);
        for update in request.global_secondary_index_updates.iter().flatten() {
            change_settings(&record, update, after)?;
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
            index.provisioned_throughput =
                update.provisioned_throughput.unwrap_or(index.provisioned_throughput);
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

/// `record` has the change by now, and the settings have what follows from it.
fn change_settings(
    record: &TableRecord,
    update: &GlobalSecondaryIndexUpdate,
    after: &mut Settings,
) -> Result<()> {
    let known = |name: &str| record.indexes.iter().find(|index| index.name == name);
    if let Some(update) = &update.update
        && let Some(index) = known(&update.index_name)
        && let Some(settings) = after.indexes.get_mut(&index.index_id)
    {
        if let Some(limits) = update.on_demand_throughput {
            settings.on_demand = settings.on_demand.changed_by(limits);
        }
        if let Some(warm) = update.warm_throughput {
            check_warm_rises(warm, settings, &index.name)?;
            settings.raise(warm);
        }
    } else if let Some(index) = &update.create
        && let Some(created) = known(&index.index_name)
    {
        after.add_index(created, index);
    }
    Ok(())
}

/// What an index is ready for is never lowered.
fn check_warm_rises(warm: WarmThroughput, now: &IndexSettings, name: &str) -> Result<()> {
    for (which, asked, now) in [
        (WARM_READ, warm.read_units_per_second, now.warm_read_units),
        (WARM_WRITE, warm.write_units_per_second, now.warm_write_units),
    ] {
        if asked.is_some_and(|asked| asked < now) {
            let text = control::warm_below_current(which, &warmth_of_index(name));
            return Err(TableError::validation(text));
        }
    }
    Ok(())
}
