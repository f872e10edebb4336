//! Why a command failed, and the exit status that tells so.

use crate::loss::LossRow;

/// Why a command failed; each kind has its exit status.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The agent refused, or could not do it; nothing more is known than it says. Exit status 1.
    Refused {
        /// What is wrong, as the agent says it.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// What guests would lose, where that is why.
        losses: Vec<LossRow>,
        /// How many more losses there are.
        more: u32,
    },
    /// The agent cannot be asked, or went away before it answered. Exit status 3.
    Unreachable {
        /// The socket that was tried, and the error.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// It failed here: a file, standard output. Exit status 1.
    Local(anyhow::Error),
    /// It failed, and the command has printed why. Exit status 1.
    Reported,
    /// The operator pressed Ctrl-C. Exit status 130, as of a process that SIGINT ends.
    Interrupted(&'static str),
    /// Something is wrong with the host that was checked. Exit status 1 or 2.
    Unhealthy(Grade),
}

/// How bad the worst problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// Somebody should look. Exit status 1.
    Warn,
    /// Something does not work. Exit status 2.
    Fail,
}

impl Failure {
    /// The exit status of the process.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Failure::Refused { .. } | Failure::Local(_) | Failure::Reported => 1,
            Failure::Unhealthy(Grade::Warn) => 1,
            Failure::Unhealthy(Grade::Fail) => 2,
            Failure::Unreachable { .. } => 3,
            Failure::Interrupted(_) => 130,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Local(error)
    }
}
