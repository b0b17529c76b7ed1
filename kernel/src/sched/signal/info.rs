//! `siginfo_t` as Linux lays it out (sigaction(2), `include/uapi/asm-generic/siginfo.h`).

/// 128 bytes: signal, errno, code, padding, then what the code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigInfo(pub [u8; 128]);

/// `SI_USER`
pub const SI_USER: i32 = 0;
/// `SI_KERNEL`
pub const SI_KERNEL: i32 = 0x80;
/// `SI_TKILL`
pub const SI_TKILL: i32 = -6;

/// `SI_TIMER`
pub const SI_TIMER: i32 = -2;

impl SigInfo {
    fn new(signal: u8, code: i32) -> Self {
        let mut bytes = [0; 128];
        bytes[0..4].copy_from_slice(&i32::from(signal).to_le_bytes());
        bytes[8..12].copy_from_slice(&code.to_le_bytes());
        SigInfo(bytes)
    }

    fn with_word(mut self, offset: usize, value: u64) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn with_sender(mut self, pid: u32, uid: u32) -> Self {
        self.0[16..20].copy_from_slice(&pid.to_le_bytes());
        self.0[20..24].copy_from_slice(&uid.to_le_bytes());
        self
    }

    /// From kill(2).
    #[must_use]
    pub fn user(signal: u8, pid: u32, uid: u32) -> Self {
        SigInfo::new(signal, SI_USER).with_sender(pid, uid)
    }

    /// From tgkill(2).
    #[must_use]
    pub fn thread(signal: u8, pid: u32, uid: u32) -> Self {
        SigInfo::new(signal, SI_TKILL).with_sender(pid, uid)
    }

    /// From the kernel itself.
    #[must_use]
    pub fn kernel(signal: u8) -> Self {
        SigInfo::new(signal, SI_KERNEL)
    }

    /// From a fault at `address`.
    #[must_use]
    pub fn fault(signal: u8, code: i32, address: u64) -> Self {
        SigInfo::new(signal, code).with_word(16, address)
    }

    /// From timer `id` of timer_create(2), with the value that it was given.
    #[must_use]
    pub fn timer(signal: u8, id: i32, value: u64) -> Self {
        SigInfo::new(signal, SI_TIMER).with_word(16, u64::from(id.cast_unsigned())).with_word(24, value)
    }

    /// The timer that it comes from.
    #[must_use]
    pub fn timer_id(&self) -> Option<i32> {
        let id = i32::from_le_bytes([self.0[16], self.0[17], self.0[18], self.0[19]]);
        (self.code() == SI_TIMER).then_some(id)
    }

    /// The same with the number of times that the timer fired beyond the first.
    #[must_use]
    pub fn with_overrun(mut self, count: u64) -> Self {
        self.0[20..24].copy_from_slice(&(count.min(i32::MAX as u64) as i32).to_le_bytes());
        self
    }

    /// As the program or the host gave it, with the signal set to `signal`.
    #[must_use]
    pub fn raw(signal: u8, mut bytes: [u8; 128]) -> Self {
        bytes[0..4].copy_from_slice(&i32::from(signal).to_le_bytes());
        SigInfo(bytes)
    }

    /// The signal's number, 1 to 64.
    #[must_use]
    pub fn signal(&self) -> u8 {
        self.0[0].clamp(1, super::number::MAX)
    }

    /// `si_code`
    #[must_use]
    pub fn code(&self) -> i32 {
        i32::from_le_bytes([self.0[8], self.0[9], self.0[10], self.0[11]])
    }

    /// `si_addr` of a fault.
    #[must_use]
    pub fn address(&self) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.0[16..24]);
        u64::from_le_bytes(word)
    }
}
