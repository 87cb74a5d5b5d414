//! Somebody else's network namespace.

use std::{
    error::Error,
    fs::{self, File},
    io,
    net::UdpSocket,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

use crate::tool;

/// Another network namespace, held by a process that ends with this.
pub(crate) struct Peer(Child);

impl Peer {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let ours = fs::read_link("/proc/thread-self/ns/net")?;
        let mut sleep = Command::new("unshare");
        let peer = Self(sleep.args(["-n", "sleep", "600"]).stdin(Stdio::null()).spawn()?);
        for _ in 0..1000 {
            if fs::read_link(peer.net()).is_ok_and(|theirs| theirs != ours) {
                return Ok(peer);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err("the peer made no namespace".into())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs a line of shell there.
    pub(crate) fn sh(&self, line: &str) -> Result<String, Box<dyn Error>> {
        tool::run("nsenter", &["-t", &self.pid().to_string(), "-n", "sh", "-ec", line])
    }

    /// A socket there, bound to an address.
    pub(crate) fn udp(&self, addr: &'static str) -> Result<UdpSocket, Box<dyn Error>> {
        let net = self.net();
        let open = move || -> io::Result<UdpSocket> {
            setns(File::open(net)?, CloneFlags::CLONE_NEWNET)?;
            UdpSocket::bind(addr)
        };
        Ok(thread::spawn(open).join().map_err(|_| "panicked")??)
    }

    fn net(&self) -> String {
        format!("/proc/{}/ns/net", self.pid())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
