//! Tests of key conditions: what they mean, and how each mistake is worded.

use proptest::prelude::*;

use super::*;
use crate::key_schema::TableKey;
use crate::operation::{ExpressionAttributeNames, ExpressionAttributeValues};
use crate::schema::{AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};

fn table_key() -> TableKey {
    let definition = |name: &str| AttributeDefinition {
        attribute_name: name.to_owned(),
        attribute_type: ScalarAttributeType::S,
    };
    let element =
        |name: &str, key_type| KeySchemaElement { attribute_name: name.to_owned(), key_type };
    TableKey::new(
        &[element("pk", KeyType::Hash), element("sk", KeyType::Range)],
        &[definition("pk"), definition("sk")],
    )
    .unwrap()
}

/// Parses and binds with `#pk` and `#sk` for the keys, `:a` to `:d` for these letters, `:n` for 1,
/// `:t` for true.
fn bind_with<T>(
    source: &str,
    then: impl FnOnce(Result<BoundKeyCondition<'_>>, &Placeholders<'_>) -> T,
) -> T {
    let names: ExpressionAttributeNames =
        ["pk", "sk"].iter().map(|name| (format!("#{name}"), (*name).to_owned())).collect();
    let mut values: ExpressionAttributeValues =
        ["a", "b", "c", "d"].iter().map(|v| (format!(":{v}"), (*v).into())).collect();
    values.insert(":n".to_owned(), 1.into());
    values.insert(":t".to_owned(), true.into());
    let key = table_key();
    let mut placeholders = Placeholders::new(Some(&names), Some(&values)).unwrap();
    match KeyConditionExpression::parse(source) {
        Ok(parsed) => {
            let bound = parsed.bind(&mut placeholders, key.attributes());
            then(bound, &placeholders)
        }
        Err(error) => then(Err(error), &placeholders),
    }
}

fn error(source: &str) -> String {
    bind_with(source, |bound, _| bound.expect_err(source).message().to_owned())
}

fn sort_of(source: &str) -> String {
    bind_with(source, |bound, _| {
        let bound = bound.unwrap_or_else(|e| panic!("{source}: {e}"));
        assert_eq!(bound.hash, [KeyPart::S("a".into())], "{source}");
        format!("{:?}", bound.sort)
    })
}

#[test]
fn understands_every_condition() {
    for (source, sort) in [
        ("pk = :a", "None"),
        ("(pk = :a)", "None"),
        (":a = pk", "None"),
        ("#pk=:a", "None"),
        ("pk = :a AND sk = :b", "Some(Equal(S(\"b\")))"),
        ("sk = :b and pk = :a", "Some(Equal(S(\"b\")))"),
        ("pk = :a AND #sk < :b", "Some(Less(S(\"b\")))"),
        ("pk = :a AND sk <= :b", "Some(LessOrEqual(S(\"b\")))"),
        ("pk = :a AND sk > :b", "Some(Greater(S(\"b\")))"),
        ("pk = :a AND sk >= :b", "Some(GreaterOrEqual(S(\"b\")))"),
        ("pk = :a AND :b < sk", "Some(Greater(S(\"b\")))"),
        ("pk = :a AND :b >= sk", "Some(LessOrEqual(S(\"b\")))"),
        ("pk = :a And sk Between :b aNd :c", "Some(Between(S(\"b\"), S(\"c\")))"),
        ("(pk = :a) AND (sk BETWEEN :b AND :b)", "Some(Between(S(\"b\"), S(\"b\")))"),
        ("((pk = :a) AND (begins_with(sk, :b)))", "Some(BeginsWith(S(\"b\")))"),
        ("begins_with ( sk , :b ) AND pk = :a", "Some(BeginsWith(S(\"b\")))"),
    ] {
        assert_eq!(sort_of(source), sort, "{source}");
    }
}

