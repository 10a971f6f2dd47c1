//! Requests over HTTP: plain sockets, one for each client, bodies as JSON.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use esker_benches::{
    call_head, content_length, describe_table_body, find, host_of, is_active, key,
};
use serde_json::{Value, json};

use crate::work::{Answer, INDEX, LIST, LISTS, PAGE, POINTS, Request, Stored, place};
use crate::{Failure, Peer};

struct Connection {
    stream: TcpStream,
    host: String,
    response: Vec<u8>,
    /// How long the last exchange took.
    taken: Duration,
}

/// Creates the tables and opens the connections.
pub(crate) fn open(endpoint: &str, connections: u64) -> Result<Vec<Box<dyn Peer>>, Failure> {
    let mut first = Connection::open(endpoint)?;
    let kinds = |keys: &[(&str, &str)]| -> Value {
        let element = |(name, kind): &(&str, &str)| json!({"AttributeName": name, "KeyType": kind});
        keys.iter().map(element).collect()
    };
    let definitions = |types: &[(&str, &str)]| -> Value {
        let of = |(name, of): &(&str, &str)| json!({"AttributeName": name, "AttributeType": of});
        types.iter().map(of).collect()
    };
    let points = json!({"TableName": POINTS, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": definitions(&[("id", "S")]), "KeySchema": kinds(&[("id", "HASH")])});
    let lists = json!({"TableName": LISTS, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": definitions(&[("id", "S"), ("at", "N"), ("grp", "S")]),
        "KeySchema": kinds(&[("id", "HASH"), ("at", "RANGE")]),
        "GlobalSecondaryIndexes": [{"IndexName": INDEX, "Projection": {"ProjectionType": "ALL"},
            "KeySchema": kinds(&[("grp", "HASH"), ("at", "RANGE")])}]});
    for (table, body) in [(POINTS, points), (LISTS, lists)] {
        first.exchange("CreateTable", &body.to_string())?.ok_or("CreateTable is not known")?;
        loop {
            let described = first.exchange("DescribeTable", &describe_table_body(table))?;
            let described = described.ok_or("DescribeTable is not known")?;
            let indexes = described["Table"]["GlobalSecondaryIndexes"].as_array();
            let mut indexes = indexes.into_iter().flatten();
            if is_active(&described) && indexes.all(|index| index["IndexStatus"] == "ACTIVE") {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let open = |_| Ok(Box::new(Connection::open(endpoint)?) as Box<dyn Peer>);
    (0..connections).map(open).collect()
}

impl Connection {
    fn open(endpoint: &str) -> Result<Self, Failure> {
        let host = host_of(endpoint)?.to_owned();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host, response: Vec::new(), taken: Duration::ZERO })
    }

    /// One answer; `None` where the server does not know the operation.
    fn exchange(&mut self, operation: &str, body: &str) -> Result<Option<Value>, Failure> {
        let head = call_head(&self.host, operation);
        let request = format!("{head}{}\r\n\r\n{body}", body.len());
        let since = Instant::now();
        self.stream.write_all(request.as_bytes())?;
        self.response.clear();
        let mut whole = usize::MAX;
        let mut start = 0;
        while self.response.len() < whole {
            let before = self.response.len();
            self.response.resize(before + (64 << 10), 0);
            let read = self.stream.read(&mut self.response[before..])?;
            self.response.truncate(before + read);
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            if start == 0
                && let Some(at) = find(&self.response, b"\r\n\r\n")
            {
                start = at + 4;
                whole = start + content_length(&self.response[..at])?;
            }
        }
        self.taken = since.elapsed();
        if self.response.starts_with(b"HTTP/1.1 200") {
            return Ok(Some(serde_json::from_slice(&self.response[start..])?));
        }
        let text = String::from_utf8_lossy(&self.response);
        match text.contains("UnknownOperationException") {
            true => Ok(None),
            false => Err(format!("{operation}: {text}").into()),
        }
    }
}

fn point_key(number: u64) -> Value {
    json!({"id": {"S": key(number)}})
}

fn point(stored: Stored) -> Value {
    let Stored { number, version } = stored;
    json!({"id": {"S": key(number)}, "n": {"N": number.to_string()},
        "v": {"N": version.to_string()}, "text": {"S": stored.text()}})
}

fn list_key(number: u64) -> Value {
    let (partition, at) = place(number);
    json!({"id": {"S": key(partition)}, "at": {"N": at.to_string()}})
}

fn list_item(stored: Stored, group: u64) -> Value {
    let mut whole = point(stored);
    let key_of_item = list_key(stored.number);
    whole["id"] = key_of_item["id"].clone();
    whole["at"] = key_of_item["at"].clone();
    whole["grp"] = json!({"S": key(group)});
    whole
}

fn number<T: std::str::FromStr>(item: &Value, name: &str) -> Option<T> {
    item[name]["N"].as_str()?.parse().ok()
}

/// Which version of which item this is, if all of it is right.
fn stored(item: &Value) -> Option<Stored> {
    let stored = Stored { number: number(item, "n")?, version: number(item, "v")? };
    let at: Option<u64> = number(item, "at");
    let right_key = match at {
        Some(at) => {
            place(stored.number) == (stored.number / LIST, at)
                && item["id"]["S"] == key(stored.number / LIST)
        }
        None => item["id"]["S"] == key(stored.number),
    };
    (right_key && item["text"]["S"] == stored.text()).then_some(stored)
}

fn of(request: &Request) -> (&'static str, Value) {
    let puts = |all: &[Stored]| -> Value {
        all.iter().map(|stored| json!({"PutRequest": {"Item": point(*stored)}})).collect()
    };
    match request {
        Request::Put(new, None) => ("PutItem", json!({"TableName": POINTS, "Item": point(*new)})),
        Request::Put(new, Some(version)) => (
            "PutItem",
            json!({"TableName": POINTS, "Item": point(*new), "ConditionExpression": "v = :v",
                "ExpressionAttributeValues": {":v": {"N": version.to_string()}}}),
        ),
        Request::Get(number) => (
            "GetItem",
            json!({"TableName": POINTS, "Key": point_key(*number), "ConsistentRead": true}),
        ),
        Request::Update(number, _) => (
            "UpdateItem",
            json!({"TableName": POINTS, "Key": point_key(*number), "UpdateExpression": "ADD hits :one",
                "ExpressionAttributeValues": {":one": {"N": "1"}}, "ReturnValues": "UPDATED_NEW"}),
        ),
        Request::Delete(old) => (
            "DeleteItem",
            json!({"TableName": POINTS, "Key": point_key(old.number), "ReturnValues": "ALL_OLD"}),
        ),
        Request::Query(partition) => (
            "Query",
            json!({"TableName": LISTS, "KeyConditionExpression": "id = :id", "ConsistentRead": true,
                "ExpressionAttributeValues": {":id": {"S": key(*partition)}}}),
        ),
        Request::QueryIndex(group) => (
            "Query",
            json!({"TableName": LISTS, "IndexName": INDEX, "KeyConditionExpression": "grp = :grp",
                "ExpressionAttributeValues": {":grp": {"S": key(*group)}}}),
        ),
        Request::Scan(from) => (
            "Scan",
            json!({"TableName": LISTS, "Limit": PAGE, "ExclusiveStartKey": list_key(*from)}),
        ),
        Request::BatchGet(numbers) => {
            let keys: Vec<Value> = numbers.iter().map(|number| point_key(*number)).collect();
            let wanted = json!({"Keys": keys, "ConsistentRead": true});
            ("BatchGetItem", json!({"RequestItems": {POINTS: wanted}}))
        }
        Request::BatchWrite(all) => {
            ("BatchWriteItem", json!({"RequestItems": {POINTS: puts(all)}}))
        }
        Request::BatchWriteLists(all) => {
            let put = |(stored, group): &(Stored, u64)| json!({"PutRequest": {"Item": list_item(*stored, *group)}});
            let puts: Value = all.iter().map(put).collect();
            ("BatchWriteItem", json!({"RequestItems": {LISTS: puts}}))
        }
        Request::TransactGet(numbers) => {
            let get =
                |number: &u64| json!({"Get": {"TableName": POINTS, "Key": point_key(*number)}});
            let gets: Value = numbers.iter().map(get).collect();
            ("TransactGetItems", json!({"TransactItems": gets}))
        }
        Request::TransactWrite(all) => {
            let put = |new: &Stored| json!({"Put": {"TableName": POINTS, "Item": point(*new)}});
            let puts: Value = all.iter().map(put).collect();
            ("TransactWriteItems", json!({"TransactItems": puts}))
        }
    }
}

impl Peer for Connection {
    fn call(&mut self, request: &Request) -> Result<Option<Answer>, Failure> {
        let (operation, body) = of(request);
        let Some(body) = self.exchange(operation, &body.to_string())? else { return Ok(None) };
        let list = |list: &Value| list.as_array().into_iter().flatten().map(stored).collect();
        let has = |name: &str| body[name].as_object().is_some_and(|members| !members.is_empty());
        let items: Vec<Option<Stored>> = match request {
            Request::Get(_) => vec![stored(&body["Item"])],
            Request::Delete(_) => vec![stored(&body["Attributes"])],
            Request::Query(_) | Request::QueryIndex(_) | Request::Scan(_) => list(&body["Items"]),
            Request::BatchGet(_) => list(&body["Responses"][POINTS]),
            Request::TransactGet(_) => {
                let responses = body["Responses"].as_array().into_iter().flatten();
                responses.map(|response| stored(&response["Item"])).collect()
            }
            _ => Vec::new(),
        };
        Ok(Some(Answer {
            items,
            hits: number(&body["Attributes"], "hits"),
            more: has("LastEvaluatedKey"),
            unprocessed: has("UnprocessedItems") || has("UnprocessedKeys"),
            taken: self.taken,
        }))
    }
}
