//! A second, as signatures and their complaints name it: `20261123T141500Z`.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use time::{Date, Month, OffsetDateTime, Time};

/// A second of the years 0 to 9999, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

impl Moment {
    #[allow(clippy::disallowed_methods, reason = "a request's time is compared with the machine's")]
    pub(crate) fn now() -> Moment {
        Moment::of(SystemTime::now())
    }

    fn of(time: SystemTime) -> Moment {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Moment(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// The moment so many seconds later, or earlier.
    pub(crate) fn plus(self, seconds: i64) -> Moment {
        Moment(self.0.saturating_add(seconds))
    }

    /// `20261123T141500Z`, as `X-Amz-Date` has it.
    pub(crate) fn parse(text: &str) -> Option<Moment> {
        let bytes = text.as_bytes();
        let is_shaped = bytes.len() == 16 && bytes[8] == b'T' && bytes[15] == b'Z';
        if !is_shaped {
            return None;
        }
        let number = |from: usize, to: usize| {
            let digits = &bytes[from..to];
            digits.iter().all(u8::is_ascii_digit).then(|| {
                digits.iter().fold(0_u16, |number, digit| number * 10 + u16::from(digit - b'0'))
            })
        };
        let small = |from| number(from, from + 2).and_then(|number| u8::try_from(number).ok());
        let month = Month::try_from(small(4)?).ok()?;
        let date = Date::from_calendar_date(i32::from(number(0, 4)?), month, small(6)?).ok()?;
        let time = Time::from_hms(small(9)?, small(11)?, small(13)?).ok()?;
        Some(Moment(date.with_time(time).assume_utc().unix_timestamp()))
    }

    /// As the `Date` header has it: one of HTTP's forms, or that of `X-Amz-Date`.
    pub(crate) fn parse_http(text: &str) -> Option<Moment> {
        Moment::parse(text).or_else(|| httpdate::parse_http_date(text).ok().map(Moment::of))
    }

    /// `20261123`.
    pub(crate) fn date(self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only moments that were parsed and the machine's own are printed; one beyond the calendar is its end.
        let time = OffsetDateTime::from_unix_timestamp(self.0)
            .ok()
            .filter(|time| (0..=9999).contains(&time.year()))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }
}
