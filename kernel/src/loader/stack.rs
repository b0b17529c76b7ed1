//! The stack that a program finds when it starts.
//!
//! ```text
//! top     a zero word
//!         path of the program; environment; arguments: strings
//!         "x86_64"; 16 random bytes
//!         auxiliary vector: pairs of words, ended by AT_NULL
//!         environment: addresses, ended by a zero word
//!         arguments: addresses, ended by a zero word
//! sp      number of arguments; a multiple of 16
//! ```
//!
//! Source: System V ABI AMD64 supplement, 3.4.1 "Initial Stack and Register State"; the order
//! of the strings and of the vector is that of Linux (`fs/exec.c`, `fs/binfmt_elf.c`).

use alloc::vec::Vec;
use core::ops::Range;

use linux_raw_sys::auxvec;
use shm_ipc::boot::BootInfo;
use shm_ipc::layout::PAGE;

use super::load::LoadedImage;
use crate::abi::Errno;
use crate::mm::AddressSpace;

/// Longest argument or environment entry: Linux's `MAX_ARG_STRLEN`.
const MAX_STRING: usize = 32 * PAGE as usize;

/// What arguments and environment may always take, and may take at most: Linux's `ARG_MAX` and
/// three quarters of its default stack.
const STRINGS: Range<u64> = 128 << 10..6 << 20;

/// The smallest and the largest stack. Unlimited means the largest: it costs addresses only.
const STACK: Range<u64> = 256 << 10..1 << 30;

/// `AT_PLATFORM`.
const PLATFORM: &[u8] = b"x86_64";

/// What goes on the stack.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// Arguments.
    pub args: &'a [Vec<u8>],
    /// Environment.
    pub env: &'a [Vec<u8>],
    /// Path of the program as it was executed, `AT_EXECFN`.
    pub path: &'a [u8],
    /// `AT_RANDOM`.
    pub random: [u8; 16],
    /// The auxiliary vector but for those entries that point into the stack.
    pub auxiliary: &'a [(u32, u64)],
}

/// A stack that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialStack {
    /// Stack pointer of the first instruction.
    pub sp: u64,
    /// What lies from there to the top.
    pub bytes: Vec<u8>,
    /// The strings of the arguments.
    pub args: Range<u64>,
    /// The strings of the environment.
    pub env: Range<u64>,
    /// The auxiliary vector, with its end.
    pub auxiliary: Vec<u64>,
}

/// Bytes of the main stack for a soft limit (`u64::MAX`: none).
#[must_use]
pub fn stack_bytes(limit: u64) -> u64 {
    limit.clamp(STACK.start, STACK.end) / PAGE * PAGE
}

/// The entries of the auxiliary vector that come from the program and the machine.
#[must_use]
pub fn auxiliary(image: &LoadedImage, vdso: u64, info: &BootInfo) -> [(u32, u64); 17] {
    let [uid, euid, gid, egid] = info.ids;
    [
        (auxvec::AT_SYSINFO_EHDR, vdso),
        (auxvec::AT_MINSIGSTKSZ, info.min_sigstack),
        (auxvec::AT_HWCAP, info.hwcap[0]),
        (auxvec::AT_PAGESZ, PAGE),
        (auxvec::AT_CLKTCK, info.clock_ticks),
        (auxvec::AT_PHDR, image.phdr),
        (auxvec::AT_PHENT, image.phent),
        (auxvec::AT_PHNUM, image.phnum),
        (auxvec::AT_BASE, image.interp_base),
        (auxvec::AT_FLAGS, 0),
        (auxvec::AT_ENTRY, image.entry),
        (auxvec::AT_UID, uid),
        (auxvec::AT_EUID, euid),
        (auxvec::AT_GID, gid),
        (auxvec::AT_EGID, egid),
        (auxvec::AT_SECURE, 0),
        (auxvec::AT_HWCAP2, info.hwcap[1]),
    ]
}

/// Strings as they lie below a top, growing down.
struct Strings {
    top: u64,
    /// In reverse: the last byte lies lowest.
    bytes: Vec<u8>,
}

impl Strings {
    fn address(&self) -> u64 {
        self.top - self.bytes.len() as u64
    }

    fn push(&mut self, bytes: &[u8]) -> u64 {
        self.bytes.extend(bytes.iter().rev());
        self.address()
    }

    fn push_string(&mut self, text: &[u8]) -> u64 {
        self.bytes.push(0);
        self.push(text)
    }

    /// Pushes strings so that the first lies lowest, and gives their addresses in order.
    fn push_all(&mut self, strings: &[Vec<u8>]) -> Vec<u64> {
        let mut addresses: Vec<u64> = strings.iter().rev().map(|text| self.push_string(text)).collect();
        addresses.reverse();
        addresses
    }
}

