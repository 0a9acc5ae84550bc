//! The text of a report: stages as they are, the explanation as numbered steps, the cost as tables.

use super::laws::LSE;
use super::report::{
    Cost, Derivation, Formula, Line, Listing, Machine, Measured, Report, RewriteStep, Simplification, Stage, Validity,
};
use super::table::{Align, table};

impl Report {
    /// One stage: its text form. Code has a comment before the lines of each step of the nest: the step, and the places
    /// of the declaration that it comes from.
    pub fn stage_text(&self, stage: Stage) -> String {
        match (stage, self.listing(stage)) {
            (Stage::Clif | Stage::Asm, Some(listing)) => self.code_text(listing),
            (_, Some(listing)) => listing.text(),
            (_, None) => String::new(),
        }
    }

    /// The same, with a comment behind each line of a graph or nest that says where it comes from. It parses back too.
    pub fn stage_text_with_origins(&self, stage: Stage) -> String {
        match self.listing(stage) {
            Some(listing) if !listing.nodes.is_empty() => {
                let width =
                    listing.lines.iter().filter(|l| !l.origins.is_empty()).map(|l| l.text.chars().count()).max();
                let line = |line: &Line| match &line.origins[..] {
                    [] => format!("{}\n", line.text),
                    origins => {
                        let space = width.unwrap_or(0).saturating_sub(line.text.chars().count());
                        format!("{}{:space$}  # {}\n", line.text, "", self.places(origins))
                    }
                };
                listing.lines.iter().map(line).collect()
            }
            _ => self.stage_text(stage),
        }
    }

    /// Places of the declaration, each file named once.
    fn places(&self, origins: &[usize]) -> String {
        let mut text = String::new();
        let mut file = None;
        for origin in origins.iter().filter_map(|&origin| self.origins.get(origin)) {
            if file != Some(&origin.file) {
                text += &format!("{}{origin}", if file.is_some() { ", " } else { "" });
            } else if origin.file.is_empty() {
                text += &format!(" {}", origin.line);
            } else {
                text += &format!(" {}:{}", origin.line, origin.column);
            }
            file = Some(&origin.file);
        }
        text
    }

    fn code_text(&self, code: &Listing) -> String {
        let nest = code.parent.and_then(|parent| self.listing(parent));
        let mut text = String::new();
        let mut step = None;
        for line in &code.lines {
            let of = line.from.first().copied();
            if of.is_some() && of != step {
                let meant = of.zip(nest).and_then(|(of, nest)| nest.lines.get(of));
                let meant = meant.map_or(String::new(), |line| {
                    let places = if line.origins.is_empty() {
                        String::new()
                    } else {
                        format!("  {}", self.places(&line.origins))
                    };
                    format!("; {}{places}\n", line.text.trim_start())
                });
                text += &meant;
                step = of;
            }
            text += &format!("{}\n", line.text);
        }
        text
    }

    /// All stages, each under its name, then the explanation and the cost.
    pub fn text(&self) -> String {
        self.parts(|stage| self.stage_text(stage))
    }

    /// The same with [`stage_text_with_origins`](Self::stage_text_with_origins).
    pub fn text_with_origins(&self) -> String {
        self.parts(|stage| self.stage_text_with_origins(stage))
    }

    fn parts(&self, stage_text: impl Fn(Stage) -> String) -> String {
        let stages = self.listings.iter().map(|listing| listing.stage);
        let text: String = stages.map(|stage| format!("== {stage}\n{}\n", stage_text(stage))).collect();
        text + &format!("== explain\n{}\n== cost\n{}", self.explanation(), self.cost_text())
    }

    /// Why the compiled formulas equal the declared one: what each run of `simplify` did, then the steps for the loss and
    /// each gradient.
    pub fn explanation(&self) -> String {
        let mut text: String = self.simplifications.iter().map(simplification).collect();
        let mut known = vec![];
        if let Some(problem) = &self.unexplained {
            text += &format!("\nno steps: {problem}\n");
        }
        for (place, derivation) in self.derivations.iter().enumerate() {
            // A gradient begins as the loss does; its steps are shown from the first that differs.
            let first = self.derivations.first().filter(|_| place > 0);
            let same = first.map_or(0, |first| {
                first
                    .steps
                    .iter()
                    .zip(&derivation.steps)
                    .take_while(|(a, b)| a.rule == b.rule && a.after == b.after)
                    .count()
            });
            text += "\n";
            text += &chain(derivation, first.map_or("", |first| &first.output), same, &mut known);
        }
        text
    }

