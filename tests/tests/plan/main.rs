//! Plans: golden cases, and the property that an applied plan leaves nothing to do.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use overlayd_core::config::{
    self, Dns, HostAddress, HostSelector, Ipv4, Mode, MtuBound, PortForward, PortRange, PortSecurity, Protocol,
    Segment, Stp, Transport,
};
use overlayd_core::id::{HostId, IfName, Mac, SegmentId, SegmentName, Term, Vni};
use overlayd_core::kernel::desired::{
    BridgeNetfilter, Desired, Inputs, Role, SegmentInputs, ThisHost, Tracking, derive, gateway_mac,
};
use overlayd_core::kernel::observed::{
    AddrGen, Address, Admin, Flood, Group, Host, Lifetime, Link, LinkKind, Mark, Origin, Remote, Sysctl, TableName,
};
use overlayd_core::kernel::plan::{Obstacle, Op, Plan, apply_model, diff};
use overlayd_core::mtu::{OverlayMtu, UnderlayMtu};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mac(text: &str) -> Mac {
    text.parse().unwrap()
}

fn segment(name: &str, vni: u32, subnet: &str) -> Segment {
    let name = SegmentName::new(name).unwrap();
    let subnet: ipnet::Ipv4Net = subnet.parse().unwrap();
    Segment {
        vni: Vni::new(vni).unwrap(),
        bridge: name.default_bridge(),
        transport: Transport::Unicast,
        port: 4789,
        mode: Mode::Nat,
        mtu: MtuBound::Auto,
        stp: Stp::Off,
        hosts: HostSelector::All,
        host_address: HostAddress::None,
        ipv4: Some(Ipv4 {
            subnet,
            gateway: subnet.hosts().next().unwrap(),
            dhcp: None,
        }),
        ipv6: None,
        dns: Dns::default(),
        forward_to: BTreeSet::new(),
        ports: Vec::new(),
        uplink_address: None,
        port_security: PortSecurity::Off,
        name,
    }
}

fn blue() -> SegmentInputs {
    on_this_host(segment("blue", 10, "192.168.124.0/24"))
}

fn on_this_host(segment: Segment) -> SegmentInputs {
    SegmentInputs {
        segment,
        mtu: OverlayMtu::new(1450),
        peers: BTreeSet::from([ip("172.31.0.122")]),
        static_peers: BTreeSet::new(),
        endpoints: BTreeMap::new(),
        role: Role::Standby,
        guest_ports: BTreeSet::new(),
        host_address: None,
    }
}

fn inputs(segments: impl IntoIterator<Item = SegmentInputs>) -> Inputs {
    Inputs {
        host: ThisHost {
            id: HostId(1),
            vtep: ip("172.31.0.121"),
            underlay: name("eth0"),
            underlay_mtu: UnderlayMtu::new(1500),
            uplink: Some(name("eth0")),
        },
        segments: (1..).map(SegmentId).zip(segments).collect(),
        members: BTreeSet::from([ip("172.31.0.121"), ip("172.31.0.122"), ip("172.31.0.123")]),
        cluster_ports: BTreeSet::from([7480]),
        bridge_netfilter: BridgeNetfilter::SwitchOff,
        tracking: Tracking::Off,
    }
}

fn serving() -> Role {
    Role::Gateway { term: Term(3) }
}

fn nic() -> Link {
    Link {
        kind: LinkKind::Other,
        mac: mac("52:54:00:00:00:01"),
        mtu: 1500,
        admin: Admin::Up,
        master: None,
        alias: String::new(),
        addr_gen: AddrGen::Some,
    }
}

/// A host as it is before overlayd: two NICs, bridge netfilter on.
fn bare() -> Host {
    let calls = [
        Sysctl::BridgeNetfilter4,
        Sysctl::BridgeNetfilter6,
        Sysctl::BridgeNetfilterArp,
    ];
    Host {
        links: BTreeMap::from([(name("eth0"), nic()), (name("eth1"), nic())]),
        sysctls: calls
            .map(|call| (call, 1))
            .into_iter()
            .chain([(Sysctl::Forwarding4(name("eth0")), 0)])
            .collect(),
        ..Host::default()
    }
}

fn apply(host: &Host, plan: &Plan) -> Host {
    let mut host = host.clone();
    plan.ops.iter().for_each(|op| apply_model(&mut host, op));
    host
}

/// The plan from `observed`, as text without the tables' hashes; an applied plan must leave an empty one behind.
fn plan(desired: &Desired, observed: &Host) -> Vec<String> {
    let plan = diff(desired, observed);
    let after = apply(observed, &plan);
    assert_eq!(
        diff(desired, &after).ops,
        Vec::<Op>::new(),
        "an applied plan leaves nothing to do"
    );
    plan.ops
        .iter()
        .map(|op| op.to_string().split(" # ").next().unwrap_or_default().to_owned())
        .collect()
}

fn check(case: &str, inputs: &Inputs, observed: &Host, expected: &str) {
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let plan = plan(&derive(inputs), observed);
    assert_eq!(plan, expected, "{case}:\n{}", plan.join("\n"));
}

