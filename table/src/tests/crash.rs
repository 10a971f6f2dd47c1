//! Power cuts on a simulated disk: acknowledged items are there afterwards, and the counts are
//! those of the items.

use std::collections::BTreeMap;

use esker::vfs::simulated::{CrashPolicy, Simulation};
use esker::{Background, BackgroundStep, ReadMode};

use super::*;
use crate::operation::{BatchWriteItemRequest, DeleteTableRequest, WriteRequest};

pub(super) fn open_in(simulation: &Simulation) -> Result<Tables, crate::TableError> {
    let db = esker::Db::builder()
        .world(simulation.world())
        .background(Background::Manual)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .memory_budget_bytes(1 << 20)
        .open("/db")?;
    Tables::open(db)
}

/// What may be stored under a key: what was acknowledged last, and what was not acknowledged.
type Expected = BTreeMap<String, Vec<Option<Item>>>;

/// Works until the power goes.
fn work(tables: &Tables, random: &mut Seeded, expected: &mut Expected) {
    loop {
        let mut writes: BTreeMap<String, Option<Item>> = BTreeMap::new();
        for _ in 0..=random.below(3) {
            let id = random.below(30).to_string();
            let text = "x".repeat(random.below(200) as usize);
            let new = item([("pk", id.as_str().into()), ("t", text.into())]);
            writes.insert(id, (random.below(4) > 0).then_some(new));
        }
        let requests = writes.iter().map(|(id, new)| match new {
            Some(new) => WriteRequest::Put(new.clone()),
            None => WriteRequest::Delete(item([("pk", id.as_str().into())])),
        });
        let request = BatchWriteItemRequest {
            request_items: BTreeMap::from([(TABLE.to_owned(), requests.collect())]),
            ..Default::default()
        };
        let acknowledged = tables.batch_write_item(request).is_ok();
        for (id, new) in writes {
            let possible = expected.entry(id).or_insert_with(|| vec![None]);
            if acknowledged {
                possible.clear();
            }
            possible.push(new);
        }
        if !acknowledged {
            return;
        }
        if random.below(20) == 0 {
            let _ = tables.db().flush();
        }
        if random.below(10) == 0 {
            let steps = BackgroundStep::ALL;
            let step = steps[random.below(steps.len() as u64) as usize];
            let _ = tables.db().run_background_step(step);
        }
    }
}

#[test]
fn after_a_power_cut_acknowledged_items_are_there_and_counts_are_true() {
    let policies =
        [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::KeepAll, CrashPolicy::DropAll];
    for seed in 1..=24 {
        let policy = policies[seed as usize % policies.len()];
        println!("seed {seed}, {policy:?}");
        let mut random = Seeded(seed);
        let mut simulation = Simulation::new(seed);
        let tables = open_in(&simulation).unwrap();
        create(&tables, TABLE, None);
        let mut expected = Expected::new();
        let mut tables = tables;
        for life in 0..3 {
            let at = simulation.fs.ops() + 20 + random.below(400);
            simulation.fs.cut_power_at(at);
            work(&tables, &mut random, &mut expected);
            drop(tables);
            simulation = simulation.crash(policy, seed + life);
            tables = open_in(&simulation).unwrap();
            for (id, possible) in &mut expected {
                let found = get(&tables, item([("pk", id.as_str().into())]));
                assert!(possible.contains(&found), "{id}: {found:?} is none of {possible:?}");
                *possible = vec![found];
            }
            assert_counts_true(&tables);
        }
    }
}

#[test]
fn a_power_cut_at_any_call_leaves_a_table_whole_or_absent() {
    let mut cut_at = 0;
    let mut finished = false;
    while !finished {
        cut_at += 3;
        let simulation = Simulation::new(cut_at);
        let tables = open_in(&simulation).unwrap();
        let name = |n: u64| format!("table{n}");
        create(&tables, &name(0), None);
        let first = simulation.fs.ops();
        simulation.fs.cut_power_at(first + cut_at);
        let request = |name: String| {
            let request = CreateTableRequest {
                table_name: name,
                attribute_definitions: vec![AttributeDefinition {
                    attribute_name: "pk".to_owned(),
                    attribute_type: ScalarAttributeType::S,
                }],
                key_schema: vec![KeySchemaElement {
                    attribute_name: "pk".to_owned(),
                    key_type: KeyType::Hash,
                }],
                billing_mode: Some(BillingMode::PayPerRequest),
                ..Default::default()
            };
            tables.create_table(request)
        };
        let created = request(name(1)).is_ok();
        let deleted = tables.delete_table(DeleteTableRequest { table_name: name(0) }).is_ok();
        finished = !simulation.fs.power_is_off();
        drop(tables);
        let simulation = simulation.crash(CrashPolicy::Posix, cut_at);
        let tables = open_in(&simulation).unwrap();
        let names = tables.list_tables(Default::default()).unwrap().table_names;
        assert!(!created || names.contains(&name(1)), "cut at {cut_at}: {names:?}");
        assert!(!deleted || !names.contains(&name(0)), "cut at {cut_at}: {names:?}");
        // One keyspace per table and the catalog's; nothing is left over.
        assert_eq!(tables.db().keyspaces().unwrap().len(), names.len() + 1, "cut at {cut_at}");
        for name in &names {
            let request = DeleteTableRequest { table_name: name.clone() };
            tables.delete_table(request).unwrap();
        }
        create(&tables, &name(0), None);
        create(&tables, &name(1), None);
    }
}

