//! Traces in files: each layout as published, and what can be wrong with each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use forestall_sim::trace::{BadRow, Layout, Trace, TraceError, open};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn packed(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

/// Reads a file without being told its layout.
fn told(name: &str, text: &str) -> Result<Trace, TraceError> {
    let folder = Folder::new();
    open(&folder.put(name, text), None)
}

fn points<'a>(trace: &'a Trace, name: &str) -> &'a [(f64, f64)] {
    let mut series = trace.series.iter();
    &series.find(|series| series.name == name).unwrap().points
}

fn reasons(trace: &Trace) -> Vec<(BadRow, u64)> {
    trace.bad.by_reason.iter().map(|(r, n)| (*r, *n)).collect()
}

fn day(name: &str, first: &[&str]) -> String {
    let mut values = vec!["10"; 288];
    values[..first.len()].copy_from_slice(first);
    format!("{name},{}\n", values.join(","))
}

#[test]
fn planetlab() {
    let text = day("b_machine", &["24", "100"]) + &day("a_machine", &[]);
    let trace = told("20110303.csv", &text).unwrap();
    assert_eq!((trace.series.len(), trace.rows, trace.bad.total), (2, 2, 0));
    assert_eq!(trace.interval_s, 300.0);
    assert_eq!(trace.duration_s(), 86_400.0);
    assert_eq!(
        points(&trace, "b_machine")[..3],
        [(0.0, 0.24), (300.0, 1.0), (600.0, 0.1)]
    );
}

#[test]
fn planetlab_days_are_laid_end_to_end() {
    let folder = Folder::new();
    folder.put("20110309.csv.gz", packed(&day("a", &["50"])));
    folder.put(
        "20110303.csv.gz",
        packed(&(day("a", &["20"]) + &day("b", &[]))),
    );
    folder.put("README.md", "about");
    let trace = open(folder.path(), None).unwrap();
    assert_eq!(trace.left_out, ["README.md"]);
    let a = points(&trace, "a");
    assert_eq!((a[0], a[288]), ((0.0, 0.2), (86_400.0, 0.5)));
    assert_eq!(a.len(), 2 * 288);
    assert_eq!(trace.duration_s(), 2.0 * 86_400.0);
}

#[test]
fn planetlab_bad_values_and_rows() {
    let text = day("a", &["-1", "140", "", "x", "24"]) + "b,1,2,3\n" + &day("", &[]);
    let trace = told("day.csv", &text).unwrap();
    assert_eq!(
        reasons(&trace),
        [
            (BadRow::WrongColumns, 1),
            (BadRow::MissingValue, 2),
            (BadRow::NotANumber, 1),
            (BadRow::Negative, 1),
            (BadRow::Over100, 1),
        ]
    );
    assert_eq!(points(&trace, "a")[0], (0.0, 0.24));
    let first = trace.bad.first[0].to_string();
    assert_eq!(first, "day.csv:1: negative: `a, value 1: -1`");
    let texts: Vec<&str> = trace
        .bad
        .first
        .iter()
        .map(|bad| bad.text.as_str())
        .collect();
    assert!(texts.contains(&"a, value 2: 140") && texts.contains(&"b,1,2,3"));
}

#[test]
fn planetlab_folder() {
    let folder = Folder::new();
    folder.put("some_machine_a", "24\n-3\n26\n");
    folder.put("some_machine_b", "1\n2\n3\n");
    folder.put(".hidden", "x");
    let trace = open(folder.path(), None).unwrap();
    assert_eq!(trace.left_out, [".hidden"]);
    assert_eq!(
        points(&trace, "some_machine_a"),
        [(0.0, 0.24), (600.0, 0.26)]
    );
    assert_eq!(reasons(&trace), [(BadRow::Negative, 1)]);
    let first = trace.bad.first[0].to_string();
    assert_eq!(first, "some_machine_a:2: negative: `-3`");
}

