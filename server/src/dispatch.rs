//! From a request's target and body to the bytes of its answer. Called by `http.rs`; calls one operation.
//! Never panics on what a client sends.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::body::RequestBody;
use crate::compatibility;
use crate::error::WireError;
use crate::inline::{InlineReads, caught, while_fast};
use crate::limits::Budgets;
use crate::logged::Logged;
use crate::message;
use crate::operation::{self, Awaited, Blocking, PendingAnswer, not_enabled, run, start};
use crate::service::Service;

type RunFn = fn(&dyn Service, &[u8]) -> Result<Vec<u8>, WireError>;
type StartFn = fn(Arc<dyn Service>, &[u8]) -> Result<PendingAnswer, WireError>;

/// How an operation is run.
#[derive(Clone, Copy)]
enum Handler {
    /// At once, with the request's `Host`: it needs neither tables nor time.
    Host(fn(&str, &[u8]) -> Result<Vec<u8>, WireError>),
    /// On a thread that may block.
    Blocking(RunFn),
    /// Where the connection is served, as long as such reads are fast; otherwise as `Blocking`.
    Read(RunFn),
    /// Started and awaited where the connection is served, as long as reads are fast and the body is short; otherwise
    /// on a thread that may block.
    Awaited(StartFn),
}

/// Bytes of the longest body that is parsed between other requests instead of on a thread that may block: a
/// millisecond's work at most.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// What a byte of a request's body costs as the values that it is read into.
const READ_COST_FACTOR: usize = 4;

/// An operation of this server.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    handler: Handler,
    answer_cost: AnswerCost,
}

/// What is set aside for an answer that is being made: the most bytes of items that it may have, where those are many.
#[derive(Clone, Copy)]
enum AnswerCost {
    Bytes(usize),
    /// Of a write: an item, where the request may ask for one. So that writes that wait for each other's commits do not
    /// use up what all small operations need, those that answer nothing do not pay for it.
    ItemIfAsked,
    /// The same of a transaction, which may ask for several.
    ItemsIfAsked,
}

/// An item and more.
const ITEM_COST_BYTES: usize = 512 << 10;
/// The items of a transaction, and more.
const ITEMS_COST_BYTES: usize = 6 << 20;
const NO_ITEM_COST_BYTES: usize = 16 << 10;
/// All tags of a table.
const TAGS_COST_BYTES: usize = 128 << 10;

impl AnswerCost {
    fn bytes(self, body: &[u8]) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::ItemIfAsked if may_ask_for_item(body) => ITEM_COST_BYTES,
            Self::ItemsIfAsked if may_ask_for_item(body) => ITEMS_COST_BYTES,
            Self::ItemIfAsked | Self::ItemsIfAsked => NO_ITEM_COST_BYTES,
        }
    }
}

/// Whether a write may ask for an item, without reading it: what asks for one ends in one of these, or is written with
/// escapes.
fn may_ask_for_item(body: &[u8]) -> bool {
    let is_sign = |window: &[u8]| window[0] == b'\\' || window == b"_OLD" || window == b"_NEW";
    body.len() > INLINE_BYTES_MAX || body.windows(4).any(is_sign)
}

const fn blocking<O: Blocking>(name: &'static str, answer_cost_bytes: usize) -> Target {
    let answer_cost = AnswerCost::Bytes(answer_cost_bytes);
    Target { name, handler: Handler::Blocking(run::<O>), answer_cost }
}

const fn short(name: &'static str, run: RunFn) -> Target {
    let answer_cost = AnswerCost::Bytes(NO_ITEM_COST_BYTES);
    Target { name, handler: Handler::Blocking(run), answer_cost }
}

const fn read<O: Blocking>(name: &'static str, answer_cost_bytes: usize) -> Target {
    let answer_cost = AnswerCost::Bytes(answer_cost_bytes);
    Target { name, handler: Handler::Read(run::<O>), answer_cost }
}

const fn awaited<O: Awaited + 'static>(name: &'static str, answer_cost: AnswerCost) -> Target {
    Target { name, handler: Handler::Awaited(start::<O>), answer_cost }
}

