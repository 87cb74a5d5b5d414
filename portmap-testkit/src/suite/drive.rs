//! One test body, from its thread's start to its end.

use std::error::Error;
use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use tokio::runtime::Builder;
use tokio::time::{error::Elapsed, timeout};

use super::TestResult;

/// How much longer than its limit a test may take to tidy up: ten nodes that hang, say.
const GRACE: Duration = Duration::from_secs(20);

/// Runs a body on a thread and a runtime of its own.
///
/// A thread of its own bears the test's name in a panic's message, and a body that blocks it for good
/// can be given up.
pub(super) fn drive<F>(name: &str, limit: Duration, body: F) -> Result<(), Failed>
where
    F: AsyncFnOnce() -> TestResult + Send + 'static,
{
    let (ending, ended) = mpsc::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ = ending.send(block_on(limit, body));
    });
    let thread = thread.map_err(|error| chain(&error))?;
    match ended.recv_timeout(limit + GRACE) {
        Ok(Ok(Ok(Ok(())))) => Ok(()),
        Ok(Ok(Ok(Err(error)))) => Err(chain(&*error).into()),
        Ok(Ok(Err(_))) => Err(format!("did not end in {limit:?}").into()),
        Ok(Err(error)) => Err(chain(&error).into()),
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("did not end in {limit:?}, and blocks its thread: given up").into())
        }
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => Err("ended without a result".into()),
        },
    }
}

fn block_on<F>(limit: Duration, body: F) -> io::Result<Result<TestResult, Elapsed>>
where
    F: AsyncFnOnce() -> TestResult,
{
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async { timeout(limit, body()).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(result)
}

/// An error and its causes, each on a line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!("\n  caused by: {cause}"));
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<(), Failed>) -> String {
        result.unwrap_err().message().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_test_that_does_not_end_fails() {
        let hung = drive("hung", Duration::from_millis(5), async || {
            std::future::pending::<()>().await;
            Ok(())
        });
        assert_eq!(message(hung), "did not end in 5ms");
    }

    #[test]
    fn an_error_is_shown_with_its_causes() {
        let failed = drive("failed", GRACE, async || {
            let program = "nft".to_owned();
            Err(crate::ExecError::Start { program, source: io::Error::other("the cause") }.into())
        });
        assert_eq!(message(failed), "could not run nft\n  caused by: the cause");
    }

    #[test]
    fn a_panic_goes_on_in_the_harness() {
        let panic =
            std::panic::catch_unwind(|| drive("panics", GRACE, async || panic!("on purpose")));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
    }
}
