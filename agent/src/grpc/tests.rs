//! Two hosts on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use overlayd_core::addresses::Message as LeaseMessage;
use overlayd_core::cluster::gossip::{self, Candidacy, HostRecord, Uplink};
use overlayd_core::cluster::path_watch;
use overlayd_core::election::message::{Header, Message as ElectionMessage, Part};
use overlayd_core::id::{ClusterId, HostId, SegmentId};
use overlayd_core::mtu::OverlayMtu;
use overlayd_proto::convert::Bulk;
use tokio::sync::mpsc;

use super::peer::Server;
use super::*;

const CLUSTER: ClusterId = ClusterId(0xc1);
const PATIENCE: Duration = Duration::from_secs(10);

struct Agent {
    identity: Identity,
    inbox: Inbox,
    election: mpsc::Receiver<Event>,
    rest: mpsc::Receiver<Event>,
    transport: Transport,
}

impl Agent {
    fn new(host: u64, cluster: Option<ClusterId>) -> Self {
        let identity = Identity::new(Standing {
            host: HostId(host),
            instance: 1,
            cluster,
            removed: BTreeSet::new(),
        });
        let (election_sender, election) = mpsc::channel(64);
        let (rest_sender, rest) = mpsc::channel(64);
        let inbox = Inbox {
            election: election_sender,
            rest: rest_sender,
        };
        let transport = Transport::new(identity.clone(), inbox.clone());
        Self {
            identity,
            inbox,
            election,
            rest,
            transport,
        }
    }

    async fn serve(&mut self, ip: IpAddr, port: u16) -> (Server, SocketAddr) {
        let server = Server::start(SocketAddr::new(ip, port), self.identity.clone(), self.inbox.clone()).unwrap();
        loop {
            if let Event::Listening { address } = self.next().await {
                return (server, address);
            }
        }
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.rest.recv())
            .await
            .expect("an event within ten seconds")
            .unwrap()
    }

    fn dial(&mut self, address: SocketAddr) {
        self.transport.set_addresses(&BTreeSet::from([address]));
    }

    async fn connected_to(&mut self, host: u64) {
        loop {
            if let Event::Connected { host: peer, .. } = self.next().await {
                assert_eq!(peer, HostId(host));
                return;
            }
        }
    }
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

fn ping(sender: u64) -> ElectionMessage {
    let header = Header {
        sender: HostId(sender),
        instance: 1,
        sequence: 7,
        sent: 9,
        echo: None,
        held: Vec::new(),
    };
    ElectionMessage {
        header,
        parts: vec![Part::Ping],
    }
}

fn record(host: u64) -> HostRecord {
    HostRecord {
        instance: 1,
        counter: 1,
        id: HostId(host),
        name: format!("hv{host}"),
        vtep: loopback(),
        listen: SocketAddr::new(loopback(), 7480),
        labels: BTreeMap::new(),
        overlay_mtu: OverlayMtu::new(1450),
        candidacy: Candidacy::None,
        uplink: Uplink::Fails,
        lacks: BTreeSet::new(),
        segments: BTreeMap::new(),
        vteps: BTreeMap::new(),
        networks: BTreeSet::new(),
        journal: 0,
        agent_version: "0".to_owned(),
    }
}

async fn streams_deliver(ip: IpAddr) {
    let (mut one, mut two) = (Agent::new(1, Some(CLUSTER)), Agent::new(2, Some(CLUSTER)));
    let (_server, address) = two.serve(ip, 0).await;
    assert_eq!(one.transport.send_election(HostId(2), ping(1)), Sent::NotConnected);
    one.dial(address);
    one.connected_to(2).await;

    assert_eq!(one.transport.send_election(HostId(2), ping(1)), Sent::Queued);
    let election = tokio::time::timeout(PATIENCE, two.election.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(election, Event::Election { from: HostId(1), message } if message == ping(1)));

    let word = Bulk::Path(path_watch::Message {
        segment: SegmentId(5),
        number: 6,
        word: path_watch::Word::Sent,
    });
    for message in [Bulk::Membership(vec![1, 2, 3]), word] {
        assert_eq!(one.transport.send_bulk(HostId(2), message.clone()), Sent::Queued);
        assert!(matches!(two.next().await, Event::Bulk { from: HostId(1), message: heard } if heard == message));
    }

    let borrow = LeaseMessage::Borrow {
        segment: SegmentId(5),
        count: 6,
    };
    assert_eq!(one.transport.send_leases(HostId(2), borrow.clone()), Sent::Queued);
    assert!(matches!(two.next().await, Event::Leases { from: HostId(1), message } if message == borrow));
}