const BITBRAINS: &str = "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\t\
    CPU usage [%];\tMemory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\t\
    Disk write throughput [KB/s];\tNetwork received throughput [KB/s];\tNetwork transmitted throughput [KB/s]\n";

#[test]
fn bitbrains() {
    let row = |time: &str, usage: &str| {
        format!(
            "{time};\t4;\t11703.99824;\t10912.0;\t{usage};\t6.7E7;\t6129274.4;\t0.1;\t17.0;\t2.0;\t1.5\n"
        )
    };
    let folder = Folder::new();
    let seconds =
        row("1376314846", "93.2") + &row("1376315146", "50") + &row("1376315446", "101.3");
    folder.put("1.csv", BITBRAINS.to_owned() + &seconds);
    let milliseconds = row("1376314846000", "20") + &row("1376315146000", "30");
    folder.put(
        "2.csv",
        BITBRAINS.to_owned() + &milliseconds + "1376315446000;4\n",
    );
    let trace = open(folder.path(), None).unwrap();
    let share = points(&trace, "1")[0].1;
    assert!((share - 0.932).abs() < 1e-12);
    assert_eq!(points(&trace, "1")[1], (300.0, 0.5));
    assert_eq!(points(&trace, "2"), [(0.0, 0.2), (300.0, 0.3)]);
    assert_eq!(
        reasons(&trace),
        [(BadRow::WrongColumns, 1), (BadRow::Over100, 1)]
    );
}

#[test]
fn azure_2019() {
    let text = "0,vm+b/=,1.5,9.5,5.0\n0,vm+a/=,1,2,1.5\n300,vm+b/=,1.5,9.5,10\n300,vm+a/=,0,0,101\n300,vm+a/=,0,0\n";
    let trace = told("vm_cpu_readings-file-1-of-195.csv", text).unwrap();
    assert_eq!(points(&trace, "vm+b/="), [(0.0, 0.05), (300.0, 0.1)]);
    assert_eq!(
        reasons(&trace),
        [(BadRow::WrongColumns, 1), (BadRow::Over100, 1)]
    );
}

#[test]
fn azure_2019_shuffled_rows_are_put_in_their_place() {
    let ordered = "0,a,0,9,5\n300,a,0,9,6\n600,a,0,9,7\n0,b,0,9,1\n300,b,0,9,2\n";
    let mut lines: Vec<&str> = ordered.lines().collect();
    lines.swap(0, 4);
    lines.swap(1, 2);
    let shuffled = lines.join("\n");
    let (ordered, shuffled) = (told("x.csv", ordered), told("x.csv", &shuffled));
    let (ordered, shuffled) = (ordered.unwrap(), shuffled.unwrap());
    assert_eq!(ordered.series, shuffled.series);
    assert_eq!((ordered.shuffled, shuffled.bad.total), (0, 0));
    assert!(shuffled.shuffled > 0);
}

#[test]
fn alibaba_2018_machines() {
    let text = "m_1932,386640,41,92,,,43.04,33.08,4\nm_1932,386650,43,92,,,43.05,33.08,5\nm_1932,386660,-1,92,,,,,\n\
        m_1932,386650,43,92,,,43.05,33.08,5\n";
    let trace = told("x.csv", text).unwrap();
    assert_eq!(points(&trace, "m_1932"), [(0.0, 0.41), (10.0, 0.43)]);
    assert_eq!(trace.interval_s, 10.0);
    assert_eq!(
        reasons(&trace),
        [(BadRow::Negative, 1), (BadRow::SameInstant, 1)]
    );
    assert_eq!(trace.bad.first[1].line, 4);
}

#[test]
fn alibaba_2018_containers() {
    let text = "c_1,m_7,0,5,80,1.2,,,0.1,0.1,2\nc_1,m_7,60,,80,1.2,,,0.1,0.1,2\nc_1,m_7,120,7,80,1.2,,,0.1,0.1,2\n";
    let trace = told("container_usage.csv", text).unwrap();
    assert_eq!(points(&trace, "c_1"), [(0.0, 0.05), (120.0, 0.07)]);
    assert_eq!(reasons(&trace), [(BadRow::MissingValue, 1)]);
}

