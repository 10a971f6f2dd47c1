//! The types of [`crate::sync`] under shuttle's scheduler: the same methods as the originals, as far as the engine uses
//! them, on shuttle's primitives. Only tests of schedules are built with them; they work in no other test.
//!
//! Time has no meaning here: a wait with a timeout lets others run once and then has timed out. Nothing is poisoned,
//! as with `parking_lot`.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock as Cell, PoisonError, TryLockError};
use std::time::Duration;

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use shuttle::sync::{self, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use shuttle::thread;

/// A place where another thread may go on.
pub(crate) fn step() {
    thread::sleep(Duration::ZERO);
}

/// Which thread this is.
pub(crate) fn thread_id() -> thread::ThreadId {
    thread::current().id()
}

/// As `parking_lot::Mutex`.
#[derive(Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    lock: &'a sync::Mutex<T>,
    /// `None` only while a condition variable has it.
    inner: Option<sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { lock: &self.0, inner: Some(inner) }
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let inner = match self.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard { lock: &self.0, inner: Some(inner) })
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("invariant: only a wait takes it, and gives it back")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("invariant: only a wait takes it, and gives it back")
    }
}

/// As `parking_lot::Condvar`.
#[derive(Debug)]
pub(crate) struct Condvar(sync::Condvar);

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar(sync::Condvar::new())
    }
}

impl Condvar {
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(inner) = guard.inner.take() {
            guard.inner = Some(self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Times out as soon as the others have had a chance.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _timeout: Duration) {
        guard.inner = None;
        thread::yield_now();
        guard.inner = Some(guard.lock.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// As [`Condvar::wait_for`], unless `condition` is false already.
    pub(crate) fn wait_while_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        timeout: Duration,
    ) {
        if condition(guard) {
            self.wait_for(guard, timeout);
        }
    }
}

/// As `parking_lot::RwLock`.
#[derive(Default)]
pub(crate) struct RwLock<T>(sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock").finish_non_exhaustive()
    }
}

/// As `arc_swap::ArcSwap`: others may run before each load and before each store.
#[derive(Debug)]
pub(crate) struct ArcSwap<T>(arc_swap::ArcSwap<T>);

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> ArcSwap<T> {
        ArcSwap(arc_swap::ArcSwap::from_pointee(value))
    }

    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<T>> {
        step();
        self.0.load()
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        step();
        self.0.load_full()
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        step();
        self.0.store(value);
    }
}

/// As `std::sync::OnceLock`.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    cell: Cell<T>,
    /// Held while the value is made.
    making: Mutex<()>,
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> OnceLock<T> {
        OnceLock { cell: Cell::new(), making: Mutex::new(()) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        step();
        self.cell.get()
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _making = self.making.lock();
        match self.cell.get() {
            Some(value) => value,
            None => {
                let value = make();
                self.cell.get_or_init(|| value)
            }
        }
    }
}
