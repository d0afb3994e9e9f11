use std::sync::atomic::{AtomicUsize, Ordering};

use doorward_core::time::Wall;

use super::*;

/// Counts what is made, used and destroyed. Its private operation leaves the block as it is.
#[derive(Default)]
struct Counts {
    made: AtomicUsize,
    used: AtomicUsize,
    gone: AtomicUsize,
    broken: AtomicUsize,
}

impl Counts {
    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    fn gone(&self) -> usize {
        self.gone.load(Ordering::SeqCst)
    }
}

struct PlainPair {
    modulus: Vec<u8>,
    counts: Arc<Counts>,
}

impl RawPair for PlainPair {
    fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    fn spki_der(&self) -> Result<Vec<u8>, Fault> {
        Ok(b"public".to_vec())
    }

    fn private_raw(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        self.counts.used.fetch_add(1, Ordering::SeqCst);
        assert_eq!(input.len(), self.modulus.len());
        assert!(is_in_range(input, &self.modulus));
        Ok(Zeroizing::new(input.to_vec()))
    }
}

impl Drop for PlainPair {
    fn drop(&mut self) {
        self.counts.gone.fetch_add(1, Ordering::SeqCst);
    }
}

fn keys(replay_max: usize) -> (ChallengeKeys, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let shared = Arc::clone(&counts);
    let make = move |bits: u32| {
        if shared.broken.load(Ordering::SeqCst) > 0 {
            return Err(Fault::Vault("broken".into()));
        }
        shared.made.fetch_add(1, Ordering::SeqCst);
        let modulus = vec![0xff; bits as usize / 8];
        Ok(Box::new(PlainPair { modulus, counts: Arc::clone(&shared) }) as Box<dyn RawPair>)
    };
    let settings = ChallengeSettings { replay_max, ..ChallengeSettings::default() };
    (ChallengeKeys::new(settings, Box::new(make)).unwrap(), counts)
}

fn at(ms: u64) -> Now {
    Now { wall: Wall::from_s(1_000_000) + Duration::from_millis(ms), mono: Mono::from_ns(ms * 1_000_000) }
}

fn block(message: &[u8]) -> Vec<u8> {
    let mut block = vec![0, 2];
    block.resize(255 - message.len(), 0x5a);
    block.push(0);
    block.extend_from_slice(message);
    block
}

fn request<'a>(key_id: &'a KeyId, ciphertext: &'a [u8]) -> OpenPassword<'a> {
    OpenPassword { key_id, padding: Padding::Pkcs1, label: Label::WebSocket, pkcs1_allowed: true, ciphertext }
}

#[test]
fn e4_a_pair_is_served_60_s_accepted_35_s_more_and_then_destroyed() {
    let (keys, counts) = keys(REPLAY_MAX);
    keys.tick(at(0)).unwrap();
    let first = keys.challenge(at(0)).unwrap();
    assert_eq!(first.serve_until, at(60_000).wall);
    assert_eq!(first.accept_until, at(95_000).wall);
    keys.tick(at(1_000)).unwrap();
    assert_eq!(keys.challenge(at(59_999)).unwrap().key_id, first.key_id);
    let second = keys.challenge(at(60_000)).unwrap();
    assert_ne!(second.key_id, first.key_id);
    assert!(keys.is_live(&first.key_id, at(94_999)));
    assert!(!keys.is_live(&first.key_id, at(95_000)));
    let late = keys.open_password(&request(&first.key_id, &block(b"x")), at(95_000));
    assert!(matches!(late, Err(OpenError::NoSuchKey)));
    assert_eq!(counts.gone(), 0);
    keys.tick(at(95_000)).unwrap();
    assert_eq!(counts.gone(), 1);
    assert!(keys.is_live(&second.key_id, at(95_000)));
}

#[test]
fn e4_lifetimes_follow_the_monotonic_clock() {
    let (keys, _) = keys(REPLAY_MAX);
    let first = keys.challenge(at(0)).unwrap();
    keys.tick(at(0)).unwrap();
    let stepped = |mono_ms: u64, wall_s: i64| Now { wall: Wall::from_s(wall_s), ..at(mono_ms) };
    assert!(keys.is_live(&first.key_id, stepped(94_999, 9_000_000)));
    assert_eq!(keys.challenge(stepped(59_999, 5)).unwrap().key_id, first.key_id);
    assert!(!keys.is_live(&first.key_id, stepped(95_000, 0)));
}

