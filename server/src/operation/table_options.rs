//! The options of tables on the wire, as CreateTable and UpdateTable take them and descriptions show them. Called by
//! those operations only.

use esker_table::TableError;
use esker_table::schema::{
    OnDemandThroughput, SseDescription, SseSpecification, SseType, StreamSpecification,
    StreamViewType, TableClass, TableClassSummary, Tag, WarmThroughput, WarmThroughputDescription,
};
use serde::de::MapAccess;
use serde::ser::{Serialize, Serializer};

use super::constraint::Constraints;
use super::shared::{Writer, name_of, seconds};
use crate::error::WireError;
use crate::json::{self, Members};
use crate::message;

const TABLE_CLASS: &[(&str, TableClass)] = &[
    ("STANDARD", TableClass::Standard),
    ("STANDARD_INFREQUENT_ACCESS", TableClass::StandardInfrequentAccess),
];

const SSE_TYPE: &[(&str, SseType)] = &[("AES256", SseType::Aes256), ("KMS", SseType::Kms)];

const STREAM_VIEW_TYPE: &[(&str, StreamViewType)] = &[
    ("OLD_IMAGE", StreamViewType::OldImage),
    ("KEYS_ONLY", StreamViewType::KeysOnly),
    ("NEW_AND_OLD_IMAGES", StreamViewType::NewAndOldImages),
    ("NEW_IMAGE", StreamViewType::NewImage),
];

/// The options as they were sent.
#[derive(Default)]
pub(super) struct OptionsIn {
    table_class: Option<String>,
    sse: Option<SseIn>,
    stream: Option<StreamIn>,
    on_demand: Option<OnDemandIn>,
    warm: Option<WarmIn>,
}

impl OptionsIn {
    /// Reads a member, if it is one of these.
    pub(super) fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> Result<bool, A::Error> {
        match name {
            "TableClass" => self.table_class = json::text(map)?,
            "SSESpecification" => self.sse = json::structure(map)?,
            "StreamSpecification" => self.stream = json::structure(map)?,
            "OnDemandThroughput" => self.on_demand = json::structure(map)?,
            "WarmThroughput" => self.warm = json::structure(map)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The options, but for the class, which [`Options::with_class`] adds once all failures have been noted.
    pub(super) fn checked(self, checks: &mut Constraints) -> Options {
        let stream = self.stream.map(|stream| StreamSpecification {
            stream_enabled: checks.required(stream.enabled, "streamSpecification.streamEnabled"),
            stream_view_type: checks.choice(
                stream.view_type.as_deref(),
                "streamSpecification.streamViewType",
                STREAM_VIEW_TYPE,
            ),
        });
        let sse = self.sse.map(|sse| SseSpecification {
            enabled: sse.enabled,
            sse_type: checks.choice(sse.sse_type.as_deref(), "sSESpecification.sSEType", SSE_TYPE),
            kms_master_key_id: sse.key_id,
        });
        Options {
            class_text: self.table_class,
            table_class: None,
            sse,
            stream,
            on_demand: self.on_demand.map(OnDemandIn::limits),
            warm: self.warm.map(WarmIn::units),
        }
    }
}

/// The options as the table layer takes them.
pub(super) struct Options {
    class_text: Option<String>,
    pub(super) table_class: Option<TableClass>,
    pub(super) sse: Option<SseSpecification>,
    pub(super) stream: Option<StreamSpecification>,
    pub(super) on_demand: Option<OnDemandThroughput>,
    pub(super) warm: Option<WarmThroughput>,
}

impl Options {
    /// With the class, of which the service does not say what is wrong as it does of other enumerations.
    pub(super) fn with_class(mut self) -> Result<Self, WireError> {
        if let Some(text) = &self.class_text {
            let class = TABLE_CLASS.iter().find(|(name, _)| name == text);
            let (_, class) =
                class.ok_or_else(|| WireError::validation(message::TABLE_CLASS_INVALID))?;
            self.table_class = Some(*class);
        }
        Ok(self)
    }
}

/// Makes a structure of a few members that can be read.
macro_rules! members_in {
    ($type:ident, $name:literal, { $($field:ident: $kind:ty = $member:literal as $read:ident,)* }) => {
        #[derive(Default)]
        pub(super) struct $type {
            $($field: Option<$kind>,)*
        }

        impl Members for $type {
            const NAME: &'static str = $name;

            fn member<'de, A: MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut A,
            ) -> Result<(), A::Error> {
                match name {
                    $($member => self.$field = json::$read(map)?,)*
                    _ => json::skip(map)?,
                }
                Ok(())
            }
        }
    };
}

members_in!(SseIn, "SSESpecification", {
    enabled: bool = "Enabled" as flag,
    sse_type: String = "SSEType" as text,
    key_id: String = "KMSMasterKeyId" as text,
});

members_in!(StreamIn, "StreamSpecification", {
    enabled: bool = "StreamEnabled" as flag,
    view_type: String = "StreamViewType" as text,
});

members_in!(OnDemandIn, "OnDemandThroughput", {
    read: i64 = "MaxReadRequestUnits" as long,
    write: i64 = "MaxWriteRequestUnits" as long,
});

members_in!(WarmIn, "WarmThroughput", {
    read: i64 = "ReadUnitsPerSecond" as long,
    write: i64 = "WriteUnitsPerSecond" as long,
});

impl OnDemandIn {
    pub(super) fn limits(self) -> OnDemandThroughput {
        OnDemandThroughput {
            max_read_request_units: self.read,
            max_write_request_units: self.write,
        }
    }
}

impl WarmIn {
    pub(super) fn units(self) -> WarmThroughput {
        WarmThroughput { read_units_per_second: self.read, write_units_per_second: self.write }
    }
}

/// A tag as it was sent.
#[derive(Default)]
pub(super) struct TagIn {
    key: Option<String>,
    value: Option<String>,
}

impl Members for TagIn {
    const NAME: &'static str = "Tag";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Key" => self.key = json::text(map)?,
            "Value" => self.value = json::text(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// The tags of a request, each of which has a key and a value.
pub(super) fn tags(input: Vec<TagIn>) -> Result<Vec<Tag>, WireError> {
    let tag = |TagIn { key, value }| {
        let key = key.ok_or_else(|| TableError::validation(message::TAG_KEY_NULL))?;
        let value = value.ok_or_else(|| TableError::validation(message::TAG_VALUE_NULL))?;
        Ok(Tag { key, value })
    };
    input.into_iter().map(tag).collect()
}

/// `Tag`.
pub(super) struct TagOut<'a>(pub(super) &'a Tag);

impl Serialize for TagOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Tag { key, value } = self.0;
        Writer::start(serializer)?.member("Key", key)?.member("Value", value)?.end()
    }
}

