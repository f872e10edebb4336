//! Where this host is on its underlay: the address that the members reach it at, and what the way to them carries.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;
use overlayd_core::config::Transport;
use overlayd_core::health::NoUnderlay;
use overlayd_core::id::IfName;
use overlayd_core::kernel::vtep;
use overlayd_core::mtu::UnderlayMtu;
use overlayd_core::node::Facts;

use super::worker::Worker;

impl<R> Worker<R> {
    /// What was told of it last, where it was there.
    pub(super) fn known_facts(&self) -> Option<&Facts> {
        self.facts.as_ref()?.as_ref().ok()
    }

    /// Its VTEP address, and the least of the underlay's own MTU and of those of the routes to the members.
    pub(super) async fn on_underlay(&self, underlay: &IfName) -> Result<Result<(IpAddr, UnderlayMtu), NoUnderlay>> {
        let known = self.desired.as_ref().map(|inputs| inputs.host.vtep);
        let before = self.known_facts().map(|facts| facts.vtep).or(known);
        let to = vtep::destinations(&self.members, &self.config.cluster.join, before);
        let paths = self.netlink.paths(&to, underlay).await?;
        let sources = paths.iter().filter_map(|path| path.source);
        let vtep = match (self.config.host.address, vtep::choose(sources, before)) {
            (None, Some(source)) => Some(source),
            (configured, _) => {
                let mut there = self.netlink.global_addresses(underlay).await?.into_iter();
                match configured {
                    Some(address) if !self.netlink.is_local(address).await? => {
                        return Ok(Err(NoUnderlay::NotOwn(address)));
                    }
                    Some(address) => there.next().map(|_| address),
                    None => there.find(|address| to.iter().any(|to| to.is_ipv4() == address.is_ipv4())),
                }
            }
        };
        let Some(own) = self.netlink.link_mtu(underlay).await? else {
            return Ok(Err(NoUnderlay::NoInterface(underlay.clone())));
        };
        let known = paths.iter().filter(|_| !self.members.is_empty());
        let least = known.filter_map(|path| path.mtu).fold(own, UnderlayMtu::min);
        Ok(match vtep {
            Some(vtep) => Ok((vtep, least)),
            None => Err(NoUnderlay::NoAddress(underlay.clone())),
        })
    }

    /// From which address it sends to the multicast groups of segments that name an interface.
    pub(super) async fn sources(&self) -> Result<BTreeMap<(IpAddr, IfName), IpAddr>> {
        let mut sources = BTreeMap::new();
        let segments = self.desired.iter().flat_map(|inputs| inputs.segments.values());
        for it in segments {
            if let Transport::Multicast {
                group,
                interface: Some(interface),
            } = &it.segment.transport
            {
                let paths = self.netlink.paths(&[*group], interface).await?;
                let source = paths.first().and_then(|path| path.source);
                sources.extend(source.map(|source| ((*group, interface.clone()), source)));
            }
        }
        Ok(sources)
    }
}
