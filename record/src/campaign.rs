//! A campaign of measurements: the parts of the thesis that are measured by themselves, cell by cell.
//!
//! A cell is one measurement that is made in one go. Its folder holds the raw data and, written last, `cell.json`: a folder without one
//! was broken off. A cell says itself where and when it was made, so that cells of several days and machines can lie together.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::results::Environment;

/// Name of the file in a cell's folder.
pub const FILE_NAME: &str = "cell.json";

/// `cell.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Version of the format, [`crate::SCHEMA`].
    pub schema: u32,
    /// What was measured.
    #[serde(flatten)]
    pub subject: Subject,
    /// RFC 3339.
    pub measured_at: String,
    /// The command line that had it measured; cells of before 2026-11-29 do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Processor, cores and accelerator, in words.
    pub machine: String,
    /// The machine as programs see it.
    pub environment: Environment,
    /// Mean share of the machine that others used meanwhile, `0..=1`.
    pub foreign_load: Option<f64>,
    /// That was too much, in every try: the cell proves nothing.
    pub spoilt: bool,
    /// How often it was made until it was quiet enough.
    pub tries: u32,
    /// Clock of the CPUs at the end of a level of load, mean of all; `None` elsewhere and where the machine does not say.
    pub cpu_mhz: Option<f64>,
    /// Instructions a cycle of a level's load; `None` elsewhere, and where the machine does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc: Option<f64>,
    /// Why they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_unknown: Option<String>,
}

/// What a cell measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "kebab-case")]
pub enum Subject {
    /// A placement as it is: Tables 2 to 4.
    Placement {
        /// Its name.
        placement: String,
        /// From 1.
        repeat: u32,
        /// Cables that the player's video passes over TCP; `None` where it comes over UDP.
        tcp_links: Option<u32>,
    },
    /// A placement whose last link has jitter: Figure 6 as a sweep.
    Jitter {
        /// Standard deviation of the link's delay.
        sd_ms: f64,
        /// From 1.
        repeat: u32,
        /// Programs that carry the video, where they are not Forestall's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chain: Option<String>,
    },
    /// Delay the thesis' way (3.1.1): screenshots of a clock beside the player's window, read by Tesseract.
    Screenshots {
        /// Name of the placement.
        placement: String,
        /// The player.
        viewer: String,
    },
    /// Background load beside the function: Tables 5 and 6.
    Load {
        /// Name of the sweep.
        sweep: String,
        /// Share of the CPU that was asked of the load, `0..=1`.
        level: f64,
        /// CPU weight of the load, with that of the virtual machine as 1.
        weight: u32,
        /// What `stress-ng` computes, `STRESSOR:METHOD`; `None` for all methods of its stressor `cpu` in turn.
        method: Option<String>,
    },
    /// Where the delay is spent, stage by stage: Figure 7.
    Breakdown {
        /// Name of the placement, or of the scenario under load.
        way: String,
        /// Programs that carry the video.
        chain: String,
        /// The player, where it is not the chain's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        viewer: Option<String>,
        /// Share of the CPU that was asked of the load; `None` for a placement, which has none.
        level: Option<f64>,
    },
    /// First and last packet into a server and out of it, streaming started and stopped repeatedly (3.2.4): of the part `breakdown`.
    Starts {
        /// Name of the placement.
        way: String,
        /// Programs that carry the video.
        chain: String,
    },
    /// Live migrations between loaded hosts: Table 7.
    Migration {
        /// Share of the CPU of the source that was asked of the load, `0..=1`.
        source: f64,
        /// The same at the target.
        target: f64,
    },
    /// Live migrations over a path, of a machine of a size: 4.2's memory, dirty rate, bandwidth, round trip and loss.
    Paths(PathPoint),
}

