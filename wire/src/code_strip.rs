//! Eighty bits in the picture itself, so that its age and its origin can be read after any number of codecs.
//!
//! ```text
//! |            picture                     |
//! | overlay strip  (boot id, runner)       |  2 rows of 40 cells
//! | capture strip  (capture time, frame)   |  2 rows of 40 cells, at the bottom
//! ```
//! A cell is a fortieth of the picture wide and as high. Its bits, most significant first: 8 kind, 32 [`Strip::a`],
//! 24 [`Strip::b`], 16 CRC-16/CCITT-FALSE over the eight bytes before. Black is 0, white is 1.

use std::ops::Range;

/// Cells in a row.
pub const COLUMNS: usize = 40;
/// Rows of cells in a strip.
pub const ROWS: usize = 2;
/// Unit of the capture time in a strip, in microseconds.
pub const TIME_UNIT_US: u64 = 100;
/// Frame numbers and runner numbers wrap here.
pub const NUMBER_WRAP: u32 = 1 << 24;

const BITS: usize = COLUMNS * ROWS;
const BLACK: u8 = 20;
const WHITE: u8 = 230;
/// Chroma without colour.
pub const NEUTRAL: u8 = 128;
/// Luma between the darkest and the brightest cell below which there is no strip.
const CONTRAST_MIN: u32 = 60;
/// Wider or higher pictures are refused; far above any video, far below overflow.
const SIDE_MAX: usize = 1 << 15;

/// What a strip says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The camera's: `a` capture time in units of [`TIME_UNIT_US`], `b` frame number.
    Capture,
    /// The overlay's: `a` first 32 bits of the guest's boot id, `b` runner number.
    Overlay,
    /// The same of an overlay that knows its picture to be damaged: packets were lost on the way to it.
    OverlayDamaged,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Capture, Self::Overlay, Self::OverlayDamaged];

    /// Each differs from the others in at least four bits.
    const fn code(self) -> u8 {
        match self {
            Self::Capture => 0xc5,
            Self::Overlay => 0x3a,
            Self::OverlayDamaged => 0x9c,
        }
    }

    /// Where in the picture it stands.
    #[must_use]
    pub const fn place(self) -> Place {
        match self {
            Self::Capture => Place::Bottom,
            Self::Overlay | Self::OverlayDamaged => Place::AboveBottom,
        }
    }
}

/// Where a strip stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the very bottom: the camera's.
    Bottom,
    /// Directly above it: the overlay's.
    AboveBottom,
}

impl Place {
    /// Rows of the picture that it takes; `None` if the picture is too small, or absurdly large.
    #[must_use]
    pub fn rows(self, width: usize, height: usize) -> Option<Range<usize>> {
        let grid = Grid::of(width, height, self)?;
        Some(grid.rows(0).start..grid.rows(ROWS - 1).end)
    }
}

/// Eight bits of luma or chroma, `stride` bytes from row to row.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// Rows, top first.
    pub data: &'a [u8],
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// A [`Plane`] to draw on.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    /// Rows, top first.
    pub data: &'a mut [u8],
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The picture has no room for a strip, or its plane is smaller than its size says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw a code strip on a picture of {width}x{height} pixels")]
pub struct PictureTooSmall {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The contents of a strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strip {
    /// Whose it is.
    pub kind: Kind,
    /// First value.
    pub a: u32,
    /// Second value, 24 bits; more are cut off when drawn.
    pub b: u32,
}

impl Strip {
    /// The camera's strip of a picture taken at `captured_us` (microseconds since the epoch).
    #[must_use]
    pub const fn capture(captured_us: u64, frame: u32) -> Self {
        Self {
            kind: Kind::Capture,
            a: (captured_us / TIME_UNIT_US) as u32,
            b: frame % NUMBER_WRAP,
        }
    }

    /// Draws it on the luma plane. The chroma of [`Place::rows`] should be made neutral ([`NEUTRAL`]).
    ///
    /// # Errors
    /// The picture is narrower than 40 pixels, lower than its two strips, absurdly large, or its data too short.
    pub fn draw(&self, luma: &mut PlaneMut<'_>) -> Result<(), PictureTooSmall> {
        let refused = PictureTooSmall {
            width: luma.width,
            height: luma.height,
        };
        let grid = Grid::of(luma.width, luma.height, self.kind.place()).ok_or(refused)?;
        let bits = self.bits();
        for row in 0..ROWS {
            for y in grid.rows(row) {
                let start = y.checked_mul(luma.stride).ok_or(refused)?;
                let line = luma
                    .data
                    .get_mut(start..)
                    .and_then(|data| data.get_mut(..luma.width))
                    .ok_or(refused)?;
                for column in 0..COLUMNS {
                    let is_set = bits >> (BITS - 1 - row * COLUMNS - column) & 1 == 1;
                    line[grid.columns(column)].fill(if is_set { WHITE } else { BLACK });
                }
            }
        }
        Ok(())
    }

