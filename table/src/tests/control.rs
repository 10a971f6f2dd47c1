//! Tests of what UpdateTable changes and of tags: that it is there at once and after a reopen, that
//! answers are those of the service, and that tables from before these entries open.

use super::*;
use crate::operation::{
    DeleteTableRequest, ListTagsOfResourceRequest, TagResourceRequest, UntagResourceRequest,
    UpdateTableRequest,
};
use crate::schema::{
    OnDemandThroughput, ProvisionedThroughput, SseDescription, SseSpecification, SseType,
    StreamSpecification, TableClass, TableClassSummary, TableStatus, Tag, WarmThroughput,
    WarmThroughputDescription,
};
use crate::{TableErrorKind, message};

const ARN: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/things";

fn update() -> UpdateTableRequest {
    UpdateTableRequest { table_name: TABLE.to_owned(), ..Default::default() }
}

fn updated(tables: &Tables, request: UpdateTableRequest) -> TableDescription {
    tables.update_table(request).unwrap().table_description
}

fn refused(tables: &Tables, request: UpdateTableRequest) -> String {
    tables.update_table(request).unwrap_err().message().to_owned()
}

fn throughput(read_capacity_units: i64, write_capacity_units: i64) -> ProvisionedThroughput {
    ProvisionedThroughput { read_capacity_units, write_capacity_units }
}

fn capacity(read: i64, write: i64) -> UpdateTableRequest {
    UpdateTableRequest { provisioned_throughput: Some(throughput(read, write)), ..update() }
}

fn provisioned(tables: &Tables) {
    let request = CreateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: vec![AttributeDefinition {
            attribute_name: "pk".to_owned(),
            attribute_type: ScalarAttributeType::S,
        }],
        key_schema: vec![KeySchemaElement {
            attribute_name: "pk".to_owned(),
            key_type: KeyType::Hash,
        }],
        provisioned_throughput: Some(throughput(5, 5)),
        ..Default::default()
    };
    tables.create_table(request).unwrap();
}

#[test]
fn capacity_goes_up_and_down() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    provisioned(tables);
    assert_eq!(describe(tables).options.last_increase_date_time_ms, None);
    let answer = updated(tables, capacity(10, 3));
    assert_eq!(answer.table_status, TableStatus::Updating);
    // As it was; DescribeTable has the new values.
    assert_eq!(answer.provisioned_throughput, throughput(5, 5));
    assert_eq!(answer.options.number_of_decreases_today, 0);
    let now = describe(tables);
    assert_eq!(now.table_status, TableStatus::Active);
    assert_eq!(now.provisioned_throughput, throughput(10, 3));
    assert_eq!(now.options.number_of_decreases_today, 1);
    assert!(now.options.last_increase_date_time_ms >= Some(now.creation_date_time_ms));
    assert_eq!(now.options.last_decrease_date_time_ms, now.options.last_increase_date_time_ms);
    let warm = now.options.warm_throughput.unwrap();
    assert_eq!((warm.read_units_per_second, warm.write_units_per_second), (10, 5));
    updated(tables, capacity(3, 3));
    assert_eq!(describe(tables).options.number_of_decreases_today, 2);
    assert_eq!(
        refused(tables, capacity(3, 3)),
        "The provisioned throughput for the table will not change. The requested value equals the \
         current value. Current ReadCapacityUnits provisioned for the table: 3. Requested \
         ReadCapacityUnits: 3. Current WriteCapacityUnits provisioned for the table: 3. Requested \
         WriteCapacityUnits: 3. Refer to the Amazon DynamoDB Developer Guide for current limits \
         and how to request higher limits."
    );
    let fixture = fixture.reopened();
    let now = describe(&fixture.tables);
    assert_eq!(now.provisioned_throughput, throughput(3, 3));
    assert_eq!(now.options.number_of_decreases_today, 2);
}