/// What is moved over what in a cell of [`Subject::Paths`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathPoint {
    /// Memory of the virtual machine.
    pub memory_mib: u32,
    /// Of that, what was filled with something other than zeros, beside what the guest has itself.
    pub filled_mib: u32,
    /// Of what was filled, what is written anew each second, page after page.
    pub dirty_mib_s: f64,
    /// What copying may use of the link.
    pub bandwidth_mib_s: f64,
    /// Longest stop of the guest that the engine may plan.
    pub downtime_limit_ms: f64,
    /// Round trip that the management link between the two hosts adds.
    pub rtt_ms: f64,
    /// Share of frames that it loses in each direction.
    pub loss_percent: f64,
    /// When memory is copied.
    pub copying: Copying,
}

/// When memory is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Copying {
    /// While the guest runs at the source.
    PreCopy,
    /// After a while, while it runs at the target.
    PostCopy,
}

impl Copying {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreCopy => "pre-copy",
            Self::PostCopy => "post-copy",
        }
    }
}

/// The parts of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Tables 2 to 4, Figures 4 to 6.
    Placement,
    /// Figure 6 as a sweep.
    Jitter,
    /// Delay the thesis' way.
    Screenshots,
    /// Tables 5 and 6, Figures 8 to 14.
    Load,
    /// Figure 7, and again under load.
    Breakdown,
    /// Table 7, Figures 15 and 16.
    Migration,
    /// Migrations by memory, dirty rate, bandwidth, round trip and loss.
    Paths,
}

impl Part {
    /// All of them, in the thesis' order.
    pub const ALL: [Self; 7] = [
        Self::Placement,
        Self::Jitter,
        Self::Screenshots,
        Self::Load,
        Self::Breakdown,
        Self::Migration,
        Self::Paths,
    ];

    /// Its name, as in `cell.json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placement => "placement",
            Self::Jitter => "jitter",
            Self::Screenshots => "screenshots",
            Self::Load => "load",
            Self::Breakdown => "breakdown",
            Self::Migration => "migration",
            Self::Paths => "paths",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Subject {
    /// The part that it belongs to.
    #[must_use]
    pub const fn part(&self) -> Part {
        match self {
            Self::Placement { .. } => Part::Placement,
            Self::Jitter { .. } => Part::Jitter,
            Self::Screenshots { .. } => Part::Screenshots,
            Self::Load { .. } => Part::Load,
            Self::Breakdown { .. } | Self::Starts { .. } => Part::Breakdown,
            Self::Migration { .. } => Part::Migration,
            Self::Paths(_) => Part::Paths,
        }
    }

    /// Its folder below the campaign's.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        let percent = |share: &f64| format!("{:03.0}", share * 100.0);
        let name = match self {
            Self::Placement {
                placement, repeat, ..
            } => format!("{placement}-{repeat}"),
            Self::Jitter {
                sd_ms,
                repeat,
                chain,
            } => {
                let chain = chain.as_ref().map(|chain| format!("{chain}-"));
                format!("sd-{sd_ms:04.1}-{}{repeat}", chain.unwrap_or_default())
            }
            Self::Screenshots { placement, viewer } => format!("{placement}-{viewer}"),
            Self::Load { sweep, level, .. } => format!("{sweep}-{}", percent(level)),
            Self::Breakdown {
                way,
                chain,
                viewer,
                level,
            } => {
                let viewer = viewer.as_ref().map(|viewer| format!("-{viewer}"));
                let level = level.as_ref().map(|level| format!("-{}", percent(level)));
                let [viewer, level] = [viewer, level].map(Option::unwrap_or_default);
                format!("{way}-{chain}{viewer}{level}")
            }
            Self::Starts { way, chain } => format!("{way}-{chain}-starts"),
            Self::Migration { source, target } => {
                format!("source-{}-target-{}", percent(source), percent(target))
            }
            Self::Paths(path) => path.folder(),
        };
        PathBuf::from(self.part().as_str()).join(name)
    }
}

impl PathPoint {
    fn folder(&self) -> String {
        let Self {
            memory_mib,
            filled_mib,
            dirty_mib_s,
            bandwidth_mib_s,
            rtt_ms,
            loss_percent,
            copying,
            ..
        } = self;
        format!(
            "{}-{memory_mib:04}-filled-{filled_mib:04}-dirty-{dirty_mib_s:04.1}-rate-{bandwidth_mib_s:05.1}-rtt-{rtt_ms:05.1}-loss-{loss_percent:05.2}",
            copying.as_str()
        )
    }
}

