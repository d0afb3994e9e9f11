//! A site's own list of breached passwords (P5).

use std::collections::HashSet;
use std::path::Path;

use crate::fault::Fault;

/// Largest list, in bytes; it is held in memory.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Passwords that are refused when somebody sets them: one a line, compared in lower case after NFKC.
#[derive(Debug, Default)]
pub struct BreachList {
    folded: HashSet<Box<str>>,
}

impl BreachList {
    /// Reads a list; lines shorter than twelve characters are left out, for no such password is allowed anyway.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let metadata = std::fs::metadata(path).map_err(|error| Fault::disk(path, &error))?;
        if metadata.len() > BYTES_MAX {
            let text = format!("{}: {} bytes are more than {BYTES_MAX}", path.display(), metadata.len());
            return Err(Fault::Disk(text));
        }
        let text = std::fs::read_to_string(path).map_err(|error| Fault::disk(path, &error))?;
        Ok(Self::of(text.lines()))
    }

    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let folded = lines.map(str::trim_end).filter(|line| line.chars().count() >= 12).map(|line| {
            let normal = doorward_core::identity::password::normalise(line);
            normal.expose().to_lowercase().into_boxed_str()
        });
        Self { folded: folded.collect() }
    }

    /// Whether a folded password is in the list.
    pub fn holds(&self, folded: &str) -> bool {
        self.folded.contains(folded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_a_sites_own_list_is_compared_whatever_the_case() {
        let list = BreachList::of("Winter in Wroclaw 2024\r\nshort\nｗｉｄｅ ｌｅｔｔｅｒｓ ｔｏｏ".lines());
        assert!(list.holds("winter in wroclaw 2024"));
        assert!(list.holds("wide letters too"));
        assert!(!list.holds("short") && !list.holds("summer in wroclaw 2024"));
    }
}
