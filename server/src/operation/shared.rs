//! What several operations have in common: enumerations, consumed capacity, table descriptions, and the check of the
//! names and values of expressions. Called by the operations only.

use std::collections::BTreeMap;

use esker_table::operation::{
    CapacityUse, ConsumedCapacity, ExpressionAttributeNames, ExpressionAttributeValues,
    ItemCollectionMetrics, ReturnConsumedCapacity, ReturnItemCollectionMetrics, ReturnValues,
    ReturnValuesOnConditionCheckFailure, Select, prepare_placeholders,
};
use esker_table::schema::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TableDescription, TableStatus,
};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::index::{GlobalOut, LocalOut};
use super::table_options::{OnDemandOut, SseOut, TableClassOut, WarmOut};
use crate::error::WireError;
use crate::json::{ExpressionValues, ItemOut};

pub(super) const RETURN_CONSUMED_CAPACITY: &[(&str, ReturnConsumedCapacity)] = &[
    ("INDEXES", ReturnConsumedCapacity::Indexes),
    ("TOTAL", ReturnConsumedCapacity::Total),
    ("NONE", ReturnConsumedCapacity::None),
];

pub(super) const RETURN_ITEM_COLLECTION_METRICS: &[(&str, ReturnItemCollectionMetrics)] =
    &[("SIZE", ReturnItemCollectionMetrics::Size), ("NONE", ReturnItemCollectionMetrics::None)];

pub(super) const RETURN_VALUES_ON_FAILURE: &[(&str, ReturnValuesOnConditionCheckFailure)] = &[
    ("ALL_OLD", ReturnValuesOnConditionCheckFailure::AllOld),
    ("NONE", ReturnValuesOnConditionCheckFailure::None),
];

pub(super) const RETURN_VALUES: &[(&str, ReturnValues)] = &[
    ("ALL_NEW", ReturnValues::AllNew),
    ("UPDATED_OLD", ReturnValues::UpdatedOld),
    ("ALL_OLD", ReturnValues::AllOld),
    ("NONE", ReturnValues::None),
    ("UPDATED_NEW", ReturnValues::UpdatedNew),
];

pub(super) const SELECT: &[(&str, Select)] = &[
    ("SPECIFIC_ATTRIBUTES", Select::SpecificAttributes),
    ("COUNT", Select::Count),
    ("ALL_ATTRIBUTES", Select::AllAttributes),
    ("ALL_PROJECTED_ATTRIBUTES", Select::AllProjectedAttributes),
];

pub(super) const BILLING_MODE: &[(&str, BillingMode)] =
    &[("PROVISIONED", BillingMode::Provisioned), ("PAY_PER_REQUEST", BillingMode::PayPerRequest)];

pub(super) const KEY_TYPE: &[(&str, KeyType)] =
    &[("HASH", KeyType::Hash), ("RANGE", KeyType::Range)];

pub(super) const ATTRIBUTE_TYPE: &[(&str, ScalarAttributeType)] =
    &[("B", ScalarAttributeType::B), ("N", ScalarAttributeType::N), ("S", ScalarAttributeType::S)];

pub(super) const TABLE_STATUS: &[(&str, TableStatus)] = &[
    ("CREATING", TableStatus::Creating),
    ("ACTIVE", TableStatus::Active),
    ("UPDATING", TableStatus::Updating),
    ("DELETING", TableStatus::Deleting),
];

