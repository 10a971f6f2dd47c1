//! What legacy conditions say of items, which they refuse, and that they agree with expressions.

use proptest::prelude::*;

use super::*;
use crate::expression::Placeholders;
use crate::expression::condition::{ConditionExpression, Kind};
use crate::expression::legacy::tests::{OPERATORS, values};
use crate::item::EncodedItem;
use crate::operation::Condition;
use crate::tests::item;
use crate::{Item, Number};

fn judged(condition: Result<Option<BoundCondition<'_>>>, item: Option<&Item>) -> Result<bool> {
    let encoded = item.map(|item| EncodedItem::encode(&mut item.clone())).transpose()?;
    condition?.map_or(Ok(true), |c| c.holds(encoded.as_ref().map(EncodedItem::view)))
}

fn filter<const N: usize>(
    conditions: [(&str, ComparisonOperator, Vec<AttributeValue>); N],
) -> Conditions {
    let condition = |(name, comparison_operator, attribute_value_list): (&str, _, _)| {
        (name.to_owned(), Condition { comparison_operator, attribute_value_list })
    };
    conditions.into_iter().map(condition).collect()
}

fn sample() -> Item {
    let strings = |members: &[&str]| members.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>();
    item([
        ("s", "abc".into()),
        ("n", 5.into()),
        ("b", AttributeValue::B(vec![1, 2, 3])),
        ("t", true.into()),
        ("z", AttributeValue::Null),
        ("ss", AttributeValue::Ss(strings(&["a", "b"]))),
        ("ns", AttributeValue::Ns(vec![Number::from(3), Number::from(5)])),
        ("bs", AttributeValue::Bs(vec![vec![1]])),
        ("l", AttributeValue::L(vec!["x".into(), 5.into(), true.into(), AttributeValue::Null])),
        ("m", AttributeValue::M(item([("k", 1.into())]))),
        ("d.t[0]", "dot".into()),
        ("d", AttributeValue::M(item([("t[0]", "inner".into())]))),
    ])
}

#[test]
fn conditions_say_what_the_service_says() {
    use ComparisonOperator::*;
    let sample = sample();
    let holds = |name: &str, operator, values: Vec<AttributeValue>| {
        let conditions = filter([(name, operator, values)]);
        judged(BoundCondition::of_filter(Some(&conditions), None), Some(&sample)).unwrap()
    };
    let one = |value: &AttributeValue| vec![value.clone()];
    for (name, value) in &sample {
        let is_scalar = matches!(value.type_name(), "S" | "N" | "B");
        assert!(holds(name, NotNull, vec![]) && !holds(name, Null, vec![]), "{name}");
        assert!(holds(name, Eq, one(value)) && !holds(name, Ne, one(value)), "{name}");
        assert!(!holds(name, Eq, vec!["other".into()]) && holds(name, Ne, vec!["other".into()]));
        for (operator, is_true) in [(Le, true), (Ge, true), (Lt, false), (Gt, false), (In, true)] {
            if is_scalar {
                assert_eq!(holds(name, operator, one(value)), is_true, "{name} {operator:?}");
            }
            // Of another type, or there is no order between the two.
            let other: AttributeValue =
                if value.type_name() == "N" { "5".into() } else { 5.into() };
            assert!(!holds(name, operator, one(&other)), "{name} {operator:?}");
        }
        assert!(!is_scalar || holds(name, Between, vec![value.clone(), value.clone()]), "{name}");
    }
    for (name, wanted, is_in) in [
        ("s", AttributeValue::from("bc"), true),
        ("s", "cb".into(), false),
        ("s", 5.into(), false),
        ("n", 5.into(), false),
        ("b", AttributeValue::B(vec![2, 3]), true),
        ("b", AttributeValue::B(vec![3, 2]), false),
        ("ss", "a".into(), true),
        ("ss", "c".into(), false),
        ("ss", 5.into(), false),
        ("ns", 5.into(), true),
        ("bs", AttributeValue::B(vec![1]), true),
        ("l", 5.into(), true),
        ("l", true.into(), true),
        ("l", AttributeValue::Null, true),
        ("l", "y".into(), false),
        ("m", "k".into(), false),
        ("t", true.into(), false),
    ] {
        assert_eq!(holds(name, Contains, one(&wanted)), is_in, "{name} {wanted:?}");
        assert_eq!(holds(name, NotContains, one(&wanted)), !is_in, "{name} {wanted:?}");
    }
    for (name, prefix, begins) in [
        ("s", AttributeValue::from("ab"), true),
        ("s", "".into(), true),
        ("s", "bc".into(), false),
        ("b", AttributeValue::B(vec![1, 2]), true),
        ("b", "ab".into(), false),
        ("n", "5".into(), false),
        ("ss", "a".into(), false),
    ] {
        assert_eq!(holds(name, BeginsWith, vec![prefix]), begins, "{name}");
    }
    assert!(holds("n", In, vec![4.into(), 5.into()]) && !holds("n", In, vec![4.into()]));
    assert!(holds("n", Between, vec![4.into(), 6.into()]));
    assert!(!holds("n", Between, vec![6.into(), 9.into()]));
}