/// Builds the stack that ends at `top`, a page's boundary, of a program whose stack may have
/// `stack_len` bytes.
///
/// # Errors
/// `E2BIG` when arguments and environment are too long for it.
pub fn build(top: u64, stack_len: u64, contents: &Contents<'_>) -> Result<InitialStack, Errno> {
    check_lengths(stack_len, contents)?;
    let mut strings = Strings { top, bytes: Vec::new() };
    strings.push(&[0; 8]);
    let path = strings.push_string(contents.path);
    let env_end = strings.address();
    let env = strings.push_all(contents.env);
    let args_end = strings.address();
    let args = strings.push_all(contents.args);
    let args_start = strings.address();
    let platform = strings.push_string(PLATFORM);
    let random = strings.push(&contents.random);

    let own = [(auxvec::AT_RANDOM, random), (auxvec::AT_EXECFN, path), (auxvec::AT_PLATFORM, platform)];
    // A vDSO that is not there has no entry: programs take any address for one that is.
    let useful = |entry: &&(u32, u64)| **entry != (auxvec::AT_SYSINFO_EHDR, 0);
    let mut words = Vec::new();
    words.push(args.len() as u64);
    words.extend(args);
    words.push(0);
    words.extend(env);
    words.push(0);
    let vector = contents.auxiliary.iter().filter(useful).chain(&own).chain(&[(auxvec::AT_NULL, 0)]);
    let auxiliary: Vec<u64> = vector.flat_map(|&(key, value)| [u64::from(key), value]).collect();
    words.extend(&auxiliary);

    let sp = (strings.address() - 8 * words.len() as u64) & !15;
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize((strings.address() - sp) as usize, 0);
    bytes.extend(strings.bytes.iter().rev());
    Ok(InitialStack { sp, bytes, args: args_start..args_end, env: args_end..env_end, auxiliary })
}

fn check_lengths(stack_len: u64, contents: &Contents<'_>) -> Result<(), Errno> {
    let strings = || contents.args.iter().chain(contents.env);
    if strings().any(|text| text.len() >= MAX_STRING) || contents.path.len() >= PAGE as usize {
        return Err(Errno::E2BIG);
    }
    // A string, the zero byte behind it, the word that points to it.
    let bytes: u64 = strings().map(|text| text.len() as u64 + 1 + 8).sum();
    let limit = (stack_len / 4).clamp(STRINGS.start, STRINGS.end);
    if bytes > limit { Err(Errno::E2BIG) } else { Ok(()) }
}

