//! `forestall bench media`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use measure::histogram::{Distribution, page};
use media::bench::{self, BenchError, CHAINS, Delays, Options, Report, STAGES, Sides};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Failure, FailureKind, Outcome};

/// Measure the video stages from outside, beside FFmpeg's chain in the same run
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Look only whether all of it works: a minute, and figures of little worth
    #[arg(long)]
    quick: bool,
    /// Print all figures as JSON
    #[arg(long)]
    json: bool,
    /// Where report.html and results.json go [default: nowhere]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let own = std::env::current_exe().context("cannot find this program");
        let own = own.map_err(work)?;
        let options = if self.quick {
            Options::quick(own)
        } else {
            Options::full(own)
        };
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))
                .context("cannot watch for Ctrl-C")
                .map_err(work)?;
        }
        let mut say = |what: &str| eprintln!("bench: {what}");
        let report = bench::run(&options, &stop, &mut say).map_err(|error| Failure {
            kind: match error {
                BenchError::Interrupted => FailureKind::Interrupted,
                _ => FailureKind::Work,
            },
            error: error.into(),
        })?;
        let json = serde_json::to_string_pretty(&report)
            .context("cannot write JSON")
            .map_err(work)?;
        if let Some(out) = &self.out {
            write(out, &report, &json).map_err(work)?;
        }
        if self.json {
            println!("{json}");
        } else {
            print(&report);
        }
        Ok(Outcome::Done)
    }
}

fn work(error: anyhow::Error) -> Failure {
    Failure {
        kind: FailureKind::Work,
        error,
    }
}

fn write(out: &Path, report: &Report, json: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let put = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        anyhow::Ok(path)
    };
    put("results.json", json)?;
    let figures: Vec<(String, Vec<Distribution<'_>>)> = report
        .delay_ms
        .iter()
        .map(|(codec, chains)| {
            let shown = CHAINS.iter().filter_map(|chain| {
                let delays: &Delays = chains.get(chain)?.as_ref()?;
                Some(Distribution {
                    name: chain,
                    values: &delays.all,
                })
            });
            (format!("camera to screen, {codec}, ms"), shown.collect())
        })
        .collect();
    let path = put(
        "report.html",
        &page("The video stages, measured", &text(report), &figures),
    )?;
    eprintln!("bench: {}", path.display());
    Ok(())
}

fn print(report: &Report) {
    print!("{}", text(report));
}

fn largest_first(mb: &BTreeMap<String, f64>) -> String {
    let mut parts: Vec<(&String, &f64)> = mb.iter().collect();
    parts.sort_by(|a, b| b.1.total_cmp(a.1));
    let words = parts.iter().map(|(name, mb)| format!("{name} {mb:.1}"));
    words.collect::<Vec<_>>().join(", ")
}

/// The figures as tables of text.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    line(format!(
        "{:<28} {:>9} {:>9} {:>9} {:>7} {:>6}",
        "camera to screen, ms", "p50", "p95", "p99", "frames", "lost"
    ));
    for (codec, chains) in &report.delay_ms {
        for chain in CHAINS {
            let name = format!("{codec}, {chain}");
            line(match chains.get(chain).and_then(Option::as_ref) {
                Some(d) => format!(
                    "{name:<28} {:>9.1} {:>9.1} {:>9.1} {:>7} {:>6}",
                    d.p50, d.p95, d.p99, d.n, d.lost
                ),
                None => format!("{name:<28} {:>9}", "–"),
            });
        }
    }
    line(
        "in place of FFserver, which left FFmpeg in 4.0, FFmpeg's chains have `ffmpeg -listen 1`"
            .to_owned(),
    );
    line(format!(
        "\n{:<28} {:>9} {:>9} {:>7}",
        "in a stage of ours, ms", "p50", "p95", "seconds"
    ));
    for (codec, stages) in &report.stage_ms {
        for stage in STAGES {
            let name = format!("{codec}, {stage}");
            line(match stages.get(stage).and_then(Option::as_ref) {
                Some(s) => format!("{name:<28} {:>9.2} {:>9.2} {:>7}", s.p50, s.p95, s.n),
                None => format!("{name:<28} {:>9}", "–"),
            });
        }
    }
    let held = &report.held_frames;
    let count = |held: Option<u32>| or_dash(held.map(|held| held.to_string()));
    line(format!(
        "\nframes held: capture {}, overlay {}, relay {}, serve {}, play {}",
        count(held.capture),
        count(held.overlay),
        count(held.relay),
        count(held.serve),
        count(held.play)
    ));
    for (codec, stages) in &report.held_frames_by_codec {
        let late = stages.iter().filter_map(|(stage, held)| {
            held.map(|held| format!("{stage} {} of {}", held.late, held.n))
        });
        let late: Vec<String> = late.collect();
        if !late.is_empty() {
            let words = late.join(", ");
            line(format!("frames late, {codec}: {words}"));
        }
    }
    for (size, Sides { forestall, ffmpeg }) in &report.overlay {
        for (name, cost) in [
            ("forestall overlay", forestall),
            ("ffmpeg drawtext", ffmpeg),
        ] {
            line(match cost {
                Some(cost) => format!(
                    "{size:<9} {name:<18} {:>7.0} µs of CPU a frame, {:>6.1} MB: {}",
                    cost.cpu_us_per_frame,
                    cost.rss_mb,
                    largest_first(&cost.rss_mb_by_mapping)
                ),
                None => format!("{size:<9} {name:<18} –"),
            });
        }
    }
    if let Some(relay) = &report.relay_ms {
        line(format!(
            "relay: a datagram takes {:.2} ms (p50), {:.2} ms (p99), of {}; {} lost",
            relay.p50, relay.p99, relay.n, relay.lost
        ));
    }
    let serve = &report.serve;
    line(format!(
        "serve: {} viewers of 2 Mbit/s a core (with {} at once), {} KB each; 20 slow ones add {} ms",
        or_dash(serve.viewers_per_core.map(|n| format!("{n:.0}"))),
        or_dash(serve.viewers.map(|n| n.to_string())),
        or_dash(serve.bytes_per_viewer.map(|n| format!("{:.1}", n / 1e3))),
        or_dash(serve.slow_viewer_adds_ms.map(|n| format!("{n:.2}")))
    ));
    let clock = &report.clock;
    let spoilt = &clock.degraded;
    line(format!(
        "clock reader: {:.0} a second; of {} spoilt pictures {} of {} readable ones read, {} wrongly",
        clock.frames_per_s, spoilt.frames, spoilt.readable_read, spoilt.readable, spoilt.wrong
    ));
    let clean = clock.tesseract.iter().map(|reading| ("clean", reading));
    let spoilt = clock.tesseract_spoilt.iter().flatten();
    for (name, reading) in clean.chain(spoilt.map(|(name, reading)| (*name, reading))) {
        line(format!(
            "Tesseract on {name} digits: {} of {} read, {} wrongly",
            reading.read, reading.frames, reading.wrong
        ));
    }
    if let Some(foreign) = report.foreign_load {
        line(format!(
            "others used {:.0} % of the machine",
            foreign * 100.0
        ));
    }
    for note in &report.notes {
        line(format!("note: {note}"));
    }
    text
}
