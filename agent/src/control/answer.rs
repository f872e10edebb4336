//! Answers what operators ask: one `match` over [`Ask`].

use overlayd_core::node::Node;
use overlayd_core::time::Instant;

use super::status::status;
use crate::effects::Edge;
use crate::event::{Ask, ReplyTo};
use crate::workers::kernel::Order;

/// Answers, or begins what is answered later.
pub fn answer(node: &mut Node, edge: &mut Edge, ask: Ask, now: Instant) {
    match ask {
        Ask::Init(reply) => send(reply, node.init(now)),
        Ask::Join {
            to,
            force,
            ports,
            reply,
        } => {
            node.set_ports(ports);
            node.join(edge.call(reply), to, force, now);
        }
        Ask::CancelJoin(reply) => send(reply, node.cancel_join(now)),
        Ask::Ports(reply) => edge.order_kernel(Order::Ports(reply)),
        Ask::Leave { force, ports, reply } => {
            node.set_ports(ports);
            node.leave(edge.call(reply), force, now);
        }
        Ask::Status(reply) => send(reply, Box::new(status(node, edge, now))),
        Ask::Peers(reply) => send(reply, node.peer_lines()),
        Ask::Invite { to, reply } => node.invite(edge.call(reply), to),
        Ask::AddStaticPeer {
            address,
            segment,
            reply,
        } => send(reply, node.add_static_peer(address, segment.as_ref(), now)),
        Ask::RemovePeer { name, reply } => node.remove_peer(edge.call(reply), &name, now),
        Ask::Segments(reply) => send(reply, node.segment_lines()),
        Ask::Apply {
            segments,
            run,
            force,
            reply,
        } => node.apply(edge.call(reply), segments, run, force, now),
        Ask::ConfirmApply(reply) => send(reply, node.confirm(now)),
        Ask::DeleteSegment { name, force, reply } => send(reply, node.delete_segment(&name, force, now)),
        Ask::Gateways(reply) => send(reply, node.gateway_lines(now)),
        Ask::MoveGateway { segment, to, reply } => {
            node.move_gateway(edge.call(reply), &segment, to.as_deref(), now);
        }
        Ask::Drain { until, reply } => node.drain(edge.call(reply), until, now),
        Ask::Undrain(reply) => send(reply, node.undrain(now)),
        Ask::Leases { segment, reply } => send(reply, node.lease_lines(segment.as_ref(), now)),
        Ask::Release {
            segment,
            address,
            force,
            reply,
        } => node.release(edge.call(reply), segment.as_ref(), address, force, now),
        Ask::Pools { segment, reply } => send(reply, node.pool_lines(segment.as_ref(), now)),
        Ask::Recover(reply) => node.recover(edge.call(reply), now),
        Ask::Endpoints { segment, reply } => send(reply, node.endpoint_lines(segment.as_ref(), now)),
        Ask::Flush(reply) => {
            node.flush(now);
            edge.perform_all(node);
            edge.flush(reply);
        }
        Ask::Plan(reply) => edge.order_kernel(Order::Plan(reply)),
    }
}

fn send<T>(reply: ReplyTo<T>, answer: T) {
    // An operator that has hung up needs no answer.
    let _ = reply.send(answer);
}
