//! ListTables: its request, its response and what it does.

use crate::Tables;
use crate::error::{Result, TableError};
use crate::message;
use crate::schema::check::check_table_name;

const LIMIT_MAX: i32 = 100;

/// Lists the names of tables in UTF-8 order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListTablesRequest {
    /// Names after this one only.
    pub exclusive_start_table_name: Option<String>,
    /// At most so many names: 1 to 100, 100 when absent.
    pub limit: Option<i32>,
}

/// One page of names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListTablesResponse {
    /// The names.
    pub table_names: Vec<String>,
    /// Where the next page starts; absent on the last page.
    pub last_evaluated_table_name: Option<String>,
}

impl Tables {
    /// Lists the names of tables in UTF-8 order, up to 100 a page.
    ///
    /// # Errors
    /// `Validation` for a limit out of range or a start that is no table name.
    pub fn list_tables(&self, request: ListTablesRequest) -> Result<ListTablesResponse> {
        let limit = request.limit.unwrap_or(LIMIT_MAX);
        let must = match limit {
            ..1 => Some("have value greater than or equal to 1"),
            1..=LIMIT_MAX => None,
            _ => Some("have value less than or equal to 100"),
        };
        if let Some(must) = must {
            let error = message::constraint(&limit.to_string(), "limit", must);
            return Err(TableError::validation(message::validation_errors(&[error])));
        }
        let start = request.exclusive_start_table_name.as_deref();
        if let Some(start) = start {
            check_table_name(start, "exclusiveStartTableName")?;
        }
        let limit = usize::try_from(limit).expect("invariant: checked to be positive");
        let (table_names, more) = self.names(start, limit);
        let last_evaluated_table_name = table_names.last().filter(|_| more).cloned();
        Ok(ListTablesResponse { table_names, last_evaluated_table_name })
    }
}
