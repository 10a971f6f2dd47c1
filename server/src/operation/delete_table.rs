//! DeleteTable on the wire.

use esker_table::operation::{DeleteTableRequest, DeleteTableResponse};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::Constraints;
use super::shared::{DescriptionOut, serialize_members};
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Members};
use crate::service::{Outcome, Service};

/// DeleteTable.
pub(crate) struct DeleteTable;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    table_name: Option<String>,
}

impl Members for Input {
    const NAME: &'static str = "DeleteTableInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, DeleteTableResponse, |response, writer| {
    writer.member("TableDescription", DescriptionOut(&response.table_description))?
});

impl Operation for DeleteTable {
    type Input = Input;
    type Request = DeleteTableRequest;
    type Response = DeleteTableResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut constraints = Constraints::default();
        let table_name = constraints.required(input.table_name, "tableName");
        constraints.check()?;
        Ok(DeleteTableRequest { table_name })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for DeleteTable {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.delete_table(request)
    }
}
