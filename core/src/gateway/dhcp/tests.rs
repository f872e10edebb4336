//! What real clients send, what goes to the leases, and what comes back.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder};
use proptest::prelude::*;

use super::answer::{AGAIN, KEPT};
use super::in_use::{InUse, PATIENCE};
use super::offers::{OFFER_LIFE, Offers, UNANSWERED, UNANSWERED_THERE};
use super::served::OLDEST_ANSWER;
use super::server::MOST_PENDING;
use super::*;
use crate::addresses::{Answer, Basis, Claim, Request, Silence};
use crate::config::{BootFile, NetworkBoot};
use crate::id::{HostId, Mac, SegmentId};
use crate::time::{Duration, Instant};

const BLUE: SegmentId = SegmentId(7);
const GUEST: Mac = Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);
const HV2: HostId = HostId(2);
const HOUR: Duration = Duration::from_secs(3600);
const NOW: Instant = Instant::from_millis(100_000);
const GATEWAY: [u8; 4] = [192, 168, 124, 1];
const LEASED: [u8; 4] = [192, 168, 124, 16];

fn service() -> SegmentService {
    SegmentService {
        segment: BLUE,
        subnet: "192.168.124.0/24".parse().unwrap(),
        gateway: GATEWAY.into(),
        router: Some(GATEWAY.into()),
        mtu: 1450,
        dns: vec![[9, 9, 9, 9].into(), [1, 1, 1, 1].into()],
        domain: Some("blue.internal".to_owned()),
        options: BTreeMap::from([(42, GATEWAY.to_vec())]),
        boot: NetworkBoot::default(),
        reserved_boot: BTreeMap::new(),
        lease_time: HOUR,
    }
}

fn server() -> Server {
    let mut server = Server::new();
    server.set_segment(service());
    asked_ahead(&mut server);
    server
}

/// Whether a guest uses the addresses that are offered here was asked long enough ago.
fn asked_ahead(server: &mut Server) {
    server.handle_ahead(BLUE, &[LEASED.into()], NOW - PATIENCE);
    everything(server);
}

/// A request as a client composes it.
#[derive(Clone)]
struct Sent {
    bytes: Vec<u8>,
}

impl Sent {
    fn new(kind: u8) -> Self {
        let mut bytes = vec![0; 240];
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[4..8].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
        bytes[28..34].copy_from_slice(&GUEST.0);
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        Self { bytes }.option(53, &[kind])
    }

    fn option(mut self, code: u8, data: &[u8]) -> Self {
        self.bytes.extend([code, data.len() as u8]);
        self.bytes.extend(data);
        self
    }

    fn set(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn ciaddr(self, address: [u8; 4]) -> Self {
        self.set(12, &address)
    }

    fn broadcast(self) -> Self {
        self.set(10, &[0x80])
    }

    /// udhcpc: client-id, maximum size, a short list, padded to 300 bytes.
    fn udhcpc(self) -> Self {
        let mut sent = self
            .option(61, &[1, 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc])
            .option(57, &576u16.to_be_bytes())
            .option(55, &[1, 3, 6, 12, 15, 28, 42])
            .option(60, b"udhcp 1.35.0");
        sent.bytes.push(255);
        sent.bytes.resize(300, 0);
        sent
    }

    /// dhclient: host name and its long list, no client-id; asks for the MTU.
    fn dhclient(self) -> Self {
        self.option(12, b"web-1")
            .option(55, &[1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42])
            .end()
    }

    /// dhcpcd: client-id of the DUID kind, vendor class, the FQDN in the old spelling, a lease time it would like.
    fn dhcpcd(self) -> Self {
        self.option(
            61,
            &[
                0xff, 0, 0xaa, 0xbb, 0xcc, 0, 1, 0, 1, 0x2a, 1, 2, 3, 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc,
            ],
        )
        .option(57, &1472u16.to_be_bytes())
        .option(60, b"dhcpcd-9.4.1:Linux-6.18:x86_64:GenuineIntel")
        .option(81, &[0x30, 0, 0, b'w', b'e', b'b', 0xff])
        .option(145, &[1])
        .option(55, &[1, 121, 33, 3, 6, 15, 26, 28, 42, 51, 54, 58, 59, 119])
        .end()
    }

    /// systemd-networkd: DUID-EN client-id, rapid commit; by default it does not ask for the MTU.
    fn networkd(self) -> Self {
        self.option(61, &[0xff, 1, 2, 3, 4, 0, 2, 0, 0, 0xab, 0x11, 1, 2, 3, 4, 5, 6, 7, 8])
            .option(55, &[1, 3, 6, 12, 15, 42, 119, 120, 121])
            .option(57, &1472u16.to_be_bytes())
            .option(80, &[])
            .option(12, b"web-1")
            .end()
    }

    /// NetworkManager's own client.
    fn network_manager(self) -> Self {
        self.option(61, &[1, 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc])
            .option(
                55,
                &[1, 2, 6, 12, 15, 26, 28, 121, 3, 33, 40, 41, 42, 119, 249, 252, 17],
            )
            .option(57, &1472u16.to_be_bytes())
            .option(12, b"web-1")
            .end()
    }

    fn end(mut self) -> Self {
        self.bytes.push(255);
        self
    }

    fn packet(&self) -> Packet {
        Packet {
            bytes: self.bytes.clone(),
            source: GUEST,
            guest_host: Some(HV2),
        }
    }
}

fn everything(server: &mut Server) -> Vec<Effect> {
    std::iter::from_fn(|| server.poll_effect()).collect()
}

/// What the server wants done, but for looking ahead.
fn drain(server: &mut Server) -> Vec<Effect> {
    let mut effects = everything(server);
    effects.retain(|effect| !matches!(effect, Effect::LookAhead { .. }));
    effects
}

/// The one question that a message leads to.
fn asked(server: &mut Server, sent: &Sent) -> (u64, Request) {
    server.handle_packet(BLUE, &sent.packet(), NOW);
    match drain(server).as_slice() {
        [Effect::Ask { token, request }] => (*token, request.clone()),
        other => panic!("{other:?} ignored {:?}", server.ignored()),
    }
}

struct Heard {
    mac: Mac,
    ip: Ipv4Addr,
    message: Message,
    bytes: Vec<u8>,
    order: Vec<u8>,
}

impl Heard {
    fn option(&self, code: OptionCode) -> Option<&DhcpOption> {
        self.message.opts().get(code)
    }

