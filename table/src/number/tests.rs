//! Tests of numbers: acceptance, printing, sizes, order, and the byte form.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Number {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refusal(text: &str) -> String {
    text.parse::<Number>().expect_err(text).message().to_owned()
}

#[test]
fn reads_and_prints_canonically() {
    let long = "9".repeat(38);
    for (text, printed) in [
        ("1", "1"),
        ("+.5", "0.5"),
        ("-0", "0"),
        ("0.000", "0"),
        ("0042.1200", "42.12"),
        ("1e0", "1"),
        ("5.", "5"),
        ("-1.50E+2", "-150"),
        ("12e-1", "1.2"),
        ("0.00012", "0.00012"),
        ("0e125", "0"),
        (long.as_str(), long.as_str()),
    ] {
        assert_eq!(parse(text).to_string(), printed, "{text}");
    }
    assert_eq!(parse("1E125").to_string(), format!("1{}", "0".repeat(125)));
    assert_eq!(parse("1E-130").to_string(), format!("0.{}1", "0".repeat(129)));
    // 38 significant digits, whatever surrounds them.
    let padded = format!("000{long}{}", "0".repeat(80));
    assert_eq!(parse(&padded).to_string(), format!("{long}{}", "0".repeat(80)));
}

#[test]
fn refuses_what_is_no_number() {
    for text in
        [" 5", "5 ", "0x5", "NaN", "Infinity", "1e", "e5", ".", "-", "+-1", "1.2.3", "1_0", "१"]
    {
        assert_eq!(
            refusal(text),
            format!("The parameter cannot be converted to a numeric value: {text}")
        );
    }
    assert_eq!(refusal(""), message::NUMBER_EMPTY);
}

#[test]
fn refuses_what_is_out_of_range() {
    let digits_39 = "1".repeat(39);
    assert_eq!(refusal(&digits_39), message::NUMBER_PRECISION);
    assert_eq!(refusal(&format!("0.{digits_39}")), message::NUMBER_PRECISION);
    assert_eq!(refusal(&format!("1{}1", "0".repeat(37))), message::NUMBER_PRECISION);
    for text in ["1e126", "-1e126", "10e125", "0e126", "1e99999999999999999999"] {
        assert_eq!(refusal(text), message::NUMBER_OVERFLOW, "{text}");
    }
    for text in ["1e-131", "0.1e-130", "1e-99999999999999999999"] {
        assert_eq!(refusal(text), message::NUMBER_UNDERFLOW, "{text}");
    }
    assert!(format!("{}e88", "9".repeat(38)).parse::<Number>().is_ok());
}

#[test]
fn sizes_as_the_service_counts() {
    for (text, size) in [
        ("0", 1),
        ("-0", 1),
        ("-42", 3),
        ("3.14159", 5),
        ("100.5", 4),
        ("1E125", 2),
        ("1E-130", 2),
        ("0.5", 2),
        ("-0.5", 3),
        ("105", 3),
        ("1.05", 3),
        ("99999999999999999999999999999999999999", 20),
    ] {
        assert_eq!(parse(text).size_bytes(), size, "{text}");
    }
}

#[test]
fn orders_by_value_in_memory_and_in_bytes() {
    let texts = [
        "-9.99e125",
        "-1E125",
        "-150",
        "-15",
        "-1.51",
        "-1.5",
        "-1",
        "-1E-130",
        "0",
        "1E-130",
        "0.1",
        "1",
        "1.5",
        "1.51",
        "9",
        "10",
        "10.01",
        "11",
        "99",
        "100",
        "1E125",
    ];
    for (i, a) in texts.iter().enumerate() {
        for (j, b) in texts.iter().enumerate() {
            let (a, b) = (parse(a), parse(b));
            assert_eq!(a.cmp(&b), i.cmp(&j), "{a} {b}");
            assert_eq!(encoded(&a).cmp(&encoded(&b)), i.cmp(&j), "{a} {b} in bytes");
        }
    }
}

