//! The numbers that go from one extension to another.

/// A number as an interface between extensions takes and gives it.
///
/// Nothing else goes across: memory stays with its extension (SPINE 3.4).
pub trait Number: Copy {
    /// Its bits, in the low part of 64.
    fn to_bits(self) -> u64;
    /// The number with the low part of these bits.
    fn from_bits(bits: u64) -> Self;
}

macro_rules! number {
    ($($type:ty: $to:expr, $from:expr;)*) => {$(
        impl Number for $type {
            #[inline]
            fn to_bits(self) -> u64 {
                let to: fn($type) -> u64 = $to;
                to(self)
            }

            #[inline]
            fn from_bits(bits: u64) -> Self {
                let from: fn(u64) -> $type = $from;
                from(bits)
            }
        }
    )*};
}

number! {
    u32: u64::from, |bits| (bits & 0xffff_ffff) as u32;
    i32: |number| u64::from(number.cast_unsigned()), |bits| ((bits & 0xffff_ffff) as u32).cast_signed();
    u64: |number| number, |bits| bits;
    i64: i64::cast_unsigned, u64::cast_signed;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives() {
        for number in [0, 1, -1, i32::MIN, i32::MAX] {
            assert_eq!(i32::from_bits(number.to_bits()), number);
            assert_eq!(u32::from_bits(number.cast_unsigned().to_bits()), number.cast_unsigned());
            let wide = i64::from(number) << 32 | 5;
            assert_eq!(i64::from_bits(wide.to_bits()), wide);
        }
        assert_eq!((-1_i32).to_bits(), 0xffff_ffff, "nothing above its 32 bits");
    }
}
