//! Counters of synthetic files, and of this machine.

use super::*;
use crate::machine::{host, memory};

const INTERRUPTS: &str = "           CPU0       CPU2       \n \
    24:          1          7  IO-APIC   5-edge      ACPI:Ged\n \
    31:          3       2544 PCI-MSIX-0000:00:01.0   3-edge      i8042, virtio0-stats\n\
    LOC:    4983839    4802563   Local timer interrupts\n\
    ERR:          0\n";

fn named(name: &str, count: u64) -> Counted {
    Counted { name: name.to_owned(), count }
}

#[test]
fn a_core_has_its_own_column_of_interrupts() {
    let expected =
        [named("24 ACPI:Ged", 7), named("31 i8042, virtio0-stats", 2544), named("LOC Local timer interrupts", 4802563)];
    assert_eq!(column(INTERRUPTS, 2).unwrap(), expected);
    assert_eq!(column(INTERRUPTS, 0).unwrap()[0], named("24 ACPI:Ged", 1));
}

#[test]
fn a_core_that_linux_does_not_run_has_none() {
    assert_eq!(column(INTERRUPTS, 1), None);
    assert_eq!(column("", 0), None);
}

#[test]
fn softirqs_have_no_description() {
    let text = "                    CPU0       CPU1       \n          HI:          0          5\n       TIMER:     31    246736\n";
    assert_eq!(column(text, 1).unwrap(), [named("HI", 5), named("TIMER", 246_736)]);
}

#[test]
fn steal_is_the_eighth_number_of_the_core() {
    let text = "cpu  1 2 3 4 5 6 7 8 9 0\ncpu1 1 2 3 4 5 6 7 80 9 0\ncpu10 1 2 3 4 5 6 7 99 9 0\nintr 5\n";
    assert_eq!((steal_of(text, 1), steal_of(text, 10), steal_of(text, 0)), (Some(80), Some(99), None));
}

#[test]
fn a_name_with_parentheses_does_not_shift_the_fields() {
    let mut fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
    fields[0] = "R".to_owned();
    let stat = format!("77 (a) b (c) {}", fields.join(" "));
    let task = Task { id: 77, faults: 10 + 12, ran: 14 + 15, ..Task::default() };
    assert_eq!(task_and_core(&stat), Some((task, 39)));
    assert_eq!(task_and_core("77 (a) R 1 2"), None);
    assert_eq!(ran_and_waited("5775381 1500932 121\n"), Some((5_775_381, 1_500_932)));
}

#[test]
fn switches_are_those_that_were_not_asked_for() {
    let status = "Name:\tx\nvoluntary_ctxt_switches:\t38\nnonvoluntary_ctxt_switches:\t73\n";
    assert_eq!(involuntary_switches(status), Some(73));
}

/// The counters must move with what they count: a page fault of this very thread.
#[test]
fn this_thread_is_counted_on_its_core() {
    let core = host::allowed_cores().unwrap()[0];
    std::thread::spawn(move || {
        host::pin_this_thread(core).unwrap();
        let watched = Watched::new(core);
        let before = watched.read_before();
        const PAGES: usize = 100;
        memory::Anonymous::map(PAGES * 4096, memory::Pages::Small).unwrap().touch();
        let after = watched.read_after();
        let faults = after.tasks.unwrap()[0].faults - before.tasks.unwrap()[0].faults;
        assert!(faults >= PAGES as u64, "{faults}");
        assert!(before.interrupts.unwrap().len() > 1);
        assert_eq!(before.softirqs.unwrap().len(), after.softirqs.unwrap().len());
        assert!(after.steal_ticks.unwrap() >= before.steal_ticks.unwrap());
    })
    .join()
    .unwrap();
}

#[test]
fn a_core_that_does_not_exist_says_so() {
    let counters = Watched::new(100_000).read_before();
    assert!(counters.interrupts.unwrap_err().contains("Linux does not run core 100000"));
    // Neither what /proc/softirqs has on cores that are offline, nor a thread that was on it before.
    assert!(counters.steal_ticks.is_err() && counters.softirqs.is_err() && counters.tasks.is_err());
}
