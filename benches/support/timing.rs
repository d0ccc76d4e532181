//! Times cases side by side: each round runs every case for a slice. What counts of ratios is the
//! median over the rounds, since what the machine does meanwhile falls on all cases alike; of times
//! the least, since it only adds to them.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use super::settings;

/// Runs something so many times.
pub type Case<'a> = Box<dyn FnMut(u64) + 'a>;

/// Makes a case of a call.
pub fn case<'a, T>(mut call: impl FnMut() -> T + 'a) -> Case<'a> {
    Box::new(move |times| {
        for _ in 0..times {
            black_box(call());
        }
    })
}

/// What was measured: for each case, the time of one call in each round, in nanoseconds.
pub struct Times(Vec<Vec<f64>>);

impl Times {
    /// Measures the cases.
    pub fn of(mut cases: Vec<Case<'_>>) -> Self {
        let (slice, rounds) = match is_rehearsal() {
            true => (Duration::ZERO, 1),
            false => (settings::SLICE, settings::ROUNDS),
        };
        let calls = cases.iter_mut().map(|case| calls_within(slice, case)).collect::<Vec<_>>();
        let mut times = vec![Vec::with_capacity(rounds); cases.len()];
        for _ in 0..rounds {
            for ((case, &calls), times) in cases.iter_mut().zip(&calls).zip(&mut times) {
                times.push(time_of(calls, case).as_secs_f64() * 1e9 / calls as f64);
            }
        }
        Self(times)
    }

    /// The least time of a call.
    pub fn least(&self, case: usize) -> f64 {
        least(self.0[case].iter().copied())
    }

    /// The median ratio of one case to another.
    pub fn ratio(&self, case: usize, to: usize) -> f64 {
        median(self.0[case].iter().zip(&self.0[to]).map(|(case, to)| case / to))
    }
}

/// Returns the least of numbers, of which there is at least one.
pub fn least(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(f64::INFINITY, f64::min)
}

/// Returns the median of numbers, of which there is at least one.
pub fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers = numbers.collect::<Vec<_>>();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() % 2 {
        0 => (numbers[middle - 1] + numbers[middle]) / 2.0,
        _ => numbers[middle],
    }
}

/// Tells whether this only shows that the bench runs: `cargo test` does not say `--bench`.
pub fn is_rehearsal() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}

/// Says so if what is measured has the clock that tests can stop, which costs a proxy some two percent.
pub fn tell_of_the_clock() {
    if !cfg!(measured) && !is_rehearsal() {
        println!(
            "with the clock of the tests: `cargo measure` instead of `cargo bench` goes without"
        );
    }
}

fn calls_within(slice: Duration, case: &mut Case<'_>) -> u64 {
    let mut calls = 1;
    while time_of(calls, case) < slice {
        calls *= 2;
    }
    calls
}

fn time_of(calls: u64, case: &mut Case<'_>) -> Duration {
    let started = Instant::now();
    case(calls);
    started.elapsed()
}
