//! What became of each frame that the camera sent.

use std::collections::HashMap;

use record::Timestamp;
use record::raw::{FrameRow, FrameStatus, SentRow};
use record::results::Frames;

use crate::span::{Span, ms_between};

/// Whether the row put a new, readable picture on the screen.
#[must_use]
pub fn is_new(frame: &FrameRow) -> bool {
    matches!(frame.status, FrameStatus::Ok | FrameStatus::Damaged)
}

/// Counts the frames that the camera took within `phases`.
///
/// A frame is *lost* when it was never shown with a readable number although one sent before it and one sent after it
/// were. What was sent before the first shown frame (the player was not there yet) or after the last (it may be on its
/// way) is counted apart. Frame numbers wrap at 2^24, which is 155 hours at 30 fps: within a run each is unique.
#[must_use]
pub fn count(sent: &[SentRow], shown: &[FrameRow], phases: Span) -> Frames {
    let sent: Vec<&SentRow> = sent
        .iter()
        .filter(|row| phases.contains(row.captured_us))
        .collect();
    let order: HashMap<u32, usize> = sent
        .iter()
        .enumerate()
        .map(|(at, row)| (row.frame, at))
        .collect();
    let mut was_shown = vec![false; sent.len()];
    for at in shown.iter().filter_map(|row| order.get(&row.frame?)) {
        if let Some(mark) = was_shown.get_mut(*at) {
            *mark = true;
        }
    }
    let before_first = was_shown.iter().position(|shown| *shown).unwrap_or(0);
    let until_last = was_shown
        .iter()
        .rposition(|shown| *shown)
        .map_or(0, |last| last + 1);
    let distinct = was_shown.iter().filter(|shown| **shown).count();
    let rows = |status| {
        shown
            .iter()
            .filter(|row| row.status == status && phases.contains(row.shown_us))
            .count() as u64
    };
    Frames {
        sent: sent.len() as u64,
        shown: distinct as u64,
        lost: (until_last - before_first - distinct) as u64,
        damaged: rows(FrameStatus::Damaged),
        repeated: rows(FrameStatus::Repeated),
        unreadable: rows(FrameStatus::Unreadable),
        before_first: before_first as u64,
        in_flight_at_end: (sent.len() - until_last) as u64,
        longest_freeze_ms: longest_freeze_ms(shown, phases),
    }
}

/// Longest time within `phases` in which no new picture came: between two newly shown frames, cut to `phases`, or from
/// the last one to the end. What was shown before the player's first frame is not a freeze.
fn longest_freeze_ms(shown: &[FrameRow], phases: Span) -> Option<f64> {
    let mut instants: Vec<Timestamp> = shown
        .iter()
        .filter(|row| is_new(row) && row.shown_us < phases.end)
        .map(|row| row.shown_us.max(phases.start))
        .collect();
    if instants.is_empty() {
        return None;
    }
    instants.push(phases.end);
    longest_gap_ms(&instants)
}

/// Longest time between neighbours.
fn longest_gap_ms(instants: &[Timestamp]) -> Option<f64> {
    let gaps = instants.windows(2).filter_map(|pair| match pair {
        [earlier, later] => Some(ms_between(*earlier, *later)),
        _ => None,
    });
    gaps.reduce(f64::max)
}