    /// What one run takes: loops, buffers, totals; and times, where they were measured.
    pub fn cost_text(&self) -> String {
        let mut text =
            format!("{}\n\n{}\n{}\n{}", self.symbol, loops(&self.cost), buffers(&self.cost), totals(&self.cost));
        if let Some(machine) = &self.machine {
            text += &format!("\n{}", speeds(machine, self.measured.as_ref()));
        }
        text
    }
}

fn simplification(run: &Simplification) -> String {
    let end = if run.saturated { "saturated" } else { "ended by a limit" };
    let end = if run.kept { "kept as it was" } else { end };
    let mut text = format!(
        "{}: {end} after {} iterations, {} nodes in {} classes, cost {} before and {} after\n",
        run.stage, run.iterations, run.nodes, run.classes, run.cost_before, run.cost_after
    );
    for fired in &run.fired {
        text += &format!("{:4} × {} ({})\n", fired.count, fired.rule, fired.validity);
    }
    text
}

/// Names that have been said to mean something.
type Known = Vec<String>;

fn chain(derivation: &Derivation, as_of: &str, same: usize, known: &mut Known) -> String {
    let Derivation { output, declared, steps, compiled } = derivation;
    let mut text = format!("{output}\n  declared\n    {}\n{}", declared.text, meanings(&[declared], known));
    match same {
        0 => {}
        1 => text += &format!("\n  1. as of {as_of}\n"),
        same => text += &format!("\n  1. to {same}. as of {as_of}\n"),
    }
    text += &steps[same..].iter().map(|s| step(s, known)).collect::<String>();
    text + &format!("\n  compiled\n    {}\n{}", compiled.text, meanings(&[compiled], known))
}

fn step(step: &RewriteStep, known: &mut Known) -> String {
    let RewriteStep { part_before, part_after, after, .. } = step;
    let how = match step.validity {
        Validity::Derivative => String::new(),
        validity => format!(", {validity}"),
    };
    let mut text = format!("\n  {}. {} ({}{how})\n", step.number, step.rule, step.stage);
    if let Some(equation) = &step.equation {
        let direction = if step.backward { ", from right to left" } else { "" };
        let guards = if step.guards.is_empty() { String::new() } else { format!(" where {}", step.guards.join(", ")) };
        text += &format!("     by {equation}{guards}{direction}\n");
    }
    text += &format!("       {}\n     → {}\n", part_before.text, part_after.text);
    if after.text != part_after.text {
        text += &format!("     so {}\n", after.text);
    }
    text + &meanings(&[part_before, part_after, after], known)
}

/// What the names mean that occur for the first time.
fn meanings(formulas: &[&Formula], known: &mut Known) -> String {
    let mut names: Vec<_> = formulas.iter().flat_map(|formula| &formula.names).collect();
    names.sort_by_key(|(name, _)| (name.len(), name.as_str()));
    names.dedup();
    names.retain(|(name, _)| !known.contains(name));
    known.extend(names.iter().map(|(name, _)| name.clone()));
    let [lse, means] = LSE.map(str::to_string);
    let log_sum_exp = (lse.clone(), means);
    if !known.contains(&lse) && formulas.iter().any(|formula| formula.mentions("lse_")) {
        known.push(lse);
        names.insert(0, &log_sum_exp);
    }
    names.iter().map(|(name, meaning)| format!("        {name} = {meaning}\n")).collect()
}

