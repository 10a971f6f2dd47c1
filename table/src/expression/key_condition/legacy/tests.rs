//! What `KeyConditions` mean, and how each mistake is worded.

use super::*;
use crate::AttributeValue;
use crate::expression::legacy::tests::OPERATORS;
use crate::key_codec::{KeyPart, SortCondition};
use crate::key_schema::TableKey;
use crate::schema::{AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};

fn table_key(has_sort: bool) -> TableKey {
    let definition = |name: &str| AttributeDefinition {
        attribute_name: name.to_owned(),
        attribute_type: ScalarAttributeType::S,
    };
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    let schema = [element("p.k", KeyType::Hash), element("sk", KeyType::Range)];
    let schema = &schema[..1 + usize::from(has_sort)];
    TableKey::new(schema, &[definition("p.k"), definition("sk")]).unwrap()
}

fn conditions(given: &[(&str, ComparisonOperator, &[AttributeValue])]) -> Conditions {
    let condition = |(name, operator, values): &(&str, ComparisonOperator, &[AttributeValue])| {
        let condition =
            Condition { comparison_operator: *operator, attribute_value_list: values.to_vec() };
        ((*name).to_owned(), condition)
    };
    given.iter().map(condition).collect()
}

fn bound<T>(
    given: &[(&str, ComparisonOperator, &[AttributeValue])],
    has_sort: bool,
    then: impl FnOnce(BoundKeyCondition<'_>) -> T,
) -> std::result::Result<T, String> {
    let (given, key) = (conditions(given), table_key(has_sort));
    let bind = || {
        BoundKeyCondition::check_conditions(&given)?;
        BoundKeyCondition::of_conditions(&given, key.attributes()).map(then)
    };
    bind().map_err(|error: TableError| error.message().to_owned())
}

#[test]
fn conditions_read_what_the_expression_reads() {
    use ComparisonOperator::{BeginsWith, Between, Eq, Ge, Gt, Le, Lt};
    let (a, b, p) = (["a".into()], ["a".into(), "b".into()], ["p".into()]);
    let part = |text: &'static str| KeyPart::S(text.into());
    for (operator, values, expected) in [
        (Eq, &a[..], SortCondition::Equal(part("a"))),
        (Lt, &a, SortCondition::Less(part("a"))),
        (Le, &a, SortCondition::LessOrEqual(part("a"))),
        (Gt, &a, SortCondition::Greater(part("a"))),
        (Ge, &a, SortCondition::GreaterOrEqual(part("a"))),
        (Between, &b, SortCondition::Between(part("a"), part("b"))),
        (BeginsWith, &a, SortCondition::BeginsWith(part("a"))),
    ] {
        let given = [("p.k", Eq, &p[..]), ("sk", operator, values)];
        let found = bound(&given, true, |bound| {
            assert_eq!(bound.hash, [KeyPart::S("p".into())]);
            assert_eq!(bound.sort, Some(expected), "{operator:?}");
        });
        assert_eq!(found, Ok(()));
    }
    for has_sort in [false, true] {
        let found = bound(&[("p.k", Eq, &p)], has_sort, |bound| bound.sort.is_none());
        assert_eq!(found, Ok(true));
    }
}

#[test]
fn mistakes_are_worded_as_the_service_words_them() {
    use ComparisonOperator::{Between, Eq, Gt, In};
    let (p, n) = ([AttributeValue::from("p")], [AttributeValue::from(1)]);
    let partition = ("p.k", Eq, &p[..]);
    let error = |given: &[_], has_sort| bound(given, has_sort, |_| ()).unwrap_err();
    let not_supported = "Query key condition not supported";
    let of_type = "One or more parameter values were invalid: Condition parameter type does not match \
                   schema type";
    for (given, has_sort, expected) in [
        (&[][..], true, "Conditions can be of length 1 or 2 only"),
        (
            &[partition, ("sk", Eq, &p), ("x", Eq, &p)],
            true,
            "Conditions can be of length 1 or 2 only",
        ),
        (&[("sk", Eq, &p)], true, "Query condition missed key schema element: p.k"),
        (&[partition, ("x", Eq, &p)], true, "Query condition missed key schema element: sk"),
        (&[partition, ("x", Eq, &p)], false, not_supported),
        (&[("p.k", Gt, &p)], true, not_supported),
        (&[("p.k", Eq, &n)], true, of_type),
        (&[partition, ("sk", Eq, &n)], true, of_type),
        (
            &[partition, ("sk", Between, &p)],
            true,
            "One or more parameter values were invalid: Invalid number of argument(s) for the BETWEEN \
             ComparisonOperator",
        ),
        (
            &[partition, ("sk", In, &p)],
            true,
            "Attempted conditional constraint is not an indexable operation",
        ),
    ] {
        assert_eq!(error(given, has_sort), expected, "{given:?}");
    }
    for operator in OPERATORS {
        let values: &[AttributeValue] = match operator {
            ComparisonOperator::Null | ComparisonOperator::NotNull => &[],
            ComparisonOperator::Between => &["a".into(), "b".into()],
            _ => &p,
        };
        let is_read = !matches!(
            operator,
            ComparisonOperator::Null
                | ComparisonOperator::NotNull
                | ComparisonOperator::Ne
                | ComparisonOperator::In
                | ComparisonOperator::Contains
                | ComparisonOperator::NotContains
        );
        let found = bound(&[partition, ("sk", operator, values)], true, |_| ());
        let text = "Attempted conditional constraint is not an indexable operation";
        assert_eq!(found.err().as_deref(), (!is_read).then_some(text), "{operator:?}");
        let found = bound(&[("p.k", operator, values)], true, |_| ());
        assert_eq!(found.is_ok(), operator == Eq, "{operator:?}");
    }
}
