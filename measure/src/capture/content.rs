//! The transport stream in a datagram.

use wire::mpegts::PACKET_BYTES;

const SYNC_BYTE: u8 = 0x47;
/// RTP header up to the list of contributing sources (RFC 3550, 5.1).
const RTP_BYTES: usize = 12;
const RTP_VERSION: u8 = 2;

/// How a transport stream is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// As it is.
    Plain,
    /// In RTP.
    Rtp,
}

/// The whole packets of MPEG-TS that a datagram holds, bare or in RTP; `None` if it holds anything else.
#[must_use]
pub fn transport_stream(datagram: &[u8]) -> Option<(Carrier, &[u8])> {
    if is_transport_stream(datagram) {
        return Some((Carrier::Plain, datagram));
    }
    let payload = rtp_payload(datagram)?;
    is_transport_stream(payload).then_some((Carrier::Rtp, payload))
}

fn is_transport_stream(bytes: &[u8]) -> bool {
    let (packets, rest) = bytes.as_chunks::<PACKET_BYTES>();
    let is_packet = |packet: &[u8; PACKET_BYTES]| packet[0] == SYNC_BYTE;
    !packets.is_empty() && rest.is_empty() && packets.iter().all(is_packet)
}

/// RFC 3550, 5.1 and 5.3.1; of any payload type, since 33 is only the usual one.
fn rtp_payload(datagram: &[u8]) -> Option<&[u8]> {
    let (header, after) = datagram.split_first_chunk::<RTP_BYTES>()?;
    let (has_padding, has_extension) = (header[0] & 0x20 != 0, header[0] & 0x10 != 0);
    let sources = usize::from(header[0] & 0x0f);
    if header[0] >> 6 != RTP_VERSION {
        return None;
    }
    let mut payload = after.get(sources * 4..)?;
    if has_extension {
        let (&[_, _, hi, lo], rest) = payload.split_first_chunk::<4>()?;
        payload = rest.get(usize::from(u16::from_be_bytes([hi, lo])) * 4..)?;
    }
    let padding = if has_padding {
        usize::from(*payload.last()?)
    } else {
        0
    };
    payload.get(..payload.len().checked_sub(padding)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(count: usize) -> Vec<u8> {
        let packet = [&[SYNC_BYTE][..], &[0; PACKET_BYTES - 1]].concat();
        packet.repeat(count)
    }

    fn check(header: &[u8], padding: &[u8], expected: Option<Carrier>) {
        let stream = packets(2);
        let datagram = [header, &stream, padding].concat();
        let found = transport_stream(&datagram);
        assert_eq!(found.map(|(carrier, _)| carrier), expected, "{header:?}");
        assert!(found.is_none_or(|(_, found)| found == stream));
    }

    #[test]
    fn bare_and_in_rtp() {
        check(&[], &[], Some(Carrier::Plain));
        check(
            &[0x80, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9],
            &[],
            Some(Carrier::Rtp),
        );
        let with_source = [0x81, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4];
        check(&with_source, &[], Some(Carrier::Rtp));
        let with_extension = [
            0x90, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 7, 7, 0, 1, 1, 2, 3, 4,
        ];
        check(&with_extension, &[], Some(Carrier::Rtp));
        check(
            &[0xa0, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9],
            &[0, 2],
            Some(Carrier::Rtp),
        );
    }

    #[test]
    fn anything_else() {
        check(&[0x40, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9], &[], None);
        check(&[0], &[], None);
        check(&[], &[0], None);
        check(&[0xa0, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9], &[255; 2], None);
        for datagram in [
            &[][..],
            &[0x80; 12],
            &[0x8f; 30],
            &[0x90; 13],
            &packets(1)[..187],
        ] {
            assert_eq!(transport_stream(datagram), None);
        }
        let mut without_sync = packets(3);
        without_sync[PACKET_BYTES] = 0;
        assert_eq!(transport_stream(&without_sync), None);
    }
}