/// The state after the plan for `inputs` on a bare host.
fn settled(inputs: &Inputs) -> Host {
    apply(&bare(), &diff(&derive(inputs), &bare()))
}

#[test]
fn new_guests_on_other_hosts_can_wait_and_nothing_else_can() {
    let here = ip("172.31.0.122");
    let with = |endpoints: &[(&str, IpAddr)]| {
        let mut it = blue();
        it.peers.insert(ip("172.31.0.123"));
        it.endpoints = endpoints.iter().map(|(guest, vtep)| (mac(guest), *vtep)).collect();
        inputs([it])
    };
    let one = with(&[("52:54:00:00:00:01", here)]);
    let cases = [
        (
            "another guest",
            with(&[("52:54:00:00:00:01", here), ("52:54:00:00:00:02", here)]),
            true,
        ),
        ("nothing", one.clone(), true),
        ("a guest is gone", with(&[]), false),
        (
            "a guest has moved",
            with(&[("52:54:00:00:00:01", ip("172.31.0.123"))]),
            false,
        ),
        (
            "the gateway has moved",
            {
                let mut now = one.clone();
                let (id, it) = now.segments.iter_mut().next().unwrap();
                it.endpoints.insert(gateway_mac(*id), here);
                now
            },
            false,
        ),
        (
            "another guest, and this host serves",
            {
                let mut now = with(&[("52:54:00:00:00:01", here), ("52:54:00:00:00:02", here)]);
                now.segments.values_mut().for_each(|it| it.role = serving());
                now
            },
            false,
        ),
        ("a segment is gone", inputs([]), false),
    ];
    for (what, now, can_wait) in cases {
        assert_eq!(now.adds_only_guests(&one), can_wait, "{what}");
    }
}

#[test]
fn a_bare_host_gets_bridge_and_vxlan() {
    check(
        "standby",
        &inputs([blue()]),
        &bare(),
        "ip link add br-blue address 02:22:f2:30:5d:37 type bridge stp_state 0 forward_delay 200 mcast_snooping 0
        ip link add vx-blue address 02:dc:1b:31:35:5f type vxlan id 10 local 172.31.0.121 dstport 4789 df set learning
        ip link set br-blue alias overlayd:blue
        ip link set vx-blue alias overlayd:blue
        ip link set br-blue addrgenmode none
        ip link set vx-blue addrgenmode none
        ip link set vx-blue master br-blue
        ip link set br-blue mtu 1500
        ip link set vx-blue mtu 1500
        sysctl -w net/ipv4/conf/br-blue/arp_ignore=1
        sysctl -w net/ipv6/conf/br-blue/accept_ra=0
        sysctl -w net/ipv6/conf/vx-blue/accept_ra=0
        sysctl -w net/bridge/bridge-nf-call-iptables=0
        sysctl -w net/bridge/bridge-nf-call-ip6tables=0
        sysctl -w net/bridge/bridge-nf-call-arptables=0
        nft -f -
        ip link set br-blue up
        ip link set vx-blue up
        bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 172.31.0.122 self permanent",
    );
}

#[test]
fn a_restarted_agent_adopts_what_it_finds() {
    let mut it = blue();
    it.role = serving();
    it.endpoints = BTreeMap::from([(mac("52:54:00:aa:bb:cc"), ip("172.31.0.122"))]);
    let inputs = inputs([it]);
    check("nothing to do", &inputs, &settled(&inputs), "");
}

#[test]
fn a_prepared_gateway_stays_down_until_it_serves() {
    let standby = inputs([blue()]);
    let with = |role| {
        let mut it = blue();
        it.role = role;
        inputs([it])
    };
    check(
        "become a candidate",
        &with(Role::Candidate),
        &settled(&standby),
        "ip link add gw-blue link br-blue address 0e:b4:57:d0:40:a4 type macvlan mode bridge
        ip link set gw-blue alias overlayd:blue
        ip link set gw-blue addrgenmode none
        ip link set gw-blue mtu 1450
        sysctl -w net/ipv4/conf/gw-blue/arp_ignore=1
        sysctl -w net/ipv6/conf/gw-blue/accept_ra=0
        nft -f -
        sysctl -w net/ipv4/conf/eth0/forwarding=1
        sysctl -w net/ipv4/conf/gw-blue/forwarding=1",
    );
    check(
        "prepare",
        &with(Role::Preparing),
        &settled(&with(Role::Candidate)),
        "nft -f -",
    );
    check(
        "serve",
        &with(serving()),
        &settled(&with(Role::Preparing)),
        "ip link set gw-blue alias overlayd:blue:3
        ip link set gw-blue up
        bridge fdb add 0e:b4:57:d0:40:a4 dev br-blue self permanent",
    );
    check(
        "step down",
        &standby,
        &settled(&with(serving())),
        "bridge fdb del 0e:b4:57:d0:40:a4 dev br-blue self
        ip link del gw-blue
        nft -f -",
    );
}

/// Puts an address with five seconds to live on a link, as the address worker does.
fn with_address(mut host: Host, link: &str, address: &str) -> Host {
    let held = Address {
        lifetime: Lifetime::Seconds(5),
        mark: Mark::Foreign,
        group: Group::No,
    };
    host.addresses.insert((name(link), address.parse().unwrap()), held);
    host
}

