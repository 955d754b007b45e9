//! `ffplay` as the viewer: on a screen of its own, which a reader looks at, since `ffplay` tells nobody what it shows.
//!
//! ```text
//! function --UDP, HTTP--> ffplay --> Xvfb <-- forestall measure screen --> frames.csv
//!                         '--- what is preloaded into it --> player.csv
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use media::ffmpeg::Ffmpeg;
use record::raw::PlayerRow;
use scenario::{Video, Viewer};

use crate::check;
use crate::error::{LabError, file};
use crate::process::{Place, Process, own, tail};

/// `ffplay` listens within this.
const LISTENS_WITHIN: Duration = Duration::from_secs(10);
/// An X server has chosen its number within this.
const SCREEN_WITHIN: Duration = Duration::from_secs(10);
/// Pixels that the screen is larger than two pictures, so that windows of this size lie wholly on it: the player's, and a clock beside it.
const MARGIN: u32 = 64;

/// The library that tells `ffplay`'s own stages (the room `ffplay-stages`).
const STAGES: &str = "libforestall_ffplay_stages.so";

/// What `ffplay` is told; `None` where something else is the viewer.
const fn options(viewer: Viewer) -> Option<&'static str> {
    match viewer {
        Viewer::Forestall => None,
        Viewer::FfplayPlain => Some(Ffmpeg::PLAIN.play),
        Viewer::Ffplay => Some(Ffmpeg::TUNED.play),
    }
}

/// What a report says of it.
#[must_use]
pub fn in_words(viewer: Viewer) -> Option<String> {
    let options = options(viewer)?;
    let told = if options.is_empty() {
        "without options".to_owned()
    } else {
        format!("with {options}")
    };
    Some(format!(
        "viewed by ffplay {told}; a picture counts as shown when `forestall measure screen` first sees it on the X server's screen, \
         2 ms too late on average"
    ))
}

/// Whether all that a viewer needs is there.
///
/// # Errors
/// [`LabError::Missing`].
pub fn require(viewer: Viewer) -> Result<(), LabError> {
    let programs = [
        ("ffplay", "ffmpeg"),
        ("Xvfb", "xvfb"),
        ("setpriv", "util-linux"),
    ];
    match options(viewer) {
        Some(_) => check::require(&programs),
        None => Ok(()),
    }
}

/// Whether the stages of a viewer can be told apart.
///
/// # Errors
/// [`LabError::Missing`].
pub(crate) fn require_stages(viewer: Viewer) -> Result<(), LabError> {
    if options(viewer).is_none() || stages().is_some() {
        return Ok(());
    }
    Err(LabError::Missing(format!(
        "the stages of ffplay cannot be measured: {STAGES}, which `make build` makes, is not beside {}, or its path has a blank or colon",
        own()
    )))
}

/// The library, beside this program or where a package has it. The loader takes no path with a blank or colon.
fn stages() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let folder = own.parent()?;
    let mut places = [
        folder.join(STAGES),
        folder.join("../lib/forestall").join(STAGES),
    ]
    .into_iter();
    places.find(|path| path.is_file() && !path.to_string_lossy().contains([' ', ':']))
}

/// Starts screen, `ffplay` of a `source` and reader, in the order in which they are to be ended; `frames.csv` goes to `frames`, logs into
/// `folder`. With them comes the screen's name. Where there is the library for it, `player.csv` goes into `folder`, too, whatever is measured: it
/// costs `ffplay` microseconds a frame.
///
/// # Errors
/// When one does not start.
pub(crate) fn start(
    at: &Place,
    video: &Video,
    source: &str,
    frames: &Path,
    folder: &Path,
) -> Result<(Vec<Process>, String), LabError> {
    let words = |line: &str| line.split_whitespace().map(String::from).collect();
    let (width, height) = (2 * video.width + MARGIN, video.height + MARGIN);
    // Whatever kills the lab, takes the screen along, and with it what is on it.
    let screen: Vec<String> = words(&format!(
        "setpriv --pdeathsig TERM Xvfb -displayfd 1 -nolisten tcp -screen 0 {width}x{height}x24"
    ));
    let log = folder.join("xvfb.log");
    let mut screen = Process::start(at, &screen, &log)?;
    let display = display(&mut screen, &log)?;
    // The processor draws: no graphics card is there, and an emulated one takes more of it.
    let mut ffplay: Vec<String> = words(&format!(
        "env DISPLAY={display} SDL_VIDEODRIVER=x11 SDL_RENDER_DRIVER=software"
    ));
    if let Some(library) = stages() {
        let told = folder.join("player.csv");
        ffplay.push(format!("LD_PRELOAD={}", library.display()));
        ffplay.push(format!("{}={}", PlayerRow::VARIABLE, told.display()));
    }
    ffplay.extend(words(&format!(
        "ffplay -nostats -loglevel warning -an -left 0 -top 0 {} {source}",
        options(video.viewer).unwrap_or_default()
    )));
    let log = folder.join("ffplay.log");
    let mut ffplay = Process::start(at, &ffplay, &log)?;
    wait_until_it_listens(&mut ffplay, source, &log)?;
    let mut reader = vec![own()];
    reader.extend(words(&format!(
        "measure screen --display {display} --frames-csv"
    )));
    reader.push(frames.to_string_lossy().into_owned());
    let reader = Process::start(at, &reader, &folder.join("screen.log"))?;
    Ok((vec![reader, ffplay, screen], display))
}

/// Over UDP `ffplay` has to be there before the camera: the first packets have the tables that say that it is video. Without them it goes by
/// what it finds, and has been seen to take it for sound.
fn wait_until_it_listens(ffplay: &mut Process, source: &str, log: &Path) -> Result<(), LabError> {
    let port = source
        .strip_prefix("udp://")
        .and_then(|rest| rest.rsplit_once(':')?.1.parse::<u16>().ok());
    let Some(port) = port else {
        return Ok(());
    };
    // Its own network's: "  12: 00000000:1389 00000000:0000 07 …".
    let path = format!("/proc/{}/net/udp", ffplay.id());
    let begun = Instant::now();
    while begun.elapsed() < LISTENS_WITHIN {
        ffplay.check()?;
        let sockets = std::fs::read_to_string(&path).map_err(file(Path::new(&path)))?;
        let mut local = sockets
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        if local.any(|address| address.ends_with(&format!(":{port:04X}"))) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(LabError::Late {
        what: "ffplay's listening".into(),
        seconds: LISTENS_WITHIN.as_secs_f64(),
        hint: tail(log),
    })
}

/// The name of the X server that has chosen its number.
fn display(screen: &mut Process, log: &Path) -> Result<String, LabError> {
    let begun = Instant::now();
    while begun.elapsed() < SCREEN_WITHIN {
        screen.check()?;
        let said = std::fs::read_to_string(log).map_err(file(log))?;
        if let Some(number) = number(&said) {
            return Ok(format!(":{number}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(LabError::Late {
        what: "the start of Xvfb".into(),
        seconds: SCREEN_WITHIN.as_secs_f64(),
        hint: tail(log),
    })
}

/// The whole line that is a number, among what the server and its keyboard's compiler say.
fn number(said: &str) -> Option<u32> {
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    whole.lines().find_map(|line| line.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_among_warnings() {
        for (said, wanted) in [
            ("", None),
            ("9", None),
            ("99\n", Some(99)),
            (
                "The XKEYBOARD keymap compiler (xkbcomp) reports:\n> Warning: 3 keys\n7\n",
                Some(7),
            ),
        ] {
            assert_eq!(number(said), wanted, "{said:?}");
        }
    }
}
