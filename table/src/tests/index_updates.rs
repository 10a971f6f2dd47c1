//! UpdateTable on indexes: each step of an index's life, what is refused meanwhile, and its way through
//! random writes, reopens and power cuts, beside a model.

use std::collections::BTreeMap;

use esker::vfs::simulated::{CrashPolicy, Simulation};
use esker::{Background, ReadMode};

use super::indexes::assert_sound;
use super::*;
use crate::operation::{DeleteTableRequest, UpdateTableRequest};
use crate::schema::{
    GlobalSecondaryIndex, GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate, Projection,
    ProjectionType, ProvisionedThroughput, TableStatus, UpdateGlobalSecondaryIndexAction,
};
use crate::table::{CountsDelta, TableDelta};
use crate::{TableError, TableErrorKind};

pub(super) const INDEX: &str = "by_n";

/// An index by the number `n`.
pub(super) fn creation(name: &str) -> GlobalSecondaryIndexUpdate {
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    let projection =
        Projection { projection_type: Some(ProjectionType::All), non_key_attributes: None };
    let index = GlobalSecondaryIndex {
        index_name: name.to_owned(),
        key_schema: vec![element("n", KeyType::Hash), element("pk", KeyType::Range)],
        projection,
        ..Default::default()
    };
    GlobalSecondaryIndexUpdate { create: Some(index), ..Default::default() }
}

pub(super) fn deletion(name: &str) -> GlobalSecondaryIndexUpdate {
    GlobalSecondaryIndexUpdate { delete: Some(name.to_owned()), ..Default::default() }
}

pub(super) fn request(updates: Vec<GlobalSecondaryIndexUpdate>) -> UpdateTableRequest {
    let definition = |name: &str, attribute_type| AttributeDefinition {
        attribute_name: name.to_owned(),
        attribute_type,
    };
    UpdateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: Some(vec![
            definition("n", ScalarAttributeType::N),
            definition("pk", ScalarAttributeType::S),
        ]),
        global_secondary_index_updates: Some(updates),
        ..Default::default()
    }
}

pub(super) fn update(
    tables: &Tables,
    change: GlobalSecondaryIndexUpdate,
) -> Result<TableDescription, TableError> {
    Ok(tables.update_table(request(vec![change]))?.table_description)
}

fn refused(tables: &Tables, updates: Vec<GlobalSecondaryIndexUpdate>) -> (TableErrorKind, String) {
    let error = tables.update_table(request(updates)).unwrap_err();
    (error.kind(), error.message().to_owned())
}

pub(super) fn index(description: &TableDescription) -> &GlobalSecondaryIndexDescription {
    &description.global_secondary_indexes[0]
}

pub(super) fn numbered(id: u64, n: impl Into<AttributeValue>) -> Item {
    item([("pk", format!("item{id:03}").as_str().into()), ("n", n.into())])
}

pub(super) fn key_of(id: u64) -> Item {
    item([("pk", format!("item{id:03}").as_str().into())])
}

pub(super) fn scan_index(tables: &Tables) -> Vec<Item> {
    let request = ScanRequest { index_name: Some(INDEX.to_owned()), ..Default::default() };
    let mut items = scan_all(tables, request);
    items.sort_by_key(|item| format!("{:?}", item["pk"]));
    items
}

fn wait_until_active(tables: &Tables) {
    while describe(tables).table_status != TableStatus::Active {
        std::thread::yield_now();
    }
}

/// A database whose work is done by the test.
pub(super) fn open_in(simulation: &Simulation) -> Result<Tables, TableError> {
    let db = esker::Db::builder()
        .world(simulation.world())
        .background(Background::Manual)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .memory_budget_bytes(1 << 20)
        .open("/db")?;
    Tables::open(db)
}

