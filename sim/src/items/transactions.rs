//! Transactions: with tokens across power cuts, and among other writers of the same items. Called by the check `items`.
//!
//! A transaction that is sent again with its token after a power cut is done once, on all of its items. Money that
//! transactions move stays the same, whatever single writes and batches do meanwhile, and every read transaction sees all of it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use esker::vfs::simulated::{CrashPolicy, Simulation};
use esker::{Background, ReadMode};
use esker_table::operation::{
    GetItemRequest, PutItemRequest, TransactAction, TransactGet, TransactGetItemsRequest,
    TransactWriteItem, TransactWriteItemsRequest, UpdateItemRequest,
};
use esker_table::{AttributeValue, Item, TableError, TableErrorKind, Tables};

use super::{Key, key_item, table_request};
use crate::report::CheckReport;
use crate::{Rng, small};

const TABLE: &str = "money";

/// Restarts of one machine.
const LIVES: u64 = 4;

const THREADS: u64 = 3;
const ROUNDS: u64 = 60;
const ACCOUNTS: i64 = 3;
const BALANCE: i64 = 1000;
/// More than all that is paid in, so that half a transfer shows.
const MOVED: i64 = 500;

fn account(number: i64) -> Key {
    ("account".to_string(), number)
}

fn values(amount: i64) -> Option<Item> {
    Some(Item::from([(":n".to_string(), amount.into())]))
}

fn add(number: i64, amount: i64) -> TransactWriteItem {
    TransactWriteItem {
        table_name: TABLE.to_string(),
        action: TransactAction::Update {
            key: key_item(&account(number)),
            update_expression: "ADD n :n".to_string(),
        },
        expression_attribute_values: values(amount),
        ..Default::default()
    }
}

fn balance(item: Option<&Item>) -> i64 {
    match item.and_then(|item| item.get("n")) {
        Some(AttributeValue::N(number)) => number.to_string().parse().unwrap_or(i64::MIN),
        _ => 0,
    }
}

fn balance_of(tables: &Tables, number: i64) -> Result<i64, TableError> {
    let key = key_item(&account(number));
    let request = GetItemRequest { table_name: TABLE.to_string(), key, ..Default::default() };
    Ok(balance(tables.get_item(request)?.item.as_ref()))
}

/// Sends transactions with tokens until the power fails, and then the last one again.
pub(super) fn tokens(seed: u64, report: &mut CheckReport) -> Result<(), String> {
    let text = |error: TableError| format!("tokens: {error:?}");
    let mut rng = Rng::new(seed);
    let mut sim = Simulation::new(seed);
    let mut done = 0;
    let open = |sim: &Simulation| {
        let db = small(sim.world()).open("/db").map_err(|error| text(error.into()))?;
        Tables::open(db).map_err(text)
    };
    let send = |tables: &Tables, number: i64| {
        tables.transact_write_items(TransactWriteItemsRequest {
            transact_items: vec![add(0, 1), add(1, 1)],
            client_request_token: Some(format!("token {number}")),
            ..Default::default()
        })
    };
    let mut tables = open(&sim)?;
    tables.create_table(table_request(TABLE)).map_err(text)?;
    for _ in 0..LIVES {
        sim.fs.cut_power_at(sim.fs.ops() + rng.below(60));
        while send(&tables, done).is_ok() {
            done += 1;
        }
        if !sim.fs.power_is_off() {
            return Err("tokens: an error without a cause".to_string());
        }
        drop(tables);
        let policies = [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Posix];
        sim = sim.crash(*rng.pick(&policies), rng.number());
        tables = open(&sim)?;
        send(&tables, done).map_err(text)?;
        done += 1;
        report.add("transactions sent again after a power cut", 1);
        for number in [0, 1] {
            let found = balance_of(&tables, number).map_err(text)?;
            if found != done {
                return Err(format!("tokens: {done} transactions were done {found} times"));
            }
        }
    }
    Ok(())
}

