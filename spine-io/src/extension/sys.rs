//! Where the runtime touches machine code and an extension's memory.
#![allow(unsafe_code, reason = "trusted images, slots and shared regions in linear memory")]

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap};
use spine_abi::ErrorCode;
use spine_abi::limits::PAGE_BYTES;
use wasmtime::{Engine, Memory, Module, Store};

use super::image::Verified;
use crate::region::CheckedRegion;

/// Makes the module of a verified image.
///
/// # Errors
/// What wasmtime finds wrong with it.
pub(super) fn module(engine: &Engine, image: &Verified<'_>) -> wasmtime::Result<Module> {
    // SAFETY: the bytes must be what `Engine::precompile_module` made, unchanged. `Verified` exists
    // only for bytes that this machine's linker signed, and the linker signs nothing else.
    unsafe { Module::deserialize(engine, image.image().code) }
}

/// The part of an extension's linear memory that is its own: everything but regions, which others
/// change meanwhile.
///
/// Invariant (established by [`lay_out`], upheld by `Instance`, which owns the store this points into): the memory is made with
/// `memory_may_move(false)`, never shrinks and lives as long as the instance; it is touched only by
/// the thread that runs the instance, either by the extension or, between its instructions, here.
#[derive(Debug)]
pub(super) struct OwnMemory {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the pointer is used only by the holder of the instance (the type's invariant), which may
// move between threads as a whole.
unsafe impl Send for OwnMemory {}

impl OwnMemory {
    fn range(&self, address: u32, length: usize) -> Result<*mut u8, ErrorCode> {
        let start = address as usize;
        let end = start.checked_add(length).ok_or(ErrorCode::OutOfRange)?;
        if end > self.length {
            return Err(ErrorCode::OutOfRange);
        }
        // SAFETY: start <= length of the memory, checked just now.
        Ok(unsafe { self.base.as_ptr().add(start) })
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfRange`].
    pub(super) fn copy_in(&mut self, address: u32, bytes: &[u8]) -> Result<(), ErrorCode> {
        let to = self.range(address, bytes.len())?;
        // SAFETY: `range` checked the place; nobody else has it (the type's invariant), and `bytes`
        // is a frame or a message, which never lies in linear memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfRange`].
    pub(super) fn copy_out(&self, address: u32, bytes: &mut [u8]) -> Result<(), ErrorCode> {
        let from = self.range(address, bytes.len())?;
        // SAFETY: as in `copy_in`.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// All of it, to copy from. The caller is not running the extension but was called by it, which
    /// `&self` of the state proves.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the whole of it is mapped and initialised (the type's invariant: it never shrinks, and
        // grown pages are zero); nobody writes it meanwhile.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.length) }
    }

    /// The bytes of one slot. The caller is not running the extension, which `&mut self` of the
    /// instance proves.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfRange`].
    #[inline]
    pub(super) fn slice_mut(
        &mut self,
        address: u32,
        length: usize,
    ) -> Result<&mut [u8], ErrorCode> {
        let start = self.range(address, length)?;
        // SAFETY: `range` checked the place; `&mut self` keeps everybody else out meanwhile.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, length) })
    }
}

/// Where everything stands in a linear memory.
pub(super) struct Layout {
    /// The extension's own part, slots included.
    pub(super) own: OwnMemory,
    /// Address of the first slot.
    pub(super) slots: usize,
    /// Address and length of each region.
    pub(super) regions: Vec<(usize, usize)>,
    /// Whether all of it has its pages already.
    pub(super) populated: bool,
}

/// Has the kernel provide all pages now. A page that a handler touches first takes it microseconds, and
/// one budget reaches thousands of pages: 15.8 ms were measured where plain instructions took 1 us. And
/// a memory file's page that is not to be had later would not be an error, but the end of the process.
///
/// Nor do children get them: a process that forks (`spined` does for each module it links) would find its
/// pages write-protected, and each write to one a page fault once more.
///
/// # Errors
/// A sentence: there is not enough memory. A kernel that cannot do it (before 5.14) is no error; false then.
fn populate(base: NonNull<u8>, bytes: usize) -> Result<bool, String> {
    // SAFETY: the bytes from `base` on are mapped (`lay_out` just did); only children miss them, which
    // call `exec` and nothing else.
    let kept = unsafe { madvise(base.cast(), bytes, MmapAdvise::MADV_DONTFORK) };
    kept.map_err(|error| format!("cannot keep its memory from children: {error}"))?;
    // SAFETY: as above, and what is in the bytes stays.
    match unsafe { madvise(base.cast(), bytes, MmapAdvise::MADV_POPULATE_WRITE) } {
        Ok(()) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(error) => Err(format!("cannot have all of its {bytes} bytes now: {error}")),
    }
}

/// Grows a memory by the slots and the regions and maps the regions' files there.
///
/// # Errors
/// A sentence: the memory cannot grow that far, or the kernel refuses a mapping.
pub(super) fn lay_out<T: 'static>(
    store: &mut Store<T>,
    memory: Memory,
    slot_bytes: usize,
    regions: &[CheckedRegion<'_>],
) -> Result<Layout, String> {
    let slots = memory.data_size(&*store);
    let own_bytes = slots + slot_bytes.next_multiple_of(PAGE_BYTES);
    let shared: usize = regions.iter().map(|region| region.source().bytes).sum();
    let pages = (own_bytes + shared - slots) / PAGE_BYTES;
    memory.grow(&mut *store, pages as u64).map_err(|error| format!("{error:#}"))?;
    let base = NonNull::new(memory.data_ptr(&*store)).ok_or("it has no linear memory")?;

    let mut at = own_bytes;
    let mut places = Vec::with_capacity(regions.len());
    for region in regions.iter().map(CheckedRegion::source) {
        let bytes = NonZeroUsize::new(region.bytes).ok_or("an empty region")?;
        // SAFETY: `at + bytes` <= the size just grown to, so the address is in the memory.
        let address = unsafe { base.as_ptr().add(at) };
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        // SAFETY: MAP_FIXED replaces pages that `grow` added just now: page-aligned, used by nobody
        // yet, unmapped by wasmtime with the rest of the memory, which does not move
        // (`spine_engine::config`). The file cannot shrink (`CheckedRegion`), so no access faults.
        // `OwnMemory` ends before them, so no Rust reference to these bytes is ever made.
        unsafe {
            mmap(NonZeroUsize::new(address as usize), bytes, protection, flags, &region.file, 0)
        }
        .map_err(|error| error.to_string())?;
        places.push((at, region.bytes));
        at += region.bytes;
    }
    let populated = populate(base, at)?;
    Ok(Layout { own: OwnMemory { base, length: own_bytes }, slots, regions: places, populated })
}
