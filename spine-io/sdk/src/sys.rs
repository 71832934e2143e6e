//! The boundary to the runtime: the imports, and memory that others write. The only `unsafe` file.
//!
//! The imports are those of `spine_abi::interface`, name by name. On the host they are answered by the
//! double in [`double`], which records what was sent and serves what a test prepared.
#![allow(unsafe_code, reason = "foreign functions, and memory that the runtime and the host share")]

use core::ptr;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod double;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use double::{
    Cell, ScratchCell, SpanCell, add_handler, arm, cancel, read, region, release, send_host,
    send_peer, write,
};
#[cfg(target_arch = "wasm32")]
pub use wasm::run;
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::{
    Cell, ScratchCell, SpanCell, add_handler, arm, cancel, read, region, release, send_host,
    send_peer, write,
};

impl crate::Init {
    /// The one that `init` is given. For `export!`, whose entry the runtime calls.
    ///
    /// # Safety
    /// The runtime must be initialising the extension: handlers may be stopped at any instruction, and what
    /// an `Init` reaches does not bear that. (A handler that has one all the same is refused by the linker.)
    #[doc(hidden)]
    pub const unsafe fn from_runtime() -> Self {
        Self::new()
    }
}

/// Where a region's words start: enough for the largest word read from one.
const ALIGN: usize = 8;

/// Memory outside of Rust's own: `length` bytes that stay mapped and writable for good, aligned to 8,
/// of which Rust holds no reference. Only this file makes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    address: usize,
    length: usize,
}

macro_rules! access {
    ($load:ident, $store:ident, $word:ty, $atomic:ty) => {
        #[inline(always)]
        pub(crate) fn $load(self, offset: usize) -> Option<$word> {
            let word = self.pointer::<$word>(offset)?;
            // SAFETY: `pointer` answers only aligned addresses inside the span, which stays mapped and
            // is only ever accessed atomically by this program (whoever made the span upholds it).
            Some(<$word>::from_le(unsafe { <$atomic>::from_ptr(word) }.load(Relaxed)))
        }

        #[inline(always)]
        pub(crate) fn $store(self, offset: usize, value: $word) {
            if let Some(word) = self.pointer::<$word>(offset) {
                // SAFETY: as for the load.
                unsafe { <$atomic>::from_ptr(word) }.store(value.to_le(), Relaxed);
            }
        }
    };
}

impl Span {
    pub(crate) fn length(self) -> usize {
        self.length
    }

    /// The word at `offset`, if all of it is inside and it is aligned.
    #[inline(always)]
    fn pointer<Word>(self, offset: usize) -> Option<*mut Word> {
        let last = self.length.checked_sub(size_of::<Word>())?;
        let inside = offset <= last && offset.is_multiple_of(size_of::<Word>());
        inside.then(|| ptr::with_exposed_provenance_mut(self.address + offset))
    }

    access!(load8, store8, u8, AtomicU8);
    access!(load16, store16, u16, AtomicU16);
    access!(load32, store32, u32, AtomicU32);
    access!(load64, store64, u64, AtomicU64);

    /// Zeroed memory for tests, never given back.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn leak(length: usize) -> Self {
        let words = vec![0u64; length.div_ceil(ALIGN)].leak();
        Self { address: words.as_mut_ptr().expose_provenance(), length }
    }
}

#[cfg(target_arch = "wasm32")]
mod wasm {
    //! The runtime itself.

    use core::ptr;
    use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

    use spine_abi::{BufferRef, Message, PackedVerdict, Verdict};

    use super::{ALIGN, Span};
    use crate::message::Context;

    mod core_domain {
        #[link(wasm_import_module = "spine:core")]
        unsafe extern "C" {
            pub(super) safe fn next(verdict: u64) -> u64;
            pub(super) safe fn add_handler(number: u32, context: u32) -> i32;
            pub(super) safe fn region(index: u32) -> u64;
        }
    }

    mod buffer_domain {
        #[link(wasm_import_module = "spine:buffer")]
        unsafe extern "C" {
            pub(super) fn read(buffer: u64, offset: u32, into: *mut u8, length: usize) -> i32;
            pub(super) safe fn write(
                buffer: u64,
                offset: u32,
                from: *const u8,
                length: usize,
            ) -> i32;
            pub(super) safe fn release(buffer: u64) -> i32;
        }
    }

    mod host_domain {
        #[link(wasm_import_module = "spine:host")]
        unsafe extern "C" {
            pub(super) safe fn send(message: *const u8) -> i32;
        }
    }

    mod timer_domain {
        #[link(wasm_import_module = "spine:timer")]
        unsafe extern "C" {
            pub(super) safe fn arm(microseconds: u32, handler: u32, token: u64) -> i32;
            pub(super) safe fn cancel(timer: u32) -> i32;
        }
    }

    mod peer_domain {
        #[link(wasm_import_module = "spine:peer")]
        unsafe extern "C" {
            pub(super) safe fn send(peer: u32, message: *const u8) -> i32;
        }
    }

