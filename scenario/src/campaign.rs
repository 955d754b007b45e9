//! What is measured for a report in parts: placements, a sweep of jitter, sweeps of load, migrations between loaded hosts and over
//! paths.

use std::path::{Path, PathBuf};

use record::HostName;
use record::campaign::{Part, Subject};
use serde::Deserialize;
use toml::Spanned;

use crate::error::ScenarioError;
use crate::paths::Paths;
use crate::placement::{Placement, Transport};
use crate::read::{parse_toml, text_in};
use crate::types::{Chain, Viewer};

/// Name of the file in a campaign's folder.
pub const FILE_NAME: &str = "campaign.toml";
/// Version of the file.
pub const SCHEMA: u32 = 1;

/// The parts of a campaign; one that is absent is not measured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Version of the format; [`SCHEMA`].
    pub schema: Spanned<u32>,
    /// Name of the folder, and of the results.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Tables 2 to 4.
    pub placement: Option<Placements>,
    /// Figure 6 as a sweep.
    pub jitter: Option<JitterSweep>,
    /// Delay the thesis' way.
    pub screenshots: Option<Shots>,
    /// Tables 5 and 6.
    pub load: Option<Loads>,
    /// Figure 7, and again under load.
    pub breakdown: Option<Breakdown>,
    /// Table 7.
    pub migration: Option<Migrations>,
    /// Migrations by memory, dirty rate, bandwidth, round trip and loss.
    pub paths: Option<Paths>,
    /// Folder that paths in it begin at.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Placements, each measured several times.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placements {
    /// Their folders.
    pub folders: Vec<PathBuf>,
    /// Some of them again with other programs.
    #[serde(default)]
    pub again: Vec<Again>,
    /// How often each is measured.
    pub repeat: Spanned<u32>,
    /// For how long.
    pub duration_s: Spanned<f64>,
    /// Pings before.
    pub pings: u32,
}

/// Placements whose video other programs carry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// The programs; the placement's name ends in theirs.
    pub chain: Chain,
    /// Folders of the placements.
    pub folders: Vec<PathBuf>,
}

impl Placements {
    /// All that are measured; paths begin at `folder`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(&self, folder: &Path) -> Result<Vec<Placement>, ScenarioError> {
        let read = |own: &PathBuf| Placement::read(&folder.join(own));
        let mut all: Vec<Placement> = self.folders.iter().map(read).collect::<Result<_, _>>()?;
        for again in &self.again {
            for own in &again.folders {
                let mut placement = read(own)?;
                placement.name = format!("{}-{}", placement.name, again.chain.as_str());
                placement.video.chain = again.chain;
                // A VPN does not ask who carries the video.
                placement.vpn = false;
                all.push(placement);
            }
        }
        Ok(all)
    }
}

/// One placement with more and more jitter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JitterSweep {
    /// Folder of the placement.
    pub folder: PathBuf,
    /// Host whose link to its switch has the jitter, away from the host.
    pub host: Spanned<HostName>,
    /// Delay of that link: so much that jitter rarely makes it 0.
    pub delay_ms: Spanned<f64>,
    /// Time constant of the jitter's correlation.
    pub memory_ms: Spanned<f64>,
    /// Standard deviations.
    pub sd_ms: Spanned<Vec<f64>>,
    /// Programs that carry the video, all of it with each; the placement's where none is named.
    #[serde(default)]
    pub chains: Vec<Chain>,
    /// How often each is measured.
    pub repeat: Spanned<u32>,
    /// For how long.
    pub duration_s: Spanned<f64>,
}

/// Placements whose delay is measured the thesis' way: screenshots, read by Tesseract.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shots {
    /// Their folders.
    pub placements: Vec<PathBuf>,
    /// The player, each placement with each.
    pub viewers: Vec<Viewer>,
    /// How many, one each 1.01 s.
    pub shots: Spanned<u32>,
    /// The picture in place of the placement's: its digits have to be read.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// Its bit rate.
    pub bitrate_kbps: u32,
}

