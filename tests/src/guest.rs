//! A guest: a namespace whose only cable ends in a port of a bridge on its host, as a tap of a virtual machine does.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, socket};

use crate::client::Client;
use crate::ledger::Ledger;
use crate::namespace::Namespace;
use crate::ping::Pinger;
use crate::process::Running;
use crate::wait::wait_for;
use crate::wiring::address_seen_from;

/// How long a guest may wait for its lease.
///
/// dhcpcd probes its address for up to 7 s (RFC 5227), and a question that was lost is repeated after 4 s.
pub const LEASE: Duration = Duration::from_secs(20);

/// A guest of the laboratory.
#[derive(Debug)]
pub struct Guest {
    name: String,
    host: String,
    namespace: Namespace,
    on: Namespace,
    port: String,
    mac: String,
    folder: PathBuf,
    ledger: Arc<Ledger>,
    client: Mutex<Option<Running>>,
}

/// What a guest has on its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Its address.
    pub address: IpAddr,
    /// With so many bits of prefix.
    pub prefix: u64,
    /// Where its default route leads.
    pub router: Option<String>,
    /// Its interface's MTU.
    pub mtu: u64,
}

impl Guest {
    /// A guest on a host, plugged into `bridge` there; the bridge has to be there.
    ///
    /// # Errors
    /// The kernel refuses something.
    pub fn plug(
        name: &str,
        index: u8,
        namespace: Namespace,
        host: &crate::Host,
        bridge: &str,
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let folder = ledger.folder().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let guest = Self {
            name: name.to_owned(),
            host: host.name().to_owned(),
            namespace,
            on: host.namespace().clone(),
            port: format!("port{index}"),
            mac: format!("52:54:00:00:00:{index:02x}"),
            folder,
            ledger: Arc::clone(ledger),
            client: Mutex::default(),
        };
        let (port, mac, inside) = (&guest.port, &guest.mac, guest.namespace.name());
        // The port's own address begins with fe, as libvirt gives it to a tap.
        guest.on.ip_batch(&format!(
            "link add {port} address fe:54:00:00:00:{index:02x} type veth peer name eth0 address {mac} netns {inside}
             link set {port} master {bridge}
             link set {port} up\n"
        ))?;
        guest.namespace.ip("link set eth0 up")?;
        Ok(guest)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the host it is on.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its interface's MAC.
    pub fn mac(&self) -> &str {
        &self.mac
    }

    /// The name of its port on the host.
    pub fn port(&self) -> &str {
        &self.port
    }

    fn client(&self) -> MutexGuard<'_, Option<Running>> {
        self.client.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sets an address of blue (192.168.124.`last`) by hand, with a default route to the gateway; no client runs.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn by_hand(&self, last: u8) -> Result<IpAddr> {
        self.forget();
        self.namespace.ip_batch(&format!(
            "addr replace 192.168.124.{last}/24 dev eth0
             link set eth0 mtu 1450
             route replace default via 192.168.124.1\n"
        ))?;
        Ok(IpAddr::from([192, 168, 124, last]))
    }

    /// Gets a lease by udhcpc, which then keeps it up.
    ///
    /// # Errors
    /// None within ten seconds.
    pub fn dhcp(&self) -> Result<Configured> {
        self.dhcp_by(Client::Udhcpc)
    }

    /// Gets a lease by a certain client, which then keeps it up; an earlier one of this guest is killed.
    ///
    /// # Errors
    /// None within [`LEASE`]: what the client said.
    pub fn dhcp_by(&self, client: Client) -> Result<Configured> {
        self.launch(client)?;
        let told = wait_for(&format!("{} has a lease", self.name), LEASE, || {
            if let Some(status) = self.client().as_mut().and_then(Running::ended) {
                bail!("{} ended ({status})", client.program());
            }
            self.settled(client)
        });
        let log = || fs::read_to_string(self.folder.join("client.log")).unwrap_or_default();
        let (configured, _) = told.with_context(|| format!("{} said: {}", client.program(), log().trim()))?;
        Ok(configured)
    }

    /// Starts a client and waits for nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(&self, client: Client) -> Result<()> {
        self.forget();
        let _ = fs::remove_file(self.folder.join("lease"));
        let mut command = client.command(&self.namespace, &self.name, &self.folder)?;
        let what = format!("{} of {}", client.program(), self.name);
        *self.client() = Some(Running::start(
            &mut command,
            &what,
            &self.folder.join("client.log"),
            &self.ledger,
        )?);
        Ok(())
    }

