//! Every kind of bad input: where it is found, under which key, and in which words.

use super::{blue, told, with_dhcp};
use crate::config::{host, segments};

/// The text is refused with exactly these errors.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let errors = segments(text, "test.yaml").expect_err(text);
    assert_eq!(told(&errors), expected, "{text}");
    for error in &errors {
        assert!(!error.hint.is_empty() && error.file == "test.yaml", "{error}");
    }
}

#[track_caller]
fn check_host(text: &str, expected: &[&str]) {
    let errors = host(text, "overlayd.yaml").expect_err(text);
    assert_eq!(told(&errors), expected, "{text}");
}

#[test]
fn every_error_comes_at_once_in_the_order_of_the_lines() {
    check(
        "segments:\n\
         - name: much-too-long-a-name\n  vni: 0\n  bridg: br0\n  mtu: 100\n\
         - vni: 16777216\n  name: green\n  ipv4: { subnet: 10.0.0.0/24, gateway: 10.0.1.1 }\n",
        &[
            r#"2:9 segments[0].name: "much-too-long-a-name" is not a segment name"#,
            "3:8 segments[0].vni: 0 is not a VNI, a number from 1 to 16777215",
            r#"4:3 segments[0].bridg: unknown key "bridg""#,
            "5:8 segments[0].mtu: 100 is not `auto` or an MTU, a number from 576 to 65535",
            "6:8 segments[1].vni: 16777216 is not a VNI, a number from 1 to 16777215",
            "8:41 segments[1].ipv4.gateway: the gateway 10.0.1.1 is outside the subnet 10.0.0.0/24",
        ],
    );
}

#[test]
fn an_error_reads_as_file_place_key_message_and_hint() {
    let errors = segments(&blue("mut: 1400"), "blue.yaml").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "blue.yaml:4:5: segments[0].mut: unknown key \"mut\"\nhint: did you mean `mtu`?"
    );
    let errors = host("bogus: 1", "o.yaml").unwrap_err().to_string();
    assert!(
        errors.ends_with("hint: valid keys are host, cluster, state_dir, control_socket, metrics, segments"),
        "{errors}"
    );
}

#[test]
fn broken_yaml_is_named_with_its_place() {
    for (text, line) in [
        ("segments: [", 1),
        ("a: b: c", 1),
        ("segments:\n\t- x", 2),
        ("a: 'b\n", 2),
        ("}", 1),
        ("\"\\q\"", 1),
    ] {
        let errors = segments(text, "test.yaml").expect_err(text);
        let first = errors.iter().next().unwrap();
        assert!(first.message.starts_with("invalid YAML: "), "{text:?}: {first}");
        assert!((1..=line + 1).contains(&first.line), "{text:?}: {first}");
    }
}

#[test]
fn a_file_of_another_shape_is_refused() {
    const SHAPE: &str = "1:1 segments: expected a mapping with the key `segments`";
    check("", &[SHAPE]);
    check("- name: blue\n", &[SHAPE]);
    check("blue", &[SHAPE]);
    check("host: {}", &["1:1 segments: missing key"]);
    check(
        "segments: []\n---\nsegments: []",
        &["2:1 : a second document begins here"],
    );
    check(
        "segments: { name: blue }",
        &["1:1 segments: expected a list of segments, found a mapping"],
    );
    check(
        "segments: [ blue ]",
        &[&format!(
            "1:13 segments[0]: expected a mapping with {}, found a single value",
            crate::config::read_segment::SEGMENT.keys.join(", ")
        )],
    );
    check("a: &x [1]\nsegments: *x", &["2:11 : aliases are not supported"]);
    check(
        "segments: !!seq []",
        &["1:11 : the tag tag:yaml.org,2002:!seq is not supported"],
    );
    check("? [a]\n: b", &["1:3 : a list or mapping cannot be a key"]);
    check(
        &format!("segments: {}", "[".repeat(200)),
        &["1:34 : nested deeper than 24 levels"],
    );
    check(&"- ".repeat(100_000), &["1:49 : nested deeper than 24 levels"]);
    let large = format!("# {}", "x".repeat(1 << 20));
    check(&large, &["1:1 : the file has 1048578 bytes, more than 1048576"]);
}

