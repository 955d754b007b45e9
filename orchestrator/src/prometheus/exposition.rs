//! What `node_exporter` says of a host's processors, in Prometheus' text format.
//!
//! Of some thousand lines those of one metric are read, whose labels `cpu` and `mode` are words without quotes in them: what is
//! otherwise is not `node_exporter`'s.

use std::collections::BTreeMap;

/// Seconds that each processor has spent in each mode since the host started.
pub(super) const METRIC: &str = "node_cpu_seconds_total";
/// Modes in which a processor waits: waiting for a disk is not work (as in [`crate::snmp`]).
const IDLE: [&str; 2] = ["idle", "iowait"];
/// Modes in which it works, or in which a hypervisor has it work for others.
const BUSY: [&str; 6] = ["user", "nice", "system", "irq", "softirq", "steal"];
/// More processors are not a host but an exporter that never ends.
const PROCESSORS_MAX: usize = 16_384;
/// Linux takes back some of the time that it has counted as waiting; by more than this a counter has begun anew.
const TAKEN_BACK_S_MAX: f64 = 10.0;

/// Time of each processor since the host started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuTimes(BTreeMap<String, Spent>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spent {
    busy_s: f64,
    idle_s: f64,
}

/// Why an answer says nothing of the processors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpositionError {
    /// It has no such metric.
    #[error("tells no node_cpu_seconds_total: is it a node_exporter?")]
    Absent,
    /// A line of it does not read.
    #[error("tells nonsense of node_cpu_seconds_total: {0:?}")]
    Nonsense(String),
    /// There is no end of processors.
    #[error("tells of more than {PROCESSORS_MAX} processors")]
    Processors,
}

impl CpuTimes {
    /// Reads an exporter's answer.
    ///
    /// # Errors
    /// When it says nothing of processors, or nothing that can be understood.
    pub fn read(text: &str) -> Result<Self, ExpositionError> {
        let mut all = Self::default();
        for line in text.lines() {
            let rest = line.strip_prefix(METRIC);
            let Some(rest) = rest.and_then(|rest| rest.strip_prefix('{')) else {
                continue;
            };
            let nonsense = || ExpositionError::Nonsense(line.chars().take(120).collect());
            let (cpu, mode, seconds) = parse(rest).ok_or_else(nonsense)?;
            all.add(cpu, mode, seconds)?;
        }
        if all.0.is_empty() {
            return Err(ExpositionError::Absent);
        }
        Ok(all)
    }

    /// Takes what one processor has spent in one mode.
    ///
    /// # Errors
    /// When there is no end of processors.
    pub(super) fn add(
        &mut self,
        cpu: &str,
        mode: &str,
        seconds: f64,
    ) -> Result<(), ExpositionError> {
        let Self(all) = self;
        if !all.contains_key(cpu) && all.len() == PROCESSORS_MAX {
            return Err(ExpositionError::Processors);
        }
        let spent = all.entry(cpu.to_owned()).or_default();
        if IDLE.contains(&mode) {
            spent.idle_s += seconds;
        } else if BUSY.contains(&mode) {
            spent.busy_s += seconds;
        }
        Ok(())
    }

