//! What is asked of a server and what it has to answer, without how it is asked. `main.rs` takes requests from here and
//! has their answers compared; `http.rs` and `embedded.rs` carry them out.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use esker_benches::mix;

/// Bytes of text in each item.
const TEXT_BYTES: usize = 940;
/// Items of a partition of the table of lists, and of one of its index.
pub(crate) const LIST: u64 = 10;
/// Items of a batch, of a transaction, and of a page of a scan.
const BATCH: u64 = 25;
const TRANSACTION: u64 = 10;
pub(crate) const PAGE: u64 = 100;

/// The table whose items have the key `id` alone.
pub(crate) const POINTS: &str = "points";
/// The table of items `id`, `at`, with the index `by_group` of `grp`, `at`.
pub(crate) const LISTS: &str = "lists";
pub(crate) const INDEX: &str = "by_group";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    /// Every item once, not measured.
    LoadPoints,
    LoadLists,
    PutItem,
    ConditionalPutItem,
    GetItem,
    UpdateItem,
    DeleteItem,
    Query,
    QueryIndex,
    Scan,
    BatchGetItem,
    BatchWriteItem,
    TransactGetItems,
    TransactWriteItems,
    /// Every item once, not measured.
    ReadBack,
}

impl Operation {
    pub(crate) const MEASURED: [Self; 12] = [
        Self::PutItem,
        Self::ConditionalPutItem,
        Self::GetItem,
        Self::UpdateItem,
        Self::Query,
        Self::QueryIndex,
        Self::Scan,
        Self::BatchGetItem,
        Self::BatchWriteItem,
        Self::TransactGetItems,
        Self::TransactWriteItems,
        Self::DeleteItem,
    ];
}

/// One version of an item: all of it follows from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored {
    pub(crate) number: u64,
    pub(crate) version: u32,
}

impl Stored {
    /// Text that is not worth compressing.
    pub(crate) fn text(self) -> String {
        const DIGITS: &[u8; 64] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
        let mut out = String::with_capacity(TEXT_BYTES + 10);
        let mut state = mix(self.number ^ u64::from(self.version) << 40);
        while out.len() < TEXT_BYTES {
            state = mix(state);
            out.extend((0..10).map(|at| char::from(DIGITS[(state >> (6 * at)) as usize % 64])));
        }
        out.truncate(TEXT_BYTES);
        out
    }
}

/// The partition of an item of the lists and its place there.
pub(crate) fn place(number: u64) -> (u64, u64) {
    (number / LIST, number % LIST)
}

/// The group of an item of the lists: ten items of ten partitions, at different places.
pub(crate) fn group(number: u64, lists: u64) -> u64 {
    let (partition, at) = place(number);
    (partition + at) % lists
}

#[derive(Debug)]
pub(crate) enum Request {
    /// With the version that has to be there, if any.
    Put(Stored, Option<u32>),
    Get(u64),
    /// Adds one to a counter; the counter is then this.
    Update(u64, u32),
    Delete(Stored),
    /// The partition.
    Query(u64),
    /// The group.
    QueryIndex(u64),
    /// From after this item.
    Scan(u64),
    BatchGet(Vec<u64>),
    BatchWrite(Vec<Stored>),
    /// Into the lists; with the group of each.
    BatchWriteLists(Vec<(Stored, u64)>),
    TransactGet(Vec<u64>),
    TransactWrite(Vec<Stored>),
}

/// What an answer holds.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The items, in their order; `None` for one that is not what any version of it is.
    pub(crate) items: Vec<Option<Stored>>,
    /// The counter that an update answered.
    pub(crate) hits: Option<u32>,
    /// Whether a page says that more follows.
    pub(crate) more: bool,
    /// Whether a batch left something out.
    pub(crate) unprocessed: bool,
    /// How long it took, without making the request and reading the answer.
    pub(crate) taken: Duration,
}

impl Answer {
    /// An answer that holds nothing.
    pub(crate) fn after(taken: Duration) -> Self {
        Self { taken, ..Self::default() }
    }
}

/// What the clients share: what was acknowledged last. Each item is written by one client alone.
pub(crate) struct State {
    items: u64,
    clients: u64,
    versions: Vec<AtomicU32>,
    hits: Vec<AtomicU32>,
}

impl State {
    pub(crate) fn new(items: u64, clients: u64) -> Self {
        // As many of them to each client, in whole batches.
        let items = items.next_multiple_of(clients * BATCH * LIST);
        let zeros = || (0..items).map(|_| AtomicU32::new(0)).collect();
        Self { items, clients, versions: zeros(), hits: zeros() }
    }

    /// Partitions of the table of lists, which has as many items as the other.
    fn lists(&self) -> u64 {
        self.items / LIST
    }

    fn stored(&self, number: u64) -> Stored {
        Stored { number, version: self.versions[number as usize].load(Ordering::Relaxed) }
    }