#[test]
fn pairs_are_made_ahead_of_time_and_never_by_a_request_after_the_first() {
    let (keys, counts) = keys(REPLAY_MAX);
    keys.tick(at(0)).unwrap();
    for second in 0..600 {
        let made = counts.made();
        keys.challenge(at(second * 1_000)).unwrap();
        assert_eq!(counts.made(), made, "second {second}");
        keys.tick(at(second * 1_000 + 500)).unwrap();
    }
    assert_eq!(counts.made(), 11, "one a minute, and the next");
}

#[test]
fn e4_without_ticks_a_pair_dies_all_the_same() {
    let (keys, counts) = keys(REPLAY_MAX);
    let first = keys.challenge(at(0)).unwrap();
    assert!(!keys.is_live(&first.key_id, at(95_000)));
    assert_ne!(keys.challenge(at(95_000)).unwrap().key_id, first.key_id);
    assert_eq!((counts.made(), counts.gone()), (2, 1));
}

#[test]
fn the_next_pair_is_not_accepted_before_it_is_served() {
    let (keys, _) = keys(REPLAY_MAX);
    let first = keys.challenge(at(0)).unwrap();
    keys.tick(at(0)).unwrap();
    let next = locked(&keys.state).next.as_ref().unwrap().id.clone();
    assert!(!keys.is_live(&next, at(10)));
    assert!(keys.is_live(&first.key_id, at(10)));
}

#[test]
fn l1_a_full_replay_set_brings_the_next_pair_early_and_twice_as_many_end_the_old_one() {
    let (keys, _) = keys(3);
    let first = keys.challenge(at(0)).unwrap().key_id;
    keys.tick(at(0)).unwrap();
    let open = |n: u8, now| keys.open_password(&request(&first, &block(&[n])), now).map(|opened| opened.fact);
    for n in 0..3 {
        assert_eq!(keys.challenge(at(1)).unwrap().key_id, first);
        assert_eq!(open(n, at(1)).unwrap(), CiphertextFact::Good);
    }
    let second = keys.challenge(at(2)).unwrap().key_id;
    assert_ne!(second, first);
    assert!(keys.is_live(&first, at(35_001)) && !keys.is_live(&first, at(35_002)), "35 s from the early end");
    for n in 3..6 {
        assert_eq!(open(n, at(2)).unwrap(), CiphertextFact::Good);
    }
    assert!(matches!(open(6, at(2)), Err(OpenError::NoSuchKey)));
    assert!(!keys.is_live(&first, at(2)));
}

#[test]
fn e4_a_ciphertext_counts_once_at_all_doors() {
    let (keys, _) = keys(REPLAY_MAX);
    let key = keys.challenge(at(0)).unwrap().key_id;
    let ciphertext = block(b"correct horse");
    let first = keys.open_password(&request(&key, &ciphertext), at(0)).unwrap();
    assert_eq!(
        (first.fact, first.password.expose().as_slice()),
        (CiphertextFact::Good, &b"correct horse"[..])
    );
    for label in [Label::WebSocket, Label::Portal, Label::Api] {
        for padding in Padding::ALL {
            let again = OpenPassword { label, padding, ..request(&key, &ciphertext) };
            let again = keys.open_password(&again, at(94_999)).unwrap();
            assert_eq!(again.fact, CiphertextFact::Replayed);
            assert_ne!(again.password.expose(), first.password.expose());
        }
    }
}

#[test]
fn e2_whatever_is_wrong_one_private_operation_runs_and_a_plausible_password_comes_back() {
    let (keys, counts) = keys(REPLAY_MAX);
    let key = keys.challenge(at(0)).unwrap().key_id;
    let modulus = vec![0xff; 256];
    let mut below = modulus.clone();
    below[255] = 0xfd;
    let mut less_one = modulus.clone();
    less_one[255] = 0xfe;
    let mut one = vec![0; 256];
    one[255] = 1;
    let mut short_padding = block(&[b'a'; 245]);
    short_padding[9] = 0;
    let cases = [
        (vec![], CiphertextFact::BadLength),
        (vec![7; 255], CiphertextFact::BadLength),
        (vec![7; 257], CiphertextFact::BadLength),
        (vec![7; 5_000], CiphertextFact::BadLength),
        (vec![0; 256], CiphertextFact::OutOfRange),
        (one, CiphertextFact::OutOfRange),
        (less_one, CiphertextFact::OutOfRange),
        (modulus, CiphertextFact::OutOfRange),
        (below, CiphertextFact::BadPadding),
        (vec![7; 256], CiphertextFact::BadPadding),
        (short_padding, CiphertextFact::BadPadding),
        (block(&[b'a'; 191]), CiphertextFact::TooLong),
        (block(&[0xff; 191]), CiphertextFact::TooLong),
        (block(b"broken \xff utf-8"), CiphertextFact::NotUtf8),
        (block("é".as_bytes().split_last().unwrap().1), CiphertextFact::NotUtf8),
    ];
    let mut passwords = std::collections::BTreeSet::new();
    for (ciphertext, fact) in &cases {
        let before = counts.used();
        let first = keys.open_password(&request(&key, ciphertext), at(0)).unwrap();
        assert_eq!(first.fact, *fact);
        assert_eq!(counts.used(), before + 1, "{fact:?}");
        let password = first.password.expose();
        assert!((12..=27).contains(&password.len()) && password.iter().all(u8::is_ascii_graphic));
        let again = keys.open_password(&request(&key, ciphertext), at(0)).unwrap();
        assert_eq!(again.password.expose(), password, "the same bytes, the same password");
        assert_eq!(counts.used(), before + 2, "a replay too");
        passwords.insert(password.clone());
    }
    assert_eq!(passwords.len(), cases.len());
}

