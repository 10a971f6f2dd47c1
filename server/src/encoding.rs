//! Compressed bodies: a request's, as its `Content-Encoding` says, and an answer's, where `Accept-Encoding` asks for it.
//! `http.rs` calls both. What a body unpacks to is bounded by the limit of a body and by the budget of all bodies, never
//! by what the compressed bytes announce.

use std::io::{self, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap};

use crate::error::WireError;
use crate::message;

/// Bytes of the shortest answer that is compressed: below it there is little to save.
pub(crate) const COMPRESSED_BYTES_MIN: usize = 1 << 10;

/// How much is unpacked at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// How a body is compressed (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// The zlib format; clients that send the bare stream are understood too.
    Deflate,
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("deflate") {
            Some(Self::Deflate)
        } else {
            None
        }
    }

    /// Its name in a header.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// How a request's body is compressed. `amz-1.0` is what older clients of the service call their plain JSON.
pub(crate) fn of_request(headers: &HeaderMap) -> Result<Option<Coding>, WireError> {
    let mut coding = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| WireError::unknown_coding("?"))?;
        for name in value.split(',').map(str::trim) {
            let is_plain = ["", "identity", "amz-1.0"].iter().any(|p| name.eq_ignore_ascii_case(p));
            if is_plain {
                continue;
            }
            let named = Coding::named(name).ok_or_else(|| WireError::unknown_coding(name))?;
            if coding.replace(named).is_some() {
                return Err(WireError::unknown_coding(value));
            }
        }
    }
    Ok(coding)
}

/// How an answer is to be compressed: as the client likes best, gzip where it likes both the same.
pub(crate) fn of_answer(headers: &HeaderMap) -> Option<Coding> {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let (mut gzip, mut deflate, mut any) = (None, None, 0.0);
    for part in values.flat_map(|value| value.split(',')) {
        let mut fields = part.split(';').map(str::trim);
        let name = fields.next().unwrap_or("");
        let weight = weight(fields);
        match Coding::named(name) {
            Some(Coding::Gzip) => gzip = Some(weight),
            Some(Coding::Deflate) => deflate = Some(weight),
            None if name == "*" => any = weight,
            None => {}
        }
    }
    let (gzip, deflate) = (gzip.unwrap_or(any), deflate.unwrap_or(any));
    if gzip <= 0.0 && deflate <= 0.0 {
        None
    } else if gzip >= deflate {
        Some(Coding::Gzip)
    } else {
        Some(Coding::Deflate)
    }
}

/// How much a client likes a coding, from 0, not at all, to 1, which is what nothing said means.
fn weight<'a>(fields: impl Iterator<Item = &'a str>) -> f32 {
    let q = |field: &'a str| field.strip_prefix("q=").or_else(|| field.strip_prefix("Q="));
    let said = fields.filter_map(q).next();
    said.map_or(1.0, |q| q.trim().parse::<f32>().ok().filter(|q| q.is_finite()).unwrap_or(0.0))
}

/// The compressed form of an answer.
pub(crate) fn compress(answer: &[u8], coding: Coding) -> Vec<u8> {
    let out = Vec::with_capacity(answer.len() / 4);
    let written = match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::fast());
            encoder.write_all(answer).and_then(|()| encoder.finish())
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(out, Compression::fast());
            encoder.write_all(answer).and_then(|()| encoder.finish())
        }
    };
    written.expect("invariant: writing to memory cannot fail")
}

/// What a request's body unpacks to, at most `bytes_max` bytes. `reserve` is asked before each further part of it is
/// made.
pub(crate) fn decompress(
    body: &[u8],
    coding: Coding,
    bytes_max: usize,
    mut reserve: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, WireError> {
    let mut unpacker: Box<dyn Unpack + '_> = match coding {
        Coding::Gzip => Box::new(MultiGzDecoder::new(body)),
        Coding::Deflate => Box::new(Deflated { stream: Decompress::new(is_zlib(body)), body }),
    };
    let mut out = Vec::new();
    loop {
        // A byte too many tells a body that is too large from one that is just not.
        let part_bytes = CHUNK_BYTES.min(bytes_max + 1 - out.len());
        if !reserve(part_bytes) {
            return Err(WireError::overloaded());
        }
        let is_whole = unpacker.unpack(&mut out, part_bytes).map_err(|error| {
            WireError::serialization(message::not_compressed(coding.name(), &error))
        })?;
        if out.len() > bytes_max {
            return Err(WireError::too_large());
        }
        if is_whole {
            return Ok(out);
        }
    }
}

/// A body that is unpacked in parts.
trait Unpack {
    /// Adds the next part, at most so many bytes; whether it was the last.
    fn unpack(&mut self, out: &mut Vec<u8>, bytes: usize) -> io::Result<bool>;
}

impl Unpack for MultiGzDecoder<&[u8]> {
    fn unpack(&mut self, out: &mut Vec<u8>, bytes: usize) -> io::Result<bool> {
        let read = self.take(bytes as u64).read_to_end(out)?;
        Ok(read < bytes)
    }
}

/// A zlib or bare stream. Not flate2's reader of it, which takes a stream without its end for a whole one.
struct Deflated<'a> {
    stream: Decompress,
    body: &'a [u8],
}