#[test]
fn golden_bytes() {
    for (text, bytes) in [
        ("0", &[0x80][..]),
        ("-42", &[0x40, 0x7C, 0xAB]),
        ("42", &[0xC0, 0x83, 0x54]),
        ("1", &[0xC0, 0x82, 0x14]),
        ("123.4", &[0xC0, 0x84, 0x19, 0x44]),
        ("1E125", &[0xC0, 0xFF, 0x14]),
        ("-1E-130", &[0x40, 0xFF, 0xEB]),
    ] {
        assert_eq!(encoded(&parse(text)), bytes, "{text}");
    }
    assert!(encoded(&parse(&"9".repeat(38))).len() <= 2 + MAX_DIGITS / 2);
}

#[test]
fn integers_convert() {
    assert_eq!(Number::from(i64::MIN).to_string(), i64::MIN.to_string());
    assert_eq!(Number::from(u64::MAX).to_string(), u64::MAX.to_string());
    assert_eq!(Number::from(-1i32), parse("-1"));
    assert_eq!(Number::from(0u32), Number::ZERO);
}

fn encoded(number: &Number) -> Vec<u8> {
    let mut out = Vec::new();
    number.encode_into(&mut out);
    out
}

/// Any number: sign, digits, and an exponent that keeps it in range.
pub(crate) fn any_number() -> impl Strategy<Value = Number> {
    (any::<bool>(), "[0-9]{1,38}", -130i64..=125).prop_map(|(negative, digits, exponent)| {
        let significant = digits.trim_start_matches('0').len().max(1) as i64;
        let sign = if negative { "-" } else { "" };
        parse(&format!("{sign}{digits}e{}", exponent - significant + 1))
    })
}

proptest! {
    #[test]
    fn text_and_bytes_round_trip(number in any_number(), tail in any::<Vec<u8>>()) {
        prop_assert_eq!(parse(&number.to_string()), number);
        let mut bytes = encoded(&number);
        let length = bytes.len();
        bytes.extend(tail);
        prop_assert_eq!(Number::decode_prefix(&bytes), Some((number, length)));
    }

    #[test]
    fn bytes_order_as_values(a in any_number(), b in any_number()) {
        prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
        prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
    }

    #[test]
    fn integers_order_as_integers(a in any::<i64>(), b in any::<i64>()) {
        prop_assert_eq!(Number::from(a).cmp(&Number::from(b)), a.cmp(&b));
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        sign in prop_oneof![Just(0x40u8), Just(0x80), Just(0xC0)],
        rest in proptest::collection::vec(any::<u8>(), 0..24),
    ) {
        let mut bytes = vec![sign];
        bytes.extend(rest);
        if let Some((number, length)) = Number::decode_prefix(&bytes) {
            prop_assert_eq!(encoded(&number), &bytes[..length]);
        }
    }

    #[test]
    fn any_text_is_answered(text in "[-+.0-9eE ]{0,60}") {
        if let Ok(number) = text.parse::<Number>() {
            prop_assert_eq!(parse(&number.to_string()), number);
        }
    }
}

#[test]
fn sums_are_exact_or_refused() {
    let number = |text: &str| text.parse::<Number>().unwrap();
    let sum = |one: &str, two: &str| {
        let sum = number(one).plus(number(two)).map_err(|error| error.message().to_owned());
        assert_eq!(sum, number(two).plus(number(one)).map_err(|error| error.message().to_owned()));
        sum.map(|sum| sum.to_string())
    };
    let nines = "9".repeat(38);
    let too_long = Err(crate::message::NUMBER_OVERFLOW.to_owned());
    for (one, two, expected) in [
        ("0.1", "0.2", Ok("0.3")),
        ("5", "-5.0", Ok("0")),
        ("0", "-7", Ok("-7")),
        ("1e-2", "99.99", Ok("100")),
        ("-3", "2.5", Ok("-0.5")),
        (&nines, "1", Ok("100000000000000000000000000000000000000")),
        ("1e38", "-1", Ok(nines.as_str())),
    ] {
        assert_eq!(sum(one, two), expected.map(str::to_owned), "{one} + {two}");
    }
    assert_eq!(sum(&nines, "2"), too_long);
    assert_eq!(sum("1e39", "-1"), too_long);
    assert_eq!(sum("9e38", "-1"), too_long);
    assert_eq!(sum("1e125", "1e-130"), too_long);
    assert_eq!(sum("9e125", "9e125"), Err(crate::message::NUMBER_OVERFLOW.to_owned()));
    assert_eq!(number("5").negated(), number("-5"));
    assert_eq!(Number::ZERO.negated(), Number::ZERO);
}
