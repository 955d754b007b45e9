//! Where a captured packet goes to and what it carries.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::file::Frame;

// Numbers of link types as registered at tcpdump.org. Some systems write two other ones for raw IP into files.
const NULL: i32 = 0;
const ETHERNET: i32 = 1;
const RAW: [i32; 5] = [12, 14, 101, 228, 229];
const LOOP: i32 = 108;
const LINUX_SLL: i32 = 113;
const LINUX_SLL2: i32 = 276;
/// The address family in front of a packet on a BSD loopback.
const FAMILY_BYTES: usize = 4;
const SLL_BYTES: usize = 16;
const SLL2_BYTES: usize = 20;
/// Of a cooked packet: sent by this host.
const COOKED_OUTGOING: u16 = 4;

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
}

impl Transport {
    /// `udp` or `tcp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// From where to where: `192.0.2.1:5000>192.0.2.2:5001`, IPv6 addresses in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoints {
    /// Address and port of the sender.
    pub source: SocketAddr,
    /// Address and port of the receiver.
    pub destination: SocketAddr,
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}", self.source, self.destination)
    }
}

/// A text is no [`Endpoints`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected ADDRESS:PORT>ADDRESS:PORT in figures, IPv6 addresses in brackets; in a shell within quotes"
)]
pub struct NoEndpoints;

impl FromStr for Endpoints {
    type Err = NoEndpoints;

    fn from_str(text: &str) -> Result<Self, NoEndpoints> {
        let (source, destination) = text.split_once('>').ok_or(NoEndpoints)?;
        let address = |text: &str| text.trim().parse().map_err(|_| NoEndpoints);
        Ok(Self {
            source: address(source)?,
            destination: address(destination)?,
        })
    }
}

/// One direction of a conversation, seen at one place. A capture on several interfaces, or on all of them, may see the same
/// packet more than once: coming in at one and going out at another, or both on a loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Protocol.
    pub transport: Transport,
    /// From where to where.
    pub endpoints: Endpoints,
    /// Known to be sent, not received, where it was captured.
    pub is_outgoing: bool,
    /// Number of the interface within the file, and that which Linux gave it if the capture was on all.
    pub interface: (u32, u32),
}

/// What a packet carries for its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Whose it is.
    pub flow: Flow,
    /// Payload of the transport protocol; may be cut off.
    pub payload: &'a [u8],
    /// Bytes of payload that were not captured.
    pub missing_bytes: u32,
    /// Where in the byte stream it belongs; `None` for a datagram.
    pub segment: Option<Segment>,
}

impl Packet<'_> {
    /// Bytes of payload on the wire.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.payload.len() as u64 + u64::from(self.missing_bytes)
    }
}

/// The place of a payload in a TCP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number of its first byte (of the SYN, if it is one).
    pub sequence: u32,
    /// A connection begins.
    pub is_syn: bool,
}

/// What a captured packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// UDP or TCP.
    Packet(Packet<'a>),
    /// A part of an IP packet, which does not tell whose it is.
    Fragment,
    /// Something else, or nothing that can be read.
    Other,
    /// Of a link type that we do not read.
    UnknownLink,
}

impl<'a> Content<'a> {
    /// Reads a captured packet.
    #[must_use]
    pub fn of(frame: &Frame<'a>) -> Self {
        let data = frame.data;
        let mut cooked = Cooked::default();
        let sliced = match frame.link {
            ETHERNET => LaxSlicedPacket::from_ethernet(data).ok(),
            LINUX_SLL | LINUX_SLL2 => {
                let header = if frame.link == LINUX_SLL {
                    sll(data)
                } else {
                    sll2(data)
                };
                header.map(|(header, payload)| {
                    cooked = header;
                    LaxSlicedPacket::from_ether_type(EtherType(header.protocol), payload)
                })
            }
            NULL | LOOP => data
                .get(FAMILY_BYTES..)
                .and_then(|ip| LaxSlicedPacket::from_ip(ip).ok()),
            link if RAW.contains(&link) => LaxSlicedPacket::from_ip(data).ok(),
            _ => return Self::UnknownLink,
        };
        sliced.map_or(Self::Other, |sliced| transport(frame, cooked, &sliced))
    }
}

/// What a cooked header of Linux says.
#[derive(Clone, Copy, Default)]
struct Cooked {
    protocol: u16,
    is_outgoing: bool,
    interface: u32,
}

