//! Lines of an input file, bounded in length, and what each holds: plain JSON or DynamoDB JSON. Called by
//! `import.rs`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};

use esker_table::{AttributeValue, Item};
use serde::de::MapAccess;
use serde_json::value::RawValue;

use super::plain;
use crate::json::{self, Decoded, Members};

/// Bytes of the longest line: an item of 400 KB stays far below, however it is escaped.
pub(super) const LINE_BYTES_MAX: usize = 8 << 20;

/// How the lines of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Lines `{"Item": {...}}` with typed values are DynamoDB JSON, others plain JSON, in doubt rejected.
    Auto,
    /// Plain JSON objects.
    Plain,
    /// DynamoDB JSON, with or without `{"Item": ...}` around it.
    Dynamodb,
}

/// One line.
pub(super) enum Line {
    /// Its text, without the line's end.
    Text(String),
    /// It cannot be an item.
    Unreadable(String),
}

/// Reads the next line and adds its bytes to `bytes`; `None` at the end.
pub(super) fn next_line(input: &mut impl BufRead, bytes: &mut u64) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let read = input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    *bytes += read as u64;
    if read == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if read > LINE_BYTES_MAX {
        *bytes += input.skip_until(b'\n')? as u64;
        let reason = format!("the line is longer than {} MiB", LINE_BYTES_MAX >> 20);
        return Ok(Some(Line::Unreadable(reason)));
    }
    Ok(Some(match String::from_utf8(line) {
        Ok(text) => Line::Text(text),
        Err(_) => Line::Unreadable("the line is not UTF-8".to_owned()),
    }))
}

/// The item that a line holds, or why it holds none.
pub(super) fn parse(line: &str, format: Format) -> Result<Item, String> {
    match format {
        Format::Plain => plain::item(line),
        Format::Dynamodb => typed(line).unwrap_or_else(|| {
            let bare = format!("{{\"Item\":{line}}}");
            typed(&bare).unwrap_or_else(|| {
                // A line that is no object at all is best said so.
                plain::item(line).and_then(|_| Err("not DynamoDB JSON".to_owned()))
            })
        }),
        Format::Auto => {
            // Only a line of this shape can be DynamoDB JSON; most lines need not be tried.
            let looks_typed = line
                .trim_start()
                .strip_prefix('{')
                .is_some_and(|rest| rest.trim_start().starts_with("\"Item\""));
            let typed = if looks_typed { typed(line) } else { None };
            typed.unwrap_or_else(|| plain::item(line).and_then(certainly_plain))
        }
    }
}

/// Refuses what is valid as plain JSON but was hardly meant so: the types would become the data.
fn certainly_plain(item: Item) -> Result<Item, String> {
    if is_typed(&item) {
        return Err(
            "the values look like DynamoDB JSON, but there is no \"Item\" around them: say \
                    --format dynamodb or --format plain"
                .to_owned(),
        );
    }
    match item.get("Item") {
        Some(AttributeValue::M(inner)) if is_typed(inner) => Err(if item.len() > 1 {
            "\"Item\" looks like DynamoDB JSON, but there is more beside it: say --format plain to \
             take all of it as plain JSON"
        } else {
            "\"Item\" looks like DynamoDB JSON, but a value is not of its type: say --format plain to \
             take it as plain JSON"
        }
        .to_owned()),
        _ => Ok(item),
    }
}

/// Whether every value is an object of one member that is named like a type.
fn is_typed(item: &Item) -> bool {
    const TYPES: [&str; 10] = ["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"];
    let of_one_type = |value: &AttributeValue| match value {
        AttributeValue::M(inner) => {
            inner.len() == 1 && inner.keys().all(|name| TYPES.contains(&name.as_str()))
        }
        _ => false,
    };
    !item.is_empty() && item.values().all(of_one_type)
}

/// The item of a line `{"Item": {...}}`; `None` where the line has another shape.
fn typed(line: &str) -> Option<Result<Item, String>> {
    let envelope: Envelope = json::read(line.as_bytes()).ok()?;
    if envelope.others {
        return None;
    }
    let item = envelope.item?.map_err(|error| blamed(line, error.message()));
    Some(item.and_then(|item| match plain::duplicate(line) {
        Some(reason) => Err(reason),
        None => Ok(item),
    }))
}

