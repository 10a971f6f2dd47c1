//! Runs one named operation a number of times, always in the same way, for `scripts/instructions.py` to count its
//! instructions. The database is real files in a temporary folder; nothing runs beside it, and neither time nor
//! randomness comes from outside. Must never do anything that differs from one call to the next.
//!
//!     instructions get_sstable 10000
//!     instructions --list

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use esker::vfs::World;
use esker::vfs::simulated::{SimulatedClock, SimulatedRandom};
use esker::{Background, Db, Durability, Keyspace, KeyspaceOptions};
use esker_server::fuzzing::{item_from_json, item_to_json};
use esker_table::operation::{CreateTableRequest, GetItemRequest, PutItemRequest};
use esker_table::schema::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use esker_table::{AttributeValue, Item, Tables};

type Failure = Box<dyn Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

/// Entries of the databases that are read.
const ENTRIES: u64 = 20_000;

/// Operations of a batch.
const BATCH: u64 = 100;

/// Files that a merge takes.
const FILES: u64 = 4;

/// Makes one operation as often as the run says, behind what it needs.
type Operation = fn(&Run) -> Result<()>;

/// Every operation by name.
const OPERATIONS: &[(&str, Operation)] = &[
    ("put", put),
    ("put_batch", put_batch),
    ("get_memtable", get_memtable),
    ("get_sstable", |run| get_sstable(run, false)),
    ("get_sstable_lz4", |run| get_sstable(run, true)),
    ("get_miss", get_miss),
    ("scan_100", |run| scan_100(run, false)),
    ("scan_100_lz4", |run| scan_100(run, true)),
    ("put_and_flush", put_and_flush),
    ("put_flush_and_merge", put_flush_and_merge),
    ("item_put", item_put),
    ("item_get", item_get),
    ("item_from_json", from_json),
    ("item_to_json", to_json),
];

/// How often, and whether every eighth operation is made twice: the slowdown that the script has to find.
struct Run {
    count: u64,
    slower: bool,
}

impl Run {
    fn times(&self, mut operation: impl FnMut(u64) -> Result<()>) -> Result<()> {
        for number in 0..self.count {
            operation(number)?;
            if self.slower && number % 8 == 0 {
                operation(number)?;
            }
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    match (words.next(), words.next(), words.next()) {
        (Some("--list"), None, None) => {
            OPERATIONS.iter().for_each(|(name, _)| println!("{name}"));
            Ok(())
        }
        (Some(name), Some(count), slower) if slower.is_none_or(|word| word == "--slower") => {
            let run = Run { count: count.parse()?, slower: slower.is_some() };
            let operation = OPERATIONS.iter().find(|(known, _)| *known == name);
            operation.ok_or_else(|| format!("no operation {name:?}"))?.1(&run)
        }
        _ => Err("usage: instructions OPERATION COUNT [--slower] | --list".into()),
    }
}

/// An open database in a folder of its own.
struct Store {
    db: Db,
    entries: Keyspace,
    _folder: tempfile::TempDir,
}

impl Store {
    fn open(compress: bool) -> Result<Store> {
        let folder = tempfile::tempdir()?;
        let world = World {
            clock: Arc::new(SimulatedClock::new()),
            random: Arc::new(SimulatedRandom::new(1)),
            ..World::real()
        };
        let db = Db::builder()
            .durability(Durability::Buffered)
            .background(Background::Manual)
            .world(world)
            .open(folder.path())?;
        let options = KeyspaceOptions { compress, ..KeyspaceOptions::default() };
        let entries = db.create_keyspace("entries", options)?;
        Ok(Store { db, entries, _folder: folder })
    }

    fn filled(compress: bool) -> Result<Store> {
        let store = Store::open(compress)?;
        for number in 0..ENTRIES {
            store.entries.put(key(number), value(number))?;
        }
        Ok(store)
    }

    /// With everything in sstables of the deepest level.
    fn settled(compress: bool) -> Result<Store> {
        let store = Store::filled(compress)?;
        store.db.flush()?;
        store.db.compact()?;
        Ok(store)
    }
}

fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 20 bytes; keys of successive numbers lie apart.
fn key(number: u64) -> [u8; 20] {
    let mut key = *b"user0000000000000000";
    key[4..12].copy_from_slice(&mix(number).to_be_bytes());
    key[12..].copy_from_slice(&number.to_be_bytes());
    key
}

/// 100 bytes, half of them compressible.
fn value(number: u64) -> [u8; 100] {
    let mut value = [b' '; 100];
    for (place, chunk) in value[..48].chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&mix(number ^ (place as u64) << 40).to_le_bytes());
    }
    value
}

fn found(any: bool) -> Result<()> {
    if any { Ok(()) } else { Err("what was written is not there".into()) }
}

fn put(run: &Run) -> Result<()> {
    let store = Store::open(true)?;
    run.times(|number| Ok(store.entries.put(key(number), value(number))?))
}

fn put_batch(run: &Run) -> Result<()> {
    let store = Store::open(true)?;
    run.times(|number| {
        let mut batch = store.db.batch();
        for entry in number * BATCH..(number + 1) * BATCH {
            batch.put(&store.entries, key(entry), value(entry));
        }
        Ok(store.db.write(batch)?)
    })
}

