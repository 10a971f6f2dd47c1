//! Secondary indexes through the operations: what is in them, how they are read, what they cost, and
//! which values they refuse.

use std::collections::BTreeMap;

use super::*;
use crate::TableError;
use crate::operation::{
    BatchWriteItemRequest, ConsumedCapacity, PutItemRequest, QueryResponse, ReturnConsumedCapacity,
    ScanResponse, Select, UpdateItemRequest, WriteRequest,
};
use crate::schema::{
    GlobalSecondaryIndex, LocalSecondaryIndex, Projection, ProjectionType, TableStatus,
};

use KeyType::{Hash, Range};

fn key(elements: &[(&str, KeyType)]) -> Vec<KeySchemaElement> {
    let element = |(name, key_type): &(&str, KeyType)| KeySchemaElement {
        attribute_name: (*name).to_owned(),
        key_type: *key_type,
    };
    elements.iter().map(element).collect()
}

fn projection(projection_type: ProjectionType, names: &[&str]) -> Projection {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Projection {
        projection_type: Some(projection_type),
        non_key_attributes: (!names.is_empty()).then_some(names),
    }
}

fn global(
    name: &str,
    elements: &[(&str, KeyType)],
    projection: Projection,
) -> GlobalSecondaryIndex {
    GlobalSecondaryIndex {
        index_name: name.to_owned(),
        key_schema: key(elements),
        projection,
        ..Default::default()
    }
}

/// A table of tasks with the key `pk` (S) and `sk` (N), and these indexes:
///
/// | index | key | holds |
/// |---|---|---|
/// | `by_status` | global: `status` (S), `due` (N) | `title` |
/// | `by_worker` | global: `worker` (S) | all |
/// | `by_place` | global: `country`, `city` (S); `street` (S), `house` (N) | only keys |
/// | `by_due` | local: `due` (N) | `title` |
/// | `by_stamp` | local: `stamp` (B) | only keys |
pub(super) fn create_tasks(tables: &Tables) -> TableDescription {
    use ScalarAttributeType::{B, N, S};
    let definitions = [
        ("pk", S),
        ("sk", N),
        ("status", S),
        ("due", N),
        ("worker", S),
        ("country", S),
        ("city", S),
        ("street", S),
        ("house", N),
        ("stamp", B),
    ];
    let definition = |(name, attribute_type): (&str, ScalarAttributeType)| AttributeDefinition {
        attribute_name: name.to_owned(),
        attribute_type,
    };
    let keys_only = || projection(ProjectionType::KeysOnly, &[]);
    let title = || projection(ProjectionType::Include, &["title"]);
    let local = |name: &str, sort: &str, projection: Projection| LocalSecondaryIndex {
        index_name: name.to_owned(),
        key_schema: key(&[("pk", Hash), (sort, Range)]),
        projection,
    };
    let place = [("country", Hash), ("city", Hash), ("street", Range), ("house", Range)];
    let request = CreateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: definitions.into_iter().map(definition).collect(),
        key_schema: key(&[("pk", Hash), ("sk", Range)]),
        local_secondary_indexes: Some(vec![
            local("by_due", "due", title()),
            local("by_stamp", "stamp", keys_only()),
        ]),
        global_secondary_indexes: Some(vec![
            global("by_status", &[("status", Hash), ("due", Range)], title()),
            global("by_worker", &[("worker", Hash)], projection(ProjectionType::All, &[])),
            global("by_place", &place, keys_only()),
        ]),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    };
    tables.create_table(request).unwrap().table_description
}

pub(super) fn tasks() -> Fixture {
    let fixture = Fixture::new();
    create_tasks(&fixture.tables);
    fixture
}

fn with(mut base: Item, more: &[(&str, AttributeValue)]) -> Item {
    base.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    base
}

pub(super) fn task(pk: &str, sk: i64, more: &[(&str, AttributeValue)]) -> Item {
    with(item([("pk", pk.into()), ("sk", sk.into())]), more)
}

fn query(index: &str, condition: &str, values: &[(&str, AttributeValue)]) -> QueryRequest {
    QueryRequest {
        table_name: TABLE.to_owned(),
        index_name: Some(index.to_owned()),
        key_condition_expression: Some(condition.to_owned()),
        expression_attribute_values: Some(with(Item::new(), values)),
        expression_attribute_names: (condition.contains('#'))
            .then(|| [("#s".to_owned(), "status".to_owned())].into()),
        ..Default::default()
    }
}

