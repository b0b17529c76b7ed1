//! The fence: one seccomp filter that does two jobs.
//!
//! A system call whose instruction lies outside the kernel image is the program's: it raises
//! SIGSYS, which is how it reaches the kernel. One from inside the image may be only what the
//! platform needs while the program runs; any other ends the process, as it can only be a bug
//! of the kernel or a jump of the program into it. Reading and writing is for the program's descriptors,
//! not for the proxy's own, which it shares a table with. The filter can't be taken off again.
//! (seccomp(2); works on every kernel since 3.5, with threads since 3.17.)

use super::host::{self, nr};
use crate::abi::Errno;

/// `struct sock_filter`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

/// `BPF_LD | BPF_W | BPF_ABS`
const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`
const IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`
const IF_AT_LEAST: u16 = 0x35;
/// `BPF_RET | BPF_K`
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const DATA_NR: u32 = 0;
const DATA_ARCH: u32 = 4;
const DATA_POINTER: u32 = 8;
const DATA_FIRST_ARGUMENT: u32 = 16;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const ALLOW: u32 = 0x7fff_0000;
const TRAP: u32 = 0x0003_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// What the platform needs once the program runs; what takes Linux least is looked for first.
const NEEDED: [u64; 19] = [
    nr::PROCESS_VM_READV,
    nr::PROCESS_VM_WRITEV,
    nr::FUTEX,
    nr::TIMER_SETTIME,
    nr::MMAP,
    nr::MPROTECT,
    nr::MUNMAP,
    nr::RT_SIGPROCMASK,
    nr::RT_SIGRETURN,
    nr::SCHED_YIELD,
    nr::MREMAP,
    nr::MSYNC,
    nr::MINCORE,
    nr::MADVISE,
    nr::SHMAT,
    nr::ARCH_PRCTL,
    nr::CLOCK_GETTIME,
    nr::EXIT_GROUP,
    nr::TGKILL,
];

/// What it needs on descriptors of the program's.
const TRANSFERS: [u64; 4] = [nr::READ, nr::WRITE, nr::PREAD64, nr::PWRITE64];

const HEAD: usize = 8;
const LENGTH: usize = HEAD + TRANSFERS.len() + NEEDED.len() + 6;

fn filter(image: u64, image_len: u64, private_fds: u64) -> [Instruction; LENGTH] {
    let load = |value| Instruction { code: LOAD, if_true: 0, if_false: 0, value };
    let give = |value| Instruction { code: RETURN, if_true: 0, if_false: 0, value };
    let allow_at = LENGTH - 1;
    let trap_at = LENGTH - 2;
    let transfer_at = LENGTH - 5;
    let to = |from: usize, target: usize| (target - from - 1) as u8;
    // What stays so is where the rows end, and where a descriptor is the proxy's.
    let mut program = [give(KILL_PROCESS); LENGTH];
    let low = image as u32;
    program[0] = load(DATA_ARCH);
    program[1] = Instruction { code: IF_EQUAL, if_true: 0, if_false: to(1, trap_at), value: AUDIT_ARCH_X86_64 };
    program[2] = load(DATA_POINTER + 4);
    program[3] = Instruction { code: IF_EQUAL, if_true: 0, if_false: to(3, trap_at), value: (image >> 32) as u32 };
    program[4] = load(DATA_POINTER);
    program[5] = Instruction { code: IF_AT_LEAST, if_true: 0, if_false: to(5, trap_at), value: low };
    let end = low + image_len as u32;
    program[6] = Instruction { code: IF_AT_LEAST, if_true: to(6, trap_at), if_false: 0, value: end };
    program[7] = load(DATA_NR);
    let transfers = TRANSFERS.map(|number| (number, transfer_at)).into_iter();
    let rows = transfers.chain(NEEDED.map(|number| (number, allow_at)));
    for (at, (number, target)) in (HEAD..).zip(rows) {
        program[at] = Instruction { code: IF_EQUAL, if_true: to(at, target), if_false: 0, value: number as u32 };
    }
    // A descriptor is an unsigned int to Linux: the low half of the argument.
    program[transfer_at] = load(DATA_FIRST_ARGUMENT);
    let first = u32::try_from(private_fds).unwrap_or(u32::MAX);
    program[transfer_at + 1] =
        Instruction { code: IF_AT_LEAST, if_true: 0, if_false: to(transfer_at + 1, allow_at), value: first };
    program[trap_at] = give(TRAP);
    program[allow_at] = give(ALLOW);
    program
}