/// Every operation that is here.
const TARGETS: &[Target] = &[
    blocking::<operation::BatchGetItem>("BatchGetItem", 24 << 20),
    awaited::<operation::BatchWriteItem>("BatchWriteItem", AnswerCost::Bytes(NO_ITEM_COST_BYTES)),
    blocking::<operation::CreateTable>("CreateTable", 16 << 10),
    awaited::<operation::DeleteItem>("DeleteItem", AnswerCost::ItemIfAsked),
    blocking::<operation::DeleteTable>("DeleteTable", 16 << 10),
    blocking::<operation::DescribeTable>("DescribeTable", 16 << 10),
    read::<operation::GetItem>("GetItem", ITEM_COST_BYTES),
    blocking::<operation::ListTables>("ListTables", 16 << 10),
    awaited::<operation::PutItem>("PutItem", AnswerCost::Bytes(NO_ITEM_COST_BYTES)),
    blocking::<operation::Query>("Query", 2 << 20),
    blocking::<operation::Scan>("Scan", 2 << 20),
    blocking::<operation::TransactGetItems>("TransactGetItems", ITEMS_COST_BYTES),
    awaited::<operation::TransactWriteItems>("TransactWriteItems", AnswerCost::ItemsIfAsked),
    awaited::<operation::UpdateItem>("UpdateItem", AnswerCost::ItemIfAsked),
    blocking::<operation::ListTagsOfResource>("ListTagsOfResource", TAGS_COST_BYTES),
    short("TagResource", operation::tags::tag_resource),
    short("UntagResource", operation::tags::untag_resource),
    blocking::<operation::UpdateTable>("UpdateTable", 16 << 10),
    Target {
        name: "DescribeEndpoints",
        handler: Handler::Host(not_enabled::describe_endpoints),
        answer_cost: AnswerCost::Bytes(NO_ITEM_COST_BYTES),
    },
    short("DescribeBackup", not_enabled::describe_backup),
    short("DescribeContinuousBackups", not_enabled::describe_continuous_backups),
    short("DescribeContributorInsights", not_enabled::describe_contributor_insights),
    short("DescribeExport", not_enabled::describe_export),
    short("DescribeGlobalTable", not_enabled::describe_global_table),
    short("DescribeGlobalTableSettings", not_enabled::describe_global_table),
    short("DescribeImport", not_enabled::describe_import),
    short("DescribeKinesisStreamingDestination", not_enabled::describe_kinesis_streaming),
    short("DescribeLimits", not_enabled::describe_limits),
    short("DescribeTableReplicaAutoScaling", not_enabled::describe_replica_auto_scaling),
    short("DescribeTimeToLive", not_enabled::describe_time_to_live),
    short("GetResourcePolicy", not_enabled::get_resource_policy),
    short("ListBackups", not_enabled::list_backups),
    short("ListContributorInsights", not_enabled::list_contributor_insights),
    short("ListExports", not_enabled::list_exports),
    short("ListGlobalTables", not_enabled::list_global_tables),
    short("ListImports", not_enabled::list_imports),
    short("ListStreams", not_enabled::list_streams),
];

/// Which operation the header names.
pub(crate) fn find(header: Option<&str>) -> Result<Target, WireError> {
    let (name, _) =
        header.and_then(compatibility::operation).ok_or_else(WireError::unknown_operation)?;
    let target = TARGETS.iter().find(|target| target.name == name);
    target.copied().ok_or_else(|| WireError::operation_not_available(name))
}

