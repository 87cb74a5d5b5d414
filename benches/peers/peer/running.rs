//! A peer at work.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portmap::{BoxError, Protocol};
use portmap_testkit::Child;

use super::{Peer, plugins, rule, serve};
use crate::{meter::Meter, place::Place};

/// A peer that publishes; dropping it ends that.
pub(crate) struct Running {
    pub(super) children: Vec<Child>,
    /// Where clients find it.
    pub(crate) target: SocketAddr,
    pub(super) meter: Meter,
    /// How long it took until the ports were published.
    pub(super) took: Duration,
}

impl Running {
    pub(super) fn processes(&self) -> Vec<u32> {
        self.children.iter().filter_map(Child::pid).collect()
    }

    /// Its processes.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How long it took until the ports were published.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// Releases the ports, and tells how long that took.
    pub(crate) async fn stop(
        mut self,
        peer: Peer,
        place: &Place,
        ports: u16,
    ) -> Result<Duration, BoxError> {
        let begin = Instant::now();
        match peer {
            Peer::Rule => rule::each(place, "-D", Protocol::Tcp, ports).await?,
            Peer::Cni => plugins::cni(place, "DEL", ports).await?,
            Peer::Netavark => plugins::netavark(place, "teardown", ports).await?,
            Peer::Portmap | Peer::PortmapOneThread | Peer::PortmapRules => {
                let child = self.children.first_mut().ok_or("it has ended")?;
                return serve::release(child).await;
            }
            // dockerd interrupts them, one by one.
            _ => {
                for child in &mut self.children {
                    let process = child.pid().ok_or("it has ended")?;
                    kill(Pid::from_raw(process.cast_signed()), Signal::SIGINT)?;
                    child.wait().await?;
                }
            }
        }
        Ok(begin.elapsed())
    }

    /// Its processes if bytes pass through them.
    pub(crate) fn working_meter(&self, peer: Peer) -> Meter {
        if peer.is_proxy() { self.meter.clone() } else { Meter::default() }
    }

    /// What it complained of.
    pub(crate) fn complaints(&self) -> String {
        self.children.iter().map(Child::transcript).collect()
    }
}