#[test]
fn an_alias_bomb_is_refused_at_its_first_alias() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = format!("*a{}, ", level - 1).repeat(9);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", aliases.trim_end_matches(", ")));
    }
    check(&bomb, &["2:10 : aliases are not supported"]);
}

#[test]
fn unknown_duplicate_and_missing_keys_are_named() {
    check(
        "segments: [ {} ]",
        &[
            "1:13 segments[0].name: missing key",
            "1:13 segments[0].vni: missing key",
        ],
    );
    check(
        &blue("mtu: 1400\nmtu: 1300"),
        &["5:5 segments[0].mtu: duplicate key \"mtu\", first in line 4"],
    );
    check(
        &blue("hosts: { a: b, a: c }"),
        &["4:20 segments[0].hosts.a: duplicate key \"a\", first in line 4"],
    );
    check(&blue("ipv4: { }"), &["4:5 segments[0].ipv4.subnet: missing key"]);
    check(
        &blue("ipv4: { subnet: 10.0.0.0/24, dhcp: { rang: x } }"),
        &["4:42 segments[0].ipv4.dhcp.rang: unknown key \"rang\""],
    );
    check_host("hots: {}", &["1:1 hots: unknown key \"hots\""]);
}

#[test]
fn values_of_another_type_are_named() {
    check(
        "segments: [ { name: [x], vni: many } ]",
        &[
            "1:15 segments[0].name: expected a segment name, found a list",
            "1:31 segments[0].vni: many is not a VNI, a number from 1 to 16777215",
        ],
    );
    check(
        "segments: [ { name: a, vni: '7' } ]",
        &["1:29 segments[0].vni: \"7\" is a text, not a VNI, a number from 1 to 16777215"],
    );
    check(
        "segments: [ { name: a, vni: } ]",
        &["1:24 segments[0].vni: expected a VNI, a number from 1 to 16777215, found nothing"],
    );
    check(
        &blue("stp: yes"),
        &["4:10 segments[0].stp: \"yes\" is not one of true, false"],
    );
    check(
        &blue("mode: natt"),
        &["4:11 segments[0].mode: \"natt\" is not one of nat, routed, isolated, bridged"],
    );
    check(
        &blue("vni: 1.5").replacen("    vni: 10\n", "", 1),
        &["3:10 segments[0].vni: 1.5 is not a VNI, a number from 1 to 16777215"],
    );
}

#[test]
fn names_and_numbers_have_their_bounds() {
    check(
        &blue("bridge: sixteen-bytes-xx"),
        &["4:13 segments[0].bridge: \"sixteen-bytes-xx\" is not an interface name"],
    );
    check(
        &blue("bridge: vx-blue"),
        &["4:13 segments[0].bridge: \"vx-blue\" is reserved for interfaces of the agent"],
    );
    check(
        &blue("port: 0"),
        &["4:11 segments[0].port: 0 is not a port, a number from 1 to 65535"],
    );
    check(
        &blue("port: 65536"),
        &["4:11 segments[0].port: 65536 is not a port, a number from 1 to 65535"],
    );
    check(
        &blue("mtu: 575"),
        &["4:10 segments[0].mtu: 575 is not `auto` or an MTU, a number from 576 to 65535"],
    );
    check(
        &blue("mtu: 1279\nipv6: { subnet: 'fd00:1::/64' }"),
        &["4:10 segments[0].mtu: 1279 is not `auto` or an MTU for IPv6, a number from 1280 to 65535"],
    );
    check(&blue("hosts: {}"), &["4:5 segments[0].hosts: no labels given"]);
    check(
        &blue("hosts: { 'a b': c }"),
        &["4:21 segments[0].hosts.a b: \"a b\" is not a label name"],
    );
    check(
        &blue("hosts: none"),
        &["4:12 segments[0].hosts: \"none\" is not one of all"],
    );
    check(
        &blue("dns: { domain: -x }"),
        &["4:20 segments[0].dns.domain: \"-x\" is not a domain name"],
    );
    check(
        &blue("dns: { upstream: [ 127.0.0.1 ] }"),
        &["4:24 segments[0].dns.upstream[0]: 127.0.0.1 is not a unicast address"],
    );
    check(
        &blue("forward_to: [ blue, red, red ]\nmode: nat"),
        &[
            "4:19 segments[0].forward_to[0]: \"blue\" is the segment itself",
            "4:30 segments[0].forward_to[2]: \"red\" is listed twice",
        ],
    );
}

