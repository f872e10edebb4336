//! The service on the control socket: each call is an [`Ask`], and its answer a message.

use overlayd_core::config;
use overlayd_core::id::SegmentName;
use overlayd_core::node::{Done, DrainUntil, Ended, Forming, Refusal};
use overlayd_proto::control as wire;
use overlayd_proto::control::control_server::Control;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};
use tracing::info;

use super::request::{
    address, apply_line, besides_segments, forced, ip, log_command, refused, run_of, segment_name, spoken, unexpected,
};
use super::wire::{applied, endpoint, gateway, lease, loss, misconfigured, peer, range, segment};
use crate::event::{Ask, Event, ReplyTo};

/// The service on the control socket.
#[derive(Clone, Debug)]
pub struct Service {
    events: mpsc::UnboundedSender<Event>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    /// Asks the loop behind `events`.
    pub fn new(events: mpsc::UnboundedSender<Event>) -> Self {
        Self { events }
    }

    async fn ask<T>(&self, ask: impl FnOnce(ReplyTo<T>) -> Ask) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.events.send(Event::Ask(ask(reply))).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Asks for what changes something; answered once that is on disk.
    async fn change<T>(&self, ask: impl FnOnce(ReplyTo<Result<T, Refusal>>) -> Ask) -> Result<T, Status> {
        let changed = self.ask(ask).await?.map_err(|refusal| {
            info!(reason = %refusal, "an operator's command is refused");
            refused(refusal)
        })?;
        self.ask(Ask::Flush).await?;
        Ok(changed)
    }

    /// Asks for what only the kernel knows.
    async fn ask_kernel<T>(&self, ask: impl FnOnce(ReplyTo<Result<T, String>>) -> Ask) -> Result<T, Status> {
        let found = self.ask(ask).await?;
        found.map_err(|problem| Status::internal(format!("cannot read kernel state: {problem}")))
    }

    /// The segment that a list is to be narrowed to.
    async fn existing(&self, name: Option<&str>) -> Result<Option<SegmentName>, Status> {
        let Some(name) = name.map(segment_name).transpose()? else {
            return Ok(None);
        };
        let mut known = self.ask(Ask::Segments).await?.into_iter();
        match known.find(|line| line.segment.name == name) {
            Some(_) => Ok(Some(name)),
            None => Err(refused(Refusal::no_segment(&name))),
        }
    }

    async fn gateways(&self, of: impl Fn(&SegmentName) -> bool) -> Result<Vec<wire::Gateway>, Status> {
        let lines = self.ask(Ask::Gateways).await?.into_iter();
        Ok(lines.filter(|line| of(&line.segment)).map(gateway).collect())
    }
}

#[tonic::async_trait]
impl Control for Service {
    async fn init(&self, request: Request<wire::InitRequest>) -> Answer<wire::InitResponse> {
        log_command(&request, |_| "init");
        let init = self.change(Ask::Init).await?;
        Ok(Response::new(wire::InitResponse {
            cluster_id: init.cluster.to_string(),
            already_formed: init.forming == Forming::Before,
            join_line: init
                .listen
                .map(|listen| format!("overlayctl join {}", spoken(listen)))
                .unwrap_or_default(),
        }))
    }

