//! What a pick costs, and what a change of a group costs. No network.
//!
//! `cargo bench --bench pick`

mod support;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::{Duration, Instant},
};

use http::Request;
use pointsman::{
    Body, Target, TargetGroup,
    algorithm::{Algorithm, LeastOutstandingRequests, Pick, Picker, RoundRobin, Weighted},
    group::Assignment,
    head::Head,
    rng::Rng,
};

use support::{
    settings::pick as settings,
    table::{Table, Unit},
    timing::{Case, Times, case, is_rehearsal, least},
};

fn main() -> ExitCode {
    let mut table = Table::new("pick");
    for algorithm in ALGORITHMS {
        for weights in [Weights::Equal, Weights::Mixed] {
            picks(&mut table, &algorithm, weights);
        }
    }
    refusals(&mut table);
    changes(&mut table);
    table.finish()
}

/// An algorithm, and whether a pick of it should cost the same among few and many.
struct Subject {
    make: fn() -> Box<dyn Algorithm>,
    is_constant: bool,
}

const ALGORITHMS: [Subject; 2] = [
    Subject { make: || Box::new(RoundRobin::new()), is_constant: true },
    // An exact minimum takes a look at every member.
    Subject { make: || Box::new(LeastOutstandingRequests::new()), is_constant: false },
];

#[derive(Clone, Copy)]
enum Weights {
    Equal,
    Mixed,
}

impl Weights {
    /// The weight of the member at a place; mixed ones are 1 to 1000 without a common divisor.
    fn at(self, place: usize) -> u16 {
        match self {
            Self::Equal => 1,
            Self::Mixed => u16::try_from(place * 7919 % 1000).unwrap() + 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal weights",
            Self::Mixed => "mixed weights",
        }
    }
}

fn picks(table: &mut Table, subject: &Subject, weights: Weights) {
    let request = Request::new(Body::default());
    let head = Head::of(&request, None);
    let groups = settings::MEMBERS.map(|members| Group::of(subject.make, members, weights));
    let bare = groups.iter().map(|group| group.pick(&head));
    let whole = groups.iter().map(|group| {
        let group = group.handle.clone();
        case(move || group.assign(&head, None, &[]).unwrap())
    });
    let times = Times::of(bare.chain(whole).collect());
    let name = (subject.make)().name();
    for (kind, first) in [("pick", 0), ("assign", settings::MEMBERS.len())] {
        for (place, members) in settings::MEMBERS.iter().enumerate() {
            let what = format!("{kind} {name}, {}, {members} members", weights.name());
            table.say(&what, times.least(first + place), Unit::Nanoseconds);
            let what = format!("  against {} members", settings::MEMBERS[0]);
            let ratio = times.ratio(first + place, first);
            match place {
                0 => {}
                _ if subject.is_constant => {
                    table.hold(what, ratio, settings::RATIO_MAX, Unit::Times);
                }
                _ => table.say(what, ratio, Unit::Times),
            }
        }
    }
}

fn refusals(table: &mut Table) {
    let request = Request::new(Body::default());
    let head = Head::of(&request, None);
    for subject in ALGORITHMS {
        let full = settings::FULL.map(|members| Full::of(subject.make, members, &head));
        let refuse = |full: &Full| {
            let group = full.group.clone();
            case(move || group.assign(&head, None, &[]).unwrap_err())
        };
        let times = Times::of(full.iter().map(refuse).collect());
        for (place, members) in settings::FULL.into_iter().enumerate() {
            let what = format!("refusal {}, {members} full targets", (subject.make)().name());
            let goal = settings::REFUSAL_PER_TARGET_MAX.as_secs_f64() * 1e6 * members as f64;
            table.hold(what, times.least(place) / 1e3, goal, Unit::Microseconds);
        }
    }
}

fn changes(table: &mut Table) {
    let repeats = if is_rehearsal() { 1 } else { settings::REPEATS };
    let targets = targets(settings::REGISTERED, Weights::Mixed);
    let (mut registering, mut rebuilding) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        let group = TargetGroup::builder("web").build().unwrap();
        registering.push(time(|| targets.iter().for_each(|target| group.register(target.clone()))));
        // Registered as it is already, a target changes nothing, and the group is built anew.
        rebuilding.push(time(|| group.register(targets[0].clone())));
    }
    let milliseconds = |times: Vec<Duration>| least(times.iter().map(|t| t.as_secs_f64() * 1e3));
    let count = settings::REGISTERED;
    let mut hold = |what: String, times, goal: Duration| {
        table.hold(what, milliseconds(times), goal.as_secs_f64() * 1e3, Unit::Milliseconds);
    };
    hold(format!("register {count} one by one"), registering, settings::REGISTERED_MAX);
    hold(format!("rebuild with {count}"), rebuilding, settings::REBUILD_MAX);
}

fn time(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn targets(count: usize, weights: Weights) -> Vec<Target> {
    let target = |place: usize| {
        let place_of_port = u16::try_from(place).unwrap();
        let address = ([127, 0, 0, 1], 10_000 + place_of_port).into();
        Target::new(address).weight(weights.at(place)).unwrap()
    };
    (0..count).map(target).collect()
}

/// A group, and a second picker for its members.
struct Group {
    handle: TargetGroup,
    picker: Arc<dyn Picker>,
}

impl Group {
    fn of(make: fn() -> Box<dyn Algorithm>, members: usize, weights: Weights) -> Self {
        let given = Arc::default();
        let spy = Spy { algorithm: make(), given: Arc::clone(&given) };
        let handle = TargetGroup::builder("web").algorithm(spy).build().unwrap();
        handle.set_targets(targets(members, weights));
        let picker = make().prepare(&given.lock().unwrap()).into();
        Self { handle, picker }
    }

    /// Picks without a group around it.
    fn pick<'a>(&self, head: &'a Head<'a>) -> Case<'a> {
        let picker = Arc::clone(&self.picker);
        let (turn, rng) = (AtomicU64::new(0), Rng::seeded(1));
        case(move || picker.pick(&mut Pick::new(head, &|_| true, &turn, &rng)).unwrap())
    }
}

/// Tells which members an algorithm was given last; only a group makes members.
#[derive(Debug)]
struct Spy {
    algorithm: Box<dyn Algorithm>,
    given: Arc<Mutex<Vec<Weighted>>>,
}

impl Algorithm for Spy {
    fn name(&self) -> &'static str {
        self.algorithm.name()
    }

    fn prepare(&self, members: &[Weighted]) -> Box<dyn Picker> {
        *self.given.lock().unwrap() = members.to_vec();
        self.algorithm.prepare(members)
    }
}

/// A group whose targets all have as many exchanges in flight as they may.
struct Full {
    group: TargetGroup,
    _held: Vec<Assignment>,
}

impl Full {
    fn of(make: fn() -> Box<dyn Algorithm>, members: usize, head: &Head<'_>) -> Self {
        let spy = Spy { algorithm: make(), given: Arc::default() };
        let group = TargetGroup::builder("web").algorithm(spy).in_flight_max(1).build().unwrap();
        group.set_targets(targets(members, Weights::Equal));
        let held = (0..members).map(|_| group.assign(head, None, &[]).unwrap()).collect();
        Self { group, _held: held }
    }
}
