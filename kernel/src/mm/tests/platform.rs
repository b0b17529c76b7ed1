//! A platform that only remembers what it was told.

use core::ops::Range;
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::sync::Mutex;

use shm_ipc::layout::{LARGE_PAGE, PAGE};
use shm_ipc::region::Region;

use crate::abi::{Errno, SysResult};
use crate::platform::{Platform, Prot, Sharing, Vdso};

/// The addresses that the program may use: many more than there are frames in a test.
pub const USER: Range<u64> = 0x10000..0x10000 + (256 << 20);

/// What is mapped at one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The frame, unless it is a page of Linux.
    pub frame: Option<u64>,
    /// Descriptor of the file or number of the segment, and the offset there.
    pub source: (i32, u64),
    /// What the program may do.
    pub prot: Prot,
}

#[derive(Default)]
struct State {
    pages: BTreeMap<u64, Page>,
    /// So many mappings of frames succeed, then one fails.
    failing: Option<u32>,
    advised: Vec<(u64, u64, u32)>,
    /// What the file holds by now, if it has changed.
    changed: Option<Vec<u8>>,
    /// Numbers of the mappings whose file is kept, and where in it they begin.
    kept: BTreeMap<u64, u64>,
}

/// The platform of the tests. Descriptor 9 is one that can't be mapped.
pub struct TestPlatform {
    region: Region,
    /// What every file holds, where private mappings of files are read and not mapped.
    file: Option<Vec<u8>>,
    /// Frames that can be mapped by whole large pages only.
    pool: Range<u64>,
    state: Mutex<State>,
}

/// Memory of platforms that nobody uses any more.
static SPARE: Mutex<Vec<Region>> = Mutex::new(Vec::new());

/// Zeroed memory.
fn memory(bytes: u64) -> Region {
    #[repr(align(4096))]
    #[derive(Clone, Copy)]
    struct Frame(#[allow(dead_code)] [u8; 4096]);
    let mut spare = SPARE.lock().unwrap();
    if let Some(index) = spare.iter().position(|region| region.len() == bytes) {
        let region = spare.swap_remove(index);
        // SAFETY: all of the region, which nobody uses any more.
        unsafe { region.bytes(0, bytes).unwrap().write_bytes(0, bytes as usize) };
        return region;
    }
    let mut memory: Vec<Frame> = Vec::with_capacity((bytes / PAGE) as usize);
    // SAFETY: zeroes are bytes. Capacity is that many frames.
    unsafe {
        memory.as_mut_ptr().write_bytes(0, (bytes / PAGE) as usize);
    }
    let base = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
    core::mem::forget(memory);
    // SAFETY: page aligned, never freed, used by nobody else.
    unsafe { Region::new(base, bytes) }
}

impl TestPlatform {
    /// With `bytes` of memory, for as long as the tests run.
    pub fn leaked(bytes: u64) -> &'static TestPlatform {
        Self::new(bytes, None)
    }

    /// The same, on which private mappings of files are read from `file`.
    pub fn reading(bytes: u64, file: Vec<u8>) -> &'static TestPlatform {
        Self::new(bytes, Some(file))
    }

    /// The same, part of whose memory can be mapped by whole large pages only.
    pub fn pooled(bytes: u64, pool: Range<u64>) -> &'static TestPlatform {
        let region = memory(bytes);
        Box::leak(Box::new(TestPlatform { region, file: None, pool, state: Mutex::default() }))
    }

    fn new(bytes: u64, file: Option<Vec<u8>>) -> &'static TestPlatform {
        let region = memory(bytes);
        Box::leak(Box::new(TestPlatform { region, file, pool: 0..0, state: Mutex::default() }))
    }

    /// Lets others have the memory.
    pub fn retire(&self) {
        SPARE.lock().unwrap().push(self.region);
    }

    /// Fails the test if a range ends within a large page that can't be cut.
    fn check_ends(&self, at: u64, len: u64) {
        let state = self.state.lock().unwrap();
        for end in [at, at + len] {
            let frame = state.pages.get(&end).and_then(|page| page.frame);
            let cuts = frame.is_some_and(|frame| self.pool.contains(&frame) && !frame.is_multiple_of(LARGE_PAGE));
            assert!(!cuts, "{at:x}+{len:x} cuts a large page");
        }
    }

    /// What is mapped there.
    pub fn page(&self, at: u64) -> Option<Page> {
        self.state.lock().unwrap().pages.get(&at).copied()
    }

    /// How many pages are mapped.
    pub fn pages(&self) -> usize {
        self.state.lock().unwrap().pages.len()
    }

    /// Lets `count` mappings of frames succeed and fails the next.
    pub fn fail_after(&self, count: u32) {
        self.state.lock().unwrap().failing = Some(count);
    }

    /// The file holds something else from now on.
    pub fn change_file(&self, bytes: Vec<u8>) {
        self.state.lock().unwrap().changed = Some(bytes);
    }

    /// Numbers of the mappings whose file is kept.
    pub fn kept(&self) -> Vec<u64> {
        self.state.lock().unwrap().kept.keys().copied().collect()
    }

    /// The calls of `advise_foreign`.
    pub fn advised(&self) -> Vec<(u64, u64, u32)> {
        self.state.lock().unwrap().advised.clone()
    }

    fn enter(&self, at: u64, len: u64, page: impl Fn(u64) -> Page) {
        assert!(at.is_multiple_of(PAGE) && len.is_multiple_of(PAGE) && len > 0);
        assert!(at >= USER.start && at + len <= USER.end);
        self.check_ends(at, len);
        let mut state = self.state.lock().unwrap();
        for offset in (0..len).step_by(PAGE as usize) {
            state.pages.insert(at + offset, page(offset));
        }
    }
}

