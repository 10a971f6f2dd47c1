//! The bytes of the catalog's entries. Written and read by `catalog.rs` alone. This file is the
//! format's only description; a golden test pins it.
//!
//! | key | value |
//! |---|---|
//! | `01` | the next table id |
//! | `02`, account, `00`, region, `00`, name | a table |
//! | `03`, table id (8, big-endian) | a table's counts |
//! | `04`, table id | a table's settings: `settings.rs` |
//! | `05`, table id | a table's tags: `settings.rs` |
//!
//! The next table id and the tables are bincode 2 in its standard configuration (integers as
//! varints, little-endian, lengths first), each an enum whose variant is the version: variant 0 is
//! version 1. A published version never changes its fields. Values are at most 256 KiB and have no
//! bytes after their end. A table's hash algorithm is the one of its keys (`key_codec.rs`). A table
//! of version 2 is one of version 1 and the list of its indexes; without indexes a table is written
//! as version 1.
//!
//! Counts change with every write and so have a fixed form, little-endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | version: 1, or 2 where indexes follow |
//! | 1 | 8 | items |
//! | 9 | 8 | the sum of their logical sizes in bytes |
//! | 17 + 20 i | 4 | index id |
//! | 21 + 20 i | 8 | its entries |
//! | 29 + 20 i | 8 | the sum of their logical sizes in bytes |
//!
//! A table without a counts entry is empty, and so is an index that is not in it. The engine's
//! checksums cover all of this.
//!
//! Example: a table with 2 items of 300 bytes together has the counts
//! `01 0200000000000000 2C01000000000000`.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::error::{Result, TableError};
use crate::key_codec::HASH_ALGORITHM;
use crate::message;
use crate::schema::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    ProjectionType, ProvisionedThroughput, ScalarAttributeType, TableStatus,
};
use crate::table::{Counts, TableCounts};

/// 25 indexes whose names and attributes are as long and as many as they may be fit.
const VALUE_BYTES_MAX: usize = 256 << 10;

const NEXT_IDS: u8 = 1;
const TABLES: u8 = 2;
const COUNTS: u8 = 3;
const SEPARATOR: u8 = 0;

const COUNTS_VERSION: u8 = 1;
const COUNTS_VERSION_WITH_INDEXES: u8 = 2;
const COUNTS_BYTES: usize = 17;
const INDEX_COUNTS_BYTES: usize = 20;

pub(crate) fn damaged(what: &str) -> TableError {
    TableError::internal(message::damaged(what))
}

pub(super) fn next_ids_key() -> [u8; 1] {
    [NEXT_IDS]
}

/// What the keys of all tables start with.
pub(super) fn tables_prefix() -> [u8; 1] {
    [TABLES]
}

pub(super) fn counts_key(table_id: u64) -> [u8; 9] {
    let mut key = [COUNTS; 9];
    key[1..].copy_from_slice(&table_id.to_be_bytes());
    key
}

/// Counts in their stored form: those of a table without indexes need no call of the allocator.
pub(super) type EncodedCounts = SmallVec<[u8; 32]>;

pub(super) fn encode_counts(counts: &TableCounts) -> EncodedCounts {
    if counts.indexes.is_empty() {
        let mut bytes = [COUNTS_VERSION; COUNTS_BYTES];
        bytes[1..9].copy_from_slice(&counts.table.items.to_le_bytes());
        bytes[9..].copy_from_slice(&counts.table.bytes.to_le_bytes());
        return EncodedCounts::from_slice(&bytes);
    }
    let mut bytes =
        EncodedCounts::with_capacity(COUNTS_BYTES + INDEX_COUNTS_BYTES * counts.indexes.len());
    bytes.push(COUNTS_VERSION_WITH_INDEXES);
    let mut put = |counts: Counts, index_id: Option<u32>| {
        if let Some(index_id) = index_id {
            bytes.extend_from_slice(&index_id.to_le_bytes());
        }
        bytes.extend_from_slice(&counts.items.to_le_bytes());
        bytes.extend_from_slice(&counts.bytes.to_le_bytes());
    };
    put(counts.table, None);
    for (index_id, counts) in &counts.indexes {
        put(*counts, Some(*index_id));
    }
    bytes
}

