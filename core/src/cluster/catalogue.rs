//! The segments as this version of the agent reads them from the records: which there are, and how they are found.
//!
//! A definition is read once. One that cannot be read leaves the generation before it in force here.

use std::collections::BTreeMap;

use super::gossip::{Content, Gossip, SegmentRecord};
use crate::config::{self, Segment};
use crate::id::{HostId, IfName, SegmentId, SegmentName};

/// A segment's definition in one of its generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Grows with each change.
    pub generation: u64,
    /// The host that introduced this generation.
    pub introducer: HostId,
    /// What leases, endpoints and the election know the segment by.
    pub id: SegmentId,
    /// The generation that began with this id.
    pub born: u64,
    /// What it says.
    pub segment: Segment,
}

/// A generation that this version of the agent cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The segment.
    pub name: SegmentName,
    /// Its generation.
    pub generation: u64,
}

/// The definitions in force, by name, id, bridge and VXLAN interface.
#[derive(Debug, Default)]
pub struct Catalogue {
    definitions: BTreeMap<SegmentName, Definition>,
    names: BTreeMap<SegmentId, SegmentName>,
    bridges: BTreeMap<IfName, SegmentId>,
    vxlans: BTreeMap<IfName, SegmentId>,
    /// Generation and introducer of what could not be read, so that it is tried and reported once.
    unreadable: BTreeMap<SegmentName, (u64, HostId)>,
}

impl Catalogue {
    /// Takes over what is new in the records; the generations that turned out to be unreadable.
    pub fn update(&mut self, gossip: &Gossip) -> Vec<Unreadable> {
        let records: BTreeMap<&SegmentName, (&SegmentRecord, &str)> = gossip
            .segments()
            .filter_map(|record| match &record.content {
                Content::Definition(text) => Some((&record.name, (record, text.as_str()))),
                Content::Tombstone { .. } => None,
            })
            .collect();
        self.definitions.retain(|name, _| records.contains_key(name));
        self.unreadable.retain(|name, _| records.contains_key(name));
        let mut unreadable = Vec::new();
        for (name, (record, text)) in records {
            let version = (record.generation, record.introducer);
            let known = self
                .definitions
                .get(name)
                .map(|known| (known.generation, known.introducer));
            if known == Some(version) || self.unreadable.get(name) == Some(&version) {
                continue;
            }
            match read(name, text) {
                Some(segment) => {
                    self.unreadable.remove(name);
                    let definition = Definition {
                        generation: record.generation,
                        introducer: record.introducer,
                        id: record.id,
                        born: record.born,
                        segment,
                    };
                    self.definitions.insert(name.clone(), definition);
                }
                None => {
                    self.unreadable.insert(name.clone(), version);
                    unreadable.push(Unreadable {
                        name: name.clone(),
                        generation: record.generation,
                    });
                }
            }
        }
        self.index();
        unreadable
    }

    fn index(&mut self) {
        let all = self.definitions.values();
        self.names = all
            .clone()
            .map(|known| (known.id, known.segment.name.clone()))
            .collect();
        self.bridges = all
            .clone()
            .map(|known| (known.segment.bridge.clone(), known.id))
            .collect();
        self.vxlans = all.map(|known| (known.segment.name.vxlan(), known.id)).collect();
    }

    /// All definitions, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.values()
    }

    /// The definition of this name.
    pub fn get(&self, name: &SegmentName) -> Option<&Definition> {
        self.definitions.get(name)
    }

    /// The name of the segment with this id.
    pub fn name(&self, id: SegmentId) -> Option<&SegmentName> {
        self.names.get(&id)
    }

    /// The segment whose bridge is called so.
    pub fn by_bridge(&self, bridge: &IfName) -> Option<SegmentId> {
        self.bridges.get(bridge).copied()
    }

    /// The segment whose VXLAN interface is called so.
    pub fn by_vxlan(&self, vxlan: &IfName) -> Option<SegmentId> {
        self.vxlans.get(vxlan).copied()
    }
}

/// A definition's text. `None`: it is of a newer version, or no definition of this name.
pub fn read(name: &SegmentName, text: &str) -> Option<Segment> {
    let mut segments = config::segments(text, &format!("segment {name}")).ok()?;
    let segment = segments.pop()?;
    (segments.is_empty() && segment.name == *name).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    const BLUE: &str = "segments:\n  - name: blue\n    vni: 100\n";

    fn blue() -> SegmentName {
        SegmentName::new("blue").expect("a name")
    }

    fn gossip_with(text: &str) -> Gossip {
        let mut gossip = Gossip::new(HostId(1), 1, Vec::new(), Instant::from_millis(0));
        gossip.apply(&blue(), text.to_owned(), SegmentId(7), Instant::from_millis(0));
        gossip
    }

    #[test]
    fn a_segment_is_found_by_each_of_its_names_and_by_none_once_it_is_deleted() {
        let mut gossip = gossip_with(BLUE);
        let mut catalogue = Catalogue::default();
        assert_eq!(catalogue.update(&gossip), []);
        let known = catalogue.get(&blue()).expect("it was read");
        assert_eq!(
            (known.generation, known.introducer, known.id),
            (1, HostId(1), SegmentId(7))
        );
        let bridge = known.segment.bridge.clone();
        assert_eq!(catalogue.name(SegmentId(7)), Some(&blue()));
        assert_eq!(catalogue.by_bridge(&bridge), Some(SegmentId(7)));
        assert_eq!(catalogue.by_vxlan(&blue().vxlan()), Some(SegmentId(7)));

        gossip.delete(&blue(), Instant::from_millis(1));
        assert_eq!(catalogue.update(&gossip), []);
        assert_eq!(catalogue.get(&blue()), None);
        assert_eq!(catalogue.by_bridge(&bridge), None);
    }

    #[test]
    fn what_cannot_be_read_is_reported_once_and_leaves_the_generation_before_it_in_force() {
        let mut gossip = gossip_with(BLUE);
        let mut catalogue = Catalogue::default();
        catalogue.update(&gossip);
        gossip.apply(
            &blue(),
            format!("{BLUE}    from_the_future: 1\n"),
            SegmentId(8),
            Instant::from_millis(1),
        );
        let unreadable = Unreadable {
            name: blue(),
            generation: 2,
        };
        assert_eq!(catalogue.update(&gossip), [unreadable]);
        assert_eq!(catalogue.update(&gossip), []);
        assert_eq!(catalogue.get(&blue()).map(|known| known.generation), Some(1));

        gossip.apply(&blue(), BLUE.to_owned(), SegmentId(9), Instant::from_millis(2));
        assert_eq!(catalogue.update(&gossip), []);
        assert_eq!(catalogue.get(&blue()).map(|known| known.generation), Some(3));
    }
}
