//! Memory of a guest that is not zero, some of it written anew each second: what makes a machine as large, and as hard to copy, as is
//! asked. It runs in the guest.

use std::time::{Duration, Instant};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(50);
/// What a guest that stood still has missed is not made up for, beyond so many looks.
const CATCH_UP: u32 = 4;
const PAGE_WORDS: usize = 4096 / 8;
const PAGES_PER_MIB: f64 = 256.0;

/// How much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ballast {
    /// Memory that is not zero.
    pub mib: u32,
    /// Of this, what is written anew each second, page after page; 0 is nothing.
    pub dirty_mib_s: f64,
}

/// Pages that are due to be written.
#[derive(Debug)]
struct Due {
    pages_per_s: f64,
    owed: f64,
}

impl Due {
    /// Whole pages for a time that has passed; the rest is owed.
    fn after(&mut self, passed: Duration) -> usize {
        let counted = passed.min(TICK * CATCH_UP);
        self.owed += self.pages_per_s * counted.as_secs_f64();
        let whole = self.owed.floor();
        self.owed -= whole;
        whole as usize
    }
}

impl Ballast {
    /// The command that has it in the guest.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { mib, dirty_mib_s } = self;
        format!("exec /bin/forestall lab ballast {mib} {dirty_mib_s}")
    }

    /// Fills memory, calls `filled`, and writes for as long as the process lives.
    pub fn hold(&self, filled: impl FnOnce()) -> ! {
        // A word in each page is enough: QEMU sends a page whole, or says that all of it is zero.
        let mut memory = vec![0_u64; self.mib as usize * PAGES_PER_MIB as usize * PAGE_WORDS];
        let mut write = 1;
        for word in memory.iter_mut().step_by(PAGE_WORDS) {
            *word = write;
        }
        std::hint::black_box(&mut memory);
        filled();
        let mut due = Due {
            pages_per_s: self.dirty_mib_s * PAGES_PER_MIB,
            owed: 0.0,
        };
        let (mut next, mut looked) = (0, Instant::now());
        loop {
            std::thread::sleep(TICK);
            let now = Instant::now();
            for _ in 0..due.after(now - looked) {
                write += 1;
                if let Some(word) = memory.get_mut(next) {
                    *word = write;
                }
                next = (next + PAGE_WORDS) % memory.len().max(1);
            }
            std::hint::black_box(&mut memory);
            looked = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_due_at_the_rate_that_was_asked() {
        let mut due = Due {
            pages_per_s: 30.0,
            owed: 0.0,
        };
        let written: usize = (0..200).map(|_| due.after(TICK)).sum();
        assert!((299..=300).contains(&written), "{written} in 10 s");
        // A guest that stood still for an hour does not write for an hour.
        assert!(due.after(Duration::from_secs(3600)) <= 7);
    }
}
