//! Links: which are ours, which are in the way, which must be made, changed or removed.

use super::contents::{Obstacle, Plan};
use super::op::Op;
use crate::id::IfName;
use crate::kernel::desired::{Desired, DesiredLink};
use crate::kernel::device::{AddrGen, Admin, LinkKind, Vxlan};
use crate::kernel::observed::{Link, Observed};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What becomes of each link.
pub(super) struct Links<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    /// Wanted, but something foreign is in the way.
    blocked: BTreeSet<&'a IfName>,
    /// Removed, for good or to be made again.
    gone: BTreeSet<&'a IfName>,
    /// Made in this plan.
    made: BTreeSet<&'a IfName>,
}

impl<'a> Links<'a> {
    pub(super) fn compare(desired: &'a Desired, observed: &'a Observed, plan: &mut Plan) -> Self {
        let mut links = Self {
            desired,
            observed,
            blocked: BTreeSet::new(),
            gone: BTreeSet::new(),
            made: BTreeSet::new(),
        };
        links.block_foreign(plan);
        links.remove_unwanted(plan);
        links.remove_unfit();
        links.block_taken_vnis(plan);
        links.delete(plan);
        let mut wanted: Vec<(&IfName, &DesiredLink)> = desired.links.iter().collect();
        wanted.sort_by_key(|(_, link)| height(&link.kind));
        for (name, link) in wanted {
            links.bring(name, link, plan);
        }
        links.raise_guest_ports(plan);
        links.plug_orphans(plan);
        links
    }

    /// Wanted, but something foreign has its name or the name of what it needs.
    pub(super) fn is_blocked(&self, link: &IfName) -> bool {
        self.blocked.contains(link)
    }

    /// There now, and removed by this plan (perhaps to be made again).
    pub(super) fn goes(&self, link: &IfName) -> bool {
        self.gone.contains(link)
    }

    /// There now, and not removed.
    pub(super) fn stays(&self, link: &IfName) -> bool {
        self.observed.links.contains_key(link) && !self.goes(link)
    }

    /// Made by this plan.
    pub(super) fn is_made(&self, link: &IfName) -> bool {
        self.made.contains(link)
    }

    /// There when the plan is done.
    pub(super) fn will_be(&self, link: &IfName) -> bool {
        self.is_made(link) || self.stays(link)
    }

    /// There now, and ours.
    pub(super) fn is_ours(&self, name: &IfName) -> bool {
        self.observed
            .links
            .get(name)
            .is_some_and(|found| self.owns(name, found))
    }

    /// There now, ours, and a gateway's link.
    pub(super) fn is_gateway(&self, name: &IfName) -> bool {
        self.is_ours(name)
            && self
                .observed
                .links
                .get(name)
                .is_some_and(|link| matches!(link.kind, LinkKind::Macvlan(_)))
    }

    /// Whether one of our VXLAN devices sends to `group` with the NIC `via`.
    pub(super) fn floods_to(&self, group: IpAddr, via: &IfName) -> bool {
        let ours = self.observed.fdb.iter().filter(|(name, _)| self.is_ours(name));
        ours.flat_map(|(_, fdb)| &fdb.flood)
            .any(|flood| flood.to == group && flood.via.as_ref() == Some(via))
    }

    /// The mark makes a link ours. One that this program made but had no time to mark is known by its hashed MAC.
    fn owns(&self, name: &IfName, found: &Link) -> bool {
        found.is_ours(name)
            || self.desired.links.get(name).is_some_and(|wanted| {
                found.alias.is_empty() && found.mac == wanted.mac && same_kind(&found.kind, &wanted.kind)
            })
    }

    fn block_foreign(&mut self, plan: &mut Plan) {
        for name in self.desired.links.keys() {
            if self
                .observed
                .links
                .get(name)
                .is_some_and(|found| !self.owns(name, found))
            {
                self.blocked.insert(name);
                plan.obstacles.push(Obstacle::Foreign { link: name.clone() });
            }
        }
        // What needs a blocked link is blocked with it; nothing is needed at second hand.
        let needy = self
            .desired
            .links
            .iter()
            .filter(|(_, link)| needs(link).is_some_and(|it| self.is_blocked(it)));
        let needy: Vec<&IfName> = needy.map(|(name, _)| name).collect();
        self.blocked.extend(needy);
    }

    fn remove_unwanted(&mut self, plan: &mut Plan) {
        for (name, found) in &self.observed.links {
            if self.desired.links.contains_key(name) || !found.is_ours(name) {
                continue;
            }
            if matches!(found.kind, LinkKind::Bridge(_)) {
                let users = self.guest_ports(name).chain(self.above(name));
                let ports: Vec<IfName> = users.map(|(port, _)| port.clone()).collect();
                if !ports.is_empty() {
                    plan.obstacles.push(Obstacle::Occupied {
                        bridge: name.clone(),
                        ports,
                    });
                    continue;
                }
            }
            self.gone.insert(name);
        }
    }

