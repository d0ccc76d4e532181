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

    /// The same of a GET, which may be sent once more.
    pub const ALLOCATIONS_WIRE_COPY_MAX: u64 = 7;
}

/// A whole proxy beside the barest one, and beside those that people run.
pub mod proxy {
    use std::time::Duration;

    /// The size of a small answer's body in bytes.
    pub const SMALL: usize = 1 << 10;

    /// What clients do to a proxy.
    #[derive(Clone, Copy)]
    pub struct Scenario {
        pub name: &'static str,
        /// How many connections are busy at a time.
        pub connections: usize,
        /// The size of an answer's body in bytes.
        pub down: usize,
        /// The size of a request's body in bytes.
        pub up: usize,
        /// Each request comes over a connection of its own.
        pub is_fresh: bool,
        /// What a request through the balancer may cost, in that of nginx.
        pub nginx_ratio_max: Option<f64>,
    }

    /// Small answers over kept connections, which the others differ from.
    const FIRST: Scenario = Scenario {
        name: "1 KiB, 64 connections",
        connections: 64,
        down: SMALL,
        up: 0,
        is_fresh: false,
        nginx_ratio_max: Some(NGINX_RATIO_MAX),
    };

    pub const SCENARIOS: [Scenario; 6] = [
        FIRST,
        Scenario { name: "1 KiB, 1 connection", connections: 1, ..FIRST },
        Scenario {
            name: "100 KiB",
            connections: 32,
            down: 100 << 10,
            nginx_ratio_max: None,
            ..FIRST
        },
        Scenario {
            name: "10 MiB down",
            connections: 4,
            down: 10 << 20,
            nginx_ratio_max: None,
            ..FIRST
        },
        Scenario { name: "1 MiB up", connections: 8, up: 1 << 20, nginx_ratio_max: None, ..FIRST },
        Scenario {
            name: "connection per request",
            connections: 16,
            is_fresh: true,
            nginx_ratio_max: None,
            ..FIRST
        },
    ];

    /// The processor's time for each request, in that of the barest proxy, in every scenario.
    pub const RATIO_MAX: f64 = 1.1;

    /// The same in that of nginx, for small answers over kept connections.
    pub const NGINX_RATIO_MAX: f64 = 1.25;

    /// How many clients nginx and HAProxy are to admit: many more than ever come, so that none has to wait
    /// for another. HAProxy keeps a share of them as idle connections to its targets.
    pub const ADMITTED: usize = 2_000;

    /// Idle connections that nginx keeps to the targets: as many as the balancer keeps to one.
    pub const NGINX_KEEPALIVE: usize = 64;

    /// How much is done.
    pub struct Effort {
        /// How many rounds are run, in each of which each proxy has its turn. Many short ones are
        /// steadier than few long ones where the machine has other things to do too.
        pub rounds: usize,
        /// How long a turn is.
        pub turn: Duration,
        /// How long each proxy runs before anything is measured.
        pub warm_up: Duration,
    }

    /// Two to three minutes.
    pub const WHOLE: Effort = Effort {
        rounds: 25,
        turn: Duration::from_millis(150),
        warm_up: Duration::from_millis(250),
    };

    /// Half a minute, for whoever tries something: good for a rough idea, within a fifth or so.
    pub const SHORT: Effort =
        Effort { rounds: 5, turn: Duration::from_millis(60), warm_up: Duration::from_millis(60) };

    /// Shows that the bench runs.
    pub const REHEARSAL: Effort =
        Effort { rounds: 1, turn: Duration::from_millis(10), warm_up: Duration::ZERO };

    /// How long a child may take to start, and connections to be where memory is measured.
    pub const PATIENCE: Duration = Duration::from_secs(20);
}

/// Instructions of the same proxies.
pub mod instructions {
    /// Those of a request beyond those of the barest proxy.
    pub const MAX: f64 = 5_000.0;

    /// The same where the client has a session.
    pub const STICKY_MAX: f64 = 8_000.0;

    /// How many requests are sent in a first run and in a second: what counts is the difference.
    pub const WHOLE: [usize; 2] = [500, 4_500];

    /// The same for whoever tries something.
    pub const SHORT: [usize; 2] = [50, 250];
}

/// Memory of the same proxies, alone in a process each.
pub mod memory {
    /// How many connections are measured over, if descriptors suffice.
    pub const CONNECTIONS: usize = 1_000;

    /// The same where the bench only shows that it runs.
    pub const REHEARSED: usize = 20;

    /// How many requests a proxy has had before its memory is measured: what is made for the first
    /// belongs to no connection.
    pub const REQUESTS_BEFORE: usize = 10;

    /// How many descriptors this program and its children want to be allowed.
    pub const DESCRIPTORS: usize = 4096;

    /// How many of them are in use where memory is measured, at most: connections that wait in the
    /// pools of other proxies.
    pub const DESCRIPTORS_SPARE: usize = 2048;
}
