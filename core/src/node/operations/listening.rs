//! The wait of an `apply` for the candidates' word on the ports that it publishes, and its end.
//!
//! A published port takes what comes from outside away from a program that listens on it on the gateway's host: `listen: 22`
//! would lock the operator out of whichever host that is.

use std::collections::{BTreeMap, BTreeSet};

use super::guard::guard;
use super::machine::Machine;
use super::pending::{Apply, Operation, Pace};
use crate::cluster::gossip::{Candidacy, HostRecord, Written};
use crate::cluster::membership::PeerState;
use crate::config::{PortForward, Segment};
use crate::id::HostId;
use crate::node::Node;
use crate::node::applied::Run;
use crate::node::effect::{Done, Effect, Force, Refusal};
use crate::node::listening::{Listener, Listening, PublishedPorts};
use crate::node::loss::{Loss, Lost};
use crate::node::member::Member;
use crate::node::peer_message::PeerMessage;
use crate::time::{Duration, Instant};

/// How long the candidates may take: they read a few files.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// How often those that have not answered are asked.
const ASK_EVERY: Duration = Duration::from_millis(400);

impl Node {
    /// What came of an [`Effect::FindListeners`].
    pub fn handle_listeners(&mut self, asker: HostId, number: u64, listeners: Vec<Listener>, now: Instant) {
        if asker == self.me {
            self.hear_listeners(asker, number, listeners);
        } else if let Some(member) = &mut self.formed {
            member.send(asker, PeerMessage::Listening(Listening::Told { number, listeners }));
        }
        self.settle(now);
    }

    pub(in crate::node) fn handle_listening(&mut self, from: HostId, said: Listening) {
        let known = |member: &Member| !member.gossip.is_removed(from);
        if !self.formed.as_deref().is_some_and(known) {
            return;
        }
        match said {
            Listening::Asked { number, ports } => self.effects.push_back(Effect::FindListeners {
                asker: from,
                number,
                ports,
            }),
            Listening::Told { number, listeners } => self.hear_listeners(from, number, listeners),
        }
    }

    fn hear_listeners(&mut self, from: HostId, number: u64, listeners: Vec<Listener>) {
        for pending in &mut self.pending {
            if let Operation::Apply(apply) = &mut pending.operation
                && apply.number == number
                && apply.open.remove(&from).is_some()
            {
                apply
                    .taken
                    .extend(listeners.iter().cloned().map(|listener| (from, listener)));
            }
        }
    }
}

impl Machine for Apply {
    fn patience(&self) -> Option<Duration> {
        Some(ANSWERED_WITHIN)
    }

    fn pace(&self) -> Pace {
        Pace::Tries {
            first_in: Duration::ZERO,
            every: ASK_EVERY,
        }
    }

