//! What operators are told about this host: what is wrong, and what happened.
//!
//! ```text
//!  node ──► Vitals ──► one function per finding ──► Findings, worst first ──► `status`
//!      └──► Event ───────────────────────────────────────────────────────► log
//! ```
//! Nothing is remembered: the same vitals give the same findings.

mod data_plane;
mod edge;
pub mod events;
mod finding;
mod firewalls;
mod gateways;
mod guest_vitals;
mod guests;
mod hosts;
mod leases;
mod log_line;
mod segments;
mod vitals;

pub use finding::{Finding, Id, Severity};
pub use guest_vitals::{Crowd, GuestPlace, Misuse, PoolState, RefusedGuests};
pub use log_line::Fields;
pub use vitals::{
    BlockedPath, Conflict, DuplicateMac, EdgeState, FailingUplink, Held, JournalState, LoweredMtu, Meanwhile,
    NoUnderlay, RefusedJoin, Rejected, SubnetConflict, UnderlayState, Unsaved, Vitals, WaitingPool,
};

const CHECKS: &[fn(&Vitals) -> Vec<Finding>] = &[
    edge::kernel_unreadable,
    edge::change_refused,
    edge::obstacles,
    edge::state_unsaved,
    hosts::underlay_missing,
    hosts::cut_off,
    hosts::join_refused,
    hosts::peer_failed,
    hosts::peer_suspect,
    data_plane::path_blocked,
    data_plane::duplicate_mac,
    hosts::mtu_lowered,
    data_plane::port_left_out,
    gateways::no_gateway,
    gateways::all_drained,
    gateways::uplink_fails,
    firewalls::bridge_netfilter,
    firewalls::way_rejected,
    firewalls::foreign_chain,
    gateways::no_resolver,
    segments::file_differs,
    segments::generation_lost,
    segments::subnet_conflict,
    segments::addresses_wait,
    leases::peer_journal_lost,
    leases::journal_lost,
    leases::not_acknowledged,
    leases::nobody_keeps_leases,
    guests::pool_exhausted,
    guests::misuse,
    guests::port_crowded,
];

