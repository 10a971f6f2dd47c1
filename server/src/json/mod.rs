//! JSON to and from the table layer's types. `read.rs` has what every request needs, `attribute.rs` reads attribute
//! values and items, `write.rs` writes them. Nothing here builds a tree of generic JSON values: bytes go straight
//! into the typed request and straight out of the typed response.

mod attribute;
mod read;
mod write;

pub(crate) use attribute::{
    Decoded, ExpressionValues, attribute_value, attribute_values, expression_values, item, items,
};
pub(crate) use read::{
    ListMap, Members, flag, integer, list, list_map, long, presence, read, skip, structure,
    structure_map, text, text_map, texts,
};
pub(crate) use write::{ItemOut, ItemsOut, to_bytes};
