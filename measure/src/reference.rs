//! What the thesis printed and concluded, from `reference/`: "Service Function Reallocation Method for Low-latency Video
//! Live Streaming in Multi-access Edge Computing", Osaka University, 2019.
//!
//! Field names are those of the files, units last. What the thesis does not print is absent.

use std::sync::LazyLock;

use serde::Deserialize;

/// Every figure of the thesis.
pub static THESIS: LazyLock<Reference> = LazyLock::new(|| {
    // The file is part of the program, and a test reads it.
    toml::from_str(include_str!("../../reference/reference.toml"))
        .unwrap_or_else(|error| unreachable!("reference.toml: {error}"))
});

/// Every conclusion of the thesis.
pub static FINDINGS: LazyLock<Findings> = LazyLock::new(|| {
    toml::from_str(include_str!("../../reference/findings.toml"))
        .unwrap_or_else(|error| unreachable!("findings.toml: {error}"))
});

/// `reference.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Table 1.
    pub table1_machines: Machines,
    /// Table 2: application-level delay.
    pub table2_scenarios: Vec<ScenarioDelay>,
    /// Table 3: RTT of ICMP packets.
    pub table3_rtt: Vec<RegionRtt>,
    /// Table 4: intervals of packets, and the delay that the RTT does not explain.
    pub table4_intervals: Vec<ScenarioIntervals>,
    /// Section 3.2.
    pub analysis: Analysis,
    /// Figure 7: where the delay is spent.
    pub figure7_breakdown: Breakdown,
    /// Section 3.3.
    pub end_devices: EndDevices,
    /// Section 4.1.
    pub migration_settings: MigrationSettings,
    /// Columns of Tables 5 to 7.
    pub cpu_load: CpuLoad,
    /// Table 5: intervals of frames, by CPU load.
    pub table5_intervals_by_cpu_load: IntervalsByLoad,
    /// Table 6: application-level delay, by CPU load.
    pub table6_delay_by_cpu_load: DelayByLoad,
    /// Section 4.2: instructions per cycle of the loads.
    pub ipc_loads: IpcLoads,
    /// Table 7: total migration time, by CPU load of the source.
    pub table7_total_migration_time: MigrationByLoad,
    /// Sections 4.2 and 4.3.1: what the method is set to.
    pub method: Method,
    /// Section 4.3.2.
    pub result: Outcome,
}

/// Table 1.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machines {
    /// The edge servers.
    pub server: Machine,
    /// A virtual machine on them.
    pub vm_openstack: Machine,
    /// A virtual machine in a data centre.
    pub vm_aws_t2_medium: Machine,
}

/// A column of Table 1.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Machine {
    pub cpu_cores: u32,
    pub memory_gb: f64,
    pub storage_gb: Option<f64>,
    pub network_gbps: Option<f64>,
    pub os: String,
}

/// A row of Table 2.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioDelay {
    /// `edge-user-side`, ….
    pub name: String,
    /// First measurement of 100 screenshots.
    pub first_ms: f64,
    /// Second measurement.
    pub second_ms: f64,
    /// Mean of both.
    pub mean_ms: f64,
    /// Links on the TCP path (3.1.2).
    pub tcp_path_links: Option<u32>,
}

/// A row of Table 3.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionRtt {
    /// `ohio`, `singapore`, `tokyo`.
    pub region: String,
    /// From Osaka.
    pub distance_km: f64,
    /// Through the VPN.
    pub with_vpn_ms: f64,
    /// Past it.
    pub without_vpn_ms: f64,
}

/// A column of Table 4.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioIntervals {
    /// `edge-user-side`, ….
    pub scenario: String,
    /// Application-level delay.
    pub delay_ms: f64,
    /// Of ICMP packets.
    pub rtt_ms: f64,
    /// Delay beyond that of edge-user-side that the RTT does not explain.
    pub unexpected_increase_ms: f64,
    /// Of the intervals.
    pub mean_ms: f64,
    /// Of the intervals.
    pub sd_ms: f64,
    /// S.D. over mean.
    pub cv: f64,
}

/// What section 3.2 concludes from Tables 2 to 4.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it, and the file says where")]
pub struct Analysis {
    pub robot_side_minus_user_side_ms: f64,
    pub delay_per_tcp_link_ms: f64,
    pub dc_minus_edge_user_side_ms: Regions,
    pub rtt_in_text_tokyo_ms: f64,
    pub max_increase_by_jitter_ms: f64,
    pub tcp_delay_over_udp_delay: f64,
    pub insertion_and_streaming_ms: f64,
    pub virtualization_ms: f64,
    pub virtualization_server_processing_ms: f64,
    pub vpn_processing_ms: f64,
    pub rtt_user_to_edge_ms: f64,
}

