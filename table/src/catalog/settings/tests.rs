//! The bytes of settings and tags are pinned, and no bytes are taken for them that are none.

use super::*;
use std::collections::BTreeMap;

use crate::catalog::format::tests::{record, record_with_indexes};
use crate::schema::{BillingMode, ProvisionedThroughput};

fn settings() -> Settings {
    Settings {
        last_increase_ms: Some(300),
        last_decrease_ms: None,
        decreases: 2,
        last_pay_per_request_ms: Some(1),
        table_class: Some(TableClassSummary {
            table_class: TableClass::StandardInfrequentAccess,
            last_update_date_time_ms: Some(4),
        }),
        kms_key_arn: Some("arn".to_owned()),
        on_demand: OnDemandThroughput {
            max_read_request_units: Some(7),
            max_write_request_units: None,
        },
        warm_read_units: 12_000,
        warm_write_units: 4_000,
        ..Settings::of_record(&record())
    }
}

/// Of a table with a global index.
fn settings_with_index() -> Settings {
    let index = IndexSettings {
        on_demand: OnDemandThroughput {
            max_read_request_units: Some(50),
            max_write_request_units: None,
        },
        warm_read_units: 13_000,
        warm_write_units: 4_500,
    };
    Settings { indexes: BTreeMap::from([(1, index)]), ..settings() }
}

const V1: &str = "01fb2c010002010101020104010361726e010e00fbc05dfb401f";
/// One index with its id, its limits and its warm throughput.
const INDEXES: &str = "01 01 0164 00 fb9065 fb2823";

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.replace(' ', "");
    let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
    (0..digits.len() / 2).map(byte).collect()
}

fn tags() -> Vec<Tag> {
    let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
    vec![tag("a", ""), tag("b", "x")]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes() {
    assert_eq!(hex(&settings_key(258)), "040000000000000102");
    assert_eq!(hex(&tags_key(258)), "050000000000000102");
    assert_eq!(hex(&encode_settings(&settings()).unwrap()), format!("00{V1}"));
    let with_index = encode_settings(&settings_with_index()).unwrap();
    assert_eq!(with_index, bytes_of(&format!("01 {V1} {INDEXES}")));
    assert_eq!(hex(&encode_tags(&tags()).unwrap()), "00020161000162 0178".replace(' ', ""));
}

#[test]
fn what_is_encoded_decodes() {
    let bytes = encode_settings(&settings()).unwrap();
    assert_eq!(decode_settings(&record(), Some(&bytes)).unwrap(), settings());
    let bytes = encode_settings(&settings_with_index()).unwrap();
    let record = record_with_indexes();
    assert_eq!(decode_settings(&record, Some(&bytes)).unwrap(), settings_with_index());
    assert_eq!(decode_tags(&encode_tags(&tags()).unwrap()).unwrap(), tags());
}

#[test]
fn a_table_without_an_entry_has_what_its_record_implies() {
    let provisioned = decode_settings(&record(), None).unwrap();
    assert_eq!(provisioned.deletion_protection_enabled, record().deletion_protection_enabled);
    assert_eq!((provisioned.warm_read_units, provisioned.warm_write_units), (5, 7));
    assert_eq!(provisioned.last_pay_per_request_ms, None);
    let on_demand = TableRecord {
        billing_mode: BillingMode::PayPerRequest,
        provisioned_throughput: ProvisionedThroughput::default(),
        ..record()
    };
    let on_demand = decode_settings(&on_demand, None).unwrap();
    assert_eq!((on_demand.warm_read_units, on_demand.warm_write_units), (12_000, 4_000));
    assert_eq!(on_demand.last_pay_per_request_ms, Some(record().created_ms));
}

#[test]
fn indexes_without_settings_have_what_the_record_implies() {
    let indexed = record_with_indexes();
    let implied = IndexSettings { warm_read_units: 2, warm_write_units: 3, ..Default::default() };
    // No entry, one of version 1, and one that is of another index; the local index has none.
    let other = bytes_of(&format!("01 {V1} 01 09 0164 00 fb9065 fb2823"));
    for bytes in [None, Some(bytes_of(&format!("00 {V1}"))), Some(other.clone())] {
        let decoded = decode_settings(&indexed, bytes.as_deref()).unwrap();
        assert_eq!(decoded.indexes, BTreeMap::from([(1, implied)]));
    }
    assert_eq!(decode_settings(&record(), Some(&other)).unwrap(), settings());
}

#[test]
fn damaged_bytes_are_refused() {
    let bytes = encode_settings(&settings()).unwrap();
    for end in 0..bytes.len() {
        assert!(decode_settings(&record(), Some(&bytes[..end])).is_err(), "cut at {end}");
    }
    let with_index = encode_settings(&settings_with_index()).unwrap();
    for end in 0..with_index.len() {
        assert!(decode_settings(&record(), Some(&with_index[..end])).is_err(), "cut at {end}");
    }
    let twice = bytes_of(&format!("01 {V1} 02 01 00 00 00 00 01 00 00 00 00"));
    assert!(decode_settings(&record(), Some(&twice)).is_err());
    let tags = encode_tags(&tags()).unwrap();
    for end in 0..tags.len() {
        assert!(decode_tags(&tags[..end]).is_err(), "cut at {end}");
    }
    // The same key twice.
    assert!(decode_tags(&[0, 2, 1, b'a', 0, 1, b'a', 0]).is_err());
    // A version and a class that do not exist.
    assert!(decode_tags(&[1, 0]).is_err());
    let other_class = bytes_of(&hex(&bytes).replace("0102010401", "0109010401"));
    assert!(decode_settings(&record(), Some(&other_class)).is_err());
}
