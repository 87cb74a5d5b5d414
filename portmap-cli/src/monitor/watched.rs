//! Whether anybody can read what is printed.

use std::io::stdout;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, fstat, major, minor},
};

/// `/dev/null`, in the kernel's list of devices.
const NULL: (u32, u32) = (1, 3);

/// `false` where standard output is `/dev/null`, or a pipe whose reader has gone.
pub(super) fn anybody_looks() -> bool {
    let out = stdout();
    let is_null = fstat(&out).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && (major(stat.st_rdev), minor(stat.st_rdev)) == NULL
    });
    let mut ends = [PollFd::new(&out, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    let has_gone =
        poll(&mut ends, Some(&Timespec::default())).is_ok() && ends[0].revents().intersects(gone);
    !is_null && !has_gone
}
