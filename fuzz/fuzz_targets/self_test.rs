//! A planted bug behind two comparisons, which chance alone does not pass: a fuzzer that finds it is guided by coverage
//! and by the values that are compared. Built and run by `scripts/fuzz.sh --self-test`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let [b'E', b's', b'k', b'r', number @ ..] = data
        && let Some(number) = number.first_chunk::<4>()
    {
        assert!(u32::from_le_bytes(*number) != 0x0bad_5eed, "the planted bug");
    }
});
