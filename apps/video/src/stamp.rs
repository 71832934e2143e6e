//! A frame's number in every one of its lines, so that a torn picture is seen by a program.
//!
//! The leftmost 64 pixels of a line are 16 blocks of four, black for 0 and white for 1, the highest bit
//! first. Black and white stay what they are through every format and conversion. A picture whose lines
//! do not all carry one number consists of two frames.

/// Pixels of a stamp.
pub const WIDTH: usize = BITS * BLOCK;
const BITS: usize = 16;
const BLOCK: usize = 4;
const WHITE: u32 = 0x00ff_ffff;

/// The 64 pixels for a frame's number.
pub fn pixels(number: u16) -> [u32; WIDTH] {
    std::array::from_fn(|x| if number & (0x8000 >> (x / BLOCK)) != 0 { WHITE } else { 0 })
}

/// The number in a line of pixels; `None` if it is too short or grey.
pub fn read(line: &[u32]) -> Option<u16> {
    let blocks = line.get(..WIDTH)?.chunks_exact(BLOCK);
    blocks.into_iter().try_fold(0, |number, block| {
        // Inside of the block, where the colour difference of a neighbour does not reach.
        match block[1].to_be_bytes()[2] {
            0..=63 => Some(number << 1),
            192..=255 => Some(number << 1 | 1),
            _ => None,
        }
    })
}

/// What the lines of a picture say of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All carry this one.
    Whole(u16),
    /// Two carry different ones: it consists of two frames.
    Torn,
    /// There is no stamp: another picture than our test pattern.
    Unstamped,
}

/// Reads a whole picture, given line by line.
pub fn judge<'a>(lines: impl Iterator<Item = &'a [u32]>) -> Verdict {
    let mut verdict = Verdict::Unstamped;
    for line in lines {
        let Some(number) = read(line) else { return Verdict::Unstamped };
        match verdict {
            Verdict::Unstamped => verdict = Verdict::Whole(number),
            Verdict::Whole(first) if first != number => return Verdict::Torn,
            _ => {}
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_and_two_in_one_picture_are_seen() {
        for number in [0, 1, 0x8000, 0xffff, 0xa5c3] {
            assert_eq!(read(&pixels(number)), Some(number));
        }
        let (one, other, grey) = (pixels(1), pixels(2), [0x0080_8080; 80]);
        let judge = |lines: &[&[u32]]| judge(lines.iter().copied());
        assert_eq!(judge(&[&one, &one]), Verdict::Whole(1));
        assert_eq!(judge(&[&one, &one, &other]), Verdict::Torn);
        assert_eq!(judge(&[&one, &grey]), Verdict::Unstamped);
        assert_eq!(judge(&[&one[..10]]), Verdict::Unstamped);
        assert_eq!(judge(&[]), Verdict::Unstamped);
    }
}
