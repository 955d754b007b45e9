//! Rows in any order become series.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::bad::{BadRow, BadRows};
use super::error::TraceError;
use super::field;
use super::files::shown_name;
use super::lines::Row;
use super::series::{Series, Trace, median};

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Names of the files, in the order in which they are read.
    files: Vec<String>,
    /// In the order in which the machines were first met.
    machines: Vec<Machine>,
    /// Where in `machines` one is. Nothing goes by its order.
    index: HashMap<String, usize>,
    /// Values that are summed up, by machine and instant (its bits, which go in its order); each with its last row.
    sums: BTreeMap<(usize, u64), (f64, Place)>,
    rows: u64,
    bad: BadRows,
    shuffled: u64,
}

#[derive(Debug)]
struct Machine {
    name: String,
    values: Vec<Value>,
}

/// A value, and where it stands, for the case that it has to be named.
#[derive(Clone, Copy, Debug)]
struct Value {
    at_s: f64,
    share: f64,
    place: Place,
}

/// Number of a file and of a line in it, in little room: there are as many as there are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64);

impl Place {
    const LINE_BITS: u32 = 40;

    const fn new(file: usize, line: u64) -> Self {
        Self(((file as u64) << Self::LINE_BITS) | (line & ((1 << Self::LINE_BITS) - 1)))
    }

    const fn file(self) -> usize {
        (self.0 >> Self::LINE_BITS) as usize
    }

    const fn line(self) -> u64 {
        self.0 & ((1 << Self::LINE_BITS) - 1)
    }
}

impl Gather {
    /// What follows stands in this file.
    pub(super) fn begin_file(&mut self, path: &Path) {
        self.files.push(shown_name(path));
    }

    /// How many files there were before this one.
    pub(super) fn files_before(&self) -> usize {
        self.files.len().saturating_sub(1)
    }

    /// Counts a row. Whether it may be looked at: one that is too long may not.
    pub(super) fn take_row(&mut self, row: Row<'_>) -> bool {
        self.rows += 1;
        if row.too_long {
            self.bad(row, BadRow::TooLong);
        }
        !row.too_long
    }

    /// Counts a row, or a value in it, that cannot be used.
    pub(super) fn bad(&mut self, row: Row<'_>, reason: BadRow) {
        self.bad_text(row.number, row.text, reason);
    }

    /// Counts what cannot be used and names a part of the row only.
    pub(super) fn bad_text(&mut self, line: u64, text: &[u8], reason: BadRow) {
        let file = self.files.last().map_or("", String::as_str);
        self.bad.add(file, line, text, reason);
    }

    /// Takes a value of a machine.
    pub(super) fn put(&mut self, name: &str, line: u64, at_s: f64, share: f64) {
        let machine = self.machine(name);
        let place = Place::new(self.files_before(), line);
        let values = &mut self.machines[machine].values;
        if values.last().is_some_and(|last| last.at_s > at_s) {
            self.shuffled += 1;
        }
        values.push(Value { at_s, share, place });
    }

    /// Adds to the value of a machine at an instant.
    pub(super) fn add(&mut self, name: &str, line: u64, at_s: f64, share: f64) {
        let machine = self.machine(name);
        let place = Place::new(self.files_before(), line);
        let sum = self.sums.entry((machine, at_s.to_bits()));
        let (sum, last) = sum.or_insert((0.0, place));
        *sum += share;
        *last = place;
    }

    fn machine(&mut self, name: &str) -> usize {
        if let Some(&machine) = self.index.get(name) {
            return machine;
        }
        let machine = self.machines.len();
        self.index.insert(name.to_owned(), machine);
        self.machines.push(Machine {
            name: name.to_owned(),
            values: Vec::new(),
        });
        machine
    }

    /// The series, by name and in order of time, which begins with the first value of all.
    pub(super) fn finish(mut self, path: &Path) -> Result<Trace, TraceError> {
        self.take_sums();
        let mut machines = std::mem::take(&mut self.machines);
        machines.retain(|machine| !machine.values.is_empty());
        machines.sort_by(|a, b| a.name.cmp(&b.name));
        for machine in &mut machines {
            self.put_in_order(machine);
        }
        let firsts = machines.iter().filter_map(|machine| machine.values.first());
        let begin_s = firsts.map(|value| value.at_s).fold(f64::INFINITY, f64::min);
        let series: Vec<Series> = machines
            .into_iter()
            .map(|machine| machine.into_series(begin_s))
            .collect();
        if series.is_empty() {
            return Err(self.nothing_usable(path));
        }
        let interval_s = median(series.iter().filter_map(Series::step_s).collect());
        Ok(Trace {
            series,
            interval_s: interval_s.ok_or_else(|| TraceError::OneInstant {
                path: path.to_owned(),
            })?,
            rows: self.rows,
            bad: self.bad,
            shuffled: self.shuffled,
            left_out: Vec::new(),
        })
    }