/// Sweeps of load.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loads {
    /// The load stands for this long before anything counts.
    pub settle_s: Spanned<f64>,
    /// For how long each level is measured.
    pub duration_s: Spanned<f64>,
    /// The sweeps.
    pub sweeps: Vec<LoadSweep>,
}

/// A sweep of load.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSweep {
    /// Its name.
    pub name: String,
    /// Folder of the scenario whose service and hosts it has.
    pub scenario: PathBuf,
    /// CPU weight of the load, with that of the virtual machine as 1; the scenario's where it is absent.
    pub weight: Option<Spanned<u32>>,
    /// Programs that carry the video; the scenario's where it is absent.
    pub chain: Option<Chain>,
    /// What `stress-ng` computes, as `STRESSOR:METHOD`; all methods of its stressor `cpu` in turn where it is absent.
    pub method: Option<Spanned<String>>,
    /// Shares of the CPU that are asked of the load.
    pub levels: Spanned<Vec<f64>>,
}

/// Where the delay is spent, stage by stage.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breakdown {
    /// Folders of the placements whose stages are measured. Each function has a virtual machine, or none has and all are on one host.
    pub placements: Vec<PathBuf>,
    /// Folder of the scenario whose stages are measured under load.
    pub scenario: PathBuf,
    /// Programs that carry the video: all of it with one after the other.
    pub chains: Vec<Chain>,
    /// Shares of the CPU that are asked of the load.
    pub levels: Spanned<Vec<f64>>,
    /// Placements whose player is measured, by UDP and by TCP.
    #[serde(default)]
    pub players: Vec<PathBuf>,
    /// Each with these as the viewer, and Forestall's chain before it.
    #[serde(default)]
    pub viewers: Vec<Viewer>,
    /// How often streaming is started and stopped through each of the placements, with each of the chains (3.2.4).
    pub starts: Spanned<u32>,
    /// The load stands for this long before anything counts.
    pub settle_s: Spanned<f64>,
    /// For how long each is measured.
    pub duration_s: Spanned<f64>,
}

/// Live migrations between loaded hosts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migrations {
    /// Folder of the scenario.
    pub scenario: PathBuf,
    /// Shares asked of the load of the source.
    pub source: Spanned<Vec<f64>>,
    /// The same of the target.
    pub target: Spanned<Vec<f64>>,
    /// Migrations for each pair.
    pub moves: Spanned<u32>,
    /// The load stands for this long before each.
    pub settle_s: Spanned<f64>,
}

