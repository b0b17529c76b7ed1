//! What the third argument of an ioctl is, by request: the kernel marshals by it, the proxy
//! passes on by it.
//!
//! Linux follows addresses *inside* some structures, and fills some beyond the size that their
//! request number tells. Both would be the proxy's memory, where the program's addresses mean
//! nothing; so only requests that are known to have neither are served, and two with an address
//! inside by hand. Source: `include/uapi/asm-generic/ioctls.h`, `include/uapi/linux/sockios.h`,
//! ioctl_tty(2), netdevice(7).

/// The third argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// A number, or ignored.
    Number,
    /// A structure of so many bytes that the call reads.
    Reads(u32),
    /// A structure of so many bytes that the call fills.
    Fills(u32),
    /// A structure of so many bytes that the call reads and fills.
    Exchanges(u32),
    /// `struct ifconf`, which points to a list (SIOCGIFCONF).
    Interfaces,
    /// `struct ifreq`, which points to a command for ethtool (SIOCETHTOOL).
    Ethtool,
    /// Not served.
    Unknown,
}

/// SIOCGIFCONF
pub const SIOCGIFCONF: u32 = 0x8912;
/// SIOCETHTOOL
pub const SIOCETHTOOL: u32 = 0x8946;
/// TIOCGPTPEER: gives a new descriptor.
pub const TIOCGPTPEER: u32 = 0x5441;
/// FICLONE: the argument is a descriptor.
pub const FICLONE: u32 = 0x4004_9409;
/// FICLONERANGE: the structure begins with a descriptor.
pub const FICLONERANGE: u32 = 0x4020_940d;

/// Bytes of `struct ifreq`.
pub const IFREQ: u32 = 40;
/// Bytes of `struct ifconf`.
pub const IFCONF: u32 = 16;
/// Where `struct ifreq` and `struct ifconf` hold their addresses.
pub const IFREQ_DATA: u64 = 16;
/// See [`IFREQ_DATA`].
pub const IFCONF_DATA: u64 = 8;

/// What the third argument of `request` is.
#[must_use]
pub fn argument(request: u32) -> Argument {
    const TIOCSIG: u32 = 0x4004_5436;
    const BLKFLSBUF: u32 = 0x1261;
    match request {
        FICLONE | TIOCSIG | TIOCGPTPEER | BLKFLSBUF => return Argument::Number,
        FICLONERANGE => return Argument::Reads(32),
        SIOCGIFCONF => return Argument::Interfaces,
        SIOCETHTOOL => return Argument::Ethtool,
        _ => {}
    }
    if request >> 30 == 0 {
        return old(request);
    }
    if !is_flat(request >> 8 & 0xff, request & 0xff) {
        return Argument::Unknown;
    }
    let size = request >> 16 & 0x3fff;
    match request >> 30 {
        1 => Argument::Reads(size),
        2 => Argument::Fills(size),
        _ => Argument::Exchanges(size),
    }
}

/// Families of the modern kind whose structures hold no addresses.
fn is_flat(family: u32, number: u32) -> bool {
    match family {
        // Terminals.
        0x54 => number < 0x60,
        // SIOCGSTAMP_NEW, SIOCGSTAMPNS_NEW
        0x89 => matches!(number, 6 | 7),
        // FS_IOC_GETFLAGS, FS_IOC_SETFLAGS; FS_IOC_GETVERSION, FS_IOC_SETVERSION
        0x66 | 0x76 => matches!(number, 1 | 2),
        // FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
        0x58 => matches!(number, 31 | 32),
        // BLKBSZGET, BLKGETSIZE64
        0x12 => matches!(number, 112 | 114),
        _ => false,
    }
}

