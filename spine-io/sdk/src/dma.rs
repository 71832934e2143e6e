//! DMA lists: having the runtime move bytes into a frame buffer (SPINE 3.4, 7.2).
//!
//! A list is the last thing a handler makes: it takes the place of the packet's bytes in the slot, and the
//! verdict that goes with it ends the handler. The runtime carries it out before the next message, so a
//! [`Scratch`] may be used again by then.

use spine_abi::dma::{Element, Form, Publish, Source, Strides, Transfer};
use spine_abi::{ErrorCode, Verdict};

use crate::message::Message;
use crate::region::Region;
use crate::sys::ScratchCell;

/// What a list is for, besides its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dma {
    /// The window whose frame this is: what `publish` and `tag` are about.
    pub window: u8,
    /// What the elements copy from.
    pub source: Source,
    /// Whether a frame ends, before or after the copies.
    pub publish: Publish,
    /// A number for the frame, such as its RTP timestamp: the slot's header shows it.
    pub tag: u32,
}

impl Message<'_> {
    /// Writes a list into the slot's arguments, over the packet's first bytes there (the packet itself
    /// does not change), and answers the verdict that has it carried out. Needs the `framebuffer` domain.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfRange`]: more than 16 elements, or more than 12 if any has strides.
    #[inline]
    pub fn dma(&mut self, elements: &[Element], dma: Dma) -> Result<Verdict, ErrorCode> {
        let plain = elements.iter().all(|element| element.strides == Strides::NONE);
        let form = if plain { Form::Plain } else { Form::Strided };
        self.write_list(elements.iter().copied(), form, dma)
    }

    /// The same for elements without strides that are made while they are written: a handler needs no memory
    /// for a list of them, nor the fuel to fill it. Their `strides` are not looked at.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfRange`]: more than 16 elements.
    #[inline]
    pub fn plain_dma(
        &mut self,
        elements: impl Iterator<Item = Element>,
        dma: Dma,
    ) -> Result<Verdict, ErrorCode> {
        self.write_list(elements, Form::Plain, dma)
    }

    #[inline]
    fn write_list(
        &mut self,
        elements: impl Iterator<Item = Element>,
        form: Form,
        dma: Dma,
    ) -> Result<Verdict, ErrorCode> {
        let mut places = self.arguments_mut().chunks_exact_mut(form.bytes()).take(form.most());
        let mut count = 0;
        for element in elements {
            element.write(form, places.next().ok_or(ErrorCode::OutOfRange)?)?;
            count += 1;
        }
        let Dma { window, source, publish, tag } = dma;
        Ok(Verdict::Dma(Transfer { window, elements: count, source, form, publish, tag }))
    }
}

/// Memory of the extension's own for bytes to be moved from, in a static:
/// `static PIXELS: Scratch<1024> = Scratch::new();` has 1024 words of eight bytes.
///
/// What one handler leaves there the next one finds; a stopped one may have written half.
#[derive(Debug)]
pub struct Scratch<const WORDS: usize>(ScratchCell<WORDS>);

impl<const WORDS: usize> Scratch<WORDS> {
    /// Zeros.
    pub const fn new() -> Self {
        Self(ScratchCell::new())
    }

    /// The memory, to be written.
    #[inline(always)]
    pub fn memory(&'static self) -> Region {
        Region(self.0.span())
    }

    /// What an element with [`Source::Scratch`] says to copy from byte `offset` on.
    #[inline(always)]
    pub fn address(&'static self, offset: u32) -> u32 {
        self.0.address().wrapping_add(offset)
    }
}

impl<const WORDS: usize> Default for Scratch<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use spine_abi::dma::Direction;

    use super::*;
    use crate::testing::{Call, scratch};

    static SCRATCH: Scratch<4> = Scratch::new();
    static OTHER: Scratch<4> = Scratch::new();

    const DMA: Dma = Dma { window: 3, source: Source::Packet, publish: Publish::After, tag: 9 };

    fn element(line: u16) -> Element {
        Element { source: 62, window: 3, line, x: 1, length: 4, strides: Strides::NONE }
    }

    #[test]
    fn a_list_takes_the_place_of_the_packet_in_the_slot() {
        let elements: Vec<_> = (0..16).map(element).collect();
        let outcome =
            Call::packet(&[7; 100]).run(|_, message| message.dma(&elements, DMA).unwrap());
        assert_eq!(outcome.dma, elements);
        let Verdict::Dma(transfer) = outcome.verdict else { panic!("{:?}", outcome.verdict) };
        assert_eq!((transfer.elements, transfer.form, transfer.tag), (16, Form::Plain, 9));
    }

    #[test]
    fn plain_elements_are_written_as_they_are_made() {
        let elements: Vec<_> = (0..16).map(element).collect();
        let outcome = Call::packet(&[7; 300]).run(|_, message| {
            let too_many = message.plain_dma((0..17).map(element), DMA);
            assert_eq!(too_many, Err(ErrorCode::OutOfRange));
            message.plain_dma((0..16).map(element), DMA).unwrap()
        });
        assert_eq!(outcome.dma, elements);
    }

    #[test]
    fn one_strided_element_makes_the_list_strided_and_lists_have_an_end() {
        let strides =
            Strides { pieces: 3, source: 3, target: 4, lane: 1, direction: Direction::Along };
        let mut elements: Vec<_> = (0..12).map(element).collect();
        elements[4].strides = strides;
        let outcome = Call::packet(&[7; 300]).run(|_, message| {
            let too_many: Vec<_> = (0..17).map(element).collect();
            assert_eq!(message.dma(&too_many, DMA), Err(ErrorCode::OutOfRange));
            let too_many = [&elements[..], &[element(1)]].concat();
            assert_eq!(message.dma(&too_many, DMA), Err(ErrorCode::OutOfRange));
            message.dma(&elements, DMA).unwrap()
        });
        assert_eq!(outcome.dma, elements);
    }

    #[test]
    fn scratch_is_found_by_its_address() {
        SCRATCH.memory().set_u64(8, 0x0807_0605_0403_0201);
        OTHER.memory().set_u64(8, u64::MAX);
        assert_eq!(scratch(SCRATCH.address(9), 4), [2, 3, 4, 5]);
        assert_eq!(scratch(OTHER.address(0), 16)[8..], [0xff; 8]);
        assert_eq!(SCRATCH.memory().length(), 32);
    }
}