#[test]
fn words_every_mistake() {
    for (source, wanted) in [
        ("", "The expression can not be empty;"),
        ("  ", "Syntax error; token: \"<EOF>\", near: \"  \""),
        ("pk", "Syntax error; token: \"<EOF>\", near: \"pk\""),
        ("pk = :a AND", "Syntax error; token: \"<EOF>\", near: \"AND\""),
        ("pk = :a sk = :b", "Syntax error; token: \"sk\", near: \":a sk =\""),
        ("pk ! :a", "Syntax error; token: \"!\", near: \"pk ! :a\""),
        ("pk = 1", "Syntax error; token: \"1\", near: \"= 1\""),
        ("(pk = :a", "Syntax error; token: \"<EOF>\", near: \":a\""),
        ("pk = :a)", "Syntax error; token: \")\", near: \":a)\""),
        ("((pk = :a))", "The expression has redundant parentheses;"),
        ("((pk = :a)) AND sk = :b", "The expression has redundant parentheses;"),
        ("pk = :a AND name = :b", "Attribute name is a reserved keyword; reserved keyword: name"),
        (
            "#no = :a",
            "An expression attribute name used in the document path is not defined; \
             attribute name: #no",
        ),
        (
            "pk = :no",
            "An expression attribute value used in expression is not defined; \
             attribute value: :no",
        ),
        // What no condition may be comes first.
        ("NOT pk", "Syntax error; token: \"<EOF>\", near: \"pk\""),
        ("contains(pk, :a) sk", "Syntax error; token: \"sk\", near: \") sk\""),
        ("((pk = sk))", "The expression has redundant parentheses;"),
        ("pk = Set", "Syntax error; token: \"Set\", near: \"= Set\""),
        ("starts(pk, :a)", "Invalid function name; function: starts"),
        ("pk.x = :a", "KeyConditionExpressions cannot have conditions on nested attributes"),
        ("pk[0] = :a", "KeyConditionExpressions cannot have conditions on nested attributes"),
        (
            "pk = :a AND sk > :b AND sk < :c",
            "KeyConditionExpressions must only contain one condition per key",
        ),
        (
            "pk = :a AND begins_with(sk, :n)",
            "Incorrect operand type for operator or function; operator or function: begins_with, \
             operand type: N",
        ),
        (
            "pk = :a AND :t < sk",
            "Incorrect operand type for operator or function; operator or function: <, \
             operand type: BOOL",
        ),
        (
            "pk = :a AND begins_with(sk)",
            "Incorrect number of operands for operator or function; operator or function: \
             begins_with, number of operands: 1",
        ),
        (
            "pk = :a AND sk BETWEEN :c AND :b",
            "The BETWEEN operator requires upper bound to be greater than or equal to lower \
             bound; lower bound operand: AttributeValue: {S:c}, upper bound operand: \
             AttributeValue: {S:b}",
        ),
        (
            "pk = :a AND sk BETWEEN :b AND :n",
            "The BETWEEN operator requires same data type for lower and upper bounds; lower \
             bound operand: AttributeValue: {S:b}, upper bound operand: AttributeValue: {N:1}",
        ),
    ] {
        assert_eq!(error(source), format!("Invalid KeyConditionExpression: {wanted}"), "{source}");
    }
    for (source, wanted) in [
        ("pk = :a OR sk = :b", "Invalid operator used in KeyConditionExpression: OR"),
        ("NOT pk = :a", "Invalid operator used in KeyConditionExpression: NOT"),
        ("pk <> :a", "Invalid operator used in KeyConditionExpression: <>"),
        ("pk IN (:a)", "Invalid operator used in KeyConditionExpression: IN"),
        ("contains(pk, :a)", "Invalid operator used in KeyConditionExpression: contains"),
        ("pk = sk", message::TWO_NAMES_IN_KEY_CONDITION),
        (":a = :b", message::NO_NAME_IN_KEY_CONDITION),
        ("sk = :a", "Query condition missed key schema element: pk"),
        ("pk = :a AND another = :b", "Query condition missed key schema element: sk"),
        ("pk > :a", "Query key condition not supported"),
        ("pk = :n", message::CONDITION_TYPE),
        (
            "pk = :a AND sk = :b AND another = :c",
            "The number of query conditions (3) exceeds the number of key attributes defined in \
             the schema (2)",
        ),
    ] {
        assert_eq!(error(source), wanted, "{source}");
    }
}

#[test]
fn the_size_limit_is_exact() {
    let padded = |size: usize| format!("pk = :a{}", " ".repeat(size - 7));
    assert!(KeyConditionExpression::parse(&padded(4096)).is_ok());
    assert_eq!(
        error(&padded(4097)),
        "Invalid KeyConditionExpression: Expression size has exceeded the maximum allowed size;"
    );
}

#[test]
fn thousands_of_parentheses_are_answered() {
    assert!(KeyConditionExpression::parse(&"(".repeat(4096)).is_err());
    let nested = format!("{}pk = :a{}", "(".repeat(2000), ")".repeat(2000));
    assert!(error(&nested).contains("redundant parentheses"));
}

#[test]
fn unused_placeholders_are_named() {
    bind_with("pk = :a AND #sk = :c", |bound, placeholders| {
        bound.unwrap();
        assert_eq!(
            placeholders.check_all_used().unwrap_err().message(),
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#pk}"
        );
    });
    bind_with("#pk = :a AND #sk BETWEEN :b AND :c", |bound, placeholders| {
        bound.unwrap();
        assert_eq!(
            placeholders.check_all_used().unwrap_err().message(),
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:d, :n, :t}"
        );
    });
}

#[test]
fn placeholder_maps_are_checked() {
    let empty = ExpressionAttributeNames::new();
    assert!(Placeholders::new(Some(&empty), None).is_err());
    for key in ["n", "#", "#a-b", ""] {
        let names = ExpressionAttributeNames::from([(key.to_owned(), "pk".to_owned())]);
        let error = Placeholders::new(Some(&names), None).err().unwrap();
        assert_eq!(error.message(), message::expression_name_key(key));
    }
    let values = ExpressionAttributeValues::from([("v".to_owned(), AttributeValue::Null)]);
    let error = Placeholders::new(None, Some(&values)).err().unwrap();
    assert_eq!(error.message(), message::expression_value_key("v"));
}

proptest! {
    #[test]
    fn any_text_is_answered(source in any::<String>()) {
        let _ = KeyConditionExpression::parse(&source);
    }

    #[test]
    fn any_tokens_are_answered(
        tokens in proptest::collection::vec(
            prop_oneof![
                Just("pk"), Just("sk"), Just("#pk"), Just(":a"), Just(":b"), Just("="), Just("<"),
                Just("AND"), Just("OR"), Just("BETWEEN"), Just("begins_with"), Just("("),
                Just(")"), Just(","), Just("."), Just("["), Just("0"),
            ],
            0..20,
        ),
    ) {
        bind_with(&tokens.join(" "), |bound, _| drop(bound));
    }
}
