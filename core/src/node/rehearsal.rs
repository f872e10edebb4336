//! What a host's kernel would have, computed without one.

use std::collections::BTreeSet;

use super::Node;
use super::effect::Facts;
use super::start::{Disk, Drained, Formation, Start};
use crate::addresses::Recovered;
use crate::config::{Cluster, HostConfig, Trust};
use crate::id::HostId;
use crate::kernel::inputs::Inputs;
use crate::time::{Duration, Instant};

/// What the kernel of a host alone in a new cluster would have: for showing, before anything is formed.
pub fn rehearse(config: &HostConfig, facts: Facts) -> Option<Inputs> {
    let alone = HostConfig {
        cluster: Cluster {
            trust: Trust::Insecure,
            join: Vec::new(),
            ..config.cluster.clone()
        },
        ..config.clone()
    };
    let now = Instant::from_millis(0);
    let start = Start {
        host: HostId(0),
        instance: 1,
        formation: Formation::Unformed,
        drained: Drained::No,
        former: None,
        seed: 0,
        config: alone,
        version: String::new(),
        records: Vec::new(),
        leases: Recovered::default(),
        disk: Disk::Whole,
        found: Vec::new(),
        answered: BTreeSet::new(),
    };
    let mut node = Node::new(start, now);
    node.set_facts(Ok(facts.clone()), now);
    node.handle_timeout(now + Duration::from_secs(1));
    node.formed.map(|formed| formed.inputs(&facts, now))
}

/// What the agent first wants the kernel to have when it starts now: for showing.
pub fn rehearse_restart(start: Start, facts: Facts, now: Instant) -> Option<Inputs> {
    let mut node = Node::new(start, now);
    node.set_facts(Ok(facts), now);
    node.formed.and_then(|formed| formed.derived.last_inputs())
}
