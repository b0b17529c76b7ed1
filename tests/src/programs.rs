//! Builds the programs of `programs/` with the compilers that Debian has, each once.
//!
//! A build is keyed by language and source, and done again when the source, `show.h` or this
//! file is newer. Test binaries may run at the same time: a file lock lets one of them build.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Which compiler makes a program of a source, and how it is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// C, dynamic, glibc.
    C,
    /// C, static, glibc.
    CStatic,
    /// C, static, musl.
    CMusl,
    /// C++, dynamic.
    Cxx,
    /// Fortran, dynamic.
    Fortran,
    /// Rust with its standard library.
    Rust,
    /// C with GNU's OpenMP.
    OpenMp,
    /// C with LLVM's OpenMP.
    OpenMpLlvm,
    /// C with Debian's MPICH, and threads of OpenMP where the program has them.
    Mpi,
    /// The same with Debian's Open MPI.
    OpenMpi,
    /// Fortran with Debian's MPICH.
    MpiFortran,
    /// Fortran with Debian's Open MPI.
    OpenMpiFortran,
}

impl Language {
    fn compiler(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Language::C => ("gcc", &["-O1", "-g", "-pthread"]),
            Language::CStatic => ("gcc", &["-O1", "-g", "-pthread", "-static"]),
            Language::CMusl => ("musl-gcc", &["-O1", "-g", "-pthread", "-static"]),
            Language::Cxx => ("g++", &["-O1", "-g", "-pthread", "-std=c++17"]),
            Language::Fortran => ("gfortran", &["-O1", "-g"]),
            Language::Rust => ("rustc", &["--edition=2024", "-O"]),
            Language::OpenMp => ("gcc", &["-O2", "-g", "-fopenmp"]),
            Language::OpenMpLlvm => ("clang", &["-O2", "-g", "-fopenmp"]),
            Language::Mpi => ("mpicc.mpich", &["-O2", "-g", "-fopenmp"]),
            Language::OpenMpi => ("mpicc.openmpi", &["-O2", "-g", "-fopenmp"]),
            Language::MpiFortran => ("mpif90.mpich", &["-O1", "-g"]),
            Language::OpenMpiFortran => ("mpif90.openmpi", &["-O1", "-g"]),
        }
    }
}

/// The directory of the sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

/// Where this crate keeps what it makes: beside cargo's own output of this build.
pub fn work_directory() -> PathBuf {
    let binary = std::env::current_exe().expect("the test binary has a path");
    // target/<profile>/deps/<test>
    let target = binary.ancestors().nth(3).expect("cargo runs tests from target/<profile>/deps");
    let directory = target.join("tacet-tests");
    fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    directory
}

/// Takes the lock of that name in the work directory; it is given back when the file is closed.
pub(crate) fn lock(name: &str) -> File {
    let path = work_directory().join(name);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.lock().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Builds `source` (a name in `programs/`) and gives the path of the program.
///
/// # Panics
/// When the compiler is missing or refuses the source: its messages are in the panic.
pub fn build(language: Language, source: &str) -> PathBuf {
    let input = sources().join(source);
    let directory = work_directory().join(format!("{language:?}"));
    let output = directory.join(input.file_stem().expect("a source has a name"));
    let _lock = lock("build.lock");
    let how = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/programs.rs");
    let newest = [&input, &sources().join("show.h"), &how].into_iter().filter_map(|path| modified(path)).max();
    if modified(&output) > newest {
        return output;
    }
    fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let (compiler, flags) = language.compiler();
    let result = Command::new(compiler).args(flags).arg(&input).arg("-o").arg(&output).output();
    let result = result.unwrap_or_else(|error| panic!("{compiler}: {error}; scripts/test installs what is missing"));
    let messages = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{compiler} {source}:\n{messages}");
    output
}
