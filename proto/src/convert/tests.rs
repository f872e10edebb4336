//! Values survive the way to the wire and back; nonsense is refused by name.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use overlayd_core::addresses;
use overlayd_core::cluster::gossip;
use overlayd_core::cluster::path_watch::{self, Word};
use overlayd_core::config::{PortRange, Protocol};
use overlayd_core::election::message as election;
use overlayd_core::election::{ElectionCandidacy, ElectionUplink, Fitness, GroupId};
use overlayd_core::id::{HostId, IfName, Mac, SegmentId, SegmentName, Term};
use overlayd_core::lease;
use overlayd_core::mtu::OverlayMtu;
use overlayd_core::network::HostNetwork;
use overlayd_core::node::{Hearing, Listener, Listening, PublishedPorts, Sign};
use overlayd_core::range::{Address, Range};
use overlayd_core::severity::Severity;
use prost::Message;

use super::{Bulk, Malformed};
use crate as wire;

/// There and back, through bytes; and cut short at any byte it is refused or says something else, without a panic.
fn check<C, W>(value: C)
where
    C: Clone + Debug + PartialEq + TryFrom<W, Error = Malformed>,
    W: Message + Default + From<C>,
{
    let bytes = W::from(value.clone()).encode_to_vec();
    assert_eq!(W::decode(&bytes[..]).map(C::try_from), Ok(Ok(value.clone())));
    for length in 0..bytes.len() {
        if let Ok(message) = W::decode(&bytes[..length]) {
            assert_ne!(
                C::try_from(message).as_ref(),
                Ok(&value),
                "{length} of {} bytes",
                bytes.len()
            );
        }
    }
}

fn v4() -> std::net::IpAddr {
    [192, 0, 2, 7].into()
}

fn v6() -> std::net::IpAddr {
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into()
}

