//! Delay the thesis' way (3.1.1): a clock beside the player's window, a screenshot of both each second, the digits of both read by
//! Tesseract.
//!
//! ```text
//! |  player's window  |   our clock      |   one shot, at one instant
//! |  13:05:07.120     |   13:05:07.181   |   the rows of the digits, binarised, to Tesseract
//! |  code strip       |   code strip     |   what the digits should say, and the picture's age in the same shot
//! ```
//! The clock is drawn as the camera draws its own, and put into its window every [`CLOCK_EVERY`]: in a shot it is late by half of
//! that on average, and delays are too short by it, by digits and by strips alike.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use record::Timestamp;
use record::raw::ShotRow;

use crate::MediaError;
use crate::clock_picture::{ClockPicture, clock_columns, clock_rows};
use crate::play::window::Window;
use crate::play::write_png;
use crate::tesseract::{binarised, is_there, read_line};
use crate::text::{DEFAULT_FONT, Font};
use crate::watch::{Area, Display, DisplayError, Shot, find};

/// The clock shows another time this often.
pub const CLOCK_EVERY: Duration = Duration::from_millis(8);
/// From shot to shot: no whole second, so that no digit stands where it was.
const SHOT_EVERY: Duration = Duration::from_millis(1010);
/// A player's window with a clock is there within this.
const PLAYER_WITHIN: Duration = Duration::from_secs(20);
/// The clock is on the screen by then.
const CLOCK_WITHIN: Duration = Duration::from_secs(1);
/// Tesseract's mode: in words it would look for spaces.
const RAW_LINE: u8 = 13;
/// File of the rows in the folder, and the folder of the pictures in it.
pub const SHOTS: &str = "shots.csv";
/// See [`SHOTS`].
pub const PICTURES: &str = "shots";

/// What is taken.
#[derive(Clone, Debug)]
pub struct ScreenshotsConfig {
    /// The X server, as in `DISPLAY`.
    pub display: String,
    /// How many shots.
    pub shots: u32,
    /// Where rows and pictures go; it is there.
    pub folder: PathBuf,
}

/// The lines of digits in a shot, and what the strips beside them say.
struct Taken {
    row: ShotRow,
    player: Shot,
    clock: Shot,
}

/// Takes shots until all are taken or `stop` is set, then reads them: so that reading disturbs nobody. Leaves `shots.csv`, and for each
/// shot `shots/NUMBER.png`: the player's digits above the clock's.
///
/// # Errors
/// Tesseract is missing, no player's window shows a clock, there is no room beside it, the X server goes, or a file cannot be written.
pub fn take(config: &ScreenshotsConfig, stop: &AtomicBool) -> Result<Vec<ShotRow>, MediaError> {
    // Now, not after the shots.
    is_there().map_err(no_tesseract)?;
    let display = Display::open(&config.display)?;
    let Some(window) = wait_for_player(&display, stop)? else {
        return read(config, Vec::new());
    };
    let beside = display.beside(&window).ok_or(DisplayError::NoRoom {
        width: window.width,
        height: window.height,
    })?;
    let font = Font::load(Path::new(DEFAULT_FONT))?;
    let mut clock = ClockPicture::new(window.width.into(), window.height.into(), &font)?;
    let digits = digits(&clock);
    let surface = Window::open_on(&config.display, "clock", Some((beside.x, beside.y)))?;
    let is_over = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        let ticking = scope.spawn(|| tick(&mut clock, &surface, &is_over));
        let taken = shots(config, &display, (&window, &beside), &digits, stop);
        is_over.store(true, Ordering::Relaxed);
        let ticked = ticking
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        ticked.and(taken)
    })?;
    surface.close()?;
    read(config, taken)
}

fn no_tesseract(source: std::io::Error) -> MediaError {
    MediaError::Start {
        command: "tesseract (Debian: tesseract-ocr)".into(),
        source,
    }
}