    /// Reads the strip at `place`; `None` unless kind and CRC are right.
    #[must_use]
    pub fn read(place: Place, luma: Plane<'_>) -> Option<Self> {
        let grid = Grid::of(luma.width, luma.height, place)?;
        let mut means = [0u32; BITS];
        for (at, mean) in means.iter_mut().enumerate() {
            *mean = grid.cell_mean(at / COLUMNS, at % COLUMNS, luma)?;
        }
        let (darkest, brightest) = (means.iter().min()?, means.iter().max()?);
        if brightest - darkest < CONTRAST_MIN {
            return None;
        }
        let threshold = (darkest + brightest) / 2;
        Self::from_bits(
            means
                .iter()
                .fold(0, |bits, &mean| bits << 1 | u128::from(mean > threshold)),
            place,
        )
    }

    fn bits(&self) -> u128 {
        let value = u128::from(self.kind.code()) << 56
            | u128::from(self.a) << 24
            | u128::from(self.b % NUMBER_WRAP);
        value << 16 | u128::from(crc16(&(value as u64).to_be_bytes()))
    }

    fn from_bits(bits: u128, place: Place) -> Option<Self> {
        let value = (bits >> 16) as u64;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.code() == (value >> 56) as u8 && kind.place() == place)?;
        (crc16(&value.to_be_bytes()) == bits as u16).then_some(Self {
            kind,
            a: (value >> 24) as u32,
            b: value as u32 % NUMBER_WRAP,
        })
    }
}

/// The full capture time, in microseconds since the epoch, of a capture strip's `a`: of all times that it can mean (they
/// are five days apart) the one nearest to `now_us`.
#[must_use]
pub fn expand_time_us(a: u32, now_us: u64) -> u64 {
    let now = now_us / TIME_UNIT_US;
    let ahead = a.wrapping_sub(now as u32) as i32;
    now.saturating_add_signed(i64::from(ahead))
        .saturating_mul(TIME_UNIT_US)
}

/// Where the cells of a strip are.
struct Grid {
    width: usize,
    /// First row of the strip.
    top: usize,
    /// Rows in a cell.
    side: usize,
}

impl Grid {
    fn of(width: usize, height: usize, place: Place) -> Option<Self> {
        if !(COLUMNS..=SIDE_MAX).contains(&width) || height > SIDE_MAX {
            return None;
        }
        let side = (width + COLUMNS / 2) / COLUMNS;
        let strips = match place {
            Place::Bottom => 1,
            Place::AboveBottom => 2,
        };
        let top = height.checked_sub(strips * ROWS * side)?;
        Some(Self { width, top, side })
    }

    fn rows(&self, row: usize) -> Range<usize> {
        self.top + row * self.side..self.top + (row + 1) * self.side
    }

    fn columns(&self, column: usize) -> Range<usize> {
        let edge = |column: usize| (column * self.width + COLUMNS / 2) / COLUMNS;
        edge(column)..edge(column + 1)
    }

    /// Mean luma of a cell without its border, which the codec smears.
    fn cell_mean(&self, row: usize, column: usize, luma: Plane<'_>) -> Option<u32> {
        let (rows, columns) = (inner(self.rows(row)), inner(self.columns(column)));
        let mut sum = 0;
        for y in rows.clone() {
            let line = luma
                .data
                .get(y.checked_mul(luma.stride)?..)?
                .get(columns.clone())?;
            sum += line.iter().map(|&luma| u32::from(luma)).sum::<u32>();
        }
        sum.checked_div((rows.len() * columns.len()) as u32)
    }
}

/// A range without a quarter at either end.
fn inner(range: Range<usize>) -> Range<usize> {
    let border = range.len() / 4;
    range.start + border..range.end - border
}

/// CRC-16/CCITT-FALSE.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(u16::MAX, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            (crc << 1) ^ if crc >> 15 == 1 { 0x1021 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_published_one() {
        assert_eq!(crc16(b"123456789"), 0x29b1);
    }

    #[test]
    fn time_expands_to_the_nearest() {
        let now: u64 = 1_790_000_000_000_000;
        for offset in [-150_000_000_000i64, -5_000_000, 0, 900, 150_000_000_000] {
            let captured = now.wrapping_add_signed(offset);
            assert_eq!(
                expand_time_us(Strip::capture(captured, 0).a, now),
                captured / TIME_UNIT_US * TIME_UNIT_US
            );
        }
        assert_eq!(expand_time_us(u32::MAX, 0), 0); // before the epoch: clamped
        let _ = expand_time_us(0, u64::MAX);
    }
}
