//! Stands where the table layer's facade goes: every call fails, and says so.
use esker_table::TableError;
use esker_table::operation::*;
pub(crate) struct Tables;
macro_rules! t { ($($m:ident($r:ident)->$s:ident;)*) => { impl Tables { $(pub(crate) fn $m(&self, _r: $r) -> Result<$s, TableError> { Err(TableError::internal("this build has no tables")) })* } } }
t! {
    create_table(CreateTableRequest) -> CreateTableResponse;
    describe_table(DescribeTableRequest) -> DescribeTableResponse;
    list_tables(ListTablesRequest) -> ListTablesResponse;
    delete_table(DeleteTableRequest) -> DeleteTableResponse;
    put_item(PutItemRequest) -> PutItemResponse;
    get_item(GetItemRequest) -> GetItemResponse;
    delete_item(DeleteItemRequest) -> DeleteItemResponse;
    query(QueryRequest) -> QueryResponse;
    scan(ScanRequest) -> ScanResponse;
    batch_get_item(BatchGetItemRequest) -> BatchGetItemResponse;
    batch_write_item(BatchWriteItemRequest) -> BatchWriteItemResponse;
}
