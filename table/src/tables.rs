//! The tables of a database: the handle through which every operation is called. Opening and
//! looking up are here; each operation is in its own file under `operation/`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use esker::{Db, Keyspace};
use parking_lot::{Mutex, RwLock};

use crate::TableError;
use crate::catalog::{self, Entry};
use crate::collection::sums::Collections;
use crate::error::Result;
use crate::index::work::IndexWork;
use crate::index::worker::Keeper;
use crate::item_lock::ItemLocks;
use crate::message;
use crate::schema::check::{item_table_name, table_name};
use crate::table::Table;
use crate::transaction::Transactions;
use crate::transaction::token::Tokens;

/// The tables of a database, with DynamoDB's operations as methods. A cheap clone; the database
/// stays open while one lives.
///
/// Every operation has a blocking method. Those that write items also have one that ends in
/// `_async`: a future of any runtime, which does not block its thread while the commit is under way
/// or another write holds the item (reading the replaced item may still wait for the disk). A
/// future that is dropped may or may not have written.
///
/// Writes of items have the database's default durability; tables are always created and deleted
/// durably. Names of tables may be given as ARNs.
///
/// ```
/// use esker_table::operation::{CreateTableRequest, GetItemRequest, PutItemRequest};
/// use esker_table::schema::{
///     AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
/// };
/// use esker_table::{Item, Tables};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// let tables = Tables::open(esker::Db::open(path)?)?;
/// tables.create_table(CreateTableRequest {
///     table_name: "employees".into(),
///     attribute_definitions: vec![AttributeDefinition {
///         attribute_name: "employee_id".into(),
///         attribute_type: ScalarAttributeType::S,
///     }],
///     key_schema: vec![KeySchemaElement {
///         attribute_name: "employee_id".into(),
///         key_type: KeyType::Hash,
///     }],
///     billing_mode: Some(BillingMode::PayPerRequest),
///     ..Default::default()
/// })?;
///
/// // Only the key is fixed: one employee has a badge, the other has none.
/// let ada = Item::from([
///     ("employee_id".into(), "e1".into()),
///     ("name".into(), "Ada".into()),
///     ("badge".into(), 1815.into()),
/// ]);
/// let bob = Item::from([("employee_id".into(), "e2".into()), ("name".into(), "Bob".into())]);
/// for item in [ada.clone(), bob] {
///     let table_name = "employees".into();
///     tables.put_item(PutItemRequest { table_name, item, ..Default::default() })?;
/// }
///
/// let found = tables.get_item(GetItemRequest {
///     table_name: "employees".into(),
///     key: Item::from([("employee_id".into(), "e1".into())]),
///     ..Default::default()
/// })?;
/// assert_eq!(found.item, Some(ada));
/// tables.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tables {
    inner: Arc<Inner>,
    /// None in the handle of the thread that works on indexes.
    keeper: Option<Arc<Keeper>>,
}

/// The table that a request names, if there is one.
pub(crate) struct Lookup(Option<Arc<Table>>);

impl Lookup {
    /// The table.
    ///
    /// # Errors
    /// `ResourceNotFound`.
    pub(crate) fn table(&self) -> Result<&Arc<Table>> {
        self.0.as_ref().ok_or_else(|| TableError::not_found(message::TABLE_NOT_FOUND))
    }
}

/// The tables that are open in this process. Held while some are opened, before every other lock.
static OPEN: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

struct Inner {
    db: Db,
    catalog: Keyspace,
    locks: Arc<ItemLocks>,
    transactions: Arc<Transactions>,
    tokens: Tokens,
    /// Whether capacity limits requests: `throttle.rs`.
    throttling: AtomicBool,
    collections: Collections,
    /// The next table id. Held by the operations that make, change and delete tables from the first
    /// look to the last change, before any other lock.
    control: Mutex<u64>,
    /// Guards the tables by name. A leaf.
    tables: RwLock<BTreeMap<String, Arc<Table>>>,
    index_work: IndexWork,
    /// What the handles of the program share. A leaf.
    keeper: Mutex<Weak<Keeper>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.inner.tables.read().keys().cloned().collect();
        f.debug_struct("Tables").field("names", &names).finish_non_exhaustive()
    }
}

impl Tables {
    /// Opens the tables of a database, and clears away what an interrupted CreateTable or
    /// DeleteTable left. Keyspaces whose names start with `esker.` belong to the tables; others are
    /// the caller's. Opening the tables of one database a second time gives another handle on the
    /// same, because item locks and counts are shared by everybody who writes.
    ///
    /// # Errors
    /// `Internal` with the engine's report, or if the catalog is damaged.
    pub fn open(db: Db) -> Result<Self> {
        let mut open = OPEN.lock();
        open.retain(|tables| tables.strong_count() > 0);
        let mut others = open.iter().filter_map(Weak::upgrade);
        if let Some(inner) = others.find(|inner| inner.db.is_same(&db)) {
            return Ok(Self::keep(inner));
        }
        let inner = Arc::new(Self::open_first(db)?);
        open.push(Arc::downgrade(&inner));
        Ok(Self::keep(inner))
    }

    /// A handle for the program.
    fn keep(inner: Arc<Inner>) -> Self {
        let keeper = {
            let mut known = inner.keeper.lock();
            known.upgrade().unwrap_or_else(|| {
                let keeper = Arc::new(Keeper::default());
                *known = Arc::downgrade(&keeper);
                keeper
            })
        };
        let tables = Self { inner, keeper: Some(keeper) };
        if !tables.index_work().is_empty() {
            tables.begin_index_work();
        }
        tables
    }

