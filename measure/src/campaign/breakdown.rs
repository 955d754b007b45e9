//! Where the delay is spent: Figure 7, and the same beside a load.
//!
//! Each frame was seen at every point of its way (`passages.csv`) and on the screen (`frames.csv`). What a stage takes is the mean over
//! the frames that were seen at both of its ends; a frame that was lost on the way counts as far as it came. Of a player that was looked into
//! (`player.csv`) only the frames count that came onto the screen, so that its parts add up to the whole.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use maud::{PreEscaped, html};
use record::campaign::{Cell, Subject};
use record::raw::{FrameRow, PlayerRow, PointRow};
use record::{RecordError, Timestamp, read_csv};

use super::cells::{Cells, Of, nonsense, shots, span};
use super::estimate::{BATCHES, Estimate};
use super::figures::{HUES, STYLE, UNDER};
use crate::drawing::axes::{Axes, Frame, LEFT, RIGHT, WIDTH};
use crate::drawing::svg::{Scale, Spacing, px, round_up};
use crate::folder::MeasureError;
use crate::frames;
use crate::reference::THESIS;
use crate::statistics::Values;

/// The placement of Figure 7.
pub(super) const VIRTUAL: &str = "edge-user-side";
/// The same functions without virtual machines, the player by TCP.
pub(super) const BARE: &str = "non-virtualized";
/// And by UDP.
pub(super) const BARE_UDP: &str = "non-virtualized-udp";
/// The chain of these programs.
pub(super) const FORESTALL: &str = "forestall";
const BARE_TABLE: &str = "figure7-bare";
const PLAYERS_TABLE: &str = "figure7-players";
/// Where a video's frames were seen.
const IN: &str = " in";
const OUT: &str = " out";
/// The stage after the last capture.
const PLAYER: &str = "player";
/// Parts of that stage, where the player was looked into; each is also the name of the point where it ends, but for the last.
const INSIDE: &str = "player: ";
const UNTIL_READ: &str = "player: until it is read";
const UNTIL_SENT: &str = "player: queue of packets";
const DECODER: &str = "player: decoder";
const UNTIL_PRESENTED: &str = "player: queue of pictures, until it is due";
const SCREEN: &str = "player: screen";

/// A way of the video, measured.
#[derive(Debug)]
pub struct BreakdownCell {
    /// Its stages, from the camera to the screen.
    pub stages: Vec<Stage>,
    /// From the first function's input to the last one's output: what the server takes.
    pub server: Option<Estimate>,
    /// From a frame's last byte at the player's host to the screen: what the player takes, whether or not it is told apart.
    pub player: Option<Estimate>,
    /// Whether the player takes the video by UDP.
    pub is_by_udp: bool,
    /// Delay of all frames when they came onto the screen.
    pub shown: Option<Estimate>,
    /// The delay on the screen that is in no stage, in ms.
    pub left_over: Option<Estimate>,
    /// Age of the picture on the screen.
    pub picture_age: Option<Estimate>,
    /// From frame to frame at the camera: the median.
    pub period_ms: Option<f64>,
    /// Of the frames that came onto the screen, the share that was seen at every point.
    pub traced_share: Option<f64>,
}

/// A stage.
#[derive(Debug)]
pub struct Stage {
    /// A function, or the link between two.
    pub name: String,
    /// What it takes, in ms.
    pub ms: Option<Estimate>,
}

impl BreakdownCell {
    /// All stages together.
    #[must_use]
    pub fn sum(&self) -> Option<Estimate> {
        let mut stages = self.stages.iter().map(|stage| stage.ms);
        let first = stages.next()??;
        stages.try_fold(first, |sum, stage| Some(sum.plus(&stage?)))
    }

    /// What a stage of this name takes, or the player with all its parts.
    pub(super) fn took(&self, stage: &str) -> Option<Estimate> {
        if stage == PLAYER {
            return self.player;
        }
        let mut stages = self.stages.iter();
        stages.find(|own| own.name == stage)?.ms
    }

    /// What the thesis prints of a stage; of a player by how it takes the video.
    pub(super) fn printed(&self, stage: &str) -> Option<f64> {
        let thesis = &THESIS.figure7_breakdown;
        match (stage, self.is_by_udp) {
            ("camera", _) => Some(thesis.robot_encode_ms),
            (PLAYER, false) => Some(thesis.ffplay_tcp_ms),
            (PLAYER, true) => Some(thesis.ffplay_udp_ms),
            // What the thesis finds in FFmpeg's input.
            (UNTIL_READ, true) => Some(thesis.udp_buffering_ms),
            _ => None,
        }
    }
}

