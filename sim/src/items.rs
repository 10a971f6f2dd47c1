//! Tables on the simulated disk: random item operations against a model, with power cuts, full disks, flushes and
//! merges, and indexes that come and go; writers of the same items at the same time; and transactions. Called as the check
//! `items`.
//!
//! After every recovery the tables must be those of the model, the operation under way done or not; with true counts,
//! indexes that agree with their tables, pages that neither repeat nor lose an item, and items in the order of their
//! sort keys, negative ones too.

mod transactions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use esker::vfs::simulated::{CrashPolicy, Simulation};
use esker::{Background, BackgroundStep, ReadMode};
use esker_table::operation::{
    CreateTableRequest, DeleteItemRequest, DeleteTableRequest, DescribeTableRequest,
    GetItemRequest, PutItemRequest, QueryRequest, ReturnValues, ScanRequest, UpdateTableRequest,
};
use esker_table::schema::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, GlobalSecondaryIndexUpdate,
    KeySchemaElement, KeyType, LocalSecondaryIndex, Projection, ProjectionType,
    ScalarAttributeType, TableStatus,
};
use esker_table::{AttributeValue, Item, TableError, TableErrorKind, Tables};

use crate::report::{Budget, CheckReport};
use crate::{Rng, parallel, small};

/// The check's name.
pub const NAME: &str = "items";

/// Restarts of one machine.
const LIVES: u64 = 5;

/// Threads that write the same items, and how often at least.
const WRITERS: u64 = 3;
const WRITES: u64 = 40;
const SHARED_ITEMS: u64 = 3;
const COLD_ITEMS: u64 = 60;
/// How often an index of theirs comes or goes meanwhile.
const INDEX_CHANGES: u64 = 5;

/// Partition key and sort key.
type Key = (String, i64);
/// The tables, by name.
type Model = BTreeMap<String, BTreeMap<Key, Item>>;

/// Runs lives and concurrent writers, as many as the budget allows.
pub fn check(budget: &Budget) -> CheckReport {
    let seed = budget.seed.wrapping_mul(1 << 20);
    let work = move |unit: u64, report: &mut CheckReport| {
        let seed = seed + unit;
        let outcome = match unit % 6 {
            3 => together(seed, report),
            4 => transactions::tokens(seed, report),
            5 => transactions::transfers(seed, report),
            at => lives(seed, at == 2, report),
        };
        if let Err(broken) = outcome {
            report.find(format!("seed {seed}: {broken}"));
        }
    };
    parallel::run(NAME, budget, budget.count(60, 1200, 6000), Arc::new(work))
}

/// What an operation did to the model: nothing yet, or perhaps something, because the power failed.
enum End {
    Done,
    PowerOff,
}

struct Life {
    sim: Simulation,
    rng: Rng,
    /// The state that is there, and the one that may be there as well if the power failed in between.
    model: Model,
    maybe: Option<Model>,
    /// Tables come and go all the time, and so does the power.
    restless: bool,
}

fn lives(seed: u64, restless: bool, report: &mut CheckReport) -> Result<(), String> {
    let (sim, rng) = (Simulation::new(seed), Rng::new(seed));
    let mut life = Life { sim, rng, model: Model::new(), maybe: None, restless };
    let (restarts, calls) = if restless { (4 * LIVES, 150) } else { (LIVES, 700) };
    for _ in 0..restarts {
        if life.rng.chance(70) {
            life.sim.fs.cut_power_at(life.sim.fs.ops() + life.rng.below(calls));
        }
        life.live(report)?;
        report.add("restarts", 1);
        if life.sim.fs.power_is_off() || life.rng.chance(50) {
            let policies = [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Posix];
            let policy = *life.rng.pick(&policies);
            life.sim = life.sim.crash(policy, life.rng.number());
        }
    }
    Ok(())
}

