//! What operators see: one value per line of a table, nothing that changes anything.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cause::gateway_reason;
use super::derived::group_of;
use super::effect::Facts;
use super::member::Member;
use super::{Formation, Node};
use crate::addresses::RangeLine;
use crate::cluster::catalogue::Definition;
use crate::cluster::gossip::{self, Presence};
use crate::cluster::membership::{PeerState, Who};
use crate::config::{Mode, Segment};
use crate::election::Role;
use crate::gateway::uplink::Health;
use crate::id::{HostId, Mac, SegmentName, Term, Vni};
use crate::kernel::inputs::BridgeNetfilter;
use crate::lease::Lease;
use crate::mtu::OverlayMtu;
use crate::time::{Duration, Instant};

/// A line of `peer list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLine {
    /// Its name; a static peer's is its address.
    pub name: String,
    /// Its id; a static peer has none.
    pub id: Option<HostId>,
    /// Its VTEP.
    pub address: Option<IpAddr>,
    /// How it is.
    pub state: PeerState,
    /// Whether it is this host.
    pub me: bool,
    /// Its overlay MTU.
    pub mtu: Option<OverlayMtu>,
}

/// A line of `segment list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLine {
    /// What it is.
    pub segment: Segment,
    /// Its generation.
    pub generation: u64,
    /// The host that wrote that.
    pub written_by: String,
    /// As guests are told; `None`: this host does not have it.
    pub mtu: Option<OverlayMtu>,
    /// The host that serves it.
    pub gateway: Option<String>,
    /// The hosts that have it.
    pub hosts: Vec<String>,
}

impl SegmentLine {
    /// Its VNI.
    pub fn vni(&self) -> Vni {
        self.segment.vni
    }

    /// Its mode as the operator writes it.
    pub fn mode(&self) -> &'static str {
        match self.segment.mode {
            Mode::Nat => "nat",
            Mode::Routed => "routed",
            Mode::Isolated => "isolated",
            Mode::Bridged(_) => "bridged",
        }
    }
}

/// A line of `gateway list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayLine {
    /// The segment.
    pub segment: SegmentName,
    /// Who serves it, as far as this host knows.
    pub host: Option<String>,
    /// In which term.
    pub term: Term,
    /// How long this host has known that.
    pub since: Option<Duration>,
    /// Whether it is this host.
    pub me: bool,
    /// Whether that host's kernel has the address, as far as this one knows.
    pub serves: Serves,
    /// Why.
    pub reason: String,
}

/// How far a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// It has the term, and is about to.
    NotYet,
    /// Its kernel has the address.
    Now,
}

/// A line of `lease list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLine {
    /// The segment.
    pub segment: SegmentName,
    /// The lease.
    pub lease: Lease,
    /// Its owner's name.
    pub owner: String,
    /// Its keeper's name.
    pub keeper: Option<String>,
}

/// A line of `pool show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLine {
    /// The segment.
    pub segment: SegmentName,
    /// The range.
    pub line: RangeLine,
    /// Its owner's name.
    pub owner: Option<String>,
}

