//! Who may know whom, read from the `use` lines and paths of the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms that it may name. A room may always name itself and `error`.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("ir", &[]),
    ("vmath", &[]),
    ("team", &[]),
    ("native", &["ir", "vmath", "team"]),
    ("trace", &["ir"]),
    ("grad", &["ir"]),
    ("simplify", &["ir"]),
    ("nest", &["ir"]),
    ("losses", &["ir", "trace"]),
    ("oracle", &["ir", "nest"]),
    ("jit", &["ir", "nest", "native", "vmath"]),
    ("runtime", &["ir", "vmath", "team", "native", "trace", "grad", "simplify", "nest", "losses", "oracle", "jit"]),
    ("inspect", &["ir", "trace", "grad", "simplify", "nest", "losses", "jit", "runtime"]),
    ("cli", &["inspect", "ir", "trace", "grad", "nest", "losses", "oracle", "jit", "runtime"]),
];

/// Each dependency with the only places that may name it.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("egg", &["simplify/", "ir/node.rs"]),
    ("quanta", &["simplify/"]),
    ("cranelift_", &["jit/"]),
    ("rayon", &["team.rs"]),
    ("tracing", &["runtime/"]),
    ("ndarray_npy", &["cli/"]),
    ("clap", &["cli/"]),
    ("safetensors", &["cli/"]),
    ("serde", &["inspect/"]),
    ("serde_json", &["cli/", "inspect/"]),
    ("iced_x86", &["jit/"]),
    ("tempfile", &["cli/"]),
    ("zip", &["cli/"]),
    ("libc", &["cli/"]),
];

const UNSAFE: &[&str] = &["cli/pages.rs", "jit/", "vmath/", "native/", "runtime/", "team.rs"];
const LONGEST: usize = 500;

/// Every source file, by its path below `src`, with its text.
fn sources() -> Vec<(String, String)> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { visit(&path, found) } else { found.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![];
    visit(&root, &mut found);
    found.sort();
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Code without its comments, which may speak of anything, and without the part that is only for tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn is_test(file: &str) -> bool {
    file.contains("/tests")
}

/// The words behind each `before`, as in `crate::WORD`; those in braces too.
fn words_behind<'t>(code: &'t str, before: &str) -> BTreeSet<&'t str> {
    let word = |text: &'t str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
    let mut words = BTreeSet::new();
    for (place, _) in code.match_indices(before) {
        let rest = &code[place + before.len()..];
        match rest.strip_prefix('{') {
            Some(list) => words.extend(list[..list.find("};").unwrap()].split(',').map(|w| word(w.trim()))),
            None => {
                words.insert(word(rest));
            }
        }
    }
    words
}

#[test]
fn rooms_know_only_what_they_may() {
    let mut checked = 0;
    for (file, text) in sources().iter().filter(|(file, _)| !is_test(file)) {
        let here = room(file);
        if ["lib", "main"].contains(&here) {
            continue;
        }
        let (_, may) = ROOMS.iter().find(|(name, _)| *name == here).unwrap_or_else(|| panic!("{here}: no such room"));
        for there in words_behind(&code(text), "crate::") {
            let allowed = there == here || there == "error" || may.contains(&there);
            assert!(allowed, "{file} names {there}, but {here} may not");
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} paths were found");
}

#[test]
fn dependencies_have_one_room() {
    for (dependency, places) in DEPENDENCIES {
        let names = |text: &str| {
            let code = code(text);
            code.match_indices(dependency).any(|(place, _)| {
                let before = code[..place].chars().next_back();
                let behind = code[place + dependency.len()..].chars().next();
                let starts = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '"' && c != '.');
                let path = dependency.ends_with('_') || behind == Some(':');
                starts && path
            })
        };
        let mut users = 0;
        for (file, text) in sources().iter().filter(|(_, text)| names(text)) {
            assert!(places.iter().any(|p| file.starts_with(p)), "{file} names {dependency}");
            users += usize::from(!text.is_empty());
        }
        assert!(users > 0, "nobody names {dependency}");
    }
}

/// Unsafe code is rare, in its rooms, and argued for.
#[test]
fn unsafe_code_is_argued_for() {
    let mut found = 0;
    for (file, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let block = code.contains("unsafe {") || code.trim_start().starts_with("unsafe impl");
            if !block && !code.contains("unsafe fn") {
                continue;
            }
            assert!(UNSAFE.iter().any(|p| file.starts_with(p)), "{file}:{}: unsafe code", number + 1);
            found += 1;
            if !block || is_test(&file) {
                continue;
            }
            // The comment stands above the statement that the block is in.
            let above = lines[..number].iter().rev().take(6);
            assert!(above.clone().any(|l| l.contains("SAFETY:")), "{file}:{}: no SAFETY comment", number + 1);
        }
    }
    assert!(found > 5);
}

#[test]
fn files_are_short() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{file} has {lines} lines");
    }
}
