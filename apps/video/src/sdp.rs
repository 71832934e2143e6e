//! Session descriptions: what a sender says of its streams (RFC 8866, RFC 4175 section 6, ST 2110-20).
//!
//! Senders differ: ffmpeg gives neither colorimetry nor rate, broadcast gear gives ten parameters more. So
//! names are read without regard to case, what is unknown is passed over, and only what cannot be shown is
//! refused, with a sentence.

use std::net::Ipv4Addr;

use sdp_types::{Attribute, Connection, Media, MediaType, Origin, Session, TransportProto};

use crate::colour::{Colorimetry, Range};
use crate::format::{Format, Size};
use crate::stream::Stream;

/// Why a description is of no use: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SdpError(String);

fn refuse<T>(sentence: impl Into<String>) -> Result<T, SdpError> {
    Err(SdpError(sentence.into()))
}

/// The raw video streams of a description; what is no video (sound, data) is passed over.
///
/// # Errors
/// [`SdpError`]: it cannot be read, has no raw video, or video we do not show.
pub fn parse(text: &[u8]) -> Result<Vec<Stream>, SdpError> {
    // Pasted descriptions begin and end with empty lines.
    let session = Session::parse(text.trim_ascii())
        .map_err(|error| SdpError(format!("it is no session description: {error}")))?;
    let streams: Vec<Stream> = session
        .medias
        .iter()
        .filter(|media| media.media.eq_ignore_ascii_case("video"))
        .map(|media| stream(&session, media))
        .collect::<Result<_, _>>()?;
    if streams.is_empty() { refuse("it describes no video") } else { Ok(streams) }
}

fn stream(session: &Session, media: &Media) -> Result<Stream, SdpError> {
    let first = media.fmt.split_whitespace().next().unwrap_or_default();
    let Some(payload_type) = first.parse::<u8>().ok().filter(|number| *number < 128) else {
        return refuse(format!("{first:?} is no RTP payload type"));
    };
    let encoding = of_payload(media, "rtpmap", payload_type).unwrap_or_default();
    let name = encoding.split('/').next().unwrap_or_default().trim();
    if !name.eq_ignore_ascii_case("raw") {
        return refuse(format!("its video is {name:?}, and only raw video (RFC 4175) is shown"));
    }
    let parameters = of_payload(media, "fmtp", payload_type).unwrap_or_default();
    let size = size(parameters)?;
    let format = format(parameters)?;
    if parameter(parameters, "interlace").is_some() {
        return refuse("its video is interlaced, and only progressive video is shown");
    }
    let connection = media.connections.first().or(session.connection.as_ref());
    let stream = Stream {
        port: media.port,
        address: connection.map(address).transpose()?.flatten(),
        source: source(media).or_else(|| source_of(session.attributes.iter())),
        payload_type: Some(payload_type),
        format,
        size,
        colorimetry: colorimetry(parameters, size),
        range: range(parameters),
    };
    stream.check().map_err(SdpError)?;
    Ok(stream)
}

/// What follows the payload type in `rtpmap` or `fmtp`.
fn of_payload<'a>(media: &'a Media, name: &'a str, payload_type: u8) -> Option<&'a str> {
    media.get_attribute_values(name).flatten().find_map(|value| {
        let (number, rest) = value.trim().split_once(char::is_whitespace)?;
        (number.parse() == Ok(payload_type)).then_some(rest)
    })
}

/// A parameter of `fmtp`: its value, empty if it has none.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|part| {
        let (found, value) = part.split_once('=').unwrap_or((part, ""));
        found.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn size(parameters: &str) -> Result<Size, SdpError> {
    let side = |name| parameter(parameters, name).unwrap_or_default();
    let (width, height) = (side("width"), side("height"));
    format!("{width}x{height}").parse().map_err(|_| {
        SdpError(format!("its pictures are {width:?} by {height:?} pixels, which cannot be shown"))
    })
}

