//! Prints docs/calls.md from the call table.

use shm_ipc::calls::{CALLS, Handling};

fn main() {
    let count = |h| CALLS.iter().filter(|c| c.handling == h).count();
    println!("# System calls\n");
    println!("Generated from `shm-ipc/src/calls/table.rs` by `cargo run -p shm-ipc --example call-table`.\n");
    println!(
        "Every system call of x86-64 Linux 6.1. *Local*: answered by the kernel on the cell's own core. \
         *Forwarded*: served on Linux by the proxy. *Unsupported*: fails with ENOSYS and is named once on stderr.\n"
    );
    println!("| handling | calls |\n| --- | ---: |");
    for handling in [Handling::Local, Handling::Forwarded, Handling::Unsupported] {
        println!("| {handling:?} | {} |", count(handling));
    }
    println!("\n| nr | call | handling | note |\n| ---: | --- | --- | --- |");
    for call in CALLS {
        println!("| {} | {} | {:?} | {} |", call.nr, call.name, call.handling, call.note);
    }
}
