//! The 28 bytes of IPv4 and UDP header around a DHCP message, written and read.
//!
//! A guest without an address cannot be reached through the host's own IP stack (it would ask by ARP first), and a
//! guest behind vhost drops replies whose UDP checksum was left to the network card; so replies leave through a
//! packet socket with headers and full checksums from here, and requests come in the same way.

use std::net::Ipv4Addr;

use crate::checksum::{checksum, fold, sum};

/// The UDP port of DHCP servers (RFC 2131 section 4.1).
pub const SERVER_PORT: u16 = 67;
/// The UDP port of DHCP clients (RFC 2131 section 4.1).
pub const CLIENT_PORT: u16 = 68;

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;
const TTL: u8 = 64;
/// CS6, network control, as other DHCP servers mark their replies.
const TOS: u8 = 0xc0;

/// A datagram to a DHCP server, taken out of its IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it; unspecified while the client has no address.
    pub source: Ipv4Addr,
    /// The server's address or the limited broadcast.
    pub destination: Ipv4Addr,
    /// The DHCP message.
    pub payload: &'a [u8],
}

/// The IPv4 packet that carries `payload` from `source` port 67 to `destination` port 68.
///
/// `None` if the payload does not fit into one packet.
pub fn wrap(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(UDP_HEADER + payload.len()).ok()?;
    let total = u16::try_from(IP_HEADER + UDP_HEADER + payload.len()).ok()?;
    let mut packet = Vec::with_capacity(usize::from(total));
    packet.extend([0x45, TOS]);
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0, 0, TTL, UDP, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let checksum = checksum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());

    packet.extend(SERVER_PORT.to_be_bytes());
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(udp_length.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    let checksum = !fold(pseudo_header(source, destination, udp_length) + sum(&packet[IP_HEADER..]));
    // Zero would say "no checksum" (RFC 768).
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    packet[IP_HEADER + 6..IP_HEADER + 8].copy_from_slice(&checksum.to_be_bytes());
    Some(packet)
}

/// The datagram to UDP port 67 in an IPv4 packet; `None` for anything else, for a fragment, for lengths that do not
/// fit each other and for wrong checksums.
///
/// A guest on this very host may leave the checksum to hardware that its frame never meets; what then stands in the
/// field is the sum over the pseudo header alone, and that is let through.
pub fn unwrap(packet: &[u8]) -> Option<Datagram<'_>> {
    let header_length = usize::from(packet.first()? & 0x0f) * 4;
    if packet.first()? >> 4 != 4 || header_length < IP_HEADER {
        return None;
    }
    let total = usize::from(be16(packet, 2)?);
    let (packet, header) = (packet.get(..total)?, packet.get(..header_length)?);
    let fragment = be16(header, 6)? & 0x3fff;
    if fragment != 0 || header[9] != UDP || fold(sum(header)) != 0xffff {
        return None;
    }
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);

    let udp = packet.get(header_length..)?;
    let length = be16(udp, 4)?;
    let udp = udp.get(..usize::from(length))?;
    let payload = udp.get(UDP_HEADER..)?;
    if be16(udp, 2)? != SERVER_PORT {
        return None;
    }
    let checksum = be16(udp, 6)?;
    let pseudo = pseudo_header(source, destination, length);
    let left_to_hardware = checksum == fold(pseudo);
    let fine = checksum == 0 || left_to_hardware || fold(pseudo + sum(udp)) == 0xffff;
    fine.then_some(Datagram {
        source,
        destination,
        payload,
    })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, udp_length: u16) -> u32 {
    sum(&source.octets()) + sum(&destination.octets()) + u32::from(UDP) + u32::from(udp_length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 124, 1);

    /// What a client sends: the same as `wrap`, with the ports the other way round (the sums do not change).
    fn request(payload: &[u8]) -> Vec<u8> {
        let mut packet = wrap(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, payload).unwrap();
        packet[20..24].copy_from_slice(&[0, 68, 0, 67]);
        packet
    }

    #[test]
    fn a_reply_carries_the_checksums_that_were_counted_by_hand() {
        let packet = wrap(SERVER, Ipv4Addr::new(192, 168, 124, 16), &[1, 2, 3]).unwrap();
        assert_eq!(packet[..12], [0x45, 0xc0, 0, 31, 0, 0, 0, 0, 64, 17, 0x00, 0xac]);
        assert_eq!(packet[20..28], [0, 67, 0, 68, 0, 11, 0x81, 0xec]);
    }

    #[test]
    fn only_whole_datagrams_to_port_67_get_in() {
        let good = request(b"hello");
        assert_eq!(unwrap(&good).map(|datagram| datagram.payload), Some(&b"hello"[..]));
        let mut padded = good.clone();
        padded.extend([0; 13]);
        assert_eq!(
            unwrap(&padded).map(|datagram| datagram.payload),
            Some(&b"hello"[..]),
            "Ethernet padding is cut off"
        );
        let change = |at: usize, value: u8| {
            let mut packet = good.clone();
            packet[at] = value;
            unwrap(&packet).is_none()
        };
        for (what, at, value) in [
            ("version 6", 0, 0x65),
            ("header of 16 bytes", 0, 0x44),
            ("longer than the frame", 3, 0xff),
            ("a fragment", 6, 0x20),
            ("TCP", 9, 6),
            ("wrong header checksum", 10, 0x12),
            ("another port", 23, 68),
            ("UDP length beyond the packet", 25, 0xff),
            ("UDP length below its header", 25, 7),
            ("wrong payload", 28, b'j'),
        ] {
            assert!(change(at, value), "{what}");
        }
        assert!(unwrap(&good[..27]).is_none());
    }

    #[test]
    fn a_checksum_left_to_hardware_or_left_out_gets_in() {
        let mut packet = request(b"hello");
        packet[26..28].copy_from_slice(&[0, 0]);
        assert!(unwrap(&packet).is_some());
        let partial = fold(pseudo_header(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, 13));
        packet[26..28].copy_from_slice(&partial.to_be_bytes());
        assert!(unwrap(&packet).is_some());
    }

    proptest! {
        #[test]
        fn what_is_wrapped_comes_out_again(payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            let packet = request(&payload);
            prop_assert_eq!(unwrap(&packet).map(|datagram| datagram.payload.to_vec()), Some(payload));
        }

        #[test]
        fn no_bytes_make_it_panic(packet in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = unwrap(&packet);
            let mut likely = packet;
            if let Some(first) = likely.first_mut() { *first = 0x45; }
            let _ = unwrap(&likely);
        }
    }
}