/// Linux cooked capture: packet type, kind, length and bytes of an address, protocol.
fn sll(data: &[u8]) -> Option<(Cooked, &[u8])> {
    let (header, payload) = data.split_first_chunk::<SLL_BYTES>()?;
    let cooked = Cooked {
        protocol: u16::from_be_bytes([header[14], header[15]]),
        is_outgoing: u16::from_be_bytes([header[0], header[1]]) == COOKED_OUTGOING,
        interface: 0,
    };
    Some((cooked, payload))
}

/// Its second version: protocol, reserved, interface, kind, packet type, length and bytes of an address.
fn sll2(data: &[u8]) -> Option<(Cooked, &[u8])> {
    let (header, payload) = data.split_first_chunk::<SLL2_BYTES>()?;
    let cooked = Cooked {
        protocol: u16::from_be_bytes([header[0], header[1]]),
        is_outgoing: u16::from(header[10]) == COOKED_OUTGOING,
        interface: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
    };
    Some((cooked, payload))
}

fn transport<'a>(frame: &Frame<'a>, cooked: Cooked, sliced: &LaxSlicedPacket<'a>) -> Content<'a> {
    let Some((source, destination, ip)) = sliced.net.as_ref().and_then(addresses) else {
        return Content::Other;
    };
    if ip.fragmented {
        return Content::Fragment;
    }
    let (transport, ports, payload, segment) = match &sliced.transport {
        Some(TransportSlice::Udp(udp)) => {
            let ports = (udp.source_port(), udp.destination_port());
            (Transport::Udp, ports, udp.payload(), None)
        }
        Some(TransportSlice::Tcp(tcp)) => {
            let segment = Segment {
                sequence: tcp.sequence_number(),
                is_syn: tcp.syn(),
            };
            let ports = (tcp.source_port(), tcp.destination_port());
            (Transport::Tcp, ports, tcp.payload(), Some(segment))
        }
        _ => return Content::Other,
    };
    Content::Packet(Packet {
        flow: Flow {
            transport,
            endpoints: Endpoints {
                source: SocketAddr::new(source, ports.0),
                destination: SocketAddr::new(destination, ports.1),
            },
            is_outgoing: cooked.is_outgoing,
            interface: (frame.interface, cooked.interface),
        },
        payload,
        // What was cut off is the end of the packet, and of the payload if that goes so far.
        missing_bytes: if ip.incomplete {
            frame.missing_bytes
        } else {
            0
        },
        segment,
    })
}

struct Ip {
    fragmented: bool,
    incomplete: bool,
}

fn addresses(net: &LaxNetSlice<'_>) -> Option<(IpAddr, IpAddr, Ip)> {
    let payload = net.ip_payload_ref()?;
    let ip = Ip {
        fragmented: payload.fragmented,
        incomplete: payload.incomplete,
    };
    match net {
        LaxNetSlice::Ipv4(v4) => {
            let header = v4.header();
            Some((
                header.source_addr().into(),
                header.destination_addr().into(),
                ip,
            ))
        }
        LaxNetSlice::Ipv6(v6) => {
            let header = v6.header();
            Some((
                header.source_addr().into(),
                header.destination_addr().into(),
                ip,
            ))
        }
        LaxNetSlice::Arp(_) => None,
    }
}

/// Name, where it is a common one, and number of a link type.
#[must_use]
pub fn link_name(link: i32) -> String {
    let name = match link {
        9 | 50 | 51 => "PPP",
        105 => "IEEE 802.11",
        119 | 127 | 163 | 192 => "IEEE 802.11 with radio information",
        187 | 201 => "Bluetooth",
        189 | 220 | 249 => "USB",
        195 | 215 | 230 => "IEEE 802.15.4",
        227 => "CAN",
        239 => "Netfilter log",
        _ => return format!("number {link}"),
    };
    format!("{name} ({link})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_they_are_written() {
        for text in [
            "192.0.2.1:5000>192.0.2.2:5001",
            "[2001:db8::1]:5000>[2001:db8::2]:5001",
        ] {
            assert_eq!(text.parse::<Endpoints>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "192.0.2.1:5000",
            "192.0.2.1>192.0.2.2",
            "a:1>b:2",
            "::1:5>::1:6",
        ] {
            assert_eq!(text.parse::<Endpoints>(), Err(NoEndpoints), "{text}");
        }
    }
}
