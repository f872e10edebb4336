//! Properties: a segment's text reads back to the segment, and no text at all makes the reader panic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;

use crate::config::*;
use crate::id::{IfName, Mac, SegmentName, Vni};
use crate::time::Duration;

const EXAMPLES: [&str; 3] = [
    include_str!("../../../../examples/every-key.yaml"),
    include_str!("../../../../examples/two-segments-multicast.yaml"),
    include_str!("../../../../examples/host2.yaml"),
];

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 8, last)
}

/// A value of each format that an option may have.
fn formatted() -> impl Strategy<Value = BTreeMap<u8, DhcpOption>> {
    let route = (any::<u32>(), 0_u8..=32, any::<u32>()).prop_map(|(to, length, via)| StaticRoute {
        to: ipnet::Ipv4Net::new(Ipv4Addr::from_bits(to), length).unwrap().trunc(),
        via: Ipv4Addr::from_bits(via),
    });
    let number = |code, number| (code, DhcpOption::Number(number));
    (
        (any::<i32>(), any::<u8>(), any::<u16>(), any::<u32>()),
        vec(any::<u16>(), 1..5),
        vec("[a-z]{1,9}(\\.[a-z]{1,9}){0,2}", 1..4),
        vec(route, 1..4),
    )
        .prop_map(move |((signed, byte, short, long), numbers, domains, routes)| {
            BTreeMap::from([
                number(2, OptionNumber::Signed(signed)),
                number(19, OptionNumber::Byte(byte % 2)),
                number(23, OptionNumber::Byte(byte)),
                number(22, OptionNumber::Short(short)),
                number(35, OptionNumber::Long(long)),
                (25, DhcpOption::Numbers(numbers)),
                (119, DhcpOption::Domains(domains)),
                (121, DhcpOption::Routes(routes)),
                (33, DhcpOption::Addresses(vec![v4(1), v4(2)])),
            ])
        })
}

fn boot() -> impl Strategy<Value = NetworkBoot> {
    let files = (btree_map(any::<u16>(), "[!-~]{1,20}", 0..3), of("[!-~]{1,20}"));
    let files = files.prop_filter("a mapping names a file", |(by, ipxe)| ipxe.is_some() || !by.is_empty());
    let boot_file = prop_oneof![
        "[ -~]{1,20}".prop_map(BootFile::Same),
        files.prop_map(|(architectures, ipxe)| BootFile::ByClient { architectures, ipxe }),
    ];
    of((1_u8..254, of(boot_file))).prop_map(|found| {
        found.map_or_else(NetworkBoot::default, |(last, boot_file)| NetworkBoot {
            next_server: Some(v4(last)),
            boot_file,
        })
    })
}

fn dhcp() -> impl Strategy<Value = Dhcp4> {
    let value = prop_oneof![
        vec(any::<u32>().prop_map(Ipv4Addr::from_bits), 1..5).prop_map(DhcpOption::Addresses),
        vec(any::<u8>(), 1..20).prop_map(DhcpOption::Bytes),
        "\\PC{1,20}".prop_map(DhcpOption::Text),
        "[ -~\n\t\\\\\"]{1,20}".prop_map(DhcpOption::Text),
    ];
    let reservations = btree_map(100_u8..200, (any::<u32>(), of("[a-z]{1,9}")), 0..5).prop_map(|found| {
        let reserve = |(last, (mac, hostname)): (u8, (u32, Option<String>))| {
            let [a, b, c, d] = mac.to_be_bytes();
            Reservation {
                mac: Mac([2, last, a, b, c, d]),
                address: v4(last),
                boot: NetworkBoot {
                    next_server: hostname.as_ref().map(|_| v4(last)),
                    boot_file: hostname.clone().map(BootFile::Same),
                },
                hostname,
            }
        };
        found.into_iter().map(reserve).collect()
    });
    (
        of((50_u8..60, 60_u8..99).prop_map(|(first, last)| Range4 {
            first: v4(first),
            last: v4(last),
        })),
        10_u64..31_536_000,
        of(1_u32..),
        reservations,
        // Free options whose value may be of any kind, and some of each format.
        (btree_map(224_u8..=248, value, 0..5), formatted()),
        boot(),
    )
        .prop_map(
            |(range, seconds, max_leases, reservations, (mut options, formatted), boot)| {
                options.extend(formatted);
                Dhcp4 {
                    range,
                    lease_time: Duration::from_secs(seconds),
                    max_leases,
                    boot,
                    reservations,
                    options,
                }
            },
        )
}