impl Life {
    fn live(&mut self, report: &mut CheckReport) -> Result<(), String> {
        let opened = small(self.sim.world()).open("/db").map_err(TableError::from);
        let tables = match opened.and_then(Tables::open) {
            Ok(tables) => tables,
            Err(error) => return self.power(&error).map(|_| ()),
        };
        match self.settle(&tables)? {
            End::Done => {}
            End::PowerOff => return Ok(()),
        }
        for _ in 0..5 + self.rng.below(60) {
            report.add("operations on items and tables", 1);
            if let End::PowerOff = self.act(&tables)? {
                return Ok(());
            }
        }
        match compare(&tables, &self.model, &mut self.rng) {
            Ok(difference) => difference.map_or(Ok(()), Err)?,
            Err(error) => return self.power(&error).map(|_| ()),
        }
        if self.rng.chance(50)
            && let Err(error) = tables.close()
        {
            self.power(&error)?;
        }
        Ok(())
    }

    /// After a recovery: decides which of the possible states is there.
    fn settle(&mut self, tables: &Tables) -> Result<End, String> {
        let mut differences = Vec::new();
        for model in std::iter::once(self.model.clone()).chain(self.maybe.clone()) {
            match compare(tables, &model, &mut self.rng) {
                Ok(None) => {
                    (self.model, self.maybe) = (model, None);
                    return Ok(End::Done);
                }
                Ok(Some(difference)) => differences.push(difference),
                // Cut off while it looked: neither is ruled out.
                Err(error) => return self.power(&error),
            }
        }
        Err(format!("after a restart: {}", differences.join("; or ")))
    }

    /// An error is fine if the power is off.
    fn power(&self, error: &TableError) -> Result<End, String> {
        if self.sim.fs.power_is_off() {
            return Ok(End::PowerOff);
        }
        Err(format!("an error without a cause: {error:?}"))
    }

    fn act(&mut self, tables: &Tables) -> Result<End, String> {
        let names = ["one", "two"];
        let name = (*self.rng.pick(&names)).to_string();
        let key = (format!("p{}", self.rng.below(3)), self.rng.below(9) as i64 - 4);
        let mut next = self.model.clone();
        let is_there = self.model.contains_key(&name);
        let choice = if self.restless && self.rng.chance(30) { 0 } else { self.rng.below(46) };
        let result = match choice {
            _ if !is_there => {
                next.insert(name.clone(), BTreeMap::new());
                tables.create_table(table_request(&name)).map(|_| ())
            }
            0 => {
                let request = DeleteTableRequest { table_name: name.clone() };
                match tables.delete_table(request) {
                    Ok(_) => {
                        next.remove(&name);
                        Ok(())
                    }
                    // While an index comes or goes.
                    Err(error) if error.kind() == TableErrorKind::ResourceInUse => Ok(()),
                    Err(error) => {
                        next.remove(&name);
                        Err(error)
                    }
                }
            }
            1 => tables.db().flush().map_err(TableError::from),
            2 => tables.db().compact().map_err(TableError::from),
            3 => match compare(tables, &self.model, &mut self.rng) {
                Ok(None) => Ok(()),
                Ok(Some(difference)) => return Err(difference),
                Err(error) => Err(error),
            },
            4 | 5 => return self.put_on_a_full_disk(tables, &name, &key),
            6..10 => {
                let step = self.rng.pick(&BackgroundStep::ALL);
                tables.db().run_background_step(*step).map(|_| ()).map_err(TableError::from)
            }
            40 => update_index(tables, &name),
            41 => finish_indexes(tables),
            42.. => tables.run_index_step().map(|_| ()),
            10..20 => {
                let old = next.get_mut(&name).and_then(|items| items.remove(&key));
                let request = DeleteItemRequest {
                    table_name: name.clone(),
                    key: key_item(&key),
                    return_values: Some(ReturnValues::AllOld),
                    ..Default::default()
                };
                let answer = tables.delete_item(request).map(|answer| answer.attributes);
                return self.settle_write(next, old, answer);
            }
            _ => {
                let item = self.item(&key);
                let old = next.get_mut(&name).and_then(|t| t.insert(key, item.clone()));
                let answer = tables.put_item(put_request(&name, item)).map(|a| a.attributes);
                return self.settle_write(next, old, answer);
            }
        };
        match result {
            Ok(()) => self.model = next,
            Err(error) => {
                self.maybe = Some(next);
                return self.power(&error);
            }
        }
        Ok(End::Done)
    }

