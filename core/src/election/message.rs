//! What hosts say to each other about gateways: one stream per pair of hosts for this alone, one message for all
//! groups of the pair.
//!
//! Times in messages are milliseconds on the *sender's* clock; nobody compares them with its own, they come back as
//! echoes.

use std::cmp::Ordering;

use crate::id::{HostId, SegmentId, Term};

/// An election group: a segment, or the segments that `forward_to` joins, named by the smallest segment id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub SegmentId);

impl std::fmt::Display for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One message from one host to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks, what it has heard, what it holds.
    pub header: Header,
    /// Questions and answers; may be empty.
    pub parts: Vec<Part>,
}

/// The beginning of each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender.
    pub sender: HostId,
    /// Grows with each start of the sender.
    pub instance: u64,
    /// Grows with each message of this instance.
    pub sequence: u64,
    /// When it was sent, on the sender's clock (ms).
    pub sent: u64,
    /// What the sender last heard from the receiver, if anything.
    pub echo: Option<Echo>,
    /// The terms that the sender holds, by group, ascending.
    pub held: Vec<Held>,
}

/// The receiver's own header, given back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// [`Header::instance`] of the message last heard.
    pub instance: u64,
    /// [`Header::sent`] of the message last heard (ms on the clock of whoever gets the echo).
    pub sent: u64,
}

/// A term that the sender of a header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which group's gateway it is.
    pub group: GroupId,
    /// The sender's term in it.
    pub term: Term,
    /// Whether the sender's kernel may have the address without lifetime.
    pub lasting: Lasting,
}

/// How long a granted renewal binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lasting {
    /// For [`super::timing::GRANT`].
    Limited,
    /// Until that kernel is dead, the holder yields, or renews limited: its address has no lifetime.
    Endless,
}

/// One question or answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A quiet host asks to be heard.
    Hello,
    /// The highest term seen in each group that both know.
    HelloAnswer {
        /// By group.
        terms: Vec<(GroupId, Term)>,
    },
    /// Once a second between members, every 50 ms to a suspected holder.
    Ping,
    /// To a `Ping`, and to the `Pong` that answered one's own.
    Pong {
        /// Whether the receiver is to answer with a last `Pong`.
        turn: Turn,
    },
    /// Something about one group.
    Group {
        /// Which group; the receiver may not know it yet.
        group: GroupId,
        /// What about it.
        says: Says,
    },
}

/// Which `Pong` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The answer to a `Ping`; is answered.
    First,
    /// The answer to a first `Pong`.
    Last,
}

/// One question or answer about one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The holder asks for its next 5 s.
    Renew {
        /// The holder's term.
        term: Term,
        /// Which of its rounds.
        round: u64,
        /// What the grant is to be.
        lasting: Lasting,
    },
    /// To `Renew`: yes.
    RenewGranted {
        /// The holder's term.
        term: Term,
        /// The round granted.
        round: u64,
    },
    /// To `Renew` from a host that is not reachable yet: nothing but a sign of life.
    Heard,
    /// A claimant asks for the group.
    Ask {
        /// The term it would have.
        term: Term,
        /// When this was asked (ms on the claimant's clock).
        sent: u64,
        /// Its place among claimants.
        key: Key,
    },
    /// To `Ask`: yes.
    ClaimGranted {
        /// The term asked.
        term: Term,
        /// [`Says::Ask::sent`] as asked.
        sent: u64,
    },
    /// To `Renew` or `Ask`: no.
    Refused {
        /// The term asked or renewed.
        term: Term,
        /// Why.
        why: VoteRefusal,
        /// The host that stands against it, where there is one.
        named: Option<Named>,
        /// The refuser's own place among claimants, where it is a candidate.
        key: Option<Key>,
    },
    /// The sender gives up a claim or the gateway itself: its address and services are off.
    Yield {
        /// Grants of this term or lower to the sender end.
        term: Term,
        /// Who is to have it next; the place is kept for it.
        successor: Option<HostId>,
    },
    /// The holder wants the receiver to be its successor: prepare everything but the address.
    Prepare {
        /// The holder's term.
        term: Term,
    },
    /// To `Prepare`: everything but the address is there.
    Prepared {
        /// The holder's term.
        term: Term,
    },
    /// An operator at the sender wants the holder to hand over.
    Move {
        /// To whom; `None`: to the best other candidate.
        to: Option<HostId>,
    },
}

/// Why a `Renew` or `Ask` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteRefusal {
    /// The refuser holds the group.
    Holder,
    /// The refuser claims it, too, and comes before.
    BetterClaimant,
    /// The refuser has granted it to another.
    Bound,
    /// The refuser has just started or woken.
    Quiet,
}

/// A host that stands against a claim or a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Who claims or holds.
    pub host: HostId,
    /// Its term.
    pub term: Term,
    /// Whether it holds that term or only claims it.
    pub standing: Established,
}

/// Whether a grant's host holds its term or only claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Established {
    /// It claims.
    Claim,
    /// It holds.
    Holder,
}

/// A candidate's place; the *smaller* key comes before the larger one: whole segments first, then candidates that are not
/// drained, then uplinks that work, then the order of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whether it can do the job at all.
    pub fitness: Fitness,
    /// Whether its uplink works.
    pub uplink: ElectionUplink,
    /// Its place in the order of the group.
    pub rank: Rank,
}

impl Key {
    /// What an incumbent gives way to: a host of a smaller class, whatever its uplink, priority or place.
    pub fn class(&self) -> (Fitness, ElectionCandidacy) {
        (self.fitness, self.rank.candidacy)
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.class(), self.uplink, self.rank).cmp(&(other.class(), other.uplink, other.rank))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether a host has all that the gateway of a group needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fitness {
    /// As far as it says.
    Whole,
    /// It says that something is lacking: it comes last, and is not barred.
    Lacking,
}

/// Whether a host's way out works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElectionUplink {
    /// Carrier, route and next hop are there.
    Works,
    /// At least one of them is not.
    Down,
}

/// A host's place in a group's order: candidates before the rest, then priority, then a hash of group and host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Candidates come first.
    pub candidacy: ElectionCandidacy,
    /// The configured priority, turned round: the highest priority comes first.
    pub priority: std::cmp::Reverse<u32>,
    /// Rendezvous hash of (group, host), turned round: the highest comes first.
    pub weight: std::cmp::Reverse<u64>,
    /// Decides between equal hashes.
    pub host: HostId,
}

/// Whether a host may become gateway; the first before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElectionCandidacy {
    /// It takes the gateway when it is the first of those alive.
    Candidate,
    /// An operator has drained it, or it has no addresses to give: it hands over what it has as soon as one that is not
    /// drained can take it, and takes the gateway where there is none.
    Drained,
    /// Its agent is about to end: it hands over to a drained host, too, and nobody hands over to it.
    Departing,
    /// It is configured not to be.
    Never,
}

impl ElectionCandidacy {
    /// Whether it may be the gateway at all.
    pub fn is_eligible(self) -> bool {
        self != Self::Never
    }
}
