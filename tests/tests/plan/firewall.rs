//! The nftables tables.

use super::*;

/// The rules of the chain (or set) `block` of the table, without indentation.
fn block(inputs: &Inputs, table: TableName, block: &str) -> Vec<String> {
    let text = derive(inputs).tables[&table].text.clone();
    let lines = text.lines().map(str::trim);
    let inside = lines.skip_while(|line| *line != format!("{block} {{")).skip(1);
    inside.take_while(|line| *line != "}").map(str::to_owned).collect()
}

fn forward(protocol: Protocol, first: u16, last: u16, to: &str) -> PortForward {
    PortForward {
        protocol,
        listen: PortRange { first, last },
        to: to.parse().unwrap(),
    }
}

#[test]
fn with_bridge_netfilter_left_on_frames_to_the_gateway_are_the_hosts_own() {
    let rule = "ether daddr { MAC } meta pkttype set host".replace("MAC", &gateway_mac(SegmentId(1)).to_string());
    for (role, left, expected) in [
        (serving(), BridgeNetfilter::LeftOn, true),
        (SegmentRole::Preparing, BridgeNetfilter::LeftOn, true),
        (SegmentRole::Candidate, BridgeNetfilter::LeftOn, true),
        (SegmentRole::Standby, BridgeNetfilter::LeftOn, false),
        (serving(), BridgeNetfilter::LeftOff, false),
        (serving(), BridgeNetfilter::SwitchOff, false),
    ] {
        let mut inputs = inputs([SegmentInputs { role, ..blue() }]);
        inputs.bridge_netfilter = left;
        let tables = derive(&inputs).tables;
        let rules = tables
            .get(&TableName::Bridge)
            .is_some_and(|table| table.text.contains(&rule));
        assert_eq!(rules, expected, "{role:?} {left:?}: {tables:?}");
        let switched = derive(&inputs).sysctls.contains_key(&Sysctl::BridgeNetfilter4);
        assert_eq!(switched, left == BridgeNetfilter::SwitchOff);
    }
}

#[test]
fn the_firewall_says_what_the_design_says() {
    let mut blue = on_this_host(with_dhcp(blue().segment));
    blue.role = serving();
    blue.guest_ports = BTreeSet::from([name("vnet0")]);
    blue.segment.ports = vec![
        forward(Protocol::Tcp, 8080, 8080, "192.168.124.20:80"),
        forward(Protocol::Udp, 5000, 5002, "192.168.124.21:5000"),
        forward(Protocol::Udp, 6000, 6001, "192.168.124.21:7000"),
    ];
    let mut green = on_this_host(segment("green", 20, "192.168.125.0/24"));
    green.role = serving();
    green.segment.mode = Mode::Routed;
    green.segment.port = 8472;
    green.host_address = Some("192.168.125.2/24".parse().unwrap());
    blue.segment.forward_to = BTreeSet::from([green.segment.name.clone()]);
    let mut red = on_this_host(segment("red", 30, "192.168.126.0/24"));
    red.role = SegmentRole::Preparing;
    red.segment.mode = Mode::Isolated;
    let tables = derive(&inputs([blue, green, red])).tables;
    let mut golden = Golden::of("the_firewall_says_what_the_design_says");
    for (name, table) in tables {
        let lines: Vec<String> = table.text.lines().map(str::to_owned).collect();
        golden.text(&format!("nft -f - # table {name}"), &lines);
    }
}

#[test]
fn arp_for_a_gateway_is_dropped_but_on_its_link_and_where_somebody_else_has_the_address() {
    let rules = |twins: &[&str]| {
        let twins = twins.iter().map(|link| name(link)).collect();
        let inputs = inputs([SegmentInputs { twins, ..blue() }]);
        block(&inputs, TableName::Arp, "chain ov_arp").split_off(1)
    };
    assert_eq!(rules(&[]), ["iifname != \"gw-blue\" arp daddr ip 192.168.124.1 drop"]);
    assert_eq!(
        rules(&["virbr0"]),
        ["iifname != { \"gw-blue\", \"virbr0\" } arp daddr ip 192.168.124.1 drop"]
    );
}

#[test]
fn a_chain_has_no_more_devices_than_the_kernel_takes() {
    let mut blue = on_this_host(with_dhcp(blue().segment));
    blue.guest_ports = (0..401).map(|number| name(&format!("vnet{number}"))).collect();
    let inputs = inputs([blue]);
    let devices = |chain: &str| block(&inputs, TableName::Netdev, chain)[0].matches("vnet").count();
    assert_eq!(
        ["chain ov_guests_0", "chain ov_guests_1", "chain ov_guests_2"].map(devices),
        [200, 200, 1]
    );
}

