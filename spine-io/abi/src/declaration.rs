//! Domains that extensions export to each other: what is said of one, in a manifest and in an image.
//!
//! | bytes | field |
//! |---|---|
//! | 0..32 | the domain's name, padded with zero |
//! | 32..34 | number of interfaces, 1 to 32 |
//! | 34..40 | zero |
//! | then 40 for each | name (32), number of parameters (8 bits), which of them have 64 bits (a bit each), result (0 none, 1: 32 bits, 2: 64 bits), zero |
//!
//! Interfaces pass numbers only: what one extension has in its memory stays there (SPINE 3.4). An
//! exporter's manifest has the declaration of its domain; the image of an extension that was linked
//! against it has a copy, and the adapter compares the two byte by byte. Why a copy and not a digest?
//! It is as small as a message or two, needs no hash on the adapter, and what differs can be named.

use crate::bytes::u16_at;
use crate::error::ErrorCode;
use crate::interface::Value;
use crate::limits::{INTERFACES, NAME_BYTES, PARAMETERS};

/// Bytes before the first interface.
pub const FIXED_BYTES: usize = 40;
/// Bytes of each interface.
pub const INTERFACE_BYTES: usize = 40;

/// The type of an interface: parameters and result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    count: u8,
    wide: u8,
    result: Option<Value>,
}

impl Signature {
    /// The signature with these parameters and this result.
    ///
    /// # Panics
    /// Over 8 parameters; in a constant, that is at compile time.
    pub const fn new(parameters: &[Value], result: Option<Value>) -> Self {
        assert!(parameters.len() <= PARAMETERS, "an interface has at most 8 parameters");
        let (mut count, mut wide) = (0, 0);
        while (count as usize) < parameters.len() {
            if matches!(parameters[count as usize], Value::I64) {
                wide |= 1 << count;
            }
            count += 1;
        }
        Self { count, wide, result }
    }

    /// Its parameters, in order.
    pub fn parameters(self) -> impl ExactSizeIterator<Item = Value> {
        (0..self.count).map(move |at| match self.wide >> at & 1 {
            0 => Value::I32,
            _ => Value::I64,
        })
    }

    /// Its result.
    pub const fn result(self) -> Option<Value> {
        self.result
    }
}

/// One interface of an exported domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceDeclaration<'a> {
    /// Its name in the domain.
    pub name: &'a str,
    /// Its type.
    pub signature: Signature,
}

/// A domain and its interfaces, checked; borrows its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainDeclaration<'a> {
    bytes: &'a [u8],
}

impl<'a> DomainDeclaration<'a> {
    /// Checks a declaration that fills `bytes`.
    ///
    /// # Errors
    /// [`ErrorCode::BadImage`]: a wrong length or count, a name that is none ([`is_name`]) or is given
    /// twice, too many parameters, a byte that should be zero.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ErrorCode> {
        match Self::parse_first(bytes)? {
            (declaration, []) => Ok(declaration),
            _ => Err(ErrorCode::BadImage),
        }
    }

    /// Checks the declaration that `bytes` begins with, and gives what comes after it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), ErrorCode> {
        const BAD: ErrorCode = ErrorCode::BadImage;
        let count = usize::from(u16_at(bytes, NAME_BYTES).ok_or(BAD)?);
        if !(1..=INTERFACES).contains(&count) {
            return Err(BAD);
        }
        let (own, rest) = bytes.split_at_checked(length(count)).ok_or(BAD)?;
        let this = Self { bytes: own };
        let sound = name_at(own, 0).is_some_and(is_name)
            && own[NAME_BYTES + 2..FIXED_BYTES].iter().all(|byte| *byte == 0)
            && this.interfaces().count() == count
            && this.interfaces().enumerate().all(|(at, interface)| {
                this.interfaces().take(at).all(|earlier| earlier.name != interface.name)
            });
        if sound { Ok((this, rest)) } else { Err(BAD) }
    }

    /// The domain's name.
    pub fn name(&self) -> &'a str {
        name_at(self.bytes, 0).unwrap_or("")
    }

    /// Its interfaces, in the order of their positions.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceDeclaration<'a>> + use<'a> {
        self.bytes[FIXED_BYTES..].chunks_exact(INTERFACE_BYTES).map_while(interface)
    }

    /// The interface of this name, and its position.
    pub fn find(&self, name: &str) -> Option<(usize, InterfaceDeclaration<'a>)> {
        self.interfaces().enumerate().find(|(_, interface)| interface.name == name)
    }

    /// The bytes it was parsed from.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// One record; `None` if it is not sound.
fn interface(record: &[u8]) -> Option<InterfaceDeclaration<'_>> {
    let name = name_at(record, 0).filter(|name| is_name(name))?;
    let [count, wide, result, zero @ ..] = &record[NAME_BYTES..] else { return None };
    let result = match result {
        0 => None,
        1 => Some(Value::I32),
        2 => Some(Value::I64),
        _ => return None,
    };
    let sound = usize::from(*count) <= PARAMETERS
        && u32::from(*wide) < 1 << *count
        && zero.iter().all(|byte| *byte == 0);
    sound.then_some(InterfaceDeclaration {
        name,
        signature: Signature { count: *count, wide: *wide, result },
    })
}