pub(super) fn scan(tables: &Tables, index: &str) -> Vec<Item> {
    scan_all(tables, ScanRequest { index_name: Some(index.to_owned()), ..Default::default() })
}

fn message<T: std::fmt::Debug>(result: Result<T, TableError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), crate::TableErrorKind::Validation);
    error.message().to_owned()
}

pub(super) fn assert_sound(tables: &Tables) {
    let report = crate::verify(tables.db()).unwrap();
    assert_eq!(report.problem_count, 0, "{:?}", report.problems);
}

#[test]
fn describe_table_shows_the_indexes() {
    let fixture = Fixture::new();
    let created = create_tasks(&fixture.tables);
    assert!(
        created.global_secondary_indexes.iter().all(|i| i.index_status == TableStatus::Creating)
    );
    put(&fixture.tables, task("a", 1, &[("due", 5.into()), ("title", "x".into())]));
    put(&fixture.tables, task("a", 2, &[("due", 6.into()), ("status", "open".into())]));
    for fixture in [fixture, tasks().reopened()].into_iter().take(1) {
        let fixture = fixture.reopened();
        let description = describe(&fixture.tables);
        let names = |d: &TableDescription| -> Vec<String> {
            let local = d.local_secondary_indexes.iter().map(|index| index.index_name.clone());
            local.chain(d.global_secondary_indexes.iter().map(|i| i.index_name.clone())).collect()
        };
        assert_eq!(
            names(&description),
            ["by_due", "by_stamp", "by_status", "by_worker", "by_place"]
        );
        let by_due = &description.local_secondary_indexes[0];
        assert_eq!(by_due.key_schema, key(&[("pk", Hash), ("due", Range)]));
        assert_eq!(by_due.projection, projection(ProjectionType::Include, &["title"]));
        assert_eq!(by_due.item_count, 2);
        // pk 2 + 1, sk 2 + 2, due 3 + 2, and once title 5 + 1.
        assert_eq!(by_due.index_size_bytes, 2 * 12 + 6);
        assert_eq!(
            by_due.index_arn,
            "arn:aws:dynamodb:us-east-1:000000000000:table/things/index/by_due"
        );
        let by_status = &description.global_secondary_indexes[0];
        assert_eq!(by_status.index_status, TableStatus::Active);
        assert_eq!((by_status.item_count, by_status.index_size_bytes), (1, 12 + 6 + 4));
        assert_eq!(description.global_secondary_indexes[1].item_count, 0);
        assert_sound(&fixture.tables);
    }
}

#[test]
fn five_items_tied_on_their_index_key_are_paged_once_each() {
    let fixture = tasks();
    let tables = &fixture.tables;
    let tied = [("status", "open".into()), ("due", 7.into()), ("worker", "ada".into())];
    for (pk, sk) in [("a", 1), ("a", 2), ("b", 1), ("c", -3), ("c", 9)] {
        put(tables, task(pk, sk, &tied));
    }
    put(tables, task("z", 0, &[("status", "shut".into()), ("due", 7.into())]));
    let by_status =
        query("by_status", "#s = :s AND due = :d", &[(":s", "open".into()), (":d", 7.into())]);
    let by_worker = query("by_worker", "worker = :o", &[(":o", "ada".into())]);
    for request in [by_status, by_worker] {
        let mut pages = Vec::new();
        for forward in [true, false] {
            let one = QueryRequest {
                limit: Some(1),
                scan_index_forward: Some(forward),
                ..request.clone()
            };
            let first = tables.query(one.clone()).unwrap();
            let mut names: Vec<_> = first.last_evaluated_key.unwrap().into_keys().collect();
            names.retain(|name| name != "worker" && name != "due" && name != "status");
            assert_eq!(names, ["pk", "sk"]);
            let mut found = query_all(tables, &one);
            assert_eq!(found.len(), 5);
            if !forward {
                found.reverse();
            }
            pages.push(found);
        }
        assert_eq!(pages[0], pages[1]);
        let mut keys: Vec<_> =
            pages[0].iter().map(|item| format!("{:?}{:?}", item["pk"], item["sk"])).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5);
    }
    // A local index: ties within a partition.
    let by_due = query("by_due", "pk = :p AND due = :d", &[(":p", "c".into()), (":d", 7.into())]);
    for (forward, order) in [(true, [-3, 9]), (false, [9, -3])] {
        let one =
            QueryRequest { limit: Some(1), scan_index_forward: Some(forward), ..by_due.clone() };
        let found: Vec<_> = query_all(tables, &one).into_iter().map(|i| i["sk"].clone()).collect();
        assert_eq!(found, order.map(AttributeValue::from));
    }
}

