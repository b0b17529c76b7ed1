//! Interrupts from one processor to another: how cores are reset, started and called.
//!
//! A processor sends an interrupt by writing its own APIC's command register (ICR): Intel SDM
//! volume 3, "Issuing Interprocessor Interrupts"; AMD APM volume 2, "Local APIC". We have no way to
//! run in Linux's kernel, but two ways to that register, by the mode that Linux has put the machine
//! in:
//!
//! - *x2APIC*: it is a model-specific register. One write through `/dev/cpu/0/msr` is one command.
//! - *xAPIC*: it is memory, at the same address on every processor, each of which sees its own. The
//!   destination has a register of its own, ICR2, which must be written first.
//!
//! In xAPIC mode Linux may interrupt us between the two writes and send an interrupt of its own, which
//! changes ICR2: our command would then go to that destination. So the two writes are done by a
//! thread that is pinned, comes before all others and has just had its turn, and ICR2 is read back
//! before the command is written. What remains is an interrupt of this one processor between that
//! read and the next instruction, with a handler that itself sends to another processor: a window
//! of some ten nanoseconds per command. Nothing that we can do from outside of Linux closes it, so
//! commands are few: cores are started by them, and called, but given back without.

use std::fs::File;
use std::hint;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::Refused;
use super::mapping::{Access, Mapping};
use super::msr::Msr;
use super::pagemap::PAGE;
use crate::descriptors::PrivateBand;
use crate::node::cpus::CpuSet;
use crate::sys;

/// How the processors are addressed by each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApicMode {
    /// By 32-bit ids and model-specific registers.
    X2,
    /// By 8-bit ids and memory-mapped registers.
    X1,
}

/// IA32_APIC_BASE: where the registers are, and the mode.
const BASE: u32 = 0x1b;
const BASE_X2: u64 = 1 << 10;
const BASE_ENABLED: u64 = 1 << 11;
const BASE_ADDRESS: u64 = ((1 << 52) - 1) & !(PAGE - 1);

/// The command register in x2APIC mode: the destination is its upper half.
const X2_ICR: u32 = 0x830;
/// Those in xAPIC mode, as offsets in bytes: the destination is the upper eight bits of ICR2.
const X1_ICR: usize = 0x300;
const X1_ICR2: usize = 0x310;

/// Delivery modes, with level "assert", which all but the oldest processors want.
const NON_MASKABLE: u32 = 0x4400;
const INIT: u32 = 0x4500;
const STARTUP: u32 = 0x4600;
/// xAPIC: the last command is still on its way.
const PENDING: u32 = 1 << 12;

/// How long the bus may take for one command: it takes microseconds.
const PATIENCE: Duration = Duration::from_millis(10);
/// The pauses of the start-up sequence: Intel SDM volume 3, "Typical BSP Initialization Sequence".
const AFTER_INIT: Duration = Duration::from_millis(10);
const AFTER_STARTUP: Duration = Duration::from_micros(200);

/// The APIC of a processor that Linux keeps.
#[derive(Debug)]
pub struct Apic {
    msr: Msr,
    /// The registers, in xAPIC mode.
    registers: Option<Mapping>,
    /// Who sends.
    sender: u32,
}

impl Apic {
    /// The APIC of core 0, which never goes offline; in xAPIC mode of the first core that this
    /// process may run on.
    pub fn open(root: &Path) -> Result<Self, Refused> {
        let msr = Msr::open(root, 0)?;
        let path = || root.join("dev/cpu/0/msr").display().to_string();
        let base = msr.read(BASE).map_err(|error| Refused::NoMsr { path: path(), error })?;
        if base & BASE_ENABLED == 0 {
            return Err(Refused::NoApic { cpu: 0, base });
        }
        let (registers, sender) = match base & BASE_X2 {
            0 => (Some(registers(root, base & BASE_ADDRESS)?), sender(root)?),
            _ => (None, 0),
        };
        Ok(Apic { msr, registers, sender })
    }

    /// Moves its descriptor into the band.
    pub fn into_band(self, band: &PrivateBand) -> Result<Self, Refused> {
        let file = band.adopt(OwnedFd::from(self.msr.into_file()))?;
        Ok(Apic { msr: Msr::of_file(file.into()), ..self })
    }

    /// The mode that Linux has put the machine in.
    pub fn mode(&self) -> ApicMode {
        if self.registers.is_none() { ApicMode::X2 } else { ApicMode::X1 }
    }

    /// Resets a processor: it stands still until it is started.
    pub fn init(&self, id: u32) -> io::Result<()> {
        self.send(id, INIT)
    }

    /// Resets a processor and starts it at page `page` below 1 MiB, in real mode. The second command
    /// is for processors that have missed the first; the others ignore it.
    pub fn start(&self, id: u32, page: u8) -> io::Result<()> {
        self.send(id, INIT)?;
        thread::sleep(AFTER_INIT);
        self.send(id, STARTUP | u32::from(page))?;
        thread::sleep(AFTER_STARTUP);
        self.send(id, STARTUP | u32::from(page))
    }

    /// Interrupts a processor, whatever it holds back.
    pub fn interrupt(&self, id: u32) -> io::Result<()> {
        self.send(id, NON_MASKABLE)
    }

