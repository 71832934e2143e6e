//! The memory that a receiver shares with its adapter, seen from outside through the process's descriptors.
//!
//! Files are kept open, so that they can be read when the process has ended.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use nix::unistd::Pid;
use spine_abi::frame_buffer::{Geometry, HEADER_BYTES};

/// A byte that nobody writes.
const SENTINEL: u8 = 0xa5;
/// Bytes of a slot's header that have fields.
const SLOT_HEADER: usize = 64;

/// The memory files of a process with this name, each once.
pub(super) fn files(process: Pid, name: &str) -> Vec<File> {
    let folder = format!("/proc/{process}/fd");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let is_wanted = |path: &std::path::Path| {
        let target = fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().starts_with(&format!("/memfd:{name}"))
    };
    let mut files = BTreeMap::new();
    for entry in entries.flatten().filter(|entry| is_wanted(&entry.path())) {
        let path = entry.path();
        let file = File::options().read(true).write(true).open(&path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let inode = file.metadata().expect("an open file").ino();
        files.insert(inode, file);
    }
    files.into_values().collect()
}

/// A frame buffer with sentinels around everything that is granted.
pub(super) struct Guarded {
    file: File,
    geometry: Geometry,
    /// Of the file, which is whole pages.
    bytes: usize,
    header: Vec<u8>,
}

impl Guarded {
    /// Fills what is around the slots.
    pub(super) fn new(file: File) -> Self {
        let header = read(&file, 0, HEADER_BYTES);
        let geometry = Geometry::parse(&header).expect("a frame buffer");
        let bytes = usize::try_from(file.metadata().expect("an open file").len()).expect("memory");
        let buffer = Self { file, geometry, bytes, header };
        let around: Vec<usize> = buffer.around().collect();
        assert!(around.len() > 4096, "a buffer without gaps shows nothing: {geometry:?}");
        for at in around {
            buffer.file.write_all_at(&[SENTINEL], at as u64).expect("shared memory");
        }
        buffer
    }

    /// Offsets that belong to no pixel and no field of a slot's header.
    fn around(&self) -> impl Iterator<Item = usize> {
        let geometry = self.geometry;
        let is_inside = move |at: usize| {
            (0..geometry.slots()).any(|slot| {
                let (header, pixels) = (geometry.slot_header(slot), geometry.pixels(slot));
                (header..header + SLOT_HEADER).contains(&at)
                    || (pixels..pixels + geometry.pixel_bytes()).contains(&at)
            })
        };
        (HEADER_BYTES..self.bytes).filter(move |at| !is_inside(*at))
    }

    /// Panics if something around the slots was written.
    pub(super) fn check(&self) {
        let bytes = read(&self.file, 0, self.bytes);
        let strays: Vec<usize> = self.around().filter(|at| bytes[*at] != SENTINEL).collect();
        assert!(strays.is_empty(), "{:?}: written at {strays:?}", self.geometry);
        // Up to the mailbox.
        assert_eq!(bytes[..64], self.header[..64], "the geometry has changed");
    }
}

/// Bytes of a file.
fn read(file: &File, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).expect("shared memory");
    bytes
}
