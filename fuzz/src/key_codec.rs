//! Keys of items: what decodes must encode back to the same bytes, behind the hash.

use esker_table::Number;
use esker_table::key_codec::{KeyPart, base_key, decode_base_key};
use esker_table::schema::ScalarAttributeType::{B, N, S};

/// The hash in front, which decoding need not check.
const HASH_LEN: usize = 8;

/// Decodes `data` as a key of every schema.
pub fn check(data: &[u8]) {
    for sort in [None, Some(S), Some(N), Some(B)] {
        if let Ok((partition, sort)) = decode_base_key(data, sort) {
            let again = base_key(&partition, sort.as_ref());
            assert_eq!(again[HASH_LEN..], data[HASH_LEN..], "one key has one encoding");
        }
    }
}

/// Keys of every type.
pub fn seeds() -> Vec<Vec<u8>> {
    let number = |text: &str| KeyPart::N(text.parse::<Number>().expect("a number"));
    let parts = || [KeyPart::S("Zoë".into()), number("-12.5"), KeyPart::B(vec![0, 255, 0].into())];
    let mut keys = Vec::new();
    for partition in parts() {
        keys.push(base_key(&partition, None));
        keys.extend(parts().iter().map(|sort| base_key(&partition, Some(sort))));
    }
    keys
}