    /// Sums become values. One over all of a machine's CPU is a bad row, named by the last that is in it.
    fn take_sums(&mut self) {
        for ((machine, at_s), (sum, place)) in std::mem::take(&mut self.sums) {
            let at_s = f64::from_bits(at_s);
            let machine = &mut self.machines[machine];
            match field::share_of(sum, 1.0) {
                Ok(share) => machine.values.push(Value { at_s, share, place }),
                Err(reason) => {
                    let file = self.files.get(place.file());
                    let text = format!("{} at {at_s} s: {sum} in all", machine.name);
                    let file = file.map_or("", String::as_str);
                    self.bad.add(file, place.line(), text.as_bytes(), reason);
                }
            }
        }
    }

    /// Of several values of one instant the one that was read first is kept; each other one is a bad row.
    fn put_in_order(&mut self, machine: &mut Machine) {
        let values = &mut machine.values;
        values.sort_unstable_by(|a, b| a.at_s.total_cmp(&b.at_s).then(a.place.cmp(&b.place)));
        values.dedup_by(|value, before| {
            let same = value.at_s == before.at_s;
            if same {
                let file = self.files.get(value.place.file());
                let text = format!("{} at {} s: {}", machine.name, value.at_s, value.share);
                self.bad.add(
                    file.map_or("", String::as_str),
                    value.place.line(),
                    text.as_bytes(),
                    BadRow::SameInstant,
                );
            }
            same
        });
    }

    fn nothing_usable(self, path: &Path) -> TraceError {
        let path = path.to_owned();
        match self.bad.first.into_iter().next() {
            Some(first) => TraceError::NoUsableRows {
                path,
                rows: self.rows,
                first: Box::new(first),
            },
            None => TraceError::NoRows { path },
        }
    }
}

impl Machine {
    fn into_series(self, begin_s: f64) -> Series {
        let points = self.values.iter();
        Series {
            points: points
                .map(|value| (value.at_s - begin_s, value.share))
                .collect(),
            name: self.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(values: &[(&str, u64, f64, f64)]) -> Gather {
        let mut gather = Gather::default();
        gather.begin_file(Path::new("x/a.csv"));
        for (name, line, at_s, share) in values {
            gather.put(name, *line, *at_s, *share);
        }
        gather
    }

    #[test]
    fn shuffled_rows_make_the_same_trace() {
        let mut values = vec![
            ("b", 1, 100.0, 0.1),
            ("a", 2, 100.0, 0.2),
            ("b", 3, 400.0, 0.3),
            ("a", 4, 400.0, 0.4),
            ("a", 5, 700.0, 0.5),
        ];
        let ordered = gather(&values).finish(Path::new("a")).unwrap();
        values.reverse();
        let shuffled = gather(&values).finish(Path::new("a")).unwrap();
        assert_eq!(ordered.series, shuffled.series);
        assert_eq!(ordered.series[0].name, "a");
        assert_eq!(
            ordered.series[0].points,
            [(0.0, 0.2), (300.0, 0.4), (600.0, 0.5)]
        );
        assert_eq!((ordered.shuffled, shuffled.shuffled), (0, 3));
        assert_eq!(ordered.interval_s, 300.0);
    }

    #[test]
    fn same_instant() {
        let values = [("a", 1, 0.0, 0.1), ("a", 2, 5.0, 0.2), ("a", 9, 0.0, 0.3)];
        let trace = gather(&values).finish(Path::new("a")).unwrap();
        assert_eq!(trace.series[0].points, [(0.0, 0.1), (5.0, 0.2)]);
        assert_eq!(trace.bad.by_reason[&BadRow::SameInstant], 1);
        let first = &trace.bad.first[0];
        assert_eq!((first.file.as_str(), first.line), ("a.csv", 9));
        assert_eq!(first.text, "a at 0 s: 0.3");
    }

    #[test]
    fn sums() {
        let mut gather = Gather::default();
        gather.begin_file(Path::new("1.csv"));
        gather.add("a", 1, 300.0, 0.25);
        gather.add("a", 2, 0.0, 0.5);
        gather.begin_file(Path::new("2.csv"));
        gather.add("a", 1, 300.0, 0.5);
        gather.add("a", 2, 600.0, 0.5);
        gather.add("a", 7, 600.0, 0.75);
        let trace = gather.finish(Path::new("a")).unwrap();
        assert_eq!(trace.series[0].points, [(0.0, 0.5), (300.0, 0.75)]);
        assert_eq!(trace.bad.total, 1);
        let first = trace.bad.first[0].to_string();
        assert_eq!(first, "2.csv:7: over 100 %: `a at 600 s: 1.25 in all`");
    }

    #[test]
    fn one_instant() {
        let error = gather(&[("a", 1, 0.0, 0.1)]).finish(Path::new("a"));
        assert!(matches!(error, Err(TraceError::OneInstant { .. })));
    }

    #[test]
    fn places() {
        let place = Place::new(1_700, 3_000_000_000);
        assert_eq!((place.file(), place.line()), (1_700, 3_000_000_000));
    }
}
