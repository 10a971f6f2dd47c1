//! Tables: what is read of their creation and change, and how they are described.

use super::*;

#[test]
fn create_table_is_read() {
    let body = r##"{"TableName":"T","AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"},
        {"AttributeName":"r","AttributeType":"N"}],"KeySchema":[{"AttributeName":"h","KeyType":"HASH"},
        {"AttributeName":"r","KeyType":"RANGE"}],"BillingMode":"PROVISIONED","ProvisionedThroughput":
        {"ReadCapacityUnits":5,"WriteCapacityUnits":6.9},"StreamSpecification":{"StreamEnabled":false},
        "Tags":[],"TableClass":"STANDARD"}"##;
    let read = request::<crate::operation::CreateTable>(body).unwrap();
    let throughput = ProvisionedThroughput { read_capacity_units: 5, write_capacity_units: 6 };
    assert_eq!(read.provisioned_throughput, Some(throughput));
    assert_eq!(read.key_schema[1].key_type, KeyType::Range);
    assert_eq!(read.attribute_definitions[1].attribute_type, ScalarAttributeType::N);
    let policy =
        r#"{"TableName":"T","AttributeDefinitions":[],"KeySchema":[],"ResourcePolicy":"{}"}"#;
    assert!(
        refusal::<crate::operation::CreateTable>(policy)
            .contains("ResourcePolicy is not supported")
    );
    let body = r#"{"TableName":"T","AttributeDefinitions":[{"AttributeName":"h","AttributeType":"X"}],
        "KeySchema":[{"AttributeName":"h"}]}"#;
    let refusal = refusal::<crate::operation::CreateTable>(body);
    assert!(
        refusal.contains("Value 'X' at 'attributeDefinitions.1.member.attributeType'"),
        "{refusal}"
    );
    assert!(refusal.contains("Value null at 'keySchema.1.member.keyType'"), "{refusal}");
}

