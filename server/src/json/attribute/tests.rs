//! Attribute values through JSON and back, and every way in which they are refused.

use esker_table::{AttributeValue, Item};
use serde::de::MapAccess;

use crate::json::{self, Decoded, Members};

#[derive(Default)]
struct Probe(Option<Decoded<Item>>);

impl Members for Probe {
    const NAME: &'static str = "Probe";
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Item" => self.0 = json::item(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

fn read(item: &str) -> Result<Item, String> {
    let probe: Probe =
        json::read(format!("{{\"Item\":{item}}}").as_bytes()).map_err(|error| error.to_string())?;
    probe.0.unwrap().map_err(|error| error.to_string())
}

fn refusal(value: &str) -> String {
    read(&format!("{{\"a\":{value}}}")).unwrap_err()
}

#[test]
fn every_type_goes_both_ways() {
    let text = r#"{"a":{"S":"é\"\u0001"},"b":{"N":"-0.5"},"c":{"B":"AQID"},"d":{"BOOL":false},"e":{"NULL":true},"f":{"M":{"x":{"L":[{"S":""},{"M":{}}]}}},"g":{"SS":["a","b"]},"h":{"NS":["1","2"]},"i":{"BS":["AQ==",""]}}"#;
    let item = read(text).unwrap();
    assert_eq!(item["c"], AttributeValue::B(vec![1, 2, 3]));
    assert_eq!(String::from_utf8(json::to_bytes(&json::ItemOut(&item))).unwrap(), text);
}

#[test]
fn names_and_strings_with_escapes_are_read() {
    let item = read(r#"{"\u0061\n":{"\u0053":"\ud83d\ude00"}}"#).unwrap();
    assert_eq!(item["a\n"], AttributeValue::from("😀"));
}

#[test]
fn a_value_has_exactly_one_type() {
    let empty = "ValidationException: Supplied AttributeValue is empty, must contain exactly one \
                 of the supported datatypes";
    for value in ["{}", "null", r#"{"S":null}"#, r#"{"X":"y"}"#, r#"{"L":[{}]}"#, r#"{"L":[null]}"#]
    {
        assert_eq!(refusal(value), empty, "{value}");
    }
    let several = "ValidationException: Supplied AttributeValue has more than one datatypes set, \
                   must contain exactly one of the supported datatypes";
    assert_eq!(refusal(r#"{"S":"x","N":"1"}"#), several);
    assert_eq!(refusal(r#"{"N":"x","S":"1"}"#), several);
    assert!(refusal(r#"{"NULL":false}"#).ends_with("types must have the value of true"));
    assert!(refusal(r#"{"N":"x"}"#).contains("cannot be converted to a numeric value"));
    assert!(refusal(r#"{"NS":["1",""]}"#).contains("cannot be converted to a numeric value"));
}

#[test]
fn wrong_json_types_are_named_as_the_service_does() {
    for (value, message) in [
        (r#"{"S":5}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"S":1.5}"#, "DECIMAL_VALUE cannot be converted to String"),
        (r#"{"S":true}"#, "Unexpected token received from parser"),
        (r#"{"S":[]}"#, "Unrecognized collection type class java.lang.String"),
        (r#"{"S":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"N":5}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"BOOL":"on"}"#, "Unexpected token received from parser"),
        (r#"{"NULL":""}"#, "Unexpected token received from parser"),
        (r#"{"BOOL":1}"#, "NUMBER_VALUE cannot be converted to Boolean"),
        (r#"{"NULL":0.5}"#, "DECIMAL_VALUE cannot be converted to Boolean"),
        (r#"{"BOOL":[]}"#, "Unrecognized collection type class java.lang.Boolean"),
        (r#"{"M":"x"}"#, "Unexpected field type"),
        (r#"{"L":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"SS":"x"}"#, "Unexpected field type"),
        (r#"{"SS":[5]}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#""x""#, "Unexpected value type in payload"),
        (
            "[]",
            "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue",
        ),
        (r#"{"B":"abc"}"#, "Base64 encoded length is expected a multiple of 4 bytes but found: 3"),
        (r#"{"B":"AB=="}"#, "Invalid last non-pad Base64 character dectected"),
        (r#"{"B":"a$=="}"#, "Invalid Base64 character"),
        (
            r#"{"BS":["AQ==","x"]}"#,
            "Base64 encoded length is expected a multiple of 4 bytes but found: 1",
        ),
    ] {
        assert_eq!(refusal(value), format!("SerializationException: {message}"), "{value}");
    }
}

#[test]
fn no_member_of_a_set_is_null() {
    for (value, set) in [
        (r#"{"SS":["a",null]}"#, "string"),
        (r#"{"NS":[null]}"#, "number"),
        (r#"{"BS":[null,"AQ=="]}"#, "binary"),
    ] {
        assert!(
            refusal(value)
                .ends_with(&format!("An {set} set may not have a null string as a member"))
        );
    }
}

#[test]
fn words_are_truths() {
    for (word, value) in
        [("true", "true"), ("YES", "true"), ("1", "true"), ("F", "false"), ("nO", "false")]
    {
        let wanted = format!(r#"{{"x":{{"BOOL":{value}}}}}"#);
        assert_eq!(read(&format!(r#"{{"x":{{"BOOL":"{word}"}}}}"#)), read(&wanted), "{word}");
    }
    assert_eq!(read(r#"{"x":{"NULL":"t"}}"#), read(r#"{"x":{"NULL":true}}"#));
    assert!(refusal(r#"{"NULL":"no"}"#).ends_with("types must have the value of true"));
}

#[test]
fn nesting_ends_before_the_stack_does() {
    let nested = |levels: usize| {
        format!("{}{{\"S\":\"x\"}}{}", "{\"L\":[".repeat(levels), "]}".repeat(levels))
    };
    assert!(read(&format!("{{\"a\":{}}}", nested(31))).is_ok());
    for levels in [33, 40, 60] {
        assert!(refusal(&nested(levels)).contains("Nesting Levels have exceeded"), "{levels}");
    }
    // Skipping what is too deep takes no stack either.
    assert!(refusal(&nested(50_000)).contains("Nesting Levels have exceeded"));
    assert!(read(&"[".repeat(100_000)).unwrap_err().starts_with("SerializationException"));
}
