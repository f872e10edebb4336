//! Operations that take a while: each is a small machine that says when it has ended, and all share one way to wait, to
//! try again, to run out of time and to be answered.
//!
//! ```text
//!  call ─┬► refused
//!        └► Pending ─┬ look    after everything that happens: has it ended?
//!                    ├ retry   at its pace
//!                    └ expire  at its deadline ─────────────────────────────► Effect::Answer
//! ```
//! Operations that end at once are plain methods of [`Node`], in files of their own beside these.

mod admit;
mod apply;
mod drain;
mod guard;
mod init;
mod invite;
mod join;
mod leave;
mod listening;
mod machine;
mod move_gateway;
mod pending;
mod recover;
mod release;
mod remove_peer;
mod subnets;

pub use drain::DrainUntil;
pub use init::{Forming, InitReply};
pub(super) use pending::Pending;
