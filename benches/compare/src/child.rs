//! One measurement, in a process of its own: open, load, measure, wait for the background work, report as one line of
//! JSON on standard output. Started by `run.rs` with a fresh directory, which it leaves to the parent to remove.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use crate::engine::{Config, Failure, Result, Store};
use crate::engines;
use crate::generator::Entries;
use crate::measure::{self, Counters, MemorySampler};
use crate::outcome::{Outcome, Part, Spec};
use crate::workload::drive::Driven;
use crate::workload::{self, Kind, Workload, read, write, ycsb};

/// What the killed process says when its log is full.
pub const READY: &str = "ready";

/// Measures what `spec`, as JSON, says.
pub fn run(spec: &str) -> Result<()> {
    let spec: Spec = serde_json::from_str(spec)?;
    let workload = workload::named(&spec.workload)
        .ok_or_else(|| Failure::from(format!("no workload {:?}", spec.workload)))?;
    let outcome = match spec.part {
        Part::Whole => measure(&spec, workload)?,
        Part::Killed => return fill_and_wait(&spec),
        Part::Reopened => reopen(&spec)?,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn config(spec: &Spec, sync: bool) -> Config {
    Config { dir: spec.dir.clone(), memory_bytes: spec.memory_bytes, compress: spec.compress, sync }
}

fn measure(spec: &Spec, workload: &Workload) -> Result<Outcome> {
    let entries = Entries::new(spec.keys, spec.value_bytes, spec.seed);
    let engine = engines::named(&spec.engine)?;
    let config = config(spec, workload.sync);
    let mut store = engine.open(&config)?;
    if workload.loaded {
        write::load(&*store, &entries, u64::MAX)?;
        measure::settle(&*store, &spec.dir, spec.seconds_max)?;
    }
    if matches!(workload.kind, Kind::Cold | Kind::Limited(_)) {
        store.close()?;
        measure::drop_page_cache(&spec.dir)?;
        if let Some(group) = &spec.group {
            std::fs::write(group.join("cgroup.procs"), std::process::id().to_string())?;
        }
        store = engine.open(&config)?;
    }
    measure::write_back(&spec.dir)?;
    let before = measure::counters(&spec.dir);
    let memory = MemorySampler::start();
    let (driven, writer_rate) = drive(&*store, spec, workload, &entries)?;
    let after = measure::counters(&spec.dir);
    let peak_memory_bytes = memory.stop();
    let mut outcome = report(spec, &driven, before, after);
    outcome.peak_memory_bytes = peak_memory_bytes;
    outcome.writer_rate = writer_rate;
    if workload.writes_only() {
        let drain = measure::settle(&*store, &spec.dir, spec.seconds_max)?;
        measure::write_back(&spec.dir)?;
        let end = measure::counters(&spec.dir);
        let space = measure::space_bytes(&spec.dir);
        amplifications(&mut outcome, workload, &entries, before, end, space);
        outcome.drain_seconds = Some(drain.as_secs_f64());
    }
    store.close()?;
    Ok(outcome)
}

fn drive(
    store: &dyn Store,
    spec: &Spec,
    workload: &Workload,
    entries: &Entries,
) -> Result<(Driven, Option<f64>)> {
    let (seconds, seconds_max, seed) = (spec.seconds, spec.seconds_max, spec.seed ^ 0xdeed);
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
    // Ends with the parent, should that be gone before it has killed this.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn reopen(spec: &Spec) -> Result<Outcome> {
    let dir: &Path = &spec.dir;
    let before = measure::counters(dir);
    let memory = MemorySampler::start();
    let start = Instant::now();
    let store = engines::named(&spec.engine)?.open(&config(spec, false))?;
    let elapsed = start.elapsed();
    let after = measure::counters(dir);
    let peak_memory_bytes = memory.stop();
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
        peak_memory_bytes,
        open_ms: Some(seconds * 1e3),
        lost: Some(lost),
        ..named(spec)
    })
}
