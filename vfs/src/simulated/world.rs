//! Simulated time and randomness, and the three simulations joined into a [`World`].

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::hash::Chooser;
use super::{CrashPolicy, SimulatedFs};
use crate::{Clock, Random, World};

/// Where simulated wall-clock time starts: 2020-01-01 UTC, in milliseconds.
const WALL_START_MS: u64 = 1_577_836_800_000;

/// A clock that moves only when somebody sleeps or moves it.
#[derive(Debug, Default)]
pub struct SimulatedClock {
    state: Mutex<ClockState>,
}

#[derive(Debug, Default)]
struct ClockState {
    monotonic: Duration,
    wall_offset_ms: i64,
}

impl SimulatedClock {
    /// A clock at monotonic zero, 2020-01-01 UTC.
    pub fn new() -> SimulatedClock {
        SimulatedClock::default()
    }

    /// Moves both times on.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.state.lock();
        state.monotonic = state.monotonic.saturating_add(duration);
    }

    /// Makes the wall clock alone jump, in either direction.
    pub fn jump_wall_ms(&self, by: i64) {
        let mut state = self.state.lock();
        state.wall_offset_ms = state.wall_offset_ms.saturating_add(by);
    }
}

impl Clock for SimulatedClock {
    fn monotonic(&self) -> Duration {
        self.state.lock().monotonic
    }

    fn wall_ms(&self) -> u64 {
        let state = self.state.lock();
        let elapsed = u64::try_from(state.monotonic.as_millis()).unwrap_or(u64::MAX);
        WALL_START_MS.saturating_add(elapsed).saturating_add_signed(state.wall_offset_ms)
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
        // A loop that waits for another thread by sleeping must let that thread run.
        std::thread::yield_now();
    }
}

/// Random bytes that follow from a seed.
#[derive(Debug)]
pub struct SimulatedRandom {
    chooser: Mutex<Chooser>,
}

impl SimulatedRandom {
    /// The same seed gives the same bytes, call by call.
    pub fn new(seed: u64) -> SimulatedRandom {
        SimulatedRandom { chooser: Mutex::new(Chooser::new(seed)) }
    }
}

impl Random for SimulatedRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.chooser.lock().fill(bytes);
    }
}

/// A simulated disk, clock and source of randomness, each within reach of the test that drives
/// them.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// The disk.
    pub fs: SimulatedFs,
    /// The clock.
    pub clock: Arc<SimulatedClock>,
    /// The source of randomness.
    pub random: Arc<SimulatedRandom>,
}

impl Simulation {
    /// An empty disk at the start of time.
    pub fn new(seed: u64) -> Simulation {
        Simulation::with_fs(SimulatedFs::new(), seed)
    }

    /// A given disk, with a fresh clock and fresh randomness.
    pub fn with_fs(fs: SimulatedFs, seed: u64) -> Simulation {
        Simulation {
            fs,
            clock: Arc::new(SimulatedClock::new()),
            random: Arc::new(SimulatedRandom::new(seed)),
        }
    }

    /// What an engine is opened with.
    pub fn world(&self) -> World {
        World {
            fs: Arc::new(self.fs.clone()),
            clock: Arc::<SimulatedClock>::clone(&self.clock),
            random: Arc::<SimulatedRandom>::clone(&self.random),
        }
    }

    /// The world after the power came back: a crash image of the disk, time and randomness going
    /// on.
    pub fn crash(&self, policy: CrashPolicy, seed: u64) -> Simulation {
        Simulation { fs: self.fs.crash(policy, seed), ..self.clone() }
    }
}

impl World {
    /// A simulated world and its disk, which shares its state with the world's.
    pub fn simulated(seed: u64) -> (World, Arc<SimulatedFs>) {
        let simulation = Simulation::new(seed);
        (simulation.world(), Arc::new(simulation.fs))
    }
}
