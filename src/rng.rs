//! Random numbers for picks and jitter: fast, shared without a lock, the same again from one seed.
//!
//! Not for secrets; those come from the operating system (see `stickiness`).

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// The step of SplitMix64, the golden ratio in 64 bits (Steele, Lea, Flood 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A generator (SplitMix64) whose whole state is one counter.
///
/// # Examples
///
/// ```
/// use pointsman::rng::Rng;
///
/// let (one, two) = (Rng::seeded(7), Rng::seeded(7));
/// assert_eq!(one.next_u64(), two.next_u64());
/// assert!(one.below(10) < 10);
/// ```
#[derive(Debug)]
pub struct Rng(AtomicU64);

impl Rng {
    /// Makes a generator that gives the same numbers whenever it is given the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Makes a generator whose numbers differ from process to process.
    pub fn from_entropy() -> Self {
        // The standard library seeds its hash maps from the operating system.
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// Returns the next number.
    pub fn next_u64(&self) -> u64 {
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 up to, but not, `bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        // Lemire's multiplication: the bias of 1 in 2^64/bound does not matter to a pick.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns a generator that will give the numbers this one would give next.
    pub fn copy(&self) -> Self {
        Self::seeded(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_foretells_and_changes_nothing() {
        let rng = Rng::seeded(3);
        let foretold = rng.copy().next_u64();
        assert_eq!(foretold, rng.next_u64());
        assert_ne!(foretold, rng.next_u64());
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let rng = Rng::seeded(11);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[rng.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!(rng.below(0), 0);
    }
}