    fn remove_unfit(&mut self) {
        for (name, wanted) in &self.desired.links {
            if self.is_blocked(name) {
                continue;
            }
            let Some(found) = self.observed.links.get(name) else {
                continue;
            };
            if !fits(found, wanted) {
                self.gone.insert(name);
            }
        }
        // The kernel removes a macvlan with the device below it.
        for (name, found) in &self.observed.links {
            if let LinkKind::Macvlan(macvlan) = &found.kind
                && self.goes(&macvlan.lower)
                && self.owns(name, found)
            {
                self.gone.insert(name);
            }
        }
    }

    fn block_taken_vnis(&mut self, plan: &mut Plan) {
        for (name, wanted) in &self.desired.links {
            let LinkKind::Vxlan(vxlan) = &wanted.kind else { continue };
            let Some(vni) = vxlan.vni else { continue };
            if self.is_blocked(name) || self.stays(name) {
                continue;
            }
            let taken = self.observed.links.iter().find(|(other, link)| {
                let same = matches!(&link.kind, LinkKind::Vxlan(it) if it.vni == Some(vni) && it.port == vxlan.port);
                same && !self.goes(other)
            });
            if let Some((other, _)) = taken {
                self.blocked.insert(name);
                plan.obstacles.push(Obstacle::SameVni {
                    link: name.clone(),
                    other: other.clone(),
                    vni,
                });
            }
        }
    }

    fn delete(&self, plan: &mut Plan) {
        let height = |name: &IfName| self.observed.links.get(name).map(|link| height(&link.kind));
        let mut gone: Vec<&IfName> = self.gone.iter().copied().collect();
        gone.sort_by_key(|name| Reverse(height(name)));
        plan.ops
            .extend(gone.into_iter().map(|link| Op::DeleteLink { link: link.clone() }));
    }

    fn bring(&mut self, name: &'a IfName, wanted: &DesiredLink, plan: &mut Plan) {
        if self.is_blocked(name) {
            return;
        }
        let fresh;
        let found = match self.observed.links.get(name) {
            Some(found) if !self.goes(name) => found,
            Some(_) | None => {
                self.made.insert(name);
                plan.ops.extend(add(name, wanted));
                fresh = as_made(wanted);
                &fresh
            }
        };
        let link = || name.clone();
        if found.alias != wanted.alias {
            plan.ops.push(Op::SetAlias {
                link: link(),
                alias: wanted.alias.clone(),
            });
        }
        if found.mac != wanted.mac {
            plan.ops.push(Op::SetMac {
                link: link(),
                mac: wanted.mac,
            });
        }
        if found.kind != wanted.kind {
            plan.ops.extend(reconfigure(name, &wanted.kind));
        }
        if found.addr_gen != AddrGen::None {
            plan.ops.push(Op::DisableAddrGen { link: link() });
        }
        if let Some(master) = &wanted.master
            && (found.master.as_ref() != Some(master) || self.goes(master))
        {
            plan.ops.push(Op::SetMaster {
                link: link(),
                master: master.clone(),
            });
        }
        if let Some(mtu) = wanted.mtu
            && (found.mtu != mtu || self.is_made(name))
        {
            plan.ops.push(Op::SetMtu { link: link(), mtu });
        }
        match (found.admin, wanted.admin) {
            (Admin::Down, Admin::Up) => plan.ops.push(Op::SetUp { link: link() }),
            (Admin::Up, Admin::Down) => plan.ops.push(Op::SetDown { link: link() }),
            (Admin::Up, Admin::Up) | (Admin::Down, Admin::Down) => {}
        }
    }

    /// A smaller port would lose the large frames of its guest's peers in silence.
    fn raise_guest_ports(&self, plan: &mut Plan) {
        for (bridge, wanted) in &self.desired.links {
            let (LinkKind::Bridge(_), Some(mtu)) = (&wanted.kind, wanted.mtu) else {
                continue;
            };
            if self.is_blocked(bridge) || !self.stays(bridge) {
                continue;
            }
            let small = self.guest_ports(bridge).filter(|(_, port)| port.mtu < mtu);
            plan.ops.extend(small.map(|(port, _)| Op::SetMtu {
                link: port.clone(),
                mtu,
            }));
        }
    }

