//! What kind of picture a coded picture is.

use super::VideoCodec;

/// A start code is looked for within so many bytes: before the first slice lie headers of some hundred bytes.
const SEARCH_BYTES_MAX: usize = 4 << 10;
const MPEG2_SEQUENCE_HEADER: [u8; 4] = [0, 0, 1, 0xb3];
const MPEG2_GROUP_HEADER: u8 = 0xb8;
const MPEG2_PICTURE_HEADER: u8 = 0x00;
/// NAL unit types of H.264 (ITU-T H.264, table 7-1) that begin with a slice header.
const H264_SLICE: u8 = 1;
const H264_PARTITION_A: u8 = 2;
const H264_SLICE_OF_KEY_PICTURE: u8 = 5;

/// Which pictures a coded picture refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PictureKind {
    /// Intra-coded: no other.
    I,
    /// Predicted: earlier ones.
    P,
    /// Bi-predicted: earlier and later ones.
    B,
}

impl PictureKind {
    /// Reads the kind from the first picture header (MPEG-2) or slice header (H.264); `None` when there is none near the
    /// start, or it says a kind that does not exist.
    ///
    /// An H.264 picture may mix kinds of slices; its first slice speaks for it.
    #[must_use]
    pub fn of(codec: VideoCodec, unit: &[u8]) -> Option<Self> {
        let is_header = |code: u8| match codec {
            VideoCodec::Mpeg2 => code == MPEG2_PICTURE_HEADER,
            VideoCodec::H264 => matches!(
                code & 0x1f,
                H264_SLICE | H264_PARTITION_A | H264_SLICE_OF_KEY_PICTURE
            ),
        };
        let (_, header) = start_codes(unit).find(|(code, _)| is_header(*code))?;
        match codec {
            VideoCodec::Mpeg2 => mpeg2_kind(header),
            VideoCodec::H264 => h264_kind(header),
        }
    }
}

/// When an MPEG-2 picture is shown (ISO/IEC 13818-2, 6.3.9): pictures are coded in another order if there are B-pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemporalReference {
    /// Of its group of pictures the first that is shown has 0; modulo 1024.
    pub number: u16,
    /// A group of pictures begins with it.
    pub begins_group: bool,
}

impl TemporalReference {
    /// Numbers begin again at 0 where this one would be.
    pub const MODULUS: u16 = 1024;

    /// Reads it from the first picture header; `None` when there is none near the start.
    #[must_use]
    pub fn of(unit: &[u8]) -> Option<Self> {
        let mut begins_group = false;
        for (code, after) in start_codes(unit) {
            match code {
                MPEG2_GROUP_HEADER => begins_group = true,
                MPEG2_PICTURE_HEADER => {
                    let (&header, _) = after.split_first_chunk::<2>()?;
                    return Some(Self {
                        number: u16::from_be_bytes(header) >> 6,
                        begins_group,
                    });
                }
                _ => {}
            }
        }
        None
    }
}

/// What the start codes near the start of a picture say, each with the bytes after it.
fn start_codes(unit: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = &unit[..unit.len().min(SEARCH_BYTES_MAX)];
    std::iter::from_fn(move || {
        let at = rest.windows(3).position(|bytes| bytes == [0, 0, 1])?;
        rest = &rest[at + 3..];
        let (&code, after) = rest.split_first()?;
        Some((code, after))
    })
}

/// Whether a decoder can begin with a coded picture: it comes with a sequence header (MPEG-2), or clears the decoder (H.264).
pub(super) fn stands_alone(codec: VideoCodec, unit: &[u8]) -> bool {
    match codec {
        VideoCodec::Mpeg2 => unit.starts_with(&MPEG2_SEQUENCE_HEADER),
        VideoCodec::H264 => {
            let head = &unit[..unit.len().min(SEARCH_BYTES_MAX)];
            head.windows(4).any(|code| {
                code.starts_with(&[0, 0, 1]) && code[3] & 0x1f == H264_SLICE_OF_KEY_PICTURE
            })
        }
    }
}

/// ISO/IEC 13818-2, 6.2.3: ten bits of temporal reference, three bits of picture coding type.
fn mpeg2_kind(header: &[u8]) -> Option<PictureKind> {
    match (header.get(1)? >> 3) & 7 {
        1 => Some(PictureKind::I),
        2 => Some(PictureKind::P),
        3 => Some(PictureKind::B),
        _ => None,
    }
}

