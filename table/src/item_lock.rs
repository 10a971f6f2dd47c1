//! Striped item locks: who may change an item now. Writes take the stripes of their items in
//! ascending order and hold them until their commit is published, so that what they read of the old
//! item stays true. Taking a lock is a future and never blocks a thread; whoever waits is served in
//! the order of coming.
//!
//! Lock order: stripes (ascending), then the tables' counters, then the engine. Which transactions are
//! under way (`transaction/ongoing.rs`) is a leaf.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::transaction::Ongoing;

/// Enough that a thousand writes in flight seldom wait for each other by accident; 160 KB or so.
const STRIPES: usize = 4096;
const _: () = assert!(STRIPES.is_power_of_two());

/// All item locks of a database.
pub(crate) struct ItemLocks {
    /// Each guards who holds the stripe and who waits for it. Leaves: held for a few instructions.
    stripes: Box<[Mutex<Stripe>]>,
}

#[derive(Default)]
struct Stripe {
    held: bool,
    /// The waiter that the last holder passed the stripe to and that has not noticed yet.
    granted: Option<u64>,
    next_ticket: u64,
    waiting: VecDeque<(u64, Waker)>,
}

impl Stripe {
    /// Passes the stripe to the next waiter, who is to be woken; without one it is free.
    fn release(&mut self) -> Option<Waker> {
        debug_assert!(self.held && self.granted.is_none());
        match self.waiting.pop_front() {
            Some((ticket, waker)) => {
                self.granted = Some(ticket);
                Some(waker)
            }
            None => {
                self.held = false;
                None
            }
        }
    }
}

impl ItemLocks {
    pub(crate) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }

    /// The stripe of an item.
    pub(crate) fn stripe_of(table_id: u64, key: &[u8]) -> usize {
        let hash = xxh3_64_with_seed(key, table_id);
        usize::try_from(hash % STRIPES as u64).expect("invariant: less than the stripe count")
    }

    /// The stripes, for who has to see each of them free once.
    pub(crate) fn stripes() -> std::ops::Range<usize> {
        0..STRIPES
    }

    /// Takes those of the stripes that nobody holds now, and waits for none.
    pub(crate) fn lock_free(self: &Arc<Self>, mut stripes: Stripes) -> ItemGuard {
        stripes.sort_unstable();
        stripes.dedup();
        stripes.retain(|stripe| !std::mem::replace(&mut self.stripes[*stripe].lock().held, true));
        let (locks, held) = (Arc::clone(self), stripes.len());
        ItemGuard { locks, stripes, held, _transaction: None }
    }

    /// Takes all these stripes, each once however often it is named.
    pub(crate) async fn lock(self: Arc<Self>, mut stripes: Stripes) -> ItemGuard {
        stripes.sort_unstable();
        stripes.dedup();
        let mut guard = ItemGuard { locks: self, stripes, held: 0, _transaction: None };
        while let Some(stripe) = guard.stripes.get(guard.held) {
            Acquire { stripe: &guard.locks.stripes[*stripe], ticket: None }.await;
            guard.held += 1;
        }
        guard
    }
}

/// The numbers of some stripes.
pub(crate) type Stripes = SmallVec<[usize; 1]>;

/// Holds stripes until it is dropped.
pub(crate) struct ItemGuard {
    locks: Arc<ItemLocks>,
    stripes: Stripes,
    /// How many of them, from the first on.
    held: usize,
    /// Ends when the stripes are free.
    _transaction: Option<Ongoing>,
}

impl ItemGuard {
    /// Holds a transaction as well, which so lasts until its items are unlocked.
    pub(crate) fn with(mut self, transaction: Ongoing) -> Self {
        self._transaction = Some(transaction);
        self
    }

    /// Whether a stripe is among those that it holds.
    pub(crate) fn holds(&self, stripe: usize) -> bool {
        self.stripes[..self.held].binary_search(&stripe).is_ok()
    }
}

impl Drop for ItemGuard {
    fn drop(&mut self) {
        for stripe in &self.stripes[..self.held] {
            let next = self.locks.stripes[*stripe].lock().release();
            if let Some(waker) = next {
                waker.wake();
            }
        }
    }
}

/// One stripe being waited for; gives up its place when dropped.
struct Acquire<'s> {
    stripe: &'s Mutex<Stripe>,
    ticket: Option<u64>,
}

impl Future for Acquire<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut stripe = self.stripe.lock();
        match self.ticket {
            None if !stripe.held => {
                stripe.held = true;
                Poll::Ready(())
            }
            None => {
                let ticket = stripe.next_ticket;
                stripe.next_ticket += 1;
                stripe.waiting.push_back((ticket, context.waker().clone()));
                drop(stripe);
                self.ticket = Some(ticket);
                Poll::Pending
            }
            Some(ticket) if stripe.granted == Some(ticket) => {
                stripe.granted = None;
                drop(stripe);
                self.ticket = None;
                Poll::Ready(())
            }
            Some(ticket) => {
                let mine = stripe.waiting.iter_mut().find(|(waiting, _)| *waiting == ticket);
                if let Some((_, waker)) = mine {
                    waker.clone_from(context.waker());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut stripe = self.stripe.lock();
        if stripe.granted == Some(ticket) {
            stripe.granted = None;
            let next = stripe.release();
            drop(stripe);
            if let Some(waker) = next {
                waker.wake();
            }
        } else {
            stripe.waiting.retain(|(waiting, _)| *waiting != ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::block_on::block_on;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn waiters_are_served_in_order_and_may_give_up() {
        let locks = Arc::new(ItemLocks::new());
        let first = block_on(Arc::clone(&locks).lock([7, 3, 7].into_iter().collect()));
        let mut second = pin!(Arc::clone(&locks).lock([3].into_iter().collect()));
        let mut gives_up = Box::pin(Arc::clone(&locks).lock([3].into_iter().collect()));
        let mut third = pin!(Arc::clone(&locks).lock([3, 9].into_iter().collect()));
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(gives_up.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
        drop(first);
        let Poll::Ready(second) = poll(second.as_mut()) else { panic!("it is its turn") };
        assert!(poll(third.as_mut()).is_pending());
        // Given the stripe, but gone before it noticed: the next one gets it.
        drop(second);
        drop(gives_up);
        assert!(poll(third.as_mut()).is_ready());
    }

    #[test]
    fn what_is_taken_without_waiting_is_what_nobody_holds() {
        let locks = Arc::new(ItemLocks::new());
        let other = block_on(Arc::clone(&locks).lock(Stripes::from_slice(&[3])));
        let guard = locks.lock_free(Stripes::from_slice(&[7, 3, 1, 7]));
        assert_eq!([1, 3, 7].map(|stripe| guard.holds(stripe)), [true, false, true]);
        let mut waits = pin!(Arc::clone(&locks).lock(Stripes::from_slice(&[7])));
        assert!(poll(waits.as_mut()).is_pending());
        // Neither is free while another waits for it to be passed on.
        drop(guard);
        assert!(!locks.lock_free(Stripes::from_slice(&[7])).holds(7));
        assert!(poll(waits.as_mut()).is_ready());
        drop(other);
        assert!(locks.lock_free(Stripes::from_slice(&[3])).holds(3));
    }

    #[test]
    fn threads_exclude_each_other() {
        let locks = Arc::new(ItemLocks::new());
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (locks, inside) = (&locks, &inside);
                scope.spawn(move || {
                    for round in 0..500 {
                        let stripes = Stripes::from_slice(&[1, 2 + (thread + round) % 3]);
                        let guard = block_on(Arc::clone(locks).lock(stripes));
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    }
                });
            }
        });
    }
}
