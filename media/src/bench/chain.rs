//! From camera to screen: our chain, FFmpeg's as it comes, and FFmpeg's with all that is known to lower its delay.
//!
//! The camera's pictures and the reading of their code are the same for all three, and so is the clock. FFserver left FFmpeg in 4.0; its
//! place in FFmpeg's chains has `ffmpeg -listen 1`. At their end `ffmpeg` writes raw pictures as soon as they are decoded; `ffplay` would
//! pace them by their time stamps on top, but says of no picture when it was shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use record::Timestamp;
use record::raw::FrameRow;
use serde::Serialize;

use super::process::{Stage, tcp_port, udp_port, wait_for_listener};
use super::stages::{self, ByStage, STAGES, StageMs};
use super::{BITRATE, Bench, BenchError, FPS, quantile};
use crate::ffmpeg::Ffmpeg;

/// Names of the chains, as in the report.
pub const CHAINS: [&str; 3] = ["forestall", "ffmpeg_plain", "ffmpeg_tuned"];
const CODECS: [&str; 2] = ["mpeg2", "h264"];
/// The first picture is there within this: plain FFmpeg looks at 5 s of each input before it begins.
const FIRST_PICTURE_WITHIN: Duration = Duration::from_secs(60);

/// Delays of frames.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delays {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Frames.
    pub n: u64,
    /// Frames sent meanwhile that were not shown.
    pub lost: u64,
    /// All of them, for a histogram.
    #[serde(skip)]
    pub all: Vec<f64>,
}

/// By codec, and by chain or stage.
pub(super) type ByCodec<T> = BTreeMap<&'static str, BTreeMap<&'static str, Option<T>>>;

pub(super) fn measure(
    bench: &mut Bench<'_>,
) -> Result<(ByCodec<Delays>, ByCodec<StageMs>), BenchError> {
    let (mut all, mut within) = (BTreeMap::new(), BTreeMap::new());
    for codec in CODECS {
        let mut delays: BTreeMap<&'static str, (Vec<f64>, u64)> = BTreeMap::new();
        let mut seconds = ByStage::new();
        let rounds = if bench.options.codecs.contains(&codec) {
            bench.options.rounds
        } else {
            0
        };
        for round in 1..=rounds {
            for chain in CHAINS {
                (bench.say)(&format!(
                    "delay, {codec}, {chain}, round {round} of {rounds}"
                ));
                let seen = one(bench, chain, codec);
                let what = format!("the delay of {chain} with {codec}, round {round},");
                if let Some(mut seen) = bench.or_note(&what, seen)? {
                    let (values, lost_so_far) = delays.entry(chain).or_default();
                    values.append(&mut seen.delays);
                    *lost_so_far += seen.lost;
                    for (stage, mut more) in seen.stages {
                        seconds.entry(stage).or_default().append(&mut more);
                    }
                }
            }
        }
        let summed = CHAINS.map(|chain| {
            let (values, lost) = delays.remove(chain).unwrap_or_default();
            (chain, summary(values, lost))
        });
        all.insert(codec, summed.into_iter().collect());
        let times =
            STAGES.map(|stage| (stage, seconds.get(stage).and_then(|all| StageMs::of(all))));
        within.insert(codec, times.into_iter().collect());
    }
    Ok((all, within))
}

fn summary(mut all: Vec<f64>, lost: u64) -> Option<Delays> {
    all.sort_by(f64::total_cmp);
    Some(Delays {
        p50: quantile(&all, 0.5)?,
        p95: quantile(&all, 0.95)?,
        p99: quantile(&all, 0.99)?,
        n: all.len() as u64,
        lost,
        all,
    })
}

/// What came of one round of a chain.
struct Seen {
    /// Of the frames shown.
    delays: Vec<f64>,
    /// How many of those sent meanwhile were not shown.
    lost: u64,
    /// Of our chain; FFmpeg's programs say nothing.
    stages: ByStage,
}

fn one(bench: &Bench<'_>, chain: &str, codec: &str) -> Result<Seen, BenchError> {
    let folder = tempfile::tempdir().map_err(|source| BenchError::Io {
        what: "make a folder".into(),
        source,
    })?;
    let frames = folder.path().join("frames.csv");
    let mut stages = match chain {
        "forestall" => ours(bench, codec, folder.path(), &frames)?,
        "ffmpeg_plain" => ffmpeg(bench, codec, &Ffmpeg::PLAIN, &frames)?,
        _ => ffmpeg(bench, codec, &Ffmpeg::TUNED, &frames)?,
    };
    let begun = Instant::now();
    while rows(&frames).is_empty() {
        stages.iter_mut().try_for_each(Stage::check)?;
        if begun.elapsed() > FIRST_PICTURE_WITHIN {
            return Err(BenchError::Stage("no picture came".into()));
        }
        bench.wait(Duration::from_millis(100))?;
    }
    bench.wait(bench.options.settle)?;
    let (before, since) = (rows(&frames).len(), Timestamp::now());
    bench.wait(bench.options.measured)?;
    stages.iter_mut().try_for_each(Stage::check)?;
    drop(stages);
    let rows = rows(&frames);
    let measured = rows.get(before..).unwrap_or_default();
    let numbers: Vec<u32> = measured.iter().filter_map(|row| row.frame).collect();
    let sent = numbers
        .first()
        .zip(numbers.last())
        .map_or(0, |(first, last)| {
            u64::from(last.saturating_sub(*first)) + 1
        });
    let mut shown = numbers;
    shown.sort_unstable();
    shown.dedup();
    let delays = measured.iter().filter_map(|row| row.delay_ms).collect();
    Ok(Seen {
        delays,
        lost: sent.saturating_sub(shown.len() as u64),
        stages: stages::seconds(folder.path(), since),
    })
}

