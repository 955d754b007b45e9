//! The layouts that traces come in, and how one is told.

use std::path::Path;

use super::field::number;
use super::header;

/// How a trace is written down. Each one's file says where that is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// PlanetLab, repacked: a machine a line, its name and 288 whole percentages; a file a day.
    PlanetLab,
    /// PlanetLab as published: a file a machine, a whole percentage a line, 300 s apart.
    PlanetLabFolder,
    /// Bitbrains GWA-T-12: a file a machine, a header line, columns separated by `;` and tab.
    Bitbrains,
    /// Azure 2019 (`vm_cpu_readings`): time, machine, least, highest and mean load; no header line.
    Azure2019,
    /// Alibaba 2018 (`machine_usage`, `container_usage`): machine, time, load and more; no header line.
    Alibaba2018,
    /// Google 2019 (`instance_usage` as CSV with a header line): usage of each instance, summed up for each machine.
    Google2019,
    /// `time,host,cpu`: a header line, then seconds, a name, and a share (a percentage with `cpu_percent`).
    Plain,
}

impl Layout {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::PlanetLab,
        Self::PlanetLabFolder,
        Self::Bitbrains,
        Self::Azure2019,
        Self::Alibaba2018,
        Self::Google2019,
        Self::Plain,
    ];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlanetLab => "planetlab",
            Self::PlanetLabFolder => "planetlab-folder",
            Self::Bitbrains => "bitbrains",
            Self::Azure2019 => "azure-2019",
            Self::Alibaba2018 => "alibaba-2018",
            Self::Google2019 => "google-2019",
            Self::Plain => "plain",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.name() == name)
    }

    /// From the name under which a file is published, else from its first line.
    pub(super) fn told_from(path: &Path, first_line: &[u8]) -> Option<Self> {
        Self::of_published_name(path).or_else(|| Self::of_line(first_line))
    }

    fn of_published_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        [
            ("vm_cpu_readings", Self::Azure2019),
            ("machine_usage", Self::Alibaba2018),
            ("container_usage", Self::Alibaba2018),
            ("instance_usage", Self::Google2019),
        ]
        .into_iter()
        .find_map(|(part, layout)| name.contains(part).then_some(layout))
    }

    /// From a first line, whatever separates its columns: that it is the right thing is for the reader to see, which can
    /// say what it expects.
    fn of_line(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim();
        [',', ';', '\t', '|', ' ']
            .into_iter()
            .find_map(|delimiter| {
                let columns: Vec<&str> = line.split(delimiter).map(str::trim).collect();
                Self::of_header(&columns).or_else(|| Self::of_columns(&columns))
            })
    }

    fn of_header(columns: &[&str]) -> Option<Self> {
        let has = |names: &[&str]| header::position(columns, names).is_some();
        if has(&["CPU usage [%]"]) {
            Some(Self::Bitbrains)
        } else if has(&["machine_id"]) && has(&["average_usage"]) || has(&header::GOOGLE_CPUS) {
            Some(Self::Google2019)
        } else if has(&["time"]) && has(&["host"]) {
            Some(Self::Plain)
        } else {
            None
        }
    }

    fn of_columns(columns: &[&str]) -> Option<Self> {
        let numbers: Vec<bool> = columns.iter().map(|text| number(text).is_some()).collect();
        match numbers.as_slice() {
            [true] => Some(Self::PlanetLabFolder),
            [true, false, true, true, true] => Some(Self::Azure2019),
            // machine_usage has 9 columns, container_usage 11 of which the second names a machine. Some may be empty.
            [false, true, ..] if numbers.len() == 9 => Some(Self::Alibaba2018),
            [false, false, true, ..] if numbers.len() == 11 => Some(Self::Alibaba2018),
            [false, rest @ ..] if rest.len() > 11 && rest.iter().any(|is| *is) => {
                Some(Self::PlanetLab)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, line: &str) -> Option<Layout> {
        Layout::told_from(Path::new(name), line.as_bytes())
    }

    #[test]
    fn layouts_are_told_from_a_line() {
        let planetlab = format!("some_machine{}", ",12".repeat(288));
        for (line, layout) in [
            (planetlab.as_str(), Layout::PlanetLab),
            ("24", Layout::PlanetLabFolder),
            (
                "Timestamp [ms];\tCPU cores;\tCPU usage [MHZ];\tCPU usage [%]",
                Layout::Bitbrains,
            ),
            ("0,yNf/R3X8,1.2,9.9,3.4", Layout::Azure2019),
            ("m_1932,386640,41,92,,,43.04,33.08,4", Layout::Alibaba2018),
            (
                "c_1,m_2556,386640,5,80,1.2,,,0.1,0.1,2",
                Layout::Alibaba2018,
            ),
            (
                "start_time,end_time,machine_id,average_usage",
                Layout::Google2019,
            ),
            (
                "start_time,machine_id,average_usage.cpus",
                Layout::Google2019,
            ),
            ("time,host,cpu", Layout::Plain),
            ("Time;Host;CPU_percent", Layout::Plain),
            ("m_1932;386640;41;92;;;43.04;33.08;4", Layout::Alibaba2018),
        ] {
            assert_eq!(told("x.csv", line), Some(layout), "{line}");
        }
    }

    #[test]
    fn layouts_are_told_from_a_name() {
        let name = "vm_cpu_readings-file-1-of-195.csv.gz";
        assert_eq!(told(name, "nonsense"), Some(Layout::Azure2019));
        assert_eq!(told("machine_usage.csv", ""), Some(Layout::Alibaba2018));
    }

    #[test]
    fn some_cannot_be_told() {
        for line in [
            "",
            "a,b,c",
            "1,2,3",
            "<html>",
            "{\"start_time\":1}",
            "\u{0}",
        ] {
            assert_eq!(told("x.csv", line), None, "{line}");
        }
    }

    #[test]
    fn names_lead_back() {
        for layout in Layout::ALL {
            assert_eq!(Layout::of_name(layout.name()), Some(layout));
        }
    }
}
