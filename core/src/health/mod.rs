//! What operators are told about this host: what happened.

pub mod events;
