//! How far an import is: a bar on a terminal, a line now and then elsewhere.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::progress::Progress;

/// How often a line is written where there is no terminal.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// What shows the progress.
pub(super) struct Display {
    bar: Option<ProgressBar>,
    /// The bytes of the file, as far as they are known.
    length: Option<u64>,
    began: Instant,
    /// What was there before this began.
    rows_before: u64,
    bytes_before: u64,
    last_line: Instant,
}

impl Display {
    pub(super) fn new(length: Option<u64>, progress: &Progress) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| match length {
            Some(length) => {
                ProgressBar::new(length).with_style(style("{bar:30} {percent:>3} %  {msg}  {eta} to go"))
            }
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        });
        if let Some(bar) = &bar {
            bar.set_position(progress.place.byte);
            bar.reset_eta();
        }
        let (rows_before, bytes_before) = (progress.rows(), progress.place.byte);
        Self { bar, length, began: now, rows_before, bytes_before, last_line: now }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = (progress.rows() - self.rows_before) as f64 / seconds;
        let told = format!("{}; {rate:.0} rows/s", progress.told());
        if let Some(bar) = &self.bar {
            bar.set_position(progress.place.byte);
            bar.set_message(told);
        } else if self.last_line.elapsed() >= LINES_EVERY {
            self.last_line = Instant::now();
            eprintln!("{told}{}", self.to_go(progress.place.byte, seconds));
        }
    }

    /// How much longer it takes at the pace until now.
    fn to_go(&self, byte: u64, seconds: f64) -> String {
        let done = byte.saturating_sub(self.bytes_before) as f64;
        match self.length {
            Some(length) if done > 0.0 => {
                let rest = length.saturating_sub(byte) as f64 * seconds / done;
                let rest = Duration::from_secs(rest as u64);
                format!("; {} to go", humantime::format_duration(rest))
            }
            _ => String::new(),
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
