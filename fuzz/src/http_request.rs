//! One connection to the server: the first byte says in what pieces the rest arrives. Whatever the client sends, what it
//! reads are well-formed responses, errors in the form that clients of the protocol know, none of them the server's
//! fault, and the next connection is served.

use std::sync::LazyLock;

use esker::vfs::simulated::{CrashPolicy, SimulatedFs, Simulation};
use esker_base::checksum;
use esker_server::fuzzing::{HttpServer, gzip};
use esker_sim::small;
use esker_table::Tables;
use serde_json::Value;

const CREATE: &str = r#"{"TableName":"Tab","AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},
{"AttributeName":"s","AttributeType":"N"}],"KeySchema":[{"AttributeName":"p","KeyType":"HASH"},
{"AttributeName":"s","KeyType":"RANGE"}],"BillingMode":"PAY_PER_REQUEST"}"#;
const PUT: &str = r#"{"TableName":"Tab","Item":{"p":{"S":"a"},"s":{"N":"1"},"m":{"M":{"x":{"L":[{"NULL":true}]}}}}}"#;

/// A disk with a table and an item.
static DISK: LazyLock<SimulatedFs> = LazyLock::new(|| {
    let sim = Simulation::new(5);
    let server = server(&sim);
    for (operation, body) in [("CreateTable", CREATE), ("PutItem", PUT)] {
        let answer = server.exchange([&request(operation, body)[..]].into_iter());
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
    sim.fs.image(CrashPolicy::KeepAll, 0)
});

fn server(sim: &Simulation) -> HttpServer {
    let db = small(sim.world()).open("/db").expect("a healthy disk");
    let tables = Tables::open(db).expect("a healthy disk");
    HttpServer::new(tables).expect("invariant: no thread is needed yet")
}

fn request(operation: &str, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nHost: localhost:8000\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\n\
         Authorization: x\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends the rest of `data`, reads the answers, and asks for the tables on another connection.
pub fn check(data: &[u8]) {
    let Some((piece, input)) = data.split_first() else { return };
    let sim = Simulation::with_fs(DISK.fork(), 6);
    let server = server(&sim);
    let pieces = if *piece == 0 { input.len().max(1) } else { usize::from(*piece) };
    // An empty piece between two lets the server run dry.
    let answers = server.exchange(input.chunks(pieces).flat_map(|piece| [piece, &[]]));
    responses(&answers, input);
    let answer = server.exchange([&request("ListTables", "{}")[..]].into_iter());
    responses(&answer, b"");
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    assert!(find(&answer, b"{\"TableNames\":[").is_some(), "{}", String::from_utf8_lossy(&answer));
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Takes all responses apart.
fn responses(mut bytes: &[u8], input: &[u8]) {
    let heads_only = find(input, b"HEAD").is_some();
    while !bytes.is_empty() {
        bytes = response(bytes, heads_only)
            .unwrap_or_else(|| panic!("no response: {:?}", String::from_utf8_lossy(bytes)));
    }
}

/// What follows the first response; `None` if that is malformed. Where a request may have been for a head only, a body
/// may be missing.
fn response(bytes: &[u8], heads_only: bool) -> Option<&[u8]> {
    let end = find(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let rest = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let (version, status) = lines.next()?.split_once(' ')?;
    let status: u16 = status.get(..3)?.parse().ok()?;
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return None;
    }
    if status == 100 {
        return lines.next().is_none().then_some(rest);
    }
    assert!((200..500).contains(&status), "a client makes the server fail: {head}");
    let headers: Vec<(&str, &str)> =
        lines.map(|line| line.split_once(": ")).collect::<Option<_>>()?;
    let header = |name: &str| {
        headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    };
    let len: usize = header("content-length")?.parse().ok()?;
    if heads_only && (rest.is_empty() || rest.starts_with(b"HTTP/1.")) {
        return Some(rest);
    }
    let (body, rest) = rest.split_at_checked(len)?;
    let Some(id) = header("x-amzn-requestid") else {
        // What cannot be read as HTTP is refused without a word.
        return (body.is_empty() && (400..=431).contains(&status)).then_some(rest);
    };
    assert!(!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{head}");
    assert_eq!(header("x-amz-crc32"), Some(&*checksum::plain(body).to_string()));
    if let Some(coding) = header("content-encoding") {
        assert!(matches!(coding, "gzip" | "deflate") && status == 200, "{head}");
    } else if header("content-type") == Some("application/x-amz-json-1.0") {
        let body: Value = serde_json::from_slice(body).ok()?;
        if status >= 400 {
            assert!(body["__type"].as_str()?.contains('#'), "{body}");
            let message = body.get("message").or(body.get("Message"));
            assert!(message.is_none_or(Value::is_string), "{body}");
        } else {
            assert!(body.is_object() && body.get("__type").is_none(), "{body}");
        }
    } else {
        assert!(header("content-type") == Some("text/plain"), "{head}");
        assert!(std::str::from_utf8(body).is_ok());
    }
    Some(rest)
}

/// Requests of every kind, whole and in pieces.
pub fn seeds() -> Vec<Vec<u8>> {
    let key = r#"{"TableName":"Tab","Key":{"p":{"S":"a"},"s":{"N":"1"}}}"#;
    let condition = r##"{"TableName":"Tab","Item":{"p":{"S":"b"},"s":{"N":"2.50"},"b":{"B":"AAH/"},"ns":{"NS":["1","2"]}},
"ReturnValues":"ALL_OLD"}"##;
    let query = r##"{"TableName":"Tab","KeyConditionExpression":"#p = :p AND s BETWEEN :a AND :b","Limit":2,
"ExpressionAttributeNames":{"#p":"p"},"ExpressionAttributeValues":{":p":{"S":"a"},":a":{"N":"0"},":b":{"N":"9"}},
"ScanIndexForward":false}"##;
    let batch_write = r#"{"RequestItems":{"Tab":[{"PutRequest":{"Item":{"p":{"S":"c"},"s":{"N":"3"}}}},
{"DeleteRequest":{"Key":{"p":{"S":"a"},"s":{"N":"1"}}}}]}}"#;
    let batch_get = r#"{"RequestItems":{"Tab":{"Keys":[{"p":{"S":"a"},"s":{"N":"1"}}]}}}"#;
    let transact_write = r##"{"ClientRequestToken":"t","TransactItems":[{"Put":{"TableName":"Tab","Item":{"p":{"S":"d"},
