//! Which slots of a node are in use, and in what order of keys: one word, so that a node changes by one store.
//!
//! | bits | field |
//! |---|---|
//! | 4 x n to 4 x n + 3 | the slot of rank n, for each rank in use |
//! | 56 | whether the node is replaced |
//! | 60 to 63 | the number of slots in use |
//!
//! Slots are taken in turn and never given back, so those in use are always the first ones. Safe code; used by the tree
//! alone.

/// The most slots that an order has room for.
pub(super) const SLOTS_MAX: usize = 13;

const COUNT_SHIFT: u32 = 60;
const REPLACED: u64 = 1 << 56;
const RANKS: u64 = (1 << (4 * SLOTS_MAX)) - 1;

/// The value of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order(pub(super) u64);

impl Order {
    /// Slots `0..count`, in this order.
    pub(super) fn of_first(count: usize) -> Order {
        debug_assert!(count <= SLOTS_MAX);
        let ranks = 0x000c_ba98_7654_3210_u64 & ((1 << (4 * count)) - 1);
        Order((count as u64) << COUNT_SHIFT | ranks)
    }

    /// The number of slots in use.
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        (self.0 >> COUNT_SHIFT) as usize
    }

    /// The slot of `rank`, which is below the count.
    #[inline(always)]
    pub(super) fn slot(self, rank: usize) -> usize {
        debug_assert!(rank < self.count());
        (self.0 >> (4 * rank) & 15) as usize
    }

    /// The rank of a slot that is in use.
    pub(super) fn rank_of(self, slot: usize) -> usize {
        (0..self.count()).find(|&rank| self.slot(rank) == slot).expect("slots are never given back")
    }

    /// With the next slot at `rank`, which is at most the count; the slot.
    pub(super) fn with_next(self, rank: usize) -> (Order, usize) {
        let slot = self.count();
        debug_assert!(rank <= slot && slot < SLOTS_MAX);
        let (ranks, below) = (self.0 & RANKS, (1 << (4 * rank)) - 1);
        let ranks = ranks & below | (slot as u64) << (4 * rank) | (ranks & !below) << 4;
        (Order((slot as u64 + 1) << COUNT_SHIFT | ranks), slot)
    }

    /// Whether other nodes have taken the place of this one.
    #[inline(always)]
    pub(super) fn is_replaced(self) -> bool {
        self.0 & REPLACED != 0
    }

    /// The same, replaced.
    pub(super) fn replaced(self) -> Order {
        Order(self.0 | REPLACED)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_in_turn_and_stand_where_they_were_put() {
        let mut random = 7_u64;
        for _ in 0..if cfg!(miri) { 3 } else { 1_000 } {
            let (mut order, mut model) = (Order::of_first(0), Vec::new());
            for next in 0..SLOTS_MAX {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let rank = (random >> 40) as usize % (next + 1);
                let slot;
                (order, slot) = order.with_next(rank);
                assert_eq!(slot, next);
                model.insert(rank, slot);
                let shown: Vec<_> = (0..order.count()).map(|rank| order.slot(rank)).collect();
                assert_eq!(shown, model);
                assert_eq!(order.rank_of(slot), rank);
            }
            assert!(!order.is_replaced() && order.replaced().is_replaced());
            assert_eq!(order.replaced().count(), SLOTS_MAX);
            assert_eq!(order.replaced().slot(5), order.slot(5));
        }
    }

    #[test]
    fn the_first_slots_are_in_order() {
        for count in 0..=SLOTS_MAX {
            let order = Order::of_first(count);
            assert_eq!(order.count(), count);
            assert!((0..count).all(|rank| order.slot(rank) == rank));
        }
    }
}
