//! Closing under many schedules: it returns whatever is under way, everybody else is answered, what was acknowledged is
//! there afterwards, and nothing touches the directory any more once it has returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use shuttle::thread;

use super::harness::{Machine, assert_no_stray_files, below, check, dir, durability, read, value};
use crate::sync::Mutex;
use crate::{Background, BackgroundStep, Db, ErrorKind, Keyspace};

fn assert_closed(error: &crate::Error) {
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

/// Writes until it is refused; the last number that was acknowledged.
fn write(keyspace: &Keyspace, me: u64) -> u64 {
    for round in 1..=3 {
        let put = keyspace.put_with(format!("key{me}"), value(round, 1000), durability(me + round));
        if let Err(error) = put {
            assert_closed(&error);
            return round - 1;
        }
    }
    3
}

/// A call that changes files.
fn work(db: &Db, what: u64) {
    let result = match what {
        0 => db.flush(),
        1 => db.compact(),
        2 => db.keyspace("new").map(|_| ()),
        3 => db.drop_keyspace("old"),
        4 => db.run_background_step(BackgroundStep::SpareSegment).map(|_| ()),
        5 => db.run_background_step(BackgroundStep::CleanUp).map(|_| ()),
        6 => db.run_background_step(BackgroundStep::Compact).map(|_| ()),
        _ => db.transaction().and_then(|transaction| transaction.commit()),
    };
    if let Err(error) = result {
        assert_closed(&error);
    }
}

/// The database is closed amid writers, a call that works on files, and the background threads.
fn close() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    db.keyspace("old").unwrap().put("key", value(1, 1000)).unwrap();
    for round in 0..below(4) {
        keyspace.put("before", value(round, 1500)).unwrap();
    }
    if below(2) == 0 {
        db.flush().unwrap();
    }
    let writers: Vec<_> = (0..2)
        .map(|me| {
            let keyspace = keyspace.clone();
            thread::spawn(move || write(&keyspace, me))
        })
        .collect();
    let working = {
        let (db, what) = (db.clone(), below(8));
        thread::spawn(move || work(&db, what))
    };
    db.close().unwrap();
    let left = machine.disk.ops();
    assert_closed(&keyspace.put("after", "x").unwrap_err());
    let last: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    working.join().unwrap();
    work(&db, below(8));
    assert_eq!(machine.disk.ops(), left, "something was called after the database was closed");
    drop(keyspace);
    assert_eq!(machine.disk.ops(), left, "a closed handle was dropped, and something was called");
    assert_no_stray_files(&machine, &db);
    drop(db);
    let db = machine.reopen();
    let keyspace = db.keyspace("k").unwrap();
    for (me, last) in last.into_iter().enumerate() {
        assert_eq!(read(&keyspace, &format!("key{me}")), last);
    }
}

#[test]
fn shuttle_nothing_is_touched_after_a_close_and_everybody_is_answered() {
    check("close", close);
}

/// As [`close`], with one such call and nothing else: it waited for a lock of the flush, the compaction or the log while
/// the database was closed, and went on when it got it. The directory may be another process's by then.
fn close_amid_work() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("old").unwrap();
    keyspace.put("key", value(1, 1000)).unwrap();
    if below(2) == 0 {
        db.flush().unwrap();
        keyspace.put("key", value(2, 1000)).unwrap();
    }
    let working = {
        let (db, what) = (db.clone(), below(4));
        thread::spawn(move || work(&db, what))
    };
    db.close().unwrap();
    let calls = machine.disk.ops();
    working.join().unwrap();
    assert_eq!(machine.disk.ops(), calls, "something was called after the database was closed");
    assert_no_stray_files(&machine, &db);
}

#[test]
fn shuttle_who_waited_while_it_was_closed_does_nothing() {
    check("close amid work", close_amid_work);
}

