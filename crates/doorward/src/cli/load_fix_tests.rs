use clap::Parser;

use super::*;
use crate::cli::test_venue::TestVenue;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: LoadFixArgs,
}

fn args(words: &[&str]) -> LoadFixArgs {
    Line::try_parse_from(["fix"].iter().chain(words)).unwrap().args
}

/// Runs a plan against a venue of its own; gives the report.
fn run_plan(venue: &TestVenue, name: &str, words: &[&str]) -> Report {
    let ready = venue.ready_file(name, 5);
    let words = [&["--ready", ready.to_str().unwrap()], words].concat();
    let (plan, numbers) = plan(&args(&words)).unwrap();
    let (mode, address, pid) = (plan.mode, plan.address.to_string(), plan.pid);
    let mut tally = Tally::new();
    let stop = AtomicBool::new(false);
    let seats = match mode {
        Mode::Ping => load_fix_ping::run(plan, &mut tally, &stop),
        Mode::Cycles | Mode::Storm | Mode::Idle | Mode::Orders => load_fix_run::run(plan, &mut tally, &stop),
    };
    save_numbers(&numbers, &seats.unwrap()).unwrap();
    Report { mode, address, pid, tally }
}

fn clean_up(venue: &TestVenue, name: &str) {
    let ready = venue.ready_file(name, 1);
    let _ = std::fs::remove_file(Ready::read(&ready).unwrap().numbers_path());
    let _ = std::fs::remove_file(ready);
}

#[test]
fn cycles_log_on_and_out_with_numbers_that_go_on() {
    let venue = TestVenue::start();
    for _ in 0..2 {
        let report = run_plan(&venue, "cycles", &["--sessions", "3", "--total", "30"]);
        let json = report.json();
        assert!(json["operations"].as_u64().unwrap() >= 30, "{}", report.text());
        assert_eq!((&json["failed"], &json["renumbered"]), (&0.into(), &0.into()), "{}", report.text());
        assert_eq!(report.exit(), Exit::Done);
    }
    let streams = venue.streams.lock().unwrap();
    assert_eq!(streams.len(), 5, "all sessions had their turn");
    clean_up(&venue, "cycles");
}

#[test]
fn a_storm_tells_when_the_last_one_was_in() {
    let venue = TestVenue::start();
    let report = run_plan(&venue, "storm", &["--mode", "storm"]);
    let json = report.json();
    assert_eq!((&json["operations"], &json["sessions"]), (&5.into(), &5.into()), "{}", report.text());
    assert!(json["busy_ms"].as_f64().unwrap() > 0.0);
    clean_up(&venue, "storm");
}

#[test]
fn orders_are_counted_by_their_reports() {
    let venue = TestVenue::start();
    let words = ["--mode", "orders", "--sessions", "2", "--in-flight", "4", "--total", "100"];
    let report = run_plan(&venue, "orders", &words);
    let json = report.json();
    assert!(json["operations"].as_u64().unwrap() >= 100, "{}", report.text());
    assert_eq!((&json["sessions"], &json["rejected"]), (&2.into(), &0.into()));
    // Every order was answered before the Logout, and each Logout was confirmed.
    assert_eq!(json["closed_by_server"], serde_json::json!({}), "{}", report.text());
    let (reports, orders) = (json["reports"].as_u64().unwrap(), venue.heard.lock().unwrap());
    assert_eq!(orders.iter().filter(|text| text.contains("|35=D|")).count() as u64, reports);
    clean_up(&venue, "orders");
}

#[test]
fn orders_are_cancelled_in_turn_where_that_is_wanted() {
    let venue = TestVenue::start();
    let words =
        ["--mode", "orders", "--sessions", "1", "--orders", "cancel", "--in-flight", "3", "--total", "40"];
    let report = run_plan(&venue, "cancels", &words);
    assert!(report.json()["operations"].as_u64().unwrap() >= 40, "{}", report.text());
    let heard = venue.heard.lock().unwrap();
    let ids: Vec<_> = heard.iter().filter_map(|text| text.split("|11=").nth(1)?.split('|').next()).collect();
    let cancelled: Vec<_> =
        heard.iter().filter_map(|text| text.split("|41=").nth(1)?.split('|').next()).collect();
    assert!(cancelled.iter().enumerate().all(|(at, id)| ids[2 * at] == *id), "{ids:?} {cancelled:?}");
    assert!(cancelled.len() >= 19);
    clean_up(&venue, "cancels");
}

#[test]
fn a_ping_has_one_in_flight() {
    let venue = TestVenue::start();
    for orders in [false, true] {
        let mut words = vec!["--mode", "ping", "--total", "25"];
        words.extend(orders.then_some("--ping-orders"));
        let report = run_plan(&venue, "ping", &words);
        let json = report.json();
        assert_eq!(json["operations"], 25, "{}", report.text());
        assert_eq!((&json["latency_us"]["ping"]["count"], &json["renumbered"]), (&25.into(), &0.into()));
    }
    clean_up(&venue, "ping");
}

#[test]
fn numbers_that_were_lost_are_taken_from_the_server() {
    let venue = TestVenue::start();
    venue.streams.lock().unwrap().insert(b"S00001N".to_vec(), (40, 7));
    let report = run_plan(&venue, "renumbered", &["--sessions", "1", "--of", "1", "--total", "3"]);
    let json = report.json();
    assert_eq!((&json["renumbered"], &json["failed"]), (&1.into(), &0.into()), "{}", report.text());
    venue.streams.lock().unwrap().insert(b"S00001N".to_vec(), (90, 7));
    let ping = run_plan(&venue, "renumbered", &["--mode", "ping", "--total", "3"]);
    assert_eq!(ping.json()["renumbered"], 1, "{}", ping.text());
    clean_up(&venue, "renumbered");
}

#[test]
fn a_server_that_is_not_there_ends_the_run() {
    let venue = TestVenue::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for mode in ["cycles", "storm", "orders", "ping"] {
        let report = run_plan(&venue, "gone", &["--mode", mode, "--address", &closed]);
        assert_eq!(report.exit(), Exit::Unreachable, "{}", report.text());
    }
    clean_up(&venue, "gone");
}

#[test]
fn only_loopback_is_loaded_and_no_more_sessions_than_there_are() {
    let venue = TestVenue::start();
    let ready = venue.ready_file("plan", 5);
    let error = |words: &[&str]| {
        plan(&args(&[&["--ready", ready.to_str().unwrap()], words].concat())).unwrap_err().to_string()
    };
    assert_eq!(
        error(&["--address", "192.0.2.1:9880"]),
        "192.0.2.1 is not loopback; if the host is yours add --i-own-this-host"
    );
    assert_eq!(error(&["--sessions", "6"]), "--sessions: 6 wanted, the ready file has 5");
    assert!(error(&["--address", "nowhere"]).starts_with("--address: nowhere: "));
    clean_up(&venue, "plan");
}
