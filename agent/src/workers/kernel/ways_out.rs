//! The ways out for guests: what the host's routes say, and whether what they lead by responds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Result;
use overlayd_core::config::UplinkSetting;
use overlayd_core::gateway::routes::{Hop, Inside, Routing, Ways, ways};
use overlayd_core::gateway::uplink::{self, Health, NextHop};
use overlayd_core::id::IfName;

use super::worker::Worker;

/// More next hops than that are not asked: a fabric's routers fail together, or its routing finds out by itself.
const ASKED: usize = 8;

impl<R> Worker<R> {
    /// The ways out, and whether they work.
    pub(super) async fn ways_out(&mut self, routing: &Routing) -> Result<(Ways, Health)> {
        let setting = self.config.host.gateway.uplink.clone();
        let (inside, own) = self.inside();
        let mut found = ways(routing, &inside, &own, &setting);
        let named = match &setting {
            UplinkSetting::Auto => None,
            UplinkSetting::Only(named) => named.first().cloned(),
        };
        if !found.hops.is_empty() {
            self.uplink.led_by = Some(setting);
        } else if let Some(link) = &named
            && self.uplink.led_by.as_ref() != Some(&setting)
            && !ways(routing, &inside, &own, &UplinkSetting::Auto).hops.is_empty()
        {
            // Nothing that is named ever led outside: what guests need of it may be what is behind it.
            let link = link.clone();
            found.hops.push(Hop { link, via: None });
        }
        self.watch(&found.hops).await?;
        let health = self.health(&found.hops, named.as_ref()).await?;
        Ok((found, health))
    }

    async fn watch(&mut self, hops: &[Hop]) -> Result<()> {
        let mut asked = BTreeMap::new();
        for hop in hops.iter().filter_map(next_hop).take(ASKED) {
            if let Some(asker) = self.netlink.asker(&hop).await? {
                asked.insert(hop, asker);
            }
        }
        self.uplink.set(asked);
        Ok(())
    }

    async fn health(&self, hops: &[Hop], named: Option<&IfName>) -> Result<Health> {
        // A host that cannot connect its segments, or cannot lead out of them, is the last that should be their gateway.
        if self.lacking {
            return Ok(Health::Lacking);
        }
        let mut each = Vec::new();
        for hop in hops {
            let carrier = self.netlink.carrier(&hop.link).await?;
            let watch = next_hop(hop).and_then(|hop| self.uplink.watch(&hop));
            each.push(uplink::of_hop(&hop.link, carrier, watch));
        }
        Ok(uplink::health(&each, named))
    }

    /// Where guests come in, and the interfaces that lead back to them.
    fn inside(&self) -> (Vec<Inside>, BTreeSet<IfName>) {
        let segments = || self.desired.iter().flat_map(|inputs| inputs.segments.values());
        let inside = segments().filter_map(|it| {
            Some(Inside {
                subnet: it.segment.ipv4.as_ref()?.subnet,
                link: it.segment.name.gateway(),
            })
        });
        let own = segments().flat_map(|it| [it.segment.bridge.clone(), it.segment.name.gateway()]);
        (inside.collect(), own.collect())
    }
}

/// One that ARP can ask.
fn next_hop(hop: &Hop) -> Option<NextHop> {
    match hop.via? {
        IpAddr::V4(address) => Some(NextHop {
            link: hop.link.clone(),
            address,
        }),
        IpAddr::V6(_) => None,
    }
}
