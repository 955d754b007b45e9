//! A connection to an X server.

use x11rb::errors::{ConnectError, DisplayParsingError};
use x11rb::reexports::x11rb_protocol::parse_display::parse_display;
use x11rb::rust_connection::RustConnection;

/// Largest number of a server: its TCP port is 6000 more. x11rb reckons that port of whatever number it is given.
const NUMBER_MAX: u16 = u16::MAX - 6000;

/// Connects to the server that is called `display`, as in the environment's `DISPLAY`; the number of its screen is with it.
pub(crate) fn connect(display: &str) -> Result<(RustConnection, usize), ConnectError> {
    if parse_display(Some(display))?.display > NUMBER_MAX {
        return Err(DisplayParsingError::MalformedValue(display.into()).into());
    }
    RustConnection::connect(Some(display))
}
