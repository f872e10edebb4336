//! Classic BPF: the instructions that our socket filters are made of; opcodes of `linux/bpf_common.h`.
//!
//! `at` counts bytes from where the socket hands out a packet; "after the header" from the end of the IPv4 header that
//! [`index_header_length`] measured. A jump counts the instructions to skip.

use socket2::SockFilter;

/// Lets the packet through, whole.
pub(super) const ACCEPT: SockFilter = SockFilter::new(0x06, 0, 0, u32::MAX);
/// Throws it away.
pub(super) const REJECT: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// What the kernel made of the frame, instead of its bytes (`SKF_AD_OFF + SKF_AD_PKTTYPE` of linux/filter.h). A frame with
/// a VLAN tag that no interface takes comes without the tag, as one for another host (`__netif_receive_skb_core`,
/// net/core/dev.c); VID 0 is no VLAN.
pub(super) const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;

pub(super) const fn load_byte(at: u32) -> SockFilter {
    SockFilter::new(0x30, 0, 0, at)
}

pub(super) const fn load_half(at: u32) -> SockFilter {
    SockFilter::new(0x28, 0, 0, at)
}

pub(super) const fn load_word(at: u32) -> SockFilter {
    SockFilter::new(0x20, 0, 0, at)
}

pub(super) const fn load_byte_after_header(at: u32) -> SockFilter {
    SockFilter::new(0x50, 0, 0, at)
}

pub(super) const fn load_half_after_header(at: u32) -> SockFilter {
    SockFilter::new(0x48, 0, 0, at)
}

/// Whom a frame is for, as the interface that it came in by sees it: `PACKET_HOST`, `PACKET_BROADCAST`, … (`packet(7)`).
pub(super) const LOAD_PACKET_TYPE: SockFilter = SockFilter::new(0x20, 0, 0, 0xffff_f004);

/// Measures the IPv4 header that begins at `at`.
pub(super) const fn index_header_length(at: u32) -> SockFilter {
    SockFilter::new(0xb1, 0, 0, at)
}

/// The packet has no IPv4 header: what comes after it begins at `at`.
pub(super) const fn index(at: u32) -> SockFilter {
    SockFilter::new(0x01, 0, 0, at)
}

pub(super) const fn jump_equal(value: u32, then: u8, otherwise: u8) -> SockFilter {
    SockFilter::new(0x15, then, otherwise, value)
}

pub(super) const fn jump_any_bit(mask: u32, then: u8, otherwise: u8) -> SockFilter {
    SockFilter::new(0x45, then, otherwise, mask)
}