impl Target {
    /// Runs the operation on a body. It goes on where the client goes away, because a write may be under way, and a
    /// panic in it ends nothing else. First it waits until what it may cost is free, which other clients cannot prevent:
    /// nothing that it waits for depends on a client.
    pub(crate) async fn run(
        self,
        service: Arc<dyn Service>,
        budgets: &Budgets,
        reads: &Arc<InlineReads>,
        host: &str,
        body: RequestBody,
    ) -> Result<Bytes, WireError> {
        let answer_cost = self.answer_cost.bytes(body.bytes());
        let cost = answer_cost + body.bytes().len() * READ_COST_FACTOR;
        let cost = budgets.work(cost).await;
        let (responses, no_room): (_, fn() -> WireError) = match self.handler {
            Handler::Host(_) | Handler::Blocking(_) | Handler::Read(_) => {
                (&budgets.read_responses, WireError::responses_overloaded)
            }
            Handler::Awaited(_) => (&budgets.write_responses, WireError::write_unanswered),
        };
        let responses = responses.clone();
        let finish = move |answer: Result<Vec<u8>, WireError>| {
            let answer = match answer {
                Ok(answer) => responses.hold(answer).ok_or_else(no_room),
                Err(error) => Err(error.held(|body| responses.hold(body))),
            };
            drop(cost);
            answer
        };
        let outcome = match self.handler {
            Handler::Host(handler) => Ok(finish(handler(host, body.bytes()))),
            Handler::Blocking(handler) => {
                blocking_task(move || finish(handler(service.as_ref(), body.bytes()))).await
            }
            Handler::Read(handler) => {
                let (_, is_fast) = reads.begin();
                let is_inline = is_fast && body.bytes().len() <= INLINE_BYTES_MAX;
                let reads = Arc::clone(reads);
                let work = move || {
                    let (begun, _) = reads.begin();
                    let answer = handler(service.as_ref(), body.bytes());
                    // A large item takes its time without any waiting.
                    let answer_len = answer.as_ref().map_or(0, Vec::len);
                    reads.end(begun, body.bytes().len() + answer_len);
                    finish(answer)
                };
                if is_inline {
                    caught(work).map_err(|panicked| panicked.0)
                } else {
                    blocking_task(work).await
                }
            }
            Handler::Awaited(handler) => {
                // A write reads too: what it replaces.
                let (_, is_fast) = reads.begin();
                let is_inline = is_fast && body.bytes().len() <= INLINE_BYTES_MAX;
                let timing = Arc::clone(reads);
                let operation = async move {
                    let mut pending = handler(service, body.bytes())?;
                    // Each time anew: where it has waited for a lock, it reads only after that.
                    let timed = |context: &mut Context<'_>| {
                        let (begun, _) = timing.begin();
                        let progress = pending.as_mut().poll(context);
                        timing.end(begun, body.bytes().len());
                        progress
                    };
                    finish(poll_fn(timed).await)
                };
                if is_inline {
                    while_fast(operation, reads).await.map_err(|panicked| panicked.0)
                } else {
                    blocking_task(move || Handle::current().block_on(operation)).await
                }
            }
        };
        outcome.unwrap_or_else(|panic| Err(panicked(self.name, &panic)))
    }
}

/// Runs `work` on a thread that may block; the text of its panic.
pub(crate) async fn blocking_task<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| panic.to_string())
}

/// Logs that a request panicked, and what its client is told.
pub(crate) fn panicked(operation: &str, panic: &str) -> WireError {
    tracing::error!(operation, "a request panicked: {}", Logged(panic));
    WireError::internal(message::FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compatibility::Support;

    #[test]
    fn writes_that_ask_for_an_item_pay_for_it() {
        let cost = |operation: &str, body: &str| {
            let target = find(Some(&format!("DynamoDB_20120810.{operation}"))).ok().unwrap();
            target.answer_cost.bytes(body.as_bytes())
        };
        for operation in ["UpdateItem", "DeleteItem"] {
            for shown in ["ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW", "\\u0041LL_\\u004fLD"]
            {
                let body = format!(r#"{{"ReturnValues":"{shown}"}}"#);
                assert_eq!(cost(operation, &body), ITEM_COST_BYTES, "{body}");
            }
            assert_eq!(cost(operation, r#"{"ReturnValues":"NONE"}"#), NO_ITEM_COST_BYTES);
            assert_eq!(cost(operation, &" ".repeat(INLINE_BYTES_MAX + 1)), ITEM_COST_BYTES);
        }
        assert_eq!(cost("GetItem", "{}"), ITEM_COST_BYTES);
        assert_eq!(cost("TransactWriteItems", "ALL_OLD"), ITEMS_COST_BYTES);
        assert_eq!(cost("TransactWriteItems", "NONE"), NO_ITEM_COST_BYTES);
    }

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
            message(Some("DynamoDB_20120810.RestoreTableFromBackup")),
            "UnknownOperationException: RestoreTableFromBackup is not available in this version of Esker"
        );
    }

    #[test]
    fn what_is_here_is_what_the_list_of_operations_says() {
        for interface in [&compatibility::TABLES, &compatibility::STREAMS] {
            for (name, support) in interface.operations {
                let found = find(Some(&format!("{}{name}", interface.target_prefix)));
                assert_eq!(found.is_ok(), *support != Support::Absent, "{name}");
            }
        }
    }
}
