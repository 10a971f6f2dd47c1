//! Which names a request may call this server by. A page on the web can make a browser talk to a server on the
//! loopback address under a name of its own (DNS rebinding); such a request is recognised by its Host header, and
//! `http.rs` refuses it. Addresses are safe: no name was resolved. Never consults DNS.

use std::net::{IpAddr, Ipv6Addr};

/// The names that are accepted beside loopback names and addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedHosts {
    names: Vec<String>,
    any: bool,
}

impl AllowedHosts {
    /// `names` as the user gave them; `*` accepts every name.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let names: Vec<String> = names.into_iter().map(|n| n.to_ascii_lowercase()).collect();
        Self { any: names.iter().any(|name| name == "*"), names }
    }

    /// Whether a request with this `Host` (with or without a port) is meant for us.
    pub(crate) fn accept(&self, host: &str) -> bool {
        if self.any {
            return true;
        }
        let Some(name) = without_port(host) else { return false };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.names.contains(&name)
    }
}

/// The host without its port and, for an IPv6 address, without its brackets.
fn without_port(host: &str) -> Option<&str> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return (port_fits && address.parse::<Ipv6Addr>().is_ok()).then_some(address);
    }
    match host.split_once(':') {
        Some((name, port)) => is_port(port).then_some(name),
        None => Some(host),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_and_addresses_pass_and_others_do_not() {
        let hosts = AllowedHosts::new(["Esker.Internal".to_owned()]);
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.:80",
            "a.localhost",
            "127.0.0.1:8000",
            "10.1.2.3",
            "[::1]:8000",
            "[::1]",
            "esker.internal:8000",
        ] {
            assert!(hosts.accept(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "localhost:x",
            "[::1",
            "[evil]:80",
            "::1",
            "notlocalhost",
        ] {
            assert!(!hosts.accept(host), "{host}");
        }
        assert!(AllowedHosts::new(["*".to_owned()]).accept("any.example"));
    }
}
