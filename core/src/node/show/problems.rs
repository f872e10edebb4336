//! What is wrong.

use super::gateways::leads_out;
use crate::cluster::catalogue::Definition;
use crate::cluster::gossip;
use crate::cluster::membership::PeerState;
use crate::kernel::inputs::BridgeNetfilter;
use crate::node::Node;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// What, where.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work.
    Fail,
    /// Somebody should look.
    Warn,
}

impl Node {
    /// What is wrong, worst first; the edge adds what only it knows.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |severity, what: String, hint: Option<String>| problems.push(Problem { severity, what, hint });
        let Some(formed) = &self.formed else { return problems };
        if self.facts.is_none() {
            let named = self.config.host.underlay.as_ref();
            add(
                Severity::Fail,
                match named {
                    Some(underlay) => format!("the underlay is missing: no interface {underlay}, or no address on it"),
                    None => "the underlay is missing: no default route, or no address on its interface".to_owned(),
                },
                Some("bring it up, or set `host.underlay` and `host.address`".into()),
            );
        }
        for line in self.peer_lines() {
            match line.state {
                PeerState::Failed => add(
                    Severity::Warn,
                    format!("host {} has failed: neither agent nor kernel answers", line.name),
                    Some(format!(
                        "if it is gone for good: `overlayctl peer remove {}`",
                        line.name
                    )),
                ),
                PeerState::Suspect => add(
                    Severity::Warn,
                    format!("the agent of host {} does not answer", line.name),
                    Some(format!("look at overlayd on {}", line.name)),
                ),
                PeerState::Alive | PeerState::Left | PeerState::Static => {}
            }
        }
        let left_on = self
            .facts
            .as_ref()
            .is_some_and(|facts| facts.bridge_netfilter == BridgeNetfilter::LeftOn);
        if left_on && !formed.derived.segments.is_empty() {
            add(
                Severity::Warn,
                "bridge netfilter is on, and left so for Docker or Kubernetes: their firewall rules see what guests send \
                 each other and may drop it, guests do not reach published ports from inside, and it costs a fifth of \
                 the throughput"
                    .to_owned(),
                Some(
                    "if nothing here needs it: `sysctl -w net.bridge.bridge-nf-call-iptables=0 \
                     net.bridge.bridge-nf-call-ip6tables=0 net.bridge.bridge-nf-call-arptables=0`; with Docker also: \
                     `iptables -I DOCKER-USER -i br-blue -o br-blue -j ACCEPT`, for each bridge"
                        .to_owned(),
                ),
            );
        }
        for host in formed.gossip.hosts() {
            let candidate = match host.candidacy {
                gossip::Candidacy::Candidate { .. } => true,
                gossip::Candidacy::Drained { .. } | gossip::Candidacy::None => false,
            };
            let needs = |known: &Definition| leads_out(&known.segment) && known.segment.selects(&host.labels);
            if !candidate || !formed.catalogue.iter().any(needs) {
                continue;
            }
            let Some(trouble) = self.uplink_trouble(host.id) else {
                continue;
            };
            let hint = match &self.facts {
                Some(facts) if host.id == self.me => facts.uplink_health.hint().map(str::to_owned),
                Some(_) | None => Some(format!("run `overlayctl status` on {}: it says why", host.name)),
            };
            add(Severity::Warn, trouble, hint);
        }
        for line in formed
            .catalogue
            .iter()
            .filter_map(|known| self.gateway_of(&known.segment.name))
            .filter(|line| line.host.is_none())
        {
            add(
                Severity::Fail,
                format!(
                    "this host knows of no gateway for segment {}: {}",
                    line.segment, line.reason
                ),
                None,
            );
        }
        for segment in &self.config.segments {
            if formed
                .catalogue
                .get(&segment.name)
                .is_some_and(|known| known.segment != *segment)
            {
                add(
                    Severity::Warn,
                    format!(
                        "segment {} in this host's file differs from the cluster's",
                        segment.name
                    ),
                    Some(
                        "the cluster's counts; `overlayctl segment show` tells it, `overlayctl apply` changes it"
                            .into(),
                    ),
                );
            }
        }
        for Definition { segment, .. } in formed.catalogue.iter() {
            let name = &segment.name;
            let newest = formed.forgotten_generation(name);
            if newest > 0 && formed.derived.segments.values().any(|mine| mine.definition.segment.name == *name) {
                add(
                    Severity::Fail,
                    format!("segment {name}: generation {newest} was lost here, and an older one gives no addresses"),
                    Some("start a host that has it; if none has, `overlayctl apply` it again".into()),
                );
            }
        }
        for host in formed.leases.lost_members() {
            let name = formed.name_of(host);
            add(
                Severity::Warn,
                format!(
                    "the journal of {name} is lost, or its disk is full: until that is mended no host that joins takes part, \
                     and nothing is inherited from removed ones"
                ),
                Some(format!("run `overlayctl status` on {name}: it says what to do")),
            );
        }
        let awaited = formed.leases.awaited();
        if formed.leases.has_lost_disk() {
            let what = if formed.lost_at_start {
                "the journal of this host is lost: it owns and keeps no addresses any more"
            } else {
                "the journal cannot be written, the disk may be full: this host owns and keeps no addresses until that is mended"
            };
            add(
                Severity::Fail,
                what.into(),
                Some(
                    if !formed.lost_at_start {
                        "free or mend the disk, then restart overlayd: the journal that is on disk counts again if it is whole"
                    } else if formed.gossip.hosts().any(|host| host.id != self.me) {
                        "mend the disk, run `overlayctl leave --force` here (guests on this host lose their network), and \
                         `overlayctl join ADDR`"
                    } else {
                        "mend the disk and run `overlayctl pool recover`: this host is the only one, and gives addresses again \
                         when a full lease time has passed"
                    }
                    .into(),
                ),
            );
        } else if !awaited.is_empty() {
            let names = awaited
                .iter()
                .map(|host| formed.name_of(*host))
                .collect::<Vec<_>>()
                .join(", ");
            add(
                Severity::Warn,
                format!("this host keeps no leases yet: it waits for the acknowledgement of {names}"),
                Some("start overlayd there, or remove the host if it is gone for good".into()),
            );
        } else if formed.leases.waits_for_nobody() {
            add(
                Severity::Fail,
                "this host keeps no leases and owns no addresses: every host that took part is gone".into(),
                Some("if no other host of the cluster serves anywhere: `overlayctl pool recover`, on one host".into()),
            );
        }
        problems.sort_by_key(|problem| problem.severity);
        problems
    }
}
