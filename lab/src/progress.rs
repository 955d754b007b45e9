//! What a person sees while the lab works: one line that is written over on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Elsewhere than on a terminal a line is printed at most this often.
const PRINT_EVERY: Duration = Duration::from_secs(10);

/// Tells how far the work is.
#[derive(Debug)]
pub struct Progress {
    stage: String,
    terminal: bool,
    printed: Option<Instant>,
    begun: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            stage: String::new(),
            terminal: stderr().is_terminal(),
            printed: None,
            begun: Instant::now(),
        }
    }
}

impl Progress {
    /// A new stage of the work begins.
    pub fn stage(&mut self, stage: impl Into<String>) {
        self.stage = stage.into();
        self.printed = None;
        self.now("");
    }

    /// Figures of the moment.
    pub fn now(&mut self, figures: &str) {
        let seconds = self.begun.elapsed().as_secs();
        let line = format!(
            "[{:>2}:{:02}] {:<34} {figures}",
            seconds / 60,
            seconds % 60,
            self.stage
        );
        let mut out = stderr().lock();
        // Nobody may be reading; the work goes on.
        if self.terminal {
            write!(out, "\r\x1b[K{line}")
                .and_then(|()| out.flush())
                .ok();
        } else if self.printed.is_none_or(|at| at.elapsed() >= PRINT_EVERY) {
            self.printed = Some(Instant::now());
            writeln!(out, "{}", line.trim_end()).ok();
        }
    }

    /// A line that stays.
    pub fn note(&mut self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        writeln!(stderr().lock(), "{clear}{text}").ok();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            write!(stderr().lock(), "\r\x1b[K").ok();
        }
    }
}
