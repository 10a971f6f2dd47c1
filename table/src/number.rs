//! Exact decimal numbers of up to 38 significant digits, with magnitudes from 1E-130 to
//! 9.99..E+125. Called by values, keys and expressions. A number is held in one canonical form, so
//! that equal numbers are equal in every way: `1`, `1.0` and `1e0` are the same value. Nothing here
//! ever goes through floating point.
//!
//! The byte form (`encode_into`, stored on disk in items and keys) orders bytewise as the numbers
//! do, knows its own end, and decodes to the same number:
//!
//! | part | bytes | content |
//! |---|---|---|
//! | sign | 1 | 0x40 negative, 0x80 zero (and then nothing follows), 0xC0 positive |
//! | exponent | 1 | decimal exponent of the first significant digit + 130 |
//! | digits | 1 to 19 | two decimal digits `p` a byte: `2p + 1` if more follow, `2p` in the last |
//!
//! The first digit is not 0. All bytes after the sign are complemented in a negative number. The
//! last pair is padded with a zero digit where the count is odd and is never 00. Example: -42 is
//! `40 7C AB` (exponent 1: 131 = 0x83; pair 42: 84 = 0x54).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::error::{Result, TableError};
use crate::key_codec::Sink;
use crate::message;

/// Significant digits at most.
const MAX_DIGITS: usize = 38;
/// Exponent of the first significant digit at most.
const MAX_EXPONENT: i64 = 125;
/// Exponent of the first significant digit at least.
const MIN_EXPONENT: i64 = -130;

const SIGN_NEGATIVE: u8 = 0x40;
const SIGN_ZERO: u8 = 0x80;
const SIGN_POSITIVE: u8 = 0xC0;

/// An exact decimal: up to 38 significant digits, magnitude 1E-130 to 9.99..E+125, or zero.
///
/// ```
/// use esker_table::Number;
/// let number: Number = "0042.1200".parse()?;
/// assert_eq!(number.to_string(), "42.12");
/// assert_eq!("1.0".parse::<Number>()?, Number::from(1));
/// # Ok::<(), esker_table::TableError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    /// The significant digits as an integer, below 10^38 and without a trailing zero; 0 is zero.
    coefficient: u128,
    /// The value is `coefficient * 10^scale`; 0 for zero.
    scale: i16,
}

