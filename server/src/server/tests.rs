//! The server over real sockets, with short limits and a service that is told how to behave: what a client can do
//! to itself, and that it can do nothing to the others. No test waits for a time to pass: they wait for the answer
//! or for the end of the connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use esker_table::operation::*;
use esker_table::schema::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use esker_table::{Item, TableError, Tables};
use tokio::sync::oneshot;

use super::Server;
use crate::access::Access;
use crate::body::RequestBody;
use crate::dispatch;
use crate::inline::InlineReads;
use crate::limits::{Budgets, Limits};
use crate::service::{Pending, Service};

/// Lists no tables, panics in DescribeTable and DeleteItem, waits in Scan until it is told to go on, and refuses GetItem and
/// PutItem with the name of the thread that they run on.
struct Scripted {
    scanning: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

macro_rules! refused_writes {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        $(fn $method(self: Arc<Self>, _: $request) -> Pending<$response> {
            Box::pin(async { Err(TableError::not_found("Requested resource not found")) })
        })*
    };
}

macro_rules! refused {
    ($($method:ident($request:ident) -> $response:ty;)*) => {
        $(fn $method(&self, _: $request) -> Result<$response, TableError> {
            Err(TableError::not_found("Requested resource not found"))
        })*
    };
}

impl Service for Scripted {
    fn list_tables(&self, _: ListTablesRequest) -> Result<ListTablesResponse, TableError> {
        Ok(ListTablesResponse::default())
    }
    fn describe_table(&self, _: DescribeTableRequest) -> Result<DescribeTableResponse, TableError> {
        panic!("as the test asked")
    }
    fn scan(&self, _: ScanRequest) -> Result<ScanResponse, TableError> {
        self.scanning.send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
        Ok(ScanResponse::default())
    }
    fn get_item(&self, _: GetItemRequest) -> Result<GetItemResponse, TableError> {
        Err(TableError::not_found(thread_name()))
    }
    fn put_item_async(self: Arc<Self>, _: PutItemRequest) -> Pending<PutItemResponse> {
        Box::pin(async { Err(TableError::not_found(thread_name())) })
    }
    fn delete_item_async(self: Arc<Self>, _: DeleteItemRequest) -> Pending<DeleteItemResponse> {
        Box::pin(async { panic!("as the test asked") })
    }
    refused! {
        create_table(CreateTableRequest) -> CreateTableResponse;
        delete_table(DeleteTableRequest) -> DeleteTableResponse;
        update_table(UpdateTableRequest) -> UpdateTableResponse;
        tag_resource(TagResourceRequest) -> ();
        untag_resource(UntagResourceRequest) -> ();
        list_tags_of_resource(ListTagsOfResourceRequest) -> ListTagsOfResourceResponse;
        query(QueryRequest) -> QueryResponse;
        batch_get_item(BatchGetItemRequest) -> BatchGetItemResponse;
        transact_get_items(TransactGetItemsRequest) -> TransactGetItemsResponse;
    }
    refused_writes! {
        update_item_async(UpdateItemRequest) -> UpdateItemResponse;
        batch_write_item_async(BatchWriteItemRequest) -> BatchWriteItemResponse;
        transact_write_items_async(TransactWriteItemsRequest) -> TransactWriteItemsResponse;
    }
}

fn thread_name() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// A running server; ended when it is dropped.
struct Running {
    address: SocketAddr,
    scanning: Receiver<()>,
    go_on: Sender<()>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<bool>>,
}

