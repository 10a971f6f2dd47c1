//! `esker serve`: opens the data directory, serves until SIGTERM, SIGHUP or Ctrl-C, drains, and closes the database.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use esker_table::Tables;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::inspect::print;
use super::{CliError, Outcome, descriptors, open};
use crate::access::Access;
use crate::cors::AllowedOrigins;
use crate::credentials::Credentials;
use crate::host::AllowedHosts;
use crate::limits::Limits;
use crate::logged::Logged;
use crate::server::Server;

/// How long blocking work may go on after the drain; it cannot be cancelled, but the process ends without it.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(5);

/// Between two looks at the work on indexes.
const INDEX_WORK_LOOK: Duration = Duration::from_secs(10);

/// The arguments of `esker serve`.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Where the data is; created if missing.
    #[arg(long, env = "ESKER_DATA_DIR", default_value = "esker-data", value_name = "DIR")]
    data_dir: PathBuf,

    /// The address to listen on.
    #[arg(long, env = "ESKER_HOST", default_value = "127.0.0.1")]
    host: String,

    /// The port to listen on; 0 picks a free one and prints it.
    #[arg(long, env = "ESKER_PORT", default_value_t = 8000)]
    port: u16,

    /// Accept only requests that are signed with a key of this file, which has the form of `~/.aws/credentials`; every
    /// profile of it counts. The variables ESKER_ACCESS_KEY_ID and ESKER_SECRET_ACCESS_KEY give one key without a file.
    #[arg(long, env = "ESKER_CREDENTIALS_FILE", value_name = "FILE")]
    credentials_file: Option<PathBuf>,

    /// Listen on an address that other machines reach, although anybody who reaches it may read and write.
    #[arg(long)]
    insecure: bool,

    /// A further name that clients may call this server by; `*` for any. May be repeated.
    #[arg(long, env = "ESKER_ALLOW_HOST", value_delimiter = ',', value_name = "NAME")]
    allow_host: Vec<String>,

    /// An origin whose pages may call this server from a browser, as in `http://localhost:3000`; `*` for any. May be
    /// repeated.
    #[arg(long, env = "ESKER_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    cors_origin: Vec<String>,

    /// Refuse requests that go beyond the provisioned capacity of a table or an index, or beyond their on-demand maxima, as
    /// DynamoDB does. What was not used for up to five minutes may be used at once; nothing is saved as the server starts.
    #[arg(long, env = "ESKER_THROTTLE")]
    throttle: bool,

    /// Change a limit of the server, as in `--limit connections=100`: of body-bytes, bodies-bytes, responses-bytes,
    /// work-bytes, header-bytes, connections, idle-ms, header-ms, body-ms, write-ms, response-ms, drain-ms. May be
    /// repeated.
    #[arg(long, env = "ESKER_LIMIT", value_delimiter = ',', value_name = "NAME=VALUE")]
    limit: Vec<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, CliError> {
    let mut limits = Limits::default();
    for limit in &arguments.limit {
        limits.set(limit).map_err(|problem| CliError::new(format!("--limit: {problem}")))?;
    }
    let connections = descriptors::connections(limits.connections_max);
    if connections < limits.connections_max {
        tracing::warn!(
            "at most {connections} connections, because the limit of open files (ulimit -n) is low"
        );
        limits.connections_max = connections;
    }
    // For accepting and for signals; the server starts threads of its own to serve.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(format!("could not start the server's threads: {error}")))?;
    let credentials = credentials(arguments)?;
    let is_guarded = credentials.is_some();
    // Bound before the data directory is touched: a mistaken second start changes nothing.
    let listener = runtime.block_on(bind(arguments, is_guarded))?;
    let address = listener
        .local_addr()
        .map_err(|error| CliError::new(format!("could not read the server's address: {error}")))?;
    let tables = open::tables(&arguments.data_dir, open::Use::Serve)?;
    tables.set_throttling(arguments.throttle);
    let hosts = arguments.allow_host.iter().chain([&arguments.host]).cloned();
    let service = Arc::clone(&tables) as _;
    let origins = AllowedOrigins::new(arguments.cors_origin.iter().cloned());
    let access = Access { hosts: AllowedHosts::new(hosts), origins, credentials };
    let server = Server::new(listener, service, limits, access)
        .map_err(|error| CliError::new(format!("could not start the server's threads: {error}")))?;

    let drained = runtime.block_on(async {
        let stop = stop_signal()?;
        announce(address, &arguments.data_dir, is_guarded);
        Ok::<_, CliError>(tokio::select! {
            drained = server.run(stop) => drained,
            never = watch_index_work(&tables) => match never {},
        })
    })?;
    if !drained {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    open::close(&tables)?;
    print("closed\n");
    Ok(Outcome::Done)
}

/// Logs what keeps indexes from being filled or taken away, which no request is told.
async fn watch_index_work(tables: &Tables) -> Infallible {
    let mut errors = 0;
    loop {
        tokio::time::sleep(INDEX_WORK_LOOK).await;
        let report = tables.index_work_report();
        if report.errors > errors {
            let (count, pending) = (report.errors - errors, report.pending);
            // None where what had failed has succeeded by now, or has been given up.
            let error = report.error.as_deref().unwrap_or("not any more");
            tracing::warn!(count, pending, "work on an index fails: {}", Logged(error));
        }
        errors = report.errors;
    }
}

/// The keys that the arguments or the environment name; none where neither does.
#[allow(clippy::disallowed_methods, reason = "a file of the user's, not the database")]
fn credentials(arguments: &Arguments) -> Result<Option<Credentials>, CliError> {
    // Not arguments: those of a process are there for everybody on the machine to read.
    let pair = ["ESKER_ACCESS_KEY_ID", "ESKER_SECRET_ACCESS_KEY"].map(|name| {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(|value| (name, value))
    });
    match (&arguments.credentials_file, pair) {
        (None, [None, None]) => Ok(None),
        (Some(path), [None, None]) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CliError::new(format!("--credentials-file {}: {error}", path.display()))
            })?;
            let credentials = Credentials::parse(&text).map_err(|problem| {
                CliError::new(format!("--credentials-file {}: {problem}", path.display()))
            })?;
            Ok(Some(credentials))
        }
        (None, [Some((_, key_id)), Some((_, secret))]) => {
            let words = (key_id.to_str(), secret.to_str());
            let (Some(key_id), Some(secret)) = words else {
                return Err(CliError::new("ESKER_ACCESS_KEY_ID and its secret must be UTF-8"));
            };
            Credentials::of(key_id, secret)
                .map(Some)
                .map_err(|problem| CliError::new(format!("ESKER_ACCESS_KEY_ID: {problem}")))
        }
        (None, [Some((there, _)), None] | [None, Some((there, _))]) => Err(CliError::new(format!(
            "{there} is set alone: ESKER_ACCESS_KEY_ID and ESKER_SECRET_ACCESS_KEY belong together"
        ))),
        (Some(_), _) => Err(CliError::new(
            "give either --credentials-file or ESKER_ACCESS_KEY_ID and ESKER_SECRET_ACCESS_KEY, \
             not both",
        )),
    }
}

