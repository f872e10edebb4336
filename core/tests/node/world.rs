//! Hosts on a made-up network: messages take a millisecond, kernels obey, disks keep what they were told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use overlayd_core::addresses::{JournalRecord, Recovered};
use overlayd_core::cluster::gossip::Record;
use overlayd_core::cluster::membership::PeerState;
use overlayd_core::cluster::path_watch::Frame;
use overlayd_core::cluster::reachability::Outcome;
use overlayd_core::config::{self, CandidateSetting, HostConfig, Protocol, Segment};
use overlayd_core::election::AddressEvent;
use overlayd_core::gateway::uplink::Health;
use overlayd_core::health::{EdgeState, Finding, Id};
use overlayd_core::id::{HostId, IfName, Mac, SegmentId, SegmentName, Term};
use overlayd_core::kernel::inputs::{BridgeNetfilter, Inputs, SegmentRole, Tracking};
use overlayd_core::mtu::UnderlayMtu;
use overlayd_core::network::HostNetwork;
use overlayd_core::node::{
    Call, Disk, Done, DrainUntil, Drained, Effect, Facts, Force, Formation, Found, JoinRequest, Listener, Node,
    PeerMessage, Refusal, Run, Start, Welcome,
};
use overlayd_core::time::{Duration, Instant};

const LATENCY: Duration = Duration::from_millis(1);

/// What is under way.
enum Event {
    PeerMessage(usize, usize, PeerMessage),
    Connect(usize, HostId),
    Join(usize, SocketAddr, Box<JoinRequest>),
    Welcome(usize, SocketAddr, Result<Box<Welcome>, Refusal>),
    Probe(usize, HostId, u64, Outcome),
    Address(usize, overlayd_core::election::GroupId, AddressEvent),
    Take(
        usize,
        overlayd_core::election::GroupId,
        BTreeMap<SegmentName, (Term, Option<Instant>)>,
    ),
    Prepared(usize, overlayd_core::election::GroupId),
    Synced(usize, u64),
    RemovedAll(usize),
    Listeners(usize, HostId, u64, Vec<Listener>),
    PathSent(usize, HostId, Frame),
    PathFrame(usize, Frame),
    Arp(usize, SegmentId, Mac, Ipv4Addr),
}

struct Host {
    name: String,
    vtep: Ipv4Addr,
    mtu: u32,
    uplink: Health,
    resolvers: Vec<Ipv4Addr>,
    bridge_netfilter: BridgeNetfilter,
    networks: BTreeSet<HostNetwork>,
    next_hops: BTreeSet<Ipv4Addr>,
    config: HostConfig,
    /// The text that it was read from.
    file: String,
    node: Option<Node>,
    /// Whether its kernel answers and forwards.
    kernel: bool,
    cut: bool,
    /// What it was before `overlayd --cleanup`.
    former: Option<HostId>,
    disk_full: bool,
    /// Whether a firewall there drops VXLAN that comes in.
    filters_vxlan: bool,
    /// Whether its gossip is still on its way, for as long as is looked.
    gossip_lags: bool,
    identity: (HostId, Formation, u64),
    records: Vec<Record>,
    journal: Recovered,
    answered: BTreeSet<HostId>,
    drained: Drained,
    /// Gateway addresses in the kernel, with the end of their life.
    addresses: BTreeMap<SegmentName, (Term, Option<Instant>)>,
    dial: BTreeMap<HostId, SocketAddr>,
    connected: BTreeSet<HostId>,
    /// Whose calls it refuses.
    refused: BTreeSet<HostId>,
    inputs: Option<Inputs>,
    answers: BTreeMap<Call, Result<Done, Refusal>>,
    /// What its DHCP server said last: kind (option 53) and address, by client.
    replies: BTreeMap<Mac, (u8, Ipv4Addr)>,
    /// What listens on its ports.
    listeners: Vec<Listener>,
    /// What it logged.
    notes: Vec<String>,
}

/// How long the edge waits for the answer to a join.
const JOIN_PATIENCE: Duration = Duration::from_secs(2);

/// Kinds of DHCP messages (RFC 2132, option 53).
const DISCOVER: u8 = 1;
pub(crate) const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const RELEASE: u8 = 7;
pub(crate) const ACK: u8 = 5;
pub(crate) const NAK: u8 = 6;

pub(crate) struct World {
    pub(crate) now: Instant,
    hosts: Vec<Host>,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    calls: u64,
    joins: BTreeMap<Call, (usize, SocketAddr)>,
    /// Pairs of hosts between which nothing passes.
    parted: BTreeSet<(usize, usize)>,
    /// Addresses that guests have set themselves.
    pub(crate) by_hand: BTreeMap<Ipv4Addr, Mac>,
    /// How long a kernel takes to set an address.
    pub(crate) address_takes: Duration,
}

pub(crate) fn blue() -> String {
    "segments:\n  - name: blue\n    vni: 10\n    mode: nat\n    ipv4:\n      subnet: 192.168.124.0/24\n      dhcp: { range: 192.168.124.16-192.168.124.254 }\n".to_owned()
}

pub(crate) fn segments(text: &str) -> Vec<Segment> {
    config::segments(text, "test.yaml").unwrap()
}

impl World {
    /// Hosts hv1, hv2, … in one cluster, a second after the last joined.
    pub(crate) fn formed(count: usize) -> Self {
        let mut world = Self::forming(count);
        world.run(1_000);
        world
    }

