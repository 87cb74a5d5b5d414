//! What a test needs of the machine.

use std::env;
use std::os::unix::net::UnixStream;

use crate::busybox::Busybox;
use crate::descriptors;
use crate::sandbox::Sandbox;
use crate::tool;

/// Where a Docker daemon listens.
const DOCKER: &str = "/var/run/docker.sock";

/// Something that a test can't do without.
///
/// Where it is missing, the test is ignored and the reason printed; the environment variable
/// `PORTMAP_REQUIRE` (`netns,iptables`, say) names what must be there, so that on a machine made for the
/// tests a missing one fails instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Network namespaces; `netns` in `PORTMAP_REQUIRE`.
    Netns,
    /// A busybox; `netns` in `PORTMAP_REQUIRE`.
    Busybox,
    /// A program of the machine: `iptables` in `PORTMAP_REQUIRE` for that and its kin, `netns` for any other.
    Tool(&'static str),
    /// A Docker daemon at its usual socket; `docker` in `PORTMAP_REQUIRE`.
    Docker,
    /// This many descriptors open at once in the test's process, beyond what every test may have; `netns` in
    /// `PORTMAP_REQUIRE`. A [`Suite`](crate::Suite) raises the soft limit, so it is the hard one (`ulimit -Hn`) that counts.
    Descriptors(u64),
    /// To be the machine's root, rather than that of a user namespace; `root` in `PORTMAP_REQUIRE`.
    Root,
}

impl Need {
    /// Why this can't be had, or `None` when it can.
    pub(crate) fn missing(self, sandbox: &Result<Sandbox, String>) -> Option<String> {
        match (self, sandbox) {
            (Self::Netns | Self::Root, Err(reason)) => {
                Some(format!("no network namespaces: {reason}"))
            }
            (Self::Root, Ok(Sandbox::UserNamespace)) => Some("not root".to_owned()),
            (Self::Netns | Self::Root, Ok(_)) => None,
            (Self::Busybox, _) => Busybox::find().err().map(|error| format!("no busybox: {error}")),
            (Self::Docker, _) => match UnixStream::connect(DOCKER) {
                Ok(_) if tool::locate("docker").is_some() => None,
                Ok(_) => Some("no docker".to_owned()),
                Err(error) => Some(format!("no Docker at {DOCKER}: {error}")),
            },
            (Self::Descriptors(wanted), _) => descriptors::missing(wanted),
            (Self::Tool(name), _) => tool::locate(name).is_none().then(|| format!("no {name}")),
        }
    }

    pub(crate) fn needs_sandbox(self) -> bool {
        matches!(self, Self::Netns | Self::Root)
    }

    /// Whether `PORTMAP_REQUIRE` says that it must be there.
    pub(crate) fn is_required(self) -> bool {
        env::var("PORTMAP_REQUIRE").is_ok_and(|list| self.is_in(&list))
    }

    fn is_in(self, list: &str) -> bool {
        let word = match self {
            Self::Netns | Self::Busybox | Self::Descriptors(_) => "netns",
            Self::Tool(name) if name.contains("tables") => "iptables",
            Self::Tool(_) => "netns",
            Self::Docker => "docker",
            Self::Root => "root",
        };
        list.split(',').any(|entry| entry.trim() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_named_by_their_words() {
        let list = "netns, iptables";
        assert!(
            Need::Netns.is_in(list)
                && Need::Busybox.is_in(list)
                && Need::Tool("ip6tables-legacy").is_in(list)
        );
        assert!(Need::Docker.is_in("docker") && !Need::Docker.is_in(list));
        assert!(!Need::Root.is_in(list) && Need::Tool("nft").is_in(list) && !Need::Netns.is_in(""));
    }

    #[test]
    fn what_is_missing_says_why() {
        let no = Err("forbidden".to_owned());
        assert_eq!(Need::Netns.missing(&no).as_deref(), Some("no network namespaces: forbidden"));
        assert_eq!(Need::Root.missing(&Ok(Sandbox::UserNamespace)).as_deref(), Some("not root"));
        assert_eq!(Need::Netns.missing(&Ok(Sandbox::UserNamespace)), None);
        let most = Need::Descriptors(u64::MAX - 1).missing(&Ok(Sandbox::Root));
        assert!(most.is_none_or(|reason| reason.contains("raise the hard limit (ulimit -Hn)")));
        assert_eq!(Need::Tool("no-such-tool").missing(&no).as_deref(), Some("no no-such-tool"));
    }
}