impl Campaign {
    /// Reads a campaign from its folder or file.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let (file, text) = text_in(path, FILE_NAME)?;
        Self::parse(&file, &text)
    }

    /// Reads a campaign from `text`; `path` is named in errors, and paths in it begin at its folder.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let mut campaign: Self = parse_toml(path, text)?;
        campaign.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        match campaign.fault() {
            Some((offset, message)) => Err(ScenarioError::at(path, text, offset, message)),
            None => Ok(campaign),
        }
    }

    fn fault(&self) -> Option<(usize, String)> {
        let schema = &self.schema;
        if *schema.get_ref() != SCHEMA {
            let message = format!(
                "schema is {}; this Forestall reads {SCHEMA}",
                schema.get_ref()
            );
            return Some((schema.span().start, message));
        }
        let seconds = |value: &Spanned<f64>, least: f64, key: &str| {
            (!(least..=86_400.0).contains(value.get_ref())).then(|| {
                let text = format!(
                    "{key} is {}; it must be {least} to 86400 s",
                    value.get_ref()
                );
                (value.span().start, text)
            })
        };
        let count = |value: &Spanned<u32>, key: &str| {
            (!(1..=1_000).contains(value.get_ref())).then(|| {
                let text = format!("{key} is {}; it must be 1 to 1000", value.get_ref());
                (value.span().start, text)
            })
        };
        let within = |values: &Spanned<Vec<f64>>, most: f64, key: &str| {
            let wrong = |value: &&f64| !(0.0..=most).contains(*value);
            let text = if values.get_ref().is_empty() {
                format!("{key} is empty")
            } else {
                let value = values.get_ref().iter().find(wrong)?;
                format!("{key} has {value}; it must be 0 to {most}")
            };
            Some((values.span().start, text))
        };
        let placement = self.placement.iter().filter_map(|part| {
            count(&part.repeat, "repeat").or_else(|| seconds(&part.duration_s, 1.0, "duration_s"))
        });
        let jitter = self.jitter.iter().filter_map(|part| {
            within(&part.sd_ms, 1e3, "sd_ms")
                .or_else(|| count(&part.repeat, "repeat"))
                .or_else(|| seconds(&part.duration_s, 1.0, "duration_s"))
        });
        let screenshots = self.screenshots.iter();
        let screenshots = screenshots.filter_map(|part| count(&part.shots, "shots"));
        let load = self.load.iter().filter_map(|part| {
            let sweep = |sweep: &LoadSweep| {
                let method = sweep.method.iter().find_map(|method| {
                    let text = method.get_ref();
                    let parts = text.split_once(':');
                    let is_right = parts.is_some_and(|(stressor, method)| !stressor.is_empty() && !method.is_empty());
                    (!is_right).then(|| {
                        let text = format!("method is {text:?}; it must be STRESSOR:METHOD of stress-ng, like cpu:idct");
                        (method.span().start, text)
                    })
                });
                method.or_else(|| within(&sweep.levels, 1.0, "levels"))
            };
            seconds(&part.duration_s, 1.0, "duration_s")
                .or_else(|| seconds(&part.settle_s, 0.0, "settle_s"))
                .or_else(|| part.sweeps.iter().find_map(sweep))
        });
        let breakdown = self.breakdown.iter().filter_map(|part| {
            within(&part.levels, 1.0, "levels")
                .or_else(|| count(&part.starts, "starts"))
                .or_else(|| seconds(&part.settle_s, 0.0, "settle_s"))
                .or_else(|| seconds(&part.duration_s, 1.0, "duration_s"))
        });
        let migration = self.migration.iter().filter_map(|part| {
            within(&part.source, 1.0, "source")
                .or_else(|| within(&part.target, 1.0, "target"))
                .or_else(|| count(&part.moves, "moves"))
                .or_else(|| seconds(&part.settle_s, 0.0, "settle_s"))
        });
        let paths = self.paths.iter().filter_map(Paths::fault);
        placement
            .chain(jitter)
            .chain(screenshots)
            .chain(load)
            .chain(breakdown)
            .chain(migration)
            .chain(paths)
            .next()
    }

    /// Everything that one part measures, in order.
    ///
    /// # Errors
    /// When a placement that it names cannot be read.
    pub fn cells(&self, part: Part) -> Result<Vec<Subject>, ScenarioError> {
        let mut cells = Vec::new();
        match part {
            Part::Placement => {
                for own in self.placement.iter() {
                    // Repeat by repeat, so that what changes over hours meets all placements.
                    for repeat in 1..=*own.repeat.get_ref() {
                        for placement in own.read(&self.folder)? {
                            cells.push(Subject::Placement {
                                tcp_links: tcp_links(&placement),
                                placement: placement.name,
                                repeat,
                            });
                        }
                    }
                }
            }
            Part::Jitter => {
                for own in self.jitter.iter() {
                    let named = own.chains.iter().copied().map(Some);
                    let chains: Vec<Option<Chain>> = if own.chains.is_empty() {
                        vec![None]
                    } else {
                        named.collect()
                    };
                    for repeat in 1..=*own.repeat.get_ref() {
                        for chain in &chains {
                            // Forestall's own has no name in a cell.
                            let chain = chain.filter(|chain| *chain != Chain::Forestall);
                            let all = own.sd_ms.get_ref().iter();
                            cells.extend(all.map(|sd_ms| Subject::Jitter {
                                sd_ms: *sd_ms,
                                repeat,
                                chain: chain.map(|chain| chain.as_str().to_owned()),
                            }));
                        }
                    }
                }
            }
            Part::Screenshots => {
                for own in self.screenshots.iter() {
                    for folder in &own.placements {
                        let placement = Placement::read(&self.folder.join(folder))?;
                        cells.extend(own.viewers.iter().map(|viewer| Subject::Screenshots {
                            placement: placement.name.clone(),
                            viewer: viewer.as_str().to_owned(),
                        }));
                    }
                }
            }
            Part::Load => {
                for sweep in self.load.iter().flat_map(|own| &own.sweeps) {
                    let weight = match &sweep.weight {
                        Some(weight) => *weight.get_ref(),
                        None => {
                            let scenario =
                                crate::Scenario::read(&self.folder.join(&sweep.scenario))?;
                            scenario.competition.map_or(1, |c| c.load_weight)
                        }
                    };
                    let all = sweep.levels.get_ref().iter();
                    cells.extend(all.map(|level| Subject::Load {
                        sweep: sweep.name.clone(),
                        level: *level,
                        weight,
                        method: sweep.method.as_ref().map(|method| method.get_ref().clone()),
                    }));
                }
            }
            Part::Breakdown => {
                for own in self.breakdown.iter() {
                    let names = |folders: &[PathBuf]| -> Result<Vec<String>, ScenarioError> {
                        let read = |folder| Placement::read(&self.folder.join(folder));
                        let all = folders.iter().map(read);
                        all.map(|placement| Ok(placement?.name)).collect()
                    };
                    let cell = |way: &str, chain: Chain, viewer: Option<Viewer>, level| {
                        Subject::Breakdown {
                            way: way.to_owned(),
                            chain: chain.as_str().to_owned(),
                            viewer: viewer.map(|viewer| viewer.as_str().to_owned()),
                            level,
                        }
                    };
                    let placements = names(&own.placements)?;
                    let scenario = crate::Scenario::read(&self.folder.join(&own.scenario))?;
                    for chain in &own.chains {
                        let all = placements.iter();
                        cells.extend(all.map(|way| cell(way, *chain, None, None)));
                        let levels = own.levels.get_ref().iter();
                        cells.extend(
                            levels.map(|level| cell(&scenario.name, *chain, None, Some(*level))),
                        );
                    }
                    for way in names(&own.players)? {
                        let all = own.viewers.iter();
                        cells.extend(
                            all.map(|viewer| cell(&way, Chain::Forestall, Some(*viewer), None)),
                        );
                    }
                    for chain in &own.chains {
                        cells.extend(placements.iter().map(|way| Subject::Starts {
                            way: way.clone(),
                            chain: chain.as_str().to_owned(),
                        }));
                    }
                }
            }
            Part::Migration => {
                for own in self.migration.iter() {
                    for target in own.target.get_ref() {
                        let all = own.source.get_ref().iter();
                        cells.extend(all.map(|source| Subject::Migration {
                            source: *source,
                            target: *target,
                        }));
                    }
                }
            }
            Part::Paths => {
                for own in self.paths.iter() {
                    let scenario = crate::Scenario::read(&self.folder.join(&own.scenario))?;
                    let points = own.cells(scenario.migration.downtime_limit_ms);
                    cells.extend(points.into_iter().map(Subject::Paths));
                }
            }
        }
        Ok(cells)
    }
}