    /// The same, as soon as the last one's `join` has returned.
    pub(crate) fn forming(count: usize) -> Self {
        let mut world = Self {
            now: Instant::from_millis(1_000_000),
            hosts: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            calls: 0,
            joins: BTreeMap::new(),
            parted: BTreeSet::new(),
            by_hand: BTreeMap::new(),
            address_takes: LATENCY,
        };
        for index in 0..count {
            let host = world.add(&format!("hv{}", index + 1));
            match index {
                0 => world.init(host),
                _ => drop(world.join(host, index - 1).unwrap()),
            }
        }
        world
    }

    pub(crate) fn add(&mut self, name: &str) -> usize {
        self.add_at(name, self.hosts.len())
    }

    /// A host with the address of host number `at`, counted from zero.
    pub(crate) fn add_at(&mut self, name: &str, at: usize) -> usize {
        let index = self.hosts.len();
        let file = format!("host: {{ name: {name} }}\ncluster: {{ insecure: false }}\n");
        let config = config::host(&file, "host.yaml");
        self.hosts.push(Host {
            name: name.to_owned(),
            vtep: Ipv4Addr::new(172, 31, 0, 11 + u8::try_from(at).unwrap()),
            mtu: 1500,
            uplink: Health::Works,
            resolvers: vec![Ipv4Addr::new(192, 0, 2, 53)],
            bridge_netfilter: BridgeNetfilter::SwitchOff,
            networks: BTreeSet::new(),
            next_hops: BTreeSet::new(),
            config: config.unwrap(),
            file,
            node: None,
            kernel: true,
            cut: false,
            former: None,
            disk_full: false,
            filters_vxlan: false,
            gossip_lags: false,
            identity: (HostId(0x1000 + index as u64 * 7919), Formation::Unformed, 0),
            records: Vec::new(),
            journal: Recovered::default(),
            answered: BTreeSet::new(),
            drained: Drained::No,
            addresses: BTreeMap::new(),
            dial: BTreeMap::new(),
            connected: BTreeSet::new(),
            refused: BTreeSet::new(),
            inputs: None,
            answers: BTreeMap::new(),
            replies: BTreeMap::new(),
            listeners: Vec::new(),
            notes: Vec::new(),
        });
        self.restart(index);
        index
    }

    /// It restarts with the address of another host in its `join:` list.
    pub(crate) fn list(&mut self, host: usize, other: usize) {
        let there = SocketAddr::new(self.hosts[other].vtep.into(), 7480);
        self.hosts[host].config.cluster.join = vec![there];
        self.kill_agent(host);
        self.restart(host);
    }

    pub(crate) fn init(&mut self, host: usize) {
        let now = self.now;
        self.node_mut(host).init(now).unwrap();
        self.carry(host);
    }

    pub(crate) fn join(&mut self, host: usize, through: usize) -> Result<Done, Refusal> {
        let (now, to) = (self.now, self.listen(through));
        self.call(host, |node, call| node.join(call, to, Force::No, now))
    }

    /// Although what this host alone has is lost.
    pub(crate) fn join_by_force(&mut self, host: usize, through: usize) -> Result<Done, Refusal> {
        let (now, to) = (self.now, self.listen(through));
        self.call(host, |node, call| node.join(call, to, Force::Yes, now))
    }

    /// Another host's operator invites this one.
    pub(crate) fn be_invited(&mut self, host: usize, by: usize) -> Result<Done, Refusal> {
        let (now, from) = (self.now, self.listen(by));
        self.call(host, |node, call| node.handle_invite(call, from, now))
    }

    pub(crate) fn begin_join(&mut self, host: usize, through: usize) -> Call {
        let (now, to) = (self.now, self.listen(through));
        self.begin(host, |node, call| node.join(call, to, Force::No, now))
    }

    pub(crate) fn cancel_join(&mut self, host: usize) -> Result<(), Refusal> {
        let now = self.now;
        let cancelled = self.node_mut(host).cancel_join(now);
        self.carry(host);
        cancelled
    }

    pub(crate) fn invite(&mut self, host: usize, whom: usize) -> Result<Done, Refusal> {
        let to = self.listen(whom);
        self.call(host, |node, call| node.invite(call, to))
    }

    /// A host asks itself to be let in, by an address that it does not know as its own.
    pub(crate) fn let_itself_in(&mut self, host: usize) -> Result<Box<Welcome>, Refusal> {
        let now = self.now;
        let node = self.node_mut(host);
        let request = JoinRequest {
            host: node.host_record(node.me()).unwrap().clone(),
            cluster: None,
            former: None,
        };
        node.handle_join(Call(0), request, now);
        loop {
            if let Effect::AnswerJoin { result, .. } = node.poll_effect().unwrap() {
                return result;
            }
        }
    }

    /// The host's file is changed; what is in force now, and what it was.
    pub(crate) fn edit(&mut self, host: usize, change: impl FnOnce(&str) -> String) -> (String, HostConfig) {
        let it = &mut self.hosts[host];
        let text = change(&it.file);
        let config = config::host(&text, "host.yaml").unwrap();
        (
            std::mem::replace(&mut it.file, text),
            std::mem::replace(&mut it.config, config),
        )
    }

    /// `cluster.insecure: true`: it takes invitations.
    pub(crate) fn allow_plain_text(&mut self, host: usize) {
        self.reload(host, |text| text.replace("insecure: false", "insecure: true"))
            .unwrap();
    }