#[test]
fn an_index_key_that_is_empty_null_or_of_a_wrong_type_is_refused_and_an_absent_one_is_not_indexed()
{
    let fixture = tasks();
    let tables = &fixture.tables;
    let put_request =
        |item: Item| PutItemRequest { table_name: TABLE.to_owned(), item, ..Default::default() };
    let batch = |item: Item| BatchWriteItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), vec![WriteRequest::Put(item)])]),
        ..Default::default()
    };
    let update = |name: &str, value: AttributeValue| UpdateItemRequest {
        table_name: TABLE.to_owned(),
        key: task("u", 1, &[]),
        update_expression: Some("SET #n = :v".to_owned()),
        expression_attribute_names: Some([("#n".to_owned(), name.to_owned())].into()),
        expression_attribute_values: Some(item([(":v", value)])),
        ..Default::default()
    };
    let empty = |index: &str, name: &str, kind: &str| {
        format!(
            "One or more parameter values are not valid. A value specified for a secondary index \
             key is not supported. The AttributeValue for a key attribute cannot contain an empty \
             {kind} value. IndexName: {index}, IndexKey: {name}"
        )
    };
    let mismatch = |index: &str, name: &str, expected: &str, actual: &str| {
        format!(
            "One or more parameter values were invalid: Type mismatch for Index Key {name} \
             Expected: {expected} Actual: {actual} IndexName: {index}"
        )
    };
    let size = |index: &str, name: &str, actual: usize, most: usize| {
        format!(
            "One or more parameter values were invalid: Size limit exceeded for Index Key {name} \
             Actual Size: {actual} bytes Max Size: {most} bytes IndexName: {index}"
        )
    };
    for (name, value, wanted) in [
        ("worker", "".into(), empty("by_worker", "worker", "string")),
        ("stamp", AttributeValue::B(vec![]), empty("by_stamp", "stamp", "binary")),
        ("worker", AttributeValue::Null, mismatch("by_worker", "worker", "S", "NULL")),
        ("worker", 5.into(), mismatch("by_worker", "worker", "S", "N")),
        // Of two indexes, the first by name tells.
        ("due", "5".into(), mismatch("by_due", "due", "N", "S")),
        ("house", true.into(), mismatch("by_place", "house", "N", "BOOL")),
        ("worker", "x".repeat(2049).into(), size("by_worker", "worker", 2049, 2048)),
        ("stamp", AttributeValue::B(vec![1; 1025]), size("by_stamp", "stamp", 1025, 1024)),
    ] {
        let wrong = task("a", 1, &[(name, value.clone())]);
        assert_eq!(message(tables.put_item(put_request(wrong.clone()))), wanted);
        assert_eq!(message(tables.batch_write_item(batch(wrong))), wanted);
        let of_update = message(tables.update_item(update(name, value)));
        if wanted.contains("cannot contain an empty") {
            let kind = if name == "stamp" { "binary" } else { "string" };
            assert_eq!(
                of_update,
                format!(
                    "One or more parameter values are not valid. The update expression attempted \
                     to update a secondary index key to a value that is not supported. The \
                     AttributeValue for a key attribute cannot contain an empty {kind} value."
                )
            );
        } else {
            assert_eq!(of_update, wanted);
        }
    }
    // The RANGE attributes share their limit, in an item that is in the index.
    let streets = [
        ("country", "x".into()),
        ("city", "x".into()),
        ("street", "x".repeat(1023).into()),
        ("house", 123.into()),
    ];
    let shared = message(tables.put_item(put_request(task("a", 1, &streets))));
    assert_eq!(shared, crate::message::RANGE_KEY_SIZE);
    assert_eq!(describe(tables).item_count, 0);
    put(tables, task("a", 1, &streets[1..]));
    assert_eq!(scan(tables, "by_place"), []);

    // What is not a key of an index may be empty, and what is absent is stored and not indexed.
    put(tables, task("a", 1, &[("title", "".into())]));
    put(tables, task("a", 2, &[("status", "open".into())]));
    put(tables, task("a", 3, &[("due", 3.into())]));
    assert_eq!(scan(tables, "by_status"), []);
    assert_eq!(scan(tables, "by_worker"), []);
    assert_eq!(scan(tables, "by_due"), [task("a", 3, &[("due", 3.into())])]);
    assert_eq!(describe(tables).item_count, 3);
    assert_sound(tables);
}

