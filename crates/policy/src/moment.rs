//! Points in time as conditions write them.
//!
//! Source: IAM User Guide, "Date condition operators": a date of the W3C profile of ISO 8601, or
//! seconds since 1970.

use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

/// Nanoseconds since 1970.
pub(crate) fn parse(text: &str) -> Option<i128> {
    match text.bytes().filter(u8::is_ascii_digit).count() {
        // Four digits are a year, as the profile has it; any other whole number is seconds.
        digits if digits == text.len() && digits != 4 => {
            text.parse::<i64>().ok().map(|s| i128::from(s) * 1_000_000_000)
        }
        _ if text.starts_with('-') => text.parse::<i64>().ok().map(|s| i128::from(s) * 1_000_000_000),
        _ => iso(text),
    }
}

/// `YYYY[-MM[-DD[Thh:mm[:ss[.fff]](Z|±hh:mm)]]]`
fn iso(text: &str) -> Option<i128> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut fields = date.split('-');
    let year = digits(fields.next()?, 4)?;
    let month = fields.next().map_or(Some(1), |month| digits(month, 2))?;
    let day = fields.next().map_or(Some(1), |day| digits(day, 2))?;
    if fields.next().is_some() || (time.is_some() && date.len() != "YYYY-MM-DD".len()) {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    let (time, offset) = time.map_or(Some((Time::MIDNIGHT, UtcOffset::UTC)), clock)?;
    Some(PrimitiveDateTime::new(date, time).assume_offset(offset).unix_timestamp_nanos())
}

fn clock(text: &str) -> Option<(Time, UtcOffset)> {
    // The offset may not be left out: a time without it means different moments to different readers.
    let (time, offset) = match text.strip_suffix('Z') {
        Some(time) => (time, UtcOffset::UTC),
        None => {
            let at = text.rfind(['+', '-'])?;
            let (hours, minutes) = text[at + 1..].split_once(':')?;
            let (hours, minutes) = (i8::try_from(digits(hours, 2)?).ok()?, i8::try_from(digits(minutes, 2)?).ok()?);
            let sign = if text[at..].starts_with('-') { -1 } else { 1 };
            (&text[..at], UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()?)
        }
    };
    let (time, fraction) = time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    let mut fields = time.split(':');
    let mut next = || fields.next().map(|field| digits(field, 2).and_then(|n| u8::try_from(n).ok()));
    let (hour, minute, second) = (next()??, next()??, next());
    if fields.next().is_some() || (fraction.is_some() && second.is_none()) {
        return None;
    }
    let nanos = match fraction {
        Some(fraction) if (1..=9).contains(&fraction.len()) => digits(&format!("{fraction:0<9}"), 9)?,
        Some(_) => return None,
        None => 0,
    };
    let second = second.unwrap_or(Some(0))?;
    Some((Time::from_hms_nano(hour, minute, second, nanos).ok()?, offset))
}

/// Exactly so many digits, and no sign.
fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn moments_are_read_or_refused() {
        let second = 1_000_000_000;
        for (text, expected) in [
            ("0", 0),
            ("-1", -second),
            ("1700000000", 1_700_000_000 * second),
            ("1970", 0),
            ("1970-02", 31 * 86_400 * second),
            ("1970-01-02", 86_400 * second),
            ("1970-01-01T00:01Z", 60 * second),
            ("1970-01-01T00:00:01Z", second),
            ("1970-01-01T00:00:01.5Z", second + second / 2),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T19:00:00-05:00", 0),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "x",
            "-",
            "1970-13",
            "1970-02-30",
            "1970-1-1",
            "1970-01-01T",
            "1970-01-01T00:00:00",
            "1970-01T00:00Z",
            "1970-01-01T24:00Z",
            "1970-01-01T00:00.5Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+1:00",
            "+1970",
            "1970-01-01 00:00:00Z",
            "99999999999999999999",
            "1970-01-01T00:00é:00",
            "1970-01-01T00:00:00+é:00",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
