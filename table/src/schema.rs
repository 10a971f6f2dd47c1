//! What a table is: its key schema, attribute types, indexes, billing and status, as CreateTable receives
//! and DescribeTable shows them. The operations and the catalog use these types; `check` holds the
//! rules for them.

pub(crate) mod check;
pub(crate) mod check_index;
pub(crate) mod check_index_updates;
pub(crate) mod check_options;
mod options;

pub use options::{
    OnDemandThroughput, SseDescription, SseSpecification, SseType, StreamSpecification,
    StreamViewType, TableClass, TableClassSummary, TableOptions, Tag, WarmThroughput,
    WarmThroughputDescription,
};

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

/// Which attributes an index holds beside its own key and the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionType {
    /// No others.
    KeysOnly,
    /// Those that are named.
    Include,
    /// All of them.
    All,
}

/// What an index holds of the items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Which attributes.
    pub projection_type: Option<ProjectionType>,
    /// Their names, with `Include`.
    pub non_key_attributes: Option<Vec<String>>,
}

/// A local index: another order for the items of each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalSecondaryIndex {
    /// The name, which no other index of the table has.
    pub index_name: String,
    /// The table's HASH element, then a RANGE element.
    pub key_schema: Vec<KeySchemaElement>,
    /// What it holds.
    pub projection: Projection,
}

/// A global index: another key for the items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalSecondaryIndex {
    /// The name, which no other index of the table has.
    pub index_name: String,
    /// One to four HASH elements, then at most four RANGE elements.
    pub key_schema: Vec<KeySchemaElement>,
    /// What it holds.
    pub projection: Projection,
    /// Needed with `PROVISIONED`, refused with `PAY_PER_REQUEST`.
    pub provisioned_throughput: Option<ProvisionedThroughput>,
    /// Limits, where the table is on-demand.
    pub on_demand_throughput: Option<OnDemandThroughput>,
    /// What it is to be ready for.
    pub warm_throughput: Option<WarmThroughput>,
}

/// What a global index is to have. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateGlobalSecondaryIndexAction {
    /// The index.
    pub index_name: String,
    /// Its capacity; refused with `PAY_PER_REQUEST`.
    pub provisioned_throughput: Option<ProvisionedThroughput>,
    /// Limits, where the table is on-demand.
    pub on_demand_throughput: Option<OnDemandThroughput>,
    /// What it is to be ready for; it is never lowered.
    pub warm_throughput: Option<WarmThroughput>,
}

/// A change of one global index. One of these is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalSecondaryIndexUpdate {
    /// Changes the throughput of one.
    pub update: Option<UpdateGlobalSecondaryIndexAction>,
    /// Makes a new one.
    pub create: Option<GlobalSecondaryIndex>,
    /// Deletes the one of this name.
    pub delete: Option<String>,
}

/// A local index as DescribeTable shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalSecondaryIndexDescription {
    /// The name.
    pub index_name: String,
    /// The key.
    pub key_schema: Vec<KeySchemaElement>,
    /// What it holds.
    pub projection: Projection,
    /// The sum of its entries' logical sizes in bytes.
    pub index_size_bytes: u64,
    /// How many entries there are.
    pub item_count: u64,
    /// The Amazon resource name.
    pub index_arn: String,
}

/// A global index as DescribeTable shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalSecondaryIndexDescription {
    /// The name.
    pub index_name: String,
    /// The key.
    pub key_schema: Vec<KeySchemaElement>,
    /// What it holds.
    pub projection: Projection,
    /// Where it is in its life.
    pub index_status: TableStatus,
    /// While it is being created: whether the items from before it are being put into it by now.
    pub backfilling: Option<bool>,
    /// Provisioned capacity; zeros with `PayPerRequest`.
    pub provisioned_throughput: ProvisionedThroughput,
    /// The sum of its entries' logical sizes in bytes.
    pub index_size_bytes: u64,
    /// How many entries there are.
    pub item_count: u64,
    /// The Amazon resource name.
    pub index_arn: String,
    /// Limits, where the table is on-demand.
    pub on_demand_throughput: Option<OnDemandThroughput>,
    /// What it is ready for.
    pub warm_throughput: Option<WarmThroughputDescription>,
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
    /// The local indexes.
    pub local_secondary_indexes: Vec<LocalSecondaryIndexDescription>,
    /// The global indexes.
    pub global_secondary_indexes: Vec<GlobalSecondaryIndexDescription>,
    /// The other options.
    pub options: TableOptions,
}