/// When frames were somewhere, by their numbers.
type Seen = BTreeMap<u32, Timestamp>;

impl Of<BreakdownCell> {
    pub(super) fn breakdown(folder: &Path, cell: Cell) -> Result<Self, MeasureError> {
        let span = span(folder)?;
        let shown: Vec<FrameRow> = read_csv(&folder.join("frames.csv"))?;
        let path = folder.join("passages.csv");
        let rows: Vec<PointRow> = read_csv(&path)?;
        let mut ways: Vec<(&str, Seen)> = Vec::new();
        let mut captured = Seen::new();
        for row in rows.iter().filter(|row| span.contains(row.captured_us)) {
            if ways.last().is_none_or(|(name, _)| *name != row.point) {
                ways.push((&row.point, Seen::new()));
            }
            if let Some((_, seen)) = ways.last_mut() {
                // What is sent twice passed when it first did.
                seen.entry(row.frame).or_insert(row.passed_us);
            }
            captured.entry(row.frame).or_insert(row.captured_us);
        }
        if ways.len() < 2 {
            return Err(nonsense(
                &path,
                "frames were seen at less than two points of their way".into(),
            ));
        }
        let on_screen = shown.iter().filter(|row| frames::is_new(row));
        let on_screen: Seen = on_screen
            .filter(|row| row.captured_us.is_some_and(|at| span.contains(at)))
            .filter_map(|row| Some((row.frame?, row.shown_us)))
            .collect();
        let inside = inside(&told(folder)?, &on_screen);
        let mut points: Vec<(&str, &Seen)> = vec![("camera in", &captured)];
        points.extend(ways.iter().map(|(name, seen)| (*name, seen)));
        points.extend(inside.iter().map(|(name, seen)| (*name, seen)));
        points.push(("screen", &on_screen));
        let stages = points.windows(2).filter_map(|two| match two {
            [from, to] => Some(Stage {
                name: name(from.0, to.0),
                ms: took(from.1, to.1),
            }),
            _ => None,
        });
        let everywhere = |frame: &&u32| points.iter().all(|(_, seen)| seen.contains_key(frame));
        let traced = on_screen.keys().filter(everywhere).count();
        let shots = shots(&shown, span);
        let taken: Vec<Timestamp> = captured.values().copied().collect();
        let periods: Values = taken
            .windows(2)
            .map(|two| two[1].seconds_after(two[0]) * 1e3)
            .collect();
        let server = match ways.as_slice() {
            [_camera, (_, first), .., (_, last), _player] => took(first, last),
            _ => None,
        };
        let player = ways.last().and_then(|(_, seen)| took(seen, &on_screen));
        // The functions of a scenario send on by UDP.
        let is_by_udp = matches!(
            &cell.subject,
            Subject::Breakdown { way, level, .. } if way == BARE_UDP || level.is_some()
        );
        Ok(Self {
            figures: BreakdownCell {
                stages: stages.collect(),
                server,
                player,
                is_by_udp,
                shown: took(&captured, &on_screen),
                left_over: left_over(&points),
                picture_age: Estimate::mean_of(&shots),
                period_ms: periods.median(),
                traced_share: (!on_screen.is_empty())
                    .then(|| traced as f64 / on_screen.len() as f64),
            },
            cell,
        })
    }

    fn made(&self) -> Made<'_> {
        match &self.cell.subject {
            Subject::Breakdown {
                way,
                chain,
                viewer,
                level,
            } => Made {
                way,
                chain,
                viewer: viewer.as_deref(),
                level: *level,
            },
            _ => Made::default(),
        }
    }
}

/// What a measurement was of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Made<'a> {
    way: &'a str,
    chain: &'a str,
    viewer: Option<&'a str>,
    level: Option<f64>,
}

impl Made<'_> {
    /// In words.
    fn title(&self) -> String {
        match (self.viewer, self.level) {
            (Some(viewer), _) => format!("{viewer}, {}", self.way),
            (None, Some(level)) => format!("{}, load {:.0} %", self.chain, level * 100.0),
            (None, None) => self.chain.to_owned(),
        }
    }
}

