//! What conditions say of items, which they refuse, and that evaluating them over stored items agrees with a
//! plain evaluation over decoded ones.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::expression::Placeholders;
use crate::item::EncodedItem;
use crate::tests::item;
use crate::{AttributeValue, Item};

fn holds(
    source: &str,
    values: &[(&str, AttributeValue)],
    item: Option<&Item>,
) -> std::result::Result<bool, String> {
    let names = BTreeMap::from([("#y".to_owned(), "year".to_owned())]);
    let values: BTreeMap<String, AttributeValue> =
        values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let evaluate = || {
        let expression = ConditionExpression::parse(Kind::Condition, source)?;
        let values = (!values.is_empty()).then_some(&values);
        let mut placeholders = Placeholders::new(Some(&names), values)?;
        let condition = expression.bind(&mut placeholders)?;
        let encoded = item.map(|item| EncodedItem::encode(&mut item.clone())).transpose()?;
        condition.holds(encoded.as_ref().map(EncodedItem::view))
    };
    evaluate().map_err(|error: crate::TableError| error.message().to_owned())
}

fn strings(members: &[&str]) -> AttributeValue {
    AttributeValue::Ss(members.iter().map(|member| (*member).to_owned()).collect())
}

fn sample() -> Item {
    item([
        ("s", "\u{1F600}\u{e9}".into()),
        ("n", 5.into()),
        ("b", AttributeValue::B(vec![1, 2, 3])),
        ("t", true.into()),
        ("z", AttributeValue::Null),
        ("ss", strings(&["a", "b"])),
        ("l", AttributeValue::L(vec![1.into(), "x".into(), strings(&["q"])])),
        ("m", AttributeValue::M(item([("a", AttributeValue::M(item([("b", 7.into())])))]))),
        ("twin", AttributeValue::M(item([("a", AttributeValue::M(item([("b", 7.into())])))]))),
        ("same", strings(&["q"])),
        ("ns", AttributeValue::Ns(vec![crate::Number::from(3), crate::Number::from(5)])),
        ("bs", AttributeValue::Bs(vec![vec![2], vec![2, 3]])),
        ("year", 2026.into()),
    ])
}

