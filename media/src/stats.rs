//! What a stage did, once a second.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::time::Duration;

use record::Timestamp;
use serde::Serialize;

use crate::net::Input;

/// Longest list of times kept between two reports: a second at 1000 frames per second.
const TIMES_MAX: usize = 1000;
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Whether a stage prints its figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatsOutput {
    /// Nothing.
    #[default]
    Off,
    /// A line for people a second, on standard output.
    Lines,
    /// One JSON object a second on standard output.
    JsonLines,
}

/// What a stage did from start to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Frames that came in: coded pictures, or pictures taken.
    pub frames_in: u64,
    /// Frames that went out: sent or shown.
    pub frames_out: u64,
    /// Frames that came in and could not go out; for `capture`, pictures not taken because it was late; for `play` with a
    /// window, also those that went out to it and were replaced by a newer one before its X server took them.
    pub frames_dropped: u64,
    /// Frames that went out although parts of them, or of a frame that they refer to, were lost on the way here.
    pub frames_damaged: u64,
    /// Datagrams that were thrown away here: receive buffer full, or refused when sending.
    pub datagrams_dropped: u64,
    /// Packets of the transport stream that never came here, by their counters.
    pub packets_lost: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    stage: &'a str,
    time_us: Timestamp,
    #[serde(flatten)]
    totals: Totals,
    /// Frames inside the stage now that go out later: with `overlay` and `play` what the decoder holds of a stream with
    /// B-pictures, and with `play` what waits for a steady pace or is inside an outside program. `capture` fails rather than
    /// hold one, `relay` and `serve` pass packets on as they come.
    frames_held: u64,
    /// Frames that went out since the last report.
    frames_recent: u64,
    /// Time in this stage of those.
    stage_ms_p50: Option<f64>,
    stage_ms_p95: Option<f64>,
    stage_ms_p99: Option<f64>,
    /// Coded video that passed since the last report, without MPEG-TS.
    bitrate_bps: u64,
    /// Packets lost on the way here, by PID.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    lost_by_pid: &'a BTreeMap<u16, u64>,
    /// Age of the picture on the screen.
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_age_ms: Option<f64>,
    /// How much later than the least late picture all are shown, on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    playout_ms: Option<f64>,
    /// Those who watch, of a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    viewers: Option<u64>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals {
            frames_in,
            frames_out,
            frames_dropped,
            packets_lost,
            ..
        } = self.totals;
        write!(
            f,
            "{}: {frames_in} in, {frames_out} out, {frames_dropped} dropped, {} held; {} frames/s, {:.0} kbit/s",
            self.stage,
            self.frames_held,
            self.frames_recent,
            self.bitrate_bps as f64 / 1e3,
        )?;
        if let (Some(p50), Some(p95), Some(p99)) =
            (self.stage_ms_p50, self.stage_ms_p95, self.stage_ms_p99)
        {
            write!(
                f,
                "; in this stage {p50:.2} / {p95:.2} / {p99:.2} ms (p50 / p95 / p99)"
            )?;
        }
        if packets_lost > 0 {
            write!(f, "; {packets_lost} packets lost")?;
        }
        if let Some(age) = self.picture_age_ms {
            write!(f, "; picture age {age:.0} ms")?;
        }
        if let Some(playout) = self.playout_ms {
            write!(f, "; shown {playout:.0} ms later than at once")?;
        }
        if let Some(viewers) = self.viewers {
            write!(f, "; {viewers} viewers")?;
        }
        Ok(())
    }
}

/// Counts, and prints.
pub(crate) struct Meter {
    stage: &'static str,
    output: StatsOutput,
    pub(crate) totals: Totals,
    pub(crate) frames_held: u64,
    pub(crate) bytes: u64,
    /// Capture time of the picture on the screen.
    pub(crate) on_screen: Option<Timestamp>,
    /// How much later than the least late picture all are shown, on purpose.
    pub(crate) playout: Option<Duration>,
    /// Those who watch, of a server.
    pub(crate) viewers: Option<u64>,
    lost_by_pid: BTreeMap<u16, u64>,
    frames_recent: u64,
    times_ms: Vec<f64>,
    last: Timestamp,
}

impl Meter {
    pub(crate) fn new(stage: &'static str, output: StatsOutput, now: Timestamp) -> Self {
        Self {
            stage,
            output,
            totals: Totals::default(),
            frames_held: 0,
            bytes: 0,
            on_screen: None,
            playout: None,
            viewers: None,
            lost_by_pid: BTreeMap::new(),
            frames_recent: 0,
            times_ms: Vec::new(),
            last: now,
        }
    }

    /// A frame went out after `time` in this stage; `None` if that is not known.
    pub(crate) fn frame_out(&mut self, time: Option<Duration>) {
        self.totals.frames_out += 1;
        self.frames_recent += 1;
        if let Some(time) = time
            && self.output != StatsOutput::Off
            && self.times_ms.len() < TIMES_MAX
        {
            self.times_ms.push(time.as_secs_f64() * 1e3);
        }
    }

    /// Takes over what `input` has counted; `refused`: what the output has thrown away.
    pub(crate) fn follow(&mut self, input: &Input, refused: u64, now: Timestamp) {
        self.totals.datagrams_dropped = input.counters().overflowed + refused;
        let lost = input.continuity().lost();
        if lost != self.totals.packets_lost {
            self.totals.packets_lost = lost;
            self.lost_by_pid
                .clone_from(input.continuity().lost_by_pid());
        }
        self.report(now);
    }

    /// Prints a report if a second has passed.
    pub(crate) fn report(&mut self, now: Timestamp) {
        let passed = now.since(self.last);
        if self.output == StatsOutput::Off || passed < REPORT_EVERY {
            return;
        }
        self.times_ms.sort_by(f64::total_cmp);
        let report = Report {
            stage: self.stage,
            time_us: now,
            totals: self.totals,
            frames_held: self.frames_held,
            frames_recent: self.frames_recent,
            stage_ms_p50: percentile(&self.times_ms, 50),
            stage_ms_p95: percentile(&self.times_ms, 95),
            stage_ms_p99: percentile(&self.times_ms, 99),
            bitrate_bps: (self.bytes as f64 * 8.0 / passed.as_secs_f64()) as u64,
            lost_by_pid: &self.lost_by_pid,
            picture_age_ms: self
                .on_screen
                .map(|captured| now.seconds_after(captured) * 1e3),
            playout_ms: self.playout.map(|target| target.as_secs_f64() * 1e3),
            viewers: self.viewers,
        };
        let line = match self.output {
            StatsOutput::JsonLines => serde_json::to_string(&report),
            StatsOutput::Off | StatsOutput::Lines => Ok(report.to_string()),
        };
        if let Ok(line) = line {
            // Nobody reads any more: no reason to stop the video.
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
        self.times_ms.clear();
        self.bytes = 0;
        self.frames_recent = 0;
        self.last = now;
    }
}

/// Nearest rank.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted
        .get(rank - 1)
        .map(|value| (value * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            [50, 95, 99].map(|p| percentile(&hundred, p)),
            [Some(50.0), Some(95.0), Some(99.0)]
        );
        assert_eq!(percentile(&[7.0], 99), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
