//! Delay the thesis' way (3.1.1): what the digits of a clock beside the player's window and those in its picture say, and how far that
//! agrees with the code strips in the same shots.

use std::collections::BTreeMap;
use std::fmt;

use record::Timestamp;
use record::raw::{ShotRow, UnreadRow};
use serde::Serialize;

use crate::campaign::estimate::Estimate;
use crate::span::ms_between;
use crate::statistics::Values;
use crate::words::or_dash;

const DAY_MS: f64 = 86_400_000.0;
/// A delay by digits is believed from here, since the clock beside the player may be a little old, …
const DELAY_MS_MIN: f64 = -100.0;
/// … to here: otherwise a digit was misread.
const DELAY_MS_MAX: f64 = 60_000.0;

/// What shots say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Screenshots {
    /// Shots taken.
    pub shots: u64,
    /// Whose digits were read, and give a delay that can be.
    pub read: u64,
    /// Of the others, those that a person filled in.
    pub filled_in: u64,
    /// Of all, those that are left.
    pub unread_share: Option<f64>,
    /// Of those read, those whose digits are not what the code strip beside them says.
    pub misread: u64,
    /// By the digits.
    pub by_digits: Delay,
    /// By the code strips, of all shots that have both.
    pub by_strips: Delay,
    /// By the digits less by the strips of the same shot.
    pub difference: Delay,
    /// What a shot took.
    pub shot_ms: Option<f64>,
}

/// A mean, in ms, and how well it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Delay {
    /// Values.
    pub n: u64,
    /// Their mean.
    pub mean_ms: Option<f64>,
    /// Their standard deviation (n - 1).
    pub sd_ms: Option<f64>,
    /// 95 % interval of the mean, as of values that do not depend on each other: shots are a second apart.
    pub interval95_ms: Option<[f64; 2]>,
}

impl Screenshots {
    /// The figures of all shots; `filled` has what a person filled in, by the shot's number.
    #[must_use]
    pub fn of(shots: &[ShotRow], filled: &[UnreadRow]) -> Self {
        let filled: BTreeMap<u32, &UnreadRow> =
            filled.iter().map(|row| (row.number, row)).collect();
        let (mut read, mut filled_in, mut misread) = (0, 0, 0);
        let (mut digits, mut strips, mut differences) = (Vec::new(), Vec::new(), Vec::new());
        for shot in shots {
            let by_strips = by_strips(shot);
            strips.extend(by_strips);
            let by_person = || {
                let row = filled.get(&shot.number)?;
                delay_ms(&row.clock, &row.picture)
            };
            let by_digits = if let Some(delay) = delay_of(shot) {
                read += 1;
                misread += u64::from(is_misread(shot));
                delay
            } else if let Some(delay) = by_person() {
                filled_in += 1;
                delay
            } else {
                continue;
            };
            digits.push(by_digits);
            differences.extend(by_strips.map(|strips| by_digits - strips));
        }
        let all = shots.len() as u64;
        let shot_ms: Values = shots.iter().map(|shot| shot.shot_ms).collect();
        Self {
            shots: all,
            read,
            filled_in,
            unread_share: (all > 0).then(|| (all - read - filled_in) as f64 / all as f64),
            misread,
            by_digits: Delay::of(digits),
            by_strips: Delay::of(strips),
            difference: Delay::of(differences),
            shot_ms: shot_ms.mean(),
        }
    }
}

impl Delay {
    fn of(values: Vec<f64>) -> Self {
        let estimate = Estimate::of_independent(values.iter().copied());
        let values: Values = values.into_iter().collect();
        Self {
            n: values.n(),
            mean_ms: values.mean(),
            sd_ms: values.sd(),
            interval95_ms: estimate.and_then(|estimate| estimate.interval()),
        }
    }
}

/// The shots that were not read, for a person; `png` says which picture shows a shot.
#[must_use]
pub fn unread(shots: &[ShotRow], png: impl Fn(u32) -> String) -> Vec<UnreadRow> {
    let unread = shots.iter().filter(|shot| delay_of(shot).is_none());
    unread
        .map(|shot| UnreadRow {
            number: shot.number,
            png: png(shot.number),
            clock: shot.clock.clone(),
            picture: shot.picture.clone(),
        })
        .collect()
}

/// The delay by the digits that were read.
fn delay_of(shot: &ShotRow) -> Option<f64> {
    delay_ms(&shot.clock, &shot.picture)
}

/// How much older the picture is than the clock; `None` where one is no time, or the delay cannot be.
fn delay_ms(clock: &str, picture: &str) -> Option<f64> {
    let later = (time_ms(clock)? - time_ms(picture)?).rem_euclid(DAY_MS);
    // The clock may be the older one of the two.
    let delay = if later > DAY_MS / 2.0 {
        later - DAY_MS
    } else {
        later
    };
    (DELAY_MS_MIN..=DELAY_MS_MAX)
        .contains(&delay)
        .then_some(delay)
}

fn by_strips(shot: &ShotRow) -> Option<f64> {
    Some(ms_between(shot.strip_picture_us?, shot.strip_clock_us?))
}

fn is_misread(shot: &ShotRow) -> bool {
    let is_other = |text: &str, strip: Option<Timestamp>| {
        // A strip counts tenths of a millisecond, the clock whole ones.
        let wanted = strip.map(|time| (time.as_micros() / 1_000) as f64 % DAY_MS);
        wanted.is_some() && time_ms(text) != wanted
    };
    is_other(&shot.clock, shot.strip_clock_us) || is_other(&shot.picture, shot.strip_picture_us)
}

