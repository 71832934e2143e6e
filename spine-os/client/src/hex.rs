//! Hexadecimal digits: how keys stand in files, and arguments in the control protocol.

use std::fmt::Write as _;

/// Two lower-case digits for each byte.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The bytes behind pairs of digits; `None` where something else stands, or half a pair.
pub fn decode(digits: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut pairs = digits.as_bytes().chunks_exact(2);
    let bytes = pairs.by_ref().map(|pair| match pair {
        [high, low] => Some((digit(high)? << 4) | digit(low)?),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes.filter(|_| pairs.remainder().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_and_anything_else_is_refused() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).as_deref(), Some(all.as_slice()));
        assert_eq!(decode("00fFA0"), Some(vec![0, 0xff, 0xa0]));
        assert_eq!(decode(""), Some(vec![]));
        for wrong in ["0", "000", "0g", "+1", " 1", "äö"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
