//! How long a move by pre-copy takes, by what is known before it begins.
//!
//! Pre-copy's geometric law (Clark et al., "Live Migration of Virtual Machines", NSDI 2005, section 3; Akoush et al., "Predicting the
//! Performance of Virtual Machine Migration", MASCOTS 2010): a pass over memory sends what was written during the one before, until
//! the rest can be sent within the downtime limit. How many passes there are, and how long each is beside the first, follows from
//! memory, dirty rate, bandwidth and limit alone; what a MiB costs, what the guest has that is not zero, and what is the same in every
//! move is fitted by least squares.
//!
//! ```text
//! total    = fixed + a · filled/B · passes + b · passes/B + c · RTT     passes: all of them over the first; b/a: the guest's own MiB
//! downtime = fixed + a · rest + c · RTT                                 rest: MiB left when the guest is stopped
//! gap      = the same with other factors
//! ```
//!
//! `B` is the bandwidth that copying may use, or what TCP's window lets through in a round trip where that is less: the window is the
//! one with which the total's law fits best, if it fits better than with none. The first pass sends what is not zero, so how long it
//! is follows from the guest's own MiB: these are fitted, passes are reckoned with them, and so on until they stay.
//!
//! The total's error is a share of it, that of the others so many milliseconds.

use record::campaign::{Copying, PathPoint};
use record::precopy::{Passes, Precopy};
use record::profile::{MigrationLaw, StoppedLaw, TotalLaw};
use serde::{Deserialize, Serialize};

use super::cells::Cells;
use super::paths;
use crate::least_squares::{Fit, Row};
use crate::statistics::Values;

/// What the report says of it.
pub const WORDS: &str = "Pre-copy's geometric law with its terms fitted by least squares. Passes: the time of all passes over memory \
     over that of the first, from dirty rate, bandwidth and downtime limit. Rest: what is left when the guest is stopped.";
/// Windows that are tried, MiB: a quarter to 64, each the eighth root of 2 larger than the one before.
const WINDOW_MIB_MIN: f64 = 0.25;
const WINDOWS: i32 = 65;
/// A window counts where the moves lie closer to the law by this much, as a share of the standard deviation.
const WINDOW_GAIN_MIN: f64 = 0.05;
/// Fits after which the guest's own memory stays to a MiB or less, with the first that takes all memory to be sent.
const OWN_FITS: u32 = 4;

/// What is known of a move before it begins, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// What was moved over what.
    pub point: PathPoint,
    /// The engine's total time.
    pub total_ms: f64,
    /// The engine's downtime.
    pub downtime_ms: Option<f64>,
    /// Longest time without a new frame on the screen.
    pub gap_ms: Option<f64>,
}

/// The laws, as they were fitted to some moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predictor {
    /// Moves that they were fitted to.
    pub moves: u64,
    /// Different ones.
    pub cells: u64,
    /// What TCP has under way at most; `None` where no path was long enough to tell.
    pub window_mib: Option<f64>,
    /// Of total time, downtime and gap.
    pub laws: Vec<Law>,
}

/// What one figure of a move is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// The figure.
    pub what: String,
    /// What it is a sum of.
    pub terms: Vec<Term>,
    /// Standard deviation of a move about it.
    pub sd: f64,
    /// Of the standard deviation: a share of the figure, or milliseconds.
    pub sd_unit: String,
    /// Moves of whole pairs of memory and bandwidth that a fit had not seen.
    pub unseen_moves: u64,
    /// Median of how far off these were, as a share of what was measured.
    pub unseen_error_median: Option<f64>,
    /// Share of these that lay in the 95 % interval.
    pub unseen_within95: Option<f64>,
}

/// A term and its factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// With the unit of its factor.
    pub name: String,
    /// What it is multiplied by.
    pub factor: f64,
    /// Where the factor is with 95 %.
    pub interval95: [f64; 2],
}

/// A figure of a move, and the terms that it is made of.
struct Figure<const TERMS: usize> {
    what: &'static str,
    terms: [&'static str; TERMS],
    of: fn(&Move) -> Option<f64>,
    at: fn(&PathPoint, &Copied) -> [f64; TERMS],
    error: Error,
}

/// What a figure's error is in proportion to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Error {
    /// The figure.
    Share,
    /// Nothing: it is so many milliseconds.
    Milliseconds,
}