fn format(parameters: &str) -> Result<Format, SdpError> {
    let sampling = parameter(parameters, "sampling").unwrap_or_default();
    let depth = parameter(parameters, "depth").unwrap_or("8");
    let fits = |format: &Format| {
        format.sampling().eq_ignore_ascii_case(sampling) && format.depth().to_string() == depth
    };
    Format::ALL.into_iter().find(fits).ok_or_else(|| {
        SdpError(format!(
            "its video is {sampling} with {depth} bits, and only BGRA and RGB with 8 and YCbCr-4:2:2 \
             with 8 or 10 bits are shown"
        ))
    })
}

fn colorimetry(parameters: &str, size: Size) -> Colorimetry {
    let named = parameter(parameters, "colorimetry").unwrap_or_default().to_ascii_uppercase();
    match named.as_str() {
        "BT601-5" | "BT601" => Colorimetry::Bt601,
        "BT709-2" | "BT709" => Colorimetry::Bt709,
        _ => Colorimetry::usual(size.height()),
    }
}

fn range(parameters: &str) -> Range {
    match parameter(parameters, "RANGE") {
        Some(range) if range.to_ascii_uppercase().starts_with("FULL") => Range::Full,
        _ => Range::Narrow,
    }
}

/// The address of a connection; `None` for "anywhere here", such as 0.0.0.0.
fn address(connection: &Connection) -> Result<Option<Ipv4Addr>, SdpError> {
    let text = connection.connection_address.split('/').next().unwrap_or_default();
    match text.parse::<Ipv4Addr>() {
        Ok(address) if address.is_unspecified() => Ok(None),
        Ok(address) => Ok(Some(address)),
        Err(_) => refuse(format!("it is sent to {text}, and only IPv4 addresses are received")),
    }
}

/// The one host of a `source-filter` that includes (RFC 4570).
fn source(media: &Media) -> Option<Ipv4Addr> {
    source_of(media.attributes.iter())
}

fn source_of<'a>(attributes: impl Iterator<Item = &'a Attribute>) -> Option<Ipv4Addr> {
    let mut filters = attributes
        .filter(|attribute| attribute.attribute.eq_ignore_ascii_case("source-filter"))
        .filter_map(|attribute| attribute.value.as_deref());
    filters.find_map(|filter| {
        let words: Vec<&str> = filter.split_whitespace().collect();
        match words.as_slice() {
            [mode, _, _, _, source] if mode.eq_ignore_ascii_case("incl") => source.parse().ok(),
            _ => None,
        }
    })
}

