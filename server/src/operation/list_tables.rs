//! ListTables on the wire.

use esker_table::operation::{ListTablesRequest, ListTablesResponse};
use serde::Serialize;
use serde::de::MapAccess;

use super::shared::serialize_members;
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Members};
use crate::service::{Outcome, Service};

/// ListTables.
pub(crate) struct ListTables;

impl Members for ListTablesRequest {
    const NAME: &'static str = "ListTablesInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "ExclusiveStartTableName" => self.exclusive_start_table_name = json::text(map)?,
            "Limit" => self.limit = json::integer(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, ListTablesResponse, |response, writer| {
    writer
        .member("TableNames", &response.table_names)?
        .optional("LastEvaluatedTableName", response.last_evaluated_table_name.as_ref())?
});

impl Operation for ListTables {
    type Input = ListTablesRequest;
    type Request = ListTablesRequest;
    type Response = ListTablesResponse;

    fn request(input: ListTablesRequest) -> Result<Self::Request, WireError> {
        Ok(input)
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for ListTables {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.list_tables(request)
    }
}
