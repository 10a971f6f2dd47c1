//! The item API against the engine under it: puts and gets of 1 KB items through `esker-table`, and the engine doing what
//! it cannot do without: the same keys (hashed as the table hashes them), the same bytes, and for a put a look at the
//! old value. A get that answers a map is held against a get whose value is copied out, a get that lends against a get
//! that lends. Both `Buffered`, on one thread, everything in memory, in turn within one process; prints the thread's
//! processor time of each and the ratio. Run by hand (`cargo bench -p esker-benches --bench items`); never a check.

// Entry points that only measure need no documentation of their own; and a benchmark asks the system.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Duration;

use esker::{Db, Durability, Keyspace};
use esker_table::item::{EncodedItem, ValueView};
use esker_table::key_codec::{KeyPart, base_key};
use esker_table::operation::{CreateTableRequest, GetItemRequest, PutItemRequest};
use esker_table::schema::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use esker_table::{AttributeValue, Item, Tables};

const ITEMS: u64 = 20_000;
const ROUNDS: usize = 7;
const TABLE: &str = "items";

/// SplitMix64's finish, one to one.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn id(number: u64) -> String {
    format!("{:016x}", mix(number))
}

/// An item of 1 KB with three attributes; `version` changes its text.
fn item(number: u64, version: u64) -> Item {
    let text: String = (0..60)
        .map(|part| format!("{:016x}", mix(number ^ (version << 40) ^ (part << 52))))
        .collect();
    Item::from([
        ("id".to_owned(), id(number).into()),
        ("n".to_owned(), (number as i64).into()),
        ("text".to_owned(), text.into()),
    ])
}

fn stored_key(number: u64) -> Vec<u8> {
    base_key(&KeyPart::S(id(number).into()), None)
}

/// The numbers in an order of their own per round.
fn order(round: usize) -> impl Iterator<Item = u64> {
    // Odd, and the count is not a multiple of it: each comes once.
    let step = 7_919 + 2 * round as u64;
    (0..ITEMS).map(move |at| at * step % ITEMS)
}

/// What this thread has had of a processor: on a busy machine the clock says little.
fn processor_time() -> Duration {
    // The kernel brings the figure up to date when the thread leaves the processor, otherwise a few hundred times a second.
    std::thread::sleep(Duration::from_micros(1));
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux kernel");
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first field is a number"))
}

fn open(folder: &std::path::Path) -> Db {
    let builder = Db::builder().durability(Durability::Buffered).memory_budget_bytes(1 << 30);
    builder.open(folder).expect("a database")
}

fn tables(db: &Db) -> Tables {
    let tables = Tables::open(db.clone()).expect("tables");
    tables
        .create_table(CreateTableRequest {
            table_name: TABLE.into(),
            attribute_definitions: vec![AttributeDefinition {
                attribute_name: "id".into(),
                attribute_type: ScalarAttributeType::S,
            }],
            key_schema: vec![KeySchemaElement {
                attribute_name: "id".into(),
                key_type: KeyType::Hash,
            }],
            billing_mode: Some(BillingMode::PayPerRequest),
            ..Default::default()
        })
        .expect("a table");
    tables
}

fn put_items(tables: &Tables, round: usize) -> Duration {
    let requests: Vec<PutItemRequest> = order(round)
        .map(|number| PutItemRequest {
            table_name: TABLE.into(),
            item: item(number, round as u64),
            ..Default::default()
        })
        .collect();
    let since = processor_time();
    for request in requests {
        black_box(tables.put_item(request).expect("a put"));
    }
    processor_time() - since
}

fn put_values(keyspace: &Keyspace, round: usize) -> Duration {
    let entries: Vec<(Vec<u8>, EncodedItem)> = order(round)
        .map(|number| {
            let encoded = EncodedItem::encode(&mut item(number, round as u64)).expect("valid");
            (stored_key(number), encoded)
        })
        .collect();
    let since = processor_time();
    for (key, value) in entries {
        black_box(keyspace.get_and(&key, |old| old.first().copied()).expect("a get"));
        keyspace.put(&key, value.as_bytes()).expect("a put");
    }
    processor_time() - since
}

