//! Requests through the table API, in this process: a database in a directory with the defaults, so writes are synced
//! before they are acknowledged, as those of the server are.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use esker::Db;
use esker_benches::key;
use esker_table::operation::*;
use esker_table::schema::*;
use esker_table::{AttributeValue, Item, TableError, Tables};

use crate::work::{Answer, INDEX, LIST, LISTS, PAGE, POINTS, Request, Stored, place};
use crate::{Failure, Peer};

/// Creates the tables; every client gets a handle of them.
pub(crate) fn open(directory: &Path, clients: u64) -> Result<Vec<Box<dyn Peer>>, Failure> {
    use ScalarAttributeType::{N, S};
    let tables = Tables::open(Db::open(directory)?)?;
    let schema = |names: &[&str]| -> Vec<KeySchemaElement> {
        let kinds = [KeyType::Hash, KeyType::Range].into_iter();
        let element = |(name, key_type): (&&str, KeyType)| KeySchemaElement {
            attribute_name: (*name).to_owned(),
            key_type,
        };
        names.iter().zip(kinds).map(element).collect()
    };
    let table = |name: &str, keys: &[&str], types: &[(&str, ScalarAttributeType)]| {
        let definition =
            |(name, attribute_type): &(&str, ScalarAttributeType)| AttributeDefinition {
                attribute_name: (*name).to_owned(),
                attribute_type: *attribute_type,
            };
        CreateTableRequest {
            table_name: name.to_owned(),
            attribute_definitions: types.iter().map(definition).collect(),
            key_schema: schema(keys),
            billing_mode: Some(BillingMode::PayPerRequest),
            ..Default::default()
        }
    };
    tables.create_table(table(POINTS, &["id"], &[("id", S)]))?;
    let index = GlobalSecondaryIndex {
        index_name: INDEX.to_owned(),
        key_schema: schema(&["grp", "at"]),
        projection: Projection {
            projection_type: Some(ProjectionType::All),
            non_key_attributes: None,
        },
        ..Default::default()
    };
    tables.create_table(CreateTableRequest {
        global_secondary_indexes: Some(vec![index]),
        ..table(LISTS, &["id", "at"], &[("id", S), ("at", N), ("grp", S)])
    })?;
    Ok((0..clients).map(|_| Box::new(Embedded(tables.clone())) as Box<dyn Peer>).collect())
}

struct Embedded(Tables);

fn item<const M: usize>(members: [(&str, AttributeValue); M]) -> Item {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.into())
}

fn point_key(number: u64) -> Item {
    item([("id", key(number).into())])
}

fn point(stored: Stored) -> Item {
    item([
        ("id", key(stored.number).into()),
        ("n", number(stored.number)),
        ("v", number(stored.version.into())),
        ("text", stored.text().into()),
    ])
}

fn list_key(of: u64) -> Item {
    let (partition, at) = place(of);
    item([("id", key(partition).into()), ("at", number(at))])
}

fn list_item(stored: Stored, group: u64) -> Item {
    let mut whole = point(stored);
    whole.extend(list_key(stored.number));
    whole.insert("grp".to_owned(), key(group).into());
    whole
}

/// Which version of which item this is, if all of it is right.
fn stored(of: &Item) -> Option<Stored> {
    let number = |name: &str| match of.get(name)? {
        AttributeValue::N(number) => number.to_string().parse::<u64>().ok(),
        _ => None,
    };
    let is = |name: &str, text: String| of.get(name) == Some(&AttributeValue::S(text));
    let stored = Stored { number: number("n")?, version: number("v")?.try_into().ok()? };
    let right_key = match number("at") {
        Some(at) => stored.number % LIST == at && is("id", key(stored.number / LIST)),
        None => is("id", key(stored.number)),
    };
    (right_key && is("text", stored.text())).then_some(stored)
}

/// The result of a call and how long it took.
fn timed<T>(call: impl FnOnce() -> Result<T, TableError>) -> Result<(T, Duration), TableError> {
    let since = Instant::now();
    let answer = call()?;
    Ok((answer, since.elapsed()))
}

