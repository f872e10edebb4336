//! The operator's side: each call is a question to the event loop, and its answer put into words.
//!
//! Nothing is decided here. A refusal is a status whose message an operator can act on, with the hint in its metadata.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use overlayd_core::cluster::membership::PeerState;
use overlayd_core::config::{self, CLUSTER_PORT, Trust};
use overlayd_core::id::SegmentName;
use overlayd_core::lease::LeaseState;
use overlayd_core::node::{
    Applied, Change, Done, Ended, EndpointLine, Force, Forming, GatewayLine, Guests, LeaseLine, Membership, Node,
    PeerLine, PoolLine, Refusal, Run, SegmentLine, Serves, Severity,
};
use overlayd_core::time::Instant;
use overlayd_proto::control as wire;
use overlayd_proto::control::control_server::Control;
use tokio::sync::{mpsc, oneshot};
use tonic::metadata::{AsciiMetadataValue, BinaryMetadataValue};
use tonic::{Code, Request, Response, Status};

use crate::clock;
use crate::effects::Agent;
use crate::event_loop::Event;
use crate::workers::kernel;

/// How long drain waits for what can be handed over.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// How often it looks whether they were.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The service on the control socket.
#[derive(Clone)]
pub struct Service {
    events: mpsc::UnboundedSender<Event>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    /// Asks the loop behind `events`.
    pub fn new(events: mpsc::UnboundedSender<Event>) -> Self {
        Self { events }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Agent, Instant) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        let question = Box::new(move |agent: &mut Agent, now: Instant| {
            // An operator that has gone away needs no answer.
            let _ = reply.send(question(agent, now));
        });
        let stopping = || Status::unavailable("the agent is stopping");
        self.events.send(Event::Ask(question)).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    async fn node<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Node, Instant) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.ask(move |agent, now| question(&mut agent.node, now)).await
    }

    /// Waits until what a call has changed is on disk.
    async fn on_disk(&self) -> Result<(), Status> {
        let flushed = self.ask(|agent, now| agent.flushed(now)).await?;
        flushed.await.map_err(|_| Status::unavailable("the agent is stopping"))
    }

    /// A question that changes something: answered once that is on disk.
    async fn change<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Node, Instant) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Status> {
        let changed = self.node(question).await?.map_err(refused)?;
        self.on_disk().await?;
        Ok(changed)
    }

    /// A call that the node answers later, and that is answered once what it changed is on disk.
    async fn call(
        &self,
        begin: impl FnOnce(&mut Agent, Instant) -> oneshot::Receiver<Result<Done, Refusal>> + Send + 'static,
    ) -> Result<Done, Status> {
        let answer = self.ask(begin).await?;
        let answer = answer.await.map_err(|_| Status::unavailable("the agent is stopping"))?;
        let done = answer.map_err(refused)?;
        self.on_disk().await?;
        Ok(done)
    }

    async fn gateways(&self, only: Option<SegmentName>) -> Result<Vec<wire::Gateway>, Status> {
        let lines = self.node(|node, now| node.gateway_lines(now)).await?;
        let lines = lines
            .into_iter()
            .filter(|line| only.as_ref().is_none_or(|only| *only == line.segment));
        Ok(lines.map(gateway).collect())
    }
}

#[tonic::async_trait]
impl Control for Service {
    async fn init(&self, _: Request<wire::InitRequest>) -> Answer<wire::InitResponse> {
        let ((cluster, forming), listen) = self
            .change(|node, now| Ok((node.init(now)?, node.facts().map(|facts| facts.listen))))
            .await?;
        Ok(Response::new(wire::InitResponse {
            cluster_id: cluster.to_string(),
            already_formed: forming == Forming::Before,
            join_line: listen
                .map(|listen| format!("overlayctl join {}", spoken(listen)))
                .unwrap_or_default(),
        }))
    }

