//! One look at the kernel and what follows from it: facts, a plan, its ops, and what is reported.

use std::time::Duration;

use anyhow::Result;
use overlayd_core::config::Mode;
use overlayd_core::health::Rejected;
use overlayd_core::id::IfName;
use overlayd_core::kernel::desired;
use overlayd_core::kernel::foreign::{Hook, Inward, Needs};
use overlayd_core::kernel::inputs::{BridgeNetfilter, SegmentInputs};
use overlayd_core::kernel::observed::Observed;
use overlayd_core::kernel::plan::{self, Op, Plan};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::bridge_netfilter;
use super::order::Order;
use super::ports::{guests, with_ports};
use super::report::{Look, Report, Stage};
use super::worker::{DueTo, LOOK_EVERY, Worker};
use crate::clock;
use crate::netlink::{Applied, Failure};
use crate::nfnetlink;
use crate::retry::Retry;

/// After so long of trying a plan counts as tried, even if what failed may still succeed. A holder waits for its successor
/// to be prepared for 3 s.
const TRIED: Duration = Duration::from_secs(2);
/// A failed op that may succeed later is tried again after so long.
const RETRY: Duration = Duration::from_millis(500);
/// A plan that leaves another plan behind is followed at most so often without a pause.
pub(super) const ROUNDS: u32 = 4;

/// So many repairs of one look are named one by one.
const REPAIRS_LOGGED: usize = 10;

impl<R: Fn(Report)> Worker<R> {
    /// One look, with all that follows from it; how long until the next.
    pub(super) async fn look(&mut self, inbox: &mut mpsc::UnboundedReceiver<Order>) -> Duration {
        if let Err(problem) = self.tell_facts().await {
            (self.report)(Report::KernelUnreadable(format!("{problem:#}")));
            return RETRY;
        }
        self.give_back_bridge_netfilter();
        self.read_firewalls();
        let mut failures = Vec::new();
        let mut stage = Stage::Tried;
        let mut again = LOOK_EVERY;
        let mut newer = false;
        for _ in 0..ROUNDS {
            let (plan, seen) = match self.plan().await {
                Ok(found) => found,
                Err(problem) => {
                    (self.report)(Report::KernelUnreadable(format!("{problem:#}")));
                    return RETRY;
                }
            };
            // Something newer has come meanwhile: what would be done now is out of date, and so is what failed.
            newer = false;
            while let Ok(order) = inbox.try_recv() {
                self.take(order).await;
                newer = true;
            }
            if newer {
                (failures, stage, again) = (Vec::new(), Stage::Tried, LOOK_EVERY);
                continue;
            }
            if plan.ops.is_empty() {
                self.lacking = false;
            }
            if plan.ops.is_empty() || !failures.is_empty() {
                let stage = self.stage(stage);
                self.tell(&plan, seen, failures, stage);
                return again;
            }
            for op in &plan.ops {
                debug!(%op, "pending");
            }
            let applied = self.netlink.apply(&plan.ops).await;
            failures.extend(self.book(&plan, &applied));
            self.tell_left(&plan.ops, &seen);
            match applied.retry() {
                Some(Retry::Again) => again = RETRY,
                Some(Retry::Skip | Retry::Fatal) | None => {}
            }
            if applied.failures.iter().any(|failure| failure.retry() == Retry::Again) {
                stage = Stage::Trying;
            }
        }
        if newer { Duration::ZERO } else { RETRY }
    }

    /// Somebody came to need it after it was switched off.
    fn give_back_bridge_netfilter(&mut self) {
        match self.known_facts().map(|facts| facts.bridge_netfilter) {
            Some(BridgeNetfilter::SwitchOff) | None => {}
            Some(BridgeNetfilter::LeftOff | BridgeNetfilter::LeftOn) => {
                for line in self.replaced.put_back(bridge_netfilter::is_one) {
                    info!(%line, "bridge netfilter is as it was before overlayd");
                }
            }
        }
    }

