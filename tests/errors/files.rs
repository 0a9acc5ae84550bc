//! What is told of files: damaged, lying, unreadable, and those that cannot be written.

use lossjit::cli::array::Array;
use lossjit::cli::files::{read, write_safetensors};
use ndarray::ArrayD;
use std::fs;
use std::path::Path;

fn npy(descr: &str, shape: &str, data: usize) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &vec![0; data]].concat()
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

fn npz(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut archive, bytes).unwrap();
    archive.finish().unwrap().into_inner()
}

const TWO: &str =
    r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;

#[test]
fn files_that_cannot_be_read() {
    let vast = "(4294967296, 4294967296)";
    let rows: &[(&str, Vec<u8>, &str, &str)] = &[
        ("empty.npy", vec![], "", "the file is empty"),
        ("x.bin", vec![1], "", "unknown file extension; supported are .npy, .npz and .safetensors"),
        (
            "x.npy",
            npy("<f4", "(2, 3)", 24),
            ":k",
            "a .npy file holds one array without a name, so it cannot be asked for \"k\"",
        ),
        (
            "x.npy",
            b"\x93NUMPX\x01\x00".to_vec(),
            "",
            "not a sound .npy file: it does not start with the bytes \\x93NUMPY",
        ),
        ("x.npy", npy("<f4", "(2, 3)", 24)[..40].to_vec(), "", "not a sound .npy file: it ends inside its header"),
        ("x.npy", npy("<f4", "(2, 3)", 23), "", "shape [2, 3] of f32 takes 24 bytes, but 23 bytes follow the header"),
        ("x.npy", npy("<f4", "(2, 3)", 25), "", "shape [2, 3] of f32 takes 24 bytes, but 25 bytes follow the header"),
        ("x.npy", npy("<f4", vast, 24), "", "shape [4294967296, 4294967296] of f32 is larger than memory can be"),
        (
            "x.npy",
            npy("<i2", "(2,)", 4),
            "",
            "dtype i16 (\"<i2\") is not supported; supported are f32, f64, i32, i64, u8, u32, bf16, f16",
        ),
        ("x.npz", npz("readme.txt", b"none"), "", "it holds no arrays"),
        ("x.npz", npz("a.npy", &npy("<f4", "(1,)", 4)), ":b", "no array named \"b\"; it holds: a"),
        (
            "x.npz",
            npz("a.npy", &npy("<f4", "(1,)", 3)),
            "",
            "array \"a\": shape [1] of f32 takes 4 bytes, but 3 bytes follow the header",
        ),
        ("x.safetensors", safetensors(TWO, 2), "", "it holds several arrays, name one as FILE:KEY; it holds: a, b"),
        (
            "x.safetensors",
            safetensors(TWO, 1),
            ":a",
            "not a sound .safetensors file: its arrays cover 2 bytes, but 1 follow the header",
        ),
        (
            "x.safetensors",
            safetensors("{", 0)[..8].to_vec(),
            "",
            "not a sound .safetensors file: it declares a header of 1 bytes, but 0 follow and at most 100000000 are accepted",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, key, message) in rows {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let told = read(&format!("{}{key}", path.display())).err().unwrap_or_else(|| panic!("{message}")).to_string();
        assert_eq!(told, format!("{}: {message}", path.display()));
        fs::remove_file(&path).unwrap();
    }
    let folder = folder.path().join("folder.npy");
    fs::create_dir(&folder).unwrap();
    let told = read(folder.to_str().unwrap()).unwrap_err().to_string();
    assert!(told.ends_with("folder.npy: not a regular file"), "{told}");
    let told = read("nowhere.npy").unwrap_err().to_string();
    assert_eq!(told, "nowhere.npy: No such file or directory (os error 2)");
}

/// A sparse file is as large as it says and takes no room on the disk.
#[test]
#[cfg(target_os = "linux")]
fn files_larger_than_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let (head, size) = (npy("<f8", "(35184372088832,)", 0), 8u64 << 45);
    fs::write(&path, &head).unwrap();
    // Not every file system has files of this size.
    if fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(head.len() as u64 + size).is_ok() {
        let told = read(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(told.ends_with("x.npy: no memory for shape [35184372088832] of f64"), "{told}");
    }
}

#[test]
fn files_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let array = || Array::from(ArrayD::<f32>::zeros(vec![300, 1000]));
    let path = folder.path().join("x.safetensors");
    fs::write(&path, "what was here").unwrap();
    let told = |path: &Path, arrays: &[(String, Array)]| write_safetensors(path, arrays).unwrap_err().to_string();
    let twice = told(&path, &[("a".into(), array()), ("a".into(), array())]);
    assert!(twice.ends_with("x.safetensors: two arrays are named \"a\""), "{twice}");
    let reserved = told(&path, &[("__metadata__".into(), array())]);
    assert!(reserved.ends_with("no array may be named \"__metadata__\" in a safetensors file"), "{reserved}");
    let nowhere = told(Path::new("nowhere/x.safetensors"), &[("a".into(), array())]);
    assert_eq!(nowhere, "nowhere/x.safetensors: no file can be created in directory nowhere: entity not found");
    if cfg!(target_os = "linux") {
        let full = told(Path::new("/dev/full"), &[("a".into(), array())]);
        assert_eq!(full, "/dev/full: not a regular file");
    }
    assert_eq!(fs::read(&path).unwrap(), b"what was here");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}
