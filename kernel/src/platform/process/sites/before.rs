//! What comes before a `syscall`: instructions that a stub can do in their place, and that can be told from
//! the registers to have been executed just now.

use super::{JUMP, SYSCALL};
use crate::arch::TrapFrame;
use crate::mm::user;

/// The most bytes before a `syscall` that are looked at: two or three instructions.
const LONGEST: usize = 12;
/// Numbers of calls that there can be.
const MOST_NUMBERS: u64 = 0x1000;

const RAX: u8 = 0;
const RSP: u8 = 4;

/// An instruction, by what it does. Encodings: Intel SDM, volume 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instruction {
    /// `mov r32, imm32`: numbers of calls, operations of a futex.
    Number { to: u8, value: u32 },
    /// `mov r, r`.
    Copy { to: u8, from: u8, wide: bool },
    /// `mov r, [rsp + disp8]`: syscall(2), the function.
    FromStack { to: u8, at: i8, wide: bool },
    /// `mov r, [rip + disp32]`, at an offset from the instruction's end: futexes of GNU's OpenMP.
    FromData { to: u8, at: i32, wide: bool },
    /// `xor r32, r32` of one register.
    Zero(u8),
    /// `xor sil, imm8`: private or shared, futexes of the C library.
    FlipSil,
}

/// The instructions from `at` to the `syscall`, of which the first five bytes can give way to a jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    pub at: u64,
    code: [u8; LONGEST],
    len: usize,
    /// Length of the first instruction.
    first: usize,
    /// Where in `code` displacements from the instruction's end lie that a stub must have its own of.
    displaced: [Option<u8>; 2],
}

impl Before {
    /// What can be replaced before `rip`, where a call was made with these registers; the best first:
    /// where the jump may lead anywhere, then what is shortest.
    pub fn find(rip: u64, frame: &TrapFrame) -> impl Iterator<Item = Before> {
        const LOOK: usize = 1 + LONGEST + SYSCALL.len();
        let mut bytes = [0; LOOK];
        let known = user::copy_in(&mut bytes, rip.wrapping_sub(LOOK as u64)).is_ok() && bytes.ends_with(&SYSCALL);
        let found = move |len: usize| {
            let start = LOOK - SYSCALL.len() - len;
            let code = &bytes[start..start + len];
            // With a prefix before it, an instruction would be another one.
            (known && !is_prefix(bytes[start - 1])).then_some(())?;
            Before::of(rip - (len + SYSCALL.len()) as u64, code, frame)
        };
        let all = move |anywhere: bool| (3..=LONGEST).filter_map(found).filter(move |b| (b.kept() == 0) == anywhere);
        all(true).chain(all(false))
    }

    /// `code`, which lies at `at`, if it is nothing but known instructions that were executed just now.
    fn of(at: u64, code: &[u8], frame: &TrapFrame) -> Option<Before> {
        let mut before = Before { at, code: [0; LONGEST], len: code.len(), first: 0, displaced: [None; 2] };
        before.code[..code.len()].copy_from_slice(code);
        let mut done = 0;
        while done < code.len() {
            let (instruction, len) = decode(&code[done..])?;
            done += len;
            let shown = instruction.shows(at + done as u64, frame);
            if before.first == 0 {
                before.first = len;
                // Three bytes at least; and one that leaves a trace.
                (len >= 3 && shown == Some(true)).then_some(())?;
            }
            (shown != Some(false)).then_some(())?;
            if matches!(instruction, Instruction::FromData { .. }) {
                *before.displaced.iter_mut().find(|place| place.is_none())? = Some((done - 4) as u8);
            }
        }
        Some(before)
    }

    /// How many of the jump's last bytes must be what is there already, as they belong to what comes behind the first
    /// instruction: who goes on there finds it unchanged.
    pub fn kept(&self) -> usize {
        JUMP.saturating_sub(self.first)
    }

