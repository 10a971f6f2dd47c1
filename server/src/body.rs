//! Reads a request's body under the limits: its own size, the budget of all bodies, and the deadline. Called by
//! `http.rs`. Memory grows only with the bytes that have arrived, never by an announced length.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use crate::encoding::{self, Coding};
use crate::error::WireError;
use crate::limits::{Budget, Limits, Reservation};

/// How much of an oversized body is read and thrown away, so that the client gets to read the answer instead of
/// finding its connection reset while it is still sending.
const DISCARD_BYTES_MAX: usize = 64 << 20;

/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// A body, and its part of the budget for as long as it is held.
pub(crate) struct RequestBody {
    bytes: Bytes,
    _reservation: Reservation,
}

impl RequestBody {
    #[cfg(test)]
    pub(crate) fn of(text: &'static str, budget: &Budget) -> Self {
        Self { bytes: Bytes::from_static(text.as_bytes()), _reservation: budget.reservation() }
    }

    /// What it unpacks to. Takes its time: for a thread that may block.
    pub(crate) fn unpacked(self, coding: Coding, bytes_max: usize) -> Result<Self, WireError> {
        let Self { bytes, _reservation: mut reservation } = self;
        let unpacked =
            encoding::decompress(&bytes, coding, bytes_max, |more| reservation.grow(more))?;
        Ok(Self { bytes: unpacked.into(), _reservation: reservation })
    }

    /// A method and no field, so that a task which uses the bytes takes their part of the budget along.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why there is no body.
pub(crate) enum BodyError {
    /// The client is told, and the connection closed.
    Answer(WireError),
    /// The client is gone.
    Gone,
}

/// Reads the whole body. A client that holds its body back until it is told to go on (`is_held_back`) is not told so
/// where the announced length is too much already.
pub(crate) async fn read(
    mut body: Incoming,
    is_held_back: bool,
    limits: &Limits,
    budget: &Budget,
) -> Result<RequestBody, BodyError> {
    // As checked before the first byte is asked for: asking is what makes hyper say "100 Continue".
    let is_too_large = body.size_hint().lower() > limits.body_bytes_max as u64;
    if is_too_large && is_held_back {
        return Err(BodyError::Answer(WireError::too_large()));
    }
    let read = read_within(&mut body, limits.body_bytes_max, budget);
    let result = match tokio::time::timeout(limits.body_timeout, read).await {
        Ok(result) => result,
        Err(_) => return Err(BodyError::Answer(WireError::timeout())),
    };
    if let Err(BodyError::Answer(_)) = &result {
        // The outcome does not matter: this is a courtesy.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, discard(&mut body)).await;
    }
    result
}

async fn read_within(
    body: &mut Incoming,
    bytes_max: usize,
    budget: &Budget,
) -> Result<RequestBody, BodyError> {
    let announced = body.size_hint().lower();
    if announced > bytes_max as u64 {
        return Err(BodyError::Answer(WireError::too_large()));
    }
    let mut reservation = budget.reservation();
    // Most bodies arrive as one frame, and that is used as it is.
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Gone)?.into_data() else { continue };
        let read = first.len().max(rest.len());
        if read + data.remaining() > bytes_max {
            return Err(BodyError::Answer(WireError::too_large()));
        }
        if !reservation.grow(data.remaining()) {
            return Err(BodyError::Answer(WireError::overloaded()));
        }
        if first.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
    }
    let bytes = if rest.is_empty() { first } else { Bytes::from(rest) };
    Ok(RequestBody { bytes, _reservation: reservation })
}

/// Reads a body that nobody needs and keeps nothing of it, for a while; whether that was all of it.
pub(crate) async fn discard_all(mut body: Incoming) -> bool {
    tokio::time::timeout(DISCARD_TIMEOUT, discard(&mut body)).await.unwrap_or(false)
}

/// Whether the body came to its end.
async fn discard(body: &mut Incoming) -> bool {
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > DISCARD_BYTES_MAX {
            return false;
        }
    }
    true
}