#[test]
fn a_plan_never_touches_the_address_that_is_held_and_removes_any_other() {
    let with = |role| {
        let mut it = blue();
        it.role = role;
        inputs([it])
    };
    let held = with_address(settled(&with(serving())), "gw-blue", "192.168.124.1/24");
    check("held", &with(serving()), &held, "");
    let strange = with_address(held, "gw-blue", "192.168.124.7/24");
    check(
        "another",
        &with(serving()),
        &strange,
        "ip addr del 192.168.124.7/24 dev gw-blue",
    );
    let bridge = with_address(settled(&inputs([blue()])), "br-blue", "192.168.124.1/24");
    check(
        "on the bridge",
        &inputs([blue()]),
        &bridge,
        "ip addr del 192.168.124.1/24 dev br-blue",
    );
    let operators = with_address(settled(&inputs([blue()])), "br-blue", "10.0.0.1/24");
    check("an operator's own", &inputs([blue()]), &operators, "");
    let preparing = with_address(settled(&with(Role::Preparing)), "gw-blue", "192.168.124.1/24");
    check(
        "left over",
        &with(Role::Preparing),
        &preparing,
        "ip addr del 192.168.124.1/24 dev gw-blue",
    );
}

#[test]
fn while_nobody_knows_who_serves_the_way_to_the_gateway_stays_as_it_is() {
    let gateway = gateway_mac(SegmentId(1));
    let with = |role, peers: &[&str], holder: Option<&str>| {
        let mut it = blue();
        it.role = role;
        it.peers = peers.iter().map(|peer| ip(peer)).collect();
        it.endpoints = holder.map(|holder| (gateway, ip(holder))).into_iter().collect();
        inputs([it])
    };
    let [one, other] = ["172.31.0.122", "172.31.0.123"];
    let both = [one, other];
    let told = settled(&with(Role::Standby, &both, Some(one)));
    check("not known yet", &with(Role::Standby, &both, None), &told, "");
    check(
        "another host serves",
        &with(Role::Standby, &both, Some(other)),
        &told,
        &format!("bridge fdb replace {gateway} dev vx-blue dst 172.31.0.123 self master dynamic extern_learn"),
    );
    check(
        "its host is gone",
        &with(Role::Standby, &[other], None),
        &told,
        &format!(
            "bridge fdb del 00:00:00:00:00:00 dev vx-blue dst 172.31.0.122 self
            bridge fdb del {gateway} dev vx-blue dst 172.31.0.122 self
            bridge fdb del {gateway} dev vx-blue master"
        ),
    );
    let here = plan(&derive(&with(serving(), &both, None)), &told);
    assert!(
        here.contains(&format!("bridge fdb del {gateway} dev vx-blue dst 172.31.0.122 self")),
        "{here:?}"
    );
}

#[test]
fn drift_is_repaired() {
    let mut it = blue();
    it.endpoints = BTreeMap::from([(mac("52:54:00:aa:bb:cc"), ip("172.31.0.122"))]);
    let inputs = inputs([it]);
    let check = |case: &str, drift: &dyn Fn(&mut Host), expected: &str| {
        let mut host = settled(&inputs);
        drift(&mut host);
        check(case, &inputs, &host, expected);
    };
    let link =
        |host: &mut Host, link: &str, change: &dyn Fn(&mut Link)| change(host.links.get_mut(&name(link)).unwrap());
    check(
        "the VXLAN is deleted",
        &|host| apply_model(host, &Op::DeleteLink { link: name("vx-blue") }),
        "ip link add vx-blue address 02:dc:1b:31:35:5f type vxlan id 10 local 172.31.0.121 dstport 4789 df set learning
        ip link set vx-blue alias overlayd:blue
        ip link set vx-blue addrgenmode none
        ip link set vx-blue master br-blue
        ip link set vx-blue mtu 1500
        sysctl -w net/ipv6/conf/vx-blue/accept_ra=0
        ip link set vx-blue up
        bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 172.31.0.122 self permanent
        bridge fdb replace 52:54:00:aa:bb:cc dev vx-blue dst 172.31.0.122 self master dynamic extern_learn",
    );
    check(
        "the forwarding table is flushed",
        &|host| host.fdb.clear(),
        "bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 172.31.0.122 self permanent
        bridge fdb replace 52:54:00:aa:bb:cc dev vx-blue dst 172.31.0.122 self master dynamic extern_learn",
    );
    check(
        "the VXLAN's master is taken away",
        &|host| {
            link(host, "vx-blue", &|it| it.master = None);
            host.fdb.get_mut(&name("vx-blue")).unwrap().bridge.clear();
        },
        "ip link set vx-blue master br-blue
        bridge fdb replace 52:54:00:aa:bb:cc dev vx-blue dst 172.31.0.122 self master dynamic extern_learn",
    );
    check(
        "the bridge is down",
        &|host| link(host, "br-blue", &|it| it.admin = Admin::Down),
        "ip link set br-blue up",
    );
    check(
        "the bridge is small",
        &|host| link(host, "br-blue", &|it| it.mtu = 1450),
        "ip link set br-blue mtu 1500",
    );
    check(
        "the bridge has another MAC",
        &|host| link(host, "br-blue", &|it| it.mac = mac("52:54:00:00:00:09")),
        "ip link set br-blue address 02:22:f2:30:5d:37",
    );
    check(
        "stale entries",
        &|host| {
            let fdb = host.fdb.get_mut(&name("vx-blue")).unwrap();
            fdb.flood.insert(Flood {
                to: ip("172.31.0.199"),
                via: None,
            });
            for (guest, vtep, origin) in [
                ("52:54:00:00:00:01", "172.31.0.122", Origin::External),
                ("52:54:00:00:00:02", "172.31.0.122", Origin::Learned),
                ("52:54:00:00:00:03", "172.31.0.199", Origin::Learned),
            ] {
                fdb.remote.insert(mac(guest), Remote { vtep: ip(vtep), origin });
                fdb.bridge.insert(mac(guest), origin);
            }
        },
        "bridge fdb del 00:00:00:00:00:00 dev vx-blue dst 172.31.0.199 self
        bridge fdb del 52:54:00:00:00:01 dev vx-blue dst 172.31.0.122 self
        bridge fdb del 52:54:00:00:00:03 dev vx-blue dst 172.31.0.199 self
        bridge fdb del 52:54:00:00:00:01 dev vx-blue master",
    );
    check(
        "somebody changed a rule: the seal is broken",
        &|host| {
            host.tables.insert(TableName::Inet, None);
        },
        "nft -f -",
    );
}

