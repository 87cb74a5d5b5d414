//! The harness of tests that need namespaces.

mod drive;

use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::descriptors;
use crate::error::BoxError;
use crate::need::Need;
use crate::sandbox::{self, Sandbox};
use drive::{chain, drive};

/// How a test ends. An error is shown with its causes.
pub type TestResult = Result<(), BoxError>;

/// How long a test may take, unless [`Suite::limit`] says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// A set of tests that run in a sandbox: the `main` of a test binary with `harness = false`.
///
/// It understands the arguments of `cargo test` (a filter, `--exact`, `--list`, `--test-threads`..).
pub struct Suite {
    args: Arguments,
    limit: Duration,
    tests: Vec<Test>,
}

struct Test {
    name: String,
    needs: Vec<Need>,
    body: Body,
}

type Body = Box<dyn FnOnce(&str, Duration) -> Result<(), Failed> + Send>;

impl Suite {
    /// Reads the process's arguments. Call it first in `main`: [`run`](Self::run) enters the sandbox, and
    /// may do so only while there is one thread.
    pub fn from_args() -> Self {
        Self { args: Arguments::from_args(), limit: LIMIT, tests: Vec::new() }
    }

    /// Lets one test run at a time: for tests that look at the whole process.
    #[must_use]
    pub fn serial(mut self) -> Self {
        self.args.test_threads = Some(1);
        self
    }

    /// How long each test may take (60 seconds at first).
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Adds a test. Its body runs on a thread of its own, named after the test, on a fresh
    /// `current_thread` runtime in the sandbox's network.
    pub fn test<F>(&mut self, name: &str, needs: &[Need], body: F)
    where
        F: AsyncFnOnce() -> TestResult + Send + 'static,
    {
        let body: Body = Box::new(move |name, limit| drive(name, limit, body));
        self.tests.push(Test { name: name.to_owned(), needs: needs.to_vec(), body });
    }

    /// Runs the tests that the arguments choose and prints how they went. If one of them needs
    /// namespaces, the sandbox is entered first; `--list` never enters it. The soft limit of descriptors
    /// is raised to the hard one, for the process and what it starts.
    pub fn run(self) -> ExitCode {
        let Self { args, limit, tests } = self;
        let sandbox: Arc<OnceLock<Result<Sandbox, String>>> = Arc::default();
        let mut enter = false;
        let mut trials = Vec::new();
        for test in tests {
            let needs_sandbox = test.needs.iter().any(|need| need.needs_sandbox());
            let trial = trial(test, limit, Arc::clone(&sandbox));
            enter |= needs_sandbox && !args.is_filtered_out(&trial);
            trials.push(trial);
        }
        if let Err(error) = descriptors::raise() {
            eprintln!("the limit of open descriptors stays as it is: {error}");
        }
        if enter && !args.list {
            let entered = sandbox::enter().map_err(|error| chain(&error));
            sandbox.get_or_init(|| entered);
        }
        libtest_mimic::run(&args, trials).exit_code()
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.tests.iter().map(|test| test.name.as_str()).collect();
        f.debug_struct("Suite")
            .field("limit", &self.limit)
            .field("tests", &names)
            .finish_non_exhaustive()
    }
}

fn trial(test: Test, limit: Duration, sandbox: Arc<OnceLock<Result<Sandbox, String>>>) -> Trial {
    let Test { name, needs, body } = test;
    Trial::ignorable_test(name.clone(), move || {
        let sandbox = sandbox.get_or_init(|| Err("the sandbox was not entered".to_owned()));
        for need in needs {
            let Some(reason) = need.missing(sandbox) else {
                continue;
            };
            if need.is_required() {
                return Err(format!("PORTMAP_REQUIRE names what is missing here: {reason}").into());
            }
            eprintln!("skipped {name}: {reason}");
            return Ok(Completion::ignored_with(reason));
        }
        body(&name, limit).map(|()| Completion::Completed)
    })
}