    fn settle_write(
        &mut self,
        next: Model,
        old: Option<Item>,
        answer: Result<Option<Item>, TableError>,
    ) -> Result<End, String> {
        match answer {
            Ok(found) if found == old => {
                self.model = next;
                Ok(End::Done)
            }
            Ok(found) => Err(format!("a write replaced {found:?} instead of {old:?}")),
            Err(error) => {
                self.maybe = Some(next);
                self.power(&error)
            }
        }
    }

    /// A write that is refused leaves no trace, in the counts either.
    fn put_on_a_full_disk(
        &mut self,
        tables: &Tables,
        name: &str,
        key: &Key,
    ) -> Result<End, String> {
        let item = self.item(key);
        let mut next = self.model.clone();
        let _ = next.get_mut(name).and_then(|items| items.insert(key.clone(), item.clone()));
        self.sim.fs.set_capacity(1);
        let answer = tables.put_item(put_request(name, item));
        self.sim.fs.set_capacity(u64::MAX);
        match answer {
            Ok(_) => self.model = next,
            Err(_) if self.sim.fs.power_is_off() => {
                self.maybe = Some(next);
                return Ok(End::PowerOff);
            }
            Err(_) => {}
        }
        Ok(End::Done)
    }

    fn item(&mut self, key: &Key) -> Item {
        let mut item = key_item(key);
        let len = *self.rng.pick(&[0, 10, 400, 2500]);
        item.insert("text".to_string(), "x".repeat(len).as_str().into());
        item.insert("n".to_string(), (self.rng.below(1000) as i64 - 500).into());
        item
    }
}

fn key_item(key: &Key) -> Item {
    Item::from([("pk".to_string(), key.0.as_str().into()), ("sk".to_string(), key.1.into())])
}

fn put_request(table: &str, item: Item) -> PutItemRequest {
    PutItemRequest {
        table_name: table.to_string(),
        item,
        return_values: Some(ReturnValues::AllOld),
        ..Default::default()
    }
}

fn table_request(name: &str) -> CreateTableRequest {
    let definition = |name: &str, attribute_type| AttributeDefinition {
        attribute_name: name.to_string(),
        attribute_type,
    };
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_string(), key_type };
    let projection = |kind| Projection { projection_type: Some(kind), non_key_attributes: None };
    CreateTableRequest {
        table_name: name.to_string(),
        attribute_definitions: vec![
            definition("pk", ScalarAttributeType::S),
            definition("sk", ScalarAttributeType::N),
            definition("n", ScalarAttributeType::N),
        ],
        key_schema: vec![element("pk", KeyType::Hash), element("sk", KeyType::Range)],
        local_secondary_indexes: Some(vec![LocalSecondaryIndex {
            index_name: "by_n".to_string(),
            key_schema: vec![element("pk", KeyType::Hash), element("n", KeyType::Range)],
            projection: projection(ProjectionType::All),
        }]),
        global_secondary_indexes: Some(vec![GlobalSecondaryIndex {
            index_name: "of_n".to_string(),
            key_schema: vec![element("n", KeyType::Hash)],
            projection: projection(ProjectionType::KeysOnly),
            ..Default::default()
        }]),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    }
}

const LATER: &str = "later";

/// Creates the index that tables get later, or deletes it.
fn update_index(tables: &Tables, name: &str) -> Result<(), TableError> {
    let request = DescribeTableRequest { table_name: name.to_string() };
    let indexes = tables.describe_table(request)?.table.global_secondary_indexes;
    let mut update = GlobalSecondaryIndexUpdate::default();
    if indexes.iter().any(|index| index.index_name == LATER) {
        update.delete = Some(LATER.to_string());
    } else {
        let of_n = table_request(name).global_secondary_indexes.unwrap_or_default();
        let later = |index| GlobalSecondaryIndex { index_name: LATER.to_string(), ..index };
        update.create = of_n.into_iter().map(later).next();
    }
    let request = UpdateTableRequest {
        table_name: name.to_string(),
        attribute_definitions: Some(table_request(name).attribute_definitions),
        global_secondary_index_updates: Some(vec![update]),
        ..Default::default()
    };
    match tables.update_table(request) {
        // Another change is under way.
        Err(error)
            if matches!(
                error.kind(),
                TableErrorKind::LimitExceeded | TableErrorKind::ResourceInUse
            ) =>
        {
            Ok(())
        }
        result => result.map(|_| ()),
    }
}

