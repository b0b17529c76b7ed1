//! One core's column of the tables that Linux keeps per core.
//!
//! Source: proc(5), `/proc/interrupts`, `/proc/softirqs`, `/proc/stat`; Linux,
//! Documentation/scheduler/sched-stats.rst for `/proc/schedstat`.

/// `/proc/stat` counts in hundredths of a second on x86 (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// A row of `/proc/interrupts` or `/proc/softirqs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number or short name, such as `36`, `LOC`, `TIMER`.
    pub label: String,
    /// Times on the core.
    pub count: u64,
    /// What stands behind the numbers.
    pub description: String,
}

/// Where a core's time went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTime {
    /// Programs, also those with a nice value.
    pub user: f64,
    /// Linux on their behalf.
    pub system: f64,
    /// Nothing to do, or waiting for a disk.
    pub idle: f64,
    /// Interrupts, where Linux accounts them.
    pub interrupts: f64,
    /// Softirqs, where Linux accounts them.
    pub softirqs: f64,
    /// Taken by the hypervisor.
    pub steal: f64,
}

/// The rows of a table whose first line names the cores that are online: `CPU0 CPU1 …`. Rows without a column
/// for the core (`ERR`, `MIS`) are left out. None when the core has no column.
pub fn rows(table: &str, core: usize) -> Option<Vec<Row>> {
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next()?.split_whitespace().collect();
    let name = format!("CPU{core}");
    let column = header.iter().position(|word| *word == name)?;
    let row = |line: &str| {
        let (label, rest) = line.split_once(':')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        // A row of the whole machine has one number, however many cores there are.
        let counts: Vec<u64> = words.iter().map_while(|word| word.parse().ok()).take(header.len()).collect();
        (counts.len() == header.len()).then(|| Row {
            label: label.trim().to_owned(),
            count: counts[column],
            description: words[header.len()..].join(" "),
        })
    };
    Some(lines.filter_map(row).collect())
}

/// What came between two readings of the same table: rows that counted, with how often.
pub fn difference(before: &[Row], after: &[Row]) -> Vec<Row> {
    let earlier = |label: &str| before.iter().find(|row| row.label == label).map_or(0, |row| row.count);
    after
        .iter()
        // Counters that went back belong to an interrupt that was freed and given to another.
        .map(|row| Row { count: row.count.saturating_sub(earlier(&row.label)), ..row.clone() })
        .filter(|row| row.count > 0)
        .collect()
}

/// The line `cpuN` of `/proc/stat`.
pub fn cpu_time(stat: &str, core: usize) -> Option<CpuTime> {
    let prefix = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&prefix))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks.try_into().ok()?;
    let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
    Some(CpuTime {
        user: seconds(user + nice),
        system: seconds(system),
        idle: seconds(idle + iowait),
        interrupts: seconds(irq),
        softirqs: seconds(softirq),
        steal: seconds(steal),
    })
}

/// How often the scheduler was called on the core: field 3 of the line `cpuN` of `/proc/schedstat`. None as well
/// where it is zero: Linux does not count there (`kernel.sched_schedstats`).
pub fn scheduler_calls(schedstat: &str, core: usize) -> Option<u64> {
    let prefix = format!("cpu{core} ");
    let line = schedstat.lines().find_map(|line| line.strip_prefix(&prefix))?;
    line.split_whitespace().nth(2)?.parse().ok().filter(|&calls| calls > 0)
}

impl CpuTime {
    /// What came since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let since = |now: f64, then: f64| (now - then).max(0.0);
        Self {
            user: since(self.user, earlier.user),
            system: since(self.system, earlier.system),
            idle: since(self.idle, earlier.idle),
            interrupts: since(self.interrupts, earlier.interrupts),
            softirqs: since(self.softirqs, earlier.softirqs),
            steal: since(self.steal, earlier.steal),
        }
    }

    /// Share of the time that the core was idle, in percent. None when no time was accounted.
    pub fn idle_percent(&self) -> Option<f64> {
        let total = self.user + self.system + self.idle + self.interrupts + self.softirqs + self.steal;
        (total > 0.0).then(|| self.idle / total * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERRUPTS: &str = "\
           CPU0       CPU2
  36:          7     816034 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 LOC:    4985634    4804552   Local timer interrupts
 ERR:          0
 MIS:          5
";

    #[test]
    fn the_column_is_the_cores_and_not_its_number() {
        let rows = rows(INTERRUPTS, 2).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].label.as_str(), rows[0].count), ("36", 816_034));
        assert_eq!(rows[0].description, "PCI-MSIX-0000:00:02.0 1-edge virtio1-req.0");
        assert_eq!(rows[1].description, "Local timer interrupts");
        assert_eq!(super::rows(INTERRUPTS, 1), None);
    }

    #[test]
    fn only_what_counted_is_a_difference() {
        let row = |label: &str, count| Row { label: label.to_owned(), count, description: String::new() };
        let before = [row("1", 5), row("LOC", 10), row("9", 8)];
        let after = [row("1", 5), row("LOC", 30), row("9", 2), row("7", 3)];
        assert_eq!(difference(&before, &after), [row("LOC", 20), row("7", 3)]);
    }

    #[test]
    fn times_are_seconds_of_the_core() {
        let stat = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu1 100 50 25 1000 10 3 4 200 0 0\ncpu11 0 0 0 0 0 0 0 0 0 0\n";
        let time = cpu_time(stat, 1).unwrap();
        assert_eq!((time.user, time.system, time.idle, time.steal), (1.5, 0.25, 10.1, 2.0));
        assert_eq!(cpu_time(stat, 2), None);
        let busy = CpuTime { user: 4.5, idle: 10.2, ..time }.since(&time);
        assert!((busy.idle_percent().unwrap() - 0.1 / 3.1 * 100.0).abs() < 1e-6);
        assert_eq!(CpuTime::default().idle_percent(), None);
    }

    #[test]
    fn the_scheduler_counts_its_calls() {
        let schedstat = "version 15\ntimestamp 4295\ncpu0 0 0 11 2 3\ncpu1 5 0 1234 600 700 9 1 2 3\n";
        assert_eq!(scheduler_calls(schedstat, 1), Some(1234));
        assert_eq!(scheduler_calls(schedstat, 3), None);
        assert_eq!(scheduler_calls("cpu1 0 0 0 0 0 0 77 8 9\n", 1), None);
    }
}
