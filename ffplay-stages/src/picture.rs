//! The camera's code strip in pictures as FFmpeg and SDL have them in memory.

use std::ffi::{c_int, c_void};
use std::ops::RangeInclusive;

use wire::code_strip::{Place, Plane, Strip};

/// Major versions of libavutil (FFmpeg 4 to 7) of which [`Packet`] and [`Frame`] are true. They stand here, and are not made of FFmpeg's headers,
/// so that these are not needed, and nothing is linked.
pub(crate) const AVUTIL: RangeInclusive<u32> = 56..=59;
/// `AV_PIX_FMT_YUV420P` and `AV_PIX_FMT_YUVJ420P`: the first plane is luma, a byte a pixel.
const YUV420P: [c_int; 2] = [0, 12];
/// Bytes of a pixel of the packed formats that are read.
const PACKED_BYTES: usize = 4;

/// The beginning of an `AVPacket`.
#[repr(C)]
pub(crate) struct Packet {
    _buffer: *mut c_void,
    /// Presentation time, in the stream's unit.
    pub(crate) pts: i64,
}

/// The beginning of an `AVFrame`.
#[repr(C)]
pub(crate) struct Frame {
    planes: [*mut u8; 8],
    strides: [c_int; 8],
    _extended_planes: *mut *mut u8,
    width: c_int,
    height: c_int,
    _samples: c_int,
    format: c_int,
    _is_key: c_int,
    _picture_type: c_int,
    _pixel_aspect: [c_int; 2],
    /// Presentation time, in the stream's unit.
    pub(crate) pts: i64,
}

impl Frame {
    /// Its strip; `None` where there is none that can be read.
    ///
    /// # Safety
    /// It is as a decoder of [`AVUTIL`] has made it, and nobody changes it meanwhile.
    pub(crate) unsafe fn strip(&self) -> Option<Strip> {
        if !YUV420P.contains(&self.format) {
            return None;
        }
        // SAFETY: a frame of this format has rows of `width` bytes, `strides[0]` from each other.
        let luma = unsafe { plane(self.planes[0], self.strides[0], self.width, self.height) };
        Strip::read(Place::Bottom, luma?)
    }
}

/// Rows of `width` bytes; `None` where there are none, or where they run upwards.
///
/// # Safety
/// `data` is null or has `height` rows of `width` bytes, `stride` bytes from each other, which nobody changes as long as the plane is there.
pub(crate) unsafe fn plane<'a>(
    data: *const u8,
    stride: c_int,
    width: c_int,
    height: c_int,
) -> Option<Plane<'a>> {
    let (stride, width) = (usize::try_from(stride).ok()?, usize::try_from(width).ok()?);
    let height = usize::try_from(height).ok()?;
    if data.is_null() || stride < width {
        return None;
    }
    let length = stride.checked_mul(height.checked_sub(1)?)?;
    let length = length.checked_add(width)?;
    // SAFETY: from the first row's begin to the last row's end, as the caller says.
    let data = unsafe { std::slice::from_raw_parts(data, length) };
    Some(Plane {
        data,
        stride,
        width,
        height,
    })
}

/// Whether a format of SDL has whole bytes for each colour, and four for a pixel (`SDL_PIXELTYPE_PACKED32`).
pub(crate) const fn is_packed(format: u32) -> bool {
    format >> 24 == 0x16 && format & 0xff == PACKED_BYTES as u32
}

/// The strip of a picture of four bytes a pixel, the plane's width being in bytes.
pub(crate) fn packed_strip(bytes: Plane<'_>) -> Option<Strip> {
    let width = bytes.width / PACKED_BYTES;
    let rows = Place::Bottom.rows(width, bytes.height)?;
    let height = rows.len();
    let mut grey = Vec::with_capacity(width * height);
    for y in rows {
        let row = bytes.data.get(y * bytes.stride..)?.get(..bytes.width)?;
        // The strip has no colour. The second byte is one of the three in all orders of bytes; the first or the last may be opacity.
        let pixels = row.as_chunks::<PACKED_BYTES>().0;
        grey.extend(pixels.iter().map(|pixel| pixel[1]));
    }
    let luma = Plane {
        data: &grey,
        stride: width,
        width,
        height,
    };
    Strip::read(Place::Bottom, luma)
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;
    use wire::code_strip::PlaneMut;

    const WIDTH: usize = 320;
    const HEIGHT: usize = 240;
    /// Decoders pad their rows.
    const STRIDE: usize = 384;

    fn drawn(strip: &Strip) -> Vec<u8> {
        let mut data = vec![128; STRIDE * HEIGHT];
        let mut luma = PlaneMut {
            data: &mut data,
            stride: STRIDE,
            width: WIDTH,
            height: HEIGHT,
        };
        strip.draw(&mut luma).unwrap();
        data
    }

    fn frame(luma: &mut [u8], format: c_int) -> Frame {
        let mut frame = Frame {
            planes: [null_mut(); 8],
            strides: [0; 8],
            _extended_planes: null_mut(),
            width: WIDTH as c_int,
            height: HEIGHT as c_int,
            _samples: 0,
            format,
            _is_key: 0,
            _picture_type: 0,
            _pixel_aspect: [0; 2],
            pts: 0,
        };
        frame.planes[0] = luma.as_mut_ptr();
        frame.strides[0] = STRIDE as c_int;
        frame
    }

    #[test]
    fn a_decoded_frame_is_read_by_its_luma() {
        let strip = Strip::capture(1_790_000_000_000_000, 4_711);
        let mut luma = drawn(&strip);
        for (format, expected) in [(0, Some(strip)), (12, Some(strip)), (2, None)] {
            let frame = frame(&mut luma, format);
            // SAFETY: its luma is `luma`, and that is as large as it says.
            assert_eq!(unsafe { frame.strip() }, expected, "{format}");
        }
        let mut none = frame(&mut luma, 0);
        none.planes[0] = null_mut();
        // SAFETY: it has none.
        assert_eq!(unsafe { none.strip() }, None);
    }

    #[test]
    fn a_texture_is_read_in_every_order_of_its_colours() {
        let strip = Strip::capture(1_790_000_000_000_000, 4_711);
        let luma = drawn(&strip);
        for order in [[1, 1, 1, 0], [0, 1, 1, 1]] {
            let pixel = |&grey: &u8| order.map(|part| if part == 1 { grey } else { 255 });
            let data: Vec<u8> = luma.iter().flat_map(pixel).collect();
            let bytes = Plane {
                data: &data,
                stride: STRIDE * PACKED_BYTES,
                width: WIDTH * PACKED_BYTES,
                height: HEIGHT,
            };
            assert_eq!(packed_strip(bytes), Some(strip), "{order:?}");
        }
    }

    #[test]
    fn formats_of_sdl() {
        // ARGB8888, RGB888 and BGRA8888; RGB565, RGB24, IYUV.
        for format in [0x1636_2004, 0x1616_1804, 0x1686_2004] {
            assert!(is_packed(format), "{format:x}");
        }
        for format in [0x1515_1002, 0x1710_1803, 0x5655_5949] {
            assert!(!is_packed(format), "{format:x}");
        }
    }

    #[test]
    fn the_layout_is_that_of_the_headers() {
        assert_eq!(std::mem::offset_of!(Packet, pts), 8);
        assert_eq!(std::mem::offset_of!(Frame, width), 104);
        assert_eq!(std::mem::offset_of!(Frame, format), 116);
        assert_eq!(std::mem::offset_of!(Frame, pts), 136);
    }
}
