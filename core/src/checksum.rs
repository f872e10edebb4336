//! The Internet checksum (RFC 1071), of IPv4, UDP and ICMP.

/// What a header's checksum field holds, given its bytes with that field zero.
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The sum before folding, to be added to that of a pseudo header; no IPv4 packet is long enough to overflow it.
pub fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

/// A sum with its carries added in; `0xffff` over bytes whose checksum is right.
pub fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
