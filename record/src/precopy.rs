//! The passes that pre-copy makes over a virtual machine's memory.

/// Passes after which an engine is taken to converge no more.
const PASSES_MAX: u32 = 200;

/// A virtual machine that is copied while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precopy {
    /// What the first pass sends: all memory that is not zero.
    pub first_mib: f64,
    /// Of that, what is written anew again and again.
    pub written_mib: f64,
    /// What is written anew each second.
    pub dirty_mib_s: f64,
    /// What copying may use.
    pub bandwidth_mib_s: f64,
    /// Longest stop that the engine may plan.
    pub downtime_limit_ms: f64,
}

/// How the passes go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passes {
    /// Time of all of them over that of the first.
    pub over_first: f64,
    /// What is left when the guest is stopped.
    pub rest_mib: f64,
}

impl Precopy {
    /// Pre-copy's geometric law (Clark et al., "Live Migration of Virtual Machines", NSDI 2005, section 3): a pass sends what was
    /// written during the one before, until the rest can be sent within the downtime limit. `None` when that never comes: memory is
    /// written faster than it is sent.
    #[must_use]
    pub fn passes(&self) -> Option<Passes> {
        let first_s = self.first_mib / self.bandwidth_mib_s;
        let (mut pass_s, mut all_s) = (first_s, 0.0);
        for _ in 0..PASSES_MAX {
            all_s += pass_s;
            // What is written twice is sent once.
            let rest_mib = (self.dirty_mib_s * pass_s).min(self.written_mib);
            pass_s = rest_mib / self.bandwidth_mib_s;
            if pass_s * 1e3 <= self.downtime_limit_ms {
                return Some(Passes {
                    over_first: all_s / first_s,
                    rest_mib,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_sends_what_was_written_during_the_one_before() {
        let copied = Precopy {
            first_mib: 200.0,
            written_mib: 200.0,
            dirty_mib_s: 5.0,
            bandwidth_mib_s: 10.0,
            downtime_limit_ms: 300.0,
        };
        // 20 s, 10, 5, 2.5, 1.25, 0.625; then 3.125 MiB are left, which take 312.5 ms: one more, and 156.25 ms are left.
        let passes = copied.passes().unwrap();
        assert_eq!(passes.over_first, 39.6875 / 20.0);
        assert_eq!(passes.rest_mib, 1.5625);
    }

    #[test]
    fn memory_that_is_written_faster_than_sent_has_no_passes() {
        let mut copied = Precopy {
            first_mib: 4_128.0,
            written_mib: 4_000.0,
            dirty_mib_s: 16.0,
            bandwidth_mib_s: 16.0,
            downtime_limit_ms: 300.0,
        };
        assert_eq!(copied.passes(), None);
        // With little that can be written at all the last pass is short enough, however often it is written.
        (copied.first_mib, copied.written_mib) = (132.0, 4.0);
        let passes = copied.passes().unwrap();
        assert_eq!((passes.rest_mib, passes.over_first), (4.0, 1.0));
    }
}