fn loops(cost: &Cost) -> String {
    let rows = cost.loops.iter().map(|l| {
        let by = match (l.block, l.part) {
            (Some(size), _) => format!(" by block of {size}"),
            (_, Some(size)) => format!(" by part of {size}"),
            (None, None) => if l.tiled { " by tile" } else { "" }.to_string(),
        };
        let parallel = if l.parallel { ", parallel" } else { "" };
        let head = match (l.axis.as_str(), l.kernel) {
            ("", _) => "once".to_string(),
            (axes, true) => format!("pairs over {axes}"),
            (axis, false) => format!("for {axis}{by}{parallel}"),
        };
        vec![
            format!("{}{head}", "  ".repeat(l.depth)),
            l.iterations.to_string(),
            l.unit().to_string(),
            l.flops.to_string(),
            l.math_calls.to_string(),
            l.summary.clone(),
        ]
    });
    let heads = ["loop", "in a run", "", "flops", "math calls", "what it does"];
    table(&heads, &[Align::Left, Align::Right, Align::Left, Align::Right, Align::Right, Align::Left], rows)
}

fn buffers(cost: &Cost) -> String {
    let rows = cost.buffers.iter().map(|b| {
        let what = if b.written { "written" } else { "read" };
        vec![
            b.name.clone(),
            what.to_string(),
            scaled(b.bytes as f64, "B"),
            b.accesses.to_string(),
            format!("{:.2}", b.passes),
        ]
    });
    let heads = ["buffer", "", "size", "accesses", "passes"];
    table(&heads, &[Align::Left, Align::Left, Align::Right, Align::Right, Align::Right], rows)
}

fn totals(cost: &Cost) -> String {
    let math: Vec<String> = cost.math.iter().map(|(name, calls)| format!("{calls} × {name}")).collect();
    let rows = [
        ("bytes read", scaled(cost.bytes_read as f64, "B"), String::new()),
        ("bytes written", scaled(cost.bytes_written as f64, "B"), String::new()),
        ("flops", cost.flops.to_string(), String::new()),
        ("math calls", cost.math_calls.to_string(), math.join(", ")),
        ("scratch", scaled(cost.scratch_bytes as f64, "B"), "for each thread".to_string()),
        ("intensity", format!("{:.2}", cost.intensity), "flops and math calls for each byte".to_string()),
    ];
    let rows = rows.into_iter().map(|(name, value, note)| vec![name.to_string(), value, note]);
    table(&[], &[Align::Left, Align::Right, Align::Left], rows)
}

fn speeds(machine: &Machine, measured: Option<&Measured>) -> String {
    let math: Vec<String> =
        machine.math_per_second.iter().map(|(name, speed)| format!("{} {name}", scaled(*speed, "/s"))).collect();
    let mut rows = vec![
        ("memory", machine.memory_s, scaled(machine.bytes_per_second, "B/s")),
        ("arithmetic", machine.flops_s, scaled(machine.flops_per_second, "flop/s")),
        ("math calls", machine.math_s, math.join(", ")),
        ("at least", machine.least_s, "the longest of these".to_string()),
    ];
    if let Some(measured) = measured {
        let share = 100.0 * machine.least_s / measured.median_s;
        rows.push((
            "measured",
            measured.median_s,
            format!("median of {} runs; the least time is {share:.0} % of it", measured.runs),
        ));
    }
    let threads = if machine.threads == 1 { "1 thread".to_string() } else { format!("{} threads", machine.threads) };
    let rows = rows.into_iter().map(|(name, time, note)| vec![name.to_string(), scaled(time, "s"), note]);
    format!("times on {threads}\n{}", table(&[], &[Align::Left, Align::Right, Align::Left], rows))
}

/// A number with three digits and a prefix of its unit.
fn scaled(value: f64, unit: &str) -> String {
    let prefixes = [("n", 1e-9), ("µ", 1e-6), ("m", 1e-3), ("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];
    let whole = unit == "B" && value < 1e3;
    let fits = |scale: f64| value.abs() >= 0.9995 * scale;
    let (prefix, scale) = prefixes.into_iter().rev().find(|(_, scale)| fits(*scale)).unwrap_or(("", 1.0));
    let value = value / scale;
    let decimals = if whole || value >= 99.95 || value == 0.0 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {prefix}{unit}")
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn numbers_have_three_digits() {
        let numbers = [(0.0, "B"), (12.0, "B"), (4096.0, "B"), (65_536_000.0, "B"), (0.0123, "s"), (9.99999e-7, "s")];
        let texts = ["0 B", "12 B", "4.10 kB", "65.5 MB", "12.3 ms", "1.00 µs"];
        assert_eq!(numbers.map(|(value, unit)| scaled(value, unit)), texts);
    }
}
