//! UpdateTable on the wire.

use esker_table::operation::{UpdateTableRequest, UpdateTableResponse};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::{Constraints, Unsupported, or_unsupported};
use super::create_table::{Definition, Throughput, definitions, throughput};
use super::index::{self, UpdateIn};
use super::shared::{BILLING_MODE, DescriptionOut, serialize_members};
use super::table_options::OptionsIn;
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Members};
use crate::service::{Outcome, Service};

/// UpdateTable.
pub(crate) struct UpdateTable;

/// Its members. Definitions of attributes are for new indexes; beside other changes the service does not look at them.
#[derive(Default)]
pub(crate) struct Input {
    table_name: Option<String>,
    billing_mode: Option<String>,
    provisioned_throughput: Option<Throughput>,
    deletion_protection_enabled: Option<bool>,
    options: OptionsIn,
    attribute_definitions: Option<Vec<Definition>>,
    index_updates: Option<Vec<UpdateIn>>,
    unsupported: Unsupported,
}

impl Members for Input {
    const NAME: &'static str = "UpdateTableInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            "BillingMode" => self.billing_mode = json::text(map)?,
            "ProvisionedThroughput" => self.provisioned_throughput = json::structure(map)?,
            "DeletionProtectionEnabled" => self.deletion_protection_enabled = json::flag(map)?,
            "AttributeDefinitions" => self.attribute_definitions = json::list(map)?,
            "GlobalSecondaryIndexUpdates" => self.index_updates = json::list(map)?,
            _ if self.options.member(name, map)? => {}
            _ => or_unsupported!(
                self,
                name,
                map,
                [
                    "DisassociationProtectionEnabled",
                    "GlobalTableSettingsReplicationMode",
                    "GlobalTableWitnessUpdates",
                    "MultiRegionConsistency",
                    "ReplicaUpdates",
                    "VectorIndexUpdates",
                ]
            ),
        }
        Ok(())
    }
}

serialize_members!(Output, UpdateTableResponse, |response, writer| {
    writer.member("TableDescription", DescriptionOut(&response.table_description))?
});

impl Operation for UpdateTable {
    type Input = Input;
    type Request = UpdateTableRequest;
    type Response = UpdateTableResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut checks = Constraints::default();
        let table_name = checks.required(input.table_name, "tableName");
        let billing_mode =
            checks.choice(input.billing_mode.as_deref(), "billingMode", BILLING_MODE);
        let provisioned_throughput = input
            .provisioned_throughput
            .map(|input| throughput(input, "provisionedThroughput", &mut checks));
        let options = input.options.checked(&mut checks);
        let changes_indexes = input.index_updates.as_ref().is_some_and(|list| !list.is_empty());
        let attribute_definitions = input
            .attribute_definitions
            .filter(|_| changes_indexes)
            .map(|list| definitions(list, &mut checks));
        let global_secondary_index_updates = (input.index_updates)
            .map(|list| index::updates(list, "globalSecondaryIndexUpdates", &mut checks));
        checks.check()?;
        let options = options.with_class()?;
        input.unsupported.check()?;
        Ok(UpdateTableRequest {
            table_name,
            billing_mode,
            provisioned_throughput,
            deletion_protection_enabled: input.deletion_protection_enabled,
            table_class: options.table_class,
            sse_specification: options.sse,
            stream_specification: options.stream,
            on_demand_throughput: options.on_demand,
            warm_throughput: options.warm,
            attribute_definitions,
            global_secondary_index_updates,
        })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for UpdateTable {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.update_table(request)
    }
}
