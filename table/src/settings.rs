//! What UpdateTable changes of a table: billing, capacity, protection and the other options that
//! DescribeTable shows. A table has them in memory; the catalog keeps the first three in the table's
//! record and the rest in an entry of its own. What UpdateTable changes of an index beside its
//! capacity is here too, by the index's id; keys are not.

mod index;

use std::collections::BTreeMap;

use crate::catalog::{self, IndexRecord, TableRecord};
use crate::operation::CreateTableRequest;
use crate::schema::{
    BillingMode, GlobalSecondaryIndex, OnDemandThroughput, ProvisionedThroughput, SseDescription,
    SseSpecification, TableClass, TableClassSummary, TableDescription, TableOptions,
    WarmThroughputDescription,
};
pub(crate) use index::IndexSettings;
use index::initial_units;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// What every on-demand table is ready for.
pub(crate) const WARM_READ_UNITS: i64 = 12_000;
pub(crate) const WARM_WRITE_UNITS: i64 = 4_000;
/// The key that an account has without making one.
const MANAGED_KEY: &str = "0e5c3e57-0000-4000-8000-64796e616d6f";
const MANAGED_KEY_ALIAS: &str = "alias/aws/dynamodb";

/// The settings of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) billing_mode: BillingMode,
    pub(crate) provisioned_throughput: ProvisionedThroughput,
    pub(crate) deletion_protection_enabled: bool,
    pub(crate) last_increase_ms: Option<u64>,
    pub(crate) last_decrease_ms: Option<u64>,
    /// On the day of the last one.
    pub(crate) decreases: u32,
    pub(crate) last_pay_per_request_ms: Option<u64>,
    pub(crate) table_class: Option<TableClassSummary>,
    /// `None` where no key was asked for.
    pub(crate) kms_key_arn: Option<String>,
    pub(crate) on_demand: OnDemandThroughput,
    pub(crate) warm_read_units: i64,
    pub(crate) warm_write_units: i64,
    /// Of the global indexes, by their ids.
    pub(crate) indexes: BTreeMap<u32, IndexSettings>,
}

impl Settings {
    /// Those of a table of which nothing but its record is known.
    pub(crate) fn of_record(record: &TableRecord) -> Self {
        let mut settings = Self {
            billing_mode: record.billing_mode,
            provisioned_throughput: record.provisioned_throughput,
            deletion_protection_enabled: record.deletion_protection_enabled,
            last_increase_ms: None,
            last_decrease_ms: None,
            decreases: 0,
            last_pay_per_request_ms: None,
            table_class: None,
            kms_key_arn: None,
            on_demand: OnDemandThroughput::default(),
            warm_read_units: 0,
            warm_write_units: 0,
            indexes: BTreeMap::new(),
        };
        if record.billing_mode == BillingMode::PayPerRequest {
            settings.last_pay_per_request_ms = Some(record.created_ms);
        }
        settings.warm_up();
        settings.follow_indexes(record);
        settings
    }

    /// Those of a new table.
    pub(crate) fn of_new(record: &TableRecord, request: &CreateTableRequest) -> Self {
        let mut settings = Self::of_record(record);
        settings.table_class = request
            .table_class
            .filter(|class| *class != TableClass::Standard)
            .map(|table_class| TableClassSummary { table_class, last_update_date_time_ms: None });
        settings.kms_key_arn = request.sse_specification.as_ref().and_then(key_arn);
        settings.on_demand = request.on_demand_throughput.unwrap_or_default();
        if let Some(warm) = request.warm_throughput {
            let of = |asked: Option<i64>, own| asked.unwrap_or(own);
            settings.warm_read_units = of(warm.read_units_per_second, settings.warm_read_units);
            settings.warm_write_units = of(warm.write_units_per_second, settings.warm_write_units);
        }
        let global = record.indexes.iter().filter(|index| index.is_global);
        for (index, asked) in global.zip(request.global_secondary_indexes.iter().flatten()) {
            settings.add_index(index, asked);
        }
        settings
    }

    /// Adds those of a new index.
    pub(crate) fn add_index(&mut self, record: &IndexRecord, asked: &GlobalSecondaryIndex) {
        let settings = IndexSettings::of_new(record, self.billing_mode, asked);
        self.indexes.insert(record.index_id, settings);
    }

