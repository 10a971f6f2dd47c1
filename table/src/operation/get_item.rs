//! GetItem: its request, its response and what it does.

use super::{ConsumedCapacity, ExpressionAttributeNames, ReturnConsumedCapacity};
use crate::error::Result;
use crate::expression::legacy::check_parameters;
use crate::expression::projection::Parts;
use crate::expression::{parts, projection};
use crate::item::{EncodedItem, ItemView};
use crate::key_codec::{StoredKey, stored_key};
use crate::table::Table;
use crate::throttle::{Resource, Use};
use crate::validate::prepare_item;
use crate::{Item, Tables, capacity};

/// Reads one item by its key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetItemRequest {
    /// The table's name.
    pub table_name: String,
    /// The key attributes, and no others.
    pub key: Item,
    /// Which parts of the item are answered.
    pub projection_expression: Option<String>,
    /// Which attributes of the item are answered, without an expression.
    pub attributes_to_get: Option<Vec<String>>,
    /// What the expression's `#names` stand for.
    pub expression_attribute_names: Option<ExpressionAttributeNames>,
    /// Whether the read is charged as a consistent one; every read here is.
    pub consistent_read: Option<bool>,
    /// Which capacity to report.
    pub return_consumed_capacity: Option<ReturnConsumedCapacity>,
}

/// The item, if there is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetItemResponse {
    /// The item.
    pub item: Option<Item>,
    /// The capacity used, if it was asked for.
    pub consumed_capacity: Option<ConsumedCapacity>,
}

impl Tables {
    /// Reads one item by its key.
    ///
    /// # Errors
    /// `Validation` for a wrong key; `ResourceNotFound` if there is no such table.
    pub fn get_item(&self, mut request: GetItemRequest) -> Result<GetItemResponse> {
        let found = self.lookup(&request.table_name)?;
        let attributes = request.attributes_to_get.as_ref();
        check_parameters(
            &[("AttributesToGet", attributes.is_some())],
            &[("ProjectionExpression", request.projection_expression.is_some())],
            None,
        )?;
        let projection = projection(request.projection_expression.as_deref())?;
        let names = request.expression_attribute_names.as_ref();
        let parts = parts(projection.as_deref(), names)?.or(Parts::of_names(attributes)?);
        // A key of the table has no fault that any item could have; what is none may have such a
        // fault, which is told first.
        let (table, key) = (found.table())
            .and_then(|table| Ok((table, key_of(table, &request.key)?)))
            .map_err(|error| prepare_item(&mut request.key).err().unwrap_or(error))?;
        self.admit(Resource::table(table), Use::Read)?;
        // Decoded where it lies, so that only what the answer holds is copied.
        let read = |bytes: &[u8]| -> Result<(u64, Item)> {
            let stored = ItemView::new(bytes)?;
            let item = match &parts {
                Some(parts) => parts.of_view(stored)?,
                None => stored.decode()?,
            };
            Ok((stored.logical_size().into(), item))
        };
        let (size, item) = table.items.get_and(key, read)?.transpose()?.unzip();
        let units = capacity::read_units(size.unwrap_or(0), request.consistent_read);
        self.charge(Resource::table(table), Use::Read, units);
        Ok(GetItemResponse {
            item,
            consumed_capacity: capacity::consumed(
                request.return_consumed_capacity,
                &table.name,
                units,
            ),
        })
    }

