//! Making a list of steps that breaks a promise smaller, for the checks that find such lists at random.
//!
//! Must never return a list that does not fail.

/// Leaves out steps, many at first, then one by one, as long as the rest still fails. Gives up when about `effort` steps
/// have been run; what it has by then is returned.
pub(crate) fn shrink<T: Clone>(
    mut steps: Vec<T>,
    mut effort: usize,
    fails: impl Fn(&[T]) -> bool,
) -> Vec<T> {
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            let Some(left) = effort.checked_sub(fewer.len().max(1)) else { return steps };
            effort = left;
            if fails(&fewer) {
                steps = fewer;
                shorter = true;
            } else {
                at += size;
            }
        }
        // Leaving out the last step may make an earlier one superfluous.
        if size > 1 || !shorter {
            size /= 2;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_stays_and_the_rest_goes() {
        let fails = |steps: &[u32]| steps.contains(&3) && steps.contains(&97);
        assert_eq!(shrink((0..100).collect(), 100_000, fails), [3, 97]);
        let early = shrink((0..100).collect(), 300, fails);
        assert!(fails(&early) && early.len() < 100, "{early:?}");
        assert_eq!(shrink(vec![5], 100, |_| true), [5]);
    }
}
