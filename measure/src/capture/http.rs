//! The body of an HTTP/1 message in a byte stream, without its chunks (RFC 9112, 7.1).

/// A longer head is none.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How a response, and a request that carries a body, begin.
const BEGINNINGS: [&[u8]; 3] = [b"HTTP/1.", b"POST ", b"PUT "];
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Digits of a chunk's size that are looked for where nobody said that there are chunks.
const DIGITS_MAX: usize = 8;

/// Takes the framing of HTTP off a stream. What is no HTTP, or breaks its rules, comes out as it is; a capture that begins in the middle of
/// a message finds its way at the next chunk.
///
/// ```text
/// Head ──> Plain                                 a body without chunks
///   ├────> Size ──> Data ──> End ──> Size …      ──> Head after the last chunk
///   └────> Lost ──> Data …                       no head: no HTTP, or in the middle of a body
/// ```
#[derive(Debug)]
pub enum Body {
    /// What came of a head, or of what may become one.
    Head(Vec<u8>),
    /// Everything comes out.
    Plain,
    /// Everything comes out until a line is met that has to be that with the size of a chunk; held is what may become it.
    Lost(Vec<u8>),
    /// In the line with the size of a chunk.
    Size(SizeLine),
    /// Within a chunk of which so many bytes are left.
    Data(u64),
    /// In the line end behind a chunk.
    End {
        /// What is left of it.
        rest: &'static [u8],
        /// What follows it.
        then: After,
    },
}

/// The line with the size of a chunk, as far as it came.
#[derive(Debug, Default)]
pub struct SizeLine {
    size: Option<u64>,
    /// What follows the size is for others.
    is_over: bool,
}

/// What follows a chunk.
#[derive(Clone, Copy, Debug)]
pub enum After {
    /// Another chunk.
    Chunk,
    /// Another message: the chunk was the last.
    Message,
}

impl Default for Body {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

impl Body {
    /// Takes bytes as they come and appends those of the body to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some((&byte, after)) = bytes.split_first() {
            match self {
                Self::Plain => return out.extend_from_slice(bytes),
                Self::Lost(held) if held.is_empty() => {
                    let plain = bytes.iter().position(|byte| *byte == b'\r');
                    let (plain, rest) = bytes.split_at(plain.unwrap_or(bytes.len()));
                    out.extend_from_slice(plain);
                    held.extend(rest.first());
                    bytes = rest.get(1..).unwrap_or_default();
                }
                Self::Lost(held) => {
                    held.push(byte);
                    match beginning_of_chunk(held) {
                        Some(None) => bytes = after,
                        Some(Some(size)) => {
                            *self = Self::Data(size);
                            bytes = after;
                        }
                        // This byte may begin another.
                        None => {
                            held.pop();
                            out.append(held);
                        }
                    }
                }
                Self::Head(head) => {
                    let held = head.len();
                    let taken = bytes.len().min(HEAD_BYTES_MAX + 1 - held);
                    let so_far = if held == 0 {
                        &bytes[..taken]
                    } else {
                        head.extend_from_slice(&bytes[..taken]);
                        &*head
                    };
                    match Self::after_head(so_far) {
                        Some((next, 0)) => {
                            let begun = std::mem::take(head);
                            *self = next;
                            if held > 0 {
                                self.push(&begun, out);
                                bytes = &bytes[taken..];
                            }
                        }
                        Some((next, head_bytes)) => {
                            *self = next;
                            bytes = &bytes[head_bytes - held..];
                        }
                        None if held == 0 => return head.extend_from_slice(bytes),
                        None => return,
                    }
                }
                Self::Data(left) => {
                    let now = bytes
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let (data, rest) = bytes.split_at(now);
                    out.extend_from_slice(data);
                    self.pass(now as u64);
                    bytes = rest;
                }
                Self::Size(line) => {
                    *self = line.next(byte);
                    bytes = if matches!(self, Self::Lost(_)) {
                        bytes
                    } else {
                        after
                    };
                }
                Self::End { rest, then } => match (rest.split_first(), *then) {
                    (Some((expected, [])), After::Chunk) if *expected == byte => {
                        *self = Self::Size(SizeLine::default());
                        bytes = after;
                    }
                    (Some((expected, [])), After::Message) if *expected == byte => {
                        *self = Self::default();
                        bytes = after;
                    }
                    (Some((expected, more)), _) if *expected == byte => {
                        *rest = more;
                        bytes = after;
                    }
                    _ => *self = Self::lost(),
                },
            }
        }
    }

    /// So many bytes of the stream will never come.
    pub fn skip(&mut self, bytes: u64) {
        match self {
            Self::Data(left) if bytes < *left => *left -= bytes,
            Self::Plain => {}
            _ => *self = Self::lost(),
        }
    }

    const fn lost() -> Self {
        Self::Lost(Vec::new())
    }

    /// So many bytes of a chunk are over.
    fn pass(&mut self, bytes: u64) {
        if let Self::Data(left) = self {
            *left -= bytes;
            if *left == 0 {
                *self = Self::End {
                    rest: b"\r\n",
                    then: After::Chunk,
                };
            }
        }
    }

    /// What follows a head, and how long it is; `None` while it may go on.
    fn after_head(head: &[u8]) -> Option<(Self, usize)> {
        let may_be = |beginning: &&[u8]| head.starts_with(beginning) || beginning.starts_with(head);
        if !BEGINNINGS.iter().any(may_be) {
            return Some((Self::lost(), 0));
        }
        let end = head
            .windows(HEAD_END.len())
            .position(|bytes| bytes == HEAD_END);
        let Some(end) = end else {
            return (head.len() > HEAD_BYTES_MAX).then_some((Self::lost(), 0));
        };
        let lines = head[..end].split(|byte| *byte == b'\n');
        let is_chunked = lines.skip(1).any(|line| {
            let line = String::from_utf8_lossy(line).to_ascii_lowercase();
            let field = line.split_once(':');
            field.is_some_and(|(name, value)| {
                name == "transfer-encoding" && value.contains("chunked")
            })
        });
        let body = if is_chunked {
            Self::Size(SizeLine::default())
        } else {
            Self::Plain
        };
        Some((body, end + HEAD_END.len()))
    }
}

