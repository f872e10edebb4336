//! Directed histories: one per rule that random histories test too rarely.

use std::cmp::Reverse;

use super::core::election::message::{Key, Rank, Says, VoteRefusal};
use super::core::election::{ElectionCandidacy, ElectionUplink, Fitness};
use super::core::id::{HostId, Term};
use super::stage::{Known, ME, Place, Stage, must};
use super::{givers, plans, reigns};
use crate::report::Violation;

/// A directed history.
pub(crate) struct Story {
    pub(crate) about: &'static str,
    pub(crate) tell: fn() -> Result<(), Violation>,
}

/// All of them.
pub(crate) const ALL: &[Story] = &[
    Story {
        about: "a host that has just started grants no claim",
        tell: just_started,
    },
    Story {
        about: "an answer to a former instance ends no quiet time",
        tell: former_instance,
    },
    Story {
        about: "any message with an echo ends the quiet time",
        tell: any_echo,
    },
    Story {
        about: "a quiet host grants renewals",
        tell: quiet_grants,
    },
    Story {
        about: "one promise at a time",
        tell: one_promise,
    },
    Story {
        about: "a term in a header binds",
        tell: header_binds,
    },
    Story {
        about: "a header without the term frees",
        tell: header_frees,
    },
    Story {
        about: "a higher renewal takes the place of a lower grant",
        tell: higher_renewal,
    },
    Story {
        about: "a refusal that names a dead holder does not end a claim",
        tell: reigns::dead_holder_named,
    },
    Story {
        about: "some lost probes make no kernel dead",
        tell: lost_probes,
    },
    Story {
        about: "only a higher holder deposes a holder",
        tell: reigns::only_higher_holder,
    },
    Story {
        about: "a restarted holder has what is left, less a second",
        tell: reigns::what_is_left,
    },
    Story {
        about: "a restarted holder takes no time from nobody",
        tell: reigns::renews_alone,
    },
    Story {
        about: "a failed member is asked, and given time to answer",
        tell: reigns::failed_member,
    },
    Story {
        about: "each member must have granted",
        tell: reigns::each_member,
    },
    Story {
        about: "who cannot hear this host does not bind it",
        tell: one_way,
    },
    Story {
        about: "a kernel that never answered is not dead",
        tell: never_answered,
    },
    Story {
        about: "better candidates that are alive go first",
        tell: reigns::better_first,
    },
    Story {
        about: "a claim does not wait for a dead host's agent",
        tell: reigns::dead_member,
    },
    Story {
        about: "whoever wakes after its deadline is no holder",
        tell: reigns::deadline_first,
    },
    Story {
        about: "whoever was frozen is quiet",
        tell: frozen,
    },
    Story {
        about: "a planned hand-over is silent for 50 ms at most",
        tell: plans::hand_over,
    },
    Story {
        about: "and it is so after claims that came to nothing",
        tell: plans::hand_over_after_a_cut,
    },
    Story {
        about: "a successor that does not get ready is not asked again before another",
        tell: plans::unready,
    },
    Story {
        about: "a drained host hands over, and takes the gateway where nobody else is left",
        tell: plans::drain,
    },
    Story {
        about: "where all are drained one of them is the gateway, after a power cut, too",
        tell: givers::all_drained,
    },
    Story {
        about: "a drained host comes after one without uplink",
        tell: givers::drained_after_uplink,
    },
    Story {
        about: "an agent that is about to end hands over to a drained host, and two such do not exchange the gateway",
        tell: givers::departing,
    },
    Story {
        about: "a segment that is not whole moves the gateway to a host where it has been whole for 10 s",
        tell: givers::lacking,
    },
    Story {
        about: "a host that lacks something takes the gateway last, and keeps it where all lack something",
        tell: givers::lacking_last,
    },
    Story {
        about: "a lost uplink moves the gateway once another's has worked for 10 s",
        tell: plans::uplink,
    },
    Story {
        about: "an uncontested address has no lifetime until it is contested",
        tell: plans::endless,
    },
    Story {
        about: "a removed gateway stops at once and is replaced",
        tell: plans::removal,
    },
    Story {
        about: "of nine hosts seven vote, and a lost voter is replaced",
        tell: plans::nine,
    },
    Story {
        about: "groups that merge keep one gateway",
        tell: plans::merge,
    },
    Story {
        about: "only non-candidates: no gateway",
        tell: plans::nobody,
    },
];

