//! What updates make of items, and which they refuse.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::expression::Placeholders;
use crate::tests::item;
use crate::{AttributeValue, Item, Number};

fn list(elements: &[i64]) -> AttributeValue {
    AttributeValue::L(elements.iter().map(|number| (*number).into()).collect())
}

fn strings(members: &[&str]) -> AttributeValue {
    AttributeValue::Ss(members.iter().map(|member| (*member).to_owned()).collect())
}

fn map<const N: usize>(members: [(&str, AttributeValue); N]) -> AttributeValue {
    AttributeValue::M(item(members))
}

fn number(text: &str) -> AttributeValue {
    text.parse::<Number>().unwrap().into()
}

fn given() -> Item {
    item([
        (":n", 5.into()),
        (":m", (-2).into()),
        (":s", "x".into()),
        (":l", list(&[8, 9])),
        (":set", strings(&["b", "c"])),
        (":ab", strings(&["a", "b"])),
        (":t", true.into()),
        (":big", number("9e125")),
        (":tiny", number("1e-38")),
    ])
}

fn update_with(
    source: &str,
    values: &Item,
    stored: &Item,
) -> std::result::Result<[Item; 2], String> {
    let names = BTreeMap::from([("#y".to_owned(), "year".to_owned())]);
    let apply = || {
        let expression = UpdateExpression::parse(source)?;
        let mut placeholders = Placeholders::new(Some(&names), Some(values))?;
        let update = expression.bind(&mut placeholders)?;
        let item = update.apply(stored.clone())?;
        let parts = update.parts_of(&item);
        Ok([item, parts])
    };
    apply().map_err(|error: crate::TableError| error.message().to_owned())
}

/// The item as it is then.
fn update(source: &str, stored: &Item) -> std::result::Result<Item, String> {
    update_with(source, &given(), stored).map(|[item, _]| item)
}

fn sample() -> Item {
    item([
        ("a", 1.into()),
        ("s", "text".into()),
        ("l", list(&[0, 1, 2])),
        ("p", map([("c", 1.into()), ("d", list(&[4]))])),
        ("ss", strings(&["a", "b"])),
    ])
}

#[test]
fn updates_do_what_the_service_does() {
    let changed = |source: &str, name: &str| update(source, &sample()).unwrap().get(name).cloned();
    for (source, name, expected) in [
        ("SET a = :n, b = a", "b", Some(1.into())),
        ("SET a = :n, b = a", "a", Some(5.into())),
        ("set b = a + :n", "b", Some(6.into())),
        ("SET b = :n - a", "b", Some(4.into())),
        ("SET b = (a + :n)", "b", Some(6.into())),
        ("SET b = (a + :n) - :m", "b", Some(8.into())),
        ("SET b = if_not_exists(z, :n) + :n", "b", Some(10.into())),
        ("SET a = if_not_exists(a, :n)", "a", Some(1.into())),
        ("SET #y = :n", "year", Some(5.into())),
        ("SET l = list_append(l, :l)", "l", Some(list(&[0, 1, 2, 8, 9]))),
        ("SET z = list_append(if_not_exists(z, :l), :l)", "z", Some(list(&[8, 9, 8, 9]))),
        ("SET b = if_not_exists(z, if_not_exists(y, a))", "b", Some(1.into())),
        ("SET l[4294967294] = :n", "l", Some(list(&[0, 1, 2, 5]))),
        ("SET l[99] = :n", "l", Some(list(&[0, 1, 2, 5]))),
        ("SET l[98] = :m, l[7] = :n", "l", Some(list(&[0, 1, 2, 5, -2]))),
        ("SET l[1] = :n", "l", Some(list(&[0, 5, 2]))),
        (
            "SET p.c = :n, p.z = a",
            "p",
            Some(map([("c", 5.into()), ("d", list(&[4])), ("z", 1.into())])),
        ),
        ("REMOVE l[0], l[1]", "l", Some(list(&[2]))),
        ("REMOVE l[2], l[7]", "l", Some(list(&[0, 1]))),
        ("REMOVE l[0] SET l[5] = :n, l[2] = l[0]", "l", Some(list(&[1, 0, 5]))),
        ("REMOVE p.d[0], a", "p", Some(map([("c", 1.into()), ("d", list(&[]))]))),
        ("REMOVE a", "a", None),
        ("ADD a :n", "a", Some(6.into())),
        ("ADD z :n", "z", Some(5.into())),
        ("ADD p.c :m", "p", Some(map([("c", (-1).into()), ("d", list(&[4]))]))),
        ("ADD ss :set", "ss", Some(strings(&["a", "b", "c"]))),
        ("ADD z :set", "z", Some(strings(&["b", "c"]))),
        ("DELETE ss :set", "ss", Some(strings(&["a"]))),
        ("DELETE ss :ab", "ss", None),
        ("DELETE z :set", "z", None),
        ("ADD z :n DELETE ss :set REMOVE s SET b = s", "b", Some("text".into())),
    ] {
        assert_eq!(changed(source, name), expected, "{source}");
    }
}

