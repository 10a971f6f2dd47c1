//! Tables: their ARNs, options, features that are off, and what a new one has of an old one.

use serde_json::{Value, json};

use crate::wire::{Wire, definitions, key_schema, n, pk, s, update};

#[test]
fn a_table_that_is_made_again_is_empty_and_another_also_after_a_kill() {
    let mut wire = Wire::new();
    let index = [("by_a", "a=S", "ALL")];
    wire.create("Tab", "pk=S", &index, &[]);
    for at in 0..50 {
        wire.put(json!({"pk": s(&at.to_string()), "a": s("x")}));
    }
    let token = json!({"TransactItems": [{"Put": {"TableName": "Tab", "Item": pk("t")}}], "ClientRequestToken": "once"});
    wire.ok("TransactWriteItems", token);
    let id = |wire: &Wire| {
        let table = wire.ok("DescribeTable", json!({"TableName": "Tab"}))["Table"].take();
        assert_eq!(table["TableStatus"], "ACTIVE");
        table["TableId"].as_str().unwrap().to_owned()
    };
    let first = id(&wire);
    wire.ok("DeleteTable", json!({"TableName": "Tab"}));
    wire.create("Tab", "pk=S", &index, &[]);
    let second = id(&wire);
    wire.kill_and_start();
    assert_eq!(wire.scan(), [] as [Value; 0]);
    assert_eq!(wire.ok("Scan", json!({"TableName": "Tab", "IndexName": "by_a"}))["Count"], 0);
    assert_eq!(id(&wire), second);
    assert_ne!(second, first);
    let table = wire.until_active("Tab");
    assert_eq!((&table["ItemCount"], &table["TableSizeBytes"]), (&json!(0), &json!(0)));
    wire.put(pk("new"));
    assert_eq!(wire.scan(), [pk("new")]);
}

#[test]
fn every_operation_takes_the_arn_for_the_name() {
    let wire = Wire::new();
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/Tab";
    let created = wire.ok(
        "CreateTable",
        json!({"TableName": arn, "BillingMode": "PAY_PER_REQUEST", "KeySchema": key_schema("pk=S"),
            "AttributeDefinitions": definitions(["pk=S"].into_iter())}),
    );
    assert_eq!(created["TableDescription"]["TableArn"], arn);
    assert_eq!(wire.until_active(arn)["TableName"], "Tab");
    let named = |more: Value| crate::wire::with(json!({"TableName": arn}), more);
    wire.ok("PutItem", named(json!({"Item": pk("a")})));
    wire.ok(
        "UpdateItem",
        named(json!({"Key": pk("a"), "UpdateExpression": "SET x = :x",
        "ExpressionAttributeValues": {":x": n("1")}})),
    );
    assert_eq!(wire.ok("GetItem", named(json!({"Key": pk("a")})))["Item"]["x"], n("1"));
    let query =
        json!({"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": s("a")}});
    assert_eq!(wire.ok("Query", named(query))["Count"], 1);
    assert_eq!(wire.ok("Scan", named(json!({})))["Count"], 1);
    wire.ok("BatchWriteItem", json!({"RequestItems": {arn: [{"PutRequest": {"Item": pk("b")}}]}}));
    let read = wire.ok("BatchGetItem", json!({"RequestItems": {arn: {"Keys": [pk("b")]}}}));
    let responses = read["Responses"].as_object().unwrap();
    assert_eq!(responses.values().next(), Some(&json!([pk("b")])));
    let put = json!({"TransactItems": [{"Put": named(json!({"Item": pk("c")}))}]});
    wire.ok("TransactWriteItems", put);
    let get = json!({"TransactItems": [{"Get": named(json!({"Key": pk("c")}))}]});
    assert_eq!(wire.ok("TransactGetItems", get)["Responses"][0]["Item"], pk("c"));
    wire.ok("DeleteItem", named(json!({"Key": pk("a")})));
    wire.ok("UpdateTable", named(json!({"DeletionProtectionEnabled": true})));
    wire.until_active(arn);
    wire.ok("UpdateTable", named(json!({"DeletionProtectionEnabled": false})));
    for operation in [
        "DescribeTimeToLive",
        "DescribeContinuousBackups",
        "DescribeContributorInsights",
        "DescribeKinesisStreamingDestination",
        "DescribeTableReplicaAutoScaling",
    ] {
        wire.ok(operation, named(json!({})));
    }
    wire.ok("TagResource", json!({"ResourceArn": arn, "Tags": [{"Key": "k", "Value": "v"}]}));
    wire.ok("UntagResource", json!({"ResourceArn": arn, "TagKeys": ["k"]}));
    wire.ok("DeleteTable", named(json!({})));
    assert_eq!(wire.ok("ListTables", json!({})), json!({"TableNames": []}));
    // Both names are the same item of one transaction, and of one batch.
    wire.create("Tab", "pk=S", &[], &[]);
    let twice = json!({"TransactItems": [{"Put": named(json!({"Item": pk("a")}))},
        {"Put": {"TableName": "Tab", "Item": pk("a")}}]});
    wire.invalid("TransactWriteItems", twice, "multiple operations on one item");
    // What is no table's is refused.
    for wrong in
        ["arn:aws:s3:::T", "arn:aws:dynamodb:us-east-1:000000000000:table/", "arn:aws:dynamodb"]
    {
        let refusal = wire.refused("DescribeTable", json!({"TableName": wrong}));
        assert!(
            ["ValidationException", "AccessDeniedException"].contains(&refusal.kind.as_str()),
            "{refusal:?}"
        );
    }
}

