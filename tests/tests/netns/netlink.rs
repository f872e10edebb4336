//! The kernel held against its model: plans are applied to both, and both must look alike.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use overlayd::netlink::{Error, GatewayAddress, Netlink, Renewal, Sighting, Watch};
use overlayd::retry::Retry;
use overlayd_core::config::{
    Dns, HostAddress, HostSelector, Ipv4, Mode, MtuBound, PortSecurity, Segment, Stp, Transport,
};
use overlayd_core::gateway::routes::{Hop, Route, Routing, Rule, Selector, Sense};
use overlayd_core::gateway::uplink::{Carrier, NextHop};
use overlayd_core::id::{HostId, IfName, Mac, SegmentId, SegmentName, Term, Vni};
use overlayd_core::kernel::desired::{Desired, derive};
use overlayd_core::kernel::device::{AddrGen, LinkKind};
use overlayd_core::kernel::inputs::{BridgeNetfilter, Inputs, SegmentInputs, SegmentRole, ThisHost, Tracking};
use overlayd_core::kernel::mark::gateway_mac;
use overlayd_core::kernel::observed::{FdbOrigin, Observed};
use overlayd_core::kernel::plan::{Op, apply_model, diff};
use overlayd_core::kernel::table::Seal;
use overlayd_core::mtu::{OverlayMtu, UnderlayMtu};

/// Runs a test on a thread of its own in a network namespace of its own, with an underlay `eth0` and its far end.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (needs root)");
            run("ip link set lo up");
            run("ip link add eth0 type veth peer name far0");
            run("ip link set eth0 up");
            run("ip link set far0 up");
            run("ip addr add 172.31.0.121/24 dev eth0");
            run("ip addr add fd00::121/64 dev eth0 nodad");
            run("ip route add default via 172.31.0.1");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(test());
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn run(line: &str) {
    said(line);
}

/// What a command prints.
fn said(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mac(text: &str) -> Mac {
    text.parse().unwrap()
}

fn segment(text: &str, vni: u32, subnet: &str) -> SegmentInputs {
    let name = SegmentName::new(text).unwrap();
    let subnet: ipnet::Ipv4Net = subnet.parse().unwrap();
    let segment = Segment {
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
    };
    SegmentInputs {
        segment,
        vtep: None,
        mtu: OverlayMtu::new(1450),
        peers: BTreeSet::from([ip("172.31.0.122"), ip("172.31.0.123")]),
        static_peers: BTreeSet::from([ip("172.31.0.9")]),
        endpoints: BTreeMap::from([(mac("52:54:00:00:00:0a"), ip("172.31.0.122"))]),
        moved_away: BTreeSet::new(),
        role: SegmentRole::Standby,
        guest_ports: BTreeSet::new(),
        host_address: None,
        twins: BTreeSet::new(),
    }
}

fn blue() -> SegmentInputs {
    segment("blue", 10, "192.168.124.0/24")
}

fn serving(mut segment: SegmentInputs) -> SegmentInputs {
    segment.role = SegmentRole::Gateway { term: Term(3) };
    segment
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
        members: ["172.31.0.121", "172.31.0.122", "172.31.0.123"].map(ip).into(),
        cluster_ports: BTreeSet::from([7480]),
        bridge_netfilter: BridgeNetfilter::SwitchOff,
        tracking: Tracking::Off,
    }
}

async fn look(netlink: &Netlink, desired: &Desired) -> Observed {
    netlink.observe(desired.sysctls.keys()).await.unwrap()
}

/// Applies what is due and checks that nothing is pending afterwards and that the kernel did what its model says.
async fn settle(netlink: &Netlink, desired: &Desired) -> Vec<Op> {
    let before = look(netlink, desired).await;
    let plan = diff(desired, &before);
    let applied = netlink.apply(&plan.ops).await;
    let failures: Vec<_> = applied.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(applied.done, plan.ops.len());
    let mut after = look(netlink, desired).await;
    // The route of an IPv6 group is a kernel worker's to make, at times only after the plan; its event makes the agent
    // look again.
    let late = diff(desired, &after).ops;
    if late.iter().any(|op| matches!(op, Op::UnshadowGroup { .. })) {
        netlink.apply(&late).await;
        after = look(netlink, desired).await;
    }
    let due: Vec<_> = diff(desired, &after).ops.iter().map(ToString::to_string).collect();
    assert_eq!(due, Vec::<String>::new(), "still due after the plan was applied");
    let mut model = before;
    plan.ops.iter().for_each(|op| apply_model(&mut model, op));
    assert_alike(&after, &model);
    for sysctl in desired.sysctls.keys() {
        assert_eq!(after.sysctls.get(sysctl), model.sysctls.get(sysctl), "{sysctl}");
    }
    plan.ops
}

