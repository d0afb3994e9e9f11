//! What `doorward load` counted, and how it is printed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use doorward_client::printable;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Exit;
use super::load::Mode;

/// Longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;
/// Different texts that are counted apart; the rest is one.
const TEXTS_MAX: usize = 64;

/// Latencies of one step, in microseconds.
#[derive(Debug)]
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Self(histogram.expect("fixed bounds")) // holds: 1 <= low, 2 * low <= high, 0 <= digits <= 5
    }

    pub(super) fn record(&mut self, span: Duration) {
        self.0.saturating_record(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many were recorded.
    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }

    pub(super) fn quantiles(&self) -> [(&'static str, u64); 5] {
        let at = |quantile| self.0.value_at_quantile(quantile);
        [("p50", at(0.5)), ("p90", at(0.9)), ("p99", at(0.99)), ("p99_9", at(0.999)), ("max", self.0.max())]
    }
}

/// What happened so far.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) connect: Latency,
    pub(super) challenge: Latency,
    pub(super) login: Latency,
    pub(super) started: u64,
    pub(super) connected: u64,
    pub(super) succeeded: u64,
    pub(super) last_success: Option<Instant>,
    pub(super) failed: u64,
    pub(super) open: u64,
    open_max: u64,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) closed_by_server: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            connect: Latency::new(),
            challenge: Latency::new(),
            login: Latency::new(),
            started: 0,
            connected: 0,
            succeeded: 0,
            last_success: None,
            failed: 0,
            open: 0,
            open_max: 0,
            failures: BTreeMap::new(),
            closed_by_server: BTreeMap::new(),
        }
    }

    pub(super) fn fail(&mut self, text: &str) {
        self.failed += 1;
        count(&mut self.failures, text);
    }

    pub(super) fn succeed(&mut self) {
        self.succeeded += 1;
        self.last_success = Some(Instant::now());
    }

    pub(super) fn opened(&mut self, took: Duration) {
        self.connect.record(took);
        self.connected += 1;
        self.open += 1;
        self.open_max = self.open_max.max(self.open);
    }
}

/// Counts a text, up to a number of different ones.
pub(super) fn count(texts: &mut BTreeMap<String, u64>, text: &str) {
    let text = printable(text);
    let key = if texts.len() < TEXTS_MAX || texts.contains_key(&*text) { &*text } else { "others" };
    *texts.entry(key.to_owned()).or_default() += 1;
}

/// The result of a run.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) mode: Mode,
    pub(super) elapsed: Duration,
    /// From the begin to the last success, without what was held after it.
    pub(super) busy: Duration,
    pub(super) tally: Tally,
}

impl Report {
    /// Successes a second, up to the last one.
    fn rate_per_s(&self) -> f64 {
        let succeeded = f64::from(u32::try_from(self.tally.succeeded).unwrap_or(u32::MAX));
        succeeded / self.busy.as_secs_f64().max(0.001)
    }

    fn steps(&self) -> [(&'static str, &Latency); 3] {
        [("connect", &self.tally.connect), ("challenge", &self.tally.challenge), ("login", &self.tally.login)]
    }

    /// Done where something succeeded; else by whose fault nothing did.
    pub(super) const fn exit(&self) -> Exit {
        if self.tally.succeeded > 0 {
            Exit::Done
        } else if self.tally.connected > 0 {
            Exit::Refused
        } else {
            Exit::Unreachable
        }
    }

    pub(super) fn json(&self) -> Value {
        let tally = &self.tally;
        let mut latency = serde_json::Map::new();
        for (step, measured) in self.steps() {
            let mut row = serde_json::Map::new();
            row.insert(String::from("count"), Value::from(measured.len()));
            row.extend(measured.quantiles().map(|(name, us)| (name.to_owned(), Value::from(us))));
            latency.insert(step.to_owned(), Value::Object(row));
        }
        json!({
            "url": self.url,
            "mode": self.mode.name(),
            "elapsed_ms": u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX),
            "started": tally.started,
            "connected": tally.connected,
            "succeeded": tally.succeeded,
            "failed": tally.failed,
            "open_max": tally.open_max,
            "rate_per_s": self.rate_per_s(),
            "latency_us": latency,
            "failures": tally.failures,
            "closed_by_server": tally.closed_by_server,
        })
    }

    pub(super) fn text(&self) -> String {
        let tally = &self.tally;
        let mut text = format!(
            "{} {}: {:.1} s, {} started, {} ok ({:.1}/s), {} failed, {} open at most\n",
            self.mode.name(),
            printable(&self.url),
            self.elapsed.as_secs_f64(),
            tally.started,
            tally.succeeded,
            self.rate_per_s(),
            tally.failed,
            tally.open_max
        );
        for (step, measured) in self.steps() {
            if measured.len() == 0 {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "{step:<10}");
            for (name, us) in measured.quantiles() {
                let _ = write!(text, " {} {}", name.replace('_', "."), in_ms(us));
            }
            text.push_str(" ms\n");
        }
        for (title, texts) in [("failed", &tally.failures), ("closed by the server", &tally.closed_by_server)]
        {
            for (what, times) in texts {
                let _ = writeln!(text, "{title}: {times} x {what}");
            }
        }
        text
    }
}

/// Milliseconds with three digits, from microseconds.
pub(super) fn in_ms(us: u64) -> String {
    format!("{}.{:03}", us / 1_000, us % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded() {
        let mut texts = BTreeMap::new();
        for n in 0..200 {
            count(&mut texts, &format!("text {n}"));
        }
        assert_eq!((texts.len(), texts["others"]), (TEXTS_MAX + 1, 200 - TEXTS_MAX as u64));
    }

    #[test]
    fn latencies_print_in_milliseconds() {
        assert_eq!(in_ms(1_234), "1.234");
        assert_eq!(in_ms(7), "0.007");
    }
}