#[test]
fn another_vni_means_another_device_and_another_local_address_does_not() {
    let mut it = blue();
    it.segment.vni = Vni::new(11).unwrap();
    check(
        "VNI",
        &inputs([it]),
        &settled(&inputs([blue()])),
        "ip link del vx-blue
        ip link add vx-blue address 02:dc:1b:31:35:5f type vxlan id 11 local 172.31.0.121 dstport 4789 df set learning
        ip link set vx-blue alias overlayd:blue
        ip link set vx-blue addrgenmode none
        ip link set vx-blue master br-blue
        ip link set vx-blue mtu 1500
        sysctl -w net/ipv6/conf/vx-blue/accept_ra=0
        nft -f -
        ip link set vx-blue up
        bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 172.31.0.122 self permanent",
    );
    let mut moved = inputs([blue()]);
    moved.host.vtep = ip("172.31.0.9");
    check(
        "address",
        &moved,
        &settled(&inputs([blue()])),
        "ip link set vx-blue type vxlan local 172.31.0.9 df set learning",
    );
}

#[test]
fn guest_ports_are_raised_and_never_lowered() {
    let mut host = settled(&inputs([blue()]));
    let port = |mtu| Link {
        mtu,
        master: Some(name("br-blue")),
        ..nic()
    };
    host.links
        .extend([(name("vnet0"), port(1400)), (name("vnet1"), port(9000))]);
    check("raise", &inputs([blue()]), &host, "ip link set vnet0 mtu 1500");
}

#[test]
fn a_vtep_is_admitted_before_it_is_sent_to_and_shut_out_after() {
    let before = inputs([blue()]);
    let mut it = blue();
    it.peers = BTreeSet::from([ip("172.31.0.124")]);
    let mut after = inputs([it]);
    after.members = BTreeSet::from([ip("172.31.0.121"), ip("172.31.0.124")]);
    check(
        "one for another",
        &after,
        &settled(&before),
        "bridge fdb del 00:00:00:00:00:00 dev vx-blue dst 172.31.0.122 self
        nft -f -
        bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 172.31.0.124 self permanent",
    );
}

#[test]
fn a_multicast_segment_joins_its_group_and_keeps_the_way_to_it() {
    let mut it = blue();
    it.segment.transport = Transport::Multicast {
        group: ip("239.0.0.10"),
        interface: Some(name("eth1")),
    };
    let multicast = inputs([it]);
    check(
        "from unicast",
        &multicast,
        &settled(&inputs([blue()])),
        "bridge fdb del 00:00:00:00:00:00 dev vx-blue dst 172.31.0.122 self
        bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 239.0.0.10 via eth1 self permanent
        ip addr replace 239.0.0.10/32 dev eth1 proto 79 autojoin
        ip route del local 239.0.0.10 dev eth1 table local",
    );
    check(
        "back to unicast",
        &inputs([blue()]),
        &settled(&multicast),
        "ip addr del 239.0.0.10/32 dev eth1
        bridge fdb del 00:00:00:00:00:00 dev vx-blue dst 239.0.0.10 via eth1 self
        bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 172.31.0.122 self permanent",
    );
    let mut missing = bare();
    missing.links.remove(&name("eth1"));
    let obstacles = diff(&derive(&multicast), &missing).obstacles;
    assert_eq!(obstacles, [Obstacle::Missing { link: name("eth1") }]);
}

