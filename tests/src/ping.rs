//! A ping that goes on beside the test, and what it tells about pauses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::ledger::Ledger;
use crate::namespace::Namespace;
use crate::process::Running;

/// A ping every 10 ms.
#[derive(Debug)]
pub struct Pinger {
    running: Running,
    log: PathBuf,
    every: Duration,
}

/// What a ping told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Requests that were sent and should have been answered.
    pub sent: usize,
    /// Requests that were answered.
    pub answered: usize,
    /// The longest time without an answer, less the time between two requests.
    pub pause: Duration,
}

impl Told {
    /// Requests without an answer.
    pub fn lost(&self) -> usize {
        self.sent - self.answered
    }
}

impl Pinger {
    /// Pings `address` from inside `from` until told to finish.
    ///
    /// # Errors
    /// `ping` cannot be started.
    pub fn start(from: &Namespace, address: &str, log: PathBuf, ledger: &Ledger) -> Result<Self> {
        let every = Duration::from_millis(10);
        let _ = std::fs::remove_file(&log);
        // -D: with the time of each answer. -n: no names.
        let mut command = from.command("ping");
        command.args(["-n", "-D", "-i", "0.01", address]);
        Ok(Self {
            running: Running::start(&mut command, "ping", &log, ledger)?,
            log,
            every,
        })
    }

    /// How many answers there were so far.
    pub fn answers(&self) -> usize {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        answers(&text).len()
    }

    /// Ends it; what it told.
    ///
    /// # Errors
    /// What it wrote cannot be read, or there was no answer at all.
    pub fn finish(mut self) -> Result<Told> {
        // The last request deserves its answer: what is still on the way counts as sent.
        std::thread::sleep(self.every * 5);
        self.running.signal(Signal::SIGINT);
        self.running.stop(Duration::from_secs(2));
        let text = std::fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        told(&text, self.every)
    }
}

/// Sequence number and time in microseconds of each answer.
fn answers(text: &str) -> BTreeMap<usize, u64> {
    text.lines().filter_map(answer).collect()
}

/// `[1700000000.123456] 64 bytes from 203.0.113.1: icmp_seq=5 ttl=62 time=0.066 ms`
fn answer(line: &str) -> Option<(usize, u64)> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    let (seconds, micros) = time.split_once('.')?;
    let (_, sequence) = rest.split_once("bytes from")?.1.split_once("icmp_seq=")?;
    let sequence = sequence.split_whitespace().next()?.parse().ok()?;
    let time = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    Some((sequence, time))
}

fn told(text: &str, every: Duration) -> Result<Told> {
    let answers = answers(text);
    ensure!(!answers.is_empty(), "ping was never answered: {}", text.trim());
    // What was sent after the last answer may be on the way; a test that looks for a loss waits for answers first.
    let sent = answers.keys().next_back().copied().unwrap_or_default();
    let mut times: Vec<u64> = answers.values().copied().collect();
    times.sort_unstable();
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    Ok(Told {
        sent,
        answered: answers.len(),
        pause: Duration::from_micros(gap).saturating_sub(every),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_the_longest_pause_are_told() {
        let text = "PING 203.0.113.1 (203.0.113.1) 56(84) bytes of data.
[1700000000.000000] 64 bytes from 203.0.113.1: icmp_seq=1 ttl=63 time=0.066 ms
[1700000000.010000] 64 bytes from 203.0.113.1: icmp_seq=2 ttl=63 time=0.066 ms
[1700000000.020000] From 192.168.124.1 icmp_seq=3 Destination Host Unreachable
[1700000000.050000] 64 bytes from 203.0.113.1: icmp_seq=6 ttl=63 time=0.066 ms
";
        let told = told(text, Duration::from_millis(10)).unwrap();
        assert_eq!(
            told,
            Told {
                sent: 6,
                answered: 3,
                pause: Duration::from_millis(30)
            }
        );
        assert_eq!(told.lost(), 3);
    }

    #[test]
    fn no_answer_at_all_is_an_error() {
        assert!(told("PING 203.0.113.1\n", Duration::from_millis(10)).is_err());
    }
}