/// How the enumeration `values` names `value`.
pub(super) fn name_of<T: PartialEq>(values: &[(&'static str, T)], value: &T) -> &'static str {
    values
        .iter()
        .find(|(_, listed)| listed == value)
        .map(|(name, _)| *name)
        .expect("invariant: every value of the enumeration is listed")
}

/// Checks the names and values of a request's expressions, which comes before its other attribute values; the values.
/// `expressions` are those that the operation has, and whether each was sent.
pub(super) fn placeholders(
    names: Option<&ExpressionAttributeNames>,
    values: Option<ExpressionValues>,
    expressions: &[(&str, bool)],
) -> Result<Option<ExpressionAttributeValues>, WireError> {
    let (mut values, problem) = match values {
        Some(ExpressionValues { values, problem }) => (Some(values), problem),
        None => (None, None),
    };
    prepare_placeholders(names, values.as_mut(), expressions)?;
    problem.map_or(Ok(values), |problem| Err(problem.into()))
}

/// Writes a structure's members as JSON, leaving out those that are `None`.
pub(crate) struct Writer<M>(M);

impl<M: SerializeMap> Writer<M> {
    pub(crate) fn start<S>(serializer: S) -> Result<Self, S::Error>
    where
        S: Serializer<SerializeMap = M, Error = M::Error>,
    {
        serializer.serialize_map(None).map(Self)
    }

    pub(crate) fn member(mut self, name: &str, value: impl Serialize) -> Result<Self, M::Error> {
        self.0.serialize_entry(name, &value)?;
        Ok(self)
    }

    pub(crate) fn optional(
        self,
        name: &str,
        value: Option<impl Serialize>,
    ) -> Result<Self, M::Error> {
        match value {
            Some(value) => self.member(name, value),
            None => Ok(self),
        }
    }

    pub(crate) fn end(self) -> Result<M::Ok, M::Error> {
        self.0.end()
    }
}

/// Makes a `Serialize` type of a closure over a [`Writer`].
macro_rules! serialize_members {
    ($visibility:vis $type:ident, $source:ty, |$value:ident, $writer:ident| $body:expr) => {
        #[doc = concat!("The JSON of a [`", stringify!($source), "`].")]
        $visibility struct $type<'a>($visibility &'a $source);

        impl serde::Serialize for $type<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self.0;
                let $writer = $crate::operation::shared::Writer::start(serializer)?;
                $body.end()
            }
        }
    };
}
pub(super) use serialize_members;

/// `ConsumedCapacity`.
pub(super) struct CapacityOut<'a>(pub(super) &'a ConsumedCapacity);

impl Serialize for CapacityOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let capacity = self.0;
        let used_for = |wanted: CapacityUse| {
            (capacity.capacity_use == Some(wanted)).then_some(capacity.capacity_units)
        };
        Writer::start(serializer)?
            .member("TableName", &capacity.table_name)?
            .member("CapacityUnits", capacity.capacity_units)?
            .optional(READ_UNITS, used_for(CapacityUse::Reads))?
            .optional(WRITE_UNITS, used_for(CapacityUse::Writes))?
            .optional("Table", capacity.table.map(|units| UnitsOut(units, capacity.capacity_use)))?
            .optional(
                "LocalSecondaryIndexes",
                capacity
                    .local_secondary_indexes
                    .as_ref()
                    .map(|shares| SharesOut(shares, capacity.capacity_use)),
            )?
            .optional(
                "GlobalSecondaryIndexes",
                capacity
                    .global_secondary_indexes
                    .as_ref()
                    .map(|shares| SharesOut(shares, capacity.capacity_use)),
            )?
            .end()
    }
}

/// The capacity of several tables.
pub(super) struct CapacitiesOut<'a>(pub(super) &'a [ConsumedCapacity]);

impl Serialize for CapacitiesOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(CapacityOut))
    }
}

/// The member of responses.
pub(super) const COLLECTION_METRICS: &str = "ItemCollectionMetrics";

/// `ItemCollectionMetrics`.
pub(super) struct CollectionOut<'a>(pub(super) &'a ItemCollectionMetrics);

impl Serialize for CollectionOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Writer::start(serializer)?
            .member("ItemCollectionKey", ItemOut(&self.0.item_collection_key))?
            .member("SizeEstimateRangeGB", self.0.size_estimate_range_gb)?
            .end()
    }
}

/// The same of several tables.
pub(super) struct CollectionsOut<'a>(pub(super) &'a BTreeMap<String, Vec<ItemCollectionMetrics>>);

impl Serialize for CollectionsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|(table, found)| (table, found.iter().map(CollectionOut).collect::<Vec<_>>())),
        )
    }
}

const READ_UNITS: &str = "ReadCapacityUnits";
const WRITE_UNITS: &str = "WriteCapacityUnits";

/// The shares of indexes, by name.
struct SharesOut<'a>(&'a BTreeMap<String, f64>, Option<CapacityUse>);

impl Serialize for SharesOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let share = |(name, units): (&'_ String, &f64)| (name.clone(), UnitsOut(*units, self.1));
        serializer.collect_map(self.0.iter().map(share))
    }
}

/// `Capacity`.
struct UnitsOut(f64, Option<CapacityUse>);

