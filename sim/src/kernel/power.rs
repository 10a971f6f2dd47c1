//! Power cuts on a real ext4: writers run on a loop-mounted file system that is cut off under them, in recovery or later;
//! it is mounted again, and what was synced must be there.
//!
//! The database runs in this process, so the cut is a cut and no kill; it reads files by positioned reads, because a
//! mapped read of a device that is gone ends the process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use esker::vfs::World;
use esker::{Durability, ReadMode};

use super::kill::look;
use super::ledger::{Crash, Ledger};
use super::mount::{Image, Mount};
use super::script::choices;
use super::writers::{self, Ack, Report, Rooms};
use crate::Rng;
use crate::report::{Budget, CheckReport};

/// Writer threads.
const THREADS: u64 = 3;

/// A database is given up for a new one after this many cuts.
const CUTS_PER_DATABASE: u64 = 20;

/// The size of the file system.
const IMAGE_BYTES: u64 = 160 << 20;

/// How ext4 can be told to treat data and metadata; each is a different promise to those who do not sync.
pub(super) const MOUNT_OPTIONS: [&str; 4] =
    ["data=ordered", "data=writeback", JOURNAL, "data=ordered,nodelalloc"];

/// The mode in which data goes through the journal too, and a sync amid the cut tells the truth.
const JOURNAL: &str = "data=journal";

/// Runs the check.
pub(super) fn check(budget: &Budget) -> CheckReport {
    let mut report = CheckReport::default();
    let image = match Image::create(IMAGE_BYTES) {
        Ok(image) => image,
        Err(reason) => return super::skipped(reason),
    };
    let cuts = budget.count(10, 500, 11_000);
    for database in 0.. {
        if budget.is_over() || report.figure(CUTS) >= cuts {
            break;
        }
        let seed = choices(budget.seed, &[20, database]).number();
        if let Err(message) = one_database(&image, seed, budget, cuts, &mut report) {
            report.find(format!("power cut, seed {}, database {database}: {message}", budget.seed));
            break;
        }
    }
    report
}

/// The figure that ends the check.
pub(super) const CUTS: &str = "power cuts on ext4";

fn one_database(
    image: &Image,
    seed: u64,
    budget: &Budget,
    cuts: u64,
    report: &mut CheckReport,
) -> Result<(), String> {
    let mut rng = choices(seed, &[21]);
    let mut ledger = Ledger::new(seed, THREADS);
    let options = *rng.pick(&MOUNT_OPTIONS);
    for _ in 0..CUTS_PER_DATABASE {
        if budget.is_over() || report.figure(CUTS) >= cuts {
            break;
        }
        let mount = image.mount(options)?;
        let done = cycle(&mount, options, &mut ledger, &mut rng, report);
        if let Err(message) = done {
            let kept = super::keep_copy(&mount.path().join("db"));
            return Err(format!("{message} (mounted with {options}); {kept}"));
        }
        mount.unmount()?;
    }
    let mount = image.mount(options)?;
    look_again(&mount, &mut ledger, &mut rng, report)
        .map_err(|message| format!("{message}; {}", super::keep_copy(&mount.path().join("db"))))?;
    std::fs::remove_dir_all(mount.path().join("db")).map_err(|error| error.to_string())?;
    mount.unmount()
}

/// Checks what the last cut left.
fn look_again(
    mount: &Mount<'_>,
    ledger: &mut Ledger,
    rng: &mut Rng,
    report: &mut CheckReport,
) -> Result<(), String> {
    let path = mount.path().join("db");
    let read_only = rng.below(4) > 0;
    let looked = look(&path, rng.number(), read_only, ledger, Crash::Power)?;
    report.add("synced writes that had to survive, and did", looked.promised);
    report.add("unsynced writes that the cut took", looked.forgone);
    report.add("entries compared", looked.entries);
    Ok(())
}

