//! What the kernel makes of an op: the fake kernel of simulations and property tests.

use super::links;
use super::op::Op;
use crate::id::{IfName, Mac};
use crate::kernel::desired::DesiredLink;
use crate::kernel::device::{AddrGen, Admin, LinkKind};
use crate::kernel::observed::{Address, FdbOrigin, Lifetime, Link, Mark, MulticastGroup, Observed, Remote};
use crate::kernel::sysctl::Sysctl;
use crate::kernel::table::Seal;

/// Changes `host` as the kernel would; an op that the kernel refuses, as for a link that is not there, does nothing.
pub fn apply_model(host: &mut Observed, op: &Op) {
    match op {
        Op::AddBridge { link, mac, bridge } => make(host, link, *mac, LinkKind::Bridge(*bridge)),
        Op::AddVxlan { link, mac, vxlan } => make(host, link, *mac, LinkKind::Vxlan(vxlan.clone())),
        Op::AddMacvlan { link, mac, macvlan } => {
            if host.links.contains_key(&macvlan.lower) {
                make(host, link, *mac, LinkKind::Macvlan(macvlan.clone()));
            }
        }
        Op::DeleteLink { link } => delete(host, link),
        Op::SetAlias { link, alias } => on(host, link, |it| it.alias.clone_from(alias)),
        Op::SetMac { link, mac } => on(host, link, |it| it.mac = *mac),
        Op::SetMtu { link, mtu } => {
            if below(host, link).is_none_or(|lower| *mtu <= lower.mtu) {
                on(host, link, |it| it.mtu = *mtu);
            }
        }
        Op::DisableAddrGen { link } => on(host, link, |it| it.addr_gen = AddrGen::None),
        Op::SetMaster { link, master } => {
            if !host.links.contains_key(master) {
                return;
            }
            on(host, link, |it| it.master = Some(master.clone()));
            // Leaving a bridge takes the port's entries out of its table.
            host.fdb.entry(link.clone()).or_default().bridge.clear();
        }
        Op::SetUp { link } => on(host, link, |it| it.admin = Admin::Up),
        Op::SetDown { link } => on(host, link, |it| it.admin = Admin::Down),
        Op::SetBridge { link, bridge } => on(host, link, |it| it.kind = LinkKind::Bridge(*bridge)),
        Op::SetVxlan {
            link,
            local,
            df,
            learning,
        } => on(host, link, |it| {
            if let LinkKind::Vxlan(vxlan) = &mut it.kind {
                vxlan.local = Some(*local);
                vxlan.df = *df;
                vxlan.learning = *learning;
            }
        }),
        Op::AppendFlood { link, flood } => {
            host.fdb.entry(link.clone()).or_default().flood.insert(flood.clone());
        }
        Op::RemoveFlood { link, flood } => {
            host.fdb.entry(link.clone()).or_default().flood.remove(flood);
        }
        Op::ReplaceRemote { link, mac, vtep } => {
            let fdb = host.fdb.entry(link.clone()).or_default();
            fdb.remote.insert(
                *mac,
                Remote {
                    vtep: *vtep,
                    origin: FdbOrigin::External,
                },
            );
            fdb.bridge.insert(*mac, FdbOrigin::External);
        }
        Op::RemoveRemote { link, mac, .. } => {
            host.fdb.entry(link.clone()).or_default().remote.remove(mac);
        }
        Op::RemoveBehind { link, mac } | Op::RemoveLocal { link, mac } => {
            host.fdb.entry(link.clone()).or_default().bridge.remove(mac);
        }
        Op::AddLocal { link, mac } => {
            host.fdb
                .entry(link.clone())
                .or_default()
                .bridge
                .insert(*mac, FdbOrigin::Permanent);
        }
        Op::AddAddress { link, address, group } => {
            let group = match group {
                MulticastGroup::No => MulticastGroup::No,
                MulticastGroup::Joined | MulticastGroup::Shadowed => MulticastGroup::Shadowed,
            };
            let added = Address {
                lifetime: Lifetime::Forever,
                mark: Mark::Ours,
                group,
            };
            host.addresses.insert((link.clone(), *address), added);
        }
        Op::UnshadowGroup { link, group } => {
            for ((on, address), it) in &mut host.addresses {
                if on == link && address.addr() == *group && it.group == MulticastGroup::Shadowed {
                    it.group = MulticastGroup::Joined;
                }
            }
        }
        Op::RemoveAddress { link, address } => {
            host.addresses.remove(&(link.clone(), *address));
        }
        Op::SetSysctl { sysctl, value } => {
            host.sysctls.insert(sysctl.clone(), *value);
        }
        Op::ReplaceTable { table } => {
            let seal = Seal {
                text: table.hash(),
                listing: Seal::hash(table.text.as_bytes()),
            };
            host.tables.insert(table.name, Some(seal));
        }
        Op::DeleteTable { table } => {
            host.tables.remove(table);
        }
    }
}

fn on(host: &mut Observed, link: &IfName, change: impl FnOnce(&mut Link)) {
    if let Some(link) = host.links.get_mut(link) {
        change(link);
    }
}

/// The device that a macvlan sits on, which it cannot be larger than.
fn below<'a>(host: &'a Observed, link: &IfName) -> Option<&'a Link> {
    match &host.links.get(link)?.kind {
        LinkKind::Macvlan(macvlan) => host.links.get(&macvlan.lower),
        LinkKind::Bridge(_) | LinkKind::Vxlan(_) | LinkKind::Other => None,
    }
}

fn make(host: &mut Observed, name: &IfName, mac: Mac, kind: LinkKind) {
    let wanted = DesiredLink {
        kind,
        mac,
        mtu: None,
        admin: Admin::Down,
        master: None,
        alias: String::new(),
    };
    host.links
        .entry(name.clone())
        .or_insert_with(|| links::as_made(&wanted));
    host.fdb.entry(name.clone()).or_default();
    let settings = [
        (Sysctl::Forwarding4(name.clone()), 0),
        (Sysctl::ArpIgnore(name.clone()), 0),
        (Sysctl::ReversePath(name.clone()), 0),
        (Sysctl::AcceptRa(name.clone()), 1),
    ];
    host.sysctls.extend(settings);
}

fn delete(host: &mut Observed, name: &IfName) {
    host.links.remove(name);
    host.fdb.remove(name);
    host.addresses.retain(|(link, _), _| link != name);
    host.sysctls.retain(|sysctl, _| sysctl.link() != Some(name));
    for port in host.links.values_mut() {
        port.master.take_if(|master| master == name);
    }
    let above = |link: &Link| matches!(&link.kind, LinkKind::Macvlan(it) if it.lower == *name);
    let above: Vec<IfName> = host
        .links
        .iter()
        .filter(|(_, link)| above(link))
        .map(|(name, _)| name.clone())
        .collect();
    for link in above {
        delete(host, &link);
    }
}