impl Embedded {
    fn read(&self, request: &Request) -> Result<Answer, TableError> {
        let all = |items: Vec<Item>| items.iter().map(stored).collect();
        let tables = &self.0;
        Ok(match request {
            Request::Query(_) | Request::QueryIndex(_) => {
                let query = QueryRequest { table_name: LISTS.to_owned(), ..Default::default() };
                let query = match request {
                    Request::QueryIndex(group) => QueryRequest {
                        index_name: Some(INDEX.to_owned()),
                        key_condition_expression: Some("grp = :grp".to_owned()),
                        expression_attribute_values: Some(item([(":grp", key(*group).into())])),
                        ..query
                    },
                    Request::Query(partition) => QueryRequest {
                        key_condition_expression: Some("id = :id".to_owned()),
                        expression_attribute_values: Some(item([(":id", key(*partition).into())])),
                        consistent_read: Some(true),
                        ..query
                    },
                    _ => query,
                };
                let (answer, taken) = timed(|| tables.query(query))?;
                let items = all(answer.items.unwrap_or_default());
                Answer { items, more: answer.last_evaluated_key.is_some(), ..Answer::after(taken) }
            }
            Request::Scan(from) => {
                let scan = ScanRequest {
                    table_name: LISTS.to_owned(),
                    limit: Some(PAGE as i32),
                    exclusive_start_key: Some(list_key(*from)),
                    ..Default::default()
                };
                let (answer, taken) = timed(|| tables.scan(scan))?;
                let items = all(answer.items.unwrap_or_default());
                Answer { items, more: answer.last_evaluated_key.is_some(), ..Answer::after(taken) }
            }
            Request::BatchGet(numbers) => {
                let wanted = KeysAndAttributes {
                    keys: numbers.iter().copied().map(point_key).collect(),
                    consistent_read: Some(true),
                    ..Default::default()
                };
                let request_items = BTreeMap::from([(POINTS.to_owned(), wanted)]);
                let batch = BatchGetItemRequest { request_items, ..Default::default() };
                let (mut answer, taken) = timed(|| tables.batch_get_item(batch))?;
                let items = all(answer.responses.remove(POINTS).unwrap_or_default());
                let unprocessed = !answer.unprocessed_keys.is_empty();
                Answer { items, unprocessed, ..Answer::after(taken) }
            }
            Request::TransactGet(numbers) => {
                let get = |number: &u64| TransactGet {
                    table_name: POINTS.to_owned(),
                    key: point_key(*number),
                    ..Default::default()
                };
                let transact_items = numbers.iter().map(get).collect();
                let gets = TransactGetItemsRequest { transact_items, ..Default::default() };
                let (answer, taken) = timed(|| tables.transact_get_items(gets))?;
                let of = |item: &Option<Item>| item.as_ref().and_then(stored);
                Answer { items: answer.responses.iter().map(of).collect(), ..Answer::after(taken) }
            }
            Request::Get(number) => {
                let get = GetItemRequest {
                    table_name: POINTS.to_owned(),
                    key: point_key(*number),
                    consistent_read: Some(true),
                    ..Default::default()
                };
                let (answer, taken) = timed(|| tables.get_item(get))?;
                let items = vec![answer.item.as_ref().and_then(stored)];
                Answer { items, ..Answer::after(taken) }
            }
            _ => return self.write(request),
        })
    }

    fn write(&self, request: &Request) -> Result<Answer, TableError> {
        let tables = &self.0;
        let table_name = || POINTS.to_owned();
        Ok(match request {
            Request::Put(new, expected) => {
                let version = |version: &u32| item([(":v", number((*version).into()))]);
                let put = PutItemRequest {
                    table_name: table_name(),
                    item: point(*new),
                    condition_expression: expected.map(|_| "v = :v".to_owned()),
                    expression_attribute_values: expected.as_ref().map(version),
                    ..Default::default()
                };
                Answer::after(timed(|| tables.put_item(put))?.1)
            }
            Request::Update(number, _) => {
                let update = UpdateItemRequest {
                    table_name: table_name(),
                    key: point_key(*number),
                    update_expression: Some("ADD hits :one".to_owned()),
                    expression_attribute_values: Some(item([(":one", 1.into())])),
                    return_values: Some(ReturnValues::UpdatedNew),
                    ..Default::default()
                };
                let (answer, taken) = timed(|| tables.update_item(update))?;
                let hits = match answer.attributes.unwrap_or_default().get("hits") {
                    Some(AttributeValue::N(hits)) => hits.to_string().parse().ok(),
                    _ => None,
                };
                Answer { hits, ..Answer::after(taken) }
            }
            Request::Delete(old) => {
                let delete = DeleteItemRequest {
                    table_name: table_name(),
                    key: point_key(old.number),
                    return_values: Some(ReturnValues::AllOld),
                    ..Default::default()
                };
                let (answer, taken) = timed(|| tables.delete_item(delete))?;
                let items = vec![answer.attributes.as_ref().and_then(stored)];
                Answer { items, ..Answer::after(taken) }
            }
            Request::TransactWrite(all) => {
                let put = |new: &Stored| TransactWriteItem {
                    table_name: table_name(),
                    action: TransactAction::Put(point(*new)),
                    ..Default::default()
                };
                let transact_items = all.iter().map(put).collect();
                let writes = TransactWriteItemsRequest { transact_items, ..Default::default() };
                Answer::after(timed(|| tables.transact_write_items(writes))?.1)
            }
            Request::BatchWrite(all) => {
                let puts = all.iter().map(|new| WriteRequest::Put(point(*new))).collect();
                self.batch(POINTS, puts)?
            }
            Request::BatchWriteLists(all) => {
                let put = |(new, group): &(Stored, u64)| WriteRequest::Put(list_item(*new, *group));
                self.batch(LISTS, all.iter().map(put).collect())?
            }
            _ => return self.read(request),
        })
    }

    fn batch(&self, table: &str, writes: Vec<WriteRequest>) -> Result<Answer, TableError> {
        let request_items = BTreeMap::from([(table.to_owned(), writes)]);
        let batch = BatchWriteItemRequest { request_items, ..Default::default() };
        let (answer, taken) = timed(|| self.0.batch_write_item(batch))?;
        Ok(Answer { unprocessed: !answer.unprocessed_items.is_empty(), ..Answer::after(taken) })
    }
}

impl Peer for Embedded {
    fn call(&mut self, request: &Request) -> Result<Option<Answer>, Failure> {
        let is_read = matches!(
            request,
            Request::Get(_)
                | Request::Query(_)
                | Request::QueryIndex(_)
                | Request::Scan(_)
                | Request::BatchGet(_)
                | Request::TransactGet(_)
        );
        Ok(Some(if is_read { self.read(request)? } else { self.write(request)? }))
    }
}
