//! Who this host is on its underlay, and what of its surroundings decides what it should have.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use overlayd_core::config::CLUSTER_PORT;
use overlayd_core::health::NoUnderlay;
use overlayd_core::node::Facts;

use super::resolvers::resolvers;
use super::worker::Worker;
use crate::netlink::OwnNetwork;

impl<R> Worker<R> {
    pub(super) async fn facts(&mut self) -> Result<Result<Facts, NoUnderlay>> {
        let routing = self.netlink.routing().await?;
        let (ways, uplink_health) = self.ways_out(&routing).await?;
        let host = &self.config.host;
        let underlay = match host.underlay.as_ref().or(routing.default_link()) {
            Some(known) => Some(known.clone()),
            None => self.netlink.default_routes().await?.into_iter().next(),
        };
        let Some(underlay) = underlay else {
            return Ok(Err(NoUnderlay::NoDefaultRoute));
        };
        let (vtep, underlay_mtu) = match self.on_underlay(&underlay).await? {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        let OwnNetwork { networks, next_hops } = self.netlink.own_network().await?;
        Ok(Ok(Facts {
            name: host.name.clone().map_or_else(host_name, Ok)?,
            vtep,
            sources: self.sources().await?,
            listen: self
                .config
                .cluster
                .listen
                .unwrap_or(SocketAddr::new(vtep, CLUSTER_PORT)),
            underlay,
            underlay_mtu,
            uplinks: ways.uplinks,
            uplink_health,
            networks,
            next_hops,
            resolvers: resolvers(),
            bridge_netfilter: self.bridge_netfilter.ask(self.config.host.bridge_netfilter),
            tracking: self.tracking.ask(),
        }))
    }
}

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("cannot read this host's name")?;
    Ok(name.to_string_lossy().into_owned())
}
