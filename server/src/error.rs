//! What goes wrong on the wire: an exception of the service with its prefix, HTTP status and message. Built by the
//! JSON reader, the limits, the dispatcher and from `TableError`; written by `response.rs`. Every wording that the
//! server itself contributes is in `message.rs`.

use std::fmt;

use bytes::Bytes;
use esker_table::{CancellationReason, Item, TableError, TableErrorKind};
use serde::{Serialize, Serializer};

use crate::json::{self, ItemOut};
use crate::message;
use crate::operation::Writer;

const DYNAMODB: &str = "com.amazonaws.dynamodb.v20120810#";
const CORAL_SERVICE: &str = "com.amazon.coral.service#";
const CORAL_AVAILABILITY: &str = "com.amazon.coral.availability#";
const CORAL_VALIDATE: &str = "com.amazon.coral.validate#";

/// Bytes of the longest message. Some repeat what the client sent, and that may be megabytes.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// An error as the client sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WireError {
    status: u16,
    prefix: &'static str,
    exception: &'static str,
    message: Option<String>,
    /// The item that failed a condition, where the request asked for it.
    item: Option<Box<Item>>,
    canceled: Option<Box<Canceled>>,
}

/// What is peculiar to a transaction that was cancelled.
#[derive(Clone, Debug, PartialEq)]
struct Canceled {
    /// One for each action.
    reasons: Vec<CancellationReason>,
    /// The error's body, where it has been made before and the items that it has are gone.
    body: Option<Bytes>,
}

impl WireError {
    fn new(
        status: u16,
        prefix: &'static str,
        exception: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push_str("...");
        }
        Self { status, prefix, exception, message: Some(message), item: None, canceled: None }
    }

    /// The request breaks a rule.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, CORAL_VALIDATE, "ValidationException", message)
    }

    /// The body is not JSON, or has a member of the wrong JSON type.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new(400, CORAL_SERVICE, "SerializationException", message)
    }

    /// `X-Amz-Target` is missing or names nothing that the service has; it has no message there.
    pub(crate) fn unknown_operation() -> Self {
        Self {
            status: 400,
            prefix: CORAL_SERVICE,
            exception: "UnknownOperationException",
            message: None,
            item: None,
            canceled: None,
        }
    }

    /// The service has this operation, this version does not.
    pub(crate) fn operation_not_available(operation: &str) -> Self {
        let message = message::operation_not_available(operation);
        Self { message: Some(message), ..Self::unknown_operation() }
    }

    /// What the request names does not exist.
    pub(crate) fn missing(exception: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, DYNAMODB, exception, message)
    }

    /// Neither an `Authorization` header nor a signature in the query.
    pub(crate) fn missing_authentication() -> Self {
        Self::new(
            400,
            CORAL_SERVICE,
            "MissingAuthenticationTokenException",
            message::MISSING_AUTHENTICATION,
        )
    }

    /// What says who signed the request lacks something.
    pub(crate) fn incomplete_signature(message: impl Into<String>) -> Self {
        Self::new(400, CORAL_SERVICE, "IncompleteSignatureException", message)
    }

    /// The signature is not that of this request, or of another time.
    pub(crate) fn invalid_signature(message: impl Into<String>) -> Self {
        Self::new(400, CORAL_SERVICE, "InvalidSignatureException", message)
    }

    /// No such access key.
    pub(crate) fn unrecognized_client() -> Self {
        let message = message::signature::UNRECOGNIZED_CLIENT;
        Self::new(400, CORAL_SERVICE, "UnrecognizedClientException", message)
    }

    /// The `Host` header names something that this server is not.
    pub(crate) fn host_refused() -> Self {
        Self::new(403, CORAL_SERVICE, "AccessDeniedException", message::HOST_REFUSED)
    }

    /// Nothing lives at this path and method.
    pub(crate) fn not_found() -> Self {
        Self { status: 404, ..Self::unknown_operation() }
    }

    /// The body is longer than any request may be.
    pub(crate) fn too_large() -> Self {
        Self::new(413, CORAL_SERVICE, "RequestEntityTooLargeException", message::BODY_TOO_LARGE)
    }

    /// The body is compressed in a way that this server does not know.
    pub(crate) fn unknown_coding(coding: &str) -> Self {
        let message = message::unknown_coding(coding);
        Self::new(415, CORAL_SERVICE, "UnsupportedMediaTypeException", message)
    }

    /// The body did not arrive in time.
    pub(crate) fn timeout() -> Self {
        Self::new(408, CORAL_SERVICE, "RequestTimeoutException", message::BODY_TIMEOUT)
    }

    /// The bytes of all requests together exceed what the server holds; clients retry this.
    pub(crate) fn overloaded() -> Self {
        Self::new(503, CORAL_SERVICE, "ServiceUnavailableException", message::OVERLOADED)
    }

    /// The responses that wait for their clients exceed what the server holds; clients retry this.
    pub(crate) fn responses_overloaded() -> Self {
        let message = message::RESPONSES_OVERLOADED;
        Self::new(503, CORAL_SERVICE, "ServiceUnavailableException", message)
    }

    /// The same for a write: it has taken place, so this must not say that nothing was done.
    pub(crate) fn write_unanswered() -> Self {
        Self::internal(message::WRITE_UNANSWERED)
    }

    /// No `Host` header, or several.
    pub(crate) fn one_host() -> Self {
        Self::new(400, CORAL_SERVICE, "SerializationException", message::ONE_HOST)
    }

    /// Something failed here; clients retry this.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, DYNAMODB, "InternalServerError", message)
    }

    /// A `ValidationException` with what `words` makes of its message, if anything.
    pub(crate) fn reworded(mut self, words: impl FnOnce(&str) -> Option<String>) -> Self {
        if self.exception == "ValidationException"
            && let Some(message) = self.message.as_deref().and_then(words)
        {
            self.message = Some(message);
        }
        self
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The body of the error response.
    pub(crate) fn body(&self) -> Bytes {
        let made = self.canceled.as_ref().and_then(|canceled| canceled.body.clone());
        made.unwrap_or_else(|| self.new_body().into())
    }

    /// The same, with items of a transaction only where `hold` finds room for the body that has them.
    pub(crate) fn held(mut self, hold: impl FnOnce(Vec<u8>) -> Option<Bytes>) -> Self {
        let reasons = self.canceled.iter().flat_map(|canceled| &canceled.reasons);
        if reasons.into_iter().any(|reason| reason.item.is_some()) {
            let body = hold(self.new_body());
            if let Some(canceled) = &mut self.canceled {
                canceled.body = body;
                canceled.reasons.iter_mut().for_each(|reason| reason.item = None);
            }
        }
        self
    }

    fn new_body(&self) -> Vec<u8> {
        let mut body = format!("{{\"__type\":\"{}{}\"", self.prefix, self.exception).into_bytes();
        if let Some(canceled) = &self.canceled {
            let reasons: Vec<_> = canceled.reasons.iter().map(ReasonOut).collect();
            body.extend_from_slice(b",\"CancellationReasons\":");
            body.extend_from_slice(&json::to_bytes(&reasons));
        }
        if let Some(message) = &self.message {
            let member: &[u8] = match self.exception {
                // So named in the service model, unlike those of all others.
                "TransactionCanceledException"
                | "TransactionInProgressException"
                | "IdempotentParameterMismatchException" => b",\"Message\":",
                _ => b",\"message\":",
            };
            body.extend_from_slice(member);
            serde_json::to_writer(&mut body, message)
                .expect("invariant: a string written to memory cannot fail");
        }
        if let Some(item) = &self.item {
            body.extend_from_slice(b",\"Item\":");
            body.extend_from_slice(&json::to_bytes(&ItemOut(item)));
        }
        body.push(b'}');
        body
    }
}