"s":{"N":"4"}}}},{"Update":{"TableName":"Tab","Key":{"p":{"S":"a"},"s":{"N":"1"}},"UpdateExpression":"ADD n :n",
"ExpressionAttributeValues":{":n":{"N":"1"}}}},{"Delete":{"TableName":"Tab","Key":{"p":{"S":"e"},"s":{"N":"5"}}}},
{"ConditionCheck":{"TableName":"Tab","Key":{"p":{"S":"f"},"s":{"N":"6"}},"ConditionExpression":"attribute_exists(p)",
"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}}],"ReturnConsumedCapacity":"TOTAL"}"##;
    let transact_write_new = transact_write.replace("_exists", "_not_exists");
    let transact_get = r#"{"TransactItems":[{"Get":{"TableName":"Tab","Key":{"p":{"S":"a"},"s":{"N":"1"}},
"ProjectionExpression":"m.x[0]"}}],"ReturnConsumedCapacity":"INDEXES"}"#;
    let expected = r#"{"TableName":"Tab","Item":{"p":{"S":"a"},"s":{"N":"1"}},"ConditionalOperator":"OR","Expected":{
"m":{"ComparisonOperator":"NOT_CONTAINS","AttributeValueList":[{"S":"x"}]},"s":{"Value":{"N":"1"}},"x":{"Exists":false}}}"#;
    let updates = r#"{"TableName":"Tab","Key":{"p":{"S":"a"},"s":{"N":"1"}},"AttributeUpdates":{"n":{"Action":"ADD",
"Value":{"N":"1"}},"l":{"Action":"ADD","Value":{"L":[{"S":"x"}]}},"m":{"Action":"DELETE"},"q":{"Value":{"SS":["a"]}}}}"#;
    let conditions = r#"{"TableName":"Tab","KeyConditions":{"p":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"a"}]},
"s":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"0"},{"N":"9"}]}},"QueryFilter":{"m":{"ComparisonOperator":
"NOT_NULL"}},"AttributesToGet":["p","m"]}"#;
    let scan_filter = r#"{"TableName":"Tab","ScanFilter":{"s":{"ComparisonOperator":"IN","AttributeValueList":[{"N":"1"},
{"N":"2"}]},"p":{"ComparisonOperator":"BEGINS_WITH","AttributeValueList":[{"S":"a"}]}},"ConditionalOperator":"AND"}"#;
    let operations = [
        ("CreateTable", CREATE),
        ("DescribeTable", r#"{"TableName":"Tab"}"#),
        ("ListTables", r#"{"Limit":1}"#),
        ("PutItem", condition),
        ("GetItem", key),
        ("DeleteItem", key),
        ("Query", query),
        ("Scan", r#"{"TableName":"Tab","Limit":1,"Segment":0,"TotalSegments":2}"#),
        ("BatchWriteItem", batch_write),
        ("BatchGetItem", batch_get),
        ("TransactWriteItems", transact_write),
        ("TransactWriteItems", &transact_write_new),
        ("TransactGetItems", transact_get),
        ("PutItem", expected),
        ("UpdateItem", updates),
        ("Query", conditions),
        ("Scan", scan_filter),
        ("DeleteTable", r#"{"TableName":"Tab"}"#),
        ("UpdateItem", "{}"),
        ("PutItem", "{\"TableName\":\"Tab\",\"Item\":{\"p\":{\"S\":5}}}"),
    ];
    let mut inputs: Vec<Vec<u8>> =
        operations.iter().map(|(operation, body)| request(operation, body)).collect();
    let several = [inputs[3].clone(), inputs[4].clone(), inputs[6].clone()].concat();
    inputs.push(several);
    for text in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "HEAD /healthz HTTP/1.0\r\n\r\n",
        "GET /readyz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\n\
         Authorization: x\r\nExpect: 100-continue\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n",
        "POST /?X-Amz-Signature=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\
         X-Amz-Target: DynamoDB_20120810.ListTables\r\n\r\n{}",
    ] {
        inputs.push(text.as_bytes().to_vec());
    }
    let packed = gzip(batch_get.as_bytes());
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: DynamoDB_20120810.BatchGetItem\r\nAuthorization: x\r\n\
         Accept-Encoding: gzip;q=0.5, deflate\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    inputs.push([head.as_bytes(), &packed].concat());
    let with = |(number, input): (usize, &Vec<u8>)| {
        let piece = [0, 100, 7][number % 3];
        [&[piece][..], input].concat()
    };
    inputs.iter().enumerate().map(with).collect()
}
