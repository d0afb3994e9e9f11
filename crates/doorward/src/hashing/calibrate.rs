//! Picks Argon2id parameters by what this machine takes for them.

use std::time::{Duration, Instant};

use argon2::Block;

use super::phc::HashParams;
use super::pool::argon2id;
use crate::fault::Fault;

/// What is tried, from the floor upwards.
const LADDER: [HashParams; 6] = [
    HashParams::FLOOR,
    HashParams::unchecked(19_456, 3, 1),
    HashParams::unchecked(32_768, 2, 1),
    HashParams::unchecked(47_104, 2, 1),
    HashParams::unchecked(65_536, 2, 1),
    HashParams::OFFERED_MAX,
];

/// Longest that [`calibrate`] measures before it takes what it has.
const BUDGET: Duration = Duration::from_secs(2);

/// The strongest parameters whose hash takes at most `target` on this machine, and what it took. Never below the
/// floor, however long that takes.
pub fn calibrate(target: Duration) -> Result<(HashParams, Duration), Fault> {
    let begun = Instant::now();
    let mut blocks = Vec::new();
    choose(target, |params| {
        let mut best: Option<Duration> = None;
        for _ in 0..3 {
            if best.is_some() && begun.elapsed() > BUDGET {
                break;
            }
            let took = measure(&mut blocks, params)?;
            best = Some(best.map_or(took, |best| best.min(took)));
        }
        // Past the budget nothing stronger is tried: it counts as too slow.
        Ok(if begun.elapsed() > BUDGET { Duration::MAX } else { best.unwrap_or(Duration::MAX) })
    })
}

/// The same with the measurement as an argument.
pub fn choose(
    target: Duration,
    mut measure: impl FnMut(HashParams) -> Result<Duration, Fault>,
) -> Result<(HashParams, Duration), Fault> {
    let mut best = (HashParams::FLOOR, measure(HashParams::FLOOR)?);
    for params in LADDER.into_iter().skip(1) {
        if best.1 >= target {
            break;
        }
        let took = measure(params)?;
        if took > target {
            break;
        }
        best = (params, took);
    }
    Ok(best)
}

fn measure(blocks: &mut Vec<Block>, params: HashParams) -> Result<Duration, Fault> {
    // The first hash in new memory also pays for its pages.
    blocks.resize(params.m_kib() as usize, Block::new());
    let begun = Instant::now();
    argon2id(blocks, params, b"a password to measure", &[7; 16])?;
    Ok(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms_per_gib_pass: u64) -> (HashParams, Vec<HashParams>) {
        let mut tried = Vec::new();
        let (chosen, _) = choose(Duration::from_millis(50), |params| {
            tried.push(params);
            let kib_passes = u64::from(params.m_kib()) * u64::from(params.t());
            Ok(Duration::from_micros(kib_passes * ms_per_gib_pass * 1_000 / (1 << 20)))
        })
        .unwrap();
        (chosen, tried)
    }

    #[test]
    fn p7_calibration_goes_up_from_the_floor_as_far_as_the_target_allows() {
        assert_eq!(at(100), (HashParams::OFFERED_MAX, LADDER.to_vec()));
        assert_eq!(at(1_000).0, HashParams::unchecked(19_456, 2, 1));
        assert_eq!(at(600).0, HashParams::unchecked(32_768, 2, 1));
        assert_eq!(
            at(10_000),
            (HashParams::FLOOR, vec![HashParams::FLOOR]),
            "a slow machine stays at the floor"
        );
    }

    #[test]
    fn p7_no_step_is_below_the_floor_and_each_is_stronger() {
        for step in LADDER {
            assert_eq!(HashParams::new(step.m_kib(), step.t(), step.p()), Ok(step));
        }
        for pair in LADDER.windows(2) {
            assert!(pair[0].is_weaker_than(pair[1]) && !pair[1].is_weaker_than(pair[0]), "{pair:?}");
        }
    }

    #[test]
    fn p7_no_target_is_short_enough_to_go_below_the_floor() {
        assert_eq!(calibrate(Duration::ZERO).unwrap().0, HashParams::FLOOR);
    }
}
