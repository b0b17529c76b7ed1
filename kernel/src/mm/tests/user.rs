//! Checked access, to memory of the test itself in place of a program's.

use shm_ipc::layout::PAGE;

use super::allow_host_memory;
use crate::abi::Errno;
use crate::mm::user;

#[test]
fn values_and_strings() {
    allow_host_memory();
    let mut words = [1u64, 2, 3];
    let at = words.as_mut_ptr() as u64;
    assert_eq!(user::read::<[u64; 2]>(at + 8), Ok([2, 3]));
    assert_eq!(user::write(at, &9u32), Ok(()));
    assert_eq!(user::load_u32(at), Ok(9));
    assert_eq!(user::cas_u32(at, 8, 7), Ok(9));
    assert_eq!(user::cas_u32(at, 9, 7), Ok(9));
    assert_eq!(user::read::<u32>(at), Ok(7));
    assert_eq!(user::clear(at + 8, 16), Ok(()));
    assert_eq!(user::read::<[u64; 2]>(at + 8), Ok([0, 0]));
    assert_eq!((user::load_u32(at + 2), user::cas_u32(at + 1, 0, 0)), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
}

#[test]
fn strings_of_every_length_across_pages() {
    allow_host_memory();
    let mut memory = vec![b'x'; 3 * PAGE as usize];
    let base = memory.as_mut_ptr() as u64;
    let end = (base + PAGE).next_multiple_of(PAGE);
    for (before, len) in [(0, 0), (1, 0), (1, 1), (255, 256), (300, 1000), (4000, 4096)] {
        let start = end - before;
        let zero = (start + len - base) as usize;
        memory[zero] = 0;
        let text = user::read_cstr(start, len as usize + 1);
        assert_eq!(text.map(|text| text.len() as u64), Ok(len));
        assert_eq!(user::read_cstr(start, len as usize), Err(Errno::ENAMETOOLONG));
        memory[zero] = b'x';
    }
}

#[test]
fn pointers_beyond_the_program() {
    allow_host_memory();
    let mut byte = [0];
    for at in [0, 8, 1 << 47, u64::MAX, u64::MAX - 3] {
        assert_eq!(user::copy_in(&mut byte, at), Err(Errno::EFAULT), "{at:x}");
        assert_eq!(user::copy_out(at, &byte), Err(Errno::EFAULT));
        assert_eq!(user::read_cstr(at, 9), Err(Errno::EFAULT));
        assert_eq!(user::clear(at, 1), Err(Errno::EFAULT));
        assert_eq!(user::copy_out(at, &[]), Ok(()), "nothing can be written anywhere");
    }
    assert_eq!(user::check(0x1000, u64::MAX), Err(Errno::EFAULT));
}
