//! The rules for what UpdateTable does to global indexes, in the service's order: first what needs no
//! table, then what does.

use std::collections::BTreeSet;

use super::check::{check_throughput, name_errors, refuse, throughput_errors_at};
use super::check_index::{check_index, check_new_throughput, index_errors, too_many};
use super::check_options::{check_new_index_options, limits_of_index, on_demand_members};
use super::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, GlobalSecondaryIndexUpdate,
    UpdateGlobalSecondaryIndexAction, WarmThroughput,
};
use crate::catalog::{IndexRecord, TableRecord};
use crate::error::{Result, TableError, TableErrorKind};
use crate::message::control;
use crate::operation::UpdateTableRequest;
use crate::schema::TableStatus;

/// Lists what is wrong with the members of a request's changes.
pub(super) fn member_errors(request: &UpdateTableRequest, errors: &mut Vec<String>) {
    let updates = request.global_secondary_index_updates.iter().flatten();
    for (number, update) in updates.enumerate() {
        let path = format!("globalSecondaryIndexUpdates.{}.member", number + 1);
        if let Some(index) = &update.update {
            let path = format!("{path}.update");
            errors.extend(name_errors(&index.index_name, &format!("{path}.indexName")));
            let throughput = index.provisioned_throughput.as_ref();
            throughput_errors_at(throughput, &format!("{path}.provisionedThroughput"), errors);
        }
        if let Some(index) = &update.create {
            index_errors(index, &format!("{path}.create"), errors);
        }
        if let Some(name) = &update.delete {
            errors.extend(name_errors(name, &format!("{path}.delete.indexName")));
        }
    }
}

/// Refuses a change of what an index is ready for that asks for nothing, whatever else there is.
pub(super) fn check_warm(request: &UpdateTableRequest) -> Result<()> {
    let updates = request.global_secondary_index_updates.iter().flatten();
    for update in updates.filter_map(|update| update.update.as_ref()) {
        if update.warm_throughput.is_some_and(WarmThroughput::is_empty) {
            return refuse(&control::warm_without_units(&update.index_name));
        }
    }
    Ok(())
}

/// Checks what needs no table.
pub(super) fn check_updates(request: &UpdateTableRequest) -> Result<()> {
    let updates = request.global_secondary_index_updates.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for update in updates {
        let Some(name) = update.index_name() else {
            return refuse(control::EMPTY_INDEX_UPDATE);
        };
        if !seen.insert(name) {
            return refuse(&control::repeated_index_update(name));
        }
    }
    let online = updates.iter().filter(|u| u.create.is_some() || u.delete.is_some());
    if online.count() > 1 {
        return Err(one_at_a_time());
    }
    Ok(())
}

/// Checks the changes of a table's indexes, which will be billed by `billing_mode`. `is_backfilling`
/// tells of an index that is being created how far that is.
pub(crate) fn check_with_table(
    request: &UpdateTableRequest,
    (table, record): (&str, &TableRecord),
    billing_mode: BillingMode,
    is_backfilling: impl Fn(u32) -> bool,
) -> Result<()> {
    let updates = request.global_secondary_index_updates.as_deref().unwrap_or_default();
    let known = |name: &str| record.indexes.iter().find(|index| index.name == name);
    for update in updates {
        let is_there = |name: &str| known(name).is_some_and(|index| index.is_global);
        if let Some(update) = update.update.as_ref().filter(|update| !is_there(&update.index_name))
        {
            let text = control::changed_index_not_found(&update.index_name, table);
            return Err(TableError::not_found(text));
        }
    }
    let under_way = record.indexes.iter().find(|index| index.status != TableStatus::Active);
    for update in updates {
        if let Some(name) = &update.delete {
            let Some(index) = known(name).filter(|index| index.is_global) else {
                let text = control::changed_index_not_found(name, table);
                return Err(TableError::not_found(text));
            };
            check_deletion(table, index, under_way, &is_backfilling)?;
        } else if let Some(index) = &update.create {
            if known(&index.index_name).is_some() {
                return refuse(control::INDEX_EXISTS);
            }
            if under_way.is_some() {
                return Err(one_at_a_time());
            }
            let definitions = request.attribute_definitions.as_deref().unwrap_or_default();
            check_creation(index, definitions, record, billing_mode)?;
        } else if let Some(update) = &update.update {
            let index = known(&update.index_name).expect("invariant: it was looked for above");
            if index.status == TableStatus::Deleting {
                return Err(in_use(control::index_being_deleted(table, &index.name)));
            }
            check_update(index, update, billing_mode)?;
        }
    }
    Ok(())
}

