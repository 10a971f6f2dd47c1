//! ListTables: its request and response.

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