pub(super) fn units(
    total: f64,
    table: f64,
    local: &[(&str, f64)],
    global: &[(&str, f64)],
) -> Option<ConsumedCapacity> {
    let shares = |shares: &[(&str, f64)]| {
        let shares: BTreeMap<String, f64> =
            shares.iter().map(|(name, units)| ((*name).to_owned(), *units)).collect();
        (!shares.is_empty()).then_some(shares)
    };
    Some(ConsumedCapacity {
        table_name: TABLE.to_owned(),
        capacity_units: total,
        table: Some(table),
        capacity_use: None,
        local_secondary_indexes: shares(local),
        global_secondary_indexes: shares(global),
    })
}

#[test]
fn a_changed_index_key_costs_the_index_two_units_and_an_identical_overwrite_none() {
    let fixture = tasks();
    let tables = &fixture.tables;
    let asked = Some(ReturnConsumedCapacity::Indexes);
    let put = |more: &[(&str, AttributeValue)]| {
        let request = PutItemRequest {
            table_name: TABLE.to_owned(),
            item: task("a", 1, more),
            return_consumed_capacity: asked,
            ..Default::default()
        };
        tables.put_item(request).unwrap().consumed_capacity
    };
    let open = ("status", "open".into());
    let first = [open.clone(), ("due", 1.into()), ("title", "x".into())];
    assert_eq!(put(&first), units(3.0, 1.0, &[("by_due", 1.0)], &[("by_status", 1.0)]));
    assert_eq!(put(&first), units(1.0, 1.0, &[], &[]));
    // What an index does not hold costs it nothing.
    let other = with(Item::from(first.clone().map(|(n, v)| (n.to_owned(), v))), &[("x", 1.into())]);
    let other: Vec<_> = other.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(put(&other), units(1.0, 1.0, &[], &[]));
    // What it holds costs one write, another key two.
    let retitled = [open.clone(), ("due", 1.into()), ("title", "y".into())];
    assert_eq!(put(&retitled), units(3.0, 1.0, &[("by_due", 1.0)], &[("by_status", 1.0)]));
    let moved = [("status", "shut".into()), ("due", 1.into()), ("title", "y".into())];
    assert_eq!(put(&moved), units(3.0, 1.0, &[], &[("by_status", 2.0)]));
    let large = "z".repeat(1100);
    let retitled = [("status", "shut".into()), ("due", 1.into()), ("title", large.into())];
    assert_eq!(put(&retitled), units(6.0, 2.0, &[("by_due", 2.0)], &[("by_status", 2.0)]));
    // A delete and an insert are rounded on their own.
    let moved = [open, ("due", 1.into()), ("title", "y".into())];
    assert_eq!(put(&moved), units(7.0, 2.0, &[("by_due", 2.0)], &[("by_status", 3.0)]));

    let update = |expression: &str| {
        let request = UpdateItemRequest {
            table_name: TABLE.to_owned(),
            key: task("a", 1, &[]),
            update_expression: Some(expression.to_owned()),
            return_consumed_capacity: asked,
            ..Default::default()
        };
        tables.update_item(request).unwrap().consumed_capacity
    };
    assert_eq!(update("REMOVE nothing"), units(1.0, 1.0, &[], &[]));
    assert_eq!(update("REMOVE due"), units(3.0, 1.0, &[("by_due", 1.0)], &[("by_status", 1.0)]));
    let writes = |count: i64| -> Vec<_> {
        (1..=count).map(|sk| WriteRequest::Put(task("b", sk, &[("due", sk.into())]))).collect()
    };
    let request = BatchWriteItemRequest {
        request_items: BTreeMap::from([(TABLE.to_owned(), writes(3))]),
        return_consumed_capacity: asked,
        ..Default::default()
    };
    let consumed = tables.batch_write_item(request).unwrap().consumed_capacity.unwrap();
    assert_eq!(consumed, [units(6.0, 3.0, &[("by_due", 3.0)], &[]).unwrap()]);
    let request = DeleteItemRequest {
        table_name: TABLE.to_owned(),
        key: task("b", 1, &[]),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
        ..Default::default()
    };
    let consumed = tables.delete_item(request).unwrap().consumed_capacity.unwrap();
    assert_eq!((consumed.capacity_units, consumed.table), (2.0, None));
    assert_sound(tables);
}

