//! The load at which a value starts to rise.
//!
//! A broken line is fitted by weighted least squares, flat and then rising:
//!
//! ```text
//! value = flat + slope * max(0, load - knee),   slope > 0
//! ```
//!
//! The best knee is found exactly, gap by gap between neighbouring loads: in a gap, the sum of squares is smallest where the
//! mean of the points before it and the straight line through the points behind it meet, or, if they meet elsewhere, at one
//! of its ends (Hudson, "Fitting segmented curves whose join points have to be estimated", Journal of the American
//! Statistical Association 61, 1966; Hinkley, "Inference in two-phase regression", the same journal 66, 1971).
//!
//! Its 95 % interval is that of the profile likelihood (Hinkley 1971): every knee whose sum of squares an F test with 1 and
//! n - 3 degrees of freedom cannot tell from the smallest one. By the same test there is a knee only if the broken line fits
//! better than a straight one, which is the broken line with its knee at the first load. Deviations are taken to be normal
//! and of equal variance, or of the variance that the weights say. The interval is that of a rise that is straight: where it
//! bends upwards, as a queue's does, the knee moves towards the steep part, the more the farther the sweep goes into it.

use std::path::Path;

use record::{RecordError, file};
use serde::{Deserialize, Serialize};

use crate::statistics::student_t_975;

/// Fewest loads that differ: a straight line and a knee have three parameters, and something must be left over.
pub const LOADS_MIN: usize = 4;
/// Knees looked at in each gap for the interval, before its ends are refined.
const STEPS: u32 = 100;
const BISECTIONS: u32 = 40;
/// Share of the last gap that is taken for its end.
const END: f64 = 1e-3;

/// A value at a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// In any unit.
    pub load: f64,
    /// In any unit.
    pub value: f64,
    /// Over 0; in proportion to 1 / variance of the value. 1 for all where it is not known.
    pub weight: f64,
}

/// Why no knee can be looked for.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum KneeError {
    /// Too few loads.
    #[error("a sweep needs at least {LOADS_MIN} different loads; there are {loads}")]
    TooFewLoads {
        /// How many differ.
        loads: usize,
    },
    /// A load or value that is no number.
    #[error("row {row}: load and value have to be finite numbers")]
    NotFinite {
        /// From 1.
        row: usize,
    },
    /// A weight that is not over 0.
    #[error("row {row}: n and sd have to be over 0")]
    NoWeight {
        /// From 1.
        row: usize,
    },
}

/// What a sweep says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The value starts to rise at the knee.
    Knee,
    /// A straight line fits as well.
    NoKnee,
}

/// A knee that was looked for: `forestall measure knee SWEEP.csv --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Search {
    /// Whether there is one; if not, the four figures of it are `None`.
    pub verdict: Verdict,
    /// Load at which the value starts to rise. Where only the values at the highest load rise, the load before that: the
    /// knee lies anywhere between the two, and the interval says so.
    pub knee: Option<f64>,
    /// Its 95 % interval. An end that is the last load is no bound: the sweep ends there.
    pub interval95: Option<[f64; 2]>,
    /// Value before the knee.
    pub flat: Option<f64>,
    /// Rise of the value per unit of load behind the knee.
    pub slope: Option<f64>,
    /// F statistic of the broken against the straight line; `None` if the broken line leaves nothing over.
    pub f: Option<f64>,
    /// What it has to exceed: the 95 % quantile with 1 and n - 3 degrees of freedom.
    pub f_limit: f64,
    /// Points that were fitted.
    pub points: u64,
}

/// A row of a sweep's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SweepRow {
    load: f64,
    value: f64,
    /// Measurements whose mean the value is.
    n: Option<f64>,
    /// Standard deviation of one measurement.
    sd: Option<f64>,
}

/// Reads a sweep: columns `load` and `value`, and where they are known `n` (how many measurements the value is the mean of)
/// and `sd` (standard deviation of one). A column that is there has to be filled.
///
/// # Errors
/// The file is absent or broken.
pub fn read_sweep(path: &Path) -> Result<Vec<Point>, RecordError> {
    let rows: Vec<SweepRow> = file::read_csv_with(path, &["n", "sd"])?;
    let has = |column: fn(&SweepRow) -> Option<f64>| rows.iter().any(|row| column(row).is_some());
    let (has_n, has_sd) = (has(|row| row.n), has(|row| row.sd));
    let known = |column: Option<f64>, is_there: bool| match column {
        None if !is_there => 1.0,
        // An empty field among filled ones: `find` refuses the row.
        column => column.unwrap_or(f64::NAN),
    };
    let point = |row: &SweepRow| {
        let sd = known(row.sd, has_sd);
        Point {
            load: row.load,
            value: row.value,
            // A standard deviation below 0 must not become a weight by being squared.
            weight: known(row.n, has_n) / (sd * sd.max(0.0)),
        }
    };
    Ok(rows.iter().map(point).collect())
}

