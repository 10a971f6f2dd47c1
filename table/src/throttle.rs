//! Throttling: what a table's provisioned capacity, or the limits of an on-demand table, leave for a
//! request. Off unless [`Tables::set_throttling`] switches it on; then every operation on items asks
//! here before it works, and says what it used when it has. Times are those of the database's clock,
//! so that tests need not wait.
//!
//! A table has a bucket for reads and one for writes, and so has each global index, with its own
//! capacity or limits; a local index uses those of its table. A bucket fills at the rate of the
//! capacity, and holds what was not used of the last 300 seconds (that of a limit of an on-demand
//! table or its index: of the last second). What a
//! request uses is known when it has worked, so one is let in while there is anything in the bucket,
//! and may leave it in debt, which the next ones wait for. Buckets are in memory alone: after an open
//! each has what one second brings.

use std::time::Duration;

use parking_lot::Mutex;

use crate::Tables;
use crate::capacity::write_units;
use crate::error::{Result, TableError, TableErrorKind};
use crate::index::{Index, IndexUnits, entries_of};
use crate::item::{ItemView, NewItem};
use crate::message;
use crate::schema::{BillingMode, OnDemandThroughput, ProvisionedThroughput};
use crate::source::Source;
use crate::table::Table;
use crate::write::{Granted, ItemWrite};

/// Of provisioned capacity.
const BURST_SECONDS: f64 = 300.0;
/// Of the limits of an on-demand table and its indexes.
const LIMIT_BURST_SECONDS: f64 = 1.0;

/// What capacity is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
}

/// What of a table is used.
#[derive(Clone, Copy)]
pub(crate) struct Resource<'t> {
    table: &'t Table,
    /// A global one.
    index: Option<&'t Index>,
}

impl<'t> Resource<'t> {
    pub(crate) fn table(table: &'t Table) -> Self {
        Self { table, index: None }
    }

    /// Of an index; a local one uses its table's.
    pub(crate) fn index(table: &'t Table, index: &'t Index) -> Self {
        Self { table, index: Some(index).filter(|index| index.shape.is_global) }
    }

    /// Of what a Query or a Scan reads.
    pub(crate) fn source(source: Source<'t>) -> Self {
        match source.index {
            None => Self::table(source.table),
            Some(index) => Self::index(source.table, index),
        }
    }

    fn buckets(self) -> &'t Buckets {
        self.index.map_or(self.table.buckets(), |index| &index.buckets)
    }

    /// How fast its bucket fills, and for how many seconds; `None` where there is no limit.
    fn rate(self, used_for: Use) -> Option<(f64, f64)> {
        let settings = self.table.settings();
        match settings.billing_mode {
            BillingMode::Provisioned => {
                let of_table = settings.provisioned_throughput;
                let throughput = self.index.map_or(of_table, |i| i.record.provisioned_throughput);
                let ProvisionedThroughput { read_capacity_units, write_capacity_units } =
                    throughput;
                let units = match used_for {
                    Use::Read => read_capacity_units,
                    Use::Write => write_capacity_units,
                };
                // None: an index from before a change of billing that is being made.
                (units > 0).then_some((units as f64, BURST_SECONDS))
            }
            BillingMode::PayPerRequest => {
                let limits = match self.index {
                    None => settings.on_demand,
                    Some(index) => {
                        settings.indexes.get(&index.id()).map(|i| i.on_demand).unwrap_or_default()
                    }
                };
                let OnDemandThroughput { max_read_request_units, max_write_request_units } = limits;
                let units = match used_for {
                    Use::Read => max_read_request_units,
                    Use::Write => max_write_request_units,
                };
                units.map(|units| (units as f64, LIMIT_BURST_SECONDS))
            }
        }
    }

    fn refusal(self, burst_seconds: f64) -> TableError {
        if burst_seconds < BURST_SECONDS {
            return TableError::new(TableErrorKind::Throttling, message::control::ON_DEMAND_LIMIT);
        }
        let text = match self.index {
            None => message::THROTTLED,
            Some(_) => message::control::INDEX_THROTTLED,
        };
        TableError::new(TableErrorKind::ProvisionedThroughputExceeded, text)
    }
}

/// The buckets of a table or an index.
#[derive(Default)]
pub(crate) struct Buckets {
    /// Each a leaf.
    read: Mutex<Bucket>,
    write: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Units that are in it; negative where some are owed.
    level: f64,
    /// The rate that it fills at, in units per second; 0 before its first use.
    rate: f64,
    burst_seconds: f64,
    /// Up to when it has been filled.
    since: Duration,
}

