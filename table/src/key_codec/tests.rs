//! Tests of keys: the golden bytes, round trips, the order of keys and what ranges select.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::number::tests::any_number;

fn s(text: &str) -> KeyPart<'_> {
    KeyPart::S(Cow::Borrowed(text))
}

fn n(text: &str) -> KeyPart<'static> {
    KeyPart::N(text.parse().unwrap())
}

fn b(bytes: &[u8]) -> KeyPart<'_> {
    KeyPart::B(Cow::Borrowed(bytes))
}

/// Short parts over few characters, so that equal values, beginnings and zero bytes are common.
fn any_part() -> impl Strategy<Value = KeyPart<'static>> {
    prop_oneof![any_text(), any_number().prop_map(KeyPart::N), any_bytes()]
}

fn any_text() -> impl Strategy<Value = KeyPart<'static>> {
    "[\u{0}\u{1}ab\u{e9}\u{10ffff}]{0,5}".prop_map(|text| KeyPart::S(Cow::Owned(text)))
}

fn any_bytes() -> impl Strategy<Value = KeyPart<'static>> {
    vec(prop_oneof![Just(0u8), Just(1), Just(0xFF), any::<u8>()], 0..5)
        .prop_map(|bytes| KeyPart::B(Cow::Owned(bytes)))
}

/// Two or three parts of one type.
fn any_alike() -> impl Strategy<Value = [KeyPart<'static>; 3]> {
    prop_oneof![
        [any_text(), any_text(), any_text()],
        [any_bytes(), any_bytes(), any_bytes()],
        [any_number(), any_number(), any_number()].prop_map(|parts| parts.map(KeyPart::N)),
    ]
}

fn compare(a: &KeyPart<'_>, b: &KeyPart<'_>) -> std::cmp::Ordering {
    match (a, b) {
        (KeyPart::S(a), KeyPart::S(b)) => a.as_bytes().cmp(b.as_bytes()),
        (KeyPart::N(a), KeyPart::N(b)) => a.cmp(b),
        (KeyPart::B(a), KeyPart::B(b)) => a.cmp(b),
        _ => panic!("parts of different types"),
    }
}

#[test]
fn golden_bytes() {
    let hash = 0x5139_22BB_D67F_AD39u64.to_be_bytes();
    let key = base_key(&s("ab"), Some(&n("1")));
    assert_eq!(key[..8], xxh3_64(&[1, b'a', b'b']).to_be_bytes());
    assert_eq!(key[..8], hash);
    assert_eq!(key[8..], [0, 3, 1, b'a', b'b', 0xC0, 0x82, 0x14]);

    let index = global_index_key(&[s("h"), n("0")], &[b(&[0, 7]), n("-42")], &key);
    let hashed = [0, 2, 1, b'h', 0, 2, 2, 0x80];
    assert_eq!(index[..8], xxh3_64(&hashed).to_be_bytes());
    assert_eq!(index[8..16], hashed);
    assert_eq!(index[16..24], [0x00, 0xFF, 7, 0x00, 0x01, 0x40, 0x7C, 0xAB]);
    assert_eq!(index[24..], key);

    let local = local_index_key(&s("ab"), &s("x"), &n("1"));
    assert_eq!(local[..8], hash);
    assert_eq!(local[8..], [0, 3, 1, b'a', b'b', b'x', 0x00, 0x01, 0xC0, 0x82, 0x14]);
}

#[test]
fn equal_numbers_are_one_partition() {
    assert_eq!(base_key(&n("1"), None), base_key(&n("1.0"), None));
    assert_ne!(base_key(&n("1"), None), base_key(&s("1"), None));
    assert_ne!(base_key(&b(b"1"), None), base_key(&s("1"), None));
}

#[test]
fn segments_cover_every_hash_once() {
    for total in [1u32, 2, 3, 7, 1000, 1_000_000] {
        let mut next = vec![0u8; 8];
        for segment in 0..total.min(1000) {
            let range = segment_range(segment, total);
            assert_eq!(range.start, next, "segment {segment} of {total}");
            next = range.end.clone().unwrap_or_default();
        }
        assert_eq!(segment_range(total - 1, total).end, None);
        assert!(segment_range(total, total).is_empty());
    }
}

#[test]
fn damaged_keys_are_errors() {
    let key = base_key(&s("ab"), Some(&n("1")));
    for cut in 0..key.len() {
        assert!(decode_base_key(&key[..cut], Some(ScalarAttributeType::N)).is_err());
    }
    assert!(decode_base_key(&key, None).is_err());
}

