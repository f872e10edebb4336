//! The DHCP clients that people run, as they are set up by Debian; each keeps its hands off the machine's files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;

/// A DHCP client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Of busybox: small guests, boot loaders, containers.
    Udhcpc,
    /// Of ISC: Debian's and RHEL's for many years.
    Dhclient,
    /// Of Raspberry Pi OS and Gentoo.
    Dhcpcd,
    /// Of systemd; told to take the MTU, which it does not by default.
    Networkd,
    /// Of desktops, and of RHEL and its kin; its own client, no other program.
    NetworkManager,
}

impl Client {
    /// All of them.
    pub const ALL: [Client; 5] = [
        Client::Udhcpc,
        Client::Dhclient,
        Client::Dhcpcd,
        Client::Networkd,
        Client::NetworkManager,
    ];

    /// The program.
    pub fn program(self) -> &'static str {
        match self {
            Client::Udhcpc => "udhcpc",
            Client::Dhclient => "dhclient",
            Client::Dhcpcd => "dhcpcd",
            Client::Networkd => "/lib/systemd/systemd-networkd",
            Client::NetworkManager => "NetworkManager",
        }
    }

    /// The Debian package that brings it.
    pub fn package(self) -> &'static str {
        match self {
            Client::Udhcpc => "udhcpc",
            Client::Dhclient => "isc-dhcp-client",
            Client::Dhcpcd => "dhcpcd-base",
            Client::Networkd => "systemd",
            Client::NetworkManager => "network-manager",
        }
    }

    /// The client on `eth0` of a guest, in the foreground until it is told to end; its files are in `folder`.
    ///
    /// # Errors
    /// Its files cannot be written.
    pub fn command(self, guest: &Namespace, hostname: &str, folder: &Path) -> Result<Command> {
        let script = match self {
            Client::Udhcpc => {
                let hook = folder.join("udhcpc-hook");
                write(&hook, &udhcpc_hook(&folder.join("lease")))?;
                fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
                // -A, -T: a second after nobody answered, not the twenty that it takes for granted.
                format!(
                    "exec udhcpc -f -i eth0 -x hostname:{hostname} -O mtu -T 1 -A 1 -s {}",
                    hook.display()
                )
            }
            Client::Dhclient => format!(
                "{0} printf 'request subnet-mask, routers, domain-name, domain-name-servers, interface-mtu;\\n\
                 send host-name \"{hostname}\";\\n' > {1}/dhclient.conf
                 exec dhclient -4 -d -v -cf {1}/dhclient.conf -lf {1}/dhclient.leases -pf {1}/dhclient.pid eth0",
                private("/etc/resolv.conf", folder),
                folder.display()
            ),
            Client::Dhcpcd => format!(
                "{} mount -t tmpfs none /var/lib/dhcpcd; mkdir -p /run/dhcpcd; mount -t tmpfs none /run/dhcpcd;
                 exec dhcpcd -4 -B -h {hostname} -o interface_mtu eth0",
                private("/etc/resolv.conf", folder)
            ),
            Client::Networkd => {
                write(
                    &folder.join("eth0.network"),
                    &format!(
                        "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseMTU=yes\nSendHostname=yes\nHostname={hostname}\n"
                    ),
                )?;
                // A read-only /sys tells it that no udev will come: it is in a container.
                format!(
                    "file=$(cat {}/eth0.network)
                     mount -t tmpfs none /run
                     mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
                     chown -R systemd-network: /run/systemd/netif
                     printf '%s\\n' \"$file\" > /run/systemd/network/10-eth0.network
                     mount -o remount,bind,ro /sys
                     exec /lib/systemd/systemd-networkd",
                    folder.display()
                )
            }
            Client::NetworkManager => {
                let files = folder.join("network-manager");
                network_manager(&files, hostname)?;
                // It speaks to the world over D-Bus, and does not start without one: a bus of its own.
                format!(
                    "mount --bind {0}/etc /etc/NetworkManager
                     mount --bind {0}/var /var/lib/NetworkManager
                     # Last: the folder itself is in /run.
                     mount --bind {0}/run /run
                     mount -o remount,bind,ro /sys
                     dbus-daemon --nofork --config-file=/etc/NetworkManager/bus.conf &
                     until [ -S /run/bus ]; do sleep 0.02; done
                     export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus
                     exec NetworkManager --debug",
                    files.display()
                )
            }
        };
        // A host name of its own, too: a client may set it.
        let mut command = guest.command("unshare");
        command.arg("--uts");
        if self == Client::NetworkManager {
            // Its bus ends with it.
            command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        }
        command.args(["sh", "-ec", &script]);
        Ok(command)
    }
}

/// The folders that NetworkManager sees as its own, and a bus for it alone.
fn network_manager(files: &Path, hostname: &str) -> Result<()> {
    let connections = files.join("etc/system-connections");
    for folder in [&connections, &files.join("run/NetworkManager"), &files.join("var")] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    write(
        &files.join("etc/bus.conf"),
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"
 \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">
<busconfig><type>system</type><listen>unix:path=/run/bus</listen><auth>EXTERNAL</auth>
<policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>
",
    )?;
    // The machine's resolv.conf is not for it to write; what it would write there is in its /run.
    write(
        &files.join("etc/NetworkManager.conf"),
        "[main]\nplugins=keyfile\ndhcp=internal\ndns=default\nrc-manager=unmanaged\nno-auto-default=*\nauth-polkit=false\n",
    )?;
    let connection = connections.join("eth0.nmconnection");
    write(
        &connection,
        &format!(
            "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n\
             [ipv4]\nmethod=auto\ndhcp-hostname={hostname}\n[ipv6]\nmethod=disabled\n"
        ),
    )?;
    // One that others may read could hold a password for all to see: it is not taken.
    fs::set_permissions(&connection, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot set the mode of {}", connection.display()))
}

/// A file of the machine is seen, and changed, as a copy. The namespace's mounts are its own.
fn private(file: &str, folder: &Path) -> String {
    let copy = folder.join("private").display().to_string();
    format!("cat {file} > {copy} 2>/dev/null || :; [ ! -e {file} ] || mount --bind {copy} {file};")
}

/// Does what the lease says to the interface, and writes down what it was.
fn udhcpc_hook(lease: &Path) -> String {
    let lease = lease.display();
    format!(
        "#!/bin/sh
case $1 in
    deconfig)
        ip -4 addr flush dev $interface
        ip link set $interface up ;;
    bound | renew)
        [ -z \"$mtu\" ] || ip link set $interface mtu $mtu
        ip addr replace $ip/$mask valid_lft $lease preferred_lft $lease dev $interface
        for first in $router; do ip route replace default via $first; break; done
        {{ echo event=$1; echo address=$ip; echo mask=$mask; echo router=$router; echo dns=$dns; echo mtu=$mtu
           echo lease=$lease; echo server=$serverid; echo domain=$domain; }} > {lease}.new
        mv {lease}.new {lease} ;;
esac
"
    )
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
