//! One measurement, in a process of its own: open, measure, wait for the background work, check what was written, report
//! as one line of JSON on standard output. Started by `run.rs` with a directory, which it leaves to the parent to remove.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use crate::engine::{Config, Failure, Result, Store};
use crate::engines;
use crate::generator::Entries;
use crate::group;
use crate::machine;
use crate::measure::{self, Counters, MemorySampler};
use crate::outcome::{Outcome, Part, Spec};
use crate::workload::drive::Driven;
use crate::workload::{self, Kind, Workload, check, read, write, ycsb};

/// What the killed process says when its log is full.
pub const READY: &str = "ready";

/// How long reads go on before they are measured, as a part of the measured time: caches fill and maps get their pages.
const WARM_UP: f64 = 0.25;

/// Measures what `spec`, as JSON, says.
pub fn run(spec: &str) -> Result<()> {
    let spec: Spec = serde_json::from_str(spec)?;
    let workload = workload::named(&spec.workload)
        .ok_or_else(|| Failure::from(format!("no workload {:?}", spec.workload)))?;
    end_with_parent();
    if let Some(group) = &spec.io_group {
        group::join(group)?;
    }
    let outcome = match spec.part {
        Part::Load => return load(&spec),
        Part::Whole => measure(&spec, workload)?,
        Part::Killed => return fill_and_wait(&spec),
        Part::Reopened => reopen(&spec)?,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Ends this process when standard input does: the parent is gone.
fn end_with_parent() {
    std::thread::spawn(|| {
        // An error there means the same as its end.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}

fn config(spec: &Spec, sync: bool) -> Config {
    Config { dir: spec.dir.clone(), memory_bytes: spec.memory_bytes, compress: spec.compress, sync }
}

/// Leaves a loaded, settled and closed database.
fn load(spec: &Spec) -> Result<()> {
    let store = engines::named(&spec.engine)?.open(&config(spec, false))?;
    let entries = Entries::new(spec.keys, spec.value_bytes, spec.seed);
    write::load(&*store, &entries, u64::MAX)?;
    measure::settle(&*store, &spec.dir, spec.seconds_max)?;
    store.close()?;
    measure::write_back(&spec.dir)
}

fn measure(spec: &Spec, workload: &Workload) -> Result<Outcome> {
    let entries = Entries::new(spec.keys, spec.value_bytes, spec.seed);
    let engine = engines::named(&spec.engine)?;
    let config = config(spec, workload.sync);
    if workload.loaded && !spec.preloaded {
        load(spec)?;
    }
    if matches!(workload.kind, Kind::Cold | Kind::Limited(_)) {
        measure::drop_page_cache(&spec.dir)?;
    }
    if let Some(group) = &spec.group {
        group::join(group)?;
    }
    let alone = workload.sync && workload.threads == 1;
    let disk_syncs = if alone { Some(machine::sync_best(&spec.dir)?) } else { None };
    let memory = MemorySampler::start();
    let store = engine.open(&config)?;
    warm_up(&*store, spec, workload, &entries)?;
    measure::write_back(&spec.dir)?;
    let io_group = spec.io_group.as_deref();
    let before = measure::counters(&spec.dir, io_group);
    let (driven, writer_rate) = drive(&*store, spec, workload, &entries)?;
    let after = measure::counters(&spec.dir, io_group);
    let mut outcome = report(spec, &driven, before, after);
    outcome.writer_rate = writer_rate;
    outcome.disk_syncs = disk_syncs;
    if workload.writes_only() {
        let drain = measure::settle(&*store, &spec.dir, spec.seconds_max)?;
        measure::write_back(&spec.dir)?;
        let end = measure::counters(&spec.dir, io_group);
        let space = measure::space_bytes(&spec.dir);
        amplifications(&mut outcome, workload, &entries, before, end, space);
        outcome.drain_seconds = Some(drain.as_secs_f64());
    }
    let peak = memory.stop();
    outcome.peak_memory_bytes = peak.private_bytes;
    outcome.peak_mapped_bytes = peak.mapped_bytes;
    check::written(&*store, workload, &entries, &driven, write_seed(spec))?;
    store.close()?;
    Ok(outcome)
}

/// Reads of the kind to be measured, unless they are to find the caches empty.
fn warm_up(store: &dyn Store, spec: &Spec, workload: &Workload, entries: &Entries) -> Result<()> {
    let (seed, seconds) = (spec.seed ^ 0x3a53, spec.seconds * WARM_UP);
    match workload.kind {
        _ if !workload.loaded || matches!(workload.kind, Kind::Cold) => return Ok(()),
        Kind::Overwrite | Kind::Delete => return Ok(()),
        Kind::Scan(len) => read::scan(store, entries, len, seed, seconds),
        Kind::Limited(len) if len > 1 => read::many(store, entries, len, seed, seconds),
        Kind::Miss => read::miss(store, entries, seed, seconds),
        Kind::Zipf | Kind::Ycsb(_) => read::zipf(store, entries, seed, seconds),
        _ => read::hit(store, entries, 1, seed, seconds),
    }
    .map(|_| ())
}

/// Decides which keys a workload takes.
fn write_seed(spec: &Spec) -> u64 {
    spec.seed ^ 0xdeed
}

fn drive(
    store: &dyn Store,
    spec: &Spec,
    workload: &Workload,
    entries: &Entries,
) -> Result<(Driven, Option<f64>)> {
    let (seconds, seconds_max, seed) = (spec.seconds, spec.seconds_max, write_seed(spec));
    let driven = match workload.kind {
        Kind::Fill { scattered } => write::fill(store, entries, scattered, seconds_max),
        Kind::Batches(len) => write::batches(store, entries, len, seconds_max),
        Kind::Bulk => write::bulk(store, entries),
        Kind::Overwrite => write::overwrite(store, entries, seed, seconds_max),
        Kind::Delete => write::delete(store, entries, seconds_max),
        Kind::Puts => write::puts(store, entries, workload.threads, seconds),
        Kind::Hit => read::hit(store, entries, workload.threads, seed, seconds),
        Kind::Cold | Kind::Limited(1) => read::hit(store, entries, 1, seed, seconds),
        Kind::Limited(len) => read::many(store, entries, len, seed, seconds),
        Kind::Miss => read::miss(store, entries, seed, seconds),
        Kind::Zipf => read::zipf(store, entries, seed, seconds),
        Kind::Scan(len) => read::scan(store, entries, len, seed, seconds),
        Kind::Ycsb(mix) => ycsb::run(store, entries, mix, workload.threads, seed, seconds),
        Kind::BesideWriter => {
            let (driven, rate) = read::beside_writer(store, entries, seed, seconds)?;
            return Ok((driven, Some(rate)));
        }
        Kind::Reopen => Err(Failure::from("a reopening takes two processes")),
    };
    Ok((driven?, None))
}

fn report(spec: &Spec, driven: &Driven, before: Counters, after: Counters) -> Outcome {
    let operations = driven.operations.max(1) as f64;
    let quantile = |quantile| driven.latencies.value_at_quantile(quantile) as f64 / 1e3;
    Outcome {
        operations: driven.operations,
        seconds: driven.seconds,
        throughput: driven.operations as f64 / driven.seconds.max(1e-9),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        stall_ms: driven.latencies.max() as f64 / 1e6,
        cpu_us: (after.cpu - before.cpu).as_secs_f64() * 1e6 / operations,
        device_reads: Some((after.device_reads - before.device_reads) as f64 / operations),
        device_read_bytes: Some(
            (after.device_read_bytes - before.device_read_bytes) as f64 / operations,
        ),
        ..named(spec)
    }
}

fn named(spec: &Spec) -> Outcome {
    Outcome {
        engine: spec.engine.clone(),
        workload: spec.workload.clone(),
        compress: spec.compress,
        keys: spec.keys,
        value_bytes: spec.value_bytes,
        run: spec.run,
        ..Outcome::default()
    }
}

fn amplifications(
    outcome: &mut Outcome,
    workload: &Workload,
    entries: &Entries,
    before: Counters,
    end: Counters,
    space_bytes: u64,
) {
    let entry_bytes = match workload.kind {
        // A delete has no value.
        Kind::Delete => size_of::<crate::engine::Key>() as u64,
        _ => entries.entry_bytes(),
    };
    let user = (outcome.operations * entry_bytes).max(1) as f64;
    let written = end.written_bytes - before.written_bytes;
    let cancelled = end.cancelled_bytes - before.cancelled_bytes;
    let device = end.device_written_bytes.saturating_sub(before.device_written_bytes);
    outcome.write_amplification = Some(written as f64 / user);
    outcome.write_amplification_kept = Some(written.saturating_sub(cancelled) as f64 / user);
    outcome.write_amplification_device = (device > 0).then_some(device as f64 / user);
    let live = match workload.kind {
        Kind::Delete => return,
        Kind::Overwrite => entries.keys(),
        _ => outcome.operations.min(entries.keys()),
    };
    let live_bytes = (live * entries.entry_bytes()).max(1) as f64;
    outcome.space_amplification = Some(space_bytes as f64 / live_bytes);
}

/// Writes until the log is full, says so, and waits for the kill.
fn fill_and_wait(spec: &Spec) -> Result<()> {
    let store = engines::named(&spec.engine)?.open(&config(spec, false))?;
    let entries = Entries::new(spec.keys, spec.value_bytes, spec.seed);
    write::load(&*store, &entries, spec.log_bytes)?;
    store.persist()?;
    println!("{READY}");
    std::io::stdout().flush()?;
    // Until it is killed, or the parent is gone.
    loop {
        std::thread::park();
    }
}

fn reopen(spec: &Spec) -> Result<Outcome> {
    let dir: &Path = &spec.dir;
    let before = measure::counters(dir, None);
    let memory = MemorySampler::start();
    let start = Instant::now();
    let store = engines::named(&spec.engine)?.open(&config(spec, false))?;
    let elapsed = start.elapsed();
    let after = measure::counters(dir, None);
    let peak = memory.stop();
    let entries = Entries::new(spec.keys, spec.value_bytes, spec.seed);
    let count = entries.keys().min(spec.log_bytes / entries.entry_bytes());
    let (mut lost, mut wrong) = (0, 0);
    {
        let mut session = store.session()?;
        for position in 0..count {
            let key = entries.key(entries.scattered(position));
            let mut valid = true;
            let found = session.get(&key, &mut |value| valid = entries.is_valid(&key, value))?;
            lost += u64::from(!found);
            wrong += u64::from(!valid);
        }
    }
    store.close()?;
    if wrong > 0 {
        return Err(Failure::from(format!("{wrong} wrong values after the kill")));
    }
    let seconds = elapsed.as_secs_f64();
    Ok(Outcome {
        operations: count,
        seconds,
        throughput: 1.0 / seconds.max(1e-9),
        cpu_us: (after.cpu - before.cpu).as_secs_f64() * 1e6,
        peak_memory_bytes: peak.private_bytes,
        peak_mapped_bytes: peak.mapped_bytes,
        open_ms: Some(seconds * 1e3),
        lost: Some(lost),
        ..named(spec)
    })
}
