//! What a table has beside its key and its billing: the options of CreateTable and UpdateTable, and
//! how DescribeTable shows them. Re-exported by `schema`; `settings.rs` keeps them.

/// Which price list the storage of a table has. It changes nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableClass {
    /// For tables that are read and written often.
    Standard,
    /// For tables that are seldom touched.
    StandardInfrequentAccess,
}

/// The class of a table as DescribeTable shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableClassSummary {
    /// The class.
    pub table_class: TableClass,
    /// When it was last changed, in milliseconds since 1970-01-01 UTC.
    pub last_update_date_time_ms: Option<u64>,
}

/// The most that requests to an on-demand table may use, in units per second. A limit that is
/// absent is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnDemandThroughput {
    /// Read units; UpdateTable takes -1 to lift the limit.
    pub max_read_request_units: Option<i64>,
    /// Write units; UpdateTable takes -1 to lift the limit.
    pub max_write_request_units: Option<i64>,
}

impl OnDemandThroughput {
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The limits with those of a request of UpdateTable, which lifts with -1.
    pub(crate) fn changed_by(self, asked: Self) -> Self {
        let lifted = |asked: Option<i64>, now: Option<i64>| match asked {
            Some(-1) => None,
            Some(units) => Some(units),
            None => now,
        };
        Self {
            max_read_request_units: lifted(
                asked.max_read_request_units,
                self.max_read_request_units,
            ),
            max_write_request_units: lifted(
                asked.max_write_request_units,
                self.max_write_request_units,
            ),
        }
    }

    /// What UpdateTable answers to a request for these limits: -1 for what has none any more.
    pub(crate) fn shown_for(self, asked: Self) -> Option<Self> {
        let shown = Self {
            max_read_request_units: asked.max_read_request_units.or(self.max_read_request_units),
            max_write_request_units: asked.max_write_request_units.or(self.max_write_request_units),
        };
        Some(shown).filter(|shown| !shown.is_empty())
    }
}

/// What a table is to be ready for at once, in units per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmThroughput {
    /// Read units.
    pub read_units_per_second: Option<i64>,
    /// Write units.
    pub write_units_per_second: Option<i64>,
}

impl WarmThroughput {
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// What a table is ready for as DescribeTable shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmThroughputDescription {
    /// Read units.
    pub read_units_per_second: i64,
    /// Write units.
    pub write_units_per_second: i64,
    /// Whether it is being raised.
    pub is_updating: bool,
}

/// With whose key a table is encrypted at the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseType {
    /// Not taken by the service any more.
    Aes256,
    /// With a key of the key management service.
    Kms,
}

/// What a request says of encryption. It is kept and shown, so that tools find what they asked for;
/// the files are not encrypted by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseSpecification {
    /// Whether a key of the key management service is used.
    pub enabled: Option<bool>,
    /// The kind of encryption.
    pub sse_type: Option<SseType>,
    /// The key: its id, its alias or its ARN.
    pub kms_master_key_id: Option<String>,
}

impl SseSpecification {
    /// Whether it asks for a key of the key management service.
    pub(crate) fn is_on(&self) -> bool {
        self.enabled.unwrap_or(self.sse_type.is_some() || self.kms_master_key_id.is_some())
    }
}

/// The encryption of a table as DescribeTable shows it; absent where no key was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseDescription {
    /// The key's ARN, once it is in use.
    pub kms_master_key_arn: Option<String>,
    /// Whether the key is being changed.
    pub is_updating: bool,
}

/// What a stream shows of a changed item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamViewType {
    /// Its key.
    KeysOnly,
    /// The item as it is.
    NewImage,
    /// The item as it was.
    OldImage,
    /// Both.
    NewAndOldImages,
}

/// What a request says of the table's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamSpecification {
    /// Whether there is one.
    pub stream_enabled: bool,
    /// What it shows.
    pub stream_view_type: Option<StreamViewType>,
}

/// A tag of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// 1 to 128 characters, of which a table has no two the same.
    pub key: String,
    /// Up to 256 characters.
    pub value: String,
}

/// The options of a table as DescribeTable shows them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableOptions {
    /// When provisioned capacity was last raised, in milliseconds since 1970-01-01 UTC.
    pub last_increase_date_time_ms: Option<u64>,
    /// When it was last lowered.
    pub last_decrease_date_time_ms: Option<u64>,
    /// How often it was lowered on this day, in UTC.
    pub number_of_decreases_today: u32,
    /// When the table last became one that is billed by request.
    pub last_update_to_pay_per_request_date_time_ms: Option<u64>,
    /// The class, where one was ever chosen.
    pub table_class: Option<TableClassSummary>,
    /// Encryption, where a key was asked for.
    pub sse: Option<SseDescription>,
    /// Limits of an on-demand table.
    pub on_demand_throughput: Option<OnDemandThroughput>,
    /// What the table is ready for.
    pub warm_throughput: Option<WarmThroughputDescription>,
}
