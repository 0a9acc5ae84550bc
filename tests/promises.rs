//! What the documents say of the project is so: promises name tests that exist, the inventory of unsafe code is complete.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The words in backticks of a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_promise_names_a_test() {
    let (page, mut rows, mut tests) = (read("docs/promises.md"), 0, 0);
    for row in page.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| promise") && !l.starts_with("| ---")) {
        rows += 1;
        let held_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<_> = quoted(held_by).collect();
        assert!(!named.is_empty(), "nothing holds: {row}");
        for name in named {
            let (file, test) = name.split_once("::").unwrap_or_else(|| panic!("{name} is no test"));
            let text = read(file);
            let at = text.find(&format!("fn {test}(")).unwrap_or_else(|| panic!("{file} has no {test}"));
            let above = text[..at].rsplit("}\n").next().unwrap();
            assert!(above.contains("#[test]"), "{name} is no test");
            tests += 1;
        }
    }
    assert!(rows > 20 && tests >= rows, "{rows} rows, {tests} tests");
}

/// The sources outside tests that have unsafe code, with the number of lines that have it.
fn unsafe_code(folder: &str, found: &mut Vec<(String, usize)>) {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            unsafe_code(&path, found);
        } else if path.ends_with(".rs") && !path.contains("/tests") {
            let is_unsafe = |line: &&str| {
                let code = line.split("//").next().unwrap();
                ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|word| code.contains(word))
            };
            let count = read(&path).lines().filter(is_unsafe).count();
            if count > 0 {
                found.push((path, count));
            }
        }
    }
}

#[test]
fn the_inventory_of_unsafe_code_is_true() {
    let mut found = vec![];
    unsafe_code("src", &mut found);
    found.sort();
    let page = read("SECURITY.md");
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (file, count) = (quoted(cells.next()?).next()?.to_string(), cells.next()?.parse().ok()?);
        cells.next().filter(|why| why.len() > 10).map(|_| (file, count))
    };
    let listed: Vec<(String, usize)> = page.lines().filter_map(row).collect();
    assert_eq!(listed, found, "SECURITY.md lists the left, src has the right");
}
