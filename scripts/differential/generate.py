"""Requests for differential.py: valid, nearly valid and wild ones over every item operation, reproducible from a seed.

A request is first made whole (items of a few tables, expressions over the attributes that the items have), then spoiled
with some probability: a token of an expression is dropped, a value gets another type, a parameter is left out or added.
"""

import copy
import random
import re

# name, type of the partition key, name and type of the sort key.
TABLES = {
    "diff-single": ("p", "S", None, None),
    "diff-number": ("p", "S", "r", "N"),
    "diff-binary": ("p", "N", "r", "B"),
    "diff-string": ("p", "B", "r", "S"),
}
KEYS = {
    "S": ["a", "b", "ab", "abc", "é", "z z"],
    "N": ["0", "1", "-1", "2.5", "10", "1E3", "-0.001"],
    "B": ["AA==", "AP8=", "YQ==", "YWI=", "YWJj"],
}
# Attributes that items have, and of which type they usually are.
SHAPE = {"a": "N", "b": "S", "c": "BOOL", "d": "NULL", "e": "B", "f": "L", "g": "M", "h": "SS", "i": "NS", "j": "BS", "k": "N",
         "name": "S", "size": "N", "x.y": "S"}
WORDS = ["", "a", "ab", "abc", "b", "hello world", "é☀", "A", "10", "x" * 300]
NUMBERS = ["0", "1", "-1", "2", "5", "10", "42", "3.14", "-0", "1.50", "+5", "007", "1E5", "1e-10", "100", "1000000",
           "12345678901234567890123456789012345678", "0.1", "-2.5", "9.9999E+125", "1E-130", "1e+20", ".5", "5."]
BAD_NUMBERS = ["", "abc", " 1", "1 ", "1E126", "1E400", "1E-131", "0x10", "1_000", "NaN", "Infinity", "--1", "1e", ".", "1,5",
               "123456789012345678901234567890123456789", "-9.99999999999999999999999999999999999999E+125", "1E99999999999"]
BYTES = ["", "AA==", "AP8=", "YQ==", "YWI=", "YWJj", "aGVsbG8gd29ybGQ="]
BAD_BYTES = ["A", "AAA", "AA=", "!!!!", "YQ", "YR==", "Y Q=="]
TYPES = ["S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"]
JUNK = ["AND", "OR", "NOT", "(", ")", ",", "=", "<>", "<", ">=", "+", "-", "SET", "REMOVE", "ADD", "DELETE", "BETWEEN", "IN", ".",
        "[0]", "[", "]", "[-1]", "#", ":", ":zz", "#zz", "a", "name", "size", "!", "'x'", "\"", "1", "size(a)", "foo(a)", "contains",
        "attribute_exists", "attribute_exists(a)", "list_append(f, f)", "if_not_exists(a, k)", "[99999999999]", "=="]
