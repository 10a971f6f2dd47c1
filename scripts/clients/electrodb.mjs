// A team's projects and tasks in one table through ElectroDB: entities of one service, a global index, versions,
// transactions.
//
// Run by scripts/clients.sh with ESKER_ENDPOINT. Every answer is checked; the first wrong one ends the program.

import { CreateTableCommand, DeleteTableCommand, DynamoDBClient, waitUntilTableExists } from "@aws-sdk/client-dynamodb";
import { Entity, Service } from "electrodb";
import { equal, refused } from "./check.mjs";

const client = new DynamoDBClient({
  endpoint: process.env.ESKER_ENDPOINT,
  maxAttempts: 1, // An error of the server must not be hidden by a second try.
});
const table = "electrodb-work";

const index = (sk) => ({ collection: "work", pk: { field: "pk", composite: ["team"] }, sk: { field: "sk", composite: sk } });

const projects = new Entity({
  model: { service: "office", entity: "project", version: "1" },
  attributes: {
    team: { type: "string", required: true },
    project: { type: "string", required: true },
    budget: { type: "number", default: 0 },
    tasks: { type: "number", default: 0 },
    labels: { type: "set", items: "string" },
    revision: { type: "number", default: 1 },
  },
  indexes: { primary: index(["project"]) },
}, { client, table });

const tasks = new Entity({
  model: { service: "office", entity: "task", version: "1" },
  attributes: {
    team: { type: "string", required: true },
    project: { type: "string", required: true },
    task: { type: "number", required: true, padding: { length: 4, char: "0" } },
    state: { type: ["open", "started", "done"], default: "open" },
    points: { type: "number", validate: (points) => points >= 0 },
    text: { type: "string" },
    history: { type: "list", items: { type: "map", properties: { who: { type: "string" }, what: { type: "string" } } }, default: [] },
    place: { type: "map", properties: { floor: { type: "number" }, room: { type: "string" } } },
  },
  indexes: { primary: index(["project", "task"]) },
}, { client, table });

const shifts = new Entity({
  model: { service: "office", entity: "shift", version: "1" },
  attributes: {
    team: { type: "string", required: true },
    shift: { type: "string", required: true },
    person: { type: "string", required: true },
    day: { type: "string", required: true },
    hours: { type: "number" },
  },
  indexes: {
    primary: { pk: { field: "pk", composite: ["team"] }, sk: { field: "sk", composite: ["shift"] } },
    ofPerson: { index: "gsi1", pk: { field: "gsi1pk", composite: ["person"] }, sk: { field: "gsi1sk", composite: ["day"] } },
  },
}, { client, table });

const office = new Service({ projects, tasks }, { client, table });
const one = { team: "core", project: "atlas" };

await client.send(new CreateTableCommand({
  TableName: table,
  BillingMode: "PAY_PER_REQUEST",
  AttributeDefinitions: ["pk", "sk", "gsi1pk", "gsi1sk"].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
  KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
  GlobalSecondaryIndexes: [{
    IndexName: "gsi1",
    KeySchema: [{ AttributeName: "gsi1pk", KeyType: "HASH" }, { AttributeName: "gsi1sk", KeyType: "RANGE" }],
    Projection: { ProjectionType: "ALL" },
  }],
}));
await waitUntilTableExists({ client, maxWaitTime: 20, minDelay: 1, maxDelay: 1 }, { TableName: table });

// Creating: with defaults, only once.
const created = await projects.create({ ...one, budget: 100, labels: ["new", "big"] }).go();
equal("a project", { ...created.data, labels: created.data.labels.toSorted() },
  { ...one, budget: 100, tasks: 0, labels: ["big", "new"], revision: 1 });
const twice = await refused("a project twice", "ElectroError", projects.create(one).go(), "The conditional request failed");
equal("the cause of it", twice.cause?.name, "ConditionalCheckFailedException");
const read = await projects.get(one).go();
equal("the project, read", { ...read.data, labels: read.data.labels.toSorted() },
  { ...one, budget: 100, tasks: 0, labels: ["big", "new"], revision: 1 });