    fn kind(&self) -> MessageType {
        self.message.opts().msg_type().unwrap()
    }
}

fn heard(effects: &[Effect]) -> Heard {
    let to_guests = effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::AskGuests { .. }));
    let replies: Vec<&Effect> = to_guests.collect();
    let [
        Effect::Reply {
            segment,
            destination_mac,
            source,
            destination,
            bytes,
        },
    ] = replies[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*segment, source.octets()), (BLUE, GATEWAY));
    assert!(bytes.len() >= 300, "{} bytes", bytes.len());
    let message = Message::decode(&mut Decoder::new(bytes)).unwrap();
    assert_eq!(message.xid(), 0xdead_beef);
    assert_eq!(message.chaddr(), GUEST.0);
    assert_eq!(
        message.opts().get(OptionCode::ServerIdentifier),
        Some(&DhcpOption::ServerIdentifier(GATEWAY.into()))
    );
    let mut order = Vec::new();
    let mut at = 240;
    while bytes[at] != 255 {
        order.push(bytes[at]);
        at += 2 + usize::from(bytes[at + 1]);
    }
    Heard {
        mac: *destination_mac,
        ip: *destination,
        message,
        bytes: bytes.clone(),
        order,
    }
}

fn answered(server: &mut Server, sent: &Sent, answer: Answer) -> Heard {
    let (token, _) = asked(server, sent);
    server.handle_answer(token, answer, NOW);
    heard(&drain(server))
}

fn offer() -> Answer {
    Answer::Offer {
        address: LEASED.into(),
        lease_time: HOUR,
        hostname: None,
    }
}

fn ack() -> Answer {
    Answer::Ack {
        address: LEASED.into(),
        lease_time: HOUR,
        hostname: Some("web".to_owned()),
        copies: 2,
    }
}

fn bind(address: [u8; 4], basis: Basis, client_id: &[u8], hostname: &str) -> Request {
    Request::Bind {
        segment: BLUE,
        address: address.into(),
        claim: Claim {
            client: GUEST,
            basis,
            guest_host: Some(HV2),
            lease_time: HOUR,
            client_id: client_id.to_vec(),
            hostname: hostname.to_owned(),
        },
    }
}

#[test]
fn each_message_asks_the_leases_what_it_means() {
    let find = |wish: Option<[u8; 4]>| Request::Find {
        segment: BLUE,
        client: GUEST,
        wish: wish.map(IpAddr::from),
    };
    let cases = [
        ("discover", Sent::new(1).end(), find(None)),
        (
            "discover, with a wish",
            Sent::new(1).option(50, &LEASED).end(),
            find(Some(LEASED)),
        ),
        (
            "discover, with a wish for elsewhere",
            Sent::new(1).option(50, &[10, 0, 0, 9]).end(),
            find(None),
        ),
        (
            "selecting",
            Sent::new(3).option(54, &GATEWAY).option(50, &LEASED).end(),
            bind(LEASED, Basis::Wanting, b"", ""),
        ),
        (
            "selecting, with another address in ciaddr",
            Sent::new(3)
                .option(54, &GATEWAY)
                .option(50, &LEASED)
                .ciaddr([192, 168, 124, 99])
                .end(),
            bind(LEASED, Basis::Wanting, b"", ""),
        ),
        (
            "renewing, with the server named",
            Sent::new(3).option(54, &GATEWAY).ciaddr(LEASED).end(),
            bind(LEASED, Basis::Having, b"", ""),
        ),
        (
            "selecting, with both names",
            Sent::new(3)
                .option(54, &GATEWAY)
                .option(50, &LEASED)
                .option(12, b"other")
                .option(81, b"\x01\0\0my web.example")
                .end(),
            bind(LEASED, Basis::Wanting, b"", "my-web"),
        ),
        (
            "init-reboot",
            Sent::new(3).option(50, &LEASED).dhclient(),
            bind(LEASED, Basis::Wanting, b"", "web-1"),
        ),
        (
            "renewing",
            Sent::new(3).ciaddr(LEASED).option(61, b"\x01id").end(),
            bind(LEASED, Basis::Having, b"\x01id", ""),
        ),
        (
            "rebinding",
            Sent::new(3).ciaddr(LEASED).broadcast().end(),
            bind(LEASED, Basis::Having, b"", ""),
        ),
        (
            "release",
            Sent::new(7).ciaddr(LEASED).option(54, &GATEWAY).end(),
            Request::Release {
                segment: BLUE,
                address: LEASED.into(),
                client: GUEST,
            },
        ),
        (
            "decline",
            Sent::new(4).option(50, &LEASED).option(54, &GATEWAY).end(),
            Request::Decline {
                segment: BLUE,
                address: LEASED.into(),
                client: GUEST,
            },
        ),
    ];
    for (what, sent, expected) in cases {
        assert_eq!(asked(&mut server(), &sent).1, expected, "{what}");
    }
}

#[test]
fn a_guest_that_was_offered_an_address_may_take_or_decline_it_unnamed_and_unbound() {
    let choices = [
        Sent::new(3).option(54, &GATEWAY).end(),
        Sent::new(3).option(54, &GATEWAY).ciaddr([192, 168, 124, 99]).end(),
    ];
    for chosen in choices {
        let mut server = server();
        answered(&mut server, &Sent::new(1).end(), offer());
        let (token, request) = asked(&mut server, &chosen);
        assert_eq!(request, bind(LEASED, Basis::Wanting, b"", ""));
        server.handle_answer(token, ack(), NOW);
        let leased = heard(&drain(&mut server));
        assert_eq!((leased.kind(), leased.ip.octets()), (MessageType::Ack, LEASED));
    }

    let mut server = server();
    answered(&mut server, &Sent::new(1).end(), offer());
    let declined = Sent::new(4).option(54, &GATEWAY).option(50, &LEASED).end();
    server.handle_packet(BLUE, &declined.packet(), NOW);
    let requests = drain(&mut server).into_iter().filter_map(|effect| match effect {
        Effect::Ask { request, .. } => Some(request),
        Effect::Reply { .. }
        | Effect::AskGuests { .. }
        | Effect::LookAhead { .. }
        | Effect::InUse { .. }
        | Effect::Disbelieved { .. }
        | Effect::Unserved { .. } => None,
    });
    let (segment, address) = (BLUE, IpAddr::from(LEASED));
    let both = [
        Request::Decline {
            segment,
            address,
            client: GUEST,
        },
        Request::Conflict { segment, address },
    ];
    assert_eq!(requests.collect::<Vec<_>>(), both);
    assert_eq!(
        asked(&mut server, &declined).1,
        both[0],
        "an address that the guest was not offered since is not set aside by its word"
    );
}

