//! Tests of what a global index has beside its capacity: limits and what it is ready for. That they
//! are there at once and after a reopen, go with the index and with the billing, and what is refused.

use esker::vfs::simulated::Simulation;

use super::index_updates::{INDEX, creation, deletion, index, open_in, request, update};
use super::*;
use crate::TableErrorKind;
use crate::operation::UpdateTableRequest;
use crate::schema::{
    GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate, OnDemandThroughput,
    ProvisionedThroughput, TableStatus, UpdateGlobalSecondaryIndexAction, WarmThroughput,
};

const INVALID: &str = "One or more parameter values were invalid: ";

fn limits(read: Option<i64>, write: Option<i64>) -> OnDemandThroughput {
    OnDemandThroughput { max_read_request_units: read, max_write_request_units: write }
}

fn warm(read: Option<i64>, write: Option<i64>) -> WarmThroughput {
    WarmThroughput { read_units_per_second: read, write_units_per_second: write }
}

fn units(read_capacity_units: i64, write_capacity_units: i64) -> ProvisionedThroughput {
    ProvisionedThroughput { read_capacity_units, write_capacity_units }
}

/// A change of the index.
fn change() -> UpdateGlobalSecondaryIndexAction {
    UpdateGlobalSecondaryIndexAction { index_name: INDEX.to_owned(), ..Default::default() }
}

fn limited(read: Option<i64>, write: Option<i64>) -> UpdateGlobalSecondaryIndexAction {
    let on_demand_throughput = Some(limits(read, write));
    UpdateGlobalSecondaryIndexAction { on_demand_throughput, ..change() }
}

fn warmed(read: Option<i64>, write: Option<i64>) -> UpdateGlobalSecondaryIndexAction {
    let warm_throughput = Some(warm(read, write));
    UpdateGlobalSecondaryIndexAction { warm_throughput, ..change() }
}

fn capacity(read: i64, write: i64) -> UpdateGlobalSecondaryIndexAction {
    let provisioned_throughput = Some(units(read, write));
    UpdateGlobalSecondaryIndexAction { provisioned_throughput, ..change() }
}

fn of(update: UpdateGlobalSecondaryIndexAction) -> GlobalSecondaryIndexUpdate {
    GlobalSecondaryIndexUpdate { update: Some(update), ..Default::default() }
}

fn changed(tables: &Tables, asked: UpdateGlobalSecondaryIndexAction) -> TableDescription {
    update(tables, of(asked)).unwrap()
}

fn refused(tables: &Tables, asked: UpdateGlobalSecondaryIndexAction) -> String {
    update(tables, of(asked)).unwrap_err().message().to_owned()
}

fn creation_with(
    on_demand_throughput: Option<OnDemandThroughput>,
    warm_throughput: Option<WarmThroughput>,
) -> GlobalSecondaryIndexUpdate {
    let mut asked = creation(INDEX);
    let index = asked.create.as_mut().unwrap();
    (index.on_demand_throughput, index.warm_throughput) = (on_demand_throughput, warm_throughput);
    asked
}

/// What an index is ready for, and whether that is being raised.
fn warmth(index: &GlobalSecondaryIndexDescription) -> (i64, i64, bool) {
    let warm = index.warm_throughput.unwrap();
    (warm.read_units_per_second, warm.write_units_per_second, warm.is_updating)
}

fn shown(tables: &Tables) -> (Option<OnDemandThroughput>, (i64, i64, bool)) {
    let described = describe(tables);
    (index(&described).on_demand_throughput, warmth(index(&described)))
}

fn finish(tables: &Tables) {
    while tables.run_index_step().unwrap() {}
}

fn switch_to_provisioned(tables: &Tables, of_index: UpdateGlobalSecondaryIndexAction) {
    let switch = UpdateTableRequest {
        billing_mode: Some(BillingMode::Provisioned),
        provisioned_throughput: Some(units(5, 5)),
        ..request(vec![of(of_index)])
    };
    tables.update_table(switch).unwrap();
}

