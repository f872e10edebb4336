//! Sixty-four bits that stand for a key, and for a record's content, the same on every host and in every release.
//!
//! Hashes over fields in a fixed order and width, not the `Hash` of the standard library, whose bytes depend on the
//! compiler and the machine. The keys of the hash are fixed: members of a cluster trust each other here.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher13;

use super::record::{Candidacy, Departure, FindingNote, Key, Lack, Presence, Record, Uplink};
use super::segment_record::Content;
use crate::id::{HostId, Mac, SegmentId, SegmentName};
use crate::lease::LeaseState;
use crate::network::HostNetwork;
use crate::severity::Severity;

/// Where a key stands in the space that digests divide.
pub(super) fn of_key(key: &Key) -> u64 {
    let mut out = Fields::default();
    out.key(key);
    out.finish()
}

/// What a record says, time left aside.
pub(super) fn of_record(record: &Record) -> u64 {
    let mut out = Fields::default();
    out.key(&record.key());
    match record {
        Record::Host(host) => {
            out.number(host.instance);
            out.number(host.counter);
            out.text(&host.name);
            out.address(host.vtep);
            out.number(host.vteps.len() as u64);
            for (segment, vtep) in &host.vteps {
                out.number(segment.0);
                out.address(*vtep);
            }
            out.socket(host.listen);
            out.labels(&host.labels);
            out.number(u64::from(host.overlay_mtu.bytes()));
            match host.candidacy {
                Candidacy::None => out.number(0),
                Candidacy::Candidate { priority } => out.pair(1, u64::from(priority)),
                Candidacy::Drained { priority } => out.pair(2, u64::from(priority)),
                Candidacy::JournalLost { priority } => out.pair(3, u64::from(priority)),
                Candidacy::Departing { priority } => out.pair(4, u64::from(priority)),
            }
            out.number(match host.uplink {
                Uplink::Fails => 0,
                Uplink::Works => 1,
            });
            out.number(host.lacks.len() as u64);
            for (segment, lack) in &host.lacks {
                let lack = match lack {
                    Lack::NotWhole => 0,
                    Lack::SubnetConflict => 1,
                };
                out.pair(segment.0, lack);
            }
            out.number(host.segments.len() as u64);
            for (segment, generation) in &host.segments {
                out.pair(segment.0, *generation);
            }
            out.number(host.networks.len() as u64);
            for HostNetwork { network, link } in &host.networks {
                out.address(network.addr().into());
                out.number(u64::from(network.prefix_len()));
                out.text(link.as_str());
            }
            out.number(host.journal);
            out.text(&host.agent_version);
        }
        Record::Segment(segment) => {
            out.pair(segment.generation, segment.introducer.0);
            out.pair(segment.id.0, segment.born);
            match &segment.content {
                Content::Definition(text) => out.text(text),
                Content::Tombstone { of } => {
                    out.number(u64::MAX);
                    out.text(of);
                }
            }
            if let Some(trial) = &segment.trial {
                out.pair(u64::MAX, trial.seconds.into());
                out.text(trial.before.as_deref().unwrap_or_default());
            }
        }
        Record::StaticPeer(peer) => {
            out.pair(peer.generation, peer.introducer.0);
            out.presence(peer.presence);
        }
        Record::Removed(removed) => {
            out.number(match removed.why {
                Departure::Removed => 0,
                Departure::Left => 1,
            });
            out.text(&removed.name);
        }
        Record::Claim(claim) => {
            out.pair(claim.term.0, claim.beat);
            out.presence(claim.presence);
            out.number(claim.since);
            out.text(&claim.reason);
        }
        Record::Endpoint(endpoint) => {
            out.pair(endpoint.sequence, endpoint.host.0);
            out.presence(endpoint.presence);
            out.addresses(&endpoint.addresses);
            out.text(&endpoint.interface);
        }
        Record::Share(share) => {
            out.pair(share.told, share.ranges.len() as u64);
            for range in &share.ranges {
                out.address(range.range.first().ip());
                out.address(range.range.last().ip());
                out.pair(range.epoch.number, range.epoch.host.0);
                out.pair(range.free, range.held);
                out.pair(range.quarantined, range.declined);
            }
        }
        Record::Findings(findings) => {
            out.number(findings.told);
            out.number(findings.findings.len() as u64);
            for note in &findings.findings {
                out.note(note);
            }
        }
        Record::Lease(lease) => {
            out.pair(lease.version.epoch.number, lease.version.epoch.host.0);
            out.pair(lease.version.counter, lease.told);
            out.mac(lease.client.unwrap_or(Mac::ZERO));
            out.text(&lease.hostname);
            out.host(lease.owner);
            out.host(lease.keeper.unwrap_or(HostId(0)));
            out.number(u64::from(lease.copies));
            out.number(lease.generation);
            out.number(match lease.state {
                LeaseState::Held => 0,
                LeaseState::Free => 1,
                LeaseState::Quarantined => 2,
                LeaseState::Declined => 3,
                LeaseState::Pending => 4,
                LeaseState::Settled => 5,
            });
        }
    }
    out.finish()
}