/// Looks for the knee of a sweep, whose points may be in any order and several at one load.
///
/// # Errors
/// Too few different loads, or something that is no number.
pub fn find(points: &[Point]) -> Result<Search, KneeError> {
    let sweep = Sweep::new(points)?;
    let fit = sweep.best();
    let freedom = points.len() - 3;
    let f_limit = student_t_975(freedom).powi(2);
    let rss = sweep.rss(fit.gain);
    let variance = rss / freedom as f64;
    let better = fit.gain - sweep.gain_of_straight_line();
    // What arithmetic leaves of nothing is nothing.
    let f = (variance > f64::EPSILON * sweep.total.yy).then(|| better / variance);
    let is_knee = match f {
        Some(f) => f > f_limit,
        None => better > 1e-9 * sweep.total.yy,
    };
    let mut search = Search {
        verdict: Verdict::NoKnee,
        knee: None,
        interval95: None,
        flat: None,
        slope: None,
        f,
        f_limit,
        points: points.len() as u64,
    };
    if is_knee {
        let rss_max = rss + variance * f_limit + 1e-12 * sweep.total.yy;
        let [low, high] = sweep.interval(&fit, |gain| sweep.rss(gain) <= rss_max);
        search.verdict = Verdict::Knee;
        search.knee = Some(fit.knee + sweep.load_mean);
        search.interval95 = Some([low + sweep.load_mean, high + sweep.load_mean]);
        let (slope, flat) = sweep.line(&fit);
        search.flat = Some(flat + sweep.value_mean);
        search.slope = Some(slope);
    }
    Ok(search)
}

/// Weighted sums over points.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    w: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Sums {
    fn with(self, point: &Point) -> Self {
        let Point {
            load: x,
            value: y,
            weight: w,
        } = *point;
        Self {
            w: self.w + w,
            x: self.x + w * x,
            y: self.y + w * y,
            xx: self.xx + w * x * x,
            xy: self.xy + w * x * y,
            yy: self.yy + w * y * y,
        }
    }

    /// Slope and value at 0 of the straight line through the points; `None` if all are at one load.
    fn line(&self) -> Option<(f64, f64)> {
        let spread = self.xx - self.x * self.x / self.w;
        if spread <= 1e-12 * self.xx {
            return None;
        }
        let slope = (self.xy - self.x * self.y / self.w) / spread;
        Some((slope, (self.y - slope * self.x) / self.w))
    }
}

/// Points with their means taken off, sorted, and the sums over all from each different load on.
struct Sweep {
    load_mean: f64,
    value_mean: f64,
    /// Different loads, ascending.
    loads: Vec<f64>,
    /// `from[i]` sums over the points at `loads[i]` and above.
    from: Vec<Sums>,
    total: Sums,
}

/// A broken line.
#[derive(Clone, Copy, Debug)]
struct Fit {
    knee: f64,
    /// Gap that it lies in: at or above `loads[gap]`, below the next.
    gap: usize,
    /// Squares that it takes off those around the mean.
    gain: f64,
}

impl Sweep {
    fn new(points: &[Point]) -> Result<Self, KneeError> {
        for (at, point) in points.iter().enumerate() {
            if !(point.load.is_finite() && point.value.is_finite()) {
                return Err(KneeError::NotFinite { row: at + 1 });
            }
            if !(point.weight.is_finite() && point.weight > 0.0) {
                return Err(KneeError::NoWeight { row: at + 1 });
            }
        }
        let all = points.iter().fold(Sums::default(), |sums, p| sums.with(p));
        let (load_mean, value_mean) = (all.x / all.w, all.y / all.w);
        let mut sorted: Vec<Point> = points
            .iter()
            .map(|point| Point {
                load: point.load - load_mean,
                value: point.value - value_mean,
                weight: point.weight / all.w,
            })
            .collect();
        sorted.sort_by(|a, b| b.load.total_cmp(&a.load));
        // From the highest load down.
        let (mut loads, mut from, mut sums) = (Vec::new(), Vec::new(), Sums::default());
        for point in &sorted {
            sums = sums.with(point);
            if loads.last() == Some(&point.load) {
                from.pop();
            } else {
                loads.push(point.load);
            }
            from.push(sums);
        }
        if loads.len() < LOADS_MIN {
            return Err(KneeError::TooFewLoads { loads: loads.len() });
        }
        loads.reverse();
        from.reverse();
        Ok(Self {
            load_mean,
            value_mean,
            loads,
            from,
            total: sums,
        })
    }

