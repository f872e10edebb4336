//! `apply` and `segment delete`: segments as operators write them.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use rand::Rng;

use super::guard::guard;
use super::pending::{Apply, Operation};
use crate::cluster::catalogue;
use crate::cluster::gossip::{Content, Written};
use crate::config::{self, Segment};
use crate::id::{IfName, SegmentId, SegmentName};
use crate::node::Node;
use crate::node::applied::{Applied, Change, Deleted, Run};
use crate::node::effect::{Call, Effect, Force, Refusal};
use crate::node::member::Member;
use crate::time::Instant;

impl Node {
    /// Writes segments with the next generation; all or none. Answered when the candidates have said that nothing listens
    /// on a port that is newly published.
    pub fn apply(&mut self, call: Call, segments: Vec<Segment>, run: Run, force: Force, now: Instant) {
        let begun = self.changes(&segments, force, now).and_then(|_| {
            let member = self.member()?;
            let open = member.whom_to_ask(&segments);
            let number = member.token();
            if let Some(ports) = open.get(&self.me) {
                self.effects.push_back(Effect::FindListeners {
                    asker: self.me,
                    number,
                    ports: ports.clone(),
                });
            }
            Ok(Operation::Apply(Apply {
                segments,
                run,
                force,
                number,
                open,
                taken: Vec::new(),
            }))
        });
        self.begin(call, begun, now);
    }

    /// What would become of the segments.
    pub(super) fn changes(
        &mut self,
        segments: &[Segment],
        force: Force,
        now: Instant,
    ) -> Result<Vec<Applied>, Refusal> {
        self.member()?.refuse_overlaps(segments, force)?;
        let ports = std::mem::take(&mut self.ports);
        let changes = self.member().and_then(|member| member.changes(segments, &ports, now));
        self.ports = ports;
        changes
    }

    /// Writes segments with the next generation.
    pub(super) fn write_segments(&mut self, segments: &[Segment], now: Instant) {
        for segment in segments {
            let fresh = SegmentId(self.rng.next_u64());
            let Some(member) = &mut self.formed else { break };
            let fresh = member.buried(segment).unwrap_or(fresh);
            let above = member.forgotten_generation(&segment.name);
            member
                .gossip
                .apply_above(above, &segment.name, segment.to_yaml(), fresh, now);
            // What an operator was told to be done is not to be lost in a crash.
            member.gossip.save_now(now);
            member.touch_now(now);
        }
    }

    /// Deletes a segment.
    ///
    /// # Errors
    /// There is none of that name, or guests would lose something; nothing was changed.
    pub fn delete_segment(&mut self, name: &SegmentName, force: Force, now: Instant) -> Result<Deleted, Refusal> {
        let Self { formed, ports, .. } = self;
        let known = formed
            .as_ref()
            .and_then(|member| Some((member, member.catalogue.get(name)?)));
        let deleted = known.map(|(member, known)| Deleted {
            ports: ports.get(&known.segment.bridge).cloned().unwrap_or_default(),
            losses: member.losses(known, None, ports, now),
        });
        let member = self.member()?;
        let Some(deleted) = deleted else {
            return Err(Refusal::no_segment(name));
        };
        guard(
            &deleted.losses,
            force,
            "detach these guests or shut them down, and release their leases, or use --force: they lose their network",
        )?;
        if member.gossip.delete(name, now) == Written::Refused {
            return Err(Refusal::no_segment(name));
        }
        member.touch_now(now);
        self.settle(now);
        Ok(deleted)
    }
}

fn subnet(segment: &Segment) -> Option<Ipv4Net> {
    segment.ipv4.as_ref().map(|ipv4| ipv4.subnet)
}

impl Member {
    /// What would become of each segment.
    fn changes(
        &self,
        segments: &[Segment],
        ports: &BTreeMap<IfName, Vec<IfName>>,
        now: Instant,
    ) -> Result<Vec<Applied>, Refusal> {
        let named = |known: &&Segment| segments.iter().any(|segment| segment.name == known.name);
        let known = self.catalogue.iter().map(|known| &known.segment);
        let together: Vec<&Segment> = known.filter(|known| !named(known)).chain(segments).collect();
        let clashes = config::check_together(&together);
        if let Some(first) = clashes.first() {
            let all = clashes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(Refusal::new(all).hint(first.what.hint()));
        }
        let change = |segment| self.change(segment, ports, now);
        Ok(segments.iter().map(change).collect())
    }

    fn change(&self, segment: &Segment, ports: &BTreeMap<IfName, Vec<IfName>>, now: Instant) -> Applied {
        let old = self.catalogue.get(&segment.name);
        let record = self.gossip.segment(&segment.name);
        let generation = record.map_or(0, |record| record.generation);
        let forgotten = self.forgotten_generation(&segment.name);
        let change = match old {
            None => Change::Added,
            Some(old) if old.segment == *segment && forgotten == 0 => Change::Unchanged,
            Some(_) => Change::Changed,
        };
        Applied {
            name: segment.name.clone(),
            change,
            generation: match change {
                Change::Unchanged => generation,
                Change::Added | Change::Changed => generation.max(forgotten) + 1,
            },
            fields: config::difference(old.map(|old| &old.segment), segment),
            losses: old
                .map(|old| self.losses(old, Some(segment), ports, now))
                .unwrap_or_default(),
            unchecked: match self.new_subnet(segment) {
                Some(_) => self.silent_hosts(segment),
                None => Vec::new(),
            },
        }
    }

    /// The id of a deleted segment that this one is again: its guests have not gone away meanwhile.
    fn buried(&self, segment: &Segment) -> Option<SegmentId> {
        let record = self.gossip.segment(&segment.name)?;
        let Content::Tombstone { of } = &record.content else {
            return None;
        };
        let before = catalogue::read(&segment.name, of)?;
        let is_same = before.vni == segment.vni && subnet(&before) == subnet(segment);
        (is_same && self.leases.goes_on(record.id)).then_some(record.id)
    }

    /// The newest generation of a segment that the leases knew, if it was lost since; else 0.
    pub(in crate::node) fn forgotten_generation(&self, name: &SegmentName) -> u64 {
        let Some(known) = self.gossip.segment(name) else {
            return 0;
        };
        let newest = self.leases.newest_generation(known.id);
        if newest > known.generation { newest } else { 0 }
    }
}
