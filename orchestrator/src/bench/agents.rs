//! The process of the simulated agents: one socket, on which thousands of loopback addresses answer.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};

use crate::snmp::Access;
use crate::snmp::SnmpError;
use crate::snmp::fleet::Fleet;

/// Room for requests that come while the agents work.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// Longest request.
const REQUEST_BYTES_MAX: usize = 2048;
/// The agents say that they were started so long ago.
const UP_BEFORE: Duration = Duration::from_secs(1000);

/// Answers for all loopback addresses at this port, until standard input ends.
///
/// # Errors
/// When the port cannot be had.
pub fn serve(access: &Access, port: u16) -> Result<(), SnmpError> {
    let mut fleet = Fleet::new(access)?;
    let setup = |error: io::Error| SnmpError::Setup {
        what: "the simulated agents' port",
        why: error.to_string(),
    };
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(setup)?;
    // The address that was asked is the one that has to answer.
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).map_err(|error| setup(error.into()))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)
            .map_err(|error| setup(error.into()))?;
    }
    std::thread::spawn(|| {
        io::stdin().lock().read_to_end(&mut Vec::new()).ok();
        std::process::exit(0);
    });
    writeln!(io::stdout(), "ready").map_err(setup)?;
    let begun = Instant::now();
    loop {
        // One request that cannot be answered is one that is lost.
        answer(&socket, &mut fleet, begun).ok();
    }
}

/// Waits for one request and answers it.
fn answer(socket: &UdpSocket, fleet: &mut Fleet, begun: Instant) -> nix::Result<()> {
    let mut buffer = [0; REQUEST_BYTES_MAX];
    let mut control = nix::cmsg_space!(in_pktinfo);
    let (length, from, to) = {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let message = recvmsg::<SockaddrIn>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let to = message.cmsgs()?.find_map(|found| match found {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info.ipi_addr),
            _ => None,
        });
        (message.bytes, message.address, to)
    };
    let (Some(from), Some(to)) = (from, to) else {
        return Ok(());
    };
    let address = IpAddr::V4(Ipv4Addr::from(u32::from_be(to.s_addr)));
    let up = begun.elapsed() + UP_BEFORE;
    let Some(answer) = fleet.answer(up, address, &buffer[..length]) else {
        return Ok(());
    };
    let source = in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: to,
        ipi_addr: in_addr { s_addr: 0 },
    };
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(&answer)],
        &[ControlMessage::Ipv4PacketInfo(&source)],
        MsgFlags::empty(),
        Some(&from),
    )?;
    Ok(())
}