#[test]
fn guests_may_do_for_each_other_what_their_segment_does_not() {
    let ipv6 = |it: SegmentInputs| {
        let ipv6 = Ipv6 {
            subnet: "fd10::/64".parse().unwrap(),
            gateway: "fd10::1".parse().unwrap(),
            dhcp: None,
        };
        SegmentInputs {
            segment: Segment {
                ipv6: Some(ipv6),
                ..it.segment
            },
            ..it
        }
    };
    let none = blue();
    let dhcp = on_this_host(with_dhcp(segment("green", 11, "192.168.125.0/24")));
    let both = ipv6(on_this_host(with_dhcp(segment("red", 12, "192.168.126.0/24"))));
    let only6 = ipv6(on_this_host(segment("white", 13, "192.168.127.0/24")));
    let port = |number: usize, it: SegmentInputs| SegmentInputs {
        guest_ports: BTreeSet::from([name(&format!("vnet{number}"))]),
        ..it
    };
    let all = [none, dhcp, both, only6].into_iter().enumerate();
    let inputs = inputs(all.map(|(number, it)| port(number, it)));
    let text = &derive(&inputs).tables[&TableName::Netdev].text;
    assert!(!text.contains("vnet0"), "{text}");
    let dropped = |port: &str| {
        let chain = text.split("chain ").find(|chain| chain.contains(port)).unwrap();
        [
            "udp sport 67 drop",
            "udp sport 547 drop",
            "icmpv6 type nd-router-advert drop",
        ]
        .map(|rule| chain.contains(rule))
    };
    assert_eq!(dropped("vnet1"), [true, false, false]);
    assert_eq!(dropped("vnet2"), [true, true, true]);
    assert_eq!(dropped("vnet3"), [false, true, true]);
}

#[test]
fn over_an_ipv6_underlay_what_is_too_large_must_not_be_fragmented() {
    let rule = "ip length > 1430 ip frag-off 0 ip frag-off set 0x4000";
    for (vtep, mtu, expected) in [("172.31.0.121", 1450, false), ("fd31::1", 1430, true)] {
        let it = SegmentInputs {
            guest_ports: BTreeSet::from([name("vnet0")]),
            mtu: OverlayMtu::new(mtu),
            ..blue()
        };
        let mut inputs = inputs([it]);
        inputs.host.vtep = ip(vtep);
        let tables = derive(&inputs).tables;
        let found = tables
            .get(&TableName::Netdev)
            .is_some_and(|table| table.text.contains(rule));
        assert_eq!(found, expected, "{vtep}: {tables:?}");
    }
}

#[test]
fn a_standby_forwards_nothing_and_still_shields_its_bridge() {
    let reject = "reject with icmpx type admin-prohibited";
    let around = [
        format!("iifname \"br-blue\" oifname != \"br-blue\" {reject}"),
        format!("oifname \"br-blue\" iifname != \"br-blue\" {reject}"),
    ];
    let forwarded = |role| {
        let inputs = inputs([SegmentInputs { role, ..blue() }]);
        block(&inputs, TableName::Inet, "chain ov_forward").split_off(1)
    };
    assert_eq!(forwarded(SegmentRole::Standby), around);
    // It may have the address before its rules are loaded.
    let unready = ["iifname", "oifname"].map(|side| format!("{side} \"gw-blue\" drop"));
    assert_eq!(forwarded(SegmentRole::Candidate), [around, unready].concat());
}

#[test]
fn a_host_takes_no_more_of_the_kernels_hooks_than_it_needs() {
    let hooks = |role, mode: &Mode, host_address: Option<&str>, tracking| {
        let it = SegmentInputs {
            segment: Segment {
                mode: mode.clone(),
                ..blue().segment
            },
            role,
            host_address: host_address.map(|address| address.parse().unwrap()),
            ..blue()
        };
        let inputs = Inputs {
            tracking,
            ..inputs([it])
        };
        let text = derive(&inputs).tables[&TableName::Inet].text.clone();
        let hooks = text
            .lines()
            .filter_map(|line| line.split_once(" hook ")?.1.split_once(';'));
        let hooks: Vec<String> = hooks.map(|(hook, _)| hook.replace(" priority", "")).collect();
        (hooks.join(", "), text.contains("ct state"))
    };
    let least = "input filter - 5, forward filter - 5";
    let untracked = format!("prerouting raw, output raw, {least}");
    let all = "prerouting raw, output raw, prerouting dstnat, input filter - 5, forward mangle, forward filter - 5, \
               postrouting srcnat";
    for mode in [Mode::Nat, Mode::Routed, Mode::Isolated] {
        for role in [SegmentRole::Standby, SegmentRole::Candidate] {
            let own = Some("192.168.124.11/24");
            let off = hooks(role, &mode, None, Tracking::Off);
            assert_eq!(off, (least.to_owned(), false), "{mode:?}, {role:?}");
            let on = hooks(role, &mode, None, Tracking::On);
            assert_eq!(on, (untracked.clone(), false), "{mode:?}, {role:?}");
            let addressed = hooks(role, &mode, own, Tracking::Off);
            assert_eq!(addressed, (untracked.clone(), true), "{mode:?}, {role:?}");
        }
        for role in [SegmentRole::Preparing, serving()] {
            for tracking in [Tracking::Off, Tracking::On] {
                let expected = match mode {
                    Mode::Nat => all.replace("prerouting dstnat, ", ""),
                    Mode::Routed => all
                        .replace("prerouting dstnat, ", "")
                        .replace(", postrouting srcnat", ""),
                    Mode::Isolated | Mode::Bridged(_) => untracked.clone(),
                };
                assert_eq!(
                    hooks(role, &mode, None, tracking),
                    (expected, true),
                    "{mode:?}, {role:?}"
                );
            }
        }
    }
}
