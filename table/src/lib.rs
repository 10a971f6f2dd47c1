//! Tables and items with DynamoDB's semantics on the Esker engine: values, keys, expressions and
//! one file per operation. Called by the server and by programs that embed tables; knows nothing of
//! HTTP or JSON.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod block_on;
mod capacity;
mod catalog;
mod collection;
mod error;
mod expression;
#[doc(hidden)]
pub mod fuzzing;
mod index;
pub mod item;
mod item_lock;
pub mod key_codec;
mod key_schema;
mod message;
mod number;
pub mod operation;
mod page;
pub mod schema;
mod settings;
mod source;
mod spare;
mod stored;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod throttle;
mod transaction;
mod validate;
mod value;
mod write;

pub use collection::MAX_ITEM_COLLECTION_BYTES;
pub use error::{CancellationReason, TableError, TableErrorKind};
pub use index::work::IndexWorkReport;
pub use number::Number;
pub use stored::{
    Miscount, ReplacedEntry, StaleIndex, StoredTable, TablesReport, correct_counts,
    correct_indexes, make_keyspaces, miscounts, replaced_entries, stale_indexes, stored_tables,
    tables_without_keyspace, verify,
};
pub use tables::Tables;
pub use validate::{MAX_ATTRIBUTE_NAME_BYTES, MAX_ITEM_SIZE_BYTES, MAX_NESTING_LEVELS};
pub use value::{AttributeValue, Item};
