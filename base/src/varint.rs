//! Variable-length integers: 7 bits a byte, low bits first, the high bit set on every byte but the last (LEB128).
//!
//! Only the shortest form is accepted, so that one value has one encoding.

/// The longest encoding of a 64-bit integer, in bytes.
pub const LEN_MAX: usize = 10;

/// Appends `value` to `out`: 1 to 10 bytes.
pub fn encode(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`encode`] writes for `value`.
pub fn encoded_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads a value from the front of `input` and moves `input` past it. `None` if the bytes end too early, do not
/// fit 64 bits or are not the shortest form; `input` is then unchanged.
pub fn decode(input: &mut &[u8]) -> Option<u64> {
    // Almost every length is short: one byte needs no loop.
    if let [first, rest @ ..] = *input
        && *first < 0x80
    {
        *input = rest;
        return Some(u64::from(*first));
    }
    let mut value = 0u64;
    for (index, &byte) in input.iter().take(LEN_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == LEN_MAX - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte < 0x80 {
            // A value of one byte was taken above, so a last byte of 0 makes a longer form than needed.
            if byte == 0 {
                return None;
            }
            *input = &input[index + 1..];
            return Some(value);
        }
    }
    None
}

/// Reads a length-prefixed slice from the front of `input` and moves `input` past it; `None` as for [`decode`],
/// or if fewer bytes remain than the length says.
pub fn decode_slice<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = *input;
    let len = usize::try_from(decode(&mut rest)?).ok()?;
    let (slice, rest) = rest.split_at_checked(len)?;
    *input = rest;
    Some(slice)
}

/// Appends the length of `bytes` and then `bytes` itself.
pub fn encode_slice(bytes: &[u8], out: &mut Vec<u8>) {
    encode(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_survives_the_round_trip(value: u64) {
            let mut bytes = Vec::new();
            encode(value, &mut bytes);
            prop_assert_eq!(bytes.len(), encoded_len(value));
            let mut input = &bytes[..];
            prop_assert_eq!(decode(&mut input), Some(value));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn what_decodes_encodes_back(bytes: Vec<u8>) {
            let mut input = &bytes[..];
            if let Some(value) = decode(&mut input) {
                let mut again = Vec::new();
                encode(value, &mut again);
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - input.len()]);
            }
        }
    }

    #[test]
    fn long_forms_overflow_and_missing_bytes_are_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xff; 10], &[0x80], &[]] {
            let mut input = bytes;
            assert_eq!(decode(&mut input), None, "{bytes:?}");
            assert_eq!(input, bytes);
        }
        assert_eq!(decode_slice(&mut &[5, 1, 2][..]), None);
    }
}
