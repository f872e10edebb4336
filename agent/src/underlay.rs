//! What is opened where this host is on its underlay: the server for other hosts, echo probes, the frames that watch paths.

use std::net::IpAddr;

use anyhow::{Context, Result};
use overlayd_core::node::Facts;
use tracing::warn;

use crate::effects::Edge;
use crate::event::Event;
use crate::grpc::peer::Server;
use crate::sockets::icmp::{Prober, Sources};
use crate::sockets::path;

impl Edge {
    /// Listens for the other hosts, and probes, from where this host is on its underlay now.
    pub(crate) fn listen(&mut self, facts: &Facts) -> Result<()> {
        self.facts = Some(facts.clone());
        if self.server.as_ref().is_none_or(|(address, _)| *address != facts.listen) {
            self.server = None;
            let server = Server::start(facts.listen, self.standing.clone(), self.inbox.clone())
                .with_context(|| format!("cannot listen on {} for other hosts", facts.listen))?;
            self.server = Some((facts.listen, server));
        }
        self.probe_from(facts.vtep);
        self.watch_paths();
        Ok(())
    }

    fn probe_from(&mut self, vtep: IpAddr) {
        if self.prober.as_ref().is_none_or(|(address, _)| *address != vtep) {
            let sources = match vtep {
                IpAddr::V4(v4) => Sources { v4: Some(v4), v6: None },
                IpAddr::V6(v6) => Sources { v4: None, v6: Some(v6) },
            };
            self.prober = match Prober::open(sources, self.probes.clone()) {
                Ok(prober) => Some((vtep, prober)),
                Err(problem) => {
                    warn!(%problem, "hosts cannot be probed by ICMP echo; a dead gateway host is replaced some seconds later");
                    None
                }
            };
        }
    }

    /// One socket serves all segments, wherever this host is.
    fn watch_paths(&mut self) {
        if self.paths.is_none() {
            let events = self.events.clone();
            let hear = move |bridge, frame| drop(events.send(Event::PathFrame(bridge, frame)));
            self.paths = path::Watcher::open(hear)
                .inspect_err(|problem| warn!(%problem, "the ways from other hosts cannot be watched"))
                .ok();
        }
    }
}
