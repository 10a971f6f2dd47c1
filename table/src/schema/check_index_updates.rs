//! The rules for what UpdateTable does to global indexes, in the service's order: first what needs no
//! table, then what does.

use std::collections::BTreeSet;

use super::check::{check_throughput, name_errors, refuse, throughput_errors_at};
use super::check_index::{check_index, check_new_throughput, index_errors, too_many};
use super::{AttributeDefinition, BillingMode, GlobalSecondaryIndex, GlobalSecondaryIndexUpdate};
use crate::catalog::{IndexRecord, TableRecord};
use crate::error::{Result, TableError, TableErrorKind};
use crate::message::{self, control};
use crate::operation::UpdateTableRequest;
use crate::schema::{ProvisionedThroughput, TableStatus};

/// Lists what is wrong with the members of a request's changes.
pub(super) fn member_errors(request: &UpdateTableRequest, errors: &mut Vec<String>) {
    let updates = request.global_secondary_index_updates.iter().flatten();
    for (number, update) in updates.enumerate() {
        let path = format!("globalSecondaryIndexUpdates.{}.member", number + 1);
        if let Some(index) = &update.update {
            let path = format!("{path}.update");
            errors.extend(name_errors(&index.index_name, &format!("{path}.indexName")));
            let throughput = Some(&index.provisioned_throughput);
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
        if update.update.as_ref().is_some_and(|update| !is_there(&update.index_name)) {
            return refuse(control::UPDATE_OF_UNKNOWN_INDEX);
        }
    }
    let under_way = record.indexes.iter().find(|index| index.status != TableStatus::Active);
    for update in updates {
        if let Some(name) = &update.delete {
            let Some(index) = known(name).filter(|index| index.is_global) else {
                let text = control::deleted_index_not_found(name, table);
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
            check_new_capacity(index, update.provisioned_throughput, billing_mode)?;
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
    check_new_throughput(index, billing_mode)
}

fn check_new_capacity(
    index: &IndexRecord,
    asked: ProvisionedThroughput,
    billing_mode: BillingMode,
) -> Result<()> {
    if billing_mode == BillingMode::PayPerRequest {
        return refuse(message::ON_DEMAND_HAS_NO_THROUGHPUT);
    }
    check_throughput(&asked)?;
    if asked == index.provisioned_throughput {
        let (read, write) = (asked.read_capacity_units, asked.write_capacity_units);
        return refuse(&control::index_throughput_unchanged(&index.name, read, write));
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
