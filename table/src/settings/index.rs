//! What a global index has of its own beside its key and its capacity: the limits of an on-demand
//! table and what the index is ready for. Kept among the settings of its table by the index's id, so
//! that they go with the index; only `settings.rs` and the operations on tables use them.

use super::{WARM_READ_UNITS, WARM_WRITE_UNITS};
use crate::catalog::IndexRecord;
use crate::schema::{
    BillingMode, GlobalSecondaryIndex, GlobalSecondaryIndexDescription, OnDemandThroughput,
    ProvisionedThroughput, TableStatus, WarmThroughput, WarmThroughputDescription,
};

/// The settings of a global index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexSettings {
    pub(crate) on_demand: OnDemandThroughput,
    pub(crate) warm_read_units: i64,
    pub(crate) warm_write_units: i64,
}

impl IndexSettings {
    /// Those of an index of which nothing but its record is known.
    pub(super) fn of_record(record: &IndexRecord, billing_mode: BillingMode) -> Self {
        let mut settings = Self::default();
        settings.warm_up(record, billing_mode);
        settings
    }

    /// Those of a new index.
    pub(super) fn of_new(
        record: &IndexRecord,
        billing_mode: BillingMode,
        asked: &GlobalSecondaryIndex,
    ) -> Self {
        let mut settings = Self::of_record(record, billing_mode);
        settings.on_demand = asked.on_demand_throughput.unwrap_or_default();
        settings.raise(asked.warm_throughput.unwrap_or_default());
        settings
    }

    /// Makes it ready for what is asked for.
    pub(crate) fn raise(&mut self, warm: WarmThroughput) {
        self.warm_read_units = warm.read_units_per_second.unwrap_or(self.warm_read_units);
        self.warm_write_units = warm.write_units_per_second.unwrap_or(self.warm_write_units);
    }

    /// Raises what it is ready for to what it has to be ready for.
    pub(super) fn warm_up(&mut self, record: &IndexRecord, billing_mode: BillingMode) {
        let (read, write) = initial_units(billing_mode, record.provisioned_throughput);
        self.warm_read_units = self.warm_read_units.max(read);
        self.warm_write_units = self.warm_write_units.max(write);
    }

    /// Adds them to what DescribeTable shows of the index.
    pub(super) fn describe(self, shown: &mut GlobalSecondaryIndexDescription) {
        shown.on_demand_throughput = Some(self.on_demand).filter(|limits| !limits.is_empty());
        shown.warm_throughput = Some(WarmThroughputDescription {
            read_units_per_second: self.warm_read_units,
            write_units_per_second: self.warm_write_units,
            is_updating: shown.index_status == TableStatus::Creating,
        });
    }
}

/// What a table or an index is ready for at least.
pub(super) fn initial_units(
    billing_mode: BillingMode,
    throughput: ProvisionedThroughput,
) -> (i64, i64) {
    match billing_mode {
        BillingMode::PayPerRequest => (WARM_READ_UNITS, WARM_WRITE_UNITS),
        BillingMode::Provisioned => {
            (throughput.read_capacity_units, throughput.write_capacity_units)
        }
    }
}
