//! UpdateTable: its request, its response and what it does to a table's settings. Every change is
//! complete when it returns, although answers say UPDATING and show what was, as the service's do.

use esker::Durability;

use crate::catalog;
use crate::error::{Result, TableError};
use crate::message::{self, control};
use crate::schema::check_options::{WARM_READ, WARM_WRITE, check_update_table, on_demand_members};
use crate::schema::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate,
    OnDemandThroughput, ProvisionedThroughput, SseDescription, SseSpecification,
    StreamSpecification, TableClass, TableClassSummary, TableDescription, TableStatus,
    UpdateGlobalSecondaryIndexAction, WarmThroughput, WarmThroughputDescription,
};
use crate::settings::{Settings, key_arn};
use crate::{Tables, table::Table};

/// Changes a table. One request changes one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateTableRequest {
    /// The table's name.
    pub table_name: String,
    /// How reads and writes are billed from now on.
    pub billing_mode: Option<BillingMode>,
    /// The capacity; needed to switch to `PROVISIONED`, refused with `PAY_PER_REQUEST`.
    pub provisioned_throughput: Option<ProvisionedThroughput>,
    /// Whether DeleteTable is refused.
    pub deletion_protection_enabled: Option<bool>,
    /// The class.
    pub table_class: Option<TableClass>,
    /// Encryption.
    pub sse_specification: Option<SseSpecification>,
    /// The stream; there are none in this version.
    pub stream_specification: Option<StreamSpecification>,
    /// Limits of an on-demand table; those that are absent stay as they are.
    pub on_demand_throughput: Option<OnDemandThroughput>,
    /// What the table is to be ready for; it is never lowered.
    pub warm_throughput: Option<WarmThroughput>,
    /// The types of the attributes in the key of an index that is created.
    pub attribute_definitions: Option<Vec<AttributeDefinition>>,
    /// What becomes of global indexes; one is created or deleted at a time.
    pub global_secondary_index_updates: Option<Vec<GlobalSecondaryIndexUpdate>>,
}

/// The table that was changed.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateTableResponse {
    /// The table as the service answers it: mostly as it was, with status UPDATING.
    pub table_description: TableDescription,
}

impl Tables {
    /// Changes a table's billing, capacity, protection, or another of its options. Durable when it
    /// returns.
    ///
    /// # Errors
    /// `Validation` for a wrong request, or one that changes nothing where the service refuses that;
    /// `ResourceNotFound` if there is no such table.
    pub fn update_table(&self, request: UpdateTableRequest) -> Result<UpdateTableResponse> {
        check_update_table(&request)?;
        // Held to the end, so that no other request changes or deletes the table meanwhile.
        let _control = self.control();
        let table = self.named_table(&request.table_name)?;
        let now_ms = self.db().world().clock.wall_ms();
        let before = table.settings();
        let mut after = Settings::clone(&before);
        let mut answer = table.describe(now_ms);
        change_billing(&request, &mut after, &mut answer, now_ms)?;
        if after.billing_mode != before.billing_mode {
            check_indexes_of_switch(&table, &request, &after)?;
        }
        if let Some(limits) = request.on_demand_throughput {
            change_on_demand(limits, &mut after, &mut answer)?;
        }
        if let Some(stream) = request.stream_specification {
            return Err(TableError::validation(match stream.stream_enabled {
                true => control::STREAMS_MISSING.to_owned(),
                false => control::no_stream_to_disable(&table.name),
            }));
        }
        if let Some(sse) = &request.sse_specification {
            change_encryption(sse, &mut after, &mut answer)?;
        }
        if let Some(table_class) = request.table_class {
            change_class(table_class, &mut after, now_ms);
            answer.table_status = TableStatus::Updating;
        }
        if let Some(is_protected) = request.deletion_protection_enabled {
            after.deletion_protection_enabled = is_protected;
            answer.deletion_protection_enabled = is_protected;
        }
        if let Some(warm) = request.warm_throughput {
            change_warm(warm, &mut after, &mut answer)?;
        }
        let record = self.changed_indexes(&table, &request, &mut after)?;
        let indexes = if record == table.record {
            self.store_settings(&table, after)?;
            table.describe(now_ms).global_secondary_indexes
        } else {
            let now = self.store_record(&table, record, after)?.describe(now_ms);
            answer.table_status = TableStatus::Updating;
            answer.attribute_definitions = now.attribute_definitions;
            now.global_secondary_indexes
        };
        let before = std::mem::replace(&mut answer.global_secondary_indexes, indexes);
        let updates = request.global_secondary_index_updates.iter().flatten();
        for updated in updates.filter_map(|update| update.update.as_ref()) {
            let named = |shown: &&mut GlobalSecondaryIndexDescription| {
                shown.index_name == updated.index_name
            };
            let before = before.iter().find(|shown| shown.index_name == updated.index_name);
            let shown = answer.global_secondary_indexes.iter_mut().find(named);
            if let (Some(before), Some(shown)) = (before, shown) {
                show_index_update(updated, before, shown);
            }
        }
        Ok(UpdateTableResponse { table_description: answer })
    }

