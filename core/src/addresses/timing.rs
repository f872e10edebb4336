//! Every duration of the lease rules, in one place.

use crate::time::Duration;

/// How long a gateway waits for an owner, then for a keeper; and an owner for a keeper before it takes the next.
pub(super) const ASK: Duration = Duration::from_millis(300);
/// An answer older than this is dropped by whoever would pass it on; half of `SLACK`.
pub(super) const ANSWER_LIFE: Duration = Duration::from_secs(5);
/// Another host's question for a nonce may be as old as `ANSWER_LIFE`, by a clock that differs: a lease extended since
/// is not given back by it.
pub(super) const NONCE_AFTER: Duration = Duration::from_secs(6);
/// What is added to a lease's time for answers under way.
const SLACK: Duration = Duration::from_secs(10);
/// How long an address is kept for a client that was offered it: clients choose within some seconds.
pub(super) const OFFER: Duration = Duration::from_secs(10);
/// How long an address is not given to others after a guest has answered for it.
pub(super) const REST: Duration = Duration::from_secs(60);
/// First and longest wait before a message is sent again.
pub(super) const REPEAT_FIRST: Duration = Duration::from_millis(100);
/// See `REPEAT_FIRST`.
pub(super) const REPEAT_LAST: Duration = Duration::from_secs(10);
/// How many hosts may at most stand in `may` because an owner looked for a keeper.
pub(super) const KEEPERS: usize = 3;
/// How long a guest must be on another host before that becomes its keeper.
pub(super) const MOVED: Duration = Duration::from_secs(10);
/// How often shares, births and orphans are looked at.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// How often unanswered membership is said again.
pub(super) const ACKNOWLEDGE_SOON: Duration = Duration::from_millis(500);
/// How often settled membership is said again.
pub(super) const ACKNOWLEDGE_LATE: Duration = Duration::from_secs(5);
/// How long the hosts behind the lowest one leave an inheritance to it.
pub(super) const HEIR_WAITS: Duration = Duration::from_secs(2);
/// How long an owner that is only presumed has to say that it is one.
pub(super) const UNCLAIMED: Duration = Duration::from_secs(10);
/// How long an heir waits before it asks again.
pub(super) const BALLOT_REPEAT: Duration = Duration::from_millis(500);
/// At most so often a host with too small a share asks for more.
pub(super) const BORROW_EVERY: Duration = Duration::from_secs(10);
/// A gateway must have served that long to be owed half of the free addresses, unless nobody else has.
pub(super) const GATEWAY_SETTLED: Duration = Duration::from_secs(60);
/// How many hosts of the group have a share.
pub(super) const SHARERS: usize = 7;
/// How many runs of free addresses a host has at most by borrowing.
pub(super) const SHARE_RUNS: usize = 16;
/// How many runs one message carries at most.
pub(super) const RUNS_PER_MESSAGE: usize = 512;
/// Free runs above this are joined under a fresh epoch.
pub(super) const SPLINTERS: usize = 64;
/// How long an address is declined the first time; doubles up to a day.
pub(super) const DECLINED: Duration = Duration::from_secs(3600);
/// How often the same finding is repeated at most.
pub(super) const FINDING_EVERY: Duration = Duration::from_secs(60);

/// How long whoever acknowledged a lease for `given` must take it for relied on: both clocks may be off by 1 %, and the
/// answer may have been under way.
pub(super) fn relied(given: Duration) -> Duration {
    let millis = given.as_millis().saturating_mul(103).div_ceil(100);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).saturating_add(SLACK)
}

/// About how long a lease has still to run that is relied on for this long.
pub(super) fn shown(relied: Duration) -> Duration {
    relied.saturating_sub(SLACK) * 100 / 103
}

/// How long an address is declined after so many strikes before.
pub(super) fn declined_for(strikes: u32) -> Duration {
    DECLINED * (1 << strikes.min(5)).min(24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_over_at_a_slow_guest_before_it_is_over_at_a_fast_host() {
        for given in [1u64, 60, 3600, 86_400 * 30] {
            let by_guest = given as f64 / 0.99 + ANSWER_LIFE.as_secs_f64();
            let by_host = relied(Duration::from_secs(given)).as_secs_f64() / 1.01;
            assert!(by_host > by_guest, "{given}");
        }
    }

    #[test]
    fn a_declined_address_waits_twice_as_long_each_time_up_to_a_day() {
        let hours: Vec<u64> = (0..7).map(|strikes| declined_for(strikes).as_secs() / 3600).collect();
        assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24]);
    }
}
