//! What `doorward load fix` counted, and how it is printed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::Exit;
use super::load_fix_plan::Mode;
use super::load_report::count;
use super::server_process::CpuTime;

/// Longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// Latencies, in nanoseconds.
#[derive(Debug)]
pub(super) struct LatencyNs(Histogram<u64>);

impl LatencyNs {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Self(histogram.expect("fixed bounds")) // holds: 1 <= low, 2 * low <= high, 0 <= digits <= 5
    }

    pub(super) fn record(&mut self, span: Duration) {
        self.0.saturating_record(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    fn quantiles(&self) -> [(&'static str, u64); 5] {
        let at = |quantile| self.0.value_at_quantile(quantile);
        [("p50", at(0.5)), ("p90", at(0.9)), ("p99", at(0.99)), ("p99_9", at(0.999)), ("max", self.0.max())]
    }
}

/// What happened so far.
#[derive(Debug)]
pub(super) struct Tally {
    begun: Instant,
    /// When the last counted operation was done.
    last: Instant,
    ended: Option<Instant>,
    /// Connections begun, those before the measurement too.
    pub(super) started: u64,
    /// Operations within the measurement.
    pub(super) done: u64,
    /// Reports of orders, those before the measurement too.
    pub(super) reports: u64,
    /// Of these, orders that the venue rejected.
    pub(super) rejected: u64,
    /// Logons that were tried again with the number that the server named.
    pub(super) renumbered: u64,
    /// Sessions that were logged on when the measurement ended.
    pub(super) sessions: u64,
    logon: LatencyNs,
    operation: LatencyNs,
    pub(super) cpu: Option<CpuTime>,
    pub(super) memory_before: Option<u64>,
    pub(super) memory_after: Option<u64>,
    failed: u64,
    failures: BTreeMap<String, u64>,
    closed_by_server: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            last: now,
            ended: None,
            started: 0,
            done: 0,
            reports: 0,
            rejected: 0,
            renumbered: 0,
            sessions: 0,
            logon: LatencyNs::new(),
            operation: LatencyNs::new(),
            cpu: None,
            memory_before: None,
            memory_after: None,
            failed: 0,
            failures: BTreeMap::new(),
            closed_by_server: BTreeMap::new(),
        }
    }

    /// What comes from now on counts; what came before does not.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        (self.begun, self.last, self.done) = (now, now, 0);
        self.operation = LatencyNs::new();
    }

    /// What comes from now on does not count.
    pub(super) fn end(&mut self) {
        self.ended.get_or_insert_with(Instant::now);
    }

    /// An operation was done.
    pub(super) fn done(&mut self, took: Duration) {
        if self.ended.is_none() {
            self.done += 1;
            self.last = Instant::now();
            self.operation.record(took);
        }
    }

    /// A session is logged on.
    pub(super) fn logon(&mut self, took: Duration) {
        if self.ended.is_none() {
            self.logon.record(took);
            self.last = Instant::now();
        }
    }

    pub(super) fn fail(&mut self, text: &str) {
        self.failed += 1;
        count(&mut self.failures, text);
    }

    pub(super) fn close(&mut self, text: &str) {
        count(&mut self.closed_by_server, text);
    }
}

/// The result of a run.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) mode: Mode,
    pub(super) address: String,
    pub(super) pid: Option<u32>,
    pub(super) tally: Tally,
}

