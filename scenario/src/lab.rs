//! A scenario as the lab needs it: one function, real video, real competition, something to calibrate.

use std::net::Ipv4Addr;
use std::ops::Deref;

use record::{HostName, VmName};

use crate::inventory::Inventory;
use crate::types::{Calibration, Competition, Role, Scenario, Video, Viewer};

/// A scenario that a lab can run.
#[derive(Clone, Debug)]
pub struct LabScenario {
    scenario: Scenario,
    /// The camera's picture and its coding.
    pub video: Video,
    /// How load and virtual machine compete.
    pub competition: Competition,
    /// What `lab calibrate` does.
    pub calibration: Calibration,
    /// The function.
    pub function: LabFunction,
}

/// The function of a lab.
#[derive(Clone, Debug)]
pub struct LabFunction {
    /// Name of the virtual machine.
    pub name: VmName,
    /// Where it is at the start.
    pub host: HostName,
    /// Its address on the data plane.
    pub data: Ipv4Addr,
    /// Memory of the virtual machine.
    pub memory_mib: u32,
    /// The text that it inserts.
    pub text: String,
}

/// Why a scenario is for the simulator alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "scenario {name} is for the simulator alone, the lab cannot run it: {why}. `forestall sim run` can"
)]
pub struct NotForLab {
    name: String,
    why: String,
}

impl Deref for LabScenario {
    type Target = Scenario;

    fn deref(&self) -> &Scenario {
        &self.scenario
    }
}

