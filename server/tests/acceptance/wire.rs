//! A server with tables, spoken to in JSON; every answer's checksum is compared. All tests of this folder use it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::support::{Answer, Server};

/// A server with a directory of its own.
pub struct Wire {
    server: Option<Server>,
    dir: tempfile::TempDir,
}

/// An error as a client sees it.
#[derive(Debug)]
pub struct Refusal {
    pub kind: String,
    pub message: String,
    pub body: Value,
}

impl Refusal {
    /// The codes of a cancelled transaction's actions.
    pub fn codes(&self) -> Vec<&str> {
        assert_eq!(self.kind, "TransactionCanceledException", "{self:?}");
        let reasons = self.body["CancellationReasons"].as_array().unwrap();
        reasons.iter().map(|reason| reason["Code"].as_str().unwrap()).collect()
    }
}

impl Wire {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { server: Some(Server::start(dir.path())), dir }
    }

    /// With a table `Tab` of this key.
    pub fn with_table(key: &str) -> Self {
        let wire = Self::new();
        wire.create("Tab", key, &[], &[]);
        wire
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Ends the process at once, as the system does for want of memory, and starts it again: what it has written to files
    /// stays, also without a sync.
    pub fn kill_and_start(&mut self) {
        self.server.take().unwrap().kill();
        self.server = Some(Server::start(self.dir.path()));
    }

    pub fn answer(&self, operation: &str, body: &Value) -> Answer {
        let answer = self.server().call(operation, &body.to_string());
        let checksum: u32 = answer.header("x-amz-crc32").unwrap().parse().unwrap();
        assert_eq!(checksum, crc32fast::hash(&answer.bytes));
        answer
    }

    /// What an operation answers that succeeds.
    pub fn ok(&self, operation: &str, body: Value) -> Value {
        let answer = self.answer(operation, &body);
        assert_eq!(answer.status, 200, "{operation} {:.300}: {}", body.to_string(), answer.body);
        if answer.body.is_empty() { Value::Null } else { answer.body.parse().unwrap() }
    }

    /// How an operation is refused.
    pub fn refused(&self, operation: &str, body: Value) -> Refusal {
        let answer = self.answer(operation, &body);
        assert_eq!(answer.status, 400, "{operation} {:.300}: {}", body.to_string(), answer.body);
        let body: Value = answer.body.parse().unwrap();
        let kind = body["__type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
        let message = ["message", "Message"].iter().find_map(|name| body[name].as_str());
        Refusal { kind, message: message.unwrap_or_default().to_owned(), body }
    }

    /// Asserts that an operation is a `ValidationException` that says `part`.
    #[track_caller]
    pub fn invalid(&self, operation: &str, body: Value, part: &str) {
        let shown = format!("{operation} {:.300}", body.to_string());
        let refusal = self.refused(operation, body);
        assert_eq!(refusal.kind, "ValidationException", "{shown}: {refusal:?}");
        assert!(refusal.message.contains(part), "{shown}: {refusal:?}");
    }

    /// Creates a table and waits until it can be used. Keys are written `pk=S / sk=N`: the HASH attributes, then the
    /// RANGE ones. Indexes are a name, a key and a projection type.
    pub fn create(
        &self,
        name: &str,
        key: &str,
        global: &[(&str, &str, &str)],
        local: &[(&str, &str, &str)],
    ) {
        let mut body = json!({"TableName": name, "BillingMode": "PAY_PER_REQUEST"});
        let keys = [key].into_iter().chain(global.iter().chain(local).map(|(_, key, _)| *key));
        body["AttributeDefinitions"] = definitions(keys);
        body["KeySchema"] = key_schema(key);
        let indexes = |indexes: &[(&str, &str, &str)]| -> Value {
            let index = |(name, key, projection): &(&str, &str, &str)| {
                json!({"IndexName": name, "KeySchema": key_schema(key),
                    "Projection": {"ProjectionType": projection}})
            };
            indexes.iter().map(index).collect()
        };
        if !global.is_empty() {
            body["GlobalSecondaryIndexes"] = indexes(global);
        }
        if !local.is_empty() {
            body["LocalSecondaryIndexes"] = indexes(local);
        }
        self.ok("CreateTable", body);
        self.until_active(name);
    }

    /// Waits until a table and its indexes can be used.
    pub fn until_active(&self, name: &str) -> Value {
        for _ in 0..6000 {
            let table = self.ok("DescribeTable", json!({"TableName": name}))["Table"].take();
            let none = Vec::new();
            let indexes = table["GlobalSecondaryIndexes"].as_array().unwrap_or(&none);
            let active = |index: &Value| index["IndexStatus"] == "ACTIVE";
            if table["TableStatus"] == "ACTIVE" && indexes.iter().all(active) {
                return table;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} never became active");
    }

    /// Puts an item into `Tab`.
    pub fn put(&self, item: Value) {
        self.ok("PutItem", json!({"TableName": "Tab", "Item": item}));
    }

    /// The item of `Tab` under a key, or null.
    pub fn get(&self, key: Value) -> Value {
        let body = json!({"TableName": "Tab", "Key": key, "ConsistentRead": true});
        self.ok("GetItem", body)["Item"].take()
    }

    /// Updates an item of `Tab`; `values` may be null.
    pub fn update(&self, key: Value, expression: &str, values: Value) -> Value {
        self.ok("UpdateItem", update(key, expression, values))
    }

    /// All of `Tab`.
    pub fn scan(&self) -> Vec<Value> {
        let answer = self.ok("Scan", json!({"TableName": "Tab", "ConsistentRead": true}));
        answer["Items"].as_array().unwrap().clone()
    }
}

/// The body of an UpdateItem of `Tab`.
pub fn update(key: Value, expression: &str, values: Value) -> Value {
    let mut body = json!({"TableName": "Tab", "Key": key, "UpdateExpression": expression});
    if !values.is_null() {
        body["ExpressionAttributeValues"] = values;
    }
    body
}

/// A body with these members over it.
pub fn with(mut body: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("members expected") };
    body.as_object_mut().unwrap().extend(more);
    body
}

fn parts(key: &str) -> impl Iterator<Item = (&'static str, &str, &str)> {
    let mut sides = key.split('/');
    let hash = sides.next().unwrap().split_whitespace().map(|part| ("HASH", part));
    let range = sides.next().unwrap_or("").split_whitespace().map(|part| ("RANGE", part));
    hash.chain(range).map(|(kind, part)| {
        let (name, of_type) = part.split_once('=').unwrap();
        (kind, name, of_type)
    })
}

pub fn key_schema(key: &str) -> Value {
    let element =
        |(kind, name, _): (&str, &str, &str)| json!({"AttributeName": name, "KeyType": kind});
    parts(key).map(element).collect()
}

pub fn definitions<'a>(keys: impl Iterator<Item = &'a str>) -> Value {
    let types: Map<String, Value> = keys
        .flat_map(parts)
        .map(|(_, name, of_type)| (name.to_owned(), Value::from(of_type)))
        .collect();
    types.iter().map(|(name, of)| json!({"AttributeName": name, "AttributeType": of})).collect()
}

pub fn s(text: &str) -> Value {
    json!({"S": text})
}

pub fn n(number: &str) -> Value {
    json!({"N": number})
}

/// The key `pk` of most tables here.
pub fn pk(text: &str) -> Value {
    json!({"pk": {"S": text}})
}

/// The values of one attribute, in the order of the items.
pub fn column<'a>(items: &'a Value, name: &str) -> Vec<&'a str> {
    let text = |item: &'a Value| {
        let value = item[name].as_object().unwrap().values().next().unwrap();
        value.as_str().unwrap()
    };
    items.as_array().unwrap().iter().map(text).collect()
}
