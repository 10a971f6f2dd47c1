//! Transactions among other writers, and across power cuts: money that is only moved stays the same, what
//! two items have in common stays so, and what has a token is done once.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use esker::vfs::simulated::{CrashPolicy, Simulation};

use super::crash::open_in;
use super::transactions::{add, key, request};
use super::*;
use crate::operation::{
    BatchWriteItemRequest, TransactGet, TransactGetItemsRequest, TransactWriteItem,
    UpdateItemRequest, WriteRequest,
};
use crate::{TableError, TableErrorKind};

const ACCOUNTS: u64 = 4;
const BALANCE: i64 = 100;

fn account(number: u64) -> String {
    format!("account {number}")
}

/// Moves some money, unless there is too little of it.
fn transfer(from: u64, to: u64, amount: i64) -> Vec<TransactWriteItem> {
    let debit = TransactWriteItem {
        condition_expression: Some("n >= :most".to_owned()),
        expression_attribute_values: Some(item([
            (":n", (-amount).into()),
            (":most", amount.into()),
        ])),
        ..add(&account(from), -amount)
    };
    vec![debit, add(&account(to), amount)]
}

/// How often each kind of thing has happened.
#[derive(Default)]
struct Happened {
    moved: AtomicI64,
    refused: AtomicI64,
    paid_in: AtomicI64,
}

fn is_conflict(error: &TableError) -> bool {
    match error.kind() {
        TableErrorKind::TransactionConflict => true,
        TableErrorKind::TransactionCanceled => {
            let reasons = error.cancellation_reasons();
            assert!(reasons.iter().all(|reason| reason.code != "ValidationError"), "{error:?}");
            true
        }
        _ => false,
    }
}

fn balance(item: &Item) -> i64 {
    match &item["n"] {
        AttributeValue::N(number) => number.to_string().parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The sum of all balances, as of one moment.
fn sum(tables: &Tables) -> i64 {
    let of = |number| TransactGet {
        table_name: TABLE.to_owned(),
        key: key(&account(number)),
        ..Default::default()
    };
    let request = TransactGetItemsRequest {
        transact_items: (0..ACCOUNTS).map(of).collect(),
        ..Default::default()
    };
    let items = tables.transact_get_items(request).unwrap().responses;
    items.iter().map(|item| balance(item.as_ref().unwrap())).sum()
}

/// Whoever pays in does so by single writes; whoever moves money does so by transactions.
fn work(tables: &Tables, seed: u64, happened: &Happened) {
    let mut random = Seeded(seed);
    for _ in 0..150 {
        let (from, amount) = (random.below(ACCOUNTS), 1 + random.below(30) as i64);
        let to = (from + 1 + random.below(ACCOUNTS - 1)) % ACCOUNTS;
        if random.below(3) > 0 {
            match tables.transact_write_items(request(transfer(from, to, amount), None)) {
                Ok(_) => happened.moved.fetch_add(1, Ordering::Relaxed),
                Err(error) if is_conflict(&error) => {
                    happened.refused.fetch_add(1, Ordering::Relaxed)
                }
                Err(error) => panic!("{error:?}"),
            };
            continue;
        }
        let pay_in = UpdateItemRequest {
            table_name: TABLE.to_owned(),
            key: key(&account(to)),
            update_expression: Some("ADD n :n".to_owned()),
            expression_attribute_values: Some(item([(":n", 1.into())])),
            ..Default::default()
        };
        match tables.update_item(pay_in) {
            Ok(_) => happened.paid_in.fetch_add(1, Ordering::Relaxed),
            Err(error) if is_conflict(&error) => happened.refused.fetch_add(1, Ordering::Relaxed),
            Err(error) => panic!("{error:?}"),
        };
    }
}

#[test]
fn money_that_is_moved_stays_the_same() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    for number in 0..ACCOUNTS {
        put(tables, item([("pk", account(number).into()), ("n", BALANCE.into())]));
    }
    let (happened, has_ended) = (Happened::default(), AtomicBool::new(false));
    let total = ACCOUNTS as i64 * BALANCE;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..=3)
            .map(|seed| {
                let happened = &happened;
                scope.spawn(move || work(tables, seed, happened))
            })
            .collect();
        let looks = scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                // Single writes that have been answered are in it, those under way may be.
                let before = happened.paid_in.load(Ordering::Relaxed);
                let sum = sum(tables) - total;
                let after = happened.paid_in.load(Ordering::Relaxed) + 3;
                assert!((before..=after).contains(&sum), "{before} <= {sum} <= {after}");
            }
        });
        let all = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        let all: Result<Vec<()>, _> = all.collect();
        has_ended.store(true, Ordering::Relaxed);
        looks.join().unwrap();
        all.unwrap();
    });
    assert!(happened.moved.into_inner() > 0);
    assert_eq!(sum(tables), total + happened.paid_in.into_inner());
    assert_counts_true(tables);
}

