//! A run told as a story: numbered steps, each with what it showed and how long it took.
//!
//! ```text
//!  3/12  three hosts and an internet, wired                          ✓   0.21 s
//!        hv1 172.31.0.11 · hv2 172.31.0.12 · hv3 172.31.0.13
//! ```
//!
//! On a terminal a running step shows how long it has been going on; otherwise it is told when it is done.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The column in which a step's outcome stands.
const OUTCOME: usize = 78;

/// A story that is being told on standard output.
#[derive(Debug)]
pub struct Story {
    steps: usize,
    step: usize,
    begun: Instant,
    look: Look,
}

/// Where the story is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// By a person now: with colour (unless NO_COLOR is set) and a running clock.
    Terminal { colour: bool },
    /// In a file or by a program.
    Plain,
}

impl Story {
    /// Begins a story of so many steps.
    pub fn begin(title: &str, steps: usize) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let look = match std::io::stdout().is_terminal() {
            true => Look::Terminal { colour: !no_colour },
            false => Look::Plain,
        };
        let story = Self {
            steps,
            step: 0,
            begun: Instant::now(),
            look,
        };
        say(&format!("{}\n\n", story.styled(title, "1")));
        story
    }

    /// Tells one step: what it is about, then what `work` showed.
    ///
    /// # Errors
    /// That of `work`, after the step was told as failed.
    pub fn step<T>(&mut self, title: &str, work: impl FnOnce(&mut Shown) -> Result<T>) -> Result<T> {
        self.step += 1;
        let line = format!("{:>2}/{}  {title}", self.step, self.steps);
        let clock = Clock::start(self.look, &line);
        let begun = Instant::now();
        let mut shown = Shown::default();
        let done = work(&mut shown);
        clock.stop();
        let took = format!("{:.2} s", begun.elapsed().as_secs_f64());
        let outcome = match &done {
            Ok(_) => self.styled("✓", "32"),
            Err(_) => self.styled("✗", "31;1"),
        };
        let gap = OUTCOME.saturating_sub(line.chars().count()).max(2);
        say(&format!("{line}{:gap$}{outcome} {took:>9}\n", ""));
        for line in shown.0.lines() {
            say(format!("       {line}").trim_end());
            say("\n");
        }
        done
    }

    /// Ends the story well.
    pub fn end(self, sentence: &str) {
        let took = self.begun.elapsed().as_secs_f64();
        say(&format!("\n{} ({took:.1} s)\n", self.styled(sentence, "1;32")));
    }

    /// Ends it badly; `report` is for whoever looks for the fault.
    pub fn fail(self, error: &anyhow::Error, report: &str) {
        say(&format!("\n{} {error:#}\n", self.styled("failed:", "31;1")));
        if !report.is_empty() {
            say(&format!("\n{report}"));
        }
    }

    fn styled(&self, text: &str, code: &str) -> String {
        match self.look {
            Look::Terminal { colour: true } => format!("\x1b[{code}m{text}\x1b[0m"),
            Look::Terminal { colour: false } | Look::Plain => text.to_owned(),
        }
    }
}

/// What a step has to show, line by line.
#[derive(Debug, Default)]
pub struct Shown(String);

impl Shown {
    /// One or more lines.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.0.push_str(text.as_ref().trim_end());
        self.0.push('\n');
    }
}

/// A line on the terminal that tells how long its step has been going on.
struct Clock {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clock {
    fn start(look: Look, line: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = match look {
            Look::Plain => None,
            Look::Terminal { .. } => {
                let (stop, line) = (Arc::clone(&stop), line.to_owned());
                Some(std::thread::spawn(move || {
                    let begun = Instant::now();
                    while !stop.load(Ordering::Relaxed) {
                        say(&format!("\r\x1b[K{line} … {} s", begun.elapsed().as_secs()));
                        // Woken when the step is done.
                        std::thread::park_timeout(Duration::from_millis(500));
                    }
                    say("\r\x1b[K");
                }))
            }
        };
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread {
            thread.thread().unpark();
            // It only prints: what went wrong with that is of no interest.
            let _ = thread.join();
        }
    }
}

/// Writes to standard output; whoever closed it wants to hear no more.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