#[test]
fn an_index_is_filled_beside_writes_and_taken_away_again() {
    let tables = open_in(&Simulation::new(1)).unwrap();
    create(&tables, TABLE, None);
    for id in 0..300 {
        put(&tables, numbered(id, (id % 7).cast_signed()));
    }
    // What the index's key cannot be, and what has none.
    put(&tables, numbered(300, "text"));
    put(&tables, key_of(301));
    assert!(!tables.run_index_step().unwrap());

    let created = update(&tables, creation(INDEX)).unwrap();
    assert_eq!(created.table_status, TableStatus::Updating);
    assert_eq!(index(&created).index_status, TableStatus::Creating);
    assert_eq!(index(&created).backfilling, Some(false));
    assert_eq!(created.attribute_definitions.len(), 2);
    let told = |kind, text: &str| (kind, text.to_owned());
    let limit = "Subscriber limit exceeded: Only 1 online index can be created or deleted \
                 simultaneously per table";
    assert_eq!(
        refused(&tables, vec![creation("other")]),
        told(TableErrorKind::LimitExceeded, limit)
    );
    assert_eq!(
        refused(&tables, vec![deletion(INDEX)]),
        told(
            TableErrorKind::ResourceInUse,
            "Attempt to change a resource which is still in use: Index creation is in resource \
             allocation phase. Retry deletion during backfilling phase or when the index is active. \
             Table: things Index: by_n"
        )
    );
    let delete_table =
        || tables.delete_table(DeleteTableRequest { table_name: TABLE.to_owned() }).unwrap_err();
    assert_eq!(delete_table().kind(), TableErrorKind::ResourceInUse);

    assert!(tables.run_index_step().unwrap());
    assert!(tables.run_index_step().unwrap());
    let filling = describe(&tables);
    assert_eq!(index(&filling).backfilling, Some(true));
    let so_far = index(&filling).item_count;
    assert!(0 < so_far && so_far < 300, "{so_far}");
    let scanned = tables.scan(ScanRequest {
        table_name: TABLE.to_owned(),
        index_name: Some(INDEX.to_owned()),
        ..Default::default()
    });
    assert_eq!(
        scanned.unwrap_err().message(),
        "Cannot read from backfilling global secondary index: by_n"
    );
    // Writes of items that are in the index, and of such as are not yet.
    for id in (0..300).step_by(3) {
        put(&tables, numbered(id, 100));
    }
    for id in (0..300).step_by(5) {
        delete(&tables, key_of(id));
    }
    for id in 400..420 {
        put(&tables, numbered(id, 7));
    }
    let wrong = PutItemRequest {
        table_name: TABLE.to_owned(),
        item: numbered(500, "text"),
        ..Default::default()
    };
    assert!(tables.put_item(wrong).unwrap_err().message().contains("Type mismatch for Index Key"));
    assert_sound(&tables);
    while tables.run_index_step().unwrap() {}
    let expected: Vec<Item> = (0..300)
        .filter(|id| id % 5 > 0)
        .map(|id| numbered(id, if id % 3 == 0 { 100 } else { (id % 7).cast_signed() }))
        .chain((400..420).map(|id| numbered(id, 7)))
        .collect();
    let active = describe(&tables);
    assert_eq!(active.table_status, TableStatus::Active);
    assert_eq!(index(&active).index_status, TableStatus::Active);
    assert_eq!(index(&active).backfilling, None);
    assert_eq!(index(&active).item_count, expected.len() as u64);
    assert_eq!(scan_index(&tables), expected);
    assert_sound(&tables);

    let exists = "Attempting to create an index which already exists";
    assert_eq!(refused(&tables, vec![creation(INDEX)]), told(TableErrorKind::Validation, exists));
    let deleting = update(&tables, deletion(INDEX)).unwrap();
    assert_eq!(deleting.table_status, TableStatus::Updating);
    assert_eq!(index(&deleting).index_status, TableStatus::Deleting);
    assert_eq!(refused(&tables, vec![deletion(INDEX)]).0, TableErrorKind::ResourceInUse);
    assert_eq!(refused(&tables, vec![creation("other")]).0, TableErrorKind::LimitExceeded);
    assert_eq!(delete_table().kind(), TableErrorKind::ResourceInUse);
    put(&tables, numbered(501, "text"));
    assert_sound(&tables);
    while tables.run_index_step().unwrap() {}
    let gone = describe(&tables);
    assert_eq!((gone.table_status, gone.global_secondary_indexes.len()), (TableStatus::Active, 0));
    assert_eq!(gone.attribute_definitions.len(), 1);
    assert_eq!(tables.db().keyspaces().unwrap().len(), 2);
    assert_sound(&tables);
    // The name is free again, and the new index has nothing of the old one.
    update(&tables, creation(INDEX)).unwrap();
    while tables.run_index_step().unwrap() {}
    assert_eq!(scan_index(&tables), expected);
    assert_sound(&tables);
}