/// Checks, writes, and cuts.
fn cycle(
    mount: &Mount<'_>,
    mode: &str,
    ledger: &mut Ledger,
    rng: &mut Rng,
    report: &mut CheckReport,
) -> Result<(), String> {
    look_again(mount, ledger, rng, report)?;
    let path = mount.path().join("db");
    let clock = World::real().clock;
    // In recovery, or after some reports or some time.
    let (reports_max, time_max) = match rng.below(10) {
        0..3 => (u64::MAX, Duration::from_micros(rng.below(6_000))),
        3..7 => (1 + rng.below(500), Duration::from_millis(200)),
        _ => (u64::MAX, Duration::from_micros(rng.below(50_000))),
    };
    let options = writers::options(rng.number()).read_mode(ReadMode::Positioned);
    let (reported, cutting, over) =
        (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let began = clock.monotonic();
    let mut was_open = false;
    let mut reports = Vec::new();
    let cut = std::thread::scope(|scope| {
        let (clock, reported, cutting, over) = (&clock, &reported, &cutting, &over);
        let cutter = scope.spawn(move || {
            while reported.load(Ordering::Relaxed) < reports_max
                && clock.monotonic().saturating_sub(began) < time_max
                && !over.load(Ordering::Relaxed)
            {
                clock.sleep(Duration::from_micros(100));
            }
            cutting.store(true, Ordering::SeqCst);
            mount.cut_power()
        });
        let opened = options.open(&path).and_then(|db| Ok((Rooms::open(&db)?, db)));
        match opened {
            Ok((rooms, db)) => {
                was_open = !cutting.load(Ordering::SeqCst);
                let heard = std::sync::Mutex::new(Vec::new());
                let stop = AtomicBool::new(false);
                writers::run(&db, &rooms, ledger.scripts(), &stop, &|report| {
                    reported.fetch_add(1, Ordering::Relaxed);
                    let early = !cutting.load(Ordering::SeqCst);
                    heard.lock().is_ok_and(|mut heard| {
                        heard.push((early, report));
                        true
                    })
                });
                reports = heard.into_inner().unwrap_or_default();
            }
            Err(error) => {
                let (kind, message) = (format!("{:?}", error.kind()), error.to_string());
                let early = !cutting.load(Ordering::SeqCst);
                reports.push((early, Report::Refused { thread: 0, kind, message }));
            }
        }
        over.store(true, Ordering::Relaxed);
        cutter.join()
    });
    match cut {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(format!("the file system could not be cut off: {error}")),
        Err(_) => return Err("the thread that cuts panicked".to_string()),
    }
    report.add(CUTS, 1);
    report.add("of these before the database was open", u64::from(!was_open));
    let is_lenient = mode != JOURNAL;
    for (early, said) in &reports {
        match said {
            // The ioctl is not one moment as a power cut is. While it runs, the kernel can return success from a sync
            // whose blocks, reserved but never written before, then read as zeros. A bare loop of pwrite and fdatasync
            // shows it in about half of the cuts that a sync returned amid, never for a sync before, and never with
            // data=journal. So elsewhere only what was acknowledged before the cut began is promised.
            Report::Ack(ack) if is_lenient && !*early => {
                let is_promise = ack.durability == Durability::Sync;
                report.add(
                    "synced writes acknowledged amid a cut, not judged",
                    u64::from(is_promise),
                );
                ledger.hear(&Report::Ack(Ack { durability: Durability::Volatile, ..*ack }))?;
            }
            Report::Synced(_) if is_lenient && !*early => {}
            _ => ledger.hear(said)?,
        }
        report.add("writes acknowledged", u64::from(matches!(said, Report::Ack(_))));
        if let Report::Refused { kind, message, .. } = said {
            if *early {
                return Err(format!("refused before the cut: {kind}: {message}"));
            }
            if !matches!(kind.as_str(), "Io" | "ReadOnly" | "Indeterminate") {
                return Err(format!("after the cut: {kind}: {message}"));
            }
        }
    }
    Ok(())
}
