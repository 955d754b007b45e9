//! A campaign's cells to tables, figures and findings beside what the thesis prints.
//!
//! [`cells`] reads what the lab left and measures each cell; [`estimate`] says what several together say, with 95 % intervals;
//! [`breakdown`] says where a delay is spent, [`starts`] what a server takes by its first and last packets; [`predictor`] fits how long a move
//! takes, [`slowdown`] how much longer between loaded hosts; [`tables`], [`figures`] and [`findings`] are in the thesis' order and with its
//! numbers; [`page`] puts them on one page, [`keep`] what they are made of beside it.

pub mod breakdown;
pub mod cells;
pub mod estimate;
pub mod figures;
pub mod findings;
pub mod keep;
pub mod page;
pub mod paths;
pub mod predictor;
pub mod slowdown;
pub mod starts;
pub mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use record::campaign::Part;
use record::file::{write_atomically, write_csv, write_json};
use record::profile::SlowdownByLoad;
use record::results::Environment;
use serde::{Deserialize, Serialize};

pub use cells::Cells;
pub use findings::Finding;
pub use predictor::Predictor;
pub use tables::Table;

use crate::drawing::png::png;
use crate::folder::MeasureError;
use crate::verify::{Difference, of_csv, of_results, of_text};

/// The report itself.
const PAGE: &str = "report.html";

/// `results.json` of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Version of the format, [`record::SCHEMA`].
    pub schema: u32,
    /// What was measured: the thesis.
    pub scenario: String,
    /// When the first cell was, RFC 3339.
    pub started_at: Option<String>,
    /// The command lines that had the cells measured; `null` where none of them says.
    pub command: Option<String>,
    /// The machine of the newest cell; a part has its own, and each cell all of it.
    pub environment: Option<Environment>,
    /// Which cells it is made of, part by part.
    pub parts: Vec<PartMade>,
    /// By name: `table2`, ….
    pub tables: BTreeMap<String, Table>,
    /// Files by name: `figure8`, ….
    pub figures: BTreeMap<String, String>,
    /// How long a move takes by what is known before; `None` where too little was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictor: Option<Predictor>,
    /// How much longer it takes by the load of both ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown: Option<SlowdownByLoad>,
    /// All that the thesis concludes, in its order.
    pub findings: Vec<Finding>,
}

/// Where and when a part was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartMade {
    /// Its name.
    pub part: String,
    /// Cells of it.
    pub cells: u64,
    /// Of these, with too much foreign load.
    pub spoilt: u64,
    /// Cells that were measured more than once, since foreign load had spoilt them.
    pub repeated: u64,
    /// The first and the last, RFC 3339.
    pub measured_at: [String; 2],
    /// Machines in words, each once.
    pub machines: Vec<String>,
    /// `netem`, `userspace`, `none`, each once.
    pub link_emulation: Vec<String>,
}

/// What a report is made of.
#[derive(Debug)]
pub struct Report {
    /// `results.json`.
    pub results: Results,
    /// SVG by file name.
    pub drawings: BTreeMap<String, String>,
    /// `report.html`.
    pub page: String,
}

/// Measures the cells in some folders together.
///
/// # Errors
/// When there is none, or one cannot be read or contradicts itself.
pub fn report(folders: &[PathBuf]) -> Result<Report, MeasureError> {
    let cells = Cells::read(folders)?;
    let tables = tables::all(&cells);
    let drawings = figures::all(&cells);
    let figures = drawings
        .keys()
        .map(|file| (file.trim_end_matches(".svg").to_owned(), file.clone()))
        .collect();
    let ends = cells.ends();
    let parts = cells.parts();
    let of_migrations = |part: &&PartMade| part.part == Part::Migration.as_str();
    let moved_at = parts.iter().find(of_migrations);
    let moved_at = moved_at.map(|part| part.measured_at[1].clone());
    let results = Results {
        schema: record::SCHEMA,
        scenario: "thesis".into(),
        started_at: ends.map(|(first, _)| first.measured_at.clone()),
        command: cells.command(),
        environment: ends.map(|(_, newest)| newest.environment.clone()),
        slowdown: moved_at.and_then(|at| slowdown::fitted(&cells, &at)),
        parts,
        tables,
        figures,
        predictor: Predictor::fitted(&predictor::moves(&cells)),
        findings: findings::all(&cells),
    };
    let page = page::page(&results, &drawings).into_string();
    Ok(Report {
        results,
        drawings,
        page,
    })
}