#[test]
fn indexes_of_create_table_are_read() {
    let body = r##"{"TableName":"T","AttributeDefinitions":[],"KeySchema":[],"GlobalSecondaryIndexes":[{"IndexName":"g",
        "KeySchema":[{"AttributeName":"h","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],"Projection":
        {"ProjectionType":"INCLUDE","NonKeyAttributes":["a","b"]},"ProvisionedThroughput":{"ReadCapacityUnits":1,
        "WriteCapacityUnits":2},"WarmThroughput":{"ReadUnitsPerSecond":3},"OnDemandThroughput":
        {"MaxWriteRequestUnits":4}}],"LocalSecondaryIndexes":[{"IndexName":"l","KeySchema":
        [{"AttributeName":"h","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}]}"##;
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    let global = GlobalSecondaryIndex {
        index_name: "g".to_owned(),
        key_schema: vec![element("h", KeyType::Hash), element("r", KeyType::Range)],
        projection: Projection {
            projection_type: Some(ProjectionType::Include),
            non_key_attributes: Some(vec!["a".to_owned(), "b".to_owned()]),
        },
        provisioned_throughput: Some(ProvisionedThroughput {
            read_capacity_units: 1,
            write_capacity_units: 2,
        }),
        on_demand_throughput: Some(OnDemandThroughput {
            max_read_request_units: None,
            max_write_request_units: Some(4),
        }),
        warm_throughput: Some(WarmThroughput {
            read_units_per_second: Some(3),
            write_units_per_second: None,
        }),
    };
    let local = LocalSecondaryIndex {
        index_name: "l".to_owned(),
        key_schema: vec![element("h", KeyType::Hash)],
        projection: Projection {
            projection_type: Some(ProjectionType::KeysOnly),
            non_key_attributes: None,
        },
    };
    let read = request::<crate::operation::CreateTable>(body).unwrap();
    assert_eq!(read.global_secondary_indexes, Some(vec![global]));
    assert_eq!(read.local_secondary_indexes, Some(vec![local]));

    let body = r#"{"TableName":"T","AttributeDefinitions":[],"KeySchema":[],"GlobalSecondaryIndexes":[{}],
        "LocalSecondaryIndexes":[{"IndexName":"l","KeySchema":[],"Projection":{"ProjectionType":"SOME"}}]}"#;
    assert_eq!(
        refusal::<crate::operation::CreateTable>(body),
        "ValidationException: 4 validation errors detected: Value null at 'globalSecondaryIndexes.1.member.keySchema' \
         failed to satisfy constraint: Member must not be null; Value null at \
         'globalSecondaryIndexes.1.member.projection' failed to satisfy constraint: Member must not be null; Value \
         null at 'globalSecondaryIndexes.1.member.indexName' failed to satisfy constraint: Member must not be null; \
         Value 'SOME' at 'localSecondaryIndexes.1.member.projection.projectionType' failed to satisfy constraint: \
         Member must satisfy enum value set: [ALL, INCLUDE, KEYS_ONLY]"
    );
}

#[test]
fn descriptions_have_the_services_members() {
    let table_description = TableDescription {
        table_name: "T".to_owned(),
        table_arn: "arn".to_owned(),
        table_id: "id".to_owned(),
        table_status: TableStatus::Active,
        creation_date_time_ms: 1_700_000_000_123,
        attribute_definitions: vec![AttributeDefinition {
            attribute_name: "h".to_owned(),
            attribute_type: ScalarAttributeType::S,
        }],
        key_schema: vec![KeySchemaElement {
            attribute_name: "h".to_owned(),
            key_type: KeyType::Hash,
        }],
        billing_mode: BillingMode::PayPerRequest,
        provisioned_throughput: ProvisionedThroughput::default(),
        deletion_protection_enabled: false,
        item_count: 3,
        table_size_bytes: 40,
        local_secondary_indexes: vec![],
        global_secondary_indexes: vec![],
        options: TableOptions::default(),
    };
    let text =
        response::<crate::operation::DeleteTable>(&DeleteTableResponse { table_description });
    assert_eq!(
        text,
        r#"{"TableDescription":{"AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"}],"TableName":"T","KeySchema":[{"AttributeName":"h","KeyType":"HASH"}],"TableStatus":"ACTIVE","CreationDateTime":1700000000.123,"ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":0,"WriteCapacityUnits":0},"TableSizeBytes":40,"ItemCount":3,"TableArn":"arn","TableId":"id","BillingModeSummary":{"BillingMode":"PAY_PER_REQUEST"},"DeletionProtectionEnabled":false}}"#
    );
}

#[test]
fn descriptions_show_options_where_there_are_any() {
    let description = |options| TableDescription {
        table_name: "T".to_owned(),
        table_arn: "arn".to_owned(),
        table_id: "id".to_owned(),
        table_status: TableStatus::Updating,
        creation_date_time_ms: 1_000,
        attribute_definitions: vec![],
        key_schema: vec![],
        billing_mode: BillingMode::Provisioned,
        provisioned_throughput: ProvisionedThroughput {
            read_capacity_units: 1,
            write_capacity_units: 2,
        },
        deletion_protection_enabled: true,
        item_count: 0,
        table_size_bytes: 0,
        local_secondary_indexes: vec![],
        global_secondary_indexes: vec![],
        options,
    };
    let shown = |options| {
        let table_description = description(options);
        let text =
            response::<crate::operation::UpdateTable>(&UpdateTableResponse { table_description });
        text.split(r#""CreationDateTime":1.0,"#).nth(1).unwrap().to_owned()
    };
    assert_eq!(
        shown(TableOptions::default()),
        r#""ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":1,"WriteCapacityUnits":2},"TableSizeBytes":0,"ItemCount":0,"TableArn":"arn","TableId":"id","DeletionProtectionEnabled":true}}"#
    );
    let options = TableOptions {
        last_increase_date_time_ms: Some(2_500),
        last_decrease_date_time_ms: Some(3_000),
        number_of_decreases_today: 4,
        last_update_to_pay_per_request_date_time_ms: Some(5_000),
        table_class: Some(TableClassSummary {
            table_class: TableClass::StandardInfrequentAccess,
            last_update_date_time_ms: Some(6_000),
        }),
        sse: Some(SseDescription {
            kms_master_key_arn: Some("key".to_owned()),
            is_updating: false,
        }),
        on_demand_throughput: Some(OnDemandThroughput {
            max_read_request_units: Some(-1),
            max_write_request_units: None,
        }),
        warm_throughput: Some(WarmThroughputDescription {
            read_units_per_second: 7,
            write_units_per_second: 8,
            is_updating: true,
        }),
    };
    assert_eq!(
        shown(options),
        r#""ProvisionedThroughput":{"LastIncreaseDateTime":2.5,"LastDecreaseDateTime":3.0,"NumberOfDecreasesToday":4,"ReadCapacityUnits":1,"WriteCapacityUnits":2},"TableSizeBytes":0,"ItemCount":0,"TableArn":"arn","TableId":"id","BillingModeSummary":{"BillingMode":"PROVISIONED","LastUpdateToPayPerRequestDateTime":5.0},"SSEDescription":{"Status":"ENABLED","SSEType":"KMS","KMSMasterKeyArn":"key"},"TableClassSummary":{"TableClass":"STANDARD_INFREQUENT_ACCESS","LastUpdateDateTime":6.0},"DeletionProtectionEnabled":true,"OnDemandThroughput":{"MaxReadRequestUnits":-1},"WarmThroughput":{"ReadUnitsPerSecond":7,"WriteUnitsPerSecond":8,"Status":"UPDATING"}}}"#
    );
}

#[test]
fn options_of_tables_are_read() {
    let read = request::<crate::operation::UpdateTable>(
        r#"{"TableName":"T","BillingMode":"PROVISIONED","ProvisionedThroughput":{"ReadCapacityUnits":1,
            "WriteCapacityUnits":2},"DeletionProtectionEnabled":true,"TableClass":"STANDARD","SSESpecification":
            {"Enabled":true,"SSEType":"KMS","KMSMasterKeyId":"k"},"StreamSpecification":{"StreamEnabled":true,
            "StreamViewType":"KEYS_ONLY"},"OnDemandThroughput":{"MaxReadRequestUnits":-1},"WarmThroughput":
            {"WriteUnitsPerSecond":5},"GlobalSecondaryIndexUpdates":[],"AttributeDefinitions":[{}]}"#,
    );
    let wanted = UpdateTableRequest {
        table_name: "T".to_owned(),
        billing_mode: Some(BillingMode::Provisioned),
        attribute_definitions: None,
        global_secondary_index_updates: Some(vec![]),
        provisioned_throughput: Some(ProvisionedThroughput {
            read_capacity_units: 1,
            write_capacity_units: 2,
        }),
        deletion_protection_enabled: Some(true),
        table_class: Some(TableClass::Standard),
        sse_specification: Some(SseSpecification {
            enabled: Some(true),
            sse_type: Some(SseType::Kms),
            kms_master_key_id: Some("k".to_owned()),
        }),
        stream_specification: Some(StreamSpecification {
            stream_enabled: true,
            stream_view_type: Some(StreamViewType::KeysOnly),
        }),
        on_demand_throughput: Some(OnDemandThroughput {
            max_read_request_units: Some(-1),
            max_write_request_units: None,
        }),
        warm_throughput: Some(WarmThroughput {
            read_units_per_second: None,
            write_units_per_second: Some(5),
        }),
    };
    assert_eq!(read.unwrap(), wanted);
    assert_eq!(
        refusal::<crate::operation::UpdateTable>(
            r#"{"BillingMode":"X","ProvisionedThroughput":{},"StreamSpecification":{"StreamViewType":"X"},
                "SSESpecification":{"SSEType":"X"},"TableClass":"X"}"#
        ),
        "ValidationException: 7 validation errors detected: Value null at 'tableName' failed to satisfy constraint: \
         Member must not be null; Value 'X' at 'billingMode' failed to satisfy constraint: Member must satisfy enum \
         value set: [PROVISIONED, PAY_PER_REQUEST]; Value null at 'provisionedThroughput.writeCapacityUnits' failed \
         to satisfy constraint: Member must not be null; Value null at 'provisionedThroughput.readCapacityUnits' \
         failed to satisfy constraint: Member must not be null; Value null at 'streamSpecification.streamEnabled' \
         failed to satisfy constraint: Member must not be null; Value 'X' at 'streamSpecification.streamViewType' \
         failed to satisfy constraint: Member must satisfy enum value set: [OLD_IMAGE, KEYS_ONLY, \
         NEW_AND_OLD_IMAGES, NEW_IMAGE]; Value 'X' at 'sSESpecification.sSEType' failed to satisfy constraint: \
         Member must satisfy enum value set: [AES256, KMS]"
    );
    assert_eq!(
        refusal::<crate::operation::UpdateTable>(r#"{"TableName":"T","TableClass":"X"}"#),
        "ValidationException: Invalid table-class parameter provided. Please try again with a valid table-class \
         value: [STANDARD, STANDARD_INFREQUENT_ACCESS]."
    );
    for (member, value) in [
        ("ReplicaUpdates", r#"[{"Create":{"RegionName":"r"}}]"#),
        ("MultiRegionConsistency", r#""STRONG""#),
    ] {
        let refusal = refusal::<crate::operation::UpdateTable>(&format!(
            r#"{{"TableName":"T","{member}":{value}}}"#
        ));
        assert!(refusal.contains(member) && refusal.contains("not supported"), "{refusal}");
    }
}

#[test]
fn changes_of_indexes_are_read() {
    let read = request::<crate::operation::UpdateTable>(
        r#"{"TableName":"T","AttributeDefinitions":[{"AttributeName":"h","AttributeType":"S"}],
            "GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"g","KeySchema":[{"AttributeName":"h","KeyType":
            "HASH"}],"Projection":{"ProjectionType":"ALL"}}},{"Update":{"IndexName":"u","ProvisionedThroughput":
            {"ReadCapacityUnits":1,"WriteCapacityUnits":2}}},{"Delete":{"IndexName":"d"}}]}"#,
    )
    .unwrap();
    assert_eq!(read.attribute_definitions.unwrap().len(), 1);
    let updates = read.global_secondary_index_updates.unwrap();
    assert_eq!(updates[0].create.as_ref().unwrap().index_name, "g");
    let throughput = updates[1].update.as_ref().unwrap().provisioned_throughput.unwrap();
    assert_eq!((throughput.read_capacity_units, throughput.write_capacity_units), (1, 2));
    assert_eq!(updates[2].delete.as_deref(), Some("d"));
    let found = refusal::<crate::operation::UpdateTable>(
        r#"{"TableName":"T","GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"g"}},{"Delete":{}}]}"#,
    );
    for member in
        ["1.member.create.keySchema", "1.member.create.projection", "2.member.delete.indexName"]
    {
        let wanted = format!("Value null at 'globalSecondaryIndexUpdates.{member}' failed");
        assert!(found.contains(&wanted), "{found}");
    }
    let options = r#"{"TableName":"T","GlobalSecondaryIndexUpdates":[{"Update":{"IndexName":"g","OnDemandThroughput":
        {"MaxReadRequestUnits":-1},"WarmThroughput":{"ReadUnitsPerSecond":1}}}]}"#;
    let read = request::<crate::operation::UpdateTable>(options).unwrap();
    let wanted = UpdateGlobalSecondaryIndexAction {
        index_name: "g".to_owned(),
        provisioned_throughput: None,
        on_demand_throughput: Some(OnDemandThroughput {
            max_read_request_units: Some(-1),
            max_write_request_units: None,
        }),
        warm_throughput: Some(WarmThroughput {
            read_units_per_second: Some(1),
            write_units_per_second: None,
        }),
    };
    assert_eq!(read.global_secondary_index_updates.unwrap()[0].update, Some(wanted));
}

