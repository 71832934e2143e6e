//! Fields at fixed places in headers of fixed length.
//!
//! The place is part of the type, so that one outside of the header does not compile, and so that no
//! check is left for when it runs.

/// The `N` bytes at `AT`.
#[inline(always)]
pub(crate) fn get<const AT: usize, const N: usize, const BYTES: usize>(
    header: &[u8; BYTES],
) -> [u8; N] {
    const { assert!(AT + N <= BYTES, "the field is in the header") };
    let mut value = [0; N];
    value.copy_from_slice(&header[AT..AT + N]);
    value
}

/// Replaces the `N` bytes at `AT`.
#[inline(always)]
pub(crate) fn set<const AT: usize, const N: usize, const BYTES: usize>(
    header: &mut [u8; BYTES],
    value: [u8; N],
) {
    const { assert!(AT + N <= BYTES, "the field is in the header") };
    header[AT..AT + N].copy_from_slice(&value);
}

/// Defines `Header`: the bytes of one header, however they are held.
macro_rules! header {
    ($(#[$about:meta])* $bytes:ident) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Header<B>(B);

        impl<B: ::core::borrow::Borrow<[u8; $bytes]>> Header<B> {
            /// These bytes, whatever they say.
            #[inline(always)]
            pub const fn new(bytes: B) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[inline(always)]
            pub fn bytes(&self) -> &[u8; $bytes] {
                self.0.borrow()
            }
        }

        impl<'a> Header<&'a [u8; $bytes]> {
            /// The header that `bytes` start with, and what follows it.
            ///
            /// # Errors
            /// [`Error::Truncated`](crate::Error::Truncated).
            #[inline(always)]
            pub fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), crate::Error> {
                match bytes.split_first_chunk() {
                    Some((header, rest)) => Ok((Self(header), rest)),
                    None => Err(crate::Error::Truncated),
                }
            }
        }

        impl<'a> Header<&'a mut [u8; $bytes]> {
            /// The same, to be changed.
            ///
            /// # Errors
            /// [`Error::Truncated`](crate::Error::Truncated).
            #[inline(always)]
            pub fn split_mut(bytes: &'a mut [u8]) -> Result<(Self, &'a mut [u8]), crate::Error> {
                match bytes.split_first_chunk_mut() {
                    Some((header, rest)) => Ok((Self(header), rest)),
                    None => Err(crate::Error::Truncated),
                }
            }
        }
    };
}
pub(crate) use header;
