//! Every duration of the election, and the relations between them that its safety rests on (tested below).
//!
//! Two hosts' clocks may differ in rate by 1 % each. `docs/protocol.md` says which rule uses which.

use crate::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The beat of renewals, of asks, and of pings to a suspected holder.
pub const BEAT: Duration = ms(50);
/// A host heard within this is reachable; an echo older than this is none.
pub const REACH: Duration = ms(1000);
/// A host not heard for this has failed (a word between voters; membership has its own).
pub const FAILED: Duration = ms(3000);
/// How long a granted renewal binds.
pub const GRANT: Duration = ms(7000);
/// How long a granted claim binds, and how long a place is kept for a successor.
pub const CLAIM_GRANT: Duration = ms(1000);
/// How long a claim asks.
pub const CLAIM: Duration = ms(1050);
/// No claim is won before this, so that a better claimant is heard.
pub const CLAIM_AT_LEAST: Duration = ms(50);
/// A named successor asks again after this: the others' `Yield` may be slower than its first `Ask`.
pub const SUCCESSOR_ASKS: Duration = ms(10);
/// How long a complete round lets the holder hold, from the round's beginning.
pub const HOLD: Duration = ms(5000);
/// A round that is not complete by then is begun anew.
pub const ROUND: Duration = ms(200);
/// The lifetime of the gateway addresses in the kernel.
pub const LIFETIME: Duration = ms(5000);
/// The lifetime is written at most this often.
pub const WRITE: Duration = ms(250);
/// A removal that is not reported is asked for again.
pub const REMOVE_AGAIN: Duration = ms(250);
/// The kernel counts lifetimes in whole seconds.
pub const KERNEL_SECOND: Duration = ms(1000);
/// A holder silent for this is suspected.
pub const SUSPECT: Duration = ms(100);
/// Agent and kernel silent for this, or longer, may be dead.
pub const DEAD_SILENCE: Duration = ms(200);
/// How often a watched kernel is probed.
pub const PROBE: Duration = ms(10);
/// How often a watched kernel is probed that is dead, or whose agent has been silent for [`SLOW_AFTER`].
pub const PROBE_SLOWLY: Duration = ms(100);
/// See [`PROBE_SLOWLY`].
pub const SLOW_AFTER: Duration = ms(10_000);
/// How often each member's kernel is probed in any case: a dead one is found within a second.
pub const PROBE_ANYWAY: Duration = ms(500);
/// So many probes in a row must be unanswered before a kernel is dead ...
pub const DEAD_PROBES: u32 = 8;
/// ... and the first of them sent so long ago: the suspected holder's.
pub const DEAD_SPAN_HOLDER: Duration = ms(100);
/// The same, for others.
pub const DEAD_SPAN: Duration = ms(200);
/// How long a host is quiet after its start or a gap, at most; and how long a new voter is bound.
pub const QUIET: Duration = ms(7000);
/// How long a quiet holder renews no hold.
pub const QUIET_HOLDER: Duration = ms(1000);
/// `Hello` to those that a quiet host has not heard.
pub const HELLO: Duration = ms(100);
/// A longer pause between two calls is a gap in one's own running.
pub const GAP: Duration = ms(150);
/// Each better candidate that seems alive delays a claim by this.
pub const STEP: Duration = ms(300);
/// A member silent for this since its last message and the claim's beginning does not stand against a claim.
pub const CLAIM_SILENCE: Duration = ms(1000);
/// The same for a member that had failed when the claim began.
pub const CLAIM_SILENCE_FAILED: Duration = ms(200);
/// The shortest rest after a lost claim.
pub const REST: Duration = ms(200);
/// The longest rest after a lost claim is this much longer.
pub const REST_SPREAD: u64 = 300;
/// The rest after the kernel would not take the address.
pub const REST_UNABLE: Duration = ms(5000);
/// Silence that makes a ping due between members.
pub const PING: Duration = ms(1000);
/// The same from a holder to the hosts that do not vote: another holder may be among them.
pub const PING_LISTENER: Duration = ms(500);
/// The host with the higher id leaves the ping to the other one for this long.
pub const PING_DEFER: Duration = ms(100);
/// A host that is no voter follows a holder heard of within this.
pub const CLAIM_REPEATED: Duration = ms(5000);
/// A voter failed for this loses its place until it is heard again.
pub const REPLACED: Duration = ms(7000);
/// A planned hand-over whose successor is not prepared by then is given up.
pub const PREPARE: Duration = ms(3000);
/// A hand-over that nobody ordered is tried again after this.
pub const HAND_OVER_AGAIN: Duration = ms(5000);
/// A holder's uplink must have been lost, or its segments must have lacked something, for this before it hands over: where
/// one cause concerns all hosts, each finds by itself that it is so, within a second of the others ...
pub const FAULT_LASTS: Duration = ms(2000);
/// ... another host must have been better off for this before it is handed over to ...
pub const STEADY: Duration = ms(10_000);
/// ... and that is done at most this often.
pub const FAULT_MOVE: Duration = ms(30_000);

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest round trip that the election is made for: 40 ms each way, and some.
    const LONGEST_ROUND_TRIP: Duration = ms(100);

    #[test]
    fn the_relations_that_safety_rests_on_hold() {
        assert_eq!(LIFETIME, HOLD, "the address must go by itself when the hold is over");
        assert!(
            GRANT * 98 / 100 > 4 * BEAT + LIFETIME,
            "by the slowest holder's clock and the fastest voter's, the address is gone before the voter is free"
        );
        assert!(
            ROUND <= 4 * BEAT,
            "the lifetime is written within a round's length of the round's beginning"
        );
        assert!(
            QUIET >= GRANT,
            "a restarted voter must not grant beside the grant that it forgot"
        );
        assert!(
            CLAIM > REACH && CLAIM > CLAIM_SILENCE,
            "a claim must outlast the silence that decides it"
        );
        assert!(
            CLAIM_SILENCE_FAILED >= LONGEST_ROUND_TRIP + 2 * BEAT,
            "a member wrongly thought failed can answer two asks"
        );
        assert!(ROUND > LONGEST_ROUND_TRIP, "a round must be completable");
        assert!(SUSPECT >= 2 * BEAT, "one lost renewal suspects nobody");
        assert!(
            GAP < DEAD_SILENCE,
            "whoever did not run must know before it calls others dead"
        );
        assert!(
            PROBE_ANYWAY + 2 * BEAT + DEAD_SPAN + DEAD_PROBES * PROBE <= ms(1000),
            "every voter finds a dead one within a second"
        );
        assert!(2 * BEAT <= GAP, "an event loop that is one beat late has no gap");
    }
}
