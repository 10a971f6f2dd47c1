//! Messages of the operations that create and change tables, beside those of keys and indexes.

use super::INVALID_PARAMETERS;

// UpdateTable.
pub(crate) const NOTHING_TO_UPDATE: &str = "At least one of ProvisionedThroughput, BillingMode, \
     UpdateStreamEnabled, GlobalSecondaryIndexUpdates, SSESpecification, ReplicaUpdates, \
     MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, \
     DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or TableClass is required";
pub(crate) const SSE_ALONE: &str = "One or more parameter values were invalid: Server-Side \
     Encryption modification must be the only operation in the request";
pub(crate) const TABLE_CLASS_ALONE: &str = "One or more parameter values were invalid: TableClass \
     modification must be the only operation in the request";
pub(crate) const DELETION_PROTECTION_ALONE: &str = "One or more parameter values were invalid: \
     DeletionProtection modification must be the only operation in the request";
pub(crate) const WARM_THROUGHPUT_ALONE: &str = "One or more parameter values were invalid: \
     WarmThroughput must be the only operation in the request";
pub(crate) const ON_DEMAND_WITH_BILLING: &str = "One or more parameter values were invalid: \
     OnDemandThroughput can only be combined with BillingMode in an UpdateTable request";
pub(crate) const STREAM_WITH_THROUGHPUT: &str = "One or more parameter values were invalid: You \
     cannot modify stream status while updating table IOPS";
pub(crate) const SWITCH_NEEDS_THROUGHPUT: &str = "One or more parameter values were invalid: \
     ProvisionedThroughput must be specified when BillingMode is PROVISIONED";
pub(crate) const ENABLED_STREAM_NEEDS_TYPE: &str = "One or more parameter values were invalid: If \
     stream is being enabled then UpdateViewType is required";
pub(crate) const DISABLED_STREAM_HAS_TYPE: &str = "One or more parameter values were invalid: If \
     stream is being disabled, then UpdateViewType must not be specified";
pub(crate) const ENCRYPTED_BY_DEFAULT: &str =
    "One or more parameter values were invalid: Table is already encrypted by default";
pub(crate) const ENCRYPTED_WITH_KEY: &str = "One or more parameter values were invalid: Table is \
     already encrypted with given KMSMasterKeyId. Use KMSMasterKeyId parameter if you want to \
     change Master Key";

pub(crate) fn switch_needs_index_throughput(index: &str) -> String {
    format!("{INVALID_PARAMETERS}ProvisionedThroughput must be specified for index: {index}")
}

pub(crate) const EMPTY_INDEX_UPDATE: &str = "One or more parameter values were invalid: One of \
     GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, \
     GlobalSecondaryIndexUpdate.Delete must not be null";
pub(crate) const ONE_ONLINE_INDEX: &str = "Subscriber limit exceeded: Only 1 online index can be \
     created or deleted simultaneously per table";
pub(crate) const INDEX_EXISTS: &str = "Attempting to create an index which already exists";
const IN_USE: &str = "Attempt to change a resource which is still in use: ";

pub(crate) fn repeated_index_update(index: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Only one global secondary index update per index is allowed \
         simultaneously. Index: {index}"
    )
}

pub(crate) fn changed_index_not_found(index: &str, table: &str) -> String {
    format!("Requested resource not found: Index {index} for table {table}")
}

pub(crate) fn index_being_deleted(table: &str, index: &str) -> String {
    format!("{IN_USE}Index is being deleted. Table: {table} Index: {index}")
}

pub(crate) fn index_being_allocated(table: &str, index: &str) -> String {
    format!(
        "{IN_USE}Index creation is in resource allocation phase. Retry deletion during backfilling \
         phase or when the index is active. Table: {table} Index: {index}"
    )
}

pub(crate) fn table_being_updated(table: &str) -> String {
    format!("{IN_USE}Table is being updated: {table}")
}

/// `read` and `write` are both what is and what was asked for.
pub(crate) fn index_throughput_unchanged(index: &str, read: i64, write: i64) -> String {
    format!(
        "The provisioned throughput for the index {index} will not change. The requested value \
         equals the current value. Current ReadCapacityUnits provisioned for the index: {read}. \
         Requested ReadCapacityUnits: {read}. Current WriteCapacityUnits provisioned for the index: \
         {write}. Requested WriteCapacityUnits: {write}. Refer to the Amazon DynamoDB Developer \
         Guide for current limits and how to request higher limits."
    )
}

pub(crate) fn no_stream_to_disable(table: &str) -> String {
    format!("Table has no stream to disable: TableName: {table}")
}

/// `read` and `write` are both what is and what was asked for.
pub(crate) fn throughput_unchanged(read: i64, write: i64) -> String {
    format!(
        "The provisioned throughput for the table will not change. The requested value equals the \
         current value. Current ReadCapacityUnits provisioned for the table: {read}. Requested \
         ReadCapacityUnits: {read}. Current WriteCapacityUnits provisioned for the table: {write}. \
         Requested WriteCapacityUnits: {write}. Refer to the Amazon DynamoDB Developer Guide for \
         current limits and how to request higher limits."
    )
}

// Options of CreateTable and UpdateTable. `which` is the name of one of the limits.
pub(crate) fn on_demand_of_new_provisioned(which: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}{which} for OnDemandThroughput cannot be specified when table \
         BillingMode is PROVISIONED."
    )
}

pub(crate) fn on_demand_of_provisioned(which: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}{which} for OnDemandThroughput cannot be specified when the table \
         BillingMode is PROVISIONED"
    )
}

