//! Doors to internal parsers for the fuzz targets, and for them alone: no part of the public interface.

use esker_table::Item;
use serde::de::MapAccess;

use crate::json::{self, Decoded, ItemOut, Members};

#[derive(Default)]
struct Envelope(Option<Decoded<Item>>);

impl Members for Envelope {
    const NAME: &'static str = "Item";

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Item" => self.0 = json::item(map)?,
            _ => json::skip(map)?,
        }
        Ok(())
    }
}

/// The item of a request whose `Item` is these bytes; `None` where they are none.
pub fn item_from_json(bytes: &[u8]) -> Option<Item> {
    let request = [b"{\"Item\":", bytes, b"}"].concat();
    json::read::<Envelope>(&request).ok()?.0?.ok()
}

/// An item as responses have it.
pub fn item_to_json(item: &Item) -> Vec<u8> {
    json::to_bytes(&ItemOut(item))
}