/// `SSEDescription`.
pub(super) struct SseOut<'a>(pub(super) &'a SseDescription);

impl Serialize for SseOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let arn = self.0.kms_master_key_arn.as_ref();
        Writer::start(serializer)?
            .member("Status", if self.0.is_updating { "UPDATING" } else { "ENABLED" })?
            .optional("SSEType", arn.map(|_| name_of(SSE_TYPE, &SseType::Kms)))?
            .optional("KMSMasterKeyArn", arn)?
            .end()
    }
}

/// `TableClassSummary`.
pub(super) struct TableClassOut(pub(super) TableClassSummary);

impl Serialize for TableClassOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let TableClassSummary { table_class, last_update_date_time_ms } = self.0;
        Writer::start(serializer)?
            .member("TableClass", name_of(TABLE_CLASS, &table_class))?
            .optional("LastUpdateDateTime", last_update_date_time_ms.map(seconds))?
            .end()
    }
}

/// `OnDemandThroughput`.
pub(super) struct OnDemandOut(pub(super) OnDemandThroughput);

impl Serialize for OnDemandOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Writer::start(serializer)?
            .optional("MaxReadRequestUnits", self.0.max_read_request_units)?
            .optional("MaxWriteRequestUnits", self.0.max_write_request_units)?
            .end()
    }
}

/// `TableWarmThroughputDescription`.
pub(super) struct WarmOut(pub(super) WarmThroughputDescription);

impl Serialize for WarmOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Writer::start(serializer)?
            .member("ReadUnitsPerSecond", self.0.read_units_per_second)?
            .member("WriteUnitsPerSecond", self.0.write_units_per_second)?
            .member("Status", if self.0.is_updating { "UPDATING" } else { "ACTIVE" })?
            .end()
    }
}