#[derive(Default)]
struct Fields(SipHasher13);

impl Fields {
    fn key(&mut self, key: &Key) {
        match key {
            Key::Host(host) => self.pair(1, host.0),
            Key::Segment(name) => {
                self.number(2);
                self.name(name);
            }
            Key::StaticPeer(address, segment) => {
                self.number(3);
                self.address(*address);
                match segment {
                    None => self.number(0),
                    Some(SegmentId(id)) => self.pair(1, *id),
                }
            }
            Key::Removed(host) => self.pair(4, host.0),
            Key::Claim(group, holder) => {
                self.pair(5, group.0);
                self.host(*holder);
            }
            Key::Endpoint(segment, mac) => {
                self.pair(6, segment.0);
                self.mac(*mac);
            }
            Key::Findings(host) => self.pair(9, host.0),
            Key::Share(segment, owner) => {
                self.pair(8, segment.0);
                self.host(*owner);
            }
            Key::Lease(segment, address) => {
                self.pair(7, segment.0);
                self.address(*address);
            }
        }
    }

    fn note(&mut self, note: &FindingNote) {
        self.number(match note.severity {
            Severity::Fail => 0,
            Severity::Warn => 1,
            Severity::Unknown => 2,
        });
        let segment = note.segment.as_deref().unwrap_or_default();
        let texts = [
            &note.id,
            segment,
            &note.subject,
            &note.evidence,
            &note.cause,
            &note.fix,
            &note.verify,
        ];
        texts.into_iter().for_each(|text| self.text(text));
        self.number(note.depends_on.len() as u64);
        note.depends_on.iter().for_each(|id| self.text(id));
    }

    fn number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }

    fn pair(&mut self, first: u64, second: u64) {
        self.number(first);
        self.number(second);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.write(text.as_bytes());
    }

    fn name(&mut self, name: &SegmentName) {
        self.text(name.as_str());
    }

    fn host(&mut self, host: HostId) {
        self.number(host.0);
    }

    fn mac(&mut self, mac: Mac) {
        self.0.write(&mac.0);
    }

    fn presence(&mut self, presence: Presence) {
        self.number(match presence {
            Presence::Here => 0,
            Presence::Gone => 1,
        });
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.0.write(&v4.octets()),
            IpAddr::V6(v6) => self.0.write(&v6.octets()),
        }
    }

    fn addresses(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.number(addresses.len() as u64);
        for address in addresses {
            self.address(*address);
        }
    }

    fn socket(&mut self, socket: SocketAddr) {
        self.address(socket.ip());
        self.number(u64::from(socket.port()));
    }

    fn labels(&mut self, labels: &BTreeMap<String, String>) {
        self.number(labels.len() as u64);
        for (key, value) in labels {
            self.text(key);
            self.text(value);
        }
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}
