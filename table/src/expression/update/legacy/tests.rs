//! What `AttributeUpdates` make of items, which they refuse, and that they agree with expressions.

use proptest::prelude::*;

use super::*;
use crate::Item;
use crate::expression::Placeholders;
use crate::expression::legacy::tests::{of_each_type, values};
use crate::expression::update::UpdateExpression;
use crate::tests::item;

fn one(
    name: &str,
    action: Option<AttributeAction>,
    value: Option<AttributeValue>,
) -> AttributeUpdates {
    AttributeUpdates::from([(name.to_owned(), AttributeValueUpdate { action, value })])
}

fn updated(updates: &AttributeUpdates, stored: &Item) -> std::result::Result<Item, String> {
    let update = BoundUpdate::of_updates(Some(updates));
    let item = update.and_then(|update| update.unwrap().apply(stored.clone()));
    item.map_err(|error| error.message().to_owned())
}

#[test]
fn each_action_takes_these_values() {
    use AttributeAction::{Add, Delete, Put};
    const INVALID: &str = "One or more parameter values were invalid: ";
    let none = Item::new();
    for action in [None, Some(Put), Some(Add)] {
        assert_eq!(
            updated(&one("a", action, None), &none),
            Err(format!(
                "{INVALID}Only DELETE action is allowed when no attribute value is specified"
            ))
        );
    }
    assert_eq!(updated(&one("a", Some(Delete), None), &none), Ok(none.clone()));
    for value in of_each_type() {
        let name = value.type_name();
        let made = Ok(item([("a", value.clone())]));
        for action in [None, Some(Put)] {
            assert_eq!(updated(&one("a", action, Some(value.clone())), &none), made);
        }
        let added = updated(&one("a", Some(Add), Some(value.clone())), &none);
        if matches!(name, "N" | "SS" | "NS" | "BS" | "L") {
            assert_eq!(added, made);
        } else {
            let text = format!("{INVALID}ADD action is not supported for the type {name}");
            assert_eq!(added, Err(text));
        }
        let deleted = updated(&one("a", Some(Delete), Some(value)), &none);
        if matches!(name, "SS" | "NS" | "BS") {
            assert_eq!(deleted, Ok(none.clone()));
        } else {
            let text =
                format!("{INVALID}DELETE action with value is not supported for the type {name}");
            assert_eq!(deleted, Err(text));
        }
    }
}

#[test]
fn lists_are_appended_to_and_names_are_plain() {
    use AttributeAction::Add;
    let list = |numbers: &[i64]| AttributeValue::L(numbers.iter().map(|n| (*n).into()).collect());
    let stored = item([("l", list(&[1])), ("m", AttributeValue::M(item([("k", 1.into())])))]);
    let found = updated(&one("l", Some(Add), Some(list(&[2, 1]))), &stored).unwrap();
    assert_eq!(found["l"], list(&[1, 2, 1]));
    let found = updated(&one("m.k", Some(Add), Some(5.into())), &stored).unwrap();
    assert_eq!((&found["m.k"], &found["m"]), (&5.into(), &stored["m"]));
    let found = updated(&one("l[0]", None, Some(5.into())), &stored).unwrap();
    assert_eq!((&found["l[0]"], &found["l"]), (&5.into(), &stored["l"]));
    assert!(updated(&one("l", Some(Add), Some(5.into())), &stored).is_err());
    assert!(updated(&one("m", Some(Add), Some(list(&[2]))), &stored).is_err());
}

#[test]
fn what_only_deletes_makes_no_item() {
    use AttributeAction::{Add, Delete};
    let takes_away = |updates: &AttributeUpdates| {
        BoundUpdate::of_updates(Some(updates)).unwrap().unwrap().only_takes_away()
    };
    let mut updates = one("a", Some(Delete), None);
    updates.extend(one("b", Some(Delete), Some(AttributeValue::Ss(vec!["x".to_owned()]))));
    assert!(takes_away(&updates));
    updates.extend(one("c", Some(Add), Some(1.into())));
    assert!(!takes_away(&updates));
    assert!(!takes_away(&AttributeUpdates::new()));
    assert!(BoundUpdate::of_updates(None).unwrap().is_none());
}

proptest! {
    #[test]
    fn what_is_taken_does_what_the_expression_does(
        stored in prop::collection::btree_map("[abc]", values(), 0..4),
        given in prop::collection::btree_map(
            "[abcd]",
            (
                prop::sample::select(
                    &[AttributeAction::Put, AttributeAction::Add, AttributeAction::Delete][..],
                ),
                prop::option::weighted(0.8, values()),
            ),
            1..4,
        ),
    ) {
        let (mut updates, mut all_values) = (AttributeUpdates::new(), Item::new());
        let (mut sets, mut removes, mut adds, mut deletes) = (vec![], vec![], vec![], vec![]);
        for (name, (action, value)) in given {
            let key = format!(":{name}");
            match (action, &value) {
                (AttributeAction::Put, Some(_)) => sets.push(format!("{name} = {key}")),
                (AttributeAction::Add, Some(AttributeValue::L(_))) => {
                    all_values.insert(":none".to_owned(), AttributeValue::L(vec![]));
                    sets.push(format!("{name} = list_append(if_not_exists({name}, :none), {key})"));
                }
                (AttributeAction::Add, Some(_)) => adds.push(format!("{name} {key}")),
                (AttributeAction::Delete, Some(_)) => deletes.push(format!("{name} {key}")),
                (_, None) => removes.push(name.clone()),
            }
            if let Some(value) = &value {
                all_values.insert(key, value.clone());
            }
            updates.insert(name, AttributeValueUpdate { action: Some(action), value });
        }
        if let Ok(Some(update)) = BoundUpdate::of_updates(Some(&updates)) {
            let sections = [("SET", sets), ("REMOVE", removes), ("ADD", adds), ("DELETE", deletes)];
            let sections: Vec<String> = (sections.iter())
                .filter(|(_, actions)| !actions.is_empty())
                .map(|(section, actions)| format!("{section} {}", actions.join(", ")))
                .collect();
            let source = sections.join(" ");
            let expression = UpdateExpression::parse(&source).unwrap();
            let given = (!all_values.is_empty()).then_some(&all_values);
            let mut placeholders = Placeholders::new(None, given).unwrap();
            let expression = expression.bind(&mut placeholders).unwrap();
            prop_assert_eq!(update.only_takes_away(), expression.only_takes_away());
            let text = |error: TableError| error.message().to_owned();
            let found = update.apply(stored.clone()).map_err(text);
            prop_assert_eq!(&found, &expression.apply(stored).map_err(text), "{}", source);
            if let Ok(item) = found {
                prop_assert_eq!(update.parts_of(&item), expression.parts_of(&item));
            }
        }
    }
}