fn records() -> Vec<gossip::Record> {
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    let host = gossip::HostRecord {
        instance: 3,
        counter: 4,
        id: HostId(0xfedc_ba98_7654_3210),
        name: "hv1".to_owned(),
        vtep: v6(),
        listen: (v4(), 7480).into(),
        labels: BTreeMap::from([("rack".to_owned(), "a".to_owned())]),
        overlay_mtu: OverlayMtu::new(1430),
        candidacy: gossip::Candidacy::Drained { priority: 100 },
        uplink: gossip::Uplink::Works,
        lacks: [(SegmentId(1), gossip::Lack::NotWhole)].into(),
        segments: BTreeMap::from([(SegmentId(5), 2)]),
        vteps: BTreeMap::from([(SegmentId(7), [10, 2, 0, 3].into())]),
        networks: BTreeSet::from([HostNetwork {
            network: "192.168.122.0/24".parse().unwrap(),
            link: IfName::new("virbr0").unwrap(),
        }]),
        journal: 77,
        agent_version: "0.1.0".to_owned(),
    };
    let trial = |before: Option<&str>| gossip::Trial {
        seconds: 60,
        before: before.map(str::to_owned),
    };
    let segment = |content, trial| {
        gossip::Record::Segment(gossip::SegmentRecord {
            generation: 2,
            introducer: HostId(3),
            name: SegmentName::new("blue").unwrap(),
            id: SegmentId(5),
            born: 1,
            content,
            trial,
        })
    };
    let told = |address: IpAddr, mac: Option<Mac>, left: Option<u64>| {
        gossip::Record::Lease(lease::Lease {
            version: lease::Version {
                epoch: lease::Epoch {
                    number: 1,
                    host: HostId(2),
                },
                counter: 3,
            },
            told: 4,
            segment: SegmentId(5),
            address: Address::from(address),
            client: mac,
            hostname: mac.map(|_| "web".to_owned()).unwrap_or_default(),
            owner: HostId(1),
            keeper: mac.map(|_| HostId(2)),
            copies: 2,
            state: lease::LeaseState::Held,
            generation: 6,
            left: lease::Left(left.map(Duration::from_millis)),
        })
    };
    vec![
        gossip::Record::Host(host),
        segment(gossip::Content::Definition(String::new()), None),
        segment(gossip::Content::Definition(String::new()), Some(trial(None))),
        segment(gossip::Content::Definition(String::new()), Some(trial(Some("text")))),
        segment(gossip::Content::Tombstone { of: "text".to_owned() }, None),
        gossip::Record::StaticPeer(gossip::StaticPeer {
            generation: 1,
            introducer: HostId(1),
            address: v4(),
            segment: Some(SegmentId(0)),
            presence: gossip::Presence::Here,
        }),
        gossip::Record::Removed(gossip::Removed {
            host: HostId(9),
            why: gossip::Departure::Left,
            name: "hv9".to_owned(),
        }),
        gossip::Record::Claim(gossip::GatewayClaim {
            term: Term(8),
            beat: 2,
            presence: gossip::Presence::Gone,
            group: SegmentId(5),
            holder: HostId(1),
            since: 1_700_000_000_000,
            reason: "first of the order".to_owned(),
        }),
        gossip::Record::Findings(gossip::HostFindings {
            told: 3,
            host: HostId(1),
            findings: vec![gossip::FindingNote {
                severity: Severity::Fail,
                id: "C8".to_owned(),
                segment: Some("blue".to_owned()),
                subject: "kernel".to_owned(),
                evidence: "it refuses".to_owned(),
                cause: "somebody else".to_owned(),
                fix: "remove it".to_owned(),
                verify: "overlayctl plan".to_owned(),
                depends_on: vec!["U4".to_owned()],
            }],
        }),
        gossip::Record::Endpoint(gossip::Endpoint {
            sequence: 2,
            host: HostId(1),
            presence: gossip::Presence::Here,
            segment: SegmentId(5),
            mac,
            addresses: BTreeSet::from([v4(), v6()]),
            interface: "vnet0".to_owned(),
        }),
        told(v4(), Some(mac), Some(5000)),
        told(v6(), None, None),
        gossip::Record::Share(lease::Share {
            told: 1,
            segment: SegmentId(5),
            owner: HostId(1),
            ranges: vec![lease::SharedRange {
                range: Range::one(v4()),
                epoch: lease::Epoch {
                    number: 1,
                    host: HostId(1),
                },
                free: 1,
                held: 2,
                quarantined: 3,
                declined: 4,
            }],
        }),
    ]
}

#[test]
fn every_kind_of_record_and_of_bulk_survives() {
    for record in records() {
        check::<gossip::Record, wire::gossip::Record>(record);
    }
    let span = gossip::Span {
        first: 1,
        last: u64::MAX,
    };
    for message in [
        gossip::Message::Records(records()),
        gossip::Message::Digest(Box::new([9; gossip::RANGES])),
        gossip::Message::Summary {
            span,
            entries: vec![(2, 3), (4, 5)],
        },
        gossip::Message::Want(vec![1, 2]),
    ] {
        check::<Bulk, wire::gossip::BulkMessage>(Bulk::Gossip(message));
    }
    check::<Bulk, wire::gossip::BulkMessage>(Bulk::Membership(vec![1, 2, 3]));
    for sign in [Sign::Agent, Sign::Kernel, Sign::Nothing] {
        check::<Bulk, wire::gossip::BulkMessage>(Bulk::Hearing(Hearing::Told(HostId(7), sign)));
    }
    check::<Bulk, wire::gossip::BulkMessage>(Bulk::Hearing(Hearing::Asked(HostId(7))));
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let ports = PortRange { first: 20, last: 22 };
        let program = "sshd".to_owned();
        for listening in [
            Listening::Asked {
                number: 3,
                ports: vec![PublishedPorts { protocol, ports }],
            },
            Listening::Told {
                number: 3,
                listeners: vec![Listener {
                    protocol,
                    port: 22,
                    program,
                }],
            },
        ] {
            check::<Bulk, wire::gossip::BulkMessage>(Bulk::Listening(listening));
        }
    }
    for word in [Word::Sent, Word::Arrived, Word::Lost] {
        check::<Bulk, wire::gossip::BulkMessage>(Bulk::Path(path_watch::Message {
            segment: SegmentId(7),
            number: 8,
            word,
        }));
    }
}