#[test]
fn an_offer_is_taken_unnamed_only_while_it_stands() {
    let mut server = server();
    answered(&mut server, &Sent::new(1).end(), offer());
    let chosen = Sent::new(3).option(54, &GATEWAY).end();
    server.handle_packet(BLUE, &chosen.packet(), NOW + OFFER_LIFE + Duration::from_millis(1));
    assert_eq!(drain(&mut server), []);
    assert_eq!(server.ignored(), &BTreeMap::from([(Ignored::NothingOffered, 1)]));
}

/// Replies to a guest that asks for server and file, and what of each it hears: siaddr, file, option 66, option 67.
fn boots(service: SegmentService, sent: Sent) -> (Ipv4Addr, String, Option<String>, Option<String>) {
    let mut server = server();
    server.set_segment(service);
    let told = answered(&mut server, &sent.option(55, &[66, 67]).end(), offer());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let field = |range: std::ops::Range<usize>| text(told.bytes[range].split(|byte| *byte == 0).next().unwrap());
    let option = |code| match told.option(code) {
        Some(DhcpOption::TFTPServerName(name) | DhcpOption::BootfileName(name)) => Some(text(name)),
        _ => None,
    };
    (
        told.message.siaddr(),
        field(108..236),
        option(OptionCode::TFTPServerName),
        option(OptionCode::BootfileName),
    )
}

#[test]
fn a_guest_boots_what_fits_it() {
    let next_server = Ipv4Addr::new(192, 168, 124, 5);
    let by_client = BootFile::ByClient {
        architectures: BTreeMap::from([(0, "undionly.kpxe".to_owned()), (7, "ipxe.efi".to_owned())]),
        ipxe: Some("http://192.168.124.5/boot.ipxe".to_owned()),
    };
    let segment = |boot_file: BootFile| SegmentService {
        boot: NetworkBoot {
            next_server: Some(next_server),
            boot_file: Some(boot_file),
        },
        ..service()
    };
    let asks: Dress = |sent| sent;
    let cases: [(&str, Dress, BootFile, Option<&str>); 8] = [
        ("any", asks, BootFile::Same("pxelinux.0".to_owned()), Some("pxelinux.0")),
        (
            "BIOS",
            |sent| sent.option(93, &[0, 0]),
            by_client.clone(),
            Some("undionly.kpxe"),
        ),
        (
            "UEFI",
            |sent| sent.option(93, &[0, 7]),
            by_client.clone(),
            Some("ipxe.efi"),
        ),
        (
            "the first that is known",
            |sent| sent.option(93, &[0, 9, 0, 7]),
            by_client.clone(),
            Some("ipxe.efi"),
        ),
        ("another", |sent| sent.option(93, &[0, 11]), by_client.clone(), None),
        ("no architecture", asks, by_client.clone(), None),
        (
            "iPXE by its class",
            |sent| sent.option(93, &[0, 7]).option(77, b"iPXE"),
            by_client.clone(),
            Some("http://192.168.124.5/boot.ipxe"),
        ),
        (
            "iPXE by its options",
            |sent| sent.option(93, &[0, 0]).option(175, &[1, 1, 1]),
            by_client.clone(),
            Some("http://192.168.124.5/boot.ipxe"),
        ),
    ];
    for (what, dress, file, expected) in cases {
        let (server, field, name, option) = boots(segment(file), dress(Sent::new(1)));
        assert_eq!(
            (server, name.as_deref()),
            (next_server, Some("192.168.124.5")),
            "{what}"
        );
        assert_eq!(option.as_deref(), expected, "{what}");
        assert_eq!(field, expected.unwrap_or_default(), "{what}");
    }
}

#[test]
fn a_reservation_boots_its_own_and_the_rest_of_the_segments() {
    let named = |file: &str| Some(BootFile::Same(file.to_owned()));
    let mut service = SegmentService {
        boot: NetworkBoot {
            next_server: Some([192, 168, 124, 5].into()),
            boot_file: named("pxelinux.0"),
        },
        reserved_boot: BTreeMap::from([(
            GUEST,
            NetworkBoot {
                next_server: None,
                boot_file: named(&"x".repeat(128)),
            },
        )]),
        ..service()
    };
    let (server, field, name, option) = boots(service.clone(), Sent::new(1));
    assert_eq!(server.octets(), [192, 168, 124, 5]);
    assert_eq!(name.as_deref(), Some("192.168.124.5"));
    assert_eq!(
        (field.as_str(), option.map(|file| file.len())),
        ("", Some(128)),
        "too long for the field"
    );
    service.options.insert(66, b"tftp.blue.internal".to_vec());
    let (server, _, name, _) = boots(service.clone(), Sent::new(1));
    assert_eq!(server.octets(), [192, 168, 124, 5]);
    assert_eq!(
        name.as_deref(),
        Some("tftp.blue.internal"),
        "the operator's own option 66"
    );

    let mut server = super::tests::server();
    server.set_segment(service);
    let refused = answered(&mut server, &Sent::new(3).option(50, &LEASED).end(), Answer::Nak);
    assert!(refused.message.siaddr().is_unspecified());
}

#[test]
fn option_81_is_answered_with_the_reserved_name_in_the_domain() {
    let chosen = Sent::new(3)
        .option(54, &GATEWAY)
        .option(50, &LEASED)
        .option(81, b"\x05\0\0\x04mine\0")
        .end();
    let leased = answered(&mut server(), &chosen, ack());
    let at = leased.bytes.windows(2).position(|pair| pair == [81, 22]).unwrap();
    assert_eq!(
        &leased.bytes[at + 2..at + 24],
        b"\x0e\xff\xff\x03web\x04blue\x08internal\0"
    );
}

