//! Camera and player as processes on their hosts.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use record::raw::{FrameRow, PacketRow};
use record::{HostName, Timestamp};
use scenario::{LabScenario, Role, Viewer};

use crate::capture::{ARRIVALS, Capture};
use crate::cgroup::ROOT;
use crate::error::{LabError, file, unless_interrupted};
use crate::ground::Ground;
use crate::network::{DATA, netns};
use crate::process::{Place, Process};
use crate::run::write_rows;
use crate::vm::{FUNCTION_PORT, PLAYER_PORT};
use crate::{ffmpeg, ffplay};

/// The first picture is on the screen within this: plain FFmpeg looks at 5 s of each input before it begins, and there are two.
const FIRST_PICTURE_WITHIN: Duration = Duration::from_secs(60);
/// Enough of the end of `frames.csv` to hold a whole row.
const ROW_BYTES_MAX: u64 = 512;

/// What a player leaves.
const FRAMES: &str = "frames.csv";
const PACKETS: &str = "packets.csv";
const LAST_PICTURE: &str = "last-picture.png";

/// Control group of camera and player, and of what looks on: they have precedence over what else is on their cores, so that what is measured is
/// the edge server's load.
pub(crate) fn share() -> String {
    format!("{ROOT}/ends")
}

/// Where they are on a host that the lab made.
pub(crate) fn place(host: &HostName) -> Place {
    Place::inside(netns(host), share())
}

fn host_of(scenario: &LabScenario, role: Role) -> Result<(&HostName, &scenario::Host), LabError> {
    scenario
        .hosts_of(role)
        .next()
        .ok_or_else(|| LabError::Missing(format!("the scenario has no host of role {role:?}")))
}

/// The player.
#[derive(Debug)]
pub struct Player {
    /// What it consists of, in the order in which it is ended.
    processes: Vec<Process>,
    arrivals: Arrivals,
    /// What brings its files here while they grow, where it is on another machine.
    followed: Vec<Process>,
    at: Place,
    /// Where it writes them there.
    there: PathBuf,
    folder: PathBuf,
    frames: PathBuf,
}

/// Who writes down what arrives.
#[derive(Debug)]
enum Arrivals {
    /// The player itself, into `packets.csv`.
    Player,
    /// A capture at its link, which becomes `packets.csv` at the end: this player tells nobody.
    Link(Capture),
}

impl Player {
    /// Starts it; it writes `frames.csv` into `folder`, and `packets.csv` till [`Player::end`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(scenario: &LabScenario, ground: &Ground, folder: &Path) -> Result<Self, LabError> {
        let (host, _) = host_of(scenario, Role::User)?;
        let (at, frames) = (ground.at(host, share()), folder.join(FRAMES));
        let there = at.folder("player", folder)?;
        let mut followed = Vec::new();
        let (processes, arrivals) = if scenario.video.viewer == Viewer::Forestall {
            for name in [FRAMES, PACKETS] {
                followed.extend(at.follow(&there.join(name), &folder.join(name))?);
            }
            let argv = play(scenario, &at, &there);
            let play = Process::start(&at, &argv, &folder.join("play.log"))?;
            (vec![play], Arrivals::Player)
        } else {
            let capture = Capture::start(&at, DATA, folder, ARRIVALS)?;
            let source = format!("udp://0.0.0.0:{PLAYER_PORT}");
            let (processes, _) = ffplay::start(&at, &scenario.video, &source, &frames, folder)?;
            (processes, Arrivals::Link(capture))
        };
        Ok(Self {
            processes,
            arrivals,
            followed,
            at,
            there,
            folder: folder.to_owned(),
            frames,
        })
    }

    /// Waits until a picture is on the screen.
    ///
    /// # Errors
    /// When none comes, or the player ends; [`LabError::Interrupted`].
    pub fn wait_for_picture(&mut self, interrupted: &AtomicBool) -> Result<(), LabError> {
        let begun = Instant::now();
        while begun.elapsed() < FIRST_PICTURE_WITHIN {
            unless_interrupted(interrupted)?;
            self.check()?;
            if self.last().is_some_and(|row| row.delay_ms.is_some()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(LabError::Late {
            what: "the first picture on the user's screen".into(),
            seconds: FIRST_PICTURE_WITHIN.as_secs_f64(),
            hint: format!("the player says: {}", self.said()),
        })
    }

    /// The newest whole row of `frames.csv`.
    #[must_use]
    pub fn last(&self) -> Option<FrameRow> {
        use std::io::{Read, Seek, SeekFrom};
        let mut rows = std::fs::File::open(&self.frames).ok()?;
        let header = "frame,captured_us,shown_us,delay_ms,status,boot,runner\n";
        let length = rows.metadata().ok()?.len();
        rows.seek(SeekFrom::Start(length.saturating_sub(ROW_BYTES_MAX)))
            .ok()?;
        let mut end = String::new();
        rows.read_to_string(&mut end).ok()?;
        let whole = &end[..=end.rfind('\n')?];
        let row = whole.trim_end().rsplit('\n').next()?;
        csv::Reader::from_reader(format!("{header}{row}\n").as_bytes())
            .deserialize()
            .next()?
            .ok()
    }

    /// An error when it has ended by itself.
    ///
    /// # Errors
    /// With what it said last.
    pub fn check(&mut self) -> Result<(), LabError> {
        if let Arrivals::Link(capture) = &mut self.arrivals {
            capture.check()?;
        }
        let mut all = self.processes.iter_mut().chain(&mut self.followed);
        all.try_for_each(Process::check)
    }

    /// The last words of all that it consists of.
    fn said(&self) -> String {
        let words: Vec<String> = self.processes.iter().map(Process::said).collect();
        words.join("; ")
    }

    /// What has arrived so far.
    ///
    /// # Errors
    /// When it cannot be read, or is nothing.
    pub fn packets(&self) -> Result<Vec<PacketRow>, LabError> {
        match &self.arrivals {
            Arrivals::Player => whole_rows(&self.packets_csv()),
            Arrivals::Link(capture) => capture.packets(),
        }
    }

    fn packets_csv(&self) -> PathBuf {
        self.folder.join(PACKETS)
    }

    /// Ends it; all its files are whole then.
    ///
    /// # Errors
    /// When what arrived cannot be written down.
    pub fn end(mut self) -> Result<(), LabError> {
        self.processes.clear();
        self.followed.clear();
        if let Arrivals::Link(capture) = &mut self.arrivals {
            capture.end();
            write_rows(&self.packets_csv(), &self.packets()?)?;
            return Ok(());
        }
        let bring = |name: &str| {
            let (there, here) = (self.there.join(name), self.folder.join(name));
            self.at.fetch(&there, &here)
        };
        // Where no picture was shown, there is none.
        bring(LAST_PICTURE).ok();
        bring(FRAMES)?;
        bring(PACKETS)
    }

    /// Age of the picture on the screen now.
    #[must_use]
    pub fn picture_age_ms(&self) -> Option<f64> {
        let captured = self.last()?.captured_us?;
        Some(Timestamp::now().since(captured).as_secs_f64() * 1e3)
    }

    /// The frames shown so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn frames(&self) -> Result<Vec<FrameRow>, LabError> {
        whole_rows(&self.frames)
    }
}

