//! BatchWriteItem and BatchGetItem: limits, duplicates, unprocessed keys.

use std::collections::BTreeMap;

use super::*;
use crate::operation::{
    BatchGetItemRequest, BatchWriteItemRequest, KeysAndAttributes, ReturnConsumedCapacity,
    WriteRequest,
};
use crate::{TableError, operation::BatchGetItemResponse};

fn key(n: usize) -> Item {
    item([("pk", n.to_string().into())])
}

fn write(tables: &Tables, requests: Vec<WriteRequest>) -> Result<(), TableError> {
    let request = BatchWriteItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), requests)]),
        ..Default::default()
    };
    let response = tables.batch_write_item(request)?;
    assert!(response.unprocessed_items.is_empty());
    Ok(())
}

fn read(tables: &Tables, keys: Vec<Item>) -> Result<BatchGetItemResponse, TableError> {
    let wanted = KeysAndAttributes { keys, ..Default::default() };
    tables.batch_get_item(BatchGetItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), wanted)]),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
    })
}

#[test]
fn batches_write_and_read() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    write(tables, (0..25).map(|n| WriteRequest::Put(key(n))).collect()).unwrap();
    write(tables, vec![WriteRequest::Delete(key(3)), WriteRequest::Put(key(30))]).unwrap();
    write(tables, vec![WriteRequest::Delete(key(999))]).unwrap();
    assert_counts_true(tables);
    assert_eq!(describe(tables).item_count, 25);
    let response = read(tables, (0..50).map(key).collect()).unwrap();
    assert_eq!(response.responses[TABLE].len(), 25);
    assert!(response.unprocessed_keys.is_empty());
    assert_eq!(response.consumed_capacity.unwrap()[0].capacity_units, 25.0);
}

#[test]
fn batches_have_limits() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    let message = |result: Result<(), TableError>| result.unwrap_err().message().to_owned();
    let puts = |count| (0..count).map(|n| WriteRequest::Put(key(n))).collect::<Vec<_>>();
    assert!(message(write(tables, puts(26))).contains("less than or equal to 25"));
    assert!(message(write(tables, vec![])).contains("greater than or equal to 1"));
    let request = BatchWriteItemRequest {
        request_items: BTreeMap::from([
            (TABLE.to_owned(), puts(13)),
            ("others".to_owned(), puts(13)),
        ]),
        ..Default::default()
    };
    assert_eq!(
        message(tables.batch_write_item(request).map(|_| ())),
        "Too many items requested for the BatchWriteItem call"
    );
    assert_eq!(
        message(tables.batch_write_item(Default::default()).map(|_| ())),
        "1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: \
         Member must have length greater than or equal to 1"
    );
    let gets = |count: usize| read(tables, (0..count).map(key).collect()).map(|_| ());
    assert!(gets(100).is_ok());
    assert!(message(gets(101)).contains("less than or equal to 100"));
}

#[test]
fn batches_name_no_item_twice() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, Some(ScalarAttributeType::N));
    let with = |number: &str| {
        let number: crate::Number = number.parse().unwrap();
        item([("pk", "p".into()), ("sk", number.into())])
    };
    let duplicates = "Provided list of item keys contains duplicates";
    let requests = vec![WriteRequest::Put(with("1")), WriteRequest::Delete(with("1.0"))];
    assert_eq!(write(tables, requests.clone()).unwrap_err().message(), duplicates);
    assert_eq!(read(tables, vec![with("1"), with("1.0")]).unwrap_err().message(), duplicates);
    // By name and by ARN it is the same table.
    let arn = describe(tables).table_arn;
    let [first, second] = requests.try_into().unwrap();
    let request = BatchWriteItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), vec![first]), (arn, vec![second])]),
        ..Default::default()
    };
    assert_eq!(tables.batch_write_item(request).unwrap_err().message(), duplicates);
    assert_eq!(describe(tables).item_count, 0);
}

#[test]
fn what_does_not_fit_into_16_megabytes_is_unprocessed() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    for n in 0..50 {
        let mut large = key(n);
        large.insert("b".to_owned(), vec![1u8; 400_000].into());
        put(tables, large);
    }
    let mut wanted: Vec<Item> = (0..50).map(key).collect();
    let mut found = 0;
    let mut pages = 0;
    while !wanted.is_empty() {
        let mut response = read(tables, wanted).unwrap();
        let items = response.responses.remove(TABLE).unwrap();
        assert!(items.iter().map(size_of).sum::<u64>() <= 16 << 20);
        found += items.len();
        pages += 1;
        wanted = response.unprocessed_keys.remove(TABLE).map_or(vec![], |rest| rest.keys);
    }
    assert_eq!((found, pages), (50, 2));
}
