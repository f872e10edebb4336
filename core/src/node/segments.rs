//! Segments as operators write them: `apply`, `segment delete`.

use rand::Rng;

use super::Node;
use super::calls::no_segment;
use super::effect::Refusal;
use super::member::Member;
use crate::cluster::gossip::Written;
use crate::config::{self, Segment};
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

/// One key that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Its path in the segment.
    pub key: String,
    /// What it was.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
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
                fields: fields(old, segment),
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

/// The keys that differ between two definitions, in the order of the canonical text.
fn fields(old: Option<&Segment>, new: &Segment) -> Vec<FieldChange> {
    let old = old.map(|old| lines(&old.to_yaml())).unwrap_or_default();
    let new = lines(&new.to_yaml());
    let value = |of: &[(String, String)], key: &str| of.iter().find(|(known, _)| known == key).map(|(_, v)| v.clone());
    let mut keys: Vec<&String> = new.iter().map(|(key, _)| key).collect();
    keys.extend(old.iter().map(|(key, _)| key).filter(|key| value(&new, key).is_none()));
    keys.into_iter()
        .map(|key| FieldChange {
            key: key.clone(),
            old: value(&old, key),
            new: value(&new, key),
        })
        .filter(|field| field.old != field.new)
        .collect()
}

/// The leaves of a canonical definition: path and value.
fn lines(yaml: &str) -> Vec<(String, String)> {
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    let mut leaves = Vec::new();
    for line in yaml.lines() {
        let body = line.trim_start();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let mut indent = line.len() - body.len();
        let mut body = body;
        path.retain(|(at, _)| *at < indent);
        while let Some(rest) = body.strip_prefix("- ") {
            let parent = joined(&path);
            let count = counts.entry(parent).or_insert(0);
            path.push((indent, format!("[{count}]")));
            *count += 1;
            indent += 2;
            body = rest;
        }
        match body.split_once(':') {
            Some((key, value)) if value.is_empty() || value.starts_with(' ') => {
                let (key, value) = (key.trim_matches('"'), value.trim());
                path.push((indent, key.to_owned()));
                if !value.is_empty() {
                    leaves.push((joined(&path), value.to_owned()));
                }
            }
            _ => leaves.push((joined(&path), body.to_owned())),
        }
    }
    // The file's own frame is no part of a segment.
    leaves
        .into_iter()
        .map(|(key, value)| {
            (
                key.strip_prefix("segments[0].").map(str::to_owned).unwrap_or(key),
                value,
            )
        })
        .collect()
}

fn joined(path: &[(usize, String)]) -> String {
    path.iter().fold(String::new(), |mut all, (_, part)| {
        if !all.is_empty() && !part.starts_with('[') {
            all.push('.');
        }
        all.push_str(part);
        all
    })
}
