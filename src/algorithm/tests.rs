//! Laws for every algorithm, and what each of them promises beside.

use std::{cell::RefCell, sync::atomic::AtomicU64};

use http::Request;
use proptest::prelude::*;

use super::*;
use crate::{
    endpoint::{Address, Endpoint, Transport},
    health::Health,
    id::TargetId,
    lease::{Lease, Load},
    rng::Rng,
};

/// All algorithms that come with the crate, for the laws that each must keep.
static ALL: [&dyn Algorithm; 2] = [&RoundRobin::new(), &LeastOutstandingRequests::new()];

/// A prepared set of members, the counter of its turns and its random numbers.
struct Set {
    members: Vec<Weighted>,
    picker: Box<dyn Picker>,
    turn: AtomicU64,
    rng: Rng,
}

impl Set {
    fn new(algorithm: &dyn Algorithm, weights: &[u16]) -> Self {
        let members: Vec<_> = weights.iter().enumerate().map(member).collect();
        let picker = algorithm.prepare(&members);
        Self { members, picker, turn: AtomicU64::new(0), rng: Rng::seeded(1) }
    }

    /// Picks once, and returns also at whom was looked.
    fn pick_and_looks(&self, may: impl Fn(usize) -> bool) -> (Option<usize>, Vec<usize>) {
        let request = Request::new(());
        let head = Head::of(&request, None);
        let looks = RefCell::new(Vec::new());
        let may = |i| {
            looks.borrow_mut().push(i);
            may(i)
        };
        let picked = self.picker.pick(&mut Pick::new(&head, &may, &self.turn, &self.rng));
        (picked, looks.into_inner())
    }

    fn pick(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        self.pick_and_looks(may).0
    }

    /// Counts who gets how many of so many picks.
    fn counts(&self, picks: usize, may: impl Fn(usize) -> bool) -> Vec<u64> {
        let mut counts = vec![0; self.members.len()];
        for _ in 0..picks {
            counts[self.pick(&may).unwrap()] += 1;
        }
        counts
    }

    fn sequence(&self, picks: usize) -> Vec<usize> {
        (0..picks).map(|_| self.pick(|_| true).unwrap()).collect()
    }

    /// Puts so many exchanges in flight at a member.
    fn load(&self, i: usize, in_flight: u32) -> Vec<Lease> {
        (0..in_flight).map(|_| self.members[i].member.load().begin(None).unwrap()).collect()
    }
}

fn member((i, &weight): (usize, &u16)) -> Weighted {
    let load = Arc::new(Load::default());
    let address = Address::Socket(([127, 0, 0, 1], 1).into());
    let endpoint = Endpoint::new(address, Transport::default(), Arc::clone(&load));
    let health = Arc::new(Health::unchecked());
    let member = Member::new(TargetId::from(i.to_string()), load, health, Arc::new(endpoint));
    Weighted::new(Arc::new(member), NonZeroU16::new(weight).unwrap())
}