/// A live migration of a cell: a row of `moves.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveRow {
    /// From 1.
    pub number: u32,
    /// Host that the function left.
    pub source: String,
    /// Host that it went to.
    pub target: String,
    /// When it was ordered.
    pub decided_us: crate::Timestamp,
    /// When it was over, with the first frame from the target on the screen; empty when it failed.
    pub shown_us: Option<crate::Timestamp>,
    /// The engine's total migration time; empty when it failed.
    pub total_ms: Option<f64>,
    /// The engine's downtime.
    pub downtime_ms: Option<f64>,
    /// Bytes that the engine sent; empty when it failed, and where it does not say.
    #[serde(default)]
    pub sent_bytes: Option<u64>,
    /// Of these, pages sent whole, each time that one was.
    #[serde(default)]
    pub pages: Option<u64>,
    /// Pages of which was only said that they are zero.
    #[serde(default)]
    pub zero_pages: Option<u64>,
    /// Passes over memory: the first, and one for what was written meanwhile, and so on.
    #[serde(default)]
    pub rounds: Option<u64>,
    /// Why it failed; empty when it did not.
    pub failure: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_differ_and_sort() {
        let load = |level| Subject::Load {
            sweep: "all".into(),
            level,
            weight: 20,
            method: None,
        };
        let migration = |source, target| Subject::Migration { source, target };
        for (subject, folder) in [
            (load(0.0), "load/all-000"),
            (load(0.85), "load/all-085"),
            (load(1.0), "load/all-100"),
            (migration(0.5, 0.0), "migration/source-050-target-000"),
            (
                Subject::Paths(PathPoint {
                    memory_mib: 256,
                    filled_mib: 128,
                    dirty_mib_s: 0.5,
                    bandwidth_mib_s: 32.0,
                    downtime_limit_ms: 300.0,
                    rtt_ms: 175.0,
                    loss_percent: 0.1,
                    copying: Copying::PostCopy,
                }),
                "paths/post-copy-0256-filled-0128-dirty-00.5-rate-032.0-rtt-175.0-loss-00.10",
            ),
            (
                Subject::Jitter {
                    sd_ms: 2.5,
                    repeat: 1,
                    chain: None,
                },
                "jitter/sd-02.5-1",
            ),
            (
                Subject::Jitter {
                    sd_ms: 2.5,
                    repeat: 1,
                    chain: Some("ffmpeg-plain".into()),
                },
                "jitter/sd-02.5-ffmpeg-plain-1",
            ),
            (
                Subject::Breakdown {
                    way: "non-virtualized".into(),
                    chain: "forestall".into(),
                    viewer: Some("ffplay".into()),
                    level: None,
                },
                "breakdown/non-virtualized-forestall-ffplay",
            ),
            (
                Subject::Breakdown {
                    way: "reallocation".into(),
                    chain: "ffmpeg".into(),
                    viewer: None,
                    level: Some(0.5),
                },
                "breakdown/reallocation-ffmpeg-050",
            ),
            (
                Subject::Starts {
                    way: "edge-user-side".into(),
                    chain: "ffmpeg-plain".into(),
                },
                "breakdown/edge-user-side-ffmpeg-plain-starts",
            ),
        ] {
            assert_eq!(subject.folder(), PathBuf::from(folder));
        }
    }

    #[test]
    fn a_cell_says_its_part() {
        for part in Part::ALL {
            let text = serde_json::to_string(&part).unwrap();
            assert_eq!(text, format!("\"{part}\""));
        }
        let subject = Subject::Migration {
            source: 0.0,
            target: 1.0,
        };
        let text = serde_json::to_string(&subject).unwrap();
        assert_eq!(text, r#"{"part":"migration","source":0.0,"target":1.0}"#);
        assert_eq!(serde_json::from_str::<Subject>(&text).unwrap(), subject);
    }
}
