//! Signature Version 4, as the AWS SDKs sign requests: whether a request was signed, over exactly the bytes that arrived,
//! with a secret that this server knows. Called by `http.rs` where credentials are configured; nothing here runs
//! otherwise. The scheme is the one of AWS Identity and Access Management's user guide ("Create a signed AWS API
//! request"); our own client signs with it too. The exceptions are those that the DynamoDB developer guide lists as common errors; as there, a key that
//! does not exist is told apart from a wrong signature. Never stops at the first byte of a signature that is wrong.

mod canonical;
mod claim;
mod moment;
#[cfg(test)]
mod tests;

use hmac::{Hmac, KeyInit, Mac};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use sha2::{Digest, Sha256};

use crate::credentials::{AccessKey, Credentials};
use crate::error::WireError;
use crate::message::signature as message;
use canonical::canonical_request;
use claim::{Claim, Scope};
pub(crate) use moment::Moment;

/// The only algorithm: HMAC with SHA-256. Version 4a, which is asymmetric, needs keys that nobody configures here.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The name of the service in a credential's scope, and what ends every scope.
const SERVICE: &str = "dynamodb";
const TERMINATOR: &str = "aws4_request";

/// How far a client's clock may be off.
const SKEW_SECONDS: i64 = 15 * 60;

/// Seconds that a request with its signature in the query may be valid.
const EXPIRES_MAX: i64 = 7 * 24 * 3600;

/// The hash of a body.
pub(crate) type BodyHash = [u8; 32];

pub(crate) fn hash(bytes: &[u8]) -> BodyHash {
    Sha256::digest(bytes).into()
}

/// A claim of which only the signature is left to check.
pub(crate) struct Claimed<'c> {
    claim: Claim,
    secret: &'c str,
}

/// Checks what can be checked of a request's signature before its body is there, so that nobody's body is held for whom it
/// could never be right.
///
/// # Errors
/// `MissingAuthenticationTokenException`, `IncompleteSignatureException`, `InvalidSignatureException` and
/// `UnrecognizedClientException`, as the service uses them.
pub(crate) fn claim<'c>(
    credentials: &'c Credentials,
    parts: &Parts,
    now: Moment,
) -> Result<Claimed<'c>, WireError> {
    claim_for(SERVICE, credentials, parts, now)
}

/// For fuzzing: verifies with the key, at the time and for the service of AWS's test suite.
pub(crate) fn verify_example(parts: &Parts, body: &[u8]) -> bool {
    let credentials =
        Credentials::of("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").ok();
    credentials.zip(Moment::parse("20150830T123600Z")).is_some_and(|(credentials, now)| {
        claim_for("service", &credentials, parts, now)
            .is_ok_and(|claimed| claimed.verify(parts, &hash(body)).is_ok())
    })
}

fn claim_for<'c>(
    service: &str,
    credentials: &'c Credentials,
    parts: &Parts,
    now: Moment,
) -> Result<Claimed<'c>, WireError> {
    let claim = Claim::of(parts)?.ok_or_else(WireError::missing_authentication)?;
    check_scope(&claim.scope, &claim.moment, service)?;
    check_time(&claim, now)?;
    check_signed_headers(&claim, parts)?;
    let secret = credentials.secret(&claim.key_id).ok_or_else(WireError::unrecognized_client)?;
    Ok(Claimed { claim, secret })
}

impl Claimed<'_> {
    /// Checks the signature over a body that has this hash, as it was sent.
    ///
    /// # Errors
    /// `InvalidSignatureException`, with what should have been signed.
    pub(crate) fn verify(&self, parts: &Parts, body: &BodyHash) -> Result<(), WireError> {
        let Claimed { claim, secret } = self;
        let canonical = canonical_request(claim, parts, body);
        let to_sign = string_to_sign(claim, &canonical);
        let right = signature(secret, &claim.scope, &to_sign);
        if claim.signature_bytes().is_some_and(|claimed| right.verify_slice(&claimed).is_ok()) {
            return Ok(());
        }
        let canonical = String::from_utf8_lossy(&canonical);
        Err(WireError::invalid_signature(message::mismatch(&canonical, &to_sign)))
    }
}