    /// Each gap: its ends, and the sums over the points behind it.
    fn gaps(&self) -> impl DoubleEndedIterator<Item = (usize, f64, f64, &Sums)> {
        (1..self.loads.len()).map(|at| (at - 1, self.loads[at - 1], self.loads[at], &self.from[at]))
    }

    fn rss(&self, gain: f64) -> f64 {
        (self.total.yy - gain).max(0.0)
    }

    fn gain_of_straight_line(&self) -> f64 {
        self.total.xy * self.total.xy / self.total.xx
    }

    fn best(&self) -> Fit {
        let mut best = Fit {
            knee: self.loads[0],
            gap: 0,
            gain: f64::NEG_INFINITY,
        };
        for (gap, low, high, behind) in self.gaps() {
            let meeting = self.meeting(behind).filter(|x| low < *x && *x < high);
            for knee in std::iter::once(low).chain(meeting) {
                let gain = self.gain(knee, behind);
                // Of knees that fit equally well the lowest.
                if gain > best.gain + 1e-12 * self.total.yy {
                    best = Fit { knee, gap, gain };
                }
            }
        }
        best
    }

    /// Load at which the mean of the points before and the line through those behind meet.
    fn meeting(&self, behind: &Sums) -> Option<f64> {
        let (slope, at_0) = behind.line()?;
        // All values together are 0.
        let mean_before = -behind.y / (self.total.w - behind.w);
        (slope > 0.0).then(|| (mean_before - at_0) / slope)
    }

    /// Sums of `load - knee` times itself, around its mean, and times the value, over the points behind the knee.
    fn moments(&self, knee: f64, behind: &Sums) -> (f64, f64) {
        let rise = behind.x - knee * behind.w;
        let squares = behind.xx - 2.0 * knee * behind.x + knee * knee * behind.w;
        let with_value = behind.xy - knee * behind.y;
        (squares - rise * rise / self.total.w, with_value)
    }

    /// Squares that the best line with this knee takes off; none if it would fall.
    fn gain(&self, knee: f64, behind: &Sums) -> f64 {
        let (squares, with_value) = self.moments(knee, behind);
        if with_value <= 0.0 || squares <= 0.0 {
            return 0.0;
        }
        with_value * with_value / squares
    }

    /// Slope and flat value of a fit.
    fn line(&self, fit: &Fit) -> (f64, f64) {
        let behind = &self.from[fit.gap + 1];
        let (squares, with_value) = self.moments(fit.knee, behind);
        let slope = with_value / squares;
        let rise = behind.x - fit.knee * behind.w;
        (slope, -slope * rise / self.total.w)
    }

