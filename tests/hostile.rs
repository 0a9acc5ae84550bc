//! Bytes that were not written by us: damaged graph texts, damaged files, damaged requests. Whatever they say, the
//! answer is a result or an error in words. What still parses goes through every stage, before all three judges.

mod support;

use lossjit::Dtype;
use lossjit::ir::parse;
use lossjit::oracle::graph::Buffer;
use ndarray::ArrayD;
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::mutate::damaged;
use support::text::judge;
use support::{Case, Machine, case};

/// Texts to begin with: random graphs, and the graphs of the losses as they are pinned.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = (0..80).map(|seed| case(seed).graph.to_string()).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots");
    let mut losses: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    losses.sort();
    for loss in losses {
        let text = std::fs::read_to_string(loss.join("joint.snap")).unwrap();
        // The report on the simplification stands behind an empty line.
        let graph = text[text.find("graph ").expect("a graph")..].split("\n\n").next().unwrap();
        parse(graph).unwrap_or_else(|e| panic!("{}: {e}", loss.display()));
        texts.push(graph.to_string());
    }
    texts
}

fn damaged_texts(seeds: std::ops::Range<u64>) {
    let texts = texts();
    let (mut graphs, mut failures) = (0, vec![]);
    for seed in seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (text, other) = (&texts[rng.usize(..texts.len())], &texts[rng.usize(..texts.len())]);
        let bytes = damaged(&mut rng, text.as_bytes(), other.as_bytes());
        let Ok(text) = String::from_utf8(bytes) else { continue };
        match catch_unwind(AssertUnwindSafe(|| judge(&text, seed))) {
            Ok(Ok(is_graph)) => graphs += usize::from(is_graph),
            Ok(Err(problem)) => failures.push(format!("seed {seed}: {problem}")),
            Err(_) => failures.push(format!("seed {seed}: panics\n{text}")),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..failures.len().min(5)].join("\n"));
    println!("{graphs} damaged texts were graphs");
    assert!(graphs > 50, "{graphs}");
}

#[test]
fn damaged_graph_texts() {
    damaged_texts(0..2500);
}

/// A longer run: `cargo test --release --test hostile -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn many_damaged_graph_texts() {
    damaged_texts(2500..120_000);
}

/// Rows by class numbers that are out of range: the elementary function takes its whole tile from somewhere harmless.
#[test]
fn rows_that_are_not_there() {
    let text = "graph g(table[v d]: float, label[n]: int) over n v d
%0[n]: int = read label @n
%1[n d]: float = read table %0 @d
%2[n d]: float = exp %1
%3[n]: float = sum @d %2
out[n] = %3
";
    let graph = parse(text).unwrap();
    let extents = vec![3, 2, 700];
    let table = Buffer::Float(ArrayD::from_elem(vec![2, 700], 0.0));
    let label = Buffer::Int(ArrayD::from_shape_vec(vec![3], vec![1, 7, -9_000_000_000]).unwrap());
    let case = Case { graph, extents, inputs: vec![table, label] };
    for (seed, real) in (0..8).flat_map(|seed| [(seed, Dtype::F32), (seed, Dtype::F64)]) {
        let (status, outputs) = Machine::new(&case, real, seed).unwrap().run_on(&case).unwrap();
        assert!(!status.is_clean());
        assert_eq!(outputs[0][[0]], 700.0);
    }
}

/// What the fuzz targets begin with, and what they have found.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn corpus_of_graphs() {
    let corpus = corpus("graph");
    for bytes in &corpus {
        judge(&String::from_utf8_lossy(bytes), bytes.len() as u64).unwrap();
    }
    assert!(corpus.len() > 10);
}

#[test]
fn corpus_of_losses() {
    let corpus = corpus("losses");
    for bytes in &corpus {
        let seed = bytes.iter().fold(0u64, |seed, &byte| seed << 8 | u64::from(byte));
        let case = support::losses::loss_case(seed, 1200);
        support::reference::judge(&case).unwrap_or_else(|problem| panic!("{case}\n{problem}"));
    }
    assert!(corpus.len() > 10);
}

