//! Directories. The only ones that are not the program's as Linux has them are those of its descriptors
//! in `/proc`: the proxy's own are in the same table, and can't be opened by these names (`paths`).

use super::call::Call;
use super::dispatch;
use super::host::{Arg, Outcome};

/// Where an entry has its length, and where names begin in those of getdents64 and of getdents.
const LENGTH_AT: usize = 16;
const NAME_AT: [usize; 2] = [19, 18];

/// getdents64(2) and getdents(2)
pub fn read(call: &mut Call<'_, '_>) -> Outcome {
    let is_old = i64::from(call.nr) == libc::SYS_getdents;
    loop {
        let found = dispatch::by_table(call, i64::from(call.nr))?;
        if found == 0 {
            return Ok(0);
        }
        let mut entries = call.copy_in(1, found as u64)?;
        let private = call.descriptors().private();
        let kept = without(&entries, NAME_AT[usize::from(is_old)], |fd| private.contains(&fd));
        if kept.len() == entries.len() || !lists_own_descriptors(call) {
            return Ok(found);
        }
        // None left is not the end of the directory.
        if !kept.is_empty() {
            call.copy_out(1, 0, &kept)?;
            entries.truncate(kept.len());
            return Ok(entries.len() as i64);
        }
    }
}

/// Whether the directory is `fd` or `fdinfo` of the program's process or of a thread of it.
fn lists_own_descriptors(call: &Call<'_, '_>) -> bool {
    let mut name = [0; 64];
    let link = format!("/proc/self/fd/{}\0", call.int(0));
    let Ok(link) = std::ffi::CStr::from_bytes_with_nul(link.as_bytes()) else { return false };
    let size = Arg::number(name.len() as u64);
    let args = [Arg::text(link), Arg::output(&mut name), size, Arg::null(), Arg::null(), Arg::null()];
    let Ok(len) = call.inline(libc::SYS_readlink, &args) else { return false };
    let name = &name[..len as usize];
    name.starts_with(format!("/proc/{}/", call.service.cell.child).as_bytes())
        && (name.ends_with(b"/fd") || name.ends_with(b"/fdinfo"))
}

/// The entries but for those whose name is a number that `is_hidden`.
fn without(entries: &[u8], name_at: usize, is_hidden: impl Fn(i32) -> bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(entries.len());
    let mut rest = entries;
    while let Some(length) = rest.get(LENGTH_AT..LENGTH_AT + 2) {
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]])).clamp(1, rest.len());
        let (entry, others) = rest.split_at(length);
        let name = entry.get(name_at..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
        let number = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        if !number.is_some_and(&is_hidden) {
            kept.extend_from_slice(entry);
        }
        rest = others;
    }
    kept.extend_from_slice(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Vec<u8> {
        let length = (NAME_AT[0] + name.len() + 1).next_multiple_of(8);
        let mut entry = vec![0; length];
        entry[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        entry[NAME_AT[0]..NAME_AT[0] + name.len()].copy_from_slice(name.as_bytes());
        entry
    }

    #[test]
    fn entries_are_left_out_by_their_numbers() {
        let all = [".", "..", "3", "100", "101", "file"].map(entry).concat();
        assert_eq!(without(&all, NAME_AT[0], |_| false), all);
        let expected = [".", "..", "3", "file"].map(entry).concat();
        assert_eq!(without(&all, NAME_AT[0], |fd| fd >= 100), expected);
        assert!(without(&entry("100"), NAME_AT[0], |fd| fd >= 100).is_empty());
    }
}