/// The name in the 32 bytes at `at`: no zero before its end, nothing but zeroes behind it.
fn name_at(bytes: &[u8], at: usize) -> Option<&str> {
    let field = bytes.get(at..at + NAME_BYTES)?;
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
    let padded = field[end..].iter().all(|byte| *byte == 0);
    core::str::from_utf8(&field[..end]).ok().filter(|_| padded)
}

/// Whether a domain or an interface may be called this: a small letter, then small letters, digits and
/// underscores, 32 at most in all.
pub const fn is_name(name: &str) -> bool {
    let name = name.as_bytes();
    if name.is_empty() || name.len() > NAME_BYTES || !name[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 1;
    while at < name.len() {
        if !(name[at].is_ascii_lowercase() || name[at].is_ascii_digit() || name[at] == b'_') {
            return false;
        }
        at += 1;
    }
    true
}

/// Bytes of the declaration of a domain with so many interfaces.
pub const fn length(interfaces: usize) -> usize {
    FIXED_BYTES + interfaces * INTERFACE_BYTES
}

/// Builds a declaration's bytes at compile time; `N` is [`length`] of the number of interfaces.
///
/// # Panics
/// If `N` does not fit, there is none or there are over 32 interfaces, or a name is none: at compile
/// time, in a constant.
pub const fn build<const N: usize>(name: &str, interfaces: &[InterfaceDeclaration<'_>]) -> [u8; N] {
    assert!(N == length(interfaces.len()), "length does not fit the interfaces");
    assert!(!interfaces.is_empty() && interfaces.len() <= INTERFACES, "1 to 32 interfaces");
    let mut out = [0; N];
    put_name(&mut out, 0, name);
    out[NAME_BYTES] = small(interfaces.len());
    let mut i = 0;
    while i < interfaces.len() {
        let InterfaceDeclaration { name, signature } = interfaces[i];
        let at = length(i);
        put_name(&mut out, at, name);
        out[at + NAME_BYTES] = signature.count;
        out[at + NAME_BYTES + 1] = signature.wide;
        out[at + NAME_BYTES + 2] = match signature.result {
            None => 0,
            Some(Value::I32) => 1,
            Some(Value::I64) => 2,
        };
        i += 1;
    }
    out
}

#[expect(clippy::cast_possible_truncation, reason = "at most INTERFACES, which is 32")]
const fn small(interfaces: usize) -> u8 {
    interfaces as u8
}

const fn put_name<const N: usize>(out: &mut [u8; N], at: usize, name: &str) {
    assert!(is_name(name), "a name is a-z, then a-z, 0-9 and _, at most 32 bytes");
    let mut i = 0;
    while i < name.len() {
        out[at + i] = name.as_bytes()[i];
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Value::{I32, I64};

    const COUNT: InterfaceDeclaration<'_> =
        InterfaceDeclaration { name: "count", signature: Signature::new(&[I64, I32], Some(I64)) };
    const RESET: InterfaceDeclaration<'_> =
        InterfaceDeclaration { name: "reset", signature: Signature::new(&[], None) };
    const FLOW: [u8; length(2)] = build("flow", &[COUNT, RESET]);

    #[test]
    fn what_was_built_is_read_back() {
        let flow = DomainDeclaration::parse(&FLOW).unwrap();
        assert_eq!(flow.name(), "flow");
        assert!(flow.interfaces().eq([COUNT, RESET]));
        assert!(COUNT.signature.parameters().eq([I64, I32]));
        assert_eq!(flow.find("reset"), Some((1, RESET)));
        assert_eq!(flow.find("rese"), None);
    }

    #[test]
    fn every_single_wrong_field_is_refused() {
        let wrong = |change: fn(&mut [u8])| {
            let mut bytes = FLOW;
            change(&mut bytes);
            assert_eq!(DomainDeclaration::parse(&bytes), Err(ErrorCode::BadImage));
        };
        wrong(|b| b[0] = b'F');
        wrong(|b| b[0] = 0);
        wrong(|b| b[10] = b'x');
        wrong(|b| b[32] = 0);
        wrong(|b| b[32] = 1);
        wrong(|b| b[33] = 1);
        wrong(|b| b[39] = 1);
        wrong(|b| b[40] = b'-');
        wrong(|b| b[72] = 9);
        wrong(|b| b[73] = 4);
        wrong(|b| b[74] = 3);
        wrong(|b| b[79] = 1);
        wrong(|b| b.copy_within(40..80, 80));
        for cut in 0..FLOW.len() {
            assert!(DomainDeclaration::parse(&FLOW[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn names_are_plain() {
        for good in ["a", "flow", "flow_2", "a234567890123456789012345678901z"] {
            assert!(is_name(good), "{good}");
        }
        for bad in
            ["", "2a", "_a", "a-b", "a.b", "spine:net", "A", "a234567890123456789012345678901zz"]
        {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn several_stand_behind_each_other() {
        let both = [FLOW, FLOW].concat();
        let (first, rest) = DomainDeclaration::parse_first(&both).unwrap();
        assert_eq!((first.as_bytes(), rest), (&FLOW[..], &FLOW[..]));
        assert!(DomainDeclaration::parse(&both).is_err());
    }
}