#[test]
fn what_is_no_question_for_us_is_counted_and_left() {
    let relayed = Sent::new(1).set(24, &[10, 0, 0, 1]).end();
    let cases = [
        ("short", Sent { bytes: vec![1; 239] }, Ignored::Malformed),
        ("a reply", Sent::new(2).set(0, &[2]).end(), Ignored::NotARequest),
        ("an offer in a request", Sent::new(2).end(), Ignored::NotARequest),
        (
            "BOOTP",
            Sent {
                bytes: Sent::new(1).bytes[..240].to_vec(),
            },
            Ignored::Bootp,
        ),
        (
            "a wrong cookie is BOOTP",
            Sent::new(1).set(236, &[0]).end(),
            Ignored::Bootp,
        ),
        ("no Ethernet", Sent::new(1).set(1, &[32]).end(), Ignored::Malformed),
        (
            "a hardware address of 16 bytes",
            Sent::new(1).set(2, &[16]).end(),
            Ignored::Malformed,
        ),
        ("a relay", relayed, Ignored::Relayed),
        (
            "another station's address",
            Sent::new(1).set(33, &[0xcd]).end(),
            Ignored::ForeignHardwareAddress,
        ),
        ("a request for nothing", Sent::new(3).end(), Ignored::Malformed),
        (
            "a choice of no offer",
            Sent::new(3).option(54, &GATEWAY).end(),
            Ignored::NothingOffered,
        ),
        (
            "another server's offer",
            Sent::new(3).option(54, &[10, 0, 0, 1]).option(50, &LEASED).end(),
            Ignored::OtherServer,
        ),
        (
            "another server's lease",
            Sent::new(7).ciaddr(LEASED).option(54, &[10, 0, 0, 1]).end(),
            Ignored::OtherServer,
        ),
        ("a release of nothing", Sent::new(7).end(), Ignored::Malformed),
        ("an inform without address", Sent::new(8).end(), Ignored::Malformed),
        (
            "an inform from elsewhere",
            Sent::new(8).ciaddr([10, 0, 0, 9]).end(),
            Ignored::ForeignAddress,
        ),
    ];
    for (what, sent, why) in cases {
        let mut server = server();
        server.handle_packet(BLUE, &sent.packet(), NOW);
        assert_eq!(drain(&mut server), [], "{what}");
        assert_eq!(server.ignored(), &BTreeMap::from([(why, 1)]), "{what}");
    }
    let mut server = server();
    server.handle_packet(SegmentId(8), &Sent::new(1).end().packet(), NOW);
    assert_eq!(server.ignored(), &BTreeMap::from([(Ignored::NotServed, 1)]));
}

#[test]
fn replies_go_where_the_guest_can_hear_them() {
    let everybody = (Mac::BROADCAST, Ipv4Addr::BROADCAST);
    let alone = (GUEST, Ipv4Addr::from(LEASED));
    let cases = [
        ("offer", Sent::new(1).end(), offer(), alone),
        ("offer by broadcast", Sent::new(1).broadcast().end(), offer(), everybody),
        ("ack", Sent::new(3).option(50, &LEASED).end(), ack(), alone),
        (
            "ack by broadcast",
            Sent::new(3).option(50, &LEASED).broadcast().end(),
            ack(),
            everybody,
        ),
        (
            "renewed, whatever the flag says",
            Sent::new(3).ciaddr(LEASED).broadcast().end(),
            ack(),
            alone,
        ),
        ("nak", Sent::new(3).option(50, &LEASED).end(), Answer::Nak, everybody),
    ];
    for (what, sent, answer, expected) in cases {
        let heard = answered(&mut server(), &sent, answer);
        assert_eq!((heard.mac, heard.ip), expected, "{what}");
    }
}

type Dress = fn(Sent) -> Sent;

#[test]
fn every_client_gets_a_lease_and_the_options_it_asks_for() {
    let cases: [(&str, Dress, &[u8]); 5] = [
        (
            "udhcpc",
            Sent::udhcpc,
            &[53, 54, 51, 58, 59, 61, 1, 26, 3, 6, 12, 15, 28, 42],
        ),
        (
            "dhclient",
            Sent::dhclient,
            &[53, 54, 51, 58, 59, 1, 26, 28, 3, 15, 6, 12, 42],
        ),
        (
            "dhcpcd",
            Sent::dhcpcd,
            &[53, 54, 51, 58, 59, 61, 1, 26, 81, 3, 6, 15, 28, 42],
        ),
        (
            "systemd-networkd",
            Sent::networkd,
            &[53, 54, 51, 58, 59, 61, 1, 26, 3, 6, 12, 15, 42],
        ),
        (
            "NetworkManager",
            Sent::network_manager,
            &[53, 54, 51, 58, 59, 61, 1, 26, 6, 12, 15, 28, 3, 42],
        ),
    ];
    for (what, dress, order) in cases {
        let mut server = server();
        let offered = answered(&mut server, &dress(Sent::new(1)), offer());
        assert_eq!(
            (offered.kind(), offered.message.yiaddr().octets()),
            (MessageType::Offer, LEASED),
            "{what}"
        );
        let chosen = Sent::new(3).option(54, &GATEWAY).option(50, &LEASED);
        let leased = answered(&mut server, &dress(chosen), ack());
        assert_eq!(
            (leased.kind(), leased.message.yiaddr().octets()),
            (MessageType::Ack, LEASED),
            "{what}"
        );
        assert_eq!(leased.order, order, "{what}");
        let sent_id = dress(Sent::new(1)).bytes;
        let sent_id = request::read(&sent_id).unwrap().client_id;
        let echoed = match leased.option(OptionCode::ClientIdentifier) {
            Some(DhcpOption::ClientIdentifier(id)) => id.clone(),
            _ => Vec::new(),
        };
        assert_eq!(echoed, sent_id, "{what}");
    }
}

#[test]
fn an_ack_tells_times_network_and_name() {
    let ack = answered(
        &mut server(),
        &Sent::new(3).option(54, &GATEWAY).option(50, &LEASED).end(),
        ack(),
    );
    for option in [
        DhcpOption::AddressLeaseTime(3600),
        DhcpOption::Renewal(1800),
        DhcpOption::Rebinding(3150),
        DhcpOption::SubnetMask([255, 255, 255, 0].into()),
        DhcpOption::InterfaceMtu(1450),
        DhcpOption::Router(vec![GATEWAY.into()]),
        DhcpOption::DomainNameServer(vec![[9, 9, 9, 9].into(), [1, 1, 1, 1].into()]),
        DhcpOption::DomainName("blue.internal".to_owned()),
        DhcpOption::Hostname("web".to_owned()),
        DhcpOption::BroadcastAddr([192, 168, 124, 255].into()),
        DhcpOption::NtpServers(vec![GATEWAY.into()]),
    ] {
        assert_eq!(ack.option(OptionCode::from(&option)), Some(&option));
    }
}

