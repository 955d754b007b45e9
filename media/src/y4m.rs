//! Raw pictures one after the other, as YUV4MPEG2 has them (mjpegtools; `ffmpeg -f yuv4mpegpipe`): a line with size and rate, then a
//! line and the pixels for each picture. No IO of its own; fuzzed in `tests/fuzz.rs`.

use std::io::{self, Read};

/// Longest line.
const LINE_BYTES_MAX: usize = 1024;
/// Largest width and height.
const SIDE_MAX: u32 = 8192;

/// What all pictures of a stream have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures per second, as a fraction.
    pub fps: (u32, u32),
}

/// Why a stream is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Y4mError {
    /// It cannot be read.
    #[error("the pictures cannot be read")]
    Io(#[from] io::Error),
    /// It ends in a line or in a picture.
    #[error("the pictures end in the middle of one")]
    Cut,
    /// It is something else.
    #[error(
        "this is no YUV4MPEG2 stream: {0}. `ffmpeg -i … -pix_fmt yuv420p -f yuv4mpegpipe -` makes one"
    )]
    Wrong(String),
}

/// Reads pictures.
#[derive(Debug)]
pub struct Y4m<R> {
    from: R,
    header: Header,
}

impl<R: Read> Y4m<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// It is not there, not of this format, or of pictures that are not YUV 4:2:0 with 8 bits.
    pub fn new(mut from: R) -> Result<Self, Y4mError> {
        let line = match line(&mut from) {
            Ok(line) => line.ok_or_else(|| Y4mError::Wrong("it is empty".into()))?,
            Err(Y4mError::Cut) => return Err(Y4mError::Wrong("its first line has no end".into())),
            Err(error) => return Err(error),
        };
        let header = Header::parse(&line)?;
        Ok(Self { from, header })
    }

    /// Size and rate.
    #[must_use]
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The planes of the next picture, one after the other; `None` at the end.
    ///
    /// # Errors
    /// The stream is cut off, or goes on with something else.
    pub fn take_next(&mut self) -> Result<Option<Vec<u8>>, Y4mError> {
        let Some(line) = line(&mut self.from)? else {
            return Ok(None);
        };
        if line != "FRAME" && !line.starts_with("FRAME ") {
            let start: String = line.chars().take(20).collect();
            return Err(Y4mError::Wrong(format!(
                "instead of a picture comes {start:?}"
            )));
        }
        let mut raw = vec![0; self.header.bytes()];
        match self.from.read_exact(&mut raw) {
            Ok(()) => Ok(Some(raw)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Y4mError::Cut),
            Err(error) => Err(error.into()),
        }
    }
}

impl Header {
    /// Bytes of a picture. Chroma of odd sizes is rounded up.
    #[must_use]
    pub fn bytes(self) -> usize {
        let (width, height) = (self.width as usize, self.height as usize);
        width * height + 2 * width.div_ceil(2) * height.div_ceil(2)
    }

    fn parse(line: &str) -> Result<Self, Y4mError> {
        let wrong = |text: String| Y4mError::Wrong(text);
        let mut words = line.split(' ');
        if words.next() != Some("YUV4MPEG2") {
            return Err(wrong("it does not begin with YUV4MPEG2".into()));
        }
        let (mut width, mut height, mut fps) = (None, None, None);
        for word in words.filter(|word| !word.is_empty()) {
            let mut characters = word.chars();
            let tag = characters.next();
            let value = characters.as_str();
            match tag {
                Some('W') => width = value.parse().ok(),
                Some('H') => height = value.parse().ok(),
                Some('F') => {
                    fps = value
                        .split_once(':')
                        .and_then(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?)));
                }
                // 420jpeg, 420mpeg2, 420paldv differ in where chroma lies, by less than a pixel; 420p10 has more bits.
                Some('C') if !value.starts_with("420") || value.starts_with("420p1") => {
                    return Err(wrong(format!(
                        "its pixels are {value}; they have to be 4:2:0 with 8 bits"
                    )));
                }
                _ => {}
            }
        }
        let (Some(width), Some(height)) = (width, height) else {
            return Err(wrong("it says no size".into()));
        };
        let Some(fps) = fps.filter(|(n, d): &(u32, u32)| *n > 0 && *d > 0) else {
            return Err(wrong("it says no rate of pictures".into()));
        };
        if !(1..=SIDE_MAX).contains(&width) || !(1..=SIDE_MAX).contains(&height) {
            return Err(wrong(format!("its pictures are {width}x{height}")));
        }
        Ok(Self { width, height, fps })
    }
}

/// A line without its end; `None` at the end of the stream.
fn line(from: &mut impl Read) -> Result<Option<String>, Y4mError> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        match from.read(&mut byte) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => return Err(Y4mError::Cut),
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(Y4mError::Wrong("a line has no end".into()));
        }
    }
    String::from_utf8(line)
        .map(Some)
        .map_err(|_| Y4mError::Wrong("a line is no text".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        for (line, wanted) in [
            (
                "YUV4MPEG2 W320 H240 F30:1 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2",
                Ok((320, 240, (30, 1))),
            ),
            ("YUV4MPEG2 W6 H4 F30000:1001", Ok((6, 4, (30_000, 1001)))),
            ("RIFF", Err("does not begin")),
            ("YUV4MPEG2 W320 F30:1", Err("no size")),
            ("YUV4MPEG2 W320 H240", Err("no rate")),
            ("YUV4MPEG2 W320 H240 F0:1", Err("no rate")),
            ("YUV4MPEG2 W320 H240 F30:1 C444", Err("4:2:0")),
            ("YUV4MPEG2 W320 H240 F30:1 C420p10", Err("4:2:0")),
            ("YUV4MPEG2 W99999 H240 F30:1", Err("99999x240")),
        ] {
            match (Header::parse(line), wanted) {
                (Ok(header), Ok(wanted)) => {
                    assert_eq!((header.width, header.height, header.fps), wanted);
                }
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
                (seen, wanted) => panic!("{line}: {seen:?}, not {wanted:?}"),
            }
        }
    }

    #[test]
    fn pictures_and_their_end() {
        let head = "YUV4MPEG2 W2 H2 F25:1\n";
        let stream = [head.as_bytes(), b"FRAME\nabcdef", b"FRAME Ip\n123456"].concat();
        let mut pictures = Y4m::new(stream.as_slice()).unwrap();
        assert_eq!(pictures.take_next().unwrap().unwrap(), b"abcdef");
        assert_eq!(pictures.take_next().unwrap().unwrap(), b"123456");
        assert!(pictures.take_next().unwrap().is_none());
        let cut = &stream[..stream.len() - 1];
        let mut pictures = Y4m::new(cut).unwrap();
        pictures.take_next().unwrap();
        assert!(matches!(pictures.take_next(), Err(Y4mError::Cut)));
        let other = [head.as_bytes(), b"GARBAGE\n"].concat();
        let mut pictures = Y4m::new(other.as_slice()).unwrap();
        assert!(matches!(pictures.take_next(), Err(Y4mError::Wrong(_))));
    }
}