#[test]
fn a_multicast_group_has_to_be_one() {
    for group in ["10.0.0.1", "224.0.0.5", "'ff01::5'", "'fd00::1'", "'ff02::1'"] {
        let message = format!(
            "4:29 segments[0].transport.multicast: {} is not a usable multicast group",
            group.trim_matches('\'')
        );
        check(&blue(&format!("transport: {{ multicast: {group} }}")), &[&message]);
    }
    check(
        &blue("transport: { interface: eth1 }"),
        &["4:5 segments[0].transport.multicast: missing key"],
    );
    check(
        &blue("transport: anycast"),
        &["4:16 segments[0].transport: \"anycast\" is not one of unicast"],
    );
}

#[test]
fn a_bridged_segment_needs_a_nic_and_no_loop() {
    check(&blue("mode: bridged"), &["2:5 segments[0].bridged: missing key"]);
    check(
        &blue("bridged: { interface: eth1 }"),
        &["4:5 segments[0].bridged: the key needs `mode: bridged`, and the mode is nat"],
    );
    check(
        &blue("mode: bridged\nbridged: { interface: eth1, every_host: true }"),
        &["5:45 segments[0].bridged.every_host: without spanning tree this makes a loop"],
    );
}

#[test]
fn subnet_and_gateway_fit_each_other() {
    let subnet = |subnet: &str| blue(&format!("ipv4: {{ subnet: {subnet} }}"));
    check(
        &subnet("10.0.0.1/24"),
        &["4:21 segments[0].ipv4.subnet: 10.0.0.1/24 has host bits set"],
    );
    check(
        &subnet("10.0.0.0"),
        &["4:21 segments[0].ipv4.subnet: \"10.0.0.0\" is not an IPv4 subnet"],
    );
    check(
        &subnet("10.0.0.0/31"),
        &["4:21 segments[0].ipv4.subnet: 10.0.0.0/31 has a prefix of 31 bits"],
    );
    for (reserved, range) in [
        ("127.1.0.0/16", "127.0.0.0/8 is reserved for loopback addresses"),
        ("169.254.4.0/24", "169.254.0.0/16 is reserved for link-local addresses"),
        ("169.0.0.0/8", "169.254.0.0/16 is reserved for link-local addresses"),
        ("192.0.0.0/24", "192.0.0.0/24 is reserved for IETF protocols"),
        ("239.1.2.0/24", "224.0.0.0/4 is reserved for multicast"),
        ("240.0.0.0/8", "240.0.0.0/4 is reserved for future use"),
        ("0.0.0.0/8", "0.0.0.0/8 is reserved for \"this network\""),
    ] {
        let message = format!("guests cannot use addresses of {reserved}: {range}");
        check(
            &subnet(reserved),
            &[&format!("4:21 segments[0].ipv4.subnet: {message}")],
        );
    }
    let gateway = |address: &str| blue(&format!("ipv4: {{ subnet: 10.0.0.0/24, gateway: {address} }}"));
    for edge in ["10.0.0.0", "10.0.0.255"] {
        let message = format!("the gateway {edge} is the network or broadcast address of 10.0.0.0/24");
        check(&gateway(edge), &[&format!("4:43 segments[0].ipv4.gateway: {message}")]);
    }
    let six = |keys: &str| blue(&format!("ipv6: {{ {keys} }}"));
    check(
        &six("subnet: 'fd00::1/64'"),
        &["4:21 segments[0].ipv6.subnet: fd00::1/64 has host bits set"],
    );
    check(
        &six("subnet: 'fe80::/64'"),
        &["4:21 segments[0].ipv6.subnet: guests cannot use addresses of fe80::/64"],
    );
    check(
        &six("subnet: 'fd00::/127'"),
        &["4:21 segments[0].ipv6.subnet: fd00::/127 has a prefix of 127 bits"],
    );
    check(
        &six("subnet: 'fd00::/64', gateway: 'fd00::'"),
        &["4:43 segments[0].ipv6.gateway: the gateway fd00:: is the prefix's own address"],
    );
    check(
        &six("subnet: 'fd00::/64', dhcp: { range: 'fd00::1-fd00::9' }"),
        &["4:49 segments[0].ipv6.dhcp.range: the range fd00::1-fd00::9 contains the gateway fd00::1"],
    );
    check(
        &six("subnet: 'fd00::/64', dhcp: { range: 'fd01::1-fd01::9' }"),
        &["4:49 segments[0].ipv6.dhcp.range: the range fd01::1-fd01::9 is outside the subnet fd00::/64"],
    );
}