#[test]
fn a_consistent_read_of_a_global_index_is_refused_and_of_a_local_one_is_not() {
    let fixture = tasks();
    let tables = &fixture.tables;
    put(tables, task("a", 1, &[("due", 1.into()), ("worker", "ada".into())]));
    let consistent = |request: QueryRequest| QueryRequest {
        consistent_read: Some(true),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Indexes),
        ..request
    };
    let worker = query("by_worker", "worker = :o", &[(":o", "ada".into())]);
    let refused = "Consistent reads are not supported on global secondary indexes";
    assert_eq!(message(tables.query(consistent(worker.clone()))), refused);
    let scan = |index: &str| ScanRequest {
        table_name: TABLE.to_owned(),
        index_name: Some(index.to_owned()),
        consistent_read: Some(true),
        ..Default::default()
    };
    assert_eq!(message(tables.scan(scan("by_worker"))), refused);
    assert_eq!(tables.scan(scan("by_due")).unwrap().count, 1);
    let due = query("by_due", "pk = :p", &[(":p", "a".into())]);
    let read = tables.query(consistent(due.clone())).unwrap();
    assert_eq!(read.count, 1);
    assert_eq!(read.consumed_capacity, units(1.0, 0.0, &[("by_due", 1.0)], &[]));
    let asked = Some(ReturnConsumedCapacity::Indexes);
    let read = tables.query(QueryRequest { return_consumed_capacity: asked, ..worker }).unwrap();
    assert_eq!(read.consumed_capacity, units(0.5, 0.0, &[], &[("by_worker", 0.5)]));
    // Whole items are read from the table, each charged for itself.
    put(tables, task("a", 2, &[("due", 2.into()), ("text", "x".repeat(5000).into())]));
    let all = QueryRequest { select: Some(Select::AllAttributes), ..consistent(due) };
    let read = tables.query(all).unwrap();
    assert_eq!(read.items.unwrap()[1].len(), 4);
    assert_eq!(read.consumed_capacity, units(4.0, 3.0, &[("by_due", 1.0)], &[]));
}