#[test]
fn conditions_say_what_the_service_says() {
    let values = [
        (":five", "5.0".parse::<crate::Number>().unwrap().into()),
        (":text", "x".into()),
        (":e", "\u{e9}".into()),
        (":t", true.into()),
        (":set", strings(&["a", "b"])),
        (":a", "a".into()),
        (":two", 2.into()),
        (":three", 3.into()),
        (":nine", 9.into()),
        (":bytes", AttributeValue::B(vec![2, 3])),
        (":type", "SS".into()),
        (":nul", AttributeValue::Null),
        (":l", sample()["l"].clone()),
        (":l2", AttributeValue::L(vec![1.into(), "x".into(), strings(&["r"])])),
        (":m", sample()["m"].clone()),
        (":m2", AttributeValue::M(item([("a", AttributeValue::M(item([("b", 8.into())])))]))),
        (":q", strings(&["q"])),
    ];
    let stored = sample();
    for (source, expected) in [
        ("n = :five", true),
        ("n <> :five", false),
        ("n = :text", false),
        ("n <> :text", true),
        ("n < :text", false),
        ("NOT n < :text", true),
        ("gone = :five", false),
        ("gone <> :five", true),
        ("n <= :five AND n >= :five", true),
        ("n > :two and n < :nine", true),
        (":two < n", true),
        ("n BETWEEN :two AND :nine", true),
        ("n BETWEEN :two AND :three", false),
        ("n BETWEEN :two AND n2 OR n IN (:two, :five)", true),
        ("s BETWEEN :two AND :nine", false),
        ("n IN (:text, :two)", false),
        ("ss = :set", true),
        ("t = :t AND z = :nul", true),
        ("size(s) = :three", true),
        ("size(b) = :three", true),
        ("size(ss) = :two", true),
        ("size(l) = :three", true),
        ("size(m) < :two", true),
        ("size(n) < :nine", false),
        ("contains(s, :e)", true),
        ("contains(ss, :a)", true),
        ("contains(ss, :text)", false),
        ("contains(l, :text)", true),
        ("contains(l, :five)", false),
        ("contains(b, :bytes)", true),
        ("contains(n, :five)", false),
        ("begins_with(b, :bytes)", false),
        ("begins_with(s, :e)", false),
        ("attribute_type(ss, :type)", true),
        ("attribute_type(l[2], :type)", true),
        ("attribute_type(gone, :type)", false),
        ("attribute_exists(m.a.b) AND attribute_not_exists(m.a.c)", true),
        ("attribute_exists(l[3])", false),
        ("attribute_exists(l.a)", false),
        ("m.a.b = :nine OR m.a.b > :five", true),
        ("l[1] = :text", true),
        ("#y > :nine", true),
        // Containers are compared where they lie, with each other and with what is given.
        ("l = :l AND m = :m AND ss = :set", true),
        (":l = l AND :m = m", true),
        ("l = :l2 OR m = :m2 OR l = :m OR ss = :l", false),
        ("l <> :l2 AND l <> m AND z <> t AND l <> l[2]", true),
        ("m = twin AND l[2] IN (:type, m, same)", true),
        ("m.a = m OR m = m.a", false),
        ("contains(l, :q) AND NOT contains(l, :set)", true),
        ("contains(:l, l[2]) AND contains(l, same)", true),
        ("contains(:l, m)", false),
        ("contains(ns, :five) AND contains(bs, :bytes)", true),
        ("contains(ns, :two) OR contains(bs, :e) OR contains(m, :a)", false),
        ("size(m.a) = size(gone) OR size(ns) = :two", true),
        // AND binds tighter than OR, NOT tighter than both.
        ("n = :five OR n = :two AND n = :three", true),
        ("(n = :five OR n = :two) AND n = :three", false),
        ("NOT n = :two AND n = :three", false),
        ("NOT (n = :two AND n = :three)", true),
        ("NOT NOT n = :five", true),
        ("(n) = (:five)", true),
        ("(n = :five) AND ((n = :five) OR (n = :two))", true),
    ] {
        assert_eq!(holds(source, &values, Some(&stored)), Ok(expected), "{source}");
    }
    assert_eq!(holds("attribute_not_exists(n)", &values, None), Ok(true));
    assert_eq!(holds("n <> :five", &values, None), Ok(true));
    assert_eq!(holds("n = :five OR attribute_exists(n)", &values, None), Ok(false));
}