equal("a project that is not there", (await projects.get({ ...one, project: "none" }).go()).data, null);

// Batches of more than one request, then pages.
const text = "y".repeat(9000);
const many = Array.from({ length: 260 }, (_, at) => ({ ...one, project: at < 240 ? "atlas" : "bolt", task: at, points: at % 5, text }));
const batch = await tasks.put(many).go({ concurrency: 4 });
equal("what the batches left", batch.unprocessed, []);
const all = await tasks.query.primary(one).go({ pages: "all", attributes: ["task", "state"] });
equal("the tasks of a project over several pages", all.data, many.slice(0, 240).map(({ task }) => ({ task, state: "open" })));
const seen = [];
let cursor = null;
let rounds = 0;
do {
  const page = await tasks.query.primary(one).between({ task: 100 }, { task: 9999 }).go({ cursor, limit: 50, order: "desc" });
  seen.push(...page.data.map(({ task }) => task));
  cursor = page.cursor;
  rounds += 1;
} while (cursor !== null);
equal("later tasks by cursor", seen, Array.from({ length: 140 }, (_, at) => 239 - at));
equal("the rounds of it", rounds, 3);
const some = await tasks.query.primary(one).between({ task: 20 }, { task: 60 })
  .where(({ points, state }, { eq, ne, gt }) => `(${eq(points, 3)} OR ${gt(points, 3)}) AND ${ne(state, "done")}`).go({ pages: "all" });
equal("a filtered query", some.data.map(({ task }) => task), many.slice(20, 61).filter(({ points }) => points >= 3).map(({ task }) => task));
const got = await tasks.get([1, 2, 250, 999].map((task) => ({ ...one, project: task === 250 ? "bolt" : "atlas", task }))).go();
equal("a batch of gets", got.data.map(({ task }) => task).toSorted((a, b) => a - b), [1, 2, 250]);
const scanned = await tasks.scan.where(({ project }, { begins }) => begins(project, "b")).go({ pages: "all" });
equal("a scan", scanned.data.length, 20);
const both = await office.collections.work({ team: "core" }).go({ pages: "all", attributes: ["project", "task"] });
equal("both entities in one query", [both.data.projects.length, both.data.tasks.length], [1, 260]);

// Updating: counters, lists, sets and maps, under a condition.
const seven = { ...one, task: 7 };
const updated = await tasks.patch(seven).set({ state: "started", place: { floor: 2, room: "b" } }).add({ points: 10 })
  .append({ history: [{ who: "ada", what: "began" }] }).remove(["text"]).where(({ state }, { eq }) => eq(state, "open")).go({ response: "all_new" });
equal("an updated task", updated.data,
  { ...seven, state: "started", place: { floor: 2, room: "b" }, points: 12, history: [{ who: "ada", what: "began" }] });
await tasks.patch(seven).data((of, to) => {
  to.set(of.place.floor, 3);
  to.subtract(of.points, 2);
  to.append(of.history, [{ who: "bob", what: "moved" }]);
  to.remove(of.place.room);
}).go();
equal("nested changes", (await tasks.get(seven).go()).data,
  { ...seven, state: "started", place: { floor: 3 }, points: 10, history: [{ who: "ada", what: "began" }, { who: "bob", what: "moved" }] });
await refused("a stale state", "ElectroError",
  tasks.patch(seven).set({ state: "done" }).where(({ state }, { eq }) => eq(state, "open")).go(), "The conditional request failed");
await refused("a patch of nothing", "ElectroError", tasks.patch({ ...one, task: 5000 }).set({ state: "done" }).go(), "The conditional request failed");
const labels = await projects.update(one).add({ labels: ["red"] }).delete({ labels: ["new"] }).go({ response: "none" })
  .then(() => "taken", (error) => error.message);
