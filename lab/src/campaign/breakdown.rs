//! Where the delay is spent: a placement or a loaded scenario, with captures at every stage.

use std::time::Duration;

use record::campaign::Subject;
use scenario::{Breakdown, Chain, LabScenario, Placement, Viewer};

use super::load;
use super::{Bench, Seen, wrong};
use crate::error::LabError;
use crate::ffplay;
use crate::placement::How;
use crate::placement::starts::Server;
use crate::placement::wiring::LinkEmulation;
use crate::taps;

/// A way of the video, and the programs on it, by their names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) way: &'a str,
    pub(super) chain: &'a str,
    pub(super) viewer: Option<&'a str>,
}

impl Bench<'_> {
    fn part(&self) -> Result<&Breakdown, LabError> {
        let own = self.campaign.breakdown.as_ref();
        own.ok_or_else(|| LabError::Missing("the part breakdown".into()))
    }

    fn broken_down_placement(&self, of: &Way<'_>) -> Result<Placement, LabError> {
        let own = self.part()?;
        for folder in own.placements.iter().chain(&own.players) {
            let mut placement =
                Placement::read(&self.campaign.folder.join(folder)).map_err(wrong)?;
            if placement.name == of.way {
                placement.video.chain = self.chain_named(of.chain)?;
                if let Some(name) = of.viewer {
                    placement.video.viewer = self.viewer_named(name)?;
                }
                // Its round trips are the part placement's.
                placement.vpn = false;
                return Ok(placement);
            }
        }
        Err(LabError::Missing(format!("a placement {}", of.way)))
    }

    fn viewer_named(&self, name: &str) -> Result<Viewer, LabError> {
        let mut all = self.part()?.viewers.iter();
        let found = all.find(|viewer| viewer.as_str() == name);
        found
            .copied()
            .ok_or_else(|| LabError::Missing(format!("a viewer {name}")))
    }

    fn broken_down_scenario(&self, of: &Way<'_>) -> Result<LabScenario, LabError> {
        let mut scenario = self.scenario(&self.part()?.scenario)?;
        scenario.video.chain = self.chain_named(of.chain)?;
        Ok(scenario)
    }

    /// One of the part's; a player is looked at behind Forestall's chain, whatever else is measured.
    fn chain_named(&self, name: &str) -> Result<Chain, LabError> {
        let mut all = self.part()?.chains.iter().chain([&Chain::Forestall]);
        let found = all.find(|chain| chain.as_str() == name);
        found
            .copied()
            .ok_or_else(|| LabError::Missing(format!("a chain {name}")))
    }

    /// Everything that a cell names is there.
    pub(super) fn check_breakdown(&self, of: &Way<'_>, level: Option<f64>) -> Result<(), LabError> {
        if level.is_some() {
            return taps::of_scenario(&self.broken_down_scenario(of)?).map(drop);
        }
        let placement = self.broken_down_placement(of)?;
        ffplay::require(placement.video.viewer)?;
        ffplay::require_stages(placement.video.viewer)?;
        taps::of_placement(&placement).map(drop)
    }

    fn started_placement(&self, way: &str, chain: &str) -> Result<Placement, LabError> {
        self.broken_down_placement(&Way {
            way,
            chain,
            viewer: None,
        })
    }

    /// Everything that a cell of starts names is there.
    pub(super) fn check_starts(&self, way: &str, chain: &str) -> Result<(), LabError> {
        Server::of(&self.started_placement(way, chain)?).map(drop)
    }

    /// Starts and stops streaming repeatedly through a placement.
    pub(super) fn starts(&mut self, subject: &Subject) -> Result<(), LabError> {
        let Subject::Starts { way, chain } = subject else {
            return Err(LabError::Missing(format!("the part {}", subject.part())));
        };
        let placement = self.started_placement(way, chain)?;
        let how = How {
            duration: Duration::ZERO,
            pings: 1,
            taps: &[],
            shots: None,
            starts: Some(*self.part()?.starts.get_ref()),
        };
        self.placed(subject, &placement, how)
    }

    /// Measures cells of one way.
    pub(super) fn breakdown(&mut self, of: &Way<'_>, cells: &[Subject]) -> Result<(), LabError> {
        let own = self.part()?;
        let (settle, duration) = (
            Duration::from_secs_f64(*own.settle_s.get_ref()),
            Duration::from_secs_f64(*own.duration_s.get_ref()),
        );
        let is_placement =
            |subject: &Subject| matches!(subject, Subject::Breakdown { level: None, .. });
        if cells.iter().all(is_placement) {
            let placement = self.broken_down_placement(of)?;
            let taps = taps::of_placement(&placement)?;
            return cells.iter().try_for_each(|subject| {
                let how = How {
                    duration,
                    pings: 1,
                    taps: &taps,
                    shots: None,
                    starts: None,
                };
                self.placed(subject, &placement, how)
            });
        }
        let scenario = self.broken_down_scenario(of)?;
        let taps = taps::of_scenario(&scenario)?;
        let world = self.world(&scenario, &format!("breakdown {}", of.chain))?;
        for subject in cells {
            let Subject::Breakdown {
                level: Some(level), ..
            } = subject
            else {
                continue;
            };
            let plan = load::Plan {
                level: *level,
                method: None,
                settle,
                duration,
                taps: &taps,
            };
            self.cell(subject, |bench, folder| {
                Ok(Seen {
                    links: LinkEmulation::None,
                    processor: load::measure(&world, &plan, folder, &mut bench.progress)?,
                })
            })?;
        }
        Ok(())
    }
}
