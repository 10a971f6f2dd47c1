"""What one request was answered by two servers, held against each other for differential.py."""

import base64
import json
import re
from decimal import Decimal, InvalidOperation

# What every server makes up for itself.
OWN = {"TableArn", "TableId", "CreationDateTime", "TableSizeBytes", "ItemCount", "LastIncreaseDateTime", "LastDecreaseDateTime",
       "LastUpdateToPayPerRequestDateTime", "TableStatus", "NumberOfDecreasesToday"}
SETS = {"SS", "NS", "BS"}


class Answer:
    """Status, and either the type and message of an error or a normalised body."""

    def __init__(self, status, body):
        self.status, self.kind, self.message, self.body = status, None, None, None
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {"not JSON": body.decode("utf-8", "replace")[:200]}
        if status == 200:
            self.body = normalised(answer)
            return
        self.kind = str(answer.pop("__type", "no type")).split("#")[-1]
        self.message = answer.pop("message", None) or answer.pop("Message", None)
        # Beside the message: reasons of a transaction, the item of a failed condition.
        self.body = normalised(answer)

    def short(self):
        """One line."""
        return "200" if self.status == 200 else f"{self.status} {self.kind}: {self.message}"

    def failed(self):
        """Whether the server itself failed: no answer, or an internal error."""
        return self.status == 0 or self.status >= 500

    def same(self, other):
        return (self.status, self.kind, self.message, self.body) == (other.status, other.kind, other.message, other.body)


def normalised(node, name=None):
    """Without what servers make up, and with what has no order in one order."""
    if isinstance(node, dict):
        return {key: normalised(value, key) for key, value in node.items() if key not in OWN}
    if isinstance(node, list):
        items = [normalised(one) for one in node]
        if name in SETS or name in ("ConsumedCapacity", "AttributeDefinitions"):
            items.sort(key=lambda one: json.dumps(one, sort_keys=True))
        return items
    return node


def unordered(operation, request, body):
    """A body without the order and the choice that are the server's own."""
    body = json.loads(json.dumps(body))
    sort = lambda items: sorted(items, key=lambda one: json.dumps(one, sort_keys=True))  # noqa: E731
    if operation == "BatchGetItem":
        for table, items in body.get("Responses", {}).items():
            body["Responses"][table] = sort(items)
    elif operation == "Scan":
        if "Limit" in request or "ExclusiveStartKey" in request:
            # Which items are first is each server's own.
            for own in ("Items", "Count", "LastEvaluatedKey", "ScannedCount", "ConsumedCapacity"):
                body.pop(own, None)
        if "Items" in body:
            body["Items"] = sort(body["Items"])
    elif operation == "BatchWriteItem":
        body.pop("ItemCollectionMetrics", None)
    return body


def changes(left, right, path=""):
    """Where two bodies differ: (path, what one has, what the other has)."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}):
            if key not in left or key not in right:
                yield f"{path}.{key}", left.get(key, "absent"), right.get(key, "absent")
            else:
                yield from changes(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            yield f"{path}.length", len(left), len(right)
        for one, other in zip(left, right):
            yield from changes(one, other, f"{path}[]")
    elif left != right:
        yield path, left, right


def template(text):
    """A message without the parts that are the request's own."""
    text = re.sub(r'"[^"]*"', '"…"', str(text))
    text = re.sub(r"'[^']*'", "'…'", text)
    text = re.sub(r"[#:][A-Za-z0-9_]+", ":x", text)
    text = re.sub(r"\d[\dE+.-]*", "0", text)
    return text[:400]


def plain(text):
    """A line without the envelope of the service's newer validation layer."""
    return text.replace("1 validation error detected: ", "", 1)


class Difference:
    """How Esker's answer differs from another server's; None where they agree."""

    def __init__(self, server, operation, request, esker, other, side):
        self.server, self.operation, self.request, self.side, self.order = server, operation, request, side, False
        self.esker, self.other, self.fields = esker.short(), other.short(), ""
        self.failed, self.same_kind = esker.failed(), esker.kind == other.kind
        if self.esker == self.other:
            found = list(changes(esker.body, other.body))
            self.fields = " ".join(sorted({re.sub(r"\.(M|L)\.[^.\[ ]+|\.diff-\w+", r".\1", path) for path, _, _ in found}))
            self.detail = "; ".join(f"{path}: {json.dumps(one, ensure_ascii=False)[:200]} | {json.dumps(two, ensure_ascii=False)[:200]}" for path, one, two in found[:4])
        else:
            self.detail = ""

    def what(self):
        """`body` where both answer the same but for the body, `accept` where one accepts and the other does not, else `error`."""
        return "body" if self.fields else "accept" if "200" in (self.esker, self.other) else "error"

    def signature(self):
        """What makes two differences the same."""
        return self.server, self.operation, template(self.esker), template(self.other), self.fields

    def matches(self, rule):
        """Whether a known difference covers this one; none covers that Esker fails."""
        operations = rule.get("operations")
        # Without a third server a rule that is told by it alone must not cover a wrong type of exception.
        is_told = self.side is not None or "sides" not in rule or self.same_kind or any(name in rule for name in ("esker", "other", "detail", "fields"))
        return (not self.failed and is_told and (not operations or self.operation in operations) and rule.get("server", self.server) == self.server
                and (self.side is None or self.side in rule.get("sides", [self.side])) and rule.get("order", self.order) == self.order
                and self.what() in rule.get("what", [self.what()])
                and (not rule.get("envelope") or plain(self.esker) == plain(self.other))
                and all(re.search(rule[name], text, re.S) for name, text in (("esker", self.esker), ("other", self.other)) if name in rule)
                and re.search(rule.get("fields", ""), self.fields) is not None
                and ("detail" not in rule or re.search(rule["detail"], self.detail) is not None)
                and ("request" not in rule or re.search(rule["request"], json.dumps(self.request)) is not None))


def canonical_key(key):
    """A key's value, however a number or bytes are written."""
    out = []
    for name in ("p", "r"):
        for kind, value in key.get(name, {}).items():
            try:
                value = str(Decimal(value).normalize()) if kind == "N" else base64.b64decode(value).hex() if kind == "B" else value
            except (InvalidOperation, ValueError, TypeError):
                value = repr(value)
            out.append((name, kind, value))
    return tuple(out)
