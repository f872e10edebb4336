//! `pool recover`: the operator's word that no other host serves, where every host that took part is gone.
//!
//! ```text
//!  joined through hosts that are all removed ─► takes part, inherits what they owned ─┐
//!  journal lost, no other member left ────────► begins with an empty journal ─────────┴─► all addresses are quarantined, then free
//! ```
//! Answered once it is on disk.

use std::collections::BTreeSet;

use rand::Rng;

use super::machine::Machine;
use super::pending::{Operation, Pace, Recover};
use crate::addresses::{Leases, Unrecovered};
use crate::cluster::gossip::HostRecord;
use crate::health::events::Event;
use crate::id::HostId;
use crate::node::Node;
use crate::node::derive::pool_of;
use crate::node::effect::{Call, Done, Effect, Refusal};
use crate::node::member::{Member, guest_at};
use crate::time::{Duration, Instant};

/// How long members may take to acknowledge this host.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(4);
/// How often it is tried.
const TRY_EVERY: Duration = Duration::from_millis(200);

impl Node {
    /// The operator's word that no other host serves.
    pub fn recover(&mut self, call: Call, now: Instant) {
        let begun = self.begin_recovery(now);
        self.begin(call, begun, now);
    }

    fn begin_recovery(&mut self, now: Instant) -> Result<Operation, Refusal> {
        let seed = self.rng.next_u64();
        if self.has_pending(|operation| matches!(operation, Operation::Recover(_))) {
            return Err(Refusal::new("another `overlayctl pool recover` is running"));
        }
        let member = self.member()?;
        if !member.leases.has_lost_disk() {
            return Ok(Operation::Recover(Recover::Acknowledging(Vec::new())));
        }
        member.begin_with_an_empty_journal(seed, now)?;
        let written = member.leases.written();
        // The old machine's last words are for the old journal.
        self.effects.push_back(Effect::NewJournal);
        Ok(Operation::Recover(Recover::Writing(written)))
    }

    /// Answers a recovery that is on disk by now.
    pub(in crate::node) fn finish_recovery(&mut self, synced: u64) {
        let written = |operation: &Operation| matches!(operation, Operation::Recover(Recover::Writing(sequence)) if *sequence <= synced);
        let leases = self.formed.as_ref().map(|member| &member.leases);
        let quarantine = leases.map(Leases::longest_quarantine).unwrap_or_default();
        self.end(written, &Ok(Done::Recovered { quarantine }));
    }

    /// The disk refuses.
    pub(in crate::node) fn fail_recovery(&mut self) {
        let refusal = Refusal::new("the journal cannot be written: nothing is recovered")
            .hint("free or repair the disk, then try again");
        self.end(|operation| matches!(operation, Operation::Recover(_)), &Err(refusal));
    }
}

impl Machine for Recover {
    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Acknowledging(_) => Some(ACKNOWLEDGED_WITHIN),
            Self::Writing(_) => None,
        }
    }

    fn pace(&self) -> Pace {
        match self {
            Self::Acknowledging(_) => Pace::Tries {
                first_in: Duration::ZERO,
                every: TRY_EVERY,
            },
            Self::Writing(_) => Pace::Waits,
        }
    }

    fn look(&mut self, _node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        None
    }

    fn retry(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>> {
        let Self::Acknowledging(silent) = self else { return None };
        let member = node.member().ok()?;
        let known: BTreeSet<HostId> = member.other_hosts().map(|host| host.id).collect();
        match member.leases.recover(&known, now) {
            Ok(()) => {
                *self = Self::Writing(member.leases.written());
                member.touch_now(now);
                None
            }
            Err(Unrecovered::Silent(hosts)) => {
                *silent = hosts.into_iter().collect();
                None
            }
            Err(why) => Some(Err(member.unrecovered(&why))),
        }
    }

    fn expire(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        let Self::Acknowledging(silent) = self else { return None };
        let names: Vec<String> = silent
            .iter()
            .filter_map(|host| Some(node.formed.as_ref()?.name_of(*host)))
            .collect();
        Some(Err(unacknowledged(&names)))
    }
}

impl Member {
    fn other_hosts(&self) -> impl Iterator<Item = &HostRecord> {
        self.gossip.hosts().filter(|host| host.id != self.me)
    }

    fn begin_with_an_empty_journal(&mut self, seed: u64, now: Instant) -> Result<(), Refusal> {
        if !self.lost_at_start {
            return Err(
                Refusal::new("a write failed, but the journal that is on disk may be whole").hint(
                    "free or repair the disk and restart overlayd; if `overlayctl status` then says that the journal is \
                     lost, run this again",
                ),
            );
        }
        let others: Vec<&str> = self.other_hosts().map(|host| host.name.as_str()).collect();
        if !others.is_empty() {
            let others = others.join(", ");
            return Err(
                Refusal::new(format!("the journal of this host is lost, but it is not the only member: {others}")).hint(
                    "where one of them has its journal, run `overlayctl leave --force` here and join again; else remove \
                     those that are off for good (`overlayctl peer remove NAME`), run `overlayctl leave --force` on the \
                     rest, and try again",
                ),
            );
        }
        let local = self.derived.segments.iter();
        let pools = local.filter_map(|(id, local)| Some((*id, pool_of(local)?)));
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
        self.tell_duty(now);
        self.report(Event::JournalRestarted);
        Ok(())
    }

    fn unrecovered(&self, why: &Unrecovered) -> Refusal {
        match why {
            Unrecovered::TakesPart => Refusal::new("nothing to recover: this host already gives addresses").hint(
                "the addresses of removed hosts go to the others automatically; see `overlayctl pool show` and \
                 `overlayctl status`",
            ),
            Unrecovered::NoPart => Refusal::new("this host is leaving or was removed"),
            Unrecovered::OtherTakesPart(host) => Refusal::new(format!(
                "nothing is lost: {} gives addresses, and so will this host when every member has acknowledged it",
                self.name_of(*host)
            ))
            .hint("see `overlayctl status` for the members that it waits for"),
            Unrecovered::OtherLost(host) => {
                let name = self.name_of(*host);
                Refusal::new(format!("{name} has lost its journal and cannot acknowledge this host")).hint(format!(
                    "run `overlayctl leave --force` on {name}, or free its disk and restart overlayd there; then try again"
                ))
            }
            Unrecovered::Silent(hosts) => {
                let names: Vec<String> = hosts.iter().map(|host| self.name_of(*host)).collect();
                unacknowledged(&names)
            }
        }
    }
}

fn unacknowledged(names: &[String]) -> Refusal {
    let names = names.join(", ");
    Refusal::new(format!(
        "no acknowledgement from {names}, which may know of leases that this host does not"
    ))
    .hint("start overlayd there; or, if a host is gone for good, run `overlayctl peer remove NAME`")
}
