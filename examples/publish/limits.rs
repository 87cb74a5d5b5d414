//! What the process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit of descriptors to what the process may have. A connection takes two and a session one, a port one more:
/// the usual soft limit of 1,024, made for programs that use `select`, is soon reached. Raising it is a program's choice,
/// no library's.
pub(crate) fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| (soft, hard))
    });
    match raised {
        Ok((soft, hard)) => {
            tracing::info!(from = soft, to = hard, "the limit of open descriptors is raised")
        }
        Err(error) => tracing::warn!(%error, "the limit of open descriptors stays as it is"),
    }
}
