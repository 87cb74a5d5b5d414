//! Registers: where expressions leave values for one another.

/// The register for verdicts.
pub(super) const VERDICT: u32 = 0;

/// The register that begins with this slot of 4 bytes.
///
/// There are 16 such slots. The kernel knows them as 8 to 23, and by fours as 1 to 4; `nft` takes the latter where
/// it can, and reads the former as something else in places. So do we.
pub(super) const fn at(slot: u32) -> u32 {
    if slot.is_multiple_of(4) { 1 + slot / 4 } else { 8 + slot }
}

/// The register in which a match finds and compares one value.
pub(super) const FIRST: u32 = at(0);
/// The next one that begins behind an IPv6 address.
pub(super) const SECOND: u32 = at(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_named_as_nft_names_them() {
        assert_eq!([0, 1, 2, 4, 5, 8].map(at), [1, 9, 10, 2, 13, 3]);
    }
}
