//! `overlayd --check`: what a start would do on this host. It takes no lock and writes nothing, also while an agent runs.

use anyhow::Result;
use overlayd_core::config::HostConfig;
use overlayd_core::kernel::plan::{Op, Plan};
use overlayd_core::node::Formation;
use tracing::{info, warn};

use crate::netlink;
use crate::start::{print_line, refuse_unprivileged, refuse_unusable, runtime};
use crate::state_dir::StateDir;
use crate::survived;
use crate::workers::kernel::{self, Rehearsal};

/// Prints what would be done to this host: if it is in a cluster, at a restart; otherwise, were it formed with the file's
/// segments.
///
/// # Errors
/// A start would be refused, kernel state cannot be read, or the underlay is missing.
#[allow(clippy::print_stderr)]
pub fn check(config: HostConfig) -> Result<()> {
    refuse_unusable(&config)?;
    refuse_unprivileged()?;
    let known = StateDir::peek(&config.state_dir);
    let rehearsal = match known.map(|identity| (identity, identity.formation)) {
        Some((identity, Formation::Formed(_))) => {
            let start = Box::new(survived::peek(identity, config.clone())?);
            let members = survived::others(&start.records, start.host);
            Rehearsal::Restart { start, members }
        }
        Some((_, Formation::Left { .. })) => {
            info!("this host has left its cluster: until `overlayctl join` or `init` a start changes nothing");
            Rehearsal::Formed
        }
        Some((_, Formation::Unformed)) | None => {
            if !config.cluster.join.is_empty() {
                info!("this host waits for a member of `cluster.join`, and gets the cluster's segments from it, too");
            }
            Rehearsal::Formed
        }
    };
    let plan = runtime()?.block_on(kernel::rehearse(&config, rehearsal))?;
    print(&plan);
    eprintln!("configuration is valid");
    Ok(())
}

fn print(plan: &Plan) {
    for op in &plan.ops {
        if let Op::ReplaceTable { table } = op {
            print_line(&format!("nft -f - <<'END'\n{}END", table.text));
        } else {
            print_line(&op.to_string());
        }
    }
    for obstacle in &plan.obstacles {
        warn!("{obstacle}");
    }
    for kind in netlink::unknown_kinds(&plan.ops) {
        warn!("{}", netlink::Error::NoSuchKind(kind));
    }
}
