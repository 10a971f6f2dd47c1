//! One HTTP request: who may ask, what was asked, and the response with its headers. `server.rs` hands over each
//! request; the work itself is `dispatch.rs`'s. Pages on the web have no business here, unless their origins are named:
//! `cors.rs`. Never answers without a request id and the checksum of the body.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HOST, HeaderValue,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::access::Access;
use crate::body::{self, BodyError, RequestBody};
use crate::cors::Cors;
use crate::dispatch;
use crate::encoding::{self, COMPRESSED_BYTES_MIN, Coding};
use crate::error::WireError;
use crate::inline::InlineReads;
use crate::limits::{Budgets, Limits};
use crate::logged::{Logged, Seldom};
use crate::request_id::RequestIds;
use crate::service::Service;
use crate::sigv4::{self, Claimed, Moment};
use crate::stall::InRequest;

const AMZ_JSON: &str = "application/x-amz-json-1.0";
/// Bytes of the longest answer that is compressed between other requests instead of on a thread that may block.
const INLINE_COMPRESSED_BYTES_MAX: usize = 32 << 10;

/// Bytes of the longest body whose hash is taken between other requests.
const INLINE_HASHED_BYTES_MAX: usize = 64 << 10;

const PLAIN: &str = "text/plain";

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) limits: Limits,
    pub(crate) budgets: Budgets,
    pub(crate) reads: Arc<InlineReads>,
    pub(crate) access: Access,
    pub(crate) ids: RequestIds,
    /// For requests that were refused because a budget was used up.
    pub(crate) overload_log: Seldom,
    /// For connections beyond the cap.
    pub(crate) connections_log: Seldom,
    /// Set once the server is told to stop.
    pub(crate) draining: AtomicBool,
}

impl Shared {
    pub(crate) fn new(service: Arc<dyn Service>, limits: Limits, access: Access) -> Self {
        Self {
            service,
            budgets: Budgets::new(&limits),
            limits,
            reads: Arc::new(InlineReads::new()),
            access,
            ids: RequestIds::new(),
            overload_log: Seldom::new(),
            connections_log: Seldom::new(),
            draining: AtomicBool::new(false),
        }
    }
}

/// What to answer.
struct Answer {
    status: u16,
    content_type: &'static str,
    body: Bytes,
    /// How the body is compressed.
    coding: Option<Coding>,
    /// Whether the connection ends here: the rest of the request has not been read.
    close: bool,
}

impl Answer {
    fn json(body: Bytes) -> Self {
        Self { status: 200, content_type: AMZ_JSON, body, coding: None, close: false }
    }

    fn text(status: u16, text: &str) -> Self {
        Self {
            status,
            content_type: PLAIN,
            body: Bytes::copy_from_slice(text.as_bytes()),
            coding: None,
            close: false,
        }
    }

    fn error(error: &WireError) -> Self {
        Self {
            status: error.status(),
            content_type: AMZ_JSON,
            body: error.body(),
            coding: None,
            close: false,
        }
    }
}

/// Answers one request, which lasts as long as `in_request`. An `Err` closes the connection without an answer: the client is gone.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    in_request: InRequest,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, ClientGone> {
    let _in_request = in_request;
    let id = shared.ids.next();
    let cors = shared.access.origins.of(&request);
    let is_preflight = cors.as_ref().is_some_and(Cors::is_preflight);
    let answer = route(&shared, request, &id, is_preflight).await?;
    let Ok(mut response) = respond(answer, &id);
    if let Some(cors) = cors {
        cors.tell(response.headers_mut());
    }
    Ok(response)
}

/// The client went away while it was sending.
#[derive(Debug)]
pub(crate) struct ClientGone;

impl std::fmt::Display for ClientGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the client went away while it was sending a request")
    }
}

impl std::error::Error for ClientGone {}

