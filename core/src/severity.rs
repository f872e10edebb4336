//! How bad something is, as hosts tell each other and operators.

/// How bad a finding is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work.
    Fail,
    /// Something works, and somebody should look.
    Warn,
    /// It cannot be told at present whether anything is wrong.
    Unknown,
}
