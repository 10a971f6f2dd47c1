//! The server itself: accepts connections, serves each in a task of its own on one of its workers, and drains them when
//! it is told to stop. Called by `cli/serve.rs` and the tests. One slow or hostile connection costs the others nothing but its
//! place among `connections_max`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::access::Access;
use crate::http::{self, Shared};
use crate::limits::Limits;
use crate::service::Service;
use crate::stall::{Phase, StallGuard};
use crate::workers::Workers;

/// How long to wait before accepting again when the machine is out of file descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A bound but not yet running server.
pub(crate) struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
    workers: Workers,
}

impl Server {
    /// A server on a bound listener, with one worker for each processor.
    pub(crate) fn new(
        listener: TcpListener,
        service: Arc<dyn Service>,
        limits: Limits,
        access: Access,
    ) -> std::io::Result<Self> {
        let workers = Workers::start(std::thread::available_parallelism().map_or(1, usize::from))?;
        Ok(Self { listener, shared: Arc::new(Shared::new(service, limits, access)), workers })
    }

    /// Serves until `stop` is done, then lets the requests in flight finish for `drain_timeout` at most. Answers
    /// whether all of them did.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> bool {
        // Before the connections, which end first.
        let Self { listener, shared, workers } = self;
        let slots = Arc::new(Semaphore::new(shared.limits.connections_max));
        let (stopping, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            // Finished tasks are taken out as they come, so that the set holds the open connections only.
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!("could not accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                if let Some(count) = shared.connections_log.due() {
                    let open = shared.limits.connections_max;
                    tracing::warn!(count, "closed connections, because {open} are open");
                }
                continue;
            };
            // Out of this thread's event loop and into that of the worker.
            let Ok(socket) = socket.into_std() else { continue };
            let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
            let (worker, place) = workers.next();
            let serving = async move {
                match TcpStream::from_std(socket) {
                    Ok(socket) => serve(socket, shared, stopped).await,
                    Err(error) => tracing::warn!("could not serve a connection: {error}"),
                }
                drop((slot, place));
            };
            connections.spawn_on(serving, worker);
        }

        // From here new connections are refused by the operating system.
        drop(listener);
        shared.draining.store(true, Ordering::Release);
        stopping.send_replace(true);
        let drain = async { while connections.join_next().await.is_some() {} };
        tokio::time::timeout(shared.limits.drain_timeout, drain).await.is_ok()
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!("could not set TCP_NODELAY: {error}");
    }
    if let Err(error) = serve_connection(socket, shared, stopped).await {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Serves one connection, over whatever carries its bytes, until the client or a deadline ends it; once `stopped` holds
/// true, only what has been asked is still answered.
pub(crate) async fn serve_connection<I>(
    io: I,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let phase = Phase::default();
    let limits = &shared.limits;
    let responses = shared.budgets.read_responses.clone();
    let io = TokioIo::new(StallGuard::new(io, limits, responses, phase.clone()));
    let connection = http1::Builder::new()
        // A client may end its half once it has asked, and still wants the answer.
        .half_close(true)
        // `StallGuard` has the deadlines.
        .header_read_timeout(None)
        .max_buf_size(limits.header_bytes_max)
        .serve_connection(
            io,
            service_fn(|request| http::answer(Arc::clone(&shared), phase.request(), request)),
        );
    let mut connection = std::pin::pin!(connection);
    let stop = async {
        // The sender outlives the connections; were it gone, stopping would be right too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    tokio::select! {
        result = connection.as_mut() => result,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

#[cfg(test)]
mod tests;
