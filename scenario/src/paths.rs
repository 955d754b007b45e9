//! Which migrations over paths a campaign measures.

use std::path::PathBuf;

use record::campaign::{Copying, PathPoint};
use serde::Deserialize;
use toml::Spanned;

/// Live migrations over paths: from a base one axis at a time, in each of the ways to copy, and a grid of memory and bandwidth by
/// pre-copy, near and far. With the lists empty it is the base alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paths {
    /// Folder of the scenario.
    pub scenario: PathBuf,
    /// Memory that the guest needs for itself; the rest is filled with something other than zeros.
    pub own_mib: Spanned<u32>,
    /// Where the axes cross.
    pub base: PathBase,
    /// Ways to copy.
    pub copying: Spanned<Vec<Copying>>,
    /// Time of pre-copy before post-copy.
    pub post_copy_after_s: Spanned<u32>,
    /// Memory of the virtual machine.
    #[serde(default = "nothing")]
    pub memory_mib: Spanned<Vec<u32>>,
    /// What is written anew each second.
    #[serde(default = "nothing")]
    pub dirty_mib_s: Spanned<Vec<f64>>,
    /// What copying may use of the link.
    #[serde(default = "nothing")]
    pub bandwidth_mib_s: Spanned<Vec<f64>>,
    /// Round trip that the path adds.
    #[serde(default = "nothing")]
    pub rtt_ms: Spanned<Vec<f64>>,
    /// What it loses, each way.
    #[serde(default = "nothing")]
    pub loss_percent: Spanned<Vec<f64>>,
    /// Every pair of these, by pre-copy, all else as in the base.
    pub grid: Option<PathGrid>,
    /// Migrations for each cell.
    pub moves: Spanned<u32>,
    /// Before each.
    pub settle_s: Spanned<f64>,
    /// Copying is given up after this.
    pub timeout_s: Spanned<f64>,
}

/// A value for each axis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct PathBase {
    pub memory_mib: Spanned<u32>,
    pub dirty_mib_s: Spanned<f64>,
    pub bandwidth_mib_s: Spanned<f64>,
    pub rtt_ms: Spanned<f64>,
    pub loss_percent: Spanned<f64>,
}

/// Three axes at once: without round trips in it, nothing but the base's pair of memory and bandwidth would say what they cost.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct PathGrid {
    pub memory_mib: Spanned<Vec<u32>>,
    pub bandwidth_mib_s: Spanned<Vec<f64>>,
    pub rtt_ms: Spanned<Vec<f64>>,
}

fn nothing<T>() -> Spanned<Vec<T>> {
    Spanned::new(0..0, Vec::new())
}

/// Most memory of a machine of [`Paths`].
const MEMORY_MIB_MAX: u32 = 65_536;

impl Paths {
    /// Where in the text the first mistake is, and what is allowed.
    pub(crate) fn fault(&self) -> Option<(usize, String)> {
        let whole = |value: &Spanned<u32>, least: u32, most: u32, key: &str| {
            let wrong = !(least..=most).contains(value.get_ref());
            wrong.then(|| {
                let text = format!("{key} is {}; it must be {least} to {most}", value.get_ref());
                (value.span().start, text)
            })
        };
        let is_written = self.all_dirty().any(|dirty| dirty > 0.0);
        let memory = |at: usize, values: &[u32]| {
            let least = self.own_mib.get_ref().saturating_add(u32::from(is_written));
            let wrong = |value: &&u32| !(least..=MEMORY_MIB_MAX).contains(*value);
            let value = values.iter().find(wrong)?;
            let text = format!(
                "memory_mib has {value}; it must be {least} to {MEMORY_MIB_MAX}: more than own_mib, where dirty_mib_s is over 0"
            );
            Some((at, text))
        };
        let number = |at: usize, values: &[f64], (least, most): (f64, f64), key: &str| {
            let wrong = |value: &&f64| !(least..=most).contains(*value);
            let value = values.iter().find(wrong)?;
            Some((
                at,
                format!("{key} has {value}; it must be {least} to {most}"),
            ))
        };
        const DIRTY: (f64, f64) = (0.0, 1e3);
        const BANDWIDTH: (f64, f64) = (1.0, 1e4);
        const RTT: (f64, f64) = (0.0, 1e3);
        const LOSS: (f64, f64) = (0.0, 20.0);
        const SECONDS: (f64, f64) = (0.0, 3600.0);
        let one = |value: &Spanned<f64>, range, key| {
            number(value.span().start, &[*value.get_ref()], range, key)
        };
        let many = |values: &Spanned<Vec<f64>>, range, key| {
            number(values.span().start, values.get_ref(), range, key)
        };
        let memories = |values: &Spanned<Vec<u32>>| memory(values.span().start, values.get_ref());
        let base = &self.base;
        let ways = &self.copying;
        whole(&self.own_mib, 64, MEMORY_MIB_MAX, "own_mib")
            .or_else(|| whole(&self.moves, 1, 1_000, "moves"))
            .or_else(|| whole(&self.post_copy_after_s, 1, 3_600, "post_copy_after_s"))
            .or_else(|| {
                let text = "copying is empty; it is a list of \"pre-copy\" and \"post-copy\"";
                let empty = ways.get_ref().is_empty();
                empty.then(|| (ways.span().start, text.to_owned()))
            })
            .or_else(|| memory(base.memory_mib.span().start, &[*base.memory_mib.get_ref()]))
            .or_else(|| one(&base.dirty_mib_s, DIRTY, "dirty_mib_s"))
            .or_else(|| one(&base.bandwidth_mib_s, BANDWIDTH, "bandwidth_mib_s"))
            .or_else(|| one(&base.rtt_ms, RTT, "rtt_ms"))
            .or_else(|| one(&base.loss_percent, LOSS, "loss_percent"))
            .or_else(|| memories(&self.memory_mib))
            .or_else(|| many(&self.dirty_mib_s, DIRTY, "dirty_mib_s"))
            .or_else(|| many(&self.bandwidth_mib_s, BANDWIDTH, "bandwidth_mib_s"))
            .or_else(|| many(&self.rtt_ms, RTT, "rtt_ms"))
            .or_else(|| many(&self.loss_percent, LOSS, "loss_percent"))
            .or_else(|| {
                let grid = self.grid.as_ref()?;
                memories(&grid.memory_mib)
                    .or_else(|| many(&grid.bandwidth_mib_s, BANDWIDTH, "bandwidth_mib_s"))
                    .or_else(|| many(&grid.rtt_ms, RTT, "rtt_ms"))
            })
            .or_else(|| one(&self.settle_s, SECONDS, "settle_s"))
            .or_else(|| one(&self.timeout_s, (1.0, 3600.0), "timeout_s"))
    }

