//! Conditions, projections and updates: no expression panics or runs out of stack, whatever its placeholders stand for and
//! whatever item it meets, and what an update makes is an item.

use esker_table::fuzzing::expression;

/// Takes `data` for an expression of every kind.
pub fn check(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    expression(source);
}

/// Expressions of every kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "a = :n AND NOT (#p.c[0] <> :s OR size(l) BETWEEN :n AND :m)",
        "attribute_exists(l[1].x) OR attribute_not_exists(gone) AND contains(ss, :s)",
        "attribute_type(a, :s) or begins_with(s, :s) and a IN (:n, :m, b)",
        "((a = :n)) AND Size(a) = year",
        "l[2], #p.c, a, p.d[0].e",
        "SET a = :n, b = (a + :m) - :n, l[99] = if_not_exists(gone, :s) REMOVE l[0], p.c ADD n :n DELETE ss :set",
        "set l = list_append(l, :l) SET a = a - :t",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    seeds.push("(".repeat(4096).into_bytes());
    seeds.push(format!("{}a=:n", "NOT ".repeat(1000)).into_bytes());
    seeds.push(format!("SET a = {}:n", "if_not_exists(a,".repeat(250)).into_bytes());
    seeds
}