fn check_deletion(
    table: &str,
    index: &IndexRecord,
    under_way: Option<&IndexRecord>,
    is_backfilling: impl Fn(u32) -> bool,
) -> Result<()> {
    match under_way {
        None => Ok(()),
        Some(other) if other.index_id != index.index_id => Err(one_at_a_time()),
        Some(own) if own.status == TableStatus::Deleting => {
            Err(in_use(control::index_being_deleted(table, &index.name)))
        }
        Some(own) if !is_backfilling(own.index_id) => {
            Err(in_use(control::index_being_allocated(table, &index.name)))
        }
        Some(_) => Ok(()),
    }
}

/// The definitions of the request count here, as the service has it; those of the table stay what they
/// are all the same.
fn check_creation(
    index: &GlobalSecondaryIndex,
    definitions: &[AttributeDefinition],
    record: &TableRecord,
    billing_mode: BillingMode,
) -> Result<()> {
    check_index(index, definitions)?;
    let others = record.indexes.iter();
    let global_count = others.clone().filter(|other| other.is_global).count();
    let lists = others.map(|other| &other.non_key_attributes);
    let lists = lists.chain([&index.projection.non_key_attributes]).flatten();
    too_many(global_count + 1, lists.map(Vec::len).sum())?;
    check_new_throughput(index, billing_mode)?;
    check_new_index_options(index, billing_mode, control::index_on_demand_of_provisioned)
}

/// Checks a change of an index but for what depends on its settings.
fn check_update(
    index: &IndexRecord,
    asked: &UpdateGlobalSecondaryIndexAction,
    billing_mode: BillingMode,
) -> Result<()> {
    let name = &index.name;
    let limits = asked.on_demand_throughput.unwrap_or_default();
    let is_warmed = asked.warm_throughput.is_some();
    if billing_mode == BillingMode::PayPerRequest {
        if asked.provisioned_throughput.is_some() || (limits.is_empty() && !is_warmed) {
            return refuse(&control::only_on_demand_updates(name));
        }
        for (which, units) in on_demand_members(limits) {
            if let Some(0 | ..=-2) = units {
                return refuse(&control::on_demand_out_of_range(which, &limits_of_index(name)));
            }
        }
        return Ok(());
    }
    let limit = on_demand_members(limits).into_iter().find(|(_, units)| units.is_some());
    if let Some((which, _)) = limit {
        return refuse(&control::index_on_demand_of_provisioned(which, name));
    }
    let Some(throughput) = asked.provisioned_throughput else {
        return if is_warmed { Ok(()) } else { refuse(&control::index_update_needs_units(name)) };
    };
    check_throughput(&throughput)?;
    if throughput == index.provisioned_throughput {
        let (read, write) = (throughput.read_capacity_units, throughput.write_capacity_units);
        return refuse(&control::index_throughput_unchanged(name, read, write));
    }
    Ok(())
}

fn one_at_a_time() -> TableError {
    TableError::new(TableErrorKind::LimitExceeded, control::ONE_ONLINE_INDEX)
}

fn in_use(text: String) -> TableError {
    TableError::new(TableErrorKind::ResourceInUse, text)
}

impl GlobalSecondaryIndexUpdate {
    /// Which index is changed; `None` where nothing is asked for.
    fn index_name(&self) -> Option<&str> {
        let update = self.update.as_ref().map(|update| &update.index_name);
        let create = self.create.as_ref().map(|create| &create.index_name);
        update.or(create).or(self.delete.as_ref()).map(String::as_str)
    }
}
