//! Ports that show more MACs than guests have. Each MAC on a port is told to all hosts, and programmed there: one guest that
//! makes them up must not keep every agent busy. What is not told is reached all the same, by the kernels' own learning.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{IfName, Mac};

/// So many MACs of one port are told.
pub const MOST: usize = 1024;

/// MACs by port, by bridge.
pub type Heard = BTreeMap<IfName, BTreeMap<Mac, IfName>>;

/// The ports that have too many.
#[derive(Debug, Default)]
pub struct Crowds {
    /// By bridge and port: how many were heard there last.
    ports: BTreeMap<(IfName, IfName), usize>,
}

impl Crowds {
    /// Without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of the MACs that are told: of a crowded port the ones that are told already, then others.
    pub fn admit<'a>(&mut self, heard: &'a Heard, is_told: impl Fn(&IfName, Mac) -> bool) -> Cow<'a, Heard> {
        let mut counts: BTreeMap<(&IfName, &IfName), usize> = BTreeMap::new();
        for (bridge, macs) in heard {
            for port in macs.values() {
                *counts.entry((bridge, port)).or_default() += 1;
            }
        }
        counts.retain(|_, count| *count > MOST);
        self.ports.clear();
        if counts.is_empty() {
            return Cow::Borrowed(heard);
        }
        let mut admitted = heard.clone();
        for ((bridge, port), count) in counts {
            let Some(macs) = admitted.get_mut(bridge) else { continue };
            let here = macs.iter().filter(|(_, at)| *at == port).map(|(mac, _)| *mac);
            let (told, others): (BTreeSet<Mac>, BTreeSet<Mac>) = here.partition(|mac| is_told(bridge, *mac));
            let chosen: BTreeSet<Mac> = told.into_iter().chain(others).take(MOST).collect();
            macs.retain(|mac, at| at != port || chosen.contains(mac));
            self.ports.insert((bridge.clone(), port.clone()), count);
        }
        Cow::Owned(admitted)
    }

    /// The ports that have too many: bridge, port, and how many.
    pub fn ports(&self) -> impl Iterator<Item = (&IfName, &IfName, usize)> {
        self.ports.iter().map(|((bridge, port), count)| (bridge, port, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> IfName {
        IfName::new(name).expect("a name")
    }

    fn heard(from: usize, count: usize) -> Heard {
        let mut macs: BTreeMap<Mac, IfName> = (from..from + count)
            .map(|number| {
                let [.., a, b] = number.to_be_bytes();
                (Mac([2, 0, 0, 0, a, b]), link("tap1"))
            })
            .collect();
        macs.insert(Mac([2, 1, 0, 0, 0, 1]), link("tap2"));
        BTreeMap::from([(link("br-blue"), macs)])
    }

    fn on(heard: &Heard, port: &str) -> Vec<Mac> {
        let macs = heard.values().flatten();
        macs.filter(|(_, at)| at.as_str() == port)
            .map(|(mac, _)| *mac)
            .collect()
    }

    #[test]
    fn a_crowded_port_is_bounded_and_the_others_are_left_alone() {
        let mut crowds = Crowds::new();
        let none = |_: &IfName, _| false;
        let all = heard(0, MOST);
        assert_eq!(*crowds.admit(&all, none), all);
        assert_eq!(crowds.ports().count(), 0);
        let admitted = crowds.admit(&heard(0, 20_000), none).into_owned();
        assert_eq!((on(&admitted, "tap1").len(), on(&admitted, "tap2").len()), (MOST, 1));
        let (bridge, port, count) = crowds.ports().next().expect("it is crowded");
        assert_eq!((bridge.as_str(), port.as_str(), count), ("br-blue", "tap1", 20_000));
    }

    #[test]
    fn what_was_told_stays_told_whatever_comes_beside_it() {
        let mut crowds = Crowds::new();
        let told = on(&heard(5_000, 500), "tap1");
        let admitted = crowds
            .admit(&heard(0, 8_000), |_, mac| told.contains(&mac))
            .into_owned();
        let admitted = on(&admitted, "tap1");
        assert_eq!(admitted.len(), MOST);
        assert!(told.iter().all(|mac| admitted.contains(mac)));
    }
}
