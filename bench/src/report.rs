//! The report: Markdown with pictures beside it, one file for each part and one with all of them.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use crate::{
    ground::{Ground, machine_load, processor, said},
    load::Series,
    parts::Part,
    statistics::{time, whole},
};

/// How far the yardstick may swing between rounds before its rows are marked.
const SWING: f64 = 0.2;

/// What a part found out.
pub(crate) struct Section {
    part: Part,
    text: String,
    load: String,
}

/// A table, line by line.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { head: head.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.to_vec());
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.head) + &rule + &rows
    }
}

impl Section {
    /// Begins the section of a part. The machine's load is taken now, and again at the end.
    pub(crate) fn new(part: Part, title: &str) -> Self {
        eprintln!("{title}");
        Self { part, text: format!("## {title}\n\n"), load: machine_load() }
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push_str("\n\n");
    }

    pub(crate) fn heading(&mut self, text: &str) {
        let _ = write!(self.text, "### {text}\n\n");
    }

    pub(crate) fn table(&mut self, table: &Table) {
        self.text.push_str(&table.markdown());
        self.text.push('\n');
    }

    /// A picture, which is put beside the text.
    pub(crate) fn picture(
        &mut self,
        ground: &Ground,
        name: &str,
        what: &str,
        svg: &str,
    ) -> anyhow::Result<()> {
        let file = format!("{name}.svg");
        fs::write(ground.out.join(&file), svg)?;
        let _ = write!(self.text, "![{what}]({file})\n\n");
        Ok(())
    }

    /// What was compared, each beside a yardstick among them.
    pub(crate) fn compared(&mut self, series: &[Series], yardstick: usize) {
        let reference = &series[yardstick];
        let swing = reference.spread(|run| run.rate).swing();
        let mark = if swing > SWING { " †" } else { "" };
        let mut table = Table::new([
            "asked",
            "requests/s, median (least–most)",
            &format!("of “{}”", reference.label),
            "CPU a request",
            "of its CPU",
            "p50",
            "p99",
            "p99.9",
            "busy",
        ]);
        for one in series {
            table.row([
                one.label.clone(),
                one.spread(|run| run.rate).show(whole),
                format!("{}{mark}", one.ratio(reference, |run| run.rate)),
                format!("{:.2} µs", one.spread(|run| run.cpu).median * 1e6),
                one.ratio(reference, |run| run.cpu).to_string(),
                time(one.spread(|run| run.p50).median),
                time(one.spread(|run| run.p99).median),
                time(one.spread(|run| run.p999).median),
                format!("{:.0}%", one.spread(|run| run.busy).median * 100.0),
            ]);
        }
        self.table(&table);
        if swing > SWING {
            let percent = swing * 100.0;
            self.paragraph(&format!(
                "† “{}” itself swung by {percent:.0}% between the rounds: others used the machine. The ratio of CPU bears \
                 that better than the ratio of requests.",
                reference.label
            ));
        }
    }

    /// Writes the section and the report of all sections that are there, and prints the section.
    pub(crate) fn finish(self, ground: &Ground) -> anyhow::Result<()> {
        let args = &ground.args;
        let conditions = format!(
            "{}, {}, {} of its cores, {}; {} rounds of {} s{}. Load {} before and {} after.\n",
            jiff::Timestamp::now().strftime("%F %H:%M UTC"),
            processor(),
            ground.cores.count,
            said(Command::new("uname").arg("-sr"))?,
            args.rounds,
            args.seconds,
            if args.quick { " (--quick)" } else { "" },
            self.load,
            machine_load(),
        );
        let text = format!("{}{conditions}", self.text);
        fs::write(ground.out.join(self.part.file()), &text)?;
        println!("{text}");
        write_report(&ground.out)
    }
}

/// Puts together what the parts have written, in their order.
fn write_report(folder: &Path) -> anyhow::Result<()> {
    let mut report = String::from("# Measured by bench/run\n");
    for part in Part::ALL {
        if let Ok(text) = fs::read_to_string(folder.join(part.file())) {
            report.push('\n');
            report.push_str(&text);
        }
    }
    Ok(fs::write(folder.join("report.md"), report)?)
}
