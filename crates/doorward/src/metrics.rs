//! Measurements for Prometheus: each is one row here, which makes its function, its documentation and its test.
//!
//! Labels are `&'static str`: ids of our own tables. Nothing that a peer sent can become one (Q8).

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// What kind of measurement it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Only grows, by as many as are told at once.
    Sum,
    /// A value of this moment.
    Gauge,
    /// A histogram of times in seconds.
    Seconds,
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What one is; empty for a plain number or a yes (1) and no (0).
    pub unit: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub doc: &'static str,
}

/// Upper bounds of the buckets of a time, in seconds.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];

/// How often [`PrometheusHandle::run_upkeep`] is to be called: samples are kept one by one until then.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// `Content-Type` of the exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

macro_rules! function {
    (Counter $function:ident($($label:ident),*) $name:literal $doc:literal) => {
        #[doc = $doc]
        pub fn $function($($label: &'static str),*) {
            ::metrics::counter!($name $(, stringify!($label) => $label)*).increment(1);
        }
    };
    (Sum $function:ident($($label:ident),*) $name:literal $doc:literal) => {
        #[doc = $doc]
        pub fn $function($($label: &'static str,)* count: u64) {
            ::metrics::counter!($name $(, stringify!($label) => $label)*).increment(count);
        }
    };
    (Gauge $function:ident($($label:ident),*) $name:literal $doc:literal) => {
        #[doc = $doc]
        pub fn $function($($label: &'static str,)* value: u64) {
            ::metrics::gauge!($name $(, stringify!($label) => $label)*).set(value as f64);
        }
    };
    (Seconds $function:ident($($label:ident),*) $name:literal $doc:literal) => {
        #[doc = $doc]
        pub fn $function($($label: &'static str,)* span: Duration) {
            ::metrics::histogram!($name $(, stringify!($label) => $label)*).record(span.as_secs_f64());
        }
    };
}

macro_rules! measurements {
    ($($kind:ident $function:ident($($label:ident),*) = $name:literal, $unit:literal, $doc:literal;)+) => {
        /// Every measurement.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name, kind: Kind::$kind, unit: $unit, labels: &[$(stringify!($label)),*], doc: $doc,
        },)+];

        $(function! { $kind $function($($label),*) $name $doc })+

        /// The function of each measurement.
        #[cfg(test)]
        const FUNCTIONS: &[&str] = &[$(stringify!($function)),+];

        #[cfg(test)]
        fn touch_all() {
            $(touch! { $kind $function($($label),*) })+
        }
    };
}

#[cfg(test)]
macro_rules! touch {
    (Counter $function:ident($($label:ident),*)) => { $function($(stringify!($label)),*) };
    (Seconds $function:ident($($label:ident),*)) => {
        $function($(stringify!($label),)* Duration::from_millis(3))
    };
    ($kind:ident $function:ident($($label:ident),*)) => { $function($(stringify!($label),)* 3) };
}

measurements! {
    Counter login(door, outcome, reason) = "doorward_logins_total", "logins",
        "Logins decided, by door, outcome and the reason inside.";
    Seconds login_seconds(door) = "doorward_login_seconds", "seconds",
        "Time from a login request to its answer.";
    Sum event(event) = "doorward_events_total", "records",
        "Audit records written, by event.";
    Gauge sessions(door) = "doorward_sessions", "sessions",
        "Peers that are logged in.";

    Counter mail(event) = "doorward_mails_total", "mails",
        "Mails tried, by what came of it: mail-sent, mail-delayed, mail-given-up.";
    Gauge mails_waiting() = "doorward_mails_waiting", "mails",
        "Mails that wait to be sent.";
    Gauge mail_up() = "doorward_mail_up", "",
        "Whether the mail server could be reached when it was last needed.";

    Gauge connections(door) = "doorward_connections", "connections",
        "Open connections, logged in or not.";
    Gauge connections_silent(door) = "doorward_connections_not_logged_in", "connections",
        "Open connections on which nobody has logged in yet.";
    Sum connections_accepted(door) = "doorward_connections_accepted_total", "connections",
        "Connections taken from a listener.";
    Counter connection_evicted(door) = "doorward_connections_evicted_total", "connections",
        "Connections closed, the oldest first, because too many were not logged in.";
    Counter connection_refused(door, reason) = "doorward_connections_refused_total", "connections",
        "Connections closed before a message was read: full, tls, proxy-header, origin, host, stopping.";
    Counter connection_closed(door, code) = "doorward_connections_closed_total", "connections",
        "WebSocket connections that we closed, by close code.";
    Counter accept_paused(door, reason) = "doorward_accept_pauses_total", "pauses",
        "Times that a listener paused: descriptors (none left), full (room is being made), error.";

    Sum fix_application_messages(direction) = "doorward_fix_application_messages_total", "messages",
        "FIX application messages stored, by direction: in, out.";
    Sum fix_sent() = "doorward_fix_messages_sent_total", "messages",
        "FIX messages sent, session level and application.";
    Sum fix_resent() = "doorward_fix_messages_read_again_total", "messages",
        "Stored FIX messages read to be sent again.";
    Gauge fix_streams() = "doorward_fix_streams", "streams",
        "FIX streams known, logged on to or not.";
    Seconds fix_commit_seconds() = "doorward_fix_commit_seconds", "seconds",
        "Time of one commit of the stream log.";
    Gauge fix_log_up() = "doorward_fix_log_up", "",
        "Whether FIX messages can be stored.";
    Gauge fix_log_segments() = "doorward_fix_log_segments", "files",
        "Files of the stream log.";
    Gauge fix_log_bytes() = "doorward_fix_log_bytes", "bytes",
        "Bytes of the files of the stream log.";

    Gauge hash_queue() = "doorward_hash_queue", "hashes",
        "Password hashes that wait.";
    Seconds hash_seconds() = "doorward_hash_seconds", "seconds",
        "Time to compute a password hash.";
    Counter hash_refused(reason) = "doorward_hash_refused_total", "hashes",
        "Password hashes refused as busy: full, deadline.";

    Counter vault_failed(operation) = "doorward_vault_failures_total", "operations",
        "Operations that the vault could not do.";
    Gauge vault_up() = "doorward_vault_up", "",
        "Whether the vault answers.";
    Gauge vault_hardware() = "doorward_vault_hardware", "",
        "Whether keys lie in hardware; 0 means no HSM.";

    Gauge journal_head() = "doorward_journal_head", "records",
        "Number of the last record that is safely in the journal.";
    Seconds journal_commit_seconds() = "doorward_journal_commit_seconds", "seconds",
        "Time from handing a record over to its being safe.";
    Gauge journal_segments() = "doorward_journal_segments", "files",
        "Files of the journal.";
    Gauge journal_free_bytes() = "doorward_journal_free_bytes", "bytes",
        "Room left on the disk of the journal.";
    Gauge journal_unanchored() = "doorward_journal_unanchored", "records",
        "Records of the journal behind its last signed head.";
    Counter journal_head_failed() = "doorward_journal_heads_failed_total", "heads",
        "Heads of the journal that could not be signed or written.";
    Gauge book_mark() = "doorward_book_mark", "records",
        "Number of the last journal record that the book holds.";
    Counter book_conflict() = "doorward_book_conflicts_total", "decisions",
        "Decisions made again because somebody else changed the same person.";

    Counter http_answered(listener, status) = "doorward_http_requests_total", "requests",
        "HTTP requests by listener and class of status.";
    Gauge ready() = "doorward_ready", "",
        "Whether /readyz says yes.";
    Gauge clock_good() = "doorward_clock_good", "",
        "Whether the wall clock is trusted for one-time passwords.";
    Gauge build_info(version) = "doorward_build_info", "",
        "Always 1; the label tells the version.";
    Gauge open_descriptors() = "process_open_fds", "descriptors",
        "Open file descriptors of the process.";
    Gauge descriptors_max() = "process_max_fds", "descriptors",
        "Most file descriptors that the process may open.";
    Gauge resident_bytes() = "process_resident_memory_bytes", "bytes",
        "Memory of the process that is in RAM.";
}

/// Collects measurements of the whole process from now on; further calls give the same collection.
///
/// Whoever serves `/metrics` calls [`sample_process`] and [`PrometheusHandle::render`]; somebody must call
/// [`PrometheusHandle::run_upkeep`] every [`UPKEEP`].
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = recorder();
            let handle = recorder.handle();
            if ::metrics::set_global_recorder(recorder).is_err() {
                tracing::error!(
                    "another collection of measurements is installed already; /metrics stays empty"
                );
            }
            describe();
            build_info(env!("CARGO_PKG_VERSION"), 1);
            handle
        })
        .clone()
}