/// The kernel's host and the model's, but for what the kernel adds by itself: its own MACs in forwarding tables,
/// link-local addresses, and how it writes a table down.
fn assert_alike(kernel: &Observed, model: &Observed) {
    let ours = |host: &Observed| {
        let mut host = host.clone();
        for fdb in host.fdb.values_mut() {
            fdb.bridge.retain(|_, origin| *origin == FdbOrigin::External);
        }
        host.fdb
            .retain(|link, fdb| *fdb != Default::default() && kernel.fdb.contains_key(link));
        host.addresses
            .retain(|(_, address), _| !address.addr().to_string().starts_with("fe80:"));
        for seal in host.tables.values_mut().flatten() {
            *seal = Seal { listing: 0, ..*seal };
        }
        for link in host
            .links
            .values_mut()
            .filter(|link| matches!(link.kind, LinkKind::Other))
        {
            link.addr_gen = AddrGen::Some;
        }
        host
    };
    let (kernel, model) = (ours(kernel), ours(model));
    assert_eq!(kernel.links, model.links, "links");
    assert_eq!(kernel.addresses, model.addresses, "addresses");
    assert_eq!(kernel.fdb, model.fdb, "forwarding entries");
    assert_eq!(kernel.tables, model.tables, "tables");
}

async fn check(inputs: &Inputs) {
    let netlink = Netlink::open().unwrap();
    let desired = derive(inputs);
    let ops = settle(&netlink, &desired).await;
    assert!(!ops.is_empty());
    // A second time each op is harmless, whatever it finds, except that a new link finds itself in the way.
    let again: Vec<Op> = ops
        .into_iter()
        .filter(|op| !matches!(op, Op::AddBridge { .. } | Op::AddVxlan { .. } | Op::AddMacvlan { .. }))
        .collect();
    let failures: Vec<_> = netlink
        .apply(&again)
        .await
        .failures
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    settle(&netlink, &Desired::default()).await;
    let bare = look(&netlink, &Desired::default()).await;
    let left: Vec<_> = bare.links.keys().map(IfName::as_str).collect();
    assert_eq!(left, ["eth0", "far0", "lo"], "removed without a trace");
    assert!(
        bare.tables.is_empty() && bare.addresses.is_empty() && bare.fdb.is_empty(),
        "{bare:?}"
    );
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn a_standby_over_ipv4_settles() {
    in_namespace(|| async { check(&inputs([blue()])).await });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn a_standby_over_ipv6_settles() {
    in_namespace(|| async {
        let mut it = blue();
        it.peers = BTreeSet::from([ip("fd00::122")]);
        it.static_peers = BTreeSet::from([ip("fd00::9")]);
        it.endpoints = BTreeMap::from([(mac("52:54:00:00:00:0a"), ip("fd00::122"))]);
        let mut inputs = inputs([it]);
        inputs.host.vtep = ip("fd00::121");
        inputs.members = ["fd00::121", "fd00::122"].map(ip).into();
        check(&inputs).await;
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn a_multicast_segment_settles_over_ipv4_and_ipv6() {
    for (group, vtep) in [("239.0.0.10", "172.31.0.121"), ("ff05::10", "fd00::121")] {
        in_namespace(|| async move {
            let mut it = blue();
            it.segment.transport = Transport::Multicast {
                group: ip(group),
                interface: None,
            };
            let mut inputs = inputs([it]);
            inputs.host.vtep = ip(vtep);
            check(&inputs).await;
        });
    }
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn a_gateway_and_several_segments_settle() {
    in_namespace(|| async {
        let mut green = serving(segment("green", 20, "192.168.125.0/24"));
        green.segment.mode = Mode::Routed;
        green.host_address = Some("192.168.125.2/24".parse().unwrap());
        let mut red = segment("red", 30, "192.168.126.0/24");
        red.segment.mode = Mode::Isolated;
        red.segment.stp = Stp::On;
        red.role = SegmentRole::Preparing;
        check(&inputs([serving(blue()), green, red])).await;
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn a_standby_that_becomes_gateway_and_standby_again_settles_each_time() {
    in_namespace(|| async {
        let netlink = Netlink::open().unwrap();
        let mut standby = blue();
        standby.role = SegmentRole::Candidate;
        standby.endpoints.insert(gateway_mac(SegmentId(1)), ip("172.31.0.122"));
        let standby = derive(&inputs([standby]));
        let gateway = derive(&inputs([serving(blue())]));
        let mut address = GatewayAddress::open().unwrap();
        for desired in [&standby, &gateway, &standby, &gateway] {
            // The address worker is faster than the plan: the MAC is still a remote one when it becomes local.
            if let Some(gateway) = desired.gateways.values().next() {
                let blue = SegmentName::new("blue").unwrap();
                address.set(&blue, gateway.addresses[0], Term(3), None).unwrap();
            }
            netlink.apply(&diff(desired, &look(&netlink, desired).await).ops).await;
            assert_eq!(diff(desired, &look(&netlink, desired).await).ops, []);
        }
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn drift_is_seen_and_mended() {
    for drift in [
        "ip link del vx-blue",
        "ip link del br-blue",
        "ip link set vx-blue nomaster",
        "ip link set br-blue down",
        "ip link set br-blue mtu 1400",
        "ip link set vx-blue type vxlan df unset nolearning",
        "ip link set br-blue type bridge stp_state 1 mcast_snooping 1",
        "bridge fdb del 00:00:00:00:00:00 dev vx-blue",
        "bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 172.31.0.66",
        "bridge fdb del 52:54:00:00:00:0a dev vx-blue dst 172.31.0.122 self",
        "bridge fdb del 52:54:00:00:00:0a dev vx-blue master",
        "ip link set gw-blue down",
        "nft delete table inet overlayd",
        "nft flush table inet overlayd",
        "nft add chain inet overlayd by_hand",
    ] {
        in_namespace(|| async move {
            let netlink = Netlink::open().unwrap();
            let desired = derive(&inputs([serving(blue())]));
            settle(&netlink, &desired).await;
            run(drift);
            let ops = settle(&netlink, &desired).await;
            assert!(!ops.is_empty(), "not seen: {drift}");
        });
    }
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn failures_say_what_where_and_what_to_do_and_stop_nothing_else() {
    in_namespace(|| async {
        let netlink = Netlink::open().unwrap();
        run("ip link add taken type vxlan id 10 dstport 4789 local 172.31.0.121");
        let desired = derive(&inputs([blue()]));
        let ops = diff(&desired, &Observed::default()).ops;
        run("ip link add br-blue type bridge");
        let applied = netlink.apply(&ops).await;
        let told: Vec<_> = applied.failures.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("`ip link add br-blue address 02:"), "{told:?}");
        assert!(
            told[0].contains("interface br-blue has just been created by something else"),
            "{told:?}"
        );
        assert!(
            told[1].contains("A VXLAN device with the specified VNI already exists"),
            "{told:?}"
        );
        assert_eq!(applied.failures[1].retry(), Retry::Skip);
        assert!(
            applied.not_tried > 5,
            "what is about links that could not be made is not tried: {applied:?}"
        );
        let alone = look(&netlink, &desired).await;
        assert_eq!(alone.links[&name("br-blue")].alias, "", "a foreign link is not marked");
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn an_interface_that_vanishes_in_the_middle_is_a_reason_to_look_again() {
    in_namespace(|| async {
        let netlink = Netlink::open().unwrap();
        let ops = [
            Op::SetMtu {
                link: name("far0"),
                mtu: 1400,
            },
            Op::DeleteLink { link: name("far0") },
            Op::SetUp { link: name("far0") },
            Op::SetMtu {
                link: name("lo"),
                mtu: 9000,
            },
            Op::DeleteLink { link: name("far0") },
        ];
        let applied = netlink.apply(&ops).await;
        assert_eq!(applied.done, 4, "{applied:?}");
        assert_eq!(
            applied.failures[0].to_string(),
            "`ip link set far0 up` failed: interface far0 not found; the agent retries when it appears"
        );
        assert_eq!(applied.retry(), Some(Retry::Again));
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn without_the_capability_nothing_works_and_the_error_says_which_it_is() {
    in_namespace(|| async {
        let netlink = Netlink::open().unwrap();
        // Only this thread gives its capabilities up, and it ends with the test.
        let uid = libc::uid_t::from(65534u32);
        // SAFETY: the raw call changes the credentials of this thread alone, which the C library's does not.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }, 0);
        let applied = netlink
            .apply(&[Op::SetMtu {
                link: name("lo"),
                mtu: 1400,
            }])
            .await;
        let told = applied.failures[0].to_string();
        assert!(
            told.starts_with("`ip link set lo mtu 1400` failed: ") && told.contains("CAP_NET_ADMIN"),
            "{told}"
        );
        assert_eq!(applied.retry(), Some(Retry::Fatal));
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn a_gateway_address_is_taken_kept_and_given_up() {
    in_namespace(|| async {
        let netlink = Netlink::open().unwrap();
        let segment = SegmentName::new("blue").unwrap();
        let address = "192.168.124.1/24".parse().unwrap();
        let mut prepared = blue();
        prepared.role = SegmentRole::Preparing;
        let prepared = derive(&inputs([prepared]));
        settle(&netlink, &prepared).await;
        let mut gateway = GatewayAddress::open().unwrap();
        assert_eq!(
            gateway.renew(&segment, address, Some(Duration::from_secs(5))).unwrap(),
            Renewal::Gone
        );

        gateway
            .set(&segment, address, Term(3), Some(Duration::from_secs(5)))
            .unwrap();
        let served = derive(&inputs([serving(blue())]));
        let host = look(&netlink, &served).await;
        let local = host.fdb[&name("br-blue")].bridge.get(&gateway_mac(SegmentId(1)));
        assert_eq!(local, Some(&FdbOrigin::Permanent));
        let due = diff(&served, &host).ops;
        assert!(
            due.iter()
                .all(|op| matches!(op, Op::ReplaceTable { .. } | Op::SetSysctl { .. })),
            "{due:?}"
        );
        let found = gateway.found().unwrap();
        assert_eq!(
            (found.len(), &found[0].segment, found[0].term, found[0].address),
            (1, &segment, Term(3), address)
        );
        let remaining = found[0].remaining.unwrap();
        assert!(
            (Duration::from_millis(3900)..=Duration::from_secs(5)).contains(&remaining),
            "{remaining:?}"
        );

        gateway.set(&segment, address, Term(4), None).unwrap();
        assert_eq!(gateway.found().unwrap()[0].remaining, None);
        assert_eq!(
            gateway.renew(&segment, address, Some(Duration::from_secs(1))).unwrap(),
            Renewal::Renewed
        );
        let begun = Instant::now();
        while !gateway.found().unwrap().is_empty() {
            assert!(
                begun.elapsed() < Duration::from_secs(4),
                "an address that nobody renews goes"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(
            gateway.renew(&segment, address, None).unwrap(),
            Renewal::Gone,
            "nor does it come back"
        );

        gateway.set(&segment, address, Term(5), None).unwrap();
        gateway.remove(&segment, address).unwrap();
        gateway.remove(&segment, address).unwrap();
        assert_eq!(gateway.found().unwrap(), []);
        settle(&netlink, &prepared).await;
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn a_foreign_link_with_the_gateways_name_gets_no_address_and_loses_none() {
    in_namespace(|| async {
        let segment = SegmentName::new("blue").unwrap();
        let address = "192.168.124.1/24".parse().unwrap();
        run("ip link add br-else type bridge");
        run("ip link add gw-blue link br-else type macvlan mode bridge");
        run("ip address add 192.168.124.1/24 dev gw-blue");
        run("ip link set gw-blue up");
        let mut gateway = GatewayAddress::open().unwrap();
        let taken = gateway.set(&segment, address, Term(3), None);
        assert!(matches!(taken, Err(Error::NoInterface(_))), "{taken:?}");
        assert_eq!(gateway.renew(&segment, address, None).unwrap(), Renewal::Gone);
        gateway.remove(&segment, address).unwrap();
        assert_eq!(gateway.found().unwrap(), []);
        let left = said("ip -br address show dev gw-blue");
        assert!(left.contains("192.168.124.1/24"), "{left}");
        assert!(!said("ip link show dev gw-blue").contains("alias"));
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn the_watch_tells_of_changes_and_of_guests() {
    in_namespace(|| async {
        let netlink = Netlink::open().unwrap();
        let desired = derive(&inputs([blue()]));
        settle(&netlink, &desired).await;
        let mut watch = Watch::open().unwrap();
        run("ip link add vnet0 type veth peer name guest0");
        run("ip link set vnet0 master br-blue up");
        run("ip link set guest0 up");
        run("ip addr add 192.168.124.50/24 dev guest0");
        let mut seen = BTreeSet::new();
        let guest = tokio::time::timeout(Duration::from_secs(5), async {
            loop {
                let news = watch.next().await.unwrap();
                seen.extend(news.interfaces.values().flatten().cloned());
                if let Some((guest, sighting)) = news.guests.first() {
                    assert_eq!(*sighting, Sighting::Learned);
                    break *guest;
                }
            }
        })
        .await
        .expect("the guest's own frames (neighbour discovery) show it");
        assert!(seen.contains(&name("vnet0")), "{seen:?}");
        let guests = netlink.observe([]).await.unwrap().guests;
        assert_eq!(guests[&name("br-blue")].get(&guest.mac), Some(&name("vnet0")));
        run("bridge fdb del 00:00:00:00:00:00 dev vx-blue");
        let news = tokio::time::timeout(Duration::from_secs(5), async {
            loop {
                let news = watch.next().await.unwrap();
                if news.asks_for_a_look() {
                    break news;
                }
            }
        });
        assert!(news.await.is_ok());
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn rules_and_routes_are_read_as_they_concern_guests() {
    in_namespace(|| async {
        run("ip route add 10.1.0.0/16 metric 7 nexthop via 172.31.0.2 nexthop dev far0");
        run("ip -4 route add 10.2.0.0/16 via inet6 fd00::1 dev eth0 metric 5");
        run("ip route add unreachable 10.3.0.0/16");
        run("ip route add default dev far0 table 1000");
        run("ip route add default dev far0 table 2000");
        run("ip rule add not from 172.31.0.0/24 fwmark 7 lookup 1000 suppress_prefixlength 1 priority 10");
        run("ip rule add iif eth0 to 10.0.0.0/8 ipproto tcp lookup 1000 priority 11");
        run("ip rule add uidrange 0-9 lookup 1000 priority 12");
        run("ip rule add oif far0 blackhole priority 13");
        let Routing { rules, routes } = Netlink::open().unwrap().routing().await.unwrap();
        let rule = |table, selectors: &[Selector]| Rule {
            table,
            selectors: selectors.iter().cloned().collect(),
            sense: Sense::Matching,
            suppress: None,
        };
        let source = Selector::Source("172.31.0.0/24".parse().unwrap());
        assert_eq!(
            rules,
            [
                Rule {
                    sense: Sense::Inverted,
                    suppress: Some(1),
                    ..rule(1000, &[source, Selector::Mark])
                },
                rule(1000, &[Selector::Incoming(name("eth0")), Selector::Other]),
                rule(1000, &[Selector::Own]),
                rule(254, &[]),
                rule(253, &[]),
            ]
        );
        let hop = |link: &str, via: Option<&str>| Hop {
            link: name(link),
            via: via.map(ip),
        };
        let route = |table, to: &str, metric, hops: &[Hop]| Route {
            table,
            to: to.parse().unwrap(),
            metric,
            hops: hops.to_vec(),
        };
        for wanted in [
            route(254, "0.0.0.0/0", 0, &[hop("eth0", Some("172.31.0.1"))]),
            route(254, "172.31.0.0/24", 0, &[hop("eth0", None)]),
            route(
                254,
                "10.1.0.0/16",
                7,
                &[hop("eth0", Some("172.31.0.2")), hop("far0", None)],
            ),
            route(254, "10.2.0.0/16", 5, &[hop("eth0", Some("fd00::1"))]),
            route(1000, "0.0.0.0/0", 0, &[hop("far0", None)]),
        ] {
            assert!(routes.contains(&wanted), "{wanted:?}: {routes:?}");
        }
        let other = |route: &Route| route.table == 2000 || route.to.to_string() == "10.3.0.0/16";
        assert!(!routes.iter().any(other), "{routes:?}");
    });
}

#[test]
#[ignore = "needs root: run with `cargo netns`"]
fn the_hosts_own_network_is_read() {
    in_namespace(|| async {
        let netlink = Netlink::open().unwrap();
        let router = Ipv4Addr::new(172, 31, 0, 1);
        assert_eq!(netlink.default_routes().await.unwrap(), [name("eth0")]);
        run("ip route add default dev far0 metric 9");
        run("ip -4 route add default via inet6 fd00::1 dev eth0 metric 5");
        let in_order = ["eth0", "eth0", "far0"].map(name);
        assert_eq!(netlink.default_routes().await.unwrap(), in_order);
        let hop = |link: &str| NextHop {
            link: name(link),
            address: router,
        };
        let asker = netlink.asker(&hop("eth0")).await.unwrap().unwrap();
        assert_eq!(asker.address, Ipv4Addr::new(172, 31, 0, 121));
        run("ip link set far0 arp off");
        assert_eq!(
            netlink.asker(&hop("far0")).await.unwrap(),
            None,
            "nobody is asked by ARP there"
        );
        assert_eq!(netlink.asker(&hop("none0")).await.unwrap(), None);
        assert_eq!(
            netlink.global_addresses(&name("eth0")).await.unwrap().first(),
            Some(&ip("172.31.0.121"))
        );
        assert!(netlink.global_addresses(&name("none0")).await.unwrap().is_empty());
        assert_eq!(netlink.carrier(&name("eth0")).await.unwrap(), Carrier::Up);
        run("ip link set far0 down");
        assert_eq!(netlink.carrier(&name("eth0")).await.unwrap(), Carrier::Down);
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn the_way_to_the_members_is_read() {
    in_namespace(|| async {
        let netlink = Netlink::open().unwrap();
        let path = async |to: &str, underlay: &str| {
            let paths = netlink.paths(&[ip(to)], &name(underlay)).await.unwrap();
            let path = paths
                .first()
                .map(|path| (path.source, path.mtu.map(UnderlayMtu::bytes)));
            path.unwrap_or_default()
        };
        let eth0 = Some(ip("172.31.0.121"));
        assert_eq!(path("172.31.0.122", "eth0").await, (eth0, Some(1500)));
        run("ip route add 172.31.0.123/32 dev eth0 mtu 1400");
        assert_eq!(path("172.31.0.123", "eth0").await, (eth0, Some(1400)));
        assert_eq!(path("172.31.0.122", "none0").await, (None, None));
        // Out of the underlay, whatever else has an address.
        run("ip addr add 10.9.9.9/24 dev far0");
        assert_eq!(path("10.9.9.1", "eth0").await, (eth0, Some(1500)));
        run("ip addr del 172.31.0.121/24 dev eth0");
        assert_eq!(path("172.31.0.122", "eth0").await.0, None, "nor does far0's stand in");
        run("ip addr add 10.0.0.11/32 dev lo");
        run("ip route add 172.31.0.0/24 dev eth0 src 10.0.0.11");
        assert_eq!(path("172.31.0.122", "eth0").await.0, Some(ip("10.0.0.11")));
        // The kernel's source is a temporary address, which is another one tomorrow.
        run("sysctl -q -w net.ipv6.conf.eth0.use_tempaddr=2 net.ipv6.conf.eth0.accept_dad=0");
        run("ip addr add fd99::1/64 dev eth0 nodad mngtmpaddr");
        let chosen = said("ip -6 route get fd99::2");
        assert!(!chosen.contains("src fd99::1 "), "{chosen}");
        assert_eq!(path("fd99::2", "eth0").await, (None, Some(1500)));
        assert_eq!(
            netlink.global_addresses(&name("eth0")).await.unwrap(),
            [ip("fd99::1"), ip("fd00::121")]
        );
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn the_hosts_own_networks_are_read_and_ours_are_not_among_them() {
    in_namespace(|| async {
        let netlink = Netlink::open().unwrap();
        let own = async || {
            let own = netlink.own_network().await.unwrap();
            let networks = own.networks.iter().map(ToString::to_string).collect::<Vec<_>>();
            let hops = own.next_hops.iter().map(ToString::to_string).collect::<Vec<_>>();
            (networks.join(", "), hops.join(", "))
        };
        let bare = "172.31.0.0/24 on eth0, 172.31.0.121 on eth0";
        assert_eq!(own().await, (bare.to_owned(), "172.31.0.1".to_owned()));
        // A bridge of ours, and somebody else's; a VPN that takes all traffic; a network behind a router.
        for line in [
            "ip link add br-blue type bridge",
            "ip link set br-blue alias overlayd:blue up",
            "ip addr add 192.168.124.2/24 dev br-blue",
            "ip link add virbr0 type bridge",
            "ip link set virbr0 up",
            "ip addr add 192.168.122.1/24 dev virbr0",
            "ip route add 0.0.0.0/1 dev far0",
            "ip route add 10.8.0.0/16 dev far0",
            "ip route add 10.9.0.0/16 via 172.31.0.7",
            "ip route add 128.0.0.0/1 via 172.31.0.9",
            "ip addr add 10.0.0.11/32 dev lo",
        ] {
            run(line);
        }
        let all = format!(
            "10.0.0.11 on lo, 10.8.0.0/16 on far0, {bare}, 192.168.122.0/24 on virbr0, 192.168.122.1 on virbr0"
        );
        assert_eq!(own().await, (all, "172.31.0.1, 172.31.0.9".to_owned()));
    });
}
