//! The manifest: what an extension says of itself, in its custom section `spine.manifest`.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `SPNM` |
//! | 4..6 | version of this ABI |
//! | 6..8 | number of handlers, 1 to 64 |
//! | 8..12 | domains it wants to be linked against |
//! | 12..14 | regions it wants |
//! | 14..16 | bytes of the declaration of the domain it exports, zero for none |
//! | 16..48 | name, UTF-8, padded with zero |
//! | then 8 for each handler | number, prefix, writeback, zero (16 bits each) |
//! | then | the [declaration](crate::declaration) |

use crate::bytes::{u16_at, u32_at};
use crate::declaration::DomainDeclaration;
use crate::error::ErrorCode;
use crate::handler::HandlerNumber;
use crate::interface::Domains;
use crate::limits::{
    ARGUMENT_BYTES, HANDLER_NUMBERS, HANDLERS, MESSAGE_BYTES, NAME_BYTES, PREFIX_BYTES, REGIONS,
    SLOT_ALIGN,
};

/// The name of the custom section.
pub const SECTION: &str = "spine.manifest";
/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"SPNM";
/// The version of everything in this crate that an extension can see.
pub const ABI_VERSION: u16 = 1;
/// Bytes before the first handler.
pub const FIXED_BYTES: usize = 48;
/// Bytes of each handler.
pub const HANDLER_BYTES: usize = 8;

/// What a handler asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerDeclaration {
    /// Its number.
    pub number: HandlerNumber,
    /// Bytes of a packet it wants to see in its slot.
    pub prefix: u16,
    /// Bytes of the slot copied back to the packet when it is sent on; at most `prefix`.
    pub writeback: u16,
}

/// A manifest that was checked; borrows its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest<'a> {
    bytes: &'a [u8],
    handlers: usize,
    exports: Option<DomainDeclaration<'a>>,
}

impl<'a> Manifest<'a> {
    /// Checks the bytes of the custom section.
    ///
    /// # Errors
    /// [`ErrorCode::BadImage`]: wrong magic, version or length, a count over its limit, an unknown
    /// domain, a name that is not UTF-8, a handler number of zero, over 1023 or given twice, a prefix over the
    /// frame, a writeback over the prefix, an exported domain whose declaration is not sound.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ErrorCode> {
        const BAD: ErrorCode = ErrorCode::BadImage;
        let handlers = usize::from(u16_at(bytes, 6).ok_or(BAD)?);
        let end = FIXED_BYTES + handlers * HANDLER_BYTES;
        let declared = usize::from(u16_at(bytes, 14).ok_or(BAD)?);
        if bytes.len() != end + declared {
            return Err(BAD);
        }
        let exports = match &bytes[end..] {
            [] => None,
            declaration => Some(DomainDeclaration::parse(declaration)?),
        };
        let manifest = Self { bytes, handlers, exports };
        let sound = bytes[..4] == MAGIC
            && u16_at(bytes, 4) == Some(ABI_VERSION)
            && (1..=HANDLERS).contains(&handlers)
            && Domains::all().contains_all(manifest.domains())
            && manifest.regions() <= REGIONS
            && core::str::from_utf8(manifest.name_bytes()).is_ok()
            && manifest.handlers_sound();
        if sound { Ok(manifest) } else { Err(BAD) }
    }

    fn handlers_sound(&self) -> bool {
        self.handlers().enumerate().all(|(i, handler)| {
            handler.number.is_some()
                && usize::from(handler.number.0) < HANDLER_NUMBERS
                && usize::from(handler.prefix) <= PREFIX_BYTES
                && handler.writeback <= handler.prefix
                && u16_at(self.bytes, FIXED_BYTES + i * HANDLER_BYTES + 6) == Some(0)
                && self.handlers().take(i).all(|earlier| earlier.number != handler.number)
        })
    }

    fn name_bytes(&self) -> &'a [u8] {
        let field = &self.bytes[16..16 + NAME_BYTES];
        let end = field.iter().position(|b| *b == 0).unwrap_or(NAME_BYTES);
        &field[..end]
    }

    /// The extension's name.
    pub fn name(&self) -> &'a str {
        core::str::from_utf8(self.name_bytes()).unwrap_or("")
    }

    /// The domains it wants.
    pub fn domains(&self) -> Domains {
        Domains(u32_at(self.bytes, 8).unwrap_or(0))
    }

    /// How many regions it wants.
    pub fn regions(&self) -> usize {
        usize::from(u16_at(self.bytes, 12).unwrap_or(0))
    }

    /// Its handlers.
    pub fn handlers(&self) -> impl Iterator<Item = HandlerDeclaration> + use<'a> {
        let bytes = self.bytes;
        (0..self.handlers).map_while(move |i| {
            let at = FIXED_BYTES + i * HANDLER_BYTES;
            Some(HandlerDeclaration {
                number: HandlerNumber(u16_at(bytes, at)?),
                prefix: u16_at(bytes, at + 2)?,
                writeback: u16_at(bytes, at + 4)?,
            })
        })
    }

    /// The domain it exports to other extensions.
    pub const fn exports(&self) -> Option<DomainDeclaration<'a>> {
        self.exports
    }

    /// Bytes from one slot to the next: the message, and what the largest prefix needs beyond the
    /// arguments, rounded up to whole cache lines.
    pub fn slot_stride(&self) -> usize {
        let prefix = self.handlers().map(|h| usize::from(h.prefix)).max().unwrap_or(0);
        slot_stride(prefix)
    }

    /// The bytes it was parsed from.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Bytes from one slot to the next where the largest prefix is `prefix`.