    /// The five bytes that are there.
    pub fn replaced(&self) -> [u8; JUMP] {
        let mut bytes = [0; JUMP];
        let whole = self.code.iter().take(self.len).chain(&SYSCALL);
        bytes.iter_mut().zip(whole).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The distances that the jump may have: all that it can reach, or those that end in the bytes which are kept.
    pub fn distances(&self) -> core::ops::RangeInclusive<i64> {
        const REACH: i64 = 1 << 30;
        let kept = self.kept();
        if kept == 0 {
            return -REACH..=REACH;
        }
        let [_, d @ ..] = self.replaced();
        let free = (1u32 << (8 * (d.len() - kept))) - 1;
        let distance = |word: u32| i64::from(word.cast_signed());
        let word = u32::from_le_bytes(d);
        distance(word & !free)..=distance(word | free)
    }

    /// The same instructions for another place.
    pub fn moved_to(&self, at: u64) -> Option<([u8; LONGEST], usize)> {
        let mut code = self.code;
        let by = self.at.cast_signed() - at.cast_signed();
        for place in self.displaced.iter().flatten() {
            let place = usize::from(*place);
            let mut old = [0; 4];
            old.copy_from_slice(&code[place..place + 4]);
            let new = i32::try_from(i64::from(i32::from_le_bytes(old)) + by).ok()?;
            code[place..place + 4].copy_from_slice(&new.to_le_bytes());
        }
        Some((code, self.len))
    }
}

impl Instruction {
    /// Whether the registers show that this was executed, and not only read as such; `None` if it leaves no
    /// trace. `end` is where it ends.
    fn shows(self, end: u64, frame: &TrapFrame) -> Option<bool> {
        let is = |to: u8, value: u64, wide: bool| {
            let mask = if wide { u64::MAX } else { u64::from(u32::MAX) };
            register(frame, to) == value & mask
        };
        let loads = |to: u8, address: u64, wide: bool| {
            let value = if wide { user::read(address) } else { user::read::<u32>(address).map(u64::from) };
            value.is_ok_and(|value| is(to, value, wide))
        };
        Some(match self {
            Instruction::Number { to, value } => {
                is(to, value.into(), false) && (to != RAX || u64::from(value) < MOST_NUMBERS)
            }
            Instruction::Copy { to, from, wide } => is(to, register(frame, from), wide),
            Instruction::FromStack { to, at, wide } => loads(to, frame.rsp.wrapping_add_signed(at.into()), wide),
            Instruction::FromData { to, at, wide } => loads(to, end.wrapping_add_signed(at.into()), wide),
            Instruction::Zero(to) => is(to, 0, false),
            Instruction::FlipSil => return None,
        })
    }
}

/// The instruction that `code` begins with, and its length.
fn decode(code: &[u8]) -> Option<(Instruction, usize)> {
    let (rex, rest) = match code {
        [rex @ 0x40..=0x4f, rest @ ..] => (*rex, rest),
        _ => (0x40, code),
    };
    let [w, r, x, b] = [3, 2, 1, 0].map(|bit| rex >> bit & 1);
    let prefix = code.len() - rest.len();
    let wide = w == 1;
    let (instruction, len) = match *rest {
        [op @ 0xb8..=0xbf, c0, c1, c2, c3, ..] if !wide && r == 0 && x == 0 => {
            (Instruction::Number { to: op & 7 | b << 3, value: u32::from_le_bytes([c0, c1, c2, c3]) }, 5)
        }
        [op @ (0x89 | 0x8b), modrm @ 0xc0..=0xff, ..] if x == 0 => {
            let (reg, rm) = (modrm >> 3 & 7 | r << 3, modrm & 7 | b << 3);
            let (to, from) = if op == 0x89 { (rm, reg) } else { (reg, rm) };
            (Instruction::Copy { to, from, wide }, 2)
        }
        [0x31 | 0x33, modrm @ 0xc0..=0xff, ..] if !wide && x == 0 && modrm >> 3 & 7 | r << 3 == modrm & 7 | b << 3 => {
            (Instruction::Zero(modrm & 7 | b << 3), 2)
        }
        [0x8b, modrm, 0x24, at, ..] if modrm & 0xc7 == 0x44 && x == 0 && b == 0 => {
            (Instruction::FromStack { to: modrm >> 3 & 7 | r << 3, at: at.cast_signed(), wide }, 4)
        }
        [0x8b, modrm, d0, d1, d2, d3, ..] if modrm & 0xc7 == 0x05 && x == 0 && b == 0 => {
            let at = i32::from_le_bytes([d0, d1, d2, d3]);
            (Instruction::FromData { to: modrm >> 3 & 7 | r << 3, at, wide }, 6)
        }
        [0x80, 0xf6, _, ..] if code[0] == 0x40 => (Instruction::FlipSil, 3),
        _ => return None,
    };
    let touches_stack =
        matches!(instruction, Instruction::Copy { to: RSP, .. } | Instruction::FromStack { to: RSP, .. });
    (!touches_stack).then_some((instruction, prefix + len))
}

fn register(frame: &TrapFrame, index: u8) -> u64 {
    match index {
        0 => frame.rax,
        1 => frame.rcx,
        2 => frame.rdx,
        3 => frame.rbx,
        4 => frame.rsp,
        5 => frame.rbp,
        6 => frame.rsi,
        7 => frame.rdi,
        8 => frame.r8,
        9 => frame.r9,
        10 => frame.r10,
        11 => frame.r11,
        12 => frame.r12,
        13 => frame.r13,
        14 => frame.r14,
        _ => frame.r15,
    }
}

fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x40..=0x4f | 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm;

    /// What is found before the end of `bytes`, which has other bytes before.
    fn find(bytes: &[u8], frame: TrapFrame) -> Option<Before> {
        mm::tests::allow_host_memory();
        let mut whole = alloc::vec![0x90; 16];
        whole.extend_from_slice(bytes);
        whole.extend_from_slice(&SYSCALL);
        let rip = whole.as_ptr() as u64 + whole.len() as u64;
        let found = Before::find(rip, &TrapFrame { rip, ..frame }).next();
        if let Some(found) = &found {
            assert_eq!(found.at + (found.len + SYSCALL.len()) as u64, rip);
        }
        found
    }

