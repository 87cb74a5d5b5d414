//! A setting that is put back.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
};

use super::{Sysctl, SysctlError};

/// Keeps a setting switched on. **Dropping it puts back what was there**, and can only log where that fails;
/// [`restore`](Self::restore) reports it.
///
/// It is put back only if it was off, and is still on: what somebody else has switched in the meantime stays. A second
/// guard for one setting finds it on and leaves it on, so the first one to be made must be the last to go; who needs
/// several shares one.
///
/// The file stays open: what is written later goes to the network namespace in which it was opened, whichever thread
/// does it. Writing takes microseconds, but waits for others who change the network's configuration.
#[derive(Debug)]
pub struct SysctlGuard {
    key: Sysctl,
    /// `None` where there is nothing to put back.
    file: Option<File>,
}

const ON: u8 = b'1';
const OFF: u8 = b'0';

impl SysctlGuard {
    /// Switches a setting on in the network namespace of the calling thread.
    ///
    /// Where it is on already, nothing is written, and no privilege is needed.
    ///
    /// # Errors
    /// [`SysctlError`]: there is no such setting, or no right to change it.
    pub fn enable(key: Sysctl) -> Result<Self, SysctlError> {
        let path = key.path();
        let open = |options: &OpenOptions| match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SysctlError::Missing(key)),
            other => Ok(other),
        };
        let file = open(OpenOptions::new().read(true))?;
        let file = file.map_err(|source| SysctlError::Read { key, source })?;
        if read(&file).map_err(|source| SysctlError::Read { key, source })? != OFF {
            return Ok(Self { key, file: None });
        }
        let failed = |source| SysctlError::Write { key, source };
        let file = open(OpenOptions::new().read(true).write(true))?.map_err(failed)?;
        write(&file, ON).map_err(failed)?;
        Ok(Self { key, file: Some(file) })
    }

    /// Which setting it is.
    pub const fn key(&self) -> Sysctl {
        self.key
    }

    /// Puts back what was there.
    ///
    /// # Errors
    /// [`SysctlError`]; it isn't tried again.
    pub fn restore(mut self) -> Result<(), SysctlError> {
        self.put_back()
    }

    /// Leaves the setting on.
    pub fn disarm(mut self) {
        self.file = None;
    }

    fn put_back(&mut self) -> Result<(), SysctlError> {
        let key = self.key;
        let Some(file) = self.file.take() else { return Ok(()) };
        match read(&file).and_then(|now| if now == ON { write(&file, OFF) } else { Ok(()) }) {
            // The interface went, and its settings with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| SysctlError::Write { key, source }),
        }
    }
}

impl Drop for SysctlGuard {
    fn drop(&mut self) {
        if let Err(error) = self.put_back() {
            tracing::warn!(%error, source = ?std::error::Error::source(&error), "a setting stays on");
        }
    }
}

/// The first digit: all of these settings have but one.
fn read(file: &File) -> io::Result<u8> {
    let mut digit = [0];
    file.read_exact_at(&mut digit, 0)?;
    Ok(digit[0])
}

fn write(file: &File, digit: u8) -> io::Result<()> {
    file.write_all_at(&[digit, b'\n'], 0)
}