    /// Only where guests' packets pass them.
    fn read_firewalls(&mut self) {
        let segments = || self.desired.iter().flat_map(|inputs| inputs.segments.values());
        let host = self.desired.as_ref().map(|inputs| &inputs.host);
        let forwards =
            |it: &SegmentInputs| it.has_gateway_link() && matches!(it.segment.mode, Mode::Nat | Mode::Routed);
        let needs = Needs {
            ports: segments().map(|it| it.segment.port).collect(),
            uplinks: host.into_iter().flat_map(|host| host.uplinks.keys()).cloned().collect(),
            inward: match segments().any(|it| forwards(it) && !it.segment.ports.is_empty()) {
                true => Inward::Published,
                false => Inward::Answers,
            },
        };
        let hooks = [Hook::Input, Hook::Forward].into_iter().filter(|hook| match hook {
            Hook::Input => segments().next().is_some(),
            Hook::Forward => segments().any(forwards),
        });
        self.firewalls.look(hooks.collect(), needs);
    }

    /// What an apply has shown, logged and kept; the failures as text.
    fn book(&mut self, plan: &Plan, applied: &Applied) -> Vec<String> {
        self.replaced.remember(&applied.replaced);
        self.lacking = applied.failures.iter().any(Failure::is_lack);
        match self.due_to {
            DueTo::Desired => debug!(ops = applied.done, "plan applied"),
            DueTo::Kernel => self.log_repairs(plan, applied),
        }
        let failures: Vec<String> = applied.failures.iter().map(ToString::to_string).collect();
        for text in &failures {
            // It is tried again and again; said once is enough.
            let told = self.told.as_ref().is_some_and(|told| told.failures.contains(text));
            if self.logged.insert(text.clone()) && !told {
                error!("{text}");
            }
        }
        failures
    }

    /// Guests that were just let go because they have moved away. Should the next look find one on the same port, then it
    /// has come back.
    fn tell_left(&mut self, ops: &[Op], seen: &Observed) {
        let Some(told) = &mut self.told else { return };
        let mut left = false;
        for op in ops {
            if let Op::ReplaceRemote { link, mac, .. } = op
                && let Some(bridge) = seen.links.get(link).and_then(|link| link.master.as_ref())
                && let Some(guests) = told.guests.get_mut(bridge)
            {
                left |= guests.remove(mac).is_some();
            }
        }
        if left {
            (self.report)(Report::Looked(told.clone()));
        }
    }

    /// What nobody asked for was changed by somebody else, or is new, like a guest's port. Where guests are changes by
    /// itself: the kernel learns.
    fn log_repairs(&self, plan: &Plan, applied: &Applied) {
        let failed = |op: &Op| applied.failures.iter().any(|failure| failure.op == *op);
        let learnt = |op: &Op| {
            matches!(
                op,
                Op::ReplaceRemote { .. } | Op::RemoveRemote { .. } | Op::RemoveBehind { .. }
            )
        };
        let done: Vec<&Op> = plan.ops.iter().filter(|op| !failed(op) && !learnt(op)).collect();
        for op in done.iter().take(REPAIRS_LOGGED) {
            let line = op.to_string();
            let segment = self.segment_of(&line);
            info!(
                segment,
                op = line,
                "the kernel differed from what this host should have: repaired"
            );
        }
        if done.len() > REPAIRS_LOGGED {
            info!(more = done.len() - REPAIRS_LOGGED, "further repairs");
        }
    }

    /// The segment whose interface a line names.
    fn segment_of(&self, line: &str) -> Option<&str> {
        let segments = self.desired.iter().flat_map(|inputs| inputs.segments.values());
        let mut here = segments.map(|it| &it.segment);
        let found = here.find(|segment| {
            let own = [
                segment.bridge.to_string(),
                format!("vx-{}", segment.name),
                format!("gw-{}", segment.name),
            ];
            line.split(' ').any(|word| own.iter().any(|name| name == word))
        });
        found.map(|segment| segment.name.as_str())
    }

