//! Which values each operator takes, which parameters go together, and the random values of the tests of all legacy
//! parameters.

use proptest::prelude::*;

use super::*;
use crate::Number;
use crate::operation::{Condition, ExpectedAttributeValue};

pub(crate) const OPERATORS: [ComparisonOperator; 13] = [
    ComparisonOperator::Eq,
    ComparisonOperator::Ne,
    ComparisonOperator::In,
    ComparisonOperator::Le,
    ComparisonOperator::Lt,
    ComparisonOperator::Ge,
    ComparisonOperator::Gt,
    ComparisonOperator::Between,
    ComparisonOperator::NotNull,
    ComparisonOperator::Null,
    ComparisonOperator::Contains,
    ComparisonOperator::NotContains,
    ComparisonOperator::BeginsWith,
];

/// Values of every type, few enough of each to be equal often.
pub(crate) fn values() -> impl Strategy<Value = AttributeValue> {
    let strings = || prop::collection::btree_set("[xy]{0,2}", 1..4);
    let scalar = || {
        prop_oneof![
            "[xy]{0,3}".prop_map(AttributeValue::from),
            (0..4i64).prop_map(AttributeValue::from),
            "[xy]{0,3}".prop_map(|text| AttributeValue::B(text.into_bytes())),
            any::<bool>().prop_map(AttributeValue::from),
            Just(AttributeValue::Null),
        ]
    };
    prop_oneof![
        4 => scalar(),
        1 => strings().prop_map(|set| AttributeValue::Ss(set.into_iter().collect())),
        1 => prop::collection::btree_set(0..4i64, 1..4)
            .prop_map(|set| AttributeValue::Ns(set.into_iter().map(Number::from).collect())),
        1 => strings().prop_map(|set| {
            AttributeValue::Bs(set.into_iter().map(String::into_bytes).collect())
        }),
        1 => prop::collection::vec(scalar(), 0..4).prop_map(AttributeValue::L),
        1 => prop::collection::btree_map("[ab]", scalar(), 0..3).prop_map(AttributeValue::M),
    ]
}

/// A value of each type.
pub(crate) fn of_each_type() -> [AttributeValue; 10] {
    [
        "x".into(),
        1.into(),
        AttributeValue::B(vec![1]),
        true.into(),
        AttributeValue::Null,
        AttributeValue::M(crate::Item::new()),
        AttributeValue::L(vec![]),
        AttributeValue::Ss(vec!["x".to_owned()]),
        AttributeValue::Ns(vec![Number::from(1)]),
        AttributeValue::Bs(vec![vec![1]]),
    ]
}

fn refusal(operator: ComparisonOperator, values: &[AttributeValue]) -> Option<String> {
    operator.check(values).err().map(|error| error.message().to_owned())
}

#[test]
fn operators_take_so_many_values() {
    for operator in OPERATORS {
        let fits = match operator {
            ComparisonOperator::Null | ComparisonOperator::NotNull => 0..1,
            ComparisonOperator::In => 1..6,
            ComparisonOperator::Between => 2..3,
            _ => 1..2,
        };
        for count in 0..6 {
            let text = format!(
                "One or more parameter values were invalid: Invalid number of argument(s) for the {} \
                 ComparisonOperator",
                operator.name()
            );
            let expected = (!fits.contains(&count)).then_some(text);
            assert_eq!(
                refusal(operator, &vec!["x".into(); count]),
                expected,
                "{operator:?} {count}"
            );
        }
    }
}

#[test]
fn operators_take_these_types() {
    for operator in OPERATORS {
        let takes = match operator {
            ComparisonOperator::Eq | ComparisonOperator::Ne => "S N B BOOL NULL M L SS NS BS",
            ComparisonOperator::Contains | ComparisonOperator::NotContains => "S N B BOOL NULL",
            ComparisonOperator::BeginsWith => "S B",
            ComparisonOperator::Null | ComparisonOperator::NotNull => continue,
            _ => "S N B",
        };
        let count = if operator == ComparisonOperator::Between { 2 } else { 1 };
        for value in of_each_type() {
            let text = format!(
                "One or more parameter values were invalid: ComparisonOperator {} is not valid for {} \
                 AttributeValue type",
                operator.name(),
                value.type_name()
            );
            let is_taken = takes.split(' ').any(|name| name == value.type_name());
            let found = refusal(operator, &vec![value; count]);
            assert_eq!(found, (!is_taken).then_some(text), "{operator:?}");
        }
    }
}