#[test]
fn google_2019() {
    let text = "start_time,end_time,collection_id,machine_id,average_usage\n\
        600000000,900000000,1,42,\"{\"\"cpus\"\": 0.25, \"\"memory\"\": 0.1}\"\n\
        600000000,900000000,2,42,\"{'cpus': 0.5, 'memory': None}\"\n\
        900000000,1050000000,1,42,\"{'cpus': 0.5, 'memory': 0.1}\"\n\
        1200000000,1500000000,1,42,\"{'cpus': 0.75,\n 'memory': 0.1}\"\n\
        1200000000,1500000000,2,42,\"{'cpus': 0.5, 'memory': 0.1}\"\n\
        600000000,900000000,3,43,\"{'cpus': None, 'memory': 0.1}\"\n";
    let trace = told("x.csv", text).unwrap();
    assert_eq!(points(&trace, "42"), [(0.0, 0.75), (300.0, 0.25)]);
    assert_eq!(
        reasons(&trace),
        [(BadRow::MissingValue, 1), (BadRow::Over100, 1)]
    );
    let last = trace.bad.first[1].to_string();
    assert_eq!(last, "x.csv:7: over 100 %: `42 at 1200 s: 1.25 in all`");
}

#[test]
fn google_2019_columns_taken_apart() {
    let text =
        "machine_id,start_time,average_usage_cpus\n42,0,0.25\n42,1000000,0.25\n42,300000000,0.1\n";
    let trace = told("x.csv", text).unwrap();
    assert_eq!(points(&trace, "42"), [(0.0, 0.5), (300.0, 0.1)]);
}

#[test]
fn plain() {
    let trace = told("x.csv", "time,host,cpu\n5,a,0.5\n0,a,0.25\n10,a,1.4\n").unwrap();
    assert_eq!(points(&trace, "a"), [(0.0, 0.25), (5.0, 0.5)]);
    assert_eq!(reasons(&trace), [(BadRow::Over100, 1)]);
    let text = "Host,cpu_percent,note,Time\r\na,50,x,0\r\na,140,x,5\r\na,-2,x,10\r\na,60,x,15\r\n";
    let trace = told("x.csv", text).unwrap();
    assert_eq!(points(&trace, "a"), [(0.0, 0.5), (15.0, 0.6)]);
    assert_eq!(
        reasons(&trace),
        [(BadRow::Negative, 1), (BadRow::Over100, 1)]
    );
}

#[test]
fn bad_times() {
    let trace = told(
        "x.csv",
        "time,host,cpu\n0,a,0.5\n5,a,0.5\n-5,a,0.5\nnoon,a,0.5\n",
    )
    .unwrap();
    assert_eq!(reasons(&trace), [(BadRow::BadTime, 2)]);
}

#[test]
fn too_long() {
    let text = format!("time,host,cpu\n0,a,0.5\n{}\n5,a,0.5\n", "x".repeat(2 << 20));
    let trace = told("x.csv", &text).unwrap();
    assert_eq!(reasons(&trace), [(BadRow::TooLong, 1)]);
    assert_eq!((trace.rows, trace.bad.first[0].line), (3, 3));
}

#[test]
fn gzip_is_known_by_its_content_too() {
    let folder = Folder::new();
    let text = packed("time,host,cpu\n0,a,0.5\n5,a,0.5\n");
    for name in ["a.csv", "a.csv.gz", "a"] {
        let trace = open(&folder.put(name, &text), None).unwrap();
        assert_eq!(trace.series.len(), 1);
    }
}

