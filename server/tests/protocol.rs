//! The wire protocol against the real binary: headers, checksums, errors, health, hosts.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};

use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use support::{Answer, Server, esker, exchange, post, post_bytes, request};

/// Every answer carries a request id of the service's form and the checksum of its body.
fn check_headers(answer: &Answer) {
    let id = answer.header("x-amzn-requestid").unwrap();
    assert_eq!(id.len(), 52);
    assert!(id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()), "{id}");
    let checksum: u32 = answer.header("x-amz-crc32").unwrap().parse().unwrap();
    assert_eq!(checksum, crc32fast::hash(&answer.bytes));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

fn refused(answer: &Answer, status: u16, kind: &str) {
    check_headers(answer);
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.0"));
    assert!(answer.body.starts_with(&format!("{{\"__type\":\"{kind}\"")), "{answer:?}");
}

#[test]
fn answers_errors_and_health_have_their_form() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut stream = server.connect();
    let mut send = |request: Vec<u8>| exchange(&mut stream, &request).unwrap();

    let answer = send(request("ListTables", "{}"));
    check_headers(&answer);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"TableNames":[]}"#));
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.0"));

    let unknown = "com.amazon.coral.service#UnknownOperationException";
    refused(&send(post("Authorization: x\r\n", "{}")), 400, unknown);
    refused(&send(request("NoSuchThing", "{}")), 400, unknown);
    refused(&send(request("UpdateTimeToLive", "{}")), 400, unknown);
    let missing = "com.amazon.coral.service#MissingAuthenticationTokenException";
    refused(&send(post("X-Amz-Target: DynamoDB_20120810.ListTables\r\n", "{}")), 400, missing);
    let serialization = "com.amazon.coral.service#SerializationException";
    refused(&send(request("ListTables", "{")), 400, serialization);
    refused(&send(request("ListTables", r#"{"Limit":"5"}"#)), 400, serialization);
    let validation = "com.amazon.coral.validate#ValidationException";
    refused(&send(request("GetItem", "{}")), 400, validation);
    let not_found = "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException";
    let get = r#"{"TableName":"Nowhere","Key":{"a":{"S":"x"}}}"#;
    refused(&send(request("GetItem", get)), 400, not_found);

    // All on one connection: errors do not end it.
    for (path, body) in
        [("/", "healthy: dynamodb.local "), ("/healthz", "ok\n"), ("/readyz", "ready\n")]
    {
        let answer = send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes());
        check_headers(&answer);
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
    }
    refused(&send(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()), 404, unknown);
    refused(&send(b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()), 404, unknown);
}

#[test]
fn pages_are_let_in_where_their_origins_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let origin = "Origin: http://localhost:3000\r\n";
    let ask = format!(
        "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n{origin}Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: x-amz-target\r\n\r\n"
    );
    let list =
        format!("X-Amz-Target: DynamoDB_20120810.ListTables\r\nAuthorization: x\r\n{origin}");
    let allowed = "access-control-allow-origin";
    {
        // Nobody is, unless that is asked for.
        let server = Server::start(dir.path());
        let mut stream = server.connect();
        let answer = exchange(&mut stream, ask.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.header(allowed)), (404, None));
        assert_eq!(exchange(&mut stream, &post(&list, "{}")).unwrap().header(allowed), None);
    }
    let mut command = esker();
    command.args(["serve", "--port", "0", "--cors-origin", "http://localhost:3000", "--data-dir"]);
    command.arg(dir.path());
    let server = Server::run(command);
    let mut stream = server.connect();
    let answer = exchange(&mut stream, ask.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header(allowed), Some("http://localhost:3000"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-amz-target"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST, GET, OPTIONS"));
    assert_eq!(answer.header("access-control-max-age"), Some("172800"));
    let answer = exchange(&mut stream, &post(&list, "{}")).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"TableNames":[]}"#));
    assert_eq!(answer.header(allowed), Some("http://localhost:3000"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    // A page that is not named, and a client that is no browser, are told nothing of it.
    let other = ask.replace(":3000", ":3001");
    let answer = exchange(&mut stream, other.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.header(allowed)), (404, None));
    let answer = exchange(&mut stream, &request("ListTables", "{}")).unwrap();
    assert_eq!((answer.status, answer.header("vary")), (200, None));
}