    fn plug_orphans(&self, plan: &mut Plan) {
        for (port, bridge) in &self.desired.orphans {
            let free = self.observed.links.get(port).is_some_and(|port| port.master.is_none());
            let wanted = self.desired.links.contains_key(bridge) && !self.is_blocked(bridge);
            if free && wanted && self.will_be(bridge) {
                plan.ops.push(Op::SetMaster {
                    link: port.clone(),
                    master: bridge.clone(),
                });
            }
        }
    }

    /// The ports of a bridge that are not our own VXLAN device.
    fn guest_ports(&self, bridge: &'a IfName) -> impl Iterator<Item = (&'a IfName, &'a Link)> {
        self.observed
            .ports(bridge)
            .filter(|(name, port)| !self.owns(name, port))
    }

    /// Foreign links that would go with the bridge: the kernel deletes a macvlan with the device below it.
    fn above(&self, bridge: &'a IfName) -> impl Iterator<Item = (&'a IfName, &'a Link)> {
        self.observed.links.iter().filter(move |(name, link)| {
            matches!(&link.kind, LinkKind::Macvlan(it) if it.lower == *bridge) && !self.owns(name, link)
        })
    }
}

/// How far above the wire a link is: what another sits on or is a port of is made before it and removed after it.
const fn height(kind: &LinkKind) -> u8 {
    match kind {
        LinkKind::Bridge(_) | LinkKind::Other => 0,
        LinkKind::Vxlan(_) => 1,
        LinkKind::Macvlan(_) => 2,
    }
}

/// The link that must be there first.
fn needs(link: &DesiredLink) -> Option<&IfName> {
    match &link.kind {
        LinkKind::Macvlan(macvlan) => Some(&macvlan.lower),
        LinkKind::Vxlan(_) | LinkKind::Bridge(_) | LinkKind::Other => link.master.as_ref(),
    }
}

const fn same_kind(one: &LinkKind, other: &LinkKind) -> bool {
    matches!(
        (one, other),
        (LinkKind::Bridge(_), LinkKind::Bridge(_))
            | (LinkKind::Vxlan(_), LinkKind::Vxlan(_))
            | (LinkKind::Macvlan(_), LinkKind::Macvlan(_))
    )
}

/// Whether changing the link is enough; if not, it is deleted and made again.
fn fits(found: &Link, wanted: &DesiredLink) -> bool {
    match (&found.kind, &wanted.kind) {
        (LinkKind::Bridge(_), LinkKind::Bridge(_)) => true,
        // The kernel changes neither VNI nor port nor address family, and what is bound to a device stays small.
        (LinkKind::Vxlan(found), LinkKind::Vxlan(wanted)) => {
            found.vni == wanted.vni
                && found.port == wanted.port
                && found.lower == wanted.lower
                && found.group == wanted.group
                && found
                    .local
                    .is_some_and(|it| wanted.local.is_some_and(|want| want.is_ipv4() == it.is_ipv4()))
        }
        (LinkKind::Macvlan(found), LinkKind::Macvlan(wanted)) => found == wanted,
        (LinkKind::Bridge(_) | LinkKind::Vxlan(_) | LinkKind::Macvlan(_) | LinkKind::Other, _) => false,
    }
}

/// Nothing but bridges, VXLANs and macvlans is ever wanted.
fn add(name: &IfName, wanted: &DesiredLink) -> Option<Op> {
    let (link, mac) = (name.clone(), wanted.mac);
    match &wanted.kind {
        LinkKind::Vxlan(vxlan) => Some(Op::AddVxlan {
            link,
            mac,
            vxlan: vxlan.clone(),
        }),
        LinkKind::Macvlan(macvlan) => Some(Op::AddMacvlan {
            link,
            mac,
            macvlan: macvlan.clone(),
        }),
        LinkKind::Bridge(bridge) => Some(Op::AddBridge {
            link,
            mac,
            bridge: *bridge,
        }),
        LinkKind::Other => None,
    }
}

/// The link as the kernel makes it from [`add`].
pub(super) fn as_made(wanted: &DesiredLink) -> Link {
    Link {
        kind: wanted.kind.clone(),
        mac: wanted.mac,
        mtu: 1500,
        admin: Admin::Down,
        master: None,
        alias: String::new(),
        addr_gen: AddrGen::Some,
    }
}

fn reconfigure(name: &IfName, wanted: &LinkKind) -> Option<Op> {
    match wanted {
        LinkKind::Bridge(bridge) => Some(Op::SetBridge {
            link: name.clone(),
            bridge: *bridge,
        }),
        LinkKind::Vxlan(Vxlan {
            local: Some(local),
            df,
            learning,
            ..
        }) => Some(Op::SetVxlan {
            link: name.clone(),
            local: *local,
            df: *df,
            learning: *learning,
        }),
        LinkKind::Vxlan(_) | LinkKind::Macvlan(_) | LinkKind::Other => None,
    }
}
