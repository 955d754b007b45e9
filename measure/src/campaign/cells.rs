//! What the lab left of a campaign, each cell measured.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use record::campaign::{Cell, FILE_NAME, MoveRow, Part, Subject};
use record::file::read_json;
use record::raw::{FrameRow, LoadRow, PacketRow, PhaseRow, PingRow, ShotRow, UnreadRow};
use record::{SCHEMA, Timestamp, read_csv};

use super::PartMade;
use super::breakdown::BreakdownCell;
use super::starts::StartsCell;
use crate::arrivals::{ArrivalRow, Measured};
use crate::folder::MeasureError;
use crate::placement::SHOT_EVERY;
use crate::screenshots::Screenshots;
use crate::span::{Span, ms_between};
use crate::statistics::Values;
use crate::{frames, intervals, picture_age};

/// Row of `load.csv` that is of the machine and not of a host.
const MACHINE: &str = "machine";
/// Round trips through a VPN.
const VPN_PINGS: &str = "ping-vpn.csv";
/// After a move the viewer's gap is looked for until this long after the first frame from the target.
const GAP_AFTER_US: u64 = 1_000_000;

/// All cells of some folders.
#[derive(Debug, Default)]
pub struct Cells {
    /// Tables 2 to 4 and Figure 6.
    pub placements: Vec<Of<PlacementCell>>,
    /// Figure 6 as a sweep.
    pub jitter: Vec<Of<PlacementCell>>,
    /// Delay the thesis' way.
    pub screenshots: Vec<Of<ScreenshotsCell>>,
    /// Tables 5 and 6.
    pub loads: Vec<Of<LoadCell>>,
    /// Figure 7.
    pub breakdowns: Vec<Of<BreakdownCell>>,
    /// 3.2.4's second way.
    pub starts: Vec<Of<StartsCell>>,
    /// Table 7.
    pub migrations: Vec<Of<MigrationCell>>,
    /// Migrations by memory, dirty rate, bandwidth, round trip and loss.
    pub paths: Vec<Of<MigrationCell>>,
    /// Cells with too much foreign load: they are counted, and no figure is made of them.
    pub spoilt: Vec<Cell>,
}

/// A cell and what was measured in it.
#[derive(Debug)]
pub struct Of<T> {
    /// As the lab wrote it.
    pub cell: Cell,
    /// The measurement.
    pub figures: T,
}

/// A placement.
#[derive(Debug)]
pub struct PlacementCell {
    /// Age of the picture at every shot, in their order.
    pub shots_ms: Vec<f64>,
    /// Delay of every frame shown, in their order.
    pub frame_delays_ms: Vec<f64>,
    /// Round trips.
    pub rtt_ms: Values,
    /// The same through a VPN; none where there was no VPN.
    pub vpn_rtt_ms: Values,
    /// Arrivals at the player's link layer.
    pub arrivals: Vec<ArrivalRow>,
}

/// Screenshots of a placement's player.
#[derive(Debug)]
pub struct ScreenshotsCell {
    /// What they say.
    pub shots: Screenshots,
    /// Age of the picture at an instant each 1.01 s, by the codes in all pictures that came onto the screen.
    pub picture_ages_ms: Vec<f64>,
}

/// A level of load.
#[derive(Debug)]
pub struct LoadCell {
    /// Age of the picture at every shot, in their order.
    pub shots_ms: Vec<f64>,
    /// Between the first datagrams of successive frames, in their order.
    pub frame_intervals_ms: Vec<f64>,
    /// Frames shown: seconds since the start and delay.
    pub delays: Vec<(f64, f64)>,
    /// Packets: seconds since the start and bytes.
    pub packets: Vec<(f64, u32)>,
    /// Longest time without a new frame.
    pub longest_freeze_ms: Option<f64>,
    /// Mean load of the function's host, `0..=1`.
    pub total: Option<f64>,
    /// Of that, the virtual machine.
    pub machine: Option<f64>,
    /// CPU weight of the load, with that of the virtual machine as 1.
    pub weight: u32,
    /// Mean frequency of the CPU, where it is readable.
    pub cpu_mhz: Option<f64>,
    /// Share of the machine that something else used.
    pub foreign: Option<f64>,
}

/// Migrations between two loads, or over a path.
#[derive(Debug)]
pub struct MigrationCell {
    /// All that were ordered.
    pub moves: Vec<MoveRow>,
    /// Longest time without a new frame, ms, around each that was made, by its number.
    gaps: Vec<(u32, f64)>,
    /// Mean load of source and target during those that were made, `0..=1`; `None` over paths.
    pub loads: Option<[f64; 2]>,
}