#[test]
fn an_ipv6_underlay_has_ipv6_peers_only() {
    let mut it = blue();
    it.peers = BTreeSet::from([ip("fd00::2"), ip("172.31.0.122")]);
    it.endpoints = BTreeMap::from([(mac("52:54:00:aa:bb:cc"), ip("172.31.0.122"))]);
    let mut inputs = inputs([it]);
    inputs.host.vtep = ip("fd00::1");
    let plan = plan(&derive(&inputs), &bare()).join("\n");
    assert!(plan.contains("type vxlan id 10 local fd00::1 "), "{plan}");
    assert!(
        plan.ends_with("bridge fdb append 00:00:00:00:00:00 dev vx-blue dst fd00::2 self permanent"),
        "{plan}"
    );
}

#[test]
fn a_host_address_gives_way_to_the_gateways_route() {
    let mut it = blue();
    it.host_address = Some("192.168.124.2/24".parse().unwrap());
    check(
        "added",
        &inputs([it.clone()]),
        &settled(&inputs([blue()])),
        "sysctl -w net/ipv4/conf/br-blue/rp_filter=2
        nft -f -
        ip addr replace 192.168.124.2/24 dev br-blue proto 79 metric 1024",
    );
    check(
        "removed",
        &inputs([blue()]),
        &settled(&inputs([it])),
        "ip addr del 192.168.124.2/24 dev br-blue
        nft -f -",
    );
}

#[test]
fn a_foreign_bridge_of_our_name_is_named_and_left_alone() {
    let mut host = bare();
    let kind = settled(&inputs([blue()])).links[&name("br-blue")].kind.clone();
    host.links.insert(name("br-blue"), Link { kind, ..nic() });
    let plan = diff(&derive(&inputs([blue()])), &host);
    assert_eq!(plan.obstacles, [Obstacle::Foreign { link: name("br-blue") }]);
    assert!(plan.obstacles[0].to_string().contains("br-blue is not overlayd's"));
    let ops: Vec<String> = plan.ops.iter().map(Op::to_string).collect();
    assert!(
        !ops.iter().any(|op| op.contains("vx-blue") || op.contains("br-blue")),
        "{ops:?}"
    );
}

#[test]
fn a_device_that_was_made_but_not_yet_marked_is_still_ours() {
    let inputs = inputs([blue()]);
    let mut host = bare();
    for op in diff(&derive(&inputs), &host).ops.iter().take(2) {
        apply_model(&mut host, op);
    }
    let plan = diff(&derive(&inputs), &host);
    assert_eq!(plan.obstacles, []);
    assert!(
        matches!(&plan.ops[0], Op::SetAlias { link, .. } if *link == name("br-blue")),
        "{:?}",
        plan.ops
    );
}

#[test]
fn a_foreign_vxlan_with_our_vni_is_named() {
    let mut host = bare();
    let kind = settled(&inputs([blue()])).links[&name("vx-blue")].kind.clone();
    host.links.insert(name("vxlan10"), Link { kind, ..nic() });
    let plan = diff(&derive(&inputs([blue()])), &host);
    let vni = Vni::new(10).unwrap();
    assert_eq!(
        plan.obstacles,
        [Obstacle::SameVni {
            link: name("vx-blue"),
            other: name("vxlan10"),
            vni
        }]
    );
}

#[test]
fn a_bridge_of_a_deleted_segment_stays_until_its_last_guest_is_gone() {
    let mut it = blue();
    it.role = serving();
    let mut host = settled(&inputs([it]));
    host.links.insert(
        name("vnet0"),
        Link {
            master: Some(name("br-blue")),
            ..nic()
        },
    );
    check(
        "occupied",
        &inputs([]),
        &host,
        "bridge fdb del 0e:b4:57:d0:40:a4 dev br-blue self
        ip link del gw-blue
        ip link del vx-blue
        nft delete table inet overlayd",
    );
    let obstacle = Obstacle::Occupied {
        bridge: name("br-blue"),
        ports: vec![name("vnet0")],
    };
    assert_eq!(diff(&derive(&inputs([])), &host).obstacles, [obstacle]);
    host.links.remove(&name("vnet0"));
    check(
        "empty",
        &inputs([]),
        &host,
        "ip link del gw-blue
        ip link del vx-blue
        ip link del br-blue
        nft delete table inet overlayd",
    );
}

#[test]
fn bridge_macs_differ_by_host_and_gateway_macs_do_not() {
    let mut other = inputs([blue()]);
    other.host.id = HostId(2);
    let (here, there) = (derive(&inputs([blue()])), derive(&other));
    assert_ne!(here.links[&name("br-blue")].mac, there.links[&name("br-blue")].mac);
    assert_ne!(gateway_mac(SegmentId(1)), gateway_mac(SegmentId(2)));
    assert!(!gateway_mac(SegmentId(1)).is_multicast());
}

