//! What the server needs of the table layer: one blocking method per operation. The dispatcher calls it through
//! this trait, so that the protocol can be tested without a database. Implemented for `Tables`.

use crate::shim::Tables;
use esker_table::TableError;
use esker_table::operation::*;

macro_rules! service {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        /// The operations of the table layer.
        pub(crate) trait Service: Send + Sync + 'static {
            $(
                #[doc = concat!("See [`", stringify!($request), "`].")]
                fn $method(&self, request: $request) -> Result<$response, TableError>;
            )*
        }

        impl Service for Tables {
            $(
                fn $method(&self, request: $request) -> Result<$response, TableError> {
                    // The method of the table layer itself, not of this trait.
                    Tables::$method(self, request)
                }
            )*
        }
    };
}

service! {
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
