//! Big-endian reading and writing, and the errors of both.

/// Why bytes could not be understood. Offsets count from the start of the slice handed to the decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside `what`.
    #[error("{what}: {missing} more bytes expected")]
    Short {
        /// What was being read.
        what: &'static str,
        /// How many bytes were missing.
        missing: usize,
    },
    /// A length field contradicts its surroundings.
    #[error("{what}: length {len} is not possible here")]
    Length {
        /// What was being read.
        what: &'static str,
        /// The length found.
        len: usize,
    },
    /// A field that must be one of a few values is something else.
    #[error("{what}: value {value:#x} is not known")]
    Value {
        /// What was being read.
        what: &'static str,
        /// The value found.
        value: u64,
    },
    /// The message is of another OpenFlow version than 1.5 (0x06).
    #[error("OpenFlow version {0:#04x}, expected 0x06")]
    Version(u8),
    /// A match field that this crate does not know.
    #[error("match field {header:#010x} is not known")]
    Field {
        /// The OXM header.
        header: u32,
    },
}

/// Why a message could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// OpenFlow's length fields have 16 bits.
    #[error("{what} takes {len} bytes, more than the 65535 that OpenFlow can carry")]
    TooLong {
        /// What was being written.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
    },
}

/// A cursor over received bytes; every read is checked.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        match self.bytes.split_at_checked(n) {
            Some((head, tail)) => {
                self.bytes = tail;
                Ok(head)
            }
            None => Err(DecodeError::Short {
                what: self.what,
                missing: n - self.bytes.len(),
            }),
        }
    }

    pub(crate) fn skip(&mut self, n: usize) -> Result<(), DecodeError> {
        self.take(n).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, DecodeError> {
        self.array().map(u128::from_be_bytes)
    }

    /// A reader over the next `n` bytes, which this one then has behind it.
    pub(crate) fn sub(&mut self, n: usize, what: &'static str) -> Result<Reader<'a>, DecodeError> {
        Ok(Reader::new(self.take(n)?, what))
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn peek(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Skips the padding that brings `consumed` bytes to a multiple of eight; a sender may leave out the padding at the very end.
    pub(crate) fn pad8(&mut self, consumed: usize) -> Result<(), DecodeError> {
        self.skip(padding8(consumed).min(self.len()))
    }
}

/// The bytes as a big-endian number, unless it needs more than 128 bits.
pub(crate) fn be_uint(bytes: &[u8]) -> Option<u128> {
    let (head, tail) = bytes.split_at(bytes.len().saturating_sub(16));
    if head.iter().any(|b| *b != 0) {
        return None;
    }
    Some(tail.iter().fold(0, |acc, b| acc << 8 | u128::from(*b)))
}

/// How many bytes are missing from `len` to a multiple of eight.
pub(crate) const fn padding8(len: usize) -> usize {
    len.wrapping_neg() & 7
}

/// Writing helpers on a growing buffer. Lengths are patched in afterwards; whoever finishes a whole message checks that
/// it fits in 16 bits, so that a truncated inner length never leaves the process.
pub(crate) trait Put {
    fn u8(&mut self, v: u8);
    fn bytes(&mut self, v: &[u8]);
    fn u16(&mut self, v: u16) {
        self.bytes(&v.to_be_bytes());
    }
    fn u32(&mut self, v: u32) {
        self.bytes(&v.to_be_bytes());
    }
    fn u64(&mut self, v: u64) {
        self.bytes(&v.to_be_bytes());
    }
    /// The `n` low bytes of `v`, zero-extended when `n` is more than 16.
    fn uint(&mut self, v: u128, n: usize) {
        self.zeros(n.saturating_sub(16));
        self.bytes(&v.to_be_bytes()[16 - n.min(16)..]);
    }
    fn zeros(&mut self, n: usize) {
        for _ in 0..n {
            self.u8(0);
        }
    }
    /// Zeros up to a multiple of eight bytes since `start`.
    fn pad8(&mut self, start: usize);
    /// Writes at `at` how many bytes there are since `start`.
    fn patch_len(&mut self, at: usize, start: usize);
}

impl Put for Vec<u8> {
    fn u8(&mut self, v: u8) {
        self.push(v);
    }
    fn bytes(&mut self, v: &[u8]) {
        self.extend_from_slice(v);
    }
    fn pad8(&mut self, start: usize) {
        let n = padding8(self.len() - start);
        self.zeros(n);
    }
    fn patch_len(&mut self, at: usize, start: usize) {
        // Truncation is meant: see the trait.
        #[allow(clippy::cast_possible_truncation)]
        let len = (self.len() - start) as u16;
        self[at..at + 2].copy_from_slice(&len.to_be_bytes());
    }
}
