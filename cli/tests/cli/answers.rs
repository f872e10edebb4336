//! What the fake agent knows: three hosts, a static peer, two segments.

use overlayd_proto::control::*;

const SINCE: i64 = 1_767_225_600_250;

pub(crate) fn peer(name: &str, id: Option<&str>, address: &str, state: PeerState) -> Peer {
    Peer {
        name: name.into(),
        id: id.map(Into::into),
        address: address.into(),
        state: state.into(),
        self_: name == "hv1",
        mtu: (state == PeerState::Alive).then_some(1450),
        drained: name == "hv1",
    }
}

pub(crate) fn peers() -> Vec<Peer> {
    vec![
        peer("hv1", Some("00000000000000a1"), "192.0.2.11", PeerState::Alive),
        peer("hv2", Some("00000000000000a2"), "192.0.2.12", PeerState::Suspect),
        peer("hv3", Some("00000000000000a3"), "192.0.2.13", PeerState::Failed),
        peer("switch", None, "192.0.2.60", PeerState::Static),
    ]
}

pub(crate) fn segments() -> Vec<Segment> {
    let segment = |name: &str, vni, mode: &str, gateway: Option<&str>, hosts: &[&str]| Segment {
        name: name.into(),
        vni,
        bridge: format!("br-{name}"),
        mode: mode.into(),
        mtu: 1450,
        gateway: gateway.map(Into::into),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        rolled_back_in: (name == "blue").then_some(42),
    };
    vec![
        segment("blue", 10, "nat", Some("hv1"), &["hv1", "hv2", "hv3"]),
        segment("green", 20, "isolated", None, &["hv1"]),
    ]
}

pub(crate) fn gateways() -> Vec<Gateway> {
    vec![
        Gateway {
            segment: "blue".into(),
            host: Some("hv1".into()),
            term: 7,
            since_unix_ms: Some(SINCE),
            self_: true,
            reason: "first in order, granted by 3 of 3".into(),
        },
        Gateway {
            segment: "green".into(),
            term: 2,
            reason: "no candidate".into(),
            ..Gateway::default()
        },
    ]
}

pub(crate) fn leases() -> Vec<Lease> {
    vec![
        Lease {
            segment: "blue".into(),
            address: "192.168.124.16".into(),
            mac: Some("52:54:00:aa:bb:01".into()),
            hostname: Some("web".into()),
            expires_unix_ms: Some(SINCE),
            owner: Some("hv1".into()),
            keeper: Some("hv2".into()),
            copies: 2,
            state: LeaseState::Bound.into(),
        },
        Lease {
            segment: "blue".into(),
            address: "192.168.124.17".into(),
            owner: Some("hv1".into()),
            copies: 1,
            state: LeaseState::Declined.into(),
            ..Lease::default()
        },
    ]
}

pub(crate) fn host() -> HostStatus {
    HostStatus {
        name: "hv1".into(),
        id: "00000000000000a1".into(),
        address: Some("192.0.2.11".into()),
        underlay: "eth0".into(),
        underlay_mtu: Some(1500),
        overlay_mtu: Some(1450),
        version: "0.1.0".into(),
        drained: false,
        started_unix_ms: SINCE,
        ops_due: 0,
    }
}

pub(crate) fn status() -> StatusResponse {
    StatusResponse {
        host: Some(HostStatus {
            ops_due: 2,
            drained: true,
            ..host()
        }),
        cluster: Some(ClusterStatus {
            id: "00000000000000c1".into(),
            insecure: true,
        }),
        waiting: String::new(),
        peers: peers(),
        segments: segments(),
        gateways: gateways(),
        problems: vec![
            Problem {
                id: "G2".into(),
                severity: Severity::Fail.into(),
                host: "hv1".into(),
                segment: Some("green".into()),
                subject: "green".into(),
                evidence: "no active gateway for segment green is known: no candidate".into(),
                cause: "no candidate is alive".into(),
                fix: "overlayctl undrain".into(),
                verify: "overlayctl gateway list".into(),
                depends_on: Vec::new(),
            },
            Problem {
                id: "O7".into(),
                severity: Severity::Warn.into(),
                host: "hv1".into(),
                segment: None,
                subject: "journal".into(),
                evidence: "this host keeps no leases yet".into(),
                cause: "overlayd does not run on hv3".into(),
                fix: "overlayctl peer remove hv3".into(),
                verify: "overlayctl pool show".into(),
                depends_on: vec!["O1".into()],
            },
        ],
    }
}

pub(crate) fn alone() -> StatusResponse {
    StatusResponse {
        host: Some(HostStatus {
            address: None,
            underlay_mtu: None,
            overlay_mtu: None,
            ..host()
        }),
        waiting: "waiting for a formed host at 192.0.2.12:7480".into(),
        ..StatusResponse::default()
    }
}

/// Two errors where the file has a gateway outside its subnet; otherwise one of each kind of change.
pub(crate) fn applied(request: &ApplyRequest) -> ApplyResponse {
    if request.text.contains("10.0.0.1") {
        let errors = vec![
            ConfigError {
                line: 5,
                column: 16,
                key: "segments[0].ipv4.gateway".into(),
                message: "10.0.0.1 is outside the subnet 192.168.124.0/24".into(),
                hint: Some("leave it out: the first address is the default".into()),
            },
            ConfigError {
                message: "the file has no segment that could be read".into(),
                ..ConfigError::default()
            },
        ];
        return ApplyResponse {
            errors,
            ..ApplyResponse::default()
        };
    }
    let field = |key: &str, old: Option<&str>, new: Option<&str>| FieldChange {
        key: key.into(),
        old: old.map(Into::into),
        new: new.map(Into::into),
    };
    let change = |name: &str, kind: ChangeKind, fields, generation| SegmentChange {
        losses: Vec::new(),
        unchecked: Vec::new(),
        name: name.into(),
        kind: kind.into(),
        fields,
        generation,
    };
    ApplyResponse {
        errors: Vec::new(),
        segments: vec![
            change(
                "blue",
                ChangeKind::Changed,
                vec![
                    field("ipv4.dhcp.lease_time", Some("1h"), Some("2h")),
                    field("dns.domain", Some("blue.internal"), None),
                ],
                4,
            ),
            change("green", ChangeKind::Added, vec![field("vni", None, Some("20"))], 1),
            change("red", ChangeKind::Unchanged, Vec::new(), 9),
        ],
        pending: vec!["192.168.124.10 for 52:54:00:aa:bb:cc waits for hv3".into()],
        notes: vec!["hv3 does not respond: whether something listens on tcp/22 there is unknown".into()],
    }
}
