//! Closing after a write failed: what was acknowledged is sealed where the disk works again, and where it does not,
//! nothing is written once the directory is given up.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Call, World};

use super::support::small;
use crate::{Db, Durability, ErrorKind};

const DIR: &str = "/db";

fn start() -> (Simulation, Arc<FaultFs>, Db) {
    let sim = Simulation::new(1);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    let db = small(World { fs: faults.clone(), ..sim.world() }).open(DIR).unwrap();
    db.keyspace("k").unwrap().put("a", "1").unwrap();
    (sim, faults, db)
}

fn keys_after_a_power_cut(sim: &Simulation) -> Vec<String> {
    let left = Simulation::with_fs(sim.fs.image(CrashPolicy::DropAll, 7), 7);
    let db = small(left.world()).open(DIR).unwrap();
    let keys = db.keyspace("k").unwrap().iter().map(|entry| entry.unwrap().0.to_vec());
    keys.map(|key| String::from_utf8(key).unwrap()).collect()
}

/// The log has not gone on yet behind the failed write. The close used to fail with `ReadOnly` on a disk that works, and
/// left the Buffered write to chance.
#[test]
fn a_close_leads_the_log_around_an_earlier_failed_write() {
    let (sim, faults, db) = start();
    let ks = db.keyspace("k").unwrap();
    ks.put_with("b", "2", Durability::Buffered).unwrap();
    let fault = Fault::FailAfter(Failure::NoSpace);
    faults.inject(Rule::new(fault).on(&[Call::WriteAllAt, Call::Store]).suffix(".wal.tmp"));
    faults.inject(Rule::new(Fault::Fail(Failure::NoSpace)).on(&[Call::CreateNew]).sticky());
    assert_eq!(ks.put("c", "3").unwrap_err().kind(), ErrorKind::Indeterminate);
    faults.clear();
    db.close().unwrap();
    assert_eq!(keys_after_a_power_cut(&sim), ["a", "b"]);
}

/// A call that waited for the log while the database was closed used to write what the close could not.
#[test]
fn nothing_is_written_after_a_close_that_could_not_write() {
    let (sim, faults, db) = start();
    let ks = db.keyspace("k").unwrap();
    ks.put_with("b", "2", Durability::Volatile).unwrap();
    faults.inject(
        Rule::new(Fault::Fail(Failure::NoSpace)).on(&[Call::WriteAllAt, Call::Store]).sticky(),
    );
    assert_eq!(db.close().unwrap_err().kind(), ErrorKind::NoSpace);
    faults.clear();
    let before = sim.fs.image_hash();
    // As of a thread that is past the first check.
    let inner = db.core().keyspaces.named("k").unwrap();
    assert_eq!(db.core().flush_keyspace(&inner).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sim.fs.image_hash(), before);
}