#[test]
fn what_is_wrong_is_named() {
    let values = [
        (":n", 5.into()),
        (":m", 4.into()),
        (":s", "S".into()),
        (":t", true.into()),
        (":set", strings(&["a"])),
    ];
    let type_of = |operator: &str, type_name: &str| {
        format!(
            "Incorrect operand type for operator or function; operator or function: {operator}, operand \
             type: {type_name}"
        )
    };
    let count = |function: &str, count: usize| {
        format!(
            "Incorrect number of operands for operator or function; operator or function: {function}, \
             number of operands: {count}"
        )
    };
    let distinct = |operator: &str, path: &str| {
        format!(
            "The first operand must be distinct from the remaining operands for this operator or \
             function; operator: {operator}, first operand: {path}"
        )
    };
    let misused = |function: &str| {
        format!(
            "The function is not allowed to be used this way in an expression; function: {function}"
        )
    };
    let elsewhere = |function: &str| {
        format!("The function is not allowed in a condition expression; function: {function}")
    };
    let undefined = |what: &str| format!("An expression attribute {what}");
    let syntax =
        |token: &str, near: &str| format!("Syntax error; token: \"{token}\", near: \"{near}\"");
    for (source, why) in [
        ("", "The expression can not be empty;".to_owned()),
        ("a", syntax("<EOF>", "a")),
        ("a =", syntax("<EOF>", "=")),
        ("a = :n b", syntax("b", ":n b")),
        ("a = :n = :n", syntax("=", ":n = :n")),
        ("a AND b = :n", syntax("AND", "a AND b")),
        ("a = (b = :n)", syntax("=", "b = :n")),
        ("(a = :n", syntax("<EOF>", ":n")),
        ("a = :n)", syntax(")", ":n)")),
        ("a IN ()", syntax(")", "()")),
        ("a IN :n", syntax(":n", "IN :n")),
        ("a BETWEEN :n, :n", syntax(",", ":n, :n")),
        ("size()", syntax(")", "()")),
        ("a = NOT b", syntax("NOT", "= NOT b")),
        ("a + :n = :n", syntax("+", "a + :n")),
        ("((a = :n))", "The expression has redundant parentheses;".to_owned()),
        ("a = ((:n))", "The expression has redundant parentheses;".to_owned()),
        ("((a = :n) AND (year(b)))", "Invalid function name; function: year".to_owned()),
        ("Size(a) = :n", "Invalid function name; function: Size".to_owned()),
        ("if_not_exists(a, :n) = :n", elsewhere("if_not_exists")),
        ("list_append(a, b)", elsewhere("list_append")),
        ("_a = :n", syntax("_", "_a")),
        ("a = :n AND _f(a)", syntax("_", "AND _f")),
        ("#_y = :_z", undefined("name used in the document path is not defined; attribute name: #_y")),
        ("a = :_z", undefined("value used in expression is not defined; attribute value: :_z")),
        ("attribute_exists(a) = :t", misused("attribute_exists")),
        ("size(a)", misused("size")),
        ("contains(a, begins_with(b, :s))", misused("begins_with")),
        ("year = :n", "Attribute name is a reserved keyword; reserved keyword: year".to_owned()),
        (
            "a = :x",
            "An expression attribute value used in expression is not defined; attribute value: :x"
                .to_owned(),
        ),
        ("attribute_exists(a, b)", count("attribute_exists", 2)),
        ("size(a, b) = :n", count("size", 2)),
        ("begins_with(a)", count("begins_with", 1)),
        (
            "attribute_exists(:n)",
            "Operator or function requires a document path; operator or function: attribute_exists"
                .to_owned(),
        ),
        ("a.b[1] = a.b[1]", distinct("=", "[a, b, [1]]")),
        ("#y BETWEEN :n AND #y", distinct("BETWEEN", "[year]")),
        ("contains(a, a)", distinct("contains", "[a]")),
        ("begins_with(a, :n)", type_of("begins_with", "N")),
        ("begins_with(a, :set)", type_of("begins_with", "SS")),
        ("a < :t", type_of("<", "BOOL")),
        ("a BETWEEN :set AND :set", type_of("BETWEEN", "SS")),
        ("size(:n) = :n", type_of("size", "N")),
        ("attribute_type(a, :n)", type_of("attribute_type", "N")),
        ("attribute_type(a, b)", type_of("attribute_type", "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}")),
        (
            "a BETWEEN :n AND :m",
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower \
             bound operand: AttributeValue: {N:5}, upper bound operand: AttributeValue: {N:4}"
                .to_owned(),
        ),
        (
            "a BETWEEN :s AND :m",
            "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: \
             AttributeValue: {S:S}, upper bound operand: AttributeValue: {N:4}"
                .to_owned(),
        ),
    ] {
        let found = holds(source, &values, None);
        assert_eq!(found, Err(format!("Invalid ConditionExpression: {why}")), "{source}");
    }
    let wrong_type = [(":x", "X".into())];
    assert!(
        holds("attribute_type(a, :x)", &wrong_type, None).unwrap_err().contains("type: X, valid")
    );
}

#[test]
fn limits_are_exact() {
    let values = [(":n", 5.into())];
    let try_it = |source: &str| holds(source, &values, None);
    let in_list = |count: usize| format!("a IN ({})", vec![":n"; count].join(","));
    assert_eq!(try_it(&in_list(100)), Ok(false));
    assert!(try_it(&in_list(101)).unwrap_err().ends_with("number of operands: 101"));
    // One comparison has one operator, each further one two.
    let chain = |count: usize| vec!["a=:n"; count].join(" OR ");
    assert_eq!(try_it(&format!("NOT {}", chain(150))), Ok(true));
    assert!(try_it(&chain(151)).unwrap_err().ends_with("too many operators; operator count: 301"));
    let padded = |length: usize| format!("a = :n{}", " ".repeat(length - 6));
    assert_eq!(try_it(&padded(4096)), Ok(false));
    assert!(try_it(&padded(4097)).unwrap_err().contains("Expression size has exceeded"));
}

