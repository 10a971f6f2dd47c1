//! Stored items: arbitrary bytes never panic, and what decodes is consistent with itself.

use std::collections::BTreeMap;

use esker_table::item::EncodedItem;
use esker_table::{AttributeValue, Item};

/// Decodes `data` as an item, whole and attribute by attribute.
pub fn check(data: &[u8]) {
    let Ok(encoded) = EncodedItem::from_bytes(data.to_vec().into()) else { return };
    let _ = (encoded.get(""), encoded.get("name"), encoded.logical_size());
    for attribute in encoded.view().attributes() {
        let _ = attribute.map(|(_, value)| value.decode());
    }
    let Ok(mut item) = encoded.decode() else { return };
    for (name, value) in &item {
        let found = encoded.get(name).expect("a decoded attribute is found").expect("it decoded");
        assert_eq!(&found, value);
    }
    let walked = encoded.view().attributes().map(|attribute| {
        let (name, value) = attribute.expect("it decoded");
        (name.to_string(), value.decode().expect("it decoded"))
    });
    assert_eq!(walked.collect::<Item>(), item);
    // Validation may refuse what only damage can have written; what it accepts comes back the same.
    if let Ok(again) = EncodedItem::encode(&mut item) {
        assert_eq!(again.decode().expect("just encoded"), item);
    }
}

/// Items with every type.
pub fn seeds() -> Vec<Vec<u8>> {
    let number = |text: &str| text.parse().expect("a number");
    let map = BTreeMap::from([
        ("inner".to_string(), AttributeValue::Bool(true)),
        ("list".to_string(), AttributeValue::L(vec![AttributeValue::Null, "x".into()])),
    ]);
    let whole = Item::from([
        ("name".to_string(), AttributeValue::from("Ada")),
        ("number".to_string(), AttributeValue::N(number("-1.5e20"))),
        ("bytes".to_string(), AttributeValue::B(vec![0, 1, 255])),
        ("map".to_string(), AttributeValue::M(map)),
        ("strings".to_string(), AttributeValue::Ss(vec!["b".into(), "a".into()])),
        ("numbers".to_string(), AttributeValue::Ns(vec![number("2"), number("10")])),
        ("binaries".to_string(), AttributeValue::Bs(vec![vec![], vec![7]])),
    ]);
    let one = Item::from([("name".to_string(), AttributeValue::from("Ada"))]);
    [Item::new(), one, whole]
        .into_iter()
        .map(|mut item| EncodedItem::encode(&mut item).expect("a valid item").as_bytes().to_vec())
        .collect()
}
