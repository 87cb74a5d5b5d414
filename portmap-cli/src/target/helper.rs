//! A process of our own in a container's namespaces, for who may not enter these with a thread.
//!
//! An ordinary user owns the user namespace of a container that it started without privilege, and may enter that; but the
//! kernel lets in only a process with a single thread, and for good. So this tool starts itself once more, and that process
//! makes the sockets and hands them over, one for each order.

use std::{
    env, io,
    io::{IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
};

use portmap::{
    BoxError, Protocol,
    proxy::{NetnsDial, NetnsError},
};
use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
    process::{Pid, PidfdFlags, pidfd_open},
    thread::{ThreadNameSpaceType, move_into_thread_name_spaces},
};
use socket2::{Domain, Socket, Type};

/// How the tool is started to be the helper: no option of anybody's.
pub(crate) const HELPER: &str = "__sockets-of";

/// Starts the helper. It ends when the last clone of the dial service is dropped, or with this process.
pub(super) fn dial_by_helper(pid: u32) -> Result<NetnsDial, BoxError> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut helper = Command::new(env::current_exe()?);
    helper.args([HELPER, &pid.to_string()]).stdin(Stdio::from(OwnedFd::from(theirs)));
    // Ctrl-C is for the one who releases the ports.
    let mut helper = helper.stdout(Stdio::null()).process_group(0).spawn()?;
    let mut entered = [0; 4];
    ours.read_exact(&mut entered)?;
    match i32::from_ne_bytes(entered) {
        0 => {}
        errno => {
            helper.wait()?;
            return Err(NetnsError::Enter(io::Error::from_raw_os_error(errno)).into());
        }
    }
    // Its end is waited for by nobody: it comes with that of this process at the latest.
    Ok(NetnsDial::by(move |addr, protocol| order(&mut ours, addr, protocol))?)
}

fn order(helper: &mut UnixStream, addr: SocketAddr, protocol: Protocol) -> io::Result<OwnedFd> {
    helper.write_all(&[u8::from(addr.is_ipv6()), u8::from(protocol == Protocol::Udp)])?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut errno = [0; 4];
    let mut parts = [IoSliceMut::new(&mut errno)];
    recvmsg(helper.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    sockets.flatten().next().ok_or_else(|| match i32::from_ne_bytes(errno) {
        0 => io::ErrorKind::UnexpectedEof.into(),
        errno => io::Error::from_raw_os_error(errno),
    })
}

/// The life of the helper: enters, and makes sockets until nobody can order one any more.
pub(crate) fn help(pid: &str) -> io::Result<()> {
    let mut orders = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let entered = enter(pid).map_or_else(|error| error.raw_os_error(), |()| Some(0));
    orders.write_all(&entered.unwrap_or(-1).to_ne_bytes())?;
    let mut order = [0; 2];
    while entered == Some(0) && orders.read_exact(&mut order).is_ok() {
        let domain = if order[0] == 0 { Domain::IPV4 } else { Domain::IPV6 };
        let kind = if order[1] == 0 { Type::STREAM } else { Type::DGRAM };
        let made = Socket::new(domain, kind, None);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let mut errno = 0_i32.to_ne_bytes();
        let handed;
        match &made {
            Ok(socket) => {
                handed = [socket.as_fd()];
                control.push(SendAncillaryMessage::ScmRights(&handed));
            }
            Err(error) => errno = error.raw_os_error().unwrap_or(-1).to_ne_bytes(),
        }
        sendmsg(&orders, &[IoSlice::new(&errno)], &mut control, SendFlags::empty())?;
    }
    Ok(())
}

fn enter(pid: &str) -> io::Result<()> {
    let pid = pid.parse().ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let both = ThreadNameSpaceType::USER | ThreadNameSpaceType::NETWORK;
    Ok(move_into_thread_name_spaces(process.as_fd(), both)?)
}