fn check_descriptor(fd: i32) -> Result<(), Errno> {
    match fd {
        ..0 => Err(Errno::EBADF),
        9 => Err(Errno::EACCES),
        _ => Ok(()),
    }
}

impl Platform for TestPlatform {
    fn region(&self) -> Region {
        self.region
    }

    fn user_range(&self) -> Range<u64> {
        USER
    }

    fn map_frames(&self, at: u64, frame: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        assert!(frame.is_multiple_of(PAGE) && frame + len <= self.region.len());
        if frame < self.pool.end && self.pool.start < frame + len {
            assert!(self.pool.start <= frame && frame + len <= self.pool.end, "frames of two kinds");
            assert!([at, frame, len].iter().all(|value| value.is_multiple_of(LARGE_PAGE)), "a part of a large page");
        }
        {
            let mut state = self.state.lock().unwrap();
            match state.failing.as_mut() {
                Some(0) => {
                    state.failing = None;
                    return Err(Errno::ENOMEM);
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
        self.enter(at, len, |offset| Page { frame: Some(frame + offset), source: (-1, 0), prot });
        Ok(())
    }

    fn map_file(&self, at: u64, len: u64, prot: Prot, fd: i32, start: u64, sharing: Sharing) -> Result<(), Errno> {
        assert!(sharing == Sharing::Shared || self.maps_private_files());
        check_descriptor(fd)?;
        self.enter(at, len, |offset| Page { frame: None, source: (fd, start + offset), prot });
        Ok(())
    }

    fn maps_private_files(&self) -> bool {
        self.file.is_none()
    }

    fn read_file(&self, fd: i32, offset: u64, frame: u64, len: u64) -> Result<u64, Errno> {
        let file = self.file.as_ref().expect("asked only where files are not mapped");
        assert!(frame.is_multiple_of(PAGE) && len.is_multiple_of(PAGE) && len > 0);
        check_descriptor(fd)?;
        let rest = usize::try_from(offset).ok().and_then(|at| file.get(at..)).unwrap_or(&[]);
        let bytes = &rest[..rest.len().min(len as usize)];
        assert!(self.region.write(frame, bytes));
        Ok(bytes.len() as u64)
    }

    fn keep_file(&self, copy: u64, fd: i32, offset: u64, _len: u64) -> Result<(), Errno> {
        check_descriptor(fd)?;
        let before = self.state.lock().unwrap().kept.insert(copy, offset);
        assert_eq!(before, None, "two mappings of one number");
        Ok(())
    }

    fn read_kept(&self, copy: u64, offset: u64, frame: u64, len: u64) -> Result<u64, Errno> {
        let state = self.state.lock().unwrap();
        let start = *state.kept.get(&copy).expect("only of files that are kept");
        assert!(offset >= start, "before the mapping");
        let file = state.changed.as_ref().or(self.file.as_ref()).expect("a file");
        let rest = usize::try_from(offset).ok().and_then(|at| file.get(at..)).unwrap_or(&[]);
        let mut bytes = rest[..rest.len().min(len as usize)].to_vec();
        bytes.resize(bytes.len().next_multiple_of(PAGE as usize), 0);
        assert!(self.region.write(frame, &bytes));
        Ok(bytes.len() as u64)
    }

    fn drop_file(&self, copy: u64) {
        assert!(self.state.lock().unwrap().kept.remove(&copy).is_some(), "dropped twice, or never kept");
    }

    fn map_segment(&self, at: u64, _len: u64, shmid: i32, read_only: bool) -> Result<(), Errno> {
        let prot = if read_only { Prot::READ } else { Prot::READ | Prot::WRITE };
        // Number n has n pages.
        self.enter(at, shmid as u64 * PAGE, |offset| Page { frame: None, source: (shmid, offset), prot });
        Ok(())
    }

    fn unmap(&self, at: u64, len: u64) {
        assert!(at.is_multiple_of(PAGE) && len.is_multiple_of(PAGE) && len > 0);
        self.check_ends(at, len);
        let mut state = self.state.lock().unwrap();
        let gone: Vec<u64> = state.pages.range(at..at + len).map(|(at, _)| *at).collect();
        for at in gone {
            state.pages.remove(&at);
        }
    }

    fn protect(&self, at: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        self.check_ends(at, len);
        let mut state = self.state.lock().unwrap();
        let pages = state.pages.range_mut(at..at + len);
        let changed = pages.map(|(_, page)| page.prot = prot).count() as u64;
        assert_eq!(changed * PAGE, len, "protect on a hole");
        Ok(())
    }

    fn move_foreign(&self, from: u64, old_len: u64, to: u64, new_len: u64) -> Result<(), Errno> {
        let first = self.page(from).expect("something is moved");
        assert!(first.frame.is_none(), "frames are not the platform's to move");
        if old_len > 0 {
            self.unmap(from, old_len);
        }
        let (fd, start) = first.source;
        self.enter(to, new_len, |offset| Page { source: (fd, start + offset), ..first });
        Ok(())
    }

    fn sync_foreign(&self, _: u64, _: u64, _: u32) -> Result<(), Errno> {
        Ok(())
    }

    fn advise_foreign(&self, at: u64, len: u64, advice: u32) -> Result<(), Errno> {
        self.state.lock().unwrap().advised.push((at, len, advice));
        Ok(())
    }

    fn monotonic(&self) -> u64 {
        0
    }

    fn realtime(&self) -> u64 {
        0
    }

    fn host_clock(&self, _: u32) -> Result<u64, Errno> {
        Err(Errno::EINVAL)
    }

    fn core_clock(&self, _core: u32) -> Option<u64> {
        None
    }

    fn vdso(&self) -> Vdso {
        Vdso::Host(0)
    }

    fn map_clock(&self, at: u64) -> Result<(), Errno> {
        self.enter(at, PAGE, |_| Page { frame: None, source: (-2, 0), prot: Prot::READ });
        Ok(())
    }

    fn set_timer(&self, _: Option<u64>) {}

    fn sleep(&self, _: u32, _: Option<u64>) {}

    fn wait_foreign(&self, _: u64, _: u32, _: u32, _: u64) -> bool {
        false
    }

    fn wake_foreign(&self, _: u64, _: u32, _: u32) -> u64 {
        0
    }

    fn untouched_frames_cost(&self) -> bool {
        false
    }

    fn mapping_limit(&self) -> usize {
        60_000
    }

    fn copy_peer(&self, _: bool, _: u64, _: &[[u64; 2]], _: &[[u64; 2]]) -> Option<SysResult> {
        None
    }

    fn relax(&self) {}

    fn kick(&self, _: u32) {}

    fn wake_proxy(&self) {}

    fn set_segment_bases(&self, _: u64, _: u64) {}

    fn segment_bases(&self) -> (u64, u64) {
        (0, 0)
    }

    fn end(&self) -> ! {
        panic!("the cell ended")
    }
}
