//! `apply` and `segment delete`: segments as operators write them.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use rand::Rng;

use super::guard::guard;
use super::pending::{Apply, Operation};
use crate::cluster::catalogue;
use crate::cluster::gossip::{Content, SegmentRecord, Written};
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

    /// Writes segments with the next generation; whether that changed any.
    pub(super) fn write_segments(&mut self, segments: &[Segment], trial: Option<u32>, now: Instant) -> Written {
        let mut changed = Written::Unchanged;
        for segment in segments {
            let fresh = SegmentId(self.rng.next_u64());
            let Some(member) = &mut self.formed else { break };
            let fresh = member.buried(segment).unwrap_or(fresh);
            let above = member.forgotten_generation(&segment.name);
            let text = segment.to_yaml();
            let written = member.gossip.apply_above(above, &segment.name, text, fresh, trial, now);
            if written == Written::Changed {
                changed = written;
            }
            // What an operator was told to be done is not to be lost in a crash.
            member.gossip.save_now(now);
            member.touch_now(now);
        }
        changed
    }

    /// Ends all trials: what was changed stays.
    ///
    /// # Errors
    /// Nothing is on trial.
    pub fn confirm(&mut self, now: Instant) -> Result<Vec<SegmentName>, Refusal> {
        let member = self.member()?;
        let tried = member.gossip.trials().filter_map(|(record, _)| match &record.content {
            Content::Definition(text) => Some((record.name.clone(), text.clone(), record.id)),
            Content::Tombstone { .. } => None,
        });
        let tried: Vec<(SegmentName, String, SegmentId)> = tried.collect();
        if tried.is_empty() {
            return Err(Refusal::new("no change is on trial").hint(
                "it was confirmed or rolled back before; `overlayctl segment show NAME` shows what is in force",
            ));
        }
        let mut confirmed = Vec::new();
        for (name, text, id) in tried {
            member.gossip.apply(&name, text, id, now);
            confirmed.push(name);
        }
        member.gossip.save_now(now);
        member.touch_now(now);
        self.settle(now);
        Ok(confirmed)
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
        self.refuse_beside_trials(segments)?;
        let change = |segment| self.change(segment, ports, now);
        Ok(segments.iter().map(change).collect())
    }

    /// What may come back of other segments that are on trial must fit, too.
    fn refuse_beside_trials(&self, segments: &[Segment]) -> Result<(), Refusal> {
        for (record, trial) in self.gossip.trials() {
            let name = &record.name;
            let before = trial.before.as_ref().and_then(|text| catalogue::read(name, text));
            let Some(before) = before.filter(|_| segments.iter().all(|segment| segment.name != *name)) else {
                continue;
            };
            let together: Vec<&Segment> = segments.iter().chain([&before]).collect();
            if let Some(clash) = config::check_together(&together).first() {
                return Err(Refusal::new(format!(
                    "segment {name} is on trial, and what it would be rolled back to does not fit: {clash}"
                ))
                .hint("run `overlayctl apply confirm` first, or wait until the trial is over"));
            }
        }
        Ok(())
    }

    fn change(&self, segment: &Segment, ports: &BTreeMap<IfName, Vec<IfName>>, now: Instant) -> Applied {
        let old = self.catalogue.get(&segment.name);
        let record = self.gossip.segment(&segment.name);
        let generation = record.map_or(0, |record| record.generation);
        let forgotten = self.forgotten_generation(&segment.name);
        let on_trial = record.is_some_and(|record| record.trial.is_some());
        let change = match old {
            None => Change::Added,
            // What is on trial is another thing when it is final.
            Some(old) if old.segment == *segment && forgotten == 0 && !on_trial => Change::Unchanged,
            Some(_) => Change::Changed,
        };
        Applied {
            name: segment.name.clone(),
            change,
            generation: match change {
                Change::Unchanged => generation,
                Change::Added | Change::Changed => record.map_or(0, SegmentRecord::taken).max(forgotten) + 1,
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