pub(super) fn decode_counts(bytes: &[u8]) -> Result<TableCounts> {
    let (table, indexes) = (bytes.split_at_checked(COUNTS_BYTES))
        .ok_or_else(|| damaged("a table's counts have the wrong length"))?;
    if table[0] != COUNTS_VERSION && table[0] != COUNTS_VERSION_WITH_INDEXES {
        return Err(damaged("a table's counts have an unknown version"));
    }
    let has_indexes = table[0] == COUNTS_VERSION_WITH_INDEXES;
    if indexes.len() % INDEX_COUNTS_BYTES != 0 || has_indexes == indexes.is_empty() {
        return Err(damaged("a table's counts have the wrong length"));
    }
    let field = |bytes: &[u8], at: usize| {
        let mut field = [0; 8];
        field.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(field)
    };
    let of_index = |bytes: &[u8]| {
        let mut id = [0; 4];
        id.copy_from_slice(&bytes[..4]);
        let counts = Counts { items: field(bytes, 4), bytes: field(bytes, 12) };
        (u32::from_le_bytes(id), counts)
    };
    Ok(TableCounts {
        table: Counts { items: field(table, 1), bytes: field(table, 9) },
        indexes: indexes.chunks_exact(INDEX_COUNTS_BYTES).map(of_index).collect(),
    })
}

/// Whose table: the key of a table's entry.
pub(super) struct RecordKey<'k> {
    pub(super) account: &'k str,
    pub(super) region: &'k str,
    pub(super) name: &'k str,
}

impl<'k> RecordKey<'k> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut key = vec![TABLES];
        key.extend_from_slice(self.account.as_bytes());
        key.push(SEPARATOR);
        key.extend_from_slice(self.region.as_bytes());
        key.push(SEPARATOR);
        key.extend_from_slice(self.name.as_bytes());
        key
    }

    pub(super) fn decode(key: &'k [u8]) -> Result<Self> {
        let text = key.get(1..).and_then(|rest| std::str::from_utf8(rest).ok());
        let mut parts = text.unwrap_or_default().splitn(3, '\0');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(account), Some(region), Some(name)) => Ok(Self { account, region, name }),
            _ => Err(damaged("a key of the catalog")),
        }
    }
}

/// The ids to give next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextIds {
    pub(super) next_table_id: u64,
}

/// A table as the catalog keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TableRecord {
    /// Never given twice.
    pub(crate) table_id: u64,
    /// What DescribeTable shows as the table's id.
    pub(crate) uuid: [u8; 16],
    pub(crate) created_ms: u64,
    pub(crate) status: TableStatus,
    pub(crate) attribute_definitions: Vec<AttributeDefinition>,
    pub(crate) key_schema: Vec<KeySchemaElement>,
    pub(crate) billing_mode: BillingMode,
    pub(crate) provisioned_throughput: ProvisionedThroughput,
    pub(crate) deletion_protection_enabled: bool,
    /// The id that the table's next index gets.
    pub(crate) next_index_id: u32,
    /// The local ones first, each kind in the order in which they were given.
    pub(crate) indexes: Vec<IndexRecord>,
}

/// An index as the catalog keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IndexRecord {
    /// Never given twice in one table.
    pub(crate) index_id: u32,
    pub(crate) name: String,
    pub(crate) is_global: bool,
    pub(crate) status: TableStatus,
    pub(crate) key_schema: Vec<KeySchemaElement>,
    pub(crate) projection_type: ProjectionType,
    pub(crate) non_key_attributes: Option<Vec<String>>,
    pub(crate) provisioned_throughput: ProvisionedThroughput,
}

