//! An agent that gives prepared answers over a real unix socket, and remembers what it was asked.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use overlayd_proto::control::control_server::{Control, ControlServer};
use overlayd_proto::control::*;
use prost::Message as _;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{Notify, oneshot};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::metadata::{BinaryMetadataValue, MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};

use crate::answers::{alone, applied, gateways, leases, peers, segments, status};

/// What the fake agent's host is like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Three hosts, one static peer, two segments.
    Formed,
    /// No cluster, nothing in any list.
    Unformed,
    /// Refuses everything, with an ASCII hint.
    Refusing,
    /// Refuses everything, with a hint that is not ASCII.
    RefusingInUnicode,
    /// As `Formed`, and a join is answered when it is given up.
    Slow,
    /// As `Formed`, and all hosts are members already.
    Member,
}

/// A running fake agent; ends when dropped.
pub(crate) struct Agent {
    folder: TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Agent {
    pub(crate) fn start(mood: Mood) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let service = ControlServer::new(Fake {
            mood,
            asked: asked.clone(),
            given_up: Notify::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(folder.path().join("control.sock")).unwrap()
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let incoming = UnixListenerStream::new(listener);
            let serve = tonic::transport::Server::builder().serve_with_incoming(service, incoming);
            runtime.block_on(async {
                tokio::select! {
                    ended = serve => ended.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            folder,
            asked,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// The requests so far, as `Debug` shows them.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Runs overlayctl against this agent.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// overlayctl, ready to run against this agent in this agent's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = overlayctl(arguments);
        command.env("OVERLAYD_SOCKET", self.socket()).current_dir(self.folder());
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// overlayctl with an empty standard input and nothing of this process's environment that could change its output.
pub(crate) fn overlayctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overlayctl"));
    command
        .args(arguments)
        .env_remove("OVERLAYD_SOCKET")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// What a run of overlayctl left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn attached_port() -> Loss {
    Loss {
        segment: Some("blue".into()),
        kind: LossKind::Port.into(),
        text: "blue: port tap0 on hv1, guest 52:54:00:aa:bb:01".into(),
        host: Some("hv1".into()),
        port: Some("tap0".into()),
        mac: Some("52:54:00:aa:bb:01".into()),
        addresses: Vec::new(),
        out_of_reach: false,
    }
}

struct Fake {
    mood: Mood,
    asked: Arc<Mutex<Vec<String>>>,
    given_up: Notify,
}

impl Fake {
    fn answer<Q: Debug, A>(&self, request: Request<Q>, formed: A, unformed: A) -> Result<Response<A>, Status> {
        self.asked.lock().unwrap().push(format!("{:?}", request.into_inner()));
        let mut metadata = MetadataMap::new();
        match self.mood {
            Mood::Formed | Mood::Slow | Mood::Member => return Ok(Response::new(formed)),
            Mood::Unformed => return Ok(Response::new(unformed)),
            Mood::Refusing => {
                metadata.insert("hint", MetadataValue::from_static("detach them, or give --force"));
            }
            Mood::RefusingInUnicode => {
                metadata.insert_bin("hint-bin", BinaryMetadataValue::from_bytes("hv1 → hv2".as_bytes()));
            }
        }
        let message = "segment blue: guests would lose 4 attached ports";
        let losses = Refused {
            losses: vec![attached_port()],
            more: 3,
        };
        let details = losses.encode_to_vec().into();
        Err(Status::with_details_and_metadata(
            Code::FailedPrecondition,
            message,
            details,
            metadata,
        ))
    }
}

#[tonic::async_trait]
impl Control for Fake {
    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let answer = |already_formed| InitResponse {
            cluster_id: "00000000000000c1".into(),
            already_formed,
            join_line: "overlayctl join 192.0.2.11:7480".into(),
        };
        self.answer(request, answer(true), answer(false))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let answer = JoinResponse {
            cluster_id: "00000000000000c1".into(),
            via: "hv2".into(),
            hosts: 3,
            gave_way: match self.mood {
                Mood::Member => Vec::new(),
                Mood::Formed | Mood::Unformed | Mood::Refusing | Mood::RefusingInUnicode | Mood::Slow => {
                    vec!["segment blue of this host gave way to the cluster's".into()]
                }
            },
            already_member: self.mood == Mood::Member,
            losses: Vec::new(),
        };
        if self.mood == Mood::Slow {
            self.given_up.notified().await;
        }
        self.answer(request, answer, JoinResponse::default())
    }

    async fn join_cancel(&self, request: Request<JoinCancelRequest>) -> Result<Response<JoinCancelResponse>, Status> {
        self.given_up.notify_one();
        self.answer(request, JoinCancelResponse {}, JoinCancelResponse {})
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<LeaveResponse>, Status> {
        let answer = |cluster_ended| LeaveResponse {
            cluster_ended,
            removed: vec!["ip link del vx-blue".into()],
            notes: Vec::new(),
            losses: Vec::new(),
        };
        self.answer(request, answer(false), answer(true))
    }

    async fn peer_list(&self, request: Request<PeerListRequest>) -> Result<Response<PeerListResponse>, Status> {
        self.answer(
            request,
            PeerListResponse { peers: peers() },
            PeerListResponse::default(),
        )
    }

    async fn peer_add(&self, request: Request<PeerAddRequest>) -> Result<Response<PeerAddResponse>, Status> {
        let answer = PeerAddResponse {
            peer: peers().into_iter().nth(1),
            already_member: self.mood == Mood::Member,
        };
        self.answer(request, answer, PeerAddResponse::default())
    }

    async fn peer_add_static(
        &self,
        request: Request<PeerAddStaticRequest>,
    ) -> Result<Response<PeerAddStaticResponse>, Status> {
        let answer = PeerAddStaticResponse {
            peer: peers().into_iter().nth(3),
            segments: vec!["blue".into()],
        };
        self.answer(request, answer, PeerAddStaticResponse::default())
    }

    async fn peer_remove(&self, request: Request<PeerRemoveRequest>) -> Result<Response<PeerRemoveResponse>, Status> {
        let answer = PeerRemoveResponse {
            peer: peers().into_iter().nth(2),
            inheriting: vec!["blue".into()],
        };
        self.answer(request, answer, PeerRemoveResponse::default())
    }

    async fn segment_list(
        &self,
        request: Request<SegmentListRequest>,
    ) -> Result<Response<SegmentListResponse>, Status> {
        self.answer(
            request,
            SegmentListResponse { segments: segments() },
            SegmentListResponse::default(),
        )
    }

    async fn segment_show(
        &self,
        request: Request<SegmentShowRequest>,
    ) -> Result<Response<SegmentShowResponse>, Status> {
        let answer = SegmentShowResponse {
            segment: segments().into_iter().next(),
            generation: 4,
            written_by: "hv2".into(),
            yaml: "segments:\n- name: blue\n  vni: 10\n  mode: nat\n".into(),
        };
        self.answer(request, answer, SegmentShowResponse::default())
    }

    async fn segment_delete(
        &self,
        request: Request<SegmentDeleteRequest>,
    ) -> Result<Response<SegmentDeleteResponse>, Status> {
        let answer = SegmentDeleteResponse {
            guest_ports: vec!["tap0".into()],
            losses: vec![attached_port()],
        };
        self.answer(request, answer, SegmentDeleteResponse::default())
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let answer = applied(request.get_ref());
        self.answer(request, answer.clone(), answer)
    }

    async fn apply_confirm(
        &self,
        request: Request<ApplyConfirmRequest>,
    ) -> Result<Response<ApplyConfirmResponse>, Status> {
        let answer = ApplyConfirmResponse {
            segments: vec!["blue".into(), "green".into()],
        };
        self.answer(request, answer, ApplyConfirmResponse::default())
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.answer(request, status(), alone())
    }

    async fn gateway_list(
        &self,
        request: Request<GatewayListRequest>,
    ) -> Result<Response<GatewayListResponse>, Status> {
        self.answer(
            request,
            GatewayListResponse { gateways: gateways() },
            GatewayListResponse::default(),
        )
    }

    async fn gateway_move(
        &self,
        request: Request<GatewayMoveRequest>,
    ) -> Result<Response<GatewayMoveResponse>, Status> {
        let gateways = vec![Gateway {
            host: Some("hv2".into()),
            term: 8,
            ..gateways().swap_remove(0)
        }];
        let answer = GatewayMoveResponse {
            gateways,
            from: Some("hv1".into()),
        };
        self.answer(request, answer, GatewayMoveResponse::default())
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        let gateways = vec![Gateway {
            host: Some("hv2".into()),
            term: 8,
            ..gateways().swap_remove(0)
        }];
        let answer = DrainResponse {
            gateways,
            kept: vec!["green".into()],
        };
        self.answer(request, answer, DrainResponse::default())
    }

    async fn undrain(&self, request: Request<UndrainRequest>) -> Result<Response<UndrainResponse>, Status> {
        self.answer(request, UndrainResponse {}, UndrainResponse {})
    }

    async fn lease_list(&self, request: Request<LeaseListRequest>) -> Result<Response<LeaseListResponse>, Status> {
        self.answer(
            request,
            LeaseListResponse { leases: leases() },
            LeaseListResponse::default(),
        )
    }

    async fn lease_release(
        &self,
        request: Request<LeaseReleaseRequest>,
    ) -> Result<Response<LeaseReleaseResponse>, Status> {
        let answer = LeaseReleaseResponse {
            lease: leases().into_iter().next(),
        };
        self.answer(request, answer, LeaseReleaseResponse::default())
    }

    async fn pool_show(&self, request: Request<PoolShowRequest>) -> Result<Response<PoolShowResponse>, Status> {
        let range = PoolRange {
            segment: "blue".into(),
            range: "192.168.124.16-192.168.124.127".into(),
            owner: Some("hv1".into()),
            free: 110,
            held: 1,
            quarantined: 0,
            declined: 1,
            waits: Some("for hv3".into()),
        };
        let orphan = PoolRange {
            owner: None,
            range: "192.168.124.128".into(),
            ..range.clone()
        };
        self.answer(
            request,
            PoolShowResponse {
                ranges: vec![range, orphan],
            },
            PoolShowResponse::default(),
        )
    }

    async fn pool_recover(
        &self,
        request: Request<PoolRecoverRequest>,
    ) -> Result<Response<PoolRecoverResponse>, Status> {
        self.answer(
            request,
            PoolRecoverResponse {
                quarantine_ms: 3_718_000,
            },
            PoolRecoverResponse {
                quarantine_ms: 3_718_000,
            },
        )
    }

    async fn endpoint_list(
        &self,
        request: Request<EndpointListRequest>,
    ) -> Result<Response<EndpointListResponse>, Status> {
        let endpoint = Endpoint {
            segment: "blue".into(),
            mac: "52:54:00:aa:bb:01".into(),
            addresses: vec!["192.168.124.16".into(), "fd10:0:2::16".into()],
            host: "hv1".into(),
            interface: Some("tap0".into()),
        };
        let remote = Endpoint {
            addresses: Vec::new(),
            host: "hv2".into(),
            interface: None,
            ..endpoint.clone()
        };
        let answer = EndpointListResponse {
            endpoints: vec![endpoint, remote],
        };
        self.answer(request, answer, EndpointListResponse::default())
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let op = |op: &str, segment: Option<&str>| PlanOp {
            op: op.into(),
            segment: segment.map(Into::into),
        };
        let ops = vec![
            op("ip link set vx-blue master br-blue", Some("blue")),
            op("nft -f -", None),
        ];
        self.answer(request, PlanResponse { ops }, PlanResponse::default())
    }
}
