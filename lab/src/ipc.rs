//! Instructions per cycle of what runs in a control group, by the processor's own counters (`perf_event_open`).

use std::fs::File;
use std::path::Path;

use perf_event::events::Hardware;
use perf_event::{Builder, Counter};

/// Counters that run until this is dropped.
#[derive(Debug)]
pub struct Counting {
    instructions: Counter,
    cycles: Counter,
}

impl Counting {
    /// Begins to count what the processes of a group do on a core, the kernel's part left out. The group is a folder of version 2's
    /// hierarchy.
    ///
    /// # Errors
    /// In words, why this machine does not count: virtual machines often have no counters.
    pub fn start(group: &Path, core: usize) -> Result<Self, String> {
        let folder = File::open(group).map_err(|error| format!("{}: {error}", group.display()))?;
        let counter = |what: Hardware| {
            let mut builder = Builder::new(what);
            builder.observe_cgroup(&folder).one_cpu(core).enabled(true);
            builder.build().map_err(|error| {
                format!("the processor's counters are not to be had here ({error})")
            })
        };
        Ok(Self {
            instructions: counter(Hardware::INSTRUCTIONS)?,
            cycles: counter(Hardware::CPU_CYCLES)?,
        })
    }

    /// Instructions a cycle since the start.
    ///
    /// # Errors
    /// In words: nothing ran, or the counters cannot be read.
    pub fn per_cycle(&mut self) -> Result<f64, String> {
        let read = |counter: &mut Counter| {
            let count = counter.read();
            count.map_err(|error| format!("the processor's counters cannot be read ({error})"))
        };
        let (instructions, cycles) = (read(&mut self.instructions)?, read(&mut self.cycles)?);
        if cycles == 0 {
            return Err("the load has not run".into());
        }
        Ok(instructions as f64 / cycles as f64)
    }
}
