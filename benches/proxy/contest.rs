//! The processor's time for a request: in each scenario the proxies take turns, and what counts of
//! ratios is the median over the rounds, so that the machine's moods fall on all alike.

use tokio::runtime::Runtime;

use crate::{
    backend::path_of,
    client::{Ask, Load, Until},
    contestant::Contestant,
    ours::Ours,
    rivals::Rival,
    support::{
        settings::proxy::{self as settings, Effort, Scenario},
        table::{Table, Unit},
        timing::median,
    },
};

/// Runs one scenario; all are compared with the first and with nginx.
pub fn run(
    table: &mut Table,
    runtime: &Runtime,
    effort: &Effort,
    contestants: &[Contestant],
    scenario: &Scenario,
) {
    let times = measure(runtime, effort, contestants, scenario);
    let place_of = |name| contestants.iter().position(|contestant| contestant.name == name);
    let nginx = place_of(Rival::Nginx.name());
    for (place, contestant) in contestants.iter().enumerate() {
        let is_ours = Ours::COMPARED.iter().any(|ours| ours.name() == contestant.name);
        let what = format!("{}: {}", scenario.name, contestant.name);
        table.say(what, median(times[place].iter().copied()), Unit::Microseconds);
        let ratio_to = |other: usize| {
            median(times[place].iter().zip(&times[other]).map(|(time, other)| time / other))
        };
        let mut tell = |other: usize, goal: Option<f64>| {
            let what = format!("  in that of {}", contestants[other].name);
            match goal {
                Some(goal) => table.hold(what, ratio_to(other), goal, Unit::Times),
                None => table.say(what, ratio_to(other), Unit::Times),
            }
        };
        if place != 0 {
            tell(0, is_ours.then_some(settings::RATIO_MAX));
        }
        if let Some(nginx) = nginx.filter(|nginx| *nginx != place) {
            // nginx keeps no sessions as sticky does, so it is no measure for that.
            let is_balancer = contestant.name == Ours::Balancer.name();
            tell(nginx, scenario.nginx_ratio_max.filter(|_| is_balancer));
        }
    }
}

/// Returns for each proxy what a request cost in each round, in microseconds.
fn measure(
    runtime: &Runtime,
    effort: &Effort,
    contestants: &[Contestant],
    scenario: &Scenario,
) -> Vec<Vec<f64>> {
    let &Scenario { connections, down, up, is_fresh, .. } = scenario;
    let method = if up > 0 { "POST" } else { "GET" };
    let ask = Ask { method, path: path_of(down), up, down, is_fresh };
    let mut loads = contestants.iter().map(|one| one.load(connections)).collect::<Vec<_>>();
    let run = |load: &mut Load, time| runtime.block_on(load.run(&ask, Until::Passed(time)));
    for load in &mut loads {
        run(load, effort.warm_up);
    }
    let mut times = vec![Vec::with_capacity(effort.rounds); contestants.len()];
    for round in 0..effort.rounds {
        // Not always the same one first: what it leaves in the caches helps or hinders the next.
        for place in (0..contestants.len()).map(|place| (place + round) % contestants.len()) {
            let before = contestants[place].processor.time();
            let requests = run(&mut loads[place], effort.turn);
            let spent = contestants[place].processor.time() - before;
            times[place].push(spent.as_secs_f64() * 1e6 / requests as f64);
        }
    }
    times
}
