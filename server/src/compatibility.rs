//! Every operation of the service's two interfaces, and how far each is here: the one list, from which `dispatch.rs`
//! tells an operation that is not here yet from one that never was, and from which `docs/compatibility.md` is written.
//! A test keeps all three in step.

use Support::{Absent, Full, NotEnabled, Partial};

/// How far an operation is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// As the service does it.
    Full,
    /// All but this.
    Partial(&'static str),
    /// The feature is not here, and whoever asks about it is told this.
    NotEnabled(&'static str),
    /// Refused as not available.
    Absent,
}

/// An interface of the service: what `X-Amz-Target` starts with, and its operations.
pub(crate) struct Interface {
    /// As people call it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the document"))]
    pub(crate) name: &'static str,
    pub(crate) target_prefix: &'static str,
    pub(crate) operations: &'static [(&'static str, Support)],
}

pub(crate) const TABLES: Interface = Interface {
    name: "DynamoDB",
    target_prefix: "DynamoDB_20120810.",
    operations: &[
        ("BatchExecuteStatement", Absent),
        ("BatchGetItem", Full),
        ("BatchWriteItem", Full),
        ("CancelBulkOperation", Absent),
        ("CreateBackup", Absent),
        ("CreateGlobalTable", Absent),
        (
            "CreateTable",
            Partial("streams, policies; encryption is shown, files are not encrypted by it"),
        ),
        ("DeleteBackup", Absent),
        ("DeleteItem", Full),
        ("DeleteResourcePolicy", Absent),
        ("DeleteTable", Full),
        ("DescribeBackup", NotEnabled("BackupNotFoundException")),
        ("DescribeBulkOperation", Absent),
        ("DescribeContinuousBackups", NotEnabled("DISABLED")),
        ("DescribeContributorInsights", NotEnabled("DISABLED")),
        ("DescribeEndpoints", Full),
        ("DescribeExport", NotEnabled("ExportNotFoundException")),
        ("DescribeGlobalTable", NotEnabled("GlobalTableNotFoundException")),
        ("DescribeGlobalTableSettings", NotEnabled("GlobalTableNotFoundException")),
        ("DescribeImport", NotEnabled("ImportNotFoundException")),
        ("DescribeKinesisStreamingDestination", NotEnabled("no destinations")),
        ("DescribeLimits", Full),
        ("DescribeTable", Full),
        ("DescribeTableReplicaAutoScaling", NotEnabled("no replicas")),
        ("DescribeTimeToLive", NotEnabled("DISABLED")),
        ("DisableKinesisStreamingDestination", Absent),
        ("EnableKinesisStreamingDestination", Absent),
        ("ExecuteStatement", Absent),
        ("ExecuteTransaction", Absent),
        ("ExportTableToPointInTime", Absent),
        ("GetItem", Full),
        ("GetResourcePolicy", NotEnabled("PolicyNotFoundException")),
        ("ImportTable", Absent),
        ("ListBackups", NotEnabled("none")),
        ("ListBulkOperations", Absent),
        ("ListContributorInsights", NotEnabled("none")),
        ("ListExports", NotEnabled("none")),
        ("ListGlobalTables", NotEnabled("none")),
        ("ListImports", NotEnabled("none")),
        ("ListTables", Full),
        ("ListTagsOfResource", Full),
        ("PutItem", Full),
        ("PutResourcePolicy", Absent),
        ("Query", Full),
        ("RestoreTableFromBackup", Absent),
        ("RestoreTableToPointInTime", Absent),
        ("Scan", Full),
        ("SearchVectors", Absent),
        ("StartBulkPutItems", Absent),
        ("TagResource", Full),
        ("TransactGetItems", Full),
        (
            "TransactWriteItems",
            Partial(
                "transactions of which the items, with what indexes hold of them, exceed 64 MB",
            ),
        ),
        ("UntagResource", Full),
        ("UpdateContinuousBackups", Absent),
        ("UpdateContributorInsights", Absent),
        ("UpdateGlobalTable", Absent),
        ("UpdateGlobalTableSettings", Absent),
        ("UpdateItem", Full),
        ("UpdateKinesisStreamingDestination", Absent),
        ("UpdateTable", Partial("streams, replicas; quotas of changes a day")),
        ("UpdateTableReplicaAutoScaling", Absent),
        ("UpdateTimeToLive", Absent),
    ],
};

pub(crate) const STREAMS: Interface = Interface {
    name: "DynamoDB Streams",
    target_prefix: "DynamoDBStreams_20120810.",
    operations: &[
        ("DescribeStream", Absent),
        ("GetRecords", Absent),
        ("GetShardIterator", Absent),
        ("ListStreams", NotEnabled("none")),
    ],
};

/// What the header `X-Amz-Target` names: the operation's name and how far it is here; `None` for what the service does
/// not have.
pub(crate) fn operation(target: &str) -> Option<(&'static str, Support)> {
    [&TABLES, &STREAMS].into_iter().find_map(|interface| {
        let name = target.strip_prefix(interface.target_prefix)?;
        interface.operations.iter().find(|(known, _)| *known == name).copied()
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// `docs/compatibility.md`.
    fn document() -> String {
        let mut text = String::from(
            "# Compatibility with DynamoDB\n\nEvery operation of the service model of November 2026 (botocore 1.44), and how far it is here. \
             Written from the\nserver's own list; `ESKER_WRITE_DOCS=1 cargo test -p esker-server compatibility` writes it anew.\n",
        );
        for interface in [&TABLES, &STREAMS] {
            let count = |wanted: fn(&Support) -> bool| {
                interface.operations.iter().filter(|(_, support)| wanted(support)).count()
            };
            write!(
                text,
                "\n## {}\n\n{} operations: {} done, {} partial, {} answered as not enabled, {} not available.\n\n\
                 | operation | here | missing, or answered |\n|---|---|---|\n",
                interface.name,
                interface.operations.len(),
                count(|s| *s == Full),
                count(|s| matches!(s, Partial(_))),
                count(|s| matches!(s, NotEnabled(_))),
                count(|s| *s == Absent),
            )
            .unwrap();
            for (name, support) in interface.operations {
                let (here, detail) = match support {
                    Full => ("done", ""),
                    Partial(missing) => ("partial", *missing),
                    NotEnabled(answer) => ("not enabled", *answer),
                    Absent => ("no", ""),
                };
                writeln!(text, "| {name} | {here} | {detail} |").unwrap();
            }
        }
        text.push_str(
            "\nA parameter that is missing here is refused where it asks for something, never ignored. What is not available answers\n\
             `UnknownOperationException` with a message that says so.\n",
        );
        text
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the document is no part of a database")]
    fn the_document_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");
        if std::env::var_os("ESKER_WRITE_DOCS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap() == document(),
            "docs/compatibility.md is out of date: ESKER_WRITE_DOCS=1 cargo test -p esker-server compatibility"
        );
    }

    #[test]
    fn operations_are_listed_once_and_in_order() {
        for interface in [&TABLES, &STREAMS] {
            assert!(interface.operations.is_sorted_by(|(one, _), (next, _)| one < next));
        }
    }
}