#[test]
fn what_is_left_of_a_lease_survives_to_the_millisecond() {
    let left = |record: &gossip::Record| match record {
        gossip::Record::Lease(lease) => lease.left.0,
        _ => None,
    };
    for record in records() {
        let back = gossip::Record::try_from(wire::gossip::Record::from(record.clone())).unwrap();
        assert_eq!(left(&back), left(&record));
    }
}

#[test]
fn every_part_of_an_election_message_survives() {
    let key = election::Key {
        fitness: Fitness::Lacking,
        uplink: ElectionUplink::Works,
        rank: election::Rank {
            candidacy: ElectionCandidacy::Candidate,
            priority: Reverse(100),
            weight: Reverse(7),
            host: HostId(1),
        },
    };
    let named = election::Named {
        host: HostId(2),
        term: Term(3),
        standing: election::Established::Holder,
    };
    let lasting = election::Lasting::Endless;
    let term = Term(4);
    let says = [
        election::Says::Renew {
            term,
            round: 5,
            lasting,
        },
        election::Says::RenewGranted { term, round: 5 },
        election::Says::Heard,
        election::Says::Ask { term, sent: 6, key },
        election::Says::ClaimGranted { term, sent: 6 },
        election::Says::Refused {
            term,
            why: election::VoteRefusal::Bound,
            named: Some(named),
            key: Some(key),
        },
        election::Says::Refused {
            term,
            why: election::VoteRefusal::Quiet,
            named: None,
            key: None,
        },
        election::Says::Yield {
            term,
            successor: Some(HostId(2)),
        },
        election::Says::Prepare { term },
        election::Says::Prepared { term },
        election::Says::Move { to: None },
    ];
    let group = GroupId(SegmentId(5));
    let parts = [
        election::Part::Hello,
        election::Part::HelloAnswer {
            terms: vec![(group, term)],
        },
        election::Part::Ping,
        election::Part::Pong {
            turn: election::Turn::Last,
        },
    ];
    for part in parts
        .into_iter()
        .chain(says.map(|says| election::Part::Group { group, says }))
    {
        let header = election::Header {
            sender: HostId(1),
            instance: 2,
            sequence: 3,
            sent: 4,
            echo: Some(election::Echo { instance: 5, sent: 6 }),
            held: vec![election::Held {
                group,
                term,
                lasting: election::Lasting::Limited,
            }],
        };
        check::<election::Message, wire::election::ElectionMessage>(election::Message {
            header,
            parts: vec![part],
        });
    }
}

fn epoch() -> lease::Epoch {
    lease::Epoch {
        number: 3,
        host: HostId(2),
    }
}

fn lease_record(holder: addresses::Holder) -> addresses::LeaseRecord {
    addresses::LeaseRecord {
        version: lease::Version {
            epoch: epoch(),
            counter: 4,
        },
        holder,
        lease_time: Duration::from_secs(3600),
        keeper: Some(HostId(3)),
        client_id: vec![1, 2],
        hostname: "web".to_owned(),
        strikes: 1,
    }
}