impl Bucket {
    /// Fills it up to `now`, at the rate that it had until now.
    fn fill(&mut self, now: Duration, rate: f64, burst_seconds: f64) {
        if self.rate == 0.0 {
            self.level = rate;
        } else {
            let seconds = now.saturating_sub(self.since).as_secs_f64();
            let filled = self.level + self.rate * seconds;
            // What is owed is not forgiven where the capacity goes down.
            self.level = filled.min(self.rate * self.burst_seconds).min(rate * burst_seconds);
        }
        (self.rate, self.burst_seconds, self.since) = (rate, burst_seconds, now);
    }
}

impl Buckets {
    fn of(&self, used_for: Use) -> &Mutex<Bucket> {
        match used_for {
            Use::Read => &self.read,
            Use::Write => &self.write,
        }
    }
}

impl Tables {
    /// Refuses a request for which there is no capacity left.
    ///
    /// # Errors
    /// `ProvisionedThroughputExceeded`; `Throttling` by a limit of an on-demand table.
    #[inline]
    pub(crate) fn admit(&self, resource: Resource<'_>, used_for: Use) -> Result<()> {
        if !self.is_throttling() {
            return Ok(());
        }
        self.take(resource, used_for, None)
    }

    /// Says what a request used.
    #[inline]
    pub(crate) fn charge(&self, resource: Resource<'_>, used_for: Use, units: f64) {
        if self.is_throttling() {
            // A charge is never refused.
            let _ = self.take(resource, used_for, Some(units));
        }
    }

    /// Refuses a write for which its table, or an index that is to have its item, has nothing left.
    #[inline]
    pub(crate) fn admit_write(&self, write: &ItemWrite<'_>) -> Result<()> {
        if !self.is_throttling() {
            return Ok(());
        }
        let table = &write.table;
        self.admit(Resource::table(table), Use::Write)?;
        let Some(new) = &write.new else { return Ok(()) };
        let entries = entries_of(&table.indexes, &write.key, ItemView::new(new.as_bytes())?)?;
        for (index, _) in table.indexes.iter().zip(entries).filter(|(_, entry)| entry.is_some()) {
            self.admit(Resource::index(table, index), Use::Write)?;
        }
        Ok(())
    }

    /// Takes what a write of a batch is going to use of its table at least, if there is any.
    pub(crate) fn grant(&self, write: &mut ItemWrite<'_>) -> Result<()> {
        if self.is_throttling() {
            self.admit_write(write)?;
            let new_bytes =
                write.new.as_ref().map_or(0, |new: &NewItem| u64::from(new.logical_size()));
            let units = write_units(0, new_bytes);
            self.charge(Resource::table(&write.table), Use::Write, units);
            write.granted = Granted::Units(units);
        }
        Ok(())
    }

    /// Says what a write used of a table and of each of its indexes.
    #[inline]
    pub(crate) fn charge_write(&self, table: &Table, units: f64, index_units: &IndexUnits) {
        if self.is_throttling() {
            self.charge(Resource::table(table), Use::Write, units);
            for (index, units) in table.used_indexes(index_units) {
                self.charge(Resource::index(table, index), Use::Write, units);
            }
        }
    }

    #[cold]
    fn take(&self, resource: Resource<'_>, used_for: Use, units: Option<f64>) -> Result<()> {
        let Some((rate, burst_seconds)) = resource.rate(used_for) else { return Ok(()) };
        let now = self.db().world().clock.monotonic();
        let mut bucket = resource.buckets().of(used_for).lock();
        bucket.fill(now, rate, burst_seconds);
        match units {
            None if bucket.level <= 0.0 => Err(resource.refusal(burst_seconds)),
            None => Ok(()),
            Some(units) => {
                bucket.level -= units;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(bucket: &mut Bucket, seconds: u64, rate: f64) -> f64 {
        bucket.fill(Duration::from_secs(seconds), rate, BURST_SECONDS);
        bucket.level
    }

    #[test]
    fn buckets_hold_what_was_not_used_of_five_minutes() {
        let mut bucket = Bucket::default();
        assert_eq!(filled(&mut bucket, 10, 2.0), 2.0);
        assert_eq!(filled(&mut bucket, 11, 2.0), 4.0);
        bucket.level -= 10.0;
        assert_eq!(filled(&mut bucket, 13, 2.0), -2.0);
        assert_eq!(filled(&mut bucket, 1_000, 2.0), 600.0);
        // Raised: what was saved stays what it was.
        assert_eq!(filled(&mut bucket, 2_000, 10.0), 600.0);
        assert_eq!(filled(&mut bucket, 2_001, 10.0), 610.0);
        // Lowered: no more than the new capacity can save.
        assert_eq!(filled(&mut bucket, 2_002, 1.0), 300.0);
        // A clock that stands still brings nothing.
        bucket.level = 0.0;
        assert_eq!(filled(&mut bucket, 2_002, 1.0), 0.0);
    }
}
