//! From file to checked scenario.

use std::path::{Path, PathBuf};

use record::HostName;
use serde::de::DeserializeOwned;

use crate::SCHEMA;
use crate::error::ScenarioError;
use crate::types::{Role, Scenario};

/// Name of the file in a scenario's folder.
pub const FILE_NAME: &str = "scenario.toml";

/// A file and what it says, from the file itself or from the folder where it has the name `name`.
pub(crate) fn text_in(path: &Path, name: &str) -> Result<(PathBuf, String), ScenarioError> {
    let file = if path.is_dir() {
        path.join(name)
    } else {
        path.to_owned()
    };
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok((file, text)),
        Err(source) => Err(ScenarioError::Read { path: file, source }),
    }
}

/// What the text of a file says, before it is checked.
pub(crate) fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ScenarioError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        ScenarioError::at(path, text, offset, error.message())
    })
}

impl Scenario {
    /// Reads a scenario from its folder or file.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let (file, text) = text_in(path, FILE_NAME)?;
        Self::parse(&file, &text)
    }

    /// Reads a scenario from `text`; `path` is named in errors.
    ///
    /// # Errors
    /// With file, line, what is wrong and what is allowed.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let at = |offset, message: String| Err(ScenarioError::at(path, text, offset, message));
        let scenario: Self = parse_toml(path, text)?;
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
        let edges: Vec<&HostName> = self.hosts_of(Role::Edge).map(|(name, _)| name).collect();
        let listed = || {
            let names: Vec<&str> = edges.iter().map(|name| name.as_str()).collect();
            names.join(", ")
        };
        if edges.len() < 2 {
            return Some((
                None,
                "hosts: a function can only be moved between two or more edge hosts".into(),
            ));
        }
        if self.functions.is_empty() {
            return Some((None, "functions: a scenario has at least one".into()));
        }
        for (name, function) in &self.functions {
            let host = function.host.as_ref();
            if !edges.contains(&host) {
                let message = format!(
                    "host of function {name} is {:?}, which is no edge host; those are {}",
                    host.as_str(),
                    listed()
                );
                return Some((Some(function.host.span().start), message));
            }
            let paths = function.path_ms.keys().chain(function.path_late_ms.keys());
            let others = function.forbidden.iter().chain(paths);
            if let Some(host) = others.into_iter().find(|host| !edges.contains(host)) {
                let message = format!(
                    "function {name} names {host}, which is no edge host; those are {}",
                    listed()
                );
                return Some((Some(function.host.span().start), message));
            }
        }
        for (name, profile) in &self.profiles {
            if let Some(host) = profile.background.keys().find(|host| !edges.contains(host)) {
                let message = format!(
                    "background of profile {name} names {host}, which is no edge host; those are {}",
                    listed()
                );
                return Some((None, message));
            }
        }
        self.event_fault(&edges)
    }

    fn event_fault(&self, edges: &[&HostName]) -> Option<(Option<usize>, String)> {
        let mut before = 0.0;
        for event in &self.events {
            if !(event.at_s >= before && event.at_s.is_finite()) {
                let message = format!(
                    "events go forward in time: {} s stands after {before} s",
                    event.at_s
                );
                return Some((None, message));
            }
            before = event.at_s;
            let unknown = match (event.event.host(), event.event.vm()) {
                (Some(host), _) if !edges.contains(&host) => Some(host.as_str()),
                (_, Some(vm)) if !self.functions.contains_key(vm) => Some(vm.as_str()),
                _ => None,
            };
            if let Some(name) = unknown {
                let message = format!(
                    "events: at {} s {name} is named, which is no edge host and no function",
                    event.at_s
                );
                return Some((None, message));
            }
        }
        None
    }

    fn range_fault(&self) -> Option<String> {
        let (telemetry, migration) = (&self.telemetry, &self.migration);
        let mut ranges = vec![
            ("budget_ms", self.budget_ms, 1.0, 60_000.0),
            ("poll_ms", telemetry.poll_ms, 50.0, 60_000.0),
            (
                "sample_age_ms_max",
                telemetry.sample_age_ms_max,
                100.0,
                3_600_000.0,
            ),
            (
                "downtime_limit_ms",
                migration.downtime_limit_ms,
                1.0,
                10_000.0,
            ),
            (
                "timeout_s_per_gib",
                migration.timeout_s_per_gib,
                1.0,
                36_000.0,
            ),
            ("bandwidth_mib_s", migration.bandwidth_mib_s, 0.1, 100_000.0),
            ("link_mbit_s", migration.link_mbit_s, 1.0, 400_000.0),
            ("decision_ms", self.limits.decision_ms, 0.0, 60_000.0),
            ("fixed_ms", self.model.migration.fixed_ms, 0.0, 86_400_000.0),
            ("memory_used", self.model.migration.memory_used, 0.0, 1.0),
            ("refresh_ms", self.model.refresh_ms, 10.0, 3_600_000.0),
        ];
        for function in self.functions.values() {
            ranges.push(("memory_mib", function.memory_mib.into(), 64.0, 4_194_304.0));
            ranges.push(("dirty_mib_s", function.dirty_mib_s, 0.0, 1e6));
        }
        if let Some(video) = &self.video {
            ranges.extend([
                ("width", video.width.into(), 160.0, 3840.0),
                ("height", video.height.into(), 96.0, 2160.0),
                ("fps", video.fps.into(), 1.0, 240.0),
                ("bitrate_kbps", video.bitrate_kbps.into(), 50.0, 100_000.0),
                ("gop", video.gop.into(), 1.0, 600.0),
            ]);
        }
        if let Some(competition) = &self.competition {
            let weight = competition.load_weight.into();
            ranges.push(("load_weight", weight, 1.0, 1000.0));
            ranges.push(("burst_ms", competition.burst_ms, 1.0, 1000.0));
        }
        if let Some(calibration) = &self.calibration {
            ranges.push(("cell_s", calibration.cell_s, 1.0, 3600.0));
            ranges.push(("settle_s", calibration.settle_s, 0.0, 3600.0));
        }
        for profile in self.profiles.values() {
            ranges.push(("idle_s", profile.idle_s, 0.0, 3600.0));
            ranges.push(("noise", profile.noise, 0.0, 1.0));
        }
        for (key, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Some(format!("{key} is {value}; it may be {low} to {high}"));
            }
        }
        if let Some(video) = &self.video
            && (video.width % 2 == 1 || video.height % 2 == 1)
        {
            return Some(format!(
                "width and height are even numbers of pixels, not {} and {}",
                video.width, video.height
            ));
        }
        if self.policies.is_empty() {
            return Some("policies: at least one of none, threshold, deadline".into());
        }
        let empty = |profile: &str| {
            self.profiles
                .get(profile)
                .is_some_and(|p| p.points.is_none() && p.background.is_empty())
        };
        let names = self.profiles.keys().map(String::as_str);
        names
            .into_iter()
            .find(|name| empty(name))
            .map(|name| format!("profile {name} has no load: `points`, `background`, or both"))
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