#[test]
fn reads_answer_what_the_index_holds() {
    let fixture = tasks();
    let tables = &fixture.tables;
    let whole = task(
        "a",
        1,
        &[
            ("status", "open".into()),
            ("due", 5.into()),
            ("title", "x".into()),
            ("note", "n".into()),
        ],
    );
    put(tables, whole.clone());
    let mut held = whole.clone();
    held.remove("note");
    let by_status = query("by_status", "#s = :s", &[(":s", "open".into())]);
    let mut local = held.clone();
    local.remove("status");
    let by_due = query("by_due", "pk = :p", &[(":p", "a".into())]);
    let items = |request: &QueryRequest, select| {
        let request = QueryRequest { select, ..request.clone() };
        tables.query(request).map(|answer| answer.items.unwrap_or_default())
    };
    assert_eq!(items(&by_status, None), Ok(vec![held.clone()]));
    assert_eq!(items(&by_status, Some(Select::AllProjectedAttributes)), Ok(vec![held.clone()]));
    assert_eq!(items(&by_due, None), Ok(vec![local]));
    assert_eq!(items(&by_due, Some(Select::AllAttributes)), Ok(vec![whole.clone()]));
    assert_eq!(
        message(items(&by_status, Some(Select::AllAttributes))),
        "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported \
         for global secondary index by_status because its projection type is not ALL"
    );
    let counted = QueryRequest { select: Some(Select::Count), ..by_status.clone() };
    let QueryResponse { items: None, count: 1, .. } = tables.query(counted).unwrap() else {
        panic!("a count with items");
    };
    // A projection takes from the index, and from the table where a local one does not hold it.
    let projected = |request: &QueryRequest, expression: &str| QueryRequest {
        projection_expression: Some(expression.to_owned()),
        ..request.clone()
    };
    assert_eq!(
        tables.query(projected(&by_status, "title, pk")).unwrap().items.unwrap(),
        [item([("title", "x".into()), ("pk", "a".into())])]
    );
    assert_eq!(
        message(tables.query(projected(&by_status, "note, title, extra.x"))),
        "One or more parameter values were invalid: Global secondary index by_status does not \
         project [extra, note]"
    );
    assert_eq!(
        tables.query(projected(&by_due, "note")).unwrap().items.unwrap(),
        [item([("note", "n".into())])]
    );
    let both = QueryRequest {
        select: Some(Select::AllProjectedAttributes),
        ..projected(&by_due, "title")
    };
    assert!(message(tables.query(both)).ends_with("choosing to get ALL_PROJECTED_ATTRIBUTES"));
    // A filter may name the table's key, but not the index's.
    let filtered = |expression: &str| QueryRequest {
        filter_expression: Some(expression.to_owned()),
        ..by_status.clone()
    };
    assert_eq!(tables.query(filtered("sk = pk OR title <> pk")).unwrap().count, 1);
    // Nor what the index does not hold, of either kind; a Scan finds it absent.
    let told = |index: &str, names: &str| {
        format!(
            "One or more parameter values were invalid: Secondary index {index} does not project one \
             or more filter attributes: [{names}]"
        )
    };
    let of_status = filtered("attribute_exists(note) OR extra.x = pk OR title = pk");
    assert_eq!(message(tables.query(of_status)), told("by_status", "extra, note"));
    let of_due = QueryRequest {
        filter_expression: Some("attribute_exists(note)".to_owned()),
        select: Some(Select::AllAttributes),
        ..by_due.clone()
    };
    assert_eq!(message(tables.query(of_due)), told("by_due", "note"));
    let scanned = |index: &str, filter: &str| {
        let request = ScanRequest {
            table_name: TABLE.to_owned(),
            index_name: Some(index.to_owned()),
            filter_expression: Some(filter.to_owned()),
            ..Default::default()
        };
        tables.scan(request).unwrap().count
    };
    for index in ["by_status", "by_due"] {
        assert_eq!(scanned(index, "attribute_exists(note)"), 0);
        assert_eq!(scanned(index, "attribute_not_exists(note)"), 1);
    }
    assert_eq!(
        message(tables.query(filtered("attribute_exists(due)"))),
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: due"
    );
    assert_eq!(
        message(tables.query(query("nothing", "pk = :p", &[(":p", "a".into())]))),
        "The table does not have the specified index: nothing"
    );
    let unknown = ScanRequest {
        index_name: Some("nothing".to_owned()),
        table_name: TABLE.to_owned(),
        ..Default::default()
    };
    assert_eq!(
        message(tables.scan(unknown)),
        "The table does not have the specified index: nothing"
    );
    assert!(message(tables.query(query("i!", "pk = :p", &[]))).contains("at 'indexName'"));
}

#[test]
fn conditions_on_the_sort_key_of_an_index_choose_its_entries() {
    let fixture = tasks();
    let tables = &fixture.tables;
    for (sk, blob) in [(1, &b"a"[..]), (2, b"ab"), (3, b"ab\0"), (4, b"ab\xff"), (5, b"b")] {
        let blob = AttributeValue::B(blob.to_vec());
        let due = AttributeValue::from(5 - 2 * sk);
        put(tables, task("p", sk, &[("stamp", blob), ("due", due), ("status", "s".into())]));
    }
    let found = |request: QueryRequest| -> Vec<AttributeValue> {
        query_all(tables, &request).into_iter().map(|item| item["sk"].clone()).collect()
    };
    let sks = |sks: &[i64]| -> Vec<AttributeValue> { sks.iter().map(|sk| (*sk).into()).collect() };
    for (condition, expected) in [
        ("= :a", &[2][..]),
        ("> :a", &[3, 4, 5]),
        (">= :a", &[2, 3, 4, 5]),
        ("< :a", &[1]),
        ("<= :a", &[1, 2]),
        ("BETWEEN :a AND :b", &[2, 3, 4, 5]),
    ] {
        let mut values = vec![(":p", "p".into()), (":a", AttributeValue::B(b"ab".to_vec()))];
        if condition.contains(":b") {
            values.push((":b", AttributeValue::B(b"b".to_vec())));
        }
        let request = query("by_stamp", &format!("pk = :p AND stamp {condition}"), &values);
        assert_eq!(found(request), sks(expected), "{condition}");
    }
    let begins = "pk = :p AND begins_with(stamp, :a)";
    let values = [(":p", "p".into()), (":a", AttributeValue::B(b"ab".to_vec()))];
    assert_eq!(found(query("by_stamp", begins, &values)), sks(&[2, 3, 4]));
    // Negative numbers too: dues are 3, 1, -1, -3, -5.
    let values = [(":s", "s".into()), (":a", AttributeValue::from(-3)), (":b", 1.into())];
    let between = query("by_status", "#s = :s AND due BETWEEN :a AND :b", &values);
    assert_eq!(found(between.clone()), sks(&[4, 3, 2]));
    let backward = QueryRequest { scan_index_forward: Some(false), limit: Some(2), ..between };
    assert_eq!(found(backward), sks(&[2, 3, 4]));
}

