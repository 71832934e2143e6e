//! Why nothing is shown: what the counters and the interface say when no frame has come for two seconds.

use spine_video_extension::protocol::Counter;

use crate::stream::Stream;

/// What was counted since frames stopped coming.
#[derive(Debug, Clone, Copy)]
pub struct Symptoms<'a, C> {
    /// The stream.
    pub stream: &'a Stream,
    /// What is wrong with the interface, if anything is.
    pub interface: Option<&'a str>,
    /// IP fragments.
    pub fragments: u64,
    /// The extension's counters of the stream, since then.
    pub counted: C,
    /// The payload type that came last.
    pub payload_type: u64,
}

/// The sentence for a person.
pub fn sentence<C: Fn(Counter) -> u64>(symptoms: &Symptoms<'_, C>) -> String {
    let Symptoms { stream, counted, .. } = symptoms;
    if let Some(interface) = symptoms.interface {
        return format!("no packets: {interface}");
    }
    if counted(Counter::Packets) == 0 {
        if symptoms.fragments > 0 {
            return format!(
                "only IP fragments on port {}: lower the sender's packet size (GStreamer: mtu=1472)",
                stream.port
            );
        }
        let place = stream.address.map(|address| format!(" at {address}")).unwrap_or_default();
        return format!("no packets on port {}{place}", stream.port);
    }
    for (counter, what) in [
        (Counter::WrongSource, "packets come from another address than --source says"),
        (Counter::Interlaced, "the video is interlaced, and only progressive video is shown"),
        (Counter::Malformed, "packets come, but they are no raw video (RFC 4175)"),
        (Counter::TooManySegments, "packets have more than 16 pieces of lines each"),
        (Counter::OutOfPicture, "the video is larger than --size says"),
    ] {
        if counted(counter) > 0 {
            return what.to_owned();
        }
    }
    if counted(Counter::WrongPayloadType) > 0 {
        let wanted =
            stream.payload_type.map_or_else(|| "another".to_owned(), |number| number.to_string());
        return format!("packets have payload type {}, not {wanted}", symptoms.payload_type);
    }
    if symptoms.fragments > 0 {
        return "some packets come as IP fragments: lower the sender's packet size (mtu=1472)"
            .to_owned();
    }
    if counted(Counter::Lost) > 0 {
        return "every frame misses packets (--incomplete repair shows them)".to_owned();
    }
    "packets come, but no frame is whole: is --size or --format another than the sender's?"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::{Colorimetry, Range};
    use crate::format::Format;

    #[test]
    fn each_cause_has_its_sentence() {
        let stream = Stream {
            port: 5004,
            address: None,
            source: None,
            payload_type: Some(96),
            format: Format::Bgra,
            size: "2x2".parse().unwrap(),
            colorimetry: Colorimetry::Bt709,
            range: Range::Narrow,
        };
        let say = |interface, fragments, counts: &[Counter]| {
            let counted = |counter: Counter| u64::from(counts.contains(&counter));
            sentence(&Symptoms { stream: &stream, interface, fragments, counted, payload_type: 97 })
        };
        for (found, expected) in [
            (say(Some("eth1 has no link"), 0, &[]), "no packets: eth1 has no link"),
            (say(None, 0, &[]), "no packets on port 5004"),
            (say(None, 9, &[]), "mtu=1472"),
            (say(None, 0, &[Counter::Packets, Counter::WrongPayloadType]), "type 97, not 96"),
            (say(None, 0, &[Counter::Packets, Counter::Interlaced]), "interlaced"),
            (say(None, 0, &[Counter::Packets, Counter::Lost]), "misses packets"),
            (say(None, 0, &[Counter::Packets]), "--size or --format"),
        ] {
            assert!(found.contains(expected), "{found}");
        }
    }
}
