//! Secondary indexes on the wire: as requests define them and as descriptions show them. Called by the operations on
//! tables only.

use esker_table::schema::{
    GlobalSecondaryIndex, GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate,
    LocalSecondaryIndex, LocalSecondaryIndexDescription, Projection, ProjectionType,
    ProvisionedThroughput, UpdateGlobalSecondaryIndexAction,
};
use serde::de::MapAccess;
use serde::ser::{Serialize, Serializer};

use super::constraint::Constraints;
use super::create_table::{KeyElement, Throughput, key_schema, throughput};
use super::shared::{KeyElementOut, TABLE_STATUS, Writer, name_of, serialize_members};
use super::table_options::{OnDemandIn, OnDemandOut, WarmIn, WarmOut};
use crate::json::{self, Members};

const PROJECTION_TYPE: &[(&str, ProjectionType)] = &[
    ("ALL", ProjectionType::All),
    ("INCLUDE", ProjectionType::Include),
    ("KEYS_ONLY", ProjectionType::KeysOnly),
];

/// An index as it was sent; a local one has no throughput.
#[derive(Default)]
pub(super) struct IndexIn {
    index_name: Option<String>,
    key_schema: Option<Vec<KeyElement>>,
    projection: Option<ProjectionIn>,
    provisioned_throughput: Option<Throughput>,
    on_demand_throughput: Option<OnDemandIn>,
    warm_throughput: Option<WarmIn>,
}

