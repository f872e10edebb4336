//! What a file that says little means.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{blue, one, with_dhcp};
use crate::config::scalar::duration;
use crate::config::*;
use crate::id::IfName;

fn ranges(segment: &Segment) -> Vec<String> {
    segment.pool_v4().iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_host_file_and_one_with_empty_sections_mean_the_defaults() {
    for text in [
        "",
        "# nothing\n",
        "{}",
        "host:\ncluster:\nsegments:\n",
        "host: {}\nsegments: []",
        "host: { gateway: , labels: }",
    ] {
        assert_eq!(host(text, "overlayd.yaml"), Ok(HostConfig::default()), "{text:?}");
    }
}

#[test]
fn a_host_file_is_read_key_by_key() {
    let text = "host: { name: hv1, underlay: eth0, address: 'fd00::1', labels: { rack: 1 }, libvirt: auto, \
                bridge_netfilter: keep, gateway: { candidate: false, priority: 7, uplink: eth1 } }\n\
                cluster: { listen: '[fd00::1]:7481', join: [ 10.0.0.2, '10.0.0.3:99', 'fd00::2' ], insecure: true, \
                token_file: /t }\n\
                state_dir: /s\ncontrol_socket: /c\nmetrics: 127.0.0.1:9480";
    let config = host(text, "overlayd.yaml").unwrap();
    assert_eq!(config.host.name.as_deref(), Some("hv1"));
    assert_eq!(config.host.address, "fd00::1".parse().ok());
    assert_eq!(
        config.host.labels,
        BTreeMap::from([("rack".to_owned(), "1".to_owned())])
    );
    assert_eq!(config.host.libvirt, Libvirt::Auto);
    assert_eq!(config.host.bridge_netfilter, BridgeNetfilterSetting::Keep);
    assert_eq!(
        (config.host.gateway.candidate, config.host.gateway.priority),
        (CandidateSetting::Never, 7)
    );
    assert_eq!(
        config.host.gateway.uplink,
        UplinkSetting::Only(vec![IfName::new("eth1").unwrap()])
    );
    assert_eq!(config.cluster.listen, "[fd00::1]:7481".parse().ok());
    let join = config.cluster.join.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(join, ["10.0.0.2:7480", "10.0.0.3:99", "[fd00::2]:7480"]);
    assert_eq!(config.cluster.trust, Trust::Insecure);
    assert_eq!(config.metrics, Metrics::At("127.0.0.1:9480".parse().unwrap()));
    assert_eq!((config.state_dir, config.control_socket), ("/s".into(), "/c".into()));
    assert_eq!(config.cluster.token_file.as_os_str(), "/t");
}

#[test]
fn a_segment_needs_only_a_name_and_a_vni() {
    let segment = one(&blue(""));
    assert_eq!(
        (segment.bridge.as_str(), segment.port, &segment.mode),
        ("br-blue", 4789, &Mode::Nat)
    );
    assert_eq!(
        (segment.transport.clone(), segment.mtu, segment.stp),
        (Transport::Unicast, MtuBound::Auto, Stp::Off)
    );
    assert_eq!((segment.gateway_v4(), ranges(&segment)), (None, Vec::new()));
    assert_eq!(unbuilt(&segment), []);
}

#[test]
fn the_gateway_is_the_first_address_where_none_is_given() {
    assert_eq!(
        one(&blue("ipv4: { subnet: 10.0.0.0/24 }")).gateway_v4(),
        Some(Ipv4Addr::new(10, 0, 0, 1))
    );
    let six = one(&blue("ipv6: { subnet: 'fd10:0:2::/64' }")).ipv6.unwrap();
    assert_eq!(six.gateway.to_string(), "fd10:0:2::1");
}

#[test]
fn the_pool_is_the_range_or_all_that_is_not_somebodys() {
    assert_eq!(
        ranges(&one(&with_dhcp("range: 10.0.0.16-10.0.0.20"))),
        ["10.0.0.16-10.0.0.20"]
    );
    assert_eq!(ranges(&one(&with_dhcp(""))), ["10.0.0.2-10.0.0.254"]);
    let middle = "host_address: { hv1: 10.0.0.1, hv2: 10.0.0.9 }\n\
                  ipv4: { subnet: 10.0.0.0/28, gateway: 10.0.0.8, dhcp: {} }";
    assert_eq!(
        ranges(&one(&blue(middle))),
        ["10.0.0.2-10.0.0.7", "10.0.0.10-10.0.0.14"]
    );
    assert_eq!(
        ranges(&one(&blue("ipv4: { subnet: 10.0.0.0/24 }"))),
        Vec::<String>::new()
    );
    assert_eq!(
        ranges(&one(&blue(
            "ipv4: { subnet: 10.0.0.0/30, gateway: 10.0.0.2, dhcp: {} }"
        ))),
        ["10.0.0.1-10.0.0.1"]
    );
    assert_eq!(one(&with_dhcp("range: 10.0.0.16-10.0.0.20")).pool_v4()[0].size(), 5);
}

#[test]
fn durations_are_seconds_or_have_units() {
    let check = |text: &str, seconds: Option<u64>| assert_eq!(duration(text).map(|d| d.as_secs()), seconds, "{text:?}");
    check("3600", Some(3600));
    check("1h", Some(3600));
    check("90m", Some(5400));
    check("1h30m", Some(5400));
    check("1d2h3m4s", Some(93_784));
    check("7d", Some(604_800));
    for bad in [
        "",
        "h",
        "1",
        "30m1h",
        "1h30",
        "1w",
        "-1h",
        "+5",
        "1.5h",
        "1hh",
        "99999999999999999999",
        "999999999999999999d",
    ] {
        check(bad, if bad == "1" { Some(1) } else { None });
    }
}

#[test]
fn labels_select_a_host_that_carries_all_of_them() {
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let segment = one(&blue("hosts: { rack: a, zone: north }"));
    assert!(segment.selects(&labels(&[("rack", "a"), ("zone", "north"), ("more", "x")])));
    assert!(!segment.selects(&labels(&[("rack", "a")])));
    assert!(!segment.selects(&labels(&[("rack", "a"), ("zone", "south")])));
    assert!(one(&blue("hosts: all")).selects(&labels(&[])));
}

#[test]
fn an_option_of_a_known_format_goes_out_in_it() {
    let cases: [(&str, u8, &[u8]); 14] = [
        ("2: -3600", 2, &[255, 255, 241, 240]),
        ("2: [0, 0, 14, 16]", 2, &[0, 0, 14, 16]),
        ("16: [10.0.0.1]", 16, &[10, 0, 0, 1]),
        ("19: true", 19, &[1]),
        ("23: 64", 23, &[64]),
        ("22: 576", 22, &[2, 64]),
        ("35: 60", 35, &[0, 0, 0, 60]),
        ("25: [68, 1500]", 25, &[0, 68, 5, 220]),
        ("33: [10.0.0.5 via 10.0.0.1]", 33, &[10, 0, 0, 5, 10, 0, 0, 1]),
        ("66: 10.0.0.5", 66, b"10.0.0.5"),
        ("119: blue.internal", 119, b"\x04blue\x08internal\0"),
        ("119: [a.b, c]", 119, b"\x01a\x01b\0\x01c\0"),
        (
            "121: [10.0.0.0/8 via 10.0.0.1, 0.0.0.0/0 via 10.0.0.2]",
            121,
            &[8, 10, 10, 0, 0, 1, 0, 10, 0, 0, 2],
        ),
        ("121: [24, 10, 9, 8, 10, 0, 0, 1]", 121, &[24, 10, 9, 8, 10, 0, 0, 1]),
    ];
    for (text, code, bytes) in cases {
        let segment = one(&with_dhcp(&format!("options: {{ {text} }}")));
        let options = segment.ipv4.unwrap().dhcp.unwrap().options;
        assert_eq!(options[&code].bytes(), bytes, "{text}");
    }
}

#[test]
fn an_option_is_addresses_bytes_or_text() {
    let segment = one(&with_dhcp(
        "options: { 42: [10.0.0.1, 10.0.0.2], 66: tftp, 150: [1, 255], 67: \"12\" }",
    ));
    let options = segment.ipv4.unwrap().dhcp.unwrap().options;
    assert_eq!(options[&42].bytes(), [10, 0, 0, 1, 10, 0, 0, 2]);
    assert_eq!(
        (options[&66].bytes(), options[&150].bytes()),
        (b"tftp".to_vec(), vec![1, 255])
    );
    assert_eq!(options[&67], DhcpOption::Text("12".to_owned()));
}

#[test]
fn what_is_not_built_is_read_and_then_refused_by_name_with_its_place() {
    let check = |keys: &str, message: &str| {
        let text = blue(keys);
        one(&text);
        let errors = built_segments(&text, "test.yaml").unwrap_err();
        assert_eq!(super::told(&errors), message.split('\n').collect::<Vec<_>>(), "{keys}");
    };
    check(
        "ipv4: { subnet: 10.0.0.0/24 }\nhost_address: auto",
        "5:19 segments[0].host_address: `host_address: auto` is not supported yet",
    );
    check(
        "ipv6: { subnet: 'fd00:1::/64' }",
        "4:5 segments[0].ipv6: `ipv6` in a segment is not supported yet",
    );
    check(
        "mode: bridged\nbridged: { interface: eth1 }",
        "4:11 segments[0].mode: `mode: bridged` is not supported yet\n5:5 segments[0].bridged: `bridged` is not supported yet",
    );
    check(
        "dns: { hosts: { db: 10.0.0.1 } }",
        "4:12 segments[0].dns.hosts: `dns.hosts` is not supported yet",
    );
    check(
        "forward_to: [ green ]",
        "4:5 segments[0].forward_to: `forward_to` is not supported yet",
    );
    check(
        "uplink_address: 203.0.113.7/24",
        "4:21 segments[0].uplink_address: `uplink_address` is not supported yet",
    );
    check(
        "port_security: on",
        "4:20 segments[0].port_security: `port_security: on` is not supported yet",
    );
    let errors = built_host("host: { libvirt: auto }\nmetrics: 127.0.0.1:1", "o.yaml").unwrap_err();
    assert_eq!(
        super::told(&errors),
        [
            "1:18 host.libvirt: `libvirt: auto` is not supported yet",
            "2:10 metrics: an address for `metrics` is not supported yet"
        ]
    );
    assert!(built_host("metrics: off\nhost: { libvirt: off }", "o.yaml").is_ok());
    assert!(built_segments(&blue("dns: { domain: a.b, upstream: [ 9.9.9.9 ] }"), "o.yaml").is_ok());
}

#[test]
fn segments_are_checked_together_without_their_texts() {
    let read = |text: &str| one(text);
    let blue = read("segments: [ { name: blue, vni: 10, ipv4: { subnet: 10.0.0.0/16 } } ]");
    let green = read("segments: [ { name: green, vni: 10, bridge: br-blue, ipv4: { subnet: 10.0.7.0/24 } } ]");
    let red = read("segments: [ { name: red, vni: 12, ipv4: { subnet: 10.1.0.0/16 } } ]");
    assert_eq!(check_together(&[&blue, &red]), []);
    let clashes = check_together(&[&blue, &red, &green])
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert_eq!(
        clashes,
        [
            r#"segment "green": vni: VNI 10 is already used by segment "blue""#,
            r#"segment "green": bridge: bridge "br-blue" is already used by segment "blue""#,
            r#"segment "green": ipv4.subnet: 10.0.7.0/24 overlaps the subnet of segment "blue""#,
        ]
    );
}