#[test]
fn the_parts_are_what_is_at_the_paths_then() {
    let parts = |source: &str| update_with(source, &given(), &sample()).unwrap()[1].clone();
    assert_eq!(parts("SET p.c = :n"), item([("p", map([("c", 5.into())]))]));
    // An element is appended at another index than the path names.
    assert_eq!(parts("SET l[99] = :n"), Item::new());
    assert_eq!(parts("SET l[3] = :n"), item([("l", list(&[5]))]));
    // Another element has moved to the index.
    assert_eq!(parts("REMOVE l[1]"), item([("l", list(&[2]))]));
    assert_eq!(parts("SET l[99] = :n REMOVE l[0], a"), item([("l", list(&[1]))]));
    assert_eq!(parts("REMOVE l[2]"), Item::new());
    assert_eq!(parts("REMOVE p.c"), Item::new());
    assert_eq!(parts("REMOVE a DELETE ss :ab"), Item::new());
    assert_eq!(parts("DELETE ss :set"), item([("ss", strings(&["a"]))]));
}

#[test]
fn operands_are_checked_in_the_order_in_which_they_are_written_and_then_paths() {
    for (source, why) in [
        ("ADD z.a :n SET b = z", message::MISSING_OPERAND),
        ("SET b = z ADD z.a :n", message::MISSING_OPERAND),
        ("DELETE a :set REMOVE z.a SET b = z", message::WRONG_OPERAND),
        ("SET b = :n REMOVE z.a ADD s :n", message::WRONG_OPERAND),
        ("SET z.a = :n, b = z", message::MISSING_OPERAND),
        ("SET b = :n REMOVE z.a ADD n :n", message::INVALID_UPDATE_PATH),
    ] {
        assert_eq!(update(source, &sample()).unwrap_err(), why, "{source}");
    }
    for (source, why) in [
        ("DELETE #d :d ADD #a :a REMOVE #r SET #s = :s", "attribute name: #d"),
        ("REMOVE #r SET #s = :v ADD #a :a", "attribute name: #r"),
        ("DELETE d :d ADD a :a SET s = :v", "attribute value: :d"),
        ("ADD a :v SET s = :d", "attribute value: :v"),
        ("ADD a :s SET b = list_append(:n, l)", "operator: ADD, operand type: STRING"),
        ("SET b = list_append(:n, l) ADD a :s", "function: list_append, operand type: N"),
        ("DELETE b.c :set SET b = :n", "path one: [b, c], path two: [b]"),
    ] {
        let found = update(source, &sample()).unwrap_err();
        assert!(found.contains(why), "{source}: {found}");
    }
}

