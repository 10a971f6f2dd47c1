//! Numbers: what is accepted prints as text that is the same number, and keys order as numbers do.

use esker_table::Number;
use esker_table::key_codec::{KeyPart, base_key, decode_base_key};
use esker_table::schema::ScalarAttributeType;

/// Reads `data` as two texts, separated by a comma.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (left, right) = text.split_once(',').unwrap_or((text, "0"));
    let (left, right) = (left.parse::<Number>(), right.parse::<Number>());
    for number in [&left, &right].into_iter().flatten() {
        let printed = number.to_string();
        assert_eq!(printed.parse::<Number>().as_ref().ok(), Some(number), "{printed}");
        assert!((1..=22).contains(&number.size_bytes()), "{printed}: {}", number.size_bytes());
    }
    let (Ok(left), Ok(right)) = (left, right) else { return };
    let encode = |number| base_key(&KeyPart::S("p".into()), Some(&KeyPart::N(number)));
    let (left_key, right_key) = (encode(left), encode(right));
    assert_eq!(left_key.cmp(&right_key), left.cmp(&right), "{left} and {right}");
    let (_, sort) = decode_base_key(&left_key, Some(ScalarAttributeType::N)).expect("just encoded");
    assert_eq!(sort, Some(KeyPart::N(left)));
}

/// Pairs of numbers.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "0,-0",
        "1,1.0",
        "-42,100.5",
        "3.14159,1E125",
        "99999999999999999999999999999999999999,1e-130",
        "-9.9999999999999999999999999999999999999E+125,+0.001",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