/// Nobody closes it: the last of several threads lets go of it.
fn last_handle() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let mut threads = Vec::new();
    for me in 0..2 {
        let keyspace = keyspace.clone();
        threads.push(thread::spawn(move || {
            for round in 1..=2 {
                let value = value(round, 1500);
                keyspace.put_with(format!("key{me}"), value, durability(me + round)).unwrap();
            }
        }));
    }
    threads.push(thread::spawn(move || {
        // A reader with the last handle, if it takes long.
        let _ = keyspace.iter().map(Result::unwrap).count();
        let cursor = keyspace.iter();
        drop(keyspace);
        let _ = cursor.map(Result::unwrap).count();
    }));
    drop(db);
    for thread in threads {
        thread.join().unwrap();
    }
    let db = machine.reopen();
    let keyspace = db.keyspace("k").unwrap();
    assert_eq!((read(&keyspace, "key0"), read(&keyspace, "key1")), (2, 2));
}

#[test]
fn shuttle_the_last_handle_closes_wherever_it_is_dropped() {
    check("last handle", last_handle);
}

/// A waker that closes the database, or drops the last handle.
struct Holder {
    db: Mutex<Option<Db>>,
    closes: bool,
    woken: AtomicBool,
}

impl Wake for Holder {
    fn wake(self: Arc<Self>) {
        let db = self.db.lock().take();
        if let Some(db) = db.filter(|_| self.closes) {
            db.close().unwrap();
        }
        self.woken.store(true, Ordering::SeqCst);
    }
}

/// Whoever commits calls the waker of a submitted commit, and that drops the last handle: the thread that owns the log
/// closes the database, with others waiting in line.
fn last_handle_in_a_waker() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let mut batch = db.batch();
    batch.put(&keyspace, "key", value(1, 1000));
    let more = (below(2) == 0).then(|| {
        let mut batch = db.batch();
        batch.put(&keyspace, "more", value(1, 1000));
        batch
    });
    drop(keyspace);
    let mut pending = std::pin::pin!(db.submit(batch).unwrap());
    let more = more.map(|more| db.submit(more).unwrap());
    let holder = Holder { db: Mutex::new(Some(db)), closes: false, woken: AtomicBool::new(false) };
    let holder = Arc::new(holder);
    let waker = Waker::from(Arc::clone(&holder));
    let polled = pending.as_mut().poll(&mut Context::from_waker(&waker));
    if let Poll::Ready(result) = polled {
        result.unwrap();
        waker.wake();
    }
    let more = more.is_some_and(|more| more.wait().is_ok());
    while !holder.woken.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    let Poll::Ready(result) = pending.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("woken without a result");
    };
    result.unwrap();
    let db = machine.try_open(&dir(), Background::Manual).unwrap();
    let keyspace = db.keyspace("k").unwrap();
    assert_eq!(read(&keyspace, "key"), 1);
    assert!(!more || read(&keyspace, "more") == 1);
}

#[test]
fn shuttle_a_waker_may_drop_the_last_handle() {
    check("last handle in a waker", last_handle_in_a_waker);
}

/// A commit is refused, because its keyspace was dropped meanwhile, and its waker closes the database. Wakers were called
/// while the log was locked then, and closing waited for that lock for ever.
fn refused_waker_closes() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let dropping = {
        let db = db.clone();
        thread::spawn(move || {
            let _ = db.drop_keyspace("k");
        })
    };
    let mut batch = db.batch();
    batch.put(&keyspace, "key", value(1, 8));
    let submitted = db.submit(batch);
    let db_of_waker = Mutex::new(Some(db.clone()));
    let holder = Holder { db: db_of_waker, closes: true, woken: AtomicBool::new(false) };
    let waker = Waker::from(Arc::new(holder));
    if let Ok(pending) = submitted {
        let mut pending = std::pin::pin!(pending);
        while pending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            thread::yield_now();
        }
    }
    dropping.join().unwrap();
    db.close().unwrap();
}

#[test]
fn shuttle_the_waker_of_a_refused_commit_may_close_the_database() {
    check("refused waker closes", refused_waker_closes);
}