    /// The file is changed and read again.
    pub(crate) fn reload(&mut self, host: usize, change: impl FnOnce(&str) -> String) -> Result<(), Refusal> {
        let (text, before) = self.edit(host, change);
        let it = &self.hosts[host];
        let config = it.config.clone();
        let changes = config::host_changes((&text, &before), (&it.file, &config));
        let now = self.now;
        let reloaded = self.node_mut(host).reload(config, changes, now);
        self.carry(host);
        reloaded
    }

    /// The agent comes back with a `join:` list.
    pub(crate) fn join_by_list(&mut self, host: usize, members: &[usize]) {
        let members: Vec<SocketAddr> = members.iter().map(|member| self.listen(*member)).collect();
        self.hosts[host].config.cluster.join = members;
        self.restart(host);
    }

    pub(crate) fn leave(&mut self, host: usize, force: Force) -> Result<Done, Refusal> {
        let now = self.now;
        self.call(host, |node, call| node.leave(call, force, now))
    }

    pub(crate) fn release(&mut self, host: usize, address: Ipv4Addr, force: Force) -> Result<Done, Refusal> {
        let now = self.now;
        self.call(host, |node, call| node.release(call, None, address.into(), force, now))
    }

    pub(crate) fn recover(&mut self, host: usize) -> Result<Done, Refusal> {
        let now = self.now;
        self.call(host, |node, call| node.recover(call, now))
    }

    pub(crate) fn move_gateway(&mut self, host: usize, segment: &str, to: Option<&str>) -> Result<Done, Refusal> {
        let (now, segment) = (self.now, SegmentName::new(segment).unwrap());
        self.call(host, |node, call| node.move_gateway(call, &segment, to, now))
    }

    /// What a move that is refused at once is told.
    pub(crate) fn move_refusal(&mut self, host: usize, segment: &str, to: &str) -> String {
        let (now, segment) = (self.now, SegmentName::new(segment).unwrap());
        let call = self.begin(host, |node, call| node.move_gateway(call, &segment, Some(to), now));
        let answer = self.hosts[host].answers.remove(&call).expect("answered at once");
        answer.unwrap_err().what
    }

    /// Calls, and does not wait.
    fn begin(&mut self, host: usize, begin: impl FnOnce(&mut Node, Call)) -> Call {
        self.calls += 1;
        let call = Call(self.calls);
        begin(self.node_mut(host), call);
        self.carry(host);
        call
    }

    fn call(&mut self, host: usize, begin: impl FnOnce(&mut Node, Call)) -> Result<Done, Refusal> {
        let call = self.begin(host, begin);
        for _ in 0..15_000 {
            if let Some(answer) = self.hosts[host].answers.remove(&call) {
                return answer;
            }
            self.run(1);
        }
        panic!("the call was never answered");
    }

    pub(crate) fn apply(&mut self, host: usize, text: &str) {
        self.apply_as(host, text, Run::Real, Force::No).unwrap();
    }

    pub(crate) fn apply_as(&mut self, host: usize, text: &str, run: Run, force: Force) -> Result<Done, Refusal> {
        let now = self.now;
        self.call(host, |node, call| node.apply(call, segments(text), run, force, now))
    }

    pub(crate) fn delete(&mut self, host: usize, name: &str) {
        let now = self.now;
        self.node_mut(host)
            .delete_segment(&SegmentName::new(name).unwrap(), Force::Yes, now)
            .unwrap();
        self.carry(host);
    }

    pub(crate) fn remove(&mut self, host: usize, name: &str) -> Result<Vec<SegmentName>, Refusal> {
        let now = self.now;
        match self.call(host, |node, call| node.remove_peer(call, name, now))? {
            Done::PeerRemoved { inheriting } => Ok(inheriting),
            other => panic!("{other:?}"),
        }
    }

    /// A program listens on a TCP port of a host.
    pub(crate) fn listens(&mut self, host: usize, program: &str, port: u16) {
        self.hosts[host].listeners.push(Listener {
            protocol: Protocol::Tcp,
            port,
            program: program.to_owned(),
        });
    }

    pub(crate) fn plug(&mut self, host: usize, bridge: &str, port: &str) {
        let ports = BTreeMap::from([(IfName::new(bridge).unwrap(), vec![IfName::new(port).unwrap()])]);
        self.node_mut(host).set_ports(ports);
    }

    pub(crate) fn hear_guest(&mut self, host: usize, bridge: &str, mac: &str, port: &str) {
        let now = self.now;
        let macs = BTreeMap::from([(mac.parse().unwrap(), IfName::new(port).unwrap())]);
        self.node_mut(host)
            .set_guests(&BTreeMap::from([(IfName::new(bridge).unwrap(), macs)]), now);
        self.carry(host);
    }

    /// The bridge hears no guest any more.
    pub(crate) fn hear_nobody(&mut self, host: usize) {
        let now = self.now;
        self.node_mut(host).set_guests(&BTreeMap::new(), now);
        self.carry(host);
    }

    /// ARP on blue's bridge shows which address a guest uses.
    pub(crate) fn hear_address(&mut self, host: usize, mac: &str, address: Ipv4Addr) {
        let now = self.now;
        let bridge = IfName::new("br-blue").unwrap();
        self.node_mut(host)
            .hear_address(&bridge, mac.parse().unwrap(), address, now);
        self.carry(host);
    }

    /// A rebooting guest of `host` asks the gateway of blue for an address; the kind of the answer, and the address in it.
    pub(crate) fn ask(&mut self, host: usize, mac: &str, address: Ipv4Addr) -> Option<(u8, Ipv4Addr)> {
        let gateway = self.index(&self.gateways("blue")[0]);
        self.ask_at(gateway, host, mac, address)
    }

