//! `pool recover`: the operator's word that no other host serves, where every host that took part is gone.
//!
//! ```text
//!  joined through hosts that are all removed ─► takes part, inherits what they owned ─┐
//!  journal lost, no other member left ────────► begins with an empty journal ─────────┴─► all addresses rest, then are free
//! ```
//! Answered once it is on disk.

use std::collections::BTreeSet;

use rand::Rng;

use super::Node;
use super::derive::pool_of;
use super::effect::{Call, Done, Effect, Refusal};
use super::member::{Member, guest_at};
use crate::addresses::{Leases, Unrecovered};
use crate::health::events::Event;
use crate::id::HostId;
use crate::time::{Duration, Instant};

/// How long members may take to acknowledge this host.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(4);
/// How often it is tried.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// A recovery that an operator waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    call: Call,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Not every member has acknowledged this host.
    Trying { again: Instant, until: Instant },
    /// This append says that it takes part.
    Writing(u64),
}

impl Recovery {
    pub(super) fn timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Trying { again, .. } => Some(again),
            Stage::Writing(_) => None,
        }
    }
}

impl Node {
    /// The operator's word that no other host serves.
    pub fn recover(&mut self, call: Call, now: Instant) {
        let seed = self.rng.next_u64();
        if let Err(refusal) = self.begin_recovery(call, seed, now) {
            let result = Err(refusal);
            self.effects.push_back(Effect::Answer { call, result });
        }
        self.settle(now);
    }

    fn begin_recovery(&mut self, call: Call, seed: u64, now: Instant) -> Result<(), Refusal> {
        let formed = self.formed()?;
        if formed.recovery.is_some() {
            return Err(Refusal::new("another recovery is under way"));
        }
        if formed.leases.has_lost_disk() {
            formed.begin_with_an_empty_journal(seed, now)?;
            let stage = Stage::Writing(formed.leases.written());
            formed.recovery = Some(Recovery { call, stage });
            // The old machine's last words are for the old journal.
            self.effects.push_back(Effect::NewJournal);
        } else {
            let stage = Stage::Trying {
                again: now,
                until: now + ACKNOWLEDGED_WITHIN,
            };
            formed.recovery = Some(Recovery { call, stage });
            formed.retry_recovery(now);
        }
        Ok(())
    }
}

impl Member {
    fn other_hosts(&self) -> impl Iterator<Item = &crate::cluster::gossip::HostRecord> {
        self.gossip.hosts().filter(|host| host.id != self.me)
    }

    /// Tries again what waits for other members.
    pub(super) fn retry_recovery(&mut self, now: Instant) {
        let Some(Recovery {
            call,
            stage: Stage::Trying { again, until },
        }) = self.recovery
        else {
            return;
        };
        if again > now {
            return;
        }
        let known: BTreeSet<HostId> = self.other_hosts().map(|host| host.id).collect();
        match self.leases.recover(&known, now) {
            Ok(()) => {
                let stage = Stage::Writing(self.leases.written());
                self.recovery = Some(Recovery { call, stage });
                self.touch_now(now);
            }
            Err(Unrecovered::Silent(_)) if now < until => {
                let again = now + TRY_EVERY;
                let stage = Stage::Trying { again, until };
                self.recovery = Some(Recovery { call, stage });
            }
            Err(why) => self.end_recovery(Err(self.unrecovered(&why))),
        }
    }

    fn begin_with_an_empty_journal(&mut self, seed: u64, now: Instant) -> Result<(), Refusal> {
        if !self.lost_at_start {
            return Err(
                Refusal::new("a write failed, but the journal that is on disk may be whole").hint(
                    "free or mend the disk and restart overlayd; if the journal turns out to be lost, `overlayctl status` \
                     says so, and this can be done",
                ),
            );
        }
        let others: Vec<&str> = self.other_hosts().map(|host| host.name.as_str()).collect();
        if !others.is_empty() {
            let others = others.join(", ");
            return Err(
                Refusal::new(format!("the journal of this host is lost, and it is not alone: {others}")).hint(
                    "where one of them has its journal, run `overlayctl leave --force` here and join again; else remove \
                     those that are off for good (`overlayctl peer remove NAME`), run `overlayctl leave --force` on the \
                     rest, and try again",
                ),
            );
        }
        let mine = self.derived.mine().iter();
        let pools = mine.filter_map(|(id, mine)| Some((*id, pool_of(mine)?)));
        let removed = self.gossip.removed().map(|removed| removed.host).collect();
        let told = self.gossip.leases(now).map(|lease| lease.version.epoch.number).max();
        let above = told.unwrap_or_default();
        self.leases = Leases::recover_lost(self.me, &removed, pools.collect(), above, (seed, now));
        for endpoint in self.gossip.endpoints() {
            self.leases
                .set_guest(endpoint.segment, endpoint.mac, guest_at(endpoint), now);
        }
        self.lost_at_start = false;
        self.derived.forget_pools();
        if !self.drained {
            self.election.undrain(now);
        }
        self.touch_now(now);
        self.report(Event::JournalRestarted);
        Ok(())
    }

    fn unrecovered(&self, why: &Unrecovered) -> Refusal {
        match why {
            Unrecovered::TakesPart => Refusal::new("nothing is to be recovered: this host takes part").hint(
                "addresses of removed hosts go to the others by themselves; see `overlayctl pool show` and `status`",
            ),
            Unrecovered::NoPart => Refusal::new("this host is leaving, or was removed: it serves no more"),
            Unrecovered::OtherTakesPart(host) => Refusal::new(format!(
                "nothing is lost: {} takes part, and so will this host when every member has acknowledged it",
                self.name_of(*host)
            ))
            .hint("see `overlayctl status` for whom it waits for"),
            Unrecovered::OtherLost(host) => {
                let name = self.name_of(*host);
                Refusal::new(format!("{name} has lost its journal, and would be waited for")).hint(format!(
                    "run `overlayctl leave --force` on {name}, or free its disk and restart overlayd there; then try again"
                ))
            }
            Unrecovered::Silent(hosts) => {
                let names: Vec<String> = hosts.iter().map(|host| self.name_of(*host)).collect();
                Refusal::new(format!(
                    "{} may know what this host does not, and has not acknowledged it",
                    names.join(", ")
                ))
                .hint("start overlayd there; or, if it is gone for good, `overlayctl peer remove NAME`")
            }
        }
    }

    /// Answers a recovery that is on disk by now.
    pub(super) fn finish_recovery(&mut self, synced: u64) {
        if let Some(Recovery {
            stage: Stage::Writing(written),
            ..
        }) = self.recovery
            && written <= synced
        {
            self.end_recovery(Ok(Done::Recovered {
                quarantine: self.leases.longest_quarantine(),
            }));
        }
    }

    /// The disk refuses.
    pub(super) fn fail_recovery(&mut self) {
        self.end_recovery(Err(Refusal::new("the journal cannot be written: nothing is recovered")
            .hint("free or mend the disk, then try again")));
    }

    fn end_recovery(&mut self, result: Result<Done, Refusal>) {
        if let Some(Recovery { call, .. }) = self.recovery.take() {
            self.effects.push_back(Effect::Answer { call, result });
        }
    }
}