impl IndexRecord {
    /// A global index that is ready.
    pub(crate) fn global(index_id: u32, index: GlobalSecondaryIndex) -> Self {
        Self {
            index_id,
            name: index.index_name,
            is_global: true,
            status: TableStatus::Active,
            key_schema: index.key_schema,
            projection_type: index.projection.projection_type.unwrap_or(ProjectionType::All),
            non_key_attributes: index.projection.non_key_attributes,
            provisioned_throughput: index.provisioned_throughput.unwrap_or_default(),
        }
    }

    /// Whether it has what the table's items say: not if it is being deleted.
    pub(crate) fn is_kept(&self) -> bool {
        self.status != TableStatus::Deleting
    }
}

#[derive(Serialize, Deserialize)]
enum NextIdsOnDisk {
    V1 { next_table_id: u64 },
}

#[derive(Serialize, Deserialize)]
enum TableOnDisk {
    V1(TableV1),
    V2(TableV1, Vec<IndexV1>),
}

#[derive(Serialize, Deserialize)]
struct TableV1 {
    table_id: u64,
    uuid: [u8; 16],
    created_ms: u64,
    status: u8,
    hash_algorithm: u8,
    /// Name and type.
    attribute_definitions: Vec<(String, u8)>,
    /// Name and role.
    key_schema: Vec<(String, u8)>,
    billing_mode: u8,
    read_capacity_units: i64,
    write_capacity_units: i64,
    deletion_protection_enabled: bool,
    next_index_id: u32,
}

#[derive(Serialize, Deserialize)]
struct IndexV1 {
    index_id: u32,
    name: String,
    is_global: bool,
    status: u8,
    /// Name and role.
    key_schema: Vec<(String, u8)>,
    projection_type: u8,
    non_key_attributes: Option<Vec<String>>,
    read_capacity_units: i64,
    write_capacity_units: i64,
}

/// A fieldless type and its numbers, which are stored on disk.
pub(super) trait Numbered: Sized + Copy + PartialEq + 'static {
    const NUMBERS: &'static [(Self, u8)];

    fn number(self) -> u8 {
        let pair = Self::NUMBERS.iter().find(|(value, _)| *value == self);
        pair.expect("invariant: every value has a number").1
    }

    fn from_number(number: u8) -> Result<Self> {
        let pair = Self::NUMBERS.iter().find(|(_, known)| *known == number);
        pair.map(|pair| pair.0).ok_or_else(|| damaged("the catalog has an unknown number"))
    }
}

impl Numbered for TableStatus {
    const NUMBERS: &'static [(Self, u8)] =
        &[(Self::Creating, 1), (Self::Active, 2), (Self::Updating, 3), (Self::Deleting, 4)];
}

impl Numbered for ScalarAttributeType {
    const NUMBERS: &'static [(Self, u8)] = &[(Self::S, 1), (Self::N, 2), (Self::B, 3)];
}

impl Numbered for KeyType {
    const NUMBERS: &'static [(Self, u8)] = &[(Self::Hash, 1), (Self::Range, 2)];
}

impl Numbered for ProjectionType {
    const NUMBERS: &'static [(Self, u8)] =
        &[(Self::KeysOnly, 1), (Self::Include, 2), (Self::All, 3)];
}

impl Numbered for BillingMode {
    const NUMBERS: &'static [(Self, u8)] = &[(Self::Provisioned, 1), (Self::PayPerRequest, 2)];
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    let config = bincode::config::standard().with_limit::<VALUE_BYTES_MAX>();
    bincode::serde::encode_to_vec(value, config)
        .map_err(|error| TableError::internal(message::catalog_encoding(&error.to_string())))
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let config = bincode::config::standard().with_limit::<VALUE_BYTES_MAX>();
    match bincode::serde::decode_from_slice(bytes, config) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok(_) => Err(damaged("an entry of the catalog has bytes after its end")),
        Err(_) => Err(damaged("an entry of the catalog does not decode")),
    }
}

impl NextIds {
    pub(super) fn encode(self) -> Result<Vec<u8>> {
        encode(&NextIdsOnDisk::V1 { next_table_id: self.next_table_id })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let NextIdsOnDisk::V1 { next_table_id } = decode(bytes)?;
        Ok(Self { next_table_id })
    }
}

