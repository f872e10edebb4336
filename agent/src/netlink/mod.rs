//! The kernel's network configuration over rtnetlink: what there is, what is to be done, what happened.
//!
//! ```text
//!   observe ─► Host ─► plan ─► [Op] ─► encode ─► connection ─► kernel ─► watch ─► "look again"
//!                                 └──► sysctl · nft                └───► sightings of guests
//! ```
//! Nothing here decides, and nothing is remembered from one call to the next but an open socket, and what our nftables
//! tables are like while the kernel says that no table has changed. A socket belongs to the network namespace of the
//! thread that opened it.

mod address;
mod apply;
mod connection;
mod encode;
mod error;
mod facts;
mod fdb;
mod networks;
mod observe;
mod routing;
mod watch;

use std::net::IpAddr;

use overlayd_core::gateway::routes::Routing;
use overlayd_core::gateway::uplink::{Carrier, NextHop};
use overlayd_core::id::IfName;
use overlayd_core::kernel::observed::Observed;
use overlayd_core::kernel::plan::Op;
use overlayd_core::kernel::sysctl::Sysctl;
use overlayd_core::mtu::UnderlayMtu;
use tokio::sync::Mutex;

use self::connection::Connection;
pub use address::{Found, GatewayAddress, Renewal};
pub use apply::{Applied, Failure};
pub use error::{Error, Kind, Refusal};
pub use facts::{Asker, Path};
pub use networks::OwnNetwork;
pub use watch::{Guest, News, Sighting, Watch};

/// The name of an interface of this network namespace.
pub(crate) fn link_name(index: u32) -> Option<IfName> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    IfName::new(name.to_str().ok()?).ok()
}

/// The kinds of link that these ops make and this kernel does not know, each once; for telling before it is tried in
/// earnest. They are made in a network namespace of their own, which may have the kernel load their modules. Empty where
/// this process may not have one.
pub fn unknown_kinds(ops: &[Op]) -> Vec<Kind> {
    apply::unknown_kinds(ops)
}

/// The handle for looking at the kernel and changing it; calls wait for each other.
///
/// A call may hold its thread for as long as the kernel holds its configuration lock (removing a link takes about
/// 20 ms), so the plan's worker has a thread of its own where something else must answer faster.
pub struct Netlink {
    connection: Mutex<Connection>,
    tables: Mutex<crate::nft::Reader>,
}

impl Netlink {
    /// A handle for the network namespace of the calling thread.
    ///
    /// # Errors
    /// There is no netlink socket to be had.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            connection: Mutex::new(Connection::open()?),
            tables: Mutex::default(),
        })
    }

    /// All that a plan looks at; of the sysctls those that are named.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn observe(&self, sysctls: impl IntoIterator<Item = &Sysctl>) -> Result<Observed, Error> {
        let mut host = observe::host(&mut *self.connection.lock().await)?;
        for sysctl in sysctls {
            if let Some(value) = crate::sysctl::read(&sysctl.path())?.and_then(|text| text.parse().ok()) {
                host.sysctls.insert(sysctl.clone(), value);
            }
        }
        host.tables = self.tables.lock().await.observe().await?;
        Ok(host)
    }

    /// An interface went: kernels before 6.16 take it out of its nftables chain without counting that as a change.
    pub async fn read_tables_anew(&self) {
        self.tables.lock().await.forget();
    }

    /// Does all ops in order; a failing one does not stop the rest.
    ///
    /// Cancelling it leaves some ops done and some not, as a crash would: the next plan finds out.
    pub async fn apply(&self, ops: &[Op]) -> Applied {
        apply::apply(&mut *self.connection.lock().await, ops).await
    }

    /// The interfaces of the default routes, the one that counts first.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn default_routes(&self) -> Result<Vec<IfName>, Error> {
        facts::default_routes(&mut *self.connection.lock().await)
    }

    /// The host's IPv4 routing.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn routing(&self) -> Result<Routing, Error> {
        routing::routing(&mut *self.connection.lock().await)
    }

    /// As whom to ask a next hop by ARP; `None`: it cannot be asked like that.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn asker(&self, hop: &NextHop) -> Result<Option<Asker>, Error> {
        facts::asker(&mut *self.connection.lock().await, hop)
    }

    /// The host's own IPv4 network, apart from our segments.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn own_network(&self) -> Result<OwnNetwork, Error> {
        networks::own_network(&mut *self.connection.lock().await)
    }

    /// The global addresses of an interface in the kernel's order, IPv4 before IPv6.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn global_addresses(&self, link: &IfName) -> Result<Vec<IpAddr>, Error> {
        facts::global_addresses(&mut *self.connection.lock().await, link)
    }

    /// Whether an address is this host's own.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn is_local(&self, address: IpAddr) -> Result<bool, Error> {
        facts::is_local(&mut *self.connection.lock().await, address)
    }

    /// How the kernel reaches each of these, in the same order, with the source that it takes out of `underlay`; nothing where
    /// there is no such interface.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn paths(&self, to: &[IpAddr], underlay: &IfName) -> Result<Vec<Path>, Error> {
        facts::paths(&mut *self.connection.lock().await, to, underlay)
    }

    /// The MTU of an interface, or nothing where it is not there.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn link_mtu(&self, link: &IfName) -> Result<Option<UnderlayMtu>, Error> {
        facts::link_mtu(&mut *self.connection.lock().await, link)
    }

    /// The carrier of an interface; one that is not there has none.
    ///
    /// # Errors
    /// Kernel state could not be read; the next call starts on a new socket.
    pub async fn carrier(&self, link: &IfName) -> Result<Carrier, Error> {
        facts::carrier(&mut *self.connection.lock().await, link)
    }
}
