//! An X server's screen, as one sees it.

use record::Timestamp;
use wire::code_strip::{COLUMNS, Plane, ROWS, Strip};
use x11rb::connection::Connection;
use x11rb::errors::{ConnectError, ReplyError};
use x11rb::image::Image;
use x11rb::protocol::xproto::{ConnectionExt as _, ImageOrder, MapState, Screen, Window};
use x11rb::rust_connection::RustConnection;

use crate::error::ErrorKind;
use crate::seen::Strips;
use crate::x_server::connect;

/// A window manager puts its frames around a program's window, a toolkit its own parts into it; deeper there are no pictures.
const DEPTH_MAX: usize = 8;
/// So many windows are looked through.
const WINDOWS_MAX: usize = 1000;

/// Why the screen cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// Nobody is there, or whoever is there does not want us.
    #[error(
        "cannot look at the screen of the X server '{display}'; name one that is there and lets this user in, like :0"
    )]
    Connect {
        /// Its name.
        display: String,
        /// What went wrong.
        source: ConnectError,
    },
    /// A pixel is not a byte each for red, green and blue.
    #[error(
        "cannot read the screen of the X server '{display}': it has not 8 bits each for red, green and blue"
    )]
    Colours {
        /// Its name.
        display: String,
    },
    /// Nobody shows the camera's clock.
    #[error(
        "no window of the screen is filled by a picture of `forestall capture`, or it is gone: start the player first, and let nothing \
         cover its window"
    )]
    NoPlayer,
    /// A clock does not fit onto the screen.
    #[error(
        "beside the player's window is no room for a clock of its size, {width}x{height} pixels: move the window to the screen's edge, \
         make it smaller, or take a larger screen"
    )]
    NoRoom {
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
    },
    /// It went away, or refused something.
    #[error("the X server has gone, or does not show its screen")]
    Lost(#[source] ReplyError),
}

impl DisplayError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Lost(_) | Self::NoPlayer => ErrorKind::Failed,
            _ => ErrorKind::Missing,
        }
    }
}

impl<E: Into<ReplyError>> From<E> for DisplayError {
    fn from(error: E) -> Self {
        Self::Lost(error.into())
    }
}

/// A connection to an X server, to look at its screen.
#[derive(Debug)]
pub struct Display {
    x: RustConnection,
    root: Window,
    /// Pixels of the screen.
    size: (u16, u16),
    /// Where in the four bytes of a pixel red, green and blue are.
    bytes: [usize; 3],
}

/// A place on the screen, in pixels, wholly on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Of its left edge.
    pub x: u16,
    /// Of its upper edge.
    pub y: u16,
    /// At least 1.
    pub width: u16,
    /// At least 1.
    pub height: u16,
}

impl Area {
    /// The lower end of a picture that fills it, in which both code strips are; `None` where it is too small for them.
    #[must_use]
    pub fn code_strips(&self) -> Option<Self> {
        let (width, columns) = (usize::from(self.width), COLUMNS);
        let side = (width + columns / 2) / columns;
        let height = u16::try_from(2 * ROWS * side).ok()?;
        let y = self.y + self.height.checked_sub(height)?;
        (height > 0).then_some(Self { y, height, ..*self })
    }

    /// The smallest area that holds both.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let end = |area: &Self| (area.x + area.width, area.y + area.height);
        let ((right, low), (other_right, other_low)) = (end(self), end(other));
        Self {
            x,
            y,
            width: right.max(other_right) - x,
            height: low.max(other_low) - y,
        }
    }

    /// The same area by its place in another that holds it.
    pub(crate) fn within(&self, outer: &Self) -> Self {
        Self {
            x: self.x - outer.x,
            y: self.y - outer.y,
            ..*self
        }
    }
}

impl Display {
    /// Connects to the server that is called `name`, as in `DISPLAY`.
    ///
    /// # Errors
    /// [`DisplayError`].
    pub fn open(name: &str) -> Result<Self, DisplayError> {
        let display = || name.to_owned();
        let connected = connect(name);
        let (x, number) = connected.map_err(|source| DisplayError::Connect {
            display: display(),
            source,
        })?;
        let colours = || DisplayError::Colours { display: display() };
        let screen = x.setup().roots.get(number).ok_or_else(colours)?;
        let (root, size) = (
            screen.root,
            (screen.width_in_pixels, screen.height_in_pixels),
        );
        let bytes = colour_bytes(&x, screen).ok_or_else(colours)?;
        Ok(Self {
            x,
            root,
            size,
            bytes,
        })
    }

    /// Where windows are that are to be seen, and lie wholly on the screen: each before those in it.
    ///
    /// # Errors
    /// [`DisplayError::Lost`].
    pub fn windows(&self) -> Result<Vec<Area>, DisplayError> {
        let mut found = Vec::new();
        let mut waiting = vec![(self.root, 0)];
        while let Some((window, depth)) = waiting.pop() {
            // It may go at any time: the server's refusals are no error.
            let Ok(tree) = self.x.query_tree(window)?.reply() else {
                continue;
            };
            for child in tree.children.into_iter().take(WINDOWS_MAX) {
                if let Some(area) = self.visible(child)? {
                    found.extend(area);
                    if depth < DEPTH_MAX && found.len() + waiting.len() < WINDOWS_MAX {
                        waiting.push((child, depth + 1));
                    }
                }
            }
        }
        Ok(found)
    }