    async fn join(&self, request: Request<wire::JoinRequest>) -> Answer<wire::JoinResponse> {
        log_command(&request, |it| format!("join {}", it.address));
        let request = request.into_inner();
        let to = address(&request.address)?;
        if request.token.is_some() {
            return Err(refused(
                Refusal::new("join tokens need TLS between hosts, which this version does not support")
                    .hint("run `overlayctl join ADDR` without --token"),
            ));
        }
        let force = forced(request.force);
        let ports = self.ask_kernel(Ask::Ports).await?;
        let join = |reply| Ask::Join {
            to,
            force,
            ports,
            reply,
        };
        match self.change(join).await? {
            Done::Joined {
                cluster,
                via,
                hosts,
                gave_way,
                losses,
            } => Ok(Response::new(wire::JoinResponse {
                cluster_id: cluster.to_string(),
                via,
                hosts,
                gave_way,
                already_member: false,
                losses: losses.iter().map(loss).collect(),
            })),
            Done::AlreadyMember { cluster, host, hosts } => Ok(Response::new(wire::JoinResponse {
                cluster_id: cluster.to_string(),
                via: host,
                hosts,
                gave_way: Vec::new(),
                already_member: true,
                losses: Vec::new(),
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn join_cancel(&self, request: Request<wire::JoinCancelRequest>) -> Answer<wire::JoinCancelResponse> {
        log_command(&request, |_| "join, given up");
        self.ask(Ask::CancelJoin).await?.map_err(refused)?;
        Ok(Response::new(wire::JoinCancelResponse {}))
    }

    async fn leave(&self, request: Request<wire::LeaveRequest>) -> Answer<wire::LeaveResponse> {
        log_command(&request, |_| "leave");
        let force = forced(request.into_inner().force);
        // A guest may have been plugged in since the kernel's thread last looked.
        let ports = self.ask_kernel(Ask::Ports).await?;
        match self.change(|reply| Ask::Leave { force, ports, reply }).await? {
            Done::Left {
                cluster,
                removed,
                losses,
                notes,
            } => Ok(Response::new(wire::LeaveResponse {
                cluster_ended: cluster == Ended::Over,
                removed,
                notes,
                losses: losses.iter().map(loss).collect(),
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn peer_list(&self, _: Request<wire::PeerListRequest>) -> Answer<wire::PeerListResponse> {
        let peers = self.ask(Ask::Peers).await?;
        Ok(Response::new(wire::PeerListResponse {
            peers: peers.into_iter().map(peer).collect(),
        }))
    }

    async fn peer_add(&self, request: Request<wire::PeerAddRequest>) -> Answer<wire::PeerAddResponse> {
        log_command(&request, |it| format!("peer add {}", it.address));
        let to = address(&request.into_inner().address)?;
        let done = self.change(|reply| Ask::Invite { to, reply }).await?;
        // The newcomer's record is here: it joined through this host.
        let peers = self.ask(Ask::Peers).await?;
        let found = peers.into_iter().find(|line| line.address == Some(to.ip()));
        Ok(Response::new(wire::PeerAddResponse {
            peer: found.map(peer),
            already_member: matches!(done, Done::AlreadyMember { .. }),
        }))
    }

    async fn peer_add_static(
        &self,
        request: Request<wire::PeerAddStaticRequest>,
    ) -> Answer<wire::PeerAddStaticResponse> {
        log_command(&request, |it| format!("peer add --static {}", it.address));
        let request = request.into_inner();
        let address = ip(&request.address)?;
        let segment = request.segment.as_deref().map(segment_name).transpose()?;
        let segments = self
            .change(|reply| Ask::AddStaticPeer {
                address,
                segment,
                reply,
            })
            .await?;
        let mut peers = self.ask(Ask::Peers).await?.into_iter();
        let added = peers.find(|line| line.id.is_none() && line.address == Some(address));
        Ok(Response::new(wire::PeerAddStaticResponse {
            segments: segments.iter().map(ToString::to_string).collect(),
            peer: added.map(peer),
        }))
    }

    async fn peer_remove(&self, request: Request<wire::PeerRemoveRequest>) -> Answer<wire::PeerRemoveResponse> {
        log_command(&request, |it| format!("peer remove {}", it.name));
        let name = request.into_inner().name;
        let found = self.ask(Ask::Peers).await?.into_iter().find(|line| line.name == name);
        match self.change(|reply| Ask::RemovePeer { name, reply }).await? {
            Done::PeerRemoved { inheriting } => Ok(Response::new(wire::PeerRemoveResponse {
                inheriting: inheriting.iter().map(ToString::to_string).collect(),
                peer: found.map(peer),
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn segment_list(&self, _: Request<wire::SegmentListRequest>) -> Answer<wire::SegmentListResponse> {
        let lines = self.ask(Ask::Segments).await?;
        Ok(Response::new(wire::SegmentListResponse {
            segments: lines.iter().map(segment).collect(),
        }))
    }

    async fn segment_show(&self, request: Request<wire::SegmentShowRequest>) -> Answer<wire::SegmentShowResponse> {
        let name = segment_name(&request.into_inner().name)?;
        let mut lines = self.ask(Ask::Segments).await?.into_iter();
        let line = lines
            .find(|line| line.segment.name == name)
            .ok_or_else(|| refused(Refusal::no_segment(&name)))?;
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
        log_command(&request, |it| format!("segment delete {}", it.name));
        let request = request.into_inner();
        let (name, force) = (segment_name(&request.name)?, forced(request.force));
        let deleted = self.change(|reply| Ask::DeleteSegment { name, force, reply }).await?;
        Ok(Response::new(wire::SegmentDeleteResponse {
            guest_ports: deleted.ports.iter().map(ToString::to_string).collect(),
            losses: deleted.losses.iter().map(loss).collect(),
        }))
    }

    async fn apply(&self, request: Request<wire::ApplyRequest>) -> Answer<wire::ApplyResponse> {
        log_command(&request, apply_line);
        let request = request.into_inner();
        let segments = match config::built_segments(&request.text, &request.file) {
            Ok(segments) => segments,
            Err(errors) => return Ok(Response::new(misconfigured(&errors))),
        };
        let (run, force) = (run_of(&request), forced(request.force));
        let mut said = besides_segments(&request.text, &segments);
        let apply = |reply| Ask::Apply {
            segments,
            run,
            force,
            reply,
        };
        match self.change(apply).await? {
            Done::Applied { segments, notes } => {
                said.extend(notes);
                Ok(Response::new(applied(segments, said)))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn apply_confirm(&self, request: Request<wire::ApplyConfirmRequest>) -> Answer<wire::ApplyConfirmResponse> {
        log_command(&request, |_| "apply confirm".to_owned());
        let segments = self.change(Ask::ConfirmApply).await?;
        Ok(Response::new(wire::ApplyConfirmResponse {
            segments: segments.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn status(&self, _: Request<wire::StatusRequest>) -> Answer<wire::StatusResponse> {
        let status = self.ask(Ask::Status).await?;
        Ok(Response::new(*status))
    }

    async fn gateway_list(&self, _: Request<wire::GatewayListRequest>) -> Answer<wire::GatewayListResponse> {
        Ok(Response::new(wire::GatewayListResponse {
            gateways: self.gateways(|_| true).await?,
        }))
    }

    async fn gateway_move(&self, request: Request<wire::GatewayMoveRequest>) -> Answer<wire::GatewayMoveResponse> {
        log_command(&request, |it| {
            format!("gateway move {} {}", it.segment, it.host.as_deref().unwrap_or(""))
        });
        let request = request.into_inner();
        let name = segment_name(&request.segment)?;
        let (segment, to) = (name.clone(), request.host);
        match self.change(|reply| Ask::MoveGateway { segment, to, reply }).await? {
            Done::Moved { from } => Ok(Response::new(wire::GatewayMoveResponse {
                gateways: self.gateways(|segment| *segment == name).await?,
                from,
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn drain(&self, request: Request<wire::DrainRequest>) -> Answer<wire::DrainResponse> {
        log_command(&request, |_| "drain");
        let until = if request.into_inner().until_restart {
            DrainUntil::Restarted
        } else {
            DrainUntil::Undrained
        };
        match self.change(|reply| Ask::Drain { until, reply }).await? {
            Done::Drained { handed_over, kept } => Ok(Response::new(wire::DrainResponse {
                gateways: self.gateways(|segment| handed_over.contains(segment)).await?,
                kept: kept.iter().map(ToString::to_string).collect(),
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn undrain(&self, request: Request<wire::UndrainRequest>) -> Answer<wire::UndrainResponse> {
        log_command(&request, |_| "undrain");
        self.change(Ask::Undrain).await?;
        Ok(Response::new(wire::UndrainResponse {}))
    }

    async fn lease_list(&self, request: Request<wire::LeaseListRequest>) -> Answer<wire::LeaseListResponse> {
        let request = request.into_inner();
        let segment = self.existing(request.segment.as_deref()).await?;
        let lines = self.ask(|reply| Ask::Leases { segment, reply }).await?;
        let shown = lines.into_iter().filter(|line| request.all || line.lease.is_held());
        Ok(Response::new(wire::LeaseListResponse {
            leases: shown.filter_map(lease).collect(),
        }))
    }

    async fn lease_release(&self, request: Request<wire::LeaseReleaseRequest>) -> Answer<wire::LeaseReleaseResponse> {
        log_command(&request, |it| format!("lease release {}", it.address));
        let request = request.into_inner();
        let address = ip(&request.address)?;
        let segment = request.segment.as_deref().map(segment_name).transpose()?;
        let within = segment.clone();
        let lines = self.ask(|reply| Ask::Leases { segment: within, reply }).await?;
        let found = lines.into_iter().find(|line| line.lease.address.ip() == address);
        let force = forced(request.force);
        self.change(|reply| Ask::Release {
            segment,
            address,
            force,
            reply,
        })
        .await?;
        Ok(Response::new(wire::LeaseReleaseResponse {
            lease: found.and_then(lease),
        }))
    }

    async fn pool_show(&self, request: Request<wire::PoolShowRequest>) -> Answer<wire::PoolShowResponse> {
        let segment = self.existing(request.into_inner().segment.as_deref()).await?;
        let lines = self.ask(|reply| Ask::Pools { segment, reply }).await?;
        Ok(Response::new(wire::PoolShowResponse {
            ranges: lines.into_iter().map(range).collect(),
        }))
    }

    async fn pool_recover(&self, request: Request<wire::PoolRecoverRequest>) -> Answer<wire::PoolRecoverResponse> {
        log_command(&request, |_| "pool recover");
        match self.change(Ask::Recover).await? {
            Done::Recovered { quarantine } => Ok(Response::new(wire::PoolRecoverResponse {
                quarantine_ms: u64::try_from(quarantine.as_millis()).unwrap_or(u64::MAX),
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn endpoint_list(&self, request: Request<wire::EndpointListRequest>) -> Answer<wire::EndpointListResponse> {
        let segment = self.existing(request.into_inner().segment.as_deref()).await?;
        let lines = self.ask(|reply| Ask::Endpoints { segment, reply }).await?;
        Ok(Response::new(wire::EndpointListResponse {
            endpoints: lines.into_iter().map(endpoint).collect(),
        }))
    }

    async fn plan(&self, _: Request<wire::PlanRequest>) -> Answer<wire::PlanResponse> {
        let plan = self.ask_kernel(Ask::Plan).await?;
        let ops = plan.ops.iter().map(|op| wire::PlanOp {
            op: op.to_string(),
            segment: None,
        });
        Ok(Response::new(wire::PlanResponse { ops: ops.collect() }))
    }
}

fn stopping() -> Status {
    Status::unavailable("overlayd is stopping")
}