#[test]
fn billing_is_switched_and_back() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    provisioned(tables);
    let by_request =
        || UpdateTableRequest { billing_mode: Some(BillingMode::PayPerRequest), ..update() };
    let alone = UpdateTableRequest { billing_mode: Some(BillingMode::Provisioned), ..update() };
    let with = |request| UpdateTableRequest { billing_mode: alone.billing_mode, ..request };
    assert!(
        refused(tables, alone.clone())
            .ends_with("must be specified when BillingMode is PROVISIONED")
    );
    assert!(refused(tables, with(capacity(5, 5))).starts_with("The provisioned throughput for"));
    assert_eq!(describe(tables).options.last_update_to_pay_per_request_date_time_ms, None);
    let limits =
        OnDemandThroughput { max_read_request_units: Some(10), ..OnDemandThroughput::default() };
    let request = UpdateTableRequest { on_demand_throughput: Some(limits), ..by_request() };
    assert_eq!(updated(tables, request).table_status, TableStatus::Updating);
    let now = describe(tables);
    assert_eq!(now.billing_mode, BillingMode::PayPerRequest);
    assert_eq!(now.provisioned_throughput, throughput(0, 0));
    assert_eq!(now.options.on_demand_throughput, Some(limits));
    assert_eq!(now.options.warm_throughput.unwrap().read_units_per_second, 12_000);
    assert!(now.options.last_update_to_pay_per_request_date_time_ms.is_some());
    // Asked for again it changes nothing.
    assert_eq!(updated(tables, by_request()).table_status, TableStatus::Updating);
    assert_eq!(describe(tables), now);
    assert_eq!(refused(tables, capacity(1, 1)), message::ON_DEMAND_HAS_NO_THROUGHPUT);
    assert_eq!(refused(tables, alone.clone()), message::control::SWITCH_NEEDS_THROUGHPUT);
    updated(tables, with(capacity(7, 7)));
    let fixture = fixture.reopened();
    let now = describe(&fixture.tables);
    assert_eq!(now.billing_mode, BillingMode::Provisioned);
    assert_eq!(now.provisioned_throughput, throughput(7, 7));
    assert_eq!(now.options.on_demand_throughput, None);
    assert_eq!(now.options.warm_throughput.unwrap().read_units_per_second, 12_000);
    assert!(now.options.last_update_to_pay_per_request_date_time_ms.is_some());
}

#[test]
fn limits_are_set_one_by_one_and_lifted() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    let limit = |read, write| UpdateTableRequest {
        on_demand_throughput: Some(OnDemandThroughput {
            max_read_request_units: read,
            max_write_request_units: write,
        }),
        ..update()
    };
    let shown = |description: TableDescription| {
        let limits = description.options.on_demand_throughput?;
        Some((limits.max_read_request_units, limits.max_write_request_units))
    };
    assert_eq!(shown(updated(tables, limit(Some(4), None))), Some((Some(4), None)));
    updated(tables, limit(None, Some(2)));
    assert_eq!(shown(describe(tables)), Some((Some(4), Some(2))));
    assert_eq!(shown(updated(tables, limit(Some(-1), None))), Some((Some(-1), Some(2))));
    assert_eq!(shown(describe(tables)), Some((None, Some(2))));
    updated(tables, limit(None, Some(-1)));
    assert_eq!(shown(describe(tables)), None);
    for wrong in [0, -2] {
        assert!(refused(tables, limit(Some(wrong), None)).ends_with("is outside of valid range"));
    }
    tables.delete_table(DeleteTableRequest { table_name: TABLE.to_owned() }).unwrap();
    provisioned(tables);
    assert_eq!(
        refused(tables, limit(None, Some(1))),
        "One or more parameter values were invalid: MaxWriteRequestUnits for OnDemandThroughput \
         cannot be specified when the table BillingMode is PROVISIONED"
    );
}

#[test]
fn protection_holds_until_it_is_lifted() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    let protect = |on| UpdateTableRequest { deletion_protection_enabled: Some(on), ..update() };
    for on in [true, true] {
        let answer = updated(tables, protect(on));
        assert!(answer.deletion_protection_enabled);
        assert_eq!(answer.table_status, TableStatus::Active);
    }
    let delete = || DeleteTableRequest { table_name: ARN.to_owned() };
    let fixture = fixture.reopened();
    let tables = &fixture.tables;
    let error = tables.delete_table(delete()).unwrap_err();
    assert_eq!(error.message(), message::DELETION_PROTECTED);
    updated(tables, protect(false));
    tables.delete_table(delete()).unwrap();
    let error = tables.update_table(protect(true)).unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::ResourceNotFound);
    assert_eq!(error.message(), "Requested resource not found: Table: things not found");
    // What is wrong with the request itself is told first.
    assert_eq!(refused(tables, update()), message::control::NOTHING_TO_UPDATE);
}