impl Report {
    /// Writes `report.html`, `results.json`, a CSV for each table, an SVG and a PNG for each figure; says where the report is.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, MeasureError> {
        let put = |name: &str, text: &str| write_atomically(&folder.join(name), text.as_bytes());
        for (name, table) in &self.results.tables {
            write_csv(&folder.join(csv_of(name)), &table.lines())?;
        }
        for (name, drawing) in &self.drawings {
            put(name, drawing)?;
        }
        write_json(&folder.join("results.json"), &self.results)?;
        put(PAGE, &self.page)?;
        // Last: all else is there where they cannot be made.
        for (name, drawing) in &self.drawings {
            let path = folder.join(name).with_extension("png");
            let image = png(drawing).map_err(|error| MeasureError::Nonsense {
                path: path.clone(),
                text: error.to_string(),
            })?;
            write_atomically(&path, &image)?;
        }
        Ok(folder.join(PAGE))
    }
}

fn csv_of(table: &str) -> String {
    format!("{table}.csv")
}

/// Where what was written into a folder differs from what the cells in it say; empty when nowhere. Pictures as PNG are not looked at: they
/// are the SVGs, drawn with the fonts of a machine.
///
/// # Errors
/// When results or cells cannot be read.
pub fn verify(folder: &Path) -> Result<Vec<Difference>, MeasureError> {
    let again = report(&[folder.to_owned()])?;
    let mut differences = of_results(folder, &again.results)?;
    for (name, table) in &again.results.tables {
        differences.extend(of_csv(folder, &csv_of(name), &table.lines())?);
    }
    let page = (PAGE.to_owned(), again.page);
    for (name, text) in again.drawings.iter().chain([(&page.0, &page.1)]) {
        differences.extend(of_text(folder, name, text)?);
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::campaign::{Cell, Copying, MoveRow, PathPoint, Subject};
    use record::file::write_csv;
    use record::raw::{FrameRow, FrameStatus, LoadRow, PacketRow, PhaseRow};
    use record::{SCHEMA, Timestamp};

    const START_US: u64 = 1_790_000_000_000_000;
    const SECONDS: u64 = 40;

    fn cell(folder: &Path, subject: Subject) -> PathBuf {
        let path = folder.join(subject.folder());
        std::fs::create_dir_all(&path).unwrap();
        let cell = Cell {
            schema: SCHEMA,
            subject,
            measured_at: "2026-11-27T08:00:00Z".into(),
            command: Some("forestall lab run thesis".into()),
            machine: "a machine, tcg".into(),
            environment: Environment::default(),
            foreign_load: Some(0.01),
            spoilt: false,
            tries: 1,
            cpu_mhz: None,
            ipc: None,
            ipc_unknown: None,
        };
        write_json(&path.join("cell.json"), &cell).unwrap();
        let phase = PhaseRow {
            phase: "load".into(),
            start_us: Timestamp(START_US),
            end_us: Timestamp(START_US + SECONDS * 1_000_000),
        };
        write_csv(&path.join("phases.csv"), &[phase]).unwrap();
        path
    }

    /// Frames a 30th of a second apart whose delay is `delay_ms` and up to 4 ms more.
    fn frames(path: &Path, delay_ms: f64) {
        let row = |number: u64| {
            let captured = START_US - 1_000_000 + number * 33_333;
            let delay = delay_ms + (number * 7 % 5) as f64;
            FrameRow {
                frame: Some(number as u32),
                captured_us: Some(Timestamp(captured)),
                shown_us: Timestamp(captured + (delay * 1e3) as u64),
                delay_ms: Some(delay),
                status: FrameStatus::Ok,
                boot: None,
                runner: None,
            }
        };
        let rows: Vec<FrameRow> = (0..SECONDS * 31).map(row).collect();
        write_csv(&path.join("frames.csv"), &rows).unwrap();
    }

    fn load(folder: &Path, level: f64, delay_ms: f64) -> PathBuf {
        let path = cell(
            folder,
            Subject::Load {
                sweep: "all".into(),
                level,
                weight: 20,
                method: None,
            },
        );
        frames(&path, delay_ms);
        let packets: Vec<PacketRow> = (0..SECONDS * 30)
            .map(|number| PacketRow {
                // Every second one is late by more the higher the load is.
                received_us: Timestamp(
                    START_US + number * 33_333 + number % 2 * (level * 9_000.0) as u64,
                ),
                bytes: 1_316,
                frame_starts: 1,
            })
            .collect();
        write_csv(&path.join("packets.csv"), &packets).unwrap();
        let row = |second: u64| LoadRow {
            time_us: Timestamp(START_US + second * 1_000_000),
            host: "edge".into(),
            snmp: None,
            actual: Some((level + 0.25).min(1.0)),
            vm: Some(0.25),
            background: Some(level),
        };
        let rows: Vec<LoadRow> = (1..SECONDS).map(row).collect();
        write_csv(&path.join("load.csv"), &rows).unwrap();
        path
    }

    fn moves(folder: &Path, source: f64, target: f64, total_ms: f64) {
        let path = moved(folder, Subject::Migration { source, target }, total_ms);
        let row = |(number, host): (u64, &str)| LoadRow {
            time_us: Timestamp(START_US + number * 500_000),
            host: host.into(),
            snmp: None,
            actual: Some(if host == "a" {
                0.2 + 0.8 * source
            } else {
                target
            }),
            vm: None,
            background: None,
        };
        let times = (0..20).flat_map(|number| [(number, "a"), (number, "b")]);
        let rows: Vec<LoadRow> = times.map(row).collect();
        write_csv(&path.join("load.csv"), &rows).unwrap();
    }

    fn moved(folder: &Path, subject: Subject, total_ms: f64) -> PathBuf {
        let path = cell(folder, subject);
        frames(&path, 30.0);
        let row = |number: u32| MoveRow {
            number,
            source: "a".into(),
            target: "b".into(),
            decided_us: Timestamp(START_US + u64::from(number) * 2_000_000),
            shown_us: Some(Timestamp(
                START_US + u64::from(number) * 2_000_000 + 900_000,
            )),
            total_ms: (number != 4).then_some(total_ms + f64::from(number)),
            downtime_ms: Some(50.0),
            sent_bytes: Some(200 << 20),
            pages: Some(51_000),
            zero_pages: Some(9_000),
            rounds: Some(3),
            failure: (number == 4).then(|| "verdict stayed".into()),
        };
        let rows: Vec<MoveRow> = (1..=4).map(row).collect();
        write_csv(&path.join("moves.csv"), &rows).unwrap();
        path
    }

    fn finding<'a>(results: &'a Results, id: &str) -> &'a Finding {
        results.findings.iter().find(|one| one.id == id).unwrap()
    }

    #[test]
    fn a_sweep_becomes_tables_findings_and_figures() {
        let folder = tempfile::tempdir().unwrap();
        for (level, delay) in [
            (0.0, 30.0),
            (0.2, 31.0),
            (0.4, 30.0),
            (0.5, 31.0),
            (0.6, 30.0),
            (0.7, 31.0),
            (0.8, 90.0),
            (0.9, 220.0),
            (1.0, 500.0),
        ] {
            load(folder.path(), level, delay);
        }
        let report = report(&[folder.path().to_owned()]).unwrap();
        let table = &report.results.tables["table6"];
        assert_eq!(
            table.columns,
            [
                "0 %", "20 %", "40 %", "50 %", "60 %", "70 %", "80 %", "90 %", "100 %"
            ]
        );
        let mean = &table.measured["mean"];
        assert!(
            (mean[0].unwrap() - 48.0).abs() < 4.0,
            "delay and half a frame's age: {mean:?}"
        );
        assert!((mean[8].unwrap() - 518.0).abs() < 5.0, "{mean:?}");
        // 70 % has no column in the thesis.
        assert_eq!(table.printed["mean"][5], None);
        assert_eq!(table.printed["mean"][8], Some(3383.25));
        assert!(report.results.tables["table5"].measured["C.V. (no unit)"][8] > Some(0.1));
        let explosion = finding(&report.results, "explosion-100");
        assert_eq!(explosion.verdict, findings::Verdict::Holds);
        assert!(
            (explosion.estimate.unwrap() - 518.0 / 48.0).abs() < 0.5,
            "{explosion:?}"
        );
        // The knee lies between 95 and 105 % of what is offered: 25 % is the function's own.
        let knee = finding(&report.results, "delay-knee-95");
        assert!((90.0..=106.0).contains(&knee.estimate.unwrap()), "{knee:?}");
        for name in ["figure8", "figure10", "figure11", "figure12"] {
            assert!(
                report.drawings[&format!("{name}.svg")].starts_with("<svg"),
                "{name}"
            );
        }
        assert!(report.page.contains("Table 6"));
    }

    #[test]
    fn migrations_become_table_7() {
        let folder = tempfile::tempdir().unwrap();
        for (source, target, total) in [
            (0.0, 0.0, 6000.0),
            (1.0, 0.0, 9000.0),
            (0.0, 1.0, 6050.0),
            (1.0, 1.0, 9100.0),
        ] {
            moves(folder.path(), source, target, total);
        }
        let results = report(&[folder.path().to_owned()]).unwrap().results;
        let table = &results.tables["table7"];
        // Those that failed have no time.
        assert_eq!(table.measured["target at 0 %"], [Some(6.002), Some(9.002)]);
        assert_eq!(
            table.measured["target at 0 %: failed (of all)"],
            [Some(0.25), Some(0.25)]
        );
        assert_eq!(table.printed["target at 0 %"], [Some(6.35), Some(10.8)]);
        let ratio = finding(&results, "migration-1.5x");
        assert!((ratio.estimate.unwrap() - 0.5).abs() < 0.01, "{ratio:?}");
        for said in ["target at 0 % 1.50", "target at 100 % 1.50", "of 12 moves"] {
            assert!(ratio.why.contains(said), "{said}: {ratio:?}");
        }
        let target = finding(&results, "target-load-irrelevant");
        assert_eq!(target.verdict, findings::Verdict::Holds, "{target:?}");
        let slowdown = results.slowdown.unwrap();
        assert_eq!(slowdown.measured_at, results.parts[0].measured_at[1]);
        let at = |load| (slowdown.source.at(load), slowdown.target.at(load));
        assert_eq!(at(0.0), (1.0, 1.0));
        let (source, target) = at(1.0);
        assert!(
            (source - 1.5).abs() < 0.01 && (target - 1.01).abs() < 0.005,
            "{source} {target}"
        );
    }

    #[test]
    fn migrations_over_paths_become_a_table_for_each_axis() {
        let folder = tempfile::tempdir().unwrap();
        let base = PathPoint {
            memory_mib: 256,
            filled_mib: 128,
            dirty_mib_s: 1.0,
            bandwidth_mib_s: 32.0,
            downtime_limit_ms: 300.0,
            rtt_ms: 2.0,
            loss_percent: 0.0,
            copying: Copying::PreCopy,
        };
        let far = PathPoint {
            rtt_ms: 175.0,
            ..base
        };
        let larger = PathPoint {
            memory_mib: 384,
            filled_mib: 256,
            ..base
        };
        // Off both axes: in a grid, and in no table.
        let both = PathPoint {
            rtt_ms: 175.0,
            ..larger
        };
        let post = PathPoint {
            copying: Copying::PostCopy,
            ..far
        };
        for (point, total) in [
            (base, 6000.0),
            (far, 7000.0),
            (larger, 9000.0),
            (both, 9900.0),
            (post, 7500.0),
        ] {
            moved(folder.path(), Subject::Paths(point), total);
        }
        let report = report(&[folder.path().to_owned()]).unwrap();
        let table = &report.results.tables["paths-rtt"];
        assert_eq!(table.columns, ["2 ms", "175 ms"]);
        let row = |name: &str| table.measured[name].clone();
        assert_eq!(
            row("pre-copy: total migration time (s)"),
            [Some(6.002), Some(7.002)]
        );
        assert_eq!(
            row("post-copy: total migration time (s)"),
            [None, Some(7.502)]
        );
        assert_eq!(row("pre-copy: sent (MiB)"), [Some(200.0); 2]);
        assert_eq!(row("pre-copy: failed (of all)"), [Some(0.25); 2]);
        let memory = &report.results.tables["paths-memory"];
        assert_eq!(memory.columns, ["256 MiB", "384 MiB"]);
        assert!(report.drawings["paths-rtt.svg"].starts_with("<svg"));
        assert!(report.page.contains("round trip of the path"));
        assert_eq!(report.results.predictor, None, "four cells tell no law");
    }

    #[test]
    fn a_spoilt_cell_is_counted_and_makes_no_figure() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), 0.0, 30.0);
        let path = load(folder.path(), 0.5, 300.0).join("cell.json");
        let mut cell: Cell = record::file::read_json(&path).unwrap();
        cell.spoilt = true;
        write_json(&path, &cell).unwrap();
        let results = report(&[folder.path().to_owned()]).unwrap().results;
        assert_eq!(results.tables["table6"].columns, ["0 %"]);
        assert_eq!((results.parts[0].cells, results.parts[0].spoilt), (2, 1));
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), 0.0, 30.0);
        let results = report(&[folder.path().to_owned()]).unwrap().results;
        assert_eq!(results.findings.len(), 18);
        let told = results
            .findings
            .iter()
            .filter(|one| one.verdict != findings::Verdict::CannotTell);
        assert_eq!(told.count(), 0, "one level tells nothing");
        assert!(results.findings.iter().all(|one| !one.why.is_empty()));
        assert!(!results.tables.contains_key("table7"));
    }

    #[test]
    fn a_changed_figure_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = load(folder.path(), 0.0, 30.0);
        let folders = [folder.path().to_owned()];
        report(&folders).unwrap().write(folder.path()).unwrap();
        assert_eq!(verify(folder.path()).unwrap(), []);
        frames(&path, 35.0);
        let differences = verify(folder.path()).unwrap();
        assert!(
            differences
                .iter()
                .any(|one| one.place.starts_with("/tables/table6")),
            "{differences:?}"
        );
    }

    #[test]
    fn parts_of_several_days_are_kept_together() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other, out] = ["one", "other", "out"].map(|name| folder.path().join(name));
        load(&one, 0.0, 30.0);
        load(&other, 0.5, 40.0);
        let folders = [one.clone(), other.clone()];
        std::fs::create_dir_all(&out).unwrap();
        let made = report(&folders).unwrap();
        keep::keep(&folders, &out).unwrap();
        made.write(&out).unwrap();
        assert_eq!(verify(&out).unwrap(), []);
        assert!(out.join("load/all-000/frames.csv.gz").exists());
        // Again, with the folder itself, and a day of its own.
        load(&one, 0.8, 50.0);
        let refused = keep::keep(std::slice::from_ref(&one), &out)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("all-050"), "{refused}");
        assert!(!out.join("load/all-080").exists(), "nothing is put there");
        std::fs::remove_dir_all(one.join("load/all-000")).unwrap();
        let folders = [out.clone(), one];
        let made = report(&folders).unwrap();
        keep::keep(&folders, &out).unwrap();
        made.write(&out).unwrap();
        assert_eq!(verify(&out).unwrap(), []);
    }

    #[test]
    fn pictures_of_shots_that_nobody_read_are_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        let [one, out] = ["one", "out"].map(|name| folder.path().join(name));
        let shots = load(&one, 0.0, 30.0).join("shots");
        std::fs::create_dir_all(shots.join("shots")).unwrap();
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(shots.join("shots/002.png"), "pixels").unwrap();
        let unread = |png: &str| format!("number,png,clock,picture\n2,{png},22:29:49.184,\n");
        let keep = |png: &str| {
            std::fs::write(shots.join("unread.csv"), unread(png)).unwrap();
            keep::keep(std::slice::from_ref(&one), &out)
        };
        keep("shots/002.png").unwrap();
        let kept = out.join("load/all-000/shots/shots/002.png");
        assert_eq!(std::fs::read(kept).unwrap(), b"pixels");
        for elsewhere in ["../002.png", "/etc/hostname", "shots/../../x"] {
            let refused = keep(elsewhere).unwrap_err().to_string();
            assert!(refused.contains("no name of a picture"), "{refused}");
        }
    }

    #[test]
    fn what_was_changed_by_hand_is_found() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), 0.0, 30.0);
        let folders = [folder.path().to_owned()];
        report(&folders).unwrap().write(folder.path()).unwrap();
        for (file, old, new) in [
            ("results.json", "\"median\"", "\"middle\""),
            ("table6.csv", "median,0 %,", "median,0 %,1"),
            ("figure12.svg", "<circle", "<!-- --><circle"),
            ("report.html", "What was measured", "What was wished"),
        ] {
            let path = folder.path().join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(old), "{file} has {old}");
            std::fs::write(&path, text.replace(old, new)).unwrap();
            let differences = verify(folder.path()).unwrap();
            assert!(differences.iter().all(|one| one.file == file));
            assert!(!differences.is_empty(), "{file}");
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(verify(folder.path()).unwrap(), []);
    }

    #[test]
    fn bad_folders() {
        let folder = tempfile::tempdir().unwrap();
        let empty = report(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(empty.contains("no complete cell"), "{empty}");
        let absent = report(&[folder.path().join("absent")])
            .unwrap_err()
            .to_string();
        assert!(absent.contains("absent"), "{absent}");
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        load(&one, 0.0, 30.0);
        load(&two, 0.0, 30.0);
        let twice = report(&[one.clone(), two]).unwrap_err().to_string();
        assert!(twice.contains("the same was measured in"), "{twice}");
        std::fs::write(one.join("load/all-000/cell.json"), "{").unwrap();
        let broken = report(&[one]).unwrap_err().to_string();
        assert!(broken.contains("cell.json"), "{broken}");
    }
}
