//! What a table is: its key schema, attribute types, billing and status, as CreateTable receives
//! and DescribeTable shows them. The operations and the catalog use these types; `check` holds the
//! rules for them.

pub(crate) mod check;

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScalarAttributeType {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

impl ScalarAttributeType {
    /// The type as the wire writes it: `S`, `N` or `B`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::N => "N",
            Self::B => "B",
        }
    }
}

/// A key attribute and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeDefinition {
    /// The attribute.
    pub attribute_name: String,
    /// Its type.
    pub attribute_type: ScalarAttributeType,
}

/// The role of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// The partition key.
    Hash,
    /// The sort key.
    Range,
}

/// One attribute of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySchemaElement {
    /// The attribute.
    pub attribute_name: String,
    /// Its role.
    pub key_type: KeyType,
}

/// How reads and writes are billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BillingMode {
    /// By provisioned capacity.
    #[default]
    Provisioned,
    /// By request.
    PayPerRequest,
}

/// Provisioned capacity, in units per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProvisionedThroughput {
    /// Read units.
    pub read_capacity_units: i64,
    /// Write units.
    pub write_capacity_units: i64,
}

/// Where a table is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableStatus {
    /// Being created.
    Creating,
    /// Ready.
    Active,
    /// Being changed.
    Updating,
    /// Being deleted.
    Deleting,
}

/// A table as DescribeTable shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDescription {
    /// The name.
    pub table_name: String,
    /// The Amazon resource name.
    pub table_arn: String,
    /// A UUID that a table of the same name never has again.
    pub table_id: String,
    /// The status.
    pub table_status: TableStatus,
    /// Creation time in milliseconds since 1970-01-01 UTC.
    pub creation_date_time_ms: u64,
    /// The types of the key attributes.
    pub attribute_definitions: Vec<AttributeDefinition>,
    /// The key.
    pub key_schema: Vec<KeySchemaElement>,
    /// How the table is billed.
    pub billing_mode: BillingMode,
    /// Provisioned capacity; zeros with `PayPerRequest`.
    pub provisioned_throughput: ProvisionedThroughput,
    /// Whether DeleteTable is refused.
    pub deletion_protection_enabled: bool,
    /// How many items there are.
    pub item_count: u64,
    /// The sum of their logical sizes in bytes.
    pub table_size_bytes: u64,
}