    fn all_dirty(&self) -> impl Iterator<Item = f64> {
        let list = self.dirty_mib_s.get_ref().iter().copied();
        list.chain([*self.base.dirty_mib_s.get_ref()])
    }

    fn filled(&self, memory_mib: u32) -> u32 {
        memory_mib.saturating_sub(*self.own_mib.get_ref())
    }

    /// Every cell once: the base, along each axis, then the grid; with the downtime limit of the scenario.
    pub(crate) fn cells(&self, downtime_limit_ms: f64) -> Vec<PathPoint> {
        let base = |copying: Copying| PathPoint {
            memory_mib: *self.base.memory_mib.get_ref(),
            filled_mib: self.filled(*self.base.memory_mib.get_ref()),
            dirty_mib_s: *self.base.dirty_mib_s.get_ref(),
            bandwidth_mib_s: *self.base.bandwidth_mib_s.get_ref(),
            downtime_limit_ms,
            rtt_ms: *self.base.rtt_ms.get_ref(),
            loss_percent: *self.base.loss_percent.get_ref(),
            copying,
        };
        let sized = |memory_mib: &u32, base: PathPoint| PathPoint {
            memory_mib: *memory_mib,
            filled_mib: self.filled(*memory_mib),
            ..base
        };
        let mut cells = Vec::new();
        for copying in self.copying.get_ref() {
            let base = base(*copying);
            cells.push(base);
            let memory = self.memory_mib.get_ref().iter();
            cells.extend(memory.map(|mib| sized(mib, base)));
            let along = |values: &Spanned<Vec<f64>>, set: fn(&mut PathPoint, f64)| {
                let point = |value: &f64| {
                    let mut point = base;
                    set(&mut point, *value);
                    point
                };
                values.get_ref().iter().map(point).collect::<Vec<_>>()
            };
            cells.extend(along(&self.dirty_mib_s, |p, v| p.dirty_mib_s = v));
            cells.extend(along(&self.bandwidth_mib_s, |p, v| p.bandwidth_mib_s = v));
            cells.extend(along(&self.rtt_ms, |p, v| p.rtt_ms = v));
            cells.extend(along(&self.loss_percent, |p, v| p.loss_percent = v));
        }
        if let Some(grid) = &self.grid {
            for memory in grid.memory_mib.get_ref() {
                for bandwidth_mib_s in grid.bandwidth_mib_s.get_ref() {
                    let ways = grid.rtt_ms.get_ref().iter();
                    cells.extend(ways.map(|rtt_ms| PathPoint {
                        bandwidth_mib_s: *bandwidth_mib_s,
                        rtt_ms: *rtt_ms,
                        ..sized(memory, base(Copying::PreCopy))
                    }));
                }
            }
        }
        let mut seen: Vec<PathPoint> = Vec::new();
        cells.retain(|cell| {
            let new = !seen.contains(cell);
            if new {
                seen.push(*cell);
            }
            new
        });
        cells
    }
}