/// `struct sock_fprog`
#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// Puts the fence around all threads of the process. From then on a system call outside
/// `image .. image + image_len` is the program's; descriptors from `private_fds` on are the proxy's.
///
/// # Errors
/// As seccomp(2).
pub fn put_up(image: u64, image_len: u64, private_fds: u64) -> Result<(), Errno> {
    const PR_SET_NO_NEW_PRIVS: u64 = 38;
    const SECCOMP_SET_MODE_FILTER: u64 = 1;
    const SECCOMP_FILTER_FLAG_TSYNC: u64 = 1;
    // Up to 5.15 Linux takes whoever has a filter for a sandbox and keeps its processor from speculating past stores
    // and indirect branches, which costs computing programs dearly. The fence is none: what it keeps in is the
    // user's own program, in the user's own process. (Documentation/userspace-api/spec_ctrl.rst)
    const SECCOMP_FILTER_FLAG_SPEC_ALLOW: u64 = 4;
    let filter = filter(image, image_len, private_fds);
    let program = Program { len: LENGTH as u16, filter: filter.as_ptr() };
    // SAFETY: both calls only read what they are given, which lives until they are over.
    let unsynchronised = unsafe {
        host::call(nr::PRCTL, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0])?;
        let at = (&raw const program) as u64;
        let filter = |flags| host::call(nr::SECCOMP, [SECCOMP_SET_MODE_FILTER, flags, at, 0, 0, 0]);
        match filter(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW) {
            // Before 4.17 there is no such flag, nor what it lifts.
            Err(Errno::EINVAL) => filter(SECCOMP_FILTER_FLAG_TSYNC)?,
            result => result?,
        }
    };
    // Success is 0; a positive value names a thread that could not be brought in.
    if unsynchronised == 0 { Ok(()) } else { Err(Errno::EBUSY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would.
    fn run(program: &[Instruction], number: u32, arch: u32, pointer: u64) -> u32 {
        run_with(program, number, arch, pointer, 0)
    }

    fn run_with(program: &[Instruction], number: u32, arch: u32, pointer: u64, argument: u64) -> u32 {
        let mut at = 0;
        let mut accumulator = 0;
        loop {
            let i = program[at];
            at += 1;
            match i.code {
                LOAD => {
                    accumulator = match i.value {
                        DATA_NR => number,
                        DATA_ARCH => arch,
                        DATA_POINTER => pointer as u32,
                        DATA_FIRST_ARGUMENT => argument as u32,
                        _ => (pointer >> 32) as u32,
                    }
                }
                IF_EQUAL => at += usize::from(if accumulator == i.value { i.if_true } else { i.if_false }),
                IF_AT_LEAST => at += usize::from(if accumulator >= i.value { i.if_true } else { i.if_false }),
                _ => return i.value,
            }
        }
    }

    #[test]
    fn only_needed_calls_from_inside_the_image_pass() {
        let image = 0x6000_0000_0000;
        let program = filter(image, 0x10_0000, 1000);
        for number in NEEDED.into_iter().chain(TRANSFERS) {
            assert_eq!(run(&program, number as u32, AUDIT_ARCH_X86_64, image + 2), ALLOW);
            assert_eq!(run(&program, number as u32, AUDIT_ARCH_X86_64, image - 1), TRAP);
            assert_eq!(run(&program, number as u32, AUDIT_ARCH_X86_64, image + 0x10_0000), TRAP);
            assert_eq!(run(&program, number as u32, AUDIT_ARCH_X86_64, 0x2), TRAP);
            assert_eq!(run(&program, number as u32, 0x4000_0003, image + 2), TRAP);
        }
        // open, execve, ptrace, kill, and a number of the x32 ABI
        for number in [2, 59, 101, 62, 0x4000_0009] {
            assert_eq!(run(&program, number, AUDIT_ARCH_X86_64, image + 2), KILL_PROCESS);
            assert_eq!(run(&program, number, AUDIT_ARCH_X86_64, 0x40_1000), TRAP);
        }
    }

    #[test]
    fn the_proxys_descriptors_are_out_of_reach() {
        let image = 0x6000_0000_0000;
        let program = filter(image, 0x10_0000, 1000);
        for number in TRANSFERS.map(|number| number as u32) {
            let with = |fd| run_with(&program, number, AUDIT_ARCH_X86_64, image + 2, fd);
            assert_eq!([0, 999].map(with), [ALLOW; 2]);
            assert_eq!([1000, 1063, u64::MAX, 1 << 32 | 1000].map(with), [KILL_PROCESS; 4]);
        }
    }
}
