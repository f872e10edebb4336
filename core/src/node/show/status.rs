//! What `status` says of this host beside the lists.

use crate::cluster::gossip;
use crate::config::HostConfig;
use crate::id::HostId;
use crate::node::effect::Facts;
use crate::node::member::{Duty, Member};
use crate::node::{Formation, Node};

impl Node {
    /// What the edge last told.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// The version of the agent.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its configuration.
    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    /// Whether an operator has drained it.
    pub fn is_drained(&self) -> bool {
        let drained = |formed: &Member| matches!(formed.duty(), Duty::Drained | Duty::Departing);
        self.formed.as_deref().is_some_and(drained)
    }

    /// What this host waits for while it is in no cluster.
    pub fn waiting(&self) -> Option<String> {
        if self.formed.is_some() {
            return None;
        }
        Some(match (self.join_search(), self.formation) {
            (Some((addresses, refused)), _) => {
                let at: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let at = at.join(", ");
                match refused {
                    Some(refusal) => format!("waiting to be let in at {at}: {refusal}"),
                    None => format!("waiting for a formed host at {at}"),
                }
            }
            (None, Formation::Left { .. }) => {
                "this host has left its cluster: run `overlayctl join ADDR` or `init`".into()
            }
            (None, _) if let Some(why) = &self.no_underlay => format!("waiting for the underlay: {why}"),
            (None, _) => "run `overlayctl init` here, or `overlayctl join ADDR` with the address of a member".into(),
        })
    }

    /// What gossip knows of a host.
    pub fn host_record(&self, id: HostId) -> Option<&gossip::HostRecord> {
        self.formed.as_ref()?.gossip.host(id)
    }
}