/// Puts [`Contents`] on the main stack.
///
/// # Errors
/// `E2BIG` when arguments and environment are too long, `ENOMEM` when there is no room.
pub fn put(space: &mut AddressSpace, stack: &Range<u64>, contents: &Contents<'_>) -> Result<InitialStack, Errno> {
    let initial = build(stack.end, stack.end - stack.start, contents)?;
    space.write_frames(initial.sp, &initial.bytes).map_err(|_| Errno::ENOMEM)?;
    Ok(initial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::tests::{check_books, fresh};

    const TOP: u64 = 0x7fff_0000_0000;

    fn strings(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    /// Reads a stack as a program's start-up code would.
    struct Reader<'a>(&'a InitialStack);

    impl Reader<'_> {
        fn word(&self, at: u64) -> u64 {
            let at = (at - self.0.sp) as usize;
            u64::from_le_bytes(self.0.bytes[at..at + 8].try_into().unwrap())
        }

        fn text(&self, at: u64) -> String {
            let bytes = &self.0.bytes[(at - self.0.sp) as usize..];
            let len = bytes.iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8(bytes[..len].to_vec()).unwrap()
        }

        /// The strings of a list of addresses, and where the list ends.
        fn texts(&self, mut at: u64) -> (Vec<String>, u64) {
            let mut texts = Vec::new();
            while self.word(at) != 0 {
                texts.push(self.text(self.word(at)));
                at += 8;
            }
            (texts, at + 8)
        }

        fn auxiliary(&self, mut at: u64) -> Vec<(u32, u64)> {
            let mut entries = Vec::new();
            while self.word(at) != 0 {
                entries.push((self.word(at) as u32, self.word(at + 8)));
                at += 16;
            }
            entries
        }
    }

    #[test]
    fn a_program_finds_what_it_was_given() {
        for env in [&["A=1"][..], &["A=1", "B="][..], &[][..]] {
            let (args, env) = (strings(&["./a.out", "", "two words"]), strings(env));
            let auxiliary = [(auxvec::AT_PAGESZ, PAGE), (auxvec::AT_SYSINFO_EHDR, 0), (auxvec::AT_UID, 0)];
            let random = *b"0123456789abcdef";
            let contents = Contents { args: &args, env: &env, path: b"/bin/prog", random, auxiliary: &auxiliary };
            let stack = build(TOP, 8 << 20, &contents).unwrap();
            assert!(stack.sp.is_multiple_of(16));
            assert_eq!(stack.sp + stack.bytes.len() as u64, TOP);
            let reader = Reader(&stack);
            assert_eq!(reader.word(stack.sp), 3);
            let (seen_args, at) = reader.texts(stack.sp + 8);
            let (seen_env, at) = reader.texts(at);
            assert_eq!(strings(&seen_args.iter().map(String::as_str).collect::<Vec<_>>()), args);
            assert_eq!(strings(&seen_env.iter().map(String::as_str).collect::<Vec<_>>()), env);
            let entries = reader.auxiliary(at);
            let value = |key| entries.iter().find(|entry| entry.0 == key).map(|entry| entry.1);
            assert_eq!(entries.len(), 5, "no vDSO, no entry");
            assert_eq!((value(auxvec::AT_PAGESZ), value(auxvec::AT_UID)), (Some(PAGE), Some(0)));
            assert_eq!(reader.text(value(auxvec::AT_EXECFN).unwrap()), "/bin/prog");
            assert_eq!(reader.text(value(auxvec::AT_PLATFORM).unwrap()), "x86_64");
            let random_at = (value(auxvec::AT_RANDOM).unwrap() - stack.sp) as usize;
            assert_eq!(stack.bytes[random_at..random_at + 16], random);
            assert_eq!(reader.word(TOP - 8), 0);
        }
    }

    #[test]
    fn arguments_lie_in_one_piece_and_in_order() {
        // Programs that change their title write over them from the first on.
        let (args, env) = (strings(&["one", "two"]), strings(&["E=3"]));
        let contents = Contents { args: &args, env: &env, path: b"p", random: [0; 16], auxiliary: &[] };
        let stack = build(TOP, 8 << 20, &contents).unwrap();
        let reader = Reader(&stack);
        let first = reader.word(stack.sp + 8);
        let at = (first - stack.sp) as usize;
        assert_eq!(&stack.bytes[at..at + 14], b"one\0two\0E=3\0p\0");
        assert_eq!((stack.args.clone(), stack.env), (first..first + 8, stack.args.end..first + 12));
    }

    #[test]
    fn too_long() {
        let build_with = |args: &[Vec<u8>], stack_len| {
            let contents = Contents { args, env: &[], path: b"p", random: [0; 16], auxiliary: &[] };
            build(TOP, stack_len, &contents).map(drop)
        };
        assert_eq!(build_with(&[vec![b'a'; MAX_STRING - 1]], 8 << 20), Ok(()));
        assert_eq!(build_with(&[vec![b'a'; MAX_STRING]], 8 << 20), Err(Errno::E2BIG));
        let many = vec![vec![b'a'; 1023]; 2000];
        assert_eq!(build_with(&many, 8 << 20), Ok(()));
        assert_eq!(build_with(&many, 4 << 20), Err(Errno::E2BIG));
        assert_eq!(build_with(&many[..100], 4096), Ok(()), "so much is always allowed");
        let many = vec![vec![b'a'; 1023]; 7000];
        assert_eq!(build_with(&many, 1 << 30), Err(Errno::E2BIG));
    }

    #[test]
    fn the_stack_lies_at_the_top_and_is_filled_as_it_grows() {
        let (mut space, platform) = fresh();
        let stack = space.map_stack(stack_bytes(8 << 20)).unwrap();
        assert_eq!(stack.end - stack.start, 8 << 20);
        assert_eq!(platform.pages(), 0);
        let args = strings(&["a"]);
        let contents = Contents { args: &args, env: &[], path: b"p", random: [7; 16], auxiliary: &[] };
        let sp = put(&mut space, &stack, &contents).unwrap().sp;
        assert!(sp < stack.end && sp > stack.end - 1024);
        let expected = build(stack.end, 8 << 20, &contents).unwrap();
        assert_eq!(crate::mm::tests::word(&space, sp), Some(1));
        assert_eq!(sp, expected.sp);
        check_books(&space, platform);
    }

    #[test]
    fn limits_become_sizes() {
        assert_eq!(stack_bytes(8 << 20), 8 << 20);
        assert_eq!(stack_bytes(u64::MAX), STACK.end);
        assert_eq!(stack_bytes(0), STACK.start);
        assert_eq!(stack_bytes((8 << 20) + 1), 8 << 20);
    }
}