    fn look(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>> {
        self.open.is_empty().then(|| self.finish(node, now))
    }

    fn retry(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>> {
        let number = self.number;
        let member = match node.member() {
            Ok(member) => member,
            Err(refusal) => return Some(Err(refusal)),
        };
        let states = member.states();
        let me = member.me;
        let responds = |host: &HostId| states.get(host) == Some(&PeerState::Alive);
        for (host, ports) in self.open.iter().filter(|(host, _)| **host != me && responds(host)) {
            let ports = ports.clone();
            let asked = Listening::Asked { number, ports };
            member.send(*host, PeerMessage::Listening(asked));
        }
        // For whom nobody can wait.
        let alone = !self.open.keys().any(responds);
        alone.then(|| self.finish(node, now))
    }

    fn expire(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>> {
        Some(self.finish(node, now))
    }
}

impl Apply {
    fn finish(&mut self, node: &mut Node, now: Instant) -> Result<Done, Refusal> {
        // Segments and guests may be others by now.
        let segments = node.changes(&self.segments, self.force, now)?;
        let member = node.member()?;
        let mut notes = self.unknown(member);
        let taken = self.taken_ports(member);
        let mut tried = None;
        if self.run != Run::Dry {
            let losses: Vec<Loss> = segments.iter().flat_map(|applied| applied.losses.clone()).collect();
            guard(&losses, self.force, hint(&losses))?;
            if self.force == Force::No && !taken.is_empty() {
                return Err(Refusal::new(taken.join("; ")).hint(
                    "publish another port, or stop the program (`ss -lntup` on that host shows it); with --force the active \
                     gateway's host forwards the port, and the program there gets nothing from outside any more",
                ));
            }
            let trial = self.run.trial();
            let written = node.write_segments(&self.segments, trial, now);
            tried = trial.filter(|_| written == Written::Changed);
        }
        notes.extend(taken);
        notes.extend(tried.map(|seconds| {
            format!(
                "every host rolls this back in {seconds} s unless you run `overlayctl apply confirm` on one of them"
            )
        }));
        Ok(Done::Applied { segments, notes })
    }

    /// Whom could not be asked.
    fn unknown(&self, member: &Member) -> Vec<String> {
        let of = |(host, ports): (&HostId, &Vec<PublishedPorts>)| {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            let name = member.name_of(*host);
            format!(
                "{name} does not respond: whether something listens on {} there is unknown",
                ports.join(", ")
            )
        };
        self.open.iter().map(of).collect()
    }

    /// One sentence for each port that something listens on.
    fn taken_ports(&self, member: &Member) -> Vec<String> {
        let mut by_port: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (host, listener) in &self.taken {
            let Listener {
                protocol,
                port,
                program,
            } = listener;
            let program = if program.is_empty() { "a program" } else { program };
            let who = format!("{program} on {}", member.name_of(*host));
            by_port.entry(format!("{protocol}/{port}")).or_default().insert(who);
        }
        let said = |(port, who): (&String, &BTreeSet<String>)| {
            let who: Vec<&str> = who.iter().map(String::as_str).collect();
            format!("published port {port} is in use by {}", who.join(", "))
        };
        by_port.iter().map(said).collect()
    }
}

/// What to do before a change that costs this.
fn hint(losses: &[Loss]) -> &'static str {
    let any = |which: fn(&Lost) -> bool| losses.iter().any(|loss| which(&loss.what));
    if any(|it| matches!(it, Lost::Port(_))) {
        "detach these guests or shut them down first, or use --force: they are cut off from their network"
    } else if any(|it| matches!(it, Lost::Lease(_) | Lost::Gateway(_))) {
        "if that is meant, use --force: guests get the new address and gateway when they renew their lease (`dhclient -r; \
         dhclient` in a guest does it at once); a guest with a fixed address has to be changed by hand"
    } else {
        "keep the published ports in the file, or use --force"
    }
}

impl Member {
    /// The candidates for the gateway of each segment, and the ports that it publishes on them anew.
    pub(super) fn whom_to_ask(&self, segments: &[Segment]) -> BTreeMap<HostId, Vec<PublishedPorts>> {
        let mut asked: BTreeMap<HostId, Vec<PublishedPorts>> = BTreeMap::new();
        for segment in segments {
            let before = self.catalogue.get(&segment.name).map(|known| &known.segment);
            let had = |host: &HostRecord, port: &PortForward| {
                let same = |old: &PortForward| (old.protocol, old.listen) == (port.protocol, port.listen);
                before.is_some_and(|before| before.selects(&host.labels) && before.ports.iter().any(same))
            };
            for host in self.gossip.hosts().filter(|host| segment.selects(&host.labels)) {
                match host.candidacy {
                    Candidacy::Candidate { .. }
                    | Candidacy::Drained { .. }
                    | Candidacy::JournalLost { .. }
                    | Candidacy::Departing { .. } => {}
                    Candidacy::None => continue,
                }
                let new = segment.ports.iter().filter(|port| !had(host, port));
                let new: Vec<PublishedPorts> = new
                    .map(|port| PublishedPorts {
                        protocol: port.protocol,
                        ports: port.listen,
                    })
                    .collect();
                if !new.is_empty() {
                    asked.entry(host.id).or_default().extend(new);
                }
            }
        }
        asked
    }
}