#[test]
fn a_table_whose_items_cannot_be_read_does_not_hold_up_the_others() {
    let tables = open_in(&Simulation::new(8)).unwrap();
    for name in [TABLE, "other"] {
        create(&tables, name, None);
        let request =
            UpdateTableRequest { table_name: name.to_owned(), ..request(vec![creation(INDEX)]) };
        tables.update_table(request).unwrap();
    }
    let damaged = tables.find(TABLE).unwrap().id();
    tables.db().drop_keyspace(&crate::catalog::items_keyspace(damaged)).unwrap();
    let steps: Vec<_> = (0..12).map(|_| tables.run_index_step()).collect();
    assert!(steps.iter().any(|step| step.is_err()));
    let report = tables.index_work_report();
    assert_eq!((report.pending, report.errors > 0), (1, true));
    assert_eq!(
        report.error.as_deref(),
        Some("index 1 of table things: Requested resource not found")
    );
    let status = |name: &str| {
        let request = DescribeTableRequest { table_name: name.to_owned() };
        tables.describe_table(request).unwrap().table.table_status
    };
    assert_eq!((status(TABLE), status("other")), (TableStatus::Updating, TableStatus::Active));
    // Its user can give the index up.
    update(&tables, deletion(INDEX)).unwrap();
    while tables.run_index_step().unwrap() {}
    assert_eq!(status(TABLE), TableStatus::Active);
    let report = tables.index_work_report();
    assert_eq!((report.pending, report.error), (0, None));
}

#[test]
fn a_step_that_panics_is_told_until_its_index_gets_on() {
    let tables = open_in(&Simulation::new(8)).unwrap();
    for name in [TABLE, "other"] {
        create(&tables, name, None);
        let request =
            UpdateTableRequest { table_name: name.to_owned(), ..request(vec![creation(INDEX)]) };
        tables.update_table(request).unwrap();
    }
    let step = || tables.index_step(|_| panic!("planted"));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(step)).unwrap_err();
    let told = Some("index 1 of table things: a step panicked");
    let report = tables.index_work_report();
    assert_eq!((report.pending, report.errors, report.error.as_deref()), (2, 1, told));
    // The step of another index.
    tables.run_index_step().unwrap();
    assert_eq!(tables.index_work_report().error.as_deref(), told);
    while tables.run_index_step().unwrap() {}
    let report = tables.index_work_report();
    assert_eq!((report.pending, report.errors, report.error), (0, 1, None));
}

#[test]
fn what_a_write_counts_that_began_before_an_index_is_published_of_it() {
    let tables = open_in(&Simulation::new(9)).unwrap();
    create(&tables, TABLE, None);
    let before = tables.find(TABLE).unwrap();
    update(&tables, creation(INDEX)).unwrap();
    while tables.run_index_step().unwrap() {}
    let index_id = tables.find(TABLE).unwrap().indexes[0].id();
    let mut delta = TableDelta::default();
    delta.add_of_index(index_id, CountsDelta::of(None, Some(10)));
    before.publish(&delta);
    let described = describe(&tables);
    assert_eq!((index(&described).item_count, index(&described).index_size_bytes), (1, 10));
}

#[test]
fn an_index_that_is_being_filled_can_be_given_up() {
    let tables = open_in(&Simulation::new(2)).unwrap();
    create(&tables, TABLE, None);
    for id in 0..200 {
        put(&tables, numbered(id, 1));
    }
    update(&tables, creation(INDEX)).unwrap();
    tables.run_index_step().unwrap();
    tables.run_index_step().unwrap();
    update(&tables, deletion(INDEX)).unwrap();
    put(&tables, numbered(1, 2));
    while tables.run_index_step().unwrap() {}
    assert_eq!(describe(&tables).global_secondary_indexes, []);
    assert_sound(&tables);
    tables.delete_table(DeleteTableRequest { table_name: TABLE.to_owned() }).unwrap();
}

