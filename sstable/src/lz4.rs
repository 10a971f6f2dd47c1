//! Decoding the lz4 block format, all of it or only as far as needed.
//!
//! `format.rs` decodes whole blocks with it, the reader's point reads stop behind the value that they look for. The
//! bytes may be anything: every length is checked, and nothing is read or written outside the two slices. The output
//! has room behind the content ([`SLACK_LEN`]), so that short runs are copied in pieces of a fixed size.

use crate::format::Defect;

const MALFORMED: Defect = Defect::Damaged("a block does not decompress");

/// What the output must have behind the content; it may hold anything afterwards.
pub(crate) const SLACK_LEN: usize = 32;
const PIECE: usize = SLACK_LEN;
const MATCH_LEN_MIN: usize = 4;
/// A length in a token that goes on in the bytes behind it.
const LONG: usize = 15;

/// A decompression that stops and goes on.
pub(crate) struct Decoder<'a> {
    input: &'a [u8],
    /// How far the input was read.
    at: usize,
    /// How much of the content is decoded.
    done: usize,
    /// The length of the whole content.
    len: usize,
    /// Whether the sequence without a match was read, which must be the last.
    ended: bool,
}

impl<'a> Decoder<'a> {
    /// Decodes `input`, which must give exactly `len` bytes.
    pub fn new(input: &'a [u8], len: usize) -> Decoder<'a> {
        Decoder { input, at: 0, done: 0, len, ended: false }
    }

    /// Goes on until at least `wanted` bytes (at most the content's length) are decoded. `out` holds the content from
    /// its start on, and is the same each time; it must be [`SLACK_LEN`] longer than the content.
    pub fn decode_until(&mut self, wanted: usize, out: &mut [u8]) -> Result<(), Defect> {
        let out = out.get_mut(..self.len.saturating_add(SLACK_LEN)).ok_or(MALFORMED)?;
        while self.done < wanted {
            self.sequence(out)?;
        }
        Ok(())
    }

    /// Decodes the rest and checks that the input ends with it.
    pub fn finish(&mut self, out: &mut [u8]) -> Result<(), Defect> {
        self.decode_until(self.len, out)?;
        if !self.ended {
            // The content may be whole before its last sequence, which then has no literals.
            let out = out.get_mut(..self.len.saturating_add(SLACK_LEN)).ok_or(MALFORMED)?;
            self.sequence(out)?;
        }
        if self.ended { Ok(()) } else { Err(MALFORMED) }
    }

    /// One sequence: literals, then a match unless the input ends. Always moves on or fails.
    #[inline(always)]
    fn sequence(&mut self, out: &mut [u8]) -> Result<(), Defect> {
        let token = *self.input.get(self.at).ok_or(MALFORMED)?;
        self.at += 1;
        let mut literals = usize::from(token >> 4);
        if literals == LONG {
            literals += self.more()?;
        }
        if literals > self.len - self.done || literals > self.input.len() - self.at {
            return Err(MALFORMED);
        }
        self.copy_literals(literals, out);
        if self.at == self.input.len() {
            // Only the last sequence has no match.
            self.ended = true;
            return if self.done == self.len { Ok(()) } else { Err(MALFORMED) };
        }
        let &[low, high] = self.input[self.at..].first_chunk::<2>().ok_or(MALFORMED)?;
        self.at += 2;
        let distance = usize::from(u16::from_le_bytes([low, high]));
        let mut len = usize::from(token & 15);
        if len == LONG {
            len += self.more()?;
        }
        len += MATCH_LEN_MIN;
        if distance == 0 || distance > self.done || len > self.len - self.done {
            return Err(MALFORMED);
        }
        repeat(out, self.done, distance, len);
        self.done += len;
        Ok(())
    }

    /// The rest of a long length: bytes to add up, the last one is not 255.
    #[inline]
    fn more(&mut self) -> Result<usize, Defect> {
        let mut sum = 0usize;
        loop {
            let byte = *self.input.get(self.at).ok_or(MALFORMED)?;
            self.at += 1;
            // The sum is at most 255 times the length of the input, which is in memory.
            sum += usize::from(byte);
            if byte != 255 {
                return Ok(sum);
            }
        }
    }

    /// Copies literals that were held against both ends.
    #[inline(always)]
    fn copy_literals(&mut self, len: usize, out: &mut [u8]) {
        let (from, to) = (self.at, self.done);
        self.at += len;
        self.done += len;
        // Two pieces hold most literals; what is copied too much is overwritten later or lies in the slack.
        if len <= 2 * PIECE
            && let Some(pieces) = self.input[from..].first_chunk::<{ 2 * PIECE }>()
        {
            out[to..to + PIECE].copy_from_slice(&pieces[..PIECE]);
            if len > PIECE {
                out[to + PIECE..to + 2 * PIECE].copy_from_slice(&pieces[PIECE..]);
            }
        } else {
            out[to..to + len].copy_from_slice(&self.input[from..from + len]);
        }
    }
}

/// Writes `len` bytes at `to`, each the one `distance` before it; they end before the slack.
#[inline(always)]
fn repeat(out: &mut [u8], to: usize, distance: usize, len: usize) {
    let end = to + len;
    if distance >= PIECE {
        let mut to = to;
        while to < end {
            // No overlap within a piece: it is no longer than the distance.
            let piece: [u8; PIECE] = piece(out, to - distance);
            out[to..to + PIECE].copy_from_slice(&piece);
            to += PIECE;
        }
    } else if distance == 1 {
        let byte = [out[to - 1]; PIECE];
        let mut to = to;
        while to < end {
            out[to..to + PIECE].copy_from_slice(&byte);
            to += PIECE;
        }
    } else if distance >= 8 {
        let mut to = to;
        while to < end {
            let piece: [u8; 8] = piece(out, to - distance);
            out[to..to + 8].copy_from_slice(&piece);
            to += 8;
        }
    } else {
        for to in to..end {
            out[to] = out[to - distance];
        }
    }
}

#[inline(always)]
fn piece<const LEN: usize>(bytes: &[u8], at: usize) -> [u8; LEN] {
    *bytes[at..].first_chunk().expect("invariant: the slack is as long as a piece")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn decoded(input: &[u8], len: usize, stops: &[usize]) -> Result<Vec<u8>, Defect> {
        let mut out = vec![0xAA; len + SLACK_LEN];
        let mut decoder = Decoder::new(input, len);
        for &stop in stops {
            let stop = stop.min(len);
            decoder.decode_until(stop, &mut out)?;
            assert!(decoder.done >= stop);
        }
        decoder.finish(&mut out)?;
        out.truncate(len);
        Ok(out)
    }

    /// Bytes with repetitions of every short distance.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let run = (prop::collection::vec(any::<u8>(), 1..40), 1usize..20);
        prop::collection::vec(run, 0..30)
            .prop_map(|runs| runs.iter().flat_map(|(bytes, count)| bytes.repeat(*count)).collect())
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back_in_any_number_of_steps(
            plain in content(),
            stops in prop::collection::vec(0usize..5000, 0..5),
        ) {
            let packed = lz4_flex::block::compress(&plain);
            prop_assert_eq!(decoded(&packed, plain.len(), &stops).unwrap(), plain.clone());
            // What is decoded is right before the end is reached.
            if let Some(&stop) = stops.first() {
                let stop = stop.min(plain.len());
                let mut out = vec![0; plain.len() + SLACK_LEN];
                Decoder::new(&packed, plain.len()).decode_until(stop, &mut out).unwrap();
                prop_assert_eq!(&out[..stop], &plain[..stop]);
            }
        }

        #[test]
        fn damaged_bytes_decode_as_another_decoder_says_or_not_at_all(
            plain in content(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut packed = lz4_flex::block::compress(&plain);
            for (at, byte) in changes {
                let at = at.index(packed.len());
                packed[at] = byte;
            }
            for packed in [&packed[..], &packed[..cut.index(packed.len())]] {
                let mut other = vec![0; plain.len()];
                let other = match lz4_flex::block::decompress_into(packed, &mut other) {
                    Ok(written) if written == plain.len() => Some(other),
                    _ => None,
                };
                if let Ok(ours) = decoded(packed, plain.len(), &[]) {
                    prop_assert_eq!(Some(ours), other);
                }
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(input: Vec<u8>, len in 0usize..3000) {
            let _ = decoded(&input, len, &[len / 2]);
        }
    }

    #[test]
    fn lengths_beyond_the_ends_are_refused() {
        assert_eq!(decoded(&[0], 0, &[]).unwrap(), b"");
        assert_eq!(decoded(&[0x10, b'a'], 1, &[]).unwrap(), b"a");
        assert_eq!(decoded(&[0x10, b'a', 1, 0, 0], 5, &[]).unwrap(), b"aaaaa");
        // No input, literals past the input, too few and too many bytes, a match before the start and of distance 0.
        for (input, len) in [
            (&[][..], 0),
            (&[0x20, b'a'], 2),
            (&[0x10, b'a'], 2),
            (&[0x20, b'a', b'b'], 1),
            (&[0x10, b'a', 2, 0, 0x10, b'b'], 6),
            (&[0x10, b'a', 0, 0, 0x10, b'b'], 6),
            (&[0xf0, 255, 255], 9),
            (&[0x10, b'a', 0], 5),
            // A match at the end, and something behind the end.
            (&[0x10, b'a', 1, 0], 5),
            (&[0x10, b'a', 1, 0, 0, 0], 5),
        ] {
            assert!(decoded(input, len, &[]).is_err(), "{input:?}");
        }
    }
}