/// Threads that move money and pay it in, and one that counts it.
pub(super) fn transfers(seed: u64, report: &mut CheckReport) -> Result<(), String> {
    let text = |error: TableError| format!("transfers: {error:?}");
    let db = esker::Db::builder()
        .memory_budget_bytes(1 << 20)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .background(Background::Threads)
        .world(Simulation::new(seed).world())
        .open("/db")
        .map_err(|error| text(error.into()))?;
    let tables = Tables::open(db).map_err(text)?;
    tables.create_table(table_request(TABLE)).map_err(text)?;
    for number in 0..ACCOUNTS {
        let mut item = key_item(&account(number));
        item.insert("n".to_string(), BALANCE.into());
        let request = PutItemRequest { table_name: TABLE.to_string(), item, ..Default::default() };
        tables.put_item(request).map_err(text)?;
    }
    let (start, has_ended) = (Barrier::new(THREADS as usize + 1), AtomicBool::new(false));
    let total = ACCOUNTS * BALANCE;
    let (paid_in, counted) = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (tables, start) = (&tables, &start);
                scope.spawn(move || {
                    start.wait();
                    work(tables, seed ^ thread << 32)
                })
            })
            .collect();
        let counts = scope.spawn(|| -> Result<(), String> {
            start.wait();
            while !has_ended.load(Ordering::Relaxed) {
                count(&tables, total)?;
            }
            Ok(())
        });
        let paid_in: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        has_ended.store(true, Ordering::Relaxed);
        (paid_in, counts.join())
    });
    counted.map_err(|_| "transfers: the reader panicked".to_string())??;
    let mut sum = total;
    for paid_in in paid_in {
        sum += paid_in.map_err(|_| "transfers: a writer panicked".to_string())?.map_err(text)?;
    }
    report.add("transfers among other writes", THREADS * ROUNDS);
    let mut found = 0;
    for number in 0..ACCOUNTS {
        found += balance_of(&tables, number).map_err(text)?;
    }
    if found != sum {
        return Err(format!("transfers: {sum} have become {found}"));
    }
    let problems = esker_table::verify(tables.db()).map_err(text)?.problems;
    problems.into_iter().next().map_or(Ok(()), Err)
}

/// What was paid in. Who is refused because of a transaction tries something else.
fn work(tables: &Tables, seed: u64) -> Result<i64, TableError> {
    let mut rng = Rng::new(seed);
    let mut paid_in = 0;
    for _ in 0..ROUNDS {
        let from = rng.below(ACCOUNTS as u64) as i64;
        let result = if rng.chance(50) {
            let to = (from + 1) % ACCOUNTS;
            let transact_items = vec![add(from, -MOVED), add(to, MOVED)];
            let request = TransactWriteItemsRequest { transact_items, ..Default::default() };
            tables.transact_write_items(request).map(|_| 0)
        } else {
            let request = UpdateItemRequest {
                table_name: TABLE.to_string(),
                key: key_item(&account(from)),
                update_expression: Some("ADD n :n".to_string()),
                expression_attribute_values: values(1),
                ..Default::default()
            };
            tables.update_item(request).map(|_| 1)
        };
        match result {
            Ok(paid) => paid_in += paid,
            Err(error)
                if matches!(
                    error.kind(),
                    TableErrorKind::TransactionConflict | TableErrorKind::TransactionCanceled
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(paid_in)
}

/// All money of one moment: what was there at first, and what has been paid in since.
fn count(tables: &Tables, total: i64) -> Result<(), String> {
    let get = |number| TransactGet {
        table_name: TABLE.to_string(),
        key: key_item(&account(number)),
        ..Default::default()
    };
    let request = TransactGetItemsRequest {
        transact_items: (0..ACCOUNTS).map(get).collect(),
        ..Default::default()
    };
    let items = tables.transact_get_items(request).map_err(|error| format!("count: {error:?}"))?;
    let sum: i64 = items.responses.iter().map(|item| balance(item.as_ref())).sum();
    if (total..=total + (THREADS * ROUNDS) as i64).contains(&sum) {
        return Ok(());
    }
    Err(format!("transfers: a read transaction saw {sum} of {total}"))
}
