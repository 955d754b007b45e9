//! Agents that lose answers, fall silent, and answer late.
//!
//! The rules of other systems are shown exact load at every one of their looks, whatever the agents do: nobody shall say that they
//! lost by our telemetry. Our own controllers run once with good agents and once with poor ones, and both stand in the table.

use std::time::Duration;

use record::{HostName, Timestamp};
use scenario::Event as Happening;

use crate::chance::{Chance, hash};

/// How well load is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agents {
    /// Every refresh of the counters arrives at once.
    Good,
    /// One refresh in twenty is lost. In every hour each agent is silent once for 30 to 120 s, and for 5 minutes its samples come
    /// 1 to 6 s late.
    Poor,
}

/// Share of refreshes that are lost.
const LOST: f64 = 0.05;
const HOUR_S: f64 = 3600.0;
const SILENT_S: (f64, f64) = (30.0, 120.0);
const LATE_FOR_S: f64 = 300.0;
const LATE_S: (f64, f64) = (1.0, 6.0);
/// A silence that is a little shorter than a refresh takes one refresh with it and no second one.
const NEARLY: f64 = 0.999;

impl Agents {
    /// What happens to the samples of these hosts, in order of time.
    #[must_use]
    pub fn happenings(
        self,
        hosts: &[HostName],
        refresh: Duration,
        end: Timestamp,
        seed: u64,
    ) -> Vec<(Timestamp, Happening)> {
        if self == Self::Good {
            return Vec::new();
        }
        let (refresh_s, end_s) = (refresh.as_secs_f64(), end.as_secs_f64());
        let mut all = Vec::new();
        for (number, host) in (0..).zip(hosts) {
            // Another sequence than those that make load of the same seed.
            let mut chance = Chance::new(hash(hash(seed, 0x6167_656e_7473), number));
            for slot in 0..(end_s / refresh_s) as u64 {
                if chance.between(0.0, 1.0) < LOST {
                    let for_s = refresh_s * NEARLY;
                    let host = host.clone();
                    all.push((
                        slot as f64 * refresh_s,
                        Happening::AgentSilent { host, for_s },
                    ));
                }
            }
            for hour in 0..(end_s / HOUR_S).ceil() as u64 {
                let mut at_s = || (hour as f64 + chance.between(0.0, 1.0)) * HOUR_S;
                let (silent_at_s, late_at_s) = (at_s(), at_s());
                let for_s = chance.between(SILENT_S.0, SILENT_S.1);
                let late_s = chance.between(LATE_S.0, LATE_S.1);
                let silent = Happening::AgentSilent {
                    host: host.clone(),
                    for_s,
                };
                let late = Happening::SamplesLate {
                    host: host.clone(),
                    for_s: LATE_FOR_S,
                    late_s,
                };
                all.extend([(silent_at_s, silent), (late_at_s, late)]);
            }
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.into_iter()
            .map(|(at_s, happening)| (Timestamp::from_secs_f64(at_s), happening))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poor_agents_do_what_they_are_said_to_do() {
        let hosts = [HostName::new("a").unwrap(), HostName::new("b").unwrap()];
        let (refresh, end) = (Duration::from_secs(5), Timestamp::from_secs_f64(36_000.0));
        let happenings = |agents: Agents| agents.happenings(&hosts, refresh, end, 1);
        assert!(happenings(Agents::Good).is_empty());
        let poor = happenings(Agents::Poor);
        assert_eq!(poor, happenings(Agents::Poor));
        assert!(poor.windows(2).all(|two| two[0].0 <= two[1].0));
        let count = |wanted: &dyn Fn(&Happening) -> bool| {
            poor.iter()
                .filter(|(_, happening)| wanted(happening))
                .count()
        };
        let lost = count(&|h| matches!(h, Happening::AgentSilent { for_s, .. } if *for_s < 5.0));
        let silent =
            count(&|h| matches!(h, Happening::AgentSilent { for_s, .. } if *for_s >= 30.0));
        let late = count(&|h| matches!(h, Happening::SamplesLate { .. }));
        // 14 400 refreshes, of which 5 % are lost; ten hours of two hosts.
        assert!((650..790).contains(&lost), "{lost}");
        assert_eq!((silent, late), (20, 20));
    }
}