impl Unpack for Deflated<'_> {
    fn unpack(&mut self, out: &mut Vec<u8>, bytes: usize) -> io::Result<bool> {
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        let mut part = vec![0; bytes];
        let before = (self.stream.total_in(), self.stream.total_out());
        let status = self
            .stream
            .decompress(self.body, &mut part, FlushDecompress::None)
            .map_err(|error| invalid(&error.to_string()))?;
        let (taken, made) = (self.stream.total_in() - before.0, self.stream.total_out() - before.1);
        self.body = &self.body[taken as usize..];
        out.extend_from_slice(&part[..made as usize]);
        match status {
            Status::StreamEnd if self.body.is_empty() => Ok(true),
            Status::StreamEnd => Err(invalid("bytes follow its end")),
            Status::Ok | Status::BufError if taken == 0 && made == 0 => {
                Err(invalid("its end is missing"))
            }
            Status::Ok | Status::BufError => Ok(false),
        }
    }
}

/// Whether the bytes begin as the zlib format does (RFC 1950, section 2.2).
fn is_zlib(body: &[u8]) -> bool {
    let [method, flags, ..] = body else { return false };
    method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: hyper::header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    fn unpacked(body: &[u8], coding: Coding) -> Result<Vec<u8>, String> {
        decompress(body, coding, 1 << 20, |_| true).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_compressed_unpacks_to_the_same() {
        let random = |len: usize| -> Vec<u8> {
            let step = |n: &u64| Some(n.wrapping_mul(6364136223846793005).wrapping_add(1));
            std::iter::successors(Some(7), step).map(|n| (n >> 56) as u8).take(len).collect()
        };
        for text in [vec![], b"{}".to_vec(), vec![b'x'; 1 << 20], random(200_000), random(65_536)] {
            for coding in [Coding::Gzip, Coding::Deflate] {
                let packed = compress(&text, coding);
                assert!(unpacked(&packed, coding).as_ref() == Ok(&text), "{coding:?}");
                if coding == Coding::Deflate {
                    let bare = &packed[2..packed.len() - 4];
                    assert!(unpacked(bare, coding).as_ref() == Ok(&text), "without its frame");
                }
            }
        }
        let members = [compress(b"{\"a\":", Coding::Gzip), compress(b"1}", Coding::Gzip)].concat();
        assert_eq!(unpacked(&members, Coding::Gzip).unwrap(), b"{\"a\":1}");
    }

    #[test]
    fn damaged_bodies_are_errors_wherever_they_end() {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let packed = compress(b"{\"TableName\":\"employees\"}", coding);
            for len in 0..packed.len() {
                let error = unpacked(&packed[..len], coding).unwrap_err();
                assert!(error.contains(coding.name()), "{coding:?} {len}: {error}");
            }
            assert!(unpacked(&[&packed[..], b"x"].concat(), coding).is_err());
            let mut damaged = packed.clone();
            *damaged.last_mut().unwrap() ^= 1;
            assert!(unpacked(&damaged, coding).is_err());
            assert!(unpacked(b"{}", coding).is_err());
        }
    }

    #[test]
    fn what_it_unpacks_to_is_bounded() {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let packed = compress(&vec![0; 64 << 20], coding);
            let mut reserved = 0;
            let reserve = |bytes| {
                reserved += bytes;
                true
            };
            let error = decompress(&packed, coding, 1 << 20, reserve).unwrap_err();
            assert_eq!(error, WireError::too_large());
            assert!(reserved <= (1 << 20) + 2 * CHUNK_BYTES, "{reserved}");
            let error = decompress(&packed, coding, 1 << 20, |_| false).unwrap_err();
            assert_eq!(error, WireError::overloaded());
        }
    }

    #[test]
    fn the_coding_of_an_answer_is_the_one_liked_best() {
        let (gzip, deflate) = (Some(Coding::Gzip), Some(Coding::Deflate));
        for (accepted, expected) in [
            (&[][..], None),
            (&["identity"], None),
            (&["br, zstd"], None),
            (&["gzip"], gzip),
            (&["GZIP"], gzip),
            (&["deflate"], deflate),
            (&["deflate, gzip"], gzip),
            (&["deflate", "gzip"], gzip),
            (&["gzip;q=0.5, deflate;q=0.8"], deflate),
            (&["gzip ; Q=0 , deflate ;q=0.0"], None),
            (&["gzip;q=x, gzip;q=inf"], None),
            (&["*"], gzip),
            (&["*;q=0.1, gzip;q=0"], deflate),
            (&["identity;q=0, *;q=0"], None),
        ] {
            assert_eq!(of_answer(&headers(ACCEPT_ENCODING, accepted)), expected, "{accepted:?}");
        }
    }

    #[test]
    fn unknown_codings_of_a_request_are_refused() {
        let of = |values: &[&str]| of_request(&headers(CONTENT_ENCODING, values));
        for plain in [&[][..], &[""], &["identity"], &["amz-1.0"], &["identity", "Identity"]] {
            assert_eq!(of(plain), Ok(None), "{plain:?}");
        }
        assert_eq!(of(&["gzip"]), Ok(Some(Coding::Gzip)));
        assert_eq!(of(&["amz-1.0, X-GZIP"]), Ok(Some(Coding::Gzip)));
        assert_eq!(of(&["Deflate"]), Ok(Some(Coding::Deflate)));
        for unknown in [&["br"][..], &["gzip, gzip"], &["gzip", "deflate"], &["gzip;q=1"]] {
            assert_eq!(of(unknown).unwrap_err().status(), 415, "{unknown:?}");
        }
    }
}