impl Serialize for UnitsOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let writer = Writer::start(serializer)?.member("CapacityUnits", self.0)?;
        match self.1 {
            None => writer,
            Some(CapacityUse::Reads) => writer.member(READ_UNITS, self.0)?,
            Some(CapacityUse::Writes) => writer.member(WRITE_UNITS, self.0)?,
        }
        .end()
    }
}

/// A time as the service tells it: in seconds with a fraction.
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// `TableDescription`.
pub(super) struct DescriptionOut<'a>(pub(super) &'a TableDescription);

impl Serialize for DescriptionOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let table = self.0;
        let status = name_of(TABLE_STATUS, &table.table_status);
        let definitions: Vec<_> = table.attribute_definitions.iter().map(DefinitionOut).collect();
        let local: Vec<_> = table.local_secondary_indexes.iter().map(LocalOut).collect();
        let global: Vec<_> = table.global_secondary_indexes.iter().map(GlobalOut).collect();
        let key: Vec<_> = table.key_schema.iter().map(KeyElementOut).collect();
        let created = seconds(table.creation_date_time_ms);
        // Of a table that never was anything else, the service does not say that it is provisioned.
        let has_billing = table.billing_mode == BillingMode::PayPerRequest
            || table.options.last_update_to_pay_per_request_date_time_ms.is_some();
        let options = &table.options;
        Writer::start(serializer)?
            .member("AttributeDefinitions", definitions)?
            .member("TableName", &table.table_name)?
            .member("KeySchema", key)?
            .member("TableStatus", status)?
            .member("CreationDateTime", created)?
            .member("ProvisionedThroughput", TableThroughputOut(table))?
            .member("TableSizeBytes", table.table_size_bytes)?
            .member("ItemCount", table.item_count)?
            .member("TableArn", &table.table_arn)?
            .member("TableId", &table.table_id)?
            .optional("BillingModeSummary", has_billing.then_some(BillingOut(table)))?
            .optional("LocalSecondaryIndexes", (!local.is_empty()).then_some(local))?
            .optional("GlobalSecondaryIndexes", (!global.is_empty()).then_some(global))?
            .optional("SSEDescription", options.sse.as_ref().map(SseOut))?
            .optional("TableClassSummary", options.table_class.map(TableClassOut))?
            .member("DeletionProtectionEnabled", table.deletion_protection_enabled)?
            .optional("OnDemandThroughput", options.on_demand_throughput.map(OnDemandOut))?
            .optional("WarmThroughput", options.warm_throughput.map(WarmOut))?
            .end()
    }
}

pub(super) struct DefinitionOut<'a>(pub(super) &'a AttributeDefinition);

impl Serialize for DefinitionOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Writer::start(serializer)?
            .member("AttributeName", &self.0.attribute_name)?
            .member("AttributeType", name_of(ATTRIBUTE_TYPE, &self.0.attribute_type))?
            .end()
    }
}

pub(super) struct KeyElementOut<'a>(pub(super) &'a KeySchemaElement);

impl Serialize for KeyElementOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Writer::start(serializer)?
            .member("AttributeName", &self.0.attribute_name)?
            .member("KeyType", name_of(KEY_TYPE, &self.0.key_type))?
            .end()
    }
}

struct TableThroughputOut<'a>(&'a TableDescription);

impl Serialize for TableThroughputOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let throughput = self.0.provisioned_throughput;
        let options = &self.0.options;
        Writer::start(serializer)?
            .optional("LastIncreaseDateTime", options.last_increase_date_time_ms.map(seconds))?
            .optional("LastDecreaseDateTime", options.last_decrease_date_time_ms.map(seconds))?
            .member("NumberOfDecreasesToday", options.number_of_decreases_today)?
            .member("ReadCapacityUnits", throughput.read_capacity_units)?
            .member("WriteCapacityUnits", throughput.write_capacity_units)?
            .end()
    }
}

struct BillingOut<'a>(&'a TableDescription);

impl Serialize for BillingOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let switched = self.0.options.last_update_to_pay_per_request_date_time_ms;
        Writer::start(serializer)?
            .member("BillingMode", name_of(BILLING_MODE, &self.0.billing_mode))?
            .optional("LastUpdateToPayPerRequestDateTime", switched.map(seconds))?
            .end()
    }
}
