//! Makes a plan that shows a difference as small as can be in bounded time.

use super::op::Phase;
use anyhow::Result;

/// How many plans are tried.
const TRIES: usize = 400;

/// Drops parts of a plan for as long as `differs` holds of what is left. It must hold of `plan`.
pub(super) fn minimise(
    plan: Vec<Phase>,
    mut differs: impl FnMut(&[Phase]) -> Result<bool>,
) -> Result<Vec<Phase>> {
    let mut plan = plan;
    let mut size = plan.len().div_ceil(2);
    let mut tries = 0;
    while size > 0 {
        let mut at = 0;
        let before = plan.len();
        while at < plan.len() && tries < TRIES {
            let mut less = plan.clone();
            less.drain(at..(at + size).min(plan.len()));
            tries += 1;
            if differs(&less)? {
                plan = less;
            } else {
                at += size;
            }
        }
        // Single ones go until none can.
        size = if size == 1 && plan.len() < before && tries < TRIES {
            1
        } else {
            size / 2
        };
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::plan::{Aim, plan};

    #[test]
    fn what_does_not_matter_goes() {
        let whole = plan(3, 100, Aim::Beside);
        let (first, second) = (whole[8].clone(), whole[whole.len() - 9].clone());
        let differs = |plan: &[Phase]| {
            let place = |wanted: &Phase| plan.iter().rposition(|phase| phase == wanted);
            Ok(place(&second) > place(&first) && place(&first).is_some())
        };
        let least = minimise(whole, differs).expect("minimised");
        assert_eq!(least, [first, second]);
    }
}