    /// Has those of the global indexes of a record, and of no others, each ready for what it has to be
    /// ready for.
    pub(crate) fn follow_indexes(&mut self, record: &TableRecord) {
        let mut known = std::mem::take(&mut self.indexes);
        for index in record.indexes.iter().filter(|index| index.is_global) {
            let mut settings = (known.remove(&index.index_id))
                .unwrap_or_else(|| IndexSettings::of_record(index, self.billing_mode));
            settings.warm_up(index, self.billing_mode);
            self.indexes.insert(index.index_id, settings);
        }
    }

    /// Lifts all limits: a provisioned table has none, and neither have its indexes.
    pub(crate) fn lift_limits(&mut self) {
        self.on_demand = OnDemandThroughput::default();
        for index in self.indexes.values_mut() {
            index.on_demand = OnDemandThroughput::default();
        }
    }

    /// Raises the warm throughput to what the table has to be ready for.
    pub(crate) fn warm_up(&mut self) {
        let (read, write) = initial_units(self.billing_mode, self.provisioned_throughput);
        self.warm_read_units = self.warm_read_units.max(read);
        self.warm_write_units = self.warm_write_units.max(write);
    }

    /// How often capacity was lowered on the day of `now_ms`.
    pub(crate) fn decreases_today(&self, now_ms: u64) -> u32 {
        let is_today = |last: u64| last / DAY_MS == now_ms / DAY_MS;
        if self.last_decrease_ms.is_some_and(is_today) { self.decreases } else { 0 }
    }

    /// The table's record as it is now to be kept.
    pub(crate) fn record(&self, record: &TableRecord) -> TableRecord {
        let mut record = TableRecord {
            billing_mode: self.billing_mode,
            provisioned_throughput: self.provisioned_throughput,
            deletion_protection_enabled: self.deletion_protection_enabled,
            ..record.clone()
        };
        if self.billing_mode == BillingMode::PayPerRequest {
            for index in &mut record.indexes {
                index.provisioned_throughput = ProvisionedThroughput::default();
            }
        }
        record
    }

    /// The table as DescribeTable shows it, of its record and what that shows.
    pub(crate) fn describe(
        &self,
        record: &TableRecord,
        of_record: TableDescription,
        now_ms: u64,
    ) -> TableDescription {
        let is_provisioned = self.billing_mode == BillingMode::Provisioned;
        let decreases = self.decreases_today(now_ms);
        let options = TableOptions {
            last_increase_date_time_ms: self.last_increase_ms.filter(|_| is_provisioned),
            last_decrease_date_time_ms: self.last_decrease_ms.filter(|_| is_provisioned),
            number_of_decreases_today: if is_provisioned { decreases } else { 0 },
            last_update_to_pay_per_request_date_time_ms: self.last_pay_per_request_ms,
            table_class: self.table_class,
            sse: self
                .kms_key_arn
                .clone()
                .map(|arn| SseDescription { kms_master_key_arn: Some(arn), is_updating: false }),
            on_demand_throughput: Some(self.on_demand).filter(|limits| !limits.is_empty()),
            warm_throughput: Some(WarmThroughputDescription {
                read_units_per_second: self.warm_read_units,
                write_units_per_second: self.warm_write_units,
                is_updating: false,
            }),
        };
        let mut description = TableDescription {
            billing_mode: self.billing_mode,
            provisioned_throughput: self.provisioned_throughput,
            deletion_protection_enabled: self.deletion_protection_enabled,
            options,
            ..of_record
        };
        for shown in &mut description.global_secondary_indexes {
            if !is_provisioned {
                shown.provisioned_throughput = ProvisionedThroughput::default();
            }
            let index = record.indexes.iter().find(|index| index.name == shown.index_name);
            if let Some(settings) = index.and_then(|index| self.indexes.get(&index.index_id)) {
                settings.describe(shown);
            }
        }
        description
    }
}

/// The ARN of the key that a request asks for; `None` where it asks for none.
pub(crate) fn key_arn(asked: &SseSpecification) -> Option<String> {
    if !asked.is_on() {
        return None;
    }
    let (region, account) = (catalog::REGION, catalog::ACCOUNT);
    let own = |resource: &str| format!("arn:aws:kms:{region}:{account}:{resource}");
    Some(match asked.kms_master_key_id.as_deref() {
        None | Some(MANAGED_KEY_ALIAS) => own(&format!("key/{MANAGED_KEY}")),
        Some(arn) if arn.starts_with("arn:") => arn.to_owned(),
        Some(alias) if alias.starts_with("alias/") => own(alias),
        Some(id) => own(&format!("key/{id}")),
    })
}