    /// Lowest and highest knee whose gain is `within`.
    fn interval(&self, fit: &Fit, within: impl Fn(f64) -> bool) -> [f64; 2] {
        let steps = |(_, low, high, behind): (usize, f64, f64, _)| {
            let at = move |step: u32| low + (high - low) * f64::from(step) / f64::from(STEPS);
            (0..STEPS).map(move |step| (at(step), at(step + 1), behind))
        };
        let is_in = |knee: f64, behind: &Sums| within(self.gain(knee, behind));
        // Of a step only one end is within: where does that change?
        let change = |mut inside: f64, mut outside: f64, behind: &Sums| {
            for _ in 0..BISECTIONS {
                let middle = f64::midpoint(inside, outside);
                if is_in(middle, behind) {
                    inside = middle;
                } else {
                    outside = middle;
                }
            }
            inside
        };
        let low = self.gaps().flat_map(steps).find_map(|(from, to, behind)| {
            match (is_in(from, behind), is_in(to, behind)) {
                (true, _) => Some(from),
                (false, true) => Some(change(to, from, behind)),
                _ => None,
            }
        });
        let last = self.loads.len() - 2;
        let high = self.gaps().rev().find_map(|gap| {
            let (number, low, high, behind) = gap;
            // A knee at the last load has no points behind it; what is said of it is said of one just before.
            let end = if number == last {
                high - (high - low) * END
            } else {
                high
            };
            if is_in(end, behind) {
                return Some(high);
            }
            let mut steps: Vec<_> = steps(gap).collect();
            steps.reverse();
            steps.into_iter().find_map(|(from, to, behind)| {
                is_in(from, behind).then(|| change(from, to.min(end), behind))
            })
        });
        [
            low.unwrap_or(fit.knee).min(fit.knee),
            high.unwrap_or(fit.knee).max(fit.knee),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{ByLoad, THESIS};

    /// Normal deviates from a seed: splitmix64 (Steele et al. 2014) and Box-Muller.
    struct Noise(u64);

    impl Noise {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
            radius * (std::f64::consts::TAU * self.uniform()).cos()
        }
    }

    /// A level for each load, with noise of standard deviation `sd` on it.
    fn sweep(loads: &[f64], sd: f64, seed: u64, level: impl Fn(f64) -> f64) -> Vec<Point> {
        let mut noise = Noise(seed);
        let point = |load: &f64| Point {
            load: *load,
            value: level(*load) + sd * noise.normal(),
            weight: 1.0,
        };
        loads.iter().map(point).collect()
    }

    /// The loads of the thesis, and a finer sweep.
    fn designs() -> [Vec<f64>; 3] {
        let thesis = THESIS.cpu_load.percent.to_vec();
        let even = (0..=20).map(|step| f64::from(step) * 5.0).collect();
        let thrice = thesis.repeat(3);
        [thesis, thrice, even]
    }

    fn broken(knee: f64, slope: f64) -> impl Fn(f64) -> f64 {
        move |load| 345.0 + slope * (load - knee).max(0.0)
    }

    #[test]
    fn a_knee_without_noise_is_found_exactly() {
        for loads in designs() {
            for knee in [50.0, 62.0, 80.0, 83.7] {
                let found = find(&sweep(&loads, 0.0, 0, broken(knee, 7.5))).unwrap();
                assert_eq!(found.verdict, Verdict::Knee);
                let [low, high] = found.interval95.unwrap();
                let figures = [found.knee.unwrap(), low, high];
                for figure in figures {
                    assert!((figure - knee).abs() < 1e-3, "{knee}: {figures:?}");
                }
                assert!((found.flat.unwrap() - 345.0).abs() < 1e-6);
                assert!((found.slope.unwrap() - 7.5).abs() < 1e-6);
            }
        }
    }

    /// The search by gaps finds what trying out every knee finds.
    #[test]
    fn no_other_knee_fits_better() {
        for seed in 0..200 {
            let points = sweep(&designs()[1], 20.0, seed, broken(83.0, 5.0));
            let sweep = Sweep::new(&points).unwrap();
            let best = sweep.best();
            for (_, low, high, behind) in sweep.gaps() {
                for step in 0..1000 {
                    let knee = low + (high - low) * f64::from(step) / 1e3;
                    let gain = sweep.gain(knee, behind);
                    assert!(gain <= best.gain * (1.0 + 1e-9), "seed {seed}: {knee}");
                }
            }
        }
    }

    #[test]
    fn the_interval_covers_the_knee() {
        const SEEDS: u64 = 400;
        for (design, loads) in designs().iter().enumerate() {
            for knee in [62.0, 80.0, 87.0] {
                let (mut found, mut covered) = (0, 0);
                for seed in 0..SEEDS {
                    let search = find(&sweep(loads, 10.0, seed, broken(knee, 20.0))).unwrap();
                    if let Some([low, high]) = search.interval95 {
                        found += 1;
                        covered += u32::from(low <= knee && knee <= high);
                    }
                }
                assert!(
                    found > SEEDS * 9 / 10,
                    "design {design}, knee {knee}: {found} found"
                );
                let share = f64::from(covered) / found as f64;
                println!("design {design}, knee {knee}: {found} found, {share} covered");
                assert!(
                    (0.85..=1.0).contains(&share),
                    "design {design}, knee {knee}: {share}"
                );
            }
        }
    }

    #[test]
    fn a_straight_line_has_no_knee() {
        const SEEDS: u64 = 1000;
        for (design, loads) in designs().iter().enumerate() {
            for slope in [0.0, 0.5, -0.5, 5.0] {
                let is_knee = |seed: &u64| {
                    let points = sweep(loads, 10.0, *seed, |load| 345.0 + slope * load);
                    find(&points).unwrap().verdict == Verdict::Knee
                };
                let wrong = (0..SEEDS).filter(is_knee).count();
                println!("design {design}, slope {slope}: {wrong} of {SEEDS}");
                assert!(wrong < 100, "design {design}, slope {slope}: {wrong}");
            }
        }
    }

    #[test]
    fn a_line_without_noise_has_no_knee() {
        for slope in [0.0, 2.0, -2.0] {
            let points = sweep(&designs()[0], 0.0, 0, |load| 3.0 + slope * load);
            let search = find(&points).unwrap();
            assert_eq!(search.verdict, Verdict::NoKnee, "{slope}: {search:?}");
            assert_eq!((search.knee, search.interval95), (None, None));
        }
    }

    #[test]
    fn weights_count_as_repeats() {
        let once = sweep(&designs()[2], 10.0, 5, broken(70.0, 3.0));
        let mut weighted = once.clone();
        weighted[16].weight = 2.0;
        let mut repeated = once;
        repeated.push(repeated[16]);
        let knee = |points: &[Point]| find(points).unwrap().knee.unwrap();
        assert!((knee(&weighted) - knee(&repeated)).abs() < 1e-9);
    }

    #[test]
    fn where_only_the_last_load_rises_the_knee_is_somewhere_before_it() {
        let values = [1.0, 1.2, 0.9, 1.1, 1.0, 9.0];
        let points: Vec<Point> = (0..6)
            .map(|at| Point {
                load: at as f64,
                value: values[at],
                weight: 1.0,
            })
            .collect();
        let search = find(&points).unwrap();
        assert_eq!(search.verdict, Verdict::Knee);
        let [low, high] = search.interval95.unwrap();
        assert!(low <= 4.0 && high == 5.0, "{search:?}");
    }

    /// What the thesis says of its Tables 5 and 6, and what a broken line says of them.
    #[test]
    fn tables_5_and_6_of_the_thesis() {
        let thesis = &*THESIS;
        let search = |row: &ByLoad| {
            let points = thesis.cpu_load.percent.iter().zip(row);
            let point = |(load, value): (&f64, &f64)| Point {
                load: *load,
                value: *value,
                weight: 1.0,
            };
            find(&points.map(point).collect::<Vec<_>>()).unwrap()
        };
        let delay = &thesis.table6_delay_by_cpu_load;
        let check = |row: &ByLoad, expected: [f64; 3]| {
            let search = search(row);
            let [low, high] = search.interval95.unwrap();
            for (found, expected) in [low, search.knee.unwrap(), high].iter().zip(expected) {
                assert!((found - expected).abs() < 0.005, "{expected}: {search:?}");
            }
        };
        // The thesis reads 95 %.
        check(&delay.mean_ms, [94.90, 94.93, 94.97]);
        check(&delay.median_ms, [94.92, 94.95, 94.98]);
        // The thesis reads 80 %, where the C.V. is first seen to rise; the rise is not straight, and the broken line is
        // ruled by its steep part.
        check(
            &thesis.table5_intervals_by_cpu_load.cv,
            [91.05, 93.01, 94.23],
        );
    }

    #[test]
    fn refusals() {
        let point = |load: f64, value: f64, weight: f64| Point {
            load,
            value,
            weight,
        };
        let flat: Vec<Point> = (0..5)
            .map(|load| point(f64::from(load), 1.0, 1.0))
            .collect();
        let check = |change: &dyn Fn(&mut Vec<Point>), expected: KneeError| {
            let mut points = flat.clone();
            change(&mut points);
            assert_eq!(find(&points), Err(expected));
        };
        check(
            &|points| points.clear(),
            KneeError::TooFewLoads { loads: 0 },
        );
        check(
            &|points| points.truncate(3),
            KneeError::TooFewLoads { loads: 3 },
        );
        check(
            &|points| points.iter_mut().for_each(|point| point.load = 7.0),
            KneeError::TooFewLoads { loads: 1 },
        );
        check(
            &|points| points[1].value = f64::NAN,
            KneeError::NotFinite { row: 2 },
        );
        check(
            &|points| points[4].load = f64::INFINITY,
            KneeError::NotFinite { row: 5 },
        );
        check(
            &|points| points[0].weight = 0.0,
            KneeError::NoWeight { row: 1 },
        );
    }

    #[test]
    fn a_sweep_is_read_with_and_without_its_further_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sweep.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_sweep(&path)
        };
        let weights = |text: &str| -> Vec<f64> {
            read(text)
                .unwrap()
                .iter()
                .map(|point| point.weight)
                .collect()
        };
        assert_eq!(weights("load,value\n0.5,30\n0.9,31\n"), [1.0, 1.0]);
        assert_eq!(weights("load,value,n\n0.5,30,4\n0.9,31,2\n"), [4.0, 2.0]);
        assert_eq!(weights("sd,value,load,n\n2,30,0.5,4\n"), [1.0]);
        assert!(weights("load,value,n\n0.5,30,4\n0.9,31,\n")[1].is_nan());
        assert!(weights("load,value,sd\n0.5,30,-1\n")[0].is_infinite());
        let refused = |text: &str| read(text).unwrap_err().to_string();
        assert!(refused("load,n\n1,2\n").contains("no column `value`"));
        assert!(refused("load,value\n1,two\n").contains("sweep.csv:2: "));
        assert!(refused("").contains("no column `load`"));
    }
}