#[test]
fn tags_are_read_and_shown() {
    let tags = r#"[{"Key":"b","Value":""},{"Key":"a","Value":"1"}]"#;
    let body =
        format!(r#"{{"TableName":"T","AttributeDefinitions":[],"KeySchema":[],"Tags":{tags}}}"#);
    let read = request::<crate::operation::CreateTable>(&body).unwrap().tags.unwrap();
    let text = response::<crate::operation::ListTagsOfResource>(&ListTagsOfResourceResponse {
        tags: read,
    });
    assert_eq!(text, format!(r#"{{"Tags":{tags}}}"#));
    for (tag, wanted) in [
        ("{}", "ValidationException: The Tag Key provided is invalid, Key: null"),
        (r#"{"Key":"k"}"#, "ValidationException: The Tag Value provided is invalid, Value: null"),
    ] {
        assert_eq!(
            refusal::<crate::operation::CreateTable>(&body.replace(tags, &format!("[{tag}]"))),
            wanted
        );
    }
    let missing = "ValidationException: Invalid TableArn";
    assert_eq!(refusal::<crate::operation::ListTagsOfResource>("{}"), missing);
}

#[test]
fn indexes_are_described_and_charged() {
    let key_schema =
        vec![KeySchemaElement { attribute_name: "h".to_owned(), key_type: KeyType::Hash }];
    let description = |name: &str| GlobalSecondaryIndexDescription {
        index_name: name.to_owned(),
        key_schema: key_schema.clone(),
        projection: Projection {
            projection_type: Some(ProjectionType::Include),
            non_key_attributes: Some(vec!["a".to_owned()]),
        },
        backfilling: None,
        index_status: TableStatus::Active,
        provisioned_throughput: ProvisionedThroughput::default(),
        index_size_bytes: 7,
        item_count: 1,
        index_arn: "arn".to_owned(),
        on_demand_throughput: Some(OnDemandThroughput {
            max_read_request_units: Some(3),
            max_write_request_units: None,
        }),
        warm_throughput: Some(WarmThroughputDescription {
            read_units_per_second: 4,
            write_units_per_second: 5,
            is_updating: false,
        }),
    };
    assert_eq!(
        String::from_utf8(json::to_bytes(&crate::operation::index::GlobalOut(&description("g"))))
            .unwrap(),
        r#"{"IndexName":"g","KeySchema":[{"AttributeName":"h","KeyType":"HASH"}],"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["a"]},"IndexStatus":"ACTIVE","ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":0,"WriteCapacityUnits":0},"IndexSizeBytes":7,"ItemCount":1,"IndexArn":"arn","OnDemandThroughput":{"MaxReadRequestUnits":3},"WarmThroughput":{"ReadUnitsPerSecond":4,"WriteUnitsPerSecond":5,"Status":"ACTIVE"}}"#
    );
    let local = LocalSecondaryIndexDescription {
        index_name: "l".to_owned(),
        key_schema: key_schema.clone(),
        projection: Projection {
            projection_type: Some(ProjectionType::All),
            non_key_attributes: None,
        },
        index_size_bytes: 7,
        item_count: 1,
        index_arn: "arn".to_owned(),
    };
    assert_eq!(
        String::from_utf8(json::to_bytes(&crate::operation::index::LocalOut(&local))).unwrap(),
        r#"{"IndexName":"l","KeySchema":[{"AttributeName":"h","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"},"IndexSizeBytes":7,"ItemCount":1,"IndexArn":"arn"}"#
    );
    let consumed_capacity = Some(ConsumedCapacity {
        table_name: "T".to_owned(),
        capacity_units: 3.5,
        table: Some(1.0),
        local_secondary_indexes: Some([("l".to_owned(), 0.5)].into()),
        global_secondary_indexes: Some([("g".to_owned(), 2.0)].into()),
        ..Default::default()
    });
    let put = PutItemResponse { consumed_capacity, ..Default::default() };
    assert_eq!(
        response::<crate::operation::PutItem>(&put),
        r#"{"ConsumedCapacity":{"TableName":"T","CapacityUnits":3.5,"Table":{"CapacityUnits":1.0},"LocalSecondaryIndexes":{"l":{"CapacityUnits":0.5}},"GlobalSecondaryIndexes":{"g":{"CapacityUnits":2.0}}}}"#
    );
}
