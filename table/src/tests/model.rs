//! Random operations against a `BTreeMap`, with reopenings.

use std::collections::BTreeMap;

use super::*;

type Model = BTreeMap<(String, i64), Item>;

fn key_item(key: &(String, i64)) -> Item {
    item([("pk", key.0.as_str().into()), ("sk", key.1.into())])
}

fn random_key(random: &mut Seeded) -> (String, i64) {
    (format!("p{}", random.below(5)), random.below(21).cast_signed() - 10)
}

fn random_item(random: &mut Seeded, key: &(String, i64)) -> Item {
    let mut item = key_item(key);
    if random.below(2) == 0 {
        item.insert("badge".to_owned(), random.below(1000).cast_signed().into());
    }
    item.insert("text".to_owned(), "x".repeat(random.below(300) as usize).into());
    item
}

fn assert_same(tables: &Tables, model: &Model) {
    let mut items = scan_all(tables, ScanRequest { limit: Some(7), ..Default::default() });
    items.sort_by_key(|item| match (&item["pk"], &item["sk"]) {
        (AttributeValue::S(pk), AttributeValue::N(sk)) => (pk.clone(), *sk),
        _ => panic!("a key of other types"),
    });
    assert!(items.iter().eq(model.values()));
    let description = describe(tables);
    assert_eq!(description.item_count, model.len() as u64);
    assert_eq!(description.table_size_bytes, model.values().map(size_of).sum::<u64>());
}

#[test]
fn random_operations_do_what_a_map_does() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let mut random = Seeded(seed);
        let mut fixture = Fixture::new();
        create(&fixture.tables, TABLE, Some(ScalarAttributeType::N));
        let mut model = Model::new();
        for step in 0..1500 {
            let tables = &fixture.tables;
            let key = random_key(&mut random);
            match random.below(20) {
                0..8 => {
                    let new = random_item(&mut random, &key);
                    assert_eq!(put(tables, new.clone()), model.insert(key, new));
                }
                8..13 => assert_eq!(delete(tables, key_item(&key)), model.remove(&key)),
                13..18 => assert_eq!(get(tables, key_item(&key)), model.get(&key).cloned()),
                18 => {
                    let forward = random.below(2) == 0;
                    let request = QueryRequest {
                        table_name: TABLE.to_owned(),
                        key_condition_expression: Some("pk = :p AND sk >= :s".to_owned()),
                        expression_attribute_values: Some(item([
                            (":p", key.0.as_str().into()),
                            (":s", key.1.into()),
                        ])),
                        scan_index_forward: Some(forward),
                        limit: Some(3),
                        ..Default::default()
                    };
                    let mut expected: Vec<Item> = (model
                        .range(key.clone()..=(key.0, i64::MAX))
                        .map(|(_, item)| item.clone()))
                    .collect();
                    if !forward {
                        expected.reverse();
                    }
                    assert_eq!(query_all(tables, &request), expected, "step {step}");
                }
                _ if step % 10 == 0 => {
                    fixture.tables.db().flush().unwrap();
                    fixture = fixture.reopened();
                }
                _ => assert_same(tables, &model),
            }
        }
        fixture = fixture.reopened();
        assert_same(&fixture.tables, &model);
    }
}
