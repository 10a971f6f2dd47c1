//! Which calls the rules strike, and what a struck call does.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::time::Duration;

use super::*;
use crate::Clock;
use crate::simulated::{CrashPolicy, SimulatedClock, SimulatedFs};

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn faulty() -> (FaultFs, SimulatedFs) {
    let disk = SimulatedFs::new();
    (FaultFs::new(Arc::new(disk.clone())), disk)
}

#[test]
fn every_call_can_be_made_to_fail_once() {
    let run = |fs: &FaultFs| -> io::Result<()> {
        let file = fs.create_new(path("a"))?;
        file.allocate(100)?;
        file.write_all_at(b"hello", 0)?;
        file.start_writeback(0, 5)?;
        file.sync_data()?;
        file.truncate(5)?;
        file.sync_all()?;
        file.read_exact_at(&mut [0; 5], 0)?;
        file.len()?;
        file.map()?;
        let map = file.map_for_writes(5)?;
        map.unwrap().store(b"world", 0)?;
        fs.sync_dir(path("/"))?;
        fs.hard_link(path("a"), path("b"))?;
        fs.rename(path("b"), path("c"))?;
        fs.remove_file(path("c"))?;
        fs.create_dir_all(path("d"))?;
        fs.list(path("d"))?;
        fs.remove_dir(path("d"))?;
        fs.metadata(path("a"))?;
        fs.open(path("a"), OpenMode::Read)?;
        fs.lock(path("LOCK"), LockMode::Exclusive)?;
        fs.free_space(path("/"))?;
        Ok(())
    };
    let (clean, _) = faulty();
    run(&clean).unwrap();
    assert_eq!(clean.calls(), 23);
    assert!(Call::ALL.iter().all(|call| clean.calls_of(*call) == 1));
    for (failure, errno) in [(Failure::Io, 5), (Failure::NoSpace, 28), (Failure::TooManyFiles, 24)]
    {
        for fault in [Fault::Fail(failure), Fault::FailHalfway(failure), Fault::FailAfter(failure)]
        {
            for k in 0..clean.calls() {
                let (fs, _) = faulty();
                fs.inject(Rule::new(fault.clone()).after(k));
                assert_eq!(run(&fs).unwrap_err().raw_os_error(), Some(errno), "{fault:?} at {k}");
                assert_eq!((fs.calls(), fs.strikes()), (k + 1, 1));
            }
            let (fs, _) = faulty();
            fs.inject(Rule::new(fault).after(clean.calls()));
            run(&fs).unwrap();
        }
    }
}

#[test]
fn rules_choose_by_kind_and_suffix() {
    let (fs, _) = faulty();
    fs.inject(
        Rule::new(Fault::Fail(Failure::Io)).on(&Call::SYNCS).suffix(".wal").after(1).sticky(),
    );
    let wal = fs.create_new(path("1.wal")).unwrap();
    let sst = fs.create_new(path("1.sst")).unwrap();
    wal.write_all_at(b"x", 0).unwrap();
    wal.sync_data().unwrap();
    sst.sync_data().unwrap();
    wal.sync_data().unwrap_err();
    wal.sync_all().unwrap_err();
    sst.sync_data().unwrap();
    assert_eq!(fs.strikes(), 2);
    // A rename counts by either name.
    fs.inject(Rule::new(Fault::Fail(Failure::NoSpace)).on(&[Call::Rename]).suffix("CURRENT"));
    let error = fs.rename(path("1.sst"), path("CURRENT")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    fs.rename(path("1.sst"), path("CURRENT")).unwrap();
}

#[test]
fn disarmed_rules_neither_strike_nor_count() {
    let (fs, _) = faulty();
    let file = fs.create_new(path("a")).unwrap();
    fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::SyncData]).after(1).sticky());
    fs.arm(false);
    file.sync_data().unwrap();
    file.sync_data().unwrap();
    fs.arm(true);
    file.sync_data().unwrap();
    file.sync_data().unwrap_err();
    fs.clear();
    file.sync_data().unwrap();
    assert_eq!(fs.calls_of(Call::SyncData), 5);
}

#[test]
fn a_failed_write_did_nothing_half_or_everything() {
    for (fault, len) in [
        (Fault::Fail(Failure::NoSpace), 0),
        (Fault::FailHalfway(Failure::NoSpace), 5),
        (Fault::FailAfter(Failure::NoSpace), 10),
    ] {
        let (fs, disk) = faulty();
        let file = fs.create_new(path("a")).unwrap();
        fs.inject(Rule::new(fault.clone()));
        file.write_all_at(&[1; 10], 0).unwrap_err();
        assert_eq!(disk.metadata(path("a")).unwrap().len, len, "{fault:?}");
    }
}

#[test]
fn a_short_write_is_two_writes_that_a_power_cut_can_part() {
    let (fs, disk) = faulty();
    let file = fs.create_new(path("a")).unwrap();
    fs.sync_dir(path("/")).unwrap();
    fs.inject(Rule::new(Fault::Short));
    file.write_all_at(&[1; 10], 0).unwrap();
    assert_eq!(disk.pending_ops(), 2);
    let image = disk.image(CrashPolicy::Prefix(1), 0);
    assert_eq!(image.metadata(path("a")).unwrap().len, 5);
}

#[test]
fn a_sync_that_fails_after_is_durable_and_one_that_fails_is_not() {
    for (fault, len) in [(Fault::Fail(Failure::Io), 0), (Fault::FailAfter(Failure::Io), 10)] {
        let (fs, disk) = faulty();
        let file = fs.create_new(path("a")).unwrap();
        fs.sync_dir(path("/")).unwrap();
        file.write_all_at(&[1; 10], 0).unwrap();
        fs.inject(Rule::new(fault).on(&Call::SYNCS));
        file.sync_data().unwrap_err();
        let image = disk.image(CrashPolicy::DropAll, 0);
        assert_eq!(image.metadata(path("a")).unwrap().len, len);
    }
}

#[test]
fn a_delay_passes_on_its_clock() {
    let (fs, _) = faulty();
    let clock = Arc::new(SimulatedClock::new());
    let duration = Duration::from_secs(3);
    let fault = Fault::Delay { clock: Arc::<SimulatedClock>::clone(&clock), duration };
    let file = fs.create_new(path("a")).unwrap();
    fs.inject(Rule::new(fault).on(&Call::SYNCS));
    file.sync_data().unwrap();
    file.sync_data().unwrap();
    assert_eq!(clock.monotonic(), duration);
}