pub(super) const A: HostId = HostId(2);
pub(super) const B: HostId = HostId(3);

/// A claim of `from`.
pub(super) fn ask(from: HostId, term: u64, now: u64) -> Says {
    let rank = Rank {
        candidacy: ElectionCandidacy::Candidate,
        priority: Reverse(2000),
        weight: Reverse(0),
        host: from,
    };
    Says::Ask {
        term: Term(term),
        sent: now,
        key: Key {
            fitness: Fitness::Whole,
            uplink: ElectionUplink::Works,
            rank,
        },
    }
}

pub(super) fn renew(term: u64) -> Says {
    Says::Renew {
        term: Term(term),
        round: 1,
        lasting: super::core::election::message::Lasting::Limited,
    }
}

pub(super) fn grants_claim(told: &[Says]) -> bool {
    told.iter().any(|says| matches!(says, Says::ClaimGranted { .. }))
}

pub(super) fn grants_renewal(told: &[Says]) -> bool {
    told.iter().any(|says| matches!(says, Says::RenewGranted { .. }))
}

pub(super) fn refuses(told: &[Says], because: VoteRefusal) -> bool {
    told.iter()
        .any(|says| matches!(says, Says::Refused { why, .. } if *why == because))
}

/// A silent member has not answered: the host is quiet.
pub(super) fn quiet() -> Stage {
    let mut stage = Stage::new(3, None);
    stage.talkers.remove(&B);
    stage.run(200);
    stage
}

/// The gateway is at A, and everybody is heard.
pub(super) fn follower() -> Stage {
    let mut stage = Stage::new(3, None);
    stage.talkers.insert(A, Some(Term(4)));
    stage.run(100);
    stage.say(A, Some(Term(4)), vec![renew(4)]);
    stage.told(A);
    stage
}

/// This host is the gateway.
pub(super) fn holder() -> Stage {
    let mut stage = Stage::new(3, None);
    for _ in 0..40 {
        stage.run(10);
        grant_all(&mut stage, &[A, B]);
    }
    stage
}

/// Those answer everything with yes.
pub(super) fn grant_all(stage: &mut Stage, who: &[HostId]) {
    for &host in who {
        for says in stage.told(host) {
            match says {
                Says::Ask { term, sent, .. } => stage.say(host, None, vec![Says::ClaimGranted { term, sent }]),
                Says::Renew { term, round, .. } => stage.say(host, None, vec![Says::RenewGranted { term, round }]),
                _ => {}
            }
        }
    }
}

pub(super) fn just_started() -> Result<(), Violation> {
    let mut stage = quiet();
    let says = ask(A, 9, stage.now());
    stage.say(A, None, vec![says]);
    let told = stage.told(A);
    must(refuses(&told, VoteRefusal::Quiet), "a quiet host grants no claim", told)
}

pub(super) fn former_instance() -> Result<(), Violation> {
    let mut stage = Stage::new(3, None);
    stage.talkers.clear();
    for host in [A, B] {
        let now = stage.now();
        stage.hear(host, None, Some((1, now - 20)), Vec::new());
    }
    stage.run(50);
    let (now, says) = (stage.now(), ask(A, 9, stage.now()));
    stage.hear(A, None, Some((1, now - 20)), vec![says]);
    let told = stage.told(A);
    must(
        !grants_claim(&told),
        "what answers a former instance ends no quiet time",
        told,
    )
}

pub(super) fn any_echo() -> Result<(), Violation> {
    let mut stage = Stage::new(3, None);
    stage.run(60);
    let says = ask(A, 9, stage.now());
    stage.say(A, None, vec![says]);
    let told = stage.told(A);
    must(grants_claim(&told), "any message that echoes ends the quiet time", told)
}

