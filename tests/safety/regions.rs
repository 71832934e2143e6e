//! A region's file that could hurt the adapter is refused before it is mapped.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use spine_abi::limits::{PAGE_BYTES, REGION_BYTES};
use spine_io::{AdapterHandle, AdapterSetup, Budget, LoadError, Machine, RegionSource};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::Loopback;

use crate::suite;

const SIZED: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);

fn file(name: &str, bytes: usize, seals: SealFlag, flags: MFdFlags) -> OwnedFd {
    let flags = flags | MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC;
    let file = File::from(memfd_create(name, flags).expect("a memory file"));
    file.set_len(bytes as u64).expect("its size");
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("its seals");
    file.into()
}

fn sealed(bytes: usize, seals: SealFlag) -> OwnedFd {
    file("hostile", bytes, seals, MFdFlags::empty())
}

/// The same file, opened again for reading only.
fn read_only(file: &OwnedFd) -> OwnedFd {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::open(path).expect("opened again").into()
}

fn adapter() -> AdapterHandle {
    let (memory, mut dealt) = FrameMemory::anonymous(16, 2048, 1).expect("memory");
    let (nic, _wire) = Loopback::wire("wire", Arc::clone(&memory), 8).expect("a wire");
    let setup = AdapterSetup::new(Box::new(nic), dealt.pop().expect("frames"));
    let (_, mut handles) =
        Machine::by_hand(vec![setup], &memory, suite::key()).expect("an adapter");
    handles.pop().expect("its handle")
}

fn is_mapped(name: &str) -> bool {
    fs::read_to_string("/proc/self/maps").expect("our own maps").contains(name)
}

#[test]
fn a_file_that_is_truncated_unsealed_or_read_only_is_refused_before_it_is_mapped() {
    const SHORT: usize = PAGE_BYTES / 2;
    let good = || sealed(PAGE_BYTES, SIZED);
    let unwritable = |seal| sealed(PAGE_BYTES, SIZED | seal);
    let huge = file("hostile", 2 << 20, SIZED, MFdFlags::MFD_HUGETLB);
    let (pipe, _other_end) = nix::unistd::pipe().expect("a pipe");
    let mut plain = tempfile::tempfile().expect("a file");
    plain.write_all(&vec![0; PAGE_BYTES]).expect("its bytes");

    let whole = |name, file: OwnedFd, message| (name, file, PAGE_BYTES, message);
    let cases = vec![
        whole("truncated", sealed(SHORT, SIZED), "has 32768 bytes instead of 65536"),
        whole("empty", sealed(0, SIZED), "has 0 bytes instead of 65536"),
        whole("unsealed", sealed(PAGE_BYTES, SealFlag::empty()), "not sealed against"),
        whole("half sealed", sealed(PAGE_BYTES, SealFlag::F_SEAL_GROW), "against shrinking"),
        whole("opened for reading", read_only(&good()), "read-only"),
        whole("no writing", unwritable(SealFlag::F_SEAL_WRITE), "read-only"),
        whole("no later writing", unwritable(SealFlag::F_SEAL_FUTURE_WRITE), "read-only"),
        whole("huge pages", huge, "huge pages"),
        whole("a file on a disk", plain.into(), "seal"),
        whole("a pipe", pipe, "not a memory file"),
        ("said to be empty", good(), 0, "is not a multiple"),
        ("half a page", good(), SHORT, "is not a multiple"),
        ("larger than any", good(), REGION_BYTES + PAGE_BYTES, "is not a multiple"),
    ];
    let (adapter, image) = (adapter(), suite::good("shared"));
    for (name, file, bytes, message) in cases {
        let region = RegionSource { file, bytes };
        match adapter.prepare(&image, vec![region], Budget::default()) {
            Err(LoadError::Region { index: 0, why, .. }) => {
                assert!(why.contains(message), "{name}: {why}");
            }
            Err(error) => panic!("{name}: {error}"),
            Ok(_) => panic!("{name}: taken"),
        }
        assert!(!is_mapped("memfd:hostile"), "{name}: mapped all the same");
    }
    // The look above does see a mapping; a sound file is taken, and unmapped with the extension.
    let file = file("sound", PAGE_BYTES, SIZED, MFdFlags::empty());
    let region = RegionSource { file, bytes: PAGE_BYTES };
    let loaded = adapter.prepare(&image, vec![region], Budget::default()).expect("a sound region");
    assert!(is_mapped("memfd:sound"));
    drop(loaded);
    assert!(!is_mapped("memfd:sound"));
}

#[test]
fn more_or_fewer_regions_than_the_manifest_says_are_refused() {
    let (adapter, image) = (adapter(), suite::good("shared"));
    let region = || {
        let file = file("many", PAGE_BYTES, SIZED, MFdFlags::empty());
        RegionSource { file, bytes: PAGE_BYTES }
    };
    for regions in [vec![], vec![region(), region()]] {
        let given = regions.len();
        match adapter.prepare(&image, regions, Budget::default()) {
            Err(LoadError::Regions { wanted: 1, given: said, .. }) => assert_eq!(said, given),
            other => panic!("{given}: {other:?}"),
        }
    }
}