#[test]
fn a_range_lies_in_the_subnet_beside_the_gateway() {
    let range = |range: &str, message: &str| {
        check(
            &with_dhcp(&format!("range: {range}")),
            &[&format!("6:22 segments[0].ipv4.dhcp.range: {message}")],
        );
    };
    range(
        "10.0.0.1-10.0.0.9",
        "the range 10.0.0.1-10.0.0.9 contains the gateway 10.0.0.1",
    );
    range("10.0.0.9-10.0.0.2", "the range 10.0.0.9-10.0.0.2 is reversed");
    range(
        "10.0.0.9-10.0.1.2",
        "the range 10.0.0.9-10.0.1.2 is outside the subnet 10.0.0.0/24",
    );
    range(
        "10.0.0.9-10.0.0.255",
        "the range 10.0.0.9-10.0.0.255 contains the broadcast address 10.0.0.255",
    );
    range(
        "10.0.0.9",
        "\"10.0.0.9\" is not a range of IPv4 addresses (10.0.0.16-10.0.0.254)",
    );
    check(
        &blue("host_address: { hv1: 10.0.0.9 }\nipv4: { subnet: 10.0.0.0/24, dhcp: { range: 10.0.0.2-10.0.0.20 } }"),
        &["5:49 segments[0].ipv4.dhcp.range: contains 10.0.0.9, the `host_address` of \"hv1\""],
    );
}