impl Members for IndexIn {
    const NAME: &'static str = "SecondaryIndex";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "IndexName" => self.index_name = json::text(map)?,
            "KeySchema" => self.key_schema = json::list(map)?,
            "Projection" => self.projection = json::structure(map)?,
            "ProvisionedThroughput" => self.provisioned_throughput = json::structure(map)?,
            "OnDemandThroughput" => self.on_demand_throughput = json::structure(map)?,
            "WarmThroughput" => self.warm_throughput = json::structure(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// A change of a global index as it was sent. What is deleted has only a name.
#[derive(Default)]
pub(super) struct UpdateIn {
    update: Option<IndexIn>,
    create: Option<IndexIn>,
    delete: Option<IndexIn>,
}

impl Members for UpdateIn {
    const NAME: &'static str = "GlobalSecondaryIndexUpdate";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Update" => self.update = json::structure(map)?,
            "Create" => self.create = json::structure(map)?,
            "Delete" => self.delete = json::structure(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct ProjectionIn {
    projection_type: Option<String>,
    non_key_attributes: Option<Vec<String>>,
}

impl Members for ProjectionIn {
    const NAME: &'static str = "Projection";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "ProjectionType" => self.projection_type = json::text(map)?,
            "NonKeyAttributes" => self.non_key_attributes = json::texts(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

fn projection(input: Option<ProjectionIn>, path: &str, checks: &mut Constraints) -> Projection {
    let input = checks.required(input, path);
    let path = format!("{path}.projectionType");
    Projection {
        projection_type: checks.choice(input.projection_type.as_deref(), &path, PROJECTION_TYPE),
        non_key_attributes: input.non_key_attributes,
    }
}

/// The global indexes of the list at `path`.
pub(super) fn global(
    inputs: Vec<IndexIn>,
    path: &str,
    checks: &mut Constraints,
) -> Vec<GlobalSecondaryIndex> {
    let index = |(number, input): (usize, IndexIn)| {
        global_index(input, &format!("{path}.{}.member", number + 1), checks)
    };
    inputs.into_iter().enumerate().map(index).collect()
}

fn global_index(input: IndexIn, path: &str, checks: &mut Constraints) -> GlobalSecondaryIndex {
    let path = |member: &str| format!("{path}.{member}");
    // In the order in which the service lists what is wrong.
    let key_schema = key_schema(input.key_schema, &path("keySchema"), checks);
    let projection = projection(input.projection, &path("projection"), checks);
    GlobalSecondaryIndex {
        index_name: checks.required(input.index_name, &path("indexName")),
        key_schema,
        projection,
        provisioned_throughput: (input.provisioned_throughput)
            .map(|input| throughput(input, &path("provisionedThroughput"), checks)),
        on_demand_throughput: input.on_demand_throughput.map(OnDemandIn::limits),
        warm_throughput: input.warm_throughput.map(WarmIn::units),
    }
}

/// The changes of the list at `path`.
pub(super) fn updates(
    inputs: Vec<UpdateIn>,
    path: &str,
    checks: &mut Constraints,
) -> Vec<GlobalSecondaryIndexUpdate> {
    let change = |(number, input): (usize, UpdateIn)| {
        let path = |member: &str| format!("{path}.{}.member.{member}", number + 1);
        let update = input.update.map(|update| {
            let given_at = path("update.provisionedThroughput");
            let given = update.provisioned_throughput;
            let provisioned_throughput = given.map(|given| throughput(given, &given_at, checks));
            UpdateGlobalSecondaryIndexAction {
                index_name: checks.required(update.index_name, &path("update.indexName")),
                provisioned_throughput,
                on_demand_throughput: update.on_demand_throughput.map(OnDemandIn::limits),
                warm_throughput: update.warm_throughput.map(WarmIn::units),
            }
        });
        let create = input.create.map(|index| global_index(index, &path("create"), checks));
        let delete =
            input.delete.map(|index| checks.required(index.index_name, &path("delete.indexName")));
        GlobalSecondaryIndexUpdate { update, create, delete }
    };
    inputs.into_iter().enumerate().map(change).collect()
}

/// The local indexes of the list at `path`.
pub(super) fn local(
    inputs: Vec<IndexIn>,
    path: &str,
    checks: &mut Constraints,
) -> Vec<LocalSecondaryIndex> {
    let index = |(number, input): (usize, IndexIn)| {
        let path = |member: &str| format!("{path}.{}.member.{member}", number + 1);
        LocalSecondaryIndex {
            index_name: checks.required(input.index_name, &path("indexName")),
            key_schema: key_schema(input.key_schema, &path("keySchema"), checks),
            projection: projection(input.projection, &path("projection"), checks),
        }
    };
    inputs.into_iter().enumerate().map(index).collect()
}

serialize_members!(ProjectionOut, Projection, |projection, writer| {
    let projection_type = projection.projection_type.as_ref();
    writer
        .optional("ProjectionType", projection_type.map(|kind| name_of(PROJECTION_TYPE, kind)))?
        .optional("NonKeyAttributes", projection.non_key_attributes.as_ref())?
});

serialize_members!(pub(super) LocalOut, LocalSecondaryIndexDescription, |index, writer| {
    writer
        .member("IndexName", &index.index_name)?
        .member("KeySchema", index.key_schema.iter().map(KeyElementOut).collect::<Vec<_>>())?
        .member("Projection", ProjectionOut(&index.projection))?
        .member("IndexSizeBytes", index.index_size_bytes)?
        .member("ItemCount", index.item_count)?
        .member("IndexArn", &index.index_arn)?
});

serialize_members!(pub(super) GlobalOut, GlobalSecondaryIndexDescription, |index, writer| {
    writer
        .member("IndexName", &index.index_name)?
        .member("KeySchema", index.key_schema.iter().map(KeyElementOut).collect::<Vec<_>>())?
        .member("Projection", ProjectionOut(&index.projection))?
        .member("IndexStatus", name_of(TABLE_STATUS, &index.index_status))?
        .optional("Backfilling", index.backfilling)?
        .member("ProvisionedThroughput", ThroughputOut(index.provisioned_throughput))?
        .member("IndexSizeBytes", index.index_size_bytes)?
        .member("ItemCount", index.item_count)?
        .member("IndexArn", &index.index_arn)?
        .optional("OnDemandThroughput", index.on_demand_throughput.map(OnDemandOut))?
        .optional("WarmThroughput", index.warm_throughput.map(WarmOut))?
});

/// `ProvisionedThroughputDescription`.
pub(super) struct ThroughputOut(pub(super) ProvisionedThroughput);

impl Serialize for ThroughputOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Writer::start(serializer)?
            .member("NumberOfDecreasesToday", 0)?
            .member("ReadCapacityUnits", self.0.read_capacity_units)?
            .member("WriteCapacityUnits", self.0.write_capacity_units)?
            .end()
    }
}