impl Number {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, coefficient: 0, scale: 0 };

    /// The exponent of the first significant digit.
    fn exponent(&self) -> i64 {
        i64::from(self.scale) + i64::from(self.digit_count()) - 1
    }

    fn digit_count(&self) -> u32 {
        let log = match u64::try_from(self.coefficient) {
            Ok(small) => small.checked_ilog10(),
            Err(_) => self.coefficient.checked_ilog10(),
        };
        log.map_or(1, |log| log + 1)
    }

    /// The canonical number `±coefficient * 10^scale`, or why it is out of range. `coefficient` is
    /// below 10^38.
    fn normalized(negative: bool, mut coefficient: u128, mut scale: i64) -> Result<Self> {
        if coefficient == 0 {
            return Ok(Self::ZERO);
        }
        while coefficient.is_multiple_of(10) {
            coefficient /= 10;
            scale += 1;
        }
        let exponent = scale + i64::from(coefficient.ilog10());
        check_exponent(exponent)?;
        let scale = i16::try_from(scale).expect("invariant: a checked exponent bounds the scale");
        Ok(Self { negative, coefficient, scale })
    }

    /// The sum, exact, or why it is no number: out of range, as which the service takes more than 38 digits too.
    pub(crate) fn plus(self, other: Self) -> Result<Self> {
        if self.coefficient == 0 {
            return Ok(other);
        }
        if other.coefficient == 0 {
            return Ok(self);
        }
        let (high, low) = if self.scale >= other.scale { (self, other) } else { (other, self) };
        // A lowest digit that only one of them has stays: what does not fit here has too many digits.
        let too_long = || TableError::validation(message::NUMBER_OVERFLOW);
        let shift = u32::from(high.scale.abs_diff(low.scale));
        let scaled = (10u128.checked_pow(shift))
            .and_then(|power| high.coefficient.checked_mul(power))
            .ok_or_else(too_long)?;
        let (negative, mut sum) = if high.negative == low.negative {
            (high.negative, scaled.checked_add(low.coefficient).ok_or_else(too_long)?)
        } else if scaled >= low.coefficient {
            (high.negative, scaled - low.coefficient)
        } else {
            (low.negative, low.coefficient - scaled)
        };
        let mut scale = i64::from(low.scale);
        while sum > 0 && sum.is_multiple_of(10) {
            sum /= 10;
            scale += 1;
        }
        if sum >= 10u128.pow(MAX_DIGITS as u32) {
            return Err(too_long());
        }
        Self::normalized(negative, sum, scale)
    }

    /// The number with the other sign.
    pub(crate) fn negated(self) -> Self {
        Self { negative: !self.negative && self.coefficient != 0, ..self }
    }

    /// The size in bytes as the service counts it, after trimming the outer zeros: 1 for zero,
    /// otherwise 1 plus half of the integer digits and half of the fraction digits, each rounded
    /// up, plus 1 if negative.
    pub fn size_bytes(&self) -> usize {
        if self.coefficient == 0 {
            return 1;
        }
        let digits = self.digit_count() as usize;
        let fraction = usize::from(self.scale.min(0).unsigned_abs()).min(digits);
        1 + (digits - fraction).div_ceil(2) + fraction.div_ceil(2) + usize::from(self.negative)
    }

    /// Appends the order-preserving, self-delimiting byte form described at the head of this file.
    pub(crate) fn encode_into(&self, out: &mut impl Sink) {
        if self.coefficient == 0 {
            out.put(&[SIGN_ZERO]);
            return;
        }
        let (sign, mask) =
            if self.negative { (SIGN_NEGATIVE, 0xFF) } else { (SIGN_POSITIVE, 0x00) };
        let mask = if esker::mutant!("items_negative_order") { 0x00 } else { mask };
        let biased = u8::try_from(self.exponent() - MIN_EXPONENT)
            .expect("invariant: a number's exponent is in range");
        let digits = self.digit_count();
        let mut rest = if digits % 2 == 1 { self.coefficient * 10 } else { self.coefficient };
        let pairs = digits.div_ceil(2) as usize;
        let mut form = [0; 2 + MAX_DIGITS / 2];
        (form[0], form[1]) = (sign, biased ^ mask);
        for (index, slot) in form[2..2 + pairs].iter_mut().enumerate().rev() {
            // Division of 128 bits is a call of some length; few numbers need it.
            let pair = if let Ok(small) = u64::try_from(rest) {
                rest = u128::from(small / 100);
                (small % 100) as u8
            } else {
                let pair = (rest % 100) as u8;
                rest /= 100;
                pair
            };
            *slot = (2 * pair + u8::from(index + 1 < pairs)) ^ mask;
        }
        out.put(&form[..2 + pairs]);
    }

    /// Reads one number from the front of `bytes`; answers it and how many bytes it took, or `None`
    /// where the bytes are not the canonical form of a number.
    pub(crate) fn decode_prefix(bytes: &[u8]) -> Option<(Self, usize)> {
        let (negative, mask) = match *bytes.first()? {
            SIGN_ZERO => return Some((Self::ZERO, 1)),
            SIGN_NEGATIVE if esker::mutant!("items_negative_order") => (true, 0x00),
            SIGN_NEGATIVE => (true, 0xFF),
            SIGN_POSITIVE => (false, 0x00),
            _ => return None,
        };
        let exponent = i64::from(bytes.get(1)? ^ mask) + MIN_EXPONENT;
        let mut coefficient = 0u128;
        for (index, byte) in bytes.get(2..)?.iter().take(MAX_DIGITS / 2).enumerate() {
            let byte = byte ^ mask;
            let pair = byte / 2;
            if pair > 99 || (index == 0 && pair < 10) {
                return None;
            }
            coefficient = coefficient * 100 + u128::from(pair);
            if byte % 2 == 0 {
                if pair == 0 {
                    return None;
                }
                let mut scale = exponent - (2 * index as i64 + 1);
                if pair.is_multiple_of(10) {
                    coefficient /= 10;
                    scale += 1;
                }
                let scale = i16::try_from(scale).ok()?;
                return Some((Self { negative, coefficient, scale }, index + 3));
            }
        }
        None
    }
}

fn check_exponent(exponent: i64) -> Result<()> {
    if exponent > MAX_EXPONENT {
        return Err(TableError::validation(message::NUMBER_OVERFLOW));
    }
    if exponent < MIN_EXPONENT {
        return Err(TableError::validation(message::NUMBER_UNDERFLOW));
    }
    Ok(())
}