equal("two clauses on one set", labels.includes("Two document paths overlap"), true);
await projects.update(one).delete({ labels: ["new"] }).go();
equal("a set", [...(await projects.get(one).go()).data.labels], ["big"]);
equal("an upsert", (await projects.upsert({ ...one, project: "bolt", budget: 5 }).go({ response: "all_new" })).data.budget, 5);

// Twenty writers raise one revision; each reads, and writes only what it has read.
async function raise() {
  for (;;) {
    const { data } = await projects.get(one).go({ consistent: true });
    const done = await projects.patch(one).set({ revision: data.revision + 1 }).where(({ revision }, { eq }) => eq(revision, data.revision)).go()
      .then(() => true, (error) => {
        equal("why a writer reads again", error.cause?.name, "ConditionalCheckFailedException");
        return false;
      });
    if (done) return;
  }
}
await Promise.all(Array.from({ length: 20 }, raise));
equal("no update is lost", (await projects.get(one).go()).data.revision, 21);

// A task and its project's counter, together or not at all.
const add = (task, token) => office.transaction.write((of) => [
  of.tasks.create({ ...one, task, points: 1 }).commit(),
  of.projects.patch(one).add({ tasks: 1 }).commit(),
]).go({ token });
equal("a transaction", (await add(1000, "task-1000")).canceled, false);
equal("the same again", (await add(1000, "task-1000")).canceled, false);
const cancelled = await add(1000, "task-1000-again");
equal("a cancelled transaction", [cancelled.canceled, cancelled.data.map(({ code }) => code)], [true, ["ConditionalCheckFailed", "None"]]);
const pair = await office.transaction.get((of) => [
  of.tasks.get({ ...one, task: 1000 }).commit(), of.projects.get(one).commit(), of.tasks.get({ ...one, task: 1001 }).commit(),
]).go();
equal("what the transactions left", [pair.data[0].item.state, pair.data[1].item.tasks, pair.data[2].item], ["open", 1, null]);
equal("a removed task", (await tasks.remove(seven).go({ response: "all_old" })).data.points, 10);
await refused("a delete of nothing", "ElectroError", tasks.remove(seven).go(), "The conditional request failed");

// Shifts, found by person through a global index, where the tasks above have no place.
const day = (at) => `2026-03-${String(at + 1).padStart(2, "0")}`;
const people = ["ada", "bob", "cem"];
const plan = Array.from({ length: 30 }, (_, at) => ({ team: "ops", shift: `s${at}`, person: people[at % 3], day: day(at), hours: at % 8 }));
equal("what the shifts left", (await shifts.put(plan).go()).unprocessed, []);
const of = (person) => plan.filter((shift) => shift.person === person);
equal("a person's shifts", (await shifts.query.ofPerson({ person: "ada" }).go({ pages: "all" })).data, of("ada"));
equal("their days", (await shifts.query.ofPerson({ person: "bob" }).between({ day: day(5) }, { day: day(20) }).go({ order: "desc" })).data,
  of("bob").filter((shift) => shift.day >= day(5) && shift.day <= day(20)).toReversed());
equal("pages of an index", (await shifts.query.ofPerson({ person: "cem" }).go({ limit: 3, pages: "all" })).data, of("cem"));
const long = await shifts.query.ofPerson({ person: "ada" }).where(({ hours }, { gte }) => gte(hours, 5)).go({ pages: "all" });
equal("a filter over an index", long.data, of("ada").filter(({ hours }) => hours >= 5));
await shifts.patch({ team: "ops", shift: "s0" }).set({ person: "bob", day: day(30) }).go();
await shifts.remove({ team: "ops", shift: "s3" }).go();
equal("a shift that went to another", (await shifts.query.ofPerson({ person: "ada" }).go()).data, of("ada").slice(2));
equal("whose it is", (await shifts.query.ofPerson({ person: "bob" }).go()).data.at(-1), { ...plan[0], person: "bob", day: day(30) });

await client.send(new DeleteTableCommand({ TableName: table }));