    fn send(&self, id: u32, command: u32) -> io::Result<()> {
        let Some(registers) = &self.registers else {
            return self.msr.write(X2_ICR, u64::from(id) << 32 | u64::from(command));
        };
        let id = u8::try_from(id).map_err(|_| io::Error::other(format!("APIC id {id:#x} needs x2APIC mode")))?;
        // A thread of its own, so that nothing of what it becomes stays.
        thread::scope(|scope| {
            let write = || {
                sys::run_on([self.sender].into_iter())?;
                if let Err(error) = sys::run_first() {
                    tracing::debug!("interrupts are sent without priority: {error}");
                }
                thread::yield_now();
                command_by_memory(registers, id, command)
            };
            let thread = thread::Builder::new().name("apic".into()).spawn_scoped(scope, write)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that sends has panicked")))
        })
    }
}

/// Writes ICR2 and ICR, in that order, with nothing in between if that can be.
fn command_by_memory(registers: &Mapping, id: u8, command: u32) -> io::Result<()> {
    let destination = u32::from(id) << 24;
    let start = Instant::now();
    loop {
        wait_for_idle(registers)?;
        registers.write_register(X1_ICR2, destination);
        if registers.read_register(X1_ICR2) == destination {
            registers.write_register(X1_ICR, command);
            break;
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other("Linux sends so many interrupts that we do not get to it"));
        }
    }
    wait_for_idle(registers)
}

fn wait_for_idle(registers: &Mapping) -> io::Result<()> {
    let start = Instant::now();
    while registers.read_register(X1_ICR) & PENDING != 0 {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the APIC does not deliver a command"));
        }
        hint::spin_loop();
    }
    Ok(())
}

/// Maps the registers, which must not be cached: what O_SYNC asks for.
fn registers(root: &Path, address: u64) -> Result<Mapping, Refused> {
    let path = root.join("dev/mem");
    let file = File::options().read(true).write(true).custom_flags(libc::O_SYNC).open(&path);
    let mapped = file.and_then(|file| Mapping::of_file(&file, address, PAGE as usize, Access::Write));
    mapped.map_err(|error| Refused::NoApicPage { path: path.display().to_string(), error })
}

/// The first online processor that this process can be moved to: control groups may keep it from
/// core 0.
fn sender(root: &Path) -> Result<u32, Refused> {
    let online = std::fs::read_to_string(root.join("sys/devices/system/cpu/online")).unwrap_or_default();
    let online: CpuSet = online.parse().unwrap_or_default();
    thread::scope(|scope| {
        let try_all = || online.iter().find(|cpu| sys::run_on([*cpu].into_iter()).is_ok()).unwrap_or(0);
        scope.spawn(try_all).join().map_err(|_| Refused::NoApic { cpu: 0, base: 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;
    use std::fs;

    fn machine(base: u64) -> Fixture {
        let root = Fixture::new();
        let mut registers = vec![0; 0x900];
        registers[0x1b..0x23].copy_from_slice(&base.to_le_bytes());
        fs::write(root.file("dev/cpu/0/msr", ""), registers).expect("own file");
        fs::write(root.file("dev/mem", ""), vec![0; 2 * PAGE as usize]).expect("own file");
        root.file("sys/devices/system/cpu/online", "0-1023");
        root
    }

    #[test]
    fn x2apic_commands_are_one_register() {
        let root = machine(BASE_ENABLED | BASE_X2 | 0xfee0_0000);
        let apic = Apic::open(root.path()).expect("there");
        assert_eq!(apic.mode(), ApicMode::X2);
        let written = || apic.msr.read(X2_ICR).expect("readable");
        apic.init(0x123).expect("written");
        assert_eq!(written(), 0x123_0000_4500);
        apic.start(7, 0x8f).expect("written");
        assert_eq!(written(), 0x7_0000_468f);
        apic.interrupt(u32::MAX).expect("written");
        assert_eq!(written(), 0xffff_ffff_0000_4400);
    }

    #[test]
    fn xapic_commands_are_two() {
        let root = machine(BASE_ENABLED | PAGE);
        let apic = Apic::open(root.path()).expect("there");
        assert_eq!(apic.mode(), ApicMode::X1);
        let word = |at: usize| {
            let memory = fs::read(root.path().join("dev/mem")).expect("own file");
            u32::from_le_bytes(std::array::from_fn(|index| memory[PAGE as usize + at + index]))
        };
        apic.start(3, 0x9a).expect("written");
        assert_eq!((word(X1_ICR2), word(X1_ICR)), (0x0300_0000, 0x469a));
        assert!(apic.init(256).is_err(), "an id of more than eight bits");
        let registers = apic.registers.as_ref().expect("mapped");
        registers.write_register(X1_ICR, PENDING);
        let error = apic.init(3).expect_err("never delivered");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn machines_without() {
        let off = Apic::open(machine(0xfee0_0000).path()).expect_err("disabled").to_string();
        assert!(off.contains("0xfee00000"), "{off}");
        let root = machine(BASE_ENABLED);
        fs::remove_file(root.path().join("dev/mem")).expect("own file");
        let line = Apic::open(root.path()).expect_err("no /dev/mem").to_string();
        assert!(line.contains("iomem=relaxed"), "{line}");
        fs::remove_file(root.path().join("dev/cpu/0/msr")).expect("own file");
        let line = Apic::open(root.path()).expect_err("no driver").to_string();
        assert!(line.contains("module `msr`"), "{line}");
    }
}
