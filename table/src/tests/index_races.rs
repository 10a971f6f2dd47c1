//! Indexes that come and go while other operations are under way: what these are told, and what waits for what.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use esker::vfs::simulated::Simulation;

use super::index_updates::*;
use super::indexes::assert_sound;
use super::*;
use crate::item_lock::{ItemLocks, Stripes};
use crate::key_codec::stored_key;
use crate::operation::{
    BatchWriteItemRequest, TransactAction, TransactWriteItem, TransactWriteItemsRequest,
    UpdateItemRequest, WriteRequest,
};
use crate::{TableError, TableErrorKind};

#[test]
fn filling_an_index_syncs_nothing_and_waits_for_no_other_write() {
    let tables = open_in(&Simulation::new(10)).unwrap();
    create(&tables, TABLE, None);
    for id in 0..300 {
        put(&tables, numbered(id, 1));
    }
    update(&tables, creation(INDEX)).unwrap();
    // Somebody is at an item, for example in a future that this thread polls.
    let table = tables.find(TABLE).unwrap();
    let stripe = |id: u64| {
        let key = key_of(id);
        let (partition, sort) = table.key.of_key(&key).unwrap();
        ItemLocks::stripe_of(table.id(), &stored_key(&partition, sort.as_ref()))
    };
    let own = stripe(77);
    let lock = || tables.locks().lock_free(Stripes::from_slice(&[own]));
    let guard = lock();
    for _ in 0..3 {
        assert!(tables.run_index_step().unwrap());
    }
    assert_eq!(index(&describe(&tables)).backfilling, Some(false));
    drop(guard);
    assert!(tables.run_index_step().unwrap());
    assert_eq!(index(&describe(&tables)).backfilling, Some(true));
    let guard = lock();
    let syncs = || tables.db().metrics().wal_syncs;
    let before = syncs();
    for _ in 0..20 {
        assert!(tables.run_index_step().unwrap());
    }
    // Up to the item that is locked, and those that were locked with it.
    let so_far = index(&describe(&tables)).item_count;
    assert!(0 < so_far && so_far < 300, "{so_far}");
    drop(guard);
    while index(&describe(&tables)).item_count < 300 {
        assert!(tables.run_index_step().unwrap());
    }
    assert_eq!(syncs(), before);
    while tables.run_index_step().unwrap() {}
    assert!(syncs() > before);
    assert_eq!(scan_index(&tables).len(), 300);
    assert_sound(&tables);
}

/// Each kind of write, of an item that an index by `n` does not take.
fn unindexable(item: Item, tables: &Tables, kind: u64) -> Pending<'_> {
    let (table_name, key) = (TABLE.to_owned(), Item::from([("pk".into(), item["pk"].clone())]));
    let put = PutItemRequest { table_name: table_name.clone(), item, ..Default::default() };
    match kind {
        0 => Box::pin(async { tables.put_item_async(put).await.map(drop) }),
        1 => {
            let values = [(":n".to_owned(), put.item["n"].clone())];
            let update = UpdateItemRequest {
                table_name,
                key,
                update_expression: Some("SET n = :n".to_owned()),
                expression_attribute_values: Some(values.into()),
                ..Default::default()
            };
            Box::pin(async { tables.update_item_async(update).await.map(drop) })
        }
        2 => {
            let request_items = [(table_name, vec![WriteRequest::Put(put.item)])].into();
            let batch = BatchWriteItemRequest { request_items, ..Default::default() };
            Box::pin(async { tables.batch_write_item_async(batch).await.map(drop) })
        }
        _ => {
            let action = TransactAction::Put(put.item);
            let item = TransactWriteItem { table_name, action, ..Default::default() };
            let transaction =
                TransactWriteItemsRequest { transact_items: vec![item], ..Default::default() };
            Box::pin(async { tables.transact_write_items_async(transaction).await.map(drop) })
        }
    }
}

type Pending<'t> = Pin<Box<dyn Future<Output = Result<(), TableError>> + 't>>;

#[test]
fn what_waits_for_its_item_while_an_index_comes_is_judged_by_the_index() {
    let tables = open_in(&Simulation::new(11)).unwrap();
    create(&tables, TABLE, None);
    let table = tables.find(TABLE).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let guard = tables.locks().lock_free(ItemLocks::stripes().collect());
    let mut pending: Vec<Pending<'_>> =
        (0..4).map(|kind| unindexable(numbered(kind, "text"), &tables, kind)).collect();
    for write in &mut pending {
        assert!(write.as_mut().poll(&mut context).is_pending());
    }
    update(&tables, creation(INDEX)).unwrap();
    drop(guard);
    for (kind, write) in pending.iter_mut().enumerate() {
        let Poll::Ready(result) = write.as_mut().poll(&mut context) else { panic!("it can go on") };
        let error = result.unwrap_err();
        let told = match error.cancellation_reasons() {
            [reason] => reason.message.as_deref().unwrap_or_default(),
            _ => error.message(),
        };
        assert!(told.contains("Type mismatch for Index Key n"), "{kind}: {error}");
    }
    drop(pending);
    while tables.run_index_step().unwrap() {}
    assert_eq!(table.describe(0).item_count, 0);
    assert_sound(&tables);
}

#[test]
fn a_read_of_an_index_that_is_gone_is_told_that_there_is_none() {
    let tables = open_in(&Simulation::new(12)).unwrap();
    create(&tables, TABLE, None);
    put(&tables, numbered(1, 1));
    update(&tables, creation(INDEX)).unwrap();
    while tables.run_index_step().unwrap() {}
    // What a read that began before knows.
    let before = tables.find(TABLE).unwrap();
    update(&tables, deletion(INDEX)).unwrap();
    while tables.run_index_step().unwrap() {}
    tables.replace(before);
    let scan = ScanRequest {
        table_name: TABLE.to_owned(),
        index_name: Some(INDEX.to_owned()),
        ..Default::default()
    };
    let query = QueryRequest {
        table_name: TABLE.to_owned(),
        index_name: Some(INDEX.to_owned()),
        key_condition_expression: Some("n = :n".to_owned()),
        expression_attribute_values: Some([(":n".to_owned(), 1.into())].into()),
        ..Default::default()
    };
    let told = |error: TableError| (error.kind(), error.message().to_owned());
    let none = "The table does not have the specified index: by_n".to_owned();
    let expected = (TableErrorKind::Validation, none);
    assert_eq!(told(tables.scan(scan).unwrap_err()), expected);
    assert_eq!(told(tables.query(query).unwrap_err()), expected);
}

#[test]
fn a_record_that_no_table_can_have_does_not_reach_the_catalog() {
    let tables = open_in(&Simulation::new(13)).unwrap();
    create(&tables, TABLE, None);
    update(&tables, creation(INDEX)).unwrap();
    while tables.run_index_step().unwrap() {}
    let table = tables.find(TABLE).unwrap();
    let mut record = table.record.clone();
    record.attribute_definitions.retain(|definition| definition.attribute_name == "pk");
    let settings = crate::settings::Settings::clone(&table.settings());
    assert!(tables.store_record(&table, record, settings).is_err());
    assert!(table.latest().is_none());
    let stored = crate::catalog::read(tables.catalog()).unwrap();
    assert_eq!(stored.entries[0].record, table.record);
}
