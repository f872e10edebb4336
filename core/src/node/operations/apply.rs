//! `apply` and `segment delete`: segments as operators write them.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use rand::Rng;

use super::guard::guard;
use crate::cluster::catalogue;
use crate::cluster::gossip::{Content, Written};
use crate::config::{self, FieldChange, Segment};
use crate::id::{IfName, SegmentId, SegmentName};
use crate::node::Node;
use crate::node::effect::{Force, Refusal};
use crate::node::loss::{Loss, Lost};
use crate::node::member::Member;
use crate::time::Instant;

/// What `apply` makes of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub name: SegmentName,
    /// What becomes of it.
    pub change: Change,
    /// The generation that is in force then.
    pub generation: u64,
    /// What differs.
    pub fields: Vec<FieldChange>,
    /// What that costs guests.
    pub losses: Vec<Loss>,
    /// Hosts out of reach, by name: whether a subnet that is new overlaps their networks is not known.
    pub unchecked: Vec<String>,
}

/// What `segment delete` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The guest ports on this host that keep the bridge for now.
    pub ports: Vec<IfName>,
    /// What that cost guests.
    pub losses: Vec<Loss>,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The cluster did not have it.
    Added,
    /// It is another now.
    Changed,
    /// It is as it was.
    Unchanged,
}

/// Whether a call changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It only says what would change.
    Dry,
    /// It changes it.
    Real,
}

impl Node {
    /// Writes segments with the next generation; all or none.
    ///
    /// # Errors
    /// One cannot stand beside those that the cluster has, or guests would lose something; nothing was changed.
    pub fn apply(
        &mut self,
        segments: &[Segment],
        run: Run,
        force: Force,
        now: Instant,
    ) -> Result<Vec<Applied>, Refusal> {
        self.member()?.refuse_overlaps(segments, force)?;
        let ports = std::mem::take(&mut self.ports);
        let changes = self.member().and_then(|member| member.changes(segments, &ports, now));
        self.ports = ports;
        let applied = changes?;
        if run == Run::Dry {
            return Ok(applied);
        }
        let losses: Vec<Loss> = applied.iter().flat_map(|applied| applied.losses.clone()).collect();
        guard(&losses, force, hint(&losses))?;
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
        self.settle(now);
        Ok(applied)
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

/// What to do before a change that costs this.
fn hint(losses: &[Loss]) -> &'static str {
    let any = |which: fn(&Lost) -> bool| losses.iter().any(|loss| which(&loss.what));
    if any(|it| matches!(it, Lost::Port(_))) {
        "detach these guests or shut them down first, or use --force: they are cut off from their network"
    } else if any(|it| matches!(it, Lost::Lease(_) | Lost::Gateway(_))) {
        "if that is meant, use --force: guests get the new address and gateway when they renew their lease (`dhclient -r; \
         dhclient` in a guest does it at once); a guest with a fixed address has to be changed by hand"
    } else {
        "keep the published ports in the file, or use --force"
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
