//! Which handler a call has.

use libc as n;
use shm_ipc::calls::{self, Handling, private};

use super::arguments::Arguments;
use super::call::Call;
use super::files::{self, LARGE_BYTES, Way};
use super::host::{self, Errno, Outcome};
use super::{
    children, events, foreign, limits, listing, messages, paths, processes, procfs, programs, requests, sockets, ucx,
};

/// Executes a call.
pub fn execute(call: &mut Call<'_, '_>) -> Outcome {
    match call.nr {
        private::RING_NOP => Ok(0),
        private::NOTICE => processes::notice(call),
        private::STOP => processes::stop(),
        private::SIGNAL => processes::signal(call),
        private::READ_EXEC => files::read_program(call),
        private::VFORK => children::vfork(call),
        private::EXECUTE if call.service.stands_in => programs::execute(call),
        private::END_CHILD if call.service.stands_in => children::end(call),
        private::RENEW => procfs::renew(call),
        private::FIND_PROGRAM => programs::find(call),
        private::CHILDREN_USAGE => children::usage(call),
        private::CHILDREN_VANISH => children::vanish(call),
        private::BECOME => programs::become_next(call),
        nr if is_forwarded(nr) => linux(call, i64::from(nr)),
        nr if processes::is_of_others(call, i64::from(nr)) => linux(call, i64::from(nr)),
        _ => foreign::execute(call).unwrap_or(Err(Errno(libc::ENOSYS))),
    }
}

/// Calls that the table gives to the kernel, or to nobody, would hit the proxy instead.
fn is_forwarded(nr: u32) -> bool {
    calls::lookup(u64::from(nr)).is_some_and(|row| row.handling == Handling::Forwarded)
}

fn linux(call: &mut Call<'_, '_>, nr: i64) -> Outcome {
    if call.has_bad_pointers {
        return refused(call, nr);
    }
    match nr {
        n::SYS_read | n::SYS_readv | n::SYS_pread64 | n::SYS_preadv | n::SYS_preadv2 => {
            files::transfer(call, Way::Read)
        }
        n::SYS_write | n::SYS_writev | n::SYS_pwrite64 | n::SYS_pwritev | n::SYS_pwritev2 => {
            files::transfer(call, Way::Write)
        }
        n::SYS_open | n::SYS_creat | n::SYS_openat | n::SYS_openat2 => paths::open(call),
        n::SYS_stat | n::SYS_newfstatat | n::SYS_statx => ucx::status(call),
        n::SYS_truncate => paths::truncate(call),
        n::SYS_readlink => paths::readlink(call, 0),
        n::SYS_readlinkat => paths::readlink(call, 1),
        n::SYS_close => files::close(call),
        n::SYS_close_range => files::close_range(call),
        n::SYS_dup2 | n::SYS_dup3 => files::duplicate_to(call),
        n::SYS_fcntl => files::fcntl(call),
        n::SYS_flock => files::flock(call),
        n::SYS_getdents | n::SYS_getdents64 => listing::read(call),
        n::SYS_pipe | n::SYS_pipe2 => files::pair(call, 0),
        n::SYS_socketpair => files::pair(call, 3),
        n::SYS_ioctl => requests::ioctl(call),
        n::SYS_shmctl => requests::shmctl(call),
        n::SYS_semctl => requests::semctl(call),
        n::SYS_msgctl => requests::msgctl(call),
        n::SYS_msgsnd | n::SYS_msgrcv => requests::queued_message(call),
        n::SYS_vmsplice => files::vmsplice(call),
        _ => network(call, nr),
    }
}