    /// How many processors there are.
    #[must_use]
    pub fn processors(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Share of all processors that was busy since `before`; `None` when a processor came or went, the host was started anew, or no time
    /// has passed.
    #[must_use]
    pub fn busy_since(&self, before: &Self) -> Option<f64> {
        if self.0.len() != before.0.len() {
            return None;
        }
        let (mut busy, mut idle) = (0.0, 0.0);
        for (cpu, now) in &self.0 {
            let then = before.0.get(cpu)?;
            busy += forward(now.busy_s, then.busy_s)?;
            idle += forward(now.idle_s, then.idle_s)?;
        }
        let share = busy / (busy + idle);
        share.is_finite().then_some(share)
    }
}

fn forward(now: f64, then: f64) -> Option<f64> {
    let passed = now - then;
    (passed >= -TAKEN_BACK_S_MAX).then_some(passed.max(0.0))
}

/// `cpu="0",mode="idle"} 12.5`, and a time stamp after that where there is one.
fn parse(line: &str) -> Option<(&str, &str, f64)> {
    let (labels, value) = line.split_once('}')?;
    let (mut cpu, mut mode) = (None, None);
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (name, quoted) = label.trim().split_once('=')?;
        let word = quoted.strip_prefix('"')?.strip_suffix('"')?;
        match name {
            "cpu" => cpu = Some(word),
            "mode" => mode = Some(word),
            _ => {}
        }
    }
    let seconds: f64 = value.split_whitespace().next()?.parse().ok()?;
    let counts = seconds.is_finite() && seconds >= 0.0;
    counts.then_some((cpu?, mode?, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(processors: &[(f64, f64)]) -> CpuTimes {
        let mut text = String::from("# TYPE node_cpu_seconds_total counter\nnode_load1 0.3\n");
        for (cpu, (busy, idle)) in processors.iter().enumerate() {
            text += &format!(
                "node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"user\"}} {busy}\n\
                 node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"idle\"}} {idle}\n"
            );
        }
        CpuTimes::read(&text).unwrap()
    }

    #[test]
    fn shares() {
        let before = of(&[(10.0, 100.0), (20.0, 100.0)]);
        assert_eq!(before.processors(), 2);
        for (now, share) in [
            (&[(13.0, 101.0), (20.0, 104.0)][..], Some(3.0 / 8.0)),
            // Waiting time that was taken back.
            (&[(11.0, 99.9), (20.0, 101.0)], Some(0.5)),
            (&[(10.0, 100.0), (20.0, 100.0)], None),
            // Started anew; a processor that went; one that came.
            (&[(0.1, 0.2), (0.1, 0.2)], None),
            (&[(13.0, 101.0)], None),
            (&[(13.0, 101.0), (20.0, 104.0), (0.0, 0.0)], None),
        ] {
            assert_eq!(of(now).busy_since(&before), share, "{now:?}");
        }
    }

    #[test]
    fn modes() {
        let line = |mode| format!("node_cpu_seconds_total{{mode=\"{mode}\",cpu=\"0\"}} 8e0 1700\n");
        let all: String = BUSY.into_iter().chain(IDLE).map(line).collect();
        let times = CpuTimes::read(&(all + &line("a mode of tomorrow"))).unwrap();
        let spent = times.0["0"];
        assert_eq!((spent.busy_s, spent.idle_s), (48.0, 16.0));
    }

    #[test]
    fn absent() {
        for text in ["", "node_load1 0.3", "node_cpu_seconds_total 4"] {
            assert_eq!(CpuTimes::read(text), Err(ExpositionError::Absent), "{text}");
        }
    }

    #[test]
    fn nonsense() {
        for line in [
            "",
            "cpu=\"0\"} 1",
            "cpu=\"0\",mode=\"idle\"}",
            "cpu=\"0\",mode=\"idle\"} NaN",
            "cpu=\"0\",mode=\"idle\"} -1",
            "cpu=\"0\",mode=\"idle\"} +Inf",
            "cpu=0,mode=\"idle\"} 1",
            "cpu=\"a,b\",mode=\"idle\"} 1",
        ] {
            let read = CpuTimes::read(&format!("{METRIC}{{{line}"));
            assert!(
                matches!(read, Err(ExpositionError::Nonsense(_))),
                "{line}: {read:?}"
            );
        }
    }

    #[test]
    fn processors() {
        let line = |cpu| format!("{METRIC}{{cpu=\"{cpu}\",mode=\"idle\"}} 1\n");
        let text: String = (0..=PROCESSORS_MAX).map(line).collect();
        assert_eq!(CpuTimes::read(&text), Err(ExpositionError::Processors));
    }
}
