//! Programs of the machine that tests use.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where a program is: in `$PATH`, or where administration tools are that an ordinary user's `$PATH`
/// often lacks.
pub(crate) fn locate(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| is_executable(path));
    }
    folders().map(|folder| folder.join(program)).find(|path| is_executable(path))
}

/// The same folders, for what a program starts in its turn: a shell script, say.
pub(crate) fn path() -> OsString {
    // Folders that were split by colons have none in them.
    env::join_paths(folders()).unwrap_or_default()
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let own: Vec<_> = env::split_paths(&path).collect();
    own.into_iter().chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_and_by_path() {
        let sh = locate("sh").unwrap();
        assert!(sh.is_absolute());
        assert_eq!(locate("/bin/sh"), Some(PathBuf::from("/bin/sh")));
    }

    #[test]
    fn what_is_no_program_is_not_found() {
        assert_eq!(locate("no-such-program"), None);
        assert_eq!(locate("/etc/passwd"), None);
        assert_eq!(locate("/etc"), None);
    }
}
