//! Pictures in files: a screenshot (PNG), and a recording (YUV4MPEG2, which ffmpeg and players read).
//!
//! Both take pixels as a screen has them. A recording is YCbCr 4:4:4 with eight bits, BT.709, narrow: what
//! players expect of a file that does not say.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::colour::{Colorimetry, Encoder, Range};
use crate::format::Size;

/// Why a picture is not in its file.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", file.display())]
pub struct RecordError {
    file: PathBuf,
    source: io::Error,
}

fn error(file: &Path) -> impl Fn(io::Error) -> RecordError {
    let file = file.to_owned();
    move |source| RecordError { file: file.clone(), source }
}

/// Writes a picture as PNG.
///
/// # Errors
/// [`RecordError`].
pub fn screenshot(file: &Path, size: Size, pixels: &[u32]) -> Result<(), RecordError> {
    let target = File::create(file).map_err(error(file))?;
    png(BufWriter::new(target), size, pixels).map_err(error(file))
}

fn png(target: impl Write, size: Size, pixels: &[u32]) -> io::Result<()> {
    let side = |pixels| u32::try_from(pixels).map_err(io::Error::other);
    let mut encoder = png::Encoder::new(target, side(size.width())?, side(size.height())?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let bytes: Vec<u8> = pixels
        .iter()
        .flat_map(|pixel| {
            let [_, r, g, b] = pixel.to_be_bytes();
            [r, g, b]
        })
        .collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    Ok(writer.finish()?)
}

/// A recording that grows.
#[derive(Debug)]
pub struct Recording {
    file: PathBuf,
    target: BufWriter<File>,
    encoder: Encoder,
    planes: [Vec<u8>; 3],
}

impl Recording {
    /// Starts a recording of pictures of one size, to be played at `rate` pictures a second.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn create(file: &Path, size: Size, rate: u32) -> Result<Self, RecordError> {
        let mut target =
            BufWriter::with_capacity(1 << 20, File::create(file).map_err(error(file))?);
        let (width, height) = (size.width(), size.height());
        writeln!(target, "YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C444 XCOLORRANGE=LIMITED")
            .map_err(error(file))?;
        let encoder = Encoder::new(Colorimetry::Bt709, Range::Narrow, 8);
        Ok(Self { file: file.to_owned(), target, encoder, planes: Default::default() })
    }

    /// Adds a picture.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn add(&mut self, pixels: &[u32]) -> Result<(), RecordError> {
        self.planes.iter_mut().for_each(Vec::clear);
        for pixel in pixels {
            for (plane, sample) in self.planes.iter_mut().zip(self.encoder.encode(*pixel)) {
                // Eight bits, by the encoder's depth.
                plane.push(u8::try_from(sample).unwrap_or(u8::MAX));
            }
        }
        let written = self.target.write_all(b"FRAME\n");
        let planes = self.planes.iter().try_for_each(|plane| self.target.write_all(plane));
        written.and(planes).map_err(error(&self.file))
    }

    /// Ends it: what is in memory is written.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.target.flush().map_err(error(&self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIXELS: [u32; 4] = [0x00ff_0000, 0x0000_ff00, 0x0000_00ff, 0x00ff_ffff];

    #[test]
    fn a_screenshot_holds_the_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shot.png");
        screenshot(&file, "2x2".parse().unwrap(), &PIXELS).unwrap();
        let decoder = png::Decoder::new(io::BufReader::new(File::open(&file).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut bytes).unwrap();
        assert_eq!(bytes, [255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]);
        let nowhere = screenshot(Path::new("/nowhere/x.png"), "2x2".parse().unwrap(), &PIXELS);
        assert!(nowhere.unwrap_err().to_string().starts_with("cannot write /nowhere/x.png: "));
    }

    #[test]
    fn a_recording_holds_every_picture() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("film.y4m");
        let mut recording = Recording::create(&file, "2x2".parse().unwrap(), 30).unwrap();
        recording.add(&PIXELS).unwrap();
        recording.add(&[0; 4]).unwrap();
        recording.finish().unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let header = b"YUV4MPEG2 W2 H2 F30:1 Ip A1:1 C444 XCOLORRANGE=LIMITED\nFRAME\n";
        assert!(bytes.starts_with(header));
        assert_eq!(bytes.len(), header.len() + 12 + 6 + 12);
        assert_eq!(bytes[header.len()..header.len() + 4], [63, 173, 32, 235], "luma, BT.709");
        assert!(bytes.ends_with(&[16, 16, 16, 16, 128, 128, 128, 128, 128, 128, 128, 128]));
    }
}