/// The `X-Amz-Date` and the `Authorization` of a POST to the server's root, for our own client.
pub(crate) fn sign(
    key: &AccessKey,
    host: &str,
    target: &str,
    body: &[u8],
    now: Moment,
) -> Result<(String, String), hyper::http::Error> {
    let date = now.to_string();
    let request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .header("host", host)
        .header("x-amz-date", &date)
        .header("x-amz-target", target);
    let (parts, ()) = request.body(())?.into_parts();
    let claim = Claim::to_sign(key, "host;x-amz-date;x-amz-target", now);
    let canonical = canonical_request(&claim, &parts, &hash(body));
    let to_sign = string_to_sign(&claim, &canonical);
    let signature = hex(&signature(&key.secret, &claim.scope, &to_sign).finalize().into_bytes());
    let Claim { key_id, scope, header_names, .. } = &claim;
    let authorization = format!(
        "{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={header_names}, \
         Signature={signature}"
    );
    Ok((date, authorization))
}

fn check_scope(scope: &Scope, moment: &Moment, service: &str) -> Result<(), WireError> {
    let mut complaints = String::new();
    if scope.service != service {
        complaints += &message::scope_service(service);
    }
    if scope.terminator != TERMINATOR {
        complaints += &message::scope_terminator(TERMINATOR, &scope.terminator);
    }
    if scope.date != moment.date() {
        complaints += message::SCOPE_DATE;
    }
    if complaints.is_empty() { Ok(()) } else { Err(WireError::invalid_signature(complaints)) }
}

fn check_time(claim: &Claim, now: Moment) -> Result<(), WireError> {
    let latest = now.plus(SKEW_SECONDS);
    if claim.moment > latest {
        return Err(WireError::invalid_signature(message::too_early(&claim.moment, &latest, &now)));
    }
    let end = claim.moment.plus(claim.expires_seconds);
    if end >= now {
        return Ok(());
    }
    Err(WireError::invalid_signature(if claim.is_in_query {
        message::expired_in_query(&end, &now)
    } else {
        message::expired(&claim.moment, &now.plus(-SKEW_SECONDS), &now)
    }))
}

/// A signature that leaves out where the request goes, when, or what it asks for would be good for other requests too.
fn check_signed_headers(claim: &Claim, parts: &Parts) -> Result<(), WireError> {
    let mut names: Vec<&str> = claim.signed_headers().collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(WireError::invalid_signature(message::SIGNED_TWICE));
    }
    if names.binary_search(&"host").is_err() {
        return Err(WireError::invalid_signature(message::HOST_NOT_SIGNED));
    }
    for name in ["x-amz-date", "x-amz-target"] {
        if parts.headers.contains_key(name) && names.binary_search(&name).is_err() {
            return Err(WireError::invalid_signature(message::header_not_signed(name)));
        }
    }
    Ok(())
}

fn mac(key: &[u8], data: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).expect("invariant: HMAC takes keys of every length");
    mac.update(data);
    mac
}

fn string_to_sign(claim: &Claim, canonical: &[u8]) -> String {
    let Claim { moment, scope, .. } = claim;
    format!("{ALGORITHM}\n{moment}\n{scope}\n{}", hex(&hash(canonical)))
}

/// The signature by a key that is good for a day, a region and a service.
fn signature(secret: &str, scope: &Scope, to_sign: &str) -> Hmac<Sha256> {
    let Scope { date, region, service, terminator } = scope;
    let first = mac(format!("AWS4{secret}").as_bytes(), date.as_bytes());
    [region.as_str(), service, terminator, to_sign]
        .into_iter()
        .fold(first, |key, step| mac(&key.finalize().into_bytes(), step.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