const TOTAL: Figure<4> = Figure {
    what: "total migration time",
    terms: [
        "fixed (ms)",
        "time of what was filled at the bandwidth allowed, all passes (times)",
        "the guest's own memory (MiB at the bandwidth allowed)",
        "round trips (times)",
    ],
    of: |one| Some(one.total_ms),
    at: |point, copied| {
        let per_mib = copied.passes.over_first * 1e3 / copied.bandwidth_mib_s;
        let filled = f64::from(point.filled_mib);
        [1.0, filled * per_mib, per_mib, point.rtt_ms]
    },
    error: Error::Share,
};

const STOPPED: [&str; 3] = [
    "fixed (ms)",
    "rest when the guest is stopped (ms for a MiB)",
    "round trips (times)",
];

fn stopped(point: &PathPoint, copied: &Copied) -> [f64; 3] {
    [1.0, copied.passes.rest_mib, point.rtt_ms]
}

const DOWNTIME: Figure<3> = Figure {
    what: "downtime",
    terms: STOPPED,
    of: |one| one.downtime_ms,
    at: stopped,
    error: Error::Milliseconds,
};

const GAP: Figure<3> = Figure {
    what: "viewer's gap",
    terms: STOPPED,
    of: |one| one.gap_ms,
    at: stopped,
    error: Error::Milliseconds,
};

/// How a virtual machine is copied at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Copied {
    passes: Passes,
    bandwidth_mib_s: f64,
}

/// What the total times say of path and guest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ground {
    /// What a path lets through in a round trip; all where none is told.
    window_mib: Option<f64>,
    /// What the guest has itself that is not zero; all that was not filled where none is told.
    own_mib: Option<f64>,
}

impl Ground {
    /// What explains the total times best.
    fn of(moves: &[Move]) -> Option<Self> {
        let (without, sd_without) = Self::with(moves, None)?;
        let tried = (0..WINDOWS).filter_map(|step| {
            Self::with(moves, Some(WINDOW_MIB_MIN * (f64::from(step) / 8.0).exp2()))
        });
        let (best, sd) = tried.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let better = sd < sd_without * (1.0 - WINDOW_GAIN_MIN);
        Some(if better { best } else { without })
    }

    /// The guest's own memory with a window, and the standard deviation of the moves about the law that both make.
    fn with(moves: &[Move], window_mib: Option<f64>) -> Option<(Self, f64)> {
        let mut ground = Self {
            window_mib,
            own_mib: None,
        };
        let mut sd = f64::INFINITY;
        for _ in 0..OWN_FITS {
            let fit = TOTAL.fit(moves, ground)?;
            let [_, filled, own, _] = fit.factors;
            ground.own_mib = Some(own / filled).filter(|mib| *mib > 0.0 && mib.is_finite());
            sd = fit.sd;
        }
        Some((ground, sd))
    }

    /// What copying may use of the path.
    fn bandwidth_mib_s(&self, point: &PathPoint) -> f64 {
        let window = self.window_mib.filter(|_| point.rtt_ms > 0.0);
        let most = window.map_or(f64::INFINITY, |mib| mib / (point.rtt_ms / 1e3));
        point.bandwidth_mib_s.min(most)
    }

    /// `None` when copying does not come to an end.
    fn copied(&self, point: &PathPoint) -> Option<Copied> {
        let (memory, filled) = (f64::from(point.memory_mib), f64::from(point.filled_mib));
        let bandwidth_mib_s = self.bandwidth_mib_s(point);
        let copied = Precopy {
            first_mib: self.own_mib.map_or(memory, |own| memory.min(filled + own)),
            written_mib: filled,
            dirty_mib_s: point.dirty_mib_s,
            bandwidth_mib_s,
            downtime_limit_ms: point.downtime_limit_ms,
        };
        Some(Copied {
            passes: copied.passes()?,
            bandwidth_mib_s,
        })
    }
}

/// Moves by pre-copy that were made, over paths that lose nothing: the law knows of no loss.
#[must_use]
pub fn moves(cells: &Cells) -> Vec<Move> {
    let mut all = Vec::new();
    for (point, cell) in paths::points(cells) {
        if point.copying != Copying::PreCopy || point.loss_percent > 0.0 {
            continue;
        }
        let made = cell.moves.iter().filter(|one| one.failure.is_none());
        all.extend(made.filter_map(|one| {
            Some(Move {
                point: *point,
                total_ms: one.total_ms?,
                downtime_ms: one.downtime_ms,
                gap_ms: cell.gap_ms(one),
            })
        }));
    }
    all
}