#[test]
fn foreign_hosts_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut stream = server.connect();
    for host in ["evil.example", "evil.example:8000", "localhost.evil.example"] {
        let text = String::from_utf8(request("ListTables", "{}")).unwrap();
        let text = text.replace("Host: localhost", &format!("Host: {host}"));
        let answer = exchange(&mut stream, text.as_bytes()).unwrap();
        refused(&answer, 403, "com.amazon.coral.service#AccessDeniedException");
    }
    let answer = exchange(
        &mut stream,
        b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(answer.unwrap().status, 403);
}

#[test]
fn items_go_in_and_out_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let created = server.ok(
        "CreateTable",
        r#"{"TableName":"Things","AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},{"AttributeName":"r","AttributeType":"N"}],"KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],"BillingMode":"PAY_PER_REQUEST"}"#,
    );
    assert!(created.contains(r#""TableName":"Things""#), "{created}");
    let item = |r: i32| {
        format!(
            r#"{{"h":{{"S":"é"}},"m":{{"M":{{"l":{{"L":[{{"NULL":true}},{{"BOOL":false}}]}}}}}},"n":{{"N":"0.12345678901234567890123456789012345678"}},"r":{{"N":"{r}"}},"s":{{"SS":["","a"]}}}}"#
        )
    };
    for r in [-3, 10, 2] {
        let put = format!(r#"{{"TableName":"Things","Item":{}}}"#, item(r));
        assert_eq!(server.ok("PutItem", &put), "{}");
    }
    let key = r#"{"TableName":"Things","Key":{"h":{"S":"é"},"r":{"N":"1E1"}}}"#;
    assert_eq!(server.ok("GetItem", key), format!(r#"{{"Item":{}}}"#, item(10)));
    let query = r#"{"TableName":"Things","KeyConditionExpression":"h = :h","ExpressionAttributeValues":{":h":{"S":"é"}},"ScanIndexForward":false}"#;
    let expected = format!(
        r#"{{"Items":[{},{},{}],"Count":3,"ScannedCount":3}}"#,
        item(10),
        item(2),
        item(-3)
    );
    assert_eq!(server.ok("Query", query), expected);
    let scan = server.ok("Scan", r#"{"TableName":"Things","Select":"COUNT"}"#);
    assert_eq!(scan, r#"{"Count":3,"ScannedCount":3}"#);
    let filtered = r##"{"TableName":"Things","FilterExpression":"#r > :r AND s = :s","ProjectionExpression":"#r, m.l[1]","ExpressionAttributeNames":{"#r":"r"},"ExpressionAttributeValues":{":r":{"N":"2"},":s":{"SS":["a",""]}}}"##;
    assert_eq!(
        server.ok("Scan", filtered),
        r#"{"Items":[{"m":{"M":{"l":{"L":[{"BOOL":false}]}}},"r":{"N":"10"}}],"Count":1,"ScannedCount":3}"#
    );
    let part = format!("{},\"ProjectionExpression\":\"gone\"}}", &key[..key.len() - 1]);
    assert_eq!(server.ok("GetItem", &part), r#"{"Item":{}}"#);
    let mut stream = server.connect();
    let put = format!(
        r#"{{"TableName":"Things","Item":{},"ConditionExpression":"attribute_not_exists(h)","ReturnValuesOnConditionCheckFailure":"ALL_OLD"}}"#,
        item(10)
    );
    let answer = exchange(&mut stream, &request("PutItem", &put)).unwrap();
    refused(&answer, 400, "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException");
    let tail = format!(r#""message":"The conditional request failed","Item":{}}}"#, item(10));
    assert!(answer.body.ends_with(&tail), "{answer:?}");
    // The same in a transaction, with an item that needs room among the responses.
    let large =
        format!(r#"{{"h":{{"S":"large"}},"r":{{"N":"0"}},"t":{{"S":"{}"}}}}"#, "x".repeat(50_000));
    let hire = format!(
        r#"{{"TransactItems":[{{"Put":{{"TableName":"Things","Item":{large},"ConditionExpression":"attribute_not_exists(h)","ReturnValuesOnConditionCheckFailure":"ALL_OLD"}}}}]}}"#
    );
    assert_eq!(server.ok("TransactWriteItems", &hire), "{}");
    let answer = exchange(&mut stream, &request("TransactWriteItems", &hire)).unwrap();
    refused(&answer, 400, "com.amazonaws.dynamodb.v20120810#TransactionCanceledException");
    let tail = format!(
        r#","CancellationReasons":[{{"Code":"ConditionalCheckFailed","Item":{large},"Message":"The conditional request failed"}}],"Message":"Transaction cancelled, please refer cancellation reasons for specific reasons [ConditionalCheckFailed]"}}"#
    );
    assert!(answer.body.ends_with(&tail), "{answer:?}");
    let remove = r#"{"TransactItems":[{"Delete":{"TableName":"Things","Key":{"h":{"S":"large"},"r":{"N":"0"}}}}]}"#;
    assert_eq!(server.ok("TransactWriteItems", remove), "{}");
    let delete = format!("{},\"ReturnValues\":\"ALL_OLD\"}}", &key[..key.len() - 1]);
    assert_eq!(server.ok("DeleteItem", &delete), format!(r#"{{"Attributes":{}}}"#, item(10)));
    assert_eq!(server.ok("GetItem", key), "{}");

    // An acknowledged write survives the process.
    server.kill();
    let server = Server::start(dir.path());
    let scan = server.ok("Scan", r#"{"TableName":"Things","Select":"COUNT"}"#);
    assert_eq!(scan, r#"{"Count":2,"ScannedCount":2}"#);
}

#[test]
fn items_are_updated() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.ok(
        "CreateTable",
        r#"{"TableName":"Things","AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"}],"KeySchema":[{"AttributeName":"h","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST"}"#,
    );
    let body = |rest: &str| format!(r#"{{"TableName":"Things","Key":{{"h":{{"S":"x"}}}}{rest}}}"#);
    let update = |rest: &str| server.ok("UpdateItem", &body(rest));
    // What only takes away makes no item; no expression at all makes one.
    assert_eq!(update(r#","UpdateExpression":"REMOVE a","ReturnValues":"ALL_NEW""#), "{}");
    assert_eq!(server.ok("GetItem", &body("")), "{}");
    assert_eq!(update(""), "{}");
    assert_eq!(server.ok("GetItem", &body("")), r#"{"Item":{"h":{"S":"x"}}}"#);
    let set = r##","UpdateExpression":"SET n = if_not_exists(n, :z) + :n, p.c = :c","ExpressionAttributeValues":{":n":{"N":"2"},":z":{"N":"0"},":c":{"N":"1"}}"##;
    let mut stream = server.connect();
    let mut refuse = |rest: &str, kind: &str, message: &str| {
        let answer = exchange(&mut stream, &request("UpdateItem", &body(rest))).unwrap();
        refused(&answer, 400, kind);
        assert!(answer.body.ends_with(message), "{answer:?}");
    };
    let validation = "com.amazon.coral.validate#ValidationException";
    let no_map =
        r#""message":"The document path provided in the update expression is invalid for update"}"#;
    refuse(set, validation, no_map);
    let make = r#","UpdateExpression":"SET n = :n, p = :p","ExpressionAttributeValues":{":n":{"N":"2"},":p":{"M":{"c":{"N":"0"},"d":{"N":"7"}}}},"ReturnValues":"#;
    assert_eq!(update(&format!(r#"{make}"UPDATED_OLD""#)), "{}");
    assert_eq!(
        update(&format!(r#"{set},"ReturnValues":"UPDATED_NEW""#)),
        r#"{"Attributes":{"n":{"N":"4"},"p":{"M":{"c":{"N":"1"}}}}}"#
    );
    let whole = |n: i32| {
        format!(
            r#"{{"h":{{"S":"x"}},"n":{{"N":"{n}"}},"p":{{"M":{{"c":{{"N":"1"}},"d":{{"N":"7"}}}}}}}}"#
        )
    };
    let shown = |n: i32| format!(r#"{{"Attributes":{}}}"#, whole(n));
    assert_eq!(update(&format!(r#"{set},"ReturnValues":"ALL_OLD""#)), shown(4));
    assert_eq!(update(&format!(r#"{set},"ReturnValues":"ALL_NEW""#)), shown(8));
    assert_eq!(update(&format!(r#"{set},"ReturnValues":"NONE""#)), "{}");
    assert_eq!(
        update(&format!(r#"{set},"ReturnValues":"UPDATED_OLD""#)),
        r#"{"Attributes":{"n":{"N":"10"},"p":{"M":{"c":{"N":"1"}}}}}"#
    );
    // A condition that does not hold changes nothing and shows the item.
    let failed = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    let condition = format!(r#"{set},"ConditionExpression":"n < :n""#);
    refuse(&condition, failed, r#""message":"The conditional request failed"}"#);
    let with_item = format!(r#"{condition},"ReturnValuesOnConditionCheckFailure":"ALL_OLD""#);
    let tail = format!(r#""message":"The conditional request failed","Item":{}}}"#, whole(12));
    refuse(&with_item, failed, &tail);
    assert_eq!(server.ok("GetItem", &body("")), format!(r#"{{"Item":{}}}"#, whole(12)));
    assert_eq!(update(&condition.replace("n < :n", "n > :n")), "{}");
    let new_key = body(
        r#","UpdateExpression":"ADD n :n","ExpressionAttributeValues":{":n":{"N":"1"}},"ReturnValues":"ALL_NEW""#,
    );
    assert_eq!(
        server.ok("UpdateItem", &new_key.replace(r#""S":"x""#, r#""S":"y""#)),
        r#"{"Attributes":{"h":{"S":"y"},"n":{"N":"1"}}}"#
    );
}

#[test]
fn bodies_are_compressed_as_their_headers_say() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut stream = server.connect();
    server.ok(
        "CreateTable",
        r#"{"TableName":"employees","BillingMode":"PAY_PER_REQUEST",
            "KeySchema":[{"AttributeName":"employee_id","KeyType":"HASH"}],
            "AttributeDefinitions":[{"AttributeName":"employee_id","AttributeType":"S"}]}"#,
    );
    let mut send = |operation: &str, headers: &str, body: &[u8]| {
        let target = format!("X-Amz-Target: DynamoDB_20120810.{operation}\r\nAuthorization: x\r\n");
        let answer = exchange(&mut stream, &post_bytes(&(target + headers), body)).unwrap();
        check_headers(&answer);
        answer
    };

    let text = "badge ".repeat(60_000);
    let put = |id: &str| {
        format!(
            r#"{{"TableName":"employees","Item":{{"employee_id":{{"S":"{id}"}},"about":{{"S":"{text}"}}}}}}"#
        )
    };
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(put("a").as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(send("PutItem", "Content-Encoding: gzip\r\n", &gzip).status, 200);
    let mut zlib = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(put("b").as_bytes()).unwrap();
    let zlib = zlib.finish().unwrap();
    assert_eq!(send("PutItem", "Content-Encoding: deflate\r\n", &zlib).status, 200);

    let serialization = "com.amazon.coral.service#SerializationException";
    refused(&send("PutItem", "Content-Encoding: deflate\r\n", &gzip), 400, serialization);
    refused(&send("PutItem", "Content-Encoding: gzip\r\n", &gzip[..99]), 400, serialization);
    let unsupported = "com.amazon.coral.service#UnsupportedMediaTypeException";
    refused(&send("PutItem", "Content-Encoding: br\r\n", &gzip), 415, unsupported);

    for (id, expected) in [("a", text.as_str()), ("b", &text)] {
        let get = format!(r#"{{"TableName":"employees","Key":{{"employee_id":{{"S":"{id}"}}}}}}"#);
        let plain = send("GetItem", "Accept-Encoding: identity\r\n", get.as_bytes());
        assert_eq!(plain.header("content-encoding"), None);
        assert!(plain.body.contains(expected));
        for coding in ["gzip", "deflate"] {
            let accept = format!("Accept-Encoding: {coding}\r\n");
            let answer = send("GetItem", &accept, get.as_bytes());
            assert_eq!(answer.header("content-encoding"), Some(coding));
            assert!(answer.bytes.len() < plain.bytes.len() / 50);
            let mut unpacked = String::new();
            match coding {
                "gzip" => GzDecoder::new(&answer.bytes[..]).read_to_string(&mut unpacked).unwrap(),
                _ => ZlibDecoder::new(&answer.bytes[..]).read_to_string(&mut unpacked).unwrap(),
            };
            assert_eq!(unpacked, plain.body);
        }
    }
    let short = send("ListTables", "Accept-Encoding: gzip\r\n", b"{}");
    assert_eq!(short.header("content-encoding"), None);
}

#[test]
fn features_that_are_not_here_are_answered_as_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let created = server.ok(
        "CreateTable",
        r#"{"TableName":"employees","BillingMode":"PAY_PER_REQUEST",
            "KeySchema":[{"AttributeName":"employee_id","KeyType":"HASH"}],
            "AttributeDefinitions":[{"AttributeName":"employee_id","AttributeType":"S"}]}"#,
    );
    let arn = created.split("\"TableArn\":\"").nth(1).unwrap().split('"').next().unwrap();
    let not_found = "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException";
    for (operation, expected) in [
        ("DescribeTimeToLive", r#"{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}"#),
        (
            "DescribeContinuousBackups",
            r#"{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"DISABLED","PointInTimeRecoveryDescription":{"PointInTimeRecoveryStatus":"DISABLED"}}}"#,
        ),
        (
            "DescribeContributorInsights",
            r#"{"ContributorInsightsStatus":"DISABLED","TableName":"employees"}"#,
        ),
        (
            "DescribeKinesisStreamingDestination",
            r#"{"KinesisDataStreamDestinations":[],"TableName":"employees"}"#,
        ),
        (
            "DescribeTableReplicaAutoScaling",
            r#"{"TableAutoScalingDescription":{"Replicas":[],"TableName":"employees","TableStatus":"ACTIVE"}}"#,
        ),
    ] {
        for name in ["employees", arn] {
            let answer = server.ok(operation, &format!(r#"{{"TableName":"{name}"}}"#));
            assert_eq!(answer, expected, "{operation}");
        }
        let kind = match operation {
            "DescribeContinuousBackups" => {
                "com.amazonaws.dynamodb.v20120810#TableNotFoundException"
            }
            _ => not_found,
        };
        refused(&server.call(operation, r#"{"TableName":"nobody"}"#), 400, kind);
        let validation = "com.amazon.coral.validate#ValidationException";
        refused(&server.call(operation, "{}"), 400, validation);
        let serialization = "com.amazon.coral.service#SerializationException";
        refused(&server.call(operation, r#"{"TableName":7}"#), 400, serialization);
    }
    let resource = format!(r#"{{"ResourceArn":"{arn}"}}"#);
    assert_eq!(server.ok("ListTagsOfResource", &resource), r#"{"Tags":[]}"#);
    let missing = format!(r#"{{"ResourceArn":"{arn}x"}}"#);
    refused(&server.call("ListTagsOfResource", &missing), 400, not_found);
    let policy = "com.amazonaws.dynamodb.v20120810#PolicyNotFoundException";
    refused(&server.call("GetResourcePolicy", &resource), 400, policy);
    for (operation, expected) in [
        ("ListBackups", r#"{"BackupSummaries":[]}"#),
        ("ListExports", r#"{"ExportSummaries":[]}"#),
        ("ListImports", r#"{"ImportSummaryList":[]}"#),
        ("ListGlobalTables", r#"{"GlobalTables":[]}"#),
        ("ListContributorInsights", r#"{"ContributorInsightsSummaries":[]}"#),
        (
            "DescribeEndpoints",
            r#"{"Endpoints":[{"Address":"localhost","CachePeriodInMinutes":1440}]}"#,
        ),
    ] {
        assert_eq!(server.ok(operation, "{}"), expected);
        assert_eq!(server.call(operation, "[]").status, 400);
    }
    assert!(server.ok("DescribeLimits", "{}").contains("\"AccountMaxReadCapacityUnits\":80000"));
    let streams = "X-Amz-Target: DynamoDBStreams_20120810.ListStreams\r\nAuthorization: x\r\n";
    let answer = exchange(&mut server.connect(), &post(streams, "{}")).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"Streams":[]}"#));
}

#[test]
fn requests_without_expressions_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.ok(
        "CreateTable",
        r#"{"TableName":"Things","AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},{"AttributeName":"r","AttributeType":"N"}],"KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],"BillingMode":"PAY_PER_REQUEST"}"#,
    );
    let body = |members: &str| format!(r#"{{"TableName":"Things",{members}}}"#);
    let key = r#""Key":{"h":{"S":"a"},"r":{"N":"1"}}"#;
    let put = body(
        r#""Item":{"h":{"S":"a"},"r":{"N":"1"},"x.y":{"N":"1"}},"Expected":{"h":{"Exists":false}}"#,
    );
    assert_eq!(server.ok("PutItem", &put), "{}");
    let mut stream = server.connect();
    let mut refusal = |operation: &str, body: &str| {
        let answer = exchange(&mut stream, &request(operation, body)).unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
        answer.body
    };
    assert!(refusal("PutItem", &put).contains("ConditionalCheckFailedException"));
    let update = body(&format!(
        r#"{key},"AttributeUpdates":{{"x.y":{{"Action":"ADD","Value":{{"N":"2"}}}},"l":{{"Action":"ADD","Value":{{"L":[{{"S":"z"}}]}}}}}},"Expected":{{"x.y":{{"ComparisonOperator":"LT","AttributeValueList":[{{"N":"2"}}]}}}},"ReturnValues":"UPDATED_NEW""#
    ));
    assert_eq!(
        server.ok("UpdateItem", &update),
        r#"{"Attributes":{"l":{"L":[{"S":"z"}]},"x.y":{"N":"3"}}}"#
    );
    assert!(refusal("UpdateItem", &update).contains("ConditionalCheckFailedException"));
    let get = body(&format!(r#"{key},"AttributesToGet":["x.y"]"#));
    assert_eq!(server.ok("GetItem", &get), r#"{"Item":{"x.y":{"N":"3"}}}"#);
    let query = body(
        r#""KeyConditions":{"h":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"a"}]},"r":{"ComparisonOperator":"GE","AttributeValueList":[{"N":"1"}]}},"QueryFilter":{"l":{"ComparisonOperator":"CONTAINS","AttributeValueList":[{"S":"z"}]}},"AttributesToGet":["r"]"#,
    );
    let found = r#"{"Items":[{"r":{"N":"1"}}],"Count":1,"ScannedCount":1}"#;
    assert_eq!(server.ok("Query", &query), found);
    let scan = body(
        r#""ScanFilter":{"l":{"ComparisonOperator":"NULL"},"x.y":{"ComparisonOperator":"GT","AttributeValueList":[{"N":"2"}]}},"ConditionalOperator":"OR","AttributesToGet":["r"]"#,
    );
    assert_eq!(server.ok("Scan", &scan), found);
    let batch = format!(
        r#"{{"RequestItems":{{"Things":{{"Keys":[{{{}}}],"AttributesToGet":["r"]}}}}}}"#,
        &key["\"Key\":{".len()..key.len() - 1]
    );
    assert!(
        server
            .ok("BatchGetItem", &batch)
            .starts_with(r#"{"Responses":{"Things":[{"r":{"N":"1"}}]}"#)
    );
    let delete = body(&format!(
        r#"{key},"Expected":{{"x.y":{{"Value":{{"N":"3"}}}},"l":{{"ComparisonOperator":"NOT_NULL"}}}},"ConditionalOperator":"AND","ReturnValues":"ALL_OLD""#
    ));
    assert!(server.ok("DeleteItem", &delete).contains(r#""x.y":{"N":"3"}"#));
    assert!(refusal("DeleteItem", &delete).contains("ConditionalCheckFailedException"));
}