fn transport() -> impl Strategy<Value = Transport> {
    let group = prop_oneof![
        (0xe000_0100_u32..0xf000_0000).prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u64>().prop_map(|low| IpAddr::V6(Ipv6Addr::from_bits((0xff05 << 112) | (u128::from(low) + 2)))),
    ];
    prop_oneof![
        Just(Transport::Unicast),
        (group, of("[a-z0-9@.#-]{3,15}")).prop_map(|(group, name)| Transport::Multicast {
            group,
            interface: name.and_then(|name| IfName::new(name).ok())
        }),
    ]
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[A-Za-z0-9._/-]{1,20}", "[A-Za-z0-9._/-]{1,20}", 1..4)
}

prop_compose! {
    fn identity()(
        name in "[a-z0-9-]{1,12}", vni in 1_u32..1 << 24, bridge in of("[a-z0-9:~]{1,12}|null|true|1e3"),
        transport in transport(), port in 1_u16.., mtu in of(1280_u16..), stp in any::<bool>(),
        hosts in of(labels()), mode in 0..4,
    ) -> Segment {
        let name = SegmentName::new(name).unwrap();
        Segment {
            bridge: bridge.and_then(|bridge| IfName::new(bridge).ok()).unwrap_or_else(|| name.default_bridge()),
            vni: Vni::new(vni).unwrap(),
            name, transport, port,
            mode: match mode {
                0 => Mode::Nat,
                1 => Mode::Routed,
                2 => Mode::Isolated,
                _ => Mode::Bridged(Bridged {
                    interface: IfName::new("eth1").unwrap(),
                    on: if stp { BridgedOn::EveryHost } else { BridgedOn::GatewayHost },
                }),
            },
            mtu: mtu.map_or(MtuBound::Auto, MtuBound::AtMost),
            stp: if stp { Stp::On } else { Stp::Off },
            hosts: hosts.map_or(HostSelector::All, HostSelector::Labels),
            host_address: HostAddress::None,
            ipv4: None, ipv6: None, dns: Dns::default(), forward_to: BTreeSet::new(), ports: Vec::new(),
            uplink_address: None, port_security: PortSecurity::Off,
        }
    }
}

prop_compose! {
    fn segment()(
        mut segment in identity(), dhcp in of(of(dhcp())), six in of(any::<bool>()),
        hosts in btree_map("[a-z0-9]{1,9}", 30_u8..31, 0..2), domain in of("[a-z0-9]{1,9}\\.[a-z]{2}"),
        upstream in vec(1_u8..200, 0..3), names in btree_map("[a-z]{1,9}", 1_u8..200, 0..3),
        forward_to in btree_set("[a-z]{4}-[0-9]{2}", 0..3), uplink in any::<bool>(), security in any::<bool>(),
        ports in btree_map(5000_u16..5100, (1_u16..60_000, any::<bool>()), 0..4),
    ) -> Segment {
        let open = segment.mode != Mode::Isolated;
        segment.dns.domain = domain;
        segment.dns.upstream = upstream.iter().map(|last| IpAddr::from([9, 9, 9, *last])).collect();
        segment.dns.hosts = names.iter().map(|(name, last)| (name.clone(), IpAddr::from([9, 9, 9, *last]))).collect();
        segment.port_security = if security { PortSecurity::On } else { PortSecurity::Off };
        if six.is_some() {
            segment.ipv6 = Some(Ipv6 {
                subnet: "fd10:0:2::/64".parse().unwrap(),
                gateway: "fd10:0:2::7".parse().unwrap(),
                dhcp: six.filter(|dhcp| *dhcp).map(|_| Dhcp6 {
                    range: Range6 { first: "fd10:0:2::100".parse().unwrap(), last: "fd10:0:2::1ff".parse().unwrap() },
                }),
            });
        }
        if let Some(dhcp) = dhcp {
            segment.ipv4 = Some(Ipv4 { subnet: "10.9.8.0/24".parse().unwrap(), gateway: v4(254), dhcp });
            if !hosts.is_empty() {
                segment.host_address = HostAddress::Named(hosts.into_iter().map(|(h, a)| (h, v4(a).into())).collect());
            }
            if open {
                segment.ports = ports.iter().map(|(first, (to, tcp))| PortForward {
                    protocol: if *tcp { Protocol::Tcp } else { Protocol::Udp },
                    listen: PortRange { first: *first, last: *first },
                    to: SocketAddr::new(v4(20).into(), *to),
                }).filter(|forward| forward.protocol == Protocol::Tcp || forward.listen.first != segment.port).collect();
            }
        }
        if open {
            segment.forward_to = forward_to.into_iter().map(|name| SegmentName::new(name).unwrap())
                .filter(|name| *name != segment.name).collect();
            segment.uplink_address = uplink.then(|| "203.0.113.7/24".parse().unwrap());
        }
        segment
    }
}