#[test]
fn several_values_have_one_type_and_bounds_are_in_order() {
    let mixed = ["x".into(), 1.into()];
    for operator in [ComparisonOperator::In, ComparisonOperator::Between] {
        assert_eq!(
            refusal(operator, &mixed).unwrap(),
            "One or more parameter values were invalid: AttributeValues inside AttributeValueList must be \
             of same type"
        );
    }
    for (low, high, is_taken) in [
        (AttributeValue::from("a"), AttributeValue::from("b"), true),
        ("a".into(), "a".into(), true),
        ("b".into(), "a".into(), false),
        (9.into(), 10.into(), true),
        (10.into(), 9.into(), false),
        (AttributeValue::B(vec![2]), AttributeValue::B(vec![1, 1]), false),
    ] {
        let found = refusal(ComparisonOperator::Between, &[low, high]);
        let text = "The BETWEEN condition was provided a range where the lower bound is greater than the \
                    upper bound";
        assert_eq!(found.as_deref(), (!is_taken).then_some(text));
    }
}

#[test]
fn parameters_of_both_kinds_are_refused_together() {
    let check = |legacy: &[(&str, bool)], expressions: &[(&str, bool)], joined| {
        check_parameters(legacy, expressions, joined).err().map(|error| error.message().to_owned())
    };
    let update = [("UpdateExpression", true), ("ConditionExpression", true)];
    assert_eq!(
        check(
            &[("AttributeUpdates", true), ("Expected", false), ("ConditionalOperator", true)],
            &update,
            Some(0)
        )
        .unwrap(),
        "Can not use both expression and non-expression parameters in the same request: Non-expression \
         parameters: {AttributeUpdates, ConditionalOperator} Expression parameters: {UpdateExpression, \
         ConditionExpression}"
    );
    assert_eq!(check(&[("Expected", false)], &update, None), None);
    let alone = |joined| check(&[("ConditionalOperator", true)], &[], joined);
    assert_eq!(
        alone(Some(0)).unwrap(),
        "ConditionalOperator cannot be used without Filter or Expected"
    );
    assert_eq!(
        alone(Some(1)).unwrap(),
        "ConditionalOperator can only be used when Filter or Expected has two or more elements"
    );
    assert_eq!(alone(Some(2)), None);
    assert_eq!(alone(None), None);
}

#[test]
fn names_and_values_are_those_of_items() {
    let expected = |name: &str, value: AttributeValue| {
        let mut expected = Expected::from([(
            name.to_owned(),
            ExpectedAttributeValue { value: Some(value), ..Default::default() },
        )]);
        let result = prepare_expected(Some(&mut expected)).map_err(|e| e.message().to_owned());
        result.map(|()| expected.into_values().next().unwrap().value.unwrap())
    };
    let set = |members: [&str; 2]| AttributeValue::Ss(members.map(str::to_owned).to_vec());
    assert_eq!(expected("a", set(["b", "a"])), Ok(set(["a", "b"])));
    assert!(expected("a", set(["b", "b"])).unwrap_err().contains("contains duplicates"));
    assert_eq!(expected("", 1.into()).unwrap_err(), "Empty attribute name");

    let condition = |count| Condition {
        comparison_operator: ComparisonOperator::In,
        attribute_value_list: vec![1.into(); count],
    };
    let conditions = |count: usize, values| -> Result<()> {
        let all = (0..count).map(|number| (number.to_string(), condition(values)));
        prepare_conditions(Some(&mut all.collect()))
    };
    assert!(conditions(300, 33).is_ok());
    assert!(conditions(301, 1).is_err() && conditions(300, 34).is_err());
}
