//! A capture file of anybody's to the arrivals of one flow: pcap and pcapng, without libpcap.
//!
//! Data flow: [`file`] reads packets with their times -> [`packet`] finds address, port and payload in them -> [`tcp`] puts
//! a byte stream in order, [`http`] takes off what carries it -> [`content`] finds the transport stream in datagrams ->
//! [`flows`] looks through all flows and chooses one -> [`timeline`] follows that one. [`pictures`] takes the coded pictures of all.

pub mod content;
pub mod file;
pub mod flows;
pub mod http;
pub mod packet;
pub mod pictures;
pub mod tcp;
pub mod timeline;

use std::path::{Path, PathBuf};

use record::RecordError;

pub use flows::Survey;
pub use packet::Endpoints;
pub use pictures::pictures;
pub use timeline::Timeline;

/// Why a capture could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No bytes in it.
    #[error("{}: the file is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It begins like nothing known.
    #[error("{}: not a capture: it begins neither like pcap nor like pcapng", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
    },
    /// It ends within a packet.
    #[error("{}: the file is cut off; {whole} packets before that are whole", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Packets before the end.
        whole: u64,
    },
    /// A packet is not what the format says.
    #[error("{}: {text} after {whole} whole packets", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Packets before it.
        whole: u64,
        /// What is wrong.
        text: String,
    },
    /// A valid file that holds no packet.
    #[error("{}: a capture without a packet", path.display())]
    NoPackets {
        /// The file.
        path: PathBuf,
    },
    /// Nothing in it was captured where we can read.
    #[error(
        "{}: link type {link} is not read; those are Ethernet, Linux cooked (SLL and SLL2), raw IP and BSD loopback",
        path.display()
    )]
    LinkType {
        /// The file.
        path: PathBuf,
        /// Its name and number.
        link: String,
    },
    /// No packet in it is UDP or TCP with a payload.
    #[error("{}: none of its {packets} packets is UDP or TCP with a payload", path.display())]
    NoFlow {
        /// The file.
        path: PathBuf,
        /// Packets in it.
        packets: u64,
    },
    /// The flow that was asked for is not in it.
    #[error("{}: no packets of {wanted}; the largest flows are {}", path.display(), largest.join(", "))]
    NoSuchFlow {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        wanted: Endpoints,
        /// What there is.
        largest: Vec<String>,
    },
    /// A `packets.csv` that is absent or broken.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A flow was asked for in a file without addresses.
    #[error("{}: packets.csv holds one flow and no addresses; there is none to choose", path.display())]
    NoAddresses {
        /// The file.
        path: PathBuf,
    },
    /// More flows than are looked through at once.
    #[error("{}: more than {max} flows; name the one to measure", path.display())]
    TooManyFlows {
        /// The file.
        path: PathBuf,
        /// How many may be.
        max: usize,
    },
}

impl CaptureError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