impl Predictor {
    /// `None` where the moves do not tell the terms apart: memory, bandwidth, dirty rate and round trip have to differ.
    #[must_use]
    pub fn fitted(moves: &[Move]) -> Option<Self> {
        let ground = Ground::of(moves)?;
        let laws = vec![
            TOTAL.law(moves, ground)?,
            DOWNTIME.law(moves, ground)?,
            GAP.law(moves, ground)?,
        ];
        Some(Self {
            moves: moves.len() as u64,
            cells: count(moves, |one| one.point) as u64,
            window_mib: ground.window_mib,
            laws,
        })
    }

    /// The laws as a machine's profile has them; `measured_at` is that of the last move.
    #[must_use]
    pub fn profile(&self, measured_at: &str) -> Option<MigrationLaw> {
        let [total, downtime, gap] = self.laws.as_slice() else {
            return None;
        };
        let stopped = |law: &Law| {
            let [fixed, rest, trips] = law.terms.as_slice() else {
                return None;
            };
            Some(StoppedLaw {
                fixed_ms: fixed.factor,
                ms_per_mib: rest.factor,
                round_trips: trips.factor,
                sd_ms: law.sd,
            })
        };
        let [fixed, filled, own, trips] = total.terms.as_slice() else {
            return None;
        };
        Some(MigrationLaw {
            measured_at: measured_at.to_owned(),
            moves: self.moves,
            window_mib: self.window_mib,
            total: TotalLaw {
                fixed_ms: fixed.factor,
                times: filled.factor,
                own_mib: own.factor / filled.factor,
                round_trips: trips.factor,
                sd_share: total.sd,
            },
            downtime: stopped(downtime)?,
            gap: stopped(gap)?,
        })
    }
}

