//! A stream for the page in a browser: one WebSocket message for each coded picture, as soon as it is whole.
//!
//! ```text
//! to the browser, binary, big endian:
//!     0      1      2          10         18
//!     | 1    | flags| pts      | sent     | H.264 with start codes (Annex B) …
//!     version       90 kHz     µs since 1970, by the server's clock
//!     flags: 1 a decoder can begin here, 2 parts of it were lost, 4 pictures before it were lost
//! to the browser, text:
//!     {"type":"config","codec":"avc1.42c01e"}        before the first picture that needs it
//!     {"type":"unsupported","codec":"MPEG-2"}        no browser decodes it, or this server does not read it
//!     {"type":"pong","id":7,"time_us":…}             the server's clock when a ping came
//!     {"type":"report"}                              once, at first: say each second what is seen
//! from the browser, text (`asked.rs`):
//!     {"type":"ping","id":7}
//!     {"type":"report","span_ms":1000.2,"frames":30,"freezes":0,"picture_age_ms":{"median":9.1,"p95":11.5,"max":40},
//!      "frame_interval_ms":{…}}
//! ```
//! A browser that is too slow is a viewer that is too slow: it loses whole groups of pictures. What it says and is not understood is
//! counted, and changes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{SinkExt, StreamExt};
use hyper_tungstenite::HyperWebsocketStream;
use hyper_tungstenite::tungstenite::protocol::WebSocketConfig;
use hyper_tungstenite::tungstenite::{Bytes, Message};
use record::Timestamp;
use serde::Serialize;
use wire::h264::codec_string;
use wire::mpegts::{AccessUnit, Reader, VideoCodec};

use super::Server;
use super::asked::Asked;
use super::audience::Page;
use super::viewer::Viewer;

const VERSION: u8 = 1;
const KEY: u8 = 1;
const DAMAGED: u8 = 2;
const LOST_BEFORE: u8 = 4;
/// Bytes before the coded picture.
const HEAD_BYTES: usize = 18;
/// A browser has little to say.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// What a browser may send, and that nothing waits here to be sent.
pub(super) fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .write_buffer_size(0)
}

