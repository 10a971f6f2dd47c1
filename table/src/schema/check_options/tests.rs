//! The rules for options, each with its wording, and in which order they are told.

use super::*;
use crate::schema::{ProvisionedThroughput, StreamViewType, TableClass};

fn throughput(read_capacity_units: i64, write_capacity_units: i64) -> ProvisionedThroughput {
    ProvisionedThroughput { read_capacity_units, write_capacity_units }
}

fn limits(read: Option<i64>, write: Option<i64>) -> Option<OnDemandThroughput> {
    Some(OnDemandThroughput { max_read_request_units: read, max_write_request_units: write })
}

fn warm(read: Option<i64>, write: Option<i64>) -> Option<WarmThroughput> {
    Some(WarmThroughput { read_units_per_second: read, write_units_per_second: write })
}

fn stream(stream_enabled: bool, has_type: bool) -> Option<StreamSpecification> {
    let stream_view_type = has_type.then_some(StreamViewType::NewImage);
    Some(StreamSpecification { stream_enabled, stream_view_type })
}

fn sse(enabled: Option<bool>, sse_type: Option<SseType>, key: Option<&str>) -> SseSpecification {
    SseSpecification { enabled, sse_type, kms_master_key_id: key.map(str::to_owned) }
}

fn on_demand() -> CreateTableRequest {
    CreateTableRequest { billing_mode: Some(BillingMode::PayPerRequest), ..Default::default() }
}

fn provisioned() -> CreateTableRequest {
    CreateTableRequest { provisioned_throughput: Some(throughput(10, 10)), ..Default::default() }
}

fn refused_new(request: &CreateTableRequest) -> String {
    check_new_options(request).unwrap_err().message().to_owned()
}

const INVALID: &str = "One or more parameter values were invalid: ";

#[test]
fn limits_are_for_new_on_demand_tables() {
    for (read, write) in [(Some(1), Some(1)), (Some(7), None), (None, None)] {
        let request =
            CreateTableRequest { on_demand_throughput: limits(read, write), ..on_demand() };
        assert_eq!(check_new_options(&request), Ok(()));
    }
    for (read, write, which) in [
        (Some(0), Some(5), "MaxReadRequestUnits"),
        (Some(-1), Some(-1), "MaxReadRequestUnits"),
        (None, Some(-2), "MaxWriteRequestUnits"),
    ] {
        let request =
            CreateTableRequest { on_demand_throughput: limits(read, write), ..on_demand() };
        assert_eq!(
            refused_new(&request),
            format!(
                "{INVALID}Requested {which} for OnDemandThroughput for table is outside of valid \
                 range"
            )
        );
    }
    let request =
        CreateTableRequest { on_demand_throughput: limits(None, Some(5)), ..provisioned() };
    assert_eq!(
        refused_new(&request),
        format!(
            "{INVALID}MaxWriteRequestUnits for OnDemandThroughput cannot be specified when table \
             BillingMode is PROVISIONED."
        )
    );
}

#[test]
fn new_tables_are_as_warm_as_their_capacity() {
    for (read, write) in [(Some(12_000), Some(4_000)), (Some(12_001), None), (None, None)] {
        let request = CreateTableRequest { warm_throughput: warm(read, write), ..on_demand() };
        assert_eq!(check_new_options(&request), Ok(()));
    }
    let request = CreateTableRequest { warm_throughput: warm(Some(0), Some(0)), ..on_demand() };
    assert!(refused_new(&request).starts_with(
        "One or more parameter values were invalid: Requested ReadUnitsPerSecond for \
         WarmThroughput for table is lower than initial throughput for OnDemand. See: https://"
    ));
    let request = CreateTableRequest { warm_throughput: warm(Some(10), Some(5)), ..provisioned() };
    assert_eq!(
        refused_new(&request),
        format!(
            "{INVALID}Requested WriteUnitsPerSecond for WarmThroughput for table is lower than \
             WriteCapacityUnits of ProvisionedThroughput"
        )
    );
}

#[test]
fn new_tables_have_no_stream_and_may_name_a_key() {
    let with = |stream_specification| CreateTableRequest { stream_specification, ..on_demand() };
    assert_eq!(check_new_options(&with(stream(false, false))), Ok(()));
    assert_eq!(refused_new(&with(stream(true, false))), control::NEW_STREAM_NEEDS_TYPE);
    assert_eq!(refused_new(&with(stream(false, true))), control::NO_STREAM_HAS_TYPE);
    assert_eq!(refused_new(&with(stream(true, true))), control::STREAMS_MISSING);
    let kms = Some(SseType::Kms);
    for good in [
        sse(None, None, None),
        sse(Some(true), None, None),
        sse(Some(false), None, None),
        sse(None, kms, None),
        sse(Some(true), kms, Some("alias/mine")),
    ] {
        assert_eq!(check_sse(&good), Ok(()), "{good:?}");
    }
    for (wrong, wanted) in [
        (sse(Some(false), kms, Some("k")), control::SSE_TYPE_WHILE_OFF),
        (sse(Some(false), None, Some("k")), control::SSE_KEY_WHILE_OFF),
        (sse(Some(true), None, Some("k")), control::SSE_KEY_NEEDS_TYPE),
        (sse(Some(true), Some(SseType::Aes256), None), control::SSE_AES),
    ] {
        let request = CreateTableRequest { sse_specification: Some(wrong), ..on_demand() };
        assert_eq!(refused_new(&request), wanted);
    }
}

fn update() -> UpdateTableRequest {
    UpdateTableRequest { table_name: "Things".to_owned(), ..Default::default() }
}

