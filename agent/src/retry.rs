//! Whether what failed in the kernel is worth another try: a word that every error there has.

/// Whether an op that failed is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Something moved while we worked: look again, and if the op is still due, try again.
    Again,
    /// This op will not succeed as things stand; the others are not touched by that.
    Skip,
    /// No op will succeed until an operator fixes the host.
    Fatal,
}
