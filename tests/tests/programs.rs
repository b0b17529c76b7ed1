//! Every program of `programs/` can be built in each language that a test wants it in. Where there
//! is no compiler, or a slow one, they are built before: by this test.

use std::fs;
use tacet_tests::{Language, build, programs};

fn languages(source: &str) -> &'static [Language] {
    match source.split_once('.').expect("a source has an extension") {
        ("hello", "c") => &[Language::C, Language::CStatic, Language::CMusl],
        ("mpi_fortran", "f90") => &[Language::MpiFortran, Language::OpenMpiFortran],
        ("mpi_end" | "mpi_quiet", "c") => &[Language::Mpi],
        (name, "c") if name.starts_with("mpi_") => &[Language::Mpi, Language::OpenMpi],
        ("omp", "c") => &[Language::OpenMp, Language::OpenMpLlvm],
        (_, "c") => &[Language::C],
        (_, "cc") => &[Language::Cxx],
        (_, "f90") => &[Language::Fortran],
        (_, "rs") => &[Language::Rust],
        (_, "h" | "py") => &[],
        (_, other) => panic!("{source}: no compiler for .{other}"),
    }
}

#[test]
fn all_can_be_built() {
    for entry in fs::read_dir(programs::sources()).expect("the sources are there") {
        let name = entry.expect("the sources are there").file_name();
        let source = name.to_str().expect("a plain name");
        for language in languages(source) {
            assert!(build(*language, source).exists());
        }
    }
}
