//! YCSB's six mixes of gets, puts, inserts and scans, with its Zipf distribution.

use std::sync::atomic::{AtomicU64, Ordering};

use super::drive::{Driven, Limit, Step, drive};
use super::read::{get_valid, scan_valid};
use crate::engine::{Result, Session, Store};
use crate::generator::{Entries, Numbers};
use crate::zipf::{THETA, Zipf};

/// The longest scan; lengths are uniform from 1.
const SCAN_MAX: u64 = 100;

/// Which mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Half gets, half puts.
    A,
    /// 95% gets, 5% puts.
    B,
    /// Gets only.
    C,
    /// 95% gets of what was inserted lately, 5% inserts.
    D,
    /// 95% scans, 5% inserts.
    E,
    /// Half gets, half gets followed by a put of the same key.
    F,
}

/// Runs a mix by `threads` threads for a time.
pub fn run(
    store: &dyn Store,
    entries: &Entries,
    mix: Mix,
    threads: usize,
    seed: u64,
    seconds: f64,
) -> Result<Driven> {
    let ranks = Zipf::new(entries.keys(), THETA);
    // How many each thread has inserted: the entries that all have reached are there for sure.
    let inserted: Vec<AtomicU64> = (0..threads).map(|_| AtomicU64::new(0)).collect();
    drive(store, threads, Limit { steps: u64::MAX, seconds }, &|thread| -> Step<'_> {
        let mut client = Client {
            entries,
            ranks: &ranks,
            inserted: &inserted,
            thread,
            numbers: Numbers::new(seed ^ (thread as u64) << 40),
            value: Vec::new(),
        };
        Box::new(move |session, step| client.step(session, mix, step))
    })
}

struct Client<'a> {
    entries: &'a Entries,
    ranks: &'a Zipf,
    inserted: &'a [AtomicU64],
    thread: usize,
    numbers: Numbers,
    value: Vec<u8>,
}

impl Client<'_> {
    fn step(&mut self, session: &mut dyn Session, mix: Mix, step: u64) -> Result<bool> {
        let percent = self.numbers.below(100);
        match mix {
            Mix::C => self.get(session)?,
            Mix::A if percent < 50 => self.get(session)?,
            Mix::B if percent < 95 => self.get(session)?,
            Mix::F if percent < 50 => self.get(session)?,
            Mix::A | Mix::B => {
                let index = self.frequent();
                self.put(session, index, step)?;
            }
            Mix::F => {
                let index = self.frequent();
                get_valid(session, self.entries, &self.entries.key(index))?;
                self.put(session, index, step)?;
            }
            Mix::D if percent < 95 => {
                let newest = self.entries.keys() + self.inserted_by_all() - 1;
                let index = newest - self.ranks.next(&mut self.numbers).min(newest);
                get_valid(session, self.entries, &self.entries.key(index))?;
            }
            Mix::E if percent < 95 => {
                let start = self.entries.key(self.frequent());
                let len = 1 + self.numbers.below(SCAN_MAX) as usize;
                scan_valid(session, self.entries, &start, len)?;
            }
            Mix::D | Mix::E => return self.insert(session),
        }
        Ok(true)
    }

    /// A loaded entry, the frequent ones scattered.
    fn frequent(&mut self) -> u64 {
        self.entries.scattered(self.ranks.next(&mut self.numbers))
    }

    fn get(&mut self, session: &mut dyn Session) -> Result<()> {
        let key = self.entries.key(self.frequent());
        get_valid(session, self.entries, &key)
    }

    fn put(&mut self, session: &mut dyn Session, index: u64, version: u64) -> Result<()> {
        self.entries.value(index, version + 1, &mut self.value);
        session.put(&self.entries.key(index), &self.value)
    }

    /// False when there are no new keys left, which ends the measurement early.
    fn insert(&mut self, session: &mut dyn Session) -> Result<bool> {
        let count = self.inserted[self.thread].load(Ordering::Relaxed);
        let number = count * self.inserted.len() as u64 + self.thread as u64;
        if number >= self.entries.inserts_max() {
            return Ok(false);
        }
        self.put(session, self.entries.keys() + number, 0)?;
        self.inserted[self.thread].store(count + 1, Ordering::Release);
        Ok(true)
    }

    fn inserted_by_all(&self) -> u64 {
        let least = self.inserted.iter().map(|count| count.load(Ordering::Acquire)).min();
        least.unwrap_or(0) * self.inserted.len() as u64
    }
}
