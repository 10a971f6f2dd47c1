//! Zipf-distributed ranks by Gray's method, as YCSB draws them. Used by the skewed workloads. It must not scatter the
//! ranks over the keys: its caller does.

use crate::generator::Numbers;

/// The skew that YCSB uses.
pub const THETA: f64 = 0.99;

/// Ranks from 0 to `len - 1`, of which 0 is the most frequent.
#[derive(Clone, Debug)]
pub struct Zipf {
    len: u64,
    theta: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    /// Ranks below `len` with the skew `theta`, between 0 and 1 without both. Takes time in proportion to `len`.
    pub fn new(len: u64, theta: f64) -> Zipf {
        let len = len.max(2);
        let zeta: f64 = (1..=len).map(|rank| (rank as f64).powf(-theta)).sum();
        let of_two = 1.0 + 0.5_f64.powf(theta);
        let eta = (1.0 - (2.0 / len as f64).powf(1.0 - theta)) / (1.0 - of_two / zeta);
        Zipf { len, theta, alpha: 1.0 / (1.0 - theta), zeta, eta }
    }

    /// The next rank.
    pub fn next(&self, numbers: &mut Numbers) -> u64 {
        let unit = numbers.unit();
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(self.theta) {
            return 1;
        }
        let rank = self.len as f64 * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.len - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_in_range_and_as_frequent_as_the_distribution_says() {
        let (len, draws) = (1000, 200_000);
        let zipf = Zipf::new(len, THETA);
        let mut numbers = Numbers::new(11);
        let mut counts = vec![0_u64; len as usize];
        for _ in 0..draws {
            counts[zipf.next(&mut numbers) as usize] += 1;
        }
        let zeta: f64 = (1..=len).map(|rank| (rank as f64).powf(-THETA)).sum();
        // The first two ranks are exact; the others are an approximation, checked together.
        for rank in 0..2 {
            let expected = draws as f64 * ((rank + 1) as f64).powf(-THETA) / zeta;
            let ratio = counts[rank as usize] as f64 / expected;
            assert!((0.95..1.05).contains(&ratio), "rank {rank}: {ratio}");
        }
        let top: u64 = counts[..100].iter().sum();
        let expected: f64 = (1..=100).map(|rank| (rank as f64).powf(-THETA)).sum::<f64>() / zeta;
        let ratio = top as f64 / draws as f64 / expected;
        assert!((0.95..1.05).contains(&ratio), "first hundred: {ratio}");
    }

    #[test]
    fn a_single_rank_is_possible() {
        let mut numbers = Numbers::new(1);
        let zipf = Zipf::new(1, THETA);
        assert!((0..100).all(|_| zipf.next(&mut numbers) < 2));
    }
}