#[test]
fn an_isolated_segment_has_no_router_and_raw_options_replace_only_what_they_may() {
    let mut server = server();
    let options = BTreeMap::from([
        (6, vec![8, 8, 8, 8]),
        (26, vec![0, 1]),
        (51, vec![0; 4]),
        (66, vec![b'x'; 300]),
    ]);
    server.set_segment(SegmentService {
        router: None,
        options,
        ..service()
    });
    let big = Sent::new(1).option(57, &1400u16.to_be_bytes()).end();
    let offer = answered(&mut server, &big, offer());
    assert_eq!(offer.option(OptionCode::Router), None);
    assert_eq!(
        offer.option(OptionCode::InterfaceMtu),
        Some(&DhcpOption::InterfaceMtu(1450))
    );
    assert_eq!(
        offer.option(OptionCode::AddressLeaseTime),
        Some(&DhcpOption::AddressLeaseTime(3600))
    );
    assert_eq!(
        offer.option(OptionCode::DomainNameServer),
        Some(&DhcpOption::DomainNameServer(vec![[8, 8, 8, 8].into()]))
    );
    assert_eq!(
        offer.order.iter().filter(|code| **code == 66).count(),
        2,
        "RFC 3396: in two pieces"
    );
}

#[test]
fn a_reply_is_as_long_as_the_guest_takes() {
    let long = SegmentService {
        options: BTreeMap::from([(66, vec![b'x'; 200]), (67, vec![b'y'; 200])]),
        ..service()
    };
    for (largest, most) in [(None, 548), (Some(100u16), 548), (Some(900), 872), (Some(60_000), 1422)] {
        let mut server = server();
        server.set_segment(long.clone());
        let mut sent = Sent::new(1);
        if let Some(largest) = largest {
            sent = sent.option(57, &largest.to_be_bytes());
        }
        let (token, _) = asked(&mut server, &sent.end());
        server.handle_answer(token, offer(), NOW);
        let effects = drain(&mut server);
        let [Effect::AskGuests { .. }, Effect::Reply { bytes, .. }] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert!(bytes.len() <= most, "{largest:?}: {}", bytes.len());
        let pieces = heard(&effects)
            .order
            .iter()
            .filter(|code| [66, 67].contains(*code))
            .count();
        assert_eq!(pieces, if most > 800 { 2 } else { 1 }, "{largest:?}");
    }
}

#[test]
fn an_inform_is_told_options_and_no_times() {
    let mut server = server();
    let own = [192, 168, 124, 200];
    server.handle_packet(BLUE, &Sent::new(8).ciaddr(own).end().packet(), NOW);
    let told = heard(&drain(&mut server));
    assert_eq!(
        (told.kind(), told.mac, told.ip.octets()),
        (MessageType::Ack, GUEST, own)
    );
    assert!(told.message.yiaddr().is_unspecified());
    assert_eq!(told.order, [53, 54, 1, 26, 3, 6, 15, 28, 42]);
}

#[test]
fn an_address_of_another_subnet_is_refused_in_every_state() {
    let elsewhere = [10, 0, 0, 9];
    for sent in [
        Sent::new(3).option(50, &elsewhere).end(),
        Sent::new(3).option(54, &GATEWAY).option(50, &elsewhere).end(),
        Sent::new(3).ciaddr(elsewhere).end(),
    ] {
        let mut server = server();
        server.handle_packet(BLUE, &sent.packet(), NOW);
        let refused = heard(&drain(&mut server));
        assert_eq!((refused.kind(), refused.mac), (MessageType::Nak, Mac::BROADCAST));
        assert!(refused.message.yiaddr().is_unspecified() && refused.message.ciaddr().is_unspecified());
        assert_eq!(refused.option(OptionCode::AddressLeaseTime), None);
    }
}

#[test]
fn silence_of_the_leases_is_silence_to_the_guest() {
    let mut server = server();
    for (sent, answer) in [
        (Sent::new(1).end(), Answer::Silence(Silence::NoPool)),
        (Sent::new(3).ciaddr(LEASED).end(), Answer::Silence(Silence::OutOfReach)),
        (Sent::new(1).end(), Answer::Nak),
        (Sent::new(3).ciaddr(LEASED).end(), offer()),
    ] {
        let (token, _) = asked(&mut server, &sent);
        server.handle_answer(token, answer, NOW);
        assert_eq!(drain(&mut server), []);
        assert_eq!(server.poll_timeout(), None);
    }
}