fn found<'a>(cells: &'a Cells, made: &Made<'_>) -> Option<&'a BreakdownCell> {
    let mut all = cells.breakdowns.iter();
    all.find(|of| of.made() == *made).map(|of| &of.figures)
}

/// What the server of a placement takes with a chain.
pub(super) fn server(cells: &Cells, way: &str, chain: &str) -> Option<Estimate> {
    let made = Made {
        way,
        chain,
        ..Made::default()
    };
    found(cells, &made)?.server
}

/// What a viewer takes of its own at the end of a way.
pub(super) fn player(cells: &Cells, way: &str, viewer: &str) -> Option<Estimate> {
    let made = Made {
        way,
        chain: FORESTALL,
        viewer: Some(viewer),
        level: None,
    };
    found(cells, &made)?.player
}

/// Measurements that belong together.
pub(super) struct Group<'a> {
    /// Name of their table.
    pub(super) name: &'static str,
    /// Its title.
    pub(super) title: &'static str,
    /// Each with its own name.
    pub(super) cells: Vec<(String, &'a BreakdownCell)>,
}

/// All that there are.
pub(super) fn groups(cells: &Cells) -> Vec<Group<'_>> {
    let group = |name, title, wanted: &dyn Fn(&Made<'_>) -> bool| {
        let own = cells.breakdowns.iter().filter(|of| wanted(&of.made()));
        let cells = own.map(|of| (of.made().title(), &of.figures)).collect();
        Group { name, title, cells }
    };
    let is_plain = |made: &Made<'_>| made.level.is_none() && made.viewer.is_none();
    let mut all = vec![
        group(
            "figure7",
            "Figure 7: where the delay is spent, edge-user-side",
            &|made| is_plain(made) && made.way == VIRTUAL,
        ),
        group(
            BARE_TABLE,
            "The same without virtual machines: the functions on their server are one stage",
            &|made| is_plain(made) && made.way != VIRTUAL,
        ),
        group(
            "figure7-load",
            "The same beside a background load, one function on the way",
            &|made| made.level.is_some(),
        ),
        group(
            PLAYERS_TABLE,
            "ffplay at the end of Forestall's chain, by UDP and by TCP, told what lowers its delay and plain",
            &|made| made.viewer.is_some(),
        ),
    ];
    all.retain(|group| !group.cells.is_empty());
    all
}

const BAR: f64 = 16.0;
const ROW: f64 = 40.0;
const TOP: f64 = 66.0;
/// Links between stages.
const LINK: &str = "#a9b2ba";

/// Stages that are not links, in the order in which they are met.
fn hue_of(at: usize) -> &'static str {
    HUES.get(at).copied().unwrap_or("#3f474d")
}

/// A bar for each measurement, its stages from the camera to the screen.
pub(super) fn figure7(cells: &Cells) -> Option<String> {
    let mut bars: Vec<(String, &BreakdownCell)> = Vec::new();
    for group in groups(cells) {
        // ffplay told nothing is seconds late: beside it nothing else would be seen.
        let more = match group.name {
            PLAYERS_TABLE => continue,
            BARE_TABLE => ", without virtual machines",
            _ => "",
        };
        let named = group.cells.into_iter();
        bars.extend(named.map(|(name, cell)| (format!("{name}{more}"), cell)));
    }
    let ends = bars.iter().filter_map(|(_, cell)| Some(cell.sum()?.value));
    let end = ends.fold(0.0, f64::max);
    if end <= 0.0 {
        return None;
    }
    let x = Scale {
        domain: (0.0, round_up(end)),
        place: (LEFT, RIGHT),
        spacing: Spacing::Linear,
    };
    let frame = Frame {
        top: TOP,
        height: ROW * bars.len() as f64,
    };
    let axes = Axes { x: &x, frame };
    let mut functions: Vec<&str> = Vec::new();
    for stage in bars.iter().flat_map(|(_, cell)| &cell.stages) {
        if !stage.is_link() && !functions.contains(&stage.name.as_str()) {
            functions.push(&stage.name);
        }
    }
    let hue = |stage: &Stage| {
        let at = functions.iter().position(|name| *name == stage.name);
        at.map_or(LINK, hue_of)
    };
    let keys = functions
        .iter()
        .enumerate()
        .map(|(at, name)| (*name, hue_of(at)))
        .chain([("links", LINK)]);
    let height = TOP + frame.height + UNDER;
    let drawing = html! {
        svg.figure xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="figure7" {
            style { (PreEscaped(STYLE)) }
            rect width="100%" height="100%" fill="#fff" {}
            text.title x=(LEFT) y="22" { "time from the camera to the screen, by stage, ms" }
            @for (at, (name, hue)) in keys.enumerate() {
                @let left = LEFT + 140.0 * at as f64;
                rect x=(left) y="34" width="12" height="12" fill=(hue) {}
                text x=(left + 18.0) y="45" { (name) }
            }
            @for tick in x.ticks(10.0) {
                path.grid d={ "M" (x.at(tick).round()) " " (TOP) "v" (frame.height) } {}
            }
            @for (row, (name, cell)) in bars.iter().enumerate() {
                @let top = TOP + ROW * row as f64;
                text x=(LEFT) y=(top + 14.0) { (name) }
                @for (from, to, stage) in ends_of(cell) {
                    rect x=(px(x.at(from))) y=(top + 19.0) width=(px(x.at(to) - x.at(from))) height=(BAR) fill=(hue(stage)) {}
                }
            }
            (axes.under("ms", &x.ticks(10.0), |tick| format!("{tick:.0}")))
        }
    };
    Some(drawing.into_string())
}

