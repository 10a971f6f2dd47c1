//! What a request claims about who signed it: its `Authorization` header, or the parameters of its query. Nothing of it is
//! believed here.

use std::fmt;

use hyper::header::{AUTHORIZATION, DATE};
use hyper::http::request::Parts;

use super::canonical::query_pairs;
use super::moment::Moment;
use super::{ALGORITHM, EXPIRES_MAX, SERVICE, SKEW_SECONDS, TERMINATOR};
use crate::credentials::AccessKey;
use crate::error::WireError;
use crate::message::signature as message;

/// A signature and what it says that it covers.
pub(super) struct Claim {
    pub(super) key_id: String,
    pub(super) scope: Scope,
    /// The names of the headers that it covers, with semicolons between.
    pub(super) header_names: String,
    pub(super) moment: Moment,
    /// How long it is valid from that moment.
    pub(super) expires_seconds: i64,
    /// Whether it stands in the query.
    pub(super) is_in_query: bool,
    signature: String,
}

/// What a signature is good for.
pub(super) struct Scope {
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) terminator: String,
}

/// As credentials and strings to sign have it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { date, region, service, terminator } = self;
        write!(f, "{date}/{region}/{service}/{terminator}")
    }
}

impl Claim {
    /// What a client is about to claim.
    pub(super) fn to_sign(key: &AccessKey, header_names: &str, moment: Moment) -> Claim {
        let scope = Scope {
            date: moment.date(),
            region: key.region.clone(),
            service: SERVICE.to_owned(),
            terminator: TERMINATOR.to_owned(),
        };
        Claim {
            key_id: key.id.clone(),
            scope,
            header_names: header_names.to_owned(),
            moment,
            expires_seconds: SKEW_SECONDS,
            is_in_query: false,
            signature: String::new(),
        }
    }

    /// The claim of a request; nothing where it makes none.
    pub(super) fn of(parts: &Parts) -> Result<Option<Claim>, WireError> {
        let header = parts.headers.get(AUTHORIZATION).map(|header| header.to_str().unwrap_or(""));
        let query: Vec<(String, String)> = query_pairs(parts).collect();
        let is_in_query = query.iter().any(|(name, _)| name == "X-Amz-Algorithm");
        match header {
            Some(_) if is_in_query => Err(WireError::invalid_signature(message::BOTH)),
            Some(header) if header.trim_start().starts_with("AWS4-") => {
                Self::of_header(header.trim(), parts).map(Some)
            }
            None if is_in_query => Self::of_query(&query).map(Some),
            _ => Ok(None),
        }
    }

    fn of_header(header: &str, parts: &Parts) -> Result<Claim, WireError> {
        let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
        check_algorithm(algorithm)?;
        let parameters: Vec<(&str, &str)> =
            rest.split(',').filter_map(|parameter| parameter.trim().split_once('=')).collect();
        let find = |wanted: &str| {
            parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
        };
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let own_date = text("x-amz-date");
        let date = own_date.or_else(|| text(DATE.as_str()));
        let (Some(credential), Some(signature), Some(header_names), Some(date)) =
            (find("Credential"), find("Signature"), find("SignedHeaders"), date)
        else {
            let names = ["Credential", "Signature", "SignedHeaders"];
            let missing = names.into_iter().filter(|name| find(name).is_none());
            let missing: String = missing.map(message::header_lacks).collect();
            let date = if date.is_none() { message::HEADER_LACKS_DATE } else { "" };
            return Err(WireError::incomplete_signature(message::as_sent(
                &(missing + date),
                header,
            )));
        };
        let parse = if own_date.is_some() { Moment::parse } else { Moment::parse_http };
        let moment = parse(date).ok_or_else(|| {
            WireError::incomplete_signature(message::as_sent(&message::date_form(date), header))
        })?;
        let (key_id, scope) = parse_credential(credential)?;
        Ok(Claim {
            key_id,
            scope,
            header_names: header_names.to_owned(),
            moment,
            expires_seconds: SKEW_SECONDS,
            is_in_query: false,
            signature: signature.to_owned(),
        })
    }

    fn of_query(query: &[(String, String)]) -> Result<Claim, WireError> {
        let find = |wanted: &str| {
            query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        check_algorithm(find("X-Amz-Algorithm").unwrap_or(""))?;
        let names = ["X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"];
        let [Some(credential), Some(signature), Some(header_names), Some(date)] = names.map(find)
        else {
            let missing = names.into_iter().filter(|name| find(name).is_none());
            let missing: String = missing.map(message::query_lacks).collect();
            return Err(WireError::incomplete_signature(missing + message::QUERY_AGAIN));
        };
        let moment = Moment::parse(date).ok_or_else(|| {
            WireError::incomplete_signature(message::date_form(date) + message::QUERY_AGAIN)
        })?;
        let expires_seconds = match find("X-Amz-Expires") {
            None => SKEW_SECONDS,
            Some(text) => (text.parse().ok())
                .filter(|seconds| (1..=EXPIRES_MAX).contains(seconds))
                .ok_or_else(|| WireError::incomplete_signature(message::expires(EXPIRES_MAX)))?,
        };
        let (key_id, scope) = parse_credential(credential)?;
        Ok(Claim {
            key_id,
            scope,
            header_names: header_names.to_owned(),
            moment,
            expires_seconds,
            is_in_query: true,
            signature: signature.to_owned(),
        })
    }

    /// The names of the headers that the signature covers.
    pub(super) fn signed_headers(&self) -> impl Iterator<Item = &str> {
        self.header_names.split(';')
    }

    /// The signature itself; nothing where it is not 64 lowercase hexadecimal digits.
    pub(super) fn signature_bytes(&self) -> Option<[u8; 32]> {
        let digits = self.signature.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let digit = |at: usize| match digits[at] {
            byte @ b'0'..=b'9' => Some(byte - b'0'),
            byte @ b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = digit(2 * at)? << 4 | digit(2 * at + 1)?;
        }
        Some(bytes)
    }
}

fn check_algorithm(algorithm: &str) -> Result<(), WireError> {
    if algorithm == ALGORITHM {
        return Ok(());
    }
    Err(WireError::incomplete_signature(message::algorithm(algorithm)))
}

/// A credential is `key/date/region/service/aws4_request`.
fn parse_credential(credential: &str) -> Result<(String, Scope), WireError> {
    let parts: Vec<&str> = credential.split('/').collect();
    let Ok([key_id, date, region, service, terminator]) = <[&str; 5]>::try_from(parts) else {
        return Err(WireError::incomplete_signature(message::credential_form(credential)));
    };
    let scope = Scope {
        date: date.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        terminator: terminator.to_owned(),
    };
    Ok((key_id.to_owned(), scope))
}