/// A database that does not sync its writes lost the deletion of a table in the catalog, while the
/// table's keyspace had been dropped durably: no open succeeded any more. Tables come and go
/// durably, whatever becomes of the items.
#[test]
fn tables_come_and_go_durably_where_items_do_not() {
    for policy in [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::DropAll] {
        for durability in [esker::Durability::Buffered, esker::Durability::Volatile] {
            let simulation = Simulation::new(7);
            let db = esker::Db::builder()
                .world(simulation.world())
                .background(Background::Manual)
                .read_mode(ReadMode::Positioned)
                .wal_mapped(true)
                .durability(durability)
                .open("/db")
                .unwrap();
            let tables = Tables::open(db).unwrap();
            create(&tables, "gone", None);
            create(&tables, "kept", None);
            tables.delete_table(DeleteTableRequest { table_name: "gone".to_owned() }).unwrap();
            simulation.fs.cut_power_at(simulation.fs.ops());
            drop(tables);
            let tables = open_in(&simulation.crash(policy, 7)).unwrap();
            let names = tables.list_tables(Default::default()).unwrap().table_names;
            assert_eq!(names, ["kept"], "{policy:?}, {durability:?}");
        }
    }
}

#[test]
fn writes_that_a_full_disk_refused_do_not_count() {
    for seed in 1..=8 {
        println!("seed {seed}");
        let mut random = Seeded(seed);
        let simulation = Simulation::new(seed);
        let db = esker::Db::builder()
            .world(simulation.world())
            .background(Background::Manual)
            .read_mode(ReadMode::Positioned)
            .wal_mapped(true)
            .wal_segment_bytes(4096)
            .open("/db")
            .unwrap();
        let tables = Tables::open(db).unwrap();
        create(&tables, TABLE, None);
        let (mut written, mut refused) = (0, 0);
        for n in 0..200i64 {
            let full = random.below(3) == 0;
            simulation.fs.set_capacity(if full { 1 } else { u64::MAX });
            let text = "x".repeat(random.below(1500) as usize);
            let request = PutItemRequest {
                table_name: TABLE.to_owned(),
                item: item([("pk", n.to_string().into()), ("t", text.into())]),
                ..Default::default()
            };
            match tables.put_item(request) {
                Ok(_) => written += 1,
                Err(error) => {
                    assert_eq!(error.kind(), crate::TableErrorKind::Internal);
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "the disk was never full");
        simulation.fs.set_capacity(u64::MAX);
        assert_eq!(describe(&tables).item_count, written);
        assert_counts_true(&tables);
        delete(&tables, item([("pk", "absent".into())]));
        put(&tables, item([("pk", "one more".into())]));
        drop(tables);
        let tables = open_in(&simulation.crash(CrashPolicy::Ordered, seed)).unwrap();
        assert_eq!(describe(&tables).item_count, written + 1);
        assert_counts_true(&tables);
    }
}

/// Whenever the power goes, what UpdateTable, TagResource and UntagResource had answered is there
/// afterwards, and nothing is there by halves.
#[test]
fn settings_and_tags_survive_power_cuts() {
    use crate::operation::{
        ListTagsOfResourceRequest, TagResourceRequest, UntagResourceRequest, UpdateTableRequest,
    };
    use crate::schema::{ProvisionedThroughput, Tag};

    let arn = || format!("arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}");
    let mut finished = false;
    let mut cut_at = 0;
    while !finished {
        cut_at += 1;
        let simulation = Simulation::new(cut_at);
        let tables = open_in(&simulation).unwrap();
        create(&tables, TABLE, None);
        let first = simulation.fs.ops();
        simulation.fs.cut_power_at(first + cut_at);
        let switched = tables.update_table(UpdateTableRequest {
            table_name: TABLE.to_owned(),
            billing_mode: Some(BillingMode::Provisioned),
            provisioned_throughput: Some(ProvisionedThroughput {
                read_capacity_units: 2,
                write_capacity_units: 3,
            }),
            ..Default::default()
        });
        let tag = |key: &str| Tag { key: key.to_owned(), value: String::new() };
        let both = vec![tag("a"), tag("b")];
        let tagged =
            tables.tag_resource(TagResourceRequest { resource_arn: arn(), tags: both.clone() });
        let tag_keys = vec!["a".to_owned()];
        let untagged =
            tables.untag_resource(UntagResourceRequest { resource_arn: arn(), tag_keys });
        finished = !simulation.fs.power_is_off();
        drop(tables);
        let simulation = simulation.crash(CrashPolicy::Posix, cut_at);
        let tables = open_in(&simulation).unwrap();
        let now = describe(&tables);
        let is_provisioned = now.billing_mode == BillingMode::Provisioned;
        assert!(switched.is_err() || is_provisioned, "cut at {cut_at}");
        // The record and the rest of the settings go together.
        assert_eq!(is_provisioned, now.provisioned_throughput.read_capacity_units == 2);
        assert_eq!(is_provisioned, now.options.last_increase_date_time_ms.is_some());
        let request = ListTagsOfResourceRequest { resource_arn: arn(), next_token: None };
        let tags = tables.list_tags_of_resource(request).unwrap().tags;
        match (tagged, untagged) {
            (_, Ok(())) => assert_eq!(tags, [tag("b")], "cut at {cut_at}"),
            (Ok(()), Err(_)) => assert!(tags == both || tags == [tag("b")], "cut at {cut_at}"),
            (Err(_), Err(_)) => assert!(tags == both || tags.is_empty(), "cut at {cut_at}"),
        }
    }
    assert!(cut_at > 3, "the power never went");
}
