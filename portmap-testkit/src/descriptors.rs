//! How many descriptors this process may have open.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and returns that.
///
/// The usual soft limit of 1,024 is made for programs that use `select`. A node of a [`Lab`](crate::Lab) takes a dozen
/// descriptors here, and what a test publishes in this process one a port.
///
/// # Errors
/// As `getrlimit(2)` and `setrlimit(2)`; no privilege is needed.
pub(crate) fn raise() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Why this process cannot have so many at once, or `None` where it can.
pub(crate) fn missing(wanted: u64) -> Option<String> {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft >= wanted => None,
        Ok((soft, _)) => Some(format!(
            "it needs {wanted} descriptors, and this process may have {soft}: raise the hard limit (ulimit -Hn)"
        )),
        Err(error) => Some(format!("RLIMIT_NOFILE cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(512), hard).unwrap();
        assert!(hard <= 512 || missing(hard).is_some());
        assert_eq!(raise().unwrap(), hard);
        assert_eq!(missing(hard), None);
    }
}
