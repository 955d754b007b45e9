//! Fuzzing of the trace readers: any bytes, no panic, and nothing that is not as promised.
//!
//! `cargo test` runs each target for about a second with random inputs. Longer, still on a stable toolchain:
//!
//! ```text
//! BOLERO_RANDOM_TEST_TIME_MS=600000 BOLERO_RANDOM_ITERATIONS=1000000000 cargo test --release -p forestall-sim --test fuzz
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::path::Path;

use bolero::{TypeGenerator, check};
use forestall_sim::fleet::{Packing, pack};
use forestall_sim::refine::{Refinement, refine};
use forestall_sim::trace::{Layout, Trace, TraceError, open, read};

const RANDOM_BYTES_MAX: usize = 8 << 10;

/// What a trace promises, whatever it was made of.
fn check_trace(trace: &Trace) {
    assert!(!trace.series.is_empty() && trace.interval_s > 0.0);
    assert!(
        trace
            .series
            .windows(2)
            .all(|pair| pair[0].name < pair[1].name)
    );
    for series in &trace.series {
        assert!(!series.points.is_empty());
        assert!(series.points.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (at_s, share) in &series.points {
            assert!(*at_s >= 0.0 && (0.0..=1.0).contains(share));
        }
    }
    let counted: u64 = trace.bad.by_reason.values().sum();
    assert_eq!(counted, trace.bad.total);
    for method in Refinement::ALL {
        let demand = refine(&trace.series[0], method, 1);
        for at_s in [-1.0, 0.0, 150.0, 1e9] {
            assert!(demand.at(at_s) >= 0.0);
        }
    }
    // Small ones only: a fleet holds all windows of a trace.
    if trace.duration_s() / trace.interval_s < 1e4 {
        let _ = pack(trace, &Packing::standard(1, Refinement::Step, 1));
    }
}

fn check_bytes(layout: Layout, bytes: &[u8]) -> Option<Trace> {
    let result = read(layout, Path::new("machine.csv"), bytes);
    match result {
        Ok(trace) => {
            check_trace(&trace);
            Some(trace)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// A line of a file: as it should be, or not.
#[derive(Clone, Debug, TypeGenerator)]
enum Piece {
    Row { machine: u8, step: u8, load: i16 },
    Float { machine: u8, at: f64, load: f64 },
    Header,
    Field(Vec<u8>),
    Raw(Vec<u8>),
    Open,
    Empty,
}

/// Writes a row of the layout from machine, time and load; random bytes hardly ever make one.
fn row(layout: Layout, machine: u8, time: &str, load: &str) -> String {
    match layout {
        Layout::PlanetLab => format!("m{machine},{}", [load; 288].join(",")),
        Layout::PlanetLabFolder => load.to_owned(),
        Layout::Bitbrains => format!("{time};\t4;\t{load}"),
        Layout::Azure2019 => format!("{time},vm{machine},0,1,{load}"),
        Layout::Alibaba2018 if machine.is_multiple_of(2) => {
            format!("m_{machine},{time},{load},,,,,,")
        }
        Layout::Alibaba2018 => format!("c_{machine},m_1,{time},{load},,,,,,,"),
        Layout::Google2019 => {
            format!("{time},{machine},\"{{\"\"cpus\"\": {load}, \"\"memory\"\": 0}}\"")
        }
        Layout::Plain => format!("{time},h{machine},{load}"),
    }
}

fn header(layout: Layout) -> &'static str {
    match layout {
        Layout::Bitbrains => "Timestamp [ms];\tCPU cores;\tCPU usage [%]",
        Layout::Google2019 => "start_time,machine_id,average_usage",
        Layout::Plain => "time,host,cpu_percent",
        _ => "",
    }
}

fn file(layout: Layout, pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = header(layout).as_bytes().to_vec();
    if !bytes.is_empty() {
        bytes.push(b'\n');
    }
    for piece in pieces {
        let line = match piece {
            Piece::Row {
                machine,
                step,
                load,
            } => {
                // Google counts in microseconds.
                let second = if layout == Layout::Google2019 {
                    1_000_000
                } else {
                    1
                };
                let time = (u64::from(*step) * 300 * second).to_string();
                row(layout, machine % 4, &time, &(load % 150).to_string())
            }
            Piece::Float { machine, at, load } => {
                row(layout, machine % 4, &at.to_string(), &load.to_string())
            }
            Piece::Header => header(layout).to_owned(),
            Piece::Field(field) => row(layout, 1, "300", &String::from_utf8_lossy(field)),
            Piece::Raw(raw) => {
                bytes.extend(raw);
                String::new()
            }
            Piece::Open => "\"".to_owned(),
            Piece::Empty => String::new(),
        };
        bytes.extend(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

#[test]
fn any_layout_takes_any_bytes() {
    check!()
        .with_max_len(RANDOM_BYTES_MAX)
        .for_each(|bytes: &[u8]| {
            for layout in Layout::ALL {
                check_bytes(layout, bytes);
            }
        });
}

/// Rows of its own kind among others, and the same in another order.
fn check_layout(layout: Layout) {
    check!().with_type::<Vec<Piece>>().for_each(|pieces| {
        let found = check_bytes(layout, &file(layout, pieces));
        let mut reversed: Vec<Piece> = pieces.clone();
        reversed.reverse();
        let other = check_bytes(layout, &file(layout, &reversed));
        // Where each row says when it was, their order does not matter (of two of one instant the first holds, and
        // sums may differ in their last bits).
        let ordered = |trace: &Trace| {
            let series = trace.series.iter();
            series
                .map(|series| (series.name.clone(), series.points.len()))
                .collect::<Vec<_>>()
        };
        let rows_only = pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Row { .. }));
        let timed = !matches!(layout, Layout::PlanetLab | Layout::PlanetLabFolder);
        let summed = layout == Layout::Google2019;
        if let (Some(found), Some(other)) = (found, other)
            && rows_only
            && timed
            && !summed
        {
            assert_eq!(ordered(&found), ordered(&other));
        }
    });
}

#[test]
fn planetlab_takes_anything() {
    check_layout(Layout::PlanetLab);
}

#[test]
fn planetlab_folder_takes_anything() {
    check_layout(Layout::PlanetLabFolder);
}

#[test]
fn bitbrains_takes_anything() {
    check_layout(Layout::Bitbrains);
}

#[test]
fn azure_2019_takes_anything() {
    check_layout(Layout::Azure2019);
}

#[test]
fn alibaba_2018_takes_anything() {
    check_layout(Layout::Alibaba2018);
}

#[test]
fn google_2019_takes_anything() {
    check_layout(Layout::Google2019);
}

#[test]
fn plain_takes_anything() {
    check_layout(Layout::Plain);
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Damage {
    None,
    CutOff(u16),
    Spoilt(u16, u8),
}

/// A packed file of any content, cut off or spoilt: an error, or what it was.
#[test]
fn packed_files_survive_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv.gz");
    check!()
        .with_type::<(Vec<Piece>, Damage)>()
        .for_each(|(pieces, damage)| {
            let plain = file(Layout::Plain, pieces);
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(&plain).unwrap();
            let mut packed = packer.finish().unwrap();
            match *damage {
                Damage::None => {}
                Damage::CutOff(length) => {
                    let length = usize::from(length) % packed.len();
                    packed.truncate(length);
                }
                Damage::Spoilt(at, bit) => {
                    let at = usize::from(at) % packed.len();
                    packed[at] ^= 1 << (bit % 8);
                }
            }
            std::fs::write(&path, &packed).unwrap();
            match (open(&path, None), damage) {
                (Ok(trace), Damage::CutOff(_)) => panic!("{trace:?}"),
                (Ok(trace), _) => check_trace(&trace),
                (Err(TraceError::Open { .. }), _) => panic!("it is there"),
                (Err(_), _) => {}
            }
        });
}
