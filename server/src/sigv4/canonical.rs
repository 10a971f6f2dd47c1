//! A request in the one form that both sides sign: method, path, sorted query, the signed headers, and the hash of the
//! body.

use hyper::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::claim::Claim;
use super::{BodyHash, hex};

/// What is escaped in the canonical query: all but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The parameter that a signature in the query cannot cover.
const SIGNATURE: &str = "X-Amz-Signature";

/// The request as it is signed. Bytes, because a header's value may be any.
pub(super) fn canonical_request(claim: &Claim, parts: &Parts, body: &BodyHash) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(parts.method.as_str().as_bytes());
    // Operations live at `/` alone, which is its own canonical form; what else arrives here is compared as it is.
    text.push(b'\n');
    text.extend_from_slice(parts.uri.path().as_bytes());
    text.push(b'\n');
    text.extend_from_slice(canonical_query(parts).as_bytes());
    text.push(b'\n');
    for name in claim.signed_headers() {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        for (at, value) in parts.headers.get_all(name).iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            push_trimmed(value.as_bytes(), &mut text);
        }
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(claim.header_names.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(hex(body).as_bytes());
    text
}

/// A header's value without blanks at its ends, and with one where several follow each other.
fn push_trimmed(value: &[u8], text: &mut Vec<u8>) {
    let mut was_blank = false;
    for &byte in value.trim_ascii() {
        let is_blank = byte == b' ' || byte == b'\t';
        if !(is_blank && was_blank) {
            text.push(if is_blank { b' ' } else { byte });
        }
        was_blank = is_blank;
    }
}

/// The query's parameters in the order of their escaped names, then values, without the signature.
fn canonical_query(parts: &Parts) -> String {
    let mut pairs: Vec<(String, String)> = query_pairs(parts)
        .filter(|(name, _)| name != SIGNATURE)
        .map(|(name, value)| (escape(&name), escape(&value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The query's parameters, unescaped. A parameter that is no UTF-8 matches no signature.
pub(super) fn query_pairs(parts: &Parts) -> impl Iterator<Item = (String, String)> {
    let query = parts.uri.query().unwrap_or("");
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescape(name), unescape(value))
    })
}

fn unescape(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