    /// Keeps new settings of a table. Only under the control lock.
    fn store_settings(&self, table: &Table, settings: Settings) -> Result<()> {
        if settings == *table.settings() {
            return Ok(());
        }
        let mut batch = self.db().batch();
        let record = settings.record(&table.record);
        catalog::put_record(&mut batch, self.catalog(), &table.name, &record)?;
        catalog::put_settings(&mut batch, self.catalog(), table.id(), &settings)?;
        self.db().write_with(batch, Durability::Sync)?;
        table.set_settings(settings);
        Ok(())
    }
}

fn refuse(text: impl Into<String>) -> Result<()> {
    Err(TableError::validation(text))
}

fn change_billing(
    request: &UpdateTableRequest,
    after: &mut Settings,
    answer: &mut TableDescription,
    now_ms: u64,
) -> Result<()> {
    let before = (after.billing_mode, after.provisioned_throughput);
    let mode = request.billing_mode.unwrap_or(before.0);
    let Some(throughput) = request.provisioned_throughput else {
        if request.billing_mode.is_none() {
            return Ok(());
        }
        if mode == BillingMode::Provisioned {
            return refuse(control::SWITCH_NEEDS_THROUGHPUT);
        }
        answer.table_status = TableStatus::Updating;
        if before.0 == BillingMode::Provisioned {
            after.billing_mode = mode;
            after.provisioned_throughput = ProvisionedThroughput::default();
            after.last_pay_per_request_ms = Some(now_ms);
            after.warm_up();
        }
        return Ok(());
    };
    if mode == BillingMode::PayPerRequest {
        return refuse(message::ON_DEMAND_HAS_NO_THROUGHPUT);
    }
    let ProvisionedThroughput { read_capacity_units: read, write_capacity_units: write } =
        throughput;
    if before == (mode, throughput) {
        return refuse(control::throughput_unchanged(read, write));
    }
    answer.table_status = TableStatus::Updating;
    let (old_read, old_write) = (before.1.read_capacity_units, before.1.write_capacity_units);
    if read > old_read || write > old_write {
        after.last_increase_ms = Some(now_ms);
    }
    if read < old_read || write < old_write {
        after.decreases = after.decreases_today(now_ms) + 1;
        after.last_decrease_ms = Some(now_ms);
    }
    after.billing_mode = mode;
    after.provisioned_throughput = throughput;
    after.lift_limits();
    after.warm_up();
    Ok(())
}

/// A table that becomes provisioned needs capacity for each of its global indexes.
fn check_indexes_of_switch(
    table: &Table,
    request: &UpdateTableRequest,
    after: &Settings,
) -> Result<()> {
    let updates = || request.global_secondary_index_updates.iter().flatten();
    let has_own = |name: &str| {
        let mut changed = updates().filter_map(|update| update.update.as_ref());
        changed.any(|update| update.index_name == name && update.provisioned_throughput.is_some())
            || updates().any(|update| update.delete.as_deref() == Some(name))
    };
    let mut without = (table.record.indexes.iter())
        .filter(|index| index.is_global && index.is_kept() && !has_own(&index.name));
    match without.next() {
        Some(index) if after.billing_mode == BillingMode::Provisioned => {
            refuse(control::switch_needs_index_throughput(&index.name))
        }
        _ => Ok(()),
    }
}

