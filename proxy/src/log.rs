//! What Tacet tells on stderr while it works: one line each, `tacet: ` before it.

use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli;

/// Lets through what is at least as important as `level`.
pub fn start(level: cli::Level) {
    let filter = match level {
        cli::Level::Off => LevelFilter::OFF,
        cli::Level::Error => LevelFilter::ERROR,
        cli::Level::Warn => LevelFilter::WARN,
        cli::Level::Info => LevelFilter::INFO,
        cli::Level::Debug => LevelFilter::DEBUG,
        cli::Level::Trace => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt().with_max_level(filter).with_writer(std::io::stderr).event_format(Line).init();
}

/// `tacet: warning: what happened`
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let importance = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        write!(writer, "tacet: {importance}")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