/// Longest time between two successive newly shown frames that touches `window`, whole even where it reaches out of it.
#[must_use]
pub fn gap_around(shown: &[FrameRow], window: Span) -> Option<f64> {
    let instants: Vec<Timestamp> = shown
        .iter()
        .filter(|row| is_new(row))
        .map(|row| row.shown_us)
        .collect();
    let last_before = instants
        .partition_point(|shown| *shown < window.start)
        .saturating_sub(1);
    let first_after = instants.partition_point(|shown| *shown < window.end);
    longest_gap_ms(
        instants
            .get(last_before..=first_after)
            .or(instants.get(last_before..))
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{readable, unreadable};
    use proptest::prelude::*;

    fn span(start_ms: u64, end_ms: u64) -> Span {
        Span {
            start: Timestamp(start_ms * 1_000),
            end: Timestamp(end_ms * 1_000),
        }
    }

    fn sent(frames: std::ops::Range<u32>) -> Vec<SentRow> {
        let row = |frame| SentRow {
            frame: frame % (1 << 24),
            captured_us: Timestamp(u64::from(frame) % 1_000 * 33_000),
            bytes: None,
        };
        frames.map(row).collect()
    }

    fn shown(frames: &[u32]) -> Vec<FrameRow> {
        frames
            .iter()
            .map(|n| readable(*n, u64::from(*n) * 33, u64::from(*n) * 33 + 80))
            .collect()
    }

    #[test]
    fn a_gap_between_shown_frames_is_lost_the_ends_are_not() {
        let frames = count(&sent(0..10), &shown(&[2, 3, 5, 7]), span(0, 1_000));
        assert_eq!((frames.sent, frames.shown, frames.lost), (10, 4, 2));
        assert_eq!((frames.before_first, frames.in_flight_at_end), (2, 2));
    }

    #[test]
    fn numbers_wrap_at_2_to_the_24() {
        let last = 1 << 24;
        let numbers = [last - 2, last - 1, 1];
        let shown: Vec<_> = numbers.iter().map(|n| readable(*n, 10, 90)).collect();
        let frames = count(&sent(last - 2..last + 3), &shown, span(0, 40_000));
        assert_eq!(
            (
                frames.sent,
                frames.shown,
                frames.lost,
                frames.in_flight_at_end
            ),
            (5, 3, 1, 1)
        );
    }

    #[test]
    fn damaged_is_shown_repeated_is_not_shown_again_unreadable_is_lost() {
        let mut rows = shown(&[0, 1, 1, 3]);
        rows[1].status = FrameStatus::Damaged;
        rows[2].status = FrameStatus::Repeated;
        rows.insert(3, unreadable(150));
        let frames = count(&sent(0..4), &rows, span(0, 1_000));
        assert_eq!((frames.shown, frames.lost), (3, 1));
        assert_eq!(
            (frames.damaged, frames.repeated, frames.unreadable),
            (1, 1, 1)
        );
    }

    #[test]
    fn a_freeze_ends_with_a_new_frame_or_with_the_run() {
        let mut rows = vec![
            readable(0, 0, 80),
            readable(0, 0, 500),
            readable(1, 33, 780),
        ];
        rows[1].status = FrameStatus::Repeated;
        let freeze = |end| count(&[], &rows, span(0, end)).longest_freeze_ms;
        assert_eq!(freeze(1_000), Some(700.0));
        assert_eq!(freeze(2_000), Some(1_220.0));
        assert_eq!(count(&[], &[], span(0, 1_000)).longest_freeze_ms, None);
        // Only what lies within the phases counts.
        assert_eq!(
            count(&[], &rows, span(600, 800)).longest_freeze_ms,
            Some(180.0)
        );
    }

    #[test]
    fn a_gap_that_touches_the_window_is_measured_whole() {
        let rows = [
            readable(0, 0, 80),
            readable(1, 33, 113),
            readable(2, 66, 5_000),
            readable(3, 99, 5_033),
        ];
        assert_eq!(gap_around(&rows, span(2_000, 3_000)), Some(4_887.0));
        assert_eq!(gap_around(&rows, span(5_010, 5_020)), Some(33.0));
        assert_eq!(gap_around(&rows, span(0, 100)), Some(33.0));
        assert_eq!(gap_around(&rows, span(6_000, 7_000)), None);
        assert_eq!(gap_around(&[], span(0, 1)), None);
    }

    proptest! {
        #[test]
        fn every_sent_frame_is_counted_once(n in 0..60_u32, numbers in prop::collection::vec(0..70_u32, 0..80)) {
            let frames = count(&sent(0..n), &shown(&numbers), span(0, 10_000));
            prop_assert_eq!(frames.sent, frames.before_first + frames.shown + frames.lost + frames.in_flight_at_end);
            let distinct: std::collections::BTreeSet<_> = numbers.iter().filter(|number| **number < n).collect();
            prop_assert_eq!(frames.shown, distinct.len() as u64);
        }
    }
}
