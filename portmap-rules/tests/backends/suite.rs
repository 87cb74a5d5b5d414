//! A harness for tests that need namespaces: each on a thread and in a network namespace of its own.

use std::{env, error::Error, fs, path::PathBuf, process::ExitCode, thread};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

use crate::tool;

pub(crate) type TestResult = Result<(), Box<dyn Error>>;

/// What a test can't do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Network namespaces.
    Netns,
    /// A program.
    Tool(&'static str),
}

pub(crate) struct Suite {
    args: Arguments,
    sandbox: Result<(), String>,
    trials: Vec<Trial>,
}

impl Suite {
    /// Leaves the host's network: call it first in `main`, while there is one thread.
    pub(crate) fn enter() -> Self {
        let args = Arguments::from_args();
        let sandbox = if args.list { Ok(()) } else { enter().map_err(|error| error.to_string()) };
        Self { args, sandbox, trials: Vec::new() }
    }

    /// Adds a test, which runs in a fresh network namespace with nothing but its loopback interface.
    pub(crate) fn test<F>(&mut self, name: &'static str, needs: &'static [Need], body: F)
    where
        F: AsyncFnOnce() -> TestResult + Send + 'static,
    {
        let sandbox = self.sandbox.clone();
        self.trials.push(Trial::ignorable_test(name, move || {
            for need in [Need::Netns].iter().chain(needs) {
                let Some(reason) = need.missing(&sandbox) else { continue };
                if need.is_required() {
                    return Err(format!("PORTMAP_REQUIRE names what is missing: {reason}").into());
                }
                eprintln!("skipped {name}: {reason}");
                return Ok(Completion::ignored_with(reason));
            }
            let body = thread::Builder::new().name(name.to_owned()).spawn(move || run(body))?;
            match body.join() {
                Ok(result) => result.map(|()| Completion::Completed).map_err(Failed::from),
                Err(_) => Err("panicked".into()),
            }
        }));
    }

    pub(crate) fn run(self) -> ExitCode {
        libtest_mimic::run(&self.args, self.trials).exit_code()
    }
}

fn run<F: AsyncFnOnce() -> TestResult>(body: F) -> Result<(), String> {
    let chain = |error: Box<dyn Error>| {
        let causes = std::iter::successors(error.source(), |error| (*error).source());
        causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
    };
    let body = || -> TestResult {
        unshare(CloneFlags::CLONE_NEWNET)?;
        tool::run("ip", &["link", "set", "lo", "up"])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(body())
    };
    body().map_err(chain)
}

fn enter() -> Result<(), Box<dyn Error>> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(nix::Error::EPERM) => {}
        other => return Ok(other?),
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    Ok(())
}

impl Need {
    fn missing(self, sandbox: &Result<(), String>) -> Option<String> {
        match self {
            Self::Netns => sandbox.as_ref().err().map(|error| format!("no namespaces: {error}")),
            Self::Tool(name) => find(name).is_none().then(|| format!("no {name}")),
        }
    }

    fn is_required(self) -> bool {
        let word = match self {
            Self::Netns => "netns",
            Self::Tool(name) if name.contains("tables") => "iptables",
            Self::Tool(_) => "netns",
        };
        env::var("PORTMAP_REQUIRE").is_ok_and(|list| list.split(',').any(|entry| entry == word))
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}