/// Does all the work on indexes; each is then there, with every item, or gone.
fn finish_indexes(tables: &Tables) -> Result<(), TableError> {
    while tables.run_index_step()? {}
    for table_name in tables.list_tables(Default::default())?.table_names {
        let table = tables.describe_table(DescribeTableRequest { table_name })?.table;
        if table.table_status != TableStatus::Active {
            let text = format!("{} has an index that is never ready", table.table_name);
            return Err(TableError::new(TableErrorKind::Internal, text));
        }
    }
    Ok(())
}

/// What is different between the tables and the model, if anything.
fn compare(tables: &Tables, model: &Model, rng: &mut Rng) -> Result<Option<String>, TableError> {
    let names = tables.list_tables(Default::default())?.table_names;
    if !names.iter().eq(model.keys()) {
        return Ok(Some(format!("the tables are {names:?}")));
    }
    for (name, items) in model {
        let request = DescribeTableRequest { table_name: name.clone() };
        let counted = tables.describe_table(request)?.table.item_count;
        if counted != items.len() as u64 {
            return Ok(Some(format!("{name} counts {counted} items of {}", items.len())));
        }
        let mut found = scan(tables, name, 1 + rng.below(7) as i32)?;
        if found.len() != items.len() {
            return Ok(Some(format!("a scan of {name} finds {} of {}", found.len(), items.len())));
        }
        for (key, item) in items {
            let Some(at) = found.iter().position(|one| one == item) else {
                return Ok(Some(format!("a scan of {name} does not find {key:?}")));
            };
            found.swap_remove(at);
        }
        for partition in 0..3 {
            let partition = format!("p{partition}");
            let forward = rng.chance(50);
            let of = |key: &Key| key.0 == partition;
            let mut expected: Vec<&Item> =
                items.iter().filter(|(key, _)| of(key)).map(|(_, item)| item).collect();
            if !forward {
                expected.reverse();
            }
            let found = query(tables, name, &partition, forward, 1 + rng.below(4) as i32)?;
            if !found.iter().eq(expected) {
                return Ok(Some(format!("a query of {partition} in {name} answers otherwise")));
            }
        }
        if let Some((key, item)) = items.iter().next() {
            let (table_name, key) = (name.clone(), key_item(key));
            let request = GetItemRequest { table_name, key, ..Default::default() };
            if tables.get_item(request)?.item.as_ref() != Some(item) {
                return Ok(Some(format!("{name} answers otherwise for one item")));
            }
        }
    }
    Ok(esker_table::verify(tables.db())?.problems.into_iter().next())
}

fn scan(tables: &Tables, name: &str, limit: i32) -> Result<Vec<Item>, TableError> {
    let mut request =
        ScanRequest { table_name: name.to_string(), limit: Some(limit), ..Default::default() };
    let mut items = Vec::new();
    loop {
        let page = tables.scan(request.clone())?;
        items.extend(page.items.unwrap_or_default());
        match page.last_evaluated_key {
            // A page that repeats would go on for ever.
            Some(key) if items.len() < 1000 => request.exclusive_start_key = Some(key),
            _ => return Ok(items),
        }
    }
}

fn query(
    tables: &Tables,
    name: &str,
    partition: &str,
    forward: bool,
    limit: i32,
) -> Result<Vec<Item>, TableError> {
    let mut request = QueryRequest {
        table_name: name.to_string(),
        key_condition_expression: Some("pk = :p".to_string()),
        expression_attribute_values: Some(Item::from([(":p".to_string(), partition.into())])),
        scan_index_forward: Some(forward),
        limit: Some(limit),
        ..Default::default()
    };
    let mut items = Vec::new();
    loop {
        let page = tables.query(request.clone())?;
        items.extend(page.items.unwrap_or_default());
        match page.last_evaluated_key {
            Some(key) if items.len() < 1000 => request.exclusive_start_key = Some(key),
            _ => return Ok(items),
        }
    }
}