/// `CancellationReason`.
struct ReasonOut<'a>(&'a CancellationReason);

impl Serialize for ReasonOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let CancellationReason { code, message, item } = self.0;
        Writer::start(serializer)?
            .member("Code", code)?
            .optional("Item", item.as_ref().map(ItemOut))?
            .optional("Message", message.as_ref())?
            .end()
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.exception)?;
        self.message.iter().try_for_each(|message| write!(f, ": {message}"))
    }
}

impl From<TableError> for WireError {
    fn from(error: TableError) -> Self {
        let kind = error.kind();
        let (status, prefix) = match kind {
            TableErrorKind::Validation => (400, CORAL_VALIDATE),
            TableErrorKind::Internal => (500, DYNAMODB),
            TableErrorKind::AccessDenied => (400, CORAL_SERVICE),
            TableErrorKind::Throttling => (400, CORAL_AVAILABILITY),
            _ => (400, DYNAMODB),
        };
        let item = error.item().cloned().map(Box::new);
        let reasons = error.cancellation_reasons();
        let canceled = (!reasons.is_empty())
            .then(|| Box::new(Canceled { reasons: reasons.to_vec(), body: None }));
        let wire = Self::new(status, prefix, kind.exception_name(), error.message());
        Self { item, canceled, ..wire }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_carry_the_prefix_and_escape_the_message() {
        let error = WireError::from(TableError::not_found("Requested resource not found: \"x\""));
        assert_eq!(error.status(), 400);
        assert_eq!(
            String::from_utf8(error.body().into()).unwrap(),
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found: \"x\""}"#
        );
        assert_eq!(
            String::from_utf8(WireError::unknown_operation().body().into()).unwrap(),
            r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#
        );
        assert_eq!(WireError::from(TableError::internal("disk")).status(), 500);
    }

    #[test]
    fn items_of_a_transaction_need_room() {
        let reason = |code: &str, message: Option<&str>, item| CancellationReason {
            code: code.to_owned(),
            message: message.map(str::to_owned),
            item,
        };
        let item = Item::from([("a".to_owned(), "x".into())]);
        let reasons = vec![
            reason("None", None, None),
            reason("ConditionalCheckFailed", Some("no"), Some(item)),
        ];
        let table_error = TableError::new(TableErrorKind::TransactionCanceled, "why");
        let canceled = Some(Box::new(Canceled { reasons, body: None }));
        let error = WireError { canceled, ..WireError::from(table_error) };
        let body = |item: &str| {
            format!(
                r#"{{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","CancellationReasons":[{{"Code":"None"}},{{"Code":"ConditionalCheckFailed",{item}"Message":"no"}}],"Message":"why"}}"#
            )
        };
        let whole = body(r#""Item":{"a":{"S":"x"}},"#);
        assert_eq!(error.body(), whole);
        assert_eq!(error.clone().held(|body| Some(body.into())).body(), whole);
        assert_eq!(error.held(|_| None).body(), body(""));
        let plain = WireError::validation("why");
        assert_eq!(plain.clone().held(|_| panic!("it has no item")), plain);
    }

    #[test]
    fn long_messages_are_cut() {
        let error = WireError::validation("é".repeat(1 << 20));
        assert!(error.to_string().len() < 9000 && error.to_string().ends_with("é..."));
    }
}