async fn route(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    id: &str,
    is_preflight: bool,
) -> Result<Answer, ClientGone> {
    if header_bytes(&request) > shared.limits.header_bytes_max {
        return Ok(Answer { close: true, ..Answer::text(431, "the headers are too large\n") });
    }
    if let Err(error) = check_host(shared, &request) {
        return Ok(Answer::error(&error));
    }
    Ok(match (request.method(), request.uri().path()) {
        (&Method::POST, "/") => return operation(shared, request, id).await,
        (&Method::OPTIONS, "/") if is_preflight => Answer::text(200, ""),
        (&Method::GET | &Method::HEAD, "/") => Answer::text(200, "healthy: dynamodb.local "),
        (&Method::GET | &Method::HEAD, "/healthz") => Answer::text(200, "ok\n"),
        (&Method::GET | &Method::HEAD, "/readyz") => {
            if shared.draining.load(Ordering::Acquire) {
                Answer::text(503, "stopping\n")
            } else {
                Answer::text(200, "ready\n")
            }
        }
        _ => Answer::error(&WireError::not_found()),
    })
}

/// Bytes of the request line and the headers as they were sent, without optional blanks. Hyper's own limit is one of its
/// buffer and lets pass what arrives whole.
fn header_bytes(request: &Request<Incoming>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let line = request.method().as_str().len() + target + 12;
    let headers = request.headers().iter();
    headers.fold(line, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}

/// A request names its host in exactly one header, and maybe in its target too; HTTP/1.0 may leave it out.
fn check_host(shared: &Shared, request: &Request<Incoming>) -> Result<(), WireError> {
    let mut headers = request.headers().get_all(HOST).iter();
    let in_header = headers.next();
    let is_missing = in_header.is_none() && request.version() > Version::HTTP_10;
    if is_missing || headers.next().is_some() {
        return Err(WireError::one_host());
    }
    let in_target = request.uri().authority().map(|authority| authority.as_str());
    let is_accepted = in_target.is_none_or(|host| shared.access.hosts.accept(host))
        && in_header.is_none_or(|h| h.to_str().is_ok_and(|host| shared.access.hosts.accept(host)));
    if is_accepted { Ok(()) } else { Err(WireError::host_refused()) }
}

async fn operation(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    id: &str,
) -> Result<Answer, ClientGone> {
    let (parts, body) = request.into_parts();
    let target = parts.headers.get("x-amz-target").map(|value| value.to_str().unwrap_or(""));
    let target = dispatch::find(target);
    let (sent_as, answered_as) =
        (encoding::of_request(&parts.headers), encoding::of_answer(&parts.headers));
    let is_held_back = parts.headers.contains_key(EXPECT);
    let bodies = &shared.budgets.bodies;
    let claimed = if target.is_ok() { claim(shared, &parts) } else { Ok(None) };
    // Nobody's body is held for whom its signature could never be right.
    if let Err(error) = &claimed
        && shared.access.credentials.is_some()
    {
        let close = is_held_back || !body::discard_all(body).await;
        return Ok(Answer { close, ..Answer::error(error) });
    }
    let body = match body::read(body, is_held_back, &shared.limits, bodies).await {
        Ok(body) => body,
        Err(BodyError::Gone) => return Err(ClientGone),
        Err(BodyError::Answer(error)) => {
            if error.status() == 503 {
                log_overload(
                    shared,
                    target.map_or("none", |target| target.name),
                    &error.to_string(),
                );
            }
            return Ok(Answer { close: true, ..Answer::error(&error) });
        }
    };
    let target = match target {
        Ok(target) => target,
        Err(error) => return Ok(Answer::error(&error)),
    };
    let body = match claimed {
        Ok(None) => body,
        Ok(Some(claimed)) => match authenticate(&claimed, &parts, body).await {
            Ok(body) => body,
            Err(error) => return Ok(Answer::error(&error)),
        },
        Err(error) => return Ok(Answer::error(&error)),
    };
    let body = match sent_as {
        Ok(None) => body,
        Ok(Some(coding)) => {
            let bytes_max = shared.limits.body_bytes_max;
            match dispatch::blocking_task(move || body.unpacked(coding, bytes_max)).await {
                Ok(Ok(body)) => body,
                Ok(Err(error)) => return Ok(Answer::error(&error)),
                Err(panic) => return Ok(Answer::error(&dispatch::panicked(target.name, &panic))),
            }
        }
        Err(error) => return Ok(Answer::error(&error)),
    };
    let service = Arc::clone(&shared.service);
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    Ok(match target.run(service, &shared.budgets, &shared.reads, host, body).await {
        Ok(body) => match answered_as {
            Some(coding) if body.len() >= COMPRESSED_BYTES_MIN => {
                compressed(shared, body, coding).await
            }
            _ => Answer::json(body),
        },
        Err(error) => {
            let operation = target.name;
            let text = error.to_string();
            match error.status() {
                500 => tracing::error!(request_id = id, operation, "{}", Logged(&text)),
                503 => log_overload(shared, operation, &text),
                _ => tracing::debug!(request_id = id, operation, "{}", Logged(&text)),
            }
            Answer::error(&error)
        }
    })
}

/// The compressed answer; the plain one where there is no room for both.
async fn compressed(shared: &Shared, body: Bytes, coding: Coding) -> Answer {
    let responses = shared.budgets.read_responses.clone();
    let plain = body.clone();
    let compress = move || responses.hold(encoding::compress(&body, coding));
    let compressed = if plain.len() <= INLINE_COMPRESSED_BYTES_MAX {
        compress()
    } else {
        dispatch::blocking_task(compress).await.ok().flatten()
    };
    match compressed {
        Some(body) => Answer { coding: Some(coding), ..Answer::json(body) },
        None => Answer::json(plain),
    }
}

fn log_overload(shared: &Shared, operation: &str, text: &str) {
    if let Some(count) = shared.overload_log.due() {
        tracing::warn!(operation, count, "{}", Logged(text));
    }
}

/// Lets pass what may be signed with a key of the server's, as far as its headers tell; where it has none, what carries a
/// signature of any kind, in its headers or (a presigned request) in its query.
fn claim<'s>(shared: &'s Shared, parts: &Parts) -> Result<Option<Claimed<'s>>, WireError> {
    if let Some(credentials) = &shared.access.credentials {
        return sigv4::claim(credentials, parts, Moment::now()).map(Some);
    }
    let query = parts.uri.query().unwrap_or("");
    let is_signed = parts.headers.contains_key(AUTHORIZATION)
        || query.split('&').any(|pair| pair.starts_with("X-Amz-Signature="));
    if is_signed { Ok(None) } else { Err(WireError::missing_authentication()) }
}

/// Lets pass what is signed with the key that it claims. The signature covers the body as it was sent.
async fn authenticate(
    claimed: &Claimed<'_>,
    parts: &Parts,
    body: RequestBody,
) -> Result<RequestBody, WireError> {
    let (body, hash) = if body.bytes().len() <= INLINE_HASHED_BYTES_MAX {
        let hash = sigv4::hash(body.bytes());
        (body, hash)
    } else {
        let hashed = dispatch::blocking_task(move || {
            let hash = sigv4::hash(body.bytes());
            (body, hash)
        });
        hashed.await.map_err(|panic| dispatch::panicked("a signature", &panic))?
    };
    claimed.verify(parts, &hash)?;
    Ok(body)
}

fn respond(answer: Answer, id: &str) -> Result<Response<Full<Bytes>>, Infallible> {
    let checksum = crc32fast::hash(&answer.body);
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status)
        .expect("invariant: every status of ours has three digits");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(coding) = answer.coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    // Of the bytes that are sent, compressed ones too.
    headers.insert("x-amz-crc32", HeaderValue::from(checksum));
    headers.insert(
        "x-amzn-requestid",
        HeaderValue::from_str(id).expect("invariant: ids are letters and digits"),
    );
    if answer.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
