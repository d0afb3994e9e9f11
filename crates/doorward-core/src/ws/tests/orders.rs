//! All orders of short runs of inputs, each watched for what must always hold.

use crate::fuzz::{Input, MESSAGES, VERDICTS, Watched};

/// The inputs that are tried next: messages, garbage, the machine's deadline, a stop, and while the gate is deciding
/// every verdict that can be its answer; towards the end also verdicts that cannot, and late ones.
fn inputs(at: &Watched, more: usize) -> Vec<Input> {
    let mut inputs: Vec<Input> = (0..=6).map(Input::Message).collect();
    inputs.extend([Input::Raw(b"{".to_vec()), Input::Deadline, Input::Stop]);
    inputs.extend((0..VERDICTS).filter(|kind| at.fits(*kind)).map(Input::Verdict));
    if more <= 2 {
        let misfit = (0..VERDICTS).find(|kind| !at.fits(*kind));
        inputs.extend(misfit.map(Input::Verdict).into_iter().chain([Input::Stale(1)]));
    }
    inputs
}

fn play(run: &[Input]) -> Watched {
    let mut watched = Watched::new();
    for input in run {
        watched.feed(input);
    }
    watched
}

/// Plays every run of so many more inputs; how many there were.
fn every_run(at: &Watched, more: usize) -> u64 {
    if more == 0 {
        return 1;
    }
    let after = |input: &Input, more| {
        let mut next = at.clone();
        next.feed(input);
        every_run(&next, more)
    };
    if at.is_over() {
        let late = [Input::Message(1), Input::Message(7), Input::Verdict(1), Input::Deadline, Input::Lost];
        return late.iter().map(|input| after(input, 0)).sum();
    }
    inputs(at, more).iter().map(|input| after(input, more - 1)).sum()
}

const CHALLENGE: Input = Input::Message(0);
const LOGIN: Input = Input::Message(1);

#[test]
fn every_run_of_five_inputs_from_a_new_connection_holds() {
    assert!(every_run(&Watched::new(), 5) > 20_000);
}

#[test]
fn every_run_of_four_inputs_from_every_other_state_holds() {
    for verdict in [1, 2, 3, 4] {
        let at = play(&[CHALLENGE, Input::Verdict(0), LOGIN, Input::Verdict(verdict)]);
        assert!(every_run(&at, 4) > 2_000, "after verdict {verdict}");
    }
    for held in [1, 4] {
        let mut run = vec![CHALLENGE, Input::Verdict(0), CHALLENGE];
        run.extend(std::iter::repeat_n(LOGIN, held));
        assert!(every_run(&play(&run), 4) > 2_000, "with {held} messages held");
    }
}

#[test]
fn every_verdict_to_every_ask_leaves_the_machine_in_order() {
    let asks: [&[Input]; 4] = [
        &[CHALLENGE],
        &[CHALLENGE, Input::Verdict(0), LOGIN],
        &[CHALLENGE, Input::Verdict(0), LOGIN, Input::Verdict(3), Input::Message(3)],
        &[CHALLENGE, Input::Verdict(0), LOGIN, Input::Verdict(2), Input::Message(4)],
    ];
    for (ask, kind) in asks.iter().flat_map(|ask| (0..VERDICTS).map(move |kind| (ask, kind))) {
        for message in 0..MESSAGES.len() {
            let mut run = ask.to_vec();
            run.extend([
                Input::Message(message),
                Input::Verdict(kind),
                Input::Message(message),
                Input::Deadline,
            ]);
            play(&run);
        }
    }
}
