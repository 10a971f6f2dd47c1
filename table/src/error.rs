//! The one error type of the crate: a DynamoDB exception and its message. Every operation returns
//! it and the server turns it into a wire error. It must never hold text that `message.rs` does not
//! know, except what the engine reported.

use std::fmt;

use crate::{Item, message};

/// Shorthand for results of this crate.
pub(crate) type Result<T> = std::result::Result<T, TableError>;

/// Which DynamoDB exception an error is; each tells the caller what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TableErrorKind {
    /// The request is wrong: fix the call.
    Validation,
    /// The table (or index) does not exist, or is not ready.
    ResourceNotFound,
    /// The table exists already, or is being created or deleted.
    ResourceInUse,
    /// The condition of a conditional write did not hold.
    ConditionalCheckFailed,
    /// An item collection outgrew the limit of tables with local indexes.
    ItemCollectionSizeLimitExceeded,
    /// Provisioned throughput is used up: retry later.
    ProvisionedThroughputExceeded,
    /// A limit of an on-demand table is reached: retry later.
    Throttling,
    /// A transaction did not commit; `cancellation_reasons` says why, action by action.
    TransactionCanceled,
    /// Another transaction holds an item: retry.
    TransactionConflict,
    /// The transaction with this token has not ended yet: retry.
    TransactionInProgress,
    /// The token belongs to a transaction with other actions: use another one.
    IdempotentParameterMismatch,
    /// The request is about something that this account does not have.
    AccessDenied,
    /// Too many tables or control plane operations at once.
    LimitExceeded,
    /// The engine reported a failure; the message says which.
    Internal,
}

impl TableErrorKind {
    /// The exception's name in the service model, such as `ValidationException`.
    pub const fn exception_name(self) -> &'static str {
        match self {
            Self::Validation => "ValidationException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::ConditionalCheckFailed => "ConditionalCheckFailedException",
            Self::ItemCollectionSizeLimitExceeded => "ItemCollectionSizeLimitExceededException",
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::Throttling => "ThrottlingException",
            Self::TransactionCanceled => "TransactionCanceledException",
            Self::TransactionConflict => "TransactionConflictException",
            Self::TransactionInProgress => "TransactionInProgressException",
            Self::IdempotentParameterMismatch => "IdempotentParameterMismatchException",
            Self::AccessDenied => "AccessDeniedException",
            Self::LimitExceeded => "LimitExceededException",
            Self::Internal => "InternalServerError",
        }
    }
}

/// Why one action of a cancelled transaction stopped it.
#[derive(Clone, Debug, PartialEq)]
pub struct CancellationReason {
    /// The reason's code: `None`, `ConditionalCheckFailed`, `TransactionConflict`, ...
    pub code: String,
    /// What went wrong; absent where the code is `None`.
    pub message: Option<String>,
    /// The item as it was, where the request asked for it.
    pub item: Option<Item>,
}

impl CancellationReason {
    /// Of an action that stopped nothing.
    pub(crate) fn none() -> Self {
        Self { code: "None".to_owned(), message: None, item: None }
    }

    /// Of an action that failed in a way that cancels its transaction; another error is none of the
    /// transaction's.
    pub(crate) fn of(error: TableError) -> Result<Self> {
        let code = match error.kind() {
            TableErrorKind::Validation => "ValidationError",
            TableErrorKind::ConditionalCheckFailed => "ConditionalCheckFailed",
            TableErrorKind::TransactionConflict => "TransactionConflict",
            TableErrorKind::ProvisionedThroughputExceeded => "ProvisionedThroughputExceeded",
            TableErrorKind::Throttling => "ThrottlingError",
            TableErrorKind::ItemCollectionSizeLimitExceeded => "ItemCollectionSizeLimitExceeded",
            _ => return Err(error),
        };
        let Inner { message, item, .. } = *error.inner;
        Ok(Self { code: code.to_owned(), message: Some(message), item })
    }
}

/// What an operation reports when it does not succeed.
#[derive(Clone, Debug, PartialEq)]
pub struct TableError {
    inner: Box<Inner>,
}

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    kind: TableErrorKind,
    message: String,
    item: Option<Item>,
    cancellation_reasons: Vec<CancellationReason>,
}

impl TableError {
    /// An error of a kind with its message.
    pub fn new(kind: TableErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { inner: Box::new(Inner { kind, message, item: None, cancellation_reasons: vec![] }) }
    }

    /// A `ValidationException`.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(TableErrorKind::Validation, message)
    }

    /// A `ResourceNotFoundException`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(TableErrorKind::ResourceNotFound, message)
    }

    /// An `InternalServerError`.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(TableErrorKind::Internal, message)
    }

    /// A `ConditionalCheckFailedException`, with the item where it is to be answered.
    pub(crate) fn condition_failed(item: Option<Item>) -> Self {
        let mut error =
            Self::new(TableErrorKind::ConditionalCheckFailed, message::CONDITION_FAILED);
        error.inner.item = item;
        error
    }

    /// A `TransactionCanceledException`, with a reason for each action.
    pub(crate) fn transaction_canceled(reasons: Vec<CancellationReason>) -> Self {
        let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.as_str()).collect();
        let text = message::transaction_canceled(&codes);
        let mut error = Self::new(TableErrorKind::TransactionCanceled, text);
        error.inner.cancellation_reasons = reasons;
        error
    }

    /// The kind of exception.
    pub fn kind(&self) -> TableErrorKind {
        self.inner.kind
    }

    /// The message, worded as the service words it.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The item that failed a condition, where the request asked for it.
    pub fn item(&self) -> Option<&Item> {
        self.inner.item.as_ref()
    }

    /// One reason per action of a cancelled transaction; empty for every other kind.
    pub fn cancellation_reasons(&self) -> &[CancellationReason] {
        &self.inner.cancellation_reasons
    }
}

/// What the engine reports, as the service would: a dropped keyspace is a deleted table, a full
/// queue is a request to come back later, everything else is the server's own trouble.
impl From<esker::Error> for TableError {
    fn from(error: esker::Error) -> Self {
        match error.kind() {
            esker::ErrorKind::NotFound => Self::not_found(message::TABLE_NOT_FOUND),
            esker::ErrorKind::Busy => {
                Self::new(TableErrorKind::ProvisionedThroughputExceeded, message::THROTTLED)
            }
            _ => Self::internal(error.to_string()),
        }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind().exception_name(), self.message())
    }
}

impl std::error::Error for TableError {}
