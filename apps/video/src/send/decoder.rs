//! Pictures of any file, by running the installed ffmpeg, or GStreamer where there is no ffmpeg.
//!
//! The program writes raw pictures of the wanted format, size and rate to a pipe; nothing is decoded in
//! this process. It is ended with the value that holds it.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::colour::{Colorimetry, Range};
use crate::format::{Format, Size};

/// What the pictures are to be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Their pixels.
    pub format: Format,
    /// Their size: they are scaled to it.
    pub size: Size,
    /// Pictures a second: they are repeated or left out for it.
    pub rate: u32,
    /// The matrix, where the format is YCbCr.
    pub colorimetry: Colorimetry,
    /// The range, where the format is YCbCr.
    pub range: Range,
}

/// Why there are no pictures, or no more.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No such file.
    #[error("cannot read {}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing to decode with.
    #[error("neither ffmpeg nor gst-launch-1.0 is installed: apt-get install ffmpeg")]
    NoDecoder,
    /// It could not be run.
    #[error("cannot run {program}: {source}")]
    Run {
        /// Which one.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It failed.
    #[error("{program} did not decode {}: {said}", file.display())]
    Failed {
        /// Which one.
        program: &'static str,
        /// The file.
        file: PathBuf,
        /// The end of what it said.
        said: String,
    },
}

/// A running decoder.
#[derive(Debug)]
pub struct Decoder {
    program: &'static str,
    file: PathBuf,
    child: Child,
    pipe: BufReader<ChildStdout>,
    errors: Option<std::thread::JoinHandle<String>>,
    /// Bytes from line to line in the pipe, and how many of them are pixels.
    stride: usize,
    line_bytes: usize,
    picture: Vec<u8>,
    pictures: u64,
}

