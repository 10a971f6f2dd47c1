//! Key conditions of queries: no expression panics, whatever its placeholders stand for.

use esker_table::fuzzing::key_condition;

/// Parses `data` as an expression and binds it to a table's key.
pub fn check(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    key_condition(source);
}

/// Expressions of every kind.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "pk = :s",
        "#pk = :s AND sk BETWEEN :n AND :m",
        "(pk = :s) and (begins_with(sk, :s))",
        "((pk = :s))",
        ":n <= sk AND pk = :s",
        "pk = :s AND sk <> :n OR NOT pk IN (:s)",
        "pk.a[0] = :missing",
        "size(pk) = :b AND attribute_exists(#sk)",
        "name = :s \u{e9} + - 007",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
