//! The machine that says who is a member: SWIM by the `foca` library, over any transport.

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU8, NonZeroUsize};

use foca::{Config, Foca, NoCustomBroadcast, Notification, PeriodicParams, State, Timer};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use super::codec::Wire;
use super::identity::Identity;
use crate::id::HostId;
use crate::time::{Duration, Instant};

/// Bytes of one packet at most. Streams carry them, so the limit of a datagram does not apply: with 1400 bytes the last
/// members of 100 hosts were unknown for a minute (measured), with 60000 for 1.4 s.
pub const MAX_PACKET: usize = 60_000;

/// How long a host that is known but silent is waited for after this agent's start. Together with dialling it leaves
/// room within the 15 s in which a dead host must be *failed*.
pub const EXPECTED_FOR: Duration = Duration::from_secs(10);

/// How often a host that has lost all others calls those it has given up: the library does so only while there is
/// somebody left.
const CALL_EVERY: Duration = Duration::from_secs(3);

/// How long after this host has taken a new identity it calls those it has given up: where both sides of a healed cut
/// renew themselves at one moment, each one's answer goes to an identity that the other no longer has.
const CALL_AGAIN: Duration = Duration::from_millis(100);

/// What membership knows of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It did not answer in time, and has a few seconds to object.
    Suspect,
    /// It is given up.
    Down,
}

/// What came of a packet or a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this packet; losing it does no harm.
    Send {
        /// To whom.
        to: HostId,
        /// The bytes.
        packet: Vec<u8>,
    },
    /// A host is there that was not.
    Up(HostId),
    /// A host was given up, or has left.
    Down(HostId),
    /// A host has begun a new life.
    Restarted(HostId),
    /// The others had given this host up; it is back under a new identity.
    Rejoined,
}

/// What a deadline of the membership is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipTimer {
    /// A probe, a suspicion's end, or gossip.
    Membership,
    /// A host that is known was waited for long enough.
    Expected,
    /// All others are given up, and called.
    Call,
}

/// A host known from the disk or by its record that has not been heard of in this life.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Until(Instant),
    GivenUp,
}

/// The membership of one host.
pub struct Membership {
    expected: BTreeMap<HostId, Expected>,
    foca: Foca<Identity, Wire, Xoshiro256PlusPlus, NoCustomBroadcast>,
    timers: BTreeMap<(Instant, u64), Timer<Identity>>,
    sequence: u64,
    /// When the given-up hosts are called; `None`: the library does it.
    next_call: Option<Instant>,
    effects: VecDeque<Effect>,
}

impl Membership {
    /// Alone, until [`Membership::announce`] or a packet from somebody. `instance` must be higher than in any life
    /// before; `seed` decides whom it probes.
    pub fn new(me: HostId, instance: u64, seed: u64) -> Self {
        let identity = Identity {
            host: me,
            instance,
            renewal: 0,
        };
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self {
            expected: BTreeMap::new(),
            foca: Foca::new(identity, config(), rng, Wire),
            timers: BTreeMap::new(),
            sequence: 0,
            next_call: None,
            effects: VecDeque::new(),
        }
    }

    /// Asks a host that can be sent to for the members it knows, and tells it that this one is here. To be called on
    /// each new connection.
    pub fn announce(&mut self, to: HostId, now: Instant) {
        let known = self
            .foca
            .iter_membership_state()
            .map(|member| *member.id())
            .find(|id| id.host == to);
        // A packet to a host is taken whatever life of it the sender knows.
        let to = known.unwrap_or(Identity {
            host: to,
            instance: 0,
            renewal: 0,
        });
        self.run(now, |foca, runtime| foca.announce(to, runtime));
    }

    /// A host is known from the disk or by its record: it is suspect until it is heard of, and given up after
    /// [`EXPECTED_FOR`].
    pub fn expect(&mut self, host: HostId, now: Instant) {
        if host != self.foca.identity().host && self.heard_of(host).is_none() {
            self.expected.entry(host).or_insert(Expected::Until(now + EXPECTED_FOR));
        }
    }

    /// Takes a packet that `from` sent. One that is malformed, too large or speaks for another host is dropped.
    pub fn handle_packet(&mut self, from: HostId, packet: &[u8], now: Instant) {
        // The sender's id comes first in each packet.
        let spoken_for = packet
            .first_chunk::<8>()
            .map(|bytes| HostId(u64::from_be_bytes(*bytes)));
        if spoken_for == Some(from) {
            self.run(now, |foca, runtime| foca.handle_data(packet, runtime));
        }
    }

    /// Tells the others that this host goes. Nothing is to be done with this value afterwards but to drain it.
    pub fn leave(&mut self, now: Instant) {
        self.run(now, |foca, runtime| foca.leave_cluster(runtime));
        self.timers.clear();
        self.next_call = None;
    }

    /// Forgets a host that was removed from the cluster.
    pub fn forget(&mut self, host: HostId, now: Instant) {
        self.expected.remove(&host);
        let Some(identity) = self
            .foca
            .iter_members()
            .map(|member| *member.id())
            .find(|id| id.host == host)
        else {
            return;
        };
        let update = foca::Member::down(identity);
        self.run(now, |foca, runtime| {
            foca.apply_many(std::iter::once(update), true, runtime)
        });
    }