pub(super) fn quiet_grants() -> Result<(), Violation> {
    let mut stage = quiet();
    stage.say(A, Some(Term(4)), vec![renew(4)]);
    let told = stage.told(A);
    must(grants_renewal(&told), "a quiet host grants renewals", told)
}

pub(super) fn one_promise() -> Result<(), Violation> {
    let mut stage = follower();
    stage.talkers.remove(&A);
    stage.run(3000);
    let says = ask(B, 9, stage.now());
    stage.say(B, None, vec![says]);
    let told = stage.told(B);
    must(
        refuses(&told, VoteRefusal::Bound),
        "a second claim is refused while a grant runs",
        told,
    )
}

pub(super) fn header_binds() -> Result<(), Violation> {
    let mut stage = Stage::new(3, None);
    stage.run(60);
    stage.say(A, Some(Term(4)), Vec::new());
    stage.talkers.remove(&A);
    stage.run(3000);
    let says = ask(B, 9, stage.now());
    stage.say(B, None, vec![says]);
    let told = stage.told(B);
    must(
        refuses(&told, VoteRefusal::Bound),
        "a header's term binds as a renewal does",
        told,
    )
}

pub(super) fn header_frees() -> Result<(), Violation> {
    let mut stage = follower();
    stage.say(A, None, Vec::new());
    let says = ask(B, 9, stage.now());
    stage.say(B, None, vec![says]);
    let told = stage.told(B);
    must(grants_claim(&told), "a header without the term frees", told)
}

pub(super) fn higher_renewal() -> Result<(), Violation> {
    let mut stage = follower();
    stage.say(B, Some(Term(9)), vec![renew(9)]);
    let told = stage.told(B);
    must(
        grants_renewal(&told),
        "a higher renewal takes the place of a lower grant",
        told,
    )?;
    stage.say(A, Some(Term(4)), vec![renew(4)]);
    let told = stage.told(A);
    must(refuses(&told, VoteRefusal::Bound), "a lower renewal is refused", told)
}

pub(super) fn lost_probes() -> Result<(), Violation> {
    let mut stage = follower();
    stage.talkers.remove(&A);
    stage.run(300);
    stage.alive.remove(&A);
    stage.run(50);
    stage.alive.insert(A);
    let says = ask(B, 9, stage.now());
    stage.say(B, None, vec![says]);
    let told = stage.told(B);
    must(
        refuses(&told, VoteRefusal::Bound),
        "a few lost probes make no kernel dead",
        told,
    )
}

pub(super) fn one_way() -> Result<(), Violation> {
    let mut stage = Stage::new(3, None);
    stage.talkers.remove(&A);
    stage.run(60);
    stage.hear(A, Some(Term(4)), None, vec![renew(4)]);
    let told = stage.told(A);
    must(
        !grants_renewal(&told),
        "a renewal of a host that does not hear this one is not granted",
        told,
    )
}

pub(super) fn never_answered() -> Result<(), Violation> {
    let mut stage = Stage::cast(3, None, Known::Nothing, Place::First);
    stage.talkers.insert(A, Some(Term(4)));
    stage.run(100);
    stage.talkers.remove(&A);
    stage.run(2000);
    let says = ask(B, 9, stage.now());
    stage.say(B, None, vec![says]);
    let told = stage.told(B);
    must(
        refuses(&told, VoteRefusal::Bound),
        "a kernel that never answered is waited for",
        told,
    )
}

pub(super) fn frozen() -> Result<(), Violation> {
    let mut stage = follower();
    stage.freeze(8000);
    let (now, says) = (stage.now(), ask(B, 9, stage.now()));
    stage.hear(B, None, Some((2, now - 8010)), vec![says]);
    let told = stage.told(B);
    must(
        !grants_claim(&told),
        "whoever was frozen grants no claim until it has listened",
        told,
    )?;
    must(stage.claims().is_none(), "whoever was frozen claims nothing", ME)
}
