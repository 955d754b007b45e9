//! What a campaign's report is made of, packed small: so much of each cell that all figures can be made again.

use std::fs;
use std::path::{Component, Path, PathBuf};

use record::campaign::{Cell, FILE_NAME};
use record::file::{pack_to, read_json, write_csv};
use record::raw::UnreadRow;
use record::read_csv;

use super::cells::{arrivals, find, nonsense};
use crate::folder::MeasureError;

/// Small files, as they are.
const SMALL: [&str; 5] = [
    "phases.csv",
    "moves.csv",
    "ping.csv",
    "ping-vpn.csv",
    "starts.csv",
];
/// Files that are packed.
const LARGE: [&str; 5] = [
    "frames.csv",
    "packets.csv",
    "load.csv",
    "passages.csv",
    "player.csv",
];

/// Puts the cells of some folders into `out`, which may be one of them; those that are in it already stay as they are.
///
/// # Errors
/// When something cannot be read or written, or `out` has cells of which the report is not made.
pub fn keep(folders: &[PathBuf], out: &Path) -> Result<(), MeasureError> {
    let mut cells = Vec::new();
    for folder in folders {
        find(folder, &mut cells)?;
    }
    let mut kept = Vec::new();
    for from in cells {
        let cell: Cell = read_json(&from.join(FILE_NAME))?;
        kept.push((from, out.join(cell.subject.folder()), cell.spoilt));
    }
    let mut there = Vec::new();
    find(out, &mut there)?;
    let is_other = |path: &&PathBuf| !kept.iter().any(|(_, to, _)| is_same(to, path));
    if let Some(other) = there.iter().find(is_other) {
        return Err(nonsense(
            other,
            format!(
                "this cell is in {} and not in the report: name that folder among the ones to report, too, or choose another --out",
                out.display()
            ),
        ));
    }
    for (from, to, spoilt) in &kept {
        if !is_same(from, to) {
            copy(from, to, *spoilt)?;
        }
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| fs::canonicalize(path).ok());
    one.is_some() && one == other
}

fn copy(from: &Path, to: &Path, spoilt: bool) -> Result<(), MeasureError> {
    let file = |name: &str| -> Result<(), MeasureError> {
        if from.join(name).exists() {
            let copied = fs::copy(from.join(name), to.join(name));
            copied.map_err(|error| nonsense(&to.join(name), error.to_string()))?;
        }
        Ok(())
    };
    let folder =
        |path: &Path| fs::create_dir_all(path).map_err(|error| nonsense(path, error.to_string()));
    folder(to)?;
    // It is counted, and no figure is made of it.
    if !spoilt {
        for name in SMALL {
            file(name)?;
        }
        for name in LARGE {
            if is_there(from, name) {
                pack_to(&from.join(name), &to.join(name))?;
            }
        }
        if from.join("arrivals.pcap").exists() {
            write_csv(&to.join("arrivals.csv"), &arrivals(from)?)?;
            record::file::pack(&to.join("arrivals.csv"))?;
        } else if is_there(from, "arrivals.csv") {
            pack_to(&from.join("arrivals.csv"), &to.join("arrivals.csv"))?;
        }
        let unread = Path::new("shots/unread.csv");
        if from.join(unread).exists() {
            folder(&to.join("shots"))?;
            file("shots/shots.csv")?;
            file("shots/unread.csv")?;
            // A person may still fill them in.
            let rows: Vec<UnreadRow> = read_csv(&from.join(unread))?;
            for row in rows {
                let png = Path::new("shots").join(&row.png);
                let is_inside = png
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)));
                let (true, Some(parent), Some(name)) = (is_inside, png.parent(), png.to_str())
                else {
                    return Err(nonsense(
                        &from.join(unread),
                        format!("{} is no name of a picture", row.png),
                    ));
                };
                folder(&to.join(parent))?;
                file(name)?;
            }
        }
    }
    // Last: with it the cell is complete.
    file(FILE_NAME)
}

fn is_there(folder: &Path, name: &str) -> bool {
    folder.join(name).exists() || folder.join(format!("{name}.gz")).exists()
}