/// What is said to the browser beside pictures.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said<'a> {
    Config { codec: &'a str },
    Unsupported { codec: &'a str },
    Pong { id: u32, time_us: u64 },
    Report,
}

/// Feeds a browser until it has gone, takes nothing, or says nothing for too long. `page`: whom it tells what it sees.
pub(super) async fn run(
    server: &Arc<Server>,
    mut viewer: Viewer,
    mut page: Option<Page>,
    mut socket: HyperWebsocketStream,
) {
    let idle = server.config.limits.idle;
    let mut feed = Feed::default();
    let mut heard = tokio::time::Instant::now();
    let asks = page.is_some().then_some(Said::Report);
    let mut messages: Vec<_> = asks.iter().filter_map(text_message).collect();
    loop {
        for message in messages {
            match tokio::time::timeout(idle, socket.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    server.counters.timed_out.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
        messages = tokio::select! {
            bytes = viewer.next() => match bytes {
                Some(bytes) => feed.messages(&bytes, Timestamp::now()),
                None => return,
            },
            asked = socket.next() => {
                heard = tokio::time::Instant::now();
                match asked {
                    Some(Ok(Message::Text(text))) => hear(server, page.as_mut(), &text),
                    // Pings and pongs of the protocol are answered below us.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => Vec::new(),
                    _ => return,
                }
            }
            () = tokio::time::sleep_until(heard + idle) => {
                server.counters.timed_out.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
    }
}

/// What is answered to what a browser says.
fn hear(server: &Server, page: Option<&mut Page>, text: &str) -> Vec<Message> {
    let now = Timestamp::now();
    let is_understood = match serde_json::from_str(text) {
        Ok(Asked::Ping { id }) => {
            let time_us = now.as_micros();
            return text_message(&Said::Pong { id, time_us })
                .into_iter()
                .collect();
        }
        // Of a page that was not asked nothing is wanted.
        Ok(Asked::Report(seen)) => page.is_none_or(|page| page.hear(seen, now).is_ok()),
        Err(_) => false,
    };
    if !is_understood {
        server.counters.nonsense.fetch_add(1, Ordering::Relaxed);
    }
    Vec::new()
}

fn text_message(said: &Said<'_>) -> Option<Message> {
    // Strings and numbers: they always become JSON.
    let text = serde_json::to_string(said).ok()?;
    Some(Message::text(text))
}

/// Packets to messages.
#[derive(Debug, Default)]
struct Feed {
    reader: Reader,
    /// What the browser was told last.
    codec: Option<String>,
}

impl Feed {
    /// What these packets make whole.
    fn messages(&mut self, bytes: &[u8], now: Timestamp) -> Vec<Message> {
        let mut messages = Vec::new();
        for unit in self.reader.push(bytes) {
            match unit.codec {
                VideoCodec::Mpeg2 => messages.extend(self.refuse("MPEG-2")),
                VideoCodec::H264 => {
                    if let Some(codec) = codec_string(&unit.data) {
                        // Said before every key picture of another kind: of another publisher, or another size.
                        if self.codec.as_ref() != Some(&codec) {
                            messages.extend(text_message(&Said::Config { codec: &codec }));
                            self.codec = Some(codec);
                        }
                    }
                    messages.push(picture(&unit, now));
                }
            }
        }
        // Of such video no picture is ever whole.
        if let Some(video) = self.reader.foreign_video() {
            messages.extend(self.refuse(&video.to_string()));
        }
        messages
    }

    /// Says once that this is not played.
    fn refuse(&mut self, codec: &str) -> Option<Message> {
        if self.codec.as_deref() == Some(codec) {
            return None;
        }
        self.codec = Some(codec.to_owned());
        text_message(&Said::Unsupported { codec })
    }
}

fn picture(unit: &AccessUnit, now: Timestamp) -> Message {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    // Encoders other than ours mark key pictures in the transport stream, or not.
    let is_key = unit.random_access || codec_string(&unit.data).is_some();
    let flags =
        flag(is_key, KEY) | flag(unit.damaged, DAMAGED) | flag(unit.lost_before, LOST_BEFORE);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + unit.data.len());
    bytes.extend([VERSION, flags]);
    bytes.extend(unit.pts.unwrap_or_default().to_be_bytes());
    bytes.extend(now.as_micros().to_be_bytes());
    bytes.extend(&unit.data);
    Message::Binary(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::mpegts::{UnitKind, Writer};

    const PARAMETERS: [u8; 8] = [0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e];

    fn packets(writer: &mut Writer, data: &[u8], kind: UnitKind) -> Vec<u8> {
        let mut bytes = Vec::new();
        writer.write(data, 9_000, kind, &mut bytes);
        bytes
    }

    #[test]
    fn a_picture_is_a_message_behind_what_it_needs() {
        let mut writer = Writer::new(VideoCodec::H264);
        let mut feed = Feed::default();
        let key = [&PARAMETERS[..], &[0, 0, 1, 0x65, 1, 2]].concat();
        let now = Timestamp(77);
        let messages = feed.messages(&packets(&mut writer, &key, UnitKind::Key), now);
        let [Message::Text(config), Message::Binary(bytes)] = messages.as_slice() else {
            panic!("{messages:?}");
        };
        assert_eq!(
            config.as_str(),
            r#"{"type":"config","codec":"avc1.42c01e"}"#
        );
        assert_eq!(bytes[..2], [VERSION, KEY]);
        assert_eq!(bytes[2..10], 9_000_u64.to_be_bytes());
        assert_eq!(bytes[10..18], 77_u64.to_be_bytes());
        assert_eq!(bytes[HEAD_BYTES..], key);
        // The next needs nothing new.
        let next = packets(&mut writer, &[0, 0, 1, 0x41, 9], UnitKind::Predicted);
        let messages = feed.messages(&next, now);
        let [Message::Binary(bytes)] = messages.as_slice() else {
            panic!("{messages:?}");
        };
        assert_eq!(bytes[1] & KEY, 0);
    }

    #[test]
    fn mpeg_2_is_refused_once() {
        let mut writer = Writer::new(VideoCodec::Mpeg2);
        let mut feed = Feed::default();
        let unit = [0, 0, 1, 0xb3, 0, 0, 1, 0, 0, 8];
        let mut all = Vec::new();
        for _ in 0..3 {
            let bytes = packets(&mut writer, &unit, UnitKind::Key);
            all.extend(feed.messages(&bytes, Timestamp(0)));
        }
        let wanted = r#"{"type":"unsupported","codec":"MPEG-2"}"#;
        assert_eq!(all, [Message::text(wanted)]);
    }

    #[test]
    fn video_that_is_not_known_is_refused_by_its_name_until_another_comes() {
        let mut writer = Writer::new(VideoCodec::H264);
        let key = [&PARAMETERS[..], &[0, 0, 1, 0x65, 1, 2]].concat();
        let mut feed = Feed::default();
        let good = packets(&mut writer, &key, UnitKind::Key);
        assert_eq!(feed.messages(&good, Timestamp(0)).len(), 2);
        // The same programme, with a map that says H.265.
        let map = [
            0, 0x02, 0xb0, 0x12, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0x24, 0xe1, 0, 0xf0, 0, 0x2f,
            0, 0x6e, 0xe7,
        ];
        let mut foreign = vec![0x47, 0x50, 0x00, 0x11];
        foreign.extend(map);
        foreign.resize(wire::mpegts::PACKET_BYTES, 0xff);
        let wanted = r#"{"type":"unsupported","codec":"H.265 (stream type 0x24)"}"#;
        let said = feed.messages(&foreign, Timestamp(0));
        assert_eq!(said, [Message::text(wanted)]);
        assert!(feed.messages(&foreign, Timestamp(0)).is_empty());
        let good = packets(&mut writer, &key, UnitKind::Key);
        assert_eq!(feed.messages(&good, Timestamp(0)).len(), 2);
    }

    /// Whatever a stream has in it, a browser gets messages of the form that it expects, and no more than came.
    #[test]
    fn fuzz_what_a_browser_is_fed() {
        let check = bolero::check!().with_max_len(16 << 10);
        check.for_each(|bytes: &[u8]| {
            let mut feed = Feed::default();
            let mut stream = packets(&mut Writer::new(VideoCodec::H264), &[1], UnitKind::Key);
            for inside in bytes.chunks(60) {
                // Of the video, its map, or the PAT; everything else as it comes.
                let pid = [[0x41, 0x00], [0x01, 0x00], [0x50, 0x00], [0x40, 0x00]]
                    [usize::from(inside[0]) % 4];
                let end = stream.len() + wire::mpegts::PACKET_BYTES;
                stream.extend([0x47, pid[0], pid[1]]);
                stream.extend(inside);
                stream.resize(end, inside[0]);
            }
            stream.extend(bytes);
            let mut fed = 0;
            for piece in stream.chunks(1316) {
                for message in feed.messages(piece, Timestamp(7)) {
                    match message {
                        Message::Binary(picture) => {
                            assert!(picture.len() > HEAD_BYTES && picture[0] == VERSION);
                            fed += picture.len() - HEAD_BYTES;
                        }
                        Message::Text(text) => {
                            let said: serde_json::Value = serde_json::from_str(&text).unwrap();
                            assert!(said["codec"].is_string(), "{text}");
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert!(fed <= stream.len());
        });
    }
}
