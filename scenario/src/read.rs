//! From file to checked scenario.

use std::path::{Path, PathBuf};

use record::SCHEMA;

use crate::error::ScenarioError;
use crate::types::{Role, Scenario};

/// Name of the file in a scenario's folder.
pub const FILE_NAME: &str = "scenario.toml";

impl Scenario {
    /// Reads a scenario from its folder or file.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let file: PathBuf = if path.is_dir() {
            path.join(FILE_NAME)
        } else {
            path.to_owned()
        };
        let text = std::fs::read_to_string(&file).map_err(|source| ScenarioError::Read {
            path: file.clone(),
            source,
        })?;
        Self::parse(&file, &text)
    }

    /// Reads a scenario from `text`; `path` is named in errors.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let at = |offset, message: String| Err(ScenarioError::at(path, text, offset, message));
        let scenario: Self = match toml::from_str(text) {
            Ok(scenario) => scenario,
            Err(error) => {
                return at(
                    error.span().map_or(0, |span| span.start),
                    error.message().to_owned(),
                );
            }
        };
        match scenario.fault() {
            Some((offset, message)) => at(
                offset.unwrap_or_else(|| key_offset(text, &message)),
                message,
            ),
            None => Ok(scenario),
        }
    }

    /// The first thing that is wrong though each value by itself is not, with its place in the text where that is known.
    fn fault(&self) -> Option<(Option<usize>, String)> {
        if self.schema != SCHEMA {
            return Some((
                None,
                format!("schema is {}; this program reads {SCHEMA}", self.schema),
            ));
        }
        if !self.profiles.contains_key(self.default_profile.as_ref()) {
            let names: Vec<_> = self.profiles.keys().map(String::as_str).collect();
            let message = format!(
                "there is no profile {:?}; there are {}",
                self.default_profile.as_ref(),
                names.join(", ")
            );
            return Some((Some(self.default_profile.span().start), message));
        }
        self.host_fault()
            .or_else(|| self.range_fault().map(|message| (None, message)))
    }

    fn host_fault(&self) -> Option<(Option<usize>, String)> {
        let function = &self.function;
        let names = |role| {
            self.hosts_of(role)
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
        };
        if !names(Role::Edge).contains(&function.host.as_ref().as_str()) {
            let edges = names(Role::Edge).join(", ");
            let message = format!(
                "function.host is {:?}, which is no edge host; those are {edges}",
                function.host.as_ref()
            );
            return Some((Some(function.host.span().start), message));
        }
        for (role, wanted, text) in [
            (Role::Robot, 1, "one robot"),
            (Role::User, 1, "one user"),
            (Role::Orchestrator, 1, "one orchestrator"),
        ] {
            if names(role).len() != wanted {
                return Some((
                    None,
                    format!(
                        "hosts: a scenario has {text}; here are {}",
                        names(role).len()
                    ),
                ));
            }
        }
        if names(Role::Edge).len() < 2 {
            return Some((
                None,
                "hosts: a function can only be moved between two or more edge hosts".into(),
            ));
        }
        for (name, host) in &self.hosts {
            let (data, management) = match host.role.as_ref() {
                Role::Robot | Role::User => (true, false),
                Role::Edge => (true, true),
                Role::Orchestrator => (false, true),
            };
            if host.data.is_some() != data || host.management.is_some() != management {
                let has = |wanted| if wanted { "has" } else { "has no" };
                let message = format!(
                    "host {name}: a host of this role {} address `data` and {} address `management`",
                    has(data),
                    has(management)
                );
                return Some((Some(host.role.span().start), message));
            }
        }
        None
    }

    fn range_fault(&self) -> Option<String> {
        let video = &self.video;
        let ranges = [
            ("budget_ms", self.budget_ms, 1.0, 60_000.0),
            ("width", f64::from(video.width), 160.0, 3840.0),
            ("height", f64::from(video.height), 96.0, 2160.0),
            ("fps", f64::from(video.fps), 1.0, 240.0),
            (
                "bitrate_kbps",
                f64::from(video.bitrate_kbps),
                50.0,
                100_000.0,
            ),
            ("gop", f64::from(video.gop), 1.0, 600.0),
            (
                "memory_mib",
                f64::from(self.function.memory_mib),
                64.0,
                65_536.0,
            ),
            (
                "load_weight",
                f64::from(self.competition.load_weight),
                1.0,
                1000.0,
            ),
            ("burst_ms", self.competition.burst_ms, 1.0, 1000.0),
            ("poll_ms", self.telemetry.poll_ms, 50.0, 60_000.0),
            (
                "sample_age_ms_max",
                self.telemetry.sample_age_ms_max,
                100.0,
                3_600_000.0,
            ),
            (
                "downtime_limit_ms",
                self.migration.downtime_limit_ms,
                1.0,
                10_000.0,
            ),
            (
                "timeout_s_per_gib",
                self.migration.timeout_s_per_gib,
                1.0,
                36_000.0,
            ),
            (
                "bandwidth_mib_s",
                self.migration.bandwidth_mib_s,
                0.1,
                100_000.0,
            ),
            ("link_mbit_s", self.migration.link_mbit_s, 1.0, 400_000.0),
            ("decision_ms", self.limits.decision_ms, 0.0, 60_000.0),
            ("cell_s", self.calibration.cell_s, 1.0, 3600.0),
            ("settle_s", self.calibration.settle_s, 0.0, 3600.0),
            ("migration_ms", self.model.migration_ms, 1.0, 86_400_000.0),
            ("refresh_ms", self.model.refresh_ms, 10.0, 3_600_000.0),
        ];
        for (key, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Some(format!("{key} is {value}; it may be {low} to {high}"));
            }
        }
        if video.width % 2 == 1 || video.height % 2 == 1 {
            return Some(format!(
                "width and height are even numbers of pixels, not {} and {}",
                video.width, video.height
            ));
        }
        if self.policies.is_empty() {
            return Some("policies: at least one of none, threshold, deadline".into());
        }
        let idle = self
            .profiles
            .iter()
            .find(|(_, profile)| !(1.0..=3600.0).contains(&profile.idle_s));
        idle.map(|(name, profile)| {
            format!(
                "idle_s of profile {name} is {}; it may be 1 to 3600",
                profile.idle_s
            )
        })
    }
}

/// Where the key that a message begins with stands in the text; 0 when it does not.
fn key_offset(text: &str, message: &str) -> usize {
    let key: String = message
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let stripped = line.trim_start_matches(['[', ' ']);
        if !key.is_empty()
            && stripped.starts_with(&key)
            && !stripped[key.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        {
            return offset;
        }
        offset += line.len();
    }
    0
}
