//! `forestall measure screen`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use measure::statistics::Values;
use media::watch::{self, WatchConfig, Watched};
use serde::Serialize;

use super::measure::print_json;
use super::video::{parse_seconds, run_until_stopped};
use super::{Failure, Outcome};

const EXAMPLES: &str = "\
Examples:
  forestall capture udp://127.0.0.1:5001 --width 640 --height 480 &
  ffplay -fflags nobuffer -flags low_delay udp://127.0.0.1:5001 &
  forestall measure screen --duration 60
  forestall measure screen --display :0 --frames-csv frames.csv --json

Error of a delay:
  The screen is looked at every 4 ms, or as fast as the X server answers. A picture is seen at the first look after it came: never
  too early, by half a look too late on average; the figures say how far looks were apart. What a graphics card, a compositor and the
  display's refresh add behind the X server's screen is not in it. The clocks of camera and screen have to agree.";

/// How old pictures are that any player shows in a window of an X server, read from the code strip in them
///
/// Looked for is a window whose whole area is a picture of `forestall capture` (with or without `overlay`), scaled or not, that nothing
/// covers. Pictures without a readable strip that follow each other are counted once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The X server [default: the environment's]
    #[arg(long, env = "DISPLAY")]
    display: String,
    /// Write a row for each picture seen, as `forestall play` does
    #[arg(long, value_name = "FILE")]
    frames_csv: Option<PathBuf>,
    /// End after so many seconds [default: when interrupted]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    duration: Option<Duration>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let config = WatchConfig {
            display: self.display,
            frames_csv: self.frames_csv,
            duration: self.duration,
        };
        let (watched, outcome) = run_until_stopped(|stop| watch::run(&config, stop))?;
        let figures = Figures::of(watched);
        if self.json {
            print_json(&figures)?;
        } else {
            println!("{figures}");
        }
        Ok(outcome)
    }
}

/// What is printed at the end.
#[derive(Debug, Serialize)]
struct Figures {
    /// Pictures whose code strip was read.
    pictures: u64,
    /// How often a picture came that could not be read.
    unreadable: u64,
    /// Age of a picture when it was first seen.
    delay_ms: Spread,
    /// From look to look.
    look_ms: Spread,
}

/// Statistics of a value.
#[derive(Debug, Serialize)]
struct Spread {
    mean: Option<f64>,
    sd: Option<f64>,
    min: Option<f64>,
    median: Option<f64>,
    p95: Option<f64>,
    max: Option<f64>,
}

impl Figures {
    fn of(watched: Watched) -> Self {
        Self {
            pictures: watched.delays_ms.len() as u64,
            unreadable: watched.unreadable,
            delay_ms: Spread::of(watched.delays_ms),
            look_ms: Spread::of(watched.looks_ms),
        }
    }
}

impl Spread {
    fn of(values: Vec<f64>) -> Self {
        let values: Values = values.into_iter().collect();
        Self {
            mean: values.mean(),
            sd: values.sd(),
            min: values.min(),
            median: values.median(),
            p95: values.quantile(0.95),
            max: values.max(),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(mean), Some(look)) = (self.delay_ms.mean, self.look_ms.mean) else {
            return f.write_str(
                "no window with a picture of `forestall capture` was seen; --help says what is looked for",
            );
        };
        let or_dash = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
        writeln!(
            f,
            "delay {mean:.1} ms (S.D. {}), {} to {} ms, median {}, p95 {}; {} pictures, {} times one that could not be read",
            or_dash(self.delay_ms.sd),
            or_dash(self.delay_ms.min),
            or_dash(self.delay_ms.max),
            or_dash(self.delay_ms.median),
            or_dash(self.delay_ms.p95),
            self.pictures,
            self.unreadable,
        )?;
        write!(
            f,
            "looked at every {look:.1} ms (at most {}): pictures were seen {:.1} ms too late on average",
            or_dash(self.look_ms.max),
            look / 2.0
        )
    }
}
