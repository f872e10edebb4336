//! Whether bridged frames must go on passing the host's IP firewall, because somebody else may have rules for them there.

use std::time::Duration;

use overlayd_core::config::BridgeNetfilterSetting;
use overlayd_core::kernel::inputs::BridgeNetfilter;
use overlayd_core::kernel::sysctl::Sysctl;
use tokio::time::Instant;
use tracing::info;

use crate::{nfnetlink, sysctl};

/// Docker and Kubernetes pass bridged frames through the IP firewall on purpose; their bridges give them away.
const BRIDGES: [&str; 6] = ["docker0", "cni0", "kube-bridge", "cilium_host", "flannel.1", "weave"];
/// Proxmox gives each guest's NIC that it filters a bridge of its own.
const FILTERED: &str = "fwbr";
/// The match that only bridged frames fulfil: libvirt's nwfilter, OpenStack and firewalls by hand use it.
const PHYSDEV: &str = "physdev";
/// The rules that have it are looked for no more often.
const SEARCH_EVERY: Duration = Duration::from_secs(10);

const CALLS: [Sysctl; 3] = [
    Sysctl::BridgeNetfilter4,
    Sysctl::BridgeNetfilter6,
    Sysctl::BridgeNetfilterArp,
];

/// What is asked, and what was found out last.
#[derive(Debug, Default)]
pub(super) struct Question {
    searched: Option<(Instant, Option<String>)>,
    /// Whether rules had the match, and the generation that they were of.
    mentioned: Option<(u32, bool)>,
    /// By whom it was needed when that was said last.
    said: Option<Option<String>>,
}

impl Question {
    /// What becomes of it, and who may need it.
    pub(super) fn ask(&mut self, setting: BridgeNetfilterSetting) -> BridgeNetfilter {
        let needed_by = match setting {
            BridgeNetfilterSetting::Off => None,
            BridgeNetfilterSetting::Keep => Some("host.bridge_netfilter is keep".to_owned()),
            BridgeNetfilterSetting::Auto => links().or_else(|| self.rules()),
        };
        if self.said.as_ref() != Some(&needed_by) {
            match &needed_by {
                Some(reason) => info!(%reason, "bridge netfilter is left as it is"),
                None => info!("nothing on this host needs bridge netfilter: off while there are segments"),
            }
            self.said = Some(needed_by.clone());
        }
        // Where the module is not loaded there are no such sysctls, and nothing is on.
        let on = |call: &Sysctl| {
            sysctl::read(&call.path()).is_ok_and(|value| value.is_some_and(|value| value.trim() != "0"))
        };
        match needed_by {
            None => BridgeNetfilter::SwitchOff,
            Some(_) if CALLS.iter().any(on) => BridgeNetfilter::LeftOn,
            Some(_) => BridgeNetfilter::LeftOff,
        }
    }

    fn rules(&mut self) -> Option<String> {
        if let Some((at, found)) = &self.searched
            && at.elapsed() < SEARCH_EVERY
        {
            return found.clone();
        }
        let modules = std::fs::read_to_string("/proc/modules").unwrap_or_default();
        let module = modules.lines().find_map(|line| line.strip_prefix("xt_physdev "));
        // Its size, and how many rules use it.
        let used = match module.and_then(|rest| rest.split(' ').nth(1)) {
            Some(users) => users != "0",
            // It is part of the kernel, or nobody ever asked for it.
            None => self.mentioned() || legacy(),
        };
        let found = used.then(|| format!("there are firewall rules that match {PHYSDEV}"));
        self.searched = Some((Instant::now(), found.clone()));
        found
    }

    /// Whether a rule of nftables has it, read again when any has changed.
    fn mentioned(&mut self) -> bool {
        let Some(now) = nfnetlink::generation() else {
            return false;
        };
        match self.mentioned {
            Some((of, found)) if of == now => found,
            Some(_) | None => {
                let found = nfnetlink::rules_mention(PHYSDEV);
                self.mentioned = Some((now, found));
                found
            }
        }
    }
}

fn links() -> Option<String> {
    let links = nix::net::if_::if_nameindex().ok()?;
    let names = links.iter().filter_map(|link| link.name().to_str().ok());
    let mut others = names.filter(|name| BRIDGES.contains(name) || name.starts_with(FILTERED));
    others.next().map(|name| format!("there is {name}"))
}

/// Rules of `iptables-legacy`, which cannot be read without it, on a kernel that has the match.
fn legacy() -> bool {
    let lists = |file: &str, wanted: &dyn Fn(&str) -> bool| {
        std::fs::read_to_string(file).is_ok_and(|text| text.lines().any(wanted))
    };
    ["ip", "ip6"].iter().any(|family| {
        lists(&format!("/proc/net/{family}_tables_names"), &|_| true)
            && lists(&format!("/proc/net/{family}_tables_matches"), &|name| name == PHYSDEV)
    })
}

/// Whether a sysctl is one of these.
pub(super) fn is_one(path: &str) -> bool {
    CALLS.iter().any(|call| call.path() == path)
}
