// A chat's rooms and messages through the AWS SDK for JavaScript v3: the plain client, then the document client.
//
// Run by scripts/clients.sh with ESKER_ENDPOINT. Every answer is checked; the first wrong one ends the program.

import {
  CreateTableCommand, DeleteTableCommand, DescribeTableCommand, DynamoDBClient, GetItemCommand, PutItemCommand,
  TransactWriteItemsCommand, UpdateItemCommand, paginateListTables, waitUntilTableExists, waitUntilTableNotExists,
} from "@aws-sdk/client-dynamodb";
import {
  BatchGetCommand, BatchWriteCommand, DeleteCommand, DynamoDBDocumentClient, GetCommand, NumberValue, PutCommand, QueryCommand,
  TransactGetCommand, TransactWriteCommand, UpdateCommand, paginateQuery, paginateScan,
} from "@aws-sdk/lib-dynamodb";
import { equal, refused } from "./check.mjs";

const client = new DynamoDBClient({
  endpoint: process.env.ESKER_ENDPOINT,
  maxAttempts: 1, // An error of the server must not be hidden by a second try.
});
const TableName = "sdk-messages";
const waiting = { client, maxWaitTime: 20, minDelay: 1, maxDelay: 1 };

async function plainClient() {
  const { TableDescription } = await client.send(new CreateTableCommand({
    TableName,
    AttributeDefinitions: [{ AttributeName: "room", AttributeType: "S" }, { AttributeName: "id", AttributeType: "B" }],
    KeySchema: [{ AttributeName: "room", KeyType: "HASH" }, { AttributeName: "id", KeyType: "RANGE" }],
    ProvisionedThroughput: { ReadCapacityUnits: 5, WriteCapacityUnits: 6 },
  }));
  equal("the table's name", TableDescription.TableName, TableName);
  await waitUntilTableExists(waiting, { TableName });
  const { Table } = await client.send(new DescribeTableCommand({ TableName }));
  equal("the table's state", Table.TableStatus, "ACTIVE");
  equal("the table's capacity", [Table.ProvisionedThroughput.ReadCapacityUnits, Table.ProvisionedThroughput.WriteCapacityUnits], [5, 6]);
  equal("the table's age is a date", Math.abs(Date.now() - Table.CreationDateTime) < 600_000, true);

  const key = { room: { S: "hall" }, id: { B: Uint8Array.of(0, 255) } };
  const item = {
    ...key, text: { S: "grüezi ☀ 🦀" }, likes: { N: "-1.5E+10" }, readers: { SS: ["ann", "bob"] }, raw: { BS: [Uint8Array.of(7)] },
    nested: { M: { list: { L: [{ NULL: true }, { BOOL: false }, { NS: ["1", "2"] }] } } },
  };
  await client.send(new PutItemCommand({ TableName, Item: item }));
  const read = await client.send(new GetItemCommand({ TableName, Key: key, ConsistentRead: true }));
  equal("a message of every type", {
    ...read.Item, readers: { SS: read.Item.readers.SS.toSorted() },
    nested: { M: { list: { L: [...read.Item.nested.M.list.L.slice(0, 2), { NS: read.Item.nested.M.list.L[2].NS.toSorted() }] } } },
  }, { ...item, likes: { N: "-15000000000" } });
  const add = { TableName, Key: key, UpdateExpression: "ADD likes :d", ExpressionAttributeValues: { ":d": { N: "15000000000.25" } } };
  const updated = await client.send(new UpdateItemCommand({ ...add, ReturnValues: "UPDATED_NEW", ReturnConsumedCapacity: "TOTAL" }));
  equal("exact sums", updated.Attributes, { likes: { N: "0.25" } });
  equal("what it cost", updated.ConsumedCapacity, { TableName, CapacityUnits: 1 });

  const error = await refused("a message twice", "ConditionalCheckFailedException", client.send(new PutItemCommand({
    TableName, Item: item, ConditionExpression: "attribute_not_exists(id)", ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  })), "The conditional request failed");
  equal("the one that is there", error.Item.likes, { N: "0.25" });
  await refused("a key of the wrong type", "ValidationException",
    client.send(new GetItemCommand({ TableName, Key: { ...key, id: { S: "x" } } })),
    "The provided key element does not match the schema");
  await refused("a missing table", "ResourceNotFoundException", client.send(new GetItemCommand({ TableName: "nowhere", Key: key })));
  // The SDK sends a token of its own with every transaction.
  const cancelled = await refused("a cancelled transaction", "TransactionCanceledException", client.send(new TransactWriteItemsCommand({
    TransactItems: [
      { Delete: { TableName, Key: key } },
      { ConditionCheck: { TableName, Key: { ...key, id: { B: Uint8Array.of(9) } }, ConditionExpression: "attribute_exists(room)" } },
    ],
  })));
  equal("its reasons", cancelled.CancellationReasons.map((reason) => reason.Code), ["None", "ConditionalCheckFailed"]);
}

