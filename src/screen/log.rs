//! What is logged on standard error besides the report.

use std::io::Write;

use super::style::Verbosity;

/// Starts the log on standard error: decisions and the protocol at the highest verbosities, and what `RUST_LOG` says.
#[cfg(feature = "rust-log")]
pub fn start_log(verbosity: Verbosity, debug_classify: bool) {
    use log::{Level, LevelFilter};
    let level = match verbosity.level() {
        0 => LevelFilter::Off,
        1 => LevelFilter::Error,
        2 | 3 => LevelFilter::Warn,
        4 => LevelFilter::Info,
        5 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(level)
        .format(|out, record| match record.level() {
            Level::Warn => writeln!(out, "{}", super::warning(record.args())),
            level => writeln!(
                out,
                "{}: {}",
                level.as_str().to_ascii_lowercase(),
                record.args()
            ),
        });
    if debug_classify {
        builder.filter_module("coracle::sync", level.max(LevelFilter::Debug));
    }
    builder.parse_default_env();
    // A second logger would be a program that uses the library and has its own.
    let _ = builder.try_init();
}

/// Starts the log on standard error: warnings, where the verbosity lets them through. What goes deeper needs the feature
/// `rust-log`.
#[cfg(not(feature = "rust-log"))]
pub fn start_log(verbosity: Verbosity, _debug_classify: bool) {
    use log::LevelFilter;

    struct Warnings;

    impl log::Log for Warnings {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() <= log::max_level()
        }

        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                let _ = writeln!(std::io::stderr(), "{}", super::warning(record.args()));
            }
        }

        fn flush(&self) {}
    }

    // A second logger would be a program that uses the library and has its own.
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(match verbosity.level() {
            0 | 1 => LevelFilter::Off,
            _ => LevelFilter::Warn,
        });
    }
}