proptest! {
    #[test]
    fn base_keys_round_trip(partition in any_part(), sort in proptest::option::of(any_part())) {
        let key = base_key(&partition, sort.as_ref());
        let decoded = decode_base_key(&key, sort.as_ref().map(KeyPart::scalar_type)).unwrap();
        prop_assert_eq!(decoded, (partition.clone(), sort));
        prop_assert!(key.starts_with(&partition_prefix(&partition)));
    }

    #[test]
    fn global_index_keys_round_trip(
        hash in vec(any_part(), 1..5),
        range in vec(any_part(), 0..5),
        base_key in vec(any::<u8>(), 0..20),
    ) {
        let key = global_index_key(&hash, &range, &base_key);
        let types: Vec<_> = range.iter().map(KeyPart::scalar_type).collect();
        let decoded = decode_global_index_key(&key, hash.len(), &types).unwrap();
        prop_assert_eq!(decoded, GlobalIndexKey { hash, range, base_key: &base_key });
    }

    #[test]
    fn local_index_keys_round_trip(
        partition in any_part(), index_sort in any_part(), base_sort in any_part(),
    ) {
        let key = local_index_key(&partition, &index_sort, &base_sort);
        let decoded =
            decode_local_index_key(&key, index_sort.scalar_type(), base_sort.scalar_type());
        prop_assert_eq!(decoded.unwrap(), LocalIndexKey { partition, index_sort, base_sort });
    }

    #[test]
    fn keys_order_as_their_sort_keys([a, b, c] in any_alike(), partition in any_part()) {
        let order = compare(&a, &b);
        let base = |sort: &KeyPart<'_>| base_key(&partition, Some(sort));
        prop_assert_eq!(base(&a).cmp(&base(&b)), order);
        // Ties on the index's sort key go by what follows; different ones never look at it.
        let local = |x: &KeyPart<'_>, y: &KeyPart<'_>| local_index_key(&partition, x, y);
        prop_assert_eq!(local(&a, &c).cmp(&local(&b, &a)), order.then(compare(&c, &a)));
        let global = |x: &KeyPart<'_>, y: &KeyPart<'_>| {
            global_index_key(std::slice::from_ref(&partition), &[x.clone(), y.clone()], b"base")
        };
        prop_assert_eq!(global(&a, &c).cmp(&global(&b, &a)), order.then(compare(&c, &a)));
    }

    #[test]
    fn ranges_select_what_the_condition_says(
        [key, low, high] in any_alike(), partition in any_part(), tail in any::<Vec<u8>>(),
    ) {
        let (prefix, other) = (partition_prefix(&partition), partition_prefix(&s("another one")));
        let raw = base_key(&partition, Some(&key));
        let mut delimited = prefix.clone();
        key.put_delimited(&mut delimited);
        delimited.extend(tail);
        let (to_low, to_high) = (compare(&key, &low), compare(&key, &high));
        let begins = match (&key, &low) {
            (KeyPart::S(key), KeyPart::S(low)) => key.starts_with(&**low),
            (KeyPart::B(key), KeyPart::B(low)) => key.starts_with(low),
            _ => false,
        };
        let mut cases = vec![
            (SortCondition::Equal(low.clone()), to_low.is_eq()),
            (SortCondition::Less(low.clone()), to_low.is_lt()),
            (SortCondition::LessOrEqual(low.clone()), to_low.is_le()),
            (SortCondition::Greater(low.clone()), to_low.is_gt()),
            (SortCondition::GreaterOrEqual(low.clone()), to_low.is_ge()),
            (SortCondition::Between(low.clone(), high), to_low.is_ge() && to_high.is_le()),
        ];
        if !matches!(low, KeyPart::N(_)) {
            cases.push((SortCondition::BeginsWith(low), begins));
        }
        for (condition, expected) in cases {
            let range = condition.range(&prefix, SortForm::Raw);
            prop_assert_eq!(range.contains(&raw), expected, "{:?} raw", condition);
            let range = condition.range(&prefix, SortForm::Delimited);
            prop_assert_eq!(range.contains(&delimited), expected, "{:?} delimited", condition);
            let mut foreign = other.clone();
            key.put_raw(&mut foreign);
            prop_assert!(partition == s("another one") || !range.contains(&foreign));
        }
    }

    #[test]
    fn every_key_is_in_exactly_one_segment(partition in any_part(), total in 1u32..40) {
        let key = base_key(&partition, None);
        let count = (0..total).filter(|i| segment_range(*i, total).contains(&key)).count();
        prop_assert_eq!(count, 1);
    }

    #[test]
    fn arbitrary_keys_never_panic(key in vec(any::<u8>(), 0..64)) {
        for kind in [ScalarAttributeType::S, ScalarAttributeType::N, ScalarAttributeType::B] {
            let _ = decode_base_key(&key, Some(kind));
            let _ = decode_global_index_key(&key, 2, &[kind, kind]);
            let _ = decode_local_index_key(&key, kind, kind);
        }
    }
}
