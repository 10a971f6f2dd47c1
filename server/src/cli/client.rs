//! A small HTTP client for import and export through a running server: blocking, keep-alive, `http://` only. Called
//! by `destination.rs`. It speaks to Esker; what it does not know of HTTP (redirects, chunks) is an error.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use parking_lot::Mutex;

use crate::credentials::AccessKey;
use crate::sigv4::{self, Moment};

/// How long the server may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of the longest line in the head of a response, and lines in it.
const HEAD_LINE_BYTES_MAX: u64 = 16 << 10;
const HEAD_LINES_MAX: usize = 100;
/// Bytes of the largest response: a batch of 16 MB of items, and what JSON adds to them.
const BODY_BYTES_MAX: u64 = 128 << 20;

/// Connections to one server, reused.
pub(super) struct Client {
    authority: String,
    key: Option<AccessKey>,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

/// What the server answered.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:8000`. Signs with the access key of the environment,
    /// where there is one.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let no_scheme = || match url.contains("://") {
            true => format!("{url} is not an http:// address"),
            false => format!("{url} is not an http:// address: do you mean http://{url}?"),
        };
        let authority = url.strip_prefix("http://").ok_or_else(no_scheme)?.trim_end_matches('/');
        let fits = |c: char| c.is_ascii_graphic() && !"/?#@".contains(c);
        if authority.is_empty() || !authority.chars().all(fits) {
            return Err(format!("{url} is not of the form http://host:port"));
        }
        let bracket_end = authority.rfind(']').unwrap_or(0);
        let has_port = authority[bracket_end..].contains(':');
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let key = AccessKey::from_environment();
        Ok(Self { authority, key, idle: Mutex::new(Vec::new()) })
    }

    /// The server's address, for people.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Makes one call. What it asks for must be safe to ask twice: a kept connection may turn out to be closed.
    pub(super) fn call(&self, operation: &str, body: &[u8]) -> io::Result<Reply> {
        let kept = self.idle.lock().pop();
        if let Some(mut connection) = kept
            && let Ok(reply) = self.exchange(&mut connection, operation, body)
        {
            self.keep(connection);
            return Ok(reply);
        }
        let stream = TcpStream::connect(&self.authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut connection = BufReader::new(stream);
        let reply = self.exchange(&mut connection, operation, body)?;
        self.keep(connection);
        Ok(reply)
    }

    fn keep(&self, connection: BufReader<TcpStream>) {
        self.idle.lock().push(connection);
    }

    fn exchange(
        &self,
        connection: &mut BufReader<TcpStream>,
        operation: &str,
        body: &[u8],
    ) -> io::Result<Reply> {
        let (host, target) = (&self.authority, format!("DynamoDB_20120810.{operation}"));
        let signed = match &self.key {
            None => "Authorization: Esker\r\n".to_owned(),
            Some(key) => {
                let (date, authorization) = sigv4::sign(key, host, &target, body, Moment::now())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                format!("X-Amz-Date: {date}\r\nAuthorization: {authorization}\r\n")
            }
        };
        let mut request = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nX-Amz-Target: {target}\r\n\
             Content-Type: application/x-amz-json-1.0\r\n{signed}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        connection.get_mut().write_all(&request)?;
        read_reply(connection)
    }
}

fn read_reply(connection: &mut impl BufRead) -> io::Result<Reply> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not Esker's HTTP");
    let status_line = head_line(connection)?;
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(strange)?;
    let mut length = None;
    for _ in 0..HEAD_LINES_MAX {
        let line = head_line(connection)?;
        if line.is_empty() {
            let length = length.filter(|length| *length <= BODY_BYTES_MAX).ok_or_else(strange)?;
            let mut body = Vec::new();
            connection.take(length).read_to_end(&mut body)?;
            if body.len() as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return Ok(Reply { status, body });
        }
        let (name, value) = line.split_once(':').ok_or_else(strange)?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().map_err(|_| strange())?);
        }
    }
    Err(strange())
}

fn head_line(connection: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    connection.take(HEAD_LINE_BYTES_MAX).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        assert_eq!(Client::new("http://127.0.0.1:8000/").unwrap().authority, "127.0.0.1:8000");
        assert_eq!(Client::new("http://localhost").unwrap().authority, "localhost:80");
        assert_eq!(Client::new("http://[::1]").unwrap().authority, "[::1]:80");
        for url in ["https://x", "127.0.0.1:8000", "http://", "http://a/b", "http://a b:80"] {
            assert!(Client::new(url).is_err(), "{url}");
        }
        let hint = Client::new("127.0.0.1:8000").err().unwrap();
        assert!(hint.contains("do you mean http://127.0.0.1:8000?"), "{hint}");
    }

    #[test]
    fn replies_are_read_exactly_and_cut_ones_refused() {
        let reply = |text: &str| read_reply(&mut io::Cursor::new(text.to_owned()));
        let answer = reply("HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}rest").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (400, b"{}".as_slice()));
        for cut in [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n{}",
            "SSH-2.0\r\n\r\n",
        ] {
            assert!(reply(cut).is_err(), "{cut:?}");
        }
    }
}
