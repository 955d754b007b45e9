//! How far the hosts' loads lie apart, and what a move would make of it.

/// Loads of the hosts, and their dispersion around their mean. Hosts that are not known have no part in it.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    loads: Vec<Option<f64>>,
    known: Vec<usize>,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Spread {
    pub(super) fn of(loads: Vec<Option<f64>>) -> Self {
        let known: Vec<usize> = (0..loads.len())
            .filter(|host| loads[*host].is_some())
            .collect();
        let values = || loads.iter().flatten();
        let mean = values().sum::<f64>() / known.len().max(1) as f64;
        let squares = values().map(|load| (load - mean).powi(2)).sum();
        Self {
            loads,
            known,
            mean,
            squares,
        }
    }

    /// The known hosts, in order.
    pub(super) fn known(&self) -> &[usize] {
        &self.known
    }

    pub(super) fn loads(&self) -> &[Option<f64>] {
        &self.loads
    }

    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// Standard deviation of all hosts (not of a sample of them): squared distances over n.
    pub(super) fn deviation(&self) -> f64 {
        self.root(self.squares)
    }

    /// [`Spread::deviation`] as it would be with `load` at `target` instead of `source`. A move leaves the mean as it is,
    /// so two distances change. `None` when either host is not known.
    pub(super) fn deviation_after(&self, source: usize, target: usize, load: f64) -> Option<f64> {
        Some(self.root(self.squares_after(source, target, load)?))
    }

    /// Counts the move.
    pub(super) fn apply(&mut self, source: usize, target: usize, load: f64) {
        if let Some(squares) = self.squares_after(source, target, load) {
            self.squares = squares;
            super::move_load(&mut self.loads, source, target, load);
        }
    }

    fn squares_after(&self, source: usize, target: usize, load: f64) -> Option<f64> {
        let at = |host: usize| Some(self.loads.get(host).copied()?? - self.mean);
        let (from, to) = (at(source)?, at(target)?);
        let change = (from - load).powi(2) - from.powi(2) + (to + load).powi(2) - to.powi(2);
        Some((self.squares + change).max(0.0))
    }

    fn root(&self, squares: f64) -> f64 {
        (squares / self.known.len().max(1) as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let spread = Spread::of(vec![Some(0.2), None, Some(0.6)]);
        assert_eq!(spread.known(), [0, 2]);
        assert!((spread.mean() - 0.4).abs() < 1e-12);
        assert!((spread.deviation() - 0.2).abs() < 1e-12);
        assert_eq!(spread.deviation_after(2, 1, 0.1), None);
        assert_eq!(spread.deviation_after(2, 7, 0.1), None);
        assert_eq!(Spread::of(vec![None]).deviation(), 0.0);
    }

    #[test]
    fn a_move_counted_ahead_is_the_move_made() {
        let mut spread = Spread::of(vec![Some(0.9), Some(0.1), Some(0.3)]);
        let ahead = spread.deviation_after(0, 1, 0.25).unwrap();
        spread.apply(0, 1, 0.25);
        assert!((spread.deviation() - ahead).abs() < 1e-12);
        let anew = Spread::of(spread.loads().to_vec());
        assert!((anew.deviation() - ahead).abs() < 1e-12);
    }
}
