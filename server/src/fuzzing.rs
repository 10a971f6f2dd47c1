//! Doors to internal parsers for the fuzz targets, and for them alone: no part of the public interface.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use esker_table::{Item, Tables};
use hyper::{Method, Request};
use serde::de::MapAccess;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::access::Access;
use crate::encoding::{self, Coding};
use crate::http::Shared;
use crate::json::{self, Decoded, ItemOut, Members};
use crate::limits::Limits;
use crate::server::serve_connection;
use crate::sigv4;

#[derive(Default)]
struct Envelope(Option<Decoded<Item>>);

impl Members for Envelope {
    const NAME: &'static str = "Item";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Item" => self.0 = json::item(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// The item of a request whose `Item` is these bytes; `None` where they are none.
pub fn item_from_json(bytes: &[u8]) -> Option<Item> {
    let request = [b"{\"Item\":", bytes, b"}"].concat();
    json::read::<Envelope>(&request).ok()?.0?.ok()
}

/// An item as responses have it.
pub fn item_to_json(item: &Item) -> Vec<u8> {
    json::to_bytes(&ItemOut(item))
}

/// A request's body as one with `Content-Encoding: gzip` has it.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    encoding::compress(body, Coding::Gzip)
}

/// Whether a request is signed as it should be: its target on the first line, a header on each line after it, and its
/// body behind an empty one. The key and the time are those of AWS's test suite. `None` where it is no request.
pub fn is_signed(request: &[u8]) -> Option<bool> {
    let (head, body) = match request.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&request[..end], &request[end + 2..]),
        None => (request, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut builder = Request::builder().method(Method::POST).uri(lines.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        builder = builder.header(&line[..colon], &line[colon + 1..]);
    }
    let (parts, ()) = builder.body(()).ok()?.into_parts();
    Some(sigv4::verify_example(&parts, body))
}

/// The server without its sockets: connections are bytes in memory. Its limits are small, so that small inputs reach
/// them.
pub struct HttpServer {
    runtime: Runtime,
    shared: Arc<Shared>,
}

impl HttpServer {
    /// A server of these tables.
    ///
    /// # Errors
    /// Where the machine gives no threads.
    pub fn new(tables: Tables) -> io::Result<HttpServer> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let limits = Limits {
            body_bytes_max: 4096,
            bodies_bytes_max: 16384,
            header_bytes_max: 8192,
            ..Limits::default()
        };
        let shared = Shared::new(Arc::new(tables), limits, Access::default());
        Ok(HttpServer { runtime, shared: Arc::new(shared) })
    }

    /// Everything that one connection answers to these bytes, which arrive in as many pieces and after which the client
    /// sends no more.
    pub fn exchange<'a>(&self, input: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut pipe = Pipe { input: input.map(<[u8]>::to_vec).collect(), output: Vec::new() };
        let (_running, stopped) = watch::channel(false);
        // How a connection ends is for the log; what it has answered by then counts.
        let _ = self.runtime.block_on(serve_connection(&mut pipe, self.shared.clone(), stopped));
        pipe.output
    }
}

/// A connection in memory. Between two pieces of the input it is as if nothing had arrived yet.
struct Pipe {
    input: VecDeque<Vec<u8>>,
    output: Vec<u8>,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(piece) = self.input.front_mut() else { return Poll::Ready(Ok(())) };
        if piece.is_empty() {
            self.input.pop_front();
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(piece);
        *piece = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
