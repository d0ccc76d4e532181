//! All settings of the benches: how long they measure, what they measure, and the goals.

use std::time::Duration;

/// How long one case runs at a stretch. Long enough that a call of some nanoseconds is seen well,
/// short enough that the machine's moods fall on all cases alike.
pub const SLICE: Duration = Duration::from_millis(1);

/// How many rounds of slices are run; over so many, medians of ratios are steady within a few percent.
pub const ROUNDS: usize = 151;

/// The algorithms, through a bare picker and through a group.
pub mod pick {
    use std::time::Duration;

    /// How many members a group has; the first is what the others are compared with.
    pub const MEMBERS: [usize; 3] = [3, 100, 1000];

    /// What a pick among the most members may cost, in picks among the fewest.
    pub const RATIO_MAX: f64 = 2.0;

    /// How many targets refuse, all of them full.
    pub const FULL: [usize; 2] = [400, 1000];

    /// What a refusal by so many targets may cost, for each target: it has to look at all of them,
    /// and at no more than that.
    pub const REFUSAL_PER_TARGET_MAX: Duration = Duration::from_nanos(20);

    /// How many targets are registered one by one.
    pub const REGISTERED: usize = 1000;

    /// What registering them may cost in all.
    pub const REGISTERED_MAX: Duration = Duration::from_millis(100);

    /// What one change of a group of so many may cost; health changes come at any time.
    pub const REBUILD_MAX: Duration = Duration::from_millis(1);

    /// How often both are repeated.
    pub const REPEATS: usize = 15;
}

/// A table of rules.
pub mod rules {
    /// Which rule of the table matches.
    pub const PLACES: [usize; 3] = [1, 10, 100];

    /// What each rule before that may cost, in nanoseconds. Rules of one condition are far below; four
    /// conditions fit in. It is also about what a location with a pattern costs in nginx.
    pub const PER_RULE_MAX_NS: f64 = 100.0;
}

/// All floors over an end that answers at once, and over a connection.
pub mod stack {
    /// How many requests are counted over; allocations of a growing buffer vanish in so many.
    pub const COUNTED: u64 = 2_000;

    /// Allocations beyond those of making the request and the response.
    pub const ALLOCATIONS_MAX: u64 = 9;

    /// The same where the client has a session.
    pub const ALLOCATIONS_STICKY_MAX: u64 = 13;

    /// Allocations beyond those of the bare pool, over a connection.
    pub const ALLOCATIONS_WIRE_MAX: u64 = 5;

    /// The same where the endpoint keeps a copy of the head, to repair a stale connection.
    pub const ALLOCATIONS_WIRE_COPY_MAX: u64 = 7;
}

/// A whole proxy beside the barest one.
pub mod proxy {
    use std::time::Duration;

    /// Keep-alive connections that are busy at a time.
    pub const CONNECTIONS: [usize; 2] = [64, 1];

    /// The size of an answer's body in bytes.
    pub const ANSWER: usize = 1024;

    /// How many rounds are run, in each of which each proxy has its turn. Many short ones are
    /// steadier than few long ones where the machine has other things to do too.
    pub const ROUNDS: usize = 31;

    /// How long a turn is.
    pub const TURN: Duration = Duration::from_millis(300);

    /// How long each proxy runs before anything is measured.
    pub const WARM_UP: Duration = Duration::from_millis(500);

    /// The processor's time for each request, in that of the barest proxy.
    pub const RATIO_MAX: f64 = 1.2;
}