/// The question that is asked again, when it is due.
fn asked_again(server: &mut Server) -> (u64, Request, Instant) {
    let at = server.poll_timeout().unwrap();
    server.handle_timeout(at);
    match drain(server).as_slice() {
        [Effect::Ask { token, request }] => (*token, request.clone(), at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_discover_is_kept_until_there_is_an_address() {
    for why in [Silence::NothingFree, Silence::NotOffered] {
        let mut server = server();
        let (token, first) = asked(&mut server, &Sent::new(1).option(50, &LEASED).end());
        server.handle_answer(token, Answer::Silence(why), NOW);
        assert_eq!(drain(&mut server), []);
        server.handle_timeout(NOW);
        assert_eq!(drain(&mut server), [], "not before its time");
        let (token, again, at) = asked_again(&mut server);
        assert_eq!((again, at), (first, NOW + AGAIN));
        server.handle_answer(token, offer(), at);
        assert_eq!(heard(&drain(&mut server)).kind(), MessageType::Offer);
        assert_eq!((server.poll_timeout(), server.unserved().count()), (None, 0));
    }
}

#[test]
fn the_newest_discover_of_a_guest_is_kept() {
    let mut server = server();
    let (token, _) = asked(&mut server, &Sent::new(1).end());
    server.handle_answer(token, Answer::Silence(Silence::NothingFree), NOW);
    let newer = Sent::new(1).option(50, &LEASED).end();
    let (token, _) = asked(&mut server, &newer);
    server.handle_timeout(NOW + AGAIN);
    assert_eq!(drain(&mut server), [], "the newer one is being asked for");
    server.handle_answer(token, Answer::Silence(Silence::NothingFree), NOW + AGAIN);
    let (_, again, _) = asked_again(&mut server);
    assert_eq!(again, asked(&mut super::tests::server(), &newer).1);
}

#[test]
fn a_guest_that_got_no_address_is_counted_and_told_of_once_a_minute() {
    let mut server = server();
    let mut told = 0;
    for round in 0..3 {
        let begin = NOW + Duration::from_secs(10 * round);
        server.handle_packet(BLUE, &Sent::new(1).end().packet(), begin);
        let mut now = begin;
        loop {
            match server.poll_effect() {
                Some(Effect::Ask { token, .. }) => {
                    server.handle_answer(token, Answer::Silence(Silence::NothingFree), now);
                }
                Some(Effect::Unserved { client, shortage, .. }) => {
                    assert_eq!((client, shortage), (GUEST, Shortage::Exhausted));
                    told += 1;
                }
                Some(other) => panic!("{other:?}"),
                None => {
                    let Some(at) = server.poll_timeout() else { break };
                    now = at;
                    server.handle_timeout(at);
                }
            }
        }
        assert_eq!(now, begin + KEPT);
    }
    let unserved: Vec<_> = server.unserved().collect();
    let [(BLUE, Shortage::Exhausted, counted)] = unserved[..] else {
        panic!("{unserved:?}")
    };
    assert_eq!(
        (told, counted.times, counted.last),
        (1, 3, NOW + Duration::from_secs(20) + KEPT)
    );
}

#[test]
fn a_guest_that_repeats_itself_faster_than_it_is_given_up_is_counted() {
    let mut server = server();
    for tenth in 0..60 {
        let now = NOW + AGAIN * tenth;
        server.handle_timeout(now);
        if tenth % 10 == 5 {
            server.handle_packet(BLUE, &Sent::new(1).end().packet(), now);
        }
        for effect in drain(&mut server) {
            if let Effect::Ask { token, .. } = effect {
                server.handle_answer(token, Answer::Silence(Silence::NothingFree), now);
            }
        }
    }
    let counted: Vec<_> = server.unserved().map(|(.., unserved)| unserved.times).collect();
    assert_eq!(counted, [2]);
}

#[test]
fn a_guest_beyond_max_leases_is_counted_at_once() {
    let mut server = server();
    let (token, _) = asked(&mut server, &Sent::new(1).end());
    server.handle_answer(token, Answer::Silence(Silence::MaxLeases), NOW);
    let [Effect::Unserved { shortage, .. }] = drain(&mut server)[..] else {
        panic!("it is told")
    };
    assert_eq!((shortage, server.poll_timeout()), (Shortage::MaxLeases, None));
}

#[test]
fn a_repeated_question_joins_the_first_and_a_new_one_replaces_it() {
    let mut server = server();
    let (first, _) = asked(&mut server, &Sent::new(1).end());
    server.handle_packet(BLUE, &Sent::new(1).end().packet(), NOW);
    assert_eq!(drain(&mut server), []);
    assert_eq!(server.ignored(), &BTreeMap::from([(Ignored::Repeated, 1)]));

    let (second, _) = asked(
        &mut server,
        &Sent::new(3).option(54, &GATEWAY).option(50, &LEASED).end(),
    );
    server.handle_answer(first, offer(), NOW);
    assert_eq!(drain(&mut server), [], "nobody waits for the offer any more");
    server.handle_answer(second, ack(), NOW);
    assert_eq!(heard(&drain(&mut server)).kind(), MessageType::Ack);
    server.handle_answer(second, ack(), NOW);
    assert_eq!(drain(&mut server), [], "each question is answered once");
}

#[test]
fn an_old_answer_is_dropped_and_the_guest_may_ask_again() {
    let mut server = server();
    let (token, _) = asked(&mut server, &Sent::new(1).end());
    server.handle_answer(token, offer(), NOW + OLDEST_ANSWER + Duration::from_millis(1));
    assert_eq!(drain(&mut server), []);
    let (lost, _) = asked(&mut server, &Sent::new(1).end());
    server.handle_packet(
        BLUE,
        &Sent::new(1).end().packet(),
        NOW + OLDEST_ANSWER + Duration::from_millis(1),
    );
    assert!(matches!(drain(&mut server).as_slice(), [Effect::Ask { token, .. }] if *token != lost));
}

#[test]
fn open_questions_are_bounded() {
    let mut server = server();
    let from = |number: u16, now| {
        let mac = [0x52, 0x54, 1, 0, (number >> 8) as u8, number as u8];
        (
            Packet {
                source: Mac(mac),
                ..Sent::new(1).set(28, &mac).end().packet()
            },
            now,
        )
    };
    for number in 0..=MOST_PENDING as u16 {
        let (packet, now) = from(number, NOW);
        server.handle_packet(BLUE, &packet, now);
    }
    assert_eq!(drain(&mut server).len(), MOST_PENDING);
    assert_eq!(server.ignored(), &BTreeMap::from([(Ignored::Busy, 1)]));
    let (packet, now) = from(5000, NOW + OLDEST_ANSWER + Duration::from_millis(1));
    server.handle_packet(BLUE, &packet, now);
    assert_eq!(drain(&mut server).len(), 1);
    assert_eq!(
        server.open_questions(),
        1,
        "questions that nobody answered are forgotten"
    );
}

#[test]
fn guests_that_get_no_address_do_not_keep_others_from_being_heard() {
    let mut server = server();
    for number in 0..MOST_PENDING as u16 {
        let mac = [0x52, 0x54, 1, 0, (number >> 8) as u8, number as u8];
        let sent = Sent::new(1).set(28, &mac).end();
        let packet = Packet {
            source: Mac(mac),
            ..sent.packet()
        };
        server.handle_packet(BLUE, &packet, NOW);
        let [Effect::Ask { token, .. }] = drain(&mut server)[..] else {
            panic!("it is asked for")
        };
        server.handle_answer(token, Answer::Silence(Silence::NothingFree), NOW);
    }
    let renewed = answered(&mut server, &Sent::new(3).ciaddr(LEASED).end(), ack());
    assert_eq!((renewed.kind(), server.ignored().len()), (MessageType::Ack, 0));
}

#[test]
fn stepping_down_silences_the_segment() {
    let mut server = server();
    let (token, _) = asked(&mut server, &Sent::new(1).end());
    server.remove_segment(BLUE);
    server.handle_answer(token, offer(), NOW);
    assert_eq!(drain(&mut server), []);
}

/// What a server asks of the guests, and of the leases on their account.
fn asked_of_guests(effects: &[Effect]) -> Vec<Ipv4Addr> {
    let mut asked = Vec::new();
    for effect in effects {
        if let Effect::AskGuests { addresses, .. } = effect {
            asked.extend(addresses);
        }
    }
    asked
}

const NEIGHBOUR: Mac = Mac([0x52, 0x54, 0, 0, 0, 9]);

#[test]
fn the_next_addresses_are_asked_ahead_once_and_then_offered_at_once() {
    let mut server = Server::new();
    server.set_segment(service());
    assert_eq!(everything(&mut server), [Effect::LookAhead { segment: BLUE }]);
    let next: Vec<IpAddr> = (16..24).map(|last| IpAddr::from([192, 168, 124, last])).collect();
    server.handle_ahead(BLUE, &next[..7], NOW - PATIENCE);
    let asked = asked_of_guests(&everything(&mut server));
    let expected: Vec<IpAddr> = [IpAddr::from(GATEWAY)]
        .into_iter()
        .chain(next[..7].iter().copied())
        .collect();
    assert_eq!(asked.into_iter().map(IpAddr::V4).collect::<Vec<_>>(), expected);
    server.handle_ahead(BLUE, &next, NOW);
    assert_eq!(
        asked_of_guests(&everything(&mut server)),
        [Ipv4Addr::new(192, 168, 124, 23)],
        "the new one"
    );
    let offered = answered(&mut server, &Sent::new(1).end(), offer());
    assert_eq!((offered.kind(), server.poll_timeout()), (MessageType::Offer, None));
}

#[test]
fn an_address_that_was_not_asked_for_is_offered_after_20_ms_of_silence() {
    let mut server = Server::new();
    server.set_segment(service());
    drain(&mut server);
    let (token, _) = asked(&mut server, &Sent::new(1).end());
    server.handle_answer(token, offer(), NOW);
    assert_eq!(asked_of_guests(&drain(&mut server)), [Ipv4Addr::from(LEASED)]);
    server.handle_packet(BLUE, &Sent::new(1).end().packet(), NOW);
    server.handle_timeout(NOW + Duration::from_millis(19));
    assert_eq!(drain(&mut server), []);
    server.handle_arp(BLUE, GUEST, LEASED.into(), NOW);
    assert_eq!(drain(&mut server), [], "the client's own answer is none");
    assert_eq!(server.poll_timeout(), Some(NOW + PATIENCE));
    server.handle_timeout(NOW + PATIENCE);
    assert_eq!(heard(&drain(&mut server)).kind(), MessageType::Offer);
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn where_another_guest_answers_the_leases_are_asked_for_another_address() {
    let mut server = Server::new();
    server.set_segment(service());
    let (token, find) = {
        drain(&mut server);
        asked(&mut server, &Sent::new(1).end())
    };
    server.handle_answer(token, offer(), NOW);
    drain(&mut server);
    server.handle_arp(BLUE, NEIGHBOUR, LEASED.into(), NOW);
    let effects = drain(&mut server);
    let [Effect::InUse { by: NEIGHBOUR, .. }, Effect::Ask { token, request }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(*request, find);
    // The next one was not asked for either: the guest waits no longer than before.
    let other = Answer::Offer {
        address: [192, 168, 124, 17].into(),
        lease_time: HOUR,
        hostname: None,
    };
    server.handle_answer(*token, other, NOW + Duration::from_millis(15));
    drain(&mut server);
    server.handle_timeout(NOW + PATIENCE);
    assert_eq!(
        heard(&drain(&mut server)).message.yiaddr(),
        Ipv4Addr::new(192, 168, 124, 17)
    );
    server.handle_arp(BLUE, NEIGHBOUR, [192, 168, 124, 99].into(), NOW);
    assert_eq!(drain(&mut server), [], "nobody asked");
}

#[test]
fn a_crowd_does_not_wait_for_answers() {
    let mut server = Server::new();
    server.set_segment(service());
    drain(&mut server);
    let mut waiting = 0;
    for number in 0..100 {
        let mac = Mac([0x52, 0x54, 1, 0, 0, number]);
        let packet = Packet {
            source: mac,
            ..Sent::new(1).set(28, &mac.0).end().packet()
        };
        server.handle_packet(BLUE, &packet, NOW);
        let [Effect::Ask { token, .. }] = drain(&mut server)[..] else {
            panic!("it is asked")
        };
        let found = Answer::Offer {
            address: [192, 168, 124, 16 + number].into(),
            lease_time: HOUR,
            hostname: None,
        };
        server.handle_answer(token, found, NOW);
        let effects = drain(&mut server);
        assert_eq!(asked_of_guests(&effects).len(), 1, "asked meanwhile");
        waiting += usize::from(!effects.iter().any(|effect| matches!(effect, Effect::Reply { .. })));
    }
    assert_eq!(waiting, AHEAD + 1);
}

#[test]
fn a_guest_that_says_it_has_every_address_is_not_believed_and_named() {
    let mut server = Server::new();
    server.set_segment(service());
    drain(&mut server);
    let mut believed = 0;
    for last in 16..26 {
        let address = Ipv4Addr::new(192, 168, 124, last);
        let now = NOW + Duration::from_secs(u64::from(last));
        server.handle_ahead(BLUE, &[address.into()], now);
        drain(&mut server);
        server.handle_arp(BLUE, NEIGHBOUR, address, now);
        let effects = drain(&mut server);
        let [effect] = &effects[..] else { panic!("{effects:?}") };
        believed += usize::from(matches!(effect, Effect::InUse { .. }));
    }
    assert_eq!(believed, 4);
    let later = NOW + Duration::from_secs(30);
    assert_eq!(server.disbelieved(later).collect::<Vec<_>>(), [(BLUE, NEIGHBOUR)]);
    let decline = Sent::new(4)
        .set(28, &NEIGHBOUR.0)
        .option(50, &LEASED)
        .option(54, &GATEWAY)
        .end();
    let packet = Packet {
        source: NEIGHBOUR,
        ..decline.packet()
    };
    server.handle_packet(BLUE, &packet, later);
    assert_eq!(server.ignored(), &BTreeMap::from([(Ignored::Disbelieved, 1)]));
    assert_eq!(
        server.disbelieved(later + HOUR).count(),
        0,
        "an hour later it is believed again"
    );
}

#[test]
fn a_guest_with_one_address_is_believed_each_time() {
    let mut server = server();
    for round in 0..10 {
        let now = NOW + Duration::from_secs(round * 61);
        server.handle_ahead(BLUE, &[LEASED.into()], now);
        drain(&mut server);
        server.handle_arp(BLUE, NEIGHBOUR, LEASED.into(), now);
        assert!(matches!(drain(&mut server)[..], [Effect::InUse { .. }]), "{round}");
    }
    assert_eq!(server.disbelieved(NOW).count(), 0);
}

#[test]
fn many_guests_that_answer_are_remembered_in_a_bounded_memory() {
    let mut in_use = InUse::default();
    let guest = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        Mac([0x52, 0x54, 2, a, b, c])
    };
    for number in 0..5_000 {
        let now = NOW + Duration::from_millis(u64::from(number));
        assert!(in_use.believes(guest(number), LEASED.into(), now));
    }
    for last in 1..=5 {
        let believed = in_use.believes(guest(4_999), Ipv4Addr::new(192, 168, 124, last), NOW);
        assert_eq!(believed, last < 4, "the last ones are those that are remembered");
    }
}

#[test]
fn where_nothing_is_free_the_oldest_unanswered_offer_of_the_fullest_port_is_taken() {
    let mut server = server();
    let client = |number: u8| Mac([0x52, 0x54, 1, 0, 0, number]);
    for (number, port) in [(1, "vnet1"), (2, "vnet2"), (3, "vnet2"), (4, "vnet2")] {
        let now = NOW + Duration::from_millis(u64::from(number));
        let packet = Packet {
            source: client(number),
            ..Sent::new(1).set(28, &client(number).0).end().packet()
        };
        server.handle_packet(BLUE, &packet, now);
        let [Effect::Ask { token, .. }] = drain(&mut server)[..] else {
            panic!("it is asked")
        };
        let found = Answer::Offer {
            address: [192, 168, 124, 100 + number].into(),
            lease_time: HOUR,
            hostname: None,
        };
        server.handle_answer(token, found, now);
        drain(&mut server);
        server.set_port(BLUE, client(number), (HV2, port.to_owned()));
    }
    let withdrawn = |server: &mut Server, now: Instant| {
        server.handle_packet(BLUE, &Sent::new(1).end().packet(), now);
        let [Effect::Ask { token, .. }] = drain(server)[..] else {
            panic!("it is asked")
        };
        server.handle_answer(token, Answer::Silence(Silence::NothingFree), now);
        drain(server)
    };
    assert_eq!(withdrawn(&mut server, NOW), [], "they are on their way");
    let effects = withdrawn(&mut server, NOW + UNANSWERED + Duration::from_millis(10));
    let [
        Effect::Ask {
            request: Request::Withdraw {
                address, client: whose, ..
            },
            ..
        },
        Effect::Ask {
            request: Request::Find { client: GUEST, .. },
            ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*address, *whose), ([192, 168, 124, 102].into(), client(2)));
}

#[test]
fn the_port_whose_guests_take_no_offer_is_named_where_another_guest_gets_none() {
    let mut offers = Offers::default();
    let client = |number: u8| Mac([0x52, 0x54, 1, 0, 0, number]);
    for number in 0..20 {
        offers.note(client(number), LEASED.into(), NOW);
    }
    assert_eq!(offers.crowd(), None, "nobody has told yet where they are");
    for number in 0..20 {
        offers.set_port(client(number), (HV2, format!("vnet{}", number / 18)));
    }
    assert_eq!(offers.crowd(), Some(((HV2, "vnet0".to_owned()), 18)));
    offers.note(client(0), LEASED.into(), NOW + UNANSWERED);
    assert_eq!(
        offers.crowd().map(|(_, count)| count),
        Some(18),
        "it is on the port that it was on"
    );
    for number in 0..4 {
        offers.remove(client(number));
    }
    assert_eq!(offers.crowd(), None);
    let there = (HV2, "vnet0".to_owned());
    let mut taken = |port, after| offers.take_oldest(port, NOW + after).map(|(guest, _)| guest);
    assert_eq!(taken(Some(&there), UNANSWERED), None, "its own guests come last");
    assert_eq!(taken(None, UNANSWERED), Some(client(4)));
    assert_eq!(taken(Some(&there), UNANSWERED_THERE), Some(client(5)));
    let taken = offers.take_oldest(None, NOW + OFFER_LIFE + UNANSWERED);
    assert_eq!(taken, None, "whatever is older than that is forgotten");
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(offer()),
        Just(ack()),
        Just(Answer::Nak),
        Just(Answer::Done),
        Just(Answer::Silence(Silence::NoPool))
    ]
}

proptest! {
    #[test]
    fn no_mutation_of_a_message_makes_it_panic(
        kind in 0u8..12,
        dress in 0usize..5,
        changes in prop::collection::vec((0usize..420, any::<u8>()), 0..12),
        cut in prop::option::of(0usize..420),
        answer in any_answer(),
        largest in any::<u16>(),
    ) {
        let dresses: [Dress; 5] =
            [Sent::udhcpc, Sent::dhclient, Sent::dhcpcd, Sent::networkd, Sent::network_manager];
        let mut bytes = dresses[dress](Sent::new(kind).option(50, &LEASED).option(57, &largest.to_be_bytes())).bytes;
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        let mut server = server();
        server.handle_packet(BLUE, &Packet { bytes, source: GUEST, guest_host: None }, NOW);
        for effect in drain(&mut server) {
            if let Effect::Ask { token, .. } = effect { server.handle_answer(token, answer.clone(), NOW); }
        }
        for effect in drain(&mut server) {
            if let Effect::Reply { bytes, .. } = effect {
                prop_assert!((300..=1422).contains(&bytes.len()));
                prop_assert_eq!(bytes[0], 2);
                prop_assert!(datagram::wrap(GATEWAY.into(), LEASED.into(), &bytes).is_some());
            }
        }
    }
}