/// Batches that write a pair of items, and transactions that change it: the two stay the same.
#[test]
fn batches_and_transactions_do_not_cross() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    std::thread::scope(|scope| {
        for thread in 0..4i64 {
            scope.spawn(move || {
                for round in 0..100 {
                    let pair = ["left", "right"];
                    if thread % 2 == 0 {
                        let n = thread * 1000 + round;
                        let of = |id| {
                            WriteRequest::Put(item([
                                ("pk", AttributeValue::from(id)),
                                ("n", n.into()),
                            ]))
                        };
                        let request_items = [(TABLE.to_owned(), pair.map(of).to_vec())].into();
                        tables
                            .batch_write_item(BatchWriteItemRequest {
                                request_items,
                                ..Default::default()
                            })
                            .unwrap();
                    } else {
                        let adds = pair.map(|id| add(id, 100_000)).to_vec();
                        if let Err(error) = tables.transact_write_items(request(adds, None)) {
                            assert!(is_conflict(&error), "{error:?}");
                        }
                    }
                }
            });
        }
    });
    let [left, right] = ["left", "right"].map(|id| balance(&get(tables, key(id)).unwrap()));
    assert_eq!(left, right);
}

/// Transactions with tokens, of which the last one is sent again after the power has failed: each is
/// done once, on both of its items.
#[test]
fn a_token_is_as_durable_as_what_it_stands_for() {
    let policies =
        [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::KeepAll, CrashPolicy::DropAll];
    let mut replayed = 0;
    for seed in 1..=40 {
        println!("seed {seed}");
        let mut random = Seeded(seed);
        let mut simulation = Simulation::new(seed);
        let mut tables = open_in(&simulation).unwrap();
        create(&tables, TABLE, None);
        let mut done = 0;
        for life in 0..4 {
            simulation.fs.cut_power_at(simulation.fs.ops() + random.below(60));
            let attempt = |tables: &Tables, number: i64| {
                let actions = vec![add("a", 1), add("b", 1)];
                let token = format!("token {number}");
                tables.transact_write_items(request(actions, Some(&token)))
            };
            while attempt(&tables, done).is_ok() {
                done += 1;
            }
            drop(tables);
            simulation = simulation.crash(policies[random.below(4) as usize], seed + life);
            tables = open_in(&simulation).unwrap();
            let found = get(&tables, key("a")).map_or(0, |item| balance(&item));
            assert!([done, done + 1].contains(&found), "{found} of {done}");
            replayed += found - done;
            attempt(&tables, done).unwrap();
            done += 1;
            for id in ["a", "b"] {
                assert_eq!(balance(&get(&tables, key(id)).unwrap()), done);
            }
            assert_counts_true(&tables);
        }
    }
    assert!(replayed > 0, "no transaction outlived a power cut that its answer did not");
}

#[test]
fn tokens_are_known_for_ten_minutes_and_then_removed() {
    let simulation = Simulation::new(7);
    let tables = open_in(&simulation).unwrap();
    create(&tables, TABLE, None);
    let count = || {
        let tokens = tables.db().existing_keyspace("esker.tokens").unwrap().unwrap();
        tokens.prefix([]).count()
    };
    let of = |token: &str| {
        tables.transact_write_items(request(vec![add("a", 1)], Some(token))).unwrap();
        balance(&get(&tables, key("a")).unwrap())
    };
    for n in 0..20 {
        assert_eq!(of(&format!("token {n}")), n + 1);
    }
    assert_eq!(count(), 40);
    simulation.clock.advance(Duration::from_secs(599));
    assert_eq!(of("token 7"), 20);
    simulation.clock.advance(Duration::from_secs(1));
    // The same text again is a new token, which the removal of the old one leaves alone.
    assert_eq!(of("token 7"), 21);
    assert_eq!(of("token 7"), 21);
    for n in 0..4 {
        assert_eq!(of(&format!("later {n}")), 22 + n);
    }
    // Five new ones have removed all that were expired.
    assert_eq!(count(), 10);
    assert_eq!(of("token 7"), 25);
    // A clock that is set back makes none unknown.
    simulation.clock.jump_wall_ms(-3_600_000);
    assert_eq!(of("later 1"), 25);
}
