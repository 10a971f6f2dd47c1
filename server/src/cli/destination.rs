//! Where import writes to and export reads from: a data directory that this process opens, or a running server.
//! Both speak the table layer's requests and responses; for a server these go over HTTP as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use esker_table::operation::{
    BatchWriteItemRequest, CreateTableRequest, DescribeTableRequest, ScanRequest, WriteRequest,
};
use esker_table::schema::{KeyType, ScalarAttributeType};
use esker_table::{Item, TableError, TableErrorKind, Tables};
use serde::de::MapAccess;

use super::client::Client;
use super::{CliError, open};
use crate::json::{self, Decoded, Members};
use crate::operation::requests;

/// The directory that is used where neither is named.
const DEFAULT_DATA_DIR: &str = "esker-data";
/// What names the directory where `--data-dir` does not.
const DATA_DIR_VARIABLE: &str = "ESKER_DATA_DIR";

/// How often a call that may succeed later is made, and how long to wait at first; the wait doubles.
const ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Which of the two.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The data directory, while no server has it open [env: ESKER_DATA_DIR=] [default: esker-data].
    // The environment is asked below: one that names a directory must not get in the way of --endpoint.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// The address of a running server, such as http://127.0.0.1:8000. Requests are signed where AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY are set.
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    endpoint: Option<String>,
}

/// An open data directory or a running server.
pub(super) enum Destination {
    Embedded(Arc<Tables>),
    Remote(Client),
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// What was sent is wrong.
    Rejected(String),
    /// There is no such table.
    NoTable,
    /// Nothing further can be done.
    Fatal(String),
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Rejected(message) | CallError::Fatal(message) => Self::new(message),
            CallError::NoTable => Self::new("the table does not exist"),
        }
    }
}

impl From<TableError> for CallError {
    fn from(error: TableError) -> Self {
        match error.kind() {
            TableErrorKind::Validation => Self::Rejected(error.message().to_owned()),
            TableErrorKind::ResourceNotFound => Self::NoTable,
            _ => Self::Fatal(error.to_string()),
        }
    }
}

/// A key attribute, and its type where it is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) kind: Option<ScalarAttributeType>,
}

/// The type that a key attribute's letter stands for.
pub(super) fn key_type(letter: &str) -> Option<ScalarAttributeType> {
    match letter {
        "S" => Some(ScalarAttributeType::S),
        "N" => Some(ScalarAttributeType::N),
        "B" => Some(ScalarAttributeType::B),
        _ => None,
    }
}

/// One page of a scan.
#[derive(Default)]
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    pub(super) last_evaluated_key: Option<Item>,
}

impl Destination {
    /// Opens what the arguments name, to `write` to it (a data directory is then made where it is missing) or only to
    /// read it, which changes nothing in the data directory.
    pub(super) fn open(arguments: &Arguments, write: bool) -> Result<Self, CliError> {
        if let Some(url) = &arguments.endpoint {
            return Ok(Self::Remote(Client::new(url).map_err(CliError::new)?));
        }
        let named = || std::env::var_os(DATA_DIR_VARIABLE).filter(|value| !value.is_empty());
        let directory = arguments.data_dir.clone().or_else(|| named().map(PathBuf::from));
        let directory = directory.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
        if write {
            return Ok(Self::Embedded(open::tables(&directory, open::Use::Import)?));
        }
        if !directory.exists() {
            return Err(CliError::new(format!(
                "there is no data directory {}: name one with --data-dir",
                directory.display()
            )));
        }
        Ok(Self::Embedded(open::tables_to_read(&directory)?))
    }

    /// Closes it, and says what could not be closed cleanly.
    pub(super) fn close(self) -> Result<(), CliError> {
        match self {
            Self::Embedded(tables) => open::close(&tables),
            Self::Remote(_) => Ok(()),
        }
    }

    /// The table's key attributes, the partition key first.
    pub(super) fn key(&self, table: &str) -> Result<Vec<Key>, CallError> {
        match self {
            Self::Embedded(tables) => {
                let request = DescribeTableRequest { table_name: table.to_owned() };
                let table = tables.describe_table(request)?.table;
                let mut key = table.key_schema;
                key.sort_by_key(|element| element.key_type != KeyType::Hash);
                let kind = |name: &str| {
                    let mut definitions = table.attribute_definitions.iter();
                    definitions.find(|of| of.attribute_name == name).map(|of| of.attribute_type)
                };
                let named = |name: String| Key { kind: kind(&name), name };
                Ok(key.into_iter().map(|element| named(element.attribute_name)).collect())
            }
            Self::Remote(client) => {
                let body = json::to_bytes(&BTreeMap::from([("TableName", table)]));
                let reply: Described = call(client, "DescribeTable", &body)?;
                let table = reply.table.unwrap_or_default();
                let mut key = table.key_schema.unwrap_or_default();
                key.sort_by_key(|element| element.key_type.as_deref() != Some("HASH"));
                let definitions = table.attribute_definitions.unwrap_or_default();
                let kind = |name: &str| {
                    let mut definitions = definitions.iter();
                    let of = definitions.find(|of| of.attribute_name.as_deref() == Some(name))?;
                    key_type(of.attribute_type.as_deref()?)
                };
                let named = |name: String| Key { kind: kind(&name), name };
                Ok(key
                    .into_iter()
                    .filter_map(|element| element.attribute_name)
                    .map(named)
                    .collect())
            }
        }
    }

