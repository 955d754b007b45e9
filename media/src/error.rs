//! What can go wrong in a stage.

use std::io;
use std::path::PathBuf;

use wire::mpegts::ForeignVideo;

#[cfg(feature = "codec")]
use crate::codec::CodecError;
use crate::net::HttpError;
#[cfg(feature = "codec")]
use crate::overlay::ImageError;
use crate::url::UrlError;

/// What a person does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The work failed.
    Failed,
    /// The configuration is wrong.
    Config,
    /// Something that must be installed or prepared is missing.
    Missing,
}

/// Why a stage ended.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Not an address that this can send to or receive from.
    #[error("'{url}' is not a video address")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// A setting out of range.
    #[error("{setting} must be {expected}, not {given}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What would be right.
        expected: String,
        /// What was given.
        given: String,
    },
    /// The socket could not be opened.
    #[error("cannot open a socket for {url}")]
    Socket {
        /// Address.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("cannot connect to {url}")]
    Connect {
        /// Address.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody answers there, and cannot prove who it is.
    #[error(
        "no encrypted connection to {url}; `--ca` names a file with the authority that vouches for it"
    )]
    Encrypt {
        /// Address.
        url: String,
        /// What is wrong with the proof, or what the system said.
        source: io::Error,
    },
    /// Nobody can be believed.
    #[error(transparent)]
    Trust(#[from] door::TrustError),
    /// The server does not do what it was asked for.
    #[error("cannot have the stream of {url}")]
    Http {
        /// Address.
        url: String,
        /// What it said.
        source: HttpError,
    },
    /// The video is coded with something that is not decoded here.
    #[error(
        "the video of {url} is {video}, and only MPEG-2 and H.264 are decoded here; \
         'ffmpeg -i … -c:v libx264 -tune zerolatency -c:a copy -f mpegts udp://HOST:PORT' makes it H.264"
    )]
    Foreign {
        /// Address.
        url: String,
        /// What it is coded with.
        video: ForeignVideo,
    },
    /// The video is in a form that is not worked on here.
    #[cfg(feature = "codec")]
    #[error(
        "the video of {url} has {form}, and only 8-bit 4:2:0 with even sides of {} to {} is worked on here; \
         'ffmpeg -i … -pix_fmt yuv420p -c:v libx264 -tune zerolatency -c:a copy -f mpegts udp://HOST:PORT' makes it 8-bit 4:2:0",
        crate::picture::SIDES.start(), crate::picture::SIDES.end()
    )]
    Form {
        /// Address.
        url: String,
        /// Pixel format or size.
        form: String,
    },
    /// The socket failed while receiving.
    #[error("cannot receive from {url}")]
    Receive {
        /// Address.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// The font is not there.
    #[error(
        "cannot read the font {path}; on Debian: apt install fonts-dejavu-core, or name another with --font"
    )]
    FontMissing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no font.
    #[error("{path} is not a TrueType or OpenType font")]
    FontInvalid {
        /// The file.
        path: PathBuf,
    },
    /// The text over the picture cannot be drawn.
    #[cfg(feature = "codec")]
    #[error(transparent)]
    Label(#[from] crate::overlay::LabelError),
    /// An image over the picture cannot be shown.
    #[cfg(feature = "codec")]
    #[error(transparent)]
    Image(#[from] ImageError),
    /// FFmpeg's libraries refused.
    #[cfg(feature = "codec")]
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// There is no window, or no longer one.
    #[cfg(feature = "codec")]
    #[error(transparent)]
    Window(#[from] crate::play::WindowError),
    /// The screen cannot be looked at.
    #[cfg(feature = "codec")]
    #[error(transparent)]
    Display(#[from] crate::watch::DisplayError),
    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} does not hold {expected}: '{found}'")]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
        /// What it begins with.
        found: String,
    },
    /// Pictures from elsewhere are none, or end early.
    #[cfg(feature = "codec")]
    #[error("cannot take pictures from {source_name}")]
    Pictures {
        /// Where they come from.
        source_name: String,
        /// What is wrong with them.
        source: crate::y4m::Y4mError,
    },
    /// A picture has no room for the code strip.
    #[cfg(feature = "codec")]
    #[error("the code strip cannot be drawn")]
    Strip(#[from] wire::code_strip::PictureTooSmall),
    /// An outside program could not be started.
    #[error("cannot start '{command}'")]
    Start {
        /// Command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// An outside program ended although there was work.
    #[error("'{command}' ended early: {status}")]
    Ended {
        /// Command line.
        command: String,
        /// Exit code or signal.
        status: String,
    },
}

impl MediaError {
    /// What a person does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Url { .. } | Self::Setting { .. } | Self::FontInvalid { .. } | Self::Trust(_) => {
                ErrorKind::Config
            }
            Self::FontMissing { .. } | Self::Read { .. } | Self::Start { .. } => ErrorKind::Missing,
            #[cfg(feature = "codec")]
            Self::Image(ImageError::Read { .. }) => ErrorKind::Missing,
            #[cfg(feature = "codec")]
            Self::Label(_) | Self::Image(_) | Self::Strip(_) => ErrorKind::Config,
            #[cfg(feature = "codec")]
            Self::Codec(CodecError::Absent { .. }) => ErrorKind::Missing,
            #[cfg(feature = "codec")]
            Self::Window(error) => error.kind(),
            #[cfg(feature = "codec")]
            Self::Display(error) => error.kind(),
            _ => ErrorKind::Failed,
        }
    }
}
