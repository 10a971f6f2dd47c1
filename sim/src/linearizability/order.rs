//! Long histories of transfers: whether one order of all transactions explains what each has read.
//!
//! Every key carries a version that each writer raises by one, so the order of the writers of a key can be read off.
//! A transaction comes after the writers of what it read, before the writers of the next versions, and after whatever
//! was answered before it was called. If these constraints have a cycle, no order exists.

use std::collections::BTreeMap;

/// One committed transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The version of each key that it read.
    pub(super) read: BTreeMap<u64, u64>,
    /// Whether it wrote the next version of each of them, or only read.
    pub(super) wrote: bool,
    /// Ticks of one clock for all threads.
    pub(super) called: u64,
    pub(super) answered: u64,
}

/// Says why no order explains the transactions, if none does. Version 0 of every key was there before.
pub(super) fn check(transactions: &[Seen]) -> Result<(), String> {
    let mut writers: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (at, transaction) in transactions.iter().enumerate().filter(|(_, t)| t.wrote) {
        for (&key, &version) in &transaction.read {
            if let Some(other) = writers.insert((key, version + 1), at) {
                return Err(format!(
                    "a lost update: {:?} and {transaction:?} both wrote version {} of key {key}",
                    transactions[other],
                    version + 1
                ));
            }
        }
    }
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); transactions.len()];
    for (at, transaction) in transactions.iter().enumerate() {
        for (&key, &version) in &transaction.read {
            match writers.get(&(key, version)) {
                Some(&writer) => after[writer].push(at),
                None if version == 0 => {}
                None => return Err(format!("nobody wrote version {version} of key {key}")),
            }
            if let Some(&next) = writers.get(&(key, version + 1))
                && next != at
            {
                after[at].push(next);
            }
        }
        let later = |other: &(usize, &Seen)| transaction.answered < other.1.called;
        after[at].extend(transactions.iter().enumerate().filter(later).map(|(other, _)| other));
    }
    let mut before = vec![0u32; transactions.len()];
    after.iter().flatten().for_each(|&at| before[at] += 1);
    let mut free: Vec<usize> = (0..before.len()).filter(|&at| before[at] == 0).collect();
    let mut ordered = 0;
    while let Some(at) = free.pop() {
        ordered += 1;
        for &next in &after[at] {
            before[next] -= 1;
            if before[next] == 0 {
                free.push(next);
            }
        }
    }
    if ordered == transactions.len() {
        return Ok(());
    }
    let stuck: Vec<&Seen> =
        transactions.iter().zip(&before).filter(|(_, left)| **left > 0).map(|(t, _)| t).collect();
    Err(format!("no order of {} transactions, such as {:?}", stuck.len(), &stuck[..2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(read: &[(u64, u64)], wrote: bool, called: u64, answered: u64) -> Seen {
        Seen { read: read.iter().copied().collect(), wrote, called, answered }
    }

    #[test]
    fn an_order_is_found_where_there_is_one() {
        let history = [
            seen(&[(1, 0), (2, 0)], true, 0, 9),
            seen(&[(1, 0), (2, 0)], false, 1, 2),
            seen(&[(1, 1), (2, 1)], true, 3, 4),
            seen(&[(1, 2), (2, 2)], false, 10, 11),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn a_lost_update_a_stale_read_a_skew_and_half_a_commit_are_found() {
        let lost = [seen(&[(1, 0)], true, 0, 2), seen(&[(1, 0)], true, 1, 3)];
        assert!(check(&lost).is_err());
        let stale = [seen(&[(1, 0)], true, 0, 1), seen(&[(1, 0)], false, 2, 3)];
        assert!(check(&stale).is_err());
        let half = [seen(&[(1, 0), (2, 0)], true, 0, 3), seen(&[(1, 1), (2, 0)], false, 1, 2)];
        assert!(check(&half).is_err());
        // Two readers that saw two writers in different orders.
        let skew = [
            seen(&[(1, 0)], true, 0, 9),
            seen(&[(2, 0)], true, 0, 9),
            seen(&[(1, 1), (2, 0)], false, 1, 8),
            seen(&[(1, 0), (2, 1)], false, 1, 8),
        ];
        assert!(check(&skew).is_err());
    }
}