    /// The loop over a burst: asks for the next message, handing in the verdict on the last one, until
    /// there is none. `STRIDE` is the length of a slot, as the manifest's largest prefix makes it.
    #[doc(hidden)]
    #[inline(always)]
    pub fn run<const STRIDE: usize>(
        dispatch: impl Fn(Context, &mut [u8; STRIDE]) -> PackedVerdict,
    ) {
        let mut verdict = PackedVerdict::from(Verdict::Done);
        loop {
            let answer = core_domain::next(verdict.to_bits());
            if answer == 0 {
                return;
            }
            let (address, context) = halves(answer);
            let slot = ptr::with_exposed_provenance_mut::<[u8; STRIDE]>(address as usize);
            // SAFETY: the runtime answers the address of a slot of `slot_stride(largest prefix)` bytes
            // in memory it has set aside for slots, and touches it only inside `next`; the reference
            // ends with `dispatch`, before that.
            verdict = dispatch(Context(context), unsafe { &mut *slot });
        }
    }

    /// The low and the high half: how the runtime answers two numbers in one.
    #[inline(always)]
    const fn halves(answer: u64) -> (u32, u32) {
        ((answer & 0xffff_ffff) as u32, (answer >> 32) as u32)
    }

    pub(crate) fn add_handler(number: u16, context: u32) -> i32 {
        core_domain::add_handler(u32::from(number), context)
    }

    pub(crate) fn region(index: u32) -> Option<Span> {
        let answer = core_domain::region(index);
        let (address, length) = halves(answer);
        let span = Span { address: address as usize, length: length as usize };
        // The runtime maps regions beyond what the module's own memory has, on page boundaries.
        let sound = span.address != 0
            && span.address.is_multiple_of(ALIGN)
            && span.address.checked_add(span.length).is_some();
        sound.then_some(span)
    }

    pub(crate) fn read(buffer: BufferRef, offset: u32, into: &mut [u8]) -> i32 {
        // SAFETY: `into` may be written for its length; the runtime writes no more than that.
        unsafe { buffer_domain::read(buffer.to_bits(), offset, into.as_mut_ptr(), into.len()) }
    }

    pub(crate) fn write(buffer: BufferRef, offset: u32, from: &[u8]) -> i32 {
        buffer_domain::write(buffer.to_bits(), offset, from.as_ptr(), from.len())
    }

    pub(crate) fn release(buffer: BufferRef) -> i32 {
        buffer_domain::release(buffer.to_bits())
    }

    pub(crate) fn arm(microseconds: u32, handler: u16, token: u64) -> i32 {
        timer_domain::arm(microseconds, u32::from(handler), token)
    }

    pub(crate) fn cancel(timer: u32) -> i32 {
        timer_domain::cancel(timer)
    }

    pub(crate) fn send_host(message: &Message) -> i32 {
        host_domain::send(message.as_bytes().as_ptr())
    }

    pub(crate) fn send_peer(peer: u16, message: &Message) -> i32 {
        peer_domain::send(u32::from(peer), message.as_bytes().as_ptr())
    }

    #[derive(Debug)]
    pub(crate) struct Cell(AtomicU64);

    impl Cell {
        pub(crate) const fn new(value: u64) -> Self {
            Self(AtomicU64::new(value))
        }

        #[inline(always)]
        pub(crate) fn get(&'static self) -> u64 {
            self.0.load(Relaxed)
        }

        #[inline(always)]
        pub(crate) fn set(&'static self, value: u64) {
            self.0.store(value, Relaxed);
        }
    }

    /// Memory of the extension's own, reached by words.
    #[derive(Debug)]
    pub(crate) struct ScratchCell<const WORDS: usize>([AtomicU64; WORDS]);

    impl<const WORDS: usize> ScratchCell<WORDS> {
        pub(crate) const fn new() -> Self {
            Self([const { AtomicU64::new(0) }; WORDS])
        }

        #[inline(always)]
        pub(crate) fn span(&'static self) -> Span {
            // The words stay for good and are atomic: what a span asks for.
            let address = self.0.as_ptr().expose_provenance();
            Span { address, length: WORDS * size_of::<AtomicU64>() }
        }

        #[inline(always)]
        #[expect(clippy::cast_possible_truncation, reason = "addresses have 32 bits on wasm32")]
        pub(crate) fn address(&'static self) -> u32 {
            self.0.as_ptr().expose_provenance() as u32
        }
    }

    /// Set once: from then on the two halves belong together. One thread, so none sees them apart.
    #[derive(Debug)]
    pub(crate) struct SpanCell {
        address: AtomicUsize,
        length: AtomicUsize,
    }

    impl SpanCell {
        pub(crate) const fn new() -> Self {
            Self { address: AtomicUsize::new(0), length: AtomicUsize::new(0) }
        }

        #[inline(always)]
        pub(crate) fn get(&'static self) -> Option<Span> {
            let address = self.address.load(Relaxed);
            (address != 0).then(|| Span { address, length: self.length.load(Relaxed) })
        }

        pub(crate) fn set(&'static self, span: Span) {
            if self.address.load(Relaxed) == 0 {
                // In this order: a stop between the two leaves an empty cell, not half a span.
                self.length.store(span.length, Relaxed);
                self.address.store(span.address, Relaxed);
            }
        }
    }
}