/// A figure for each data centre.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Regions {
    pub ohio: f64,
    pub singapore: f64,
    pub tokyo: f64,
}

/// Figure 7, scenario edge-user-side.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it, and the file says where")]
pub struct Breakdown {
    pub ffplay_tcp_ms: f64,
    pub ffplay_udp_ms: f64,
    pub udp_buffering_ms: f64,
    pub udp_buffering_removable_ms: f64,
    pub display_refresh_60hz_max_ms: f64,
    pub robot_camera_and_encode_ms: f64,
    pub robot_encode_ms: f64,
    pub robot_camera_ms: f64,
    pub camera_30fps_max_ms: f64,
}

/// Section 3.3, computed there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct EndDevices {
    pub camera_30_to_60_fps_saves_ms: f64,
    pub display_60_to_240_hz_saves_ms: f64,
}

/// Section 4.1.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct MigrationSettings {
    pub vm_memory_gb: f64,
    pub management_network_gbps: f64,
    pub ideal_total_time_s: f64,
    pub max_downtime_ms: f64,
    pub typical_initial_downtime_ms: f64,
    pub timeout_s_per_gb: f64,
}

/// Background load asked of `stress-ng`: the columns of Tables 5 to 7.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuLoad {
    /// Percent, ascending.
    pub percent: [f64; LOADS],
}

/// Columns of Tables 5 to 7.
pub const LOADS: usize = 7;

/// A row of Tables 5 to 7: a figure for each of [`CpuLoad::percent`].
pub type ByLoad = [f64; LOADS];

/// Table 5.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct IntervalsByLoad {
    pub mean_ms: ByLoad,
    pub sd_ms: ByLoad,
    pub cv: ByLoad,
}

/// Table 6.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct DelayByLoad {
    pub mean_ms: ByLoad,
    pub max_ms: ByLoad,
    pub p75_ms: ByLoad,
    pub median_ms: ByLoad,
    pub p25_ms: ByLoad,
    pub min_ms: ByLoad,
}

/// Instructions per cycle at 100 % load, by method of `stress-ng`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct IpcLoads {
    pub jenkins_hash: f64,
    pub idct: f64,
    pub pi: f64,
    pub all_methods: f64,
}

/// Table 7: means of 10 migrations, a row for each load of the target.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct MigrationByLoad {
    pub destination_0_s: ByLoad,
    pub destination_50_s: ByLoad,
    pub destination_100_s: ByLoad,
}

/// What the reallocation method of the thesis is set to, and why.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it, and the file says where")]
pub struct Method {
    pub jitter_rises_above_cpu_percent: f64,
    pub delay_rises_above_cpu_percent: f64,
    pub total_migration_time_at_knee_s: f64,
    pub start_at_cpu_percent: f64,
    pub snmp_update_interval_s: f64,
    pub ffplay_buffer_cut_ms: f64,
}

/// What the method achieved.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the name says it")]
pub struct Outcome {
    pub delay_kept_under_ms: f64,
}

/// `findings.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Findings {
    /// In the order of the thesis.
    pub finding: Vec<Finding>,
}

/// A conclusion of the thesis.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Its name here.
    pub id: String,
    /// Where it stands.
    pub section: String,
    /// What it says.
    pub text: String,
    /// How it is tested on other data.
    pub estimator: String,
}