impl Cells {
    /// Reads and measures the cells of some folders, which may be campaigns or parts of them.
    ///
    /// # Errors
    /// When there is none, two are the same, or one cannot be read or contradicts itself.
    pub fn read(folders: &[PathBuf]) -> Result<Self, MeasureError> {
        let mut paths = Vec::new();
        for folder in folders {
            find(folder, &mut paths)?;
        }
        paths.sort();
        paths.dedup();
        if paths.is_empty() {
            return Err(MeasureError::Nonsense {
                path: folders.first().cloned().unwrap_or_default(),
                text: format!(
                    "there is no complete cell of a campaign in it (a folder with {FILE_NAME}): `forestall lab run thesis` measures them"
                ),
            });
        }
        let mut cells = Self::default();
        let mut seen: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for path in &paths {
            let file = path.join(FILE_NAME);
            let cell: Cell = read_json(&file)?;
            if cell.schema != SCHEMA {
                return Err(nonsense(
                    &file,
                    format!("schema is {}; this Forestall reads {SCHEMA}", cell.schema),
                ));
            }
            if let Some(other) = seen.insert(cell.subject.folder(), path.clone()) {
                return Err(nonsense(
                    &file,
                    format!(
                        "the same was measured in {}: report one of them",
                        other.display()
                    ),
                ));
            }
            if cell.spoilt {
                cells.spoilt.push(cell);
                continue;
            }
            match cell.subject.part() {
                Part::Placement => cells.placements.push(Of::placement(path, cell)?),
                Part::Jitter => cells.jitter.push(Of::placement(path, cell)?),
                Part::Screenshots => cells.screenshots.push(Of::screenshots(path, cell)?),
                Part::Load => cells.loads.push(Of::load(path, cell)?),
                Part::Breakdown if matches!(cell.subject, Subject::Starts { .. }) => {
                    cells.starts.push(Of::starts(path, cell)?);
                }
                Part::Breakdown => cells.breakdowns.push(Of::breakdown(path, cell)?),
                Part::Migration => cells.migrations.push(Of::migration(path, cell)?),
                Part::Paths => cells.paths.push(Of::migration(path, cell)?),
            }
        }
        Ok(cells)
    }

    /// The sweep of jitter with a chain, by what placements' names end in with it: each with its standard deviation.
    #[must_use]
    pub fn with_jitter(&self, chain: &str) -> Vec<(f64, &PlacementCell)> {
        let wanted = chain.strip_prefix('-');
        let own = self.jitter.iter().filter_map(|of| match &of.cell.subject {
            Subject::Jitter { sd_ms, chain, .. } if chain.as_deref() == wanted => {
                Some((*sd_ms, &of.figures))
            }
            _ => None,
        });
        own.collect()
    }

    /// All of them, spoilt ones, too.
    fn all(&self) -> Vec<&Cell> {
        let placements = self.placements.iter().map(|of| &of.cell);
        let jitter = self.jitter.iter().map(|of| &of.cell);
        let screenshots = self.screenshots.iter().map(|of| &of.cell);
        let loads = self.loads.iter().map(|of| &of.cell);
        let breakdowns = self.breakdowns.iter().map(|of| &of.cell);
        let starts = self.starts.iter().map(|of| &of.cell);
        let migrations = self.migrations.iter().map(|of| &of.cell);
        let paths = self.paths.iter().map(|of| &of.cell);
        placements
            .chain(jitter)
            .chain(screenshots)
            .chain(loads)
            .chain(breakdowns)
            .chain(starts)
            .chain(migrations)
            .chain(paths)
            .chain(&self.spoilt)
            .collect()
    }

    /// The first that was measured and the newest; `None` when there is none.
    #[must_use]
    pub fn ends(&self) -> Option<(&Cell, &Cell)> {
        let mut all = self.all();
        all.sort_by_key(|cell| &cell.measured_at);
        Some((*all.first()?, *all.last()?))
    }

    /// The command lines that had them measured, each once.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        let all: BTreeSet<&str> = self
            .all()
            .into_iter()
            .filter_map(|cell| cell.command.as_deref())
            .collect();
        (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join("; "))
    }

    /// Where and when the parts that there are were measured.
    #[must_use]
    pub fn parts(&self) -> Vec<PartMade> {
        let all = self.all();
        let made = |part: Part| {
            let own: Vec<&&Cell> = all
                .iter()
                .filter(|cell| cell.subject.part() == part)
                .collect();
            let dates: BTreeSet<&String> = own.iter().map(|cell| &cell.measured_at).collect();
            let set = |of: fn(&Cell) -> &String| -> Vec<String> {
                let set: BTreeSet<&String> = own.iter().map(|cell| of(cell)).collect();
                set.into_iter().cloned().collect()
            };
            Some(PartMade {
                part: part.to_string(),
                cells: own.len() as u64,
                spoilt: own.iter().filter(|cell| cell.spoilt).count() as u64,
                repeated: own.iter().filter(|cell| cell.tries > 1).count() as u64,
                measured_at: [dates.first()?.to_string(), dates.last()?.to_string()],
                machines: set(|cell| &cell.machine),
                link_emulation: set(|cell| &cell.environment.link_emulation),
            })
        };
        Part::ALL.into_iter().filter_map(made).collect()
    }
}

