//! What pictures on the wire are on a screen, by the standards' own formulas in floating point.

/// The formats that are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Bgra,
    Rgb,
    Uyvy,
    Uyvp,
}

impl Format {
    pub(crate) const ALL: [Self; 4] = [Self::Bgra, Self::Rgb, Self::Uyvy, Self::Uyvp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bgra => "BGRA",
            Self::Rgb => "RGB",
            Self::Uyvy => "UYVY",
            Self::Uyvp => "UYVP",
        }
    }

    /// The pixels of a raw picture; YCbCr is BT.601 of the narrow range, both pixels of a group with its
    /// colour difference.
    pub(crate) fn decode(self, raw: &[u8]) -> Vec<[f64; 3]> {
        let rgb = |r: u8, g: u8, b: u8| [r, g, b].map(f64::from);
        match self {
            Self::Bgra => raw.chunks_exact(4).map(|p| rgb(p[2], p[1], p[0])).collect(),
            Self::Rgb => raw.chunks_exact(3).map(|p| rgb(p[0], p[1], p[2])).collect(),
            Self::Uyvy => raw
                .chunks_exact(4)
                .flat_map(|group| {
                    let [cb, y0, cr, y1] = [0, 1, 2, 3].map(|at| f64::from(group[at]));
                    [bt601(y0, cb, cr), bt601(y1, cb, cr)]
                })
                .collect(),
            Self::Uyvp => raw
                .chunks_exact(5)
                .flat_map(|group| {
                    let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
                    let [cb, y0, cr, y1] =
                        [30, 20, 10, 0].map(|shift| (bits >> shift & 1023) as f64 / 4.0);
                    [bt601(y0, cb, cr), bt601(y1, cb, cr)]
                })
                .collect(),
        }
    }

    /// Whether what is shown is what was sent: exactly, or within rounding where it was converted.
    pub(crate) fn check(self, shown: &[u32], raw: &[u8]) -> Result<(), String> {
        let expected = self.decode(raw);
        if shown.len() != expected.len() {
            return Err(format!("{} pixels, expected {}", shown.len(), expected.len()));
        }
        let most = if matches!(self, Self::Bgra | Self::Rgb) { 0.0 } else { 1.0 };
        for (at, (shown, expected)) in shown.iter().zip(&expected).enumerate() {
            let [_, r, g, b] = shown.to_be_bytes();
            for (shown, expected) in [r, g, b].into_iter().zip(expected) {
                if (f64::from(shown) - expected).abs() > most {
                    return Err(format!("pixel {at}: {shown}, expected {expected:.2}"));
                }
            }
        }
        Ok(())
    }
}

/// ITU-R BT.601-7 2.5 in the narrow range of eight bits, the other way round.
fn bt601(y: f64, cb: f64, cr: f64) -> [f64; 3] {
    let (y, cb, cr) = ((y - 16.0) / 219.0, (cb - 128.0) / 224.0, (cr - 128.0) / 224.0);
    let r = y + 1.402 * cr;
    let b = y + 1.772 * cb;
    let g = (y - 0.299 * r - 0.114 * b) / 0.587;
    [r, g, b].map(|value| (value * 255.0).clamp(0.0, 255.0))
}
