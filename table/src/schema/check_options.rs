//! The rules for the options of CreateTable and UpdateTable that need no table, in the service's
//! order. What depends on the table is checked where it is changed.

use super::check::{
    check_throughput, name_errors, plain_name, refuse, refuse_listed, throughput_errors,
};
use super::check_index_updates;
use super::{
    BillingMode, GlobalSecondaryIndex, OnDemandThroughput, ProvisionedThroughput, SseSpecification,
    SseType, StreamSpecification, WarmThroughput,
};
use crate::error::Result;
use crate::message::{self, control};
use crate::operation::{CreateTableRequest, UpdateTableRequest};
use crate::settings::{WARM_READ_UNITS, WARM_WRITE_UNITS};

pub(crate) const MAX_READ_UNITS: &str = "MaxReadRequestUnits";
pub(crate) const MAX_WRITE_UNITS: &str = "MaxWriteRequestUnits";
pub(crate) const WARM_READ: &str = "ReadUnitsPerSecond";
pub(crate) const WARM_WRITE: &str = "WriteUnitsPerSecond";

/// The limits of a request with their names.
pub(crate) fn on_demand_members(limits: OnDemandThroughput) -> [(&'static str, Option<i64>); 2] {
    [
        (MAX_READ_UNITS, limits.max_read_request_units),
        (MAX_WRITE_UNITS, limits.max_write_request_units),
    ]
}

/// Refuses options that the service refuses of a new table.
pub(crate) fn check_new_options(request: &CreateTableRequest) -> Result<()> {
    let mut errors = Vec::new();
    key_errors(request.sse_specification.as_ref(), &mut errors);
    refuse_listed(errors)?;
    let mode = request.billing_mode.unwrap_or_default();
    let refused = control::on_demand_of_new_provisioned;
    check_new_limits(request.on_demand_throughput, mode, "table", refused)?;
    let throughput = request.provisioned_throughput.unwrap_or_default();
    check_new_warm(request.warm_throughput, mode, "table", throughput)?;
    for index in request.global_secondary_indexes.iter().flatten() {
        check_new_index_options(index, mode, control::index_on_demand_of_new_provisioned)?;
    }
    if let Some(stream) = request.stream_specification {
        match (stream.stream_enabled, stream.stream_view_type) {
            (true, None) => return refuse(control::NEW_STREAM_NEEDS_TYPE),
            (false, Some(_)) => return refuse(control::NO_STREAM_HAS_TYPE),
            _ => {}
        }
    }
    if let Some(sse) = &request.sse_specification {
        check_sse(sse)?;
    }
    match request.stream_specification {
        Some(StreamSpecification { stream_enabled: true, .. }) => refuse(control::STREAMS_MISSING),
        _ => Ok(()),
    }
}

/// Checks the limits of a new table or index. `refused` tells of one that a provisioned table has none.
fn check_new_limits(
    limits: Option<OnDemandThroughput>,
    mode: BillingMode,
    whose: &str,
    refused: impl Fn(&str) -> String,
) -> Result<()> {
    for (which, units) in on_demand_members(limits.unwrap_or_default()) {
        match units {
            Some(_) if mode == BillingMode::Provisioned => return refuse(&refused(which)),
            Some(..=0) => return refuse(&control::on_demand_out_of_range(which, whose)),
            _ => {}
        }
    }
    Ok(())
}

/// Checks what a new global index is to have beside capacity. `refused` tells, of one of the limits
/// and the index, that a provisioned table has none.
pub(super) fn check_new_index_options(
    index: &GlobalSecondaryIndex,
    mode: BillingMode,
    refused: fn(&str, &str) -> String,
) -> Result<()> {
    let name = &index.index_name;
    let refused = |which: &str| refused(which, name);
    check_new_limits(index.on_demand_throughput, mode, &limits_of_index(name), refused)?;
    let throughput = index.provisioned_throughput.unwrap_or_default();
    check_new_warm(index.warm_throughput, mode, &warmth_of_index(name), throughput)
}

/// How the service calls an index where it tells of its limits.
pub(crate) fn limits_of_index(name: &str) -> String {
    format!("index : {name}")
}

/// How the service calls an index where it tells of what it is ready for.
pub(crate) fn warmth_of_index(name: &str) -> String {
    format!("index {name}")
}

fn check_new_warm(
    warm: Option<WarmThroughput>,
    mode: BillingMode,
    whose: &str,
    provisioned: ProvisionedThroughput,
) -> Result<()> {
    let Some(warm) = warm else { return Ok(()) };
    let of_members = [
        (
            (WARM_READ, warm.read_units_per_second, WARM_READ_UNITS),
            ("ReadCapacityUnits", provisioned.read_capacity_units),
        ),
        (
            (WARM_WRITE, warm.write_units_per_second, WARM_WRITE_UNITS),
            ("WriteCapacityUnits", provisioned.write_capacity_units),
        ),
    ];
    for ((which, asked, initial), (name, units)) in of_members {
        let Some(asked) = asked else { continue };
        match mode {
            BillingMode::PayPerRequest if asked < initial => {
                return refuse(&control::warm_below_initial(which, whose));
            }
            BillingMode::Provisioned if asked < units => {
                return refuse(&control::warm_below_provisioned(which, whose, name));
            }
            _ => {}
        }
    }
    Ok(())
}

fn key_errors(sse: Option<&SseSpecification>, errors: &mut Vec<String>) {
    if sse.is_some_and(|sse| sse.kms_master_key_id.as_deref() == Some("")) {
        let must = "have length greater than or equal to 1";
        errors.push(message::constraint("", "sSESpecification.kMSMasterKeyId", must));
    }
}

fn check_sse(sse: &SseSpecification) -> Result<()> {
    let has_key = sse.kms_master_key_id.is_some();
    match (sse.enabled, sse.sse_type) {
        (Some(false), Some(_)) => refuse(control::SSE_TYPE_WHILE_OFF),
        (Some(false), None) if has_key => refuse(control::SSE_KEY_WHILE_OFF),
        (_, Some(SseType::Aes256)) => refuse(control::SSE_AES),
        (_, None) if has_key => refuse(control::SSE_KEY_NEEDS_TYPE),
        _ => Ok(()),
    }
}

/// Refuses an UpdateTable request that the service refuses whatever the table.
pub(crate) fn check_update_table(request: &UpdateTableRequest) -> Result<()> {
    let mut errors = name_errors(plain_name(&request.table_name), "tableName");
    throughput_errors(request.provisioned_throughput.as_ref(), &mut errors);
    key_errors(request.sse_specification.as_ref(), &mut errors);
    check_index_updates::member_errors(request, &mut errors);
    refuse_listed(errors)?;
    let throughput = request.provisioned_throughput;
    if request.billing_mode == Some(BillingMode::PayPerRequest) && throughput.is_some() {
        return refuse(message::ON_DEMAND_HAS_NO_THROUGHPUT);
    }
    throughput.map_or(Ok(()), |throughput| check_throughput(&throughput))?;
    check_index_updates::check_warm(request)?;
    check_alone(request)?;
    check_index_updates::check_updates(request)?;
    if let Some(stream) = request.stream_specification {
        match (stream.stream_enabled, stream.stream_view_type) {
            (true, None) => return refuse(control::ENABLED_STREAM_NEEDS_TYPE),
            (false, Some(_)) => return refuse(control::DISABLED_STREAM_HAS_TYPE),
            _ => {}
        }
    }
    request.sse_specification.as_ref().map_or(Ok(()), check_sse)
}

/// One request changes one thing.
fn check_alone(request: &UpdateTableRequest) -> Result<()> {
    let billing = request.billing_mode.is_some();
    let throughput = request.provisioned_throughput.is_some();
    let stream = request.stream_specification.is_some();
    let sse = request.sse_specification.is_some();
    let class = request.table_class.is_some();
    let protection = request.deletion_protection_enabled.is_some();
    // Without members they ask for nothing.
    let on_demand = request.on_demand_throughput.is_some_and(|limits| !limits.is_empty());
    let warm = request.warm_throughput.is_some_and(|warm| !warm.is_empty());
    let indexes = request.global_secondary_index_updates.as_ref().is_some_and(|u| !u.is_empty());
    let asked = [billing, throughput, stream, sse, class, protection, on_demand, warm, indexes];
    match asked.into_iter().filter(|is_asked| *is_asked).count() {
        0 => return refuse(control::NOTHING_TO_UPDATE),
        1 => return Ok(()),
        _ => {}
    }
    for (is_asked, text) in [
        (sse, control::SSE_ALONE),
        (class, control::TABLE_CLASS_ALONE),
        (protection, control::DELETION_PROTECTION_ALONE),
        (warm, control::WARM_THROUGHPUT_ALONE),
        (on_demand && (throughput || stream || indexes), control::ON_DEMAND_WITH_BILLING),
    ] {
        if is_asked {
            return refuse(text);
        }
    }
    if stream && (throughput || request.billing_mode == Some(BillingMode::Provisioned)) {
        return refuse(control::STREAM_WITH_THROUGHPUT);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
