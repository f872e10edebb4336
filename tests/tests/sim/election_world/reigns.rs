//! Directed histories of the claimant's and the holder's side.

use super::core::election::message::{Established, Named, Says, VoteRefusal};
use super::core::id::Term;
use super::core::time::Duration;
use super::stage::{Known, Place, Stage, must};
use super::stories::{A, B, follower, grant_all, holder};
use crate::report::Violation;

pub(super) fn failed_member() -> Result<(), Violation> {
    let mut stage = follower();
    // A goes, B has been silent for long; both kernels live.
    stage.talkers.remove(&B);
    stage.run(3200);
    stage.say(
        A,
        None,
        vec![Says::Yield {
            term: Term(4),
            successor: None,
        }],
    );
    stage.talkers.insert(A, None);
    stage.told(B);
    let mut asked = false;
    let mut begun = None;
    for _ in 0..200 {
        stage.run(10);
        grant_all(&mut stage, &[A]);
        if stage.claims().is_some() {
            begun = begun.or(Some(stage.now()));
        }
        asked |= stage.told(B).iter().any(|says| matches!(says, Says::Ask { .. }));
        if stage.holds() {
            break;
        }
    }
    must(asked, "a failed member is asked, too", ())?;
    let waited = begun.map(|begun| stage.now() - begun);
    must(
        stage.holds() && waited.is_some_and(|waited| waited >= 180),
        "a failed member has 200 ms to answer",
        waited,
    )
}

pub(super) fn each_member() -> Result<(), Violation> {
    let mut stage = Stage::new(3, None);
    for _ in 0..60 {
        stage.run(10);
        grant_all(&mut stage, &[A]);
        must(!stage.holds(), "each member must have granted", stage.now())?;
    }
    Ok(())
}

pub(super) fn better_first() -> Result<(), Violation> {
    let mut stage = Stage::cast(3, None, Known::Kernels, Place::Last);
    stage.run(550);
    must(stage.claims().is_none(), "two better candidates have 300 ms each", ())?;
    stage.run(200);
    must(
        stage.claims().is_some() || stage.holds(),
        "after that the next one claims",
        (),
    )
}

pub(super) fn dead_member() -> Result<(), Violation> {
    let mut stage = follower();
    // The gateway goes, and B with it.
    for host in [A, B] {
        stage.talkers.remove(&host);
        stage.alive.remove(&host);
    }
    stage.run(700);
    must(
        stage.holds(),
        "two dead hosts do not stop the third for long",
        stage.claims(),
    )
}

pub(super) fn dead_holder_named() -> Result<(), Violation> {
    let mut stage = follower();
    stage.talkers.remove(&A);
    stage.alive.remove(&A);
    for _ in 0..100 {
        stage.run(10);
        if let Some(term) = stage.claims() {
            let named = Some(Named {
                host: A,
                term: Term(4),
                standing: Established::Holder,
            });
            stage.say(
                B,
                None,
                vec![Says::Refused {
                    term,
                    why: VoteRefusal::Bound,
                    named,
                    key: None,
                }],
            );
            return must(
                stage.claims().is_some(),
                "a refusal that names a dead holder ends no claim",
                (),
            );
        }
    }
    must(false, "a dead holder is replaced", ())
}

pub(super) fn only_higher_holder() -> Result<(), Violation> {
    let mut stage = holder();
    must(stage.holds(), "the best candidate becomes gateway", ())?;
    let Some(Says::Renew { term, .. }) = renewal(&mut stage) else {
        return must(false, "a holder renews", ());
    };
    let named = Some(Named {
        host: B,
        term: Term(term.0 + 5),
        standing: Established::Claim,
    });
    stage.say(
        A,
        None,
        vec![Says::Refused {
            term,
            why: VoteRefusal::Bound,
            named,
            key: None,
        }],
    );
    must(stage.holds(), "a claimant's grant deposes no holder", ())?;
    let named = Some(Named {
        host: B,
        term: Term(term.0 + 5),
        standing: Established::Holder,
    });
    stage.say(
        A,
        None,
        vec![Says::Refused {
            term,
            why: VoteRefusal::Bound,
            named,
            key: None,
        }],
    );
    must(!stage.holds(), "a refusal that names a higher holder deposes", ())
}

fn renewal(stage: &mut Stage) -> Option<Says> {
    stage.run(100);
    stage
        .told(A)
        .into_iter()
        .find(|says| matches!(says, Says::Renew { .. }))
}

pub(super) fn what_is_left() -> Result<(), Violation> {
    let mut stage = Stage::new(3, Some((Term(4), Duration::from_millis(3000))));
    // A is there and refuses nothing, but grants nothing either: no round is complete.
    stage.run(1900);
    must(stage.holds(), "a restarted holder goes on", ())?;
    stage.run(200);
    must(
        !stage.holds() && !stage.removals.is_empty(),
        "it ends a second before its address",
        &stage.removals,
    )
}

pub(super) fn renews_alone() -> Result<(), Violation> {
    let mut stage = Stage::new(3, Some((Term(4), Duration::from_millis(5000))));
    stage.talkers.clear();
    stage.run(950);
    must(
        stage.lifetimes.is_empty(),
        "a quiet holder renews no hold in its first second",
        &stage.lifetimes,
    )
}

pub(super) fn deadline_first() -> Result<(), Violation> {
    let mut stage = holder();
    must(stage.holds(), "the best candidate becomes gateway", ())?;
    stage.told(A);
    stage.freeze(8000);
    stage.say(A, None, Vec::new());
    let told = stage.told(A);
    let renews = told.iter().any(|says| matches!(says, Says::Renew { .. }));
    must(
        !stage.holds() && !renews,
        "past its deadline nobody acts as holder",
        told,
    )
}
