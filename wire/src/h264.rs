//! The little of H.264 that one has to know before a decoder is there.

/// A parameter set is looked for within so many bytes: it lies before the first slice.
const SEARCH_BYTES_MAX: usize = 4 << 10;
/// NAL unit type of a sequence parameter set (ITU-T H.264, table 7-1).
const SEQUENCE_PARAMETERS: u8 = 7;

/// What the sequence parameter set of a coded picture asks of a decoder, in the words of RFC 6381, section 3.3: `avc1.` and profile,
/// constraints and level in hexadecimal. `None` where the picture has none near its start, as those have that are no key pictures.
#[must_use]
pub fn codec_string(unit: &[u8]) -> Option<String> {
    let head = &unit[..unit.len().min(SEARCH_BYTES_MAX)];
    let starts = head.windows(4).enumerate();
    let mut found = starts.filter(|(_, bytes)| bytes[..3] == [0, 0, 1]);
    let (at, _) = found.find(|(_, bytes)| bytes[3] & 0x1f == SEQUENCE_PARAMETERS)?;
    let [profile, constraints, level] = *head.get(at + 4..)?.first_chunk()?;
    Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_picture_asks_for() {
        for (unit, wanted) in [
            (
                &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 9][..],
                Some("avc1.42c01e"),
            ),
            (
                // An access unit delimiter comes first.
                &[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x27, 0x64, 0, 0x28, 1][..],
                Some("avc1.640028"),
            ),
            (&[0, 0, 1, 0x65, 1, 2, 3, 4][..], None),
            (&[0, 0, 1, 0x67, 0x42, 0xc0][..], None),
            (&[0, 0, 1][..], None),
            (&[][..], None),
        ] {
            assert_eq!(codec_string(unit).as_deref(), wanted, "{unit:?}");
        }
    }
}