    /// Has the thread do the work on indexes and collections, where there may be one.
    pub(crate) fn begin_index_work(&self) {
        if let Some(keeper) = self.keeper.as_ref().filter(|_| self.db().has_background_threads()) {
            keeper.begin(Self { inner: Arc::clone(&self.inner), keeper: None });
        }
    }

    fn open_first(db: Db) -> Result<Inner> {
        let catalog = catalog::open(&db)?;
        let contents = catalog::open_contents(&db, &catalog)?;
        let mut tables = BTreeMap::new();
        let index_work = IndexWork::default();
        for entry in contents.entries {
            let existing = |name: String| {
                db.existing_keyspace(&name)?.ok_or_else(|| {
                    catalog::format::damaged("the catalog names a keyspace that is not there")
                })
            };
            let mut keyspaces = entry.record.keyspaces().map(existing);
            let items = keyspaces.next().transpose()?;
            let items = items.expect("invariant: a table has a keyspace for its items");
            let indexes = keyspaces.collect::<Result<_>>()?;
            let Entry { name, record, counts, settings } = entry;
            if !esker::mutant!("index_filling_forgotten") {
                index_work.add(&name, &record);
            }
            let table = Table::new(name.clone(), record, items, indexes, counts, settings)?;
            tables.insert(name, Arc::new(table));
        }
        Ok(Inner {
            db,
            catalog,
            locks: Arc::new(ItemLocks::new()),
            transactions: Arc::default(),
            tokens: Tokens::default(),
            throttling: AtomicBool::new(false),
            collections: Collections::default(),
            control: Mutex::new(contents.next_table_id),
            tables: RwLock::new(tables),
            index_work,
            keeper: Mutex::default(),
        })
    }

    /// The database underneath.
    pub fn db(&self) -> &Db {
        &self.inner.db
    }

    /// Closes the database; every handle on it fails from then on. See [`Db::close`].
    ///
    /// # Errors
    /// `Internal` with the engine's report.
    pub fn close(&self) -> Result<()> {
        Ok(self.inner.db.close()?)
    }

    /// Whether requests are refused that go beyond a table's capacity, as the service refuses them: a
    /// program under test sees what it will see there. Off at first; of all handles on the database.
    /// [`Tables::get_item_and`] and [`Tables::get_encoded_item`] are never refused.
    pub fn set_throttling(&self, is_on: bool) {
        self.inner.throttling.store(is_on, Ordering::Relaxed);
    }

    pub(crate) fn is_throttling(&self) -> bool {
        self.inner.throttling.load(Ordering::Relaxed)
    }

    pub(crate) fn catalog(&self) -> &Keyspace {
        &self.inner.catalog
    }

    pub(crate) fn locks(&self) -> &Arc<ItemLocks> {
        &self.inner.locks
    }

    /// The transactions that are under way.
    pub(crate) fn transactions(&self) -> &Arc<Transactions> {
        &self.inner.transactions
    }

    /// What is known of item collections.
    pub(crate) fn collections(&self) -> &Collections {
        &self.inner.collections
    }

    /// The tokens of those that have ended.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }

    /// The next table id, under the lock that operations on tables themselves hold throughout.
    pub(crate) fn control(&self) -> parking_lot::MutexGuard<'_, u64> {
        self.inner.control.lock()
    }

    /// The table that a request on its items names.
    pub(crate) fn table(&self, name: &str) -> Result<Arc<Table>> {
        self.find(name).ok_or_else(|| TableError::not_found(message::TABLE_NOT_FOUND))
    }

    /// As [`Tables::table`], of what a request gives for the name, which is looked at only where no
    /// table has it. That there is no such table is told by [`Lookup::table`], because a request has
    /// other faults that are told first.
    ///
    /// # Errors
    /// `Validation` if no table can have the name.
    pub(crate) fn lookup(&self, given: &str) -> Result<Lookup> {
        if let Some(table) = self.find(given) {
            return Ok(Lookup(Some(table)));
        }
        Ok(Lookup(self.find(item_table_name(given)?)))
    }

    /// The table that a request on the table itself names, in a message of its own.
    pub(crate) fn named_table(&self, given: &str) -> Result<Arc<Table>> {
        let name = table_name(given)?;
        self.find(name).ok_or_else(|| TableError::not_found(message::named_table_not_found(name)))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Table>> {
        self.inner.tables.read().get(name).cloned()
    }

    pub(crate) fn add(&self, table: Table) {
        self.inner.tables.write().insert(table.name.clone(), Arc::new(table));
    }

    /// Goes on with a table as it is after a change.
    pub(crate) fn replace(&self, table: Arc<Table>) {
        self.inner.tables.write().insert(table.name.clone(), table);
    }

    pub(crate) fn index_work(&self) -> &IndexWork {
        &self.inner.index_work
    }

    /// Whether the database is closed.
    pub(crate) fn is_closed(&self) -> bool {
        let is_closed = |error: esker::Error| error.kind() == esker::ErrorKind::Closed;
        self.db().keyspaces().is_err_and(is_closed)
    }

    pub(crate) fn remove(&self, name: &str) {
        self.inner.tables.write().remove(name);
    }

    /// Up to `limit` names after `after`, and whether there are more.
    pub(crate) fn names(&self, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        use std::ops::Bound;
        let tables = self.inner.tables.read();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = tables.range::<str, _>((start, Bound::Unbounded)).map(|(name, _)| name);
        let names = rest.by_ref().take(limit).cloned().collect();
        (names, rest.next().is_some())
    }
}
