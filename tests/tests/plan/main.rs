//! Plans: golden cases, and the property that an applied plan leaves nothing to do.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod firewall;
mod golden;
mod properties;

use golden::Golden;
use overlayd_core::config::{
    self, Dhcp4, Dns, HostAddress, HostSelector, Ipv4, Ipv6, Mode, MtuBound, NetworkBoot, PortForward, PortRange,
    PortSecurity, Protocol, Segment, Stp, Transport,
};
use overlayd_core::id::{HostId, IfName, Mac, SegmentId, SegmentName, Term, Vni};
use overlayd_core::kernel::desired::{Desired, derive};
use overlayd_core::kernel::device::{AddrGen, Admin, LinkKind};
use overlayd_core::kernel::inputs::{BridgeNetfilter, Inputs, SegmentInputs, SegmentRole, ThisHost, Tracking};
use overlayd_core::kernel::mark::gateway_mac;
use overlayd_core::kernel::observed::{
    Address, FdbOrigin, Flood, Lifetime, Link, Mark, MulticastGroup, Observed, Remote,
};
use overlayd_core::kernel::plan::{Obstacle, Op, Plan, apply_model, diff};
use overlayd_core::kernel::sysctl::Sysctl;
use overlayd_core::kernel::table::TableName;
use overlayd_core::mtu::{OverlayMtu, UnderlayMtu};
use overlayd_core::time::Duration;
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

fn with_dhcp(mut segment: Segment) -> Segment {
    let dhcp = Dhcp4 {
        range: None,
        lease_time: Duration::from_secs(3600),
        max_leases: None,
        reservations: Vec::new(),
        boot: NetworkBoot::default(),
        options: BTreeMap::new(),
    };
    segment.ipv4.as_mut().unwrap().dhcp = Some(dhcp);
    segment
}

fn blue() -> SegmentInputs {
    on_this_host(segment("blue", 10, "192.168.124.0/24"))
}

fn on_this_host(segment: Segment) -> SegmentInputs {
    SegmentInputs {
        segment,
        vtep: None,
        mtu: OverlayMtu::new(1450),
        peers: BTreeSet::from([ip("172.31.0.122")]),
        static_peers: BTreeSet::new(),
        endpoints: BTreeMap::new(),
        moved_away: BTreeSet::new(),
        role: SegmentRole::Standby,
        guest_ports: BTreeSet::new(),
        host_address: None,
        twins: BTreeSet::new(),
    }
}

fn inputs(segments: impl IntoIterator<Item = SegmentInputs>) -> Inputs {
    Inputs {
        host: ThisHost {
            id: HostId(1),
            vtep: ip("172.31.0.121"),
            underlay: name("eth0"),
            underlay_mtu: UnderlayMtu::new(1500),
            uplinks: BTreeMap::from([(name("eth0"), BTreeSet::new())]),
        },
        segments: (1..).map(SegmentId).zip(segments).collect(),
        members: BTreeSet::from([ip("172.31.0.121"), ip("172.31.0.122"), ip("172.31.0.123")]),
        cluster_ports: BTreeSet::from([7480]),
        bridge_netfilter: BridgeNetfilter::SwitchOff,
        tracking: Tracking::Off,
    }
}