/// Every one of these once took time that grew with the square of the lengths.
#[test]
fn long_values_are_searched_and_compared_in_linear_time() {
    let zeros = |length: usize, last: u8| {
        let mut bytes = vec![0; length];
        bytes.push(last);
        bytes
    };
    let many = || AttributeValue::L((0..40_000i64).map(AttributeValue::from).collect());
    let stored = item([
        ("b", AttributeValue::B(zeros(100_000, 0))),
        ("t", "a".repeat(100_000).into()),
        ("l", many()),
    ]);
    let values = [
        (":b", AttributeValue::B(zeros(50_000, 1))),
        (":t", format!("{}b", "a".repeat(50_000)).into()),
        (":n", 40_000.into()),
        (":type", "L".into()),
    ];
    let chain = |condition: &str, count: usize| vec![condition; count].join(" OR ");
    for source in [
        chain("contains(b, :b)", 100),
        chain("contains(t, :t)", 100),
        chain("l = :n", 150),
        chain("size(l) > :n", 100),
        format!("NOT ({})", vec!["attribute_type(l, :type)"; 120].join(" AND ")),
    ] {
        let condition = ConditionExpression::parse(Kind::Condition, &source).unwrap();
        let values: Item =
            values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut placeholders = Placeholders::new(None, Some(&values)).unwrap();
        let bound = condition.bind(&mut placeholders).unwrap();
        let encoded = EncodedItem::encode(&mut stored.clone()).unwrap();
        for _ in 0..5 {
            assert!(!bound.holds(Some(encoded.view())).unwrap(), "{source}");
        }
    }
}

#[test]
fn depth_costs_no_stack() {
    let values = [(":n", 5.into())];
    for source in [
        "(".repeat(4096),
        format!("{}a=:n{}", "(".repeat(2000), ")".repeat(2000)),
        "NOT ".repeat(1024),
        format!("{}a=:n", "NOT ".repeat(1000)),
        "size(".repeat(800),
        format!("{}a{} = :n", "size(".repeat(600), ")".repeat(600)),
        format!("{}a=:n{}", "(a=:n AND ".repeat(300), ")".repeat(300)),
        format!("a = {}", "(".repeat(4000)),
    ] {
        assert!(holds(&source, &values, None).is_err(), "{source}");
    }
    let nested = format!("{}a=:n{}", "(a=:n OR ".repeat(149), ")".repeat(149));
    assert_eq!(holds(&nested, &values, None), Ok(false));
}