    fn stage(&mut self, stage: Stage) -> Stage {
        match stage {
            Stage::Tried => {
                self.trying_since = None;
                Stage::Tried
            }
            Stage::Trying => {
                let since = *self.trying_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= TRIED {
                    Stage::Tried
                } else {
                    Stage::Trying
                }
            }
        }
    }

    pub(super) async fn plan(&mut self) -> Result<(Plan, Observed)> {
        let Some(inputs) = &self.desired else {
            return Ok((Plan::default(), self.netlink.observe([]).await?));
        };
        // Guest ports are in what is desired only because rules name them: they are as they were just seen.
        let sysctls = desired::derive(inputs).sysctls;
        let seen = self.netlink.observe(sysctls.keys()).await?;
        let mut desired = desired::derive(&with_ports(inputs, &seen));
        desired.orphans = self.orphans.look(&seen, clock::now()).plug;
        let missing: Vec<_> = desired
            .sysctls
            .keys()
            .filter(|sysctl| !sysctls.contains_key(sysctl))
            .collect();
        let seen = if missing.is_empty() {
            seen
        } else {
            self.netlink.observe(desired.sysctls.keys()).await?
        };
        Ok((plan::diff(&desired, &seen), seen))
    }

    fn tell(&mut self, plan: &Plan, seen: Observed, failures: Vec<String>, stage: Stage) {
        if stage == Stage::Tried {
            let groups = std::mem::take(&mut self.preparing);
            if !groups.is_empty() && !self.lacking {
                (self.report)(Report::Prepared(groups));
            }
        }
        self.logged.clear();
        if plan.ops.is_empty() {
            self.due_to = DueTo::Kernel;
        }
        let ports = seen.guest_ports();
        let inputs = self.desired.as_ref();
        let lacking = inputs.map(|inputs| self.wholeness.handle_look(inputs, plan, clock::now()));
        // A port of a segment that this host has no longer is only the operator's.
        let is_wanted = |bridge: &IfName| {
            inputs.is_some_and(|inputs| inputs.segments.values().any(|it| it.segment.bridge == *bridge))
        };
        let mut left_out = self.orphans.look(&seen, clock::now()).name;
        left_out.retain(|_, bridge| is_wanted(bridge));
        let look = Look {
            compared: self.desired.is_some(),
            due: plan.ops.len(),
            obstacles: plan.obstacles.clone(),
            lacking: lacking.unwrap_or_default(),
            failures,
            stage,
            rejected: self.rejected(),
            firewalls: self.firewalls.dropping().to_vec(),
            left_out,
            guests: guests(seen, &ports),
            ports,
        };
        if self.told.as_ref() != Some(&look) {
            for obstacle in &look.obstacles {
                if self.told.as_ref().is_none_or(|told| !told.obstacles.contains(obstacle)) {
                    warn!("{obstacle}");
                }
            }
            self.told = Some(look.clone());
            (self.report)(Report::Looked(look));
        }
    }

    /// Only a gateway's rules count it. Each doubling is news.
    fn rejected(&self) -> Vec<Rejected> {
        let segments = || self.desired.iter().flat_map(|inputs| inputs.segments.values());
        let nat = |it: &SegmentInputs| it.hosts_gateway() && it.segment.mode == Mode::Nat;
        if !segments().any(nat) {
            return Vec::new();
        }
        let name = |link: &IfName| {
            segments()
                .map(|it| &it.segment.name)
                .find(|name| name.gateway() == *link)
        };
        let counted = nfnetlink::rejected().into_iter().filter_map(|((from, link), packets)| {
            Some(Rejected {
                segment: name(&from)?.clone(),
                link,
                packets: 1 << packets.checked_ilog2()?,
            })
        });
        counted.collect()
    }

    pub(super) async fn tell_facts(&mut self) -> Result<()> {
        let facts = self.facts().await?;
        if self.facts.as_ref() != Some(&facts) {
            self.facts = Some(facts.clone());
            (self.report)(Report::Facts(facts));
        }
        Ok(())
    }
}
