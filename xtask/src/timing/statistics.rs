//! Whether two samples of times can be told apart, and by how much they differ.

/// From where on a difference counts: what dudect (Reparaz, Balasch and Verbauwhede, 2017) takes for Welch's t.
pub(super) const APART: f64 = 4.5;
/// Shares of all times, the shortest first, that are looked at by themselves: what disturbs a machine makes times
/// longer, and hides small differences.
const CROPS: [f64; 5] = [1.0, 0.99, 0.9, 0.75, 0.5];
const RESAMPLES: usize = 2_000;

/// A sample in order.
#[derive(Clone, Debug)]
pub(super) struct Sample(Vec<f64>);

impl Sample {
    pub(super) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The same with something added to each.
    pub(super) fn later(&self, by: f64) -> Self {
        Self(self.0.iter().map(|value| value + by).collect())
    }

    pub(super) fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = (share * last as f64).round() as usize;
        self.0.get(at.min(last)).copied().unwrap_or(f64::NAN)
    }

    /// How many are at most so long.
    fn up_to(&self, most: f64) -> usize {
        self.0.partition_point(|value| *value <= most)
    }
}

/// What was found of two samples; times are in the unit of the samples, and the other less the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    /// Difference of the medians.
    pub(super) shift: f64,
    /// In which 95 of 100 bootstrapped differences lie.
    pub(super) between: (f64, f64),
    /// Differences of the tenth, ninetieth of the hundred.
    pub(super) low: f64,
    pub(super) high: f64,
    /// The largest of Welch's t over the crops, with its sign.
    pub(super) t: f64,
    /// Mann and Whitney's U, as a normal deviate.
    pub(super) z: f64,
}

impl Judged {
    pub(super) fn of(first: &Sample, other: &Sample) -> Self {
        let differ = |share| other.quantile(share) - first.quantile(share);
        Self {
            shift: differ(0.5),
            between: bootstrapped(first, other),
            low: differ(0.1),
            high: differ(0.9),
            t: largest_t(first, other),
            z: mann_whitney(first, other),
        }
    }

    pub(super) fn is_apart(&self) -> bool {
        self.t.abs() >= APART || self.z.abs() >= APART
    }
}

/// Welch's t of what is not longer than a share of all times, where it is largest.
fn largest_t(first: &Sample, other: &Sample) -> f64 {
    let all = Sample::new(first.0.iter().chain(&other.0).copied().collect());
    let of = |crop: &f64| {
        let most = all.quantile(*crop);
        welch(&first.0[..first.up_to(most)], &other.0[..other.up_to(most)])
    };
    CROPS.iter().map(of).fold(0.0, |largest: f64, t| if t.abs() > largest.abs() { t } else { largest })
}

fn welch(first: &[f64], other: &[f64]) -> f64 {
    let ((mean_first, error_first), (mean_other, error_other)) = (moments(first), moments(other));
    let error = (error_first + error_other).sqrt();
    if error > 0.0 { (mean_other - mean_first) / error } else { 0.0 }
}

/// The mean, and the square of its error.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    if values.len() < 2 {
        return (0.0, 0.0);
    }
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (count - 1.0) / count)
}

/// U of two samples as a normal deviate, with equal values in the middle of their ranks.
fn mann_whitney(first: &Sample, other: &Sample) -> f64 {
    let (m, n) = (first.0.len() as f64, other.0.len() as f64);
    let (mut at_first, mut at_other) = (0, 0);
    let (mut rank, mut rank_sum, mut ties) = (0.0, 0.0, 0.0);
    while at_first < first.0.len() || at_other < other.0.len() {
        let next = |values: &[f64], at: usize| values.get(at).copied().unwrap_or(f64::INFINITY);
        let value = next(&first.0, at_first).min(next(&other.0, at_other));
        let (begin_first, begin_other) = (at_first, at_other);
        at_first += first.0[at_first..].partition_point(|one| *one <= value);
        at_other += other.0[at_other..].partition_point(|one| *one <= value);
        let (equal_other, equal) =
            ((at_other - begin_other) as f64, (at_first - begin_first + at_other - begin_other) as f64);
        rank_sum += equal_other * (rank + (equal + 1.0) / 2.0);
        ties += equal.powi(3) - equal;
        rank += equal;
    }
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let all = m + n;
    let variance = m * n / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)).max(1.0));
    if variance > 0.0 { (u - m * n / 2.0) / variance.sqrt() } else { 0.0 }
}