#[test]
fn every_example_whose_keys_are_all_built_yields_a_plan() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut planned = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let shown = file.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(segments) = config::built_segments(&text, &shown) else {
            continue;
        };
        let serving = segments.into_iter().map(|segment| SegmentInputs {
            role: serving(),
            ..on_this_host(segment)
        });
        let ops = plan(&derive(&inputs(serving)), &bare());
        assert!(ops.iter().any(|op| op.contains("type vxlan")), "{shown}: {ops:?}");
        planned.insert(shown);
    }
    for built in [
        "nat.yaml",
        "routed.yaml",
        "isolated.yaml",
        "two-hosts-unicast.yaml",
        "two-segments-multicast.yaml",
    ] {
        assert!(planned.contains(built), "{built} is not planned: {planned:?}");
    }
}

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
        (Role::Preparing, BridgeNetfilter::LeftOn, true),
        (Role::Candidate, BridgeNetfilter::LeftOn, true),
        (Role::Standby, BridgeNetfilter::LeftOn, false),
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
    let mut blue = blue();
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
    red.role = Role::Preparing;
    red.segment.mode = Mode::Isolated;
    let inputs = inputs([blue, green, red]);
    let check = |table, name: &str, expected: &[&str]| assert_eq!(block(&inputs, table, name), expected, "{name}");
    let blue_and_red = "udp dport 4789 @th,96,32 & 0xffffff00 { 0x00000a00, 0x00001e00 }";
    let only_green = "udp dport 8472 @th,96,32 & 0xffffff00 == 0x00001400";
    check(
        TableName::Inet,
        "chain ov_raw_in",
        &[
            "type filter hook prerouting priority raw; policy accept;",
            &format!("{blue_and_red} ip saddr @members4 notrack"),
            &format!("{only_green} ip saddr @members4 notrack"),
        ],
    );
    check(
        TableName::Inet,
        "chain ov_raw_out",
        &[
            "type filter hook output priority raw; policy accept;",
            &format!("{blue_and_red} notrack"),
            &format!("{only_green} notrack"),
        ],
    );
    check(
        TableName::Inet,
        "chain ov_input",
        &[
            "type filter hook input priority filter - 5; policy accept;",
            &format!("ip saddr != @members4 {blue_and_red} drop"),
            &format!("ip saddr != @members4 {only_green} drop"),
            "iifname != \"eth0\" iifname vmap { \"br-blue\" : jump ov_host_blue, \"gw-blue\" : jump ov_host_blue, \
             \"br-green\" : jump ov_host_green, \"gw-green\" : jump ov_host_green, \
             \"br-red\" : jump ov_host_red, \"gw-red\" : jump ov_host_red }",
        ],
    );
    let from = "iifname { \"eth0\", \"gw-blue\" } fib daddr type local ip daddr != 192.168.124.1";
    check(
        TableName::Inet,
        "chain ov_dstnat",
        &[
            "type nat hook prerouting priority dstnat; policy accept;",
            &format!("{from} tcp dport 8080 dnat ip to 192.168.124.20:80"),
            &format!("{from} udp dport 5000-5002 dnat ip to 192.168.124.21"),
            &format!(
                "{from} dnat ip to udp dport map {{ 6000 : 192.168.124.21 . 7000, 6001 : 192.168.124.21 . 7001 }}"
            ),
        ],
    );
    let leaving = "ip saddr 192.168.124.0/24 oifname \"eth0\" ip daddr != { 224.0.0.0/24, 255.255.255.255 } \
                   ip daddr != @subnets4";
    check(
        TableName::Inet,
        "chain ov_srcnat",
        &[
            "type nat hook postrouting priority srcnat; policy accept;",
            "ip saddr 192.168.124.0/24 ip daddr 192.168.124.0/24 oifname \"gw-blue\" ct status dnat masquerade",
            &format!("{leaving} meta l4proto {{ tcp, udp }} masquerade to :1024-65535"),
            &format!("{leaving} masquerade"),
        ],
    );
    check(
        TableName::Inet,
        "chain ov_from_blue",
        &[
            "ip saddr != 192.168.124.0/24 drop",
            "meta nfproto ipv6 drop",
            "ip daddr @members4 udp dport { 4789, 8472 } drop",
            "ip daddr @members4 tcp dport { 7480 } drop",
            "ct state established,related accept",
            "oifname \"gw-blue\" ct status dnat accept",
            "oifname \"gw-green\" accept",
            "ip daddr @subnets4 reject with icmpx type admin-prohibited",
            "oifname \"eth0\" accept",
            "reject with icmpx type admin-prohibited",
        ],
    );
    check(
        TableName::Inet,
        "chain ov_from_red",
        &[
            "ip saddr != 192.168.126.0/24 drop",
            "meta nfproto ipv6 drop",
            "reject with icmpx type admin-prohibited",
        ],
    );
    check(TableName::Inet, "chain ov_to_green", &["accept"]);
    check(
        TableName::Inet,
        "chain ov_host_green",
        &[
            "ct state established,related accept",
            "icmp type echo-request accept",
            "icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert } accept",
            "udp dport { 53, 67 } accept",
            "tcp dport 53 accept",
            "ip saddr 192.168.125.0/24 ip daddr 192.168.125.2 accept",
            "reject with icmpx type admin-prohibited",
        ],
    );
    let mangle = block(&inputs, TableName::Inet, "chain ov_mangle");
    let clamp = "tcp flags & (syn | rst) == syn tcp option maxseg size > 1410 tcp option maxseg size set 1410";
    assert_eq!(mangle[1], format!("iifname \"gw-blue\" {clamp}"));
    assert_eq!(mangle[3], format!("oifname \"gw-blue\" {clamp}"));
    assert!(mangle.contains(&"oifname \"gw-green\" ct state new ct mark set 0x4f000014".to_owned()));
    check(
        TableName::Netdev,
        "chain ov_guests_0",
        &[
            "type filter hook ingress devices = { \"vnet0\" } priority filter; policy accept;",
            "udp sport { 67, 547 } drop",
            "icmpv6 type nd-router-advert drop",
        ],
    );
}