/// Weights of every kind of schedule: equal, a table, the longest table, too long for one.
fn kinds_of_weights() -> Vec<Vec<u16>> {
    let mixed = |members: u16| (0..members).map(|i| 1 + (i * 379) % 1000).collect::<Vec<_>>();
    let canary = |others| [vec![1000; others], vec![1]].concat();
    vec![
        vec![1],
        vec![700],
        vec![3, 3],
        vec![1; 10],
        vec![5, 1, 1],
        vec![1, 1000],
        vec![91, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        mixed(16),
        mixed(22),
        mixed(60),
        canary(10),
        canary(40),
        [vec![17; 100], vec![1000]].concat(),
    ]
}

/// Checks counts against shares. The sum of squares is distributed as χ² if picks are drawn, with
/// mean n and variance 2n for n degrees of freedom; the bound is six deviations off. Picks are the
/// same in each run, so it is either always kept or never.
#[track_caller]
fn check_shares(what: &str, counts: &[u64], shares: &[u16]) {
    let picks: u64 = counts.iter().sum();
    let all: f64 = shares.iter().map(|&share| f64::from(share)).sum();
    let squares: f64 = counts
        .iter()
        .zip(shares)
        .filter(|&(_, &share)| share > 0)
        .map(|(&count, &share)| {
            let expected = picks as f64 * f64::from(share) / all;
            (count as f64 - expected).powi(2) / expected
        })
        .sum();
    let freedom = counts.len().max(2) as f64 - 1.0;
    let bound = freedom + 6.0 * (2.0 * freedom).sqrt();
    assert!(squares < bound, "{what}: χ² {squares} of {bound}: {counts:?} for {shares:?}");
}

#[test]
fn every_algorithm_spreads_by_weight() {
    for algorithm in ALL {
        for weights in kinds_of_weights() {
            let counts = Set::new(algorithm, &weights).counts(100_000, |_| true);
            check_shares(algorithm.name(), &counts, &weights);
        }
    }
}

#[test]
fn every_algorithm_spreads_by_weight_what_one_target_refuses() {
    for algorithm in ALL {
        for mut weights in kinds_of_weights() {
            if weights.len() < 2 {
                continue;
            }
            for refusing in [0, weights.len() / 2, weights.len() - 1] {
                let set = Set::new(algorithm, &weights);
                let counts = set.counts(20_000, |i| i != refusing);
                assert_eq!(counts[refusing], 0);
                let weight = std::mem::take(&mut weights[refusing]);
                check_shares(algorithm.name(), &counts, &weights);
                weights[refusing] = weight;
            }
        }
    }
}

#[test]
fn every_algorithm_picks_the_same_again_from_the_same_turn_and_seed() {
    for algorithm in ALL {
        for weights in kinds_of_weights() {
            let picks = || {
                let set = Set::new(algorithm, &weights);
                let may = |turn: usize| move |i: usize| !(turn + i).is_multiple_of(3);
                (0..1000).map(|turn| set.pick(may(turn))).collect::<Vec<_>>()
            };
            assert_eq!(picks(), picks(), "{}: {weights:?}", algorithm.name());
        }
    }
}

#[test]
fn every_algorithm_takes_one_turn_a_pick() {
    for algorithm in ALL {
        for weights in kinds_of_weights() {
            let set = Set::new(algorithm, &weights);
            set.pick(|_| true);
            set.pick(|_| false);
            assert_eq!(set.turn.load(Ordering::Relaxed), 2, "{}", algorithm.name());
        }
    }
}

#[test]
fn of_no_members_none_is_picked() {
    for algorithm in ALL {
        assert_eq!(Set::new(algorithm, &[]).pick(|_| true), None, "{}", algorithm.name());
    }
}

proptest! {
    #[test]
    fn no_algorithm_picks_the_unpickable_or_looks_twice(
        members in prop::collection::vec((1u16..=1000, any::<bool>(), 0u32..4), 1..40),
        turn: u64,
    ) {
        let weights: Vec<_> = members.iter().map(|member| member.0).collect();
        for algorithm in ALL {
            let set = Set::new(algorithm, &weights);
            set.turn.store(turn, Ordering::Relaxed);
            let _held: Vec<_> =
                members.iter().enumerate().map(|(i, member)| set.load(i, member.2)).collect();
            for _ in 0..50 {
                let (picked, mut looks) = set.pick_and_looks(|i| members[i].1);
                match picked {
                    Some(i) => prop_assert!(members[i].1),
                    None => prop_assert!(members.iter().all(|member| !member.1)),
                }
                let looked = looks.len();
                looks.sort_unstable();
                looks.dedup();
                prop_assert_eq!(looked, looks.len(), "{} looked twice", algorithm.name());
            }
        }
    }
}

/// nginx's `ngx_http_upstream_get_peer`, word for word, with peers that never fail.
struct Nginx {
    weights: Vec<i64>,
    effective_weights: Vec<i64>,
    current_weights: Vec<i64>,
}

impl Nginx {
    fn new(weights: &[u16]) -> Self {
        let weights: Vec<_> = weights.iter().map(|&weight| i64::from(weight)).collect();
        let current_weights = vec![0; weights.len()];
        Self { effective_weights: weights.clone(), weights, current_weights }
    }

    fn get_peer(&mut self) -> usize {
        let (mut best, mut total) = (None, 0);
        for i in 0..self.weights.len() {
            self.current_weights[i] += self.effective_weights[i];
            total += self.effective_weights[i];
            if self.effective_weights[i] < self.weights[i] {
                self.effective_weights[i] += 1;
            }
            if best.is_none_or(|best: usize| self.current_weights[i] > self.current_weights[best]) {
                best = Some(i);
            }
        }
        self.current_weights[best.unwrap()] -= total;
        best.unwrap()
    }
}

#[test]
fn round_robin_gives_the_sequence_of_nginx() {
    let check = |weights: &[u16], expected: &str| {
        let picks = Set::new(&RoundRobin::new(), weights).sequence(expected.len());
        let names: String = picks.into_iter().map(|i| char::from(b'a' + i as u8)).collect();
        assert_eq!(names, expected, "{weights:?}");
    };
    check(&[5, 1, 1], "aabacaaaabacaa");
    check(&[1, 1, 1], "abcabc");
    check(&[10, 5], "abaaba");
    check(&[500, 100, 100], "aabacaa");
    check(&[1, 2, 3, 4], "dcbdacdbcd");
    check(&[7], "aaa");
}

#[test]
fn round_robin_is_nginx_for_many_targets_whose_weights_have_a_common_divisor() {
    let weights: Vec<_> = (0..200).map(|i| if i % 3 == 0 { 1000 } else { 500 }).collect();
    let mut nginx = Nginx::new(&weights);
    let picks = Set::new(&RoundRobin::new(), &weights).sequence(600);
    assert_eq!(picks, (0..600).map(|_| nginx.get_peer()).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_robin_is_nginx_for_any_weights_of_sixteen_targets(
        weights in prop::collection::vec(1u16..=1000, 1..=16),
        factor in 1u16..=60,
        few in any::<bool>(),
    ) {
        // Also weights with a common divisor, whose cycle is short enough to be gone through twice.
        let weights: Vec<_> =
            weights.into_iter().map(|w| if few { (1 + w % 16) * factor } else { w }).collect();
        let mut nginx = Nginx::new(&weights);
        let picks = Set::new(&RoundRobin::new(), &weights).sequence(3000);
        prop_assert_eq!(picks, (0..3000).map(|_| nginx.get_peer()).collect::<Vec<_>>());
    }

    #[test]
    fn round_robin_is_even_at_every_moment(
        weights in prop::collection::vec(1u16..=1000, 1..100),
        turn: u64,
    ) {
        let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        let set = Set::new(&RoundRobin::new(), &weights);
        set.turn.store(turn, Ordering::Relaxed);
        let mut counts = vec![0.0; weights.len()];
        for picks in 1..=2000 {
            counts[set.pick(|_| true).unwrap()] += 1.0;
            for (count, &weight) in counts.iter().zip(&weights) {
                let due: f64 = f64::from(picks) * f64::from(weight) / sum;
                prop_assert!((count - due).abs() < 8.0, "{count} of {due} after {picks}");
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_too_long_for_a_table_is_a_walk_in_golden_steps(
        weights in prop::collection::vec(prop_oneof![1..=1000_u16, Just(1), Just(1000)], 40..400),
        turns in prop::collection::vec(any::<u64>(), 100),
    ) {
        let members = weights.iter().enumerate().map(member).collect::<Vec<_>>();
        let schedule = schedule::Schedule::new(&members);
        prop_assume!(schedule.period().is_none());
        let sum = weights.iter().map(|&weight| u128::from(weight)).sum::<u128>();
        for turn in turns {
            let golden = u128::from(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut ahead = (golden * sum) >> 64;
            let owner = weights.iter().position(|&weight| {
                let is_his = ahead < u128::from(weight);
                ahead = ahead.wrapping_sub(u128::from(weight));
                is_his
            });
            prop_assert_eq!(schedule.at(turn), owner);
        }
    }
}

#[test]
fn a_seed_is_so_many_turns_taken_already() {
    for weights in kinds_of_weights() {
        let all = Set::new(&RoundRobin::new(), &weights).sequence(200);
        for seed in [1, 3, 100] {
            let picks = Set::new(&RoundRobin::new().seed(seed as u64), &weights).sequence(100);
            assert_eq!(picks, all[seed..seed + 100], "{weights:?} from {seed}");
        }
    }
}

#[test]
fn the_greatest_seed_does_not_break_the_cycle() {
    let picks = Set::new(&RoundRobin::new().seed(u64::MAX - 1), &[1, 1, 1]).sequence(6);
    // 2^64 - 2 is 2 modulo 3.
    assert_eq!(picks, [2, 0, 1, 2, 0, 1]);
}

#[test]
fn what_a_full_target_refuses_does_not_fall_on_its_neighbour() {
    let set = Set::new(&RoundRobin::new(), &[1; 10]);
    let counts = set.counts(100_000, |i| i != 4);
    // Nine targets get 11,111 each; the neighbour alone would get 20,000.
    assert!(counts.iter().enumerate().all(|(i, count)| i == 4 || (10_500..12_000).contains(count)));
}

proptest! {
    #[test]
    fn least_outstanding_requests_picks_a_least_one(
        members in prop::collection::vec((1u16..=10, any::<bool>(), 0u32..20), 1..30),
        turn in 0u64..1000,
    ) {
        let weights: Vec<_> = members.iter().map(|member| member.0).collect();
        let set = Set::new(&LeastOutstandingRequests::new(), &weights);
        set.turn.store(turn, Ordering::Relaxed);
        let _held: Vec<_> =
            members.iter().enumerate().map(|(i, member)| set.load(i, member.2)).collect();
        // 2520 is divided by every number up to ten, so that no quotient is rounded.
        let load_of = |&(weight, _, in_flight): &(u16, bool, u32)| 2520 / u32::from(weight) * in_flight;
        let least = members.iter().filter(|member| member.1).map(load_of).min();
        let picked = set.pick(|i| members[i].1);
        prop_assert_eq!(picked.map(|i| load_of(&members[i])), least);
    }
}

#[test]
fn an_idle_group_is_served_by_least_outstanding_in_the_order_of_round_robin() {
    for weights in kinds_of_weights() {
        let ours = Set::new(&LeastOutstandingRequests::new(), &weights).sequence(300);
        let turns = Set::new(&RoundRobin::new(), &weights).sequence(300);
        assert_eq!(ours, turns, "{weights:?}");
    }
}

#[test]
fn ties_are_settled_by_weight_among_the_tied() {
    for weights in kinds_of_weights().into_iter().filter(|weights| weights.len() > 4) {
        let set = Set::new(&LeastOutstandingRequests::new(), &weights);
        // The first, the heaviest of some sets, and every third after it are busy, thus not tied.
        let busy = |i: usize| i.is_multiple_of(3);
        let _held: Vec<_> =
            (0..weights.len()).filter(|&i| busy(i)).map(|i| set.load(i, 1)).collect();
        let tied: Vec<_> =
            weights.iter().enumerate().map(|(i, &w)| if busy(i) { 0 } else { w }).collect();
        check_shares("ties", &set.counts(30_000, |_| true), &tied);
    }
}

#[test]
fn least_outstanding_requests_fills_in_proportion_to_the_weights() {
    let set = Set::new(&LeastOutstandingRequests::new(), &[4, 2, 1]);
    let mut held = Vec::new();
    for _ in 0..70 {
        held.extend(set.load(set.pick(|_| true).unwrap(), 1));
    }
    let in_flight: Vec<_> =
        set.members.iter().map(|member| member.member.load().in_flight()).collect();
    assert_eq!(in_flight, [40, 20, 10]);
}