#[test]
fn lease_times_and_options_have_their_bounds() {
    let time = |time: &str, message: &str| {
        check(
            &with_dhcp(&format!("lease_time: {time}")),
            &[&format!("6:27 segments[0].ipv4.dhcp.lease_time: {message}")],
        );
    };
    time("soon", "\"soon\" is not a duration (3600, 90m, 1h30m, 7d)");
    time("9", "a lease of 9 s is not between 10 s and 365 days");
    time("366d", "a lease of 31622400 s is not between 10 s and 365 days");
    check(
        &with_dhcp("max_leases: 0"),
        &["6:27 segments[0].ipv4.dhcp.max_leases: 0 is not a number of leases, a number from 1 to 4294967295"],
    );
    let option = |option: &str, column: usize, number: &str, message: &str| {
        let expected = format!("6:{column} segments[0].ipv4.dhcp.options.{number}: {message}");
        check(&with_dhcp(&format!("options: {{ {option} }}")), &[&expected]);
    };
    option("0: x", 29, "0", "\"0\" is not a DHCP option number");
    option("255: x", 31, "255", "\"255\" is not a DHCP option number");
    option("3: [10.0.0.1]", 26, "3", "option 3 cannot be configured");
    let format = |text: &str, column: usize, number: &str, expected: &str| {
        option(
            text,
            column,
            number,
            &format!("the value of option {number} is not {expected}"),
        );
    };
    format("42: 10.0.0.1", 30, "42", "a list of IPv4 addresses");
    format("42: [1, 2]", 26, "42", "a list of IPv4 addresses");
    format("16: [10.0.0.1, 10.0.0.2]", 26, "16", "a list of one IPv4 address");
    format("2: one hour", 29, "2", "a number from -2147483648 to 2147483647");
    format("19: maybe", 30, "19", "true or false");
    format("23: 256", 30, "23", "a number from 0 to 255");
    format("33: 10.0.0.5", 30, "33", "a list of routes to single hosts");
    format("33: [10.0.0.5]", 26, "33", "a list of routes to single hosts");
    format("66: [10.0.0.5]", 26, "66", "a text");
    format("119: 'blue.internal, example.com'", 31, "119", "a list of domain names");
    format("121: 10.0.0.0/8 via 10.0.0.1", 31, "121", "a list of routes");
    format("121: [10.0.0.5/8 via 10.0.0.1]", 26, "121", "a list of routes");
    option(
        "150: 7",
        31,
        "150",
        "7 may be a text or a number of one, two or four bytes",
    );
    option("150: ''", 31, "150", "the value has 0 bytes");
    option(
        "150: [1, 256]",
        26,
        "150",
        "the value of option 150 is not a list of IPv4 addresses, a list of bytes (0 to 255), or a text",
    );
}

#[test]
fn boot_files_have_a_server_and_a_known_client() {
    let key = "segments[0].ipv4.dhcp";
    for (text, expected) in [
        (
            "boot_file: pxelinux.0",
            format!("6:26 {key}.boot_file: a boot file without a server"),
        ),
        (
            "boot_file: { 0: undionly.kpxe, ipxe: \"http://10.0.0.9/x\" }",
            format!("6:15 {key}.boot_file: a boot file without a server"),
        ),
        (
            "next_server: 0.0.0.0",
            format!("6:28 {key}.next_server: 0.0.0.0 is not the address of a single host"),
        ),
        (
            "boot_file: { efi: \"http://10.0.0.9/x\" }",
            format!("6:33 {key}.boot_file.efi: \"efi\" is not an architecture"),
        ),
        (
            "boot_file: ''",
            format!("6:26 {key}.boot_file: \"\" is not a file name of 1 to 255 bytes"),
        ),
    ] {
        let text = with_dhcp(text);
        let first = segments(&text, "test.yaml").expect_err(&text);
        let first = first.iter().next().unwrap();
        let found = format!("{}:{} {}: {}", first.line, first.column, first.key, first.message);
        assert_eq!(found, expected);
    }
}

#[test]
fn reservations_are_for_one_guest_each() {
    let text = "ipv4:\n  subnet: 10.0.0.0/24\n  dhcp:\n    reservations:\n";
    let reserve = |lines: &str| blue(&format!("{text}{lines}"));
    check(
        &reserve(
            "    - { mac: '52:54:00:00:00:01', address: 10.0.0.5 }\n\
             \u{20}   - { mac: '52:54:00:00:00:01', address: 10.0.0.5 }\n\
             \u{20}   - { mac: '53:54:00:00:00:01', address: 10.0.0.1 }\n\
             \u{20}   - { mac: '52:54:00:00:01', address: 10.0.1.5, hostname: a_b }\n\
             \u{20}   - { mac: '52:54:00:00:00:03', address: 10.0.0.255 }",
        ),
        &[
            "9:18 segments[0].ipv4.dhcp.reservations[1].mac: 52:54:00:00:00:01 already has a reservation, segments[0].ipv4.dhcp.reservations[0].mac",
            "9:48 segments[0].ipv4.dhcp.reservations[1].address: 10.0.0.5 is already reserved, segments[0].ipv4.dhcp.reservations[0].address",
            "10:18 segments[0].ipv4.dhcp.reservations[2].mac: 53:54:00:00:00:01 is not a unicast MAC address",
            "10:48 segments[0].ipv4.dhcp.reservations[2].address: 10.0.0.1 is the gateway's address",
            "11:18 segments[0].ipv4.dhcp.reservations[3].mac: \"52:54:00:00:01\" is not a MAC address",
            "11:45 segments[0].ipv4.dhcp.reservations[3].address: 10.0.1.5 is outside the subnet 10.0.0.0/24",
            "11:65 segments[0].ipv4.dhcp.reservations[3].hostname: \"a_b\" is not a host name",
            "12:48 segments[0].ipv4.dhcp.reservations[4].address: 10.0.0.255 is the network or broadcast address of 10.0.0.0/24",
        ],
    );
}

