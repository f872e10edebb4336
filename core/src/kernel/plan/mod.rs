//! The difference between desired and observed, as ordered ops.
//!
//! [`diff`] decides, [`apply_model`] says what the kernel makes of an op. `diff(d, apply(diff(d, o), o))` is empty for
//! every `d` and `o`: what stands in the way is an [`Obstacle`], never an op that comes back for ever.

mod contents;
mod forwarding;
mod links;
mod model;
mod op;
mod order;

pub use contents::{Obstacle, Plan};
pub use model::apply_model;
pub use op::Op;

use crate::kernel::desired::Desired;
use crate::kernel::observed::{Lifetime, Mark, MulticastGroup, Observed};
use links::Links;

/// What must be done to `observed` so that it becomes `desired`.
pub fn diff(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let links = Links::compare(desired, observed, &mut plan);
    addresses(desired, observed, &links, &mut plan);
    forwarding::compare(desired, observed, &links, &mut plan);
    sysctls(desired, observed, &links, &mut plan);
    tables(desired, observed, &mut plan);
    order::sort(&mut plan.ops);
    plan.obstacles.sort();
    plan.obstacles.dedup();
    plan
}

fn addresses(desired: &Desired, observed: &Observed, links: &Links<'_>, plan: &mut Plan) {
    for ((link, address), found) in &observed.addresses {
        if links.goes(link) || desired.addresses.contains_key(&(link.clone(), *address)) {
            continue;
        }
        let held = desired
            .gateways
            .values()
            .any(|gw| gw.link == *link && gw.addresses.contains(address));
        let on_gateway_link = links.is_gateway(link);
        let misplaced = links.is_ours(link) && desired.misplaced.contains(&(link.clone(), address.addr()));
        let joined = found.group != MulticastGroup::No && links.floods_to(address.addr(), link);
        if !held && (found.mark == Mark::Ours || on_gateway_link || misplaced || joined) {
            plan.ops.push(Op::RemoveAddress {
                link: link.clone(),
                address: *address,
            });
        }
    }
    for ((link, address), wanted) in &desired.addresses {
        if links.is_blocked(link) {
            continue;
        }
        if !links.will_be(link) {
            plan.obstacles.push(Obstacle::Missing { link: link.clone() });
            continue;
        }
        let found = links
            .stays(link)
            .then(|| observed.addresses.get(&(link.clone(), *address)))
            .flatten();
        let joined = found.is_some_and(|found| (found.group == MulticastGroup::No) == (*wanted == MulticastGroup::No));
        if !found.is_some_and(|found| joined && found.lifetime == Lifetime::Forever) {
            plan.ops.push(Op::AddAddress {
                link: link.clone(),
                address: *address,
                group: *wanted,
            });
        }
        // The route comes with the address, so a group that is joined only now is shadowed as well.
        if *wanted != MulticastGroup::No && found.is_none_or(|found| found.group != MulticastGroup::Joined) {
            plan.ops.push(Op::UnshadowGroup {
                link: link.clone(),
                group: address.addr(),
            });
        }
    }
}

fn sysctls(desired: &Desired, observed: &Observed, links: &Links<'_>, plan: &mut Plan) {
    for (sysctl, value) in &desired.sysctls {
        let made_now = sysctl.link().is_some_and(|link| links.is_made(link));
        let blocked = sysctl.link().is_some_and(|link| links.is_blocked(link));
        // A setting that is not there belongs to a kernel without it, or to an interface that is still missing.
        let differs = observed.sysctls.get(sysctl).is_some_and(|found| found != value);
        if !blocked && (made_now || differs) {
            plan.ops.push(Op::SetSysctl {
                sysctl: sysctl.clone(),
                value: *value,
            });
        }
    }
}

fn tables(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    for (name, table) in &desired.tables {
        let exact = observed
            .tables
            .get(name)
            .and_then(Option::as_ref)
            .is_some_and(|seal| seal.text == table.hash());
        if !exact {
            plan.ops.push(Op::ReplaceTable { table: table.clone() });
        }
    }
    let stale = observed.tables.keys().filter(|name| !desired.tables.contains_key(name));
    plan.ops.extend(stale.map(|name| Op::DeleteTable { table: *name }));
}
