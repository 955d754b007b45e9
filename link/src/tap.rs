//! An Ethernet device of which this process is the other end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;
use nix::sched::{CloneFlags, setns};

use crate::forward::LinkError;

const DEVICE: &str = "/dev/net/tun";

/// A TAP device. It is gone when this is dropped, and when the process ends however it ends.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

impl Tap {
    /// Makes a device of this name in a network namespace (a path like `/run/netns/NAME`). Reading and writing do not wait.
    ///
    /// # Errors
    /// When the namespace does not exist, the name is taken or too long, or the process may not.
    pub fn create(namespace: &Path, name: &str) -> Result<Self, LinkError> {
        let failed = |source| LinkError::Device {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            source,
        };
        // A thread of its own: the network namespace of the caller stays what it is.
        std::thread::scope(|scope| {
            let made = scope.spawn(|| -> io::Result<File> {
                setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?;
                open(name)
            });
            made.join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that makes it ended")))
        })
        .map(|file| Self { file })
        .map_err(failed)
    }

    /// The next frame; `WouldBlock` when there is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when it can take no more.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.file).write(frame).map(drop)
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[allow(unsafe_code)]
fn open(name: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(DEVICE)?;
    // SAFETY: `ifreq` is plain old data, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len();
    if name.is_empty() || name.len() >= room {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a device's name has 1 to {} bytes", room - 1),
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open, and TUNSETIFF reads and writes one `ifreq`, which lives through the call.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}