/// Cables from the streaming server to the player.
fn tcp_links(placement: &Placement) -> Option<u32> {
    if placement.transport == Transport::Udp {
        return None;
    }
    let last = placement.functions.last()?;
    let links = placement.links_between(last.host.as_ref(), placement.user.as_ref())?;
    u32::try_from(links).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thesis() -> (PathBuf, String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/thesis/campaign.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    }

    #[test]
    fn the_thesis_as_it_is() {
        let (path, text) = thesis();
        let campaign = Campaign::parse(&path, &text).unwrap();
        let counts = Part::ALL.map(|part| campaign.cells(part).unwrap().len());
        assert_eq!(
            counts[0], 34,
            "seven placements, two variants of one, and again with FFmpeg's programs, all twice"
        );
        assert_eq!(
            counts[4], 25,
            "three chains through two placements, once more started and stopped, and beside three loads; two ways to two viewers"
        );
        assert_eq!(
            counts[5], 21,
            "seven loads of the source, three of the target"
        );
        assert_eq!(
            counts[6], 46,
            "a base and 16 along five axes, by pre-copy and by post-copy, and 12 more of a grid of 18"
        );
        let links = campaign
            .cells(Part::Placement)
            .unwrap()
            .into_iter()
            .filter_map(|cell| match cell {
                Subject::Placement {
                    placement,
                    tcp_links,
                    repeat: 1,
                } => Some((placement, tcp_links)),
                _ => None,
            });
        // Section 3.1.2; the data centres are one switch away here and behind the Internet there.
        for (placement, tcp_links) in links.filter(|(name, _)| !name.starts_with("dc-")) {
            let printed = match placement
                .trim_end_matches("-plain")
                .trim_end_matches("-ffmpeg")
            {
                "edge-user-side" => Some(2),
                "non-virtualized" | "non-virtualized-60fps" => Some(3),
                "edge-robot-side" => Some(4),
                _ => None,
            };
            assert_eq!(tcp_links, printed, "{placement}");
        }
        let mut folders: Vec<PathBuf> = Part::ALL
            .iter()
            .flat_map(|part| campaign.cells(*part).unwrap())
            .map(|cell| cell.folder())
            .collect();
        let all = folders.len();
        folders.sort();
        folders.dedup();
        assert_eq!(folders.len(), all, "each cell has a folder of its own");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let (path, text) = thesis();
        for (right, wrong, message) in [
            ("schema = 1", "schema = 9", "schema is 9"),
            ("repeat = 2", "repeat = 0", "repeat is 0"),
            ("duration_s = 100", "duration_s = -1", "duration_s is -1"),
            ("source = [0.0,", "source = [1.4,", "source has 1.4"),
            ("target = [0.0, 0.5, 1.0]", "target = []", "target is empty"),
            (
                "starts = 10",
                "starts = 0",
                "starts is 0; it must be 1 to 1000",
            ),
            ("cpu:idct", "idct", "STRESSOR:METHOD"),
            (
                "chain = \"ffmpeg-plain\"",
                "chain = \"vlc\"",
                "unknown variant `vlc`",
            ),
            (
                "own_mib = 128",
                "own_mib = 8",
                "own_mib is 8; it must be 64",
            ),
            (
                "memory_mib = [160,",
                "memory_mib = [96,",
                "memory_mib has 96; it must be 129 to 65536",
            ),
            (
                "bandwidth_mib_s = 32,",
                "bandwidth_mib_s = 0,",
                "bandwidth_mib_s has 0; it must be 1",
            ),
            (
                "rtt_ms = [0.5,",
                "rtt_ms = [-0.5,",
                "rtt_ms has -0.5; it must be 0",
            ),
            (
                "loss_percent = [0.01,",
                "loss_percent = [100,",
                "loss_percent has 100; it must be 0 to 20",
            ),
            (
                "copying = [\"pre-copy\", \"post-copy\"]",
                "copying = []",
                "copying is empty",
            ),
            (
                "copying = [\"pre-copy\", \"post-copy\"]",
                "copying = [\"both\"]",
                "unknown variant `both`",
            ),
            (
                "base = { memory_mib = 256,",
                "base = { memory_mib = 128,",
                "memory_mib has 128; it must be 129 to 65536: more than own_mib",
            ),
            ("title =", "titel =", "unknown field `titel`"),
        ] {
            assert!(text.contains(right), "{right}");
            let error = Campaign::parse(&path, &text.replacen(right, wrong, 1)).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
