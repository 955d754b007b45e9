//! Age of the picture on the screen, sampled in time, frozen or not (DESIGN.md, "What is measured").

use std::time::Duration;

use record::Timestamp;
use record::raw::{AgeRow, FrameRow};

use crate::span::{Span, ms_between};
use crate::statistics::quantile_of_sorted;

/// Distance of two samples of picture age.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(10);

/// Samples in the window over which the budget is judged: the last 1 s.
pub const WINDOW_SAMPLES: usize = 100;

/// The share of the window that has to keep the budget.
pub const WINDOW_QUANTILE: f64 = 0.95;

/// Picture age each [`SAMPLE_EVERY`] from the start of `span`, or from the first readable frame if that came later, up to
/// the end of `span`. The picture on the screen is the last readable one shown until then: an unreadable frame does not
/// make it younger, a damaged one whose code strip was read does.
///
/// `frames` are in the order in which they were shown.
#[must_use]
pub fn sample(frames: &[FrameRow], span: Span) -> Vec<AgeRow> {
    let mut readable = frames
        .iter()
        .filter_map(|frame| Some((frame.shown_us, frame.captured_us?)))
        .peekable();
    let Some(&(first_shown, mut captured)) = readable.peek() else {
        return Vec::new();
    };
    let mut rows = Vec::new();
    let mut time_us = span.start.max(first_shown);
    while time_us < span.end {
        while let Some((_, newer)) = readable.next_if(|(shown, _)| *shown <= time_us) {
            captured = newer;
        }
        rows.push(AgeRow {
            time_us,
            picture_age_ms: ms_between(captured, time_us),
        });
        time_us = time_us + SAMPLE_EVERY;
    }
    rows
}

/// For each sample from the hundredth on: the 95th percentile of picture age over the last 1 s.
pub fn sliding_p95(ages: &[AgeRow]) -> impl Iterator<Item = (Timestamp, f64)> + '_ {
    // The window is kept sorted: a run has ten thousand of them, each differs from the one before in two values.
    let mut sorted: Vec<f64> = Vec::with_capacity(WINDOW_SAMPLES + 1);
    let place =
        |sorted: &[f64], age: f64| sorted.partition_point(|other| other.total_cmp(&age).is_lt());
    ages.iter().enumerate().filter_map(move |(at, row)| {
        sorted.insert(place(&sorted, row.picture_age_ms), row.picture_age_ms);
        if let Some(oldest) = at.checked_sub(WINDOW_SAMPLES).and_then(|at| ages.get(at)) {
            sorted.remove(place(&sorted, oldest.picture_age_ms));
        }
        let full = sorted.len() == WINDOW_SAMPLES;
        let p95 = full
            .then(|| quantile_of_sorted(&sorted, WINDOW_QUANTILE))
            .flatten()?;
        Some((row.time_us, p95))
    })
}

/// First instant within `load` at which the 95th percentile of picture age over the last 1 s exceeds the budget. The 1 s
/// lies wholly within `load`: what happened before the load began is not the load's doing.
#[must_use]
pub fn over_budget_at(ages: &[AgeRow], load: Span, budget_ms: f64) -> Option<Timestamp> {
    sliding_p95(within(ages, load))
        .find(|(_, p95)| *p95 > budget_ms)
        .map(|(time, _)| time)
}

/// The instant from which that percentile stays over the budget until the end of `load`: unlike [`over_budget_at`] it is
/// not moved by a hiccup that passed.
#[must_use]
pub fn over_budget_for_good_at(ages: &[AgeRow], load: Span, budget_ms: f64) -> Option<Timestamp> {
    let mut since = None;
    for (time, p95) in sliding_p95(within(ages, load)) {
        since = (p95 > budget_ms).then(|| since.unwrap_or(time));
    }
    since
}