proptest! {
    #[test]
    fn a_segments_text_reads_back_to_the_segment(segment in segment()) {
        let text = segment.to_yaml();
        prop_assert_eq!(segments(&text, "canonical"), Ok(vec![segment]), "{}", text);
    }

    #[test]
    fn segments_differ_in_their_fields_if_they_differ_at_all(one in segment(), other in segment()) {
        prop_assert_eq!(difference(Some(&one), &one), []);
        let there = difference(Some(&one), &other);
        let back = difference(Some(&other), &one).into_iter();
        let back = back.map(|it| (it.key.clone(), FieldChange { key: it.key, old: it.new, new: it.old }));
        let there = there.into_iter().map(|it| (it.key.clone(), it)).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(there.is_empty(), one == other);
        prop_assert_eq!(there, back.collect::<BTreeMap<_, _>>());
        prop_assert!(difference(None, &one).iter().all(|it| it.old.is_none() && it.new.is_some()));
    }

    #[test]
    fn no_text_makes_the_reader_panic(bytes in vec(any::<u8>(), 0..400), yaml in "[-a-z0-9:{}\\[\\],&*!|>'\"%@#?~ \n\t]{0,200}") {
        for text in [String::from_utf8_lossy(&bytes).as_ref(), &yaml] {
            let _ = host(text, "any");
            let _ = built_host(text, "any");
            let _ = segments(text, "any");
        }
    }

    #[test]
    fn no_mutated_example_makes_the_reader_panic(
        example in 0..EXAMPLES.len(),
        edits in vec((any::<prop::sample::Index>(), 0_usize..40, "[-a-z0-9:{}\\[\\],&*!|>'\"~ \n./]{0,6}"), 1..6),
    ) {
        let mut letters = EXAMPLES[example].chars().collect::<Vec<_>>();
        for (at, cut, put) in edits {
            let from = at.index(letters.len() + 1);
            let to = (from + cut).min(letters.len());
            letters.splice(from..to, put.chars());
        }
        let text = letters.into_iter().collect::<String>();
        match host(&text, "mutated") {
            Ok(config) => {
                for segment in &config.segments {
                    prop_assert_eq!(segments(&segment.to_yaml(), "again"), Ok(vec![segment.clone()]));
                }
            }
            Err(errors) => {
                let lines = text.lines().count() + 1;
                for error in &errors {
                    prop_assert!((1..=lines).contains(&error.line) && error.column > 0, "{}", error);
                }
            }
        }
    }
}

#[test]
fn a_changed_field_is_named_by_its_path_with_both_values() {
    let read = |text: &str| segments(text, "test.yaml").unwrap().remove(0);
    let old = read(
        "segments: [ { name: blue, vni: 10, hosts: { rack: a }, ipv4: { subnet: 10.0.0.0/24, dhcp: { max_leases: 9 } },
           ports: [ { protocol: tcp, listen: 80, to: '10.0.0.9:80' } ] } ]",
    );
    let new = read(
        "segments: [ { name: blue, vni: 11, hosts: { rack: b }, ipv4: { subnet: 10.0.0.0/24, dhcp: { options: { 42: [10.0.0.5] } } },
           ports: [ { protocol: tcp, listen: 80, to: '10.0.0.9:81' } ] } ]",
    );
    let told = difference(Some(&old), &new).into_iter();
    let told = told.map(|it| format!("{}: {:?} -> {:?}", it.key, it.old, it.new).replace("\\\"", "'"));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            r#"vni: Some("10") -> Some("11")"#,
            r#"hosts.rack: Some("'a'") -> Some("'b'")"#,
            r#"ipv4.dhcp.options.42: None -> Some("[10.0.0.5]")"#,
            r#"ports[0].to: Some("'10.0.0.9:80'") -> Some("'10.0.0.9:81'")"#,
            r#"ipv4.dhcp.max_leases: Some("9") -> None"#,
            r#"ipv4.dhcp.options: Some("{}") -> None"#,
        ]
    );
}
