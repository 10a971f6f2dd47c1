//! Who may use the server: under which names, from which pages, and with which keys. Set by `cli/serve.rs`, asked by `http.rs`.

use crate::cors::AllowedOrigins;
use crate::credentials::Credentials;
use crate::host::AllowedHosts;

/// The rules of a server.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// The names that clients may call it by.
    pub(crate) hosts: AllowedHosts,
    /// The pages that may call it from a browser.
    pub(crate) origins: AllowedOrigins,
    /// The keys whose signatures count; without them any signature does.
    pub(crate) credentials: Option<Credentials>,
}