/// Gets of the table that answer a map.
fn get_items(tables: &Tables, round: usize) -> Duration {
    let requests: Vec<GetItemRequest> = order(round)
        .map(|number| GetItemRequest {
            table_name: TABLE.into(),
            key: Item::from([("id".to_owned(), id(number).into())]),
            ..Default::default()
        })
        .collect();
    let since = processor_time();
    for request in requests {
        let answer = tables.get_item(request).expect("a get");
        assert!(black_box(answer).item.is_some());
    }
    processor_time() - since
}

/// Gets of the table that lend, of which one attribute is read; the key is one item that is filled anew.
fn lend_items(tables: &Tables, round: usize) -> Duration {
    let ids: Vec<String> = order(round).map(id).collect();
    let mut key = Item::from([("id".to_owned(), "".into())]);
    let since = processor_time();
    for id in &ids {
        if let Some(AttributeValue::S(text)) = key.get_mut("id") {
            text.clone_from(id);
        }
        let number = tables.get_item_and(TABLE, &key, |item| match item.get("n") {
            Some(Ok(ValueView::N(number))) => Some(number),
            _ => None,
        });
        assert!(black_box(number).expect("a get").flatten().is_some());
    }
    processor_time() - since
}

/// Gets of the engine, each value copied out.
fn get_values(keyspace: &Keyspace, round: usize) -> Duration {
    let keys: Vec<Vec<u8>> = order(round).map(stored_key).collect();
    let since = processor_time();
    for key in keys {
        assert!(black_box(keyspace.get_and(&key, <[u8]>::to_vec).expect("a get")).is_some());
    }
    processor_time() - since
}

/// Gets of the engine that lend, with a look at the value's beginning.
fn lend_values(keyspace: &Keyspace, round: usize) -> Duration {
    let keys: Vec<Vec<u8>> = order(round).map(stored_key).collect();
    let since = processor_time();
    for key in keys {
        let first = keyspace.get_and(&key, |value| value.first().copied()).expect("a get");
        assert!(black_box(first).flatten().is_some());
    }
    processor_time() - since
}

fn report(what: &str, engine: Duration, table: Duration) {
    let each = |time: Duration| time.as_secs_f64() * 1e6 / ITEMS as f64;
    let (engine, table) = (each(engine), each(table));
    println!("{what}: engine {engine:.2} us, table {table:.2} us, ratio {:.2}", table / engine);
}

/// The shortest of several rounds in turn, because the machine may be busy with other things.
fn best<const N: usize>(round: impl Fn(usize) -> [Duration; N]) -> [Duration; N] {
    let mut best = [Duration::MAX; N];
    for times in (1..=ROUNDS).map(round) {
        best = std::array::from_fn(|at| best[at].min(times[at]));
    }
    best
}

fn main() {
    // Puts of new items go into a database that is new each time.
    let new = best(|round| {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let [engine, table] = folders.each_ref().map(|folder| open(folder.path()));
        let (keyspace, tables) = (engine.keyspace("items").expect("a keyspace"), tables(&table));
        [put_values(&keyspace, round), put_items(&tables, round)]
    });
    report("put, a new item", new[0], new[1]);

    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [engine, table] = folders.each_ref().map(|folder| open(folder.path()));
    let (keyspace, tables) = (engine.keyspace("items").expect("a keyspace"), tables(&table));
    put_values(&keyspace, 0);
    put_items(&tables, 0);
    let over = best(|round| [put_values(&keyspace, round), put_items(&tables, round)]);
    report("put, over an old item", over[0], over[1]);
    for place in ["in the memtable", "from a file"] {
        let gets = best(|round| {
            [
                get_values(&keyspace, round),
                get_items(&tables, round),
                lend_values(&keyspace, round),
                lend_items(&tables, round),
            ]
        });
        report(&format!("get, {place}, a map against a copy"), gets[0], gets[1]);
        report(&format!("get, {place}, lent"), gets[2], gets[3]);
        engine.flush().and_then(|()| table.flush()).expect("a flush");
    }
}