/// Folders with a complete cell in them, below `folder` or it itself.
pub(super) fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), MeasureError> {
    if folder.join(FILE_NAME).exists() {
        found.push(folder.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|error| nonsense(folder, error.to_string()))?;
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            find(&entry.path(), found)?;
        }
    }
    Ok(())
}

pub(super) fn nonsense(path: &Path, text: String) -> MeasureError {
    MeasureError::Nonsense {
        path: path.to_owned(),
        text,
    }
}

/// The one phase of a cell.
pub(crate) fn span(folder: &Path) -> Result<Span, MeasureError> {
    let path = folder.join("phases.csv");
    let phases: Vec<PhaseRow> = read_csv(&path)?;
    let [phase] = phases.as_slice() else {
        let count = phases.len();
        return Err(nonsense(
            &path,
            format!("{count} phases, a measurement has one"),
        ));
    };
    if phase.end_us <= phase.start_us {
        return Err(nonsense(&path, "the phase ends before it begins".into()));
    }
    Ok(Span {
        start: phase.start_us,
        end: phase.end_us,
    })
}

/// Age of the picture at a shot a second.
pub(super) fn shots(shown: &[FrameRow], span: Span) -> Vec<f64> {
    let ages = picture_age::sample(shown, span);
    let shots = ages.iter().step_by(SHOT_EVERY);
    shots.map(|row| row.picture_age_ms).collect()
}

fn seconds(span: Span, at: Timestamp) -> f64 {
    ms_between(span.start, at) / 1e3
}

/// What came in at the player's link layer: the capture, or, where only that was kept, what `forestall measure intervals` read of it.
pub(super) fn arrivals(folder: &Path) -> Result<Vec<ArrivalRow>, MeasureError> {
    let pcap = folder.join("arrivals.pcap");
    if !pcap.exists() {
        return Ok(read_csv(&folder.join("arrivals.csv"))?);
    }
    let measured = Measured::read(&pcap, None);
    let measured = measured.map_err(|error| nonsense(&pcap, error.to_string()))?;
    Ok(measured.rows())
}

impl Of<PlacementCell> {
    fn placement(folder: &Path, cell: Cell) -> Result<Self, MeasureError> {
        let span = span(folder)?;
        let shown: Vec<FrameRow> = read_csv(&folder.join("frames.csv"))?;
        let rtt = |name: &str| -> Result<Values, MeasureError> {
            let pings: Vec<PingRow> = read_csv(&folder.join(name))?;
            Ok(pings.iter().map(|ping| ping.rtt_ms).collect())
        };
        let has_vpn = folder.join(VPN_PINGS).exists();
        let arrivals = arrivals(folder)?;
        let fresh = shown
            .iter()
            .filter(|row| span.contains(row.shown_us) && frames::is_new(row));
        Ok(Self {
            figures: PlacementCell {
                shots_ms: shots(&shown, span),
                frame_delays_ms: fresh.filter_map(|row| row.delay_ms).collect(),
                rtt_ms: rtt("ping.csv")?,
                vpn_rtt_ms: if has_vpn {
                    rtt(VPN_PINGS)?
                } else {
                    Values::default()
                },
                arrivals,
            },
            cell,
        })
    }
}

impl Of<ScreenshotsCell> {
    fn screenshots(folder: &Path, cell: Cell) -> Result<Self, MeasureError> {
        let span = span(folder)?;
        let own = folder.join("shots");
        let taken: Vec<ShotRow> = read_csv(&own.join("shots.csv"))?;
        // As a person has filled it in since.
        let filled: Vec<UnreadRow> = read_csv(&own.join("unread.csv"))?;
        let shown: Vec<FrameRow> = read_csv(&folder.join("frames.csv"))?;
        Ok(Self {
            figures: ScreenshotsCell {
                shots: Screenshots::of(&taken, &filled),
                picture_ages_ms: shots(&shown, span),
            },
            cell,
        })
    }

    /// Placement and player.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.cell.subject {
            Subject::Screenshots { placement, viewer } => format!("{placement}, {viewer}"),
            _ => String::new(),
        }
    }
}

