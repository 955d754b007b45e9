//! Which frames are where in the player.
//!
//! ```text
//! read, sent (known by presentation time) -> decoded, drawn, presented (by code strip)
//! ```

use std::collections::VecDeque;

use record::Timestamp;
use record::raw::PlayerRow;
use wire::code_strip::{Strip, expand_time_us};

/// Packets that wait for the decoder, at most: of some nothing ever comes out of it. Two minutes of video.
const READ_MAX: usize = 4096;
/// Frames that wait for the screen, at most: far above what a player holds decoded.
const DECODED_MAX: usize = 64;

/// Frames on their way through the player.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Those that have not come out of the decoder.
    read: VecDeque<Packet>,
    /// In the order in which they are to be shown.
    decoded: VecDeque<PlayerRow>,
    /// The frame that the next present shows, by its number.
    drawn: Option<u32>,
}

/// A packet that was read.
#[derive(Debug)]
struct Packet {
    /// Presentation time, in the stream's unit.
    pts: i64,
    read_us: Timestamp,
    /// `None` while it waits for the decoder.
    sent_us: Option<Timestamp>,
}

impl Frames {
    /// A packet has come out of the demuxer. All are taken for the video's: the streams that are measured have nothing else.
    pub(crate) fn read(&mut self, pts: i64, at: Timestamp) {
        if self.read.len() == READ_MAX {
            self.read.pop_front();
        }
        self.read.push_back(Packet {
            pts,
            read_us: at,
            sent_us: None,
        });
    }

    /// A packet is given to the decoder. What was not read is of FFmpeg's look at what the stream is: it is given once more.
    pub(crate) fn sent(&mut self, pts: i64, at: Timestamp) {
        // A decoder that is full takes it at a second try: it has waited for the decoder since the first.
        let mut waiting = self.read.iter_mut().filter(|own| own.sent_us.is_none());
        if let Some(packet) = waiting.find(|own| own.pts == pts) {
            packet.sent_us = Some(at);
        }
    }

    /// A frame has come out of the decoder.
    pub(crate) fn decoded(&mut self, pts: i64, strip: Strip, at: Timestamp) {
        let is_this = |own: &Packet| own.pts == pts && own.sent_us.is_some();
        let place = self.read.iter().position(is_this);
        let packet = place.and_then(|place| self.read.remove(place));
        let Some((sent_us, read_us)) = packet.and_then(|own| Some((own.sent_us?, own.read_us)))
        else {
            return;
        };
        if self.decoded.len() == DECODED_MAX {
            self.decoded.pop_front();
        }
        self.decoded.push_back(PlayerRow {
            frame: strip.b,
            captured_us: Timestamp(expand_time_us(strip.a, at.as_micros())),
            read_us,
            sent_us,
            decoded_us: at,
            presented_us: None,
        });
    }

    /// A frame was drawn, and is not on the screen yet.
    pub(crate) const fn drawn(&mut self, strip: Strip) {
        self.drawn = Some(strip.b);
    }

    /// What was drawn was given to the screen. Its row comes last, after those of frames that it overtook: they are never shown.
    pub(crate) fn presented(&mut self, at: Timestamp) -> Vec<PlayerRow> {
        // The same picture is presented again when the window is uncovered: it counts once.
        let shown = self.drawn.take();
        let place = self.decoded.iter().position(|row| Some(row.frame) == shown);
        let Some(place) = place else {
            return Vec::new();
        };
        let mut rows: Vec<PlayerRow> = self.decoded.drain(..=place).collect();
        if let Some(row) = rows.last_mut() {
            row.presented_us = Some(at);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH_US: u64 = 1_790_000_000_000_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp(EPOCH_US + ms * 1_000)
    }

    /// Frame 7 was taken at 700 ms.
    fn strip(frame: u32) -> Strip {
        Strip::capture(at(u64::from(frame) * 100).as_micros(), frame)
    }

    #[test]
    fn a_frame_is_followed_from_packet_to_screen() {
        let mut frames = Frames::default();
        frames.read(9_000, at(710));
        frames.sent(9_000, at(712));
        frames.sent(9_000, at(713));
        frames.decoded(9_000, strip(7), at(715));
        assert!(frames.presented(at(720)).is_empty(), "nothing is drawn yet");
        frames.drawn(strip(7));
        let expected = PlayerRow {
            frame: 7,
            captured_us: at(700),
            read_us: at(710),
            sent_us: at(712),
            decoded_us: at(715),
            presented_us: Some(at(730)),
        };
        assert_eq!(frames.presented(at(730)), [expected]);
        assert!(frames.presented(at(740)).is_empty(), "counts once");
    }

    #[test]
    fn an_overtaken_frame_is_not_presented() {
        let mut frames = Frames::default();
        for frame in [1u32, 2, 3] {
            frames.read(frame.into(), at(10));
            frames.sent(frame.into(), at(11));
            frames.decoded(frame.into(), strip(frame), at(20));
        }
        frames.drawn(strip(2));
        let rows = frames.presented(at(30));
        let [first, second] = &rows[..] else {
            panic!("{rows:?}");
        };
        assert_eq!((first.frame, first.presented_us), (1, None));
        assert_eq!((second.frame, second.presented_us), (2, Some(at(30))));
        frames.drawn(strip(3));
        assert_eq!(frames.presented(at(40)).len(), 1);
    }

    #[test]
    fn packets_come_in_another_order_than_frames() {
        let mut frames = Frames::default();
        // I, P, B are read, and shown as I, B, P.
        for (pts, ms) in [(0, 1), (2, 2), (1, 3)] {
            frames.read(pts, at(ms));
            frames.sent(pts, at(8));
        }
        for pts in [0u32, 1, 2] {
            frames.decoded(pts.into(), strip(pts), at(9));
        }
        frames.drawn(strip(2));
        let rows = frames.presented(at(10));
        let read: Vec<Timestamp> = rows.iter().map(|row| row.read_us).collect();
        assert_eq!(read, [at(1), at(3), at(2)]);
    }

    #[test]
    fn what_was_decoded_before_it_was_read_is_a_look_at_the_stream() {
        let mut frames = Frames::default();
        frames.sent(5, at(0));
        frames.decoded(5, strip(5), at(1));
        frames.read(5, at(2));
        frames.sent(5, at(2));
        frames.decoded(5, strip(5), at(3));
        frames.drawn(strip(5));
        let rows = frames.presented(at(4));
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].read_us, rows[0].decoded_us), (at(2), at(3)));
    }

    #[test]
    fn what_never_comes_out_is_not_kept_for_ever() {
        let mut frames = Frames::default();
        for frame in 0..5_000u32 {
            frames.read(frame.into(), at(0));
            frames.sent(frame.into(), at(0));
        }
        for frame in 0..5_000u32 {
            frames.decoded(frame.into(), strip(frame), at(1));
        }
        assert_eq!(frames.read.len(), 0);
        assert_eq!(frames.decoded.len(), DECODED_MAX);
    }
}
