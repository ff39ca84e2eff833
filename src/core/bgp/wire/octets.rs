//! Reading and writing octets without indexing, so that no length from outside can panic.

/// What remains to be read of a slice; every read is checked, and a failed one takes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Reader<'a> {
        Reader(octets)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All that remains.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A block that its own 1-octet length precedes.
    pub(super) fn block8(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let length = ahead.u8()?;
        let block = ahead.take(usize::from(length))?;
        *self = ahead;
        Some(block)
    }

    /// A block that its own 2-octet length precedes.
    pub(super) fn block16(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let length = ahead.u16()?;
        let block = ahead.take(usize::from(length))?;
        *self = ahead;
        Some(block)
    }
}

/// Overwrites two octets at `at`, which were written before.
pub(super) fn patch_u16(out: &mut [u8], at: usize, value: u16) {
    if let Some(slot) = out.get_mut(at..).and_then(|tail| tail.first_chunk_mut::<2>()) {
        *slot = value.to_be_bytes();
    }
}

/// How many octets were appended to `out` since it was `start` long.
pub(super) fn written(out: &[u8], start: usize) -> usize {
    out.len().saturating_sub(start)
}