async fn bind(arguments: &Arguments, is_guarded: bool) -> Result<TcpListener, CliError> {
    let Arguments { host, port, insecure, .. } = arguments;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((bare, *port))
        .await
        .map_err(|error| CliError::new(format!("--host {host} is not an address here: {error}")))?
        .collect();
    if !is_guarded && !insecure && !addresses.iter().all(|address| is_loopback(address.ip())) {
        return Err(CliError::new(format!(
            "--host {host} can be reached from other machines, and anybody may read and write: use \
             127.0.0.1, give --credentials-file, or add --insecure if the network is yours"
        )));
    }
    TcpListener::bind(addresses.as_slice()).await.map_err(|error| {
        CliError::new(match error.kind() {
            ErrorKind::AddrInUse => format!(
                "port {port} on {host} is in use: stop the other program, or choose another port \
                 with --port (0 picks a free one)"
            ),
            ErrorKind::PermissionDenied => {
                format!("no permission to listen on port {port}: choose one above 1023 with --port")
            }
            _ => format!("could not listen on {host}, port {port}: {error}"),
        })
    })
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Resolves on SIGTERM, SIGHUP or Ctrl-C; listens for them from now on.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    let listen = |kind| {
        signal(kind)
            .map_err(|error| CliError::new(format!("could not listen for signals: {error}")))
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = if hangup_is_ignored() { None } else { Some(listen(SignalKind::hangup())?) };
    let hung_up = async move {
        match &mut hangup {
            Some(hangup) => drop(hangup.recv().await),
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            () = hung_up => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Whether this process was started to outlive its terminal, as nohup does it. Where that cannot be told, SIGHUP
/// keeps the effect that it was started with.
#[allow(clippy::disallowed_methods, reason = "the process's own state, not the database")]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & 1 != 0)
}

fn announce(address: SocketAddr, data_dir: &Path, is_guarded: bool) {
    let directory = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let reachable = match address.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port()),
        _ => address,
    };
    // Signatures say who asks, and nothing is secret by them.
    let (guarded, credentials) = if is_guarded {
        ("  access   signed requests only; nothing is encrypted\n", "")
    } else {
        ("", "AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local ")
    };
    let text = format!(
        "Esker {version} is serving DynamoDB's API\n\
         \x20 address  http://{address}\n\
         \x20 data     {directory}\n\
         {guarded}\
         \x20 try      {credentials}aws dynamodb list-tables --region us-east-1 --endpoint-url http://{reachable}\n",
        version = env!("CARGO_PKG_VERSION"),
        directory = directory.display(),
    );
    print(&text);
}