#[test]
fn what_does_not_fit_the_item_is_refused() {
    let path = message::INVALID_UPDATE_PATH;
    let missing = message::MISSING_OPERAND;
    let wrong = message::WRONG_OPERAND;
    for (source, why) in [
        ("SET z.a = :n", path),
        ("SET a.b = :n", path),
        ("SET l.b = :n", path),
        ("SET p[0] = :n", path),
        ("SET l[9].x = :n", path),
        ("REMOVE z.a", path),
        ("REMOVE a[0]", path),
        ("DELETE z.a :set", path),
        ("ADD z.a :n", path),
        ("SET b = z", missing),
        ("SET b = z + :n", missing),
        ("SET b = p.z", missing),
        ("SET b = s + :n", wrong),
        ("SET b = list_append(a, :l)", wrong),
        ("ADD s :n", wrong),
        ("ADD a :set", wrong),
        ("DELETE a :set", wrong),
        ("SET b = :big + :big", message::NUMBER_OVERFLOW),
        // More digits than a number has.
        ("SET b = a + :tiny", message::NUMBER_OVERFLOW),
        ("ADD a :tiny", message::NUMBER_OVERFLOW),
    ] {
        assert_eq!(update(source, &sample()).unwrap_err(), why, "{source}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let syntax =
        |token: &str, near: &str| format!("Syntax error; token: \"{token}\", near: \"{near}\"");
    let type_of = |operator: &str, type_name: &str| {
        format!(
            "Incorrect operand type for operator or function; operator or function: {operator}, operand \
             type: {type_name}"
        )
    };
    let section = |section: &str, type_name: &str| {
        format!(
            "Incorrect operand type for operator or function; operator: {section}, operand type: \
             {type_name}, typeSet: ALLOWED_FOR_ADD_OPERAND"
        )
    };
    let elsewhere = |function: &str| {
        format!("The function is not allowed in an update expression; function: {function}")
    };
    let misused =
        "The function is not allowed to be used this way in an expression; function: list_append";
    for (source, why) in [
        ("", "The expression can not be empty;".to_owned()),
        (" ", syntax("<EOF>", " ")),
        ("a = :n", syntax("a", "a =")),
        ("SET a", syntax("<EOF>", "a")),
        ("SET a = :n,", syntax("<EOF>", ",")),
        ("SET a = :n + :n + :n", syntax("+", ":n + :n")),
        ("SET a = :n REMOVE", syntax("<EOF>", "REMOVE")),
        ("SET a = REMOVE b", syntax("REMOVE", "= REMOVE b")),
        ("ADD a b", syntax("b", "a b")),
        ("SET a = ((:n))", "The expression has redundant parentheses;".to_owned()),
        ("SET a = f(:n)", "Invalid function name; function: f".to_owned()),
        ("SET a = size(b)", elsewhere("size")),
        ("SET a = if_not_exists(a, begins_with(a, :s))", elsewhere("begins_with")),
        ("SET a = list_append(list_append(l, l), l)", misused.to_owned()),
        ("SET a = list_append(l, list_append(l, :l))", misused.to_owned()),
        ("SET a = if_not_exists(z, list_append(l, l))", misused.to_owned()),
        ("SET _a = :n", syntax("_", "SET _a")),
        ("SET a = _f(:n)", syntax("_", "= _f")),
        ("REMOVE a._b", syntax("_", "._b")),
        (
            "REMOVE l[4294967295]",
            "List index is not within the allowable range; index: [4294967295]".to_owned(),
        ),
        ("SET year = :n", "Attribute name is a reserved keyword; reserved keyword: year".to_owned()),
        (
            "SET a = :n SET b = :n",
            "The \"SET\" section can only be used once in an update expression;".to_owned(),
        ),
        (
            "SET #z = :z",
            "An expression attribute name used in the document path is not defined; attribute name: #z"
                .to_owned(),
        ),
        (
            "SET a = :z",
            "An expression attribute value used in expression is not defined; attribute value: :z"
                .to_owned(),
        ),
        (
            "SET a = :n REMOVE a.b",
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path \
             one: [a], path two: [a, b]"
                .to_owned(),
        ),
        (
            "SET a.b = :n, a[1] = :n",
            "Two document paths conflict with each other; must remove or rewrite one of these paths; path \
             one: [a, b], path two: [a, [1]]"
                .to_owned(),
        ),
        ("ADD a :s", section("ADD", "STRING")),
        ("ADD a :l", section("ADD", "LIST")),
        ("DELETE a :n", section("DELETE", "NUMBER")),
        ("SET a = a + :s", type_of("+", "S")),
        ("SET a = a - :t", type_of("-", "BOOL")),
        ("SET a = list_append(:n, l)", type_of("list_append", "N")),
        (
            "SET a = if_not_exists(:n, a)",
            "Operator or function requires a document path; operator or function: if_not_exists".to_owned(),
        ),
        (
            "SET a = list_append(l)",
            "Incorrect number of operands for operator or function; operator or function: list_append, \
             number of operands: 1"
                .to_owned(),
        ),
    ] {
        let found = update(source, &sample());
        assert_eq!(found, Err(format!("Invalid UpdateExpression: {why}")), "{source}");
    }
}

#[test]
fn limits_are_exact_and_depth_costs_no_stack() {
    let sums = |count: usize| {
        let sets: Vec<String> = (0..count).map(|n| format!("a{n}=a+:n")).collect();
        format!("SET {}", sets.join(","))
    };
    assert!(update(&sums(300), &sample()).is_ok());
    assert!(update(&sums(301), &sample()).unwrap_err().ends_with("operator count: 301"));
    let padded = |length: usize| format!("SET a = :n{}", " ".repeat(length - 10));
    assert!(update(&padded(4096), &sample()).is_ok());
    assert!(update(&padded(4097), &sample()).unwrap_err().contains("Expression size has exceeded"));
    for source in [
        format!("SET a = {}", "(".repeat(4000)),
        format!("SET a = {}:n{}", "(".repeat(2000), ")".repeat(2000)),
        format!("SET a = {}", "list_append(".repeat(300)),
    ] {
        assert!(update(&source, &sample()).is_err());
    }
    let nested = format!("SET a = {}:n{}", "if_not_exists(z,".repeat(220), ")".repeat(220));
    assert_eq!(update(&nested, &sample()).unwrap()["a"], 5.into());
}

#[test]
fn copies_are_not_piled_up() {
    let mut stored = sample();
    stored.insert("x".to_owned(), AttributeValue::L(vec!["y".repeat(300_000).as_str().into()]));
    stored.insert("xs".to_owned(), strings(&["a", &"y".repeat(300_000)]));
    let many =
        |action: &dyn Fn(usize) -> String| (0..150).map(action).collect::<Vec<_>>().join(",");
    let mut values = given();
    values.insert(":large".to_owned(), "v".repeat(300_000).into());
    values.insert(":set".to_owned(), strings(&[&"v".repeat(300_000)]));
    for source in [
        format!("SET {}", many(&|n| format!("a{n}=x"))),
        format!("SET {}", many(&|n| format!("a{n}=list_append(x,x)"))),
        format!("ADD {}", many(&|n| format!("a{n} :set"))),
        "ADD xs :set".to_owned(),
    ] {
        let found = update_with(&source, &values, &stored);
        assert_eq!(found.unwrap_err(), message::UPDATED_ITEM_SIZE, "{source}");
    }
}

/// What is added takes up room before it is copied: of the many copies none but the first is made.
#[test]
fn what_is_added_is_charged_before_it_is_copied() {
    let mut room = apply::Room(1_000);
    let added = strings(&[&"v".repeat(600)]);
    let old = strings(&[&"o".repeat(600)]);
    assert!(apply::sum_or_union(None, &added, &mut room).is_ok());
    assert_eq!(room.0, 400);
    for old in [None, Some(&old), Some(&added)] {
        let error = apply::sum_or_union(old, &added, &mut room).unwrap_err();
        assert_eq!(error.message(), message::UPDATED_ITEM_SIZE);
    }
    assert!(apply::sum_or_union(None, &5.into(), &mut room).is_ok());
    assert_eq!(room.0, 398);
}

/// One action of the property: where, and what of the old item, an element or a number.
#[derive(Clone, Debug)]
enum Plain {
    Set(usize, i64),
    Remove(usize),
    Add(i64),
    Copy,
}

proptest! {
    #[test]
    fn lists_and_numbers_change_as_in_a_plain_evaluation(
        old in prop::collection::vec(0..9i64, 0..5),
        actions in prop::collection::vec(
            prop_oneof![
                (0..8usize, 10..20i64).prop_map(|(at, value)| Plain::Set(at, value)),
                (0..8usize).prop_map(Plain::Remove),
                (1..5i64).prop_map(Plain::Add),
                Just(Plain::Copy),
            ],
            1..6,
        ),
    ) {
        let stored = item([("l", list(&old)), ("n", 1.into())]);
        let (mut sets, mut removes, mut adds) = (Vec::new(), Vec::new(), Vec::new());
        let (mut targets, mut values) = (std::collections::BTreeSet::new(), Item::new());
        let (mut elements, mut appended): (Vec<Option<i64>>, BTreeMap<usize, i64>) =
            (old.iter().copied().map(Some).collect(), BTreeMap::new());
        let mut sum = 1;
        for (number, action) in actions.into_iter().enumerate() {
            let key = format!(":v{number}");
            match action {
                Plain::Set(at, value) if targets.insert(at) => {
                    sets.push(format!("l[{at}] = {key}"));
                    values.insert(key, value.into());
                    match elements.get_mut(at) {
                        Some(element) => *element = Some(value),
                        None => { appended.insert(at, value); }
                    }
                }
                Plain::Remove(at) if targets.insert(at) => {
                    removes.push(format!("l[{at}]"));
                    if let Some(element) = elements.get_mut(at) {
                        *element = None;
                    }
                }
                Plain::Add(value) if adds.is_empty() => {
                    adds.push(format!("n {key}"));
                    values.insert(key, value.into());
                    sum += value;
                }
                Plain::Copy if targets.insert(99) => sets.push("c = n".to_owned()),
                _ => {}
            }
        }
        let sections = [("SET", &sets), ("REMOVE", &removes), ("ADD", &adds)];
        let source: Vec<String> = (sections.iter())
            .filter(|(_, actions)| !actions.is_empty())
            .map(|(section, actions)| format!("{section} {}", actions.join(", ")))
            .collect();
        let left: Vec<i64> = elements.into_iter().flatten().chain(appended.into_values()).collect();
        let mut expected = item([("l", list(&left)), ("n", sum.into())]);
        if targets.contains(&99) {
            expected.insert("c".to_owned(), 1.into());
        }
        let expression = UpdateExpression::parse(&source.join(" ")).unwrap();
        let mut placeholders =
            Placeholders::new(None, (!values.is_empty()).then_some(&values)).unwrap();
        let update = expression.bind(&mut placeholders).unwrap();
        placeholders.check_all_used().unwrap();
        prop_assert_eq!(update.apply(stored).unwrap(), expected, "{:?}", source);
    }

    #[test]
    fn no_text_panics(text in "(SET |REMOVE |ADD |DELETE |a|l\\[1\\]| = |:n|:set| \\+ |\\(|\\)|,|list_append\\(| ){0,30}") {
        let _ = update(&text, &sample());
    }
}
