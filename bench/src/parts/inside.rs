//! What is inside a verification, by criterion: `doorward-inside` measures, this reports.

use std::{fs, path::Path};

use anyhow::{Context, ensure};

use crate::{
    ground::Ground,
    parts::Part,
    pinning::pinned,
    report::{Section, Table},
};

pub(super) fn measure(ground: &Ground) -> anyhow::Result<()> {
    let mut section = Section::new(Part::Inside, "Inside");
    section.paragraph(
        "The session table by itself, on one core: sessions hit at random, ten of each user. A look is one lock of a part, the \
         record, whom it speaks for, and the time of use; its token's digest comes to it.",
    );
    let kept = ground.scratch.join("criterion");
    let program = ground.doorward.with_file_name("doorward-inside");
    ensure!(program.exists(), "{} is not built: run bench/run, which does", program.display());
    let mut command = pinned(&ground.cores.server, program);
    command.args(["--bench", "--noplot"]).env("CRITERION_HOME", &kept);
    command.env("SESSIONS_UP_TO", ground.args.sessions_up_to.to_string());
    let output = command.output()?;
    ensure!(output.status.success(), "criterion says: {}", String::from_utf8_lossy(&output.stderr));
    let mut found = Vec::new();
    collect(&kept, &mut found)?;
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let mut table = Table::new(["what", "time, median (95% confidence)", "one of them"]);
    for (_, name, [median, least, most], elements) in found {
        let each = |nanoseconds: f64| format!("{nanoseconds:.0} ns");
        table.row([
            name,
            format!("{} ({}–{})", each(median), each(least), each(most)),
            if elements > 1.0 { each(median / elements) } else { String::new() },
        ]);
    }
    section.table(&table);
    section.finish(ground)
}

/// A benchmark's number of elements and name, by which the rows are in order; its name; its median and the bounds of that in
/// nanoseconds; and how many things it does.
type Found = ((String, u64), String, [f64; 3], f64);

/// Collects what criterion has written, which is a folder for each benchmark.
fn collect(folder: &Path, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let read = |path: &Path| -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&fs::read(path).with_context(|| path.display().to_string())?)?)
    };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name == "new") {
            let (estimates, benchmark) =
                (read(&path.join("estimates.json"))?, read(&path.join("benchmark.json"))?);
            let median = &estimates["median"];
            let interval = &median["confidence_interval"];
            let number = |value: &serde_json::Value| value.as_f64().context("criterion wrote no number");
            let name = benchmark["full_id"].as_str().context("criterion wrote no name")?.to_owned();
            let sessions = benchmark["value_str"].as_str().and_then(|it| it.parse().ok()).unwrap_or(0);
            let function = benchmark["function_id"].as_str().unwrap_or_default().to_owned();
            let elements = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
            found.push((
                (function, sessions),
                name,
                [
                    number(&median["point_estimate"])?,
                    number(&interval["lower_bound"])?,
                    number(&interval["upper_bound"])?,
                ],
                elements,
            ));
        } else if path.is_dir() {
            collect(&path, found)?;
        }
    }
    Ok(())
}