TOKEN = re.compile(r"\s+|[A-Za-z_][A-Za-z0-9_]*|[#:][A-Za-z0-9_]*|\d+|<>|<=|>=|.", re.S)
RETURN_VALUES = ["NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"]
CAPACITY = ["NONE", "TOTAL", "INDEXES"]
COLLECTION = ["NONE", "SIZE"]
LEGACY = ["EQ", "NE", "IN", "LE", "LT", "GE", "GT", "BETWEEN", "NOT_NULL", "NULL", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH"]
STRANGE = [None, True, False, 0, 1, -1, 1.5, "", "x", [], {}, [None], {"S": "a"}, {"": ""}, [[]], 10**20]
EXPRESSIONS = ["ConditionExpression", "FilterExpression", "ProjectionExpression", "UpdateExpression", "KeyConditionExpression"]


class Names:
    """The placeholders of one request."""

    def __init__(self, random):
        self.random, self.names, self.values = random, {}, {}

    def name(self, name):
        """The name itself or a placeholder for it."""
        plain = re.fullmatch(r"[a-z][a-z0-9]*", name) and name not in ("name", "size")
        if plain and self.random.random() < 0.7:
            return name
        for placeholder, known in self.names.items():
            if known == name:
                return placeholder
        placeholder = f"#n{len(self.names)}"
        self.names[placeholder] = name
        return placeholder

    def value(self, value):
        """A placeholder for this value."""
        for placeholder, known in self.values.items():
            if known == value and self.random.random() < 0.5:
                return placeholder
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = value
        return placeholder

    def into(self, request):
        if self.names:
            request["ExpressionAttributeNames"] = self.names
        if self.values:
            request["ExpressionAttributeValues"] = self.values


class Generator:
    """An endless, reproducible stream of (operation, request)."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.tokens = 0

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, choices):
        return self.random.choice(choices)

    # Values.

    def of_type(self, kind, depth=0):
        """A valid value of one type."""
        if kind == "S":
            return {"S": self.pick(WORDS)}
        if kind == "N":
            return {"N": self.pick(NUMBERS)}
        if kind == "B":
            return {"B": self.pick(BYTES)}
        if kind == "BOOL":
            return {"BOOL": self.chance(0.5)}
        if kind == "NULL":
            return {"NULL": True}
        if kind == "L":
            return {"L": [self.value(depth + 1) for _ in range(self.random.randint(0, 3))]}
        if kind == "M":
            return {"M": {name: self.value(depth + 1) for name in self.random.sample(["x", "y", "z", "a", "b-c"], self.random.randint(0, 3))}}
        source = {"SS": WORDS, "NS": NUMBERS[:5] + ["3.14", "100"], "BS": BYTES}[kind]
        return {kind: self.random.sample(source, self.random.randint(1, 3))}

    def value(self, depth=0):
        if self.chance(0.02):
            return self.bad_value()
        return self.of_type(self.pick(TYPES if depth < 3 else TYPES[:5]), depth)

    def bad_value(self):
        """A value that no operation takes, or a strange one that it does."""
        return copy.deepcopy(self.pick([
            {}, {"S": "a", "N": "1"}, {"X": "a"}, {"S": 1}, {"S": None}, {"N": 1}, {"N": self.pick(BAD_NUMBERS)}, {"B": self.pick(BAD_BYTES)},
            {"NULL": False}, {"NULL": "true"}, {"BOOL": "true"}, {"BOOL": None}, {"SS": []}, {"NS": []}, {"BS": []}, {"SS": ["a", "a"]},
            {"NS": ["1", "1.0"]}, {"NS": ["1", "x"]}, {"BS": ["YQ==", "YQ=="]}, {"SS": [""]}, {"BS": [""]}, {"NS": [""]}, {"SS": [1]}, {"SS": "a"},
            {"L": {}}, {"M": []}, {"L": [{}]}, {"M": {"x": {}}}, {"L": [None]}, {"M": {"x": None}}, {"M": {"": {"S": "a"}}}, "a", 1, None, [], True,
            {"L": [{"N": "x"}]}, {"M": {"x": {"SS": []}}}, {"N": self.pick(BAD_NUMBERS)}, {"N": self.pick(BAD_NUMBERS)},
        ]))

    def key(self, table):
        """The key of an item of the table."""
        p, p_type, r, r_type = TABLES[table]
        key = {p: {p_type: self.pick(KEYS[p_type][:3])}}
        if r:
            key[r] = {r_type: self.pick(KEYS[r_type])}
        if self.chance(0.04):
            self.spoil_key(key)
        return key

    def spoil_key(self, key):
        name = self.pick(list(key))
        what = self.random.randint(0, 5)
        if what == 0:
            del key[name]
        elif what == 1:
            key[self.pick(["q", "a", ""])] = self.value()
        elif what == 2:
            key[name] = self.value()
        elif what == 3:
            key[name] = self.pick([{"S": ""}, {"B": ""}, {"N": ""}, {"NULL": True}])
        elif what == 4:
            key[name] = self.bad_value()
        else:
            key.clear()

    def item(self, table):
        item = self.key(table)
        for name in self.random.sample(list(SHAPE), self.random.randint(0, 7)):
            item[name] = self.shaped(name)
        return item

    def shaped(self, name):
        if self.chance(0.15):
            return self.value()
        if name == "f":
            return {"L": [{"N": self.pick(NUMBERS)}, {"S": self.pick(WORDS)}, {"M": {"x": {"N": "1"}}}][:self.random.randint(1, 3)]}
        if name == "g":
            return {"M": {"x": {"N": self.pick(NUMBERS)}, "y": {"S": self.pick(WORDS)}, "z": {"L": [{"N": "1"}, {"S": "s"}]}, "b-c": {"M": {}}}}
        return self.of_type(SHAPE[name])

    # Expressions.

    def path(self, names, top=None):
        """A document path; often one that items have."""
        if top is None and self.chance(0.03):
            top = self.pick(["p", "r", "q", "missing"])
        top = top or self.pick(list(SHAPE))
        out = names.name(top)
        if top == "f" and self.chance(0.6):
            out += self.pick(["[0]", "[1]", "[2]", "[2]." + names.name("x"), "[7]"])
        elif top == "g" and self.chance(0.7):
            out += "." + names.name(self.pick(["x", "y", "z", "b-c", "w"]))
            if self.chance(0.3):
                out += self.pick(["[0]", "[1]", "." + names.name("x")])
        elif self.chance(0.04):
            out += self.pick(["[0]", "." + names.name("x"), "[0][1].x"])
        return out

    def typed_value(self, names, path):
        """A value that may well compare with what is at the path."""
        top = names.names.get(re.split(r"[.\[]", path)[0], path.split("[")[0].split(".")[0])
        kind = SHAPE.get(top, "S")
        if kind in "LM":
            kind = self.pick(["N", "S"])
        return names.value(self.of_type(kind) if self.chance(0.8) else self.value())

    def operand(self, names):
        path = self.path(names)
        if self.chance(0.12):
            return f"size({path})", names.value({"N": self.pick(NUMBERS[:8])})
        return path, (self.typed_value(names, path) if self.chance(0.9) else self.path(names))

    def condition(self, names, depth=0):
        which = self.random.random()
        if depth < 3 and which < 0.28:
            return f"{self.condition(names, depth + 1)} {self.pick(['AND', 'OR', 'and'])} {self.condition(names, depth + 1)}"
        if depth < 3 and which < 0.36:
            return f"({self.condition(names, depth + 1)})"
        if depth < 3 and which < 0.42:
            return f"NOT {self.condition(names, depth + 1)}"
        if which < 0.62:
            left, right = self.operand(names)
            if self.chance(0.1):
                left, right = right, left
            return f"{left} {self.pick(['=', '<>', '<', '<=', '>', '>='])} {right}"
        if which < 0.68:
            left, low = self.operand(names)
            return f"{left} BETWEEN {low} AND {self.typed_value(names, left)}"
        if which < 0.74:
            left, _ = self.operand(names)
            return f"{left} IN ({', '.join(self.typed_value(names, left) for _ in range(self.random.randint(1, 3)))})"
        path = self.path(names)
        function = self.pick(["attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"])
        if function in ("attribute_exists", "attribute_not_exists"):
            return f"{function}({path})"
        if function == "attribute_type":
            return f"{function}({path}, {names.value({'S': self.pick(TYPES + ['X', ''])} if self.chance(0.95) else self.value())})"
        if function == "begins_with":
            return f"{function}({path}, {names.value(self.of_type(self.pick('SSSBN')))})"
        return f"{function}({path}, {self.typed_value(names, path) if self.chance(0.9) else self.path(names)})"

    def set_operand(self, names, path, depth=0):
        which = self.random.random()
        if depth == 0 and which < 0.1:
            return f"list_append({self.set_operand(names, path, 1)}, {self.set_operand(names, path, 1)})"
        if which < 0.2 and depth < 2:
            return f"if_not_exists({self.path(names)}, {self.set_operand(names, path, depth + 1)})"
        if which < 0.35:
            return self.path(names)
        if which < 0.45:
            return names.value({"L": [self.value(2)]})
        return self.typed_value(names, path)

    def set_action(self, names):
        which = self.random.random()
        if which < 0.2:
            path = self.path(names, self.pick(["a", "k", "g"]))
            return f"{path} = {path} {self.pick('+-')} {names.value({'N': self.pick(NUMBERS)})}"
        path = self.path(names)
        if which < 0.3:
            return f"{path} = list_append({self.path(names, 'f')}, {names.value({'L': [self.value(2)]})})"
        if which < 0.4:
            return f"{path} = if_not_exists({self.path(names)}, {self.typed_value(names, path)}) + {names.value({'N': '1'})}"
        if which < 0.5:
            return f"{path} = {self.set_operand(names, path)} {self.pick('+-')} {self.set_operand(names, path)}"
        return f"{path} = {self.set_operand(names, path)}"

    def update(self, names):
        clauses = []
        kinds = self.random.sample(["SET", "SET", "REMOVE", "ADD", "DELETE"], self.pick([1, 1, 1, 2, 3]))
        for kind in kinds if self.chance(0.05) else dict.fromkeys(kinds):
            if kind == "SET":
                actions = [self.set_action(names) for _ in range(self.pick([1, 1, 2, 3]))]
            elif kind == "REMOVE":
                actions = [self.path(names) for _ in range(self.pick([1, 1, 2]))]
            elif kind == "ADD":
                top = self.pick("akkhijg")
                value = self.of_type({"h": "SS", "i": "NS", "j": "BS"}.get(top, "N")) if self.chance(0.9) else self.value()
                actions = [f"{self.path(names, top)} {names.value(value)}"]
            else:
                top = self.pick("hhijg")
                value = self.of_type({"i": "NS", "j": "BS"}.get(top, "SS")) if self.chance(0.9) else self.value()
                actions = [f"{self.path(names, top)} {names.value(value)}"]
            clauses.append(f"{kind} {', '.join(actions)}")
        return " ".join(clauses)

    def projection(self, names):
        paths = [self.path(names) for _ in range(self.pick([1, 2, 2, 3]))]
        if self.chance(0.3):
            paths.append(names.name("p"))
        return ", ".join(paths)

    def key_condition(self, names, table):
        p, p_type, r, r_type = TABLES[table]
        parts = [f"{names.name(p)} = {names.value({p_type: self.pick(KEYS[p_type][:3])})}"]
        if r and self.chance(0.6):
            value = lambda: names.value({r_type: self.pick(KEYS[r_type])})  # noqa: E731
            which = self.random.random()
            if which < 0.6:
                parts.append(f"{names.name(r)} {self.pick(['=', '<', '<=', '>', '>='])} {value()}")
            elif which < 0.8:
                parts.append(f"{names.name(r)} BETWEEN {value()} AND {value()}")
            else:
                parts.append(f"begins_with({names.name(r)}, {value()})")
        if self.chance(0.08):
            parts.append(self.pick([f"{names.name('a')} = {names.value({'N': '1'})}", f"{names.name(r or 'r')} <> {names.value({'S': 'a'})}",
                                    f"{names.name(p)} = {names.value({p_type: 'a'})}", self.condition(names, 3)]))
        if self.chance(0.05):
            self.random.shuffle(parts)
        if self.chance(0.05):
            parts = [f"({part})" for part in parts]
        text = f" {self.pick(['AND'] * 30 + ['and', 'OR'])} ".join(parts)
        if self.chance(0.03):
            text = self.pick(["({})", "(({}))", "NOT {}"]).format(text)
        return text

    def legacy_condition(self, name, operators=LEGACY):
        operator = self.pick(operators)
        count = {"BETWEEN": 2, "IN": self.random.randint(1, 3), "NOT_NULL": 0, "NULL": 0}.get(operator, 1)
        if self.chance(0.07):
            count = self.random.randint(0, 3)
        out = {"ComparisonOperator": operator, "AttributeValueList": [self.shaped(name) for _ in range(count)]}
        if not count and self.chance(0.8):
            del out["AttributeValueList"]
        return out

    def expected(self):
        out = {}
        for name in self.random.sample(list(SHAPE), self.pick([1, 1, 2])):
            which = self.random.random()
            if which < 0.3:
                out[name] = {"Value": self.shaped(name), **({"Exists": True} if self.chance(0.4) else {})}
            elif which < 0.45:
                out[name] = {"Exists": False}
            elif which < 0.95:
                out[name] = self.legacy_condition(name)
            else:
                out[name] = self.pick([{}, {"Exists": True}, {"Exists": False, "Value": {"S": "a"}}, {"Value": {"S": "a"}, "ComparisonOperator": "EQ"},
                                       {"AttributeValueList": [{"S": "a"}]}])
        return out

    # Operations.

    def common(self, request, collection=True):
        if self.chance(0.3):
            request["ReturnConsumedCapacity"] = self.pick(CAPACITY)
        if collection and self.chance(0.05):
            request["ReturnItemCollectionMetrics"] = self.pick(COLLECTION)
        return request

    def conditional(self, request, names):
        """Sometimes a condition, new or old."""
        which = self.random.random()
        if which < 0.45:
            request["ConditionExpression"] = self.condition(names)
            if self.chance(0.3):
                request["ReturnValuesOnConditionCheckFailure"] = self.pick(["ALL_OLD", "NONE"])
        elif which < 0.6 and "UpdateExpression" not in request:
            request["Expected"] = self.expected()
            if self.chance(0.3):
                request["ConditionalOperator"] = self.pick(["AND", "OR"])

    def put_item(self, table):
        names = Names(self.random)
        request = {"TableName": table, "Item": self.item(table)}
        self.conditional(request, names)
        if self.chance(0.4):
            request["ReturnValues"] = self.pick(RETURN_VALUES[:2] * 6 + RETURN_VALUES)
        names.into(request)
        return "PutItem", self.common(request)

    def delete_item(self, table):
        names = Names(self.random)
        request = {"TableName": table, "Key": self.key(table)}
        self.conditional(request, names)
        if self.chance(0.4):
            request["ReturnValues"] = self.pick(RETURN_VALUES[:2] * 6 + RETURN_VALUES)
        names.into(request)
        return "DeleteItem", self.common(request)

    def update_item(self, table):
        names = Names(self.random)
        request = {"TableName": table, "Key": self.key(table)}
        if self.chance(0.85):
            request["UpdateExpression"] = self.update(names)
        elif self.chance(0.9):
            request["AttributeUpdates"] = {}
            for name in self.random.sample(list(SHAPE), self.pick([1, 1, 2, 3])):
                action = self.pick(["PUT", "DELETE", "ADD"])
                update = {"Value": self.of_type({"ADD": self.pick(["N", "SS", "NS", "L", "S"])}.get(action, self.pick(TYPES)))} if self.chance(0.8) else {}
                if self.chance(0.9):
                    update["Action"] = action
                request["AttributeUpdates"][name] = update
        self.conditional(request, names)
        if self.chance(0.7):
            request["ReturnValues"] = self.pick(RETURN_VALUES)
        names.into(request)
        return "UpdateItem", self.common(request)

    def get_item(self, table):
        names = Names(self.random)
        request = {"TableName": table, "Key": self.key(table)}
        if self.chance(0.5):
            request["ProjectionExpression"] = self.projection(names)
        elif self.chance(0.15):
            request["AttributesToGet"] = self.random.sample(["p", *SHAPE], self.random.randint(1, 3))
        if self.chance(0.3):
            request["ConsistentRead"] = self.chance(0.5)
        names.into(request)
        return "GetItem", self.common(request, False)

    def read_options(self, request, names, filters):
        if self.chance(0.4):
            request["FilterExpression"] = self.condition(names)
        elif self.chance(0.15) and not any(name in request for name in EXPRESSIONS):
            request[filters] = {name: self.legacy_condition(name) for name in self.random.sample(list(SHAPE), self.pick([1, 1, 2]))}
            if self.chance(0.3):
                request["ConditionalOperator"] = self.pick(["AND", "OR"])
        if self.chance(0.3):
            request["ProjectionExpression"] = self.projection(names)
        elif self.chance(0.07):
            request["AttributesToGet"] = self.random.sample(["p", *SHAPE], self.random.randint(1, 3))
        if self.chance(0.15):
            request["Select"] = self.pick(["ALL_ATTRIBUTES", "COUNT", "SPECIFIC_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"])
        if self.chance(0.2):
            request["ConsistentRead"] = self.chance(0.5)

    def query(self, table):
        names = Names(self.random)
        request = {"TableName": table}
        p, p_type, r, r_type = TABLES[table]
        if self.chance(0.88):
            request["KeyConditionExpression"] = self.key_condition(names, table)
        else:
            request["KeyConditions"] = {p: {"ComparisonOperator": self.pick(["EQ"] * 9 + LEGACY), "AttributeValueList": [{p_type: self.pick(KEYS[p_type][:3])}]}}
            if r and self.chance(0.6):
                operator = self.pick(["EQ", "LE", "LT", "GE", "GT", "BEGINS_WITH", "BETWEEN", "BETWEEN", "NE", "IN"])
                request["KeyConditions"][r] = {"ComparisonOperator": operator, "AttributeValueList": [
                    {r_type: self.pick(KEYS[r_type])} for _ in range(2 if operator == "BETWEEN" else 1)]}
        self.read_options(request, names, "QueryFilter")
        if self.chance(0.3):
            request["Limit"] = self.pick([1, 1, 2, 3, 100])
        if self.chance(0.4):
            request["ScanIndexForward"] = self.chance(0.5)
        if self.chance(0.12):
            request["ExclusiveStartKey"] = self.key(table)
            if self.chance(0.6) and "KeyConditionExpression" in request:
                request["ExclusiveStartKey"][p] = next(iter(names.values.values()), {})
        names.into(request)
        return "Query", self.common(request, False)

    def scan(self, table):
        names = Names(self.random)
        request = {"TableName": table}
        self.read_options(request, names, "ScanFilter")
        if self.chance(0.1):
            request["Limit"] = self.pick([1, 2, 1000])
        if self.chance(0.1):
            request["TotalSegments"] = self.pick([1, 1, 1, 0, 1000001])
            request["Segment"] = self.pick([0, 0, 0, 1, -1])
        if self.chance(0.02):
            request["ExclusiveStartKey"] = self.key(table)
        names.into(request)
        return "Scan", self.common(request, False)

    def batch_get(self, _):
        request = {"RequestItems": {}}
        for table in self.random.sample(list(TABLES), self.pick([1, 1, 2])):
            names = Names(self.random)
            keys = [self.key(table) for _ in range(self.pick([1, 2, 3, 5]))]
            if self.chance(0.9):
                keys = [key for at, key in enumerate(keys) if key not in keys[:at]]
            entry = {"Keys": keys}
            if self.chance(0.3):
                entry["ProjectionExpression"] = self.projection(names)
            elif self.chance(0.1):
                entry["AttributesToGet"] = self.random.sample(["p", *SHAPE], 2)
            if self.chance(0.2):
                entry["ConsistentRead"] = self.chance(0.5)
            names.into(entry)
            request["RequestItems"][table] = entry
        return "BatchGetItem", self.common(request, False)

    def batch_write(self, _):
        request = {"RequestItems": {}}
        for table in self.random.sample(list(TABLES), self.pick([1, 1, 2])):
            writes, seen = [], []
            for _ in range(self.pick([1, 2, 3, 4])):
                write = {"PutRequest": {"Item": self.item(table)}} if self.chance(0.7) else {"DeleteRequest": {"Key": self.key(table)}}
                body = next(iter(write.values()))
                key = {name: value for name, value in next(iter(body.values())).items() if name in ("p", "r")}
                if key not in seen or self.chance(0.1):
                    seen.append(key)
                    writes.append(write)
            if self.chance(0.03):
                writes.append(self.pick([{}, {"PutRequest": {}}, {"PutRequest": {"Item": self.item(table)}, "DeleteRequest": {"Key": self.key(table)}}]))
            request["RequestItems"][table] = writes
        return "BatchWriteItem", self.common(request)

    def transact_write(self, _):
        actions, seen = [], []
        for _ in range(self.pick([1, 2, 2, 3])):
            table, names = self.pick(list(TABLES)), Names(self.random)
            kind = self.pick(["Put", "Update", "Delete", "ConditionCheck"])
            body = {"TableName": table}
            if kind == "Put":
                body["Item"] = self.item(table)
            else:
                body["Key"] = self.key(table)
            key = (table, {name: value for name, value in body.get("Item", body.get("Key")).items() if name in ("p", "r")})
            if key in seen and self.chance(0.9):
                continue
            seen.append(key)
            if kind == "Update":
                body["UpdateExpression"] = self.update(names)
            if kind == "ConditionCheck" or self.chance(0.4):
                body["ConditionExpression"] = self.condition(names)
            if self.chance(0.3):
                body["ReturnValuesOnConditionCheckFailure"] = self.pick(["ALL_OLD", "NONE"])
            names.into(body)
            actions.append({kind: body})
        request = {"TransactItems": actions}
        if self.chance(0.2):
            self.tokens += 1
            request["ClientRequestToken"] = self.pick([f"token-{self.tokens}", f"token-{self.tokens}", f"token-{self.random.randint(1, self.tokens)}"])
        return "TransactWriteItems", self.common(request)

    def transact_get(self, _):
        gets = []
        for _ in range(self.pick([1, 2, 3])):
            table, names = self.pick(list(TABLES)), Names(self.random)
            body = {"TableName": table, "Key": self.key(table)}
            if self.chance(0.3):
                body["ProjectionExpression"] = self.projection(names)
            names.into(body)
            gets.append({"Get": body})
        if self.chance(0.02):
            gets.append(copy.deepcopy(self.pick([gets[0], {}])))
        return "TransactGetItems", self.common({"TransactItems": gets}, False)

    def tables(self, _):
        """A table is made, described or removed; those of the items stay."""
        which = self.random.random()
        if which < 0.25:
            return "DescribeTable", {"TableName": self.pick([*TABLES, "diff-none", "diff-made", "x", "a b"])}
        if which < 0.45:
            return "DeleteTable", {"TableName": self.pick(["diff-none", "diff-made", "ab", ""])}
        if which < 0.5:
            return "ListTables", self.pick([{}, {"Limit": 1}, {"Limit": 0}, {"Limit": 101}, {"ExclusiveStartTableName": "diff-n"}, {"ExclusiveStartTableName": "x"}])
        hash_type, range_type = self.pick("SNB"), self.pick("SNB")
        request = {
            "TableName": "diff-made", "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": hash_type}],
        }
        if self.chance(0.5):
            request["KeySchema"].append({"AttributeName": "r", "KeyType": "RANGE"})
            request["AttributeDefinitions"].append({"AttributeName": "r", "AttributeType": range_type})
        if self.chance(0.5):
            request["BillingMode"] = "PAY_PER_REQUEST"
        else:
            request["ProvisionedThroughput"] = {"ReadCapacityUnits": self.pick([1, 5, 10]), "WriteCapacityUnits": self.pick([1, 5])}
            if self.chance(0.3):
                request["BillingMode"] = "PROVISIONED"
        if self.chance(0.5):
            self.spoil_schema(request)
        return "CreateTable", request

    def spoil_schema(self, request):
        definitions, schema = request["AttributeDefinitions"], request["KeySchema"]
        self.pick([
            lambda: definitions.pop(), lambda: schema.pop(0), lambda: definitions.append({"AttributeName": "q", "AttributeType": "S"}),
            lambda: definitions[0].update(AttributeType=self.pick(["X", "BOOL", "", None])), lambda: schema[0].update(KeyType=self.pick(["RANGE", "X", ""])),
            lambda: schema.append({"AttributeName": "p", "KeyType": "RANGE"}), lambda: schema.append({"AttributeName": "z", "KeyType": "HASH"}),
            lambda: schema.reverse(), lambda: request.update(BillingMode=self.pick(["PROVISIONED", "PAY_PER_REQUEST", "X", ""])),
            lambda: request.pop("BillingMode", None), lambda: request.pop("ProvisionedThroughput", None),
            lambda: request.update(ProvisionedThroughput=self.pick([{}, {"ReadCapacityUnits": 1}, {"ReadCapacityUnits": 0, "WriteCapacityUnits": 1},
                                                                  {"ReadCapacityUnits": -1, "WriteCapacityUnits": 10**13}])),
            lambda: request.update(TableName=self.pick(["", "ab", "a b c", "x" * 256, "diff-single", None, "é" * 4])),
            lambda: definitions.append(copy.deepcopy(definitions[0])), lambda: schema[0].update(AttributeName=self.pick(["", "n" * 256, "q"])),
            lambda: request.pop(self.pick(["KeySchema", "AttributeDefinitions", "TableName"])), lambda: request.update(KeySchema=[], AttributeDefinitions=[]),
            lambda: request.update(TableClass=self.pick(["STANDARD", "STANDARD_INFREQUENT_ACCESS", "X"])),
            lambda: request.update(DeletionProtectionEnabled=self.pick([False, "x"])),
        ])()

    # Spoiling.

    def spoil_text(self, text):
        """An expression with one token changed."""
        tokens = TOKEN.findall(text)
        which = self.random.randint(0, 7)
        at = self.random.randrange(len(tokens)) if tokens else 0
        if not tokens or which == 0:
            return self.pick(["", " ", "a", "SET", "()", "a = b", "size(a)", "SET a = b", "p", "NOT a", ",", "a,", "attribute_exists(a)", "((a = a))"])
        if which == 1:
            del tokens[at]
        elif which == 2:
            tokens.insert(at, tokens[at])
        elif which == 3:
            other = self.random.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif which in (4, 5):
            tokens.insert(at, " " + self.pick(JUNK) + " ")
        elif which == 6:
            tokens[at] = " " + self.pick(JUNK) + " "
        else:
            return "".join(tokens[:at])
        return "".join(tokens)

    def bodies(self, request):
        """The objects of a request that have parameters of an item operation; it may be spoiled already."""
        found = [request]
        items, actions = request.get("RequestItems"), request.get("TransactItems")
        if isinstance(items, dict):
            found += [entry for entry in items.values() if isinstance(entry, dict)] * 2
        if isinstance(actions, list):
            found += [body for action in actions if isinstance(action, dict) for body in action.values() if isinstance(body, dict)] * 2
        return found

    def spoil(self, request):
        body = self.pick(self.bodies(request))
        which = self.random.randint(0, 13)
        texts = [name for name in EXPRESSIONS if isinstance(body.get(name), str)]
        names, values = body.get("ExpressionAttributeNames"), body.get("ExpressionAttributeValues")
        if which <= 4 and texts:
            name = self.pick(texts)
            body[name] = self.spoil_text(body[name])
        elif which == 5 and isinstance(values, dict) and values:
            self.pick([lambda: values.pop(self.pick(list(values))), lambda: values.update({":unused": {"S": "a"}}), lambda: values.update({"bad": {"S": "a"}}),
                       lambda: values.update({self.pick(list(values)): self.bad_value()}), lambda: values.clear(), lambda: values.update({":": {"S": "a"}}),
                       lambda: values.update({":a-b": {"S": "a"}})])()
        elif which == 6 and isinstance(names, dict) and names:
            self.pick([lambda: names.pop(self.pick(list(names))), lambda: names.update({"#unused": "a"}), lambda: names.update({"bad": "a"}),
                       lambda: names.update({self.pick(list(names)): self.pick(["", None, "a.b", "p"])}), lambda: names.clear(), lambda: names.update({"#": "a"}),
                       lambda: names.update({"#a-b": "a"})])()
        elif which == 7:
            body[self.pick(["ExpressionAttributeNames", "ExpressionAttributeValues", *EXPRESSIONS])] = self.pick([{}, {"#a": "a"}, {":a": {"S": "a"}}, "", "a = a", "a"])
        elif which == 8 and body:
            del body[self.pick(list(body))]
        elif which == 9:
            body.update(self.pick([
                {"Expected": self.expected()}, {"AttributesToGet": ["a"]}, {"AttributesToGet": []}, {"AttributesToGet": ["a", "a"]}, {"ConditionalOperator": "AND"},
                {"QueryFilter": {}}, {"ScanFilter": {}}, {"AttributeUpdates": {}}, {"KeyConditions": {}}, {"Expected": {}}, {"ConditionalOperator": "X"},
            ]))
        elif which == 10:
            body.update(self.pick([
                {"ReturnValues": self.pick(["X", "", "all_old"])}, {"ReturnConsumedCapacity": self.pick(["X", ""])}, {"ReturnItemCollectionMetrics": "X"},
                {"Select": self.pick(["X", ""])}, {"Limit": self.pick([0, -1, 2**31, "1", 1.5])}, {"ReturnValuesOnConditionCheckFailure": self.pick(["X", "ALL_NEW"])},
                {"ConsistentRead": self.pick(["true", 1, None])}, {"ScanIndexForward": "x"}, {"TotalSegments": 2}, {"Segment": 0}, {"IndexName": self.pick(["none", "", "ab"])},
                {"ClientRequestToken": self.pick(["", "x" * 37])}, {"Unknown": 1},
            ]))
        elif which == 11:
            body["TableName"] = self.pick(["diff-none", "", "ab", "a b c", "x" * 300, None, 1, "diff-single", "arn:aws:dynamodb:us-east-1:000000000000:table/diff-single"])
        elif which == 12:
            keys = [part for part in (body.get("Key"), body.get("ExclusiveStartKey"), body.get("Item")) if isinstance(part, dict) and part]
            if keys:
                self.spoil_key(self.pick(keys))
        else:
            self.spoil_node(request)

    def spoil_node(self, request):
        """Puts something strange somewhere."""
        places = []

        def walk(node):
            for at in node if isinstance(node, dict) else range(len(node)):
                places.append((node, at))
                if isinstance(node[at], (dict, list)):
                    walk(node[at])

        walk(request)
        if places:
            node, at = self.pick(places)
            node[at] = copy.deepcopy(self.pick(STRANGE))

    OPERATIONS = [
        (put_item, 14), (update_item, 26), (delete_item, 7), (get_item, 9), (query, 16), (scan, 6), (batch_get, 5), (batch_write, 6), (transact_write, 9),
        (transact_get, 4), (tables, 3),
    ]

    def request(self):
        """The next one."""
        make = self.random.choices([one for one, _ in self.OPERATIONS], [weight for _, weight in self.OPERATIONS])[0]
        operation, request = make(self, self.pick(list(TABLES)))
        if operation not in ("CreateTable", "DeleteTable", "DescribeTable", "ListTables"):
            for _ in range(self.pick([0, 0, 0, 0, 0, 1, 1, 2])):
                self.spoil(request)
        elif self.chance(0.1):
            self.spoil_node(request)
        return operation, request

    def start(self):
        """What every server is given first: tables, then items."""
        for table, (p, p_type, r, r_type) in TABLES.items():
            names = [(p, p_type, "HASH"), *([(r, r_type, "RANGE")] if r else [])]
            yield "CreateTable", {
                "TableName": table, "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind, _ in names],
                "KeySchema": [{"AttributeName": name, "KeyType": key} for name, _, key in names],
            }
            for hash_value in KEYS[p_type][:3]:
                for range_value in KEYS[r_type] if r else [None]:
                    item = {p: {p_type: hash_value}, **({r: {r_type: range_value}} if r else {})}
                    for name in list(SHAPE)[:10]:
                        if self.chance(0.7):
                            item[name] = {"L": [{"N": "1"}, {"S": "s"}]} if name == "f" else {"M": {"x": {"N": "1"}, "z": {"L": []}}} if name == "g" else self.of_type(SHAPE[name])
                    yield "PutItem", {"TableName": table, "Item": item}