/// How many different ones there are.
fn count<T: PartialEq>(moves: &[Move], of: fn(&Move) -> T) -> usize {
    let mut seen: Vec<T> = Vec::new();
    for one in moves.iter().map(of) {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen.len()
}

/// What is left out of a fit together.
fn pair(one: &Move) -> (u32, f64) {
    (one.point.memory_mib, one.point.bandwidth_mib_s)
}

impl<const TERMS: usize> Figure<TERMS> {
    fn law(&self, moves: &[Move], ground: Ground) -> Option<Law> {
        let fit = self.fit(moves, ground)?;
        let (mut errors, mut within) = (Vec::new(), Vec::new());
        let mut left_out: Vec<(u32, f64)> = Vec::new();
        for one in moves {
            if left_out.contains(&pair(one)) {
                continue;
            }
            left_out.push(pair(one));
            let (unseen, seen): (Vec<Move>, Vec<Move>) =
                moves.iter().partition(|other| pair(other) == pair(one));
            // Without this pair the others may not tell the terms apart: then nothing is said of it.
            let fitted =
                Ground::of(&seen).and_then(|ground| Some((ground, self.fit(&seen, ground)?)));
            let Some((ground, fit)) = fitted else {
                continue;
            };
            for unseen in unseen {
                let (Some(measured), Some((value, half))) = (
                    (self.of)(&unseen),
                    self.predict(&fit, &unseen.point, ground),
                ) else {
                    continue;
                };
                errors.push(((value - measured) / measured).abs());
                within.push(f64::from(u8::from((value - measured).abs() <= half)));
            }
        }
        let (errors, within): (Values, Values) =
            (errors.into_iter().collect(), within.into_iter().collect());
        let term = |(at, name): (usize, &&str)| Term {
            name: (*name).to_owned(),
            factor: fit.factors[at],
            interval95: [
                fit.factors[at] - fit.half95[at],
                fit.factors[at] + fit.half95[at],
            ],
        };
        Some(Law {
            what: self.what.to_owned(),
            terms: self.terms.iter().enumerate().map(term).collect(),
            sd: fit.sd,
            sd_unit: match self.error {
                Error::Share => "of it",
                Error::Milliseconds => "ms",
            }
            .to_owned(),
            unseen_moves: within.n(),
            unseen_error_median: errors.median(),
            unseen_within95: within.mean(),
        })
    }

    fn fit(&self, moves: &[Move], ground: Ground) -> Option<Fit<TERMS>> {
        let row = |one: &Move| {
            let (value, terms) = ((self.of)(one)?, self.terms_at(&one.point, ground)?);
            // An error that is a share of the figure is the same for all figures in units of the figure.
            let unit = match self.error {
                Error::Share => value,
                Error::Milliseconds => 1.0,
            };
            (value > 0.0).then(|| Row {
                terms: terms.map(|term| term / unit),
                value: value / unit,
            })
        };
        let rows: Vec<Row<TERMS>> = moves.iter().filter_map(row).collect();
        Fit::of(&rows, count(moves, |one| one.point))
    }

    fn terms_at(&self, point: &PathPoint, ground: Ground) -> Option<[f64; TERMS]> {
        ground.copied(point).map(|copied| (self.at)(point, &copied))
    }

    /// The figure at a point, and half the width of its 95 % interval.
    fn predict(&self, fit: &Fit<TERMS>, point: &PathPoint, ground: Ground) -> Option<(f64, f64)> {
        let terms = self.terms_at(point, ground)?;
        let (value, half) = fit.predict(&terms);
        if self.error == Error::Milliseconds {
            return Some((value, half));
        }
        let (_, half) = fit.predict(&terms.map(|term| term / value));
        Some((value, half * value.abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A machine of which the law knows nothing: memory as a fluid, sent and written a tenth of a millisecond at a time.
    #[derive(Clone, Copy, Debug)]
    struct Truth {
        fixed_ms: f64,
        own_mib: f64,
        link_mib_s: f64,
        round_trips: f64,
        /// Standard deviation of the total, a share of it; of the downtime it is 30 ms times this.
        noise: f64,
        window_mib: f64,
    }

    const TRUTH: Truth = Truth {
        fixed_ms: 350.0,
        own_mib: 105.0,
        link_mib_s: 119.0,
        round_trips: 6.0,
        noise: 0.03,
        window_mib: 100.0,
    };

    impl Truth {
        /// Total and downtime.
        fn migrate(&self, point: &PathPoint) -> (f64, f64) {
            const STEP_S: f64 = 1e-4;
            let filled = f64::from(point.filled_mib);
            let rate = point
                .bandwidth_mib_s
                .min(self.window_mib / point.rtt_ms * 1e3);
            let (mut to_send, mut written, mut s) = (self.own_mib + filled, 0.0_f64, 0.0);
            loop {
                to_send -= rate * STEP_S;
                written = (written + point.dirty_mib_s * STEP_S).min(filled);
                s += STEP_S;
                assert!(s < 1e3, "{point:?} does not converge");
                if to_send <= 0.0 {
                    if written <= rate * point.downtime_limit_ms / 1e3 {
                        break;
                    }
                    (to_send, written) = (written, 0.0);
                }
            }
            let trips = self.round_trips * point.rtt_ms;
            let total_ms = self.fixed_ms + s * 1e3 + trips;
            (
                total_ms,
                10.0 + written / self.link_mib_s * 1e3 + point.rtt_ms,
            )
        }

        fn moves(&self, points: &[PathPoint], each: u32) -> Vec<Move> {
            // Twelve even numbers of Knuth's generator make one that is nearly normal.
            let mut state = 7_u64;
            let mut normal = || {
                let mut sum = -6.0;
                for _ in 0..12 {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    sum += (state >> 33) as f64 / f64::from(1_u32 << 31);
                }
                sum
            };
            let mut moves = Vec::new();
            for point in points {
                let (total_ms, downtime_ms) = self.migrate(point);
                for _ in 0..each {
                    moves.push(Move {
                        point: *point,
                        total_ms: total_ms * (1.0 + self.noise * normal()),
                        downtime_ms: Some(downtime_ms + 30.0 * self.noise * normal()),
                        gap_ms: Some(downtime_ms + 80.0 + 60.0 * self.noise * normal()),
                    });
                }
            }
            moves
        }
    }

    /// The cells of scenarios/thesis/campaign.toml that the law is fitted to.
    fn points() -> Vec<PathPoint> {
        let base = PathPoint {
            memory_mib: 256,
            filled_mib: 128,
            dirty_mib_s: 1.0,
            bandwidth_mib_s: 32.0,
            downtime_limit_ms: 300.0,
            rtt_ms: 2.0,
            loss_percent: 0.0,
            copying: Copying::PreCopy,
        };
        let mut all = Vec::new();
        for memory_mib in [160, 256, 384, 512] {
            for (bandwidth_mib_s, rtt_ms) in [16.0, 32.0, 48.0]
                .into_iter()
                .flat_map(|rate| [2.0, 75.0].map(|rtt_ms| (rate, rtt_ms)))
            {
                all.push(PathPoint {
                    memory_mib,
                    filled_mib: memory_mib - 128,
                    bandwidth_mib_s,
                    rtt_ms,
                    ..base
                });
            }
        }
        for dirty_mib_s in [0.0, 4.0, 8.0, 16.0] {
            all.push(PathPoint {
                dirty_mib_s,
                ..base
            });
        }
        for rtt_ms in [0.5, 20.0, 175.0] {
            all.push(PathPoint { rtt_ms, ..base });
        }
        all
    }

    fn law<'a>(predictor: &'a Predictor, what: &str) -> &'a Law {
        predictor.laws.iter().find(|law| law.what == what).unwrap()
    }

    #[test]
    fn what_made_the_moves_is_found_again() {
        let predictor = Predictor::fitted(&TRUTH.moves(&points(), 4)).unwrap();
        assert_eq!((predictor.cells, predictor.moves), (31, 124));
        let total = law(&predictor, TOTAL.what);
        let factors: Vec<f64> = total.terms.iter().map(|term| term.factor).collect();
        assert!((factors[0] - 350.0).abs() < 150.0, "{total:?}");
        assert!((factors[1] - 1.0).abs() < 0.05, "{total:?}");
        assert!((factors[2] - 105.0).abs() < 8.0, "{total:?}");
        assert!((factors[3] - 6.0).abs() < 2.0, "{total:?}");
        assert!((total.sd - 0.03).abs() < 0.01, "{total:?}");
        let downtime = law(&predictor, DOWNTIME.what);
        assert!(
            (downtime.terms[1].factor - 1e3 / 119.0).abs() < 1.0,
            "{downtime:?}"
        );
        let profile = predictor.profile("2026-11-30T07:00:00Z").unwrap();
        assert_eq!(profile.total.own_mib, factors[2] / factors[1]);
        assert_eq!(profile.gap.sd_ms, law(&predictor, GAP.what).sd);
        for law in &predictor.laws {
            let within = law.unseen_within95.unwrap();
            assert!((0.9..=0.99).contains(&within), "{law:?}");
            assert!(law.unseen_error_median < Some(0.1), "{law:?}");
            assert_eq!(law.unseen_moves, 124, "{law:?}");
        }
    }

    #[test]
    fn a_window_is_found_where_it_is_what_slows() {
        let slow = Truth {
            window_mib: 2.0,
            ..TRUTH
        };
        let predictor = Predictor::fitted(&slow.moves(&points(), 4)).unwrap();
        let found = predictor.window_mib.unwrap();
        assert!((1.7..2.3).contains(&found), "{found}");
        let total = law(&predictor, TOTAL.what);
        assert!(total.unseen_error_median < Some(0.05), "{total:?}");
        let free = Predictor::fitted(&TRUTH.moves(&points(), 4)).unwrap();
        assert_eq!(free.window_mib, None);
    }

    #[test]
    fn another_law_is_not_believed() {
        // Moves that grow with the square of memory, whatever the bandwidth: what is said of pairs that were not seen is far off.
        let mut moves = TRUTH.moves(&points(), 4);
        for one in &mut moves {
            one.total_ms = f64::from(one.point.memory_mib).powi(2) / 10.0;
        }
        let predictor = Predictor::fitted(&moves).unwrap();
        let total = law(&predictor, TOTAL.what);
        assert!(total.unseen_error_median > Some(0.1), "{total:?}");
    }

    #[test]
    fn too_little_is_no_law() {
        assert_eq!(Predictor::fitted(&[]), None);
        let one_rtt: Vec<PathPoint> = points().into_iter().filter(|p| p.rtt_ms == 2.0).collect();
        let moves = TRUTH.moves(&one_rtt, 4);
        assert_eq!(
            Predictor::fitted(&moves),
            None,
            "one round trip tells not what a round trip costs"
        );
        let few = TRUTH.moves(&points()[..4], 50);
        assert_eq!(Predictor::fitted(&few), None, "repeats are no cells");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_such_machine_is_predicted(
            fixed_ms in 50.0..1500.0_f64,
            own_mib in 70.0..128.0_f64,
            round_trips in 1.0..20.0_f64,
            link_mib_s in 60.0..1000.0_f64,
        ) {
            let truth = Truth { fixed_ms, own_mib, link_mib_s, round_trips, ..TRUTH };
            let predictor = Predictor::fitted(&truth.moves(&points(), 4)).unwrap();
            let total = law(&predictor, TOTAL.what);
            prop_assert!(total.unseen_error_median.unwrap() < 0.05, "{total:?}");
            prop_assert!(total.unseen_within95.unwrap() > 0.85, "{total:?}");
        }
    }
}
