//! The way through a chain of somebody else's.

use std::fmt::Write as _;

use super::{IptablesError, IptablesTools, IptablesVariant, run, saved::Saved};
use crate::{
    Family, Interface, Prefix,
    backend::{Worker, authors::Authors},
};

/// The chain that Docker makes for rules that come before its own, and never writes to.
const DOCKER_USER: &str = "DOCKER-USER";

/// Accepts, in the filter table of iptables, what was published: in a chain of its own, `PREFIX-OPEN`, which is called by one
/// jump, first in `DOCKER-USER` where there is such a chain, else in `FORWARD`.
///
/// Only what was led to a container by NAT is accepted, and the answers to it: whoever led it there has said what may pass.
/// So what a killed process leaves opens nothing; the next one that opens a passage of this prefix takes it over.
///
/// Dropping it closes the passage, and blocks for that, some 10 ms a family that is open.
#[derive(Debug)]
pub(crate) struct Passage {
    /// `None` while it is dropped.
    worker: Option<Worker<Session>>,
    open: (Vec<Family>, Vec<Interface>),
}

/// The thread's side.
#[derive(Debug)]
struct Session {
    tools: IptablesTools,
    authors: Authors,
    chain: String,
}

impl Passage {
    /// Starts the thread, in the network namespace of the calling one. Nothing is open yet.
    pub(crate) fn new(variant: IptablesVariant, prefix: &Prefix) -> Result<Self, IptablesError> {
        let tools = IptablesTools::of(variant)?;
        let chain = format!("{prefix}-OPEN");
        let session = Session { tools, authors: Authors::default(), chain };
        let worker = Worker::spawn("portmap-open", session).map_err(|_| IptablesError::Closed)?;
        Ok(Self { worker: Some(worker), open: (Vec::new(), Vec::new()) })
    }

    /// Opens the way to these bridges, and to no others, in these families.
    pub(crate) async fn lead(
        &mut self,
        families: &[Family],
        bridges: &[Interface],
    ) -> Result<(), IptablesError> {
        let wanted = (families.to_vec(), bridges.to_vec());
        let Some(worker) = self.worker.as_ref().filter(|_| self.open != wanted) else {
            return Ok(());
        };
        let (families, bridges) = wanted.clone();
        let job = move |session: &mut Session| {
            let opened = families.iter().try_for_each(|family| session.write(*family, &bridges));
            if opened.is_err() {
                families.iter().for_each(|family| session.close(*family));
            }
            opened
        };
        // Whoever drops this while it waits has something to close.
        self.open = wanted;
        let opened = worker.run(job).await.unwrap_or(Err(IptablesError::Closed));
        if opened.is_err() {
            self.open.1.clear();
        }
        opened
    }

    /// The families in which it was opened.
    pub(crate) fn families(&self) -> &[Family] {
        &self.open.0
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let (families, bridges) = std::mem::take(&mut self.open);
        let Some(worker) = self.worker.take().filter(|_| !bridges.is_empty()) else { return };
        worker.join_after(move |session| {
            families.into_iter().for_each(|family| session.close(family));
        });
    }
}

impl Session {
    fn close(&self, family: Family) {
        if let Err(error) = self.write(family, &[]) {
            tracing::warn!(%error, "the way through others' rules stays open");
        }
    }

    fn write(&self, family: Family, bridges: &[Interface]) -> Result<(), IptablesError> {
        let tools = self.tools.of_family(family)?;
        let saved = run::save(&tools.save)?;
        let input = changes(&Saved::parse(&saved), &self.chain, bridges);
        if input.is_empty() {
            return Ok(());
        }
        run::restore(&tools.restore, &input, &self.authors)
    }
}

/// From what is there to a passage to these bridges; to none where there are none.
fn changes(saved: &Saved<'_>, chain: &str, bridges: &[Interface]) -> String {
    let docker = saved.chain("filter", DOCKER_USER).map(|_| DOCKER_USER);
    let caller = docker.unwrap_or("FORWARD");
    let jump = format!("-j {chain}");
    let mut text = String::new();
    if bridges.is_empty() && saved.chain("filter", chain).is_none() {
        return text;
    }
    // Writing to a string does not fail.
    let _ = writeln!(text, "*filter\n:{chain} - [0:0]");
    for bridge in bridges {
        let _ = writeln!(text, "-A {chain} -o {bridge} -m conntrack --ctstate DNAT -j ACCEPT");
        let _ = writeln!(
            text,
            "-A {chain} -i {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        );
    }
    for (from, rules) in saved.chains("filter") {
        for _ in rules.iter().filter(|rule| **rule == jump) {
            let _ = writeln!(text, "-D {from} {jump}");
        }
    }
    let _ = match bridges {
        [] => writeln!(text, "-X {chain}\nCOMMIT"),
        _ => writeln!(text, "-I {caller} 1 {jump}\nCOMMIT"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "*filter
:P-OPEN - [0:0]
-A P-OPEN -o br0 -m conntrack --ctstate DNAT -j ACCEPT
-A P-OPEN -i br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
";

    fn changed(saved: &str, bridges: &[&str]) -> String {
        let bridges: Vec<Interface> = bridges.iter().map(|name| name.parse().unwrap()).collect();
        changes(&Saved::parse(saved), "P-OPEN", &bridges)
    }

    #[test]
    fn dockers_chain_for_others_comes_before_the_hooks_own() {
        let plain = "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n";
        assert_eq!(changed(plain, &["br0"]), format!("{OPEN}-I FORWARD 1 -j P-OPEN\nCOMMIT\n"));
        assert_eq!(changed("", &["br0"]), format!("{OPEN}-I FORWARD 1 -j P-OPEN\nCOMMIT\n"));
        let docker =
            "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n";
        let wanted = format!("{OPEN}-I DOCKER-USER 1 -j P-OPEN\nCOMMIT\n");
        assert_eq!(changed(docker, &["br0"]), wanted);
    }

    #[test]
    fn what_was_left_is_taken_over_and_closed_wherever_it_stands() {
        let left = "*filter\n:FORWARD DROP [0:0]\n:P-OPEN - [0:0]\n-A FORWARD -j P-OPEN\n-A FORWARD -j X\n\
                    -A P-OPEN -o br9 -j ACCEPT\n*nat\n:P-OPEN - [0:0]\n-A OUTPUT -j P-OPEN\n";
        let (delete, close) = ("-D FORWARD -j P-OPEN\n", "-X P-OPEN\nCOMMIT\n");
        let wanted = format!("{OPEN}{delete}-I FORWARD 1 -j P-OPEN\nCOMMIT\n");
        assert_eq!(changed(left, &["br0"]), wanted);
        assert_eq!(changed(left, &[]), format!("*filter\n:P-OPEN - [0:0]\n{delete}{close}"));
        assert_eq!(changed("*filter\n:FORWARD DROP [0:0]\n", &[]), "");
    }
}