    /// Calls `use_it` on an item where it lies; `None` if there is none. The fast way to read:
    /// nothing is copied, and attributes are read when they are asked for.
    ///
    /// ```
    /// # use esker_table::operation::{CreateTableRequest, PutItemRequest};
    /// # use esker_table::schema::{
    /// #     AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    /// # };
    /// use esker_table::item::ValueView;
    /// use esker_table::{Item, Tables};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let tables = Tables::open(esker::Db::open(dir.path())?)?;
    /// # tables.create_table(CreateTableRequest {
    /// #     table_name: "employees".into(),
    /// #     attribute_definitions: vec![AttributeDefinition {
    /// #         attribute_name: "employee_id".into(),
    /// #         attribute_type: ScalarAttributeType::S,
    /// #     }],
    /// #     key_schema: vec![KeySchemaElement {
    /// #         attribute_name: "employee_id".into(),
    /// #         key_type: KeyType::Hash,
    /// #     }],
    /// #     billing_mode: Some(BillingMode::PayPerRequest),
    /// #     ..Default::default()
    /// # })?;
    /// # let item = Item::from([
    /// #     ("employee_id".into(), "e1".into()),
    /// #     ("name".into(), "Ada".into()),
    /// # ]);
    /// # tables.put_item(PutItemRequest {
    /// #     table_name: "employees".into(), item, ..Default::default()
    /// # })?;
    /// let key = Item::from([("employee_id".into(), "e1".into())]);
    /// let initial = tables.get_item_and("employees", &key, |item| match item.get("name") {
    ///     Some(Ok(ValueView::S(name))) => name.chars().next(),
    ///     _ => None,
    /// })?;
    /// assert_eq!(initial.flatten(), Some('A'));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Tables::get_item`].
    pub fn get_item_and<T>(
        &self,
        table: &str,
        key: &Item,
        use_it: impl FnOnce(ItemView<'_>) -> T,
    ) -> Result<Option<T>> {
        let found = self.lookup(table)?;
        let table = found.table()?;
        let read = |bytes: &[u8]| ItemView::new(bytes).map(use_it);
        table.items.get_and(key_of(table, key)?, read)?.transpose()
    }

    /// As [`Tables::get_item`], but the item stays in its stored form, of which single attributes
    /// can be read. It may be kept: what is in a file is not even copied, but then keeps the file.
    ///
    /// # Errors
    /// As [`Tables::get_item`].
    pub fn get_encoded_item(&self, table: &str, key: &Item) -> Result<Option<EncodedItem>> {
        let found = self.lookup(table)?;
        let table = found.table()?;
        let stored = table.items.get(key_of(table, key)?)?;
        stored.map(EncodedItem::from_bytes).transpose()
    }
}

/// Under which key an item is stored, from a request's key.
fn key_of(table: &Table, key: &Item) -> Result<StoredKey> {
    let (partition, sort) = table.key.of_key(key)?;
    Ok(stored_key(&partition, sort.as_ref()))
}

#[cfg(test)]
mod tests {
    use crate::Item;
    use crate::tests::{create, item, open, put};

    #[test]
    fn an_encoded_item_is_what_get_item_decodes() {
        let dir = tempfile::tempdir().unwrap();
        let tables = open(&dir);
        create(&tables, "things", None);
        let stored = item([("pk", "a".into()), ("n", 5.into())]);
        put(&tables, stored.clone());
        let encoded = |key: &str| tables.get_encoded_item("things", &item([("pk", key.into())]));
        for _ in ["memtable", "file"] {
            let found = encoded("a").unwrap().unwrap();
            assert_eq!(found.get("n").unwrap().unwrap(), 5.into());
            assert_eq!(found.decode().unwrap(), stored);
            assert!(encoded("b").unwrap().is_none());
            let key = item([("pk", "a".into())]);
            let lent = tables.get_item_and("things", &key, |found| {
                let attributes = found.attributes().map(|attribute| {
                    let (name, value) = attribute.unwrap();
                    assert_eq!(found.get(name).unwrap().unwrap(), value);
                    (name.to_owned(), value.decode().unwrap())
                });
                assert!(found.get("no such attribute").is_none());
                attributes.collect::<Item>()
            });
            assert_eq!(lent.unwrap().as_ref(), Some(&stored));
            let key = item([("pk", "b".into())]);
            assert!(tables.get_item_and("things", &key, |_| ()).unwrap().is_none());
            tables.db().flush().unwrap();
        }
        assert!(tables.get_encoded_item("things", &stored).is_err());
        assert!(tables.get_encoded_item("nothing", &item([("pk", "a".into())])).is_err());
        assert!(tables.get_item_and("things", &stored, |_| ()).is_err());
    }
}
