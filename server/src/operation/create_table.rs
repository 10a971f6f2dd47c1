//! CreateTable on the wire.

use esker_table::operation::{CreateTableRequest, CreateTableResponse};
use esker_table::schema::{
    AttributeDefinition, KeySchemaElement, KeyType, ProvisionedThroughput, ScalarAttributeType,
};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::{Constraints, Unsupported, or_unsupported};
use super::index::{self, IndexIn};
use super::shared::{ATTRIBUTE_TYPE, BILLING_MODE, DescriptionOut, KEY_TYPE, serialize_members};
use super::table_options::{OptionsIn, TagIn, tags};
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Members};
use crate::service::{Outcome, Service};

/// CreateTable.
pub(crate) struct CreateTable;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    table_name: Option<String>,
    attribute_definitions: Option<Vec<Definition>>,
    key_schema: Option<Vec<KeyElement>>,
    local_secondary_indexes: Option<Vec<IndexIn>>,
    global_secondary_indexes: Option<Vec<IndexIn>>,
    billing_mode: Option<String>,
    provisioned_throughput: Option<Throughput>,
    deletion_protection_enabled: Option<bool>,
    options: OptionsIn,
    tags: Option<Vec<TagIn>>,
    unsupported: Unsupported,
}

impl Members for Input {
    const NAME: &'static str = "CreateTableInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            "AttributeDefinitions" => self.attribute_definitions = json::list(map)?,
            "KeySchema" => self.key_schema = json::list(map)?,
            "LocalSecondaryIndexes" => self.local_secondary_indexes = json::list(map)?,
            "GlobalSecondaryIndexes" => self.global_secondary_indexes = json::list(map)?,
            "BillingMode" => self.billing_mode = json::text(map)?,
            "ProvisionedThroughput" => self.provisioned_throughput = json::structure(map)?,
            "DeletionProtectionEnabled" => self.deletion_protection_enabled = json::flag(map)?,
            "Tags" => self.tags = json::list(map)?,
            _ if self.options.member(name, map)? => {}
            _ => or_unsupported!(
                self,
                name,
                map,
                ["GlobalTableSettingsReplicationMode", "GlobalTableSourceArn", "ResourcePolicy"]
            ),
        }
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct Definition {
    attribute_name: Option<String>,
    attribute_type: Option<String>,
}

impl Members for Definition {
    const NAME: &'static str = "AttributeDefinition";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "AttributeName" => self.attribute_name = json::text(map)?,
            "AttributeType" => self.attribute_type = json::text(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// An attribute of a key as it was sent.
#[derive(Default)]
pub(super) struct KeyElement {
    attribute_name: Option<String>,
    key_type: Option<String>,
}

impl Members for KeyElement {
    const NAME: &'static str = "KeySchemaElement";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "AttributeName" => self.attribute_name = json::text(map)?,
            "KeyType" => self.key_type = json::text(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// A throughput as it was sent.
#[derive(Default)]
pub(super) struct Throughput {
    read_capacity_units: Option<i64>,
    write_capacity_units: Option<i64>,
}

impl Members for Throughput {
    const NAME: &'static str = "ProvisionedThroughput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "ReadCapacityUnits" => self.read_capacity_units = json::long(map)?,
            "WriteCapacityUnits" => self.write_capacity_units = json::long(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, CreateTableResponse, |response, writer| {
    writer.member("TableDescription", DescriptionOut(&response.table_description))?
});

/// The definitions of attributes.
pub(super) fn definitions(
    inputs: Vec<Definition>,
    checks: &mut Constraints,
) -> Vec<AttributeDefinition> {
    let numbered = inputs.into_iter().enumerate();
    numbered.map(|(index, input)| definition(index, input, checks)).collect()
}

fn definition(index: usize, input: Definition, checks: &mut Constraints) -> AttributeDefinition {
    let path = |member: &str| format!("attributeDefinitions.{}.member.{member}", index + 1);
    let attribute_name = checks.required(input.attribute_name, &path("attributeName"));
    let text = checks.required(input.attribute_type.map(Some), &path("attributeType"));
    let chosen = checks.choice(text.as_deref(), &path("attributeType"), ATTRIBUTE_TYPE);
    // The fallback is never seen: a failure has been noted.
    let attribute_type = chosen.unwrap_or(ScalarAttributeType::S);
    AttributeDefinition { attribute_name, attribute_type }
}

/// The key at `path`, which has to be there.
pub(super) fn key_schema(
    input: Option<Vec<KeyElement>>,
    path: &str,
    checks: &mut Constraints,
) -> Vec<KeySchemaElement> {
    let elements = checks.required(input, path).into_iter().enumerate();
    let element = |(index, input): (usize, KeyElement)| {
        let path = |member: &str| format!("{path}.{}.member.{member}", index + 1);
        let attribute_name = checks.required(input.attribute_name, &path("attributeName"));
        let text = checks.required(input.key_type.map(Some), &path("keyType"));
        let chosen = checks.choice(text.as_deref(), &path("keyType"), KEY_TYPE);
        KeySchemaElement { attribute_name, key_type: chosen.unwrap_or(KeyType::Hash) }
    };
    elements.map(element).collect()
}

/// The throughput at `path`.
pub(super) fn throughput(
    input: Throughput,
    path: &str,
    checks: &mut Constraints,
) -> ProvisionedThroughput {
    let path = |member: &str| format!("{path}.{member}");
    // In the order in which the service lists what is wrong.
    let write_capacity_units =
        checks.required(input.write_capacity_units, &path("writeCapacityUnits"));
    let read_capacity_units =
        checks.required(input.read_capacity_units, &path("readCapacityUnits"));
    ProvisionedThroughput { read_capacity_units, write_capacity_units }
}

impl Operation for CreateTable {
    type Input = Input;
    type Request = CreateTableRequest;
    type Response = CreateTableResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut checks = Constraints::default();
        let mut request = CreateTableRequest {
            table_name: checks.required(input.table_name, "tableName"),
            attribute_definitions: {
                let list = checks.required(input.attribute_definitions, "attributeDefinitions");
                definitions(list, &mut checks)
            },
            key_schema: key_schema(input.key_schema, "keySchema", &mut checks),
            global_secondary_indexes: (input.global_secondary_indexes)
                .map(|indexes| index::global(indexes, "globalSecondaryIndexes", &mut checks)),
            local_secondary_indexes: (input.local_secondary_indexes)
                .map(|indexes| index::local(indexes, "localSecondaryIndexes", &mut checks)),
            billing_mode: checks.choice(input.billing_mode.as_deref(), "billingMode", BILLING_MODE),
            provisioned_throughput: input
                .provisioned_throughput
                .map(|input| throughput(input, "provisionedThroughput", &mut checks)),
            deletion_protection_enabled: input.deletion_protection_enabled,
            ..Default::default()
        };
        let options = input.options.checked(&mut checks);
        checks.check()?;
        let options = options.with_class()?;
        input.unsupported.check()?;
        request.table_class = options.table_class;
        request.sse_specification = options.sse;
        request.stream_specification = options.stream;
        request.on_demand_throughput = options.on_demand;
        request.warm_throughput = options.warm;
        request.tags = input.tags.map(tags).transpose()?;
        Ok(request)
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for CreateTable {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.create_table(request)
    }
}
