//! The catalog's bytes are pinned, and no bytes are taken for an entry that are none.

use super::*;

pub(crate) fn record() -> TableRecord {
    TableRecord {
        table_id: 300,
        uuid: *b"0123456789abcdef",
        created_ms: 1_700_000_000_000,
        status: TableStatus::Active,
        attribute_definitions: vec![
            AttributeDefinition {
                attribute_name: "pk".to_owned(),
                attribute_type: ScalarAttributeType::S,
            },
            AttributeDefinition {
                attribute_name: "sk".to_owned(),
                attribute_type: ScalarAttributeType::N,
            },
        ],
        key_schema: vec![
            KeySchemaElement { attribute_name: "pk".to_owned(), key_type: KeyType::Hash },
            KeySchemaElement { attribute_name: "sk".to_owned(), key_type: KeyType::Range },
        ],
        billing_mode: BillingMode::Provisioned,
        provisioned_throughput: ProvisionedThroughput {
            read_capacity_units: 5,
            write_capacity_units: 7,
        },
        deletion_protection_enabled: true,
        next_index_id: 1,
        indexes: vec![],
    }
}

pub(crate) fn record_with_indexes() -> TableRecord {
    let index = IndexRecord {
        index_id: 1,
        name: "by_sk".to_owned(),
        is_global: true,
        status: TableStatus::Active,
        key_schema: vec![KeySchemaElement {
            attribute_name: "sk".to_owned(),
            key_type: KeyType::Hash,
        }],
        projection_type: ProjectionType::Include,
        non_key_attributes: Some(vec!["n".to_owned()]),
        provisioned_throughput: ProvisionedThroughput {
            read_capacity_units: 2,
            write_capacity_units: 3,
        },
    };
    let local = IndexRecord {
        index_id: 2,
        is_global: false,
        projection_type: ProjectionType::All,
        non_key_attributes: None,
        ..index.clone()
    };
    TableRecord { next_index_id: 3, indexes: vec![index, local], ..record() }
}

fn counts(indexes: Vec<(u32, Counts)>) -> TableCounts {
    TableCounts { table: Counts { items: 2, bytes: 300 }, indexes }
}

fn counts_with_index() -> TableCounts {
    counts(vec![(258, Counts { items: 1, bytes: 9 })])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes() {
    let key = RecordKey { account: "000000000000", region: "us-east-1", name: "Employees" };
    assert_eq!(key.encode(), b"\x02000000000000\0us-east-1\0Employees");
    assert_eq!(next_ids_key(), [1]);
    assert_eq!(hex(&counts_key(258)), "030000000000000102");
    assert_eq!(hex(&encode_counts(&counts(vec![]))), "0102000000000000002c01000000000000");
    assert_eq!(
        hex(&encode_counts(&counts_with_index())),
        "0202000000000000002c01000000000000020100000100000000000000\
         0900000000000000"
    );
    assert_eq!(hex(&NextIds { next_table_id: 301 }.encode().unwrap()), "00fb2d01");
    assert_eq!(
        hex(&record().encode().unwrap()),
        "00fb2c0130313233343536373839616263646566fd0068e5cf8b0100000201020270\
         6b0102736b020202706b0102736b02010a0e0101"
            .replace(' ', "")
    );
    let plain = hex(&TableRecord { next_index_id: 3, ..record() }.encode().unwrap());
    assert_eq!(
        hex(&record_with_indexes().encode().unwrap()),
        format!(
            "01{}02010562795f736b01020102736b01020101016e0406020562795f736b00020102736b0103000406",
            &plain[2..]
        )
    );
}

#[test]
fn what_is_encoded_decodes() {
    let key = RecordKey { account: "a", region: "r", name: "n" }.encode();
    let decoded = RecordKey::decode(&key).unwrap();
    assert_eq!((decoded.account, decoded.region, decoded.name), ("a", "r", "n"));
    for counts in [counts(vec![]), counts_with_index()] {
        assert_eq!(decode_counts(&encode_counts(&counts)).unwrap(), counts);
    }
    for record in [record(), record_with_indexes()] {
        assert_eq!(TableRecord::decode(&record.encode().unwrap()).unwrap(), record);
    }
    let next = NextIds { next_table_id: u64::MAX };
    assert_eq!(NextIds::decode(&next.encode().unwrap()).unwrap(), next);
}

#[test]
fn damaged_bytes_are_refused() {
    for record in [record(), record_with_indexes()] {
        let bytes = record.encode().unwrap();
        for end in 0..bytes.len() {
            assert!(TableRecord::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(TableRecord::decode(&longer).is_err());
    }
    // A length that no bytes stand behind is refused before anything is allocated.
    assert!(TableRecord::decode(&[0xFC, 0xFF, 0xFF, 0xFF, 0xFF]).is_err());
    assert!(NextIds::decode(&[9, 1]).is_err());
    assert!(decode_counts(&[1; 16]).is_err());
    assert!(decode_counts(&[2; 17]).is_err());
    assert!(decode_counts(&[1; 37]).is_err());
    assert!(decode_counts(&[2; 38]).is_err());
    assert!(decode_counts(&[2; 37]).is_ok());
    assert!(decode_counts(&[3; 37]).is_err());
    assert!(RecordKey::decode(b"\x02account\0region").is_err());
}
