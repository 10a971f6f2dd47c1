//! Whether the database still accepts writes, and if not, why.

use std::sync::atomic::Ordering;

use esker_base::{Error, ErrorKind, Result};

use crate::sync::{AtomicBool, Mutex, OnceLock};

/// Failed and closed are sticky: only a new open helps. Suspended is what an open on a full disk is, until there is
/// space.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// The first failure after which what is on disk cannot be known. Every refused write reports it.
    cause: OnceLock<Error>,
    closed: AtomicBool,
    is_suspended: AtomicBool,
    /// Why. A leaf lock.
    suspended_by: Mutex<Option<Error>>,
}

impl Health {
    /// Turns the database read-only because of `cause`, unless it is already. Returns what writers are told.
    pub(crate) fn fail(&self, cause: &Error) -> Error {
        Error::read_only(self.cause.get_or_init(|| cause.clone()))
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.cause.get() {
            Some(cause) => Err(Error::read_only(cause)),
            None => self.check_open().and_then(|()| self.check_not_suspended()),
        }
    }

    fn check_not_suspended(&self) -> Result<()> {
        if !self.is_suspended() {
            return Ok(());
        }
        // Between the two it may have ended.
        self.suspended_by.lock().clone().map_or(Ok(()), Err)
    }

    /// Refuses writes with `cause` until [`Health::resume`].
    pub(crate) fn suspend(&self, cause: &Error) {
        *self.suspended_by.lock() = Some(cause.clone());
        self.is_suspended.store(true, Ordering::Release);
    }

    pub(crate) fn resume(&self) {
        self.is_suspended.store(false, Ordering::Release);
        *self.suspended_by.lock() = None;
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::Acquire)
    }

    /// Why no writes are taken, if so.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.cause.get().cloned().or_else(|| self.suspended_by.lock().clone())
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
