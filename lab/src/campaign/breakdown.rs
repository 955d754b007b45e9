//! Where the delay is spent: a placement or a loaded scenario, with captures at every stage.

use std::time::Duration;

use record::campaign::Subject;
use scenario::{Breakdown, Chain, LabScenario, Placement};

use super::load;
use super::{Bench, ENGINE, Seen, wrong};
use crate::error::LabError;
use crate::placement::wiring::LinkEmulation;
use crate::taps;
use crate::world::World;

impl Bench<'_> {
    fn part(&self) -> Result<&Breakdown, LabError> {
        let own = self.campaign.breakdown.as_ref();
        own.ok_or_else(|| LabError::Missing("the part breakdown".into()))
    }

    fn broken_down_placement(&self, chain: Chain) -> Result<Placement, LabError> {
        let folder = self.campaign.folder.join(&self.part()?.placement);
        let mut placement = Placement::read(&folder).map_err(wrong)?;
        placement.video.chain = chain;
        Ok(placement)
    }

    fn broken_down_scenario(&self, chain: Chain) -> Result<LabScenario, LabError> {
        let mut scenario = self.scenario(&self.part()?.scenario)?;
        scenario.video.chain = chain;
        Ok(scenario)
    }

    fn chain_named(&self, name: &str) -> Result<Chain, LabError> {
        let mut all = self.part()?.chains.iter();
        let found = all.find(|chain| chain.as_str() == name);
        found
            .copied()
            .ok_or_else(|| LabError::Missing(format!("a chain {name}")))
    }

    /// Everything that a cell names is there.
    pub(super) fn check_breakdown(&self, chain: &str, level: Option<f64>) -> Result<(), LabError> {
        let chain = self.chain_named(chain)?;
        match level {
            None => taps::of_placement(&self.broken_down_placement(chain)?).map(drop),
            Some(_) => taps::of_scenario(&self.broken_down_scenario(chain)?).map(drop),
        }
    }

    /// Measures cells of one way and one chain.
    pub(super) fn breakdown(&mut self, chain: &str, cells: &[Subject]) -> Result<(), LabError> {
        let chain = self.chain_named(chain)?;
        let own = self.part()?;
        let (settle, duration) = (
            Duration::from_secs_f64(*own.settle_s.get_ref()),
            Duration::from_secs_f64(*own.duration_s.get_ref()),
        );
        let is_placement =
            |subject: &Subject| matches!(subject, Subject::Breakdown { level: None, .. });
        if cells.iter().all(is_placement) {
            let placement = self.broken_down_placement(chain)?;
            let taps = taps::of_placement(&placement)?;
            return cells.iter().try_for_each(|subject| {
                self.cell(subject, |bench, folder| {
                    let links = crate::placement::measure(
                        &placement,
                        (duration, 1, &taps),
                        bench.offer,
                        folder,
                        bench.interrupted,
                        &mut bench.progress,
                    )?;
                    let cpu_mhz = None;
                    Ok(Seen { links, cpu_mhz })
                })
            });
        }
        let scenario = self.broken_down_scenario(chain)?;
        let taps = taps::of_scenario(&scenario)?;
        self.progress
            .stage(format!("breakdown {}: setting up", chain.as_str()));
        let world = World::build(&scenario, ENGINE, self.accelerator, self.interrupted)?;
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
                    cpu_mhz: load::measure(&world, &plan, folder, &mut bench.progress)?,
                })
            })?;
        }
        Ok(())
    }
}
