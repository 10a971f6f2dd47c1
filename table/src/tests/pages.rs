//! Query ranges and scans: paged in either direction, they give what one page would.

use std::collections::BTreeMap;

use super::*;
use crate::operation::{ReturnConsumedCapacity, Select};

fn partition(tables: &Tables, sort_keys: impl IntoIterator<Item = i64>) {
    for sk in sort_keys {
        put(tables, item([("pk", "p".into()), ("sk", sk.into())]));
    }
    for neighbour in ["", "o", "q", "p\0", "pp"] {
        let pk = format!("p{neighbour}");
        if pk != "p" {
            put(tables, item([("pk", pk.into()), ("sk", 0.into())]));
        }
    }
}

fn request(condition: &str, values: &[(&str, i64)]) -> QueryRequest {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
    let pk = (":p".to_owned(), AttributeValue::from("p"));
    QueryRequest {
        table_name: TABLE.to_owned(),
        key_condition_expression: Some(format!("pk = :p{condition}")),
        expression_attribute_values: Some(values.chain([pk]).collect()),
        ..Default::default()
    }
}

fn sort_keys(items: &[Item]) -> Vec<String> {
    let key = |item: &Item| match &item["sk"] {
        AttributeValue::N(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    items.iter().map(key).collect()
}

#[test]
fn queries_page_to_the_same_result_in_both_directions() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, Some(ScalarAttributeType::N));
    partition(&fixture.tables, (-6..=6).map(|n| n * 5));
    let all: Vec<i64> = (-6..=6).map(|n| n * 5).collect();
    type Condition = (&'static str, &'static [(&'static str, i64)], fn(i64) -> bool);
    let conditions: [Condition; 7] = [
        ("", &[], |_| true),
        (" AND sk = :a", &[(":a", 5)], |n| n == 5),
        (" AND sk < :a", &[(":a", 5)], |n| n < 5),
        (" AND sk <= :a", &[(":a", 5)], |n| n <= 5),
        (" AND sk > :a", &[(":a", 5)], |n| n > 5),
        (" AND sk >= :a", &[(":a", 5)], |n| n >= 5),
        (" AND sk BETWEEN :a AND :b", &[(":a", -7), (":b", 11)], |n| (-7..=11).contains(&n)),
    ];
    for (condition, values, matches) in conditions {
        for forward in [true, false] {
            let mut expected: Vec<String> =
                all.iter().filter(|n| matches(**n)).map(i64::to_string).collect();
            if !forward {
                expected.reverse();
            }
            for limit in [None, Some(1), Some(2), Some(3), Some(100)] {
                let request = QueryRequest {
                    limit,
                    scan_index_forward: Some(forward),
                    ..request(condition, values)
                };
                let items = query_all(&fixture.tables, &request);
                assert_eq!(sort_keys(&items), expected, "{condition} {forward} {limit:?}");
            }
        }
    }
}

#[test]
fn a_page_that_its_limit_ended_says_where_even_if_nothing_follows() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, Some(ScalarAttributeType::N));
    partition(&fixture.tables, [1, 2]);
    let page = |limit| {
        let request =
            QueryRequest { limit: Some(limit), select: Some(Select::Count), ..request("", &[]) };
        fixture.tables.query(request).unwrap()
    };
    let exact = page(2);
    assert_eq!((exact.count, exact.scanned_count, exact.items), (2, 2, None));
    let last = item([("pk", "p".into()), ("sk", 2.into())]);
    assert_eq!(exact.last_evaluated_key, Some(last.clone()));
    assert_eq!(page(3).last_evaluated_key, None);
    // The start key need not exist.
    delete(&fixture.tables, last.clone());
    let request = QueryRequest { exclusive_start_key: Some(last), ..request("", &[]) };
    let rest = fixture.tables.query(request).unwrap();
    assert_eq!((rest.count, rest.last_evaluated_key), (0, None));
}

#[test]
fn begins_with_selects_by_bytes() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, Some(ScalarAttributeType::B));
    let keys: [&[u8]; 7] =
        [&[1], &[1, 0], &[1, 0xFF], &[1, 0xFF, 0xFF], &[2], &[0xFF], &[0xFF, 0xFF]];
    for sk in keys {
        put(&fixture.tables, item([("pk", "p".into()), ("sk", sk.to_vec().into())]));
    }
    for prefix in [&[1u8][..], &[1, 0xFF], &[0xFF], &[0xFF, 0xFF], &[3]] {
        for forward in [true, false] {
            let request = QueryRequest {
                table_name: TABLE.to_owned(),
                key_condition_expression: Some("pk = :p AND begins_with(sk, :b)".to_owned()),
                expression_attribute_values: Some(item([
                    (":p", "p".into()),
                    (":b", prefix.to_vec().into()),
                ])),
                scan_index_forward: Some(forward),
                limit: Some(2),
                ..Default::default()
            };
            let found: Vec<AttributeValue> = query_all(&fixture.tables, &request)
                .into_iter()
                .map(|item| item["sk"].clone())
                .collect();
            let mut expected: Vec<AttributeValue> =
                (keys.iter().filter(|key| key.starts_with(prefix)).map(|key| key.to_vec().into()))
                    .collect();
            if !forward {
                expected.reverse();
            }
            assert_eq!(found, expected, "{prefix:?} {forward}");
        }
    }
}

#[test]
fn segments_cover_each_item_once() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, Some(ScalarAttributeType::N));
    let mut expected = BTreeMap::new();
    for n in 0..300i64 {
        let new = item([("pk", (n / 3).to_string().into()), ("sk", n.into())]);
        expected.insert(n.to_string(), new.clone());
        put(&fixture.tables, new);
    }
    for total in [1, 2, 3, 7, 1000] {
        let mut found = BTreeMap::new();
        for segment in 0..total {
            let request = ScanRequest {
                segment: Some(segment),
                total_segments: Some(total),
                limit: Some(11),
                ..Default::default()
            };
            for item in scan_all(&fixture.tables, request) {
                let key = sort_keys(std::slice::from_ref(&item)).remove(0);
                assert_eq!(found.insert(key, item), None, "twice");
            }
        }
        assert_eq!(found, expected, "{total} segments");
    }
}

#[test]
fn pages_end_at_a_megabyte() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, Some(ScalarAttributeType::N));
    let large =
        |n: i64| item([("pk", "p".into()), ("sk", n.into()), ("b", vec![7u8; 300_000].into())]);
    for n in 0..10 {
        put(&fixture.tables, large(n));
    }
    let request = QueryRequest {
        return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
        ..request("", &[])
    };
    let page = fixture.tables.query(request.clone()).unwrap();
    assert_eq!(page.count, 4);
    assert!(page.last_evaluated_key.is_some());
    // 4 items of 300,009 bytes (names and values) are 293 units, half of them for such a read.
    let bytes = 4 * size_of(&large(0)) + 3;
    let units = bytes.div_ceil(4096) as f64 / 2.0;
    assert_eq!(page.consumed_capacity.unwrap().capacity_units, units);
    assert_eq!(query_all(&fixture.tables, &request).len(), 10);
    let scan = fixture.tables.scan(ScanRequest {
        table_name: TABLE.to_owned(),
        select: Some(Select::Count),
        ..Default::default()
    });
    assert_eq!(scan.unwrap().count, 4);
}