impl Report {
    /// What one operation is called in this mode.
    const fn operation(&self) -> &'static str {
        match self.mode {
            Mode::Cycles => "cycle",
            Mode::Storm | Mode::Idle => "logon",
            Mode::Orders => "order",
            Mode::Ping => "ping",
        }
    }

    /// How many operations the figures are for.
    fn operations(&self) -> u64 {
        match self.mode {
            Mode::Storm => self.tally.logon.0.len(),
            Mode::Idle => self.tally.sessions,
            Mode::Cycles | Mode::Orders | Mode::Ping => self.tally.done,
        }
    }

    /// From the begin of the measurement to the last operation.
    fn busy(&self) -> Duration {
        self.tally.last.saturating_duration_since(self.tally.begun)
    }

    fn measured(&self) -> Duration {
        self.tally.ended.unwrap_or(self.tally.last).saturating_duration_since(self.tally.begun)
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is for people")]
    fn rate_per_s(&self) -> f64 {
        self.operations() as f64 / self.busy().as_secs_f64().max(0.000_001)
    }

    #[expect(clippy::cast_precision_loss, reason = "a share is for people")]
    fn per_operation(&self, us: u64) -> Option<f64> {
        match (self.mode, self.operations()) {
            (Mode::Idle, _) | (_, 0) => None,
            (_, operations) => Some(us as f64 / operations as f64),
        }
    }

    /// What one session holds at the server, in bytes.
    fn memory_per_session(&self) -> Option<u64> {
        let grown = self.tally.memory_after?.saturating_sub(self.tally.memory_before?);
        grown.checked_div(self.tally.sessions).filter(|_| self.mode == Mode::Idle)
    }

    fn steps(&self) -> [(&'static str, &LatencyNs); 2] {
        [
            ("logon", &self.tally.logon),
            (if self.mode == Mode::Storm { "" } else { self.operation() }, &self.tally.operation),
        ]
    }

    /// Done where something was; else by whose fault nothing was.
    pub(super) fn exit(&self) -> Exit {
        if self.operations() > 0 {
            Exit::Done
        } else if self.tally.failures.keys().all(|text| text.starts_with("cannot connect")) {
            Exit::Unreachable
        } else {
            Exit::Refused
        }
    }

    pub(super) fn json(&self) -> Value {
        let tally = &self.tally;
        let mut latency = Map::new();
        for (step, measured) in self.steps().into_iter().filter(|(_, measured)| !measured.0.is_empty()) {
            let mut row = Map::new();
            row.insert(String::from("count"), Value::from(measured.0.len()));
            row.extend(measured.quantiles().map(|(name, ns)| (name.to_owned(), Value::from(in_us(ns)))));
            latency.insert(step.to_owned(), Value::Object(row));
        }
        let cpu = tally.cpu.unwrap_or_default();
        let share = |us| tally.cpu.and_then(|_| self.per_operation(us));
        json!({
            "mode": self.mode.name(),
            "address": self.address,
            "operation": self.operation(),
            "operations": self.operations(),
            "elapsed_ms": in_ms(self.measured()),
            "busy_ms": in_ms(self.busy()),
            "rate_per_s": self.rate_per_s(),
            "latency_us": latency,
            "started": tally.started,
            "sessions": tally.sessions,
            "reports": tally.reports,
            "rejected": tally.rejected,
            "renumbered": tally.renumbered,
            "failed": tally.failed,
            "failures": tally.failures,
            "closed_by_server": tally.closed_by_server,
            "server": {
                "pid": self.pid,
                "cpu_ms": tally.cpu.map(|cpu| cpu.all_us() / 1_000),
                "cpu_us_per_operation": share(cpu.all_us()),
                "user_us_per_operation": share(cpu.user_us),
                "system_us_per_operation": share(cpu.system_us),
                "memory_bytes_before": tally.memory_before,
                "memory_bytes_after": tally.memory_after,
                "memory_bytes_per_session": self.memory_per_session(),
            },
        })
    }

    pub(super) fn text(&self) -> String {
        let tally = &self.tally;
        let mut text = format!(
            "{} {}: {} {}s in {:.3} ms ({:.1}/s), {} connections, {} failed\n",
            self.mode.name(),
            self.address,
            self.operations(),
            self.operation(),
            in_ms(self.busy()),
            self.rate_per_s(),
            tally.started,
            tally.failed
        );
        // Writing to a string cannot fail.
        for (step, measured) in self.steps().into_iter().filter(|(_, measured)| !measured.0.is_empty()) {
            let _ = write!(text, "{step:<10}");
            for (name, ns) in measured.quantiles() {
                let _ = write!(text, " {} {:.1}", name.replace('_', "."), in_us(ns));
            }
            text.push_str(" us\n");
        }
        if let Some(cpu) = tally.cpu
            && let Some(all) = self.per_operation(cpu.all_us())
        {
            let of = |us| self.per_operation(us).unwrap_or_default();
            let _ = writeln!(
                text,
                "server     {all:.2} us of cpu a{} {} (user {:.2}, system {:.2})",
                if self.mode == Mode::Orders { "n" } else { "" },
                self.operation(),
                of(cpu.user_us),
                of(cpu.system_us)
            );
        }
        if let (Some(before), Some(after), Some(each)) =
            (tally.memory_before, tally.memory_after, self.memory_per_session())
        {
            let _ = writeln!(
                text,
                "server     {each} bytes a session ({} sessions; {} KiB before, {} KiB after)",
                tally.sessions,
                before / 1_024,
                after / 1_024
            );
        }
        if tally.rejected > 0 {
            let _ = writeln!(text, "rejected   {} of {} reports", tally.rejected, tally.reports);
        }
        if tally.renumbered > 0 {
            let _ = writeln!(text, "renumbered {} logons after a refusal", tally.renumbered);
        }
        for (title, texts) in [("failed", &tally.failures), ("from the server", &tally.closed_by_server)] {
            for (what, times) in texts {
                let _ = writeln!(text, "{title}: {times} x {what}");
            }
        }
        text
    }
}

fn in_ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "a latency of 120 s in nanoseconds is exact")]
fn in_us(ns: u64) -> f64 {
    ns as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(mode: Mode) -> Report {
        let mut tally = Tally::new();
        tally.done(Duration::from_micros(9));
        tally.begin();
        for us in 1..=100 {
            tally.done(Duration::from_micros(us));
        }
        tally.cpu = Some(CpuTime { user_us: 300, system_us: 700 });
        tally.sessions = 10;
        (tally.memory_before, tally.memory_after) = (Some(1_000), Some(41_960));
        tally.end();
        tally.done(Duration::from_secs(9));
        Report { mode, address: String::from("127.0.0.1:9880"), pid: Some(7), tally }
    }

    #[test]
    fn only_what_lies_within_the_measurement_counts() {
        let json = report(Mode::Orders).json();
        assert_eq!((json["operations"].as_u64(), json["operation"].as_str()), (Some(100), Some("order")));
        assert_eq!(json["server"]["cpu_us_per_operation"], 10.0);
        assert_eq!(json["server"]["user_us_per_operation"], 3.0);
        let max = json["latency_us"]["order"]["max"].as_f64().unwrap();
        assert!((100.0..101.0).contains(&max), "{max}");
        assert_eq!(json["server"]["memory_bytes_per_session"], Value::Null);
    }

    #[test]
    fn idle_sessions_are_weighed() {
        let report = report(Mode::Idle);
        let json = report.json();
        assert_eq!(json["server"]["memory_bytes_per_session"], 4_096);
        assert_eq!(json["server"]["cpu_us_per_operation"], Value::Null);
        assert!(report.text().contains("4096 bytes a session (10 sessions;"), "{}", report.text());
    }

    #[test]
    fn a_run_that_did_nothing_says_by_whose_fault() {
        let mut report = Report { tally: Tally::new(), ..report(Mode::Cycles) };
        assert_eq!(report.exit(), Exit::Unreachable);
        report.tally.fail("cannot connect: refused");
        assert_eq!(report.exit(), Exit::Unreachable);
        report.tally.fail("Invalid Logon. Logout Forced");
        assert_eq!(report.exit(), Exit::Refused);
    }
}