/// A line of `endpoint list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointLine {
    /// The segment.
    pub segment: SegmentName,
    /// The guest's MAC.
    pub mac: Mac,
    /// Its addresses, from its leases.
    pub addresses: Vec<IpAddr>,
    /// The name of its host.
    pub host: String,
    /// Its port there.
    pub interface: Option<String>,
}

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
    /// What the edge last told.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// The version of the agent.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its configuration.
    pub fn config(&self) -> &crate::config::HostConfig {
        &self.config
    }

    /// Whether another host could take a gateway from this one.
    pub fn has_other_candidates(&self) -> bool {
        self.formed.as_ref().is_some_and(|formed| {
            formed.gossip.hosts().any(|host| {
                host.id != self.me
                    && matches!(host.candidacy, gossip::Candidacy::Candidate { .. })
                    && formed.gossip.is_connected(host.id)
            })
        })
    }

    /// Whether an operator has drained it.
    pub fn is_drained(&self) -> bool {
        self.formed.as_ref().is_some_and(|formed| formed.drained)
    }

    /// This host first, then the others by name.
    pub fn peer_lines(&self) -> Vec<PeerLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let mut lines: Vec<PeerLine> = formed
            .derived
            .peers
            .iter()
            .map(|peer| PeerLine {
                name: peer.name.clone(),
                id: match peer.who {
                    Who::Me(id) | Who::Host(id) => Some(id),
                    Who::Static(_) => None,
                },
                address: peer.address,
                state: peer.state,
                me: matches!(peer.who, Who::Me(_)),
                mtu: peer.overlay_mtu,
            })
            .collect();
        lines.sort_by(|one, other| (!one.me, &one.name, one.id).cmp(&(!other.me, &other.name, other.id)));
        lines
    }

    /// All segments of the cluster, by name.
    pub fn segment_lines(&self) -> Vec<SegmentLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let line = |known: &Definition| {
            let segment = &known.segment;
            let hosts = formed
                .gossip
                .hosts()
                .filter(|host| segment.selects(&host.labels))
                .map(|host| host.name.clone());
            SegmentLine {
                segment: segment.clone(),
                generation: known.generation,
                written_by: formed.name_of(known.introducer),
                mtu: formed.derived.segments.get(&known.id).map(|mine| mine.mtu),
                gateway: self.gateway_of(&segment.name).and_then(|line| line.host),
                hosts: hosts.collect::<BTreeSet<_>>().into_iter().collect(),
            }
        };
        formed.catalogue.iter().map(line).collect()
    }

    /// Who serves what; segments that nobody can serve are left out.
    pub fn gateway_lines(&self, now: Instant) -> Vec<GatewayLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let all = formed.catalogue.iter();
        let mut lines: Vec<GatewayLine> = all.filter_map(|known| self.gateway_of(&known.segment.name)).collect();
        for line in &mut lines {
            let at = formed
                .group(&line.segment)
                .and_then(|group| formed.election.since(group));
            line.since = line.host.as_ref().and(at).map(|at| now.since(at));
        }
        lines
    }

    fn gateway_of(&self, name: &SegmentName) -> Option<GatewayLine> {
        let formed = self.formed.as_ref()?;
        let Definition { id, segment, .. } = formed.catalogue.get(name)?;
        segment.ipv4.as_ref()?;
        let group = group_of(*id);
        let none = |reason: String| GatewayLine {
            segment: name.clone(),
            host: None,
            term: Term(0),
            since: None,
            me: false,
            serves: match formed.server(group) {
                Some(_) => Serves::Now,
                None => Serves::NotYet,
            },
            reason,
        };
        let Some(role) = formed.election.role(group) else {
            // This host does not have the segment: what gossip tells.
            let claims = formed.gossip.claims(*id);
            let claim = claims.into_iter().rev().find(|claim| claim.presence == Presence::Here);
            return Some(match claim {
                Some(claim) => GatewayLine {
                    host: Some(formed.name_of(claim.holder)),
                    term: claim.term,
                    ..none(claim.reason.clone())
                },
                None => none("no host is known to serve it".to_owned()),
            });
        };
        let mut reason = gateway_reason(group, &formed.election, &formed.gossip);
        let holder = formed.election.holder(group).map(|(host, _)| host);
        if let Some(trouble) = holder
            .filter(|_| leads_out(segment))
            .and_then(|host| self.uplink_trouble(host))
        {
            reason = format!("{reason}; {trouble}");
        }
        Some(match role {
            Role::Holder { term } => GatewayLine {
                host: Some(formed.name_of(self.me)),
                term,
                me: true,
                ..none(reason)
            },
            Role::Follower {
                holder: Some((host, term)),
            } => GatewayLine {
                host: Some(formed.name_of(host)),
                term,
                ..none(reason)
            },
            Role::Follower { holder: None } | Role::Claimant { .. } => none(reason),
        })
    }

    /// What is wrong with a host's way out.
    fn uplink_trouble(&self, host: HostId) -> Option<String> {
        if host == self.me {
            let health = self.facts.as_ref().map(|facts| &facts.uplink_health);
            return health
                .filter(|health| **health != Health::Works)
                .map(ToString::to_string);
        }
        let known = self.formed.as_ref()?.gossip.host(host)?;
        match known.uplink {
            gossip::Uplink::Works => None,
            gossip::Uplink::Fails => Some(format!("the uplink of {} does not work", known.name)),
        }
    }

    /// All leases that this host knows of, by segment and address.
    pub fn lease_lines(&self, segment: Option<&SegmentName>, now: Instant) -> Vec<LeaseLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let mut lines = Vec::new();
        for Definition { id, segment, .. } in formed.named(segment) {
            lines.extend(formed.leases.lease_list(*id, now).into_iter().map(|lease| LeaseLine {
                segment: segment.name.clone(),
                owner: formed.name_of(lease.owner),
                keeper: lease.keeper.map(|host| formed.name_of(host)),
                lease,
            }));
        }
        lines
    }

    /// All ranges, by segment.
    pub fn pool_lines(&self, segment: Option<&SegmentName>) -> Vec<PoolLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let mut lines = Vec::new();
        for Definition { id, segment, .. } in formed.named(segment) {
            lines.extend(formed.leases.pool_show(*id).into_iter().map(|line| PoolLine {
                segment: segment.name.clone(),
                owner: line.owner.map(|host| formed.name_of(host)),
                line,
            }));
        }
        lines
    }

    /// Where the guests are.
    pub fn endpoint_lines(&self, segment: Option<&SegmentName>, now: Instant) -> Vec<EndpointLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let leases = self.lease_lines(segment, now);
        let mut lines = Vec::new();
        for endpoint in formed
            .gossip
            .endpoints()
            .filter(|endpoint| endpoint.presence == Presence::Here)
        {
            let Some(name) = formed.catalogue.name(endpoint.segment) else {
                continue;
            };
            if segment.is_some_and(|only| only != name) {
                continue;
            }
            let leased = leases
                .iter()
                .filter(|line| line.segment == *name && line.lease.client == Some(endpoint.mac))
                .map(|line| line.lease.address.ip());
            let mut addresses: Vec<IpAddr> = endpoint.addresses.iter().copied().chain(leased).collect();
            addresses.sort();
            addresses.dedup();
            lines.push(EndpointLine {
                segment: name.clone(),
                mac: endpoint.mac,
                addresses,
                host: formed.name_of(endpoint.host),
                interface: (!endpoint.interface.is_empty()).then(|| endpoint.interface.clone()),
            });
        }
        lines
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
            (None, _) if self.facts.is_none() => "waiting for the underlay interface and its address".into(),
            (None, _) => "run `overlayctl init` here, or `overlayctl join ADDR` with the address of a member".into(),
        })
    }

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
            if newest > 0
                && formed
                    .derived
                    .segments
                    .values()
                    .any(|mine| mine.definition.segment.name == *name)
            {
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

    /// What gossip knows of a host.
    pub fn host_record(&self, id: HostId) -> Option<&gossip::HostRecord> {
        self.formed.as_ref()?.gossip.host(id)
    }
}

impl Member {
    /// The definition of this name, or all.
    fn named(&self, only: Option<&SegmentName>) -> impl Iterator<Item = &Definition> {
        let wanted = move |known: &&Definition| only.is_none_or(|only| *only == known.segment.name);
        self.catalogue.iter().filter(wanted)
    }
}

/// Whether the gateway of a segment needs an uplink.
fn leads_out(segment: &Segment) -> bool {
    let outside = match segment.mode {
        Mode::Nat | Mode::Routed => true,
        Mode::Isolated | Mode::Bridged(_) => false,
    };
    outside && segment.ipv4.is_some()
}
