//! `forestall measure screenshots`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use measure::screenshots::{Screenshots, unread};
use media::screenshots::{PICTURES, SHOTS, ScreenshotsConfig, take};
use record::raw::ShotRow;
use record::read_csv;

use super::measure::{print_json, work};
use super::video::run_until_stopped;
use super::{Failure, FailureKind, Outcome};

/// What a person fills in.
const UNREAD: &str = "unread.csv";

const EXAMPLES: &str = "\
Examples:
  forestall capture udp://127.0.0.1:5001 --width 640 --height 480 &
  ffplay -left 0 -top 0 -fflags nobuffer -flags low_delay udp://127.0.0.1:5001 &
  forestall measure screenshots --out shots                 100 shots, one each 1.01 s
  forestall measure screenshots --out shots --resume        the figures again, with what was filled in

Shots that were not read are listed in unread.csv of the folder, each with its picture: correct the columns clock and picture there
(HH:MM:SS.mmm), and use --resume.

Errors of a delay:
  The clock is drawn every 8 ms, so that delays are 4 ms too short on average, by digits and by strips alike. Digits have whole
  milliseconds. Both clocks are on the same screen in one shot, whose own duration is in the figures and adds nothing. A digit that is
  misread and gives a delay that can be goes into the mean: how many there are is counted by the code strips.";

/// Delay the thesis' way: a clock beside a player's window, screenshots of both, digits read by Tesseract, beside the code strips'
///
/// The player's window has to be filled by a picture of `forestall capture`, and to have room of its size beside it on the screen.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The X server [default: the environment's]
    #[arg(long, env = "DISPLAY", default_value = "", hide_default_value = true)]
    display: String,
    /// Folder for rows and pictures
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How many shots
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    shots: u32,
    /// Take no shots, but reckon anew with those that are there and what a person filled in
    #[arg(long, conflicts_with = "shots")]
    resume: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let (shots, filled, outcome) = if self.resume {
            let shots = rows(&self.out.join(SHOTS))?;
            (shots, rows(&self.out.join(UNREAD))?, Outcome::Done)
        } else {
            let (shots, outcome) = self.take()?;
            (shots, Vec::new(), outcome)
        };
        let figures = Screenshots::of(&shots, &filled);
        if self.json {
            print_json(&figures)?;
        } else {
            println!("{figures}");
        }
        Ok(outcome)
    }

    /// Takes shots into a new folder, with the list of those that were not read.
    fn take(&self) -> Result<(Vec<ShotRow>, Outcome), Failure> {
        if self.out.join(SHOTS).exists() {
            let text =
                "there are shots already; --resume reckons with them, another --out takes new ones";
            return Err(configuration(anyhow!("{}: {text}", self.out.display())));
        }
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot make {}", self.out.display()))
            .map_err(configuration)?;
        let config = ScreenshotsConfig {
            display: self.display.clone(),
            shots: self.shots,
            folder: self.out.clone(),
        };
        let (shots, outcome) = run_until_stopped(|stop| take(&config, stop))?;
        let list = unread(&shots, |number| format!("{PICTURES}/{number:03}.png"));
        record::file::write_csv(&self.out.join(UNREAD), &list).map_err(work)?;
        Ok((shots, outcome))
    }
}

fn rows<Row: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<Row>, Failure> {
    read_csv(path).map_err(|error| configuration(error.into()))
}

fn configuration(error: anyhow::Error) -> Failure {
    Failure {
        kind: FailureKind::Configuration,
        error,
    }
}
