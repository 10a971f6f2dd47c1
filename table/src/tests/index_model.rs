//! Random writes against a naive model of indexes: after every reopen, and after every power cut, an
//! index has what its table's items say, no more and no less, and in the right order.

use std::collections::BTreeMap;

use esker::vfs::simulated::{CrashPolicy, Simulation};
use esker::{Background, BackgroundStep, ReadMode};

use super::indexes::create_tasks;
use super::*;
use crate::operation::{BatchWriteItemRequest, UpdateItemRequest, WriteRequest};

type Model = BTreeMap<(String, i64), Item>;

type IndexModel = (&'static str, &'static [&'static str], Option<&'static [&'static str]>);

/// Name, key attributes, what it holds beside keys (`None` is everything), of [`create_tasks`].
const INDEXES: [IndexModel; 5] = [
    ("by_due", &["pk", "due"], Some(&["title"])),
    ("by_stamp", &["pk", "stamp"], Some(&[])),
    ("by_status", &["status", "due"], Some(&["title"])),
    ("by_worker", &["worker"], None),
    ("by_place", &["country", "city", "street", "house"], Some(&[])),
];

fn key_item(key: &(String, i64)) -> Item {
    item([("pk", key.0.as_str().into()), ("sk", key.1.into())])
}

fn random_key(random: &mut Seeded) -> (String, i64) {
    (format!("p{}", random.below(3)), random.below(9).cast_signed() - 4)
}

/// A value for an attribute; the few there are make ties.
fn random_value(random: &mut Seeded, name: &str) -> AttributeValue {
    match name {
        "due" | "house" => (random.below(5).cast_signed() - 2).into(),
        "stamp" => AttributeValue::B(vec![random.below(2) as u8; 1 + random.below(2) as usize]),
        "title" => "t".repeat(random.below(40) as usize).into(),
        _ => format!("{name}{}", random.below(2)).into(),
    }
}

const ATTRIBUTES: [&str; 9] =
    ["status", "due", "worker", "country", "city", "street", "house", "stamp", "title"];

fn random_item(random: &mut Seeded, key: &(String, i64)) -> Item {
    let mut item = key_item(key);
    for name in ATTRIBUTES {
        if random.below(4) > 0 {
            item.insert(name.to_owned(), random_value(random, name));
        }
    }
    item
}

/// What an index should answer, sorted by itself.
fn expected(model: &Model, keys: &[&str], held: Option<&[&str]>) -> Vec<Item> {
    let indexed = model.values().filter(|item| keys.iter().all(|name| item.contains_key(*name)));
    let part = |item: &Item| {
        let mut item = item.clone();
        if let Some(held) = held {
            item.retain(|name, _| {
                let name = &name.as_str();
                ["pk", "sk"].contains(name) || keys.contains(name) || held.contains(name)
            });
        }
        item
    };
    let mut items: Vec<Item> = indexed.map(part).collect();
    items.sort_by_key(|item| format!("{item:?}"));
    items
}

fn assert_same(tables: &Tables, model: &Model) {
    let description = describe(tables);
    for (name, keys, held) in INDEXES {
        let request =
            ScanRequest { index_name: Some(name.to_owned()), limit: Some(3), ..Default::default() };
        let mut found = scan_all(tables, request);
        found.sort_by_key(|item| format!("{item:?}"));
        let expected = expected(model, keys, held);
        assert_eq!(found, expected, "{name}");
        let local = description.local_secondary_indexes.iter();
        let local = local.map(|i| (&i.index_name, i.item_count, i.index_size_bytes));
        let global = description.global_secondary_indexes.iter();
        let global = global.map(|i| (&i.index_name, i.item_count, i.index_size_bytes));
        let (_, items, bytes) = local.chain(global).find(|i| i.0 == name).unwrap();
        assert_eq!(items, expected.len() as u64, "{name}");
        assert_eq!(bytes, expected.iter().map(size_of).sum::<u64>(), "{name}");
    }
    let report = crate::verify(tables.db()).unwrap();
    assert_eq!(report.problem_count, 0, "{:?}", report.problems);
}

/// Queries of one index in both directions: sorted by its sort key, and all of it.
fn assert_query(tables: &Tables, model: &Model, random: &mut Seeded) {
    let status = AttributeValue::from(format!("status{}", random.below(2)));
    let due = AttributeValue::from(random.below(5).cast_signed() - 2);
    let mut wanted = expected(model, &["status", "due"], Some(&["title"]));
    let at_least = |item: &Item| match (&item["due"], &due) {
        (AttributeValue::N(a), AttributeValue::N(b)) => a >= b,
        _ => false,
    };
    wanted.retain(|item| item["status"] == status && at_least(item));
    for forward in [true, false] {
        let request = QueryRequest {
            table_name: TABLE.to_owned(),
            index_name: Some("by_status".to_owned()),
            key_condition_expression: Some("#s = :s AND due >= :d".to_owned()),
            expression_attribute_names: Some([("#s".to_owned(), "status".to_owned())].into()),
            expression_attribute_values: Some(item([(":s", status.clone()), (":d", due.clone())])),
            scan_index_forward: Some(forward),
            limit: Some(1 + random.below(3) as i32),
            ..Default::default()
        };
        let mut found = query_all(tables, &request);
        let number = |item: &Item| match &item["due"] {
            AttributeValue::N(number) => *number,
            _ => panic!("no number"),
        };
        assert!(found.is_sorted_by(|a, b| match forward {
            true => number(a) <= number(b),
            false => number(a) >= number(b),
        }));
        found.sort_by_key(|item| format!("{item:?}"));
        assert_eq!(found, wanted);
    }
}

/// Changes the table, and the model as if it had succeeded; whether it did.
fn change(tables: &Tables, model: &mut Model, random: &mut Seeded) -> bool {
    let key = random_key(random);
    match random.below(10) {
        0..4 => {
            let item = random_item(random, &key);
            model.insert(key, item.clone());
            let request =
                PutItemRequest { table_name: TABLE.to_owned(), item, ..Default::default() };
            tables.put_item(request).is_ok()
        }
        4..6 => {
            model.remove(&key);
            let request = DeleteItemRequest {
                table_name: TABLE.to_owned(),
                key: key_item(&key),
                ..Default::default()
            };
            tables.delete_item(request).is_ok()
        }
        6..8 => {
            let name = ATTRIBUTES[random.below(9) as usize];
            let value = (random.below(3) > 0).then(|| random_value(random, name));
            let request = UpdateItemRequest {
                table_name: TABLE.to_owned(),
                key: key_item(&key),
                update_expression: Some(
                    if value.is_some() { "SET #n = :v" } else { "REMOVE #n" }.to_owned(),
                ),
                expression_attribute_names: Some([("#n".to_owned(), name.to_owned())].into()),
                expression_attribute_values: value.clone().map(|value| item([(":v", value)])),
                ..Default::default()
            };
            match value {
                Some(value) => {
                    let item = model.entry(key.clone()).or_insert_with(|| key_item(&key));
                    item.insert(name.to_owned(), value);
                }
                None => {
                    if let Some(item) = model.get_mut(&key) {
                        item.remove(name);
                    }
                }
            }
            tables.update_item(request).is_ok()
        }
        _ => {
            let mut writes = BTreeMap::new();
            for _ in 0..=random.below(6) {
                let key = random_key(random);
                let new = (random.below(3) > 0).then(|| random_item(random, &key));
                writes.insert(key, new);
            }
            let mut requests = Vec::new();
            for (key, new) in writes {
                requests.push(match new {
                    Some(item) => {
                        model.insert(key, item.clone());
                        WriteRequest::Put(item)
                    }
                    None => {
                        model.remove(&key);
                        WriteRequest::Delete(key_item(&key))
                    }
                });
            }
            let request = BatchWriteItemRequest {
                request_items: BTreeMap::from([(TABLE.to_owned(), requests)]),
                ..Default::default()
            };
            tables.batch_write_item(request).is_ok()
        }
    }
}

#[test]
fn indexes_are_what_the_items_say_after_every_reopen() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let mut random = Seeded(seed);
        let mut fixture = Fixture::new();
        create_tasks(&fixture.tables);
        let mut model = Model::new();
        for step in 1..=600 {
            assert!(change(&fixture.tables, &mut model, &mut random));
            if step % 20 == 0 {
                assert_query(&fixture.tables, &model, &mut random);
            }
            if step % 60 == 0 {
                if random.below(2) == 0 {
                    fixture.tables.db().flush().unwrap();
                }
                fixture = fixture.reopened();
                assert_same(&fixture.tables, &model);
            }
        }
    }
}

fn open_in(simulation: &Simulation) -> Result<Tables, crate::TableError> {
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
fn after_a_power_cut_indexes_agree_with_their_table() {
    let policies =
        [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::KeepAll, CrashPolicy::DropAll];
    for seed in 1..=16 {
        let policy = policies[seed as usize % policies.len()];
        println!("seed {seed}, {policy:?}");
        let mut random = Seeded(seed);
        let mut simulation = Simulation::new(seed);
        let mut tables = open_in(&simulation).unwrap();
        create_tasks(&tables);
        let mut model = Model::new();
        for life in 0..3 {
            let at = simulation.fs.ops() + 20 + random.below(300);
            simulation.fs.cut_power_at(at);
            let maybe = loop {
                let mut next = model.clone();
                if !change(&tables, &mut next, &mut random) {
                    break next;
                }
                model = next;
                if random.below(20) == 0 {
                    let _ = tables.db().flush();
                }
                if random.below(10) == 0 {
                    let steps = BackgroundStep::ALL;
                    let step = steps[random.below(steps.len() as u64) as usize];
                    let _ = tables.db().run_background_step(step);
                }
            };
            drop(tables);
            simulation = simulation.crash(policy, seed + life);
            tables = open_in(&simulation).unwrap();
            let items = scan_all(&tables, ScanRequest::default());
            let is_model = |model: &Model| {
                items.len() == model.len() && model.values().all(|item| items.contains(item))
            };
            if !is_model(&model) {
                assert!(is_model(&maybe), "the items are those of neither state");
                model = maybe;
            }
            assert_same(&tables, &model);
        }
    }
}
