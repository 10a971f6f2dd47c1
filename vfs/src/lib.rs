//! Esker's only door to the outside: file systems, clocks and randomness.
//!
//! Every crate of the engine gets a [`World`] and does nothing past it, so that the same code runs
//! on the real machine ([`os`]), on a simulated disk that can lose what was not synced
//! ([`simulated`]) and under scripted failures ([`fault`]).

#![deny(unsafe_code)]

pub mod fault;
pub mod os;
pub mod simulated;

mod call;
mod file;
mod fs;
mod time;

pub use call::Call;
pub use file::{Advice, File, ReadRequest, WriteMap};
pub use fs::{FileLock, Fs, LockMode, Metadata, OpenMode, is_out_of_files};
pub use time::{Clock, Random};

use std::sync::Arc;

/// A file system, a clock and a source of randomness; what an engine needs of the world. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct World {
    /// Files and directories.
    pub fs: Arc<dyn Fs>,
    /// Time and sleep.
    pub clock: Arc<dyn Clock>,
    /// Random bytes, for identities; not for secrets.
    pub random: Arc<dyn Random>,
}

impl World {
    /// The machine this process runs on.
    pub fn real() -> World {
        World {
            fs: Arc::new(os::OsFs),
            clock: Arc::new(os::OsClock::new()),
            random: Arc::new(os::OsRandom),
        }
    }
}