#[test]
fn an_attribute_that_is_not_there_is_only_unequal() {
    let sample = sample();
    for operator in OPERATORS {
        let values = match operator {
            ComparisonOperator::Null | ComparisonOperator::NotNull => vec![],
            ComparisonOperator::Between => vec!["a".into(), "b".into()],
            _ => vec!["a".into()],
        };
        let conditions = filter([("missing", operator, values)]);
        let holds =
            |item| judged(BoundCondition::of_filter(Some(&conditions), None), item).unwrap();
        let expected = matches!(operator, ComparisonOperator::Ne | ComparisonOperator::Null);
        assert_eq!(holds(Some(&sample)), expected, "{operator:?}");
        assert_eq!(holds(None), expected, "{operator:?}");
    }
}

#[test]
fn names_are_plain() {
    use ComparisonOperator::{Eq, NotNull};
    let sample = sample();
    for (name, operator, values, expected) in [
        ("d.t[0]", Eq, vec!["dot".into()], true),
        ("d.t[0]", Eq, vec!["inner".into()], false),
        ("m.k", NotNull, vec![], false),
        ("l[0]", NotNull, vec![], false),
        ("#s", NotNull, vec![], false),
    ] {
        let conditions = filter([(name, operator, values)]);
        let found = judged(BoundCondition::of_filter(Some(&conditions), None), Some(&sample));
        assert_eq!(found.unwrap(), expected, "{name}");
    }
}

#[test]
fn all_conditions_hold_or_one() {
    use ComparisonOperator::{Lt, NotNull};
    let sample = sample();
    let both = |n: i64| filter([("missing", NotNull, vec![]), ("n", Lt, vec![n.into()])]);
    for (conditions, operator, expected) in [
        (both(9), None, false),
        (both(9), Some(ConditionalOperator::And), false),
        (both(9), Some(ConditionalOperator::Or), true),
        (both(1), Some(ConditionalOperator::Or), false),
        (Conditions::new(), None, true),
    ] {
        let found = judged(BoundCondition::of_filter(Some(&conditions), operator), Some(&sample));
        assert_eq!(found.unwrap(), expected);
    }
    // However many there are, the tree of them is not deep.
    let many: Conditions = (0..100_000)
        .map(|number| {
            let condition =
                Condition { comparison_operator: NotNull, attribute_value_list: vec![] };
            (format!("missing{number}"), condition)
        })
        .chain(filter([("zzz", NotNull, vec![])]))
        .collect();
    let last = item([("zzz", 1.into())]);
    for (operator, expected) in [(ConditionalOperator::And, false), (ConditionalOperator::Or, true)]
    {
        let found = judged(BoundCondition::of_filter(Some(&many), Some(operator)), Some(&last));
        assert_eq!(found.unwrap(), expected);
    }
}