#[test]
fn truncated_gzip_is_an_error_wherever_it_ends() {
    let folder = Folder::new();
    let mut text = String::from("time,host,cpu\n");
    for step in 0..5_000 {
        text += &format!("{step},host-{},0.{}\n", step % 7, step % 10);
    }
    let whole = packed(&text);
    for length in (3..whole.len()).step_by(whole.len() / 40) {
        let path = folder.put("a.csv.gz", &whole[..length]);
        let error = open(&path, Some(Layout::Plain)).unwrap_err();
        assert!(
            matches!(error, TraceError::Gzip { .. }),
            "{length}: {error}"
        );
    }
    let error = open(&folder.put("b.csv.gz", "time,host,cpu\n"), None).unwrap_err();
    assert!(matches!(error, TraceError::Gzip { line: 0, .. }), "{error}");
}

#[test]
fn delimiter() {
    let error = told("x.csv", "time;host;cpu\n0;a;0.5\n")
        .unwrap_err()
        .to_string();
    assert!(error.ends_with(
        "x.csv:1: columns are separated by semicolons; in the layout plain they are by commas"
    ));
    for (name, text) in [
        ("machine_usage.csv", "m_1\t1\t2\t3\t4\t5\t6\t7\t8\n"),
        ("vm_cpu_readings-file-1-of-195.csv", "0;a;1;2;3\n"),
        ("x.csv", "Timestamp [ms],CPU cores,CPU usage [%]\n1,2,3\n"),
        (
            "instance_usage.csv",
            "start_time;machine_id;average_usage\n",
        ),
        ("day.csv", &day("a", &[]).replace(',', ";")),
    ] {
        let error = told(name, text).unwrap_err();
        assert!(
            matches!(error, TraceError::Delimiter { line: 1, .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn header() {
    let folder = Folder::new();
    let path = folder.put("x.csv", "time,machine,cpu\n0,a,0.5\n");
    let error = open(&path, Some(Layout::Plain)).unwrap_err();
    assert!(
        matches!(
            error,
            TraceError::Header {
                missing: "host",
                ..
            }
        ),
        "{error}"
    );
    let error = open(&path, Some(Layout::Google2019))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("must name the column start_time; it says `time,machine,cpu`"),
        "{error}"
    );
}

#[test]
fn no_rows() {
    for text in ["", "\n", "time,host,cpu\n"] {
        let folder = Folder::new();
        let path = folder.put("x.csv", text);
        let error = open(&path, Some(Layout::Azure2019).filter(|_| text.is_empty())).unwrap_err();
        let expected = matches!(
            error,
            TraceError::NoRows { .. } | TraceError::UnknownLayout { .. }
        );
        assert!(expected, "{text:?}: {error}");
    }
    let error = told("x.csv", "time,host,cpu\n").unwrap_err();
    assert!(matches!(error, TraceError::NoRows { .. }), "{error}");
}

#[test]
fn no_usable_rows() {
    let error = told("x.csv", "time,host,cpu\n0,a,140\n5,a,140\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("none of the 2 rows of")
            && error.ends_with("x.csv:2: over 100 %: `0,a,140`"),
        "{error}"
    );
}

#[test]
fn one_instant() {
    let error = told("x.csv", "time,host,cpu\n0,a,0.5\n0,b,0.5\n").unwrap_err();
    assert!(matches!(error, TraceError::OneInstant { .. }), "{error}");
}

#[test]
fn no_files() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("20110303")).unwrap();
    let error = open(folder.path(), None).unwrap_err();
    assert!(
        matches!(error, TraceError::NoFiles { folders: 1, .. }),
        "{error}"
    );
}

#[test]
fn unknown_layout() {
    let error = told("x.csv", "a,b,c\n1,2,3\n").unwrap_err().to_string();
    assert!(
        error.contains("`a,b,c`; say which: planetlab, planetlab-folder, bitbrains"),
        "{error}"
    );
}

#[test]
fn cannot_open() {
    let folder = Folder::new();
    let error = open(&folder.path().join("absent.csv"), None).unwrap_err();
    assert!(matches!(error, TraceError::Open { .. }), "{error}");
}
