//! From a request's target and body to the bytes of its answer. Called by `http.rs`; calls one operation. Knows the
//! names of all operations of the service, so that one that is not here yet is told apart from one that never was.
//! Never panics on what a client sends.

use std::sync::Arc;

use tokio::task::JoinError;

use crate::body::RequestBody;
use crate::error::WireError;
use crate::message;
use crate::operation::{self, Awaited, Blocking, PendingAnswer, run, start};
use crate::service::Service;

/// What `X-Amz-Target` starts with.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

type RunFn = fn(&dyn Service, &[u8]) -> Result<Vec<u8>, WireError>;
type StartFn = fn(Arc<dyn Service>, &[u8]) -> Result<PendingAnswer, WireError>;

/// How an operation is run.
#[derive(Clone, Copy)]
enum Handler {
    /// On a thread that may block. For GetItem too, because a read that waits for the disk would hold up everyone. On
    /// two busy cores this costs about half the point reads per second that a closed loop gets without it.
    Blocking(RunFn),
    /// Started, then awaited.
    Awaited(StartFn),
}

/// Bytes of the longest body that is parsed between other requests instead of on a thread that may block: a
/// millisecond's work at most.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// An operation of this server.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    handler: Handler,
}

const fn blocking<O: Blocking>(name: &'static str) -> Target {
    Target { name, handler: Handler::Blocking(run::<O>) }
}

const fn awaited<O: Awaited + 'static>(name: &'static str) -> Target {
    Target { name, handler: Handler::Awaited(start::<O>) }
}

/// Every operation that is here.
const TARGETS: &[Target] = &[
    blocking::<operation::BatchGetItem>("BatchGetItem"),
    awaited::<operation::BatchWriteItem>("BatchWriteItem"),
    blocking::<operation::CreateTable>("CreateTable"),
    awaited::<operation::DeleteItem>("DeleteItem"),
    blocking::<operation::DeleteTable>("DeleteTable"),
    blocking::<operation::DescribeTable>("DescribeTable"),
    blocking::<operation::GetItem>("GetItem"),
    blocking::<operation::ListTables>("ListTables"),
    awaited::<operation::PutItem>("PutItem"),
    blocking::<operation::Query>("Query"),
    blocking::<operation::Scan>("Scan"),
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
    /// Runs the operation on a body, in a task of its own: it goes on where the client goes away, because a write
    /// may be under way, and a panic in it ends nothing else.
    pub(crate) async fn run(
        self,
        service: Arc<dyn Service>,
        body: RequestBody,
    ) -> Result<Vec<u8>, WireError> {
        let task = match self.handler {
            Handler::Blocking(handler) => {
                tokio::task::spawn_blocking(move || handler(service.as_ref(), &body.bytes))
            }
            Handler::Awaited(handler) if body.bytes.len() <= INLINE_BYTES_MAX => {
                tokio::spawn(async move { handler(service, &body.bytes)?.await })
            }
            Handler::Awaited(handler) => tokio::spawn(async move {
                let start = tokio::task::spawn_blocking(move || handler(service, &body.bytes));
                start.await.map_err(|panic| panicked(self.name, &panic))??.await
            }),
        };
        task.await.map_err(|panic| panicked(self.name, &panic))?
    }
}

fn panicked(operation: &str, panic: &JoinError) -> WireError {
    tracing::error!(operation, "a request panicked: {panic}");
    WireError::internal(message::FAILED)
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
