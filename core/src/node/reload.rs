//! A changed configuration file while the agent runs (SIGHUP).

use super::Node;
use super::effect::Refusal;
use super::start::Formation;
use crate::config::{HostChange, HostConfig, Trust};
use crate::health::events::Event;
use crate::time::Instant;

impl Node {
    /// Takes another configuration over; `changes` is what is written otherwise. What is read at a start alone stays as it
    /// is.
    ///
    /// # Errors
    /// It cannot be used; nothing was taken over.
    pub fn reload(&mut self, mut config: HostConfig, changes: Vec<HostChange>, now: Instant) -> Result<(), Refusal> {
        self.refuse_config(&config)?;
        let running = &self.config;
        config.state_dir.clone_from(&running.state_dir);
        config.control_socket.clone_from(&running.control_socket);
        config.metrics = running.metrics;
        let join = config.cluster.join != running.cluster.join;
        self.config = config;
        if join {
            self.stop_listed();
            if !self.config.cluster.join.is_empty() && !matches!(self.formation, Formation::Left { .. }) {
                self.join_listed(now);
            }
        }
        self.introduce_again(now);
        if let Some(formed) = &mut self.formed {
            formed.touch(now);
        }
        if changes.is_empty() {
            self.report(Event::ConfigurationUnchanged);
        }
        for change in changes {
            self.report(Event::ConfigurationChanged(change));
        }
        self.settle(now);
        Ok(())
    }

    fn refuse_config(&self, config: &HostConfig) -> Result<(), Refusal> {
        if config.cluster.trust == Trust::MutualTls && self.config.cluster.trust == Trust::Insecure {
            return Err(Refusal::new(
                "`cluster.insecure` is false, and this version does not support TLS between hosts yet",
            )
            .hint("leave `cluster.insecure: true`"));
        }
        let (Some(name), Some(member)) = (&config.host.name, &self.formed) else {
            return Ok(());
        };
        match member
            .gossip
            .hosts()
            .find(|host| host.id != self.me && host.name == *name)
        {
            Some(_) => Err(
                Refusal::new(format!("another host of the cluster has the name {name} (`host.name`)"))
                    .hint("see `overlayctl peer list`, and give this host another"),
            ),
            None => Ok(()),
        }
    }
}