/// `whose` is "table" or, as the service spells it here, "index : NAME".
pub(crate) fn on_demand_out_of_range(which: &str, whose: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Requested {which} for OnDemandThroughput for {whose} is outside of \
         valid range"
    )
}

pub(crate) fn index_on_demand_of_new_provisioned(which: &str, index: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}{which} for OnDemandThroughput for index: {index} cannot be specified \
         when table BillingMode is PROVISIONED."
    )
}

pub(crate) fn index_on_demand_of_provisioned(which: &str, index: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}{which} for OnDemandThroughput for index : {index} cannot be specified \
         when the table BillingMode is PROVISIONED"
    )
}

pub(crate) fn only_on_demand_updates(index: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}The only Updates for index: {index} when TableThroughputMode is \
         PAY_PER_REQUEST can be to OnDemandThroughput, WarmThroughput"
    )
}

pub(crate) fn index_update_needs_units(index: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Both ReadCapacityUnits and WriteCapacityUnits must be specified for \
         index: {index}"
    )
}

pub(crate) fn warm_without_units(index: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}WarmThroughput must have at least one of ReadUnitsPerSecond or \
         WriteUnitsPerSecond specified for index: {index}"
    )
}

/// `whose` is "table" or "index NAME", here and below.
pub(crate) fn warm_below_initial(which: &str, whose: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Requested {which} for WarmThroughput for {whose} is lower than initial \
         throughput for OnDemand. See: https://docs.aws.amazon.com/amazondynamodb/latest/\
         developerguide/on-demand-capacity-mode.html#on-demand-capacity-mode-initial"
    )
}

/// `units` is the member of the provisioned throughput that goes with it.
pub(crate) fn warm_below_provisioned(which: &str, whose: &str, units: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Requested {which} for WarmThroughput for {whose} is lower than {units} \
         of ProvisionedThroughput"
    )
}

pub(crate) fn warm_below_current(which: &str, whose: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Requested {which} for WarmThroughput for {whose} is lower than current \
         WarmThroughput, decreasing WarmThroughput is not supported"
    )
}

pub(crate) const SSE_TYPE_WHILE_OFF: &str =
    "One or more parameter values were invalid: SSEType can not be specified if Enabled is false";
pub(crate) const SSE_KEY_WHILE_OFF: &str = "One or more parameter values were invalid: \
     KMSMasterKeyId can not be specified if Enabled is false";
pub(crate) const SSE_KEY_NEEDS_TYPE: &str = "One or more parameter values were invalid: SSEType \
     KMS is required if KMSMasterKeyId is specified";
pub(crate) const SSE_AES: &str =
    "One or more parameter values were invalid: SSEType AES256 is not supported";
pub(crate) const NEW_STREAM_NEEDS_TYPE: &str = "One or more parameter values were invalid: Table \
     is being created with a stream enabled, UpdateViewType is required";
pub(crate) const NO_STREAM_HAS_TYPE: &str = "One or more parameter values were invalid: Table is \
     being created with a stream disabled, UpdateViewType should not be specified";
pub(crate) const STREAMS_MISSING: &str = "One or more parameter values were invalid: \
     StreamSpecification is not supported in this version of Esker";

// Throttling, beside that of provisioned tables.
pub(crate) const INDEX_THROTTLED: &str = "The level of configured provisioned throughput for one or \
     more global secondary indexes of the table was exceeded. Consider increasing your provisioning \
     level for the under-provisioned global secondary indexes with the UpdateTable API";
pub(crate) const ON_DEMAND_LIMIT: &str =
    "Throughput exceeds the maximum OnDemandThroughput configured on table or index";

// Tags, and the ARNs that they are asked for by.
pub(crate) const NO_TAGS: &str = "Atleast one Tag needs to be provided as Input.";
pub(crate) const NO_TAG_KEYS: &str = "Atleast one Tag Key needs to be provided as Input.";
pub(crate) const TOO_MANY_TAGS: &str =
    "Number of Tags exceed the current limit for the provided ResourceArn";
pub(crate) const NEXT_TOKEN: &str = "The provided NextToken is invalid";
pub(crate) const ACCESS_DENIED: &str = "Access is denied";

pub(crate) fn tag_key_invalid(key: &str) -> String {
    format!("The Tag Key provided is invalid, Key: {key}")
}

pub(crate) fn tag_value_invalid(value: &str) -> String {
    format!("The Tag Value provided is invalid, Value: {value}")
}

pub(crate) fn tag_key_reserved(key: &str) -> String {
    format!("Tag Key cannot be prefixed with aws:, Key: {key}")
}

pub(crate) fn repeated_tag_key(key: &str) -> String {
    format!("Duplicate Tag Keys provided as input: Duplicate Tag Key found {key}")
}

pub(crate) fn not_an_arn(given: &str) -> String {
    format!("{INVALID_PARAMETERS}ARNs must start with 'arn:': {given}")
}

pub(crate) fn not_a_table_arn(arn: &str) -> String {
    format!("{INVALID_PARAMETERS}Provided Arn is not a DynamoDB resource arn: {arn}")
}

pub(crate) fn part_of_table_arn(arn: &str) -> String {
    format!(
        "{INVALID_PARAMETERS}Invalid resource arn provided, only table or stream is accepted. \
         Provided resource arn: {arn}"
    )
}

pub(crate) fn resource_not_found(arn: &str) -> String {
    format!("Requested resource not found: ResourceArn: {arn} not found")
}
