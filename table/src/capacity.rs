//! Consumed capacity: how many units an operation costs. Operations sum the units of what they read
//! or wrote per table and report them where the request asks.

use crate::operation::{CapacityUse, ConsumedCapacity, ReturnConsumedCapacity};

/// Bytes that one read unit covers.
const READ_UNIT_BYTES: u64 = 4096;
/// Bytes that one write unit covers.
const WRITE_UNIT_BYTES: u64 = 1024;

/// Units for reading `size_bytes`, at least for one unit's worth; half of them where the request
/// did not ask for a consistent read.
pub(crate) fn read_units(size_bytes: u64, consistent: Option<bool>) -> f64 {
    let units = size_bytes.div_ceil(READ_UNIT_BYTES).max(1) as f64;
    if consistent == Some(true) { units } else { units / 2.0 }
}

/// Units for a write: the larger of the old and the new item counts.
pub(crate) fn write_units(old_bytes: u64, new_bytes: u64) -> f64 {
    old_bytes.max(new_bytes).div_ceil(WRITE_UNIT_BYTES).max(1) as f64
}

/// What a response reports.
pub(crate) fn consumed(
    asked: Option<ReturnConsumedCapacity>,
    table_name: &str,
    units: f64,
) -> Option<ConsumedCapacity> {
    let table = match asked.unwrap_or_default() {
        ReturnConsumedCapacity::None => return None,
        ReturnConsumedCapacity::Total => None,
        ReturnConsumedCapacity::Indexes => Some(units),
    };
    Some(ConsumedCapacity {
        table_name: table_name.to_owned(),
        capacity_units: units,
        table,
        capacity_use: None,
    })
}

/// A transaction reads or writes every item twice: once to prepare and once to commit.
const TRANSACTION_FACTOR: f64 = 2.0;

/// The capacity that a transaction uses, by table.
pub(crate) struct Transacted<'t> {
    capacity_use: CapacityUse,
    /// In the order in which the request names them.
    tables: Vec<(&'t str, f64)>,
}

impl<'t> Transacted<'t> {
    pub(crate) fn new(capacity_use: CapacityUse) -> Self {
        Self { capacity_use, tables: Vec::new() }
    }

    /// Adds an action, of which the reads or writes outside of a transaction would cost `units`.
    pub(crate) fn add(&mut self, table_name: &'t str, units: f64) {
        let units = TRANSACTION_FACTOR * units;
        match self.tables.iter_mut().find(|(name, _)| *name == table_name) {
            Some((_, sum)) => *sum += units,
            None => self.tables.push((table_name, units)),
        }
    }

    /// What a response reports.
    pub(crate) fn consumed(
        &self,
        asked: Option<ReturnConsumedCapacity>,
    ) -> Option<Vec<ConsumedCapacity>> {
        let of_table = |(name, units): &(&str, f64)| {
            let consumed = consumed(asked, name, *units)?;
            Some(ConsumedCapacity { capacity_use: Some(self.capacity_use), ..consumed })
        };
        self.tables.iter().map(of_table).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_counted_to_the_half() {
        for (size, consistent, units) in [
            (0, None, 0.5),
            (4096, Some(false), 0.5),
            (4097, None, 1.0),
            (8193, None, 1.5),
            (0, Some(true), 1.0),
            (8193, Some(true), 3.0),
        ] {
            assert_eq!(read_units(size, consistent), units, "{size} {consistent:?}");
        }
        assert_eq!(write_units(0, 0), 1.0);
        assert_eq!(write_units(0, 1024), 1.0);
        assert_eq!(write_units(5000, 10), 5.0);
    }
}