#[test]
fn a_chain_has_no_more_devices_than_the_kernel_takes() {
    let mut blue = blue();
    blue.guest_ports = (0..401).map(|number| name(&format!("vnet{number}"))).collect();
    let inputs = inputs([blue]);
    let devices = |chain: &str| block(&inputs, TableName::Netdev, chain)[0].matches("vnet").count();
    assert_eq!(
        ["chain ov_guests_0", "chain ov_guests_1", "chain ov_guests_2"].map(devices),
        [200, 200, 1]
    );
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
    assert_eq!(forwarded(Role::Standby), around);
    // It may have the address before its rules are loaded.
    let unready = ["iifname", "oifname"].map(|side| format!("{side} \"gw-blue\" drop"));
    assert_eq!(forwarded(Role::Candidate), [around, unready].concat());
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
        for role in [Role::Standby, Role::Candidate] {
            let own = Some("192.168.124.11/24");
            let off = hooks(role, &mode, None, Tracking::Off);
            assert_eq!(off, (least.to_owned(), false), "{mode:?}, {role:?}");
            let on = hooks(role, &mode, None, Tracking::On);
            assert_eq!(on, (untracked.clone(), false), "{mode:?}, {role:?}");
            let addressed = hooks(role, &mode, own, Tracking::Off);
            assert_eq!(addressed, (untracked.clone(), true), "{mode:?}, {role:?}");
        }
        for role in [Role::Preparing, serving()] {
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

const GUESTS: [&str; 3] = ["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"];
const VTEPS: [&str; 4] = ["172.31.0.121", "172.31.0.122", "172.31.0.123", "172.31.0.124"];

fn vteps() -> impl Strategy<Value = BTreeSet<IpAddr>> {
    proptest::sample::subsequence(VTEPS.to_vec(), 0..=VTEPS.len()).prop_map(|it| it.into_iter().map(ip).collect())
}

fn any_segment() -> impl Strategy<Value = Option<SegmentInputs>> {
    let role = prop_oneof![
        Just(Role::Standby),
        Just(Role::Candidate),
        Just(Role::Preparing),
        (1..4_u64).prop_map(|term| Role::Gateway { term: Term(term) })
    ];
    let mode = prop_oneof![Just(Mode::Nat), Just(Mode::Routed), Just(Mode::Isolated)];
    let transport = prop_oneof![
        3 => Just(Transport::Unicast),
        1 => Just(Transport::Multicast { group: ip("239.0.0.10"), interface: Some(name("eth1")) }),
    ];
    let endpoints = proptest::collection::btree_map(
        proptest::sample::select(&GUESTS[..]),
        proptest::sample::select(&VTEPS[..]),
        0..3,
    );
    let settings = (
        role,
        mode,
        transport,
        vteps(),
        vteps(),
        endpoints,
        10..12_u32,
        any::<bool>(),
        1300..1500_u32,
    );
    proptest::option::of(
        settings.prop_map(|(role, mode, transport, peers, statics, endpoints, vni, own, mtu)| {
            let mut it = on_this_host(segment("blue", vni, "192.168.124.0/24"));
            it.segment.mode = mode;
            it.segment.transport = transport;
            it.role = role;
            it.peers = peers;
            it.static_peers = statics;
            it.endpoints = endpoints
                .into_iter()
                .map(|(guest, vtep)| (mac(guest), ip(vtep)))
                .collect();
            it.host_address = own.then(|| "192.168.124.2/24".parse().unwrap());
            it.mtu = OverlayMtu::new(mtu);
            it
        }),
    )
}

/// Up to two segments: the second differs by name, VNI and subnet.
fn any_inputs() -> impl Strategy<Value = Inputs> {
    (any_segment(), any_segment(), 1400..9000_u32).prop_map(|(blue, green, mtu)| {
        let green = green.map(|mut it| {
            let vni = it.segment.vni.number() + 10;
            let other = segment("green", vni, "192.168.125.0/24");
            it.host_address = it.host_address.map(|_| "192.168.125.2/24".parse().unwrap());
            it.segment = Segment {
                mode: it.segment.mode,
                transport: it.segment.transport,
                ..other
            };
            it
        });
        let mut inputs = inputs(blue.into_iter().chain(green));
        inputs.host.underlay_mtu = UnderlayMtu::new(mtu);
        inputs
    })
}

/// What a careless administrator or a broken tool may do to a link.
#[derive(Clone, Debug)]
enum Drift {
    Delete,
    Down,
    NoMaster,
    Mtu(u32),
    NoAlias,
    OtherMac,
    OtherKind,
    Flush,
    Stale(Origin),
    BreakSeal,
    ForwardingOff,
}

fn any_drift() -> impl Strategy<Value = (usize, Drift)> {
    let origin = prop_oneof![
        Just(Origin::Learned),
        Just(Origin::External),
        Just(Origin::Static),
        Just(Origin::Permanent)
    ];
    let drift = prop_oneof![
        Just(Drift::Delete),
        Just(Drift::Down),
        Just(Drift::NoMaster),
        (576..9000_u32).prop_map(Drift::Mtu),
        Just(Drift::NoAlias),
        Just(Drift::OtherMac),
        Just(Drift::OtherKind),
        Just(Drift::Flush),
        origin.prop_map(Drift::Stale),
        Just(Drift::BreakSeal),
        Just(Drift::ForwardingOff),
    ];
    (0..8_usize, drift)
}

fn drift(host: &mut Host, (place, drift): &(usize, Drift)) {
    let Some(name) = host.links.keys().nth(place % host.links.len().max(1)).cloned() else {
        return;
    };
    let link = host.links.get_mut(&name).unwrap();
    match drift {
        Drift::Delete => apply_model(host, &Op::DeleteLink { link: name }),
        Drift::Down => link.admin = Admin::Down,
        Drift::NoMaster => link.master = None,
        Drift::Mtu(mtu) => link.mtu = *mtu,
        Drift::NoAlias => link.alias.clear(),
        Drift::OtherMac => link.mac = mac("52:54:00:00:00:99"),
        Drift::OtherKind => link.kind = LinkKind::Other,
        Drift::Flush => host.fdb.clear(),
        Drift::Stale(origin) => {
            let fdb = host.fdb.entry(name).or_default();
            fdb.flood.insert(Flood {
                to: ip("172.31.0.199"),
                via: None,
            });
            fdb.remote.insert(
                mac(GUESTS[0]),
                Remote {
                    vtep: ip("172.31.0.199"),
                    origin: *origin,
                },
            );
            fdb.bridge.insert(mac(GUESTS[1]), *origin);
            fdb.bridge.insert(gateway_mac(SegmentId(9)), *origin);
        }
        Drift::BreakSeal => host.tables.values_mut().for_each(|seal| *seal = None),
        Drift::ForwardingOff => {
            let forwarding = |sysctl: &Sysctl| matches!(sysctl, Sysctl::Forwarding4(_));
            host.sysctls
                .iter_mut()
                .filter(|(sysctl, _)| forwarding(sysctl))
                .for_each(|(_, value)| *value = 0);
        }
    }
}

/// Ours by mark, or by the MAC that only this program would choose.
fn is_ours(desired: &Desired, name: &IfName, link: &Link) -> bool {
    link.is_ours(name)
        || desired
            .links
            .get(name)
            .is_some_and(|wanted| link.alias.is_empty() && link.mac == wanted.mac)
}

proptest! {
    #[test]
    fn an_applied_plan_leaves_nothing_to_do(
        before in any_inputs(),
        now in any_inputs(),
        drifts in proptest::collection::vec(any_drift(), 0..4),
    ) {
        let mut host = settled(&before);
        let bridge = Some(name("br-blue")).filter(|bridge| host.links.contains_key(bridge));
        host.links.insert(name("vnet0"), Link { mtu: 1200, master: bridge, ..nic() });
        drifts.iter().for_each(|it| drift(&mut host, it));
        let desired = derive(&now);
        let after = apply(&host, &diff(&desired, &host));
        prop_assert_eq!(diff(&desired, &after).ops, Vec::<Op>::new());
    }

    #[test]
    fn what_is_not_ours_is_not_touched(
        before in any_inputs(),
        now in any_inputs(),
        drifts in proptest::collection::vec(any_drift(), 0..4),
    ) {
        let mut host = settled(&before);
        let bridge = Some(name("br-blue")).filter(|bridge| host.links.contains_key(bridge));
        host.links.insert(name("vnet0"), Link { mtu: 1200, master: bridge, ..nic() });
        host.links.insert(name("docker0"), nic());
        drifts.iter().for_each(|it| drift(&mut host, it));
        let desired = derive(&now);
        let after = apply(&host, &diff(&desired, &host));
        for (name, link) in host.links.iter().filter(|(name, link)| !is_ours(&desired, name, link)) {
            let left = &after.links[name];
            // A guest port may be raised, and loses its bridge with the bridge.
            prop_assert!(left.mtu >= link.mtu);
            let compared = Link { mtu: link.mtu, master: link.master.clone(), ..left.clone() };
            prop_assert_eq!(&compared, link);
        }
        for (bridge, _) in host.links.iter().filter(|(name, link)| is_ours(&desired, name, link)) {
            let occupied = host.ports(bridge).any(|(port, link)| !is_ours(&desired, port, link));
            let is_bridge = matches!(host.links[bridge].kind, LinkKind::Bridge(_));
            prop_assert!(!(occupied && is_bridge) || after.links.contains_key(bridge), "a bridge with guests stays");
        }
    }
}
