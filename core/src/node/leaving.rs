//! How a host goes: by its own word (`leave`), or by another's (`peer remove`).
//!
//! ```text
//!  leave ─► HandingOver ── gateways, then ranges are with others, or 10 s ──► Telling ── 300 ms ──► Removing ─► done
//! ```
//! The ranges last: a host that goes on as gateway after all must have addresses to give.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::effect::{Call, Done, Effect, Ended, Refusal};
use super::{Membership, Node};
use crate::cluster::gossip::Departure;
use crate::health::events::Event;
use crate::id::HostId;
use crate::time::{Duration, Instant};

/// How long gateways and ranges may take to be handed over before the leave is refused (or forced).
const HAND_OVER_WITHIN: Duration = Duration::from_secs(10);
/// How long the word of this host's leaving has to reach the others before its streams close.
const TELL_FOR: Duration = Duration::from_millis(300);
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether guests or ranges may be left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// They may not.
    No,
    /// The operator says so.
    Yes,
}

#[derive(Debug)]
pub(super) struct Leaving {
    call: Option<Call>,
    force: Force,
    stage: Stage,
    look_at: Instant,
    last: Ended,
    notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    HandingOver { until: Instant },
    Telling { until: Instant },
    Removing,
}

impl Leaving {
    pub(super) fn look_at(&self) -> Instant {
        self.look_at
    }

    /// Whether the others have been told.
    pub(super) fn is_gone(&self) -> bool {
        match self.stage {
            Stage::HandingOver { .. } => false,
            Stage::Telling { .. } | Stage::Removing => true,
        }
    }
}

impl Node {
    /// Leaves the cluster: hands over, tells the others, and has everything of ours removed from the kernel.
    pub fn leave(&mut self, call: Call, force: Force, now: Instant) {
        if let Some(refusal) = self.why_not_leave(force) {
            self.effects.push_back(Effect::Answer {
                call,
                result: Err(refusal),
            });
            return;
        }
        let Some(formed) = &mut self.formed else { return };
        let others = formed.gossip.hosts().any(|host| host.id != self.me);
        formed.drained = true;
        formed.election.drain(now);
        if !others {
            formed.left = true;
        } else if force == Force::Yes {
            formed.leases.leave(now);
        }
        formed.touch_now(now);
        self.leaving = Some(Leaving {
            call: Some(call),
            force,
            stage: Stage::HandingOver {
                until: now + HAND_OVER_WITHIN,
            },
            look_at: now,
            last: if others { Ended::LivesOn } else { Ended::Over },
            notes: Vec::new(),
        });
        self.settle(now);
        self.leave_timeout(now);
        self.settle(now);
    }

    fn why_not_leave(&self, force: Force) -> Option<Refusal> {
        if self.formed.is_none() {
            return Some(Refusal::new("this host is in no cluster, so there is nothing to leave"));
        }
        if self.leaving.is_some() {
            return Some(Refusal::new("this host is leaving already"));
        }
        let guests: Vec<String> = self
            .ports
            .iter()
            .filter(|(_, ports)| !ports.is_empty())
            .map(|(bridge, ports)| {
                format!(
                    "{bridge}: {}",
                    ports.iter().map(|port| port.as_str()).collect::<Vec<_>>().join(", ")
                )
            })
            .collect();
        if force == Force::No && !guests.is_empty() {
            return Some(
                Refusal::new(format!(
                    "guests are attached to this host's bridges ({})",
                    guests.join("; ")
                ))
                .hint("detach them or shut them down, or use --force: they lose their network"),
            );
        }
        None
    }