    /// Creates a table.
    pub(super) fn create_table(&self, request: CreateTableRequest) -> Result<(), CallError> {
        match self {
            Self::Embedded(tables) => Ok(tables.create_table(request).map(|_| ())?),
            Self::Remote(client) => {
                let body = json::to_bytes(&requests::CreateTableOut(&request));
                call::<Ignored>(client, "CreateTable", &body).map(|_| ())
            }
        }
    }

    /// Writes up to 25 items with different keys; once it returns, they are durable.
    pub(super) fn write(&self, table: &str, items: Vec<Item>) -> Result<(), CallError> {
        let writes = items.into_iter().map(WriteRequest::Put).collect();
        let mut pending = BTreeMap::from([(table.to_owned(), writes)]);
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            pending = match self {
                Self::Embedded(tables) => {
                    let request_items = pending;
                    let request = BatchWriteItemRequest { request_items, ..Default::default() };
                    tables.batch_write_item(request)?.unprocessed_items
                }
                Self::Remote(client) => {
                    let body = json::to_bytes(&requests::BatchWriteItemOut(&pending));
                    let reply: requests::Unprocessed = call(client, "BatchWriteItem", &body)?;
                    reply.items().map_err(|error| CallError::Fatal(error.to_string()))?
                }
            };
            if pending.values().all(Vec::is_empty) {
                return Ok(());
            }
            pause(&mut wait);
        }
        Err(CallError::Fatal("the server keeps leaving items of a batch unprocessed".to_owned()))
    }

    /// Reads a page of a table.
    pub(super) fn scan(&self, table: &str, start: Option<Item>) -> Result<Page, CallError> {
        let request = ScanRequest {
            table_name: table.to_owned(),
            exclusive_start_key: start,
            ..Default::default()
        };
        match self {
            Self::Embedded(tables) => {
                let response = tables.scan(request)?;
                let items = response.items.unwrap_or_default();
                Ok(Page { items, last_evaluated_key: response.last_evaluated_key })
            }
            Self::Remote(client) => {
                let body = json::to_bytes(&requests::ScanOut(&request));
                let reply: ScanReply = call(client, "Scan", &body)?;
                let page = || -> Decoded<Page> {
                    Ok(Page {
                        items: reply.items.transpose()?.unwrap_or_default(),
                        last_evaluated_key: reply.last_evaluated_key.transpose()?,
                    })
                };
                page().map_err(|error| CallError::Fatal(error.to_string()))
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a client's pause between attempts, not the engine's")]
fn pause(wait: &mut Duration) {
    std::thread::sleep(*wait);
    *wait *= 2;
}

/// Makes one call; again where the server is busy or a connection broke.
fn call<T: Members>(client: &Client, operation: &str, body: &[u8]) -> Result<T, CallError> {
    let mut wait = FIRST_WAIT;
    let mut problem = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            pause(&mut wait);
        }
        let reply = match client.call(operation, body) {
            Ok(reply) => reply,
            Err(error) => {
                problem = format!("the server {} cannot be reached: {error}", client.url());
                continue;
            }
        };
        if reply.status == 200 {
            return json::read(&reply.body)
                .map_err(|error| CallError::Fatal(format!("the answer is not Esker's: {error}")));
        }
        let error: ErrorReply = json::read(&reply.body).unwrap_or_default();
        let (kind, message) = (error.kind.unwrap_or_default(), error.message.unwrap_or_default());
        if reply.status >= 500 {
            problem = format!("the server answered {}: {message}", reply.status);
            continue;
        }
        return Err(match kind.rsplit('#').next() {
            Some("ValidationException") => CallError::Rejected(message),
            Some("ResourceNotFoundException") => CallError::NoTable,
            Some("MissingAuthenticationTokenException") => CallError::Fatal(
                "the server wants signed requests; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key it knows"
                    .to_owned(),
            ),
            _ => {
                CallError::Fatal(format!("the server answered {}: {kind} {message}", reply.status))
            }
        });
    }
    Err(CallError::Fatal(problem))
}

/// Defines a structure of a reply with its members.
macro_rules! reply {
    ($name:ident { $($wire:literal => $field:ident: $type:ty = $reader:path),* $(,)? }) => {
        #[derive(Default)]
        struct $name {
            $($field: Option<$type>,)*
        }

        impl Members for $name {
            const NAME: &'static str = stringify!($name);

            fn member<'de, A: MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut A,
            ) -> Result<(), A::Error> {
                match name {
                    $($wire => self.$field = $reader(map)?,)*
                    _ => json::skip(map)?,
                }
                Ok(())
            }
        }
    };
}

reply!(ErrorReply { "__type" => kind: String = json::text, "message" => message: String = json::text });
reply!(Ignored {});
reply!(Described { "Table" => table: TableReply = json::structure });
reply!(TableReply {
    "KeySchema" => key_schema: Vec<KeyReply> = json::list,
    "AttributeDefinitions" => attribute_definitions: Vec<DefinitionReply> = json::list,
});
reply!(DefinitionReply {
    "AttributeName" => attribute_name: String = json::text,
    "AttributeType" => attribute_type: String = json::text,
});
reply!(KeyReply {
    "AttributeName" => attribute_name: String = json::text,
    "KeyType" => key_type: String = json::text,
});
reply!(ScanReply {
    "Items" => items: Decoded<Vec<Item>> = json::items,
    "LastEvaluatedKey" => last_evaluated_key: Decoded<Item> = json::item,
});