/// ITU-T H.264, 7.3.3: first macroblock and slice type, each an Exp-Golomb code. Bytes that prevent start codes can only
/// follow two zero bytes, which is longer than both codes together in any picture of less than 2^15 macroblocks.
fn h264_kind(header: &[u8]) -> Option<PictureKind> {
    let mut bits = header
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let _first_macroblock = exp_golomb(&mut bits)?;
    match exp_golomb(&mut bits)? {
        2 | 4 | 7 | 9 => Some(PictureKind::I),
        0 | 3 | 5 | 8 => Some(PictureKind::P),
        1 | 6 => Some(PictureKind::B),
        _ => None,
    }
}

fn exp_golomb(bits: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut zeros = 0;
    while bits.next()? == 0 {
        zeros += 1;
    }
    if zeros > 31 {
        return None;
    }
    let mut code = 1_u64;
    for _ in 0..zeros {
        code = code << 1 | u64::from(bits.next()?);
    }
    u32::try_from(code - 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(codec: VideoCodec, unit: &[u8], expected: Option<PictureKind>) {
        assert_eq!(PictureKind::of(codec, unit), expected, "{unit:02x?}");
    }

    #[test]
    fn the_picture_header_of_mpeg2_says_the_kind() {
        let sequence_header = [0, 0, 1, 0xb3, 0x16, 0x01, 0x20, 0x13];
        for (code, kind) in [
            (1, PictureKind::I),
            (2, PictureKind::P),
            (3, PictureKind::B),
        ] {
            let picture = [0, 0, 1, 0, 0xff, 0xc0 | code << 3, 0xff];
            check(VideoCodec::Mpeg2, &picture, Some(kind));
            let unit = [&sequence_header[..], &picture].concat();
            check(VideoCodec::Mpeg2, &unit, Some(kind));
        }
        check(VideoCodec::Mpeg2, &[0, 0, 1, 0, 0xff, 0x00], None);
        check(VideoCodec::Mpeg2, &[0, 0, 1, 0, 0xff], None);
        check(VideoCodec::Mpeg2, &sequence_header, None);
        check(VideoCodec::Mpeg2, &[], None);
    }

    #[test]
    fn the_temporal_reference_of_mpeg2() {
        let (sequence, group) = ([0, 0, 1, 0xb3, 0x16], [0, 0, 1, 0xb8, 0, 0x08, 0, 0x40]);
        let picture = [0, 0, 1, 0, 0b1000_0000, 0b1100_1000];
        let of = |parts: &[&[u8]]| TemporalReference::of(&parts.concat());
        let expected = |begins_group| TemporalReference {
            number: 0b10_0000_0011,
            begins_group,
        };
        assert_eq!(of(&[&picture]), Some(expected(false)));
        assert_eq!(of(&[&sequence, &picture]), Some(expected(false)));
        assert_eq!(of(&[&sequence, &group, &picture]), Some(expected(true)));
        assert_eq!(of(&[&sequence, &picture[..5]]), None);
        assert_eq!(of(&[&group]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_picture_of_h264_that_clears_the_decoder_stands_alone() {
        let delimiter = [0, 0, 0, 1, 0x09, 0x10];
        for (header, expected) in [(0x65, true), (0x25, true), (0x41, false), (0x67, false)] {
            let unit = [&delimiter[..], &[0, 0, 1, header, 0x88]].concat();
            assert_eq!(
                stands_alone(VideoCodec::H264, &unit),
                expected,
                "{header:x}"
            );
        }
    }

    #[test]
    fn the_first_slice_of_h264_says_the_kind() {
        let delimiter = [0, 0, 0, 1, 0x09, 0xf0];
        // First macroblock 0 is the bit 1; slice types 7, 5, 6 and 2 are 0001000, 00110, 00111 and 011.
        for (byte, kind) in [
            (0b1000_1000, PictureKind::I),
            (0b1001_1000, PictureKind::P),
            (0b1001_1100, PictureKind::B),
            (0b1011_0000, PictureKind::I),
            (0b1100_0000, PictureKind::P),
        ] {
            let unit = [&delimiter[..], &[0, 0, 1, 0x41, byte, 0]].concat();
            check(VideoCodec::H264, &unit, Some(kind));
        }
        check(
            VideoCodec::H264,
            &[0, 0, 1, 0x65, 0b1000_1000, 0x80],
            Some(PictureKind::I),
        );
        check(VideoCodec::H264, &[0, 0, 1, 0x65], None);
        check(VideoCodec::H264, &[0, 0, 1, 0x65, 0, 0, 0, 0, 0, 0], None);
        check(VideoCodec::H264, &delimiter, None);
    }
}
