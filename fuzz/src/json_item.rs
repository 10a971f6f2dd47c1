//! DynamoDB JSON as clients send it: arbitrary bytes never panic, and an item that is read is written as JSON that
//! reads as the same item.

use esker_server::fuzzing::{item_from_json, item_to_json};

/// Reads `data` as an item.
pub fn check(data: &[u8]) {
    let Some(item) = item_from_json(data) else { return };
    let written = item_to_json(&item);
    let again = item_from_json(&written);
    assert_eq!(again.as_ref(), Some(&item), "{}", String::from_utf8_lossy(&written));
}

/// Items with every type, and what only looks like one.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{}"#,
        r#"{"name":{"S":"Ad\u0061\n\ud83d\ude00"},"n":{"N":"-1.50e3"},"b":{"B":"AAH/"}}"#,
        r#"{"l":{"L":[{"BOOL":true},{"NULL":true},{"M":{"x":{"S":""}}}]},"m":{"M":{}}}"#,
        r#"{"ss":{"SS":["b","","a"]},"ns":{"NS":["1","2.0"]},"bs":{"BS":["","AA=="]}}"#,
        r#"{"a":{"S":null,"N":"5","X":[{}]},"a":{"S":"again"}}"#,
        r#"{"a":{},"b":{"S":5},"c":{"NULL":false},"d":{"N":"0x5"}}"#,
        r#"{"d":{"L":[{"L":[{"L":[{"L":[{"M":{"d":{"L":[{"L":[{"N":"0"}]}]}}}]}]}]}]}}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
