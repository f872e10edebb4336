//! The thread for the kernel's events: a look may take long, and a guest that was heard asks for its address within a
//! millisecond.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use overlayd_core::id::IfName;
use tokio::sync::mpsc;

use super::report::RemoteMacs;
use crate::netlink::{self, News, Watch, link_name};

/// A socket that broke is opened again after so long.
const REOPEN: Duration = Duration::from_millis(500);

pub(super) type Heard = Result<News, netlink::Error>;

pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
}

/// Starts the thread; `hear` is called there.
pub(super) fn listen(hear: impl Fn(RemoteMacs) + Send + 'static) -> Result<mpsc::UnboundedReceiver<Heard>> {
    let (tell, events) = mpsc::unbounded_channel();
    let runtime = runtime()?;
    let mut watch = {
        let _guard = runtime.enter();
        Watch::open().context("cannot listen to the kernel's network events")?
    };
    let run = async move {
        loop {
            let heard = watch.next().await;
            let far = heard.as_ref().map(remote_macs).unwrap_or_default();
            if !far.is_empty() {
                hear(far);
            }
            let broken = heard.is_err();
            if tell.send(heard).is_err() {
                return;
            }
            if broken {
                tokio::time::sleep(REOPEN).await;
            }
        }
    };
    std::thread::Builder::new()
        .name("events".into())
        .spawn(move || runtime.block_on(run))
        .context("cannot start a thread")?;
    Ok(events)
}

fn remote_macs(news: &News) -> RemoteMacs {
    let mut names: BTreeMap<u32, Option<IfName>> = BTreeMap::new();
    let mut named = |index: u32| names.entry(index).or_insert_with(|| link_name(index)).clone();
    let far = news.far.iter();
    far.filter_map(|(index, mac, vtep)| Some((named(*index)?, *mac, *vtep)))
        .collect()
}
