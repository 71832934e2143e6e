//! What may be asked for: a backend, and how AF_XDP gets an interface's packets.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What moves packets between an interface and its adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// AF_XDP where it can be had, else AF_PACKET.
    #[default]
    Auto,
    /// AF_XDP or nothing.
    Xdp,
    /// AF_PACKET.
    Packet,
}

/// How AF_XDP gets the packets of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// At the driver where it can, without copies where all interfaces can, else generic.
    #[default]
    Auto,
    /// At the driver or not at all.
    Native,
    /// At the driver, into our frames, or not at all.
    ZeroCopy,
    /// At the driver, copied.
    Copy,
    /// Behind the kernel's packet buffers, copied.
    Generic,
}

impl Mode {
    /// All of them, in the order in which people should read them.
    pub const ALL: [Self; 5] =
        [Self::Auto, Self::Native, Self::ZeroCopy, Self::Copy, Self::Generic];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
            Self::Generic => "generic",
        }
    }

    /// Whether an interface in this mode may do without copies.
    pub(super) fn may_be_without_copies(self) -> bool {
        matches!(self, Self::Auto | Self::Native | Self::ZeroCopy)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No mode has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mode: say auto, native, zero-copy, copy or generic, or INTERFACE=MODE")]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == name);
        found.ok_or_else(|| UnknownMode(name.to_owned()))
    }
}

/// The mode of each interface: one for all, and others by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modes {
    general: Mode,
    particular: BTreeMap<String, Mode>,
}

impl From<Mode> for Modes {
    fn from(general: Mode) -> Self {
        Self { general, particular: BTreeMap::new() }
    }
}

impl Modes {
    /// As people say them, each `MODE` or `INTERFACE=MODE`; of two for the same the later holds.
    ///
    /// # Errors
    /// [`UnknownMode`].
    pub fn parse<Word: AsRef<str>>(words: &[Word]) -> Result<Self, UnknownMode> {
        let mut modes = Self::default();
        for word in words {
            match word.as_ref().rsplit_once('=') {
                None => modes.general = word.as_ref().parse()?,
                Some((interface, mode)) => {
                    modes.particular.insert(interface.to_owned(), mode.parse()?);
                }
            }
        }
        Ok(modes)
    }

    /// That of an interface.
    pub fn of(&self, interface: &str) -> Mode {
        self.particular.get(interface).copied().unwrap_or(self.general)
    }

    /// The interfaces that are named.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.particular.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_for_all_and_for_one() {
        let modes = Modes::parse(&["copy", "lan1=generic", "lan2.5=zero-copy"]).unwrap();
        assert_eq!(modes.of("lan0"), Mode::Copy);
        assert_eq!(modes.of("lan1"), Mode::Generic);
        assert_eq!(modes.of("lan2.5"), Mode::ZeroCopy);
        assert_eq!(Modes::parse::<&str>(&[]).unwrap().of("lan0"), Mode::Auto);
    }

    #[test]
    fn what_is_no_mode_is_named() {
        for word in ["fast", "lan0=", "=", ""] {
            assert!(Modes::parse(&[word]).is_err(), "{word:?}");
        }
        let error = Modes::parse(&["lan0=fast"]).unwrap_err().to_string();
        assert!(error.starts_with("\"fast\" is no mode: say auto"), "{error}");
    }

    #[test]
    fn every_mode_is_read_back_by_its_name() {
        for mode in Mode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
    }
}