    fn next(&self, number: u64) -> Stored {
        let Stored { number, version } = self.stored(number);
        Stored { number, version: version + 1 }
    }

    /// The request of a client's round; `None` where there is nothing left to do.
    pub(crate) fn request(&self, operation: Operation, mine: u64, round: u64) -> Option<Request> {
        let random = mix(mix(mine) ^ round);
        let share = self.items / self.clients;
        // The items that this client alone writes.
        let own = |at: u64| (at % share) * self.clients + mine;
        let batch = |at: u64, count: u64| (0..count).map(move |next| own(at + next));
        let any = |count: u64| (0..count).map(move |next| (random + next * 7) % self.items);
        let turn = |per_request: u64| (round * per_request < share).then_some(round * per_request);
        Some(match operation {
            Operation::LoadPoints => {
                let numbers = batch(turn(BATCH)?, BATCH);
                Request::BatchWrite(numbers.map(|number| self.next(number)).collect())
            }
            Operation::LoadLists => {
                let of = |number| (Stored { number, version: 0 }, group(number, self.lists()));
                Request::BatchWriteLists(batch(turn(BATCH)?, BATCH).map(of).collect())
            }
            Operation::PutItem => Request::Put(self.next(own(random)), None),
            Operation::ConditionalPutItem => {
                let next = self.next(own(random));
                Request::Put(next, Some(next.version - 1))
            }
            Operation::GetItem => Request::Get(random % self.items),
            Operation::UpdateItem => {
                let number = own(random);
                let hits = self.hits[number as usize].load(Ordering::Relaxed) + 1;
                Request::Update(number, hits)
            }
            Operation::DeleteItem => Request::Delete(self.stored(own(turn(1)?))),
            Operation::Query => Request::Query(random % self.lists()),
            Operation::QueryIndex => Request::QueryIndex(random % self.lists()),
            Operation::Scan => Request::Scan(random % self.items),
            Operation::BatchGetItem => Request::BatchGet(any(BATCH).collect()),
            Operation::BatchWriteItem => {
                let numbers = batch(random % share, BATCH);
                Request::BatchWrite(numbers.map(|number| self.next(number)).collect())
            }
            Operation::TransactGetItems => Request::TransactGet(any(TRANSACTION).collect()),
            Operation::TransactWriteItems => {
                let numbers = batch(random % share, TRANSACTION);
                Request::TransactWrite(numbers.map(|number| self.next(number)).collect())
            }
            Operation::ReadBack => Request::BatchGet(batch(turn(BATCH)?, BATCH).collect()),
        })
    }

    /// Compares an answer with what is known, and keeps what a write made of it.
    pub(crate) fn is_right(&self, request: &Request, answer: &Answer) -> bool {
        let written = |stored: &Stored| {
            self.versions[stored.number as usize].store(stored.version, Ordering::Relaxed);
            self.hits[stored.number as usize].store(0, Ordering::Relaxed);
        };
        let items =
            |expected: Vec<Stored>| answer.items.iter().copied().eq(expected.into_iter().map(Some));
        let nothing = answer.items.is_empty() && !answer.unprocessed;
        let known = |numbers: &[u64]| numbers.iter().map(|number| self.stored(*number)).collect();
        let first = |number| Stored { number, version: 0 };
        match request {
            Request::Put(stored, _) => {
                written(stored);
                nothing
            }
            Request::Get(number) => items(vec![self.stored(*number)]),
            Request::Update(number, hits) => {
                self.hits[*number as usize].store(*hits, Ordering::Relaxed);
                answer.hits == Some(*hits)
            }
            Request::Delete(stored) => items(vec![*stored]),
            Request::Query(partition) => {
                items((partition * LIST..(partition + 1) * LIST).map(first).collect())
            }
            Request::QueryIndex(of) => {
                let lists = self.lists();
                // The item of the group at each place.
                let number = |at: u64| ((of + lists - at) % lists) * LIST + at;
                items((0..LIST).map(|at| first(number(at))).collect())
            }
            Request::Scan(from) => {
                let mut found: Vec<_> = answer.items.clone();
                found.sort_unstable();
                found.dedup();
                let all = found.iter().all(|item| {
                    item.is_some_and(|item| item == first(item.number) && item.number != *from)
                });
                let full = found.len() as u64 == PAGE;
                all && found.len() == answer.items.len() && (full || !answer.more)
            }
            Request::BatchGet(numbers) => {
                let mut expected: Vec<Stored> = known(numbers);
                let mut found: Vec<_> = answer.items.iter().flatten().copied().collect();
                expected.sort_unstable();
                found.sort_unstable();
                !answer.unprocessed && found.len() == answer.items.len() && expected == found
            }
            Request::TransactGet(numbers) => items(known(numbers)),
            Request::BatchWrite(all) | Request::TransactWrite(all) => {
                all.iter().for_each(written);
                nothing
            }
            Request::BatchWriteLists(_) => nothing,
        }
    }
}