async function documentClient() {
  const documents = DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
  const id = (number) => Uint8Array.of(number >> 8, number & 255);
  const number = (item) => item.id[0] * 256 + item.id[1];
  const message = (room, at) => ({ room, id: id(at), at, author: at % 3 ? "ann" : "bob", text: `message ${at}`, gone: undefined });

  for (let first = 0; first < 200; first += 25) {
    const requests = Array.from({ length: 25 }, (_, at) => ({ PutRequest: { Item: message("garden", first + at) } }));
    const answer = await documents.send(new BatchWriteCommand({ RequestItems: { [TableName]: requests } }));
    equal("what a batch left", answer.UnprocessedItems, {});
  }
  const found = [];
  const garden = {
    TableName, KeyConditionExpression: "room = :r AND id BETWEEN :a AND :z", FilterExpression: "author = :author",
    ExpressionAttributeValues: { ":r": "garden", ":a": id(10), ":z": id(189), ":author": "ann" }, ScanIndexForward: false,
  };
  let pages = 0;
  for await (const page of paginateQuery({ client: documents, pageSize: 50 }, garden)) {
    found.push(...page.Items.map(number));
    pages += 1;
  }
  const wanted = Array.from({ length: 180 }, (_, at) => 189 - at).filter((at) => at % 3);
  equal("a filtered query in pages", found, wanted);
  equal("its pages", pages, 4);
  let scanned = 0;
  for await (const page of paginateScan({ client: documents }, { TableName, Limit: 64, Select: "COUNT" })) {
    equal("a count has no items", page.Items, undefined);
    scanned += page.Count;
  }
  equal("a scan that counts", scanned, 201);
  const got = await documents.send(new BatchGetCommand({
    RequestItems: { [TableName]: { Keys: [5, 6, 999].map((at) => ({ room: "garden", id: id(at) })), ProjectionExpression: "#a", ExpressionAttributeNames: { "#a": "at" } } },
  }));
  equal("a batch of gets", got.Responses[TableName].map((item) => item.at).toSorted(), [5, 6]);

  const room = { room: "lab", id: id(0) };
  const profile = { ...room, members: new Set(["ann"]), tags: new Set([1, 2]), topic: { title: "physics", links: [] }, exact: NumberValue.from("12345678901234567890.123") };
  await documents.send(new PutCommand({ TableName, Item: profile }));
  const updated = await documents.send(new UpdateCommand({
    TableName, Key: room, ReturnValues: "ALL_NEW",
    UpdateExpression: "SET topic.links = list_append(topic.links, :links), version = if_not_exists(version, :zero) + :one ADD members :more REMOVE exact",
    ConditionExpression: "contains(members, :ann) AND NOT contains(members, :bob) AND size(topic.links) < :one",
    ExpressionAttributeValues: { ":links": ["a", { b: [true, null] }], ":zero": 0, ":one": 1, ":more": new Set(["bob"]), ":ann": "ann", ":bob": "bob" },
  }));
  const after = { ...room, members: new Set(["ann", "bob"]), tags: new Set([1, 2]), topic: { title: "physics", links: ["a", { b: [true, null] }] }, version: 1 };
  equal("an updated room", updated.Attributes, after);

  // Two writers who both read version 1: one of them has to read again.
  const bump = (text) => documents.send(new UpdateCommand({
    TableName, Key: room, UpdateExpression: "SET version = version + :one, topic.title = :text", ConditionExpression: "version = :read",
    ExpressionAttributeValues: { ":one": 1, ":read": 1, ":text": text }, ReturnValues: "UPDATED_OLD",
  }));
  const [first, second] = await Promise.allSettled([bump("chemistry"), bump("biology")]);
  const [won, lost] = first.status === "fulfilled" ? [first, second] : [second, first];
  equal("the first writer's answer", won.value.Attributes, { version: 1, topic: { title: "physics" } });
  equal("the second writer's answer", lost.reason?.name, "ConditionalCheckFailedException");
  equal("the version after both", (await documents.send(new GetCommand({ TableName, Key: room }))).Item.version, 2);

  await documents.send(new TransactWriteCommand({
    TransactItems: [
      { Put: { TableName, Item: message("lab", 1), ConditionExpression: "attribute_not_exists(room)" } },
      { Update: { TableName, Key: room, UpdateExpression: "ADD posts :one", ExpressionAttributeValues: { ":one": 1 } } },
      { Delete: { TableName, Key: { room: "garden", id: id(7) } } },
    ],
  }));
  const three = await documents.send(new TransactGetCommand({
    TransactItems: [["lab", 1], ["lab", 0], ["garden", 7]].map(([name, at]) => ({ Get: { TableName, Key: { room: name, id: id(at) } } })),
  }));
  equal("three items in one read", three.Responses.map((one) => one.Item?.text ?? one.Item?.posts), ["message 1", 1, undefined]);
  const removed = await documents.send(new DeleteCommand({ TableName, Key: room, ReturnValues: "ALL_OLD" }));
  equal("the removed room", removed.Attributes.posts, 1);
  const left = await documents.send(new QueryCommand({ TableName, KeyConditionExpression: "room = :r", ExpressionAttributeValues: { ":r": "lab" } }));
  equal("what is left of it", left.Items.map(number), [1]);
}

async function away() {
  await client.send(new DeleteTableCommand({ TableName }));
  await waitUntilTableNotExists(waiting, { TableName });
  for await (const page of paginateListTables({ client }, {})) equal("the tables at the end", page.TableNames, []);
}

await plainClient();
await documentClient();
await away();
