//! Runs a step over and over on some threads and takes the time of every call. All workloads of single calls go through
//! here, so that they are timed alike.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::engine::{Failure, Result, Session, Store};

/// The longest latency that is told from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(600);

/// When to stop, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Steps of each thread.
    pub steps: u64,
    /// Time.
    pub seconds: f64,
}

/// What was measured.
#[derive(Debug)]
pub struct Driven {
    /// Operations of all threads: steps, unless a step is several.
    pub operations: u64,
    /// How many steps the busiest thread made.
    pub steps_max: u64,
    /// From the start of the first step to the end of the last.
    pub seconds: f64,
    /// Latencies of the steps in nanoseconds.
    pub latencies: Histogram<u64>,
}

/// One operation of one thread; it is given the session and the number of the step. False ends the thread.
pub type Step<'a> = Box<dyn FnMut(&mut dyn Session, u64) -> Result<bool> + 'a>;

/// An empty histogram of latencies.
pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3)?)
}

/// Runs the steps that `make` returns for each thread number. The first error ends all.
pub fn drive<'a>(
    store: &dyn Store,
    threads: usize,
    limit: Limit,
    make: &(dyn Fn(usize) -> Step<'a> + Sync),
) -> Result<Driven> {
    let (ready, stop) = (Barrier::new(threads), AtomicBool::new(false));
    let results: Vec<Result<(Instant, Instant, Histogram<u64>)>> = std::thread::scope(|scope| {
        let run = |thread: usize| {
            let (ready, stop) = (&ready, &stop);
            move || {
                let opened = store.session().and_then(|session| Ok((session, histogram()?)));
                ready.wait();
                let (mut session, mut latencies) = opened?;
                let result = repeat(&mut *session, &mut latencies, limit, stop, make(thread));
                if result.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                let (start, end) = result?;
                Ok((start, end, latencies))
            }
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(run(thread))).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().map_err(|_| Failure::from("a thread panicked"))?)
            .collect()
    });
    let mut latencies = histogram()?;
    let (mut first, mut last, mut steps_max) = (None::<Instant>, None::<Instant>, 0);
    for result in results {
        let (start, end, of_thread) = result?;
        first = Some(first.map_or(start, |first| first.min(start)));
        last = Some(last.map_or(end, |last| last.max(end)));
        steps_max = steps_max.max(of_thread.len());
        latencies.add(of_thread)?;
    }
    let seconds = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    Ok(Driven { operations: latencies.len(), steps_max, seconds, latencies })
}

fn repeat(
    session: &mut dyn Session,
    latencies: &mut Histogram<u64>,
    limit: Limit,
    stop: &AtomicBool,
    mut step: Step<'_>,
) -> Result<(Instant, Instant)> {
    let start = Instant::now();
    let deadline = start + Duration::from_secs_f64(limit.seconds);
    let mut before = start;
    for number in 0..limit.steps {
        if !step(session, number)? {
            break;
        }
        // One reading of the clock a step: the end of one is the start of the next.
        let now = Instant::now();
        latencies.saturating_record((now - before).as_nanos() as u64);
        before = now;
        if now >= deadline || stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok((start, before))
}