/// Where each stage begins and ends in a bar.
fn ends_of(cell: &BreakdownCell) -> Vec<(f64, f64, &Stage)> {
    let mut at = 0.0;
    let own = cell.stages.iter();
    own.filter_map(|stage| {
        let (from, took) = (at, stage.ms?.value.max(0.0));
        at += took;
        Some((from, at, stage))
    })
    .collect()
}

impl Stage {
    fn is_link(&self) -> bool {
        self.name.starts_with(LINK_FROM)
    }

    /// The stage of which this is a part.
    pub(super) fn whole(&self) -> Option<&'static str> {
        self.name.starts_with(INSIDE).then_some(PLAYER)
    }
}

const LINK_FROM: &str = "link from ";

/// What is between two points.
fn name(from: &str, to: &str) -> String {
    match (from.strip_suffix(IN), to.strip_suffix(OUT)) {
        (Some(from), Some(to)) if from == to => from.to_owned(),
        _ if to.starts_with(INSIDE) => to.to_owned(),
        _ if from.starts_with(INSIDE) => SCREEN.to_owned(),
        _ if to == "screen" => from.strip_suffix(IN).unwrap_or(from).to_owned(),
        _ => {
            let bare = |point: &str| point.trim_end_matches(OUT).trim_end_matches(IN).to_owned();
            format!("{LINK_FROM}{} to {}", bare(from), bare(to))
        }
    }
}

/// What was seen in the player; nothing where nobody looked.
fn told(folder: &Path) -> Result<Vec<PlayerRow>, MeasureError> {
    match read_csv(&folder.join("player.csv")) {
        Err(RecordError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Ok(Vec::new())
        }
        rows => Ok(rows?),
    }
}

/// The points in the player, of the frames that came onto the screen; none where no such frame was seen in it.
fn inside(told: &[PlayerRow], on_screen: &Seen) -> Vec<(&'static str, Seen)> {
    let points = [UNTIL_READ, UNTIL_SENT, DECODER, UNTIL_PRESENTED];
    let mut points = points.map(|name| (name, Seen::new()));
    for row in told.iter().filter(|row| on_screen.contains_key(&row.frame)) {
        let Some(presented_us) = row.presented_us else {
            continue;
        };
        let at = [row.read_us, row.sent_us, row.decoded_us, presented_us];
        for ((_, seen), at) in points.iter_mut().zip(at) {
            seen.insert(row.frame, at);
        }
    }
    let mut points = Vec::from(points);
    points.retain(|(_, seen)| !seen.is_empty());
    points
}

/// Mean time from one point to another.
fn took(from: &Seen, to: &Seen) -> Option<Estimate> {
    let both = from
        .iter()
        .filter_map(|(frame, at)| Some((*at, *to.get(frame)?)));
    let times: Vec<f64> = both
        .map(|(from, to)| to.seconds_after(from) * 1e3)
        .collect();
    Estimate::mean_of(&times)
}

