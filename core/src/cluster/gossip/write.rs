//! How records change: what this host writes itself, and how a version from outside is merged.

use super::message::{Change, ChangeOrigin, Effect, Written};
use super::read::first_endpoint;
use super::record::{
    Departure, Endpoint, FindingNote, GatewayClaim, HostFindings, HostRecord, Key, Presence, Record, Removed,
    StaticPeer,
};
use super::{GATHER, Gossip, SAVE_AFTER};
use crate::id::{HostId, SegmentId};
use crate::lease::{Lease, Share};
use crate::time::Instant;

impl Gossip {
    /// Says something about this host. Version numbers are set here: `instance` as given, unless others remember a
    /// higher one, and the counter one higher than any known.
    pub fn put_host(&mut self, mut host: HostRecord, now: Instant) -> Written {
        host.id = self.me;
        if let Some(known) = self.host(self.me) {
            let instance = known.instance.max(host.instance);
            host.counter = if instance == known.instance { known.counter } else { 0 };
            host.instance = instance;
            if *known == host {
                return Written::Unchanged;
            }
            host.counter += 1;
        }
        self.write(Record::Host(host), now)
    }

    /// Adds or withdraws a VTEP without an agent. Generation and introducer are set here.
    pub fn put_static_peer(
        &mut self,
        address: std::net::IpAddr,
        segment: Option<SegmentId>,
        presence: Presence,
        now: Instant,
    ) -> Written {
        let generation = match self.get(&Key::StaticPeer(address, segment)) {
            Some(Record::StaticPeer(known)) if known.presence == presence => return Written::Unchanged,
            Some(Record::StaticPeer(known)) => known.generation + 1,
            _ if presence == Presence::Gone => return Written::Refused,
            _ => 1,
        };
        self.write(
            Record::StaticPeer(StaticPeer {
                generation,
                introducer: self.me,
                address,
                segment,
                presence,
            }),
            now,
        )
    }

    /// Says that a host is out for good. There is no way back.
    pub fn remove(&mut self, host: HostId, why: Departure, now: Instant) -> Written {
        let name = self.host(host).map(|host| host.name.clone()).unwrap_or_default();
        match self.get(&Key::Removed(host)) {
            Some(_) => Written::Unchanged,
            None => self.write(Record::Removed(Removed { host, why, name }), now),
        }
    }

    /// Says, repeats or takes back that this host serves a group. Holder and beat are set here.
    pub fn put_claim(&mut self, mut claim: GatewayClaim, now: Instant) -> Written {
        claim.holder = self.me;
        claim.beat = match self.get(&Key::Claim(claim.group, self.me)) {
            Some(Record::Claim(known)) if known.term == claim.term => known.beat + 1,
            _ => 1,
        };
        self.write(Record::Claim(claim), now)
    }

    /// Says where a network card is. `Here` from another host than before takes one sequence more than is known.
    pub fn put_endpoint(&mut self, mut endpoint: Endpoint, now: Instant) -> Written {
        endpoint.host = self.me;
        endpoint.sequence = match self.get(&Key::Endpoint(endpoint.segment, endpoint.mac)) {
            Some(Record::Endpoint(known)) => {
                endpoint.sequence = known.sequence;
                if *known == endpoint {
                    return Written::Unchanged;
                }
                if endpoint.presence == Presence::Gone && known.host != self.me {
                    // It has moved: only its new host may say that it is gone.
                    return Written::Refused;
                }
                known.sequence + 1
            }
            _ => 1,
        };
        self.write(Record::Endpoint(endpoint), now)
    }

    /// Tells of a lease. How often its version was told of is counted here.
    pub fn put_lease(&mut self, mut lease: Lease, now: Instant) -> Written {
        if let Some(Record::Lease(known)) = self.get(&Key::Lease(lease.segment, lease.address.ip()))
            && known.version == lease.version
        {
            lease.told = known.told + 1;
        }
        self.write(Record::Lease(lease), now)
    }

    /// Tells what this host owns of a segment. Owner and count are set here.
    pub fn put_share(&mut self, mut share: Share, now: Instant) -> Written {
        share.owner = self.me;
        if let Some(Record::Share(known)) = self.get(&Key::Share(share.segment, self.me)) {
            share.told = known.told;
            if *known == share {
                return Written::Unchanged;
            }
            share.told += 1;
        }
        self.write(Record::Share(share), now)
    }

    /// Tells what is wrong on this host. A host that was never anything but well needs no word for that.
    pub fn put_findings(&mut self, findings: Vec<FindingNote>, now: Instant) -> Written {
        let known = match self.get(&Key::Findings(self.me)) {
            Some(Record::Findings(known)) => Some(known),
            _ => None,
        };
        if known.map_or(&[][..], |known| &known.findings) == findings {
            return Written::Unchanged;
        }
        let told = known.map_or(0, |known| known.told) + 1;
        let host = self.me;
        self.write(Record::Findings(HostFindings { told, host, findings }), now)
    }

    pub(super) fn write(&mut self, record: Record, now: Instant) -> Written {
        let written = self.merge(record, ChangeOrigin::Own, now);
        self.flush_if_due(now);
        written
    }

