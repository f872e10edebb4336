//! Threads for what may take long, so that the event loop never waits: a loop that stands still for 150 ms counts as
//! frozen to the election.

pub mod address;
pub mod disk;
pub mod kernel;
pub mod state_files;