#[tokio::test]
async fn all_three_streams_deliver_over_ipv4() {
    streams_deliver(loopback()).await;
}

#[tokio::test]
async fn all_three_streams_deliver_over_ipv6() {
    streams_deliver(Ipv6Addr::LOCALHOST.into()).await;
}

#[tokio::test]
async fn a_restarted_server_is_connected_to_again_within_two_seconds() {
    let (mut one, mut two) = (Agent::new(1, Some(CLUSTER)), Agent::new(2, Some(CLUSTER)));
    let (server, address) = two.serve(loopback(), 0).await;
    one.dial(address);
    one.connected_to(2).await;
    drop(server);
    assert!(matches!(one.next().await, Event::Disconnected { host: HostId(2) }));
    let (_server, _) = two.serve(loopback(), address.port()).await;
    let back = tokio::time::Instant::now();
    one.connected_to(2).await;
    assert!(back.elapsed() < Duration::from_secs(2), "it took {:?}", back.elapsed());
    assert_eq!(one.transport.send_election(HostId(2), ping(1)), Sent::Queued);
    assert!(matches!(
        two.election.recv().await,
        Some(Event::Election { from: HostId(1), .. })
    ));
}

#[tokio::test]
async fn a_host_of_another_cluster_is_refused_by_both_ids_and_dialling_goes_on() {
    let (mut one, mut two) = (Agent::new(1, Some(CLUSTER)), Agent::new(2, Some(ClusterId(0xc2))));
    let (_server, address) = two.serve(loopback(), 0).await;
    one.dial(address);
    let Event::Refused {
        why: Refusal::OtherCluster,
        text,
        ..
    } = one.next().await
    else {
        panic!("no refusal");
    };
    assert!(
        text.contains(&CLUSTER.to_string()) && text.contains(&ClusterId(0xc2).to_string()),
        "{text}"
    );
    two.identity.update(|standing| standing.cluster = Some(CLUSTER));
    one.connected_to(2).await;
}

#[tokio::test]
async fn an_unformed_host_refuses_streams() {
    let (mut one, mut two) = (Agent::new(1, Some(CLUSTER)), Agent::new(2, None));
    let (_server, address) = two.serve(loopback(), 0).await;
    one.dial(address);
    assert!(matches!(
        one.next().await,
        Event::Refused {
            why: Refusal::Unformed,
            ..
        }
    ));
}

#[tokio::test]
async fn a_removed_host_hears_so_even_in_the_middle_of_a_stream() {
    let (mut one, mut two) = (Agent::new(1, Some(CLUSTER)), Agent::new(2, Some(CLUSTER)));
    let (_server, address) = two.serve(loopback(), 0).await;
    one.dial(address);
    one.connected_to(2).await;
    two.identity.update(|standing| {
        standing.removed.insert(HostId(1));
    });
    assert_eq!(
        one.transport.send_bulk(HostId(2), Bulk::Membership(vec![1])),
        Sent::Queued
    );
    assert!(matches!(one.next().await, Event::Disconnected { host: HostId(2) }));
    let Event::Refused {
        why: Refusal::Removed,
        text,
        ..
    } = one.next().await
    else {
        panic!("no refusal")
    };
    assert!(text.contains(&HostId(1).to_string()), "{text}");
    assert!(two.rest.try_recv().is_err(), "a removed host's word was taken");
}

#[tokio::test]
async fn a_message_that_names_another_sender_ends_the_stream() {
    let (mut one, mut two) = (Agent::new(1, Some(CLUSTER)), Agent::new(2, Some(CLUSTER)));
    let (_server, address) = two.serve(loopback(), 0).await;
    one.dial(address);
    one.connected_to(2).await;
    one.transport.send_election(HostId(2), ping(3));
    assert!(matches!(one.next().await, Event::Disconnected { host: HostId(2) }));
    assert!(two.election.try_recv().is_err());
}

#[tokio::test]
async fn an_address_of_its_own_is_told() {
    let mut one = Agent::new(1, Some(CLUSTER));
    let (_server, address) = one.serve(loopback(), 0).await;
    one.dial(address);
    assert!(matches!(
        one.next().await,
        Event::Refused {
            why: Refusal::Myself,
            ..
        }
    ));
    assert!(one.transport.connected().is_empty());
}