fn get(run: &Run, store: &Store) -> Result<()> {
    run.times(|number| found(store.entries.get(key(mix(number) % ENTRIES))?.is_some()))
}

fn get_memtable(run: &Run) -> Result<()> {
    get(run, &Store::filled(true)?)
}

fn get_sstable(run: &Run, compress: bool) -> Result<()> {
    let store = Store::settled(compress)?;
    // Every block is read, checked and cached before.
    found(store.entries.iter().count() as u64 == ENTRIES)?;
    for number in 0..ENTRIES {
        black_box(store.entries.get(key(number))?);
    }
    get(run, &store)
}

fn get_miss(run: &Run) -> Result<()> {
    let store = Store::settled(true)?;
    run.times(|number| found(store.entries.get(key(ENTRIES + number))?.is_none()))
}

fn scan_100(run: &Run, compress: bool) -> Result<()> {
    let store = Store::settled(compress)?;
    found(store.entries.iter().count() as u64 == ENTRIES)?;
    run.times(|number| {
        let mut bytes = 0;
        let mut range = store.entries.range(key(mix(number) % ENTRIES)..);
        for _ in 0..100 {
            let Some((key, value)) = range.next_entry()? else { break };
            bytes += key.len() + value.len();
        }
        found(black_box(bytes) > 0)
    })
}

fn put_and_flush(run: &Run) -> Result<()> {
    let store = Store::open(true)?;
    run.times(|number| Ok(store.entries.put(key(number), value(number))?))?;
    Ok(store.db.flush()?)
}

fn put_flush_and_merge(run: &Run) -> Result<()> {
    let store = Store::open(true)?;
    let of_file = run.count.div_ceil(FILES).max(1);
    run.times(|number| {
        store.entries.put(key(number), value(number))?;
        if (number + 1) % of_file == 0 {
            store.db.flush()?;
        }
        Ok(())
    })?;
    store.db.flush()?;
    Ok(store.db.compact()?)
}

/// About 1 KB in a few attributes of different types.
fn item(number: u64) -> Item {
    let text = format!("{:016x}", mix(number));
    let tags = vec!["blue".into(), "green".into(), text[..6].to_owned()];
    Item::from([
        ("id".into(), AttributeValue::S(format!("user-{number:012}"))),
        ("age".into(), AttributeValue::from((number % 90) as i64)),
        ("balance".into(), AttributeValue::from(mix(number) as i64 / 1000)),
        ("active".into(), AttributeValue::Bool(number & 1 == 0)),
        ("tags".into(), AttributeValue::L(tags.into_iter().map(AttributeValue::S).collect())),
        ("photo".into(), AttributeValue::B(value(number).to_vec())),
        ("text".into(), AttributeValue::S(text.repeat(45))),
    ])
}

fn tables() -> Result<(Tables, Store)> {
    let store = Store::open(true)?;
    let tables = Tables::open(store.db.clone())?;
    tables.create_table(CreateTableRequest {
        table_name: "items".into(),
        attribute_definitions: vec![AttributeDefinition {
            attribute_name: "id".into(),
            attribute_type: ScalarAttributeType::S,
        }],
        key_schema: vec![KeySchemaElement { attribute_name: "id".into(), key_type: KeyType::Hash }],
        billing_mode: Some(BillingMode::PayPerRequest),
        ..CreateTableRequest::default()
    })?;
    Ok((tables, store))
}

fn put_one(tables: &Tables, number: u64) -> Result<()> {
    let item = item(number);
    tables.put_item(PutItemRequest {
        table_name: "items".into(),
        item,
        ..PutItemRequest::default()
    })?;
    Ok(())
}

/// Half of them replace an item.
fn item_put(run: &Run) -> Result<()> {
    let (tables, _store) = tables()?;
    run.times(|number| put_one(&tables, number / 2))
}

fn item_get(run: &Run) -> Result<()> {
    const ITEMS: u64 = 2000;
    let (tables, _store) = tables()?;
    for number in 0..ITEMS {
        put_one(&tables, number)?;
    }
    tables.db().flush()?;
    run.times(|number| {
        let id = AttributeValue::S(format!("user-{:012}", mix(number) % ITEMS));
        let answer = tables.get_item(GetItemRequest {
            table_name: "items".into(),
            key: Item::from([("id".into(), id)]),
            ..GetItemRequest::default()
        })?;
        found(black_box(answer).item.is_some())
    })
}

fn from_json(run: &Run) -> Result<()> {
    let texts: Vec<Vec<u8>> = (0..64).map(|number| item_to_json(&item(number))).collect();
    run.times(|number| {
        found(black_box(item_from_json(&texts[number as usize % texts.len()])).is_some())
    })
}

fn to_json(run: &Run) -> Result<()> {
    let items: Vec<Item> = (0..64).map(item).collect();
    run.times(|number| {
        found(!black_box(item_to_json(&items[number as usize % items.len()])).is_empty())
    })
}
