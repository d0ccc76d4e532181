//! The known name that a misspelt one is nearest to.

use std::iter;

/// The longest name that is compared, in characters; no known one is longer.
const LENGTH_MAX: usize = 100;

/// Finds the known name that was probably meant: up to a third of it may be changed, dropped, added
/// or swapped with its neighbour, and its case does not matter.
pub(super) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let folded = |name: &str| name.to_lowercase().chars().collect::<Vec<_>>();
    let name = folded(name);
    if name.len() > LENGTH_MAX {
        return None;
    }
    let distances = known.into_iter().filter_map(|known| {
        let other = folded(known);
        let distance = distance(&name, &other);
        (distance <= other.len().div_ceil(3).min(name.len())).then_some((distance, known))
    });
    distances.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Says `, did you mean NAME?` if there is one, else nothing.
pub(super) fn did_you_mean(near: Option<&str>) -> String {
    near.map(|near| format!(", did you mean {near}?")).unwrap_or_default()
}

/// Counts the characters to change, drop, add or swap with their neighbour, by the table of
/// Damerau and Levenshtein of which three rows are kept.
fn distance(one: &[char], two: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=two.len()).collect();
    for (i, c) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut left = i + 1;
        let ways = two.iter().zip(above.iter().zip(above.iter().skip(1)));
        // What stands two to the left in the row before the last, for swaps.
        let far = iter::once(None).chain(before.iter().map(Some));
        let mut previous = None;
        for ((d, (&diagonal, &up)), far) in ways.zip(far.chain(iter::repeat(None))) {
            left = (left + 1).min(up + 1).min(diagonal + usize::from(c != d));
            let crossed = i > 0 && previous == Some(c) && one.get(i - 1) == Some(d);
            if let (true, Some(far)) = (crossed, far) {
                left = left.min(far + 1);
            }
            previous = Some(d);
            row.push(left);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_name_is_found_unless_none_is_near() {
        let known = ["Port", "Protocol", "ProtocolVersion", "HealthCheckPath", "HealthCheckPort"];
        let check = |name: &str, expected| assert_eq!(nearest(name, known), expected, "{name}");
        check("Prot", Some("Port"));
        check("port", Some("Port"));
        check("PROTOCOL", Some("Protocol"));
        check("Protocl", Some("Protocol"));
        check("ProtocolVersoin", Some("ProtocolVersion"));
        check("HealthcheckPatch", Some("HealthCheckPath"));
        check("HealthCheckPrt", Some("HealthCheckPort"));
        check("Colour", None);
        check("", None);
        check("x", None);
        check(&"Port".repeat(1000), None);
    }

    /// The same by the definition, for short names.
    fn naive(one: &[char], two: &[char]) -> usize {
        let (Some((a, one_rest)), Some((b, two_rest))) = (one.split_last(), two.split_last())
        else {
            return one.len() + two.len();
        };
        let mut best = (naive(one_rest, two) + 1).min(naive(one, two_rest) + 1);
        best = best.min(naive(one_rest, two_rest) + usize::from(a != b));
        if let (Some((c, one_rest)), Some((d, two_rest))) =
            (one_rest.split_last(), two_rest.split_last())
            && (a, c) == (d, b)
        {
            best = best.min(naive(one_rest, two_rest) + 1);
        }
        best
    }

    proptest! {
        #[test]
        fn the_distance_is_that_of_the_definition(one in "[abc]{0,6}", two in "[abc]{0,6}") {
            let (one, two): (Vec<_>, Vec<_>) = (one.chars().collect(), two.chars().collect());
            prop_assert_eq!(distance(&one, &two), naive(&one, &two));
        }
    }
}