impl Decoder {
    /// Starts decoding `file`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn start(file: &Path, wanted: &Wanted) -> Result<Self, DecodeError> {
        // Opened to say what is wrong in our words; the program opens it again.
        std::fs::File::open(file)
            .map_err(|source| DecodeError::File { file: file.to_owned(), source })?;
        let line_bytes = wanted.format.line_bytes(wanted.size.width());
        // GStreamer starts every line at a multiple of four bytes.
        let choices = [
            ("ffmpeg", ffmpeg(file, wanted), line_bytes),
            ("gst-launch-1.0", gstreamer(file, wanted), line_bytes.next_multiple_of(4)),
        ];
        for (program, mut command, stride) in choices {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(DecodeError::Run { program, source }),
            };
            let Some(pipe) = child.stdout.take() else { return Err(DecodeError::NoDecoder) };
            let picture = vec![0; wanted.format.picture_bytes(wanted.size)];
            return Ok(Self {
                program,
                file: file.to_owned(),
                errors: child.stderr.take().map(listen),
                child,
                pipe: BufReader::with_capacity(1 << 20, pipe),
                stride,
                line_bytes,
                picture,
                pictures: 0,
            });
        }
        Err(DecodeError::NoDecoder)
    }

    /// The next picture; `None` after the last.
    ///
    /// # Errors
    /// [`DecodeError::Failed`]: the program ended badly, or without a single picture.
    pub fn picture(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        let padding = (self.stride - self.line_bytes) as u64;
        for line in self.picture.chunks_exact_mut(self.line_bytes) {
            let read = self.pipe.read_exact(line).and_then(|()| {
                io::copy(&mut self.pipe.by_ref().take(padding), &mut io::sink()).map(|_| ())
            });
            if read.is_err() {
                return self.ended().map(|()| None);
            }
        }
        self.pictures += 1;
        Ok(Some(&self.picture))
    }

    /// How it ended, once its pipe is closed.
    fn ended(&mut self) -> Result<(), DecodeError> {
        let status = self.child.wait();
        let said = self.errors.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        if status.is_ok_and(|status| status.success()) && self.pictures > 0 {
            return Ok(());
        }
        let said = if said.is_empty() { "it found no picture".to_owned() } else { said };
        Err(DecodeError::Failed { program: self.program, file: self.file.clone(), said })
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // Both fail for one that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects the last line of what a program complains, without ever stopping it.
fn listen(pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    const MOST: u64 = 1 << 16;
    std::thread::spawn(move || {
        let (mut pipe, mut text) = (pipe, Vec::new());
        // What cannot be read is not shown; the program must not stop for it.
        let _ = pipe.by_ref().take(MOST).read_to_end(&mut text);
        let _ = io::copy(&mut pipe, &mut io::sink());
        let text = String::from_utf8_lossy(&text);
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
    })
}

fn ffmpeg(file: &Path, wanted: &Wanted) -> Command {
    let (width, height) = (wanted.size.width(), wanted.size.height());
    let colour = match (wanted.format.is_ycbcr(), wanted.colorimetry, wanted.range) {
        (false, ..) => "",
        (_, Colorimetry::Bt601, Range::Narrow) => ":out_color_matrix=bt601:out_range=tv",
        (_, Colorimetry::Bt601, Range::Full) => ":out_color_matrix=bt601:out_range=pc",
        (_, Colorimetry::Bt709, Range::Narrow) => ":out_color_matrix=bt709:out_range=tv",
        (_, Colorimetry::Bt709, Range::Full) => ":out_color_matrix=bt709:out_range=pc",
    };
    // Its encoder of raw video knows no packed ten bits; another one does.
    let (encoder, pixels) = match wanted.format {
        Format::Bgra => ("rawvideo", "bgra"),
        Format::Rgb => ("rawvideo", "rgb24"),
        Format::Uyvy => ("rawvideo", "uyvy422"),
        Format::Uyvp => ("bitpacked", "yuv422p10le"),
    };
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-i"]).arg(file);
    command.args(["-map", "0:v:0", "-vf", &format!("scale={width}:{height}{colour}")]);
    command.args(["-r", &wanted.rate.to_string(), "-c:v", encoder, "-pix_fmt", pixels]);
    command.args(["-f", "rawvideo", "pipe:1"]);
    command
}

fn gstreamer(file: &Path, wanted: &Wanted) -> Command {
    let colour = match (wanted.format.is_ycbcr(), wanted.colorimetry, wanted.range) {
        (false, ..) => "",
        (_, Colorimetry::Bt601, Range::Narrow) => ",colorimetry=bt601",
        (_, Colorimetry::Bt709, Range::Narrow) => ",colorimetry=bt709",
        // Range : matrix : transfer : primaries, in GStreamer's numbers.
        (_, Colorimetry::Bt601, Range::Full) => ",colorimetry=1:4:5:4",
        (_, Colorimetry::Bt709, Range::Full) => ",colorimetry=1:3:5:1",
    };
    let caps = format!(
        "video/x-raw,format={},width={},height={},framerate={}/1{colour}",
        wanted.format,
        wanted.size.width(),
        wanted.size.height(),
        wanted.rate
    );
    let mut location = std::ffi::OsString::from("location=");
    location.push(file);
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-q", "filesrc"]).arg(location);
    command.args(["!", "decodebin", "!", "videoconvert", "!", "videoscale", "!", "videorate"]);
    command.args(["!", &caps, "!", "fdsink", "fd=1"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(format: Format) -> Wanted {
        let (colorimetry, range) = (Colorimetry::Bt709, Range::Narrow);
        Wanted { format, size: "66x10".parse().unwrap(), rate: 5, colorimetry, range }
    }

    #[test]
    fn a_file_that_is_not_there_or_not_a_film_is_named() {
        let missing = Decoder::start(Path::new("/nowhere/film.mp4"), &wanted(Format::Rgb));
        let sentence = missing.unwrap_err().to_string();
        assert!(sentence.starts_with("cannot read /nowhere/film.mp4: "), "{sentence}");

        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "no film").unwrap();
        match Decoder::start(text.path(), &wanted(Format::Rgb)) {
            Err(DecodeError::NoDecoder) => eprintln!("skipped: no ffmpeg and no gst-launch-1.0"),
            Err(error) => panic!("{error}"),
            Ok(mut decoder) => {
                let sentence = decoder.picture().unwrap_err().to_string();
                assert!(sentence.contains("did not decode"), "{sentence}");
            }
        }
    }

    /// A picture that both programs decode without further packages: binary PPM.
    #[test]
    fn pictures_have_the_format_and_size_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("red.ppm");
        let mut ppm = b"P6\n66 10\n255\n".to_vec();
        ppm.extend([255, 0, 0].repeat(660));
        std::fs::write(&file, ppm).unwrap();
        // Red in BT.709, narrow: Y 63, Cb 102, Cr 240 (ten bits: 250, 409, 960).
        for (format, group) in [
            (Format::Bgra, vec![0, 0, 255, 255]),
            (Format::Rgb, vec![255, 0, 0]),
            (Format::Uyvy, vec![102, 63, 240, 63]),
        ] {
            let mut decoder = match Decoder::start(&file, &wanted(format)) {
                Err(DecodeError::NoDecoder) => {
                    return eprintln!("skipped: neither ffmpeg nor gst-launch-1.0 is installed");
                }
                decoder => decoder.unwrap(),
            };
            let picture = decoder.picture().unwrap().expect("a picture").to_vec();
            assert_eq!(picture.len(), format.picture_bytes("66x10".parse().unwrap()));
            let near = |one: &u8, other: &u8| one.abs_diff(*other) <= 1;
            let first = &picture[..group.len()];
            assert!(first.iter().zip(&group).all(|(a, b)| near(a, b)), "{format}: {first:?}");
        }
    }
}
