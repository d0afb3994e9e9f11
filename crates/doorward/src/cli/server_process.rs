//! What the kernel says of a server's process on this machine: time used and memory held.

use std::fs;

/// Clock ticks of `/proc/PID/stat` in a second: 100 on every Linux that programs can see.
const TICKS_PER_S: u64 = 100;

/// Time of all threads of a process on a processor since it began, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct CpuTime {
    pub(super) user_us: u64,
    pub(super) system_us: u64,
}

impl CpuTime {
    /// The time of a process; `None` where it is gone, or of somebody who hides it.
    pub(super) fn of(pid: u32) -> Option<Self> {
        parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    pub(super) const fn since(self, earlier: Self) -> Self {
        Self {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
        }
    }

    pub(super) const fn all_us(self) -> u64 {
        self.user_us + self.system_us
    }
}

fn parse_stat(text: &str) -> Option<CpuTime> {
    // The second field is the name in parentheses, and may have anything in it.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut us = || Some(fields.next()?.parse::<u64>().ok()? * (1_000_000 / TICKS_PER_S));
    Some(CpuTime { user_us: us()?, system_us: us()? })
}

/// Memory of a process that is its own and not of a file, in bytes (`RssAnon`).
pub(super) fn memory_bytes(pid: u32) -> Option<u64> {
    parse_memory(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_whatever_the_program_is_called() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 75 0 0 20 0 3 0 100 1 1";
        assert_eq!(parse_stat(text), Some(CpuTime { user_us: 2_500_000, system_us: 750_000 }));
        assert_eq!(parse_stat("42 (x"), None);
    }

    #[test]
    fn memory_is_what_no_file_backs() {
        assert_eq!(parse_memory("VmRSS:\t 9 kB\nRssAnon:\t    1500 kB\nRssFile:\t 7 kB\n"), Some(1_536_000));
        assert!(memory_bytes(std::process::id()).is_some_and(|bytes| bytes > 0));
        assert!(CpuTime::of(std::process::id()).is_some());
    }
}