/// Describes a stream that is sent to `address`, at `rate` pictures a second.
pub fn describe(stream: &Stream, address: Ipv4Addr, rate: u32) -> String {
    let payload_type = stream.payload_type.unwrap_or(96);
    let mut parameters = format!(
        "{payload_type} sampling={}; width={}; height={}; depth={}; exactframerate={rate}",
        stream.format.sampling(),
        stream.size.width(),
        stream.size.height(),
        stream.format.depth(),
    );
    if stream.format.is_ycbcr() {
        parameters += match stream.colorimetry {
            Colorimetry::Bt601 => "; colorimetry=BT601",
            Colorimetry::Bt709 => "; colorimetry=BT709",
        };
        parameters += match stream.range {
            Range::Narrow => "; RANGE=NARROW",
            Range::Full => "; RANGE=FULL",
        };
    }
    let hops = address.is_multicast().then_some(4);
    let mut media = Media::new(MediaType::Video, stream.port, TransportProto::RtpAvp, payload_type);
    media.connections.push(Connection::from_ip_addr_ttl(address, hops));
    for (name, value) in [("rtpmap", format!("{payload_type} raw/90000")), ("fmtp", parameters)] {
        media.attributes.push(Attribute { attribute: name.to_owned(), value: Some(value) });
    }
    let mut session =
        Session::new(Origin::with_ip_addr(0, 0, Ipv4Addr::LOCALHOST), "spine-video send");
    session.medias.push(media);
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = session.write(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Stream, String> {
        parse(text.as_bytes()).map(|streams| streams[0]).map_err(|error| error.to_string())
    }

    /// What ffmpeg 5.1 writes: neither colorimetry nor rate.
    const FFMPEG: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 10.77.0.2\r\nt=0 0\r\n\
        a=tool:libavformat LIBAVFORMAT_VERSION\r\nm=video 5004 RTP/AVP 96\r\nb=AS:147456\r\n\
        a=rtpmap:96 raw/90000\r\na=fmtp:96 sampling=YCbCr-4:2:2; width=640; height=480; depth=8\r\n";

    /// In the manner of ST 2110 senders.
    const BROADCAST: &str = "v=0\no=- 1 1 IN IP4 192.168.1.9\ns=camera\nt=0 0\n\
        m=audio 5010 RTP/AVP 97\na=rtpmap:97 L24/48000/2\n\
        m=video 5020 RTP/AVP 112\nc=IN IP4 239.20.1.1/64\n\
        a=source-filter: incl IN IP4 239.20.1.1 192.168.1.9\na=rtpmap:112 raw/90000\n\
        a=fmtp:112 sampling=YCbCr-4:2:2; width=1920; height=1080; exactframerate=60000/1001; depth=10; \
        TCS=SDR; colorimetry=BT709; PM=2110GPM; SSN=ST2110-20:2017; TP=2110TPN; RANGE=FULL; \n\
        a=ts-refclk:localmac=40-a3-6b-a0-2b-d2\na=mediaclk:direct=0\n";

    #[test]
    fn what_ffmpeg_writes_is_understood() {
        let stream = one(FFMPEG).unwrap();
        assert_eq!(stream.to_string(), "10.77.0.2:5004 UYVY 640x480");
        assert_eq!(stream.colorimetry, Colorimetry::Bt601, "by its size");
        assert_eq!((stream.payload_type, stream.source), (Some(96), None));
    }

    #[test]
    fn what_broadcast_gear_writes_is_understood() {
        let stream = one(BROADCAST).unwrap();
        assert_eq!(stream.to_string(), "239.20.1.1:5020 UYVP 1920x1080");
        assert_eq!(stream.source, Some(Ipv4Addr::new(192, 168, 1, 9)));
        assert_eq!((stream.payload_type, stream.range), (Some(112), Range::Full));
        assert_eq!(stream.colorimetry, Colorimetry::Bt709);
    }

    #[test]
    fn what_cannot_be_shown_is_refused_with_a_sentence() {
        for (change, to, sentence) in [
            ("raw/90000", "H264/90000", "only raw video"),
            ("depth=8", "depth=12", "YCbCr-4:2:2 with 12 bits"),
            ("4:2:2", "4:2:0", "YCbCr-4:2:0 with 8 bits"),
            ("width=640", "width=0", "\"0\" by \"480\" pixels"),
            ("width=640", "width=641", "must be even"),
            ("depth=8", "depth=8; interlace", "interlaced"),
            ("10.77.0.2", "ff02::1", "only IPv4"),
            ("m=video", "m=audio", "describes no video"),
            ("96\r", "296\r", "no RTP payload type"),
            ("v=0", "hello", "no session description"),
        ] {
            let error = one(&FFMPEG.replacen(change, to, 1)).unwrap_err();
            assert!(error.contains(sentence), "{to}: {error}");
        }
        assert!(one("").is_err());
    }

    #[test]
    fn what_we_describe_we_understand() {
        let stream = one(BROADCAST).unwrap();
        let address = Ipv4Addr::new(239, 20, 1, 1);
        let described = Stream { source: None, ..stream };
        assert_eq!(one(&describe(&described, address, 60)), Ok(described));
    }
}