#[test]
fn every_lease_message_survives() {
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    let segment = SegmentId(5);
    let range = Range::new(v4(), [192, 0, 2, 9]).unwrap();
    let address = range.first();
    let version = lease::Version {
        epoch: epoch(),
        counter: 4,
    };
    let claim = addresses::Claim {
        client: mac,
        basis: addresses::Basis::Having,
        guest_host: Some(HostId(1)),
        lease_time: Duration::from_secs(60),
        client_id: Vec::new(),
        hostname: String::new(),
    };
    let asks = [
        addresses::Ask::Bind(claim),
        addresses::Ask::Nonce { client: mac },
        addresses::Ask::Release {
            client: mac,
            version,
            nonce: 9,
        },
        addresses::Ask::Decline {
            client: mac,
            version,
            nonce: 10,
        },
        addresses::Ask::Conflict,
        addresses::Ask::Revoke { client: mac, version },
    ];
    let replies = [
        addresses::Reply::Granted {
            lease_time: Duration::from_secs(60),
            copies: 2,
        },
        addresses::Reply::Taken,
        addresses::Reply::CannotSay { owner: Some(HostId(2)) },
        addresses::Reply::Nonce { version, nonce: 9 },
        addresses::Reply::Done,
    ];
    let record = lease_record(addresses::Holder::Client(mac));
    let reuse = addresses::Reuse::Quarantined;
    let epoch = epoch();
    let others = [
        addresses::Message::Put {
            segment,
            address,
            epoch,
            record: record.clone(),
            confirmed: true,
        },
        addresses::Message::Stored {
            segment,
            address,
            version,
        },
        addresses::Message::PutRefused {
            segment,
            address,
            version,
            why: addresses::PutRefusal::Keeps,
            promised: epoch,
            left: Duration::from_millis(7),
        },
        addresses::Message::Borrow { segment, count: 8 },
        addresses::Message::Give {
            segment,
            epoch,
            runs: vec![addresses::GivenRun {
                range,
                record: record.clone(),
                may: vec![HostId(3)],
                reuse,
            }],
        },
        addresses::Message::Taken {
            segment,
            epoch,
            ranges: vec![range],
        },
        addresses::Message::Prepare {
            segment,
            epoch,
            ranges: vec![range],
            removed: vec![HostId(9)],
        },
        addresses::Message::Report {
            segment,
            epoch,
            ranges: vec![range],
            runs: vec![addresses::ReportedRun {
                range,
                epoch,
                owner: None,
                record,
            }],
            members: vec![HostId(1)],
        },
        addresses::Message::PrepareRefused {
            segment,
            epoch,
            highest: 12,
        },
        addresses::Message::Birth {
            segment,
            epoch,
            ownership: addresses::Ownership::ToBe,
            ranges: vec![range],
        },
        addresses::Message::Birth {
            segment,
            epoch,
            ownership: addresses::Ownership::Settled,
            ranges: vec![range],
        },
        addresses::Message::BirthKnown {
            segment,
            epoch,
            ranges: Vec::new(),
            others: vec![addresses::OwnedRun {
                range,
                epoch,
                owner: HostId(4),
            }],
        },
        addresses::Message::Acknowledge {
            members: vec![HostId(1), HostId(2)],
            removed: vec![HostId(9)],
            part: addresses::Part::Leaving,
            generations: vec![addresses::Generation {
                segment,
                generation: 3,
                life: addresses::Life::Deleted,
                longest: Duration::from_secs(7),
                agreed: Duration::from_secs(5),
            }],
            sequence: 5,
            heard: 6,
        },
    ];
    let asks = asks.map(|ask| addresses::Message::Ask {
        id: 1,
        segment,
        address,
        ask,
    });
    let replies = replies.map(|reply| addresses::Message::Reply { id: 1, reply });
    for message in asks.into_iter().chain(replies).chain(others) {
        check::<addresses::Message, wire::lease::LeaseMessage>(message);
    }
}