impl FromStr for Number {
    type Err = TableError;

    /// Reads a number as the service does: an optional sign, digits with at most one point, an
    /// optional exponent. Refuses blanks, other notations, more than 38 significant digits, and
    /// magnitudes out of range.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(TableError::validation(message::NUMBER_EMPTY));
        }
        let invalid = || TableError::validation(message::number_invalid(text));
        let (negative, unsigned) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            all => (false, all),
        };
        let mantissa_end =
            unsigned.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(unsigned.len());
        let (mantissa, exponent) = unsigned.split_at(mantissa_end);
        let exponent = match exponent {
            [] => 0,
            [_, digits @ ..] => parse_exponent(digits).ok_or_else(invalid)?,
        };

        // `pending_zeros` are zeros after a significant digit: they count only once another digit
        // follows.
        let (mut coefficient, mut digits, mut pending_zeros) = (0u128, 0usize, 0usize);
        let (mut fraction_digits, mut seen_point, mut seen_digit) = (0i64, false, false);
        let mut too_long = false;
        for byte in mantissa {
            match byte {
                b'.' if !seen_point => seen_point = true,
                b'0'..=b'9' => {
                    seen_digit = true;
                    fraction_digits += i64::from(seen_point);
                    if *byte == b'0' {
                        pending_zeros += usize::from(digits > 0);
                        continue;
                    }
                    digits = digits.saturating_add(pending_zeros + 1);
                    if digits > MAX_DIGITS {
                        too_long = true;
                        continue;
                    }
                    for _ in 0..=pending_zeros {
                        coefficient *= 10;
                    }
                    coefficient += u128::from(byte - b'0');
                    pending_zeros = 0;
                }
                _ => return Err(invalid()),
            }
        }
        if !seen_digit {
            return Err(invalid());
        }
        if too_long {
            return Err(TableError::validation(message::NUMBER_PRECISION));
        }
        let scale = exponent - fraction_digits + pending_zeros as i64;
        if coefficient == 0 {
            // A zero has a place too: 0e126 is refused as 1e126 is.
            check_exponent(exponent - fraction_digits)?;
        }
        Self::normalized(negative, coefficient, scale)
    }
}

/// The exponent's value, clamped to a range that is out of bounds for every mantissa.
fn parse_exponent(digits: &[u8]) -> Option<i64> {
    const CLAMP: i64 = i64::MAX / 4;
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(CLAMP);
    }
    Some(if negative { -value } else { value })
}

impl fmt::Display for Number {
    /// The canonical text: no exponent, no leading `+`, no outer zeros (`0.5`, `42.12`, `1` and 125
    /// zeros).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.coefficient == 0 {
            return f.write_str("0");
        }
        if self.negative {
            f.write_str("-")?;
        }
        if self.scale >= 0 {
            write!(f, "{}{:0>width$}", self.coefficient, "", width = self.scale as usize)
        } else {
            let fraction = usize::from(self.scale.unsigned_abs());
            let digits = self.digit_count() as usize;
            if fraction >= digits {
                write!(f, "0.{:0>fraction$}", self.coefficient)
            } else {
                let divisor = 10u128.pow(u32::from(self.scale.unsigned_abs()));
                let (whole, part) = (self.coefficient / divisor, self.coefficient % divisor);
                write!(f, "{whole}.{part:0>fraction$}")
            }
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |n: &Self| match (n.coefficient, n.negative) {
            (0, _) => 0,
            (_, false) => 1,
            (_, true) => -1,
        };
        let by_sign = sign(self).cmp(&sign(other));
        if by_sign != Ordering::Equal || self.coefficient == 0 {
            return by_sign;
        }
        let aligned = |n: &Self| n.coefficient * 10u128.pow(MAX_DIGITS as u32 - n.digit_count());
        let magnitude =
            self.exponent().cmp(&other.exponent()).then_with(|| aligned(self).cmp(&aligned(other)));
        if self.negative { magnitude.reverse() } else { magnitude }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Number {
            #[allow(unused_comparisons)]
            fn from(value: $integer) -> Self {
                let magnitude = if value < 0 {
                    u128::from((value as i64).unsigned_abs())
                } else {
                    value as u128
                };
                Self::normalized(value < 0, magnitude, 0)
                    .expect("invariant: 64-bit integers are in range")
            }
        }
    )*};
}

from_integers!(i32, u32, i64, u64);

#[cfg(test)]
pub(crate) mod tests;
