//! Frames that watch the ways between hosts, as the edge sends and hears them.

use super::Node;
use crate::cluster::path_watch::Frame;
use crate::id::{HostId, IfName};
use crate::time::Instant;

impl Node {
    /// An [`Effect::PathFrame`](super::Effect::PathFrame) is out.
    pub fn handle_path_sent(&mut self, peer: HostId, frame: Frame, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.paths.handle_sent((peer, frame.segment), frame.number);
        }
        self.settle(now);
    }

    /// Such a frame of another host has come to a bridge of this one.
    pub fn handle_path_frame(&mut self, bridge: &IfName, frame: Frame, now: Instant) {
        if let Some(formed) = &mut self.formed
            && formed.catalogue.by_bridge(bridge) == Some(frame.segment)
        {
            formed.paths.handle_frame((frame.from, frame.segment), frame.number);
        }
        self.settle(now);
    }
}
