//! `/proc/<pid>/smaps` and `smaps_rollup`: what each area has in memory (proc(5)).
//!
//! Memory of the cell's own is private to the program, or shared by its areas, and never swapped out or cleaned: its
//! counts follow from how much of it there is. Of pages of Linux's, Linux's own counts are given. Which counts there
//! are, and in which order, is Linux's too.

use std::fmt::Write;

use super::Known;

/// One count of an area, such as `Rss`.
type Count<'t> = (&'t str, u64);

/// An area of Linux's with its counts in kB.
struct Block<'t> {
    area: Known<'t>,
    counts: Vec<Count<'t>>,
    /// What follows them: `THPeligible`, `VmFlags`.
    rest: Vec<&'t str>,
}

fn blocks(linux: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for line in linux.lines() {
        if let Some(area) = Known::parse(line) {
            blocks.push(Block { area, counts: Vec::new(), rest: Vec::new() });
        } else if let Some(block) = blocks.last_mut() {
            match count(line) {
                Some(count) => block.counts.push(count),
                None => block.rest.push(line),
            }
        }
    }
    blocks
}

/// `Key:   12 kB`
fn count(line: &str) -> Option<Count<'_>> {
    let (key, value) = line.split_once(':')?;
    Some((key, value.trim().strip_suffix(" kB")?.parse().ok()?))
}

/// The counts of `line`.
fn counts<'t>(line: &Known<'t>, linux: &[Block<'t>]) -> Vec<Count<'t>> {
    let Some(specimen) = linux.first() else { return Vec::new() };
    let within = |block: &&Block<'_>| (line.start..line.end).contains(&block.area.start);
    let keys = specimen.counts.iter().map(|(key, _)| *key);
    keys.map(|key| (key, count_of(key, line, linux.iter().filter(within)))).collect()
}

fn count_of<'b, 't: 'b>(key: &str, line: &Known<'t>, linux: impl Iterator<Item = &'b Block<'t>>) -> u64 {
    const PAGE_KB: u64 = 4;
    let is_shared = line.permissions.ends_with('s');
    match (key, line.resident) {
        ("Size", _) => (line.end - line.start) >> 10,
        ("KernelPageSize" | "MMUPageSize", _) => PAGE_KB,
        ("Rss" | "Pss" | "Pss_Dirty" | "Referenced", Some(resident)) => resident >> 10,
        ("Private_Dirty" | "Anonymous", Some(resident)) if !is_shared => resident >> 10,
        ("Shared_Dirty", Some(resident)) if is_shared => resident >> 10,
        (_, Some(_)) => 0,
        (_, None) => {
            let counts = linux.flat_map(|block| block.counts.iter());
            counts.filter(|(name, _)| *name == key).map(|(_, value)| value).sum()
        }
    }
}

