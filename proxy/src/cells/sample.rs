//! What the control area of a cell says, read from outside while the cell runs.
//!
//! The memory is a file: a memfd of the proxy, or one of a pool of huge pages. It is read, never
//! mapped: reading takes no page where there is none yet, and a file that becomes shorter gives
//! an error, not a signal. What was read lies in memory of our own, so nothing changes under our
//! eyes; what it says is an allegation all the same, because the program may have written over
//! it: it is checked like everything that comes out of a cell.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;

use shm_ipc::control::{CAUSES, Cause, CellState};
use shm_ipc::layout::{Layout, PAGE};
use shm_ipc::region::Region;

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum NoSample {
    /// The cell is gone, or the file is not ours to read.
    #[error("its memory can't be read: {0}")]
    Unreadable(#[from] io::Error),
    /// There is nothing yet: the memory has been reserved, and no kernel been started in it.
    #[error("its memory is empty")]
    Empty,
    /// What is there can't have been written by a kernel in order.
    #[error("its control page is corrupt: {0}")]
    Corrupt(&'static str),
}

/// What one core has counted since the start of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Core {
    /// Linux's number of it.
    pub cpu: u32,
    /// Entries into the kernel, by [`Cause`].
    pub counters: [u64; CAUSES],
}

/// What a cell says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// How far it is.
    pub state: CellState,
    /// Its cores.
    pub cores: Vec<Core>,
    /// Bytes of its memory that have been touched.
    pub touched: u64,
}

#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; PAGE as usize]);

const _: () = assert!(align_of::<Page>() as u64 == PAGE && size_of::<Page>() as u64 == PAGE);

impl Sample {
    /// Reads one.
    pub fn read(path: &Path) -> Result<Self, NoSample> {
        // Without waiting: whatever is there under this name, it must not hold us up.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file").into());
        }
        let (state, layout) = read_control(&file)?;
        if layout.end > metadata.len() {
            return Err(NoSample::Corrupt("it tells of more memory than there is"));
        }
        let cores = read_cores(&file, &layout)?;
        // st_blocks counts units of 512 bytes, whatever the file system: stat(3type).
        Ok(Sample { state, cores, touched: metadata.blocks().saturating_mul(512) })
    }

    /// The sum over all cores.
    pub fn counted(&self, cause: Cause) -> u64 {
        self.cores.iter().fold(0, |sum, core| sum.saturating_add(core.counters[cause as usize]))
    }
}

fn read_control(file: &File) -> Result<(CellState, Layout), NoSample> {
    let first = read_pages(file, 0, 1)?;
    if first.iter().all(|page| page.0.iter().all(|byte| *byte == 0)) {
        return Err(NoSample::Empty);
    }
    look(first, |region| {
        let control = Layout::control(region).ok_or(NoSample::Corrupt("there is none"))?;
        let layout = control.layout().ok_or(NoSample::Corrupt("it is not one of this version"))?;
        let state = control.state().ok_or(NoSample::Corrupt("it tells of no state that there is"))?;
        Ok((state, layout))
    })
}

fn read_cores(file: &File, layout: &Layout) -> Result<Vec<Core>, NoSample> {
    // The same blocks, without what lies before them: that may be any length.
    let compact = Layout::new(layout.cores, 0, 0).ok_or(NoSample::Corrupt("it tells of too many cores"))?;
    let count = (layout.rings - layout.core_blocks) / PAGE;
    let mut pages = vec![Page([0; PAGE as usize]); (compact.core_blocks / PAGE) as usize];
    pages.extend(read_pages(file, layout.core_blocks, count)?);
    look(pages, |region| {
        let core = |index| {
            let block = compact.core_block(region, index).ok_or(NoSample::Corrupt("a core is missing"))?;
            let cpu = block.cpu.load(std::sync::atomic::Ordering::Relaxed);
            Ok(Core { cpu, counters: Cause::ALL.map(|cause| block.counted(cause)) })
        };
        (0..compact.cores).map(core).collect()
    })
}

fn read_pages(file: &File, from: u64, count: u64) -> io::Result<Vec<Page>> {
    let mut pages = vec![Page([0; PAGE as usize]); count as usize];
    for (index, page) in (0_u64..).zip(&mut pages) {
        file.read_exact_at(&mut page.0, from + index * PAGE)?;
    }
    Ok(pages)
}

