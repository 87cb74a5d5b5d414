//! The lock of a file that only root can open.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
    thread,
    time::Duration,
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, Flock, FlockArg, OFlag, openat},
    sys::stat::{Mode, fstatat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};

use super::holder::Process;

/// Where the files are: root's own, and empty after a restart of the machine.
const DIRECTORY: &str = "/run/portmap";
const SUFFIX: &str = ".lock";

/// How long, and how often, to wait for a file that somebody sweeps, or a child between fork and exec has open.
const WAIT: Duration = Duration::from_millis(1);
const TIMES: usize = 10;

/// The lock of a file that nobody else can lock meanwhile. It ends with the process, and the file goes with it, unless
/// the process is killed: then the next owner of any prefix removes it.
#[derive(Debug)]
pub(super) struct LockFile {
    directory: File,
    name: String,
    _lock: Flock<File>,
}

impl LockFile {
    /// Locks the file of a prefix in the network namespace of the calling thread; `None` where there is no place for
    /// one: for who is not root, or in a `/run` that is somebody else's.
    ///
    /// # Errors
    /// Who has locked it.
    pub(super) fn take(owned: &str) -> Result<Option<Self>, Option<Process>> {
        // A namespace's number is given to another one when it is gone. So are its locks, then.
        let namespace = fs::metadata("/proc/thread-self/ns/net").map(|file| file.ino());
        let directory = match geteuid().is_root() {
            true => directory(Path::new(DIRECTORY)),
            false => return Ok(None),
        };
        match (namespace, directory) {
            (Ok(namespace), Ok(directory)) => {
                Self::take_in(directory, format!("{namespace}-{owned}{SUFFIX}"))
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::debug!(%error, "there is no place for the lock of an owner");
                Ok(None)
            }
        }
    }

    fn take_in(directory: File, name: String) -> Result<Option<Self>, Option<Process>> {
        let mut holder = None;
        for _ in 0..TIMES {
            match lock(&directory, &name) {
                Ok(Locked::Yes(mut lock)) => {
                    let own = Process::own();
                    // What cannot be written down is only not read.
                    let _ = lock.set_len(0).and_then(|()| write!(lock, "{} {}", own.pid, own.name));
                    let taken = Self { directory, name, _lock: lock };
                    taken.sweep();
                    return Ok(Some(taken));
                }
                Ok(Locked::Gone) => {}
                Ok(Locked::By(process)) => {
                    holder = process;
                    thread::sleep(WAIT);
                }
                Err(error) => {
                    tracing::debug!(%error, "there is no place for the lock of an owner");
                    return Ok(None);
                }
            }
        }
        Err(holder)
    }

    /// Removes what killed processes have left, of this namespace and of those that are gone.
    fn sweep(&self) {
        let files = self.directory.try_clone();
        let files = files.and_then(|directory| Ok(Dir::from_fd(directory.into())?));
        for file in files.into_iter().flat_map(|files| files.into_iter().flatten()) {
            let Ok(name) = file.file_name().to_str() else { continue };
            if name != self.name
                && name.ends_with(SUFFIX)
                && let Ok(Locked::Yes(_lock)) = lock(&self.directory, name)
            {
                remove(&self.directory, name);
            }
        }
    }
}

impl Drop for LockFile {
    /// As long as it is locked: who has opened it by now finds that it is gone, and makes another one.
    fn drop(&mut self) {
        remove(&self.directory, &self.name);
    }
}

/// What became of a lock.
enum Locked {
    Yes(Flock<File>),
    /// Its file was removed meanwhile.
    Gone,
    By(Option<Process>),
}

/// The directory, made where there is none, if nobody else can do anything in it.
fn directory(path: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    is_own(&directory)?;
    Ok(directory)
}

fn lock(directory: &File, name: &str) -> io::Result<Locked> {
    let flags =
        OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = openat(directory.as_fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let file = File::from(file);
    is_own(&file)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => {
            let (locked, named) =
                (lock.metadata()?, fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW));
            let is_named = named.is_ok_and(|named| named.st_ino == locked.ino());
            Ok(if is_named { Locked::Yes(lock) } else { Locked::Gone })
        }
        Err((file, Errno::EWOULDBLOCK)) => Ok(Locked::By(written(file))),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Whether it is one's own, and nobody else can change it.
fn is_own(file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    match found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// Who has written down that the file is locked.
fn written(file: File) -> Option<Process> {
    let mut text = Vec::new();
    file.take(64).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (pid, name) = text.split_once(' ')?;
    Some(Process { name: name.to_owned(), pid: pid.parse().ok()? })
}

fn remove(directory: &File, name: &str) {
    if let Err(error) = unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        tracing::debug!(%error, name, "the file of a lock stays");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::PathBuf,
        process,
    };

    use super::*;

    /// A directory of this test's own.
    struct Place(PathBuf);

    impl Place {
        fn new(test: &str) -> Self {
            let path = env::temp_dir().join(format!("portmap-{test}-{}", process::id()));
            directory(&path).expect("it works");
            Self(path)
        }

        fn take(&self, name: &str) -> Result<Option<LockFile>, Option<Process>> {
            LockFile::take_in(directory(&self.0).expect("it works"), name.to_owned())
        }

        fn files(&self) -> Vec<String> {
            let files = fs::read_dir(&self.0).expect("it works").flatten();
            files.map(|file| file.file_name().into_string().expect("it works")).collect()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_locked_by_one_and_names_it() {
        let place = Place::new("locked");
        let lock = place.take("1-a.lock").unwrap().unwrap();
        let holder = place.take("1-a.lock").unwrap_err().unwrap();
        assert_eq!(holder, Process::own());
        let other = place.take("1-b.lock").unwrap().unwrap();
        drop((lock, other));
        assert_eq!(place.files(), [""; 0]);
        assert!(place.take("1-a.lock").unwrap().is_some());
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let place = Place::new("swept");
        for name in ["1-a.lock", "2-a.lock", "notes"] {
            fs::write(place.0.join(name), "4711 killed").unwrap();
            let own = fs::Permissions::from_mode(0o600);
            fs::set_permissions(place.0.join(name), own).unwrap();
        }
        let lock = place.take("1-a.lock").unwrap().unwrap();
        let mut left = place.files();
        left.sort();
        assert_eq!(left, ["1-a.lock", "notes"]);
        drop(lock);
        assert_eq!(place.files(), ["notes"]);
    }

    #[test]
    fn many_that_come_and_go_are_one_at_a_time() {
        let place = Place::new("many");
        let inside = std::sync::Mutex::new(());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Ok(lock) = place.take("1-a.lock") {
                            let lock = lock.unwrap();
                            drop(inside.try_lock().expect("nobody else is inside"));
                            drop(lock);
                        }
                    }
                });
            }
        });
        assert_eq!(place.files(), [""; 0]);
    }

    #[test]
    fn links_are_not_followed_and_places_of_others_not_used() {
        let place = Place::new("links");
        let victim = place.0.join("victim");
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, place.0.join("1-a.lock")).unwrap();
        assert!(place.take("1-a.lock").unwrap().is_none());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");

        symlink(&place.0, place.0.join("elsewhere")).unwrap();
        directory(&place.0.join("elsewhere")).unwrap_err();
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o777)).unwrap();
        directory(&place.0).unwrap_err();
    }
}