    pub(super) fn merge(&mut self, record: Record, origin: ChangeOrigin, now: Instant) -> Written {
        let key = record.key();
        if record.depends_on().is_some_and(|host| self.removed.contains(&host)) {
            return Written::Refused;
        }
        if let ChangeOrigin::Peer(_) = origin
            && self.is_about_me(&key)
        {
            return self.correct(record, now);
        }
        let known = self.store.get(&key);
        if known == Some(&record) {
            return Written::Unchanged;
        }
        self.report_loser(&record);
        let known = self.store.get(&key);
        if known.is_some_and(|known| !record.supersedes(known)) {
            return Written::Refused;
        }
        self.accept(record, origin, now);
        Written::Changed
    }

    fn accept(&mut self, record: Record, origin: ChangeOrigin, now: Instant) {
        let key = record.key();
        let old = self.store.insert(record.clone(), now);
        self.effects.push_back(Effect::Changed(Change {
            key: key.clone(),
            old: old.map(Box::new),
            new: Some(Box::new(record.clone())),
            origin,
        }));
        if record.is_lasting() {
            self.save_at.get_or_insert(now + SAVE_AFTER);
        }
        if let Record::Removed(removed) = &record {
            self.absorb(removed.host, origin);
        }
        let many = key >= first_endpoint();
        let to = match origin {
            ChangeOrigin::Own => self.connected.iter().copied().collect(),
            // Whoever its host could not tell hears of it by the next digest.
            ChangeOrigin::Peer(_) if many => Vec::new(),
            ChangeOrigin::Peer(from) => self.some_peers(Some(from)),
        };
        if !to.is_empty() {
            let due = if many { self.gathers_until.max(now) } else { now };
            self.flush_at = Some(self.flush_at.map_or(due, |at| at.min(due)));
        }
        for peer in to {
            self.outbox.entry(peer).or_default().insert(key.clone());
        }
    }

    /// Takes away all that stood and fell with a removed host.
    fn absorb(&mut self, host: HostId, origin: ChangeOrigin) {
        self.removed.insert(host);
        let gone: Vec<Key> = self
            .store
            .iter()
            .filter(|(_, record)| record.depends_on() == Some(host))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(old) = self.store.remove(&key) {
                self.effects.push_back(Effect::Changed(Change {
                    key,
                    old: Some(Box::new(old)),
                    new: None,
                    origin,
                }));
            }
        }
    }

    fn is_about_me(&self, key: &Key) -> bool {
        match key {
            Key::Host(host) | Key::Claim(_, host) | Key::Findings(host) | Key::Share(_, host) => *host == self.me,
            Key::Segment(_) | Key::StaticPeer(..) | Key::Removed(_) | Key::Endpoint(..) | Key::Lease(..) => false,
        }
    }

    /// Others remember something of this host that only it may say: where theirs is the newer (from before a lost
    /// disk, or a crash), this host says it again, newer.
    fn correct(&mut self, theirs: Record, now: Instant) -> Written {
        let known = self.store.get(&theirs.key()).cloned();
        if known.as_ref() == Some(&theirs) {
            return Written::Unchanged;
        }
        if let Record::Host(theirs) = &theirs {
            self.effects.push_back(Effect::Remembered(Box::new(theirs.clone())));
        }
        if known.as_ref().is_some_and(|known| !theirs.supersedes(known)) {
            return Written::Refused;
        }
        let corrected = match (known, theirs) {
            (Some(Record::Host(mine)), Record::Host(theirs)) => Record::Host(HostRecord {
                instance: theirs.instance,
                counter: theirs.counter + 1,
                ..mine
            }),
            (Some(Record::Claim(mine)), Record::Claim(theirs)) if mine.term == theirs.term => {
                Record::Claim(GatewayClaim {
                    beat: theirs.beat + 1,
                    ..mine
                })
            }
            (Some(Record::Share(mine)), Record::Share(theirs)) => Record::Share(Share {
                told: theirs.told + 1,
                ..mine
            }),
            (Some(Record::Findings(mine)), Record::Findings(theirs)) => Record::Findings(HostFindings {
                told: theirs.told + 1,
                ..mine
            }),
            (_, Record::Claim(theirs)) if theirs.presence == Presence::Here => Record::Claim(GatewayClaim {
                beat: theirs.beat + 1,
                presence: Presence::Gone,
                ..theirs
            }),
            // It has not spoken of itself yet in this life, or has nothing to set right: theirs stands until it does.
            (_, theirs) => theirs,
        };
        self.accept(corrected, ChangeOrigin::Own, now);
        Written::Changed
    }

    /// Sends on what has changed, unless all of it may wait for more.
    pub(super) fn flush_if_due(&mut self, now: Instant) {
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush(now);
        }
    }

    /// Sends on what has changed, in as few messages as fit.
    pub(super) fn flush(&mut self, now: Instant) {
        self.flush_at = None;
        self.gathers_until = now + GATHER;
        for (peer, keys) in std::mem::take(&mut self.outbox) {
            self.send_records(peer, keys, now);
        }
    }
}