/// Looks at pages through the eyes of `shm-ipc`. What comes out must be copies.
fn look<T>(mut pages: Vec<Page>, view: impl FnOnce(&Region) -> T) -> T {
    let base = NonNull::from(pages.as_mut_slice()).cast();
    // SAFETY:
    // 1. The pages are this function's own and live until the view is gone: the region and what is
    //    got from it stay within the two callers above, which give copies of numbers away.
    // 2. `Page` is aligned to a page.
    // 3. Nothing else refers to them meanwhile.
    let region = unsafe { Region::new(base, pages.len() as u64 * PAGE) };
    let seen = view(&region);
    drop(pages);
    seen
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::node::tests::Fixture;
    use proptest::prelude::*;
    use std::path::PathBuf;

    /// The memory of a cell of two cores, as its kernel would leave it.
    pub fn cell(root: &Fixture, name: &str, calls: u64) -> PathBuf {
        let layout = Layout::new(2, 9000, 1 << 20).expect("possible");
        let path = root.file(name, "");
        let file = File::options().write(true).open(&path).expect("own file");
        file.set_len(layout.end).expect("own file");
        let mut pages = vec![Page([0; PAGE as usize]); (layout.rings / PAGE) as usize];
        // SAFETY: as in `look`.
        let region = unsafe { Region::new(NonNull::from(pages.as_mut_slice()).cast(), pages.len() as u64 * PAGE) };
        let control = Layout::control(&region).expect("fits");
        control.initialise(&layout);
        assert!(control.advance(CellState::Booting) && control.advance(CellState::Running));
        for (index, cpu) in [(0, 3), (1, 5)] {
            let block = layout.core_block(&region, index).expect("fits");
            block.cpu.store(cpu, std::sync::atomic::Ordering::Relaxed);
            (0..calls).for_each(|_| block.count(Cause::LocalCall));
        }
        for (index, page) in (0_u64..).zip(&pages) {
            file.write_all_at(&page.0, index * PAGE).expect("own file");
        }
        path
    }

    fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(path).expect("own file");
        file.write_all_at(bytes, at).expect("own file");
    }

    #[test]
    fn counters_of_all_cores() {
        let root = Fixture::new();
        let sample = Sample::read(&cell(&root, "cell", 21)).expect("in order");
        assert_eq!(
            (sample.state, sample.counted(Cause::LocalCall), sample.counted(Cause::Timer)),
            (CellState::Running, 42, 0)
        );
        assert_eq!(sample.cores.iter().map(|core| core.cpu).collect::<Vec<_>>(), [3, 5]);
        assert!(sample.touched < 1 << 20, "the frames were never written");
    }

    #[test]
    fn corrupt_pages_are_told() {
        let root = Fixture::new();
        // Offsets of the control page: magic, revision, state, number of cores, end.
        for (at, bytes) in [(0, &[0xff; 8][..]), (8, &[9; 4]), (12, &[9; 4]), (24, &[0xff; 8]), (24 + 48, &[0xff; 8])] {
            let path = cell(&root, "cell", 1);
            overwrite(&path, at, bytes);
            assert!(matches!(Sample::read(&path), Err(NoSample::Corrupt(_))), "{at}");
        }
    }

    #[test]
    fn a_layout_beyond_the_file_is_corrupt_and_not_read() {
        let root = Fixture::new();
        let path = cell(&root, "cell", 1);
        let far = Layout::new(1024, 1 << 50, 1 << 60).expect("possible").to_words();
        let bytes: Vec<u8> = far.iter().flat_map(|word| word.to_le_bytes()).collect();
        overwrite(&path, 24, &bytes);
        assert!(matches!(Sample::read(&path), Err(NoSample::Corrupt(_))));
    }

    #[test]
    fn what_is_no_memory_of_a_cell() {
        let root = Fixture::new();
        assert!(matches!(Sample::read(&root.path().join("gone")), Err(NoSample::Unreadable(_))));
        assert!(matches!(Sample::read(root.path()), Err(NoSample::Unreadable(_))), "a directory");
        assert!(matches!(Sample::read(Path::new("/dev/zero")), Err(NoSample::Unreadable(_))), "a device");
        assert!(matches!(Sample::read(&root.file("short", "x")), Err(NoSample::Unreadable(_))));
        let pipe = root.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("own directory");
        assert!(Sample::read(&pipe).is_err(), "and nobody waits for its other end");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_sample_or_an_error(bytes: Vec<u8>, at in 0_u64..4096) {
            let root = Fixture::new();
            let path = cell(&root, "cell", 1);
            overwrite(&path, at, &bytes);
            let _ = Sample::read(&path);
        }
    }
}
