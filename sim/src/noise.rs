//! What a load does between the values that are known of it.

use std::sync::Arc;

use crate::chance::{hash, share};
use crate::demand::Demand;

/// Distances of the random values that each octave runs through, in seconds. All of them divide 300 s, so that a window of
/// a trace holds whole ones.
const OCTAVES_S: [f64; 5] = [60.0, 30.0, 15.0, 7.5, 3.75];

/// Standard deviation of noise with amplitude 1: `sqrt(5 * 0.2476) / 5`, where 0.2476 is the variance over time of values
/// evenly from -1 to 1 with cubic steps between them.
pub const SD_PER_AMPLITUDE: f64 = 0.2225;

/// Value noise, random access: each octave goes smoothly (a cubic step) from one random value to the next, and the octaves
/// are summed up with equal weight. It never leaves `-1..=1`, its mean is 0, its standard deviation
/// [`SD_PER_AMPLITUDE`]. The value noise of Perlin's and Musgrave's, "Texturing and Modeling", 3rd ed. 2003, chapter 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Decides all of it.
    pub seed: u64,
}

impl Noise {
    /// Its value at an instant, `-1..=1`.
    #[must_use]
    pub fn at(&self, at_s: f64) -> f64 {
        let octave = |(number, distance_s): (usize, &f64)| {
            let place = at_s / distance_s;
            let before = place.floor();
            let part = place - before;
            let smooth = part * part * (3.0 - 2.0 * part);
            let seed = hash(self.seed, number as u64);
            let value = |knot: f64| 2.0 * share(hash(seed, knot as i64 as u64)) - 1.0;
            let (from, to) = (value(before), value(before + 1.0));
            from + (to - from) * smooth
        };
        let sum: f64 = OCTAVES_S.iter().enumerate().map(octave).sum();
        sum / OCTAVES_S.len() as f64
    }
}

/// A demand that goes up and down about another by at most `amplitude` of it.
#[derive(Clone, Debug)]
pub struct Noisy {
    /// What it goes up and down about.
    pub about: Arc<dyn Demand>,
    /// How.
    pub noise: Noise,
    /// By how much at most, as a share of what it goes about: `0..=1`.
    pub amplitude: f64,
}

impl Demand for Noisy {
    fn at(&self, at_s: f64) -> f64 {
        (self.about.at(at_s) * (1.0 + self.amplitude * self.noise.at(at_s))).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u64, step_s: f64) -> impl Iterator<Item = f64> {
        (0..200_000).map(move |i| Noise { seed }.at(f64::from(i) * step_s - 5_000.0))
    }

    #[test]
    fn bounded_without_bias_and_as_wide_as_said() {
        let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for value in values(3, 0.9) {
            assert!(value.abs() <= 1.0);
            n += 1.0;
            sum += value;
            squares += value * value;
        }
        let (mean, sd) = (sum / n, f64::sqrt(squares / n));
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((sd - SD_PER_AMPLITUDE).abs() < 0.005, "{sd}");
    }

    #[test]
    fn it_is_smooth() {
        let values: Vec<f64> = values(4, 0.01).collect();
        let jump = values.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        assert!(jump.fold(0.0, f64::max) < 0.005);
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(Noise { seed: 1 }.at(12.3), Noise { seed: 2 }.at(12.3));
        assert_eq!(Noise { seed: 1 }.at(12.3), Noise { seed: 1 }.at(12.3));
    }

    #[test]
    fn any_instant() {
        for at_s in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
            let _ = Noise { seed: 1 }.at(at_s);
        }
    }
}