/// The middle 95 of 100 differences of medians of samples that are drawn from these. Which value is the median of such
/// a sample is a rank near the middle, with a normal deviation: it need not be drawn whole.
fn bootstrapped(first: &Sample, other: &Sample) -> (f64, f64) {
    let mut chance = 0x2545_F491_4F6C_DD1D_u64;
    let mut normal = || {
        // The sum of twelve even numbers from 0 to 1 is normal enough.
        let sum: f64 = (0..12)
            .map(|_| {
                chance ^= chance >> 12;
                chance ^= chance << 25;
                chance ^= chance >> 27;
                (chance >> 11) as f64 / (1_u64 << 53) as f64
            })
            .sum();
        sum - 6.0
    };
    let mut median = |sample: &Sample| {
        let count = sample.0.len() as f64;
        sample.quantile((0.5 + normal() * 0.5 / count.sqrt()).clamp(0.0, 1.0))
    };
    let drawn = Sample::new((0..RESAMPLES).map(|_| median(other) - median(first)).collect());
    (drawn.quantile(0.025), drawn.quantile(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Normal values by chance that is always the same.
    fn sample(seed: u64, count: usize, mean: f64, deviation: f64) -> Sample {
        let mut chance = seed;
        let mut even = || {
            chance ^= chance >> 12;
            chance ^= chance << 25;
            chance ^= chance >> 27;
            (chance.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
        };
        let values = (0..count).map(|_| mean + deviation * ((0..12).map(|_| even()).sum::<f64>() - 6.0));
        Sample::new(values.collect())
    }

    #[test]
    fn samples_of_one_source_are_not_told_apart() {
        for seed in 1..=20 {
            let (first, other) = (sample(seed, 5_000, 100.0, 10.0), sample(seed + 100, 5_000, 100.0, 10.0));
            let judged = Judged::of(&first, &other);
            assert!(!judged.is_apart(), "{seed}: {judged:?}");
        }
    }

    #[test]
    fn a_small_shift_is_found_with_its_size() {
        let (first, other) = (sample(1, 20_000, 100.0, 10.0), sample(2, 20_000, 101.0, 10.0));
        let judged = Judged::of(&first, &other);
        assert!(judged.is_apart() && judged.t > APART && judged.z > APART, "{judged:?}");
        assert!(judged.between.0 < 1.0 && 1.0 < judged.between.1, "{judged:?}");
        assert!(judged.between.1 - judged.between.0 < 1.0, "{judged:?}");
        assert!(Judged::of(&other, &first).t < -APART);
    }

    #[test]
    fn a_shift_is_found_under_disturbances_that_are_much_larger() {
        let disturbed = |seed, mean| {
            let mut values = sample(seed, 20_000, mean, 2.0).0;
            // One in a hundred takes up to a thousand times as long.
            for (at, value) in values.iter_mut().step_by(100).enumerate() {
                *value *= 1.0 + (at * 7 % 1_000) as f64;
            }
            Sample::new(values)
        };
        assert!(Judged::of(&disturbed(1, 100.0), &disturbed(2, 100.5)).is_apart());
        assert!(!Judged::of(&disturbed(1, 100.0), &disturbed(2, 100.0)).is_apart());
    }

    #[test]
    fn another_spread_is_found_though_the_medians_are_alike() {
        let (first, other) = (sample(1, 20_000, 100.0, 10.0), sample(2, 20_000, 100.0, 20.0));
        assert!(Judged::of(&first, &other).is_apart());
    }

    #[test]
    fn equal_values_share_their_ranks() {
        let of = |values: &[f64]| Sample::new(values.to_vec());
        assert_eq!(mann_whitney(&of(&[1.0, 1.0, 2.0]), &of(&[1.0, 1.0, 2.0])), 0.0);
        assert_eq!(mann_whitney(&of(&[5.0; 10]), &of(&[5.0; 10])), 0.0);
        // U = 9 of 9, whose deviate is 4.5 / sqrt(9 * 7 / 12).
        let deviate = mann_whitney(&of(&[1.0, 2.0, 3.0]), &of(&[4.0, 5.0, 6.0]));
        assert!((deviate - 4.5 / (9.0_f64 * 7.0 / 12.0).sqrt()).abs() < 1e-9, "{deviate}");
    }

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let sample = Sample::new(vec![3.0, 1.0, 2.0]);
        assert_eq!([0.0, 0.5, 1.0].map(|share| sample.quantile(share)), [1.0, 2.0, 3.0]);
        assert_eq!(sample.later(1.5).quantile(0.0), 2.5);
        assert!(Sample::new(Vec::new()).quantile(0.5).is_nan());
    }
}