    /// Kills the client, as a crash of the guest would: the server hears nothing.
    pub fn forget(&self) {
        if let Some(mut client) = self.client().take() {
            client.kill();
        }
    }

    /// Lets the client go on after this laboratory's process, which does not kill it then.
    pub fn release(&self) {
        let _ = self.client().take();
    }

    /// What the guest has on its interface now.
    ///
    /// # Errors
    /// It has no address.
    pub fn configured(&self) -> Result<Configured> {
        let link = self.namespace.ip_json("addr show dev eth0")?;
        let link = link.first().context("a guest has an eth0")?;
        let addresses = link["addr_info"].as_array().context("an interface has addresses")?;
        let v4 = addresses.iter().find(|address| address["family"] == "inet");
        let v4 = v4.with_context(|| format!("{} has no IPv4 address", self.name))?;
        let address = v4["local"].as_str().context("an address is a text")?;
        let routes = self.namespace.ip_json("route show default")?;
        Ok(Configured {
            address: address.parse()?,
            prefix: v4["prefixlen"].as_u64().context("an address has a prefix")?,
            router: routes
                .first()
                .and_then(|route| route["gateway"].as_str())
                .map(str::to_owned),
            mtu: link["mtu"].as_u64().context("an interface has an MTU")?,
        })
    }

    /// As [`Guest::configured`], once the client has done all that it does with a lease.
    fn settled(&self, client: Client) -> Result<Configured> {
        let routed = match client {
            Client::Udhcpc => !self.lease()?["router"].is_empty(),
            Client::Dhclient | Client::Dhcpcd | Client::Networkd | Client::NetworkManager => true,
        };
        let configured = self.configured()?;
        ensure!(
            configured.router.is_some() == routed,
            "{} has no default route yet",
            self.name
        );
        Ok(configured)
    }

    /// What udhcpc was told last: `event`, `address`, `mask`, `router`, `dns`, `mtu`, `lease`, `server`, `domain`.
    ///
    /// # Errors
    /// It was told nothing yet.
    pub fn lease(&self) -> Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(self.folder.join("lease"))
            .with_context(|| format!("{} has had no answer from a DHCP server", self.name))?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// For how many seconds from now the kernel keeps its address: as long as the lease that its client last got.
    ///
    /// # Errors
    /// It has no address, or one for ever.
    pub fn lifetime(&self) -> Result<u64> {
        let link = self.namespace.ip_json("-4 addr show dev eth0")?;
        let address = link.first().and_then(|link| link["addr_info"].get(0));
        let address = address.with_context(|| format!("{} has no IPv4 address", self.name))?;
        let seconds = address["valid_life_time"]
            .as_u64()
            .context("an address has a lifetime")?;
        ensure!(seconds < u64::from(u32::MAX), "{}'s address is for ever", self.name);
        Ok(seconds)
    }