    /// The same, where several serve.
    pub(crate) fn ask_at(
        &mut self,
        gateway: usize,
        host: usize,
        mac: &str,
        address: Ipv4Addr,
    ) -> Option<(u8, Ipv4Addr)> {
        self.hear_guest(host, "br-blue", mac, "vnet0");
        self.run(100);
        self.request(gateway, mac, address);
        self.run(1_000);
        self.reply(gateway, mac)
    }

    /// A rebooting guest's word reaches a gateway.
    pub(crate) fn request(&mut self, gateway: usize, mac: &str, address: Ipv4Addr) {
        let wanted = [[50, 4].as_slice(), &address.octets()].concat();
        self.say(gateway, mac, REQUEST, &wanted);
    }

    /// A guest gives its address back.
    pub(crate) fn give_back(&mut self, gateway: usize, mac: &str, address: Ipv4Addr) {
        let server = [[54, 4].as_slice(), &[192, 168, 124, 1]].concat();
        self.say_from(gateway, mac, address, RELEASE, &server);
    }

    /// A new guest's first word reaches a gateway.
    pub(crate) fn discover(&mut self, gateway: usize, mac: &str) {
        self.say(gateway, mac, DISCOVER, &[]);
    }

    fn say(&mut self, gateway: usize, mac: &str, kind: u8, options: &[u8]) {
        self.say_from(gateway, mac, Ipv4Addr::UNSPECIFIED, kind, options);
    }

    fn say_from(&mut self, gateway: usize, mac: &str, address: Ipv4Addr, kind: u8, options: &[u8]) {
        let client: Mac = mac.parse().unwrap();
        let mut bytes = vec![0; 236];
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[12..16].copy_from_slice(&address.octets());
        bytes[28..34].copy_from_slice(&client.0);
        bytes.extend([99, 130, 83, 99, 53, 1, kind]);
        bytes.extend(options);
        bytes.push(255);
        let blue = self.inputs(gateway).unwrap().segments.iter();
        let (id, _) = blue.clone().find(|(_, it)| it.segment.name.as_str() == "blue").unwrap();
        let (id, now) = (*id, self.now);
        self.hosts[gateway].replies.remove(&client);
        self.node_mut(gateway).handle_dhcp(id, client, bytes, now);
        self.carry(gateway);
    }

    pub(crate) fn reply(&self, gateway: usize, mac: &str) -> Option<(u8, Ipv4Addr)> {
        self.hosts[gateway].replies.get(&mac.parse::<Mac>().unwrap()).copied()
    }

    /// Who holds an address of blue, and its owner, as a host knows it.
    pub(crate) fn holder_of(&self, host: usize, address: Ipv4Addr) -> Option<(String, String)> {
        let lines = self.node(host).lease_lines(None, self.now);
        let line = lines.into_iter().find(|line| line.lease.address.ip() == address)?;
        Some((line.lease.client?.to_string(), line.owner))
    }

    pub(crate) fn problems(&self, host: usize) -> Vec<Finding> {
        self.node(host).findings(self.now).0
    }

    /// What its operator reads of other hosts' problems: the host, and what it says.
    pub(crate) fn reported(&self, host: usize) -> Vec<(String, String)> {
        let (_, all) = self.node(host).findings(self.now);
        all.into_iter().map(|said| (said.host, said.note.evidence)).collect()
    }

    /// The ways between hosts that are blocked, as its operator reads.
    pub(crate) fn blocked(&self, host: usize) -> Vec<String> {
        let (own, reported) = self.node(host).findings(self.now);
        let own = own.into_iter().filter(|it| it.id == Id::PathBlocked);
        let reported = reported.into_iter().filter(|it| it.note.id == Id::PathBlocked.as_str());
        let mut all: Vec<String> = own
            .map(|it| it.subject)
            .chain(reported.map(|it| it.note.subject))
            .collect();
        all.sort_unstable();
        all
    }

    pub(crate) fn notes(&self, host: usize) -> String {
        self.hosts[host].notes.join("\n")
    }

    pub(crate) fn set_underlay_mtu(&mut self, host: usize, mtu: u32) {
        self.hosts[host].mtu = mtu;
        let (now, facts) = (self.now, self.facts(host));
        self.node_mut(host).set_facts(Ok(facts), now);
        self.carry(host);
    }

    /// From now on nothing that it appends gets to its disk.
    pub(crate) fn fill_disk(&mut self, host: usize) {
        self.hosts[host].disk_full = true;
    }

    /// The agent comes back and finds no journal.
    pub(crate) fn forget_journal(&mut self, host: usize) {
        self.kill_agent(host);
        self.hosts[host].journal = Recovered::default();
        self.restart(host);
    }

    pub(crate) fn lag_gossip(&mut self, host: usize) {
        self.hosts[host].gossip_lags = true;
    }

    pub(crate) fn begin_recover(&mut self, host: usize) -> Call {
        let now = self.now;
        self.begin(host, |node, call| node.recover(call, now))
    }

    pub(crate) fn begin_leave(&mut self, host: usize) {
        let now = self.now;
        self.begin(host, |node, call| node.leave(call, Force::No, now));
    }

    pub(crate) fn answer(&self, host: usize, call: Call) -> Option<&Result<Done, Refusal>> {
        self.hosts[host].answers.get(&call)
    }

    pub(crate) fn drain(&mut self, host: usize) {
        let now = self.now;
        self.begin(host, |node, call| node.drain(call, DrainUntil::Undrained, now));
    }

