//! Segments as operators write them: `apply`, `segment delete`.

use rand::Rng;

use super::Node;
use super::calls::no_segment;
use super::effect::Refusal;
use super::member::Member;
use crate::cluster::gossip::Written;
use crate::config::{self, FieldChange, Segment};
use crate::id::{IfName, SegmentId, SegmentName};
use crate::time::Instant;

/// What `apply` makes of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Which.
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
    /// It says what it said.
    Unchanged,
}

/// Whether a call changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It only tells.
    Dry,
    /// It does.
    Real,
}

/// Whether guests in the way count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    /// They do.
    Heed,
    /// The operator has taken their fate upon himself.
    Override,
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
        guests: Guests,
        now: Instant,
    ) -> Result<Vec<Applied>, Refusal> {
        let formed = self.formed()?;
        let names: Vec<&SegmentName> = segments.iter().map(|segment| &segment.name).collect();
        let others = formed
            .catalogue
            .iter()
            .map(|known| &known.segment)
            .filter(|known| !names.contains(&&known.name));
        let together: Vec<&Segment> = others.chain(segments).collect();
        let clashes = config::check_together(&together);
        if let Some(first) = clashes.first() {
            let all = clashes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(Refusal::new(all).hint(first.what.hint()));
        }
        let mut applied = Vec::new();
        for segment in segments {
            let known = formed.catalogue.get(&segment.name);
            let generation = formed.gossip.segment(&segment.name).map_or(0, |known| known.generation);
            let forgotten = formed.forgotten_generation(&segment.name);
            let old = known.map(|known| &known.segment);
            let change = match old {
                None => Change::Added,
                Some(old) if old == segment && forgotten == 0 => Change::Unchanged,
                Some(old) => {
                    if guests == Guests::Heed {
                        refuse_uprooting(old, segment, formed, known.map(|known| known.id))?;
                    }
                    Change::Changed
                }
            };
            applied.push(Applied {
                name: segment.name.clone(),
                change,
                generation: if change == Change::Unchanged {
                    generation
                } else {
                    generation.max(forgotten) + 1
                },
                fields: config::difference(old, segment),
            });
        }
        if run == Run::Real {
            for segment in segments {
                let fresh = SegmentId(self.rng.next_u64());
                let Some(formed) = &mut self.formed else { break };
                let above = formed.forgotten_generation(&segment.name);
                formed
                    .gossip
                    .apply_above(above, &segment.name, segment.to_yaml(), fresh, now);
                // What an operator was told to be done is not to be lost in a crash.
                formed.save_now(now);
                formed.touch_now(now);
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
        let formed = self.formed()?;
        let bridge = formed.catalogue.get(name).map(|known| known.segment.bridge.clone());
        if bridge.is_none() || formed.gossip.delete(name, now) == Written::Refused {
            return Err(no_segment(name));
        }
        formed.touch_now(now);
        self.settle(now);
        Ok(bridge
            .and_then(|bridge| self.ports.get(&bridge))
            .cloned()
            .unwrap_or_default())
    }
}

impl Member {
    /// The newest generation of a segment that the leases knew, if it was lost since; else 0.
    pub(super) fn forgotten_generation(&self, name: &SegmentName) -> u64 {
        let Some(known) = self.catalogue.get(name) else {
            return 0;
        };
        let newest = self.leases.newest_generation(known.id);
        if newest > known.generation { newest } else { 0 }
    }
}

/// VNI, bridge and subnet of a segment with guests change only by force.
fn refuse_uprooting(old: &Segment, new: &Segment, formed: &Member, id: Option<SegmentId>) -> Result<(), Refusal> {
    let subnet = |segment: &Segment| segment.ipv4.as_ref().map(|ipv4| ipv4.subnet);
    let mut keys = Vec::new();
    if old.vni != new.vni {
        keys.push("vni");
    }
    if old.bridge != new.bridge {
        keys.push("bridge");
    }
    if subnet(old) != subnet(new) {
        keys.push("ipv4.subnet");
    }
    let guests = formed
        .gossip
        .endpoints()
        .filter(|endpoint| Some(endpoint.segment) == id && endpoint.presence == crate::cluster::gossip::Presence::Here)
        .count();
    if keys.is_empty() || guests == 0 {
        return Ok(());
    }
    Err(Refusal::new(format!(
        "segment {}: {} cannot change while {guests} guests are attached",
        old.name,
        keys.join(", ")
    ))
    .hint("detach them, or use --force: they lose their connection until they are attached anew"))
}