/// Frames that were shown with a readable code.
pub(super) fn rows(path: &Path) -> Vec<FrameRow> {
    // The file may be growing: its last line may not be whole.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let mut reader = csv::Reader::from_reader(whole.as_bytes());
    let rows = reader.deserialize::<FrameRow>().flatten();
    rows.filter(|row| row.delay_ms.is_some()).collect()
}

fn ours(
    bench: &Bench<'_>,
    codec: &str,
    folder: &Path,
    frames: &Path,
) -> Result<Vec<Stage>, BenchError> {
    let [to_overlay, to_relay, to_serve] = [udp_port()?, udp_port()?, udp_port()?];
    let served = tcp_port()?;
    let start = |name: &str, arguments: String| stages::start(bench, folder, name, &arguments);
    let mut serve = start(
        "serve",
        format!("127.0.0.1:{served} --stream robot=udp://127.0.0.1:{to_serve}"),
    )?;
    wait_for_listener(bench, served, &mut serve)?;
    let relay = start(
        "relay",
        format!("udp://127.0.0.1:{to_relay} udp://127.0.0.1:{to_serve}"),
    )?;
    let overlay = start(
        "overlay",
        format!(
            "udp://127.0.0.1:{to_overlay} udp://127.0.0.1:{to_relay} --text TEXT --codec {codec} --bitrate {BITRATE}"
        ),
    )?;
    let play = start(
        "play",
        format!(
            "http://127.0.0.1:{served}/robot.ts --frames-csv {}",
            frames.display()
        ),
    )?;
    let capture = start(
        "capture",
        format!(
            "udp://127.0.0.1:{to_overlay} --width 640 --height 480 --fps {FPS} --codec {codec} --bitrate {BITRATE}"
        ),
    )?;
    Ok(vec![capture, overlay, relay, serve, play])
}

fn ffmpeg(
    bench: &Bench<'_>,
    codec: &str,
    options: &Ffmpeg,
    frames: &Path,
) -> Result<Vec<Stage>, BenchError> {
    let Ffmpeg {
        input,
        encode,
        encode_h264,
        output,
        ..
    } = options;
    let own = &bench.options.own;
    let [to_text, to_relay, to_serve] = [udp_port()?, udp_port()?, udp_port()?];
    let served = tcp_port()?;
    let encoder = match codec {
        "mpeg2" => format!("-c:v mpeg2video {encode} -b:v {BITRATE} -g 30"),
        _ => format!("-c:v libx264 {encode_h264} {encode} -b:v {BITRATE} -g 30"),
    };
    let quiet = Ffmpeg::QUIET;
    let start = |line: String| Stage::start("ffmpeg", &line, "Forestall");
    let from = |port: u16| format!("udp://127.0.0.1:{port}?fifo_size=4096&overrun_nonfatal=1");
    let to = |port: u16| format!("udp://127.0.0.1:{port}?pkt_size=1316");
    let text = start(format!(
        "{quiet} {input} -f mpegts -i {} -vf drawtext=fontfile={font}:text=TEXT:x=4:y=4:fontsize=24:fontcolor=white:box=1:boxcolor=black@0.5 \
         {encoder} {output} -f mpegts {}",
        from(to_text),
        to(to_relay),
        font = crate::text::DEFAULT_FONT,
    ))?;
    let relay = start(format!(
        "{quiet} {input} -f mpegts -i {} -c copy {output} -f mpegts {}",
        from(to_relay),
        to(to_serve)
    ))?;
    let mut serve = start(format!(
        "{quiet} {input} -f mpegts -i {} -c copy {output} -f mpegts -listen 1 http://127.0.0.1:{served}/robot.ts",
        from(to_serve)
    ))?;
    // The camera's encoder is FFmpeg's, too; its pictures are ours.
    let encode_line = format!(
        "ffmpeg {quiet} {raw} -s 640x480 -r {FPS} -i - {encoder} {output} -f mpegts {}",
        to(to_text),
        raw = Ffmpeg::RAW_INPUT
    );
    let capture = Stage::start(
        own,
        &format!("capture --width 640 --height 480 --fps {FPS} --encoder-command TEXT"),
        &encode_line,
    )?;
    wait_for_listener(bench, served, &mut serve)?;
    let play = Stage::start(
        own,
        &format!(
            "play http://127.0.0.1:{served}/robot.ts --frames-csv {} --width 640 --height 480 --decoder-command TEXT",
            frames.display()
        ),
        &options.decoder(),
    )?;
    Ok(vec![capture, text, relay, serve, play])
}