    /// The machine is about to shut down.
    pub(crate) fn depart(&mut self, host: usize) {
        let now = self.now;
        self.begin(host, |node, call| node.drain(call, DrainUntil::Restarted, now));
    }

    pub(crate) fn is_drained(&self, host: usize) -> bool {
        self.node(host).is_drained()
    }

    /// Its configuration says that it is no candidate.
    pub(crate) fn never_candidate(&mut self, host: usize) {
        self.hosts[host].config.host.gateway.candidate = CandidateSetting::Never;
        let (now, config) = (self.now, self.hosts[host].config.clone());
        self.node_mut(host).reload(config, Vec::new(), now).unwrap();
        self.carry(host);
    }

    /// What its kernel refuses.
    pub(crate) fn refuse_changes(&mut self, host: usize, refused: &[&str]) {
        let now = self.now;
        let edge = EdgeState {
            refused: refused.iter().map(ToString::to_string).collect(),
            ..EdgeState::default()
        };
        self.node_mut(host).set_edge(edge, now);
        self.carry(host);
    }

    /// What its kernel's thread found of its segments.
    pub(crate) fn set_lacking(&mut self, host: usize, lacking: &[&str]) {
        let now = self.now;
        let lacking = lacking.iter().map(|name| SegmentName::new(*name).unwrap()).collect();
        let edge = EdgeState {
            lacking,
            ..EdgeState::default()
        };
        self.node_mut(host).set_edge(edge, now);
        self.carry(host);
    }

    /// Its disk refuses a write.
    pub(crate) fn lose_journal(&mut self, host: usize) {
        let now = self.now;
        self.node_mut(host).lost_disk(now);
        self.carry(host);
    }

    pub(crate) fn undrain(&mut self, host: usize) {
        let now = self.now;
        self.node_mut(host).undrain(now).unwrap();
        self.carry(host);
    }

    pub(crate) fn set_bridge_netfilter(&mut self, host: usize, it: BridgeNetfilter) {
        self.hosts[host].bridge_netfilter = it;
        let (now, facts) = (self.now, self.facts(host));
        self.node_mut(host).set_facts(Ok(facts), now);
        self.carry(host);
    }

    /// From now on it has these networks of its own, each with its interface, and this next hop.
    pub(crate) fn set_networks(&mut self, host: usize, networks: &[(&str, &str)], next_hop: Option<Ipv4Addr>) {
        let network = |(network, link): &(&str, &str)| HostNetwork {
            network: network.parse().unwrap(),
            link: IfName::new(*link).unwrap(),
        };
        self.hosts[host].networks = networks.iter().map(network).collect();
        self.hosts[host].next_hops = next_hop.into_iter().collect();
        self.tell_facts(host);
    }

    pub(crate) fn add_static_peer(&mut self, host: usize, vtep: IpAddr) -> Result<(), Refusal> {
        let now = self.now;
        let added = self.node_mut(host).add_static_peer(vtep, None, now);
        self.carry(host);
        added.map(|_| ())
    }

    pub(crate) fn try_apply(&mut self, host: usize, text: &str, force: Force) -> Result<(), Refusal> {
        self.apply_as(host, text, Run::Real, force).map(|_| ())
    }

    pub(crate) fn set_uplink(&mut self, host: usize, uplink: Health) {
        self.hosts[host].uplink = uplink;
        self.tell_facts(host);
    }

    /// The resolvers that guests can reach, of those that a host itself uses.
    pub(crate) fn set_resolvers(&mut self, host: usize, resolvers: &[Ipv4Addr]) {
        self.hosts[host].resolvers = resolvers.to_vec();
        self.tell_facts(host);
    }

    fn tell_facts(&mut self, host: usize) {
        let (now, facts) = (self.now, self.facts(host));
        self.node_mut(host).set_facts(Ok(facts), now);
        self.carry(host);
    }

    /// The process dies; the kernel goes on.
    pub(crate) fn kill_agent(&mut self, host: usize) {
        self.hosts[host].node = None;
        self.hosts[host].connected.clear();
        self.hang_up(host);
    }

    pub(crate) fn kill_host(&mut self, host: usize) {
        self.hosts[host].kernel = false;
        self.hosts[host].addresses.clear();
        self.kill_agent(host);
    }

    /// Starts the agent, and the kernel if need be, from what is on disk.
    pub(crate) fn restart(&mut self, host: usize) {
        let now = self.now;
        let it = &mut self.hosts[host];
        it.kernel = true;
        it.identity.2 += 1;
        let found = it.addresses.iter().map(|(segment, (term, end))| Found {
            segment: segment.clone(),
            term: *term,
            remaining: end.map(|end| end.since(now)),
        });
        let start = Start {
            host: it.identity.0,
            instance: it.identity.2,
            formation: it.identity.1,
            drained: it.drained,
            former: it.former.take(),
            seed: it.identity.0.0 ^ it.identity.2,
            config: it.config.clone(),
            version: "test".to_owned(),
            records: it.records.clone(),
            leases: it.journal.clone(),
            disk: Disk::Whole,
            found: found.collect(),
            answered: it.answered.clone(),
        };
        it.node = Some(Node::new(start, now));
        let facts = self.facts(host);
        self.node_mut(host).set_facts(Ok(facts), now);
        self.carry(host);
    }

    /// The agent dies while `change` is made, and comes back without what was saved of the cluster since.
    pub(crate) fn crash_unsaved(&mut self, host: usize, change: impl FnOnce(&mut Self)) {
        let saved = self.hosts[host].records.clone();
        change(self);
        self.kill_agent(host);
        self.hosts[host].records = saved;
        self.restart(host);
    }

