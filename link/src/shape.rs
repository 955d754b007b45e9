//! What a link does to frames in one direction.

use serde::{Deserialize, Serialize};

/// Longest delay that is taken: more is a slip of the pen.
const DELAY_MS_MAX: f64 = 60_000.0;
/// Fastest rate that is taken.
const RATE_MBIT_S_MAX: f64 = 400_000.0;

/// One direction of a link. What is left out is not there: no delay, no jitter, no loss, no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Mean time that a frame is under way, without what it waits for its turn.
    #[serde(default)]
    pub delay_ms: f64,
    /// How that time varies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
    /// What does not arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// How fast bits go in, counted from the Ethernet header to the end of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Share of frames, `0..=1`, that overtake those before them: they are sent on at once, as netem's reordering does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder: Option<f64>,
}

/// Variation of the delay. Frames keep their order unless [`Shape::reorder`] says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jitter {
    /// Standard deviation.
    pub sd_ms: f64,
    /// How the delay is distributed about its mean.
    pub distribution: Distribution,
    /// Time constant of its correlation: two frames `t` apart have delays with the correlation exp(-t / `memory_ms`), before they
    /// are put in order. 0: every frame for itself, which a burst of frames undoes, since the slowest holds up the rest.
    #[serde(default)]
    pub memory_ms: f64,
}

/// A distribution with a mean of 0 and a standard deviation of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// All values within the square root of 3 are as likely.
    Uniform,
    /// Gauss.
    Normal,
    /// A long tail of late frames: Pareto's distribution with the exponent 3, the least whole one that has a standard deviation.
    Pareto,
}

/// What does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Share of frames, `0..1`.
    pub share: f64,
    /// Mean number of frames lost in a row, 1 or more, by the chain of two states of Gilbert, "Capacity of a burst-noise channel",
    /// Bell System Technical Journal 39 (1960), in which all is lost in the bad state. Left out: each frame for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<f64>,
}

/// How fast, and how long frames wait for their turn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Millions of bits a second.
    pub mbit_s: f64,
    /// A frame that would wait longer than this is dropped.
    pub queue_ms: f64,
}

/// What is wrong with a shape.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key} is {value}; {must}")]
pub struct ShapeError {
    /// Which key.
    pub key: &'static str,
    /// What it is.
    pub value: f64,
    /// What it must be.
    pub must: &'static str,
}

impl Shape {
    /// Looks whether every figure is one that a link can have.
    ///
    /// # Errors
    /// With the first that is not.
    pub fn check(&self) -> Result<(), ShapeError> {
        let delay = |key, value: f64| {
            let good = (0.0..=DELAY_MS_MAX).contains(&value);
            let must = "it must be 0 to 60000 ms";
            good.then_some(()).ok_or(ShapeError { key, value, must })
        };
        delay("delay_ms", self.delay_ms)?;
        if let Some(jitter) = self.jitter {
            delay("jitter.sd_ms", jitter.sd_ms)?;
            delay("jitter.memory_ms", jitter.memory_ms)?;
        }
        if let Some(loss) = self.loss {
            let wrong = |key, value, must| Err(ShapeError { key, value, must });
            if !(0.0..1.0).contains(&loss.share) {
                return wrong("loss.share", loss.share, "it must be 0 to less than 1");
            }
            if let Some(burst) = loss.burst {
                if !(1.0..=1e6).contains(&burst) {
                    return wrong("loss.burst", burst, "it must be 1 to 1000000 frames");
                }
                // Leaving the good state cannot be likelier than certain.
                if loss.share > burst * (1.0 - loss.share) {
                    let must = "so many lost frames need longer bursts: burst must be at least share / (1 - share)";
                    return wrong("loss.share", loss.share, must);
                }
            }
        }
        if let Some(rate) = self.rate {
            let good = rate.mbit_s > 0.0 && rate.mbit_s <= RATE_MBIT_S_MAX;
            good.then_some(()).ok_or(ShapeError {
                key: "rate.mbit_s",
                value: rate.mbit_s,
                must: "it must be over 0, and 400000 at most",
            })?;
            delay("rate.queue_ms", rate.queue_ms)?;
        }
        match self.reorder {
            Some(value) if !(0.0..=1.0).contains(&value) => Err(ShapeError {
                key: "reorder",
                value,
                must: "it must be 0 to 1",
            }),
            _ => Ok(()),
        }
    }

