//! Forwarding entries: flood lists and MACs, by difference.
//!
//! Entries are compared and changed as exact (MAC, destination) pairs: the kernel refuses to replace the all-zero MAC,
//! and a delete without destination would empty the whole flood list.

use super::contents::{Obstacle, Plan};
use super::links::Links;
use super::op::Op;
use crate::id::IfName;
use crate::kernel::desired::{Desired, Entries};
use crate::kernel::device::LinkKind;
use crate::kernel::mark::GATEWAY_MAC;
use crate::kernel::observed::{Fdb, FdbOrigin, Observed, Remote};

pub(super) fn compare(desired: &Desired, observed: &Observed, links: &Links<'_>, plan: &mut Plan) {
    let none = Fdb::default();
    let nothing = Entries::default();
    for (name, link) in &desired.links {
        if links.is_blocked(name) {
            continue;
        }
        let found = links
            .stays(name)
            .then(|| observed.fdb.get(name))
            .flatten()
            .unwrap_or(&none);
        let wanted = desired.fdb.get(name).unwrap_or(&nothing);
        match &link.kind {
            LinkKind::Vxlan(_) => {
                flood(name, wanted, found, links, plan);
                // A port that moves to another bridge leaves its entries in the old one.
                let attached = observed
                    .links
                    .get(name)
                    .is_some_and(|found| found.master == link.master)
                    && link.master.as_ref().is_some_and(|master| links.stays(master));
                remote(name, wanted, found, attached, plan);
            }
            LinkKind::Bridge(_) => local(name, wanted, found, plan),
            LinkKind::Macvlan(_) | LinkKind::Other => {}
        }
    }
    for (name, found) in &observed.fdb {
        let kept = !desired.links.contains_key(name) && links.stays(name) && links.is_ours(name);
        if kept {
            local(name, &nothing, found, plan);
        }
    }
}

fn flood(link: &IfName, wanted: &Entries, found: &Fdb, links: &Links<'_>, plan: &mut Plan) {
    for flood in found.flood.difference(&wanted.flood) {
        plan.ops.push(Op::RemoveFlood {
            link: link.clone(),
            flood: flood.clone(),
        });
    }
    for flood in wanted.flood.difference(&found.flood) {
        match &flood.via {
            Some(via) if !links.will_be(via) => plan.obstacles.push(Obstacle::Missing { link: via.clone() }),
            Some(_) | None => plan.ops.push(Op::AppendFlood {
                link: link.clone(),
                flood: flood.clone(),
            }),
        }
    }
}

fn remote(link: &IfName, wanted: &Entries, found: &Fdb, attached: bool, plan: &mut Plan) {
    let by_group = wanted.flood.iter().any(|flood| flood.via.is_some());
    let flooded = |vtep| by_group || wanted.flood.iter().any(|flood| flood.to == vtep);
    let stays = wanted
        .unsettled
        .filter(|mac| found.remote.get(mac).is_some_and(|remote| flooded(remote.vtep)));
    let unwanted = |mac| !wanted.remote.contains_key(&mac) && stays != Some(mac);
    for (&mac, &Remote { vtep, origin }) in &found.remote {
        let stale = match origin {
            FdbOrigin::External | FdbOrigin::Static | FdbOrigin::Permanent => unwanted(mac),
            // What the kernel learnt is its own, until the host it points to is gone from the flood list.
            FdbOrigin::Learned => unwanted(mac) && !flooded(vtep),
        };
        if stale {
            plan.ops.push(Op::RemoveRemote {
                link: link.clone(),
                mac,
                vtep,
            });
        }
    }
    if attached {
        for (&mac, &origin) in &found.bridge {
            let ours = matches!(origin, FdbOrigin::External | FdbOrigin::Static);
            if ours && unwanted(mac) {
                plan.ops.push(Op::RemoveBehind {
                    link: link.clone(),
                    mac,
                });
            }
        }
    }
    for (&mac, &vtep) in &wanted.remote {
        let there = found.remote.get(&mac)
            == Some(&Remote {
                vtep,
                origin: FdbOrigin::External,
            });
        let behind = attached && found.bridge.get(&mac) == Some(&FdbOrigin::External);
        if !(there && behind) {
            plan.ops.push(Op::ReplaceRemote {
                link: link.clone(),
                mac,
                vtep,
            });
        }
    }
}

fn local(link: &IfName, wanted: &Entries, found: &Fdb, plan: &mut Plan) {
    for (&mac, &origin) in &found.bridge {
        // The bridge's own MACs are permanent, too; only a gateway's are ours.
        if mac.0[0] == GATEWAY_MAC && origin == FdbOrigin::Permanent && !wanted.local.contains(&mac) {
            plan.ops.push(Op::RemoveLocal {
                link: link.clone(),
                mac,
            });
        }
    }
    for &mac in &wanted.local {
        if found.bridge.get(&mac) != Some(&FdbOrigin::Permanent) {
            plan.ops.push(Op::AddLocal {
                link: link.clone(),
                mac,
            });
        }
    }
}