    /// What NetworkManager, had it been let, would have written into the machine's `resolv.conf`.
    ///
    /// # Errors
    /// It does not run, or has had no lease.
    pub fn resolv_conf(&self) -> Result<String> {
        let file = self.folder.join("network-manager/run/NetworkManager/resolv.conf");
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// Has udhcpc renew its lease now; what it was told.
    ///
    /// # Errors
    /// No answer within ten seconds.
    pub fn renew(&self) -> Result<BTreeMap<String, String>> {
        let file = self.folder.join("lease");
        let _ = fs::remove_file(&file);
        let asked = self.client().as_ref().map(|client| client.signal(Signal::SIGUSR1));
        asked.with_context(|| format!("{} runs no DHCP client", self.name))?;
        Ok(wait_for(&format!("{} renews its lease", self.name), LEASE, || self.lease())?.0)
    }

    /// Has udhcpc give its lease back and end.
    ///
    /// # Errors
    /// None runs, or it does not end.
    pub fn give_back(&self) -> Result<()> {
        let client = self.client().take();
        let mut client = client.with_context(|| format!("{} runs no DHCP client", self.name))?;
        client.signal(Signal::SIGUSR2);
        // Released, it idles: it does not end by itself.
        let log = self.folder.join("client.log");
        let released = wait_for("udhcpc releases its lease", LEASE, || {
            let text = fs::read_to_string(&log)?;
            ensure!(text.contains("released"), "not yet");
            Ok(())
        });
        client.kill();
        released.map(|_| ())
    }

    /// Pings once, for at most a second; how ping ended.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn ping_once(&self, address: &str) -> Result<Output> {
        Ok(self
            .namespace
            .command("ping")
            .args(["-n", "-c", "1", "-W", "1", address])
            .output()?)
    }

    /// Pings until answered.
    ///
    /// # Errors
    /// Not within five seconds.
    pub fn ping(&self, address: impl ToString) -> Result<()> {
        let address = address.to_string();
        let what = format!("{} reaches {address}", self.name);
        wait_for(&what, Duration::from_secs(5), || {
            let output = self.ping_once(&address)?;
            let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            ensure!(output.status.success(), "{told}");
            Ok(())
        })?;
        Ok(())
    }

    /// Pings with packets of `size` bytes (IPv4 header included) that nobody may cut up.
    ///
    /// # Errors
    /// One of three is not answered: what ping said.
    pub fn ping_whole(&self, address: impl ToString, size: usize) -> Result<()> {
        // 20 bytes of IPv4 and 8 of ICMP.
        let payload = size - 28;
        self.namespace
            .sh(&format!(
                "ping -n -q -M do -s {payload} -c 3 -i 0.05 -W 1 {}",
                address.to_string()
            ))
            .map(|_| ())
    }

    /// Pings every 10 ms beside the test.
    ///
    /// # Errors
    /// `ping` cannot be started.
    pub fn keep_pinging(&self, address: impl ToString) -> Result<Pinger> {
        let address = address.to_string();
        let log = self.folder.join(format!("ping-{address}.log"));
        Pinger::start(&self.namespace, &address, log, &self.ledger)
    }

    /// Asks the server in the internet, by TCP, which address it sees.
    ///
    /// # Errors
    /// It cannot be reached within five seconds.
    pub fn address_outside(&self) -> Result<IpAddr> {
        address_seen_from(&self.namespace, Duration::from_secs(5))
    }

    /// A second cable, from its interface `inside` to a bridge of another host, with the same MAC: as the target of a live
    /// migration has it before the guest runs there.
    ///
    /// # Errors
    /// The kernel refuses something.
    pub fn plug_again(&self, host: &crate::Host, bridge: &str, inside: &str) -> Result<()> {
        let (port, mac, guest) = (&self.port, &self.mac, self.namespace.name());
        host.namespace().ip_batch(&format!(
            "link add {port} type veth peer name {inside} address {mac} netns {guest}
             link set {port} master {bridge}
             link set {port} up\n"
        ))?;
        self.namespace.ip(&format!("link set {inside} up")).map(|_| ())
    }

    /// Sends one frame as it is.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn send_frame(&self, interface: &str, frame: &[u8]) -> Result<()> {
        self.namespace.within(|| {
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None)?;
            let own = nix::ifaddrs::getifaddrs()?
                .filter(|it| it.interface_name == interface)
                .find_map(|it| it.address?.as_link_addr().copied())
                .with_context(|| format!("{} has no {interface}", self.name))?;
            bind(socket.as_raw_fd(), &own)?;
            nix::unistd::write(&socket, frame)?;
            Ok(())
        })
    }

    /// Pulls its cable out of the host: the port is gone, and with it the client.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn unplug(&self) -> Result<()> {
        self.forget();
        self.on.ip(&format!("link del {}", self.port)).map(|_| ())
    }
}