fn write(text: &mut String, counts: &[Count<'_>]) {
    for (key, value) in counts {
        // A string takes whatever is written to it.
        let _ = writeln!(text, "{:<16}{value:>8} kB", format!("{key}:"));
    }
}

/// `smaps` of these areas, where Linux's is `linux`.
pub fn text(lines: &[Known<'_>], linux: &str) -> String {
    let blocks = blocks(linux);
    let mut text = String::new();
    for line in lines {
        line.write(&mut text);
        write(&mut text, &counts(line, &blocks));
        let same = blocks.iter().find(|block| block.area.start == line.start).filter(|_| line.resident.is_none());
        match same {
            Some(block) => block.rest.iter().for_each(|rest| text += &format!("{rest}\n")),
            None => text += &format!("{}VmFlags: {}\n", not_for_large_pages(&blocks), flags(line.permissions)),
        }
    }
    text
}

/// The line by which Linux says that an area gets no transparent large pages: its width differs.
fn not_for_large_pages(linux: &[Block<'_>]) -> String {
    let mut rest = linux.iter().flat_map(|block| block.rest.iter());
    let line = rest.find(|line| line.starts_with("THPeligible:") && line.ends_with(" 0"));
    line.map(|line| format!("{line}\n")).unwrap_or_default()
}

/// `VmFlags` that follow from the permissions.
fn flags(permissions: &str) -> String {
    let names = [('r', "rd "), ('w', "wr "), ('x', "ex "), ('s', "sh ")];
    let now: String = names.iter().filter(|(letter, _)| permissions.contains(*letter)).map(|(_, name)| *name).collect();
    now + "mr mw me "
}

/// `smaps_rollup` of them: one area over all, with the sums of all counts.
pub fn rollup(lines: &[Known<'_>], linux: &str) -> String {
    let blocks = blocks(linux);
    // That one is no memory of the process.
    let lines: Vec<&Known<'_>> = lines.iter().filter(|line| line.name != "[vsyscall]").collect();
    let (start, end) = (lines.first().map_or(0, |line| line.start), lines.last().map_or(0, |line| line.end));
    let mut text = String::new();
    let all = Known {
        start,
        end,
        resident: None,
        permissions: "---p",
        offset: 0,
        file: "00:00 0".to_owned(),
        name: "[rollup]",
    };
    all.write(&mut text);
    let each: Vec<Vec<Count<'_>>> = lines.into_iter().map(|line| counts(line, &blocks)).collect();
    let keys = each.first().into_iter().flatten().map(|(key, _)| *key);
    let keys = keys.filter(|key| !matches!(*key, "Size" | "KernelPageSize" | "MMUPageSize"));
    let sum = |key: &str| each.iter().flatten().filter(|(name, _)| *name == key).map(|(_, value)| value).sum();
    write(&mut text, &keys.map(|key| (key, sum(key))).collect::<Vec<_>>());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: &str = "00001000-00003000 r-xp 00000000 08:01 5                                  /lib/x
Size:                  8 kB
Rss:                   4 kB
Shared_Clean:          4 kB
Private_Dirty:         0 kB
THPeligible:    0
VmFlags: rd ex mr mw me
00003000-00004000 r--p 00002000 08:01 5                                  /lib/x
Size:                  4 kB
Rss:                   4 kB
Shared_Clean:          0 kB
Private_Dirty:         4 kB
THPeligible:    0
VmFlags: rd mr mw me
";

    fn own(start: u64, end: u64, resident: u64, permissions: &'static str) -> Known<'static> {
        Known { start, end, resident: Some(resident), permissions, offset: 0, file: "00:00 0".to_owned(), name: "" }
    }

    #[test]
    fn areas_of_linux_come_out_as_they_went_in() {
        let lines: Vec<_> = LINUX.lines().filter_map(Known::parse).collect();
        assert_eq!(text(&lines, LINUX), LINUX);
    }

    #[test]
    fn of_this_process_too() {
        let own = std::fs::read_to_string("/proc/self/smaps").expect("there");
        let lines: Vec<_> = own.lines().filter_map(Known::parse).collect();
        assert_eq!(text(&lines, &own), own);
    }

    #[test]
    fn memory_of_the_cell_is_private_or_shared() {
        let lines = [own(0x8000, 0xc000, 0x2000, "rw-p"), own(0xc000, 0xd000, 0x1000, "rw-s")];
        let text = text(&lines, LINUX);
        let values: Vec<u64> = text.lines().filter_map(count).map(|(_, value)| value).collect();
        // Size, Rss, Shared_Clean, Private_Dirty
        assert_eq!(values, [16, 8, 0, 8, 4, 4, 0, 0]);
        assert!(
            text.contains("VmFlags: rd wr mr mw me \n") && text.contains("VmFlags: rd wr sh mr mw me \n"),
            "{text}"
        );
    }

    #[test]
    fn an_area_that_linux_has_in_parts_is_their_sum() {
        let mut whole = LINUX.lines().find_map(Known::parse).expect("there");
        whole.end = 0x4000;
        let rollup = rollup(&[whole, own(0x8000, 0xc000, 0x2000, "rw-p")], LINUX);
        let values: Vec<Count<'_>> = rollup.lines().filter_map(count).collect();
        assert_eq!(values, [("Rss", 16), ("Shared_Clean", 4), ("Private_Dirty", 12)]);
        assert!(
            rollup.starts_with("00001000-0000c000 ---p 00000000 00:00 0 ") && rollup.contains("[rollup]\n"),
            "{rollup}"
        );
    }
}