    /// `None` of a window that is not to be seen; without an area where a part of it is outside the screen.
    fn visible(&self, window: Window) -> Result<Option<Option<Area>>, DisplayError> {
        let attributes = self.x.get_window_attributes(window)?;
        let geometry = self.x.get_geometry(window)?;
        let place = self.x.translate_coordinates(window, self.root, 0, 0)?;
        let (Ok(attributes), Ok(geometry), Ok(place)) =
            (attributes.reply(), geometry.reply(), place.reply())
        else {
            return Ok(None);
        };
        if attributes.map_state != MapState::VIEWABLE {
            return Ok(None);
        }
        let inside = |begin: i16, length: u16, all: u16| {
            let begin = u16::try_from(begin).ok()?;
            (begin.checked_add(length)? <= all && length > 0).then_some(begin)
        };
        let x = inside(place.dst_x, geometry.width, self.size.0);
        let y = inside(place.dst_y, geometry.height, self.size.1);
        Ok(Some(x.zip(y).map(|(x, y)| Area {
            x,
            y,
            width: geometry.width,
            height: geometry.height,
        })))
    }

    /// Room of the same size on the screen: right of an area, left of it, under or over it.
    pub(crate) fn beside(&self, area: &Area) -> Option<Area> {
        let Area {
            x,
            y,
            width,
            height,
        } = *area;
        let places = [
            x.checked_add(width).map(|x| (x, y)),
            x.checked_sub(width).map(|x| (x, y)),
            y.checked_add(height).map(|y| (x, y)),
            y.checked_sub(height).map(|y| (x, y)),
        ];
        let fits = |begin: u16, length: u16, all: u16| {
            begin.checked_add(length).is_some_and(|end| end <= all)
        };
        let mut places = places.into_iter().flatten();
        let (x, y) =
            places.find(|(x, y)| fits(*x, width, self.size.0) && fits(*y, height, self.size.1))?;
        Some(Area { x, y, ..*area })
    }

    /// What one sees at a place; `None` if the screen has another size by now.
    ///
    /// # Errors
    /// [`DisplayError::Lost`].
    pub fn shot(&self, at: &Area) -> Result<Option<Shot>, DisplayError> {
        let Area {
            x,
            y,
            width,
            height,
        } = *at;
        // Sides of a screen fit: the protocol counts pixels of places in 16 bits with a sign.
        let image = Image::get(&self.x, self.root, x as i16, y as i16, width, height);
        let image = match image {
            Ok((image, _)) => image,
            Err(ReplyError::X11Error(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Shot {
            width: width.into(),
            height: height.into(),
            data: image.data().to_vec(),
            bytes: self.bytes,
        }))
    }
}

/// Where in the four bytes of a pixel its red, green and blue are; `None` where it is not so.
fn colour_bytes(x: &RustConnection, screen: &Screen) -> Option<[usize; 3]> {
    let depth = screen.root_depth;
    let mut formats = x.setup().pixmap_formats.iter();
    let format = formats.find(|format| format.depth == depth)?;
    let mut visuals = screen.allowed_depths.iter().flat_map(|d| &d.visuals);
    let visual = visuals.find(|visual| visual.visual_id == screen.root_visual)?;
    let byte = |mask: u32| {
        let at = mask.trailing_zeros() / 8;
        let is_byte = at < 4 && mask == 0xff << (at * 8);
        let at = at as usize;
        is_byte.then_some(match x.setup().image_byte_order {
            ImageOrder::MSB_FIRST => 3 - at,
            _ => at,
        })
    };
    // Palettes have no masks.
    let masks = (visual.red_mask, visual.green_mask, visual.blue_mask);
    let found = [byte(masks.0)?, byte(masks.1)?, byte(masks.2)?];
    (format.bits_per_pixel == 32).then_some(found)
}

/// A part of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shot {
    width: usize,
    height: usize,
    /// Four bytes a pixel, rows from the top.
    data: Vec<u8>,
    /// Where in them red, green and blue are.
    bytes: [usize; 3],
}

impl Shot {
    /// Pixels.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        // It was cut to sides of 16 bits.
        (self.width as u16, self.height as u16)
    }

    /// Red, green and blue of each pixel, rows from the top.
    pub fn pixels(&self) -> impl Iterator<Item = [u8; 3]> + '_ {
        let pixels = self.data.as_chunks::<4>().0;
        pixels
            .iter()
            .map(|pixel| self.bytes.map(|at| pixel.get(at).copied().unwrap_or(0)))
    }

    /// A part of it, by its place in this one; `None` where that is not wholly in it.
    #[must_use]
    pub fn part(&self, at: &Area) -> Option<Self> {
        let [x, y, width, height] = [at.x, at.y, at.width, at.height].map(usize::from);
        let row = |y: usize| {
            let row = self.data.chunks(self.width * 4).nth(y)?;
            row.get(x * 4..(x + width) * 4)
        };
        let rows: Option<Vec<&[u8]>> = (y..y + height).map(row).collect();
        Some(Self {
            width,
            height,
            data: rows?.concat(),
            bytes: self.bytes,
        })
    }

    /// How bright each pixel is, where it has no colour: its green.
    #[must_use]
    pub fn grey(&self) -> Vec<u8> {
        self.pixels().map(|[_, green, _]| green).collect()
    }

    /// The camera's code strip at its lower end.
    #[must_use]
    pub fn capture_strip(&self) -> Option<Strip> {
        self.strips().capture
    }

    /// When the picture was taken that it shows at `shown`.
    pub(crate) fn captured(&self, shown: Timestamp) -> Option<Timestamp> {
        self.strips().captured(shown)
    }

    /// The code strips at its lower end.
    pub(crate) fn strips(&self) -> Strips {
        Strips::read(Plane {
            data: &self.grey(),
            stride: self.width,
            width: self.width,
            height: self.height,
        })
    }
}
