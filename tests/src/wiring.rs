//! The underlay: a switch that can be cut and made lossy, and an internet behind it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;

/// The server in the internet that guests reach through NAT.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Its IPv6 address, which hosts reach.
pub const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xcafe, 0, 0, 0, 0, 1);

/// The router on the hosts' second network, where there is one.
pub const ROUTER2: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);

/// The TCP port at which it tells callers their address.
const WHO_AM_I: u16 = 8000;

/// The underlay address of the `index`-th host (from 1).
pub fn underlay(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, 0, 10 + index)
}

/// Its IPv6 underlay address.
pub fn underlay6(index: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd31, 0, 0, 0, 0, 0, 0, 0x10 + u16::from(index))
}

/// Its address on the second network, which leads nowhere else.
pub fn second(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, 10 + index)
}

/// The switch between the hosts.
#[derive(Debug)]
pub struct Switch {
    namespace: Namespace,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    /// From, to.
    cut: BTreeSet<(String, String)>,
    /// Frames lost on the way to or from a host, in percent.
    loss: Vec<(String, u8)>,
    /// Conditions of nftables on what the switch drops.
    drop: Vec<String>,
}

impl Switch {
    /// Sets the switch up in its namespace, with the internet plugged in.
    ///
    /// # Errors
    /// The kernel refuses something.
    pub fn build(namespace: Namespace, internet: &Namespace) -> Result<Self> {
        namespace.ip_batch(&format!(
            "link add sw type bridge mcast_snooping 0
             link set sw up
             link add sw2 type bridge mcast_snooping 0
             link set sw2 up
             link add wan type veth peer name eth0 netns {}
             link set wan master sw up\n",
            internet.name()
        ))?;
        internet.ip_batch(&format!(
            "addr add 172.31.0.1/24 dev eth0
             addr add fd31::1/64 dev eth0 nodad
             addr add {SERVER}/32 dev lo
             addr add {SERVER6}/128 dev lo
             link set eth0 up\n"
        ))?;
        Ok(Self {
            namespace,
            faults: Mutex::default(),
        })
    }

    /// Plugs a host in: its `eth0` with underlay addresses and a way out, its `eth1` on the second network.
    ///
    /// # Errors
    /// The kernel refuses something.
    pub fn plug(&self, host: &str, index: u8, into: &Namespace) -> Result<()> {
        let ns = into.name();
        self.namespace.ip_batch(&format!(
            "link add {host} type veth peer name eth0 address 02:00:00:00:00:{index:02x} netns {ns}
             link set {host} master sw up
             link add {host}-2 type veth peer name eth1 address 02:00:00:00:02:{index:02x} netns {ns}
             link set {host}-2 master sw2 up\n"
        ))?;
        into.ip_batch(&format!(
            "addr add {}/24 dev eth0
             addr add {}/64 dev eth0 nodad
             addr add {}/24 dev eth1
             link set eth0 up
             link set eth1 up
             route add default via 172.31.0.1
             route add default via fd31::1\n",
            underlay(index),
            underlay6(index),
            second(index)
        ))
    }

    /// Gives the internet a second router, [`ROUTER2`], on the hosts' second network.
    ///
    /// # Errors
    /// The kernel refuses something.
    pub fn plug_second_router(&self, internet: &Internet) -> Result<()> {
        let into = internet.namespace();
        self.namespace.ip_batch(&format!(
            "link add wan-2 type veth peer name eth1 netns {}
             link set wan-2 master sw2 up\n",
            into.name()
        ))?;
        into.ip_batch(&format!("addr add {ROUTER2}/24 dev eth1\nlink set eth1 up\n"))
    }

    /// Pulls the cables of a host out.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn unplug(&self, host: &str) -> Result<()> {
        self.namespace
            .ip_batch(&format!("link set {host} down\nlink set {host}-2 down\n"))
    }

    /// Puts them back in.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn replug(&self, host: &str) -> Result<()> {
        self.namespace
            .ip_batch(&format!("link set {host} up\nlink set {host}-2 up\n"))
    }

    /// Lets nothing pass between two hosts; both still have a carrier. `wan` is the internet.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn cut(&self, one: &str, other: &str) -> Result<()> {
        self.change(|faults| {
            faults.cut.insert((one.to_owned(), other.to_owned()));
            faults.cut.insert((other.to_owned(), one.to_owned()));
        })
    }

    /// Lets nothing pass from one host to another; the way back works.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<()> {
        self.change(|faults| {
            faults.cut.insert((from.to_owned(), to.to_owned()));
        })
    }

    /// Loses `percent` (1 to 99) of what goes to a host.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn lose(&self, host: &str, percent: u8) -> Result<()> {
        self.change(|faults| faults.loss.push((host.to_owned(), percent)))
    }

    /// Drops what fulfils a condition of nftables.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn drop_where(&self, condition: &str) -> Result<()> {
        self.change(|faults| faults.drop.push(condition.to_owned()))
    }

    /// Makes the switch whole again; pulled cables stay out.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn heal(&self) -> Result<()> {
        self.change(|faults| *faults = Faults::default())
    }

    fn change(&self, change: impl FnOnce(&mut Faults)) -> Result<()> {
        let mut faults = self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut faults);
        let mut rules = String::new();
        let ports = |host: &str| format!("{{ \"{host}\", \"{host}-2\" }}");
        for (from, to) in &faults.cut {
            let _ = writeln!(rules, "iifname {} oifname {} drop", ports(from), ports(to));
        }
        for (host, percent) in &faults.loss {
            let _ = writeln!(rules, "oifname {} numgen random mod 100 < {percent} drop", ports(host));
        }
        for condition in &faults.drop {
            let _ = writeln!(rules, "{condition} drop");
        }
        self.namespace.nft(&format!(
            "table bridge faults
             delete table bridge faults
             table bridge faults {{ chain forward {{ type filter hook forward priority 0;
             {rules} }}
             }}\n"
        ))
    }
}

/// The internet behind the switch.
#[derive(Debug)]
pub struct Internet {
    namespace: Namespace,
}

impl Internet {
    /// The internet in `namespace`, with a server that tells each TCP caller its address.
    ///
    /// The server lives as long as the process.
    ///
    /// # Errors
    /// The port cannot be opened.
    pub fn serve(namespace: Namespace) -> Result<Self> {
        let listener = namespace.within(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, WHO_AM_I))?))?;
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                // A caller that went away wants no answer.
                if let Ok(address) = caller.peer_addr() {
                    let _ = writeln!(&caller, "{}", address.ip());
                }
            }
        });
        Ok(Self { namespace })
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

/// Asks the server, by TCP from inside `namespace`, which address it sees.
///
/// # Errors
/// It cannot be reached, or says something else than an address.
pub fn address_seen_from(namespace: &Namespace, limit: Duration) -> Result<IpAddr> {
    namespace.within(|| {
        let server = SocketAddr::from((SERVER, WHO_AM_I));
        let mut stream = TcpStream::connect_timeout(&server, limit).with_context(|| format!("no TCP to {server}"))?;
        stream.set_read_timeout(Some(limit))?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .with_context(|| format!("no answer from {server}"))?;
        answer.trim().parse().with_context(|| format!("no address: {answer:?}"))
    })
}