#[test]
fn what_is_wrong_with_a_change_is_told_as_the_service_tells_it() {
    let tables = open_in(&Simulation::new(3)).unwrap();
    create(&tables, TABLE, None);
    let told = |updates: Vec<GlobalSecondaryIndexUpdate>| refused(&tables, updates).1;
    assert_eq!(
        told(vec![GlobalSecondaryIndexUpdate::default()]),
        "One or more parameter values were invalid: One of GlobalSecondaryIndexUpdate.Update, \
         GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be null"
    );
    assert_eq!(
        told(vec![creation("same"), deletion("same")]),
        "One or more parameter values were invalid: Only one global secondary index update per index \
         is allowed simultaneously. Index: same"
    );
    assert_eq!(
        refused(&tables, vec![creation("one"), creation("two")]).0,
        TableErrorKind::LimitExceeded
    );
    assert_eq!(
        refused(&tables, vec![deletion("nothing")]),
        (
            TableErrorKind::ResourceNotFound,
            "Requested resource not found: Index nothing for table things".to_owned()
        )
    );
    let capacity = |name: &str, units| GlobalSecondaryIndexUpdate {
        update: Some(UpdateGlobalSecondaryIndexAction {
            index_name: name.to_owned(),
            provisioned_throughput: Some(ProvisionedThroughput {
                read_capacity_units: units,
                write_capacity_units: units,
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let unknown = "Requested resource not found: Index nothing for table things";
    assert_eq!(
        refused(&tables, vec![capacity("nothing", 1)]),
        (TableErrorKind::ResourceNotFound, unknown.to_owned())
    );
    assert!(told(vec![capacity("x", 0)]).starts_with("3 validation errors detected: "));
    let mut short = creation("x");
    short.create.as_mut().unwrap().key_schema.clear();
    assert!(
        told(vec![short]).contains(
            "Value '[]' at 'globalSecondaryIndexUpdates.1.member.create.keySchema' failed"
        )
    );
    let undefined =
        UpdateTableRequest { attribute_definitions: None, ..request(vec![creation(INDEX)]) };
    assert_eq!(
        tables.update_table(undefined).unwrap_err().message(),
        crate::message::KEY_WITHOUT_DEFINITION
    );
    let mut unprojected = creation(INDEX);
    unprojected.create.as_mut().unwrap().projection.projection_type = None;
    assert_eq!(told(vec![unprojected]), crate::message::PROJECTION_TYPE_MISSING);
    let mut provisioned = creation(INDEX);
    provisioned.create.as_mut().unwrap().provisioned_throughput =
        Some(ProvisionedThroughput { read_capacity_units: 1, write_capacity_units: 1 });
    assert!(told(vec![provisioned.clone()]).contains("should not be specified for index"));

    // Capacity of indexes goes with that of the table.
    update(&tables, creation(INDEX)).unwrap();
    while tables.run_index_step().unwrap() {}
    assert_eq!(
        told(vec![capacity(INDEX, 5)]),
        "One or more parameter values were invalid: The only Updates for index: by_n when \
         TableThroughputMode is PAY_PER_REQUEST can be to OnDemandThroughput, WarmThroughput"
    );
    let switch = |updates| UpdateTableRequest {
        billing_mode: Some(BillingMode::Provisioned),
        provisioned_throughput: Some(ProvisionedThroughput {
            read_capacity_units: 9,
            write_capacity_units: 9,
        }),
        global_secondary_index_updates: updates,
        ..request(vec![])
    };
    let error = tables.update_table(switch(None)).unwrap_err();
    assert!(error.message().ends_with("must be specified for index: by_n"), "{error}");
    tables.update_table(switch(Some(vec![capacity(INDEX, 5)]))).unwrap();
    let throughput = index(&describe(&tables)).provisioned_throughput;
    assert_eq!((throughput.read_capacity_units, throughput.write_capacity_units), (5, 5));
    assert!(told(vec![capacity(INDEX, 5)]).starts_with("The provisioned throughput for the index"));
    let shown = update(&tables, capacity(INDEX, 6)).unwrap();
    assert_eq!(index(&shown).index_status, TableStatus::Updating);
    assert_eq!(index(&describe(&tables)).provisioned_throughput.read_capacity_units, 6);
    assert_eq!(index(&describe(&tables)).index_status, TableStatus::Active);
    let on_demand = UpdateTableRequest {
        billing_mode: Some(BillingMode::PayPerRequest),
        global_secondary_index_updates: None,
        ..request(vec![])
    };
    tables.update_table(on_demand).unwrap();
    assert_eq!(index(&describe(&tables)).provisioned_throughput.read_capacity_units, 0);
    // What an index's key is cannot be defined anew.
    let mut other = request(vec![creation("again")]);
    other.attribute_definitions.as_mut().unwrap()[0].attribute_type = ScalarAttributeType::S;
    let mut other_index = other.clone();
    other_index.global_secondary_index_updates = Some(vec![capacity("again", 1)]);
    tables.update_table(other).unwrap();
    let definitions = describe(&tables).attribute_definitions;
    let of_n = definitions.iter().find(|d| d.attribute_name == "n").unwrap();
    assert_eq!(of_n.attribute_type, ScalarAttributeType::N);
}

#[test]
fn threads_fill_an_index_also_after_a_reopen() {
    let mut fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    for id in 0..999 {
        put(&fixture.tables, numbered(id, 1));
    }
    update(&fixture.tables, creation(INDEX)).unwrap();
    for _ in 0..3 {
        fixture = fixture.reopened();
    }
    // Without closing: the last handle ends the thread.
    let Fixture { tables, dir } = fixture;
    drop(tables);
    let fixture = Fixture { tables: open(&dir), dir };
    wait_until_active(&fixture.tables);
    assert_eq!(scan_index(&fixture.tables).len(), 999);
    assert_sound(&fixture.tables);
    update(&fixture.tables, deletion(INDEX)).unwrap();
    let fixture = fixture.reopened();
    wait_until_active(&fixture.tables);
    assert_eq!(describe(&fixture.tables).global_secondary_indexes, []);
    assert_eq!(fixture.tables.db().keyspaces().unwrap().len(), 2);
}

#[test]
fn writes_win_over_what_is_being_filled() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    for id in 0..100 {
        put(tables, numbered(id, 0));
    }
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut random = Seeded(thread);
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    let id = random.below(100);
                    match random.below(4) {
                        0 => drop(delete(tables, key_of(id))),
                        _ => drop(put(tables, numbered(id, random.below(1000).cast_signed()))),
                    }
                }
            });
        }
        for _ in 0..6 {
            update(tables, creation(INDEX)).unwrap();
            wait_until_active(tables);
            update(tables, deletion(INDEX)).unwrap();
            wait_until_active(tables);
        }
        update(tables, creation(INDEX)).unwrap();
        wait_until_active(tables);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let mut items = scan_all(tables, ScanRequest::default());
    items.sort_by_key(|item| format!("{:?}", item["pk"]));
    assert_eq!(scan_index(tables), items);
    assert_sound(tables);
    let fixture = fixture.reopened();
    assert_sound(&fixture.tables);
}