#[test]
fn the_options_of_a_new_table_come_back() {
    let mut wire = Wire::new();
    wire.ok(
        "CreateTable",
        json!({"TableName": "Tab", "KeySchema": key_schema("pk=S / sk=N"),
            "AttributeDefinitions": definitions(["pk=S", "sk=N", "a=B"].into_iter()),
            "BillingMode": "PROVISIONED",
            "ProvisionedThroughput": {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4},
            "GlobalSecondaryIndexes": [{"IndexName": "global", "KeySchema": key_schema("a=B"),
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x", "y"]},
                "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}}],
            "LocalSecondaryIndexes": [{"IndexName": "local", "KeySchema": key_schema("pk=S / a=B"),
                "Projection": {"ProjectionType": "KEYS_ONLY"}}],
            "TableClass": "STANDARD_INFREQUENT_ACCESS", "DeletionProtectionEnabled": true,
            "SSESpecification": {"Enabled": true, "SSEType": "KMS"},
            "Tags": [{"Key": "team", "Value": "engines"}]}),
    );
    for killed in [false, true] {
        if killed {
            wire.kill_and_start();
        }
        let table = wire.until_active("Tab");
        assert_eq!(table["KeySchema"], key_schema("pk=S / sk=N"));
        assert_eq!(table["AttributeDefinitions"].as_array().unwrap().len(), 3);
        let throughput = &table["ProvisionedThroughput"];
        assert_eq!(
            (&throughput["ReadCapacityUnits"], &throughput["WriteCapacityUnits"]),
            (&json!(3), &json!(4))
        );
        assert_eq!(table["TableClassSummary"]["TableClass"], "STANDARD_INFREQUENT_ACCESS");
        assert_eq!(table["DeletionProtectionEnabled"], true);
        assert_eq!(
            (&table["SSEDescription"]["Status"], &table["SSEDescription"]["SSEType"]),
            (&json!("ENABLED"), &json!("KMS"))
        );
        let global = &table["GlobalSecondaryIndexes"][0];
        assert_eq!(
            (&global["IndexName"], &global["KeySchema"]),
            (&json!("global"), &key_schema("a=B"))
        );
        assert_eq!(
            global["Projection"],
            json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x", "y"]})
        );
        assert_eq!(global["ProvisionedThroughput"]["WriteCapacityUnits"], 6);
        let local = &table["LocalSecondaryIndexes"][0];
        assert_eq!(
            (&local["IndexName"], &local["KeySchema"]),
            (&json!("local"), &key_schema("pk=S / a=B"))
        );
        assert_eq!(local["Projection"], json!({"ProjectionType": "KEYS_ONLY"}));
        let tags = wire.ok("ListTagsOfResource", json!({"ResourceArn": table["TableArn"]}));
        assert_eq!(tags["Tags"], json!([{"Key": "team", "Value": "engines"}]));
        assert_eq!(table.get("BillingModeSummary"), None);
    }
    wire.invalid("DeleteTable", json!({"TableName": "Tab"}), "protected against deletion");
}

#[test]
fn limits_of_requests_and_warm_throughput_come_back() {
    let wire = Wire::new();
    wire.ok(
        "CreateTable",
        json!({"TableName": "Tab", "KeySchema": key_schema("pk=S"), "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": definitions(["pk=S"].into_iter()),
            "OnDemandThroughput": {"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 20},
            "WarmThroughput": {"ReadUnitsPerSecond": 13000, "WriteUnitsPerSecond": 5000}}),
    );
    let table = wire.until_active("Tab");
    assert_eq!(
        table["OnDemandThroughput"],
        json!({"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 20})
    );
    let warm = &table["WarmThroughput"];
    assert_eq!((&warm["ReadUnitsPerSecond"], &warm["Status"]), (&json!(13000), &json!("ACTIVE")));
    assert_eq!(table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST");
}

#[test]
fn limits_and_warm_throughput_of_an_index_come_back_and_go_with_it() {
    let mut wire = Wire::new();
    let index = json!({"IndexName": "by_a", "KeySchema": key_schema("a=S"),
        "Projection": {"ProjectionType": "ALL"}, "OnDemandThroughput": {"MaxReadRequestUnits": 50},
        "WarmThroughput": {"ReadUnitsPerSecond": 13000, "WriteUnitsPerSecond": 5000}});
    wire.ok(
        "CreateTable",
        json!({"TableName": "Tab", "KeySchema": key_schema("pk=S"), "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": definitions(["pk=S", "a=S"].into_iter()),
            "GlobalSecondaryIndexes": [index]}),
    );
    let shown = |wire: &Wire| wire.until_active("Tab")["GlobalSecondaryIndexes"][0].take();
    let warm = |read, write| json!({"ReadUnitsPerSecond": read, "WriteUnitsPerSecond": write, "Status": "ACTIVE"});
    assert_eq!(shown(&wire)["OnDemandThroughput"], json!({"MaxReadRequestUnits": 50}));
    assert_eq!(shown(&wire)["WarmThroughput"], warm(13000, 5000));
    assert_eq!(wire.until_active("Tab")["OnDemandThroughput"], Value::Null);

    let change = |of: Value| {
        let mut update = json!({"IndexName": "by_a"});
        update.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
        json!({"TableName": "Tab", "GlobalSecondaryIndexUpdates": [{"Update": update}]})
    };
    let answer = wire.ok(
        "UpdateTable",
        change(
            json!({"OnDemandThroughput": {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 7},
            "WarmThroughput": {"WriteUnitsPerSecond": 5001}}),
        ),
    );
    let updating = &answer["TableDescription"]["GlobalSecondaryIndexes"][0];
    assert_eq!(
        updating["WarmThroughput"],
        json!({"ReadUnitsPerSecond": 13000, "WriteUnitsPerSecond": 5000, "Status": "UPDATING"})
    );
    wire.kill_and_start();
    assert_eq!(shown(&wire)["OnDemandThroughput"], json!({"MaxWriteRequestUnits": 7}));
    assert_eq!(shown(&wire)["WarmThroughput"], warm(13000, 5001));
    let lower = change(json!({"WarmThroughput": {"ReadUnitsPerSecond": 1}}));
    let told = "Requested ReadUnitsPerSecond for WarmThroughput for index by_a is lower than current WarmThroughput";
    wire.invalid("UpdateTable", lower, told);
    let none = "WarmThroughput must have at least one of ReadUnitsPerSecond or WriteUnitsPerSecond specified";
    wire.invalid("UpdateTable", change(json!({"WarmThroughput": {}})), none);
    let only =
        "The only Updates for index: by_a when TableThroughputMode is PAY_PER_REQUEST can be to";
    wire.invalid("UpdateTable", change(json!({})), only);

    let provisioned = json!({"ReadCapacityUnits": 2, "WriteCapacityUnits": 3});
    let mut switch = change(json!({"ProvisionedThroughput": provisioned}));
    switch["BillingMode"] = json!("PROVISIONED");
    switch["ProvisionedThroughput"] = provisioned;
    wire.ok("UpdateTable", switch);
    assert_eq!(shown(&wire)["OnDemandThroughput"], Value::Null);
    assert_eq!(shown(&wire)["WarmThroughput"], warm(13000, 5001));
    let delete = json!([{"Delete": {"IndexName": "by_a"}}]);
    wire.ok("UpdateTable", json!({"TableName": "Tab", "GlobalSecondaryIndexUpdates": delete}));
    // Until it is gone, no other is created.
    while wire.until_active("Tab")["GlobalSecondaryIndexes"].is_array() {}
    let create = json!([{"Create": {"IndexName": "by_a", "KeySchema": key_schema("a=S"),
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 4, "WriteCapacityUnits": 1}}}]);
    wire.ok(
        "UpdateTable",
        json!({"TableName": "Tab", "GlobalSecondaryIndexUpdates": create,
            "AttributeDefinitions": definitions(["a=S"].into_iter())}),
    );
    assert_eq!(shown(&wire)["WarmThroughput"], warm(4, 1));
}

#[test]
fn what_terraform_asks_for_is_off_or_empty_and_never_unknown() {
    let wire = Wire::with_table("pk=S");
    let name = json!({"TableName": "Tab"});
    let arn = json!({"ResourceArn": wire.until_active("Tab")["TableArn"]});
    let time_to_live = wire.ok("DescribeTimeToLive", name.clone());
    assert_eq!(time_to_live, json!({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}));
    let backups =
        wire.ok("DescribeContinuousBackups", name.clone())["ContinuousBackupsDescription"].take();
    assert_eq!(backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"], "DISABLED");
    assert_eq!(wire.ok("ListTagsOfResource", arn.clone()), json!({"Tags": []}));
    let insights = wire.ok("DescribeContributorInsights", name.clone());
    assert_eq!(insights["ContributorInsightsStatus"], "DISABLED");
    let kinesis = wire.ok("DescribeKinesisStreamingDestination", name);
    assert_eq!(kinesis["KinesisDataStreamDestinations"], json!([]));
    assert_eq!(wire.refused("GetResourcePolicy", arn).kind, "PolicyNotFoundException");
    let table = wire.until_active("Tab");
    for absent in [
        "StreamSpecification",
        "LatestStreamArn",
        "SSEDescription",
        "Replicas",
        "GlobalSecondaryIndexes",
        "LocalSecondaryIndexes",
        "RestoreSummary",
    ] {
        assert_eq!(table.get(absent), None, "{absent}");
    }
}

#[test]
fn moments_are_json_numbers() {
    let wire = Wire::with_table("pk=S");
    let before = wire.until_active("Tab")["CreationDateTime"].as_f64().unwrap();
    assert!((1.7e9..1e10).contains(&before), "seconds, with their fractions: {before}");
    wire.ok(
        "UpdateTable",
        json!({"TableName": "Tab", "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}),
    );
    wire.until_active("Tab");
    wire.ok(
        "UpdateTable",
        json!({"TableName": "Tab",
        "ProvisionedThroughput": {"ReadCapacityUnits": 2, "WriteCapacityUnits": 2}}),
    );
    let table = wire.until_active("Tab");
    assert!(table["ProvisionedThroughput"]["LastIncreaseDateTime"].is_number(), "{table}");
    assert!(
        table["BillingModeSummary"]["LastUpdateToPayPerRequestDateTime"].is_number(),
        "{table}"
    );
    assert_eq!(table["CreationDateTime"].as_f64(), Some(before));
}

#[test]
fn counts_and_sizes_are_true() {
    let mut wire = Wire::new();
    wire.create("Tab", "pk=S", &[("by_a", "a=S", "KEYS_ONLY")], &[]);
    // `pk` and one byte are 3, `a` and one byte 2, `x` and five bytes 6.
    for key in ["1", "2", "3"] {
        wire.put(json!({"pk": s(key), "x": s("xxxxx")}));
    }
    wire.ok("UpdateItem", update(pk("1"), "SET a = :a", json!({":a": s("x")})));
    wire.ok("DeleteItem", json!({"TableName": "Tab", "Key": pk("3")}));
    for killed in [false, true] {
        if killed {
            wire.kill_and_start();
        }
        let table = wire.until_active("Tab");
        assert_eq!((&table["ItemCount"], &table["TableSizeBytes"]), (&json!(2), &json!(9 + 9 + 2)));
        let index = &table["GlobalSecondaryIndexes"][0];
        assert_eq!((&index["ItemCount"], &index["IndexSizeBytes"]), (&json!(1), &json!(3 + 2)));
    }
}

#[test]
fn what_is_wrong_with_a_new_table_is_told() {
    let wire = Wire::with_table("pk=S");
    let table = |key: &str, defined: &[&str]| {
        json!({"TableName": "New", "BillingMode": "PAY_PER_REQUEST", "KeySchema": key_schema(key),
            "AttributeDefinitions": definitions(defined.iter().copied())})
    };
    let more = crate::wire::with;
    for (body, kind) in [
        (more(table("pk=S", &["pk=S"]), json!({"TableName": "Tab"})), "ResourceInUseException"),
        (more(table("pk=S", &["pk=S"]), json!({"TableName": "ab"})), "ValidationException"),
        (more(table("pk=S", &["pk=S"]), json!({"TableName": "a b c"})), "ValidationException"),
        (more(table("pk=S", &["pk=S"]), json!({"BillingMode": "FREE"})), "ValidationException"),
        (more(table("pk=S", &["pk=S"]), json!({"BillingMode": null})), "ValidationException"),
        (table("pk=S", &["other=S"]), "ValidationException"),
        (table("pk=S", &["pk=S", "other=S"]), "ValidationException"),
        (table("pk=M", &["pk=M"]), "ValidationException"),
        (table("/ pk=S", &["pk=S"]), "ValidationException"),
        (more(table("pk=S", &["pk=S"]), json!({"KeySchema": []})), "ValidationException"),
        (more(table("pk=S", &["pk=S"]), json!({"KeySchema": "pk"})), "SerializationException"),
        (
            more(table("pk=S", &["pk=S"]), json!({"GlobalSecondaryIndexes": []})),
            "ValidationException",
        ),
    ] {
        let shown = body.to_string();
        assert_eq!(wire.refused("CreateTable", body).kind, kind, "{shown}");
    }
    assert_eq!(wire.ok("ListTables", json!({}))["TableNames"], json!(["Tab"]));
}