/// The delay on the screen less all stages. A frame that was seen everywhere leaves nothing over, since a stage ends where the next begins;
/// what is left over is of those that were not. Stages and delay are of nearly the same frames and vary together, so that the variance is
/// of the differences in batches of frames.
fn left_over(points: &[(&str, &Seen)]) -> Option<Estimate> {
    let [(_, captured), ..] = points else {
        return None;
    };
    let frames: Vec<u32> = captured.keys().copied().collect();
    let value = left_over_of(points, &frames)?;
    let batches = frames.chunks(frames.len().div_ceil(BATCHES).max(1));
    let batches = batches.filter_map(|frames| left_over_of(points, frames));
    Some(Estimate {
        value,
        ..Estimate::of_independent(batches)?
    })
}

/// The same of some frames.
fn left_over_of(points: &[(&str, &Seen)], frames: &[u32]) -> Option<f64> {
    let mean = |from: &Seen, to: &Seen| {
        let both = frames
            .iter()
            .filter_map(|frame| Some((from.get(frame)?, to.get(frame)?)));
        let times = both.map(|(from, to)| to.seconds_after(*from) * 1e3);
        times.collect::<Values>().mean()
    };
    let [(_, captured), .., (_, on_screen)] = points else {
        return None;
    };
    let stages = points.windows(2).map(|two| mean(two[0].1, two[1].1));
    Some(mean(captured, on_screen)? - stages.sum::<Option<f64>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use record::file::write_csv;
    use record::raw::{FrameStatus, PhaseRow};

    const SECOND: u64 = 1_000_000;

    /// A chain in which the camera takes 2 ms, links 1 ms, the function 5 ms and the player 3 ms, and each third frame stays in the function.
    fn measured(
        rows: impl Fn(Vec<PointRow>) -> Vec<PointRow>,
    ) -> Result<BreakdownCell, MeasureError> {
        measured_with(rows, &[])
    }

    /// The same with a player that was looked into.
    fn measured_with(
        rows: impl Fn(Vec<PointRow>) -> Vec<PointRow>,
        told: &[PlayerRow],
    ) -> Result<BreakdownCell, MeasureError> {
        let folder = tempfile::tempdir().unwrap();
        let at = |ms: u64| Timestamp(1_000 * SECOND + ms * 1_000);
        let phase = PhaseRow {
            phase: "load".into(),
            start_us: at(0),
            end_us: at(10_000),
        };
        write_csv(&folder.path().join("phases.csv"), &[phase]).unwrap();
        let frames: Vec<u32> = (0..300).collect();
        let comes = |frame: &&u32| !frame.is_multiple_of(3);
        let captured = |frame: u32| at(u64::from(frame) * 33);
        let (mut points, mut shown) = (Vec::new(), Vec::new());
        for (point, ms) in [
            ("camera out", 2),
            ("text-insertion in", 3),
            ("text-insertion out", 8),
            ("player in", 9),
        ] {
            for frame in frames.iter().filter(|frame| ms < 8 || comes(frame)) {
                let captured_us = captured(*frame);
                let passed_us = Timestamp(captured_us.0 + ms * 1_000);
                points.push(PointRow {
                    point: point.into(),
                    frame: *frame,
                    captured_us,
                    passed_us,
                });
            }
        }
        for frame in frames.iter().filter(comes) {
            let captured_us = captured(*frame);
            shown.push(FrameRow {
                frame: Some(*frame),
                captured_us: Some(captured_us),
                shown_us: Timestamp(captured_us.0 + 12_000),
                delay_ms: Some(12.0),
                status: FrameStatus::Ok,
                boot: None,
                runner: None,
            });
        }
        write_csv(&folder.path().join("passages.csv"), &rows(points)).unwrap();
        write_csv(&folder.path().join("frames.csv"), &shown).unwrap();
        if !told.is_empty() {
            write_csv(&folder.path().join("player.csv"), told).unwrap();
        }
        let cell = testing::cell(Subject::Breakdown {
            way: "reallocation".into(),
            chain: "forestall".into(),
            viewer: None,
            level: Some(0.5),
        });
        Ok(Of::breakdown(folder.path(), cell)?.figures)
    }

    #[test]
    fn stages_add_up_to_what_is_on_the_screen() {
        let cell = measured(|rows| rows).unwrap();
        let stages: Vec<(&str, f64)> = cell
            .stages
            .iter()
            .map(|stage| (stage.name.as_str(), stage.ms.unwrap().value.round()))
            .collect();
        let expected = [
            ("camera", 2.0),
            ("link from camera to text-insertion", 1.0),
            ("text-insertion", 5.0),
            ("link from text-insertion to player", 1.0),
            ("player", 3.0),
        ];
        assert_eq!(stages, expected);
        assert!((cell.sum().unwrap().value - 12.0).abs() < 1e-6);
        assert!(cell.left_over.unwrap().value.abs() < 1e-6);
        assert_eq!(
            cell.traced_share,
            Some(1.0),
            "of those that came onto the screen"
        );
    }

    /// A frame of that chain in the player: read 0.5 ms after it came, sent on 0.25 ms later, decoded 0.75 ms later, presented 1 ms later.
    fn in_player(frame: u32) -> PlayerRow {
        let captured = 1_000 * SECOND + u64::from(frame) * 33_000;
        let after = |us: u64| Timestamp(captured + us);
        PlayerRow {
            frame,
            captured_us: after(0),
            read_us: after(9_500),
            sent_us: after(9_750),
            decoded_us: after(10_500),
            presented_us: Some(after(11_500)),
        }
    }

    #[test]
    fn the_player_is_told_apart_where_it_was_looked_into() {
        let mut told: Vec<PlayerRow> = (0..300).map(in_player).collect();
        // Of two that were shown it says that one was overtaken, and nothing of the other: neither is in any part. It knows frames that
        // were never seen on the screen: nor are those.
        told[4].presented_us = None;
        told.remove(7);
        let cell = measured_with(|rows| rows, &told).unwrap();
        let parts: Vec<(&str, f64)> = cell
            .stages
            .iter()
            .filter(|stage| stage.whole() == Some(PLAYER))
            .map(|stage| (stage.name.as_str(), stage.ms.unwrap().value))
            .collect();
        let expected = [
            (UNTIL_READ, 0.5),
            (UNTIL_SENT, 0.25),
            (DECODER, 0.75),
            (UNTIL_PRESENTED, 1.0),
            (SCREEN, 0.5),
        ];
        assert_eq!(parts.len(), expected.len(), "{parts:?}");
        for ((name, ms), (expected, expected_ms)) in parts.into_iter().zip(expected) {
            assert_eq!(name, expected);
            assert!((ms - expected_ms).abs() < 1e-6, "{name}: {ms}");
        }
        assert!((cell.player.unwrap().value - 3.0).abs() < 1e-6);
        assert!(cell.left_over.unwrap().value.abs() < 1e-6);
        // 198 of the 200 that were shown.
        assert!((cell.traced_share.unwrap() - 0.99).abs() < 1e-9);
    }

    #[test]
    fn a_player_none_of_whose_frames_were_shown_is_one_stage() {
        let mut told: Vec<PlayerRow> = (0..300).map(in_player).collect();
        told.iter_mut().for_each(|row| row.presented_us = None);
        let cell = measured_with(|rows| rows, &told).unwrap();
        assert_eq!(cell.stages.last().unwrap().name, PLAYER);
        assert_eq!(cell.took(PLAYER), cell.player);
    }

    #[test]
    fn what_is_printed_of_a_player_is_by_how_it_takes_the_video() {
        // That of a scenario takes it by UDP.
        let mut cell = measured(|rows| rows).unwrap();
        assert_eq!(cell.printed(PLAYER), Some(274.0));
        assert_eq!(cell.printed(UNTIL_READ), Some(194.0));
        cell.is_by_udp = false;
        assert_eq!(cell.printed(PLAYER), Some(80.0));
        assert_eq!(cell.printed(UNTIL_READ), None);
    }

    #[test]
    fn a_point_that_nothing_passed_is_no_stage_of_zero() {
        let without = measured(|mut rows| {
            rows.retain(|row| row.point != "text-insertion out");
            rows
        });
        let names: Vec<String> = without
            .unwrap()
            .stages
            .into_iter()
            .map(|stage| stage.name)
            .collect();
        assert_eq!(names[2], "link from text-insertion to player");
        let nothing = measured(|_| Vec::new()).unwrap_err();
        assert!(
            nothing.to_string().contains("less than two points"),
            "{nothing}"
        );
    }
}
