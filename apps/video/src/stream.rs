//! A stream to receive: where it comes in, and what its pictures are.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::colour::{Colorimetry, Range};
use crate::format::{Format, Size};

/// One stream, complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The UDP port.
    pub port: u16,
    /// The group, or the one of our addresses, that it is sent to; `None`: whichever address of ours.
    pub address: Option<Ipv4Addr>,
    /// The only host it is taken from; `None`: anybody.
    pub source: Option<Ipv4Addr>,
    /// The RTP payload type; `None`: the first one that comes.
    pub payload_type: Option<u8>,
    /// Its pixels.
    pub format: Format,
    /// Its pictures.
    pub size: Size,
    /// The matrix its YCbCr was made with.
    pub colorimetry: Colorimetry,
    /// The range its YCbCr uses.
    pub range: Range,
}

impl Stream {
    /// The group it is sent to, if it is.
    pub fn group(&self) -> Option<Ipv4Addr> {
        self.address.filter(Ipv4Addr::is_multicast)
    }

    /// What is wrong with it, in one sentence.
    ///
    /// # Errors
    /// A port of zero, a width that the format cannot have, a source that is a group.
    pub fn check(&self) -> Result<(), String> {
        if self.port == 0 {
            return Err("port 0 is no port to receive on".to_owned());
        }
        if let Some(source) = self.source.filter(Ipv4Addr::is_multicast) {
            return Err(format!("the source {source} is a group, and groups send nothing"));
        }
        self.size.check(self.format)
    }
}

/// As it is named in windows' titles and statistics.
impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{address}:")?;
        }
        write!(f, "{} {} {}", self.port, self.format, self.size)
    }
}

/// What `--stream PORT:FORMAT:WxH[@ADDRESS[/SOURCE]]` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// The UDP port.
    pub port: u16,
    /// The format.
    pub format: Format,
    /// The size.
    pub size: Size,
    /// The group or address.
    pub address: Option<Ipv4Addr>,
    /// The only sender.
    pub source: Option<Ipv4Addr>,
}

impl FromStr for Short {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, whence) = match text.split_once('@') {
            Some((what, whence)) => (what, Some(whence)),
            None => (text, None),
        };
        let mut parts = what.split(':');
        let (Some(port), Some(format), Some(size), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(format!("{text:?}: write PORT:FORMAT:WIDTHxHEIGHT, as 5004:UYVY:1280x720"));
        };
        let port = port.parse().map_err(|_| format!("{port:?} is no port: take 1 to 65535"))?;
        let ipv4 = |text: &str| {
            text.parse::<Ipv4Addr>().map_err(|_| format!("{text:?} is no IPv4 address"))
        };
        let (address, source) = match whence.map(|whence| whence.split_once('/').ok_or(whence)) {
            None => (None, None),
            Some(Err(address)) => (Some(ipv4(address)?), None),
            Some(Ok((address, source))) => (Some(ipv4(address)?), Some(ipv4(source)?)),
        };
        Ok(Self { port, format: format.parse()?, size: size.parse()?, address, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_is_read() {
        let short: Short = "5004:uyvy:1280x720@239.77.0.1/10.0.0.1".parse().unwrap();
        assert_eq!(short.port, 5004);
        assert_eq!(short.format, Format::Uyvy);
        assert_eq!(short.size.to_string(), "1280x720");
        assert_eq!(short.address, Some(Ipv4Addr::new(239, 77, 0, 1)));
        assert_eq!(short.source, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert!("5004:RGB:2x2".parse::<Short>().unwrap().address.is_none());
        for wrong in [
            "",
            "5004",
            "5004:RGB",
            "x:RGB:2x2",
            "5004:I420:2x2",
            "5004:RGB:2",
            "1:RGB:2x2@x",
            "1:RGB:2x2:3",
        ] {
            assert!(wrong.parse::<Short>().is_err(), "{wrong}");
        }
    }
}