impl Running {
    fn start(limits: Limits) -> Self {
        let (scanning_sender, scanning) = channel();
        let (go_on, go_on_receiver) = channel();
        let service = Scripted { scanning: scanning_sender, go_on: Mutex::new(go_on_receiver) };
        let (stop, stopped) = oneshot::channel::<()>();
        let (address_sender, address) = channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                address_sender.send(listener.local_addr().unwrap()).unwrap();
                let access = Access::default();
                let server = Server::new(listener, Arc::new(service), limits, access).unwrap();
                server
                    .run(async {
                        let _ = stopped.await;
                    })
                    .await
            })
        });
        let address = address.recv().unwrap();
        Self { address, scanning, go_on, stop: Some(stop), thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        // Far beyond every limit here: only a server that hangs runs into it.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// One request on a connection of its own, and everything that is answered.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        rest(&mut stream)
    }

    fn works(&self) {
        let answer = self.exchange(&call("ListTables", "{}"));
        assert!(answer.contains(r#"{"TableNames":[]}"#), "{answer}");
    }

    fn stop(&mut self) -> bool {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is the server's right.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn call(operation: &str, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: x\r\nConnection: close\r\n\
         X-Amz-Target: DynamoDB_20120810.{operation}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn small_limits() -> Limits {
    Limits {
        body_bytes_max: 1 << 20,
        bodies_bytes_max: 2 << 20,
        idle_timeout: Duration::from_millis(200),
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        write_timeout: Duration::from_millis(200),
        ..Limits::default()
    }
}

#[test]
fn headers_that_are_too_large_are_refused_however_they_arrive() {
    let server = Running::start(Limits::default());
    for (kilobytes, status) in [(60, "200"), (100, "431"), (1000, "431")] {
        let padding = format!("X-Padding: {}\r\n", "x".repeat(kilobytes * 1000));
        let request = String::from_utf8(call("ListTables", "{}")).unwrap();
        let request = request.replacen("Authorization", &format!("{padding}Authorization"), 1);
        let answer = server.exchange(request.as_bytes());
        // The client may see a reset before the answer, once there is more to send.
        let is_cut = kilobytes == 1000 && answer.is_empty();
        assert!(is_cut || answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    server.works();
}

#[test]
fn a_panic_is_an_internal_error_and_the_server_goes_on() {
    let server = Running::start(Limits::default());
    for (operation, body) in
        [("DescribeTable", r#"{"TableName":"T"}"#), ("DeleteItem", r#"{"TableName":"T","Key":{}}"#)]
    {
        let answer = server.exchange(&call(operation, body));
        assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
        assert!(answer.contains("#InternalServerError"), "{answer}");
        assert!(answer.contains("x-amzn-requestid: "), "{answer}");
    }
    server.works();
}

#[test]
fn small_operations_do_not_wait_for_large_ones() {
    let mut server = Running::start(Limits { work_bytes_max: 16 << 20, ..Limits::default() });
    // More scans than may be under way, and than there are threads that may block.
    let mut scans: Vec<TcpStream> = (0..600).map(|_| server.connect()).collect();
    for scan in &mut scans {
        scan.write_all(&call("Scan", r#"{"TableName":"Things"}"#)).unwrap();
    }
    for _ in 0..3 {
        server.scanning.recv().unwrap();
    }
    server.works();
    let answer = server.exchange(&call("GetItem", r#"{"TableName":"Things","Key":{}}"#));
    assert!(answer.contains("#ResourceNotFoundException"), "{answer}");
    for _ in 0..scans.len() {
        server.go_on.send(()).unwrap();
    }
    for scan in &mut scans {
        assert!(rest(scan).starts_with("HTTP/1.1 200"));
    }
    assert!(server.stop());
}

#[test]
fn oversized_bodies_are_refused_announced_or_not() {
    let server = Running::start(small_limits());
    let announced = call("PutItem", &"x".repeat((1 << 20) + 1));
    let answer = server.exchange(&announced);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("#RequestEntityTooLargeException"), "{answer}");

    let mut chunked = b"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: x\r\n\
        X-Amz-Target: DynamoDB_20120810.PutItem\r\nTransfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for _ in 0..20 {
        chunked.extend(b"10000\r\n");
        chunked.extend(std::iter::repeat_n(b'x', 0x10000));
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let answer = server.exchange(&chunked);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    // A length that nobody could hold is refused without an allocation.
    let absurd = b"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: x\r\n\
        X-Amz-Target: DynamoDB_20120810.PutItem\r\nContent-Length: 9999999999999999\r\n\r\n";
    let answer = server.exchange(absurd);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.works();
}

#[test]
fn bodies_share_a_budget() {
    let limits = Limits { bodies_bytes_max: 1 << 19, body_bytes_max: 1 << 20, ..Limits::default() };
    let server = Running::start(limits);
    let answer = server.exchange(&call("PutItem", &" ".repeat((1 << 19) + 1)));
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    server.works();
}

#[test]
fn cut_and_stalled_requests_end_alone() {
    let server = Running::start(small_limits());
    // Cut in the head, and in the body.
    assert_eq!(server.exchange(b"POST / HTTP/1.1\r\nHost: loc"), "");
    let cut = call("ListTables", r#"{"Limit":5}"#);
    assert_eq!(server.exchange(&cut[..cut.len() - 3]), "");

    // Stalled before the first byte, in the head and in the body: the server ends them, and serves others meanwhile.
    let mut silent = server.connect();
    let mut head = server.connect();
    head.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Am").unwrap();
    let mut body = server.connect();
    body.write_all(&cut[..cut.len() - 3]).unwrap();
    for _ in 0..20 {
        server.works();
    }
    assert!(rest(&mut body).starts_with("HTTP/1.1 408"));
    let _ = rest(&mut head);
    let _ = rest(&mut silent);
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let mut server = Running::start(small_limits());
    let mut deaf = server.connect();
    // Requests without end, answers unread: in the end neither side takes any more, and the server gives up.
    let request =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Fill: {}\r\n\r\n", "x".repeat(500));
    let many = request.repeat(200);
    deaf.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    let ended = (0..10_000).any(|_| deaf.write_all(many.as_bytes()).is_err());
    assert!(ended, "the server read a billion bytes for a client that reads nothing");
    server.works();
    assert!(server.stop());
}

#[test]
fn connections_beyond_the_cap_are_closed_and_the_places_come_back() {
    let server = Running::start(Limits { connections_max: 2, ..Limits::default() });
    let open = |stream: &mut TcpStream| {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
    };
    let (mut one, mut two) = (server.connect(), server.connect());
    open(&mut one);
    open(&mut two);
    assert_eq!(rest(&mut server.connect()), "");
    // The place is free once the server has seen the end of the connection.
    drop(one);
    while server.exchange(&call("ListTables", "{}")).is_empty() {}
}

#[test]
fn draining_finishes_what_is_in_flight_and_refuses_the_rest() {
    let mut server = Running::start(Limits::default());
    let mut idle = server.connect();
    let mut busy = server.connect();
    busy.write_all(&call("Scan", r#"{"TableName":"T"}"#)).unwrap();
    server.scanning.recv().unwrap();
    drop(server.stop.take());
    // The idle connection is closed at once, while the busy one is still being worked on.
    assert_eq!(rest(&mut idle), "");
    assert!(TcpStream::connect(server.address).is_err());
    server.go_on.send(()).unwrap();
    assert!(rest(&mut busy).contains(r#"{"Count":0,"ScannedCount":0}"#));
    assert!(server.stop());
}

#[test]
fn draining_ends_although_a_request_does_not() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let mut server = Running::start(limits);
    let mut busy = server.connect();
    busy.write_all(&call("Scan", r#"{"TableName":"T"}"#)).unwrap();
    server.scanning.recv().unwrap();
    drop(server.stop.take());
    assert_eq!(rest(&mut busy), "");
    server.go_on.send(()).unwrap();
    assert!(!server.stop());
}

/// A read that waits for the disk must not hold up the connections of its worker, nor may one by a write.
#[test]
fn reads_and_writes_leave_the_worker_while_reads_are_slow() {
    let (scanning, _) = channel();
    let service: Arc<dyn Service> = Arc::new(Scripted { scanning, go_on: Mutex::new(channel().1) });
    let budgets = Budgets::new(&Limits::default());
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().thread_name("may-block").build().unwrap();
    let get = r#"{"TableName":"T","Key":{"k":{"S":"v"}}}"#;
    let put = r#"{"TableName":"T","Item":{"k":{"S":"v"}}}"#;
    for (operation, text) in [("GetItem", get), ("PutItem", put)] {
        let target = dispatch::find(Some(&format!("DynamoDB_20120810.{operation}"))).unwrap();
        let thread_with = |reads: InlineReads| {
            let body = RequestBody::of(text, &budgets.bodies);
            let (service, reads) = (Arc::clone(&service), Arc::new(reads));
            let answer = runtime.block_on(target.run(service, &budgets, &reads, "localhost", body));
            answer.unwrap_err().to_string()
        };
        let refusal = |thread: &str| format!("ResourceNotFoundException: {thread}");
        assert_eq!(thread_with(InlineReads::new()), refusal(&thread_name()), "{operation}");
        assert_eq!(thread_with(InlineReads::slow()), refusal("may-block"), "{operation}");
    }
}

/// Writes of one item wait for each other, some of them on threads that may block, of which there are few. The one whose
/// turn it was once waited for such a thread.
#[test]
fn writes_of_one_item_go_on_however_few_threads_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(esker::Db::open(dir.path()).unwrap()).unwrap();
    let key_attribute = AttributeDefinition {
        attribute_name: "k".to_owned(),
        attribute_type: ScalarAttributeType::S,
    };
    let request = CreateTableRequest {
        table_name: "Things".to_owned(),
        attribute_definitions: vec![key_attribute],
        key_schema: vec![KeySchemaElement {
            attribute_name: "k".to_owned(),
            key_type: KeyType::Hash,
        }],
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    };
    tables.create_table(request).unwrap();
    let service: Arc<dyn Service> = Arc::new(tables.clone());
    let target = dispatch::find(Some("DynamoDB_20120810.UpdateItem")).ok().unwrap();
    let body = r#"{"TableName":"Things","Key":{"k":{"S":"v"}},"UpdateExpression":"ADD n :n",
        "ExpressionAttributeValues":{":n":{"N":"1"}}}"#;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(2).build().unwrap();
    let are_done = runtime.block_on(async {
        let reads = Arc::new(InlineReads::new());
        let budgets = Arc::new(Budgets::new(&Limits::default()));
        let update = |_| {
            let (service, reads) = (Arc::clone(&service), Arc::clone(&reads));
            let budgets = Arc::clone(&budgets);
            tokio::spawn(async move {
                let body = RequestBody::of(body, &budgets.bodies);
                target.run(service, &budgets, &reads, "localhost", body).await
            })
        };
        let mut writes: Vec<_> = (0..20).map(update).collect();
        // They begin, and wait in line.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        reads.turn_slow();
        writes.extend((0..20).map(update));
        let all = async {
            for write in writes {
                write.await.unwrap().unwrap();
            }
        };
        // Far longer than it takes: only writes that hang run into it.
        tokio::time::timeout(Duration::from_secs(60), all).await.is_ok()
    });
    runtime.shutdown_background();
    assert!(are_done);
    let key = Item::from([("k".to_owned(), "v".into())]);
    let request = GetItemRequest { table_name: "Things".to_owned(), key, ..Default::default() };
    assert_eq!(tables.get_item(request).unwrap().item.unwrap()["n"], 40.into());
}
