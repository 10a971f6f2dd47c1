"""A shop's orders through boto3: the low-level client, the resource, paginators, waiters and condition builders.

Run by scripts/clients.sh with ESKER_ENDPOINT. Every answer is checked; the first wrong one ends the program.
"""

import os
from decimal import Decimal

import boto3
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.config import Config

from check import equal, refused

SETTINGS = {
    "endpoint_url": os.environ["ESKER_ENDPOINT"],
    # An error of the server must not be hidden by a second try.
    "config": Config(retries={"total_max_attempts": 1}),
}
ORDERS = "boto3-orders"


def low_level():
    """Tables, waiters, transactions, errors and paginators."""
    client = boto3.client("dynamodb", **SETTINGS)
    created = client.create_table(
        TableName=ORDERS,
        AttributeDefinitions=[
            {"AttributeName": "customer", "AttributeType": "S"},
            {"AttributeName": "number", "AttributeType": "N"},
        ],
        KeySchema=[
            {"AttributeName": "customer", "KeyType": "HASH"},
            {"AttributeName": "number", "KeyType": "RANGE"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )["TableDescription"]
    equal("the table's name", created["TableName"], ORDERS)
    client.get_waiter("table_exists").wait(TableName=ORDERS, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    described = client.describe_table(TableName=ORDERS)["Table"]
    equal("the table's state", described["TableStatus"], "ACTIVE")
    equal("the table's billing", described["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST")
    equal("the table's key", described["KeySchema"], created["KeySchema"])

    # An order and the customer's counter together, under a token; the same request again changes nothing.
    purchase = {
        "ClientRequestToken": "purchase-1",
        "TransactItems": [
            {"Put": {
                "TableName": ORDERS,
                "Item": {"customer": {"S": "ada"}, "number": {"N": "1"}, "total": {"N": "12.50"}},
                "ConditionExpression": "attribute_not_exists(customer)",
            }},
            {"Update": {
                "TableName": ORDERS,
                "Key": {"customer": {"S": "ada"}, "number": {"N": "0"}},
                "UpdateExpression": "ADD orders :one SET #name = if_not_exists(#name, :name)",
                "ExpressionAttributeNames": {"#name": "name"},
                "ExpressionAttributeValues": {":one": {"N": "1"}, ":name": {"S": "Ada"}},
            }},
        ],
    }
    client.transact_write_items(**purchase)
    client.transact_write_items(**purchase)
    read = client.transact_get_items(TransactItems=[
        {"Get": {"TableName": ORDERS, "Key": {"customer": {"S": "ada"}, "number": {"N": str(number)}}}}
        for number in (0, 1, 2)
    ])
    equal("the purchase", read["Responses"], [
        {"Item": {"customer": {"S": "ada"}, "number": {"N": "0"}, "orders": {"N": "1"}, "name": {"S": "Ada"}}},
        {"Item": {"customer": {"S": "ada"}, "number": {"N": "1"}, "total": {"N": "12.5"}}},
        {},
    ])
    changed = {**purchase, "TransactItems": purchase["TransactItems"][:1]}
    refused("the token with other items", client.exceptions.IdempotentParameterMismatchException,
            lambda: client.transact_write_items(**changed))
    again = {**purchase, "ClientRequestToken": "purchase-2"}
    error = refused("the purchase under another token", client.exceptions.TransactionCanceledException,
                    lambda: client.transact_write_items(**again),
                    "Transaction cancelled, please refer cancellation reasons for specific reasons "
                    "[ConditionalCheckFailed, None]")
    equal("its reasons", [reason["Code"] for reason in error.response["CancellationReasons"]],
          ["ConditionalCheckFailed", "None"])
    counter = client.get_item(TableName=ORDERS, Key={"customer": {"S": "ada"}, "number": {"N": "0"}},
                              ProjectionExpression="orders", ReturnConsumedCapacity="TOTAL")
    equal("the counter after it", counter["Item"], {"orders": {"N": "1"}})
    equal("what the read cost", counter["ConsumedCapacity"], {"TableName": ORDERS, "CapacityUnits": 0.5})

    stale = refused("a stale update", client.exceptions.ConditionalCheckFailedException, lambda: client.update_item(
        TableName=ORDERS, Key={"customer": {"S": "ada"}, "number": {"N": "1"}},
        UpdateExpression="SET #t = :new", ConditionExpression="#t = :old", ExpressionAttributeNames={"#t": "total"},
        ExpressionAttributeValues={":new": {"N": "13"}, ":old": {"N": "99"}},
        ReturnValuesOnConditionCheckFailure="ALL_OLD"), "The conditional request failed")
    equal("what was there", stale.response["Item"]["total"], {"N": "12.5"})
    refused("a missing table", client.exceptions.ResourceNotFoundException,
            lambda: client.get_item(TableName="nowhere", Key={"customer": {"S": "ada"}}))
    refused("a table that exists", client.exceptions.ResourceInUseException, lambda: client.create_table(
        TableName=ORDERS, KeySchema=[{"AttributeName": "customer", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "customer", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST"))

    # Two and a half megabytes under one customer: a page of a query ends at one megabyte.
    text = "x" * 25_000
    for first in range(0, 100, 25):
        answer = client.batch_write_item(RequestItems={ORDERS: [
            {"PutRequest": {"Item": {"customer": {"S": "grace"}, "number": {"N": str(number)}, "text": {"S": text}}}}
            for number in range(first, first + 25)
        ]})
        equal("what a batch left", answer["UnprocessedItems"], {})
    pages = list(client.get_paginator("query").paginate(
        TableName=ORDERS, KeyConditionExpression="customer = :c", ExpressionAttributeValues={":c": {"S": "grace"}},
        ProjectionExpression="#n", ExpressionAttributeNames={"#n": "number"}))
    equal("pages of a megabyte", [page["Count"] for page in pages], [42, 42, 16])
    equal("what they hold", [item for page in pages for item in page["Items"]],
          [{"number": {"N": str(number)}} for number in range(100)])
    pages = client.get_paginator("scan").paginate(
        TableName=ORDERS, FilterExpression="size(#t) > :s", ExpressionAttributeNames={"#t": "text"},
        ExpressionAttributeValues={":s": {"N": "20000"}}, PaginationConfig={"PageSize": 30})
    equal("a scan in pages", sum(page["Count"] for page in pages), 100)
    names = client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 1})
    equal("the tables", [name for page in names for name in page["TableNames"]], [ORDERS])


def resource():
    """Python's own types, conditions as objects, the batch writer."""
    dynamodb = boto3.resource("dynamodb", **SETTINGS)
    table = dynamodb.Table(ORDERS)
    equal("the resource's table", table.table_status, "ACTIVE")
    order = {
        "customer": "lin", "number": Decimal(7), "total": Decimal("1234567890.123456789012345678"), "paid": False,
        "note": None, "label": Binary(b"\x00\xff"), "tags": {"new", "gift"}, "sizes": {Decimal(1), Decimal("2.5")},
        "parts": {Binary(b"a"), Binary(b"b")}, "lines": [{"what": "pen", "count": Decimal(2)}, "free text", Decimal("-0.1")],
        "to": {"city": "Basel", "zip": ["4051"]}, "empty": "",
    }
    table.put_item(Item=order)
    key = {"customer": "lin", "number": 7}
    equal("an item of every type", table.get_item(Key=key, ConsistentRead=True)["Item"], order)
    updated = table.update_item(
        Key=key,
        UpdateExpression="SET paid = :yes, #l[0].#c = #l[0].#c + :one, #l[3] = :more, #to.#zip = list_append(#to.#zip, :zip) "
                         "REMOVE note DELETE tags :old ADD sizes :size",
        ConditionExpression=Attr("paid").eq(False) & Attr("note").attribute_type("NULL") & Attr("to.city").begins_with("Ba"),
        ExpressionAttributeNames={"#l": "lines", "#c": "count", "#to": "to", "#zip": "zip"},
        ExpressionAttributeValues={":yes": True, ":one": 1, ":more": "last", ":zip": ["4052"], ":old": {"new"},
                                   ":size": {Decimal(3)}},
        ReturnValues="ALL_NEW")["Attributes"]
    order.update(paid=True, tags={"gift"}, sizes={Decimal(1), Decimal("2.5"), Decimal(3)},
                 lines=[{"what": "pen", "count": Decimal(3)}, "free text", Decimal("-0.1"), "last"],
                 to={"city": "Basel", "zip": ["4051", "4052"]})
    del order["note"]
    equal("the updated order", updated, order)

    with table.batch_writer(overwrite_by_pkeys=["customer", "number"]) as batch:
        for number in range(60):
            batch.put_item(Item={"customer": "mo", "number": number, "total": number * 10, "state": ["open", "sent"][number % 2]})
        batch.put_item(Item={"customer": "mo", "number": 59, "total": 1, "state": "open"})
        batch.delete_item(Key={"customer": "mo", "number": 0})
    answer = table.query(
        KeyConditionExpression=Key("customer").eq("mo") & Key("number").between(10, 20),
        FilterExpression=Attr("state").eq("open") | Attr("total").is_in([150, 170]), ScanIndexForward=False)
    equal("a filtered query", [int(item["number"]) for item in answer["Items"]], [20, 18, 17, 16, 15, 14, 12, 10])
    equal("what it looked at", answer["ScannedCount"], 11)
    found, start = [], {}
    while True:
        answer = table.query(KeyConditionExpression=Key("customer").eq("mo"), Limit=25, **start)
        found += [int(item["total"]) for item in answer["Items"]]
        if "LastEvaluatedKey" not in answer:
            break
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    equal("all of a customer, in pages", found, [*range(10, 590, 10), 1])
    segments = [table.scan(Segment=segment, TotalSegments=3, FilterExpression=~Attr("text").exists())["Items"]
                for segment in range(3)]
    parallel = sorted((item["customer"], int(item["number"])) for items in segments for item in items)
    equal("a scan in three segments", parallel, [("ada", 0), ("ada", 1), ("lin", 7), *(("mo", n) for n in range(1, 60))])
    got = dynamodb.batch_get_item(RequestItems={ORDERS: {
        "Keys": [{"customer": "mo", "number": number} for number in (1, 2, 1000)], "ProjectionExpression": "#n, #s",
        "ExpressionAttributeNames": {"#n": "number", "#s": "state"}}})["Responses"][ORDERS]
    equal("a batch of gets", sorted(got, key=lambda item: item["number"]),
          [{"number": 1, "state": "sent"}, {"number": 2, "state": "open"}])
    equal("a delete's answer", table.delete_item(Key=key, ReturnValues="ALL_OLD")["Attributes"], order)
    equal("a get after it", "Item" in table.get_item(Key=key), False)

    table.delete()
    table.wait_until_not_exists()
    equal("the tables at the end", [one.name for one in dynamodb.tables.all()], [])


low_level()
resource()
