//! The operators' side. [`Service`] turns a call on the control socket into an [`Ask`](crate::event::Ask), the loop has it
//! answered by [`answer`], and the service puts the answer into a message. Nothing is decided here.

mod answer;
mod request;
mod service;
mod status;
mod wire;

pub use answer::answer;
pub use service::Service;