/// One random operation on the tables and on the model of items; false if it failed.
fn change(tables: &Tables, model: &mut BTreeMap<u64, Item>, random: &mut Seeded) -> bool {
    let id = random.below(150);
    match random.below(20) {
        0..=3 => {
            model.remove(&id);
            let request = DeleteItemRequest {
                table_name: TABLE.to_owned(),
                key: key_of(id),
                ..Default::default()
            };
            tables.delete_item(request).is_ok()
        }
        4..=13 => {
            let item = match random.below(6) {
                0 => key_of(id),
                _ => numbered(id, random.below(50).cast_signed()),
            };
            model.insert(id, item.clone());
            let request =
                PutItemRequest { table_name: TABLE.to_owned(), item, ..Default::default() };
            tables.put_item(request).is_ok()
        }
        14 => {
            let has_index = !describe(tables).global_secondary_indexes.is_empty();
            let change = if has_index { deletion(INDEX) } else { creation(INDEX) };
            !matches!(update(tables, change), Err(error) if error.kind() == TableErrorKind::Internal)
        }
        _ => tables.run_index_step().is_ok(),
    }
}

#[test]
fn indexes_come_and_go_across_power_cuts() {
    let policies =
        [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::KeepAll, CrashPolicy::DropAll];
    for seed in 1..=24 {
        let policy = policies[seed as usize % policies.len()];
        println!("seed {seed}, {policy:?}");
        let mut random = Seeded(seed);
        let mut simulation = Simulation::new(seed);
        let mut tables = open_in(&simulation).unwrap();
        create(&tables, TABLE, None);
        let mut model = BTreeMap::new();
        for life in 0..3 {
            let at = simulation.fs.ops() + 200 + random.below(900);
            simulation.fs.cut_power_at(at);
            let maybe = loop {
                let mut next = model.clone();
                if !change(&tables, &mut next, &mut random) {
                    break next;
                }
                model = next;
            };
            drop(tables);
            simulation = simulation.crash(policy, seed + life);
            tables = open_in(&simulation).unwrap();
            assert_sound(&tables);
            let mut items = scan_all(&tables, ScanRequest::default());
            items.sort_by_key(|item| format!("{:?}", item["pk"]));
            if !items.iter().eq(model.values()) {
                assert!(items.iter().eq(maybe.values()), "the items are those of neither state");
                model = maybe;
            }
            if random.below(2) == 0 {
                while tables.run_index_step().unwrap() {}
                let description = describe(&tables);
                assert_eq!(description.table_status, TableStatus::Active);
                if !description.global_secondary_indexes.is_empty() {
                    let indexed = model.values().filter(|item| item.contains_key("n"));
                    assert!(scan_index(&tables).iter().eq(indexed));
                }
                assert_sound(&tables);
            }
        }
    }
}