/// The samples in `span`. `ages` are in the order of time.
#[must_use]
pub fn within(ages: &[AgeRow], span: Span) -> &[AgeRow] {
    let from = ages.partition_point(|row| row.time_us < span.start);
    let until = ages.partition_point(|row| row.time_us < span.end);
    ages.get(from..until).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Values;
    use crate::testing::{readable, unreadable};
    use proptest::prelude::*;

    const MS: u64 = 1_000;

    fn span(start_ms: u64, end_ms: u64) -> Span {
        Span {
            start: Timestamp(start_ms * MS),
            end: Timestamp(end_ms * MS),
        }
    }

    fn check(frames: &[FrameRow], span: Span, expected: &[(u64, f64)]) {
        let found: Vec<_> = sample(frames, span)
            .iter()
            .map(|r| (r.time_us.0 / MS, r.picture_age_ms))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn age_grows_until_a_newer_picture_is_shown() {
        let frames = [readable(0, 100, 180), readable(1, 133, 205)];
        check(
            &frames,
            span(190, 230),
            &[(190, 90.0), (200, 100.0), (210, 77.0), (220, 87.0)],
        );
    }

    #[test]
    fn sampling_begins_with_the_first_readable_picture() {
        let frames = [unreadable(150), readable(0, 100, 185)];
        check(
            &frames,
            span(0, 210),
            &[(185, 85.0), (195, 95.0), (205, 105.0)],
        );
        check(&[unreadable(150)], span(0, 210), &[]);
    }

    #[test]
    fn an_unreadable_picture_is_not_younger() {
        let frames = [readable(0, 100, 180), unreadable(190)];
        check(
            &frames,
            span(180, 210),
            &[(180, 80.0), (190, 90.0), (200, 100.0)],
        );
    }

    #[test]
    fn a_frame_shown_at_the_instant_of_a_sample_counts() {
        check(
            &[readable(0, 100, 180), readable(1, 133, 190)],
            span(180, 200),
            &[(180, 80.0), (190, 57.0)],
        );
    }

    #[test]
    fn the_budget_is_exceeded_when_six_of_a_hundred_samples_are_over_it() {
        // p95 of 100 samples lies at 94.05 of the sorted ones, numbered from 0: with 94 at 80 ms and 6 at 500 ms it is
        // 500 ms; with 95 and 5 it is 80 + 0.05 * 420 = 101 ms, over a budget of 100 ms but not of 110 ms.
        let ages: Vec<AgeRow> = (0..300)
            .map(|i| AgeRow {
                time_us: Timestamp(i * 10 * MS),
                picture_age_ms: if i < 200 { 80.0 } else { 500.0 },
            })
            .collect();
        let at = |budget_ms| over_budget_at(&ages, span(0, 3_000), budget_ms).map(|at| at.0 / MS);
        assert_eq!(at(110.0), Some(2_050));
        assert_eq!(at(100.0), Some(2_040));
        assert_eq!(at(500.0), None);
        // It was never under it again, but it is when the run goes on calmly.
        let for_good = |budget_ms| {
            over_budget_for_good_at(&ages, span(0, 3_000), budget_ms).map(|at| at.0 / MS)
        };
        assert_eq!((for_good(110.0), for_good(500.0)), (Some(2_050), None));
        let mut calm = ages.clone();
        calm[260..]
            .iter_mut()
            .for_each(|row| row.picture_age_ms = 80.0);
        let calm_again = over_budget_for_good_at(&calm, span(0, 3_000), 110.0);
        assert_eq!(
            calm_again,
            Some(Timestamp(2_050 * MS)),
            "61 calm samples of 100 are not enough"
        );
        calm[205..]
            .iter_mut()
            .for_each(|row| row.picture_age_ms = 80.0);
        assert_eq!(over_budget_for_good_at(&calm, span(0, 3_000), 110.0), None);
        // The window has to fill within the load phase.
        assert_eq!(over_budget_at(&ages, span(2_500, 3_000), 110.0), None);
        assert_eq!(
            over_budget_at(&ages, span(1_990, 3_000), 110.0),
            Some(Timestamp(2_980 * MS))
        );
    }

    proptest! {
        #[test]
        fn the_sliding_p95_is_that_of_each_window(values in prop::collection::vec(0..50_u32, 0..400)) {
            let ages: Vec<AgeRow> = values
                .iter()
                .enumerate()
                .map(|(at, age)| AgeRow { time_us: Timestamp(at as u64), picture_age_ms: f64::from(*age) })
                .collect();
            let naive: Vec<(Timestamp, f64)> = ages
                .windows(WINDOW_SAMPLES)
                .map(|window| {
                    let values: Values = window.iter().map(|row| row.picture_age_ms).collect();
                    (window[WINDOW_SAMPLES - 1].time_us, values.quantile(WINDOW_QUANTILE).unwrap())
                })
                .collect();
            prop_assert_eq!(sliding_p95(&ages).collect::<Vec<_>>(), naive);
        }

        #[test]
        fn agrees_with_looking_at_each_frame(
            shown in prop::collection::vec((0..3_000_u64, 0..200_u64, any::<bool>()), 0..60),
            start in 0..1_000_u64,
            length in 0..3_000_u64,
        ) {
            let mut frames: Vec<FrameRow> = shown
                .iter()
                .map(|(at, delay, ok)| if *ok { readable(0, at + 500 - delay, at + 500) } else { unreadable(at + 500) })
                .collect();
            frames.sort_by_key(|frame| frame.shown_us);
            for row in sample(&frames, span(start, start + length)) {
                let on_screen = frames.iter().rev().find(|f| f.shown_us <= row.time_us && f.captured_us.is_some());
                let captured = on_screen.unwrap().captured_us.unwrap();
                prop_assert_eq!(row.picture_age_ms, (row.time_us.0 as f64 - captured.0 as f64) / 1e3);
            }
        }
    }
}
