//! What features that are not here answer to who asks about them, so that tools which look at every feature of a table
//! (Terraform's refresh does) find them switched off instead of an error. `dispatch.rs` calls one function for each
//! operation. What would switch a feature on is refused there as not available.

use esker_table::TableErrorKind;
use esker_table::operation::{DescribeTableRequest, DescribeTableResponse};
use serde::de::MapAccess;
use serde_json::{Value, json};

use super::constraint::Constraints;
use super::shared::{TABLE_STATUS, name_of};
use crate::error::WireError;
use crate::json::{self, Members};
use crate::message;
use crate::service::Service;

type Answer = Result<Vec<u8>, WireError>;

/// A request of which one member counts.
macro_rules! request_by {
    ($request:ident, $member:literal, $path:literal) => {
        #[derive(Default)]
        struct $request(Option<String>);

        impl Members for $request {
            const NAME: &'static str = concat!("RequestBy", $member);

            fn member<'de, A: MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut A,
            ) -> Result<(), A::Error> {
                match name {
                    $member => self.0 = json::text(map)?,
                    _ => json::skip(map)?,
                }
                Ok(())
            }
        }

        impl $request {
            /// The member, which has to be there.
            fn read(body: &[u8]) -> Result<String, WireError> {
                let request: Self = json::read(body)?;
                let mut constraints = Constraints::default();
                let value = constraints.required(request.0, $path);
                constraints.check()?;
                Ok(value)
            }
        }
    };
}

request_by!(ByTable, "TableName", "tableName");
request_by!(ByResource, "ResourceArn", "resourceArn");
request_by!(ByGlobalTable, "GlobalTableName", "globalTableName");
request_by!(ByBackup, "BackupArn", "backupArn");
request_by!(ByExport, "ExportArn", "exportArn");
request_by!(ByImport, "ImportArn", "importArn");

fn answer(value: &Value) -> Answer {
    Ok(json::to_bytes(value))
}

/// The table that a request names, by its name or ARN.
fn table(service: &dyn Service, body: &[u8]) -> Result<DescribeTableResponse, WireError> {
    Ok(service.describe_table(DescribeTableRequest { table_name: ByTable::read(body)? })?)
}

pub(crate) fn describe_time_to_live(service: &dyn Service, body: &[u8]) -> Answer {
    table(service, body)?;
    answer(&json!({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}))
}

pub(crate) fn describe_continuous_backups(service: &dyn Service, body: &[u8]) -> Answer {
    let table_name = ByTable::read(body)?;
    let missing = message::table_not_found(&table_name);
    service.describe_table(DescribeTableRequest { table_name }).map_err(|error| {
        match error.kind() {
            TableErrorKind::ResourceNotFound => {
                WireError::missing("TableNotFoundException", missing)
            }
            _ => error.into(),
        }
    })?;
    answer(&json!({"ContinuousBackupsDescription": {
        "ContinuousBackupsStatus": "DISABLED",
        "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
    }}))
}

pub(crate) fn describe_contributor_insights(service: &dyn Service, body: &[u8]) -> Answer {
    let described = table(service, body)?;
    let name = &described.table.table_name;
    answer(&json!({"TableName": name, "ContributorInsightsStatus": "DISABLED"}))
}

pub(crate) fn describe_kinesis_streaming(service: &dyn Service, body: &[u8]) -> Answer {
    let described = table(service, body)?;
    let name = &described.table.table_name;
    answer(&json!({"TableName": name, "KinesisDataStreamDestinations": []}))
}

pub(crate) fn describe_replica_auto_scaling(service: &dyn Service, body: &[u8]) -> Answer {
    let table = table(service, body)?.table;
    let status = name_of(TABLE_STATUS, &table.table_status);
    answer(&json!({"TableAutoScalingDescription": {
        "TableName": table.table_name, "TableStatus": status, "Replicas": [],
    }}))
}

pub(crate) fn get_resource_policy(service: &dyn Service, body: &[u8]) -> Answer {
    let arn = resource(service, body)?;
    Err(WireError::missing("PolicyNotFoundException", message::policy_not_found(&arn)))
}

/// The ARN of the table that a request is about.
fn resource(service: &dyn Service, body: &[u8]) -> Result<String, WireError> {
    let arn = ByResource::read(body)?;
    if !arn.starts_with("arn:") {
        return Err(WireError::validation(message::not_an_arn(&arn)));
    }
    service.describe_table(DescribeTableRequest { table_name: arn.clone() })?;
    Ok(arn)
}

pub(crate) fn describe_global_table(_: &dyn Service, body: &[u8]) -> Answer {
    let name = ByGlobalTable::read(body)?;
    let message = message::global_table_not_found(&name);
    Err(WireError::missing("GlobalTableNotFoundException", message))
}

pub(crate) fn describe_backup(_: &dyn Service, body: &[u8]) -> Answer {
    let message = message::backup_not_found(&ByBackup::read(body)?);
    Err(WireError::missing("BackupNotFoundException", message))
}

pub(crate) fn describe_export(_: &dyn Service, body: &[u8]) -> Answer {
    let message = message::export_not_found(&ByExport::read(body)?);
    Err(WireError::missing("ExportNotFoundException", message))
}

pub(crate) fn describe_import(_: &dyn Service, body: &[u8]) -> Answer {
    let message = message::import_not_found(&ByImport::read(body)?);
    Err(WireError::missing("ImportNotFoundException", message))
}

/// A request whose members do not matter.
#[derive(Default)]
struct Anything;

impl Members for Anything {
    const NAME: &'static str = "Request";

    fn member<'de, A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        json::skip(map)
    }
}

fn constant(body: &[u8], value: &Value) -> Answer {
    let Anything = json::read(body)?;
    answer(value)
}

pub(crate) fn list_backups(_: &dyn Service, body: &[u8]) -> Answer {
    constant(body, &json!({"BackupSummaries": []}))
}

pub(crate) fn list_contributor_insights(_: &dyn Service, body: &[u8]) -> Answer {
    constant(body, &json!({"ContributorInsightsSummaries": []}))
}

pub(crate) fn list_exports(_: &dyn Service, body: &[u8]) -> Answer {
    constant(body, &json!({"ExportSummaries": []}))
}

pub(crate) fn list_global_tables(_: &dyn Service, body: &[u8]) -> Answer {
    constant(body, &json!({"GlobalTables": []}))
}

pub(crate) fn list_imports(_: &dyn Service, body: &[u8]) -> Answer {
    constant(body, &json!({"ImportSummaryList": []}))
}

pub(crate) fn list_streams(_: &dyn Service, body: &[u8]) -> Answer {
    constant(body, &json!({"Streams": []}))
}

/// The quotas that an account of the service has by default. None of them is a limit here.
pub(crate) fn describe_limits(_: &dyn Service, body: &[u8]) -> Answer {
    constant(
        body,
        &json!({
            "AccountMaxReadCapacityUnits": 80_000, "AccountMaxWriteCapacityUnits": 80_000,
            "TableMaxReadCapacityUnits": 40_000, "TableMaxWriteCapacityUnits": 40_000,
        }),
    )
}

/// Where clients that discover their endpoint are to go: where they are.
pub(crate) fn describe_endpoints(host: &str, body: &[u8]) -> Answer {
    constant(body, &json!({"Endpoints": [{"Address": host, "CachePeriodInMinutes": 1440}]}))
}
