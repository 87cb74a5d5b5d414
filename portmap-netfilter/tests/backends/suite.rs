//! Tests that each have a network namespace of their own.

use std::{error::Error, process::ExitCode};

use nix::sched::{CloneFlags, unshare};
use portmap_core::WithCauses;
pub(crate) use portmap_testkit::Need;

use crate::tool;

pub(crate) type TestResult = Result<(), Box<dyn Error>>;

pub(crate) struct Suite(portmap_testkit::Suite);

impl Suite {
    pub(crate) fn from_args() -> Self {
        Self(portmap_testkit::Suite::from_args())
    }

    /// Adds a test, which runs in a fresh network namespace with nothing but its loopback interface.
    pub(crate) fn test<F>(&mut self, name: &'static str, needs: &[Need], body: F)
    where
        F: AsyncFnOnce() -> TestResult + Send + 'static,
    {
        let needs = [&[Need::Netns, Need::Tool("ip")], needs].concat();
        self.0.test(name, &needs, async move || {
            // Each body has a thread to itself, and no socket yet.
            unshare(CloneFlags::CLONE_NEWNET)?;
            let ready = tool::run("ip", &["link", "set", "lo", "up"]);
            let done = match ready {
                Ok(_) => body().await,
                Err(error) => Err(error),
            };
            done.map_err(|error| WithCauses(&*error).to_string().into())
        });
    }

    pub(crate) fn run(self) -> ExitCode {
        self.0.run()
    }
}
