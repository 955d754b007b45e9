//! The answer of an HTTP/1.1 server, taken apart: head, and chunks of the body. No IO; fuzzed in `tests/fuzz.rs`.

use std::io;

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// Longest chunk taken on trust; it is passed on piece by piece.
const CHUNK_BYTES_MAX: u64 = 1 << 30;
/// Longest line with the size of a chunk.
const LINE_BYTES_MAX: usize = 1 << 10;

/// Why an answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not 200.
    #[error("the server answers {code} {reason}")]
    Status {
        /// Number.
        code: u16,
        /// What it says to it.
        reason: String,
    },
    /// Not HTTP.
    #[error("the answer is not HTTP")]
    Malformed(#[source] httparse::Error),
    /// No end of the head.
    #[error("the head of the answer is longer than {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    /// The body's chunks do not fit together.
    #[error("the chunks of the answer do not fit together")]
    Chunk,
    /// The connection failed, or the answer did not come in time.
    #[error("no answer")]
    Io(#[from] io::Error),
}

impl HttpError {
    /// Whether asking again in the same way is of no use: what is wrong is here.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Status { code, .. } if (400..500).contains(code) && *code != 409 && *code != 429)
    }
}

/// Head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// 200 is good.
    pub code: u16,
    /// What the server says to it.
    pub reason: String,
    /// How the body is framed.
    pub body: Body,
    /// Where the body begins.
    pub bytes: usize,
}

impl Head {
    /// Reads a head; `None` while it is not whole.
    ///
    /// # Errors
    /// It is not HTTP, or too long.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, HttpError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes).map_err(HttpError::Malformed)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if bytes.len() >= HEAD_BYTES_MAX => {
                return Err(HttpError::HeadTooLong);
            }
            httparse::Status::Partial => return Ok(None),
        };
        let is_chunked = response.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("transfer-encoding")
                && header.value.to_ascii_lowercase().ends_with(b"chunked")
        });
        let mut body = Body::UntilClose;
        if is_chunked {
            body = Body::Chunked(Chunked::SizeLine(Vec::new()));
        }
        Ok(Some(Self {
            code: response.code.unwrap_or(0),
            reason: response.reason.unwrap_or_default().to_owned(),
            body,
            bytes: length,
        }))
    }
}

/// How the body of an answer is framed.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// All that comes. A length is not looked at: the connection is closed behind it (`Connection: close`).
    UntilClose,
    /// In chunks (RFC 9112, 7.1).
    Chunked(Chunked),
}

/// Where in a chunked body the next byte lies.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunked {
    /// In the line with a chunk's size, of which this has come.
    SizeLine(Vec<u8>),
    /// In a chunk of which so many bytes are to come.
    Data(u64),
    /// In the line end behind a chunk; this byte is due.
    Behind(u8),
    /// Behind the last chunk.
    Ended,
}

/// Whether more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// Yes, unless the connection ends.
    Open,
    /// No.
    Ended,
}

impl Body {
    /// Takes bytes as they come, and gives what they carry to `take`.
    ///
    /// # Errors
    /// The chunks do not fit together.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<BodyState, HttpError> {
        let Self::Chunked(state) = self else {
            take(bytes);
            return Ok(BodyState::Open);
        };
        while let Some((&first, after_first)) = bytes.split_first() {
            match state {
                Chunked::SizeLine(line) => {
                    bytes = after_first;
                    if first != b'\n' {
                        line.push(first);
                        if line.len() > LINE_BYTES_MAX {
                            return Err(HttpError::Chunk);
                        }
                        continue;
                    }
                    *state = match chunk_size(line).ok_or(HttpError::Chunk)? {
                        0 => Chunked::Ended, // What a trailer would say is of no interest.
                        size => Chunked::Data(size),
                    };
                }
                Chunked::Data(rest) => {
                    let length = (*rest).min(bytes.len() as u64) as usize;
                    let (now, later) = bytes.split_at(length);
                    take(now);
                    bytes = later;
                    *rest -= length as u64;
                    if *rest == 0 {
                        *state = Chunked::Behind(b'\r');
                    }
                }
                Chunked::Behind(expected) if first == *expected => {
                    bytes = after_first;
                    *state = match first {
                        b'\r' => Chunked::Behind(b'\n'),
                        _ => Chunked::SizeLine(Vec::new()),
                    };
                }
                Chunked::Behind(_) => return Err(HttpError::Chunk),
                Chunked::Ended => break,
            }
        }
        Ok(if *state == Chunked::Ended {
            BodyState::Ended
        } else {
            BodyState::Open
        })
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    (size <= CHUNK_BYTES_MAX).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(head: &str) -> Body {
        Head::parse(head.as_bytes()).unwrap().unwrap().body
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, BodyState), HttpError> {
        let (mut body, mut found, mut state) = (body(CHUNKED), Vec::new(), BodyState::Open);
        for piece in pieces {
            state = body.push(piece, |bytes| found.extend_from_slice(bytes))?;
        }
        Ok((found, state))
    }

    #[test]
    fn chunks_come_in_any_pieces() {
        let whole = b"4\r\nWiki\r\n6;name=value\r\npedia \r\nA\r\n0123456789\r\n0\r\n\r\n";
        let expected = (b"Wikipedia 0123456789".to_vec(), BodyState::Ended);
        assert_eq!(read(&[whole]).unwrap(), expected);
        let pieces: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(read(&pieces).unwrap(), expected);
    }

    #[test]
    fn chunks_that_do_not_fit() {
        let long = "1".repeat(LINE_BYTES_MAX + 1);
        for wrong in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "ffffffffffffffffff\r\n",
            "7fffffff\r\n",
            "1\r\nab",
            &long,
        ] {
            let result = read(&[wrong.as_bytes()]);
            assert!(matches!(result, Err(HttpError::Chunk)), "{wrong}");
        }
    }

    #[test]
    fn a_body_without_chunks_passes() {
        let mut body = body("HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n");
        let mut found = Vec::new();
        body.push(b"4\r\nab", |bytes| found.extend_from_slice(bytes))
            .unwrap();
        assert_eq!(found, b"4\r\nab");
    }

    #[test]
    fn malformed() {
        assert!(matches!(
            Head::parse(b"SSH-2.0-x\r\n\r\n"),
            Err(HttpError::Malformed(_))
        ));
    }

    #[test]
    fn head_too_long() {
        let head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert!(matches!(
            Head::parse(head.as_bytes()),
            Err(HttpError::HeadTooLong)
        ));
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nX: ").unwrap(), None);
    }
}
