//! DescribeTable on the wire.

use esker_table::operation::{DescribeTableRequest, DescribeTableResponse};
use serde::Serialize;
use serde::de::MapAccess;

use super::constraint::Constraints;
use super::shared::{DescriptionOut, serialize_members};
use super::{Blocking, Operation};
use crate::error::WireError;
use crate::json::{self, Members};
use crate::service::{Outcome, Service};

/// DescribeTable.
pub(crate) struct DescribeTable;

/// Its members.
#[derive(Default)]
pub(crate) struct Input {
    table_name: Option<String>,
}

impl Members for Input {
    const NAME: &'static str = "DescribeTableInput";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "TableName" => self.table_name = json::text(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

serialize_members!(Output, DescribeTableResponse, |response, writer| {
    writer.member("Table", DescriptionOut(&response.table))?
});

impl Operation for DescribeTable {
    type Input = Input;
    type Request = DescribeTableRequest;
    type Response = DescribeTableResponse;

    fn request(input: Input) -> Result<Self::Request, WireError> {
        let mut constraints = Constraints::default();
        let table_name = constraints.required(input.table_name, "tableName");
        constraints.check()?;
        Ok(DescribeTableRequest { table_name })
    }

    fn response(response: &Self::Response) -> impl Serialize {
        Output(response)
    }
}

impl Blocking for DescribeTable {
    fn call(service: &dyn Service, request: Self::Request) -> Outcome<Self::Response> {
        service.describe_table(request)
    }
}