impl Of<LoadCell> {
    /// Name of its sweep.
    #[must_use]
    pub fn sweep(&self) -> &str {
        match &self.cell.subject {
            Subject::Load { sweep, .. } => sweep,
            _ => "",
        }
    }

    fn load(folder: &Path, cell: Cell) -> Result<Self, MeasureError> {
        let span = span(folder)?;
        let shown: Vec<FrameRow> = read_csv(&folder.join("frames.csv"))?;
        let packets: Vec<PacketRow> = read_csv(&folder.join("packets.csv"))?;
        let load: Vec<LoadRow> = read_csv(&folder.join("load.csv"))?;
        let within = |at: Timestamp| span.contains(at);
        let intervals = intervals::rows(&packets);
        let of_frames = intervals
            .iter()
            .filter(|row| row.kind == intervals::FRAME && within(row.time_us));
        let fresh = shown
            .iter()
            .filter(|row| within(row.shown_us) && frames::is_new(row));
        // The host of the function is the one whose virtual machine used the CPU.
        let mean = |of: fn(&LoadRow) -> Option<f64>| {
            let rows = load
                .iter()
                .filter(|row| row.host != MACHINE && within(row.time_us));
            let used = rows.filter(|row| row.vm.is_some_and(|vm| vm > 0.0));
            used.filter_map(of).collect::<Values>().mean()
        };
        Ok(Self {
            figures: LoadCell {
                shots_ms: shots(&shown, span),
                frame_intervals_ms: of_frames.map(|row| row.interval_ms).collect(),
                delays: fresh
                    .filter_map(|row| Some((seconds(span, row.shown_us), row.delay_ms?)))
                    .collect(),
                packets: packets
                    .iter()
                    .filter(|row| within(row.received_us))
                    .map(|row| (seconds(span, row.received_us), row.bytes))
                    .collect(),
                longest_freeze_ms: frames::count(&[], &shown, span).longest_freeze_ms,
                total: mean(|row| row.actual),
                machine: mean(|row| row.vm),
                weight: match cell.subject {
                    Subject::Load { weight, .. } => weight,
                    _ => 1,
                },
                cpu_mhz: cell.cpu_mhz,
                foreign: cell.foreign_load,
            },
            cell,
        })
    }
}

impl Of<MigrationCell> {
    fn migration(folder: &Path, cell: Cell) -> Result<Self, MeasureError> {
        let moves: Vec<MoveRow> = read_csv(&folder.join("moves.csv"))?;
        let shown: Vec<FrameRow> = read_csv(&folder.join("frames.csv"))?;
        let gap = |one: &MoveRow| {
            let window = Span {
                start: one.decided_us,
                end: Timestamp(one.shown_us?.0.saturating_add(GAP_AFTER_US)),
            };
            frames::gap_around(&shown, window)
        };
        let gaps: Vec<(u32, f64)> = moves
            .iter()
            .filter_map(|one| Some((one.number, gap(one)?)))
            .collect();
        // Over paths neither end has a load.
        let load: Vec<LoadRow> = match &cell.subject {
            Subject::Migration { .. } => read_csv(&folder.join("load.csv"))?,
            _ => Vec::new(),
        };
        let mean = |end: fn(&MoveRow) -> &String| {
            let during = |row: &&LoadRow| {
                moves.iter().any(|one| {
                    let over = one.shown_us.is_some_and(|shown| row.time_us <= shown);
                    row.host == *end(one) && row.time_us >= one.decided_us && over
                })
            };
            let rows = load.iter().filter(during);
            rows.filter_map(|row| row.actual).collect::<Values>().mean()
        };
        let loads = mean(|one| &one.source).zip(mean(|one| &one.target));
        Ok(Self {
            figures: MigrationCell {
                loads: loads.map(|(source, target)| [source, target]),
                moves,
                gaps,
            },
            cell,
        })
    }
}

impl MigrationCell {
    /// Longest time without a new frame around each move that was made.
    #[must_use]
    pub fn gaps_ms(&self) -> Values {
        self.gaps.iter().map(|(_, gap)| *gap).collect()
    }

    /// The same of one move.
    #[must_use]
    pub fn gap_ms(&self, one: &MoveRow) -> Option<f64> {
        let mut own = self.gaps.iter().filter(|(number, _)| *number == one.number);
        own.next().map(|(_, gap)| *gap)
    }
}

impl Of<PlacementCell> {
    /// Name of the placement; empty for a sweep of jitter.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.cell.subject {
            Subject::Placement { placement, .. } => placement,
            _ => "",
        }
    }
}
