//! Who this host is on its underlay, and what of its surroundings decides what it should have.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use overlayd_core::config::CLUSTER_PORT;
use overlayd_core::gateway::uplink::{self, Carrier, Health, NextHop, Route};
use overlayd_core::id::IfName;
use overlayd_core::kernel::inputs::BridgeNetfilter;
use overlayd_core::kernel::sysctl::Sysctl;
use overlayd_core::node::Facts;

use super::resolvers::resolvers;
use super::worker::Worker;
use crate::sysctl;

impl<R> Worker<R> {
    pub(super) async fn facts(&mut self) -> Result<Option<Facts>> {
        let routes = self.netlink.default_routes().await?;
        let route = routes.first().map(|route| route.link.clone());
        let host = &self.config.host;
        let uplink = host.gateway.uplink.clone().or_else(|| route.clone());
        let own = routes.iter().find(|route| Some(&route.link) == uplink.as_ref());
        if own.is_some() {
            self.uplink.led_by.clone_from(&uplink);
        }
        // Where no default route ever led by the uplink, policy routing may see to that.
        let there = own.is_some() || !routes.is_empty() && self.uplink.led_by != uplink;
        let hop = own
            .and_then(|route| Some((route.link.clone(), route.via?)))
            .map(|(link, address)| NextHop { link, address });
        self.uplink.asker = match &hop {
            Some(hop) => self.netlink.asker(hop).await?,
            None => None,
        };
        self.uplink.watch.set(hop.filter(|_| self.uplink.asker.is_some()));
        let way = if there { Route::There } else { Route::Missing };
        let uplink_health = self.uplink_health(uplink.as_ref(), way).await?;
        let Some(underlay) = host.underlay.clone().or_else(|| route.clone()) else {
            return Ok(None);
        };
        let Some((vtep, underlay_mtu)) = self.on_underlay(&underlay).await? else {
            return Ok(None);
        };
        Ok(Some(Facts {
            name: host.name.clone().map_or_else(host_name, Ok)?,
            vtep,
            listen: self
                .config
                .cluster
                .listen
                .unwrap_or(SocketAddr::new(vtep, CLUSTER_PORT)),
            underlay,
            underlay_mtu,
            uplink,
            uplink_health,
            resolvers: resolvers(),
            bridge_netfilter: bridge_netfilter(),
            tracking: self.tracking.ask(),
        }))
    }

    async fn uplink_health(&self, uplink: Option<&IfName>, route: Route) -> Result<Health> {
        // A host that cannot connect its segments, or cannot lead out of them, is the last that should be their gateway.
        if self.lacking {
            return Ok(Health::Lacking);
        }
        let carrier = match uplink {
            Some(uplink) => self.netlink.carrier(uplink).await?,
            None => Carrier::Down,
        };
        Ok(uplink::health(uplink, route, carrier, &self.uplink.watch))
    }
}

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("cannot read this host's name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// Docker and Kubernetes pass bridged frames through the IP firewall on purpose; their bridges give them away.
fn bridge_netfilter() -> BridgeNetfilter {
    let others = ["docker0", "cni0", "kube-bridge", "cilium_host", "flannel.1", "weave"];
    if !others.iter().any(|name| nix::net::if_::if_nametoindex(*name).is_ok()) {
        return BridgeNetfilter::SwitchOff;
    }
    let calls = [
        Sysctl::BridgeNetfilter4,
        Sysctl::BridgeNetfilter6,
        Sysctl::BridgeNetfilterArp,
    ];
    // Where the module is not loaded there are no such sysctls, and nothing is on.
    let on =
        |call: &Sysctl| sysctl::read(&call.path()).is_ok_and(|value| value.is_some_and(|value| value.trim() != "0"));
    if calls.iter().any(on) {
        BridgeNetfilter::LeftOn
    } else {
        BridgeNetfilter::LeftOff
    }
}