    pub(crate) fn claim_to_have_been(&mut self, host: usize, other: usize) {
        self.hosts[host].former = Some(self.hosts[other].identity.0);
        self.restart(host);
    }

    /// `overlayd --cleanup`, and a start.
    pub(crate) fn clean_up(&mut self, host: usize) {
        self.hosts[host].former = Some(self.hosts[host].identity.0);
        self.hosts[host].addresses.clear();
        self.lose_disk(host);
    }

    /// The agent dies and comes back with nothing on disk.
    pub(crate) fn lose_disk(&mut self, host: usize) {
        self.kill_agent(host);
        let it = &mut self.hosts[host];
        it.identity = (HostId(it.identity.0.0 + 1), Formation::Unformed, 0);
        it.journal = Recovered::default();
        it.records.clear();
        it.answered.clear();
        self.restart(host);
    }

    /// The same with segments in the host's own file.
    pub(crate) fn restart_with(&mut self, host: usize, text: &str) {
        self.kill_agent(host);
        self.hosts[host].config.segments = segments(text);
        self.restart(host);
    }

    pub(crate) fn filter_vxlan(&mut self, host: usize, filters: bool) {
        self.hosts[host].filters_vxlan = filters;
    }

    pub(crate) fn cut(&mut self, host: usize) {
        self.hosts[host].cut = true;
        self.hosts[host].connected.clear();
        self.hang_up(host);
        let others: Vec<HostId> = self.hosts.iter().map(|it| it.identity.0).collect();
        let now = self.now;
        for other in others {
            self.node_mut(host).disconnected(other, now);
        }
        self.carry(host);
    }

    /// Nothing passes between two hosts any more; others reach both.
    pub(crate) fn part(&mut self, one: usize, other: usize) {
        self.parted.insert((one.min(other), one.max(other)));
        for (host, from) in [(one, other), (other, one)] {
            let (id, now) = (self.hosts[from].identity.0, self.now);
            self.hosts[host].connected.remove(&id);
            self.node_mut(host).disconnected(id, now);
            self.carry(host);
        }
    }

    pub(crate) fn unite(&mut self, one: usize, other: usize) {
        self.parted.remove(&(one.min(other), one.max(other)));
    }

    pub(crate) fn heal(&mut self, host: usize) {
        self.hosts[host].cut = false;
    }

    /// The others' streams to a host end.
    fn hang_up(&mut self, host: usize) {
        let (id, now) = (self.hosts[host].identity.0, self.now);
        for other in 0..self.hosts.len() {
            if self.hosts[other].connected.remove(&id)
                && let Some(node) = &mut self.hosts[other].node
            {
                node.disconnected(id, now);
                self.carry(other);
            }
        }
    }