    /// Whether frames go through as they come.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Distribution {
    /// The value that belongs to a normal deviate: where that lies in its own distribution, this lies here. So a correlation of
    /// normal deviates becomes one of these (a Gaussian copula).
    #[must_use]
    pub fn of_normal(self, deviate: f64) -> f64 {
        /// Of Pareto's distribution from 1 with the exponent 3: mean 3/2, variance 3/4.
        const PARETO: (f64, f64) = (1.5, 0.866_025_403_784_438_6);
        // Shares above, by the complementary error function, which keeps its digits in the tail.
        let above = || 0.5 * libm::erfc(deviate / std::f64::consts::SQRT_2);
        match self {
            Self::Normal => deviate,
            Self::Uniform => (1.0 - 2.0 * above()) * 3_f64.sqrt(),
            Self::Pareto => (above().max(f64::MIN_POSITIVE).powf(-1.0 / 3.0) - PARETO.0) / PARETO.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Result<Shape, String> {
        let shape: Shape = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        shape.check().map_err(|error| error.to_string())?;
        Ok(shape)
    }

    #[test]
    fn shapes_that_no_link_has_are_refused() {
        let good = "delay_ms = 87\njitter = { sd_ms = 3, distribution = \"pareto\", memory_ms = 50 }\n\
                    loss = { share = 0.01, burst = 3 }\nrate = { mbit_s = 20, queue_ms = 100 }\nreorder = 0.01";
        assert!(shape(good).is_ok());
        assert!(shape("").unwrap().is_plain());
        for (text, wanted) in [
            ("delay_ms = -1", "delay_ms is -1"),
            ("delay_ms = nan", "delay_ms is NaN"),
            ("delay = 3", "unknown field `delay`"),
            (
                "jitter = { sd_ms = 1, distribution = \"gauss\" }",
                "unknown variant `gauss`",
            ),
            (
                "jitter = { sd_ms = inf, distribution = \"normal\" }",
                "jitter.sd_ms is inf",
            ),
            ("loss = { share = 1 }", "loss.share is 1"),
            ("loss = { share = 0.1, burst = 0.5 }", "loss.burst is 0.5"),
            ("loss = { share = 0.9, burst = 2 }", "longer bursts"),
            ("rate = { mbit_s = 0, queue_ms = 1 }", "rate.mbit_s is 0"),
            ("rate = { mbit_s = 1 }", "missing field `queue_ms`"),
            ("reorder = 1.1", "reorder is 1.1"),
        ] {
            let error = shape(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn a_distribution_has_mean_0_and_deviation_1() {
        // Over the middles of equal shares of a normal distribution, found by bisection.
        let deviate = |share: f64| {
            let (mut low, mut high) = (-9.0, 9.0);
            for _ in 0..60 {
                let middle = f64::midpoint(low, high);
                let below = 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2);
                if below < share {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            low
        };
        let n = 200_000;
        for (distribution, tolerance) in [
            (Distribution::Uniform, 1e-3),
            (Distribution::Normal, 1e-3),
            (Distribution::Pareto, 0.03),
        ] {
            let values: Vec<f64> = (0..n)
                .map(|i| distribution.of_normal(deviate((f64::from(i) + 0.5) / f64::from(n))))
                .collect();
            let mean = values.iter().sum::<f64>() / f64::from(n);
            let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n)).sqrt();
            assert!(mean.abs() < tolerance, "{distribution:?}: mean {mean}");
            assert!((sd - 1.0).abs() < tolerance, "{distribution:?}: sd {sd}");
        }
    }
}