#[test]
fn options_of_new_indexes_are_shown_and_kept() {
    let simulation = Simulation::new(1);
    let tables = open_in(&simulation).unwrap();
    let mut asked = creation_with(Some(limits(Some(50), None)), Some(warm(Some(13_000), None)));
    let create = CreateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: request(vec![]).attribute_definitions.unwrap(),
        key_schema: vec![KeySchemaElement {
            attribute_name: "pk".to_owned(),
            key_type: KeyType::Hash,
        }],
        global_secondary_indexes: asked.create.take().map(|index| vec![index]),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    };
    let answer = tables.create_table(create).unwrap().table_description;
    // The service does not tell what an index is ready for before the table is there.
    assert_eq!(index(&answer).warm_throughput, None);
    assert_eq!(index(&answer).on_demand_throughput, Some(limits(Some(50), None)));
    assert_eq!(shown(&tables), (Some(limits(Some(50), None)), (13_000, 4_000, false)));
    assert_eq!(describe(&tables).options.on_demand_throughput, None);
    tables.close().unwrap();

    // One that is added has what it asks for at once, and becomes ready with it.
    let tables = open_in(&simulation).unwrap();
    assert_eq!(shown(&tables), (Some(limits(Some(50), None)), (13_000, 4_000, false)));
    update(&tables, deletion(INDEX)).unwrap();
    finish(&tables);
    let asked = creation_with(Some(limits(None, Some(7))), Some(warm(None, Some(4_001))));
    let added = update(&tables, asked).unwrap();
    assert_eq!(index(&added).on_demand_throughput, Some(limits(None, Some(7))));
    assert_eq!(warmth(index(&added)), (12_000, 4_001, true));
    finish(&tables);
    assert_eq!(shown(&tables), (Some(limits(None, Some(7))), (12_000, 4_001, false)));
    // What was of an index is not of the next one of its name.
    update(&tables, deletion(INDEX)).unwrap();
    finish(&tables);
    update(&tables, creation(INDEX)).unwrap();
    finish(&tables);
    assert_eq!(shown(&tables), (None, (12_000, 4_000, false)));
    tables.close().unwrap();
    assert_eq!(shown(&open_in(&simulation).unwrap()), (None, (12_000, 4_000, false)));
}

#[test]
fn options_of_indexes_change_as_those_of_tables_do() {
    let simulation = Simulation::new(2);
    let tables = open_in(&simulation).unwrap();
    create(&tables, TABLE, None);
    update(&tables, creation(INDEX)).unwrap();
    finish(&tables);
    let answer = changed(&tables, limited(Some(4), Some(2)));
    assert_eq!(answer.table_status, TableStatus::Active);
    assert_eq!(index(&answer).index_status, TableStatus::Updating);
    assert_eq!(index(&answer).on_demand_throughput, Some(limits(Some(4), Some(2))));
    assert_eq!(index(&describe(&tables)).index_status, TableStatus::Active);
    // The same again is taken; -1 lifts.
    changed(&tables, limited(Some(4), Some(2)));
    let answer = changed(&tables, limited(Some(-1), None));
    assert_eq!(index(&answer).on_demand_throughput, Some(limits(Some(-1), Some(2))));
    assert_eq!(shown(&tables).0, Some(limits(None, Some(2))));

    let answer = changed(&tables, warmed(Some(12_001), None));
    assert_eq!(answer.table_status, TableStatus::Active);
    assert_eq!(index(&answer).index_status, TableStatus::Active);
    assert_eq!(warmth(index(&answer)), (12_000, 4_000, true));
    assert_eq!(shown(&tables).1, (12_001, 4_000, false));
    assert!(!warmth(index(&changed(&tables, warmed(Some(12_001), None)))).2);
    let both = UpdateGlobalSecondaryIndexAction {
        warm_throughput: Some(warm(None, Some(4_001))),
        ..limited(Some(9), None)
    };
    changed(&tables, both);
    tables.close().unwrap();
    let tables = open_in(&simulation).unwrap();
    assert_eq!(shown(&tables), (Some(limits(Some(9), Some(2))), (12_001, 4_001, false)));
}

#[test]
fn limits_of_indexes_go_with_the_billing_and_warmth_stays() {
    let simulation = Simulation::new(3);
    let tables = open_in(&simulation).unwrap();
    create(&tables, TABLE, None);
    update(&tables, creation_with(Some(limits(Some(3), Some(3))), None)).unwrap();
    finish(&tables);
    // What it is ready for is no capacity.
    let without = UpdateTableRequest {
        billing_mode: Some(BillingMode::Provisioned),
        provisioned_throughput: Some(units(5, 5)),
        ..request(vec![of(warmed(Some(12_002), None))])
    };
    assert_eq!(
        tables.update_table(without).unwrap_err().message(),
        format!("{INVALID}ProvisionedThroughput must be specified for index: by_n")
    );
    switch_to_provisioned(&tables, capacity(5, 5));
    assert_eq!(shown(&tables), (None, (12_000, 4_000, false)));
    changed(&tables, capacity(13_000, 6));
    assert_eq!(shown(&tables).1, (13_000, 4_000, false));
    changed(&tables, capacity(1, 1));
    tables.close().unwrap();
    let tables = open_in(&simulation).unwrap();
    assert_eq!(shown(&tables), (None, (13_000, 4_000, false)));
    let back = UpdateTableRequest {
        billing_mode: Some(BillingMode::PayPerRequest),
        ..request(vec![of(limited(Some(8), None))])
    };
    tables.update_table(back).unwrap();
    assert_eq!(shown(&tables), (Some(limits(Some(8), None)), (13_000, 4_000, false)));
}

