//! All orders of six inputs, each watched for what must always hold.

use crate::fuzz::FixWatched;

#[test]
fn every_order_of_six_inputs_holds() {
    let mut runs = 0;
    every_run(&FixWatched::new(true), 6, &mut runs);
    assert!(runs > 15_000, "{runs}");
}

#[test]
fn every_order_of_five_inputs_of_a_trader_holds() {
    let mut runs = 0;
    every_run(&FixWatched::new(false), 5, &mut runs);
    assert!(runs > 1_000, "{runs}");
}

#[test]
fn every_order_of_four_inputs_from_a_session_that_is_live_holds() {
    let mut at = FixWatched::new(true);
    at.log_on();
    let mut runs = 0;
    every_run(&at, 4, &mut runs);
    assert!(runs > 20_000, "{runs}");
}

fn every_run(at: &FixWatched, more: usize, runs: &mut u64) {
    if more == 0 || at.is_over() {
        *runs += 1;
        return;
    }
    for input in at.inputs() {
        let mut next = at.clone();
        next.feed(&input);
        every_run(&next, more - 1, runs);
    }
}
