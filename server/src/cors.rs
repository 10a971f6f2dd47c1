//! Which pages on the web may call this server from a browser, and how a browser is told (CORS). Nothing is, unless
//! `esker serve --cors-origin` names origins; `http.rs` asks for the headers of each answer. A browser sends a page's
//! origin itself, so a page cannot claim another one.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request};

/// Two days; browsers keep it for less.
const MAX_AGE_SECONDS: &str = "172800";
const METHODS: &str = "POST, GET, OPTIONS";
/// What the clients of the service read beside the body.
const EXPOSED: &str = "x-amzn-RequestId, x-amz-crc32";

/// The origins that are let in.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedOrigins {
    origins: Vec<String>,
    any: bool,
}

/// What a request from a browser is to be told.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    origin: HeaderValue,
    /// The headers that the page wants to send, where it asks before it does.
    preflight: Option<HeaderValue>,
}

impl AllowedOrigins {
    /// `origins` as the user gave them, such as `http://localhost:3000`; `*` lets in every page.
    pub(crate) fn new(origins: impl IntoIterator<Item = String>) -> Self {
        let lower = |origin: String| origin.trim_end_matches('/').to_ascii_lowercase();
        let origins: Vec<String> = origins.into_iter().map(lower).collect();
        Self { any: origins.iter().any(|origin| origin == "*"), origins }
    }

    /// What to tell the sender of a request; `None` where it is no page that is let in.
    pub(crate) fn of<B>(&self, request: &Request<B>) -> Option<Cors> {
        if self.origins.is_empty() {
            return None;
        }
        let origin = request.headers().get(ORIGIN)?;
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        if !self.any && !self.origins.contains(&text) {
            return None;
        }
        let asks = request.method() == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let wanted = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let none = HeaderValue::from_static("");
        Some(Cors { origin: origin.clone(), preflight: asks.then(|| wanted.unwrap_or(none)) })
    }
}

impl Cors {
    /// Whether the page only asks whether it may.
    pub(crate) fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// Adds what tells the browser to the headers of an answer.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        match self.preflight {
            None => {
                let exposed = HeaderValue::from_static(EXPOSED);
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            }
            Some(wanted) => {
                let methods = HeaderValue::from_static(METHODS);
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
                let age = HeaderValue::from_static(MAX_AGE_SECONDS);
                headers.insert(ACCESS_CONTROL_MAX_AGE, age);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(origins: &[&str], method: Method, headers: &[(&str, &str)]) -> Option<Cors> {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let origins = AllowedOrigins::new(origins.iter().map(|origin| (*origin).to_owned()));
        origins.of(&request.body(()).unwrap())
    }

    #[test]
    fn only_pages_that_are_named_are_let_in() {
        let page = [("origin", "http://localhost:3000")];
        assert!(told(&[], Method::POST, &page).is_none());
        assert!(told(&["http://localhost:3001"], Method::POST, &page).is_none());
        assert!(told(&["http://localhost:3000"], Method::POST, &[]).is_none());
        for origins in [&["HTTP://Localhost:3000/"][..], &["*"], &["a", "http://localhost:3000"]] {
            let cors = told(origins, Method::POST, &page).unwrap();
            assert!(!cors.is_preflight());
            let mut headers = HeaderMap::new();
            cors.tell(&mut headers);
            assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:3000");
            assert_eq!(headers[VARY], "Origin");
            assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_METHODS));
        }
    }

    #[test]
    fn a_page_that_asks_first_is_told_what_it_may() {
        let asks = [
            ("origin", "https://app.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "x-amz-target,content-type"),
        ];
        let cors = told(&["https://app.example"], Method::OPTIONS, &asks).unwrap();
        assert!(cors.is_preflight());
        let mut headers = HeaderMap::new();
        cors.tell(&mut headers);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "x-amz-target,content-type");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], METHODS);
        // Without the question it is a request like any other, which nothing answers.
        assert!(!told(&["*"], Method::OPTIONS, &asks[..1]).unwrap().is_preflight());
    }
}
