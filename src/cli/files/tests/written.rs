//! Writing: what is written is read again, and what cannot be written leaves no trace.

use super::*;
use std::io;

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_dtype_and_shape_is_read_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("out.safetensors");
    let turned = arr2(&[[1_i32, 2], [3, 4], [5, 6]]).reversed_axes().into_dyn();
    let arrays: Vec<(String, Array)> = vec![
        ("u8".into(), arr0(200_u8).into_dyn().into()),
        ("out".into(), matrix()),
        ("long".into(), ArrayD::from_shape_fn(vec![100_000], |i| i[0] as f64).into()),
        ("grad.pred".into(), turned.into()),
        ("f64".into(), ArrayD::<f64>::zeros(vec![0, 3]).into()),
        ("i64".into(), arr0(i64::MIN).into_dyn().into()),
        ("a \"name\"\n: é".into(), arr0(7_u32).into_dyn().into()),
    ];
    write_safetensors(&path, &arrays).unwrap();
    for (name, array) in &arrays {
        let again = read(&format!("{}:{name}", path.display())).unwrap();
        assert_eq!(&again, array);
        assert_eq!(again.dtype_name(), array.dtype_name());
    }
    write_safetensors(&path, &arrays[1..2]).unwrap();
    assert_eq!(read(path.to_str().unwrap()).unwrap(), matrix());
    assert_eq!(names(&dir), ["out.safetensors"]);
}

#[test]
fn names_must_differ_and_not_be_reserved() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("out.safetensors");
    let fault = |names: &[&str]| {
        let arrays: Vec<_> = names.iter().map(|n| (n.to_string(), matrix())).collect();
        write_safetensors(&path, &arrays).unwrap_err().to_string()
    };
    assert!(fault(&["a", "b", "a"]).ends_with("two arrays are named \"a\""));
    assert!(fault(&["__metadata__"]).contains("no array may be named"));
    assert!(names(&dir).is_empty());
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("out.safetensors");
    fs::write(&path, "before").unwrap();
    let error = replace(&path, |out| {
        out.write_all(&vec![0; 1 << 20])?;
        Err(io::ErrorKind::StorageFull.into())
    });
    let message = error.unwrap_err().to_string();
    assert!(message.contains("out.safetensors: no storage space"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(names(&dir), ["out.safetensors"]);
}

#[test]
fn what_cannot_be_replaced_is_named() {
    let dir = TempDir::new().unwrap();
    let fault = |path: &Path| write_safetensors(path, &[]).unwrap_err().to_string();
    let missing = fault(&dir.path().join("no/out.safetensors"));
    assert!(missing.contains("no/out.safetensors: no file can be created in directory"));
    assert!(missing.ends_with("/no: entity not found"), "{missing}");
    assert!(fault(dir.path()).ends_with("not a regular file"));
    assert!(fault(Path::new("")).contains(": "));
    assert!(names(&dir).is_empty());
}

#[cfg(unix)]
#[test]
fn devices_and_links_stay() {
    assert!(write_safetensors(Path::new("/dev/null"), &[]).is_err());
    let dir = TempDir::new().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "before").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    replace(&link, |out| out.write_all(b"after")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"after");
}

#[cfg(unix)]
#[test]
fn permissions_are_those_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let (usual, ours) = (dir.path().join("usual"), dir.path().join("ours"));
    fs::write(&usual, "").unwrap();
    write_safetensors(&ours, &[]).unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&usual));
}