impl Reference {
    /// The figure of a row of Tables 5 to 7 at a background load; `None` for a load that has no column.
    #[must_use]
    pub fn at(&self, row: &ByLoad, percent: f64) -> Option<f64> {
        let column = self
            .cpu_load
            .percent
            .iter()
            .position(|load| *load == percent);
        column.and_then(|column| row.get(column)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures agree when they differ by no more than `units` in the last printed place.
    fn check(what: &str, printed: f64, computed: f64, units: f64) {
        assert!(
            (printed - computed).abs() <= units + 1e-9,
            "{what}: printed {printed}, computed {computed}"
        );
    }

    #[test]
    fn every_table_is_read() {
        let thesis = &*THESIS;
        assert_eq!(thesis.table1_machines.server.cpu_cores, 28);
        assert_eq!(thesis.table2_scenarios.len(), 7);
        assert_eq!(thesis.table3_rtt.len(), 3);
        assert_eq!(thesis.table4_intervals.len(), 4);
        assert_eq!(thesis.cpu_load.percent[LOADS - 1], 100.0);
        assert_eq!(FINDINGS.finding.len(), 18);
        // `deny_unknown_fields` refuses a table or a key that nobody reads.
        let table = "[table8]\nmean_ms = 1\n";
        let more = format!(
            "{}\n{table}",
            include_str!("../../reference/reference.toml")
        );
        let error = toml::from_str::<Reference>(&more).unwrap_err().to_string();
        assert!(error.contains("unknown field `table8`"), "{error}");
    }

    #[test]
    fn findings_have_names_of_their_own_and_say_everything() {
        let findings = &FINDINGS.finding;
        for (at, finding) in findings.iter().enumerate() {
            assert!(findings[..at].iter().all(|other| other.id != finding.id));
            assert!(!finding.text.is_empty() && !finding.estimator.is_empty());
            assert!(
                finding.section.starts_with(['3', '4']),
                "{}",
                finding.section
            );
        }
    }

    #[test]
    fn means_of_table_2_are_those_of_both_measurements() {
        for row in &THESIS.table2_scenarios {
            let mean = (row.first_ms + row.second_ms) / 2.0;
            check(&row.name, row.mean_ms, mean, 0.0051);
        }
    }

    #[test]
    fn the_unexpected_increase_is_what_the_rtt_does_not_explain() {
        let rows = &THESIS.table4_intervals;
        let edge = &rows[0];
        assert_eq!(edge.scenario, "edge-user-side");
        for row in rows {
            let increase = row.delay_ms - edge.delay_ms - (row.rtt_ms - edge.rtt_ms);
            // Four figures rounded to 0.01 ms go in.
            check(&row.scenario, row.unexpected_increase_ms, increase, 0.021);
        }
    }

    #[test]
    fn the_cv_is_sd_over_mean() {
        let thesis = &*THESIS;
        let table5 = &thesis.table5_intervals_by_cpu_load;
        let by_load = (0..LOADS).map(|at| {
            let figures = (table5.cv[at], table5.sd_ms[at], table5.mean_ms[at]);
            (format!("{} %", thesis.cpu_load.percent[at]), figures)
        });
        let by_scenario = thesis
            .table4_intervals
            .iter()
            .map(|row| (row.scenario.clone(), (row.cv, row.sd_ms, row.mean_ms)));
        for (what, (cv, sd, mean)) in by_load.chain(by_scenario) {
            check(&what, cv, sd / mean, 0.0051);
        }
    }

    #[test]
    fn the_analysis_follows_from_the_tables() {
        let thesis = &*THESIS;
        let mean = |name: &str| {
            let mut rows = thesis.table2_scenarios.iter();
            rows.find(|row| row.name == name).unwrap().mean_ms
        };
        let (analysis, edge) = (&thesis.analysis, mean("edge-user-side"));
        let check = |what, printed, computed| check(what, printed, computed, 0.011);
        let per_link = (mean("edge-robot-side") - edge) / 2.0;
        check("a link", analysis.delay_per_tcp_link_ms, per_link);
        let regions = &analysis.dc_minus_edge_user_side_ms;
        check("ohio", regions.ohio, mean("dc-ohio") - edge);
        check("singapore", regions.singapore, mean("dc-singapore") - edge);
        check("tokyo", regions.tokyo, mean("dc-tokyo") - edge);
        let processing = mean("non-virtualized") - mean("direct") - 3.0 * 6.20;
        check("insertion", analysis.insertion_and_streaming_ms, processing);
        let edges = (edge + mean("edge-robot-side")) / 2.0;
        let virtualization = edges - mean("non-virtualized");
        check("virtualisation", analysis.virtualization_ms, virtualization);
    }

    #[test]
    fn boxes_of_table_6_are_in_order() {
        let table = &THESIS.table6_delay_by_cpu_load;
        for at in 0..LOADS {
            let quartiles = [
                table.min_ms[at],
                table.p25_ms[at],
                table.median_ms[at],
                table.p75_ms[at],
                table.max_ms[at],
            ];
            assert!(quartiles.is_sorted(), "{quartiles:?}");
        }
    }

    #[test]
    fn a_column_is_found_by_its_load() {
        let thesis = &*THESIS;
        let medians = &thesis.table6_delay_by_cpu_load.median_ms;
        assert_eq!(thesis.at(medians, 95.0), Some(373.0));
        assert_eq!(thesis.at(medians, 96.0), None);
    }
}
