//! Concurrent writers: old images form chains, counts stay true, tables come and go meanwhile.

use std::collections::BTreeSet;
use std::future::Future;
use std::task::{Context, Waker};

use super::*;
use crate::operation::DeleteTableRequest;

fn version(thread: i64, round: i64) -> Item {
    item([("pk", "hot".into()), ("v", (thread * 1_000_000 + round).into())])
}

#[test]
fn each_old_image_is_seen_exactly_once() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    let (threads, rounds) = (4, 100);
    let seen: Vec<Option<Item>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                let tables = &fixture.tables;
                scope.spawn(move || {
                    (0..rounds).map(|round| put(tables, version(thread, round))).collect::<Vec<_>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    // One write replaced nothing; the others replaced each other, all but the last.
    assert_eq!(seen.iter().filter(|old| old.is_none()).count(), 1);
    let last = get(&fixture.tables, item([("pk", "hot".into())])).unwrap();
    let mut versions: Vec<Item> = seen.into_iter().flatten().chain([last]).collect();
    versions.sort_by_key(|item| match item["v"] {
        AttributeValue::N(number) => number,
        _ => panic!("not a number"),
    });
    let expected: Vec<Item> = (0..threads)
        .flat_map(|thread| (0..rounds).map(move |round| version(thread, round)))
        .collect();
    assert_eq!(versions, expected);
    assert_counts_true(&fixture.tables);
}

#[test]
fn counts_stay_true_under_concurrent_writes_and_reopening() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let tables = &fixture.tables;
            scope.spawn(move || {
                let mut random = Seeded(thread);
                for _ in 0..300 {
                    let id = random.below(40).to_string();
                    if random.below(3) == 0 {
                        delete(tables, item([("pk", id.as_str().into())]));
                    } else {
                        let text = "x".repeat(random.below(50) as usize);
                        put(tables, item([("pk", id.as_str().into()), ("t", text.into())]));
                    }
                }
            });
        }
    });
    assert_counts_true(&fixture.tables);
    assert_counts_true(&fixture.reopened().tables);
}

#[test]
fn writes_share_commits_without_threads_of_their_own() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    let request = |id: i64| PutItemRequest {
        table_name: TABLE.to_owned(),
        item: item([("pk", id.to_string().into()), ("n", id.into())]),
        ..Default::default()
    };
    // All are put in line by one thread before any is waited for.
    let mut writes: Vec<_> =
        (0..200).map(|id| Box::pin(fixture.tables.put_item_async(request(id)))).collect();
    let mut context = Context::from_waker(Waker::noop());
    let mut done: Vec<bool> =
        writes.iter_mut().map(|write| write.as_mut().poll(&mut context).is_ready()).collect();
    for (write, done) in writes.into_iter().zip(&mut done) {
        if !*done {
            crate::block_on::block_on(write).unwrap();
        }
    }
    assert_eq!(describe(&fixture.tables).item_count, 200);
    assert_counts_true(&fixture.reopened().tables);
}

#[test]
fn a_dropped_write_keeps_its_item_locked_until_it_is_committed() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    let mut context = Context::from_waker(Waker::noop());
    for round in 0..100 {
        let request = PutItemRequest {
            table_name: TABLE.to_owned(),
            item: version(0, round),
            ..Default::default()
        };
        let mut write = Box::pin(fixture.tables.put_item_async(request));
        let _ = write.as_mut().poll(&mut context);
        drop(write);
        // The next write waits for the dropped one and sees what it wrote.
        assert_eq!(put(&fixture.tables, version(1, round)), Some(version(0, round)));
    }
    assert_counts_true(&fixture.tables);
}

#[test]
fn tables_come_and_go_under_writers() {
    let fixture = Fixture::new();
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let tables = &fixture.tables;
        let writers: Vec<_> = (0..2)
            .map(|thread| {
                scope.spawn(move || {
                    for round in 0..400 {
                        let request = PutItemRequest {
                            table_name: TABLE.to_owned(),
                            item: version(thread, round),
                            ..Default::default()
                        };
                        if let Err(error) = tables.put_item(request) {
                            assert_eq!(error.message(), "Requested resource not found");
                        }
                    }
                })
            })
            .collect();
        let mut ids = BTreeSet::new();
        // The writers may be through before the first round: there is one all the same.
        loop {
            let created = create(tables, TABLE, None);
            assert!(ids.insert(created.table_id));
            assert!(describe(tables).item_count <= 1);
            let request = DeleteTableRequest { table_name: TABLE.to_owned() };
            tables.delete_table(request).unwrap();
            if writers.iter().all(|writer| writer.is_finished()) {
                return ids;
            }
        }
    });
    assert!(!ids.is_empty());
    create(&fixture.tables, TABLE, None);
    assert_counts_true(&fixture.tables);
    assert_eq!(describe(&fixture.tables).item_count, 0);
    assert_counts_true(&fixture.reopened().tables);
}

#[test]
fn handles_and_futures_can_go_to_other_threads() {
    fn can_go<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    let fixture = Fixture::new();
    is_shared(&fixture.tables);
    can_go(&fixture.tables.put_item_async(PutItemRequest::default()));
    can_go(&fixture.tables.delete_item_async(DeleteItemRequest::default()));
    can_go(&fixture.tables.batch_write_item_async(Default::default()));
}

/// Two handles used to have item locks and counts of their own, so that writes through both lost
/// counts.
#[test]
fn tables_opened_twice_on_one_database_are_the_same_tables() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    let again = Tables::open(fixture.tables.db().clone()).unwrap();
    std::thread::scope(|scope| {
        for (thread, tables) in [&fixture.tables, &again].into_iter().enumerate() {
            scope.spawn(move || {
                for id in 0..200 {
                    put(
                        tables,
                        item([("pk", id.to_string().into()), ("v", (thread as i64).into())]),
                    );
                }
            });
        }
    });
    assert_counts_true(&fixture.tables);
    assert_counts_true(&again);
}
