//! FFmpeg's programs in the roles of the service, as in the thesis: their command lines, for a shell.

use media::ffmpeg::Ffmpeg;
use scenario::{Chain, Video};

/// What they are told, where the chain is theirs.
pub(crate) const fn options(chain: Chain) -> Option<&'static Ffmpeg> {
    match chain {
        Chain::Forestall => None,
        Chain::Ffmpeg => Some(&Ffmpeg::TUNED),
        Chain::FfmpegPlain => Some(&Ffmpeg::PLAIN),
    }
}

/// The camera's encoder; pictures come to its input.
pub(crate) fn camera(ffmpeg: &Ffmpeg, video: &Video, to: &str) -> String {
    let Ffmpeg { output, .. } = ffmpeg;
    let (width, height, fps) = (video.width, video.height, video.fps);
    format!(
        "ffmpeg {quiet} {raw} -s {width}x{height} -r {fps} -i - {encoder} {output} -f mpegts {to}?pkt_size=1316",
        quiet = Ffmpeg::QUIET,
        raw = Ffmpeg::RAW_INPUT,
        encoder = encoder(ffmpeg, video),
    )
}

/// Decode, drawtext, encode.
pub(crate) fn text_insertion(
    ffmpeg: &Ffmpeg,
    video: &Video,
    text: &str,
    [from, to]: [&str; 2],
) -> String {
    format!(
        "{input} -vf \"drawtext=fontfile=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf:text={text}:x=4:y=4:fontsize=12:fontcolor=white:box=1:boxcolor=black@0.5\" \
         {encoder} {output} -f mpegts '{to}?pkt_size=1316'",
        input = input(ffmpeg, from),
        text = drawtext_quoted(text),
        encoder = encoder(ffmpeg, video),
        output = ffmpeg.output,
    )
}

/// Packets out of one transport stream into another.
pub(crate) fn relay(ffmpeg: &Ffmpeg, [from, to]: [&str; 2]) -> String {
    format!(
        "{} -c copy {} -f mpegts '{to}?pkt_size=1316'",
        input(ffmpeg, from),
        ffmpeg.output
    )
}

/// In the place of FFserver, which left FFmpeg in 4.0: it listens once it knows the stream, and has room for one viewer.
pub(crate) fn streaming(ffmpeg: &Ffmpeg, from: &str, at: &str) -> String {
    format!(
        "{} -c copy {} -f mpegts -listen 1 {at}",
        input(ffmpeg, from),
        ffmpeg.output
    )
}

fn input(ffmpeg: &Ffmpeg, from: &str) -> String {
    format!(
        "ffmpeg {} {} -f mpegts -i '{from}?fifo_size=4096&overrun_nonfatal=1'",
        Ffmpeg::QUIET,
        ffmpeg.input
    )
}

fn encoder(ffmpeg: &Ffmpeg, video: &Video) -> String {
    format!(
        "-c:v mpeg2video {} -b:v {}k -g {}",
        ffmpeg.encode, video.bitrate_kbps, video.gop
    )
}

/// Escapes text for `drawtext`'s option inside a filter graph inside double quotes of a shell; what none of the three can
/// carry is left out.
fn drawtext_quoted(text: &str) -> String {
    text.chars()
        .filter(|c| {
            !matches!(
                c,
                '\'' | '"' | '\\' | ':' | '%' | '$' | '`' | ',' | ';' | '[' | ']'
            )
        })
        .collect()
}