/// The answer shows the limits at once, and -1 for what has none any more.
fn change_on_demand(
    limits: OnDemandThroughput,
    after: &mut Settings,
    answer: &mut TableDescription,
) -> Result<()> {
    for (which, units) in on_demand_members(limits) {
        match units {
            Some(_) if after.billing_mode == BillingMode::Provisioned => {
                return refuse(control::on_demand_of_provisioned(which));
            }
            Some(0 | ..=-2) => return refuse(control::on_demand_out_of_range(which, "table")),
            _ => {}
        }
    }
    answer.options.on_demand_throughput = after.on_demand.shown_for(limits);
    after.on_demand = after.on_demand.changed_by(limits);
    Ok(())
}

/// Has an answer show a changed index as the service does: capacity and limits as they are now, what
/// it is ready for as it was.
fn show_index_update(
    asked: &UpdateGlobalSecondaryIndexAction,
    before: &GlobalSecondaryIndexDescription,
    shown: &mut GlobalSecondaryIndexDescription,
) {
    if let Some(limits) = asked.on_demand_throughput {
        let now = before.on_demand_throughput.unwrap_or_default();
        shown.on_demand_throughput = now.shown_for(limits);
    }
    if asked.provisioned_throughput.is_some() || asked.on_demand_throughput.is_some() {
        shown.index_status = TableStatus::Updating;
    }
    if asked.warm_throughput.is_some() {
        let is_updating = before.warm_throughput != shown.warm_throughput;
        shown.warm_throughput = before.warm_throughput.map(|warm| WarmThroughputDescription {
            is_updating: warm.is_updating || is_updating,
            ..warm
        });
    }
}

fn change_encryption(
    asked: &SseSpecification,
    after: &mut Settings,
    answer: &mut TableDescription,
) -> Result<()> {
    let arn = key_arn(asked);
    if arn.is_none() && after.kms_key_arn.is_none() {
        return refuse(control::ENCRYPTED_BY_DEFAULT);
    }
    // Only the ARN itself is recognised.
    if asked.kms_master_key_id.is_some() && asked.kms_master_key_id == after.kms_key_arn {
        return refuse(control::ENCRYPTED_WITH_KEY);
    }
    let kms_master_key_arn = std::mem::replace(&mut after.kms_key_arn, arn);
    answer.options.sse = Some(SseDescription { kms_master_key_arn, is_updating: true });
    Ok(())
}

/// The first choice of the standard class is no choice.
fn change_class(table_class: TableClass, after: &mut Settings, now_ms: u64) {
    let now = after.table_class.map_or(TableClass::Standard, |class| class.table_class);
    if table_class != now {
        let last_update_date_time_ms = Some(now_ms);
        after.table_class = Some(TableClassSummary { table_class, last_update_date_time_ms });
    }
}

fn change_warm(
    warm: WarmThroughput,
    after: &mut Settings,
    answer: &mut TableDescription,
) -> Result<()> {
    let before = (after.warm_read_units, after.warm_write_units);
    for (which, asked, now) in [
        (WARM_READ, warm.read_units_per_second, &mut after.warm_read_units),
        (WARM_WRITE, warm.write_units_per_second, &mut after.warm_write_units),
    ] {
        let Some(asked) = asked else { continue };
        if asked < *now {
            return refuse(control::warm_below_current(which, "table"));
        }
        *now = asked;
    }
    answer.options.warm_throughput = Some(WarmThroughputDescription {
        read_units_per_second: before.0,
        write_units_per_second: before.1,
        is_updating: before != (after.warm_read_units, after.warm_write_units),
    });
    Ok(())
}
