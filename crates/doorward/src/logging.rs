//! The log: one event a line on standard error, as text or JSON, that no peer can bend (Q8).

use std::fmt;
use std::io;

use doorward_core::text::{escape_in_json, escape_untrusted, is_unseen};
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Level, Subscriber};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, fmt as layer, registry};

use crate::config::{Log, LogFormat};

/// Sends the events of the whole process to standard error from now on.
///
/// # Errors
/// Where that was done before.
pub fn install(log: Log) -> Result<(), SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(log, io::stderr))
}

/// The same with a writer of the caller's.
pub fn subscriber<W>(log: Log, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let out = Escaping { inner: writer, format: log.format };
    let levels = levels(log.level);
    match log.format {
        LogFormat::Human => {
            let fields = debug_fn(human_field).delimited(" ");
            let lines = layer::layer().with_ansi(false).fmt_fields(fields).with_writer(out);
            Box::new(registry().with(lines.with_filter(levels)))
        }
        LogFormat::Json => {
            let lines = layer::layer().json().flatten_event(true).with_current_span(false).with_writer(out);
            Box::new(registry().with(lines.with_filter(levels)))
        }
    }
}

/// Our own code by the level asked for. What others wrote speaks up from `warn` only: at finer levels it would print
/// what peers send, passwords not excepted.
fn levels(level: Level) -> Targets {
    let others = LevelFilter::WARN.min(LevelFilter::from_level(level));
    // The log is where heads of the journal are kept apart from it (Q6): they are told at every level.
    let heads = LevelFilter::INFO.max(LevelFilter::from_level(level));
    let ours = Targets::new().with_default(others).with_target("doorward", level);
    ours.with_target("doorward_core", level).with_target("doorward::gate::checkpoints", heads)
}

/// A field of a human line; a value that could be taken for another field stands in quotes.
fn human_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let shown = format!("{value:?}");
    if field.name() == "message" {
        return out.write_str(&shown);
    }
    let is_quoted = shown.len() >= 2 && shown.starts_with('"') && shown.ends_with('"');
    if !is_quoted && shown.contains(|c: char| c.is_whitespace() || c == '=' || c == '"' || is_unseen(c)) {
        write!(out, "{}={shown:?}", field.name())
    } else {
        write!(out, "{}={shown}", field.name())
    }
}

/// Escapes whole lines, so that nothing gets around it.
struct Escaping<W> {
    inner: W,
    format: LogFormat,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Escaping<W> {
    type Writer = EscapingWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter { inner: self.inner.make_writer(), format: self.format }
    }
}

/// Takes one event a call, as the formatting layer writes them.
struct EscapingWriter<W> {
    inner: W,
    format: LogFormat,
}

impl<W: io::Write> io::Write for EscapingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (line, end) = match bytes.strip_suffix(b"\n") {
            Some(line) => (line, "\n"),
            None => (bytes, ""),
        };
        let text = String::from_utf8_lossy(line);
        let escaped = match self.format {
            LogFormat::Human => escape_untrusted(&text),
            LogFormat::Json => escape_in_json(&text),
        };
        self.inner.write_all(format!("{escaped}{end}").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const NASTY: &str = "x\u{1b}[31m\r\n2026 ERROR doorward: forged=1 \u{202e}gnp\u{7f}\u{9b}";

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: Level, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(subscriber(Log { format, level }, move || writer.clone()), events);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn nasty_event() {
        tracing::info!(userid = NASTY, attempt = %NASTY, debug = ?NASTY, "login {NASTY}");
    }

    #[test]
    fn q8_a_human_line_stays_one_line_without_control_characters() {
        let text = logged(LogFormat::Human, Level::INFO, nasty_event);
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(is_unseen), "{line:?}");
    }

    #[test]
    fn q8_a_value_cannot_pass_for_another_field() {
        let text = logged(LogFormat::Human, Level::INFO, || {
            tracing::info!(userid = %"ann result=OK", number = 7, plain = %"ann", "asked");
        });
        assert!(text.ends_with("asked userid=\"ann result=OK\" number=7 plain=ann\n"), "{text}");
    }

    #[test]
    fn q8_a_json_line_reads_back_and_holds_no_control_characters() {
        let text = logged(LogFormat::Json, Level::INFO, nasty_event);
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(is_unseen), "{line:?}");
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["userid"], NASTY);
        assert_eq!(json["attempt"], NASTY);
        assert_eq!(json["level"], "INFO");
    }

    #[test]
    fn the_level_holds_for_our_own_code_and_others_speak_from_warn() {
        let events = || {
            tracing::debug!("ours fine");
            tracing::debug!(target: "hyper::proto", "theirs fine");
            tracing::warn!(target: "hyper::proto", "theirs grave");
        };
        let debug = logged(LogFormat::Human, Level::DEBUG, events);
        assert!(
            debug.contains("ours fine") && debug.contains("theirs grave") && !debug.contains("theirs fine")
        );
        let error = logged(LogFormat::Human, Level::ERROR, events);
        assert_eq!(error, "");
    }
}
