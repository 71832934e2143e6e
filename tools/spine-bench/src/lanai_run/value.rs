//! Numbers, bit names, times and bytes as a script writes them.

use lanai_model::registers::isr;
use lanai_model::time::{Rate, Time};

/// A 32-bit number: decimal, 0x, 0b or 0o, `_` anywhere, K or M behind a decimal, a minus for two's complement.
pub(super) fn number(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a number (decimal, 0x..., 0b...)");
    let clean = text.replace('_', "").to_ascii_lowercase();
    let (negative, digits) = match clean.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, clean.as_str()),
    };
    let parse = |digits: &str, radix| {
        u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
    };
    let value = match digits.get(..2) {
        Some("0x") => parse(digits.get(2..).unwrap_or(""), 16),
        Some("0b") => parse(digits.get(2..).unwrap_or(""), 2),
        Some("0o") => parse(digits.get(2..).unwrap_or(""), 8),
        _ => match digits
            .strip_suffix('k')
            .map(|d| (d, 1024))
            .or_else(|| digits.strip_suffix('m').map(|d| (d, 1 << 20)))
        {
            Some((digits, unit)) => parse(digits, 10).and_then(|n| n.checked_mul(unit)),
            None => parse(digits, 10),
        },
    };
    let value = value.ok_or_else(wrong)?;
    let value = u32::try_from(value).map_err(|_| format!("`{text}` does not fit into 32 bits"))?;
    if negative && value > 1 << 31 {
        return Err(format!("`{text}` does not fit into 32 bits"));
    }
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// Numbers and names of ISR bits, joined by `|` or `+`.
pub(super) fn value(text: &str) -> Result<u32, String> {
    let part = |part: &str| match isr::by_name(part) {
        Some(bit) => Ok(bit),
        None => number(part).map_err(|e| {
            if is_name(part) {
                format!("`{part}` is neither a number nor a bit of the ISR")
            } else {
                e
            }
        }),
    };
    text.split(['|', '+']).try_fold(0, |all, piece| Ok(all | part(piece)?))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Whether `word` is a unit of time.
pub(super) fn is_unit(word: &str) -> bool {
    ["ns", "us", "ms", "s", "cycle", "cycles"].iter().any(|unit| unit.eq_ignore_ascii_case(word))
}

/// A length of time: microseconds, with decimals; or with ns, us, ms, s or cycles behind it.
pub(super) fn time(words: &[&str], clock: Rate) -> Result<Time, String> {
    let text = words.concat().to_ascii_lowercase().replace('_', "");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let wrong = || {
        format!("`{}` is not a time (microseconds, or with ns, us, ms, s, cycles)", words.join(" "))
    };
    let picoseconds = match unit {
        "" | "us" => 1_000_000,
        "ns" => 1_000,
        "ms" => 1_000_000_000,
        "s" => 1_000_000_000_000,
        "cycle" | "cycles" => {
            let n: u64 = digits.parse().map_err(|_| wrong())?;
            return limited(clock.duration(n), words);
        }
        _ => return Err(wrong()),
    };
    limited(Time::from_ps(scaled(digits, picoseconds).ok_or_else(wrong)?), words)
}

/// `digits`, a decimal number with or without a point, times `unit`.
fn scaled(digits: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = whole.checked_mul(unit)?;
    let mut digit_unit = unit;
    for digit in fraction.bytes() {
        digit_unit /= 10;
        value = value.checked_add(u64::from(digit - b'0') * digit_unit)?;
    }
    Some(value)
}

/// The longest time that one line may take.
const LONGEST: Time = Time::from_us(1_000_000_000);

fn limited(time: Time, words: &[&str]) -> Result<Time, String> {
    if time > LONGEST {
        return Err(format!("`{}` is too long: at most 1000 s at once", words.join(" ")));
    }
    Ok(time)
}

/// Bytes in hexadecimal, in any grouping of whole bytes: `0102 03`, `0x01 0x02`.
pub(super) fn bytes(words: &[&str]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in words {
        let digits = word
            .strip_prefix("0x")
            .or_else(|| word.strip_prefix("0X"))
            .unwrap_or(word)
            .replace('_', "");
        let wrong = || {
            format!(
                "`{word}` is not bytes in hexadecimal (two digits each, as in `01 02 ff` or `0102ff`)"
            )
        };
        if digits.is_empty()
            || digits.len() % 2 != 0
            || !digits.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(wrong());
        }
        for pair in digits.as_bytes().chunks(2) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            bytes.push(u8::from_str_radix(pair, 16).map_err(|_| wrong())?);
        }
    }
    Ok(bytes)
}

/// `01 02 ff`.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{bytes, number, time, value};
    use lanai_model::time::{Rate, Time};

    #[test]
    fn numbers() {
        let cases = [
            ("10", 10),
            ("0x1F", 31),
            ("0XFFFF_FF44", 0xFFFF_FF44),
            ("0b101", 5),
            ("-1", u32::MAX),
            ("4K", 4096),
            ("1M", 1 << 20),
            ("0o17", 15),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        for text in
            ["", "x", "0x", "0x1_0000_0000", "5000000000", "-", "--1", "1.5", "0xg", "+1", "é"]
        {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_may_be_names_of_bits() {
        assert_eq!(value("DMA_INT|recv_int|0x1000"), Ok(0x1012));
        assert!(value("DMA_INTT").unwrap_err().contains("neither"));
        assert!(value("|").is_err());
    }

    #[test]
    fn times() {
        let clock = Rate::per_second(33_000_000);
        let ok = |words: &[&str]| time(words, clock).unwrap();
        assert_eq!(ok(&["100"]), Time::from_us(100));
        assert_eq!(ok(&["0.5"]), Time::from_ns(500));
        assert_eq!(ok(&["5", "ms"]), Time::from_us(5000));
        assert_eq!(ok(&["33cycles"]), Time::from_us(1));
        for words in [&["-1"][..], &["1x"], &["."], &[], &["99999999999999"], &["1.2.3"]] {
            assert!(time(words, clock).is_err(), "{words:?}");
        }
    }

    #[test]
    fn byte_lists() {
        assert_eq!(bytes(&["0102", "0xff"]), Ok(vec![1, 2, 255]));
        assert!(bytes(&["1"]).is_err() && bytes(&["zz"]).is_err() && bytes(&["é"]).is_err());
    }
}
