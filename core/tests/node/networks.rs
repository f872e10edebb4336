//! The hosts' own networks beside the subnets of segments.

use std::net::Ipv4Addr;

use overlayd_core::health::{Id, Severity};
use overlayd_core::id::IfName;
use overlayd_core::kernel::inputs::SegmentRole;
use overlayd_core::node::Force;

use crate::world::{World, blue};

/// What is wrong with subnets on a host, as it says itself.
fn conflicts(world: &World, host: usize) -> Vec<(Severity, String)> {
    let name = format!("hv{}", host + 1);
    let problems = world.problems(host).into_iter();
    let conflicts = problems.filter(|finding| finding.id == Id::SubnetConflict && finding.host == name);
    conflicts.map(|finding| (finding.severity, finding.evidence)).collect()
}

#[test]
fn a_subnet_that_a_host_has_already_is_refused_by_host_interface_and_network() {
    let mut world = World::formed(3);
    world.set_networks(
        1,
        &[
            ("192.168.0.0/16", "virbr0"),
            ("192.168.124.1/32", "lo"),
            ("10.0.0.0/8", "tun0"),
        ],
        None,
    );
    world.run(500);
    world.cut(2);
    world.run(5_000);
    let refused = world.try_apply(0, &blue(), Force::No).unwrap_err();
    assert_eq!(
        refused.what,
        "segment blue: ipv4.subnet: 192.168.124.0/24 overlaps 192.168.0.0/16 on virbr0 of hv2; segment blue: ipv4.subnet: \
         192.168.124.0/24 overlaps 192.168.124.1 on lo of hv2; unknown on hv3, out of reach: what was known last counts"
    );
    assert!(world.node(0).segment_lines().is_empty());
    let other = blue().replace("192.168.124", "172.16.5");
    world.try_apply(0, &other, Force::No).unwrap();
    // What stands can be changed otherwise, though it overlaps by now.
    world.set_networks(0, &[("172.16.0.0/12", "docker0")], None);
    world.run(500);
    world
        .try_apply(0, &other.replace("vni: 10", "vni: 10\n    mtu: 1400"), Force::No)
        .unwrap();
    world.try_apply(0, &blue(), Force::Yes).unwrap();
}

#[test]
fn a_network_that_comes_later_is_a_warning_there_and_the_gateway_stays() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(9_000);
    let gateway = world.gateways("blue");
    for host in 0..3 {
        world.set_networks(
            host,
            &[("192.168.124.0/24", "virbr0"), ("192.168.124.1/32", "virbr0")],
            None,
        );
    }
    world.run(20_000);
    assert_eq!(world.gateways("blue"), gateway, "all are alike");
    for host in 0..3 {
        let told = conflicts(&world, host);
        let name = format!("hv{}", host + 1);
        let overlap = format!(
            "segment blue: subnet 192.168.124.0/24 overlaps 192.168.124.0/24 on virbr0 of {name}, which is therefore the \
             last choice as gateway"
        );
        assert_eq!(told, [(Severity::Warn, overlap)]);
        // Its own guests still find their gateway at the same address.
        let inputs = world.inputs(host).unwrap();
        let twins: Vec<IfName> = inputs.segments.values().flat_map(|it| it.twins.clone()).collect();
        assert_eq!(twins, [IfName::new("virbr0").unwrap()]);
    }
}

#[test]
fn a_gateway_whose_host_gets_a_network_in_the_subnet_goes_to_one_that_has_none() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(11_000);
    let first = world.gateways("blue")[0].clone();
    let at = world.index(&first);
    world.set_networks(at, &[("192.168.124.0/25", "docker0")], None);
    world.run(5_000);
    let second = world.gateways("blue");
    assert!(second.len() == 1 && second[0] != first, "{second:?}");
    let refused = world.move_gateway(0, "blue", Some(&first)).unwrap_err();
    assert_eq!(
        refused.what,
        format!("host {first} cannot do the job: the subnet of segment blue is also a network of its own")
    );
}

#[test]
fn a_host_whose_next_hop_is_in_the_subnet_never_serves_it_and_one_with_a_vtep_in_it_bars_all() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(9_000);
    let first = world.gateways("blue")[0].clone();
    let at = world.index(&first);
    world.set_networks(
        at,
        &[("192.168.124.0/24", "eth1")],
        Some(Ipv4Addr::new(192, 168, 124, 254)),
    );
    world.run(10_000);
    let second = world.gateways("blue");
    assert!(second.len() == 1 && second[0] != first, "{second:?}");
    let evidence = format!(
        "segment blue: subnet 192.168.124.0/24 holds 192.168.124.254, the next hop of this host's uplink, so that {first} is \
         not its gateway"
    );
    assert_eq!(conflicts(&world, at), [(Severity::Fail, evidence)]);
}

#[test]
fn a_subnet_with_a_vtep_in_it_has_no_gateway_anywhere_and_neither_is_taken_knowingly() {
    let mut world = World::formed(3);
    let red = "segments: [ { name: red, vni: 12, ipv4: { subnet: 172.31.0.0/24 } } ]";
    let refused = world.try_apply(0, red, Force::Yes).unwrap_err();
    assert_eq!(
        refused.what,
        "segment red: ipv4.subnet: 172.31.0.0/24 holds 172.31.0.11, the VTEP of hv1"
    );
    // Both sides of a cut do their part.
    world.cut(2);
    world.run(5_000);
    world.apply(0, &blue());
    world.add_static_peer(2, [192, 168, 124, 9].into()).unwrap();
    world.heal(2);
    world.run(20_000);
    assert_eq!(world.gateways("blue"), [""; 0]);
    for host in 0..3 {
        let told = conflicts(&world, host);
        assert!(
            told[0].1.contains("holds 192.168.124.9, the VTEP of a static peer"),
            "{told:?}"
        );
        let inputs = world.inputs(host).unwrap();
        assert!(inputs.segments.values().all(|it| it.role == SegmentRole::Standby));
    }
    let missing = world
        .problems(0)
        .into_iter()
        .find(|finding| finding.id == Id::NoGateway)
        .unwrap();
    assert_eq!(missing.depends_on, [Id::SubnetConflict]);
    let refused = world.add_static_peer(0, [192, 168, 124, 10].into()).unwrap_err();
    assert_eq!(
        refused.what,
        "static peer: the VTEP address 192.168.124.10 is in the subnet 192.168.124.0/24 of segment blue"
    );
}
