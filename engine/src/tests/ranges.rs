//! Walks over ranges against an ordered map: owned and lent entries mixed, both directions with turns and jumps, any
//! bounds, now and at snapshots, over memtables, files of level 0 and deeper levels.

use std::collections::BTreeMap;
use std::ops::Bound;

use esker_vfs::simulated::Simulation;

use super::support::{Rng, seeds, small};
use crate::{BackgroundStep, Db, Durability, Keyspace, KeyspaceOptions, Range, ReadMode, Snapshot};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// One end of the model of a range, as [`Range`] describes it.
#[derive(Default)]
struct End {
    last: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    done: bool,
}

impl End {
    fn yielded(&self) -> Option<&Vec<u8>> {
        self.last.as_ref().filter(|_| self.target.is_none() && !self.done)
    }
}

/// A range of a map.
struct Model<'a> {
    map: &'a Map,
    bounds: Bounds,
    front: End,
    back: End,
}

impl Model<'_> {
    fn starts_before(&self, key: &[u8]) -> bool {
        match &self.bounds.0 {
            Bound::Included(start) => start.as_slice() <= key,
            Bound::Excluded(start) => start.as_slice() < key,
            Bound::Unbounded => true,
        }
    }

    fn ends_after(&self, key: &[u8]) -> bool {
        match &self.bounds.1 {
            Bound::Included(end) => key <= end.as_slice(),
            Bound::Excluded(end) => key < end.as_slice(),
            Bound::Unbounded => true,
        }
    }

    fn next(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.front.done {
            return None;
        }
        let from = match (self.front.target.take(), self.front.last.take()) {
            (Some(target), _) if self.starts_before(&target) => Bound::Included(target),
            (None, Some(last)) => Bound::Excluded(last),
            _ => self.bounds.0.clone(),
        };
        let found = self.map.range((from, Bound::Unbounded)).next();
        let found = found
            .filter(|(key, _)| self.ends_after(key))
            .filter(|(key, _)| self.back.yielded().is_none_or(|last| *key < last));
        self.front.last = found.map(|(key, _)| key.clone());
        self.front.done = found.is_none();
        self.back.done |= self.front.done && self.back.target.is_none();
        found.map(|(key, value)| (key.clone(), value.clone()))
    }

    fn next_back(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.back.done {
            return None;
        }
        let to = match (self.back.target.take(), self.back.last.take()) {
            (Some(target), _) if self.ends_after(&target) => Bound::Included(target),
            (None, Some(last)) => Bound::Excluded(last),
            _ => self.bounds.1.clone(),
        };
        let found = self.map.range((Bound::Unbounded, to)).next_back();
        let found = found
            .filter(|(key, _)| self.starts_before(key))
            .filter(|(key, _)| self.front.yielded().is_none_or(|last| *key > last));
        self.back.last = found.map(|(key, _)| key.clone());
        self.back.done = found.is_none();
        self.front.done |= self.back.done && self.front.target.is_none();
        found.map(|(key, value)| (key.clone(), value.clone()))
    }
}

/// Keys over few letters behind a common start, so that many are versions of one another and many are neighbours.
fn key(rng: &mut Rng) -> Vec<u8> {
    let mut key = vec![b'u'; [0, 3, 3, 9][rng.below(4) as usize]];
    key.extend((0..rng.below(4)).map(|_| b'a' + rng.below(4) as u8));
    key
}

fn bounds(rng: &mut Rng) -> Bounds {
    let mut bound = || match rng.below(4) {
        0 => Bound::Unbounded,
        1 => Bound::Excluded(key(rng)),
        _ => Bound::Included(key(rng)),
    };
    (bound(), bound())
}

fn lent(entry: Option<(&[u8], &[u8])>) -> Option<(Vec<u8>, Vec<u8>)> {
    entry.map(|(key, value)| (key.to_vec(), value.to_vec()))
}

fn owned(entry: Option<crate::Result<(crate::Value, crate::Value)>>) -> Option<(Vec<u8>, Vec<u8>)> {
    entry.map(|entry| entry.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec()))
}

/// Takes the same random steps on a range and on its model.
fn walk(mut range: Range, map: &Map, bounds: Bounds, rng: &mut Rng) {
    let (front, back) = (End::default(), End::default());
    let mut model = Model { map, bounds, front, back };
    // Mostly one direction, so that long stretches are walked too.
    let turns = [1, 4, 16, 1000][rng.below(4) as usize];
    let mut forward = rng.below(2) == 0;
    for _ in 0..10 + rng.below(200) {
        if rng.below(turns) == 0 {
            forward = !forward;
        }
        match rng.below(40) {
            0 => {
                let target = key(rng);
                range.seek(&target);
                model.front.target = Some(target);
                model.front.done = false;
            }
            1 => {
                let target = key(rng);
                range.seek_back(&target);
                model.back.target = Some(target);
                model.back.done = false;
            }
            step => {
                let got = match (forward, step % 2) {
                    (true, 0) => lent(range.next_entry().unwrap()),
                    (true, _) => owned(range.next()),
                    (false, 0) => lent(range.next_back_entry().unwrap()),
                    (false, _) => owned(range.next_back()),
                };
                let want = if forward { model.next() } else { model.next_back() };
                assert_eq!(got, want);
            }
        }
    }
}

/// A batch of puts and deletes, some keys again and again.
fn write(db: &Db, keyspace: &Keyspace, map: &mut Map, rng: &mut Rng) {
    let favourite = key(rng);
    for _ in 0..rng.below(60) {
        let key = if rng.below(4) == 0 { favourite.clone() } else { key(rng) };
        let mut batch = db.batch();
        if rng.below(4) == 0 {
            batch.delete(keyspace, &key);
            map.remove(&key);
        } else {
            let value = vec![rng.below(256) as u8; [0, 5, 40, 700][rng.below(4) as usize]];
            batch.put(keyspace, &key, &value);
            map.insert(key, value);
        }
        db.write_with(batch, Durability::Volatile).unwrap();
    }
}

fn run(seed: u64) {
    let mut rng = Rng(seed);
    let read_mode = if rng.below(2) == 0 { ReadMode::Mapped } else { ReadMode::Positioned };
    let db = small(Simulation::new(seed).world()).read_mode(read_mode).open("/db").unwrap();
    let options = KeyspaceOptions { compress: rng.below(2) == 0, ..Default::default() };
    let keyspace = db.create_keyspace("k", options).unwrap();
    let mut map = Map::new();
    let mut snapshots: Vec<(Snapshot, Map)> = Vec::new();
    for _ in 0..2 + rng.below(10) {
        write(&db, &keyspace, &mut map, &mut rng);
        match rng.below(8) {
            0 => db.compact().unwrap(),
            1 => snapshots.push((db.snapshot(), map.clone())),
            2 => drop(db.run_background_step(BackgroundStep::Compact).unwrap()),
            _ => db.flush().unwrap(),
        }
        let (now, then) = (bounds(&mut rng), bounds(&mut rng));
        walk(keyspace.range(now.clone()), &map, now, &mut rng);
        if let Some((snapshot, map)) = snapshots.last() {
            walk(keyspace.range_at(snapshot, then.clone()), map, then, &mut rng);
        }
    }
}

#[test]
fn ranges_walk_like_an_ordered_map() {
    for seed in 0..seeds(150) {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