/// The command line of `forestall play`, which leaves its files in a folder of its place.
fn play(scenario: &LabScenario, at: &Place, folder: &Path) -> Vec<String> {
    let source = format!("udp://0.0.0.0:{PLAYER_PORT}");
    let mut argv = vec![at.own(), "play".into(), source];
    for (option, name) in [
        ("--frames-csv", FRAMES),
        ("--packets-csv", PACKETS),
        ("--png", LAST_PICTURE),
    ] {
        let path = folder.join(name).to_string_lossy().into_owned();
        argv.extend([option.into(), path]);
    }
    if let Some(ffmpeg) = ffmpeg::options(scenario.video.chain) {
        let (width, height) = (
            scenario.video.width.to_string(),
            scenario.video.height.to_string(),
        );
        argv.extend(
            [
                "--decoder-command",
                &ffmpeg.decoder(),
                "--width",
                &width,
                "--height",
                &height,
            ]
            .map(String::from),
        );
    }
    argv
}

/// The camera.
#[derive(Debug)]
pub struct Camera {
    process: Process,
    at: Place,
    /// What it writes there, and where that is to be here.
    sent: [PathBuf; 2],
}

impl Camera {
    /// Starts it; it writes `sent.csv` into `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(scenario: &LabScenario, ground: &Ground, folder: &Path) -> Result<Self, LabError> {
        let (host, _) = host_of(scenario, Role::Robot)?;
        let at = ground.at(host, share());
        let sent = [at.folder("camera", folder)?, folder.to_owned()];
        let sent = sent.map(|folder| folder.join("sent.csv"));
        let (video, to) = (&scenario.video, scenario.function.data);
        let (width, height, fps) = (video.width, video.height, video.fps);
        let mut argv = vec![at.own(), "capture".into()];
        match ffmpeg::options(video.chain) {
            None => {
                argv.push(format!("udp://{to}:{FUNCTION_PORT}"));
                argv.extend(["--bitrate".into(), format!("{}k", video.bitrate_kbps)]);
                argv.extend(["--gop".into(), video.gop.to_string()]);
            }
            Some(options) => {
                let encoder =
                    ffmpeg::camera(options, video, &format!("udp://{to}:{FUNCTION_PORT}"));
                argv.extend(["--encoder-command".into(), encoder]);
            }
        }
        argv.extend([
            "--width".into(),
            width.to_string(),
            "--height".into(),
            height.to_string(),
        ]);
        argv.extend(["--fps".into(), fps.to_string()]);
        argv.extend(["--sent-csv".into(), sent[0].to_string_lossy().into_owned()]);
        let process = Process::start(&at, &argv, &folder.join("capture.log"))?;
        Ok(Self { process, at, sent })
    }

    /// Ends it; its file is whole then.
    ///
    /// # Errors
    /// When that cannot be brought here.
    pub fn end(self) -> Result<(), LabError> {
        drop(self.process);
        let [there, here] = &self.sent;
        self.at.fetch(there, here)
    }

    /// An error when it has ended by itself.
    ///
    /// # Errors
    /// With what it said last.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.process.check()
    }
}

/// The rows of a CSV file that is still being written: those that are whole.
pub(crate) fn whole_rows<Row: serde::de::DeserializeOwned>(
    path: &Path,
) -> Result<Vec<Row>, LabError> {
    let text = std::fs::read_to_string(path).map_err(file(path))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let rows: Result<Vec<Row>, _> = csv::Reader::from_reader(whole.as_bytes())
        .deserialize()
        .collect();
    rows.map_err(|error| LabError::Measure(format!("{}: {error}", path.display())))
}
