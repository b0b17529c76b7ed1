//! Builds the kernel images and makes them available to `include_bytes!`.
//!
//! The kernel is built by a cargo of its own: other flags (no red zone, position independent,
//! nothing linked that it does not bring itself), another profile, its own target directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Flags for code that runs without an operating system around it.
const FLAGS: [&str; 9] = [
    "-Crelocation-model=pic",
    "-Ctarget-feature=+crt-static",
    "-Cno-redzone=yes",
    "-Cforce-frame-pointers=yes",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static-pie",
    "-Clink-arg=-Wl,--build-id=none",
    "-Clink-arg=-Wl,-z,noexecstack",
];

/// The one target that is installed everywhere.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What would lead the inner cargo astray.
const FOREIGN: [&str; 5] =
    ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"];

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    let out = PathBuf::from(variable("OUT_DIR"));
    for part in ["kernel/src", "kernel/Cargo.toml", "shm-ipc/src", "shm-ipc/Cargo.toml", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    for name in ["kernel-process", "kernel-partition"] {
        let image = build(&root, &out, name);
        fs::copy(&image, out.join(name)).expect("the kernel image can be copied");
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

/// Builds one image; gives its path.
fn build(root: &Path, out: &Path, bin: &str) -> PathBuf {
    let target = out.join("kernel-target");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args(["build", "--package", "kernel", "--features", "image", "--profile", "image", "--bin", bin, "--locked"])
        // Named although it is the host's own: only then are procedural macros and build
        // scripts built without the flags below.
        .args(["--target", TARGET])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    for name in FOREIGN {
        cargo.env_remove(name);
    }
    let status = cargo.status().expect("cargo can be run");
    assert!(status.success(), "the kernel image {bin} does not build; its errors are above");
    target.join(TARGET).join("image").join(bin)
}
