//! Consumed capacity: how many units an operation costs. Operations sum the units of what they read
//! or wrote per table and report them where the request asks.

use std::sync::Arc;

use crate::index::{Index, IndexUnits};
use crate::operation::{CapacityUse, ConsumedCapacity, ReturnConsumedCapacity};
use crate::table::Table;

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
    let table_name = table_name.to_owned();
    Some(ConsumedCapacity { table_name, capacity_units: units, table, ..Default::default() })
}

/// As [`consumed`], of units that are also of indexes; of those that were not used nothing is said.
pub(crate) fn consumed_with_indexes<'i>(
    asked: Option<ReturnConsumedCapacity>,
    table_name: &str,
    units: f64,
    indexes: impl Iterator<Item = (&'i Index, f64)>,
) -> Option<ConsumedCapacity> {
    let mut consumed = consumed(asked, table_name, units)?;
    let is_split = consumed.table.is_some();
    for (index, units) in indexes.filter(|(_, units)| *units > 0.0) {
        consumed.capacity_units += units;
        let share = match index.shape.is_global {
            true => &mut consumed.global_secondary_indexes,
            false => &mut consumed.local_secondary_indexes,
        };
        if is_split {
            let share = share.get_or_insert_default();
            *share.entry(index.record.name.clone()).or_default() += units;
        }
    }
    Some(consumed)
}

/// What a write reports: the units of the table, and of each of its indexes.
pub(crate) fn consumed_by_write(
    asked: Option<ReturnConsumedCapacity>,
    table: &Table,
    units: f64,
    index_units: &[(u32, f64)],
) -> Option<ConsumedCapacity> {
    consumed_with_indexes(asked, &table.name, units, by_index(table, index_units))
}

/// Units of the indexes that a table has.
fn by_index<'t>(
    table: &'t Table,
    index_units: &'t [(u32, f64)],
) -> impl Iterator<Item = (&'t Index, f64)> {
    let index = |id: u32| table.indexes.iter().find(move |index| index.id() == id);
    index_units.iter().filter_map(move |(id, units)| Some((index(*id)?, *units)))
}

/// A transaction reads or writes every item twice: once to prepare and once to commit.
pub(crate) const TRANSACTION_FACTOR: f64 = 2.0;

/// The capacity that a transaction uses, by table.
pub(crate) struct Transacted<'t> {
    capacity_use: CapacityUse,
    /// In the order in which the request names them.
    tables: Vec<TransactedTable<'t>>,
}

struct TransactedTable<'t> {
    name: &'t str,
    units: f64,
    /// What its writes cost the indexes: no more than outside of a transaction.
    writes: Vec<(Arc<Table>, IndexUnits)>,
}

impl<'t> Transacted<'t> {
    pub(crate) fn new(capacity_use: CapacityUse) -> Self {
        Self { capacity_use, tables: Vec::new() }
    }

    /// Adds an action, of which the reads or writes outside of a transaction would cost `units`.
    pub(crate) fn add(&mut self, table_name: &'t str, units: f64) {
        self.of(table_name).units += TRANSACTION_FACTOR * units;
    }

    /// As [`Self::add`], of a write that also costs the table's indexes `index_units`.
    pub(crate) fn add_write(
        &mut self,
        table_name: &'t str,
        units: f64,
        table: Arc<Table>,
        index_units: IndexUnits,
    ) {
        self.add(table_name, units);
        self.of(table_name).writes.push((table, index_units));
    }

    fn of(&mut self, name: &'t str) -> &mut TransactedTable<'t> {
        let at = self.tables.iter().position(|table| table.name == name);
        let at = at.unwrap_or_else(|| {
            self.tables.push(TransactedTable { name, units: 0.0, writes: Vec::new() });
            self.tables.len() - 1
        });
        &mut self.tables[at]
    }

    /// What a response reports.
    pub(crate) fn consumed(
        &self,
        asked: Option<ReturnConsumedCapacity>,
    ) -> Option<Vec<ConsumedCapacity>> {
        let of_table = |TransactedTable { name, units, writes }: &TransactedTable<'_>| {
            let of_indexes =
                writes.iter().flat_map(|(table, index_units)| by_index(table, index_units));
            let consumed = consumed_with_indexes(asked, name, *units, of_indexes)?;
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
