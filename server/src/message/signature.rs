//! What is wrong with a request's signature, as AWS words it. Several complaints follow each other, so each ends in a blank.

use std::fmt::Display;

pub(crate) const UNRECOGNIZED_CLIENT: &str =
    "The security token included in the request is invalid.";
pub(crate) const BOTH: &str = "Found both 'X-Amz-Algorithm' as a query-string param and \
     'Authorization' as HTTP header.";
pub(crate) const HEADER_LACKS_DATE: &str =
    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
pub(crate) const QUERY_AGAIN: &str = "Re-examine the query-string parameters.";
pub(crate) const SCOPE_DATE: &str = "Date in Credential scope does not match YYYYMMDD from \
     ISO-8601 version of date from HTTP. ";
pub(crate) const HOST_NOT_SIGNED: &str =
    "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
pub(crate) const SIGNED_TWICE: &str = "A header is named twice in 'SignedHeaders'.";

pub(crate) fn algorithm(found: &str) -> String {
    format!("Unsupported AWS 'algorithm': '{found}'.")
}

pub(crate) fn header_lacks(parameter: &str) -> String {
    format!("Authorization header requires '{parameter}' parameter. ")
}

pub(crate) fn query_lacks(parameter: &str) -> String {
    format!("AWS query-string parameters must include '{parameter}'. ")
}

/// The complaints, and the header that they are about.
pub(crate) fn as_sent(complaints: &str, header: &str) -> String {
    format!("{complaints}Authorization={header}")
}

pub(crate) fn date_form(date: &str) -> String {
    format!(
        "Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601 "
    )
}

pub(crate) fn expires(most: i64) -> String {
    format!("X-Amz-Expires must be a number of seconds from 1 to {most}. ")
}

pub(crate) fn credential_form(credential: &str) -> String {
    format!(
        "Credential must have exactly 5 slash-delimited elements, e.g. \
         keyid/date/region/service/term, got '{credential}' "
    )
}

pub(crate) fn scope_service(service: &str) -> String {
    format!("Credential should be scoped to correct service: '{service}'. ")
}

pub(crate) fn scope_terminator(wanted: &str, found: &str) -> String {
    format!("Credential should be scoped with a valid terminator: '{wanted}', not '{found}'. ")
}

pub(crate) fn header_not_signed(name: &str) -> String {
    format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")
}

pub(crate) fn too_early(
    signed: &impl Display,
    latest: &impl Display,
    now: &impl Display,
) -> String {
    format!("Signature not yet current: {signed} is still later than {latest} ({now} + 15 min.)")
}

pub(crate) fn expired(
    signed: &impl Display,
    earliest: &impl Display,
    now: &impl Display,
) -> String {
    format!("Signature expired: {signed} is now earlier than {earliest} ({now} - 15 min.)")
}

pub(crate) fn expired_in_query(end: &impl Display, now: &impl Display) -> String {
    format!("Signature expired: {end} is now earlier than {now}")
}

pub(crate) fn mismatch(canonical: &str, to_sign: &str) -> String {
    format!(
        "The request signature we calculated does not match the signature you provided. Check your \
         AWS Secret Access Key and signing method. Consult the service documentation for \
         details.\n\nThe Canonical String for this request should have been\n'{canonical}'\n\n\
         The String-to-Sign should have been\n'{to_sign}'\n"
    )
}
