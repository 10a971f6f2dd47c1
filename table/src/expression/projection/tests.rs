//! What projections take out of items, and which they refuse.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::item::EncodedItem;
use crate::tests::item;

fn map<const N: usize>(members: [(&str, AttributeValue); N]) -> AttributeValue {
    AttributeValue::M(item(members))
}

fn list(elements: &[i64]) -> AttributeValue {
    AttributeValue::L(elements.iter().map(|number| (*number).into()).collect())
}

fn projected(source: &str, item: &Item) -> std::result::Result<Item, String> {
    let names = BTreeMap::from([("#n".to_owned(), "name".to_owned())]);
    let take = || {
        let expression = ProjectionExpression::parse(source)?;
        let mut placeholders = Placeholders::new(Some(&names), None)?;
        let parts = expression.bind(&mut placeholders)?;
        parts.of_view(EncodedItem::encode(&mut item.clone())?.view())
    };
    take().map_err(|error| error.message().to_owned())
}

#[test]
fn parts_keep_their_place_and_lists_close_up() {
    let stored = item([
        ("pk", "x".into()),
        ("name", "Ada".into()),
        ("l", list(&[0, 1, 2, 3])),
        ("m", map([("a", map([("b", 1.into()), ("c", 2.into())])), ("d", list(&[5, 6]))])),
        (
            "r",
            AttributeValue::L(vec![
                map([("x", 1.into()), ("y", 2.into())]),
                map([("x", 3.into())]),
            ]),
        ),
    ]);
    let take = |source: &str| projected(source, &stored).unwrap();
    assert_eq!(take("pk, #n"), item([("pk", "x".into()), ("name", "Ada".into())]));
    assert_eq!(take("l[2], l[0], l[9]"), item([("l", list(&[0, 2]))]));
    assert_eq!(
        take("m.a.c, m.d[1]"),
        item([("m", map([("a", map([("c", 2.into())])), ("d", list(&[6]))]))])
    );
    let pairs =
        AttributeValue::L(vec![map([("x", 1.into()), ("y", 2.into())]), map([("x", 3.into())])]);
    assert_eq!(take("r[1].x, r[0].y, r[0].x"), item([("r", pairs)]));
    // Nothing is made up for what is not there, or not what the path takes it for.
    assert_eq!(take("m.a.z, m.z.a, l.a, pk[0], gone"), Item::new());
    assert_eq!(take("pk.a, m[0], l[4].x"), Item::new());
}

proptest! {
    /// The parts in the order of their indexes and names, in whatever order they are asked for.
    #[test]
    fn lists_and_maps_are_walked_through_once(
        elements in prop::collection::vec(0..100i64, 0..20),
        members in prop::collection::btree_map("[a-e]{1,2}", 0..100i64, 0..12),
        wanted in prop::collection::btree_map(0..24usize, any::<u8>(), 1..12),
        names in prop::collection::btree_map("[a-e]{1,2}", any::<u8>(), 1..12),
    ) {
        let inner: BTreeMap<String, AttributeValue> =
            members.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
        let stored = item([("l", list(&elements)), ("m", AttributeValue::M(inner))]);
        let mut paths: Vec<(u8, String)> =
            wanted.iter().map(|(index, rank)| (*rank, format!("l[{index}]"))).collect();
        let is_free = |name: &&String| !crate::expression::reserved::is_reserved(name);
        let free: Vec<&String> = names.keys().filter(is_free).collect();
        paths.extend(free.iter().map(|name| (names[*name], format!("m.{name}"))));
        paths.sort();
        let source: Vec<String> = paths.into_iter().map(|(_, path)| path).collect();
        let mut expected = Item::new();
        let left: Vec<i64> =
            wanted.keys().filter_map(|index| elements.get(*index).copied()).collect();
        if !left.is_empty() {
            expected.insert("l".to_owned(), list(&left));
        }
        let left: Item = (free.iter())
            .filter_map(|name| Some(((*name).clone(), (*members.get(*name)?).into())))
            .collect();
        if !left.is_empty() {
            expected.insert("m".to_owned(), AttributeValue::M(left));
        }
        prop_assert_eq!(projected(&source.join(", "), &stored), Ok(expected));
    }
}

#[test]
fn what_is_wrong_is_named() {
    let stored = item([("pk", "x".into())]);
    let invalid = |source: &str| projected(source, &stored).unwrap_err();
    for (source, why) in [
        ("", "The expression can not be empty;"),
        (" ", "Syntax error; token: \"<EOF>\", near: \" \""),
        ("a,", "Syntax error; token: \"<EOF>\", near: \",\""),
        ("a b", "Syntax error; token: \"b\", near: \"a b\""),
        ("a[b]", "Syntax error; token: \"b\", near: \"[b]\""),
        ("a[:b]", "Syntax error; token: \":b\", near: \"[:b]\""),
        ("a..b", "Syntax error; token: \".\", near: \"..b\""),
        ("a.year", "Attribute name is a reserved keyword; reserved keyword: year"),
        (
            "a.#x",
            "An expression attribute name used in the document path is not defined; attribute name: #x",
        ),
        (
            "name2, a, #n.b, #n",
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path \
             one: [name, b], path two: [name]",
        ),
        (
            "a.b, a[1]",
            "Two document paths conflict with each other; must remove or rewrite one of these paths; path \
             one: [a, b], path two: [a, [1]]",
        ),
        ("a[4294967296]", "List index is not within the allowable range; index: [4294967296]"),
        ("a[4294967295]", "List index is not within the allowable range; index: [4294967295]"),
        ("_a", "Syntax error; token: \"_\", near: \"_a\""),
    ] {
        assert_eq!(invalid(source), format!("Invalid ProjectionExpression: {why}"), "{source}");
    }
    assert!(projected(&format!("a{}", ".a".repeat(31)), &stored).is_ok());
    assert!(
        invalid(&format!("a{}", ".a".repeat(32)))
            .ends_with("The document path has too many nesting levels; nesting levels: 33")
    );
    assert!(projected("a[4294967294]", &stored).is_ok());
    assert!(projected(&"a".repeat(4096), &stored).is_ok());
    assert!(invalid(&"a".repeat(4097)).ends_with("exceeded the maximum allowed size;"));
}
