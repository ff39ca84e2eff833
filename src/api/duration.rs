//! Durations as Go writes them, such as `90s`, `1m30s`, `1.5h`: the syntax of the timer fields of this API.

/// Reads a Go duration (`time.ParseDuration`) as nanoseconds.
///
/// An optional sign, then one or more decimal numbers, each with an optional fraction and a unit: `ns`, `us` (also with
/// the micro sign or the Greek mu), `ms`, `s`, `m` or `h`. `0` alone needs no unit. What is finer than a nanosecond is
/// cut off.
///
/// # Errors
/// A sentence that says what is wrong, where the text is no such duration or doesn't fit into 64 bits (about 292 years).
pub fn parse_go_duration(text: &str) -> Result<i64, String> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(format!("{text:?} is no duration; write a number and a unit, such as 90s or 1m30s"));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(format!("{text:?} is no duration: a number is missing at {rest:?}"));
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end).unwrap_or((after, ""));
        let Some(nanoseconds) = unit_of(unit) else {
            return Err(if unit.is_empty() {
                format!("{text:?} has a number without a unit; write for example {text}s for seconds")
            } else {
                format!("{text:?} has the unknown unit {unit:?}; there are ns, us, ms, s, m and h")
            });
        };
        total = part(whole, fraction, nanoseconds)
            .and_then(|p| total.checked_add(p))
            .ok_or_else(|| too_long(text))?;
        rest = after;
    }
    let signed = if negative { 0_i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() };
    signed.ok_or_else(|| too_long(text))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn unit_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `whole.fraction` times `unit` nanoseconds; `None` where it doesn't fit.
fn part(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // An hour has fewer than 10^13 nanoseconds, so digits after the 18th can't count.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let numerator: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let below = u64::try_from(numerator.checked_mul(u128::from(unit))? / scale).ok()?;
    whole.checked_mul(unit)?.checked_add(below)
}

fn too_long(text: &str) -> String {
    format!("{text:?} is too long a duration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("90s", 90_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("-1.5s", -1_500_000_000),
            ("+5s", 5_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1us", 1_000),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("3ms4ns", 3_000_004),
            ("1.9ns", 1),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("2562047h47m16.854775807s", i64::MAX),
            ("-2562047h47m16.854775808s", i64::MIN),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_go_duration(text), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in [
            "",
            "-",
            "+",
            "90",
            "s",
            ".s",
            "1x",
            "1d",
            "1 s",
            " 1s",
            "1s ",
            "1,5s",
            "--1s",
            "1s-1s",
            "soon",
            "1e3s",
            "1S",
            "9223372036854775808ns",
            "2562048h",
            "99999999999999999999s",
            "\u{660}s",
            "1\u{e9}",
        ] {
            assert!(parse_go_duration(text).is_err(), "{text}");
        }
    }
}