/// Threads write the same items. Every value that was written must be replaced exactly once, or be there at the end.
fn together(seed: u64, report: &mut CheckReport) -> Result<(), String> {
    let text = |error: TableError| format!("writers: {error:?}");
    let db = esker::Db::builder()
        .memory_budget_bytes(1 << 20)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .background(Background::Threads)
        .world(Simulation::new(seed).world())
        .open("/db")
        .map_err(|error| text(error.into()))?;
    let tables = Tables::open(db).map_err(text)?;
    tables.create_table(table_request("shared")).map_err(text)?;
    // Items that nobody writes again: a new index takes its time.
    let (mut written, mut replaced) = (Vec::new(), Vec::new());
    for number in SHARED_ITEMS..SHARED_ITEMS + COLD_ITEMS {
        let mut item = key_item(&("p".to_string(), number as i64));
        item.insert("n".to_string(), (number as i64 + (WRITERS << 32) as i64).into());
        written.extend(number_of(&item));
        tables.put_item(put_request("shared", item)).map_err(text)?;
    }
    let (start, is_over) = (Barrier::new(WRITERS as usize), AtomicBool::new(false));
    let answers: Result<Vec<_>, TableError> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (tables, start, is_over) = (&tables, &start, &is_over);
                scope.spawn(move || {
                    start.wait();
                    write_shared(tables, seed, writer, is_over)
                })
            })
            .collect();
        let index = (0..INDEX_CHANGES).try_for_each(|_| {
            update_index(&tables, "shared")?;
            wait_for_index(&tables)
        });
        is_over.store(true, Ordering::Relaxed);
        let answers: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        index.map(|()| answers)
    });
    let answers = answers.map_err(text)?;
    for answer in answers {
        let (new, old) = answer.map_err(|_| "a writer panicked".to_string())?.map_err(text)?;
        written.extend(new);
        replaced.extend(old);
    }
    report.add("concurrent writes of the same items", WRITERS * WRITES);
    replaced.extend(scan(&tables, "shared", 100).map_err(text)?.iter().filter_map(number_of));
    written.sort_unstable();
    replaced.sort_unstable();
    if written != replaced {
        return Err("writers: a value was replaced twice or never".to_string());
    }
    let problems = esker_table::verify(tables.db()).map_err(text)?.problems;
    problems.into_iter().next().map_or(Ok(()), Err)
}

/// Waits until the thread of the tables has made or taken away an index.
fn wait_for_index(tables: &Tables) -> Result<(), TableError> {
    let request = DescribeTableRequest { table_name: "shared".to_string() };
    while tables.describe_table(request.clone())?.table.table_status != TableStatus::Active {
        thread::yield_now();
    }
    Ok(())
}

/// The numbers that one thread has written, and those that it has replaced.
type Exchange = (Vec<u64>, Vec<u64>);

fn write_shared(
    tables: &Tables,
    seed: u64,
    writer: u64,
    is_over: &AtomicBool,
) -> Result<Exchange, TableError> {
    let mut rng = Rng::new(seed ^ writer << 32);
    let (mut written, mut replaced) = (Vec::new(), Vec::new());
    for at in 0.. {
        if at >= WRITES && is_over.load(Ordering::Relaxed) {
            break;
        }
        let key = ("p".to_string(), rng.below(SHARED_ITEMS) as i64);
        let old = if rng.chance(80) {
            let number = (writer << 32) + at;
            let mut item = key_item(&key);
            item.insert("n".to_string(), (number as i64).into());
            let old = tables.put_item(put_request("shared", item))?.attributes;
            written.push(number);
            old
        } else {
            let request = DeleteItemRequest {
                table_name: "shared".to_string(),
                key: key_item(&key),
                return_values: Some(ReturnValues::AllOld),
                ..Default::default()
            };
            tables.delete_item(request)?.attributes
        };
        replaced.extend(old.as_ref().and_then(number_of));
    }
    Ok((written, replaced))
}

fn number_of(item: &Item) -> Option<u64> {
    match item.get("n") {
        Some(AttributeValue::N(number)) => number.to_string().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lives_of_tables_keep_every_item() {
        let report = check(&Budget::test(1));
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert!(report.figure("restarts") > 10, "{report:?}");
    }
}
