//! Guest ports that left a bridge of ours because somebody deleted it: for a while they are plugged in again, then named.
//!
//! They are known by the kernel's number, because a name may be another interface's by then. This is one of the few things
//! that are remembered about the kernel, and the second exception to leaving foreign interfaces alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::IfName;
use crate::kernel::observed::Observed;
use crate::time::{Duration, Instant};

/// They are plugged in again within this, and left to the operator then.
const PLUG_WITHIN: Duration = Duration::from_secs(10);

/// The guest ports that were seen last, and those whose bridge is gone.
#[derive(Debug, Default)]
pub struct Orphans {
    /// By bridge: its guest ports.
    known: BTreeMap<IfName, (u32, BTreeSet<u32>)>,
    /// By port: the bridge that it was on, and until when it is plugged in again.
    left: BTreeMap<u32, (IfName, Instant)>,
}

/// Ports on no bridge, each with the one that it was on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// To be plugged in again.
    pub plug: BTreeMap<IfName, IfName>,
    /// To be named.
    pub name: BTreeMap<IfName, IfName>,
}

impl Orphans {
    /// Compares with what was seen before. A port that went while its bridge stayed was taken out by somebody; one that is
    /// on another bridge by now, or gone, is forgotten.
    pub fn look(&mut self, seen: &Observed, now: Instant) -> Found {
        let index = |link: &IfName| seen.indexes.get(link).copied();
        let there = seen.guest_ports().into_iter().filter_map(|(bridge, ports)| {
            let ports = ports.iter().filter_map(index).collect();
            Some((bridge.clone(), (index(&bridge)?, ports)))
        });
        let before = std::mem::replace(&mut self.known, there.collect());
        let named: BTreeMap<u32, &IfName> = seen.indexes.iter().map(|(name, index)| (*index, name)).collect();
        for (bridge, (at, ports)) in before {
            if !named.contains_key(&at) {
                let until = now + PLUG_WITHIN;
                self.left
                    .extend(ports.into_iter().map(|port| (port, (bridge.clone(), until))));
            }
        }
        let mut found = Found::default();
        self.left.retain(|port, (bridge, until)| {
            let name = named.get(port).copied();
            let Some(name) = name.filter(|name| seen.links.get(name).is_some_and(|link| link.master.is_none())) else {
                return false;
            };
            let ports = if now < *until { &mut found.plug } else { &mut found.name };
            ports.insert(name.clone(), bridge.clone());
            true
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Mac;
    use crate::kernel::device::{AddrGen, Admin, Bridge, LinkKind, Switch};
    use crate::kernel::observed::Link;

    fn link(name: &str) -> IfName {
        IfName::new(name).unwrap_or_else(|_| panic!("{name} is a name"))
    }

    /// A host with these links: name, number, and the bridge that it is on. Bridges are ours.
    fn host(links: &[(&str, u32, &str)]) -> Observed {
        let mut host = Observed::default();
        for (name, index, master) in links {
            let bridge = Bridge {
                stp: Switch::Off,
                forward_delay: 200,
                multicast_snooping: Switch::Off,
            };
            let (kind, alias) = if name.starts_with("br-") {
                (LinkKind::Bridge(bridge), "overlayd:blue".to_owned())
            } else {
                (LinkKind::Other, String::new())
            };
            let found = Link {
                kind,
                mac: Mac::ZERO,
                mtu: 1500,
                admin: Admin::Up,
                master: (!master.is_empty()).then(|| link(master)),
                alias,
                addr_gen: AddrGen::None,
            };
            host.links.insert(link(name), found);
            host.indexes.insert(link(name), *index);
        }
        host
    }

    fn ports(of: &[(&str, &str)]) -> BTreeMap<IfName, IfName> {
        of.iter().map(|(port, bridge)| (link(port), link(bridge))).collect()
    }

    #[test]
    fn ports_of_a_bridge_that_is_gone_are_plugged_in_again_for_ten_seconds_and_named_then() {
        let at = Instant::from_millis;
        let mut orphans = Orphans::default();
        let red = [("br-red", 2, ""), ("vnet4", 14, "br-red")];
        let all = [
            ("br-blue", 1, ""),
            ("vnet1", 11, "br-blue"),
            ("vnet2", 12, "br-blue"),
            ("vnet3", 13, "br-blue"),
        ];
        orphans.look(&host(&[&all[..], &red].concat()), at(0));
        // One that left before the deletion stays where it is.
        let taken_out = [&all[..3], &[("vnet3", 13, "")], &red].concat();
        assert_eq!(orphans.look(&host(&taken_out), at(1)), Found::default());
        let free = [("vnet1", 11, ""), ("vnet2", 12, ""), ("vnet3", 13, "")];
        let found = orphans.look(&host(&[&free[..], &red].concat()), at(1_000));
        assert_eq!(found.plug, ports(&[("vnet1", "br-blue"), ("vnet2", "br-blue")]));
        // Back on the new bridge it is forgotten, whatever becomes of it.
        let one_back = [&[("br-blue", 3, ""), ("vnet1", 11, "br-blue")], &free[1..], &red].concat();
        let found = orphans.look(&host(&one_back), at(10_999));
        assert_eq!(found.plug, ports(&[("vnet2", "br-blue")]));
        let out_again = [&[("br-blue", 3, "")], &free[..], &red].concat();
        let found = orphans.look(&host(&out_again), at(11_000));
        assert_eq!((found.plug, found.name), (ports(&[]), ports(&[("vnet2", "br-blue")])));
        // Another interface of that name is not the port.
        let another = [&[("br-blue", 3, ""), ("vnet2", 22, "")], &red[..]].concat();
        assert_eq!(orphans.look(&host(&another), at(11_001)), Found::default());
        assert_eq!(orphans.look(&host(&out_again), at(11_002)), Found::default());
    }

    #[test]
    fn a_bridge_that_somebody_else_made_at_once_is_another_one_and_a_renamed_one_is_not() {
        let at = Instant::from_millis;
        let mut orphans = Orphans::default();
        let before = host(&[("br-blue", 1, ""), ("vnet1", 11, "br-blue")]);
        orphans.look(&before, at(0));
        let renamed = host(&[("br-x", 1, ""), ("vnet1", 11, "br-x")]);
        assert_eq!(orphans.look(&renamed, at(1)), Found::default());
        orphans.look(&before, at(2));
        let found = orphans.look(&host(&[("br-blue", 3, ""), ("vnet1", 11, "")]), at(3));
        assert_eq!(found.plug, ports(&[("vnet1", "br-blue")]));
    }
}