    /// The next thing to do, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Membership::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, MembershipTimer)> {
        let timer = self
            .timers
            .first_key_value()
            .map(|((at, _), _)| (*at, MembershipTimer::Membership));
        let expected = self.expected.values().filter_map(|expected| match expected {
            Expected::Until(at) => Some((*at, MembershipTimer::Expected)),
            Expected::GivenUp => None,
        });
        let call = self.next_call.map(|at| (at, MembershipTimer::Call));
        expected.chain(timer).chain(call).min_by_key(|(at, _)| *at)
    }

    /// To be called when the time of [`Membership::poll_timeout`] has come; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(first) = self.timers.first_entry().filter(|first| first.key().0 <= now) {
            let timer = first.remove();
            self.run(now, |foca, runtime| foca.handle_timer(timer, runtime));
        }
        if self.next_call.is_some_and(|at| at <= now) {
            self.next_call = None;
            let members = self.foca.iter_membership_state();
            let given_up: Vec<Identity> = members
                .filter(|member| member.state() == State::Down)
                .map(|member| *member.id())
                .collect();
            for host in given_up {
                self.run(now, |foca, runtime| foca.announce(host, runtime));
            }
        }
        for (host, expected) in &mut self.expected {
            if let Expected::Until(at) = expected
                && *at <= now
            {
                *expected = Expected::GivenUp;
                self.effects.push_back(Effect::Down(*host));
            }
        }
    }

    /// What is known of a host; `None`: nobody has told of it.
    pub fn state(&self, host: HostId) -> Option<MemberState> {
        self.heard_of(host).or_else(|| {
            self.expected.get(&host).map(|expected| match expected {
                Expected::Until(_) => MemberState::Suspect,
                Expected::GivenUp => MemberState::Down,
            })
        })
    }

    fn is_lonely(&self) -> bool {
        self.foca.num_members() == 0 && self.foca.iter_membership_state().len() > 0
    }

    fn heard_of(&self, host: HostId) -> Option<MemberState> {
        self.foca
            .iter_membership_state()
            .find(|member| member.id().host == host)
            .map(|member| match member.state() {
                State::Alive => MemberState::Alive,
                State::Suspect => MemberState::Suspect,
                State::Down => MemberState::Down,
            })
    }

    fn run(
        &mut self,
        now: Instant,
        act: impl FnOnce(
            &mut Foca<Identity, Wire, Xoshiro256PlusPlus, NoCustomBroadcast>,
            &mut Collect<'_>,
        ) -> Result<(), foca::Error>,
    ) {
        let before = *self.foca.identity();
        let mut collect = Collect {
            now,
            timers: &mut self.timers,
            sequence: &mut self.sequence,
            effects: &mut self.effects,
        };
        // Its errors are packets that are not for us or no packets at all, and timers of an earlier identity: both are
        // dropped, and its state stays valid.
        let _dropped = act(&mut self.foca, &mut collect);
        if *self.foca.identity() != before {
            self.next_call = Some(now + CALL_AGAIN);
        } else if self.next_call.is_none() && self.is_lonely() {
            self.next_call = Some(now + CALL_EVERY);
        }
        self.expected.retain(|host, _| {
            !self
                .foca
                .iter_membership_state()
                .any(|member| member.id().host == *host)
        });
    }
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("identity", self.foca.identity())
            .finish_non_exhaustive()
    }
}

struct Collect<'a> {
    now: Instant,
    timers: &'a mut BTreeMap<(Instant, u64), Timer<Identity>>,
    sequence: &'a mut u64,
    effects: &'a mut VecDeque<Effect>,
}

impl foca::Runtime<Identity> for Collect<'_> {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        let effect = match notification {
            Notification::MemberUp(id) => Effect::Up(id.host),
            Notification::MemberDown(id) => Effect::Down(id.host),
            Notification::Rename(_, id) => Effect::Restarted(id.host),
            Notification::Rejoin(_) => Effect::Rejoined,
            Notification::Active | Notification::Idle | Notification::Defunct => return,
        };
        self.effects.push_back(effect);
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.effects.push_back(Effect::Send {
            to: to.host,
            packet: data.to_vec(),
        });
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        *self.sequence += 1;
        self.timers.insert((self.now + after, *self.sequence), event);
    }
}

/// Tuned by measurement (latency 0.5 to 2 ms): at 100 hosts a crash is seen after 7 s, and a cut of 60 s is healed
/// 9.5 s after its end, without any connection's help.
fn config() -> Config {
    const THREE: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");
    let every =
        |frequency, count| NonZeroUsize::new(count).map(|num_members| PeriodicParams { frequency, num_members });
    Config {
        probe_period: Duration::from_secs(1),
        probe_rtt: Duration::from_millis(400),
        num_indirect_probes: THREE,
        max_transmissions: NonZeroU8::new(10).expect("ten is not zero"),
        suspect_to_down_after: Duration::from_secs(4),
        // A day: a host that is away longer comes back by its own announcement.
        remove_down_after: Some(Duration::from_secs(24 * 60 * 60)),
        max_packet_size: NonZeroUsize::new(MAX_PACKET).expect("60000 is not zero"),
        notify_down_members: true,
        periodic_announce: every(Duration::from_secs(20), 1),
        periodic_announce_to_down_members: every(Duration::from_secs(5), 2),
        periodic_gossip: every(Duration::from_millis(200), 3),
    }
}
