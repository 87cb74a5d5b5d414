//! From a container's process to its namespace.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::time::sleep;

use crate::error::{LabError, Step};

/// The variable in a container's environment by which its process is known.
pub(super) const TOKEN: &str = "PORTMAP_TESTKIT";

/// The process, as a descriptor that stands for it alone, though its number may be used again.
///
/// The daemon's number is taken for a claim: plugging a stranger's namespace into a lab, the host's own say, would do harm.
pub(super) async fn of(pid: u32, token: &str) -> Result<OwnedFd, LabError> {
    let step = || format!("find process {pid}, which Docker says is a container's");
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| LabError::new(step()))?;
    // Between the daemon's word and the start of the container's program there may be a moment.
    for _ in 0..100 {
        let process =
            pidfd_open(number, PidfdFlags::empty()).map_err(io::Error::from).step(step)?;
        let environment = fs::read(format!("/proc/{pid}/environ")).step(step)?;
        // Alive now, so it was this one's environment that was read.
        if has(&environment, token) && is_alive(&process).step(step)? {
            return Ok(process);
        }
        sleep(Duration::from_millis(20)).await;
    }
    let claim = format!("process {pid} is not the container's");
    Err(LabError::new(format!(
        "{claim}: does Docker run on another machine, or count processes otherwise?"
    )))
}

fn has(environment: &[u8], token: &str) -> bool {
    let wanted = format!("{TOKEN}={token}");
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

fn is_alive(process: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&Timespec::default()))? == 0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_process_without_the_token_is_refused() {
        let mut child = Command::new("sleep").arg("100").env(TOKEN, "mine").spawn().unwrap();
        let process = of(child.id(), "mine").await.unwrap();
        let refused = of(child.id(), "min").await.unwrap_err();
        assert!(refused.to_string().contains("is not the container's"), "{refused}");
        child.kill().unwrap();
        // It dies at its next turn, not in the call.
        while is_alive(&process).unwrap() {
            sleep(Duration::from_millis(1)).await;
        }
        // A zombie has a number, and no environment.
        assert!(of(child.id(), "mine").await.is_err());
        child.wait().unwrap();
        assert!(of(child.id(), "mine").await.is_err());
    }
}