fn serving() -> SegmentRole {
    SegmentRole::Gateway { term: Term(3) }
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
fn bare() -> Observed {
    let calls = [
        Sysctl::BridgeNetfilter4,
        Sysctl::BridgeNetfilter6,
        Sysctl::BridgeNetfilterArp,
    ];
    Observed {
        links: BTreeMap::from([(name("eth0"), nic()), (name("eth1"), nic())]),
        sysctls: calls
            .map(|call| (call, 1))
            .into_iter()
            .chain([(Sysctl::Forwarding4(name("eth0")), 0)])
            .collect(),
        ..Observed::default()
    }
}

fn apply(host: &Observed, plan: &Plan) -> Observed {
    let mut host = host.clone();
    plan.ops.iter().for_each(|op| apply_model(&mut host, op));
    host
}

/// The state after the plan for `inputs` on a bare host.
fn settled(inputs: &Inputs) -> Observed {
    apply(&bare(), &diff(&derive(inputs), &bare()))
}

/// Puts an address with five seconds to live on a link, as the address worker does.
fn with_address(mut host: Observed, link: &str, address: &str) -> Observed {
    let held = Address {
        lifetime: Lifetime::Seconds(5),
        mark: Mark::Foreign,
        group: MulticastGroup::No,
    };
    host.addresses.insert((name(link), address.parse().unwrap()), held);
    host
}

/// The plan from `observed`, as text without the tables' hashes, and after it as comments what stands in the way. An
/// applied plan must leave an empty one behind.
fn plan(desired: &Desired, observed: &Observed) -> Vec<String> {
    let plan = diff(desired, observed);
    let after = apply(observed, &plan);
    assert_eq!(
        diff(desired, &after).ops,
        Vec::<Op>::new(),
        "an applied plan leaves nothing to do"
    );
    let ops = plan.ops.iter().map(|op| match op {
        Op::ReplaceTable { table } => format!("nft -f - # table {}", table.name),
        _ => op.to_string(),
    });
    let obstacles = plan.obstacles.iter().map(|obstacle| format!("# {obstacle}"));
    ops.chain(obstacles).collect()
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
    let mut golden = Golden::of("a_bare_host_gets_bridge_and_vxlan");
    golden.plan("standby", &inputs([blue()]), &bare());
}

#[test]
fn a_bridge_comes_before_its_gateways_link_whatever_the_two_are_called() {
    let mut golden = Golden::of("a_bridge_comes_before_its_gateways_link_whatever_the_two_are_called");
    let mut it = blue();
    it.segment.bridge = name("k8s-br0");
    it.role = SegmentRole::Candidate;
    golden.plan("a bare host", &inputs([it]), &bare());
}

#[test]
fn a_restarted_agent_adopts_what_it_finds() {
    let mut golden = Golden::of("a_restarted_agent_adopts_what_it_finds");
    let mut it = blue();
    it.role = serving();
    it.endpoints = BTreeMap::from([(mac("52:54:00:aa:bb:cc"), ip("172.31.0.122"))]);
    let inputs = inputs([it]);
    golden.plan("nothing to do", &inputs, &settled(&inputs));
}

#[test]
fn a_prepared_gateway_stays_down_until_it_serves() {
    let mut golden = Golden::of("a_prepared_gateway_stays_down_until_it_serves");
    let standby = inputs([blue()]);
    let with = |role| {
        let mut it = blue();
        it.role = role;
        inputs([it])
    };
    golden.plan("become a candidate", &with(SegmentRole::Candidate), &settled(&standby));
    golden.plan(
        "prepare",
        &with(SegmentRole::Preparing),
        &settled(&with(SegmentRole::Candidate)),
    );
    golden.plan("serve", &with(serving()), &settled(&with(SegmentRole::Preparing)));
    golden.plan("step down", &standby, &settled(&with(serving())));
}

#[test]
fn a_plan_never_touches_the_address_that_is_held_and_removes_any_other() {
    let mut golden = Golden::of("a_plan_never_touches_the_address_that_is_held_and_removes_any_other");
    let with = |role| {
        let mut it = blue();
        it.role = role;
        inputs([it])
    };
    let held = with_address(settled(&with(serving())), "gw-blue", "192.168.124.1/24");
    golden.plan("held", &with(serving()), &held);
    let strange = with_address(held, "gw-blue", "192.168.124.7/24");
    golden.plan("another", &with(serving()), &strange);
    let bridge = with_address(settled(&inputs([blue()])), "br-blue", "192.168.124.1/24");
    golden.plan("on the bridge", &inputs([blue()]), &bridge);
    let operators = with_address(settled(&inputs([blue()])), "br-blue", "10.0.0.1/24");
    golden.plan("an operator's own", &inputs([blue()]), &operators);
    let preparing = with_address(settled(&with(SegmentRole::Preparing)), "gw-blue", "192.168.124.1/24");
    golden.plan("left over", &with(SegmentRole::Preparing), &preparing);
}

#[test]
fn while_nobody_knows_who_serves_the_way_to_the_gateway_stays_as_it_is() {
    let mut golden = Golden::of("while_nobody_knows_who_serves_the_way_to_the_gateway_stays_as_it_is");
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
    let told = settled(&with(SegmentRole::Standby, &both, Some(one)));
    golden.plan("not known yet", &with(SegmentRole::Standby, &both, None), &told);
    golden.plan(
        "another host serves",
        &with(SegmentRole::Standby, &both, Some(other)),
        &told,
    );
    golden.plan("its host is gone", &with(SegmentRole::Standby, &[other], None), &told);
    let here = plan(&derive(&with(serving(), &both, None)), &told);
    assert!(
        here.contains(&format!("bridge fdb del {gateway} dev vx-blue dst 172.31.0.122 self")),
        "{here:?}"
    );
}

#[test]
fn drift_is_repaired() {
    let mut golden = Golden::of("drift_is_repaired");
    let mut it = blue();
    it.endpoints = BTreeMap::from([(mac("52:54:00:aa:bb:cc"), ip("172.31.0.122"))]);
    let inputs = inputs([it]);
    let mut check = |case: &str, drift: &dyn Fn(&mut Observed)| {
        let mut host = settled(&inputs);
        drift(&mut host);
        golden.plan(case, &inputs, &host);
    };
    let link =
        |host: &mut Observed, link: &str, change: &dyn Fn(&mut Link)| change(host.links.get_mut(&name(link)).unwrap());
    check("the VXLAN is deleted", &|host| {
        apply_model(host, &Op::DeleteLink { link: name("vx-blue") })
    });
    check("the forwarding table is flushed", &|host| host.fdb.clear());
    check("the VXLAN's master is taken away", &|host| {
        link(host, "vx-blue", &|it| it.master = None);
        host.fdb.get_mut(&name("vx-blue")).unwrap().bridge.clear();
    });
    check("the bridge is down", &|host| {
        link(host, "br-blue", &|it| it.admin = Admin::Down)
    });
    check("the bridge is small", &|host| {
        link(host, "br-blue", &|it| it.mtu = 1450)
    });
    check("the bridge has another MAC", &|host| {
        link(host, "br-blue", &|it| it.mac = mac("52:54:00:00:00:09"))
    });
    check("stale entries", &|host| {
        let fdb = host.fdb.get_mut(&name("vx-blue")).unwrap();
        fdb.flood.insert(Flood {
            to: ip("172.31.0.199"),
            via: None,
        });
        for (guest, vtep, origin) in [
            ("52:54:00:00:00:01", "172.31.0.122", FdbOrigin::External),
            ("52:54:00:00:00:02", "172.31.0.122", FdbOrigin::Learned),
            ("52:54:00:00:00:03", "172.31.0.199", FdbOrigin::Learned),
        ] {
            fdb.remote.insert(mac(guest), Remote { vtep: ip(vtep), origin });
            fdb.bridge.insert(mac(guest), origin);
        }
    });
    check("somebody changed a rule: the seal is broken", &|host| {
        host.tables.insert(TableName::Inet, None);
    });
}

#[test]
fn another_vni_means_another_device_and_another_local_address_does_not() {
    let mut golden = Golden::of("another_vni_means_another_device_and_another_local_address_does_not");
    let mut it = blue();
    it.segment.vni = Vni::new(11).unwrap();
    golden.plan("VNI", &inputs([it]), &settled(&inputs([blue()])));
    let mut moved = inputs([blue()]);
    moved.host.vtep = ip("172.31.0.9");
    golden.plan("address", &moved, &settled(&inputs([blue()])));
}

#[test]
fn guest_ports_are_raised_and_never_lowered() {
    let mut golden = Golden::of("guest_ports_are_raised_and_never_lowered");
    let mut host = settled(&inputs([blue()]));
    let port = |mtu| Link {
        mtu,
        master: Some(name("br-blue")),
        ..nic()
    };
    host.links
        .extend([(name("vnet0"), port(1400)), (name("vnet1"), port(9000))]);
    golden.plan("raise", &inputs([blue()]), &host);
}

#[test]
fn a_port_that_lost_its_bridge_is_plugged_into_the_new_one_and_into_no_foreign_one() {
    let mut desired = derive(&inputs([blue()]));
    desired.orphans = BTreeMap::from([(name("vnet0"), name("br-blue")), (name("vnet1"), name("br-red"))]);
    let mut host = bare();
    let kind = settled(&inputs([blue()])).links[&name("br-blue")].kind.clone();
    let bridge = Link { kind, ..nic() };
    host.links.extend([
        (name("vnet0"), nic()),
        (name("vnet1"), nic()),
        (name("br-red"), bridge.clone()),
    ]);
    let plugs = |host: &Observed| -> Vec<String> {
        let plan = plan(&desired, host);
        plan.into_iter().filter(|line| line.contains("vnet")).collect()
    };
    assert_eq!(plugs(&host), ["ip link set vnet0 master br-blue"]);
    let made = apply(&host, &diff(&desired, &host));
    assert_eq!(made.links[&name("vnet0")].master, Some(name("br-blue")));
    host.links.insert(name("br-blue"), bridge);
    assert_eq!(plugs(&host), [""; 0]);
}

#[test]
fn a_vtep_is_admitted_before_it_is_sent_to_and_shut_out_after() {
    let mut golden = Golden::of("a_vtep_is_admitted_before_it_is_sent_to_and_shut_out_after");
    let before = inputs([blue()]);
    let mut it = blue();
    it.peers = BTreeSet::from([ip("172.31.0.124")]);
    let mut after = inputs([it]);
    after.members = BTreeSet::from([ip("172.31.0.121"), ip("172.31.0.124")]);
    golden.plan("one for another", &after, &settled(&before));
}

#[test]
fn a_multicast_segment_joins_its_group_and_keeps_the_way_to_it() {
    let mut golden = Golden::of("a_multicast_segment_joins_its_group_and_keeps_the_way_to_it");
    let mut it = blue();
    it.segment.transport = Transport::Multicast {
        group: ip("239.0.0.10"),
        interface: Some(name("eth1")),
    };
    let multicast = inputs([it]);
    golden.plan("from unicast", &multicast, &settled(&inputs([blue()])));
    golden.plan("back to unicast", &inputs([blue()]), &settled(&multicast));
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
    let mut golden = Golden::of("a_host_address_gives_way_to_the_gateways_route");
    let mut it = blue();
    it.host_address = Some("192.168.124.2/24".parse().unwrap());
    golden.plan("added", &inputs([it.clone()]), &settled(&inputs([blue()])));
    golden.plan("removed", &inputs([blue()]), &settled(&inputs([it])));
}

#[test]
fn a_foreign_bridge_of_our_name_is_named_and_left_alone() {
    let mut host = bare();
    let kind = settled(&inputs([blue()])).links[&name("br-blue")].kind.clone();
    host.links.insert(name("br-blue"), Link { kind, ..nic() });
    let plan = diff(&derive(&inputs([blue()])), &host);
    assert_eq!(plan.obstacles, [Obstacle::Foreign { link: name("br-blue") }]);
    assert!(
        plan.obstacles[0]
            .to_string()
            .contains("br-blue is not managed by overlayd")
    );
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
    let plan = diff(&derive(&inputs), &host);
    let made = plan
        .ops
        .iter()
        .filter(|op| matches!(op, Op::AddBridge { .. } | Op::AddVxlan { .. }));
    made.for_each(|op| apply_model(&mut host, op));
    let plan = diff(&derive(&inputs), &host);
    assert_eq!(plan.obstacles, []);
    assert!(
        matches!(&plan.ops[1], Op::SetAlias { link, .. } if *link == name("br-blue")),
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
    let mut golden = Golden::of("a_bridge_of_a_deleted_segment_stays_until_its_last_guest_is_gone");
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
    golden.plan("occupied", &inputs([]), &host);
    let obstacle = Obstacle::Occupied {
        bridge: name("br-blue"),
        ports: vec![name("vnet0")],
    };
    assert_eq!(diff(&derive(&inputs([])), &host).obstacles, [obstacle]);
    host.links.remove(&name("vnet0"));
    golden.plan("empty", &inputs([]), &host);
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