    async fn join(&self, request: Request<wire::JoinRequest>) -> Answer<wire::JoinResponse> {
        let request = request.into_inner();
        let to = address(&request.address)?;
        if request.token.is_some() {
            return Err(refused(
                Refusal::new("tokens belong to TLS between hosts, which this version does not have yet")
                    .hint("join without --token; every host has `cluster.insecure: true`"),
            ));
        }
        match self
            .call(move |agent, now| agent.call(|node, call| node.join(call, to, now)))
            .await?
        {
            Done::Joined {
                cluster,
                via,
                hosts,
                gave_way,
            } => Ok(Response::new(wire::JoinResponse {
                cluster_id: cluster.to_string(),
                via,
                hosts,
                gave_way,
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn leave(&self, request: Request<wire::LeaveRequest>) -> Answer<wire::LeaveResponse> {
        let force = if request.into_inner().force {
            Force::Yes
        } else {
            Force::No
        };
        // A guest may have been plugged in a moment ago, before the last look's news are through.
        let (reply, ports) = oneshot::channel();
        self.ask(move |agent, _| agent.edge.order_kernel(kernel::Order::Ports(reply)))
            .await?;
        let ports = ports
            .await
            .map_err(|_| Status::unavailable("the agent is stopping"))?
            .map_err(|problem| Status::internal(format!("the kernel cannot be asked: {problem}")))?;
        let done = self
            .call(move |agent, now| {
                agent.node.set_ports(ports);
                if force == Force::Yes {
                    agent.edge.leave_by_force = kernel::Guests::CutOff;
                }
                agent.call(|node, call| node.leave(call, force, now))
            })
            .await;
        // The operator's word was for this leave: a later removal by others cuts no guest off.
        self.ask(|agent, _| agent.edge.leave_by_force = kernel::Guests::Keep)
            .await?;
        let done = done?;
        let removed = self
            .ask(|agent, _| std::mem::take(&mut agent.edge.removed_lines))
            .await?;
        match done {
            Done::Left { cluster, notes } => Ok(Response::new(wire::LeaveResponse {
                cluster_ended: cluster == Ended::Over,
                removed,
                notes,
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn peer_list(&self, _: Request<wire::PeerListRequest>) -> Answer<wire::PeerListResponse> {
        let peers = self.node(|node, _| node.peer_lines()).await?;
        Ok(Response::new(wire::PeerListResponse {
            peers: peers.into_iter().map(peer).collect(),
        }))
    }

    async fn peer_add(&self, request: Request<wire::PeerAddRequest>) -> Answer<wire::PeerAddResponse> {
        let to = address(&request.into_inner().address)?;
        self.call(move |agent, _| agent.call(|node, call| node.invite(call, to)))
            .await?;
        // The newcomer's record is here: it joined through this host.
        let peers = self.node(|node, _| node.peer_lines()).await?;
        let found = peers.into_iter().find(|line| line.address == Some(to.ip()));
        Ok(Response::new(wire::PeerAddResponse { peer: found.map(peer) }))
    }

    async fn peer_add_static(
        &self,
        request: Request<wire::PeerAddStaticRequest>,
    ) -> Answer<wire::PeerAddStaticResponse> {
        let request = request.into_inner();
        let vtep: IpAddr = request.address.parse().map_err(|_| {
            Status::invalid_argument(format!(
                "{:?} is not an IP address: a static peer is named by its VTEP",
                request.address
            ))
        })?;
        let only = request.segment.as_deref().map(segment_name).transpose()?;
        let (segments, peers) = self
            .change(move |node, now| Ok((node.add_static_peer(vtep, only.as_ref(), now)?, node.peer_lines())))
            .await?;
        Ok(Response::new(wire::PeerAddStaticResponse {
            segments: segments.iter().map(ToString::to_string).collect(),
            peer: peers
                .into_iter()
                .find(|line| line.id.is_none() && line.address == Some(vtep))
                .map(peer),
        }))
    }

    async fn peer_remove(&self, request: Request<wire::PeerRemoveRequest>) -> Answer<wire::PeerRemoveResponse> {
        let name = request.into_inner().name;
        let lines = self.node(|node, _| node.peer_lines()).await?;
        let found = lines.into_iter().find(|line| line.name == name);
        let done = self
            .call(move |agent, now| agent.call(|node, call| node.remove_peer(call, &name, now)))
            .await?;
        let inheriting = match done {
            Done::PeerRemoved { inheriting } => inheriting,
            other => return Err(unexpected(&other)),
        };
        Ok(Response::new(wire::PeerRemoveResponse {
            inheriting: inheriting.iter().map(ToString::to_string).collect(),
            peer: found.map(peer),
        }))
    }

    async fn segment_list(&self, _: Request<wire::SegmentListRequest>) -> Answer<wire::SegmentListResponse> {
        let lines = self.node(|node, _| node.segment_lines()).await?;
        Ok(Response::new(wire::SegmentListResponse {
            segments: lines.iter().map(segment).collect(),
        }))
    }

    async fn segment_show(&self, request: Request<wire::SegmentShowRequest>) -> Answer<wire::SegmentShowResponse> {
        let name = segment_name(&request.into_inner().name)?;
        let lines = self.node(|node, _| node.segment_lines()).await?;
        let Some(line) = lines.into_iter().find(|line| line.segment.name == name) else {
            return Err(refused(
                Refusal::new(format!("no segment is called {name}")).hint("see `overlayctl segment list`"),
            ));
        };
        Ok(Response::new(wire::SegmentShowResponse {
            segment: Some(segment(&line)),
            generation: line.generation,
            yaml: line.segment.to_yaml(),
            written_by: line.written_by,
        }))
    }

    async fn segment_delete(
        &self,
        request: Request<wire::SegmentDeleteRequest>,
    ) -> Answer<wire::SegmentDeleteResponse> {
        let name = segment_name(&request.into_inner().name)?;
        let ports = self.change(move |node, now| node.delete_segment(&name, now)).await?;
        Ok(Response::new(wire::SegmentDeleteResponse {
            guest_ports: ports.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn apply(&self, request: Request<wire::ApplyRequest>) -> Answer<wire::ApplyResponse> {
        let request = request.into_inner();
        let segments = match config::built_segments(&request.text, &request.file) {
            Ok(segments) => segments,
            Err(errors) => {
                let errors = errors.iter().map(|error| wire::ConfigError {
                    line: u32::try_from(error.line).unwrap_or(0),
                    column: u32::try_from(error.column).unwrap_or(0),
                    key: error.key.clone(),
                    message: error.message.clone(),
                    hint: (!error.hint.is_empty()).then(|| error.hint.clone()),
                });
                return Ok(Response::new(wire::ApplyResponse {
                    errors: errors.collect(),
                    ..Default::default()
                }));
            }
        };
        let run = if request.dry_run { Run::Dry } else { Run::Real };
        let guests = if request.force { Guests::Override } else { Guests::Heed };
        let applied = self
            .change(move |node, now| node.apply(&segments, run, guests, now))
            .await?;
        Ok(Response::new(wire::ApplyResponse {
            errors: Vec::new(),
            segments: applied.into_iter().map(change).collect(),
            pending: Vec::new(),
        }))
    }

    async fn status(&self, _: Request<wire::StatusRequest>) -> Answer<wire::StatusResponse> {
        let status = self.ask(status).await?;
        Ok(Response::new(status))
    }

    async fn gateway_list(&self, _: Request<wire::GatewayListRequest>) -> Answer<wire::GatewayListResponse> {
        Ok(Response::new(wire::GatewayListResponse {
            gateways: self.gateways(None).await?,
        }))
    }

    async fn gateway_move(&self, request: Request<wire::GatewayMoveRequest>) -> Answer<wire::GatewayMoveResponse> {
        let request = request.into_inner();
        let name = segment_name(&request.segment)?;
        let segment = name.clone();
        let before = self
            .gateways(Some(name.clone()))
            .await?
            .into_iter()
            .find_map(|line| line.host);
        self.call(move |agent, now| {
            agent.call(|node, call| node.move_gateway(call, &segment, request.host.as_deref(), now))
        })
        .await?;
        Ok(Response::new(wire::GatewayMoveResponse {
            gateways: self.gateways(Some(name)).await?,
            from: before,
        }))
    }

    async fn drain(&self, _: Request<wire::DrainRequest>) -> Answer<wire::DrainResponse> {
        let mine = |lines: Vec<GatewayLine>| lines.into_iter().filter(|line| line.me).map(|line| line.segment);
        let lines = || self.node(|node, now| node.gateway_lines(now));
        let had: Vec<SegmentName> = mine(lines().await?).collect();
        self.change(Node::drain).await?;
        let until = tokio::time::Instant::now() + DRAIN_WITHIN;
        // Done when another host serves: an agent that ends before would take the word of it along.
        let served = |line: &GatewayLine| !line.me && line.serves == Serves::Now;
        let kept: Vec<String> = loop {
            let lines = lines().await?;
            let open = lines.iter().any(|line| had.contains(&line.segment) && !served(line));
            let others = self.node(|node, _| node.has_other_candidates()).await?;
            if !open || !others || tokio::time::Instant::now() >= until {
                break mine(lines).map(|segment| segment.to_string()).collect();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let had: Vec<String> = had.iter().map(ToString::to_string).collect();
        let gone = |line: &wire::Gateway| had.contains(&line.segment) && !kept.contains(&line.segment);
        let gateways = self.gateways(None).await?.into_iter().filter(gone).collect();
        Ok(Response::new(wire::DrainResponse { gateways, kept }))
    }

    async fn undrain(&self, _: Request<wire::UndrainRequest>) -> Answer<wire::UndrainResponse> {
        self.change(Node::undrain).await?;
        Ok(Response::new(wire::UndrainResponse {}))
    }

    async fn lease_list(&self, request: Request<wire::LeaseListRequest>) -> Answer<wire::LeaseListResponse> {
        let request = request.into_inner();
        let only = request.segment.as_deref().map(segment_name).transpose()?;
        let lines = self.node(move |node, now| node.lease_lines(only.as_ref(), now)).await?;
        let shown = lines
            .into_iter()
            .filter(|line| request.all || line.lease.state == LeaseState::Held);
        Ok(Response::new(wire::LeaseListResponse {
            leases: shown.filter_map(lease).collect(),
        }))
    }

    async fn lease_release(&self, request: Request<wire::LeaseReleaseRequest>) -> Answer<wire::LeaseReleaseResponse> {
        let request = request.into_inner();
        let address: IpAddr = request
            .address
            .parse()
            .map_err(|_| Status::invalid_argument(format!("{:?} is not an IP address", request.address)))?;
        let only = request.segment.as_deref().map(segment_name).transpose()?;
        let within = only.clone();
        let lines = self
            .node(move |node, now| node.lease_lines(within.as_ref(), now))
            .await?;
        let found = lines.into_iter().find(|line| line.lease.address.ip() == address);
        self.call(move |agent, now| agent.call(|node, call| node.release(call, only.as_ref(), address, now)))
            .await?;
        Ok(Response::new(wire::LeaseReleaseResponse {
            lease: found.and_then(lease),
        }))
    }

    async fn pool_show(&self, request: Request<wire::PoolShowRequest>) -> Answer<wire::PoolShowResponse> {
        let only = request.into_inner().segment.as_deref().map(segment_name).transpose()?;
        let lines = self.node(move |node, _| node.pool_lines(only.as_ref())).await?;
        Ok(Response::new(wire::PoolShowResponse {
            ranges: lines.into_iter().map(range).collect(),
        }))
    }

    async fn pool_recover(&self, _: Request<wire::PoolRecoverRequest>) -> Answer<wire::PoolRecoverResponse> {
        let done = self
            .call(|agent, now| agent.call(|node, call| node.recover(call, now)))
            .await?;
        match done {
            Done::Recovered { quarantine } => Ok(Response::new(wire::PoolRecoverResponse {
                quarantine_ms: u64::try_from(quarantine.as_millis()).unwrap_or(u64::MAX),
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn endpoint_list(&self, request: Request<wire::EndpointListRequest>) -> Answer<wire::EndpointListResponse> {
        let only = request.into_inner().segment.as_deref().map(segment_name).transpose()?;
        let lines = self
            .node(move |node, now| node.endpoint_lines(only.as_ref(), now))
            .await?;
        Ok(Response::new(wire::EndpointListResponse {
            endpoints: lines.into_iter().map(endpoint).collect(),
        }))
    }

    async fn plan(&self, _: Request<wire::PlanRequest>) -> Answer<wire::PlanResponse> {
        let (reply, answer) = oneshot::channel();
        self.ask(move |agent, _| agent.edge.order_kernel(kernel::Order::Plan(reply)))
            .await?;
        let plan = answer.await.map_err(|_| Status::unavailable("the agent is stopping"))?;
        let plan = plan.map_err(|problem| Status::internal(format!("the kernel cannot be asked: {problem}")))?;
        let ops = plan.ops.iter().map(|op| wire::PlanOp {
            op: op.to_string(),
            segment: None,
        });
        Ok(Response::new(wire::PlanResponse { ops: ops.collect() }))
    }
}

/// A refusal as the CLI reads it: the hint goes beside the message.
fn refused(refusal: Refusal) -> Status {
    let mut status = Status::new(Code::FailedPrecondition, refusal.what);
    if let Some(hint) = refusal.hint {
        match AsciiMetadataValue::try_from(hint.as_str()) {
            Ok(hint) => drop(status.metadata_mut().insert("hint", hint)),
            Err(_) => {
                let hint = BinaryMetadataValue::from_bytes(hint.as_bytes());
                status.metadata_mut().insert_bin("hint-bin", hint);
            }
        }
    }
    status
}

fn unexpected(done: &Done) -> Status {
    Status::internal(format!("the call ended as another would have: {done:?}"))
}

fn segment_name(text: &str) -> Result<SegmentName, Status> {
    SegmentName::new(text).map_err(|invalid| Status::invalid_argument(invalid.to_string()))
}

/// ADDR or ADDR:PORT, an IPv6 address with a port in brackets.
fn address(text: &str) -> Result<SocketAddr, Status> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse()
        .or_else(|_| bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, CLUSTER_PORT)))
        .map_err(|_| Status::invalid_argument(format!("{text:?} is not ADDR or ADDR:PORT with a numeric address")))
}

/// The shortest way to say an address: the usual port goes without saying.
fn spoken(address: SocketAddr) -> String {
    if address.port() == CLUSTER_PORT {
        address.ip().to_string()
    } else {
        address.to_string()
    }
}

fn peer(line: PeerLine) -> wire::Peer {
    wire::Peer {
        name: line.name,
        id: line.id.map(|id| id.to_string()),
        address: line.address.map(|address| address.to_string()).unwrap_or_default(),
        state: match line.state {
            PeerState::Alive => wire::PeerState::Alive,
            PeerState::Suspect => wire::PeerState::Suspect,
            PeerState::Failed => wire::PeerState::Failed,
            PeerState::Left => wire::PeerState::Left,
            PeerState::Static => wire::PeerState::Static,
        }
        .into(),
        self_: line.me,
        mtu: line.mtu.map(|mtu| mtu.bytes()),
    }
}

fn segment(line: &SegmentLine) -> wire::Segment {
    wire::Segment {
        name: line.segment.name.to_string(),
        vni: line.vni().number(),
        bridge: line.segment.bridge.to_string(),
        mode: line.mode().to_owned(),
        mtu: line.mtu.map_or(0, |mtu| mtu.bytes()),
        gateway: line.gateway.clone(),
        hosts: line.hosts.clone(),
    }
}

fn gateway(line: GatewayLine) -> wire::Gateway {
    let ago = |since: Duration| clock::wall_millis().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(0));
    wire::Gateway {
        segment: line.segment.to_string(),
        host: line.host,
        term: line.term.0,
        since_unix_ms: line.since.map(|since| i64::try_from(ago(since)).unwrap_or(i64::MAX)),
        self_: line.me,
        reason: line.reason,
    }
}

fn change(applied: Applied) -> wire::SegmentChange {
    wire::SegmentChange {
        name: applied.name.to_string(),
        kind: match applied.change {
            Change::Added => wire::ChangeKind::Added,
            Change::Changed => wire::ChangeKind::Changed,
            Change::Unchanged => wire::ChangeKind::Unchanged,
        }
        .into(),
        fields: applied
            .fields
            .into_iter()
            .map(|field| wire::FieldChange {
                key: field.key,
                old: field.old,
                new: field.new,
            })
            .collect(),
        generation: applied.generation,
    }
}

/// `None`: nothing is known of the address any more.
fn lease(line: LeaseLine) -> Option<wire::Lease> {
    let state = match line.lease.state {
        LeaseState::Held => wire::LeaseState::Bound,
        LeaseState::Settled => wire::LeaseState::Reserved,
        LeaseState::Pending => wire::LeaseState::Pending,
        LeaseState::Quarantined => wire::LeaseState::Quarantined,
        LeaseState::Declined => wire::LeaseState::Declined,
        LeaseState::Free => return None,
    };
    let end = |left: Duration| {
        i64::try_from(clock::wall_millis().saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
            .unwrap_or(i64::MAX)
    };
    Some(wire::Lease {
        segment: line.segment.to_string(),
        address: line.lease.address.ip().to_string(),
        mac: line.lease.client.map(|mac| mac.to_string()),
        hostname: (!line.lease.hostname.is_empty()).then_some(line.lease.hostname),
        expires_unix_ms: line.lease.left.0.map(end),
        owner: Some(line.owner),
        keeper: line.keeper,
        copies: line.lease.copies,
        state: state.into(),
    })
}

fn range(line: PoolLine) -> wire::PoolRange {
    let (first, last) = (line.line.range.first().ip(), line.line.range.last().ip());
    wire::PoolRange {
        segment: line.segment.to_string(),
        range: if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        },
        owner: line.owner,
        free: line.line.free,
        held: line.line.held,
        quarantined: line.line.quarantined,
        declined: line.line.declined,
    }
}

fn endpoint(line: EndpointLine) -> wire::Endpoint {
    wire::Endpoint {
        segment: line.segment.to_string(),
        mac: line.mac.to_string(),
        addresses: line.addresses.iter().map(ToString::to_string).collect(),
        host: line.host,
        interface: line.interface,
    }
}

fn status(agent: &mut Agent, now: Instant) -> wire::StatusResponse {
    let (node, edge) = (&agent.node, &agent.edge);
    let facts = node.facts();
    let mut problems: Vec<wire::Problem> = node
        .problems()
        .into_iter()
        .map(|problem| wire::Problem {
            severity: match problem.severity {
                Severity::Fail => wire::Severity::Fail,
                Severity::Warn => wire::Severity::Warn,
            }
            .into(),
            what: problem.what,
            hint: problem.hint,
        })
        .collect();
    let fail = |what: String| wire::Problem {
        severity: wire::Severity::Fail.into(),
        what,
        hint: None,
    };
    problems.extend(edge.look.obstacles.iter().map(|obstacle| fail(obstacle.to_string())));
    problems.extend(edge.look.failures.iter().cloned().map(fail));
    problems.extend(
        edge.blind
            .iter()
            .map(|problem| fail(format!("the kernel cannot be asked: {problem}"))),
    );
    problems.extend(edge.unsaved.iter().map(|problem| wire::Problem {
        severity: wire::Severity::Warn.into(),
        what: problem.clone(),
        hint: Some("free the disk of the state directory, or make it writable".to_owned()),
    }));
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    let own = node.config().host.name.clone();
    wire::StatusResponse {
        host: Some(wire::HostStatus {
            name: facts.map(|facts| facts.name.clone()).or(own).unwrap_or_default(),
            id: node.me().to_string(),
            address: facts.map(|facts| facts.vtep.to_string()),
            underlay: facts.map(|facts| facts.underlay.to_string()).unwrap_or_default(),
            underlay_mtu: facts.map(|facts| facts.underlay_mtu.bytes()),
            overlay_mtu: facts.map(|facts| facts.underlay_mtu.overlay(facts.vtep).bytes()),
            version: node.version().to_owned(),
            drained: node.is_drained(),
            started_unix_ms: i64::try_from(edge.started_wall).unwrap_or(i64::MAX),
            ops_due: u32::try_from(edge.look.due).unwrap_or(u32::MAX),
        }),
        cluster: match node.membership() {
            Membership::Formed(cluster) => Some(wire::ClusterStatus {
                id: cluster.to_string(),
                insecure: node.config().cluster.trust == Trust::Insecure,
            }),
            Membership::Unformed | Membership::Left { .. } => None,
        },
        waiting: node.waiting().unwrap_or_default(),
        peers: node.peer_lines().into_iter().map(peer).collect(),
        segments: node.segment_lines().iter().map(segment).collect(),
        gateways: node.gateway_lines(now).into_iter().map(gateway).collect(),
        problems,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_go_without_port_and_ipv6_with_or_without_brackets() {
        for (text, meant) in [
            ("172.31.0.11", "172.31.0.11:7480"),
            ("172.31.0.11:99", "172.31.0.11:99"),
            ("fd00::1", "[fd00::1]:7480"),
            ("[fd00::1]", "[fd00::1]:7480"),
            ("[fd00::1]:99", "[fd00::1]:99"),
        ] {
            assert_eq!(address(text).unwrap(), meant.parse().unwrap(), "{text}");
        }
        assert!(address("hv1").is_err() && address("172.31.0.11:99999").is_err());
    }
}
