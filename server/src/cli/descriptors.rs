//! How many files and sockets this process may have open, and how `serve` shares them out: the database comes first.
//! Every connection is a descriptor, and a database that cannot open a file cannot write. Called by `serve.rs` before
//! anything is opened.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that connections must leave: for the log, the tables' files and everything else that the process opens.
const FILES: u64 = 512;

/// Asks for as many descriptors as the process may have, and answers how many of the wanted connections they allow.
pub(super) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, things are as they were.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    match getrlimit(Resource::Nofile).current {
        Some(descriptors) => share(wanted, descriptors),
        None => wanted,
    }
}

/// Connections get what `FILES` leaves, or half where that is less.
fn share(wanted: usize, descriptors: u64) -> usize {
    let left = (descriptors / 2).max(descriptors.saturating_sub(FILES));
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_before_connections() {
        assert_eq!(share(4096, 1 << 20), 4096);
        assert_eq!(share(4096, 4608), 4096);
        assert_eq!(share(4096, 4607), 4095);
        assert_eq!(share(4096, 1024), 512);
        assert_eq!(share(4096, 256), 128);
        assert_eq!(share(10, 256), 10);
        assert_eq!(share(10, 0), 1);
    }
}