#[test]
fn host_addresses_are_members_of_the_subnet() {
    let address = |keys: &str, message: &str| {
        check(
            &blue(&format!("host_address: {keys}\nipv4: {{ subnet: 10.0.0.0/24 }}")),
            &[&format!("4:{message}")],
        );
    };
    address(
        "{ hv1: 10.0.0.1 }",
        "26 segments[0].host_address.hv1: 10.0.0.1 is the gateway's address",
    );
    address(
        "{ hv1: 10.0.1.1 }",
        "26 segments[0].host_address.hv1: 10.0.1.1 is outside the subnet 10.0.0.0/24",
    );
    address(
        "{ hv1: 'fd00::2' }",
        "26 segments[0].host_address.hv1: fd00::2 is given, but the segment has no IPv6 subnet",
    );
    address(
        "{ a: 10.0.0.5, b: 10.0.0.5 }",
        "37 segments[0].host_address.b: 10.0.0.5 is already assigned to \"a\"",
    );
    check(
        &blue("host_address: auto"),
        &["4:19 segments[0].host_address: the segment has no subnet to take addresses from"],
    );
}

#[test]
fn forwarded_ports_are_free_and_lead_to_a_guest() {
    let port = |listen: &str, to: &str, message: &str| {
        let text = format!("ipv4: {{ subnet: 10.0.0.0/24 }}\nports:\n- protocol: tcp\n  listen: {listen}\n  to: {to}");
        check(&blue(&text), &[message]);
    };
    port(
        "49152",
        "10.0.0.5:80",
        "7:15 segments[0].ports[0].listen: port 49152 is reserved for live migration by libvirt",
    );
    port(
        "49000-49160",
        "10.0.0.5:80",
        "7:15 segments[0].ports[0].listen: port 49152 is reserved for live migration by libvirt",
    );
    port(
        "7480",
        "10.0.0.5:80",
        "7:15 segments[0].ports[0].listen: tcp 7480 carries cluster traffic between the hosts",
    );
    port(
        "0",
        "10.0.0.5:80",
        "7:15 segments[0].ports[0].listen: \"0\" is not a port or a range of ports (8080 or 5000-5010), from 1 to 65535",
    );
    port(
        "9-8",
        "10.0.0.5:80",
        "7:15 segments[0].ports[0].listen: the range 9-8 is reversed",
    );
    port(
        "80-81",
        "10.0.0.5:65535",
        "8:11 segments[0].ports[0].to: 2 ports from 65535 exceed 65535",
    );
    port(
        "80",
        "10.0.1.5:80",
        "8:11 segments[0].ports[0].to: 10.0.1.5 is outside the subnet 10.0.0.0/24",
    );
    port(
        "80",
        "10.0.0.5",
        "8:11 segments[0].ports[0].to: \"10.0.0.5\" is not an address with a port (192.0.2.1:7480 or [2001:db8::1]:7480)",
    );
    check(
        &blue(
            "ipv4: { subnet: 10.0.0.0/24 }\nports:\n- { protocol: udp, listen: 4000-5000, to: '10.0.0.5:80' }\n- { protocol: udp, listen: 4500, to: '10.0.0.5:80' }",
        ),
        &[
            "6:32 segments[0].ports[0].listen: udp 4789 carries VXLAN between the hosts",
            "7:32 segments[0].ports[1].listen: udp 4000-5000 is already forwarded to 10.0.0.5:80",
        ],
    );
    check(
        &blue(
            "mode: isolated\nipv4: { subnet: 10.0.0.0/24 }\nports: [ { protocol: tcp, listen: 1, to: '10.0.0.5:1' } ]",
        ),
        &["6:5 segments[0].ports: an isolated segment forwards nothing"],
    );
}

