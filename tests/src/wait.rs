//! Waiting for a condition, never for a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(15);

/// Tries until `attempt` succeeds; what it gave and how long that took.
///
/// # Errors
/// Not within `limit`: the last error of `attempt`, and `what` was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<(T, Duration)> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok((value, begun.elapsed())),
            Err(error) if begun.elapsed() >= limit => {
                return Err(error).with_context(|| format!("not within {limit:?}: {what}"));
            }
            Err(_) => sleep(EVERY),
        }
    }
}

/// Tries until `condition` is true; how long that took.
///
/// # Errors
/// Not within `limit`, or the last try failed.
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let ((), took) = wait_for(what, limit, || {
        ensure!(condition()?, "it is not so");
        Ok(())
    })?;
    Ok(took)
}

/// Holds `condition` against the whole of `time`.
///
/// # Errors
/// It failed once: the error of that time.
pub fn throughout(what: &str, time: Duration, mut condition: impl FnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < time {
        condition().with_context(|| format!("{what}: no longer after {:?}", begun.elapsed()))?;
        sleep(EVERY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn the_last_error_tells_why_it_was_not_so() {
        let mut tries = 0;
        let failed = wait_for::<()>("rain", Duration::from_millis(40), || {
            tries += 1;
            bail!("sun, {tries} times")
        });
        let told = format!("{:#}", failed.unwrap_err());
        assert_eq!(told, format!("not within 40ms: rain: sun, {tries} times"));
        assert!(tries > 1);
    }

    #[test]
    fn a_condition_that_holds_is_found_at_the_first_look() {
        assert!(until("now", Duration::ZERO, || Ok(true)).unwrap() < Duration::from_secs(1));
    }
}