/// The reason with the attribute's name, which the service's wording leaves out.
fn blamed(line: &str, reason: &str) -> String {
    let name = || {
        let envelope: BTreeMap<String, BTreeMap<String, &RawValue>> =
            serde_json::from_str(line).ok()?;
        let mut attributes = envelope.into_iter().next()?.1.into_iter();
        attributes.find_map(|(name, raw)| {
            let alone = format!("{{\"Item\":{{\"x\":{raw}}}}}");
            let envelope: Envelope = json::read(alone.as_bytes()).ok()?;
            envelope.item?.is_err().then_some(name)
        })
    };
    name().map_or_else(|| reason.to_owned(), |name| format!("attribute {name:?}: {reason}"))
}

#[derive(Default)]
struct Envelope {
    item: Option<Decoded<Item>>,
    others: bool,
}

impl Members for Envelope {
    const NAME: &'static str = "Item";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Item" => self.item = json::item(map)?,
            _ => {
                self.others = true;
                json::skip(map)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let of = |line, format| parse(line, format).map(|item| item.into_iter().next().unwrap());
        let typed = r#"{ "Item": {"a": {"N": "1.50"}} }"#;
        let expected = ("a".to_owned(), AttributeValue::N("1.5".parse().unwrap()));
        assert_eq!(of(typed, Format::Auto).unwrap(), expected);
        assert_eq!(of(typed, Format::Dynamodb).unwrap(), expected);
        assert_eq!(of(typed, Format::Plain).unwrap().1.type_name(), "M");
        assert_eq!(of(r#"{"a": {"N": "1.5"}}"#, Format::Dynamodb).unwrap(), expected);
        assert_eq!(of(r#"{"a": {"n": "1.5"}}"#, Format::Auto).unwrap().1.type_name(), "M");
        assert_eq!(of(r#"{"a": {"N": "1.5"}}"#, Format::Plain).unwrap().1.type_name(), "M");
        assert_eq!(of(r#"{"Item": "x"}"#, Format::Auto).unwrap().1.type_name(), "S");
        assert_eq!(of(r#"{"Item": {"a": {"x": "x"}}, "b": 1}"#, Format::Auto).unwrap().0, "Item");
        assert_eq!(parse(r#"{"a": 5}"#, Format::Dynamodb).unwrap_err(), "not DynamoDB JSON");
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        for (line, reason) in [
            (r#"{"a": {"S": "x"}, "b": {"L": []}}"#, "no \"Item\" around them"),
            (r#"{"Item": {"a": {"S": "x"}}, "b": 1}"#, "more beside it"),
            (r#"{"Item": {"a": {"S": 5}}}"#, "not of its type"),
            (
                r#"{"Item": {"a": {"S": "x"}, "b": {"S": "x", "N": "1"}}}"#,
                "attribute \"b\": Supplied",
            ),
            (r#"{"Item": {"a": {"S": "x"}, "b": {}}}"#, "attribute \"b\": Supplied"),
            (r#"{"Item": {"a": {"S": "x"}, "a": {"S": "y"}}}"#, "\"a\" is there twice"),
            (
                r#"{"Item": {"a": {"M": {"b": {"S": "x"}, "b": {"S": "y"}}}}}"#,
                "\"b\" is there twice",
            ),
        ] {
            let refusal = parse(line, Format::Auto).unwrap_err();
            assert!(refusal.contains(reason), "{line}: {refusal}");
        }
        let array = parse("[]", Format::Dynamodb).unwrap_err();
        assert_eq!(array, "an array, not an object");
    }

    #[test]
    fn lines_are_bounded_and_counted() {
        let mut data = b"one\r\n\ntwo\xff\n".to_vec();
        data.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 5));
        data.extend(b"\nlast");
        let (mut input, mut bytes) = (io::Cursor::new(&data), 0);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input, &mut bytes).unwrap() {
            lines.push(match line {
                Line::Text(text) => text,
                Line::Unreadable(reason) => reason,
            });
        }
        assert_eq!(
            lines,
            ["one", "", "the line is not UTF-8", "the line is longer than 8 MiB", "last"]
        );
        assert_eq!(bytes, data.len() as u64);
    }
}
