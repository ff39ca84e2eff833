//! Logs: for people on a terminal, otherwise one JSON object a line with MetalLB's keys.
//!
//! `ts` (RFC 3339), `level` (`debug`, `info`, `warn`, `error`), `caller` (file and line), `msg`, then the event's own
//! fields, flat. Every event that tells a change of state has a field `event` with its name.

use std::fmt;
use std::io::IsTerminal;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How much is logged; MetalLB's level names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Everything.
    All,
    /// Debug and above.
    Debug,
    /// Changes of state and above.
    Info,
    /// Warnings and above.
    Warn,
    /// Errors only.
    Error,
    /// Nothing.
    None,
}

impl LogLevel {
    fn filter(self) -> EnvFilter {
        // The library tells of each refusal and each failed connection each time; ours are told once, with the remedy.
        EnvFilter::new(match self {
            LogLevel::All => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info,kube_runtime=off,kube_client::client::builder=off",
            LogLevel::Warn => "warn,kube_runtime=off,kube_client::client::builder=off",
            LogLevel::Error => "error,kube_runtime=off,kube_client::client::builder=off",
            LogLevel::None => "off",
        })
    }
}

/// Starts logging to standard error: human where it is a terminal, JSON otherwise. A second call changes nothing.
pub fn init(level: LogLevel) {
    let human = std::io::stderr().is_terminal();
    // The announcing outlives the log's reader: by default, a line that can't be written is complained of with `eprintln`,
    // which panics where standard error is a closed pipe.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(level.filter())
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let started =
        if human { builder.event_format(Human).try_init() } else { builder.event_format(Json).try_init() };
    // The only error is that a subscriber is set already.
    drop(started);
}

const fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// One JSON object a line.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let head: [(&str, Value); 4] = [
            ("ts", format!("{:.6}", jiff::Timestamp::now()).into()),
            ("level", level_name(event.metadata().level()).into()),
            ("caller", caller(event).into()),
            ("msg", fields.0.remove("msg").unwrap_or_default()),
        ];
        let rest = fields.0.iter().map(|(key, value)| (key.as_str(), value.clone()));
        for (i, (key, value)) in head.into_iter().chain(rest).enumerate() {
            write!(writer, "{}{}:{value}", if i == 0 { '{' } else { ',' }, Value::from(key))?;
        }
        writeln!(writer, "}}")
    }
}

/// Time, level, message, then `key=value`.
struct Human;

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = jiff::Timestamp::now().to_string();
        let time = now.get(11..23).unwrap_or(&now);
        let message = fields.0.remove("msg");
        let message = message.as_ref().and_then(Value::as_str).unwrap_or_default();
        write!(writer, "{time} {:<5} {message}", level_name(event.metadata().level()))?;
        for (key, value) in &fields.0 {
            match value {
                Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
                    write!(writer, " {key}={text}")?
                }
                other => write!(writer, " {key}={other}")?,
            }
        }
        writeln!(writer)
    }
}

fn caller(event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let file = metadata.file().unwrap_or_default();
    let file = file.rsplit_once("src/").map_or(file, |(_, rest)| rest);
    format!("{file}:{}", metadata.line().unwrap_or_default())
}

/// An event's fields by name, the message as `msg`.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let key = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(key.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}