fn recorder() -> PrometheusRecorder {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        match metric.kind {
            Kind::Seconds => {}
            Kind::Counter | Kind::Sum | Kind::Gauge => continue,
        }
        let matcher = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(matcher, SECONDS).expect("buckets"); // holds: the list is not empty
    }
    builder.build_recorder()
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter | Kind::Sum => ::metrics::describe_counter!(metric.name, metric.doc),
            Kind::Gauge => ::metrics::describe_gauge!(metric.name, metric.doc),
            Kind::Seconds => ::metrics::describe_histogram!(metric.name, metric.doc),
        }
    }
}

/// Looks at the process itself: descriptors and memory, as far as `/proc` tells.
pub fn sample_process() {
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the listing itself.
        open_descriptors(entries.count().saturating_sub(1) as u64);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    descriptors_max(limit.current.unwrap_or(u64::MAX));
    let resident_kib = std::fs::read_to_string("/proc/self/status").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    if let Some(kib) = resident_kib {
        resident_bytes(kib.saturating_mul(1024));
    }
}

/// The page `docs/metrics.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Measurements\n\n\
         Served by the listener of `metrics.listen` at `/metrics`, in the text format of Prometheus. No label holds \
         text from a peer.\n\n\
         | name | kind | labels | what it tells |\n|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter | Kind::Sum => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds => "histogram",
        };
        let unit = if metric.unit.is_empty() { String::new() } else { format!(" of {}", metric.unit) };
        // Writing to a string never fails.
        let _ = writeln!(
            page,
            "| `{}` | {kind}{unit} | {} | {} |",
            metric.name,
            metric.labels.join(", "),
            metric.doc
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn rendered() -> String {
        let recorder = recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            describe();
            touch_all();
            sample_process();
        });
        handle.render()
    }

    #[test]
    fn every_measurement_is_described_and_rendered_with_its_labels() {
        let text = rendered();
        for metric in METRICS {
            assert!(text.contains(&format!("# HELP {} ", metric.name)), "{}", metric.name);
            let kind = match metric.kind {
                Kind::Counter | Kind::Sum => "counter",
                Kind::Gauge => "gauge",
                Kind::Seconds => "histogram",
            };
            assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
            let sample = text.lines().find(|line| line.starts_with(metric.name)).unwrap();
            assert!(metric.labels.iter().all(|label| sample.contains(&format!("{label}=\""))), "{sample}");
        }
    }

    #[test]
    fn a_name_says_its_kind_and_is_listed_once() {
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[at + 1..].iter().all(|other| other.name != metric.name), "{}", metric.name);
            let grows = matches!(metric.kind, Kind::Counter | Kind::Sum);
            assert_eq!(metric.name.ends_with("_total"), grows, "{}", metric.name);
            assert_eq!(metric.name.ends_with("_seconds"), metric.kind == Kind::Seconds, "{}", metric.name);
            assert!(metric.doc.ends_with('.'), "{}", metric.name);
        }
    }

    /// Shipped code below a folder, as one text; this file without its table and tests.
    fn shipped(folder: &Path, out: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if name != "tests" {
                    shipped(&path, out);
                }
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
                if name == "metrics.rs" {
                    let own = text.split_once("\nmeasurements! {").unwrap().1.split_once("\n}\n").unwrap().1;
                    // What is measured here is called without its module.
                    out.extend(own.lines().map(|line| format!("metrics::{}\n", line.trim_start())));
                } else {
                    out.push_str(text);
                }
            }
        }
    }

    #[test]
    fn each_measurement_is_measured_by_shipped_code() {
        let mut code = String::new();
        shipped(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
        let idle = FUNCTIONS.iter().filter(|function| !code.contains(&format!("metrics::{function}(")));
        let idle: Vec<&&str> = idle.collect();
        assert!(idle.is_empty(), "nothing sets {idle:?}: measure them, or take them out of the table");
    }

    #[test]
    fn the_process_tells_its_descriptors_and_memory() {
        let held: Vec<_> = (0..8).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let text = rendered();
        for name in ["process_open_fds ", "process_max_fds ", "process_resident_memory_bytes "] {
            let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            assert!(value.parse::<usize>().unwrap() >= held.len(), "{name}{value}");
        }
    }

    #[test]
    fn the_committed_page_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, markdown()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == markdown(), "docs/metrics.md: run this test with BLESS=1");
    }
}