    fn call(rax: u64) -> TrapFrame {
        TrapFrame { rax, ..TrapFrame::default() }
    }

    /// Length of what is found, and how many bytes of the jump are given.
    fn shape(found: Option<Before>) -> Option<(usize, usize)> {
        found.map(|before| (before.len, before.kept()))
    }

    #[test]
    fn instructions_are_known_by_what_they_did() {
        let number = [0xb8, 202, 0, 0, 0];
        assert_eq!(shape(find(&number, call(202))), Some((5, 0)));
        assert_eq!(find(&number, call(203)), None);
        // mov r8d, 202: a call's number is not what shows here.
        assert_eq!(find(&[0x41, 0xb8, 202, 0, 0, 0], call(202)), None);
        assert_eq!(shape(find(&[0x41, 0xb8, 9, 0, 0, 0], TrapFrame { r8: 9, ..call(202) })), Some((6, 0)));
        let stack = [0u64, 77];
        let function = [0x4c, 0x8b, 0x4c, 0x24, 0x08];
        let frame = TrapFrame { rsp: stack.as_ptr() as u64, r9: 77, ..TrapFrame::default() };
        assert_eq!(shape(find(&function, frame)), Some((5, 0)));
        assert_eq!(find(&function, TrapFrame { r9: 78, ..frame }), None);
        assert_eq!(find(&[0x90; 10], call(202)), None);
        // A prefix makes another instruction of it: mov ax, 202.
        assert_eq!(find(&[0x66, 0xb8, 202, 0, 0, 0], call(202)), None);
    }

    #[test]
    fn a_short_instruction_leaves_the_rest_as_it_is() {
        // mov eax, r8d
        let short = find(&[0x44, 0x89, 0xc0], TrapFrame { r8: 202, ..call(202) }).expect("known");
        assert_eq!(short.kept(), 2);
        assert_eq!(short.replaced(), [0x44, 0x89, 0xc0, 0x0f, 0x05]);
        assert_eq!(short.distances(), 0x050f_0000..=0x050f_ffff);
        assert_eq!(find(&[0x44, 0x89, 0xc0], TrapFrame { r8: 201, ..call(202) }), None);
        // mov rdi, rbx; mov eax, ebp
        let frame = TrapFrame { rbp: 202, rbx: 0x7000_0000_0000, rdi: 0x7000_0000_0000, ..call(202) };
        let two = find(&[0x48, 0x89, 0xdf, 0x89, 0xe8], frame).expect("known");
        assert_eq!((two.kept(), two.len), (2, 5));
        assert_eq!(
            two.distances(),
            i64::from(0xe889_0000_u32.cast_signed())..=i64::from(0xe889_ffff_u32.cast_signed())
        );
        assert_eq!(find(&[0x48, 0x89, 0xdf, 0x89, 0xe8], TrapFrame { rdi: 1, ..frame }), None);
    }

    #[test]
    fn five_bytes_before_are_better() {
        // mov edx, 1; mov eax, r8d
        let frame = TrapFrame { r8: 202, rdx: 1, ..call(202) };
        assert_eq!(shape(find(&[0xba, 1, 0, 0, 0, 0x44, 0x89, 0xc0], frame)), Some((8, 0)));
        // mov eax, 202; xor sil, 0x80
        assert_eq!(shape(find(&[0xb8, 202, 0, 0, 0, 0x40, 0x80, 0xf6, 0x80], call(202))), Some((9, 0)));
        // xor edi, edi alone shows nothing, and is too short.
        assert_eq!(find(&[0x31, 0xff], call(202)), None);
        assert_eq!(shape(find(&[0xb8, 202, 0, 0, 0, 0x31, 0xff], call(202))), Some((7, 0)));
    }

    #[test]
    fn displacements_are_the_stubs_own() {
        let data = 0x1122_3344_u32;
        let mut code = [0x8b, 0x35, 0, 0, 0, 0];
        let frame = TrapFrame { rsi: data.into(), ..call(202) };
        // The data lie behind the code, in one allocation.
        let mut whole = alloc::vec![0x90u8; 64];
        whole[40..44].copy_from_slice(&data.to_le_bytes());
        code[2] = 40 - 26;
        whole[20..26].copy_from_slice(&code);
        whole[26..28].copy_from_slice(&SYSCALL);
        mm::tests::allow_host_memory();
        let rip = whole.as_ptr() as u64 + 28;
        let found = Before::find(rip, &TrapFrame { rip, ..frame }).next().expect("known");
        assert_eq!((found.len, found.at), (6, rip - 8));
        let (moved, len) = found.moved_to(found.at + 8).expect("in reach");
        assert_eq!(moved[..len], [0x8b, 0x35, 6, 0, 0, 0]);
        assert_eq!(found.moved_to(found.at + (1 << 40)), None);
    }
}
