//! Whether the database still accepts writes, and if not, why.

use std::sync::atomic::Ordering;

use esker_base::{Error, ErrorKind, Result};

use crate::sync::{AtomicBool, OnceLock};

/// Sticky: once failed or closed, only a new open helps.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// The first failure after which what is on disk cannot be known. Every refused write reports it.
    cause: OnceLock<Error>,
    closed: AtomicBool,
}

impl Health {
    /// Turns the database read-only because of `cause`, unless it is already. Returns what writers are told.
    pub(crate) fn fail(&self, cause: &Error) -> Error {
        Error::read_only(self.cause.get_or_init(|| cause.clone()))
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.cause.get() {
            Some(cause) => Err(Error::read_only(cause)),
            None => self.check_open(),
        }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the database is closed"));
        }
        Ok(())
    }

    pub(crate) fn cause(&self) -> Option<&Error> {
        self.cause.get()
    }

    /// Whether this call was the one that closed it.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }
}
