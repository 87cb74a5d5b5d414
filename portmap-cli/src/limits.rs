//! What the process may have open.

use std::{error::Error, io};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portmap::BoxError;

use crate::output::chain;

/// Raises the limit of descriptors to what the process may have. A connection takes two and a session one, a port one more:
/// the usual soft limit of 1,024, made for programs that use `select`, is soon reached. Raising it is a program's choice,
/// no library's.
pub(crate) fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| (soft, hard))
    });
    match raised {
        Ok((soft, hard)) if soft < hard => {
            tracing::info!(from = soft, to = hard, "the limit of open descriptors is raised")
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open descriptors stays as it is"),
    }
}

/// Says which limit is in the way, where one is.
pub(crate) fn explain(error: BoxError) -> BoxError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    let mut errno = None;
    while let Some(one) = cause {
        errno = errno.or(one.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error));
        cause = one.source();
    }
    let said = chain(error.as_ref());
    match errno {
        // EMFILE
        Some(24) => {
            let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
            let mend = "raise the hard limit (ulimit -Hn, or LimitNOFILE= of systemd)";
            format!("{said}: this process may have {limit}, and each port takes one; {mend}").into()
        }
        // ENFILE
        Some(23) => format!("{said}: raise fs.file-max, the limit of this host").into(),
        _ => error,
    }
}