fn refused(request: &UpdateTableRequest) -> String {
    check_update_table(request).unwrap_err().message().to_owned()
}

#[test]
fn members_are_checked_before_anything_else() {
    let request = UpdateTableRequest {
        table_name: "a!".to_owned(),
        provisioned_throughput: Some(throughput(0, -1)),
        sse_specification: Some(sse(Some(true), None, Some(""))),
        ..Default::default()
    };
    assert_eq!(
        refused(&request),
        "5 validation errors detected: Value 'a!' at 'tableName' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value 'a!' at \
         'tableName' failed to satisfy constraint: Member must have length greater than or equal \
         to 3; Value '-1' at 'provisionedThroughput.writeCapacityUnits' failed to satisfy \
         constraint: Member must have value greater than or equal to 1; Value '0' at \
         'provisionedThroughput.readCapacityUnits' failed to satisfy constraint: Member must have \
         value greater than or equal to 1; Value '' at 'sSESpecification.kMSMasterKeyId' failed \
         to satisfy constraint: Member must have length greater than or equal to 1"
    );
    let mode = Some(BillingMode::PayPerRequest);
    let provisioned_throughput = Some(throughput(1, 1));
    let request = UpdateTableRequest { billing_mode: mode, provisioned_throughput, ..update() };
    assert_eq!(refused(&request), message::ON_DEMAND_HAS_NO_THROUGHPUT);
    let provisioned_throughput = Some(throughput(1_000_000_000_001, 1));
    let request = UpdateTableRequest { provisioned_throughput, ..update() };
    assert_eq!(
        refused(&request),
        "Given value 1000000000001 for ReadCapacityUnits is out of bounds"
    );
}

#[test]
fn one_request_changes_one_thing() {
    assert_eq!(refused(&update()), control::NOTHING_TO_UPDATE);
    let empty = UpdateTableRequest {
        on_demand_throughput: limits(None, None),
        warm_throughput: warm(None, None),
        ..update()
    };
    assert_eq!(refused(&empty), control::NOTHING_TO_UPDATE);
    let mut all = UpdateTableRequest {
        billing_mode: Some(BillingMode::Provisioned),
        provisioned_throughput: Some(throughput(1, 1)),
        deletion_protection_enabled: Some(false),
        table_class: Some(TableClass::Standard),
        sse_specification: Some(SseSpecification::default()),
        stream_specification: stream(true, true),
        on_demand_throughput: limits(Some(1), None),
        warm_throughput: warm(Some(1), None),
        ..update()
    };
    assert_eq!(refused(&all), control::SSE_ALONE);
    all.sse_specification = None;
    assert_eq!(refused(&all), control::TABLE_CLASS_ALONE);
    all.table_class = None;
    assert_eq!(refused(&all), control::DELETION_PROTECTION_ALONE);
    all.deletion_protection_enabled = None;
    assert_eq!(refused(&all), control::WARM_THROUGHPUT_ALONE);
    all.warm_throughput = None;
    assert_eq!(refused(&all), control::ON_DEMAND_WITH_BILLING);
    all.on_demand_throughput = None;
    assert_eq!(refused(&all), control::STREAM_WITH_THROUGHPUT);
    all.stream_specification = None;
    assert_eq!(check_update_table(&all), Ok(()));
    // Without members these ask for nothing, and so do not stand in the way.
    let request = UpdateTableRequest {
        deletion_protection_enabled: Some(true),
        warm_throughput: warm(None, None),
        ..update()
    };
    assert_eq!(check_update_table(&request), Ok(()));
    for (specification, wanted) in [
        (stream(true, false), control::ENABLED_STREAM_NEEDS_TYPE),
        (stream(false, true), control::DISABLED_STREAM_HAS_TYPE),
    ] {
        let request = UpdateTableRequest { stream_specification: specification, ..update() };
        assert_eq!(refused(&request), wanted);
    }
}

#[test]
fn options_of_new_indexes_follow_the_billing() {
    let with = |request: CreateTableRequest, limits, warm| {
        let index = GlobalSecondaryIndex {
            index_name: "idx".to_owned(),
            provisioned_throughput: request.provisioned_throughput,
            on_demand_throughput: limits,
            warm_throughput: warm,
            ..Default::default()
        };
        CreateTableRequest { global_secondary_indexes: Some(vec![index]), ..request }
    };
    for (limits, warm) in [
        (limits(Some(1), None), warm(None, Some(4_000))),
        (limits(None, None), warm(None, None)),
        (None, None),
    ] {
        assert_eq!(check_new_options(&with(on_demand(), limits, warm)), Ok(()));
    }
    let told = |request| refused_new(&request);
    assert_eq!(
        told(with(on_demand(), limits(None, Some(-1)), None)),
        format!(
            "{INVALID}Requested MaxWriteRequestUnits for OnDemandThroughput for index : idx is \
             outside of valid range"
        )
    );
    assert_eq!(
        told(with(provisioned(), limits(Some(10), Some(10)), None)),
        format!(
            "{INVALID}MaxReadRequestUnits for OnDemandThroughput for index: idx cannot be specified \
             when table BillingMode is PROVISIONED."
        )
    );
    assert!(told(with(on_demand(), None, warm(Some(11_999), None))).starts_with(&format!(
        "{INVALID}Requested ReadUnitsPerSecond for WarmThroughput for index idx is lower than \
         initial throughput for OnDemand. See: https://"
    )));
    assert_eq!(
        told(with(provisioned(), None, warm(Some(10), Some(9)))),
        format!(
            "{INVALID}Requested WriteUnitsPerSecond for WarmThroughput for index idx is lower than \
             WriteCapacityUnits of ProvisionedThroughput"
        )
    );
}
