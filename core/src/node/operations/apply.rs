//! `apply` and `segment delete`: segments as operators write them.

use rand::Rng;

use crate::cluster::catalogue::Definition;
use crate::cluster::gossip::{Presence, Written};
use crate::config::{self, FieldChange, Segment};
use crate::id::{IfName, SegmentId, SegmentName};
use crate::node::Node;
use crate::node::effect::{Force, Refusal};
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
    /// One cannot stand beside those that the cluster has, or guests are in the way; nothing was changed.
    pub fn apply(
        &mut self,
        segments: &[Segment],
        run: Run,
        force: Force,
        now: Instant,
    ) -> Result<Vec<Applied>, Refusal> {
        let applied = self.member()?.changes(segments, force)?;
        if run == Run::Real {
            for segment in segments {
                let fresh = SegmentId(self.rng.next_u64());
                let Some(member) = &mut self.formed else { break };
                let above = member.forgotten_generation(&segment.name);
                member
                    .gossip
                    .apply_above(above, &segment.name, segment.to_yaml(), fresh, now);
                // What an operator was told to be done is not to be lost in a crash.
                member.gossip.save_now(now);
                member.touch_now(now);
            }
            self.settle(now);
        }
        Ok(applied)
    }

    /// Deletes a segment; the guest ports on this host that keep its bridge for now.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn delete_segment(&mut self, name: &SegmentName, now: Instant) -> Result<Vec<IfName>, Refusal> {
        let member = self.member()?;
        let bridge = member.catalogue.get(name).map(|known| known.segment.bridge.clone());
        if bridge.is_none() || member.gossip.delete(name, now) == Written::Refused {
            return Err(Refusal::no_segment(name));
        }
        member.touch_now(now);
        self.settle(now);
        Ok(bridge
            .and_then(|bridge| self.ports.get(&bridge))
            .cloned()
            .unwrap_or_default())
    }
}

impl Member {
    /// What would become of each segment.
    fn changes(&self, segments: &[Segment], force: Force) -> Result<Vec<Applied>, Refusal> {
        let named = |known: &&Segment| segments.iter().any(|segment| segment.name == known.name);
        let known = self.catalogue.iter().map(|known| &known.segment);
        let together: Vec<&Segment> = known.filter(|known| !named(known)).chain(segments).collect();
        let clashes = config::check_together(&together);
        if let Some(first) = clashes.first() {
            let all = clashes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(Refusal::new(all).hint(first.what.hint()));
        }
        segments.iter().map(|segment| self.change(segment, force)).collect()
    }

    fn change(&self, segment: &Segment, force: Force) -> Result<Applied, Refusal> {
        let old = self.catalogue.get(&segment.name);
        let record = self.gossip.segment(&segment.name);
        let generation = record.map_or(0, |record| record.generation);
        let forgotten = self.forgotten_generation(&segment.name);
        let change = match old {
            None => Change::Added,
            Some(old) if old.segment == *segment && forgotten == 0 => Change::Unchanged,
            Some(_) => Change::Changed,
        };
        if let Some(old) = old
            && force == Force::No
        {
            self.refuse_uprooting(old, segment)?;
        }
        Ok(Applied {
            name: segment.name.clone(),
            change,
            generation: match change {
                Change::Unchanged => generation,
                Change::Added | Change::Changed => generation.max(forgotten) + 1,
            },
            fields: config::difference(old.map(|old| &old.segment), segment),
        })
    }

    /// VNI, bridge and subnet of a segment with guests change only by force.
    fn refuse_uprooting(&self, old: &Definition, new: &Segment) -> Result<(), Refusal> {
        let subnet = |segment: &Segment| segment.ipv4.as_ref().map(|ipv4| ipv4.subnet);
        let id = old.id;
        let old = &old.segment;
        let changed = [
            ("vni", old.vni != new.vni),
            ("bridge", old.bridge != new.bridge),
            ("ipv4.subnet", subnet(old) != subnet(new)),
        ];
        let keys: Vec<&str> = changed.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect();
        let endpoints = self.gossip.endpoints_in(id);
        let guests = endpoints.filter(|endpoint| endpoint.presence == Presence::Here).count();
        if keys.is_empty() || guests == 0 {
            return Ok(());
        }
        let keys = keys.join(", ");
        Err(Refusal::new(format!(
            "segment {}: {keys} cannot change while {guests} guests are attached",
            old.name
        ))
        .hint("detach them, or use --force: they lose their connection until they are attached again"))
    }

    /// The newest generation of a segment that the leases knew, if it was lost since; else 0.
    pub(in crate::node) fn forgotten_generation(&self, name: &SegmentName) -> u64 {
        let Some(known) = self.catalogue.get(name) else {
            return 0;
        };
        let newest = self.leases.newest_generation(known.id);
        if newest > known.generation { newest } else { 0 }
    }
}
