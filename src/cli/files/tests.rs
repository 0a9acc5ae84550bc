//! Sound files of every format, and what the other tests make files with.

mod refused;
mod written;

use super::*;
use ndarray::{ArrayD, arr0, arr2};
use std::io::{Cursor, Write};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16 + 1).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.push(b'\n');
    bytes.extend(data);
    bytes
}

fn header(descr: &str, fortran: bool, shape: &str) -> String {
    let fortran = if fortran { "True" } else { "False" };
    format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}")
}

/// `[[1, 2, 3], [4, 5, 6]]`.
fn matrix() -> Array {
    arr2(&[[1_f32, 2., 3.], [4., 5., 6.]]).into_dyn().into()
}

fn le(elements: &[f32]) -> Vec<u8> {
    elements.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn matrix_npy() -> Vec<u8> {
    npy(&header("'<f4'", false, "(2, 3)"), &le(&[1., 2., 3., 4., 5., 6.]))
}

fn npz(entries: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(method);
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn parse(format: Format, bytes: &[u8], key: Option<&str>) -> Result<Array, Problem> {
    let len = bytes.len() as u64;
    match format {
        Format::Npy => npy::read(&mut &bytes[..], len),
        Format::Npz => npz::read(Cursor::new(bytes), len, key),
        Format::Safetensors => safetensors::read(&mut Cursor::new(bytes), len, key),
    }
}

fn fault(format: Format, bytes: &[u8], key: Option<&str>) -> String {
    parse(format, bytes, key).unwrap_err().to_string()
}

fn saved(dir: &TempDir, name: &str, bytes: &[u8]) -> String {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().into()
}

#[test]
fn npy_of_any_order_is_read_row_major() {
    let columns = [1., 4., 2., 5., 3., 6.];
    let big: Vec<u8> = columns.iter().flat_map(|x: &f32| x.to_be_bytes()).collect();
    for bytes in [
        matrix_npy(),
        npy(&header("'<f4'", true, "(2, 3)"), &le(&columns)),
        npy(&header("'>f4'", true, "(2, 3)"), &big),
    ] {
        let array = parse(Format::Npy, &bytes, None).unwrap();
        assert_eq!(array, matrix());
        assert!(matches!(array, Array::F32(a) if a.is_standard_layout()));
    }
}

#[test]
fn npy_scalars_and_empty_arrays_are_read() {
    let scalar = npy(&header("'<i8'", false, "()"), &7_i64.to_le_bytes());
    assert_eq!(parse(Format::Npy, &scalar, None).unwrap(), arr0(7_i64).into_dyn().into());
    let empty = npy(&header("'|u1'", false, "(0, 3)"), &[]);
    assert_eq!(parse(Format::Npy, &empty, None).unwrap(), ArrayD::<u8>::zeros(vec![0, 3]).into());
}

#[test]
fn npz_finds_arrays_by_key() {
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let scalar = npy(&header("'<f8'", false, "()"), &2_f64.to_le_bytes());
        let two = npz(&[("pred.npy", matrix_npy()), ("label.npy", scalar), ("note.txt", vec![1])], method);
        assert_eq!(parse(Format::Npz, &two, Some("pred")).unwrap(), matrix());
        assert_eq!(parse(Format::Npz, &two, Some("pred.npy")).unwrap(), matrix());
        assert_eq!(fault(Format::Npz, &two, Some("x")), "no array named \"x\"; it holds: pred, label");
        assert!(fault(Format::Npz, &two, None).ends_with("it holds: pred, label"));
        let one = npz(&[("a.npy", matrix_npy())], method);
        assert_eq!(parse(Format::Npz, &one, None).unwrap(), matrix());
    }
    let none = npz(&[], CompressionMethod::Stored);
    assert_eq!(fault(Format::Npz, &none, None), "it holds no arrays");
}

#[test]
fn safetensors_finds_arrays_by_key() {
    let bytes = safetensors(
        r#"{"b":{"dtype":"U8","shape":[],"data_offsets":[24,25]},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#,
        &[le(&[1., 2., 3., 4., 5., 6.]), vec![9]].concat(),
    );
    assert_eq!(parse(Format::Safetensors, &bytes, Some("a")).unwrap(), matrix());
    assert_eq!(parse(Format::Safetensors, &bytes, Some("b")).unwrap(), arr0(9_u8).into_dyn().into());
    assert!(fault(Format::Safetensors, &bytes, None).ends_with("it holds: a, b"));
    assert!(fault(Format::Safetensors, &bytes, Some("c")).ends_with("it holds: a, b"));
}

#[test]
fn specs_split_at_the_colon_after_an_extension() {
    for (spec, split_to) in [
        ("a.npy", ("a.npy", None)),
        ("a.npz:x", ("a.npz", Some("x"))),
        ("A.NPZ:x", ("A.NPZ", Some("x"))),
        ("a.safetensors:x:0", ("a.safetensors", Some("x:0"))),
        ("C:/a:b/c.npz", ("C:/a:b/c.npz", None)),
        ("a:b.npz:x", ("a:b.npz", Some("x"))),
        ("a.npz:", ("a.npz", Some(""))),
        ("a.txt:x", ("a.txt:x", None)),
        ("é", ("é", None)),
    ] {
        assert_eq!(split(spec), split_to);
    }
}