#[test]
fn expectations_have_two_forms() {
    use ComparisonOperator::{Eq, Gt, In, Null};
    let sample = sample();
    let expected = |expected: ExpectedAttributeValue| {
        let expected = Expected::from([("n".to_owned(), expected)]);
        let condition = BoundCondition::of_expected(Some(&expected), None);
        judged(condition, Some(&sample)).map_err(|error| error.message().to_owned())
    };
    let (value, exists) = (|number: i64| Some(number.into()), Some);
    let none = ExpectedAttributeValue::default;
    let list = |values: &[i64]| Some(values.iter().map(|number| (*number).into()).collect());
    for (form, holds) in [
        (ExpectedAttributeValue { value: value(5), ..none() }, true),
        (ExpectedAttributeValue { value: value(6), ..none() }, false),
        (ExpectedAttributeValue { value: value(5), exists: exists(true), ..none() }, true),
        (ExpectedAttributeValue { exists: exists(false), ..none() }, false),
        (ExpectedAttributeValue { comparison_operator: Some(Null), ..none() }, false),
        (ExpectedAttributeValue { comparison_operator: Some(Gt), value: value(4), ..none() }, true),
        (
            ExpectedAttributeValue {
                comparison_operator: Some(In),
                attribute_value_list: list(&[4, 5]),
                ..none()
            },
            true,
        ),
    ] {
        assert_eq!(expected(form.clone()), Ok(holds), "{form:?}");
    }
    let both =
        ExpectedAttributeValue { value: value(5), attribute_value_list: list(&[]), ..none() };
    let compared = ExpectedAttributeValue { comparison_operator: Some(Eq), ..none() };
    for (form, why) in [
        (none(), "Value must be provided when Exists is null for Attribute: n"),
        (
            ExpectedAttributeValue { exists: exists(true), ..none() },
            "Value must be provided when Exists is true for Attribute: n",
        ),
        (
            ExpectedAttributeValue { exists: exists(false), value: value(1), ..none() },
            "Value cannot be used when Exists is false for Attribute: n",
        ),
        (
            ExpectedAttributeValue { exists: exists(true), ..compared.clone() },
            "Exists and ComparisonOperator cannot be used together for Attribute: n",
        ),
        (both.clone(), "Value and AttributeValueList cannot be used together for Attribute: n"),
        (
            ExpectedAttributeValue { comparison_operator: Some(Eq), ..both },
            "Value and AttributeValueList cannot be used together for Attribute: n",
        ),
        (
            ExpectedAttributeValue { attribute_value_list: list(&[1]), ..none() },
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: n",
        ),
        (
            compared.clone(),
            "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: n",
        ),
        (
            ExpectedAttributeValue { attribute_value_list: list(&[]), ..compared },
            "Invalid number of argument(s) for the EQ ComparisonOperator",
        ),
        (
            ExpectedAttributeValue { comparison_operator: Some(Null), value: value(1), ..none() },
            "Invalid number of argument(s) for the NULL ComparisonOperator",
        ),
    ] {
        let text = format!("One or more parameter values were invalid: {why}");
        assert_eq!(expected(form.clone()), Err(text), "{form:?}");
    }
}

/// The expression that says the same as a condition on `#a`, with the condition's values as `:v0`, `:v1`, ...
fn text(operator: ComparisonOperator, name: &str, values: &str) -> String {
    use ComparisonOperator::*;
    let first = values.split(", ").next().unwrap_or_default();
    match operator {
        Eq => format!("{name} = {first}"),
        Ne => format!("{name} <> {first}"),
        Le => format!("{name} <= {first}"),
        Lt => format!("{name} < {first}"),
        Ge => format!("{name} >= {first}"),
        Gt => format!("{name} > {first}"),
        In => format!("{name} IN ({values})"),
        Between => format!("{name} BETWEEN {}", values.replace(", ", " AND ")),
        NotNull => format!("attribute_exists({name})"),
        Null => format!("attribute_not_exists({name})"),
        Contains => format!("contains({name}, {first})"),
        NotContains => format!("(attribute_exists({name}) AND NOT contains({name}, {first}))"),
        BeginsWith => format!("begins_with({name}, {first})"),
    }
}

proptest! {
    #[test]
    fn what_is_taken_says_what_the_expression_says(
        stored in prop::option::of(prop::collection::btree_map("[abc]", values(), 0..4)),
        given in prop::collection::btree_map(
            "[abcd]",
            (prop::sample::select(&OPERATORS[..]), prop::collection::vec(values(), 0..3)),
            1..4,
        ),
        is_or in any::<bool>(),
    ) {
        let (mut conditions, mut texts, mut all_values) = (Conditions::new(), Vec::new(), Item::new());
        for (name, (operator, mut list)) in given {
            // Mostly as many values as the operator takes.
            match operator {
                ComparisonOperator::Null | ComparisonOperator::NotNull => list.clear(),
                ComparisonOperator::In | ComparisonOperator::Between => {}
                _ => list.truncate(1),
            }
            let mut keys = Vec::new();
            for value in &list {
                keys.push(format!(":v{}", all_values.len()));
                all_values.insert(format!(":v{}", all_values.len()), value.clone());
            }
            texts.push(text(operator, &name, &keys.join(", ")));
            let condition = Condition { comparison_operator: operator, attribute_value_list: list };
            conditions.insert(name, condition);
        }
        let operator = if is_or { ConditionalOperator::Or } else { ConditionalOperator::And };
        let legacy = BoundCondition::of_filter(Some(&conditions), Some(operator));
        // What is refused is refused by itself.
        if let Ok(legacy) = legacy {
            let source = texts.join(if is_or { " OR " } else { " AND " });
            let expression = ConditionExpression::parse(Kind::Filter, &source).unwrap();
            let given = (!all_values.is_empty()).then_some(&all_values);
            let mut placeholders = Placeholders::new(None, given).unwrap();
            let expression = expression.bind(&mut placeholders);
            let found = judged(Ok(legacy), stored.as_ref()).unwrap();
            let expected = judged(expression.map(Some), stored.as_ref());
            prop_assert_eq!(Ok(found), expected.map_err(|e| e.message().to_owned()), "{}", source);
        }
    }
}
