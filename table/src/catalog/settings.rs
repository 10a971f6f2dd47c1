//! The bytes of a table's settings and tags in the catalog. Written and read by `catalog.rs` alone.
//! This file is the format's only description, beside the keys in `format.rs`; a golden test pins
//! it.
//!
//! Both are bincode as `format.rs` has it, each an enum whose variant is the version: variant 0 is
//! version 1. A published version never changes its fields. A table of a database that is older than
//! this entry has none: its settings are then what its record implies, and it has no tags. Builds
//! that do not know these entries leave them alone; ids of tables are never given twice, so an entry
//! of a table that such a build deleted belongs to nobody.
//!
//! Settings, version 1: five times and numbers of capacity changes (last increase, last decrease,
//! decreases on the day of the last, last switch to billing by request; times in milliseconds since
//! 1970-01-01 UTC, each optional), the class with the time of its change (1 standard, 2 infrequent
//! access), the ARN of the key, the limits of on-demand throughput, and the warm throughput.
//! Version 2 is version 1 and a list of global indexes in the order of their ids, each its id, its
//! limits and its warm throughput. An index that is not in it has what its record implies; what is of
//! no index of the record belongs to nobody. A table without global indexes is written as version 1.
//!
//! Tags, version 1: a list of keys with their values, in the order of the keys.

use serde::{Deserialize, Serialize};

use super::format::{Numbered, TableRecord, damaged, decode, encode};
use crate::error::Result;
use crate::schema::{OnDemandThroughput, TableClass, TableClassSummary, Tag};
use crate::settings::{IndexSettings, Settings};

const SETTINGS: u8 = 4;
const TAGS: u8 = 5;

fn key(kind: u8, table_id: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&table_id.to_be_bytes());
    key
}

pub(super) fn settings_key(table_id: u64) -> [u8; 9] {
    key(SETTINGS, table_id)
}

pub(super) fn tags_key(table_id: u64) -> [u8; 9] {
    key(TAGS, table_id)
}

#[derive(Serialize, Deserialize)]
enum SettingsOnDisk {
    V1(SettingsV1),
    V2(SettingsV1, Vec<IndexSettingsV1>),
}

#[derive(Serialize, Deserialize)]
struct SettingsV1 {
    last_increase_ms: Option<u64>,
    last_decrease_ms: Option<u64>,
    decreases: u32,
    last_pay_per_request_ms: Option<u64>,
    /// The number and when it was chosen, where that was after the table was made.
    table_class: Option<(u8, Option<u64>)>,
    kms_key_arn: Option<String>,
    max_read_request_units: Option<i64>,
    max_write_request_units: Option<i64>,
    warm_read_units: i64,
    warm_write_units: i64,
}

#[derive(Serialize, Deserialize)]
struct IndexSettingsV1 {
    index_id: u32,
    max_read_request_units: Option<i64>,
    max_write_request_units: Option<i64>,
    warm_read_units: i64,
    warm_write_units: i64,
}

#[derive(Serialize, Deserialize)]
enum TagsOnDisk {
    V1(Vec<(String, String)>),
}

impl Numbered for TableClass {
    const NUMBERS: &'static [(Self, u8)] =
        &[(Self::Standard, 1), (Self::StandardInfrequentAccess, 2)];
}

/// The part of the settings that the table's record does not have.
pub(super) fn encode_settings(settings: &Settings) -> Result<Vec<u8>> {
    let class =
        |class: TableClassSummary| (class.table_class.number(), class.last_update_date_time_ms);
    let of_table = SettingsV1 {
        last_increase_ms: settings.last_increase_ms,
        last_decrease_ms: settings.last_decrease_ms,
        decreases: settings.decreases,
        last_pay_per_request_ms: settings.last_pay_per_request_ms,
        table_class: settings.table_class.map(class),
        kms_key_arn: settings.kms_key_arn.clone(),
        max_read_request_units: settings.on_demand.max_read_request_units,
        max_write_request_units: settings.on_demand.max_write_request_units,
        warm_read_units: settings.warm_read_units,
        warm_write_units: settings.warm_write_units,
    };
    if settings.indexes.is_empty() {
        return encode(&SettingsOnDisk::V1(of_table));
    }
    let of_index = |(index_id, index): (&u32, &IndexSettings)| IndexSettingsV1 {
        index_id: *index_id,
        max_read_request_units: index.on_demand.max_read_request_units,
        max_write_request_units: index.on_demand.max_write_request_units,
        warm_read_units: index.warm_read_units,
        warm_write_units: index.warm_write_units,
    };
    encode(&SettingsOnDisk::V2(of_table, settings.indexes.iter().map(of_index).collect()))
}

/// The settings of a table from its record and its entry.
pub(super) fn decode_settings(record: &TableRecord, bytes: Option<&[u8]>) -> Result<Settings> {
    let mut implied = Settings::of_record(record);
    let Some(bytes) = bytes else { return Ok(implied) };
    let (stored, indexes) = match decode(bytes)? {
        SettingsOnDisk::V1(stored) => (stored, Vec::new()),
        SettingsOnDisk::V2(stored, indexes) => (stored, indexes),
    };
    if !indexes.is_sorted_by(|one, next| one.index_id < next.index_id) {
        return Err(damaged("the settings of a table's indexes are not in order"));
    }
    for index in indexes {
        if let Some(known) = implied.indexes.get_mut(&index.index_id) {
            *known = IndexSettings {
                on_demand: OnDemandThroughput {
                    max_read_request_units: index.max_read_request_units,
                    max_write_request_units: index.max_write_request_units,
                },
                warm_read_units: index.warm_read_units,
                warm_write_units: index.warm_write_units,
            };
        }
    }
    let class = |(number, last_update_date_time_ms): (u8, Option<u64>)| -> Result<_> {
        let table_class = TableClass::from_number(number)?;
        Ok(TableClassSummary { table_class, last_update_date_time_ms })
    };
    Ok(Settings {
        last_increase_ms: stored.last_increase_ms,
        last_decrease_ms: stored.last_decrease_ms,
        decreases: stored.decreases,
        last_pay_per_request_ms: stored.last_pay_per_request_ms,
        table_class: stored.table_class.map(class).transpose()?,
        kms_key_arn: stored.kms_key_arn,
        on_demand: OnDemandThroughput {
            max_read_request_units: stored.max_read_request_units,
            max_write_request_units: stored.max_write_request_units,
        },
        warm_read_units: stored.warm_read_units,
        warm_write_units: stored.warm_write_units,
        ..implied
    })
}

/// `tags` are in the order of their keys.
pub(super) fn encode_tags(tags: &[Tag]) -> Result<Vec<u8>> {
    let pair = |tag: &Tag| (tag.key.clone(), tag.value.clone());
    encode(&TagsOnDisk::V1(tags.iter().map(pair).collect()))
}

pub(super) fn decode_tags(bytes: &[u8]) -> Result<Vec<Tag>> {
    let TagsOnDisk::V1(tags) = decode(bytes)?;
    if !tags.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(damaged("a table's tags are not in order"));
    }
    Ok(tags.into_iter().map(|(key, value)| Tag { key, value }).collect())
}

#[cfg(test)]
mod tests;
