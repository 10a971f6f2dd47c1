//! Files under many schedules: none is removed while a cursor, a snapshot, a checkpoint, the scrubbing or a verification
//! needs it, and none is left when the database is closed.

use esker_vfs::Fs;
use shuttle::thread;

use super::harness::{
    Machine, assert_no_stray_files, below, check, dir, durability, number_of, read, value,
};
use crate::{Background, BackgroundStep, Db, Keyspace};

const KEYS: u64 = 4;

fn fill(keyspace: &Keyspace, round: u64) {
    for at in 0..KEYS {
        keyspace.put_with(format!("key{at}"), value(round, 1500), durability(at)).unwrap();
    }
}

fn count(keyspace: &Keyspace, round: u64) {
    let found: Vec<_> = keyspace.iter().map(|entry| number_of(&entry.unwrap().1)).collect();
    assert!(found.len() == KEYS as usize && found.iter().all(|&n| n >= round), "{found:?}");
}

/// Somebody who needs files.
fn user(db: &Db, keyspace: &Keyspace, machine: &Machine, what: u64) {
    match what {
        0 => {
            let mut cursor = keyspace.iter();
            assert_eq!(number_of(&cursor.next().unwrap().unwrap().1), 2);
            thread::yield_now();
            assert_eq!(
                cursor.map(|entry| number_of(&entry.unwrap().1)).collect::<Vec<_>>().len(),
                3
            );
        }
        1 => {
            let snapshot = db.snapshot();
            thread::yield_now();
            let entries = keyspace.range_at::<&[u8]>(&snapshot, ..);
            assert_eq!(entries.map(Result::unwrap).count(), KEYS as usize);
        }
        2 => {
            let target = dir().with_extension("copy");
            db.checkpoint(&target).unwrap();
            let copy = machine.try_open(&target, Background::Manual).unwrap();
            copy.verify().unwrap();
            count(&copy.existing_keyspace("k").unwrap().unwrap(), 2);
            copy.close().unwrap();
        }
        3 => {
            while db.run_background_step(BackgroundStep::Scrub).unwrap() {}
            assert_eq!(db.metrics().scrub_errors, 0, "{:?}", db.metrics().scrub_error);
        }
        _ => {
            db.verify().unwrap();
        }
    }
}

/// Two users of files, a compaction and the threads' own clean-up, with a writer that brings more files.
fn users() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    fill(&keyspace, 1);
    fill(&keyspace, 2);
    let first = below(5);
    let mut threads: Vec<_> = [first, (first + 1 + below(4)) % 5]
        .into_iter()
        .map(|what| {
            let (db, keyspace, machine) = (db.clone(), keyspace.clone(), machine.clone());
            thread::spawn(move || user(&db, &keyspace, &machine, what))
        })
        .collect();
    {
        let db = db.clone();
        threads.push(thread::spawn(move || {
            db.compact().unwrap();
            db.run_background_step(BackgroundStep::CleanUp).unwrap();
        }));
    }
    if below(2) == 0 {
        keyspace.put("key0", value(2, 3000)).unwrap();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    count(&keyspace, 2);
    db.close().unwrap();
    assert_no_stray_files(&machine, &db);
}

#[test]
fn shuttle_no_file_goes_while_it_is_used_and_none_stays_behind() {
    check("users of files", users);
}

/// Keyspaces come and go while their files are read, flushed and merged.
fn dropped_keyspace() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let other = db.keyspace("other").unwrap();
    fill(&keyspace, 2);
    let cursor = keyspace.iter();
    let dropping = {
        let db = db.clone();
        thread::spawn(move || db.drop_keyspace("k").unwrap())
    };
    let working = {
        let db = db.clone();
        thread::spawn(move || {
            db.flush().unwrap();
            // A merge may find its keyspace gone.
            let _ = db.compact();
        })
    };
    let _ = keyspace.put("key0", value(3, 1500));
    other.put("key", value(1, 1500)).unwrap();
    assert_eq!(cursor.map(|entry| number_of(&entry.unwrap().1)).collect::<Vec<_>>(), [2; 4]);
    dropping.join().unwrap();
    working.join().unwrap();
    assert!(keyspace.put("key0", "x").is_err());
    assert_eq!(read(&other, "key"), 1);
    let again = db.keyspace("k").unwrap();
    assert_eq!(again.iter().count(), 0);
    drop((keyspace, again));
    db.close().unwrap();
    assert_no_stray_files(&machine, &db);
    assert!(machine.disk.exists(&dir()).unwrap());
}

#[test]
fn shuttle_a_dropped_keyspace_takes_its_files_along() {
    check("dropped keyspace", dropped_keyspace);
}
