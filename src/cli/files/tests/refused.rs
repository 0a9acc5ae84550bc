//! Every way we know in which a file can be unfit: an error that says so, and never a panic.

use super::*;

#[test]
fn npy_refuses_other_dtypes_by_name() {
    for (descr, name) in [
        ("'<i2'", "dtype i16 (\"<i2\") is not supported; supported are f32, f64, i32, i64, u8, u32, bf16, f16"),
        ("'|b1'", "dtype bool"),
        ("'|i1'", "dtype i8"),
        ("'<u8'", "dtype u64"),
        ("'<c8'", "dtype complex64"),
        ("'<U5'", "dtype string"),
        ("'|O'", "dtype object"),
        ("'<V2'", "perhaps bf16"),
        ("'é'", "not text"),
        ("[('a', '<f4', (2,))]", "dtype structured"),
    ] {
        let message = fault(Format::Npy, &npy(&header(descr, false, "(1,)"), &[0]), None);
        assert!(message.contains(name), "{descr}: {message}");
    }
}

#[test]
fn npy_refuses_headers_that_lie() {
    for (shape, part) in [
        ("(2, 4)", "takes 32 bytes, but 24 bytes follow"),
        ("(2, 2)", "takes 16 bytes, but 24 bytes follow"),
        ("(4611686018427387904, 4)", "larger than memory"),
        ("(0, 9223372036854775807, 8)", "larger than memory"),
        ("(99999999999999999999,)", "bad shape"),
        ("(-2, 3)", "bad shape"),
        ("[2, 3]", "bad shape"),
    ] {
        let bytes = npy(&header("'<f4'", false, shape), &[0; 24]);
        let message = fault(Format::Npy, &bytes, None);
        assert!(message.contains(part), "{shape}: {message}");
    }
    let mut deep = "[".repeat(2000);
    deep += &"]".repeat(2000);
    assert!(fault(Format::Npy, &npy(&deep, &[]), None).contains("nests too deep"));
    let long = npy(&" ".repeat(20_000), &[]);
    assert!(fault(Format::Npy, &long, None).contains("20001 bytes, at most 10000"));
    let vast = b"\x93NUMPY\x02\x00\xff\xff\xff\xff";
    assert!(fault(Format::Npy, vast, None).contains("4294967295 bytes"));
}

#[test]
fn npz_refuses_entries_of_another_size_or_content() {
    let mut long = matrix_npy();
    long.push(0);
    let bytes = npz(&[("a.npy", long)], CompressionMethod::Deflated);
    assert!(fault(Format::Npz, &bytes, None).contains("array \"a\": shape [2, 3] of f32 takes"));
    let mut bytes = npz(&[("a.npy", matrix_npy())], CompressionMethod::Stored);
    let last = bytes.windows(4).rposition(|w| w == 6_f32.to_le_bytes()).unwrap();
    bytes[last] ^= 1;
    assert!(fault(Format::Npz, &bytes, None).contains("checksum"));
    // The unpacked size stands 24 bytes after the mark of the entry in the central directory.
    let at = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    bytes[at + 24..at + 28].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    assert!(fault(Format::Npz, &bytes, None).contains("declares 2147483647 bytes"));
}

#[test]
fn safetensors_refuses_headers_that_lie() {
    for (dtype, shape, offsets, part) in [
        ("I16", "[2]", "[0,4]", "array \"x\": dtype i16 is not supported; supported"),
        ("F8_E4M3", "[4]", "[0,4]", "dtype f8_e4m3"),
        ("I128", "[2]", "[0,4]", "unknown variant `I128`"),
        ("F32", "[2]", "[0,4]", "invalid shape, data type, or offset"),
        ("F32", "[1]", "[4,8]", "invalid offset for tensor `x`"),
        ("F32", "[2]", "[0,8]", "cover 8 bytes, but 4 follow"),
        ("U8", "[3]", "[0,3]", "cover 3 bytes, but 4 follow"),
        ("U8", "[18446744073709551615]", "[0,18446744073709551615]", "verflow"),
        ("F32", "[18446744073709551615,2]", "[0,4]", "verflow"),
        ("F32", "[-1]", "[0,4]", "invalid value"),
    ] {
        let header = format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#);
        let message = fault(Format::Safetensors, &safetensors(&header, &[0; 4]), None);
        assert!(message.contains(part), "{header}: {message}");
    }
    let vast = [u64::MAX.to_le_bytes().to_vec(), b"{}".to_vec()].concat();
    assert!(fault(Format::Safetensors, &vast, None).contains("18446744073709551615 bytes"));
    assert_eq!(fault(Format::Safetensors, &safetensors("{}", &[]), None), "it holds no arrays");
}

/// Every byte set to other values, and every length cut: an array or an error, never a panic.
#[test]
fn damage_never_panics() {
    let one = [("a.npy", matrix_npy())];
    let mut files = vec![
        (Format::Npy, matrix_npy()),
        (Format::Npz, npz(&one, CompressionMethod::Stored)),
        (Format::Npz, npz(&one, CompressionMethod::Deflated)),
    ];
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.safetensors");
    write_safetensors(&path, &[("a".into(), matrix())]).unwrap();
    files.push((Format::Safetensors, fs::read(path).unwrap()));
    for (format, bytes) in files {
        assert_eq!(parse(format, &bytes, None).unwrap(), matrix());
        for at in 0..bytes.len() {
            assert!(parse(format, &bytes[..at], None).is_err(), "{format:?} cut at {at}");
            let mut damaged = bytes.clone();
            for value in [0, 1, b'(', b'9', bytes[at] ^ 1, bytes[at] ^ 0x80, 0xff] {
                damaged[at] = value;
                let message = parse(format, &damaged, None)
                    .map_or_else(|problem| FileError::new(Path::new("a"), problem).to_string(), |_| String::new());
                assert!(!message.contains('\n'), "{message}");
            }
        }
    }
}

#[test]
fn read_tells_the_file_and_its_fault_in_one_line() {
    let dir = TempDir::new().unwrap();
    let good = saved(&dir, "a.npz:b.NPY", &matrix_npy());
    assert_eq!(read(&good).unwrap(), matrix());
    fs::create_dir(dir.path().join("dir.npy")).unwrap();
    for (spec, part) in [
        (format!("{good}:x"), "cannot be asked for \"x\""),
        (saved(&dir, "a.csv", b"1"), "a.csv: unknown file extension; supported are .npy"),
        (saved(&dir, "empty.npz", b""), "empty.npz: the file is empty"),
        (saved(&dir, "b\nc.npy", b"1"), "b\\nc.npy: not a sound .npy file: it ends inside"),
        (saved(&dir, "d.npy", b"12345678"), "d.npy: not a sound .npy file: it does not start"),
        (format!("{}/dir.npy", dir.path().display()), "dir.npy: not a regular file"),
        (format!("{}/no.npy", dir.path().display()), "no.npy: No such file"),
        (String::new(), "unknown file extension"),
    ] {
        let message = read(&spec).unwrap_err().to_string();
        assert!(message.contains(part) && !message.contains('\n'), "{message}");
    }
}
