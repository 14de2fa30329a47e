//! What SQLite leaves behind in the pages of a file although it overwrites what is deleted
//! (`secure_delete`): a page of a B-tree has a gap between the pointers to its cells and the cells, and where
//! cells were moved to another page their old copies stand in it. Once the row is deleted, its cell is
//! overwritten, and such a copy is not. So the gaps of all pages are overwritten here after something was
//! erased. The format: <https://sqlite.org/fileformat2.html#b_tree_pages>.
//!
//! Nobody may write meanwhile, the write-ahead log is empty, and whoever writes next has no page in its
//! cache. Readers are not in the way: what stands in a gap means nothing to them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// So many bytes are read at a time.
const PART: usize = 1 << 20;

/// The header of a file, which stands before the header of its first page.
const FILE_HEADER: usize = 100;

/// Pages of a file can be told apart by their first byte as long as the number of none, which is what an
/// overflow page begins with, begins with a byte that a B-tree's page begins with.
const MOST_PAGES: u64 = 0x0200_0000;

/// The gaps of a file, page after page.
#[derive(Debug)]
pub struct Gaps {
    // Kept open: closing it would give up the locks that this process has on the file.
    file: File,
    page_size: usize,
    /// What is used of a page.
    usable: usize,
    next: u64,
}

impl Gaps {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut header = [0; FILE_HEADER];
        file.read_exact_at(&mut header, 0)?;
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 1 << 16,
            size => usize::from(size),
        };
        if !header.starts_with(b"SQLite format 3\0") || page_size < 512 {
            return Err(io::Error::other("it is not a file of SQLite's"));
        }
        let gaps = Self {
            file,
            page_size,
            usable: page_size - usize::from(header[20]),
            next: 0,
        };
        if gaps.pages()? >= MOST_PAGES {
            return Err(io::Error::other("it has more pages than can be told apart"));
        }
        Ok(gaps)
    }

    fn pages(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len() / self.page_size as u64)
    }

    /// Begins anew.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// Overwrites what stands in gaps, for so long. Answers whether it has come to the end.
    pub fn overwrite(&mut self, time: Duration) -> io::Result<bool> {
        let begun = Instant::now();
        let (mut read, mut changed) = (vec![0; PART.max(self.page_size)], false);
        let at_once = (read.len() / self.page_size) as u64;
        loop {
            let left = self.pages()?.saturating_sub(self.next).min(at_once);
            let part = &mut read[..left as usize * self.page_size];
            self.file
                .read_exact_at(part, self.next * self.page_size as u64)?;
            for page in part.chunks_exact_mut(self.page_size) {
                let header = if self.next == 0 { FILE_HEADER } else { 0 };
                if let Some(gap) = gap(page, header, self.usable)
                    && page[gap.clone()].iter().any(|byte| *byte != 0)
                {
                    page[gap.clone()].fill(0);
                    let place = self.next * self.page_size as u64 + gap.start as u64;
                    self.file.write_all_at(&page[gap], place)?;
                    changed = true;
                }
                self.next += 1;
            }
            let ended = left < at_once;
            if ended || begun.elapsed() >= time {
                if changed {
                    self.file.sync_data()?;
                }
                return Ok(ended);
            }
        }
    }
}

/// Where nothing stands in a page of a B-tree; `None` in all others.
fn gap(page: &[u8], header: usize, usable: usize) -> Option<std::ops::Range<usize>> {
    let pointers = match page.get(header)? {
        2 | 5 => header + 12,
        10 | 13 => header + 8,
        _ => return None,
    };
    let number = |place: usize| {
        let bytes = page.get(place..place + 2)?;
        Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    };
    let start = pointers + 2 * number(header + 3)?;
    let end = match number(header + 5)? {
        0 => 1 << 16,
        content => content,
    };
    (start <= end && end <= usable).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _, Row as _};

    use super::*;

    /// Numbers that look random, and are the same each time.
    fn numbers() -> impl FnMut(usize) -> usize {
        let mut state = 7_u64;
        move |most| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % most
        }
    }

    async fn run(tables: &mut AnyConnection, sql: String) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        tables.execute(sql).await.unwrap();
    }

    #[tokio::test]
    async fn no_copy_of_a_deleted_row_is_left_in_a_page() {
        const ROWS: usize = 4_000;
        crate::engine::install_drivers();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("view.db");
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let mut tables = AnyConnection::connect(&url).await.unwrap();
        let schema = "PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON; \
            CREATE TABLE entry (id text PRIMARY KEY, text text NOT NULL) WITHOUT ROWID; \
            CREATE INDEX entry_text ON entry (text)";
        tables.execute(sqlx::raw_sql(schema)).await.unwrap();
        let mut next = numbers();
        let mut rows: Vec<(String, String)> = (0..ROWS)
            .map(|row| {
                let words = 1 + next(60);
                let text: Vec<_> = (0..words).map(|word| format!("w{row}x{word}")).collect();
                (format!("{:08x}.{row}.", next(1 << 31)), text.join(" "))
            })
            .collect();
        let entry =
            |(id, text): &(String, String)| format!("INSERT INTO entry VALUES ('{id}', '{text}');");
        let inserts: Vec<String> = rows.iter().map(entry).collect();
        let (mut deletes, mut deleted) = (Vec::new(), Vec::new());
        while rows.len() > ROWS / 4 {
            let (id, text) = rows.swap_remove(next(rows.len()));
            deletes.push(format!("DELETE FROM entry WHERE id = '{id}';"));
            deleted.push(text);
        }
        for some in inserts.chunks(50).chain(deletes.chunks(50)) {
            run(&mut tables, format!("BEGIN; {} COMMIT", some.concat())).await;
        }
        let emptied = "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory";
        tables.execute(sqlx::raw_sql(emptied)).await.unwrap();
        let words: BTreeSet<&str> = deleted
            .iter()
            .map(|text| text.split(' ').next().unwrap())
            .collect();
        let left = || {
            let bytes = std::fs::read(&path).unwrap();
            let stands = |word: &[u8]| str::from_utf8(word).is_ok_and(|word| words.contains(word));
            let words = bytes.split(|byte| !byte.is_ascii_alphanumeric());
            words.filter(|word| stands(word)).count()
        };
        assert!(left() > 0, "nothing was left behind: this shows nothing");
        let mut gaps = Gaps::open(&path).unwrap();
        while !gaps.overwrite(Duration::ZERO).unwrap() {}
        assert_eq!(left(), 0);
        let check = sqlx::query("PRAGMA integrity_check");
        let check: String = check.fetch_one(&mut tables).await.unwrap().get(0);
        assert_eq!(check, "ok");
        let count = sqlx::query("SELECT count(*) FROM entry");
        let count: i64 = count.fetch_one(&mut tables).await.unwrap().get(0);
        assert_eq!(count as usize, rows.len());
    }
}