#[test]
fn e2_edges_that_are_right_are_taken() {
    let (keys, _) = keys(REPLAY_MAX);
    let key = keys.challenge(at(0)).unwrap().key_id;
    for password in ["", "x", &"a".repeat(190), &"é".repeat(95)] {
        let opened = keys.open_password(&request(&key, &block(password.as_bytes())), at(0)).unwrap();
        assert_eq!(opened.fact, CiphertextFact::Good);
        assert_eq!(opened.password.expose(), password.as_bytes());
    }
}

#[test]
fn e5_e8_pkcs1_counts_only_where_it_is_allowed_and_there_is_no_label() {
    let (keys, counts) = keys(REPLAY_MAX);
    let key = keys.challenge(at(0)).unwrap().key_id;
    let cases = [(Label::WebSocket, false), (Label::Portal, true), (Label::Api, true)];
    for (number, (label, pkcs1_allowed)) in (0_usize..).zip(cases) {
        let ciphertext = block(&[b'a' + number as u8; 16]);
        let request = OpenPassword { label, pkcs1_allowed, ..request(&key, &ciphertext) };
        let opened = keys.open_password(&request, at(0)).unwrap();
        assert_eq!(opened.fact, CiphertextFact::PaddingNotAllowed);
        assert_ne!(opened.password.expose(), &[b'a' + number as u8; 16]);
        assert_eq!(counts.used(), number + 1, "the same work");
    }
}

#[test]
fn e6_sizes_below_2048_need_the_switch() {
    let check = |bits, legacy_rsa_1024| {
        ChallengeSettings { bits, legacy_rsa_1024, ..ChallengeSettings::default() }.check()
    };
    assert!(check(2048, false).is_ok() && check(3072, false).is_ok() && check(1024, true).is_ok());
    let text = check(1024, false).unwrap_err().to_string();
    assert!(text.contains("legacy_rsa_1024"), "{text}");
    for bits in [0, 512, 1023, 1536, 2047, 4096] {
        assert!(check(bits, true).is_err(), "{bits}");
    }
}

#[test]
fn a_fault_while_making_a_pair_is_told_and_passes() {
    let (keys, counts) = keys(REPLAY_MAX);
    counts.broken.store(1, Ordering::SeqCst);
    assert!(keys.tick(at(0)).is_err());
    assert!(keys.challenge(at(0)).is_err());
    counts.broken.store(0, Ordering::SeqCst);
    let first = keys.challenge(at(0)).unwrap();
    counts.broken.store(1, Ordering::SeqCst);
    assert!(keys.tick(at(1)).is_err());
    assert_eq!(keys.challenge(at(2)).unwrap().key_id, first.key_id, "what is there goes on");
    assert!(keys.challenge(at(60_000)).is_err(), "but is not served past its time");
    assert!(keys.is_live(&first.key_id, at(94_000)));
}

#[test]
fn many_threads_make_one_pair() {
    let (keys, counts) = keys(REPLAY_MAX);
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| keys.challenge(at(0)).unwrap().key_id)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(counts.made(), 1);
}

#[test]
fn e4_of_many_at_once_with_one_ciphertext_one_counts() {
    let (keys, _) = keys(REPLAY_MAX);
    let key = keys.challenge(at(0)).unwrap().key_id;
    let ciphertext = block(b"once");
    let good = std::thread::scope(|scope| {
        let open = || keys.open_password(&request(&key, &ciphertext), at(0)).unwrap().fact;
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(open)).collect();
        let facts = threads.into_iter().map(|thread| thread.join().unwrap());
        facts.filter(|fact| *fact == CiphertextFact::Good).count()
    });
    assert_eq!(good, 1);
}

mod equal_work;
