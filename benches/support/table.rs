//! The table a bench prints: what was measured, the figure, the goal, and whether it was met.

use std::{env, process::ExitCode};

use super::timing::is_rehearsal;

/// Set to 1, it makes a bench fail whose goals are not all met.
const STRICT: &str = "POINTSMAN_BENCH_STRICT";

/// The lines of a bench, as they will be printed.
pub struct Table {
    title: &'static str,
    lines: Vec<[String; 4]>,
    missed: usize,
}

impl Table {
    pub fn new(title: &'static str) -> Self {
        Self { title, lines: Vec::new(), missed: 0 }
    }

    /// Adds a figure without a goal.
    pub fn say(&mut self, what: impl Into<String>, figure: f64, unit: Unit) {
        self.lines.push([what.into(), unit.show(figure), String::new(), String::new()]);
    }

    /// Adds a figure that should be at most `goal`.
    pub fn hold(&mut self, what: impl Into<String>, figure: f64, goal: f64, unit: Unit) {
        let verdict = match figure <= goal {
            _ if is_rehearsal() => "",
            true => "met",
            false => "MISSED",
        };
        self.missed += usize::from(verdict == "MISSED");
        let goal = format!("at most {}", unit.show(goal));
        self.lines.push([what.into(), unit.show(figure), goal, verdict.into()]);
    }

    /// Prints the table and returns how the bench ends.
    pub fn finish(self) -> ExitCode {
        let heads = [self.title, "figure", "goal", "verdict"].map(str::to_owned);
        let width = |column: usize| {
            let cells = self.lines.iter().chain([&heads]).map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        for [what, figure, goal, verdict] in [&heads].into_iter().chain(&self.lines) {
            let [first, second, third] = widths;
            let line = format!("{what:first$}  {figure:>second$}  {goal:>third$}  {verdict}");
            println!("{}", line.trim_end());
        }
        if is_rehearsal() {
            println!("a rehearsal: the figures mean nothing; `cargo bench` measures");
        }
        let strict = env::var_os(STRICT).is_some_and(|value| value == "1");
        if strict && self.missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// What a figure counts.
#[derive(Clone, Copy)]
pub enum Unit {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Times,
    Allocations,
    Instructions,
    Kibibytes,
}

impl Unit {
    fn show(self, number: f64) -> String {
        match self {
            Self::Nanoseconds => format!("{number:.1} ns"),
            Self::Microseconds => format!("{number:.1} us"),
            Self::Milliseconds => format!("{number:.2} ms"),
            Self::Times => format!("{number:.2} x"),
            Self::Allocations => format!("{number:.1} allocations"),
            Self::Instructions => format!("{number:.0} instructions"),
            Self::Kibibytes => format!("{number:.1} KiB"),
        }
    }
}