#[test]
fn class_encryption_and_warmth_are_kept() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    let class = |table_class| UpdateTableRequest { table_class: Some(table_class), ..update() };
    assert_eq!(updated(tables, class(TableClass::Standard)).table_status, TableStatus::Updating);
    assert_eq!(describe(tables).options.table_class, None);
    assert_eq!(
        updated(tables, class(TableClass::StandardInfrequentAccess)).options.table_class,
        None
    );
    let sse = |enabled, key: Option<&str>| UpdateTableRequest {
        sse_specification: Some(SseSpecification {
            enabled: Some(enabled),
            sse_type: enabled.then_some(SseType::Kms),
            kms_master_key_id: key.map(str::to_owned),
        }),
        ..update()
    };
    assert_eq!(refused(tables, sse(false, None)), message::control::ENCRYPTED_BY_DEFAULT);
    let key = |key: &str| Some(format!("arn:aws:kms:us-east-1:000000000000:{key}"));
    let of = |key: Option<String>, is_updating| {
        Some(SseDescription { kms_master_key_arn: key, is_updating })
    };
    assert_eq!(updated(tables, sse(true, None)).options.sse, of(None, true));
    let managed = describe(tables).options.sse;
    assert_eq!(
        updated(tables, sse(true, Some("alias/aws/dynamodb"))).table_status,
        TableStatus::Active
    );
    assert_eq!(describe(tables).options.sse, managed);
    updated(tables, sse(true, Some("mine")));
    assert_eq!(describe(tables).options.sse, of(key("key/mine"), false));
    assert_eq!(
        refused(tables, sse(true, key("key/mine").as_deref())),
        message::control::ENCRYPTED_WITH_KEY
    );
    let warm = |read, write| UpdateTableRequest {
        warm_throughput: Some(WarmThroughput {
            read_units_per_second: read,
            write_units_per_second: write,
        }),
        ..update()
    };
    assert_eq!(
        updated(tables, warm(Some(13_000), None)).options.warm_throughput,
        Some(WarmThroughputDescription {
            read_units_per_second: 12_000,
            write_units_per_second: 4_000,
            is_updating: true,
        })
    );
    assert_eq!(
        refused(tables, warm(Some(12_000), None)),
        "One or more parameter values were invalid: Requested ReadUnitsPerSecond for \
         WarmThroughput for table is lower than current WarmThroughput, decreasing WarmThroughput \
         is not supported"
    );
    let fixture = fixture.reopened();
    let options = describe(&fixture.tables).options;
    let TableClassSummary { table_class, last_update_date_time_ms } = options.table_class.unwrap();
    assert_eq!(table_class, TableClass::StandardInfrequentAccess);
    assert!(last_update_date_time_ms.is_some());
    assert_eq!(options.sse, of(key("key/mine"), false));
    assert_eq!(options.warm_throughput.unwrap().read_units_per_second, 13_000);
    let answer = updated(&fixture.tables, sse(false, None));
    assert_eq!(answer.options.sse, of(key("key/mine"), true));
    assert_eq!(describe(&fixture.tables).options.sse, None);
}

#[test]
fn there_is_no_stream_to_change() {
    let fixture = Fixture::new();
    create(&fixture.tables, TABLE, None);
    let off = StreamSpecification { stream_enabled: false, stream_view_type: None };
    let request = UpdateTableRequest { stream_specification: Some(off), ..update() };
    let told = "Table has no stream to disable: TableName: things";
    assert_eq!(refused(&fixture.tables, request), told);
}