#[test]
fn keys_of_several_attributes_choose_by_their_first_ones() {
    let fixture = tasks();
    let tables = &fixture.tables;
    let place = |sk: i64, street: &str, house: i64| {
        task(
            "p",
            sk,
            &[
                ("country", "se".into()),
                ("city", "lund".into()),
                ("street", street.into()),
                ("house", house.into()),
            ],
        )
    };
    for (sk, street, house) in [(1, "a", 10), (2, "a", 9), (3, "ab", -1), (4, "b", 0)] {
        put(tables, place(sk, street, house));
    }
    // Without one part there is no entry.
    let mut partial = place(5, "a", 1);
    partial.remove("city");
    put(tables, partial);
    assert_eq!(scan(tables, "by_place").len(), 4);
    let here = "country = :c AND city = :t";
    let base = [(":c", "se".into()), (":t", "lund".into())];
    let request = |more: &str, values: &[(&str, AttributeValue)]| {
        query("by_place", &format!("{here}{more}"), &[&base[..], values].concat())
    };
    let found = |more: &str, values: &[(&str, AttributeValue)]| -> Vec<AttributeValue> {
        let request = QueryRequest { limit: Some(1), ..request(more, values) };
        query_all(tables, &request).into_iter().map(|item| item["sk"].clone()).collect()
    };
    let sks = |sks: &[i64]| -> Vec<AttributeValue> { sks.iter().map(|sk| (*sk).into()).collect() };
    assert_eq!(found("", &[]), sks(&[2, 1, 3, 4]));
    let street = (":s", AttributeValue::from("a"));
    assert_eq!(found(" AND street = :s", std::slice::from_ref(&street)), sks(&[2, 1]));
    assert_eq!(
        found(" AND begins_with(street, :s)", std::slice::from_ref(&street)),
        sks(&[2, 1, 3])
    );
    let house = (":h", AttributeValue::from(9));
    let both = [street.clone(), house.clone()];
    assert_eq!(found(" AND street = :s AND house > :h", &both), sks(&[1]));
    assert_eq!(found(" AND house = :h AND street = :s", &both), sks(&[2]));
    assert_eq!(
        message(tables.query(request(" AND house = :h", &[house]))),
        "RANGE key attributes street must have equality conditions specified in the query because \
         a condition is present on key attribute house"
    );
    assert!(
        message(tables.query(request(" AND street > :s AND house = :h", &both)))
            .starts_with("RANGE key attributes street must have equality")
    );
    assert_eq!(
        message(tables.query(query("by_place", "country = :c", &base[..1]))),
        "HASH key attributes city must have equality conditions specified in the query"
    );
    assert_eq!(
        message(tables.query(query("by_place", "country > :c AND city < :t", &base))),
        "HASH key attributes country, city must have equality conditions specified in the query"
    );
    // A key to go on from that the query could not have answered.
    let answer = tables.query(QueryRequest { limit: Some(1), ..request("", &[]) }).unwrap();
    let start = answer.last_evaluated_key.unwrap();
    assert_eq!(start.len(), 6);
    let from = |name: &str, value: &str, request: QueryRequest| {
        let exclusive_start_key = Some(with(start.clone(), &[(name, value.into())]));
        message(tables.query(QueryRequest { exclusive_start_key, ..request }))
    };
    let one_row = "The query can return at most one row and cannot be restarted";
    assert_eq!(from("country", "no", request("", &[])), one_row);
    assert_eq!(
        from("city", "oslo", request("", &[])),
        "The provided starting key is outside query boundaries based on provided conditions"
    );
    let on_street = request(" AND street = :s", &[street]);
    assert_eq!(from("city", "oslo", on_street.clone()), one_row);
    assert_eq!(
        from("street", "b", on_street),
        "The provided starting key does not match the range key predicate"
    );
}

