//! The classifier for one interface, which is told of VLAN tags that stand beside a packet and not in it.
//!
//! A card that strips tags, and a sender on the other end of a veth, leave a frame's tag where a program does not see it, and the frame
//! looks like one of the untagged network. A driver may tell (`bpf_xdp_metadata_rx_vlan_tag`), but only a program that is loaded for its
//! interface. So each such interface has a program of its own, over the maps of the one that all share. aya loads neither functions of the kernel
//! nor programs for an interface; libbpf does.
//!
//! Left out: generic mode, in which no driver is asked.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::maps::Map;
use libbpf_rs::{ErrorExt as _, ObjectBuilder, PrintLevel, set_print};
use spine_xdp_progs::{CLASSIFIER_OF_TAGS, CLASSIFIER_PROGRAM};

/// `BPF_F_XDP_DEV_BOUND_ONLY` of linux/bpf.h: loaded for one interface, and run by the machine's processor.
const BOUND_TO_INTERFACE: u32 = 1 << 6;

/// What such programs are loaded with.
pub(super) struct Loader {
    constants: [u64; 3],
    maps: Vec<(&'static str, OwnedFd)>,
}

impl Loader {
    /// With these constants, which stand in the program as in its source.
    pub(super) fn new(constants: [u64; 3]) -> Self {
        Self { constants, maps: Vec::new() }
    }

    /// They use this map, too. One that cannot be shared is missing when a program is loaded, which fails then.
    pub(super) fn share(&mut self, name: &'static str, map: &Map) {
        if let Some(fd) = descriptor(map).and_then(|fd| fd.try_clone_to_owned().ok()) {
            self.maps.push((name, fd));
        }
    }

    /// Loads one for an interface and attaches it at the driver: its link.
    pub(super) fn attach(&self, ifindex: u32) -> libbpf_rs::Result<OwnedFd> {
        let mut object = ObjectBuilder::default().open_memory(CLASSIFIER_OF_TAGS)?;
        for mut map in object.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            if name.ends_with(".rodata") {
                map.set_initial_value(&self.constants.map(u64::to_ne_bytes).concat())?;
                continue;
            }
            let shared = self.maps.iter().find(|(shared, _)| *shared == name);
            let (_, fd) =
                shared.ok_or_else(|| libbpf_rs::Error::from_raw_os_error(libc::ENOENT))?;
            map.reuse_fd(fd.as_fd())?;
        }
        for mut program in object.progs_mut() {
            program.set_ifindex(ifindex);
            program.set_flags(BOUND_TO_INTERFACE);
        }
        let object = object.load()?;
        let mut programs = object.progs_mut();
        let program = programs.find(|program| program.name() == CLASSIFIER_PROGRAM);
        let program = program.ok_or_else(|| libbpf_rs::Error::from_raw_os_error(libc::ENOENT))?;
        let number = i32::try_from(ifindex)
            .map_err(|_| libbpf_rs::Error::from_raw_os_error(libc::ENODEV))?;
        let link = program.attach_xdp(number)?;
        let held = link.as_fd().try_clone_to_owned();
        held.map_err(|error| libbpf_rs::Error::from(error).context("a second descriptor"))
    }
}

fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LpmTrie(data)
    | Map::PerCpuArray(data)
    | Map::XskMap(data)) = map
    else {
        return None;
    };
    Some(data.fd().as_fd())
}

/// What libbpf has to say is for those who ask for it: of a program that is refused it prints all that the verifier thought.
pub(super) fn quieten() {
    set_print(Some((PrintLevel::Info, |_, text| tracing::debug!("libbpf: {}", text.trim_end()))));
}
