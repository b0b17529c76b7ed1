//! How the fake answers: as Linux does where tuning depends on it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Fake, Killed, LEGACY, UNIFIED};
use crate::machine::cpu_set::CpuSet;
use crate::tuning::system::System;
use crate::tuning::threads;

impl Fake {
    fn may_be_killed(&self) {
        let left = self.moments_left.fetch_sub(1, Ordering::Relaxed);
        if left == 0 {
            panic_any(Killed);
        }
    }

    fn set_cores(&self, process: u32, id: u32, cores: &str) {
        let path = format!("/proc/{process}/task/{id}/status");
        let status = self.text(&path);
        let (before, _) = status.rsplit_once('\t').unwrap();
        self.put(&path, &format!("{before}\t{cores}"));
    }

    /// As Linux before 6.2: whatever affinity a thread had asked for, it may run on all that is left.
    fn forget_affinities(&self, cores: &str) {
        for thread in threads::all(&self.linux) {
            if thread.flags & 0x0400_0000 == 0 {
                self.set_cores(thread.process, thread.id, cores);
            }
        }
    }

    fn leave_groups(&self, process: &str) {
        for group in [".", "user/shell", "tacet-bench"] {
            let path = format!("{UNIFIED}/{group}/cgroup.procs");
            if let Ok(members) = self.linux.read(&path) {
                let rest: Vec<&str> = members.split_whitespace().filter(|member| *member != process).collect();
                self.put(&path, &rest.join("\n"));
            }
        }
    }

    fn write_special(&self, path: &str, text: &str) -> io::Result<String> {
        let now = self.linux.read(path)?;
        if path.ends_with("/cgroup.subtree_control") {
            let name = &text[1..];
            let mut names: BTreeSet<&str> = now.split_whitespace().collect();
            if text.starts_with('+') {
                names.insert(name)
            } else {
                names.remove(name)
            };
            return Ok(names.into_iter().collect::<Vec<_>>().join(" "));
        }
        if path.ends_with("/cgroup.procs") {
            self.leave_groups(text);
            return Ok(self.linux.read(path)? + "\n" + text);
        }
        if path.ends_with("/cpuset.cpus.partition") {
            if let Some(reason) = &*self.partition_reason.lock().unwrap() {
                return Ok(format!("{text} invalid ({reason})"));
            }
            let isolated = CpuSet::from_list(&self.text(&path.replace(".partition", ""))).unwrap();
            let online = CpuSet::from_list("0-3").unwrap();
            self.forget_affinities(&online.minus(&isolated).to_string());
            return Ok(text.to_owned());
        }
        if now.contains('[') {
            let words = now.split_whitespace().map(|word| word.trim_matches(['[', ']']));
            return Ok(words
                .map(|w| if w == text { format!("[{w}]") } else { w.to_owned() })
                .collect::<Vec<_>>()
                .join(" "));
        }
        Ok(text.to_owned())
    }
}

impl System for Fake {
    fn read(&self, path: &str) -> io::Result<String> {
        self.linux.read(path)
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        self.may_be_killed();
        if let Some(errno) = self.refused.lock().unwrap().get(path) {
            return Err(io::Error::from_raw_os_error(*errno));
        }
        let becomes = self.write_special(path, text)?;
        self.put(path, &becomes);
        self.may_be_killed();
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.linux.list(path)
    }

    /// Linux fills directories of control groups with files.
    fn make_directory(&self, path: &str) -> io::Result<()> {
        self.may_be_killed();
        self.linux.make_directory(path)?;
        self.put(&format!("{path}/cgroup.procs"), "");
        if path.starts_with(LEGACY) {
            self.put(&format!("{path}/cpuset.cpus"), "");
            self.put(&format!("{path}/cpuset.mems"), "");
            self.put(&format!("{path}/cpuset.sched_load_balance"), "1");
        } else if self.text(&format!("{UNIFIED}/cgroup.subtree_control")).contains("cpuset") {
            self.put(&format!("{path}/cpuset.cpus"), "");
            self.put(&format!("{path}/cpuset.cpus.partition"), "member");
        }
        self.may_be_killed();
        Ok(())
    }

    fn remove_directory(&self, path: &str) -> io::Result<()> {
        self.may_be_killed();
        if !self.linux.read(&format!("{path}/cgroup.procs"))?.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        let partition = self.linux.read(&format!("{path}/cpuset.cpus.partition")).unwrap_or_default();
        if partition == "isolated" || partition == "root" {
            self.forget_affinities("0-3");
        }
        fs::remove_dir_all(self.linux.place(path))?;
        self.may_be_killed();
        Ok(())
    }

    fn set_affinity(&self, thread: u32, cores: &CpuSet) -> io::Result<()> {
        self.may_be_killed();
        let all = threads::all(&self.linux);
        let thread = all.iter().find(|t| t.id == thread).ok_or(io::Error::from_raw_os_error(libc::ESRCH))?;
        if thread.flags & 0x0400_0000 != 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.set_cores(thread.process, thread.id, &cores.to_string());
        self.may_be_killed();
        Ok(())
    }

    fn end_process(&self, process: u32) -> io::Result<()> {
        self.may_be_killed();
        self.ended.lock().unwrap().insert(process);
        self.leave_groups(&process.to_string());
        self.may_be_killed();
        Ok(())
    }
}

/// So that a test can look at the node while a tuner has it.
impl System for Arc<Fake> {
    fn read(&self, path: &str) -> std::io::Result<String> {
        (**self).read(path)
    }
    fn write(&self, path: &str, text: &str) -> std::io::Result<()> {
        (**self).write(path, text)
    }
    fn list(&self, path: &str) -> std::io::Result<Vec<String>> {
        (**self).list(path)
    }
    fn make_directory(&self, path: &str) -> std::io::Result<()> {
        (**self).make_directory(path)
    }
    fn remove_directory(&self, path: &str) -> std::io::Result<()> {
        (**self).remove_directory(path)
    }
    fn set_affinity(&self, thread: u32, cores: &CpuSet) -> std::io::Result<()> {
        (**self).set_affinity(thread, cores)
    }
    fn end_process(&self, process: u32) -> std::io::Result<()> {
        (**self).end_process(process)
    }
}