/// Requests from before the time when their numbers told the size of the argument.
fn old(request: u32) -> Argument {
    use Argument::{Exchanges, Fills, Number, Reads, Unknown};
    const TERMIOS: u32 = 36;
    const TERMIO: u32 = 18;
    match request {
        // TCGETS, TCSETS, TCSETSW, TCSETSF; TCGETA, TCSETA, TCSETAW, TCSETAF
        0x5401 => Fills(TERMIOS),
        0x5402..=0x5404 => Reads(TERMIOS),
        0x5405 => Fills(TERMIO),
        0x5406..=0x5408 => Reads(TERMIO),
        // TCSBRK, TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL, TIOCSCTTY, TIOCNOTTY, TCSBRKP, FIONCLEX, FIOCLEX
        0x5409..=0x540e | 0x5422 | 0x5425 | 0x5450 | 0x5451 => Number,
        // TIOCGPGRP, TIOCOUTQ, TIOCMGET, FIONREAD, TIOCGETD, TIOCGSID; FIOQSIZE
        0x540f | 0x5411 | 0x5415 | 0x541b | 0x5424 | 0x5429 => Fills(4),
        0x5460 => Fills(8),
        // TIOCSPGRP, TIOCMBIS, TIOCMBIC, TIOCMSET, TIOCPKT, FIONBIO, TIOCSETD, FIOASYNC; TIOCSTI
        0x5410 | 0x5416..=0x5418 | 0x5420 | 0x5421 | 0x5423 | 0x5452 => Reads(4),
        0x5412 => Reads(1),
        // TIOCGWINSZ, TIOCSWINSZ
        0x5413 => Fills(8),
        0x5414 => Reads(8),
        // FIOSETOWN, SIOCSPGRP; FIOGETOWN, SIOCGPGRP, SIOCATMARK, SIOCOUTQNSD; SIOCGSTAMP(NS)_OLD
        0x8901 | 0x8902 => Reads(4),
        0x8903..=0x8905 | 0x894b => Fills(4),
        0x8906 | 0x8907 => Fills(16),
        // IOCTL_VM_SOCKETS_GET_LOCAL_CID
        0x7b9 => Fills(4),
        // All others about interfaces but bridges, WANs, bonds and wireless.
        0x8910 | 0x8911 | 0x8913..=0x893f | 0x8942..=0x8945 | 0x8947..=0x8949 | 0x894c..=0x8970 => Exchanges(IFREQ),
        _ => Unknown,
    }
}

/// Bytes of the structure of an ethtool command (`include/uapi/linux/ethtool.h`); `None` for
/// commands that are not served.
#[must_use]
pub fn ethtool_bytes(command: u32) -> Option<u32> {
    match command {
        // ETHTOOL_GSET
        0x01 => Some(44),
        // ETHTOOL_GDRVINFO
        0x03 => Some(196),
        // ETHTOOL_GLINK and the other questions with one word for an answer: RX and TX
        // checksums, scatter-gather, TSO, UFO, GSO, GRO, flags.
        0x0a | 0x14 | 0x16 | 0x18 | 0x1e | 0x21 | 0x23 | 0x25 | 0x2b => Some(8),
        // ETHTOOL_GCOALESCE
        0x0e => Some(92),
        // ETHTOOL_GRINGPARAM
        0x10 => Some(36),
        // ETHTOOL_GLINKSETTINGS: its three bit masks are at most 127 words each.
        0x4c => Some(48 + 3 * 127 * 4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_requests() {
        assert_eq!(argument(0x5401), Argument::Fills(36));
        // TIOCGPTN: _IOR('T', 0x30, unsigned int)
        assert_eq!(argument(0x8004_5430), Argument::Fills(4));
        // FS_IOC_GETFLAGS: _IOR('f', 1, long)
        assert_eq!(argument(0x8008_6601), Argument::Fills(8));
        // FS_IOC_FIEMAP holds an array of any length.
        assert_eq!(argument(0xc020_660b), Argument::Unknown);
        assert_eq!(argument(SIOCGIFCONF), Argument::Interfaces);
        assert_eq!(argument(SIOCETHTOOL), Argument::Ethtool);
        // TIOCGWINSZ, SIOCGIFADDR
        assert_eq!(argument(0x5413), Argument::Fills(8));
        assert_eq!(argument(0x8915), Argument::Exchanges(IFREQ));
        // FIDEDUPERANGE, TUNSETIFF, TIOCLINUX, SIOCGIWNAME, SIOCBONDINFOQUERY
        for request in [0xc018_9436, 0x4004_54ca, 0x541c, 0x8b01, 0x8994, 0x1234] {
            assert_eq!(argument(request), Argument::Unknown, "{request:#x}");
        }
        assert_eq!(ethtool_bytes(1), Some(44));
        assert_eq!(ethtool_bytes(2), None);
    }
}
