//! Varints: whatever decodes must encode back to the same bytes.

use esker_base::varint;

/// Decodes one value and one slice from the front of `data`.
pub fn check(data: &[u8]) {
    let mut input = data;
    if let Some(value) = varint::decode(&mut input) {
        let taken = data.len() - input.len();
        let mut again = Vec::new();
        varint::encode(value, &mut again);
        assert_eq!(again, data[..taken], "one value has one encoding");
        assert_eq!(varint::encoded_len(value), taken);
    } else {
        assert_eq!(input, data, "a refused value leaves the input alone");
    }
    let mut input = data;
    if let Some(slice) = varint::decode_slice(&mut input) {
        let mut again = Vec::new();
        varint::encode_slice(slice, &mut again);
        assert_eq!(again, data[..data.len() - input.len()]);
    }
}

/// Values at every length.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..64)
        .map(|shift| {
            let mut out = Vec::new();
            varint::encode(1 << shift, &mut out);
            out.extend_from_slice(b"rest of the input");
            out
        })
        .collect()
}