#[tokio::test]
async fn hanging_up_disconnects() {
    let (mut one, mut two) = (Agent::new(1, Some(CLUSTER)), Agent::new(2, Some(CLUSTER)));
    let (_server, address) = two.serve(loopback(), 0).await;
    one.dial(address);
    one.connected_to(2).await;
    one.transport.set_addresses(&BTreeSet::new());
    assert!(matches!(one.next().await, Event::Disconnected { host: HostId(2) }));
    assert_eq!(one.transport.send_election(HostId(2), ping(1)), Sent::NotConnected);
}

#[tokio::test]
async fn join_carries_the_answer_of_the_event_loop() {
    let mut two = Agent::new(2, Some(CLUSTER));
    let (_server, address) = two.serve(loopback(), 0).await;
    let request = JoinRequest {
        host: record(1),
        token: "t".to_owned(),
        cluster: None,
        former: Some(HostId(8)),
    };
    let answer = JoinReply {
        cluster: CLUSTER,
        host: HostId(2),
        records: vec![gossip::Record::Host(record(2))],
        members: vec![HostId(2)],
        removed: vec![HostId(9)],
    };
    let call = tokio::spawn(join(address, request.clone(), PATIENCE));
    let Event::Join { request: heard, reply } = two.next().await else {
        panic!("no join")
    };
    assert_eq!(*heard, request);
    reply.send(Ok(answer.clone())).unwrap();
    assert_eq!(call.await.unwrap(), Ok(answer));

    for (refusal, error) in [
        (
            JoinRefusal::Never("name taken".to_owned()),
            JoinError::Never("name taken".to_owned()),
        ),
        (
            JoinRefusal::NotYet("not formed".to_owned()),
            JoinError::NotYet("not formed".to_owned()),
        ),
    ] {
        let call = tokio::spawn(join(address, request.clone(), PATIENCE));
        let Event::Join { reply, .. } = two.next().await else {
            panic!("no join")
        };
        reply.send(Err(refusal)).unwrap();
        assert_eq!(call.await.unwrap(), Err(error));
    }
}

#[tokio::test]
async fn join_where_nobody_listens_names_the_address() {
    let free = std::net::TcpListener::bind((loopback(), 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let error = join(
        free,
        JoinRequest {
            host: record(1),
            token: String::new(),
            cluster: None,
            former: None,
        },
        PATIENCE,
    )
    .await;
    assert!(
        matches!(error, Err(JoinError::Unreachable { address, .. }) if address == free),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_invitation_reaches_the_event_loop() {
    let mut two = Agent::new(2, None);
    let (_server, address) = two.serve(loopback(), 0).await;
    let invitation = Invitation {
        cluster: CLUSTER,
        address,
        token: String::new(),
    };
    let call = tokio::spawn(invite(address, invitation.clone(), PATIENCE));
    let Event::Invite {
        invitation: heard,
        reply,
    } = two.next().await
    else {
        panic!("no invitation")
    };
    assert_eq!(heard, invitation);
    reply.send(Ok(())).unwrap();
    assert_eq!(call.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let holder = std::net::TcpListener::bind((loopback(), 0)).unwrap();
    let address = holder.local_addr().unwrap();
    let agent = Agent::new(1, None);
    let error = Server::start(address, agent.identity.clone(), agent.inbox.clone()).unwrap_err();
    assert!(matches!(error, BindError::Taken { .. }));
    assert!(error.to_string().contains(&address.port().to_string()) && error.to_string().contains("cluster.listen"));
}

#[tokio::test]
async fn an_address_that_is_not_there_yet_is_waited_for() {
    let mut agent = Agent::new(1, None);
    let address = SocketAddr::from(([192, 0, 2, 1], 7480));
    let _server = Server::start(address, agent.identity.clone(), agent.inbox.clone()).unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(700), agent.rest.recv())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn segments_are_small_on_both_sides_of_a_connection() {
    let listener = socket::listen(SocketAddr::new(loopback(), 0)).unwrap();
    let (client, accepted) = tokio::join!(socket::connect(listener.local_addr().unwrap()), async {
        listener.accept().await.unwrap().0
    });
    for stream in [client.unwrap(), accepted] {
        let socket = socket2::SockRef::from(&stream);
        let mss = socket.tcp_mss().unwrap();
        // The kernel takes the room for the timestamp option off what it reports of a connection.
        assert!((MAXSEG - 12..=MAXSEG).contains(&mss), "{mss}");
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(2000)));
        assert!(socket.tcp_nodelay().unwrap());
    }
}
