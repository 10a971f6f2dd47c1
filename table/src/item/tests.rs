//! Tests of encoded items: the golden bytes, round trips, and whatever else the bytes may be.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::format::{FLAG_WIDE, VERSION};
use super::*;
use crate::Number;
use crate::number::tests::any_number;

fn any_value() -> impl Strategy<Value = AttributeValue> {
    let leaf = prop_oneof![
        ".{0,12}".prop_map(AttributeValue::S),
        any_number().prop_map(AttributeValue::N),
        vec(any::<u8>(), 0..40).prop_map(AttributeValue::B),
        any::<bool>().prop_map(AttributeValue::Bool),
        Just(AttributeValue::Null),
        btree_set(".{0,3}", 1..5).prop_map(|s| AttributeValue::Ss(s.into_iter().collect())),
        btree_set(any_number(), 1..5).prop_map(|s| AttributeValue::Ns(s.into_iter().collect())),
        btree_set(vec(any::<u8>(), 0..4), 1..5)
            .prop_map(|s| AttributeValue::Bs(s.into_iter().collect())),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(AttributeValue::L),
            btree_map(".{1,4}", inner, 0..6).prop_map(AttributeValue::M),
        ]
    })
}

pub(crate) fn any_item() -> impl Strategy<Value = Item> {
    btree_map(".{1,8}", any_value(), 0..8)
}

#[test]
fn golden_bytes() {
    let mut item = Item::from([
        ("a".to_owned(), AttributeValue::from(1)),
        ("b".to_owned(), AttributeValue::from(true)),
    ]);
    let encoded = EncodedItem::encode(&mut item).unwrap();
    assert_eq!(
        encoded.as_bytes().as_ref(),
        [
            1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 6, 0, //
            1, b'a', 2, 0xC0, 0x82, 0x14, //
            1, b'b', 5,
        ]
    );
    assert_eq!(encoded.logical_size(), 5);
    assert_eq!(encoded.commit_sequence(), 0);
}

#[test]
fn golden_bytes_of_every_type() {
    let text = |s: &str| s.to_owned();
    let value = AttributeValue::L(vec![
        AttributeValue::from("hi"),
        AttributeValue::from(-42),
        AttributeValue::B(vec![0, 255]),
        AttributeValue::Bool(false),
        AttributeValue::Null,
        AttributeValue::M(BTreeMap::from([(text("k"), AttributeValue::Null)])),
        AttributeValue::Ss(vec![text(""), text("a")]),
        AttributeValue::Ns(vec![Number::from(0), Number::from(1)]),
        AttributeValue::Bs(vec![vec![7]]),
    ]);
    let encoded = EncodedItem::encode(&mut Item::from([(text("x"), value)])).unwrap();
    assert_eq!(
        &encoded.as_bytes()[18..],
        [
            1, b'x', 8, 9, //
            1, 2, b'h', b'i', //
            2, 0x40, 0x7C, 0xAB, //
            3, 2, 0, 255, //
            4, 6, //
            7, 1, 1, b'k', 6, //
            9, 2, 0, 1, b'a', //
            10, 2, 0x80, 0xC0, 0x82, 0x14, //
            11, 1, 1, 7,
        ]
    );
}

#[test]
fn large_items_take_wide_offsets() {
    let mut item = Item::from([
        ("a".to_owned(), AttributeValue::B(vec![1; 70_000])),
        ("b".to_owned(), AttributeValue::from("last")),
    ]);
    let encoded = EncodedItem::encode(&mut item).unwrap();
    assert_eq!(encoded.as_bytes()[1], FLAG_WIDE);
    let stored = EncodedItem::from_bytes(encoded.as_bytes().clone()).unwrap();
    assert_eq!(stored.decode().unwrap(), item);
    assert_eq!(stored.get("b").unwrap().unwrap(), AttributeValue::from("last"));
}

#[test]
fn deep_bytes_are_refused_without_deep_recursion() {
    let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, b'a'];
    for _ in 0..1_000_000 {
        bytes.extend([8, 1]);
    }
    let item = EncodedItem::from_bytes(bytes.into()).unwrap();
    assert!(item.decode().is_err());
}

proptest! {
    #[test]
    fn items_round_trip(mut item in any_item()) {
        let encoded = EncodedItem::encode(&mut item).unwrap();
        prop_assert_eq!(encoded.logical_size() as usize, prepare_item(&mut item).unwrap());
        let stored = EncodedItem::from_bytes(encoded.as_bytes().clone()).unwrap();
        prop_assert_eq!(&stored.decode().unwrap(), &item);
        prop_assert_eq!(stored.attribute_count(), item.len());
        for (name, value) in &item {
            prop_assert_eq!(&stored.get(name).unwrap().unwrap(), value);
        }
        prop_assert!(stored.get("no such attribute").is_none());
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200), header in any::<bool>()) {
        if header && bytes.len() > 2 {
            bytes[0] = VERSION;
            bytes[1] &= 1;
        }
        if let Ok(item) = EncodedItem::from_bytes(bytes.into()) {
            let _ = item.get("a");
            if let Ok(decoded) = item.decode() {
                prop_assert_eq!(EncodedItem::encode_sized(&decoded, 0).decode().unwrap(), decoded);
            }
        }
    }

    #[test]
    fn flipped_bits_and_cuts_never_panic(mut item in any_item(), at in any::<usize>(), bit in 0u8..8) {
        let mut bytes = EncodedItem::encode(&mut item).unwrap().as_bytes().to_vec();
        let at = at % bytes.len();
        let cut = EncodedItem::from_bytes(Bytes::copy_from_slice(&bytes[..at]));
        // What is cut off is always noticed: the last attribute ends at the end of the bytes.
        prop_assert!(cut.and_then(|cut| cut.decode()).is_err());
        bytes[at] ^= 1 << bit;
        if let Ok(flipped) = EncodedItem::from_bytes(bytes.into()) {
            let _ = flipped.decode();
            for name in item.keys() {
                let _ = flipped.get(name);
            }
        }
    }
}