/// Milliseconds since midnight of `HH:MM:SS.mmm`. A space in it is a reader's guess at words.
fn time_ms(text: &str) -> Option<f64> {
    let text: String = text.split_whitespace().collect();
    let is_time = text.len() == 12
        && text.bytes().enumerate().all(|(at, byte)| match at {
            2 | 5 => byte == b':',
            8 => byte == b'.',
            _ => byte.is_ascii_digit(),
        });
    let part = |range: std::ops::Range<usize>, below: f64| {
        let number: f64 = text.get(range)?.parse().ok()?;
        (number < below).then_some(number)
    };
    let (hours, minutes) = (part(0..2, 24.0)?, part(3..5, 60.0)?);
    let (seconds, millis) = (part(6..8, 60.0)?, part(9..12, 1_000.0)?);
    is_time.then_some(((hours * 60.0 + minutes) * 60.0 + seconds) * 1e3 + millis)
}

impl fmt::Display for Screenshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} shots: {} read by Tesseract ({} of them wrongly, by the code strips), {} filled in, {} left unread",
            self.shots,
            self.read,
            self.misread,
            self.filled_in,
            or_dash(self.unread_share, |share| format!("{:.0} %", share * 100.0)),
        )?;
        let ms = |value: Option<f64>| or_dash(value, |ms| format!("{ms:.1}"));
        for (name, delay) in [
            ("delay by the digits", &self.by_digits),
            ("delay by the code strips", &self.by_strips),
            ("difference, shot by shot", &self.difference),
        ] {
            let interval = delay.interval95_ms;
            let interval = interval.map_or_else(
                || "too few for an interval".to_owned(),
                |[low, high]| format!("95 % interval {low:.1} to {high:.1}"),
            );
            let (mean, sd, n) = (ms(delay.mean_ms), ms(delay.sd_ms), delay.n);
            writeln!(f, "{name}: {mean} ms (S.D. {sd}, {interval}, n {n})")?;
        }
        write!(f, "a shot took {} ms", ms(self.shot_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_by_digits() {
        for (clock, picture, wanted) in [
            ("13:05:07.181", "13:05:07.120", Some(61.0)),
            ("00:00:00.010", "23:59:59.990", Some(20.0)),
            ("13:05:07.118", "13:05:07.120", Some(-2.0)),
            ("13 :05: 07.181", " 13:05:07.120", Some(61.0)),
            // Misread: hours between the two, digits that are none, a minute of 61.
            ("13:05:07.181", "18:05:07.120", None),
            ("13:05:07.181", "13:05:07:120", None),
            ("13:05:07.181", "13:05:07.12", None),
            ("13:61:07.181", "13:61:07.120", None),
            ("", "", None),
        ] {
            assert_eq!(delay_ms(clock, picture), wanted, "{clock} {picture}");
        }
    }

    fn shot(number: u32, clock: &str, picture: &str, strips_ms: Option<(u64, u64)>) -> ShotRow {
        let day = 1_790_000_000_u64 / 86_400 * 86_400_000;
        let time = |ms: u64| Timestamp((day + ms) * 1_000);
        ShotRow {
            number,
            taken_us: time(0),
            shot_ms: 2.0,
            clock: clock.into(),
            picture: picture.into(),
            strip_clock_us: strips_ms.map(|(clock, _)| time(clock)),
            strip_picture_us: strips_ms.map(|(_, picture)| time(picture)),
        }
    }

    #[test]
    fn what_is_read_misread_filled_in_and_left() {
        let shots = [
            shot(1, "00:00:01.060", "00:00:01.000", Some((1_060, 1_000))),
            // A 6 taken for an 8: believed, and counted.
            shot(2, "00:00:02.080", "00:00:02.000", Some((2_060, 2_000))),
            shot(3, "0O:00", "00:00:03.000", Some((3_070, 3_000))),
            shot(4, "", "", None),
        ];
        let rows = unread(&shots, |number| format!("{number}.png"));
        let numbers: Vec<u32> = rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers, [3, 4]);
        assert_eq!(
            (rows[0].png.as_str(), rows[0].clock.as_str()),
            ("3.png", "0O:00")
        );

        let before = Screenshots::of(&shots, &rows);
        assert_eq!((before.read, before.filled_in, before.misread), (2, 0, 1));
        assert_eq!(before.unread_share, Some(0.5));
        let filled = UnreadRow {
            clock: "00:00:03.070".into(),
            ..rows[0].clone()
        };
        let figures = Screenshots::of(&shots, &[filled]);
        assert_eq!((figures.filled_in, figures.unread_share), (1, Some(0.25)));
        assert_eq!(figures.by_digits.mean_ms, Some(70.0));
        assert_eq!(
            (figures.by_strips.n, figures.by_strips.mean_ms),
            (3, Some(190.0 / 3.0))
        );
        // 0, 20 and 0 ms.
        let mean = figures.difference.mean_ms.unwrap();
        assert!((mean - 20.0 / 3.0).abs() < 1e-9, "{mean}");
        let [low, high] = figures.difference.interval95_ms.unwrap();
        assert!(low < 0.0 && high > mean, "{low} {high}");
    }

    #[test]
    fn nothing_is_no_figure() {
        let figures = Screenshots::of(&[], &[]);
        assert_eq!(
            (figures.unread_share, figures.by_digits),
            (None, Delay::default())
        );
    }
}
