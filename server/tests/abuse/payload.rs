//! Bodies that are made to cost: depth, length, number, and text that is none.

use crate::victim::Victim;

const DEPTH: usize = 100_000;

fn nested(open: &str, middle: &str, close: &str, depth: usize) -> String {
    [&open.repeat(depth), middle, &close.repeat(depth)].concat()
}

/// A megabyte and more of answer to an error is what it must never be.
fn refused(victim: &Victim, operation: &str, body: &str) {
    let reply = victim.call(operation, body.as_bytes());
    let shown = &body[..body.floor_char_boundary(100)];
    assert_eq!(reply.status, 400, "{operation} {shown}: {reply:?}");
    assert!(reply.body.len() < 64 << 10, "{operation} {shown}: {} bytes", reply.body.len());
}

#[test]
fn depth_is_refused_before_it_is_followed() {
    let victim = Victim::start(&[]);
    for (open, close) in
        [("[", "]"), ("{\"a\":", "}"), ("{\"L\":[", "]}"), ("{\"M\":{\"a\":", "}}")]
    {
        for depth in [33, 200, DEPTH] {
            // In a place that is read, whole and unfinished.
            for close in [close, ""] {
                let deep = nested(open, "{\"S\":\"x\"}", close, depth);
                refused(&victim, "PutItem", &deep);
                refused(&victim, "PutItem", &format!(r#"{{"TableName":{deep}}}"#));
                refused(&victim, "PutItem", &format!(r#"{{"TableName":"Tab","Item":{deep}}}"#));
                let item = format!(r#"{{"k":{{"S":"deep"}},"v":{deep}}}"#);
                refused(&victim, "PutItem", &format!(r#"{{"TableName":"Tab","Item":{item}}}"#));
                refused(&victim, "GetItem", &format!(r#"{{"TableName":"Tab","Key":{item}}}"#));
                let requests = format!(r#"{{"Tab":[{{"PutRequest":{{"Item":{item}}}}}]}}"#);
                refused(&victim, "BatchWriteItem", &format!(r#"{{"RequestItems":{requests}}}"#));
                let query = format!(
                    r#"{{"TableName":"Tab","KeyConditionExpression":"k = :k","ExpressionAttributeValues":{{":k":{deep}}}}}"#
                );
                refused(&victim, "Query", &query);
            }
        }
        // In a member that is skipped.
        let deep = nested(open, "1", close, DEPTH);
        let reply = victim.call("ListTables", format!(r#"{{"Unknown":{deep}}}"#).as_bytes());
        assert!([200, 400].contains(&reply.status), "{reply:?}");
        refused(&victim, "ListTables", &format!(r#"{{"Unknown":{}"#, nested(open, "", "", DEPTH)));
    }
    victim.during();
    victim.end("depth", 100);
}

#[test]
fn expressions_are_bounded() {
    let victim = Victim::start(&[]);
    let query = |expression: &str| {
        format!(
            r#"{{"TableName":"Tab","KeyConditionExpression":"{expression}","ExpressionAttributeValues":{{":k":{{"S":"x"}}}}}}"#
        )
    };
    for count in [100, 1000, DEPTH] {
        for expression in [
            nested("(", "k = :k", "", count),
            nested("(", "", ")", count),
            nested("NOT ", "k = :k", "", count),
            format!("k = :k{}", " AND k = :k".repeat(count)),
            "k = ".repeat(count),
            format!("{}begins_with(k, :k)", "begins_with(".repeat(count)),
            "#".repeat(count),
            format!("k = :{}", "k".repeat(count)),
        ] {
            refused(&victim, "Query", &query(&expression));
        }
    }
    // Within the limit of its length, depth costs nothing.
    let reply = victim.call("Query", query(&nested("(", "k = :k", ")", 2000)).as_bytes());
    assert!([200, 400].contains(&reply.status), "{reply:?}");
    victim.end("expressions", 50);
}

#[test]
fn numbers_of_any_length_are_judged() {
    let victim = Victim::start(&[]);
    let put = |number: &str| {
        format!(r#"{{"TableName":"Tab","Item":{{"k":{{"S":"number"}},"v":{{"N":"{number}"}}}}}}"#)
    };
    let digits = "9".repeat(1 << 20);
    let zeros = "0".repeat(1 << 20);
    for number in [
        "1e999999999",
        "-1e-999999999",
        "1e99999999999999999999999999",
        "1e",
        "e1",
        "-",
        "",
        ".",
        "0x10",
        "NaN",
        "Infinity",
        "1_000",
        "١",
        &digits,
        &format!("-{digits}"),
        &format!("1{zeros}"),
        &format!("0.{zeros}1"),
        &format!("1e{digits}"),
        &format!("1e-{digits}"),
    ] {
        refused(&victim, "PutItem", &put(number));
    }
    for number in
        [zeros.as_str(), &format!("0.{zeros}"), &format!("{zeros}1"), &format!("1.{zeros}")]
    {
        let reply = victim.call("PutItem", put(number).as_bytes());
        assert!([200, 400].contains(&reply.status), "{:?}", reply.head);
    }
    // Where JSON has a number itself.
    for number in ["1e999999999", "-1e999999999", &digits, &format!("1.{digits}x"), "--1", "01"] {
        refused(&victim, "Scan", &format!(r#"{{"TableName":"Tab","Limit":{number}}}"#));
    }
    victim.end("numbers", 100);
}

#[test]
fn long_texts_are_not_repeated() {
    let victim = Victim::start(&[]);
    let long = "x".repeat(5 << 20);
    for member in ["ReturnValues", "ReturnConsumedCapacity", "ReturnItemCollectionMetrics"] {
        let body =
            format!(r#"{{"TableName":"Tab","Item":{{"k":{{"S":"a"}}}},"{member}":"{long}"}}"#);
        refused(&victim, "PutItem", &body);
    }
    for (operation, body) in [
        ("PutItem", format!(r#"{{"TableName":"{long}","Item":{{"k":{{"S":"a"}}}}}}"#)),
        ("PutItem", format!(r#"{{"TableName":"Tab","Item":{{"k":{{"S":"{long}"}}}}}}"#)),
        (
            "PutItem",
            format!(r#"{{"TableName":"Tab","Item":{{"k":{{"S":"a"}},"{long}":{{"S":"a"}}}}}}"#),
        ),
        (
            "PutItem",
            format!(r#"{{"TableName":"Tab","Item":{{"k":{{"S":"a"}},"b":{{"B":"{long}"}}}}}}"#),
        ),
        ("GetItem", format!(r#"{{"TableName":"Tab","Key":{{"{long}":{{"S":"a"}}}}}}"#)),
        (
            "BatchGetItem",
            format!(r#"{{"RequestItems":{{"{long}":{{"Keys":[{{"k":{{"S":"a"}}}}]}}}}}}"#),
        ),
        ("BatchGetItem", format!(r#"{{"RequestItems":{{"{long}":{{}}}}}}"#)),
        ("ListTables", format!(r#"{{"ExclusiveStartTableName":"{long}"}}"#)),
        ("CreateTable", format!(r#"{{"TableName":"Other","BillingMode":"{long}"}}"#)),
        ("Scan", format!(r#"{{"TableName":"Tab","Select":"{long}"}}"#)),
        ("Query", format!(r#"{{"TableName":"Tab","KeyConditionExpression":"{long}"}}"#)),
    ] {
        refused(&victim, operation, &body);
    }
    let reply = victim.call("ListTables", format!(r#"{{"{long}":1}}"#).as_bytes());
    assert_eq!(reply.status, 200, "{:?}", reply.head);
    victim.end("long texts", 200);
}

/// Bodies of 16 MiB whose elements are as small as they can be.
#[test]
fn many_tiny_elements_cost_little() {
    const BYTES: usize = 16 << 20;
    let victim = Victim::start(&[]);
    let many = |element: &str| {
        let mut list = element.repeat(BYTES / element.len());
        list.pop();
        list
    };
    let named = |value: &str| {
        let mut text = String::with_capacity(BYTES + 100);
        for number in 0.. {
            text.push_str(&format!("\"{number:x}\":{value}"));
            if text.len() >= BYTES {
                return text;
            }
            text.push(',');
        }
        unreachable!()
    };
    let item =
        |members: &str| format!(r#"{{"TableName":"Tab","Item":{{"k":{{"S":"many"}},{members}}}}}"#);
    for element in
        ["{},", "null,", "{\"L\":[]},", "{\"S\":\"\"},", "{\"NULL\":true},", "{\"M\":{}},"]
    {
        refused(&victim, "PutItem", &item(&format!(r#""v":{{"L":[{}]}}"#, many(element))));
    }
    for value in ["{\"NULL\":true}", "{\"M\":{}}", "{}", "null"] {
        refused(&victim, "PutItem", &item(&named(value)));
    }
    for (set, element) in [("SS", "\"\","), ("SS", "\"a\","), ("NS", "\"1\","), ("BS", "\"\",")] {
        refused(&victim, "PutItem", &item(&format!(r#""v":{{"{set}":[{}]}}"#, many(element))));
    }
    for (operation, head, list, tail) in [
        ("BatchWriteItem", r#"{"RequestItems":{"Tab":["#, many("{},"), "]}}"),
        ("BatchWriteItem", r#"{"RequestItems":{"#, named("[]"), "}}"),
        ("BatchGetItem", r#"{"RequestItems":{"Tab":{"Keys":["#, many("{},"), "]}}}"),
        ("BatchGetItem", r#"{"RequestItems":{"#, named("{}"), "}}"),
        ("TransactWriteItems", r#"{"TransactItems":["#, many("{\"Put\":{}},"), "]}"),
        ("TransactGetItems", r#"{"TransactItems":["#, many("{\"Get\":{}},"), "]}"),
        ("CreateTable", r#"{"TableName":"Other","AttributeDefinitions":["#, many("{},"), "]}"),
        ("CreateTable", r#"{"TableName":"Other","KeySchema":["#, many("{},"), "]}"),
        (
            "Query",
            r##"{"TableName":"Tab","KeyConditionExpression":"#a = :b","ExpressionAttributeNames":{"##,
            named("\"\""),
            "}}",
        ),
        (
            "Query",
            r#"{"TableName":"Tab","KeyConditionExpression":"k = :b","ExpressionAttributeValues":{"#,
            named("{\"NULL\":true}"),
            "}}",
        ),
        ("GetItem", r#"{"TableName":"Tab","Key":{"#, named("{\"NULL\":true}"), "}}"),
    ] {
        refused(&victim, operation, &[head, &list, tail].concat());
    }
    victim.end("many tiny elements", 450);
}

#[test]
fn text_is_utf8_without_tricks() {
    let victim = Victim::start(&[]);
    let put = |text: &[u8]| {
        let head = br#"{"TableName":"Tab","Item":{"k":{"S":"text"},"v":{"S":""#;
        [head, text, br#""}}}"#].concat()
    };
    for text in [
        &b"\xff"[..],
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\x00",
        b"\x1f",
        b"\n",
        br"\ud800",
        br"\udc00\ud800",
        br"\ud800\ud800",
        br"\u12",
        br"\x41",
        b"\\",
    ] {
        let reply = victim.call("PutItem", &put(text));
        assert_eq!(reply.status, 400, "{text:?}: {reply:?}");
    }
    for start in [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff", b"\0"] {
        let reply = victim.call("ListTables", &[start, b"{}"].concat());
        assert_eq!(reply.status, 400, "{start:?}: {reply:?}");
    }
    for body in
        [&b""[..], b" ", b"{}{}", b"{} x", b"null", b"1", b"\"x\"", b"[]", b"{\"a\"}", b"{,}"]
    {
        let reply = victim.call("ListTables", body);
        assert_eq!(reply.status, 400, "{body:?}: {reply:?}");
    }
    // A NUL and a pair of surrogates are text, and come back.
    assert_eq!(victim.call("PutItem", &put(br"\u0000\ud83d\ude00")).status, 200);
    let item = victim.server.ok("GetItem", r#"{"TableName":"Tab","Key":{"k":{"S":"text"}}}"#);
    assert!(item.contains(r#"{"S":"\u0000😀"}"#), "{item}");
    // Of members that are given twice one counts; which is not promised.
    for (operation, body) in [
        ("ListTables", r#"{"Limit":1,"Limit":2}"#),
        (
            "PutItem",
            r#"{"TableName":"Tab","TableName":"Tab","Item":{"k":{"S":"twice"},"k":{"S":"twice"},"v":{"S":"a","S":"a"}}}"#,
        ),
    ] {
        let reply = victim.call(operation, body.as_bytes());
        assert!([200, 400].contains(&reply.status), "{reply:?}");
    }
    victim.end("texts", 50);
}