    pub(crate) fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            let now = self.now;
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
                let event = entry.remove();
                self.happen(event);
            }
            for host in 0..self.hosts.len() {
                self.hosts[host]
                    .addresses
                    .retain(|_, (_, end)| end.is_none_or(|end| end > now));
                let due = |node: &Node| node.poll_timeout().is_some_and(|(at, _)| at <= now);
                if self.hosts[host].node.as_ref().is_some_and(due) {
                    self.node_mut(host).handle_timeout(now);
                    self.carry(host);
                }
                self.dial(host);
            }
        }
    }

    pub(crate) fn node(&self, host: usize) -> &Node {
        self.hosts[host].node.as_ref().unwrap()
    }

    pub(crate) fn node_mut(&mut self, host: usize) -> &mut Node {
        self.hosts[host].node.as_mut().unwrap()
    }

    pub(crate) fn inputs(&self, host: usize) -> Option<&Inputs> {
        self.hosts[host].inputs.as_ref()
    }

    pub(crate) fn dials(&self, host: usize) -> &BTreeMap<HostId, SocketAddr> {
        &self.hosts[host].dial
    }

    pub(crate) fn states(&self, host: usize) -> Vec<PeerState> {
        self.node(host)
            .peer_lines()
            .iter()
            .filter(|line| line.state != PeerState::Left)
            .map(|line| line.state)
            .collect()
    }

    pub(crate) fn state_of(&self, host: usize, other: usize) -> PeerState {
        let id = self.hosts[other].identity.0;
        self.node(host)
            .peer_lines()
            .iter()
            .find(|line| line.id == Some(id))
            .unwrap()
            .state
    }

    /// The names of the hosts whose kernel has the gateway address of a segment.
    pub(crate) fn gateways(&self, segment: &str) -> Vec<String> {
        let segment = SegmentName::new(segment).unwrap();
        self.hosts
            .iter()
            .filter(|host| host.addresses.contains_key(&segment))
            .map(|host| host.name.clone())
            .collect()
    }

    pub(crate) fn index(&self, name: &str) -> usize {
        self.hosts.iter().position(|host| host.name == name).unwrap()
    }

    fn listen(&self, host: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.hosts[host].vtep), 7480)
    }

    fn facts(&self, host: usize) -> Facts {
        let it = &self.hosts[host];
        Facts {
            name: it.name.clone(),
            vtep: IpAddr::V4(it.vtep),
            sources: BTreeMap::new(),
            listen: self.listen(host),
            underlay: IfName::new("eth0").unwrap(),
            underlay_mtu: UnderlayMtu::new(it.mtu),
            uplinks: BTreeMap::from([(IfName::new("eth0").unwrap(), BTreeSet::new())]),
            uplink_health: it.uplink.clone(),
            networks: it.networks.clone(),
            next_hops: it.next_hops.clone(),
            resolvers: it.resolvers.clone(),
            bridge_netfilter: it.bridge_netfilter,
            tracking: Tracking::Off,
        }
    }

    fn linked(&self, one: usize, other: usize) -> bool {
        let parted = self.parted.contains(&(one.min(other), one.max(other)));
        !parted && !self.hosts[one].cut && !self.hosts[other].cut && self.hosts[one].kernel && self.hosts[other].kernel
    }

    fn numbered(&self, id: HostId) -> Option<usize> {
        self.hosts.iter().position(|host| host.identity.0 == id)
    }

    fn later(&mut self, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + LATENCY, self.sequence), event);
    }

    /// Connections come up where both agents are there and of one cluster.
    fn dial(&mut self, host: usize) {
        let wanted: Vec<HostId> = self.hosts[host].dial.keys().copied().collect();
        for id in wanted {
            let Some(other) = self.numbered(id) else { continue };
            let alike = self.hosts[other].identity.1 == self.hosts[host].identity.1;
            let refused = self.hosts[other].refused.contains(&self.hosts[host].identity.0);
            if refused && self.hosts[host].node.is_some() && self.linked(host, other) {
                self.node_mut(host).handle_removed();
                self.carry(host);
                return;
            }
            let there = self.hosts[other].node.is_some() && self.linked(host, other) && alike;
            if there && self.hosts[host].connected.insert(id) {
                self.later(Event::Connect(host, id));
            }
        }
        let dial = &self.hosts[host].dial;
        let gone: Vec<HostId> = self.hosts[host]
            .connected
            .iter()
            .filter(|id| !dial.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            self.hosts[host].connected.remove(&id);
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        let host = match event {
            Event::PeerMessage(from, to, said) => {
                let id = self.hosts[from].identity.0;
                if !self.linked(from, to) {
                    return;
                }
                let Some(node) = &mut self.hosts[to].node else { return };
                node.handle(id, said, now);
                to
            }
            Event::PathSent(host, peer, frame) => {
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle_path_sent(peer, frame, now);
                host
            }
            Event::PathFrame(host, frame) => {
                let it = &mut self.hosts[host];
                let segment = it.inputs.iter().find_map(|inputs| inputs.segments.get(&frame.segment));
                let (Some(node), Some(segment)) = (&mut it.node, segment) else {
                    return;
                };
                node.handle_path_frame(&segment.segment.bridge, frame, now);
                host
            }
            Event::Connect(host, id) => {
                let Some(node) = &mut self.hosts[host].node else { return };
                node.connected(id, now);
                host
            }
            Event::Join(from, to, request) => {
                let there = (0..self.hosts.len()).find(|host| *host != from && self.listen(*host) == to);
                let Some(host) = there.filter(|host| self.linked(from, *host)) else {
                    let silence = Err(Refusal::new("no agent responds"));
                    self.sequence += 1;
                    let key = (now + JOIN_PATIENCE, self.sequence);
                    self.queue.insert(key, Event::Welcome(from, to, silence));
                    return;
                };
                self.calls += 1;
                let call = Call(self.calls);
                self.joins.insert(call, (from, to));
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle_join(call, *request, now);
                host
            }
            Event::Welcome(host, from, result) => {
                let node = self.node_mut(host);
                let result = result.map(|welcome| *welcome);
                node.handle_welcome(from, result, now);
                host
            }
            Event::Probe(host, other, number, outcome) => {
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle_probe(other, number, outcome, now);
                host
            }
            Event::Take(host, group, taken) => {
                self.hosts[host].addresses.extend(taken);
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle_address(group, AddressEvent::Set, now);
                host
            }
            Event::Address(host, group, event) => {
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle_address(group, event, now);
                host
            }
            Event::Prepared(host, group) => {
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle_prepared(group, now);
                host
            }
            Event::Synced(host, sequence) => {
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle_synced(sequence, now);
                host
            }
            Event::Listeners(host, asker, number, found) => {
                let Some(node) = &mut self.hosts[host].node else { return };
                node.handle_listeners(asker, number, found, now);
                host
            }
            Event::RemovedAll(host) => {
                self.node_mut(host).handle_removed_all(Vec::new(), Vec::new());
                host
            }
            Event::Arp(host, segment, guest, address) => {
                self.node_mut(host).handle_arp(segment, guest, address, now);
                host
            }
        };
        self.carry(host);
    }

    /// Does what a host's node says.
    fn carry(&mut self, host: usize) {
        let mut effects = VecDeque::new();
        if let Some(node) = &mut self.hosts[host].node {
            while let Some(effect) = node.poll_effect() {
                effects.push_back(effect);
            }
        }
        for effect in effects {
            self.perform(host, effect);
        }
    }

    fn perform(&mut self, host: usize, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Dial(hosts) => self.hosts[host].dial = hosts,
            Effect::Send {
                said: PeerMessage::Gossip(_),
                ..
            } if self.hosts[host].gossip_lags => {}
            Effect::Send { to, said } => {
                let connected = self.hosts[host].connected.contains(&to);
                if let Some(other) = self.numbered(to).filter(|other| connected && self.linked(host, *other)) {
                    self.later(Event::PeerMessage(host, other, said));
                }
            }
            Effect::CallJoin { to, request } => self.later(Event::Join(host, to, request)),
            Effect::AnswerJoin { call, result } => {
                if let Some((joiner, from)) = self.joins.remove(&call) {
                    self.later(Event::Welcome(joiner, from, result));
                }
            }
            Effect::Probe {
                host: other,
                address,
                number,
            } => {
                let at = self.hosts.iter().position(|it| IpAddr::V4(it.vtep) == address);
                let answers = at.is_some_and(|at| self.linked(host, at));
                let outcome = if answers {
                    Outcome::Answered
                } else {
                    Outcome::Unanswered
                };
                self.sequence += 1;
                let wait = Duration::from_millis(if answers { 2 } else { 50 });
                self.queue
                    .insert((now + wait, self.sequence), Event::Probe(host, other, number, outcome));
            }
            Effect::PathFrame { frame, peer, .. } => {
                self.later(Event::PathSent(host, peer, frame));
                let blocked = |other: &usize| self.hosts[*other].filters_vxlan;
                if let Some(other) = self
                    .numbered(peer)
                    .filter(|other| self.linked(host, *other) && !blocked(other))
                {
                    self.later(Event::PathFrame(other, frame));
                }
            }
            Effect::SetAddress {
                group,
                addresses,
                term,
                lifetime,
            } => {
                // A plan made for less than this would take the address away again.
                for segment in self.hosts[host].inputs.iter().flat_map(|it| it.segments.values()) {
                    if addresses.contains_key(&segment.segment.name) {
                        assert_eq!(
                            segment.role,
                            SegmentRole::Gateway { term },
                            "the kernel's thread does not know it yet"
                        );
                    }
                }
                let addresses = addresses.into_keys();
                let taken = addresses.map(|segment| (segment, (term, lifetime.map(|life| now + life))));
                self.sequence += 1;
                let at = (now + self.address_takes, self.sequence);
                self.queue.insert(at, Event::Take(host, group, taken.collect()));
            }
            Effect::RemoveAddress { group, segments } => {
                for segment in segments {
                    self.hosts[host].addresses.remove(&segment);
                }
                // One after the other: what was to be set before is not set after.
                self.queue
                    .retain(|_, event| !matches!(event, Event::Take(of, whose, _) if (*of, *whose) == (host, group)));
                self.later(Event::Address(host, group, AddressEvent::Removed));
            }
            Effect::Desired(inputs) => self.hosts[host].inputs = Some(*inputs),
            Effect::Prepare(group) => {
                let inputs = self.hosts[host].inputs.as_ref();
                let preparing =
                    inputs.is_some_and(|it| it.segments.values().any(|it| it.role == SegmentRole::Preparing));
                assert!(preparing, "the kernel's thread does not know what is to be prepared");
                self.later(Event::Prepared(host, group));
            }
            Effect::FindListeners { asker, number, ports } => {
                let asked = |it: &&Listener| {
                    let mut ports = ports.iter();
                    ports.any(|wanted| wanted.protocol == it.protocol && wanted.ports.contains(it.port))
                };
                let found = self.hosts[host].listeners.iter().filter(asked).cloned().collect();
                self.later(Event::Listeners(host, asker, number, found));
            }
            Effect::RemoveAll(_) => {
                self.hosts[host].inputs = None;
                self.later(Event::RemovedAll(host));
            }
            Effect::Append { .. } if self.hosts[host].disk_full => {}
            Effect::Append { sequence, records } => {
                let journal = &mut self.hosts[host].journal;
                journal.sequence = sequence;
                journal.records.extend(records as Vec<JournalRecord>);
                self.later(Event::Synced(host, sequence));
            }
            Effect::NewJournal => self.hosts[host].journal = Recovered::default(),
            Effect::SaveIdentity(formation) => {
                let it = &mut self.hosts[host];
                it.identity.1 = formation;
                if let Formation::Left { next } = formation {
                    it.identity.0 = next;
                    it.connected.clear();
                }
                it.journal = Recovered::default();
                it.records.clear();
            }
            Effect::SaveDrained(drained) => self.hosts[host].drained = drained,
            Effect::SaveCluster(records) => self.hosts[host].records = records,
            Effect::SaveAnswered(hosts) => self.hosts[host].answered = hosts,
            Effect::Answer { call, result } => {
                if let Ok(Done::Joined { .. }) = result {
                    let records = &self.hosts[host].records;
                    assert!(
                        !records.is_empty(),
                        "answered before the cluster is on its way to the disk"
                    );
                }
                self.hosts[host].answers.insert(call, result);
            }
            Effect::Cluster { removed, .. } => self.hosts[host].refused = removed,
            Effect::CallInvite { .. }
            | Effect::Listen(_)
            | Effect::HearAddresses(_)
            | Effect::Announce { .. }
            | Effect::StopAnnouncing(_) => {}
            Effect::Event(event) => self.hosts[host]
                .notes
                .push(format!("{} {:?}", event.message(), event.fields())),
            Effect::AskGuests { segment, addresses } => {
                for address in addresses {
                    if let Some(guest) = self.by_hand.get(&address) {
                        self.later(Event::Arp(host, segment, *guest, address));
                    }
                }
            }
            Effect::Dhcp { bytes, .. } => {
                let client = Mac(bytes[28..34].try_into().unwrap());
                let address = <[u8; 4]>::try_from(&bytes[16..20]).unwrap().into();
                let mut options = &bytes[240..];
                while let [code, length, rest @ ..] = options {
                    if *code == 53 {
                        self.hosts[host].replies.insert(client, (rest[0], address));
                    }
                    options = rest.get(usize::from(*length)..).unwrap_or_default();
                }
            }
        }
    }
}