#[test]
fn an_index_of_a_provisioned_table_is_ready_for_its_capacity() {
    let tables = open_in(&Simulation::new(4)).unwrap();
    create(&tables, TABLE, None);
    let mut switch = request(vec![]);
    (switch.billing_mode, switch.provisioned_throughput) =
        (Some(BillingMode::Provisioned), Some(units(5, 5)));
    switch.global_secondary_index_updates = None;
    tables.update_table(switch).unwrap();
    let mut asked = creation_with(None, Some(warm(Some(4), None)));
    asked.create.as_mut().unwrap().provisioned_throughput = Some(units(5, 6));
    let error = update(&tables, asked.clone()).unwrap_err();
    assert_eq!(
        error.message(),
        format!(
            "{INVALID}Requested ReadUnitsPerSecond for WarmThroughput for index by_n is lower than \
             ReadCapacityUnits of ProvisionedThroughput"
        )
    );
    asked.create.as_mut().unwrap().on_demand_throughput = Some(limits(None, Some(1)));
    let error = update(&tables, asked.clone()).unwrap_err();
    let of_provisioned = format!(
        "{INVALID}MaxWriteRequestUnits for OnDemandThroughput for index : by_n cannot be specified \
         when the table BillingMode is PROVISIONED"
    );
    assert_eq!(error.message(), of_provisioned);
    let created = asked.create.as_mut().unwrap();
    (created.on_demand_throughput, created.warm_throughput) = (None, None);
    update(&tables, asked).unwrap();
    finish(&tables);
    assert_eq!(shown(&tables), (None, (5, 6, false)));
    assert_eq!(refused(&tables, limited(None, Some(1))), of_provisioned);
    assert_eq!(
        refused(&tables, change()),
        format!(
            "{INVALID}Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: \
             by_n"
        )
    );
    changed(&tables, warmed(Some(50), None));
    assert_eq!(shown(&tables).1, (50, 6, false));
    let both = UpdateGlobalSecondaryIndexAction {
        warm_throughput: Some(warm(Some(60), None)),
        ..capacity(70, 6)
    };
    assert!(refused(&tables, both).contains("index by_n is lower than current WarmThroughput"));
}

#[test]
fn what_is_wrong_with_a_change_of_options_is_told() {
    let tables = open_in(&Simulation::new(5)).unwrap();
    create(&tables, TABLE, None);
    update(&tables, creation(INDEX)).unwrap();
    finish(&tables);
    let nothing = format!(
        "{INVALID}The only Updates for index: by_n when TableThroughputMode is PAY_PER_REQUEST can \
         be to OnDemandThroughput, WarmThroughput"
    );
    let mixed = UpdateGlobalSecondaryIndexAction {
        on_demand_throughput: Some(limits(Some(1), None)),
        ..capacity(1, 1)
    };
    for asked in [change(), limited(None, None), capacity(1, 1), mixed] {
        assert_eq!(refused(&tables, asked), nothing);
    }
    for (asked, which) in [
        (limited(Some(0), None), "MaxReadRequestUnits"),
        (limited(Some(1), Some(-2)), "MaxWriteRequestUnits"),
    ] {
        assert_eq!(
            refused(&tables, asked),
            format!(
                "{INVALID}Requested {which} for OnDemandThroughput for index : by_n is outside of \
                 valid range"
            )
        );
    }
    assert_eq!(
        refused(&tables, warmed(None, Some(3_999))),
        format!(
            "{INVALID}Requested WriteUnitsPerSecond for WarmThroughput for index by_n is lower than \
             current WarmThroughput, decreasing WarmThroughput is not supported"
        )
    );
    assert_eq!(shown(&tables), (None, (12_000, 4_000, false)));
    // One that asks for nothing is told before the table is looked for.
    let nowhere = UpdateTableRequest {
        table_name: "nowhere".to_owned(),
        ..request(vec![of(warmed(None, None))])
    };
    assert_eq!(
        tables.update_table(nowhere).unwrap_err().message(),
        format!(
            "{INVALID}WarmThroughput must have at least one of ReadUnitsPerSecond or \
             WriteUnitsPerSecond specified for index: by_n"
        )
    );
    let ghost =
        UpdateGlobalSecondaryIndexAction { index_name: "ghost".to_owned(), ..limited(None, None) };
    let error = update(&tables, of(ghost)).unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::ResourceNotFound);
    assert_eq!(error.message(), "Requested resource not found: Index ghost for table things");
}
