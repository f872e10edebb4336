//! Properties of plans: whatever is found and whatever is wanted, an applied plan leaves nothing to do.

use super::*;
use proptest::prelude::*;

const GUESTS: [&str; 3] = ["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"];

const VTEPS: [&str; 4] = ["172.31.0.121", "172.31.0.122", "172.31.0.123", "172.31.0.124"];

fn vteps() -> impl Strategy<Value = BTreeSet<IpAddr>> {
    proptest::sample::subsequence(VTEPS.to_vec(), 0..=VTEPS.len()).prop_map(|it| it.into_iter().map(ip).collect())
}

fn any_segment() -> impl Strategy<Value = Option<SegmentInputs>> {
    let role = prop_oneof![
        Just(SegmentRole::Standby),
        Just(SegmentRole::Candidate),
        Just(SegmentRole::Preparing),
        (1..4_u64).prop_map(|term| SegmentRole::Gateway { term: Term(term) })
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
                // It sorts behind what sits on it.
                bridge: name("k8s-br0"),
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
    Stale(FdbOrigin),
    BreakSeal,
    ForwardingOff,
}

fn any_drift() -> impl Strategy<Value = (usize, Drift)> {
    let origin = prop_oneof![
        Just(FdbOrigin::Learned),
        Just(FdbOrigin::External),
        Just(FdbOrigin::Static),
        Just(FdbOrigin::Permanent)
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

fn drift(host: &mut Observed, (place, drift): &(usize, Drift)) {
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