/// All that is wrong, worst first.
pub fn check(vitals: &Vitals) -> Vec<Finding> {
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|find| find(vitals)).collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cluster::membership::PeerState;
    use crate::gateway::dhcp::Shortage;
    use crate::gateway::uplink::Health;
    use crate::id::{IfName, Mac, SegmentName};
    use crate::kernel::foreign::{ForeignChain, Hook, Otherwise};
    use crate::kernel::plan::Obstacle;
    use crate::mtu::{OverlayMtu, UnderlayMtu};
    use crate::network::HostNetwork;
    use crate::time::Duration;

    fn link(name: &str) -> IfName {
        IfName::new(name).unwrap()
    }

    fn blue() -> SegmentName {
        SegmentName::new("blue").unwrap()
    }

    fn dropped_by(table: &str, hook: Hook) -> EdgeState {
        EdgeState {
            firewalls: vec![ForeignChain {
                table: table.to_owned(),
                name: "filter".to_owned(),
                hook,
                otherwise: Otherwise::Policy,
            }],
            ..EdgeState::default()
        }
    }

    fn all_is_well() -> Vitals {
        Vitals {
            host: "hv1".to_owned(),
            peers: vec![
                ("hv2".to_owned(), PeerState::Alive),
                ("hv3".to_owned(), PeerState::Alive),
            ],
            ..Vitals::default()
        }
    }

    #[test]
    fn each_thing_that_is_wrong_has_one_finding_whose_every_part_says_something() {
        use Severity::{Fail, Warn};
        let edge = |edge: EdgeState| Vitals { edge, ..all_is_well() };
        let obstacle = |obstacle: Obstacle| {
            edge(EdgeState {
                obstacles: vec![obstacle],
                ..EdgeState::default()
            })
        };
        let unsaved = |unsaved: Unsaved| {
            edge(EdgeState {
                unsaved: Some(unsaved),
                ..EdgeState::default()
            })
        };
        let peer = |state: PeerState| Vitals {
            peers: vec![("hv2".to_owned(), state)],
            ..all_is_well()
        };
        let journal = |journal: JournalState| Vitals {
            journal,
            ..all_is_well()
        };
        let pool = |free, quarantined, shortage: Option<Shortage>| Vitals {
            pools: vec![PoolState {
                segment: blue(),
                free,
                held: 39,
                quarantined,
                quarantined_for: (quarantined > 1).then(|| Duration::from_secs(3600)),
                declined: 0,
                max_leases: Some(if shortage == Some(Shortage::MaxLeases) { 39 } else { 200 }),
                refused: shortage.map(|shortage| RefusedGuests {
                    shortage,
                    times: 3,
                    ago: Duration::from_secs(7),
                    crowd: (quarantined == 1).then(|| Crowd {
                        host: "hv2".to_owned(),
                        port: "vnet0".to_owned(),
                        offers: 200,
                    }),
                }),
            }],
            ..all_is_well()
        };
        let misuse = |misuse: Misuse| Vitals {
            misuses: vec![misuse],
            ..all_is_well()
        };
        let guest = |number: u8| GuestPlace {
            mac: Mac([0x52, 0x54, 0, 0, 0, number]),
            host: Some("hv2".to_owned()),
            port: format!("vnet{number}"),
        };
        let uplink = |uplink: FailingUplink| Vitals {
            uplinks: vec![uplink],
            ..all_is_well()
        };
        let conflict = |with: Conflict| Vitals {
            conflicts: vec![SubnetConflict {
                segment: blue(),
                subnet: "192.168.122.0/24".parse().unwrap(),
                with,
            }],
            ..all_is_well()
        };
        let cases = [
            (
                Id::UnderlayMissing,
                Fail,
                Vitals {
                    underlay: UnderlayState::Missing(NoUnderlay::NoAddress(link("eth0"))),
                    ..all_is_well()
                },
            ),
            (
                Id::InterfaceMissing,
                Fail,
                obstacle(Obstacle::Missing { link: link("eth1") }),
            ),
            (
                Id::Leftover,
                Fail,
                obstacle(Obstacle::Foreign { link: link("br-blue") }),
            ),
            (
                Id::BridgeOccupied,
                Warn,
                obstacle(Obstacle::Occupied {
                    bridge: link("br-blue"),
                    ports: vec![link("vnet0")],
                }),
            ),
            (
                Id::KernelUnreadable,
                Fail,
                edge(EdgeState {
                    unreadable: Some("EPERM".to_owned()),
                    ..EdgeState::default()
                }),
            ),
            (
                Id::ChangeRefused,
                Fail,
                edge(EdgeState {
                    refused: vec!["`ip link add`: EBUSY".to_owned()],
                    ..EdgeState::default()
                }),
            ),
            (
                Id::StateUnsaved,
                Warn,
                unsaved(Unsaved::Shared("cannot write state/cluster".to_owned())),
            ),
            (
                Id::StateUnsaved,
                Fail,
                unsaved(Unsaved::Identity("cannot write state/identity".to_owned())),
            ),
            (
                Id::StateUnsaved,
                Fail,
                unsaved(Unsaved::Journal("cannot open state/journal".to_owned())),
            ),
            (
                Id::PathBlocked,
                Fail,
                Vitals {
                    blocked_paths: vec![BlockedPath {
                        from: "hv2".to_owned(),
                        segments: vec![blue()],
                        source: [192, 0, 2, 2].into(),
                        destination: [192, 0, 2, 1].into(),
                        port: 4789,
                    }],
                    ..all_is_well()
                },
            ),
            (
                Id::PortLeftOut,
                Fail,
                edge(EdgeState {
                    left_out: BTreeMap::from([(link("vnet0"), link("br-blue"))]),
                    ..EdgeState::default()
                }),
            ),
            (
                Id::DuplicateMac,
                Fail,
                Vitals {
                    duplicate_macs: vec![DuplicateMac {
                        segment: blue(),
                        mac: Mac([2, 0, 0, 0, 0, 1]),
                        hosts: ["hv1".to_owned(), "hv2".to_owned()],
                    }],
                    ..all_is_well()
                },
            ),
            (
                Id::JoinRefused,
                Fail,
                Vitals {
                    refused_join: Some(RefusedJoin {
                        at: "192.0.2.11:7480".to_owned(),
                        why: "the name hv1 is taken".to_owned(),
                        severity: Fail,
                        meanwhile: Meanwhile::Alone,
                    }),
                    ..all_is_well()
                },
            ),
            (
                Id::AllDrained,
                Warn,
                Vitals {
                    all_drained: vec!["hv1".to_owned(), "hv2".to_owned()],
                    ..all_is_well()
                },
            ),
            (Id::PeerFailed, Warn, peer(PeerState::Failed)),
            (Id::PeerSuspect, Warn, peer(PeerState::Suspect)),
            (
                Id::SubnetConflict,
                Warn,
                conflict(Conflict::Network(HostNetwork {
                    network: "192.168.122.0/24".parse().unwrap(),
                    link: link("virbr0"),
                })),
            ),
            (
                Id::SubnetConflict,
                Fail,
                conflict(Conflict::Held(Held::NextHop([192, 168, 122, 1].into()))),
            ),
            (
                Id::MtuLowered,
                Warn,
                Vitals {
                    lowered: vec![LoweredMtu {
                        hosts: vec!["hv2".to_owned()],
                        underlay: UnderlayMtu::new(1400),
                        told: OverlayMtu::new(1350),
                        instead: OverlayMtu::new(1450),
                        segments: vec![blue()],
                    }],
                    ..all_is_well()
                },
            ),
            (
                Id::NoGateway,
                Fail,
                Vitals {
                    without_gateway: vec![(blue(), "no candidate".to_owned())],
                    ..all_is_well()
                },
            ),
            (
                Id::NoGateway,
                Warn,
                uplink(FailingUplink::Own(Health::NoRoute { link: None })),
            ),
            (Id::NoGateway, Warn, uplink(FailingUplink::Own(Health::Lacking))),
            (Id::NoGateway, Warn, uplink(FailingUplink::Of("hv2".to_owned()))),
            (
                Id::BridgeNetfilter,
                Warn,
                Vitals {
                    filtered_bridges: vec![link("br-blue")],
                    ..all_is_well()
                },
            ),
            (
                Id::NoGateway,
                Warn,
                uplink(FailingUplink::Own(Health::Partly(Box::new(Health::NoCarrier {
                    link: link("eth1"),
                })))),
            ),
            (Id::ForeignChain, Warn, edge(dropped_by("ip filter", Hook::Input))),
            (Id::ForeignChain, Warn, edge(dropped_by("ip filter", Hook::Forward))),
            (
                Id::Firewalld,
                Fail,
                Vitals {
                    led_out: vec![blue()],
                    ..edge(dropped_by("inet firewalld", Hook::Forward))
                },
            ),
            (
                Id::WayRejected,
                Warn,
                edge(EdgeState {
                    rejected: vec![Rejected {
                        segment: blue(),
                        link: link("eth1"),
                        packets: 4,
                    }],
                    ..EdgeState::default()
                }),
            ),
            (
                Id::NoResolver,
                Warn,
                Vitals {
                    without_resolver: vec![blue()],
                    ..all_is_well()
                },
            ),
            (
                Id::FileDiffers,
                Warn,
                Vitals {
                    differing: vec![blue()],
                    ..all_is_well()
                },
            ),
            (
                Id::GenerationLost,
                Fail,
                Vitals {
                    lost_generations: vec![(blue(), 2)],
                    ..all_is_well()
                },
            ),
            (
                Id::AddressesWait,
                Warn,
                Vitals {
                    waiting: vec![WaitingPool {
                        segment: blue(),
                        addresses: 239,
                        waits: "59 min 3 s".to_owned(),
                        members: Vec::new(),
                    }],
                    ..all_is_well()
                },
            ),
            (
                Id::PeerJournalLost,
                Warn,
                Vitals {
                    lost_journals: vec!["hv2".to_owned()],
                    ..all_is_well()
                },
            ),
            (Id::JournalLost, Fail, journal(JournalState::Unwritable)),
            (Id::JournalLost, Fail, journal(JournalState::Lost)),
            (Id::JournalLost, Fail, journal(JournalState::LostAlone)),
            (
                Id::NotAcknowledged,
                Warn,
                journal(JournalState::Waiting(vec!["hv2".to_owned()])),
            ),
            (Id::NobodyKeepsLeases, Fail, journal(JournalState::NobodyLeft)),
            (Id::PoolExhausted, Warn, pool(0, 0, None)),
            (Id::PoolExhausted, Warn, pool(0, 200, Some(Shortage::Exhausted))),
            (Id::PoolExhausted, Warn, pool(9, 0, Some(Shortage::MaxLeases))),
            (Id::PoolExhausted, Warn, pool(9, 0, Some(Shortage::Exhausted))),
            (Id::PoolExhausted, Warn, pool(9, 1, Some(Shortage::Exhausted))),
            (
                Id::DuplicateAddress,
                Fail,
                misuse(Misuse::Gateway {
                    segment: blue(),
                    address: [192, 168, 124, 1].into(),
                    guest: guest(1),
                }),
            ),
            (
                Id::DuplicateAddress,
                Fail,
                misuse(Misuse::Shared {
                    segment: blue(),
                    address: [192, 168, 124, 16].into(),
                    guests: vec![guest(1), guest(2)],
                }),
            ),
            (
                Id::PortCrowded,
                Warn,
                Vitals {
                    crowded_ports: vec![(blue(), link("vnet0"), 20_000)],
                    ..all_is_well()
                },
            ),
            (
                Id::GuestDisbelieved,
                Warn,
                misuse(Misuse::Everything {
                    segment: blue(),
                    guest: guest(1),
                }),
            ),
        ];
        for (id, severity, vitals) in cases {
            let findings = check(&vitals);
            let [finding] = findings.as_slice() else {
                panic!("{id:?}: {findings:?}");
            };
            assert_eq!((finding.id, finding.severity), (id, severity));
            for part in [
                &finding.host,
                &finding.subject,
                &finding.evidence,
                &finding.cause,
                &finding.fix,
                &finding.verify,
            ] {
                assert!(!part.is_empty(), "{finding:?}");
            }
            assert_eq!(finding.depends_on, [], "{finding:?}");
        }
        assert_eq!(check(&all_is_well()), []);
    }

    #[test]
    fn a_host_that_reaches_no_peer_is_told_to_look_at_its_own_network_and_to_remove_nobody() {
        let peers = vec![
            ("hv2".to_owned(), PeerState::Failed),
            ("hv3".to_owned(), PeerState::Suspect),
        ];
        let findings = check(&Vitals { peers, ..all_is_well() });
        assert_eq!((findings[0].id, findings[0].severity), (Id::CutOff, Severity::Fail));
        assert!(
            findings[0].evidence.contains("reaches none of 2 peers (hv2, hv3)"),
            "{findings:?}"
        );
        for finding in &findings {
            assert!(!finding.fix.contains("peer remove"), "{finding:?}");
        }
        assert!(findings[1..].iter().all(|finding| finding.depends_on == [Id::CutOff]));
    }

    #[test]
    fn an_unsaved_identity_is_told_as_what_a_restart_would_cost() {
        let full = "no space left on device".to_owned();
        let cause = |unsaved: Unsaved| {
            let edge = EdgeState {
                unsaved: Some(unsaved),
                ..EdgeState::default()
            };
            let findings = check(&Vitals { edge, ..all_is_well() });
            findings[0].cause.clone()
        };
        assert!(cause(Unsaved::Identity(full.clone())).contains("would not know its cluster"));
        assert!(!cause(Unsaved::Shared(full)).contains("would not know its cluster"));
    }

    #[test]
    fn a_journal_that_cannot_be_written_may_come_of_a_full_disk_and_one_that_is_lost_does_not() {
        for (journal, unsaved, explained) in [
            (JournalState::Unwritable, true, true),
            (JournalState::Unwritable, false, false),
            (JournalState::Lost, true, false),
            (JournalState::LostAlone, true, false),
        ] {
            let edge = EdgeState {
                unsaved: unsaved.then(|| Unsaved::Shared("no space left on device".to_owned())),
                ..EdgeState::default()
            };
            let findings = check(&Vitals {
                journal,
                edge,
                ..all_is_well()
            });
            let lost = findings.iter().find(|finding| finding.id == Id::JournalLost).unwrap();
            assert_eq!(lost.depends_on.contains(&Id::StateUnsaved), explained, "{lost:?}");
        }
    }

    #[test]
    fn the_worst_comes_first_and_what_another_finding_explains_says_so() {
        let vitals = Vitals {
            underlay: UnderlayState::Missing(NoUnderlay::NoDefaultRoute),
            peers: vec![
                ("hv2".to_owned(), PeerState::Failed),
                ("hv3".to_owned(), PeerState::Suspect),
                ("hv4".to_owned(), PeerState::Alive),
            ],
            uplinks: vec![FailingUplink::Own(Health::Lacking), FailingUplink::Of("hv2".to_owned())],
            journal: JournalState::Waiting(vec!["hv2".to_owned(), "hv3".to_owned()]),
            edge: EdgeState {
                refused: vec!["nft is missing".to_owned()],
                ..EdgeState::default()
            },
            ..all_is_well()
        };
        let findings = check(&vitals);
        let told: Vec<_> = findings
            .iter()
            .map(|finding| (finding.severity, finding.id.as_str(), finding.depends_on.as_slice()))
            .collect();
        let underlay = [Id::UnderlayMissing];
        assert_eq!(
            told,
            [
                (Severity::Fail, "C8", [].as_slice()),
                (Severity::Fail, "U4", &[]),
                (Severity::Warn, "O1", &underlay),
                (Severity::Warn, "O2", &underlay),
                (Severity::Warn, "G2", &[Id::ChangeRefused]),
                (Severity::Warn, "O7", &[Id::PeerFailed, Id::PeerSuspect]),
                // What a failed host said of its uplink is out of date.
                (Severity::Unknown, "G2", &[Id::PeerFailed]),
            ]
        );
    }
}
