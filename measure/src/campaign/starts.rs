//! What a server takes by the first and the last packets in and out of it, streaming started and stopped repeatedly: 3.2.4's second way.
//!
//! What goes out first or last need not be what came in first or last, since functions hold some of it. So, as in the thesis, only what virtual
//! machines add to a difference says something, and a difference may be negative.

use std::path::Path;

use record::campaign::{Cell, Subject};
use record::raw::StartRow;
use record::read_csv;

use super::breakdown::{BARE, VIRTUAL};
use super::cells::{Cells, Of, nonsense};
use super::estimate::Estimate;
use crate::folder::MeasureError;
use crate::span::ms_between;

/// Starts of a placement.
#[derive(Debug)]
pub struct StartsCell {
    /// Those with packets in and out, in their order.
    pub starts: Vec<Start>,
    /// How many had none in or none out: they are in no figure.
    pub left_out: usize,
}

/// A start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// First packet out less first packet in.
    pub first_ms: f64,
    /// Last packet out less last packet in.
    pub last_ms: f64,
}

impl Start {
    /// `None` where nothing came in, or nothing out.
    fn of(row: &StartRow) -> Option<Self> {
        Some(Self {
            first_ms: ms_between(row.first_in_us?, row.first_out_us?),
            last_ms: ms_between(row.last_in_us?, row.last_out_us?),
        })
    }

    /// Mean of both differences. The thesis measures both and prints one figure.
    fn mean_ms(&self) -> f64 {
        f64::midpoint(self.first_ms, self.last_ms)
    }
}

/// A figure of a start, in ms.
type Figure = fn(&Start) -> f64;

/// What there is of a start, by its name.
pub(super) const FIGURES: [(&str, Figure); 3] = [
    ("first packet", |start| start.first_ms),
    ("last packet", |start| start.last_ms),
    (BOTH, Start::mean_ms),
];
/// The one that the thesis' figure stands beside.
pub(super) const BOTH: &str = "mean of both";

impl StartsCell {
    /// Mean over starts.
    pub(super) fn mean(&self, of: Figure) -> Option<Estimate> {
        Estimate::of_independent(self.starts.iter().map(of))
    }
}

impl Of<StartsCell> {
    pub(super) fn starts(folder: &Path, cell: Cell) -> Result<Self, MeasureError> {
        let path = folder.join("starts.csv");
        let rows: Vec<StartRow> = read_csv(&path)?;
        if rows.is_empty() {
            return Err(nonsense(&path, "streaming was never started".into()));
        }
        let starts: Vec<Start> = rows.iter().filter_map(Start::of).collect();
        Ok(Self {
            figures: StartsCell {
                left_out: rows.len() - starts.len(),
                starts,
            },
            cell,
        })
    }

    fn way_and_chain(&self) -> Option<(&str, &str)> {
        match &self.cell.subject {
            Subject::Starts { way, chain } => Some((way.as_str(), chain.as_str())),
            _ => None,
        }
    }
}

/// Programs that carried the video, each once, in the order of the cells.
pub(super) fn chains(cells: &Cells) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    let own = cells.starts.iter();
    for (_, chain) in own.filter_map(|of| of.way_and_chain()) {
        if !all.contains(&chain) {
            all.push(chain);
        }
    }
    all
}

/// Starts with a chain, in virtual machines and without.
pub(super) fn pair<'a>(cells: &'a Cells, chain: &str) -> [Option<&'a StartsCell>; 2] {
    [VIRTUAL, BARE].map(|way| {
        let mut all = cells.starts.iter();
        let found = all.find(|of| of.way_and_chain() == Some((way, chain)));
        found.map(|of| &of.figures)
    })
}

/// What virtual machines add to the mean of both differences.
pub(super) fn added(cells: &Cells, chain: &str) -> Option<Estimate> {
    let [virtual_, bare] = pair(cells, chain).map(|cell| cell?.mean(Start::mean_ms));
    Some(virtual_?.minus(&bare?))
}

/// The same of each chain, in words that go on with a sentence; empty where it was not measured.
pub(super) fn in_words(cells: &Cells) -> String {
    let one = |chain: &str| {
        let added = added(cells, chain)?;
        let interval = added.interval().map_or_else(String::new, |[low, high]| {
            format!(" ({low:.1} to {high:.1})")
        });
        Some(format!("{:.1} ms{interval} with {chain}", added.value))
    };
    let all: Vec<String> = chains(cells).into_iter().filter_map(one).collect();
    if all.is_empty() {
        return String::new();
    }
    format!(
        " (by first and last packets, streaming started and stopped repeatedly: {})",
        all.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::tables;
    use crate::testing;
    use record::Timestamp;
    use record::file::write_csv;

    fn cell(way: &str) -> Cell {
        testing::cell(Subject::Starts {
            way: way.into(),
            chain: "forestall".into(),
        })
    }

    /// A start each 8 s, in which the first packet takes so many ms through the server and the last one so many.
    fn measured(way: &str, took: &[Option<[u64; 2]>]) -> Result<Of<StartsCell>, MeasureError> {
        let folder = tempfile::tempdir().unwrap();
        let row = |(number, took): (u32, &Option<[u64; 2]>)| {
            let started = u64::from(number) * 8_000_000;
            let at = |ms: u64| Some(Timestamp(started + ms * 1_000));
            StartRow {
                number,
                started_us: Timestamp(started),
                first_in_us: at(100),
                first_out_us: took.and_then(|[first, _]| at(100 + first)),
                last_in_us: at(5_000),
                last_out_us: took.and_then(|[_, last]| at(5_000 + last)),
            }
        };
        let rows: Vec<StartRow> = (1..).zip(took).map(row).collect();
        write_csv(&folder.path().join("starts.csv"), &rows).unwrap();
        Of::<StartsCell>::starts(folder.path(), cell(way))
    }

    #[test]
    fn what_virtual_machines_add_is_the_difference_of_the_means() {
        let cells = Cells {
            starts: vec![
                measured(VIRTUAL, &[Some([20, 10]), Some([22, 12]), None]).unwrap(),
                measured(BARE, &[Some([6, 2]), Some([4, 4])]).unwrap(),
            ],
            ..Cells::default()
        };
        assert_eq!(added(&cells, "forestall").unwrap().value, 12.0);
        let tables = tables::all(&cells);
        let table = &tables["starts"];
        let values = |row: &str| table.measured[row].clone();
        assert_eq!(
            values("forestall: first packet"),
            [Some(21.0), Some(5.0), Some(16.0)]
        );
        assert_eq!(
            values("forestall: last packet"),
            [Some(11.0), Some(3.0), Some(8.0)]
        );
        assert_eq!(
            table.printed["forestall: mean of both"],
            [None, None, Some(4.0)]
        );
        assert_eq!(
            values("forestall: left out for want of a packet in or out (starts)"),
            [Some(1.0), Some(0.0), None]
        );
        let words = in_words(&cells);
        assert!(words.contains("12.0 ms ("), "{words}");
    }

    #[test]
    fn a_server_that_nothing_left_has_no_figure_and_no_zero() {
        let nothing = measured(VIRTUAL, &[None, None]).unwrap().figures;
        assert_eq!((nothing.starts.len(), nothing.left_out), (0, 2));
        assert_eq!(nothing.mean(Start::mean_ms), None);
        let never = measured(VIRTUAL, &[]).unwrap_err();
        assert!(never.to_string().contains("never started"), "{never}");
    }
}