#[test]
fn options_of_new_tables_are_shown() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
    let request = CreateTableRequest {
        table_name: TABLE.to_owned(),
        attribute_definitions: vec![AttributeDefinition {
            attribute_name: "pk".to_owned(),
            attribute_type: ScalarAttributeType::S,
        }],
        key_schema: vec![KeySchemaElement {
            attribute_name: "pk".to_owned(),
            key_type: KeyType::Hash,
        }],
        billing_mode: Some(BillingMode::PayPerRequest),
        table_class: Some(TableClass::StandardInfrequentAccess),
        sse_specification: Some(SseSpecification { enabled: Some(true), ..Default::default() }),
        warm_throughput: Some(WarmThroughput {
            read_units_per_second: Some(12_001),
            write_units_per_second: None,
        }),
        tags: Some(vec![tag("z", "1"), tag("a", "2")]),
        ..Default::default()
    };
    let answer = tables.create_table(request).unwrap().table_description.options;
    assert_eq!(answer.last_update_to_pay_per_request_date_time_ms, None);
    let now = describe(tables);
    assert_eq!(
        now.options.last_update_to_pay_per_request_date_time_ms,
        Some(now.creation_date_time_ms)
    );
    assert_eq!(answer.table_class, now.options.table_class);
    assert_eq!(
        now.options.table_class,
        Some(TableClassSummary {
            table_class: TableClass::StandardInfrequentAccess,
            last_update_date_time_ms: None,
        })
    );
    assert!(now.options.sse.is_some());
    let warm = now.options.warm_throughput.unwrap();
    assert_eq!((warm.read_units_per_second, warm.write_units_per_second), (12_001, 4_000));
    assert_eq!(tags(tables), [tag("a", "2"), tag("z", "1")]);
    // One that asks for nothing tells nothing before it is there.
    let answer = create(tables, "others", None).options;
    assert_eq!(answer.warm_throughput, None);
}

fn tags(tables: &Tables) -> Vec<Tag> {
    let request = ListTagsOfResourceRequest { resource_arn: ARN.to_owned(), next_token: None };
    tables.list_tags_of_resource(request).unwrap().tags
}

#[test]
fn tags_are_put_over_each_other_and_go_with_the_table() {
    let fixture = Fixture::new();
    let tables = &fixture.tables;
    create(tables, TABLE, None);
    let tag = |key: String, value: &str| Tag { key, value: value.to_owned() };
    let put = |tables: &Tables, tags: Vec<Tag>| {
        tables.tag_resource(TagResourceRequest { resource_arn: ARN.to_owned(), tags })
    };
    let many = |range: std::ops::Range<u32>, value: &str| -> Vec<Tag> {
        range.map(|n| tag(format!("k{n:02}"), value)).collect()
    };
    let told = |result: crate::error::Result<()>| result.unwrap_err().message().to_owned();
    assert_eq!(tags(tables), []);
    put(tables, many(0..30, "old")).unwrap();
    put(tables, many(20..50, "new")).unwrap();
    let fixture = fixture.reopened();
    let tables = &fixture.tables;
    assert_eq!(tags(tables), [many(0..20, "old"), many(20..50, "new")].concat());
    // The limit is of what would be there.
    assert_eq!(told(put(tables, many(49..51, ""))), message::control::TOO_MANY_TAGS);
    put(tables, many(0..50, "")).unwrap();
    assert_eq!(told(put(tables, vec![])), message::control::NO_TAGS);
    assert_eq!(
        told(put(tables, vec![tag("good".to_owned(), ""), tag("aws:x".to_owned(), "")])),
        "Tag Key cannot be prefixed with aws:, Key: aws:x"
    );
    let take = |tag_keys: &[&str]| {
        let tag_keys = tag_keys.iter().map(|key| (*key).to_owned()).collect();
        tables.untag_resource(UntagResourceRequest { resource_arn: ARN.to_owned(), tag_keys })
    };
    take(&["k00", "nothing"]).unwrap();
    assert_eq!(tags(tables), many(1..50, ""));
    assert_eq!(told(take(&[])), message::control::NO_TAG_KEYS);
    assert_eq!(told(take(&["a"; 51])), message::control::TOO_MANY_TAGS);
    assert_eq!(told(take(&[""])), "The Tag Key provided is invalid, Key: ");
    let missing = ARN.replace("things", "nothing");
    let request = TagResourceRequest { resource_arn: missing.clone(), tags: many(0..1, "") };
    let error = tables.tag_resource(request).unwrap_err();
    assert_eq!(error.kind(), TableErrorKind::ResourceNotFound);
    assert_eq!(
        error.message(),
        format!("Requested resource not found: ResourceArn: {missing} not found")
    );
    tables.delete_table(DeleteTableRequest { table_name: TABLE.to_owned() }).unwrap();
    create(tables, TABLE, None);
    assert_eq!(tags(tables), []);
}