#[test]
fn keys_to_go_on_from_have_the_keys_of_index_and_table() {
    let fixture = tasks();
    let tables = &fixture.tables;
    let start = |key: Item| {
        let request = query("by_worker", "worker = :o", &[(":o", "ada".into())]);
        tables.query(QueryRequest { exclusive_start_key: Some(key), ..request })
    };
    let worker = ("worker", AttributeValue::from("ada"));
    assert!(start(task("a", 1, std::slice::from_ref(&worker))).is_ok());
    let invalid = "The provided starting key is invalid";
    for key in [
        task("a", 1, &[]),
        task("a", 1, &[worker.clone(), ("due", 1.into())]),
        task("a", 1, &[("due", 1.into())]),
        task("a", 1, &[("worker", 5.into())]),
        item([("pk", "a".into()), ("sk", "x".into()), worker.clone()]),
    ] {
        assert_eq!(message(start(key.clone())), invalid, "{key:?}");
    }
    let scan = |key: Item, segments: Option<(i32, i32)>| {
        tables.scan(ScanRequest {
            table_name: TABLE.to_owned(),
            index_name: Some("by_worker".to_owned()),
            exclusive_start_key: Some(key),
            segment: segments.map(|s| s.0),
            total_segments: segments.map(|s| s.1),
            ..Default::default()
        })
    };
    let good = task("a", 1, &[worker]);
    assert!(scan(good.clone(), None).is_ok());
    assert_eq!(message(scan(task("a", 1, &[]), None)), invalid);
    assert_eq!(
        message(scan(task("a", 1, &[("worker", 5.into())]), None)),
        "One or more parameter values were invalid: Type mismatch for Index Key worker Expected: S \
         Actual: N IndexName: by_worker"
    );
    let refused = (0..4).filter(|n| scan(good.clone(), Some((*n, 4))).is_err()).count();
    assert_eq!(refused, 3);
}

#[test]
fn segments_of_a_parallel_scan_hold_every_entry_once() {
    let fixture = tasks();
    let tables = &fixture.tables;
    for n in 0..60 {
        let worker = format!("worker{}", n % 20);
        put(tables, task("p", n, &[("worker", worker.as_str().into())]));
    }
    let mut found = Vec::new();
    let mut used = 0;
    for segment in 0..7 {
        let items = scan_all(
            tables,
            ScanRequest {
                index_name: Some("by_worker".to_owned()),
                segment: Some(segment),
                total_segments: Some(7),
                limit: Some(2),
                ..Default::default()
            },
        );
        used += usize::from(!items.is_empty());
        found.extend(items);
    }
    assert!(used > 2, "all in {used} segments");
    found.sort_by_key(|item| match &item["sk"] {
        AttributeValue::N(n) => *n,
        _ => panic!("no number"),
    });
    assert_eq!(found, scan_all_sorted(tables));
    let ScanResponse { count, scanned_count, .. } = tables
        .scan(ScanRequest {
            table_name: TABLE.to_owned(),
            index_name: Some("by_worker".to_owned()),
            filter_expression: Some("worker = :o".to_owned()),
            expression_attribute_values: Some(item([(":o", "worker3".into())])),
            ..Default::default()
        })
        .unwrap();
    assert_eq!((count, scanned_count), (3, 60));
}

fn scan_all_sorted(tables: &Tables) -> Vec<Item> {
    let values = item([(":p", "p".into())]);
    query_all(
        tables,
        &QueryRequest {
            table_name: TABLE.to_owned(),
            key_condition_expression: Some("pk = :p".to_owned()),
            expression_attribute_values: Some(values),
            ..Default::default()
        },
    )
}
