//! Chance from a seed: the same on any machine, at any time, in any order.
//!
//! SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): whole numbers only,
//! and shares of them by exact division, so that two machines never differ in a last bit. For the same reason nothing that
//! rests on it calls a sine, an exponential or a power: libraries of mathematics differ there.

/// Step of the sequence: 2^64 over the golden ratio, odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number that looks like chance, from a seed and a place: random access.
#[must_use]
pub fn hash(seed: u64, place: u64) -> u64 {
    mix(seed
        .wrapping_add(place.wrapping_mul(GOLDEN))
        .wrapping_add(GOLDEN))
}

/// The share of `0..1` that a number stands for.
#[must_use]
pub fn share(number: u64) -> f64 {
    // 53 bits are what a share can hold; the division by a power of two is exact.
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A sequence of chance.
#[derive(Clone, Debug)]
pub struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        let number = hash(self.seed, self.drawn);
        self.drawn = self.drawn.wrapping_add(1);
        number
    }

    /// Evenly from `low` to below `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * share(self.next_u64())
    }

    /// Puts things into an order that only the seed decides (Fisher and Yates).
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            // The remainder favours low places by less than one in 2^40 for any number of things that fits in memory.
            let other = (self.next_u64() % (last as u64 + 1)) as usize;
            things.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the published generator from seed 0.
    #[test]
    fn it_is_splitmix64() {
        let mut chance = Chance::new(0);
        assert_eq!(chance.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(chance.next_u64(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(chance.next_u64(), 0x06c4_5d18_8009_454f);
    }

    #[test]
    fn shares_are_even() {
        let mut chance = Chance::new(7);
        let shares: Vec<f64> = (0..10_000).map(|_| chance.between(2.0, 4.0)).collect();
        assert!(shares.iter().all(|share| (2.0..4.0).contains(share)));
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!((mean - 3.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut things: Vec<u32> = (0..100).collect();
        Chance::new(1).shuffle(&mut things);
        assert_ne!(things[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        things.sort_unstable();
        assert!(things.into_iter().eq(0..100));
        Chance::new(1).shuffle::<u32>(&mut []);
    }
}