impl SizeLine {
    /// What a stream is in after the next byte of this line.
    fn next(&mut self, byte: u8) -> Body {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        match (byte, digit, self.size) {
            (b'\n', _, Some(0)) => Body::End {
                rest: b"\r\n",
                then: After::Message,
            },
            (b'\n', _, Some(size)) => Body::Data(size),
            (b'\n', _, None) => Body::lost(),
            (_, Some(digit), size) if !self.is_over => {
                let size = size.unwrap_or(0).checked_mul(16).map(|size| size | digit);
                size.map_or_else(Body::lost, |size| {
                    Body::Size(Self {
                        size: Some(size),
                        is_over: false,
                    })
                })
            }
            (b'\r' | b';' | b' ' | b'\t', _, Some(_)) => Body::Size(Self {
                size: self.size,
                is_over: true,
            }),
            _ if self.is_over => Body::Size(std::mem::take(self)),
            _ => Body::lost(),
        }
    }
}

/// What may be the end of a chunk and the line of the next, `\r\n1A2\r\n`: its size once it is whole, `None` when it cannot be one. Five
/// bytes and more that have to be what they are: in a video of a terabyte there are some by chance, and they cost a packet each.
fn beginning_of_chunk(bytes: &[u8]) -> Option<Option<u64>> {
    let Some(rest) = bytes.strip_prefix(b"\r\n") else {
        return (bytes == b"\r").then_some(None);
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, end) = rest.split_at(digits.count());
    if digits.len() > DIGITS_MAX {
        return None;
    }
    match (digits, end) {
        (_, b"") | ([_, ..], b"\r") => Some(None),
        ([_, ..], b"\r\n") => {
            let text = std::str::from_utf8(digits).ok()?;
            let size = u64::from_str_radix(text, 16).ok()?;
            (size > 0).then_some(Some(size))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stream: &str, expected: &str) {
        for piece in [1, 3, 1000] {
            let (mut body, mut out) = (Body::default(), Vec::new());
            for bytes in stream.as_bytes().chunks(piece) {
                body.push(bytes, &mut out);
            }
            let found = String::from_utf8(out).unwrap();
            assert_eq!(found, expected, "{stream:?} in pieces of {piece}");
        }
    }

    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn chunks_are_put_together() {
        check(
            &format!("{CHUNKED}5\r\nhello\r\n1\r\n \r\n0005;x=\"1\"\r\nworld\r\n"),
            "hello world",
        );
        check(
            "PUT /robot HTTP/1.1\r\ntransfer-encoding:Chunked\r\n\r\nA\r\n0123456789\r\n",
            "0123456789",
        );
        let again = format!("{CHUNKED}1\r\na\r\n0\r\n\r\n{CHUNKED}2\r\nbc\r\n");
        check(&again, "abc");
    }

    #[test]
    fn what_has_no_chunks_is_left_as_it_is() {
        check("HTTP/1.0 200 OK\r\n\r\nhello", "hello");
        check("hello", "hello");
        check("Pope", "Pope");
        check("GET / HTTP/1.1\r\n\r\nx", "GET / HTTP/1.1\r\n\r\nx");
        check("HTTP/1.1 200 OK\r\nContent", "");
        let long = format!("POST {}", "x".repeat(HEAD_BYTES_MAX));
        check(&long, &long);
    }

    #[test]
    fn many_messages_in_one_piece() {
        let empty = "PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        let stream = format!("{}{CHUNKED}1\r\na\r\n", empty.repeat(20_000));
        let (mut body, mut out) = (Body::default(), Vec::new());
        body.push(stream.as_bytes(), &mut out);
        assert_eq!(out, b"a");
    }

    #[test]
    fn the_middle_of_a_message_finds_its_way_at_the_next_chunk() {
        check(
            "llo\r\n1\r\n \r\n0005\r\nworld\r\nB\r\nand so on..",
            "llo worldand so on..",
        );
        check("a\r\r\n2\r\nbc\r\n1", "a\rbc");
        let plain = "a\r\nx\r\n\r\n12 \r\n123456789\r\n0\r\nc";
        check(plain, plain);
        // By chance: the next byte that is no end of a chunk says so.
        check("a\r\n2\r\nbcdef\r\n1\r\ng\r\n", "abcdefg");
    }

    #[test]
    fn what_breaks_the_rules_comes_out() {
        check(&format!("{CHUNKED}xy"), "xy");
        check(&format!("{CHUNKED}\r\nhello"), "\r\nhello");
        check(&format!("{CHUNKED}1\r\naxy"), "axy");
        check(&format!("{CHUNKED}11111111111111111\r\nx"), "1\r\nx");
    }

    #[test]
    fn what_is_missing_within_a_chunk_does_not_end_it() {
        let (mut body, mut out) = (Body::default(), Vec::new());
        body.push(format!("{CHUNKED}5\r\nab").as_bytes(), &mut out);
        body.skip(2);
        body.push(b"e\r\n1\r\nf\r\n", &mut out);
        assert_eq!(out, b"abef");
        // Beyond its end nobody knows where the next begins.
        body.push(b"2\r\ng", &mut out);
        body.skip(3);
        body.push(b"\r\nxy", &mut out);
        assert_eq!(out, b"abefg\r\nxy");
    }
}