impl LabScenario {
    /// Takes a scenario that has all that a lab needs, and nothing that it cannot do.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn new(scenario: Scenario) -> Result<Self, NotForLab> {
        let refuse = |why: String| NotForLab {
            name: scenario.name.clone(),
            why,
        };
        let missing = |what: &str| refuse(format!("it has no {what}"));
        let video = scenario.video.clone().ok_or_else(|| missing("[video]"))?;
        let competition = scenario.competition.clone();
        let competition = competition.ok_or_else(|| missing("[competition]"))?;
        let calibration = scenario.calibration.clone();
        let calibration = calibration.ok_or_else(|| missing("[calibration]"))?;
        let mut functions = scenario.functions.iter();
        let (Some((name, function)), None) = (functions.next(), functions.next()) else {
            let count = scenario.functions.len();
            return Err(refuse(format!("a lab has one function, here are {count}")));
        };
        if !scenario.events.is_empty() {
            return Err(refuse("a lab has no [[events]]".into()));
        }
        for (role, text) in [
            (Role::Robot, "one robot"),
            (Role::User, "one user"),
            (Role::Orchestrator, "one orchestrator"),
        ] {
            let count = scenario.hosts_of(role).count();
            if count != 1 {
                return Err(refuse(format!("a lab has {text}, here are {count}")));
            }
        }
        if let Some((host, _)) = scenario.hosts.iter().find(|(_, host)| !host.addressed()) {
            let text = "robot and user have an address `data`, the orchestrator one `management`, edge servers both";
            return Err(refuse(format!("{text}; host {host} has others")));
        }
        for (profile, load) in &scenario.profiles {
            if load.points.is_none() || !load.background.is_empty() || load.noise > 0.0 {
                return Err(refuse(format!(
                    "a lab loads one host by `points`, profile {profile} says something else"
                )));
            }
            if load.idle_s < 1.0 {
                return Err(refuse(format!("idle_s of profile {profile} is under 1")));
            }
        }
        let function = LabFunction {
            name: name.clone(),
            host: function.host.as_ref().clone(),
            data: function
                .data
                .ok_or_else(|| missing("`data` of its function"))?,
            memory_mib: function.memory_mib,
            text: function
                .text
                .clone()
                .ok_or_else(|| missing("`text` of its function"))?,
        };
        Ok(Self {
            video,
            competition,
            calibration,
            function,
            scenario,
        })
    }

    /// The same on machines of an inventory: with the addresses that those have.
    #[must_use]
    pub fn on(&self, inventory: &Inventory) -> Self {
        let mut bound = self.clone();
        bound.function.data = *inventory.function.data.get_ref();
        for (name, host) in &mut bound.scenario.hosts {
            if let Some(binding) = inventory.hosts.get(name) {
                host.data = Some(*binding.data.get_ref());
                let management = binding.management.as_ref();
                host.management = management.map(|address| *address.get_ref());
            }
        }
        bound
    }

    /// Has copying use another bandwidth than the scenario says.
    pub const fn copy_at(&mut self, mib_per_s: f64) {
        self.scenario.migration.bandwidth_mib_s = mib_per_s;
    }

    /// Everything that the measured figures of a profile depend on, as one line: a profile measured for another line is of
    /// no use here.
    #[must_use]
    pub fn service(&self) -> String {
        let (v, m, c, f) = (
            &self.video,
            &self.migration,
            &self.competition,
            &self.function,
        );
        let chain = v.chain.as_str();
        let viewer = match v.viewer {
            Viewer::Forestall => "",
            Viewer::Ffplay => " viewed by ffplay",
            Viewer::FfplayPlain => " viewed by ffplay-plain",
        };
        let video = format!(
            "{chain}{viewer} {}x{}@{} {} kbit/s gop {}",
            v.width, v.height, v.fps, v.bitrate_kbps, v.gop
        );
        let copying = format!(
            "downtime {} ms, copying {} MiB/s, link {} Mbit/s",
            m.downtime_limit_ms, m.bandwidth_mib_s, m.link_mbit_s
        );
        format!(
            "{video}, VM {} MiB, weight 1:{} burst {} ms, budget {} ms, {copying}, text {:?}",
            f.memory_mib, c.load_weight, c.burst_ms, self.budget_ms, f.text
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Chain;

    fn scenario() -> Scenario {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../scenarios/reallocation/scenario.toml"
        );
        Scenario::read(std::path::Path::new(file)).unwrap()
    }

    #[test]
    fn a_profile_of_another_service_has_another_line() {
        let lab = LabScenario::new(scenario()).unwrap();
        let changes: [fn(&mut LabScenario); 16] = [
            |s| s.video.chain = Chain::Ffmpeg,
            |s| s.video.viewer = Viewer::Ffplay,
            |s| s.video.viewer = Viewer::FfplayPlain,
            |s| s.video.width += 2,
            |s| s.video.height += 2,
            |s| s.video.fps += 1,
            |s| s.video.bitrate_kbps += 1,
            |s| s.video.gop += 1,
            |s| s.function.memory_mib += 1,
            |s| s.function.text = s.function.text.to_uppercase(),
            |s| s.competition.load_weight += 1,
            |s| s.competition.burst_ms += 1.0,
            |s| s.scenario.budget_ms += 1.0,
            |s| s.scenario.migration.downtime_limit_ms += 1.0,
            |s| s.scenario.migration.bandwidth_mib_s += 1.0,
            |s| s.scenario.migration.link_mbit_s += 1.0,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = lab.clone();
            change(&mut other);
            assert_ne!(other.service(), lab.service(), "change {number}");
        }
    }

    const PROFILE: &str = r#"
            schema = 1
            measured_at = "2026-11-25T01:48:15Z"
            machine = "x"
            service = "y"
            knee = { utilization = 0.99, budget_ms = 200.0, sweep = [
                { offered = 0.8, utilization = 0.79, age_median_ms = 35.0, age_p95_ms = 52.0, frame_interval_cv = 0.2 },
                { offered = 1.1, utilization = 1.0, age_median_ms = 900.0, age_p95_ms = 1400.0, frame_interval_cv = 0.3 },
            ] }
            function = { idle = 0.21, copying_extra = 0.08 }
            migration = { mean_ms = 7106.0, p95_ms = 7162.0, moves = [] }
        "#;

    /// Time of a move of the function as the model has it, with no load at either end.
    fn unloaded_ms(scenario: &Scenario) -> f64 {
        let (law, migration) = (&scenario.model.migration, &scenario.migration);
        let function = scenario.functions.values().next().unwrap();
        let (bandwidth, limit) = (migration.bandwidth_mib_s, migration.downtime_limit_ms);
        law.fixed_ms + law.copying_s(function, bandwidth, limit).unwrap() * 1e3
    }

    #[test]
    fn what_is_fixed_of_a_move_is_the_law_s_where_there_is_one() {
        let stopped = "{ fixed_ms = 20.0, ms_per_mib = 9.0, round_trips = 1.0, sd_ms = 5.0 }";
        let law = format!(
            r#"moves = [], law = {{
                measured_at = "2026-11-30T06:00:00Z", moves = 96, downtime = {stopped}, gap = {stopped},
                total = {{ fixed_ms = 310.0, times = 1.01, own_mib = 110.0, round_trips = 11.0, sd_share = 0.03 }},
            }}"#
        );
        let profile = PROFILE.replace("moves = []", &law);
        let measured = scenario()
            .measured(&toml::from_str(&profile).unwrap())
            .unwrap();
        assert_eq!(measured.model.migration.fixed_ms, 310.0);
        assert!(
            (unloaded_ms(&measured) - 7106.0).abs() < 1.0,
            "the mean stays what it was"
        );
    }

    #[test]
    fn a_measured_machine_takes_the_place_of_the_model() {
        let measured = scenario()
            .measured(&toml::from_str(PROFILE).unwrap())
            .unwrap();
        let function = &measured.functions.values().next().unwrap();
        assert_eq!(function.load.share(), 0.21);
        assert_eq!(measured.model.knee.share(), 0.99);
        assert_eq!(measured.model.picture_age.at(0.0), 52.0);
        assert!((unloaded_ms(&measured) - 7106.0).abs() < 1.0);
    }

    #[test]
    fn what_a_lab_cannot_run_is_refused() {
        type Change = fn(&mut Scenario);
        let changes: [(Change, &str); 7] = [
            (|s| s.video = None, "no [video]"),
            (|s| s.competition = None, "no [competition]"),
            (|s| s.calibration = None, "no [calibration]"),
            (
                |s| {
                    let first = s.functions.values().next().cloned().unwrap();
                    s.functions.insert(VmName::new("second").unwrap(), first);
                },
                "here are 2",
            ),
            (
                |s| s.functions.values_mut().for_each(|f| f.text = None),
                "`text`",
            ),
            (
                |s| s.hosts.retain(|name, _| name.as_str() != "robot"),
                "one robot, here are 0",
            ),
            (
                |s| s.hosts.values_mut().for_each(|host| host.data = None),
                "has others",
            ),
        ];
        for (change, expected) in changes {
            let mut other = scenario();
            change(&mut other);
            let error = LabScenario::new(other).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