    pub(super) fn leave_timeout(&mut self, now: Instant) {
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.look_at > now {
            return;
        }
        leaving.look_at = now + LOOK_EVERY;
        let Some(formed) = &mut self.formed else { return };
        match leaving.stage {
            Stage::HandingOver { until } => {
                let gateways = formed.election.held();
                let alone = leaving.last == Ended::Over;
                let handed_over = formed.left && (gateways.is_empty() || alone);
                if !handed_over && now < until {
                    if gateways.is_empty() {
                        formed.leases.leave(now);
                    }
                    return;
                }
                if !handed_over {
                    let what = if gateways.is_empty() {
                        "its address ranges"
                    } else {
                        "a gateway"
                    };
                    let stays = leaving.force == Force::No && formed.leases.stay(now);
                    if leaving.force == Force::No && !stays && gateways.is_empty() {
                        // The others have it all, and are just being told.
                        return;
                    }
                    if stays {
                        let refusal = Refusal::new(format!(
                            "{what} could not be handed over to another host within 10 s"
                        ))
                        .hint("see `overlayctl status`; --force leaves anyway; hosts that do not hear of it need `peer remove`");
                        let call = leaving.call;
                        self.leaving = None;
                        self.stay(call, refusal, now);
                        return;
                    }
                    let name = formed.name_of(self.me);
                    leaving.notes.push(format!(
                        "{what} could not be handed over; where `overlayctl peer list` still has {name}, run `overlayctl \
                         peer remove {name}`"
                    ));
                }
                leaving.stage = Stage::Telling { until: now + TELL_FOR };
                formed.gossip.remove(self.me, Departure::Left, now);
                formed.membership.leave(now);
            }
            Stage::Telling { until } => {
                if now >= until || leaving.last == Ended::Over {
                    leaving.stage = Stage::Removing;
                    self.become_left(now);
                }
            }
            Stage::Removing => {}
        }
    }

    /// The leave was refused: everything goes on as before.
    fn stay(&mut self, call: Option<Call>, refusal: Refusal, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.drained = false;
            formed.election.undrain(now);
            formed.touch_now(now);
        }
        if let Some(call) = call {
            self.effects.push_back(Effect::Answer {
                call,
                result: Err(refusal),
            });
        }
    }

    /// A member refuses this host's calls because it was removed.
    pub fn handle_removed(&mut self, now: Instant) {
        if self.formed.is_some() && self.leaving.is_none() {
            self.learn_of_removal(now);
        }
    }

    /// Another host's operator said that this one is off for good, and it is not: it stops at once.
    pub(super) fn learn_of_removal(&mut self, now: Instant) {
        self.report(Event::RemovedFromCluster);
        self.become_left(now);
    }

    fn become_left(&mut self, _now: Instant) {
        let Some(formed) = self.formed.take() else { return };
        for (id, mine) in formed.derived.mine() {
            self.effects.push_back(Effect::StopAnnouncing(*id));
            self.effects.push_back(Effect::RemoveAddress {
                group: super::group_of(*id),
                segments: vec![mine.segment.name.clone()],
            });
        }
        self.effects.push_back(Effect::Listen(BTreeMap::new()));
        let next = HostId(self.rng.next_u64());
        self.membership = Membership::Left { next };
        self.me = next;
        self.dialled = BTreeMap::new();
        self.effects.push_back(Effect::Dial(BTreeMap::new()));
        self.effects.push_back(Effect::Cluster {
            id: None,
            removed: BTreeSet::new(),
        });
        self.announced_cluster = None;
        self.effects.push_back(Effect::SaveIdentity(self.membership));
        self.effects.push_back(Effect::Desired(None));
    }

    /// The kernel has nothing of ours any more, but for what `kept` tells.
    pub fn handle_removed_all(&mut self, kept: Vec<String>) {
        let Some(leaving) = self.leaving.take_if(|leaving| leaving.stage == Stage::Removing) else {
            return;
        };
        let Some(call) = leaving.call else { return };
        let notes = leaving.notes.into_iter().chain(kept).collect();
        self.effects.push_back(Effect::Answer {
            call,
            result: Ok(Done::Left {
                cluster: leaving.last,
                notes,
            }),
        });
    }
}
