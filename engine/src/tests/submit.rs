//! Submitted commits where no thread runs them: whoever waits, polls, writes or closes does it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use esker_vfs::simulated::{CrashPolicy, Simulation};

use super::support::small;
use crate::{Batch, Db, Durability, ErrorKind, Keyspace, PendingCommit};

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn submit(db: &Db, ks: &Keyspace, key: &str, len: usize) -> crate::Result<PendingCommit> {
    let mut batch = Batch::new();
    batch.put(ks, key, vec![0; len]);
    db.submit(batch)
}

fn open(sim: &Simulation) -> (Db, Keyspace) {
    let db = small(sim.world()).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    (db, ks)
}

#[test]
fn a_poll_carries_out_what_is_in_line() {
    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    let first = submit(&db, &ks, "a", 1).unwrap();
    let second = submit(&db, &ks, "b", 1).unwrap();
    assert_eq!(ks.get("a").unwrap(), None);
    assert_eq!(db.metrics().queued_commits, 2);
    let wakes = Arc::new(CountWakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut second = pin!(second);
    let polled = second.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Ready(Ok(_))));
    // Polling again is allowed and says the same.
    let polled = second.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Ready(Ok(_))));
    let (first, second) = (first.wait().unwrap(), polled);
    assert!(matches!(second, Poll::Ready(Ok(seq)) if seq > first));
    assert_eq!(ks.iter().count(), 2);
}

#[test]
fn a_dropped_commit_is_not_cancelled() {
    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    drop(submit(&db, &ks, "a", 1).unwrap());
    assert_eq!(ks.get("a").unwrap(), None);
    // The next writer takes it along, in order.
    ks.put("b", "1").unwrap();
    assert!(ks.contains("a").unwrap());
    drop(submit(&db, &ks, "c", 1).unwrap());
    db.close().unwrap();
    drop((ks, db));
    let (_db, ks) = open(&sim.crash(CrashPolicy::DropAll, 1));
    assert_eq!(ks.iter().count(), 3);
}

#[test]
fn commits_waited_for_in_any_order_finish_in_the_order_of_their_submission() {
    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    let pending: Vec<_> =
        (0..20).map(|at| submit(&db, &ks, &format!("{at}"), 100).unwrap()).collect();
    let seqs: Vec<_> = pending.into_iter().rev().map(|commit| commit.wait().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a > b));
}

/// A full line used to make a blocking writer wait for room, which nobody was there to make.
#[test]
fn a_writer_behind_a_full_line_runs_the_line() {
    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    let pending = submit(&db, &ks, "a", 40 << 20).unwrap();
    ks.put("b", vec![1; 40 << 20]).unwrap();
    pending.wait().unwrap();
    assert_eq!(ks.iter().count(), 2);
}

#[test]
fn too_much_in_line_is_busy_and_later_is_not() {
    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    let mut pending = Vec::new();
    let busy = loop {
        match submit(&db, &ks, "a", 60 << 20) {
            Ok(commit) => pending.push(commit),
            Err(error) => break error,
        }
        assert!(pending.len() < 10);
    };
    assert_eq!(busy.kind(), ErrorKind::Busy);
    assert!(busy.is_retryable());
    pending.into_iter().for_each(|commit| assert!(commit.wait().is_ok()));
    submit(&db, &ks, "b", 1).unwrap().wait().unwrap();
}

#[test]
fn a_commit_that_outlives_the_database_was_finished_by_its_close() {
    let sim = Simulation::new(1);
    let (db, ks) = open(&sim);
    let pending = submit(&db, &ks, "a", 1).unwrap();
    drop((ks, db));
    pending.wait().unwrap();
    let (db, ks) = open(&sim);
    assert_eq!(ks.iter().count(), 1);
    db.close().unwrap();
    let mut batch = Batch::new();
    batch.put(&ks, "b", "1");
    assert_eq!(db.submit_with(batch, Durability::Volatile).unwrap_err().kind(), ErrorKind::Closed);
}