pub const fn slot_stride(prefix: usize) -> usize {
    (MESSAGE_BYTES + prefix.saturating_sub(ARGUMENT_BYTES)).next_multiple_of(SLOT_ALIGN)
}

/// Builds a manifest's bytes at compile time; `N` is `FIXED_BYTES + handlers * HANDLER_BYTES`.
///
/// # Panics
/// If `N` does not fit the handlers or the name is too long: at compile time, in a constant.
pub const fn build<const N: usize>(
    name: &str,
    domains: Domains,
    regions: u16,
    handlers: &[HandlerDeclaration],
) -> [u8; N] {
    build_exporting(name, domains, regions, handlers, &[])
}

/// The same for an extension that exports a domain: `exports` is its declaration, whose bytes `N` has
/// room for, too.
///
/// # Panics
/// As [`build`].
pub const fn build_exporting<const N: usize>(
    name: &str,
    domains: Domains,
    regions: u16,
    handlers: &[HandlerDeclaration],
    exports: &[u8],
) -> [u8; N] {
    let end = FIXED_BYTES + handlers.len() * HANDLER_BYTES;
    assert!(N == end + exports.len(), "length does not fit the handlers and the exports");
    assert!(name.len() <= NAME_BYTES, "name longer than 32 bytes");
    let mut out = [0u8; N];
    put(&mut out, 0, &MAGIC);
    put(&mut out, 4, &ABI_VERSION.to_le_bytes());
    assert!(handlers.len() <= HANDLERS, "more than 64 handlers");
    put(&mut out, 6, &handler_count(handlers.len()).to_le_bytes());
    put(&mut out, 8, &domains.0.to_le_bytes());
    put(&mut out, 12, &regions.to_le_bytes());
    put(&mut out, 14, &declaration_bytes(exports.len()).to_le_bytes());
    put(&mut out, 16, name.as_bytes());
    let mut i = 0;
    while i < handlers.len() {
        let at = FIXED_BYTES + i * HANDLER_BYTES;
        put(&mut out, at, &handlers[i].number.0.to_le_bytes());
        put(&mut out, at + 2, &handlers[i].prefix.to_le_bytes());
        put(&mut out, at + 4, &handlers[i].writeback.to_le_bytes());
        i += 1;
    }
    put(&mut out, end, exports);
    out
}

#[expect(clippy::cast_possible_truncation, reason = "checked just now")]
const fn declaration_bytes(bytes: usize) -> u16 {
    assert!(bytes <= u16::MAX as usize, "a declaration has at most 32 interfaces");
    bytes as u16
}

#[expect(clippy::cast_possible_truncation, reason = "at most HANDLERS, which is 64")]
const fn handler_count(handlers: usize) -> u16 {
    handlers as u16
}

const fn put<const N: usize>(out: &mut [u8; N], at: usize, bytes: &[u8]) {
    let mut i = 0;
    while i < bytes.len() {
        out[at + i] = bytes[i];
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::{self, InterfaceDeclaration, Signature};
    use crate::interface::{Domain, Value};

    const FORWARD: HandlerDeclaration =
        HandlerDeclaration { number: HandlerNumber(1), prefix: 64, writeback: 34 };

    fn sample() -> [u8; FIXED_BYTES + HANDLER_BYTES] {
        build("router", Domains::CORE.with(Domain::Peer), 1, &[FORWARD])
    }

    #[test]
    fn what_was_built_is_read_back() {
        let bytes = sample();
        let manifest = Manifest::parse(&bytes).unwrap();
        assert_eq!(manifest.name(), "router");
        assert!(manifest.domains().contains(Domain::Peer));
        assert_eq!(manifest.regions(), 1);
        assert!(manifest.handlers().eq([FORWARD]));
        assert_eq!(manifest.slot_stride(), 256);
    }

    #[test]
    fn every_single_wrong_field_is_refused() {
        let wrong = |change: fn(&mut [u8])| {
            let mut bytes = sample();
            change(&mut bytes);
            assert_eq!(Manifest::parse(&bytes), Err(ErrorCode::BadImage));
        };
        wrong(|b| b[0] = 0);
        wrong(|b| b[4] = 99);
        wrong(|b| b[6] = 2);
        wrong(|b| b[11] = 0x80);
        wrong(|b| b[12] = 200);
        wrong(|b| b[14] = 1);
        wrong(|b| b[16] = 0xff);
        wrong(|b| b[48] = 0);
        wrong(|b| b[51] = 0xff);
        wrong(|b| b[52] = 65);
        wrong(|b| b[54] = 1);
        for cut in 0..FIXED_BYTES + HANDLER_BYTES {
            assert!(Manifest::parse(&sample()[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn an_exported_domain_stands_behind_the_handlers() {
        const TOTAL: InterfaceDeclaration<'_> = InterfaceDeclaration {
            name: "total",
            signature: Signature::new(&[], Some(Value::I64)),
        };
        const FLOW: [u8; declaration::length(1)] = declaration::build("flow", &[TOTAL]);
        const LENGTH: usize = FIXED_BYTES + HANDLER_BYTES + FLOW.len();
        let bytes: [u8; LENGTH] = build_exporting("flows", Domains::CORE, 0, &[FORWARD], &FLOW);
        let exports = Manifest::parse(&bytes).unwrap().exports().unwrap();
        assert_eq!(exports.as_bytes(), FLOW);
        assert_eq!(Manifest::parse(&sample()).unwrap().exports(), None);
        for cut in 0..LENGTH {
            assert!(Manifest::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut nameless = bytes;
        nameless[FIXED_BYTES + HANDLER_BYTES] = 0;
        assert!(Manifest::parse(&nameless).is_err());
    }
}
