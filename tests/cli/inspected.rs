//! What `inspect` prints and writes.

use crate::workdir::Workdir;
use serde_json::Value;
use std::fs;

const SOFTMAX: &str = "inspect SoftmaxCELoss --input pred=f32[64,1000] --input label=i32[64] --grad all";
const STAGES: [&str; 7] = ["trace", "simplify", "grad", "joint", "nest", "clif", "asm"];

#[test]
fn each_stage_is_shown_alone_and_with_all_others() {
    let dir = Workdir::new();
    let all = dir.done(SOFTMAX);
    for stage in STAGES {
        let alone = dir.done(&format!("{SOFTMAX} --stage {stage}"));
        assert!(all.contains(&format!("== {stage}\n{alone}\n")), "{stage}\n{alone}");
    }
    let explanation = dir.done(&format!("{SOFTMAX} --stage explain"));
    assert!(all.contains(&format!("== explain\n{explanation}")));
    assert!(explanation.contains("log of a quotient") && explanation.contains("log(a / b) = log(a) − log(b)"));
}

#[test]
fn graphs_and_nests_that_are_shown_parse_back() {
    let dir = Workdir::new();
    for stage in ["trace", "simplify", "grad", "joint"] {
        let text = dir.done(&format!("{SOFTMAX} --stage {stage}"));
        assert_eq!(lossjit::ir::parse(&text).unwrap().to_string(), text);
    }
    let text = dir.done(&format!("{SOFTMAX} --stage nest"));
    assert_eq!(lossjit::nest::parse(&text).unwrap().to_string(), text);
}

/// Comments do not matter to the parsers.
#[test]
fn origins_stand_behind_the_lines() {
    let dir = Workdir::new();
    let plain = dir.done(&format!("{SOFTMAX} --stage nest"));
    let text = dir.done(&format!("{SOFTMAX} --stage nest --origins"));
    assert!(
        text.lines().any(|l| l.contains("call %5 = log %4 ") && l.contains("# src/losses/softmax_ce.rs:")),
        "{text}"
    );
    assert_eq!(lossjit::nest::parse(&text).unwrap().to_string(), plain);
    let text = dir.done(&format!("{SOFTMAX} --stage simplify --origins"));
    assert!(text.contains("lse @c %0") && text.contains("# src/losses/softmax_ce.rs:"), "{text}");
    assert_eq!(lossjit::ir::parse(&text).unwrap().to_string(), dir.done(&format!("{SOFTMAX} --stage simplify")));
}

#[test]
fn origins_are_asked_for_where_there_are_some() {
    let dir = Workdir::new();
    let (all, nest) =
        (dir.done(&format!("{SOFTMAX} --origins")), dir.done(&format!("{SOFTMAX} --stage nest --origins")));
    assert!(all.contains(&format!("== nest\n{nest}\n")));
    let refused = dir.failed(2, &format!("{SOFTMAX} --stage cost --origins"));
    assert_eq!(refused, "error: --origins: only the stages' text and the JSON have them\n");
}

/// Code stands under the step that it was made for.
#[test]
fn code_names_its_steps() {
    let dir = Workdir::new();
    let stages = if cfg!(target_arch = "x86_64") { &["clif", "asm"][..] } else { &["clif"] };
    for stage in stages {
        let text = dir.done(&format!("{SOFTMAX} --stage {stage}"));
        let step = text.lines().find(|l| l.starts_with("; call %3 = exp %2 with ")).unwrap_or_else(|| panic!("{text}"));
        assert!(step.contains("  src/losses/softmax_ce.rs:"), "{step}");
        assert!(text.contains("; store out[n] = "), "{text}");
    }
}

#[test]
fn json_of_all_and_of_one_stage() {
    let dir = Workdir::new();
    let all: Value = serde_json::from_str(&dir.done(&format!("{SOFTMAX} --format json"))).unwrap();
    assert_eq!((&all["schema"], all["listings"].as_array().unwrap().len()), (&1.into(), 7));
    for (place, stage) in STAGES.iter().enumerate() {
        let one: Value = serde_json::from_str(&dir.done(&format!("{SOFTMAX} --format json --stage {stage}"))).unwrap();
        assert_eq!(one["listings"].as_array().unwrap().len(), 1);
        assert_eq!(one["listings"][0], all["listings"][place]);
        assert_eq!(one["symbol"], "softmax_cross_entropy.value_and_grad.f32[64,1000]");
        assert!(one.get("cost").is_none() && one.get("derivations").is_none());
    }
    let why: Value = serde_json::from_str(&dir.done(&format!("{SOFTMAX} --format json --stage explain"))).unwrap();
    assert_eq!(why["derivations"], all["derivations"]);
}

