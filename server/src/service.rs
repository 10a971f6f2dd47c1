//! What the server needs of the table layer: one method per operation. The dispatcher calls it through this trait, so
//! that the server can be tested against a service that stalls or fails as a test wants it to. Implemented for
//! `Tables`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use esker_table::operation::*;
use esker_table::{TableError, Tables};

/// The outcome of an operation.
pub(crate) type Outcome<T> = Result<T, TableError>;

/// An outcome to wait for.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = Outcome<T>> + Send>>;

macro_rules! service {
    (
        blocking { $($method:ident($request:ident) -> $response:ty;)* }
        awaited { $($awaited:ident($awaited_request:ident) -> $awaited_response:ident;)* }
    ) => {
        /// The operations of the table layer.
        pub(crate) trait Service: Send + Sync + 'static {
            $(
                #[doc = concat!("See [`", stringify!($request), "`]; blocks.")]
                fn $method(&self, request: $request) -> Outcome<$response>;
            )*
            $(
                #[doc = concat!("See [`", stringify!($awaited_request), "`]; does not block on the commit.")]
                fn $awaited(self: Arc<Self>, request: $awaited_request)
                -> Pending<$awaited_response>;
            )*
        }

        impl Service for Tables {
            $(
                fn $method(&self, request: $request) -> Outcome<$response> {
                    // The method of the table layer itself, not of this trait.
                    Tables::$method(self, request)
                }
            )*
            $(
                fn $awaited(self: Arc<Self>, request: $awaited_request)
                -> Pending<$awaited_response> {
                    Box::pin(async move { Tables::$awaited(&self, request).await })
                }
            )*
        }
    };
}

service! {
    blocking {
        create_table(CreateTableRequest) -> CreateTableResponse;
        describe_table(DescribeTableRequest) -> DescribeTableResponse;
        list_tables(ListTablesRequest) -> ListTablesResponse;
        delete_table(DeleteTableRequest) -> DeleteTableResponse;
        update_table(UpdateTableRequest) -> UpdateTableResponse;
        tag_resource(TagResourceRequest) -> ();
        untag_resource(UntagResourceRequest) -> ();
        list_tags_of_resource(ListTagsOfResourceRequest) -> ListTagsOfResourceResponse;
        get_item(GetItemRequest) -> GetItemResponse;
        query(QueryRequest) -> QueryResponse;
        scan(ScanRequest) -> ScanResponse;
        batch_get_item(BatchGetItemRequest) -> BatchGetItemResponse;
        transact_get_items(TransactGetItemsRequest) -> TransactGetItemsResponse;
    }
    awaited {
        put_item_async(PutItemRequest) -> PutItemResponse;
        delete_item_async(DeleteItemRequest) -> DeleteItemResponse;
        update_item_async(UpdateItemRequest) -> UpdateItemResponse;
        batch_write_item_async(BatchWriteItemRequest) -> BatchWriteItemResponse;
        transact_write_items_async(TransactWriteItemsRequest) -> TransactWriteItemsResponse;
    }
}
