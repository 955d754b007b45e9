//! Camera, functions and player of a placement, each on its host.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use record::HostName;
use record::raw::FrameRow;
use scenario::placement::{PlacedFunction, Stage, Transport};
use scenario::{Placement, Viewer};

use super::machine::Machine;
use crate::cgroup::ROOT;
use crate::error::{LabError, unless_interrupted};
use crate::network::netns;
use crate::process::{Place, Process, own, tail};
use crate::stage::whole_rows;
use crate::vm::shell_quoted;
use crate::{ffmpeg, ffplay};

/// Port at which the first function takes video; the next ones have the next ones, since several may be on one host, and the player
/// over UDP the one after the last.
const VIDEO_PORT: u16 = 5000;
/// Port at which the streaming server answers players.
const STREAM_PORT: u16 = 8080;
/// Name of the stream there.
const STREAM: &str = "robot";
/// The first picture is on the screen within this.
const FIRST_PICTURE_WITHIN: Duration = Duration::from_secs(60);
/// Between a player that was refused and the next.
const PLAYER_AGAIN: Duration = Duration::from_millis(250);
/// A streaming server answers within this.
const SERVER_WITHIN: Duration = Duration::from_secs(30);
/// One try to connect to it.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Starts the player; its processes, and the name of its screen if it has one.
type StartPlayer<'a> = dyn Fn() -> Result<(Vec<Process>, Option<String>), LabError> + 'a;

/// A service that runs; ended when it is dropped, the camera first.
#[derive(Debug)]
pub struct Service {
    /// `None` while it is stopped.
    camera: Option<Process>,
    camera_line: Vec<String>,
    robot: Place,
    /// What the player consists of, in the order in which it is ended.
    player: Vec<Process>,
    /// Name of the screen that the player shows on, where it has one.
    screen: Option<String>,
    functions: Vec<Process>,
    machines: Vec<Machine>,
    folder: PathBuf,
}

/// Where a program of the service runs: in the network of a host, with the lab's share of the CPU.
pub fn place(host: &HostName) -> Place {
    Place::inside(netns(host), format!("{ROOT}/service"))
}