/// Where in a picture the clock's digits are.
fn digits(camera: &ClockPicture) -> Area {
    let (columns, rows) = (clock_columns(camera), clock_rows(camera));
    // Sides of a picture have 12 bits.
    Area {
        x: columns.start as u16,
        y: rows.start as u16,
        width: columns.len() as u16,
        height: rows.len() as u16,
    }
}

/// `None` once `stop` is set.
fn wait_for_player(display: &Display, stop: &AtomicBool) -> Result<Option<Area>, MediaError> {
    let end = Timestamp::now() + PLAYER_WITHIN;
    while !stop.load(Ordering::Relaxed) {
        if let Some(window) = find(display)? {
            return Ok(Some(window));
        }
        if Timestamp::now() >= end {
            return Err(DisplayError::NoPlayer.into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(None)
}

/// Draws the clock anew until `is_over`.
fn tick(
    clock: &mut ClockPicture,
    surface: &Window,
    is_over: &AtomicBool,
) -> Result<(), MediaError> {
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let now = Timestamp::now();
        surface.show(clock.take(now, number)?, None)?;
        number = number.wrapping_add(1);
        let next = now + CLOCK_EVERY;
        clock.prepare(next);
        thread::sleep(next.since(Timestamp::now()));
    }
    Ok(())
}

fn shots(
    config: &ScreenshotsConfig,
    display: &Display,
    (window, beside): (&Area, &Area),
    digits: &Area,
    stop: &AtomicBool,
) -> Result<Vec<Taken>, MediaError> {
    let both = window.with(beside);
    thread::sleep(CLOCK_WITHIN);
    let mut taken = Vec::new();
    let mut next = Timestamp::now();
    for number in 1..=config.shots {
        while Timestamp::now() < next && !stop.load(Ordering::Relaxed) {
            thread::sleep(next.since(Timestamp::now()).min(Duration::from_millis(50)));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        next = next + SHOT_EVERY;
        let asked = Timestamp::now();
        let shot = display.shot(&both)?;
        let now = Timestamp::now();
        let part = |of: &Area| shot.as_ref()?.part(&of.within(&both));
        let (Some(player), Some(clock)) = (part(window), part(beside)) else {
            return Err(DisplayError::NoPlayer.into());
        };
        let row = ShotRow {
            number,
            taken_us: now,
            shot_ms: now.seconds_after(asked) * 1e3,
            clock: String::new(),
            picture: String::new(),
            strip_clock_us: clock.captured(now),
            strip_picture_us: player.captured(now),
        };
        let parts = player.part(digits).zip(clock.part(digits));
        let (player, clock) = parts.ok_or(DisplayError::NoPlayer)?;
        taken.push(Taken { row, player, clock });
    }
    Ok(taken)
}

/// Has all shots read, and writes down what was read.
fn read(config: &ScreenshotsConfig, taken: Vec<Taken>) -> Result<Vec<ShotRow>, MediaError> {
    let pictures = config.folder.join(PICTURES);
    fs::create_dir_all(&pictures).map_err(|source| MediaError::Write {
        path: pictures.clone(),
        source,
    })?;
    let mut table = crate::table::Table::create(&config.folder.join(SHOTS))?;
    let mut rows = Vec::new();
    for Taken { row, player, clock } in taken {
        let text = |shot: &Shot| {
            let line = binarised(shot.grey().into_iter());
            read_line(shot.size().0.into(), &line, RAW_LINE).map_err(no_tesseract)
        };
        let row = ShotRow {
            clock: text(&clock)?,
            picture: text(&player)?,
            ..row
        };
        let rgb: Vec<u8> = player.pixels().chain(clock.pixels()).flatten().collect();
        let (width, height) = player.size();
        let size = (u32::from(width), 2 * u32::from(height));
        write_png(&pictures.join(format!("{:03}.png", row.number)), size, &rgb)?;
        table.write(&row)?;
        rows.push(row);
    }
    table.flush()?;
    Ok(rows)
}