#[test]
fn cost_has_times_and_with_a_run_the_time_it_took() {
    let dir = Workdir::new();
    let text = dir.done(&format!("{SOFTMAX} --stage cost --threads 1"));
    assert!(text.contains("times on 1 thread\n") && text.contains("\nat least "), "{text}");
    assert!(!text.contains("\nmeasured "));
    let shown: Value =
        serde_json::from_str(&dir.done(&format!("{SOFTMAX} --stage cost --run --threads 1 --format json"))).unwrap();
    let number = |path: &str| shown.pointer(path).and_then(Value::as_f64).unwrap();
    let longest = number("/machine/memory_s").max(number("/machine/flops_s")).max(number("/machine/math_s"));
    assert_eq!(number("/machine/least_s"), longest);
    assert!(number("/measured/median_s") >= number("/measured/fastest_s") && number("/measured/fastest_s") > 0.0);
}

#[test]
fn dot_of_one_stage_and_of_all() {
    let dir = Workdir::new();
    let one = dir.done(&format!("{SOFTMAX} --stage joint --format dot"));
    assert!(one.starts_with("digraph ") && one.contains("lse @c"));
    let all = dir.done(&format!("{SOFTMAX} --format dot"));
    assert_eq!(all.matches("subgraph cluster_").count(), 5);
    let refused = dir.failed(2, &format!("{SOFTMAX} --stage cost --format dot"));
    assert!(refused.contains("dot: the explanation and the cost are no graphs"), "{refused}");
    let refused = dir.failed(2, &format!("{SOFTMAX} --stage asm --format dot"));
    assert!(refused.contains("dot: asm has no graph"), "{refused}");
}

#[test]
fn svg_of_one_stage_and_html_of_all() {
    let dir = Workdir::new();
    let joint = dir.done(&format!("{SOFTMAX} --format svg"));
    assert!(joint.starts_with("<svg ") && joint.contains("lse @c"));
    assert_eq!(joint, dir.done(&format!("{SOFTMAX} --stage joint --format svg")));
    let refused = dir.failed(2, &format!("{SOFTMAX} --stage clif --format svg"));
    assert!(refused.contains("svg: clif has no graph"), "{refused}");
    let refused = dir.failed(2, &format!("{SOFTMAX} --stage cost --format svg"));
    assert!(refused.contains("svg: the explanation and the cost are no graphs"), "{refused}");
    let page = dir.done(&format!("{SOFTMAX} --format html"));
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert!(STAGES.iter().all(|stage| page.contains(&format!("id=\"pane-{stage}\""))));
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let dir = Workdir::new();
    let text = dir.done(&format!("{SOFTMAX} --stage simplify"));
    assert_eq!(dir.done(&format!("{SOFTMAX} --stage simplify --output simple.graph")), "wrote simple.graph\n");
    assert_eq!(fs::read_to_string(dir.path("simple.graph")).unwrap(), text);
    let refused = dir.failed(1, &format!("{SOFTMAX} --output nowhere/report.txt"));
    assert!(refused.contains("nowhere"), "{refused}");
    let unknown = "inspect SoftmaxCELoss --input pred=f32[64,10] --input label=i32[64] --grad none";
    let refused = dir.failed(1, &format!("{unknown} --output simple.graph"));
    assert_eq!(refused, "error: none: has no gradient: it is not given; given are pred, label\n");
    assert_eq!(fs::read_to_string(dir.path("simple.graph")).unwrap(), text);
    assert_eq!(dir.files(), ["simple.graph"]);
}

#[test]
fn what_is_wrong_is_told() {
    let dir = Workdir::new();
    let refused = dir.failed(1, "inspect L2Loss --input pred=f32[3,4] --input label=f32[5]");
    assert!(refused.starts_with("error: label: shape [5] has 5 elements, but 12 are needed"), "{refused}");
    let refused = dir.failed(1, "inspect L2Loss --input pred=f32[3,4]");
    assert!(refused.starts_with("error: label: missing; "), "{refused}");
    let huge = "inspect SoftmaxCELoss --input pred=f32[4000000000,4000000000] --input label=i32[4000000000]";
    let refused = dir.failed(1, huge);
    let wanted = "error: pred: shape [4000000000, 4000000000] has more elements than memory can hold\n";
    assert_eq!(refused, wanted);
    let refused = dir.failed(2, &format!("{SOFTMAX} --stage kernel"));
    assert!(refused.contains("invalid value 'kernel' for '--stage <STAGE>'"), "{refused}");
}

/// `perf` finds the names of kernels in the map that the variable asks for.
#[cfg(unix)]
#[test]
fn a_perf_map_on_request() {
    let dir = Workdir::new();
    let run = |variable: Option<&str>| {
        let mut command = dir.command(&format!("{SOFTMAX} --stage joint"));
        command.stdout(std::process::Stdio::null());
        variable.map(|value| command.env("LOSSJIT_PERF_MAP", value));
        let mut child = command.spawn().unwrap();
        let path = format!("/tmp/perf-{}.map", child.id());
        assert!(child.wait().unwrap().success());
        let map = fs::read_to_string(&path).ok();
        let _ = fs::remove_file(path);
        map
    };
    let map = run(Some("1")).unwrap();
    let mut words = map.lines().next().unwrap().split(' ');
    let mut number = || usize::from_str_radix(words.next().unwrap(), 16).unwrap();
    assert!(number() > 0 && number() > 100);
    assert_eq!(words.next(), Some("softmax_cross_entropy.value_and_grad.f32[64,1000]"));
    assert_eq!(run(None), None);
}