impl Service {
    /// Starts it, the player's end first so that nothing is sent to nobody, and waits for the first picture.
    ///
    /// # Errors
    /// When a program does not start or no picture comes; [`LabError::Interrupted`].
    pub fn start(
        placement: &Placement,
        machines: impl Fn(&PlacedFunction, &str) -> Result<Machine, LabError>,
        folder: &Path,
        interrupted: &AtomicBool,
    ) -> Result<Self, LabError> {
        let own = own();
        let log = |name: &str| folder.join(format!("{name}.log"));
        let (mut processes, mut guests) = (Vec::new(), Vec::new());
        for (index, function) in placement.functions.iter().enumerate().rev() {
            let next = placement
                .functions
                .get(index + 1)
                .map_or_else(|| user(placement), |next| Ok(address(placement, next)))?;
            let ports = [index, index + 1].map(port);
            let line = function_line(function.does, next, ports, placement);
            if function.machine.is_some() {
                guests.push(machines(function, &line.in_guest())?);
            } else {
                let name = function.does.as_str();
                processes.push(Process::start(
                    &place(function.host.as_ref()),
                    &line.on_host(),
                    &log(name),
                )?);
            }
        }
        for guest in &mut guests {
            guest.wait_until_up(interrupted)?;
        }
        let options = ffmpeg::options(placement.video.chain);
        // FFmpeg's server listens only once it knows the stream, and takes the first who connects for its viewer.
        let is_asked = placement.transport == Transport::Tcp && options.is_none();
        if is_asked {
            let last = placement.functions.last();
            let last = last.ok_or_else(|| LabError::Missing("no streaming server".into()))?;
            let server = (address(placement, last), STREAM_PORT);
            wait_for_server(&place(placement.user.as_ref()), server.into(), interrupted)?;
        }
        let source = match placement.transport {
            Transport::Udp => format!("udp://0.0.0.0:{}", port(placement.functions.len())),
            Transport::Tcp => {
                let last = placement.functions.last();
                let last = last.ok_or_else(|| LabError::Missing("no streaming server".into()))?;
                let server = address(placement, last);
                format!("http://{server}:{STREAM_PORT}/{STREAM}.ts")
            }
        };
        let frames = folder.join("frames.csv");
        let video = &placement.video;
        let mut play = words(&format!(
            "{own} play {source} --frames-csv {}",
            frames.display()
        ));
        if let Some(options) = options {
            let size = format!(
                "--width {} --height {} --decoder-command",
                video.width, video.height
            );
            play.extend(words(&size));
            play.push(options.decoder());
        }
        let at = place(placement.user.as_ref());
        let start_player = || {
            if video.viewer == Viewer::Forestall {
                let play = Process::start(&at, &play, &log("play"))?;
                return Ok((vec![play], None));
            }
            let (player, screen) = ffplay::start(&at, video, &source, &frames, folder)?;
            Ok((player, Some(screen)))
        };
        let (player, screen) = start_player()?;
        let first = placement
            .functions
            .first()
            .map_or_else(|| user(placement), |first| Ok(address(placement, first)))?;
        let to = format!("udp://{first}:{VIDEO_PORT}");
        let mut capture = words(&format!(
            "{own} capture --width {} --height {} --fps {} --sent-csv {}",
            video.width,
            video.height,
            video.fps,
            folder.join("sent.csv").display()
        ));
        match options {
            None => capture.extend(words(&format!(
                "{to} --bitrate {}k --gop {}",
                video.bitrate_kbps, video.gop
            ))),
            Some(options) => capture.extend([
                "--encoder-command".to_owned(),
                ffmpeg::camera(options, video, &to),
            ]),
        }
        let mut service = Self {
            camera: None,
            camera_line: capture,
            robot: place(placement.robot.as_ref()),
            player,
            screen,
            functions: processes,
            machines: guests,
            folder: folder.to_owned(),
        };
        service.start_camera()?;
        let again = options.map(|_| &start_player as &StartPlayer<'_>);
        service.wait_for_picture(&frames, again, interrupted)?;
        Ok(service)
    }

    /// A player that nobody answered yet is started `again`, where that is how it has to be.
    fn wait_for_picture(
        &mut self,
        frames: &Path,
        again: Option<&StartPlayer<'_>>,
        interrupted: &AtomicBool,
    ) -> Result<(), LabError> {
        let begun = Instant::now();
        while begun.elapsed() < FIRST_PICTURE_WITHIN {
            unless_interrupted(interrupted)?;
            if let Some(again) = again
                && self.player.iter_mut().any(|own| own.check().is_err())
            {
                std::thread::sleep(PLAYER_AGAIN);
                (self.player, self.screen) = again()?;
            }
            self.check()?;
            if frames.exists() {
                let rows: Vec<FrameRow> = whole_rows(frames)?;
                if rows.iter().any(|row| row.delay_ms.is_some()) {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(LabError::Late {
            what: "the first picture on the user's screen".into(),
            seconds: FIRST_PICTURE_WITHIN.as_secs_f64(),
            hint: format!("the player says: {}", tail(&self.folder.join("play.log"))),
        })
    }

    /// Starts the camera, which is stopped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_camera(&mut self) -> Result<(), LabError> {
        let log = self.folder.join("capture.log");
        self.camera = Some(Process::start(&self.robot, &self.camera_line, &log)?);
        Ok(())
    }

    /// Ends the camera; functions and player stay.
    pub fn stop_camera(&mut self) {
        self.camera = None;
    }

    /// Name of the screen that the player shows on; `None` where it needs none.
    pub fn screen(&self) -> Option<&str> {
        self.screen.as_deref()
    }

    /// An error when a part of it has ended by itself.
    ///
    /// # Errors
    /// With what it said last.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.camera.iter_mut().try_for_each(Process::check)?;
        self.player.iter_mut().try_for_each(Process::check)?;
        self.functions.iter_mut().try_for_each(Process::check)?;
        self.machines.iter_mut().try_for_each(Machine::check)
    }
}

/// Waits until the streaming server answers where the player is: a player that comes before is refused. A guest is up before its
/// function is.
fn wait_for_server(
    player: &Place,
    server: SocketAddr,
    interrupted: &AtomicBool,
) -> Result<(), LabError> {
    let answers = || {
        player.enter_network()?;
        let begun = Instant::now();
        while TcpStream::connect_timeout(&server, CONNECT_WITHIN).is_err() {
            unless_interrupted(interrupted)?;
            if begun.elapsed() > SERVER_WITHIN {
                return Err(LabError::Late {
                    what: "an answer of the streaming server".into(),
                    seconds: SERVER_WITHIN.as_secs_f64(),
                    hint: format!("nobody listens at {server}"),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    };
    // A namespace is entered by a thread, and left by its end.
    std::thread::scope(|scope| {
        let panicked = |_| LabError::Program {
            what: "the wait for the streaming server".into(),
            why: "it panicked".into(),
        };
        scope.spawn(answers).join().map_err(panicked)?
    })
}

fn user(placement: &Placement) -> Result<Ipv4Addr, LabError> {
    let user = placement.hosts.get(placement.user.as_ref());
    user.map(|host| host.address)
        .ok_or_else(|| LabError::Missing("no user".into()))
}

/// Where a function takes its video.
fn address(placement: &Placement, function: &PlacedFunction) -> Ipv4Addr {
    let host = placement.hosts.get(function.host.as_ref());
    function
        .machine
        .or(host.map(|host| host.address))
        .unwrap_or(Ipv4Addr::LOCALHOST)
}

/// Where the function with this place in the chain takes video.
fn port(index: usize) -> u16 {
    VIDEO_PORT.saturating_add(u16::try_from(index).unwrap_or(u16::MAX))
}

/// What a function runs.
enum Line {
    /// This program with these words, and the text after them.
    Own(String, Option<String>),
    /// A line for a shell that begins with `ffmpeg`.
    Ffmpeg(String),
}

impl Line {
    /// For the shell of a guest.
    fn in_guest(&self) -> String {
        match self {
            Self::Own(line, text) => {
                let text = text.as_deref().map(shell_quoted).unwrap_or_default();
                format!("exec /bin/forestall {line} {text}")
            }
            Self::Ffmpeg(line) => format!("exec /usr/bin/{line}"),
        }
    }

    fn on_host(&self) -> Vec<String> {
        match self {
            Self::Own(line, text) => {
                let mut argv = vec![own()];
                argv.extend(words(line));
                argv.extend(text.clone());
                argv
            }
            Self::Ffmpeg(line) => vec!["sh".into(), "-c".into(), format!("exec {line}")],
        }
    }
}

fn function_line(
    stage: Stage,
    next: Ipv4Addr,
    [own, its]: [u16; 2],
    placement: &Placement,
) -> Line {
    let (from, to) = (
        format!("udp://0.0.0.0:{own}"),
        format!("udp://{next}:{its}"),
    );
    let (video, text) = (&placement.video, &placement.text);
    if let Some(options) = ffmpeg::options(video.chain) {
        let way = [from.as_str(), &to];
        return Line::Ffmpeg(match stage {
            Stage::TextInsertion => ffmpeg::text_insertion(options, video, text, way),
            Stage::Relay => ffmpeg::relay(options, way),
            Stage::Streaming => {
                let at = format!("http://0.0.0.0:{STREAM_PORT}/{STREAM}.ts");
                ffmpeg::streaming(options, &from, &at)
            }
        });
    }
    match stage {
        Stage::TextInsertion => Line::Own(
            format!(
                "overlay {from} {to} --bitrate {}k --gop {} --text",
                video.bitrate_kbps, video.gop
            ),
            Some(text.clone()),
        ),
        Stage::Relay => Line::Own(format!("relay {from} {to}"), None),
        Stage::Streaming => Line::Own(
            format!("serve 0.0.0.0:{STREAM_PORT} --stream {STREAM}={from}"),
            None,
        ),
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}
