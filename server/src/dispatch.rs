//! From a request's target and body to the bytes of its answer. Called by `http.rs`; calls one operation. Knows the
//! names of all operations of the service, so that one that is not here yet is told apart from one that never was.
//! Never panics on what a client sends.

use crate::error::WireError;
use crate::operation::{self, Operation, run};
use crate::service::Service;

/// What `X-Amz-Target` starts with.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// Runs one operation: blocks for as long as the table layer does.
type Handler = fn(&dyn Service, &[u8]) -> Result<Vec<u8>, WireError>;

/// An operation of this server.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    handler: Handler,
}

const fn target<O: Operation>(name: &'static str) -> Target {
    Target { name, handler: run::<O> }
}

/// Every operation that is here.
const TARGETS: &[Target] = &[
    target::<operation::BatchGetItem>("BatchGetItem"),
    target::<operation::BatchWriteItem>("BatchWriteItem"),
    target::<operation::CreateTable>("CreateTable"),
    target::<operation::DeleteItem>("DeleteItem"),
    target::<operation::DeleteTable>("DeleteTable"),
    target::<operation::DescribeTable>("DescribeTable"),
    target::<operation::GetItem>("GetItem"),
    target::<operation::ListTables>("ListTables"),
    target::<operation::PutItem>("PutItem"),
    target::<operation::Query>("Query"),
    target::<operation::Scan>("Scan"),
];

/// Every operation of the service that is not here.
const NOT_AVAILABLE: &[&str] = &[
    "BatchExecuteStatement",
    "CreateBackup",
    "CreateGlobalTable",
    "DeleteBackup",
    "DeleteResourcePolicy",
    "DescribeBackup",
    "DescribeContinuousBackups",
    "DescribeContributorInsights",
    "DescribeEndpoints",
    "DescribeExport",
    "DescribeGlobalTable",
    "DescribeGlobalTableSettings",
    "DescribeImport",
    "DescribeKinesisStreamingDestination",
    "DescribeLimits",
    "DescribeTableReplicaAutoScaling",
    "DescribeTimeToLive",
    "DisableKinesisStreamingDestination",
    "EnableKinesisStreamingDestination",
    "ExecuteStatement",
    "ExecuteTransaction",
    "ExportTableToPointInTime",
    "GetResourcePolicy",
    "ImportTable",
    "ListBackups",
    "ListContributorInsights",
    "ListExports",
    "ListGlobalTables",
    "ListImports",
    "ListTagsOfResource",
    "PutResourcePolicy",
    "RestoreTableFromBackup",
    "RestoreTableToPointInTime",
    "TagResource",
    "TransactGetItems",
    "TransactWriteItems",
    "UntagResource",
    "UpdateContinuousBackups",
    "UpdateContributorInsights",
    "UpdateGlobalTable",
    "UpdateGlobalTableSettings",
    "UpdateItem",
    "UpdateKinesisStreamingDestination",
    "UpdateTable",
    "UpdateTableReplicaAutoScaling",
    "UpdateTimeToLive",
];

/// Which operation the header names.
pub(crate) fn find(header: Option<&str>) -> Result<Target, WireError> {
    let name = header
        .and_then(|header| header.strip_prefix(TARGET_PREFIX))
        .ok_or_else(WireError::unknown_operation)?;
    if let Some(target) = TARGETS.iter().find(|target| target.name == name) {
        return Ok(*target);
    }
    if NOT_AVAILABLE.contains(&name) {
        return Err(WireError::operation_not_available(name));
    }
    Err(WireError::unknown_operation())
}

impl Target {
    /// Runs the operation on a body; blocks.
    pub(crate) fn run(self, service: &dyn Service, body: &[u8]) -> Result<Vec<u8>, WireError> {
        (self.handler)(service, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_or_told_apart() {
        assert_eq!(find(Some("DynamoDB_20120810.GetItem")).map(|t| t.name).ok(), Some("GetItem"));
        let message = |header| find(header).err().unwrap().to_string();
        for unknown in [
            None,
            Some(""),
            Some("GetItem"),
            Some("DynamoDB_20120810"),
            Some("DynamoDB_20120810.getItem"),
            Some("DynamoDB_20111205.GetItem"),
            Some("DynamoDB_20120810.GetItem "),
        ] {
            assert_eq!(message(unknown), "UnknownOperationException", "{unknown:?}");
        }
        assert_eq!(
            message(Some("DynamoDB_20120810.UpdateItem")),
            "UnknownOperationException: UpdateItem is not available in this version of Esker"
        );
        assert!(TARGETS.iter().all(|t| !NOT_AVAILABLE.contains(&t.name)));
    }
}
