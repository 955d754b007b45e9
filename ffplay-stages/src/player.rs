//! What is known of the player in whose process this is.

use std::ffi::c_uint;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use record::raw::PlayerRow;
use record::{CsvWriter, RecordError, Timestamp};

use crate::frames::Frames;
use crate::original::Original;
use crate::picture::AVUTIL;

// SAFETY: its type in libavutil's `avutil.h`.
static AVUTIL_VERSION: Original<unsafe extern "C" fn() -> c_uint> =
    unsafe { Original::named(c"avutil_version") };

/// `None` where nobody asked, or nothing can be known.
static PLAYER: OnceLock<Option<Mutex<Player>>> = OnceLock::new();

/// Its frames, and where they are written down.
pub(crate) struct Player {
    pub(crate) frames: Frames,
    rows: CsvWriter<PlayerRow>,
}

impl Player {
    fn asked_for() -> Option<Mutex<Self>> {
        let path = std::env::var_os(PlayerRow::VARIABLE)?;
        let version = AVUTIL_VERSION.get()?;
        // SAFETY: it takes nothing, and can be called at any time.
        let major = unsafe { version() } >> 16;
        if !AVUTIL.contains(&major) {
            eprintln!("frames are not followed through libavutil {major}, but only {AVUTIL:?}");
            return None;
        }
        let rows = CsvWriter::create(Path::new(&path));
        let rows = rows.map_err(|error| complain(&error)).ok()?;
        Some(Mutex::new(Self {
            frames: Frames::default(),
            rows,
        }))
    }

    /// What was drawn was given to the screen. Its row goes to the system at once, after the picture: nobody tells this library when
    /// the player ends.
    pub(crate) fn presented(&mut self, at: Timestamp) {
        let rows = self.frames.presented(at);
        let mut written = rows.iter().try_for_each(|row| self.rows.write(row));
        if !rows.is_empty() {
            written = written.and_then(|()| self.rows.flush());
        }
        if let Err(error) = written {
            complain(&error);
        }
    }
}

/// To the log of the player, which goes on.
fn complain(error: &RecordError) {
    use std::error::Error;
    let cause = error.source().map(ToString::to_string);
    eprintln!("{error}: {}", cause.unwrap_or_default());
}

/// Notes something if somebody asked. Never fails: what is looked at goes on, whatever happens here.
pub(crate) fn note(what: impl FnOnce(&mut Player)) {
    let noted = AssertUnwindSafe(|| {
        let player = PLAYER.get_or_init(Player::asked_for).as_ref()?;
        // After a panic, which has said why, the books are not to be trusted.
        let mut player = player.lock().ok()?;
        what(&mut player);
        Some(())
    });
    // No panic may go on into a caller that is not Rust's.
    catch_unwind(noted).ok();
}
