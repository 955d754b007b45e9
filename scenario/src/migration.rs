//! How long a live migration takes.

use record::Slowdown;
use serde::Deserialize;

use crate::types::Function;

/// Rounds of pre-copy after which the rest is taken to be sent with the guest stopped.
const ROUNDS_MAX: i32 = 30;

/// Pre-copy's geometric law (Clark et al., Live Migration of Virtual Machines, NSDI 2005, section 3; Akoush et al., Predicting the
/// Performance of Virtual Machine Migration, MASCOTS 2010): each round sends what was written during the one before, so with
/// memory `V`, bandwidth `B` and dirty rate `D` the rounds take `V/B (1 + D/B + (D/B)^2 + …)`, until what is left is sent within
/// the downtime limit. Load of either end slows it down, each by a factor of its own: in Table 7 of the thesis (21 means of 10 moves)
/// such a product is 2.6 % off in the root mean square, 7 % at most, with 1 / 1.10 / 1.27 / 1.66 for a source at 85 / 90 / 95 / 100 %
/// and 1 / 1.045 for a target at 50 / 100 %, times 6.20 s.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationLaw {
    /// What a move takes besides copying: preparing the target, the switch, the first picture from there.
    pub fixed_ms: f64,
    /// Share of a virtual machine's memory that is not zero: zero pages cost next to nothing.
    pub memory_used: f64,
    /// How many times longer it takes by the load of the source: `[[load, factor], …]`, straight lines between (thesis, Table 7).
    pub slowdown: Slowdown,
    /// The same by the load of the target; left out, it makes no difference.
    #[serde(default)]
    pub slowdown_by_target: Slowdown,
}

impl MigrationLaw {
    /// What copying sends of a function, in units of its bandwidth: seconds at full rate. `None` when it never ends: memory is
    /// written faster than it is sent.
    #[must_use]
    pub fn copying_s(
        &self,
        function: &Function,
        bandwidth_mib_s: f64,
        downtime_limit_ms: f64,
    ) -> Option<f64> {
        let ratio = function.dirty_mib_s / bandwidth_mib_s;
        if ratio >= 1.0 {
            return None;
        }
        let first_s = f64::from(function.memory_mib) * self.memory_used / bandwidth_mib_s;
        let mut round_s = first_s;
        let mut total_s = 0.0;
        for _ in 0..ROUNDS_MAX {
            total_s += round_s;
            round_s *= ratio;
            if round_s * 1e3 <= downtime_limit_ms {
                break;
            }
        }
        Some(total_s + round_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law() -> MigrationLaw {
        toml::from_str(
            "fixed_ms = 400\nmemory_used = 0.5\nslowdown = [[0.85, 1.0], [0.95, 1.3], [1.0, 1.7]]",
        )
        .unwrap()
    }

    fn function(memory_mib: u32, dirty_mib_s: f64) -> Function {
        let text = format!(
            "host = \"a\"\nload = 0.1\nmemory_mib = {memory_mib}\ndirty_mib_s = {dirty_mib_s:?}"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn rounds_are_a_geometric_series() {
        let copying = |memory, dirty| law().copying_s(&function(memory, dirty), 10.0, 1.0);
        assert_eq!(copying(200, 0.0), Some(10.0));
        // 10 s, then half of what the round before took, until less than a millisecond is left: 20 s but for that.
        let total = copying(200, 5.0).unwrap();
        assert!((total - 20.0).abs() < 2e-3, "{total}");
        assert_eq!(copying(200, 10.0), None);
    }

    /// The factors of the doc comment, and how far they are from what the thesis prints.
    #[test]
    #[expect(
        clippy::approx_constant,
        reason = "the table prints 6.28 s, which is not tau"
    )]
    fn table_7_is_a_product_of_both_ends() {
        let printed = [
            (0.0, [6.35, 6.06, 6.17, 6.32, 6.89, 8.13, 10.8]),
            (0.5, [6.07, 6.13, 6.23, 6.28, 6.75, 7.80, 9.53]),
            (1.0, [6.40, 6.34, 6.56, 6.65, 7.10, 7.99, 11.00]),
        ];
        let source = [(0.85, 1.0), (0.9, 1.098), (0.95, 1.267), (1.0, 1.656)];
        let source = Slowdown::try_from(source.to_vec()).unwrap();
        let target = Slowdown::try_from(vec![(0.5, 1.0), (1.0, 1.045)]).unwrap();
        let mut squares = 0.0;
        for (at_target, row) in printed {
            for (at_source, seconds) in [0.0, 0.5, 0.8, 0.85, 0.9, 0.95, 1.0].into_iter().zip(row) {
                let fitted = 6.204 * source.at(at_source) * target.at(at_target);
                let off: f64 = seconds / fitted - 1.0;
                assert!(off.abs() < 0.073, "{at_source} {at_target}: {off}");
                squares += off * off / 21.0;
            }
        }
        assert!((squares.sqrt() - 0.026).abs() < 0.001, "{}", squares.sqrt());
    }
}
