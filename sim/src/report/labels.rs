//! Names beside points that neither hide each other nor a point.

/// From a point to the label beside it.
const GAP: f64 = 9.0;
/// Height of a label with the room around it.
const HEIGHT: f64 = 14.0;
/// Of a letter; guessed, as there is no browser here to ask.
const LETTER: f64 = 6.7;
/// Half of the square that a point takes.
const POINT: f64 = 5.0;
/// How many heights up and down a label is tried.
const TRIES: u32 = 24;

/// A part of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Area {
    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn contains(&self, other: &Self) -> bool {
        self.left <= other.left
            && other.right <= self.right
            && self.top <= other.top
            && other.bottom <= self.bottom
    }

    fn around((x, y): (f64, f64)) -> Self {
        Self {
            left: x - POINT,
            right: x + POINT,
            top: y - POINT,
            bottom: y + POINT,
        }
    }
}

/// On which side of its point a label is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// It begins right of it.
    Right,
    /// It ends left of it.
    Left,
}

/// Where a label is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) side: Side,
    /// Where it begins, or ends.
    pub(super) x: f64,
    /// Its middle.
    pub(super) y: f64,
    /// Whether it is so far from its point that a line has to lead there.
    pub(super) led: bool,
    /// What it covers.
    pub(super) area: Area,
}

/// A label for each point, in the same order; who comes first has the first choice.
pub(super) fn place(points: &[(f64, f64)], names: &[&str], within: Area) -> Vec<Placed> {
    let mut taken: Vec<Area> = points.iter().copied().map(Area::around).collect();
    let mut placed = Vec::new();
    for (point, name) in points.iter().zip(names) {
        let width = LETTER * name.chars().count() as f64;
        let free = |label: &Placed| {
            within.contains(&label.area) && !taken.iter().any(|area| area.overlaps(&label.area))
        };
        // Where there is no room at all a label covers another rather than be left out.
        let label = candidates(*point, width)
            .find(free)
            .unwrap_or_else(|| candidate(*point, width, Side::Right, 0.0));
        taken.push(label.area);
        placed.push(label);
    }
    placed
}

/// Beside the point, and ever further up and down.
fn candidates(point: (f64, f64), width: f64) -> impl Iterator<Item = Placed> {
    let steps = (0..TRIES).flat_map(|step| [-f64::from(step), f64::from(step)]);
    // Half a height at a time: there may be room between two labels.
    steps.flat_map(move |step| {
        [Side::Right, Side::Left].map(|side| candidate(point, width, side, step * HEIGHT / 2.0))
    })
}

fn candidate((x, y): (f64, f64), width: f64, side: Side, up_or_down: f64) -> Placed {
    let led = up_or_down.abs() > HEIGHT / 2.0;
    let gap = if led { 2.0 * GAP } else { GAP };
    let (from, left) = match side {
        Side::Right => (x + gap, x + gap),
        Side::Left => (x - gap, x - gap - width),
    };
    let middle = y + up_or_down;
    Placed {
        side,
        x: from,
        y: middle,
        led,
        area: Area {
            left,
            right: left + width,
            top: middle - HEIGHT / 2.0,
            bottom: middle + HEIGHT / 2.0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Area = Area {
        left: 0.0,
        right: 900.0,
        top: 0.0,
        bottom: 380.0,
    };

    #[test]
    fn names_of_near_points_do_not_collide() {
        let points: Vec<(f64, f64)> = (0..20)
            .map(|n| (400.0 + f64::from(n % 3), 200.0 + f64::from(n % 2)))
            .collect();
        let names = ["watcher-workload-balance@5s"; 20];
        let placed = place(&points, &names, WITHIN);
        for (number, label) in placed.iter().enumerate() {
            assert!(WITHIN.contains(&label.area), "{label:?}");
            let others = placed.iter().skip(number + 1);
            assert!(others.clone().all(|other| !other.area.overlaps(&label.area)));
        }
    }

    #[test]
    fn a_lone_point_has_its_name_beside_it() {
        let label = place(&[(10.0, 50.0)], &["never"], WITHIN)[0];
        assert_eq!((label.side, label.y, label.led), (Side::Right, 50.0, false));
        let label = place(&[(890.0, 50.0)], &["never"], WITHIN)[0];
        assert_eq!((label.side, label.y, label.led), (Side::Left, 50.0, false));
    }
}
