//! Tables of what section 3 measures besides placements: stages of a chain, screenshots, end devices.

use super::super::breakdown::{self, BreakdownCell};
use super::super::cells::{Cells, Of, ScreenshotsCell};
use super::super::estimate::Estimate;
use super::super::starts;
use super::{Entry, Table, delay};
use crate::reference::THESIS;
use crate::screenshots::Delay;

/// Section 3.3: what faster end devices save. A picture waits for half a period of each in the mean.
pub(super) fn end_devices(cells: &Cells) -> Table {
    let title = "What faster end devices save (3.3): the camera measured, displays computed from their rates, at most and in the mean";
    let columns = ["at most", "in the mean"].map(String::from).to_vec();
    let mut table = Table::new(title, "ms", columns);
    let [slow, fast] = ["non-virtualized", "non-virtualized-60fps"].map(|name| delay(cells, name));
    let saved = slow.zip(fast).map(|(slow, fast)| slow.minus(&fast));
    let printed = &THESIS.end_devices;
    table.row(
        "camera, 60 frames a second in place of 30",
        &[
            Entry::plain(None, Some(printed.camera_30_to_60_fps_saves_ms)),
            Entry::of(saved, None),
        ],
    );
    for hz in [120.0, 144.0, 240.0] {
        let saved = 1e3 / 60.0 - 1e3 / hz;
        let known = (hz == 240.0).then_some(printed.display_60_to_240_hz_saves_ms);
        table.row(
            &format!("display, {hz} Hz in place of 60 (computed)"),
            &[
                Entry::plain(Some(saved), known),
                Entry::plain(Some(saved / 2.0), None),
            ],
        );
    }
    table
}

/// Delay the thesis' way beside that by the code in the picture.
pub(super) fn screenshots(cells: &Cells) -> Table {
    let title = "Delay the thesis' way (3.1.1): screenshots of a clock beside ffplay's window, read by Tesseract, and what the codes in the pictures say";
    let own = &cells.screenshots;
    let mut table = Table::new(title, "ms", own.iter().map(Of::title).collect());
    let mut row = |name: &str, of: &dyn Fn(&ScreenshotsCell) -> Entry| {
        let entries: Vec<Entry> = own.iter().map(|cell| of(&cell.figures)).collect();
        table.row(name, &entries);
    };
    let by = |delay: Delay| Entry {
        measured: delay.mean_ms,
        interval: delay.interval95_ms,
        printed: None,
    };
    row("by digits, Tesseract", &|cell| by(cell.shots.by_digits));
    row("by the codes in the same shots", &|cell| {
        by(cell.shots.by_strips)
    });
    row("by digits less by codes, of the same shots", &|cell| {
        by(cell.shots.difference)
    });
    row(
        "picture age, by the codes of all pictures on the screen",
        &|cell| Entry::of(Estimate::mean_of(&cell.picture_ages_ms), None),
    );
    row("shots that were not read (of all)", &|cell| {
        Entry::plain(cell.shots.unread_share, None)
    });
    row("shots that were misread (shots)", &|cell| {
        Entry::plain(Some(cell.shots.misread as f64), None)
    });
    row("what a shot takes", &|cell| {
        Entry::plain(cell.shots.shot_ms, None)
    });
    table
}

/// Where the delay is spent, a column for each measurement.
pub(super) fn figure7(group: &breakdown::Group<'_>) -> Table {
    let own = &group.cells;
    let columns = own.iter().map(|(name, _)| name.clone()).collect();
    let mut table = Table::new(group.title, "ms", columns);
    let mut row = |name: &str, of: &dyn Fn(&BreakdownCell) -> Entry| {
        let entries: Vec<Entry> = own.iter().map(|(_, cell)| of(cell)).collect();
        table.row(name, &entries);
    };
    let mut stages: Vec<&str> = Vec::new();
    for stage in own.iter().flat_map(|(_, cell)| &cell.stages) {
        // A stage of several parts stands before them.
        for name in stage.whole().into_iter().chain([stage.name.as_str()]) {
            if !stages.contains(&name) {
                stages.push(name);
            }
        }
    }
    for name in stages {
        row(name, &|cell| Entry::of(cell.took(name), cell.printed(name)));
    }
    row("all stages", &|cell| Entry::of(cell.sum(), None));
    row("delay when a frame is shown", &|cell| {
        Entry::of(cell.shown, None)
    });
    row("left over", &|cell| Entry::of(cell.left_over, None));
    row("picture age, mean: a frame stays until the next", &|cell| {
        Entry::of(cell.picture_age, None)
    });
    row("frames shown that were seen everywhere (of all)", &|cell| {
        Entry::plain(cell.traced_share, None)
    });
    row(
        "a camera's exposure: half a frame (computed, in none of these)",
        &|cell| Entry::plain(cell.period_ms.map(|ms| ms / 2.0), None),
    );
    row(
        "a display of 60 Hz: half a refresh (computed, in none of these)",
        &|_| Entry::plain(Some(HALF_REFRESH_MS), None),
    );
    table
}

/// Section 3.2.4's second way: what virtual machines add to a server, by its packets.
pub(super) fn starts(cells: &Cells) -> Table {
    let title = "What virtualisation adds to a server (3.2.4): its first and last packets out less first and last packets in, streaming started and stopped repeatedly";
    let columns = ["in virtual machines", "without", "difference"].map(String::from);
    let mut table = Table::new(title, "ms", columns.to_vec());
    let known = THESIS.analysis.virtualization_server_processing_ms;
    for chain in starts::chains(cells) {
        let pair = starts::pair(cells, chain);
        for (name, of) in starts::FIGURES {
            let [virtual_, bare] = pair.map(|cell| cell?.mean(of));
            let added = virtual_.zip(bare).map(|(own, bare)| own.minus(&bare));
            let printed = (name == starts::BOTH).then_some(known);
            table.row(
                &format!("{chain}: {name}"),
                &[
                    Entry::of(virtual_, None),
                    Entry::of(bare, None),
                    Entry::of(added, printed),
                ],
            );
        }
        let [virtual_, bare] =
            pair.map(|cell| Entry::plain(cell.map(|cell| cell.left_out as f64), None));
        table.row(
            &format!("{chain}: left out for want of a packet in or out (starts)"),
            &[virtual_, bare, Entry::default()],
        );
    }
    table
}

/// Half of what a display of 60 Hz waits from one picture to the next.
const HALF_REFRESH_MS: f64 = 500.0 / 60.0;