fn network(call: &mut Call<'_, '_>, nr: i64) -> Outcome {
    match nr {
        n::SYS_sendto => sockets::send_to(call),
        n::SYS_recvfrom => sockets::receive_from(call),
        n::SYS_sendmsg => messages::send(call),
        n::SYS_recvmsg => messages::receive(call),
        n::SYS_connect => sockets::connect(call),
        n::SYS_accept | n::SYS_accept4 => sockets::accept(call),
        n::SYS_setsockopt | n::SYS_getsockopt => sockets::option(call),
        n::SYS_poll => events::poll(call),
        n::SYS_ppoll => events::ppoll(call),
        n::SYS_select => events::select(call),
        n::SYS_pselect6 => events::pselect6(call),
        n::SYS_epoll_wait | n::SYS_epoll_pwait => events::epoll_wait(call),
        n::SYS_epoll_pwait2 => events::epoll_pwait2(call),
        _ => process(call, nr),
    }
}

fn process(call: &mut Call<'_, '_>, nr: i64) -> Outcome {
    match nr {
        n::SYS_prlimit64 => limits::prlimit(call),
        n::SYS_getrlimit => limits::getrlimit(call),
        n::SYS_setrlimit => limits::setrlimit(call),
        n::SYS_getpgid | n::SYS_getsid | n::SYS_setpgid => processes::of_process(call, 0),
        n::SYS_getpriority | n::SYS_setpriority | n::SYS_ioprio_get | n::SYS_ioprio_set => processes::priority(call),
        n::SYS_kcmp => processes::kcmp(call),
        n::SYS_wait4 => children::wait4(call),
        n::SYS_waitid => children::waitid(call),
        n::SYS_process_vm_readv | n::SYS_process_vm_writev => processes::process_vm(call),
        _ => by_table(call, nr),
    }
}

/// Calls that Linux is to refuse, for the reason that it finds first.
fn refused(call: &mut Call<'_, '_>, nr: i64) -> Outcome {
    let mut arguments = Arguments::new(call)?;
    paths::translate(call, &mut arguments)?;
    let args = arguments.args(call)?;
    // One that does not touch the pointer waits as it would have.
    let result = call.blocking(nr, &args)?;
    arguments.write_back(call)?;
    if gives_descriptor(nr) { call.descriptors().admit(result) } else { Ok(result) }
}

/// Calls for which the table says everything.
pub fn by_table(call: &mut Call<'_, '_>, nr: i64) -> Outcome {
    let may_block = may_block(call, nr)?;
    let mut arguments = Arguments::new(call)?;
    paths::translate(call, &mut arguments)?;
    let args = arguments.args(call)?;
    let result = call.make(nr, &args, may_block)?;
    arguments.write_back(call)?;
    if gives_descriptor(nr) { call.descriptors().admit(result) } else { Ok(result) }
}

/// Whether another thread has to lead while the call is made.
fn may_block(call: &Call<'_, '_>, nr: i64) -> Result<bool, Errno> {
    Ok(match nr {
        n::SYS_sendfile | n::SYS_splice | n::SYS_tee | n::SYS_copy_file_range => true,
        n::SYS_fsync | n::SYS_fdatasync | n::SYS_sync | n::SYS_syncfs | n::SYS_sync_file_range => true,
        n::SYS_fallocate | n::SYS_readahead => true,
        n::SYS_semop | n::SYS_semtimedop => true,
        n::SYS_mq_timedsend | n::SYS_mq_timedreceive => !host::is_nonblocking(call.fd(0)?),
        n::SYS_getrandom => call.len(0) > LARGE_BYTES,
        _ => false,
    })
}

fn gives_descriptor(nr: i64) -> bool {
    matches!(
        nr,
        n::SYS_dup
            | n::SYS_socket
            | n::SYS_eventfd
            | n::SYS_eventfd2
            | n::SYS_epoll_create
            | n::SYS_epoll_create1
            | n::SYS_inotify_init
            | n::SYS_inotify_init1
            | n::SYS_timerfd_create
            | n::SYS_memfd_create
            | n::SYS_mq_open
            | n::SYS_pidfd_open
            | n::SYS_pidfd_getfd
    )
}