#[cfg(feature = "cli")]
mod files {
    use super::damaged;
    use lossjit::cli::files::read;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Files of every format, small ones.
    fn sound() -> Vec<(&'static str, Vec<u8>)> {
        let numbers: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let npy = |descr: &str, fortran: &str, shape: &str| {
            let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
            while !(header.len() + 11).is_multiple_of(64) {
                header.push(' ');
            }
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((header.len() as u16 + 1).to_le_bytes());
            [bytes, header.into_bytes(), b"\n".to_vec(), numbers.clone()].concat()
        };
        let tensors = |header: &str| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.bytes());
            [bytes, numbers.clone()].concat()
        };
        let zip = |method: zip::CompressionMethod| {
            let mut archive = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
            let options = zip::write::SimpleFileOptions::default().compression_method(method);
            archive.start_file("x.npy", options).unwrap();
            std::io::Write::write_all(&mut archive, &npy("<f4", "False", "(2, 3)")).unwrap();
            archive.finish().unwrap().into_inner()
        };
        vec![
            ("npy", npy("<f4", "False", "(2, 3)")),
            ("npy", npy(">i4", "True", "(3, 2)")),
            ("npy", npy("|u1", "False", "(24,)")),
            ("npz", zip(zip::CompressionMethod::Stored)),
            ("npz", zip(zip::CompressionMethod::Deflated)),
            ("safetensors", tensors(r#"{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#)),
            (
                "safetensors",
                tensors(
                    r#"{"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},"b":{"dtype":"U8","shape":[8,1],"data_offsets":[16,24]}}"#,
                ),
            ),
        ]
    }

    fn damaged_files(seeds: std::ops::Range<u64>) {
        let (folder, sound) = (tempfile::tempdir().unwrap(), sound());
        let (mut arrays, mut failures) = (0, vec![]);
        for (extension, bytes) in &sound {
            let path = folder.path().join(format!("sound.{extension}"));
            std::fs::write(&path, bytes).unwrap();
            let read = read(path.to_str().unwrap());
            assert!(
                read.is_ok() || *extension == "safetensors",
                "{extension}: {:?}",
                read.err().map(|e| e.to_string())
            );
        }
        for seed in seeds {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (extension, bytes) = &sound[rng.usize(..sound.len())];
            let other = &sound[rng.usize(..sound.len())].1;
            let path = folder.path().join(format!("damaged.{extension}"));
            let bytes = damaged(&mut rng, bytes, other);
            std::fs::write(&path, &bytes).unwrap();
            match catch_unwind(AssertUnwindSafe(|| read(path.to_str().unwrap()))) {
                Ok(Ok(_)) => arrays += 1,
                Ok(Err(error)) => {
                    let text = error.to_string();
                    if text.contains('\n') || !text.contains("damaged.") {
                        failures.push(format!("seed {seed}: told as `{text}`"));
                    }
                }
                Err(_) => failures.push(format!("seed {seed}: panics")),
            }
        }
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..failures.len().min(8)].join("\n"));
        assert!(arrays > 10, "{arrays}");
    }

    #[test]
    fn damaged_arrays() {
        damaged_files(0..6000);
    }

    #[test]
    #[ignore = "takes minutes"]
    fn many_damaged_arrays() {
        damaged_files(6000..600_000);
    }

    #[test]
    fn corpus_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = super::corpus("files");
        for bytes in &corpus {
            let extension = ["npy", "npz", "safetensors"][usize::from(bytes[0]) % 3];
            let path = folder.path().join(format!("x.{extension}"));
            std::fs::write(&path, &bytes[1..]).unwrap();
            let _ = read(path.to_str().unwrap());
        }
        assert!(corpus.len() > 5);
    }

    #[test]
    fn corpus_of_requests() {
        let corpus = super::corpus("requests");
        for bytes in &corpus {
            let mut answers = vec![];
            lossjit::cli::serve(&mut bytes.as_slice(), &mut answers).unwrap();
            for line in answers.split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
                let _: serde_json::Value = serde_json::from_slice(line).unwrap();
            }
        }
        assert!(corpus.len() > 3);
    }

    /// Requests to `lossjit bench --serve`: one answer a line, each a JSON object, and the program ends by itself.
    #[test]
    fn damaged_requests() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.bin"), [0; 48]).unwrap();
        std::fs::create_dir(folder.path().join("results")).unwrap();
        let prepare = concat!(
            r#"{"op":"prepare","case":{"loss":"L2","params":{"weight":0.5},"wrt":["pred"],"mode":"fwdbwd"},"inputs":{"#,
            r#""pred":{"path":"x.bin","shape":[3,4],"dtype":"float32"},"#,
            r#""label":{"path":"x.bin","shape":[3,4],"dtype":"float32"}},"out_dir":"results"}"#
        );
        let sound = [prepare, r#"{"op":"run","seconds":0.001}"#, r#"{"op":"hello"}"#, r#"{"op":"release"}"#];
        let mut requests = vec![];
        for seed in 0..1500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let line = sound[[0, 0, 0, 1, 2, 3][rng.usize(..6)]];
            let mut bytes = damaged(&mut rng, line.as_bytes(), prepare.as_bytes());
            bytes.retain(|&b| b != b'\n');
            // Long waits are no damage.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if !text.contains("run") || text.contains(r#""seconds":0.001}"#) {
                requests.push(bytes);
            }
        }
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_lossjit"))
            .args(["bench", "--serve"])
            .current_dir(folder.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sent = requests.clone();
        let writer = std::thread::spawn(move || {
            for line in sent {
                // Closed early where a request says `quit`, which damage does not make of these.
                stdin.write_all(&[line.as_slice(), b"\n"].concat()).unwrap();
            }
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && errors.is_empty(), "{:?}: {errors}", output.status);
        let answers: Vec<&[u8]> = output.stdout.split(|&b| b == b'\n').filter(|l| !l.is_empty()).collect();
        assert_eq!(answers.len(), requests.len());
        for (answer, request) in answers.iter().zip(&requests) {
            let answer: serde_json::Value = serde_json::from_slice(answer).unwrap();
            let told = answer["ok"] == true || answer["why"].as_str().is_some_and(|why| !why.contains("internal"));
            assert!(told, "{answer} to {}", String::from_utf8_lossy(request));
        }
    }
}