#[test]
fn an_uplink_address_is_a_host_of_another_network() {
    let uplink = |address: &str, message: &str| {
        check(
            &blue(&format!("uplink_address: {address}\nipv4: {{ subnet: 10.0.0.0/24 }}")),
            &[&format!("4:21 segments[0].uplink_address: {message}")],
        );
    };
    uplink("203.0.113.0/24", "203.0.113.0 is the network or broadcast address");
    uplink("10.0.0.9/24", "10.0.0.9 is in the segment's own subnet");
    uplink("203.0.113.7", "\"203.0.113.7\" is not an address with a prefix length");
}

#[test]
fn segments_of_one_file_do_not_get_in_each_others_way() {
    check(
        "segments:\n\
         - { name: blue, vni: 10, ipv4: { subnet: 10.0.0.0/16 }, ports: [ { protocol: tcp, listen: 80, to: '10.0.0.5:80' } ] }\n\
         - { name: blue, vni: 11 }\n\
         - { name: green, vni: 10, mtu: 1, ipv4: { subnet: 10.0.3.0/24 } }\n\
         - { name: red, vni: 12, bridge: br-blue, ipv4: { subnet: 10.1.0.0/16 }, ports: [ { protocol: tcp, listen: 80, to: '10.1.0.5:80' } ] }\n",
        &[
            "3:11 segments[1].name: the name is already used by segment \"blue\"",
            "4:23 segments[2].vni: VNI 10 is already used by segment \"blue\"",
            "4:32 segments[2].mtu: 1 is not `auto` or an MTU, a number from 576 to 65535",
            "4:51 segments[2].ipv4.subnet: 10.0.3.0/24 overlaps the subnet of segment \"blue\"",
            "5:33 segments[3].bridge: bridge \"br-blue\" is already used by segment \"blue\"",
            "5:107 segments[3].ports[0].listen: tcp 80 is already forwarded by segment \"blue\"",
        ],
    );
}

#[test]
fn a_hosts_own_keys_are_checked() {
    check_host(
        "host: { name: 'a b', underlay: a/b, address: 127.0.0.1, gateway: { candidate: perhaps, priority: 65536 }, libvirt: on }\n\
         cluster: { listen: '10.0.0.1:0', join: [ hv2 ], insecure: 1 }\n\
         state_dir: var\n",
        &[
            "1:15 host.name: \"a b\" is not a host name",
            "1:32 host.underlay: \"a/b\" is not an interface name",
            "1:46 host.address: 127.0.0.1 is not a unicast address",
            "1:79 host.gateway.candidate: \"perhaps\" is not one of true, false",
            "1:98 host.gateway.priority: 65536 is not a priority, a number from 0 to 65535",
            "1:116 host.libvirt: \"on\" is not one of off, auto",
            "2:20 cluster.listen: 10.0.0.1:0 has port 0",
            "2:42 cluster.join[0]: \"hv2\" is not an address with a port (192.0.2.1:7480 or [2001:db8::1]:7480)",
            "2:59 cluster.insecure: \"1\" is not one of true, false",
            "3:12 state_dir: \"var\" is not an absolute path",
        ],
    );
    let long = format!("control_socket: /{}", "x".repeat(107));
    check_host(
        &long,
        &["1:17 control_socket: the path has 108 bytes, more than the 107 of a socket"],
    );
    check_host(
        "metrics: on",
        &["1:10 metrics: \"on\" is not an address with a port (192.0.2.1:7480 or [2001:db8::1]:7480)"],
    );
    check_host("segments: [ { name: x } ]", &["1:13 segments[0].vni: missing key"]);
}