/// A condition as text and what a plain evaluation says of it.
#[derive(Clone, Debug)]
enum Plain {
    Compare(&'static str, &'static str, &'static str),
    Between(&'static str, &'static str, &'static str),
    Exists(&'static str),
    And(Box<Plain>, Box<Plain>),
    Or(Box<Plain>, Box<Plain>),
    Not(Box<Plain>),
}

impl Plain {
    fn text(&self) -> String {
        match self {
            Self::Compare(left, operator, right) => format!("{left} {operator} {right}"),
            Self::Between(what, low, high) => format!("{what} between {low} and {high}"),
            Self::Exists(path) => format!("attribute_exists({path})"),
            Self::And(left, right) => format!("{} AND {}", left.beside(2), right.beside(2)),
            Self::Or(left, right) => format!("{} OR {}", left.beside(1), right.beside(1)),
            Self::Not(inner) => format!("NOT {}", inner.beside(3)),
        }
    }

    /// As an operand of an operator that binds so tightly: in parentheses where it must be.
    fn beside(&self, tightness: u32) -> String {
        let own = match self {
            Self::Or(..) => 1,
            Self::And(..) => 2,
            Self::Not(_) => 3,
            _ => 4,
        };
        if own < tightness { format!("({})", self.text()) } else { self.text() }
    }

    fn holds(&self, item: &Item) -> bool {
        let compare = |left: &str, operator: &str, right: &str| {
            let (Some(left), Some(right)) = (look_up(item, left), look_up(item, right)) else {
                return operator == "<>";
            };
            let order = match (&left, &right) {
                (AttributeValue::S(a), AttributeValue::S(b)) => Some(a.cmp(b)),
                (AttributeValue::N(a), AttributeValue::N(b)) => Some(a.cmp(b)),
                _ => None,
            };
            match operator {
                "=" => left == right,
                "<>" => left != right,
                "<" => order.is_some_and(|order| order.is_lt()),
                ">=" => order.is_some_and(|order| order.is_ge()),
                _ => order.is_some_and(|order| order.is_le()),
            }
        };
        match self {
            Self::Compare(left, operator, right) => compare(left, operator, right),
            Self::Between(what, low, high) => compare(what, ">=", low) && compare(what, "<=", high),
            Self::Exists(path) => look_up(item, path).is_some(),
            Self::And(left, right) => left.holds(item) && right.holds(item),
            Self::Or(left, right) => left.holds(item) || right.holds(item),
            Self::Not(inner) => !inner.holds(item),
        }
    }
}

/// Paths and values of the property, and where they lead.
const OPERANDS: [&str; 7] = ["a", "b", "m.a", "m.b.c", "l[0]", "l[1].a", ":v"];

fn look_up(item: &Item, operand: &str) -> Option<AttributeValue> {
    if operand == ":v" {
        return Some(1.into());
    }
    let mut steps = operand.split(['.', '[']);
    let mut value = item.get(steps.next()?)?;
    for step in steps {
        value = match value {
            AttributeValue::M(map) => map.get(step)?,
            AttributeValue::L(list) => list.get(step.strip_suffix(']')?.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value.clone())
}

fn values() -> impl Strategy<Value = AttributeValue> {
    let leaf = prop_oneof![
        (0..3i64).prop_map(AttributeValue::from),
        "[xy]?".prop_map(AttributeValue::from),
        any::<bool>().prop_map(AttributeValue::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::btree_map("[abc]", inner.clone(), 0..3).prop_map(AttributeValue::M),
            prop::collection::vec(inner, 0..3).prop_map(AttributeValue::L),
        ]
    })
}

fn conditions() -> impl Strategy<Value = Plain> {
    let operand = || prop::sample::select(&OPERANDS[..]);
    let path = || prop::sample::select(&OPERANDS[..6]);
    let comparator = prop::sample::select(&["=", "<>", "<", ">=", "<="][..]);
    let leaf = prop_oneof![
        (path(), comparator, operand()).prop_filter_map("distinct", |(left, comparator, right)| {
            (left != right).then_some(Plain::Compare(left, comparator, right))
        }),
        (path(), operand(), operand()).prop_filter_map("distinct", |(what, low, high)| {
            (what != low && what != high).then_some(Plain::Between(what, low, high))
        }),
        path().prop_map(Plain::Exists),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            two.clone().prop_map(|(a, b)| Plain::And(Box::new(a), Box::new(b))),
            two.prop_map(|(a, b)| Plain::Or(Box::new(a), Box::new(b))),
            inner.prop_map(|a| Plain::Not(Box::new(a))),
        ]
    })
}

proptest! {
    #[test]
    fn stored_items_are_judged_as_decoded_ones(
        item in prop::collection::btree_map("[ablm]", values(), 0..5),
        condition in conditions(),
    ) {
        let text = condition.text();
        let found = holds(&text, &[(":v", 1.into())], Some(&item));
        prop_assert_eq!(found, Ok(condition.holds(&item)), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[ab:n#()=<>., \\[\\]0-9]{0,40}|(a|:n|AND |OR |NOT |\\(|\\)| = | IN |size\\(|,){0,30}") {
        let _ = holds(&text, &[(":n", 5.into())], Some(&sample()));
    }
}