#[test]
fn every_journal_record_survives() {
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    let state = |holder, transfer| addresses::AddressState {
        epoch: epoch(),
        owner: Some(HostId(1)),
        transfer,
        promised: epoch(),
        record: lease_record(holder),
        may: BTreeSet::from([HostId(2)]),
        reuse: addresses::Reuse::Allowed,
    };
    let states = [
        addresses::AddressState::UNKNOWN,
        state(addresses::Holder::Free { last: Some(mac) }, addresses::Transfer::Unborn),
        state(addresses::Holder::Client(mac), addresses::Transfer::HandingOver),
        state(addresses::Holder::Reserved(mac), addresses::Transfer::Settled),
        state(addresses::Holder::Released(mac), addresses::Transfer::Settled),
        state(addresses::Holder::Declined, addresses::Transfer::Settled),
    ];
    for state in states {
        let range = Range::new(v6(), v6()).unwrap();
        check::<_, wire::journal::JournalRecord>(addresses::JournalRecord::Addresses {
            segment: SegmentId(5),
            range,
            state,
        });
    }
    check::<_, wire::journal::JournalRecord>(addresses::JournalRecord::Membership(addresses::Members {
        members: BTreeSet::from([HostId(1), HostId(2)]),
        acknowledged: BTreeSet::from([HostId(2)]),
        introduced: addresses::Introduced::ByMember,
        removed: BTreeSet::from([HostId(9)]),
    }));
    check::<_, wire::journal::JournalRecord>(addresses::JournalRecord::Segment {
        segment: SegmentId(5),
        generation: 2,
        life: addresses::Life::Over,
        longest: Duration::from_secs(60),
        agreed: Duration::from_secs(30),
    });
}

#[test]
fn nonsense_is_refused_by_the_name_of_its_field() {
    let bulk = |kind| {
        Bulk::try_from(wire::gossip::BulkMessage { kind })
            .unwrap_err()
            .to_string()
    };
    use wire::gossip::bulk_message::Kind;
    assert_eq!(bulk(None), "field bulk.kind is missing");
    assert_eq!(
        bulk(Some(Kind::Digest(wire::gossip::Digest { ranges: vec![1, 2] }))),
        "field digest.ranges has 2 bytes or entries"
    );
    let summary = wire::gossip::Summary {
        first: 5,
        last: 4,
        keys: Vec::new(),
        contents: Vec::new(),
    };
    assert_eq!(bulk(Some(Kind::Summary(summary))), "field summary contradicts itself");
    let asked = |first, last| {
        let ports = wire::gossip::listening_asked::Ports {
            protocol: 1,
            first,
            last,
        };
        bulk(Some(Kind::ListeningAsked(wire::gossip::ListeningAsked {
            number: 1,
            ports: vec![ports],
        })))
    };
    assert_eq!(asked(22, 21), "field listening_asked.ports contradicts itself");
    assert_eq!(asked(0, 21), "field listening.port contradicts itself");
    assert_eq!(asked(1, 70_000), "field listening.port contradicts itself");

    let record = |kind| {
        gossip::Record::try_from(wire::gossip::Record { kind: Some(kind) })
            .unwrap_err()
            .to_string()
    };
    use wire::gossip::record;
    let peer = wire::gossip::StaticPeer {
        address: vec![1, 2, 3],
        presence: 1,
        ..Default::default()
    };
    assert_eq!(
        record(record::Kind::StaticPeer(peer)),
        "field static_peer.address has 3 bytes or entries"
    );
    let segment = wire::gossip::Segment {
        name: "Blue".to_owned(),
        ..Default::default()
    };
    assert!(record(record::Kind::Segment(segment)).starts_with("field segment.name: \"Blue\" is not"));
    let removed = wire::gossip::Removed {
        why: 0,
        ..Default::default()
    };
    assert_eq!(
        record(record::Kind::Removed(removed)),
        "field removed.why has the unknown value 0"
    );

    let range = wire::lease::Range {
        first: vec![9; 16],
        last: vec![1; 16],
    };
    assert_eq!(
        super::lease::range_in(Some(range)),
        Err(Malformed::Contradiction("range"))
    );
}
