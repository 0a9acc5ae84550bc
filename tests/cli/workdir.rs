//! A directory to run the program in, and the files it reads and writes there.

use ndarray::ArrayD;
use ndarray_npy::{WritableElement, WriteNpyExt};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Where the repository has an array of logits and one of labels.
pub const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits_logits.safetensors");

pub struct Workdir(TempDir);

/// What a run left.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Workdir {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The names of the files, in order.
    pub fn files(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = fs::read_dir(self.0.path()).unwrap().map(name).collect();
        names.sort();
        names
    }

    /// Writes an array, Fortran-ordered where that is its layout.
    pub fn npy<T: WritableElement>(&self, name: &str, array: &ArrayD<T>) {
        array.write_npy(File::create(self.path(name)).unwrap()).unwrap();
    }

    pub fn npz<T: WritableElement>(&self, name: &str, key: &str, array: &ArrayD<T>) {
        let mut zip = zip::ZipWriter::new(File::create(self.path(name)).unwrap());
        zip.start_file(format!("{key}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        let mut npy = vec![];
        array.write_npy(&mut npy).unwrap();
        zip.write_all(&npy).unwrap();
        zip.finish().unwrap();
    }

    pub fn safetensors(&self, name: &str, key: &str, array: &ArrayD<f32>) {
        let bytes: Vec<u8> = array.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, array.shape().to_vec(), &bytes).unwrap();
        fs::write(self.path(name), safetensors::serialize([(key, view)], None).unwrap()).unwrap();
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Arguments are separated by white space.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lossjit"));
        command.current_dir(self.0.path()).args(arguments.split_whitespace()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &str) -> Outcome {
        outcome(self.command(arguments))
    }

    /// Runs the program where no file may grow beyond four blocks; to write more is an error, as on a full disk.
    pub fn run_with_small_files(&self, arguments: &str) -> Outcome {
        let mut shell = Command::new("sh");
        // The signal that comes with such an error would end the process.
        shell.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_lossjit")]);
        shell.current_dir(self.0.path()).args(arguments.split_whitespace()).stdin(Stdio::null());
        outcome(shell)
    }

    /// Runs what is expected to succeed, and returns its standard output.
    #[track_caller]
    pub fn done(&self, arguments: &str) -> String {
        let Outcome { status, out, err } = self.run(arguments);
        assert_eq!((status, err.as_str()), (Some(0), ""), "{arguments}");
        out
    }

    /// Runs what is expected to fail with this status, and returns what it says.
    #[track_caller]
    pub fn failed(&self, wanted: i32, arguments: &str) -> String {
        let Outcome { status, out, err } = self.run(arguments);
        assert_eq!((status, out.as_str()), (Some(wanted), ""), "{arguments}: {err}");
        err
    }

    /// Runs `eval` and reads the arrays it writes.
    #[track_caller]
    pub fn eval(&self, arguments: &str) -> Results {
        self.done(&format!("eval {arguments} --output result.safetensors"));
        Results(self.bytes("result.safetensors"))
    }
}

fn outcome(mut command: Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A file of results.
#[derive(PartialEq)]
pub struct Results(Vec<u8>);

impl Results {
    pub fn keys(&self) -> Vec<String> {
        let mut keys =
            SafeTensors::deserialize(&self.0).unwrap().names().into_iter().map(String::from).collect::<Vec<_>>();
        keys.sort();
        keys
    }

    #[track_caller]
    pub fn f32(&self, key: &str) -> ArrayD<f32> {
        read(&self.0, key, Dtype::F32, |bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
    }

    #[track_caller]
    pub fn f64(&self, key: &str) -> ArrayD<f64> {
        read(&self.0, key, Dtype::F64, |bytes| f64::from_le_bytes(bytes.try_into().unwrap()))
    }
}

/// An array of a `.safetensors` file, which has to be of this dtype.
#[track_caller]
pub fn read<T>(file: &[u8], key: &str, dtype: Dtype, decode: impl Fn(&[u8]) -> T) -> ArrayD<T> {
    let file = SafeTensors::deserialize(file).unwrap();
    let tensor = file.tensor(key).unwrap();
    assert_eq!(tensor.dtype(), dtype, "{key}");
    let size = tensor.data().len() / tensor.shape().iter().product::<usize>().max(1);
    let values = tensor.data().chunks_exact(size.max(1)).map(decode).collect();
    ArrayD::from_shape_vec(tensor.shape(), values).unwrap()
}