impl TableRecord {
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let definition =
            |d: &AttributeDefinition| (d.attribute_name.clone(), d.attribute_type.number());
        let table = TableV1 {
            table_id: self.table_id,
            uuid: self.uuid,
            created_ms: self.created_ms,
            status: self.status.number(),
            hash_algorithm: HASH_ALGORITHM,
            attribute_definitions: self.attribute_definitions.iter().map(definition).collect(),
            key_schema: encode_key(&self.key_schema),
            billing_mode: self.billing_mode.number(),
            read_capacity_units: self.provisioned_throughput.read_capacity_units,
            write_capacity_units: self.provisioned_throughput.write_capacity_units,
            deletion_protection_enabled: self.deletion_protection_enabled,
            next_index_id: self.next_index_id,
        };
        let indexes: Vec<IndexV1> = self.indexes.iter().map(IndexV1::of).collect();
        encode(&match indexes.is_empty() {
            true => TableOnDisk::V1(table),
            false => TableOnDisk::V2(table, indexes),
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let (table, indexes) = match decode(bytes)? {
            TableOnDisk::V1(table) => (table, Vec::new()),
            TableOnDisk::V2(table, indexes) => (table, indexes),
        };
        if table.hash_algorithm != HASH_ALGORITHM {
            return Err(damaged("a table's keys are hashed by an unknown algorithm"));
        }
        let definition = |(attribute_name, number): (String, u8)| {
            let attribute_type = ScalarAttributeType::from_number(number)?;
            Ok(AttributeDefinition { attribute_name, attribute_type })
        };
        Ok(Self {
            table_id: table.table_id,
            uuid: table.uuid,
            created_ms: table.created_ms,
            status: TableStatus::from_number(table.status)?,
            attribute_definitions: (table.attribute_definitions.into_iter())
                .map(definition)
                .collect::<Result<_>>()?,
            key_schema: decode_key(table.key_schema)?,
            billing_mode: BillingMode::from_number(table.billing_mode)?,
            provisioned_throughput: ProvisionedThroughput {
                read_capacity_units: table.read_capacity_units,
                write_capacity_units: table.write_capacity_units,
            },
            deletion_protection_enabled: table.deletion_protection_enabled,
            next_index_id: table.next_index_id,
            indexes: indexes.into_iter().map(IndexV1::record).collect::<Result<_>>()?,
        })
    }
}

fn encode_key(schema: &[KeySchemaElement]) -> Vec<(String, u8)> {
    schema.iter().map(|e| (e.attribute_name.clone(), e.key_type.number())).collect()
}

fn decode_key(schema: Vec<(String, u8)>) -> Result<Vec<KeySchemaElement>> {
    let element = |(attribute_name, number): (String, u8)| {
        Ok(KeySchemaElement { attribute_name, key_type: KeyType::from_number(number)? })
    };
    schema.into_iter().map(element).collect()
}

impl IndexV1 {
    fn of(index: &IndexRecord) -> Self {
        Self {
            index_id: index.index_id,
            name: index.name.clone(),
            is_global: index.is_global,
            status: index.status.number(),
            key_schema: encode_key(&index.key_schema),
            projection_type: index.projection_type.number(),
            non_key_attributes: index.non_key_attributes.clone(),
            read_capacity_units: index.provisioned_throughput.read_capacity_units,
            write_capacity_units: index.provisioned_throughput.write_capacity_units,
        }
    }

    fn record(self) -> Result<IndexRecord> {
        Ok(IndexRecord {
            index_id: self.index_id,
            name: self.name,
            is_global: self.is_global,
            status: TableStatus::from_number(self.status)?,
            key_schema: decode_key(self.key_schema)?,
            projection_type: ProjectionType::from_number(self.projection_type)?,
            non_key_attributes: self.non_key_attributes,
            provisioned_throughput: ProvisionedThroughput {
                read_capacity_units: self.read_capacity_units,
                write_capacity_units: self.write_capacity_units,
            },
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
